/* naive_engine: runs a program's tasks by plain loops, row programs by their interpreter, for tests of
 * lowering: no LLVM, no oneDNN, no threads. The step region is poisoned with NaN before each timeline, and
 * every buffer again as soon as its recorded life has ended. */
#ifndef CTL_TESTS_NAIVE_ENGINE_H
#define CTL_TESTS_NAIVE_ENGINE_H

#include <math.h>
#include <stdlib.h>

#include "base/dtype.h"
#include "compiler/kernel/rowprog_run.h"
#include "runtime/program.h"

typedef struct naive {
    const ctl_program *p;
    const ctl_rowprog *const *rows;
    char *region[REGION_COUNT];
    uint64_t seed;
    uint32_t step;
    int64_t row0;
} naive;

static char *naive_at(const naive *e, const ctl_operand *o) {
    const ctl_buffer *b = &e->p->buffers[o->buffer];
    return e->region[b->region] + b->offset + o->offset;
}

static double naive_get(const naive *e, const ctl_operand *o, int64_t row, int64_t col) {
    const char *base = naive_at(e, o);
    int64_t i = row * o->stride + col;
    switch (o->dtype) {
    case CTL_BF16:
        return ctl_bf16_to_f32(((const uint16_t *)base)[i]);
    case CTL_I32:
        return ((const int32_t *)base)[i];
    default:
        return ((const float *)base)[i];
    }
}

static void naive_put(const naive *e, const ctl_operand *o, int64_t row, int64_t col, double v) {
    char *base = naive_at(e, o);
    int64_t i = row * o->stride + col;
    if (o->dtype == CTL_BF16)
        ((uint16_t *)base)[i] = ctl_f32_to_bf16((float)v);
    else if (o->dtype == CTL_I32)
        ((int32_t *)base)[i] = (int32_t)v;
    else
        ((float *)base)[i] = (float)v;
}

static bool naive_absent(const ctl_operand *o) {
    return o->buffer == UINT32_MAX;
}

static void naive_rows(naive *e, const ctl_task *t) {
    const ctl_rowprog *p = e->rows[t->kernel];
    ctl_rows_arg args[CTL_MOST_OPERANDS];
    for (uint32_t k = 0; k < t->noperands; k++)
        args[k] = (ctl_rows_arg){
            naive_at(e, &t->operands[k]), t->operands[k].stride,
            t->index_of[k] == UINT32_MAX ? NULL : (int32_t *)naive_at(e, &t->operands[t->index_of[k]])};
    float *values = malloc(ctl_rowprog_run_floats(p) * sizeof(float) + 64);
    ctl_rows_call call = {.args = args, .sites = t->sites, .seed = e->seed, .row0 = t->weights ? 0 : e->row0, .step = e->step};
    ctl_rowprog_run(p, &call, values, 0, t->rows);
    free(values);
}

static void naive_matmul(naive *e, const ctl_task *t) {
    const ctl_operand *a = &t->operands[0], *b = &t->operands[1], *c = &t->operands[2];
    int64_t inner = t->transpose_a ? a->rows : a->cols;
    for (int64_t i = 0; i < c->rows; i++) {
        for (int64_t j = 0; j < c->cols; j++) {
            double sum = 0;
            for (int64_t k = 0; k < inner; k++)
                sum += naive_get(e, a, t->transpose_a ? k : i, t->transpose_a ? i : k) *
                       naive_get(e, b, t->transpose_b ? j : k, t->transpose_b ? k : j);
            float v = (float)sum;
            if (t->accumulate) v = v + (float)naive_get(e, c, i, j);
            if (!naive_absent(&t->operands[3])) v = v + (float)naive_get(e, &t->operands[3], 0, j);
            if (!naive_absent(&t->operands[4])) v = v + (float)naive_get(e, &t->operands[4], i, j);
            naive_put(e, c, i, j, v);
        }
    }
}

/* Rows that row t attends to. */
static void naive_range(naive *e, const ctl_task *t, const ctl_operand *positions, const ctl_operand *lengths,
                        int64_t row, int64_t *from, int64_t *to) {
    int64_t start = row - (int64_t)naive_get(e, positions, row, 0);
    *from = start, *to = t->causal ? row : start + (int64_t)naive_get(e, lengths, row, 0) - 1;
    if (t->window && row - *from >= t->window) *from = row - t->window + 1;
}

static double naive_dot(naive *e, const ctl_operand *a, int64_t ra, int64_t ca, const ctl_operand *b,
                        int64_t rb, int64_t cb, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; k < n; k++) sum += naive_get(e, a, ra, ca + k) * naive_get(e, b, rb, cb + k);
    return sum;
}

