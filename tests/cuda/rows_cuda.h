/* rows_cuda: `emit` of tests/rows_support.h for the CUDA back end: one source for all programs, compiled for the host. A
 * test built with CTL_ROWS_ON_CUDA asks of the CUDA back end what it otherwise asks of the CPU's, under every order in
 * which threads can go on (host.h): another at each call, or the one that stands for a vector width. */
#ifndef CTL_TESTS_CUDA_ROWS_CUDA_H
#define CTL_TESTS_CUDA_ROWS_CUDA_H

#include "compiler/emit/cuda/cuda.h"
#include "tests/cuda/launch.h"
#include "tests/cuda/rows_host.h"
#include "tests/cuda/shared_object.h"

static const int vector_cpus[] = {0};
static int rows_cuda_forms; /* of the kernels that are emitted; 0: all */

#ifdef __SANITIZE_ADDRESS__ /* the watch's object is built without */
#define ROWS_WATCHED UNWATCHED
#else
#define ROWS_WATCHED WATCHED
#endif
typedef struct cuda_rows {
    shared_object object;
    rows_host_program *programs;
} cuda_rows;

static inline ctl_cpu_code *emit(ctl_arena *arena, ctl_rowprog **programs, size_t n, int order, int threads,
                                 ctl_rows_kernel *kernels) {
    (void)threads;
    cuda_rows *c = calloc(1, sizeof *c);
    ctl_cuda_kernel *cuda = CTL_NEW_ARRAY(arena, ctl_cuda_kernel, n);
    ctl_text text = {.arena = arena};
    if (!c) fail_msg("no memory");
    c->programs = CTL_NEW_ARRAY(arena, rows_host_program, n);
    for (size_t k = 0; k < n; k++) cuda[k].name = ctl_format(arena, "rows_%zu", k), cuda[k].forms = rows_cuda_forms;
    ctl_cuda_source(arena, (const ctl_rowprog *const *)programs, n, cuda, &text);
    ctl_text_add(&text, "\n#include \"tests/cuda/rows_host.h\"\n");
    for (size_t k = 0; k < n; k++) {
        ctl_text_add(&text, "ROWS_RUN(%s, %zu)\n", cuda[k].name, k);
        c->programs[k] = (rows_host_program){&cuda[k], programs[k]};
    }
    /* Races are looked for where programs are few and rows are short: in a hundred random ones, among them those whose results lie on
     * operands. */
    int64_t widest = 0;
    for (size_t k = 0; k < n; k++)
        for (uint32_t i = 0; i < programs[k]->noperands; i++)
            if (programs[k]->operands[i].cols > widest) widest = programs[k]->operands[i].cols;
    if ((n > 1 && n <= 60 && widest <= 1024) || getenv("CTL_TEST_LONG")) c->object.watched = ROWS_WATCHED;
    const char *why = shared_object_open(&c->object, (const char *const *)&text.at, 1, "-O0");
    if (why) fail_msg("%s", why);
    *(const rows_host_program **)shared_object_find(&c->object, "rows_host_programs") = c->programs;
    if (order) *(int *)shared_object_find(&c->object, "rows_host_order") = order == 3 ? HOST_WARP_GREEDY : HOST_REVERSE;
    for (size_t k = 0; k < n; k++) {
        kernels[k].run = (ctl_rows_fn)(uintptr_t)shared_object_find(&c->object, ctl_format(arena, "%s_run", cuda[k].name));
        assert_non_null(kernels[k].run);
        kernels[k].scratch_bytes = ctl_rowprog_scratch(programs[k], arena) * sizeof(float);
        kernels[k].sums_columns = cuda[k].chunks;
    }
    return (ctl_cpu_code *)(void *)c;
}

static inline void release(ctl_cpu_code *code) {
    cuda_rows *c = (cuda_rows *)(void *)code;
    if (c) shared_object_close(&c->object);
    free(c);
}

#endif
