/* save: what forward keeps for backward, when nothing but row by row work may be done twice (the plan M0, of least time).
 *
 * Results of products, attention, the head and sums over rows cannot be rebuilt: they are the sources. Maps,
 * reductions along rows, views and look-ups in weights can be rebuilt from their inputs. Leaves and values of
 * rates load and update are at hand anyway. What backward reads of forward are the sinks, and the least
 * vertex cut between (cut.h), with the bytes of a value as its cost, is what to keep. Of equal cuts the
 * latest rebuilds least. A 16-bit cast is kept rather than the f32 value that it was made from, for it costs
 * half; a panel rather than all its slices. */
#include "compiler/remat/remat.h"

#include "compiler/remat/apply.h"
#include "compiler/remat/cut.h"

/* In units finer than a byte, so that of equal sizes the value itself wins over its views. */
enum { COST_OF_BYTE = 64 };
static int64_t cost_of(const ctl_node *n) {
    bool view = n->op == OP_COLUMNS || n->op == OP_SPLIT || n->op == OP_JOIN;
    return COST_OF_BYTE * ctl_value_bytes(n) + view;
}

bool *ctl_keep_least_time(ctl_arena *arena, const ctl_graph *g) {
    CTL_VEC(ctl_cut_edge) edges = {0};
    ctl_cut_vertex *at = CTL_NEW_ARRAY(arena, ctl_cut_vertex, g->n);
    for (size_t k = 0; k < g->n; k++) {
        const ctl_node *n = &g->at[k];
        at[k].cost = 1;
        if (ctl_is_forward(n)) {
            at[k].cost = cost_of(n);
            at[k].source = !ctl_is_row_work(n);
        }
        for (uint32_t j = 0; j < n->nin; j++) {
            if (!ctl_is_forward(&g->at[n->in[j]])) continue;
            if (ctl_is_backward(n)) at[n->in[j]].sink = true;
            if (ctl_is_forward(n) && !at[k].source) CTL_PUSH(arena, &edges, (ctl_cut_edge){n->in[j], (uint32_t)k});
        }
    }
    ctl_cut_least(arena, at, g->n, edges.at, edges.n);
    bool *kept = CTL_NEW_ARRAY(arena, bool, g->n);
    for (size_t k = 0; k < g->n; k++) kept[k] = at[k].kept;
    return kept;
}

void ctl_pass_save(const ctl_graph *in, ctl_graph **out) {
    const ctl_segments *s = ctl_segments_find(in->arena, in);
    ctl_keep_plan plan = ctl_keep_plain(in->arena, s, ctl_keep_least_time(in->arena, in));
    *out = ctl_keep_apply(in, &plan, true);
}

int64_t ctl_saved_bytes(const ctl_graph *g) {
    bool *seen = CTL_NEW_ARRAY(g->arena, bool, g->n);
    int64_t bytes = 0;
    for (size_t k = 0; k < g->n; k++) {
        if (!ctl_is_backward(&g->at[k])) continue;
        for (uint32_t j = 0; j < g->at[k].nin; j++) {
            ctl_node_id id = ctl_viewed(g, g->at[k].in[j]);
            if (ctl_is_forward(&g->at[id]) && !seen[id]) bytes += ctl_value_bytes(&g->at[id]);
            seen[id] = true;
        }
    }
    return bytes;
}
