/* tool: what the commands of ctlc share: exit codes, the commands, how messages and numbers are printed, the
 * options that every compiling command has. */
#ifndef CTLC_TOOL_H
#define CTLC_TOOL_H

#include <stdio.h>

#include "ctl/ctlc.h"
#include "tools/ctlc/options.h"

/* Exit codes, documented in docs/training.md and `ctlc --help`. */
enum {
    EXIT_DONE = 0,
    EXIT_INPUT = 1,       /* the spec, the data or the weights are wrong */
    EXIT_USAGE = 2,       /* the command line is */
    EXIT_INTERRUPTED = 3, /* stopped by SIGINT or SIGTERM; a checkpoint is saved */
    EXIT_IO = 4,          /* the operating system refused: no such file, disk full */
    EXIT_MEMORY = 5,      /* the memory that there is does not suffice */
    EXIT_NUMERIC = 6,     /* a loss or a gradient is not finite */
    EXIT_UNSUPPORTED = 7, /* not to be had in this build or on this machine */
    EXIT_DEFECT = 70      /* a defect of ctlc */
};
int tool_exit_code(ctl_status status);

int cmd_train(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_build(int argc, char **argv);
int cmd_pack(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_graph(int argc, char **argv);
int cmd_fmt(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_merge(int argc, char **argv);
int cmd_calibrate(int argc, char **argv);
int cmd_runs(int argc, char **argv);

/* Prints diagnostics to stderr as text, or to stdout as lines of JSON; counts errors. The ctx of
 * tool_diagnostic. */
typedef struct tool_speaker {
    bool json;
    int errors;
} tool_speaker;
void tool_diagnostic(void *ctx, const ctl_diagnostic *d);
/* When a call failed and nothing has said why: says the status. */
void tool_explain(const tool_speaker *speaker, ctl_status status);

/* ---- compiling ---- */
typedef struct tool_compile {
    const char *engine, *compute, *tune, *dump;
    text_list set;
    int64_t threads;
    bool no_fuse, verify, time_passes, check_only, may_split, points, plan_only;
    const char *memory; /* text of --memory */
    const char *machine;
    int64_t split;
    ctlc_plan_fn plan;
    void *plan_ctx;
    const ctlc_cuda *cuda; /* write files for a GPU instead */
    text_list cuda_libraries; /* folders */
    ctlc_network network; /* with it: what it looks like goes to print */
    const char *unfold;
    bool network_lines;
    ctlc_dump_fn print; /* NULL: dumps go to standard output */
    void *print_ctx;
    ctlc_account_fn account; /* NULL: none is made */
    void *account_ctx;
    const char *account_rules;
} tool_compile;
/* The options above, for a command's table. */
#define TOOL_COMPILE_OPTIONS(c)                                                                              \
    {"tune", "NAME", OPT_TEXT, &(c)->tune, "which tune block, where the spec has several"},                  \
        {"set", "KEY=VALUE", OPT_LIST, &(c)->set,                                                            \
         "override a setting or a parameter: lr=1e-4, tokens=8x512\n"                                        \
         "(tokens=4096: packed), memory=2GiB, compute=bf16, model.depth=2,\n"                                 \
         "CONTROL.rank=8"},                                                                                  \
        {"memory", "BYTES", OPT_TEXT, &(c)->memory,                                                          \
         "memory to keep to, instead of the spec's: 24GiB, 8e9; min: the\n"                                  \
         "least there is, max: as much as makes a step fastest"},                                            \
        {"machine", "NAME", OPT_TEXT, &(c)->machine,                                                         \
         "plan for cpu, rtx3090, rtx4090, a100 or h100: their speed, and\n"                                  \
         "what of a card's memory can be had"},                                                              \
        {"split", "N", OPT_COUNT, &(c)->split, "parts that a batch goes through in; 0: as the plan likes"},  \
        {"engine", "ENGINE", OPT_TEXT, &(c)->engine,                                                         \
         "cpu (compiled), cuda (an NVIDIA GPU), or reference (slow, exact,\nf64 too)"},                      \
        {"cuda-libraries", "DIR", OPT_LIST, &(c)->cuda_libraries,                                            \
         "with --engine cuda: where libcuda, libcublasLt and libnvrtc are\nlooked for first"},               \
        {"compute", "DTYPE", OPT_TEXT, &(c)->compute, "f32, bf16, or f64 (reference alone)"},                \
        {"threads", "N", OPT_COUNT, &(c)->threads, "threads; 0: all cores (the default)"},                   \
        {"no-fuse", NULL, OPT_FLAG, &(c)->no_fuse, "one kernel an operation: same bits, slower"},            \
        {"verify", NULL, OPT_FLAG, &(c)->verify, "check the graph after every pass"},                        \
        {"dump", "after:PASS", OPT_TEXT, &(c)->dump,                                                         \
         "print the graph after a pass (after:all: after each)"},                                            \
    {                                                                                                        \
        "time-passes", NULL, OPT_FLAG, &(c)->time_passes, "print the seconds of each pass"                   \
    }
/* EXIT_DONE and a program (NULL when check_only); else what was wrong has been printed. command is for
 * messages. */
int tool_compile_spec(const char *command, const char *spec, const tool_compile *c, tool_speaker *speaker,
                      ctl_program **out);

/* $XDG_CACHE_HOME/ctlc or ~/.cache/ctlc, made; NULL: there is none, or it cannot be made. By ctl_malloc_allocator. */
char *tool_cache_folder(void);

/* The threads that 0 stands for, and at the most 1024. */
int tool_threads(int64_t asked);

/* ---- numbers for people ---- */
/* "12.3 MiB" into buf of 32; returns buf. */
const char *tool_bytes(double bytes, char *buf);
/* "1h 02m", "3m 04s", "12.3 s", "45.6 ms" into buf of 32. */
const char *tool_seconds(double seconds, char *buf);
/* "1,234,567" into buf of 32. */
const char *tool_count(int64_t n, char *buf);
/* Most bytes that this process ever had resident. */
int64_t tool_peak_resident(void);

/* An allocator that counts: what a session really takes. */
typedef struct tool_meter {
    ctl_allocator allocator; /* ctx is the meter itself: do not copy it */
    size_t held, peak;
} tool_meter;
void tool_meter_init(tool_meter *meter);

#endif
