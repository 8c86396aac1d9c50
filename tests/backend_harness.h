/* backend_harness: graphs through the passes, lowering and emission into sessions of the CPU back end (with
 * CTL_BACKEND_ON_CUDA of the CUDA back end, on stand-ins), against the reference executor on the same rounded graph.
 *
 * Graphs are built first and run afterwards, so that row programs that are equal, in whatever graph, are compiled once
 * (bench_emit). Each graph then runs fused with one thread, fused with two and unfused with two: forward, backward,
 * once more (gradients add up) and evaluate. Those three must agree bit by bit, and the first with the executor. (On stand-ins of
 * a GPU every launch goes through its threads in another order, so the first two differ by that.)
 *
 * The tolerance. An error is the L2 norm of the difference over the executor's L2 norm, output by output. Both sides
 * round at the same places, so they differ by the order of products' sums (the executor's are exact) and by the
 * functions (docs/rows.md: under 2 units of the last place). What a graph makes of such differences depends on its
 * condition, which the executor itself tells: in f64 it differs from itself in f32 by `noise`, of the same origin. So
 * an error may be TOLERANCE_F32 of the norm plus NOISE times that. In bf16 a difference of one f32 bit before a cast
 * makes, rarely, one of a bf16 bit (2^-8 of the element) after it, and attention's weights are rounded against the
 * largest score met so far, the executor's against the largest of all: hence TOLERANCE_BF16 of the norm.
 * Where results cancel to nothing (the gradient of a softmax over one column) differences are to be measured by what
 * cancelled: numbers are about 1, so each element may also be wrong by CANCELLED of the tolerance, and the loss, which sums about as many numbers of
 * either sign as there are results, by the tolerance of that sum's size. */
#ifndef CTL_TESTS_BACKEND_HARNESS_H
#define CTL_TESTS_BACKEND_HARNESS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "compiler/emit/emit.h"
#include "compiler/kernel/lower.h"
#include "compiler/passes/cross_entropy.h"
#include "compiler/passes/passes.h"
#include "compiler/plan/equal.h"
#include "compiler/remat/remat.h"
#include "runtime/cpu/cpu.h"
#include "runtime/engine.h"
#include "tests/graph_fixture.h"
#ifdef CTL_BACKEND_ON_CUDA
#include "tests/backend_cuda.h"
#endif

static const double TOLERANCE_F32 = 1e-5, TOLERANCE_BF16 = 1e-2, NOISE = 8, CANCELLED = 0.1;
enum { STEP_SEED = 5, STEP_NUMBER = 3, STEP_ROW = 1000 };

typedef struct trial { /* one graph with its two programs */
    const char *name;
    ctl_graph *g;
    ctl_dtype compute;
    double normaliser;
    bool ignore_all; /* no label counts */
    ctl_op op;       /* of tests of one operation */
    ctl_program *program[2]; /* fused, unfused */
    const ctl_rowprog *const *rows[2];
    size_t *number[2]; /* of their kernels among all row programs */
} trial;

typedef struct bench {
    fixture f; /* its graph is the one being built */
    ctl_map numbers; /* by row program: its number in programs, plus one */
    CTL_VEC(const ctl_rowprog *) programs;
    ctl_rows_kernel *kernels;
    ctl_cpu_code *code;
#ifdef CTL_BACKEND_ON_CUDA
    cuda_bench cuda;
#endif
    CTL_VEC(trial) trials;
    int variants;   /* programs of each graph: 2, or 1: fused alone */
    size_t refused; /* by lowering */
} bench;

static inline void bench_open(bench *b) {
    *b = (bench){.variants = 2};
    fx_open(&b->f, 1, 0);
    b->numbers.arena = &b->f.arena;
}

static inline void bench_close(bench *b) {
    for (size_t k = 0; k < b->trials.n; k++)
        for (int j = 0; j < b->variants; j++) b->trials.at[k].program[j]->release(b->trials.at[k].program[j]);
    if (b->code) ctl_cpu_code_free(b->code);
#ifdef CTL_BACKEND_ON_CUDA
    cuda_bench_drop(&b->cuda);
#endif
    fx_close(&b->f);
}

