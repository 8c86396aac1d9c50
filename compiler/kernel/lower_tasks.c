/* lower_tasks: the tasks that are no row programs, with their operands in the order that runtime/program.h
 * fixes. */
#include "compiler/kernel/lower_state.h"

static uint64_t written_operands(const ctl_task *t) {
    switch (t->kind) {
    case TASK_MATMUL:
    case TASK_SCATTER:
    case TASK_MIX:
    case TASK_MIX_GRAD:
        return 1u << 2;
    case TASK_ATTEND:
        return 3u << 3;
    case TASK_ATTEND_GRAD:
        return 7u << 6;
    case TASK_HEAD:
        return 15u << 4;
    case TASK_FOLD:
    case TASK_TRANSPOSE:
        return 1u << 1;
    default:
        return t->writes;
    }
}

/* What the target answers depends on a task's form alone. Asking takes it a fraction of a millisecond for a product, and a
 * plan lowers many graphs of the same forms: each is asked for once. */
static ctl_status scratch_of(ctl_lowering *l, const ctl_task *t, size_t *bytes) {
    enum { HEAD = 12, EACH = 5, MOST = 16 };
    int64_t form[HEAD + EACH * MOST] = {t->kind, l->threads, t->transpose_a, t->transpose_b, t->accumulate, t->rows, t->head,
                                        t->causal, t->window, t->longest, t->sequence, t->chunk};
    ctl_map *known = l->options->known_scratch;
    if (!known || t->noperands > MOST) return l->target->task_scratch(t, l->threads, bytes);
    for (uint32_t k = 0; k < t->noperands; k++) {
        const ctl_operand *o = &t->operands[k];
        int64_t *at = form + HEAD + EACH * k;
        at[0] = o->buffer == UINT32_MAX, at[1] = o->rows, at[2] = o->cols, at[3] = o->stride, at[4] = o->dtype;
    }
    const size_t n = (HEAD + EACH * t->noperands) * sizeof *form;
    const size_t *answer = ctl_map_get_bytes(known, form, n);
    if (!answer) {
        size_t *put = CTL_NEW(known->arena, size_t);
        ctl_status status = l->target->task_scratch(t, l->threads, put);
        if (status != CTL_OK) return status;
        ctl_map_put_bytes(known, form, n, put);
        answer = put;
    }
    *bytes = *answer;
    return CTL_OK;
}

bool ctl_lower_push(ctl_lowering *l, int list, ctl_task *task) {
    size_t bytes = 0;
    task->writes = written_operands(task);
    if (task->kind == TASK_ROWS && l->target->rows_scratch) {
        bytes = l->target->rows_scratch(l->rows.at[task->kernel], l->arena, task->rows, l->threads);
    } else if (task->kind == TASK_ROWS) {
        size_t one = (l->rows_scratch.at[task->kernel] + 63) / 64 * 64;
        bytes = ctl_lower_bytes(l, l->threads, (int64_t)one, 1);
    } else {
        ctl_status status = scratch_of(l, task, &bytes);
        if (status != CTL_OK)
            return ctl_lower_fail(l, status, "%s: the %s back end has no such task", task->name,
                                  l->target->name);
    }
    task->scratch = CTL_NO_OPERAND;
    if (bytes) {
        uint32_t buffer = ctl_lower_buffer(l, REGION_STEP, task->kind == TASK_HEAD ? USE_HEAD : USE_SCRATCH,
                                           bytes, ctl_format(l->arena, "scratch of %s", task->name));
        task->scratch = (ctl_operand){buffer, 0, 1, (int64_t)bytes, (int64_t)bytes, CTL_U8};
    }
    CTL_PUSH(l->arena, &l->run[list], *task);
    CTL_PUSH(l->arena, &l->phase[list], l->now);
    return l->status == CTL_OK;
}

ctl_operand ctl_lower_partial(ctl_lowering *l, ctl_node_id id) {
    const ctl_node *n = &l->g->at[id];
    int space;
    int32_t split;
    int64_t rows;
    ctl_group_rows(l->u, id, &space, &split, &rows);
    rows = (rows + CTL_ROW_CHUNK - 1) / CTL_ROW_CHUNK;
    if (l->partial_of[id] == UINT32_MAX)
        l->partial_of[id] =
            ctl_lower_buffer(l, REGION_STEP, USE_TRANSIENT, ctl_lower_bytes(l, rows, n->cols, sizeof(float)),
                             ctl_format(l->arena, "partial sums of %s", ctl_lower_name(l, id)));
    return (ctl_operand){l->partial_of[id], 0, rows, n->cols, n->cols, CTL_F32};
}

