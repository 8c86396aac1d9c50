/* `ctlc import --adapter`: what PEFT saved becomes a control that means the same, for adapters that PEFT
 * itself made (tests/goldens) and for configurations written here: the adapter loads, and comes out again by
 * `ctlc export --peft` with the same tensors and a configuration that says the same. What no control does is
 * refused by its key. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "folder.h"
#include "hf_files.h"
#include "peft_runs.h"

/* ---- what is compared ---- */
static json_t *config_of(const char *name) {
    char path[100];
    json_error_t error;
    snprintf(path, sizeof path, "%.60s/adapter_config.json", name);
    json_t *config = json_loads(text_of(path), 0, &error);
    assert_non_null(config);
    return config;
}

static bool nothing(const json_t *v) {
    return !v || json_is_null(v) || json_is_false(v) || (json_is_array(v) && !json_array_size(v)) ||
           (json_is_object(v) && !json_object_size(v)) ||
           (json_is_string(v) && !strcmp(json_string_value(v), "none"));
}

static bool has_text(const json_t *list, const char *text) {
    const json_t *one;
    size_t i;
    json_array_foreach(list, i, one) if (strcmp(json_string_value(one), text) == 0) return true;
    return false;
}

static double scale_of(const json_t *config) {
    const double rank = json_number_value(json_object_get(config, "r"));
    return json_number_value(json_object_get(config, "lora_alpha")) /
           (json_is_true(json_object_get(config, "use_rslora")) ? sqrt(rank) : rank);
}

/* Modules of a saved module are those, too: `classifier` is `classifier.dense` and `classifier.out_proj`. */
static bool same_saved(const json_t *whole, const json_t *parts) {
    const json_t *one, *part;
    size_t i, k;
    json_array_foreach(parts, i, part) {
        bool found = false;
        json_array_foreach(whole, k, one) {
            const size_t n = strlen(json_string_value(one));
            const char *text = json_string_value(part);
            found |= strncmp(text, json_string_value(one), n) == 0 && (text[n] == 0 || text[n] == '.');
        }
        if (!found) return false;
    }
    return json_array_size(parts) >= json_array_size(whole);
}

/* The keys that decide what is computed; lists in any order. A scale has several forms. */
static void same_config(const char *a, const char *b) {
    static const char *const keys[] = {"peft_type",
                                       "r",
                                       "lora_dropout",
                                       "use_dora",
                                       "bias",
                                       "fan_in_fan_out",
                                       "target_modules",
                                       "modules_to_save",
                                       "feedforward_modules",
                                       "rank_pattern",
                                       "alpha_pattern"};
    json_t *x = config_of(a), *y = config_of(b);
    for (size_t i = 0; i < CTL_COUNT(keys); i++) {
        const json_t *u = json_object_get(x, keys[i]), *v = json_object_get(y, keys[i]), *one;
        size_t k;
        if (nothing(u) && nothing(v)) continue;
        bool good = u && v;
        if (good && strcmp(keys[i], "modules_to_save") == 0)
            good = same_saved(u, v);
        else if (good && json_is_number(u))
            good = json_number_value(u) == json_number_value(v);
        else if (good && json_is_array(u) && json_is_array(v)) {
            good = json_array_size(u) == json_array_size(v);
            json_array_foreach(u, k, one) good &= has_text(v, json_string_value(one));
        } else if (good)
            good = json_equal(u, v);
        if (!good) fail_msg("`%s` differs between %s and %s", keys[i], a, b);
    }
    if (json_object_get(x, "r") && scale_of(x) != scale_of(y))
        fail_msg("%s scales by %g, %s by %g", a, scale_of(x), b, scale_of(y));
    json_decref(x), json_decref(y);
}

static void same_tensors(const char *a, const char *b) {
    ctl_tensors *x = open_tensors(a), *y = open_tensors(b);
    size_t n = 0;
    for (size_t i = 0; i < ctl_tensors_count(x); i++) {
        const ctl_tensor *t = ctl_tensors_at(x, i), *u = ctl_tensors_find(y, t->name);
        if (strstr(t->name, ".original_module.") || strstr(t->name, ".modules_to_save.")) continue;
        n++;
        if (!u) fail_msg("%s has no %s", b, t->name);
        assert_int_equal(t->ndims, u->ndims);
        for (int k = 0; k < t->ndims; k++) assert_int_equal(t->dims[k], u->dims[k]);
        assert_int_equal(t->bytes, u->bytes);
        assert_memory_equal(t->data, u->data, t->bytes);
    }
    assert_int_equal(n, ctl_tensors_count(y));
    ctl_tensors_close(x), ctl_tensors_close(y);
}

