/* test_backend_random: graphs drawn from a seed - maps, reductions, products, views, look-ups, attention, dropout, states,
 * values read by several, expressions of weights alone - on the CPU back end against the reference executor.
 * backend_harness.h says what is compared and how closely. Comparisons, and remainders, are of exact numbers only: of
 * computed ones the last bit could decide. CTL_TEST_LONG in the environment draws many more, CTL_TEST_SEED just one. */
#include "compiler/graph/graph_copy.h"
#include "tests/backend_harness.h"

#ifdef CTL_BACKEND_ON_CUDA
enum { GRAPHS = 8, MANY_GRAPHS = 400 };
#else
enum { GRAPHS = 200, MANY_GRAPHS = 3000 };
#endif
enum { TABLE = 6, CLASSES = 11, MOST_VALUES = 200 };

typedef struct sower {
    fixture *f;
    uint64_t seed;
    uint32_t drawn;
    ctl_node_id values[MOST_VALUES];
    int n;
} sower;

static int roll(sower *s, int sides) {
    uint32_t out[4], counter[4] = {s->drawn++, 1, 2, 3};
    ctl_philox(counter, s->seed, out);
    return (int)(out[0] % (uint32_t)sides);
}

static ctl_graph *graph(sower *s) { return s->f->g; }
static const ctl_node *at(sower *s, ctl_node_id id) { return &graph(s)->at[id]; }
static ctl_node_id one(sower *s, ctl_op op, ctl_node_id a) { return CTL_B1(graph(s), CTL_NONE, op, a); }
static ctl_node_id two(sower *s, ctl_op op, ctl_node_id a, ctl_node_id b) { return CTL_B2(graph(s), CTL_NONE, op, a, b); }
static ctl_node_id number(sower *s, double x) { return ctl_build_const(graph(s), x); }
static ctl_node_id scaled(sower *s, ctl_node_id a, double by) { return two(s, OP_MUL, a, number(s, by)); }
static ctl_node_id many(sower *s, ctl_op op, int n, const ctl_node_id *in, int64_t i0, int64_t i1, int64_t i2) {
    return ctl_build(graph(s), CTL_NONE, op, n, in, (const int64_t[3]){i0, i1, i2}, 0);
}

static void keep(sower *s, ctl_node_id id) {
    if (s->n < MOST_VALUES) s->values[s->n++] = id;
}

/* A value of `split` rows a token and of `cols` columns (0: any), the later ones more likely; or a new leaf. */
static ctl_node_id pick(sower *s, int split, int64_t cols) {
    for (int tries = 0; tries < 12 && s->n; tries++) {
        int back = roll(s, s->n) < roll(s, s->n) ? roll(s, s->n) : roll(s, s->n < 5 ? s->n : 5);
        ctl_node_id id = s->values[s->n - 1 - back];
        const ctl_node *n = at(s, id);
        if (n->space != SPACE_NONE && (!split || n->split == split) && (!cols || n->cols == cols)) return id;
    }
    static const int64_t widths[] = {1, 4, 8, 12};
    if (!cols) cols = widths[roll(s, 4)];
    if (!split) split = 1;
    ctl_node_id id = leaf_input(s->f, 'x', cols * split);
    if (roll(s, 2)) id = state_named(s->f, id);
    if (split > 1) id = fx_with(s->f, OP_SPLIT, id, cols, 0);
    keep(s, id);
    return id;
}

