/* Compiled code against the reference executor, and against itself: the losses and trained parameters of a short run
 * have the same bits with one and two threads, fused and unfused; and are those of the executor within the rounding of
 * the dtype. For every sort of control, f32 and bf16, fixed sequences and packed documents. */
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
#include "tests/shared_kernels.h"

enum { TOKENS = 48, VOCAB = 50, STEPS = 3, MICRO = 2 };

static void hear(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    char text[4096];
    ctl_diagnostic_text(d, text, sizeof text);
    print_error("%s\n", text);
}

typedef struct run {
    double losses[STEPS * MICRO], evaluated, norms[STEPS];
    double *params;
    size_t count;
} run;

static uint32_t word(uint32_t a, uint32_t b) {
    uint32_t out[4], counter[4] = {a, b, 1, 2};
    ctl_philox(counter, 77, out);
    return out[0];
}

static void write_batch(ctl_session *s, uint32_t batch, bool packed) {
    int32_t ids[TOKENS], labels[TOKENS], position[TOKENS], length[TOKENS];
    static const int lengths[] = {1, 20, 5, 22}; /* packed: documents of these lengths, 48 in all */
    int doc = 0, at = 0;
    for (int k = 0; k < TOKENS; k++) {
        int n = packed ? lengths[doc] : 12;
        ids[k] = (int32_t)(word(batch, (uint32_t)k) % VOCAB);
        labels[k] = at + 1 == n ? -100 : (int32_t)(word(batch, (uint32_t)k + 1) % VOCAB);
        position[k] = at, length[k] = n;
        if (++at == n) at = 0, doc = (doc + 1) % 4;
    }
    assert_int_equal(ctl_session_input(s, "ids", CTL_I32, ids, TOKENS), CTL_OK);
    assert_int_equal(ctl_session_input(s, "labels", CTL_I32, labels, TOKENS), CTL_OK);
    if (ctl_session_has_input(s, "position", NULL, NULL))
        assert_int_equal(ctl_session_input(s, "position", CTL_I32, position, TOKENS), CTL_OK);
    if (ctl_session_has_input(s, "length", NULL, NULL))
        assert_int_equal(ctl_session_input(s, "length", CTL_I32, length, TOKENS), CTL_OK);
}

static ctl_program *compile(const char *spec, ctlc_engine engine, ctl_dtype compute, bool no_fuse) {
    ctlc_options options = {.engine = engine, .compute = compute, .threads = 2, .no_fuse = no_fuse, .diagnostic = hear,
                            .verify = true, .kernels = kernels};
    ctl_program *program;
    assert_int_equal(ctlc_compile_text("spec", spec, strlen(spec), &options, &program), CTL_OK);
    return program;
}

static void perform(run *r, const ctl_program *program, int threads, bool packed) {
    ctl_session_options so = {.seed = 9, .threads = threads, .diagnostic = hear};
    ctl_session *s;
    assert_int_equal(ctl_session_open(program, &so, &s), CTL_OK);
    assert_int_equal(ctl_session_load(s), CTL_OK);
    for (size_t p = 0; p < ctl_program_param_count(program); p++) { /* factors that begin at zero hide mistakes */
        ctl_tensor_info info = ctl_program_param_at(program, p);
        size_t n = (size_t)(info.rows * info.cols);
        float *values = malloc(n * sizeof *values);
        assert_int_equal(ctl_session_param_read(s, p, CTL_F32, values), CTL_OK);
        for (size_t k = 0; k < n; k++) values[k] += (float)(0.1 * (ctl_unit(word((uint32_t)p + 1000, (uint32_t)k)) - 0.5));
        assert_int_equal(ctl_session_param_write(s, p, CTL_F32, values), CTL_OK);
        free(values);
    }
    assert_int_equal(ctl_session_load(s), CTL_OK);
    for (int step = 0; step < STEPS; step++) {
        ctl_session_zero_gradients(s);
        for (int micro = 0; micro < MICRO; micro++) {
            write_batch(s, (uint32_t)(step * MICRO + micro), packed);
            ctl_session_set_step(s, (uint64_t)step + 1, micro * TOKENS, 1.0 / (MICRO * (TOKENS - 4)));
            assert_int_equal(ctl_session_forward(s), CTL_OK);
            assert_int_equal(ctl_session_output(s, "loss", false, &r->losses[step * MICRO + micro], 1), CTL_OK);
            assert_int_equal(ctl_session_backward(s), CTL_OK);
        }
        ctl_optimizer_step o = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-4, .clip = 1, .step = (uint64_t)step + 1};
        assert_int_equal(ctl_session_optimize(s, &o, &r->norms[step]), CTL_OK);
    }
    write_batch(s, 99, packed);
    ctl_session_set_step(s, STEPS + 1, 0, 1.0 / (TOKENS - 4));
    assert_int_equal(ctl_session_evaluate(s), CTL_OK);
    assert_int_equal(ctl_session_output(s, "loss", true, &r->evaluated, 1), CTL_OK);
    ctl_flat flat = ctl_session_flat(s);
    r->count = flat.count;
    r->params = malloc((flat.count ? flat.count : 1) * sizeof(double));
    for (size_t k = 0; k < flat.count; k++)
        r->params[k] = flat.dtype == CTL_F64 ? ((double *)flat.params)[k] : (double)((float *)flat.params)[k];
    ctl_session_close(s);
}

