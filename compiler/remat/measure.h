/* measure: what segments take in a program, read off the lives of its buffers. */
#ifndef CTL_REMAT_MEASURE_H
#define CTL_REMAT_MEASURE_H

#include "compiler/kernel/lower.h"
#include "compiler/remat/segments.h"

typedef struct ctl_segment_bytes {
    int64_t input;         /* alive between the segment before and this one, and read by backward */
    int64_t own;           /* of it, what this segment reads last */
    int64_t saved;         /* kept for backward beside the inputs of segments */
    int64_t forward_peak, backward_peak; /* most alive while the segment runs, less what is kept for segments before it */
    int64_t gradient;      /* alive when its backward begins, less what forward keeps */
} ctl_segment_bytes;

/* Of a program whose backward has one step a segment, from the last to the first. out: one for each segment. */
void ctl_measure_segments(ctl_arena *arena, const ctl_segments *s, const ctl_lives *lives, ctl_segment_bytes *out);
/* Most bytes of a micro-step alive at one time: what no layout can go below. */
int64_t ctl_most_alive(ctl_arena *arena, const ctl_lives *lives);
/* Of what lies outside of the micro-step: weights, what is trained, inputs. */
int64_t ctl_bytes_outside_step(const ctl_lives *lives);

#endif