static void link_golden(const char *as, const char *fmt, const char *name) {
    char path[200], target[300];
    snprintf(path, sizeof path, "%s/%s", folder, as);
    snprintf(target, sizeof target, fmt, SOURCE_DIR, name);
    unlink(path);
    assert_int_equal(symlink(target, path), 0);
}

static void writes_control(const char *spec, const char *control) {
    const char *text = text_of(spec), *at = strstr(text, "control peft");
    if (!at || strncmp(at, control, strlen(control)) != 0) fail_msg("not\n%s but\n%s", control, text);
}

static void adapters_of_peft(void **state) {
    (void)state;
    static const struct {
        const char *model, *adapter, *control;
    } cases[] = {
        {"llama", "llama/lora",
         "control peft(rank = 4, alpha = 8) on llama.causal_lm {\n"
         "    model.layers[*].self_attn.{q_proj, k_proj, v_proj}.weight ~ control.lora(; rank, alpha)\n"
         "    model.layers[*].mlp.{up_proj, down_proj}.weight ~ control.lora(; rank, alpha)\n}\n\ntune base "
         "with peft() {\n"},
        {"llama", "llama/rslora",
         "control peft(rank = 4, alpha = 8) on llama.causal_lm {\n"
         "    model.layers[*].self_attn.{q_proj, v_proj}.weight ~ control.lora(; rank, alpha, scale = alpha "
         "/ sqrt(rank))\n}\n"},
        {"llama", "llama/dora_dropout",
         "control peft(rank = 4, alpha = 8, p = 0.2) on llama.causal_lm {\n"
         "    model.layers[*].self_attn.{q_proj, k_proj, v_proj}.weight ~ control.dora(; rank, alpha, p)\n"
         "    model.layers[*].mlp.{up_proj, down_proj}.weight ~ control.dora(; rank, alpha, p)\n}\n"},
        {"llama", "llama/ia3",
         "control peft() on llama.causal_lm {\n"
         "    model.layers[*].self_attn.{k_proj, v_proj}.y => control.ia3()\n"
         "    model.layers[*].mlp.down_proj.x => control.ia3()\n}\n"},
        {"qwen2", "qwen2/lora_bias",
         "control peft(rank = 4, alpha = 8) on llama.causal_lm {\n"
         "    model.layers[*].self_attn.{q_proj, v_proj}.weight ~ control.lora(; rank, alpha)\n"
         "    train model.layers[*].self_attn.{q_proj, v_proj}.bias\n}\n"},
        {"gpt2", "gpt2/dora",
         "control peft(rank = 4, alpha = 8) on gpt2.causal_lm {\n"
         "    transformer.h[*].attn.c_attn.weight ~ control.dora(; rank, alpha)\n}\n"},
        {"roberta", "roberta/lora",
         "control peft(rank = 4, alpha = 8) on roberta.classifier {\n"
         "    roberta.encoder.layer[*].attention.self.{query, value}.weight ~ control.lora(; rank, alpha)\n"
         "    train classifier.**\n}\n"},
        {"llama_classifier", "llama_classifier/lora",
         "control peft(rank = 4, alpha = 8) on llama.classifier {\n"
         "    model.layers[*].self_attn.{q_proj, v_proj}.weight ~ control.lora(; rank, alpha)\n"
         "    train score.**\n}\n"},
    };
    for (size_t i = 0; i < CTL_COUNT(cases); i++) {
        link_golden("base", "%s/tests/goldens/%s", cases[i].model);
        link_golden("saved", "%s/tests/goldens/%s", cases[i].adapter);
        assert_int_equal(ctlc("import base --adapter saved -o a.ctl --memory 1GiB"), 0);
        says("the adapter fits: ");
        writes_control("a.ctl", cases[i].control);
        assert_int_equal(ctlc("fmt --check a.ctl"), 0);
        clean();
        assert_int_equal(ctlc("export saved --spec a.ctl --peft peft"), 0);
        same_tensors("saved", "peft");
        same_config("saved", "peft");
    }
}

