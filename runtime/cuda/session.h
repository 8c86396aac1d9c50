/* session: a program on a GPU, as the files of the CUDA engine share it.
 *
 * The device's primary context is retained, since cuBLASLt sits on it too. Each region is one allocation; the persistent one is
 * followed by what the engine itself keeps there (ctl_cuda_own). Everything runs on one stream, in the order of the tasks.
 * Inputs lie in the host's memory as well, in a mirror that is copied to the device before a run when it may have changed;
 * with it goes what changes from step to step, which kernels read from the device's memory.
 *
 * The first run of an entry launches task by task and waits for each, so that an error has a name. The second is captured as
 * a graph; from then on an entry is one launch. Where a capture fails the entry is launched task by task for good, which is slower and
 * else the same. An error stays: every later call returns it. */
#ifndef CTL_RUNTIME_CUDA_SESSION_H
#define CTL_RUNTIME_CUDA_SESSION_H

#include "runtime/cuda/choices.h"
#include "runtime/cuda/code.h"
#include "runtime/cuda/cuda.h"
#include "runtime/cuda/tasks.h"
#include "runtime/session.h"

enum { CTL_CUDA_MOST_CHUNKS = 512 }; /* of the gradient's norm: ctl_optimizer_chunk */

/* An id that is none of its table's rows, found by a kernel; task < 0: none. */
typedef struct ctl_cuda_bad_id { /* task: its number, and which of its indices: ids.c */
    int32_t task, row, id, rows;
} ctl_cuda_bad_id;

/* What the engine keeps in the device's memory. */
typedef struct ctl_cuda_own {
    ctl_cuda_state state;
    ctl_cuda_optimizer_state optimizer;
    ctl_cuda_bad_id bad;
    double squares[CTL_CUDA_MOST_CHUNKS];
} ctl_cuda_own;

/* The host's side of it, before the inputs' mirror, in memory that the device can reach at any time. */
typedef struct ctl_cuda_host {
    ctl_cuda_state state;
    ctl_cuda_optimizer_state optimizer, updated;
    ctl_cuda_bad_id none, bad;
} ctl_cuda_host;

/* A product of a task, or the products of a head: of whole chunks and of the last. */
typedef struct ctl_cuda_head {
    ctl_blaslt_product logits[2], dx[2], dw[2], dw_more[2];
} ctl_cuda_head;
typedef struct ctl_cuda_prepared {
    ctl_blaslt_product product, last; /* last: of a chunk of sequences that is smaller than others */
    ctl_cuda_head *head;
} ctl_cuda_prepared;

typedef struct ctl_cuda_session {
    ctl_session common;
    const ctl_cuda_code *code;
    const ctl_cuda_driver *driver;
    ctl_status failed; /* what every call returns from then on */
    bool retained;
    void *context, *stream, *blaslt;
    void **modules, **rows;                 /* as in the code; row kernels' functions */
    void *(*parts)[CUDA_FUNCTIONS];         /* of each part the functions that it holds */
    void *functions[CUDA_FUNCTIONS];        /* those of no head size */
    ctl_cu_pointer region[REGION_COUNT], own;
    ctl_cuda_host *host;
    size_t host_bytes;
    size_t *mirror;         /* of each buffer: where it lies behind *host; 0: it is no input */
    bool changed;           /* inputs may differ from the device's */
    bool copying;           /* a copy of the mirror may not have ended */
    bool computes_ids;      /* some task's indices are computed */
    bool checked[RUN_COUNT]; /* ids.c: the inputs, as they are, are indices that the entry's tables have */
    ctl_cuda_prepared *prepared[RUN_COUNT];
    ctl_cuda_choices choices; /* of all products that are prepared */
    void *graph[RUN_COUNT]; /* executables */
    int64_t runs[RUN_COUNT];
    bool capturing, no_graphs; /* a capture is tried; one has failed, and no other is */
    char tried[CTL_CUDA_WHY];  /* what it failed by */
    double *seconds[RUN_COUNT]; /* of tasks, for whoever asked; NULL: nobody */
} ctl_cuda_session;

static inline ctl_cuda_session *ctl_cuda_own_session(ctl_session *s) {
    return (ctl_cuda_session *)(void *)s; /* its first member */
}
static inline bool ctl_cuda_is_absent(const ctl_operand *o) { return o->buffer == UINT32_MAX; }

