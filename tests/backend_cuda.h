/* backend_cuda: what backend_harness.h asks of a back end, for the CUDA engine on the stand-ins. Row programs of all graphs go, some
 * at a time, into sources of many kernels: one compilation each, and each program gets such a source as the module of each of
 * its kernels - only while it runs, since a program's code is a copy of all its modules. */
#ifndef CTL_TESTS_BACKEND_CUDA_H
#define CTL_TESTS_BACKEND_CUDA_H

#include <dlfcn.h>

#include "compiler/emit/cuda/compile.h"
#include "compiler/emit/cuda/cuda.h"
#include "runtime/cuda/code.h"
#include "runtime/cuda/cuda.h"

typedef CTL_VEC(ctl_cuda_part) cuda_parts;
static inline void cuda_note_parts(ctl_arena *arena, const ctl_program *p, cuda_parts *parts) {
    const size_t most = ctl_cuda_parts_of(p, NULL, 0);
    ctl_cuda_part *of = CTL_NEW_ARRAY(arena, ctl_cuda_part, most);
    const size_t n = ctl_cuda_parts_of(p, of, most);
    for (size_t i = 0; i < n; i++) {
        bool seen = false;
        for (size_t k = 0; k < parts->n; k++) seen |= parts->at[k].kind == of[i].kind && parts->at[k].head == of[i].head;
        if (!seen) CTL_PUSH(arena, parts, of[i]);
    }
}

enum { CUDA_ROWS = 24 }; /* kernels of a source */
typedef struct cuda_bench {
    cuda_parts parts;
    ctl_cuda_kernel *kernels; /* of the row programs */
    ctl_cuda_unit *units;     /* sources of row programs, then one a part */
    size_t nrows;             /* how many of row programs */
} cuda_bench;
static inline size_t cuda_bench_units(const cuda_bench *c) { return c->nrows + c->parts.n; }

static inline void cuda_bench_compile(ctl_arena *arena, cuda_bench *c, const ctl_rowprog *const *programs, size_t n) {
    static void *kept; /* loaded as long as the test runs, so that what it holds for later has a name */
    ctl_nvrtc nvrtc;
    char why[CTL_CUDA_WHY], *said = NULL;
    if (!kept) kept = dlopen(STANDIN_DIR "/libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (ctl_nvrtc_open(&nvrtc, STANDIN_DIR "/libnvrtc.so.13", NULL, why) != CTL_OK) fail_msg("%s", why);
    c->nrows = (n + CUDA_ROWS - 1) / CUDA_ROWS;
    c->units = CTL_NEW_ARRAY(arena, ctl_cuda_unit, cuda_bench_units(c));
    c->kernels = CTL_NEW_ARRAY(arena, ctl_cuda_kernel, n);
    for (size_t k = 0; k < cuda_bench_units(c); k++) {
        const size_t first = k * CUDA_ROWS;
        ctl_text source = {.arena = arena};
        for (size_t i = first; i < n && i < first + CUDA_ROWS; i++) c->kernels[i].name = ctl_format(arena, "rows_%zu", i);
        if (k < c->nrows) ctl_cuda_source(arena, programs + first, n - first < CUDA_ROWS ? n - first : CUDA_ROWS, c->kernels + first, &source);
        else ctl_cuda_part_source(&c->parts.at[k - c->nrows], &source);
        c->units[k] = (ctl_cuda_unit){.name = k < c->nrows ? "rows" : "beside", .source = source.at};
    }
    const ctl_cuda_compile_options options = {.nvrtc = &nvrtc, .architecture = "sm_86", .cache = STANDIN_DIR "/cache", .threads = 2};
    if (ctl_cuda_compile(&ctl_malloc_allocator, &options, c->units, cuda_bench_units(c), &said) != CTL_OK) fail_msg("%s", said ? said : "?");
    ctl_nvrtc_close(&nvrtc);
}
static inline void cuda_bench_drop(cuda_bench *c) {
    if (c->units) ctl_cuda_units_drop(&ctl_malloc_allocator, c->units, cuda_bench_units(c));
}

/* Gives a program its code, until cuda_bench_detach. number[i]: of the program's kernel i among the row programs. */
static inline void cuda_bench_attach(const cuda_bench *c, ctl_program *p, const size_t *number) {
    static const char *const folders[] = {STANDIN_DIR};
    const ctl_cuda_folders where = {folders, 1};
    ctl_cuda_code draft = {.nrows = p->nkernels, .parts = c->parts.at, .nparts = c->parts.n}, *code = NULL;
    char why[CTL_CUDA_WHY];
    if (ctl_cuda_driver_open(&draft.driver, &where, why) != CTL_OK || ctl_cuda_device_find(&draft.driver, &draft.device, why) != CTL_OK ||
        ctl_blaslt_open(&draft.blaslt, &where, why) != CTL_OK)
        fail_msg("%s", why);
    const size_t n = ctl_cuda_code_images(&draft);
    ctl_cuda_image *images = calloc(n, sizeof *images);
    ctl_cuda_kernel *rows = calloc(p->nkernels + 1, sizeof *rows);
    for (size_t k = 0; k < n; k++) {
        const bool row = k < p->nkernels;
        const ctl_nvrtc_output *made = &c->units[row ? number[k] / CUDA_ROWS : c->nrows + k - p->nkernels].made;
        images[k] = (ctl_cuda_image){row ? c->kernels[number[k]].name : "beside", made->cubin, made->ncubin};
        if (row) rows[k] = c->kernels[number[k]];
    }
    draft.images = images, draft.rows = rows;
    assert_int_equal(ctl_cuda_code_make(&ctl_malloc_allocator, &draft, &code), CTL_OK);
    p->engine = &ctl_cuda_engine, p->engine_data = code;
    free(images), free(rows);
}
static inline void cuda_bench_detach(ctl_program *p) {
    ctl_cuda_code_free(p->engine_data);
    p->engine_data = NULL;
}

#endif
