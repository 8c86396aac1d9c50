/* The standard library through the compiler: every method of tuning.ctl on a small LLaMA, with the number of trained
 * elements by a formula written here; the published counts of LLaMA2-7B and LLaMA3-8B; names as files have them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/ctlc.h"

static void collect(void *ctx, const ctl_diagnostic *d) {
    char *said = ctx;
    size_t n = strlen(said);
    ctl_diagnostic_text(d, said + n, 2000 - n);
}

static ctl_program *compile(const char *source) {
    char said[2000] = "";
    ctl_program *program = NULL;
    ctl_status status = ctlc_compile_text("spec", source, strlen(source),
                                          &(ctlc_options){.engine = CTLC_REFERENCE, .verify = true, .threads = 1,
                                                          .diagnostic = collect, .diagnostic_ctx = said}, &program);
    assert_string_equal(said, "");
    assert_int_equal(status, CTL_OK);
    return program;
}

static int64_t trained_elements(const char *source) {
    ctl_program *p = compile(source);
    int64_t n = 0;
    for (size_t k = 0; k < ctl_program_param_count(p); k++) {
        ctl_tensor_info t = ctl_program_param_at(p, k);
        if (t.trained) n += t.rows * t.cols;
    }
    ctl_program_free(p);
    return n;
}

static bool has(const ctl_program *p, const char *name, int64_t rows, int64_t cols, bool trained) {
    for (size_t k = 0; k < ctl_program_param_count(p); k++) {
        ctl_tensor_info t = ctl_program_param_at(p, k);
        if (strcmp(t.name, name) == 0) return t.rows == rows && t.cols == cols && t.trained == trained;
    }
    return false;
}

enum { D = 32, KV = 16, F = 48, L = 3, V = 40 }; /* width, width of k and v, feed-forward, layers, vocabulary */
#define HEAD                                                                                                           \
    "import llama, tuning, control, linear_systems\n"                                                                  \
    "model m = llama.causal_lm(; vocab = 40, dim = 32, depth = 3, heads = 4, kv_heads = 2, ffn = 48, theta = 10000.0)\n"

static void methods(void **state) {
    (void)state;
    const int r = 4, qkv = r * (D + D) + 2 * r * (D + KV), ud = 2 * r * (D + F);
    const struct { const char *use; int64_t count; } cases[] = {
        {"tuning.double(rank = 4)", L * 2 * 2 * D * r},
        {"tuning.ud(rank = 4)", L * 2 * D * r},
        {"tuning.lora_qkv(rank = 4)", L * qkv},
        {"tuning.lora_qkvud(rank = 4)", L * (qkv + ud)},
        {"tuning.dora_qkvud(rank = 4)", L * (qkv + ud + D + 2 * KV + F + D)},
        {"tuning.lora_all(rank = 4)", L * (qkv + ud + r * (D + D) + r * (D + F))},
        {"tuning.dora_all(rank = 4)", L * (qkv + ud + r * (D + D) + r * (D + F) + 3 * D + 2 * KV + 2 * F)},
        {"tuning.rslora(rank = 4)", L * (r * (D + D) + r * (D + KV))},
        {"tuning.lora_fa(rank = 4)", L * (D * r + KV * r)},
        {"tuning.houlsby(rank = 4)", L * 2 * (2 * D * r + r + D)},
        {"tuning.parallel_adapter(rank = 4)", L * (2 * D * r + r + D)},
        {"tuning.ia3()", L * (KV + KV + F)},
        {"tuning.biases()", L * D},
        {"tuning.cross(rank = 4, hop = 2)", (L - 2) * 2 * D * r},
        {"tuning.wide(rank = 4)", L * (D * r + F * r)},
        {"tuning.full()", 2 * V * D + D + L * (2 * D * D + 2 * D * KV + 3 * D * F + 2 * D)},
        {"tuning.ud(rank = 4), tuning.lora_qkv(rank = 4)", L * (2 * D * r + qkv)},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char source[1000];
        snprintf(source, sizeof source, HEAD "tune m with %s {\n    tokens 2 x 4\n}\n", cases[k].use);
        assert_int_equal(trained_elements(source), cases[k].count);
    }
}

