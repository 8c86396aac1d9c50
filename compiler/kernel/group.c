/* group: the units of every list, in the order in which they run. See group.h. */
#include "compiler/kernel/group.h"

enum {
    MOST_MEMBERS = 150, /* of a row program: its code must stay small enough to be compiled fast */
    MOST_ARGUMENTS = CTL_MOST_OPERANDS - 4,
    MOST_LOOKED_BACK = 16 /* row programs at the end of a list that a node may still join */
};

static const ctl_node *at(const ctl_grouping *u, ctl_node_id id) {
    return &u->g->at[id];
}

/* ---- the reads of all nodes, turned round ---- */
static void collect_readers(ctl_grouping *u) {
    const size_t n = u->g->n;
    u->reader_begin = CTL_NEW_ARRAY(u->arena, uint32_t, n + 2);
    ctl_node_ids reads = {0};
    for (int pass = 0; pass < 2; pass++) {
        for (ctl_node_id id = 0; id < n; id++) {
            uint8_t part = u->value[id].part;
            if (part == PART_UNUSED || part == PART_LEAF || part == PART_ABSORBED || part == PART_RESULT)
                continue;
            reads.n = 0;
            ctl_group_reads(u, id, &reads);
            for (size_t k = 0; k < reads.n; k++) {
                if (pass == 0)
                    u->reader_begin[reads.at[k] + 2]++;
                else
                    u->readers[u->reader_begin[reads.at[k] + 1]++] = id;
            }
        }
        if (pass == 1) break;
        for (size_t id = 0; id < n; id++) u->reader_begin[id + 2] += u->reader_begin[id + 1];
        u->readers = CTL_NEW_ARRAY(u->arena, ctl_node_id, u->reader_begin[n + 1]);
    }
}

/* ---- row programs ---- */
bool ctl_group_in_unit(const ctl_grouping *u, int list, uint32_t unit, ctl_node_id id) {
    const ctl_value *v = &u->value[id];
    return v->part == PART_ROW && v->ready && v->list == list && v->group == unit;
}

void ctl_group_loads(ctl_grouping *u, int list, uint32_t unit, ctl_node_id id, ctl_node_ids *out,
                     ctl_node_ids *own) {
    ctl_node_ids reads = {0};
    ctl_group_reads(u, id, &reads);
    for (size_t k = 0; k < reads.n; k++) {
        ctl_node_id read = reads.at[k];
        if (ctl_group_in_unit(u, list, unit, read) && at(u, read)->op != OP_COLSUM) {
            if (own) CTL_PUSH(u->arena, own, read);
        } else if (u->value[read].again) {
            ctl_group_loads(u, list, unit, read, out, own);
        } else {
            CTL_PUSH(u->arena, out, read);
        }
    }
}

/* A member's result must be stored when anything outside of its row program reads it. */
static bool read_outside(const ctl_grouping *u, int list, uint32_t unit, ctl_node_id id) {
    const ctl_value *v = &u->value[id];
    if (v->again) return false;
    if (v->crossing || v->panel != CTL_NONE) return true;
    for (uint32_t k = u->reader_begin[id]; k < u->reader_begin[id + 1]; k++) {
        ctl_node_id reader = u->readers[k];
        if (u->value[reader].part != PART_ROW || !ctl_group_in_unit(u, list, unit, reader)) return true;
    }
    return false;
}

static bool has_id(const ctl_node_ids *ids, ctl_node_id id) {
    for (size_t k = 0; k < ids->n; k++)
        if (ids->at[k] == id) return true;
    return false;
}

static ctl_node_ids outside_of(const ctl_unit *unit) {
    return (ctl_node_ids){unit->outside.at, unit->outside.n, unit->outside.cap};
}

static bool fits(ctl_grouping *u, int list, uint32_t number, ctl_node_id id) {
    ctl_unit *unit = &u->list[list].at[number];
    if (unit->members.n + 1 > MOST_MEMBERS) return false;
    size_t arguments = unit->outside.n + unit->extras.n + 2;
    ctl_node_ids outside = outside_of(unit), loads = {0};
    ctl_group_loads(u, list, number, id, &loads, NULL);
    for (size_t k = 0; k < loads.n; k++)
        if (!has_id(&outside, loads.at[k])) arguments++;
    if (at(u, id)->op == OP_COLSUM || read_outside(u, list, number, id)) arguments++;
    for (size_t k = 0; k < unit->members.n; k++) {
        ctl_node_id m = unit->members.at[k];
        if (at(u, m)->op == OP_COLSUM || read_outside(u, list, number, m)) arguments++;
    }
    return arguments <= MOST_ARGUMENTS;
}

