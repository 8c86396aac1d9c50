/* Every derivative rule against central differences of the reference executor in f64. A case builds a value
 * from leaves; the loss is its sum weighted by random numbers; every leaf is a trained parameter or an input
 * whose gradient is asked for, and each of its elements is moved both ways. */
#include "tests/derivative_fixture.h"

/* ---- the harness ---- */
/* A frozen leaf of y's shape. */
static ctl_node_id weights_for(setup *s, ctl_node_id y) {
    ctl_node n = s->f.g->at[y];
    if (n.space == SPACE_NONE) return fx_param(&s->f, "r", n.rows, n.cols, false);
    ctl_node_id r = fx_input_of(&s->f, n.space, "r", n.cols * n.split, false);
    return n.split > 1 ? fx_with(&s->f, OP_SPLIT, r, n.cols, 0) : r;
}

static double loss_of(ctl_reference *r, const ctl_graph *g) {
    ctl_status status = ctl_reference_eval(r, &g->loss, 1);
    if (status != CTL_OK) fail_msg("%s", ctl_reference_why(r));
    return ctl_reference_value(r, g->loss)[0];
}

static void check(const char *name, ctl_node_id (*build)(setup *, int), int variant, int64_t sequence,
                  const int64_t documents[4]) {
    setup s = {.ids_most = 1};
    fx_open(&s.f, TOKENS, sequence);
    if (documents) memcpy(s.documents, documents, sizeof s.documents);
    ctl_node_id y = build(&s, variant);
    if (y == CTL_NONE) fail_msg("%s %d: %s", name, variant, s.f.g->misfit);
    y = b(&s, OP_MUL, y, weights_for(&s, y));
    s.f.g->loss = u(&s, OP_COLSUM, u(&s, OP_SUM, y));
    bool wanted[16] = {false};
    for (size_t k = 0; k < s.nleaves; k++)
        if (s.leaf[k].input) wanted[s.leaf[k].k] = true;
    fx_verify(&s.f, s.f.g);
    ctl_graph *g;
    assert_true(ctl_pass_differentiate(s.f.g, &(ctl_differentiate_options){wanted}, &g, &s.f.sink));
    fx_verify(&s.f, g);
    ctl_reference *r;
    assert_int_equal(ctl_reference_open(g, CTL_F64, NULL, &r), CTL_OK);
    fill(&s, r, g);
    for (size_t k = 0; k < s.nleaves; k++) {
        leaf_range l = s.leaf[k];
        ctl_node_id grad = l.input ? g->inputs.at[l.k].grad : g->params.at[l.k].grad;
        if (grad == CTL_NONE) fail_msg("%s %d: leaf %zu has no gradient", name, variant, k);
        int64_t count = g->at[grad].rows * g->at[grad].cols;
        double *at = l.input ? ctl_reference_input(r, l.k) : ctl_reference_param(r, l.k);
        double *found = ctl_arena_array(&s.f.arena, (size_t)count, sizeof(double)), error = 0, size = 0;
        assert_int_equal(ctl_reference_eval(r, &grad, 1), CTL_OK);
        memcpy(found, ctl_reference_value(r, grad), (size_t)count * sizeof(double));
        for (int64_t j = 0; j < count; j++) {
            double x = at[j], h = 1e-5, up, down, slope;
            at[j] = x + h, up = loss_of(r, g);
            at[j] = x - h, down = loss_of(r, g);
            at[j] = x;
            slope = (up - down) / (2 * h);
            error += (slope - found[j]) * (slope - found[j]);
            size += slope * slope;
        }
        if (!(sqrt(error) <= 1e-6 * sqrt(size) + 1e-9))
            fail_msg("%s %d: leaf %zu: gradient is off by %g of %g", name, variant, k, sqrt(error),
                     sqrt(size));
    }
    ctl_reference_close(r);
    fx_close(&s.f);
}

static void check_all(const char *name, ctl_node_id (*build)(setup *, int), int variants) {
    for (int v = 0; v < variants; v++) check(name, build, v, 3, NULL);
}

