/* The CPU engine's kernels for each instruction set that this machine has: products of blocks, rows of
 * cross-entropy, the exponential. */
#include "tests/cpu_harness.h"

#include "runtime/cpu/vector.h"

static double naive_product(const ctl_block *b, int64_t i, int64_t j) {
    const ctl_dtype dtype = b->bf16 ? CTL_BF16 : CTL_F32;
    double sum = 0;
    for (int64_t k = 0; k < b->k; k++)
        sum += get(b->a, dtype, b->transpose_a ? k * b->lda + i : i * b->lda + k) *
               get(b->b, dtype, b->transpose_b ? j * b->ldb + k : k * b->ldb + j);
    return sum;
}

static void check_lanes(const ctl_lanes *table) {
    const int64_t shapes[][3] = {{1, 1, 1}, {7, 17, 33}, {13, 64, 600}, {70, 90, 20}, {6, 48, 513}};
    for (size_t s = 0; s < CTL_COUNT(shapes); s++)
        for (int turn = 0; turn < 8; turn++) {
            ctl_block b = {
                shapes[s][0],    shapes[s][1], shapes[s][2], .transpose_a = turn & 1, .transpose_b = turn & 2,
                .bf16 = turn & 4};
            b.lda = (b.transpose_a ? b.m : b.k) + 1, b.ldb = (b.transpose_b ? b.k : b.n) + 3;
            const int64_t an = b.lda * (b.transpose_a ? b.k : b.m), bn = b.ldb * (b.transpose_b ? b.n : b.k),
                          width = (b.n + 15) / 16 * 16;
            float *a = malloc((size_t)an * 4), *right = malloc((size_t)bn * 4),
                  *c = malloc((size_t)(b.m * width) * 4);
            char *scratch = aligned_alloc(64, ctl_block_scratch(b.m, b.n));
            memset(scratch, 0xff, ctl_block_scratch(b.m, b.n));
            for (int64_t i = 0; i < an; i++) put(a, b.bf16 ? CTL_BF16 : CTL_F32, i, uniform());
            for (int64_t i = 0; i < bn; i++) put(right, b.bf16 ? CTL_BF16 : CTL_F32, i, uniform());
            b.a = a, b.b = right, b.c = c;
            table->product(&b, scratch);
            for (int64_t i = 0; i < b.m; i++)
                for (int64_t j = 0; j < b.n; j++)
                    near(c[i * width + j], naive_product(&b, i, j), 2e-6 * sqrt((double)b.k) * 4, table->name,
                         i, j);
            free(a), free(right), free(c), free(scratch);
        }
    for (int64_t n = 1; n < 70; n += 3) { /* cross-entropy: values, the loss, and in place as bf16 */
        float x[80] = {0}, y[80];
        double sum = 0;
        for (int64_t i = 0; i < n; i++) x[i] = y[i] = (float)(8 * uniform()), sum += exp(x[i]);
        float loss = table->cross_entropy(y, n, n / 2, 0.5f, y, true);
        near(loss, log(sum) - x[n / 2], 3e-6 * (fabs((double)loss) + 8), "row loss", n, 0);
        for (int64_t i = 0; i < n; i++) {
            double want = (exp(x[i]) / sum - (i == n / 2)) * 0.5;
            near(get(y, CTL_BF16, i), want, 0.004 * fabs(want) + 1e-6, "row gradient", n, i);
        }
    }
}

/* 2^x on a vector, in units of the last place of the right answer. */
static void test_exponential(void **unused) {
    (void)unused;
    for (int i = 0; i < 200000; i++) {
        float x[LANES], y[LANES];
        for (int l = 0; l < LANES; l++) x[l] = (float)(-124.9 + 250 * (draw() / 4294967296.0));
        store(y, exp2_lanes(load(x)));
        for (int l = 0; l < LANES; l++) {
            double want = exp2(x[l]), unit = ldexp(1, (int)floor(log2(want)) - 23);
            if (!(fabs(y[l] - want) < 1.5 * unit)) fail_msg("2^%.9g: %.9g, should be %.9g", x[l], y[l], want);
        }
    }
    float special[LANES] = {-INFINITY, -1e30f, -300, 0, 1, -1, NAN}, y[LANES];
    store(y, exp2_lanes(load(special)));
    assert_true(y[0] == 0 && y[1] == 0 && y[2] == 0 && y[3] == 1 && y[4] == 2 && y[5] == 0.5f && isnan(y[6]));
}

static void test_logarithm(void **unused) {
    (void)unused;
    for (int i = 0; i < 50000; i++) {
        float x[LANES], y[LANES];
        for (int l = 0; l < LANES; l++)
            x[l] = l % 2 ? (float)(0.5 + draw() / 4294967296.0)
                         : (float)exp2(-120 + 240 * (draw() / 4294967296.0));
        store(y, log_lanes(load(x)));
        for (int l = 0; l < LANES; l++) near(y[l], log(x[l]), 2.5e-7 * fabs(log(x[l])) + 1e-38, "log", i, l);
    }
    float special[LANES] = {1, NAN, 2}, y[LANES];
    store(y, log_lanes(load(special)));
    assert_true(y[0] == 0 && isnan(y[1]) && y[2] == 0.69314718f);
}

static void test_instruction_sets(void **unused) {
    (void)unused;
    const ctl_lanes *best = ctl_lanes_choose(),
                    *all[] = {&ctl_lanes_base, &ctl_lanes_v3, &ctl_lanes_v4, &ctl_lanes_bf16};
    for (size_t i = 0; i < CTL_COUNT(all); i++) {
        check_lanes(all[i]);
        if (all[i] == best) break;
    }
    assert_int_equal(ctl_cpu_supports_bf16(), best == &ctl_lanes_bf16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exponential),
        cmocka_unit_test(test_logarithm),
        cmocka_unit_test(test_instruction_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
