/* Every control of the standard library on whole LLaMA blocks: the gradient of each trained tensor against central
 * differences of the loss in f64 (fourth order, along random directions, relative to the gradient's norm), dropout
 * included: it is counted, so the differentiated function is fixed. Also: parameter counts that papers publish. */
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

static void hear(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    char text[4096];
    ctl_diagnostic_text(d, text, sizeof text);
    print_error("%s\n", text);
}

static double unit(uint64_t seed, uint32_t k) {
    uint32_t out[4], counter[4] = {k, 7, 0, 0};
    ctl_philox(counter, seed, out);
    return ctl_unit(out[0]) - 0.5;
}

typedef struct network {
    ctl_program *program;
    ctl_session *session;
    size_t params;
    double **values; /* of every parameter */
    ctl_tensor_info *info;
} network;

static const char llama[] = "import llama, tuning, linear_systems, control\n"
                            "model m = llama.causal_lm(; vocab = 11, dim = 16, depth = 2, heads = 4, kv_heads = 2, "
                            "ffn = 24, theta = 100.0)\n";

static void open_network(network *n, const char *spec) {
    ctlc_options options = {.engine = CTLC_REFERENCE, .compute = CTL_F64, .diagnostic = hear, .verify = true};
    assert_int_equal(ctlc_compile_text("spec", spec, strlen(spec), &options, &n->program), CTL_OK);
    ctl_session_options so = {.seed = 5, .diagnostic = hear};
    assert_int_equal(ctl_session_open(n->program, &so, &n->session), CTL_OK);
    n->params = ctl_program_param_count(n->program);
    n->values = calloc(n->params, sizeof *n->values);
    n->info = calloc(n->params, sizeof *n->info);
    assert_int_equal(ctl_session_load(n->session), CTL_OK);
    for (size_t p = 0; p < n->params; p++) { /* nothing stays at zero, where gradients of factors vanish */
        n->info[p] = ctl_program_param_at(n->program, p);
        size_t count = (size_t)(n->info[p].rows * n->info[p].cols);
        n->values[p] = calloc(count, sizeof(double));
        assert_int_equal(ctl_session_param_read(n->session, p, CTL_F64, n->values[p]), CTL_OK);
        for (size_t k = 0; k < count; k++) n->values[p][k] += 0.4 * unit(100 + p, (uint32_t)k);
        assert_int_equal(ctl_session_param_write(n->session, p, CTL_F64, n->values[p]), CTL_OK);
    }
    assert_int_equal(ctl_session_load(n->session), CTL_OK);
}

static void close_network(network *n) {
    for (size_t p = 0; p < n->params; p++) free(n->values[p]);
    free(n->values);
    free(n->info);
    ctl_session_close(n->session);
    ctl_program_free(n->program);
}

static void set_inputs(network *n, int64_t tokens) {
    int64_t rows, cols;
    int32_t ids[64], labels[64];
    for (int k = 0; k < 64; k++) ids[k] = (k * 7 + 3) % 11, labels[k] = k % 5 == 2 ? -100 : (k * 5 + 1) % 11;
    if (ctl_session_has_input(n->session, "ids", &rows, &cols)) {
        assert_int_equal(ctl_session_input(n->session, "ids", CTL_I32, ids, (size_t)tokens), CTL_OK);
        assert_int_equal(ctl_session_input(n->session, "labels", CTL_I32, labels, (size_t)tokens), CTL_OK);
    }
    const char *real[] = {"x", "target"};
    for (int k = 0; k < 2; k++)
        if (ctl_session_has_input(n->session, real[k], &rows, &cols)) {
            float x[512];
            for (int j = 0; j < 512; j++) x[j] = (float)(2 * unit(40 + (uint64_t)k, (uint32_t)j));
            assert_int_equal(ctl_session_input(n->session, real[k], CTL_F32, x, (size_t)(rows * cols)), CTL_OK);
        }
    int32_t position[64], length[64];
    for (int k = 0; k < 64; k++) position[k] = k % 5, length[k] = 5; /* documents of five tokens */
    if (ctl_session_has_input(n->session, "position", &rows, &cols))
        assert_int_equal(ctl_session_input(n->session, "position", CTL_I32, position, (size_t)tokens), CTL_OK);
    if (ctl_session_has_input(n->session, "length", &rows, &cols))
        assert_int_equal(ctl_session_input(n->session, "length", CTL_I32, length, (size_t)tokens), CTL_OK);
    ctl_session_set_step(n->session, 3, 0, 1.0 / 8);
}

static double loss_at(network *n, size_t p, const double *direction, double h) {
    size_t count = (size_t)(n->info[p].rows * n->info[p].cols);
    double *moved = malloc(count * sizeof *moved), loss;
    for (size_t k = 0; k < count; k++) moved[k] = n->values[p][k] + h * direction[k];
    assert_int_equal(ctl_session_param_write(n->session, p, CTL_F64, moved), CTL_OK);
    assert_int_equal(ctl_session_load(n->session), CTL_OK);
    assert_int_equal(ctl_session_forward(n->session), CTL_OK);
    assert_int_equal(ctl_session_output(n->session, "loss", false, &loss, 1), CTL_OK);
    free(moved);
    return loss;
}

