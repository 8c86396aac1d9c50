/* Parameters' first values (runtime/initialise.c has the same, for the host). */

/* Elements 0 .. count - 1 of a matrix, row after row; four neighbours are those of one count of Philox's. */
typedef struct initialise_call {
    void *out;
    i64 stride, count;
    u64 key, name;
    double arg;
    int cols, kind, bf16_out; /* kind: 0 a constant, 1 uniform, 2 normal, 3 an identity matrix */
} initialise_call;

/* A double as f32 whose last bit tells that something was cut off: rounded once more to bf16, it is as if rounded once. */
DEVICE float odd_of(double x) {
    const float near = (float)x;
    const double back = (double)near;
    if (back == x || x != x) return near;
    const int too_far = back < 0 ? back < x : back > x;
    return REAL_OF((BITS_OF(near) - (too_far ? 1u : 0u)) | 1u);
}
DEVICE double unit_of(unsigned word) { return (word + 0.5) / 4294967296.0; }
DEVICE double symmetric_of(unsigned word) { return (word >> 8) / 8388608.0 - 1.0; }

KERNEL(task_initialise, initialise_call, 256) {
    for (i64 four = (i64)BLOCK * THREADS + THREAD; four * 4 < call.count; four += (i64)BLOCKS * THREADS) {
        unsigned c[4] = {(unsigned)four, (unsigned)(four >> 32), (unsigned)call.name, (unsigned)(call.name >> 32)};
        unsigned low = (unsigned)call.key, high = (unsigned)(call.key >> 32);
        UNROLL for (int round = 0; round < 10; round++) {
            const unsigned high0 = HIGH_OF(c[0], 0xD2511F53u), low0 = c[0] * 0xD2511F53u;
            const unsigned high2 = HIGH_OF(c[2], 0xCD9E8D57u), low2 = c[2] * 0xCD9E8D57u;
            c[0] = high2 ^ c[1] ^ low, c[2] = high0 ^ c[3] ^ high, c[1] = low2, c[3] = low0;
            low += 0x9E3779B9u, high += 0xBB67AE85u;
        }
        double x[4];
        UNROLL for (int j = 0; j < 4; j += 2) {
            x[j] = x[j + 1] = call.arg;
            if (call.kind == 1) {
                x[j] = call.arg * symmetric_of(c[j]), x[j + 1] = call.arg * symmetric_of(c[j + 1]);
            } else if (call.kind == 2) {
                const double radius = call.arg * sqrt(-2.0 * log(unit_of(c[j])));
                const double angle = 6.283185307179586477 * unit_of(c[j + 1]);
                x[j] = radius * cos(angle), x[j + 1] = radius * sin(angle);
            }
        }
        for (int j = 0; j < 4 && four * 4 + j < call.count; j++) {
            const i64 row = (four * 4 + j) / call.cols, col = (four * 4 + j) % call.cols, at = row * call.stride + col;
            if (call.kind == 3) x[j] = row == col ? 1.0 : 0.0;
            if (call.bf16_out) ((bf16 *)call.out)[at] = (bf16)to_bf16(odd_of(x[j]));
            else ((float *)call.out)[at] = (float)x[j];
        }
    }
}
