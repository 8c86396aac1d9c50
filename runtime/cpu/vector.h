/* vector: 16 lanes of f32, by the compilers' vector types; every arithmetic operation is the IEEE one, lane
 * by lane. For lanes_*.c alone, each of which is compiled for another instruction set: the compiler splits 16
 * lanes as needed. Two operations are written with intrinsics where there are any: the fused multiply-add,
 * and the product of bf16 pairs. Vectors are passed between inlined functions only, so their calling
 * convention (-Wpsabi) does not matter. */
#ifndef CTL_CPU_VECTOR_H
#define CTL_CPU_VECTOR_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/dtype.h"

typedef float lanes __attribute__((vector_size(64)));
typedef uint32_t words __attribute__((vector_size(64)));
typedef int32_t ints __attribute__((vector_size(64)));
typedef uint16_t halves __attribute__((vector_size(32)));
#define INLINE static inline __attribute__((always_inline))
enum { LANES = 16 };

INLINE lanes splat(float x) {
    return x - (lanes){0};
}
INLINE words splat_word(uint32_t x) {
    return x - (words){0};
}
INLINE lanes load(const float *p) {
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void store(float *p, lanes v) {
    memcpy(p, &v, sizeof v);
}
INLINE words load_words(const uint32_t *p) {
    words v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void store_words(uint32_t *p, words v) {
    memcpy(p, &v, sizeof v);
}
INLINE words as_words(lanes v) {
    return (words)v;
}
INLINE lanes as_lanes(words v) {
    return (lanes)v;
}
INLINE lanes select(ints mask, lanes a, lanes b) {
    return as_lanes(((words)mask & as_words(a)) | (~(words)mask & as_words(b)));
}
INLINE lanes larger(lanes a, lanes b) {
#if defined(__AVX512F__)
    return (lanes)_mm512_max_ps((__m512)a, (__m512)b);
#else
    return select((ints)(a > b), a, b);
#endif
}

INLINE lanes fused(lanes a, lanes b, lanes c) { /* a * b + c, rounded once where the machine can */
#if defined(__AVX512F__)
    return (lanes)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    union {
        lanes v;
        __m256 h[2];
    } x = {a}, y = {b}, z = {c};
    z.h[0] = _mm256_fmadd_ps(x.h[0], y.h[0], z.h[0]);
    z.h[1] = _mm256_fmadd_ps(x.h[1], y.h[1], z.h[1]);
    return z.v;
#else
    return a * b + c;
#endif
}

/* c + a.low * b.low + a.high * b.high: words hold pairs of bf16, the first in the low half. */
INLINE lanes fused_pairs(words a, words b, lanes c) {
#if defined(__AVX512BF16__)
    return (lanes)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b);
#else
    c = fused(as_lanes(a << 16), as_lanes(b << 16), c);
    return fused(as_lanes(a & 0xffff0000u), as_lanes(b & 0xffff0000u), c);
#endif
}

/* ---- bf16 ---- */
/* Rounded to nearest even, as bits in the high halves (the low halves are not cleared). NaN stays NaN when
 * its payload has the form that arithmetic gives it; values from outside go through round_any. */
INLINE words round_high(lanes v) {
    words u = as_words(v);
    return u + 0x7fffu + (u >> 16 & 1u);
}
INLINE words round_any(lanes v) {
    words u = as_words(v), nan = (words)((u & 0x7fffffffu) > splat_word(0x7f800000u));
    return (nan & (u | 0x400000u)) | (~nan & round_high(v));
}
#if defined(__AVX512BW__) && defined(__AVX512VL__)
#define CTL_MASKS 1 /* loads and stores of part of a vector */
#else
#define CTL_MASKS 0
#endif
#if CTL_MASKS
INLINE halves narrow(words high) {
    return (halves)_mm512_cvtepi32_epi16((__m512i)(high >> 16));
}
INLINE words widen(halves h) {
    return (words)_mm512_cvtepu16_epi32((__m256i)h);
}
#else
INLINE halves narrow(words high) {
    return __builtin_convertvector(high >> 16, halves);
}
INLINE words widen(halves h) {
    return __builtin_convertvector(h, words);
}
#endif
INLINE words load_halves(const uint16_t *p) { /* each in the low half of a word */
    halves h;
    memcpy(&h, p, sizeof h);
    return widen(h);
}

/* ---- the ends of rows: n elements, more than a vector holds counting as all ---- */
#if CTL_MASKS
INLINE uint32_t first_lanes(int64_t n) {
    return _bzhi_u32(UINT32_MAX, (unsigned)(n > 32 ? 32 : n));
}
INLINE lanes load_n(const float *p, int64_t n) {
    return (lanes)_mm512_maskz_loadu_ps((__mmask16)first_lanes(n), p);
}
INLINE void store_n(float *p, lanes v, int64_t n) {
    _mm512_mask_storeu_ps(p, (__mmask16)first_lanes(n), (__m512)v);
}
INLINE words load_halves_n(const uint16_t *p, int64_t n) {
    return widen((halves)_mm256_maskz_loadu_epi16((__mmask16)first_lanes(n), p));
}
INLINE void store_halves_n(uint16_t *p, halves h, int64_t n) {
    _mm256_mask_storeu_epi16(p, (__mmask16)first_lanes(n), (__m256i)h);
}
INLINE words load_pairs_n(const uint16_t *p, int64_t n) { /* n halves, as pairs */
    return (words)_mm512_maskz_loadu_epi16(first_lanes(n), p);
}
#else
INLINE lanes load_n(const float *p, int64_t n) {
    if (n >= LANES) return load(p);
    lanes v = {0};
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}
INLINE void store_n(float *p, lanes v, int64_t n) {
    if (n >= LANES)
        store(p, v);
    else
        memcpy(p, &v, (size_t)n * sizeof *p);
}
INLINE words load_halves_n(const uint16_t *p, int64_t n) {
    if (n >= LANES) return load_halves(p);
    halves h = {0};
    memcpy(&h, p, (size_t)n * sizeof *p);
    return widen(h);
}
INLINE void store_halves_n(uint16_t *p, halves h, int64_t n) {
    if (n >= LANES)
        memcpy(p, &h, sizeof h);
    else
        memcpy(p, &h, (size_t)n * sizeof *p);
}
INLINE words load_pairs_n(const uint16_t *p, int64_t n) {
    words v = {0};
    if (n >= 2 * LANES)
        memcpy(&v, p, sizeof v);
    else
        memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}
#endif
INLINE lanes load_real(const void *p, int64_t at, bool bf16, int64_t n) {
    if (bf16) return as_lanes(load_halves_n((const uint16_t *)p + at, n) << 16);
    return load_n((const float *)p + at, n);
}
INLINE void store_real(void *p, int64_t at, bool bf16, lanes v, int64_t n) {
    if (bf16)
        store_halves_n((uint16_t *)p + at, narrow(round_any(v)), n);
    else
        store_n((float *)p + at, v, n);
}

/* ---- reductions: a fixed tree ---- */
INLINE float sum_lanes(lanes v) {
    v += __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
    v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    v += __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
    return v[0];
}

/* Two values as the dwords of pairs: first low. Rounded as by round_high, or by the machine, which also
 * flushes numbers below 2^-126 to 0. */
INLINE words pair(lanes first, lanes second) {
#if defined(__AVX512BF16__)
    const __m512i interleaved = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                                                 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return (words)_mm512_permutexvar_epi16(interleaved,
                                           (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first));
#else
    return round_high(first) >> 16 | (round_high(second) & 0xffff0000u);
#endif
}
INLINE halves narrow_lanes(lanes v) { /* the same bits as pair's */
#if defined(__AVX512BF16__)
    return (halves)_mm512_cvtneps_pbh((__m512)v);
#else
    return narrow(round_high(v));
#endif
}

/* ---- 2^x ---- */
/* x = n + f with n whole and |f| <= 1/2: 2^f by the polynomial of degree 6 that meets it at the Chebyshev
 * nodes (relative error 3e-9), times 2^n. Exact 0 from -200 down, and where it has no scaling instruction
 * from -125 down; NaN stays NaN; x must be below 127.5. */
INLINE lanes exp2_polynomial(lanes f) {
    lanes p = splat(0.0001546144469646172f);
    p = fused(p, f, splat(0.0013400428177419153f));
    p = fused(p, f, splat(0.00961805667852609f));
    p = fused(p, f, splat(0.05550327226670944f));
    p = fused(p, f, splat(0.24022650922288827f));
    p = fused(p, f, splat(0.6931472067028321f));
    return fused(p, f, splat(1.0f));
}
INLINE lanes exp2_lanes(lanes x) {
#if defined(__AVX512F__)
    __m512 y = _mm512_max_ps(_mm512_set1_ps(-200.0f), (__m512)x); /* of a number and NaN: the second */
    __m512 n = _mm512_roundscale_ps(y, 0);
    return (lanes)_mm512_scalef_ps((__m512)exp2_polynomial((lanes)_mm512_sub_ps(y, n)), n);
#else
    const lanes magic = splat(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
    lanes shifted = x + magic, p = exp2_polynomial(x - (shifted - magic));
    p = as_lanes(as_words(p) + (as_words(shifted) << 23));
    return select((ints)(x < splat(-125.0f)), splat(0), p);
#endif
}

/* ---- the natural logarithm of numbers above 2^-126 ---- */
/* x = m 2^e with m in [sqrt(1/2), sqrt(2)); log m = 2 artanh((m - 1) / (m + 1)) by its series up to the ninth
 * power. */
INLINE lanes log_lanes(lanes x) {
    words shifted = as_words(x) - 0x3f3504f3u; /* the bits of sqrt(1/2) */
    lanes e = __builtin_convertvector((ints)shifted >> 23, lanes);
    lanes m = as_lanes((shifted & 0x7fffffu) + 0x3f3504f3u), s = (m - splat(1)) / (m + splat(1)), q = s * s;
    lanes p = fused(q, splat(2.0f / 9), splat(2.0f / 7));
    p = fused(p, q, splat(2.0f / 5));
    p = fused(p, q, splat(2.0f / 3));
    lanes r = fused(e, splat(0.693147180559945f), fused(p * q, s, s + s));
    return select((ints)(x == x), r, x);
}

#endif
