/* The networks of the standard library: as many parameters as the published checkpoints have, under their names; and the
 * gradient of every parameter of a small one of each against differences. */
#include "tests/network_support.h"

static void compile_model(const char *model, const char *tokens, ctl_program **program) {
    char spec[2000];
    snprintf(spec, sizeof spec, "import llama, gpt2, bert, roberta, vit\nmodel m = %s\ntune m {\n    tokens %s\n}\n", model, tokens);
    ctlc_options options = {.engine = CTLC_REFERENCE, .diagnostic = hear, .threads = 1};
    assert_int_equal(ctlc_compile_text("spec", spec, strlen(spec), &options, program), CTL_OK);
}

/* As transformers counts the parameters of these checkpoints. */
static void test_published_counts(void **state) {
    (void)state;
    static const struct {
        const char *model;
        int64_t parameters;
    } cases[] = {
        {"roberta.classifier()", 124647170},                                /* roberta-base, two classes */
        {"roberta.masked_lm()", 124697433},                                 /* roberta-base */
        {"bert.classifier()", 109483778},                                   /* bert-base-uncased, two classes */
        {"bert.masked_lm()", 109514298},                                    /* bert-base-uncased */
        {"vit.classifier()", 86567656},                                     /* vit-base-patch16-224 */
        {"gpt2.causal_lm()", 124439808},                                    /* gpt2 */
        {"gpt2.causal_lm(; dim = 1024, depth = 24, heads = 16)", 354823168}, /* gpt2-medium */
        {"llama.causal_lm(; vocab = 151936, dim = 896, depth = 24, heads = 14, kv_heads = 2, ffn = 4864, theta = 1000000.0, biased = true, "
         "tied = true)", 494032768},                                        /* Qwen2-0.5B */
        {"llama.causal_lm(; vocab = 151936, dim = 1024, depth = 28, heads = 16, kv_heads = 8, head = 128, ffn = 3072, theta = 1000000.0, "
         "normed = true, tied = true)", 596049920},                         /* Qwen3-0.6B */
        {"llama.causal_lm(; vocab = 32000, dim = 4096, depth = 32, heads = 32, kv_heads = 8, ffn = 14336, theta = 10000.0, window = 4096)",
         7241732096},                                                       /* Mistral-7B-v0.1 */
        {"llama.causal_lm(; vocab = 128256, dim = 4096, depth = 32, heads = 32, kv_heads = 8, ffn = 14336, theta = 500000.0, rope_factor = 8.0)",
         8030261248},                                                       /* Llama-3.1-8B */
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        ctl_program *program;
        int64_t total = 0;
        compile_model(cases[k].model, strncmp(cases[k].model, "vit", 3) ? "1 x 8" : "1 x 196", &program);
        for (size_t p = 0; p < ctl_program_param_count(program); p++) {
            ctl_tensor_info t = ctl_program_param_at(program, p);
            total += t.rows * t.cols;
        }
        if (total != cases[k].parameters) fail_msg("%s: %lld parameters, published %lld", cases[k].model, (long long)total, (long long)cases[k].parameters);
        ctl_program_free(program);
    }
}

/* What is trained, as the papers have it: LoRA of rank 8 on RoBERTa-base's query and value, and control of rank 16, without the
 * head; ViT-B/16's wide feed-forward with control of rank 64 and LoRA of rank 5, with a head of 100 classes: 1.27 million. */
