/* rowprog_run: see rowprog_run.h. Shares nothing with the schedule or the emitters but math.def and random.h.
 */
#include "compiler/kernel/rowprog_run.h"

#include <math.h>

#include "base/random.h"
#include "compiler/kernel/math.h"

typedef struct runner {
    const ctl_rowprog *p;
    const ctl_rows_call *call;
    int64_t t, h;
} runner;

size_t ctl_rowprog_run_floats(const ctl_rowprog *p) {
    size_t n = 0;
    for (uint32_t v = 0; v < p->n; v++) n += (size_t)p->at[v].width;
    return n + p->n * (sizeof(int64_t) / sizeof(float));
}

static void *row_of(const runner *r, int64_t operand) {
    const ctl_row_operand *o = &r->p->operands[operand];
    const ctl_rows_arg *arg = &r->call->args[operand];
    int64_t at = 0;
    switch (o->at) {
    case AT_ROW:
        at = r->t * arg->stride + r->h * o->cols;
        break;
    case AT_OUTER:
        at = r->t * arg->stride;
        break;
    case AT_FIXED:
        break;
    case AT_GATHER:
        at = arg->index[r->t] * arg->stride;
        break;
    case AT_CHUNK:
        at = r->t / CTL_ROW_CHUNK * arg->stride;
        break;
    }
    return (char *)arg->base + at * (int64_t)ctl_dtype_size(o->dtype);
}

static int32_t to_int(float x) {
    float y = rintf(x);
    if (y != y) return 0;
    if (y >= 2147483648.0f) return INT32_MAX;
    return y < -2147483648.0f ? INT32_MIN : (int32_t)y;
}

static void load(const runner *r, const ctl_row_instr *q, float *out) {
    const void *row = row_of(r, q->i[0]);
    for (int64_t c = 0; c < q->width; c++) switch (r->p->operands[q->i[0]].dtype) {
        case CTL_BF16:
            out[c] = ctl_bf16_to_f32(((const uint16_t *)row)[c]);
            break;
        case CTL_I32:
            out[c] = (float)((const int32_t *)row)[c];
            break;
        default:
            out[c] = ((const float *)row)[c];
        }
}

static void write(const runner *r, const ctl_row_instr *q, const float *a, int64_t width) {
    void *row = row_of(r, q->i[0]);
    bool first = q->op == ROW_COLSUM && r->t % CTL_ROW_CHUNK == 0 && r->h == 0;
    for (int64_t c = 0; c < q->width; c++) {
        float x = a[width == 1 ? 0 : c];
        if (q->op == ROW_COLSUM)
            ((float *)row)[c] = (first ? 0.0f : ((float *)row)[c]) + x;
        else if (q->op == ROW_ADD_TO)
            ((float *)row)[c] += x;
        else if (r->p->operands[q->i[0]].dtype == CTL_BF16)
            ((uint16_t *)row)[c] = ctl_f32_to_bf16(x);
        else if (r->p->operands[q->i[0]].dtype == CTL_I32)
            ((int32_t *)row)[c] = to_int(x);
        else
            ((float *)row)[c] = x;
    }
}

static float reduce(uint32_t op, const float *a, int64_t width) {
    float lane[16];
    for (int j = 0; j < 16; j++) {
        lane[j] = op == OP_SUM ? 0.0f : -INFINITY;
        for (int64_t c = j; c < width; c += 16)
            lane[j] = op == OP_SUM ? lane[j] + a[c] : a[c] > lane[j] ? a[c] : lane[j];
    }
    for (int n = 8; n > 0; n /= 2)
        for (int j = 0; j < n; j++)
            lane[j] = op == OP_SUM ? lane[j] + lane[j + n] : lane[j + n] > lane[j] ? lane[j + n] : lane[j];
    return lane[0];
}

