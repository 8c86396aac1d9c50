/* import_config: see import_config.h. An architecture is a row of a table: its net, what each of the net's
 * parameters is called in config.json, and which keys must have which values for the net to be that model. */
#include "tools/ctlc/import_config.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/ctlc/import_methods.h"

enum { MOST_CONFIG = 1 << 24 };

typedef enum kind { WHOLE, REAL, FLAG } kind;

/* A parameter of the net. Without the key it is `otherwise`, or with NAN an error; not written where it is
 * `silent`. */
typedef struct field {
    const char *param, *key;
    kind kind;
    double otherwise, silent;
} field;

/* What a key must be, where it is there: one of the words ("true" is true), or with NULL words false, null or
 * 0. */
typedef struct demand {
    const char *key, *words[4], *why;
} demand;

typedef struct reader reader;

/* What a model of this architecture is for: chosen by --task, else by the class that the file names, else the
 * first. */
typedef struct task {
    const char *name, *class_end, *net;
    const import_method *methods;
} task;

typedef struct architecture {
    const char *type, *imports;
    task tasks[3];
    field fields[12];
    demand demands[8];
    void (*rest)(reader *r); /* what no table says */
} architecture;

#define NEEDED NAN
#define NEVER  NAN
#define LLAMA_FIELDS                                                                                         \
    {"vocab", "vocab_size", WHOLE, NEEDED, NEVER}, {"dim", "hidden_size", WHOLE, NEEDED, NEVER},             \
        {"depth", "num_hidden_layers", WHOLE, NEEDED, NEVER},                                                \
        {"heads", "num_attention_heads", WHOLE, NEEDED, NEVER},                                              \
        {"ffn", "intermediate_size", WHOLE, NEEDED, NEVER}, {"eps", "rms_norm_eps", REAL, 1e-6, NEVER}, {    \
        "tied", "tie_word_embeddings", FLAG, 0, 0                                                            \
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
#define CAUSAL                                                                                               \
    {                                                                                                        \
        { "causal_lm", "ForCausalLM", "llama.causal_lm", import_methods_llama }                              \
    }

static void read_llama(reader *r);
static void read_encoder(reader *r);
static void read_vit(reader *r);
static void read_gpt2(reader *r);

static const architecture architectures[] = {
    {"llama",
     "llama, tuning",
     CAUSAL,
     {LLAMA_FIELDS,
      {"biased", "attention_bias", FLAG, 0, 0},
      {"o_biased", "attention_bias", FLAG, 0, 0},
      {"mlp_biased", "mlp_bias", FLAG, 0, 0}},
     {SILU},
     read_llama},
    {"mistral",
     "llama, tuning",
     CAUSAL,
     {LLAMA_FIELDS, {"window", "sliding_window", WHOLE, 0, 0}},
     {SILU},
     read_llama},
    {"qwen2",
     "llama, tuning",
     CAUSAL,
     {LLAMA_FIELDS},
     {SILU, {"use_sliding_window", {NULL}, "a window in some of the blocks alone is not in llama's nets"}},
     read_llama},
    {"qwen3",
     "llama, tuning",
     CAUSAL,
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
     {{"causal_lm", "LMHeadModel", "gpt2.causal_lm", import_methods_gpt2}},
     {{"vocab", "vocab_size", WHOLE, NEEDED, NEVER},
      {"dim", "n_embd", WHOLE, NEEDED, NEVER},
      {"depth", "n_layer", WHOLE, NEEDED, NEVER},
      {"heads", "n_head", WHOLE, NEEDED, NEVER},
      {"ffn", "n_inner", WHOLE, 0, 0},
      {"positions", "n_positions", WHOLE, 1024, NEVER},
      {"eps", "layer_norm_epsilon", REAL, 1e-5, NEVER}},
     {{"activation_function", {"gelu_new", "gelu_pytorch_tanh"}, "gpt2's nets have GELU by tanh"},
      {"scale_attn_weights", {"true"}, "attention without its scale is not in the nets"},
      {"scale_attn_by_inverse_layer_idx", {NULL}, "attention scaled by its layer is not in the nets"},
      {"tie_word_embeddings", {"true"}, "gpt2's head is its embedding"}},
     read_gpt2},
};

/* ---- reading keys ---- */
struct reader {
    const char *path;
    ctl_place place;
    const json_t *root;
    const architecture *a;
    import_model *m;
    const char *task; /* asked for, or NULL */
    int errors;
};

static void complain(reader *r, const char *hint, const char *fmt, ...) CTL_PRINTF(3, 4);
static void complain(reader *r, const char *hint, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    ctl_vsay(r->place.voice, CTL_ERROR, "E0710", hint, fmt, args);
    va_end(args);
    r->errors++;
}

/* A value as config.json has it, for messages. */
static const char *shown(const json_t *value, char buf[64]) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    snprintf(buf, 64, "%.60s", text ? text : "?");
    free(text);
    return buf;
}

