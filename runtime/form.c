/* form: see form.h. A value is a matrix of numbers, or linear in the form's left side x: then it is x M + c,
 * and M and c are what is computed; M of x itself is the identity, which is not written out. */
#include "runtime/form.h"

#include <math.h>

typedef struct value {
    bool linear, identity; /* identity: m is absent */
    int64_t rows, cols;    /* of m; rows of a linear value are x's columns */
    double *m, *c;         /* c: one row of cols; NULL: none */
} value;

typedef struct evaluation {
    const ctl_program *program;
    const ctl_form *form;
    ctl_form_read_fn read;
    void *ctx;
    const ctl_allocator *allocator;
    int64_t width;              /* columns of x */
    const int64_t (*shapes)[2]; /* by parameter; NULL: the program's */
    value *at;                  /* by node */
    uint32_t *last;             /* by node: the last that reads it */
} evaluation;

static int64_t param_rows(const evaluation *e, int64_t p) {
    return e->shapes ? e->shapes[p][0] : e->program->params[p].rows;
}
static int64_t param_cols(const evaluation *e, int64_t p) {
    return e->shapes ? e->shapes[p][1] : e->program->params[p].cols;
}

static double *numbers(const evaluation *e, int64_t rows, int64_t cols) {
    int64_t n;
    size_t bytes;
    if (!ctl_mul_i64(rows, cols, &n) || !ctl_mul_size((size_t)n + 1, sizeof(double), &bytes)) return NULL;
    return ctl_alloc(e->allocator, bytes);
}
static void drop_numbers(const evaluation *e, double *at, int64_t rows, int64_t cols) {
    ctl_free(e->allocator, at, ((size_t)(rows * cols) + 1) * sizeof(double));
}
static void drop_value(const evaluation *e, value *v) {
    drop_numbers(e, v->m, v->rows, v->cols);
    drop_numbers(e, v->c, 1, v->cols);
    v->m = v->c = NULL;
}

/* The identity as numbers, where something is done with it that is not a product. */
static bool write_out(const evaluation *e, value *v) {
    if (!v->identity) return true;
    if (!(v->m = numbers(e, v->rows, v->cols))) return false;
    for (int64_t i = 0; i < v->rows; i++) v->m[i * v->cols + i] = 1;
    v->identity = false;
    return true;
}

static bool copy_value(const evaluation *e, const value *from, value *to) {
    *to = *from, to->m = to->c = NULL;
    if (from->m && !(to->m = numbers(e, from->rows, from->cols))) return false;
    if (from->m) memcpy(to->m, from->m, (size_t)(from->rows * from->cols) * sizeof(double));
    if (from->c && !(to->c = numbers(e, 1, from->cols))) return false;
    if (from->c) memcpy(to->c, from->c, (size_t)from->cols * sizeof(double));
    return true;
}

/* ---- element by element ---- */
static double apply(ctl_form_op op, double x, double y) {
    switch (op) {
    case FORM_NEG:
        return -x;
    case FORM_SQRT:
        return sqrt(x);
    case FORM_RSQRT:
        return 1 / sqrt(x);
    case FORM_EXP:
        return exp(x);
    case FORM_TANH:
        return tanh(x);
    case FORM_ADD:
        return x + y;
    case FORM_SUB:
        return x - y;
    case FORM_MUL:
        return x * y;
    case FORM_DIV:
        return x / y;
    default:
        return x;
    }
}

/* out = x op y, either spread over rows and columns that it has one of. y NULL: of x alone. */
static void spread(ctl_form_op op, double *out, int64_t rows, int64_t cols, const double *x, int64_t xr,
                   int64_t xc, const double *y, int64_t yr, int64_t yc) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            out[r * cols + c] = apply(op, x[(xr == 1 ? 0 : r) * xc + (xc == 1 ? 0 : c)],
                                      y ? y[(yr == 1 ? 0 : r) * yc + (yc == 1 ? 0 : c)] : 0);
}

static bool meet(int64_t a, int64_t b, int64_t *out) {
    *out = a == 1 ? b : a;
    return a == b || a == 1 || b == 1;
}

