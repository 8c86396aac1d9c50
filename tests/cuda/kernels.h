/* kernels: hand-written kernels (compiler/emit/cuda/ *.cu) compiled for the host, whole or with a fault planted, and launched
 * under every order of threads and both ways in which copies land. */
#ifndef CTL_TESTS_CUDA_KERNELS_H
#define CTL_TESTS_CUDA_KERNELS_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "compiler/emit/cuda/cuda.h"
#include "tests/cuda/launch.h"
#include "tests/cuda/shared_object.h"

/* Definitions, then the named texts; with the nth `what` behind the first `whole` of these replaced by `by` where `what` is given.
 * NULL: there is no nth. The caller's, by malloc. */
static inline char *kernel_source(const char *definitions, const char *const *names, size_t whole, const char *what, const char *by,
                                  int nth) {
    size_t size = strlen(definitions) + 1 + (by ? strlen(by) : 0), from = 0;
    for (size_t k = 0; names[k]; k++) size += strlen(ctl_cuda_text(names[k]));
    char *source = malloc(size);
    assert_non_null(source);
    strcpy(source, definitions);
    for (size_t k = 0; names[k]; k++) {
        if (k == whole) from = strlen(source);
        strcat(source, ctl_cuda_text(names[k]));
    }
    if (!what) return source;
    char *at = strstr(source + from, what);
    for (int k = 0; at && k < nth; k++) at = strstr(at + 1, what);
    if (at) {
        memmove(at + strlen(by), at + strlen(what), strlen(at + strlen(what)) + 1);
        memcpy(at, by, strlen(by));
        return source;
    }
    free(source);
    return NULL;
}

typedef struct launcher {
    shared_object object;
    host_order order;
    host_landing landing;
    char fault[HOST_FAULT]; /* of the last launch; empty: none */
} launcher;

static inline bool launch(launcher *l, const char *kernel, const void *call, int x, int y, int threads, size_t shared) {
    host_launch_fn *run = (host_launch_fn *)(uintptr_t)shared_object_find(&l->object, "host_launch");
    char name[64];
    snprintf(name, sizeof name, "%s_bound", kernel);
    const int *bound = shared_object_find(&l->object, name);
    const host_launch_of of = {.kernel = (void (*)(const void *))(uintptr_t)shared_object_find(&l->object, kernel),
                               .call = call, .grid = {x, y, 1}, .threads = threads, .bound = bound ? *bound : 0,
                               .shared = shared, .most_shared = 99 * 1024, .order = l->order, .landing = l->landing};
    assert_true(run && of.kernel);
    return run(&of, l->fault) != 0;
}

/* All orders and landings, until `run` is false: true when it never is. */
static inline bool launch_all(launcher *l, bool (*run)(launcher *l, void *ctx), void *ctx) {
    for (int order = 0; order < HOST_ORDERS; order++)
        for (int landing = 0; landing < HOST_LANDINGS; landing++) {
            l->order = (host_order)order, l->landing = (host_landing)landing;
            if (!run(l, ctx)) return false;
        }
    return true;
}

/* Whether the source fails, in a process of its own. */
static inline bool source_fails_by(const char *source, const char *optimise, bool (*run)(launcher *l, void *ctx), void *ctx) {
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL}; /* cmocka would go on to its other tests */
        launcher l = {0};
        for (size_t k = 0; k < sizeof signals / sizeof *signals; k++) signal(signals[k], SIG_DFL);
        if (!freopen("/dev/null", "w", stderr) || shared_object_open(&l.object, &source, 1, optimise)) _exit(2);
        _exit(launch_all(&l, run, ctx) ? 0 : 1);
    }
    int status = 0;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2) fail_msg("a source with a planted fault cannot be compiled");
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
/* The watch's object is built without the sanitizers that a build may have. */
static inline void skip_under_sanitizers(void) {
#ifdef __SANITIZE_ADDRESS__
    skip();
#endif
}

/* ---- races (tests/cuda/races.h) ---- */
/* The text behind its first `from` bytes with each `what` made `by` where the variable `planted` has its number, from *n on: so that one
 * compilation has all the faults. Takes the source and returns another, both of malloc. */
static inline char *source_with(char *source, size_t from, const char *what, const char *by, int *n) {
    size_t count = 0, at = from;
    for (const char *p = source + from; (p = strstr(p, what)); p++) count++;
    char *to = malloc(strlen(source) + count * (strlen(by) + 64) + 1);
    assert_non_null(to);
    memcpy(to, source, from);
    size_t used = from;
    for (const char *p; (p = strstr(source + at, what)); at = (size_t)(p - source) + strlen(what))
        used += (size_t)sprintf(to + used, "%.*sif (planted == %d) %s else %s", (int)(p - source - (ptrdiff_t)at), source + at, (*n)++, by, what);
    strcpy(to + used, source + at);
    free(source);
    return to;
}
#define SOURCE_PLANTED "int planted = -1;\n" /* before such a source */

/* Whether a watched object has a race, by one order of threads and with copies that land at once. In a process of its own; said: what was
 * found, empty where another result is. */
static inline bool object_races(shared_object *object, int fault, bool (*run)(launcher *l, void *ctx), void *ctx, char said[HOST_FAULT]) {
    int ends[2], status = 0, *planted = shared_object_find(object, "planted");
    fflush(NULL);
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        launcher l = {.object = *object, .order = HOST_WARP_GREEDY, .landing = HOST_AT_ISSUE};
        if (planted) *planted = fault;
        const bool ok = run(&l, ctx);
        if (!ok && write(ends[1], l.fault, strlen(l.fault)) < 0) _exit(3);
        _exit(ok ? 0 : 1);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], said, HOST_FAULT - 1);
    said[n > 0 ? n : 0] = 0;
    close(ends[0]);
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
/* A source without a race, and with one for each of the faults planted in it (source_with). */
static inline void expect_races(const char *source, int planted, bool (*run)(launcher *l, void *ctx), void *ctx) {
    shared_object object = {.watched = WATCHED};
    char said[HOST_FAULT];
    const char *why = shared_object_open(&object, &source, 1, "-O0");
    if (why) fail_msg("%s", why);
    if (object_races(&object, -1, run, ctx, said)) fail_msg("%s", said[0] ? said : "another result");
    for (int k = 0; k < planted; k++)
        if (!object_races(&object, k, run, ctx, said) || !said[0]) fail_msg("fault number %d: no race is found", k);
    shared_object_close(&object);
}

static inline bool source_fails(const char *source, bool (*run)(launcher *l, void *ctx), void *ctx) {
    return source_fails_by(source, "-O0", run, ctx);
}

#endif