/* ---- adapters written here ---- */
enum { LAYERS = 3 };
static void write_base(void) {
    static const char config[] =
        "{\"model_type\": \"llama\", \"architectures\": [\"LlamaForCausalLM\"], \"vocab_size\": 258, "
        "\"hidden_size\": 16, "
        "\"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, "
        "\"intermediate_size\": 20, "
        "\"rms_norm_eps\": 1e-05, \"max_position_embeddings\": 16, \"rope_theta\": 10000.0}";
    char path[200];
    hf_checkpoint c;
    snprintf(path, sizeof path, "%s/base", folder);
    unlink(path); /* of the goldens */
    hf_llama(&c, CTL_F32, LAYERS, false, false);
    c.at[0].rows = c.at[c.n - 1].rows = 258;
    hf_write(&c, path, 1);
    hf_text(path, "config.json", config);
}

static void add_module(hf_checkpoint *c, int layer, const char *module, int in, int out, int rank) {
    hf_add(c, rank, in, "base_model.model.model.layers.%d.%s.lora_A.weight", layer, module);
    hf_add(c, out, rank, "base_model.model.model.layers.%d.%s.lora_B.weight", layer, module);
}

static void write_adapter(const hf_checkpoint *c, const char *config) {
    char path[200];
    snprintf(path, sizeof path, "%s/saved", folder);
    unlink(path);
    mkdir(path, 0777);
    hf_text(path, "adapter_config.json", config);
    snprintf(path, sizeof path, "%s/saved/adapter_model.safetensors", folder);
    hf_write_slice(c, path, 0, c->n);
}

/* Ranks and scales of their own, by Python's expressions; some layers; a saved module. */
static const char patterns[] =
    "{\"peft_type\": \"LORA\", \"task_type\": \"CAUSAL_LM\", \"r\": 4, \"lora_alpha\": 8, \"lora_dropout\": "
    "0.05, \"bias\": \"all\", "
    "\"target_modules\": \".*\\\\.([12]\\\\.\\\\w+\\\\.(?:q_proj|v_proj|down_proj)|0.mlp.up_proj)\", "
    "\"rank_pattern\": {\"layers\\\\.\\\\d+?\\\\.self_attn\\\\.v_proj\": 2}, \"alpha_pattern\": "
    "{\"down_proj\": 3}, "
    "\"modules_to_save\": [\"lm_head\"], \"fan_in_fan_out\": false, \"use_rslora\": false}";
static void write_patterns(void) {
    hf_checkpoint c = {.dtype = CTL_F32};
    for (int i = 1; i < LAYERS; i++) {
        add_module(&c, i, "self_attn.q_proj", 16, 16, 4);
        add_module(&c, i, "self_attn.v_proj", 16, 8, 2);
        add_module(&c, i, "mlp.down_proj", 20, 16, 4);
    }
    add_module(&c, 0, "mlp.up_proj", 16, 20, 4);
    hf_add(&c, 258, 16, "base_model.model.lm_head.weight");
    hf_add(&c, 258, 16, "base_model.model.lm_head.base_layer.weight"); /* PEFT's copy of what is frozen */
    write_adapter(&c, patterns);
}

