/* build: what the files of the CPU emitter share. A builder holds one LLVM module while its kernels are
 * written, and what is known of the kernel, the row and the chunk of 16 columns at hand.
 *
 * Values are either one number (scalar types) or 16 neighbouring columns (vectors of 16); each helper takes
 * the shape from its operands, so operations and polynomials are written once for both. Nothing here
 * allocates but LLVM. */
#ifndef CTL_EMIT_CPU_BUILD_H
#define CTL_EMIT_CPU_BUILD_H

#include <llvm-c/Core.h>

#include "compiler/kernel/rowprog_schedule.h"

enum { CTL_LANES = 16 };

typedef struct ctl_cpu_shape {
    unsigned lanes;
    LLVMTypeRef real, word, half, truth; /* f32, i32, i16, i1, or vectors of 16 */
} ctl_cpu_shape;

/* Words of Philox made for 64 columns at once, four for each lane, for the next chunks of the same group. */
typedef struct ctl_cpu_words {
    uint64_t group; /* 0: none */
    int64_t block;
    LLVMValueRef word[4];
} ctl_cpu_words;

typedef struct ctl_cpu_operand {
    LLVMValueRef base, stride, index; /* of the call */
    LLVMValueRef outer, row;          /* of the row of the space; of the program's row */
} ctl_cpu_operand;

/* 16 columns (or, scalar, one) on which steps are evaluated. */
typedef struct ctl_cpu_chunk {
    const ctl_cpu_shape *shape;
    LLVMValueRef base;   /* i64: column of the group's begin */
    int64_t column;      /* of the chunk, from base; for numbers 0 */
    int64_t base_mod_64; /* what is known of base; -1: nothing */
    unsigned from, to;   /* lanes in use; 0 and 16 but at the ends of segments */
    uint64_t group;      /* chunks of one group see the same base */
} ctl_cpu_chunk;

typedef struct ctl_cpu_builder {
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef at;
    LLVMTypeRef ptr, i8, i64;
    ctl_cpu_shape one, many;
    LLVMValueRef lane; /* <0, 1, .. 15> of i32 */
    uint64_t groups;
    /* the kernel; arrays by operand, instruction, step and sink lie in the arena, as long as the longest
     * needs */
    const ctl_rowprog *p;
    const ctl_schedule *schedule;
    LLVMValueRef fn, scratch, step, key[2], row0;
    ctl_cpu_operand *operands;
    LLVMValueRef *sites;
    LLVMValueRef *number, *spread; /* per-row numbers, and in all lanes */
    LLVMValueRef *value;           /* of the steps of a chunk */
    LLVMValueRef *sums;            /* accumulators of the sinks of a loop */
    LLVMValueRef *phis;
    ctl_cpu_words *words;
    /* the row */
    LLVMValueRef t, h, batch_row, first_of_chunk;
} ctl_cpu_builder;

typedef struct ctl_cpu_sizes { /* the longest of each array */
    uint32_t operands, sites, instrs, sinks;
    size_t steps;
} ctl_cpu_sizes;

void ctl_cpu_builder_arrays(ctl_cpu_builder *e, ctl_arena *arena, const ctl_cpu_sizes *sizes);
void ctl_cpu_builder_open(ctl_cpu_builder *e, const char *name);
void ctl_cpu_builder_close(ctl_cpu_builder *e); /* the module too, unless it was taken */

/* kernel.c: writes the function `name` for e->p and e->schedule. */
void ctl_cpu_build_kernel(ctl_cpu_builder *e, const char *name);

/* ops.c */
const ctl_cpu_shape *ctl_cpu_shape_of(const ctl_cpu_builder *e, LLVMValueRef x);
LLVMValueRef ctl_cpu_real(const ctl_cpu_shape *shape, double x);
LLVMValueRef ctl_cpu_word(const ctl_cpu_shape *shape, uint32_t x);
LLVMValueRef ctl_cpu_i64(const ctl_cpu_builder *e, int64_t x);
LLVMValueRef ctl_cpu_spread(ctl_cpu_builder *e, LLVMValueRef number, LLVMTypeRef type);
LLVMValueRef ctl_cpu_intrinsic(ctl_cpu_builder *e, const char *name, LLVMTypeRef type, LLVMValueRef *args,
                               unsigned n);
LLVMValueRef ctl_cpu_choose_max(ctl_cpu_builder *e, LLVMValueRef x,
                                LLVMValueRef most); /* x > most ? x : most */
LLVMValueRef ctl_cpu_mask(const ctl_cpu_builder *e, const ctl_cpu_chunk *chunk);
LLVMValueRef ctl_cpu_apply(ctl_cpu_builder *e, const ctl_row_instr *q, LLVMValueRef *in);
LLVMValueRef ctl_cpu_index(ctl_cpu_builder *e, const ctl_cpu_chunk *chunk, int64_t offset);
/* From memory: `row` points at column 0. */
LLVMValueRef ctl_cpu_load(ctl_cpu_builder *e, const ctl_cpu_chunk *chunk, ctl_dtype dtype, LLVMValueRef row,
                          int64_t offset);
void ctl_cpu_store(ctl_cpu_builder *e, const ctl_cpu_chunk *chunk, ctl_dtype dtype, LLVMValueRef row,
                   LLVMValueRef x);

/* drop.c */
LLVMValueRef ctl_cpu_drop(ctl_cpu_builder *e, const ctl_cpu_chunk *chunk, uint32_t instr, int64_t offset,
                          LLVMValueRef x);

/* math.c: the functions of math.def; y only for pow. */
LLVMValueRef ctl_cpu_math(ctl_cpu_builder *e, uint32_t op, LLVMValueRef x, LLVMValueRef y);

#endif
