/* Of each row and head the sum of out times its gradient, which backward begins with; a warp for each. */
KERNEL(attend_dots, attend_call, 128) {
    const int lane = THREAD % 32, t = BLOCK * 4 + THREAD / 32, head = BLOCK_Y;
    if (t >= call.rows) return;
    float o[EACH], d[EACH];
    take_row(o, call.out, call.bf16_out, t * call.out_stride + head * HEAD, lane);
    take_row(d, call.d_out, call.bf16_d_out, t * call.d_out_stride + head * HEAD, lane);
    const float sum = dot(o, d);
    if (lane == 0) call.dots[(i64)head * call.rows + t] = sum;
}