static float apply(const ctl_row_instr *q, float a, float b, float c) {
    switch (q->op) {
    case OP_NEG:
        return -a;
    case OP_EXP:
        return ctl_math_expf(a);
    case OP_LOG:
        return ctl_math_logf(a);
    case OP_SQRT:
        return sqrtf(a);
    case OP_RSQRT:
        return 1.0f / sqrtf(a);
    case OP_SIN:
        return ctl_math_sinf(a);
    case OP_COS:
        return ctl_math_cosf(a);
    case OP_TANH:
        return ctl_math_tanhf(a);
    case OP_ERF:
        return ctl_math_erff(a);
    case OP_ADD:
        return a + b;
    case OP_SUB:
        return a - b;
    case OP_MUL:
        return a * b;
    case OP_DIV:
        return a / b;
    case OP_MOD:
        return a - b * floorf(a / b);
    case OP_POW:
        return ctl_math_powf(a, b);
    case OP_MAX:
        return a > b ? a : b;
    case OP_MIN:
        return a < b ? a : b;
    case OP_LT:
        return a < b ? 1.0f : 0.0f;
    case OP_LE:
        return a <= b ? 1.0f : 0.0f;
    case OP_EQ:
        return a == b ? 1.0f : 0.0f;
    case OP_SELECT:
        return a != 0 ? b : c;
    case OP_TOINT:
        return rintf(a);
    case OP_CAST:
        return q->dtype == CTL_BF16 ? ctl_bf16_to_f32(ctl_f32_to_bf16(a)) : a;
    default:
        return NAN; /* not in a verified program */
    }
}

static float drop(const runner *r, const ctl_row_instr *q, float a, int64_t column) {
    uint32_t row = (uint32_t)((r->call->row0 + r->t) * r->p->split + r->h);
    bool dropped = ctl_dropped(r->call->seed, r->call->step, r->call->sites[q->i[0]], row, (uint32_t)column,
                               ctl_drop_threshold(q->f));
    return dropped ? 0.0f : a / (float)(1.0 - q->f);
}

static void run_instr(const runner *r, uint32_t v, float *const *in, float *out) {
    const ctl_row_instr *q = &r->p->at[v];
    const ctl_row_instr *at = r->p->at;
    switch (q->op) {
    case ROW_LOAD:
        load(r, q, out);
        return;
    case ROW_STORE:
    case ROW_ADD_TO:
    case ROW_COLSUM:
        write(r, q, in[0], at[q->in[0]].width);
        return;
    case OP_CONST:
        out[0] = (float)q->f;
        return;
    case OP_INDEX:
        for (int64_t c = 0; c < q->width; c++) out[c] = (float)c;
        return;
    case OP_SUM:
    case OP_ROWMAX:
        out[0] = reduce(q->op, in[0], at[q->in[0]].width);
        return;
    case OP_COLUMNS:
        memcpy(out, in[0] + q->i[0], (size_t)q->width * sizeof *out);
        return;
    case OP_DROP:
        for (int64_t c = 0; c < q->width; c++) out[c] = drop(r, q, in[0][c], c);
        return;
    default:
        break;
    }
    int64_t step[3];
    for (uint32_t k = 0; k < 3; k++) step[k] = k < q->nin && at[q->in[k]].width > 1;
    for (int64_t c = 0; c < q->width; c++)
        out[c] = apply(q, in[0][c * step[0]], in[1][c * step[1]], in[2][c * step[2]]);
}

static void run_row(const runner *r, const int64_t *begin_of, float *values) {
    for (uint32_t v = 0; v < r->p->n; v++) {
        const ctl_row_instr *q = &r->p->at[v];
        float *in[3] = {values, values, values}, *out = values + begin_of[v];
        for (uint32_t k = 0; k < q->nin; k++) {
            float *from = values + begin_of[q->in[k]];
            int64_t width = r->p->at[q->in[k]].width;
            if (q->op == OP_CAT) {
                memcpy(out, from, (size_t)width * sizeof *out);
                out += width;
            } else
                in[k] = from;
        }
        if (q->op != OP_CAT) run_instr(r, v, in, out);
    }
}

void ctl_rowprog_run(const ctl_rowprog *p, const ctl_rows_call *call, float *values, int64_t begin,
                     int64_t end) {
    runner r = {.p = p, .call = call};
    int64_t *begin_of = (int64_t *)(void *)values; /* first, where each value's row begins; then the rows */
    int64_t at = (int64_t)(p->n * (sizeof(int64_t) / sizeof(float)));
    for (uint32_t v = 0; v < p->n; v++) begin_of[v] = at, at += p->at[v].width;
    for (r.t = begin; r.t < end; r.t++)
        for (r.h = 0; r.h < p->split; r.h++) run_row(&r, begin_of, values);
}