static void parts_of_a_model(void **state) {
    (void)state;
    write_base();
    write_patterns();
    assert_int_equal(ctlc("import base --adapter saved -o a.ctl"), 0);
    assert_string_equal(output, "the weights fit: 30 tensors\nthe adapter fits: 15 tensors\n"
                                "a.ctl is written; `ctlc plan a.ctl` tells what it takes\n");
    writes_control("a.ctl",
                   "control peft(rank = 4, alpha = 8, p = 0.05) on llama.causal_lm {\n"
                   "    model.layers[0].mlp.up_proj.weight ~ control.lora(; rank, alpha, p)\n"
                   "    for i in 1..3 {\n"
                   "        model.layers[i].self_attn.q_proj.weight ~ control.lora(; rank, alpha, p)\n"
                   "    }\n"
                   "    for i in 1..3 {\n"
                   "        model.layers[i].self_attn.v_proj.weight ~ control.lora(; rank = 2, alpha, p)\n"
                   "    }\n"
                   "    for i in 1..3 {\n"
                   "        model.layers[i].mlp.down_proj.weight ~ control.lora(; rank, alpha = 3, p)\n"
                   "    }\n"
                   "    train lm_head.**\n}\n");
    /* at once: training from it, what it does, and one checkpoint of both */
    write_file("spec.ctl", text_of("a.ctl"));
    write_file("text.txt", "What is said here is said again, and what is said again is said here.\n");
    clean();
    assert_int_equal(ctlc("train spec.ctl --set compute=f32 --weights base --adapter saved --engine "
                          "reference --data text.txt "
                          "--steps 1 --eval-fraction 0 --quiet --out run"),
                     0);
    assert_int_equal(ctlc("merge spec.ctl --weights base --adapter saved -o merged"), 0);
    says("merged: 8 tensors changed, 0 added, 22 as they were"); /* the head among them */
    write_file("whole.ctl", "import llama\nmodel m = llama.causal_lm(; vocab = 258, dim = 16, depth = 3, "
                            "heads = 4, kv_heads = 2, "
                            "ffn = 20, theta = 10000.0)\ntune a = m {\n tokens 2 x 16\n}\n");
    assert_int_equal(ctlc("eval spec.ctl --set tokens=2x16 --set compute=f32 --engine reference --weights "
                          "base --adapter saved "
                          "--data text.txt --json 2>/dev/null"),
                     0);
    const double apart = atof(strstr(output, "\"loss\":") + 7);
    assert_int_equal(
        ctlc("eval whole.ctl --engine reference --weights merged --data text.txt --json 2>/dev/null"), 0);
    const double merged = atof(strstr(output, "\"loss\":") + 7);
    if (!(apart > 1 && merged > apart - 1e-6 * apart && merged < apart + 1e-6 * apart))
        fail_msg("%.9g %.9g", apart, merged);
    /* and out again: the same numbers under the same names */
    assert_int_equal(ctlc("export saved --spec spec.ctl --peft peft"), 0);
    write_file("again.ctl", "");
    assert_int_equal(ctlc("import base --adapter peft -o again.ctl"), 0);
    const char *first = strstr(text_of("a.ctl"), "control peft");
    char control[2000];
    snprintf(control, sizeof control, "%.*s", (int)(strstr(first, "\n}\n") - first), first);
    writes_control("again.ctl", control);
}

/* An adapter of classes, with their head, over a language model: the model is a classifier of as many. */
static void classes_over_a_language_model(void **state) {
    (void)state;
    hf_checkpoint c = {.dtype = CTL_F32};
    write_base();
    for (int i = 0; i < LAYERS; i++) add_module(&c, i, "self_attn.q_proj", 16, 16, 4);
    hf_add(&c, 5, 16, "base_model.model.score.weight");
    write_adapter(&c, "{\"peft_type\": \"LORA\", \"task_type\": \"SEQ_CLS\", \"r\": 4, \"lora_alpha\": 8, \"target_modules\": [\"q_proj\"], "
                      "\"modules_to_save\": [\"classifier\", \"score\"]}");
    assert_int_equal(ctlc("import base --adapter saved -o classes.ctl"), 0);
    assert_string_equal(output, "warning[E0706]: 1 tensor of 'base/model.safetensors' belongs to no parameter: 'lm_head.weight'\n"
                                "29 tensors fit; 1 others of the files are not in the model\nthe adapter fits: 7 tensors\n"
                                "classes.ctl is written; `ctlc plan classes.ctl` tells what it takes\n");
    assert_non_null(strstr(text_of("classes.ctl"), "llama.classifier("));
    assert_non_null(strstr(text_of("classes.ctl"), "classes = 5"));
    writes_control("classes.ctl", "control peft(rank = 4, alpha = 8) on llama.classifier {\n"
                                  "    model.layers[*].self_attn.q_proj.weight ~ control.lora(; rank, alpha)\n    train score.**\n}\n");
    assert_int_equal(ctlc("import base --adapter saved --task causal_lm"), 1);
    says("the model has nothing for the tensor 'base_model.model.score.weight'");
}

