/* bench_run: some steps of a spec on a made-up batch, timed: what `ctlc bench` does with one engine. */
#ifndef CTLC_BENCH_RUN_H
#define CTLC_BENCH_RUN_H

#include "runtime/program.h"
#include "tools/ctlc/memory_report.h"
#include "tools/ctlc/tool.h"

typedef struct bench_options {
    tool_compile compile;
    text_list weights;
    const char *adapter;
    int64_t steps, warm; /* of steps, the first that do not count */
    bool profile;        /* three more steps, of which each task is timed */
    uint64_t seed;
    const ctl_program *tables; /* of another engine's run of the spec, which tells what ids there are; NULL: its own */
} bench_options;

typedef struct bench_run {
    ctl_program *program;
    ctl_session *session;
    tool_meter meter;
    tool_speaker speaker;
    memory_report memory;
    ctlc_plan plan;
    double compile_seconds, open_seconds, load_seconds; /* the last: weights, read or made */
    double *seconds, *losses, *norms;                   /* of each step */
    int64_t steps;                                      /* done */
    int64_t counted;                                    /* labels of a micro-step */
    double *profile[RUN_COUNT];                         /* of each task: seconds a step; NULL unless asked for */
    double update_seconds;                              /* with it: of the optimizer */
    float *gradients;                                   /* of the first step, before the optimizer; of the flat arrays */
    char gradients_hash[65];                            /* SHA-256 of them, a parameter after the other */
} bench_run;

/* An exit code; what was wrong has been said. Close it in any case. */
int bench_run_open(bench_run *b, const bench_options *o, const char *spec, const char *engine);
int bench_run_steps(bench_run *b, const bench_options *o, void (*stepped)(void *ctx, const bench_run *b), void *ctx);
int bench_run_profile(bench_run *b, const bench_options *o);
void bench_run_close(bench_run *b);

/* Of the steps that count: the median, the least. */
double bench_run_median(const bench_run *b, int64_t warm);
double bench_run_least(const bench_run *b, int64_t warm);

#endif
