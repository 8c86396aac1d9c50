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

/* Tells whoever wants to know how far work has come; nothing where there is none. */
static inline void ctl_session_tell(const ctl_session *s, const char *doing, size_t done, size_t of) {
    if (s->progress && of) s->progress(s->progress_ctx, doing, (int64_t)done, (int64_t)of);
}

/* storage.c: elements first .. first + count - 1 of a value, row-major, into and out of whatever memory the engine has. dtype
 * is real, or the value's own. Where the memory is the host's they cannot fail; else the engine has said why. */
ctl_status ctl_session_put(ctl_session *s, const ctl_operand *value, size_t first, size_t count, ctl_dtype dtype,
                           const void *data);
ctl_status ctl_session_get(ctl_session *s, const ctl_operand *value, size_t first, size_t count, ctl_dtype dtype,
                           void *data);
/* Room for data on their way from and to a device, where each copy is waited for: a buffer of `most` bytes, but no more than
 * CTL_STAGE_MOST; where there is no memory for it, or nothing to wait for, one of CTL_STAGE_LEAST in itself. */
enum { CTL_STAGE_MOST = 8 << 20, CTL_STAGE_LEAST = 32 << 10 };
typedef struct ctl_stage {
    void *at; /* aligned for elements of any type */
    size_t bytes;
    double own[CTL_STAGE_LEAST / sizeof(double)];
} ctl_stage;
void ctl_stage_open(ctl_stage *stage, const ctl_session *s, size_t most);
void ctl_stage_close(ctl_stage *stage, const ctl_session *s);
/* Makes a value without gaps between its rows zero. */
ctl_status ctl_session_clear(ctl_session *s, const ctl_operand *value);

/* The same of a parameter; put also marks it as given. */
ctl_status ctl_session_param_put(ctl_session *s, size_t param, size_t first, size_t count, ctl_dtype dtype,
                                 const void *data);
ctl_status ctl_session_param_get(ctl_session *s, size_t param, size_t first, size_t count, ctl_dtype dtype,
                                 void *data);

/* From here on each run of an entry adds every task's time to seconds[entry][task]; seconds[entry] has room for
 * program->run[entry].n numbers, or is NULL. seconds NULL: no more. The arrays stay the caller's. CTL_ERR_UNSUPPORTED, with the
 * reason said, where the engine runs no tasks. */
ctl_status ctl_session_profile(ctl_session *s, double *const seconds[RUN_COUNT]);

/* The flat array, as the program has it. */
const ctl_operand *ctl_session_flat_operand(const ctl_session *s, ctl_flat_array which);

const ctl_program_input *ctl_session_find_input(const ctl_session *s, const char *name); /* NULL: none */

/* places.c: what is known of rows beside data. Documents lie as the program needs them, else says where they do not;
 * then the numbers of ctl_program.rows. */
bool ctl_session_check_documents(ctl_session *s);
void ctl_session_number_rows(ctl_session *s);

/* Fills a parameter as its init says; not for PROGRAM_INIT_VALUE (initialise.c). */
ctl_status ctl_session_param_initialise(ctl_session *s, size_t param);

/* The key of Philox's, and the number that a parameter's name adds to its counters. */
uint64_t ctl_init_key(uint64_t seed);
uint64_t ctl_init_name(const ctl_program_param *p);

/* finite.c: where values stop being finite. Each is false where nothing is found, or the engine cannot tell. */
/* A parameter's value; a trained one's gradient: the last, to which backward comes first, and how many more there are. */
bool ctl_session_find_bad_param(ctl_session *s, ctl_origin *found);
bool ctl_session_find_bad_gradient(ctl_session *s, ctl_origin *found, size_t *more);
/* Runs forward, evaluate or, behind forward, backward once more with the inputs that there are: the first task that writes what is
 * not finite. */
bool ctl_session_find_bad_value(ctl_session *s, ctl_program_entry entry, ctl_origin *found);

/* One update of the flat arrays, without the program's UPDATE entry (optimizer.c). threads >= 1. */
ctl_status ctl_optimizer_apply(const ctl_flat *flat, const ctl_optimizer_step *o, int threads,
                               double *gradient_norm);
/* Elements whose squares are summed on their own, of n. */
size_t ctl_optimizer_chunk(size_t n);

#endif
