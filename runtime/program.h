/* program: a compiled network as data. What the compiler writes and the runtime runs; it can be printed, checked and
 * replayed. Nothing here knows the compiler.
 *
 * Memory is three regions, each one allocation: constant (frozen weights and what is computed from them once a load),
 * persistent (trained parameters, their gradients, moments, what is computed once an update; inputs) and step (the
 * arena: everything whose life is within one entry, laid out before the run, libraries' scratchpads and the threads'
 * scratch included). A buffer is bytes in a region; an operand is a matrix in a buffer, always with a row stride.
 *
 * Tasks run in order, entry by entry: LOAD once after the parameters are written, UPDATE after every optimizer step,
 * then for each micro-step FORWARD and BACKWARD, or EVALUATE. */
#ifndef CTL_PROGRAM_H
#define CTL_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/dtype.h"
#include "ctl/status.h"

/* ---- memory ---- */
typedef enum ctl_region { REGION_CONSTANT, REGION_PERSISTENT, REGION_STEP, REGION_COUNT } ctl_region;
/* What a buffer is for: the rows of `ctlc plan`. */
typedef enum ctl_use {
    USE_WEIGHTS,   /* frozen parameters */
    USE_DERIVED,   /* values of rates load and update: turned or concatenated weights, norms, 16-bit copies */
    USE_TRAINED,   /* trained parameters, f32 */
    USE_GRADIENTS, /* their gradients, f32 */
    USE_OPTIMIZER, /* moments, f32 */
    USE_INPUTS,    /* ids, labels, positions */
    USE_SAVED,     /* forward values that the backward entry reads */
    USE_TRANSIENT, /* everything else of a step */
    USE_HEAD,      /* chunks of logits */
    USE_SCRATCH,   /* libraries' scratchpads, threads' rows */
    USE_COUNT
} ctl_use;

typedef struct ctl_buffer {
    ctl_region region;
    ctl_use use;
    size_t bytes, offset;    /* offset in the region, a multiple of 64 */
    int32_t first, last;     /* REGION_STEP: numbers of the first and last task that touch it (see ctl_program.step_order) */
    const char *name;        /* a path, or what it is; never NULL */
} ctl_buffer;

typedef struct ctl_operand {
    uint32_t buffer;         /* UINT32_MAX: absent */
    uint64_t offset;         /* bytes from the buffer's begin */
    int64_t rows, cols;
    int64_t stride;          /* elements from a row to the next */
    ctl_dtype dtype;
} ctl_operand;
#define CTL_NO_OPERAND ((ctl_operand){.buffer = UINT32_MAX})

/* ---- row programs ---- */
/* One argument of a row program. The row of the space with number t begins at base + t * stride elements (or at base
 * + index[t] * stride where the kernel gathers, or at base where it does not move). */
typedef struct ctl_rows_arg {
    void *base;
    int64_t stride;
    const int32_t *index;
} ctl_rows_arg;

typedef struct ctl_rows_call {
    const ctl_rows_arg *args;
    const uint32_t *sites; /* dropout sites of this call, in the kernel's order */
    uint64_t seed;
    int64_t row0;          /* number, in the whole batch, of the row with number 0 here: for dropout */
    float *scratch;        /* this thread's, 64-byte aligned */
    uint32_t step;
} ctl_rows_call;

/* Runs rows begin .. end - 1. Kernels with column sums write one partial row for each chunk of CTL_ROW_CHUNK rows;
 * begin is then a multiple of it. */
typedef void (*ctl_rows_fn)(const ctl_rows_call *call, int64_t begin, int64_t end);
enum { CTL_ROW_CHUNK = 64 };

typedef struct ctl_rows_kernel {
    const char *name;      /* symbol in the module */
    ctl_rows_fn run;       /* NULL until loaded */
    size_t scratch_bytes;  /* for one thread */
    bool sums_columns;     /* work is divided at multiples of CTL_ROW_CHUNK rows */
} ctl_rows_kernel;

/* ---- places ---- */
/* A line of a .ctl file, as diagnostics show it; file NULL: none. */
typedef struct ctl_program_line {
    const char *file, *text; /* text: the line's */
    int line, column, end_column;
} ctl_program_line;

/* Where something was written: the innermost line of the user's own files, and, where the standard library computes it, the
 * library's line. Places are numbered from 1; 0: none is known. */
typedef struct ctl_program_place {
    ctl_program_line user, library;
} ctl_program_place;

