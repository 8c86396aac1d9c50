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
        across[i] = t < call.rows ? call.dots[(i64)head * call.rows + t] : 0.0f;
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
