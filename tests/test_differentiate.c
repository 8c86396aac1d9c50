/* What differentiation makes, and leaves: nothing backward of what is not trained, a state's adjoint once, no padding, an evaluation
 * of its own; and what it refuses. The values are test_derivatives'. */
#include "tests/derivative_fixture.h"

static int count(const ctl_graph *g, ctl_op op, ctl_entry entry) {
    int n = 0;
    for (size_t id = 0; id < g->n; id++)
        n += g->at[id].op == op && g->at[id].rate == RATE_STEP && g->at[id].entry == entry;
    return n;
}

/* Two frozen layers, a control on the second: nothing is computed backward below it, frozen weights have no
 * gradient, and stop hides what is behind it. */
static void test_only_what_is_trained(void **state) {
    (void)state;
    setup s = {.ids_most = 1};
    fx_open(&s.f, TOKENS, 3);
    ctl_graph *g = s.f.g, *d;
    ctl_node_id x = fx_input(&s.f, "x", 4, false), w1 = fx_param(&s.f, "w1", 4, 4, false),
                w2 = fx_param(&s.f, "w2", 4, 4, false);
    ctl_node_id a = fx_param(&s.f, "a", 4, 2, true), c = fx_param(&s.f, "b", 2, 4, true),
                hidden = fx_param(&s.f, "c", 4, 4, true);
    ctl_node_id h = u(&s, OP_STATE, u(&s, OP_TANH, fx_matmul(&s.f, x, false, w1, false)));
    ctl_node_id y = b(&s, OP_ADD, fx_matmul(&s.f, h, false, w2, false),
                      fx_matmul(&s.f, fx_matmul(&s.f, h, false, a, false), false, c, false));
    y = b(&s, OP_ADD, y, u(&s, OP_STOP, fx_matmul(&s.f, h, false, hidden, false)));
    g->loss = u(&s, OP_COLSUM, u(&s, OP_SUM, b(&s, OP_MUL, y, y)));
    assert_true(ctl_pass_differentiate(g, NULL, &d, &s.f.sink));
    fx_verify(&s.f, d);
    assert_int_equal(d->params.at[0].grad, CTL_NONE);
    assert_int_equal(d->params.at[1].grad, CTL_NONE);
    assert_int_not_equal(d->params.at[2].grad, CTL_NONE);
    assert_int_not_equal(d->params.at[3].grad, CTL_NONE);
    assert_int_equal(d->params.at[4].grad, CTL_NONE);
    assert_int_equal(count(d, OP_MATMUL, ENTRY_BACKWARD), 3); /* d b, d (h a), d a; none for h */
    assert_int_equal(count(d, OP_TANH, ENTRY_BACKWARD), 0);
    fx_close(&s.f);
}

static void test_adjoint_of_a_state(void **state) {
    (void)state;
    setup s = {.ids_most = 1};
    fx_open(&s.f, TOKENS, 3);
    ctl_graph *g = s.f.g, *d;
    ctl_node_id x = fx_input(&s.f, "x", 3, false), w = fx_param(&s.f, "w", 3, 3, true);
    ctl_node_id h = u(&s, OP_STATE, fx_matmul(&s.f, x, false, w, false));
    g->at[h].path = "net.h";
    ctl_node_id y = b(&s, OP_ADD, b(&s, OP_MUL, h, h), u(&s, OP_EXP, h));
    g->loss = u(&s, OP_STATE, u(&s, OP_COLSUM, u(&s, OP_SUM, y)));
    assert_true(ctl_pass_differentiate(g, NULL, &d, &s.f.sink));
    assert_int_equal(count(d, OP_STATE, ENTRY_BACKWARD), 1); /* not of the loss, whose adjoint is 1 */
    for (size_t id = 0; id < d->n; id++) {
        if (d->at[id].op != OP_STATE || d->at[id].entry != ENTRY_BACKWARD) continue;
        assert_string_equal(d->at[id].path, "d net.h");
        assert_int_equal(d->at[d->at[id].in[0]].op, OP_ADD); /* the sum of all contributions, once */
    }
    fx_close(&s.f);
}