static bool is_nothing(const json_t *value) {
    return !value || json_is_null(value) || json_is_false(value) ||
           (json_is_number(value) && json_number_value(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

static void add(reader *r, const char *name, const char *fmt, ...) CTL_PRINTF(3, 4);
static void add(reader *r, const char *name, const char *fmt, ...) {
    import_model *m = r->m;
    if (m->nparams == IMPORT_MOST_PARAMS) return;
    snprintf(m->params[m->nparams].name, sizeof m->params[0].name, "%s", name);
    va_list args;
    va_start(args, fmt);
    vsnprintf(m->params[m->nparams++].text, sizeof m->params[0].text, fmt, args);
    va_end(args);
}

/* The shortest digits that are read back as the same number; a digit stands on both sides of a point. */
static void add_real(reader *r, const char *name, double x) {
    char text[32];
    if (x == floor(x) && x < 1e15) {
        add(r, name, "%.1f", x);
        return;
    }
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    add(r, name, "%s", text);
}

static bool read_whole(reader *r, const char *key, double least, double otherwise, double *out) {
    const json_t *value = json_object_get(r->root, key);
    char text[64];
    *out = otherwise;
    if (!value || json_is_null(value)) {
        if (!isnan(otherwise)) return true;
        complain(r, "the nets need it", "'%s' has no `%s`", r->path, key);
        return false;
    }
    if (!json_is_integer(value) || (double)json_integer_value(value) < least ||
        json_integer_value(value) > 1 << 30) {
        complain(r, NULL, "'%s': `%s` is %s, and must be a whole number from %g", r->path, key,
                 shown(value, text), least);
        return false;
    }
    *out = (double)json_integer_value(value);
    return true;
}

static void read_field(reader *r, const field *f) {
    const json_t *value = json_object_get(r->root, f->key);
    double x = f->otherwise;
    char text[64];
    if (f->kind == WHOLE) {
        if (!read_whole(r, f->key, 1, f->otherwise, &x)) return;
    } else if (f->kind == REAL && value) {
        x = json_number_value(value);
        if (!json_is_number(value) || !(x > 0)) {
            complain(r, NULL, "'%s': `%s` is %s, and must be a number above 0", r->path, f->key,
                     shown(value, text));
            return;
        }
    } else if (f->kind == FLAG && value && !json_is_null(value)) {
        if (!json_is_boolean(value)) {
            complain(r, NULL, "'%s': `%s` is %s, and must be true or false", r->path, f->key,
                     shown(value, text));
            return;
        }
        x = json_is_true(value);
    }
    if (x == f->silent) return;
    if (f->kind == REAL)
        add_real(r, f->param, x);
    else if (f->kind == FLAG)
        add(r, f->param, "%s", x != 0 ? "true" : "false");
    else
        add(r, f->param, "%.0f", x);
}

static void check_demand(reader *r, const demand *d) {
    const json_t *value = json_object_get(r->root, d->key);
    char text[64];
    if (!value) return;
    bool good = d->words[0] ? false : is_nothing(value);
    for (size_t i = 0; i < CTL_COUNT(d->words) && d->words[i]; i++)
        good |= (json_is_string(value) && strcmp(json_string_value(value), d->words[i]) == 0) ||
                (json_is_true(value) && strcmp(d->words[i], "true") == 0);
    if (!good)
        complain(r, "write a net of your own from stdlib's, or choose another checkpoint",
                 "'%s': `%s` is %s: %s", r->path, d->key, shown(value, text), d->why);
}

/* What no net has, whatever the architecture. */
static const demand everywhere[] = {
    {"quantization_config",
     {NULL},
     "quantised weights are not read; the checkpoint that was quantised has them whole"},
    {"num_experts", {NULL}, "mixtures of experts are not in the nets"},
    {"num_local_experts", {NULL}, "mixtures of experts are not in the nets"},
    {"is_decoder", {NULL}, "an encoder that attends to the past alone is not in the nets"},
    {"add_cross_attention", {NULL}, "attention to another network is not in the nets"},
    {"attention_sink", {NULL}, "attention sinks are not in the nets"},
    {"position_embedding_type", {"absolute"}, "other positions than absolute ones are not in the nets"},
};

/* ---- angles ---- */
static void read_rope(reader *r) {
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
        complain(r, NULL, "'%s': `rope_theta` is %s, and must be a number above 0", r->path,
                 shown(theta, text));
    else
        add_real(r, "theta", base);
    if (partial && json_number_value(partial) != 1)
        complain(r, NULL,
                 "'%s': `partial_rotary_factor` is %s: heads that are turned in part are not in the nets",
                 r->path, shown(partial, text));
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
                add_real(r, parts[i].param, x);
            else
                good = false;
        }
        if (good)
            add(r, "rope_context", "%lld", (long long)json_integer_value(context));
        else
            complain(r, NULL,
                     "'%s': rope_type 'llama3' needs factor, low_freq_factor, high_freq_factor and "
                     "original_max_position_embeddings",
                     r->path);
        return;
    }
    complain(r, "short texts need no scaling: without the key the model is that of its pretraining",
             "'%s': `%s` has rope_type '%.40s', which the nets do not have", r->path,
             scaling == rope ? "rope_parameters" : "rope_scaling", type);
}

static void read_llama(reader *r) {
    import_model *m = r->m;
    double heads = 0, kv, head, dim = 0;
    for (size_t i = 0; i < m->nparams; i++) {
        if (strcmp(m->params[i].name, "heads") == 0) heads = strtod(m->params[i].text, NULL);
        if (strcmp(m->params[i].name, "dim") == 0) dim = strtod(m->params[i].text, NULL);
    }
    if (heads == 0 || dim == 0) return; /* said before */
    if (read_whole(r, "num_key_value_heads", 1, heads, &kv)) add(r, "kv_heads", "%.0f", kv);
    double usual = strcmp(r->a->type, "qwen3") == 0 ? 128 : dim / heads;
    if (read_whole(r, "head_dim", 1, usual, &head) && head != dim / heads) add(r, "head", "%.0f", head);
    if (strcmp(r->a->type, "qwen2") == 0) add(r, "biased", "true");
    if (strcmp(r->a->type, "qwen3") == 0) add(r, "normed", "true");
    read_rope(r);
    const json_t *layers = json_object_get(r->root, "layer_types"), *layer;
    size_t i;
    json_array_foreach(layers, i, layer) {
        const char *type = json_string_value(layer);
        if (type && strcmp(type, "full_attention") == 0) continue;
        char text[64];
        complain(r, NULL, "'%s': `layer_types` has %s, which the nets do not have", r->path,
                 shown(layer, text));
        break;
    }
}

/* ---- encoders, images, GPT-2 ---- */
/* As many as the file names; two where it names none. */
static void read_classes(reader *r) {
    const json_t *labels = json_object_get(r->root, "id2label");
    double classes;
    if (!strstr(r->m->net, "classifier")) return;
    if (json_is_object(labels))
        add(r, "classes", "%zu", json_object_size(labels));
    else if (read_whole(r, "num_labels", 1, 2, &classes))
        add(r, "classes", "%.0f", classes);
}

static void read_encoder(reader *r) {
    read_classes(r);
    r->m->sequences = 16, r->m->length = 128;
    if (strcmp(r->a->type, "roberta") == 0 && r->m->positions > 2)
        r->m->positions -= 2; /* places begin at 2 */
}

static void read_vit(reader *r) {
    double size, patch, channels;
    read_classes(r);
    if (!read_whole(r, "image_size", 1, 224, &size) || !read_whole(r, "patch_size", 1, 16, &patch) ||
        !read_whole(r, "num_channels", 1, 3, &channels))
        return;
    int64_t side = (int64_t)(size / patch);
    if ((double)side * patch != size || side > 4096 || patch * patch * channels > 1 << 24) {
        complain(r, NULL, "'%s': patches of %.0f do not fill an image of %.0f", r->path, patch, size);
        return;
    }
    add(r, "patch", "%.0f", patch * patch * channels);
    add(r, "positions", "%lld", (long long)(side * side + 1));
    r->m->sequences = 16, r->m->length = side * side, r->m->fixed = true;
}

static void read_gpt2(reader *r) {
    double positions = 0;
    if (read_whole(r, "n_positions", 1, 1024, &positions)) r->m->positions = (int64_t)positions;
}

/* ---- the whole file ---- */
static void read_marks(reader *r) {
    static const char *const keys[][2] = {
        {"bos", "bos_token_id"}, {"eos", "eos_token_id"}, {"pad", "pad_token_id"}};
    char *at = r->m->marks;
    size_t n = 0, size = sizeof r->m->marks;
    for (size_t i = 0; i < CTL_COUNT(keys); i++) {
        const json_t *value = json_object_get(r->root, keys[i][1]);
        char text[64];
        if (!json_is_integer(value) && !json_is_array(value)) continue;
        n += (size_t)snprintf(at + n, size - n, "%s%s %.30s", n ? ", " : "", keys[i][0], shown(value, text));
        if (n >= size) n = size - 1;
    }
}

static const architecture *find_architecture(reader *r) {
    const char *type = json_string_value(json_object_get(r->root, "model_type"));
    char known[300] = "";
    for (size_t i = 0; i < CTL_COUNT(architectures); i++) {
        if (type && strcmp(type, architectures[i].type) == 0) return &architectures[i];
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "there are: ", architectures[i].type);
    }
    if (type)
        complain(r, known, "'%s': no net is known for the model_type '%.60s'", r->path, type);
    else
        complain(r, known, "'%s' has no `model_type`", r->path);
    return NULL;
}

