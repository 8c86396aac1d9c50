/* equal: whether a planned graph computes what the graph it was planned from computes. It shares no code with the planner.
 *
 * Every value of both graphs is named by a hash of its operation, attributes, dropout site and inputs' names, whatever the
 * entry: something computed again has the name of the original. Loss, outputs and gradients must have equal names. */
#ifndef CTL_PLAN_EQUAL_H
#define CTL_PLAN_EQUAL_H

#include "compiler/graph/graph.h"

/* False and a sentence in *why (scratch) at the first that differs. */
bool ctl_graphs_equal(const ctl_graph *planned, const ctl_graph *original, ctl_arena *scratch, const char **why);

#endif