static bool same_rows(ctl_grouping *u, const ctl_unit *unit, ctl_node_id id) {
    int space;
    int32_t split;
    int64_t rows;
    ctl_group_rows(u, id, &space, &split, &rows);
    return unit->kind == UNIT_ROWS && unit->space == space && unit->split == split && unit->rows == rows;
}

static bool shares(const ctl_unit *unit, const ctl_node_ids *reads) {
    ctl_node_ids outside = outside_of(unit);
    for (size_t k = 0; k < reads->n; k++)
        if (has_id(&outside, reads->at[k])) return true;
    return false;
}

static uint32_t new_unit(ctl_grouping *u, int list, const ctl_unit *unit) {
    CTL_PUSH(u->arena, &u->list[list], *unit);
    return (uint32_t)u->list[list].n - 1;
}

static int64_t bytes_of(const ctl_grouping *u, ctl_node_id id) {
    return at(u, id)->rows * at(u, id)->cols * (int64_t)ctl_dtype_size(ctl_group_dtype(u, id));
}

static bool only_rows_after(const ctl_units *units, uint32_t number) {
    for (uint32_t k = (uint32_t)units->n; k-- > number + 1;)
        if (units->at[k].kind == UNIT_TASK) return false;
    return true;
}

/* Whether anything but the node needs this member of the unit stored. Readers that may still join are not
 * counted. */
static bool stored_anyway(const ctl_grouping *u, int list, uint32_t unit, ctl_node_id member,
                          ctl_node_id node) {
    if (u->value[member].again || u->value[member].crossing || u->value[member].panel != CTL_NONE)
        return true;
    for (uint32_t k = u->reader_begin[member]; k < u->reader_begin[member + 1]; k++) {
        ctl_node_id reader = u->readers[k];
        if (reader == node || ctl_group_in_unit(u, list, unit, reader)) continue;
        if (u->value[reader].ready || !ctl_group_joins(u, reader, member)) return true;
    }
    return false;
}

/* A node in a row program far back is kept until now; but then the members that it alone reads need not be.
 */
static bool worth_joining(ctl_grouping *u, int list, uint32_t unit, ctl_node_id id,
                          const ctl_node_ids *reads) {
    int64_t spared = 0;
    for (size_t k = 0; k < reads->n; k++)
        if (ctl_group_in_unit(u, list, unit, reads->at[k]) && !stored_anyway(u, list, unit, reads->at[k], id))
            spared += bytes_of(u, reads->at[k]);
    return u->value[id].again || bytes_of(u, id) <= spared;
}

/* The row program that the node joins, or a new one. */
static uint32_t choose(ctl_grouping *u, int list, ctl_node_id id, const ctl_node_ids *reads) {
    uint32_t least = 0; /* everything outside is ready before this unit */
    uint32_t latest = UINT32_MAX;
    for (size_t k = 0; k < reads->n; k++) {
        const ctl_value *r = &u->value[reads->at[k]];
        if (r->part == PART_LEAF || r->list != list) continue;
        uint32_t from = r->unit + 1;
        if (ctl_group_joins(u, id, reads->at[k])) {
            from = r->group;
            if (latest == UINT32_MAX || r->group > latest) latest = r->group;
        }
        if (from > least) least = from;
    }
    const ctl_units *units = &u->list[list];
    if (!u->no_fuse) {
        if (latest != UINT32_MAX && latest >= least && fits(u, list, latest, id) &&
            (only_rows_after(units, latest) || worth_joining(u, list, latest, id, reads)))
            return latest;
        uint32_t looked = 0;
        for (uint32_t k = (uint32_t)units->n; k-- > least && looked++ < MOST_LOOKED_BACK;) {
            if (units->at[k].kind == UNIT_TASK) break;
            if (!same_rows(u, &units->at[k], id) || !fits(u, list, k, id)) continue;
            if (units->at[k].space != SPACE_NONE || shares(&units->at[k], reads)) return k;
        }
    }
    ctl_unit unit = {.kind = UNIT_ROWS, .node = id};
    ctl_group_rows(u, id, &unit.space, &unit.split, &unit.rows);
    return new_unit(u, list, &unit);
}