/* ---- element by element: every operation over every way to broadcast ---- */
typedef struct map_case {
    ctl_op op;
    double a_lo, a_hi, b_lo, b_hi;
} map_case;
static const map_case maps[] = {
    {OP_NEG, -1, 1, 0, 0},    {OP_EXP, -1, 1, 0, 0},   {OP_LOG, 0.5, 2, 0, 0},     {OP_SQRT, 0.5, 2, 0, 0},
    {OP_RSQRT, 0.5, 2, 0, 0}, {OP_SIN, -3, 3, 0, 0},   {OP_COS, -3, 3, 0, 0},      {OP_TANH, -1, 1, 0, 0},
    {OP_ERF, -1, 1, 0, 0},    {OP_STATE, -1, 1, 0, 0}, {OP_ADD, -1, 1, -1, 1},     {OP_SUB, -1, 1, -1, 1},
    {OP_MUL, -1, 1, -1, 1},   {OP_DIV, -1, 1, 0.5, 2}, {OP_MOD, 0.5, 5, 1.1, 1.9}, {OP_POW, 0.5, 2, -1, 2},
    {OP_MAX, -1, 1, -1, 1},   {OP_MIN, -1, 1, -1, 1},
};

static ctl_node_id shaped(setup *s, int shape, double lo, double hi) {
    switch (shape) {
    case 0: return rows_in(s, 5, lo, hi);
    case 1: return rows_in(s, 1, lo, hi);
    case 2: return weight_in(s, 1, 5, lo, hi);
    case 3: return weight_in(s, 1, 1, lo, hi);
    case 4: return weight_in(s, 4, 5, lo, hi);
    case 5: return weight_in(s, 4, 1, lo, hi);
    default: return fx_with(&s->f, OP_SPLIT, rows_in(s, 15, lo, hi), 5, 0);
    }
}
static const int pairs[][2] = {{0, 0}, {0, 1}, {1, 0}, {0, 2}, {2, 0}, {0, 3}, {3, 0},
                               {1, 2}, {2, 1}, {4, 4}, {4, 2}, {2, 4}, {4, 5}, {5, 2},
                               {4, 3}, {3, 4}, {6, 2}, {2, 6}, {6, 6}, {3, 3}};

static ctl_node_id build_map(setup *s, int variant) {
    const map_case *m = &maps[variant / (int)CTL_COUNT(pairs)];
    const int *shape = pairs[variant % (int)CTL_COUNT(pairs)];
    ctl_node_id a = shaped(s, shape[0], m->a_lo, m->a_hi);
    if (m->b_lo == m->b_hi) return u(s, m->op, a);
    return b(s, m->op, a, shaped(s, shape[1], m->b_lo, m->b_hi));
}

static ctl_node_id build_select(setup *s, int variant) {
    const int *shape = pairs[variant];
    ctl_node_id a = shaped(s, shape[0], -1, 1), c = shaped(s, shape[1], -1, 1);
    return CTL_B3(s->f.g, CTL_NONE, OP_SELECT, b(s, OP_LT, a, num(s, 0.1)), a, c);
}

static ctl_node_id build_power(setup *s, int variant) { /* known exponents */
    static const double exponent[] = {2, 3, -0.5, 1};
    return b(s, OP_POW, rows_in(s, 3, 0.5, 2), num(s, exponent[variant]));
}

static ctl_node_id build_drop(setup *s, int variant) {
    s->f.g->drop_sites = 2;
    ctl_node_id x = variant == 0   ? rows(s, 70)
                    : variant == 1 ? fx_with(&s->f, OP_SPLIT, rows(s, 6), 3, 0)
                                   : weight(s, 3, 4);
    ctl_node_id y = ctl_build(s->f.g, CTL_NONE, OP_DROP, 1, &x, (const int64_t[3]){1}, 0.3);
    return variant == 0 ? u(s, OP_SUM, y) : y; /* the adjoint is narrower than the mask */
}

