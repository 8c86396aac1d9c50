/* bench_run: see bench_run.h. */
#include "tools/ctlc/bench_run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/sha256.h"
#include "runtime/session.h"
#include "tools/ctlc/load_weights.h"
#include "tools/ctlc/made_batch.h"
#include "tools/ctlc/progress.h"
#include "train/feed.h"

static void take_plan(void *ctx, const ctlc_plan *plan) {
    ctlc_plan *to = ctx;
    *to = *plan;
    to->points = NULL; /* lives no longer than the call */
}

static double *numbers(int64_t n) { return calloc((size_t)n, sizeof(double)); }

/* What a control makes as zero is random too: else some gradients were zero by themselves, and would tell nothing. */
static ctl_status fill_zeros(ctl_session *s, const ctl_program *p, uint64_t seed) {
    ctl_status status = CTL_OK;
    for (size_t k = 0; k < p->nparams && status == CTL_OK; k++) {
        const ctl_program_param *to = &p->params[k];
        if (!to->made_by_control || to->init != PROGRAM_INIT_CONST || to->init_arg != 0) continue;
        const size_t n = (size_t)to->rows * (size_t)to->cols;
        float *x = malloc(n ? n * sizeof *x : 1);
        if (!x) return CTL_ERR_MEMORY;
        for (size_t i = 0; i < n; i++) x[i] = 0.02f * made_number(seed, to->name, (int64_t)i, 0);
        status = ctl_session_param_write(s, k, CTL_F32, x);
        free(x);
    }
    return status;
}

static ctl_status make_weights(ctl_session *s, const ctl_program *p, uint64_t seed) {
    const ctl_status status = fill_zeros(s, p, seed);
    return status == CTL_OK ? ctl_session_load(s) : status;
}

int bench_run_open(bench_run *b, const bench_options *o, const char *spec, const char *engine) {
    tool_compile c = o->compile;
    *b = (bench_run){.seconds = numbers(o->steps), .losses = numbers(o->steps), .norms = numbers(o->steps)};
    if (!b->seconds || !b->losses || !b->norms) return tool_explain(&b->speaker, CTL_ERR_MEMORY), EXIT_MEMORY;
    c.engine = engine, c.may_split = true, c.plan = take_plan, c.plan_ctx = &b->plan;
    double begin = ctl_clock();
    const int code = tool_compile_spec("bench", spec, &c, &b->speaker, &b->program);
    if (code) return code;
    b->compile_seconds = ctl_clock() - begin, begin = ctl_clock();
    tool_meter_init(&b->meter);
    progress p = {.to = stderr, .terminal = isatty(STDERR_FILENO) == 1};
    const ctl_session_options so = {.allocator = &b->meter.allocator, .threads = (int)o->compile.threads, .seed = o->seed,
                                    .diagnostic = tool_diagnostic, .diagnostic_ctx = &b->speaker,
                                    .progress = progress_weights, .progress_ctx = &p};
    ctl_status status = memory_report_make(b->program, &b->memory) ? CTL_OK : CTL_ERR_MEMORY;
    if (status == CTL_OK) status = ctl_session_open(b->program, &so, &b->session);
    b->open_seconds = ctl_clock() - begin, begin = ctl_clock();
    if (status == CTL_OK)
        status = o->weights.n || o->adapter ? tool_weights_load(b->session, b->program, &o->weights, o->adapter)
                                            : make_weights(b->session, b->program, o->seed);
    progress_end(&p);
    b->load_seconds = ctl_clock() - begin;
    if (status != CTL_OK) tool_explain(&b->speaker, status);
    return tool_exit_code(status);
}

void bench_run_close(bench_run *b) {
    if (b->session) ctl_session_close(b->session);
    ctl_program_free(b->program);
    for (int e = 0; e < RUN_COUNT; e++) free(b->profile[e]);
    free(b->seconds), free(b->losses), free(b->norms), free(b->gradients);
    *b = (bench_run){0};
}

static ctl_status micro_step(bench_run *b, const bench_options *o, int64_t micro, double *loss) {
    const ctl_program *p = b->program;
    const bool stays = b->steps > 0 && p->settings.accumulate == 1; /* the batch of the step before */
    double part = 0;
    ctl_status status = stays ? CTL_OK : made_batch(b->session, p, o->tables ? o->tables : p, o->seed, micro, &b->counted);
    const int64_t all = b->counted * p->settings.accumulate;
    ctl_session_set_step(b->session, (uint64_t)b->steps + 1, micro * p->tokens, all ? 1.0 / (double)all : 1.0);
    if (status == CTL_OK) status = ctl_session_forward(b->session);
    if (status == CTL_OK) status = ctl_session_output(b->session, "loss", false, &part, 1);
    if (status == CTL_OK) status = ctl_session_backward(b->session);
    *loss += part;
    return status;
}

static ctl_status forward_and_backward(bench_run *b, const bench_options *o, double *loss, double *began) {
    ctl_status status = CTL_OK;
    ctl_session_zero_gradients(b->session);
    *began = ctl_clock();
    for (int64_t micro = 0; micro < b->program->settings.accumulate && status == CTL_OK; micro++)
        status = micro_step(b, o, micro, loss);
    return status;
}

