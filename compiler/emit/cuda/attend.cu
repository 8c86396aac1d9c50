/* Attention in bf16 on tensor cores: softmax online over tiles of keys, nothing of the scores in memory, and a backward
 * without atomics: one kernel for the queries' gradients, one for the keys' and values', each element written by one warp.
 *
 * A block has four warps of 16 rows. Rows lie in shared memory as DIMS (HEAD rounded up to 16) elements and 8 more, so that
 * the eight rows of a small matrix lie in different banks. HEAD is a multiple of 8, rows begin at multiples of 16 bytes.
 * KEYS and QUERIES are rows of the tiles that come one after the other; the source defines them. */
#define DIMS ((HEAD + 15) / 16 * 16)
#define ROW (DIMS + 8)
#define STEPS (DIMS / 16)
#define OWN 64 /* rows of a block: 16 a warp */
#define LOG2E 1.4426950408889634f

/* Rows first .. first + count - 1 of a head into shared memory; zeros where there are none. */
DEVICE void copy_tile(bf16 *tile, const void *from, i64 stride, int column, int first, const int count, int rows) {
    for (int i = THREAD; i < count * (DIMS / 8); i += THREADS) {
        const int r = i / (DIMS / 8), c = i % (DIMS / 8) * 8, there = first + r < rows && c < HEAD;
        copy_async(tile + r * ROW + c, (const bf16 *)from + (there ? (first + r) * stride + column + c : 0), there ? 16 : 0);
    }
}

/* Operands of a product from a tile of rows: 16 rows by 16 dimensions as its left side; 16 rows as columns of its right
 * side; 16 rows by 16 dimensions as its right side. */
DEVICE void left_of(unsigned *a, const bf16 *tile, int row, int dim, int lane) {
    matrices(a, tile + (row + lane % 16) * ROW + dim + lane / 16 * 8);
}
DEVICE void columns_of(unsigned *b, const bf16 *tile, int row, int dim, int lane) {
    matrices(b, tile + (row + lane % 8 + lane / 16 * 8) * ROW + dim + lane / 8 % 2 * 8);
}
DEVICE void right_of(unsigned *b, const bf16 *tile, int row, int dim, int lane) {
    matrices_turned(b, tile + (row + lane % 16) * ROW + dim + lane / 16 * 8);
}
DEVICE unsigned pair(float low, float high) { return to_bf16(low) | to_bf16(high) << 16; }
/* 16 columns of a product's result as the left side of the next. */
DEVICE void again_left(unsigned *a, const float (*s)[4]) {
    a[0] = pair(s[0][0], s[0][1]), a[1] = pair(s[0][2], s[0][3]);
    a[2] = pair(s[1][0], s[1][1]), a[3] = pair(s[1][2], s[1][3]);
}
DEVICE void clear(float (*s)[4], const int n) {
    UNROLL for (int j = 0; j < n; j++) s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0.0f;
}
/* s = left rows (16 of the tile `a`, from row `row`) times the `count` rows of the tile `b`. */
DEVICE void scores(float (*s)[4], const bf16 *a, int row, const bf16 *b, const int count, int lane) {
    clear(s, count / 8);
    UNROLL for (int k = 0; k < STEPS; k++) {
        unsigned left[4];
        left_of(left, a, row, k * 16, lane);
        UNROLL for (int n = 0; n < count / 16; n++) {
            unsigned right[4];
            columns_of(right, b, n * 16, k * 16, lane);
            mma_bf16(s[2 * n], left, right);
            mma_bf16(s[2 * n + 1], left, right + 2);
        }
    }
}
/* o += s times the `count` rows of the tile. */
DEVICE void add_product(float (*o)[4], const float (*s)[4], const bf16 *tile, const int count, int lane) {
    UNROLL for (int k = 0; k < count / 16; k++) {
        unsigned left[4];
        again_left(left, s + 2 * k);
        UNROLL for (int n = 0; n < STEPS; n++) {
            unsigned right[4];
            right_of(right, tile, k * 16, n * 16, lane);
            mma_bf16(o[2 * n], left, right);
            mma_bf16(o[2 * n + 1], left, right + 2);
        }
    }
}
/* A warp's 16 rows of a result, times `factor[0 or 1]` for its upper and lower rows. */
DEVICE void put_rows(const float (*o)[4], const float *factor, void *to, int is_bf16, i64 stride, int column, int first,
                     int rows, int lane) {
    UNROLL for (int i = 0; i < 2; i++) {
        const int t = first + lane / 4 + 8 * i;
        if (t >= rows) continue;
        UNROLL for (int n = 0; n < DIMS / 8; n++) {
            const int c = n * 8 + lane % 4 * 2;
            if (c >= HEAD) continue;
            put_real(to, is_bf16, t * stride + column + c, o[n][2 * i] * factor[i]);
            put_real(to, is_bf16, t * stride + column + c + 1, o[n][2 * i + 1] * factor[i]);
        }
    }
}

