/* import_adapter: see import_adapter.h. Here: the configuration. */
#include "tools/ctlc/import_adapter.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MOST_CONFIG = 1 << 24 };
#define complain(a, ...) ctl_peft_config_complain(&(a)->config, __VA_ARGS__)

/* A value as the file has it, for messages. */
static const char *shown(const json_t *value, char buf[64]) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    snprintf(buf, 64, "%.60s", text ? text : "?");
    free(text);
    return buf;
}

static double read_number(import_adapter *a, const char *key, double least, bool whole) {
    const json_t *value = json_object_get(a->json, key);
    const double x = json_number_value(value);
    char text[64];
    if (!value || json_is_null(value)) {
        complain(a, "PEFT writes it: save the adapter again", "'%s' has no `%s`", a->path, key);
    } else if (!json_is_number(value) || !(x >= least) || x > 1e9 || (whole && x != (double)(int64_t)x)) {
        complain(a, NULL, "'%s': `%s` is %s, and must be a%s number from %g", a->path, key,
                 shown(value, text), whole ? " whole" : "", least);
    } else {
        return x;
    }
    return 0;
}

static void read_task(import_adapter *a) {
    static const struct {
        const char *type, *task;
    } tasks[] = {{"CAUSAL_LM", "causal_lm"}, {"SEQ_CLS", "classifier"}, {"FEATURE_EXTRACTION", NULL}};
    const json_t *value = json_object_get(a->json, "task_type");
    const char *type = json_string_value(value);
    char text[64];
    if (!value || json_is_null(value)) return;
    for (size_t i = 0; i < CTL_COUNT(tasks); i++) {
        if (!type || strcmp(type, tasks[i].type) != 0) continue;
        a->task = tasks[i].task;
        return;
    }
    complain(a, "the nets are language models and classifiers: CAUSAL_LM, SEQ_CLS",
             "'%s': `task_type` is %s, for which there is no net", a->path, shown(value, text));
}

static void read_method(import_adapter *a) {
    static const struct {
        const char *type, *hint;
    } others[] = {
        {"STATE_CONTROL",
         "it is an adapter of ctlc, and its spec stands in it: `control_source` in that file"},
        {"ADALORA", "train LoRA; ranks of its own for some modules are `rank_pattern`"},
        {"VERA", "`ctlc import --method vera` makes a spec that trains it anew"},
        {"LN_TUNING", "a control of your own: `train **.input_layernorm.**, **.post_attention_layernorm.**`"},
        {"PROMPT_TUNING", "trained rows before the text are the net's own (docs/methods.md); train LoRA"},
        {"PREFIX_TUNING", "trained rows before the text are the net's own (docs/methods.md); train LoRA"},
        {"P_TUNING", "trained rows before the text are the net's own (docs/methods.md); train LoRA"},
    };
    const json_t *value = json_object_get(a->json, "peft_type");
    const char *type = json_string_value(value),
               *hint = "let PEFT put it into the weights, merge_and_unload(), and import that checkpoint";
    char text[64];
    a->vectors = type && strcmp(type, "IA3") == 0;
    if (a->vectors || (type && strcmp(type, "LORA") == 0)) return;
    for (size_t i = 0; type && i < CTL_COUNT(others); i++)
        if (strcmp(type, others[i].type) == 0) hint = others[i].hint;
    complain(a, hint, "'%s': `peft_type` is %s: LORA (DoRA and rsLoRA too) and IA3 can be imported", a->path,
             value ? shown(value, text) : "missing");
}

/* Keys that are looked at here and elsewhere, or that change nothing of what the tensors compute. */
static bool is_known(const char *key) {
    static const char *const known[] = {
        "alora_invocation_tokens",
        "alpha_pattern",
        "arrow_config",
        "auto_mapping",
        "base_model_name_or_path",
        "bias",
        "corda_config",
        "ensure_weight_tying",
        "eva_config",
        "exclude_modules",
        "fan_in_fan_out",
        "feedforward_modules",
        "inference_mode",
        "init_ia3_weights",
        "init_lora_weights",
        "kasa_config",
        "layer_replication",
        "layers_pattern",
        "layers_to_transform",
        "loftq_config",
        "lora_alpha",
        "lora_bias",
        "lora_dropout",
        "lora_ga_config",
        "megatron_config",
        "megatron_core",
        "modules_to_save",
        "monteclora_config",
        "peft_type",
        "peft_version",
        "qalora_group_size",
        "r",
        "rank_pattern",
        "revision",
        "runtime_config",
        "target_modules",
        "target_parameters",
        "task_type",
        "trainable_token_indices",
        "unsloth_fixed",
        "use_bdlora",
        "use_dora",
        "use_qalora",
        "use_rslora",
        "velora_config",
    };
    for (size_t i = 0; i < CTL_COUNT(known); i++)
        if (strcmp(key, known[i]) == 0) return true;
    return false;
}

