/* derivative_fixture: graphs of random leaves for tests of the derivative: leaves with the range that they are drawn from, short names
 * for building, and filling the reference executor. */
#ifndef CTL_DERIVATIVE_FIXTURE_H
#define CTL_DERIVATIVE_FIXTURE_H

#include "tests/graph_fixture.h"

#include <stdio.h>

#include "compiler/passes/passes.h"

typedef struct leaf_range {
    bool input;
    size_t k;
    double lo, hi;
} leaf_range;

typedef struct setup {
    fixture f;
    leaf_range leaf[16];
    size_t nleaves;
    int64_t ids_most;     /* integer inputs are drawn below it */
    int64_t documents[4]; /* lengths, for packed rows */
} setup;

enum { TOKENS = 6 };

static inline ctl_node_id weight_in(setup *s, int64_t rows, int64_t cols, double lo, double hi) {
    s->leaf[s->nleaves++] = (leaf_range){false, s->f.g->params.n, lo, hi};
    return fx_param(&s->f, "w", rows, cols, true);
}
static inline ctl_node_id rows_in(setup *s, int64_t cols, double lo, double hi) {
    s->leaf[s->nleaves++] = (leaf_range){true, s->f.g->inputs.n, lo, hi};
    return fx_input(&s->f, "x", cols, false);
}
static inline ctl_node_id weight(setup *s, int64_t rows, int64_t cols) { return weight_in(s, rows, cols, -1, 1); }
static inline ctl_node_id rows(setup *s, int64_t cols) { return rows_in(s, cols, -1, 1); }
static inline ctl_node_id ids(setup *s, int64_t most) {
    s->ids_most = most;
    return fx_input(&s->f, "ids", 1, true);
}

static inline ctl_node_id u(setup *s, ctl_op op, ctl_node_id a) { return CTL_B1(s->f.g, CTL_NONE, op, a); }
static inline ctl_node_id b(setup *s, ctl_op op, ctl_node_id a, ctl_node_id c) {
    return CTL_B2(s->f.g, CTL_NONE, op, a, c);
}
static inline ctl_node_id num(setup *s, double x) { return ctl_build_const(s->f.g, x); }

static inline void fill(setup *s, ctl_reference *r, const ctl_graph *g) {
    for (size_t k = 0; k < g->params.n; k++)
        for (int64_t j = 0; j < g->params.at[k].rows * g->params.at[k].cols; j++)
            ctl_reference_param(r, k)[j] = fx_draw(&s->f, -1, 1);
    for (size_t k = 0; k < g->inputs.n; k++)
        for (int64_t j = 0; j < g->rows_of[g->inputs.at[k].space] * g->inputs.at[k].cols; j++)
            ctl_reference_input(r, k)[j] =
                g->inputs.at[k].is_id ? floor(fx_draw(&s->f, 0, (double)s->ids_most)) : fx_draw(&s->f, -1, 1);
    for (size_t k = 0; k < s->nleaves; k++) {
        leaf_range l = s->leaf[k];
        int64_t count =
            l.input ? g->rows_of[g->inputs.at[l.k].space] * g->inputs.at[l.k].cols : g->params.at[l.k].rows * g->params.at[l.k].cols;
        double *at = l.input ? ctl_reference_input(r, l.k) : ctl_reference_param(r, l.k);
        for (int64_t j = 0; j < count; j++) at[j] = fx_draw(&s->f, l.lo, l.hi);
    }
    int64_t t = 0;
    for (size_t d = 0; d < CTL_COUNT(s->documents); d++)
        for (int64_t j = 0; j < s->documents[d]; j++, t++) {
            ctl_reference_positions(r)[t] = (double)j;
            ctl_reference_lengths(r)[t] = (double)s->documents[d];
        }
    ctl_reference_set_step(r, 7, 3, 12, 0.37);
}

/* Variants: bit 0 causal, bit 1 grouped heads, bit 2 a window of 2. */
static inline ctl_node_id build_attend(setup *s, int variant) {
    int64_t heads = variant & 2 ? 4 : 2;
    ctl_node_id in[] = {rows(s, heads * 3), rows(s, 6), rows(s, 6)};
    return ctl_build(s->f.g, CTL_NONE, OP_ATTEND, 3, in,
                     (const int64_t[3]){3, variant & 1, variant & 4 ? 2 : 0}, 0);
}

#endif
