/* ctlc calibrate: measures what plans must know of this machine's CPU: how fast products, attention and row by row work are.
 * Each is a small program; its rate is the time that the planner would model at a rate of one, over the time that it took. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "runtime/files.h"
#include "tools/ctlc/rates.h"
#include "tools/ctlc/tool.h"

enum { WARM = 2, RUNS = 9, LEAST = 3 };
static const double ENOUGH = 2; /* seconds: runs that are so long are told well by few */

static const struct {
    const char *what, *unit, *spec;
} probes[RATES] = {
    {"products, f32", "GFLOP/s",
     "net f(x: d; d) -> y {\n    y <- l: linear(x; n = d)\n}\n"
     "model m = f(; d = 1536)\ntune m {\n    tokens 1024 packed\n    compute f32\n}\n"},
    {"products, bf16", "GFLOP/s",
     "net f(x: d; d) -> y {\n    y <- l: linear(x; n = d)\n}\n"
     "model m = f(; d = 1536)\ntune m {\n    tokens 1024 packed\n    compute bf16\n}\n"},
    {"attention, bf16", "GFLOP/s",
     "net f(x: d; d) -> y {\n    h <- x\n    y <- attend(h, h, h; head = 64, causal = true)\n}\n"
     "model m = f(; d = 1024)\ntune m {\n    tokens 1 x 1024\n    compute bf16\n}\n"},
    {"row by row work", "GB/s",
     "fn mixed(x) = x * 0.5 + x * x\n"
     "net f(x: d; d) -> y {\n    h <- x\n    y <- silu(h) * h + mixed(h)\n}\n"
     "model m = f(; d = 4096)\ntune m {\n    tokens 1024 packed\n    compute bf16\n}\n"},
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void take_plan(void *ctx, const ctlc_plan *plan) { *(double *)ctx = plan->step_seconds; }

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static ctl_status fill(ctl_session *s, const char *name, int64_t rows) {
    int32_t *all = calloc((size_t)rows, sizeof *all);
    if (!all) return CTL_ERR_MEMORY;
    bool position = strcmp(name, "position") == 0;
    for (int64_t k = 0; k < rows; k++) all[k] = position ? (int32_t)k : (int32_t)rows;
    ctl_status status = ctl_session_has_input(s, name, NULL, NULL) ? ctl_session_input(s, name, CTL_I32, all, (size_t)rows) : CTL_OK;
    free(all);
    return status;
}

static ctl_status feed(ctl_session *s) {
    int64_t rows = 0, cols = 0;
    if (!ctl_session_has_input(s, "x", &rows, &cols)) return CTL_ERR_INTERNAL;
    size_t n = (size_t)(rows * cols);
    float *x = malloc(n * sizeof *x);
    if (!x) return CTL_ERR_MEMORY;
    for (size_t k = 0; k < n; k++) x[k] = (float)((k * 2654435761u >> 8) % 2001) / 1000.0f - 1;
    ctl_status status = ctl_session_input(s, "x", CTL_F32, x, n);
    free(x);
    if (status == CTL_OK) status = fill(s, "position", rows);
    return status == CTL_OK ? fill(s, "length", rows) : status;
}

/* The median of RUNS forwards, or of LEAST or more where they take ENOUGH together; then one is enough to warm up, too. */
static ctl_status run(const ctl_program *program, tool_speaker *speaker, double *seconds) {
    const ctl_session_options options = {.diagnostic = tool_diagnostic, .diagnostic_ctx = speaker};
    ctl_session *s;
    double times[RUNS];
    ctl_status status = ctl_session_open(program, &options, &s);
    if (status != CTL_OK) return status;
    status = ctl_session_load(s);
    if (status == CTL_OK) status = feed(s);
    double spent = 0;
    int n = 0;
    for (int k = 0; n < RUNS && !(n >= LEAST && spent > ENOUGH) && status == CTL_OK; k++) {
        const bool warm = k >= WARM || spent > ENOUGH;
        const double begin = now();
        status = ctl_session_forward(s);
        const double took = now() - begin;
        if (warm) times[n++] = took;
        spent += took;
    }
    ctl_session_close(s);
    if (status != CTL_OK) return status;
    qsort(times, (size_t)n, sizeof *times, by_value);
    *seconds = times[n / 2];
    return CTL_OK;
}

static ctl_status measure(int which, int threads, tool_speaker *speaker, double *rate) {
    double modelled = 0, seconds, one[RATES] = {1e30, 1e30, 1e30, 1e30};
    one[which] = 1;
    ctlc_options o = {.threads = threads, .diagnostic = tool_diagnostic, .diagnostic_ctx = speaker, .rates = one,
                      .plan = take_plan, .plan_ctx = &modelled};
    ctl_program *program;
    const char *spec = probes[which].spec;
    ctl_status status = ctlc_compile_text(probes[which].what, spec, strlen(spec), &o, &program);
    if (status != CTL_OK) return status;
    status = run(program, speaker, &seconds);
    ctl_program_free(program);
    if (status == CTL_OK) *rate = modelled / seconds;
    return status;
}

int cmd_calibrate(int argc, char **argv) {
    tool_speaker speaker = {0};
    int64_t threads = 0;
    bool dry = false;
    const option options[] = {
        {"threads", "N", OPT_COUNT, &threads, "threads; 0: all cores (the default)"},
        {"dry", NULL, OPT_FLAG, &dry, "print the rates and keep nothing"},
    };
    command_line line = {
        .command = "calibrate",
        .about = "Measures this machine for a few seconds: products, attention, row by row work. `ctlc plan` and `ctlc train` then\n"
                 "weigh keeping against computing again by what was measured. Best when nothing else runs.\n",
        .examples = "  ctlc calibrate\n"
                    "  ctlc calibrate --threads 4 --dry\n",
        .options = options,
        .noptions = CTL_COUNT(options),
    };
    int code = options_parse(&line, argc, argv);
    if (code) return code < 0 ? EXIT_DONE : code;
    rates r = {.threads = tool_threads(threads)};
    for (int k = 0; k < RATES; k++) {
        ctl_status status = measure(k, r.threads, &speaker, &r.at[k]);
        if (status != CTL_OK) {
            tool_explain(&speaker, status);
            return tool_exit_code(status);
        }
        printf("%-18s %8.1f %s\n", probes[k].what, r.at[k] / 1e9, probes[k].unit);
    }
    printf("%d threads\n", r.threads);
    if (dry) return EXIT_DONE;
    char *path = rates_path();
    if (!path) {
        fprintf(stderr, "ctlc calibrate: there is no home to keep them in: set HOME or XDG_CACHE_HOME, or give --dry\n");
        return EXIT_IO;
    }
    ctl_status status = rates_write(&r, (ctl_voice){tool_diagnostic, &speaker});
    if (status == CTL_OK) printf("kept in %s\n", path);
    ctl_string_free(&ctl_malloc_allocator, path);
    return tool_exit_code(status);
}
