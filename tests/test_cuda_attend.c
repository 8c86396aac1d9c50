/* Attention's kernels of the CUDA back end on the host, under every order of threads and both ways in which asynchronous
 * copies land, against the formulas in double; the stand-ins of tensor instructions against plain products; and faults
 * planted in the source - a wait, a barrier, an index of a fragment, a bound - all of which must be noticed. */
#include "tests/cuda/kernels.h"

#include "base/dtype.h"
#include "runtime/cuda/attend.h"
#include "tests/attention_formulas.h"

static uint32_t state_of_dice = 1;
static double uniform(void) {
    state_of_dice = state_of_dice * 1664525u + 1013904223u;
    return (state_of_dice >> 8) / 8388608.0 - 1;
}

/* ---- a case's data ---- */
enum { Q, K, V, O, D_O, DQ, DK, DV, PANELS };
typedef struct trial {
    attend_case c;
    attention a;
    int keys, queries;
    bool plain, odd; /* odd: results' rows begin at no multiples of 8 bytes */
    int64_t width[PANELS], stride[PANELS]; /* elements */
    char *at[PANELS];
    float *lse, *dots;
    int32_t *position, *length;
    double *o, *want_lse, *dq, *dk, *dv;
    char fault[512];
} trial;

static double *doubles(int64_t n) {
    double *x = calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    return x;
}
static bool is_bf16(const trial *t, int panel) {
    return (panel < O || panel == D_O ? t->c.dtype : t->c.out) == CTL_BF16;
}
static double get(const trial *t, int panel, int64_t row, int64_t col) {
    const int64_t i = row * t->stride[panel] + col;
    return is_bf16(t, panel) ? ctl_bf16_to_f32(((uint16_t *)(void *)t->at[panel])[i]) : ((float *)(void *)t->at[panel])[i];
}
static void fill(trial *t, int panel, double *values) {
    for (int64_t r = 0; r < t->c.rows; r++)
        for (int64_t c = 0; c < t->width[panel]; c++) {
            const int64_t i = r * t->stride[panel] + c;
            double *x = &values[r * t->width[panel] + c];
            if (is_bf16(t, panel)) {
                ((uint16_t *)(void *)t->at[panel])[i] = ctl_f32_to_bf16((float)*x);
                *x = ctl_bf16_to_f32(((uint16_t *)(void *)t->at[panel])[i]);
            } else
                *x = ((float *)(void *)t->at[panel])[i] = (float)*x;
        }
}

static void make(trial *t) {
    const attend_case *c = &t->c;
    const int64_t qn = c->heads * c->head, kn = c->kv_heads * c->head;
    for (int p = 0; p < PANELS; p++) {
        t->width[p] = p == K || p == V || p == DK || p == DV ? kn : qn;
        t->stride[p] = t->width[p] + (t->plain ? 3 : t->odd && (p == O || p >= DQ) ? 5 : 8);
        const size_t bytes = (size_t)(c->rows * t->stride[p]) * (is_bf16(t, p) ? 2 : 4);
        t->at[p] = aligned_alloc(64, (bytes + 63) / 64 * 64);
        assert_non_null(t->at[p]);
    }
    double *const given[] = {t->a.q = doubles(c->rows * qn), t->a.k = doubles(c->rows * kn), t->a.v = doubles(c->rows * kn),
                             NULL, t->a.d_o = doubles(c->rows * qn)};
    t->a.c = c;
    documents_of(&t->a);
    for (int p = 0; p <= D_O; p++) {
        if (p == O) continue;
        for (int64_t i = 0; i < c->rows * t->width[p]; i++) given[p][i] = uniform() * (p == Q ? 2 : 1);
        fill(t, p, given[p]);
    }
    t->o = doubles(c->rows * qn), t->dq = doubles(c->rows * qn), t->dk = doubles(c->rows * kn), t->dv = doubles(c->rows * kn);
    t->want_lse = doubles(c->rows * c->heads);
    t->lse = calloc((size_t)(c->rows * c->heads), 4), t->dots = calloc((size_t)(c->rows * c->heads), 4);
    t->position = calloc((size_t)c->rows, 4), t->length = calloc((size_t)c->rows, 4);
    assert_true(t->lse && t->dots && t->position && t->length);
    for (int64_t r = 0; r < c->rows; r++)
        t->position[r] = (int32_t)(r - t->a.begin[r]), t->length[r] = (int32_t)t->a.length[r];
    naive_forward(&t->a, t->o, t->want_lse);
    naive_backward(&t->a, t->o, t->dq, t->dk, t->dv);
}
static void drop(trial *t) {
    for (int p = 0; p < PANELS; p++) free(t->at[p]);
    free(t->a.q), free(t->a.k), free(t->a.v), free(t->a.d_o), free(t->a.begin), free(t->a.length);
    free(t->o), free(t->dq), free(t->dk), free(t->dv), free(t->want_lse);
    free(t->lse), free(t->dots), free(t->position), free(t->length);
}

