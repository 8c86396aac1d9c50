/* The reference executor against formulas written out here. */
#include "tests/graph_fixture.h"

#include <stdlib.h>

#include "compiler/passes/passes.h"
#include "ctl/ctlrt.h"

enum { TOKENS = 7 };

static ctl_reference *opened(const ctl_graph *g, ctl_dtype compute) {
    ctl_reference *r;
    const char *why;
    jmp_buf failure;
    ctl_arena scratch;
    ctl_arena_init(&scratch, NULL, &failure);
    if (!ctl_graph_verify(g, &scratch, &why)) fail_msg("%s", why);
    ctl_arena_free(&scratch);
    assert_int_equal(ctl_reference_open(g, compute, NULL, &r), CTL_OK);
    return r;
}

static const double *value(ctl_reference *r, ctl_node_id node) {
    if (ctl_reference_eval(r, &node, 1) != CTL_OK) fail_msg("%s", ctl_reference_why(r));
    return ctl_reference_value(r, node);
}

static void draw_param(fixture *f, ctl_reference *r, size_t k, double lo, double hi) {
    for (int64_t j = 0; j < f->g->params.at[k].rows * f->g->params.at[k].cols; j++)
        ctl_reference_param(r, k)[j] = fx_draw(f, lo, hi);
}
static void draw_input(fixture *f, ctl_reference *r, size_t k, double lo, double hi) {
    for (int64_t j = 0; j < f->g->rows_of[SPACE_TOKENS] * f->g->inputs.at[k].cols; j++)
        ctl_reference_input(r, k)[j] = fx_draw(f, lo, hi);
}

/* Rounding to bf16 by arithmetic: 8 bits of mantissa, ties to even (rint's rounding). */
static double bf16(double x) {
    if (x == 0 || !isfinite(x)) return x;
    int exponent;
    double fraction = frexp(x, &exponent);
    return ldexp(rint(ldexp(fraction, 8)), exponent - 8);
}

/* ---- element by element ---- */
static double f_neg(double a, double b) { return (void)b, -a; }
static double f_exp(double a, double b) { return (void)b, exp(a); }
static double f_log(double a, double b) { return (void)b, log(a); }
static double f_sqrt(double a, double b) { return (void)b, sqrt(a); }
static double f_rsqrt(double a, double b) { return (void)b, pow(a, -0.5); }
static double f_sin(double a, double b) { return (void)b, sin(a); }
static double f_cos(double a, double b) { return (void)b, cos(a); }
static double f_tanh(double a, double b) { return (void)b, 1 - 2 / (exp(2 * a) + 1); }
static double f_erf(double a, double b) { return (void)b, 1 - erfc(a); }
static double f_same(double a, double b) { return (void)b, a; }
static double f_add(double a, double b) { return a + b; }
static double f_sub(double a, double b) { return a - b; }
static double f_mul(double a, double b) { return a * b; }
static double f_div(double a, double b) { return a / b; }
static double f_mod(double a, double b) { return a - b * floor(a / b); }
static double f_pow(double a, double b) { return exp(b * log(a)); }
static double f_max(double a, double b) { return fmax(a, b); }
static double f_min(double a, double b) { return fmin(a, b); }
static double f_lt(double a, double b) { return a < b ? 1 : 0; }
static double f_le(double a, double b) { return a <= b ? 1 : 0; }
static double f_eq(double a, double b) { return a == b ? 1 : 0; }

