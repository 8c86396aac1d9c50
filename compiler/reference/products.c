/* products: matrix products, attention and its gradient, the head. Sums of products are taken in double. */
#include "compiler/reference/execute.h"

#include <math.h>

enum { IGNORED_LABEL = -100 };

/* Four sums side by side: each in the order of k, together four times as fast as one after the other. */
static void four_dots(const double *x, int64_t x_step, const double *b, int64_t b_row, int64_t n,
                      double *out) {
    double sum[4] = {0};
    for (int64_t k = 0; k < n; k++)
        for (int64_t j = 0; j < 4; j++) sum[j] += x[k * x_step] * b[j * b_row + k];
    for (int64_t j = 0; j < 4; j++) out[j] = sum[j];
}

void ref_matmul(ctl_reference *r, ctl_node_id id) {
    const ctl_node *n = &r->g->at[id], *na = &r->g->at[n->in[0]], *nb = &r->g->at[n->in[1]];
    const double *a = ref_value(r, n->in[0]), *b = ref_value(r, n->in[1]);
    double *out = ref_value(r, id);
    bool ta = n->i[0] != 0, tb = n->i[1] != 0;
    int64_t rows = n->rows, cols = n->cols, inner = ta ? na->rows : na->cols;
    int64_t a_row = ta ? 1 : na->cols, a_step = ta ? na->cols : 1;
    for (int64_t i = 0; i < rows; i++) {
        double *c = out + i * cols;
        const double *x = a + i * a_row;
        for (int64_t j = 0; j < cols; j++) c[j] = 0;
        if (tb) {
            int64_t j = 0;
            for (; j + 4 <= cols; j += 4) four_dots(x, a_step, b + j * nb->cols, nb->cols, inner, c + j);
            for (; j < cols; j++)
                for (int64_t k = 0; k < inner; k++) c[j] += x[k * a_step] * b[j * nb->cols + k];
        } else {
            for (int64_t k = 0; k < inner; k++)
                for (int64_t j = 0; j < cols; j++) c[j] += x[k * a_step] * b[k * nb->cols + j];
        }
        for (int64_t j = 0; j < cols; j++) c[j] = ref_round(r, c[j]);
    }
}

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; k < n; k++) sum += a[k] * b[k];
    return sum;
}

static void add_scaled(double *to, double factor, const double *from, int64_t n) {
    for (int64_t k = 0; k < n; k++) to[k] += factor * from[k];
}

static void round_all(const ctl_reference *r, double *x, int64_t n) {
    for (int64_t k = 0; k < n; k++) x[k] = ref_round(r, x[k]);
}

/* ---- sequences by a matrix ---- */
void ref_mix(ctl_reference *r, ctl_node_id id) {
    const ctl_node *n = &r->g->at[id], *nx = &r->g->at[n->in[1]];
    const double *a = ref_value(r, n->in[0]), *x = ref_value(r, n->in[1]);
    double *out = ref_value(r, id);
    int64_t length = ctl_graph_sequence(r->g, nx->space), cols = nx->cols;
    memset(out, 0, (size_t)(n->rows * n->cols) * sizeof *out);
    for (int64_t begin = 0; begin < nx->rows; begin += length)
        for (int64_t i = 0; i < length; i++)
            for (int64_t j = 0; j < length; j++) {
                const double *row = x + (begin + j) * cols;
                if (n->op == OP_MIX_GRAD) out[i * length + j] += dot(a + (begin + i) * cols, row, cols);
                else add_scaled(out + (begin + i) * cols, a[n->i[0] ? j * length + i : i * length + j], row, cols);
            }
    round_all(r, out, n->rows * n->cols);
}

/* ---- attention ---- */
typedef struct attention {
    ctl_reference *r;
    int64_t rows, heads, group, head, q_cols, k_cols, window;
    int space;
    bool causal;
    double scale;
    const double *q, *k, *v;
    double *p; /* rows numbers: of one query row and head */
} attention;

/* The rows that row t attends to: first .. last, within its document. */
static ctl_status sight(const attention *a, int64_t t, int64_t *first, int64_t *last) {
    int64_t position, length;
    ref_place(a->r, a->space, t, &position, &length);
    int64_t start = t - position;
    if (position < 0 || position >= length || start < 0 || start + length > a->rows)
        return ref_fail(a->r, "row %lld: position %lld of a document of %lld rows leaves the batch",
                        (long long)t, (long long)position, (long long)length);
    *first = start;
    if (a->window > 0 && t - a->window + 1 > start) *first = t - a->window + 1;
    *last = a->causal ? t : start + length - 1;
    return CTL_OK;
}

