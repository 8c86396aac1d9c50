/* ctlrt: run a compiled program. One program may serve several sessions; a session is used by one thread at a time
 * and runs its kernels on an OpenMP team of its own size.
 *
 * Order of use: ctl_session_open; ctl_session_initialise or ctl_session_param_write for every parameter;
 * ctl_session_load; then steps. A step: ctl_session_zero_gradients; for each micro-step write the inputs, then
 * ctl_session_run(RUN forward, backward); ctl_session_optimize. Real data goes in and out in the dtype asked for. */
#ifndef CTL_CTLRT_H
#define CTL_CTLRT_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl/diagnostic.h"
#include "ctl/dtype.h"
#include "ctl/status.h"

typedef struct ctl_program ctl_program; /* from ctlc.h; immutable */
typedef struct ctl_session ctl_session;

void ctl_program_free(ctl_program *program); /* NULL is fine; close its sessions first */

typedef struct ctl_tensor_info {
    const char *name; /* owned by the program */
    int64_t rows, cols;
    int ndims;        /* in files: 1 means [cols] */
    bool trained, made_by_control;
} ctl_tensor_info;
size_t ctl_program_param_count(const ctl_program *program);
ctl_tensor_info ctl_program_param_at(const ctl_program *program, size_t i);

typedef struct ctl_memory {
    size_t constant, persistent, step; /* bytes of the three regions: all that a session allocates for data */
    size_t peak;                       /* their sum */
} ctl_memory;
ctl_memory ctl_program_memory(const ctl_program *program);

typedef struct ctl_session_options {
    const ctl_allocator *allocator; /* NULL: malloc. Regions come from it, one allocation each */
    int threads;                    /* 0: as many as the program was laid out for; never more */
    uint64_t seed;                  /* of initialisation and dropout */
    ctl_diagnostic_fn diagnostic;   /* may be NULL */
    void *diagnostic_ctx;
} ctl_session_options;

ctl_status ctl_session_open(const ctl_program *program, const ctl_session_options *options, ctl_session **out);
void ctl_session_close(ctl_session *session);

/* Copies a parameter in or out, converting between f64, f32 and bf16; rows * cols elements of dtype, row-major. */
ctl_status ctl_session_param_write(ctl_session *s, size_t param, ctl_dtype dtype, const void *data);
ctl_status ctl_session_param_read(ctl_session *s, size_t param, ctl_dtype dtype, void *data);
/* Marks every parameter as not given; ctl_session_load then initialises those that were not written: by counted random
 * numbers of (seed, the parameter's name, element), so that adding a parameter changes no other. */
ctl_status ctl_session_load(ctl_session *s);

/* Inputs. An id input takes i32, one a row; a real one takes f32. "position" and "length" (i32) place each token in
 * its document. count must be the input's rows * cols. CTL_ERR_INPUT for an unknown name. */
ctl_status ctl_session_input(ctl_session *s, const char *name, ctl_dtype dtype, const void *data, size_t count);
bool ctl_session_has_input(const ctl_session *s, const char *name, int64_t *rows, int64_t *cols);

void ctl_session_set_step(ctl_session *s, uint64_t step, int64_t first_row, double normaliser);
void ctl_session_zero_gradients(ctl_session *s);
ctl_status ctl_session_forward(ctl_session *s);
ctl_status ctl_session_backward(ctl_session *s); /* adds to the gradients */
ctl_status ctl_session_evaluate(ctl_session *s); /* dropout off; keeps no state for backward */
/* After forward or evaluate: a named output ("loss", "logits") as f64 values, row-major. evaluated: of the evaluate entry. */
ctl_status ctl_session_output(ctl_session *s, const char *name, bool evaluated, double *out, size_t count);

/* The flat arrays of everything trained, in the order of parameters; elements are f64 for the f64 executor, else f32. */
typedef struct ctl_flat {
    ctl_dtype dtype;
    size_t count;
    void *params, *gradients, *moment1, *moment2; /* moments may be NULL */
} ctl_flat;
ctl_flat ctl_session_flat(ctl_session *s);

typedef struct ctl_optimizer_step {
    bool sgd;       /* else AdamW (decoupled weight decay, Loshchilov and Hutter 2019) */
    double lr, beta1, beta2, eps, weight_decay, momentum;
    double clip;    /* largest L2 norm of the gradient; 0: none */
    uint64_t step;  /* 1 for the first: bias correction */
} ctl_optimizer_step;
/* One update of everything trained, then the program's UPDATE entry. Writes the gradient's norm before clipping. When
 * the norm is not finite nothing is changed and CTL_ERR_NUMERIC comes back. Bits do not depend on the threads. */
ctl_status ctl_session_optimize(ctl_session *s, const ctl_optimizer_step *o, double *gradient_norm);

#endif
