/* session: what the runtime's own files share about sessions. */
#ifndef CTL_SESSION_H
#define CTL_SESSION_H

#include "runtime/engine.h"
#include "runtime/say.h"

static inline ctl_voice ctl_session_voice(const ctl_session *s) {
    return (ctl_voice){s->diagnostic, s->diagnostic_ctx};
}

/* Elements of a parameter; the program was checked not to overflow when it was made. */
static inline size_t ctl_param_elements(const ctl_program_param *p) {
    return (size_t)p->rows * (size_t)p->cols;
}

/* Elements first .. first + count - 1 of a parameter, row-major; dtype is real, or the parameter's own. */
void ctl_session_param_put(ctl_session *s, size_t param, size_t first, size_t count, ctl_dtype dtype,
                           const void *data);
void ctl_session_param_get(ctl_session *s, size_t param, size_t first, size_t count, ctl_dtype dtype,
                           void *data);

const ctl_program_input *ctl_session_find_input(const ctl_session *s, const char *name); /* NULL: none */

/* places.c: what is known of rows beside data. Documents lie as the program needs them, else says where they do not;
 * then the numbers of ctl_program.rows. */
bool ctl_session_check_documents(ctl_session *s);
void ctl_session_number_rows(ctl_session *s);

/* Fills a parameter as its init says; not for PROGRAM_INIT_VALUE (initialise.c). */
void ctl_session_param_initialise(ctl_session *s, size_t param);

/* One update of the flat arrays, without the program's UPDATE entry (optimizer.c). threads >= 1. */
ctl_status ctl_optimizer_apply(const ctl_flat *flat, const ctl_optimizer_step *o, int threads,
                               double *gradient_norm);

#endif
