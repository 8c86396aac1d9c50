/* peft_config: see peft_config.h. */
#include "runtime/peft_config.h"

#include <regex.h>
#include <stdio.h>
#include <string.h>

enum { MOST_TOLD = 8 }; /* all layers say the same */

void ctl_peft_config_complain(ctl_peft_config *c, const char *hint, const char *fmt, ...) {
    va_list args;
    if (c->errors++ >= MOST_TOLD) return;
    va_start(args, fmt);
    ctl_vsay(c->voice, CTL_ERROR, c->code, hint, fmt, args);
    va_end(args);
}

bool ctl_peft_config_is_nothing(const json_t *v) {
    return !v || json_is_null(v) || json_is_false(v) || (json_is_object(v) && json_object_size(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0);
}

static const char merge_in_peft[] =
    "let PEFT put it into the weights: merge_and_unload(), save_pretrained(..), and import that checkpoint";

void ctl_peft_config_check(ctl_peft_config *c) {
    static const struct {
        const char *key, *hint;
    } other_methods[] = {
        {"lora_bias", "without it (`lora_bias=False`) B has no bias; or merge_and_unload() in PEFT, and "
                      "import that checkpoint"},
        {"layer_replication", "save the model with its layers repeated, and train an adapter of that"},
        {"alora_invocation_tokens",
         "an adapter that is on from some tokens on is not in ctlc: train it without the key"},
        {"arrow_config",
         "a routed adapter is not in ctlc: import the adapters that it chooses from one by one"},
        {"target_parameters",
         "parameters that belong to no linear layer have no LoRA in ctlc: choose target_modules"},
        {"use_qalora", "train it without the key: the scales of quantised groups are not in ctlc"},
        {"use_bdlora", "train it without the key, or merge_and_unload() in PEFT, and import that checkpoint"},
        {"trainable_token_indices",
         "rows of an embedding are not trained alone: train the whole by modules_to_save, or add no tokens"},
        {"kasa_config", merge_in_peft},
        {"velora_config", merge_in_peft},
        {"monteclora_config", merge_in_peft},
    };
    static const char *const other_bases[] = {"pissa", "olora", "corda", "loftq", "lora_ga"};
    for (size_t i = 0; i < CTL_COUNT(other_methods); i++)
        if (!ctl_peft_config_is_nothing(json_object_get(c->json, other_methods[i].key)))
            ctl_peft_config_complain(c, other_methods[i].hint,
                                     "'%s': `%s` is set: that is another method than LoRA and DoRA", c->path,
                                     other_methods[i].key);
    const char *init = json_string_value(json_object_get(c->json, "init_lora_weights"));
    for (size_t i = 0; init && i < CTL_COUNT(other_bases); i++)
        if (strncmp(init, other_bases[i], strlen(other_bases[i])) == 0)
            ctl_peft_config_complain(
                c, "let PEFT convert it: save_pretrained(.., path_initial_model_for_weight_conversion=..)",
                "'%s': with init_lora_weights '%s' the adapter belongs to a base that PEFT has changed",
                c->path, init);
}

/* ---- Python's expressions ---- */
/* A class of characters as both sides have it; NULL: the escaped character stands for itself, or is none of
 * these. */
static const char *class_of(char letter) {
    return letter == 'd' ? "0-9" : letter == 'w' ? "A-Za-z0-9_" : letter == 's' ? " \t" : NULL;
}

/* The expression in POSIX's extended form; false where it has no such form, or is too long. Laziness does not
 * matter, since a whole name has to fit. */
static bool translate(const char *python, char *out, size_t size) {
    size_t n = 0;
    bool inside = false; /* of brackets */
    for (const char *at = python; *at; at++) {
        char piece[16];
        if (*at == '\\') {
            const char *class = class_of(*++at);
            if (class)
                snprintf(piece, sizeof piece, inside ? "%s" : "[%s]", class);
            else if (*at && strchr(".-[](){}*+?^$|/_ \\", *at) && !(inside && strchr("]\\^-", *at)))
                snprintf(piece, sizeof piece, inside ? "%c" : "[%c]", *at);
            else
                return false;
            if (!inside && (*at == '^' || *at == '\\')) snprintf(piece, sizeof piece, "\\%c", *at);
        } else if (!inside && *at == '(' && at[1] == '?') {
            if (at[2] != ':') return false;
            at += 2;
            snprintf(piece, sizeof piece, "(");
        } else if (!inside && strchr("*+?}", *at) && at[1] == '?') {
            snprintf(piece, sizeof piece, "%c", *at++);
        } else {
            inside = inside ? *at != ']' : *at == '[';
            snprintf(piece, sizeof piece, "%c", *at);
        }
        const size_t k = strlen(piece);
        if (n + k >= size) return false;
        memcpy(out + n, piece, k);
        n += k;
    }
    out[n] = 0;
    return true;
}

/* Is the module's name what the expression says, behind what it may begin with? */
static bool matches(ctl_peft_config *c, const char *where, const char *begin, const char *key,
                    const char *module) {
    char posix[4 * CTL_PEFT_MODULE], expression[sizeof posix + 20];
    regex_t compiled;
    bool good = translate(key, posix, sizeof posix);
    if (good) {
        snprintf(expression, sizeof expression, "^%s(%s)$", begin, posix);
        good = regcomp(&compiled, expression, REG_EXTENDED | REG_NOSUB) == 0;
    }
    if (!good) {
        ctl_peft_config_complain(c, "write the modules' names there, one by one",
                                 "'%s': the key '%.80s' of `%s` cannot be read", c->path, key, where);
        return false;
    }
    const bool fits = regexec(&compiled, module, 0, NULL, 0) == 0;
    regfree(&compiled);
    return fits;
}

double ctl_peft_config_pattern(ctl_peft_config *c, const char *patterns, const char *module,
                               double otherwise) {
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(c->json, patterns), key, value) {
        const int before = c->errors;
        if (matches(c, patterns, "(.*\\.)?", key, module)) return json_number_value(value);
        if (c->errors > before) break;
    }
    return otherwise;
}

bool ctl_peft_config_feedforward(ctl_peft_config *c, const char *module) {
    const json_t *value = json_object_get(c->json, "feedforward_modules"), *one;
    const size_t n = strlen(module);
    size_t i;
    if (json_is_string(value)) return matches(c, "feedforward_modules", "", json_string_value(value), module);
    json_array_foreach(value, i, one) {
        const char *end = json_string_value(one);
        if (end && strlen(end) <= n && strcmp(module + n - strlen(end), end) == 0) return true;
    }
    return false;
}

bool ctl_peft_config_names(const char *entry, const char *module) {
    const size_t n = strlen(entry), m = strlen(module);
    return n <= m && strcmp(module + m - n, entry) == 0 && (n == m || module[m - n - 1] == '.');
}
