/* kernels: the sources of the kernels that are written by hand, with what they are made for defined at their beginning. */
#include "compiler/emit/cuda/build.h"
#include "runtime/cuda/attend.h"

enum { MOST_PRELUDES = 4 };

/* What stands before a part's own text. */
static const char *const preludes[CUDA_PART_KINDS][MOST_PRELUDES + 1] = {
    [CUDA_PART_LOSSES] = {"prelude"},
    [CUDA_PART_MOVES] = {"prelude"},
    [CUDA_PART_NARROW] = {"prelude", "tensor_prelude"},
    [CUDA_PART_OPTIMIZER] = {"prelude"},
    [CUDA_PART_INITIALISE] = {"prelude"},
    [CUDA_PART_ATTEND_FORWARD] = {"prelude", "tensor_prelude", "attend_prelude", "attend_tensor_prelude"},
    [CUDA_PART_ATTEND_QUERIES] = {"prelude", "tensor_prelude", "attend_prelude", "attend_tensor_prelude"},
    [CUDA_PART_ATTEND_KEYS] = {"prelude", "tensor_prelude", "attend_prelude", "attend_tensor_prelude"},
    [CUDA_PART_ATTEND_DOTS] = {"prelude", "tensor_prelude", "attend_prelude", "attend_rows_prelude"},
    [CUDA_PART_ATTEND_PLAIN] = {"prelude", "tensor_prelude", "attend_prelude", "attend_rows_prelude"},
};

static void put(ctl_text *out, const char *name) {
    const char *text = ctl_cuda_text(name);
    ctl_text_put(out, text, strlen(text));
    ctl_text_add(out, "\n");
}

void ctl_cuda_part_source(const ctl_cuda_part *part, ctl_text *out) {
    if (part->head)
        ctl_text_add(out, "#define HEAD %lld\n#define KEYS %d\n#define QUERIES %d\n", (long long)part->head,
                     ctl_cuda_attend_keys(part->head), ctl_cuda_attend_queries(part->head));
    for (size_t k = 0; preludes[part->kind][k]; k++) put(out, preludes[part->kind][k]);
    put(out, ctl_cuda_part_name(part->kind));
}
