/* rewrite: what the passes that rebuild a graph stand on. A new graph grows beside the old one; equal nodes
 * are made once (common subexpressions); at the end what nothing needs is left out.
 *
 * Two nodes are equal when operation, attributes, type and inputs are, and evaluate's nodes are kept apart
 * from those of the micro-step. A backward node that equals a forward one is the forward one: whether
 * backward reads it from memory or rebuilds it is the save pass's business. Dropouts of different sites
 * differ in an attribute. */
#ifndef CTL_REWRITE_H
#define CTL_REWRITE_H

#include "compiler/graph/graph_copy.h"

typedef struct ctl_rewrite {
    ctl_graph_copy *copy; /* the two graphs below and the names that both share */
    const ctl_graph *in;
    ctl_graph *out;
    ctl_node_id *map; /* by node of `in`: the node of `out` that stands for it, CTL_NONE before it is made */
    ctl_map known;
} ctl_rewrite;

void ctl_rewrite_begin(ctl_rewrite *r, const ctl_graph *in);

/* The node of `out` that equals *node (inputs are nodes of `out`, entry is used when the rate is step): found
 * or added. */
ctl_node_id ctl_rewrite_node(ctl_rewrite *r, const ctl_node *node);

/* The same without adding: CTL_NONE when there is none. */
ctl_node_id ctl_rewrite_find(const ctl_rewrite *r, const ctl_node *node);

/* A node made up by a pass, in the place of `like`, a node of `out` that lends span, path and entry. */
ctl_node_id ctl_rewrite_make(ctl_rewrite *r, const ctl_node *like, ctl_op op, uint32_t nin,
                             const ctl_node_id *in, int64_t i0, int64_t i1);

/* Node `id` of `in` with its inputs mapped, not yet in `out`. */
ctl_node ctl_rewrite_mapped(ctl_rewrite *r, ctl_node_id id);

/* Maps parameters, inputs, outputs and loss, and drops dead nodes. */
ctl_graph *ctl_rewrite_end(ctl_rewrite *r);

/* Readers of every node: operands of other nodes, the loss, outputs, gradients and initial values count one
 * each. */
uint32_t *ctl_count_readers(const ctl_graph *g, ctl_arena *arena);

#endif
