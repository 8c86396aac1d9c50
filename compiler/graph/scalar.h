/* scalar: operations of the graph on numbers, in double: for whoever must know a value before the program runs. */
#ifndef CTL_GRAPH_SCALAR_H
#define CTL_GRAPH_SCALAR_H

#include "compiler/graph/graph.h"

/* *y = the operation on x[0 .. 2], as many as it has operands. False, and *y as it was: it is no function of numbers alone, or
 * one between types. */
bool ctl_scalar_compute(ctl_op op, const double x[3], double *y);

#endif
