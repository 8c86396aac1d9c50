/* ctlc: compile a .ctl spec into a program that ctlrt.h runs (docs/embedding.md).
 *
 * A call allocates everything from options->allocator, reports through options->diagnostic (spans, carets, hints),
 * prints nothing and keeps no state between calls; calls may run in parallel. Of the options, zero is a default everywhere; what
 * they point to must live until the call returns, and the allocator as long as the program that was made. */
#ifndef CTL_CTLC_H
#define CTL_CTLC_H

#include <stdbool.h>

#include "ctl/ctlrt.h"

typedef enum ctlc_engine {
    CTLC_CPU,      /* fused kernels through LLVM, products through oneDNN: f32 or bf16 */
    CTLC_REFERENCE, /* plain C, one operation at a time: f64, f32 or bf16. Slow; the oracle */
    CTLC_CUDA      /* an NVIDIA GPU: kernels through CUDA's compiler, products through cuBLASLt: f32 or bf16 */
} ctlc_engine;

/* What ctlc build makes, a bit each: CUDA C, machine code, and PTX for other GPUs. */
typedef enum ctlc_emit { CTLC_EMIT_CU = 1, CTLC_EMIT_CUBIN = 2, CTLC_EMIT_PTX = 4 } ctlc_emit;
/* A file that was made: its name and its bytes; "plan.txt" is the program's text. note: registers and memory of a kernel as CUDA's
 * compiler counts them, or NULL. All of it lives until the callback returns. */
typedef struct ctlc_artifact {
    const char *name, *note;
    const void *bytes;
    size_t size;
} ctlc_artifact;
typedef void (*ctlc_artifact_fn)(void *ctx, const ctlc_artifact *artifact);
typedef struct ctlc_cuda {
    const char *architecture;  /* "sm_86": one of ctlc_cuda_architectures; passed over with emit 0 */
    unsigned emit;             /* of ctlc_emit: files instead of a program. 0: a program for the GPU of this machine */
    const char *compiler;      /* CUDA's compiler, libnvrtc.so; NULL: where it is usually found */
    const char *const *folders; /* where CUDA's libraries are looked for first: libcuda, libcublasLt, libnvrtc */
    size_t nfolders;
    const char *cache;         /* a directory that exists, for machine code; NULL: none */
    ctlc_artifact_fn artifact;
    void *artifact_ctx;
} ctlc_cuda;
const char *const *ctlc_cuda_architectures(void); /* NULL at the end */

/* Seconds of one pass; handed to ctlc_options.time as passes end. */
typedef void (*ctlc_time_fn)(void *ctx, const char *pass, double seconds);
/* The text of the graph or the program after a pass. */
typedef void (*ctlc_dump_fn)(void *ctx, const char *pass, const char *text, size_t size);

/* The network of states and edges as the spec has it (compiler/show/show.h), instead of a program. */
typedef enum ctlc_network { CTLC_NETWORK_NONE, CTLC_NETWORK_TEXT, CTLC_NETWORK_DOT } ctlc_network;

/* What another way of training would store of the same network, by rules that are data (docs/accounting.md). Bytes. */
typedef struct ctlc_account_line {
    const char *name; /* of the rule */
    uint64_t times, bytes;
} ctlc_account_line;
typedef struct ctlc_account {
    int64_t tokens;
    ctl_dtype compute;
    uint64_t frozen_parameters, trained_parameters; /* elements */
    uint64_t weights, trained, gradients, moments, saved, total;
    const ctlc_account_line *lines; /* what is saved, by rule, as in the rules' file */
    size_t nlines;
} ctlc_account;
/* The account lives until the call returns. */
typedef void (*ctlc_account_fn)(void *ctx, const ctlc_account *account);
/* ---- memory ---- */
enum { CTLC_MEMORY_LEAST = -1, CTLC_MEMORY_MOST = -2 };

/* One budget and what it costs. */
typedef struct ctlc_plan_point {
    int64_t bytes;     /* of everything: weights, what is trained, a step */
    double extra_work; /* modelled time of a step over that of the plan that recomputes nothing and does not split, less 1 */
    int64_t split;     /* parts that a batch goes through in, one after the other */
} ctlc_plan_point;

/* What was planned, before it is compiled. */
typedef struct ctlc_plan {
    int64_t budget;        /* bytes that there were, withheld ones included; 0: no budget */
    int64_t withheld;      /* of them, what the machine does not give: a card's own, its context and libraries */
    const char *machine;   /* planned for; static storage */
    bool measured;         /* its rates were given (ctlc_options.rates), not modelled */
    int64_t peak;          /* bytes that the program allocates: ctl_program_memory().peak */
    int64_t fixed;         /* of it, what no plan changes: weights, what is trained, inputs */
    int64_t lower_bound;   /* no plan takes fewer, in whatever parts `split` allows: weights, what is trained and the
                              largest product's operands */
    int64_t split;
    double extra_work;
    double step_seconds;   /* modelled, of an optimizer step */
    double flops;          /* of products and attention in an optimizer step, recomputed ones included */
    double extra_flops;    /* of them, recomputed */
    bool is_chain;         /* one value between any two segments: the least bytes are the least there are */
    int64_t segments;      /* that backward visits */
    double solve_seconds;  /* spent on the tables for all budgets of the whole batch */
    double measure_seconds; /* spent on measuring what segments take, and the tables of parts */
    const ctlc_plan_point *points; /* from the least bytes to the least time, each better in time than those before */
    size_t npoints;                /* 0 unless ctlc_options.points */
} ctlc_plan;
/* The plan and its points live until the call returns. */
typedef void (*ctlc_plan_fn)(void *ctx, const ctlc_plan *plan);

