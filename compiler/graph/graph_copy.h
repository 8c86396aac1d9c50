/* graph_copy: how a pass writes a new graph from an old one.
 *
 *     ctl_graph_copy *c = ctl_copy_begin(in);
 *     for (ctl_node_id id = 0; id < in->n; id++) {
 *         if (... something else stands here ...) c->map[id] = ...;   // any node of c->out; CTL_NONE drops
 * it else ctl_copy_node(c, id);
 *     }
 *     *out = ctl_copy_end(c);
 *
 * The new graph lies in the old one's arena. Parameters, inputs, outputs, rows and the loss are carried over:
 * their PARAM and INPUT nodes are found again in the new graph, everything else goes through the map. */
#ifndef CTL_GRAPH_COPY_H
#define CTL_GRAPH_COPY_H

#include "compiler/graph/graph.h"

typedef struct ctl_graph_copy {
    const ctl_graph *in;
    ctl_graph *out;
    ctl_node_id *map; /* for every node of in: its node of out; CTL_NONE while there is none */
} ctl_graph_copy;

ctl_graph_copy *ctl_copy_begin(const ctl_graph *in);
/* Copies a node with its inputs mapped, in its own entry, and enters it in the map. */
ctl_node_id ctl_copy_node(ctl_graph_copy *c, ctl_node_id id);
/* The same with other attributes, element type or inputs: `changed` has inputs of c->out already. */
ctl_node_id ctl_copy_changed(ctl_graph_copy *c, ctl_node_id id, const ctl_node *changed);
ctl_graph *ctl_copy_end(ctl_graph_copy *c);

/* live[id]: whether an output, the loss, a gradient or an initial value needs the node. n flags in the arena.
 */
bool *ctl_graph_live(const ctl_graph *g, ctl_arena *arena);
/* The graph without dead nodes. Parameters and inputs that nothing uses stay listed, with node CTL_NONE. */
ctl_graph *ctl_graph_sweep(const ctl_graph *g);

#endif