static void test_maps(void **state) {
    (void)state;
    static const struct {
        ctl_op op;
        int nin;
        double (*formula)(double, double);
    } cases[] = {{OP_NEG, 1, f_neg},     {OP_EXP, 1, f_exp},    {OP_LOG, 1, f_log},   {OP_SQRT, 1, f_sqrt},
                 {OP_RSQRT, 1, f_rsqrt}, {OP_SIN, 1, f_sin},    {OP_COS, 1, f_cos},   {OP_TANH, 1, f_tanh},
                 {OP_ERF, 1, f_erf},     {OP_STATE, 1, f_same}, {OP_STOP, 1, f_same}, {OP_ADD, 2, f_add},
                 {OP_SUB, 2, f_sub},     {OP_MUL, 2, f_mul},    {OP_DIV, 2, f_div},   {OP_MOD, 2, f_mod},
                 {OP_POW, 2, f_pow},     {OP_MAX, 2, f_max},    {OP_MIN, 2, f_min},   {OP_LT, 2, f_lt},
                 {OP_LE, 2, f_le},       {OP_EQ, 2, f_eq}};
    static const ctl_dtype computes[] = {CTL_F64, CTL_F32};
    for (size_t c = 0; c < CTL_COUNT(cases); c++) {
        for (size_t p = 0; p < CTL_COUNT(computes); p++) {
            fixture f;
            fx_open(&f, TOKENS, 0);
            ctl_node_id x = fx_input(&f, "x", 5, false), row = fx_param(&f, "row", 1, 5, false);
            ctl_node_id column = fx_with(&f, OP_COLUMNS, x, 2, 3), made[3];
            ctl_node_id pair[3][2] = {{x, row}, {column, row}, {x, column}};
            for (int k = 0; k < 3; k++)
                made[k] = ctl_build(f.g, CTL_NONE, cases[c].op, cases[c].nin, pair[k], NULL, 0);
            ctl_reference *r = opened(f.g, computes[p]);
            draw_input(&f, r, 0, 0.25, 3);
            draw_param(&f, r, 0, 0.25, 3);
            ctl_reference_param(r, 0)[1] = ctl_reference_input(r, 0)[1]; /* one equal pair */
            for (int k = 0; k < 3; k++) {
                const double *found = value(r, made[k]);
                const double *xs = ctl_reference_input(r, 0), *ws = ctl_reference_param(r, 0);
                int64_t cols = f.g->at[made[k]].cols;
                for (int64_t t = 0; t < TOKENS; t++) {
                    for (int64_t j = 0; j < cols; j++) {
                        double a = k == 1 ? xs[t * 5 + 2] : xs[t * 5 + j], b = k == 2 ? xs[t * 5 + 2] : ws[j];
                        if (computes[p] == CTL_F32) a = (float)a, b = (float)b;
                        near(found[t * cols + j], cases[c].formula(a, b),
                             computes[p] == CTL_F64 ? 1e-14 : 3e-7);
                        if (computes[p] == CTL_F32)
                            assert_true(found[t * cols + j] == (float)found[t * cols + j]);
                    }
                }
            }
            ctl_reference_close(r);
            fx_close(&f);
        }
    }
}

static void test_select_and_integers(void **state) {
    (void)state;
    fixture f;
    fx_open(&f, TOKENS, 0);
    ctl_node_id x = fx_input(&f, "x", 2, false), ids = fx_input(&f, "ids", 1, true);
    ctl_node_id chosen = CTL_B3(f.g, CTL_NONE, OP_SELECT, x, ctl_build_const(f.g, 5), x);
    ctl_node_id real = CTL_B1(f.g, CTL_NONE, OP_TOREAL, ids), nearest = CTL_B1(f.g, CTL_NONE, OP_TOINT, x);
    ctl_reference *r = opened(f.g, CTL_F32);
    double *xs = ctl_reference_input(r, 0),
           numbers[] = {0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, -7, 100, 3.49, 0, 1, 2, 3};
    memcpy(xs, numbers, sizeof numbers);
    for (int t = 0; t < TOKENS; t++) ctl_reference_input(r, 1)[t] = 3 * t - 100;
    for (int j = 0; j < 14; j++) assert_true(value(r, chosen)[j] == (numbers[j] != 0 ? 5 : 0));
    double expected[] = {0, 0, 0, 2, 2, 0, -2, -7, 100, 3, 0, 1, 2, 3};
    for (int j = 0; j < 14; j++) assert_true(value(r, nearest)[j] == expected[j]);
    for (int t = 0; t < TOKENS; t++) assert_true(value(r, real)[t] == 3 * t - 100);
    ctl_reference_close(r);
    fx_close(&f);
}

