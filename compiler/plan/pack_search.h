/* pack_search: the depth-first search of the packer (pack.h) over one stretch of time.
 *
 * Any packing can be pushed down until every item lies on the floor or on another, so it is enough to lay
 * items in order of their offsets, each at the lowest place that those below it leave. A step of the search
 * chooses which item comes next. Not tried are
 * - an item that would come lower than the one before it: that order was tried already;
 * - an item above the room that another one could still lie in: it would have fallen there;
 * - whatever leaves some time with less room above its lowest floor than what has yet to be laid there needs.
 * Items that no longer share a moment with others are searched apart. Nothing of that loses a packing, so a
 * search that ends without one proves that there is none.
 *
 * Times are sections: the moments at which the most items are alive, in order; every item is alive in a run
 * of them. A section in which the search failed gets weight; the next search lays first, of those that can
 * come next, the items with the most weight, so that a search that is begun anew goes for the hard places. */
#ifndef CTL_PACK_SEARCH_H
#define CTL_PACK_SEARCH_H

#include "base/base.h"

typedef struct ctl_pack_item {
    size_t bytes;
    int32_t first, last; /* times, both included */
    uint32_t from, to;   /* sections, both included */
    uint32_t *others;    /* items that are alive at some time that it is */
    uint32_t nothers;
    uint32_t rank;   /* of those that may come next at one offset, the least is tried first */
    size_t offset;   /* the lowest that is left; for what is laid, where */
    bool laid;       /* or not part of this search */
    bool fixed;      /* must lie at its offset */
    uint32_t number; /* the caller's */
} ctl_pack_item;

typedef struct ctl_pack_section {
    uint32_t *items;
    uint32_t nitems;
    size_t bytes, left; /* of all, and of what is not laid */
    size_t floor;       /* the lowest offset of what is not laid */
    double weight;
    uint64_t stamp;
} ctl_pack_section;

typedef struct ctl_pack_change {
    uint32_t what; /* an item's offset; then a section's floor, then that an item was laid */
    size_t before;
} ctl_pack_change;

typedef enum ctl_packed { CTL_PACK_NONE, CTL_PACK_FOUND, CTL_PACK_STOPPED } ctl_packed;

typedef struct ctl_pack_search {
    ctl_arena *arena;
    ctl_pack_item *items; /* in order of their first time */
    uint32_t n;
    ctl_pack_section *sections;
    uint32_t nsections;
    size_t capacity;
    uint32_t begin, end;        /* the sections that this search is about: begin .. end - 1 */
    uint64_t nodes, most_nodes; /* counted over all searches, and where this one stops */
    bool (*go_on)(void *ctx, uint64_t nodes);
    void *ctx;
    bool stop; /* go_on said no */
    uint64_t stamp;
    CTL_VEC(ctl_pack_change) changes;
} ctl_pack_search;

/* From items with bytes (not 0), first, last: sorts them, finds sections and who meets whom. */
void ctl_pack_prepare(ctl_pack_search *s);
/* Lays what is alive in sections begin .. end - 1; what is fixed stays where it is. offset and fixed must be
 * set for all items (0 and false where nothing is known); found, all that was searched for has its place. */
ctl_packed ctl_pack_stretch(ctl_pack_search *s);

#endif