static const task *find_task(reader *r, const architecture *a, const char *class_name) {
    char known[200] = "";
    const char *wanted = r->task ? r->task : class_name;
    for (size_t i = 0; i < CTL_COUNT(a->tasks) && a->tasks[i].name; i++) {
        const task *t = &a->tasks[i];
        if (r->task ? strcmp(r->task, t->name) == 0 : strstr(class_name, t->class_end) != NULL) return t;
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "--task gives another: ", t->name);
    }
    if (!r->task && !strstr(class_name, "For")) return &a->tasks[0]; /* a base model */
    complain(r, known, "'%s': the nets of %s have nothing for '%.60s'", r->path, a->type, wanted);
    return NULL;
}

static ctl_status read_model(reader *r) {
    const architecture *a = r->a = find_architecture(r);
    import_model *m = r->m;
    if (!a) return CTL_ERR_INPUT;
    const char *name = json_string_value(json_array_get(json_object_get(r->root, "architectures"), 0));
    snprintf(m->type, sizeof m->type, "%s", a->type);
    snprintf(m->architecture, sizeof m->architecture, "%.79s", name ? name : "");
    const task *t = find_task(r, a, name ? name : "");
    if (!t) return CTL_ERR_INPUT;
    m->imports = a->imports, m->net = t->net, m->methods = t->methods;
    m->sequences = 4, m->length = 512;
    double positions = 0;
    if (read_whole(r, "max_position_embeddings", 1, 0, &positions)) m->positions = (int64_t)positions;
    for (size_t i = 0; i < CTL_COUNT(a->fields) && a->fields[i].param; i++) read_field(r, &a->fields[i]);
    for (size_t i = 0; i < CTL_COUNT(a->demands) && a->demands[i].key; i++) check_demand(r, &a->demands[i]);
    for (size_t i = 0; i < CTL_COUNT(everywhere); i++) check_demand(r, &everywhere[i]);
    a->rest(r);
    read_marks(r);
    return r->errors ? CTL_ERR_INPUT : CTL_OK;
}

