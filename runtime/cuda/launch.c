/* launch: a task as launches of kernels. Whatever a launch takes is fixed when the session opens - addresses, shapes - or read by
 * the kernel from the device's memory, so that a launch that a graph has captured stays right in every step. */
#include "runtime/cuda/session.h"

#include <math.h>

#include "runtime/cuda/attend.h"

enum { MOST_BLOCKS = 1 << 20, FEW_BLOCKS = 4096 };

static void *pointer(ctl_cu_pointer at) { return (void *)(uintptr_t)at; }
static void *at(const ctl_cuda_session *s, const ctl_operand *o) { return pointer(ctl_cuda_at(s, o)); }
static int is_bf16(const ctl_operand *o) { return o->dtype == CTL_BF16; }

ctl_status ctl_cuda_launch(ctl_cuda_session *s, void *function, int64_t blocks_x, int64_t blocks_y, int threads, size_t shared,
                           const void *call) {
    void *arguments[] = {(void *)(uintptr_t)call}; /* read before the call returns */
    if (blocks_x < 1 || blocks_y < 1) return CTL_OK;
    return ctl_cuda_check(s, s->driver->launch(function, (unsigned)blocks_x, (unsigned)blocks_y, 1, (unsigned)threads, 1, 1,
                                               (unsigned)shared, s->stream, arguments, NULL),
                          "cuLaunchKernel");
}

static ctl_status run_rows(ctl_cuda_session *s, const ctl_task *t) {
    const ctl_cuda_kernel *k = &s->code->rows[t->kernel];
    ctl_rows_arg args[CTL_MOST_OPERANDS];
    ctl_dtype dtypes[CTL_MOST_OPERANDS];
    /* The kernel's structure; the compiler may have padded it at its end. */
    uint64_t call[(sizeof(ctl_cuda_rows_head) + CTL_MOST_OPERANDS * (sizeof(ctl_rows_arg) + sizeof(uint32_t) * 2)) / 8 + 4] = {0};
    if (t->noperands > CTL_MOST_OPERANDS || ctl_cuda_rows_bytes(k) > sizeof call || t->rows > CTL_CUDA_MOST_ROWS)
        return CTL_ERR_INTERNAL;
    ctl_status status = ctl_cuda_check_computed(s, t);
    for (uint32_t i = 0; i < t->noperands && status == CTL_OK; i++) {
        const ctl_operand *o = &t->operands[i];
        args[i] = (ctl_rows_arg){.base = at(s, o), .stride = o->stride}, dtypes[i] = o->dtype;
        if (t->index_of && t->index_of[i] != UINT32_MAX) args[i].index = at(s, &t->operands[t->index_of[i]]);
    }
    if (status != CTL_OK) return status;
    const ctl_cuda_rows_head head = {.state = pointer(s->own + offsetof(ctl_cuda_own, state)),
                                     .scratch = at(s, &t->scratch),
                                     .tokens = t->weights ? 0 : s->common.program->tokens,
                                     .rows = (int32_t)t->rows};
    if (!ctl_cuda_rows_call(k, &head, args, dtypes, t->sites, call)) return CTL_ERR_INTERNAL;
    return ctl_cuda_launch(s, s->rows[t->kernel],
                           ctl_cuda_rows_blocks(k, t->rows, k->scratch_floats ? CTL_CUDA_SCRATCH_BLOCKS : MOST_BLOCKS), 1,
                           k->block, k->shared_bytes, call);
}

/* ---- attention ---- */
static ctl_status run_attend(ctl_cuda_session *s, const ctl_task *t) {
    const bool grad = t->kind == TASK_ATTEND_GRAD;
    const ctl_operand *o = t->operands, *position = &o[grad ? 9 : 5], *length = &o[grad ? 10 : 6];
    const bool tensor = ctl_cuda_attends_on_tensor_cores(t);
    if (o[0].rows > CTL_CUDA_MOST_ROWS) return CTL_ERR_INTERNAL;
    const int64_t rows = o[0].rows, heads = o[0].cols / t->head, kv_heads = o[1].cols / t->head;
    ctl_cuda_attend call = {.q = at(s, &o[0]), .k = at(s, &o[1]), .v = at(s, &o[2]), .out = at(s, &o[3]), .o = at(s, &o[3]),
                            .lse = at(s, &o[4]), .q_stride = o[0].stride, .k_stride = o[1].stride, .v_stride = o[2].stride,
                            .out_stride = o[3].stride, .o_stride = o[3].stride, .lse_stride = o[4].stride,
                            .rows = (int32_t)rows, .heads = (int32_t)heads, .group = (int32_t)(heads / kv_heads),
                            .causal = t->causal, .window = (int32_t)t->window, .bf16_in = is_bf16(&o[0]),
                            .bf16_o = is_bf16(&o[3]), .bf16_out = is_bf16(&o[3]),
                            .longest = (int32_t)(t->longest > 0 && t->longest < rows ? t->longest : rows),
                            .scale = (float)(1 / sqrt((double)t->head))};
    if (!ctl_cuda_is_absent(position))
        call.position = at(s, position), call.position_stride = position->stride, call.length = at(s, length),
        call.length_stride = length->stride;
    if (grad) {
        call.d_out = at(s, &o[5]), call.d_out_stride = o[5].stride, call.bf16_d_out = is_bf16(&o[5]);
        call.dq = at(s, &o[6]), call.dq_stride = o[6].stride, call.bf16_dq = is_bf16(&o[6]);
        call.dk = at(s, &o[7]), call.dk_stride = o[7].stride, call.bf16_dk = is_bf16(&o[7]);
        call.dv = at(s, &o[8]), call.dv_stride = o[8].stride, call.bf16_dv = is_bf16(&o[8]);
        call.dots = at(s, &t->scratch);
    }
    const int64_t unit = tensor ? CTL_CUDA_ATTEND_ROWS : CTL_CUDA_ATTEND_PLAIN_ROWS;
    const int64_t blocks = (rows + unit - 1) / unit, plain = (rows + CTL_CUDA_ATTEND_PLAIN_ROWS - 1) / CTL_CUDA_ATTEND_PLAIN_ROWS;
    const ctl_cuda_function first = tensor ? CUDA_ATTEND_FORWARD : CUDA_ATTEND_PLAIN_FORWARD;
    void *function[3], *dots = ctl_cuda_attend_function(s, CUDA_ATTEND_DOTS, t->head);
    size_t shared[3] = {0};
    for (int k = 0; k < 3; k++) {
        function[k] = ctl_cuda_attend_function(s, first + (ctl_cuda_function)k, t->head);
        shared[k] = ctl_cuda_function_shared(first + (ctl_cuda_function)k, t->head);
    }
    if (grad ? !dots || !function[1] || !function[2] : !function[0]) return CTL_ERR_INTERNAL;
    if (!grad) return ctl_cuda_launch(s, function[0], blocks, heads, CTL_CUDA_ATTEND_THREADS, shared[0], &call);
    ctl_status status = ctl_cuda_launch(s, dots, plain, heads, CTL_CUDA_ATTEND_THREADS, 0, &call);
    if (status == CTL_OK)
        status = ctl_cuda_launch(s, function[1], blocks, heads, CTL_CUDA_ATTEND_THREADS, shared[1], &call);
    if (status == CTL_OK)
        status = ctl_cuda_launch(s, function[2], blocks, kv_heads, CTL_CUDA_ATTEND_THREADS, shared[2], &call);
    return status;
}