/* ---- reductions and views ---- */
static ctl_node_id build_reduce(setup *s, int variant) {
    static const ctl_op op[] = {OP_SUM, OP_ROWMAX, OP_COLSUM};
    return u(s, op[variant % 3], shaped(s, (int[]){0, 4, 6}[variant / 3], -1, 1));
}

/* Sums whose narrow adjoints meet operations that need every element. */
static ctl_node_id build_narrow(setup *s, int variant) {
    ctl_node_id x = rows(s, 6), w = weight(s, 6, 4), y;
    switch (variant) {
    case 0: y = u(s, OP_SUM, fx_matmul(&s->f, x, false, w, false)); break;
    case 1: y = u(s, OP_COLSUM, fx_matmul(&s->f, x, false, w, false)); break;
    case 2: y = u(s, OP_COLSUM, u(s, OP_SUM, fx_matmul(&s->f, x, false, w, false))); break;
    case 3: y = u(s, OP_SUM, fx_with(&s->f, OP_SPLIT, fx_matmul(&s->f, x, false, w, false), 2, 0)); break;
    case 4:
        y = u(s, OP_SUM,
              u(s, OP_TRANSPOSE, fx_matmul(&s->f, x, true, fx_matmul(&s->f, x, false, w, false), false)));
        break;
    case 5:
        y = u(s, OP_COLSUM,
              fx_with(&s->f, OP_JOIN, fx_with(&s->f, OP_SPLIT, fx_matmul(&s->f, x, false, w, false), 2, 0), 4,
                      0));
        break;
    case 6:
        y = u(s, OP_COLSUM,
              fx_with(&s->f, OP_SPLIT, b(s, OP_ADD, fx_matmul(&s->f, x, false, w, false), num(s, 1)), 2, 0));
        break;
    case 7: y = u(s, OP_COLSUM, b(s, OP_ADD, fx_matmul(&s->f, x, false, w, false), weight(s, 1, 4))); break;
    case 8: y = u(s, OP_SUM, b(s, OP_ADD, fx_matmul(&s->f, x, false, w, false), rows(s, 1))); break;
    case 9:
        y = u(s, OP_COLSUM,
              u(s, OP_SUM, b(s, OP_ADD, fx_matmul(&s->f, x, false, w, false), weight(s, 1, 1))));
        break;
    default:
        y = b(s, OP_ADD, u(s, OP_COLSUM, x),
              u(s, OP_SUM, fx_with(&s->f, OP_COLUMNS, fx_matmul(&s->f, x, false, w, false), 1, 3)));
    }
    return y;
}

static ctl_node_id build_view(setup *s, int variant) {
    ctl_node_id x, y;
    switch (variant) {
    case 0: return fx_with(&s->f, OP_SPLIT, rows(s, 6), 2, 0);
    case 1: return fx_with(&s->f, OP_JOIN, fx_with(&s->f, OP_SPLIT, rows(s, 12), 2, 0), 6, 0);
    case 2: return fx_with(&s->f, OP_REPEAT, rows(s, 3), 4, 0);
    case 3: return fx_with(&s->f, OP_REPEAT, rows(s, 1), 4, 0);
    case 4: return fx_with(&s->f, OP_REPEAT, weight(s, 3, 2), 2, 0);
    case 5: return fx_with(&s->f, OP_COLUMNS, rows(s, 6), 1, 4);
    case 6: /* overlapping and not, with gaps */
        x = rows(s, 9);
        y = b(s, OP_MUL, fx_with(&s->f, OP_COLUMNS, x, 0, 2), fx_with(&s->f, OP_COLUMNS, x, 4, 6));
        y = b(s, OP_MUL, y, fx_with(&s->f, OP_COLUMNS, x, 5, 7));
        return b(s, OP_MUL, y, fx_with(&s->f, OP_COLUMNS, b(s, OP_MUL, x, x), 1, 3));
    case 7: { /* a piece with one row stands in every row */
        ctl_node_id part[] = {rows(s, 2), weight(s, 1, 3), rows(s, 1)};
        return ctl_build(s->f.g, CTL_NONE, OP_CAT, 3, part, NULL, 0);
    }
    case 8: {
        ctl_node_id part[] = {weight(s, 4, 2), weight(s, 4, 3), weight(s, 1, 1)};
        return ctl_build(s->f.g, CTL_NONE, OP_CAT, 3, part, NULL, 0);
    }
    case 9: return u(s, OP_TRANSPOSE, weight(s, 3, 5));
    case 10: {
        ctl_node_id part[] = {weight(s, 2, 4), weight(s, 3, 4), weight(s, 1, 4)};
        return ctl_build(s->f.g, CTL_NONE, OP_STACK, 3, part, NULL, 0);
    }
    case 11: return fx_with(&s->f, OP_SPLIT, weight(s, 2, 6), 3, 0);
    case 12: return fx_with(&s->f, OP_JOIN, weight(s, 6, 2), 4, 0);
    case 13: return b(s, OP_TAKE, weight(s, 5, 3), ids(s, 5));
    case 14:
        x = rows(s, 3);
        y = ids(s, 4);
        return ctl_build(s->f.g, CTL_NONE, OP_SCATTER, 2, (const ctl_node_id[]){x, y}, (const int64_t[3]){4},
                         0);
    default: return ctl_build_cast(s->f.g, CTL_NONE, rows(s, 3), CTL_REAL);
    }
}

