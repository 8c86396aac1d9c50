/* rowprog: the kernel language. A row program computes, for every row of a row space, some rows of output
 * from rows of input: elementwise code, reductions along the row, column sums over rows. Fusing is
 * concatenation: the group pass writes one program for many nodes of the graph, and both emitters (CPU
 * through LLVM, CUDA source) read this.
 *
 * A program is a list of instructions in SSA form; an instruction's number is its value. A value is a row of
 * `width` f32 numbers; width 1 is one number for the row and broadcasts. With split = s a row of the space
 * holds s rows of the program, run one after the other (attention heads); everything below is then per
 * program row.
 *
 * The bits are fixed by this text, not by the emitter:
 * - every operation is one IEEE f32 operation, or the polynomial that math.h here names; nothing is
 *   contracted;
 * - SUM: lane j of 16 adds columns j, j + 16, .. in order from +0; then lanes are added in a tree:
 *   l[j] + l[j + 8], then + 4, + 2, + 1. ROWMAX is the same from -inf with x > l ? x : l, which skips NaN;
 * - COLSUM: rows of a chunk (CTL_ROW_CHUNK rows of the space) are added in order from +0; TASK_FOLD adds
 *   the chunks;
 * - DROP: base/random.h, by global row ((row0 + t) * split + h) and column;
 * - a load of bf16 is exact; CAST to bf16 rounds to nearest even by integer arithmetic; a store of a value
 *   that is not a CAST to the operand's dtype is a defect (the verifier of row programs says so), except f32
 *   and i32.
 * So a program cut in two, with the values between stored as f32, gives the same bits. */
#ifndef CTL_ROWPROG_H
#define CTL_ROWPROG_H

#include "compiler/graph/graph.h"
#include "runtime/program.h"

typedef enum ctl_row_op {
    ROW_LOAD = OP_COUNT, /* operand i[0]. i32 becomes f32 */
    ROW_STORE,           /* a to operand i[0] */
    ROW_ADD_TO,          /* operand i[0] (f32, at ROW or FIXED rows) += a */
    ROW_COLSUM,          /* a's column sums to operand i[0] (AT_CHUNK, f32) */
    ROW_OP_COUNT
} ctl_row_op;
/* Also, with their meaning in ops.def: CONST INDEX, all MAPs (TOREAL, STATE and STOP are not used), SUM,
 * ROWMAX, COLUMNS, CAT. */

typedef enum ctl_row_at {
    AT_ROW,    /* base + t * stride + h * cols elements, for row t of the space and its part h of split */
    AT_OUTER,  /* base + t * stride: the same for all parts */
    AT_FIXED,  /* base: the same for all rows */
    AT_GATHER, /* base + index[t] * stride (split must be 1) */
    AT_CHUNK   /* base + (t / CTL_ROW_CHUNK) * stride: written once a chunk */
} ctl_row_at;

enum { CTL_ROW_WIDEST = 1 << 30 }; /* columns */

typedef struct ctl_row_operand {
    ctl_row_at at;
    ctl_dtype dtype; /* F32, BF16, I32 */
    int64_t cols;    /* of a program row; 1: one number */
} ctl_row_operand;

typedef struct ctl_row_instr {
    uint16_t op;   /* ctl_op or ctl_row_op */
    uint8_t dtype; /* CAST: to what */
    int64_t width; /* of the result; of the stored value for stores */
    uint32_t nin;
    uint32_t *in; /* earlier instructions */
    int64_t i[3]; /* as in ops.def; DROP: i[0] is the number of the site in ctl_rows_call.sites, f is p */
    double f;
} ctl_row_instr;

typedef struct ctl_rowprog {
    int32_t split;
    ctl_row_operand *operands;
    uint32_t noperands;
    ctl_row_instr *at;
    uint32_t n;
    uint32_t nsites;
} ctl_rowprog;

/* False and a sentence, static, in *why for what no emitter may be given. */
bool ctl_rowprog_verify(const ctl_rowprog *p, const char **why);
void ctl_rowprog_print(const ctl_rowprog *p, ctl_text *out);
/* Equal programs have equal bytes here: the key under which a kernel is compiled once. */
void ctl_rowprog_key(const ctl_rowprog *p, ctl_text *out);
/* Floats of scratch that one thread needs (rows kept between passes), a multiple of 16. Known without an
 * emitter. */
size_t ctl_rowprog_scratch(const ctl_rowprog *p, ctl_arena *arena);
bool ctl_rowprog_sums_columns(const ctl_rowprog *p);
/* Whether the stored operand may lie exactly on the loaded one (both at ROW, equal base and stride): whatever
 * is read from it in a row is read before it is overwritten. Every other operand that touches that memory
 * must be asked about too. */
bool ctl_rowprog_overlays(const ctl_rowprog *p, uint32_t loaded, uint32_t stored, ctl_arena *arena);

#endif
