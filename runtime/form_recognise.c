/* form_recognise: which known method a form is. Numbers are drawn for its weights, in small shapes, the form
 * is run on them, and the result compared with the methods' formulas: three times, so that no chance decides.
 */
#include <math.h>

#include "runtime/form.h"

enum { MOST_ROLES = 8, SIDE = 7 };

typedef struct trial { /* numbers for the parameters of a form, of small shapes */
    uint32_t params[MOST_ROLES];
    int64_t shapes[MOST_ROLES][2];
    double values[MOST_ROLES][SIDE * SIDE];
    size_t n;
} trial;

static ctl_status read_trial(void *ctx, size_t param, double *out) {
    const trial *t = ctx;
    for (size_t k = 0; k < t->n; k++)
        if (t->params[k] == param)
            memcpy(out, t->values[k], (size_t)(t->shapes[k][0] * t->shapes[k][1]) * sizeof(double));
    return CTL_OK;
}

static size_t number_in(const trial *t, uint32_t param) {
    size_t k = 0;
    while (k < t->n && t->params[k] != param) k++;
    return k;
}

/* Each length that occurs in the shapes gets a small one of its own. */
static int64_t small_side(int64_t side, int64_t sides[], size_t *n) {
    static const int64_t small[] = {5, 3, 2, 4, 6, 7};
    if (side == 1) return 1;
    for (size_t k = 0; k < *n; k++)
        if (sides[k] == side) return small[k];
    if (*n == CTL_COUNT(small)) return 0;
    sides[(*n)++] = side;
    return small[*n - 1];
}

static void other(ctl_recognised *r, const char *why) {
    *r = (ctl_recognised){.why = why};
}

/* Which parameters the form has; of those that the control made, the number, and the last. */
static bool collect(const ctl_program *p, const ctl_form *form, trial *t, size_t *made, uint32_t *last) {
    *made = 0;
    for (size_t k = 0; k < form->n; k++) {
        if (form->nodes[k].op != FORM_PARAM) continue;
        const uint32_t id = (uint32_t)form->nodes[k].i[0];
        if (number_in(t, id) < t->n) continue;
        if (t->n == MOST_ROLES) return false;
        t->params[t->n++] = id;
        if (p->params[id].made_by_control) ++*made, *last = id;
    }
    return true;
}

/* What the parameters are for LoRA and DoRA. Where shapes fit both factors, the first that is read is A: x A'
 * comes before B'. */
static bool find_factors(const ctl_program *p, const trial *t, int64_t in, int64_t out, ctl_recognised *r) {
    for (size_t k = 1; k < t->n; k++) {
        const uint32_t id = t->params[k];
        const ctl_program_param *q = &p->params[id];
        if (!q->made_by_control) continue;
        if (q->ndims == 2 && q->cols == in && r->a == CTL_NO_PARAM)
            r->a = id;
        else if (q->ndims == 2 && q->rows == out && r->b == CTL_NO_PARAM)
            r->b = id;
        else if (q->ndims == 1 && q->cols == out && r->magnitude == CTL_NO_PARAM)
            r->magnitude = id;
        else
            return other(r, "it has a weight that LoRA and DoRA do not have"), false;
    }
    if (r->a == CTL_NO_PARAM || r->b == CTL_NO_PARAM)
        return other(r, "it has neither the two factors of LoRA nor the one vector of (IA)^3"), false;
    if (p->params[r->a].rows != p->params[r->b].cols)
        return other(r, "its two factors are not of one rank"), false;
    r->rank = p->params[r->a].rows;
    return true;
}

static bool find_roles(const ctl_program *p, const ctl_form *form, trial *t, ctl_recognised *r) {
    const ctl_program_param *w = &p->params[form->weight];
    const int64_t in = form->turned ? w->cols : w->rows, out = form->turned ? w->rows : w->cols;
    size_t made;
    uint32_t last = CTL_NO_PARAM;
    *r = (ctl_recognised){
        .a = CTL_NO_PARAM, .b = CTL_NO_PARAM, .magnitude = CTL_NO_PARAM, .vector = CTL_NO_PARAM};
    if (!collect(p, form, t, &made, &last)) return other(r, "it has more weights than LoRA and DoRA"), false;
    if (made != 1 || p->params[last].ndims != 1) return find_factors(p, t, in, out, r);
    if (p->params[last].cols != in && p->params[last].cols != out)
        return other(r, "its vector has neither the width of what the product reads nor of what it gives"),
               false;
    r->vector = last;
    return true;
}

