/* cuda: what the planner asks of the CUDA back end before anything runs. Nothing here depends on a device: a plan is the
 * same wherever it is made. */
#ifndef CTL_RUNTIME_CUDA_H
#define CTL_RUNTIME_CUDA_H

#include "runtime/cuda/kernel.h"

/* Most blocks of a launch whose groups keep rows in device memory. */
enum { CTL_CUDA_SCRATCH_BLOCKS = 264 };

/* cuBLASLt's workspace, in the scratch of every product: fixed, so that its choice of an algorithm is. */
enum { CTL_CUDA_WORKSPACE = 32 << 20 };

size_t ctl_cuda_rows_scratch(const ctl_cuda_kernel *k, int64_t rows);
/* Bytes of scratch of a task that is no row program. `threads` has no meaning here. */
ctl_status ctl_cuda_task_scratch(const ctl_task *task, int threads, size_t *bytes);
/* Rows of logits at a time: 128 MiB of them. */
int64_t ctl_cuda_head_chunk(int64_t rows, int64_t vocab);

#endif
