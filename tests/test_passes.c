/* Passes on graphs built by hand and at random: values stay, and rounding stands where it should. */
#include "tests/passes_fixture.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_gradients_survive_all_passes),
        TEST(test_bf16_is_near_and_saving_keeps_its_bits),
        TEST(test_operands_are_bf16),
        TEST(test_products_of_one_operand_merge),
        TEST(test_sums_of_products_merge),
        TEST(test_a_weight_is_in_one_stack),
        TEST(test_random_graphs_keep_their_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
