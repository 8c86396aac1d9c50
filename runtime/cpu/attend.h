/* attend: attention forward for one unit (lanes.h): some query rows of one document, the query heads of one
 * key-value head. For the lanes_*.c files.
 *
 * Scores are computed with queries along the lanes, S' = K Q': keys are copied once a unit, queries are
 * packed once a tile, and the softmax over keys needs no reduction across lanes. Keys come in tiles; each
 * query keeps its running maximum and sum, and what was summed before is scaled when the maximum grows
 * (online softmax). Exponentials are rounded to the operands' dtype before they meet the values; their sum is
 * not. Tiles that no query sees are skipped, tiles that all see are not masked. */
#ifndef CTL_CPU_ATTEND_H
#define CTL_CPU_ATTEND_H

#include "runtime/cpu/lanes.h"
#include "runtime/cpu/tile.h"

enum { QUERIES = CTL_ATTEND_QUERIES, KEYS = CTL_ATTEND_KEYS, STRIPS = QUERIES / LANES };

INLINE int64_t round_up(int64_t n, int64_t to) {
    return (n + to - 1) / to * to;
}
INLINE int64_t lesser(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Takes the next piece of scratch, a multiple of 64 bytes. */
INLINE void *piece(char **at, int64_t bytes) {
    char *p = *at;
    *at += round_up(bytes, 64);
    return p;
}

/* ---- packing ---- */
/* r[i][l] becomes r[l][i]: at each step, blocks of `step` lanes change places between rows that are `step`
 * apart. */
#define SWAP_LOW(l, step)  ((l) & (step) ? 16 + (l) - (step) : (l))
#define SWAP_HIGH(l, step) ((l) & (step) ? 16 + (l) : (l) + (step))
#define SWAP_ALL(f, s)                                                                                       \
    f(0, s), f(1, s), f(2, s), f(3, s), f(4, s), f(5, s), f(6, s), f(7, s), f(8, s), f(9, s), f(10, s),      \
        f(11, s), f(12, s), f(13, s), f(14, s), f(15, s)
#define SWAP_STEP(r, s)                                                                                      \
    for (int i = 0; i < LANES; i++)                                                                          \
        if (!(i & (s))) {                                                                                    \
            words low = __builtin_shufflevector(r[i], r[i + (s)], SWAP_ALL(SWAP_LOW, s));                    \
            r[i + (s)] = __builtin_shufflevector(r[i], r[i + (s)], SWAP_ALL(SWAP_HIGH, s));                  \
            r[i] = low;                                                                                      \
        }
#if defined(__AVX2__) && !defined(__AVX512F__)
/* By quarters of 8 x 8, which the registers hold: GCC moves the words of wider shuffles one by one. */
INLINE void transpose_eights(__m256i r[8]) {
    __m256i t[8];
    UNROLL for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
    UNROLL for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);
    }
    UNROLL for (int i = 0; i < 8; i++) r[i] = t[i];
}
INLINE void transpose_words(words r[LANES]) {
    words out[LANES];
    for (int high = 0; high < 2; high++)
        for (int right = 0; right < 2; right++) {
            __m256i q[8];
            UNROLL for (int i = 0; i < 8; i++) memcpy(&q[i], (char *)&r[8 * high + i] + 32 * right, 32);
            transpose_eights(q);
            UNROLL for (int i = 0; i < 8; i++) memcpy((char *)&out[8 * right + i] + 32 * high, &q[i], 32);
        }
    memcpy(r, out, sizeof out);
}
#else
INLINE void transpose_words(words r[LANES]) {
    SWAP_STEP(r, 8);
    SWAP_STEP(r, 4);
    SWAP_STEP(r, 2);
    SWAP_STEP(r, 1);
}
#endif

/* Element `col` of row `row` of a head's slice, as an address. */
INLINE char *element(const ctl_panel *p, int64_t row, int64_t col) {
    return p->at + (row * p->stride + col) * (p->bf16 ? 2 : 4);
}

/* Rows of a panel lie far apart, where the machine foresees nothing: the packs ask for those that come next.
 */
enum { AHEAD = 16 };
INLINE void foresee(const ctl_panel *p, int64_t row, int64_t end, int64_t col, int64_t head) {
    if (row >= end) return;
    const char *at = element(p, row, col), *last = element(p, row, col + head - 1);
    for (; at <= last; at += 64) __builtin_prefetch(at);
}

