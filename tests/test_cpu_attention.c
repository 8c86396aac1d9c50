/* Attention and its gradients on the CPU engine, against the formulas in double; the formulas of the
 * gradients against finite differences. As in test_cpu_tasks.c, memory is full of NaN and 1 and 2 threads
 * must agree to the bit. */
#include "tests/cpu_harness.h"
#include "tests/attention_formulas.h"

static void add_places(bench *b, const attention *a, double *position, double *length) {
    const attend_case *c = a->c;
    for (int64_t t = 0; t < c->rows; t++)
        position[t] = (double)(t - a->begin[t]), length[t] = (double)a->length[t];
    add(b, c->documents ? c->rows : 0, 1, 1, 0, CTL_I32, position);
    add(b, c->documents ? c->rows : 0, 1, 1, 0, CTL_I32, length);
}

static void check_attend(const attend_case *c) {
    const int64_t qn = c->heads * c->head, kn = c->kv_heads * c->head, pad = c->head % 2 ? 3 : 8;
    attention a = {.c = c,
                   .q = randoms(c->rows * qn),
                   .k = randoms(c->rows * kn),
                   .v = randoms(c->rows * kn),
                   .d_o = randoms(c->rows * qn)};
    documents_of(&a);
    for (int64_t i = 0; i < c->rows * qn; i++) a.q[i] *= 2; /* scores that matter */
    double *position = malloc((size_t)c->rows * 8), *length = malloc((size_t)c->rows * 8);
    double *o = malloc((size_t)(c->rows * qn) * 8), *lse = malloc((size_t)(c->rows * c->heads) * 8);
    double *dq = malloc((size_t)(c->rows * qn) * 8), *dk = malloc((size_t)(c->rows * kn) * 8),
           *dv = malloc((size_t)(c->rows * kn) * 8);
    const double tolerance = c->dtype == CTL_BF16 ? 0.02 : c->out == CTL_BF16 ? 0.008 : 2e-5;
    bench f, g;

    begin(&f, TASK_ATTEND);
    f.task.head = c->head, f.task.causal = c->causal, f.task.window = c->window, f.task.longest = c->longest;
    add(&f, c->rows, qn, qn + pad, 4, c->dtype, a.q), add(&f, c->rows, kn, kn + pad, 0, c->dtype, a.k);
    add(&f, c->rows, kn, kn, 2, c->dtype, a.v), add(&f, c->rows, qn, qn + pad, 0, c->out, NULL);
    add(&f, c->rows, c->heads, c->heads, 0, CTL_F32, NULL);
    add_places(&f, &a, position, length);
    naive_forward(&a, o, lse);
    prepare(&f);
    char *region = run_both(&f);
    compare(&f, region, 3, o, tolerance, "o");
    compare(&f, region, 4, lse, c->dtype == CTL_BF16 ? 1e-3 : 1e-5, "lse");
    free(region);

    begin(&g, TASK_ATTEND_GRAD);
    g.task.head = c->head, g.task.causal = c->causal, g.task.window = c->window, g.task.longest = c->longest;
    add(&g, c->rows, qn, qn + pad, 4, c->dtype, a.q), add(&g, c->rows, kn, kn + pad, 0, c->dtype, a.k);
    add(&g, c->rows, kn, kn, 2, c->dtype, a.v), add(&g, c->rows, qn, qn + pad, 0, c->out, o);
    add(&g, c->rows, c->heads, c->heads, 0, CTL_F32, lse), add(&g, c->rows, qn, qn + pad, 0, c->dtype, a.d_o);
    add(&g, c->rows, qn, qn, 0, c->out, NULL), add(&g, c->rows, kn, kn + pad, 6, c->out, NULL);
    add(&g, c->rows, kn, kn, 0, c->out, NULL);
    add_places(&g, &a, position, length);
    naive_backward(&a, o, dq, dk, dv);
    prepare(&g);
    region = run_both(&g);
    compare(&g, region, 6, dq, 2 * tolerance, "dq");
    compare(&g, region, 7, dk, 2 * tolerance, "dk");
    compare(&g, region, 8, dv, 2 * tolerance, "dv");
    free(region);
    free(a.q), free(a.k), free(a.v), free(a.d_o), free(a.begin), free(a.length);
    free(position), free(length), free(o), free(lse), free(dq), free(dk), free(dv);
}

