/* lanes: which table of kernels this machine runs, and how much scratch they take (see the layouts in
 * product.h, attend.h and attend_grad.h, which these sums follow piece by piece). */
#include "runtime/cpu/lanes.h"

const ctl_lanes *ctl_lanes_choose(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    if (avx512 && __builtin_cpu_supports("avx512bf16")) return &ctl_lanes_bf16;
    if (avx512) return &ctl_lanes_v4;
    if (avx2) return &ctl_lanes_v3;
#endif
    return &ctl_lanes_base;
}

static size_t piece(int64_t bytes) {
    return ((size_t)bytes + 63) / 64 * 64;
}

typedef struct sizes {
    int64_t width, depth, along; /* padded head; dwords along it; rows of a row of dwords */
    int64_t row;                 /* bytes of a copied row */
} sizes;
static sizes sizes_of(int64_t head, bool bf16) {
    return (sizes){(head + 15) / 16 * 16, bf16 ? (head + 1) / 2 : head, bf16 ? 2 : 1,
                   bf16 ? (head + 1) / 2 * 4 : head * 4};
}

enum { QUERIES = CTL_ATTEND_QUERIES, KEYS = CTL_ATTEND_KEYS };

size_t ctl_block_scratch(int64_t m, int64_t n) {
    return piece(CTL_BLOCK_DEPTH * ((n + 15) / 16 * 16) * 4) +
           piece(CTL_BLOCK_DEPTH * ((m + 15) / 16 * 16) * 4);
}

size_t ctl_attend_scratch(int64_t head, int64_t longest, bool bf16) {
    const sizes s = sizes_of(head, bf16);
    size_t bytes = piece(s.depth * QUERIES * 4) + piece(KEYS * QUERIES * 4) +
                   (bf16 ? piece(KEYS / 2 * QUERIES * 4) : 0) + piece(QUERIES * s.width * 4) +
                   piece(3 * QUERIES * 4);
    bytes += piece((longest + s.along - 1) / s.along * s.width * 4);
    return bytes + piece(longest * s.row);
}

size_t ctl_attend_grad_scratch(int64_t head, int64_t longest, bool bf16) {
    const sizes s = sizes_of(head, bf16);
    size_t bytes = 2 * piece(s.depth * QUERIES * 4) + 2 * piece(QUERIES / s.along * s.width * 4) +
                   2 * piece(KEYS * QUERIES * 4) + (bf16 ? 3 * piece(KEYS * QUERIES * 2) : 0) +
                   piece(QUERIES * s.width * 4);
    bytes += piece((longest + s.along - 1) / s.along * s.width * 4) + 2 * piece(longest * s.width * 4);
    return bytes + 2 * piece(longest * s.row);
}
