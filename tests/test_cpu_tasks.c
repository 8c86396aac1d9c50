/* Every kind of task of the CPU engine, on programs built by hand, against plain loops in double. All regions are filled
 * with NaN before a run, so that reading what was not written shows, and every run is made by 1 and by 2 threads, whose
 * bits must be equal. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "runtime/cpu/cpu.h"
#include "runtime/cpu/tasks.h"

/* ---- a program of one task ---- */
enum { MOST_BUFFERS = 16, BUFFER_GAP = 256 };

typedef struct bench {
    ctl_program program;
    ctl_buffer buffers[MOST_BUFFERS];
    ctl_operand operands[CTL_MOST_OPERANDS];
    uint32_t index_of[CTL_MOST_OPERANDS];
    ctl_task task;
    ctl_rows_kernel kernel;
    double *values[MOST_BUFFERS]; /* rounded to the operand's dtype; NULL: an output */
} bench;

static void begin(bench *b, ctl_task_kind kind) {
    memset(b, 0, sizeof *b);
    b->task = (ctl_task){.kind = kind, .name = "a task", .operands = b->operands, .index_of = b->index_of,
                         .scratch = CTL_NO_OPERAND};
    for (int i = 0; i < CTL_MOST_OPERANDS; i++) b->index_of[i] = UINT32_MAX;
    b->program.engine = &ctl_cpu_engine;
    b->program.compute = CTL_F32;
    b->program.threads = 2;
    b->program.buffers = b->buffers;
    b->program.tokens = 1;
    b->program.run[RUN_FORWARD] = (ctl_task_list){&b->task, 1};
}

/* A buffer with a gap behind it that nothing may touch. */
static uint32_t add_buffer(bench *b, size_t bytes) {
    ctl_program *p = &b->program;
    uint32_t n = (uint32_t)p->nbuffers++;
    assert_true(n < MOST_BUFFERS);
    b->buffers[n] = (ctl_buffer){.region = REGION_STEP, .bytes = bytes, .offset = p->region_bytes[REGION_STEP], .name = "b"};
    p->region_bytes[REGION_STEP] += (bytes + BUFFER_GAP + 63) / 64 * 64;
    return n;
}

/* The next operand: rows x cols inside rows of `stride`, `skip` elements into its buffer. values: rows * cols or NULL. */
static int add(bench *b, int64_t rows, int64_t cols, int64_t stride, int64_t skip, ctl_dtype dtype, double *values) {
    int n = (int)b->task.noperands++;
    size_t size = ctl_dtype_size(dtype);
    if (rows == 0) {
        b->operands[n] = CTL_NO_OPERAND;
        return n;
    }
    uint32_t buffer = add_buffer(b, (size_t)(rows * stride + skip) * size);
    b->operands[n] = (ctl_operand){buffer, (uint64_t)skip * size, rows, cols, stride, dtype};
    for (int64_t i = 0; values && i < rows * cols; i++) {
        if (dtype == CTL_BF16) values[i] = ctl_bf16_to_f32(ctl_f32_to_bf16((float)values[i]));
        if (dtype == CTL_F32) values[i] = (float)values[i];
    }
    b->values[n] = values;
    return n;
}

static double get(const void *p, ctl_dtype dtype, int64_t i) {
    if (dtype == CTL_BF16) return ctl_bf16_to_f32(((const uint16_t *)p)[i]);
    return dtype == CTL_I32 ? ((const int32_t *)p)[i] : ((const float *)p)[i];
}
static void put(void *p, ctl_dtype dtype, int64_t i, double x) {
    if (dtype == CTL_BF16) ((uint16_t *)p)[i] = ctl_f32_to_bf16((float)x);
    else if (dtype == CTL_I32) ((int32_t *)p)[i] = (int32_t)x;
    else ((float *)p)[i] = (float)x;
}

static void prepare(bench *b) {
    size_t bytes = 0;
    if (b->task.kind == TASK_ROWS) bytes = ctl_cpu_rows_scratch(b->kernel.scratch_bytes, 2);
    else assert_int_equal(ctl_cpu_task_scratch(&b->task, 2, &bytes), CTL_OK);
    if (bytes == 0) return;
    b->task.scratch = (ctl_operand){add_buffer(b, bytes), 0, 1, (int64_t)bytes, (int64_t)bytes, CTL_U8};
}

