/* `ctlc export`: what is written has PEFT's names and configuration, and says the same as the run's own adapter; what PEFT has no
 * form for is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "tests/peft_runs.h"

/* A run of the spec is exported with these options, and the command prints this (NULL: whatever it prints); the configuration. */
static const char *exported(const char *spec, const char *options, const char *prints) {
    clean();
    run_spec(spec, "");
    assert_int_equal(ctlc("export run --peft peft%s", options), 0);
    if (prints) assert_string_equal(output, prints);
    return text_of("peft/adapter_config.json");
}
/* As an adapter it says what the run's own says. */
static void says_the_same(void) { assert_true(loss_of("run", "") == loss_of("peft", "")); }
static void refused(const char *spec, const char *words) {
    clean();
    run_spec(spec, "");
    assert_int_equal(ctlc("export run --peft peft"), 1);
    says(words);
}

static void writes_what_peft_loads(void **state) {
    (void)state;
    assert_string_equal(
        exported(SPEC("", "tuning.lora_qkv(rank = 2, alpha = 8, p = 0.05)"), " --base models/llama --task-type CAUSAL_LM",
                 "peft: LoRA of rank 2 on 6 modules\n"),
        "{\n  \"alpha_pattern\": {},\n  \"base_model_name_or_path\": \"models/llama\",\n  \"bias\": "
        "\"none\",\n"
        "  \"fan_in_fan_out\": false,\n  \"inference_mode\": true,\n  \"init_lora_weights\": true,\n"
        "  \"lora_alpha\": 8,\n  \"lora_dropout\": 0.05,\n  \"modules_to_save\": null,\n  \"peft_type\": "
        "\"LORA\",\n"
        "  \"r\": 2,\n  \"rank_pattern\": {},\n"
        "  \"target_modules\": [\n    \"q_proj\",\n    \"k_proj\",\n    \"v_proj\"\n  ],\n"
        "  \"task_type\": \"CAUSAL_LM\",\n  \"use_dora\": false,\n  \"use_rslora\": false\n}\n");
    ctl_tensors *ours = open_tensors("run"), *theirs = open_tensors("peft");
    assert_int_equal(ctl_tensors_count(theirs), 12);
    for (size_t i = 0; i < ctl_tensors_count(ours); i++) {
        char name[200];
        const ctl_tensor *t = ctl_tensors_at(ours, i);
        snprintf(name, sizeof name, "base_model.model.%s", t->name);
        const ctl_tensor *same = ctl_tensors_find(theirs, name);
        assert_non_null(same);
        assert_int_equal(same->bytes, t->bytes);
        assert_memory_equal(same->data, t->data, t->bytes);
    }
    ctl_tensors_close(ours), ctl_tensors_close(theirs);
    says_the_same(); /* and back: the same numbers */
}

static void writes_dora_and_other_scales(void **state) {
    (void)state;
    const char *config = exported(SPEC("", "tuning.dora_qkvud(rank = 2, alpha = 3, p = 0.0)"), "", "peft: DoRA of rank 2 on 10 modules\n");
    assert_non_null(strstr(config, "\"use_dora\": true"));
    assert_non_null(strstr(config, "\"lora_alpha\": 3,"));
    assert_non_null(strstr(config, "\"task_type\": null"));
    assert_non_null(strstr(config, "\"base_model_name_or_path\": \"m\""));
    ctl_tensors *set = open_tensors("peft");
    assert_int_equal(ctl_tensors_count(set), 30);
    const ctl_tensor *m =
        ctl_tensors_find(set, "base_model.model.model.layers.1.mlp.up_proj.lora_magnitude_vector");
    assert_non_null(m);
    assert_true(m->ndims == 1 && m->dims[0] == 20);
    ctl_tensors_close(set);
    says_the_same();

    config = exported(SPEC("", "tuning.rslora(rank = 3, alpha = 6)"), "", NULL); /* alpha / sqrt(rank) */
    assert_non_null(strstr(config, "\"lora_alpha\": 6,"));
    assert_non_null(strstr(config, "\"use_rslora\": true"));
    says_the_same();

    /* modules that differ; and not all of a name: then paths are written in full */
    config = exported(SPEC("control c() on llama.causal_lm {\n model.layers[0].self_attn.q_proj.weight ~ "
                           "control.lora(; rank = 2, alpha = 4)\n"
                           " model.layers[1].self_attn.v_proj.weight ~ control.lora(; rank = 3, alpha = 9)\n}\n",
                           "c()"),
                      "", NULL);
    assert_non_null(strstr(config, "\"r\": 2,"));
    assert_non_null(strstr(config, "\"rank_pattern\": {\n    \"model.layers.1.self_attn.v_proj\": 3\n  }"));
    assert_non_null(strstr(config, "\"alpha_pattern\": {\n    \"model.layers.1.self_attn.v_proj\": 9\n  }"));
    assert_non_null(strstr(config, "\"target_modules\": [\n    \"model.layers.0.self_attn.q_proj\",\n    "
                                   "\"model.layers.1.self_attn.v_proj\"\n  ]"));
    says_the_same();
}

