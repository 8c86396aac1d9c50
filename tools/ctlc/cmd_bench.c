/* ctlc bench: what a step of a spec takes, on weights and a batch that are made up; and whether another engine computes the
 * same. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "runtime/files.h"
#include "runtime/task_groups.h"
#include "tools/ctlc/bench_run.h"

typedef struct bench_command {
    bench_options o;
    const char *beside;
    bool json;
    int64_t seed;
} bench_command;

static void tell_step(void *ctx, const bench_run *b) {
    const bench_command *c = ctx;
    if (c->json || isatty(STDERR_FILENO) != 1) return;
    char t[32];
    fprintf(stderr, "\rstep %lld of %lld: loss %.4f, %s   %s", (long long)b->steps, (long long)c->o.steps, b->losses[b->steps - 1],
            tool_seconds(b->seconds[b->steps - 1], t), b->steps == c->o.steps ? "\n" : "");
}

/* ---- how far apart two engines are ---- */
typedef struct apart {
    double loss, gradients; /* the largest of any step; of any parameter: ||a - b|| / ||b||, see distance() */
    const char *where;      /* the parameter; the program's */
} apart;

static const ctl_program_param *find(const ctl_program *p, const char *name) {
    for (size_t k = 0; k < p->nparams; k++)
        if (strcmp(p->params[k].name, name) == 0) return &p->params[k];
    return NULL;
}

/* Some gradients are zero but for rounding (a key's bias, which softmax does not see): a parameter's is not taken for less than a
 * thousandth of what is usual. usual: of an element, squared. NaN is apart from everything. */
static double distance(const float *a, const float *b, size_t n, double usual) {
    double square = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)a[i] - b[i];
        square += d * d, norm += (double)b[i] * b[i];
    }
    if (square == 0) return 0;
    if (norm < 1e-6 * usual * (double)n) norm = 1e-6 * usual * (double)n;
    const double x = sqrt(square / norm);
    return isnan(x) ? INFINITY : x;
}

/* The mean square of a gradient's element. */
static double usual(const bench_run *b) {
    const ctl_program *p = b->program;
    double square = 0, n = 0;
    for (size_t k = 0; k < p->nparams; k++)
        for (int64_t i = 0; p->params[k].trained && i < p->params[k].rows * p->params[k].cols; i++, n++) {
            const double g = b->gradients[p->params[k].flat + (size_t)i];
            square += g * g;
        }
    return n > 0 ? square / n : 0;
}

static apart compare(const bench_run *a, const bench_run *b) {
    apart most = {.where = ""};
    for (int64_t k = 0; k < a->steps && k < b->steps; k++) {
        const double d = fabs(a->losses[k] - b->losses[k]) / fabs(b->losses[k]);
        if (!(d <= most.loss)) most.loss = isnan(d) ? INFINITY : d;
    }
    const double of_element = usual(b);
    for (size_t k = 0; k < a->program->nparams; k++) {
        const ctl_program_param *p = &a->program->params[k], *q = find(b->program, p->name);
        if (!p->trained) continue;
        const double d = q ? distance(a->gradients + p->flat, b->gradients + q->flat, (size_t)p->rows * (size_t)p->cols, of_element)
                           : INFINITY;
        if (d > most.gradients) most.gradients = d, most.where = p->name;
    }
    return most;
}

/* ---- what is printed ---- */
static void print_number(const char *key, double x) {
    if (isfinite(x)) printf("\"%s\": %.9g, ", key, x);
    else printf("\"%s\": null, ", key); /* JSON has no other word */
}
static void print_numbers(const char *key, const double *x, int64_t n) {
    printf("\"%s\": [", key);
    for (int64_t k = 0; k < n; k++) {
        if (isfinite(x[k])) printf("%s%.9g", k ? ", " : "", x[k]);
        else printf("%snull", k ? ", " : "");
    }
    printf("], ");
}

static void print_profile(const bench_run *b, bool json) {
    ctl_task_group g[CTL_MOST_GROUPS + 1];
    const size_t n = ctl_task_groups(b->program, b->profile, g);
    double all = b->update_seconds;
    for (size_t k = 0; k < n; k++) all += g[k].seconds;
    g[n] = (ctl_task_group){.name = "optimizer, and what is computed once an update", .times = 1, .seconds = b->update_seconds};
    printf(json ? "\"profile\": [" : "  ms a step  share  TFLOP/s    GB/s  tasks\n");
    for (size_t k = 0; k <= n; k++) {
        if (json) {
            printf("%s{\"name\": \"%s\", \"times\": %lld, \"seconds\": %.9g, \"flops\": %.9g, \"bytes\": %.9g}", k ? ", " : "",
                   g[k].name, (long long)g[k].times, g[k].seconds, g[k].flops, g[k].bytes);
            continue;
        }
        char rate[32] = "", memory[32] = "";
        if (g[k].product) snprintf(rate, sizeof rate, "%.3g", 1e-12 * g[k].flops / g[k].seconds);
        if (g[k].bytes > 0) snprintf(memory, sizeof memory, "%.3g", 1e-9 * g[k].bytes / g[k].seconds);
        printf("%11.3f %5.1f%% %8s %7s  %lld x %s\n", 1e3 * g[k].seconds, 100 * g[k].seconds / all, rate, memory, (long long)g[k].times, g[k].name);
    }
    if (json) printf("], ");
}