KERNEL(attend_forward, attend_call, 128) {
    SHARED(bf16, shared);
    bf16 *const keys = shared, *const values = shared + KEYS * ROW;
    const int lane = THREAD % 32, warp = THREAD / 32, head = BLOCK_Y, of = head / call.group;
    const int first = (BLOCKS - 1 - BLOCK) * OWN, own = first + warp * 16; /* later rows see more: they begin first */
    const int last = first + OWN < call.rows ? first + OWN - 1 : call.rows - 1;
    const int begin = span_of(&call, first).lo, end = span_of(&call, last).hi;
    const span mine[2] = {span_of(&call, own + lane / 4), span_of(&call, own + lane / 4 + 8)};

    unsigned q[STEPS][4];
    copy_tile(shared, call.q, call.q_stride, head * HEAD, first, OWN, call.rows);
    copy_commit();
    COPY_WAIT(0);
    SYNC_BLOCK();
    UNROLL for (int k = 0; k < STEPS; k++) left_of(q[k], shared, warp * 16, k * 16, lane);
    SYNC_BLOCK();

    float o[DIMS / 8][4], most[2] = {REAL_OF(0xff800000u), REAL_OF(0xff800000u)}, sum[2] = {0.0f, 0.0f};
    clear(o, DIMS / 8);
    copy_tile(keys, call.k, call.k_stride, of * HEAD, begin, KEYS, call.rows);
    copy_commit();
    for (int at = begin; at < end; at += KEYS) {
        copy_tile(values, call.v, call.v_stride, of * HEAD, at, KEYS, call.rows);
        copy_commit();
        COPY_WAIT(1); /* the keys are there */
        SYNC_BLOCK();
        float s[KEYS / 8][4];
        clear(s, KEYS / 8);
        UNROLL for (int k = 0; k < STEPS; k++) {
            UNROLL for (int n = 0; n < KEYS / 16; n++) {
                unsigned right[4];
                columns_of(right, keys, n * 16, k * 16, lane);
                mma_bf16(s[2 * n], q[k], right);
                mma_bf16(s[2 * n + 1], q[k], right + 2);
            }
        }
        SYNC_BLOCK(); /* nobody reads these keys any more */
        if (at + KEYS < end) copy_tile(keys, call.k, call.k_stride, of * HEAD, at + KEYS, KEYS, call.rows);
        copy_commit();
        UNROLL for (int i = 0; i < 2; i++) {
            float top = most[i], all = 0.0f;
            UNROLL for (int n = 0; n < KEYS / 8; n++) {
                UNROLL for (int e = 0; e < 2; e++) {
                    const int key = at + n * 8 + lane % 4 * 2 + e;
                    float *const x = &s[n][2 * i + e];
                    *x = key >= mine[i].lo && key < mine[i].hi ? *x * (call.scale * LOG2E) : REAL_OF(0xff800000u);
                    top = *x > top ? *x : top;
                }
            }
            UNROLL for (int j = 1; j <= 2; j *= 2) {
                const float other = SHUFFLE_XOR(top, j);
                top = other > top ? other : top;
            }
            const float base = top == REAL_OF(0xff800000u) ? 0.0f : top; /* a row that has seen nothing yet */
            const float before = exp2_fast(most[i] - base);
            UNROLL for (int n = 0; n < KEYS / 8; n++) {
                UNROLL for (int e = 0; e < 2; e++) {
                    const float p = exp2_fast(s[n][2 * i + e] - base);
                    s[n][2 * i + e] = p;
                    all = all + p;
                }
            }
            UNROLL for (int n = 0; n < DIMS / 8; n++) o[n][2 * i] *= before, o[n][2 * i + 1] *= before;
            sum[i] = sum[i] * before + all;
            most[i] = top;
        }
        COPY_WAIT(1); /* the values are there; the next keys may still be on their way */
        SYNC_BLOCK();
        add_product(o, (const float (*)[4])s, values, KEYS, lane);
        SYNC_BLOCK(); /* nobody reads these values any more */
    }
    COPY_WAIT(0);
    float factor[2];
    UNROLL for (int i = 0; i < 2; i++) {
        UNROLL for (int j = 1; j <= 2; j *= 2) sum[i] = sum[i] + SHUFFLE_XOR(sum[i], j);
        const int t = own + lane / 4 + 8 * i;
        factor[i] = 1.0f / sum[i];
        if (lane % 4 == 0 && t < call.rows) call.lse[t * call.lse_stride + head] = most[i] / LOG2E + logf(sum[i]);
    }
    put_rows((const float (*)[4])o, factor, call.o, call.bf16_o, call.o_stride, head * HEAD, own, call.rows, lane);
}

