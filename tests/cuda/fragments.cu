/* fragments: what test_cuda_fragments asks of a warp's tensor instructions, shuffles and asynchronous copies: each thread's words
 * go into one, what it gets comes out. Every instruction is used twice in a row, so that the second may not disturb the first. */
#include "tests/cuda/fragments.h"

KERNEL(fragments_product, fragments_call, FRAGMENTS_THREADS) {
    const unsigned *const in = call.in + THREAD * FRAGMENTS_IN;
    float c[4];
    for (int i = 0; i < 4; i++) c[i] = REAL_OF(in[12 + i]);
    mma_bf16(c, in, in + 4);
    mma_bf16(c, in + 6, in + 10);
    for (int i = 0; i < 4; i++) call.out[THREAD * FRAGMENTS_OUT + i] = BITS_OF(c[i]);
}

/* A thread lays 8 elements down in its own place, and names the places that in[4] (in[5] the second time) tells. */
KERNEL(fragments_matrices, fragments_call, FRAGMENTS_THREADS) {
    SHARED(bf16, rows);
    const unsigned *const in = call.in + THREAD * FRAGMENTS_IN;
    const bf16 *const warp = rows + THREAD / 32 * 32 * 8;
    for (int i = 0; i < 8; i++) rows[THREAD * 8 + i] = (bf16)(in[i / 2] >> i % 2 * 16 & 0xffffu);
    SYNC_WARP();
    matrices(call.out + THREAD * FRAGMENTS_OUT, warp + in[4] * 8);
    matrices_turned(call.out + THREAD * FRAGMENTS_OUT + 4, warp + in[5] * 8);
    matrices(call.out + THREAD * FRAGMENTS_OUT + 8, warp + in[5] * 8);
}

KERNEL(fragments_shuffles, fragments_call, FRAGMENTS_THREADS) {
    const unsigned *const in = call.in + THREAD * FRAGMENTS_IN;
    unsigned *const out = call.out + THREAD * FRAGMENTS_OUT;
    out[0] = BITS_OF(SHUFFLE_XOR(REAL_OF(in[0]), 1));
    out[1] = BITS_OF(SHUFFLE_XOR(REAL_OF(in[1]), 2));
    out[2] = BITS_OF(SHUFFLE_XOR(REAL_OF(in[2]), 4));
    out[3] = BITS_OF(SHUFFLE_XOR(REAL_OF(in[3]), 8));
    out[4] = BITS_OF(SHUFFLE_XOR(REAL_OF(in[4]), 16));
}

/* Four copies of 16 bytes, in[16 + k] of them read: three are groups of their own, the last one is committed later. What has
 * landed when all groups but two, and when all, were waited for; and what of another thread's last copy, when every second
 * thread has waited for its own. */
DEVICE void fragments_look(unsigned *out, const bf16 *tile, int copies) {
    for (int i = 0; i < 4 * copies; i++) out[i] = tile[2 * i] | (unsigned)tile[2 * i + 1] << 16;
}
KERNEL(fragments_copies, fragments_call, FRAGMENTS_THREADS) {
    SHARED(bf16, tile);
    const unsigned *const in = call.in + THREAD * FRAGMENTS_IN;
    unsigned *const out = call.out + THREAD * FRAGMENTS_OUT;
    bf16 *const mine = tile + THREAD * 32;
    for (int i = 0; i < 32; i++) mine[i] = FRAGMENTS_BEFORE;
    for (int k = 0; k < 4; k++) {
        copy_async(mine + 8 * k, (const bf16 *)(in + 4 * k), (int)in[16 + k]);
        if (k < 3) copy_commit();
    }
    COPY_WAIT(2);
    fragments_look(out, mine, 4);
    COPY_WAIT(0);
    fragments_look(out + 16, mine, 4);
    copy_commit();
    if (THREAD % 2 == 0) COPY_WAIT(0);
    SYNC_BLOCK();
    fragments_look(out + 32, tile + (THREAD ^ 1) * 32 + 24, 1);
    SYNC_BLOCK();
    COPY_WAIT(0);
    fragments_look(out + 36, mine + 24, 1);
}
