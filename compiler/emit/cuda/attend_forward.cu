/* Attention's forward on tensor cores: softmax online over tiles of keys, nothing of the scores in memory. */
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
    float factor[2];
    UNROLL for (int i = 0; i < 2; i++) {
        UNROLL for (int j = 1; j <= 2; j *= 2) sum[i] = sum[i] + SHUFFLE_XOR(sum[i], j);
        const int t = own + lane / 4 + 8 * i;
        factor[i] = 1.0f / sum[i];
        if (lane % 4 == 0 && t < call.rows) call.lse[t * call.lse_stride + head] = most[i] / LOG2E + logf(sum[i]);
    }
    put_rows((const float (*)[4])o, factor, call.o, call.bf16_o, call.o_stride, head * HEAD, own, call.rows, lane);
}
