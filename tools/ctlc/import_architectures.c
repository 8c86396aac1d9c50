/* import_architectures: each architecture is a row of a table: its nets, what their parameters are called in
 * config.json, which keys must have which values for a net to be that model; and a function for what no table
 * says. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/ctlc/import_methods.h"
#include "tools/ctlc/import_reader.h"

static bool is_for(const config_reader *r, const char *task) {
    return strstr(r->m->net, task) != NULL;
}

/* ---- classes ---- */
/* As many as the file names; two where it names none. */
static void read_classes(config_reader *r) {
    static const config_demand one_class = {
        "problem_type",
        {"single_label_classification"},
        "the nets choose one of several classes; numbers, and several classes at once, are not in them"};
    const json_t *labels = json_object_get(r->root, "id2label");
    double classes = 0;
    if (!is_for(r, "classifier")) return;
    if (!json_is_null(json_object_get(r->root, one_class.key))) config_check_demand(r, &one_class);
    if (json_is_object(labels))
        classes = (double)json_object_size(labels);
    else if (!config_read_whole(r, "num_labels", 1, 2, &classes))
        return;
    if (classes < 2)
        config_complain(r, "choose a checkpoint of two classes or more",
                        "'%s': with %.0f classes the model gives a number, which the nets do not have",
                        r->path, classes);
    else
        config_add(r, "classes", "%.0f", classes);
}

/* ---- angles ---- */
static void read_rope(config_reader *r) {
    const json_t *rope = json_object_get(r->root, "rope_parameters"),
                 *scaling = json_object_get(r->root, "rope_scaling");
    const json_t *theta = json_object_get(r->root, "rope_theta"),
                 *partial = json_object_get(r->root, "partial_rotary_factor");
    char text[64];
    if (json_is_object(rope)) {
        scaling = rope;
        if (json_object_get(rope, "rope_theta")) theta = json_object_get(rope, "rope_theta");
        if (json_object_get(rope, "partial_rotary_factor"))
            partial = json_object_get(rope, "partial_rotary_factor");
    }
    double base = theta ? json_number_value(theta) : 10000;
    if (!(base > 0))
        config_complain(r, NULL, "'%s': `rope_theta` is %s, and must be a number above 0", r->path,
                        config_shown(theta, text));
    else
        config_add_real(r, "theta", base);
    if (partial && json_number_value(partial) != 1)
        config_complain(
            r, NULL, "'%s': `partial_rotary_factor` is %s: heads that are turned in part are not in the nets",
            r->path, config_shown(partial, text));
    if (!json_is_object(scaling)) return;
    const char *type = json_string_value(json_object_get(scaling, "rope_type"));
    if (!type) type = json_string_value(json_object_get(scaling, "type"));
    if (!type || strcmp(type, "default") == 0) return;
    if (strcmp(type, "llama3") == 0) {
        static const struct {
            const char *param, *key;
        } parts[] = {
            {"rope_factor", "factor"}, {"rope_low", "low_freq_factor"}, {"rope_high", "high_freq_factor"}};
        const json_t *context = json_object_get(scaling, "original_max_position_embeddings");
        bool good = json_is_integer(context) && json_integer_value(context) > 0;
        for (size_t i = 0; i < CTL_COUNT(parts); i++) {
            double x = json_number_value(json_object_get(scaling, parts[i].key));
            if (x > 0)
                config_add_real(r, parts[i].param, x);
            else
                good = false;
        }
        if (good)
            config_add(r, "rope_context", "%lld", (long long)json_integer_value(context));
        else
            config_complain(r, NULL,
                            "'%s': rope_type 'llama3' needs factor, low_freq_factor, high_freq_factor and "
                            "original_max_position_embeddings",
                            r->path);
        return;
    }
    config_complain(r, "short texts need no scaling: without the key the model is that of its pretraining",
                    "'%s': `%s` has rope_type '%.40s', which the nets do not have", r->path,
                    scaling == rope ? "rope_parameters" : "rope_scaling", type);
}