/* Says that a call of the driver's, of cuBLASLt's, failed, with the task and what to do; 0 is no failure. */
ctl_status ctl_cuda_check(ctl_cuda_session *s, int error, const char *call);
ctl_status ctl_cuda_check_blaslt(ctl_cuda_session *s, int error, const char *call);

/* context.c: whatever is asked of the device happens between the two. */
ctl_status ctl_cuda_enter(ctl_cuda_session *s);
ctl_status ctl_cuda_leave(ctl_cuda_session *s, ctl_status status); /* status, or, of CTL_OK, its own */

/* engine.c */
ctl_status ctl_cuda_open(const ctl_program *program, const ctl_session_options *options, ctl_session **out);
void ctl_cuda_close(ctl_cuda_session *s);
ctl_status ctl_cuda_run(ctl_cuda_session *s, ctl_program_entry entry);

/* memory.c */
ctl_status ctl_cuda_memory_open(ctl_cuda_session *s);
void ctl_cuda_memory_close(ctl_cuda_session *s);
ctl_cu_pointer ctl_cuda_at(const ctl_cuda_session *s, const ctl_operand *o); /* 0: absent */
bool ctl_cuda_is_input(const ctl_cuda_session *s, const ctl_operand *o); /* it lies in the mirror */
void *ctl_cuda_address(ctl_cuda_session *s, const ctl_operand *o);
ctl_status ctl_cuda_read(ctl_cuda_session *s, const ctl_operand *o, size_t at, void *to, size_t bytes, size_t rows);
ctl_status ctl_cuda_write(ctl_cuda_session *s, const ctl_operand *o, size_t at, const void *from, size_t bytes, size_t rows);
ctl_status ctl_cuda_clear(ctl_cuda_session *s, const ctl_operand *o, size_t bytes);
void ctl_cuda_memory(ctl_cuda_session *s, ctl_device_memory *m);
ctl_status ctl_cuda_wait(ctl_cuda_session *s);   /* until everything has run */
ctl_status ctl_cuda_upload(ctl_cuda_session *s); /* inputs and the step's numbers, where they changed */

/* modules.c */
ctl_status ctl_cuda_modules_open(ctl_cuda_session *s);
void ctl_cuda_modules_close(ctl_cuda_session *s);
void *ctl_cuda_attend_function(const ctl_cuda_session *s, ctl_cuda_function f, int64_t head); /* NULL: the program has it not */

/* launch.c: a task of an entry; and a kernel, for the others. */
ctl_status ctl_cuda_run_task(ctl_cuda_session *s, const ctl_task *task, const ctl_cuda_prepared *p);
ctl_status ctl_cuda_launch(ctl_cuda_session *s, void *function, int64_t blocks_x, int64_t blocks_y, int threads, size_t shared,
                           const void *call);

/* ids.c: the host's, on the host before a run (CTL_ERR_INPUT); computed ones, by a kernel before the task that reads them. */
ctl_status ctl_cuda_check_inputs(ctl_cuda_session *s, ctl_program_entry entry);
ctl_status ctl_cuda_check_computed(ctl_cuda_session *s, const ctl_task *task);
ctl_status ctl_cuda_bad_ids(ctl_cuda_session *s); /* waits, and says what a kernel has found */

/* products.c */
ctl_status ctl_cuda_product_prepare(ctl_cuda_session *s, const ctl_task *task, ctl_cuda_prepared *p);
void ctl_cuda_product_drop(ctl_cuda_session *s, ctl_cuda_prepared *p);
ctl_status ctl_cuda_product_run(ctl_cuda_session *s, const ctl_task *task, const ctl_cuda_prepared *p);
ctl_status ctl_cuda_head_run(ctl_cuda_session *s, const ctl_task *task, const ctl_cuda_prepared *p);
ctl_status ctl_cuda_mix_run(ctl_cuda_session *s, const ctl_task *task, const ctl_cuda_prepared *p);
bool ctl_cuda_is_product(const ctl_task *task); /* whether it is prepared */

/* initialise.c */
ctl_status ctl_cuda_initialise_param(ctl_cuda_session *s, size_t param);

/* profile.c */
void ctl_cuda_profile(ctl_session *s, double *const seconds[RUN_COUNT]);
ctl_status ctl_cuda_run_profiled(ctl_cuda_session *s, ctl_program_entry entry);

/* update.c */
ctl_status ctl_cuda_optimize(ctl_cuda_session *s, const ctl_optimizer_step *o, double *gradient_norm);

#endif
