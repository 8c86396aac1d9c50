/* mix: the rows of each sequence by one matrix, and that matrix's gradient: a product for every sequence, all of one
 * form, one after the other. Gradients are added in the order of sequences. */
#include "base/dtype.h"
#include "runtime/cpu/tasks.h"

/* The product of one sequence; the gradient's is added to. */
static bool form_of(const ctl_task *t, ctl_matmul_form *f) {
    const ctl_operand *a = &t->operands[0], *x = &t->operands[1], *out = &t->operands[2];
    const int64_t n = t->sequence;
    const bool grad = t->kind == TASK_MIX_GRAD;
    if (t->noperands < 3 || n < 1 || x->rows % n || a->dtype != x->dtype) return false;
    *f = (ctl_matmul_form){.m = n, .n = grad ? n : x->cols, .k = grad ? x->cols : n,
                           .lda = a->stride, .ldb = x->stride, .ldc = out->stride, .operands = a->dtype, .c = out->dtype,
                           .transpose_a = !grad && t->transpose_a, .transpose_b = grad, .accumulate = grad};
    if (grad) return a->rows == x->rows && a->cols == x->cols && out->rows == n && out->cols == n && out->dtype == CTL_F32;
    return a->rows == n && a->cols == n && out->rows == x->rows && out->cols == x->cols;
}

ctl_status ctl_mix_prepare(ctl_products *set, const ctl_task *task, bool make, ctl_matmul *out) {
    ctl_matmul_form form;
    return form_of(task, &form) ? ctl_matmul_prepare(set, &form, make, out) : CTL_ERR_INTERNAL;
}

ctl_status ctl_run_mix(ctl_cpu_session *s, const ctl_task *t, const ctl_prepared *p) {
    const ctl_operand *a = &t->operands[0], *x = &t->operands[1], *out = &t->operands[2];
    const bool grad = t->kind == TASK_MIX_GRAD;
    const char *left = ctl_cpu_at(s, a), *right = ctl_cpu_at(s, x);
    char *to = ctl_cpu_at(s, out);
    ctl_status status = CTL_OK;
    for (int64_t r = 0; grad && !t->accumulate && r < out->rows; r++)
        memset(to + (size_t)(r * out->stride) * sizeof(float), 0, (size_t)out->cols * sizeof(float));
    for (int64_t begin = 0; begin < x->rows && !status; begin += t->sequence) {
        const size_t rows = (size_t)begin;
        ctl_matmul_data d = {.a = left + (grad ? rows * (size_t)a->stride * ctl_dtype_size(a->dtype) : 0),
                             .b = right + rows * (size_t)x->stride * ctl_dtype_size(x->dtype),
                             .c = to + (grad ? 0 : rows * (size_t)out->stride * ctl_dtype_size(out->dtype)),
                             .scratch = ctl_cpu_at(s, &t->scratch)};
        status = ctl_matmul_run(&p->matmul, s->lanes, s->common.threads, &d);
    }
    return status;
}