static char said[512];
static void keep_said(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    snprintf(said, sizeof said, "%s", d->message);
}

/* Runs and returns the step region's bytes, which the caller frees. */
static char *run_with(bench *b, int threads, ctl_status expected) {
    ctl_session *s = NULL;
    ctl_session_options options = {.threads = threads, .seed = 7, .diagnostic = keep_said};
    assert_int_equal(b->program.engine->open(&b->program, &options, &s), CTL_OK);
    s->step = 3, s->first_row = 0;
    const size_t bytes = b->program.region_bytes[REGION_STEP];
    ctl_operand all = {0, 0, 1, 1, 1, CTL_U8};
    char *region = b->program.engine->address(s, &all);
    memset(region, 0xff, bytes); /* NaN of every dtype, index -1 */
    for (uint32_t n = 0; n < b->task.noperands; n++) {
        const ctl_operand *o = &b->operands[n];
        for (int64_t i = 0; b->values[n] && i < o->rows; i++)
            for (int64_t j = 0; j < o->cols; j++)
                put(b->program.engine->address(s, o), o->dtype, i * o->stride + j, b->values[n][i * o->cols + j]);
    }
    assert_int_equal(b->program.engine->run(s, RUN_FORWARD), expected);
    char *copy = malloc(bytes);
    memcpy(copy, region, bytes);
    for (size_t k = 0; k < b->program.nbuffers; k++) { /* nothing was written behind a buffer */
        const ctl_buffer *buffer = &b->buffers[k];
        for (size_t i = 0; i < BUFFER_GAP; i++)
            if ((unsigned char)region[buffer->offset + buffer->bytes + i] != 0xff)
                fail_msg("buffer %zu of task kind %d: written %zu bytes behind its end", k, (int)b->task.kind, i);
    }
    b->program.engine->close(s);
    return copy;
}

/* By 1 and by 2 threads: equal bits of every operand. */
static char *run_both(bench *b) {
    char *one = run_with(b, 1, CTL_OK), *two = run_with(b, 2, CTL_OK);
    for (uint32_t n = 0; n < b->task.noperands; n++) {
        const ctl_operand *o = &b->operands[n];
        if (o->buffer == UINT32_MAX) continue;
        size_t at = b->buffers[o->buffer].offset;
        if (memcmp(one + at, two + at, b->buffers[o->buffer].bytes) != 0)
            fail_msg("operand %u of task kind %d depends on the number of threads", n, (int)b->task.kind);
    }
    free(two);
    return one;
}

static double out(const bench *b, const char *region, int n, int64_t i, int64_t j) {
    const ctl_operand *o = &b->operands[n];
    return get(region + b->buffers[o->buffer].offset + o->offset, o->dtype, i * o->stride + j);
}

static uint64_t state = 1;
static uint32_t draw(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}
static double uniform(void) { return draw() / 2147483648.0 - 1; }
static double *randoms(int64_t n) {
    double *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = uniform();
    return x;
}

static void near(double got, double want, double tolerance, const char *what, int64_t i, int64_t j) {
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%s [%lld, %lld]: %.9g, should be %.9g", what, (long long)i, (long long)j, got, want);
}

/* ---- products ---- */
typedef struct product_case {
    int64_t m, n, k, pad;
    ctl_dtype operands, c, bias, addend; /* U8: absent */
    bool ta, tb, accumulate;
} product_case;

static float rounded(float x, ctl_dtype dtype) { return dtype == CTL_BF16 ? ctl_bf16_to_f32(ctl_f32_to_bf16(x)) : x; }

/* The plain f32 product first, against doubles; then the form asked for, which must have its bits with separate f32
 * additions and one rounding. */
