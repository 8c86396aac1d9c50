/* bench_step: how much of a training step on the CPU is products. For an encoder of RoBERTa-base's shapes, tuned by LoRA
 * and by control, in f32 and bf16, with one thread and two: a step (forward, backward, optimizer), and the same step's
 * product tasks (products, attention, its gradient, the head), each alone, on the operands that it has in the step.
 *
 * Others may share the machine, so everything is a minimum over rounds, and a round is a step followed by its products:
 * in the order of the step each is run again and again before the next one. Two times of a step are printed: the
 * fastest whole one, and the sum of the fastest times of its parts, which is what a quiet machine would show. Alone,
 * a product finds its operands in the cache: the ratio of products to step is no flattery. With --cpu-time the clock is
 * the process's: on a busy machine the only one that tells one thread's time. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "ctl/ctlc.h"
#include "runtime/cpu/cpu.h"
#include "runtime/task_groups.h"

#define BENCH "bench_step"
#include "tools/bench/bench.h"

enum { AGAIN = 2, MOST_GROUPS = 256 };

typedef struct bench_options {
    const char *spec, *tokens, *tune, *compute;
    int threads, rounds;
    double seconds; /* of one case, about */
    bool profile;
    clockid_t clock;
} bench_options;

typedef struct bench {
    ctl_program *program;
    ctl_session *session;
    uint64_t step;
    double *now[RUN_COUNT], *in_step[RUN_COUNT], *alone[RUN_COUNT]; /* of each task: of the last step, fastest, fastest alone */
    double whole, optimizer;                                        /* fastest */
    int rounds;
    clockid_t clock;
} bench;

static const ctl_program_entry entries[] = {RUN_FORWARD, RUN_BACKWARD};

static void hear(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    char text[4096];
    ctl_diagnostic_text(d, text, sizeof text);
    fprintf(stderr, "%s\n", text);
}

static void keep_least(double *least, double x) {
    if (*least == 0 || x < *least) *least = x;
}

/* ---- one case ---- */
static void write_inputs(bench *b) {
    const ctl_program *p = b->program;
    const size_t n = (size_t)p->tokens;
    int32_t *ids = zeroed(n, sizeof *ids), *labels = zeroed(n, sizeof *labels), *position = zeroed(n, sizeof *position),
            *length = zeroed(n, sizeof *length);
    for (size_t k = 0; k < n; k++) {
        uint32_t random[4], counter[4] = {(uint32_t)k, 1, 2, 3};
        ctl_philox(counter, 5, random);
        ids[k] = (int32_t)(random[0] % 50000), labels[k] = (int32_t)(random[1] % 9);
        position[k] = (int32_t)(p->sequence ? (int64_t)k % p->sequence : (int64_t)k);
        length[k] = (int32_t)(p->sequence ? p->sequence : p->tokens);
    }
    const struct {
        const char *name;
        const int32_t *data;
    } all[] = {{"ids", ids}, {"labels", labels}, {"position", position}, {"length", length}};
    for (size_t k = 0; k < CTL_COUNT(all); k++)
        if (ctl_session_has_input(b->session, all[k].name, NULL, NULL))
            must(ctl_session_input(b->session, all[k].name, CTL_I32, all[k].data, n), all[k].name);
    free(ids), free(labels), free(position), free(length);
}

static void open_case(bench *b, const bench_options *o, const char *tune, const char *compute, int threads) {
    char tokens[64];
    snprintf(tokens, sizeof tokens, "tokens=%s", o->tokens);
    const char *set[] = {tokens};
    const ctlc_options options = {.diagnostic = hear, .engine = CTLC_CPU, .tune = tune, .threads = threads, .set = set,
                                  .nset = 1, .compute = strcmp(compute, "bf16") == 0 ? CTL_BF16 : CTL_F32};
    const ctl_session_options session = {.seed = 1, .diagnostic = hear};
    *b = (bench){.clock = o->clock};
    must(ctlc_compile_file(o->spec, &options, &b->program), o->spec);
    must(ctl_session_open(b->program, &session, &b->session), "session");
    must(ctl_session_load(b->session), "weights");
    for (size_t e = 0; e < CTL_COUNT(entries); e++) {
        const size_t n = b->program->run[entries[e]].n;
        b->now[entries[e]] = zeroed(n, sizeof(double)), b->in_step[entries[e]] = zeroed(n, sizeof(double));
        b->alone[entries[e]] = zeroed(n, sizeof(double));
    }
    write_inputs(b);
}

static void close_case(bench *b) {
    for (int e = 0; e < RUN_COUNT; e++) free(b->now[e]), free(b->in_step[e]), free(b->alone[e]);
    ctl_session_close(b->session);
    ctl_program_free(b->program);
}

static void set_step(bench *b) { ctl_session_set_step(b->session, ++b->step, 0, 1.0 / (double)b->program->tokens); }