static ctl_status map(evaluation *e, ctl_form_op op, const value *x, const value *y, value *out) {
    *out = (value){.rows = x->rows, .cols = x->cols};
    if (y && (!meet(x->rows, y->rows, &out->rows) || !meet(x->cols, y->cols, &out->cols)))
        return CTL_ERR_INPUT;
    if (!(out->m = numbers(e, out->rows, out->cols))) return CTL_ERR_MEMORY;
    spread(op, out->m, out->rows, out->cols, x->m, x->rows, x->cols, y ? y->m : NULL, y ? y->rows : 1,
           y ? y->cols : 1);
    return CTL_OK;
}

/* x + y and x - y where one or both are linear: M and c by themselves. A row that is added goes to c. */
static ctl_status add_linear(evaluation *e, ctl_form_op op, value *x, value *y, value *out) {
    *out = (value){.linear = true, .rows = e->width, .cols = x->cols};
    if (!meet(x->cols, y->cols, &out->cols) || !write_out(e, x) || !write_out(e, y)) return CTL_ERR_INPUT;
    if ((x->linear && x->cols != out->cols) || (y->linear && y->cols != out->cols)) return CTL_ERR_INPUT;
    static const double zero[1] = {0};
    const value *row = !x->linear ? x : !y->linear ? y : NULL;
    if (row && row->rows != 1) return CTL_ERR_INPUT;
    if (!(out->m = numbers(e, out->rows, out->cols))) return CTL_ERR_MEMORY;
    spread(op, out->m, out->rows, out->cols, x->linear ? x->m : zero, x->linear ? x->rows : 1,
           x->linear ? x->cols : 1, y->linear ? y->m : zero, y->linear ? y->rows : 1,
           y->linear ? y->cols : 1);
    const double *p = x->linear ? x->c : x->m, *q = y->linear ? y->c : y->m;
    if (!p && !q) return CTL_OK;
    if (!(out->c = numbers(e, 1, out->cols))) return CTL_ERR_MEMORY;
    spread(op, out->c, 1, out->cols, p ? p : zero, 1, p ? x->cols : 1, q ? q : zero, 1, q ? y->cols : 1);
    return CTL_OK;
}

/* A linear value times or over a row, or a number. */
static ctl_status scale_linear(evaluation *e, ctl_form_op op, value *x, value *y, value *out) {
    value *of = x->linear ? x : y, *by = x->linear ? y : x;
    *out = (value){.linear = true, .rows = e->width, .cols = of->cols};
    if (by->linear || by->rows != 1 || (by->cols != 1 && by->cols != of->cols) || !write_out(e, of))
        return CTL_ERR_INPUT;
    if (op == FORM_DIV && of != x) return CTL_ERR_INPUT;
    if (!(out->m = numbers(e, out->rows, out->cols))) return CTL_ERR_MEMORY;
    spread(op, out->m, out->rows, out->cols, of->m, of->rows, of->cols, by->m, 1, by->cols);
    if (!of->c) return CTL_OK;
    if (!(out->c = numbers(e, 1, out->cols))) return CTL_ERR_MEMORY;
    spread(op, out->c, 1, out->cols, of->c, 1, of->cols, by->m, 1, by->cols);
    return CTL_OK;
}

/* ---- products ---- */
static void multiply(double *out, const double *a, const double *b, int64_t m, int64_t k, int64_t n) {
#pragma omp parallel for schedule(static) if (m * k * n > 1 << 16)
    for (int64_t i = 0; i < m; i++)
        for (int64_t l = 0; l < k; l++) {
            double x = a[i * k + l];
            for (int64_t j = 0; j < n; j++) out[i * n + j] += x * b[l * n + j];
        }
}

static ctl_status turn(evaluation *e, const value *x, value *out) {
    *out = (value){.rows = x->cols, .cols = x->rows};
    if (x->linear || !(out->m = numbers(e, out->rows, out->cols)))
        return x->linear ? CTL_ERR_INPUT : CTL_ERR_MEMORY;
    for (int64_t r = 0; r < x->rows; r++)
        for (int64_t c = 0; c < x->cols; c++) out->m[c * x->rows + r] = x->m[r * x->cols + c];
    return CTL_OK;
}

