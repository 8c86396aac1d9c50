/* test_account: what a framework would store, by rules. Expected bytes are those of ../shared/planner.md: its
 * table a layer, line by line, and measurements of other people's that were published; none comes from the
 * code. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "compiler/account/account.h"
#include "tests/command.h"

static void keep_account(void *ctx, const ctlc_account *a) {
    *(ctlc_account *)ctx = *a;
    ((ctlc_account *)ctx)->lines = NULL;
}

static ctlc_account account_of_file(const char *path) {
    ctlc_account account = {0};
    ctl_program *none = NULL;
    ctlc_options options = {.check_only = true, .account = keep_account, .account_ctx = &account};
    assert_int_equal(ctlc_compile_file(path, &options, &none), CTL_OK);
    return account;
}

static ctlc_account account_of_text(const char *text) {
    ctlc_account account = {0};
    ctl_program *none = NULL;
    ctlc_options options = {.check_only = true, .account = keep_account, .account_ctx = &account};
    assert_int_equal(ctlc_compile_text("test.ctl", text, strlen(text), &options, &none), CTL_OK);
    return account;
}

/* Published GPU memory in GB = 1e9 bytes, at 16 x 256 tokens. */
static void test_published(void **state) {
    (void)state;
    static const struct {
        const char *example;
        double published;
    } known[] = {{"llama2_7b_lora", 44.204},    {"llama2_7b_dora", 59.568},  {"llama2_7b_mixture", 38.556},
                 {"llama2_7b_double", 35.214},  {"llama3_8b_lora", 55.040},  {"llama3_8b_dora", 67.284},
                 {"llama3_8b_mixture", 48.550}, {"llama3_8b_double", 45.316}};
    for (size_t k = 0; k < CTL_COUNT(known); k++) {
        char path[512];
        snprintf(path, sizeof path, "%s/examples/%s.ctl", SOURCE_DIR, known[k].example);
        const ctlc_account a = account_of_file(path);
        const double ours = 1e-9 * (double)a.total;
        print_message("%-18s published %.3f, accounted %.3f, %+.1f%%\n", known[k].example, known[k].published,
                      ours, 100 * (ours / known[k].published - 1));
        assert_int_equal(a.tokens, 4096);
        assert_true(fabs(ours / known[k].published - 1) <= 0.03);
    }
}

/* Bytes a token of one more layer: the third's, as before the first control there is nothing to keep. */
static uint64_t bytes_a_layer(const char *shape, const char *control) {
    uint64_t saved[2];
    for (int k = 0; k < 2; k++) {
        char text[1024];
        snprintf(text, sizeof text,
                 "import llama, tuning\nmodel m = llama.causal_lm(; vocab = 1000, dim = 4096, depth = %d, "
                 "heads = 32, "
                 "%s, theta = 10000.0)\ntune m with %s {\n    tokens 2 x 16\n    compute bf16\n}\n",
                 2 + k, shape, control);
        saved[k] = account_of_text(text).saved;
    }
    assert_int_equal((saved[1] - saved[0]) % 32, 0);
    return (saved[1] - saved[0]) / 32;
}

static void test_layers(void **state) {
    (void)state;
    static const char *const shapes[] = {"kv_heads = 32, ffn = 11008", "kv_heads = 8, ffn = 14336"};
    static const struct {
        const char *control;
        uint64_t bytes[2];
    } known[] = {{"tuning.lora_qkvud(p = 0.0)", {170440, 184776}},
                 {"tuning.lora_qkvud()", {214216, 231880}},
                 {"tuning.dora_qkvud(p = 0.0)", {280008, 283080}},
                 {"tuning.dora_qkvud()", {323784, 330184}},
                 {"tuning.ud(), tuning.lora_qkv(p = 0.0)", {148424, 156104}},
                 {"tuning.ud(), tuning.lora_qkv()", {177096, 184776}},
                 {"tuning.double()", {148360, 156040}}};
    for (size_t k = 0; k < CTL_COUNT(known); k++)
        for (int shape = 0; shape < 2; shape++)
            assert_int_equal(bytes_a_layer(shapes[shape], known[k].control), known[k].bytes[shape]);
}

/* Weights, and what is trained: by hand. */
static void test_weights(void **state) {
    (void)state;
    const ctlc_account a = account_of_text("import llama, tuning\nmodel m = llama.causal_lm(; vocab = 100, "
                                           "dim = 8, depth = 1, heads = 2, kv_heads = 1, "
                                           "ffn = 12, theta = 10000.0)\ntune m with tuning.double(rank = 2) "
                                           "{\n    tokens 1 x 4\n    compute bf16\n}\n");
    assert_int_equal(a.frozen_parameters, 2 * 100 * 8 + 2 * 8 * 8 + 2 * 4 * 8 + 3 * 8 * 12 + 3 * 8);
    assert_int_equal(a.trained_parameters, 2 * 2 * 8 * 2);
    assert_int_equal(a.weights, 2 * a.frozen_parameters);
    assert_int_equal(a.trained, 4 * a.trained_parameters);
    assert_int_equal(a.gradients, 4 * a.trained_parameters);
    assert_int_equal(a.moments, 8 * a.trained_parameters);
    assert_int_equal(a.total, a.weights + a.trained + a.gradients + a.moments + a.saved);
}

