/* cpu: the engine that runs a program's tasks on this machine's cores, and what the planner asks it
 * beforehand.
 *
 * Products are oneDNN's, attention and the cross-entropy head are ours, row kernels come compiled with the
 * program. All of a session's work runs on one OpenMP team of its size; bits do not depend on that size.
 * Running allocates nothing: regions and products are made when the session opens, and everything else lies
 * in a task's scratch.
 *
 * What a product's bits depend on: shapes, strides, dtypes and transposes of a and b, and no more. A block's
 * sums are made in f32 by one thread, then finished by separate f32 additions (old c, bias, addend, in this
 * order) and one rounding. So a product with bias, addend, bf16 destination or accumulation, into whatever
 * stride, is bit for bit the plain f32 product followed by row tasks that do the same. (oneDNN's own
 * post-operations and bf16 destinations keep that too, but its strided ones exist only in a slow reference
 * form, its gemm adds the old c first, and its products with a long k are divided along k by the number of
 * threads.)
 *
 * Attention divides scores by sqrt(head size). Row t's document is rows t - position[t] .. + length[t] - 1;
 * without positions every `longest` rows (0: all rows) are one document. */
#ifndef CTL_CPU_H
#define CTL_CPU_H

#include <time.h>

#include "runtime/engine.h"

extern const ctl_engine ctl_cpu_engine;

/* True when bf16 products are native here; they are right, but slow, anywhere. */
bool ctl_cpu_supports_bf16(void);

/* Bytes of scratch that a task takes with a team of `threads`, for all of them together: exactly what running
 * it uses. The task's operands need shapes, strides and dtypes, not yet buffers or offsets (an absent operand
 * is one with buffer UINT32_MAX). TASK_ROWS needs its kernel's scratch_bytes and is answered by
 * ctl_cpu_rows_scratch. CTL_ERR_UNSUPPORTED: no product of this form on this machine; CTL_ERR_INTERNAL: the
 * task is malformed. */
ctl_status ctl_cpu_task_scratch(const ctl_task *task, int threads, size_t *bytes);
static inline size_t ctl_cpu_rows_scratch(size_t kernel_scratch_bytes, int threads) {
    return (kernel_scratch_bytes + 63) / 64 * 64 * (size_t)threads;
}

/* A good number of rows at a time for TASK_HEAD: large enough for the products' rate, small enough for the
 * cache. */
int64_t ctl_cpu_head_chunk(int64_t rows, int64_t vocab);

/* From here on the session adds each task's time by this clock to seconds[entry][task number]; seconds[entry]
 * has room for program->run[entry].n numbers, or is NULL. NULL stops. The arrays stay the caller's. */
void ctl_cpu_profile(ctl_session *s, clockid_t clock, double *const seconds[RUN_COUNT]);

/* Runs one task of an entry, on whatever its operands hold: for measuring it alone. */
ctl_status ctl_cpu_run_task(ctl_session *s, ctl_program_entry entry, size_t task);

#endif