/* All rows of a tile, long before they are read. */
INLINE void foresee_rows(const ctl_panel *p, int64_t first, int64_t rows, int64_t col, int64_t head) {
    for (int64_t i = 0; i < rows; i++) foresee(p, first + i, first + rows, col, head);
}

/* The dwords of a row from dword w on, at most 16; f32 values are rounded first where pairs of bf16 are
 * wanted. */
INLINE words row_dwords(const ctl_panel *p, int64_t row, int64_t col, int64_t head, int64_t w,
                        const bool pairs) {
    if (!pairs) return as_words(load_real(element(p, row, col), w, p->bf16, lesser(head - w, LANES)));
    int64_t n = lesser(head - 2 * w, 2 * LANES);
    if (p->bf16) return load_pairs_n((const uint16_t *)(const void *)element(p, row, col + 2 * w), n);
    uint32_t dwords[LANES] = {0};
    const float *x = (const float *)(const void *)element(p, row, col + 2 * w);
    for (int64_t e = 0; e < n && e < 2 * LANES; e++)
        dwords[e / 2] |= (uint32_t)ctl_f32_to_bf16(x[e]) << 16 * (e & 1);
    return load_words(dwords);
}

/* out[dword][QUERIES]: rows first .. first + rows - 1 across the lanes, the rest 0. */
INLINE void pack_across(const ctl_panel *panel, int64_t first, int64_t rows, int64_t col, int64_t head,
                        uint32_t *out, const bool pairs) {
    const ctl_panel mine = *panel, *p = &mine; /* nothing that is written here can be it */
    int64_t depth = pairs ? (head + 1) / 2 : head;
    for (int64_t i = 0; i < QUERIES; i += LANES)
        for (int64_t w = 0; w < depth; w += LANES) {
            words r[LANES];
            for (int64_t s = 0; s < LANES; s++) {
                if (w == 0) foresee(p, first + i + s + AHEAD, first + rows, col, head);
                r[s] = i + s < rows ? row_dwords(p, first + i + s, col, head, w, pairs) : splat_word(0);
            }
            transpose_words(r);
            for (int64_t s = 0; s < lesser(LANES, depth - w); s++)
                store_words(out + (w + s) * QUERIES + i, r[s]);
        }
}

INLINE words row_halves(const ctl_panel *p, int64_t row, int64_t col, int64_t n) {
    if (p->bf16) return load_halves_n((const uint16_t *)(const void *)element(p, row, col), n);
    return round_any(load_n((const float *)(const void *)element(p, row, col), n)) >> 16;
}

/* Two rows of bf16 side by side, n of their columns. */
INLINE void interleave(const uint16_t *low, const uint16_t *high, int64_t n, uint32_t *out) {
    int64_t c = 0;
    for (; c + LANES <= n; c += LANES)
        store_words(out + c, load_halves(low + c) | load_halves(high + c) << 16);
    if (c < n) store_words(out + c, load_halves_n(low + c, n - c) | load_halves_n(high + c, n - c) << 16);
}

/* out[row or pair of rows][width]: dwords along the rows, as the right operand of a product over rows wants
 * them. The second row of an odd last pair is 0, and so is what is between head and width. */
INLINE void pack_along(const ctl_panel *panel, int64_t first, int64_t rows, int64_t col, int64_t head,
                       int64_t width, uint32_t *out, const bool pairs) {
    const ctl_panel mine = *panel, *p = &mine; /* nothing that is written here can be it */
    for (int64_t i = 0; i < rows; i += pairs ? 2 : 1, out += width) {
        foresee(p, first + i + AHEAD, first + rows, col, head);
        if (pairs) foresee(p, first + i + AHEAD + 1, first + rows, col, head);
        if (pairs && p->bf16 && i + 1 < rows) {
            interleave((const uint16_t *)(const void *)element(p, first + i, col),
                       (const uint16_t *)(const void *)element(p, first + i + 1, col), head, out);
            continue;
        }
        for (int64_t c = 0; c < width; c += LANES) {
            int64_t n = lesser(LANES, head - c);
            if (!pairs) {
                store_words(out + c, as_words(load_real(element(p, first + i, col + c), 0, p->bf16, n)));
                continue;
            }
            words low = row_halves(p, first + i, col + c, n);
            words high = i + 1 < rows ? row_halves(p, first + i + 1, col + c, n) : splat_word(0);
            store_words(out + c, low | high << 16);
        }
    }
}

/* Rows as a left operand, copied close together: in place they lie a panel's stride apart, where they fall
 * into few sets of the cache and each on a page of its own. A row that ends in half a dword is padded with 0.
 */
