/* driver: the compiler's table of contents. One compilation is one unit: an arena, a sink, and the graph that the
 * passes below hand on, in this order. An allocation that fails jumps back to ctlc_compile, which frees the unit. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "compiler/driver/unit.h"

static void pass_elaborate(ctl_unit *u) {
    ctl_elaborate_options options = {.tune = u->options->tune, .set = u->options->set, .nset = u->options->nset,
                                     .outputs = u->options->outputs, .noutputs = u->options->noutputs,
                                     .read = u->directory ? ctl_unit_read_module : NULL, .read_ctx = u,
                                     .network = u->options->network ? &u->network : NULL};
    u->graph = ctl_elaborate(u->arena, &u->sink, u->main_file, &options, &u->spec);
    if (!u->graph) u->status = CTL_ERR_INPUT;
    else ctl_unit_settle(u);
    if (u->status == CTL_OK && u->network) ctl_unit_show(u);
}
static void pass_simplify(ctl_unit *u) { ctl_pass_simplify(u->graph, &u->graph); }
static void pass_differentiate(ctl_unit *u) {
    bool *wanted = CTL_NEW_ARRAY(u->arena, bool, u->graph->inputs.n);
    for (size_t k = 0; k < u->graph->inputs.n; k++)
        wanted[k] = u->options->input_gradients && !u->graph->inputs.at[k].is_id;
    ctl_differentiate_options options = {.input_grads = wanted};
    if (!ctl_pass_differentiate(u->graph, &options, &u->graph, &u->sink)) u->status = CTL_ERR_INPUT;
}
static void pass_evaluate(ctl_unit *u) { ctl_pass_evaluate(u->graph, &u->graph); }
static void pass_row_results(ctl_unit *u) { if (u->options->row_results) ctl_pass_row_results(u->graph, &u->graph); }
static void pass_round(ctl_unit *u) { ctl_pass_round(u->graph, u->compute, &u->graph); }
static void pass_products(ctl_unit *u) { ctl_pass_products(u->graph, &u->graph); }

typedef enum when { ALWAYS, CPU_ONLY } when;
typedef struct pass {
    const char *name;
    void (*run)(ctl_unit *u);
    when when;
} pass;

/* What a pass is for stands at the head of its file; the graph after any of them can be printed. */
static const pass passes[] = {
    {"elaborate", pass_elaborate, ALWAYS},         /* nets, controls, names -> one graph */
    {"simplify", pass_simplify, ALWAYS},           /* aliases, constants, common values, the loss's head */
    {"account", ctl_unit_account, ALWAYS},         /* beside the flow: what a framework would store */
    {"differentiate", pass_differentiate, ALWAYS}, /* backward nodes, only where a trainable is upstream */
    {"evaluate", pass_evaluate, ALWAYS},           /* a forward without dropout */
    {"row_results", pass_row_results, ALWAYS},     /* of evaluate: each row's loss and predicted class */
    {"tidy", pass_simplify, ALWAYS},               /* what differentiation left over */
    {"round", pass_round, CPU_ONLY},               /* casts made explicit */
    {"products", pass_products, CPU_ONLY},         /* products that share an operand are one */
    {"save", ctl_unit_plan, CPU_ONLY},             /* what forward keeps for backward, within the memory there is */
    {"lower", ctl_unit_lower, CPU_ONLY},           /* group, lower, place, check: tasks and their bytes */
    {"emit", ctl_unit_emit, CPU_ONLY},             /* machine code */
    {"reference", ctl_unit_reference, ALWAYS},     /* the executor instead, where asked for */
};

const char *const *ctlc_passes(void) {
    static const char *const names[] = {"elaborate", "simplify", "differentiate", "evaluate", "row_results", "tidy", "round", "products",
                                        "save", "lower", "emit", NULL};
    return names;
}

const char *ctlc_version(void) { return "0.1.0"; }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool dump_wanted(const ctl_unit *u, const char *name) {
    const char *after = u->options->dump_after;
    return u->options->dump && after && (strcmp(after, "all") == 0 || strcmp(after, name) == 0);
}

