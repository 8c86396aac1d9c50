/* The CUDA back end's kernels for cross-entropy, embeddings' gradients, folds, transposes, ends of products, computed indices and the
 * optimizer, on the host under every order of threads: against plain loops, the optimizer's against the CPU's own bits; and faults planted in their source. */
#include "tests/cuda/kernels.h"

#include <math.h>

#include "base/dtype.h"
#include "runtime/cuda/session.h"
#include "runtime/session.h"

enum { WHOLE = 1 }; /* nothing of the prelude is spoilt */
static const char *const texts[] = {"prelude", "losses", "moves", "optimizer", NULL};

static uint32_t dice = 7;
static float uniform(void) {
    dice = dice * 1664525u + 1013904223u;
    return (float)((dice >> 8) / 8388608.0 - 1);
}
static bool close_to(double got, double want, double tolerance) {
    return fabs(got - want) <= tolerance * (0.1 + fabs(want)); /* false for NaN */
}

/* ---- cross-entropy ---- */
enum { ROWS = 5, VOCAB = 600 };
static bool losses(launcher *l, void *ctx) {
    (void)ctx;
    static float x[ROWS * VOCAB], d[ROWS * VOCAB], got[ROWS], told[3 * ROWS];
    const int32_t labels[2 * ROWS] = {0, 9, 599, 9, -100, 9, 256, 9, 41, 9}; /* every second */
    const float normaliser = 0.25f;
    for (int kind = 0; kind < 3; kind++) { /* no gradient; f32; bf16 */
        for (int i = 0; i < ROWS * VOCAB; i++) x[i] = d[i] = 8 * uniform();
        for (int r = 0; r < ROWS; r++) { /* who misses a row's largest overflows */
            const int peak = r % 2 ? VOCAB - 1 : 200;
            x[r * VOCAB + peak] = d[r * VOCAB + peak] = 150;
            if (r == 2) x[r * VOCAB + 250] = d[r * VOCAB + 250] = x[r * VOCAB + 457] = d[r * VOCAB + 457] = 150; /* the first counts */
        }
        memset(got, 0xff, sizeof got);
        for (int k = 0; k < 3 * ROWS; k++) told[k] = 77;
        const ctl_cuda_losses call = {d, kind ? d : NULL, labels, &normaliser, got, 2, ROWS, VOCAB, kind == 2,
                                      kind == 1 ? NULL : told, 3};
        if (!launch(l, "task_losses", &call, ROWS, 1, 256, CTL_CUDA_LOSSES_SHARED)) return false;
        double total = 0;
        for (int r = 0; r < ROWS; r++) {
            const float *row = x + r * VOCAB;
            const int label = labels[2 * r];
            double most = -INFINITY, sum = 0;
            for (int c = 0; c < VOCAB; c++) most = fmax(most, row[c]);
            for (int c = 0; c < VOCAB; c++) sum += exp(row[c] - most);
            const double loss = label < 0 ? 0 : log(sum) + most - row[label];
            if (!close_to(got[r], loss, 1e-5)) return false;
            const float first = r % 2 ? VOCAB - 1 : 200, results[] = {got[r], first, 77}, none[] = {77, 77, 77};
            if (memcmp(told + 3 * r, kind == 1 ? none : results, sizeof results) != 0) return false;
            total += got[r];
            for (int c = 0; c < VOCAB; c++) {
                const double want = label < 0 ? 0 : (exp(row[c] - most) / sum - (c == label)) * normaliser;
                const double is = kind == 2 ? ctl_bf16_to_f32(((uint16_t *)(void *)(d + r * VOCAB))[c]) : d[r * VOCAB + c];
                if (!close_to(is, kind ? want : row[c], kind == 2 ? 0.005 : 1e-5)) return false;
            }
        }
        float loss = NAN;
        const ctl_cuda_total sum = {got, &normaliser, &loss, ROWS};
        if (!launch(l, "task_total", &sum, 1, 1, 32, 0) || loss != (float)(total * normaliser)) return false;
    }
    return true;
}

