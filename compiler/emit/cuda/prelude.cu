/* What every kernel of ctlc begins with. Plain C that CUDA compilers take too: no includes, no templates. What only a
 * device has goes through the macros of this first part; a compilation on the host (CTL_ON_HOST) defines them before,
 * and runs the same text with a fiber for each thread. */
#ifndef CTL_ON_HOST
#define KERNEL(name, type, threads) extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ type call)
#define DEVICE static __device__ __forceinline__
#define SHARED(type, name) extern __shared__ __align__(16) unsigned char ctl_shared[]; type *const name = (type *)ctl_shared
#define UNROLL _Pragma("unroll")
#define ROLL _Pragma("unroll 1")
#define THREAD ((int)threadIdx.x)
#define THREADS ((int)blockDim.x)
#define BLOCK ((int)blockIdx.x)
#define BLOCKS ((int)gridDim.x)
#define BLOCK_Y ((int)blockIdx.y)
#define BLOCK_Z ((int)blockIdx.z)
#define SYNC_WARP() __syncwarp()
#define SYNC_BLOCK() __syncthreads()
#define FMA(a, b, c) __fmaf_rn((a), (b), (c))
#define BITS_OF(x) __float_as_uint(x)
#define REAL_OF(u) __uint_as_float(u)
#define HIGH_OF(a, b) __umulhi((a), (b))
#define ROUND_PAIR(low, high) round_pair((low), (high))
#define LOAD_QUAD(p) (*(const quad *)(p))
#define STORE_QUAD(p, q) (*(quad *)(p) = (q))
typedef uint4 quad;
/* Two reals as bf16, to the nearest, ties to even; any NaN is 0x7fff. One instruction (sm_80 and up). */
static __device__ __forceinline__ unsigned round_pair(float low, float high) {
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}
#endif

typedef long long i64;
typedef unsigned long long u64;
typedef unsigned short bf16;

/* What changes from step to step, in the device's memory: a captured graph reads it anew. */
typedef struct step_state {
    u64 seed;
    i64 first_row; /* of the batch, the micro-step's first */
    unsigned step;
    float normaliser;
} step_state;

/* ---- bf16 ---- */
DEVICE float from_bf16(unsigned half) { return REAL_OF(half << 16); }
DEVICE float round_bf16(float x) { return REAL_OF(ROUND_PAIR(0.0f, x)); }
DEVICE unsigned to_bf16(float x) { return ROUND_PAIR(x, 0.0f); }
DEVICE int to_int(float x) {
    const float y = rintf(x);
    if (y != y) return 0;
    if (y >= 2147483648.0f) return 2147483647;
    return y < -2147483648.0f ? -2147483647 - 1 : (int)y;
}

/* ---- n neighbouring columns of a row, of which from .. to - 1 are the caller's ---- */
/* wide: p is 16-byte aligned; 2: and the columns are all the caller's or none is. n is 4 or 8, for bf16 8; both are known when
 * this is compiled. */
DEVICE void load_f32(float *x, const float *p, const int n, int from, int to, int wide) {
    if (wide && from <= 0 && n <= to) {
        UNROLL for (int i = 0; i < n; i += 4) {
            const quad q = LOAD_QUAD(p + i);
            x[i] = REAL_OF(q.x), x[i + 1] = REAL_OF(q.y), x[i + 2] = REAL_OF(q.z), x[i + 3] = REAL_OF(q.w);
        }
    } else {
        UNROLL for (int i = 0; i < n; i++) x[i] = wide < 2 && i >= from && i < to ? p[i] : 0.0f;
    }
}
DEVICE void load_i32(float *x, const int *p, const int n, int from, int to, int wide) {
    if (wide && from <= 0 && n <= to) {
        UNROLL for (int i = 0; i < n; i += 4) {
            const quad q = LOAD_QUAD(p + i);
            x[i] = (float)(int)q.x, x[i + 1] = (float)(int)q.y, x[i + 2] = (float)(int)q.z, x[i + 3] = (float)(int)q.w;
        }
    } else {
        UNROLL for (int i = 0; i < n; i++) x[i] = wide < 2 && i >= from && i < to ? (float)p[i] : 0.0f;
    }
}
DEVICE void load_bf16(float *x, const bf16 *p, const int n, int from, int to, int wide) {
    if (wide && from <= 0 && n <= to) {
        const quad q = LOAD_QUAD(p);
        const unsigned w[4] = {q.x, q.y, q.z, q.w};
        UNROLL for (int i = 0; i < 4; i++) x[2 * i] = from_bf16(w[i]), x[2 * i + 1] = REAL_OF(w[i] & 0xffff0000u);
    } else {
        UNROLL for (int i = 0; i < n; i++) x[i] = wide < 2 && i >= from && i < to ? from_bf16(p[i]) : 0.0f;
    }
}

