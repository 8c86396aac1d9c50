/* A kernel for each macro and function of ctlc's kernel preludes that stands for something of the device's own: arithmetic,
 * conversions, shuffles, tensor instructions, asynchronous copies, barriers. tools/gpu/conform.py puts the preludes before it,
 * runs it on the device and, compiled by the host's compiler, on the host, with the same random words, and compares. Each thread
 * has WORDS words of `a` and of `b` to read, and the like of `out` to write. */
typedef struct conform_call {
    const unsigned *a, *b;
    unsigned *out;
    int n; /* threads that have words */
} conform_call;
#define WORDS 16
#define MINE (BLOCK * THREADS + THREAD)
#define IN(p, i) ((p)[MINE * WORDS + (i)])
#define OUT(i) (call.out[MINE * WORDS + (i)])

#define MATH1(name, x, ...) DEVICE float math_##name(float x) { __VA_ARGS__ }
#define MATH2(name, x, y, ...) DEVICE float math_##name(float x, float y) { __VA_ARGS__ }
#include "compiler/kernel/math.def"

/* One operation each, whose bits IEEE fixes. */
KERNEL(conform_arithmetic, conform_call, 128) {
    const float x = REAL_OF(IN(call.a, 0)), y = REAL_OF(IN(call.b, 0)), z = REAL_OF(IN(call.b, 1));
    OUT(0) = BITS_OF(x + y);
    OUT(1) = BITS_OF(x * y);
    OUT(2) = BITS_OF(x / y);
    OUT(3) = BITS_OF(sqrtf(fabsf(x)));
    OUT(4) = BITS_OF(FMA(x, y, z));
    OUT(5) = BITS_OF(x * y + z); /* two roundings: nothing is contracted */
    OUT(6) = BITS_OF(rintf(x));
    OUT(7) = BITS_OF(floorf(x));
    OUT(8) = HIGH_OF(IN(call.a, 0), IN(call.b, 0));
    OUT(9) = (unsigned)to_int(x);
    OUT(10) = to_bf16(x);
    OUT(11) = BITS_OF(from_bf16(IN(call.a, 0) & 0xffffu));
    OUT(12) = BITS_OF((float)(int)IN(call.a, 0));
    OUT(13) = ROUND_PAIR(x, y);
    OUT(14) = BITS_OF(round_bf16(x));
}
/* The same in double, as the optimizer has them: low words, then high ones. */
KERNEL(conform_doubles, conform_call, 128) {
    const double x = REAL_OF(IN(call.a, 0)), y = REAL_OF(IN(call.b, 0));
    const double all[4] = {x + y, x * y + 1.0, x / y, sqrt(x < 0.0 ? -x : x)};
    UNROLL for (int i = 0; i < 4; i++) OUT(i) = BITS_OF((float)all[i]);
}
/* The functions that are written out in math.def: the same bits everywhere. */
KERNEL(conform_functions, conform_call, 128) {
    const float x = REAL_OF(IN(call.a, 0)), y = REAL_OF(IN(call.b, 0));
    OUT(0) = BITS_OF(math_exp(x));
    OUT(1) = BITS_OF(math_log(x));
    OUT(2) = BITS_OF(math_tanh(x));
    OUT(3) = BITS_OF(math_erf(x));
    OUT(4) = BITS_OF(math_sin(x));
    OUT(5) = BITS_OF(math_cos(x));
    OUT(6) = BITS_OF(math_pow(x, y));
}
/* What the device computes in its own way, near the truth: of numbers as they are met. */
KERNEL(conform_near, conform_call, 128) {
    const float x = REAL_OF(IN(call.a, 0));
    OUT(0) = BITS_OF(expf(x));
    OUT(1) = BITS_OF(logf(fabsf(x)));
    OUT(2) = BITS_OF(exp2_fast(x));
}
KERNEL(conform_dropout, conform_call, 128) {
    const drop_key key = {IN(call.a, 0), IN(call.a, 1), IN(call.a, 2)};
    unsigned words[8];
    UNROLL for (int i = 0; i < 8; i++) OUT(i) = drop_word(key, IN(call.a, 3), IN(call.b, i), IN(call.a, i));
    drop_words(words, 8, 1, key, IN(call.a, 3), IN(call.b, 8), IN(call.a, 8) * 4u);
    UNROLL for (int i = 0; i < 4; i++) OUT(8 + i) = words[i] ^ words[4 + i];
    drop_words(words, 4, 0, key, IN(call.a, 3), IN(call.b, 9), IN(call.a, 9));
    UNROLL for (int i = 0; i < 4; i++) OUT(12 + i) = words[i];
}
/* 16 bytes at a time, and by element with bounds. */
KERNEL(conform_memory, conform_call, 128) {
    float x[8];
    const unsigned *const from = call.a + MINE * WORDS;
    unsigned *const to = call.out + MINE * WORDS;
    const int low = (int)(IN(call.b, 0) % 5u), high = low + (int)(IN(call.b, 1) % 5u);
    load_f32(x, (const float *)from, 4, 0, 4, 1);
    store_f32((float *)to, x, 4, low, high, 1);
    load_bf16(x, (const bf16 *)(from + 4), 8, 0, 8, 1);
    store_bf16((bf16 *)(to + 4), x, 8, 0, 8, 1);
    load_bf16(x, (const bf16 *)(from + 8), 8, low, high, 1);
    store_bf16((bf16 *)(to + 8), x, 8, 0, 8, 1);
    load_i32(x, (const int *)(from + 12), 4, 0, 4, 1);
    store_i32((int *)(to + 12), x, 4, 0, 4, 1);
}
KERNEL(conform_shuffle, conform_call, 128) {
    const float x = REAL_OF(IN(call.a, 0));
    OUT(0) = BITS_OF(SHUFFLE_XOR(x, 1));
    OUT(1) = BITS_OF(SHUFFLE_XOR(x, 2));
    OUT(2) = BITS_OF(SHUFFLE_XOR(x, 4));
    OUT(3) = BITS_OF(SHUFFLE_XOR(x, 8));
    OUT(4) = BITS_OF(SHUFFLE_XOR(x, 16));
}
/* Operands of small whole numbers: every sum is exact, so each element of a fragment must be the one that is meant. */
KERNEL(conform_mma, conform_call, 128) {
    unsigned a[4], b[2];
    float c[4];
    UNROLL for (int i = 0; i < 4; i++) {
        a[i] = to_bf16((float)(IN(call.a, 2 * i) % 17u) - 8.0f) | to_bf16((float)(IN(call.a, 2 * i + 1) % 17u) - 8.0f) << 16;
        c[i] = (float)(IN(call.a, 8 + i) % 1001u) - 500.0f;
    }
    UNROLL for (int i = 0; i < 2; i++)
        b[i] = to_bf16((float)(IN(call.b, 2 * i) % 17u) - 8.0f) | to_bf16((float)(IN(call.b, 2 * i + 1) % 17u) - 8.0f) << 16;
    mma_bf16(c, a, b);
    UNROLL for (int i = 0; i < 4; i++) OUT(i) = BITS_OF(c[i]);
}
/* Any numbers below 2 in size: sums differ by their order alone. */
KERNEL(conform_mma_near, conform_call, 128) {
    unsigned a[4], b[2];
    float c[4];
    UNROLL for (int i = 0; i < 4; i++) {
        a[i] = (IN(call.a, i) & 0xbfffbfffu) | 0x30003000u;
        c[i] = 0.0f;
    }
    UNROLL for (int i = 0; i < 2; i++) b[i] = (IN(call.b, i) & 0xbfffbfffu) | 0x30003000u;
    mma_bf16(c, a, b);
    UNROLL for (int i = 0; i < 4; i++) OUT(i) = BITS_OF(c[i]);
}
/* A warp's 32 rows of 8 elements, through shared memory. */
KERNEL(conform_matrices, conform_call, 128) {
    SHARED(bf16, rows);
    bf16 *const mine = rows + THREAD * 8, *const row = rows + (THREAD / 32 * 32 + (int)(IN(call.b, 0) % 32u)) * 8;
    unsigned r[4];
    UNROLL for (int i = 0; i < 4; i++) {
        mine[2 * i] = (bf16)(IN(call.a, i) & 0xffffu);
        mine[2 * i + 1] = (bf16)(IN(call.a, i) >> 16);
    }
    SYNC_WARP();
    matrices(r, row);
    UNROLL for (int i = 0; i < 4; i++) OUT(i) = r[i];
    matrices_turned(r, row);
    UNROLL for (int i = 0; i < 4; i++) OUT(4 + i) = r[i];
}
/* Two groups of copies; the first has landed when all but one are waited for. Some read less than 16 bytes, the rest is 0. */
KERNEL(conform_copies, conform_call, 128) {
    SHARED(bf16, tile);
    bf16 *const first = tile + THREAD * 16, *const second = first + 8;
    const int bytes = (int)(IN(call.b, 0) % 9u) * 2;
    copy_async(first, (const bf16 *)(call.a + MINE * WORDS), 16);
    copy_commit();
    copy_async(second, (const bf16 *)(call.a + MINE * WORDS + 4), bytes);
    copy_commit();
    COPY_WAIT(1);
    UNROLL for (int i = 0; i < 4; i++) OUT(i) = first[2 * i] | (unsigned)first[2 * i + 1] << 16;
    COPY_WAIT(0);
    SYNC_BLOCK(); /* another thread's second copy */
    const bf16 *const other = tile + (THREADS - 1 - THREAD) * 16 + 8;
    UNROLL for (int i = 0; i < 4; i++) OUT(4 + i) = other[2 * i] | (unsigned)other[2 * i + 1] << 16;
}
/* Where a thread is, in a grid of blocks. */
KERNEL(conform_places, conform_call, 128) {
    const int at = ((BLOCK_Z * 3 + BLOCK_Y) * BLOCKS + BLOCK) * THREADS + THREAD;
    call.out[at * WORDS] = (unsigned)(THREAD | BLOCK << 8 | BLOCK_Y << 16 | BLOCK_Z << 24);
    call.out[at * WORDS + 1] = (unsigned)(THREADS * 1000 + BLOCKS);
}