static ctl_operand whole_buffer(uint32_t buffer, int64_t rows, ctl_dtype dtype) {
    return buffer == UINT32_MAX ? CTL_NO_OPERAND : (ctl_operand){buffer, 0, rows, 1, 1, dtype};
}

static void documents(ctl_lowering *l, ctl_task *t, ctl_operand *positions, ctl_operand *lengths,
                      const ctl_node *n) {
    *positions = whole_buffer(l->row_numbers[n->space][ROWS_POSITION], n->rows, CTL_I32);
    *lengths = whole_buffer(l->row_numbers[n->space][ROWS_LENGTH], n->rows, CTL_I32);
    t->head = n->i[0], t->causal = n->i[1] != 0, t->window = n->i[2];
    t->longest = ctl_graph_sequence(l->g, n->space);
}

static bool operands_fit(ctl_lowering *l, const ctl_task *t) {
    for (uint32_t k = 0; k < 2; k++)
        if (t->operands[k].dtype != CTL_F32 && t->operands[k].dtype != CTL_BF16)
            return ctl_lower_fail(l, CTL_ERR_UNSUPPORTED, "%s: integers cannot be multiplied as a matrix",
                                  t->name);
    if (t->operands[0].dtype == t->operands[1].dtype) return true;
    return ctl_lower_fail(l, CTL_ERR_INTERNAL, "%s: operands of two element types", t->name);
}

static void product(ctl_lowering *l, ctl_task *t, const ctl_node *n, const ctl_value *v) {
    ctl_operand *o = t->operands;
    t->kind = TASK_MATMUL;
    t->noperands = 5;
    o[0] = ctl_lower_operand(l, n->in[0]), o[1] = ctl_lower_operand(l, n->in[1]);
    o[2] = ctl_lower_operand(l, v->result[0]);
    o[3] = v->bias == CTL_NONE ? CTL_NO_OPERAND : ctl_lower_operand(l, v->bias);
    o[4] = v->addend == CTL_NONE ? CTL_NO_OPERAND : ctl_lower_operand(l, v->addend);
    if (v->more != CTL_NONE) o[t->noperands++] = ctl_lower_operand(l, v->more);
    t->transpose_a = n->i[0] != 0, t->transpose_b = n->i[1] != 0;
    t->accumulate = l->u->value[v->result[0]].sum_into != UINT32_MAX;
    double inner = (double)(t->transpose_a ? o[0].rows : o[0].cols);
    t->flops = 2.0 * (double)n->rows * (double)n->cols * inner;
}

/* A result that nothing reads is computed all the same, where the task has no way to leave it out. */
static ctl_operand result_or_spare(ctl_lowering *l, const ctl_task *t, const ctl_value *v, uint32_t which,
                                   const ctl_operand *like) {
    if (v->result[which] != CTL_NONE) return ctl_lower_operand(l, v->result[which]);
    ctl_operand o = *like;
    o.stride = o.cols, o.offset = 0;
    size_t bytes = ctl_lower_bytes(l, o.rows, o.cols, ctl_dtype_size(o.dtype));
    o.buffer = ctl_lower_buffer(l, REGION_STEP, USE_TRANSIENT, bytes,
                                ctl_format(l->arena, "%s, not needed", t->name));
    return o;
}

static void attention(ctl_lowering *l, ctl_task *t, const ctl_node *n, const ctl_value *v) {
    ctl_operand *o = t->operands;
    int64_t sequence = ctl_graph_sequence(l->g, n->space);
    double score = 2.0 * (double)n->rows * (double)n->cols * (double)(sequence ? sequence : n->rows);
    if (n->i[1]) score /= 2;
    if (n->op == OP_ATTEND) {
        t->kind = TASK_ATTEND;
        t->noperands = 7;
        for (int k = 0; k < 3; k++) o[k] = ctl_lower_operand(l, n->in[k]);
        o[3] = result_or_spare(l, t, v, 0, &o[0]);
        ctl_operand lse = {.rows = n->rows, .cols = n->cols / n->i[0], .dtype = CTL_F32};
        o[4] = result_or_spare(l, t, v, 1, &lse);
        documents(l, t, &o[5], &o[6], n);
        t->flops = 2 * score;
    } else {
        t->kind = TASK_ATTEND_GRAD;
        t->noperands = 11;
        for (int k = 0; k < 6; k++) o[k] = ctl_lower_operand(l, n->in[k]);
        for (uint32_t k = 0; k < 3; k++) o[6 + k] = result_or_spare(l, t, v, k, &o[k]);
        documents(l, t, &o[9], &o[10], n);
        t->flops = 5 * score;
    }
}