/* ---- running ---- */
static bool near(trial *t, const char *what, double got, double want, double tolerance, int64_t row, int64_t col) {
    if (fabs(got - want) <= tolerance * (0.3 + fabs(want))) return true; /* false for NaN */
    snprintf(t->fault, sizeof t->fault, "%s [%lld, %lld] is %g, not %g", what, (long long)row, (long long)col, got, want);
    return false;
}
static bool same_panel(trial *t, int panel, const double *want, double tolerance) {
    static const char *const names[] = {"q", "k", "v", "o", "d_o", "dq", "dk", "dv"};
    for (int64_t r = 0; r < t->c.rows; r++)
        for (int64_t c = 0; c < t->width[panel]; c++)
            if (!near(t, names[panel], get(t, panel, r, c), want[r * t->width[panel] + c], tolerance, r, c)) return false;
    return true;
}
static void poison(trial *t, int panel) {
    memset(t->at[panel], 0xff, (size_t)(t->c.rows * t->stride[panel]) * (is_bf16(t, panel) ? 2 : 4));
}

static bool run_trial(launcher *l, void *ctx) {
    trial *t = ctx;
    const attend_case *c = &t->c;
    const bool in = is_bf16(t, Q), out = is_bf16(t, O);
    const double tolerance = in ? 0.02 : out ? 0.008 : 2e-5;
    ctl_cuda_attend call = {
        .q = t->at[Q], .k = t->at[K], .v = t->at[V], .out = t->at[O], .d_out = t->at[D_O], .o = t->at[O], .dq = t->at[DQ],
        .dk = t->at[DK], .dv = t->at[DV], .lse = t->lse, .dots = t->dots, .q_stride = t->stride[Q], .k_stride = t->stride[K],
        .v_stride = t->stride[V], .out_stride = t->stride[O], .d_out_stride = t->stride[D_O], .o_stride = t->stride[O],
        .dq_stride = t->stride[DQ], .dk_stride = t->stride[DK], .dv_stride = t->stride[DV], .lse_stride = c->heads,
        .position_stride = 1, .length_stride = 1, .rows = (int32_t)c->rows, .heads = (int32_t)c->heads,
        .group = (int32_t)(c->heads / c->kv_heads), .causal = c->causal, .window = (int32_t)c->window,
        .longest = (int32_t)(c->longest ? c->longest : c->rows), .bf16_in = in, .bf16_o = out, .bf16_d_out = in,
        .bf16_dq = out, .bf16_dk = out, .bf16_dv = out, .bf16_out = out, .scale = (float)(1 / sqrt((double)c->head))};
    if (c->documents) call.position = t->position, call.length = t->length;
    const int unit = t->plain ? CTL_CUDA_ATTEND_PLAIN_ROWS : CTL_CUDA_ATTEND_ROWS;
    const int blocks = (int)((c->rows + unit - 1) / unit), dots = (int)((c->rows + 3) / 4);
    const int heads = (int)c->heads, kv = (int)c->kv_heads, threads = CTL_CUDA_ATTEND_THREADS;
    size_t shared[3] = {0};
    for (int k = 0; k < 3 && !t->plain; k++) shared[k] = ctl_cuda_attend_shared(k, c->head, t->keys, t->queries);
    poison(t, O), memset(t->lse, 0xff, (size_t)(c->rows * c->heads) * 4);
    bool ok = launch(l, t->plain ? "attend_plain_forward" : "attend_forward", &call, blocks, heads, threads, shared[0]) &&
              same_panel(t, O, t->o, tolerance);
    for (int64_t i = 0; ok && i < c->rows * c->heads; i++)
        ok = near(t, "lse", t->lse[i], t->want_lse[i], in ? 1e-3 : 1e-5, i / c->heads, i % c->heads);
    for (int p = DQ; p <= DV; p++) poison(t, p);
    ok = ok && launch(l, "attend_dots", &call, dots, heads, threads, 0) &&
         launch(l, t->plain ? "attend_plain_queries" : "attend_queries", &call, blocks, heads, threads, shared[1]) &&
         launch(l, t->plain ? "attend_plain_keys" : "attend_keys", &call, blocks, kv, threads, shared[2]) &&
         same_panel(t, DQ, t->dq, 2 * tolerance) && same_panel(t, DK, t->dk, 2 * tolerance) &&
         same_panel(t, DV, t->dv, 2 * tolerance);
    if (!ok && l->fault[0]) snprintf(t->fault, sizeof t->fault, "%s", l->fault);
    return ok;
}

