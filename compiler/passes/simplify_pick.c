/* simplify_pick.c: what is picked is picked early. A classifier reads one row of each sequence of the last layer: then that
 * layer's row by row work, products included, is done for those rows alone.
 *
 * One walk from the last node to the first finds the values of which one row of each sequence, the same for all readers, is
 * all that anything needs: every reader picks that row, or works row by row and is itself so needed. They are then made of
 * picked rows; where their inputs are needed whole, or cross rows (attention), the rows are picked there. Dropout counts
 * rows, so it stays. Bits do not change: rows are computed as they were. */
#include "compiler/passes/rewrite.h"
#include "compiler/passes/simplify.h"

enum { NOTHING = -1, ALL = -2 }; /* else the number of the row */

typedef struct picker {
    ctl_rewrite r;
    int64_t *need;       /* by old node, of rows of documents */
    ctl_node_id *picked; /* by old node: its picked rows in the new graph, CTL_NONE before they are asked for */
} picker;

static bool has_documents(const ctl_graph *g, ctl_node_id id) { return ctl_space_has_documents(g->at[id].space); }

/* Whether a row of the result is made of the same row of each operand that has rows. */
static bool by_rows(const ctl_node *n) {
    switch (ctl_op_class_of((ctl_op)n->op)) {
    case CLASS_MAP: return n->op != OP_DROP && n->op != OP_TOREAL && n->op != OP_TOINT;
    case CLASS_REDUCE: return true;
    case CLASS_VIEW: return n->op != OP_PART;
    case CLASS_PRODUCT: return !n->i[0];
    default: return false;
    }
}

static void needs(picker *p, ctl_node_id id, int64_t row) {
    if (id == CTL_NONE) return;
    p->need[id] = p->need[id] == NOTHING || p->need[id] == row ? row : ALL;
}

static void needs_roots(picker *p) {
    const ctl_graph *g = p->r.in;
    for (size_t k = 0; k < g->outputs.n; k++) needs(p, g->outputs.at[k].node, ALL), needs(p, g->outputs.at[k].evaluate, ALL);
    for (size_t k = 0; k < g->inputs.n; k++) needs(p, g->inputs.at[k].grad, ALL);
    for (size_t k = 0; k < g->params.n; k++) {
        needs(p, g->params.at[k].grad, ALL);
        if (g->params.at[k].init == INIT_VALUE) needs(p, g->params.at[k].init_node, ALL);
    }
    needs(p, g->loss, ALL);
}

/* Whether there is anything to gain. */
static bool find_needs(picker *p) {
    const ctl_graph *g = p->r.in;
    const bool *live = ctl_graph_live(g, g->arena);
    bool gains = false;
    for (size_t id = 0; id < g->n; id++) p->need[id] = NOTHING, p->picked[id] = CTL_NONE;
    needs_roots(p);
    for (size_t id = g->n; id-- > 0;) {
        const ctl_node *n = &g->at[id];
        bool through = p->need[id] >= 0 && by_rows(n);
        gains |= through;
        for (uint32_t k = 0; live[id] && k < n->nin; k++)
            if (has_documents(g, n->in[k])) needs(p, n->in[k], n->op == OP_PICK ? n->i[0] : through ? p->need[id] : ALL);
    }
    return gains;
}

/* The picked rows of an old node that is made already. */
static ctl_node_id rows_of(picker *p, ctl_node_id id, int64_t row, const ctl_node *like) {
    if (p->picked[id] != CTL_NONE && p->need[id] == row) return p->picked[id];
    return ctl_rewrite_make(&p->r, like, OP_PICK, 1, &p->r.map[id], row, 0);
}

const ctl_graph *ctl_simplify_picks(const ctl_graph *in) {
    picker p = {0};
    ctl_rewrite_begin(&p.r, in);
    p.need = CTL_NEW_ARRAY(in->arena, int64_t, in->n);
    p.picked = CTL_NEW_ARRAY(in->arena, ctl_node_id, in->n);
    if (!find_needs(&p)) return in;
    for (size_t k = 0; k < in->n; k++) {
        ctl_node_id id = (ctl_node_id)k;
        ctl_node node = ctl_rewrite_mapped(&p.r, id);
        if (node.op == OP_PICK) {
            p.r.map[k] = rows_of(&p, in->at[k].in[0], node.i[0], &node);
        } else if (p.need[k] >= 0 && by_rows(&node)) {
            for (uint32_t j = 0; j < node.nin; j++)
                if (has_documents(in, in->at[k].in[j])) node.in[j] = rows_of(&p, in->at[k].in[j], p.need[k], &node);
            p.picked[k] = ctl_rewrite_node(&p.r, &node);
        } else if (p.need[k] != NOTHING || !has_documents(in, id)) {
            p.r.map[k] = ctl_rewrite_node(&p.r, &node);
        }
    }
    return ctl_rewrite_end(&p.r);
}
