/* Passes on graphs built by hand: values stay, rounding stands where it should, and what forward keeps has
 * exactly the bytes that the formula gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <stdio.h>

#include "compiler/elaborate/elaborate.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/save_cut.h"
#include "compiler/reference/reference.h"
#include "tests/llama_graph.h"

static ctl_arena arena;
static jmp_buf failed;

static int set_up(void **state) {
    (void)state;
    ctl_arena_init(&arena, NULL, &failed);
    return 0;
}
static int tear_down(void **state) {
    (void)state;
    ctl_arena_free(&arena);
    return 0;
}

static ctl_graph *verified(ctl_graph *g) {
    const char *why;
    if (!ctl_graph_verify(g, &arena, &why)) {
        ctl_text text = {.arena = &arena};
        ctl_graph_print(g, &text);
        fail_msg("%s\n%s", why, getenv("CTL_PRINT_GRAPHS") ? text.at : "");
    }
    return g;
}

static ctl_graph *simplified(const ctl_graph *g) {
    ctl_graph *out;
    ctl_pass_simplify(g, &out);
    return verified(out);
}
static ctl_graph *rounded(const ctl_graph *g, ctl_dtype compute) {
    ctl_graph *out;
    ctl_pass_round(g, compute, &out);
    return verified(out);
}
static ctl_graph *merged(const ctl_graph *g) {
    ctl_graph *out;
    ctl_pass_products(g, &out);
    return verified(out);
}
static ctl_graph *saved(const ctl_graph *g) {
    ctl_graph *out;
    ctl_pass_save(g, &out);
    return verified(out);
}
static ctl_graph *differentiated(const ctl_graph *g) {
    ctl_graph *mid, *out;
    ctl_sink sink = {.arena = &arena};
    assert_true(ctl_pass_differentiate(g, &(ctl_differentiate_options){0}, &mid, &sink));
    ctl_pass_evaluate(verified(mid), &out);
    return verified(out);
}

static int count_ops(const ctl_graph *g, ctl_op op) {
    int n = 0;
    for (size_t k = 0; k < g->n; k++) n += g->at[k].op == op;
    return n;
}

/* ---- running a graph ---- */
static double noise(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)*seed / 9.3e18;
}

typedef struct results {
    double *at;
    size_t n;
} results;

static void keep(results *to, const ctl_reference *ref, const ctl_graph *g, ctl_node_id id) {
    if (id == CTL_NONE) return;
    size_t n = (size_t)(g->at[id].rows * g->at[id].cols);
    double *at = CTL_NEW_ARRAY(&arena, double, to->n + n);
    if (to->n) memcpy(at, to->at, to->n * sizeof *at);
    memcpy(at + to->n, ctl_reference_value(ref, id), n * sizeof *at);
    to->at = at, to->n += n;
}

/* The outputs (of both entries) and the gradients of all parameters, on random numbers that depend on names'
 * order. */
