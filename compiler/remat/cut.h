/* cut: the cheapest set of values from which everything wanted can be rebuilt, as a vertex cut of least
 * capacity. */
#ifndef CTL_REMAT_CUT_H
#define CTL_REMAT_CUT_H

#include "base/base.h"

/* A value: what it costs to keep, whether it cannot be rebuilt from what it was made of, whether it is
 * wanted. */
typedef struct ctl_cut_vertex {
    int64_t cost; /* bytes, more than 0 */
    bool source;  /* not rebuildable */
    bool sink;    /* wanted */
    bool kept;    /* the answer */
} ctl_cut_vertex;

typedef struct ctl_cut_edge {
    uint32_t from, to; /* value `to` can be rebuilt only where `from` is at hand */
} ctl_cut_edge;

/* Sets `kept` such that every path from a source to a sink meets a kept vertex, at the least sum of costs;
 * among the cheapest sets the one nearest to the sinks. Takes milliseconds for tens of thousands of vertices
 * that hang together as networks do. */
void ctl_cut_least(ctl_arena *arena, ctl_cut_vertex *vertices, size_t n, const ctl_cut_edge *edges,
                   size_t nedges);

#endif
