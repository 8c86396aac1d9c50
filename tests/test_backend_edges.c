/* test_backend_edges: infinities, NaN, zeros of either sign, subnormal and huge numbers through every map and reduction;
 * batches in which no label counts, documents of one row, a normaliser of 0; and graphs that once came out wrong. The CPU
 * back end against the reference executor (backend_harness.h). docs/rows.md says what NaN does to max, min and rowmax. */
#include "tests/backend_harness.h"

enum { ROWS = 70, COLS = 33 };

static ctl_node_id one(fixture *f, ctl_op op, ctl_node_id a) { return CTL_B1(f->g, CTL_NONE, op, a); }
static ctl_node_id two(fixture *f, ctl_op op, ctl_node_id a, ctl_node_id b) { return CTL_B2(f->g, CTL_NONE, op, a, b); }
static ctl_node_id number(fixture *f, double x) { return ctl_build_const(f->g, x); }

/* ---- extreme numbers ---- */
/* Element by element: NaN is NaN, infinities and zeros have their sign, the rest is within 4 units of the last place, or
 * of the smallest normal number's. */
static bool is_same(double got, double want) {
    if (isnan(want)) return isnan(got);
    if (isinf(want) || want == 0) return got == want && signbit(got) == signbit(want);
    return fabs(got - want) <= 4 * 1.2e-7 * fmax(fabs(want), 1.2e-38);
}

/* Where the polynomials differ from libm, as docs/rows.md says: sin and cos of large angles are NaN, and the sign of zero
 * is lost by sin and tanh. */
static bool differs_as_documented(ctl_op op, double x, double got) {
    if ((op == OP_SIN || op == OP_COS) && fabs(x) >= 4194304 && isfinite(x)) return isnan(got);
    return (op == OP_SIN || op == OP_TANH) && x == 0 && got == 0;
}

static size_t differences(const trial *t, const results *got, const results *want) {
    size_t wrong = 0;
    for (size_t k = 0; k < got->n; k++) {
        const result *g = &got->at[k], *w = &want->at[k];
        for (int64_t j = 0, told = 0; j < g->count && told < 3; j++) {
            if (is_same(g->value[j], w->value[j])) continue;
            /* the first input is named e.in0, and its elements lie as the result's */
            if (differs_as_documented(t->op, bench_number(t, "e.in0", j), g->value[j])) continue;
            print_error("%s of e.in0 %g: element %lld is %.9g, the executor's %.9g\n", ctl_op_name(t->op),
                        bench_number(t, "e.in0", j), (long long)j, g->value[j], w->value[j]);
            wrong++, told++;
        }
    }
    return wrong;
}

static void test_extreme_numbers(void **state) {
    (void)state;
#define OP(id, text, cls, least, most) {OP_##id, CLASS_##cls, least},
    static const struct {
        ctl_op op;
        ctl_op_class class;
        int inputs;
    } ops[] = {
#include "compiler/graph/ops.def"
    };
#undef OP
    bench b;
    bench_open(&b);
    for (size_t k = 0; k < CTL_COUNT(ops); k++) {
        if (ops[k].class != CLASS_MAP && ops[k].class != CLASS_REDUCE && ops[k].class != CLASS_COLUMN) continue;
        if (ops[k].op == OP_TOREAL || ops[k].op == OP_TOINT || ops[k].op == OP_DROP || ops[k].op == OP_POW) continue;
        fixture *f = bench_graph(&b, ROWS, 0);
        ctl_node_id in[] = {leaf_input(f, 'e', COLS), leaf_input(f, 'e', COLS), leaf_input(f, 'e', COLS)}, r;
        if (ops[k].op == OP_CAST) r = ctl_build_cast(f->g, CTL_NONE, in[0], CTL_BF16);
        else r = ctl_build(f->g, CTL_NONE, ops[k].op, ops[k].inputs, in, NULL, 0);
        show(f, r);
        bench_add(&b, ctl_op_name(ops[k].op), CTL_F32, NULL);
        b.trials.at[b.trials.n - 1].op = ops[k].op;
    }
    bench_emit(&b);
    size_t wrong = b.refused;
    for (size_t k = 0; k < b.trials.n; k++) {
        const trial *t = &b.trials.at[k];
        results fused = bench_results(t), plain = bench_results(t), want = bench_results(t);
        perform(&b, t, false, 1, &fused), perform(&b, t, true, 2, &plain), perform_reference(t, CTL_F32, &want);
        wrong += same_bits(t, "fused and unfused", &fused, &plain) + differences(t, &fused, &want);
        results_free(&fused), results_free(&plain), results_free(&want);
    }
    bench_close(&b);
    assert_int_equal(wrong, 0);
}

