/* ctlc bench on the command line: what it prints, that gradients have the same bits under every budget, and that they are those
 * of the reference executor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants those before it */
#include <cmocka.h>
#include <jansson.h>

#include "tests/command.h"

static const char SPEC[] = "import llama, tuning\n"
                           "model m = llama.causal_lm(; vocab = 97, dim = 32, depth = 3, heads = 4, kv_heads = 2, ffn = 96, "
                           "theta = 10000.0)\n"
                           "tune double = m with tuning.double(rank = 4) {\n    tokens 4 x 16\n    adamw(; lr = 1e-2)\n}\n"
                           "tune lora = m with tuning.lora_qkvud(rank = 4, alpha = 8) {\n    tokens 4 x 16\n    adamw(; lr = 1e-2)\n}\n";

static int make_inputs(void **state) {
    if (make_folder(state)) return -1;
    write_file("small.ctl", SPEC);
    return 0;
}

static json_t *bench(const char *options) {
    json_error_t error;
    assert_int_equal(ctlc("bench small.ctl --json %s", options), 0);
    json_t *object = json_loads(output, 0, &error);
    if (!object) fail_msg("%s: %s", error.text, output);
    return object;
}
static double number(const json_t *object, const char *key) {
    assert_true(json_is_number(json_object_get(object, key)));
    return json_number_value(json_object_get(object, key));
}
static char *gradients(const char *options) {
    json_t *object = bench(options);
    char *hash = strdup(json_string_value(json_object_get(object, "gradients")));
    assert_int_equal(strlen(hash), 64);
    json_decref(object);
    return hash;
}

static void test_text(void **state) {
    (void)state;
    assert_int_equal(ctlc("bench small.ctl --tune double --steps 4"), 0);
    says("small.ctl: 44,832 parameters, 1,536 trained; 64 tokens a step\n");
    says("(median of 2)");
    assert_int_equal(ctlc("bench small.ctl --tune double --steps 2"), 2);
    says("--steps is 1 to 1048576, and above --warm");
    assert_int_equal(ctlc("bench small.ctl --tune double --beside gpu"), 2);
    assert_int_equal(ctlc("bench none.ctl"), 4);
}

/* The loss begins near that of guessing, and falls: all steps are taught one batch. */
static void test_falls(void **state) {
    (void)state;
    json_t *b = bench("--tune lora --steps 12");
    const json_t *losses = json_object_get(b, "losses");
    assert_int_equal(json_array_size(losses), 12);
    const double first = json_number_value(json_array_get(losses, 0)), last = json_number_value(json_array_get(losses, 11));
    assert_true(first > 4.4 && first < 4.8); /* log 97 = 4.57 */
    assert_true(last < first - 0.05);
    assert_int_equal(number(b, "tokens"), 64);
    assert_int_equal(number(b, "trained"), 3 * (4 * (32 + 32) + 2 * 4 * (32 + 16) + 2 * 4 * (32 + 96)));
    assert_true(number(b, "least") <= number(b, "median"));
    assert_true(number(b, "allocated") >= number(b, "planned"));
    json_decref(b);
}

static void test_same_bits(void **state) {
    (void)state;
    char *most = gradients("--tune lora --steps 2 --warm 1 --split 2 --memory max");
    char *least = gradients("--tune lora --steps 2 --warm 1 --split 2 --memory min");
    char *again = gradients("--tune lora --steps 2 --warm 1 --split 2 --memory max --seed 2");
    assert_string_equal(most, least);
    assert_string_not_equal(most, again);
    free(most), free(least), free(again);
}

static void test_beside(void **state) {
    (void)state;
    static const char *const tunes[] = {"double", "lora"};
    char options[128];
    for (size_t k = 0; k < CTL_COUNT(tunes); k++) {
        snprintf(options, sizeof options, "--tune %s --steps 3 --beside reference", tunes[k]);
        json_t *b = bench(options);
        assert_true(number(b, "gradients_apart") < 1e-4 && number(b, "loss_apart") < 1e-5);
        json_decref(b);
        snprintf(options, sizeof options, "--tune %s --steps 3 --beside reference --compute bf16", tunes[k]);
        b = bench(options);
        assert_true(number(b, "gradients_apart") < 0.05 && number(b, "loss_apart") < 0.01);
        json_decref(b);
    }
    assert_int_equal(ctlc("bench small.ctl --tune double --steps 3 --beside reference"), 0);
    says("beside reference: losses differ by ");
}

/* Every product is told of, and nothing twice: their operations are the plan's. */
static void test_profile(void **state) {
    (void)state;
    json_t *b = bench("--tune lora --steps 3 --profile --split 2 --memory max");
    const json_t *profile = json_object_get(b, "profile"), *group;
    double flops = 0, seconds = 0;
    size_t k;
    json_array_foreach(profile, k, group) {
        flops += number(group, "flops"), seconds += number(group, "seconds");
        assert_true(number(group, "seconds") > 0 && number(group, "times") > 0);
        if (k > 0 && k + 1 < json_array_size(profile)) assert_true(number(group, "seconds") <= number(json_array_get(profile, k - 1), "seconds"));
    }
    assert_true(json_array_size(profile) > 10 && seconds > 0);
    assert_float_equal(2 * flops / number(b, "flops"), 1, 1e-6); /* a part's: there are two */
    json_decref(b);
    assert_int_equal(ctlc("bench small.ctl --tune double --steps 3 --profile"), 0);
    says("1 x head\n");
    says("1 x optimizer, and what is computed once an update\n");
    assert_int_equal(ctlc("bench small.ctl --tune double --steps 3 --profile --engine reference"), 7);
    says("the engine reference runs no tasks that could be timed");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_falls),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_beside),
        cmocka_unit_test(test_profile),
    };
    return cmocka_run_group_tests(tests, make_inputs, remove_folder);
}
