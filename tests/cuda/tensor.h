/* tensor: stand-ins of the warp's instructions of compiler/emit/cuda/tensor_prelude.cu, for host.h. Threads of a warp show
 * each other what they hold and meet, as the instructions want it. */
#ifndef CTL_TESTS_CUDA_TENSOR_H
#define CTL_TESTS_CUDA_TENSOR_H

#include "tests/cuda/host.h"

typedef struct host_shown {
    uint32_t a[4], b[2];
    const uint16_t *row;
} host_shown;
static host_shown host_shows[HOST_MOST_THREADS];

static HOST_UNSEEN host_shown *host_warp(void) { return &host_shows[host.now->index / HOST_WARP * HOST_WARP]; }
static HOST_UNSEEN int host_lane(void) { return host.now->index % HOST_WARP; }

static HOST_UNSEEN float host_half(uint32_t pair, int high) { return host_real(high ? pair & 0xffff0000u : pair << 16); }

static HOST_UNSEEN void mma_bf16(float *c, const uint32_t *a, const uint32_t *b) {
    host_shown *w = host_warp();
    const int lane = host_lane(), g = lane / 4, t = lane % 4;
    memcpy(w[lane].a, a, sizeof w[lane].a);
    memcpy(w[lane].b, b, sizeof w[lane].b);
    host_sync_warp(0xffffffffu);
    for (int i = 0; i < 4; i++) { /* element (g + 8 for the upper two, 2 t + i % 2) */
        const int n = 2 * t + i % 2;
        for (int k = 0; k < 16; k++) {
            const host_shown *left = &w[g * 4 + k % 8 / 2], *right = &w[n * 4 + k % 8 / 2];
            c[i] = fmaf(host_half(left->a[k / 8 * 2 + i / 2], k % 2), host_half(right->b[k / 8], k % 2), c[i]);
        }
    }
    host_sync_warp(0xffffffffu);
}

static HOST_UNSEEN void host_matrices(uint32_t *r, const uint16_t *row, int turned) {
    host_shown *w = host_warp();
    const int lane = host_lane(), g = lane / 4, t = lane % 4;
    w[lane].row = host_aligned(row, 16);
    host_sync_warp(0xffffffffu);
    for (int m = 0; m < 4; m++) {
        const uint16_t low = turned ? w[8 * m + 2 * t].row[g] : w[8 * m + g].row[2 * t];
        const uint16_t high = turned ? w[8 * m + 2 * t + 1].row[g] : w[8 * m + g].row[2 * t + 1];
        r[m] = low | (uint32_t)high << 16;
    }
    host_sync_warp(0xffffffffu);
}
static HOST_UNSEEN void matrices(uint32_t *r, const uint16_t *row) { HOST_TOUCH(row, 16, HOST_MATRICES), host_matrices(r, row, 0); }
static HOST_UNSEEN void matrices_turned(uint32_t *r, const uint16_t *row) {
    HOST_TOUCH(row, 16, HOST_MATRICES), host_matrices(r, row, 1);
}

static HOST_UNSEEN float host_shuffle_real(float x, int lanes) { return host_real(host_shuffle(0xffffffffu, host_bits(x), host_lane() ^ lanes)); }
static inline float exp2_fast(float x) { return exp2f(x); }

/* ---- copies ---- */
static HOST_UNSEEN void host_land(const host_copy *c) {
    memcpy(c->to, c->from, c->bytes);
    memset((char *)c->to + c->bytes, 0, c->zeros);
}
static HOST_UNSEEN void copy_async(uint16_t *to, const uint16_t *from, int bytes) {
    host_copies *mine = &host.copies[host.now->index];
    const host_copy c = {.to = (void *)(uintptr_t)host_aligned(to, 16), .from = host_aligned(from, 16), .bytes = (size_t)bytes,
                         .zeros = 16 - (size_t)bytes, .group = mine->group};
    if (bytes < 0 || bytes > 16) host_fail("a copy of %d of 16 bytes", bytes);
    if ((char *)to < host.shared || (char *)to + 16 > host.shared + host.shared_bytes) host_fail("a copy to no shared memory");
    HOST_COPY(to, from, c.bytes, c.group);
    if (host.landing == HOST_AT_ISSUE) host_land(&c);
    else if (mine->n == HOST_MOST_COPIES) host_fail("too many copies at a time for this host");
    else mine->at[mine->n++] = c;
}
static HOST_UNSEEN void copy_commit(void) { host.copies[host.now->index].group++; }
/* All groups but the last n; what was issued since the last commit belongs to none. */
static HOST_UNSEEN void host_copy_wait(int n) {
    host_copies *mine = &host.copies[host.now->index];
    HOST_COPIED(mine->group - n);
    int kept = 0;
    for (int i = 0; i < mine->n; i++) {
        if (mine->at[i].group < mine->group - n) host_land(&mine->at[i]);
        else mine->at[kept++] = mine->at[i];
    }
    mine->n = kept;
}
#define COPY_WAIT(n)           host_copy_wait(n)
#define SHUFFLE_XOR(x, lanes)  host_shuffle_real((x), (lanes))

#endif
