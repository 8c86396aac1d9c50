/* group_values: the part that every node plays, from the graph alone. See group.h.
 *
 * A gradient that is a sum is accumulated term by term, and a term that a task makes is summed into the
 * parameter's gradient by that task. Of two products that meet in one sum the later takes the earlier as its
 * addend. */
#include "compiler/graph/graph_copy.h"
#include "compiler/kernel/group.h"

enum {
    INLINE_COST = 4
}; /* so many operations may be computed again in every row program that reads their result */

static const ctl_node *at(const ctl_grouping *u, ctl_node_id id) {
    return &u->g->at[id];
}

ctl_dtype ctl_group_dtype(const ctl_grouping *u, ctl_node_id id) {
    const ctl_node *n = at(u, id);
    bool numbers_rows = ctl_op_class_of((ctl_op)n->op) == CLASS_LEAF && n->space != SPACE_NONE && n->op != OP_INPUT;
    if (numbers_rows || n->dtype == CTL_I32) return CTL_I32;
    return n->dtype == CTL_BF16 ? CTL_BF16 : CTL_F32;
}

/* The same numbers, if not the same element type. */
static bool is_identity(const ctl_grouping *u, ctl_node_id id) {
    const ctl_node *n = at(u, id);
    if (n->op == OP_CAST) return n->dtype != CTL_BF16 || ctl_group_dtype(u, n->in[0]) == CTL_BF16;
    return n->op == OP_STOP || n->op == OP_STATE || n->op == OP_TOREAL ||
           (n->op == OP_REPEAT && n->i[0] == 1);
}

ctl_node_id ctl_group_stored(const ctl_grouping *u, ctl_node_id id) {
    while (is_identity(u, id) && ctl_group_dtype(u, at(u, id)->in[0]) == ctl_group_dtype(u, id))
        id = at(u, id)->in[0];
    return id;
}

ctl_node_id ctl_group_base(const ctl_grouping *u, ctl_node_id id) {
    for (;;) {
        id = ctl_group_stored(u, id);
        if (u->value[id].part == PART_TASK) return u->value[id].result[0];
        if (u->value[id].part != PART_VIEW) return id;
        id = at(u, id)->in[0];
    }
}

void ctl_group_rows(const ctl_grouping *u, ctl_node_id id, int *space, int32_t *split, int64_t *rows) {
    const ctl_node *n = at(u, id);
    if (n->op == OP_COLSUM) n = at(u, n->in[0]);
    *space = n->space;
    *split = n->space == SPACE_NONE ? 1 : n->split;
    *rows = n->rows / *split;
}

bool ctl_group_joins(const ctl_grouping *u, ctl_node_id reader, ctl_node_id read) {
    const ctl_node *r = at(u, reader);
    const ctl_value *from = &u->value[read];
    if (from->part != PART_ROW || at(u, read)->op == OP_COLSUM || from->list != u->value[reader].list)
        return false;
    if (ctl_op_class_of((ctl_op)r->op) == CLASS_ROWMAP || r->op == OP_REPEAT) return false;
    int space[2];
    int32_t split[2];
    int64_t rows[2];
    ctl_group_rows(u, reader, &space[0], &split[0], &rows[0]);
    ctl_group_rows(u, read, &space[1], &split[1], &rows[1]);
    return space[0] == space[1] && split[0] == split[1] && rows[0] == rows[1];
}

static void read_numbers(ctl_grouping *u, ctl_node_id id, ctl_node_ids *out) {
    ctl_node_id same = u->value[id].same;
    if (at(u, same)->op == OP_REPEAT)
        same = u->value[at(u, same)->in[0]].same; /* loaded for each of the parts */
    if (!u->value[same].inlined) CTL_PUSH(u->arena, out, same);
}

static void read_stored(ctl_grouping *u, ctl_node_id id, ctl_node_ids *out) {
    CTL_PUSH(u->arena, out, ctl_group_stored(u, id));
}