/* ---- compiled kernels ---- */
/* Machine code that the programs of a process share: a program takes over the kernels that are there and leaves those that it had
 * compiled. Kernels depend on arithmetic, columns and dtypes, and not on tokens, budget or parts of a batch: a host that compiles a
 * model again for another sequence length compiles hardly anything. The bits are those of kernels compiled anew. For the CPU engine;
 * a GPU's machine code has a folder (ctlc_cuda.cache). Calls may use one pool from several threads. */
typedef struct ctlc_kernels ctlc_kernels;
/* allocator: NULL is malloc; it must outlive the pool, and may be called from every thread that compiles or frees programs. */
ctl_status ctlc_kernels_open(const ctl_allocator *allocator, ctlc_kernels **out);
/* Programs that were made with it may live on: the code goes with the last of them. NULL is fine. */
void ctlc_kernels_close(ctlc_kernels *kernels);
size_t ctlc_kernels_count(ctlc_kernels *kernels);

typedef struct ctlc_options {
    const ctl_allocator *allocator; /* NULL: malloc */
    ctl_diagnostic_fn diagnostic;   /* NULL: nothing is said, the status alone tells */
    void *diagnostic_ctx;
    ctlc_engine engine;
    ctl_dtype compute;       /* CTL_REAL: what the spec says (f32 when it says nothing); CTL_F64 for the reference alone */
    int threads;             /* the threads a session will have; 0: all cores */
    const char *tune;        /* name of a tune block; NULL: the only one, or the one without a name */
    const char *const *set;  /* "tokens=16x1024", "compute=bf16", "lr=1e-4", "model.depth=2", "ud.rank=8" */
    size_t nset;
    const char *const *outputs; /* outputs to keep beside the loss; without a loss all are kept */
    size_t noutputs;
    ctlc_kernels *kernels;   /* shared with other programs; NULL: the program's own */
    bool no_fuse;            /* one kernel an operation: same bits, slower */
    bool row_results;        /* evaluate also gives "row results", where the loss is a cross-entropy: for each row its
                                loss, and the class of its largest logit */
    bool input_gradients;    /* also d loss / d real inputs, as outputs named "d NAME" */
    bool check_only;         /* elaborate and check; *out stays NULL */
    bool verify;             /* run the verifier after every pass */
    const char *dump_after;  /* a pass's name, or NULL; "all" for every pass */
    ctlc_dump_fn dump;
    void *dump_ctx;
    ctlc_network network;    /* goes to dump as of the pass "network"; with check_only nothing else is done */
    const char *unfold;      /* which repeated part of the network is drawn in full ("layers.2"); NULL: the first */
    bool network_lines;      /* behind each edge of its text: the file and the line that say it */
    const ctlc_cuda *cuda;   /* with CTLC_CUDA; NULL: nothing is asked for, nothing named */
    ctlc_time_fn time;
    void *time_ctx;
    ctlc_account_fn account; /* NULL: no account; with check_only nothing else is made */
    void *account_ctx;
    const char *account_rules; /* "autograd", or the path of a file of rules */
    int64_t memory;          /* bytes, or CTLC_MEMORY_LEAST, _MOST; 0: what the spec says, and no limit when it says nothing */
    const char *machine;     /* to plan for: "cpu" (NULL), "rtx3090", "rtx4090", "a100", "h100": their rates, and that of a card's
                                memory not all can be had. Code is for the engine all the same */
    const double *rates;     /* four measured ones instead of the machine's: operations a second of f32 products, bf16 products,
                                attention; bytes a second. NULL: modelled */
    bool may_split;          /* a batch of sequences may go through in parts: the program then has fewer rows, and its settings
                                more accumulation */
    int64_t split;           /* into so many parts, where it may; 0: as the plan likes */
    bool plan_only;          /* no machine code: the program tells its bytes, and cannot run */
    bool points;             /* find the plan's points, also without a budget */
    ctlc_plan_fn plan;
    void *plan_ctx;
} ctlc_options;

/* Compiles the file `path` (its imports: the standard library, then files beside it). *out is the caller's, to be
 * freed by ctl_program_free. */
ctl_status ctlc_compile_file(const char *path, const ctlc_options *options, ctl_program **out);
/* The same for text in memory; name stands for the file in diagnostics. Imports: the standard library only. */
ctl_status ctlc_compile_text(const char *name, const char *text, size_t size, const ctlc_options *options,
                             ctl_program **out);
/* Formats a source (compiler/syntax/format.h): the text goes to options->dump as of the pass "format". Of the options, those
 * on memory, diagnostics and dump count. A source with errors is refused; names are not looked up. */
ctl_status ctlc_format_text(const char *name, const char *text, size_t size, const ctlc_options *options);
/* Names of the passes in order, NULL-terminated, for --dump=after:PASS. */
const char *const *ctlc_passes(void);
const char *ctlc_version(void);

#endif
