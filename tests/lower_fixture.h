/* lower_fixture: what tests of lowering share: an arena, a machine with odd wishes, a small LLaMA brought
 * through the passes. Include cmocka first. */
#ifndef CTL_TESTS_LOWER_FIXTURE_H
#define CTL_TESTS_LOWER_FIXTURE_H

#include <stdlib.h>

#include "compiler/kernel/lower.h"
#include "compiler/passes/passes.h"
#include "compiler/remat/remat.h"
#include "tests/arena_fixture.h"
#include "tests/llama_graph.h"

/* A machine that wants odd strides and scratch for everything. */
static ctl_status odd_scratch(const ctl_task *task, int threads, size_t *bytes) {
    *bytes = (size_t)(task->kind + 1) * 24 * (size_t)threads;
    return CTL_OK;
}
static int64_t odd_chunk(int64_t rows, int64_t vocab) {
    return vocab > 0 && rows > 3 ? 3 : rows;
}
static int64_t odd_stride(int64_t cols, size_t size) {
    return cols * (int64_t)size % 64 == 0 ? cols + 8 : cols;
}
static const ctl_target odd = {"odd", odd_scratch, odd_chunk, odd_stride};

static ctl_lowered lower(fixture *f, const ctl_graph *g, ctl_dtype compute, bool no_fuse) {
    ctl_lower_options options = {.threads = 2,
                                 .no_fuse = no_fuse,
                                 .compute = compute,
                                 .target = &odd,
                                 .settings = {.optimizer = "adamw"}};
    ctl_lowered out;
    const char *why;
    if (ctl_lower(&f->arena, g, &options, NULL, &out, &why) != CTL_OK)
        fail_msg("lowering: %s", why ? why : "?");
    return out;
}

static ctl_graph *prepare(fixture *f, ctl_graph *g, ctl_dtype compute) {
    ctl_sink sink = {.arena = &f->arena};
    const char *why;
    ctl_pass_simplify(g, &g);
    assert_true(ctl_pass_differentiate(g, NULL, &g, &sink));
    ctl_pass_evaluate(g, &g);
    ctl_pass_simplify(g, &g);
    ctl_pass_round(g, compute, &g);
    ctl_pass_products(g, &g);
    ctl_pass_save(g, &g);
    if (!ctl_graph_verify(g, &f->arena, &why)) fail_msg("%s", why);
    return g;
}

static const llama small = {.tokens = 19,
                            .hidden = 16,
                            .heads = 4,
                            .kv_heads = 2,
                            .head = 4,
                            .ffn = 24,
                            .vocab = 11,
                            .depth = 2,
                            .rank = 3};

static llama tuned(tuning how, double dropout, bool biased) {
    llama m = small;
    m.how = how, m.dropout = dropout, m.biased = biased;
    return m;
}

#endif