/* ---- building ---- */
static inline fixture *bench_graph(bench *b, int64_t tokens, int64_t sequence) {
    b->f.g = ctl_graph_new(&b->f.arena);
    b->f.g->rows_of[SPACE_TOKENS] = tokens, b->f.g->sequence = sequence;
    b->f.g->rows_of[SPACE_SEQUENCES] = sequence ? tokens / sequence : 0;
    return &b->f;
}

#define BENCH_NAME(f, ...) ctl_format(&(f)->arena, __VA_ARGS__)

/* Leaves named by what their numbers are (bench_number): the first letter, and for i and l the limit. */
static inline ctl_node_id leaf_rows(fixture *f, int space, char kind, int64_t cols) {
    return fx_input_of(f, space, BENCH_NAME(f, "%c.in%zu", kind, f->g->inputs.n), cols, false);
}
static inline ctl_node_id leaf_input(fixture *f, char kind, int64_t cols) { return leaf_rows(f, SPACE_TOKENS, kind, cols); }
static inline ctl_node_id leaf_ids(fixture *f, char kind, int limit) {
    return fx_input(f, BENCH_NAME(f, "%c%d.in%zu", kind, limit, f->g->inputs.n), 1, true);
}
static inline ctl_node_id leaf_param(fixture *f, char kind, int64_t rows, int64_t cols, bool trained) {
    return fx_param(f, BENCH_NAME(f, "%c.par%zu", kind, f->g->params.n), rows, cols, trained);
}
static inline ctl_node_id state_named(fixture *f, ctl_node_id a) {
    ctl_node_id id = CTL_B1(f->g, CTL_NONE, OP_STATE, a);
    if (id != CTL_NONE) f->g->at[id].path = BENCH_NAME(f, "state%u", id);
    return id;
}

/* The loss grows by the sum of y's elements, each times a number of its own. */
static inline void loss_of(fixture *f, ctl_node_id y) {
    ctl_graph *g = f->g;
    if (y == CTL_NONE) return; /* a misfit, which the verifier reports */
    ctl_node n = g->at[y];
    ctl_node_id by = n.space == SPACE_NONE ? leaf_param(f, 'x', n.rows, n.cols, false) : leaf_rows(f, n.space, 'x', n.cols * n.split);
    if (n.space != SPACE_NONE && n.split > 1) by = fx_with(f, OP_SPLIT, by, n.cols, 0);
    ctl_node_id sum = CTL_B1(g, CTL_NONE, OP_COLSUM, CTL_B1(g, CTL_NONE, OP_SUM, CTL_B2(g, CTL_NONE, OP_MUL, y, by)));
    g->loss = g->loss == CTL_NONE ? sum : CTL_B2(g, CTL_NONE, OP_ADD, g->loss, sum);
}

static inline void show(fixture *f, ctl_node_id y) { fx_output(f, BENCH_NAME(f, "out%zu", f->g->outputs.n), y); }

/* Through the passes, up to what forward keeps. */
static inline ctl_graph *bench_passes(bench *b, const char *name, ctl_dtype compute) {
    ctl_graph *g = b->f.g;
    const char *why = NULL;
    if (g->loss != CTL_NONE) {
        g->loss = state_named(&b->f, g->loss);
        fx_output(&b->f, "loss", g->loss);
    }
    if (!ctl_graph_verify(g, &b->f.arena, &why)) fail_msg("%s: as built: %s", name, why);
    bool *wanted = CTL_NEW_ARRAY(&b->f.arena, bool, g->inputs.n);
    for (size_t k = 0; k < g->inputs.n; k++) wanted[k] = !g->inputs.at[k].is_id;
    ctl_differentiate_options options = {.input_grads = wanted};
    ctl_pass_simplify(g, &g);
    if (g->loss != CTL_NONE) assert_true(ctl_pass_differentiate(g, &options, &g, &b->f.sink));
    ctl_pass_evaluate(g, &g);
    ctl_pass_simplify(g, &g);
    ctl_pass_round(g, compute, &g);
    ctl_pass_products(g, &g);
    return g;
}

