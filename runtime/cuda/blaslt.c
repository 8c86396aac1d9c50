/* blaslt: see blaslt.h. */
#include "runtime/cuda/blaslt.h"

#include <dlfcn.h>

static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so",
                                    "/usr/local/cuda/lib64/libcublasLt.so", NULL};
static const ctl_cuda_library library = {names, "CUDA's library of products (libcublasLt.so, of CUDA 12 or 13)", "CUDA 11"};

ctl_status ctl_blaslt_open(ctl_blaslt *b, const ctl_cuda_folders *folders, char why[CTL_CUDA_WHY]) {
    *b = (ctl_blaslt){0};
    const ctl_cuda_entry_point entries[] = {
        {"cublasLtCreate", &b->create},
        {"cublasLtDestroy", &b->destroy},
        {"cublasLtMatmulDescCreate", &b->desc_create},
        {"cublasLtMatmulDescDestroy", &b->desc_destroy},
        {"cublasLtMatmulDescSetAttribute", &b->desc_set},
        {"cublasLtMatrixLayoutCreate", &b->layout_create},
        {"cublasLtMatrixLayoutDestroy", &b->layout_destroy},
        {"cublasLtMatmulPreferenceCreate", &b->want_create},
        {"cublasLtMatmulPreferenceDestroy", &b->want_destroy},
        {"cublasLtMatmulPreferenceSetAttribute", &b->want_set},
        {"cublasLtMatmulAlgoGetHeuristic", &b->propose},
        {"cublasLtMatmul", &b->multiply},
    };
    b->library = ctl_cuda_library_open(&library, folders, entries, CTL_COUNT(entries), why);
    return b->library ? CTL_OK : CTL_ERR_UNSUPPORTED;
}

void ctl_blaslt_close(ctl_blaslt *b) {
    if (b->library) dlclose(b->library);
    *b = (ctl_blaslt){0};
}

const char *ctl_blaslt_error(int error) {
    switch (error) {
    case 1:
        return "CUBLAS_STATUS_NOT_INITIALIZED";
    case 3:
        return "CUBLAS_STATUS_ALLOC_FAILED";
    case 7:
        return "CUBLAS_STATUS_INVALID_VALUE";
    case 8:
        return "CUBLAS_STATUS_ARCH_MISMATCH";
    case 13:
        return "CUBLAS_STATUS_EXECUTION_FAILED";
    case 14:
        return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CTL_BLASLT_NOT_SUPPORTED:
        return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
        return "an error of cuBLASLt's";
    }
}

/* The largest power of two that divides the address of every row, at most CTL_BLASLT_ALIGN. cuBLASLt knows the stride. */
static uint32_t alignment(size_t slack) {
    uint32_t most = CTL_BLASLT_ALIGN;
    while (slack % most) most /= 2;
    return most;
}

static int layout(const ctl_blaslt *t, const ctl_blaslt_matrix *m, void **out) {
    const int64_t stride = m->stride > m->cols ? m->stride : m->cols; /* of one row it says nothing */
    return t->layout_create(out, m->dtype == CTL_BF16 ? CTL_BLASLT_BF16 : CTL_BLASLT_F32, (uint64_t)m->cols,
                            (uint64_t)m->rows, stride);
}

static int describe(const ctl_blaslt *t, const ctl_blaslt_form *f, uint64_t bias, ctl_blaslt_product *out) {
    const int32_t first = f->transpose_b, second = f->transpose_a;
    const uint32_t epilogue = CTL_BLASLT_EPILOGUE_BIAS;
    int error = t->desc_create(&out->desc, CTL_BLASLT_COMPUTE_F32, CTL_BLASLT_F32);
    if (!error) error = t->desc_set(out->desc, CTL_BLASLT_DESC_TRANSPOSE_A, &first, sizeof first);
    if (!error) error = t->desc_set(out->desc, CTL_BLASLT_DESC_TRANSPOSE_B, &second, sizeof second);
    if (!error && f->has_bias) error = t->desc_set(out->desc, CTL_BLASLT_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (!error && f->has_bias) error = t->desc_set(out->desc, CTL_BLASLT_DESC_BIAS, &bias, sizeof bias);
    if (!error) error = layout(t, &f->b, &out->a);
    if (!error) error = layout(t, &f->a, &out->b);
    if (!error) error = layout(t, f->has_add ? &f->add : &f->d, &out->c);
    if (!error) error = layout(t, &f->d, &out->d);
    return error;
}

static int choose(const ctl_blaslt *t, void *handle, const ctl_blaslt_form *f, void *want, uint64_t workspace,
                  ctl_blaslt_product *out) {
    const size_t slack[] = {f->b.slack, f->a.slack, f->has_add ? f->add.slack : f->d.slack, f->d.slack};
    ctl_blaslt_proposal proposal = {0};
    int n = 0, error = t->want_set(want, CTL_BLASLT_WANT_WORKSPACE, &workspace, sizeof workspace);
    for (int k = 0; k < 4 && !error; k++) {
        const uint32_t bytes = alignment(slack[k]);
        error = t->want_set(want, CTL_BLASLT_WANT_ALIGNMENT + k, &bytes, sizeof bytes);
    }
    if (!error) error = t->propose(handle, out->desc, out->a, out->b, out->c, out->d, want, 1, &proposal, &n);
    if (!error) error = n < 1 ? CTL_BLASLT_NOT_SUPPORTED : proposal.state;
    out->algorithm = proposal.algorithm;
    return error;
}

int ctl_blaslt_prepare(const ctl_blaslt *t, void *handle, const ctl_blaslt_form *f, ctl_cu_pointer bias, size_t workspace,
                       ctl_blaslt_product *out) {
    void *want = NULL;
    *out = (ctl_blaslt_product){.adds = f->has_add};
    /* What the choice sees of the bias's address is its alignment alone; the address itself takes its place afterwards. */
    const uint64_t seen = f->has_bias ? CTL_BLASLT_ALIGN + f->bias_slack : 0;
    int error = describe(t, f, seen, out);
    if (!error) error = t->want_create(&want);
    if (!error) error = choose(t, handle, f, want, workspace, out);
    if (want) t->want_destroy(want);
    if (!error && f->has_bias) error = t->desc_set(out->desc, CTL_BLASLT_DESC_BIAS, &bias, sizeof bias);
    return error;
}

void ctl_blaslt_drop(const ctl_blaslt *t, ctl_blaslt_product *p) {
    void *const layouts[] = {p->a, p->b, p->c, p->d};
    for (size_t k = 0; k < CTL_COUNT(layouts); k++)
        if (layouts[k]) t->layout_destroy(layouts[k]);
    if (p->desc) t->desc_destroy(p->desc);
    *p = (ctl_blaslt_product){0};
}

static void *pointer(ctl_cu_pointer at) { return (void *)(uintptr_t)at; }

int ctl_blaslt_run(const ctl_blaslt *t, void *handle, const ctl_blaslt_product *p, ctl_cu_pointer a, ctl_cu_pointer b,
                   ctl_cu_pointer add, ctl_cu_pointer d, ctl_cu_pointer workspace, size_t bytes, void *stream) {
    const float one = 1, beta = p->adds ? 1 : 0;
    return t->multiply(handle, p->desc, &one, pointer(b), p->a, pointer(a), p->b, &beta, pointer(p->adds ? add : d), p->c,
                       pointer(d), p->d, &p->algorithm, pointer(workspace), bytes, stream);
}
