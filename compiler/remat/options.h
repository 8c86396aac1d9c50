/* options: what can be kept of a segment's inside, and what each choice costs.
 *
 * The values that cost (results of products and attention) fall into a few groups; for every subset of groups that may be
 * computed twice, the least cut in bytes (cut.h) says what to keep, the segment's input being at hand. Of the
 * choices that come out, those that are better than all others in bytes or in time remain. */
#ifndef CTL_REMAT_OPTIONS_H
#define CTL_REMAT_OPTIONS_H

#include "compiler/remat/cost.h"
#include "compiler/remat/segments.h"

typedef struct ctl_keep_option {
    uint32_t *kept; /* numbers of values among the segment's locals, ascending */
    size_t nkept;
    int64_t bytes;  /* of them, unpadded */
    double rebuild; /* seconds to compute again what backward needs, beyond the first option's */
    double keep;    /* seconds to compute the kept values alone, from the segment's input */
} ctl_keep_option;

typedef struct ctl_keep_options {
    ctl_keep_option *at; /* the first recomputes nothing but row by row work */
    size_t n;
    double forward;      /* seconds of the segment's forward */
} ctl_keep_options;

/* Of one segment; another of its class has the same. most: at the most so many, the least and the most bytes among them. */
ctl_keep_options ctl_keep_options_of(ctl_arena *arena, const ctl_segments *s, size_t segment, const ctl_rates *rates,
                                     size_t most);

#endif