/* ---- across the rows of a sequence ---- */
static ctl_node_id rows_of(setup *s, int space, int64_t cols) {
    s->leaf[s->nleaves++] = (leaf_range){true, s->f.g->inputs.n, -1, 1};
    return fx_input_of(&s->f, space, "x", cols, false);
}
static ctl_node_id mix(setup *s, ctl_node_id m, ctl_node_id x, bool turned) {
    return ctl_build(s->f.g, CTL_NONE, OP_MIX, 2, (const ctl_node_id[]){m, x}, (const int64_t[3]){turned}, 0);
}

static ctl_node_id build_sequence(setup *s, int variant) {
    ctl_graph *g = s->f.g;
    int longer = ctl_graph_space(g, 2);
    bool tokens = variant != 3 && variant != 9 && variant < 11;
    ctl_node_id x = tokens ? rows(s, 4) : CTL_NONE, y, number = u(s, OP_TOINT, CTL_B0(g, CTL_NONE, OP_SEQUENCE, SPACE_TOKENS));
    switch (variant) {
    case 0: return b(s, OP_MUL, fx_with(&s->f, OP_PICK, x, 0, 0), rows_of(s, SPACE_SEQUENCES, 1));
    case 1: return fx_with(&s->f, OP_PICK, fx_with(&s->f, OP_SPLIT, x, 2, 0), 2, 0);
    case 2: return b(s, OP_ADD, u(s, OP_SUM, fx_with(&s->f, OP_PICK, x, 1, 0)), weight(s, 1, 3)); /* a narrow adjoint */
    case 3: return fx_with(&s->f, OP_PICK, b(s, OP_MUL, rows_of(s, longer, 3), CTL_B0(g, CTL_NONE, OP_POSITION, longer)), 4, 0);
    case 4: y = b(s, OP_TAKE, rows_of(s, SPACE_SEQUENCES, 4), number); return b(s, OP_MUL, x, y);
    case 5: return ctl_build(g, CTL_NONE, OP_SCATTER, 2, (const ctl_node_id[]){x, number}, (const int64_t[3]){0, SPACE_SEQUENCES}, 0);
    case 6: /* rows of tokens at other places, some twice, as prepend has them */
        y = b(s, OP_MAX, b(s, OP_SUB, CTL_B0(g, CTL_NONE, OP_PLACE, longer), num(s, 2)), num(s, 0));
        y = b(s, OP_ADD, y, b(s, OP_MUL, CTL_B0(g, CTL_NONE, OP_SEQUENCE, longer), num(s, 3)));
        return b(s, OP_TAKE, x, u(s, OP_TOINT, y));
    case 7:
    case 8: return mix(s, weight(s, 3, 3), x, variant == 8);
    case 9: return mix(s, fx_matmul(&s->f, weight(s, 5, 2), false, weight(s, 2, 5), false), rows_of(s, longer, 3), false);
    case 10: return u(s, OP_SUM, mix(s, weight(s, 3, 3), x, true));
    default: { /* attention among more rows than tokens */
        ctl_node_id z = rows_of(s, longer, 4), in[] = {z, u(s, OP_TANH, z), z};
        return ctl_build(g, CTL_NONE, OP_ATTEND, 3, in, (const int64_t[3]){2, variant == 12}, 0);
    }
    }
}

