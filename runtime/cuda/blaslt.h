/* blaslt: cuBLASLt, as a table of the entry points that are used, and a product by them. Names, signatures and numbers are those
 * of cublasLt.h and cublas_api.h of CUDA 12.0.
 *
 * cuBLASLt sees matrices by columns, so what lies in rows is its transpose there: c = op(a) op(b) is asked for as
 * c' = op(b)' op(a)'. A product's algorithm is the first that cuBLASLt proposes for its form: shapes, strides, types, alignments
 * and a fixed workspace. None of these depends on where a plan has put the operands - of an address only what lies behind its
 * buffer's begin counts - so a product has the same algorithm, and the same bits, in every plan. choices.h keeps what was
 * proposed. */
#ifndef CTL_RUNTIME_CUDA_BLASLT_H
#define CTL_RUNTIME_CUDA_BLASLT_H

#include <stdint.h>

#include "ctl/dtype.h"
#include "runtime/cuda/driver.h"

typedef struct ctl_blaslt_algorithm { /* cublasLtMatmulAlgo_t: may be kept, and used again with the same version */
    uint64_t data[8];
} ctl_blaslt_algorithm;
typedef struct ctl_blaslt_proposal { /* cublasLtMatmulHeuristicResult_t */
    ctl_blaslt_algorithm algorithm;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
} ctl_blaslt_proposal;

enum { /* cublasComputeType_t, cudaDataType, and attributes */
    CTL_BLASLT_COMPUTE_F32 = 68,
    CTL_BLASLT_F32 = 0,
    CTL_BLASLT_BF16 = 14,
    CTL_BLASLT_DESC_TRANSPOSE_A = 3,
    CTL_BLASLT_DESC_TRANSPOSE_B = 4,
    CTL_BLASLT_DESC_EPILOGUE = 7,
    CTL_BLASLT_DESC_BIAS = 8,
    CTL_BLASLT_EPILOGUE_BIAS = 4,
    CTL_BLASLT_LAYOUT_BATCH = 5,
    CTL_BLASLT_LAYOUT_STEP = 6,
    CTL_BLASLT_WANT_WORKSPACE = 1,
    CTL_BLASLT_WANT_ALIGNMENT = 5, /* of A; B's, C's and D's are 6, 7 and 8 */
    CTL_BLASLT_NOT_INITIALIZED = 1,
    CTL_BLASLT_NO_MEMORY = 3,
    CTL_BLASLT_NOT_SUPPORTED = 15
};

typedef struct ctl_blaslt {
    void *library; /* NULL in a stand-in */
    size_t (*version)(void);
    int (*create)(void **handle);
    int (*destroy)(void *handle);
    int (*desc_create)(void **desc, int compute, int scale);
    int (*desc_destroy)(void *desc);
    int (*desc_set)(void *desc, int attribute, const void *value, size_t size);
    int (*layout_create)(void **layout, int type, uint64_t rows, uint64_t cols, int64_t stride);
    int (*layout_destroy)(void *layout);
    int (*layout_set)(void *layout, int attribute, const void *value, size_t size);
    int (*want_create)(void **want);
    int (*want_destroy)(void *want);
    int (*want_set)(void *want, int attribute, const void *value, size_t size);
    int (*propose)(void *handle, void *desc, void *a, void *b, void *c, void *d, void *want, int most,
                   ctl_blaslt_proposal *proposals, int *n);
    int (*check)(void *handle, void *desc, void *a, void *b, void *c, void *d, const ctl_blaslt_algorithm *algorithm,
                 ctl_blaslt_proposal *result);
    int (*multiply)(void *handle, void *desc, const void *alpha, const void *a, void *a_layout, const void *b, void *b_layout,
                    const void *beta, const void *c, void *c_layout, void *d, void *d_layout,
                    const ctl_blaslt_algorithm *algorithm, void *workspace, size_t bytes, void *stream);
} ctl_blaslt;

ctl_status ctl_blaslt_open(ctl_blaslt *b, const ctl_cuda_folders *folders, char why[CTL_CUDA_WHY]);
void ctl_blaslt_close(ctl_blaslt *b);

/* A matrix in rows, or as many as there are products at once. slack: bytes of their addresses behind a multiple of CTL_BLASLT_ALIGN.
 * step: elements from one to the next; 0: one is for all. */
typedef struct ctl_blaslt_matrix {
    ctl_dtype dtype; /* f32 or bf16 */
    int64_t rows, cols, stride;
    size_t slack;
    int64_t step;
} ctl_blaslt_matrix;
enum { CTL_BLASLT_ALIGN = 64 };

/* d = op(a) op(b) (+ add, of d's shape and type) (+ bias [1, n], of d's type), with so many bytes of workspace at most; so many at
 * once (0 and 1: one), whose results lie apart. */
typedef struct ctl_blaslt_form {
    ctl_blaslt_matrix a, b, d, add;
    bool transpose_a, transpose_b, has_add, has_bias;
    size_t bias_slack, workspace;
    int32_t batch;
} ctl_blaslt_form;

/* All that an algorithm is chosen by, as a line: equal texts, equal choices. */
enum { CTL_BLASLT_FORM = 512 };
void ctl_blaslt_form_text(const ctl_blaslt_form *form, char text[CTL_BLASLT_FORM]);

typedef struct ctl_blaslt_choice {
    ctl_blaslt_algorithm algorithm;
    size_t workspace; /* bytes that it takes */
} ctl_blaslt_choice;

typedef struct ctl_blaslt_product {
    void *desc, *a, *b, *c, *d;
    size_t choice; /* its number in the session's table (choices.h) */
    bool adds;
} ctl_blaslt_product;

/* Each returns 0, or cuBLASLt's error. What describe made is freed by drop in any case. The bias's address is set after the
 * choice, which sees its alignment alone. */
int ctl_blaslt_describe(const ctl_blaslt *blaslt, const ctl_blaslt_form *form, ctl_blaslt_product *out);
int ctl_blaslt_propose(const ctl_blaslt *blaslt, void *handle, const ctl_blaslt_form *form, const ctl_blaslt_product *product,
                       ctl_blaslt_choice *out);
int ctl_blaslt_set_bias(const ctl_blaslt *blaslt, const ctl_blaslt_product *product, ctl_cu_pointer bias);
void ctl_blaslt_drop(const ctl_blaslt *blaslt, ctl_blaslt_product *product);
/* Whether cuBLASLt takes an algorithm for a product, with the workspace that was noted for it. */
bool ctl_blaslt_accepts(const ctl_blaslt *blaslt, void *handle, const ctl_blaslt_product *product, const ctl_blaslt_choice *choice);
/* add: read where the form has one; it may be d. */
int ctl_blaslt_run(const ctl_blaslt *blaslt, void *handle, const ctl_blaslt_product *product, const ctl_blaslt_choice *choice,
                   ctl_cu_pointer a, ctl_cu_pointer b, ctl_cu_pointer add, ctl_cu_pointer d, ctl_cu_pointer workspace, void *stream);

/* cublasStatus_t as a word, static storage. */
const char *ctl_blaslt_error(int error);

#endif
