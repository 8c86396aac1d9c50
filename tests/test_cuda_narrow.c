/* The CUDA back end's narrow products (compiler/emit/cuda/narrow.cu) on the host, under every order of threads and both ways in which
 * copies land: against plain loops, for shapes that fill no tile, both ways in which the right side lies, both types of what is added and of
 * the result, one addend and two, operands that are aligned for wide accesses and that are not; nothing else is written; and faults planted in the source. */
#include "tests/cuda/kernels.h"

#include <math.h>

#include "base/dtype.h"
#include "runtime/cuda/tasks.h"

static const char *const texts[] = {"prelude", "tensor_prelude", "narrow", NULL};
enum { OWN_TEXT = 2 }; /* faults are planted behind the preludes */

static uint32_t dice = 7;
static float uniform(void) {
    dice = dice * 1664525u + 1013904223u;
    return (float)((dice >> 8) / 8388608.0 - 1);
}

/* ---- matrices with gaps ---- */
typedef struct matrix {
    char *at; /* the first element; a marked byte stands wherever none does */
    void *memory;
    int rows, cols, stride, bf16;
    size_t bytes;
} matrix;
enum { MARK = 0x5a };

static size_t size_of(const matrix *m) { return m->bf16 ? 2 : 4; }
static float get(const matrix *m, int r, int c) {
    const size_t i = (size_t)r * (size_t)m->stride + (size_t)c;
    return m->bf16 ? ctl_bf16_to_f32(((uint16_t *)(void *)m->at)[i]) : ((float *)(void *)m->at)[i];
}
static void put(const matrix *m, int r, int c, float x) {
    const size_t i = (size_t)r * (size_t)m->stride + (size_t)c;
    if (m->bf16) ((uint16_t *)(void *)m->at)[i] = ctl_f32_to_bf16(x);
    else ((float *)(void *)m->at)[i] = x;
}
/* skew: elements that the first lies behind an address of 16 bytes, and that rows lie further apart. */
static matrix make(int rows, int cols, int bf16, int skew) {
    matrix m = {.rows = rows, .cols = cols, .bf16 = bf16, .stride = (cols + 7) / 8 * 8 + skew};
    m.bytes = ((size_t)rows * (size_t)m.stride + 16) * size_of(&m);
    m.memory = aligned_alloc(16, (m.bytes + 15) / 16 * 16);
    assert_non_null(m.memory);
    memset(m.memory, MARK, m.bytes);
    m.at = (char *)m.memory + (size_t)skew * size_of(&m);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) put(&m, r, c, uniform());
    return m;
}
/* Whether every byte is as before but for the elements. */
static bool clean(const matrix *m) {
    for (size_t i = 0; i < m->bytes; i++) {
        const size_t from = (size_t)(m->at - (char *)m->memory), unit = size_of(m), row = (size_t)m->stride * unit;
        const bool element = i >= from && (i - from) / row < (size_t)m->rows && (i - from) % row < (size_t)m->cols * unit;
        if (!element && ((unsigned char *)m->memory)[i] != MARK) return false;
    }
    return true;
}

typedef struct shape {
    int rows, cols, inner;
} shape;
static bool narrow(launcher *l, const shape *s, int turned, int bf16_addend, int bf16_c, int skew, bool twice) {
    matrix a = make(s->rows, s->inner, 1, skew), b = turned ? make(s->cols, s->inner, 1, skew) : make(s->inner, s->cols, 1, skew);
    matrix addend = make(s->rows, s->cols, bf16_addend, skew), c = make(s->rows, s->cols, bf16_c, skew);
    matrix more = make(s->rows, s->cols, 1, skew);
    const int wide = skew % 8 == 0, tiles = s->rows > 64 ? 2 : 1;
    const ctl_cuda_narrow call = {.a = (uint16_t *)(void *)a.at, .b = (uint16_t *)(void *)b.at, .addend = addend.at, .more = twice ? (uint16_t *)(void *)more.at : NULL, .c = c.at, .a_stride = a.stride,
                                  .b_stride = b.stride, .addend_stride = addend.stride, .more_stride = more.stride, .c_stride = c.stride, .rows = s->rows, .cols = s->cols,
                                  .inner = s->inner, .turned = turned, .bf16_addend = bf16_addend, .bf16_c = bf16_c,
                                  .wide_a = wide && s->inner % 8 == 0, .wide_b = wide && s->inner % 8 == 0, .wide = wide, .tiles = tiles};
    bool right = launch(l, "task_narrow", &call, (s->cols + 63) / 64, tiles, CTL_CUDA_NARROW_THREADS, ctl_cuda_narrow_shared(s->inner));
    for (int r = 0; r < s->rows && right; r++)
        for (int n = 0; n < s->cols && right; n++) {
            double sum = 0, size = 0;
            for (int k = 0; k < s->inner; k++) {
                const double x = (double)get(&a, r, k), y = (double)(turned ? get(&b, n, k) : get(&b, k, n));
                sum = fma(x, y, sum), size += fabs(x * y);
            }
            const double want = (double)get(&addend, r, n) + (twice ? (double)get(&more, r, n) : 0) + sum, got = (double)get(&c, r, n);
            /* Roundings of f32 sums, and one to bf16, of 8 bits. */
            right = fabs(got - want) <= (size + 2) * 1e-6 + (bf16_c ? fabs(want) / 256 : 0);
        }
    right = right && clean(&c);
    free(a.memory), free(b.memory), free(addend.memory), free(more.memory), free(c.memory);
    return right;
}