/* A text of the program's in JSON. */
static void print_quoted(const char *text) {
    ctl_string quoted = {.allocator = &ctl_malloc_allocator};
    ctl_string_json(&quoted, text);
    fputs(quoted.failed ? "null" : quoted.at, stdout);
    ctl_string_drop(&quoted);
}

/* What stands in the line, without what it begins with and its comment. */
static void print_source(const ctl_program_line *line) {
    const char *text = line->text ? line->text : "";
    int n = 0, last = 0;
    text += strspn(text, " \t");
    for (; text[n] && text[n] != '#'; n++)
        if (text[n] != ' ' && text[n] != '\t' && text[n] != '\r') last = n + 1;
    if (last > 72) printf("%.*s..", 70, text);
    else printf("%.*s", last, text);
}

static void print_lines_json(const ctl_line_time *l, size_t n) {
    printf("\"lines\": [");
    for (size_t k = 0; k < n; k++) {
        printf("%s{", k ? ", " : "");
        if (l[k].at) {
            printf("\"file\": ");
            print_quoted(l[k].at->user.file);
            printf(", \"line\": %d, ", l[k].at->user.line);
        }
        if (l[k].at && l[k].at->library.file) {
            printf("\"library\": ");
            print_quoted(l[k].at->library.file);
            printf(", \"library_line\": %d, ", l[k].at->library.line);
        }
        printf("\"times\": %lld, \"seconds\": %.9g, \"flops\": %.9g}", (long long)l[k].times, l[k].seconds, l[k].flops);
    }
    printf("], ");
}

/* Where the library computes something its line says more than the user's, which may be the whole model's. */
static void print_lines(const bench_run *b, bool json) {
    enum { SHORT = 1000 }; /* what takes less than so much of all is told together */
    ctl_line_time l[CTL_MOST_GROUPS];
    const size_t n = ctl_task_lines(b->program, b->profile, l);
    double all = b->update_seconds, rest = 0;
    int64_t others = 0;
    if (json) {
        print_lines_json(l, n);
        return;
    }
    for (size_t k = 0; k < n; k++) all += l[k].seconds;
    printf("  ms a step  share  tasks  line\n");
    for (size_t k = 0; k < n; k++) {
        const ctl_program_place *at = l[k].at;
        if (!at || l[k].seconds * SHORT < all) {
            rest += l[k].seconds, others += l[k].times;
            continue;
        }
        printf("%11.3f %5.1f%% %6lld  %s:%d", 1e3 * l[k].seconds, 100 * l[k].seconds / all, (long long)l[k].times, at->user.file, at->user.line);
        if (at->library.file) printf(", %s:%d", at->library.file, at->library.line);
        printf(": ");
        print_source(at->library.file ? &at->library : &at->user);
        printf("\n");
    }
    if (others) printf("%11.3f %5.1f%% %6lld  others\n", 1e3 * rest, 100 * rest / all, (long long)others);
}

static int64_t tokens_of(const bench_run *b) { return b->program->tokens * b->program->settings.accumulate; }

static void print_json(const bench_command *c, const bench_run *b, const apart *d) {
    printf("{\"parameters\": %lld, \"trained\": %lld, \"tokens\": %lld, \"split\": %lld, \"withheld\": %lld, ",
           (long long)b->memory.parameters, (long long)b->memory.trained, (long long)tokens_of(b), (long long)b->plan.split,
           (long long)b->plan.withheld);
    const ctl_device_memory device = ctl_session_device_memory(b->session);
    printf("\"planned\": %zu, \"allocated\": %zu, \"kernels\": %zu, ", b->memory.total, b->meter.peak + device.held,
           b->program->nkernels);
    if (device.held) /* used: by all, contexts and libraries too */
        printf("\"device_held\": %zu, \"device_used\": %zu, \"device_all\": %zu, ", device.held, device.used, device.all);
    print_number("compile_seconds", b->compile_seconds);
    print_number("open_seconds", b->open_seconds);
    print_number("load_seconds", b->load_seconds);
    print_number("flops", b->plan.flops);
    print_number("extra_flops", b->plan.extra_flops);
    print_numbers("seconds", b->seconds, b->steps);
    print_numbers("losses", b->losses, b->steps);
    print_numbers("norms", b->norms, b->steps);
    print_number("median", bench_run_median(b, c->o.warm));
    print_number("least", bench_run_least(b, c->o.warm));
    if (d) {
        print_number("loss_apart", d->loss);
        print_number("gradients_apart", d->gradients);
        printf("\"apart_at\": \"%s\", ", d->where);
    }
    if (c->o.profile) print_profile(b, true), print_lines(b, true);
    printf("\"gradients\": \"%s\"}\n", b->gradients_hash);
}