/* A weight, or what weights alone make: of rate load or update. */
static ctl_node_id weight(sower *s, int64_t rows, int64_t cols, int depth) {
    bool trained = roll(s, 2);
    ctl_node_id a, b;
    switch (depth < 2 ? roll(s, 9) : 8) {
    case 0: return two(s, OP_ADD, weight(s, rows, cols, depth + 1), weight(s, rows, cols, depth + 1));
    case 1: return one(s, OP_TANH, weight(s, rows, cols, depth + 1));
    case 2: return one(s, OP_TRANSPOSE, weight(s, cols, rows, depth + 1));
    case 3:
        a = weight(s, rows, 3, depth + 1), b = weight(s, 3, cols, depth + 1);
        return two(s, OP_ADD, leaf_param(s->f, 'w', rows, cols, trained), fx_matmul(s->f, a, false, b, false));
    case 4: /* rows scaled to one length */
        a = weight(s, rows, cols, depth + 1);
        b = one(s, OP_SUM, two(s, OP_MUL, a, a));
        return two(s, OP_MUL, a, one(s, OP_RSQRT, two(s, OP_ADD, b, number(s, 1))));
    case 5: return fx_with(s->f, OP_COLUMNS, weight(s, rows, cols + 2, depth + 1), 1, cols + 1);
    default: return leaf_param(s->f, 'w', rows, cols, trained);
    }
}

static ctl_node_id unary(sower *s, ctl_node_id a) {
    static const ctl_op plain[] = {OP_TANH, OP_SIN, OP_COS, OP_ERF, OP_NEG, OP_TANH}, positive[] = {OP_LOG, OP_SQRT, OP_RSQRT};
    int k = roll(s, 10);
    if (k < 6) return one(s, plain[k], a);
    if (k < 9) return one(s, positive[k - 6], two(s, OP_ADD, two(s, OP_MUL, a, a), number(s, 1)));
    return one(s, OP_EXP, one(s, OP_TANH, a));
}

/* What meets `a`: alike, a column, a row of weights or of the batch, a number. */
static ctl_node_id partner(sower *s, ctl_node_id a) {
    ctl_node n = *at(s, a);
    switch (roll(s, 6)) {
    case 0: return pick(s, n.split, 1);
    case 1: return weight(s, 1, n.cols, 1);
    case 2: return weight(s, 1, 1, 1);
    case 3: return scaled(s, one(s, OP_COLSUM, pick(s, 0, n.cols)), 0.02);
    default: return pick(s, n.split, n.cols);
    }
}

static ctl_node_id binary(sower *s, ctl_node_id a) {
    static const ctl_op ops[] = {OP_ADD, OP_SUB, OP_MUL, OP_MAX, OP_MIN};
    ctl_node_id b = partner(s, a);
    int k = roll(s, 6);
    if (roll(s, 2)) {
        ctl_node_id swap = a;
        a = b, b = swap;
    }
    if (k < 5) return two(s, ops[k], a, b);
    return two(s, OP_DIV, a, two(s, OP_ADD, two(s, OP_MUL, b, b), number(s, 1)));
}

static ctl_node_id chosen(sower *s, ctl_node_id a) {
    ctl_node n = *at(s, a);
    ctl_node_id exact = leaf_input(s->f, 'g', n.split * (roll(s, 2) ? 1 : n.cols));
    exact = n.split > 1 ? fx_with(s->f, OP_SPLIT, exact, at(s, exact)->cols / n.split, 0) : exact;
    ctl_node_id limit = roll(s, 2) ? number(s, 0.5) : two(s, OP_MOD, exact, number(s, 1.5));
    ctl_node_id asked = two(s, (ctl_op)(OP_LT + roll(s, 3)), exact, limit);
    ctl_node_id b = partner(s, a);
    return roll(s, 2) ? CTL_B3(graph(s), CTL_NONE, OP_SELECT, asked, a, b) : CTL_B3(graph(s), CTL_NONE, OP_SELECT, asked, b, a);
}

static ctl_node_id along_rows(sower *s, ctl_node_id a) {
    double cols = (double)at(s, a)->cols;
    ctl_node_id mean, up;
    switch (roll(s, 5)) {
    case 0: return scaled(s, one(s, OP_SUM, a), 1 / cols);
    case 1: return one(s, OP_ROWMAX, a);
    case 2: /* softmax */
        up = one(s, OP_EXP, two(s, OP_SUB, a, one(s, OP_ROWMAX, a)));
        return two(s, OP_DIV, up, one(s, OP_SUM, up));
    case 3: /* a norm */
        mean = scaled(s, one(s, OP_SUM, a), 1 / cols), a = two(s, OP_SUB, a, mean);
        up = scaled(s, one(s, OP_SUM, two(s, OP_MUL, a, a)), 1 / cols);
        return two(s, OP_MUL, a, one(s, OP_RSQRT, two(s, OP_ADD, up, number(s, 0.1))));
    default: /* the mean of the batch, seen by every row */
        up = scaled(s, one(s, OP_COLSUM, a), 1.0 / (double)at(s, a)->rows);
        return two(s, OP_SUB, a, up);
    }
}

