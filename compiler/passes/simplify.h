/* simplify: the parts of the simplify pass. Each writes a new graph in the old one's arena. */
#ifndef CTL_SIMPLIFY_H
#define CTL_SIMPLIFY_H

#include "compiler/graph/graph.h"

/* Local rules (constants, identities, views, flags of products, repeats) and common subexpressions. */
ctl_graph *ctl_simplify_fold(const ctl_graph *in);
/* A state read only as one edge of another state dissolves into that state's sum. */
ctl_graph *ctl_simplify_states(const ctl_graph *in);
/* Rows that are picked of each sequence are picked before what is done row by row. Returns `in` where there are none. */
const ctl_graph *ctl_simplify_picks(const ctl_graph *in);
/* A product and a cross-entropy become the head when nothing else reads the logits. */
ctl_graph *ctl_simplify_head(const ctl_graph *in);

#endif
