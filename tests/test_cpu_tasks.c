/* Tasks of the CPU engine but attention, against plain loops in double. All regions are filled with NaN
 * before a run, so that reading what was not written shows, and every run is made by 1 and by 2 threads,
 * whose bits must be equal. */
#include "tests/cpu_harness.h"

/* ---- products ---- */
typedef struct product_case {
    int64_t m, n, k, pad;
    ctl_dtype operands, c, bias, addend; /* U8: absent */
    bool ta, tb, accumulate;
} product_case;

/* The plain f32 product first, against doubles; then the form asked for, which must have its bits with
 * separate f32 additions and one rounding. */
static void check_product(const product_case *p) {
    double *a = randoms(p->m * p->k), *b = randoms(p->k * p->n), *old = randoms(p->m * p->n),
           *bias = randoms(p->n), *addend = randoms(p->m * p->n);
    int64_t ar = p->ta ? p->k : p->m, ac = p->ta ? p->m : p->k, br = p->tb ? p->n : p->k,
            bc = p->tb ? p->k : p->n;
    const int64_t step = p->m * p->n * p->k > 50000000 ? 16 : 1; /* rows of large ones that are looked at */
    char *plain = NULL;
    bench t[2];
    for (int full = 0; full < 2; full++) {
        bench *x = &t[full];
        begin(x, TASK_MATMUL);
        x->task.transpose_a = p->ta, x->task.transpose_b = p->tb, x->task.accumulate = full && p->accumulate;
        add(x, ar, ac, ac + p->pad, p->pad / 2, p->operands, a);
        add(x, br, bc, bc + p->pad, 0, p->operands, b);
        add(x, p->m, p->n, p->n + (full ? p->pad : 0), 0, full ? p->c : CTL_F32,
            full && p->accumulate ? old : NULL);
        add(x, full && p->bias != CTL_U8 ? 1 : 0, p->n, p->n, 0, p->bias, bias);
        add(x, full && p->addend != CTL_U8 ? p->m : 0, p->n, p->n + p->pad, 0, p->addend, addend);
        prepare(x);
        char *region = run_both(x);
        for (int64_t i = 0; i < p->m; i++)
            for (int64_t j = 0; j < p->n; j++) {
                if (!full) {
                    if (i % step) continue;
                    double sum = 0, size = 0;
                    for (int64_t k = 0; k < p->k; k++) {
                        double term =
                            a[p->ta ? k * p->m + i : i * p->k + k] * b[p->tb ? j * p->k + k : k * p->n + j];
                        sum += term, size += fabs(term);
                    }
                    near(out(x, region, 2, i, j), sum, 1e-6 * size + 1e-30, "product", i, j);
                    continue;
                }
                float want = (float)out(&t[0], plain, 2, i, j);
                if (p->accumulate) want = want + (float)old[i * p->n + j];
                if (p->bias != CTL_U8) want = want + (float)bias[j];
                if (p->addend != CTL_U8) want = want + (float)addend[i * p->n + j];
                near(out(x, region, 2, i, j), rounded(want, p->c), 0, "finished product", i, j);
            }
        if (full)
            free(region);
        else
            plain = region;
    }
    free(plain), free(a), free(b), free(old), free(bias), free(addend);
}

static void test_products(void **unused) {
    (void)unused;
    const int64_t shapes[][3] = {{1, 1, 1},       {3, 5, 7},     {1, 17, 33},   {33, 1, 9},     {5, 3, 1},
                                 {100, 100, 100}, {300, 40, 65}, {70, 600, 33}, {257, 16, 130}, {8, 530, 300},
                                 {16, 64, 513},   {130, 8, 90},  {64, 32, 1025}};
    const ctl_dtype f32 = CTL_F32, bf16 = CTL_BF16, none = CTL_U8;
    for (size_t s = 0; s < CTL_COUNT(shapes); s++)
        for (int turn = 0; turn < 8; turn++) {
            product_case p = {shapes[s][0],
                              shapes[s][1],
                              shapes[s][2],
                              turn & 4 ? 6 : 0,
                              turn % 2 ? bf16 : f32,
                              turn & 2 ? bf16 : f32,
                              s % 3 == 0   ? none
                              : s % 3 == 1 ? f32
                                           : bf16,
                              turn % 3 == 0   ? none
                              : turn % 3 == 1 ? f32
                                              : bf16,
                              (s + (size_t)turn) & 1,
                              (turn >> 1 & 1) ^ (s % 2),
                              false};
            check_product(&p);
            p.ta = !p.ta;
            check_product(&p);
            p.c = f32, p.bias = p.addend = none, p.accumulate = true, p.tb = !p.tb;
            check_product(&p);
        }
}