static ctl_node_id product(sower *s) {
    static const int64_t widths[] = {4, 8, 12};
    int64_t n = widths[roll(s, 3)];
    ctl_node_id a = pick(s, roll(s, 4) ? 1 : 0, 0), y;
    bool turned = roll(s, 2);
    int64_t k = at(s, a)->cols;
    if (roll(s, 8) == 0) { /* a weight made of the batch */
        ctl_node_id w = scaled(s, fx_matmul(s->f, pick(s, 1, k), true, pick(s, 1, n), false), 0.02);
        return one(s, OP_TANH, fx_matmul(s->f, a, false, w, false));
    }
    y = fx_matmul(s->f, a, false, turned ? weight(s, n, k, 0) : weight(s, k, n, 0), turned);
    if (roll(s, 3) == 0) y = two(s, OP_ADD, y, weight(s, 1, n, 1));
    if (roll(s, 3) == 0) y = two(s, OP_ADD, pick(s, at(s, y)->split, n), y);
    if (roll(s, 3) == 0) y = two(s, OP_ADD, y, fx_matmul(s->f, pick(s, at(s, y)->split, 4), false, weight(s, 4, n, 1), false));
    if (roll(s, 3) == 0) keep(s, fx_matmul(s->f, a, false, weight(s, k, 4, 1), false)); /* of one operand with another weight */
    return roll(s, 2) ? y : state_named(s->f, y);
}

static ctl_node_id view(sower *s) {
    ctl_node_id a, in[4];
    int times = 2 + roll(s, 2);
    switch (roll(s, 6)) {
    case 0: return fx_with(s->f, OP_SPLIT, pick(s, 1, roll(s, 2) ? 8 : 12), 4, 0);
    case 1: return fx_with(s->f, OP_JOIN, pick(s, times, 4), 4 * times, 0);
    case 2: return fx_with(s->f, OP_REPEAT, pick(s, 1, 0), times, 0);
    case 3:
        a = pick(s, 0, roll(s, 2) ? 8 : 12);
        return fx_with(s->f, OP_COLUMNS, a, roll(s, 4), 4 + roll(s, 4));
    case 4: /* halves exchanged */
        a = pick(s, 0, 8);
        in[0] = fx_with(s->f, OP_COLUMNS, a, 4, 8), in[1] = fx_with(s->f, OP_COLUMNS, a, 0, 4);
        return many(s, OP_CAT, 2, in, 0, 0, 0);
    default:
        in[0] = pick(s, 0, 4);
        in[1] = roll(s, 2) ? weight(s, 1, 4, 1) : pick(s, at(s, in[0])->split, 4), in[2] = pick(s, at(s, in[0])->split, 4);
        return many(s, OP_CAT, 2 + roll(s, 2), in, 0, 0, 0);
    }
}

static ctl_node_id look_up(sower *s) {
    ctl_node_id ids = leaf_ids(s->f, 'i', TABLE), table;
    if (roll(s, 2)) table = weight(s, TABLE, 8, 0);
    else table = scaled(s, many(s, OP_SCATTER, 2, (const ctl_node_id[]){pick(s, 1, 8), leaf_ids(s->f, 'i', TABLE)}, TABLE, 0, 0), 0.05);
    return two(s, OP_TAKE, table, ids);
}

