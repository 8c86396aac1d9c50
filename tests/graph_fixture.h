/* graph_fixture: graphs built by hand in tests, and numbers for them. */
#ifndef CTL_TESTS_GRAPH_FIXTURE_H
#define CTL_TESTS_GRAPH_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "base/random.h"
#include "compiler/graph/graph.h"
#include "compiler/reference/reference.h"

typedef struct fixture {
    ctl_arena arena;
    jmp_buf failure;
    ctl_sink sink;
    ctl_graph *g;
    uint32_t drawn; /* random numbers drawn so far */
} fixture;

/* setjmp in the fixture itself would return from fx_open: a test that runs out of memory fails in longjmp. */
static inline void fx_open(fixture *f, int64_t tokens, int64_t sequence) {
    memset(f, 0, sizeof *f);
    ctl_arena_init(&f->arena, NULL, &f->failure);
    f->sink.arena = &f->arena;
    f->g = ctl_graph_new(&f->arena);
    f->g->rows_of[SPACE_TOKENS] = tokens, f->g->rows_of[SPACE_SEQUENCES] = sequence ? tokens / sequence : 0;
    f->g->sequence = sequence;
}
static inline void fx_close(fixture *f) { ctl_arena_free(&f->arena); }

static inline ctl_node_id fx_param(fixture *f, const char *name, int64_t rows, int64_t cols, bool trained) {
    ctl_graph *g = f->g;
    CTL_PUSH(g->arena, &g->params,
             (ctl_param){.name = name,
                         .rows = rows,
                         .cols = cols,
                         .ndims = rows == 1 ? 1 : 2,
                         .trained = trained,
                         .init_node = CTL_NONE,
                         .node = CTL_NONE,
                         .grad = CTL_NONE});
    ctl_node_id id = CTL_B0(g, CTL_NONE, OP_PARAM, (int64_t)g->params.n - 1);
    g->params.at[g->params.n - 1].node = id;
    return id;
}

static inline ctl_node_id fx_input_of(fixture *f, int space, const char *name, int64_t cols, bool is_id) {
    ctl_graph *g = f->g;
    CTL_PUSH(g->arena, &g->inputs,
             (ctl_input){.name = name,
                         .is_id = is_id,
                         .space = space,
                         .cols = cols,
                         .node = CTL_NONE,
                         .grad = CTL_NONE});
    ctl_node_id id = CTL_B0(g, CTL_NONE, OP_INPUT, (int64_t)g->inputs.n - 1);
    g->inputs.at[g->inputs.n - 1].node = id;
    return id;
}

static inline ctl_node_id fx_input(fixture *f, const char *name, int64_t cols, bool is_id) {
    return fx_input_of(f, SPACE_TOKENS, name, cols, is_id);
}

static inline void fx_output(fixture *f, const char *name, ctl_node_id node) {
    CTL_PUSH(f->g->arena, &f->g->outputs, (ctl_output){name, node, CTL_NONE});
}

/* An operation with one attribute. */
static inline ctl_node_id fx_with(fixture *f, ctl_op op, ctl_node_id a, int64_t i0, int64_t i1) {
    return ctl_build(f->g, CTL_NONE, op, 1, &a, (const int64_t[3]){i0, i1}, 0);
}
static inline ctl_node_id fx_matmul(fixture *f, ctl_node_id a, bool ta, ctl_node_id b, bool tb) {
    return ctl_build(f->g, CTL_NONE, OP_MATMUL, 2, (const ctl_node_id[]){a, b}, (const int64_t[3]){ta, tb},
                     0);
}

/* Uniform in [lo, hi), the same sequence in every run. */
static inline double fx_draw(fixture *f, double lo, double hi) {
    uint32_t out[4], counter[4] = {f->drawn++, 0, 0, 0};
    ctl_philox(counter, 20240607, out);
    return lo + (hi - lo) * ctl_unit(out[0]);
}

static inline void fx_verify(fixture *f, const ctl_graph *g) {
    const char *why;
    if (!ctl_graph_verify(g, &f->arena, &why)) fail_msg("%s", why);
}

static inline void near(double found, double expected, double tolerance) {
    if (!(fabs(found - expected) <= tolerance * (1 + fabs(expected))))
        fail_msg("%.17g is not %.17g", found, expected);
}

#endif
