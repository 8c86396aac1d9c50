/* rows_host: lets a row kernel that was compiled for the host be called as the CPU's are (ctl_rows_fn). Appended to a
 * kernel source by tests/cuda/rows_cuda.h, with a ROWS_RUN for each kernel; the test fills rows_host_programs. */
#ifndef CTL_TESTS_CUDA_ROWS_HOST_H
#define CTL_TESTS_CUDA_ROWS_HOST_H

#include <stdio.h>
#include <stdlib.h>

#include "compiler/kernel/rowprog.h"
#include "runtime/cuda/kernel.h"

typedef struct rows_host_program {
    const ctl_cuda_kernel *kernel;
    const ctl_rowprog *p;
} rows_host_program;
#ifdef CTL_ON_HOST
#include "runtime/cuda/kernel.c"

const rows_host_program *rows_host_programs;
int rows_host_order = -1; /* -1: another at every call */

size_t ctl_dtype_size(ctl_dtype dtype) { return dtype == CTL_BF16 ? 2 : 4; }

static void rows_host_run(size_t which, void (*kernel)(const void *), int bound, const ctl_rows_call *call, int64_t begin,
                          int64_t end) {
    static int turn;
    const ctl_cuda_kernel *k = rows_host_programs[which].kernel;
    const ctl_rowprog *p = rows_host_programs[which].p;
    if (begin == end) return;
    ctl_rows_arg args[CTL_MOST_OPERANDS];
    ctl_dtype dtypes[CTL_MOST_OPERANDS];
    for (uint32_t i = 0; i < p->noperands; i++) {
        const int64_t size = (int64_t)ctl_dtype_size(p->operands[i].dtype);
        args[i] = call->args[i], dtypes[i] = p->operands[i].dtype;
        if (p->operands[i].at == AT_ROW || p->operands[i].at == AT_OUTER)
            args[i].base = (char *)args[i].base + begin * args[i].stride * size;
        if (p->operands[i].at == AT_CHUNK)
            args[i].base = (char *)args[i].base + begin / CTL_ROW_CHUNK * args[i].stride * size;
        if (p->operands[i].at == AT_GATHER) args[i].index += begin;
    }
    /* One micro-step of as many tokens as there are rows before this range: its first row is the batch's row0 + begin. */
    const ctl_cuda_state state = {.seed = call->seed, .first_row = call->row0 + begin, .step = call->step};
    ctl_cuda_rows_head head = {.state = &state, .tokens = end - begin, .rows = (int32_t)(end - begin)};
    const int64_t blocks = ctl_cuda_rows_blocks(k, end - begin, 3);
    head.scratch = malloc((size_t)(blocks * (k->block / k->group)) * k->scratch_floats * sizeof(float) + 16);
    char *packed = malloc(ctl_cuda_rows_bytes(k) + 64), fault[HOST_FAULT];
    if (!ctl_cuda_rows_call(k, &head, args, dtypes, call->sites, packed)) {
        fprintf(stderr, "kernel %s has no form for these operands\n", k->name);
        abort();
    }
    const host_launch_of launch = {.kernel = kernel, .call = packed, .grid = {(int)blocks, 1, 1}, .threads = k->block,
                                   .bound = bound, .shared = k->shared_bytes, .most_shared = 48 * 1024,
                                   .order = (host_order)(rows_host_order >= 0 ? rows_host_order : turn++ % HOST_ORDERS)};
    if (!host_launch(&launch, fault)) {
        fprintf(stderr, "kernel %s: %s\n", k->name, fault);
        abort();
    }
    free(packed);
    free(head.scratch);
}

#define ROWS_RUN(name, which)                                                                                \
    void name##_run(const ctl_rows_call *call, int64_t begin, int64_t end) {                                 \
        rows_host_run(which, name, name##_bound, call, begin, end);                                          \
    }
#endif

#endif
