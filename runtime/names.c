/* names: see names.h. */
#include "runtime/names.h"

#include <stdio.h>

enum { MOST_NAME = 1024 };

/* What a head's code calls the model below it. */
static const char *const prefixes[] = {"model.", "transformer.", "roberta.", "bert.",
                                       "vit.",   "distilbert.",  "electra."};

/* Last parts of a name, today's and those of files that were converted from TensorFlow. */
static const char *const endings[][2] = {{".weight", ".gamma"}, {".bias", ".beta"}};

/* A whole last part of a name, or several. `attn.bias` is GPT-2's mask, which its code stored for a while. */
static const char *const ignored[] = {
    "rotary_emb.inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached",
    "position_ids",        "token_type_ids",        "masked_bias",
    "attn.bias",           "attention.bias",
};

static bool ends_with(const char *name, const char *tail) {
    size_t n = strlen(name), m = strlen(tail);
    return n >= m && strcmp(name + n - m, tail) == 0;
}

/* PEFT's files that hold biases hold those of its saved modules three times; and where a head or an embedding is changed, the
 * frozen weight below it too. */
static const char *const doubled[] = {".original_module.", ".modules_to_save.", ".base_layer.weight"};

/* The optimizer's, in checkpoints of ctlc. */
static const char *const moments[] = {"moment1/", "moment2/"};

bool ctl_names_ignored(const char *tensor) {
    for (size_t i = 0; i < CTL_COUNT(doubled); i++)
        if (strstr(tensor, doubled[i])) return true;
    for (size_t i = 0; i < CTL_COUNT(moments); i++)
        if (strncmp(tensor, moments[i], strlen(moments[i])) == 0) return true;
    for (size_t i = 0; i < CTL_COUNT(ignored); i++) {
        if (!ends_with(tensor, ignored[i])) continue;
        size_t before = strlen(tensor) - strlen(ignored[i]);
        if (before == 0 || tensor[before - 1] == '.') return true;
    }
    return false;
}

/* The name, or the same with an older ending. */
static const ctl_tensor *of_any_age(const ctl_tensors *set, const char *name) {
    const ctl_tensor *found = ctl_tensors_find(set, name);
    char older[MOST_NAME + 16];
    for (size_t i = 0; !found && i < CTL_COUNT(endings); i++) {
        if (!ends_with(name, endings[i][0])) continue;
        snprintf(older, sizeof older, "%.*s%s", (int)(strlen(name) - strlen(endings[i][0])), name,
                 endings[i][1]);
        found = ctl_tensors_find(set, older);
    }
    return found;
}

const ctl_tensor *ctl_names_find(const ctl_tensors *set, const char *parameter) {
    if (strlen(parameter) >= MOST_NAME - 16) return ctl_tensors_find(set, parameter);
    const ctl_tensor *found = of_any_age(set, parameter);
    for (size_t i = 0; !found && i < CTL_COUNT(prefixes); i++) {
        size_t n = strlen(prefixes[i]);
        if (strncmp(parameter, prefixes[i], n) == 0) found = of_any_age(set, parameter + n);
    }
    for (size_t i = 0; !found && i < CTL_COUNT(prefixes); i++) {
        char longer[MOST_NAME];
        snprintf(longer, sizeof longer, "%s%s", prefixes[i], parameter);
        found = of_any_age(set, longer);
    }
    return found;
}

/* Of a vision transformer's layers. */
static const char *const layer_parts[][2] = {
    {"attention.attention.query.", "attention.q_proj."},
    {"attention.attention.key.", "attention.k_proj."},
    {"attention.attention.value.", "attention.v_proj."},
    {"attention.output.dense.", "attention.o_proj."},
    {"intermediate.dense.", "mlp.fc1."},
    {"output.dense.", "mlp.fc2."},
};

bool ctl_names_in_code(const char *weight, char *out, size_t size) {
    static const char layers[] = "vit.encoder.layer.";
    size_t n = sizeof layers - 1;
    if (strncmp(weight, layers, n) != 0) return false;
    const char *number = weight + n, *part = strchr(number, '.');
    if (!part) return false;
    part++;
    for (size_t i = 0; i < CTL_COUNT(layer_parts); i++) {
        size_t m = strlen(layer_parts[i][0]);
        if (strncmp(part, layer_parts[i][0], m) == 0)
            return (size_t)snprintf(out, size, "vit.layers.%.*s%s%s", (int)(part - number), number,
                                    layer_parts[i][1], part + m) < size;
    }
    return (size_t)snprintf(out, size, "vit.layers.%s", number) < size;
}