static void test_rounding_to_bf16(void **state) {
    (void)state;
    static const struct {
        double from, to;
    } cases[] = {{1 + 1 / 256., 1},
                 {1 + 3 / 256., 1 + 4 / 256.},
                 {1 + 1 / 256. + 1e-6, 1 + 2 / 256.},
                 {-1 - 1 / 256., -1},
                 {0.1, 0.10009765625},
                 {3.4e38, INFINITY},
                 {-0.0, 0},
                 {1e-40, 0x1p-133}};
    fixture f;
    fx_open(&f, (int64_t)CTL_COUNT(cases), 0);
    ctl_node_id x = fx_input(&f, "x", 1, false), y = ctl_build_cast(f.g, CTL_NONE, x, CTL_BF16);
    ctl_reference *r = opened(f.g, CTL_BF16);
    for (size_t k = 0; k < CTL_COUNT(cases); k++) ctl_reference_input(r, 0)[k] = cases[k].from;
    const double *found = value(r, y);
    for (size_t k = 0; k < CTL_COUNT(cases); k++)
        if (!(fabs(found[k] - cases[k].to) <= 1e-5 * fabs(cases[k].to)) && !(found[k] == cases[k].to))
            fail_msg("%g became %.12g", cases[k].from, found[k]);
    assert_true(found[0] == 1 && found[1] == 1 + 4 / 256. && found[4] == bf16(0.1));
    ctl_reference_input(r, 0)[0] = NAN;
    assert_true(isnan(value(r, y)[0]));
    ctl_reference_close(r);
    fx_close(&f);
}

/* ---- reductions: values, and in f32 the order of additions ---- */
static void test_reductions(void **state) {
    (void)state;
    enum { ROWS = 150, COLS = 37 };
    fixture f;
    fx_open(&f, ROWS, 0);
    ctl_node_id x = fx_input(&f, "x", COLS, false);
    ctl_node_id sum = CTL_B1(f.g, CTL_NONE, OP_SUM, x), most = CTL_B1(f.g, CTL_NONE, OP_ROWMAX, x);
    ctl_node_id down = CTL_B1(f.g, CTL_NONE, OP_COLSUM, x);
    for (int pass = 0; pass < 2; pass++) {
        ctl_reference *r = opened(f.g, pass ? CTL_F32 : CTL_F64);
        draw_input(&f, r, 0, -1, 1);
        const double *xs = ctl_reference_input(r, 0);
        for (int t = 0; t < ROWS; t++) {
            float lane[16] = {0};
            double total = 0, largest = -INFINITY;
            for (int j = 0; j < COLS; j++) {
                lane[j % 16] += (float)xs[t * COLS + j];
                total += xs[t * COLS + j];
                largest = fmax(largest, xs[t * COLS + j]);
            }
            for (int half = 8; half; half /= 2)
                for (int j = 0; j < half; j++) lane[j] += lane[j + half];
            if (pass)
                assert_true(value(r, sum)[t] == lane[0]);
            else
                near(value(r, sum)[t], total, 1e-13);
            assert_true(value(r, most)[t] == (pass ? (float)largest : largest));
        }
        for (int j = 0; j < COLS; j++) {
            float chunk[3] = {0};
            double total = 0;
            for (int t = 0; t < ROWS; t++)
                chunk[t / 64] += (float)xs[t * COLS + j], total += xs[t * COLS + j];
            if (pass)
                assert_true(value(r, down)[j] == (double)((chunk[0] + chunk[1]) + chunk[2]));
            else
                near(value(r, down)[j], total, 1e-12);
        }
        ctl_reference_close(r);
    }
    fx_close(&f);
}