/* The gradients of a block's queries: s and p again for each tile of keys, dp = d_out values', dq += ds keys. */
KERNEL(attend_queries, attend_call, 128) {
    SHARED(bf16, shared);
    bf16 *const q = shared, *const d_out = q + OWN * ROW, *const keys = d_out + OWN * ROW, *const values = keys + KEYS * ROW;
    const int lane = THREAD % 32, warp = THREAD / 32, head = BLOCK_Y, of = head / call.group;
    const int first = (BLOCKS - 1 - BLOCK) * OWN, own = first + warp * 16;
    const int last = first + OWN < call.rows ? first + OWN - 1 : call.rows - 1;
    const int begin = span_of(&call, first).lo, end = span_of(&call, last).hi;
    span mine[2];
    float lse[2], across[2];
    UNROLL for (int i = 0; i < 2; i++) {
        const int t = own + lane / 4 + 8 * i;
        mine[i] = span_of(&call, t);
        lse[i] = t < call.rows ? call.lse[t * call.lse_stride + head] * LOG2E : 0.0f;
        across[i] = t < call.rows ? call.dots[(i64)t * call.heads + head] : 0.0f;
    }
    float dq[DIMS / 8][4];
    clear(dq, DIMS / 8);
    copy_tile(q, call.q, call.q_stride, head * HEAD, first, OWN, call.rows);
    copy_tile(d_out, call.d_out, call.d_out_stride, head * HEAD, first, OWN, call.rows);
    for (int at = begin; at < end; at += KEYS) {
        copy_tile(keys, call.k, call.k_stride, of * HEAD, at, KEYS, call.rows);
        copy_tile(values, call.v, call.v_stride, of * HEAD, at, KEYS, call.rows);
        copy_commit();
        COPY_WAIT(0);
        SYNC_BLOCK();
        float s[KEYS / 8][4], dp[KEYS / 8][4];
        scores(s, q, warp * 16, keys, KEYS, lane);
        scores(dp, d_out, warp * 16, values, KEYS, lane);
        UNROLL for (int n = 0; n < KEYS / 8; n++) {
            UNROLL for (int e = 0; e < 4; e++) {
                const int key = at + n * 8 + lane % 4 * 2 + e % 2, i = e / 2;
                const float p = exp2_fast(s[n][e] * (call.scale * LOG2E) - lse[i]);
                s[n][e] = key >= mine[i].lo && key < mine[i].hi ? p * (dp[n][e] - across[i]) : 0.0f;
            }
        }
        add_product(dq, (const float (*)[4])s, keys, KEYS, lane);
        SYNC_BLOCK();
    }
    const float factor[2] = {call.scale, call.scale};
    put_rows((const float (*)[4])dq, factor, call.dq, call.bf16_dq, call.dq_stride, head * HEAD, own, call.rows, lane);
}