static void other_nets(void **state) {
    (void)state;
    assert_int_equal(trained_elements(HEAD "model r = linear_systems.residual(; depth = 3, d = 8)\n"
                                           "tune r with tuning.affine(m = 2) {\n tokens 4 packed\n}\n"), 3 * 2 * (8 * 8 + 1));
    assert_int_equal(trained_elements(HEAD "control c(r = 2) on linear_systems.deep_linear {\n"
                                           " layers[*].weight ~ control.lora(; rank = r, alpha = r)\n}\n"
                                           "model d = linear_systems.deep_linear(; depth = 5, d = 8)\n"
                                           "tune d with c() {\n tokens 4 packed\n}\n"), 5 * 2 * 2 * 8);
    assert_int_equal(trained_elements(HEAD "control c(rank = 3) on llama.block {\n"
                                           " y => control.loreft(; rank, head = 1, tail = 1)\n}\n"
                                           "tune m with c() {\n tokens 2 x 4\n}\n"), L * (2 * 3 * D + 3));
    /* VeRA's shared matrices are frozen; only its vectors are trained */
    assert_int_equal(trained_elements(HEAD "control c(rank = 6) on llama.decoder {\n"
                                           " weight A, B : [rank, dim] init uniform(1 / sqrt(dim))\n"
                                           " freeze A, B\n"
                                           " layers[*].self_attn.q_proj.weight ~ control.vera(A, B.T)\n}\n"
                                           "tune m with c() {\n tokens 2 x 4\n}\n"), L * (6 + D));
}

/* Millions, as the paper's table has them. */
static void published_counts(void **state) {
    (void)state;
    static const struct { const char *model, *use, *millions; } cases[] = {
        {"l2", "tuning.lora_qkvud()", "56.10"}, {"l2", "tuning.dora_qkvud()", "56.98"},
        {"l2", "tuning.ud(), tuning.lora_qkv()", "41.94"}, {"l2", "tuning.double()", "33.55"},
        {"l3", "tuning.lora_qkvud()", "56.62"}, {"l3", "tuning.dora_qkvud()", "57.41"},
        {"l3", "tuning.ud(), tuning.lora_qkv()", "35.65"}, {"l3", "tuning.double()", "33.55"},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char source[1000], count[40];
        snprintf(source, sizeof source,
                 "import llama, tuning\n"
                 "model l2 = llama.causal_lm(; vocab = 32000, dim = 4096, depth = 32, heads = 32, kv_heads = 32, ffn = 11008, theta = 10000.0)\n"
                 "model l3 = llama.causal_lm(; vocab = 128256, dim = 4096, depth = 32, heads = 32, kv_heads = 8, ffn = 14336, theta = 500000.0)\n"
                 "tune %s with %s {\n tokens 1 x 8\n}\n", cases[k].model, cases[k].use);
        snprintf(count, sizeof count, "%.2f", (double)trained_elements(source) / 1e6);
        assert_string_equal(count, cases[k].millions);
    }
}

static void names(void **state) {
    (void)state;
    ctl_program *p = compile(HEAD "tune m with tuning.double(rank = 2), tuning.dora_qkvud(rank = 2), tuning.houlsby(rank = 5) {\n tokens 1 x 8\n}\n");
    assert_true(has(p, "model.embed_tokens.weight", V, D, false));
    assert_true(has(p, "model.layers.2.self_attn.k_proj.weight", KV, D, false));
    assert_true(has(p, "model.layers.0.mlp.down_proj.weight", D, F, false));
    assert_true(has(p, "model.layers.1.post_attention_layernorm.weight", 1, D, false));
    assert_true(has(p, "model.norm.weight", 1, D, false));
    assert_true(has(p, "lm_head.weight", V, D, false));
    assert_true(has(p, "model.layers.0.self_attn.q_proj.lora_A.weight", 2, D, true));
    assert_true(has(p, "model.layers.0.mlp.up_proj.lora_B.weight", F, 2, true));
    assert_true(has(p, "model.layers.0.mlp.up_proj.lora_magnitude_vector", 1, F, true));
    assert_true(has(p, "model.layers.1.attn.lora_A.weight", 2, D, true));
    assert_true(has(p, "model.layers.1.lora_B.weight", D, 2, true));
    ctl_program_free(p);
    /* tied: no head of its own */
    p = compile("import llama, tuning\n"
                "model m = llama.causal_lm(; vocab = 40, dim = 32, depth = 1, heads = 4, kv_heads = 2, ffn = 48, theta = 10000.0, "
                "tied = true, biased = true)\n"
                "tune m with tuning.ud(rank = 2) {\n tokens 1 x 8\n}\n");
    assert_false(has(p, "lm_head.weight", V, D, false));
    assert_true(has(p, "model.layers.0.self_attn.v_proj.bias", 1, KV, false));
    ctl_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(methods), cmocka_unit_test(other_nets),
                                       cmocka_unit_test(published_counts), cmocka_unit_test(names)};
    return cmocka_run_group_tests_name("stdlib", tests, NULL, NULL);
}
