/* Budgets on the command line: what plan tells holds while training, and a run that goes on keeps its plan. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants those before it */
#include <cmocka.h>
#include <jansson.h>
#include <math.h>

#include "tests/command.h"

static const char SPEC[] = "import llama, tuning\n"
                           "model m = llama.causal_lm(; vocab = 258, dim = 32, depth = 4, heads = 2, "
                           "kv_heads = 2, ffn = 96, theta = 10000.0)\n"
                           "tune m with tuning.double(rank = 4) {\n"
                           "    tokens 4 x 32\n    adamw(; lr = 1e-2)\n}\n";

static int make_inputs(void **state) {
    if (make_folder(state)) return -1;
    write_file("small.ctl", SPEC);
    char text[4096] = "";
    for (int i = 0; i < 60; i++) snprintf(text + strlen(text), sizeof text - strlen(text), "line %d is said again, %d times.\n", i, i * i);
    write_file("text.txt", text);
    return 0;
}

static json_t *printed(void) {
    json_error_t error;
    json_t *object = json_loads(output, 0, &error);
    if (!object) fail_msg("%s: %s", error.text, output);
    return object;
}
static json_int_t whole(const json_t *object, const char *key) {
    assert_true(json_is_integer(json_object_get(object, key)));
    return json_integer_value(json_object_get(object, key));
}
static json_t *file(const char *name) {
    char path[512];
    json_error_t error;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    json_t *object = json_load_file(path, 0, &error);
    assert_non_null(object);
    return object;
}

static json_int_t least_bytes;

static void test_report(void **state) {
    (void)state;
    assert_int_equal(ctlc("plan small.ctl --json --memory max"), 0);
    json_t *most = printed();
    assert_int_equal(ctlc("plan small.ctl --json --memory min"), 0);
    json_t *least = printed();
    least_bytes = whole(least, "peak_bytes");
    assert_true(least_bytes < whole(most, "peak_bytes"));
    assert_true(whole(least, "lower_bound") <= least_bytes);
    assert_int_equal(whole(most, "lower_bound"), whole(least, "lower_bound")); /* of all plans, not of the one chosen */
    assert_int_equal(whole(least, "split"), 4);
    assert_int_equal(whole(most, "split"), 1);
    assert_true(json_real_value(json_object_get(least, "extra_work")) > 0);
    assert_true(json_number_value(json_object_get(most, "extra_work")) == 0);
    const json_t *points = json_object_get(least, "points");
    assert_true(json_array_size(points) > 10);
    for (size_t k = 1; k < json_array_size(points); k++) {
        const json_t *a = json_array_get(points, k - 1), *b = json_array_get(points, k);
        assert_true(whole(a, "bytes") < whole(b, "bytes"));
        assert_true(json_number_value(json_object_get(a, "extra_work")) > json_number_value(json_object_get(b, "extra_work")));
    }
    json_decref(least);
    json_decref(most);
    assert_int_equal(ctlc("plan small.ctl --memory 24GiB --machine rtx3090 --set tokens=4x64"), 0);
    says("of which a program gets 23.1 GiB");
    says("other budgets");
    says("at the least, about ");
    /* A card's plan is the CUDA engine's, with its workspaces; it may be asked what the CPU would take in as much. */
    json_int_t bytes[3];
    static const char *const engines[] = {"", " --engine cuda", " --engine cpu"};
    for (int k = 0; k < 3; k++) {
        char command[128];
        snprintf(command, sizeof command, "plan small.ctl --json --machine a100%s", engines[k]);
        assert_int_equal(ctlc(command), 0);
        json_t *one = printed();
        bytes[k] = whole(one, "peak_bytes");
        json_decref(one);
    }
    assert_true(bytes[0] == bytes[1] && bytes[1] != bytes[2]);
    assert_int_equal(ctlc("plan small.ctl --machine rtx"), 1);
    says("error[E0505]: there is no machine `rtx` to plan for");
    says("there are cpu rtx3090");
    assert_int_equal(ctlc("plan small.ctl --split 3"), 1);
    says("4 sequences cannot go through in 3 parts");
    assert_int_equal(ctlc("plan small.ctl --engine reference"), 0); /* it has no plan, and says so */
    says("; 4 sequences of 32 tokens at a time, f32\n");
    says("the reference executor keeps every value of a step and plans nothing");
    assert_null(strstr(output, "(null)"));
    assert_int_equal(ctlc("plan small.ctl --engine reference --json"), 0);
    json_t *none = printed();
    assert_true(json_is_null(json_object_get(none, "machine")) && whole(none, "split") == 1);
    json_decref(none);
    assert_int_equal(ctlc("plan small.ctl --compare a,b"), 1);
    says("no tune block is called `a`\n  hint: the spec's has no name: `tune NAME = MODEL with ..` gives it one\n");
    assert_int_equal(ctlc("plan small.ctl --memory plenty"), 1);
    says("`memory=plenty` is no amount of memory");
    assert_int_equal(ctlc("plan small.ctl --memory %lld", (long long)least_bytes - 64), 5);
    says("error[E0509]");
    says("one sequence at a time");
}