typedef struct left_rows {
    const char *at;
    int64_t row_bytes;
} left_rows;
INLINE left_rows left_operand(const ctl_panel *p, int64_t first, int64_t rows, int64_t col, int64_t head,
                              char **scratch, const bool pairs) {
    const int64_t size = pairs ? 2 : 4, bytes = head * size, row_bytes = round_up(bytes, 4);
    char *copy = piece(scratch, rows * row_bytes);
    for (int64_t i = 0; i < rows; i++) {
        foresee(p, first + i + AHEAD, first + rows, col, head);
        memcpy(copy + i * row_bytes, element(p, first + i, col), (size_t)bytes);
        if (row_bytes > bytes) memset(copy + i * row_bytes + bytes, 0, (size_t)(row_bytes - bytes));
    }
    return (left_rows){copy, row_bytes};
}

/* ---- who sees whom ---- */
typedef struct sight {
    int64_t first, end; /* keys that some query of the tile sees; first is even */
} sight;
INLINE sight sight_of(const ctl_attend *a, int64_t length, int64_t query, int64_t rows) {
    sight s = {0, length};
    if (a->window && query - a->window + 1 > 0) s.first = (query - a->window + 1) & ~(int64_t)1;
    if (a->causal) s.end = lesser(length, query + rows);
    return s;
}
INLINE bool is_masked(const ctl_attend *a, int64_t query, int64_t rows, int64_t key, int64_t keys) {
    return (a->causal && key + keys - 1 > query) || (a->window && query + rows - 1 - key >= a->window);
}
/* Lanes of the queries from `query` on that see the key. */
INLINE ints sees(const ctl_attend *a, int64_t query, int64_t key) {
    const ints lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    ints ahead = lane + (int32_t)(query - key), mask = ~(ints){0};
    if (a->causal) mask &= (ints)(ahead >= 0);
    if (a->window) mask &= (ints)(ahead < (int32_t)lesser(a->window, INT32_MAX));
    return mask;
}

/* ---- the running softmax ---- */
typedef struct running {
    float most[QUERIES], sum[QUERIES],
        scale[QUERIES]; /* of raw scores; of exponentials; what the old ones are worth now */
} running;

/* scores [keys][QUERIES] become exponentials: f32 in place, or pairs of keys as bf16 in p. */
INLINE void soften(const ctl_attend *a, running *run, float *scores, uint32_t *p, int64_t query, int64_t rows,
                   int64_t key, int64_t keys, float factor, const bool pairs) {
    lanes most[STRIPS], base[STRIPS], sum[STRIPS];
    UNROLL for (int v = 0; v < STRIPS; v++) most[v] = load(run->most + v * LANES);
    if (is_masked(a, query, rows, key, keys))
        for (int64_t j = 0; j < keys; j++) UNROLL for (int v = 0; v < STRIPS; v++) {
                float *s = scores + j * QUERIES + v * LANES;
                store(s, select(sees(a, query + v * LANES, key + j), load(s), splat(-INFINITY)));
            }
    for (int64_t j = 0; j < keys; j++)
        UNROLL for (int v = 0; v < STRIPS; v++) most[v] =
            larger(load(scores + j * QUERIES + v * LANES), most[v]);
    UNROLL for (int v = 0; v < STRIPS; v++) {
        base[v] = select((ints)(most[v] == splat(-INFINITY)), splat(0), most[v] * splat(factor));
        lanes scale = exp2_lanes(load(run->most + v * LANES) * splat(factor) - base[v]);
        sum[v] = load(run->sum + v * LANES) * scale;
        store(run->scale + v * LANES, scale);
        store(run->most + v * LANES, most[v]);
    }
    for (int64_t j = 0; j < keys; j += pairs ? 2 : 1) UNROLL for (int v = 0; v < STRIPS; v++) {
            float *s = scores + j * QUERIES + v * LANES;
            lanes one = exp2_lanes(fused(load(s), splat(factor), -base[v]));
            sum[v] += one;
            if (!pairs) {
                store(s, one);
                continue;
            }
            lanes next = splat(0);
            if (j + 1 < keys) {
                next = exp2_lanes(fused(load(s + QUERIES), splat(factor), -base[v]));
                sum[v] += next;
            }
            store_words(p + j / 2 * QUERIES + v * LANES, pair(one, next));
        }
    UNROLL for (int v = 0; v < STRIPS; v++) store(run->sum + v * LANES, sum[v]);
}