/* ---- leaves and views: where every number goes ---- */
static void test_views(void **state) {
    (void)state;
    fixture f;
    fx_open(&f, TOKENS, 0);
    ctl_graph *g = f.g;
    ctl_node_id x = fx_input(&f, "x", 6, false), w = fx_param(&f, "w", 3, 2, false),
                row = fx_param(&f, "row", 1, 2, false);
    ctl_node_id split = fx_with(&f, OP_SPLIT, x, 2, 0), join = fx_with(&f, OP_JOIN, split, 6, 0);
    ctl_node_id repeat = fx_with(&f, OP_REPEAT, x, 3, 0), columns = fx_with(&f, OP_COLUMNS, x, 1, 4);
    ctl_node_id cat = ctl_build(g, CTL_NONE, OP_CAT, 3, (const ctl_node_id[]){columns, row, x}, NULL, 0);
    ctl_node_id turned = CTL_B1(g, CTL_NONE, OP_TRANSPOSE, w), stack = CTL_B2(g, CTL_NONE, OP_STACK, w, row);
    ctl_node_id index = CTL_B0(g, CTL_NONE, OP_INDEX, 4), eye = CTL_B0(g, CTL_NONE, OP_EYE, 2, 3);
    ctl_node_id position = CTL_B0(g, CTL_NONE, OP_POSITION, 0), length = CTL_B0(g, CTL_NONE, OP_LENGTH, 0);
    ctl_reference *r = opened(g, CTL_F64);
    draw_input(&f, r, 0, -1, 1), draw_param(&f, r, 0, -1, 1), draw_param(&f, r, 1, -1, 1);
    const double *xs = ctl_reference_input(r, 0), *ws = ctl_reference_param(r, 0),
                 *rs = ctl_reference_param(r, 1);
    assert_int_equal(g->at[split].rows, 3 * TOKENS);
    for (int t = 0; t < TOKENS; t++) {
        for (int j = 0; j < 6; j++) {
            assert_true(value(r, split)[(t * 3 + j / 2) * 2 + j % 2] == xs[t * 6 + j]);
            assert_true(value(r, join)[t * 6 + j] == xs[t * 6 + j]);
            for (int k = 0; k < 3; k++) assert_true(value(r, repeat)[(t * 3 + k) * 6 + j] == xs[t * 6 + j]);
            assert_true(value(r, cat)[t * 11 + 5 + j] == xs[t * 6 + j]);
        }
        for (int j = 0; j < 3; j++) {
            assert_true(value(r, columns)[t * 3 + j] == xs[t * 6 + 1 + j]);
            assert_true(value(r, cat)[t * 11 + j] == xs[t * 6 + 1 + j]);
        }
        for (int j = 0; j < 2; j++) assert_true(value(r, cat)[t * 11 + 3 + j] == rs[j]);
        assert_true(value(r, position)[t] == t && value(r, length)[t] == TOKENS);
    }
    for (int k = 0; k < 6; k++) assert_true(value(r, turned)[k] == ws[k % 3 * 2 + k / 3]);
    for (int k = 0; k < 8; k++) assert_true(value(r, stack)[k] == (k < 6 ? ws[k] : rs[k - 6]));
    for (int k = 0; k < 4; k++) assert_true(value(r, index)[k] == k);
    for (int k = 0; k < 6; k++) assert_true(value(r, eye)[k] == (k == 0 || k == 4 ? 1 : 0));
    ctl_reference_close(r);
    fx_close(&f);
}

static void test_take_and_scatter(void **state) {
    (void)state;
    fixture f;
    fx_open(&f, TOKENS, 0);
    ctl_node_id table = fx_param(&f, "table", 4, 3, false), ids = fx_input(&f, "ids", 1, true),
                x = fx_input(&f, "x", 3, false);
    ctl_node_id taken = CTL_B2(f.g, CTL_NONE, OP_TAKE, table, ids);
    ctl_node_id back =
        ctl_build(f.g, CTL_NONE, OP_SCATTER, 2, (const ctl_node_id[]){x, ids}, (const int64_t[3]){4}, 0);
    ctl_reference *r = opened(f.g, CTL_F64);
    draw_param(&f, r, 0, -1, 1), draw_input(&f, r, 1, -1, 1);
    const double where[TOKENS] = {3, 0, 3, 1, 0, 3, 3};
    memcpy(ctl_reference_input(r, 0), where, sizeof where);
    double expected[12] = {0};
    for (int t = 0; t < TOKENS; t++) {
        for (int j = 0; j < 3; j++) {
            assert_true(value(r, taken)[t * 3 + j] == ctl_reference_param(r, 0)[(int)where[t] * 3 + j]);
            expected[(int)where[t] * 3 + j] += ctl_reference_input(r, 1)[t * 3 + j];
        }
    }
    for (int k = 0; k < 12; k++) near(value(r, back)[k], expected[k], 1e-15);
    const double wrong[] = {-1, 4, NAN};
    for (int k = 0; k < 3; k++) {
        ctl_reference_input(r, 0)[2] = wrong[k];
        assert_int_equal(ctl_reference_eval(r, &taken, 1), CTL_ERR_INPUT);
        assert_null(ctl_reference_value(r, taken));
        assert_int_equal(ctl_reference_eval(r, &back, 1), CTL_ERR_INPUT);
    }
    ctl_reference_input(r, 0)[2] = 4;
    assert_int_equal(ctl_reference_eval(r, &taken, 1), CTL_ERR_INPUT);
    assert_string_equal(ctl_reference_why(r), "row 2: index 4 is not one of 4 rows");
    ctl_reference_close(r);
    fx_close(&f);
}