static void run_step(bench *b) {
    const ctl_settings *s = &b->program->settings;
    const ctl_optimizer_step o = {.sgd = strcmp(s->optimizer, "sgd") == 0, .lr = 1e-5, .beta1 = s->beta1, .beta2 = s->beta2,
                                  .eps = s->eps, .weight_decay = s->weight_decay, .momentum = s->momentum,
                                  .clip = s->clip, .step = b->step + 1};
    double norm;
    for (size_t e = 0; e < CTL_COUNT(entries); e++)
        memset(b->now[entries[e]], 0, b->program->run[entries[e]].n * sizeof(double));
    ctl_cpu_profile(b->session, b->clock, b->now);
    const double begin = seconds_on(b->clock);
    ctl_session_zero_gradients(b->session);
    const double cleared = seconds_on(b->clock);
    set_step(b);
    must(ctl_session_forward(b->session), "forward");
    must(ctl_session_backward(b->session), "backward");
    const double ran = seconds_on(b->clock);
    must(ctl_session_optimize(b->session, &o, &norm), "optimizer");
    const double end = seconds_on(b->clock);
    ctl_cpu_profile(b->session, b->clock, NULL);
    keep_least(&b->whole, end - begin);
    keep_least(&b->optimizer, end - ran + cleared - begin);
    for (size_t e = 0; e < CTL_COUNT(entries); e++)
        for (size_t k = 0; k < b->program->run[entries[e]].n; k++)
            keep_least(&b->in_step[entries[e]][k], b->now[entries[e]][k]);
}

/* The step once more, task by task; products are run again where they stand. What accumulates grows; nobody reads it. */
static void run_alone(bench *b) {
    ctl_session_zero_gradients(b->session);
    set_step(b);
    for (size_t e = 0; e < CTL_COUNT(entries); e++)
        for (size_t k = 0; k < b->program->run[entries[e]].n; k++) {
            const ctl_task *t = &b->program->run[entries[e]].at[k];
            for (int again = 0; again < (ctl_task_is_product(t) ? AGAIN : 1); again++) {
                const double begin = seconds_on(b->clock);
                must(ctl_cpu_run_task(b->session, entries[e], k), t->name);
                keep_least(&b->alone[entries[e]][k], seconds_on(b->clock) - begin);
            }
        }
}

/* ---- what is printed ---- */
typedef struct sums {
    double in_step, alone, flops; /* alone, flops: of products */
} sums;

static sums sum_tasks(const bench *b) {
    sums s = {0};
    for (size_t e = 0; e < CTL_COUNT(entries); e++)
        for (size_t k = 0; k < b->program->run[entries[e]].n; k++) {
            const ctl_task *t = &b->program->run[entries[e]].at[k];
            s.in_step += b->in_step[entries[e]][k];
            if (ctl_task_is_product(t)) s.alone += b->alone[entries[e]][k], s.flops += t->flops;
        }
    return s;
}

typedef struct group {
    char name[CTL_GROUP_NAME];
    int n;
    double in_step, alone, flops;
    bool product;
} group;

static int by_time(const void *a, const void *b) {
    double x = ((const group *)a)->in_step, y = ((const group *)b)->in_step;
    return (x < y) - (x > y);
}

static void print_profile(const bench *b, double step) {
    group groups[MOST_GROUPS] = {{.n = 0}};
    size_t n = 0;
    for (size_t e = 0; e < CTL_COUNT(entries); e++)
        for (size_t k = 0; k < b->program->run[entries[e]].n; k++) {
            const ctl_task *t = &b->program->run[entries[e]].at[k];
            char name[CTL_GROUP_NAME];
            ctl_task_group_name(b->program, t, name);
            size_t g = 0;
            while (g < n && !ctl_task_group_same(groups[g].name, name)) g++;
            if (g == n && n == MOST_GROUPS) continue;
            if (g == n) memcpy(groups[n++].name, name, sizeof name);
            groups[g].n++, groups[g].in_step += b->in_step[entries[e]][k], groups[g].product = ctl_task_is_product(t);
            groups[g].alone += b->alone[entries[e]][k], groups[g].flops += t->flops;
        }
    memcpy(groups[n].name, "zeroing, optimizer, update", sizeof "zeroing, optimizer, update");
    groups[n++].in_step = b->optimizer;
    qsort(groups, n, sizeof *groups, by_time);
    printf("    in step ms   alone ms  share  GFLOP/s  tasks\n");
    for (size_t g = 0; g < n; g++) {
        printf("    %10.3f %10.3f %5.1f%% ", 1e3 * groups[g].in_step, 1e3 * groups[g].alone, 100 * groups[g].in_step / step);
        if (groups[g].product) printf("%8.1f", 1e-9 * groups[g].flops / groups[g].in_step);
        else printf("%8s", "");
        printf("  %3d x %s\n", groups[g].n, groups[g].name);
    }
}