/* ---- batches at their edges ---- */
static ctl_node_id attend(fixture *f, ctl_node_id q, ctl_node_id k, ctl_node_id v, bool causal) {
    return ctl_build(f->g, CTL_NONE, OP_ATTEND, 3, (const ctl_node_id[]){q, k, v}, (const int64_t[3]){8, causal, 0}, 0);
}

/* Attention, a norm and a head over tied weights; logits read elsewhere too, or not. */
static void small_model(fixture *f, char kind, bool logits_kept) {
    ctl_node_id x = state_named(f, leaf_input(f, kind, 16)), w = leaf_param(f, 'w', 16, 16, true), table = leaf_param(f, 'w', 11, 16, true);
    ctl_node_id scale = one(f, OP_RSQRT, two(f, OP_ADD, one(f, OP_SUM, two(f, OP_MUL, x, x)), number(f, 1e-6)));
    ctl_node_id y = state_named(f, fx_matmul(f, two(f, OP_MUL, x, scale), false, w, true));
    y = state_named(f, two(f, OP_ADD, x, attend(f, y, y, x, true)));
    ctl_node_id logits = fx_matmul(f, y, false, table, true);
    if (logits_kept) show(f, logits);
    f->g->loss = ctl_build_cross_entropy(f->g, CTL_NONE, logits, leaf_ids(f, 'l', 11));
}

static void test_batches(void **state) {
    (void)state;
    bench b;
    bench_open(&b);
    for (int k = 0; k < 24; k++) {
        static const char *const names[] = {"no label counts", "documents of one row", "a normaliser of 0", "large and small numbers", "zeros", "one row"};
        int which = k / 4;
        fixture *f = bench_graph(&b, which == 5 ? 1 : 48, which == 1 ? 1 : 0);
        small_model(f, which == 3 ? 'h' : which == 4 ? 'z' : 'x', k & 1);
        bench_add(&b, names[which], k & 2 ? CTL_BF16 : CTL_F32, NULL);
        b.trials.at[b.trials.n - 1].ignore_all = which == 0;
        if (which == 2) b.trials.at[b.trials.n - 1].normaliser = 0;
    }
    size_t wrong = bench_run(&b);
    bench_close(&b);
    assert_int_equal(wrong, 0);
}

/* ---- what once came out wrong ---- */
/* Two terms of a gradient that one row program computes: the second addition must see the first. */
static void two_terms(fixture *f) {
    ctl_node_id w = leaf_param(f, 'w', 5, 7, true);
    ctl_node_id batch = one(f, OP_TANH, one(f, OP_COLSUM, leaf_input(f, 'w', 7)));
    ctl_node_id y = two(f, OP_MUL, w, batch);
    loss_of(f, two(f, OP_MUL, y, w));
    loss_of(f, one(f, OP_SIN, y));
}

/* The head's sums for its weight are f32, also where only a cast to bf16 reads them. */
static void product_under_head(fixture *f) {
    ctl_node_id w = fx_matmul(f, leaf_param(f, 'w', 11, 3, true), false, leaf_param(f, 'w', 3, 16, true), false);
    ctl_node_id in[] = {state_named(f, leaf_input(f, 'x', 16)), w, leaf_ids(f, 'l', 11)};
    f->g->loss = ctl_build(f->g, CTL_NONE, OP_HEAD, 3, in, NULL, 0);
}

/* An output that the step's last task reads is not overwritten by what that task makes. */
static void output_at_the_end(fixture *f) {
    ctl_node_id y = one(f, OP_TANH, leaf_input(f, 'x', 16));
    show(f, y);
    loss_of(f, y);
}