static void test_drop(void **state) {
    (void)state;
    enum { COLS = 150 };
    fixture f;
    fx_open(&f, TOKENS, 0);
    f.g->drop_sites = 3;
    ctl_node_id x = fx_input(&f, "x", COLS, false), halves = fx_with(&f, OP_SPLIT, x, COLS / 2, 0);
    ctl_node_id a = ctl_build(f.g, CTL_NONE, OP_DROP, 1, &x, (const int64_t[3]){2}, 0.25);
    ctl_node_id b = ctl_build(f.g, CTL_NONE, OP_DROP, 1, &halves, (const int64_t[3]){1}, 0.25);
    ctl_reference *r = opened(f.g, CTL_F64);
    draw_input(&f, r, 0, 1, 2);
    ctl_reference_set_step(r, 0x123456789abcdefu, 9, 30, 1);
    int kept = 0;
    for (int t = 0; t < TOKENS; t++) {
        for (int j = 0; j < COLS; j++) {
            int half = j / (COLS / 2), column = j % (COLS / 2);
            int gone_a = ctl_dropped(0x123456789abcdefu, 9, 2, (uint32_t)(30 + t), (uint32_t)j, 1u << 30);
            int gone_b = ctl_dropped(0x123456789abcdefu, 9, 1, (uint32_t)((30 + t) * 2 + half),
                                     (uint32_t)column, 1u << 30);
            double whole = ctl_reference_input(r, 0)[t * COLS + j] / 0.75;
            near(value(r, a)[t * COLS + j], gone_a ? 0 : whole, 1e-15);
            near(value(r, b)[t * COLS + j], gone_b ? 0 : whole, 1e-15);
            kept += !gone_a;
        }
    }
    near((double)kept / (TOKENS * COLS), 0.75, 0.05);
    ctl_reference_close(r);
    fx_close(&f);
}

/* ---- products ---- */
static void test_matmul(void **state) {
    (void)state;
    for (int flags = 0; flags < 4; flags++) {
        bool ta = flags & 1, tb = flags & 2;
        fixture f;
        fx_open(&f, TOKENS, 0);
        ctl_node_id a = fx_param(&f, "a", ta ? 5 : 3, ta ? 3 : 5, false),
                    b = fx_param(&f, "b", tb ? 4 : 5, tb ? 5 : 4, false);
        ctl_node_id c = fx_matmul(&f, a, ta, b, tb);
        ctl_reference *r = opened(f.g, CTL_F64);
        draw_param(&f, r, 0, -1, 1), draw_param(&f, r, 1, -1, 1);
        for (int i = 0; i < 3; i++) {
            for (int j = 0; j < 4; j++) {
                double sum = 0;
                for (int k = 0; k < 5; k++)
                    sum += ctl_reference_param(r, 0)[ta ? k * 3 + i : i * 5 + k] *
                           ctl_reference_param(r, 1)[tb ? j * 5 + k : k * 4 + j];
                near(value(r, c)[i * 4 + j], sum, 1e-14);
            }
        }
        ctl_reference_close(r);
        fx_close(&f);
    }
}

