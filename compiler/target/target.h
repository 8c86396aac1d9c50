/* target: what the lowering must know of a machine, as a table. Nothing here depends on a plan: strides,
 * chunks and scratch follow from the model and the machine, so that every plan computes the same bits. */
#ifndef CTL_TARGET_H
#define CTL_TARGET_H

#include "compiler/kernel/rowprog.h"

/* How fast a machine is, for plans: operations and bytes a second, of all its threads together. */
typedef struct ctl_rates {
    double product_f32, product_bf16, attention; /* floating-point operations a second */
    double bytes;                                /* read or written a second */
} ctl_rates;

typedef struct ctl_target {
    const char *name;
    /* Bytes of scratch that the engine wants for this task on so many threads, its operands (shapes, strides,
     * dtypes) known. Not asked for TASK_ROWS: those need ctl_rowprog_scratch floats a thread. */
    ctl_status (*task_scratch)(const ctl_task *task, int threads, size_t *bytes);
    /* Rows of logits at a time in TASK_HEAD. */
    int64_t (*head_chunk)(int64_t rows, int64_t vocab);
    /* Elements from a row to the next for a step buffer of so many columns: at least cols. */
    int64_t (*stride)(int64_t cols, size_t element_size);
    /* Bytes of scratch that a row program takes on so many rows; NULL: ctl_rowprog_scratch floats a thread. */
    size_t (*rows_scratch)(const ctl_rowprog *p, ctl_arena *arena, int64_t rows, int threads);
    /* Products in bf16 of an inner dimension up to this take a second addend (TASK_MATMUL); 0: none does. */
    int64_t narrow;
} ctl_target;

/* A machine to plan for: its rates, and what of its memory a program does not get. */
typedef struct ctl_machine {
    const char *name;
    ctl_rates rates;  /* of the whole machine, or of one thread */
    bool each_thread;
    int64_t withheld; /* bytes that the device keeps back and that context and libraries take */
} ctl_machine;
/* "cpu", "rtx3090", ..; NULL for an unknown name. */
const ctl_machine *ctl_machine_named(const char *name);
/* Their names, NULL at the end. */
const char *const *ctl_machine_names(void);

/* NULL in a build without the CPU back end. */
const ctl_target *ctl_target_cpu(void);
const ctl_target *ctl_target_cuda(void);

#endif