/* Patterns see operations, no names: the same net under other names is kept the same. */
static void test_names(void **state) {
    (void)state;
    static const char *const specs[] = {"net gated(x: d, t: d; d) -> y, loss {\n    weight a : [8, 8] init "
                                        "normal(1)\n    weight b : [8, 8] init normal(1)\n"
                                        "    y <- silu(x @ a) * (x @ b)\n    loss <- mse(y, t)\n}\n"
                                        "control all() on gated {\n    train **\n}\nmodel m = gated(; d = "
                                        "8)\ntune m with all() {\n    tokens 2 x 4\n}\n",
                                        "net zebra(p: n, q: n; n) -> o, loss {\n    weight lora_A : [8, 8] "
                                        "init normal(1)\n    weight u : [8, 8] init normal(1)\n"
                                        "    o <- silu(p @ lora_A) * (p @ u)\n    loss <- mse(o, q)\n}\n"
                                        "control all() on zebra {\n    train **\n}\nmodel w = zebra(; n = "
                                        "8)\ntune w with all() {\n    tokens 2 x 4\n}\n"};
    const ctlc_account a = account_of_text(specs[0]), b = account_of_text(specs[1]);
    assert_int_equal(a.saved, b.saved);
    /* x once, x a for silu, silu and x b for the product, and y - t for the loss: f32, 8 rows of 8. */
    assert_int_equal(a.saved, 5 * 8 * 8 * 4);
}

/* An encoder's kernels: x for the product, the activation's input, the norm's input with its mean and
 * deviation, and y - t for the loss; 8 rows of 8 in f32. */
static void test_encoder(void **state) {
    (void)state;
    const ctlc_account a = account_of_text(
        "net e(x: d, t: d; d) -> y, loss {\n    weight a : [d, d] init normal(1)\n    y <- norm: "
        "layernorm(gelu(x @ a))\n"
        "    loss <- mse(y, t)\n}\ncontrol all() on e {\n    train **\n}\nmodel m = e(; d = 8)\n"
        "tune m with all() {\n    tokens 2 x 4\n}\n");
    assert_int_equal(a.saved, 4 * 8 * 8 * 4 + 8 * 8);
}

static void test_rule_errors(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t line;
        const char *what;
    } wrong[] = {
        {"keep x\n", 1, "a rule is to come first: rule NAME PATTERN"},
        {"\n# a comment\nrule a silly(x)\n", 3, "there is no operation \"silly\""},
        {"rule a mul(x, y\n", 1, "a \")\" is missing"},
        {"rule a mul(x, y)\nkeep z\n", 2, "the pattern has no value \"z\""},
        {"rule a x\n", 1, "a rule's pattern begins with an operation"},
        {"rule a mul(x, y)\nkeep x as f31\n", 2,
         "\"f31\" is no type: compute, f64, f32, bf16, f16, i32 or u8"},
        {"rule a mul(x, y)\nkeep 4 per token of x\n", 2, "\"row\" or \"head\" is missing"},
        {"rule a mul(x, y)\nkeep x always\n", 2, "this is more than belongs on the line"},
        {"save\n", 1, "a rule is to come first: rule NAME PATTERN"},
        {"rule a mul(x, y)\nsave x\n", 2,
         "a line begins with rule, where, keep, frozen, trained, gradient or moments"},
        {"moments f32 f32 f32\n", 1, "there are at most two moments"},
    };
    for (volatile size_t k = 0; k < CTL_COUNT(wrong); k++) {
        jmp_buf failure;
        ctl_arena arena;
        ctl_rules_error error;
        ctl_arena_init(&arena, NULL, &failure);
        if (setjmp(failure)) fail();
        assert_null(ctl_rules_parse(&arena, wrong[k].text, strlen(wrong[k].text), &error));
        assert_string_equal(error.what, wrong[k].what);
        assert_int_equal(error.line, wrong[k].line);
        ctl_arena_free(&arena);
    }
}

static const char SMALL[] =
    "import llama, tuning\nmodel m = llama.causal_lm(; vocab = 100, dim = 8, depth = 1, heads = 2, "
    "kv_heads = 1, ffn = 12, theta = 10000.0)\ntune m with tuning.double(rank = 2) {\n"
    "    tokens 1 x 4\n    compute bf16\n}\n";

static void test_command(void **state) {
    (void)state;
    write_file("small.ctl", SMALL);
    assert_int_equal(ctlc("plan small.ctl --as autograd"), 0);
    says("small.ctl as autograd stores it: 2,168 parameters, 64 trained; 4 tokens, bf16\n");
    says("all in all");
    write_file("mine.rules", "frozen f32\nmoments\nrule loss head(x, _, _)\n    keep 10 per row of x\n");
    assert_int_equal(ctlc("plan small.ctl --as mine.rules --json"), 0);
    says("\"bytes\": {\"weights\": 8416, \"trained\": 256, \"gradients\": 256, \"optimizer\": 0, \"saved\": "
         "40, \"peak\": 8968}");
    assert_int_equal(ctlc("plan small.ctl --as torch"), 1);
    says("[E0515]: the rules `torch` cannot be read");
    write_file("bad.rules", "rule a mul(x\n");
    assert_int_equal(ctlc("plan small.ctl --as bad.rules"), 1);
    says("[E0515]: bad.rules:1: a \")\" is missing");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published), cmocka_unit_test(test_layers),  cmocka_unit_test(test_weights),
        cmocka_unit_test(test_names),     cmocka_unit_test(test_encoder), cmocka_unit_test(test_rule_errors),
        cmocka_unit_test(test_command),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