/* rope's two halves come back beside each other, without padding. */
static void test_halves_meet_in_one_cat(void **state) {
    (void)state;
    setup s = {.ids_most = 1};
    fx_open(&s.f, TOKENS, 3);
    ctl_graph *g = s.f.g, *d;
    ctl_node_id h = rows(&s, 6);
    ctl_node_id part[] = {u(&s, OP_NEG, fx_with(&s.f, OP_COLUMNS, h, 3, 6)),
                          fx_with(&s.f, OP_COLUMNS, h, 0, 3)};
    ctl_node_id y = ctl_build(g, CTL_NONE, OP_CAT, 2, part, NULL, 0);
    g->loss = u(&s, OP_COLSUM, u(&s, OP_SUM, b(&s, OP_MUL, y, y)));
    bool wanted[1] = {true};
    assert_true(ctl_pass_differentiate(g, &(ctl_differentiate_options){wanted}, &d, &s.f.sink));
    const ctl_node *grad = &d->at[d->inputs.at[0].grad];
    assert_int_equal(grad->op, OP_CAT);
    assert_int_equal(grad->nin, 2);
    fx_close(&s.f);
}

static void test_no_loss_and_no_derivative(void **state) {
    (void)state;
    setup s = {.ids_most = 1};
    fx_open(&s.f, TOKENS, 3);
    ctl_graph *g = s.f.g, *d;
    assert_false(ctl_pass_differentiate(g, NULL, &d, &s.f.sink));
    assert_int_equal(s.f.sink.errors, 1);
    ctl_node_id y = build_attend(&s, 1), w = fx_param(&s.f, "w", 1, 1, true);
    ctl_node_id q = b(&s, OP_MUL, g->at[y].in[0], w);
    ctl_node_id in[] = {q, g->at[y].in[1], g->at[y].in[2]};
    y = ctl_build(g, CTL_NONE, OP_ATTEND, 3, in, g->at[y].i, 0);
    g->loss = u(&s, OP_COLSUM, u(&s, OP_SUM, fx_with(&s.f, OP_PART, y, 1, 0)));
    fx_verify(&s.f, g);
    assert_false(ctl_pass_differentiate(g, NULL, &d, &s.f.sink));
    assert_int_equal(s.f.sink.errors, 2);
    fx_close(&s.f);
}

static void test_evaluate(void **state) {
    (void)state;
    setup s = {.ids_most = 1};
    fx_open(&s.f, TOKENS, 3);
    ctl_graph *g = s.f.g, *d, *e;
    g->drop_sites = 1;
    ctl_node_id x = fx_input(&s.f, "x", 4, false), w = fx_param(&s.f, "w", 7, 4, true), labels = ids(&s, 7);
    ctl_node_id h = ctl_build(g, CTL_NONE, OP_DROP, 1, &x, NULL, 0.5);
    h = u(&s, OP_TANH, h);
    g->loss = CTL_B3(g, CTL_NONE, OP_HEAD, h, w, labels);
    fx_output(&s.f, "loss", g->loss);
    fx_output(&s.f, "h", h);
    fx_output(&s.f, "norm", u(&s, OP_SUM, w));
    assert_true(ctl_pass_differentiate(g, NULL, &d, &s.f.sink));
    ctl_pass_evaluate(d, &e);
    fx_verify(&s.f, e);
    assert_int_equal(count(e, OP_DROP, ENTRY_EVALUATE), 0);
    assert_int_equal(count(e, OP_HEAD, ENTRY_EVALUATE), 1);
    assert_int_equal(e->at[e->outputs.at[0].node].i[0], 2);     /* forward makes d w */
    assert_int_equal(e->at[e->outputs.at[0].evaluate].i[0], 0); /* evaluate does not */
    assert_int_equal(e->outputs.at[2].node, e->outputs.at[2].evaluate);
    ctl_reference *r;
    assert_int_equal(ctl_reference_open(e, CTL_F64, NULL, &r), CTL_OK);
    fill(&s, r, e);
    ctl_node_id want = e->outputs.at[1].evaluate;
    assert_int_equal(ctl_reference_eval(r, &want, 1), CTL_OK);
    for (int j = 0; j < TOKENS * 4; j++)
        assert_true(ctl_reference_value(r, want)[j] == tanh(ctl_reference_input(r, 0)[j]));
    ctl_reference_close(r);
    fx_close(&s.f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_is_trained),
        cmocka_unit_test(test_adjoint_of_a_state),
        cmocka_unit_test(test_halves_meet_in_one_cat),
        cmocka_unit_test(test_no_loss_and_no_derivative),
        cmocka_unit_test(test_evaluate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
