/* execute: the executor's own state, shared by its files. */
#ifndef CTL_REFERENCE_EXECUTE_H
#define CTL_REFERENCE_EXECUTE_H

#include "base/base.h"
#include "compiler/reference/reference.h"

typedef struct ref_data { /* a leaf's data, wherever it lies; NULL: absent */
    const void *at;
    ctl_dtype dtype; /* F64, F32, I32 */
} ref_data;

struct ctl_reference {
    const ctl_graph *g;
    ctl_dtype compute;
    bool single; /* results are rounded to f32 */
    const ctl_allocator *allocator;
    size_t *offset; /* n + 1: each node's first double in the values, its parts behind the first result */
    bool *ready;    /* n */
    bool *wanted;   /* n: scratch of eval */
    double *values;
    ref_data *params, *inputs, positions, lengths, normaliser;
    uint64_t seed;
    uint32_t step;
    int64_t first_row;
    double *leaves; /* storage of the leaves when the executor owns it, else NULL */
    size_t leaves_bytes, index_bytes;
    double own_normaliser;
    bool owns_values;
    char why[160];
    ctl_node_id at; /* the node that ran last */
};

/* Doubles that all values of g take; false: more than memory can be. */
bool ref_values_size(const ctl_graph *g, size_t *count);
/* Without leaf data. values: room for ref_values_size doubles, or NULL to allocate it. */
ctl_status ref_open(const ctl_graph *g, ctl_dtype compute, const ctl_allocator *a, double *values,
                    ctl_reference **out);
/* Computes the nodes of a rate (of rate step: of an entry, and the leaves) in order. */
ctl_status ref_run(ctl_reference *r, ctl_rate rate, ctl_entry entry);

/* The place in its document of row t of a space of documents, and that document's length; of a space with rows before
 * each sequence's tokens from those of tokens. */
void ref_place(const ctl_reference *r, int space, int64_t t, int64_t *position, int64_t *length);

static inline double ref_round(const ctl_reference *r, double x) { return r->single ? (double)(float)x : x; }
double ref_bf16(double x);
/* What a fused task multiplies. */
static inline double ref_operand(const ctl_reference *r, double x) {
    return r->compute == CTL_BF16 ? ref_bf16(x) : x;
}
static inline double *ref_value(const ctl_reference *r, ctl_node_id id) { return r->values + r->offset[id]; }
/* The k-th result of a fused node. */
double *ref_part(const ctl_reference *r, ctl_node_id id, int64_t k);
ctl_status ref_fail(ctl_reference *r, const char *fmt, ...) CTL_PRINTF(2, 3); /* CTL_ERR_INPUT */

/* One operation each; results are written in place. */
void ref_map(ctl_reference *r, ctl_node_id id);          /* maps.c: MAP, REDUCE, COLUMN */
ctl_status ref_move(ctl_reference *r, ctl_node_id id);   /* moves.c: leaves, VIEW, ROWMAP */
void ref_matmul(ctl_reference *r, ctl_node_id id);       /* products.c */
void ref_mix(ctl_reference *r, ctl_node_id id);          /* products.c: and its gradient */
ctl_status ref_attend(ctl_reference *r, ctl_node_id id); /* products.c: and its gradient */
ctl_status ref_head(ctl_reference *r, ctl_node_id id);   /* products.c */

#endif