static ctl_status take_gradients(ctl_session *s, const ctl_flat *flat, float *out) {
    double piece[512];
    ctl_status status = CTL_OK;
    if (flat->dtype != CTL_F64) return ctl_session_flat_read(s, CTL_FLAT_GRADIENTS, 0, flat->count, out);
    for (size_t first = 0, n; first < flat->count && status == CTL_OK; first += n) {
        n = flat->count - first < CTL_COUNT(piece) ? flat->count - first : CTL_COUNT(piece);
        status = ctl_session_flat_read(s, CTL_FLAT_GRADIENTS, first, n, piece);
        for (size_t i = 0; i < n; i++) out[first + i] = (float)piece[i];
    }
    return status;
}

static ctl_status keep_gradients(bench_run *b) {
    const ctl_flat flat = ctl_session_flat(b->session);
    ctl_sha256 hash;
    unsigned char digest[CTL_SHA256_BYTES];
    if (flat.count && !(b->gradients = malloc(flat.count * sizeof *b->gradients))) return CTL_ERR_MEMORY;
    const ctl_status status = take_gradients(b->session, &flat, b->gradients);
    if (status != CTL_OK) return status;
    ctl_sha256_begin(&hash);
    for (size_t k = 0; k < b->program->nparams; k++) {
        const ctl_program_param *p = &b->program->params[k];
        if (p->trained) ctl_sha256_add(&hash, b->gradients + p->flat, (size_t)p->rows * (size_t)p->cols * sizeof *b->gradients);
    }
    ctl_sha256_end(&hash, digest);
    ctl_sha256_hex(digest, b->gradients_hash);
    return CTL_OK;
}

static ctl_status update(bench_run *b, int64_t step, double *norm) {
    const ctl_settings *set = &b->program->settings;
    const ctl_optimizer_step o = {.sgd = strcmp(set->optimizer, "sgd") == 0, .lr = set->lr, .beta1 = set->beta1,
                                  .beta2 = set->beta2, .eps = set->eps, .weight_decay = set->weight_decay,
                                  .momentum = set->momentum, .clip = set->clip, .step = (uint64_t)step};
    return ctl_session_optimize(b->session, &o, norm);
}

static ctl_status one_step(bench_run *b, const bench_options *o) {
    double began, away = 0;
    ctl_status status = forward_and_backward(b, o, &b->losses[b->steps], &began);
    if (status == CTL_OK && b->steps == 0) {
        const double before = ctl_clock();
        status = keep_gradients(b);
        away = ctl_clock() - before;
    }
    if (status == CTL_OK) status = update(b, b->steps + 1, &b->norms[b->steps]);
    b->seconds[b->steps] = ctl_clock() - began - away;
    return status;
}

/* Steps behind those that are timed as wholes: what times tasks slows them. */
static ctl_status profiled_steps(bench_run *b, const bench_options *o) {
    enum { STEPS = 3 };
    double began, loss = 0, norm;
    ctl_status status = ctl_session_profile(b->session, b->profile);
    for (int k = 0; k < STEPS && status == CTL_OK; k++) {
        status = forward_and_backward(b, o, &loss, &began);
        const double before = ctl_clock();
        if (status == CTL_OK) status = update(b, b->steps + 1 + k, &norm);
        b->update_seconds += (ctl_clock() - before) / STEPS;
    }
    for (int e = 0; e < RUN_COUNT; e++)
        for (size_t k = 0; b->profile[e] && k < b->program->run[e].n; k++) b->profile[e][k] /= STEPS;
    return status;
}

int bench_run_profile(bench_run *b, const bench_options *o) {
    ctl_status status = CTL_OK;
    for (int e = RUN_FORWARD; e <= RUN_BACKWARD && status == CTL_OK; e++)
        if (!(b->profile[e] = numbers((int64_t)b->program->run[e].n + 1))) status = CTL_ERR_MEMORY;
    if (status == CTL_OK) status = profiled_steps(b, o);
    if (status != CTL_OK) tool_explain(&b->speaker, status);
    return tool_exit_code(status);
}

int bench_run_steps(bench_run *b, const bench_options *o, void (*stepped)(void *ctx, const bench_run *b), void *ctx) {
    ctl_status status = CTL_OK;
    while (b->steps < o->steps && status == CTL_OK) {
        status = one_step(b, o);
        if (status != CTL_OK) break;
        b->steps++;
        stepped(ctx, b);
    }
    if (status != CTL_OK) tool_explain(&b->speaker, status);
    return tool_exit_code(status);
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}
double bench_run_median(const bench_run *b, int64_t warm) {
    const size_t n = (size_t)(b->steps - warm);
    double *sorted = malloc(n * sizeof *sorted), median = 0;
    if (!sorted) return bench_run_least(b, warm);
    memcpy(sorted, b->seconds + warm, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_value);
    median = n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
    free(sorted);
    return median;
}
double bench_run_least(const bench_run *b, int64_t warm) {
    double least = b->seconds[warm];
    for (int64_t k = warm; k < b->steps; k++)
        if (b->seconds[k] < least) least = b->seconds[k];
    return least;
}