static void same_bits(const char *what, const run *a, const run *b) {
    assert_int_equal(a->count, b->count);
    if (memcmp(a->losses, b->losses, sizeof a->losses) != 0 || memcmp(a->norms, b->norms, sizeof a->norms) != 0 ||
        memcmp(&a->evaluated, &b->evaluated, sizeof(double)) != 0)
        fail_msg("%s: losses %.9g and %.9g, norms %.9g and %.9g, evaluated %.9g and %.9g", what, a->losses[0], b->losses[0],
                 a->norms[0], b->norms[0], a->evaluated, b->evaluated);
    for (size_t k = 0; k < a->count; k++)
        if (memcmp(&a->params[k], &b->params[k], sizeof(double)) != 0)
            fail_msg("%s: trained element %zu is %.9g and %.9g", what, k, a->params[k], b->params[k]);
}

static void close_to(const char *what, const run *a, const run *b, double tolerance) {
    for (int k = 0; k < STEPS * MICRO; k++)
        if (!(fabs(a->losses[k] - b->losses[k]) <= tolerance * fabs(b->losses[k])))
            fail_msg("%s: loss %d is %.9g, the executor's %.9g", what, k, a->losses[k], b->losses[k]);
    for (int k = 0; k < STEPS; k++)
        if (!(fabs(a->norms[k] - b->norms[k]) <= 20 * tolerance * fabs(b->norms[k])))
            fail_msg("%s: gradient norm %d is %.9g, the executor's %.9g", what, k, a->norms[k], b->norms[k]);
    if (!(fabs(a->evaluated - b->evaluated) <= tolerance * fabs(b->evaluated)))
        fail_msg("%s: evaluated %.9g, the executor's %.9g", what, a->evaluated, b->evaluated);
}

static void compare(const char *controls, bool packed) {
    char spec[2048], what[256];
    snprintf(spec, sizeof spec,
             "import llama, tuning\n"
             "model m = llama.causal_lm(; vocab = %d, dim = 32, depth = 2, heads = 4, kv_heads = 2, ffn = 40, theta = 100.0)\n"
             "tune m with %s {\n    tokens %s\n}\n", VOCAB, controls, packed ? "48 packed" : "4 x 12");
    static const ctl_dtype dtypes[] = {CTL_F32, CTL_BF16};
    for (int d = 0; d < 2; d++) {
        run reference = {0}, one = {0}, two = {0}, unfused = {0};
        snprintf(what, sizeof what, "%s, %s%s", controls, ctl_dtype_name(dtypes[d]), packed ? ", packed" : "");
        ctl_program *executor = compile(spec, CTLC_REFERENCE, dtypes[d], false);
        ctl_program *compiled = compile(spec, CTLC_CPU, dtypes[d], false), *plain = compile(spec, CTLC_CPU, dtypes[d], true);
        perform(&reference, executor, 1, packed);
        perform(&one, compiled, 1, packed);
        perform(&two, compiled, 2, packed);
        perform(&unfused, plain, 2, packed);
        ctl_program_free(executor);
        ctl_program_free(compiled);
        ctl_program_free(plain);
        close_to(what, &one, &reference, dtypes[d] == CTL_F32 ? 2e-5 : 1e-2);
        same_bits(what, &one, &two);
        same_bits(what, &two, &unfused);
        free(reference.params), free(one.params), free(two.params), free(unfused.params);
    }
}

static void test_state_edges(void **state) {
    (void)state;
    compare("tuning.double(rank = 4)", false);
    compare("tuning.double(rank = 4)", true);
    compare("tuning.cross(rank = 4, hop = 1), tuning.wide(rank = 4)", false);
}
static void test_weight_edges(void **state) {
    (void)state;
    compare("tuning.lora_qkvud(rank = 4, alpha = 8, p = 0.1)", false);
    compare("tuning.ud(rank = 8), tuning.lora_qkv(rank = 4, p = 0.0)", true);
    compare("tuning.dora_qkvud(rank = 4, p = 0.1)", false);
    compare("tuning.dora_qkvud(rank = 4, p = 0.0)", false);
}
static void test_series(void **state) {
    (void)state;
    compare("tuning.houlsby(rank = 4)", false);
    compare("tuning.ia3(), tuning.biases()", false);
    compare("tuning.parallel_adapter(rank = 4)", true);
}
static void test_full(void **state) {
    (void)state;
    compare("tuning.full()", false);
    compare("tuning.full()", true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_state_edges), cmocka_unit_test(test_weight_edges),
                                       cmocka_unit_test(test_series), cmocka_unit_test(test_full)};
    return cmocka_run_group_tests(tests, open_kernels, close_kernels);
}
