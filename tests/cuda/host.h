/* host: the macros of compiler/emit/cuda/prelude.cu for the host's C compiler, so that the very source of a kernel runs
 * without a GPU. Included before a kernel source by the compiler's -include; together they make a shared object with
 * host_launch (threads.h) and one function a kernel.
 *
 * A block runs at a time, each of its threads as a fiber (fibers.h) that goes on until it waits for others. Which fiber
 * goes on next decides which missing barrier is found, so there are three orders: round robin; warp-greedy, where a warp
 * runs to the block's barrier before the next one starts; and reverse. Copies that are asynchronous on a device land when
 * they are issued, or when they are waited for. Shared memory begins as NaN in every block and ends exactly where the launch
 * says (AddressSanitizer sees its ends). What x86 would let pass is asserted: alignment, limits of a launch, threads that
 * never meet at a barrier. A fault ends the launch with a sentence.
 *
 * With HOST_WATCH every access to memory is reported to watch_runtime.c: those of instructions that have stand-ins here by
 * HOST_TOUCH, all others by the calls that the compiler writes for -fsanitize=thread. */
#ifndef CTL_TESTS_CUDA_HOST_H
#define CTL_TESTS_CUDA_HOST_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tests/cuda/launch.h"

/* Where many sources are compiled, threads.h is compiled once, apart (tests/cuda/host_runtime.c), and linked to each; and what
 * a kernel needs of mathematics is declared here, since <math.h> takes longer than most kernels. */
#ifdef HOST_APART
#define HOST_OWN __attribute__((visibility("hidden")))
float expf(float x), exp2f(float x), logf(float x), sqrtf(float x), rintf(float x), floorf(float x), fabsf(float x);
float fmaf(float x, float y, float z);
double sqrt(double x), pow(double x, double y);
#else
#define HOST_OWN static
#include <math.h>
#endif

enum { HOST_WARP = 32, HOST_MOST_THREADS = 1024, HOST_GUARD = 64 };
enum { HOST_READY, HOST_AT_WARP, HOST_AT_BLOCK, HOST_DONE };

typedef struct host_thread {
    int index, state;
    uint32_t mask; /* HOST_AT_WARP: who must meet */
} host_thread;

typedef struct host_copy { /* asynchronous, not yet landed */
    void *to;
    const void *from;
    size_t bytes, zeros;
    int group;
} host_copy;

enum { HOST_MOST_COPIES = 256 };
typedef struct host_copies {
    host_copy at[HOST_MOST_COPIES];
    int n, group;
} host_copies;

typedef struct host_state {
    host_thread threads[HOST_MOST_THREADS];
    host_copies copies[HOST_MOST_THREADS];
    host_thread *now;
    int made, nthreads, block[3], grid[3];
    struct host_warp_state { /* a bit for each thread */
        uint32_t ready, waiting; /* to go on; at its warp's barrier */
        uint32_t mask, other;    /* of whom they wait for: the first one's, and whether there was another */
    } warps[HOST_MOST_THREADS / HOST_WARP];
    int at_block, done;
    host_order order;
    host_landing landing;
    char *shared;
    size_t shared_bytes;
    void (*kernel)(const void *);
    const void *call;
    char *fault;
    uint32_t words[HOST_MOST_THREADS][4]; /* what threads of a warp show one another */
} host_state;

HOST_OWN void host_fail(const char *fmt, ...);
HOST_OWN void host_wait(int state, uint32_t mask);
HOST_OWN void host_sync_warp(uint32_t mask);
HOST_OWN uint32_t host_shuffle(uint32_t mask, uint32_t word, int lane);
#ifdef HOST_WATCH
#include "tests/cuda/watch.h"
#define HOST_UNSEEN           __attribute__((noinline, no_sanitize("thread"))) /* its own accesses are no kernel's */
#define HOST_TOUCH(p, n, how) host_touch((p), (n), (how), __builtin_return_address(0))
#define HOST_MET(how)         host_met(how)
#define HOST_COPY(to, from, n, group)                                                                        \
    host_copy_begins((to), (from), (n), (group), __builtin_return_address(0))
