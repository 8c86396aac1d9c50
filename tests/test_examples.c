/* The files of examples/: every tune block compiles; and those of families.ctl, small networks of every family, have on the CPU
 * the loss and the gradients of the reference executor in f64, the same bits in the least memory that there is a plan for, and
 * learn: a few steps on one batch make the loss smaller. */
#include "tests/network_support.h"

#include "tests/example_blocks.h"
#include "tests/shared_kernels.h"

static void compile_block(void *ctx, const char *path, const char *tune) {
    (void)ctx;
    ctlc_options options = {.engine = CTLC_REFERENCE, .diagnostic = hear, .check_only = true, .tune = tune};
    ctl_program *program = NULL;
    if (ctlc_compile_file(path, &options, &program) != CTL_OK) fail_msg("%s, tune %s", path, tune ? tune : "");
}

static void test_all_compile(void **state) {
    (void)state;
    assert_true(each_example_block(compile_block, NULL) > 30);
}

static void open_family(network *n, const char *path, const char *name, ctlc_engine engine, ctl_dtype compute, int64_t memory) {
    ctlc_options options = {.engine = engine, .compute = compute, .diagnostic = hear, .verify = true, .threads = 2, .tune = name, .memory = memory,
                            .kernels = kernels};
    ctl_session_options so = {.seed = 5, .threads = 2, .diagnostic = hear};
    *n = (network){0};
    assert_int_equal(ctlc_compile_file(path, &options, &n->program), CTL_OK);
    assert_int_equal(ctl_session_open(n->program, &so, &n->session), CTL_OK);
    assert_int_equal(ctl_session_load(n->session), CTL_OK);
}

static void close_family(network *n) {
    ctl_session_close(n->session);
    ctl_program_free(n->program);
}

static double gradient_at(network *n, size_t p, int64_t k) {
    ctl_flat flat = ctl_session_flat(n->session);
    size_t at = ctl_program_param_at(n->program, p).flat + (size_t)k;
    return flat.dtype == CTL_F64 ? ((const double *)flat.gradients)[at] : ((const float *)flat.gradients)[at];
}

/* Forward and backward, from the parameters as they are; the loss. */
static double gradients(network *n) {
    double loss;
    assert_int_equal(ctl_session_load(n->session), CTL_OK);
    network_inputs(n, 16);
    ctl_session_zero_gradients(n->session);
    assert_int_equal(ctl_session_forward(n->session), CTL_OK);
    assert_int_equal(ctl_session_output(n->session, "loss", false, &loss, 1), CTL_OK);
    assert_int_equal(ctl_session_backward(n->session), CTL_OK);
    return loss;
}

/* One step of both, from equal numbers none of which is at rest. */
static void compare_families(network *cpu, network *exact, const char *name, double tolerance) {
    network *both[] = {cpu, exact};
    double loss[2];
    for (size_t p = 0; p < ctl_program_param_count(cpu->program); p++) {
        ctl_tensor_info t = ctl_program_param_at(cpu->program, p);
        float *values = calloc((size_t)(t.rows * t.cols), sizeof *values);
        assert_int_equal(ctl_session_param_read(cpu->session, p, CTL_F32, values), CTL_OK);
        for (int64_t k = 0; k < t.rows * t.cols; k++) values[k] += (float)(0.2 * unit(100 + p, (uint32_t)k));
        for (int k = 0; k < 2; k++) assert_int_equal(ctl_session_param_write(both[k]->session, p, CTL_F32, values), CTL_OK);
        free(values);
    }
    for (int k = 0; k < 2; k++) loss[k] = gradients(both[k]);
    if (!(fabs(loss[0] - loss[1]) <= tolerance * fabs(loss[1]))) fail_msg("%s: the loss is %.9g, not %.9g", name, loss[0], loss[1]);
    double size = 0, error = 0;
    for (size_t p = 0; p < ctl_program_param_count(cpu->program); p++) {
        ctl_tensor_info t = ctl_program_param_at(cpu->program, p);
        for (int64_t k = 0; t.trained && k < t.rows * t.cols; k++) {
            double want = gradient_at(exact, p, k), got = gradient_at(cpu, p, k);
            size += want * want, error += (got - want) * (got - want);
        }
    }
    if (!(sqrt(error) <= 10 * tolerance * sqrt(size)) || size == 0)
        fail_msg("%s: gradients are off by %.3g of %.3g", name, sqrt(error), sqrt(size));
}

static void test_families_are_exact(void **state) {
    (void)state;
    const char *path = SOURCE_DIR "/examples/families.ctl";
    char *text = read_file(path), name[100];
    for (const char *at = text; (at = next_tune(at, name, sizeof name));) {
        for (int k = 0; k < 2; k++) {
            network cpu, exact;
            open_family(&cpu, path, name, CTLC_CPU, k ? CTL_BF16 : CTL_F32, 0);
            open_family(&exact, path, name, CTLC_REFERENCE, CTL_F64, 0);
            compare_families(&cpu, &exact, name, k ? 2e-2 : 1e-5);
            close_family(&cpu), close_family(&exact);
        }
    }
    free(text);
}

static void test_families_in_little_memory(void **state) {
    (void)state;
    const char *path = SOURCE_DIR "/examples/families.ctl";
    char *text = read_file(path), name[100];
    for (const char *at = text; (at = next_tune(at, name, sizeof name));) {
        network plain, least;
        open_family(&plain, path, name, CTLC_CPU, CTL_BF16, 0);
        open_family(&least, path, name, CTLC_CPU, CTL_BF16, CTLC_MEMORY_LEAST);
        double a = gradients(&plain), b = gradients(&least);
        ctl_flat f = ctl_session_flat(plain.session), g = ctl_session_flat(least.session);
        if (a != b || f.count != g.count || memcmp(f.gradients, g.gradients, f.count * sizeof(float)) != 0)
            fail_msg("%s: in little memory the loss is %.9g, else %.9g; or gradients differ", name, b, a);
        close_family(&plain), close_family(&least);
    }
    free(text);
}

static double step(network *n, bool learn) {
    double loss;
    ctl_session_zero_gradients(n->session);
    assert_int_equal(ctl_session_forward(n->session), CTL_OK);
    assert_int_equal(ctl_session_output(n->session, "loss", false, &loss, 1), CTL_OK);
    assert_true(isfinite(loss));
    if (!learn) return loss;
    ctl_optimizer_step o = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 1};
    assert_int_equal(ctl_session_backward(n->session), CTL_OK);
    assert_int_equal(ctl_session_optimize(n->session, &o, NULL), CTL_OK);
    return loss;
}

static void test_families_learn(void **state) {
    (void)state;
    const char *path = SOURCE_DIR "/examples/families.ctl";
    char *text = read_file(path), name[100];
    for (const char *at = text; (at = next_tune(at, name, sizeof name));) {
        network n;
        open_family(&n, path, name, CTLC_CPU, CTL_REAL, 0);
        network_inputs(&n, 16);
        double before = step(&n, true), after = 0;
        for (int k = 0; k < 8; k++) after = step(&n, k < 7);
        if (!(after < before)) fail_msg("%s: the loss was %.6f, and is %.6f after eight steps", name, before, after);
        close_family(&n);
    }
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_compile), cmocka_unit_test(test_families_are_exact),
                                       cmocka_unit_test(test_families_in_little_memory),
                                       cmocka_unit_test(test_families_learn)};
    return cmocka_run_group_tests(tests, open_kernels, close_kernels);
}