/* softmax(q k' / sqrt(head)) over the rows in sight, as a dense masked matrix. */
static void check_attention(const int64_t *lengths, bool causal, int64_t window, int64_t kv_heads,
                            ctl_dtype compute) {
    enum { HEADS = 4, HEAD = 3 };
    fixture f;
    fx_open(&f, TOKENS, 0);
    ctl_node_id in[] = {fx_input(&f, "q", HEADS * HEAD, false), fx_input(&f, "k", kv_heads * HEAD, false),
                        fx_input(&f, "v", kv_heads * HEAD, false)};
    ctl_node_id o = ctl_build(f.g, CTL_NONE, OP_ATTEND, 3, in, (const int64_t[3]){HEAD, causal, window}, 0);
    ctl_node_id lse = fx_with(&f, OP_PART, o, 1, 0);
    ctl_reference *r = opened(f.g, compute);
    for (size_t k = 0; k < 3; k++) draw_input(&f, r, k, -1, 1);
    int64_t begin[TOKENS], t = 0;
    for (const int64_t *length = lengths; t < TOKENS; length++) {
        for (int64_t first = t, j = 0; j < *length; j++, t++) {
            begin[t] = first;
            ctl_reference_positions(r)[t] = (double)j, ctl_reference_lengths(r)[t] = (double)*length;
        }
    }
    const double *q = ctl_reference_input(r, 0), *k = ctl_reference_input(r, 1),
                 *v = ctl_reference_input(r, 2);
    double tolerance = compute == CTL_F64 ? 1e-13 : compute == CTL_F32 ? 2e-6 : 1e-2;
    bool rounded = false;
    for (int h = 0; h < HEADS; h++) {
        int64_t kv = h / (HEADS / kv_heads);
        for (t = 0; t < TOKENS; t++) {
            double e[TOKENS] = {0}, total = 0;
            for (int64_t s = 0; s < TOKENS; s++) {
                double dot = 0;
                for (int j = 0; j < HEAD; j++)
                    dot += q[(t * HEADS + h) * HEAD + j] * k[(s * kv_heads + kv) * HEAD + j];
                bool seen = begin[s] == begin[t] && (!causal || s <= t) && (window == 0 || t - s < window);
                if (seen) e[s] = exp(dot / sqrt(HEAD));
                total += e[s];
            }
            near(value(r, lse)[t * HEADS + h], log(total), tolerance);
            for (int j = 0; j < HEAD; j++) {
                double sum = 0, found = value(r, o)[(t * HEADS + h) * HEAD + j];
                for (int64_t s = 0; s < TOKENS; s++) sum += e[s] / total * v[(s * kv_heads + kv) * HEAD + j];
                near(found, sum, tolerance);
                rounded |= fabs(found - sum) > 1e-5;
            }
        }
    }
    assert_true(rounded ==
                (compute == CTL_BF16 && (lengths[0] > 1))); /* P is rounded to bf16 there and only there */
    ctl_reference_close(r);
    fx_close(&f);
}

static void test_attention(void **state) {
    (void)state;
    static const int64_t whole[] = {TOKENS}, packed[] = {3, 1, 2, 1}, single[] = {1, 1, 1, 1, 1, 1, 1};
    static const int64_t *const documents[] = {whole, packed, single};
    static const ctl_dtype computes[] = {CTL_F64, CTL_F32, CTL_BF16};
    for (size_t d = 0; d < 3; d++)
        for (size_t c = 0; c < 3; c++)
            for (int causal = 0; causal < 2; causal++)
                for (int64_t kv = 1; kv <= 4; kv *= 2)
                    for (int64_t window = 0; window < 4; window += 3)
                        if (causal || !window) check_attention(documents[d], causal, window, kv, computes[c]);
}

