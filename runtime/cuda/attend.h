/* attend: what attention's kernels take (attend_call of compiler/emit/cuda/attend_prelude.cu), and how they are cut. */
#ifndef CTL_RUNTIME_CUDA_ATTEND_H
#define CTL_RUNTIME_CUDA_ATTEND_H

#include <stddef.h>
#include <stdint.h>

typedef struct ctl_cuda_attend {
    const void *q, *k, *v, *out, *d_out;
    void *o, *dq, *dk, *dv;
    float *lse, *dots;
    const int32_t *position, *length;
    int64_t q_stride, k_stride, v_stride, out_stride, d_out_stride, o_stride, dq_stride, dk_stride, dv_stride;
    int64_t lse_stride, position_stride, length_stride;
    int32_t rows, heads, group, causal, window, longest;
    int32_t bf16_in, bf16_o, bf16_d_out, bf16_dq, bf16_dk, bf16_dv, bf16_out;
    float scale;
} ctl_cuda_attend;

/* Rows of a block, and of a warp's where it has one row a warp; rows of the tiles that pass by. */
enum { CTL_CUDA_ATTEND_ROWS = 64, CTL_CUDA_ATTEND_PLAIN_ROWS = 4, CTL_CUDA_ATTEND_THREADS = 128 };
/* Head sizes to this, multiples of 8, have kernels on tensor cores; others have the plain ones alone. */
enum { CTL_CUDA_ATTEND_MOST_HEAD = 128 };
static inline int ctl_cuda_attend_has_tensor(int64_t head) { return head % 8 == 0 && head <= CTL_CUDA_ATTEND_MOST_HEAD; }
static inline int ctl_cuda_attend_keys(int64_t head) { return head <= 64 ? 64 : 32; }
static inline int ctl_cuda_attend_queries(int64_t head) { return head <= 64 ? 64 : 32; }

/* Bytes of shared memory of attend_forward, attend_queries, attend_keys. */
static inline size_t ctl_cuda_attend_shared(int kernel, int64_t head, int keys, int queries) {
    const size_t row = (size_t)((head + 15) / 16 * 16 + 8) * 2, own = CTL_CUDA_ATTEND_ROWS;
    if (kernel == 0) return (2 * (size_t)keys > own ? 2 * (size_t)keys : own) * row;
    if (kernel == 1) return (2 * own + 2 * (size_t)keys) * row;
    return (2 * own + 2 * (size_t)queries) * row + (size_t)queries * 16;
}

#endif
