/* A row of a head, spread over a warp: the lanes have the dimensions lane, lane + 32, .. For attend_plain.cu and attend_dots.cu. */
#define EACH ((HEAD + 31) / 32)

DEVICE void take_row(float *x, const void *p, int is_bf16, i64 at, int lane) {
    UNROLL for (int e = 0; e < EACH; e++)
        x[e] = lane + 32 * e < HEAD ? real_at(p, is_bf16, at + lane + 32 * e) : 0.0f;
}
DEVICE void give_row(const float *x, void *p, int is_bf16, i64 at, int lane) {
    UNROLL for (int e = 0; e < EACH; e++)
        if (lane + 32 * e < HEAD) put_real(p, is_bf16, at + lane + 32 * e, x[e]);
}
DEVICE float dot(const float *x, const float *y) {
    float sum = 0.0f;
    UNROLL for (int e = 0; e < EACH; e++) sum = FMA(x[e], y[e], sum);
    return sum_of_warp(sum);
}
/* Where a product's operands are bf16, so is what this product's are. */
DEVICE float rounded(const attend_call *a, float x) { return a->bf16_in ? round_bf16(x) : x; }
