/* What row programs compute, against formulas in double: the functions in units of the last place, norms,
 * activations and softmax, dropout against base/random.h, column sums in the order that rowprog.h fixes. */
#include "tests/rows_support.h"

#include "compiler/kernel/math.h"

/* ---- functions ---- */
static double ulps(float got, double want) {
    int e;
    if (isnan(want)) return isnan(got) ? 0 : INFINITY;
    if (fabs(want) > 3.4028235677973366e38) return got == (want > 0 ? INFINITY : -INFINITY) ? 0 : INFINITY;
    frexp(want, &e);
    double place = ldexp(1, e - 24);
    return fabs(got - want) / (place < 0x1p-149 || want == 0 ? 0x1p-149 : place);
}

typedef struct function {
    uint32_t op;
    float (*f)(float);
    double (*exact)(double);
    float from, to;
    double limit;
} function;
static const function functions[] = {
    {OP_EXP, ctl_math_expf, exp, -105, 89, 1.1},   {OP_EXP, ctl_math_expf, exp, -1, 1, 1.1},
    {OP_LOG, ctl_math_logf, log, 1e-44f, 4, 1.0},  {OP_LOG, ctl_math_logf, log, 0.5f, 2, 1.0},
    {OP_TANH, ctl_math_tanhf, tanh, -12, 12, 1.6}, {OP_TANH, ctl_math_tanhf, tanh, -1, 1, 1.6},
    {OP_ERF, ctl_math_erff, erf, -5, 5, 1.2},      {OP_ERF, ctl_math_erff, erf, -1, 1, 1.2},
    {OP_SIN, ctl_math_sinf, sin, -10, 10, 1.6},    {OP_SIN, ctl_math_sinf, sin, -1e5f, 1e5f, 1.7},
    {OP_COS, ctl_math_cosf, cos, -10, 10, 1.6},    {OP_COS, ctl_math_cosf, cos, -1e5f, 1e5f, 1.7},
};

static void test_functions(void **state) {
    (void)state;
    enum { N = 200000 };
    for (size_t k = 0; k < CTL_COUNT(functions); k++) {
        const function *q = &functions[k];
        dice d = {.seed = k};
        for (int i = 0; i < N; i++) {
            float x = q->from + (q->to - q->from) * ((float)i + (float)roll(&d, 1000) / 1000) / N;
            if (i % 4 == 0) x = ldexpf(x, -(int)roll(&d, 30));
            if (x < q->from || x > q->to) continue;
            double error = ulps(q->f(x), q->exact(x));
            if (!(error <= q->limit)) fail_msg("function %zu at %.9g (%a): %g ulp", k, x, x, error);
        }
    }
    dice d = {.seed = 4};
    for (int i = 0; i < N; i++) {
        float a = expf(real(&d, false) * 5), b = real(&d, false) * (i % 2 ? 1.0f : 4.0f);
        if (i % 5 == 0) a = 10000.0f, b = -(float)(i % 128) / 128; /* frequencies of rotary embeddings */
        double error = ulps(ctl_math_powf(a, b), pow(a, b));
        if (!(error <= 1.5)) fail_msg("pow(%.9g, %.9g): %g ulp", a, b, error);
    }
}

static void test_edges(void **state) {
    (void)state;
    const float inf = INFINITY;
    assert_true(ctl_math_expf(inf) == inf && ctl_math_expf(-inf) == 0 && isnan(ctl_math_expf(NAN)));
    assert_true(ctl_math_expf(0) == 1 && ctl_math_expf(89) == inf && ctl_math_expf(-104) == 0);
    assert_true(ctl_math_logf(0) == -inf && ctl_math_logf(-0.0f) == -inf && ctl_math_logf(inf) == inf);
    assert_true(isnan(ctl_math_logf(-1)) && isnan(ctl_math_logf(NAN)) && ctl_math_logf(1) == 0);
    assert_true(ctl_math_tanhf(inf) == 1 && ctl_math_tanhf(-inf) == -1 && isnan(ctl_math_tanhf(NAN)));
    assert_true(ctl_math_erff(inf) == 1 && ctl_math_erff(-inf) == -1 && isnan(ctl_math_erff(NAN)));
    assert_true(ctl_math_tanhf(-0.0f) == 0 && ctl_math_sinf(-0.0f) == 0 && signbit(ctl_math_erff(-0.0f)));
    assert_true(isnan(ctl_math_sinf(inf)) && isnan(ctl_math_cosf(5e6f)) && isnan(ctl_math_sinf(NAN)));
    assert_true(ctl_math_cosf(0) == 1 && ctl_math_powf(3, 0) == 1 && ctl_math_powf(0, 2) == 0);
    assert_true(ctl_math_powf(inf, -2) == 0 && ctl_math_powf(1e-40f, 2) == 0 && ctl_math_powf(10, 60) == inf);
    assert_true(isnan(ctl_math_powf(-2, 2)) && isnan(ctl_math_powf(2, NAN)));
}

