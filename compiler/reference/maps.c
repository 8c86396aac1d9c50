/* maps: element by element with broadcasting, sums and maxima along rows, sums over rows. */
#include "compiler/reference/execute.h"

#include <math.h>

#include "base/random.h"
#include "runtime/program.h"

/* SUM and ROWMAX have the lanes of rowprog.h under every compute: column j goes to lane j mod 16, lanes meet
 * in a tree. What MAX, MIN and ROWMAX make of NaN is written there too. */
enum { LANES = 16 };

static double row_sum(const ctl_reference *r, const double *x, int64_t cols) {
    double lane[LANES] = {0};
    for (int64_t j = 0; j < cols; j++) lane[j % LANES] = ref_round(r, lane[j % LANES] + x[j]);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++) lane[j] = ref_round(r, lane[j] + lane[j + half]);
    return lane[0];
}

static double row_max(const double *x, int64_t cols) {
    double most = -INFINITY;
    for (int64_t j = 0; j < cols; j++)
        if (x[j] > most) most = x[j];
    return most;
}

/* Rows of a chunk in order, then the chunks in order: what TASK_FOLD does. */
static void column_sums(const ctl_reference *r, const ctl_node *a, const double *x, double *out) {
    int64_t chunk = (int64_t)CTL_ROW_CHUNK * a->split;
    for (int64_t j = 0; j < a->cols; j++) {
        double total = 0;
        for (int64_t begin = 0; begin < a->rows; begin += chunk) {
            double part = 0;
            for (int64_t t = begin; t < begin + chunk && t < a->rows; t++)
                part = ref_round(r, part + x[t * a->cols + j]);
            total = ref_round(r, total + part);
        }
        out[j] = total;
    }
}

static void drop(const ctl_reference *r, const ctl_node *n, const double *x, double *out) {
    uint32_t threshold = ctl_drop_threshold(n->f);
    double keep = ref_round(r, 1 - n->f);
    int64_t tokens = r->g->rows_of[SPACE_TOKENS], first = 0;
    if (n->space != SPACE_NONE && tokens > 0)
        first = r->first_row * r->g->rows_of[n->space] / tokens * n->split;
    for (int64_t t = 0; t < n->rows; t++) {
        for (int64_t j = 0; j < n->cols; j++) {
            int gone = ctl_dropped(r->seed, r->step, (uint32_t)n->i[0], (uint32_t)(first + t), (uint32_t)j,
                                   threshold);
            out[t * n->cols + j] = gone ? 0 : ref_round(r, x[t * n->cols + j] / keep);
        }
    }
}

static double modulo(const ctl_reference *r, double a, double b) {
    double whole = floor(ref_round(r, a / b));
    return a - ref_round(r, b * whole);
}

static double apply(const ctl_reference *r, const ctl_node *n, double a, double b, double c) {
    switch (n->op) {
    case OP_NEG: return -a;
    case OP_EXP: return exp(a);
    case OP_LOG: return log(a);
    case OP_SQRT: return sqrt(a);
    case OP_RSQRT: return 1 / ref_round(r, sqrt(a));
    case OP_SIN: return sin(a);
    case OP_COS: return cos(a);
    case OP_TANH: return tanh(a);
    case OP_ERF: return erf(a);
    case OP_ADD: return a + b;
    case OP_SUB: return a - b;
    case OP_MUL: return a * b;
    case OP_DIV: return a / b;
    case OP_MOD: return modulo(r, a, b);
    case OP_POW: return pow(a, b);
    case OP_MAX: return a > b ? a : b;
    case OP_MIN: return a < b ? a : b;
    case OP_LT: return a < b;
    case OP_LE: return a <= b;
    case OP_EQ: return a == b;
    case OP_SELECT: return a != 0 ? b : c;
    case OP_TOINT: return rint(a);
    case OP_CAST: return n->dtype == CTL_BF16 ? ref_bf16(a) : a;
    default: return a; /* TOREAL, STATE, STOP */
    }
}

void ref_map(ctl_reference *r, ctl_node_id id) {
    const ctl_node *n = &r->g->at[id], *a = &r->g->at[n->in[0]];
    const double *x[3] = {ref_value(r, n->in[0])};
    int64_t down[3] = {0}, across[3] = {0}; /* steps to the next row and column */
    double *out = ref_value(r, id);
    if (n->op == OP_COLSUM) {
        column_sums(r, a, x[0], out);
        return;
    }
    if (n->op == OP_DROP) {
        drop(r, n, x[0], out);
        return;
    }
    if (n->op == OP_SUM || n->op == OP_ROWMAX) {
        for (int64_t t = 0; t < a->rows; t++, x[0] += a->cols)
            out[t] = n->op == OP_SUM ? row_sum(r, x[0], a->cols) : row_max(x[0], a->cols);
        return;
    }
    for (uint32_t k = 0; k < 3; k++) {
        const ctl_node *in = &r->g->at[n->in[k < n->nin ? k : 0]];
        x[k] = ref_value(r, n->in[k < n->nin ? k : 0]);
        down[k] = in->rows == 1 ? 0 : in->cols;
        across[k] = in->cols == 1 ? 0 : 1;
    }
    for (int64_t t = 0; t < n->rows; t++) {
        const double *p = x[0] + t * down[0], *q = x[1] + t * down[1], *s = x[2] + t * down[2];
        for (int64_t j = 0; j < n->cols; j++)
            out[t * n->cols + j] =
                ref_round(r, apply(r, n, p[j * across[0]], q[j * across[1]], s[j * across[2]]));
    }
}
