/* limits: which ids, and which positions in a document, the tables of a graph have rows for. Known before there are data, so
 * that data which lead out of a table are refused before the first step. */
#ifndef CTL_GRAPH_LIMITS_H
#define CTL_GRAPH_LIMITS_H

#include "compiler/graph/graph.h"

/* What an input's ids are below: the least of the rows of tables that they select from themselves, and of the classes that a
 * loss tells apart. 0: nothing says. */
int64_t ctl_graph_ids_below(const ctl_graph *g, const ctl_input *input);
/* What the positions of tokens are below: of every look-up whose row follows from the position alone (itself, or a formula of it
 * and of numbers), the first position that leads out of the table; the least of these. 0: none does. */
int64_t ctl_graph_positions_below(const ctl_graph *g);

#endif