static void writes_trained_heads(void **state) {
    (void)state;
    const char *config = exported(SPEC("control head() on llama.causal_lm {\n train lm_head.**\n}\n", "tuning.lora_qkv(rank = 2), head()"),
                                  "", NULL);
    assert_non_null(strstr(config, "\"modules_to_save\": [\n    \"lm_head\"\n  ]"));
    ctl_tensors *set = open_tensors("peft");
    assert_int_equal(ctl_tensors_count(set), 13);
    assert_non_null(ctl_tensors_find(set, "base_model.model.lm_head.weight"));
    ctl_tensors_close(set);
    says_the_same();
}

static void writes_vectors(void **state) {
    (void)state;
    assert_string_equal(
        exported(SPEC("", "tuning.ia3()"), " --base models/llama", "peft: (IA)^3 on 6 modules\n"),
        "{\n  \"base_model_name_or_path\": \"models/llama\",\n  \"fan_in_fan_out\": false,\n"
        "  \"feedforward_modules\": [\n    \"down_proj\"\n  ],\n  \"inference_mode\": true,\n"
        "  \"init_ia3_weights\": true,\n  \"modules_to_save\": null,\n  \"peft_type\": \"IA3\",\n"
        "  \"target_modules\": [\n    \"k_proj\",\n    \"v_proj\",\n    \"down_proj\"\n  ],\n"
        "  \"task_type\": null\n}\n");
    static const struct {
        const char *name;
        int64_t rows, cols;
    } tensors[] = {{"base_model.model.model.layers.1.self_attn.k_proj.ia3_l", 8, 1},
                   {"base_model.model.model.layers.0.self_attn.v_proj.ia3_l", 8, 1},
                   {"base_model.model.model.layers.0.mlp.down_proj.ia3_l", 1, 20}};
    ctl_tensors *set = open_tensors("peft");
    assert_int_equal(ctl_tensors_count(set), 6);
    for (size_t k = 0; k < CTL_COUNT(tensors); k++) {
        const ctl_tensor *t = ctl_tensors_find(set, tensors[k].name);
        assert_non_null(t);
        assert_true(t->ndims == 2 && t->dims[0] == tensors[k].rows && t->dims[1] == tensors[k].cols);
    }
    ctl_tensors_close(set);
    says_the_same();
    /* the other side of a product, and another method */
    write_file("peft/adapter_config.json", "{\"peft_type\": \"IA3\", \"feedforward_modules\": \".*_proj\"}");
    assert_int_equal(ctlc("eval spec.ctl --data text.txt --adapter peft"), 1);
    says("error[E0712]: 'peft/adapter_config.json': the adapter scales what the module reads at "
         "'model.layers.0.self_attn.k_proj', "
         "the spec's control what the module gives\n  hint: put the spec's control on the state that the "
         "adapter scales");
    write_file("peft/adapter_config.json", "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 2}");
    assert_int_equal(ctlc("eval spec.ctl --data text.txt --adapter peft"), 1);
    says("the adapter is LoRA; the spec's control on 'model.layers.0.self_attn.k_proj' is (IA)^3\n  hint: "
         "choose the spec's");
}