static void schedule_row(ctl_grouping *u, int list, ctl_node_id id, const ctl_node_ids *reads) {
    ctl_value *v = &u->value[id];
    uint32_t number = choose(u, list, id, reads);
    ctl_unit *unit = &u->list[list].at[number];
    ctl_node_ids loads = {0};
    ctl_group_loads(u, list, number, id, &loads, NULL);
    for (size_t k = 0; k < loads.n; k++) {
        ctl_node_ids outside = outside_of(unit);
        if (!has_id(&outside, loads.at[k])) CTL_PUSH(u->arena, &unit->outside, loads.at[k]);
    }
    CTL_PUSH(u->arena, &unit->members, id);
    v->group = v->unit = number;
    if (at(u, id)->op == OP_COLSUM) v->unit = new_unit(u, list, &(ctl_unit){.kind = UNIT_FOLD, .node = id});
    v->ready = true;
}

/* A row program of its own for something that is no node: a copy into a panel, a value added to a gradient.
 */
static uint32_t extra_unit(ctl_grouping *u, int list, const ctl_row_extra *extra) {
    const ctl_node *n = at(u, extra->value);
    ctl_unit unit = {.kind = UNIT_ROWS,
                     .node = extra->value,
                     .space = n->space,
                     .split = n->split,
                     .rows = n->rows / n->split};
    ctl_node_id same = u->value[extra->value].same;
    if (!u->value[same].inlined) CTL_PUSH(u->arena, &unit.outside, same);
    CTL_PUSH(u->arena, &unit.extras, *extra);
    return new_unit(u, list, &unit);
}

static void schedule_panel(ctl_grouping *u, int list, ctl_node_id id) {
    ctl_value *v = &u->value[id];
    const ctl_node *n = at(u, id);
    uint32_t latest = 0;
    int64_t begin = 0;
    for (uint32_t k = 0; k < n->nin; k++) {
        ctl_node_id piece = ctl_group_base(u, n->in[k]);
        const ctl_value *p = &u->value[piece];
        uint32_t unit = p->part == PART_LEAF || p->list != list ? 0 : p->unit;
        bool copied = n->op == OP_STACK && !(p->panel == id && p->panel_at == begin);
        if (copied)
            unit = extra_unit(
                u, list, &(ctl_row_extra){.value = n->in[k], .param = UINT32_MAX, .panel = id, .at = begin});
        if (unit > latest) latest = unit;
        begin += n->op == OP_STACK ? at(u, n->in[k])->rows : at(u, n->in[k])->cols;
    }
    v->unit = latest;
    v->ready = true;
}

static void schedule_task(ctl_grouping *u, int list, ctl_node_id id) {
    uint32_t unit = new_unit(u, list, &(ctl_unit){.kind = UNIT_TASK, .node = id});
    ctl_value *v = &u->value[id];
    v->ready = true, v->unit = unit;
    for (uint32_t k = 0; k < CTL_FUSED_RESULTS; k++) {
        if (v->result[k] == CTL_NONE) continue;
        u->value[v->result[k]].ready = true;
        u->value[v->result[k]].unit = unit;
    }
}

static void schedule(ctl_grouping *u, int list, ctl_node_id id, const ctl_node_ids *reads) {
    ctl_value *v = &u->value[id];
    switch (v->part) {
    case PART_ROW:
        schedule_row(u, list, id, reads);
        break;
    case PART_PANEL:
        schedule_panel(u, list, id);
        break;
    case PART_TASK:
        schedule_task(u, list, id);
        break;
    case PART_RESULT:
        schedule_task(u, list, v->task);
        break;
    case PART_VIEW: {
        const ctl_value *of = &u->value[ctl_group_base(u, id)];
        v->unit = of->unit;
        v->list = of->part == PART_LEAF ? RUN_LOAD : of->list;
        v->ready = true;
        break;
    }
    default:
        v->ready = true;
    }
}

/* Computes the node, and before it whatever it reads: depth first, with a stack of its own. */
static bool emit(ctl_grouping *u, int list, ctl_node_id id) {
    ctl_node_ids stack = {0}, reads = {0};
    CTL_PUSH(u->arena, &stack, id);
    while (stack.n) {
        ctl_node_id top = stack.at[stack.n - 1];
        const ctl_value *v = &u->value[top];
        if (v->ready || v->part == PART_LEAF) {
            stack.n--;
            continue;
        }
        if (v->list != list && v->part != PART_VIEW) {
            u->why = ctl_format(u->arena, "%%%u = %s is needed before its entry has run", top,
                                ctl_op_name((ctl_op)at(u, top)->op));
            return false;
        }
        reads.n = 0;
        ctl_group_reads(u, top, &reads);
        size_t before = stack.n;
        for (size_t k = reads.n; k-- > 0;)
            if (!u->value[reads.at[k]].ready && u->value[reads.at[k]].part != PART_LEAF)
                CTL_PUSH(u->arena, &stack, reads.at[k]);
        if (stack.n > before) continue;
        schedule(u, list, top, &reads);
        stack.n--;
    }
    return true;
}