static inline ctl_lower_options bench_lower_options(ctl_dtype compute, bool no_fuse) {
#ifdef CTL_BACKEND_ON_CUDA
    const ctl_target *target = ctl_target_cuda();
#else
    const ctl_target *target = ctl_target_cpu();
#endif
    return (ctl_lower_options){.threads = 2, .no_fuse = no_fuse, .compute = compute, .settings = {.optimizer = "sgd"}, .target = target};
}

/* The graph planned for a share (0 .. 1) of what lies between the least bytes and the fastest plan's; it must compute the
 * same. NULL when it cannot be lowered. */
static inline ctl_graph *bench_plan(bench *b, const char *name, const ctl_planner *p, double share) {
    const char *why = NULL;
    double extra;
    int64_t least = p->solved ? ctl_chain_least(p->solved) : 0, most = p->solved ? ctl_chain_most(p->solved) : 0;
    ctl_graph *planned = ctl_planner_graph(&b->f.arena, p, least + (int64_t)(share * (double)(most - least)), &extra);
    if (!planned) fail_msg("%s: no plan within its own tables", name);
    if (!ctl_graph_verify(planned, &b->f.arena, &why)) fail_msg("%s, planned: %s", name, why);
    if (!ctl_graphs_equal(planned, p->g, &b->f.arena, &why)) fail_msg("%s: %s", name, why);
    return planned;
}

static inline const ctl_planner *bench_planner(bench *b, const ctl_graph *g, ctl_dtype compute) {
    const char *why = NULL;
    static const ctl_rates rates = {1e9, 2e9, 1e9, 1e9};
    ctl_lower_options lower = bench_lower_options(compute, false);
    return ctl_planner_make(&b->f.arena, g, &lower, &rates, &why);
}

/* Through the passes and lowering, fused and not. present: notes operations of the final graph, or NULL. share:
 * planned for a share of the bytes (bench_plan); negative: for least time. */
static inline void bench_add_planned(bench *b, const char *name, ctl_dtype compute, bool *present, double share) {
    const char *why = NULL;
    ctl_graph *g = bench_passes(b, name, compute);
    const ctl_planner *planner = share >= 0 ? bench_planner(b, g, compute) : NULL;
    if (planner) g = bench_plan(b, name, planner, share);
    else ctl_pass_save(g, &g);
    if (!ctl_graph_verify(g, &b->f.arena, &why)) fail_msg("%s: %s", name, why);
    trial t = {.name = ctl_strndup(&b->f.arena, name, strlen(name)), .g = g, .compute = compute, .normaliser = 0.125};
    for (int k = 0; k < b->variants; k++) {
        ctl_lower_options lower = bench_lower_options(compute, k == 1);
        ctl_lowered out;
        const ctl_status status = ctl_lower(&b->f.arena, g, &lower, NULL, &out, &why);
        if (status != CTL_OK) {
            print_error("%s: lowering: %s\n", name, why ? why : "?");
            if (k == 1) t.program[0]->release(t.program[0]);
            b->refused++;
            return;
        }
        t.program[k] = out.program, t.rows[k] = out.rows;
    }
    for (size_t id = 0; present && id < g->n; id++) present[g->at[id].op] = true;
    CTL_PUSH(&b->f.arena, &b->trials, t);
}

static inline void bench_add(bench *b, const char *name, ctl_dtype compute, bool *present) {
    bench_add_planned(b, name, compute, present, -1);
}

static inline size_t bench_number_of(bench *b, const ctl_rowprog *p) {
    ctl_text key = {.arena = &b->f.arena};
    ctl_rowprog_key(p, &key);
    size_t *number = ctl_map_get_bytes(&b->numbers, key.at, key.n);
    if (number) return *number;
    number = CTL_NEW(&b->f.arena, size_t);
    *number = b->programs.n;
    CTL_PUSH(&b->f.arena, &b->programs, p);
    ctl_map_put_bytes(&b->numbers, key.at, key.n, number);
    return *number;
}