void ctl_group_reads(ctl_grouping *u, ctl_node_id id, ctl_node_ids *out) {
    const ctl_value *v = &u->value[id];
    if (v->part == PART_RESULT) id = v->task, v = &u->value[id];
    const ctl_node *n = at(u, id);
    if (v->part == PART_ROW) {
        if (v->inlined) return;
        if (v->same != id || n->op == OP_REPEAT) {
            read_numbers(u, id, out);
        } else if (n->op == OP_TAKE || n->op == OP_PICK) {
            for (uint32_t k = 0; k < n->nin; k++) read_stored(u, n->in[k], out);
        } else {
            for (uint32_t k = 0; k < n->nin; k++) read_numbers(u, n->in[k], out);
        }
    } else if (v->part == PART_VIEW || v->part == PART_PANEL || v->part == PART_TASK) {
        for (uint32_t k = 0; k < n->nin; k++) read_stored(u, n->in[k], out);
        if (v->part == PART_TASK && v->bias != CTL_NONE) read_stored(u, v->bias, out);
        if (v->part == PART_TASK && v->addend != CTL_NONE) read_stored(u, v->addend, out);
        if (v->part == PART_TASK && v->more != CTL_NONE) read_stored(u, v->more, out);
    }
}

/* ---- what is live, when, and how often it is read ---- */
static bool reads_memory(ctl_op op) { /* takes its inputs from memory, whatever it is computed from */
    switch (ctl_op_class_of(op)) {
    case CLASS_PRODUCT:
    case CLASS_FUSED:
        return true;
    default:
        return op == OP_SCATTER || op == OP_TRANSPOSE || op == OP_STACK || op == OP_SPLIT || op == OP_JOIN;
    }
}

static uint8_t list_of(const ctl_node *n) {
    if (n->rate == RATE_LOAD || ctl_op_class_of((ctl_op)n->op) == CLASS_LEAF) return RUN_LOAD;
    if (n->rate == RATE_UPDATE) return RUN_UPDATE;
    return n->entry == ENTRY_FORWARD ? RUN_FORWARD : n->entry == ENTRY_BACKWARD ? RUN_BACKWARD : RUN_EVALUATE;
}

static ctl_part first_part(const ctl_node *n) {
    switch (n->op) {
    case OP_INPUT:
    case OP_PARAM:
    case OP_POSITION:
    case OP_LENGTH:
    case OP_PLACE:
    case OP_SEQUENCE:
    case OP_NORMALISER:
        return PART_LEAF;
    case OP_SPLIT:
    case OP_JOIN:
        return PART_VIEW;
    case OP_STACK:
        return PART_PANEL;
    case OP_PART:
        return PART_RESULT;
    case OP_SCATTER:
    case OP_TRANSPOSE:
    case OP_MATMUL:
    case OP_ATTEND:
    case OP_ATTEND_GRAD:
    case OP_MIX:
    case OP_MIX_GRAD:
    case OP_HEAD:
        return PART_TASK;
    default:
        return PART_ROW;
    }
}

static void root(ctl_grouping *u, ctl_node_id id) {
    if (id == CTL_NONE) return;
    ctl_node_id base = ctl_group_base(u, id);
    u->value[base].root = u->value[base].crossing = true;
}

static void count_uses(ctl_grouping *u, const bool *live, ctl_node_id *sole) {
    const ctl_graph *g = u->g;
    for (ctl_node_id id = 0; id < g->n; id++) {
        const ctl_node *n = at(u, id);
        for (uint32_t k = 0; live[id] && k < n->nin; k++) {
            if (n->op == OP_PART) continue;
            u->value[n->in[k]].uses++;
            sole[n->in[k]] = id;
        }
    }
    for (size_t k = 0; k < g->params.n; k++) {
        if (g->params.at[k].grad != CTL_NONE) u->value[g->params.at[k].grad].uses++;
        if (g->params.at[k].init == INIT_VALUE) u->value[g->params.at[k].init_node].uses++;
    }
    for (size_t k = 0; k < g->inputs.n; k++)
        if (g->inputs.at[k].grad != CTL_NONE) u->value[g->inputs.at[k].grad].uses++;
    for (size_t k = 0; k < g->outputs.n; k++) {
        if (g->outputs.at[k].node != CTL_NONE) u->value[g->outputs.at[k].node].uses++;
        if (g->outputs.at[k].evaluate != CTL_NONE) u->value[g->outputs.at[k].evaluate].uses++;
    }
    if (g->loss != CTL_NONE) u->value[g->loss].uses++;
}