/* The shapes of real models: the fused forms' bits. */
static void test_large_products(void **unused) {
    (void)unused;
    const product_case cases[] = {
        {768, 3072, 1024, 0, CTL_BF16, CTL_BF16, CTL_F32, CTL_BF16, false, true, false},
        {512, 768, 768, 32, CTL_BF16, CTL_BF16, CTL_BF16, CTL_F32, false, false, false},
        {512, 8, 768, 0, CTL_BF16, CTL_BF16, CTL_U8, CTL_U8, false, true, false},
        {512, 16, 768, 0, CTL_BF16, CTL_BF16, CTL_U8, CTL_U8, false, true, false},
        {512, 32, 768, 0, CTL_BF16, CTL_BF16, CTL_F32, CTL_U8, false, false, false},
        {512, 768, 64, 0, CTL_BF16, CTL_BF16, CTL_U8, CTL_BF16, false, true, false},
        {16, 768, 1024, 0, CTL_BF16, CTL_F32, CTL_U8, CTL_U8, true, false, true},
        {768, 16, 1024, 0, CTL_F32, CTL_F32, CTL_U8, CTL_U8, true, false, true},
    };
    for (size_t i = 0; i < CTL_COUNT(cases); i++) check_product(&cases[i]);
}

static void test_product_refuses(void **unused) {
    (void)unused;
    bench b;
    size_t bytes;
    begin(&b, TASK_MATMUL);
    add(&b, 4, 5, 5, 0, CTL_F32, NULL), add(&b, 6, 3, 3, 0, CTL_F32, NULL),
        add(&b, 4, 3, 3, 0, CTL_F32, NULL);
    add(&b, 0, 0, 0, 0, CTL_F32, NULL), add(&b, 0, 0, 0, 0, CTL_F32, NULL);
    assert_int_equal(ctl_cpu_task_scratch(&b.task, 2, &bytes), CTL_ERR_INTERNAL);
}

/* ---- the head ---- */
static void check_head(int64_t rows, int64_t vocab, int64_t cols, int64_t chunk, ctl_dtype dtype,
                       ctl_dtype dx_dtype, bool dx, bool dw, bool accumulate, int64_t pad) {
    double *x = randoms(rows * cols), *w = randoms(vocab * cols), *labels = malloc((size_t)rows * 8),
           norm = 0.37;
    double *want_dx = calloc((size_t)(rows * cols), 8), *old = randoms(vocab * cols), loss = 0;
    for (int64_t i = 0; i < rows; i++) labels[i] = i % 5 == 3 ? -100 : (double)(draw() % (uint32_t)vocab);
    bench b;
    begin(&b, TASK_HEAD);
    b.task.chunk = chunk, b.task.accumulate = accumulate;
    add(&b, rows, cols, cols + pad, 0, dtype, x), add(&b, vocab, cols, cols + pad, 0, dtype, w);
    add(&b, rows, 1, 1, 0, CTL_I32, labels), add(&b, 1, 1, 1, 0, CTL_F32, &norm),
        add(&b, 1, 1, 1, 0, CTL_F32, NULL);
    add(&b, dx ? rows : 0, cols, cols + pad, 0, dx_dtype, NULL);
    add(&b, dw ? vocab : 0, cols, cols, 0, CTL_F32, accumulate ? old : NULL);
    prepare(&b);
    double *want_dw = calloc((size_t)(vocab * cols), 8), *p = malloc((size_t)vocab * 8);
    for (int64_t i = 0; i < vocab * cols && accumulate; i++) want_dw[i] = old[i];
    for (int64_t i = 0; i < rows; i++) {
        if (labels[i] < 0) continue;
        double most = -INFINITY, sum = 0;
        for (int64_t c = 0; c < vocab; c++) {
            p[c] = 0;
            for (int64_t e = 0; e < cols; e++) p[c] += x[i * cols + e] * w[c * cols + e];
            if (p[c] > most) most = p[c];
        }
        loss -= p[(int64_t)labels[i]];
        for (int64_t c = 0; c < vocab; c++) sum += p[c] = exp(p[c] - most);
        loss += most + log(sum);
        for (int64_t c = 0; c < vocab; c++) {
            double d = (p[c] / sum - (c == (int64_t)labels[i])) * norm;
            for (int64_t e = 0; e < cols; e++)
                want_dx[i * cols + e] += d * w[c * cols + e], want_dw[c * cols + e] += d * x[i * cols + e];
        }
    }
    char *region = run_both(&b);
    near(out(&b, region, 4, 0, 0), loss * norm, 1e-5 * fabs(loss * norm) + 1e-6, "loss", 0, 0);
    const double tolerance = dtype == CTL_BF16 || dx_dtype == CTL_BF16 ? 0.02 : 2e-5;
    if (dx) compare(&b, region, 5, want_dx, tolerance, "dx");
    if (dw) compare(&b, region, 6, want_dw, tolerance, "dw");
    free(region), free(x), free(w), free(labels), free(want_dx), free(old), free(want_dw), free(p);
}

