/* Every control of the standard library on whole networks: gradients against differences (network_support.h); and
 * parameter counts that papers publish. */
#include "tests/network_support.h"

static const char llama[] = "import llama, tuning, linear_systems, control\n"
                            "model m = llama.causal_lm(; vocab = 11, dim = 16, depth = 2, heads = 4, kv_heads = 2, "
                            "ffn = 24, theta = 100.0)\n";

static int check_llama(const char *controls, const char *more, const char *only) {
    char spec[4096];
    snprintf(spec, sizeof spec, "%s%stune m with %s {\n    tokens 2 x 5\n}\n", llama, more, controls);
    return check_gradients(spec, 5, only);
}

static void test_parallel_control(void **state) {
    (void)state;
    assert_int_equal(check_llama("tuning.double(rank = 3)", "", NULL), 8);
    assert_int_equal(check_llama("tuning.ud(rank = 3)", "", NULL), 4);
    assert_int_equal(check_llama("tuning.cross(rank = 2, hop = 1)", "", NULL), 2);
    assert_int_equal(check_llama("tuning.wide(rank = 2)", "", NULL), 4);
    assert_int_equal(check_llama("tuning.parallel_adapter(rank = 3)", "", NULL), 8);
    assert_int_equal(check_llama("tuning.res_tuning(rank = 3)", "", NULL), 16);
}

/* Controls of the whole decoder; a ladder's and a bypass's gate, at 0 at first, was moved like every number. */
static void test_across_blocks(void **state) {
    (void)state;
    assert_int_equal(check_llama("tuning.mixture(rank = 2, k = 1)", "", NULL), 2 * 2 + 2);
    assert_int_equal(check_llama("tuning.ladder(reduce = 2, heads = 2)", "", NULL), 2 + 2 * (2 + 9));
    assert_int_equal(check_llama("tuning.bypass(rank = 3)", "", NULL), 2 * (1 + 8) + 2);
    assert_int_equal(check_llama("tuning.mixing(rank = 2)", "", NULL), 4);
}

static void test_weight_edges(void **state) {
    (void)state;
    assert_int_equal(check_llama("tuning.lora_qkvud(rank = 3, alpha = 6, p = 0.25)", "", NULL), 20);
    assert_int_equal(check_llama("tuning.lora_all(rank = 3, alpha = 6, p = 0.25)", "", NULL), 28);
    assert_int_equal(check_llama("tuning.lora_qkv(rank = 3), tuning.ud(rank = 2)", "", NULL), 16);
    assert_int_equal(check_llama("tuning.rslora(rank = 3)", "", NULL), 8);
    assert_int_equal(check_llama("tuning.lora_fa(rank = 3)", "", NULL), 4);
    assert_int_equal(check_llama("tuning.vera(rank = 5)", "", NULL), 8);
    /* two changes of one weight: the second inside the first */
    assert_int_equal(check_llama("twice()", "control twice() on llama.block {\n"
                                            "    mlp.up_proj.weight ~ a: control.lora(; rank = 2, alpha = 2)\n"
                                            "    mlp.up_proj.weight ~ b: control.lora(; rank = 3, alpha = 2)\n}\n", NULL), 8);
}

static void test_dora(void **state) {
    (void)state;
    /* DoRA holds the norm constant, so differences agree for the magnitudes; and for all, where nothing is held. */
    assert_int_equal(check_llama("tuning.dora_qkvud(rank = 2, p = 0.25)", "", "lora_magnitude_vector"), 10);
    assert_int_equal(check_llama("tuning.dora_all(rank = 2, p = 0.25)", "", "lora_magnitude_vector"), 14);
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
    assert_int_equal(check_llama("tuning.red()", "", NULL), 4);
    assert_int_equal(check_llama("tuning.loreft(rank = 3, head = 1, tail = 1)", "", NULL), 6);
}

static void test_full(void **state) {
    (void)state;
    assert_int_equal(check_llama("tuning.full()", "", NULL), 21);
    /* tied head: the table's gradient comes from both ends */
    char spec[2048];
    snprintf(spec, sizeof spec,
             "import llama, tuning\nmodel m = llama.causal_lm(; vocab = 11, dim = 8, depth = 1, heads = 2, kv_heads = 1, "
             "ffn = 12, theta = 100.0, tied = true, biased = true)\ntune m with tuning.full() {\n    tokens 2 x 5\n}\n");
    assert_int_equal(check_gradients(spec, 5, NULL), 14);
}

static void test_linear_systems(void **state) {
    (void)state;
    assert_int_equal(check_gradients("import linear_systems, tuning\nmodel m = linear_systems.residual(; depth = 3, d = 4)\n"
                                     "tune m with tuning.affine(m = 2) {\n    tokens 6 x 1\n}\n", 1, NULL), 12);
    assert_int_equal(check_gradients("import linear_systems, tuning\nmodel m = linear_systems.residual(; depth = 3, d = 4)\n"
                                     "tune m with tuning.steering(m = 2) {\n    tokens 6 x 1\n}\n", 1, NULL), 6);
    assert_int_equal(check_gradients("import linear_systems, tuning\nmodel m = linear_systems.deep_linear(; depth = 3, d = 4)\n"
                                     "tune m with tuning.linear_lora(rank = 2) {\n    tokens 6 x 1\n}\n", 1, NULL), 6);
}