static void take_terms(ctl_grouping *u, ctl_node_id id, uint32_t param) {
    const ctl_node *n = at(u, id);
    bool sum = n->op == OP_ADD && u->value[id].uses == 1;
    for (uint32_t k = 0; sum && k < 2; k++) {
        const ctl_node *a = at(u, n->in[k]);
        sum = a->rows == n->rows && a->cols == n->cols && a->space == n->space;
    }
    if (sum) {
        u->value[id].part = PART_UNUSED;
        take_terms(u, n->in[0], param), take_terms(u, n->in[1], param);
        return;
    }
    CTL_PUSH(u->arena, &u->sinks, (ctl_sink_term){id, param});
}

/* ---- products and what they take along ---- */
static bool rounds(const ctl_grouping *u, ctl_node_id id) {
    return at(u, id)->op == OP_CAST && at(u, id)->dtype == CTL_BF16 && !is_identity(u, id);
}

static void absorb(ctl_grouping *u, ctl_node_id task, ctl_node_id before, ctl_node_id after) {
    if (before != task) u->value[before].part = PART_ABSORBED;
    u->value[after].part = PART_RESULT, u->value[after].task = task;
    u->value[after].list = u->value[task].list;
}

/* (y + Q) + P, with a narrow product P: where the target's tasks can, P takes y and the product Q one by one. Else Q would take y, and its sum
 * be written in f32 over y's in f32: as an adapter beside a frozen product at a residual is. Nothing of P's epilogue but this sum and its
 * rounding. Q stands before P, so it has taken nothing yet. */
static void take_second(ctl_grouping *u, ctl_node_id product, const ctl_node_id *sole) {
    ctl_value *v = &u->value[product];
    const ctl_node *p = at(u, product), *sum = v->addend == CTL_NONE ? NULL : at(u, v->addend);
    const bool narrow = !p->i[0] && at(u, p->in[0])->dtype == CTL_BF16 && at(u, p->in[0])->cols <= u->narrow;
    if (!narrow || !sum || v->bias != CTL_NONE || !rounds(u, v->result[0]) || p->space == SPACE_NONE) return;
    const ctl_value *s = &u->value[v->addend];
    if (sum->op != OP_ADD || s->part != PART_ROW || s->list != v->list || s->uses != 1 || sum->split != 1) return;
    for (int k = 0; k < 2; k++) {
        const ctl_node_id q = sum->in[k], y = sum->in[1 - k];
        const ctl_node *other = at(u, q), *more = at(u, y);
        const ctl_value *w = &u->value[q];
        if (other->op != OP_MATMUL || w->part != PART_TASK || w->list != v->list || w->uses != 1 || sole[q] != v->addend ||
            q > product || more->dtype != CTL_BF16 || more->rows != p->rows || more->cols != p->cols || more->space != p->space)
            continue;
        u->value[v->addend].part = PART_ABSORBED;
        v->addend = q, v->more = y;
        return;
    }
}

/* P, (P + bias), (P + addend) or ((P + bias) + addend), rounded or not: one task. */
static void take_epilogue(ctl_grouping *u, ctl_node_id product, const ctl_node_id *sole) {
    ctl_value *v = &u->value[product];
    const ctl_node *p = at(u, product);
    ctl_node_id end = product;
    while (u->value[end].uses == 1 && sole[end] != CTL_NONE) {
        ctl_node_id next = sole[end];
        const ctl_node *n = at(u, next);
        if (u->value[next].part != PART_ROW || u->value[next].list != v->list) break;
        if (rounds(u, next)) {
            absorb(u, product, end, next);
            end = next;
            break;
        }
        if (n->op != OP_ADD || n->rows != p->rows || n->cols != p->cols || n->split != 1 || p->split != 1)
            break;
        ctl_node_id other = n->in[0] == end ? n->in[1] : n->in[0];
        const ctl_node *o = at(u, other);
        bool bias = o->rows == 1 && o->space == SPACE_NONE && o->cols == p->cols && p->space != SPACE_NONE;
        bool addend = o->rows == p->rows && o->cols == p->cols && o->space == p->space;
        if (bias && v->bias == CTL_NONE && v->addend == CTL_NONE)
            v->bias = other;
        else if (!bias && addend && v->addend == CTL_NONE)
            v->addend = other;
        else
            break;
        absorb(u, product, end, next);
        end = next;
    }
    v->result[0] = end;
    take_second(u, product, sole);
}