static void test_head(void **unused) {
    (void)unused;
    const ctl_dtype f32 = CTL_F32, bf16 = CTL_BF16;
    check_head(1, 2, 3, 1, f32, f32, true, true, false, 0);
    check_head(10, 2, 16, 64, f32, f32, true, true, true, 0);
    check_head(70, 33, 24, 32, f32, f32, true, true, false, 5);
    check_head(70, 33, 24, 32, bf16, bf16, true, true, true, 4);
    check_head(100, 700, 48, 40, bf16, f32, true, false, false, 0);
    check_head(100, 17, 48, 50, bf16, bf16, false, true, false, 0);
    check_head(33, 100, 8, 11, f32, f32, false, false, false, 0);
    check_head(64, 515, 40, 64, f32, bf16, true, true, true, 0);
    assert_true(ctl_cpu_head_chunk(10, 50000) == 10);
    assert_true(ctl_cpu_head_chunk(100000, 2) <= 100000 && ctl_cpu_head_chunk(100000, 128256) >= 64);
}

static void test_head_refuses(void **unused) {
    (void)unused;
    double x[6] = {0}, w[8] = {0}, labels[3] = {1, 4, 0}, norm = 1;
    bench b;
    begin(&b, TASK_HEAD);
    b.task.chunk = 2;
    add(&b, 3, 2, 2, 0, CTL_F32, x), add(&b, 4, 2, 2, 0, CTL_F32, w), add(&b, 3, 1, 1, 0, CTL_I32, labels);
    add(&b, 1, 1, 1, 0, CTL_F32, &norm), add(&b, 1, 1, 1, 0, CTL_F32, NULL);
    add(&b, 0, 0, 0, 0, CTL_F32, NULL), add(&b, 0, 0, 0, 0, CTL_F32, NULL);
    prepare(&b);
    said[0] = 0;
    free(run_with(&b, 2, CTL_ERR_INPUT));
    assert_non_null(strstr(said, "label 4 of row 1"));
    labels[1] = -1;
    free(run_with(&b, 1, CTL_ERR_INPUT));
}

/* ---- rows ---- */
/* out[t] = in[t] * seed + gathered[index[t]] + step; partial sums of in for each chunk of rows; scratch must
 * be ours. */
static void kernel(const ctl_rows_call *c, int64_t begin_row, int64_t end) {
    const ctl_rows_arg *a = c->args;
    for (int64_t t = begin_row; t < end; t++) {
        const float *in = (const float *)a[0].base + t * a[0].stride;
        const float *table = (const float *)a[1].base + a[1].index[t] * a[1].stride;
        float *to = (float *)a[3].base + t * a[3].stride,
              *sums = (float *)a[4].base + t / CTL_ROW_CHUNK * a[4].stride;
        for (int j = 0; j < 3; j++) {
            if (t % CTL_ROW_CHUNK == 0) sums[j] = 0;
            c->scratch[j] = in[j] * (float)c->seed;
            to[j] = c->scratch[j] + table[j] + (float)c->step + (float)c->sites[0];
            sums[j] += in[j];
        }
    }
}

