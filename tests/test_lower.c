/* test_lower: graphs lowered and run by plain loops (naive_engine.h) against the reference executor; fused
 * and not fused give the same bits; every allocation may fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/random.h"
#include "compiler/graph/graph_copy.h"
#include "compiler/reference/reference.h"
#include "tests/lower_fixture.h"
#include "tests/naive_engine.h"

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
            for (int64_t j = 0; j < v->cols; j++)
                naive_put(e, v, i, j, param_number(&g->params.at[k], k, i * v->cols + j));
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
            if (!(error <= 0.05))
                print_message("%s: %g of %g\n", param ? g->params.at[k].name : "output", error, size);
        }
    }
    ctl_reference_close(r);
    return most;
}

static void same_bits(const naive *a, const naive *b) {
    const ctl_buffer *ga = &a->p->buffers[a->p->gradients.buffer],
                     *gb = &b->p->buffers[b->p->gradients.buffer];
    assert_int_equal(ga->bytes, gb->bytes);
    assert_memory_equal(a->region[REGION_PERSISTENT] + ga->offset, b->region[REGION_PERSISTENT] + gb->offset,
                        ga->bytes);
}

static void check_model(fixture *f, const llama *m, ctl_dtype compute, double tolerance) {
    ctl_graph *g = prepare(f, build_llama(&f->arena, m), compute);
    naive fused, plain;
    ctl_lowered a = lower(f, g, compute, false), b = lower(f, g, compute, true);
    run_all(&fused, &a, g), run_all(&plain, &b, g);
    /* The executor in bf16 rounds after each operation, so much that it is further from the truth than what is tried here. */
    double error = worst(&fused, g, compute == CTL_BF16 ? CTL_F64 : compute);
    if (!(error <= tolerance)) fail_msg("error %g", error);
    same_bits(&fused, &plain);
    size_t tasks = a.program->run[RUN_FORWARD].n + a.program->run[RUN_BACKWARD].n;
    size_t more = b.program->run[RUN_FORWARD].n + b.program->run[RUN_BACKWARD].n;
    print_message("%zu tasks for %zu, %zu kernels for %zu, step %zu for %zu bytes\n", tasks, more,
                  a.program->nkernels, b.program->nkernels, a.program->region_bytes[REGION_STEP],
                  b.program->region_bytes[REGION_STEP]);
    assert_true(tasks < more);
    naive_run(&fused, RUN_EVALUATE), naive_run(&plain, RUN_EVALUATE);
    double with = naive_get(&fused, &a.program->outputs[0].evaluate, 0, 0);
    double without = naive_get(&plain, &b.program->outputs[0].evaluate, 0, 0);
    assert_true(isfinite(with));
    assert_memory_equal(&with, &without, sizeof with);
    naive_close(&fused), naive_close(&plain);
    a.program->release(a.program), b.program->release(b.program);
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
        check_model(*state, &m, CTL_BF16, 0.03);
    }
}

/* ---- odd graphs, by hand ---- */
static ctl_graph *odd_graph(fixture *f, int64_t tokens) {
    ctl_graph *g = ctl_graph_new(&f->arena);
    g->rows_of[SPACE_TOKENS] = tokens;
    return g;
}

/* mse of y against an input, as loss. */
static void finish_loss(ctl_graph *g, ctl_node_id y) {
    ctl_node_id target = input_of(g, "target", false, g->at[y].cols);
    g->loss = state_of(g, "loss", ctl_build_mse(g, y, y, target));
    CTL_PUSH(g->arena, &g->outputs, (ctl_output){.name = "loss", .node = g->loss, .evaluate = CTL_NONE});
    CTL_PUSH(g->arena, &g->outputs, (ctl_output){.name = "y", .node = y, .evaluate = CTL_NONE});
}

