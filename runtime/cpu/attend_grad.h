/* attend_grad: attention's gradients for one unit: one document, one key-value head and its query heads. For
 * the lanes_*.c files. One thread computes a unit from end to end, so that every sum has one order.
 *
 * With queries along the lanes as in attend.h: S' = K Q', dP' = V dO'; P' = exp(S'/sqrt(head) - lse); dS' =
 * P' (dP' - D) with D = the row sums of dO * O. Then dV += P' dO, dK += dS' Q, dQ = dS K; the root of the
 * head size divides at the end. P' and dS' are rounded to the operands' dtype before these products. */
#ifndef CTL_CPU_ATTEND_GRAD_H
#define CTL_CPU_ATTEND_GRAD_H

#include "runtime/cpu/attend.h"

/* Of one key-value head. */
typedef struct grads {
    left_rows keys, values;              /* left operands */
    uint32_t *keys_along;                /* right operand, for dQ */
    float *dk, *dv, *dq;                 /* [length][width] twice; [QUERIES][width] */
    uint32_t *q_across, *o_across;       /* [depth][QUERIES]: queries and dO */
    uint32_t *q_along, *o_along;         /* rows or pairs of rows [width] */
    float *scores, *d_scores;            /* [KEYS][QUERIES] */
    char *p, *ds;                        /* left operands [KEYS][QUERIES], in the operands' dtype */
    uint32_t *ds_pairs;                  /* left operand of dQ */
    float lse[QUERIES], across[QUERIES]; /* in base 2; D */
} grads;

INLINE void grads_layout(grads *g, char **scratch, int64_t head, int64_t length, const bool pairs) {
    const int64_t width = round_up(head, LANES), depth = pairs ? (head + 1) / 2 : head;
    g->q_across = piece(scratch, depth * QUERIES * 4);
    g->o_across = piece(scratch, depth * QUERIES * 4);
    g->q_along = piece(scratch, QUERIES / (pairs ? 2 : 1) * width * 4);
    g->o_along = piece(scratch, QUERIES / (pairs ? 2 : 1) * width * 4);
    g->scores = piece(scratch, KEYS * QUERIES * 4);
    g->d_scores = piece(scratch, KEYS * QUERIES * 4);
    g->p = pairs ? piece(scratch, KEYS * QUERIES * 2) : (char *)g->scores;
    g->ds = pairs ? piece(scratch, KEYS * QUERIES * 2) : (char *)g->d_scores;
    g->ds_pairs = pairs ? piece(scratch, KEYS * QUERIES * 2) : (uint32_t *)(void *)g->d_scores;
    g->dq = piece(scratch, QUERIES * width * 4);
    g->keys_along = piece(scratch, (pairs ? (length + 1) / 2 : length) * width * 4);
    g->dk = piece(scratch, length * width * 4);
    g->dv = piece(scratch, length * width * 4);
}

/* The queries' packs, lse and D. */
INLINE void take_queries(const ctl_attend *a, grads *g, int64_t row, int64_t rows, int64_t h,
                         const bool pairs) {
    const int64_t head = a->head, width = round_up(head, LANES);
    pack_across(&a->q, row, rows, h * head, head, g->q_across, pairs);
    pack_across(&a->d_o, row, rows, h * head, head, g->o_across, pairs);
    pack_along(&a->q, row, rows, h * head, head, width, g->q_along, pairs);
    pack_along(&a->d_o, row, rows, h * head, head, width, g->o_along, pairs);
    for (int64_t i = 0; i < QUERIES; i++) {
        g->lse[i] = g->across[i] = 0;
        if (i >= rows) continue;
        lanes sum = splat(0);
        for (int64_t c = 0; c < head; c += LANES) {
            int64_t n = lesser(LANES, head - c);
            sum += load_real(element(&a->o, row + i, h * head), c, a->o.bf16, n) *
                   load_real(element(&a->d_o, row + i, h * head), c, a->d_o.bf16, n);
        }
        g->across[i] = sum_lanes(sum);
        g->lse[i] = a->lse[(row + i) * a->lse_stride + h] * 1.44269504088896340736f;
    }
}

/* One key's 16 lanes: P' and dS'. */
typedef struct scored {
    lanes p, ds;
} scored;
INLINE scored score(const ctl_attend *a, const grads *g, int64_t query, int64_t key, int64_t j, int v,
                    float factor, const bool masked) {
    int64_t at = j * QUERIES + v * LANES;
    lanes p = exp2_lanes(fused(load(g->scores + at), splat(factor), -load(g->lse + v * LANES)));
    if (masked) p = select(sees(a, query + v * LANES, key + j), p, splat(0));
    lanes d = load(g->d_scores + at) - load(g->across + v * LANES);
    lanes ds = p * d;
    return (scored){p, masked ? select(sees(a, query + v * LANES, key + j), ds, splat(0)) : ds};
}

INLINE void score_tile(const ctl_attend *a, grads *g, int64_t query, int64_t key, int64_t keys, float factor,
                       const bool pairs, const bool masked) {
    for (int64_t j = 0; j < keys; j += pairs ? 2 : 1) UNROLL for (int v = 0; v < STRIPS; v++) {
            const int64_t at = j * QUERIES + v * LANES;
            scored one = score(a, g, query, key, j, v, factor, masked);
            if (!pairs) {
                store(g->scores + at, one.p);
                store(g->d_scores + at, one.ds);
                continue;
            }
            scored next = {splat(0), splat(0)};
            store_halves_n((uint16_t *)(void *)g->p + at, narrow_lanes(one.p), LANES);
            store_halves_n((uint16_t *)(void *)g->ds + at, narrow_lanes(one.ds), LANES);
            if (j + 1 < keys) {
                next = score(a, g, query, key, j + 1, v, factor, masked);
                store_halves_n((uint16_t *)(void *)g->p + at + QUERIES, narrow_lanes(next.p), LANES);
                store_halves_n((uint16_t *)(void *)g->ds + at + QUERIES, narrow_lanes(next.ds), LANES);
            }
            store_words(g->ds_pairs + j / 2 * QUERIES + v * LANES, pair(one.ds, next.ds));
        }
}

