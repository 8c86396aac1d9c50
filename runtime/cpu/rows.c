/* rows: tasks that move or sum rows: compiled row kernels, scatter, fold, transpose. Row kernels are divided
 * by rows, at multiples of a chunk where they sum columns; scatter by columns, so that each sum has one owner
 * and the order of rows. */
#include <omp.h>

#include "base/dtype.h"
#include "runtime/cpu/tasks.h"

static bool is_bf16(const ctl_operand *o) {
    return o->dtype == CTL_BF16;
}

/* Indices are read by kernels unchecked. */
static bool check_index(ctl_cpu_session *s, ctl_origin of, const int32_t *index, int64_t stride,
                        int64_t n, int64_t rows) {
    for (int64_t i = 0; i < n; i++) {
        const int32_t id = index[i * stride];
        if (id >= 0 && id < rows) continue;
        ctl_session_say_at(&s->common, of.place, "E0804",
                           "ids are numbers of rows of the table that they select from",
                           "%s: id %d of row %lld is not one of %lld rows", of.name, (int)id, (long long)i,
                           (long long)rows);
        return false;
    }
    return true;
}

static ctl_status make_args(ctl_cpu_session *s, const ctl_task *t, ctl_rows_arg *args) {
    for (uint32_t i = 0; i < t->noperands; i++) {
        const ctl_operand *o = &t->operands[i];
        args[i] = (ctl_rows_arg){.base = ctl_cpu_at(s, o), .stride = o->stride};
        if (!t->index_of || t->index_of[i] == UINT32_MAX) continue;
        const ctl_operand *by = &t->operands[t->index_of[i]];
        if (by->dtype != CTL_I32 || by->stride != 1 || by->rows < t->rows) return CTL_ERR_INTERNAL;
        args[i].index = ctl_cpu_at(s, by);
        if (!check_index(s, ctl_task_origin(t, i), args[i].index, 1, t->rows, o->rows)) return CTL_ERR_INPUT;
    }
    return CTL_OK;
}

ctl_status ctl_run_rows(ctl_cpu_session *s, const ctl_task *t) {
    const ctl_program *program = s->common.program;
    if (t->noperands > CTL_MOST_OPERANDS || t->kernel >= program->nkernels) return CTL_ERR_INTERNAL;
    const ctl_rows_kernel *kernel = &program->kernels[t->kernel];
    ctl_rows_arg args[CTL_MOST_OPERANDS];
    ctl_status status = make_args(s, t, args);
    if (status) return status;
    /* A space with fewer rows than there are tokens (sequences) counts its own rows in the batch. */
    const int64_t row0 = !t->weights && program->tokens > 0
                             ? s->common.first_row / program->tokens * t->rows +
                                   s->common.first_row % program->tokens * t->rows / program->tokens
                             : 0;
    const ctl_rows_call call = {.args = args,
                                .sites = t->sites,
                                .seed = s->common.seed,
                                .row0 = row0,
                                .step = (uint32_t)s->common.step};
    const int64_t unit = kernel->sums_columns ? CTL_ROW_CHUNK : 1, units = (t->rows + unit - 1) / unit;
    const size_t scratch_each = (kernel->scratch_bytes + 63) / 64 * 64;
    char *scratch = ctl_cpu_at(s, &t->scratch);
#pragma omp parallel num_threads(s->common.threads) if (units > 1)
    {
        const int64_t me = omp_get_thread_num(), all = omp_get_num_threads();
        const int64_t begin = units * me / all * unit, end = units * (me + 1) / all * unit;
        ctl_rows_call mine = call;
        if (scratch_each) mine.scratch = (float *)(void *)(scratch + scratch_each * (size_t)me);
        if (begin < end) kernel->run(&mine, begin, end < t->rows ? end : t->rows);
    }
    return CTL_OK;
}