/* The gradients of a block's keys and values, over the heads that share them and the tiles of queries that see them:
 * scores are turned, keys in rows. dv += p' d_out, dk += ds' q. */
KERNEL(attend_keys, attend_call, 128) {
    SHARED(bf16, shared);
    bf16 *const keys = shared, *const values = keys + OWN * ROW, *const q = values + OWN * ROW, *const d_out = q + QUERIES * ROW;
    float *const lse = (float *)(d_out + QUERIES * ROW), *const across = lse + QUERIES;
    int *const lo = (int *)(across + QUERIES), *const hi = lo + QUERIES;
    const int lane = THREAD % 32, warp = THREAD / 32, of = BLOCK_Y, first = BLOCK * OWN, own = first + warp * 16;
    const int last = first + OWN < call.rows ? first + OWN - 1 : call.rows - 1;
    const span seen = seen_by(&call, first, last);
    float dk[DIMS / 8][4], dv[DIMS / 8][4];
    clear(dk, DIMS / 8);
    clear(dv, DIMS / 8);
    copy_tile(keys, call.k, call.k_stride, of * HEAD, first, OWN, call.rows);
    copy_tile(values, call.v, call.v_stride, of * HEAD, first, OWN, call.rows);
    for (int head = of * call.group; head < (of + 1) * call.group; head++)
        for (int at = seen.lo; at < seen.hi; at += QUERIES) {
            copy_tile(q, call.q, call.q_stride, head * HEAD, at, QUERIES, call.rows);
            copy_tile(d_out, call.d_out, call.d_out_stride, head * HEAD, at, QUERIES, call.rows);
            copy_commit();
            for (int i = THREAD; i < QUERIES; i += THREADS) {
                const int t = at + i;
                const span s = span_of(&call, t);
                lo[i] = s.lo, hi[i] = s.hi;
                lse[i] = t < call.rows ? call.lse[t * call.lse_stride + head] * LOG2E : 0.0f;
                across[i] = t < call.rows ? call.dots[(i64)t * call.heads + head] : 0.0f;
            }
            COPY_WAIT(0);
            SYNC_BLOCK();
            float s[QUERIES / 8][4], dp[QUERIES / 8][4];
            scores(s, keys, warp * 16, q, QUERIES, lane);
            scores(dp, values, warp * 16, d_out, QUERIES, lane);
            UNROLL for (int n = 0; n < QUERIES / 8; n++) {
                UNROLL for (int e = 0; e < 4; e++) {
                    const int key = own + lane / 4 + e / 2 * 8, i = n * 8 + lane % 4 * 2 + e % 2;
                    const int sees = key >= lo[i] && key < hi[i];
                    const float p = sees ? exp2_fast(s[n][e] * (call.scale * LOG2E) - lse[i]) : 0.0f;
                    s[n][e] = p;
                    dp[n][e] = p * (dp[n][e] - across[i]);
                }
            }
            add_product(dv, (const float (*)[4])s, d_out, QUERIES, lane);
            add_product(dk, (const float (*)[4])dp, q, QUERIES, lane);
            SYNC_BLOCK();
        }
    COPY_WAIT(0);
    const float one[2] = {1.0f, 1.0f}, factor[2] = {call.scale, call.scale};
    put_rows((const float (*)[4])dv, one, call.dv, call.bf16_dv, call.dv_stride, of * HEAD, own, call.rows, lane);
    put_rows((const float (*)[4])dk, factor, call.dk, call.bf16_dk, call.dk_stride, of * HEAD, own, call.rows, lane);
}