static void read_llama(config_reader *r) {
    static const config_field tied = {"tied", "tie_word_embeddings", FLAG, 0, 0};
    import_model *m = r->m;
    double heads = 0, kv, head, dim = 0;
    if (is_for(r, "causal_lm")) config_read_field(r, &tied);
    read_classes(r);
    for (size_t i = 0; i < m->nparams; i++) {
        if (strcmp(m->params[i].name, "heads") == 0) heads = strtod(m->params[i].text, NULL);
        if (strcmp(m->params[i].name, "dim") == 0) dim = strtod(m->params[i].text, NULL);
    }
    if (heads == 0 || dim == 0) return; /* said before */
    if (config_read_whole(r, "num_key_value_heads", 1, heads, &kv)) config_add(r, "kv_heads", "%.0f", kv);
    double usual = strcmp(r->a->type, "qwen3") == 0 ? 128 : dim / heads;
    if (config_read_whole(r, "head_dim", 1, usual, &head) && head != dim / heads)
        config_add(r, "head", "%.0f", head);
    if (strcmp(r->a->type, "qwen2") == 0) config_add(r, "biased", "true");
    if (strcmp(r->a->type, "qwen3") == 0) config_add(r, "normed", "true");
    read_rope(r);
    const json_t *layers = json_object_get(r->root, "layer_types"), *layer;
    size_t i;
    json_array_foreach(layers, i, layer) {
        const char *type = json_string_value(layer);
        if (type && strcmp(type, "full_attention") == 0) continue;
        char text[64];
        config_complain(r, NULL, "'%s': `layer_types` has %s, which the nets do not have", r->path,
                        config_shown(layer, text));
        break;
    }
}

/* ---- encoders, images, GPT-2 ---- */
static void read_encoder(config_reader *r) {
    read_classes(r);
    r->m->sequences = 16, r->m->length = 128;
    if (strcmp(r->a->type, "roberta") == 0 && r->m->positions > 2)
        r->m->positions -= 2; /* places begin at 2 */
}

/* A side, or a list of height and width. */
static bool read_sides(config_reader *r, const char *key, double otherwise, double sides[2]) {
    const json_t *value = json_object_get(r->root, key);
    char text[64];
    if (!json_is_array(value)) {
        bool good = config_read_whole(r, key, 1, otherwise, &sides[0]);
        sides[1] = sides[0];
        return good;
    }
    for (size_t i = 0; i < 2; i++) {
        const json_t *side = json_array_get(value, i);
        sides[i] = json_is_integer(side) ? (double)json_integer_value(side) : 0;
    }
    if (json_array_size(value) == 2 && sides[0] >= 1 && sides[1] >= 1) return true;
    config_complain(r, NULL, "'%s': `%s` is %s, and must be a whole number from 1, or two", r->path, key,
                    config_shown(value, text));
    return false;
}

static void read_vit(config_reader *r) {
    double size[2], patch[2], channels;
    read_classes(r);
    if (!read_sides(r, "image_size", 224, size) || !read_sides(r, "patch_size", 16, patch) ||
        !config_read_whole(r, "num_channels", 1, 3, &channels))
        return;
    if (patch[0] != patch[1]) {
        config_complain(r, NULL, "'%s': patches of %.0f x %.0f are no squares, which the nets want", r->path,
                        patch[0], patch[1]);
        return;
    }
    double rows = floor(size[0] / *patch), columns = floor(size[1] / *patch);
    if (rows * *patch != size[0] || columns * *patch != size[1]) {
        config_complain(r, NULL, "'%s': patches of %.0f do not fill an image of %.0f x %.0f", r->path, *patch,
                        size[0], size[1]);
        return;
    }
    if (rows * columns > 1 << 24 || *patch * *patch * channels > 1 << 24) {
        config_complain(r, NULL, "'%s': an image has %.0f patches of %.0f numbers: too many", r->path,
                        rows * columns, *patch * *patch * channels);
        return;
    }
    config_add(r, "patch", "%.0f", *patch * *patch * channels);
    config_add(r, "positions", "%.0f", rows * columns + 1);
    r->m->sequences = 16, r->m->length = (int64_t)(rows * columns), r->m->fixed = true;
}

static void read_gpt2(config_reader *r) {
    static const config_demand tied = {"tie_word_embeddings", {"true"}, "gpt2's head is its embedding"};
    double positions = 0;
    if (is_for(r, "causal_lm")) config_check_demand(r, &tied);
    read_classes(r);
    if (config_read_whole(r, "n_positions", 1, 1024, &positions)) r->m->positions = (int64_t)positions;
}

#define NEEDED NAN
#define NEVER  NAN
#define LLAMA_FIELDS                                                                                         \
    {"vocab", "vocab_size", WHOLE, NEEDED, NEVER}, {"dim", "hidden_size", WHOLE, NEEDED, NEVER},             \
        {"depth", "num_hidden_layers", WHOLE, NEEDED, NEVER},                                                \
        {"heads", "num_attention_heads", WHOLE, NEEDED, NEVER},                                              \
        {"ffn", "intermediate_size", WHOLE, NEEDED, NEVER}, {                                                \
        "eps", "rms_norm_eps", REAL, 1e-6, NEVER                                                             \
    }