/* What a message names: a path with what is done there, or a parameter, and its place. */
typedef struct ctl_origin {
    const char *name;
    uint32_t place;
} ctl_origin;

/* ---- tasks ---- */
typedef enum ctl_task_kind {
    TASK_ROWS,        /* kernel over `rows` rows; operands are its arguments; gathered ones name an index operand */
    TASK_MATMUL,      /* operands: 0 a, 1 b, 2 c, 3 bias [1, n] or absent, 4 addend [m, n] or absent; 5, where there is
                         one, another addend [m, n] (targets say of which products: ctl_target.narrow):
                         c = op(a) op(b) (+ c where `accumulate`) (+ bias) (+ addend), summed in f32 in this order,
                         or op(a) op(b) + (addend + 5), rounded once to c's dtype */
    TASK_ATTEND,      /* 0 q, 1 k, 2 v, 3 o, 4 lse (f32 [rows, heads]); 5 positions, 6 lengths (i32 [rows, 1]) */
    TASK_ATTEND_GRAD, /* 0 q, 1 k, 2 v, 3 o, 4 lse, 5 do, 6 dq, 7 dk, 8 dv, 9 positions, 10 lengths */
    TASK_HEAD,        /* linear + cross-entropy by chunks of rows: 0 x, 1 w [vocab, c], 2 labels i32, 3 normaliser,
                         4 loss f32 [1, 1], 5 dx or absent, 6 dw f32 (added to where `accumulate`) or absent; where
                         there is an eighth, 7 f32 [rows, 2]: a row's loss, 0 where its label is -100, and the number of
                         its largest logit, the first of equals */
    TASK_SCATTER,     /* 0 x [r, c], 1 ids i32, 2 out f32 [n, c]: out (+)= rows of x by id, in row order */
    TASK_MIX,         /* 0 m [n, n], 1 x, 2 y, rows of sequences of n: in each y = m x (m turned where `transpose_a`) */
    TASK_MIX_GRAD,    /* 0 d, 1 x, rows of sequences of n, 2 out f32 [n, n] (+)= the sum over sequences of d x', in order */
    TASK_FOLD,        /* 0 partial sums f32 [chunks, c], 1 out f32 [1, c]: out (+)= their sum, in order */
    TASK_TRANSPOSE    /* 0 a [r, c], 1 out [c, r]; converts the dtype */
} ctl_task_kind;

enum { CTL_MOST_OPERANDS = 64 };

typedef struct ctl_task {
    ctl_task_kind kind;
    const char *name;          /* path and what it does, for errors, profiles and printed plans */
    uint32_t place;            /* where it was written; of what backward and rebuilding do, what they are made from */
    ctl_operand *operands;
    uint32_t *index_of;        /* TASK_ROWS: for each operand the number of the operand that holds its row indices, or
                                  UINT32_MAX */
    ctl_origin *origin_of;     /* TASK_ROWS: for each operand that gathers, which look-up that is; for each that is written, which
                                  value; NULL: not known */
    uint32_t noperands;
    uint64_t writes;           /* bit k: the task writes operand k; the others it reads. For checks and printing */
    uint32_t kernel;           /* TASK_ROWS */
    int64_t rows;              /* TASK_ROWS: rows of the space */
    int32_t split;             /* TASK_ROWS: rows of the values for one row of the space */
    bool weights;              /* TASK_ROWS: the rows are no tokens, but weights': dropout counts them from 0 in every
                                  micro-step */
    uint32_t *sites;           /* TASK_ROWS: dropout sites */
    uint32_t nsites;
    bool transpose_a, transpose_b, accumulate;
    int64_t head;              /* TASK_ATTEND*: head size */
    bool causal;
    int64_t window;            /* 0: no window; else the row sees itself and window - 1 rows before */
    int64_t longest;           /* TASK_ATTEND*: rows of the longest document, which its scratch depends on; 0: all rows */
    int64_t sequence;          /* TASK_MIX*: rows of a sequence, n */
    int64_t chunk;             /* TASK_HEAD: rows at a time */
    ctl_operand scratch;       /* bytes (u8) for all threads of this task; absent when it needs none */
    double flops;              /* of its products, for reports */
} ctl_task;

/* Which look-up, or which value, operand k of a task is. */
static inline ctl_origin ctl_task_origin(const ctl_task *t, uint32_t k) {
    return t->origin_of && t->origin_of[k].name ? t->origin_of[k] : (ctl_origin){t->name, t->place};
}

