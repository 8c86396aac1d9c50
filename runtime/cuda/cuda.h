/* cuda: the engine that runs a program on an NVIDIA GPU (session.h says how), and what the planner asks of it before anything
 * runs. Nothing in that depends on a device: a plan is the same wherever it is made. */
#ifndef CTL_RUNTIME_CUDA_H
#define CTL_RUNTIME_CUDA_H

#include "runtime/cuda/kernel.h"
#include "runtime/engine.h"

/* Of programs whose engine_data is a ctl_cuda_code. */
extern const ctl_engine ctl_cuda_engine;

/* Most blocks of a launch whose groups keep rows in device memory. */
enum { CTL_CUDA_SCRATCH_BLOCKS = 264 };

/* cuBLASLt's workspace, in the scratch of every product: fixed, so that its choice of an algorithm is; and the bytes that it
 * takes there, since it begins at a multiple of 256, as cuBLASLt wants it, and scratch at one of 64. */
enum { CTL_CUDA_WORKSPACE = 32 << 20, CTL_CUDA_WORKSPACE_ROOM = CTL_CUDA_WORKSPACE + 256 };

size_t ctl_cuda_rows_scratch(const ctl_cuda_kernel *k, int64_t rows);
/* Bytes of scratch of a task that is no row program. `threads` has no meaning here. */
ctl_status ctl_cuda_task_scratch(const ctl_task *task, int threads, size_t *bytes);
/* How a product comes by what is added to it: by cuBLASLt's own means; where what is added is of another type than the result, by a kernel
 * that makes the whole product, if its inner dimension is at most CTL_CUDA_NARROW; by one that writes the addend into the result before; or by
 * one that ends it, behind sums in f32 in its scratch. */
enum { CTL_CUDA_NARROW = 128 };
typedef enum ctl_cuda_product_way { PRODUCT_DIRECT, PRODUCT_NARROW, PRODUCT_SPREAD, PRODUCT_FINISH } ctl_cuda_product_way;
ctl_cuda_product_way ctl_cuda_product_way_of(const ctl_task *task);
/* Of a TASK_MIX_GRAD: the sequences whose products are made at once, before they are added; 16 MiB of them, which a GPU still has near
 * when it adds them; and their bytes. */
int64_t ctl_cuda_mix_chunk(const ctl_task *task);
size_t ctl_cuda_mix_bytes(const ctl_task *task);
/* Rows of logits at a time: 128 MiB of them. */
int64_t ctl_cuda_head_chunk(int64_t rows, int64_t vocab);

#endif
