/* lower_rows: the row program of a unit, and the task that runs it.
 *
 * Members are written in the order in which they joined, each once; what they read from outside is loaded
 * once. A member that something outside reads is stored when it is written. Equal programs are one kernel:
 * which rows, strides and dropout sites a call means are its arguments. */
#include "compiler/kernel/lower_state.h"

typedef struct gather {
    uint32_t operand, index; /* the index is a place in indices */
    ctl_node_id take;
} gather;
typedef struct written {
    uint32_t operand;
    ctl_node_id value;
} written;

typedef struct writer {
    ctl_lowering *l;
    const ctl_unit *unit;
    int list;
    uint32_t number;
    CTL_VEC(ctl_row_instr) code;
    CTL_VEC(ctl_row_operand) operands;
    CTL_VEC(ctl_operand) arguments;
    CTL_VEC(gather) gathers;
    CTL_VEC(written) stores;
    CTL_VEC(ctl_operand) indices;
    CTL_VEC(uint32_t) sites;
    uint64_t writes; /* operands stored to */
} writer;

static const ctl_node *at(const writer *w, ctl_node_id id) {
    return &w->l->g->at[id];
}

static uint32_t emit(writer *w, ctl_row_instr instr, const uint32_t *in, uint32_t nin) {
    instr.nin = nin;
    instr.in = CTL_NEW_ARRAY(w->l->arena, uint32_t, nin);
    if (nin) memcpy(instr.in, in, nin * sizeof *in);
    CTL_PUSH(w->l->arena, &w->code, instr);
    return (uint32_t)w->code.n - 1;
}

static uint32_t operand(writer *w, ctl_row_at where, int64_t cols, const ctl_operand *o) {
    CTL_PUSH(w->l->arena, &w->operands, (ctl_row_operand){where, o->dtype, cols});
    CTL_PUSH(w->l->arena, &w->arguments, *o);
    return (uint32_t)w->operands.n - 1;
}

/* v: the instruction that holds the value of node `id`. */
static void write(writer *w, ctl_row_op op, ctl_row_at where, ctl_node_id id, uint32_t v, int64_t cols,
                  const ctl_operand *o) {
    uint32_t number = operand(w, where, cols, o);
    if (number < CTL_MOST_OPERANDS) w->writes |= (uint64_t)1 << number;
    CTL_PUSH(w->l->arena, &w->stores, (written){number, id});
    emit(w, (ctl_row_instr){.op = (uint16_t)op, .width = cols, .i = {number}}, &v, 1);
}

static uint32_t load(writer *w, ctl_row_at where, int64_t cols, const ctl_operand *o) {
    uint32_t number = operand(w, where, cols, o);
    return emit(w, (ctl_row_instr){.op = ROW_LOAD, .width = cols, .i = {number}}, NULL, 0);
}

static uint32_t load_value(writer *w, ctl_node_id id, bool outer) {
    const ctl_node *n = at(w, id);
    ctl_operand o = ctl_lower_rows_operand(w->l, id);
    bool fixed = n->space == SPACE_NONE && n->rows == 1;
    return load(w, fixed ? AT_FIXED : outer ? AT_OUTER : AT_ROW, n->cols, &o);
}

static bool is_member(const writer *w, ctl_node_id id) {
    return ctl_group_in_unit(w->l->u, w->list, w->number, id) && at(w, id)->op != OP_COLSUM;
}

static uint32_t compute(writer *w, ctl_node_id id);

/* The instruction that holds the value: computed in this program, computed again, or loaded. */
static uint32_t value(writer *w, ctl_node_id id) {
    ctl_lowering *l = w->l;
    id = l->u->value[id].same;
    if (l->stamp_value[id] == l->stamp) return l->value_of[id];
    /* A repeat that is stored may be a member whose turn is later: its readers do not wait for it. */
    bool again = l->u->value[id].inlined || at(w, id)->op == OP_REPEAT || (l->u->value[id].again && !is_member(w, id));
    uint32_t v = again ? compute(w, id) : load_value(w, id, false);
    l->stamp_value[id] = l->stamp;
    return l->value_of[id] = v;
}

static uint32_t outer_value(writer *w, ctl_node_id id) {
    ctl_lowering *l = w->l;
    id = l->u->value[id].same;
    if (l->u->value[id].inlined) return value(w, id);
    if (l->stamp_outer[id] == l->stamp) return l->outer_of[id];
    l->stamp_outer[id] = l->stamp;
    return l->outer_of[id] = load_value(w, id, true);
}