/* Results of fused tasks, rounded by the task where only a cast reads them; but the head sums its weight's gradient over
 * chunks of rows, in f32. */
static void take_result(ctl_grouping *u, ctl_node_id task, uint32_t which, ctl_node_id id,
                        const ctl_node_id *sole) {
    ctl_node_id end = id;
    bool summed = at(u, task)->op == OP_HEAD && which == 2;
    if (!summed && u->value[id].uses == 1 && sole[id] != CTL_NONE && rounds(u, sole[id])) {
        end = sole[id];
        absorb(u, task, id, end);
    }
    u->value[task].result[which] = end;
}

static void take_tasks(ctl_grouping *u, const ctl_node_id *sole) {
    for (size_t k = u->g->n; k-- > 0;) {
        ctl_node_id id = (ctl_node_id)k;
        ctl_value *v = &u->value[id];
        const ctl_node *n = at(u, id);
        if (v->part == PART_TASK) {
            if (n->op == OP_MATMUL)
                take_epilogue(u, id, sole);
            else if (n->op == OP_ATTEND || n->op == OP_ATTEND_GRAD || n->op == OP_MIX)
                take_result(u, id, 0, id, sole);
            else
                v->result[0] = id;
        } else if (v->part == PART_RESULT && n->op == OP_PART) {
            v->task = n->in[0];
            v->list = u->value[n->in[0]].list;
            take_result(u, n->in[0], (uint32_t)n->i[0], id, sole);
        }
    }
}

/* ---- views, panels, what is computed again ---- */
static bool owns_storage(const ctl_grouping *u, ctl_node_id id) {
    const ctl_value *v = &u->value[id];
    if (v->part == PART_TASK) return v->result[0] == id;
    return v->part == PART_LEAF || v->part == PART_ROW || v->part == PART_RESULT;
}

static void take_inlined(ctl_grouping *u, uint8_t *cost) {
    for (ctl_node_id id = 0; id < u->g->n; id++) {
        const ctl_node *n = at(u, id);
        ctl_value *v = &u->value[id];
        if (v->part != PART_ROW || n->dtype == CTL_I32) continue;
        bool cheap = false;
        int sum = 1;
        switch (n->op) {
        case OP_CONST:
        case OP_INDEX:
            cheap = true, sum = 0;
            break;
        case OP_NEG:
        case OP_ADD:
        case OP_SUB:
        case OP_MUL:
        case OP_MAX:
        case OP_MIN:
        case OP_LT:
        case OP_LE:
        case OP_EQ:
            cheap = true;
            break;
        default:
            break;
        }
        for (uint32_t k = 0; cheap && k < n->nin; k++) {
            cheap = u->value[n->in[k]].inlined;
            sum += cost[n->in[k]];
        }
        v->inlined = cheap && sum <= INLINE_COST;
        cost[id] = (uint8_t)sum;
    }
}

static void need_whole(ctl_grouping *u, ctl_node_id id) {
    u->value[ctl_group_base(u, id)].whole = true;
}
/* A matrix of split rows has no place for padding: its rows are shorter than those that lie in memory. */
static void need_whole_if_split(ctl_grouping *u, ctl_node_id id) {
    if (id != CTL_NONE && at(u, id)->split > 1) need_whole(u, id);
}

/* What is read as another matrix than it was made as, and the split rows that tasks take and make and that the host reads. */
static void take_wholes(ctl_grouping *u) {
    const ctl_graph *g = u->g;
    for (ctl_node_id id = 0; id < g->n; id++) {
        const ctl_node *n = at(u, id);
        const ctl_value *v = &u->value[id];
        if (v->part == PART_VIEW && n->space == SPACE_NONE) need_whole(u, n->in[0]);
        if (v->part != PART_TASK) continue;
        for (uint32_t k = 0; k < n->nin; k++) need_whole_if_split(u, n->in[k]);
        for (uint32_t k = 0; k < CTL_FUSED_RESULTS; k++) need_whole_if_split(u, v->result[k]);
        need_whole_if_split(u, v->bias), need_whole_if_split(u, v->addend), need_whole_if_split(u, v->more);
    }
    for (size_t k = 0; k < g->outputs.n; k++) {
        need_whole_if_split(u, g->outputs.at[k].node);
        need_whole_if_split(u, g->outputs.at[k].evaluate);
    }
    for (size_t k = 0; k < g->inputs.n; k++) need_whole_if_split(u, g->inputs.at[k].grad);
}

