/* The goldens: what transformers and PEFT computed of tiny random models that they saved (tools/goldens makes
 * them, and describes their files). Each case is loaded as `--weights` and `--adapter` load, compiled from
 * its spec, and run by the compiled engine and by the reference executor; logits, loss and the gradient of
 * everything trained are those of the libraries: the largest difference in a tensor is below 1e-5 of its
 * largest element, in f32. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "ctl/ctlc.h"
#include "tests/shared_kernels.h"
#include "runtime/safetensors.h"

#define TOLERANCE 1e-5
#define GOLDENS   SOURCE_DIR "/tests/goldens"
enum { SEED = 7, STEP = 3 }; /* tools/goldens/make_goldens.py has the same */

static const char *const cases[] = {
    "llama/full",
    "llama/lora",
    "llama/lora_dropout",
    "llama/rslora",
    "llama/dora",
    "llama/dora_dropout",
    "llama/control",
    "llama/control_dropout",
    "llama/double",
    "llama/mixture",
    "llama/cross",
    "llama/houlsby",
    "llama/parallel_adapter",
    "llama/ia3",
    "llama/vera",
    "llama_tied/full",
    "llama_tied/lora",
    "llama31/full",
    "mistral/full",
    "qwen3/full",
    "qwen2/full",
    "qwen2/lora",
    "qwen2/lora_bias",
    "qwen2/dora",
    "qwen2/control",
    "qwen2/double",
    "roberta/full",
    "roberta/lora",
    "roberta/dora",
    "roberta/control",
    "roberta/double",
    "bert/full",
    "bert/lora",
    "bert/dora",
    "bert/control",
    "bert/double",
    "gpt2/full",
    "gpt2/lora",
    "gpt2/dora",
    "gpt2/control",
    "gpt2/double",
    "vit/full",
    "vit/lora",
    "vit/dora",
    "vit/control",
    "vit/double",
    "llama_classifier/full",
    "llama_classifier/lora",
    "gpt2_classifier/full",
    "gpt2_classifier/lora",
};

static void hear(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    char text[4096];
    ctl_diagnostic_text(d, text, sizeof text);
    print_error("%s\n", text);
}

typedef struct golden {
    const char *name; /* "llama/lora" */
    ctl_tensors *file;
    ctl_program *program;
    ctl_session *session;
    const char *engine;
    double largest; /* element of all gradients */
    double worst;   /* of all comparisons, and where */
    char where[300];
} golden;

static void *allocated(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size);
    assert_non_null(p);
    return p;
}

static size_t elements(const ctl_tensor *t) {
    size_t n = 1;
    for (int d = 0; d < t->ndims; d++) n *= (size_t)t->dims[d];
    return n;
}

static const ctl_tensor *find(const golden *g, const char *name) {
    const ctl_tensor *t = ctl_tensors_find(g->file, name);
    if (!t) fail_msg("%s: golden.safetensors has no '%s'", g->name, name);
    return t;
}

/* max |a - b| / max |b|; a gradient that is zero, all of it, is compared with the largest of all gradients.
 */
static void compare(golden *g, const char *what, const ctl_tensor *want, const double *got, size_t n) {
    if (elements(want) != n)
        fail_msg("%s, %s: %s has %zu elements, should have %zu", g->name, g->engine, what, n, elements(want));
    assert_int_equal(want->dtype, CTL_F32);
    double difference = 0, most = 0;
    for (size_t k = 0; k < n; k++) {
        float x;
        memcpy(&x, (const char *)want->data + 4 * k, 4);
        const double d = fabs(got[k] - x);
        if (!(d <= difference)) difference = d; /* keeps a NaN */
        if (fabs(x) > most) most = fabs(x);
    }
    if (most == 0) most = g->largest;
    assert_true(most > 0);
    const double ratio = difference / most;
    if (!(ratio < TOLERANCE))
        fail_msg("%s, %s: %s is off by %.3g of its largest element", g->name, g->engine, what, ratio);
    if (ratio > g->worst) {
        g->worst = ratio;
        snprintf(g->where, sizeof g->where, "%s (%s)", what, g->engine);
    }
}

static void compare_output(golden *g, const char *output, bool evaluated, const char *tensor) {
    const ctl_tensor *want = find(g, tensor);
    const size_t n = elements(want);
    double *got = allocated(n, sizeof *got);
    assert_int_equal(ctl_session_output(g->session, output, evaluated, got, n), CTL_OK);
    compare(g, tensor, want, got, n);
    free(got);
}

static double largest_gradient(const golden *g) {
    double most = 0;
    for (size_t k = 0; k < ctl_tensors_count(g->file); k++) {
        const ctl_tensor *t = ctl_tensors_at(g->file, k);
        if (strncmp(t->name, "grad.", 5) != 0) continue;
        for (size_t i = 0; i < elements(t); i++) {
            float x;
            memcpy(&x, (const char *)t->data + 4 * i, 4);
            if (fabs(x) > most) most = fabs(x);
        }
    }
    return most;
}

