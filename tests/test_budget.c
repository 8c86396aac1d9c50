/* Budgets: whatever memory there is, the program keeps to it, and losses and gradients have the bits of the program that
 * keeps everything. For every sort of control, with dropout, f32 and bf16, at twenty budgets from the least to the most; whole batches
 * and split ones (whose bits are those of their own split). Unless CTL_TEST_LONG is in the environment, f32 and split batches
 * have five budgets: nothing in the planner depends on the dtype but sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "ctl/ctlc.h"
#include "runtime/program.h"
#include "tests/shared_kernels.h"

#ifdef __SANITIZE_ADDRESS__
enum { BUDGETS = 4, FEW = 2 }; /* each compiles and runs a program, ten times slower there */
#else
enum { BUDGETS = 20, FEW = 5 };
#endif
enum { VOCAB = 50, SEQUENCES = 4, LENGTH = 32 };

static char heard[4096];
static void hear(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    ctl_diagnostic_text(d, heard, sizeof heard);
}

static uint32_t word(uint32_t a, uint32_t b) {
    uint32_t out[4], counter[4] = {a, b, 1, 2};
    ctl_philox(counter, 77, out);
    return out[0];
}

typedef struct compiled {
    ctl_program *program;
    ctlc_plan plan;
} compiled;

static void take_plan(void *ctx, const ctlc_plan *plan) {
    *(ctlc_plan *)ctx = *plan;
    ((ctlc_plan *)ctx)->points = NULL; /* lives no longer than the call */
}

static ctl_status compile(const char *spec, ctl_dtype compute, int64_t memory, int64_t split, compiled *out) {
    ctlc_options options = {.compute = compute, .threads = 2, .diagnostic = hear, .verify = true, .memory = memory,
                            .may_split = split != 1, .split = split, .plan = take_plan, .plan_ctx = &out->plan,
                            .kernels = kernels};
    heard[0] = 0;
    return ctlc_compile_text("spec", spec, strlen(spec), &options, &out->program);
}

/* The losses and gradients of one step, all micro-steps of the batch. */
typedef struct outcome {
    double loss;
    size_t count;
    float *gradients;
} outcome;

static void feed(ctl_session *s, int64_t first, int64_t rows) {
    int32_t ids[SEQUENCES * LENGTH], labels[SEQUENCES * LENGTH], position[SEQUENCES * LENGTH], length[SEQUENCES * LENGTH];
    for (int64_t k = 0; k < rows; k++) {
        uint32_t at = (uint32_t)(first + k);
        ids[k] = (int32_t)(word(5, at) % VOCAB);
        labels[k] = at % LENGTH == LENGTH - 1 ? -100 : (int32_t)(word(5, at + 1) % VOCAB);
        position[k] = (int32_t)(at % LENGTH), length[k] = LENGTH;
    }
    assert_int_equal(ctl_session_input(s, "ids", CTL_I32, ids, (size_t)rows), CTL_OK);
    assert_int_equal(ctl_session_input(s, "labels", CTL_I32, labels, (size_t)rows), CTL_OK);
    assert_int_equal(ctl_session_input(s, "position", CTL_I32, position, (size_t)rows), CTL_OK);
    if (ctl_session_has_input(s, "length", NULL, NULL))
        assert_int_equal(ctl_session_input(s, "length", CTL_I32, length, (size_t)rows), CTL_OK);
}

static outcome perform(const ctl_program *program, int64_t split) {
    ctl_session_options so = {.threads = 1, .seed = 9, .diagnostic = hear};
    ctl_session *s;
    outcome r = {0};
    assert_int_equal(ctl_session_open(program, &so, &s), CTL_OK);
    assert_int_equal(ctl_session_load(s), CTL_OK);
    for (size_t p = 0; p < ctl_program_param_count(program); p++) { /* factors that begin at zero hide mistakes */
        ctl_tensor_info info = ctl_program_param_at(program, p);
        size_t n = (size_t)(info.rows * info.cols);
        float *values = malloc(n * sizeof *values);
        assert_int_equal(ctl_session_param_read(s, p, CTL_F32, values), CTL_OK);
        for (size_t k = 0; k < n; k++) values[k] += (float)(0.2 * (ctl_unit(word((uint32_t)p + 1000, (uint32_t)k)) - 0.5));
        assert_int_equal(ctl_session_param_write(s, p, CTL_F32, values), CTL_OK);
        free(values);
    }
    assert_int_equal(ctl_session_load(s), CTL_OK);
    ctl_session_zero_gradients(s);
    int64_t rows = SEQUENCES * LENGTH / split;
    for (int64_t part = 0; part < split; part++) {
        double loss;
        feed(s, part * rows, rows);
        ctl_session_set_step(s, 3, part * rows, 1.0 / (SEQUENCES * (LENGTH - 1)));
        assert_int_equal(ctl_session_forward(s), CTL_OK);
        assert_int_equal(ctl_session_output(s, "loss", false, &loss, 1), CTL_OK);
        assert_int_equal(ctl_session_backward(s), CTL_OK);
        r.loss += loss;
    }
    ctl_flat flat = ctl_session_flat(s);
    r.count = flat.count;
    r.gradients = malloc(flat.count * sizeof(float));
    memcpy(r.gradients, flat.gradients, flat.count * sizeof(float));
    ctl_session_close(s);
    return r;
}