static void check_graph(fixture *f, ctl_graph *built, ctl_dtype compute, double tolerance) {
    ctl_graph *g = prepare(f, built, compute);
    naive fused, plain;
    ctl_lowered a = lower(f, g, compute, false), b = lower(f, g, compute, true);
    run_all(&fused, &a, g), run_all(&plain, &b, g);
    double error = worst(&fused, g, compute);
    if (!(error <= tolerance)) fail_msg("error %g", error);
    same_bits(&fused, &plain);
    naive_close(&fused), naive_close(&plain);
    a.program->release(a.program), b.program->release(b.program);
}

/* A weight changed by weights (DoRA): norms of rows, vectors turned, products of weights, bias, columns of a
 * weight. */
static ctl_graph *weight_algebra(fixture *f, int64_t tokens) {
    ctl_graph *g = odd_graph(f, tokens);
    ctl_node_id x = input_of(g, "x", false, 12);
    ctl_node_id w = param_of(g, "w", 9, 12, false), a = param_of(g, "a", 3, 12, true),
                b = param_of(g, "b", 9, 3, true);
    ctl_node_id m = param_of(g, "m", 1, 9, true), bias = param_of(g, "bias", 1, 9, true);
    ctl_node_id change = B(OP_MATMUL, b, a), whole = B(OP_ADD, w, change);
    whole = B(OP_ADD, whole, B(OP_MUL, C(0.1), CTL_B0(g, CTL_NONE, OP_EYE, 9, 12)));
    ctl_node_id norm = U(OP_SQRT, U(OP_SUM, B(OP_MUL, whole, whole)));
    ctl_node_id scale = B(OP_DIV, m, U(OP_TRANSPOSE, norm));
    ctl_node_id y = B(OP_ADD, B(OP_MUL, scale, B(OP_ADD, times(g, x, w), times(g, times(g, x, a), b))), bias);
    ctl_node_id part = attr(g, OP_COLUMNS, w, 2, 7); /* [9 x 5] */
    ctl_node_id z = B(OP_MATMUL, state_of(g, "y", y), part);
    finish_loss(g, state_of(g, "z", z));
    return g;
}

/* Look-ups forward and back, of a table that is used twice; a mask from integers; a value repeated over
 * parts. */
static ctl_graph *look_ups(fixture *f, int64_t tokens) {
    ctl_graph *g = odd_graph(f, tokens);
    ctl_node_id ids = input_of(g, "ids", true, 1);
    ctl_node_id table = param_of(g, "table", 11, 8, true), w = param_of(g, "w", 6, 8, true);
    ctl_node_id x = state_of(g, "x", B(OP_TAKE, table, ids));
    ctl_node_id even = B(OP_LT, B(OP_MOD, U(OP_TOREAL, ids), C(2)), C(1));
    ctl_node_id picked = CTL_B3(g, CTL_NONE, OP_SELECT, even, x, B(OP_MUL, x, C(0.5)));
    ctl_node_id parts = attr(g, OP_SPLIT, picked, 4, 0);
    ctl_node_id place = attr(g, OP_REPEAT, CTL_B0(g, CTL_NONE, OP_POSITION, 0), 2, 0);
    ctl_node_id index = CTL_B0(g, CTL_NONE, OP_INDEX, 4);
    ctl_node_id moved = B(OP_ADD, parts, B(OP_MUL, U(OP_SIN, B(OP_MUL, place, C(0.1))), index));
    ctl_node_id most = B(OP_SUB, moved, U(OP_ROWMAX, moved));
    ctl_node_id soft = B(OP_DIV, U(OP_EXP, most), U(OP_SUM, U(OP_EXP, most)));
    ctl_node_id joined = state_of(g, "joined", attr(g, OP_JOIN, soft, 8, 0));
    ctl_node_id tied = B(OP_MATMUL, joined, U(OP_TRANSPOSE, table)); /* [tokens x 11] */
    ctl_node_id pair[] = {times(g, joined, w), attr(g, OP_COLUMNS, tied, 3, 11)};
    finish_loss(g, state_of(g, "y", ctl_build(g, CTL_NONE, OP_CAT, 2, pair, NULL, 0)));
    return g;
}