/* Every trained parameter has a golden gradient, and every golden gradient a parameter. */
static void compare_gradients(golden *g) {
    const ctl_flat flat = ctl_session_flat(g->session);
    size_t compared = 0, goldens = 0;
    for (size_t p = 0; p < ctl_program_param_count(g->program); p++) {
        const ctl_tensor_info info = ctl_program_param_at(g->program, p);
        if (!info.trained) continue;
        const size_t n = (size_t)(info.rows * info.cols);
        char name[200];
        snprintf(name, sizeof name, "grad.%s", info.name);
        double *got = allocated(n, sizeof *got);
        for (size_t k = 0; k < n; k++)
            got[k] = flat.dtype == CTL_F64 ? ((const double *)flat.gradients)[info.flat + k]
                                           : (double)((const float *)flat.gradients)[info.flat + k];
        compare(g, name, find(g, name), got, n);
        free(got);
        compared++;
    }
    for (size_t k = 0; k < ctl_tensors_count(g->file); k++)
        goldens += strncmp(ctl_tensors_at(g->file, k)->name, "grad.", 5) == 0;
    assert_int_equal(compared, goldens);
    assert_true(compared > 0);
}

static void write_inputs(golden *g) {
    int64_t counted = 0;
    for (size_t k = 0; k < ctl_tensors_count(g->file); k++) {
        const ctl_tensor *t = ctl_tensors_at(g->file, k);
        if (strncmp(t->name, "input.", 6) != 0) continue;
        const bool place = strcmp(t->name, "input.position") == 0 || strcmp(t->name, "input.length") == 0;
        if (place && !ctl_session_has_input(g->session, t->name + 6, NULL, NULL))
            continue;                        /* nothing reads it */
        void *data = allocated(t->bytes, 1); /* aligned */
        memcpy(data, t->data, t->bytes);
        assert_int_equal(ctl_session_input(g->session, t->name + 6, t->dtype, data, elements(t)), CTL_OK);
        if (strncmp(t->name, "input.label", 11) == 0)
            for (size_t r = 0; r < elements(t); r++) counted += ((const int32_t *)data)[r] != -100;
        free(data);
    }
    assert_true(counted > 0);
    ctl_session_set_step(g->session, STEP, 0, 1.0 / (double)counted);
}

static void load(golden *g) {
    char weights[500], adapter[500], values[600];
    snprintf(weights, sizeof weights, GOLDENS "/%.*s", (int)strcspn(g->name, "/"), g->name);
    snprintf(adapter, sizeof adapter, GOLDENS "/%s", g->name);
    snprintf(values, sizeof values, "%s/adapter_model.safetensors", adapter);
    const char *path = weights;
    ctl_weights_report report;
    assert_int_equal(ctl_session_load_weights(g->session, &path, 1, &report), CTL_OK);
    assert_true(report.loaded > 0);
    assert_int_equal(report.unused, 0);
    if (access(values, R_OK) == 0)
        assert_int_equal(ctl_session_load_adapter(g->session, adapter), CTL_OK);
    else
        assert_int_equal(report.initialised, 0);
    assert_int_equal(ctl_session_load(g->session), CTL_OK);
}

static void run(golden *g, const char *spec, const char *engine, ctlc_engine which, ctl_dtype compute) {
    static const char *const outputs[] = {"logits"};
    const ctlc_options options = {.engine = which,
                                  .compute = compute,
                                  .threads = 2,
                                  .diagnostic = hear,
                                  .verify = true,
                                  .kernels = kernels,
                                  .outputs = outputs,
                                  .noutputs = CTL_COUNT(outputs)};
    g->engine = engine;
    assert_int_equal(ctlc_compile_file(spec, &options, &g->program), CTL_OK);
    assert_int_equal(
        ctl_session_open(g->program, &(ctl_session_options){.seed = SEED, .diagnostic = hear}, &g->session),
        CTL_OK);
    load(g);
    ctl_session_zero_gradients(g->session);
    write_inputs(g);
    assert_int_equal(ctl_session_forward(g->session), CTL_OK);
    compare_output(g, "logits", false, "logits");
    compare_output(g, "loss", false, "loss");
    assert_int_equal(ctl_session_backward(g->session), CTL_OK);
    compare_gradients(g);
    const bool dropout = ctl_tensors_find(g->file, "eval.loss") != NULL;
    assert_int_equal(ctl_session_evaluate(g->session), CTL_OK);
    compare_output(g, "logits", true, dropout ? "eval.logits" : "logits");
    compare_output(g, "loss", true, dropout ? "eval.loss" : "loss");
    ctl_session_close(g->session);
    ctl_program_free(g->program);
}

static void equals_the_golden(void **state) {
    golden g = {.name = *state};
    char path[500], spec[500];
    snprintf(path, sizeof path, GOLDENS "/%s/golden.safetensors", g.name);
    snprintf(spec, sizeof spec, GOLDENS "/%s/spec.ctl", g.name);
    ctl_place place = {{hear, NULL}, &ctl_malloc_allocator};
    assert_int_equal(ctl_tensors_open(path, "", place, &g.file), CTL_OK);
    g.largest = largest_gradient(&g);
    run(&g, spec, "compiled f32", CTLC_CPU, CTL_F32);
    run(&g, spec, "reference f32", CTLC_REFERENCE, CTL_F32);
    run(&g, spec, "reference f64", CTLC_REFERENCE, CTL_F64);
    print_message("           %-22s at most %.1e off, in %s\n", g.name, g.worst, g.where);
    ctl_tensors_close(g.file);
}

int main(void) {
    struct CMUnitTest tests[CTL_COUNT(cases)];
    for (size_t k = 0; k < CTL_COUNT(cases); k++)
        tests[k] = (struct CMUnitTest){cases[k], equals_the_golden, NULL, NULL, (void *)(uintptr_t)cases[k]};
    return cmocka_run_group_tests_name("goldens", tests, open_kernels, close_kernels);
}
