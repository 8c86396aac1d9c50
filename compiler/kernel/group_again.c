/* group_again: what is computed again instead of being stored. See group.h.
 *
 * A value qualifies when only row programs over its own rows read it, computing it takes element by element
 * operations of at most MOST_COST together (a transcendental function counts ten or more), and it is computed
 * from at most MOST_WIDE stored rows whose bytes are no more than its own. So rebuilding never moves more
 * bytes than storing, and what it reads need not live much longer: mostly that is what forward has saved.
 * Numbers (one a row) are not counted. */
#include "compiler/kernel/group.h"

enum { MOST_COST = 24, MOST_WIDE = 4 };

typedef struct rebuild {
    uint32_t n;
    int32_t cost;
    ctl_node_id from[MOST_WIDE]; /* stored rows wider than one number */
} rebuild;

static const ctl_node *at(const ctl_grouping *u, ctl_node_id id) {
    return &u->g->at[id];
}

static int32_t cost_of(const ctl_node *n) {
    switch (n->op) {
    case OP_CAST:
        return 2;
    case OP_DIV:
    case OP_SQRT:
    case OP_RSQRT:
    case OP_MOD:
        return 3;
    case OP_EXP:
    case OP_LOG:
        return 10;
    case OP_TANH:
    case OP_ERF:
        return 12;
    case OP_SIN:
    case OP_COS:
    case OP_POW:
    case OP_DROP:
        return MOST_COST;
    default:
        return ctl_op_class_of((ctl_op)n->op) == CLASS_MAP ? 1 : MOST_COST + 1;
    }
}

static bool read_by_rows_alone(const ctl_grouping *u, ctl_node_id id) {
    const ctl_value *v = &u->value[id];
    if (v->part != PART_ROW || v->inlined || v->same != id || v->crossing || v->root || v->panel != CTL_NONE)
        return false;
    for (uint32_t k = u->reader_begin[id]; k < u->reader_begin[id + 1]; k++) {
        ctl_node_id reader = u->readers[k];
        if (u->value[reader].part != PART_ROW || !ctl_group_joins(u, reader, id)) return false;
    }
    return true;
}

static bool add(const ctl_grouping *u, rebuild *r, ctl_node_id from) {
    if (at(u, from)->cols == 1 || at(u, from)->space == SPACE_NONE) return true;
    for (uint32_t k = 0; k < r->n; k++)
        if (r->from[k] == from) return true;
    if (r->n == MOST_WIDE) return false;
    r->from[r->n++] = from;
    return true;
}

static int64_t bytes_of_row(const ctl_grouping *u, ctl_node_id id) {
    return at(u, id)->cols * (int64_t)ctl_dtype_size(ctl_group_dtype(u, id));
}

/* Notes what rebuilding the value takes; false when that is too much. */
static bool can_rebuild(ctl_grouping *u, rebuild *all, ctl_node_id id, ctl_node_ids *reads) {
    rebuild *r = &all[id];
    r->cost = cost_of(at(u, id));
    if (at(u, id)->space == SPACE_NONE || r->cost > MOST_COST || !read_by_rows_alone(u, id)) return false;
    reads->n = 0;
    ctl_group_reads(u, id, reads);
    for (size_t k = 0; k < reads->n; k++) {
        ctl_node_id read = reads->at[k];
        if (!u->value[read].again || !ctl_group_joins(u, id, read)) {
            if (!add(u, r, read)) return false;
            continue;
        }
        r->cost += all[read].cost;
        for (uint32_t j = 0; j < all[read].n; j++)
            if (!add(u, r, all[read].from[j])) return false;
    }
    int64_t bytes = 0;
    for (uint32_t k = 0; k < r->n; k++) bytes += bytes_of_row(u, r->from[k]);
    return r->cost <= MOST_COST && bytes <= bytes_of_row(u, id);
}

void ctl_group_again(ctl_grouping *u) {
    rebuild *all = CTL_NEW_ARRAY(u->arena, rebuild, u->g->n);
    ctl_node_ids reads = {0};
    for (ctl_node_id id = 0; id < u->g->n; id++)
        if (u->value[id].part == PART_ROW) u->value[id].again = can_rebuild(u, all, id, &reads);
}
