/* host: the macros of compiler/emit/cuda/prelude.cu for the host's C compiler, so that the very source of a kernel runs
 * without a GPU. Included before a kernel source by the compiler's -include; together they make a shared object with
 * host_launch and one function a kernel.
 *
 * A block runs at a time, each of its threads as a fiber (fibers.h) that goes on until it waits for others. Which fiber
 * goes on next decides which missing barrier is found, so there are three orders: round robin; warp-greedy, where a warp
 * runs to the block's barrier before the next one starts; and reverse. Copies that are asynchronous on a device land when
 * they are issued, or when they are waited for. Shared memory begins as NaN in every block and ends exactly where the launch
 * says (AddressSanitizer sees its ends). What x86 would let pass is asserted: alignment, limits of a launch, threads that
 * never meet at a barrier. A fault ends the launch with a sentence. */
#ifndef CTL_TESTS_CUDA_HOST_H
#define CTL_TESTS_CUDA_HOST_H

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "tests/cuda/fibers.h"
#include "tests/cuda/launch.h"

enum { HOST_WARP = 32, HOST_MOST_THREADS = 1024, HOST_GUARD = 64 };
enum { HOST_READY, HOST_AT_WARP, HOST_AT_BLOCK, HOST_DONE };

typedef struct host_thread {
    fiber fiber;
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
    fiber main;
    int made, nthreads, block[3], grid[3];
    host_order order;
    host_landing landing;
    char *shared;
    size_t shared_bytes;
    void (*kernel)(const void *);
    const void *call;
    char *fault;
    uint32_t words[HOST_MOST_THREADS][4]; /* what threads of a warp show one another */
} host_state;

/* Where many sources are compiled, all this is compiled once, apart (tests/cuda/host_runtime.c), and linked to each. */
#ifdef HOST_APART
#define HOST_OWN __attribute__((visibility("hidden")))
#else
#define HOST_OWN static
#endif
#if defined(HOST_APART) && !defined(HOST_RUNTIME)
extern HOST_OWN host_state host;
HOST_OWN void host_fail(const char *fmt, ...);
HOST_OWN void host_wait(int state, uint32_t mask);
HOST_OWN void host_sync_warp(uint32_t mask);
HOST_OWN uint32_t host_shuffle(uint32_t mask, uint32_t word, int lane);
#else
HOST_OWN host_state host;

/* Where many objects like this one are loaded: a thread's stack, of FIBER_STACK bytes behind a guard, which they share. */
char *(*host_stack_of)(int thread);

/* ---- faults ---- */
HOST_OWN void host_fail(const char *fmt, ...) {
    va_list args;
    if (!host.fault[0]) {
        int n = snprintf(host.fault, HOST_FAULT, "block (%d, %d, %d), thread %d: ", host.block[0], host.block[1],
                         host.block[2], host.now ? host.now->index : -1);
        va_start(args, fmt);
        vsnprintf(host.fault + n, HOST_FAULT - (size_t)n, fmt, args);
        va_end(args);
    }
    if (host.now) fiber_leave(&host.now->fiber, &host.main, 1);
}

/* ---- threads that meet ---- */
HOST_OWN void host_wait(int state, uint32_t mask) {
    host_thread *me = host.now;
    me->state = state, me->mask = mask;
    fiber_leave(&me->fiber, &host.main, 0);
}
HOST_OWN void host_sync_warp(uint32_t mask) {
    if (!(mask >> host.now->index % HOST_WARP & 1)) host_fail("a thread waits for a mask that it is not in");
    host_wait(HOST_AT_WARP, mask);
}
/* Shows a word to the warp and returns another thread's. */
HOST_OWN uint32_t host_shuffle(uint32_t mask, uint32_t word, int lane) {
    const int me = host.now->index, from = me / HOST_WARP * HOST_WARP + (lane & (HOST_WARP - 1));
    if (!(mask >> (lane & (HOST_WARP - 1)) & 1)) host_fail("a shuffle from a thread that is not in its mask");
    host.words[me][0] = word;
    host_sync_warp(mask);
    const uint32_t other = host.words[from][0];
    host_sync_warp(mask);
    return other;
}