static ctl_status product_of(evaluation *e, const value *x, const value *y, value *out) {
    if (y->linear || x->cols != y->rows) return CTL_ERR_INPUT;
    *out = (value){.linear = x->linear, .rows = x->rows, .cols = y->cols};
    if (!(out->m = numbers(e, out->rows, out->cols))) return CTL_ERR_MEMORY;
    if (x->identity)
        memcpy(out->m, y->m, (size_t)(y->rows * y->cols) * sizeof(double));
    else
        multiply(out->m, x->m, y->m, x->rows, x->cols, y->cols);
    if (!x->c) return CTL_OK;
    if (!(out->c = numbers(e, 1, out->cols))) return CTL_ERR_MEMORY;
    multiply(out->c, x->c, y->m, 1, x->cols, y->cols);
    return CTL_OK;
}

static ctl_status product(evaluation *e, const ctl_form_node *n, const value *x, const value *y, value *out) {
    value p = {0}, q = {0};
    ctl_status status = n->i[0] ? turn(e, x, &p) : CTL_OK;
    if (status == CTL_OK && n->i[1]) status = turn(e, y, &q);
    if (status == CTL_OK) status = product_of(e, n->i[0] ? &p : x, n->i[1] ? &q : y, out);
    drop_value(e, &p), drop_value(e, &q);
    return status;
}

static ctl_status columns(evaluation *e, const ctl_form_node *n, value *x, value *out) {
    int64_t from = n->i[0], cols = n->i[1] - n->i[0];
    if (from < 0 || cols < 1 || n->i[1] > x->cols || !write_out(e, x)) return CTL_ERR_INPUT;
    *out = (value){.linear = x->linear, .rows = x->rows, .cols = cols};
    if (!(out->m = numbers(e, out->rows, cols)) || (x->c && !(out->c = numbers(e, 1, cols))))
        return CTL_ERR_MEMORY;
    for (int64_t r = 0; r < x->rows; r++)
        memcpy(out->m + r * cols, x->m + r * x->cols + from, (size_t)cols * sizeof(double));
    if (x->c) memcpy(out->c, x->c + from, (size_t)cols * sizeof(double));
    return CTL_OK;
}

/* ---- nodes ---- */
static ctl_status leaf(evaluation *e, const ctl_form_node *n, value *out) {
    if (n->op == FORM_X) {
        *out = (value){.linear = true, .identity = true, .rows = e->width, .cols = e->width};
        return CTL_OK;
    }
    int64_t rows = n->op == FORM_PARAM ? param_rows(e, n->i[0]) : n->op == FORM_EYE ? n->i[0] : 1;
    int64_t cols = n->op == FORM_PARAM ? param_cols(e, n->i[0]) : n->op == FORM_EYE ? n->i[1] : 1;
    *out = (value){.rows = rows, .cols = cols, .m = numbers(e, rows, cols)};
    if (!out->m) return CTL_ERR_MEMORY;
    if (n->op == FORM_PARAM) return e->read(e->ctx, (size_t)n->i[0], out->m);
    if (n->op == FORM_CONST)
        out->m[0] = n->f;
    else
        for (int64_t i = 0; i < rows && i < cols; i++) out->m[i * cols + i] = 1;
    return CTL_OK;
}

static ctl_status evaluate_node(evaluation *e, const ctl_form_node *n, value *out) {
    value *x = &e->at[n->in[0]], *y = &e->at[n->in[1]];
    switch (n->op) {
    case FORM_X:
    case FORM_PARAM:
    case FORM_CONST:
    case FORM_EYE:
        return leaf(e, n, out);
    case FORM_SAME:
    case FORM_DROP:
        return copy_value(e, x, out) ? CTL_OK : CTL_ERR_MEMORY;
    case FORM_SQRT:
    case FORM_RSQRT:
    case FORM_EXP:
    case FORM_TANH:
        return x->linear ? CTL_ERR_INPUT : map(e, n->op, x, NULL, out);
    case FORM_NEG:
        if (!x->linear) return map(e, n->op, x, NULL, out);
        return scale_linear(e, FORM_MUL, x, &(value){.rows = 1, .cols = 1, .m = (double[]){-1}}, out);
    case FORM_ADD:
    case FORM_SUB:
        return x->linear || y->linear ? add_linear(e, n->op, x, y, out) : map(e, n->op, x, y, out);
    case FORM_MUL:
    case FORM_DIV:
        return x->linear || y->linear ? scale_linear(e, n->op, x, y, out) : map(e, n->op, x, y, out);
    case FORM_MATMUL:
        return product(e, n, x, y, out);
    case FORM_TURN:
        return turn(e, x, out);
    case FORM_SUM:
        if (x->linear) return CTL_ERR_INPUT;
        *out = (value){.rows = x->rows, .cols = 1, .m = numbers(e, x->rows, 1)};
        for (int64_t r = 0; out->m && r < x->rows; r++)
            for (int64_t c = 0; c < x->cols; c++) out->m[r] += x->m[r * x->cols + c];
        return out->m ? CTL_OK : CTL_ERR_MEMORY;
    case FORM_COLUMNS:
        return columns(e, n, x, out);
    }
    return CTL_ERR_INTERNAL;
}