static void same_bits(const char *what, const outcome *a, const outcome *b) {
    assert_int_equal(a->count, b->count);
    if (memcmp(&a->loss, &b->loss, sizeof a->loss) != 0) fail_msg("%s: losses %.9g and %.9g", what, a->loss, b->loss);
    for (size_t k = 0; k < a->count; k++)
        if (memcmp(&a->gradients[k], &b->gradients[k], sizeof(float)) != 0)
            fail_msg("%s: gradient %zu is %.9g and %.9g", what, k, (double)a->gradients[k], (double)b->gradients[k]);
    double sum = 0;
    for (size_t k = 0; k < a->count; k++) sum += fabs((double)a->gradients[k]);
    assert_true(sum > 0);
}

static void try_budgets(const char *what, const char *spec, ctl_dtype compute, int64_t split) {
    const int budgets = (compute == CTL_BF16 && split == 1) || getenv("CTL_TEST_LONG") ? BUDGETS : FEW;
    compiled least, most;
    assert_int_equal(compile(spec, compute, CTLC_MEMORY_LEAST, split, &least), CTL_OK);
    assert_int_equal(compile(spec, compute, CTLC_MEMORY_MOST, split, &most), CTL_OK);
    outcome expected = perform(most.program, split), found = perform(least.program, split);
    char text[256];
    snprintf(text, sizeof text, "%s, %s, %lld parts, least", what, ctl_dtype_name(compute), (long long)split);
    same_bits(text, &expected, &found);
    free(found.gradients);
    assert_true(least.plan.peak <= most.plan.peak);
    assert_true(least.plan.lower_bound <= least.plan.peak);
    ctlc_plan last = least.plan;
    for (int k = 0; k <= budgets; k++) {
        int64_t budget = least.plan.peak + (most.plan.peak - least.plan.peak) * k / budgets;
        compiled now;
        snprintf(text, sizeof text, "%s, %s, %lld parts, %lld bytes", what, ctl_dtype_name(compute), (long long)split, (long long)budget);
        ctl_status status = compile(spec, compute, budget, split, &now);
        if (status != CTL_OK) fail_msg("%s: %s", text, heard);
        assert_int_equal(now.plan.peak, (int64_t)ctl_program_memory(now.program).peak);
        if (now.plan.peak > budget) fail_msg("%s: takes %lld", text, (long long)now.plan.peak);
        if (now.plan.peak < last.peak)
            fail_msg("%s: takes %lld, and %lld with less", text, (long long)now.plan.peak, (long long)last.peak);
        const bool again = now.plan.peak == last.peak && now.plan.step_seconds == last.step_seconds;
        last = now.plan;
        if (!again) { /* not the plan of the budget before, and so its program */
            found = perform(now.program, split);
            same_bits(text, &expected, &found);
            free(found.gradients);
        }
        ctl_program_free(now.program);
    }
    compiled refused;
    assert_int_equal(compile(spec, compute, least.plan.peak - 64, split, &refused), CTL_ERR_BUDGET);
    assert_non_null(strstr(heard, "E0509"));
    free(expected.gradients);
    ctl_program_free(least.program);
    ctl_program_free(most.program);
}

enum { WHOLE_BF16 = 1, WHOLE_F32 = 2, SPLIT_BF16 = 4 };

static void try_control(const char *controls, int which) {
    char spec[2048];
    snprintf(spec, sizeof spec,
             "import llama, tuning\n"
             "model m = llama.causal_lm(; vocab = %d, dim = 32, depth = 3, heads = 4, kv_heads = 2, ffn = 80, theta = 100.0)\n"
             "tune m with %s {\n    tokens %d x %d\n}\n", VOCAB, controls, SEQUENCES, LENGTH);
    if (which & WHOLE_BF16) try_budgets(controls, spec, CTL_BF16, 1);
    if (which & WHOLE_F32) try_budgets(controls, spec, CTL_F32, 1);
    if (which & SPLIT_BF16) try_budgets(controls, spec, CTL_BF16, 2);
}