#define HOST_COPIED(group) host_copies_end(group)
#define HOST_KERNEL        __attribute__((no_sanitize("thread")))
#ifdef HOST_SOURCE /* the source, for who tells of its lines */
__asm__(".section .rodata\n.globl host_source\n.hidden host_source\nhost_source:\n.incbin \"" HOST_SOURCE "\"\n.byte 0\n.text\n");
#endif
#ifdef HOST_LINES /* a code address belongs to one line of one kernel, and takes longer to compile */
#define HOST_INLINE __attribute__((always_inline))
#else
#define HOST_INLINE
#endif
#else
#define HOST_UNSEEN                   inline
#define HOST_TOUCH(p, n, how)         ((void)0)
#define HOST_MET(how)                 ((void)0)
#define HOST_COPY(to, from, n, group) ((void)0)
#define HOST_COPIED(group)            ((void)0)
#define HOST_BEGINS()                 ((void)0)
#define HOST_ENDS()                   ((void)0)
#define HOST_KERNEL
#define HOST_INLINE
#endif
#if defined(HOST_APART) && !defined(HOST_RUNTIME)
extern HOST_OWN host_state host;
#else
HOST_OWN host_state host;
#include "tests/cuda/threads.h"
#endif

/* ---- memory ---- */
typedef struct quad {
    uint32_t x, y, z, w;
} quad;
static HOST_UNSEEN const void *host_aligned(const void *p, size_t to) {
    if ((uintptr_t)p % to) host_fail("an access of %zu bytes that is not aligned to them", to);
    return p;
}
static HOST_UNSEEN quad host_load_quad(const void *p) {
    quad q;
    HOST_TOUCH(p, 16, HOST_READS);
    memcpy(&q, host_aligned(p, 16), sizeof q);
    return q;
}
static HOST_UNSEEN void host_store_quad(const void *p, quad q) {
    HOST_TOUCH(p, 16, HOST_WRITES);
    memcpy((void *)(uintptr_t)host_aligned(p, 16), &q, sizeof q);
}

static inline uint32_t host_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}
static inline float host_real(uint32_t u) {
    float x;
    memcpy(&x, &u, 4);
    return x;
}

/* cvt.rn.bf16.f32 of the PTX ISA: to the nearest, ties to even; subnormal numbers are kept, any NaN becomes 0x7fff. */
static inline unsigned host_bf16(float x) {
    const uint32_t b = host_bits(x);
    return x != x ? 0x7fffu : (b + 0x7fffu + (b >> 16 & 1u)) >> 16;
}

/* ---- the macros of prelude.cu ---- */
#define CTL_ON_HOST 1
#define KERNEL(name, type, bound)                                                                            \
    static void name##_of(const type call);                                                                  \
    const int name##_bound = bound;                                                                          \
    const size_t name##_bytes = sizeof(type);                                                                \
    void name(const void *call);                                                                             \
    HOST_KERNEL void name(const void *call) { name##_of(*(const type *)call); }                              \
    static void name##_of(const type call)
#define DEVICE             static inline HOST_INLINE __attribute__((unused))
#define SHARED(type, name) type *const name = (type *)(void *)host.shared
#define UNROLL
#define ROLL
#define THREAD             (host.now->index)
#define THREADS            (host.nthreads)
#define BLOCK              (host.block[0])
#define BLOCKS             (host.grid[0])
#define BLOCK_Y            (host.block[1])
#define BLOCK_Z            (host.block[2])
#define SYNC_WARP()        (host_sync_warp(0xffffffffu), HOST_MET(HOST_AT_WARP))
#define SYNC_BLOCK()       (host_wait(HOST_AT_BLOCK, 0), HOST_MET(HOST_AT_BLOCK))
#define FMA(a, b, c)       fmaf((a), (b), (c))
#define BITS_OF(x)         host_bits(x)
#define REAL_OF(u)         host_real(u)
#define HIGH_OF(a, b)      ((unsigned)((uint64_t)(a) * (b) >> 32))
#define ROUND_PAIR(l, h)   (host_bf16(l) | host_bf16(h) << 16)
#define LOAD_QUAD(p)       host_load_quad(p)
#define STORE_QUAD(p, q)   host_store_quad((p), (q))

#endif