/* Rows of weights, and of parts of tokens, repeated. */
static void finer_repeats(fixture *f) {
    ctl_node_id parts = fx_with(f, OP_SPLIT, leaf_input(f, 'x', 12), 4, 0);
    loss_of(f, one(f, OP_SIN, fx_with(f, OP_REPEAT, parts, 70, 0)));
    loss_of(f, one(f, OP_SIN, fx_with(f, OP_REPEAT, leaf_param(f, 'x', 6, 4, true), 3, 0)));
}

/* Weights have their dropped rows counted from 0, whichever rows of the batch the step works on. */
static void dropped_weight(fixture *f) {
    ctl_node_id w = leaf_param(f, 'w', 16, 16, true);
    w = ctl_build(f->g, CTL_NONE, OP_DROP, 1, &w, (const int64_t[3]){f->g->drop_sites++}, 0.5);
    loss_of(f, fx_matmul(f, leaf_input(f, 'x', 16), false, w, true));
}

/* Places in documents are kept as integers, whoever reads them. */
static void place_as_output(fixture *f) {
    ctl_node_id place = CTL_B0(f->g, CTL_NONE, OP_POSITION, 0);
    show(f, place);
    loss_of(f, two(f, OP_MUL, place, leaf_input(f, 'x', 1)));
}

/* Products of one shape stored turned and not, of one row: to oneDNN's cache they are the same. */
static void thin_products(fixture *f) {
    for (int turned = 0; turned < 4; turned++) {
        ctl_node_id a = leaf_param(f, 'w', turned & 1 ? 5 : 1, turned & 1 ? 1 : 5, true);
        ctl_node_id w = leaf_param(f, 'w', turned & 2 ? 9 : 5, turned & 2 ? 5 : 9, true);
        loss_of(f, fx_matmul(f, a, turned & 1, w, turned & 2));
    }
    loss_of(f, leaf_input(f, 'x', 1));
}

/* Split rows that a product reads out of columns, that one makes, and that are an output lie one after the other, also where a back
 * end would pad the rows that they are parts of (2048 elements on the CPU, 3 on a GPU). */
static void split_rows(fixture *f) {
    ctl_node_id columns = fx_with(f, OP_COLUMNS, state_named(f, leaf_input(f, 'x', 20)), 4, 16);
    ctl_node_id parts = fx_with(f, OP_SPLIT, columns, 4, 0), halves = fx_with(f, OP_SPLIT, leaf_input(f, 'x', 8), 4, 0);
    ctl_node_id thin = fx_with(f, OP_SPLIT, one(f, OP_TANH, leaf_input(f, 'x', 3)), 1, 0);
    ctl_node_id wide = fx_matmul(f, halves, false, leaf_param(f, 'w', 4, 1024, true), false);
    loss_of(f, fx_matmul(f, parts, false, leaf_param(f, 'w', 4, 5, true), false));
    loss_of(f, one(f, OP_SIN, wide));
    loss_of(f, fx_matmul(f, thin, false, leaf_param(f, 'w', 1, 3, true), false));
    show(f, wide), show(f, thin);
}

static void test_once_wrong(void **state) {
    (void)state;
    static void (*const cases[])(fixture *) = {two_terms, product_under_head, output_at_the_end, finer_repeats,
                                               dropped_weight, place_as_output, thin_products, split_rows};
    static const char *const names[] = {"two terms", "product under head", "output at the end", "finer repeats",
                                        "dropped weight", "place as output", "thin products", "split rows"};
    bench b;
    bench_open(&b);
    for (size_t k = 0; k < 2 * CTL_COUNT(cases); k++) {
        cases[k / 2](bench_graph(&b, 48, 0));
        bench_add(&b, names[k / 2], k % 2 ? CTL_BF16 : CTL_F32, NULL);
    }
    size_t wrong = bench_run(&b);
    bench_close(&b);
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_extreme_numbers), cmocka_unit_test(test_batches),
                                       cmocka_unit_test(test_once_wrong)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
