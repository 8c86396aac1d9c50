/* kernel: see kernel.h. */
#include "runtime/cuda/kernel.h"

#include <string.h>

#include "ctl/dtype.h"

int64_t ctl_cuda_rows_blocks(const ctl_cuda_kernel *k, int64_t rows, int64_t most) {
    const int64_t groups = k->block / k->group;
    if (k->serial) return 1;
    const int64_t all = k->chunks ? (rows + CTL_ROW_CHUNK - 1) / CTL_ROW_CHUNK : (rows * k->split + groups - 1) / groups;
    return all < most ? all : most;
}

ctl_cuda_form ctl_cuda_rows_form(const ctl_cuda_kernel *k, const ctl_rows_arg *args, const ctl_dtype *dtypes) {
    if (!k->wide) return CTL_CUDA_FORM_ANY;
    for (uint32_t i = 0; i < k->noperands; i++) {
        const int64_t row = args[i].stride * (int64_t)ctl_dtype_size(dtypes[i]);
        if (k->wide >> i & 1 && ((uintptr_t)args[i].base % 16 || row % 16)) return CTL_CUDA_FORM_ANY;
    }
    return CTL_CUDA_FORM_WIDE;
}

bool ctl_cuda_rows_call(const ctl_cuda_kernel *k, const ctl_cuda_rows_head *head, const ctl_rows_arg *args,
                        const ctl_dtype *dtypes, const uint32_t *sites, void *call) {
    const ctl_cuda_form form = ctl_cuda_rows_form(k, args, dtypes);
    ctl_cuda_rows_head mine = *head;
    mine.wide = form == CTL_CUDA_FORM_WIDE;
    char *to = call;
    memcpy(to, &mine, sizeof mine);
    memcpy(to + sizeof mine, args, k->noperands * sizeof *args);
    if (k->nsites) memcpy(to + sizeof mine + k->noperands * sizeof *args, sites, k->nsites * sizeof *sites);
    return (k->forms & CTL_CUDA_FORM_ANY) || form == CTL_CUDA_FORM_WIDE;
}