/* A spec of one's own: its controls are replaced, and nothing else. */
static void into_a_spec(void **state) {
    (void)state;
    write_base();
    write_patterns();
    write_file("mine.ctl",
               "# Mine.\nimport llama, tuning\n\nmodel base = llama.causal_lm(;\n    vocab = 258, dim = 16, "
               "depth = 3, heads = 4, kv_heads "
               "= 2, ffn = 20, theta = 10000.0, eps = 1e-5\n)\n\n# What is tuned: LoRA.\n# Others: many.\n"
               "tune base with tuning.ud(rank = 2), tuning.lora_qkv() {   # with two\n    tokens 2 x 16\n    "
               "compute f32\n}\n");
    assert_int_equal(ctlc("import mine.ctl --adapter saved -o yours.ctl"), 0);
    says("the adapter fits: 15 tensors\n");
    const char *text = text_of("yours.ctl");
    static const char head[] =
        "# Mine.\nimport control\nimport llama, tuning\n\nmodel base = llama.causal_lm(;";
    assert_memory_equal(text, head, sizeof head - 1);
    assert_non_null(
        strstr(text, ")\n\n# LoRA of rank 4, alpha 8, as the adapter in saved has it.\ncontrol peft("));
    assert_non_null(strstr(text, "}\n\ntune base with peft() {                            # with two\n    "
                                 "tokens 2 x 16\n    compute f32\n}\n"));
    /* into that one again: the name is taken */
    assert_int_equal(ctlc("import yours.ctl --adapter saved -o third.ctl"), 0);
    assert_non_null(strstr(text_of("third.ctl"), "tune base with peft2() {"));
    write_file("none.ctl", "import llama\n");
    assert_int_equal(ctlc("import none.ctl --adapter saved"), 1);
    says("error[E0714]: 'none.ctl': the spec has no tune block\n  hint: add `tune MODEL with CONTROL(..)");
    write_file("two.ctl", "import llama\nmodel m = llama.causal_lm(; vocab = 258, dim = 16, depth = 3, heads "
                          "= 4, kv_heads = 2, ffn = 20, theta "
                          "= 10000.0)\ntune a = m {\n tokens 2 x 16\n}\ntune b = m {\n tokens 2 x 16\n}\n");
    assert_int_equal(ctlc("import two.ctl --adapter saved"), 1);
    says("'two.ctl': which of the tune blocks is to have the adapter?\n  hint: leave one of them, or one "
         "without a name");
    assert_int_equal(ctlc("import mine.ctl"), 2);
    says("a .ctl is imported into with --adapter");
    assert_int_equal(ctlc("import mine.ctl --adapter saved --memory 2GiB"), 2);
    says("--task and --memory are for a checkpoint's folder");
    assert_int_equal(ctlc("import base --adapter saved --method lora"), 2);
    says("--adapter says what is tuned, and so does --method");
}

