/* weights: which tensor is which parameter. Shared by weights, adapters and checkpoints. */
#ifndef CTL_WEIGHTS_H
#define CTL_WEIGHTS_H

#include "runtime/safetensors.h"
#include "runtime/session.h"

enum { CTL_MOST_SAID = 8 }; /* names listed one by one before "and 200 more" */

static inline ctl_place ctl_session_place(const ctl_session *s) {
    return (ctl_place){ctl_session_voice(s), s->allocator};
}

bool ctl_save_selects(const ctl_program_param *p, ctl_save which);

/* The tensor as a parameter is written: [cols] or [rows, cols]. */
ctl_tensor_spec ctl_param_spec(const ctl_program_param *p, const char *name, ctl_dtype dtype);

/* Can this tensor be the values of the parameter? Says why not. A tensor [a, b, c] may stand for [a, b * c].
 */
bool ctl_tensor_fits(const ctl_tensor *t, const ctl_program_param *p, ctl_voice voice);

/* How unlike two names are, by what differs between their common begin and end; more than limit: limit + 1. A
 * name that is the other behind a prefix and a dot counts as near. */
int ctl_name_distance(const char *a, const char *b, int limit);

/* The tensors of an adapter, without its configuration (which adapter.c reads). */
ctl_status ctl_weights_load_adapter(ctl_session *s, const char *path);

#endif