static double score(const attention *a, int64_t t, int64_t s, int64_t h) {
    double x =
        dot(a->q + t * a->q_cols + h * a->head, a->k + s * a->k_cols + h / a->group * a->head, a->head);
    return ref_round(a->r, ref_round(a->r, x) * a->scale);
}

static ctl_status attend(const attention *a, double *o, double *lse) {
    const ctl_reference *r = a->r;
    for (int64_t t = 0; t < a->rows; t++) {
        int64_t first, last;
        ctl_status status = sight(a, t, &first, &last);
        if (status != CTL_OK) return status;
        for (int64_t h = 0; h < a->heads; h++) {
            double most = -INFINITY, sum = 0, *to = o + t * a->q_cols + h * a->head;
            for (int64_t s = first; s <= last; s++) {
                a->p[s] = score(a, t, s, h);
                if (a->p[s] > most || isnan(a->p[s])) most = a->p[s];
            }
            memset(to, 0, (size_t)a->head * sizeof *to);
            for (int64_t s = first; s <= last; s++) {
                double p = ref_round(r, exp(a->p[s] - most));
                sum += p;
                add_scaled(to, ref_operand(r, p), a->v + s * a->k_cols + h / a->group * a->head, a->head);
            }
            for (int64_t j = 0; j < a->head; j++) to[j] = ref_round(r, to[j] / sum);
            lse[t * a->heads + h] = ref_round(r, most + log(sum));
        }
    }
    return CTL_OK;
}

static ctl_status attend_grad(const attention *a, const ctl_node *n, double *dq, double *dk, double *dv) {
    ctl_reference *r = a->r;
    const double *o = ref_value(r, n->in[3]), *lse = ref_value(r, n->in[4]), *d_o = ref_value(r, n->in[5]);
    memset(dq, 0, (size_t)(a->rows * a->q_cols) * sizeof *dq);
    memset(dk, 0, (size_t)(a->rows * a->k_cols) * sizeof *dk);
    memset(dv, 0, (size_t)(a->rows * a->k_cols) * sizeof *dv);
    for (int64_t t = 0; t < a->rows; t++) {
        int64_t first, last;
        ctl_status status = sight(a, t, &first, &last);
        if (status != CTL_OK) return status;
        for (int64_t h = 0; h < a->heads; h++) {
            int64_t at = t * a->q_cols + h * a->head;
            double across = ref_round(r, dot(o + at, d_o + at, a->head));
            for (int64_t s = first; s <= last; s++) {
                int64_t to = s * a->k_cols + h / a->group * a->head;
                double p = ref_round(r, exp(score(a, t, s, h) - lse[t * a->heads + h]));
                double dp = ref_round(r, dot(d_o + at, a->v + to, a->head));
                double ds = ref_operand(r, ref_round(r, p * ref_round(r, dp - across)));
                add_scaled(dv + to, ref_operand(r, p), d_o + at, a->head);
                add_scaled(dq + at, ds * a->scale, a->k + to, a->head);
                add_scaled(dk + to, ds * a->scale, a->q + at, a->head);
            }
        }
    }
    round_all(r, dq, a->rows * a->q_cols);
    round_all(r, dk, a->rows * a->k_cols);
    round_all(r, dv, a->rows * a->k_cols);
    return CTL_OK;
}

ctl_status ref_attend(ctl_reference *r, ctl_node_id id) {
    const ctl_node *n = &r->g->at[id], *q = &r->g->at[n->in[0]], *k = &r->g->at[n->in[1]];
    attention a = {.r = r,
                   .rows = n->rows,
                   .heads = q->cols / n->i[0],
                   .group = q->cols / k->cols,
                   .head = n->i[0],
                   .q_cols = q->cols,
                   .k_cols = k->cols,
                   .window = n->i[2],
                   .space = n->space,
                   .causal = n->i[1] != 0,
                   .q = ref_value(r, n->in[0]),
                   .k = ref_value(r, n->in[1]),
                   .v = ref_value(r, n->in[2])};
    a.scale = ref_round(r, 1 / sqrt((double)a.head));
    if (n->op == OP_ATTEND_GRAD)
        return attend_grad(&a, n, ref_value(r, id), ref_part(r, id, 1), ref_part(r, id, 2));
    size_t bytes = (size_t)n->rows * sizeof(double);
    a.p = ctl_alloc(r->allocator, bytes);
    if (!a.p) return CTL_ERR_MEMORY;
    ctl_status status = attend(&a, ref_value(r, id), ref_part(r, id, 1));
    ctl_free(r->allocator, a.p, bytes);
    return status;
}