/* ---- moves: bits ---- */
enum { FROM = 40, COLS = 70, TABLE = 6 };
static bool moves(launcher *l, void *ctx) {
    (void)ctx;
    static float x[FROM * (COLS + 2)], out[TABLE * (COLS + 1)], want[TABLE * (COLS + 1)];
    static uint16_t half[FROM * (COLS + 2)];
    int32_t ids[FROM];
    for (int i = 0; i < FROM; i++) ids[i] = i / 2 * 7 % 5; /* 5 is nobody's */
    for (int bf16 = 0; bf16 < 2; bf16++) {
        for (int i = 0; i < FROM * (COLS + 2); i++) x[i] = uniform(), half[i] = ctl_f32_to_bf16(x[i]);
        for (int i = 0; i < TABLE * (COLS + 1); i++) out[i] = want[i] = i % (COLS + 1) == COLS ? 77 : NAN;
        const ctl_cuda_zero zero = {out, COLS + 1, TABLE, COLS};
        const ctl_cuda_scatter scatter = {bf16 ? (void *)half : x, ids, out, COLS + 2, 1, COLS + 1, FROM, COLS, bf16};
        if (!launch(l, "task_zero", &zero, 2, 1, 256, 0) ||
            !launch(l, "task_scatter", &scatter, FROM, 1, 128, CTL_CUDA_SCATTER_SHARED))
            return false;
        for (int t = 0; t < TABLE; t++)
            for (int c = 0; c < COLS; c++) {
                float sum = 0;
                for (int r = 0; r < FROM; r++)
                    if (ids[r] == t) sum += bf16 ? ctl_bf16_to_f32(half[r * (COLS + 2) + c]) : x[r * (COLS + 2) + c];
                want[t * (COLS + 1) + c] = sum;
            }
        if (memcmp(out, want, sizeof out) != 0) return false;
    }
    for (int more = 0; more < 2; more++) {
        float sums[COLS + 1], expected[COLS + 1];
        for (int c = 0; c <= COLS; c++) {
            float sum = 0;
            sums[c] = expected[c] = uniform();
            for (int r = 0; r < FROM; r++) sum += x[r * (COLS + 2) + c];
            if (c < COLS) expected[c] = more ? expected[c] + sum : sum;
        }
        const ctl_cuda_fold fold = {x, sums, COLS + 2, 0, FROM, COLS, more, COLS};
        if (!launch(l, "task_fold", &fold, 1, 1, 128, 0) || memcmp(sums, expected, sizeof sums) != 0) return false;
        float wide[10 * 9], want_wide[10 * 9]; /* as 10 rows of 7, 9 apart */
        for (int c = 0; c < 90; c++) wide[c] = want_wide[c] = 1;
        for (int c = 0; c < COLS; c++) {
            float sum = 0;
            for (int r = 0; r < FROM; r++) sum += x[r * (COLS + 2) + c];
            want_wide[c / 7 * 9 + c % 7] = more ? 1 + sum : sum;
        }
        const ctl_cuda_fold square = {x, wide, COLS + 2, 9, FROM, COLS, more, 7};
        if (!launch(l, "task_fold", &square, 1, 1, 128, 0) || memcmp(wide, want_wide, sizeof wide) != 0) return false;
    }
    for (int kinds = 0; kinds < 4; kinds++) {
        static char turned[COLS * (FROM + 1) * 4], expected[COLS * (FROM + 1) * 4];
        memset(turned, 0x5a, sizeof turned), memset(expected, 0x5a, sizeof expected);
        const int from = kinds & 1, to = kinds >> 1;
        for (int r = 0; r < FROM; r++)
            for (int c = 0; c < COLS; c++) {
                const float value = from ? ctl_bf16_to_f32(half[r * (COLS + 2) + c]) : x[r * (COLS + 2) + c];
                const int at = c * (FROM + 1) + r;
                if (to) ((uint16_t *)(void *)expected)[at] = ctl_f32_to_bf16(value);
                else ((float *)(void *)expected)[at] = value;
            }
        const ctl_cuda_transpose turn = {from ? (void *)half : x, turned, COLS + 2, FROM + 1, FROM, COLS, from, to};
        if (!launch(l, "task_transpose", &turn, (COLS + 31) / 32, (FROM + 31) / 32, 256, CTL_CUDA_TRANSPOSE_SHARED) ||
            memcmp(turned, expected, sizeof turned) != 0)
            return false;
    }
    return true;
}

