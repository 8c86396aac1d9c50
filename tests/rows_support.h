/* rows_support: how the tests of row programs build programs, make data and run the emitted kernels and the
 * interpreter on it. */
#ifndef CTL_TESTS_ROWS_SUPPORT_H
#define CTL_TESTS_ROWS_SUPPORT_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "compiler/emit/emit.h"
#include "compiler/kernel/rowprog_run.h"
#include "compiler/kernel/rowprog_schedule.h"

/* ---- building programs ---- */
typedef struct maker {
    ctl_arena *arena;
    ctl_rowprog *p;
    CTL_VEC(ctl_row_operand) operands;
    CTL_VEC(ctl_row_instr) at;
} maker;

static inline maker start(ctl_arena *arena, int split) {
    maker m = {.arena = arena, .p = CTL_NEW(arena, ctl_rowprog)};
    m.p->split = split;
    return m;
}

static inline uint32_t operand(maker *m, ctl_row_at at, ctl_dtype dtype, int64_t cols) {
    CTL_PUSH(m->arena, &m->operands, (ctl_row_operand){at, dtype, cols});
    return (uint32_t)m->operands.n - 1;
}

static inline uint32_t put(maker *m, uint32_t op, int64_t width, uint32_t nin, const uint32_t *in) {
    ctl_row_instr q = {
        .op = (uint16_t)op, .width = width, .nin = nin, .in = CTL_NEW_ARRAY(m->arena, uint32_t, nin + 1)};
    for (uint32_t k = 0; k < nin; k++) q.in[k] = in[k];
    CTL_PUSH(m->arena, &m->at, q);
    return (uint32_t)m->at.n - 1;
}
static inline int64_t width_of(const maker *m, uint32_t v) {
    return m->at.at[v].width;
}

static inline uint32_t load(maker *m, ctl_row_at at, ctl_dtype dtype, int64_t cols) {
    uint32_t o = operand(m, at, dtype, cols), v = put(m, ROW_LOAD, cols, 0, NULL);
    m->at.at[v].i[0] = o;
    return v;
}
static inline uint32_t number(maker *m, double x) {
    uint32_t v = put(m, OP_CONST, 1, 0, NULL);
    m->at.at[v].f = x;
    return v;
}
static inline uint32_t op3(maker *m, uint32_t op, uint32_t nin, uint32_t a, uint32_t b, uint32_t c) {
    uint32_t in[3] = {a, b, c};
    int64_t width = 1;
    for (uint32_t k = 0; k < nin; k++)
        if (width_of(m, in[k]) > 1) width = width_of(m, in[k]);
    if (op == OP_SUM || op == OP_ROWMAX) width = 1;
    return put(m, op, width, nin, in);
}
static inline uint32_t op1(maker *m, uint32_t op, uint32_t a) {
    return op3(m, op, 1, a, a, a);
}
static inline uint32_t op2(maker *m, uint32_t op, uint32_t a, uint32_t b) {
    return op3(m, op, 2, a, b, b);
}
static inline uint32_t cast(maker *m, ctl_dtype dtype, uint32_t a) {
    uint32_t v = op1(m, OP_CAST, a);
    m->at.at[v].dtype = (uint8_t)dtype;
    return v;
}
static inline uint32_t drop(maker *m, double p, uint32_t a) {
    uint32_t v = op1(m, OP_DROP, a);
    m->at.at[v].f = p;
    m->at.at[v].i[0] = m->p->nsites++;
    return v;
}
static inline uint32_t columns(maker *m, uint32_t a, int64_t from, int64_t to) {
    uint32_t v = put(m, OP_COLUMNS, to - from, 1, &a);
    m->at.at[v].i[0] = from, m->at.at[v].i[1] = to;
    return v;
}
static inline uint32_t cat(maker *m, uint32_t n, const uint32_t *parts) {
    int64_t width = 0;
    for (uint32_t k = 0; k < n; k++) width += width_of(m, parts[k]);
    return put(m, OP_CAT, width, n, parts);
}
/* Writes a to a new operand, `cols` wide; returns the operand. */
static inline uint32_t write_to(maker *m, uint32_t op, ctl_row_at at, ctl_dtype dtype, int64_t cols,
                                uint32_t a) {
    uint32_t o = operand(m, at, dtype, cols), v = put(m, op, cols, 1, &a);
    m->at.at[v].i[0] = o;
    return o;
}
static inline uint32_t store(maker *m, ctl_dtype dtype, uint32_t a) {
    return write_to(m, ROW_STORE, AT_ROW, dtype, width_of(m, a), a);
}