/* ---- products and tasks of their own ---- */
static ctl_node_id build_matmul(setup *s, int variant) {
    bool ta = variant & 1, tb = variant & 2;
    if (variant >= 4) { /* rows of tokens */
        ctl_node_id x = rows(s, 4);
        if (variant == 6) return fx_matmul(&s->f, x, true, rows(s, 3), false);
        return variant == 4 ? fx_matmul(&s->f, x, false, weight(s, 4, 3), false)
                            : fx_matmul(&s->f, x, false, weight(s, 3, 4), true);
    }
    return fx_matmul(&s->f, ta ? weight(s, 4, 3) : weight(s, 3, 4), ta,
                     tb ? weight(s, 5, 4) : weight(s, 4, 5), tb);
}

static ctl_node_id build_head(setup *s, int variant) {
    ctl_node_id x = rows(s, 4), w = weight(s, 7, 4), y;
    y = CTL_B3(s->f.g, CTL_NONE, OP_HEAD, x, w, ids(s, 7));
    return variant == 0 ? y : u(s, OP_EXP, y);
}

/* ---- chains, as networks write them ---- */
static ctl_node_id rmsnorm(setup *s, ctl_node_id x, ctl_node_id w, int64_t cols) {
    ctl_node_id mean = b(s, OP_MUL, u(s, OP_SUM, b(s, OP_MUL, x, x)), num(s, 1.0 / (double)cols));
    return b(s, OP_MUL, b(s, OP_MUL, x, u(s, OP_RSQRT, b(s, OP_ADD, mean, num(s, 1e-3)))), w);
}