/* ---- the end of a product: bits, added in one order and rounded once ---- */
static bool ends(launcher *l, void *ctx) {
    (void)ctx;
    enum { R = 3, C = 2060, MOST = R * (C + 12) }; /* more columns than a block has at once, and a rest of less than eight */
    static _Alignas(16) float sums[R * C], c[2][MOST], bias[C], addend[MOST];
    static _Alignas(16) uint16_t half_c[2][MOST], half_bias[C], half_addend[MOST];
    for (int kind = 0; kind < 64; kind++) {
        const int gap = kind & 32 ? 4 : 3, stride = C + gap, other = C + (kind & 32 ? 4 : 1); /* rows begin at multiples of 16 bytes, or not */
        const bool of_sums = kind & 1, accumulate = kind & 2, biased = kind & 4, added = kind & 8, halves = kind & 16;
        for (int i = 0; i < R * C; i++) sums[i] = uniform();
        for (int i = 0; i < C; i++) bias[i] = uniform(), half_bias[i] = ctl_f32_to_bf16(bias[i]);
        for (int i = 0; i < MOST; i++) addend[i] = uniform(), half_addend[i] = ctl_f32_to_bf16(addend[i]);
        for (int i = 0; i < MOST; i++)
            c[0][i] = c[1][i] = uniform(), half_c[0][i] = half_c[1][i] = ctl_f32_to_bf16(uniform());
        for (int r = 0; r < R; r++)
            for (int k = 0; k < C; k++) {
                const int at = r * stride + k, beside = r * other + k;
                float x = of_sums ? sums[r * C + k] : 0;
                if (accumulate) x += halves ? ctl_bf16_to_f32(half_c[0][at]) : c[0][at];
                if (biased) x += halves ? ctl_bf16_to_f32(half_bias[k]) : bias[k];
                if (added) x += halves ? ctl_bf16_to_f32(half_addend[beside]) : addend[beside];
                if (halves) half_c[0][at] = ctl_f32_to_bf16(x);
                else c[0][at] = x;
            }
        const ctl_cuda_finish call = {of_sums ? sums : NULL, halves ? (void *)half_c[1] : c[1],
                                      !biased ? NULL : halves ? (void *)half_bias : bias,
                                      !added ? NULL : halves ? (void *)half_addend : addend, stride, other, R, C,
                                      accumulate, halves, halves, halves, kind & 32 ? 1 : 0};
        if (!launch(l, "task_finish", &call, 2, 1, 256, 0) || memcmp(c[0], c[1], sizeof c[0]) != 0 ||
            memcmp(half_c[0], half_c[1], sizeof half_c[0]) != 0)
            return false;
    }
    return true;
}

/* ---- computed indices: the first that is wrong is told, and none stays wrong ---- */
static bool indices(launcher *l, void *ctx) {
    (void)ctx;
    enum { R = 600, BELOW = 50, BESIDE = -100 };
    static int32_t ids[2 * R], want[2 * R];
    ctl_cuda_bad_id bad = {.task = -1};
    for (int round = 0; round < 3; round++) {
        for (int k = 0; k < 2 * R; k++) ids[k] = want[k] = k % 2 ? 1000 : k % 7 ? k % BELOW : BESIDE; /* every second is another's */
        const int wrong[] = {300, 411, 599}, values[] = {BELOW + round, -1, 1 << 30};
        for (int k = 0; k < 3 && round; k++) ids[2 * wrong[k]] = values[k], want[2 * wrong[k]] = 0;
        const ctl_cuda_ids call = {ids, &bad, 2, R, BELOW, BESIDE, 5 + round};
        if (!launch(l, "task_ids", &call, 1, 1, 256, CTL_CUDA_IDS_SHARED) || memcmp(ids, want, sizeof ids) != 0) return false;
        const ctl_cuda_bad_id first = {6, 300, BELOW + 1, BELOW}; /* stays, when the next round has others */
        if (round ? memcmp(&bad, &first, sizeof bad) != 0 : bad.task != -1) return false;
    }
    return true;
}

/* ---- the optimizer: the CPU's bits ---- */
enum { COUNT = 9003, CHUNK = 4096, CHUNKS = 3 };
static bool updates(launcher *l, void *ctx) {
    (void)ctx;
    static float p[2][COUNT], g[COUNT], m[2][COUNT], v[2][COUNT];
    double squares[CHUNKS];
    for (int kind = 0; kind < 4; kind++) { /* adamw; adamw, clipped; sgd; sgd, clipped, without momentum */
        const bool sgd = kind >= 2, none = kind == 3;
        for (int i = 0; i < COUNT; i++)
            p[0][i] = p[1][i] = uniform(), g[i] = uniform(), m[0][i] = m[1][i] = uniform(), v[0][i] = v[1][i] = fabsf(uniform());
        const ctl_optimizer_step o = {.sgd = sgd, .lr = 0.01, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.1,
                                      .momentum = 0.8, .clip = kind % 2 ? 1.5 : 0, .step = 3};
        const ctl_flat flat = {CTL_F32, COUNT, p[0], g, none ? NULL : m[0], sgd ? NULL : v[0]};
        double norm;
        assert_int_equal(ctl_optimizer_apply(&flat, &o, 1, &norm), CTL_OK);
        const double correct1 = 1.0 / (1.0 - pow(o.beta1, 3));
        ctl_cuda_optimizer_state s = {.clip = o.clip, .keep = (float)(1.0 - o.lr * o.weight_decay),
                                      .rate = (float)(o.lr * correct1), .beta1 = (float)o.beta1, .beta2 = (float)o.beta2,
                                      .rest1 = (float)(1.0 - o.beta1), .rest2 = (float)(1.0 - o.beta2), .eps = (float)o.eps,
                                      .correct2 = (float)(1.0 / sqrt(1.0 - pow(o.beta2, 3))), .lr = (float)o.lr,
                                      .decay = (float)o.weight_decay, .momentum = (float)o.momentum, .norm = NAN};
        const ctl_cuda_optimizer call = {&s, p[1], none ? NULL : m[1], v[1], g, squares, COUNT, CHUNK, CHUNKS};
        for (int bad = 0; bad < 2; bad++) { /* then a gradient that is not finite, which changes nothing */
            if (bad) g[5000] = INFINITY;
            if (!launch(l, "task_squares", &call, CHUNKS, 1, 128, CTL_CUDA_SQUARES_SHARED) ||
                !launch(l, "task_norm", &call, 1, 1, 32, 0) ||
                !launch(l, sgd ? "task_sgd" : "task_adamw", &call, 3, 1, 256, 0))
                return false;
            if (s.finite != !bad || (!bad && s.norm != norm)) return false;
            if (memcmp(p[0], p[1], sizeof p[0]) || memcmp(m[0], m[1], sizeof m[0]) || memcmp(v[0], v[1], sizeof v[0])) return false;
        }
    }
    return true;
}