static uint32_t take_rows(writer *w, ctl_node_id id) {
    const ctl_node *n = at(w, id);
    ctl_operand table = ctl_lower_operand(w->l, n->in[0]), index = ctl_lower_operand(w->l, n->in[1]);
    if (index.dtype != CTL_I32 || (index.stride != 1 && index.rows > 1))
        ctl_lower_fail(w->l, CTL_ERR_INTERNAL, "take: indices that are not integers one after the other");
    uint32_t v = load(w, AT_GATHER, n->cols, &table);
    CTL_PUSH(w->l->arena, &w->gathers, (gather){(uint32_t)w->operands.n - 1, (uint32_t)w->indices.n, id});
    CTL_PUSH(w->l->arena, &w->indices, index);
    return v;
}

/* Row number i[0] of every sequence: rows a sequence apart. */
static uint32_t pick(writer *w, const ctl_node *n) {
    ctl_operand o = ctl_lower_rows_operand(w->l, n->in[0]);
    o.offset += (uint64_t)(n->i[0] * o.stride) * ctl_dtype_size(o.dtype);
    o.rows = n->rows / n->split;
    o.stride *= ctl_graph_sequence(w->l->g, at(w, n->in[0])->space);
    return load(w, AT_ROW, n->cols, &o);
}

static uint32_t drop(writer *w, const ctl_node *n, uint32_t of) {
    uint32_t site = (uint32_t)n->i[0], k = 0;
    while (k < w->sites.n && w->sites.at[k] != site) k++;
    if (k == w->sites.n) CTL_PUSH(w->l->arena, &w->sites, site);
    return emit(w, (ctl_row_instr){.op = OP_DROP, .width = n->cols, .i = {k}, .f = n->f}, &of, 1);
}

/* Columns of something outside are loaded alone, where rows are not split. */
static uint32_t columns(writer *w, const ctl_node *n) {
    ctl_lowering *l = w->l;
    ctl_node_id of = l->u->value[n->in[0]].same;
    if (n->split == 1 && !is_member(w, of) && !l->u->value[of].inlined && !l->u->value[of].again) {
        ctl_operand o = ctl_lower_rows_operand(l, of);
        o.offset += (uint64_t)n->i[0] * ctl_dtype_size(o.dtype);
        o.cols = n->cols;
        return load(w, n->space == SPACE_NONE && n->rows == 1 ? AT_FIXED : AT_ROW, n->cols, &o);
    }
    uint32_t v = value(w, of);
    return emit(w, (ctl_row_instr){.op = OP_COLUMNS, .width = n->cols, .i = {n->i[0], n->i[1]}}, &v, 1);
}

static uint32_t compute(writer *w, ctl_node_id id) {
    const ctl_node *n = at(w, id);
    uint32_t in[CTL_MOST_OPERANDS];
    if (w->l->u->value[id].same != id) return value(w, id);
    switch (n->op) {
    case OP_CONST:
        return emit(w, (ctl_row_instr){.op = OP_CONST, .width = 1, .f = n->f}, NULL, 0);
    case OP_INDEX:
        return emit(w, (ctl_row_instr){.op = OP_INDEX, .width = n->cols}, NULL, 0);
    case OP_TAKE:
        return take_rows(w, id);
    case OP_PICK:
        return pick(w, n);
    case OP_REPEAT:
        return outer_value(w, n->in[0]);
    case OP_COLUMNS:
        return columns(w, n);
    case OP_DROP:
        return drop(w, n, value(w, n->in[0]));
    default:
        break;
    }
    for (uint32_t k = 0; k < n->nin; k++) in[k] = value(w, n->in[k]);
    return emit(w, (ctl_row_instr){.op = n->op, .dtype = n->dtype, .width = n->cols}, in, n->nin);
}

static void store(writer *w, ctl_node_id id, uint32_t v, int64_t cols, const ctl_operand *o) {
    if (o->dtype == CTL_BF16 && !(w->code.at[v].op == OP_CAST && w->code.at[v].dtype == CTL_BF16))
        v = emit(w, (ctl_row_instr){.op = OP_CAST, .dtype = CTL_BF16, .width = w->code.at[v].width}, &v, 1);
    write(w, ROW_STORE, AT_ROW, id, v, cols, o);
}

static void member(writer *w, ctl_node_id id) {
    ctl_lowering *l = w->l;
    const ctl_node *n = at(w, id);
    if (n->op == OP_COLSUM) {
        uint32_t v = value(w, n->in[0]);
        ctl_operand o = ctl_lower_partial(l, id);
        write(w, ROW_COLSUM, AT_CHUNK, id, v, n->cols, &o);
        return;
    }
    uint32_t v = compute(w, id);
    l->stamp_value[id] = l->stamp;
    l->value_of[id] = v;
    if (!l->u->value[id].stored) return;
    ctl_operand o = ctl_lower_rows_operand(l, id);
    store(w, id, v, n->cols, &o);
}