static void naive_attend(naive *e, const ctl_task *t) {
    const ctl_operand *q = &t->operands[0], *k = &t->operands[1], *v = &t->operands[2];
    int64_t n = t->head, heads = q->cols / n, group = q->cols / k->cols, from, to;
    for (int64_t row = 0; row < q->rows; row++) {
        naive_range(e, t, &t->operands[5], &t->operands[6], row, &from, &to);
        for (int64_t h = 0; h < heads; h++) {
            double most = -INFINITY, sum = 0, scale = 1 / sqrt((double)n);
            for (int64_t s = from; s <= to; s++)
                most = fmax(most, scale * naive_dot(e, q, row, h * n, k, s, h / group * n, n));
            for (int64_t s = from; s <= to; s++)
                sum += exp(scale * naive_dot(e, q, row, h * n, k, s, h / group * n, n) - most);
            for (int64_t c = 0; c < n; c++) {
                double o = 0;
                for (int64_t s = from; s <= to; s++)
                    o += exp(scale * naive_dot(e, q, row, h * n, k, s, h / group * n, n) - most) / sum *
                         naive_get(e, v, s, h / group * n + c);
                naive_put(e, &t->operands[3], row, h * n + c, o);
            }
            naive_put(e, &t->operands[4], row, h, most + log(sum));
        }
    }
}

static void naive_attend_grad(naive *e, const ctl_task *t) {
    const ctl_operand *o = t->operands, *q = &o[0], *k = &o[1], *v = &o[2];
    int64_t n = t->head, heads = q->cols / n, group = q->cols / k->cols, from, to;
    double *dk = calloc((size_t)(k->rows * k->cols), sizeof *dk),
           *dv = calloc((size_t)(k->rows * k->cols), sizeof *dv);
    double *dq = calloc((size_t)(q->rows * q->cols), sizeof *dq), scale = 1 / sqrt((double)n);
    for (int64_t row = 0; row < q->rows; row++) {
        naive_range(e, t, &o[9], &o[10], row, &from, &to);
        for (int64_t h = 0; h < heads; h++) {
            int64_t kv = h / group * n;
            double d = naive_dot(e, &o[5], row, h * n, &o[3], row, h * n, n);
            for (int64_t s = from; s <= to; s++) {
                double p =
                    exp(scale * naive_dot(e, q, row, h * n, k, s, kv, n) - naive_get(e, &o[4], row, h));
                double ds = p * (naive_dot(e, &o[5], row, h * n, v, s, kv, n) - d) * scale;
                for (int64_t c = 0; c < n; c++) {
                    dq[row * q->cols + h * n + c] += ds * naive_get(e, k, s, kv + c);
                    dk[s * k->cols + kv + c] += ds * naive_get(e, q, row, h * n + c);
                    dv[s * k->cols + kv + c] += p * naive_get(e, &o[5], row, h * n + c);
                }
            }
        }
    }
    for (int64_t i = 0; i < q->rows; i++) {
        for (int64_t c = 0; c < q->cols; c++) naive_put(e, &o[6], i, c, dq[i * q->cols + c]);
        for (int64_t c = 0; c < k->cols; c++) naive_put(e, &o[7], i, c, dk[i * k->cols + c]);
        for (int64_t c = 0; c < k->cols; c++) naive_put(e, &o[8], i, c, dv[i * k->cols + c]);
    }
    free(dq), free(dk), free(dv);
}

static void naive_head(naive *e, const ctl_task *t) {
    const ctl_operand *o = t->operands, *x = &o[0], *w = &o[1];
    int64_t rows = x->rows, vocab = w->rows, n = x->cols;
    double *d = calloc((size_t)(rows * vocab), sizeof *d), loss = 0, normaliser = naive_get(e, &o[3], 0, 0);
    for (int64_t i = 0; i < rows; i++) {
        int64_t label = (int64_t)naive_get(e, &o[2], i, 0);
        double most = -INFINITY, sum = 0, *row = d + i * vocab;
        if (label == -100) continue;
        for (int64_t j = 0; j < vocab; j++)
            row[j] = naive_dot(e, x, i, 0, w, j, 0, n), most = fmax(most, row[j]);
        for (int64_t j = 0; j < vocab; j++) sum += exp(row[j] - most);
        loss += most + log(sum) - row[label];
        for (int64_t j = 0; j < vocab; j++) {
            row[j] = (exp(row[j] - most) / sum - (j == label)) * normaliser;
            if (x->dtype == CTL_BF16) row[j] = ctl_bf16_to_f32(ctl_f32_to_bf16((float)row[j]));
        }
    }
    naive_put(e, &o[4], 0, 0, loss * normaliser);
    for (int64_t i = 0; i < rows && !naive_absent(&o[5]); i++) {
        for (int64_t c = 0; c < n; c++) {
            double sum = 0;
            for (int64_t j = 0; j < vocab; j++) sum += d[i * vocab + j] * naive_get(e, w, j, c);
            naive_put(e, &o[5], i, c, sum);
        }
    }
    for (int64_t j = 0; j < vocab && !naive_absent(&o[6]); j++) {
        for (int64_t c = 0; c < n; c++) {
            double sum = 0;
            for (int64_t i = 0; i < rows; i++) sum += d[i * vocab + j] * naive_get(e, x, i, c);
            naive_put(e, &o[6], j, c, (float)sum + (t->accumulate ? (float)naive_get(e, &o[6], j, c) : 0.0f));
        }
    }
    free(d);
}

