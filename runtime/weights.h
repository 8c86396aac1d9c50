/* weights: which tensor is which parameter. Shared by weights, adapters and checkpoints. */
#ifndef CTL_WEIGHTS_H
#define CTL_WEIGHTS_H

#include "runtime/match.h"
#include "runtime/session.h"

static inline ctl_place ctl_session_place(const ctl_session *s) {
    return (ctl_place){ctl_session_voice(s), s->allocator};
}

bool ctl_save_selects(const ctl_program_param *p, ctl_save which);

/* The tensor as a parameter is written: [cols] or [rows, cols]. */
ctl_tensor_spec ctl_param_spec(const ctl_program_param *p, const char *name, ctl_dtype dtype);

/* Writes every parameter that has a tensor, and counts them in *loaded (which may be NULL). */
ctl_status ctl_weights_put(ctl_session *s, const ctl_match *m, size_t *loaded);

#endif
