/* Simplification on graphs built by hand: what folds, what joins, what must stay, and that values do. */
#include "tests/passes_fixture.h"

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

/* Half a layer behind attention, of which row `row` is read; `more`: 1 the other rows too, 2 another row, 3 through dropout. */
static ctl_graph *layer_of(int64_t row, int more) {
    ctl_graph *g = tiny(4);
    g->sequence = 3, g->rows_of[SPACE_SEQUENCES] = 2, g->drop_sites = 1;
    ctl_node_id x = g->inputs.at[0].node, q[] = {x, x, x}, w[3];
    for (int k = 0; k < 3; k++) w[k] = param_of(g, NAME("w%d", k), 4, 4, false);
    ctl_node_id a = ctl_build(g, CTL_NONE, OP_ATTEND, 3, q, (const int64_t[3]){2}, 0);
    ctl_node_id h = state_of(g, "h", B(OP_ADD, times(g, a, w[0]), x));
    ctl_node_id split = ctl_build(g, CTL_NONE, OP_SPLIT, 1, &h, (const int64_t[3]){2}, 0), size = U(OP_SUM, B(OP_MUL, split, split));
    ctl_node_id norm = B(OP_MUL, split, U(OP_RSQRT, size)), m = ctl_build(g, CTL_NONE, OP_JOIN, 1, &norm, (const int64_t[3]){4}, 0);
    m = times(g, U(OP_TANH, times(g, m, w[1])), w[2]);
    if (more == 3) m = ctl_build(g, CTL_NONE, OP_DROP, 1, &m, NULL, 0.5);
    ctl_node_id y = state_of(g, "y", B(OP_ADD, h, m));
    give(g, "first", ctl_build(g, CTL_NONE, OP_PICK, 1, &y, (const int64_t[3]){row}, 0));
    if (more == 1) give(g, "y", y);
    if (more == 2) give(g, "last", ctl_build(g, CTL_NONE, OP_PICK, 1, &y, (const int64_t[3]){2}, 0));
    return g;
}

static int products_of_tokens(const ctl_graph *g) {
    int n = 0;
    for (size_t id = 0; id < g->n; id++) n += g->at[id].op == OP_MATMUL && g->at[id].space == SPACE_TOKENS;
    return n;
}

static void test_what_is_picked_is_picked_early(void **state) {
    (void)state;
    for (int64_t row = 0; row < 3; row++) {
        ctl_graph *g = layer_of(row, 0), *s = simplified(g);
        assert_int_equal(products_of_tokens(g), 3);
        assert_int_equal(products_of_tokens(s), 0);
        assert_int_equal(count_ops(s, OP_PICK), 2); /* of what attention gives, and of x */
        assert_same_bits(run(s, CTL_F32), run(g, CTL_F32));
        for (int more = 1; more < 4; more++) {
            if (more == 2 && row == 2) continue; /* which is the same row */
            g = layer_of(row, more), s = simplified(g);
            assert_int_equal(products_of_tokens(s), 3);
            assert_same_bits(run(s, CTL_F32), run(g, CTL_F32));
        }
    }
}

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
        TEST(test_what_is_picked_is_picked_early),
        TEST(test_head_replaces_unread_logits),
        TEST(test_cross_entropy_is_its_formula),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