/* Of the first texts nothing is spoilt. */
enum { WHOLE = 6 };
static const char *const texts[] = {"prelude",      "tensor_prelude",        "attend_prelude", "attend_rows_prelude", "attend_dots",
                                    "attend_plain", "attend_tensor_prelude", "attend_forward", "attend_queries",      "attend_keys",
                                    NULL};

static void define(char *to, size_t size, const trial *t) {
    snprintf(to, size, "#define HEAD %d\n#define KEYS %d\n#define QUERIES %d\n", (int)t->c.head, t->keys, t->queries);
}

static void check(trial *t) {
    char definitions[128];
    launcher l = {0};
    define(definitions, sizeof definitions, t);
    char *source = kernel_source(definitions, texts, WHOLE, NULL, NULL, 0);
    const char *why = shared_object_open(&l.object, (const char *const *)&source, 1, "-O0");
    if (why) fail_msg("%s", why);
    make(t);
    if (!launch_all(&l, run_trial, t))
        fail_msg("head %d, rows %d, %s, order %d, landing %d: %s", (int)t->c.head, (int)t->c.rows, t->plain ? "plain" : "tensor",
                 l.order, l.landing, t->fault);
    drop(t);
    free(source);
    shared_object_close(&l.object);
}

static const int64_t packed[] = {1, 40, 1, 25, 3, 0}, whole[] = {80, 0};
#define BF16 CTL_BF16
#define F32  CTL_F32

static const trial tensor_trials[] = {
    {.c = {80, 16, 2, 1, 0, true, BF16, BF16, whole, 0}, .keys = 32, .queries = 16},
    {.c = {70, 24, 2, 2, 0, false, BF16, F32, packed, 0}, .keys = 16, .queries = 16},
    {.c = {70, 16, 4, 2, 0, true, BF16, BF16, packed, 0}, .keys = 16, .queries = 32},
    {.c = {130, 16, 1, 1, 20, true, BF16, BF16, NULL, 100}, .keys = 16, .queries = 16, .odd = true},
    {.c = {70, 64, 1, 1, 0, true, BF16, BF16, NULL, 0}, .keys = 64, .queries = 64},
    {.c = {1, 8, 1, 1, 0, false, BF16, BF16, NULL, 0}, .keys = 16, .queries = 16},
};
static const trial plain_trials[] = {
    {.c = {41, 5, 2, 1, 0, true, F32, F32, NULL, 17}, .keys = 16, .queries = 16, .plain = true},
    {.c = {70, 40, 2, 2, 0, false, BF16, F32, packed, 0}, .keys = 16, .queries = 16, .plain = true},
    {.c = {30, 72, 1, 1, 7, true, F32, BF16, NULL, 0}, .keys = 16, .queries = 16, .plain = true},
};
static void check_all(void (*check_one)(trial *t), const trial *trials, size_t n) {
    for (size_t k = 0; k < n; k++) {
        trial t = trials[k];
        check_one(&t);
    }
}
static void test_tensor(void **state) {
    (void)state, check_all(check, tensor_trials, CTL_COUNT(tensor_trials));
}
static void test_plain(void **state) {
    (void)state, check_all(check, plain_trials, CTL_COUNT(plain_trials));
}