static uint32_t inputs_of(ctl_form_op op) {
    return op >= FORM_ADD && op <= FORM_MATMUL ? 2 : op >= FORM_SAME ? 1 : 0;
}

/* The result is the caller's. */
static ctl_status evaluate(evaluation *e, value *out) {
    const ctl_form *f = e->form;
    *out = (value){0};
    e->at = ctl_alloc(e->allocator, (f->n + 1) * sizeof *e->at);
    e->last = ctl_alloc(e->allocator, (f->n + 1) * sizeof *e->last);
    ctl_status status = e->at && e->last ? CTL_OK : CTL_ERR_MEMORY;
    for (size_t k = 0; status == CTL_OK && k < f->n; k++)
        for (uint32_t i = 0; i < inputs_of(f->nodes[k].op); i++) e->last[f->nodes[k].in[i]] = (uint32_t)k;
    for (size_t k = 0; status == CTL_OK && k < f->n; k++) {
        const ctl_form_node *n = &f->nodes[k];
        status = evaluate_node(e, n, &e->at[k]);
        for (uint32_t i = 0; i < inputs_of(n->op); i++)
            if (e->last[n->in[i]] == k) drop_value(e, &e->at[n->in[i]]); /* the matrices are large */
    }
    if (status == CTL_OK && !write_out(e, &e->at[f->n - 1])) status = CTL_ERR_MEMORY;
    if (status == CTL_OK) *out = e->at[f->n - 1], e->at[f->n - 1] = (value){0};
    for (size_t k = 0; e->at && k < f->n; k++) drop_value(e, &e->at[k]);
    ctl_free(e->allocator, e->at, (f->n + 1) * sizeof *e->at);
    ctl_free(e->allocator, e->last, (f->n + 1) * sizeof *e->last);
    return status;
}

/* ---- merging ---- */
ctl_status ctl_form_merge(const ctl_program *program, const ctl_form *form, const int64_t (*shapes)[2],
                          ctl_form_read_fn read, void *ctx, const ctl_allocator *allocator, double **weight,
                          double **constant, bool *has_constant) {
    evaluation e = {
        .program = program, .form = form, .read = read, .ctx = ctx, .allocator = allocator, .shapes = shapes};
    const int64_t rows = param_rows(&e, form->weight), cols = param_cols(&e, form->weight);
    e.width = form->turned ? cols : rows;
    value v, turned = {0};
    *weight = *constant = NULL, *has_constant = false;
    ctl_status status = evaluate(&e, &v);
    if (status == CTL_OK && (!v.linear || v.rows != e.width || v.rows * v.cols != rows * cols))
        status = CTL_ERR_INPUT;
    if (status == CTL_OK && form->turned) {
        v.linear = false;
        status = turn(&e, &v, &turned);
        drop_numbers(&e, v.m, v.rows, v.cols);
        v.m = turned.m;
    }
    *has_constant = status == CTL_OK && v.c;
    if (status == CTL_OK && !v.c && !(v.c = numbers(&e, 1, v.cols))) status = CTL_ERR_MEMORY;
    if (status != CTL_OK) {
        drop_value(&e, &v);
        return status;
    }
    *weight = v.m, *constant = v.c;
    return CTL_OK;
}
