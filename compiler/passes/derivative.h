/* derivative: what the pass and its rules share. "Old" nodes are of the graph that is differentiated, `map`
 * leads to their copies; values are nodes of the new graph. */
#ifndef CTL_PASSES_DERIVATIVE_H
#define CTL_PASSES_DERIVATIVE_H

#include "compiler/graph/graph.h"

typedef struct dv_contribution {
    ctl_node_id value;  /* broadcasts to the shape of what it is the adjoint of */
    int64_t begin, end; /* or, where end > 0: exactly these columns of it, in full */
} dv_contribution;
typedef CTL_VEC(dv_contribution) dv_contributions;

typedef struct dv {
    const ctl_graph *in;
    ctl_graph *g;
    const ctl_node_id *map;
    bool *active, *reached;
    dv_contributions *adjoint; /* for every old node */
    ctl_sink *sink;
} dv;

/* Whether a derivative runs from node n to its k-th input. */
bool dv_carries(const ctl_graph *g, const ctl_node *n, uint32_t k);

/* Contributes to the inputs of an old node that are reached, given its adjoint. False after reporting that
 * there is no derivative. */
bool dv_rule(dv *d, ctl_node_id old, ctl_node_id adjoint);

void dv_add(dv *d, ctl_node_id to, ctl_node_id value);
void dv_add_columns(dv *d, ctl_node_id to, ctl_node_id value, int64_t begin, int64_t end);
ctl_node_id dv_number(dv *d, double value);
ctl_node_id dv_mul(dv *d, ctl_node_id like, ctl_node_id a, ctl_node_id b); /* a factor 1 is left out */
ctl_node_id dv_columns(dv *d, ctl_node_id like, ctl_node_id a, int64_t begin, int64_t end);
/* v, which broadcasts to the old node's shape, with every element written out. */
ctl_node_id dv_full(dv *d, ctl_node_id v, ctl_node_id old);
/* v, which broadcasts to the old node's shape, summed over what the operand was broadcast along. */
ctl_node_id dv_reduce(dv *d, ctl_node_id v, ctl_node_id old, ctl_node_id operand);

#endif