/* only: a suffix that tensors' names must have; NULL: all trained ones. Returns how many tensors were compared. */
static int check_gradients(const char *spec, int64_t tokens, const char *only) {
    network n;
    open_network(&n, spec);
    set_inputs(&n, tokens);
    ctl_session_zero_gradients(n.session);
    assert_int_equal(ctl_session_forward(n.session), CTL_OK);
    assert_int_equal(ctl_session_backward(n.session), CTL_OK);
    ctl_flat flat = ctl_session_flat(n.session);
    assert_int_equal(flat.dtype, CTL_F64);
    double *gradients = malloc(flat.count * sizeof(double));
    memcpy(gradients, flat.gradients, flat.count * sizeof(double));
    size_t at = 0;
    int compared = 0;
    for (size_t p = 0; p < n.params; p++) {
        if (!n.info[p].trained) continue;
        size_t count = (size_t)(n.info[p].rows * n.info[p].cols), length = strlen(n.info[p].name);
        const double *g = gradients + at;
        at += count;
        if (only && (length < strlen(only) || strcmp(n.info[p].name + length - strlen(only), only) != 0)) continue;
        double norm = 0, size = 0, along = 0, *direction = malloc(count * sizeof *direction);
        for (size_t k = 0; k < count; k++) {
            direction[k] = unit(900 + p, (uint32_t)k);
            norm += g[k] * g[k], size += direction[k] * direction[k], along += g[k] * direction[k];
        }
        double h = 5e-4 / sqrt(size);
        double d1 = loss_at(&n, p, direction, h) - loss_at(&n, p, direction, -h);
        double d2 = loss_at(&n, p, direction, 2 * h) - loss_at(&n, p, direction, -2 * h);
        double difference = (8 * d1 - d2) / (12 * h);
        double error = fabs(difference - along) / (sqrt(norm * size) + 1e-12);
        if (!(error < 1e-6) || !(norm > 0))
            fail_msg("%s: along a direction %.12g, by differences %.12g, error %.3g, norm %.3g", n.info[p].name, along,
                     difference, error, sqrt(norm));
        loss_at(&n, p, direction, 0);
        free(direction);
        compared++;
    }
    assert_int_equal(at, flat.count);
    free(gradients);
    close_network(&n);
    return compared;
}

static int check_llama(const char *controls, const char *more, const char *only) {
    char spec[4096];
    snprintf(spec, sizeof spec, "%s%stune m with %s {\n    tokens 2 x 5\n}\n", llama, more, controls);
    return check_gradients(spec, 10, only);
}

static void test_parallel_control(void **state) {
    (void)state;
    assert_int_equal(check_llama("tuning.double(rank = 3)", "", NULL), 8);
    assert_int_equal(check_llama("tuning.ud(rank = 3)", "", NULL), 4);
    assert_int_equal(check_llama("tuning.cross(rank = 2, hop = 1)", "", NULL), 2);
    assert_int_equal(check_llama("tuning.wide(rank = 2)", "", NULL), 4);
    assert_int_equal(check_llama("tuning.parallel_adapter(rank = 3)", "", NULL), 8);
}

static void test_weight_edges(void **state) {
    (void)state;
    assert_int_equal(check_llama("tuning.lora_qkvud(rank = 3, alpha = 6, p = 0.25)", "", NULL), 20);
    assert_int_equal(check_llama("tuning.lora_qkv(rank = 3), tuning.ud(rank = 2)", "", NULL), 16);
    assert_int_equal(check_llama("tuning.rslora(rank = 3)", "", NULL), 8);
    assert_int_equal(check_llama("tuning.lora_fa(rank = 3)", "", NULL), 4);
    /* two changes of one weight: the second inside the first */
    assert_int_equal(check_llama("twice()", "control twice() on llama.block {\n"
                                            "    mlp.up_proj.weight ~ a: control.lora(; rank = 2, alpha = 2)\n"
                                            "    mlp.up_proj.weight ~ b: control.lora(; rank = 3, alpha = 2)\n}\n", NULL), 8);
}

static void test_dora(void **state) {
    (void)state;
    /* DoRA holds the norm constant, so differences agree for the magnitudes; and for all, where nothing is held. */
    assert_int_equal(check_llama("tuning.dora_qkvud(rank = 2, p = 0.25)", "", "lora_magnitude_vector"), 10);
    static const char whole[] =
        "net dense(x, W; rank, s) -> y {\n"
        "    weight A : [rank, cols(x)] init normal(0.1)\n"
        "    weight B : [cols(W), rank] init 0\n"
        "    weight m : [cols(W)] init sqrt(sum(W.T * W.T)).T\n"
        "    n2 = sum(W.T * W.T) + 2 * s * sum((W.T @ A.T) * B) + s * s * sum((B @ (A @ A.T)) * B)\n"
        "    g = m / sqrt(n2).T\n"
        "    y <- g * (x @ W)\n"
        "    y <- g * (s * (x @ A.T) @ B.T)\n}\n"
        "control whole() on llama.block {\n    mlp.{up_proj, down_proj}.weight ~ dense(; rank = 2, s = 0.5)\n}\n";
    assert_int_equal(check_llama("whole()", whole, NULL), 12);
}

