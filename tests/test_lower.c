/* test_lower: graphs lowered and run by plain loops (naive_engine.h) against the reference executor; fused and not
 * fused give the same bits; the checker finds planted faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/random.h"
#include "compiler/graph/graph_copy.h"
#include "compiler/kernel/lower.h"
#include "compiler/passes/passes.h"
#include "compiler/plan/check.h"
#include "compiler/reference/reference.h"
#include "tests/llama_graph.h"
#include "tests/naive_engine.h"

typedef struct fixture {
    ctl_arena arena;
    jmp_buf failure;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    ctl_arena_init(&f->arena, NULL, &f->failure);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    ctl_arena_free(&f->arena);
    free(f);
    return 0;
}

/* A machine that wants odd strides and scratch for everything. */
static ctl_status odd_scratch(const ctl_task *task, int threads, size_t *bytes) {
    *bytes = (size_t)(task->kind + 1) * 24 * (size_t)threads;
    return CTL_OK;
}
static int64_t odd_chunk(int64_t rows, int64_t vocab) { return vocab > 0 && rows > 3 ? 3 : rows; }
static int64_t odd_stride(int64_t cols, size_t size) { return cols * (int64_t)size % 64 == 0 ? cols + 8 : cols; }
static const ctl_target odd = {"odd", odd_scratch, odd_chunk, odd_stride};

static ctl_lowered lower(fixture *f, const ctl_graph *g, ctl_dtype compute, bool no_fuse) {
    ctl_lower_options options = {.threads = 2, .no_fuse = no_fuse, .compute = compute, .target = &odd,
                                 .settings = {.optimizer = "adamw"}};
    ctl_lowered out;
    const char *why;
    if (ctl_lower(&f->arena, g, &options, NULL, &out, &why) != CTL_OK) fail_msg("lowering: %s", why ? why : "?");
    return out;
}

static double number(uint64_t seed, uint32_t k) {
    uint32_t counter[4] = {k, 0, 0, 0}, out[4];
    ctl_philox(counter, seed, out);
    return 2 * ctl_unit(out[0]) - 1;
}

static double param_number(const ctl_param *p, size_t which, int64_t k) {
    double v = number(which + 1, (uint32_t)k);
    bool norm = p->rows == 1;
    return ctl_bf16_to_f32(ctl_f32_to_bf16((float)(norm ? 1 + 0.25 * v : 0.5 * v)));
}

/* The batch: two documents, some labels not counted. */
static void place_of(int64_t row, int64_t rows, int64_t *position, int64_t *length) {
    int64_t cut = rows / 3;
    *position = row < cut ? row : row - cut;
    *length = row < cut ? cut : rows - cut;
}

static double input_number(const ctl_graph *g, size_t which, int64_t row, int64_t k) {
    const ctl_input *in = &g->inputs.at[which];
    if (!in->is_id) return number(77 + which, (uint32_t)(row * in->cols + k));
    if (strcmp(in->name, "labels") == 0 && row % 5 == 2) return -100;
    return (double)((row * 7 + (int64_t)which * 3) % 11);
}

static const ctl_buffer *host_buffer(const naive *e, const char *name, ctl_operand *o) {
    for (size_t k = 0; k < e->p->ninputs; k++)
        if (strcmp(e->p->inputs[k].name, name) == 0) {
            *o = e->p->inputs[k].value;
            return &e->p->buffers[o->buffer];
        }
    return NULL;
}

static void fill(naive *e, const ctl_graph *g, double normaliser) {
    ctl_operand o;
    for (size_t k = 0; k < g->params.n; k++) {
        const ctl_operand *v = &e->p->params[k].value;
        for (int64_t i = 0; i < v->rows; i++)
            for (int64_t j = 0; j < v->cols; j++) naive_put(e, v, i, j, param_number(&g->params.at[k], k, i * v->cols + j));
    }
    for (size_t k = 0; k < g->inputs.n; k++) {
        if (!host_buffer(e, g->inputs.at[k].name, &o)) continue;
        for (int64_t i = 0; i < o.rows; i++)
            for (int64_t j = 0; j < o.cols; j++) naive_put(e, &o, i, j, input_number(g, k, i, j));
    }
    int64_t position, length;
    for (int64_t i = 0; host_buffer(e, "position", &o) && i < o.rows; i++) {
        place_of(i, o.rows, &position, &length);
        naive_put(e, &o, i, 0, (double)position);
        host_buffer(e, "length", &o);
        naive_put(e, &o, i, 0, (double)length);
    }
    if (host_buffer(e, "normaliser", &o)) naive_put(e, &o, 0, 0, normaliser);
}

static void run_all(naive *e, const ctl_lowered *lowered, const ctl_graph *g) {
    naive_open(e, lowered->program, lowered->rows);
    e->seed = 5, e->step = 3, e->row0 = 1000;
    fill(e, g, 0.125);
    naive_run(e, RUN_LOAD);
    naive_run(e, RUN_UPDATE);
    naive_run(e, RUN_FORWARD);
    naive_run(e, RUN_BACKWARD);
}

