/* bench_tasks: rates of the CPU engine's products and attention, alone. Each line: what, milliseconds,
 * GFLOP/s, and for attention its part of the best product's rate here. FLOPs count what is computed without
 * masks skipped: causal attention counts the half that it sees. The fastest of several runs; the argument is
 * the number of threads (2). */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/cpu/cpu.h"

typedef struct bench {
    ctl_program program;
    ctl_buffer buffers[16];
    ctl_operand operands[16];
    ctl_task task;
} bench;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void begin(bench *b, ctl_task_kind kind, int threads) {
    *b = (bench){.task = {.kind = kind, .name = "bench", .operands = b->operands, .scratch = CTL_NO_OPERAND}};
    b->program.engine = &ctl_cpu_engine;
    b->program.threads = threads;
    b->program.buffers = b->buffers;
    b->program.run[RUN_FORWARD] = (ctl_task_list){&b->task, 1};
}

static uint32_t add_buffer(bench *b, size_t bytes) {
    ctl_program *p = &b->program;
    b->buffers[p->nbuffers] = (ctl_buffer){
        .region = REGION_STEP, .bytes = bytes, .offset = p->region_bytes[REGION_STEP], .name = ""};
    p->region_bytes[REGION_STEP] += (bytes + 63) / 64 * 64;
    return (uint32_t)p->nbuffers++;
}