static results run(const ctl_graph *g, ctl_dtype compute) {
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

static double distance(results a, results b) {
    double error = 0, size = 0;
    assert_int_equal(a.n, b.n);
    for (size_t k = 0; k < a.n; k++) {
        error += (a.at[k] - b.at[k]) * (a.at[k] - b.at[k]);
        size += b.at[k] * b.at[k];
    }
    return sqrt(error / size);
}

#define assert_close(a, b, tol) assert_true(distance((a), (b)) <= (tol))

static void assert_same_bits(results a, results b) {
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

static llama tuned(tuning how) {
    llama m = small;
    m.how = how;
    return m;
}

/* ---- simplify ---- */
static ctl_graph *tiny(int64_t cols) {
    ctl_graph *g = ctl_graph_new(&arena);
    g->rows_of[SPACE_TOKENS] = 6;
    input_of(g, "x", false, cols);
    return g;
}

static void give(ctl_graph *g, const char *name, ctl_node_id node) {
    CTL_PUSH(g->arena, &g->outputs, (ctl_output){.name = name, .node = node, .evaluate = CTL_NONE});
}

static void test_states_of_states_are_aliases(void **state) {
    (void)state;
    ctl_graph *g = tiny(4);
    ctl_node_id a = state_of(g, "a", U(OP_EXP, g->inputs.at[0].node));
    give(g, "y", state_of(g, "c", state_of(g, "b", a)));
    ctl_graph *s = simplified(g);
    assert_int_equal(count_ops(s, OP_STATE), 1);
    assert_same_bits(run(s, CTL_F64), run(g, CTL_F64));
}

static void test_single_edges_dissolve_in_textual_order(void **state) {
    (void)state;
    ctl_graph *g = tiny(4);
    ctl_node_id x = g->inputs.at[0].node, e[5];
    for (int k = 0; k < 5; k++) e[k] = U(OP_EXP, B(OP_MUL, x, C(k + 1)));
    ctl_node_id inner = state_of(g, "inner", B(OP_ADD, B(OP_ADD, e[1], e[2]), e[3]));
    give(g, "y", state_of(g, "y", B(OP_ADD, B(OP_ADD, e[0], inner), e[4])));
    ctl_graph *s = simplified(g);
    assert_int_equal(count_ops(s, OP_STATE), 1);
    ctl_graph *want = tiny(4);
    x = want->inputs.at[0].node;
    {
        ctl_graph *keep_g = g;
        g = want;
        ctl_node_id sum = U(OP_EXP, x);
        for (int k = 1; k < 5; k++) sum = B(OP_ADD, sum, U(OP_EXP, B(OP_MUL, x, C(k + 1))));
        give(g, "y", state_of(g, "y", sum));
        g = keep_g;
    }
    assert_same_bits(run(s, CTL_F64), run(want, CTL_F64));
    assert_close(run(s, CTL_F64), run(g, CTL_F64), 1e-14);
}

static void test_biases_join_their_products(void **state) {
    (void)state;
    ctl_graph *g = tiny(4);
    ctl_node_id x = g->inputs.at[0].node, w[2], b = param_of(g, "b", 1, 4, false);
    for (int k = 0; k < 2; k++) w[k] = times(g, x, param_of(g, NAME("w%d", k), 4, 4, false));
    ctl_node_id inner = state_of(g, "inner", B(OP_ADD, B(OP_ADD, w[0], w[1]), b));
    give(g, "y", state_of(g, "y", B(OP_ADD, x, inner)));
    ctl_graph *s = simplified(g);
    ctl_node_id sum = s->at[s->outputs.at[0].node].in[0]; /* (x + w0) + (w1 + b) */
    ctl_node_id right = s->at[sum].in[1], left = s->at[sum].in[0];
    assert_int_equal(s->at[right].op, OP_ADD);
    assert_int_equal(s->at[s->at[right].in[0]].op, OP_MATMUL);
    assert_int_equal(s->at[s->at[right].in[1]].op, OP_PARAM);
    assert_int_equal(s->at[s->at[left].in[0]].op, OP_INPUT);
    assert_int_equal(simplified(s)->n, s->n);
    assert_close(run(s, CTL_F64), run(g, CTL_F64), 1e-14);
}

static void test_states_with_readers_stay(void **state) {
    (void)state;
    ctl_graph *g = tiny(4);
    ctl_node_id x = g->inputs.at[0].node;
    ctl_node_id inner = state_of(g, "inner", B(OP_ADD, U(OP_EXP, x), x));
    give(g, "y", state_of(g, "y", B(OP_ADD, x, inner)));
    give(g, "inner", inner);
    ctl_node_id product = state_of(g, "factor", B(OP_ADD, U(OP_SIN, x), x));
    give(g, "z", state_of(g, "z", B(OP_MUL, x, product))); /* a factor is no edge */
    ctl_graph *s = simplified(g);
    assert_int_equal(count_ops(s, OP_STATE), 4);
    assert_same_bits(run(s, CTL_F64), run(g, CTL_F64));
}

static void test_identities_fold(void **state) {
    (void)state;
    ctl_graph *g = tiny(4);
    ctl_node_id x = g->inputs.at[0].node;
    ctl_node_id w = param_of(g, "w", 3, 4, false);
    ctl_node_id one = B(OP_DIV, B(OP_ADD, C(3), C(5)), C(8));
    ctl_node_id y = B(OP_MUL, B(OP_ADD, x, B(OP_SUB, one, C(1))), one);
    y = B(OP_ADD, y, U(OP_NEG, U(OP_NEG, U(OP_NEG, x))));
    y = B(OP_ADD, U(OP_NEG, x), y);
    y = attr(g, OP_JOIN, attr(g, OP_SPLIT, y, 2, 0), 4, 0);
    give(g, "y", times(g, y, U(OP_TRANSPOSE, U(OP_TRANSPOSE, w))));
    give(g, "again", times(g, y, w));
    ctl_graph *s = simplified(g);
    assert_int_equal(count_ops(s, OP_CONST), 0);
    assert_int_equal(count_ops(s, OP_MATMUL), 1);
    assert_int_equal(count_ops(s, OP_TRANSPOSE), 0);
    assert_int_equal(count_ops(s, OP_SUB), 2);
    assert_int_equal((int)s->n, 5); /* x, w, x - x, x - x - x, the product */
    assert_same_bits(run(s, CTL_F64), run(g, CTL_F64));
}

static void test_quotients_use_a_reciprocal(void **state) {
    (void)state;
    ctl_graph *g = tiny(4);
    ctl_node_id x = g->inputs.at[0].node, b = U(OP_EXP, x);
    give(g, "before", B(OP_DIV, U(OP_COS, x), b)); /* no reciprocal yet */
    give(g, "reciprocal", B(OP_DIV, C(1), b));
    give(g, "after", B(OP_DIV, U(OP_SIN, x), b));
    ctl_graph *s = simplified(g);
    assert_int_equal(count_ops(s, OP_DIV), 2);
    assert_int_equal(s->at[s->outputs.at[2].node].op, OP_MUL);
    assert_close(run(s, CTL_F64), run(g, CTL_F64), 1e-15);
}

/* A value of 2^41 columns from forty CATs, each of the one before twice: nothing may walk it path by path. */
static void test_nested_views_take_no_time(void **state) {
    (void)state;
    ctl_graph *g = tiny(2);
    ctl_node_id x = U(OP_EXP, g->inputs.at[0].node);
    for (int k = 0; k < 40; k++) {
        x = ctl_build(g, CTL_NONE, OP_CAT, 2, (const ctl_node_id[]){x, x}, NULL, 0);
    }
    give(g, "y", state_of(g, "y", attr(g, OP_COLUMNS, state_of(g, "x", x), 7, 9)));
    ctl_graph *s = saved(merged(rounded(simplified(g), CTL_BF16)));
    assert_int_equal(s->at[s->outputs.at[0].node].dtype, CTL_BF16);
    assert_int_equal(count_ops(s, OP_CAT), 40);
}

static void test_views_fold(void **state) {
    (void)state;
    ctl_graph *g = tiny(6);
    ctl_node_id x = g->inputs.at[0].node, e = U(OP_EXP, x);
    ctl_node_id pair = ctl_build(g, CTL_NONE, OP_CAT, 2, (const ctl_node_id[]){x, e}, NULL, 0);
    give(g, "second", attr(g, OP_COLUMNS, pair, 6, 12));
    give(g, "inner", attr(g, OP_COLUMNS, attr(g, OP_COLUMNS, pair, 5, 9), 2, 4));
    give(g, "across", attr(g, OP_COLUMNS, pair, 5, 7));
    ctl_graph *s = simplified(g);
    assert_int_equal(count_ops(s, OP_COLUMNS), 2);
    assert_int_equal(s->at[s->outputs.at[0].node].op, OP_EXP);
    assert_int_equal(s->at[s->at[s->outputs.at[1].node].in[0]].op, OP_EXP);
    assert_int_equal(s->at[s->outputs.at[1].node].i[0], 1);
    assert_same_bits(run(s, CTL_F64), run(g, CTL_F64));
}

static void test_dropouts_of_two_sites_differ(void **state) {
    (void)state;
    ctl_graph *g = tiny(4);
    g->drop_sites = 2;
    ctl_node_id x = g->inputs.at[0].node, d[3];
    for (int k = 0; k < 3; k++) d[k] = ctl_build(g, CTL_NONE, OP_DROP, 1, &x, (const int64_t[3]){k / 2}, 0.5);
    give(g, "y", B(OP_ADD, B(OP_ADD, d[0], d[1]), d[2]));
    ctl_graph *s = simplified(g);
    assert_int_equal(count_ops(s, OP_DROP), 2);
    assert_same_bits(run(s, CTL_F64), run(g, CTL_F64));
}

static void test_rope_tables_are_made_once_a_token(void **state) {
    (void)state;
    llama m = tuned(TUNE_LORA);
    ctl_graph *g = build_llama(&arena, &m), *s = simplified(g);
    assert_int_equal(count_ops(g, OP_COS), 4);
    assert_int_equal(count_ops(s, OP_COS), 1);
    assert_int_equal(count_ops(s, OP_SIN), 1);
    for (size_t k = 0; k < s->n; k++) {
        if (s->at[k].op != OP_COS) continue;
        assert_int_equal(s->at[k].rows, m.tokens);
        assert_int_equal(s->at[k].split, 1);
    }
    assert_int_equal(count_ops(s, OP_REPEAT), 4); /* two tables, for q's heads and for k's */
}

static void test_head_replaces_unread_logits(void **state) {
    (void)state;
    llama m = tuned(TUNE_FULL);
    ctl_graph *g = build_llama(&arena, &m), *s = simplified(g);
    assert_int_equal(count_ops(s, OP_HEAD), 1);
    assert_close(run(s, CTL_F64), run(g, CTL_F64), 1e-13);
    for (size_t k = 0; k < g->n; k++) { /* the same with the logits asked for */
        if (g->at[k].op == OP_STATE && strcmp(g->at[k].path, "logits") == 0)
            give(g, "logits", (ctl_node_id)k);
    }
    s = simplified(g);
    assert_int_equal(count_ops(s, OP_HEAD), 0);
    assert_close(run(s, CTL_F64), run(g, CTL_F64), 1e-13);
}

static void test_cross_entropy_is_its_formula(void **state) {
    (void)state;
    ctl_graph *g = tiny(5);
    ctl_node_id labels = input_of(g, "labels", true, 1);
    give(g, "x", g->inputs.at[0].node);
    give(g, "labels", U(OP_TOREAL, labels));
    give(g, "loss", ctl_build_cross_entropy(g, CTL_NONE, g->inputs.at[0].node, labels));
    give(g, "mse", ctl_build_mse(g, CTL_NONE, g->inputs.at[0].node, U(OP_EXP, g->inputs.at[0].node)));
    ctl_reference *ref;
    assert_int_equal(ctl_reference_open(verified(g), CTL_F64, NULL, &ref), CTL_OK);
    ctl_reference_set_step(ref, 0, 0, 0, 0.25);
    double loss = 0, mse = 0;
    for (int t = 0; t < 6; t++) {
        double sum = 0, *x = ctl_reference_input(ref, 0) + 5 * t;
        int label = t == 2 ? -100 : (3 * t) % 5;
        for (int j = 0; j < 5; j++) x[j] = sin(t + 2.0 * j) * 3, sum += exp(x[j]);
        for (int j = 0; j < 5; j++) mse += 0.25 * (x[j] - exp(x[j])) * (x[j] - exp(x[j])) / 5;
        ctl_reference_input(ref, 1)[t] = label;
        if (label >= 0) loss += 0.25 * (log(sum) - x[label]);
    }
    ctl_node_id nodes[] = {g->outputs.at[2].node, g->outputs.at[3].node};
    assert_int_equal(ctl_reference_eval(ref, nodes, 2), CTL_OK);
    assert_true(fabs(ctl_reference_value(ref, nodes[0])[0] - loss) <= 1e-13 * fabs(loss));
    assert_true(fabs(ctl_reference_value(ref, nodes[1])[0] - mse) <= 1e-13 * fabs(mse));
    ctl_reference_close(ref);
}

/* ---- the whole list ---- */
static const tuning tunings[] = {TUNE_LORA, TUNE_CONTROL, TUNE_DOUBLE, TUNE_FULL};

static void test_gradients_survive_all_passes(void **state) {
    (void)state;
    for (size_t k = 0; k < CTL_COUNT(tunings); k++) {
        llama m = tuned(tunings[k]);
        m.dropout = 0.1, m.biased = true;
        ctl_graph *plain = differentiated(build_llama(&arena, &m));
        ctl_graph *g = simplified(differentiated(simplified(build_llama(&arena, &m))));
        results want = run(plain, CTL_F64);
        assert_close(run(g, CTL_F64), want, 1e-12);
        g = rounded(g, CTL_F32);
        assert_int_equal(count_ops(g, OP_STATE) + count_ops(g, OP_CAST), 0);
        assert_close(run(g, CTL_F64), want, 1e-12);
        assert_same_bits(run(saved(g), CTL_F64), run(g, CTL_F64));
    }
}

static void test_bf16_is_near_and_saving_keeps_its_bits(void **state) {
    (void)state;
    for (size_t k = 0; k < CTL_COUNT(tunings); k++) {
        llama m = tuned(tunings[k]);
        m.dropout = 0.1;
        ctl_graph *g = simplified(differentiated(simplified(build_llama(&arena, &m))));
        ctl_graph *b = rounded(g, CTL_BF16);
        assert_int_equal(count_ops(b, OP_STATE), 0);
        double error = distance(run(b, CTL_BF16), run(g, CTL_F64));
        assert_true(error <= 0.03);
        assert_true(error >= 1e-4); /* something was rounded */
        assert_same_bits(run(saved(b), CTL_BF16), run(b, CTL_BF16));
    }
}

static void test_operands_are_bf16(void **state) {
    (void)state;
    llama m = tuned(TUNE_FULL);
    ctl_graph *g = rounded(simplified(differentiated(simplified(build_llama(&arena, &m)))), CTL_BF16);
    for (size_t k = 0; k < g->n; k++) {
        const ctl_node *n = &g->at[k];
        uint32_t operands = n->op == OP_MATMUL || n->op == OP_HEAD ? 2
                            : n->op == OP_ATTEND                   ? 3
                            : n->op == OP_ATTEND_GRAD              ? 4
                                                                   : 0;
        for (uint32_t j = 0; j < operands; j++) assert_int_equal(g->at[n->in[j]].dtype, CTL_BF16);
        if (n->op == OP_ATTEND_GRAD) assert_int_equal(g->at[n->in[4]].dtype, CTL_REAL);
        if (n->op == OP_PARAM) assert_int_equal(n->dtype, CTL_REAL);
    }
    assert_int_equal(g->at[g->loss].dtype, CTL_REAL);
}

/* ---- products ---- */
static void test_products_of_one_operand_merge(void **state) {
    (void)state;
    ctl_graph *g = tiny(8);
    ctl_node_id x = state_of(g, "x", U(OP_EXP, g->inputs.at[0].node)), w[6], y[6];
    for (int k = 0; k < 6; k++) w[k] = param_of(g, NAME("w%d", k), 3 + k, 8, k == 4 || k == 5);
    ctl_node_id b0 = param_of(g, "b0", 1, 3, false), b1 = param_of(g, "b1", 1, 4, false);
    static const int order[] = {2, 1, 0, 3, 5, 4}; /* stacks are in the order of parameters all the same */
    for (int j = 0; j < 6; j++) y[order[j]] = times(g, x, w[order[j]]);
    give(g, "biased 0", state_of(g, "a", B(OP_ADD, y[0], b0)));
    give(g, "biased 1", state_of(g, "b", B(OP_ADD, b1, y[1])));
    give(g, "plain 2", state_of(g, "c", y[2]));
    give(g, "plain 3", state_of(g, "d", y[3]));
    give(g, "trained 4", state_of(g, "e", B(OP_MUL, C(2), y[4])));
    give(g, "trained 5", state_of(g, "f", B(OP_MUL, C(3), y[5])));
    ctl_graph *b = rounded(simplified(g), CTL_BF16), *p = merged(b);
    assert_int_equal(count_ops(b, OP_MATMUL), 6);
    assert_int_equal(count_ops(p, OP_MATMUL), 3);
    assert_int_equal(count_ops(p, OP_STACK), 3);
    assert_same_bits(run(p, CTL_BF16), run(b, CTL_BF16));
    for (size_t k = 0; k < p->n; k++) {
        if (p->at[k].op != OP_STACK) continue;
        for (uint32_t j = 1; j < p->at[k].nin; j++) {
            const ctl_node *left = &p->at[p->at[k].in[j - 1]], *right = &p->at[p->at[k].in[j]];
            if (left->op == OP_CAST) left = &p->at[left->in[0]], right = &p->at[right->in[0]];
            assert_true(left->i[0] + 1 == right->i[0]);
        }
    }
    ctl_graph *f =
        rounded(simplified(g), CTL_F32); /* without casts plain 2 and 3 are as 4 and 5, but for their rate */
    assert_int_equal(count_ops(merged(f), OP_MATMUL), 3);
    assert_same_bits(run(merged(f), CTL_F32), run(f, CTL_F32));
}

static void test_sums_of_products_merge(void **state) {
    (void)state;
    ctl_graph *g = tiny(4);
    ctl_node_id x = g->inputs.at[0].node, term[4], sum = U(OP_SIN, x);
    ctl_node_id f[] = {U(OP_EXP, x), U(OP_COS, x), U(OP_TANH, x), x};
    for (int k = 0; k < 4; k++) {
        term[k] = B(OP_MATMUL, f[k], param_of(g, NAME("w%d", k), 4, 5, false));
    }
    sum = B(OP_ADD, B(OP_MATMUL, sum, param_of(g, "v", 4, 5, false)), term[0]);
    sum = B(OP_ADD, sum, B(OP_ADD, term[1], B(OP_MUL, term[3], C(2))));
    give(g, "y", state_of(g, "y", B(OP_ADD, sum, term[2])));
    ctl_graph *f32 = rounded(simplified(g), CTL_F32), *p = merged(f32);
    assert_int_equal(count_ops(p, OP_MATMUL), 2);
    assert_int_equal(count_ops(p, OP_CAT), 1);
    assert_close(run(p, CTL_F64), run(f32, CTL_F64), 1e-14);
}

/* Weights of a stack are in no other, and stacks repeat whole. */
static void test_a_weight_is_in_one_stack(void **state) {
    (void)state;
    for (size_t k = 0; k < CTL_COUNT(tunings); k++) {
        for (int variant = 0; variant < 4; variant++) {
            llama m = tuned(tunings[k]);
            m.dropout = variant & 1 ? 0.1 : 0, m.biased = variant & 2;
            ctl_dtype compute = variant == 1 ? CTL_F32 : CTL_BF16;
            ctl_graph *g = rounded(simplified(differentiated(simplified(build_llama(&arena, &m)))), compute);
            ctl_graph *p = merged(g);
            int *stacks = CTL_NEW_ARRAY(&arena, int, p->n);
            for (size_t j = 0; j < p->n; j++) {
                for (uint32_t i = 0; p->at[j].op == OP_STACK && i < p->at[j].nin; i++)
                    stacks[p->at[j].in[i]]++;
            }
            for (size_t j = 0; j < p->n; j++) assert_true(stacks[j] <= 1);
            assert_true(count_ops(p, OP_STACK) > 0);
            assert_true(count_ops(p, OP_MATMUL) < count_ops(g, OP_MATMUL));
            assert_close(run(p, CTL_F64), run(g, CTL_F64), compute == CTL_F32 ? 1e-12 : 2e-2);
            assert_same_bits(run(saved(p), CTL_BF16), run(p, CTL_BF16));
        }
    }
}

/* ---- what forward keeps ---- */
static int64_t bytes_a_layer(llama m, ctl_dtype compute, bool merge) {
    int64_t bytes[2];
    for (int k = 0; k < 2; k++) {
        m.depth = 2 + k;
        ctl_graph *g = simplified(differentiated(simplified(build_llama(&arena, &m))));
        g = rounded(g, compute);
        if (merge) g = merged(g);
        bytes[k] = ctl_saved_bytes(saved(g));
    }
    return (bytes[1] - bytes[0]) / m.tokens;
}

/* planner.md's M0: x, h, q, O 2H each, k and v 2K each, g and u 2F each, one f32 a head, and the thin
 * products. */
static void test_forward_keeps_what_the_formula_says(void **state) {
    (void)state;
    static const struct {
        tuning how;
        int thin; /* results of x @ A that are kept */
    } cases[] = {{TUNE_LORA, 5}, {TUNE_CONTROL, 1}, {TUNE_DOUBLE, 2}, {TUNE_FULL, 0}};
    llama m = {.tokens = 64,
               .hidden = 64,
               .heads = 4,
               .kv_heads = 2,
               .head = 16,
               .ffn = 176,
               .vocab = 50,
               .rank = 8};
    int64_t kv = m.kv_heads * m.head;
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        m.how = cases[k].how;
        for (int variant = 0; variant < 8; variant++) {
            m.dropout = variant & 1 ? 0.05 : 0, m.biased = variant & 4;
            int64_t numbers = 4 * m.hidden + 2 * kv + 2 * m.ffn + cases[k].thin * m.rank;
            assert_int_equal(bytes_a_layer(m, CTL_BF16, variant & 2), 2 * numbers + 4 * m.heads);
            assert_int_equal(bytes_a_layer(m, CTL_F32, variant & 2), 4 * numbers + 4 * m.heads);
        }
    }
}

/* ---- the same through the language ---- */
static void say(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    print_error("%s: %s\n", d->code, d->message);
}

static ctl_graph *elaborated(const char *controls, int depth, const char *compute) {
    char *text =
        ctl_format(&arena,
                   "import llama, tuning\n"
                   "control everything() on llama.causal_lm {\n    train **\n}\n"
                   "model m = llama.causal_lm(; vocab = 11, dim = 64, depth = %d, heads = 4, kv_heads = 2, "
                   "ffn = 176, theta = 10000.0)\n"
                   "tune m with %s {\n    tokens 1 x 24\n    compute %s\n}\n",
                   depth, controls, compute);
    ctl_sink sink = {.arena = &arena, .fn = say};
    uint32_t file = ctl_sink_add_source(&sink, "test.ctl", text, strlen(text));
    ctl_spec spec = {0};
    ctl_graph *g = ctl_elaborate(&arena, &sink, file, &(ctl_elaborate_options){0}, &spec);
    assert_non_null(g);
    return verified(g);
}

static const struct {
    const char *controls;
    int thin; /* numbers a token and layer beside those of the formula */
} specs[] = {
    {"tuning.lora_qkvud(rank = 8, alpha = 16)", 40},
    {"tuning.lora_qkvud(rank = 8, alpha = 16, p = 0.0)", 40},
    {"tuning.ud(rank = 6)", 6},
    {"tuning.double(rank = 8)", 16},
    {"tuning.ud(rank = 8), tuning.lora_qkv(rank = 4, alpha = 8)", 20},
    {"everything()", 0},
};

static void test_specs_keep_what_the_formula_says(void **state) {
    (void)state;
    enum { H = 64, HEADS = 4, KV = 32, F = 176, TOKENS = 24 };
    for (size_t k = 0; k < CTL_COUNT(specs); k++) {
        int64_t bytes[2];
        for (int deeper = 0; deeper < 2; deeper++) {
            ctl_graph *plain = elaborated(specs[k].controls, 2 + deeper, "bf16");
            ctl_graph *g = merged(rounded(simplified(differentiated(simplified(plain))), CTL_BF16)),
                      *s = saved(g);
            bytes[deeper] = ctl_saved_bytes(s);
            if (deeper) continue;
            assert_same_bits(run(s, CTL_BF16), run(g, CTL_BF16));
            assert_true(distance(run(s, CTL_F64), run(differentiated(plain), CTL_F64)) <= 0.03);
        }
        assert_int_equal((bytes[1] - bytes[0]) / TOKENS,
                         8 * H + 4 * KV + 4 * F + 4 * HEADS + 2 * specs[k].thin);
    }
}

static void test_backward_reads_no_product_of_forward_twice(void **state) {
    (void)state;
    llama m = tuned(TUNE_LORA);
    ctl_graph *g = rounded(simplified(differentiated(simplified(build_llama(&arena, &m)))), CTL_BF16);
    ctl_graph *s = saved(g);
    assert_int_equal(count_ops(s, OP_MATMUL), count_ops(g, OP_MATMUL));
    assert_int_equal(count_ops(s, OP_ATTEND), count_ops(g, OP_ATTEND));
    assert_true(s->n > g->n);
}

/* ---- graphs at random ---- */
enum { WIDTH = 6, STEPS = 28 };

static ctl_node_id random_step(ctl_graph *g, uint64_t *seed, const ctl_node_id *v, int n, int k) {
    ctl_node_id a = v[n - 1 - (int)(fabs(noise(seed)) * 0.99 * n)],
                b = v[n - 1 - (int)(fabs(noise(seed)) * 0.99 * n)];
    bool trained = noise(seed) > 0.3;
    switch ((int)(fabs(noise(seed)) * 12.99)) {
    case 0: return U(OP_TANH, a);
    case 1: return B(OP_MUL, a, U(OP_SIN, b));
    case 2: return B(OP_ADD, a, b);
    case 3: return B(OP_SUB, a, U(OP_NEG, b));
    case 4: return B(OP_ADD, a, param_of(g, NAME("b%d", k), 1, WIDTH, trained));
    case 5: return B(OP_MATMUL, U(OP_TANH, a), param_of(g, NAME("m%d", k), WIDTH, WIDTH, trained));
    case 6:
    case 7: return times(g, U(OP_TANH, v[k / 20 * 5]), param_of(g, NAME("t%d", k), WIDTH, WIDTH, trained));
    case 8: return attr(g, OP_JOIN, U(OP_COS, attr(g, OP_SPLIT, a, 3, 0)), WIDTH, 0);
    case 9: {
        ctl_node_id halves[] = {attr(g, OP_COLUMNS, a, 2, 6), attr(g, OP_COLUMNS, b, 0, 2)};
        return ctl_build(g, CTL_NONE, OP_CAT, 2, halves, NULL, 0);
    }
    case 10: return B(OP_MUL, a, U(OP_RSQRT, B(OP_ADD, U(OP_SUM, B(OP_MUL, a, a)), C(1))));
    default:
        return state_of(g, NAME("s%d", k),
                        B(OP_ADD, a, state_of(g, NAME("i%d", k), B(OP_ADD, b, U(OP_EXP, U(OP_SIN, a))))));
    }
}

static void test_random_graphs_keep_their_values(void **state) {
    (void)state;
    uint64_t seed = 11;
    int merges = 0, rebuilt = 0;
    for (int trial = 0; trial < 60; trial++) {
        ctl_graph *g = tiny(WIDTH);
        ctl_node_id v[STEPS + 1] = {g->inputs.at[0].node};
        for (int k = 0; k < STEPS; k++) v[k + 1] = random_step(g, &seed, v, k + 1, k);
        ctl_node_id last =
            B(OP_ADD, U(OP_TANH, v[STEPS]), times(g, v[0], param_of(g, "w", WIDTH, WIDTH, true)));
        for (int k = 0; k < STEPS; k++) last = B(OP_ADD, last, U(OP_TANH, v[k])); /* nothing is dead */
        g->loss = state_of(g, "loss", ctl_build_mse(g, last, last, U(OP_SIN, v[0])));
        give(g, "loss", g->loss);
        results want = run(differentiated(verified(g)), CTL_F64);
        ctl_graph *tidy = simplified(differentiated(simplified(g)));
        assert_close(run(tidy, CTL_F64), want, 1e-11);
        ctl_graph *wide = merged(rounded(tidy, CTL_F32));
        assert_close(run(wide, CTL_F64), want, 1e-11);
        assert_same_bits(run(saved(wide), CTL_F64), run(wide, CTL_F64));
        ctl_graph *narrow = merged(rounded(tidy, CTL_BF16)), *kept = saved(narrow);
        assert_same_bits(run(kept, CTL_BF16), run(narrow, CTL_BF16));
        assert_int_equal(count_ops(kept, OP_MATMUL), count_ops(narrow, OP_MATMUL));
        merges += count_ops(narrow, OP_STACK), rebuilt += kept->n > narrow->n;
    }
    if (merges <= 20 || rebuilt <= 40) fail_msg("%d stacks, %d graphs with rebuilding", merges, rebuilt);
}

/* ---- the cut, against all subsets ---- */
static bool separates(const ctl_cut_vertex *v, int n, const ctl_cut_edge *e, int nedges, unsigned kept) {
    unsigned reached = 0;
    for (int k = 0; k < n; k++) reached |= (unsigned)v[k].source << k;
    for (int round = 0; round < n; round++) {
        for (int k = 0; k < nedges; k++) {
            bool through = reached >> e[k].from & 1u && !(kept >> e[k].from & 1u);
            if (through) reached |= 1u << e[k].to;
        }
    }
    for (int k = 0; k < n; k++) {
        if (v[k].sink && reached >> k & 1u && !(kept >> k & 1u)) return false;
    }
    return true;
}

static void test_cut_is_the_least(void **state) {
    (void)state;
    uint64_t seed = 3;
    enum { N = 9 };
    for (int trial = 0; trial < 300; trial++) {
        ctl_cut_vertex v[N] = {0};
        ctl_cut_edge e[N * N];
        int nedges = 0;
        for (int k = 0; k < N; k++) {
            v[k].cost = 1 + (int64_t)(fabs(noise(&seed)) * 6);
            v[k].source = noise(&seed) < -0.4;
            v[k].sink = noise(&seed) > 0.4;
            for (int j = 0; j < k; j++) {
                if (noise(&seed) > 0.3) e[nedges++] = (ctl_cut_edge){(uint32_t)j, (uint32_t)k};
            }
        }
        ctl_cut_least(&arena, v, N, e, (size_t)nedges);
        unsigned kept = 0;
        int64_t cost = 0, least = INT64_MAX;
        for (int k = 0; k < N; k++) {
            if (v[k].kept) kept |= 1u << k, cost += v[k].cost;
        }
        assert_true(separates(v, N, e, nedges, kept));
        for (unsigned s = 0; s < 1u << N; s++) {
            int64_t c = 0;
            for (int k = 0; k < N; k++) c += s >> k & 1u ? v[k].cost : 0;
            if (c < least && separates(v, N, e, nedges, s)) least = c;
        }
        assert_int_equal(cost, least);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_states_of_states_are_aliases),
        TEST(test_single_edges_dissolve_in_textual_order),
        TEST(test_biases_join_their_products),
        TEST(test_states_with_readers_stay),
        TEST(test_identities_fold),
        TEST(test_quotients_use_a_reciprocal),
        TEST(test_nested_views_take_no_time),
        TEST(test_views_fold),
        TEST(test_dropouts_of_two_sites_differ),
        TEST(test_rope_tables_are_made_once_a_token),
        TEST(test_head_replaces_unread_logits),
        TEST(test_cross_entropy_is_its_formula),
        TEST(test_gradients_survive_all_passes),
        TEST(test_bf16_is_near_and_saving_keeps_its_bits),
        TEST(test_operands_are_bf16),
        TEST(test_products_of_one_operand_merge),
        TEST(test_sums_of_products_merge),
        TEST(test_a_weight_is_in_one_stack),
        TEST(test_forward_keeps_what_the_formula_says),
        TEST(test_specs_keep_what_the_formula_says),
        TEST(test_backward_reads_no_product_of_forward_twice),
        TEST(test_random_graphs_keep_their_values),
        TEST(test_cut_is_the_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
