/* ctlrt: run a compiled program. One program may serve several sessions; a session is used by one thread at a time
 * and runs its kernels on an OpenMP team of its own size.
 *
 * Order of use: ctl_session_open; ctl_session_param_write or ctl_session_load_weights for the parameters that are given;
 * ctl_session_load, which initialises the others; then steps. A step: ctl_session_zero_gradients; for each micro-step
 * ctl_session_set_step, the inputs, ctl_session_forward, ctl_session_backward; then ctl_session_optimize. A call out of
 * order returns CTL_ERR_INPUT and says which call is missing. examples/host.c is such a program, docs/embedding.md its guide. */
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
    size_t flat;      /* trained: its first element in the arrays of ctl_session_flat, row-major from there */
} ctl_tensor_info;
size_t ctl_program_param_count(const ctl_program *program);
ctl_tensor_info ctl_program_param_at(const ctl_program *program, size_t i); /* i < count */

/* What a step must be given by ctl_session_input: the inputs of the spec's net, and "position" and "length" where the
 * network asks for them. */
typedef struct ctl_input_info {
    const char *name;   /* owned by the program */
    int64_t rows, cols; /* of a micro-step */
    bool is_id;         /* takes i32; else real numbers */
} ctl_input_info;
size_t ctl_program_input_count(const ctl_program *program);
ctl_input_info ctl_program_input_at(const ctl_program *program, size_t i); /* i < count */

typedef struct ctl_memory {
    size_t constant, persistent, step; /* bytes of the three regions: all that a session allocates for data */
    size_t peak;                       /* their sum */
} ctl_memory;
ctl_memory ctl_program_memory(const ctl_program *program);

/* How far long work on weights has come, in elements; the last call of each has done == of. doing: "reading weights",
 * "making first values", or "numbering weights" (what a checkpoint knows frozen weights by). Called on the session's thread. */
typedef void (*ctl_session_progress_fn)(void *ctx, const char *doing, int64_t done, int64_t of);

typedef struct ctl_session_options {
    const ctl_allocator *allocator; /* NULL: malloc. Regions come from it, one allocation each */
    int threads;                    /* 0: as many as the program was laid out for; never more */
    uint64_t seed;                  /* of initialisation and dropout */
    ctl_diagnostic_fn diagnostic;   /* may be NULL */
    void *diagnostic_ctx;
    ctl_session_progress_fn progress; /* NULL: nobody is told */
    void *progress_ctx;
} ctl_session_options;

/* What a session holds in a GPU's memory; and of all of it what is in use, by whomever: contexts and libraries too. 0: it runs on
 * no GPU. */
typedef struct ctl_device_memory {
    size_t held, used, all;
} ctl_device_memory;
ctl_device_memory ctl_session_device_memory(ctl_session *session);

/* *out is the caller's, to be closed, and NULL after a failure; the program and the allocator must outlive it. options: NULL is all zero. */
ctl_status ctl_session_open(const ctl_program *program, const ctl_session_options *options, ctl_session **out);
void ctl_session_close(ctl_session *session);

/* Copies a parameter in or out, converting between f64, f32, bf16 and f16; rows * cols elements of dtype, row-major.
 * After a write ctl_session_load must run again before the next step: it keeps what was given or initialised before. */
ctl_status ctl_session_param_write(ctl_session *s, size_t param, ctl_dtype dtype, const void *data);
ctl_status ctl_session_param_read(ctl_session *s, size_t param, ctl_dtype dtype, void *data);
/* Initialises the parameters that were not written, by counted random numbers of (seed, the parameter's name, element),
 * so that adding a parameter changes no other. Then it computes what follows from weights alone: from frozen ones once
 * (the program's LOAD), from trained ones, as DoRA's norms do, once an update (its UPDATE). */
ctl_status ctl_session_load(ctl_session *s);
/* Marks every parameter as not given: the next ctl_session_load initialises those not written until then. */
void ctl_session_initialise(ctl_session *s);
/* Computes anew what follows from trained weights, UPDATE: for hosts that changed the flat parameters themselves. */
ctl_status ctl_session_update(ctl_session *s);

/* Inputs, row-major. An id input takes i32, one a row; a real one takes f32, f64, bf16 or f16 and converts. A label of -100 does not
 * count. "position" is each token's place in its document, from 0, and "length" how many tokens that document has. count must be the
 * input's rows * cols. An input keeps its values until it is written again. CTL_ERR_INPUT for an unknown name, a wrong type or count. */
ctl_status ctl_session_input(ctl_session *s, const char *name, ctl_dtype dtype, const void *data, size_t count);
bool ctl_session_has_input(const ctl_session *s, const char *name, int64_t *rows, int64_t *cols);

