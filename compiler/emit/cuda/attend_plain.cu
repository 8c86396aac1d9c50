/* Attention for any head size, alignment and dtype, in f32: a warp for each row and head. Slow; for f32, and where the conditions of
 * the kernels on tensor cores do not hold. */
KERNEL(attend_plain_forward, attend_call, 128) {
    const int lane = THREAD % 32, t = BLOCK * 4 + THREAD / 32, head = BLOCK_Y, of = head / call.group;
    if (t >= call.rows) return;
    const span s = span_of(&call, t);
    float q[EACH], k[EACH], v[EACH], o[EACH], most = REAL_OF(0xff800000u), sum = 0.0f;
    take_row(q, call.q, call.bf16_in, t * call.q_stride + head * HEAD, lane);
    UNROLL for (int e = 0; e < EACH; e++) o[e] = 0.0f;
    for (int key = s.lo; key < s.hi; key++) {
        take_row(k, call.k, call.bf16_in, key * call.k_stride + of * HEAD, lane);
        take_row(v, call.v, call.bf16_in, key * call.v_stride + of * HEAD, lane);
        const float x = dot(q, k) * call.scale, top = x > most ? x : most;
        const float before = expf(most - top), p = expf(x - top);
        sum = sum * before + p;
        UNROLL for (int e = 0; e < EACH; e++) o[e] = FMA(rounded(&call, p), v[e], o[e] * before);
        most = top;
    }
    UNROLL for (int e = 0; e < EACH; e++) o[e] = o[e] / sum;
    give_row(o, call.o, call.bf16_o, t * call.o_stride + head * HEAD, lane);
    if (lane == 0) call.lse[t * call.lse_stride + head] = most + logf(sum);
}

KERNEL(attend_plain_queries, attend_call, 128) {
    const int lane = THREAD % 32, t = BLOCK * 4 + THREAD / 32, head = BLOCK_Y, of = head / call.group;
    if (t >= call.rows) return;
    const span s = span_of(&call, t);
    const float lse = call.lse[t * call.lse_stride + head], across = call.dots[(i64)head * call.rows + t];
    float q[EACH], k[EACH], v[EACH], d[EACH], dq[EACH];
    take_row(q, call.q, call.bf16_in, t * call.q_stride + head * HEAD, lane);
    take_row(d, call.d_out, call.bf16_d_out, t * call.d_out_stride + head * HEAD, lane);
    UNROLL for (int e = 0; e < EACH; e++) dq[e] = 0.0f;
    for (int key = s.lo; key < s.hi; key++) {
        take_row(k, call.k, call.bf16_in, key * call.k_stride + of * HEAD, lane);
        take_row(v, call.v, call.bf16_in, key * call.v_stride + of * HEAD, lane);
        const float p = expf(dot(q, k) * call.scale - lse), ds = p * (dot(d, v) - across) * call.scale;
        UNROLL for (int e = 0; e < EACH; e++) dq[e] = FMA(rounded(&call, ds), k[e], dq[e]);
    }
    give_row(dq, call.dq, call.bf16_dq, t * call.dq_stride + head * HEAD, lane);
}

KERNEL(attend_plain_keys, attend_call, 128) {
    const int lane = THREAD % 32, key = BLOCK * 4 + THREAD / 32, of = BLOCK_Y;
    if (key >= call.rows) return;
    const span seen = seen_by(&call, key, key);
    float q[EACH], k[EACH], v[EACH], d[EACH], dk[EACH], dv[EACH];
    take_row(k, call.k, call.bf16_in, key * call.k_stride + of * HEAD, lane);
    take_row(v, call.v, call.bf16_in, key * call.v_stride + of * HEAD, lane);
    UNROLL for (int e = 0; e < EACH; e++) dk[e] = dv[e] = 0.0f;
    for (int head = of * call.group; head < (of + 1) * call.group; head++)
        for (int t = seen.lo; t < seen.hi; t++) {
            take_row(q, call.q, call.bf16_in, t * call.q_stride + head * HEAD, lane);
            take_row(d, call.d_out, call.bf16_d_out, t * call.d_out_stride + head * HEAD, lane);
            const float lse = call.lse[t * call.lse_stride + head], across = call.dots[(i64)head * call.rows + t];
            const float p = expf(dot(q, k) * call.scale - lse), ds = p * (dot(d, v) - across) * call.scale;
            UNROLL for (int e = 0; e < EACH; e++) {
                dv[e] = FMA(rounded(&call, p), d[e], dv[e]);
                dk[e] = FMA(rounded(&call, ds), q[e], dk[e]);
            }
        }
    give_row(dk, call.dk, call.bf16_dk, key * call.dk_stride + of * HEAD, lane);
    give_row(dv, call.dv, call.bf16_dv, key * call.dv_stride + of * HEAD, lane);
}