static void naive_moves(naive *e, const ctl_task *t) {
    const ctl_operand *a = &t->operands[0], *out = &t->operands[t->noperands - 1];
    if (t->kind == TASK_TRANSPOSE) {
        for (int64_t i = 0; i < out->rows; i++)
            for (int64_t j = 0; j < out->cols; j++) naive_put(e, out, i, j, naive_get(e, a, j, i));
        return;
    }
    for (int64_t i = 0; i < out->rows && !t->accumulate; i++)
        for (int64_t j = 0; j < out->cols; j++) naive_put(e, out, i, j, 0);
    for (int64_t j = 0; j < a->cols && t->kind == TASK_FOLD; j++) {
        float sum = 0;
        for (int64_t i = 0; i < a->rows; i++) sum += (float)naive_get(e, a, i, j);
        naive_put(e, out, 0, j, (float)naive_get(e, out, 0, j) + sum);
    }
    for (int64_t i = 0; i < a->rows && t->kind == TASK_SCATTER; i++) {
        int64_t to = (int64_t)naive_get(e, &t->operands[1], i, 0);
        for (int64_t j = 0; j < a->cols; j++)
            naive_put(e, out, to, j, (float)naive_get(e, out, to, j) + (float)naive_get(e, a, i, j));
    }
}

/* What no longer lives after the task. */
static void naive_poison(naive *e, const ctl_task *t, int32_t now) {
    for (uint32_t k = 0; k <= t->noperands; k++) {
        const ctl_operand *o = k < t->noperands ? &t->operands[k] : &t->scratch;
        if (naive_absent(o)) continue;
        const ctl_buffer *b = &e->p->buffers[o->buffer];
        if (b->region == REGION_STEP && b->last == now)
            memset(e->region[REGION_STEP] + b->offset, 0xff, b->bytes);
    }
}

static void naive_run(naive *e, ctl_program_entry entry) {
    int32_t base = entry == RUN_BACKWARD ? (int32_t)e->p->run[RUN_FORWARD].n : 0;
    if (entry != RUN_BACKWARD) memset(e->region[REGION_STEP], 0xff, e->p->region_bytes[REGION_STEP]);
    for (size_t k = 0; k < e->p->run[entry].n; k++) {
        const ctl_task *t = &e->p->run[entry].at[k];
        if (!naive_absent(&t->scratch)) memset(naive_at(e, &t->scratch), 0xff, (size_t)t->scratch.cols);
        switch (t->kind) {
        case TASK_ROWS:
            naive_rows(e, t);
            break;
        case TASK_MATMUL:
            naive_matmul(e, t);
            break;
        case TASK_ATTEND:
            naive_attend(e, t);
            break;
        case TASK_ATTEND_GRAD:
            naive_attend_grad(e, t);
            break;
        case TASK_HEAD:
            naive_head(e, t);
            break;
        default:
            naive_moves(e, t);
        }
        bool end =
            k + 1 == e->p->run[entry].n && entry != RUN_FORWARD; /* what lives until then the host may read */
        if (!end) naive_poison(e, t, base + (int32_t)k);
    }
}

static void naive_open(naive *e, const ctl_program *p, const ctl_rowprog *const *rows) {
    *e = (naive){.p = p, .rows = rows};
    for (int r = 0; r < REGION_COUNT; r++) {
        size_t bytes = (p->region_bytes[r] + 127) / 64 * 64;
        e->region[r] = aligned_alloc(64, bytes);
        memset(e->region[r], r == REGION_PERSISTENT ? 0 : 0xff, bytes);
    }
}

static void naive_close(naive *e) {
    for (int r = 0; r < REGION_COUNT; r++) free(e->region[r]);
}

#endif
