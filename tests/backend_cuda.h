/* backend_cuda: what backend_harness.h asks of a back end, for the CUDA engine on the stand-ins: all row programs of all graphs in
 * one source, which is compiled once; each program gets it as the module of each of its kernels. */
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

typedef struct cuda_bench {
    cuda_parts parts;
    ctl_cuda_kernel *kernels; /* of the row programs */
    ctl_cuda_unit *units;     /* the row programs' source, then one a part */
} cuda_bench;

/* text: the source of the row programs, whose kernels are planned. */
static inline void cuda_bench_compile(ctl_arena *arena, cuda_bench *c, const char *text) {
    static void *kept; /* loaded as long as the test runs, so that what it holds for later has a name */
    ctl_nvrtc nvrtc;
    char why[CTL_NVRTC_WHY], *said = NULL;
    if (!kept) kept = dlopen(STANDIN_DIR "/libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (ctl_nvrtc_open(&nvrtc, STANDIN_DIR "/libnvrtc.so.13", why) != CTL_OK) fail_msg("%s", why);
    const size_t n = c->parts.n + 1;
    c->units = CTL_NEW_ARRAY(arena, ctl_cuda_unit, n);
    c->units[0] = (ctl_cuda_unit){.name = "rows", .source = text};
    for (size_t k = 0; k < c->parts.n; k++) {
        ctl_text source = {.arena = arena};
        ctl_cuda_part_source(&c->parts.at[k], &source);
        c->units[k + 1] = (ctl_cuda_unit){.name = "beside", .source = source.at};
    }
    const ctl_cuda_compile_options options = {.nvrtc = &nvrtc, .architecture = "sm_86", .cache = STANDIN_DIR "/cache", .threads = 2};
    if (ctl_cuda_compile(&ctl_malloc_allocator, &options, c->units, n, &said) != CTL_OK) fail_msg("%s", said ? said : "?");
    ctl_nvrtc_close(&nvrtc);
}
static inline void cuda_bench_drop(cuda_bench *c) {
    if (c->units) ctl_cuda_units_drop(&ctl_malloc_allocator, c->units, c->parts.n + 1);
}

/* number[i]: of the program's kernel i among the row programs. */
static inline void cuda_bench_attach(ctl_arena *arena, cuda_bench *c, ctl_program *p, const size_t *number) {
    static const char *const folders[] = {STANDIN_DIR};
    const ctl_cuda_folders where = {folders, 1};
    ctl_cuda_code draft = {.nrows = p->nkernels, .parts = c->parts.at, .nparts = c->parts.n}, *code = NULL;
    char why[CTL_CUDA_WHY];
    if (ctl_cuda_driver_open(&draft.driver, &where, why) != CTL_OK || ctl_cuda_device_find(&draft.driver, &draft.device, why) != CTL_OK ||
        ctl_blaslt_open(&draft.blaslt, &where, why) != CTL_OK)
        fail_msg("%s", why);
    const size_t n = ctl_cuda_code_images(&draft);
    ctl_cuda_image *images = CTL_NEW_ARRAY(arena, ctl_cuda_image, n);
    ctl_cuda_kernel *rows = CTL_NEW_ARRAY(arena, ctl_cuda_kernel, p->nkernels);
    for (size_t k = 0; k < n; k++) {
        const ctl_nvrtc_output *made = &c->units[k < p->nkernels ? 0 : k - p->nkernels + 1].made;
        images[k] = (ctl_cuda_image){k < p->nkernels ? c->kernels[number[k]].name : "beside", made->cubin, made->ncubin};
        if (k < p->nkernels) rows[k] = c->kernels[number[k]];
    }
    draft.images = images, draft.rows = rows;
    assert_int_equal(ctl_cuda_code_make(&ctl_malloc_allocator, &draft, &code), CTL_OK);
    assert_true(ctl_lowered_defer(p, ctl_cuda_code_free, code));
    p->engine = &ctl_cuda_engine, p->engine_data = code;
}

#endif