/* Compiles the row programs of all graphs, those that are equal once. */
static inline void bench_emit(bench *b) {
    ctl_arena *arena = &b->f.arena;
    for (size_t k = 0; k < b->trials.n; k++)
        for (int j = 0; j < b->variants; j++) {
            trial *t = &b->trials.at[k];
            t->number[j] = CTL_NEW_ARRAY(arena, size_t, t->program[j]->nkernels + 1);
            for (size_t i = 0; i < t->program[j]->nkernels; i++) t->number[j][i] = bench_number_of(b, t->rows[j][i]);
        }
#ifdef CTL_BACKEND_ON_CUDA
    for (size_t k = 0; k < b->trials.n; k++)
        for (int j = 0; j < b->variants; j++) cuda_note_parts(arena, b->trials.at[k].program[j], &b->cuda.parts);
    cuda_bench_compile(arena, &b->cuda, b->programs.at, b->programs.n);
#else
    b->kernels = CTL_NEW_ARRAY(arena, ctl_rows_kernel, b->programs.n);
    ctl_emit_options options = {.threads = 2};
    const char *why = NULL;
    if (ctl_cpu_emit(arena, b->programs.at, b->programs.n, &options, b->kernels, &b->code, NULL, &why) != CTL_OK)
        fail_msg("emission: %s", why ? why : "?");
#endif
}

/* A program gets its machine code before it runs, and gives it back. */
static inline void bench_attach(const bench *b, const trial *t, bool no_fuse) {
    ctl_program *p = t->program[no_fuse];
#ifdef CTL_BACKEND_ON_CUDA
    cuda_bench_attach(&b->cuda, p, t->number[no_fuse]);
#else
    for (size_t i = 0; i < p->nkernels; i++) {
        const ctl_rows_kernel *from = &b->kernels[t->number[no_fuse][i]];
        assert_int_equal(p->kernels[i].scratch_bytes, from->scratch_bytes);
        assert_int_equal(p->kernels[i].sums_columns, from->sums_columns);
        p->kernels[i].run = from->run;
    }
    p->engine = &ctl_cpu_engine;
#endif
}
static inline void bench_detach(const trial *t, bool no_fuse) {
#ifdef CTL_BACKEND_ON_CUDA
    cuda_bench_detach(t->program[no_fuse]);
#else
    (void)t, (void)no_fuse;
#endif
}

/* ---- data ---- */
static inline double bench_draw(const char *name, int64_t k) {
    uint32_t out[4], counter[4] = {(uint32_t)k, 0, 0, 0};
    ctl_philox(counter, ctl_hash(name, strlen(name), 3), out);
    return ctl_unit(out[0]);
}

/* x: [-2, 2). p: [0.5, 2). w: [-0.5, 0.5). g: halves from -2 to 2, so that equal numbers meet and comparisons are of
 * exact ones. z: zero. iN: 0 .. N - 1. lN: the same, or a label that does not count. e: extreme numbers. h: large and
 * small ones, finite. */
static inline double bench_number(const trial *t, const char *name, int64_t k) {
    static const double extremes[] = {0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 3.4e38, -3.4e38, 1e-45, -1e-45, 1.17549435e-38,
                                      0.5, -2.5, 88.7, -104, 1e-20, 1e20, -1e10, 16777216};
    double u = bench_draw(name, k);
    switch (name[0]) {
    case 'x': return (float)(4 * u - 2);
    case 'p': return (float)(0.5 + 1.5 * u);
    case 'w': return (float)(u - 0.5);
    case 'g': return floor(9 * u) / 2 - 2;
    case 'i': return floor(u * atoi(name + 1));
    case 'l': return t->ignore_all || bench_draw(name, k + 1000000) < 0.2 ? -100 : floor(u * atoi(name + 1));
    case 'e': return (float)extremes[(size_t)(u * CTL_COUNT(extremes))];
    case 'h': return (float)((u < 0.5 ? -1 : 1) * pow(10, 24 * bench_draw(name, k + 1000000) - 12));
    default: return 0;
    }
}

/* Documents of one row, of 20, 5 and 22 over and over; the last one is cut. Or a document in each of the graph's sequences,
 * which fills it, or lacks a row, or two, to that: padding, a document of its own. */
