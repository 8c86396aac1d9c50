/* kernel: how a compiled row kernel is launched, and the structure that it takes.
 *
 * A block has `block` threads in groups of `group`; a group computes one row at a time. The structure that a kernel takes
 * is a ctl_cuda_rows_head, then a ctl_rows_arg for each operand, then a 32-bit site for each place of dropout. */
#ifndef CTL_RUNTIME_CUDA_KERNEL_H
#define CTL_RUNTIME_CUDA_KERNEL_H

#include "runtime/program.h"

/* A kernel's rows are written once, and compiled for operands all of whose rows begin at multiples of 16 bytes, for others, or
 * for both. */
typedef enum ctl_cuda_form { CTL_CUDA_FORM_WIDE = 1, CTL_CUDA_FORM_ANY = 2 } ctl_cuda_form;

typedef struct ctl_cuda_kernel {
    const char *name;
    int group, block;      /* threads */
    int vector;            /* neighbouring columns of a thread: 4 or 8 */
    size_t shared_bytes;   /* of a block, asked for at the launch */
    size_t scratch_floats; /* of a group, in device memory: kept rows that shared memory has no room for */
    bool chunks;           /* a block takes CTL_ROW_CHUNK rows of the space after the other */
    bool serial;           /* one block alone: rows are added to one row, in their order */
    uint64_t wide;         /* operands that are accessed 16 bytes at a time where they can be */
    int forms;             /* of ctl_cuda_form; given before it is planned: those alone, as far as it may need them; 0: all */
    uint32_t noperands, nsites;
    int split;
} ctl_cuda_kernel;

/* In device memory; the same as step_state of prelude.cu. */
typedef struct ctl_cuda_state {
    uint64_t seed;
    int64_t first_row;
    uint32_t step;
    float normaliser;
} ctl_cuda_state;

typedef struct ctl_cuda_rows_head {
    const ctl_cuda_state *state;
    float *scratch;
    int64_t tokens; /* of a micro-step; 0 where rows are no tokens */
    int32_t rows, wide;
} ctl_cuda_rows_head;

enum { CTL_CUDA_MOST_ROWS = 1 << 30 };

static inline size_t ctl_cuda_rows_bytes(const ctl_cuda_kernel *k) {
    return sizeof(ctl_cuda_rows_head) + k->noperands * sizeof(ctl_rows_arg) + k->nsites * sizeof(uint32_t);
}
/* Blocks of a launch, at most `most` (and at most so many groups use scratch). */
int64_t ctl_cuda_rows_blocks(const ctl_cuda_kernel *k, int64_t rows, int64_t most);
/* The form that operands ask for; of a base its last four bits count. dtypes: of the operands. */
ctl_cuda_form ctl_cuda_rows_form(const ctl_cuda_kernel *k, const ctl_rows_arg *args, const ctl_dtype *dtypes);
/* Fills the structure, of ctl_cuda_rows_bytes. False: the kernel has no form for these operands. */
bool ctl_cuda_rows_call(const ctl_cuda_kernel *k, const ctl_cuda_rows_head *head, const ctl_rows_arg *args,
                        const ctl_dtype *dtypes, const uint32_t *sites, void *call);

#endif