static void make_rows(bench *b, int64_t rows, double *in, double *table, double *index) {
    static uint32_t sites[] = {11};
    begin(b, TASK_ROWS);
    b->kernel = (ctl_rows_kernel){"k", kernel, 100, true};
    b->program.kernels = &b->kernel, b->program.nkernels = 1;
    b->task.rows = rows, b->task.split = 1, b->task.sites = sites, b->task.nsites = 1;
    add(b, rows, 3, 5, 1, CTL_F32, in), add(b, 7, 3, 4, 0, CTL_F32, table),
        add(b, rows, 1, 1, 0, CTL_I32, index);
    add(b, rows, 3, 3, 0, CTL_F32, NULL),
        add(b, (rows + CTL_ROW_CHUNK - 1) / CTL_ROW_CHUNK, 3, 16, 0, CTL_F32, NULL);
    b->index_of[1] = 2;
    prepare(b);
}

static void test_rows(void **unused) {
    (void)unused;
    const int64_t sizes[] = {1, 63, 64, 65, 200, 1000};
    for (size_t n = 0; n < CTL_COUNT(sizes); n++) {
        const int64_t rows = sizes[n];
        double *in = randoms(rows * 3), *table = randoms(21), *index = malloc((size_t)rows * 8);
        for (int64_t i = 0; i < rows; i++) index[i] = (double)(draw() % 7);
        bench b;
        make_rows(&b, rows, in, table, index);
        char *region = run_both(&b);
        for (int64_t t = 0; t < rows; t++)
            for (int64_t j = 0; j < 3; j++)
                near(out(&b, region, 3, t, j), in[t * 3 + j] * 7 + table[(int64_t)index[t] * 3 + j] + 3 + 11,
                     1e-5, "row", t, j);
        for (int64_t first = 0; first < rows; first += CTL_ROW_CHUNK)
            for (int64_t j = 0; j < 3; j++) {
                double sum = 0;
                for (int64_t t = first; t < rows && t < first + CTL_ROW_CHUNK; t++) sum += in[t * 3 + j];
                near(out(&b, region, 4, first / CTL_ROW_CHUNK, j), sum, 1e-4, "partial sum", first, j);
            }
        free(region);
        index[rows - 1] = 7;
        said[0] = 0;
        free(run_with(&b, 2, CTL_ERR_INPUT));
        assert_non_null(strstr(said, "id 7"));
        index[rows - 1] = -1;
        free(run_with(&b, 1, CTL_ERR_INPUT));
        free(in), free(table), free(index);
    }
}

static void test_scatter(void **unused) {
    (void)unused;
    for (int turn = 0; turn < 8; turn++) {
        const int64_t rows = 50, cols = turn % 2 ? 37 : 3, n = 9;
        double *x = randoms(rows * cols), *old = randoms(n * cols), *ids = malloc((size_t)rows * 8);
        double *want = calloc((size_t)(n * cols), 8);
        for (int64_t i = 0; i < rows; i++) ids[i] = (double)(draw() % 8);
        bench b;
        begin(&b, TASK_SCATTER);
        b.task.accumulate = turn & 4;
        add(&b, rows, cols, cols + 2, 0, turn & 2 ? CTL_BF16 : CTL_F32, x),
            add(&b, rows, 1, 1, 0, CTL_I32, ids);
        add(&b, n, cols, cols + 1, 0, CTL_F32, turn & 4 ? old : NULL);
        prepare(&b);
        for (int64_t i = 0; i < n * cols && turn & 4; i++) want[i] = old[i];
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < cols; j++) want[(int64_t)ids[i] * cols + j] += x[i * cols + j];
        char *region = run_both(&b);
        compare(&b, region, 2, want, 1e-5, "sum by id");
        free(region);
        ids[3] = 9;
        said[0] = 0;
        free(run_with(&b, 2, CTL_ERR_INPUT));
        assert_non_null(strstr(said, "id 9 of row 3"));
        free(x), free(old), free(ids), free(want);
    }
}

static void test_fold(void **unused) {
    (void)unused;
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        const int64_t chunks = 11, cols = 530;
        double *x = randoms(chunks * cols), *old = randoms(cols);
        bench b;
        begin(&b, TASK_FOLD);
        b.task.accumulate = accumulate;
        add(&b, chunks, cols, cols + 7, 0, CTL_F32, x),
            add(&b, 1, cols, cols, 0, CTL_F32, accumulate ? old : NULL);
        prepare(&b);
        char *region = run_both(&b);
        for (int64_t j = 0; j < cols; j++) {
            float sum = 0; /* the very order */
            for (int64_t r = 0; r < chunks; r++) sum = sum + (float)x[r * cols + j];
            if (accumulate) sum = (float)old[j] + sum;
            near(out(&b, region, 1, 0, j), sum, 0, "fold", 0, j);
        }
        free(region), free(x), free(old);
    }
}

