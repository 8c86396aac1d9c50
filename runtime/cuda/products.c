/* products: tasks that multiply, by cuBLASLt. A sum with what is there, or with an addend or a bias of the result's type, is
 * cuBLASLt's (beta = 1, an epilogue). A narrow product with an addend of another type is a kernel's (narrow.cu), sum and all. Of wider
 * ones an addend in bf16 to a result in f32 is first written to where the result goes; any other product is made in f32 in the task's
 * scratch and ended by a kernel. The head goes through its rows in chunks: logits, their losses and gradients in place, then what the
 * gradients multiply. mix is one product for all sequences at once; its matrix's gradient is a product for each sequence, many at once
 * into scratch, and their sum in the order of sequences by a kernel. */
#include "runtime/cuda/session.h"

static size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

static ctl_blaslt_matrix matrix(const ctl_operand *o) {
    return (ctl_blaslt_matrix){o->dtype, o->rows, o->cols, o->stride, (size_t)o->offset % CTL_BLASLT_ALIGN};
}

/* What task_narrow makes: a product of two matrices in bf16, the rows of whose left one are few numbers. */
static bool is_narrow(const ctl_task *t) {
    const ctl_operand *a = &t->operands[0], *b = &t->operands[1];
    return a->dtype == CTL_BF16 && b->dtype == CTL_BF16 && !t->transpose_a && a->cols <= CTL_CUDA_NARROW;
}

ctl_cuda_product_way ctl_cuda_product_way_of(const ctl_task *t) {
    const ctl_operand *c = &t->operands[2], *bias = &t->operands[3], *addend = &t->operands[4];
    const bool biased = !ctl_cuda_is_absent(bias), adds = !ctl_cuda_is_absent(addend);
    const bool of_another = adds && !biased && !t->accumulate && c->dtype != addend->dtype;
    if (of_another && is_narrow(t)) return PRODUCT_NARROW;
    if (of_another && c->dtype == CTL_F32) return PRODUCT_SPREAD;
    if (biased && bias->dtype != c->dtype) return PRODUCT_FINISH;
    return adds && (addend->dtype != c->dtype || t->accumulate) ? PRODUCT_FINISH : PRODUCT_DIRECT;
}

/* ---- preparing ---- */
static ctl_status make(ctl_cuda_session *s, ctl_blaslt_form form, ctl_cu_pointer bias, ctl_blaslt_product *out) {
    const ctl_blaslt *blaslt = &s->code->blaslt;
    form.workspace = CTL_CUDA_WORKSPACE;
    ctl_status status = ctl_cuda_check_blaslt(s, ctl_blaslt_describe(blaslt, &form, out), "a product of this form");
    if (status == CTL_OK) status = ctl_cuda_choose(s, &form, out);
    if (status == CTL_OK && form.has_bias)
        status = ctl_cuda_check_blaslt(s, ctl_blaslt_set_bias(blaslt, out, bias), "cublasLtMatmulDescSetAttribute");
    return status;
}

static ctl_status prepare_matmul(ctl_cuda_session *s, const ctl_task *t, ctl_cuda_prepared *p) {
    const ctl_operand *o = t->operands, *bias = &o[3], *addend = &o[4];
    ctl_blaslt_form f = {.a = matrix(&o[0]), .b = matrix(&o[1]), .d = matrix(&o[2]), .transpose_a = t->transpose_a,
                         .transpose_b = t->transpose_b};
    const ctl_cuda_product_way way = ctl_cuda_product_way_of(t);
    if (way == PRODUCT_NARROW) return CTL_OK;
    if (way == PRODUCT_FINISH) {
        f.d = (ctl_blaslt_matrix){CTL_F32, o[2].rows, o[2].cols, o[2].cols, 0};
        return make(s, f, 0, &p->product);
    }
    f.has_add = t->accumulate || !ctl_cuda_is_absent(addend);
    f.add = t->accumulate || way == PRODUCT_SPREAD ? f.d : matrix(addend);
    f.has_bias = !ctl_cuda_is_absent(bias);
    f.bias_slack = (size_t)bias->offset % CTL_BLASLT_ALIGN;
    return make(s, f, ctl_cuda_at(s, bias), &p->product);
}

