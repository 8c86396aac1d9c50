/* dnnl: matrix products by oneDNN, the only file pair that knows it (its C API, versions 2.6 and up of the v2 line).
 *
 * A product is made once for a form and a team size and then run with any addresses. Products of one set are made once
 * each: asking again for an equal form returns the first. A set belongs to one session and is used by one thread at a
 * time; a product runs on the OpenMP team whose size was set when it was made (omp_set_num_threads), which is also the
 * size that must be set when it runs. */
#ifndef CTL_CPU_DNNL_H
#define CTL_CPU_DNNL_H

#include "base/base.h"
#include "ctl/dtype.h"

typedef struct ctl_product_form {
    int64_t m, n, k;
    int64_t lda, ldb, ldc;       /* elements from a stored row to the next */
    int64_t ld_addend;           /* 0: no addend */
    ctl_dtype operands;          /* of a and b: F32 or BF16 */
    ctl_dtype c, bias, addend;   /* F32 or BF16; bias CTL_U8: no bias */
    bool transpose_a, transpose_b, accumulate;
} ctl_product_form;

typedef struct ctl_product ctl_product;
typedef struct ctl_products ctl_products;

/* threads: of the team. CTL_ERR_MEMORY, or CTL_ERR_UNSUPPORTED when oneDNN has no engine here. */
ctl_status ctl_products_open(const ctl_allocator *allocator, int threads, ctl_products **out);
void ctl_products_close(ctl_products *set); /* NULL is fine */

/* The product of this form, made if need be; owned by the set. CTL_ERR_UNSUPPORTED when oneDNN has none, or when both
 * accumulate and bias or addend are asked for; CTL_ERR_MEMORY. */
ctl_status ctl_products_get(ctl_products *set, const ctl_product_form *form, ctl_product **out);
/* Bytes of scratch for a form, without making code for it. */
ctl_status ctl_products_scratch(ctl_products *set, const ctl_product_form *form, size_t *bytes);
size_t ctl_product_scratch(const ctl_product *product);

typedef struct ctl_product_data {
    const void *a, *b, *bias, *addend;
    void *c, *scratch; /* scratch: 64-byte aligned */
} ctl_product_data;
ctl_status ctl_product_run(ctl_product *product, const ctl_product_data *data);
/* oneDNN's name of the algorithm, for reports. */
const char *ctl_product_algorithm(const ctl_product *product);

#endif
