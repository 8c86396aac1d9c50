/* passes_fixture: what tests of passes share: an arena, each pass with the verifier behind it, and a run of a graph on
 * random numbers through the executor, to see that values stay. */
#ifndef CTL_TESTS_PASSES_FIXTURE_H
#define CTL_TESTS_PASSES_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <stdio.h>

#include "compiler/passes/passes.h"
#include "compiler/remat/remat.h"
#include "compiler/reference/reference.h"
#include "tests/llama_graph.h"

static ctl_arena arena;
static jmp_buf failed;

static inline int set_up(void **state) {
    (void)state;
    ctl_arena_init(&arena, NULL, &failed);
    return 0;
}
static inline int tear_down(void **state) {
    (void)state;
    ctl_arena_free(&arena);
    return 0;
}

static inline ctl_graph *verified(ctl_graph *g) {
    const char *why;
    if (!ctl_graph_verify(g, &arena, &why)) {
        ctl_text text = {.arena = &arena};
        ctl_graph_print(g, &text);
        fail_msg("%s\n%s", why, getenv("CTL_PRINT_GRAPHS") ? text.at : "");
    }
    return g;
}

static inline ctl_graph *simplified(const ctl_graph *g) {
    ctl_graph *out;
    ctl_pass_simplify(g, &out);
    return verified(out);
}
static inline ctl_graph *rounded(const ctl_graph *g, ctl_dtype compute) {
    ctl_graph *out;
    ctl_pass_round(g, compute, &out);
    return verified(out);
}
static inline ctl_graph *merged(const ctl_graph *g) {
    ctl_graph *out;
    ctl_pass_products(g, &out);
    return verified(out);
}
static inline ctl_graph *saved(const ctl_graph *g) {
    ctl_graph *out;
    ctl_pass_save(g, &out);
    return verified(out);
}
static inline ctl_graph *differentiated(const ctl_graph *g) {
    ctl_graph *mid, *out;
    ctl_sink sink = {.arena = &arena};
    assert_true(ctl_pass_differentiate(g, &(ctl_differentiate_options){0}, &mid, &sink));
    ctl_pass_evaluate(verified(mid), &out);
    return verified(out);
}

static inline int count_ops(const ctl_graph *g, ctl_op op) {
    int n = 0;
    for (size_t k = 0; k < g->n; k++) n += g->at[k].op == op;
    return n;
}

/* ---- running a graph ---- */
static inline double noise(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)*seed / 9.3e18;
}

typedef struct results {
    double *at;
    size_t n;
} results;

static inline void keep(results *to, const ctl_reference *ref, const ctl_graph *g, ctl_node_id id) {
    if (id == CTL_NONE) return;
    size_t n = (size_t)(g->at[id].rows * g->at[id].cols);
    double *at = CTL_NEW_ARRAY(&arena, double, to->n + n);
    if (to->n) memcpy(at, to->at, to->n * sizeof *at);
    memcpy(at + to->n, ctl_reference_value(ref, id), n * sizeof *at);
    to->at = at, to->n += n;
}

/* The outputs (of both entries) and the gradients of all parameters, on random numbers that depend on names'
 * order. */
static inline results run(const ctl_graph *g, ctl_dtype compute) {
    ctl_reference *ref;
    results out = {0};
    uint64_t seed = 7;
    assert_int_equal(ctl_reference_open(g, compute, NULL, &ref), CTL_OK);
    ctl_reference_set_step(ref, 5, 1, 0, 1.0 / 11);
    for (size_t k = 0; k < g->params.n; k++) {
        const ctl_param *p = &g->params.at[k];
        double scale = p->rows == 1 ? 0.3 : 1 / sqrt((double)p->cols);
        for (int64_t j = 0; j < p->rows * p->cols; j++) {
            ctl_reference_param(ref, k)[j] = (float)(scale * noise(&seed) + (p->rows == 1 ? 1 : 0));
        }
    }
    int64_t tokens = g->rows_of[SPACE_TOKENS];
    for (size_t k = 0; k < g->inputs.n; k++) {
        const ctl_input *in = &g->inputs.at[k];
        for (int64_t j = 0; j < tokens * in->cols; j++) {
            double u = noise(&seed);
            ctl_reference_input(ref, k)[j] =
                in->is_id ? (j % 7 == 6 && k ? -100 : floor(fabs(u) * 10.99)) : (float)u;
        }
    }
    for (int64_t t = 0; t < tokens; t++) { /* two documents */
        int64_t first = tokens / 3;
        ctl_reference_positions(ref)[t] = (double)(t < first ? t : t - first);
        ctl_reference_lengths(ref)[t] = (double)(t < first ? first : tokens - first);
    }
    CTL_VEC(ctl_node_id) wanted = {0};
    for (size_t k = 0; k < g->outputs.n; k++) {
        CTL_PUSH(&arena, &wanted, g->outputs.at[k].node);
        if (g->outputs.at[k].evaluate != CTL_NONE) CTL_PUSH(&arena, &wanted, g->outputs.at[k].evaluate);
    }
    for (size_t k = 0; k < g->params.n; k++) {
        if (g->params.at[k].grad != CTL_NONE) CTL_PUSH(&arena, &wanted, g->params.at[k].grad);
    }
    if (ctl_reference_eval(ref, wanted.at, wanted.n) != CTL_OK) fail_msg("%s", ctl_reference_why(ref));
    for (size_t k = 0; k < wanted.n; k++) keep(&out, ref, g, wanted.at[k]);
    ctl_reference_close(ref);
    return out;
}

static inline double distance(results a, results b) {
    double error = 0, size = 0;
    assert_int_equal(a.n, b.n);
    for (size_t k = 0; k < a.n; k++) {
        error += (a.at[k] - b.at[k]) * (a.at[k] - b.at[k]);
        size += b.at[k] * b.at[k];
    }
    return sqrt(error / size);
}

#define assert_close(a, b, tol) assert_true(distance((a), (b)) <= (tol))

static inline void assert_same_bits(results a, results b) {
    assert_int_equal(a.n, b.n);
    for (size_t k = 0; k < a.n; k++) {
        if (!(a.at[k] == b.at[k])) fail_msg("number %zu: %.17g and %.17g", k, a.at[k], b.at[k]);
    }
}

static const llama small = {.tokens = 24,
                            .hidden = 16,
                            .heads = 4,
                            .kv_heads = 2,
                            .head = 4,
                            .ffn = 24,
                            .vocab = 11,
                            .depth = 2,
                            .rank = 3};

static inline llama tuned(tuning how) {
    llama m = small;
    m.how = how;
    return m;
}

static inline ctl_graph *tiny(int64_t cols) {
    ctl_graph *g = ctl_graph_new(&arena);
    g->rows_of[SPACE_TOKENS] = 6;
    input_of(g, "x", false, cols);
    return g;
}

static inline void give(ctl_graph *g, const char *name, ctl_node_id node) {
    CTL_PUSH(g->arena, &g->outputs, (ctl_output){.name = name, .node = node, .evaluate = CTL_NONE});
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