static void test_documents_that_leave_the_batch(void **state) {
    (void)state;
    fixture f;
    fx_open(&f, TOKENS, 0);
    ctl_node_id x = fx_input(&f, "x", 2, false), in[] = {x, x, x};
    ctl_node_id o = ctl_build(f.g, CTL_NONE, OP_ATTEND, 3, in, (const int64_t[3]){2, 1}, 0);
    ctl_reference *r = opened(f.g, CTL_F64);
    assert_int_equal(ctl_reference_eval(r, &o, 1), CTL_OK);
    ctl_reference_positions(r)[0] = 1;
    assert_int_equal(ctl_reference_eval(r, &o, 1), CTL_ERR_INPUT);
    ctl_reference_positions(r)[0] = 0;
    ctl_reference_lengths(r)[6] = 6;
    assert_int_equal(ctl_reference_eval(r, &o, 1), CTL_ERR_INPUT);
    ctl_reference_close(r);
    fx_close(&f);
}

static void check_head(ctl_dtype compute) {
    enum { COLS = 4, CLASSES = 9 };
    fixture f;
    fx_open(&f, TOKENS, 0);
    ctl_node_id in[] = {fx_input(&f, "x", COLS, false), fx_param(&f, "w", CLASSES, COLS, false),
                        fx_input(&f, "labels", 1, true)};
    ctl_node_id loss = ctl_build(f.g, CTL_NONE, OP_HEAD, 3, in, (const int64_t[3]){3}, 0);
    ctl_node_id dx = fx_with(&f, OP_PART, loss, 1, 0), dw = fx_with(&f, OP_PART, loss, 2, 0);
    ctl_reference *r = opened(f.g, compute);
    draw_input(&f, r, 0, -2, 2), draw_param(&f, r, 0, -2, 2);
    const double labels[TOKENS] = {3, -100, 0, 8, 3, -100, 1}, normaliser = 0.2;
    memcpy(ctl_reference_input(r, 1), labels, sizeof labels);
    ctl_reference_set_step(r, 0, 0, 0, normaliser);
    const double *x = ctl_reference_input(r, 0), *w = ctl_reference_param(r, 0);
    double expected = 0, ex[TOKENS][COLS] = {{0}}, ew[CLASSES][COLS] = {{0}};
    for (int t = 0; t < TOKENS; t++) {
        double z[CLASSES], total = 0;
        if (labels[t] < 0) continue;
        for (int c = 0; c < CLASSES; c++) {
            z[c] = 0;
            for (int j = 0; j < COLS; j++) z[c] += x[t * COLS + j] * w[c * COLS + j];
            total += exp(z[c]);
        }
        expected += normaliser * (log(total) - z[(int)labels[t]]);
        for (int c = 0; c < CLASSES; c++) {
            double d = normaliser * (exp(z[c]) / total - (c == labels[t]));
            if (compute == CTL_BF16) d = bf16(d);
            for (int j = 0; j < COLS; j++) ex[t][j] += d * w[c * COLS + j], ew[c][j] += d * x[t * COLS + j];
        }
    }
    double tolerance = compute == CTL_F64 ? 1e-13 : 2e-6;
    near(value(r, loss)[0], expected, tolerance);
    for (int k = 0; k < TOKENS * COLS; k++) near(value(r, dx)[k], ex[k / COLS][k % COLS], tolerance);
    for (int k = 0; k < CLASSES * COLS; k++) near(value(r, dw)[k], ew[k / COLS][k % COLS], tolerance);
    ctl_reference_input(r, 1)[4] = 9;
    assert_int_equal(ctl_reference_eval(r, &loss, 1), CTL_ERR_INPUT);
    assert_string_equal(ctl_reference_why(r), "row 4: label 9 is not one of 9 classes");
    ctl_reference_input(r, 1)[4] = -99;
    assert_int_equal(ctl_reference_eval(r, &loss, 1), CTL_ERR_INPUT);
    ctl_reference_close(r);
    fx_close(&f);
}

static void test_head(void **state) {
    (void)state;
    check_head(CTL_F64);
    check_head(CTL_F32);
    check_head(CTL_BF16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maps),
        cmocka_unit_test(test_select_and_integers),
        cmocka_unit_test(test_rounding_to_bf16),
        cmocka_unit_test(test_reductions),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_take_and_scatter),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_matmul),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_documents_that_leave_the_batch),
        cmocka_unit_test(test_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
