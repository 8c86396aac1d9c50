/* dnnl: blocks of matrix products by oneDNN, the only file pair that knows it (its C API, 2.6 and up of the v2 line).
 *
 * A product is made once for a form and then run with any addresses, by one thread: the engine divides work among its
 * threads itself, in pieces that do not depend on their number, which oneDNN's own division does. Only oneDNN's
 * kernels that take dense operands and all their memory from the caller (brgemm) are used; elsewhere our own tiles are
 * as fast (lanes.h), and oneDNN would allocate behind our back or fall back to a slow reference.
 *
 * Products of one set are made once each: asking again for an equal form returns the first. A set belongs to one session;
 * any of its threads may run a product of it at any time, each under its own number. */
#ifndef CTL_CPU_DNNL_H
#define CTL_CPU_DNNL_H

#include "base/base.h"
#include "ctl/dtype.h"

/* c[m, n] = op(a) op(b): c is f32 and dense. Packed, b lies in panels of columns, one after the other: rows of dwords
 * (lanes.h), as wide as the panel, zeros behind them up to a multiple of 16 rows. */
typedef struct ctl_product_form {
    int64_t m, n, k;
    int64_t lda, ldb;            /* elements from a stored row to the next */
    bool transpose_a, transpose_b, bf16, packed;
} ctl_product_form;

typedef struct ctl_product_room {
    size_t scratch, packed; /* bytes; packed: of b, where the form says so */
    int64_t panel;          /* columns of one of its panels */
} ctl_product_room;

typedef struct ctl_product ctl_product;
typedef struct ctl_products ctl_products;

/* CTL_ERR_MEMORY, or CTL_ERR_UNSUPPORTED when oneDNN has no engine here. */
ctl_status ctl_products_open(const ctl_allocator *allocator, int threads, ctl_products **out);
void ctl_products_close(ctl_products *set); /* NULL is fine */

/* The product of this form, made if need be; owned by the set. CTL_ERR_UNSUPPORTED: use our own; CTL_ERR_MEMORY. */
ctl_status ctl_products_get(ctl_products *set, const ctl_product_form *form, ctl_product **out);
/* What a form needs, without making code for it; the same statuses. */
ctl_status ctl_products_room(ctl_products *set, const ctl_product_form *form, ctl_product_room *room);

/* scratch: 64-byte aligned. oneDNN must see a team of one: omp_set_num_threads(1) was called on this thread. */
ctl_status ctl_product_run(const ctl_product *product, int thread, const void *a, const void *b, float *c, void *scratch);

#endif