/* Columns that must be whole are copied out of the rows that they stand in. */
static void take_views(ctl_grouping *u) {
    take_wholes(u);
    for (ctl_node_id id = 0; id < u->g->n; id++) {
        const ctl_node *n = at(u, id);
        ctl_value *v = &u->value[id];
        if (v->part == PART_TASK && n->op == OP_TRANSPOSE && (n->rows == 1 || n->cols == 1) &&
            owns_storage(u, ctl_group_stored(u, n->in[0]))) {
            v->part = PART_VIEW;
            need_whole(u, n->in[0]);
        } else if (v->part == PART_ROW && n->op == OP_COLUMNS && n->split == 1 && !v->whole) {
            ctl_node_id of = ctl_group_stored(u, n->in[0]);
            if (u->value[of].part != PART_ROW || at(u, of)->op == OP_COLSUM) v->part = PART_VIEW;
        }
    }
}

/* Who could write the piece of a CAT directly: through split and join, which move no number. */
static ctl_node_id piece_owner(const ctl_grouping *u, ctl_node_id id) {
    for (;;) {
        id = ctl_group_stored(u, id);
        const ctl_node *n = at(u, id);
        if (u->value[id].part != PART_VIEW || (n->op != OP_SPLIT && n->op != OP_JOIN) ||
            n->space == SPACE_NONE)
            break;
        id = n->in[0];
    }
    return u->value[id].part == PART_TASK ? u->value[id].result[0] : id;
}

static bool can_be_slice(const ctl_grouping *u, ctl_node_id panel, ctl_node_id owner) {
    const ctl_value *v = &u->value[owner];
    bool made =
        v->part == PART_RESULT || v->part == PART_ROW || v->part == PART_PANEL || v->part == PART_TASK;
    return made && v->list == u->value[panel].list && v->panel == CTL_NONE && !v->whole && owner != panel &&
           ctl_group_dtype(u, owner) == ctl_group_dtype(u, panel);
}

static bool take_cat(ctl_grouping *u, ctl_node_id id) {
    const ctl_node *n = at(u, id);
    int64_t column = 0;
    uint32_t done = 0;
    for (; done < n->nin; done++) {
        ctl_node_id owner = piece_owner(u, n->in[done]);
        const ctl_node *o = at(u, owner);
        if (o->op == OP_COLSUM || o->space != n->space || o->rows / o->split != n->rows) break;
        if (u->value[owner].part == PART_PANEL && o->op != OP_CAT) break;
        if (!can_be_slice(u, id, owner)) break;
        u->value[owner].panel = id, u->value[owner].panel_at = column;
        column += at(u, n->in[done])->cols;
    }
    if (done == n->nin) return true;
    while (done-- > 0) u->value[piece_owner(u, n->in[done])].panel = CTL_NONE;
    return false;
}

static void take_stack(ctl_grouping *u, ctl_node_id id) {
    const ctl_node *n = at(u, id);
    int64_t row = 0;
    for (uint32_t k = 0; k < n->nin; k++) {
        ctl_node_id piece = ctl_group_stored(u, n->in[k]);
        if (u->value[piece].part == PART_TASK) piece = u->value[piece].result[0];
        ctl_value *v = &u->value[piece];
        const ctl_node *p = at(u, piece);
        bool frozen = p->op == OP_PARAM && !u->g->params.at[p->i[0]].trained && v->panel == CTL_NONE &&
                      ctl_group_dtype(u, piece) == ctl_group_dtype(u, id) && at(u, id)->rate == RATE_LOAD;
        bool whole = v->whole;
        v->whole = false; /* slices of a stack are whole: its rows are never padded */
        if (frozen || (v->part != PART_PANEL && can_be_slice(u, id, piece))) v->panel = id, v->panel_at = row;
        v->whole = whole;
        row += at(u, n->in[k])->rows;
    }
}

