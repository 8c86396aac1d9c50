/* layout: where buffers lie in an arena when it is known from when to when each is needed.
 *
 * Buffers are placed one after the other, each into a gap between those placed before that live at the same
 * time: the lowest that is large enough (first fit), or the tightest (best fit). Which order is good depends
 * on the graph, so several are tried (by size, by size times life, by first use, ...), and the best is taken;
 * single buffers are then moved to earlier places in its order, a fixed number of times, and what does not
 * make it worse is kept. The most bytes alive at one time are a lower bound: reaching it ends all. What ends
 * further above it than a thousandth is searched for by pack.h, for a number of steps that takes less than a
 * second; who asks for more gets more. Same input, same layout. */
#ifndef CTL_LAYOUT_H
#define CTL_LAYOUT_H

#include "base/base.h"
#include "compiler/plan/pack.h"

typedef struct ctl_layout_item {
    size_t bytes;
    int32_t first, last; /* times, both included */
    size_t offset;       /* out: a multiple of the alignment */
} ctl_layout_item;

enum { CTL_LAYOUT_ALIGN = 64 };

/* Places all items; *bytes is the arena's size, *bound what no layout can go below (both with bytes rounded
 * up to the alignment). False when sizes overflow. */
bool ctl_layout(ctl_arena *arena, ctl_layout_item *items, size_t n, size_t alignment, size_t *bytes,
                size_t *bound);
/* The same with a search as asked for, however small the gap; *steps is what it took. Heights at the goal are
 * good enough. A bound that the search has proved may lie above the most bytes alive. */
bool ctl_layout_search(ctl_arena *arena, ctl_layout_item *items, size_t n, size_t alignment,
                       const ctl_pack_options *options, size_t *bytes, size_t *bound, uint64_t *steps);

#endif