/* ---- linear and cross-entropy ---- */
static double row_loss(const ctl_reference *r, const double *x, const double *w, int64_t cols,
                       int64_t classes, int64_t label, double *p, /* the row's softmax on return */
                       int64_t *predicted) {
    double most = -INFINITY, sum = 0;
    for (int64_t c = 0; c < classes; c++) {
        p[c] = ref_round(r, dot(x, w + c * cols, cols));
        if (p[c] > most || isnan(p[c])) most = p[c];
    }
    *predicted = 0;
    while (*predicted < classes - 1 && !(p[*predicted] >= most)) ++*predicted;
    if (label == IGNORED_LABEL) return 0;
    double at_label = p[label];
    for (int64_t c = 0; c < classes; c++) {
        p[c] = ref_round(r, exp(p[c] - most));
        sum += p[c];
    }
    for (int64_t c = 0; c < classes; c++) p[c] = ref_round(r, p[c] / sum);
    return ref_round(r, ref_round(r, most + log(sum)) - at_label);
}

ctl_status ref_head(ctl_reference *r, ctl_node_id id) {
    const ctl_node *n = &r->g->at[id], *nx = &r->g->at[n->in[0]], *nw = &r->g->at[n->in[1]];
    const double *x = ref_value(r, n->in[0]), *w = ref_value(r, n->in[1]), *labels = ref_value(r, n->in[2]);
    double *dx = n->i[0] & 1 ? ref_part(r, id, 1) : NULL, *dw = n->i[0] & 2 ? ref_part(r, id, 2) : NULL;
    int64_t cols = nx->cols, classes = nw->rows;
    size_t bytes = (size_t)classes * sizeof(double);
    double *p = ctl_alloc(r->allocator, bytes), loss = 0, *rows = n->i[0] & 4 ? ref_part(r, id, 3) : NULL;
    if (!p) return CTL_ERR_MEMORY;
    ref_data z = r->normaliser;
    double normaliser = ref_round(r, z.dtype == CTL_F64 ? *(const double *)z.at : *(const float *)z.at);
    if (dx) memset(dx, 0, (size_t)(nx->rows * cols) * sizeof *dx);
    if (dw) memset(dw, 0, (size_t)(classes * cols) * sizeof *dw);
    ctl_status status = CTL_OK;
    for (int64_t t = 0; t < nx->rows && status == CTL_OK; t++) {
        if (labels[t] == IGNORED_LABEL && !rows) continue;
        if (labels[t] != IGNORED_LABEL && !(labels[t] >= 0 && labels[t] < (double)classes)) {
            status = ref_fail(r, "row %lld: label %g is not one of %lld classes", (long long)t, labels[t],
                              (long long)classes);
            break;
        }
        int64_t label = (int64_t)labels[t], predicted;
        const double row = row_loss(r, x + t * cols, w, cols, classes, label, p, &predicted);
        loss += row;
        if (rows) rows[2 * t] = row, rows[2 * t + 1] = (double)predicted;
        if (label == IGNORED_LABEL || (!dx && !dw)) continue;
        p[label] = ref_round(r, p[label] - 1);
        for (int64_t c = 0; c < classes; c++) {
            double d = ref_operand(r, ref_round(r, p[c] * normaliser));
            if (dx) add_scaled(dx + t * cols, d, w + c * cols, cols);
            if (dw) add_scaled(dw + c * cols, d, x + t * cols, cols);
        }
    }
    ctl_free(r->allocator, p, bytes);
    if (dx) round_all(r, dx, nx->rows * cols);
    if (dw) round_all(r, dw, classes * cols);
    *ref_value(r, id) = ref_round(r, loss * normaliser);
    return status;
}
