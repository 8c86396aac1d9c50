/* bench_rows: what the CPU emitter's kernels reach on one core, in bytes of operands per second, beside
 * memcpy; and how long emission takes. Kernels are those of transformer blocks. Usage: bench_rows [rows]
 * (default 512). */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "compiler/emit/emit.h"

typedef struct maker {
    ctl_arena *arena;
    ctl_rowprog *p;
    CTL_VEC(ctl_row_operand) operands;
    CTL_VEC(ctl_row_instr) at;
} maker;

static uint32_t put(maker *m, uint32_t op, int64_t width, uint32_t nin, uint32_t a, uint32_t b) {
    ctl_row_instr q = {
        .op = (uint16_t)op, .width = width, .nin = nin, .in = CTL_NEW_ARRAY(m->arena, uint32_t, 2)};
    q.in[0] = a, q.in[1] = b;
    CTL_PUSH(m->arena, &m->at, q);
    return (uint32_t)m->at.n - 1;
}
static uint32_t un(maker *m, uint32_t op, uint32_t a) {
    return put(m, op, m->at.at[a].width, 1, a, 0);
}
static uint32_t bin(maker *m, uint32_t op, uint32_t a, uint32_t b) {
    int64_t w = m->at.at[a].width > 1 ? m->at.at[a].width : m->at.at[b].width;
    return put(m, op, w, 2, a, b);
}
static uint32_t num(maker *m, double x) {
    uint32_t v = put(m, OP_CONST, 1, 0, 0, 0);
    m->at.at[v].f = x;
    return v;
}
static uint32_t sum(maker *m, uint32_t a) {
    return put(m, OP_SUM, 1, 1, a, 0);
}
static uint32_t load(maker *m, ctl_row_at at, ctl_dtype dtype, int64_t cols) {
    CTL_PUSH(m->arena, &m->operands, (ctl_row_operand){at, dtype, cols});
    uint32_t v = put(m, ROW_LOAD, cols, 0, 0, 0);
    m->at.at[v].i[0] = (int64_t)m->operands.n - 1;
    return v;
}
static void write_to(maker *m, uint32_t op, ctl_row_at at, ctl_dtype dtype, uint32_t a) {
    if (dtype == CTL_BF16) {
        a = un(m, OP_CAST, a);
        m->at.at[a].dtype = CTL_BF16;
    }
    CTL_PUSH(m->arena, &m->operands, (ctl_row_operand){at, dtype, m->at.at[a].width});
    uint32_t v = put(m, op, m->at.at[a].width, 1, a, 0);
    m->at.at[v].i[0] = (int64_t)m->operands.n - 1;
}

static const ctl_dtype H = CTL_BF16, F = CTL_F32;

