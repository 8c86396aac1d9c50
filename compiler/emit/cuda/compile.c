/* compile: see compile.h. Threads take units one after the other, from the last, for the parts that take longest stand there; what
 * they have in common is the allocator, behind a lock, and the first failure. */
#include "compiler/emit/cuda/compile.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/files.h"

enum { MOST_THREADS = 64 };

static const struct {
    const char *name;
    size_t shared; /* that a block may ask for */
} architectures[] = {{"sm_80", 163 * 1024},  {"sm_86", 99 * 1024},  {"sm_89", 99 * 1024},
                     {"sm_90", 227 * 1024}, {"sm_100", 227 * 1024}, {"sm_120", 99 * 1024}};

const char *const *ctl_cuda_architectures(void) {
    static const char *const names[] = {"sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120", NULL};
    return names;
}

size_t ctl_cuda_shared_limit(const char *architecture) {
    for (size_t k = 0; k < CTL_COUNT(architectures); k++)
        if (strcmp(architecture, architectures[k].name) == 0) return architectures[k].shared;
    return 0;
}

const char *ctl_cuda_architecture_of(int major, int minor) {
    const char *best = NULL;
    for (size_t k = 0; k < CTL_COUNT(architectures); k++) { /* machine code runs on later minor versions too */
        const int number = atoi(architectures[k].name + 3);
        if (number / 10 == major && number % 10 <= minor) best = architectures[k].name;
    }
    return best;
}

typedef struct work {
    const ctl_cuda_compile_options *options;
    const ctl_allocator *base;
    ctl_allocator allocator; /* the base's, behind the lock */
    ctl_cuda_unit *units;
    size_t n, next;
    const char *flags[8];
    size_t nflags;
    pthread_mutex_t lock;
    ctl_status status;
    char *why;
} work;

static void *locked_resize(void *ctx, void *p, size_t old_size, size_t new_size) {
    work *w = ctx;
    pthread_mutex_lock(&w->lock);
    void *q = w->base->resize(w->base->ctx, p, old_size, new_size);
    pthread_mutex_unlock(&w->lock);
    return q;
}

/* The largest number that stands before (or, at "Used ", after) these words in ptxas' report. */
static int counted(const char *log, const char *before, const char *after) {
    int most = 0;
    for (const char *at = strstr(log, before); at; at = strstr(at + 1, before)) {
        const char *end = at + strlen(before);
        if (!*after) { /* the number stands before */
            const char *digit = at;
            while (digit > log && digit[-1] >= '0' && digit[-1] <= '9') digit--;
            if (digit < at && atoi(digit) > most) most = atoi(digit);
        } else if (atoi(end) > most)
            most = atoi(end);
    }
    return most;
}

static void read_counts(ctl_cuda_unit *u) {
    if (!u->made.log) return;
    u->registers = counted(u->made.log, "Used ", "after");
    u->shared_bytes = counted(u->made.log, " bytes smem", "");
    u->stack_bytes = counted(u->made.log, " bytes stack frame", "");
    u->spilled_bytes = counted(u->made.log, " bytes spill stores", "") + counted(u->made.log, " bytes spill loads", "");
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void note_failure(work *w, ctl_status status, const ctl_cuda_unit *u, const char *why) {
    char *text = NULL;
    if (status == CTL_ERR_INPUT)
        text = ctl_string_format(&w->allocator, "CUDA's compiler refuses %s:\n%s", u->name, u->made.log ? u->made.log : "");
    else if (status != CTL_ERR_MEMORY)
        text = ctl_string_format(&w->allocator, "%s", why);
    pthread_mutex_lock(&w->lock);
    char *unused = w->status == CTL_OK ? NULL : text;
    if (w->status == CTL_OK) w->status = status, w->why = text;
    w->next = w->n; /* nobody begins another */
    pthread_mutex_unlock(&w->lock);
    ctl_string_free(&w->allocator, unused);
}

static void compile_unit(work *w, ctl_cuda_unit *u) {
    char why[CTL_CUDA_WHY];
    ctl_cuda_entry entry;
    const double begin = now();
    const char *cache = w->options->cache;
    if (cache) {
        ctl_cuda_cache_key(w->options, w->flags, w->nflags, u, &entry);
        if (ctl_cuda_cache_read(&w->allocator, cache, &entry, u)) {
            u->seconds = now() - begin;
            return;
        }
    }
    ctl_status status = ctl_nvrtc_compile(w->options->nvrtc, &w->allocator, u->name, u->source, w->flags, (int)w->nflags,
                                          &u->made, why);
    if (status != CTL_OK) {
        note_failure(w, status, u, why);
        return;
    }
    read_counts(u);
    if (cache) ctl_cuda_cache_write(&w->allocator, cache, &entry, u);
    u->seconds = now() - begin;
}

static void *run(void *arg) {
    work *w = arg;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        const size_t k = w->next < w->n ? w->next++ : w->n;
        pthread_mutex_unlock(&w->lock);
        if (k == w->n) return NULL;
        compile_unit(w, &w->units[w->n - 1 - k]);
    }
}

ctl_status ctl_cuda_compile(const ctl_allocator *allocator, const ctl_cuda_compile_options *options, ctl_cuda_unit *units,
                            size_t n, char **why) {
    char architecture[64];
    snprintf(architecture, sizeof architecture, "--gpu-architecture=%s", options->architecture);
    work w = {.options = options, .base = allocator, .units = units, .n = n, .nflags = 7,
              .flags = {architecture, "--std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true",
                        "--ptxas-options=-v"}};
    w.allocator = (ctl_allocator){&w, locked_resize};
    *why = NULL;
    if (pthread_mutex_init(&w.lock, NULL)) return CTL_ERR_MEMORY;
    pthread_t threads[MOST_THREADS];
    size_t started = 0, wanted = options->threads < 1 ? 1 : (size_t)options->threads;
    if (wanted > n) wanted = n;
    if (wanted > MOST_THREADS) wanted = MOST_THREADS;
    while (started + 1 < wanted && pthread_create(&threads[started], NULL, run, &w) == 0) started++;
    run(&w); /* this thread too: with no other it does all */
    for (size_t k = 0; k < started; k++) pthread_join(threads[k], NULL);
    pthread_mutex_destroy(&w.lock);
    *why = w.why;
    return w.status;
}

void ctl_cuda_units_drop(const ctl_allocator *allocator, ctl_cuda_unit *units, size_t n) {
    for (size_t k = 0; k < n; k++) ctl_nvrtc_output_drop(allocator, &units[k].made);
}
