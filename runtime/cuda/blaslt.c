/* blaslt: see blaslt.h. */
#include "runtime/cuda/blaslt.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so",
                                    "/usr/local/cuda/lib64/libcublasLt.so", NULL};
static const ctl_cuda_library library = {names, "CUDA's library of products (libcublasLt.so, of CUDA 12 or 13)", "CUDA 11", NULL};

ctl_status ctl_blaslt_open(ctl_blaslt *b, const ctl_cuda_folders *folders, char why[CTL_CUDA_WHY]) {
    *b = (ctl_blaslt){0};
    const ctl_cuda_entry_point entries[] = {
        {"cublasLtGetVersion", &b->version},
        {"cublasLtCreate", &b->create},
        {"cublasLtDestroy", &b->destroy},
        {"cublasLtMatmulDescCreate", &b->desc_create},
        {"cublasLtMatmulDescDestroy", &b->desc_destroy},
        {"cublasLtMatmulDescSetAttribute", &b->desc_set},
        {"cublasLtMatrixLayoutCreate", &b->layout_create},
        {"cublasLtMatrixLayoutDestroy", &b->layout_destroy},
        {"cublasLtMatrixLayoutSetAttribute", &b->layout_set},
        {"cublasLtMatmulPreferenceCreate", &b->want_create},
        {"cublasLtMatmulPreferenceDestroy", &b->want_destroy},
        {"cublasLtMatmulPreferenceSetAttribute", &b->want_set},
        {"cublasLtMatmulAlgoGetHeuristic", &b->propose},
        {"cublasLtMatmulAlgoCheck", &b->check},
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
    case CTL_BLASLT_NOT_INITIALIZED:
        return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CTL_BLASLT_NO_MEMORY:
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

static int64_t stride_of(const ctl_blaslt_matrix *m) { return m->stride > m->cols ? m->stride : m->cols; } /* of one row it says nothing */

/* ---- forms ---- */
typedef struct line {
    char *at;
    size_t n;
} line;
static void put(line *l, const char *fmt, ...) CTL_PRINTF(2, 3);
static void put(line *l, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    l->n += (size_t)vsnprintf(l->at + l->n, CTL_BLASLT_FORM - l->n, fmt, args);
    va_end(args);
}

static void put_matrix(line *l, const char *before, const ctl_blaslt_form *f, const ctl_blaslt_matrix *m, bool turned) {
    put(l, "%s%s[%" PRId64 ",%" PRId64 ";%" PRId64, before, ctl_dtype_name(m->dtype), m->rows, m->cols, stride_of(m));
    if (f->batch > 1) put(l, ";%" PRId64, m->step);
    put(l, "@%" PRIu32 "]%s", alignment(m->slack), turned ? "'" : "");
}

/* Four matrices of four 64-bit numbers each, and what is between them, take less than CTL_BLASLT_FORM bytes. */
void ctl_blaslt_form_text(const ctl_blaslt_form *f, char text[CTL_BLASLT_FORM]) {
    line l = {text, 0};
    if (f->batch > 1) put(&l, "%" PRId32 " times ", f->batch);
    put_matrix(&l, "", f, &f->d, false);
    put_matrix(&l, " = ", f, &f->a, f->transpose_a);
    put_matrix(&l, " * ", f, &f->b, f->transpose_b);
    if (f->has_add) put_matrix(&l, " + ", f, &f->add, false);
    if (f->has_bias) put(&l, " + bias@%" PRIu32, alignment(f->bias_slack));
    put(&l, ", %zu", f->workspace);
}

/* ---- products ---- */
static int layout(const ctl_blaslt *t, const ctl_blaslt_form *f, const ctl_blaslt_matrix *m, void **out) {
    int error = t->layout_create(out, m->dtype == CTL_BF16 ? CTL_BLASLT_BF16 : CTL_BLASLT_F32, (uint64_t)m->cols,
                                 (uint64_t)m->rows, stride_of(m));
    if (!error && f->batch > 1) error = t->layout_set(*out, CTL_BLASLT_LAYOUT_BATCH, &f->batch, sizeof f->batch);
    if (!error && f->batch > 1) error = t->layout_set(*out, CTL_BLASLT_LAYOUT_STEP, &m->step, sizeof m->step);
    return error;
}

int ctl_blaslt_describe(const ctl_blaslt *t, const ctl_blaslt_form *f, ctl_blaslt_product *out) {
    const int32_t first = f->transpose_b, second = f->transpose_a;
    const uint32_t epilogue = CTL_BLASLT_EPILOGUE_BIAS;
    const uint64_t seen = CTL_BLASLT_ALIGN + f->bias_slack;
    *out = (ctl_blaslt_product){.adds = f->has_add};
    int error = t->desc_create(&out->desc, CTL_BLASLT_COMPUTE_F32, CTL_BLASLT_F32);
    if (!error) error = t->desc_set(out->desc, CTL_BLASLT_DESC_TRANSPOSE_A, &first, sizeof first);
    if (!error) error = t->desc_set(out->desc, CTL_BLASLT_DESC_TRANSPOSE_B, &second, sizeof second);
    if (!error && f->has_bias) error = t->desc_set(out->desc, CTL_BLASLT_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (!error && f->has_bias) error = ctl_blaslt_set_bias(t, out, seen);
    if (!error) error = layout(t, f, &f->b, &out->a);
    if (!error) error = layout(t, f, &f->a, &out->b);
    if (!error) error = layout(t, f, f->has_add ? &f->add : &f->d, &out->c);
    if (!error) error = layout(t, f, &f->d, &out->d);
    return error;
}

int ctl_blaslt_set_bias(const ctl_blaslt *t, const ctl_blaslt_product *p, ctl_cu_pointer bias) {
    return t->desc_set(p->desc, CTL_BLASLT_DESC_BIAS, &bias, sizeof bias);
}

static int ask(const ctl_blaslt *t, void *handle, const ctl_blaslt_form *f, const ctl_blaslt_product *p, void *want,
               ctl_blaslt_choice *out) {
    const size_t slack[] = {f->b.slack, f->a.slack, f->has_add ? f->add.slack : f->d.slack, f->d.slack};
    const uint64_t workspace = f->workspace;
    ctl_blaslt_proposal proposal = {0};
    int n = 0, error = t->want_set(want, CTL_BLASLT_WANT_WORKSPACE, &workspace, sizeof workspace);
    for (int k = 0; k < 4 && !error; k++) {
        const uint32_t bytes = alignment(slack[k]);
        error = t->want_set(want, CTL_BLASLT_WANT_ALIGNMENT + k, &bytes, sizeof bytes);
    }
    if (!error) error = t->propose(handle, p->desc, p->a, p->b, p->c, p->d, want, 1, &proposal, &n);
    if (!error) error = n < 1 ? CTL_BLASLT_NOT_SUPPORTED : proposal.state;
    *out = (ctl_blaslt_choice){proposal.algorithm, proposal.workspace};
    return error;
}

int ctl_blaslt_propose(const ctl_blaslt *t, void *handle, const ctl_blaslt_form *f, const ctl_blaslt_product *p,
                       ctl_blaslt_choice *out) {
    void *want = NULL;
    int error = t->want_create(&want);
    if (!error) error = ask(t, handle, f, p, want, out);
    if (want) t->want_destroy(want);
    return error;
}

bool ctl_blaslt_accepts(const ctl_blaslt *t, void *handle, const ctl_blaslt_product *p, const ctl_blaslt_choice *c) {
    ctl_blaslt_proposal result = {0};
    return t->check(handle, p->desc, p->a, p->b, p->c, p->d, &c->algorithm, &result) == 0 && result.state == 0 &&
           result.workspace <= c->workspace;
}

void ctl_blaslt_drop(const ctl_blaslt *t, ctl_blaslt_product *p) {
    void *const layouts[] = {p->a, p->b, p->c, p->d};
    for (size_t k = 0; k < CTL_COUNT(layouts); k++)
        if (layouts[k]) t->layout_destroy(layouts[k]);
    if (p->desc) t->desc_destroy(p->desc);
    *p = (ctl_blaslt_product){0};
}

static void *pointer(ctl_cu_pointer at) { return (void *)(uintptr_t)at; }

int ctl_blaslt_run(const ctl_blaslt *t, void *handle, const ctl_blaslt_product *p, const ctl_blaslt_choice *c, ctl_cu_pointer a,
                   ctl_cu_pointer b, ctl_cu_pointer add, ctl_cu_pointer d, ctl_cu_pointer workspace, void *stream) {
    const float one = 1, beta = p->adds ? 1 : 0;
    return t->multiply(handle, p->desc, &one, pointer(b), p->a, pointer(a), p->b, &beta, pointer(p->adds ? add : d), p->c,
                       pointer(d), p->d, &c->algorithm, pointer(workspace), c->workspace, stream);
}