static ctl_node_id attention(sower *s) {
    int64_t kv = roll(s, 2) ? 4 : 8;
    ctl_node_id in[] = {pick(s, 1, 8), pick(s, 1, kv), pick(s, 1, kv)};
    for (int k = 0; k < 2; k++) in[k] = one(s, OP_TANH, in[k]);
    return many(s, OP_ATTEND, 3, in, 4, roll(s, 2), roll(s, 3) ? 0 : 3);
}

static void grow(sower *s) {
    ctl_node_id a = pick(s, 0, 0);
    switch (roll(s, 13)) {
    case 0:
    case 1: a = unary(s, a); break;
    case 2:
    case 3: a = binary(s, a); break;
    case 4: a = chosen(s, a); break;
    case 5: a = along_rows(s, a); break;
    case 6:
    case 7: a = product(s); break;
    case 8:
    case 9: a = view(s); break;
    case 10: a = look_up(s); break;
    case 11: a = attention(s); break;
    default:
        if (roll(s, 2)) a = ctl_build(graph(s), CTL_NONE, OP_DROP, 1, &a, (const int64_t[3]){graph(s)->drop_sites++}, 0.25);
        else a = roll(s, 4) ? state_named(s->f, a) : one(s, OP_STOP, a);
    }
    if (a == CTL_NONE || at(s, a)->space == SPACE_NONE) return; /* two rows of weights met */
    if (roll(s, 3) == 0) a = state_named(s->f, a);
    keep(s, a);
}

/* The graph of a seed. */
static void sow(bench *b, uint64_t seed) {
    static const int64_t rows[] = {1, 5, 21, 64, 70};
    sower s = {.seed = seed};
    int64_t tokens = rows[roll(&s, 5)];
    s.f = bench_graph(b, tokens, roll(&s, 3) ? 0 : tokens);
    for (int size = 4 + roll(&s, 12); size > 0; size--) grow(&s);
    for (int k = roll(&s, 3); k >= 0; k--) loss_of(s.f, pick(&s, 0, 0));
    loss_of(s.f, s.values[s.n - 1]);
    if (roll(&s, 3) == 0) {
        ctl_node_id logits = fx_matmul(s.f, pick(&s, 1, 8), false, weight(&s, CLASSES, 8, 1), true);
        if (roll(&s, 2)) show(s.f, logits);
        ctl_node_id loss = ctl_build_cross_entropy(s.f->g, CTL_NONE, logits, leaf_ids(s.f, 'l', CLASSES));
        s.f->g->loss = two(&s, OP_ADD, s.f->g->loss, loss);
    }
    for (int k = roll(&s, 3); k > 0; k--) show(s.f, pick(&s, 0, 0));
}

static ctl_dtype compute_of(uint64_t seed) { return seed % 2 ? CTL_BF16 : CTL_F32; }

static void plant(bench *b, uint64_t seed, double share) {
    char name[40];
    sow(b, seed);
    snprintf(name, sizeof name, share < 0 ? "seed %llu" : "seed %llu at %.2f", (unsigned long long)seed, share);
    bench_add_planned(b, name, compute_of(seed), NULL, share);
}

/* Seeds that found defects; what those were stands in test_backend_edges.c. */
static const uint64_t once_wrong[] = {29, 109, 627, 820, 1194, 1202};

/* Every graph as planned for least time; then every third within a budget of its own, drawn from its seed. */
static void run_graphs(bool planned) {
    const char *only = getenv("CTL_TEST_SEED");
    const int most = getenv("CTL_TEST_LONG") ? MANY_GRAPHS : GRAPHS;
    size_t wrong = 0;
    for (int begin = 0; begin < most; begin += GRAPHS) { /* no more code at once than memory likes */
        bench b;
        bench_open(&b);
        for (size_t k = 0; k < CTL_COUNT(once_wrong) && !begin && !only && !planned; k++) plant(&b, once_wrong[k], -1);
        for (int k = begin; k < begin + GRAPHS && k < most; k += planned ? 3 : 1)
            if (!only || k == 0)
                plant(&b, only ? strtoull(only, NULL, 10) : (uint64_t)k, planned ? (k * 7 % 11) / 11.0 : -1);
        if (b.trials.n) wrong += bench_run(&b);
        bench_close(&b);
    }
    assert_int_equal(wrong, 0);
}

