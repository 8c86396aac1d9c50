/* cpu_harness: what the tests of the CPU engine share: a program of one task built by hand, run with all
 * regions full of NaN, by 1 and by 2 threads, and comparisons that fail on NaN. */
#ifndef CTL_TESTS_CPU_HARNESS_H
#define CTL_TESTS_CPU_HARNESS_H

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

static inline void begin(bench *b, ctl_task_kind kind) {
    memset(b, 0, sizeof *b);
    b->task = (ctl_task){.kind = kind,
                         .name = "a task",
                         .operands = b->operands,
                         .index_of = b->index_of,
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
static inline uint32_t add_buffer(bench *b, size_t bytes) {
    ctl_program *p = &b->program;
    uint32_t n = (uint32_t)p->nbuffers++;
    assert_true(n < MOST_BUFFERS);
    b->buffers[n] = (ctl_buffer){
        .region = REGION_STEP, .bytes = bytes, .offset = p->region_bytes[REGION_STEP], .name = "b"};
    p->region_bytes[REGION_STEP] += (bytes + BUFFER_GAP + 63) / 64 * 64;
    return n;
}

/* The next operand: rows x cols inside rows of `stride`, `skip` elements into its buffer. values: rows * cols
 * or NULL. */
static inline int add(bench *b, int64_t rows, int64_t cols, int64_t stride, int64_t skip, ctl_dtype dtype,
                      double *values) {
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

static inline double get(const void *p, ctl_dtype dtype, int64_t i) {
    if (dtype == CTL_BF16) return ctl_bf16_to_f32(((const uint16_t *)p)[i]);
    return dtype == CTL_I32 ? ((const int32_t *)p)[i] : ((const float *)p)[i];
}
static inline void put(void *p, ctl_dtype dtype, int64_t i, double x) {
    if (dtype == CTL_BF16)
        ((uint16_t *)p)[i] = ctl_f32_to_bf16((float)x);
    else if (dtype == CTL_I32)
        ((int32_t *)p)[i] = (int32_t)x;
    else
        ((float *)p)[i] = (float)x;
}

static inline void prepare(bench *b) {
    size_t bytes = 0;
    if (b->task.kind == TASK_ROWS)
        bytes = ctl_cpu_rows_scratch(b->kernel.scratch_bytes, 2);
    else
        assert_int_equal(ctl_cpu_task_scratch(&b->task, 2, &bytes), CTL_OK);
    if (bytes == 0) return;
    b->task.scratch = (ctl_operand){add_buffer(b, bytes), 0, 1, (int64_t)bytes, (int64_t)bytes, CTL_U8};
}

static char said[512];
static inline void keep_said(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    snprintf(said, sizeof said, "%s", d->message);
}

/* Runs and returns the step region's bytes, which the caller frees. */
static inline char *run_with(bench *b, int threads, ctl_status expected) {
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
                put(b->program.engine->address(s, o), o->dtype, i * o->stride + j,
                    b->values[n][i * o->cols + j]);
    }
    assert_int_equal(b->program.engine->run(s, RUN_FORWARD), expected);
    char *copy = malloc(bytes);
    memcpy(copy, region, bytes);
    for (size_t k = 0; k < b->program.nbuffers; k++) { /* nothing was written behind a buffer */
        const ctl_buffer *buffer = &b->buffers[k];
        for (size_t i = 0; i < BUFFER_GAP; i++)
            if ((unsigned char)region[buffer->offset + buffer->bytes + i] != 0xff)
                fail_msg("buffer %zu of task kind %d: written %zu bytes behind its end", k, (int)b->task.kind,
                         i);
    }
    b->program.engine->close(s);
    return copy;
}

/* By 1 and by 2 threads: equal bits of every operand. */
static inline char *run_both(bench *b) {
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

static inline double out(const bench *b, const char *region, int n, int64_t i, int64_t j) {
    const ctl_operand *o = &b->operands[n];
    return get(region + b->buffers[o->buffer].offset + o->offset, o->dtype, i * o->stride + j);
}

static uint64_t state = 1;
static inline uint32_t draw(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}
static inline double uniform(void) {
    return draw() / 2147483648.0 - 1;
}
static inline double *randoms(int64_t n) {
    double *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = uniform();
    return x;
}

static inline void near(double got, double want, double tolerance, const char *what, int64_t i, int64_t j) {
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%s [%lld, %lld]: %.9g, should be %.9g", what, (long long)i, (long long)j, got, want);
}

static inline float rounded(float x, ctl_dtype dtype) {
    return dtype == CTL_BF16 ? ctl_bf16_to_f32(ctl_f32_to_bf16(x)) : x;
}

static inline double rms(const double *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sqrt(sum / (double)n);
}

static inline void compare(const bench *b, const char *region, int operand, const double *want,
                           double tolerance, const char *what) {
    const ctl_operand *o = &b->operands[operand];
    double scale = 0.2 + rms(want, o->rows * o->cols); /* inputs are about 1 */
    for (int64_t i = 0; i < o->rows; i++)
        for (int64_t j = 0; j < o->cols; j++)
            near(out(b, region, operand, i, j), want[i * o->cols + j],
                 tolerance * (scale + fabs(want[i * o->cols + j])), what, i, j);
}

#endif
