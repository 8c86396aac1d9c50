/* bench: what the benchmarks share: clocks, memory that is there or ends the program, and calls that must succeed. BENCH is
 * the program's name, defined before. */
#ifndef CTL_BENCH_H
#define CTL_BENCH_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/base.h"

static double seconds_on(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void must(ctl_status status, const char *what) {
    if (status == CTL_OK) return;
    fprintf(stderr, BENCH ": %s: %s\n", what, ctl_status_name(status));
    exit(1);
}

static void *zeroed(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size);
    if (!p) must(CTL_ERR_MEMORY, "numbers");
    return p;
}

#endif