/* ---- the small ones ---- */
/* f32 */
static ctl_status zero_rows(ctl_cuda_session *s, const ctl_operand *out) {
    const ctl_cuda_zero call = {at(s, out), out->stride, (int32_t)out->rows, (int32_t)out->cols};
    return ctl_cuda_launch(s, s->functions[CUDA_ZERO], out->rows < FEW_BLOCKS ? out->rows : FEW_BLOCKS, 1, 256, 0, &call);
}

static ctl_status run_scatter(ctl_cuda_session *s, const ctl_task *t) {
    const ctl_operand *x = &t->operands[0], *ids = &t->operands[1], *out = &t->operands[2];
    ctl_status status = ctl_cuda_check_computed(s, t);
    if (status == CTL_OK && !t->accumulate) status = zero_rows(s, out);
    const ctl_cuda_scatter call = {.x = at(s, x), .ids = at(s, ids), .out = at(s, out), .x_stride = x->stride,
                                   .id_stride = ids->stride, .out_stride = out->stride, .rows = (int32_t)x->rows,
                                   .cols = (int32_t)x->cols, .bf16_x = is_bf16(x)};
    if (status == CTL_OK)
        status = ctl_cuda_launch(s, s->functions[CUDA_SCATTER], x->rows, 1, 128, CTL_CUDA_SCATTER_SHARED, &call);
    return status;
}

static ctl_status run_fold(ctl_cuda_session *s, const ctl_task *t) {
    const ctl_operand *x = &t->operands[0];
    const ctl_cuda_fold call = {.x = at(s, x), .out = at(s, &t->operands[1]), .stride = x->stride, .rows = (int32_t)x->rows,
                                .cols = (int32_t)x->cols, .accumulate = t->accumulate, .width = (int32_t)x->cols};
    return ctl_cuda_launch(s, s->functions[CUDA_FOLD], (x->cols + 127) / 128, 1, 128, 0, &call);
}

static ctl_status run_transpose(ctl_cuda_session *s, const ctl_task *t) {
    const ctl_operand *a = &t->operands[0], *out = &t->operands[1];
    const ctl_cuda_transpose call = {.a = at(s, a), .out = at(s, out), .a_stride = a->stride, .out_stride = out->stride,
                                     .rows = (int32_t)a->rows, .cols = (int32_t)a->cols, .bf16_a = is_bf16(a),
                                     .bf16_out = is_bf16(out)};
    return ctl_cuda_launch(s, s->functions[CUDA_TRANSPOSE], (a->cols + 31) / 32, (a->rows + 31) / 32, 256,
                           CTL_CUDA_TRANSPOSE_SHARED, &call);
}

ctl_status ctl_cuda_run_task(ctl_cuda_session *s, const ctl_task *task, const ctl_cuda_prepared *p) {
    switch (task->kind) {
    case TASK_ROWS:
        return run_rows(s, task);
    case TASK_MATMUL:
        return ctl_cuda_product_run(s, task, p);
    case TASK_ATTEND:
    case TASK_ATTEND_GRAD:
        return run_attend(s, task);
    case TASK_HEAD:
        return ctl_cuda_head_run(s, task, p);
    case TASK_SCATTER:
        return run_scatter(s, task);
    case TASK_FOLD:
        return run_fold(s, task);
    case TASK_TRANSPOSE:
        return run_transpose(s, task);
    case TASK_MIX:
    case TASK_MIX_GRAD:
        return ctl_cuda_mix_run(s, task, p);
    }
    return CTL_ERR_INTERNAL;
}