/* ---- the other families ---- */
static int check_family(const char *imports, const char *net, const char *parameters, const char *controls, int sequences, int length) {
    char spec[2048];
    snprintf(spec, sizeof spec, "import %s\nmodel m = %s(; %s)\ntune m with %s {\n    tokens %d x %d\n}\n", imports, net, parameters, controls,
             sequences, length);
    return check_gradients(spec, length, NULL);
}

static int check_roberta(const char *controls) {
    return check_family("roberta, bert_tuning", "roberta.classifier", "vocab = 11, dim = 8, depth = 2, heads = 2, ffn = 12, positions = 9, classes = 3",
                        controls, 3, 6);
}
static int check_bert(const char *controls) {
    return check_family("bert, bert_tuning", "bert.classifier", "vocab = 11, dim = 8, depth = 2, heads = 2, ffn = 12, positions = 9, classes = 3",
                        controls, 3, 6);
}
static int check_vit(const char *controls) {
    return check_family("vit, vit_tuning", "vit.classifier",
                        "patch = 6, positions = 5, dim = 8, depth = 2, heads = 2, ffn = 12, classes = 3, wide = true", controls, 3, 4);
}
static int check_gpt2(const char *controls) {
    return check_family("gpt2, gpt2_tuning", "gpt2.causal_lm", "vocab = 11, dim = 8, depth = 2, heads = 2, positions = 9", controls, 3, 6);
}

static void test_bert(void **state) {
    (void)state;
    assert_int_equal(check_roberta("bert_tuning.double(rank = 3), bert_tuning.head()"), 8 + 4);
    assert_int_equal(check_roberta("bert_tuning.ud(rank = 3, scale = 0.5)"), 4);
    assert_int_equal(check_roberta("bert_tuning.lora_qv(rank = 3, p = 0.25), bert_tuning.head()"), 8 + 4);
    assert_int_equal(check_roberta("bert_tuning.lora(rank = 3)"), 2 * 6 * 2);
    assert_int_equal(check_roberta("bert_tuning.houlsby(rank = 3)"), 2 * 8);
    assert_int_equal(check_roberta("bert_tuning.parallel_adapter(rank = 3)"), 8);
    assert_int_equal(check_roberta("bert_tuning.bitfit()"), 2 * 8);
    assert_int_equal(check_roberta("bert_tuning.full()"), 5 + 32 + 4);
    assert_int_equal(check_bert("bert_tuning.ud(rank = 3), bert_tuning.bert_head()"), 4 + 4);
    assert_int_equal(check_bert("bert_tuning.bert_full()"), 5 + 32 + 4);
}

static void test_vit(void **state) {
    (void)state;
    assert_int_equal(check_vit("vit_tuning.double(rank = 3), vit_tuning.head()"), 2 * 8 + 2);
    assert_int_equal(check_vit("vit_tuning.ud(rank = 3)"), 8);
    assert_int_equal(check_vit("vit_tuning.mixing(rank = 2)"), 4);
    assert_int_equal(check_vit("vit_tuning.lora_qv(rank = 3)"), 8);
    assert_int_equal(check_vit("vit_tuning.lora_ud(rank = 3, p = 0.25)"), 8);
    assert_int_equal(check_vit("vit_tuning.lora_wide(rank = 2)"), 16);
    assert_int_equal(check_vit("vit_tuning.houlsby(rank = 3)"), 16);
    assert_int_equal(check_vit("vit_tuning.parallel_adapter(rank = 6)"), 8);
    assert_int_equal(check_vit("vit_tuning.bitfit()"), 16);
    assert_int_equal(check_vit("vit_tuning.full()"), 4 + 2 * 18 + 4);
}

static void test_gpt2(void **state) {
    (void)state;
    assert_int_equal(check_gpt2("gpt2_tuning.double(rank = 3)"), 8);
    assert_int_equal(check_gpt2("gpt2_tuning.ud(rank = 3)"), 4);
    assert_int_equal(check_gpt2("gpt2_tuning.lora(rank = 3, p = 0.25)"), 4);
    assert_int_equal(check_gpt2("gpt2_tuning.houlsby(rank = 3)"), 16);
    assert_int_equal(check_gpt2("gpt2_tuning.bitfit()"), 2 * 6);
    assert_int_equal(check_gpt2("gpt2_tuning.full()"), 2 + 2 * 12 + 2);
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
        cmocka_unit_test(test_across_blocks),    cmocka_unit_test(test_bert),         cmocka_unit_test(test_vit),
        cmocka_unit_test(test_gpt2),             cmocka_unit_test(test_linear_systems),   cmocka_unit_test(test_published_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