static void print_text(const bench_command *c, const char *spec, const bench_run *b, const apart *d) {
    char t[6][32];
    const double median = bench_run_median(b, c->o.warm), least = bench_run_least(b, c->o.warm);
    printf("%s: %s parameters, %s trained; %s tokens a step%s\n", spec, tool_count(b->memory.parameters, t[0]),
           tool_count(b->memory.trained, t[1]), tool_count(tokens_of(b), t[2]), b->plan.split > 1 ? ", in parts" : "");
    printf("  compiled in %s, %zu kernels; opened in %s; weights in %s\n", tool_seconds(b->compile_seconds, t[0]),
           b->program->nkernels, tool_seconds(b->open_seconds, t[1]), tool_seconds(b->load_seconds, t[2]));
    printf("  %s planned, %s allocated\n", tool_bytes((double)b->memory.total, t[0]), tool_bytes((double)(b->meter.peak + ctl_session_device_memory(b->session).held), t[1]));
    printf("  a step takes %s (median of %lld), %s at the least: %s tokens/s\n", tool_seconds(median, t[0]),
           (long long)(b->steps - c->o.warm), tool_seconds(least, t[1]), tool_count((int64_t)((double)tokens_of(b) / median), t[2]));
    printf("  loss %.4f -> %.4f on one batch\n", b->losses[0], b->losses[b->steps - 1]);
    if (c->o.profile) print_profile(b, false), print_lines(b, false);
    if (d)
        printf("  beside %s: losses differ by %.2g of their size at most, gradients of the first step by %.2g%s%s\n", c->beside,
               d->loss, d->gradients, d->where[0] ? ", at " : "", d->where);
}

static int run(bench_command *c, const char *spec) {
    bench_run mine = {0}, other = {0};
    int code = bench_run_open(&mine, &c->o, spec, c->o.compile.engine);
    if (!code) code = bench_run_steps(&mine, &c->o, tell_step, c);
    if (!code && c->o.profile) code = bench_run_profile(&mine, &c->o);
    if (!code && c->beside) {
        bench_options o = c->o;
        o.tables = mine.program;
        code = bench_run_open(&other, &o, spec, c->beside);
        if (!code) code = bench_run_steps(&other, &o, tell_step, c);
    }
    if (!code) {
        const apart d = c->beside ? compare(&mine, &other) : (apart){0};
        if (c->json) print_json(c, &mine, c->beside ? &d : NULL);
        else print_text(c, spec, &mine, c->beside ? &d : NULL);
    }
    bench_run_close(&mine);
    bench_run_close(&other);
    return code;
}

int cmd_bench(int argc, char **argv) {
    bench_command c = {.o = {.steps = 10, .warm = 2}, .seed = 1};
    const option options[] = {
        {"steps", "N", OPT_COUNT, &c.o.steps, "steps, 10 unless told"},
        {"warm", "N", OPT_COUNT, &c.o.warm, "the first of them, whose times do not count; 2 unless told"},
        {"beside", "ENGINE", OPT_TEXT, &c.beside,
         "the same steps by another engine too, and how far apart losses\nand gradients are"},
        {"profile", NULL, OPT_FLAG, &c.o.profile, "three more steps, and where their time goes: by products and kernels,\nand by lines of the spec"},
        {"json", NULL, OPT_FLAG, &c.json, "one JSON object on standard output"},
        {"seed", "N", OPT_COUNT, &c.seed, "of weights and batch; 1 unless told"},
        {"weights", "PATH", OPT_LIST, &c.o.weights, "the model's safetensors, or their folder, instead of made-up weights"},
        {"adapter", "DIR", OPT_TEXT, &c.o.adapter, "begin with this adapter: a run's folder, a checkpoint's, or\nPEFT's (LoRA, DoRA, (IA)^3)"},
        TOOL_COMPILE_OPTIONS(&c.o.compile),
    };
    command_line line = {
        .command = "bench",
        .about = "Runs some steps of a spec and prints what one takes. Nothing else is needed: weights are random, and so is the\n"
                 "one batch that all steps are taught, so the loss falls. JSON has the time, loss and gradient norm of every step, and\n"
                 "the SHA-256 of the first step's gradients: it is the same under every budget of one number of parts.\n",
        .examples = "  ctlc bench examples/tiny.ctl\n"
                    "  ctlc bench examples/tiny.ctl --memory min --json\n"
                    "  ctlc bench examples/tiny.ctl --engine cuda --profile\n"
                    "  ctlc bench examples/tiny.ctl --steps 3 --beside reference      # does this machine compute right?\n",
        .options = options,
        .noptions = CTL_COUNT(options),
        .operand_name = "SPEC.ctl",
        .most_operands = 1,
    };
    const int code = options_parse(&line, argc, argv);
    if (code) return code < 0 ? EXIT_DONE : code;
    if (c.o.steps < 1 || c.o.steps > 1 << 20 || c.o.warm >= c.o.steps) {
        fprintf(stderr, "ctlc bench: --steps is 1 to 1048576, and above --warm\n");
        return EXIT_USAGE;
    }
    c.o.seed = (uint64_t)c.seed;
    return run(&c, line.operands.at[0]);
}