static void host_entry(void) {
    host_thread *me = host.now;
    fiber_started(&me->fiber);
    host.kernel(host.call);
    me->state = HOST_DONE;
    fiber_leave(&me->fiber, &host.main, 1);
}

static void host_release(void) {
    int waiting = 0, done = 0;
    for (int i = 0; i < host.nthreads; i++) waiting += host.threads[i].state == HOST_AT_BLOCK, done += host.threads[i].state == HOST_DONE;
    if (waiting && waiting + done == host.nthreads)
        for (int i = 0; i < host.nthreads; i++)
            if (host.threads[i].state == HOST_AT_BLOCK) host.threads[i].state = HOST_READY;
    for (int first = 0; first < host.nthreads; first += HOST_WARP)
        for (int i = first; i < first + HOST_WARP && i < host.nthreads; i++) {
            if (host.threads[i].state != HOST_AT_WARP) continue;
            const uint32_t mask = host.threads[i].mask;
            int all = 1;
            for (int j = 0; j < HOST_WARP; j++)
                if (mask >> j & 1)
                    all &= first + j < host.nthreads && host.threads[first + j].state == HOST_AT_WARP &&
                           host.threads[first + j].mask == mask;
            if (!all) continue;
            for (int j = 0; j < HOST_WARP; j++)
                if (mask >> j & 1) host.threads[first + j].state = HOST_READY;
        }
}

/* The next thread to go on after `last`, or -1. */
static int host_next(int last) {
    const int n = host.nthreads;
    for (int pass = 0; pass < 2; pass++) {
        if (host.order == HOST_WARP_GREEDY && last >= 0) { /* the same warp first */
            const int first = last / HOST_WARP * HOST_WARP;
            for (int j = 1; j <= HOST_WARP; j++) {
                const int i = first + (last - first + j) % HOST_WARP;
                if (i < n && host.threads[i].state == HOST_READY) return i;
            }
        }
        for (int j = 1; j <= n && (host.order != HOST_WARP_GREEDY || pass == 1); j++) {
            const int i = host.order == HOST_REVERSE ? ((last < 0 ? 0 : last) - j + n) % n : (last + j) % n;
            if (host.threads[i].state == HOST_READY) return i;
        }
        host_release();
    }
    for (int i = 0; i < n; i++)
        if (host.threads[i].state == HOST_READY) return i;
    return -1;
}

static void host_run_block(void) {
    memset(host.shared, 0xff, host.shared_bytes);
    for (int i = 0; i < host.nthreads; i++) {
        host_thread *t = &host.threads[i];
        t->index = i, t->state = HOST_READY;
        host.copies[i].n = host.copies[i].group = 0;
        fiber_prepare(&t->fiber.context, t->fiber.stack, FIBER_STACK, host_entry);
    }
    int at = -1;
    while (!host.fault[0]) {
        at = host_next(at);
        if (at < 0) break;
        host.now = &host.threads[at];
        fiber_enter(&host.main, &host.now->fiber);
        host.now = NULL;
    }
    for (int i = 0; i < host.nthreads && !host.fault[0]; i++)
        if (host.threads[i].state != HOST_DONE) {
            host.now = NULL;
            host_fail("thread %d waits at a %s barrier that others never reach", i,
                      host.threads[i].state == HOST_AT_BLOCK ? "block's" : "warp's");
        }
    for (int i = 0; i < host.nthreads && !host.fault[0]; i++)
        if (host.copies[i].n && host.landing == HOST_AT_WAIT) host_fail("thread %d ends with copies that nobody waited for", i);
}