static void add(bench *b, int64_t rows, int64_t cols, int64_t stride, ctl_dtype dtype) {
    b->operands[b->task.noperands++] =
        rows ? (ctl_operand){add_buffer(b, (size_t)(rows * stride) * ctl_dtype_size(dtype)),
                             0,
                             rows,
                             cols,
                             stride,
                             dtype}
             : CTL_NO_OPERAND;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of the fastest run (others share the machine), every operand full of small numbers; positions and
 * lengths for documents of `sequence`. */
static double measure(bench *b, int64_t sequence) {
    size_t bytes;
    ctl_session *s;
    if (ctl_cpu_task_scratch(&b->task, b->program.threads, &bytes) != CTL_OK) return -1;
    b->task.scratch = (ctl_operand){add_buffer(b, bytes), 0, 1, (int64_t)bytes, (int64_t)bytes, CTL_U8};
    if (b->program.engine->open(&b->program, NULL, &s) != CTL_OK) return -1;
    for (uint32_t n = 0; n < b->task.noperands; n++) {
        const ctl_operand *o = &b->operands[n];
        char *at = b->program.engine->address(s, o);
        for (int64_t i = 0; at && i < o->rows * o->stride; i++) {
            float x = (float)(rand() % 2001 - 1000) / 1000;
            uint32_t bits;
            memcpy(&bits, &x, sizeof bits);
            bits >>= 16;
            if (o->dtype == CTL_F32)
                memcpy(at + i * 4, &x, 4);
            else if (o->dtype == CTL_BF16)
                memcpy(at + i * 2, &bits, 2);
            else
                ((int32_t *)(void *)at)[i] = (int32_t)(n % 2 ? i % sequence : sequence);
        }
    }
    double seconds[15], total = 0;
    int runs = 0;
    b->program.engine->run(s, RUN_FORWARD);
    for (; runs < 15 && total < 1; runs++) {
        double t = now();
        if (b->program.engine->run(s, RUN_FORWARD) != CTL_OK) return -1;
        seconds[runs] = now() - t;
        total += seconds[runs];
    }
    b->program.engine->close(s);
    qsort(seconds, (size_t)runs, sizeof *seconds, by_value);
    return seconds[0];
}

static double product(int threads, int64_t m, int64_t n, int64_t k, int form, ctl_dtype dtype, ctl_dtype to) {
    bench b;
    const bool ta = form == 2, tb = form == 1;
    begin(&b, TASK_MATMUL, threads);
    b.task.transpose_a = ta, b.task.transpose_b = tb, b.task.accumulate = ta;
    add(&b, ta ? k : m, ta ? m : k, ta ? m : k, dtype), add(&b, tb ? n : k, tb ? k : n, tb ? k : n, dtype);
    add(&b, m, n, n, ta ? CTL_F32 : to), add(&b, 0, 0, 0, dtype), add(&b, 0, 0, 0, dtype);
    double s = measure(&b, 1), rate = 2e-9 * (double)m * (double)n * (double)k / s;
    printf("%-5s %5lld x %5lld x %5lld %-10s %9.3f ms %7.1f GFLOP/s\n", ctl_dtype_name(dtype), (long long)m,
           (long long)n, (long long)k,
           ta   ? "a' b, +="
           : tb ? "a b'"
                : "a b",
           1e3 * s, rate);
    return rate;
}

static void attention(int threads, int64_t documents, int64_t length, int64_t heads, int64_t kv_heads,
                      int64_t head, bool causal, ctl_dtype dtype, double best) {
    const int64_t rows = documents * length, q = heads * head, k = kv_heads * head;
    const double flops = 4.0 * (double)rows * (double)q * (double)length * (causal ? 0.5 : 1);
    for (int grad = 0; grad < 2; grad++) {
        bench b;
        begin(&b, grad ? TASK_ATTEND_GRAD : TASK_ATTEND, threads);
        b.task.head = head, b.task.causal = causal, b.task.longest = length;
        add(&b, rows, q, q + 2 * k, dtype), add(&b, rows, k, q + 2 * k, dtype),
            add(&b, rows, k, q + 2 * k, dtype);
        add(&b, rows, q, q, dtype), add(&b, rows, heads, heads, CTL_F32);
        if (grad)
            add(&b, rows, q, q, dtype), add(&b, rows, q, q, dtype), add(&b, rows, k, k, dtype),
                add(&b, rows, k, k, dtype);
        add(&b, rows, 1, 1, CTL_I32), add(&b, rows, 1, 1, CTL_I32);
        double s = measure(&b, length), rate = (grad ? 2.5e-9 : 1e-9) * flops / s;
        printf("%-5s attention %s %2lld x %4lld, %lld/%lld heads of %lld%s %9.3f ms %7.1f GFLOP/s %5.1f%%\n",
               ctl_dtype_name(dtype), grad ? "backward" : "forward ", (long long)documents, (long long)length,
               (long long)heads, (long long)kv_heads, (long long)head, causal ? ", causal" : "        ",
               1e3 * s, rate, 100 * rate / best);
    }
}

int main(int argc, char **argv) {
    const int threads = argc > 1 ? atoi(argv[1]) : 2;
    const int64_t shapes[][3] = {{1024, 768, 768}, {1024, 3072, 768}, {1024, 768, 3072}, {1024, 2304, 768},
                                 {1024, 16, 768},  {1024, 768, 16},   {1024, 64, 768},   {1024, 4096, 4096}};
    for (int t = 0; t < 2; t++) {
        const ctl_dtype dtype = t ? CTL_F32 : CTL_BF16;
        double best = 1;
        for (size_t i = 0; i < CTL_COUNT(shapes); i++)
            for (int form = 0; form < 2; form++) {
                double rate = product(threads, shapes[i][0], shapes[i][1], shapes[i][2], form, dtype, dtype);
                if (rate > best) best = rate;
            }
        product(threads, 16, 768, 1024, 2, dtype, CTL_F32);
        product(threads, 768, 16, 1024, 2, dtype, CTL_F32);
        product(threads, 768, 3072, 1024, 2, dtype, CTL_F32);
        attention(threads, 8, 128, 12, 12, 64, false, dtype, best);
        attention(threads, 4, 1024, 12, 12, 64, true, dtype, best);
        attention(threads, 4, 1024, 8, 2, 128, true, dtype, best);
        attention(threads, 16, 60, 12, 12, 64, false, dtype, best);
    }
    return 0;
}
