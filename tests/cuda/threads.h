/* threads: runs the blocks of a launch for host.h, a fiber for each thread: who goes on next, who waits for whom, and faults.
 * Threads are bits of their warps, so that finding the next one, and a barrier that all have come to, takes no search. */
#ifndef CTL_TESTS_CUDA_THREADS_H
#define CTL_TESTS_CUDA_THREADS_H

#include <stdarg.h>
#include <stdio.h>

#include "tests/cuda/fibers.h"

/* Where many objects like this one are loaded: a thread's stack, of FIBER_STACK bytes behind a guard, which they share. */
char *(*host_stack_of)(int thread);

static fiber host_fibers[HOST_MOST_THREADS], host_main;
static void host_leave(int last) { fiber_leave(&host_fibers[host.now->index], &host_main, last); }

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
    if (host.now) host_leave(1);
}

/* ---- threads that meet ---- */
HOST_OWN void host_wait(int state, uint32_t mask) {
    host_thread *me = host.now;
    struct host_warp_state *w = &host.warps[me->index / HOST_WARP];
    const uint32_t bit = 1u << me->index % HOST_WARP;
    me->state = state, me->mask = mask;
    w->ready &= ~bit;
    if (state == HOST_AT_BLOCK) host.at_block++;
    if (state == HOST_AT_WARP) {
        if (!w->waiting) w->mask = mask, w->other = 0;
        w->waiting |= bit, w->other |= w->mask ^ mask;
    }
    host_leave(0);
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
    fiber_started(&host_fibers[me->index]);
    host.kernel(host.call);
    HOST_ENDS();
    me->state = HOST_DONE;
    host.warps[me->index / HOST_WARP].ready &= ~(1u << me->index % HOST_WARP), host.done++;
    host_leave(1);
}

static void host_let_go(int thread) {
    host.threads[thread].state = HOST_READY;
    host.warps[thread / HOST_WARP].ready |= 1u << thread % HOST_WARP;
}
/* Whom a barrier has waited for, when all are there. */
static void host_release(void) {
    if (host.at_block && host.at_block + host.done == host.nthreads) {
        host.at_block = 0;
        for (int i = 0; i < host.nthreads; i++)
            if (host.threads[i].state == HOST_AT_BLOCK) host_let_go(i);
    }
    for (int first = 0; first < host.nthreads; first += HOST_WARP) {
        struct host_warp_state *w = &host.warps[first / HOST_WARP];
        if (!w->waiting || (!w->other && w->waiting != w->mask)) continue;
        const uint32_t waiting = w->waiting;
        for (int i = 0; i < HOST_WARP; i++) {
            if (!(w->waiting >> i & 1)) continue;
            const uint32_t mask = host.threads[first + i].mask;
            int all = (w->waiting & mask) == mask;
            for (int j = 0; w->other && j < HOST_WARP && all; j++) all = !(mask >> j & 1) || host.threads[first + j].mask == mask;
            for (int j = 0; all && j < HOST_WARP; j++)
                if (mask >> j & 1) host_let_go(first + j);
            if (all) w->waiting &= ~mask;
        }
        if (w->waiting == waiting) continue;
        w->other = 0; /* of those that still wait */
        for (int i = 0, any = 0; i < HOST_WARP; i++)
            if (w->waiting >> i & 1) {
                if (!any) any = 1, w->mask = host.threads[first + i].mask;
                w->other |= w->mask ^ host.threads[first + i].mask;
            }
    }
}

/* The first thread from `from` on, or the last one down from it, that can go on; -1: there is none. */
static int host_up(int from) {
    for (int w = from / HOST_WARP; w * HOST_WARP < host.nthreads; w++, from = w * HOST_WARP) {
        const uint32_t ready = host.warps[w].ready >> from % HOST_WARP;
        if (ready) return from + __builtin_ctz(ready);
    }
    return -1;
}
static int host_down(int from) {
    for (int w = from / HOST_WARP; from >= 0; w--, from = w * HOST_WARP + HOST_WARP - 1) {
        const uint32_t ready = host.warps[w].ready << (HOST_WARP - 1 - from % HOST_WARP);
        if (ready) return from - __builtin_clz(ready);
    }
    return -1;
}

/* The next thread to go on after `last`, or -1. */
static int host_next(int last) {
    for (int pass = 0; pass < 2; pass++) {
        int next = -1;
        if (host.order == HOST_WARP_GREEDY && last >= 0) { /* the same warp first, its barrier too */
            const int first = last / HOST_WARP * HOST_WARP, at = last % HOST_WARP;
            const uint32_t ready = host.warps[last / HOST_WARP].ready, after = at < 31 ? ready >> (at + 1) : 0;
            if (after) return last + 1 + __builtin_ctz(after);
            if (ready) return first + __builtin_ctz(ready);
        }
        if (host.order == HOST_REVERSE) {
            next = host_down((last < 0 ? host.nthreads : last) - 1);
            if (next < 0) next = host_down(host.nthreads - 1);
        } else if (host.order != HOST_WARP_GREEDY || last < 0 || pass == 1) {
            next = host_up(last + 1);
            if (next < 0) next = host_up(0);
        }
        if (next >= 0) return next;
        host_release();
    }
    return host_up(0);
}

static void host_run_block(void) {
    memset(host.shared, 0xff, host.shared_bytes);
    HOST_BEGINS();
    memset(host.warps, 0, sizeof host.warps);
    host.at_block = host.done = 0;
    for (int i = 0; i < host.nthreads; i++) {
        host_thread *t = &host.threads[i];
        t->index = i;
        host_let_go(i);
        host.copies[i].n = host.copies[i].group = 0;
        fiber_prepare(&host_fibers[i].context, host_fibers[i].stack, FIBER_STACK, host_entry);
    }
    int at = -1;
    while (!host.fault[0]) {
        at = host_next(at);
        if (at < 0) break;
        host.now = &host.threads[at];
        fiber_enter(&host_main, &host_fibers[at]);
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
        if (!fiber_make(&host_fibers[host.made], host_stack_of ? host_stack_of(host.made) : NULL))
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
