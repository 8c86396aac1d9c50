/* scratch: bytes of scratch of tasks on a GPU. */
#include "base/base.h"
#include "runtime/cuda/cuda.h"

enum { MOST_SEQUENCE = 1 << 15 }; /* of mix: its matrix's elements are counted in 32 bits */

size_t ctl_cuda_rows_scratch(const ctl_cuda_kernel *k, int64_t rows) {
    const int64_t blocks = ctl_cuda_rows_blocks(k, rows, CTL_CUDA_SCRATCH_BLOCKS);
    return (size_t)(blocks * (k->block / k->group)) * k->scratch_floats * sizeof(float);
}

int64_t ctl_cuda_head_chunk(int64_t rows, int64_t vocab) {
    const int64_t logits = 32 << 20, chunk = logits / (vocab > 0 ? vocab : 1) / 64 * 64;
    return chunk < 64 ? (rows < 64 ? rows : 64) : chunk < rows ? chunk : rows;
}

int64_t ctl_cuda_mix_chunk(const ctl_task *t) {
    const int64_t most = (4 << 20) / t->sequence / t->sequence, all = t->operands[1].rows / t->sequence;
    return most < 1 ? 1 : most < all ? most : all;
}

static size_t aligned(size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

size_t ctl_cuda_mix_bytes(const ctl_task *t) {
    return aligned((size_t)(ctl_cuda_mix_chunk(t) * t->sequence * t->sequence) * sizeof(float));
}

ctl_status ctl_cuda_task_scratch(const ctl_task *t, int threads, size_t *bytes) {
    (void)threads;
    *bytes = 0;
    size_t size;
    switch (t->kind) {
    case TASK_MATMUL: /* sums in f32, where cuBLASLt cannot end the product; its workspace */
        if (t->noperands < 5 || (t->noperands > 5 && ctl_cuda_product_way_of(t) != PRODUCT_NARROW)) return CTL_ERR_INTERNAL;
        if (ctl_cuda_product_way_of(t) == PRODUCT_FINISH) {
            if (!ctl_mul_size((size_t)t->operands[2].rows, (size_t)t->operands[2].cols * sizeof(float), &size) ||
                size > SIZE_MAX / 4)
                return CTL_ERR_INTERNAL;
            *bytes = aligned(size);
        }
        if (ctl_cuda_product_way_of(t) != PRODUCT_NARROW) *bytes += CTL_CUDA_WORKSPACE_ROOM;
        return CTL_OK;
    case TASK_MIX:
        *bytes = CTL_CUDA_WORKSPACE_ROOM;
        return CTL_OK;
    case TASK_MIX_GRAD: /* the products of a chunk's sequences; cuBLASLt's workspace */
        if (t->noperands < 3 || t->sequence < 1 || t->operands[1].rows % t->sequence) return CTL_ERR_INTERNAL;
        if (t->sequence > MOST_SEQUENCE) return CTL_ERR_UNSUPPORTED;
        *bytes = ctl_cuda_mix_bytes(t) + CTL_CUDA_WORKSPACE_ROOM;
        return CTL_OK;
    case TASK_ATTEND_GRAD: /* the sums of o * do, a number for each row and head */
        if (t->noperands < 11 || t->head < 1) return CTL_ERR_INTERNAL;
        if (!ctl_mul_size((size_t)t->operands[0].rows, (size_t)(t->operands[0].cols / t->head) * sizeof(float), bytes))
            return CTL_ERR_INTERNAL;
        *bytes = aligned(*bytes);
        return CTL_OK;
    case TASK_HEAD: /* a chunk of logits, the rows' losses, a product's workspace */
        if (t->noperands < 7 || t->chunk < 1) return CTL_ERR_INTERNAL;
        if (!ctl_mul_size((size_t)t->chunk, (size_t)t->operands[1].rows * sizeof(float), &size) || size > SIZE_MAX / 4)
            return CTL_ERR_INTERNAL;
        *bytes = aligned(size) + aligned((size_t)t->operands[0].rows * sizeof(float)) + CTL_CUDA_WORKSPACE_ROOM;
        return CTL_OK;
    default:
        return CTL_OK;
    }
}