static inline void bench_place(const ctl_graph *g, int64_t row, int64_t *position, int64_t *length) {
    static const int64_t lengths[] = {1, 20, 5, 22};
    int64_t rows = g->rows_of[SPACE_TOKENS], begin = 0;
    for (size_t k = 0;; k++) {
        *length = lengths[k % CTL_COUNT(lengths)];
        if (g->sequence) {
            int64_t lacks = (int64_t)(k / 2) % 3 < g->sequence ? (int64_t)(k / 2) % 3 : 0;
            *length = k % 2 ? lacks : g->sequence - lacks;
        }
        if (*length > rows - begin) *length = rows - begin;
        if (row < begin + *length) break;
        begin += *length;
    }
    *position = row - begin;
}

/* ---- running ---- */
static inline void bench_hear(void *ctx, const ctl_diagnostic *d) {
    char text[4096];
    ctl_diagnostic_text(d, text, sizeof text);
    print_error("%s: %s\n", (const char *)ctx, text);
}

static inline void write_leaves(const trial *t, ctl_session *s) {
    const ctl_graph *g = t->g;
    int64_t tokens = g->rows_of[SPACE_TOKENS];
    for (size_t k = 0; k < g->params.n; k++) {
        const ctl_param *p = &g->params.at[k];
        int64_t n = p->rows * p->cols;
        float *values = malloc((size_t)n * sizeof *values);
        for (int64_t i = 0; i < n; i++) values[i] = (float)bench_number(t, p->name, i);
        assert_int_equal(ctl_session_param_write(s, k, CTL_F32, values), CTL_OK);
        free(values);
    }
    for (size_t k = 0; k < g->inputs.n; k++) {
        const ctl_input *in = &g->inputs.at[k];
        int64_t n = g->rows_of[in->space] * in->cols;
        if (!ctl_session_has_input(s, in->name, NULL, NULL)) continue;
        float *reals = malloc((size_t)n * sizeof *reals);
        int32_t *ids = malloc((size_t)n * sizeof *ids);
        for (int64_t i = 0; i < n; i++) {
            double v = bench_number(t, in->name, i);
            reals[i] = (float)v;
            if (in->is_id) ids[i] = (int32_t)v;
        }
        assert_int_equal(ctl_session_input(s, in->name, in->is_id ? CTL_I32 : CTL_F32, in->is_id ? (void *)ids : (void *)reals, (size_t)n), CTL_OK);
        free(reals), free(ids);
    }
    if (!ctl_session_has_input(s, "position", NULL, NULL)) return;
    int32_t *places = malloc(2 * (size_t)tokens * sizeof *places);
    for (int64_t i = 0; i < tokens; i++) {
        int64_t position, length;
        bench_place(g, i, &position, &length);
        places[i] = (int32_t)position, places[tokens + i] = (int32_t)length;
    }
    assert_int_equal(ctl_session_input(s, "position", CTL_I32, places, (size_t)tokens), CTL_OK);
    assert_int_equal(ctl_session_input(s, "length", CTL_I32, places + tokens, (size_t)tokens), CTL_OK);
    free(places);
}

/* What a run leaves: every output of forward, of evaluate, inputs' and parameters' gradients after two micro-steps. */
typedef struct result {
    const char *name, *kind;
    ctl_node_id node;
    int64_t count;
    double scale;  /* of the executor's numbers: 2 for gradients of parameters */
    double *value;
} result;
typedef struct results {
    result *at;
    size_t n;
    double *values;
    size_t bytes;
} results;

static inline results bench_results(const trial *t) {
    const ctl_graph *g = t->g;
    results r = {.at = calloc(2 * g->outputs.n + g->inputs.n + g->params.n + 1, sizeof(result))};
    for (size_t k = 0; k < g->outputs.n; k++) {
        const ctl_output *o = &g->outputs.at[k];
        r.at[r.n++] = (result){o->name, "forward", o->node, g->at[o->node].rows * g->at[o->node].cols, 1, NULL};
        if (o->evaluate != CTL_NONE)
            r.at[r.n++] = (result){o->name, "evaluate", o->evaluate, g->at[o->node].rows * g->at[o->node].cols, 1, NULL};
    }
    for (size_t k = 0; k < g->inputs.n; k++)
        if (g->inputs.at[k].grad != CTL_NONE)
            r.at[r.n++] = (result){g->inputs.at[k].name, "d input", g->inputs.at[k].grad,
                                   g->rows_of[g->inputs.at[k].space] * g->inputs.at[k].cols, 1, NULL};
    for (size_t k = 0; k < g->params.n; k++)
        if (g->params.at[k].grad != CTL_NONE)
            r.at[r.n++] = (result){g->params.at[k].name, "gradient", g->params.at[k].grad,
                                   g->params.at[k].rows * g->params.at[k].cols, 2, NULL};
    size_t total = 1;
    for (size_t k = 0; k < r.n; k++) total += (size_t)r.at[k].count;
    r.bytes = total * sizeof(double);
    double *at = r.values = calloc(total, sizeof(double));
    for (size_t k = 0; k < r.n; k++) r.at[k].value = at, at += r.at[k].count;
    return r;
}
static inline void results_free(results *r) { free(r->at), free(r->values); }

