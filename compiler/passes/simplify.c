/* simplify.c: the simplify pass, run after elaboration and again after differentiation; and two of its parts.
 *
 * A state read only as one edge of another state is not rounded by itself: its edges take its place in the
 * other's sum, in textual order, summed from the left. So a projection inside a residual is rounded once,
 * with the residual, and its product can add to the residual directly. A sum is recognised by its shape:
 * STATE over ADDs that nest to the left and that nothing else reads; an ADD on the right is an edge's own
 * arithmetic and stays.
 *
 * One thing departs from textual order: a one-row edge (a bias) that follows a product is added to the
 * product first, so that the product's task can take it along whatever else the state sums. */
#include "compiler/passes/simplify.h"

#include "compiler/passes/cross_entropy.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/rewrite.h"

/* A value on its way into a sum: its ADDs are the sum's own where `spine`. */
typedef struct addend {
    ctl_node_id id;
    bool spine;
} addend;
typedef CTL_VEC(addend) addends;

/* The edges of state `id`, with the edges of states that dissolve in their places. */
static bool collect_edges(const ctl_graph *g, const uint32_t *readers, ctl_node_id id, addends *open,
                          addends *edges) {
    bool dissolved = false;
    open->n = edges->n = 0;
    CTL_PUSH(g->arena, open, (addend){g->at[id].in[0], true});
    while (open->n) {
        addend a = open->at[--open->n];
        const ctl_node *n = &g->at[a.id];
        bool own = readers[a.id] == 1 && n->rate == g->at[id].rate && n->entry == g->at[id].entry;
        if (n->op == OP_ADD && a.spine && own) {
            CTL_PUSH(g->arena, open, (addend){n->in[1], false});
            CTL_PUSH(g->arena, open, (addend){n->in[0], true});
        } else if (n->op == OP_STATE && own) {
            dissolved = true;
            CTL_PUSH(g->arena, open, (addend){n->in[0], true});
        } else {
            CTL_PUSH(g->arena, edges, a);
        }
    }
    return dissolved;
}

/* Whether edge k is one row of weights and the edge before it a product of its own. */
static bool binds(const ctl_graph *g, const uint32_t *readers, const addends *edges, size_t k) {
    if (k == 0) return false;
    const ctl_node *bias = &g->at[edges->at[k].id], *product = &g->at[edges->at[k - 1].id];
    return bias->space == SPACE_NONE && bias->rate != RATE_STEP && bias->rows == 1 &&
           product->op == OP_MATMUL && product->space != SPACE_NONE && product->cols == bias->cols &&
           readers[edges->at[k - 1].id] == 1;
}

/* Whether the sum has to be written anew: the first two edges are added first anyway. */
static bool rebinds(const ctl_graph *g, const uint32_t *readers, const addends *edges) {
    for (size_t k = 2; k < edges->n; k++) {
        if (binds(g, readers, edges, k)) return true;
    }
    return false;
}

static ctl_node_id sum_edges(ctl_rewrite *r, const ctl_node *like, const uint32_t *readers,
                             const addends *edges) {
    ctl_node_id total = CTL_NONE;
    for (size_t k = 0; k < edges->n; k++) {
        ctl_node_id term = r->map[edges->at[k].id];
        if (k + 1 < edges->n && binds(r->in, readers, edges, k + 1)) {
            ctl_node_id pair[] = {term, r->map[edges->at[++k].id]};
            term = ctl_rewrite_make(r, like, OP_ADD, 2, pair, 0, 0);
        }
        ctl_node_id pair[] = {total, term};
        total = total == CTL_NONE ? term : ctl_rewrite_make(r, like, OP_ADD, 2, pair, 0, 0);
    }
    return total;
}

ctl_graph *ctl_simplify_states(const ctl_graph *in) {
    ctl_rewrite r;
    ctl_rewrite_begin(&r, in);
    uint32_t *readers = ctl_count_readers(in, in->arena);
    addends open = {0}, edges = {0};
    for (size_t k = 0; k < in->n; k++) {
        ctl_node_id id = (ctl_node_id)k;
        ctl_node node = ctl_rewrite_mapped(&r, id);
        if (node.op == OP_STATE) {
            bool dissolved = collect_edges(in, readers, id, &open, &edges);
            if (dissolved || rebinds(in, readers, &edges)) node.in[0] = sum_edges(&r, &node, readers, &edges);
        }
        r.map[k] = ctl_rewrite_node(&r, &node);
    }
    return ctl_rewrite_end(&r);
}

/* Whether cross-entropy `loss` reads logits that are a product with a weight and that only it reads, and of
 * what. */
static bool match_head(const ctl_graph *g, const uint32_t *readers, ctl_node_id loss,
                       ctl_node_id operands[3]) {
    ctl_node_id logits, labels;
    if (!ctl_match_cross_entropy(g, loss, &logits, &labels)) return false;
    if (readers[logits] != 3) return false; /* the maximum, the difference from it, the label's logit */
    ctl_node_id product = logits;
    if (g->at[logits].op == OP_STATE) product = g->at[logits].in[0];
    const ctl_node *p = &g->at[product];
    if (p->op != OP_MATMUL || p->i[0] || !p->i[1] || (product != logits && readers[product] != 1))
        return false;
    if (g->at[p->in[0]].space == SPACE_NONE || g->at[p->in[1]].rate == RATE_STEP) return false;
    operands[0] = p->in[0], operands[1] = p->in[1], operands[2] = labels;
    return true;
}

ctl_graph *ctl_simplify_head(const ctl_graph *in) {
    ctl_rewrite r;
    ctl_rewrite_begin(&r, in);
    uint32_t *readers = ctl_count_readers(in, in->arena);
    for (size_t k = 0; k < in->n; k++) {
        ctl_node node = ctl_rewrite_mapped(&r, (ctl_node_id)k);
        ctl_node_id operands[3];
        if (node.op == OP_MUL && match_head(in, readers, (ctl_node_id)k, operands)) {
            for (int j = 0; j < 3; j++) operands[j] = r.map[operands[j]];
            r.map[k] = ctl_rewrite_make(&r, &node, OP_HEAD, 3, operands, 0, 0);
        } else {
            r.map[k] = ctl_rewrite_node(&r, &node);
        }
    }
    return ctl_rewrite_end(&r);
}

void ctl_pass_simplify(const ctl_graph *in, ctl_graph **out) {
    ctl_graph *folded = ctl_simplify_fold(in);
    ctl_graph *summed = ctl_simplify_states(folded);
    const ctl_graph *picked = ctl_simplify_picks(summed);
    ctl_graph *headed = ctl_simplify_head(picked);
    *out = ctl_simplify_fold(headed);
}