static void take_panels(ctl_grouping *u, const bool *from_memory) {
    for (ctl_node_id id = 0; id < u->g->n; id++) {
        const ctl_node *n = at(u, id);
        ctl_value *v = &u->value[id];
        if (n->op == OP_STACK && v->part == PART_PANEL) take_stack(u, id);
        if (n->op == OP_CAT && v->part == PART_ROW && n->split == 1 && from_memory[id] && !v->whole &&
            take_cat(u, id))
            v->part = PART_PANEL;
    }
}

/* ---- who is needed whatever happens ---- */
static void take_roots(ctl_grouping *u) {
    const ctl_graph *g = u->g;
    for (size_t k = 0; k < g->outputs.n; k++)
        root(u, g->outputs.at[k].node), root(u, g->outputs.at[k].evaluate);
    root(u, g->loss);
    for (size_t k = 0; k < g->inputs.n; k++) root(u, g->inputs.at[k].grad);
    for (size_t k = 0; k < g->params.n; k++)
        if (g->params.at[k].init == INIT_VALUE) root(u, g->params.at[k].init_node);
    ctl_node_ids reads = {0};
    for (ctl_node_id id = 0; id < g->n; id++) {
        const ctl_value *v = &u->value[id];
        if (v->part != PART_ROW && v->part != PART_TASK && v->part != PART_PANEL) continue;
        reads.n = 0;
        ctl_group_reads(u, id, &reads);
        for (size_t k = 0; k < reads.n; k++) {
            ctl_node_id base = ctl_group_base(u, reads.at[k]);
            if (u->value[base].list != v->list) u->value[base].root = u->value[base].crossing = true;
        }
    }
}

/* A term of a gradient is summed where it is made, when that is all it is for. */
static void take_sinks(ctl_grouping *u) {
    for (size_t k = 0; k < u->sinks.n; k++) {
        ctl_node_id id = u->sinks.at[k].value;
        ctl_value *v = &u->value[id];
        const ctl_node *n = at(u, id);
        bool made = n->op == OP_COLSUM || n->op == OP_MATMUL || n->op == OP_SCATTER || n->op == OP_MIX_GRAD ||
                    (n->op == OP_PART && v->task != id);
        if (n->op == OP_PART) made = at(u, v->task)->op == OP_HEAD && n->i[0] == 2;
        if (made && n->rate == RATE_STEP && v->uses == 1 && v->part != PART_UNUSED) {
            v->sum_into = u->sinks.at[k].param;
            v->root = true;
        } else if (n->rate != RATE_STEP) {
            root(u, id); /* read by every micro-step */
        } else {
            u->value[ctl_group_base(u, id)].root = true;
        }
    }
}

void ctl_group_values(ctl_grouping *u) {
    const ctl_graph *g = u->g;
    bool *live = ctl_graph_live(g, u->arena);
    bool *from_memory = CTL_NEW_ARRAY(u->arena, bool, g->n);
    uint8_t *cost = CTL_NEW_ARRAY(u->arena, uint8_t, g->n);
    ctl_node_id *sole = CTL_NEW_ARRAY(u->arena, ctl_node_id, g->n);
    for (ctl_node_id id = 0; id < g->n; id++) {
        const ctl_node *n = at(u, id);
        ctl_value *v = &u->value[id];
        *v = (ctl_value){.part = (uint8_t)(live[id] ? first_part(n) : PART_UNUSED),
                         .list = list_of(n),
                         .task = CTL_NONE,
                         .panel = CTL_NONE,
                         .sum_into = UINT32_MAX,
                         .bias = CTL_NONE,
                         .addend = CTL_NONE,
                         .more = CTL_NONE,
                         .result = {CTL_NONE, CTL_NONE, CTL_NONE, CTL_NONE}};
        v->same = is_identity(u, id) ? u->value[n->in[0]].same : id;
        sole[id] = CTL_NONE;
        for (uint32_t k = 0; live[id] && reads_memory((ctl_op)n->op) && k < n->nin; k++)
            from_memory[ctl_group_stored(u, n->in[k])] = true;
    }
    count_uses(u, live, sole);
    for (size_t k = 0; k < g->params.n; k++)
        if (g->params.at[k].trained && g->params.at[k].grad != CTL_NONE)
            take_terms(u, g->params.at[k].grad, (uint32_t)k);
    take_tasks(u, sole);
    take_inlined(u, cost);
    take_views(u);
    take_panels(u, from_memory);
    take_roots(u);
    take_sinks(u);
}
