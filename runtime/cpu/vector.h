/* vector: 16 lanes of f32, by the compilers' vector types; every arithmetic operation is the IEEE one, lane by lane. For
 * lanes_*.c alone, each of which is compiled for another instruction set: the compiler splits 16 lanes as needed. Two
 * operations are written with intrinsics where there are any: the fused multiply-add, and the product of bf16 pairs.
 * Vectors are passed between inlined functions only, so their calling convention (-Wpsabi) does not matter. */
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

INLINE lanes splat(float x) { return x - (lanes){0}; }
INLINE words splat_word(uint32_t x) { return x - (words){0}; }
INLINE lanes load(const float *p) {
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void store(float *p, lanes v) { memcpy(p, &v, sizeof v); }
INLINE words load_words(const uint32_t *p) {
    words v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void store_words(uint32_t *p, words v) { memcpy(p, &v, sizeof v); }
INLINE words as_words(lanes v) { return (words)v; }
INLINE lanes as_lanes(words v) { return (lanes)v; }
INLINE lanes select(ints mask, lanes a, lanes b) { return as_lanes(((words)mask & as_words(a)) | (~(words)mask & as_words(b))); }
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
    union { lanes v; __m256 h[2]; } x = {a}, y = {b}, z = {c};
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
/* Rounded to nearest even, as bits in the high halves (the low halves are not cleared). NaN stays NaN when its payload has
 * the form that arithmetic gives it; values from outside go through round_any. */
INLINE words round_high(lanes v) {
    words u = as_words(v);
    return u + 0x7fffu + (u >> 16 & 1u);
}
INLINE words round_any(lanes v) {
    words u = as_words(v), nan = (words)((u & 0x7fffffffu) > splat_word(0x7f800000u));
    return (nan & (u | 0x400000u)) | (~nan & round_high(v));
}
INLINE halves narrow(words high) { return __builtin_convertvector(high >> 16, halves); }
INLINE words widen(halves h) { return __builtin_convertvector(h, words); }
INLINE words load_halves(const uint16_t *p) { /* each in the low half of a word */
    halves h;
    memcpy(&h, p, sizeof h);
    return widen(h);
}

/* ---- the ends of rows: n lanes, 1 .. 16 ---- */
INLINE lanes load_n(const float *p, int64_t n) {
    if (n >= LANES) return load(p);
    lanes v = {0};
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}
INLINE void store_n(float *p, lanes v, int64_t n) {
    if (n >= LANES) store(p, v);
    else memcpy(p, &v, (size_t)n * sizeof *p);
}
INLINE words load_halves_n(const uint16_t *p, int64_t n) {
    if (n >= LANES) return load_halves(p);
    halves h = {0};
    memcpy(&h, p, (size_t)n * sizeof *p);
    return widen(h);
}
INLINE void store_halves_n(uint16_t *p, halves h, int64_t n) { memcpy(p, &h, (size_t)(n >= LANES ? LANES : n) * sizeof *p); }
INLINE lanes load_real(const void *p, int64_t at, bool bf16, int64_t n) {
    if (bf16) return as_lanes(load_halves_n((const uint16_t *)p + at, n) << 16);
    return load_n((const float *)p + at, n);
}
INLINE void store_real(void *p, int64_t at, bool bf16, lanes v, int64_t n) {
    if (bf16) store_halves_n((uint16_t *)p + at, narrow(round_any(v)), n);
    else store_n((float *)p + at, v, n);
}

/* ---- reductions: a fixed tree ---- */
INLINE float sum_lanes(lanes v) {
    float x[LANES];
    memcpy(x, &v, sizeof v);
    for (int step = LANES / 2; step; step /= 2)
        for (int j = 0; j < step; j++) x[j] += x[j + step];
    return x[0];
}

/* ---- 2^x ---- */
/* x = n + f with n whole and |f| <= 1/2: 2^f by the polynomial of degree 6 that meets it at the Chebyshev nodes (relative
 * error 3e-9), 2^n by its bits. 0 below -125; NaN stays NaN; x must be below 127.5. */
INLINE lanes exp2_lanes(lanes x) {
    const lanes magic = splat(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
    lanes shifted = x + magic, f = x - (shifted - magic);
    lanes p = splat(0.0001546144469646172f);
    p = fused(p, f, splat(0.0013400428177419153f));
    p = fused(p, f, splat(0.00961805667852609f));
    p = fused(p, f, splat(0.05550327226670944f));
    p = fused(p, f, splat(0.24022650922288827f));
    p = fused(p, f, splat(0.6931472067028321f));
    p = fused(p, f, splat(1.0f));
    p = as_lanes(as_words(p) + (as_words(shifted) << 23));
    return select((ints)(x < splat(-125.0f)), splat(0), p);
}

#endif
