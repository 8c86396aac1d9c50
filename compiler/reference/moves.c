/* moves: leaves, views of the same numbers, rows by an index. */
#include "compiler/reference/execute.h"

static double read_data(const ref_data *d, size_t k) {
    if (d->dtype == CTL_F64) return ((const double *)d->at)[k];
    if (d->dtype == CTL_F32) return ((const float *)d->at)[k];
    return ((const int32_t *)d->at)[k];
}

void ref_place(const ctl_reference *r, int space, int64_t t, int64_t *position, int64_t *length) {
    int64_t extra = r->g->extra[space], sequence = r->g->sequence + extra, begin = 0;
    if (extra) { /* the rows before are the first document's */
        begin = t / sequence * r->g->sequence;
        t = t % sequence < extra ? begin - extra + t % sequence : begin + t % sequence - extra;
    }
    int64_t token = t < begin ? begin : t;
    *position = (int64_t)read_data(&r->positions, (size_t)token) + (t - token);
    *length = (int64_t)read_data(&r->lengths, (size_t)token);
    if (extra && *position == t - begin) *position += extra, *length += extra;
}

static double row_number(const ctl_reference *r, const ctl_node *n, int64_t t) {
    int64_t position, length, sequence = r->g->sequence + r->g->extra[n->space];
    if (n->op == OP_PLACE) return (double)(t % sequence);
    if (n->op == OP_SEQUENCE) return (double)(t / sequence);
    ref_place(r, n->space, t, &position, &length);
    return (double)(n->op == OP_POSITION ? position : length);
}

static ctl_status leaf(ctl_reference *r, const ctl_node *n, double *out) {
    const ref_data *from = NULL;
    int64_t count = n->rows * n->cols;
    switch (n->op) {
    case OP_INPUT: from = &r->inputs[n->i[0]]; break;
    case OP_PARAM: from = &r->params[n->i[0]]; break;
    case OP_POSITION:
    case OP_LENGTH:
    case OP_PLACE:
    case OP_SEQUENCE:
        for (int64_t t = 0; t < count; t++) out[t] = row_number(r, n, t);
        break;
    case OP_NORMALISER: from = &r->normaliser; break;
    case OP_CONST: out[0] = ref_round(r, n->f); break;
    case OP_INDEX:
        for (int64_t j = 0; j < count; j++) out[j] = (double)j;
        break;
    default: /* EYE */
        for (int64_t j = 0; j < count; j++) out[j] = j / n->cols == j % n->cols;
    }
    for (int64_t j = 0; from && j < count; j++) {
        double x = ref_round(r, read_data(from, (size_t)j));
        out[j] = n->dtype == CTL_BF16 ? ref_bf16(x) : x;
    }
    return CTL_OK;
}

static void beside(const ctl_reference *r, const ctl_node *n, double *out) {
    int64_t at = 0;
    for (uint32_t k = 0; k < n->nin; k++) {
        const ctl_node *p = &r->g->at[n->in[k]];
        const double *x = ref_value(r, n->in[k]);
        for (int64_t t = 0; t < n->rows; t++)
            memcpy(out + t * n->cols + at, x + (p->rows == 1 ? 0 : t * p->cols), (size_t)p->cols * sizeof *x);
        at += p->cols;
    }
}

static ctl_status by_index(ctl_reference *r, const ctl_node *n, double *out) {
    const ctl_node *a = &r->g->at[n->in[0]], *ids = &r->g->at[n->in[1]];
    const double *x = ref_value(r, n->in[0]), *id = ref_value(r, n->in[1]);
    int64_t cols = a->cols, most = n->op == OP_TAKE ? a->rows : n->rows;
    if (n->op == OP_SCATTER) memset(out, 0, (size_t)(n->rows * cols) * sizeof *out);
    for (int64_t t = 0; t < ids->rows; t++) {
        if (!(id[t] >= 0 && id[t] < (double)most))
            return ref_fail(r, "row %lld: index %g is not one of %lld rows", (long long)t, id[t],
                            (long long)most);
        int64_t at = (int64_t)id[t];
        if (n->op == OP_TAKE)
            memcpy(out + t * cols, x + at * cols, (size_t)cols * sizeof *x);
        else
            for (int64_t j = 0; j < cols; j++)
                out[at * cols + j] = ref_round(r, out[at * cols + j] + x[t * cols + j]);
    }
    return CTL_OK;
}

ctl_status ref_move(ctl_reference *r, ctl_node_id id) {
    const ctl_node *n = &r->g->at[id];
    double *out = ref_value(r, id);
    if (n->nin == 0) return leaf(r, n, out);
    const ctl_node *a = &r->g->at[n->in[0]];
    const double *x = ref_value(r, n->in[0]);
    size_t row = (size_t)n->cols * sizeof *x;
    switch (n->op) {
    case OP_SPLIT: /* a row's pieces follow each other already */
    case OP_JOIN: memcpy(out, x, (size_t)n->rows * row); break;
    case OP_REPEAT:
        for (int64_t t = 0; t < n->rows; t++) memcpy(out + t * n->cols, x + t / n->i[0] * n->cols, row);
        break;
    case OP_COLUMNS:
        for (int64_t t = 0; t < n->rows; t++) memcpy(out + t * n->cols, x + t * a->cols + n->i[0], row);
        break;
    case OP_CAT: beside(r, n, out); break;
    case OP_TRANSPOSE:
        for (int64_t t = 0; t < n->rows; t++)
            for (int64_t j = 0; j < n->cols; j++) out[t * n->cols + j] = x[j * n->rows + t];
        break;
    case OP_STACK:
        for (uint32_t k = 0; k < n->nin; k++) {
            size_t count = (size_t)(r->g->at[n->in[k]].rows * n->cols);
            memcpy(out, ref_value(r, n->in[k]), count * sizeof *x);
            out += count;
        }
        break;
    case OP_PICK: {
        int64_t pieces = n->split, sequence = r->g->sequence + r->g->extra[a->space];
        for (int64_t t = 0; t < n->rows / pieces; t++)
            memcpy(out + t * pieces * n->cols, x + (t * sequence + n->i[0]) * pieces * n->cols, (size_t)pieces * row);
        break;
    }
    case OP_PART: memcpy(out, ref_part(r, n->in[0], n->i[0]), (size_t)n->rows * row); break;
    default: return by_index(r, n, out);
    }
    return CTL_OK;
}