static void extra(writer *w, const ctl_row_extra *e) {
    const ctl_node *n = at(w, e->value);
    uint32_t v = value(w, e->value);
    if (e->param != UINT32_MAX) {
        ctl_place p = ctl_lower_gradient(w->l, e->param);
        ctl_operand o = {p.buffer, p.offset, n->rows, n->cols, p.stride, p.dtype};
        write(w, ROW_ADD_TO, AT_ROW, e->value, v, n->cols, &o);
        return;
    }
    ctl_place p = ctl_lower_place(w->l, e->panel);
    ctl_operand o = {p.buffer, p.offset + (uint64_t)e->at * (uint64_t)p.stride * ctl_dtype_size(p.dtype),
                     n->rows,  n->cols,
                     p.stride, p.dtype};
    store(w, e->value, v, n->cols, &o);
}

/* The number of the kernel: an equal one there is already, or a new one. */
static uint32_t kernel(ctl_lowering *l, const ctl_rowprog *p) {
    ctl_text key = {.arena = l->arena};
    ctl_rowprog_key(p, &key);
    const uint32_t *known = ctl_map_get_bytes(&l->kernel_of_key, key.at, key.n);
    if (known) return *known;
    uint32_t *number = CTL_NEW(l->arena, uint32_t);
    *number = (uint32_t)l->rows.n;
    ctl_map_put_bytes(&l->kernel_of_key, key.at, key.n, number);
    CTL_PUSH(l->arena, &l->rows, p);
    CTL_PUSH(l->arena, &l->rows_scratch, ctl_rowprog_scratch(p, l->arena) * sizeof(float));
    return *number;
}

static bool finish(writer *w) {
    ctl_lowering *l = w->l;
    ctl_rowprog *p = CTL_NEW(l->arena, ctl_rowprog);
    const char *why;
    *p = (ctl_rowprog){w->unit->split, w->operands.at,      (uint32_t)w->operands.n,
                       w->code.at,     (uint32_t)w->code.n, (uint32_t)w->sites.n};
    if (w->operands.n + w->indices.n > CTL_MOST_OPERANDS)
        return ctl_lower_fail(l, CTL_ERR_UNSUPPORTED, "%s reads and writes more than %d values at once",
                              ctl_lower_name(l, w->unit->node), CTL_MOST_OPERANDS);
    if (!ctl_rowprog_verify(p, &why))
        return ctl_lower_fail(l, CTL_ERR_INTERNAL, "the row program of %s: %s",
                              ctl_lower_name(l, w->unit->node), why);
    const ctl_origin origin = ctl_lower_origin(l, w->unit->node);
    ctl_task task = {.kind = TASK_ROWS,
                     .name = origin.name,
                     .place = origin.place,
                     .rows = w->unit->rows,
                     .split = w->unit->split,
                     .weights = w->unit->space == SPACE_NONE,
                     .sites = w->sites.at,
                     .nsites = (uint32_t)w->sites.n,
                     .writes = w->writes,
                     .scratch = CTL_NO_OPERAND};
    task.kernel = kernel(l, p);
    task.noperands = (uint32_t)(w->arguments.n + w->indices.n);
    task.index_of = CTL_NEW_ARRAY(l->arena, uint32_t, task.noperands);
    for (uint32_t k = 0; k < task.noperands; k++) task.index_of[k] = UINT32_MAX;
    task.origin_of = CTL_NEW_ARRAY(l->arena, ctl_origin, task.noperands);
    for (size_t k = 0; k < w->stores.n; k++) task.origin_of[w->stores.at[k].operand] = ctl_lower_origin(l, w->stores.at[k].value);
    for (size_t k = 0; k < w->gathers.n; k++) {
        const gather *g = &w->gathers.at[k];
        task.index_of[g->operand] = (uint32_t)w->arguments.n + g->index;
        task.origin_of[g->operand] = ctl_lower_origin(l, g->take);
    }
    for (size_t k = 0; k < w->indices.n; k++) CTL_PUSH(l->arena, &w->arguments, w->indices.at[k]);
    task.operands = w->arguments.at;
    return ctl_lower_push(l, w->list, &task);
}

bool ctl_lower_row_unit(ctl_lowering *l, int list, uint32_t number) {
    const ctl_unit *unit = &l->u->list[list].at[number];
    writer w = {.l = l, .unit = unit, .list = list, .number = number};
    l->stamp++;
    bool needed = unit->extras.n > 0;
    for (size_t k = 0; k < unit->members.n; k++) {
        if (!l->u->value[unit->members.at[k]].needed) continue;
        member(&w, unit->members.at[k]);
        needed = true;
    }
    if (!needed) return true;
    for (size_t k = 0; k < unit->extras.n; k++) extra(&w, &unit->extras.at[k]);
    return l->status == CTL_OK && finish(&w);
}