static inline ctl_rowprog *finish(maker *m) {
    m->p->operands = m->operands.at, m->p->noperands = (uint32_t)m->operands.n;
    m->p->at = m->at.at, m->p->n = (uint32_t)m->at.n;
    return m->p;
}
static inline ctl_rowprog *verified(maker *m) {
    const char *why = NULL;
    ctl_rowprog *p = finish(m);
    if (!ctl_rowprog_verify(p, &why)) {
        ctl_text text = {.arena = m->arena};
        ctl_rowprog_print(p, &text);
        fail_msg("%s in\n%s", why, text.at);
    }
    return p;
}

/* ---- random numbers and data ---- */
typedef struct dice {
    uint32_t counter[4];
    uint64_t seed;
} dice;
static inline uint32_t roll(dice *d, uint32_t below) {
    uint32_t out[4];
    d->counter[0]++;
    ctl_philox(d->counter, d->seed, out);
    return below ? out[0] % below : out[0];
}
static inline float real(dice *d, bool wild) {
    static const float odd[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-40f, -1e-42f, 3e38f, -87.5f, 1e5f};
    if (wild && roll(d, 16) == 0) return odd[roll(d, CTL_COUNT(odd))];
    return ((float)roll(d, 0) - 2147483648.0f) / 536870912.0f; /* -4 .. 4 */
}

enum { ROWS = 70, TABLE = 9 };

/* The memory of one call: every operand with rows of odd strides and gaps between them. */
typedef struct memory {
    ctl_rows_arg *args;
    size_t *bytes;
    ctl_rows_call call;
    float *scratch;
    size_t nscratch;
} memory;

static inline int64_t rows_of(const ctl_row_operand *o) {
    return o->at == AT_FIXED ? 1 : o->at == AT_GATHER ? TABLE : o->at == AT_CHUNK ? (ROWS + 63) / 64 : ROWS;
}

static inline void fill(const ctl_rowprog *p, memory *m, dice *d, bool wild) {
    for (uint32_t k = 0; k < p->noperands; k++)
        for (size_t i = 0; i < m->bytes[k] / ctl_dtype_size(p->operands[k].dtype); i++) {
            float x = real(d, wild);
            if (p->operands[k].dtype == CTL_F32)
                ((float *)m->args[k].base)[i] = x;
            else if (p->operands[k].dtype == CTL_BF16)
                ((uint16_t *)m->args[k].base)[i] = ctl_f32_to_bf16(x);
            else
                ((int32_t *)m->args[k].base)[i] = (int32_t)roll(d, 41) - 20;
        }
}