static void test_trained_counts(void **state) {
    (void)state;
    static const struct {
        const char *model, *controls, *tokens;
        int64_t trained;
    } cases[] = {
        {"roberta.classifier()", "bert_tuning.lora_qv(rank = 8)", "1 x 8", 12 * 2 * 8 * 2 * 768},
        {"roberta.classifier()", "bert_tuning.ud(rank = 16)", "1 x 8", 12 * 16 * 2 * 768},
        {"roberta.classifier()", "bert_tuning.bitfit()", "1 x 8", 12 * (7 * 768 + 3072)},
        {"vit.classifier(; classes = 100, wide = true)", "vit_tuning.ud(rank = 64), vit_tuning.head()", "1 x 196", 1266532},
        {"vit.classifier(; classes = 100, wide = true)", "vit_tuning.lora_wide(rank = 5), vit_tuning.head()", "1 x 196", 1274980},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char spec[2000];
        ctl_program *program;
        int64_t trained = 0;
        snprintf(spec, sizeof spec, "import bert, roberta, vit, bert_tuning, vit_tuning\nmodel m = %s\ntune m with %s {\n    tokens %s\n}\n",
                 cases[k].model, cases[k].controls, cases[k].tokens);
        ctlc_options options = {.engine = CTLC_REFERENCE, .diagnostic = hear, .threads = 1};
        assert_int_equal(ctlc_compile_text("spec", spec, strlen(spec), &options, &program), CTL_OK);
        for (size_t p = 0; p < ctl_program_param_count(program); p++) {
            ctl_tensor_info t = ctl_program_param_at(program, p);
            if (t.trained) trained += t.rows * t.cols;
        }
        if (trained != cases[k].trained) fail_msg("%s: %lld trained, not %lld", cases[k].controls, (long long)trained, (long long)cases[k].trained);
        ctl_program_free(program);
    }
}

static void check_names(const char *model, const char *tokens, const char *const *names) {
    ctl_program *program;
    compile_model(model, tokens, &program);
    for (; *names; names++) {
        bool found = false;
        for (size_t p = 0; p < ctl_program_param_count(program) && !found; p++)
            found = strcmp(ctl_program_param_at(program, p).name, *names) == 0;
        if (!found) fail_msg("%s: no parameter %s", model, *names);
    }
    ctl_program_free(program);
}

static void test_names(void **state) {
    (void)state;
    check_names("roberta.classifier(; depth = 2)", "1 x 8", (const char *[]){
        "roberta.embeddings.word_embeddings.weight", "roberta.embeddings.position_embeddings.weight",
        "roberta.embeddings.token_type_embeddings.weight", "roberta.embeddings.LayerNorm.bias",
        "roberta.encoder.layer.1.attention.self.query.weight", "roberta.encoder.layer.1.attention.self.value.bias",
        "roberta.encoder.layer.0.attention.output.dense.weight", "roberta.encoder.layer.0.attention.output.LayerNorm.weight",
        "roberta.encoder.layer.0.intermediate.dense.weight", "roberta.encoder.layer.0.output.dense.bias",
        "roberta.encoder.layer.0.output.LayerNorm.bias", "classifier.dense.weight", "classifier.out_proj.bias", NULL});
    check_names("roberta.masked_lm(; depth = 1)", "1 x 8", (const char *[]){"lm_head.dense.weight", "lm_head.layer_norm.bias", "lm_head.bias", NULL});
    check_names("bert.classifier(; depth = 1)", "1 x 8", (const char *[]){
        "bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.output.LayerNorm.weight", "bert.pooler.dense.weight",
        "bert.pooler.dense.bias", "classifier.weight", "classifier.bias", NULL});
    check_names("bert.masked_lm(; depth = 1)", "1 x 8", (const char *[]){
        "cls.predictions.transform.dense.weight", "cls.predictions.transform.LayerNorm.weight", "cls.predictions.bias", NULL});
    check_names("vit.classifier(; depth = 1, wide = true)", "1 x 196", (const char *[]){
        "vit.embeddings.cls_token", "vit.embeddings.position_embeddings", "vit.embeddings.patch_embeddings.projection.weight",
        "vit.embeddings.patch_embeddings.projection.bias", "vit.encoder.layer.0.layernorm_before.weight",
        "vit.encoder.layer.0.attention.attention.query.weight", "vit.encoder.layer.0.attention.output.dense.bias",
        "vit.encoder.layer.0.layernorm_after.bias", "vit.encoder.layer.0.intermediate.dense.weight",
        "vit.encoder.layer.0.output.dense.weight", "vit.encoder.layer.0.mlp.eye1.weight", "vit.layernorm.weight", "classifier.weight", NULL});
    check_names("gpt2.causal_lm(; depth = 1)", "1 x 8", (const char *[]){
        "transformer.wte.weight", "transformer.wpe.weight", "transformer.h.0.ln_1.weight", "transformer.h.0.attn.c_attn.weight",
        "transformer.h.0.attn.c_attn.bias", "transformer.h.0.attn.c_proj.weight", "transformer.h.0.ln_2.bias",
        "transformer.h.0.mlp.c_fc.weight", "transformer.h.0.mlp.c_proj.bias", "transformer.ln_f.weight", NULL});
    check_names("gpt2.classifier(; depth = 1)", "1 x 8", (const char *[]){"transformer.wte.weight", "score.weight", NULL});
    check_names("llama.causal_lm(; vocab = 20, dim = 16, depth = 1, heads = 2, kv_heads = 1, ffn = 8, theta = 1e4, normed = true, "
                "biased = true, o_biased = true, mlp_biased = true)", "1 x 8", (const char *[]){
        "model.layers.0.self_attn.q_norm.weight", "model.layers.0.self_attn.k_norm.weight", "model.layers.0.self_attn.q_proj.bias",
        "model.layers.0.self_attn.o_proj.bias", "model.layers.0.mlp.down_proj.bias", NULL});
    check_names("llama.classifier(; vocab = 20, dim = 16, depth = 1, heads = 2, kv_heads = 1, ffn = 8, theta = 1e4)", "1 x 8",
                (const char *[]){"model.norm.weight", "score.weight", NULL});
}

