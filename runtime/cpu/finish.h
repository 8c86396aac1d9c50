/* finish: what follows a product row by row: the epilogue of a matrix product, and softmax-cross-entropy on a
 * row of logits. For the lanes_*.c files. Both take their f32 operations in the order of the contract;
 * nothing is fused here that the contract (program.h) does not fuse. */
#ifndef CTL_CPU_FINISH_H
#define CTL_CPU_FINISH_H

#include "runtime/cpu/lanes.h"
#include "runtime/cpu/vector.h"

INLINE void finish_lanes(const ctl_epilogue *e, int64_t row, int64_t col, int64_t n) {
    lanes x = load_n(e->acc + row * e->acc_stride + col, n);
    if (e->accumulate) x = x + load_real(e->c, row * e->c_stride + col, e->c_bf16, n);
    if (e->bias) x = x + load_real(e->bias, col, e->bias_bf16, n);
    if (e->addend) x = x + load_real(e->addend, row * e->addend_stride + col, e->addend_bf16, n);
    store_real(e->c, row * e->c_stride + col, e->c_bf16, x, n);
}

static void finish_product(const ctl_epilogue *epilogue) {
    const ctl_epilogue mine = *epilogue, *e = &mine; /* nothing that is written here can be it */
    for (int64_t i = 0; i < e->rows; i++) {
        int64_t j = 0;
        for (; j + LANES <= e->cols; j += LANES) finish_lanes(e, i, j, LANES);
        if (j < e->cols) finish_lanes(e, i, j, e->cols - j);
    }
}

/* exp(x - most) of up to 16 numbers; those past the end count as 0. */
INLINE lanes exponentials(const float *x, int64_t n, float most) {
    lanes e = exp2_lanes((load_n(x, n) - splat(most)) * splat(1.44269504088896340736f));
    if (n < LANES) {
        float tail[LANES] = {0};
        store_n(tail, e, n);
        e = load(tail);
    }
    return e;
}

/* A row is in the cache after its first reading, so exponentials are made twice rather than written and read.
 */
static float finish_cross_entropy(float *x, int64_t n, int64_t label, float scale, void *d, bool bf16) {
    lanes top = splat(-INFINITY), sums = splat(0);
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES) top = larger(load(x + j), top);
    float each[LANES], most = -INFINITY;
    const float at_label = x[label];
    store(each, top);
    for (int l = 0; l < LANES; l++)
        if (each[l] > most) most = each[l];
    for (; j < n; j++)
        if (x[j] > most) most = x[j];
    for (j = 0; j < n; j += LANES) sums += exponentials(x + j, n - j, most);
    const float sum = sum_lanes(sums), loss = logf(sum) + most - at_label;
    if (!d) return loss;
    /* (softmax - 1) * scale at the label, softmax * scale elsewhere. d may be x: reading keeps ahead of
     * writing. */
    const float one[1] = {at_label};
    const lanes at = exponentials(one, 1, most);
    const float special = (at[0] / sum - 1.0f) * scale;
    for (j = 0; j < n; j += LANES)
        store_real(d, j, bf16, exponentials(x + j, n - j, most) / splat(sum) * splat(scale), n - j);
    if (bf16)
        ((uint16_t *)d)[label] = ctl_f32_to_bf16(special);
    else
        ((float *)d)[label] = special;
    return loss;
}

#endif
