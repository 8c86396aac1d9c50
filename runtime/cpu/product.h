/* product: one block of a matrix product by our own tiles, for the lanes_*.c files: what oneDNN does not have on a machine
 * (bf16 before AVX-512), or does slowly. b is packed as rows of dwords, DEPTH of them at a time; a is read where it lies,
 * or packed in the same way when it is stored transposed as bf16. c's sum runs over the pieces of k in order. oneDNN's
 * products take b packed in the same way too. */
#ifndef CTL_CPU_PRODUCT_H
#define CTL_CPU_PRODUCT_H

#include "runtime/cpu/attend.h"

enum { DEPTH = CTL_BLOCK_DEPTH };

INLINE ctl_panel stored(const void *at, int64_t stride, bool bf16) {
    return (ctl_panel){(char *)(uintptr_t)at, stride, bf16}; /* only read */
}

/* out[dword][width]: columns first .. first + n - 1 of the product, stored as rows, k from element k0 on. */
INLINE void pack_stored_rows(const ctl_panel *panel, int64_t n, int64_t k0, int64_t k, int64_t width, uint32_t *out,
                             const bool pairs) {
    const ctl_panel mine = *panel, *p = &mine; /* nothing that is written here can be it */
    const int64_t depth = pairs ? (k + 1) / 2 : k;
    for (int64_t i = 0; i < width; i += LANES)
        for (int64_t w = 0; w < depth; w += LANES) {
            words r[LANES];
            UNROLL for (int s = 0; s < LANES; s++) {
                r[s] = i + s < n ? row_dwords(p, i + s, k0, k, w, pairs) : splat_word(0);
                if (i + s + LANES < n) __builtin_prefetch(element(p, i + s + LANES, k0) + w * 4);
            }
            transpose_words(r);
            for (int64_t s = 0; s < lesser(LANES, depth - w); s++) store_words(out + (w + s) * width + i, r[s]);
        }
}

INLINE void pack_panels(const ctl_pack *p, const bool pairs) {
    const ctl_panel b = stored(p->b, p->ldb, pairs);
    const int64_t depth = pairs ? (p->k + 1) / 2 : p->k, all = round_up(depth, LANES);
    uint32_t *out = p->out;
    for (int64_t j = 0; j < p->n; j += p->panel, out += all * p->panel) {
        const int64_t n = lesser(p->panel, p->n - j);
        const ctl_panel rows = p->transpose_b ? stored(element(&b, j, 0), p->ldb, pairs) : b;
        if (p->transpose_b) pack_stored_rows(&rows, n, 0, p->k, p->panel, out, pairs);
        else pack_along(&rows, 0, p->k, j, n, p->panel, out, pairs);
        memset(out + depth * p->panel, 0, (size_t)((all - depth) * p->panel) * sizeof *out);
    }
}

INLINE void product_block(const ctl_block *b, char *scratch, const bool pairs) {
    const int64_t width = round_up(b->n, LANES), height = round_up(b->m, LANES), most = pairs ? 2 * DEPTH : DEPTH;
    uint32_t *right = piece(&scratch, DEPTH * width * 4), *left = piece(&scratch, DEPTH * height * 4);
    const ctl_panel pa = stored(b->a, b->lda, pairs), pb = stored(b->b, b->ldb, pairs);
    for (int64_t k0 = 0; k0 < b->k; k0 += most) {
        const int64_t k = lesser(most, b->k - k0), depth = pairs ? (k + 1) / 2 : k;
        if (b->transpose_b) pack_stored_rows(&pb, b->n, k0, k, width, right, pairs);
        else pack_along(&pb, k0, k, 0, b->n, width, right, pairs);
        tile t = {.m = b->m, .n = width, .k = depth, .b = right, .b_stride = width, .c = b->c, .c_stride = width,
                  .add = k0 > 0};
        if (b->transpose_a && pairs) {
            pack_along(&pa, k0, k, 0, b->m, height, left, pairs);
            t.a = (const char *)left, t.a_row = 4, t.a_step = height * 4;
        } else if (b->transpose_a) {
            t.a = element(&pa, k0, 0), t.a_row = 4, t.a_step = b->lda * 4;
        } else if (pairs && k % 2) {
            for (int64_t i = 0; i < b->m; i++)
                for (int64_t w = 0; w < depth; w += LANES)
                    store_words(left + i * DEPTH + w, row_dwords(&pa, i, k0, k, w, pairs));
            t.a = (const char *)left, t.a_row = DEPTH * 4, t.a_step = 4;
        } else {
            t.a = element(&pa, 0, k0), t.a_row = b->lda * (pairs ? 2 : 4), t.a_step = 4;
        }
        tile_product(&t, pairs);
    }
}

#endif
