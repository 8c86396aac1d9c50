/* ctlc bench on the command line: what it prints, that gradients have the same bits under every budget, and that they are those
 * of the reference executor. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants those before it */
#include <cmocka.h>
#include <jansson.h>

#include "compiler/syntax/stdlib.h"
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

/* The first line of a module with these words. */
static int line_of_library(const char *module, const char *words) {
    for (const ctl_stdlib_file *f = ctl_stdlib; f->name; f++) {
        const char *at = strcmp(f->name, module) == 0 ? strstr(f->text, words) : NULL;
        int line = 1;
        for (const char *c = f->text; at && c < at; c++) line += *c == '\n';
        if (at) return line;
    }
    fail_msg("%s has no `%s`", module, words);
    return 0;
}

/* By line: the tasks' time and operations once more, each line once; attention stands in the model's line and in the library's, LoRA in
 * the tune block's. */
static void check_lines(const json_t *lines, const json_t *optimizer, double flops, double seconds) {
    const json_t *line, *other;
    const int attends = line_of_library("llama", "linear(attend("), lora = line_of_library("control", "y <- scale * (drop(x; p)");
    size_t k, j;
    int found = 0;
    json_array_foreach(lines, k, line) {
        flops -= number(line, "flops"), seconds -= number(line, "seconds");
        assert_string_equal(json_string_value(json_object_get(line, "file")), "small.ctl");
        const char *library = json_string_value(json_object_get(line, "library"));
        if (!library) continue;
        const int at = (int)number(line, "line"), in = (int)number(line, "library_line");
        if (strcmp(library, "<llama>") == 0 && in == attends) assert_int_equal(at, 2), found |= 1;
        if (strcmp(library, "<control>") == 0 && in == lora) assert_int_equal(at, 7), found |= 2;
        json_array_foreach(lines, j, other) {
            if (j == k || number(other, "line") != at || !json_object_get(other, "library")) continue;
            assert_false(strcmp(json_string_value(json_object_get(other, "library")), library) == 0 && number(other, "library_line") == in);
        }
    }
    assert_int_equal(found, 3);
    assert_true(json_array_size(lines) > 5);
    assert_float_equal(seconds, number(optimizer, "seconds"), 1e-9);
    assert_true(fabs(flops) < 1);
}

/* Every product is told of, and nothing twice: their operations are the plan's. */
static void test_profile(void **state) {
    (void)state;
    json_t *b = bench("--tune lora --steps 3 --profile --split 2 --memory max");
    const json_t *profile = json_object_get(b, "profile"), *group;
    double flops = 0, seconds = 0;
    size_t k, products = 0, sums = 0;
    json_array_foreach(profile, k, group) {
        int rows, cols, inner, end = 0;
        const char *name = json_string_value(json_object_get(group, "name"));
        const double times = number(group, "times");
        if (sscanf(name, "product a b' %d x %d x %d -> f32%n", &rows, &cols, &inner, &end) == 3 && end && !name[end])
            assert_float_equal(number(group, "bytes"), times * 4 * (rows * inner + cols * inner + rows * cols), 0.5), products++;
        if (sscanf(name, "product a' b %d x %d x %d += -> f32%n", &rows, &cols, &inner, &end) == 3 && end && !name[end])
            assert_float_equal(number(group, "bytes"), times * 4 * (rows * inner + cols * inner + 2 * rows * cols), 0.5), sums++;
        flops += number(group, "flops"), seconds += number(group, "seconds");
        assert_true(number(group, "seconds") > 0 && number(group, "times") > 0);
        if (k > 0 && k + 1 < json_array_size(profile)) assert_true(number(group, "seconds") <= number(json_array_get(profile, k - 1), "seconds"));
    }
    assert_true(json_array_size(profile) > 10 && seconds > 0 && products > 2 && sums > 2);
    assert_float_equal(2 * flops / number(b, "flops"), 1, 1e-6); /* a part's: there are two */
    check_lines(json_object_get(b, "lines"), json_array_get(profile, json_array_size(profile) - 1), flops, seconds);
    json_decref(b);
    assert_int_equal(ctlc("bench small.ctl --tune double --steps 3 --profile"), 0);
    says("  ms a step  share  TFLOP/s    GB/s  tasks\n");
    says("1 x head\n");
    says("1 x optimizer, and what is computed once an update\n");
    says("  ms a step  share  tasks  line\n");
    says(": y <- x @ weight.T\n");
    says("small.ctl:2, <llama>:16: y <- o_proj: linear(attend(");
    says("small.ctl:3, <control>:7: y <- scale * drop(x @ lora_A.weight.T; p) @ lora_B.weight.T\n");
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