/* GPT-2 has biases everywhere: beside LoRA those of a block, or of the changed modules alone. */
static void writes_biases(void **state) {
    (void)state;
    static const char format[] =
        "import gpt2, gpt2_tuning\n"
        "control own() on gpt2.block {\n train attn.c_attn.bias\n}\n"
        "model m = gpt2.causal_lm(; vocab = 258, dim = 8, depth = 1, heads = 2, positions = 16)\n"
        "tune a = m with %s {\n tokens 2 x 16\n adamw(; lr = 1e-2)\n}\n";
    static const struct {
        const char *controls, *bias;
        size_t tensors;
    } cases[] = {{"gpt2_tuning.lora(rank = 2), gpt2_tuning.bitfit()", "\"bias\": \"all\"", 2 + 6},
                 {"gpt2_tuning.lora(rank = 2), own()", "\"bias\": \"lora_only\"", 2 + 1}};
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        char text[1000];
        snprintf(text, sizeof text, format, cases[k].controls);
        const char *config = exported(text, "", "peft: LoRA of rank 2 on 1 modules, and biases\n");
        assert_non_null(strstr(config, cases[k].bias));
        assert_non_null(strstr(config, "\"modules_to_save\": null"));
        ctl_tensors *set = open_tensors("peft");
        assert_int_equal(ctl_tensors_count(set), cases[k].tensors);
        assert_non_null(
            ctl_tensors_find(set, "base_model.model.transformer.h.0.attn.c_attn.base_layer.bias"));
        assert_true(!ctl_tensors_find(set, "base_model.model.transformer.h.0.mlp.c_fc.bias") == (k == 1));
        ctl_tensors_close(set);
        says_the_same();
    }
    write_file("peft/adapter_config.json",
               "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 16, \"bias\": \"none\"}");
    assert_int_equal(ctlc("eval spec.ctl --data text.txt --adapter peft"), 1);
    says("'peft/adapter_config.json': the adapter has no biases (`bias`), and the spec trains them\n  hint: "
         "take the control that "
         "trains them out of the spec");
    write_file("peft/adapter_config.json",
               "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 16, \"bias\": \"all\"}");
    char text[1000];
    snprintf(text, sizeof text, format, "gpt2_tuning.lora(rank = 2)");
    write_file("spec.ctl", text);
    assert_int_equal(ctlc("eval spec.ctl --data text.txt --adapter peft"), 1);
    says("`bias` is 'all': the adapter has biases, which the spec keeps frozen\n  hint: let a control of the "
         "spec train them: "
         "`train **.bias`");
}

static void flip_last_byte(const char *name) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -1, SEEK_END), 0);
    const int byte = fgetc(f);
    assert_int_equal(fseek(f, -1, SEEK_END), 0);
    assert_int_equal(fputc(byte ^ 1, f), byte ^ 1);
    assert_int_equal(fclose(f), 0);
}

/* A checkpoint has what the run had at that step. */
static void exports_checkpoints(void **state) {
    (void)state;
    clean();
    run_spec(SPEC("", "tuning.lora_qkv(rank = 2)"), "--save-every 2");
    assert_int_equal(ctlc("export run --peft peft"), 0);
    double last = loss_of("run", "");
    assert_true(loss_of("run/checkpoint-4", "") == last);
    assert_true(loss_of("run/checkpoint-2", "") != last);
    assert_int_equal(ctlc("export run/checkpoint-4 --peft peft"), 0);
    assert_true(loss_of("peft", "") == last);
    char path[200];
    snprintf(path, sizeof path, "%s/run/adapter_config.json", folder);
    assert_int_equal(unlink(path), 0); /* as if the run had not ended */
    assert_int_equal(ctlc("export run/checkpoint-2 --peft peft"), 1);
    says("error[E0709]: 'run/checkpoint-2' is a checkpoint of a run that has not ended, and holds no spec\n  "
         "hint: --spec SPEC.ctl "
         "names it");
    assert_int_equal(ctlc("export run --peft peft"), 1);
    says("error[E0709]: the run in 'run' has not ended: it has checkpoints, and no adapter\n  hint: give the "
         "checkpoint that "
         "'run/latest' names, with --spec SPEC.ctl; or end the run");
    assert_int_equal(ctlc("export run/checkpoint-2 --peft peft --spec spec.ctl"), 0);
    assert_true(loss_of("peft", "") == loss_of("run/checkpoint-2", ""));
    /* One bit that is another: no number of it is used, as with --resume. */
    flip_last_byte("run/checkpoint-2/state.safetensors");
    static const char damaged[] = "error[E0708]: 'run/checkpoint-2/state.safetensors' is damaged: its checksum is wrong\n";
    assert_int_equal(ctlc("export run/checkpoint-2 --peft peft --spec spec.ctl"), 1);
    says(damaged);
    for (int k = 0; k < 2; k++) {
        assert_int_equal(ctlc("%s spec.ctl --engine reference --tune a --data text.txt --adapter run/checkpoint-2",
                              k ? "train --out more --steps 1" : "eval"),
                         1);
        says(damaged);
    }
    flip_last_byte("run/checkpoint-2/state.safetensors");
    assert_int_equal(ctlc("export run/checkpoint-2 --peft peft --spec spec.ctl"), 0);
    write_file("run/checkpoint-2/state.json", "{}");
    assert_int_equal(ctlc("export run/checkpoint-2 --peft peft --spec spec.ctl"), 1);
    says("error[E0708]: 'run/checkpoint-2/state.json' is damaged: something is missing, or another version wrote it\n");
}