typedef struct head_shape {
    int64_t rows, chunk, last; /* rows: of all; of a chunk; of the last one */
    size_t logits, losses;     /* bytes of scratch */
    ctl_dtype dtype;           /* of the operands, and so of the gradients that are multiplied */
} head_shape;

static head_shape shape_of(const ctl_task *t) {
    const int64_t rows = t->operands[0].rows, chunk = t->chunk < rows ? t->chunk : rows, over = rows % chunk;
    return (head_shape){rows, chunk, over ? over : chunk,
                        aligned((size_t)t->chunk * (size_t)t->operands[1].rows * sizeof(float)),
                        aligned((size_t)rows * sizeof(float)), t->operands[0].dtype};
}

/* The rows of a chunk, wherever it begins. */
static ctl_blaslt_matrix rows_of(const ctl_operand *o, int64_t rows, int64_t chunk) {
    ctl_blaslt_matrix m = matrix(o);
    const size_t step = (size_t)(chunk * o->stride) * ctl_dtype_size(o->dtype);
    m.rows = rows, m.slack |= step % CTL_BLASLT_ALIGN;
    return m;
}

static ctl_status prepare_head(ctl_cuda_session *s, const ctl_task *t, ctl_cuda_head *h) {
    const ctl_operand *x = &t->operands[0], *w = &t->operands[1], *dx = &t->operands[5], *dw = &t->operands[6];
    const head_shape shape = shape_of(t);
    const int64_t vocab = w->rows;
    ctl_status status = CTL_OK;
    for (int k = 0; k < 2 && status == CTL_OK; k++) {
        const int64_t rows = k ? shape.last : shape.chunk;
        const ctl_blaslt_matrix mine = rows_of(x, rows, shape.chunk);
        ctl_blaslt_matrix logits = {CTL_F32, rows, vocab, vocab, 0}, d = logits;
        if (shape.dtype == CTL_BF16) d.dtype = CTL_BF16, d.stride = 2 * vocab; /* at each row's begin */
        const ctl_blaslt_form forward = {.a = mine, .b = matrix(w), .d = logits, .transpose_b = true};
        status = make(s, forward, 0, &h->logits[k]);
        if (status == CTL_OK && !ctl_cuda_is_absent(dx)) {
            const ctl_blaslt_form form = {.a = d, .b = matrix(w), .d = rows_of(dx, rows, shape.chunk)};
            status = make(s, form, 0, &h->dx[k]);
        }
        for (int more = 0; more < 2 && status == CTL_OK && !ctl_cuda_is_absent(dw); more++) {
            const ctl_blaslt_form form = {.a = d, .b = mine, .d = matrix(dw), .add = matrix(dw), .has_add = more != 0,
                                          .transpose_a = true};
            status = make(s, form, 0, more ? &h->dw_more[k] : &h->dw[k]);
        }
    }
    return status;
}

/* ---- along sequences ---- */
static ctl_blaslt_matrix sequence_of(const ctl_task *t, const ctl_operand *o) {
    ctl_blaslt_matrix m = rows_of(o, t->sequence, t->sequence);
    m.step = t->sequence * o->stride;
    return m;
}

static ctl_status prepare_mix(ctl_cuda_session *s, const ctl_task *t, ctl_cuda_prepared *p) {
    const ctl_operand *a = &t->operands[0], *x = &t->operands[1], *out = &t->operands[2];
    const int64_t n = t->sequence;
    if (t->noperands < 3 || n < 1 || x->rows % n) return s->failed = CTL_ERR_INTERNAL;
    const int64_t sequences = x->rows / n, chunk = ctl_cuda_mix_chunk(t);
    if (t->kind == TASK_MIX) {
        const ctl_blaslt_form form = {.a = matrix(a), .b = sequence_of(t, x), .d = sequence_of(t, out),
                                      .transpose_a = t->transpose_a, .batch = (int32_t)sequences};
        return make(s, form, 0, &p->product);
    }
    ctl_blaslt_form form = {.a = sequence_of(t, a), .b = sequence_of(t, x), .d = {CTL_F32, n, n, n, 0, n * n}, .transpose_b = true,
                            .batch = (int32_t)chunk};
    form.d.slack = (size_t)(n * n) * sizeof(float) % CTL_BLASLT_ALIGN;
    ctl_status status = make(s, form, 0, &p->product);
    form.batch = (int32_t)(sequences % chunk);
    return status == CTL_OK && form.batch ? make(s, form, 0, &p->last) : status;
}