/* The emitted functions have the bits of the C ones over their whole range, and on numbers too. */
static void test_emitted_functions(void **state) {
    ctl_arena *arena = arena_of(state);
    enum { W = 3000, N = CTL_COUNT(functions) };
    ctl_rowprog *programs[N];
    for (size_t k = 0; k < N; k++) {
        maker m = start(arena, 1);
        store(&m, CTL_F32, op1(&m, functions[k].op, load(&m, AT_ROW, CTL_F32, W)));
        store(&m, CTL_F32, op1(&m, functions[k].op, load(&m, AT_ROW, CTL_F32, 1)));
        programs[k] = verified(&m);
    }
    ctl_rows_kernel kernels[N] = {0};
    ctl_cpu_code *code = emit(arena, programs, N, 0, 2, kernels);
    for (size_t k = 0; k < N; k++) {
        const function *q = &functions[k];
        dice d = {.seed = 11};
        memory mem = memory_for(arena, programs[k], &d, false);
        float *in = mem.args[0].base, *one = mem.args[2].base;
        size_t n = mem.bytes[0] / sizeof(float), ones = mem.bytes[2] / sizeof(float);
        for (size_t i = 0; i < n; i++) in[i] = q->from + (q->to - q->from) * (float)i / (float)n;
        for (size_t i = 0; i < ones; i++) one[i] = in[i * 997 % n];
        run_kernel(&kernels[k], &mem, 0, ROWS);
        for (int64_t t = 0; t < ROWS; t++) {
            const float *x = in + t * mem.args[0].stride,
                        *y = (float *)mem.args[1].base + t * mem.args[1].stride;
            for (int64_t c = 0; c < W; c++) {
                float want = q->f(x[c]);
                if (memcmp(&want, &y[c], 4) != 0 && !(isnan(want) && isnan(y[c])))
                    fail_msg("function %zu of %a: %a, not %a", k, x[c], y[c], want);
            }
            float want = q->f(one[t * mem.args[2].stride]),
                  got = ((float *)mem.args[3].base)[t * mem.args[3].stride];
            if (memcmp(&want, &got, 4) != 0 && !(isnan(want) && isnan(got)))
                fail_msg("function %zu of a number", k);
        }
    }
    release(code);
}

/* ---- layers ---- */
static const float *row(const memory *m, uint32_t k, int64_t t) {
    return (float *)m->args[k].base + t * m->args[k].stride;
}

static void close_to(float got, double want, double tolerance, const char *what, int64_t t, int64_t c) {
    if (!(fabs(got - want) <= tolerance * (1 + fabs(want))))
        fail_msg("%s, row %d column %d: %g is not %g", what, (int)t, (int)c, got, want);
}