ctl_status import_config_parse(const char *path, const char *text, size_t n, const char *task_name,
                               ctl_place place, import_model *out) {
    json_error_t error;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    *out = (import_model){0};
    reader r = {.path = path, .place = place, .root = root, .m = out, .task = task_name};
    ctl_status status = CTL_ERR_INPUT;
    if (!root && json_error_code(&error) == json_error_out_of_memory) return CTL_ERR_MEMORY;
    if (!root)
        complain(&r, "fetch it again", "'%s' is not JSON: %s (line %d)", path, error.text, error.line);
    else if (!json_is_object(root))
        complain(&r, "fetch it again", "'%s' is not a JSON object", path);
    else
        status = read_model(&r);
    json_decref(root);
    return status;
}

ctl_status import_config_read(const char *directory, const char *task_name, ctl_place place,
                              import_model *out) {
    char *path = ctl_string_format(place.allocator, "%s/config.json", directory), *text = NULL;
    size_t n;
    ctl_status status = path ? ctl_file_read(path, MOST_CONFIG, &text, &n, place) : CTL_ERR_MEMORY;
    if (status == CTL_OK) {
        status = import_config_parse(path, text, n, task_name, place, out);
        ctl_free(place.allocator, text, n + 1);
    }
    ctl_string_free(place.allocator, path);
    return status;
}