static void test_attention(void **unused) {
    (void)unused;
    const int64_t packed[] = {1, 70, 1, 130, 63, 5, 0}, one[] = {200, 0};
    const ctl_dtype f32 = CTL_F32, bf16 = CTL_BF16;
    const attend_case cases[] = {
        {7, 8, 2, 2, 0, false, f32, f32, NULL, 0},        {7, 8, 2, 2, 0, true, bf16, bf16, NULL, 0},
        {1, 16, 1, 1, 0, true, f32, f32, NULL, 0},        {1, 3, 1, 1, 0, false, bf16, bf16, NULL, 0},
        {64, 64, 2, 2, 0, false, bf16, bf16, NULL, 0},    {130, 64, 2, 1, 0, true, f32, f32, NULL, 0},
        {200, 64, 4, 2, 0, true, bf16, bf16, one, 0},     {270, 20, 3, 1, 0, true, f32, f32, packed, 130},
        {270, 20, 3, 3, 0, false, bf16, bf16, packed, 0}, {270, 5, 2, 1, 0, true, bf16, f32, packed, 0},
        {270, 5, 2, 2, 0, false, f32, bf16, packed, 200}, {300, 32, 2, 1, 50, true, f32, f32, NULL, 0},
        {300, 32, 2, 2, 129, true, bf16, bf16, NULL, 0},  {300, 32, 1, 1, 1, true, f32, f32, NULL, 0},
        {150, 128, 1, 1, 0, true, bf16, bf16, NULL, 50},  {150, 80, 2, 1, 40, false, f32, f32, NULL, 0},
        {700, 16, 2, 1, 0, true, bf16, bf16, NULL, 0},    {700, 16, 1, 1, 300, true, f32, f32, NULL, 640},
    };
    for (size_t i = 0; i < CTL_COUNT(cases); i++) check_attend(&cases[i]);
}

/* The formulas of naive_backward against central differences of naive_forward. */
static void test_attention_formulas(void **unused) {
    (void)unused;
    const int64_t documents[] = {5, 1, 3, 0};
    const attend_case c = {9, 3, 4, 2, 3, true, CTL_F32, CTL_F32, documents, 0};
    const int64_t qn = c.heads * c.head, kn = c.kv_heads * c.head;
    attention a = {.c = &c,
                   .q = randoms(c.rows * qn),
                   .k = randoms(c.rows * kn),
                   .v = randoms(c.rows * kn),
                   .d_o = randoms(c.rows * qn)};
    documents_of(&a);
    double *o = randoms(c.rows * qn), *dq = randoms(c.rows * qn), *dk = randoms(c.rows * kn),
           *dv = randoms(c.rows * kn);
    naive_forward(&a, o, NULL);
    naive_backward(&a, o, dq, dk, dv);
    double *inputs[] = {a.q, a.k, a.v}, *gradients[] = {dq, dk, dv};
    for (int which = 0; which < 3; which++)
        for (int64_t i = 0; i < c.rows * (which ? kn : qn); i++) {
            double loss[2], at = inputs[which][i];
            for (int side = 0; side < 2; side++) {
                inputs[which][i] = at + (side ? 1e-5 : -1e-5);
                naive_forward(&a, o, NULL);
                loss[side] = 0;
                for (int64_t e = 0; e < c.rows * qn; e++) loss[side] += o[e] * a.d_o[e];
            }
            inputs[which][i] = at;
            near(gradients[which][i], (loss[1] - loss[0]) / 2e-5, 1e-7, "derivative", which, i);
        }
    free(a.q), free(a.k), free(a.v), free(a.d_o), free(a.begin), free(a.length), free(o), free(dq), free(dk),
        free(dv);
}

static void test_bad_documents(void **unused) {
    (void)unused;
    double x[3 * 8] = {0};
    const double wrong[][2][3] = {{{0, 1, 2}, {4, 4, 4}},
                                  {{0, 2, 1}, {3, 3, 3}},
                                  {{1, 2, 3}, {3, 3, 3}},
                                  {{0, 1, 0}, {2, 2, 0}},
                                  {{0, 1, 0}, {2, 2, -1}}};
    for (size_t i = 0; i < CTL_COUNT(wrong); i++) {
        bench b;
        double position[3], length[3];
        memcpy(position, wrong[i][0], sizeof position), memcpy(length, wrong[i][1], sizeof length);
        begin(&b, TASK_ATTEND);
        b.task.head = 8;
        for (int n = 0; n < 4; n++) add(&b, 3, 8, 8, 0, CTL_F32, x);
        add(&b, 3, 1, 1, 0, CTL_F32, NULL), add(&b, 3, 1, 1, 0, CTL_I32, position),
            add(&b, 3, 1, 1, 0, CTL_I32, length);
        prepare(&b);
        said[0] = 0;
        free(run_with(&b, 2, CTL_ERR_INPUT));
        assert_non_null(strstr(said, "document"));
    }
}

/* A value that is not a number reaches those who see it, and nobody else. */
static void test_not_finite(void **unused) {
    (void)unused;
    bench b;
    double q[8] = {0}, v[8] = {0, NAN};
    begin(&b, TASK_ATTEND);
    b.task.head = 2;
    add(&b, 4, 2, 2, 0, CTL_F32, q), add(&b, 4, 2, 2, 0, CTL_F32, q), add(&b, 4, 2, 2, 0, CTL_F32, v);
    add(&b, 4, 2, 2, 0, CTL_F32, NULL), add(&b, 4, 1, 1, 0, CTL_F32, NULL);
    add(&b, 0, 0, 0, 0, CTL_I32, NULL), add(&b, 0, 0, 0, 0, CTL_I32, NULL);
    prepare(&b);
    char *region = run_both(&b);
    assert_true(out(&b, region, 3, 0, 0) == 0 && isnan(out(&b, region, 3, 3, 1)));
    free(region);
}