static void test_layers(void **state) {
    ctl_arena *arena = arena_of(state);
    enum { W = 75 };
    maker m = start(arena, 1);
    uint32_t x = load(&m, AT_ROW, CTL_F32, W), g = load(&m, AT_FIXED, CTL_F32, W);
    uint32_t mean = op2(&m, OP_DIV, op1(&m, OP_SUM, x), number(&m, W)), d = op2(&m, OP_SUB, x, mean);
    uint32_t v = op2(&m, OP_DIV, op1(&m, OP_SUM, op2(&m, OP_MUL, d, d)), number(&m, W));
    uint32_t r = op1(&m, OP_RSQRT, op2(&m, OP_ADD, v, number(&m, 1e-5)));
    uint32_t norm = store(&m, CTL_F32, op2(&m, OP_MUL, op2(&m, OP_MUL, d, r), g));
    uint32_t e = op1(&m, OP_EXP, op2(&m, OP_SUB, x, op1(&m, OP_ROWMAX, x)));
    uint32_t soft = store(&m, CTL_F32, op2(&m, OP_DIV, e, op1(&m, OP_SUM, e)));
    uint32_t cdf = op2(&m, OP_ADD, number(&m, 1), op1(&m, OP_ERF, op2(&m, OP_MUL, x, number(&m, sqrt(0.5)))));
    uint32_t gelu = store(&m, CTL_F32, op2(&m, OP_MUL, op2(&m, OP_MUL, x, number(&m, 0.5)), cdf));
    uint32_t silu = store(
        &m, CTL_F32, op2(&m, OP_DIV, x, op2(&m, OP_ADD, number(&m, 1), op1(&m, OP_EXP, op1(&m, OP_NEG, x)))));
    uint32_t angle =
        op2(&m, OP_POW, number(&m, 10000), op2(&m, OP_DIV, put(&m, OP_INDEX, W, 0, NULL), number(&m, -W)));
    uint32_t turn = store(&m, CTL_F32, op1(&m, OP_COS, op2(&m, OP_MUL, angle, number(&m, 100))));
    uint32_t rest = store(&m, CTL_F32, op2(&m, OP_MOD, x, g));
    uint32_t choice = store(&m, CTL_F32, op3(&m, OP_SELECT, 3, op2(&m, OP_LT, x, g), x, number(&m, 7)));
    ctl_rowprog *p = verified(&m);
    ctl_rows_kernel kernel = {0};
    ctl_cpu_code *code = emit(arena, &p, 1, 0, 1, &kernel);
    dice dd = {.seed = 8};
    memory mem = memory_for(arena, p, &dd, false);
    run_kernel(&kernel, &mem, 0, ROWS);
    for (int64_t t = 0; t < ROWS; t++) {
        const float *a = row(&mem, 0, t), *gain = row(&mem, 1, 0);
        double sum = 0, squares = 0, top = -INFINITY, all = 0;
        for (int c = 0; c < W; c++) sum += a[c], top = fmax(top, a[c]);
        for (int c = 0; c < W; c++) squares += (a[c] - sum / W) * (a[c] - sum / W), all += exp(a[c] - top);
        for (int c = 0; c < W; c++) {
            close_to(row(&mem, norm, t)[c], (a[c] - sum / W) / sqrt(squares / W + 1e-5) * gain[c], 1e-5,
                     "layer norm", t, c);
            close_to(row(&mem, soft, t)[c], exp(a[c] - top) / all, 1e-6, "softmax", t, c);
            close_to(row(&mem, gelu, t)[c], 0.5 * a[c] * (1 + erf(a[c] * sqrt(0.5))), 1e-6, "gelu", t, c);
            close_to(row(&mem, silu, t)[c], a[c] / (1 + exp(-a[c])), 1e-6, "silu", t, c);
            close_to(row(&mem, turn, t)[c], cos(100 * pow(10000, -(double)c / W)), 3e-5, "rotation", t, c);
            close_to(row(&mem, rest, t)[c], a[c] - gain[c] * floor((double)(a[c] / gain[c])), 1e-4, "mod", t,
                     c);
            close_to(row(&mem, choice, t)[c], a[c] < gain[c] ? a[c] : 7, 0, "select", t, c);
        }
    }
    release(code);
}

/* ---- dropout ---- */
static void test_dropout(void **state) {
    ctl_arena *arena = arena_of(state);
    enum { W = 203 };
    for (int split = 1; split <= 3; split += 2) {
        maker m = start(arena, split);
        uint32_t x = load(&m, AT_ROW, CTL_F32, W), n = load(&m, AT_ROW, CTL_F32, 1);
        uint32_t all = store(&m, CTL_F32, drop(&m, 0.3, x)), one = store(&m, CTL_F32, drop(&m, 0.5, n));
        uint32_t other = drop(&m, 0.1, x), moved = store(&m, CTL_F32, columns(&m, other, 5, W));
        ctl_rowprog *p = verified(&m);
        ctl_rows_kernel kernel = {0};
        ctl_cpu_code *code = emit(arena, &p, 1, 0, 1, &kernel);
        dice d = {.seed = 31};
        memory mem = memory_for(arena, p, &d, false);
        run_kernel(&kernel, &mem, 0, ROWS);
        const ctl_rows_call *call = &mem.call;
        int dropped = 0;
        for (int64_t t = 0; t < ROWS; t++)
            for (int64_t h = 0; h < split; h++) {
                uint32_t r = (uint32_t)((call->row0 + t) * split + h);
                const float *in = row(&mem, 0, t) + h * W;
                for (uint32_t c = 0; c < W; c++) {
                    int gone =
                        ctl_dropped(call->seed, call->step, call->sites[0], r, c, ctl_drop_threshold(0.3));
                    dropped += gone;
                    close_to(row(&mem, all, t)[h * W + c], gone ? 0 : in[c] / 0.7, 1e-6, "dropout", t, c);
                    gone = ctl_dropped(call->seed, call->step, call->sites[2], r, c, ctl_drop_threshold(0.1));
                    if (c >= 5)
                        close_to(row(&mem, moved, t)[h * (W - 5) + c - 5], gone ? 0 : in[c] / 0.9, 1e-6,
                                 "moved", t, c);
                }
                int gone = ctl_dropped(call->seed, call->step, call->sites[1], r, 0, ctl_drop_threshold(0.5));
                close_to(row(&mem, one, t)[h], gone ? 0 : row(&mem, 1, t)[h] / 0.5, 1e-6, "a number", t, h);
            }
        double share = dropped / (double)(ROWS * split * W);
        assert_true(share > 0.28 && share < 0.32);
        release(code);
    }
}