/* ---- races ---- */
static void watch(trial *t) {
    char definitions[128];
    define(definitions, sizeof definitions, t);
    char *source = kernel_source(definitions, texts, WHOLE, NULL, NULL, 0);
    make(t);
    expect_races(source, 0, run_trial, t);
    drop(t);
    free(source);
}
/* There is none; any barrier taken out, any wait taken out or too short, is one to the watch, whatever comes out of it. */
static void test_races(void **state) {
    (void)state;
    static const char *const tensor_texts[] = {"prelude",     "tensor_prelude",        "attend_prelude", "attend_rows_prelude",
                                               "attend_dots", "attend_tensor_prelude", "attend_forward", "attend_queries",
                                               "attend_keys", NULL};
    skip_under_sanitizers();
    check_all(watch, tensor_trials, 3); /* more of the same would be seen in the others */
    check_all(watch, plain_trials, 2);
    trial t = {.c = {70, 24, 2, 1, 0, true, BF16, BF16, packed, 0}, .keys = 16, .queries = 16};
    char definitions[160] = SOURCE_PLANTED;
    int planted = 0;
    define(definitions + strlen(definitions), sizeof definitions - strlen(definitions), &t);
    char *source = kernel_source(definitions, tensor_texts, WHOLE, NULL, NULL, 0);
    const size_t from = (size_t)(strstr(source, "KERNEL(attend_forward") - source);
    source = source_with(source, from, "SYNC_BLOCK();", ";", &planted);
    source = source_with(source, from, "COPY_WAIT(0);", ";", &planted);
    source = source_with(source, from, "COPY_WAIT(1);", "COPY_WAIT(2);", &planted);
    source = source_with(source, from, "COPY_WAIT(1);", ";", &planted);
    assert_int_equal(planted, 10 + 3 + 2 + 2);
    make(&t);
    expect_races(source, planted, run_trial, &t);
    drop(&t);
    free(source);
}

static void test_planted_faults(void **state) {
    (void)state;
    static const struct {
        const char *what, *by;
        int from, to; /* which of them */
    } faults[] = {
        {"SYNC_BLOCK();", ";", 0, 99},
        {"COPY_WAIT(1);", ";", 0, 99},
        {"COPY_WAIT(1);", "COPY_WAIT(2);", 0, 99},
        {"COPY_WAIT(0);", ";", 0, 1},      /* of q */
        {"COPY_WAIT(0);\n        SYNC_BLOCK();", "SYNC_BLOCK();", 0, 1},
        {"mma_bf16(s[2 * n + 1], q[k], right + 2)", "mma_bf16(s[2 * n + 1], q[k], right)", 0, 99},
        {"a[0] = ROUND_PAIR(s[0][0], s[0][1])", "a[0] = ROUND_PAIR(s[0][1], s[0][0])", 0, 99},
        {"lane / 8 % 2 * 8", "lane / 16 * 8", 0, 99},
        {"(row + lane % 16) * ROW", "(row + lane % 8) * ROW", 0, 99},
        {"key < mine[i].hi", "key <= mine[i].hi", 0, 99},
        {"key >= mine[i].lo", "key > mine[i].lo", 0, 99},
        {"key < hi[i]", "key <= hi[i]", 0, 99},
        {"at < end; at += KEYS", "at + KEYS < end; at += KEYS", 0, 99},
        {"at < seen.hi", "at + QUERIES < seen.hi", 0, 99},
        {"first + r < rows", "first + r < rows - 1", 0, 99},
    };
    trial t = {.c = {70, 24, 2, 1, 0, true, BF16, BF16, packed, 0}, .keys = 16, .queries = 16};
    char definitions[128];
    int planted = 0, missed = 0;
    make(&t);
    define(definitions, sizeof definitions, &t);
    for (size_t f = 0; f < CTL_COUNT(faults); f++)
        for (int nth = faults[f].from; nth < faults[f].to; nth++) {
            char *source = kernel_source(definitions, texts, WHOLE, faults[f].what, faults[f].by, nth);
            if (!source) {
                if (nth == 0) fail_msg("there is no `%s` to spoil", faults[f].what);
                break;
            }
            planted++;
            if (!source_fails(source, run_trial, &t))
                missed++, print_message("`%s` number %d replaced by `%s`: nothing noticed it\n", faults[f].what, nth, faults[f].by);
            free(source);
        }
    assert_int_equal(planted, 30); /* docs/cuda.md says so */
    assert_int_equal(missed, 0);
    drop(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensor),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_races),
        cmocka_unit_test(test_planted_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