bool ctl_cuda_is_product(const ctl_task *t) {
    return t->kind == TASK_MATMUL || t->kind == TASK_HEAD || t->kind == TASK_MIX || t->kind == TASK_MIX_GRAD;
}

ctl_status ctl_cuda_product_prepare(ctl_cuda_session *s, const ctl_task *t, ctl_cuda_prepared *p) {
    if (t->kind == TASK_MATMUL) return prepare_matmul(s, t, p);
    if (t->kind != TASK_HEAD) return prepare_mix(s, t, p);
    p->head = ctl_alloc(s->common.allocator, sizeof *p->head);
    if (!p->head) return s->failed = CTL_ERR_MEMORY;
    return prepare_head(s, t, p->head);
}

void ctl_cuda_product_drop(ctl_cuda_session *s, ctl_cuda_prepared *p) {
    const ctl_blaslt *blaslt = &s->code->blaslt;
    ctl_blaslt_drop(blaslt, &p->product);
    ctl_blaslt_drop(blaslt, &p->last);
    for (int k = 0; k < 2 && p->head; k++) {
        ctl_blaslt_drop(blaslt, &p->head->logits[k]);
        ctl_blaslt_drop(blaslt, &p->head->dx[k]);
        ctl_blaslt_drop(blaslt, &p->head->dw[k]);
        ctl_blaslt_drop(blaslt, &p->head->dw_more[k]);
    }
    ctl_free(s->common.allocator, p->head, sizeof *p->head);
    p->head = NULL;
}

/* ---- running ---- */
static ctl_status multiply(ctl_cuda_session *s, const ctl_blaslt_product *product, ctl_cu_pointer a, ctl_cu_pointer b,
                           ctl_cu_pointer add, ctl_cu_pointer d, ctl_cu_pointer scratch) {
    const ctl_cu_pointer workspace = (scratch + 255) / 256 * 256;
    const ctl_blaslt_choice *choice = &s->choices.at[product->choice].is;
    return ctl_cuda_check_blaslt(s, ctl_blaslt_run(&s->code->blaslt, s->blaslt, product, choice, a, b, add, d, workspace, s->stream),
                                 "cublasLtMatmul");
}

static void *pointer(ctl_cu_pointer at) { return (void *)(uintptr_t)at; }
static ctl_cu_pointer bytes_before(const ctl_operand *o, int64_t row) {
    return (ctl_cu_pointer)(row * o->stride) * ctl_dtype_size(o->dtype);
}

/* 16 bytes of each of its rows can be read and written at once. */
static bool is_wide(const ctl_cuda_session *s, const ctl_operand *o) {
    const size_t size = ctl_dtype_size(o->dtype);
    return ctl_cuda_at(s, o) % 16 == 0 && (size_t)o->stride * size % 16 == 0;
}

