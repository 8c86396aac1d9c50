/* head: a linear map to classes and its softmax-cross-entropy, a chunk of rows at a time, so that no more
 * than a chunk of logits ever exists. The gradient of a chunk's logits takes their place: f32 over f32, or
 * bf16 rows at the begin of the f32 rows. Losses of rows are kept and summed in their order at the end. */
#include <omp.h>

#include "runtime/cpu/cpu.h"
#include "runtime/cpu/tasks.h"

enum { X, W, LABELS, NORMALISER, LOSS, DX, DW, OPERANDS, ROW_RESULTS = OPERANDS, IGNORED = -100 };

int64_t ctl_cpu_head_chunk(int64_t rows, int64_t vocab) {
    const int64_t small = 1 << 21, most = 1 << 24; /* logits: 8 and 64 MiB */
    int64_t chunk = small / (vocab > 0 ? vocab : 1) / 64 * 64;
    /* Products of 256 rows run an eighth faster than of 128, and those an eighth faster than of 64. */
    if (chunk < 256) chunk = vocab <= most / 256 ? 256 : 128;
    return chunk < rows ? chunk : rows;
}

static size_t aligned(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

static bool is_whole(const ctl_task *t) {
    if (t->noperands < OPERANDS || t->chunk < 1) return false;
    const ctl_operand *x = &t->operands[X], *w = &t->operands[W], *dx = &t->operands[DX],
                      *dw = &t->operands[DW];
    return x->cols == w->cols && x->dtype == w->dtype && t->operands[LABELS].dtype == CTL_I32 &&
           t->operands[LABELS].rows == x->rows && t->operands[NORMALISER].dtype == CTL_F32 &&
           t->operands[LOSS].dtype == CTL_F32 &&
           (ctl_operand_absent(dx) || (dx->rows == x->rows && dx->cols == x->cols)) &&
           (ctl_operand_absent(dw) || (dw->rows == w->rows && dw->cols == w->cols && dw->dtype == CTL_F32)) &&
           (t->noperands == OPERANDS ||
            (t->operands[ROW_RESULTS].rows == x->rows && t->operands[ROW_RESULTS].cols == 2 &&
             t->operands[ROW_RESULTS].dtype == CTL_F32));
}

static void grow(size_t *most, const ctl_matmul *m) {
    if (m->scratch > *most) *most = m->scratch;
}

ctl_status ctl_head_prepare(ctl_products *set, const ctl_task *t, int threads, bool make, ctl_head *h) {
    if (!is_whole(t)) return CTL_ERR_INTERNAL;
    const ctl_operand *x = &t->operands[X], *w = &t->operands[W], *dx = &t->operands[DX],
                      *dw = &t->operands[DW];
    *h = (ctl_head){.rows = x->rows,
                    .chunk = t->chunk < x->rows ? t->chunk : x->rows,
                    .vocab = w->rows,
                    .cols = x->cols,
                    .operands = x->dtype,
                    .wants_dx = !ctl_operand_absent(dx),
                    .wants_dw = !ctl_operand_absent(dw)};
    const int64_t d_stride = h->operands == CTL_BF16 ? 2 * h->vocab : h->vocab;
    size_t most = 0, logits;
    ctl_status status = CTL_OK;
    for (int last = 0; last < 2 && !status; last++) {
        const int64_t n = last ? h->rows - (h->rows - 1) / h->chunk * h->chunk : h->chunk;
        ctl_matmul_form f = {.m = n,
                             .n = h->vocab,
                             .k = h->cols,
                             .lda = x->stride,
                             .ldb = w->stride,
                             .ldc = h->vocab,
                             .operands = h->operands,
                             .c = CTL_F32,
                             .transpose_b = true};
        status = ctl_matmul_prepare(set, &f, make, &h->logits[last]);
        grow(&most, &h->logits[last]);
        if (h->wants_dx && !status) {
            f = (ctl_matmul_form){.m = n,
                                  .n = h->cols,
                                  .k = h->vocab,
                                  .lda = d_stride,
                                  .ldb = w->stride,
                                  .ldc = dx->stride,
                                  .operands = h->operands,
                                  .c = dx->dtype};
            status = ctl_matmul_prepare(set, &f, make, &h->dx[last]);
            grow(&most, &h->dx[last]);
        }
        for (int later = 0; later < 2 && h->wants_dw && !status; later++) {
            f = (ctl_matmul_form){.m = h->vocab,
                                  .n = h->cols,
                                  .k = n,
                                  .lda = d_stride,
                                  .ldb = x->stride,
                                  .ldc = dw->stride,
                                  .operands = h->operands,
                                  .c = CTL_F32,
                                  .transpose_a = true,
                                  .accumulate = later || t->accumulate};
            status = ctl_matmul_prepare(set, &f, make, &h->dw[last][later]);
            grow(&most, &h->dw[last][later]);
        }
    }
    if (status) return status;
    if (!ctl_mul_size((size_t)h->chunk, (size_t)h->vocab, &logits) ||
        !ctl_mul_size(logits, sizeof(float), &logits) || logits > SIZE_MAX / 4)
        return CTL_ERR_INTERNAL;
    h->logits_bytes = aligned(logits);
    h->losses_bytes = aligned((size_t)h->rows * sizeof(float));
    h->scratch = h->logits_bytes + h->losses_bytes + most * (size_t)threads;
    return CTL_OK;
}

static bool check_labels(ctl_cpu_session *s, const ctl_task *t, const ctl_head *h, const int32_t *labels) {
    for (int64_t i = 0; i < h->rows; i++) {
        int32_t label = labels[i * t->operands[LABELS].stride];
        if (label == IGNORED || (label >= 0 && label < h->vocab)) continue;
        ctl_session_say_at(&s->common, t->place, "E0804",
                           "labels are 0 .. classes - 1, or -100 for a row that does not count",
                           "%s: label %d of row %lld is not one of %lld classes", t->name, (int)label,
                           (long long)i, (long long)h->vocab);
        return false;
    }
    return true;
}

static int64_t largest(const float *row, int64_t n) {
    int64_t at = 0;
    for (int64_t j = 1; j < n; j++)
        if (row[j] > row[at]) at = j;
    return at;
}

ctl_status ctl_run_head(ctl_cpu_session *s, const ctl_task *t, const ctl_prepared *p) {
    const ctl_head *h = p->head;
    const int threads = s->common.threads;
    const ctl_operand *o = t->operands;
    const size_t size = h->operands == CTL_BF16 ? 2 : 4;
    const char *x = ctl_cpu_at(s, &o[X]), *w = ctl_cpu_at(s, &o[W]);
    const int32_t *labels = ctl_cpu_at(s, &o[LABELS]);
    const float normaliser = *(const float *)ctl_cpu_at(s, &o[NORMALISER]);
    char *dx = ctl_cpu_at(s, &o[DX]), *dw = ctl_cpu_at(s, &o[DW]), *scratch = ctl_cpu_at(s, &t->scratch);
    float *results = t->noperands > ROW_RESULTS ? ctl_cpu_at(s, &o[ROW_RESULTS]) : NULL;
    float *logits = (float *)(void *)scratch, *losses = (float *)(void *)(scratch + h->logits_bytes);
    if (!check_labels(s, t, h, labels)) return CTL_ERR_INPUT;
    scratch += h->logits_bytes + h->losses_bytes;

    for (int64_t first = 0; first < h->rows; first += h->chunk) {
        const bool last = first + h->chunk >= h->rows, wants_d = h->wants_dx || h->wants_dw;
        const int64_t n = last ? h->rows - first : h->chunk;
        const char *rows = x + (size_t)(first * o[X].stride) * size;
        ctl_status status =
            ctl_matmul_run(&h->logits[last], s->lanes, threads,
                           &(ctl_matmul_data){.a = rows, .b = w, .c = logits, .scratch = scratch});
        if (status) return status;
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t i = 0; i < n; i++) {
            const int32_t label = labels[(first + i) * o[LABELS].stride];
            float *row = logits + i * h->vocab, *result = results ? results + (first + i) * o[ROW_RESULTS].stride : NULL;
            if (result) result[1] = (float)largest(row, h->vocab);
            losses[first + i] = 0;
            if (label != IGNORED)
                losses[first + i] = s->lanes->cross_entropy(row, h->vocab, label, normaliser,
                                                            wants_d ? row : NULL, size == 2);
            else if (wants_d)
                memset(row, 0, (size_t)h->vocab * size);
            if (result) result[0] = losses[first + i];
        }
        if (h->wants_dx) {
            ctl_matmul_data d = {.a = logits, .b = w, .scratch = scratch};
            d.c = dx + (size_t)(first * o[DX].stride) * (o[DX].dtype == CTL_BF16 ? 2 : 4);
            status = ctl_matmul_run(&h->dx[last], s->lanes, threads, &d);
            if (status) return status;
        }
        if (h->wants_dw) {
            ctl_matmul_data d = {.a = logits, .b = rows, .c = dw, .scratch = scratch};
            status = ctl_matmul_run(&h->dw[last][first > 0], s->lanes, threads, &d);
            if (status) return status;
        }
    }
    double sum = 0;
    for (int64_t i = 0; i < h->rows; i++) sum += losses[i];
    *(float *)ctl_cpu_at(s, &o[LOSS]) = (float)(sum * normaliser);
    return CTL_OK;
}