static void run_case(const bench_options *o, const char *tune, const char *compute, int threads) {
    bench b;
    open_case(&b, o, tune, compute, threads);
    run_step(&b); /* pages are touched, code is warm: not counted */
    b.whole = b.optimizer = 0;
    for (size_t e = 0; e < CTL_COUNT(entries); e++)
        memset(b.in_step[entries[e]], 0, b.program->run[entries[e]].n * sizeof(double));
    const double begin = seconds_on(CLOCK_MONOTONIC);
    while (o->rounds ? b.rounds < o->rounds : b.rounds < 3 || seconds_on(CLOCK_MONOTONIC) - begin < o->seconds) {
        run_step(&b);
        run_alone(&b);
        b.rounds++;
    }
    const sums s = sum_tasks(&b);
    const double parts = s.in_step + b.optimizer;
    printf("%-9s %-4s %7d %6d %9.1f %9.1f %9.1f %7.3f %7.3f %8.0f %8.1f %8.1f\n", tune, compute, threads, b.rounds,
           1e3 * b.whole, 1e3 * parts, 1e3 * s.alone, s.alone / b.whole, s.alone / parts, (double)b.program->tokens / b.whole,
           1e-9 * s.flops / b.whole, 1e-9 * s.flops / s.alone);
    fflush(stdout);
    if (o->profile) print_profile(&b, parts);
    close_case(&b);
}

static void print_machine(const bench_options *o) {
    char line[256], model[256] = "unknown processor";
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            snprintf(model, sizeof model, "%s", strchr(line, ':') + 2);
            model[strcspn(model, "\n")] = 0;
            break;
        }
    if (f) fclose(f);
    struct utsname u;
    double load = -1;
    f = fopen("/proc/loadavg", "r");
    if (f && fscanf(f, "%lf", &load) != 1) load = -1;
    if (f) fclose(f);
    if (uname(&u)) u.machine[0] = 0;
    printf("%s, %s, %ld cores, load %.1f; bf16 products %s; %s, %s tokens a step\n", model, u.machine,
           sysconf(_SC_NPROCESSORS_ONLN), load, ctl_cpu_supports_bf16() ? "native" : "emulated", o->spec, o->tokens);
    printf("%-9s %-4s %7s %6s %9s %9s %9s %7s %7s %8s %8s %8s\n", "tune", "", "threads", "rounds", "step ms", "parts ms",
           "products", "/ step", "/ parts", "tokens/s", "GFLOP/s", "products");
}

static void usage(FILE *to) {
    fprintf(to, "usage: bench_step [--profile] [--tune NAME] [--compute f32|bf16] [--threads N] [--tokens BxS] [--cpu-time]\n"
                "                  [--seconds S (of a case, 20) | --rounds N] [SPEC.ctl (examples/encoder.ctl)]\n"
                "Runs all of lora and parallel, bf16 and f32, two threads and one, that are not chosen. Milliseconds\n"
                "are minima: a whole step, the sum of its parts' minima, the sum of its products' alone.\n");
}

int main(int argc, char **argv) {
    bench_options o = {.spec = "examples/encoder.ctl", .tokens = "8x128", .seconds = 20, .clock = CLOCK_MONOTONIC};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(a, "--help") == 0) return usage(stdout), 0;
        if (strcmp(a, "--profile") == 0) {
            o.profile = true;
            continue;
        }
        if (strcmp(a, "--cpu-time") == 0) {
            o.clock = CLOCK_PROCESS_CPUTIME_ID, o.threads = 1;
            continue;
        }
        if (a[0] != '-') {
            o.spec = a;
            continue;
        }
        if (!value) return usage(stderr), 2;
        if (strcmp(a, "--tune") == 0) o.tune = value;
        else if (strcmp(a, "--compute") == 0) o.compute = value;
        else if (strcmp(a, "--tokens") == 0) o.tokens = value;
        else if (strcmp(a, "--threads") == 0) o.threads = atoi(value);
        else if (strcmp(a, "--rounds") == 0) o.rounds = atoi(value);
        else if (strcmp(a, "--seconds") == 0) o.seconds = atof(value);
        else return usage(stderr), 2;
        i++;
    }
    static const char *const tunes[] = {"lora", "parallel"}, *const computes[] = {"bf16", "f32"};
    print_machine(&o);
    for (int t = 0; t < (o.tune ? 1 : 2); t++)
        for (int c = 0; c < (o.compute ? 1 : 2); c++)
            for (int n = o.threads ? o.threads : 2; n >= (o.threads ? o.threads : 1); n--)
                run_case(&o, o.tune ? o.tune : tunes[t], o.compute ? o.compute : computes[c], n);
    return 0;
}