static inline memory memory_for(ctl_arena *arena, const ctl_rowprog *p, dice *d, bool wild) {
    memory m = {.args = CTL_NEW_ARRAY(arena, ctl_rows_arg, p->noperands + 1),
                .bytes = CTL_NEW_ARRAY(arena, size_t, p->noperands + 1)};
    int32_t *index = CTL_NEW_ARRAY(arena, int32_t, ROWS);
    uint32_t *sites = CTL_NEW_ARRAY(arena, uint32_t, p->nsites + 1);
    for (int t = 0; t < ROWS; t++) index[t] = (int32_t)roll(d, TABLE);
    for (uint32_t k = 0; k < p->nsites; k++) sites[k] = roll(d, 1000);
    for (uint32_t k = 0; k < p->noperands; k++) {
        const ctl_row_operand *o = &p->operands[k];
        m.args[k].stride = o->cols * (o->at == AT_ROW ? p->split : 1) + roll(d, 5);
        m.args[k].index = index;
        m.bytes[k] = (size_t)(rows_of(o) * m.args[k].stride) * ctl_dtype_size(o->dtype);
        /* Only elements are aligned: begin 4 bytes into the 16-byte alignment of the arena. */
        m.args[k].base = (char *)ctl_arena_alloc(arena, m.bytes[k] + 4) + 4;
    }
    m.nscratch = ctl_rowprog_scratch(p, arena);
    m.scratch = CTL_NEW_ARRAY(arena, float, m.nscratch + 32);
    m.scratch += (64 - (uintptr_t)m.scratch % 64) / 4 % 16;
    m.call = (ctl_rows_call){.args = m.args,
                             .sites = sites,
                             .seed = 0x123456789abcdefu,
                             .row0 = 1000 + roll(d, 100),
                             .scratch = m.scratch,
                             .step = roll(d, 50)};
    fill(p, &m, d, wild);
    return m;
}

static inline memory twin_of(ctl_arena *arena, const ctl_rowprog *p, const memory *m) {
    memory w = *m;
    w.args = CTL_NEW_ARRAY(arena, ctl_rows_arg, p->noperands + 1);
    for (uint32_t k = 0; k < p->noperands; k++) {
        w.args[k] = m->args[k];
        w.args[k].base = (char *)ctl_arena_alloc(arena, w.bytes[k] + 4) + 4;
        memcpy(w.args[k].base, m->args[k].base, w.bytes[k]);
    }
    w.call.args = w.args;
    return w;
}

static inline uint32_t bits(ctl_dtype dtype, const void *a, size_t i) {
    return dtype == CTL_BF16 ? (uint32_t)((const uint16_t *)a)[i] << 16 : ((const uint32_t *)a)[i];
}
static inline bool same(ctl_dtype dtype, const void *a, const void *b, size_t i) {
    uint32_t x = bits(dtype, a, i), y = bits(dtype, b, i);
    return x == y || (dtype != CTL_I32 && (x & 0x7fffffff) > 0x7f800000 && (y & 0x7fffffff) > 0x7f800000);
}

static inline void compare(ctl_arena *arena, const ctl_rowprog *p, const memory *a, const memory *b,
                           const char *what) {
    for (uint32_t k = 0; k < p->noperands; k++)
        for (size_t i = 0; i < a->bytes[k] / ctl_dtype_size(p->operands[k].dtype); i++)
            if (!same(p->operands[k].dtype, a->args[k].base, b->args[k].base, i)) {
                ctl_text text = {.arena = arena};
                ctl_rowprog_print(p, &text);
                fail_msg("%s: operand %u element %zu (row %zu): %08x is not %08x in\n%s", what, k, i,
                         i / (size_t)a->args[k].stride, bits(p->operands[k].dtype, a->args[k].base, i),
                         bits(p->operands[k].dtype, b->args[k].base, i), text.at);
            }
}

/* Poisons the scratch, runs, and sees that nothing was written behind it. */
static inline void run_kernel(const ctl_rows_kernel *k, const memory *m, int64_t begin, int64_t end) {
    for (size_t i = 0; i < m->nscratch; i++) m->scratch[i] = NAN;
    for (size_t i = 0; i < 16; i++) m->scratch[m->nscratch + i] = 12345.0f;
    k->run(&m->call, begin, end);
    for (size_t i = 0; i < 16; i++) assert_true(m->scratch[m->nscratch + i] == 12345.0f);
}