static void test_random_graphs(void **state) {
    (void)state;
    run_graphs(false);
}
static void test_random_plans_run(void **state) {
    (void)state;
    run_graphs(true);
}

#ifndef CTL_BACKEND_ON_CUDA
/* A live backward node reads another value of the same type instead: a plan with a fault, which must not pass. */
static bool plant_fault(bench *b, ctl_graph *g, uint64_t seed) {
    bool *live = ctl_graph_live(g, &b->f.arena);
    for (size_t tries = 0, k = seed * 7919 % g->n; tries < g->n; tries++, k = (k + 1) % g->n) {
        ctl_node *n = &g->at[k];
        if (!live[k] || n->rate != RATE_STEP || n->entry != ENTRY_BACKWARD) continue;
        for (uint32_t j = 0; j < n->nin; j++) {
            const ctl_node *read = &g->at[n->in[j]];
            for (ctl_node_id other = (ctl_node_id)k; other-- > 0;) {
                const ctl_node *o = &g->at[other];
                if (o->op == read->op || o->rows != read->rows || o->cols != read->cols || o->dtype != read->dtype ||
                    o->space != read->space || o->split != read->split || o->entry == ENTRY_EVALUATE)
                    continue;
                if (o->op == OP_CAST || o->op == OP_MUL) continue; /* may have the very numbers: widened and rounded again, times 1 */
                n->in[j] = other;
                return true;
            }
        }
    }
    return false;
}

/* Plans of many graphs at many budgets: each computes the same and passes the checker, which every program goes through. */
static void test_random_plans(void **state) {
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    const uint64_t few = 40;
#else
    const uint64_t few = 150;
#endif
    const uint64_t graphs = getenv("CTL_TEST_LONG") ? 40000 : few; /* times 25 budgets */
    static const uint64_t failed_once[] = {33556 /* a repeat that joined its reader's row program later, to be stored */};
    size_t pairs = 0, faults = 0;
    for (uint64_t k = 0; k < graphs + CTL_COUNT(failed_once); k++) {
        const uint64_t seed = k < graphs ? 5000 + k : failed_once[k - graphs];
        bench b;
        char name[40];
        bench_open(&b);
        sow(&b, seed);
        snprintf(name, sizeof name, "seed %llu", (unsigned long long)seed);
        const ctl_planner *p = bench_planner(&b, bench_passes(&b, name, compute_of(seed)), compute_of(seed));
        for (int budget = 0; p && budget < 25; budget++) {
            const char *why = NULL;
            ctl_graph *g = bench_plan(&b, name, p, budget / 24.0);
            ctl_lower_options lower = bench_lower_options(compute_of(seed), false);
            ctl_lowered out;
            ctl_status status = ctl_lower(&b.f.arena, g, &lower, NULL, &out, &why);
            if (status == CTL_ERR_UNSUPPORTED) continue;
            if (status != CTL_OK) fail_msg("%s at %d/24: %s", name, budget, why ? why : "?");
            out.program->release(out.program);
            pairs++;
            if (budget % 8 == 0 && plant_fault(&b, g, seed)) {
                if (ctl_graphs_equal(g, p->g, &b.f.arena, &why)) fail_msg("%s at %d/24: a planted fault is not found", name, budget);
                faults++;
            }
        }
        bench_close(&b);
    }
    print_message("%zu pairs of a graph and a budget, %zu planted faults\n", pairs, faults);
    assert_true(pairs > graphs * 20 && faults > graphs);
}
#endif

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]); /* one of them, by hand */
    const struct CMUnitTest tests[] = {
#ifndef CTL_BACKEND_ON_CUDA /* a checker's, which asks no back end */
        cmocka_unit_test(test_random_plans),
#endif
        cmocka_unit_test(test_random_graphs), cmocka_unit_test(test_random_plans_run)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