static uint64_t scramble(uint64_t x) {
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static bool draw(const ctl_program *p, trial *t, uint64_t seed) {
    int64_t sides[8];
    size_t n = 0;
    for (size_t k = 0; k < t->n; k++) {
        t->shapes[k][0] = small_side(p->params[t->params[k]].rows, sides, &n);
        t->shapes[k][1] = small_side(p->params[t->params[k]].cols, sides, &n);
        if (t->shapes[k][0] == 0 || t->shapes[k][1] == 0) return false;
        for (int64_t i = 0; i < t->shapes[k][0] * t->shapes[k][1]; i++)
            t->values[k][i] =
                (double)(scramble(seed + 1000 * k + (uint64_t)i) >> 11) / 4503599627370496.0 - 1;
    }
    return true;
}

/* What the form gives for the trial's numbers: M as the weight is stored, and c (zero where there is none).
 */
static ctl_status run_trial(const ctl_program *p, const ctl_form *form, trial *t, const ctl_allocator *a,
                            double *weight, double *constant) {
    size_t w = number_in(t, form->weight), bytes;
    int64_t(*shapes)[2];
    if (!ctl_mul_size(p->nparams, sizeof *shapes, &bytes) || !(shapes = ctl_alloc(a, bytes)))
        return CTL_ERR_MEMORY;
    for (size_t k = 0; k < t->n; k++) memcpy(shapes[t->params[k]], t->shapes[k], sizeof *shapes);
    const size_t rows = (size_t)t->shapes[w][0], cols = (size_t)t->shapes[w][1],
                 out = form->turned ? rows : cols;
    double *m, *c;
    bool has_constant;
    ctl_status status =
        ctl_form_merge(p, form, (const int64_t(*)[2])shapes, read_trial, t, a, &m, &c, &has_constant);
    if (status == CTL_OK) {
        memcpy(weight, m, rows * cols * sizeof *m), memcpy(constant, c, out * sizeof *c);
        ctl_free(a, m, (rows * cols + 1) * sizeof *m), ctl_free(a, c, (out + 1) * sizeof *c);
    }
    ctl_free(a, shapes, bytes);
    return status;
}

/* W + s B A as stored, in the shapes of the trial. */
static void add_factors(const ctl_form *form, const trial *t, const ctl_recognised *r, double s,
                        double *out) {
    size_t w = number_in(t, form->weight), a = number_in(t, r->a), b = number_in(t, r->b);
    int64_t rows = t->shapes[w][0], cols = t->shapes[w][1], rank = t->shapes[a][0];
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            int64_t to = form->turned ? i : j, from = form->turned ? j : i;
            double sum = 0;
            for (int64_t k = 0; k < rank; k++)
                sum += t->values[b][to * rank + k] * t->values[a][k * t->shapes[a][1] + from];
            out[i * cols + j] = t->values[w][i * cols + j] + s * sum;
        }
}

/* Each output unit's row to its magnitude. */
static void normalise(const ctl_form *form, const trial *t, const ctl_recognised *r, double *weight) {
    size_t w = number_in(t, form->weight), m = number_in(t, r->magnitude);
    int64_t rows = t->shapes[w][0], cols = t->shapes[w][1], units = form->turned ? rows : cols,
            width = form->turned ? cols : rows;
    for (int64_t u = 0; u < units; u++) {
        double squares = 0;
        for (int64_t k = 0; k < width; k++) {
            double x = weight[form->turned ? u * cols + k : k * cols + u];
            squares += x * x;
        }
        for (int64_t k = 0; k < width; k++)
            weight[form->turned ? u * cols + k : k * cols + u] *= t->values[m][u] / sqrt(squares);
    }
}

static bool agrees(const double *x, const double *y, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(x[i] - y[i]) <= 1e-9 * (1 + fabs(y[i])))) return false;
    return true;
}

/* The scale stands in the form as a number: among the numbers that do (and 1) the one that fits is looked
 * for. Of plain LoRA it can be computed, which also finds a scale that is a product of several numbers. */
static bool scale_fits(const ctl_form *form, const trial *t, const ctl_recognised *r, double s,
                       const double *got) {
    double want[SIDE * SIDE];
    size_t w = number_in(t, form->weight);
    add_factors(form, t, r, s, want);
    if (r->magnitude != CTL_NO_PARAM) normalise(form, t, r, want);
    return agrees(got, want, t->shapes[w][0] * t->shapes[w][1]);
}