static void rmsnorm(maker *m) {
    uint32_t x = load(m, AT_ROW, H, 2048), g = load(m, AT_FIXED, F, 2048);
    uint32_t mean = bin(m, OP_MUL, sum(m, bin(m, OP_MUL, x, x)), num(m, 1.0 / 2048));
    uint32_t r = un(m, OP_RSQRT, bin(m, OP_ADD, mean, num(m, 1e-6)));
    write_to(m, ROW_STORE, AT_ROW, H, bin(m, OP_MUL, bin(m, OP_MUL, x, r), g));
}
static void rmsnorm_f32(maker *m) {
    uint32_t x = load(m, AT_ROW, F, 2048), g = load(m, AT_FIXED, F, 2048);
    uint32_t mean = bin(m, OP_MUL, sum(m, bin(m, OP_MUL, x, x)), num(m, 1.0 / 2048));
    uint32_t r = un(m, OP_RSQRT, bin(m, OP_ADD, mean, num(m, 1e-6)));
    write_to(m, ROW_STORE, AT_ROW, F, bin(m, OP_MUL, bin(m, OP_MUL, x, r), g));
}
static void layernorm(maker *m) {
    uint32_t x = load(m, AT_ROW, H, 768), y = load(m, AT_ROW, H, 768);
    uint32_t g = load(m, AT_FIXED, F, 768), b = load(m, AT_FIXED, F, 768);
    uint32_t s = bin(m, OP_ADD, x, y), mean = bin(m, OP_MUL, sum(m, s), num(m, 1.0 / 768)),
             d = bin(m, OP_SUB, s, mean);
    uint32_t v = bin(m, OP_MUL, sum(m, bin(m, OP_MUL, d, d)), num(m, 1.0 / 768));
    uint32_t r = un(m, OP_RSQRT, bin(m, OP_ADD, v, num(m, 1e-5)));
    write_to(m, ROW_STORE, AT_ROW, H, bin(m, OP_ADD, bin(m, OP_MUL, bin(m, OP_MUL, d, r), g), b));
}
static uint32_t sigmoid(maker *m, uint32_t x) {
    return bin(m, OP_DIV, num(m, 1), bin(m, OP_ADD, num(m, 1), un(m, OP_EXP, un(m, OP_NEG, x))));
}
static void swiglu(maker *m) {
    uint32_t g = load(m, AT_ROW, H, 5632), u = load(m, AT_ROW, H, 5632);
    write_to(m, ROW_STORE, AT_ROW, H, bin(m, OP_MUL, bin(m, OP_MUL, g, sigmoid(m, g)), u));
}
static void swiglu_grad(maker *m, ctl_dtype t) {
    uint32_t g = load(m, AT_ROW, t, 5632), u = load(m, AT_ROW, t, 5632), d = load(m, AT_ROW, t, 5632);
    uint32_t s = sigmoid(m, g), silu = bin(m, OP_MUL, g, s);
    uint32_t slope = bin(m, OP_MUL, s, bin(m, OP_ADD, num(m, 1), bin(m, OP_SUB, g, silu)));
    write_to(m, ROW_STORE, AT_ROW, t, bin(m, OP_MUL, d, silu));
    write_to(m, ROW_STORE, AT_ROW, t, bin(m, OP_MUL, bin(m, OP_MUL, d, u), slope));
}
static void swiglu_grad_bf16(maker *m) {
    swiglu_grad(m, H);
}
static void swiglu_grad_f32(maker *m) {
    swiglu_grad(m, F);
}
static uint32_t phi(maker *m, uint32_t x) {
    uint32_t e = un(m, OP_ERF, bin(m, OP_MUL, x, num(m, 0.70710678118654752)));
    return bin(m, OP_MUL, num(m, 0.5), bin(m, OP_ADD, num(m, 1), e));
}
static void gelu(maker *m) {
    uint32_t x = load(m, AT_ROW, H, 3072);
    write_to(m, ROW_STORE, AT_ROW, H, bin(m, OP_MUL, x, phi(m, x)));
}
static void gelu_grad(maker *m) {
    uint32_t x = load(m, AT_ROW, H, 3072), d = load(m, AT_ROW, H, 3072);
    uint32_t e = un(m, OP_EXP, bin(m, OP_MUL, bin(m, OP_MUL, x, x), num(m, -0.5)));
    uint32_t slope =
        bin(m, OP_ADD, phi(m, x), bin(m, OP_MUL, bin(m, OP_MUL, x, e), num(m, 0.39894228040143268)));
    write_to(m, ROW_STORE, AT_ROW, H, bin(m, OP_MUL, d, slope));
}
static void rope(maker *m) {
    m->p->split = 32;
    uint32_t x = load(m, AT_ROW, H, 64), c = load(m, AT_OUTER, F, 64), s = load(m, AT_OUTER, F, 64);
    uint32_t a = put(m, OP_COLUMNS, 32, 1, x, 0), b = put(m, OP_COLUMNS, 32, 1, x, 0);
    m->at.at[a].i[0] = 32, m->at.at[a].i[1] = 64, m->at.at[b].i[1] = 32;
    uint32_t turned = put(m, OP_CAT, 64, 2, un(m, OP_NEG, a), b);
    write_to(m, ROW_STORE, AT_ROW, H, bin(m, OP_ADD, bin(m, OP_MUL, x, c), bin(m, OP_MUL, turned, s)));
}
static void dropout_add(maker *m) {
    uint32_t x = load(m, AT_ROW, H, 768), y = load(m, AT_ROW, H, 768), d = un(m, OP_DROP, x);
    m->at.at[d].f = 0.1;
    m->p->nsites = 1;
    write_to(m, ROW_STORE, AT_ROW, H, bin(m, OP_ADD, d, y));
}
static void bias_grad(maker *m) {
    uint32_t x = load(m, AT_ROW, H, 3072);
    write_to(m, ROW_COLSUM, AT_CHUNK, F, x);
}
static void softmax(maker *m) {
    uint32_t x = load(m, AT_ROW, F, 4096), top = put(m, OP_ROWMAX, 1, 1, x, 0);
    uint32_t e = un(m, OP_EXP, bin(m, OP_SUB, x, top));
    write_to(m, ROW_STORE, AT_ROW, F, bin(m, OP_DIV, e, sum(m, e)));
}

