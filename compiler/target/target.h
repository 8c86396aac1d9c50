/* target: what the lowering must know of a machine, as a table. Nothing here depends on a plan: strides,
 * chunks and scratch follow from the model and the machine, so that every plan computes the same bits. */
#ifndef CTL_TARGET_H
#define CTL_TARGET_H

#include "compiler/kernel/rowprog.h"

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
} ctl_target;

/* NULL in a build without the CPU back end. */
const ctl_target *ctl_target_cpu(void);
const ctl_target *ctl_target_cuda(void);

#endif