/* Losses of a split run differ from those of a whole one in the order of sums alone. */
static void test_train(void **state) {
    (void)state;
    const char *const train = "train small.ctl --data text.txt --eval-fraction 0 --steps 6";
    assert_int_equal(ctlc("%s --out whole", train), 0);
    assert_int_equal(ctlc("%s --out least --memory %lld", train, (long long)least_bytes), 0);
    json_t *a = file("whole/result.json"), *b = file("least/result.json"), *plan = file("least/plan.json");
    assert_true(whole(b, "planned_bytes") <= least_bytes && whole(b, "allocated_bytes") <= least_bytes + 65536);
    assert_true(whole(b, "planned_bytes") < whole(a, "planned_bytes"));
    assert_int_equal(whole(a, "tokens_per_step"), whole(b, "tokens_per_step"));
    assert_int_equal(whole(plan, "split"), 4);
    json_decref(a);
    json_decref(b);
    json_decref(plan);
    char path[512];
    double losses[2][6];
    for (int k = 0; k < 2; k++) {
        snprintf(path, sizeof path, "%s/%s/log.jsonl", folder, k ? "least" : "whole");
        FILE *log = fopen(path, "r");
        assert_non_null(log);
        char line[1024];
        for (int step = 0; step < 6 && fgets(line, sizeof line, log); step++) {
            const char *at = strstr(line, "\"loss\": ");
            assert_non_null(at);
            losses[k][step] = strtod(at + 8, NULL);
        }
        fclose(log);
    }
    for (int step = 0; step < 6; step++)
        if (!(fabs(losses[0][step] - losses[1][step]) <= 1e-4 * losses[0][step]))
            fail_msg("step %d: losses %.9g and %.9g", step + 1, losses[0][step], losses[1][step]);
}

static void test_resume(void **state) {
    (void)state;
    assert_int_equal(ctlc("train small.ctl --data text.txt --eval-fraction 0 --steps 8 --out least --resume"), 0);
    says("going on after step 6 of 8");
    json_t *plan = file("least/plan.json");
    assert_int_equal(whole(plan, "split"), 4);
    assert_true(whole(plan, "peak_bytes") <= least_bytes);
    json_decref(plan);
    /* More tokens do not fit into what the run had, however much the spec has by now. */
    assert_int_equal(ctlc("train small.ctl --data text.txt --eval-fraction 0 --steps 9 --out least --resume --set tokens=4x256"), 5);
    says("note: that is the memory of the plan with which the run in least began (its plan.json). --resume goes on with the\n"
         "spec and the settings of that run; --memory gives more, another --out begins anew\n");
    /* Another split is another run. */
    assert_int_equal(ctlc("train small.ctl --data text.txt --eval-fraction 0 --steps 9 --out least --resume --split 2 --memory max"), 1);
    says("error[E0606]");
}

static void test_calibrate(void **state) {
    (void)state;
    assert_int_equal(setenv("XDG_CACHE_HOME", folder, 1), 0);
    assert_int_equal(ctlc("plan small.ctl --threads 1"), 0);
    says("modelled for cpu");
    assert_int_equal(ctlc("calibrate --threads 1 --dry"), 0);
    says("products, bf16 ");
    assert_int_equal(ctlc("plan small.ctl --threads 1"), 0);
    says("modelled for cpu");
    assert_int_equal(ctlc("calibrate --threads 1"), 0);
    says("kept in ");
    assert_int_equal(ctlc("plan small.ctl --threads 1"), 0);
    says("by rates measured for cpu");
    assert_int_equal(ctlc("plan small.ctl --threads 1 --machine a100"), 0);
    says("modelled for a100");
    assert_int_equal(ctlc("plan small.ctl --threads 2"), 0); /* measured with other threads */
    says("modelled for cpu");
    json_t *kept = file("ctlc/rates.json");
    for (const char *const *key = (const char *const[]){"product_f32", "product_bf16", "attention", "bytes", NULL}; *key; key++)
        assert_true(json_number_value(json_object_get(kept, *key)) > 1e6);
    json_decref(kept);
    write_file("ctlc/rates.json", "{\"threads\": 1, \"product_f32\": -1}");
    assert_int_equal(ctlc("plan small.ctl --threads 1"), 0);
    says("modelled for cpu");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_report), cmocka_unit_test(test_train), cmocka_unit_test(test_resume),
                                       cmocka_unit_test(test_calibrate)};
    return cmocka_run_group_tests(tests, make_inputs, remove_folder);
}