static ctl_status run_narrow(ctl_cuda_session *s, const ctl_task *t) {
    enum { TILES = 4 }; /* of rows that a block has: what it reads of b it reads once for all of them */
    const ctl_operand *a = &t->operands[0], *b = &t->operands[1], *c = &t->operands[2], *addend = &t->operands[4];
    const ctl_operand *more = t->noperands > 5 ? &t->operands[5] : &CTL_NO_OPERAND;
    const int64_t own = CTL_CUDA_NARROW_OWN, tiles = ((c->rows + own - 1) / own + TILES - 1) / TILES;
    const ctl_cuda_narrow call = {.a = pointer(ctl_cuda_at(s, a)), .b = pointer(ctl_cuda_at(s, b)), .addend = pointer(ctl_cuda_at(s, addend)),
                                  .more = pointer(ctl_cuda_at(s, more)), .c = pointer(ctl_cuda_at(s, c)), .a_stride = a->stride,
                                  .b_stride = b->stride, .addend_stride = addend->stride, .more_stride = more->stride, .c_stride = c->stride, .rows = (int32_t)c->rows, .cols = (int32_t)c->cols, .inner = (int32_t)a->cols,
                                  .turned = t->transpose_b, .bf16_addend = addend->dtype == CTL_BF16, .bf16_c = c->dtype == CTL_BF16,
                                  .wide_a = is_wide(s, a) && a->cols % 8 == 0, .wide_b = is_wide(s, b) && b->cols % 8 == 0,
                                  .wide = is_wide(s, addend) && is_wide(s, c) && is_wide(s, more), .tiles = (int32_t)tiles};
    return ctl_cuda_launch(s, s->functions[CUDA_NARROW], (c->cols + own - 1) / own, tiles, CTL_CUDA_NARROW_THREADS,
                           ctl_cuda_narrow_shared(a->cols), &call);
}

ctl_status ctl_cuda_product_run(ctl_cuda_session *s, const ctl_task *t, const ctl_cuda_prepared *p) {
    const ctl_operand *o = t->operands, *c = &o[2];
    const ctl_cu_pointer a = ctl_cuda_at(s, &o[0]), b = ctl_cuda_at(s, &o[1]), to = ctl_cuda_at(s, c);
    const ctl_cu_pointer scratch = ctl_cuda_at(s, &t->scratch);
    const ctl_cuda_product_way way = ctl_cuda_product_way_of(t);
    ctl_status status = CTL_OK;
    if (way == PRODUCT_NARROW) return run_narrow(s, t);
    if (way == PRODUCT_DIRECT) return multiply(s, &p->product, a, b, t->accumulate ? to : ctl_cuda_at(s, &o[4]), to, scratch);
    if (way == PRODUCT_FINISH)
        status = multiply(s, &p->product, a, b, 0, scratch, scratch + aligned((size_t)c->rows * (size_t)c->cols * sizeof(float)));
    const ctl_cuda_finish call = {.sums = way == PRODUCT_FINISH ? pointer(scratch) : NULL, .c = pointer(to), .bias = pointer(ctl_cuda_at(s, &o[3])),
                                  .addend = pointer(ctl_cuda_at(s, &o[4])), .c_stride = c->stride, .addend_stride = o[4].stride,
                                  .rows = (int32_t)c->rows, .cols = (int32_t)c->cols, .accumulate = t->accumulate,
                                  .bf16_c = c->dtype == CTL_BF16, .bf16_bias = o[3].dtype == CTL_BF16,
                                  .bf16_addend = o[4].dtype == CTL_BF16,
                                  .wide = c->cols % 4 == 0 && scratch % 16 == 0 && is_wide(s, c) && is_wide(s, &o[4]) &&
                                          ctl_cuda_at(s, &o[3]) % 16 == 0};
    if (status == CTL_OK)
        status = ctl_cuda_launch(s, s->functions[CUDA_FINISH], c->rows < 65536 ? c->rows : 65536, 1, 256, 0, &call);
    if (status == CTL_OK && way == PRODUCT_SPREAD) status = multiply(s, &p->product, a, b, to, to, scratch);
    return status;
}