static bool find_scale(const ctl_form *form, const trial *t, ctl_recognised *r, const double *got) {
    for (size_t k = 0; k <= form->n; k++) {
        if (k < form->n && form->nodes[k].op != FORM_CONST) continue;
        r->scale = k < form->n ? form->nodes[k].f : 1;
        if (scale_fits(form, t, r, r->scale, got)) return true;
    }
    if (r->magnitude != CTL_NO_PARAM) return false;
    double base[SIDE * SIDE], with[SIDE * SIDE];
    add_factors(form, t, r, 0, base), add_factors(form, t, r, 1, with);
    if (with[0] == base[0]) return false;
    r->scale = (got[0] - base[0]) / (with[0] - base[0]);
    return scale_fits(form, t, r, r->scale, got);
}

/* W with its outputs scaled by the vector, the bias too; or, on_input, what it reads. */
static bool vector_fits(const ctl_form *form, const trial *t, const ctl_recognised *r, const double *weight,
                        const double *constant) {
    const size_t w = number_in(t, form->weight), v = number_in(t, r->vector), b = number_in(t, form->bias);
    const int64_t rows = t->shapes[w][0], cols = t->shapes[w][1], units = form->turned ? rows : cols;
    const double *by = t->values[v];
    double want[SIDE * SIDE], bias[SIDE];
    if (t->shapes[v][1] != (r->on_input ? rows + cols - units : units)) return false;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            want[i * cols + j] = t->values[w][i * cols + j] * by[form->turned != r->on_input ? i : j];
    for (int64_t u = 0; u < units; u++) bias[u] = b < t->n ? t->values[b][u] * (r->on_input ? 1 : by[u]) : 0;
    return agrees(weight, want, rows * cols) && agrees(constant, bias, units);
}

/* The first round also finds the scale, and the side of a vector; the others must agree. */
static bool fits(const ctl_form *form, const trial *t, ctl_recognised *r, const double *weight,
                 const double *constant, bool first) {
    static const double zero[SIDE] = {0};
    if (r->vector != CTL_NO_PARAM) {
        if (vector_fits(form, t, r, weight, constant)) return true;
        r->on_input = true;
        return first && vector_fits(form, t, r, weight, constant);
    }
    const size_t w = number_in(t, form->weight), b = number_in(t, form->bias);
    if (!agrees(constant, b < t->n ? t->values[b] : zero, t->shapes[w][form->turned ? 0 : 1])) return false;
    return first ? find_scale(form, t, r, weight) : scale_fits(form, t, r, r->scale, weight);
}

static void find_dropout(const ctl_form *form, ctl_recognised *r) {
    for (size_t k = 0; k < form->n; k++) {
        if (form->nodes[k].op != FORM_DROP || form->nodes[k].f == 0) continue;
        uint32_t at = form->nodes[k].in[0];
        while (form->nodes[at].op == FORM_SAME) at = form->nodes[at].in[0];
        if (form->nodes[at].op == FORM_X && (r->dropout == 0 || r->dropout == form->nodes[k].f))
            r->dropout = form->nodes[k].f;
        else
            r->dropout_elsewhere = true;
    }
}

ctl_status ctl_form_recognise(const ctl_program *program, const ctl_form *form,
                              const ctl_allocator *allocator, ctl_recognised *out) {
    trial t = {0};
    t.params[t.n++] = form->weight;
    if (!find_roles(program, form, &t, out)) return CTL_OK;
    for (uint64_t round = 0; round < 3; round++) {
        double weight[SIDE * SIDE] = {0}, constant[SIDE] = {0};
        if (!draw(program, &t, 1000000 * (round + 1))) {
            other(out, "its weights have more different sides than LoRA's");
            return CTL_OK;
        }
        ctl_status status = run_trial(program, form, &t, allocator, weight, constant);
        if (status == CTL_ERR_MEMORY) return status;
        if (status == CTL_OK && fits(form, &t, out, weight, constant, round == 0)) continue;
        other(out, out->vector != CTL_NO_PARAM
                       ? "it computes neither (x W + b) l nor (x l) W + b with its vector l"
                       : "it computes neither x (W + s B A)' nor that with its rows scaled to a magnitude");
        return CTL_OK;
    }
    out->method = out->vector != CTL_NO_PARAM      ? METHOD_IA3
                  : out->magnitude == CTL_NO_PARAM ? METHOD_LORA
                                                   : METHOD_DORA;
    find_dropout(form, out);
    return CTL_OK;
}
