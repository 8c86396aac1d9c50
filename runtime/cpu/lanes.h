/* lanes: what the engine's own kernels (lanes_*.c) offer, one table for each level of instruction set. All of
 * them are compiled from the same text for 16 lanes; ctl_lanes_choose takes the best that this machine runs.
 *
 * A dword is 32 bits of an operand along the summed dimension: one f32, or two neighbouring bf16. A product
 * of tiles takes its left operand by strides, wherever it lies, and its right operand packed as rows of
 * dwords. */
#ifndef CTL_CPU_LANES_H
#define CTL_CPU_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/dtype.h"

/* ---- matrix epilogues ---- */
typedef struct ctl_epilogue {
    const float *acc; /* [rows, cols], dense rows of acc_stride; may be c itself */
    int64_t acc_stride, rows, cols;
    void *c; /* f32 or bf16 */
    int64_t c_stride;
    const void *bias;   /* NULL: none; [cols] */
    const void *addend; /* NULL: none */
    int64_t addend_stride;
    bool c_bf16, bias_bf16, addend_bf16, accumulate;
} ctl_epilogue;

/* ---- attention ---- */
typedef struct ctl_panel { /* a matrix whose rows are tokens */
    char *at;
    int64_t stride; /* elements */
    bool bf16;
} ctl_panel;

typedef struct ctl_attend {
    ctl_panel q, k, v, o, d_o, dq, dk, dv;
    float *lse;
    int64_t lse_stride;
    int64_t head, group; /* elements; query heads of a key-value head */
    int64_t window;      /* 0: none */
    bool causal, bf16;   /* bf16: dtype of the products' operands, which q, k, v (and d_o) have */
} ctl_attend;

enum {
    CTL_ATTEND_QUERIES = 64, /* rows of a tile of queries */
    CTL_ATTEND_KEYS = 128,   /* and of keys */
    CTL_ATTEND_UNIT = 512    /* query rows of one forward unit: packed values are shared by them */
};

/* Rows begin .. begin + length - 1 of the batch are one document. first, count: query rows of it (multiples
 * of CTL_ATTEND_QUERIES, but at the document's end). */
typedef struct ctl_attend_unit {
    int64_t begin, length, first, count;
    int64_t kv_head;
} ctl_attend_unit;

/* ---- one block of a matrix product ---- */
typedef struct ctl_block {
    int64_t m, n, k;
    const void *a, *b;
    int64_t lda, ldb; /* elements from a stored row to the next */
    bool transpose_a, transpose_b, bf16;
    float *c; /* [m, n rounded up to 16], dense */
} ctl_block;
enum { CTL_BLOCK_DEPTH = 256 }; /* dwords of k at a time */

/* op(b) [k, n] of such a block, in panels of so many columns (dnnl.h). */
typedef struct ctl_pack {
    const void *b;
    int64_t n, k, ldb, panel;
    bool transpose_b, bf16;
    void *out;
} ctl_pack;

typedef struct ctl_lanes {
    const char *name;
    /* c (+ c) (+ bias) (+ addend), rounded to c's dtype. */
    void (*epilogue)(const ctl_epilogue *e);
    /* One row of cross-entropy: returns log(sum(exp(x))) - x[label]. With d not NULL also writes d =
     * (softmax(x) - onehot(label)) * scale there, rounded to bf16 or not; d may be x, in place. */
    float (*cross_entropy)(float *x, int64_t n, int64_t label, float scale, void *d, bool bf16);
    void (*product)(const ctl_block *b, char *scratch);
    void (*pack)(const ctl_pack *p);
    void (*attend)(const ctl_attend *a, const ctl_attend_unit *u, char *scratch);
    void (*attend_grad)(const ctl_attend *a, const ctl_attend_unit *u, char *scratch);
} ctl_lanes;

const ctl_lanes *ctl_lanes_choose(void);
extern const ctl_lanes ctl_lanes_base, ctl_lanes_v3, ctl_lanes_v4, ctl_lanes_bf16;

/* Bytes of scratch for one thread: documents of at most `longest` rows. */
size_t ctl_block_scratch(int64_t m, int64_t n);
size_t ctl_attend_scratch(int64_t head, int64_t longest, bool bf16);
size_t ctl_attend_grad_scratch(int64_t head, int64_t longest, bool bf16);

#endif