/* Gradients of one tile of queries of head h; adds to dk and dv, writes dq. */
INLINE void attend_grad_tile(const ctl_attend *a, const ctl_attend_unit *u, grads *g, int64_t i, int64_t rows,
                             int64_t h, const bool pairs) {
    const int64_t head = a->head, width = round_up(head, LANES), depth = pairs ? (head + 1) / 2 : head;
    const int64_t along = pairs ? 2 : 1, query_bytes = pairs ? 2 : 4;
    const float norm = 1.0f / sqrtf((float)head), factor = norm * 1.44269504088896340736f;
    const sight s = sight_of(a, u->length, i, rows);
    take_queries(a, g, u->begin + i, rows, h, pairs);
    if (i + rows < u->length) { /* the next tile's */
        const int64_t next = u->begin + i + rows, n = lesser(QUERIES, u->length - i - rows);
        foresee_rows(&a->q, next, n, h * head, head);
        foresee_rows(&a->d_o, next, n, h * head, head);
        foresee_rows(&a->o, next, n, h * head, head);
    }
    for (int64_t j = s.first; j < s.end; j += KEYS) {
        const int64_t n = lesser(KEYS, s.end - j);
        tile_product(&(tile){.m = n,
                             .n = QUERIES,
                             .k = depth,
                             .a = g->keys.at + j * g->keys.row_bytes,
                             .a_row = g->keys.row_bytes,
                             .a_step = 4,
                             .b = g->q_across,
                             .b_stride = QUERIES,
                             .c = g->scores,
                             .c_stride = QUERIES},
                     pairs);
        tile_product(&(tile){.m = n,
                             .n = QUERIES,
                             .k = depth,
                             .a = g->values.at + j * g->values.row_bytes,
                             .a_row = g->values.row_bytes,
                             .a_step = 4,
                             .b = g->o_across,
                             .b_stride = QUERIES,
                             .c = g->d_scores,
                             .c_stride = QUERIES},
                     pairs);
        if (is_masked(a, i, rows, j, n))
            score_tile(a, g, i, j, n, factor, pairs, true);
        else
            score_tile(a, g, i, j, n, factor, pairs, false);
        tile over_queries = {.m = n,
                             .n = width,
                             .k = (rows + along - 1) / along,
                             .a_row = QUERIES * query_bytes,
                             .a_step = 4,
                             .b_stride = width,
                             .c_stride = width,
                             .add = true};
        over_queries.a = g->p, over_queries.b = g->o_along, over_queries.c = g->dv + j * width;
        tile_product(&over_queries, pairs);
        over_queries.a = g->ds, over_queries.b = g->q_along, over_queries.c = g->dk + j * width;
        tile_product(&over_queries, pairs);
        tile_product(&(tile){.m = rows,
                             .n = width,
                             .k = (n + along - 1) / along,
                             .a = (const char *)g->ds_pairs,
                             .a_row = 4,
                             .a_step = QUERIES * 4,
                             .b = g->keys_along + j / along * width,
                             .b_stride = width,
                             .c = g->dq,
                             .c_stride = width,
                             .add = j > s.first},
                     pairs);
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < head; c += LANES)
            store_real(element(&a->dq, u->begin + i + r, h * head), c, a->dq.bf16,
                       load(g->dq + r * width + c) * splat(norm), lesser(LANES, head - c));
}

INLINE void attend_grad_unit(const ctl_attend *a, const ctl_attend_unit *u, char *scratch, const bool pairs) {
    const int64_t head = a->head, width = round_up(head, LANES), kv_col = u->kv_head * head,
                  length = u->length;
    const float norm = 1.0f / sqrtf((float)head);
    grads g;
    grads_layout(&g, &scratch, head, length, pairs);
    g.keys = left_operand(&a->k, u->begin, length, kv_col, head, &scratch, pairs);
    g.values = left_operand(&a->v, u->begin, length, kv_col, head, &scratch, pairs);
    const int64_t soon = lesser(QUERIES, length), query_col = kv_col * a->group;
    foresee_rows(&a->q, u->begin, soon, query_col, head);
    foresee_rows(&a->d_o, u->begin, soon, query_col, head);
    foresee_rows(&a->o, u->begin, soon, query_col, head);
    pack_along(&a->k, u->begin, length, kv_col, head, width, g.keys_along, pairs);
    memset(g.dk, 0, (size_t)(length * width) * sizeof *g.dk);
    memset(g.dv, 0, (size_t)(length * width) * sizeof *g.dv);
    for (int64_t h = u->kv_head * a->group; h < (u->kv_head + 1) * a->group; h++)
        for (int64_t i = 0; i < length; i += QUERIES)
            attend_grad_tile(a, u, &g, i, lesser(QUERIES, length - i), h, pairs);
    for (int64_t j = 0; j < length; j++)
        for (int64_t c = 0; c < head; c += LANES) {
            int64_t n = lesser(LANES, head - c);
            store_real(element(&a->dk, u->begin + j, kv_col), c, a->dk.bf16,
                       load(g.dk + j * width + c) * splat(norm), n);
            store_real(element(&a->dv, u->begin + j, kv_col), c, a->dv.bf16, load(g.dv + j * width + c), n);
        }
}

#endif
