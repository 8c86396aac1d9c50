/* What attention's kernels take and share. HEAD is the head size, which the source defines.
 *
 * A row t sees the rows lo .. hi - 1 of its document; lo and hi never decrease from row to row. */
typedef struct attend_call {
    const void *q, *k, *v, *out, *d_out; /* out and d_out: backward reads them */
    void *o, *dq, *dk, *dv;
    float *lse, *dots;             /* log of the sum of exponentials: [rows, heads]; sums of out * d_out: [heads, rows] */
    const int *position, *length;  /* of each row in its document; NULL: a document every `longest` rows */
    i64 q_stride, k_stride, v_stride, out_stride, d_out_stride, o_stride, dq_stride, dk_stride, dv_stride;
    i64 lse_stride, position_stride, length_stride;
    int rows, heads, group, causal, window, longest;
    int bf16_in, bf16_o, bf16_d_out, bf16_dq, bf16_dk, bf16_dv, bf16_out; /* of q, k and v; of the others */
    float scale;
} attend_call;

typedef struct span {
    int lo, hi;
} span;
DEVICE int document_begin(const attend_call *a, int t) {
    return a->position ? t - a->position[t * a->position_stride] : t / a->longest * a->longest;
}
DEVICE int document_end(const attend_call *a, int t) {
    if (a->position) return document_begin(a, t) + a->length[t * a->length_stride];
    const int end = (t / a->longest + 1) * a->longest;
    return end < a->rows ? end : a->rows;
}
DEVICE span span_of(const attend_call *a, int t) {
    span s = {0, 0};
    if (t >= a->rows) return s;
    s.lo = document_begin(a, t), s.hi = a->causal ? t + 1 : document_end(a, t);
    if (a->window && t - a->window + 1 > s.lo) s.lo = t - a->window + 1;
    return s;
}
/* The rows that see some of the keys first .. last. */
DEVICE span seen_by(const attend_call *a, int first, int last) {
    span s;
    s.lo = a->causal ? first : document_begin(a, first), s.hi = document_end(a, last);
    if (a->window && last + a->window < s.hi) s.hi = last + a->window;
    return s;
}

DEVICE float real_at(const void *p, int is_bf16, i64 i) {
    return is_bf16 ? from_bf16(((const bf16 *)p)[i]) : ((const float *)p)[i];
}
DEVICE void put_real(void *p, int is_bf16, i64 i, float x) {
    if (is_bf16) ((bf16 *)p)[i] = (bf16)to_bf16(x);
    else ((float *)p)[i] = x;
}
DEVICE float sum_of_warp(float x) {
    UNROLL for (int n = 16; n > 0; n /= 2) x = x + SHUFFLE_XOR(x, n);
    return x;
}