static inline void perform(const bench *b, const trial *t, bool no_fuse, int threads, results *out) {
    ctl_session_options options = {.threads = threads, .seed = STEP_SEED, .diagnostic = bench_hear, .diagnostic_ctx = (void *)t->name};
    const ctl_program *p = t->program[no_fuse];
    ctl_session *s;
    bool learns = t->g->loss != CTL_NONE;
    bench_attach(b, t, no_fuse);
    assert_int_equal(ctl_session_open(p, &options, &s), CTL_OK);
    write_leaves(t, s);
    assert_int_equal(ctl_session_load(s), CTL_OK);
    ctl_session_zero_gradients(s);
    ctl_session_set_step(s, STEP_NUMBER, STEP_ROW, t->normaliser);
    for (int k = 0; k < 2; k++) {
        assert_int_equal(ctl_session_forward(s), CTL_OK);
        for (size_t i = 0; i < out->n; i++)
            if (strcmp(out->at[i].kind, "forward") == 0)
                assert_int_equal(ctl_session_output(s, out->at[i].name, false, out->at[i].value, (size_t)out->at[i].count), CTL_OK);
        if (learns) assert_int_equal(ctl_session_backward(s), CTL_OK);
    }
    float *gradients = calloc(p->trained_elements + 1, sizeof *gradients);
    if (learns) assert_int_equal(ctl_session_flat_read(s, CTL_FLAT_GRADIENTS, 0, p->trained_elements, gradients), CTL_OK);
    for (size_t i = 0; i < out->n; i++) {
        result *r = &out->at[i];
        char name[300];
        snprintf(name, sizeof name, "d %s", r->name);
        if (strcmp(r->kind, "d input") == 0)
            assert_int_equal(ctl_session_output(s, name, false, r->value, (size_t)r->count), CTL_OK);
        for (size_t k = 0; strcmp(r->kind, "gradient") == 0 && k < p->nparams; k++)
            for (int64_t j = 0; strcmp(p->params[k].name, r->name) == 0 && j < r->count; j++)
                r->value[j] = gradients[p->params[k].flat + (size_t)j];
    }
    free(gradients);
    assert_int_equal(ctl_session_evaluate(s), CTL_OK);
    for (size_t i = 0; i < out->n; i++)
        if (strcmp(out->at[i].kind, "evaluate") == 0)
            assert_int_equal(ctl_session_output(s, out->at[i].name, true, out->at[i].value, (size_t)out->at[i].count), CTL_OK);
    ctl_session_close(s);
    bench_detach(t, no_fuse);
}