ctl_status ctl_run_scatter(ctl_cpu_session *s, const ctl_task *t) {
    if (t->noperands < 3) return CTL_ERR_INTERNAL;
    const ctl_operand *x = &t->operands[0], *ids = &t->operands[1], *out = &t->operands[2];
    if (ids->dtype != CTL_I32 || out->dtype != CTL_F32 || out->cols != x->cols || ids->rows != x->rows)
        return CTL_ERR_INTERNAL;
    const int32_t *id = ctl_cpu_at(s, ids);
    const char *from = ctl_cpu_at(s, x);
    float *to = ctl_cpu_at(s, out);
    const bool bf16 = is_bf16(x);
    if (!check_index(s, (ctl_origin){t->name, t->place}, id, ids->stride, ids->rows, out->rows)) return CTL_ERR_INPUT;
    const int64_t units = (x->cols + 15) / 16; /* a line of the cache has one owner */
#pragma omp parallel num_threads(s->common.threads) if (units > 1)
    {
        const int64_t me = omp_get_thread_num(), all = omp_get_num_threads();
        const int64_t begin = units * me / all * 16;
        const int64_t end = units * (me + 1) / all * 16 < x->cols ? units * (me + 1) / all * 16 : x->cols;
        if (!t->accumulate && begin < end)
            for (int64_t r = 0; r < out->rows; r++)
                memset(to + r * out->stride + begin, 0, (size_t)(end - begin) * sizeof *to);
        for (int64_t r = 0; r < x->rows; r++) {
            float *sum = to + id[r * ids->stride] * out->stride;
            if (bf16) {
                const uint16_t *row = (const uint16_t *)(const void *)from + r * x->stride;
                for (int64_t c = begin; c < end; c++) sum[c] += ctl_bf16_to_f32(row[c]);
            } else {
                const float *row = (const float *)(const void *)from + r * x->stride;
                for (int64_t c = begin; c < end; c++) sum[c] += row[c];
            }
        }
    }
    return CTL_OK;
}

ctl_status ctl_run_fold(ctl_cpu_session *s, const ctl_task *t) {
    if (t->noperands < 2) return CTL_ERR_INTERNAL;
    const ctl_operand *x = &t->operands[0], *out = &t->operands[1];
    if (x->dtype != CTL_F32 || out->dtype != CTL_F32 || x->cols != out->cols) return CTL_ERR_INTERNAL;
    const float *from = ctl_cpu_at(s, x);
    float *to = ctl_cpu_at(s, out);
    for (int64_t first = 0; first < x->cols; first += 256) {
        const int64_t n = x->cols - first < 256 ? x->cols - first : 256;
        float sum[256] = {0};
        for (int64_t r = 0; r < x->rows; r++)
            for (int64_t c = 0; c < n; c++) sum[c] += from[r * x->stride + first + c];
        for (int64_t c = 0; c < n; c++) to[first + c] = t->accumulate ? to[first + c] + sum[c] : sum[c];
    }
    return CTL_OK;
}

enum { TURN = 32 }; /* a square that fits the first level of the cache */

static void turn_square(const char *from, char *to, const ctl_operand *a, const ctl_operand *out, int64_t i,
                        int64_t j) {
    const int64_t rows = a->rows - i < TURN ? a->rows - i : TURN,
                  cols = a->cols - j < TURN ? a->cols - j : TURN;
    for (int64_t c = 0; c < cols; c++)
        for (int64_t r = 0; r < rows; r++) {
            const int64_t at = (i + r) * a->stride + j + c, put = (j + c) * out->stride + i + r;
            if (is_bf16(a) && is_bf16(out)) {
                ((uint16_t *)(void *)to)[put] = ((const uint16_t *)(const void *)from)[at];
                continue;
            }
            float x = is_bf16(a) ? ctl_bf16_to_f32(((const uint16_t *)(const void *)from)[at])
                                 : ((const float *)(const void *)from)[at];
            if (is_bf16(out))
                ((uint16_t *)(void *)to)[put] = ctl_f32_to_bf16(x);
            else
                ((float *)(void *)to)[put] = x;
        }
}

ctl_status ctl_run_transpose(ctl_cpu_session *s, const ctl_task *t) {
    if (t->noperands < 2) return CTL_ERR_INTERNAL;
    const ctl_operand *a = &t->operands[0], *out = &t->operands[1];
    if (a->rows != out->cols || a->cols != out->rows) return CTL_ERR_INTERNAL;
    const char *from = ctl_cpu_at(s, a);
    char *to = ctl_cpu_at(s, out);
    const int64_t across = (a->cols + TURN - 1) / TURN, squares = (a->rows + TURN - 1) / TURN * across;
#pragma omp parallel for num_threads(s->common.threads) schedule(static) if (squares > 1)
    for (int64_t square = 0; square < squares; square++)
        turn_square(from, to, a, out, square / across * TURN, square % across * TURN);
    return CTL_OK;
}
