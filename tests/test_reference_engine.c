/* The reference executor as an engine of the runtime's sessions: a regression trained in steps that are written out here, failing
 * allocations, and data that make no sense. */
#include "tests/graph_fixture.h"


#include "compiler/passes/passes.h"
#include "ctl/ctlrt.h"
#include "tests/meter.h"

enum { TOKENS = 7 };

/* y = x w' + b, loss = normaliser * sum (y - target)^2, b frozen; w begins as twice the frozen matrix w0. */
/* d loss / d x is asked for too. */
static void regression(fixture *f, const ctl_graph **out) {
    ctl_graph *g = f->g, *d, *e;
    ctl_node_id x = fx_input(f, "x", 3, false), target = fx_input(f, "target", 2, false);
    ctl_node_id w0 = fx_param(f, "w0", 2, 3, false), bias = fx_param(f, "b", 1, 2, false),
                w = fx_param(f, "w", 2, 3, true);
    ctl_node_id y = CTL_B2(g, CTL_NONE, OP_ADD, fx_matmul(f, x, false, w, true), bias);
    ctl_node_id error = CTL_B2(g, CTL_NONE, OP_SUB, y, target);
    ctl_node_id sum = CTL_B1(g, CTL_NONE, OP_COLSUM,
                             CTL_B1(g, CTL_NONE, OP_SUM, CTL_B2(g, CTL_NONE, OP_MUL, error, error)));
    g->loss = CTL_B2(g, CTL_NONE, OP_MUL, sum, CTL_B0(g, CTL_NONE, OP_NORMALISER, 0));
    g->params.at[0].init = INIT_NORMAL, g->params.at[0].init_arg = 1;
    g->params.at[2].init = INIT_VALUE;
    g->params.at[2].init_node = CTL_B2(g, CTL_NONE, OP_MUL, w0, ctl_build_const(g, 2));
    fx_output(f, "loss", g->loss);
    fx_output(f, "y", y);
    fx_verify(f, g);
    const bool wanted[2] = {true, false};
    assert_true(ctl_pass_differentiate(g, &(ctl_differentiate_options){wanted}, &d, &f->sink));
    ctl_pass_evaluate(d, &e);
    fx_verify(f, e);
    *out = e;
}

static double regression_loss(const double *x, const double *target, const double *bias, const double *w,
                              double *dw) {
    double loss = 0;
    for (int t = 0; t < TOKENS; t++) {
        for (int i = 0; i < 2; i++) {
            double error = bias[i] - target[t * 2 + i];
            for (int j = 0; j < 3; j++) error += x[t * 3 + j] * w[i * 3 + j];
            loss += error * error / TOKENS;
            for (int j = 0; j < 3; j++) dw[i * 3 + j] += 2 * error * x[t * 3 + j] / TOKENS;
        }
    }
    return loss;
}