static void test_double(void **state) { (void)state; try_control("tuning.double(rank = 8)", WHOLE_BF16 | WHOLE_F32 | SPLIT_BF16); }
static void test_lora(void **state) { (void)state; try_control("tuning.lora_qkvud(rank = 4, alpha = 8, p = 0.1)", WHOLE_BF16 | WHOLE_F32 | SPLIT_BF16); }
static void test_dora(void **state) { (void)state; try_control("tuning.dora_qkvud(rank = 4, alpha = 8, p = 0.1)", WHOLE_BF16 | WHOLE_F32); }
static void test_mixture(void **state) { (void)state; try_control("tuning.ud(rank = 8), tuning.lora_qkv(rank = 4, alpha = 8, p = 0.1)", WHOLE_BF16 | WHOLE_F32); }
static void test_series(void **state) { (void)state; try_control("tuning.houlsby(rank = 4)", WHOLE_BF16 | WHOLE_F32); }
static void test_cross(void **state) { (void)state; try_control("tuning.cross(rank = 4, hop = 2)", WHOLE_BF16); }
static void test_full(void **state) { (void)state; try_control("tuning.full()", WHOLE_BF16); }

/* Names mean nothing: a network whose nets and states are called otherwise has the same plan at every budget. */
typedef struct kept_plan {
    ctlc_plan plan;
    ctlc_plan_point points[1024];
} kept_plan;
static void keep_plan(void *ctx, const ctlc_plan *plan) {
    kept_plan *to = ctx;
    to->plan = *plan;
    assert_true(plan->npoints <= 1024);
    if (plan->npoints) memcpy(to->points, plan->points, plan->npoints * sizeof *plan->points);
}

static void read_plan(const char *net, const char *block, const char *state, const char *half, kept_plan *to) {
    char spec[4096];
    snprintf(spec, sizeof spec,
             "net %3$s_b(a; n) -> %4$s {\n"
             "    %5$s <- a\n"
             "    %5$s <- down_%3$s: linear(silu(up_%3$s: linear(rms_%3$s: rmsnorm(a); n)); n = cols(a))\n"
             "    %4$s <- %5$s\n"
             "    %4$s <- second_%4$s: linear(gelu(first_%4$s: linear(%5$s; n)); n = cols(a))\n"
             "}\n"
             "net %2$s(x: d, target: d; d, depth) -> z, loss {\n"
             "    t[0] <- x\n"
             "    for i in 0..depth {\n"
             "        t[i + 1] <- part_%3$s[i]: %3$s_b(t[i]; n = 3 * d)\n"
             "    }\n"
             "    z <- t[depth]\n"
             "    loss <- mse(z, target)\n"
             "}\n"
             "control all() on %2$s {\n    train **\n}\n"
             "model m = %2$s(; d = 24, depth = 6)\n"
             "tune m with all() {\n    tokens 4 x 16\n}\n%1$s", "", net, block, state, half);
    ctlc_options options = {.threads = 1, .diagnostic = hear, .plan_only = true, .points = true, .may_split = true,
                            .plan = keep_plan, .plan_ctx = to};
    ctl_program *program;
    if (ctlc_compile_text("spec", spec, strlen(spec), &options, &program) != CTL_OK) fail_msg("%s", heard);
    ctl_program_free(program);
}

static void test_names(void **state) {
    (void)state;
    static kept_plan a, b;
    read_plan("tower", "block", "y", "h", &a);
    read_plan("q", "zebra", "out_of_it", "middle", &b);
    assert_true(a.plan.npoints > 20 && a.plan.segments > 6);
    assert_int_equal(a.plan.npoints, b.plan.npoints);
    assert_int_equal(a.plan.peak, b.plan.peak);
    for (size_t k = 0; k < a.plan.npoints; k++) {
        assert_int_equal(a.points[k].bytes, b.points[k].bytes);
        assert_true(a.points[k].extra_work == b.points[k].extra_work && a.points[k].split == b.points[k].split);
    }
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]); /* one of them, by hand */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_double), cmocka_unit_test(test_lora),   cmocka_unit_test(test_dora), cmocka_unit_test(test_mixture),
        cmocka_unit_test(test_series), cmocka_unit_test(test_cross), cmocka_unit_test(test_full), cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, open_kernels, close_kernels);
}
