/* rules: what every operation accepts and what type its result has. ctl_graph_add derives by them, the
 * verifier derives again and compares. */
#ifndef CTL_GRAPH_RULES_H
#define CTL_GRAPH_RULES_H

#include "compiler/graph/graph.h"

/* Fills rows, cols, space, split, dtype, rate and entry of `node` (its op, inputs and attributes are set;
 * leaves and CAST keep what graph.h says they choose), as a new node of g made while g->entry is `entry`.
 * False and a sentence in `arena` when the operation does not accept its inputs. Inputs must be numbers of
 * nodes of g. */
bool ctl_rules_derive(const ctl_graph *g, ctl_entry entry, ctl_node *node, ctl_arena *arena,
                      const char **why);

#endif