static bool everything(launcher *l, void *ctx) {
    (void)ctx;
    static const shape shapes[] = {{1, 1, 1}, {70, 40, 8}, {5, 130, 24}, {130, 72, 64}, {65, 67, 128}};
    for (size_t k = 0; k < CTL_COUNT(shapes); k++)
        for (int kind = 0; kind < 8; kind++)
            if ((k < 2 || (kind + (int)k) % 3 == 0) && !narrow(l, &shapes[k], kind & 1, kind >> 1 & 1, !(kind >> 1 & 1), kind & 4 ? 3 : 8, (kind + (int)k) % 2)) return false;
    return true;
}

static void test_products(void **state) {
    (void)state;
    launcher l = {0};
    char *source = kernel_source("", texts, OWN_TEXT, NULL, NULL, 0);
    const char *why = shared_object_open(&l.object, (const char *const *)&source, 1, "-O1");
    if (why) fail_msg("%s", why);
    if (!launch_all(&l, everything, NULL)) fail_msg("order %d, landing %d: %s", l.order, l.landing, l.fault[0] ? l.fault : "another result");
    free(source);
    shared_object_close(&l.object);
}

static void test_planted_faults(void **state) {
    (void)state;
    static const struct {
        const char *what, *by;
    } faults[] = {
        {"SYNC_BLOCK();", ";"},         {"COPY_WAIT(0);", ";"},        {"column % 8 / 2", "column % 8"},   {"+ sums[e]", "+ sums[0]"},
        {"k < inner", "k <= inner"},    {"k + e < inner", "1"},        {"lane % 16) * row", "lane % 8) * row"},
        {"lane / 16 * 8", "0"},         {"lane / 8 % 2", "lane / 16"}, {"warp * 16 + lane / 4", "warp * 16"}, {"r >= call.rows", "0"},
        {"s[j + e / 2]", "s[j + e % 2]"}, {"+ sums[e]", ""},               {"x[e] + y[e]", "x[e]"},       {"call->more_stride", "call->addend_stride + 1"},  {"first += call.tiles * OWN", "first += OWN * 4"},
        {"round_bf16(x[e])", "x[e]"},   {"call->cols - at < 8", "0"},  {"lane % 4 * 8", "lane % 4 * 4"},
    };
    int planted = 0, missed = 0;
    for (size_t f = 0; f < CTL_COUNT(faults); f++)
        for (int nth = 0;; nth++) {
            char *source = kernel_source("", texts, OWN_TEXT, faults[f].what, faults[f].by, nth);
            if (!source) {
                if (nth == 0) fail_msg("the source has no `%s`", faults[f].what);
                break;
            }
            planted++;
            if (!source_fails(source, everything, NULL))
                missed++, print_message("`%s` number %d replaced by `%s`: nothing noticed it\n", faults[f].what, nth, faults[f].by);
            free(source);
        }
    assert_true(planted >= 20);
    assert_int_equal(missed, 0);
}

/* There is no race, and without any of the barriers, or the wait, there is one to the watch. */
static void test_races(void **state) {
    (void)state;
    int planted = 0;
    skip_under_sanitizers();
    char *source = kernel_source(SOURCE_PLANTED, texts, OWN_TEXT, NULL, NULL, 0);
    const size_t from = (size_t)(strstr(source, "KERNEL(task_narrow") - source);
    source = source_with(source, from, "SYNC_BLOCK();", ";", &planted);
    source = source_with(source, from, "COPY_WAIT(0);", ";", &planted);
    assert_int_equal(planted, 3);
    expect_races(source, planted, everything, NULL);
    free(source);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products), cmocka_unit_test(test_races), cmocka_unit_test(test_planted_faults)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