ctl_status ctl_cuda_mix_run(ctl_cuda_session *s, const ctl_task *t, const ctl_cuda_prepared *p) {
    const ctl_operand *a = &t->operands[0], *x = &t->operands[1], *out = &t->operands[2];
    const ctl_cu_pointer left = ctl_cuda_at(s, a), right = ctl_cuda_at(s, x), to = ctl_cuda_at(s, out);
    const ctl_cu_pointer scratch = ctl_cuda_at(s, &t->scratch);
    if (t->kind == TASK_MIX) return multiply(s, &p->product, left, right, 0, to, scratch);
    const int64_t n = t->sequence, sequences = x->rows / n, chunk = ctl_cuda_mix_chunk(t);
    ctl_status status = CTL_OK;
    for (int64_t first = 0; first < sequences && status == CTL_OK; first += chunk) {
        const int64_t some = sequences - first < chunk ? sequences - first : chunk;
        const ctl_cuda_fold call = {.x = pointer(scratch), .out = pointer(to), .stride = n * n, .out_stride = out->stride,
                                    .rows = (int32_t)some, .cols = (int32_t)(n * n), .width = (int32_t)n,
                                    .accumulate = t->accumulate || first > 0};
        status = multiply(s, some < chunk ? &p->last : &p->product, left + bytes_before(a, first * n), right + bytes_before(x, first * n),
                          0, scratch, scratch + ctl_cuda_mix_bytes(t));
        if (status == CTL_OK) status = ctl_cuda_launch(s, s->functions[CUDA_FOLD], (n * n + 127) / 128, 1, 128, 0, &call);
    }
    return status;
}

ctl_status ctl_cuda_head_run(ctl_cuda_session *s, const ctl_task *t, const ctl_cuda_prepared *p) {
    const ctl_operand *x = &t->operands[0], *w = &t->operands[1], *labels = &t->operands[2], *dx = &t->operands[5];
    const head_shape shape = shape_of(t);
    const bool has_dx = !ctl_cuda_is_absent(dx), has_dw = !ctl_cuda_is_absent(&t->operands[6]);
    const ctl_cu_pointer logits = ctl_cuda_at(s, &t->scratch), losses = logits + shape.logits, workspace = losses + shape.losses;
    const ctl_cu_pointer weights = ctl_cuda_at(s, w), dw = ctl_cuda_at(s, &t->operands[6]);
    const float *normaliser = pointer(ctl_cuda_at(s, &t->operands[3]));
    const ctl_operand *told = t->noperands > 7 && !ctl_cuda_is_absent(&t->operands[7]) ? &t->operands[7] : NULL;
    ctl_status status = ctl_cuda_check_computed(s, t);
    for (int64_t first = 0; first < shape.rows && status == CTL_OK; first += shape.chunk) {
        const int k = first + shape.chunk >= shape.rows;
        const ctl_cu_pointer mine = ctl_cuda_at(s, x) + bytes_before(x, first);
        const ctl_cuda_losses call = {.logits = pointer(logits), .d = has_dx || has_dw ? pointer(logits) : NULL,
                                      .labels = (const int32_t *)pointer(ctl_cuda_at(s, labels)) + first * labels->stride,
                                      .normaliser = normaliser, .losses = (float *)pointer(losses) + first,
                                      .label_stride = labels->stride, .rows = (int32_t)(k ? shape.last : shape.chunk),
                                      .vocab = (int32_t)w->rows, .bf16_d = shape.dtype == CTL_BF16,
                                      .results = told ? pointer(ctl_cuda_at(s, told) + bytes_before(told, first)) : NULL,
                                      .result_stride = told ? told->stride : 0};
        status = multiply(s, &p->head->logits[k], mine, weights, 0, logits, workspace);
        if (status == CTL_OK)
            status = ctl_cuda_launch(s, s->functions[CUDA_LOSSES], call.rows, 1, 256, CTL_CUDA_LOSSES_SHARED, &call);
        if (status == CTL_OK && has_dx)
            status = multiply(s, &p->head->dx[k], logits, weights, 0,
                              ctl_cuda_at(s, dx) + bytes_before(dx, first), workspace);
        if (status == CTL_OK && has_dw)
            status = multiply(s, first > 0 || t->accumulate ? &p->head->dw_more[k] : &p->head->dw[k], logits, mine, dw, dw, workspace);
    }
    const ctl_cuda_total total = {pointer(losses), normaliser, pointer(ctl_cuda_at(s, &t->operands[4])), shape.rows};
    return status == CTL_OK ? ctl_cuda_launch(s, s->functions[CUDA_TOTAL], 1, 1, 32, 0, &total) : status;
}