/* The run records its tune block and what --set said; a spec of one's own can be named. */
static void finds_the_spec_of_the_run(void **state) {
    (void)state;
    clean();
    run_spec(
        SPEC("", "tuning.lora_qkv(rank = 2, alpha = 8)") "tune b = m with tuning.ud() {\n tokens 1 x 4\n}\n",
        "--set lora_qkv.rank=3");
    assert_int_equal(ctlc("export run --peft peft"), 0);
    assert_non_null(strstr(text_of("peft/adapter_config.json"), "\"r\": 3,"));
    assert_int_equal(ctlc("export run --peft peft --spec spec.ctl --tune a --set lora_qkv.rank=3"), 0);
    assert_int_equal(ctlc("export run --peft peft --spec spec.ctl --tune a"), 1);
    says("error[E0705]: 'run/adapter_model.safetensors': tensor "
         "'model.layers.0.self_attn.q_proj.lora_A.weight' is [3, 16]; the parameter is [2, 16]");
    assert_int_equal(ctlc("export run"), 2);
    says("--peft is missing");
    assert_int_equal(ctlc("export nowhere --peft peft"), 4);
    says("nowhere/adapter_config.json");
}

static void refuses_what_peft_has_not(void **state) {
    (void)state;
    refused(SPEC("", "tuning.ud(rank = 2)"),
            "error[E0711]: PEFT has no form for the control: its edge into `model.layers.0.y` stands beside "
            "more than one product "
            "with a weight\n  hint: the adapter as `ctlc train` leaves it (peft_type STATE_CONTROL) "
            "holds any control, and ctlc reads it");
    exported(SPEC("", "tuning.lora_qkv(rank = 2), tuning.full()"), "", NULL); /* every module is a saved one */
    refused(SPEC("control c() on llama.block {\n self_attn.q_proj.y => control.red()\n}\n", "c()"),
            "the control on 'model.layers.0.self_attn.q_proj.weight' is not LoRA, DoRA or (IA)^3: it has a "
            "weight that LoRA and "
            "DoRA do not have");
    refused(SPEC("control c() on llama.block {\n self_attn.q_proj.y => control.ia3()\n "
                 "self_attn.v_proj.weight ~ control.lora(; rank = 2, "
                 "alpha = 2)\n}\n",
                 "c()"),
            "an adapter of PEFT's is LoRA, DoRA or (IA)^3 as a whole");
    /* biases: of no adapter without a changed module, nor beside (IA)^3 */
    static const char biased[] = "import llama, tuning\nmodel m = llama.causal_lm(; vocab = 258, dim = 16, "
                                 "depth = 1, heads = 2, kv_heads = 1, ffn = 20, theta = "
                                 "10000.0, biased = true)\ncontrol bitfit() on llama.block {\n train "
                                 "**.bias\n}\ntune a = m with %sbitfit() {\n tokens 2 x 16\n}\n";
    char text[1000];
    snprintf(text, sizeof text, biased, "tuning.ia3(), ");
    refused(text, "error[E0711]: PEFT's (IA)^3 adapters have no place for biases, and "
                  "'model.layers.0.self_attn.q_proj.bias' is trained\n  hint: "
                  "the adapter as `ctlc train` leaves it");
    snprintf(text, sizeof text, biased, "");
    refused(text, "error[E0709]: 'run' holds a whole model and no adapter: the spec's controls made nothing of their "
                  "own\n  hint: with the "
                  "config.json and the tokenizer of its base beside it, it is a checkpoint that transformers loads");
    assert_int_equal(ctlc("export run/checkpoint-4 --peft peft --spec spec.ctl"), 1);
    says("error[E0711]: PEFT has no adapter without a changed module, and the spec's controls change no "
         "product with a weight\n  hint: "
         "save a whole model");
    refused(SPEC("control c() on llama.block {\n self_attn.q_proj.weight ~ control.dora(; rank = 2, alpha = 2)\n"
                 " self_attn.v_proj.weight ~ control.lora(; rank = 2, alpha = 2)\n}\n",
                 "c()"),
            "an adapter of PEFT's is LoRA, DoRA or (IA)^3 as a whole, and its weights lie one way: "
            "'model.layers.0.self_attn.q_proj.weight' and "
            "'model.layers.0.self_attn.v_proj.weight' differ");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_peft_loads),
        cmocka_unit_test(writes_dora_and_other_scales),
        cmocka_unit_test(writes_trained_heads),
        cmocka_unit_test(writes_vectors),
        cmocka_unit_test(writes_biases),
        cmocka_unit_test(exports_checkpoints),
        cmocka_unit_test(finds_the_spec_of_the_run),
        cmocka_unit_test(refuses_what_peft_has_not),
    };
    return cmocka_run_group_tests_name("peft_export", tests, make_folder, remove_folder);
}