typedef enum ctl_program_entry { RUN_LOAD, RUN_UPDATE, RUN_FORWARD, RUN_BACKWARD, RUN_EVALUATE, RUN_COUNT } ctl_program_entry;

typedef struct ctl_task_list {
    ctl_task *at;
    size_t n;
} ctl_task_list;

/* ---- what the host sees ---- */
typedef enum ctl_program_init { PROGRAM_INIT_CONST, PROGRAM_INIT_UNIFORM, PROGRAM_INIT_NORMAL, PROGRAM_INIT_EYE, PROGRAM_INIT_VALUE } ctl_program_init;

typedef struct ctl_program_param {
    const char *name;
    int64_t rows, cols;
    int ndims;
    bool trained, made_by_control;
    ctl_program_init init;
    double init_arg;
    ctl_operand init_value; /* PROGRAM_INIT_VALUE: where RUN_LOAD leaves the initial value */
    ctl_operand value;      /* storage; trained ones are f32 and lie in the flat buffer */
    size_t flat;            /* trained: first element in the flat trained, gradient and moment arrays */
    uint32_t place;         /* where it was declared */
} ctl_program_param;

typedef struct ctl_program_input {
    const char *name; /* the net's inputs; "position" and "length" (i32, one a token) and "normaliser" when needed */
    ctl_operand value;
    int64_t below; /* of ids and of positions: what a value that leads out of no table is below; 0: nothing says (limits.h) */
} ctl_program_input;

/* What tasks read of a space's rows beside data: i32, one a row. The host writes position and length of tokens, as
 * inputs; the session writes the rest before a run (places.c), of each space some task asks about. */
typedef enum ctl_rows_number { ROWS_POSITION, ROWS_LENGTH, ROWS_PLACE, ROWS_SEQUENCE, CTL_ROW_NUMBERS } ctl_rows_number;
typedef struct ctl_program_rows {
    int64_t extra;                         /* rows before each sequence's tokens; 0: tokens themselves */
    ctl_operand number[CTL_ROW_NUMBERS];   /* in its document: place, length; in its sequence: place; its sequence's number */
} ctl_program_rows;

typedef struct ctl_program_output {
    const char *name;
    ctl_operand forward, evaluate; /* absent where that entry does not keep it */
} ctl_program_output;

typedef struct ctl_settings { /* the tune block's, for the training loop */
    char optimizer[16];     /* "adamw" or "sgd" */
    double lr, beta1, beta2, eps, weight_decay, momentum, clip; /* clip 0: none */
    int64_t warmup, steps, accumulate;
    char schedule[16];      /* "constant", "linear", "cosine" */
    int64_t seed;
} ctl_settings;

typedef struct ctl_engine ctl_engine; /* engine.h: who runs it */

typedef struct ctl_program {
    const ctl_engine *engine;
    void *engine_data;           /* loaded code, or the graph for the reference executor */
    ctl_dtype compute;
    int64_t classes;             /* of the labels, where evaluation tells of rows ("row results"); else 0 */
    int64_t tokens, sequence;    /* rows of a micro-step; fixed sequence length, 0 when documents are packed */
    bool sees_ahead;             /* a token's row depends on those behind it: the next token is no question to ask */
    int threads;                 /* that scratch was laid out for */
    ctl_buffer *buffers;
    size_t nbuffers;
    size_t region_bytes[REGION_COUNT];
    ctl_task_list run[RUN_COUNT]; /* step order: forward's tasks are 0 .., backward's follow; evaluate counts from 0 */
    ctl_program_place *places;
    size_t nplaces;
    ctl_rows_kernel *kernels;
    size_t nkernels;
    ctl_program_param *params;
    size_t nparams;
    ctl_program_input *inputs;
    size_t ninputs;
    ctl_program_rows *rows;
    size_t nrows;
    ctl_program_output *outputs;  /* "loss" is one when there is a loss */
    size_t noutputs;
    size_t trained_elements;      /* of the flat arrays */
    ctl_operand trained, gradients, moment1, moment2; /* f32 [1, trained_elements]; moment2 absent for sgd */
    ctl_settings settings;
    const char *model_name;       /* of the tune block */
    const char *control_source;   /* text that explains the adapter, for its file */
    struct ctl_adaptation *adaptation; /* what the controls do: adaptation.h; its own memory; NULL: not known */
    void (*release)(struct ctl_program *program); /* frees the program and all that it points to */
} ctl_program;

#endif