/* Of the micro-step that follows: number of the optimizer step and of the batch's row with number 0 here (both for
 * dropout), and what the loss is multiplied by (1 / counted labels of the whole step). The program's input
 * "normaliser" is written here, not by ctl_session_input. */
void ctl_session_set_step(ctl_session *s, uint64_t step, int64_t first_row, double normaliser);
void ctl_session_zero_gradients(ctl_session *s);
ctl_status ctl_session_forward(ctl_session *s);
ctl_status ctl_session_backward(ctl_session *s); /* adds to the gradients */
ctl_status ctl_session_evaluate(ctl_session *s); /* dropout off; keeps no state for backward */
/* A named output as f64 values, row-major: "loss" (one value), and those of ctlc_options.outputs. evaluated: of the last evaluate, else
 * of the last forward; nothing but backward may have run in between. */
bool ctl_session_has_output(const ctl_session *s, const char *name, bool evaluated, int64_t *rows, int64_t *cols);
ctl_status ctl_session_output(ctl_session *s, const char *name, bool evaluated, double *out, size_t count);

/* The flat arrays of everything trained; elements are f64 for the f64 executor, else f32. A parameter begins at
 * ctl_tensor_info.flat: between parameters there may be elements of none, which stay zero. */
typedef struct ctl_flat {
    ctl_dtype dtype;
    size_t count;
    void *params, *gradients, *moment1, *moment2; /* moments may be NULL; all are where they lie in a GPU's memory */
} ctl_flat;
ctl_flat ctl_session_flat(ctl_session *s);
/* Elements of one of them, copied from and to wherever they lie; of the arrays' type. */
typedef enum ctl_flat_array { CTL_FLAT_PARAMS, CTL_FLAT_GRADIENTS, CTL_FLAT_MOMENT1, CTL_FLAT_MOMENT2 } ctl_flat_array;
ctl_status ctl_session_flat_read(ctl_session *s, ctl_flat_array which, size_t first, size_t count, void *out);
ctl_status ctl_session_flat_write(ctl_session *s, ctl_flat_array which, size_t first, size_t count, const void *in);

typedef struct ctl_optimizer_step {
    bool sgd;       /* m = momentum m + (g + weight_decay p), p -= lr m; else AdamW (decoupled weight decay,
                       Loshchilov and Hutter 2019): p -= lr (weight_decay p + m^ / (sqrt(v^) + eps)) */
    double lr, beta1, beta2, eps, weight_decay, momentum;
    double clip;    /* largest L2 norm of the gradient, which is scaled down to it; 0: none */
    uint64_t step;  /* 1 for the first: bias correction */
} ctl_optimizer_step;
/* One update of everything trained, then the program's UPDATE entry. Writes the gradient's norm before clipping. When
 * the norm is not finite nothing is changed and CTL_ERR_NUMERIC comes back. Bits do not depend on the threads. */
ctl_status ctl_session_optimize(ctl_session *s, const ctl_optimizer_step *o, double *gradient_norm);

/* ---- files (docs/files.md) ---- */
typedef struct ctl_weights_report {
    size_t loaded;      /* parameters read from the files */
    size_t initialised; /* parameters that no file has: ctl_session_load initialises them */
    size_t unused;      /* tensors of the files that no parameter has */
} ctl_weights_report;

/* Reads parameters by name from safetensors: each path is a file, or a directory with model.safetensors or
 * model.safetensors.index.json and its shards. A frozen parameter of the model must be in one of them; a trained one of
 * the model may be absent (with a warning) when others are there, one made by a control may always be absent. Everything
 * is checked before anything is written. report may be NULL. Call ctl_session_load afterwards. */
ctl_status ctl_session_load_weights(ctl_session *s, const char *const *paths, size_t npaths, ctl_weights_report *report);

typedef enum ctl_save { CTL_SAVE_ALL, CTL_SAVE_TRAINED, CTL_SAVE_ADAPTER /* trained, or made by a control */ } ctl_save;
/* Writes parameters to one safetensors file, in the dtype asked for, or CTL_REAL: as they are stored. The file is
 * replaced at the end at once: whatever fails, an older file stays as it was. */
ctl_status ctl_session_save_weights(ctl_session *s, const char *path, ctl_save which, ctl_dtype dtype);

/* An adapter: directory with adapter_model.safetensors and adapter_config.json, the control's source inside. save makes the
 * directory. load wants every parameter of CTL_SAVE_ADAPTER and no other; path may be the safetensors file itself. */
ctl_status ctl_session_save_adapter(ctl_session *s, const char *directory);
ctl_status ctl_session_load_adapter(ctl_session *s, const char *path);

#endif