static const struct {
    const char *name;
    void (*make)(maker *);
} benches[] = {
    {"rmsnorm 2048 bf16", rmsnorm},
    {"rmsnorm 2048 f32", rmsnorm_f32},
    {"add, layernorm 768 bf16", layernorm},
    {"swiglu 5632 bf16", swiglu},
    {"swiglu grad 5632 bf16", swiglu_grad_bf16},
    {"swiglu grad 5632 f32", swiglu_grad_f32},
    {"gelu 3072 bf16", gelu},
    {"gelu grad 3072 bf16", gelu_grad},
    {"rope 32 x 64 bf16", rope},
    {"dropout, add 768 bf16", dropout_add},
    {"bias grad 3072 bf16", bias_grad},
    {"softmax 4096 f32", softmax},
};
enum { N = CTL_COUNT(benches) };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *memory(ctl_arena *arena, size_t bytes) {
    char *p = ctl_arena_alloc(arena, bytes + 64);
    return p + (64 - (uintptr_t)p % 64) % 64;
}

static double measure(ctl_arena *arena, const ctl_rowprog *p, const ctl_rows_kernel *kernel, int64_t rows,
                      double *bytes) {
    ctl_rows_arg args[CTL_MOST_OPERANDS];
    uint32_t sites[4] = {1, 2, 3, 4};
    *bytes = 0;
    for (uint32_t k = 0; k < p->noperands; k++) {
        const ctl_row_operand *o = &p->operands[k];
        int64_t cols = o->cols * (o->at == AT_ROW ? p->split : 1), n = o->at == AT_FIXED ? 1 : rows;
        size_t size = ctl_dtype_size(o->dtype);
        args[k] = (ctl_rows_arg){.base = memory(arena, (size_t)(n * cols) * size), .stride = cols};
        if (o->at != AT_CHUNK && o->at != AT_FIXED) *bytes += (double)(n * cols) * (double)size;
        for (int64_t i = 0; i < n * cols; i++)
            if (size == 2)
                ((uint16_t *)args[k].base)[i] = (uint16_t)(0x3f00 + i % 256 + (i % 3 ? 0 : 0x8000));
            else
                ((float *)args[k].base)[i] = (float)(i % 256) / 64 - 2;
    }
    ctl_rows_call call = {.args = args, .sites = sites, .scratch = memory(arena, kernel->scratch_bytes)};
    double best = 1e30;
    for (int k = 0; k < 9; k++) {
        double t = now();
        kernel->run(&call, 0, rows);
        if ((t = now() - t) < best) best = t;
    }
    return best;
}

int main(int argc, char **argv) {
    jmp_buf jump;
    ctl_arena arena;
    int64_t rows = argc > 1 ? atoll(argv[1]) : 512;
    ctl_arena_init(&arena, NULL, &jump);
    if (setjmp(jump)) return 1;
    ctl_rowprog *programs[N];
    ctl_rows_kernel kernels[N] = {0};
    for (int k = 0; k < N; k++) {
        maker m = {.arena = &arena, .p = CTL_NEW(&arena, ctl_rowprog)};
        m.p->split = 1;
        benches[k].make(&m);
        m.p->operands = m.operands.at, m.p->noperands = (uint32_t)m.operands.n, m.p->at = m.at.at,
        m.p->n = (uint32_t)m.at.n;
        const char *why;
        if (!ctl_rowprog_verify(m.p, &why)) return fprintf(stderr, "%s: %s\n", benches[k].name, why), 1;
        programs[k] = m.p;
    }
    for (int threads = 1; threads <= 2; threads++) {
        ctl_cpu_code *code;
        ctl_emit_times t;
        const char *why;
        ctl_emit_options options = {.threads = threads};
        double start = now();
        if (ctl_cpu_emit(&arena, (const ctl_rowprog *const *)programs, N, &options, kernels, &code, &t, &why))
            return 1;
        printf("%d kernels, %d threads: %.1f ms (build %.1f, passes %.1f, code %.1f, load %.1f)\n", N,
               threads, 1e3 * (now() - start), 1e3 * t.build, 1e3 * t.optimise, 1e3 * t.object, 1e3 * t.load);
        if (threads == 2) {
            size_t n = (size_t)rows * 8192;
            char *a = memory(&arena, n), *b = memory(&arena, n);
            double best = 1e30;
            for (int k = 0; k < 9; k++) {
                double s = now();
                memcpy(a, b, n), b[k] = a[k + 1];
                if ((s = now() - s) < best) best = s;
            }
            printf("%-26s %8.1f GB/s\n", "memcpy", 2e-9 * (double)n / best);
            for (int k = 0; k < N; k++) {
                double bytes, s = measure(&arena, programs[k], &kernels[k], rows, &bytes);
                printf("%-26s %8.1f GB/s  %8.3f ms\n", benches[k].name, 1e-9 * bytes / s, 1e3 * s);
            }
        }
        ctl_cpu_code_free(code);
    }
    ctl_arena_free(&arena);
    return 0;
}