static void check_training(ctl_dtype compute, double tolerance) {
    fixture f;
    const ctl_graph *g;
    ctl_program *program;
    ctl_session *s;
    fx_open(&f, TOKENS, 0);
    regression(&f, &g);
    ctl_settings settings = {.optimizer = "sgd"};
    assert_int_equal(ctl_reference_program(g, compute, &settings, NULL, "m", NULL, NULL, &program), CTL_OK);
    double x[TOKENS * 3], target[TOKENS * 2], bias[2] = {0.25, -0.5}, w[6], found[6], loss;
    for (size_t k = 0; k < CTL_COUNT(x); k++) x[k] = (float)fx_draw(&f, -1, 1);
    for (size_t k = 0; k < CTL_COUNT(target); k++) target[k] = (float)fx_draw(&f, -1, 1);
    fx_close(&f); /* the program keeps nothing of the graph's arena */
    assert_int_equal(ctl_session_open(program, &(ctl_session_options){.seed = 5}, &s), CTL_OK);
    assert_int_equal(ctl_session_param_write(s, 1, CTL_F64, bias), CTL_OK);
    assert_int_equal(ctl_session_load(s), CTL_OK);
    assert_int_equal(ctl_session_param_read(s, 0, CTL_F64, w), CTL_OK);
    for (int k = 0; k < 6; k++) w[k] *= 2;
    assert_int_equal(ctl_session_param_read(s, 2, CTL_F64, found), CTL_OK);
    for (int k = 0; k < 6; k++) near(found[k], w[k], tolerance);
    assert_int_equal(ctl_session_input(s, "x", CTL_F64, x, CTL_COUNT(x)), CTL_OK);
    assert_int_equal(ctl_session_input(s, "target", CTL_F64, target, CTL_COUNT(target)), CTL_OK);
    for (uint64_t step = 1; step <= 20; step++) {
        double dw[6] = {0}, expected = regression_loss(x, target, bias, w, dw);
        ctl_session_set_step(s, step, 0, 1.0 / TOKENS);
        ctl_session_zero_gradients(s);
        for (int micro = 0; micro < 2; micro++) { /* twice: gradients add */
            assert_int_equal(ctl_session_forward(s), CTL_OK);
            assert_int_equal(ctl_session_output(s, "loss", false, &loss, 1), CTL_OK);
            assert_int_equal(ctl_session_backward(s), CTL_OK);
        }
        near(loss, expected, tolerance);
        double dx[TOKENS * 3];
        assert_int_equal(ctl_session_output(s, "d x", false, dx, CTL_COUNT(dx)), CTL_OK);
        for (int t = 0; t < TOKENS; t++) {
            for (int j = 0; j < 3; j++) {
                double sum = 0;
                for (int i = 0; i < 2; i++) {
                    double error = bias[i] - target[t * 2 + i];
                    for (int k = 0; k < 3; k++) error += x[t * 3 + k] * w[i * 3 + k];
                    sum += 2 * error * w[i * 3 + j] / TOKENS;
                }
                near(dx[t * 3 + j], sum, tolerance);
            }
        }
        ctl_flat flat = ctl_session_flat(s);
        assert_int_equal(flat.count, 6);
        for (int k = 0; k < 6; k++) {
            near(compute == CTL_F64 ? ((double *)flat.gradients)[k] : ((float *)flat.gradients)[k], 2 * dw[k],
                 tolerance);
            w[k] -= 0.05 * 2 * dw[k];
        }
        double norm;
        ctl_optimizer_step o = {.sgd = true, .lr = 0.05, .step = step};
        assert_int_equal(ctl_session_optimize(s, &o, &norm), CTL_OK);
    }
    assert_int_equal(ctl_session_param_read(s, 2, CTL_F64, found), CTL_OK);
    for (int k = 0; k < 6; k++) near(found[k], w[k], tolerance);
    double dw[6], y[TOKENS * 2];
    assert_int_equal(ctl_session_evaluate(s), CTL_OK);
    assert_int_equal(ctl_session_output(s, "loss", true, &loss, 1), CTL_OK);
    near(loss, regression_loss(x, target, bias, w, dw), tolerance);
    assert_int_equal(ctl_session_output(s, "y", true, y, CTL_COUNT(y)), CTL_OK);
    ctl_session_close(s);
    ctl_program_free(program);
}

static void test_training(void **state) {
    (void)state;
    check_training(CTL_F64, 1e-12);
    check_training(CTL_F32, 1e-5);
}

static void test_every_allocation_may_fail(void **state) {
    (void)state;
    fixture f;
    const ctl_graph *g;
    fx_open(&f, TOKENS, 0);
    regression(&f, &g);
    for (long n = 0, done = 0; !done; n++) {
        meter m = {.left = (size_t)n};
        ctl_allocator allocator = {&m, meter_resize};
        ctl_program *program = NULL;
        ctl_session *s = NULL;
        ctl_reference *r = NULL;
        ctl_settings settings = {.optimizer = "adamw"};
        ctl_status status =
            ctl_reference_program(g, CTL_F64, &settings, NULL, NULL, "control", &allocator, &program);
        if (status == CTL_OK)
            status = ctl_session_open(program, &(ctl_session_options){.allocator = &allocator}, &s);
        if (status == CTL_OK) status = ctl_reference_open(g, CTL_F32, &allocator, &r);
        done = status == CTL_OK;
        assert_true(done || status == CTL_ERR_MEMORY);
        ctl_reference_close(r);
        ctl_session_close(s);
        ctl_program_free(program);
        assert_int_equal(m.held, 0);
        assert_true(n < 1000);
    }
    fx_close(&f);
}

static void test_bad_data_is_said(void **state) {
    (void)state;
    fixture f;
    ctl_program *program;
    ctl_session *s;
    fx_open(&f, TOKENS, 0);
    ctl_node_id table = fx_param(&f, "table", 4, 3, false), ids = fx_input(&f, "ids", 1, true);
    fx_output(&f, "y", CTL_B2(f.g, CTL_NONE, OP_TAKE, table, ids));
    ctl_settings settings = {.optimizer = "sgd"};
    assert_int_equal(ctl_reference_program(f.g, CTL_BF16, &settings, NULL, NULL, NULL, NULL, &program), CTL_OK);
    assert_int_equal(ctl_session_open(program, NULL, &s), CTL_OK);
    assert_int_equal(ctl_session_load(s), CTL_OK);
    const int32_t wrong[TOKENS] = {0, 1, 2, 3, 4};
    assert_int_equal(ctl_session_input(s, "ids", CTL_I32, wrong, TOKENS), CTL_OK);
    assert_int_equal(ctl_session_forward(s), CTL_ERR_INPUT);
    ctl_session_close(s);
    ctl_program_free(program);
    assert_int_equal(ctl_reference_program(f.g, CTL_I32, &settings, NULL, NULL, NULL, NULL, &program),
                     CTL_ERR_UNSUPPORTED);
    fx_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_bad_data_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