INLINE void rescale(float *out, const float *scale, int64_t rows, int64_t width) {
    for (int64_t i = 0; i < rows; i++) {
        if (scale[i] == 1.0f) continue;
        for (int64_t c = 0; c < width; c += LANES)
            store(out + i * width + c, load(out + i * width + c) * splat(scale[i]));
    }
}

INLINE void write_queries(const ctl_attend *a, const running *run, const float *out, int64_t row,
                          int64_t rows, int64_t h) {
    const int64_t head = a->head, width = round_up(head, LANES);
    const float norm = 1.0f / sqrtf((float)head);
    float lse[QUERIES];
    for (int v = 0; v < QUERIES; v += LANES)
        store(lse + v, load(run->most + v) * splat(norm) + log_lanes(load(run->sum + v)));
    for (int64_t r = 0; r < rows; r++) {
        char *o = element(&a->o, row + r, h * head);
        for (int64_t c = 0; c < head; c += LANES)
            store_real(o, c, a->o.bf16, load(out + r * width + c) / splat(run->sum[r]),
                       lesser(LANES, head - c));
        a->lse[(row + r) * a->lse_stride + h] = lse[r];
    }
}

INLINE void attend_unit(const ctl_attend *a, const ctl_attend_unit *u, char *scratch, const bool pairs) {
    const int64_t head = a->head, width = round_up(head, LANES), depth = pairs ? (head + 1) / 2 : head;
    const int64_t kv_col = u->kv_head * head, last = u->first + u->count - 1;
    const float norm = 1.0f / sqrtf((float)head), factor = norm * 1.44269504088896340736f;
    uint32_t *queries = piece(&scratch, depth * QUERIES * 4);
    float *scores = piece(&scratch, KEYS * QUERIES * 4);
    uint32_t *p = pairs ? piece(&scratch, KEYS / 2 * QUERIES * 4) : (uint32_t *)(void *)scores;
    float *out = piece(&scratch, QUERIES * width * 4);
    running *run = piece(&scratch, sizeof *run);
    const int64_t from = sight_of(a, u->length, u->first, 1).first, to = sight_of(a, u->length, last, 1).end;
    const int64_t along = pairs ? 2 : 1; /* rows of a packed row */
    uint32_t *values = piece(&scratch, (to - from + along - 1) / along * width * 4);
    foresee_rows(&a->q, u->begin + u->first, lesser(QUERIES, u->count), kv_col * a->group, head);
    pack_along(&a->v, u->begin + from, to - from, kv_col, head, width, values, pairs);
    left_rows keys = left_operand(&a->k, u->begin + from, to - from, kv_col, head, &scratch, pairs);

    for (int64_t h = u->kv_head * a->group; h < (u->kv_head + 1) * a->group; h++)
        for (int64_t i = u->first; i <= last; i += QUERIES) {
            const int64_t rows = lesser(QUERIES, last + 1 - i);
            const sight s = sight_of(a, u->length, i, rows);
            pack_across(&a->q, u->begin + i, rows, h * head, head, queries, pairs);
            if (i + QUERIES <= last)
                foresee_rows(&a->q, u->begin + i + QUERIES, lesser(QUERIES, last + 1 - i - QUERIES), h * head,
                             head);
            for (int64_t r = 0; r < QUERIES; r++) run->most[r] = -INFINITY, run->sum[r] = 0;
            for (int64_t j = s.first; j < s.end; j += KEYS) {
                const int64_t n = lesser(KEYS, s.end - j);
                tile_product(&(tile){.m = n,
                                     .n = QUERIES,
                                     .k = depth,
                                     .a = keys.at + (j - from) * keys.row_bytes,
                                     .a_row = keys.row_bytes,
                                     .a_step = 4,
                                     .b = queries,
                                     .b_stride = QUERIES,
                                     .c = scores,
                                     .c_stride = QUERIES},
                             pairs);
                soften(a, run, scores, p, i, rows, j, n, factor, pairs);
                if (j > s.first) rescale(out, run->scale, rows, width);
                tile_product(&(tile){.m = rows,
                                     .n = width,
                                     .k = (n + along - 1) / along,
                                     .a = (const char *)p,
                                     .a_row = 4,
                                     .a_step = QUERIES * 4,
                                     .b = values + (j - from) / along * width,
                                     .b_stride = width,
                                     .c = out,
                                     .c_stride = width,
                                     .add = j > s.first},
                             pairs);
            }
            write_queries(a, run, out, u->begin + i, rows, h);
        }
}

#endif