/* ---- refusals ---- */
#define LORA_KEYS "\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 8, \"target_modules\": [\"q_proj\"]"
static void refuses_by_key(void **state) {
    (void)state;
    static const struct {
        const char *config, *says;
    } cases[] = {
        {"\"peft_type\": \"LOHA\"", "`peft_type` is \"LOHA\": LORA (DoRA and rsLoRA too) and IA3 can be "
                                    "imported\n  hint: let PEFT put it into the weights, "
                                    "merge_and_unload()"},
        {"\"peft_type\": \"PREFIX_TUNING\"", "`peft_type` is \"PREFIX_TUNING\": "},
        {"\"peft_type\": \"STATE_CONTROL\"",
         "hint: it is an adapter of ctlc, and its spec stands in it: `control_source`"},
        {"\"r\": 4", "`peft_type` is missing"},
        {LORA_KEYS ", \"task_type\": \"SEQ_2_SEQ_LM\"",
         "`task_type` is \"SEQ_2_SEQ_LM\", for which there is no net"},
        {LORA_KEYS ", \"lora_bias\": true",
         "`lora_bias` is set: that is another method than LoRA and DoRA\n  hint: without it"},
        {LORA_KEYS ", \"trainable_token_indices\": [1]",
         "`trainable_token_indices` is set: that is another method than LoRA and DoRA\n  "
         "hint: rows of an embedding are not trained alone"},
        {LORA_KEYS ", \"layer_replication\": [[0, 2]]", "hint: save the model with its layers repeated"},
        {LORA_KEYS ", \"init_lora_weights\": \"pissa\"",
         "with init_lora_weights 'pissa' the adapter belongs to a base that PEFT has changed"},
        {LORA_KEYS ", \"lora_dropout\": \"x\"", "`lora_dropout` is \"x\", and must be a number from 0"},
        {"\"peft_type\": \"LORA\", \"lora_alpha\": 8", "has no `r`\n  hint: PEFT writes it"},
        {"\"peft_type\": \"LORA\", \"r\": 0, \"lora_alpha\": 8",
         "`r` is 0, and must be a whole number from 1"},
        {LORA_KEYS ", \"rank_pattern\": {\"q_proj\": 2}",
         "on 'model.layers.0.self_attn.q_proj' the rank is 2 by `r` and `rank_pattern`, and 4 by the tensor "
         "'lora_A.weight'"},
        {LORA_KEYS ", \"rank_pattern\": {\"(?<!x)q_proj\": 2}",
         "the key '(?<!x)q_proj' of `rank_pattern` cannot be read\n  hint: write the "
         "modules' names there"},
        {LORA_KEYS ", \"use_dora\": true",
         "`use_dora` is true, and 'model.layers.0.self_attn.q_proj' has no 'lora_magnitude_vector'"},
        {"\"peft_type\": \"IA3\"", "the model has nothing for the tensor "
                                   "'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight'"},
    };
    hf_checkpoint c = {.dtype = CTL_F32};
    char config[1000];
    write_base();
    for (int i = 0; i < LAYERS; i++) add_module(&c, i, "self_attn.q_proj", 16, 16, 4);
    for (size_t i = 0; i < CTL_COUNT(cases); i++) {
        snprintf(config, sizeof config, "{%s}", cases[i].config);
        write_adapter(&c, config);
        remove("no.ctl");
        assert_int_equal(ctlc("import base --adapter saved -o no.ctl"), 1);
        says("error[E0714]: 'saved/adapter_config.json'");
        says(cases[i].says);
        assert_int_equal(ctlc("check no.ctl"), 4); /* nothing was written */
    }
    /* tensors that no control has a place for */
    hf_add(&c, 4, 258, "base_model.model.model.embed_tokens.lora_embedding_A");
    write_adapter(&c, "{" LORA_KEYS "}");
    assert_int_equal(ctlc("import base --adapter saved"), 1);
    says("`target_modules` names an embedding: 'base_model.model.model.embed_tokens.lora_embedding_A' has no "
         "control in ctlc\n  hint: "
         "train the embedding as a whole: name it in `modules_to_save`");
    strcpy(c.at[c.n - 1].name, "base_model.model.model.embed_tokens.weight");
    write_adapter(&c, "{" LORA_KEYS "}");
    assert_int_equal(ctlc("import base --adapter saved"), 1);
    says("the adapter holds 'model.embed_tokens.weight', which `modules_to_save` does not name\n  hint: name "
         "it in");
    c.n--;
    /* a key of a later PEFT is told, and passed over */
    write_adapter(&c, "{" LORA_KEYS ", \"use_moonshine\": true, \"unsloth_fixed\": true}");
    assert_int_equal(ctlc("import base --adapter saved -o warned.ctl"), 0);
    says("warning[E0714]: 'saved/adapter_config.json': `use_moonshine` is a key that ctlc does not know; it "
         "is passed over\n  hint: a "
         "newer PEFT");
    assert_null(strstr(output, "unsloth"));
    write_adapter(&c, "[]");
    assert_int_equal(ctlc("import base --adapter saved"), 1);
    says("'saved/adapter_config.json' is not a JSON object");
    assert_int_equal(ctlc("import base --adapter nowhere"), 4);
    says("nowhere/adapter_config.json");
    assert_int_equal(ctlc("import saved -o no.ctl"), 1);
    says("error[E0710]: 'saved' holds an adapter, and no model\n  hint: name its model's folder first: ctlc import MODEL --adapter saved");
    /* the older file */
    char path[200];
    write_adapter(&c, "{" LORA_KEYS "}");
    snprintf(path, sizeof path, "%s/saved/adapter_model.safetensors", folder);
    assert_int_equal(unlink(path), 0);
    write_file("saved/adapter_model.bin", "pickle");
    assert_int_equal(ctlc("import base --adapter saved"), 1);
    says("'saved/adapter_model.bin' is a file of Python's pickle, which is not read\n  hint: PEFT writes the "
         "other form");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapters_of_peft),
        cmocka_unit_test(parts_of_a_model),
        cmocka_unit_test(classes_over_a_language_model),
        cmocka_unit_test(into_a_spec),
        cmocka_unit_test(refuses_by_key),
    };
    return cmocka_run_group_tests_name("import_adapter", tests, make_folder, remove_folder);
}