static ctl_reference *reference(const ctl_graph *g, ctl_dtype compute) {
    ctl_reference *r;
    assert_int_equal(ctl_reference_open(g, compute, NULL, &r), CTL_OK);
    for (size_t k = 0; k < g->params.n; k++)
        for (int64_t i = 0; i < g->params.at[k].rows * g->params.at[k].cols; i++)
            ctl_reference_param(r, k)[i] = param_number(&g->params.at[k], k, i);
    for (size_t k = 0; k < g->inputs.n; k++)
        for (int64_t i = 0; i < g->rows_of[SPACE_TOKENS]; i++)
            for (int64_t j = 0; j < g->inputs.at[k].cols; j++)
                ctl_reference_input(r, k)[i * g->inputs.at[k].cols + j] = input_number(g, k, i, j);
    for (int64_t i = 0; i < g->rows_of[SPACE_TOKENS]; i++) {
        int64_t position, length;
        place_of(i, g->rows_of[SPACE_TOKENS], &position, &length);
        ctl_reference_positions(r)[i] = (double)position, ctl_reference_lengths(r)[i] = (double)length;
    }
    ctl_reference_set_step(r, 5, 3, 1000, 0.125);
    return r;
}

/* Every gradient and output against the executor: largest difference over the largest number. */
static double worst(naive *e, const ctl_graph *g, ctl_dtype compute) {
    ctl_reference *r = reference(g, compute);
    double most = 0;
    for (size_t k = 0; k < g->params.n + g->outputs.n; k++) {
        bool param = k < g->params.n;
        ctl_node_id id = param ? g->params.at[k].grad : g->outputs.at[k - g->params.n].node;
        if (id == CTL_NONE || (param && !g->params.at[k].trained)) continue;
        assert_int_equal(ctl_reference_eval(r, &id, 1), CTL_OK);
        const double *want = ctl_reference_value(r, id);
        ctl_operand o = param ? e->p->params[k].value : e->p->outputs[k - g->params.n].forward;
        if (param) o.buffer = e->p->gradients.buffer;
        double error = 0, size = 0;
        for (int64_t i = 0; i < o.rows; i++) {
            for (int64_t j = 0; j < o.cols; j++) {
                double got = naive_get(e, &o, i, j), expected = want[i * o.cols + j];
                if (!(fabs(got - expected) <= error)) error = fabs(got - expected);
                size = fmax(size, fabs(expected));
            }
        }
        if (!(error <= 1e-30)) error = error / (size + 1e-30);
        if (!(error <= most)) {
            most = error;
            if (!(error <= 0.05)) print_message("%s: %g of %g\n", param ? g->params.at[k].name : "output", error, size);
        }
    }
    ctl_reference_close(r);
    return most;
}

static void same_bits(const naive *a, const naive *b) {
    const ctl_buffer *ga = &a->p->buffers[a->p->gradients.buffer], *gb = &b->p->buffers[b->p->gradients.buffer];
    assert_int_equal(ga->bytes, gb->bytes);
    assert_memory_equal(a->region[REGION_PERSISTENT] + ga->offset, b->region[REGION_PERSISTENT] + gb->offset, ga->bytes);
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

static void check_model(fixture *f, const llama *m, ctl_dtype compute, double tolerance) {
    ctl_graph *g = prepare(f, build_llama(&f->arena, m), compute);
    naive fused, plain;
    ctl_lowered a = lower(f, g, compute, false), b = lower(f, g, compute, true);
    run_all(&fused, &a, g), run_all(&plain, &b, g);
    double error = worst(&fused, g, compute);
    if (!(error <= tolerance)) fail_msg("error %g", error);
    same_bits(&fused, &plain);
    size_t tasks = a.program->run[RUN_FORWARD].n + a.program->run[RUN_BACKWARD].n;
    size_t more = b.program->run[RUN_FORWARD].n + b.program->run[RUN_BACKWARD].n;
    print_message("%zu tasks for %zu, %zu kernels for %zu, step %zu for %zu bytes\n", tasks, more, a.program->nkernels,
                  b.program->nkernels, a.program->region_bytes[REGION_STEP], b.program->region_bytes[REGION_STEP]);
    assert_true(tasks < more);
    naive_run(&fused, RUN_EVALUATE), naive_run(&plain, RUN_EVALUATE);
    double with = naive_get(&fused, &a.program->outputs[0].evaluate, 0, 0);
    double without = naive_get(&plain, &b.program->outputs[0].evaluate, 0, 0);
    assert_true(isfinite(with));
    assert_memory_equal(&with, &without, sizeof with);
    naive_close(&fused), naive_close(&plain);
    a.program->release(a.program), b.program->release(b.program);
}

static const llama small = {.tokens = 19, .hidden = 16, .heads = 4, .kv_heads = 2, .head = 4, .ffn = 24, .vocab = 11,
                            .depth = 2, .rank = 3};

static llama tuned(tuning how, double dropout, bool biased) {
    llama m = small;
    m.how = how, m.dropout = dropout, m.biased = biased;
    return m;
}

static void test_f32(void **state) {
    for (int how = TUNE_LORA; how <= TUNE_FULL; how++) {
        llama m = tuned((tuning)how, how == TUNE_LORA ? 0.25 : 0, how == TUNE_FULL);
        check_model(*state, &m, CTL_F32, 1e-4);
    }
}

static void test_bf16(void **state) {
    for (int how = TUNE_LORA; how <= TUNE_FULL; how++) {
        llama m = tuned((tuning)how, how == TUNE_LORA ? 0.25 : 0, how == TUNE_DOUBLE);
        check_model(*state, &m, CTL_BF16, 0.1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_f32, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bf16, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
