/* cost: seconds that a value takes, modelled from a machine's rates: a product or attention is bound by arithmetic or by
 * moving its operands, whichever takes longer (the roofline); row by row work by moving numbers. */
#ifndef CTL_REMAT_COST_H
#define CTL_REMAT_COST_H

#include "compiler/graph/graph.h"
#include "compiler/target/target.h"

double ctl_node_seconds(const ctl_graph *g, ctl_node_id id, const ctl_rates *rates);
/* Floating-point operations of a product, attention or head; 0 for everything else. */
double ctl_node_flops(const ctl_graph *g, ctl_node_id id);

#endif