static inline void perform_reference(const trial *t, ctl_dtype compute, results *out) {
    const ctl_graph *g = t->g;
    ctl_reference *r;
    assert_int_equal(ctl_reference_open(g, compute, NULL, &r), CTL_OK);
    int64_t tokens = g->rows_of[SPACE_TOKENS];
    for (size_t k = 0; k < g->params.n; k++)
        for (int64_t i = 0; i < g->params.at[k].rows * g->params.at[k].cols; i++)
            ctl_reference_param(r, k)[i] = bench_number(t, g->params.at[k].name, i);
    for (size_t k = 0; k < g->inputs.n; k++)
        for (int64_t i = 0; i < g->rows_of[g->inputs.at[k].space] * g->inputs.at[k].cols; i++)
            ctl_reference_input(r, k)[i] = bench_number(t, g->inputs.at[k].name, i);
    for (int64_t i = 0; i < tokens; i++) {
        int64_t position, length;
        bench_place(g, i, &position, &length);
        ctl_reference_positions(r)[i] = (double)position, ctl_reference_lengths(r)[i] = (double)length;
    }
    ctl_reference_set_step(r, STEP_SEED, STEP_NUMBER, STEP_ROW, t->normaliser);
    ctl_node_id *nodes = calloc(out->n + 1, sizeof *nodes);
    for (size_t k = 0; k < out->n; k++) nodes[k] = out->at[k].node;
    if (ctl_reference_eval(r, nodes, out->n) != CTL_OK) fail_msg("%s: the executor: %s", t->name, ctl_reference_why(r));
    for (size_t k = 0; k < out->n; k++) {
        const double *from = ctl_reference_value(r, nodes[k]);
        for (int64_t j = 0; j < out->at[k].count; j++) out->at[k].value[j] = out->at[k].scale * from[j];
    }
    free(nodes);
    ctl_reference_close(r);
}

/* ---- comparing ---- */
static inline size_t same_bits(const trial *t, const char *what, const results *a, const results *b) {
    for (size_t k = 0; k < a->n; k++)
        for (int64_t j = 0; j < a->at[k].count; j++)
            if (memcmp(&a->at[k].value[j], &b->at[k].value[j], sizeof(double)) != 0) {
                print_error("%s, %s: %s of %s: element %lld is %.9g and %.9g\n", t->name, what, a->at[k].kind, a->at[k].name,
                            (long long)j, a->at[k].value[j], b->at[k].value[j]);
                return 1;
            }
    return 0;
}

/* Numbers that are not finite must be the same. */
static inline size_t close_to(const trial *t, const results *got, const results *want, const results *exact) {
    double tolerance = t->compute == CTL_BF16 ? TOLERANCE_BF16 : TOLERANCE_F32, elements = (double)got->bytes / sizeof(double);
    for (size_t k = 0; k < got->n; k++) {
        const result *g = &got->at[k], *w = &want->at[k], *e = &exact->at[k];
        double error = 0, size = 0, noise = 0;
        for (int64_t j = 0; j < g->count; j++) {
            double a = g->value[j], b = w->value[j], c = e->value[j];
            if (isnan(b) ? !isnan(a) : isinf(b) ? a != b : !isfinite(a)) {
                print_error("%s: %s of %s: element %lld is %.9g, the executor's %.9g\n", t->name, g->kind, g->name, (long long)j, a, b);
                return 1;
            }
            if (!isfinite(b)) continue;
            error = hypot(error, a - b), size = hypot(size, b);
            if (isfinite(c)) noise = hypot(noise, b - c);
        }
        double most = strcmp(g->name, "loss") == 0 ? sqrt(elements) : CANCELLED * sqrt((double)g->count);
        if (!(error <= tolerance * (size + most) + NOISE * noise)) {
            print_error("%s: %s of %s: error %.3g of %.3g, noise %.3g\n", t->name, g->kind, g->name, error, size, noise);
            return 1;
        }
    }
    return 0;
}

static inline size_t bench_try(const bench *b, const trial *t) {
    results one = bench_results(t), two = bench_results(t), plain = bench_results(t), want = bench_results(t), exact = bench_results(t);
    perform(b, t, false, 1, &one), perform(b, t, false, 2, &two);
    if (b->variants > 1) perform(b, t, true, 2, &plain);
    perform_reference(t, t->compute, &want), perform_reference(t, CTL_F64, &exact);
    size_t wrong = same_bits(t, "run twice", &one, &two) + (b->variants > 1 ? same_bits(t, "fused and unfused", &two, &plain) : 0) +
                   close_to(t, &one, &want, &exact);
    results_free(&one), results_free(&two), results_free(&plain), results_free(&want), results_free(&exact);
    return wrong;
}

/* How many differences there are. */
static inline size_t bench_run(bench *b) {
    size_t wrong = b->refused;
    bench_emit(b);
    for (size_t k = 0; k < b->trials.n; k++) wrong += bench_try(b, &b->trials.at[k]);
    print_message("%zu graphs, %zu row programs\n", b->trials.n, b->programs.n);
    return wrong;
}

#endif