typedef struct fixture {
    ctl_arena arena;
    jmp_buf jump;
} fixture;
static inline int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    if (!f) return 1;
    *state = f;
    ctl_arena_init(&f->arena, NULL, &f->jump);
    return 0;
}
static inline int tear_down(void **state) {
    fixture *f = *state;
    ctl_arena_free(&f->arena);
    free(f);
    return 0;
}
static inline ctl_arena *arena_of(void **state) {
    fixture *f = *state;
    if (setjmp(f->jump)) fail_msg("out of memory");
    return &f->arena;
}

/* Whether this machine runs code for x86-64-v3 (4: -v4); 0, the host's own, always. */
static inline bool runs(int vector_cpu) {
    static const char *const flags[] = {" avx2 ", " avx512vl "};
#ifdef CTL_ROWS_ON_CUDA
    return true; /* there it is an order of threads */
#endif
    if (vector_cpu == 0) return true;
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f) return false;
    char line[8192];
    bool found = false;
    while (!found && fgets(line, sizeof line, f)) found = strstr(line, flags[vector_cpu - 3]) != NULL;
    fclose(f);
    return found;
}
#ifdef CTL_ROWS_ON_CUDA
#include "tests/cuda/rows_cuda.h"
#else
static const int vector_cpus[] = {0, 3, 4};

/* Skips the test in a build without the CPU back end. */
static inline ctl_cpu_code *emit(ctl_arena *arena, ctl_rowprog **programs, size_t n, int vector_cpu,
                                 int threads, ctl_rows_kernel *kernels) {
    ctl_cpu_code *code = NULL;
#ifdef CTL_HAVE_CPU
    const char *why;
    ctl_emit_options options = {.vector_cpu = vector_cpu, .threads = threads};
    ctl_status status =
        ctl_cpu_emit(arena, (const ctl_rowprog *const *)programs, n, &options, kernels, &code, NULL, &why);
    if (status != CTL_OK) fail_msg("%s", why ? why : "no reason");
#else
    (void)arena, (void)programs, (void)n, (void)vector_cpu, (void)threads, (void)kernels;
    skip();
#endif
    return code;
}
static inline void release(ctl_cpu_code *code) {
#ifdef CTL_HAVE_CPU
    ctl_cpu_code_free(code);
#else
    (void)code;
#endif
}

#endif

/* Emitter and interpreter on the same data, bit for bit; in one range and in ranges. */
static inline void check_all(ctl_arena *arena, ctl_rowprog **programs, size_t n, int vector_cpu, dice *d,
                             bool wild) {
    ctl_rows_kernel *kernels = CTL_NEW_ARRAY(arena, ctl_rows_kernel, n);
    ctl_cpu_code *code = emit(arena, programs, n, vector_cpu, 2, kernels);
    for (size_t k = 0; k < n; k++) {
        const ctl_rowprog *p = programs[k];
        memory want = memory_for(arena, p, d, wild), got = twin_of(arena, p, &want),
               parts = twin_of(arena, p, &want);
        float *values = CTL_NEW_ARRAY(arena, float, ctl_rowprog_run_floats(p));
        assert_int_equal(kernels[k].scratch_bytes, want.nscratch * sizeof(float));
        assert_int_equal(kernels[k].sums_columns, ctl_rowprog_sums_columns(p));
        ctl_rowprog_run(p, &want.call, values, 0, ROWS);
        run_kernel(&kernels[k], &got, 0, ROWS);
        compare(arena, p, &want, &got, "one range");
        run_kernel(&kernels[k], &parts, 64, ROWS);
        run_kernel(&kernels[k], &parts, 5, 5);
        if (kernels[k].sums_columns)
            run_kernel(&kernels[k], &parts, 0, 64);
        else
            run_kernel(&kernels[k], &parts, 3, 64), run_kernel(&kernels[k], &parts, 0, 3);
        compare(arena, p, &want, &parts, "three ranges");
    }
    release(code);
}

#endif