static void mix(ctl_lowering *l, ctl_task *t, const ctl_node *n, const ctl_value *v) {
    ctl_operand *o = t->operands;
    t->kind = n->op == OP_MIX ? TASK_MIX : TASK_MIX_GRAD;
    t->noperands = 3;
    o[0] = ctl_lower_operand(l, n->in[0]), o[1] = ctl_lower_operand(l, n->in[1]);
    o[2] = ctl_lower_operand(l, v->result[0]);
    t->transpose_a = n->i[0] != 0;
    t->accumulate = l->u->value[v->result[0]].sum_into != UINT32_MAX;
    t->sequence = ctl_graph_sequence(l->g, l->g->at[n->in[1]].space);
    t->flops = 2.0 * (double)o[1].rows * (double)o[1].cols * (double)t->sequence;
}

static void head(ctl_lowering *l, ctl_task *t, const ctl_node *n, const ctl_value *v) {
    ctl_operand *o = t->operands;
    t->kind = TASK_HEAD;
    t->noperands = v->result[3] == CTL_NONE ? 7 : 8;
    for (int k = 0; k < 3; k++) o[k] = ctl_lower_operand(l, n->in[k]);
    o[3] = whole_buffer(l->normaliser, 1, CTL_F32);
    o[4] = ctl_lower_operand(l, v->result[0]);
    o[5] = v->result[1] == CTL_NONE ? CTL_NO_OPERAND : ctl_lower_operand(l, v->result[1]);
    o[6] = v->result[2] == CTL_NONE ? CTL_NO_OPERAND : ctl_lower_operand(l, v->result[2]);
    if (v->result[3] != CTL_NONE) o[7] = ctl_lower_operand(l, v->result[3]);
    t->accumulate = v->result[2] != CTL_NONE && l->u->value[v->result[2]].sum_into != UINT32_MAX;
    t->chunk = l->target->head_chunk(o[0].rows, o[1].rows);
    int products = 1 + (o[5].buffer != UINT32_MAX) + (o[6].buffer != UINT32_MAX);
    t->flops = 2.0 * products * (double)o[0].rows * (double)o[0].cols * (double)o[1].rows;
}

bool ctl_lower_task_unit(ctl_lowering *l, int list, const ctl_unit *unit) {
    const ctl_node *n = &l->g->at[unit->node];
    const ctl_value *v = &l->u->value[unit->node];
    const ctl_origin origin = ctl_lower_origin(l, unit->node);
    ctl_task t = {.name = origin.name, .place = origin.place, .scratch = CTL_NO_OPERAND};
    if (n->op == OP_COLSUM && !v->needed) return true;
    t.operands = CTL_NEW_ARRAY(l->arena, ctl_operand, 11);
    switch (n->op) {
    case OP_COLSUM:
        t.kind = TASK_FOLD, t.noperands = 2;
        t.operands[0] = ctl_lower_partial(l, unit->node), t.operands[1] = ctl_lower_operand(l, unit->node);
        t.accumulate = v->sum_into != UINT32_MAX;
        break;
    case OP_MATMUL:
        product(l, &t, n, v);
        break;
    case OP_ATTEND:
    case OP_ATTEND_GRAD:
        attention(l, &t, n, v);
        break;
    case OP_MIX:
    case OP_MIX_GRAD:
        mix(l, &t, n, v);
        break;
    case OP_HEAD:
        head(l, &t, n, v);
        break;
    case OP_SCATTER:
        t.kind = TASK_SCATTER, t.noperands = 3;
        t.operands[0] = ctl_lower_operand(l, n->in[0]), t.operands[1] = ctl_lower_operand(l, n->in[1]);
        t.operands[2] = ctl_lower_operand(l, unit->node);
        t.accumulate = v->sum_into != UINT32_MAX;
        break;
    default:
        t.kind = TASK_TRANSPOSE, t.noperands = 2;
        t.operands[0] = ctl_lower_operand(l, n->in[0]), t.operands[1] = ctl_lower_operand(l, unit->node);
    }
    if (l->status != CTL_OK) return false;
    bool multiplies = t.kind == TASK_MATMUL || t.kind == TASK_MIX || t.kind == TASK_MIX_GRAD;
    if (multiplies && !operands_fit(l, &t)) return false;
    return ctl_lower_push(l, list, &t);
}