static bool everything(launcher *l, void *ctx) {
    return losses(l, ctx) && moves(l, ctx) && ends(l, ctx) && indices(l, ctx) && updates(l, ctx);
}

static void check(bool (*run)(launcher *l, void *ctx)) {
    launcher l = {0};
    char *source = kernel_source("", texts, WHOLE, NULL, NULL, 0);
    const char *why = shared_object_open(&l.object, (const char *const *)&source, 1, "-O0");
    if (why) fail_msg("%s", why);
    if (!launch_all(&l, run, NULL)) fail_msg("order %d: %s", l.order, l.fault[0] ? l.fault : "another result");
    free(source);
    shared_object_close(&l.object);
}
static void test_losses(void **state) { (void)state, check(losses); }
static void test_moves(void **state) { (void)state, check(moves); }
static void test_ends(void **state) { (void)state, check(ends); }
static void test_indices(void **state) { (void)state, check(indices); }
static void test_updates(void **state) { (void)state, check(updates); }

static void test_planted_faults(void **state) {
    (void)state;
    static const struct {
        const char *what, *by;
    } faults[] = {
        {"SYNC_BLOCK();", ";"},       {"c < vocab;", "c < vocab - 1;"},       {"at < vocab;", "at + THREADS < vocab;"},
        {"r < own", "r < own - 1"},   {"c < call.cols", "c < call.cols - 1"}, {"int r = own", "int r = own + 1"},
        {"square[x * 33 + i]", "square[i * 33 + x]"}, {"n = THREADS / 2", "n = THREADS / 4"},
        {"col < call.cols; col +=", "col < call.cols - 8; col +="}, {"call.cols - col < 8 ?", "call.cols - col < 4 ?"}, {"call.bad->task < 0", "1"}, {"first[i] < mine", "first[i] > mine"},
        {"i < n; i += 8", "i < n - 1; i += 8"},       {"if (!s->finite) return;", ";"},
        {"c % call.width", "c"},                      {"c / call.width", "0"},
    };
    int planted = 0, missed = 0;
    for (size_t f = 0; f < CTL_COUNT(faults); f++)
        for (int nth = 0;; nth++) {
            char *source = kernel_source("", texts, WHOLE, faults[f].what, faults[f].by, nth);
            if (!source) break;
            planted++;
            if (!source_fails(source, everything, NULL))
                missed++, print_message("`%s` number %d replaced by `%s`: nothing noticed it\n", faults[f].what, nth, faults[f].by);
            free(source);
        }
    assert_true(planted > 20);
    assert_int_equal(missed, 0);
}

/* ---- races ---- */
static bool watched(launcher *l, void *ctx) {
    float out[7 * 9];
    for (int kind = 0; kind < 4; kind++) {
        const ctl_cuda_initialise call = {out, 9, 7 * 7, 3, 5, 0.5, 7, kind, 0};
        if (!launch(l, "task_initialise", &call, 2, 1, 256, 0)) return false;
    }
    return everything(l, ctx);
}
/* There is none, and without any of the barriers there is one to the watch, whatever comes out of it. */
static void test_races(void **state) {
    (void)state;
    static const char *const all[] = {"prelude", "losses", "moves", "optimizer", "initialise", NULL};
    int planted = 0;
    skip_under_sanitizers();
    char *source = kernel_source(SOURCE_PLANTED, all, WHOLE, NULL, NULL, 0);
    source = source_with(source, (size_t)(strstr(source, "typedef struct losses_call") - source), "SYNC_BLOCK();", ";", &planted);
    assert_int_equal(planted, 13);
    expect_races(source, planted, watched, NULL);
    free(source);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_losses),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_indices),
        cmocka_unit_test(test_updates),
        cmocka_unit_test(test_races),
        cmocka_unit_test(test_planted_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