static void test_series(void **state) {
    (void)state;
    assert_int_equal(check_llama("tuning.houlsby(rank = 3)", "", NULL), 16);
    assert_int_equal(check_llama("tuning.ia3()", "", NULL), 6);
    assert_int_equal(check_llama("tuning.houlsby(rank = 2), tuning.ia3()", "", NULL), 22);
}

static void test_additive(void **state) {
    (void)state;
    assert_int_equal(check_llama("tuning.biases()", "", NULL), 2);
}

static void test_full(void **state) {
    (void)state;
    assert_int_equal(check_llama("tuning.full()", "", NULL), 21);
    /* tied head: the table's gradient comes from both ends */
    char spec[2048];
    snprintf(spec, sizeof spec,
             "import llama, tuning\nmodel m = llama.causal_lm(; vocab = 11, dim = 8, depth = 1, heads = 2, kv_heads = 1, "
             "ffn = 12, theta = 100.0, tied = true, biased = true)\ntune m with tuning.full() {\n    tokens 2 x 5\n}\n");
    assert_int_equal(check_gradients(spec, 10, NULL), 14);
}

static void test_linear_systems(void **state) {
    (void)state;
    assert_int_equal(check_gradients("import linear_systems, tuning\nmodel m = linear_systems.residual(; depth = 3, d = 4)\n"
                                     "tune m with tuning.affine(m = 2) {\n    tokens 6 x 1\n}\n", 6, NULL), 12);
    assert_int_equal(check_gradients("import linear_systems, control\nmodel m = linear_systems.deep_linear(; depth = 3, d = 4)\n"
                                     "control c() on linear_systems.deep_linear {\n    layers[*].weight ~ control.lora(; rank = 2, alpha = 2)\n}\n"
                                     "tune m with c() {\n    tokens 6 x 1\n}\n", 6, NULL), 6);
}

/* ---- counts: LLaMA2-7B and LLaMA3-8B, as the papers print them, in millions ---- */
static void count_trained(void *ctx, const char *pass, const char *text, size_t size) {
    (void)pass;
    double *total = ctx;
    const char *end = text + size;
    for (const char *line = text; line < end;) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        next = next ? next + 1 : end;
        const char *mark = NULL;
        for (const char *c = line; c + 9 < next && !mark; c++)
            if (memcmp(c, ", trained", 9) == 0) mark = c;
        long rows, cols;
        if (mark && sscanf(strchr(mark, ':'), ": [%ld x %ld]", &rows, &cols) == 2) *total += (double)rows * (double)cols;
        line = next;
    }
}

static void test_published_counts(void **state) {
    (void)state;
    static const char models[] =
        "import llama, tuning\n"
        "model l2 = llama.causal_lm(; vocab = 32000, dim = 4096, depth = 32, heads = 32, kv_heads = 32, ffn = 11008, theta = 10000.0)\n"
        "model l3 = llama.causal_lm(; vocab = 128256, dim = 4096, depth = 32, heads = 32, kv_heads = 8, ffn = 14336, theta = 500000.0)\n"
        "tune %s with %s {\n    tokens 16 x 256\n}\n";
    static const struct {
        const char *model, *controls;
        double millions;
    } cases[] = {
        {"l2", "tuning.lora_qkvud()", 56.10}, {"l2", "tuning.dora_qkvud()", 56.98}, {"l2", "tuning.ud(), tuning.lora_qkv()", 41.94},
        {"l2", "tuning.double()", 33.55},     {"l3", "tuning.lora_qkvud()", 56.62}, {"l3", "tuning.dora_qkvud()", 57.41},
        {"l3", "tuning.ud(), tuning.lora_qkv()", 35.65}, {"l3", "tuning.double()", 33.55},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char spec[2048];
        double total = 0;
        snprintf(spec, sizeof spec, models, cases[k].model, cases[k].controls);
        ctlc_options options = {.engine = CTLC_REFERENCE, .check_only = true, .diagnostic = hear, .dump_after = "elaborate",
                                .dump = count_trained, .dump_ctx = &total};
        ctl_program *program;
        assert_int_equal(ctlc_compile_text("spec", spec, strlen(spec), &options, &program), CTL_OK);
        if (!(fabs(total / 1e6 - cases[k].millions) <= 0.005))
            fail_msg("%s with %s: %.3f million trained, published %.2f", cases[k].model, cases[k].controls, total / 1e6, cases[k].millions);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parallel_control), cmocka_unit_test(test_weight_edges), cmocka_unit_test(test_dora),
        cmocka_unit_test(test_series),           cmocka_unit_test(test_additive),     cmocka_unit_test(test_full),
        cmocka_unit_test(test_linear_systems),   cmocka_unit_test(test_published_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