/* Everything trained, dropout included. */
static int full(const char *net, const char *parameters, const char *tokens, int64_t length) {
    char spec[2000];
    snprintf(spec, sizeof spec,
             "import llama, gpt2, bert, roberta, vit\ncontrol all() on %s {\n    train **\n}\nmodel m = %s(; %s)\ntune m with all() {\n    tokens %s\n}\n",
             net, net, parameters, tokens);
    return check_gradients(spec, length, NULL);
}

static void test_gradients(void **state) {
    (void)state;
    static const char encoder[] = "vocab = 11, dim = 8, depth = 2, heads = 2, ffn = 12, positions = 9, p = 0.25";
    static const char decoder[] = "vocab = 11, dim = 8, depth = 2, heads = 4, kv_heads = 2, head = 4, ffn = 12, theta = 100.0";
    char more[300];
    assert_int_equal(full("gpt2.causal_lm", "vocab = 11, dim = 8, depth = 2, heads = 2, positions = 9", "3 x 5", 5), 2 + 2 * 12 + 2);
    assert_int_equal(full("gpt2.classifier", "classes = 3, vocab = 11, dim = 8, depth = 1, heads = 2, positions = 9", "3 x 5", 5), 2 + 12 + 3);
    assert_int_equal(full("vit.classifier", "classes = 3, patch = 6, positions = 5, dim = 8, depth = 1, heads = 2, ffn = 12, wide = true", "3 x 4", 4),
                     4 + 16 + 2 + 4);
    assert_int_equal(full("bert.classifier", encoder, "3 x 6", 6), 5 + 2 * 16 + 4);
    assert_int_equal(full("bert.masked_lm", encoder, "3 x 6", 6), 5 + 2 * 16 + 5);
    assert_int_equal(full("roberta.classifier", encoder, "3 x 6", 6), 5 + 2 * 16 + 4);
    assert_int_equal(full("roberta.masked_lm", encoder, "3 x 6", 6), 5 + 2 * 16 + 5);
    snprintf(more, sizeof more, "%s, normed = true, window = 2, rope_factor = 4.0, rope_context = 20, biased = true", decoder);
    assert_int_equal(full("llama.causal_lm", more, "3 x 6", 6), 3 + 2 * 14);
    snprintf(more, sizeof more, "%s, classes = 3, o_biased = true, mlp_biased = true", decoder);
    assert_int_equal(full("llama.classifier", more, "3 x 6", 6), 3 + 2 * 13);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_published_counts), cmocka_unit_test(test_trained_counts), cmocka_unit_test(test_names), cmocka_unit_test(test_gradients)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