int host_launch(const host_launch_of *l, char *fault) {
    host.fault = fault, fault[0] = 0, host.now = NULL;
    host.order = l->order, host.landing = l->landing, host.kernel = l->kernel, host.call = l->call;
    host.nthreads = l->threads, host.shared_bytes = l->shared;
    memcpy(host.grid, l->grid, sizeof host.grid);
    memset(host.block, 0, sizeof host.block);
    if (l->threads < 1 || l->threads > HOST_MOST_THREADS || l->threads > l->bound)
        host_fail("%d threads in a block of at most %d", l->threads, l->bound < HOST_MOST_THREADS ? l->bound : HOST_MOST_THREADS);
    if (l->shared > l->most_shared) host_fail("%zu bytes of shared memory, of at most %zu", l->shared, l->most_shared);
    if (l->grid[0] < 1 || l->grid[1] < 1 || l->grid[2] < 1 || l->grid[1] > 65535 || l->grid[2] > 65535)
        host_fail("a grid of %d x %d x %d blocks", l->grid[0], l->grid[1], l->grid[2]);
    if (fault[0]) return 0;
    for (; host.made < l->threads; host.made++)
        if (!fiber_make(&host.threads[host.made].fiber, host_stack_of ? host_stack_of(host.made) : NULL))
            return host_fail("no memory for stacks"), 0;
    char *held = malloc(l->shared + HOST_GUARD);
    if (!held) return host_fail("no memory"), 0;
    memset(held + l->shared, 0x5a, HOST_GUARD);
#ifdef __SANITIZE_ADDRESS__
    free(held);
    if (!(held = malloc(l->shared ? l->shared : 1))) return host_fail("no memory"), 0;
#endif
    host.shared = held;
    for (host.block[2] = 0; host.block[2] < l->grid[2] && !fault[0]; host.block[2]++)
        for (host.block[1] = 0; host.block[1] < l->grid[1] && !fault[0]; host.block[1]++)
            for (host.block[0] = 0; host.block[0] < l->grid[0] && !fault[0]; host.block[0]++) host_run_block();
#ifndef __SANITIZE_ADDRESS__
    for (int i = 0; i < HOST_GUARD; i++)
        if (held[l->shared + (size_t)i] != 0x5a && !fault[0]) host_fail("shared memory was written behind its end");
#endif
    free(held);
    return !fault[0];
}

#endif

/* ---- memory ---- */
typedef struct quad {
    uint32_t x, y, z, w;
} quad;
static const void *host_aligned(const void *p, size_t to) {
    if ((uintptr_t)p % to) host_fail("an access of %zu bytes that is not aligned to them", to);
    return p;
}
static quad host_load_quad(const void *p) {
    quad q;
    memcpy(&q, host_aligned(p, 16), sizeof q);
    return q;
}
static void host_store_quad(const void *p, quad q) { memcpy((void *)(uintptr_t)host_aligned(p, 16), &q, sizeof q); }

static uint32_t host_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}
static float host_real(uint32_t u) {
    float x;
    memcpy(&x, &u, 4);
    return x;
}

/* ---- the macros of prelude.cu ---- */
#define CTL_ON_HOST 1
#define KERNEL(name, type, bound)                                                                            \
    static void name##_of(const type call);                                                                  \
    const int name##_bound = bound;                                                                          \
    const size_t name##_bytes = sizeof(type);                                                                \
    void name(const void *call);                                                                             \
    void name(const void *call) { name##_of(*(const type *)call); }                                          \
    static void name##_of(const type call)
#define DEVICE             static inline __attribute__((unused))
#define SHARED(type, name) type *const name = (type *)(void *)host.shared
#define UNROLL
#define ROLL
#define THREAD             (host.now->index)
#define THREADS            (host.nthreads)
#define BLOCK              (host.block[0])
#define BLOCKS             (host.grid[0])
#define BLOCK_Y            (host.block[1])
#define BLOCK_Z            (host.block[2])
#define SYNC_WARP()        host_sync_warp(0xffffffffu)
#define SYNC_BLOCK()       host_wait(HOST_AT_BLOCK, 0)
#define FMA(a, b, c)       fmaf((a), (b), (c))
#define BITS_OF(x)         host_bits(x)
#define REAL_OF(u)         host_real(u)
#define HIGH_OF(a, b)      ((unsigned)((uint64_t)(a) * (b) >> 32))
#define LOAD_QUAD(p)       host_load_quad(p)
#define STORE_QUAD(p, q)   host_store_quad((p), (q))

#endif
