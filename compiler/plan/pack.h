/* pack: packings of an arena that heuristics do not find, by tree search.
 *
 * The search (pack_search.h) is begun anew many times, each time for a bounded number of steps and with an
 * order of items that follows where it failed before. When the whole is too long for that, time is cut where
 * few items cross into stretches, which are packed one after the other: the hardest first, then its
 * neighbours outward, with the items that cross a cut fixed where the first one laid them. A stretch that
 * fails takes back the one before. Both ways take turns, with more steps each time. Everything is counted in
 * steps, so that equal input gives an equal packing on every machine. */
#ifndef CTL_PACK_H
#define CTL_PACK_H

#include "base/base.h"

enum { CTL_PACK_MOST_ITEMS = 2000 }; /* more are left to heuristics */

typedef struct ctl_pack_life {
    size_t bytes;
    int32_t first, last; /* times, both included */
    size_t offset;       /* in: a valid packing; out: the best one */
} ctl_pack_life;

typedef struct ctl_pack_options {
    size_t goal;                                             /* no need to get lower than this */
    uint64_t steps;                                          /* most steps of all searches together */
    bool (*go_on)(void *ctx, size_t height, uint64_t steps); /* asked every few thousand steps; NULL: yes */
    void *ctx;
} ctl_pack_options;

/* Lowers *height, that of the packing given, towards *bound, below which none can be; a search that proves
 * that there is none so low raises *bound. Offsets stay multiples of what all bytes are multiples of. Returns
 * the steps taken. Items beyond CTL_PACK_MOST_ITEMS: nothing is done. */
uint64_t ctl_pack(ctl_arena *arena, ctl_pack_life *items, size_t n, const ctl_pack_options *options,
                  size_t *height, size_t *bound);

#endif
