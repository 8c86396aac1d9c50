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
                across[i] = t < call.rows ? call.dots[(i64)head * call.rows + t] : 0.0f;
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
    const float one[2] = {1.0f, 1.0f}, factor[2] = {call.scale, call.scale};
    put_rows((const float (*)[4])dv, one, call.dv, call.bf16_dv, call.dv_stride, of * HEAD, own, call.rows, lane);
    put_rows((const float (*)[4])dk, factor, call.dk, call.bf16_dk, call.dk_stride, of * HEAD, own, call.rows, lane);
}