/* ---- sums over rows ---- */
static void test_column_sums(void **state) {
    ctl_arena *arena = arena_of(state);
    enum { W = 50, SPLIT = 2 };
    maker m = start(arena, SPLIT);
    uint32_t x = load(&m, AT_ROW, CTL_F32, W), s = op1(&m, OP_SUM, x);
    uint32_t sums = write_to(&m, ROW_COLSUM, AT_CHUNK, CTL_F32, W, x);
    uint32_t totals = write_to(&m, ROW_COLSUM, AT_CHUNK, CTL_F32, 1, s);
    uint32_t spread = write_to(&m, ROW_COLSUM, AT_CHUNK, CTL_F32, W, s);
    uint32_t added = write_to(&m, ROW_ADD_TO, AT_ROW, CTL_F32, W, x),
             fixed = write_to(&m, ROW_ADD_TO, AT_FIXED, CTL_F32, W, x);
    ctl_rowprog *p = verified(&m);
    assert_true(ctl_rowprog_sums_columns(p));
    ctl_rows_kernel kernel = {0};
    ctl_cpu_code *code = emit(arena, &p, 1, 0, 1, &kernel);
    dice d = {.seed = 12};
    memory mem = memory_for(arena, p, &d, false), before = twin_of(arena, p, &mem);
    run_kernel(&kernel, &mem, 0, ROWS);
    for (int64_t c = 0; c < W; c++) {
        float into = row(&before, fixed, 0)[c];
        for (int64_t chunk = 0; chunk <= ROWS / CTL_ROW_CHUNK; chunk++) {
            float sum = 0;
            double total = 0;
            for (int64_t t = chunk * CTL_ROW_CHUNK; t < ROWS && t < (chunk + 1) * CTL_ROW_CHUNK; t++)
                for (int64_t h = 0; h < SPLIT; h++) {
                    float a = row(&mem, 0, t)[h * W + c], old = row(&before, added, t)[h * W + c];
                    sum += a, into += a;
                    assert_true(row(&mem, added, t)[h * W + c] == old + a);
                    for (int64_t k = 0; k < W; k++) total += row(&mem, 0, t)[h * W + k];
                }
            assert_true(row(&mem, sums, chunk)[c] == sum);
            close_to(row(&mem, totals, chunk)[0], total, 1e-4, "total", chunk, 0);
            assert_true(row(&mem, spread, chunk)[c] == row(&mem, totals, chunk)[0]);
        }
        assert_true(row(&mem, fixed, 0)[c] == into);
    }
    release(code);
}

/* ---- storage ---- */
#ifdef CTL_ROWS_ON_CUDA
enum { NAN_BITS = 0x7fff }; /* a GPU's instruction has one NaN */
#else
enum { NAN_BITS = 0x7fc0 }; /* made quiet, else as it was */
#endif
static void test_storage(void **state) {
    ctl_arena *arena = arena_of(state);
    static const float in[] = {1,     -1,       1.00390625f, 1.01171875f, 1.005f, 65504, 3.4e38f, 1e-40f,
                               -0.0f, INFINITY, NAN,         2.5f,        -2.5f,  3e9f,  -3e9f,   7};
    static const uint16_t rounded[] = {0x3f80, 0xbf80, 0x3f80, 0x3f82, 0x3f81, 0x4780, 0x7f80, 0x0001,
                                       0x8000, 0x7f80, NAN_BITS, 0x4020, 0xc020, 0x4f33, 0xcf33, 0x40e0};
    static const int32_t whole[] = {1, -1,        1, 1, 1,  65504,     INT32_MAX, 0,
                                    0, INT32_MAX, 0, 2, -2, INT32_MAX, INT32_MIN, 7};
    maker m = start(arena, 1);
    uint32_t x = load(&m, AT_ROW, CTL_F32, 16);
    uint32_t half = store(&m, CTL_BF16, cast(&m, CTL_BF16, x)), ints = store(&m, CTL_I32, x);
    ctl_rowprog *p = verified(&m);
    ctl_rows_kernel kernel = {0};
    for (size_t i = 0; i < CTL_COUNT(vector_cpus); i++) {
        if (!runs(vector_cpus[i])) continue;
        ctl_cpu_code *code = emit(arena, &p, 1, vector_cpus[i], 1, &kernel);
        dice d = {.seed = 1};
        memory mem = memory_for(arena, p, &d, false);
        memcpy(mem.args[0].base, in, sizeof in);
        run_kernel(&kernel, &mem, 0, 1);
        for (int k = 0; k < 16; k++) {
            assert_int_equal(((uint16_t *)mem.args[half].base)[k], rounded[k]);
            assert_int_equal(((int32_t *)mem.args[ints].base)[k], whole[k]);
        }
        release(code);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions),
        cmocka_unit_test(test_edges),
        cmocka_unit_test_setup_teardown(test_emitted_functions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_layers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dropout, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_column_sums, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_storage, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