static void read_config(import_adapter *a) {
    read_method(a);
    if (a->config.errors) return;
    read_task(a);
    ctl_peft_config_check(&a->config);
    if (!a->vectors) {
        a->rank = read_number(a, "r", 1, true);
        a->alpha = read_number(a, "lora_alpha", 0, false);
        a->dropout = json_object_get(a->json, "lora_dropout") ? read_number(a, "lora_dropout", 0, false) : 0;
        if (a->dropout >= 1)
            complain(a, NULL, "'%s': `lora_dropout` is %g, and must be below 1", a->path, a->dropout);
        a->dora = json_is_true(json_object_get(a->json, "use_dora"));
        a->stabilised = json_is_true(json_object_get(a->json, "use_rslora"));
    }
    const char *key;
    json_t *value;
    json_object_foreach(a->json, key, value) if (!is_known(key) && !ctl_peft_config_is_nothing(value))
        ctl_say(a->place.voice, CTL_WARNING, "E0714",
                "a newer PEFT may compute something else by it: compare the outputs",
                "'%s': `%.60s` is a key that ctlc does not know; it is passed over", a->path, key);
}

bool import_has_file(const char *directory, const char *name) {
    char *path = ctl_string_format(&ctl_malloc_allocator, "%s/%s", directory, name);
    const bool there = path && access(path, F_OK) == 0;
    ctl_string_free(&ctl_malloc_allocator, path);
    return there;
}

ctl_status import_adapter_open(import_adapter *a, const char *directory, ctl_place place) {
    char *text = NULL;
    size_t n;
    json_error_t error;
    *a = (import_adapter){.place = place, .directory = directory};
    a->path = ctl_string_format(place.allocator, "%s/adapter_config.json", directory);
    ctl_status status = a->path ? ctl_file_read(a->path, MOST_CONFIG, &text, &n, place) : CTL_ERR_MEMORY;
    if (status == CTL_OK) {
        a->json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
        ctl_free(place.allocator, text, n + 1);
        a->config =
            (ctl_peft_config){.voice = place.voice, .code = "E0714", .path = a->path, .json = a->json};
        if (!a->json && json_error_code(&error) == json_error_out_of_memory)
            status = CTL_ERR_MEMORY;
        else if (!json_is_object(a->json))
            complain(a, "fetch or save the adapter again", "'%s' is not a JSON object: %s", a->path,
                     a->json ? "something else" : error.text);
        else
            read_config(a);
        if (status == CTL_OK && a->config.errors) status = CTL_ERR_INPUT;
    }
    if (status == CTL_OK && !import_has_file(directory, "adapter_model.safetensors") &&
        import_has_file(directory, "adapter_model.bin")) {
        complain(a,
                 "PEFT writes the other form: PeftModel.from_pretrained(..).save_pretrained(.., "
                 "safe_serialization=True)",
                 "'%s/adapter_model.bin' is a file of Python's pickle, which is not read", directory);
        status = CTL_ERR_INPUT;
    }
    if (status == CTL_OK)
        status = ctl_tensors_open(directory, "adapter_model.safetensors", place, &a->tensors);
    if (status == CTL_OK) {
        static const char *const heads[] = {"score", "classifier", "classifier.out_proj"};
        char name[80];
        for (size_t i = 0; i < CTL_COUNT(heads); i++) {
            snprintf(name, sizeof name, "base_model.model.%s.weight", heads[i]);
            const ctl_tensor *t = ctl_tensors_find(a->tensors, name);
            if (t && t->ndims == 2) a->classes = t->dims[0];
        }
    }
    if (status != CTL_OK) import_adapter_close(a);
    return status;
}

void import_adapter_close(import_adapter *a) {
    const ctl_allocator *allocator = a->place.allocator;
    if (!allocator) return;
    for (size_t i = 0; i < a->nchanges; i++) ctl_string_free(allocator, a->changes[i].module);
    ctl_free(allocator, a->changes, a->cap * sizeof *a->changes);
    ctl_tensors_close(a->tensors);
    json_decref(a->json);
    ctl_string_free(allocator, a->path);
    *a = (import_adapter){0};
}