/* Attention of one document by one table of kernels, in the f32 and bf16 forms; whole: forward and backward
 * in one array. */
enum { ATTEND_ROWS = 150, ATTEND_HEAD = 24, ATTEND_PANEL = ATTEND_ROWS * ATTEND_HEAD };
static void attend_by(const ctl_lanes *lanes, bool bf16, bool causal, const double *values, double *results) {
    const ctl_dtype dtype = bf16 ? CTL_BF16 : CTL_F32;
    char *data = calloc(8 * ATTEND_PANEL, 4);
    float lse[ATTEND_ROWS];
    ctl_panel panels[8]; /* q k v do | o dq dk dv */
    for (int i = 0; i < 8; i++) {
        panels[i] = (ctl_panel){data + i * ATTEND_PANEL * 4, ATTEND_HEAD, bf16};
        for (int j = 0; j < ATTEND_PANEL && i < 4; j++)
            put(panels[i].at, dtype, j, values[i * ATTEND_PANEL + j]);
    }
    ctl_attend a = {.q = panels[0],
                    .k = panels[1],
                    .v = panels[2],
                    .d_o = panels[3],
                    .o = panels[4],
                    .dq = panels[5],
                    .dk = panels[6],
                    .dv = panels[7],
                    .lse = lse,
                    .lse_stride = 1,
                    .head = ATTEND_HEAD,
                    .group = 1,
                    .causal = causal,
                    .bf16 = bf16};
    const ctl_attend_unit unit = {0, ATTEND_ROWS, 0, ATTEND_ROWS, 0};
    const size_t sizes[] = {ctl_attend_scratch(ATTEND_HEAD, ATTEND_ROWS, bf16),
                            ctl_attend_grad_scratch(ATTEND_HEAD, ATTEND_ROWS, bf16)};
    for (int grad = 0; grad < 2; grad++) { /* scratch is used to its last line, and not behind it */
        enum { LINE = 64 };
        char *scratch = aligned_alloc(LINE, sizes[grad] + LINE), untouched[2 * LINE];
        memset(scratch, 0xff, sizes[grad] + LINE), memset(untouched, 0xff, sizeof untouched);
        if (grad)
            lanes->attend_grad(&a, &unit, scratch);
        else
            lanes->attend(&a, &unit, scratch);
        assert_memory_equal(scratch + sizes[grad], untouched, LINE);
        assert_memory_not_equal(scratch + sizes[grad] - 2 * LINE, untouched, 2 * LINE);
        free(scratch);
    }
    for (int i = 0; i < 4 * ATTEND_PANEL; i++)
        results[i] = get(panels[4 + i / ATTEND_PANEL].at, dtype, i % ATTEND_PANEL);
    free(data);
}

static void check_attend_lanes(const ctl_lanes *lanes) {
    const attend_case shape = {ATTEND_ROWS, ATTEND_HEAD, 1, 1, 0, true, CTL_F32, CTL_F32, NULL, 0};
    double *values = randoms(4 * ATTEND_PANEL), *got = randoms(4 * ATTEND_PANEL),
           *want = randoms(4 * ATTEND_PANEL);
    for (int i = 0; i < 4 * ATTEND_PANEL; i++) values[i] = ctl_bf16_to_f32(ctl_f32_to_bf16((float)values[i]));
    attention a = {.c = &shape,
                   .q = values,
                   .k = values + ATTEND_PANEL,
                   .v = values + 2 * ATTEND_PANEL,
                   .d_o = values + 3 * ATTEND_PANEL};
    documents_of(&a);
    naive_forward(&a, want, NULL);
    naive_backward(&a, want, want + ATTEND_PANEL, want + 2 * ATTEND_PANEL, want + 3 * ATTEND_PANEL);
    for (int bf16 = 0; bf16 < 2; bf16++) {
        attend_by(lanes, bf16, true, values, got);
        for (int i = 0; i < 4 * ATTEND_PANEL; i++)
            near(got[i], want[i], (bf16 ? 0.03 : 2e-5) * (0.3 + fabs(want[i])), lanes->name, i / ATTEND_PANEL,
                 i % ATTEND_PANEL);
    }
    free(values), free(got), free(want), free(a.begin), free(a.length);
}

static void test_instruction_sets(void **unused) {
    (void)unused;
    const ctl_lanes *best = ctl_lanes_choose(),
                    *all[] = {&ctl_lanes_base, &ctl_lanes_v3, &ctl_lanes_v4, &ctl_lanes_bf16};
    for (size_t i = 0; i < CTL_COUNT(all); i++) {
        check_attend_lanes(all[i]);
        if (all[i] == best) break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention_formulas), cmocka_unit_test(test_attention),
        cmocka_unit_test(test_bad_documents),      cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_instruction_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
