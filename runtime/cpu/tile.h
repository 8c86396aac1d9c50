/* tile: products of tiles that lie in the cache, for the lanes_*.c files. c[m, n] (+)= a[m, k] b[k, n] in
 * f32, n a multiple of 16, k counted in dwords (lanes.h). A register block of up to 6 rows and 4 vectors of
 * columns runs over the whole of k; a's dwords are broadcast from where they lie, b's rows are loaded. The
 * sum's order is fixed: along k, from +0, and the old c is added last. */
#ifndef CTL_CPU_TILE_H
#define CTL_CPU_TILE_H

#include "runtime/cpu/vector.h"

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

typedef struct tile {
    int64_t m, n, k;
    const char *a;
    int64_t a_row, a_step; /* bytes from a row to the next, from a dword along k to the next */
    const uint32_t *b;
    int64_t b_stride; /* dwords */
    float *c;
    int64_t c_stride;
    bool add;
} tile;

#if defined(__AVX2__) && defined(__FMA__) && !defined(__AVX512F__)
/* 16 registers of 8 lanes: sums of 6 rows by 16 columns, two of b and one of a. In the registers' own type, for GCC keeps
 * vectors that are wider than the machine's in memory, which takes ten times as long. Of pairs all low halves come before
 * the high ones of the same dword: each sum has the order of fused_pairs. */
typedef union eights {
    __m256 f;
    __m256i u;
} eights;
enum { TILE_LOW, TILE_HIGH, TILE_F32 };

INLINE eights tile_half(eights dwords, const int part) {
    if (part == TILE_LOW) dwords.u = _mm256_slli_epi32(dwords.u, 16);
    if (part == TILE_HIGH) dwords.u = _mm256_and_si256(dwords.u, _mm256_set1_epi32((int32_t)0xffff0000u));
    return dwords;
}

INLINE void tile_dword(const char *a, int64_t a_row, const uint32_t *b, __m256 sum[6][2], const int rows, const int part) {
    const eights b0 = tile_half((eights){.u = _mm256_loadu_si256((const __m256i *)(const void *)b)}, part);
    const eights b1 = tile_half((eights){.u = _mm256_loadu_si256((const __m256i *)(const void *)(b + 8))}, part);
    UNROLL for (int r = 0; r < rows; r++) {
        int32_t dword;
        memcpy(&dword, a + r * a_row, sizeof dword);
        const eights left = tile_half((eights){.u = _mm256_set1_epi32(dword)}, part);
        sum[r][0] = _mm256_fmadd_ps(left.f, b0.f, sum[r][0]);
        sum[r][1] = _mm256_fmadd_ps(left.f, b1.f, sum[r][1]);
    }
}

INLINE void tile_block(const tile *t, int64_t i, int64_t j, const int rows, const int vectors, const bool pairs) {
    (void)vectors; /* 1 */
    __m256 sum[6][2];
    UNROLL for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = _mm256_setzero_ps();
    const char *a = t->a + i * t->a_row;
    const uint32_t *b = t->b + j;
    const int64_t a_row = t->a_row, a_step = t->a_step, b_stride = t->b_stride;
    for (int64_t k = t->k; k > 0; k--, a += a_step, b += b_stride) {
        tile_dword(a, a_row, b, sum, rows, pairs ? TILE_LOW : TILE_F32);
        if (pairs) tile_dword(a, a_row, b, sum, rows, TILE_HIGH);
    }
    UNROLL for (int r = 0; r < rows; r++) {
        float *c = t->c + (i + r) * t->c_stride + j;
        if (t->add) {
            sum[r][0] = _mm256_add_ps(sum[r][0], _mm256_loadu_ps(c));
            sum[r][1] = _mm256_add_ps(sum[r][1], _mm256_loadu_ps(c + 8));
        }
        _mm256_storeu_ps(c, sum[r][0]), _mm256_storeu_ps(c + 8, sum[r][1]);
    }
}
#else
INLINE void tile_block(const tile *t, int64_t i, int64_t j, const int rows, const int vectors,
                       const bool pairs) {
    lanes sum[6][4];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = splat(0);
    const char *a = t->a + i * t->a_row;
    const uint32_t *b = t->b + j;
    for (int64_t k = 0; k < t->k; k++, a += t->a_step, b += t->b_stride) {
        words right[4];
        UNROLL for (int v = 0; v < vectors; v++) right[v] = load_words(b + v * LANES);
        UNROLL for (int r = 0; r < rows; r++) {
            uint32_t dword;
            memcpy(&dword, a + r * t->a_row, sizeof dword);
            words left = splat_word(dword);
            UNROLL for (int v = 0; v < vectors; v++) sum[r][v] =
                pairs ? fused_pairs(left, right[v], sum[r][v])
                      : fused(as_lanes(left), as_lanes(right[v]), sum[r][v]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) {
        float *c = t->c + (i + r) * t->c_stride + j + v * LANES;
        store(c, t->add ? sum[r][v] + load(c) : sum[r][v]);
    }
}
#endif

INLINE void tile_columns(const tile *t, int64_t j, const int vectors, const bool pairs) {
    int64_t i = 0;
    for (; i + 6 <= t->m; i += 6) tile_block(t, i, j, 6, vectors, pairs);
    switch (t->m - i) {
    case 5:
        tile_block(t, i, j, 5, vectors, pairs);
        break;
    case 4:
        tile_block(t, i, j, 4, vectors, pairs);
        break;
    case 3:
        tile_block(t, i, j, 3, vectors, pairs);
        break;
    case 2:
        tile_block(t, i, j, 2, vectors, pairs);
        break;
    case 1:
        tile_block(t, i, j, 1, vectors, pairs);
        break;
    default:
        break;
    }
}

#if defined(__AVX512F__)
INLINE void tile_run(const tile *t, const bool pairs) {
    int64_t j = 0;
    for (; j + 4 * LANES <= t->n; j += 4 * LANES) tile_columns(t, j, 4, pairs);
    switch ((t->n - j) / LANES) {
    case 3:
        tile_columns(t, j, 3, pairs);
        break;
    case 2:
        tile_columns(t, j, 2, pairs);
        break;
    case 1:
        tile_columns(t, j, 1, pairs);
        break;
    default:
        break;
    }
}
#else /* 16 registers of 8 lanes, or fewer */
INLINE void tile_run(const tile *t, const bool pairs) {
    for (int64_t j = 0; j < t->n; j += LANES) tile_columns(t, j, 1, pairs);
}
#endif

static __attribute__((noinline)) void tile_f32(const tile *t) {
    tile_run(t, false);
}
static __attribute__((noinline)) void tile_pairs(const tile *t) {
    tile_run(t, true);
}
INLINE void tile_product(const tile *t, bool pairs) {
    if (pairs)
        tile_pairs(t);
    else
        tile_f32(t);
}

#endif