#define ENCODER_FIELDS                                                                                       \
    {"dim", "hidden_size", WHOLE, NEEDED, NEVER}, {"depth", "num_hidden_layers", WHOLE, NEEDED, NEVER},      \
        {"heads", "num_attention_heads", WHOLE, NEEDED, NEVER},                                              \
        {"ffn", "intermediate_size", WHOLE, NEEDED, NEVER}, {                                                \
        "eps", "layer_norm_eps", REAL, 1e-12, NEVER                                                          \
    }
#define TEXT_FIELDS                                                                                          \
    {"vocab", "vocab_size", WHOLE, NEEDED, NEVER},                                                           \
        {"positions", "max_position_embeddings", WHOLE, 512, NEVER}, {                                       \
        "kinds", "type_vocab_size", WHOLE, 2, NEVER                                                          \
    }
#define SILU                                                                                                 \
    { "hidden_act", {"silu", "swish"}, "llama's nets have SiLU" }
#define GELU                                                                                                 \
    { "hidden_act", {"gelu"}, "the nets of encoders have GELU by erf" }
#define LLAMA_TASKS                                                                                          \
    {                                                                                                        \
        {"causal_lm", "ForCausalLM", "llama.causal_lm", import_methods_llama}, {                             \
            "classifier", "ForSequenceClassification", "llama.classifier", import_methods_llama_classifier   \
        }                                                                                                    \
    }

static const config_architecture architectures[] = {
    {"llama",
     "llama, tuning",
     LLAMA_TASKS,
     {LLAMA_FIELDS,
      {"biased", "attention_bias", FLAG, 0, 0},
      {"o_biased", "attention_bias", FLAG, 0, 0},
      {"mlp_biased", "mlp_bias", FLAG, 0, 0}},
     {SILU},
     read_llama},
    {"mistral",
     "llama, tuning",
     LLAMA_TASKS,
     {LLAMA_FIELDS, {"window", "sliding_window", WHOLE, 0, 0}},
     {SILU},
     read_llama},
    {"qwen2",
     "llama, tuning",
     LLAMA_TASKS,
     {LLAMA_FIELDS},
     {SILU, {"use_sliding_window", {NULL}, "a window in some of the blocks alone is not in llama's nets"}},
     read_llama},
    {"qwen3",
     "llama, tuning",
     LLAMA_TASKS,
     {LLAMA_FIELDS, {"biased", "attention_bias", FLAG, 0, 0}, {"o_biased", "attention_bias", FLAG, 0, 0}},
     {SILU, {"use_sliding_window", {NULL}, "a window in some of the blocks alone is not in llama's nets"}},
     read_llama},
    {"roberta",
     "roberta, bert_tuning",
     {{"classifier", "ForSequenceClassification", "roberta.classifier", import_methods_roberta},
      {"masked_lm", "ForMaskedLM", "roberta.masked_lm", import_methods_masked}},
     {TEXT_FIELDS, ENCODER_FIELDS},
     {GELU},
     read_encoder},
    {"bert",
     "bert, bert_tuning",
     {{"classifier", "ForSequenceClassification", "bert.classifier", import_methods_bert},
      {"masked_lm", "ForMaskedLM", "bert.masked_lm", import_methods_masked}},
     {TEXT_FIELDS, ENCODER_FIELDS},
     {GELU},
     read_encoder},
    {"vit",
     "vit, vit_tuning",
     {{"classifier", "ForImageClassification", "vit.classifier", import_methods_vit}},
     {ENCODER_FIELDS},
     {GELU, {"qkv_bias", {"true"}, "the nets have biases of q, k and v"}},
     read_vit},
    {"gpt2",
     "gpt2, gpt2_tuning",
     {{"causal_lm", "LMHeadModel", "gpt2.causal_lm", import_methods_gpt2},
      {"classifier", "ForSequenceClassification", "gpt2.classifier", import_methods_gpt2_classifier}},
     {{"vocab", "vocab_size", WHOLE, NEEDED, NEVER},
      {"dim", "n_embd", WHOLE, NEEDED, NEVER},
      {"depth", "n_layer", WHOLE, NEEDED, NEVER},
      {"heads", "n_head", WHOLE, NEEDED, NEVER},
      {"ffn", "n_inner", WHOLE, 0, 0},
      {"positions", "n_positions", WHOLE, 1024, NEVER},
      {"eps", "layer_norm_epsilon", REAL, 1e-5, NEVER}},
     {{"activation_function", {"gelu_new", "gelu_pytorch_tanh"}, "gpt2's nets have GELU by tanh"},
      {"scale_attn_weights", {"true"}, "attention without its scale is not in the nets"},
      {"scale_attn_by_inverse_layer_idx", {NULL}, "attention scaled by its layer is not in the nets"}},
     read_gpt2},
};

const config_architecture *config_architectures(size_t *n) {
    *n = CTL_COUNT(architectures);
    return architectures;
}
