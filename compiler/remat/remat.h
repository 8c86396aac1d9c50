/* remat: what forward keeps for backward and what is computed again (rematerialisation), for a number of bytes.
 *
 * A planner is made once for a graph; it then answers every budget. What a plan promises is a prediction: the arena of
 * the program lowered from it is the truth, and whoever has a budget compares (driver/budget.c). */
#ifndef CTL_REMAT_H
#define CTL_REMAT_H

#include "compiler/graph/graph.h"
#include "compiler/kernel/lower.h"
#include "compiler/remat/chain.h"

/* The plan of least time: backward reads forward's results only where keeping them is cheapest in bytes without redoing
 * anything but row by row work; the rest is rebuilt by copies of entry backward. */
void ctl_pass_save(const ctl_graph *in, ctl_graph **out);
/* What that plan keeps, for each node. */
bool *ctl_keep_least_time(ctl_arena *arena, const ctl_graph *g);
/* Bytes of forward's results that backward reads. */
int64_t ctl_saved_bytes(const ctl_graph *g);

/* The graph with its rows divided: fewer sequences at a time. Rows of every space are multiples of `by`. */
ctl_graph *ctl_graph_divided(const ctl_graph *g, int64_t by);

typedef struct ctl_planner {
    const ctl_graph *g;
    const struct ctl_segments *segments;
    const struct ctl_keep_options *options; /* by class */
    ctl_chain_segment *chain;  /* of the segments that backward visits */
    const ctl_chain *solved;   /* NULL: nothing to decide */
    const ctl_chain *fine;     /* the same for small budgets, counted in smaller units */
    int64_t fixed;             /* bytes outside of the micro-step: weights, what is trained, inputs */
    double seconds;            /* modelled, of the micro-step that recomputes nothing but row by row work */
    double solve_seconds;      /* spent on the tables */
    bool is_chain;             /* one value between any two segments: the tables' least is the least there is */
} ctl_planner;

/* Finds segments and their options, measures them in the program that they would make, and solves for all budgets.
 * NULL and *why when the graph cannot be lowered. */
const ctl_planner *ctl_planner_make(ctl_arena *arena, const ctl_graph *g, const ctl_lower_options *lower,
                                    const ctl_rates *rates, const char **why);

/* The graph planned for so many bytes of step region; *extra: modelled seconds of recomputing. NULL below the least. */
ctl_graph *ctl_planner_graph(ctl_arena *arena, const ctl_planner *p, int64_t step_bytes, double *extra);

#endif
