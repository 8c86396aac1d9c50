/* tasks: what the kernels of compiler/emit/cuda/{losses,moves,narrow,optimizer,initialise}.cu take, field by field. */
#ifndef CTL_RUNTIME_CUDA_TASKS_H
#define CTL_RUNTIME_CUDA_TASKS_H

#include <stddef.h>
#include <stdint.h>

typedef struct ctl_cuda_losses {
    float *logits;
    void *d;
    const int32_t *labels;
    const float *normaliser;
    float *losses;
    int64_t label_stride;
    int32_t rows, vocab, bf16_d;
    float *results;
    int64_t result_stride;
} ctl_cuda_losses;

typedef struct ctl_cuda_total {
    const float *losses, *normaliser;
    float *loss;
    int64_t rows;
} ctl_cuda_total;

typedef struct ctl_cuda_scatter {
    const void *x;
    const int32_t *ids;
    float *out;
    int64_t x_stride, id_stride, out_stride;
    int32_t rows, cols, bf16_x;
} ctl_cuda_scatter;

typedef struct ctl_cuda_fold {
    const float *x;
    float *out;
    int64_t stride, out_stride;
    int32_t rows, cols, accumulate, width;
} ctl_cuda_fold;

typedef struct ctl_cuda_zero {
    float *out;
    int64_t stride;
    int32_t rows, cols;
} ctl_cuda_zero;

typedef struct ctl_cuda_transpose {
    const void *a;
    void *out;
    int64_t a_stride, out_stride;
    int32_t rows, cols, bf16_a, bf16_out;
} ctl_cuda_transpose;

typedef struct ctl_cuda_optimizer_state {
    double clip, norm;
    float scale;
    int32_t finite;
    float keep, rate;
    float beta1, beta2, rest1, rest2, eps, correct2;
    float lr, decay, momentum;
} ctl_cuda_optimizer_state;

typedef struct ctl_cuda_optimizer {
    ctl_cuda_optimizer_state *state;
    float *p, *m, *v;
    const float *g;
    double *squares;
    int64_t count, chunk;
    int32_t chunks;
} ctl_cuda_optimizer;

typedef struct ctl_cuda_finish {
    const float *sums;
    void *c;
    const void *bias, *addend;
    int64_t c_stride, addend_stride;
    int32_t rows, cols, accumulate, bf16_c, bf16_bias, bf16_addend, wide;
} ctl_cuda_finish;

typedef struct ctl_cuda_narrow {
    const uint16_t *a, *b;
    const void *addend;
    const uint16_t *more;
    void *c;
    int64_t a_stride, b_stride, addend_stride, more_stride, c_stride;
    int32_t rows, cols, inner, turned, bf16_addend, bf16_c, wide_a, wide_b, wide, tiles;
} ctl_cuda_narrow;

typedef struct ctl_cuda_ids {
    int32_t *ids;
    void *bad;
    int64_t stride;
    int32_t rows, below, beside, task;
} ctl_cuda_ids;

typedef struct ctl_cuda_initialise {
    void *out;
    int64_t stride, count;
    uint64_t key, name;
    double arg;
    int32_t cols, kind, bf16_out;
} ctl_cuda_initialise;

/* Bytes of shared memory of a block. */
enum {
    CTL_CUDA_IDS_SHARED = 256 * 4,
    CTL_CUDA_LOSSES_SHARED = 256 * 4,
    CTL_CUDA_SCATTER_SHARED = 128 * 4,
    CTL_CUDA_TRANSPOSE_SHARED = 32 * 33 * 4,
    CTL_CUDA_SQUARES_SHARED = 8 * 8 + 1024 * 4
};

/* Rows of a tile, and columns of a block, of a narrow product; its threads, and the bytes of shared memory of a block. */
enum { CTL_CUDA_NARROW_OWN = 64, CTL_CUDA_NARROW_THREADS = 128 };
static inline size_t ctl_cuda_narrow_shared(int64_t inner) {
    return (size_t)(2 * CTL_CUDA_NARROW_OWN * ((inner + 15) / 16 * 16 + 8)) * sizeof(uint16_t);
}

#endif
