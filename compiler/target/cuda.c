/* cuda: an NVIDIA GPU, as the planner sees it. Rows begin at multiples of 16 bytes, for wide accesses; but numbers, one a
 * row, lie one after the other, as indices must. */
#include "compiler/emit/cuda/cuda.h"
#include "compiler/target/target.h"
#include "runtime/cuda/cuda.h"

static int64_t stride(int64_t cols, size_t element_size) {
    const int64_t unit = element_size < 16 ? (int64_t)(16 / element_size) : 1;
    return cols <= 1 ? cols : (cols + unit - 1) / unit * unit;
}

static size_t rows_scratch(const ctl_rowprog *p, ctl_arena *arena, int64_t rows, int threads) {
    ctl_cuda_kernel kernel = {0};
    (void)threads;
    ctl_cuda_plan(p, arena, &kernel);
    return ctl_cuda_rows_scratch(&kernel, rows);
}

static const ctl_target cuda = {"cuda", ctl_cuda_task_scratch, ctl_cuda_head_chunk, stride, rows_scratch, CTL_CUDA_NARROW};

const ctl_target *ctl_target_cuda(void) {
    return &cuda;
}