/* ---- gradients' terms that no task sums by itself ---- */
/* Terms of one gradient are added in one order, fused or not, and never twice by one row program, which reads all before
 * it writes: so only a term that is the whole gradient is added where it is computed. */
static bool is_sole_term(const ctl_grouping *u, uint32_t param) {
    size_t terms = 0;
    for (size_t k = 0; k < u->sinks.n; k++) terms += u->sinks.at[k].param == param;
    return terms == 1;
}

static bool add_terms(ctl_grouping *u, int list, ctl_node_id id, bool late) {
    for (size_t k = 0; k < u->sinks.n; k++) {
        const ctl_sink_term *term = &u->sinks.at[k];
        const ctl_node *n = at(u, term->value);
        bool is_late = n->rate != RATE_STEP;
        if (u->value[term->value].sum_into != UINT32_MAX || is_late != late || (!late && term->value != id))
            continue;
        ctl_node_id same = u->value[term->value].same;
        if (!late && !emit(u, list, same)) return false;
        ctl_row_extra extra = {.value = term->value, .param = term->param, .panel = CTL_NONE};
        const ctl_value *v = &u->value[same];
        ctl_unit *unit =
            v->part == PART_ROW && n->op != OP_COLSUM && at(u, same)->op != OP_COLSUM && v->list == list
                ? &u->list[list].at[v->group]
                : NULL;
        if (unit && !u->no_fuse && is_sole_term(u, term->param) && fits(u, list, v->group, same))
            CTL_PUSH(u->arena, &unit->extras, extra);
        else
            extra_unit(u, list, &extra);
    }
    return true;
}

/* Backward runs in phases (remat.h), between which forward may be run again: what later phases alone read is computed at
 * its place, so that what it is made of need not wait. */
static bool ends_phase(const ctl_grouping *u, ctl_node_id id) {
    const ctl_value *v = &u->value[id];
    if (v->list != RUN_BACKWARD || v->part != PART_ROW || v->inlined || v->again || v->same != id) return false;
    for (uint32_t k = u->reader_begin[id]; k < u->reader_begin[id + 1]; k++)
        if (at(u, u->readers[k])->phase <= at(u, id)->phase) return false;
    return u->reader_begin[id] < u->reader_begin[id + 1];
}

static bool make_list(ctl_grouping *u, int list, const bool *has_term) {
    for (ctl_node_id id = 0; id < u->g->n; id++) {
        const ctl_value *v = &u->value[id];
        if (v->part != PART_UNUSED && v->part != PART_LEAF && v->list == list) {
            /* A product stands where its result does: what it adds must be ready. */
            bool task = v->part == PART_TASK && (at(u, id)->op != OP_MATMUL || v->result[0] == id);
            bool result = v->part == PART_RESULT && u->value[v->task].result[0] == id &&
                          at(u, v->task)->op == OP_MATMUL;
            bool wanted = (v->root && v->part != PART_RESULT && v->part != PART_TASK) || ends_phase(u, id);
            if ((task || result || wanted) && !emit(u, list, id)) return false;
        }
        if (has_term[id] && v->list == list && at(u, id)->rate == RATE_STEP && !add_terms(u, list, id, false))
            return false;
    }
    return list != RUN_BACKWARD || add_terms(u, list, CTL_NONE, true);
}

ctl_grouping *ctl_group(ctl_arena *arena, const ctl_graph *g, bool no_fuse, int64_t narrow, const char **why) {
    ctl_grouping *u = CTL_NEW(arena, ctl_grouping);
    *u = (ctl_grouping){.arena = arena, .g = g, .no_fuse = no_fuse, .narrow = narrow};
    u->value = CTL_NEW_ARRAY(arena, ctl_value, g->n);
    bool *has_term = CTL_NEW_ARRAY(arena, bool, g->n);
    bool done = true;
    ctl_group_values(u);
    collect_readers(u);
    if (!no_fuse) ctl_group_again(u);
    for (size_t k = 0; k < u->sinks.n; k++) has_term[u->sinks.at[k].value] = true;
    for (int list = 0; done && list < RUN_COUNT; list++) done = make_list(u, list, has_term);
    *why = u->why;
    if (!done) return NULL;
    ctl_group_needed(u);
    return u;
}