static void check_product(const product_case *p) {
    double *a = randoms(p->m * p->k), *b = randoms(p->k * p->n), *old = randoms(p->m * p->n), *bias = randoms(p->n),
           *addend = randoms(p->m * p->n);
    int64_t ar = p->ta ? p->k : p->m, ac = p->ta ? p->m : p->k, br = p->tb ? p->n : p->k, bc = p->tb ? p->k : p->n;
    char *plain = NULL;
    bench t[2];
    for (int full = 0; full < 2; full++) {
        bench *x = &t[full];
        begin(x, TASK_MATMUL);
        x->task.transpose_a = p->ta, x->task.transpose_b = p->tb, x->task.accumulate = full && p->accumulate;
        add(x, ar, ac, ac + p->pad, p->pad / 2, p->operands, a);
        add(x, br, bc, bc + p->pad, 0, p->operands, b);
        add(x, p->m, p->n, p->n + (full ? p->pad : 0), 0, full ? p->c : CTL_F32, full && p->accumulate ? old : NULL);
        add(x, full && p->bias != CTL_U8 ? 1 : 0, p->n, p->n, 0, p->bias, bias);
        add(x, full && p->addend != CTL_U8 ? p->m : 0, p->n, p->n + p->pad, 0, p->addend, addend);
        prepare(x);
        char *region = run_both(x);
        for (int64_t i = 0; i < p->m; i++)
            for (int64_t j = 0; j < p->n; j++) {
                if (!full) {
                    double sum = 0, size = 0;
                    for (int64_t k = 0; k < p->k; k++) {
                        double term = a[p->ta ? k * p->m + i : i * p->k + k] * b[p->tb ? j * p->k + k : k * p->n + j];
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
        if (full) free(region);
        else plain = region;
    }
    free(plain), free(a), free(b), free(old), free(bias), free(addend);
}

static void test_products(void **unused) {
    (void)unused;
    const int64_t shapes[][3] = {{1, 1, 1}, {3, 5, 7}, {1, 17, 33}, {33, 1, 9}, {5, 3, 1}, {100, 100, 100}, {300, 40, 65},
                                 {70, 600, 33}, {257, 16, 130}, {8, 530, 300}, {16, 64, 513}, {130, 8, 90}, {64, 32, 1025}};
    const ctl_dtype f32 = CTL_F32, bf16 = CTL_BF16, none = CTL_U8;
    for (size_t s = 0; s < CTL_COUNT(shapes); s++)
        for (int turn = 0; turn < 8; turn++) {
            product_case p = {shapes[s][0], shapes[s][1], shapes[s][2], turn & 4 ? 6 : 0, turn % 2 ? bf16 : f32,
                              turn & 2 ? bf16 : f32, s % 3 == 0 ? none : s % 3 == 1 ? f32 : bf16,
                              turn % 3 == 0 ? none : turn % 3 == 1 ? f32 : bf16, (s + (size_t)turn) & 1, (turn >> 1 & 1) ^ (s % 2), false};
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
    add(&b, 4, 5, 5, 0, CTL_F32, NULL), add(&b, 6, 3, 3, 0, CTL_F32, NULL), add(&b, 4, 3, 3, 0, CTL_F32, NULL);
    add(&b, 0, 0, 0, 0, CTL_F32, NULL), add(&b, 0, 0, 0, 0, CTL_F32, NULL);
    assert_int_equal(ctl_cpu_task_scratch(&b.task, 2, &bytes), CTL_ERR_INTERNAL);
}

/* ---- attention ---- */
typedef struct attend_case {
    int64_t rows, head, heads, kv_heads, window;
    bool causal;
    ctl_dtype dtype, out; /* of operands; of o and the gradients */
    const int64_t *documents; /* ends with 0; NULL: `longest` rows each */
    int64_t longest;
} attend_case;

typedef struct attention {
    const attend_case *c;
    int64_t *begin, *length; /* of each row's document */
    double *q, *k, *v, *d_o;
} attention;

static bool sees(const attention *a, int64_t t, int64_t s) {
    if (s < a->begin[t] || s >= a->begin[t] + a->length[t]) return false;
    if (a->c->causal && s > t) return false;
    return a->c->window == 0 || t - s < a->c->window;
}

/* Row t, query head h: probabilities over all rows, and log(sum(exp)). */
static double probabilities(const attention *a, int64_t t, int64_t h, double *p) {
    const attend_case *c = a->c;
    int64_t g = h / (c->heads / c->kv_heads);
    double most = -INFINITY, sum = 0;
    for (int64_t s = 0; s < c->rows; s++) {
        p[s] = -INFINITY;
        if (!sees(a, t, s)) continue;
        double x = 0;
        for (int64_t e = 0; e < c->head; e++)
            x += a->q[(t * c->heads + h) * c->head + e] * a->k[(s * c->kv_heads + g) * c->head + e];
        p[s] = x / sqrt((double)c->head);
        if (p[s] > most) most = p[s];
    }
    for (int64_t s = 0; s < c->rows; s++) sum += p[s] = exp(p[s] - most);
    for (int64_t s = 0; s < c->rows; s++) p[s] /= sum;
    return most + log(sum);
}

static void naive_forward(const attention *a, double *o, double *lse) {
    const attend_case *c = a->c;
    double *p = malloc((size_t)c->rows * sizeof *p);
    for (int64_t t = 0; t < c->rows; t++)
        for (int64_t h = 0; h < c->heads; h++) {
            int64_t g = h / (c->heads / c->kv_heads);
            double l = probabilities(a, t, h, p);
            if (lse) lse[t * c->heads + h] = l;
            for (int64_t e = 0; e < c->head; e++) {
                double x = 0;
                for (int64_t s = 0; s < c->rows; s++) x += p[s] * a->v[(s * c->kv_heads + g) * c->head + e];
                o[(t * c->heads + h) * c->head + e] = x;
            }
        }
    free(p);
}

/* Gradients by their formulas, in double; checked against finite differences below. */
static void naive_backward(const attention *a, const double *o, double *dq, double *dk, double *dv) {
    const attend_case *c = a->c;
    double *p = malloc((size_t)c->rows * sizeof *p), scale = 1 / sqrt((double)c->head);
    memset(dq, 0, (size_t)(c->rows * c->heads * c->head) * sizeof *dq);
    memset(dk, 0, (size_t)(c->rows * c->kv_heads * c->head) * sizeof *dk);
    memset(dv, 0, (size_t)(c->rows * c->kv_heads * c->head) * sizeof *dv);
    for (int64_t t = 0; t < c->rows; t++)
        for (int64_t h = 0; h < c->heads; h++) {
            int64_t g = h / (c->heads / c->kv_heads), at = (t * c->heads + h) * c->head;
            double across = 0;
            probabilities(a, t, h, p);
            for (int64_t e = 0; e < c->head; e++) across += o[at + e] * a->d_o[at + e];
            for (int64_t s = 0; s < c->rows; s++) {
                if (p[s] == 0) continue;
                int64_t to = (s * c->kv_heads + g) * c->head;
                double dp = 0;
                for (int64_t e = 0; e < c->head; e++) dp += a->d_o[at + e] * a->v[to + e];
                double ds = p[s] * (dp - across) * scale;
                for (int64_t e = 0; e < c->head; e++) {
                    dq[at + e] += ds * a->k[to + e];
                    dk[to + e] += ds * a->q[at + e];
                    dv[to + e] += p[s] * a->d_o[at + e];
                }
            }
        }
    free(p);
}

static void documents_of(attention *a) {
    const attend_case *c = a->c;
    a->begin = malloc((size_t)c->rows * sizeof *a->begin), a->length = malloc((size_t)c->rows * sizeof *a->length);
    int64_t longest = c->longest ? c->longest : c->rows;
    for (int64_t t = 0, d = 0; t < c->rows; d++) {
        int64_t n = c->documents ? c->documents[d] : longest < c->rows - t ? longest : c->rows - t;
        assert_true(n > 0);
        for (int64_t i = 0; i < n; i++) a->begin[t + i] = t, a->length[t + i] = n;
        t += n;
    }
}

static double rms(const double *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sqrt(sum / (double)n);
}

static void compare(const bench *b, const char *region, int operand, const double *want, double tolerance, const char *what) {
    const ctl_operand *o = &b->operands[operand];
    double scale = 0.2 + rms(want, o->rows * o->cols); /* inputs are about 1 */
    for (int64_t i = 0; i < o->rows; i++)
        for (int64_t j = 0; j < o->cols; j++)
            near(out(b, region, operand, i, j), want[i * o->cols + j], tolerance * (scale + fabs(want[i * o->cols + j])), what, i, j);
}

static void add_places(bench *b, const attention *a, double *position, double *length) {
    const attend_case *c = a->c;
    for (int64_t t = 0; t < c->rows; t++) position[t] = (double)(t - a->begin[t]), length[t] = (double)a->length[t];
    add(b, c->documents ? c->rows : 0, 1, 1, 0, CTL_I32, position);
    add(b, c->documents ? c->rows : 0, 1, 1, 0, CTL_I32, length);
}

static void check_attend(const attend_case *c) {
    const int64_t qn = c->heads * c->head, kn = c->kv_heads * c->head, pad = c->head % 2 ? 3 : 8;
    attention a = {.c = c, .q = randoms(c->rows * qn), .k = randoms(c->rows * kn), .v = randoms(c->rows * kn),
                   .d_o = randoms(c->rows * qn)};
    documents_of(&a);
    for (int64_t i = 0; i < c->rows * qn; i++) a.q[i] *= 2; /* scores that matter */
    double *position = malloc((size_t)c->rows * 8), *length = malloc((size_t)c->rows * 8);
    double *o = malloc((size_t)(c->rows * qn) * 8), *lse = malloc((size_t)(c->rows * c->heads) * 8);
    double *dq = malloc((size_t)(c->rows * qn) * 8), *dk = malloc((size_t)(c->rows * kn) * 8), *dv = malloc((size_t)(c->rows * kn) * 8);
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
        {7, 8, 2, 2, 0, false, f32, f32, NULL, 0},           {7, 8, 2, 2, 0, true, bf16, bf16, NULL, 0},
        {1, 16, 1, 1, 0, true, f32, f32, NULL, 0},           {1, 3, 1, 1, 0, false, bf16, bf16, NULL, 0},
        {64, 64, 2, 2, 0, false, bf16, bf16, NULL, 0},       {130, 64, 2, 1, 0, true, f32, f32, NULL, 0},
        {200, 64, 4, 2, 0, true, bf16, bf16, one, 0},        {270, 20, 3, 1, 0, true, f32, f32, packed, 130},
        {270, 20, 3, 3, 0, false, bf16, bf16, packed, 0},    {270, 5, 2, 1, 0, true, bf16, f32, packed, 0},
        {270, 5, 2, 2, 0, false, f32, bf16, packed, 200},    {300, 32, 2, 1, 50, true, f32, f32, NULL, 0},
        {300, 32, 2, 2, 129, true, bf16, bf16, NULL, 0},     {300, 32, 1, 1, 1, true, f32, f32, NULL, 0},
        {150, 128, 1, 1, 0, true, bf16, bf16, NULL, 50},     {150, 80, 2, 1, 40, false, f32, f32, NULL, 0},
        {700, 16, 2, 1, 0, true, bf16, bf16, NULL, 0},       {700, 16, 1, 1, 300, true, f32, f32, NULL, 640},
    };
    for (size_t i = 0; i < CTL_COUNT(cases); i++) check_attend(&cases[i]);
}

/* The formulas of naive_backward against central differences of naive_forward. */
static void test_attention_formulas(void **unused) {
    (void)unused;
    const int64_t documents[] = {5, 1, 3, 0};
    const attend_case c = {9, 3, 4, 2, 3, true, CTL_F32, CTL_F32, documents, 0};
    const int64_t qn = c.heads * c.head, kn = c.kv_heads * c.head;
    attention a = {.c = &c, .q = randoms(c.rows * qn), .k = randoms(c.rows * kn), .v = randoms(c.rows * kn),
                   .d_o = randoms(c.rows * qn)};
    documents_of(&a);
    double *o = randoms(c.rows * qn), *dq = randoms(c.rows * qn), *dk = randoms(c.rows * kn), *dv = randoms(c.rows * kn);
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
    free(a.q), free(a.k), free(a.v), free(a.d_o), free(a.begin), free(a.length), free(o), free(dq), free(dk), free(dv);
}

static void test_bad_documents(void **unused) {
    (void)unused;
    double x[3 * 8] = {0};
    const double wrong[][2][3] = {{{0, 1, 2}, {4, 4, 4}}, {{0, 2, 1}, {3, 3, 3}}, {{1, 2, 3}, {3, 3, 3}}, {{0, 1, 0}, {2, 2, 0}},
                                  {{0, 1, 0}, {2, 2, -1}}};
    for (size_t i = 0; i < CTL_COUNT(wrong); i++) {
        bench b;
        double position[3], length[3];
        memcpy(position, wrong[i][0], sizeof position), memcpy(length, wrong[i][1], sizeof length);
        begin(&b, TASK_ATTEND);
        b.task.head = 8;
        for (int n = 0; n < 4; n++) add(&b, 3, 8, 8, 0, CTL_F32, x);
        add(&b, 3, 1, 1, 0, CTL_F32, NULL), add(&b, 3, 1, 1, 0, CTL_I32, position), add(&b, 3, 1, 1, 0, CTL_I32, length);
        prepare(&b);
        said[0] = 0;
        free(run_with(&b, 2, CTL_ERR_INPUT));
        assert_non_null(strstr(said, "document"));
    }
}

/* ---- the head ---- */
static void check_head(int64_t rows, int64_t vocab, int64_t cols, int64_t chunk, ctl_dtype dtype, ctl_dtype dx_dtype, bool dx,
                       bool dw, bool accumulate, int64_t pad) {
    double *x = randoms(rows * cols), *w = randoms(vocab * cols), *labels = malloc((size_t)rows * 8), norm = 0.37;
    double *want_dx = calloc((size_t)(rows * cols), 8), *old = randoms(vocab * cols), loss = 0;
    for (int64_t i = 0; i < rows; i++) labels[i] = i % 5 == 3 ? -100 : (double)(draw() % (uint32_t)vocab);
    bench b;
    begin(&b, TASK_HEAD);
    b.task.chunk = chunk, b.task.accumulate = accumulate;
    add(&b, rows, cols, cols + pad, 0, dtype, x), add(&b, vocab, cols, cols + pad, 0, dtype, w);
    add(&b, rows, 1, 1, 0, CTL_I32, labels), add(&b, 1, 1, 1, 0, CTL_F32, &norm), add(&b, 1, 1, 1, 0, CTL_F32, NULL);
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
            for (int64_t e = 0; e < cols; e++) want_dx[i * cols + e] += d * w[c * cols + e], want_dw[c * cols + e] += d * x[i * cols + e];
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
/* out[t] = in[t] * seed + gathered[index[t]] + step; partial sums of in for each chunk of rows; scratch must be ours. */
static void kernel(const ctl_rows_call *c, int64_t begin_row, int64_t end) {
    const ctl_rows_arg *a = c->args;
    for (int64_t t = begin_row; t < end; t++) {
        const float *in = (const float *)a[0].base + t * a[0].stride;
        const float *table = (const float *)a[1].base + a[1].index[t] * a[1].stride;
        float *to = (float *)a[3].base + t * a[3].stride, *sums = (float *)a[4].base + t / CTL_ROW_CHUNK * a[4].stride;
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
    add(b, rows, 3, 5, 1, CTL_F32, in), add(b, 7, 3, 4, 0, CTL_F32, table), add(b, rows, 1, 1, 0, CTL_I32, index);
    add(b, rows, 3, 3, 0, CTL_F32, NULL), add(b, (rows + CTL_ROW_CHUNK - 1) / CTL_ROW_CHUNK, 3, 16, 0, CTL_F32, NULL);
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
                near(out(&b, region, 3, t, j), in[t * 3 + j] * 7 + table[(int64_t)index[t] * 3 + j] + 3 + 11, 1e-5, "row", t, j);
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
        add(&b, rows, cols, cols + 2, 0, turn & 2 ? CTL_BF16 : CTL_F32, x), add(&b, rows, 1, 1, 0, CTL_I32, ids);
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
        add(&b, chunks, cols, cols + 7, 0, CTL_F32, x), add(&b, 1, cols, cols, 0, CTL_F32, accumulate ? old : NULL);
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
                for (int64_t j = 0; j < c; j++) near(out(&b, region, 1, j, i), rounded((float)x[i * c + j], to), 0, "turned", j, i);
            free(region), free(x);
        }
}

/* ---- every instruction set that this machine has ---- */
static double naive_product(const ctl_block *b, int64_t i, int64_t j) {
    const ctl_dtype dtype = b->bf16 ? CTL_BF16 : CTL_F32;
    double sum = 0;
    for (int64_t k = 0; k < b->k; k++)
        sum += get(b->a, dtype, b->transpose_a ? k * b->lda + i : i * b->lda + k) *
               get(b->b, dtype, b->transpose_b ? j * b->ldb + k : k * b->ldb + j);
    return sum;
}

static void check_lanes(const ctl_lanes *lanes) {
    const int64_t shapes[][3] = {{1, 1, 1}, {7, 17, 33}, {13, 64, 600}, {70, 90, 20}, {6, 48, 513}};
    for (size_t s = 0; s < CTL_COUNT(shapes); s++)
        for (int turn = 0; turn < 8; turn++) {
            ctl_block b = {shapes[s][0], shapes[s][1], shapes[s][2], .transpose_a = turn & 1, .transpose_b = turn & 2, .bf16 = turn & 4};
            b.lda = (b.transpose_a ? b.m : b.k) + 1, b.ldb = (b.transpose_b ? b.k : b.n) + 3;
            const int64_t an = b.lda * (b.transpose_a ? b.k : b.m), bn = b.ldb * (b.transpose_b ? b.n : b.k), width = (b.n + 15) / 16 * 16;
            float *a = malloc((size_t)an * 4), *right = malloc((size_t)bn * 4), *c = malloc((size_t)(b.m * width) * 4);
            char *scratch = aligned_alloc(64, ctl_block_scratch(b.m, b.n));
            memset(scratch, 0xff, ctl_block_scratch(b.m, b.n));
            for (int64_t i = 0; i < an; i++) put(a, b.bf16 ? CTL_BF16 : CTL_F32, i, uniform());
            for (int64_t i = 0; i < bn; i++) put(right, b.bf16 ? CTL_BF16 : CTL_F32, i, uniform());
            b.a = a, b.b = right, b.c = c;
            lanes->product(&b, scratch);
            for (int64_t i = 0; i < b.m; i++)
                for (int64_t j = 0; j < b.n; j++) near(c[i * width + j], naive_product(&b, i, j), 2e-6 * sqrt((double)b.k) * 4, lanes->name, i, j);
            free(a), free(right), free(c), free(scratch);
        }
    for (int64_t n = 1; n < 70; n += 3) { /* cross-entropy: values, the loss, and in place as bf16 */
        float x[80] = {0}, y[80];
        double sum = 0;
        for (int64_t i = 0; i < n; i++) x[i] = y[i] = (float)(8 * uniform()), sum += exp(x[i]);
        float loss = lanes->cross_entropy(y, n, n / 2, 0.5f, y, true);
        near(loss, log(sum) - x[n / 2], 3e-6 * (fabs((double)loss) + 8), "row loss", n, 0);
        for (int64_t i = 0; i < n; i++) {
            double want = (exp(x[i]) / sum - (i == n / 2)) * 0.5;
            near(get(y, CTL_BF16, i), want, 0.004 * fabs(want) + 1e-6, "row gradient", n, i);
        }
    }
}

static void test_instruction_sets(void **unused) {
    (void)unused;
    const ctl_lanes *best = ctl_lanes_choose(), *all[] = {&ctl_lanes_base, &ctl_lanes_v3, &ctl_lanes_v4, &ctl_lanes_bf16};
    for (size_t i = 0; i < CTL_COUNT(all); i++) {
        check_lanes(all[i]);
        if (all[i] == best) break;
    }
    assert_int_equal(ctl_cpu_supports_bf16(), best == &ctl_lanes_bf16);
}

/* NaN and infinity come through products' epilogues and attention. */
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
    double q[8] = {0}, v[8] = {0, NAN};
    begin(&b, TASK_ATTEND);
    b.task.head = 2;
    add(&b, 4, 2, 2, 0, CTL_F32, q), add(&b, 4, 2, 2, 0, CTL_F32, q), add(&b, 4, 2, 2, 0, CTL_F32, v);
    add(&b, 4, 2, 2, 0, CTL_F32, NULL), add(&b, 4, 1, 1, 0, CTL_F32, NULL);
    add(&b, 0, 0, 0, 0, CTL_I32, NULL), add(&b, 0, 0, 0, 0, CTL_I32, NULL);
    prepare(&b);
    region = run_both(&b);
    assert_true(out(&b, region, 3, 0, 0) == 0 && isnan(out(&b, region, 3, 3, 1)));
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
        if (opened) b.program.engine->close(session);
        else assert_int_equal(status, CTL_ERR_MEMORY);
        assert_int_equal(s.held, 0);
        assert_true(n < 1000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),        cmocka_unit_test(test_large_products),
        cmocka_unit_test(test_product_refuses), cmocka_unit_test(test_attention_formulas),
        cmocka_unit_test(test_attention),       cmocka_unit_test(test_bad_documents),
        cmocka_unit_test(test_head),            cmocka_unit_test(test_head_refuses),
        cmocka_unit_test(test_rows),            cmocka_unit_test(test_scatter),
        cmocka_unit_test(test_fold),            cmocka_unit_test(test_transpose),
        cmocka_unit_test(test_instruction_sets), cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