DEVICE void store_f32(float *p, const float *x, const int n, int from, int to, int wide) {
    if (wide && from <= 0 && n <= to) {
        UNROLL for (int i = 0; i < n; i += 4) {
            const quad q = {BITS_OF(x[i]), BITS_OF(x[i + 1]), BITS_OF(x[i + 2]), BITS_OF(x[i + 3])};
            STORE_QUAD(p + i, q);
        }
    } else if (wide < 2) {
        UNROLL for (int i = 0; i < n; i++)
            if (i >= from && i < to) p[i] = x[i];
    }
}
DEVICE void store_i32(int *p, const float *x, const int n, int from, int to, int wide) {
    if (wide && from <= 0 && n <= to) {
        UNROLL for (int i = 0; i < n; i += 4) {
            const quad q = {(unsigned)to_int(x[i]), (unsigned)to_int(x[i + 1]), (unsigned)to_int(x[i + 2]),
                            (unsigned)to_int(x[i + 3])};
            STORE_QUAD(p + i, q);
        }
    } else if (wide < 2) {
        UNROLL for (int i = 0; i < n; i++)
            if (i >= from && i < to) p[i] = to_int(x[i]);
    }
}
/* The values are rounded already. */
DEVICE void store_bf16(bf16 *p, const float *x, const int n, int from, int to, int wide) {
    if (wide && from <= 0 && n <= to) {
        unsigned w[4];
        UNROLL for (int i = 0; i < 4; i++) w[i] = BITS_OF(x[2 * i]) >> 16 | (BITS_OF(x[2 * i + 1]) & 0xffff0000u);
        const quad q = {w[0], w[1], w[2], w[3]};
        STORE_QUAD(p, q);
    } else if (wide < 2) {
        UNROLL for (int i = 0; i < n; i++)
            if (i >= from && i < to) p[i] = (bf16)(BITS_OF(x[i]) >> 16);
    }
}

/* ---- dropout: Philox 4x32-10, counted by row, four columns, site and step ---- */
typedef struct drop_key {
    unsigned low, high, step;
} drop_key;
DEVICE quad drop_quad(drop_key key, unsigned site, unsigned row, unsigned column) {
    unsigned c0 = row, c1 = column / 4u, c2 = site, c3 = key.step;
    UNROLL for (int round = 0; round < 10; round++) {
        const unsigned high0 = HIGH_OF(c0, 0xD2511F53u), low0 = c0 * 0xD2511F53u;
        const unsigned high2 = HIGH_OF(c2, 0xCD9E8D57u), low2 = c2 * 0xCD9E8D57u;
        c0 = high2 ^ c1 ^ key.low, c2 = high0 ^ c3 ^ key.high, c1 = low2, c3 = low0;
        key.low += 0x9E3779B9u, key.high += 0xBB67AE85u;
    }
    const quad words = {c0, c1, c2, c3};
    return words;
}
DEVICE unsigned drop_word(drop_key key, unsigned site, unsigned row, unsigned column) {
    const quad q = drop_quad(key, site, row, column);
    const unsigned which = column % 4u;
    return which < 2u ? (which == 0u ? q.x : q.y) : (which == 2u ? q.z : q.w);
}
/* Of n neighbouring columns; fours: the first is a multiple of four. Both are known when this is compiled. */
DEVICE void drop_words(unsigned *word, const int n, const int fours, drop_key key, unsigned site, unsigned row, unsigned column) {
    if (fours) {
        UNROLL for (int i = 0; i < n; i += 4) {
            const quad q = drop_quad(key, site, row, column + (unsigned)i);
            word[i] = q.x, word[i + 1] = q.y, word[i + 2] = q.z, word[i + 3] = q.w;
        }
    } else {
        UNROLL for (int i = 0; i < n; i++) word[i] = drop_word(key, site, row, column + (unsigned)i);
    }
}