static void run_passes(ctl_unit *u) {
    bool reference = u->options->engine == CTLC_REFERENCE;
    for (size_t k = 0; k < CTL_COUNT(passes) && u->status == CTL_OK; k++) {
        const pass *p = &passes[k];
        if (p->run == ctl_unit_reference ? !reference : p->when == CPU_ONLY && reference &&
            !(p->run == pass_round && u->compute == CTL_BF16))
            continue;
        if (p->run == ctl_unit_account && !u->options->account) continue;
        if (p->run == pass_differentiate && (u->graph->loss == CTL_NONE || u->options->check_only)) continue;
        if (u->options->check_only && k > 2) continue;
        double begin = now();
        p->run(u);
        if (u->options->time) u->options->time(u->options->time_ctx, p->name, now() - begin);
        if (u->status != CTL_OK) return;
        const char *why = NULL;
        if (u->options->verify && (!u->program || p->run == ctl_unit_plan) && !ctl_graph_verify(u->graph, u->arena, &why)) {
            ctl_error(&u->sink, CTL_E0901, CTL_NO_SPAN, "this is a defect of ctlc; please report it with the spec",
                      "the graph after the pass `%s` is wrong: %s", p->name, why);
            u->status = CTL_ERR_INTERNAL;
        }
        if (dump_wanted(u, p->name)) {
            ctl_text text = {.arena = u->arena};
            if (u->program && !reference && p->run != ctl_unit_plan) {
                ctl_program_print(u->program, &text);
                for (size_t row = 0; row < u->program->nkernels; row++) {
                    ctl_text_add(&text, "kernel %zu:\n", row);
                    ctl_rowprog_print(u->rows[row], &text);
                }
            }
            else ctl_graph_print(u->graph, &text);
            u->options->dump(u->options->dump_ctx, p->name, text.at ? text.at : "", text.n);
        }
    }
}

static int threads_of(const ctlc_options *options) {
    if (options->threads > 0) return options->threads > 1024 ? 1024 : options->threads;
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 1024 ? 1024 : (int)n;
#endif
}

/* What must survive a jump out of a failed allocation. */
typedef struct compilation {
    ctl_arena arena;
    ctl_unit unit;
    jmp_buf jump;
    const char *name, *path, *text; /* path NULL: the text is given */
    size_t size;
} compilation;

static void run(compilation *c) {
    ctl_unit *u = &c->unit;
    ctl_arena_init(&c->arena, u->options->allocator, &c->jump);
    u->arena = &c->arena;
    u->sink = (ctl_sink){.arena = &c->arena, .fn = u->options->diagnostic, .ctx = u->options->diagnostic_ctx};
    u->known_scratch = (ctl_map){.arena = &c->arena};
    u->threads = threads_of(u->options);
    if (c->path) {
        const char *slash = strrchr(c->path, '/');
        u->directory = slash ? ctl_strndup(u->arena, c->path, (size_t)(slash - c->path) + 1) : "";
        c->text = ctl_unit_read_file(u, c->path, &c->size);
        if (!c->text) {
            u->status = CTL_ERR_IO;
            ctl_error(&u->sink, CTL_E0508, CTL_NO_SPAN,
                      errno == EISDIR ? "give the path of a .ctl file; `ctlc import DIR -o my.ctl` writes one of a checkpoint's folder"
                                      : "give the path of a .ctl file",
                      "the spec `%s` cannot be read: %s", c->path,
                      strerror(errno));
            return;
        }
    }
    u->main_file = ctl_sink_add_source(&u->sink, c->name, c->text, c->size);
    run_passes(u);
    if (u->status == CTL_OK && u->sink.errors) u->status = CTL_ERR_INPUT;
}

static ctl_status start(const char *name, const char *path, const char *text, size_t size, const ctlc_options *options,
                        ctl_program **out) {
    static const ctlc_options defaults;
    *out = NULL;
    if (!options) options = &defaults;
    const ctl_allocator *a = ctl_allocator_or_default(options->allocator);
    compilation *c = ctl_alloc(a, sizeof *c);
    if (!c) return CTL_ERR_MEMORY;
    c->unit.options = options;
    c->name = name, c->path = path, c->text = text, c->size = size;
    if (setjmp(c->jump) == 0) run(c);
    else c->unit.status = CTL_ERR_MEMORY;
    if (c->unit.status != CTL_OK) ctl_unit_drop(&c->unit);
    ctl_arena_free(&c->arena);
    ctl_status status = c->unit.status;
    *out = c->unit.program;
    ctl_free(a, c, sizeof *c);
    return status;
}

ctl_status ctlc_compile_file(const char *path, const ctlc_options *options, ctl_program **out) {
    return start(path, path, NULL, 0, options, out);
}

ctl_status ctlc_compile_text(const char *name, const char *text, size_t size, const ctlc_options *options,
                             ctl_program **out) {
    return start(name, NULL, text, size, options, out);
}