static void test_transpose(void **unused) {
    (void)unused;
    const int64_t shapes[][2] = {{1, 1}, {3, 70}, {65, 33}, {128, 64}};
    for (size_t n = 0; n < CTL_COUNT(shapes); n++)
        for (int turn = 0; turn < 4; turn++) {
            const int64_t r = shapes[n][0], c = shapes[n][1];
            double *x = randoms(r * c);
            bench b;
            begin(&b, TASK_TRANSPOSE);
            const ctl_dtype to = turn & 2 ? CTL_BF16 : CTL_F32;
            add(&b, r, c, c + 3, 0, turn & 1 ? CTL_BF16 : CTL_F32, x), add(&b, c, r, r + 5, 1, to, NULL);
            prepare(&b);
            char *region = run_both(&b);
            for (int64_t i = 0; i < r; i++)
                for (int64_t j = 0; j < c; j++)
                    near(out(&b, region, 1, j, i), rounded((float)x[i * c + j], to), 0, "turned", j, i);
            free(region), free(x);
        }
}

/* NaN and infinity come through products' epilogues. */
static void test_not_finite(void **unused) {
    (void)unused;
    double x[16] = {1, NAN, INFINITY, -INFINITY}, one[1] = {1};
    bench b;
    begin(&b, TASK_MATMUL);
    add(&b, 4, 1, 1, 0, CTL_BF16, x), add(&b, 1, 1, 1, 0, CTL_BF16, one), add(&b, 4, 1, 1, 0, CTL_BF16, NULL);
    add(&b, 0, 0, 0, 0, CTL_F32, NULL), add(&b, 0, 0, 0, 0, CTL_F32, NULL);
    prepare(&b);
    char *region = run_both(&b);
    assert_true(out(&b, region, 2, 0, 0) == 1 && isnan(out(&b, region, 2, 1, 0)));
    assert_true(out(&b, region, 2, 2, 0) == INFINITY && out(&b, region, 2, 3, 0) == -INFINITY);
    free(region);
}

/* ---- failing allocations ---- */
typedef struct stingy {
    int left;
    size_t held;
} stingy;
static void *stingy_resize(void *ctx, void *ptr, size_t old, size_t size) {
    stingy *s = ctx;
    if (size && s->left-- <= 0) return NULL;
    s->held += size - old;
    if (size) return realloc(ptr, size);
    free(ptr);
    return NULL;
}

static void test_failing_allocations(void **unused) {
    (void)unused;
    double x[6] = {0}, labels[3] = {1, 2, 0}, norm = 1;
    bench b;
    begin(&b, TASK_HEAD);
    b.task.chunk = 2;
    add(&b, 3, 2, 2, 0, CTL_F32, x), add(&b, 3, 2, 2, 0, CTL_F32, x), add(&b, 3, 1, 1, 0, CTL_I32, labels);
    add(&b, 1, 1, 1, 0, CTL_F32, &norm), add(&b, 1, 1, 1, 0, CTL_F32, NULL);
    add(&b, 3, 2, 2, 0, CTL_F32, NULL), add(&b, 3, 2, 2, 0, CTL_F32, NULL);
    prepare(&b);
    bool opened = false;
    for (int n = 0; !opened; n++) {
        stingy s = {n, 0};
        ctl_allocator allocator = {&s, stingy_resize};
        ctl_session_options options = {.allocator = &allocator};
        ctl_session *session = NULL;
        ctl_status status = b.program.engine->open(&b.program, &options, &session);
        opened = status == CTL_OK;
        if (opened)
            b.program.engine->close(session);
        else
            assert_int_equal(status, CTL_ERR_MEMORY);
        assert_int_equal(s.held, 0);
        assert_true(n < 1000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_large_products),
        cmocka_unit_test(test_product_refuses),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_head_refuses),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_scatter),
        cmocka_unit_test(test_fold),
        cmocka_unit_test(test_transpose),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