/* Row programs of two splits and a column sum, each needing the one before, with no task between them. */
static ctl_graph *zigzag(fixture *f, int64_t tokens) {
    ctl_graph *g = odd_graph(f, tokens);
    ctl_node_id x = input_of(g, "x", false, 12), w = param_of(g, "w", 1, 12, true);
    ctl_node_id y = U(OP_TANH, B(OP_MUL, x, w));
    ctl_node_id parts = attr(g, OP_SPLIT, y, 3, 0);
    ctl_node_id centred = B(OP_SUB, parts, B(OP_DIV, U(OP_SUM, parts), C(3)));
    ctl_node_id again = attr(g, OP_JOIN, centred, 12, 0);
    ctl_node_id sums = B(OP_MUL, U(OP_COLSUM, B(OP_MUL, again, y)), C(0.01));
    ctl_node_id z = B(OP_ADD, B(OP_MUL, again, y), B(OP_MUL, x, U(OP_SIN, sums)));
    finish_loss(g, B(OP_MUL, z, w));
    return g;
}

static void test_odd_graphs(void **state) {
    static const int64_t tokens[] = {1, 3, 64, 65, 130};
    for (size_t k = 0; k < CTL_COUNT(tokens); k++) {
        check_graph(*state, weight_algebra(*state, tokens[k]), CTL_F32, 1e-4);
        check_graph(*state, look_ups(*state, tokens[k]), CTL_F32, 1e-4);
        check_graph(*state, zigzag(*state, tokens[k]), CTL_F32, 1e-4);
        check_graph(*state, weight_algebra(*state, tokens[k]), CTL_BF16, 0.1);
        check_graph(*state, look_ups(*state, tokens[k]), CTL_BF16, 0.1);
    }
}

/* More values at once than a kernel takes arguments: the row program is cut. */
static void test_many_arguments(void **state) {
    fixture *f = *state;
    ctl_graph *g = odd_graph(f, 5);
    ctl_node_id x = input_of(g, "x", false, 3), y = x;
    for (int k = 0; k < 150; k++) {
        ctl_node_id p = param_of(g, NAME("p%d", k), 1, 3, true);
        y = B(OP_ADD, B(OP_MUL, y, C(0.9)), U(OP_TANH, B(OP_MUL, B(OP_ADD, x, y), p)));
    }
    finish_loss(g, y);
    check_graph(f, g, CTL_F32, 1e-3);
}

/* ---- what must not be held ---- */
typedef struct failing {
    size_t calls, fail_at, bytes;
} failing;

static void *failing_resize(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    failing *a = ctx;
    if (new_size && ++a->calls == a->fail_at) return NULL;
    a->bytes += new_size - old_size;
    if (new_size == 0) return free(ptr), NULL;
    return realloc(ptr, new_size);
}

static void test_memory(void **state) {
    fixture *f = *state;
    llama m = tuned(TUNE_CONTROL, 0, false);
    ctl_graph *g = prepare(f, build_llama(&f->arena, &m), CTL_F32);
    bool done = false;
    for (size_t at = 1; !done; at++) {
        failing a = {.fail_at = at};
        ctl_allocator allocator = {&a, failing_resize};
        ctl_lower_options options = {
            .threads = 1, .compute = CTL_F32, .target = &odd, .settings = {.optimizer = "sgd"}};
        ctl_lowered out;
        const char *why;
        ctl_status status = ctl_lower(&f->arena, g, &options, &allocator, &out, &why);
        done = status == CTL_OK;
        if (done) {
            assert_int_equal(out.program->moment1.buffer, UINT32_MAX);
            assert_int_equal(out.program->moment2.buffer, UINT32_MAX);
            out.program->release(out.program);
        } else {
            assert_int_equal(status, CTL_ERR_MEMORY);
        }
        assert_int_equal(a.bytes, 0);
        assert_true(at < 1000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_f32, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bf16, setup, teardown),
        cmocka_unit_test_setup_teardown(test_odd_graphs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
