/* random: counted random numbers (Philox 4x32-10; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
 *
 * Dropout's decision for an element depends on (seed, step, site, row, column) and nothing else, so recomputing it or
 * splitting the batch changes nothing. Every back end computes it as written here:
 *   counter = (row, column / 4, site, step), key = (seed low, seed high), word = column % 4 of the four results: a thread that
 *   has four neighbouring columns, or a vector of 16 lanes for 64, counts once for each four;
 *   an element is dropped when its word < p * 2^32 (rounded to the nearest).
 * `row` is the row number in the whole batch of the step: rows of earlier micro-steps count. */
#ifndef CTL_RANDOM_H
#define CTL_RANDOM_H

#include <stdint.h>

static inline void ctl_philox(const uint32_t counter[4], uint64_t seed, uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)c0 * 0xD2511F53u, b = (uint64_t)c2 * 0xCD9E8D57u;
        uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b, c3 = (uint32_t)a, c0 = n0, c2 = n2;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

static inline uint32_t ctl_drop_threshold(double p) {
    double t = p * 4294967296.0 + 0.5;
    return t >= 4294967295.0 ? 4294967295u : (uint32_t)t;
}

static inline int ctl_dropped(uint64_t seed, uint32_t step, uint32_t site, uint32_t row, uint32_t column, uint32_t threshold) {
    uint32_t out[4], counter[4] = {row, column / 4, site, step};
    ctl_philox(counter, seed, out);
    return out[column % 4] < threshold;
}

/* Uniform in (0, 1) from one word: for initialisation and shuffling. */
static inline double ctl_unit(uint32_t word) { return (word + 0.5) / 4294967296.0; }

#endif