static ctl_node_id build_chain(setup *s, int variant) {
    ctl_node_id x, y, w;
    switch (variant) {
    case 0: x = rows(s, 8); return rmsnorm(s, u(s, OP_STATE, x), weight(s, 1, 8), 8);
    case 1: { /* layernorm */
        x = rows(s, 8);
        ctl_node_id centred = b(s, OP_SUB, x, b(s, OP_MUL, u(s, OP_SUM, x), num(s, 0.125)));
        return b(s, OP_ADD, rmsnorm(s, centred, weight(s, 1, 8), 8), weight(s, 1, 8));
    }
    case 2: { /* swiglu: silu(x g) * (x u) d, with a state in the middle */
        x = rows(s, 4);
        ctl_node_id gate = fx_matmul(&s->f, x, false, weight(s, 6, 4), true);
        ctl_node_id up = fx_matmul(&s->f, x, false, weight(s, 6, 4), true);
        ctl_node_id sig = b(s, OP_DIV, num(s, 1), b(s, OP_ADD, num(s, 1), u(s, OP_EXP, u(s, OP_NEG, gate))));
        y = u(s, OP_STATE, b(s, OP_MUL, b(s, OP_MUL, gate, sig), up));
        return b(s, OP_ADD, x, fx_matmul(&s->f, y, false, weight(s, 4, 6), true));
    }
    case 3: { /* rope */
        ctl_node_id h = fx_with(&s->f, OP_SPLIT, rows(s, 12), 4, 0);
        ctl_node_id half = CTL_B0(s->f.g, CTL_NONE, OP_INDEX, 4);
        ctl_node_id e = b(s, OP_MUL, b(s, OP_MOD, half, num(s, 2)), num(s, -0.5));
        ctl_node_id at = fx_with(&s->f, OP_REPEAT, CTL_B0(s->f.g, CTL_NONE, OP_POSITION, 0), 3, 0);
        ctl_node_id angle = b(s, OP_MUL, at, b(s, OP_POW, num(s, 100), e));
        ctl_node_id part[] = {u(s, OP_NEG, fx_with(&s->f, OP_COLUMNS, h, 2, 4)),
                              fx_with(&s->f, OP_COLUMNS, h, 0, 2)};
        y = b(s, OP_MUL, ctl_build(s->f.g, CTL_NONE, OP_CAT, 2, part, NULL, 0), u(s, OP_SIN, angle));
        return fx_with(&s->f, OP_JOIN, b(s, OP_ADD, b(s, OP_MUL, h, u(s, OP_COS, angle)), y), 12, 0);
    }
    case 4: { /* softmax and cross-entropy by masks */
        x = rows(s, 5);
        ctl_node_id z = b(s, OP_SUB, x, u(s, OP_ROWMAX, x));
        ctl_node_id lse = u(s, OP_LOG, u(s, OP_SUM, u(s, OP_EXP, z)));
        ctl_node_id mask = b(s, OP_EQ, CTL_B0(s->f.g, CTL_NONE, OP_INDEX, 5), u(s, OP_TOREAL, ids(s, 5)));
        y = b(s, OP_SUB, lse, u(s, OP_SUM, b(s, OP_MUL, mask, z)));
        return b(s, OP_MUL, u(s, OP_COLSUM, y), CTL_B0(s->f.g, CTL_NONE, OP_NORMALISER, 0));
    }
    case 5: { /* a low-rank change of a weight, scaled by its column norms: algebra of weights */
        x = rows(s, 4), w = weight(s, 5, 4);
        ctl_node_id change = fx_matmul(&s->f, weight(s, 5, 2), false, weight(s, 2, 4), false);
        ctl_node_id whole = b(s, OP_ADD, w, change);
        ctl_node_id norm = u(s, OP_SQRT, u(s, OP_SUM, b(s, OP_MUL, whole, whole)));
        ctl_node_id scale = b(s, OP_DIV, weight(s, 1, 5), u(s, OP_TRANSPOSE, norm));
        return b(s, OP_MUL, scale, fx_matmul(&s->f, x, false, whole, true));
    }
    default: /* one value read many times, also by itself */
        x = u(s, OP_STATE, rows(s, 3)), w = weight(s, 3, 3);
        y = u(s, OP_STATE, b(s, OP_ADD, fx_matmul(&s->f, x, false, w, false), b(s, OP_MUL, x, x)));
        y = b(s, OP_ADD, fx_matmul(&s->f, y, false, w, true), b(s, OP_MUL, y, x));
        return b(s, OP_MUL, y, y);
    }
}

static void test_maps(void **state) {
    (void)state;
    check_all("map", build_map, (int)(CTL_COUNT(maps) * CTL_COUNT(pairs)));
    check_all("select", build_select, (int)CTL_COUNT(pairs));
    check_all("power", build_power, 4);
    check_all("drop", build_drop, 3);
}
static void test_reductions_and_views(void **state) {
    (void)state;
    check_all("reduce", build_reduce, 9);
    check_all("narrow", build_narrow, 11);
    check_all("view", build_view, 16);
}
static void test_products(void **state) {
    (void)state;
    check_all("matmul", build_matmul, 7);
    check_all("head", build_head, 2);
}
static void test_attention(void **state) {
    (void)state;
    for (int v = 0; v < 8; v++) {
        check("attend", build_attend, v, 3, NULL);
        check("attend packed", build_attend, v, 0, (const int64_t[4]){1, 3, 2});
        check("attend one document", build_attend, v, 0, NULL);
    }
}
static void test_sequences(void **state) {
    (void)state;
    for (int v = 0; v < 13; v++) {
        check("sequence", build_sequence, v, 3, NULL);
        check("padded sequence", build_sequence, v, 3, (const int64_t[4]){2, 1, 3});
    }
}
static void test_chains(void **state) {
    (void)state;
    check_all("chain", build_chain, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maps),
        cmocka_unit_test(test_reductions_and_views),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_chains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
