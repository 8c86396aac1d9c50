/* json_data: instruction data as documents.
 *
 * An entry {instruction, input, output} becomes
 *     ### Instruction:\n<instruction>\n\n[### Input:\n<input>\n\n]### Response:\n<output>
 * (the part in brackets only when there is an input), and an entry {text} of a .jsonl file its text. The
 * short form of the usual prompt, without its preamble: in a byte-level model the preamble would be a third
 * of every document. Other keys ("answer", "id") are passed over. */
#include <jansson.h>

#include "train/data_internal.h"

typedef struct entry {
    const char *name; /* of the file */
    size_t number;    /* from 1: an entry of the list, or a line */
    bool line;
    ctl_voice voice;
} entry;

static ctl_status wrong(const entry *e, const char *hint, const char *what) {
    ctl_say(e->voice, CTL_ERROR, "E0603", hint, "%s: %s %zu: %s", e->name, e->line ? "line" : "entry",
            e->number, what);
    return CTL_ERR_INPUT;
}

/* The string under key. required: it must be there. */
static ctl_status get(const entry *e, const json_t *object, const char *key, bool required, const char **text,
                      size_t *size) {
    char what[96];
    const json_t *value = json_object_get(object, key);
    *text = "", *size = 0;
    if (!value && !required) return CTL_OK;
    if (!json_is_string(value)) {
        snprintf(what, sizeof what, value ? "\"%s\" is not a string" : "there is no \"%s\"", key);
        return wrong(
            e, "an entry is {\"instruction\": \"..\", \"input\": \"..\", \"output\": \"..\"}, input optional",
            what);
    }
    *text = json_string_value(value), *size = json_string_length(value);
    if (required && *size == 0) {
        snprintf(what, sizeof what, "\"%s\" is empty", key);
        return wrong(e, NULL, what);
    }
    return CTL_OK;
}

static ctl_status add_prompt(ctl_corpus *c, const entry *e, const json_t *object) {
    const char *instruction, *input, *output;
    size_t ninstruction, ninput, noutput;
    ctl_status status = get(e, object, "instruction", true, &instruction, &ninstruction);
    if (status == CTL_OK) status = get(e, object, "input", false, &input, &ninput);
    if (status == CTL_OK) status = get(e, object, "output", true, &output, &noutput);
    if (status != CTL_OK) return status;
    const struct {
        const char *text;
        size_t size;
    } parts[] = {
        {"### Instruction:\n", 17},
        {instruction, ninstruction},
        {"\n\n", 2},
        {"### Input:\n", ninput ? 11 : 0},
        {input, ninput},
        {"\n\n", ninput ? 2 : 0},
        {"### Response:\n", 14},
        {output, noutput},
    };
    size_t size = 0, at = 0;
    for (size_t i = 0; i < CTL_COUNT(parts); i++)
        if (!ctl_add_size(size, parts[i].size, &size)) return CTL_ERR_MEMORY;
    char *text = ctl_alloc(c->allocator, size);
    if (!text) return CTL_ERR_MEMORY;
    for (size_t i = 0; i < CTL_COUNT(parts); i++) {
        memcpy(text + at, parts[i].text, parts[i].size);
        at += parts[i].size;
    }
    status = ctl_corpus_add(c, text, size, size - noutput);
    ctl_free(c->allocator, text, size);
    return status;
}

static ctl_status add_entry(ctl_corpus *c, const entry *e, const json_t *object) {
    if (!json_is_object(object)) return wrong(e, NULL, "this is not an object");
    if (json_object_get(object, "text") && !json_object_get(object, "instruction")) {
        const char *text;
        size_t size;
        ctl_status status = get(e, object, "text", true, &text, &size);
        return status == CTL_OK ? ctl_corpus_add(c, text, size, 0) : status;
    }
    return add_prompt(c, e, object);
}

static ctl_status not_json(const char *name, int line, const json_error_t *error, ctl_voice voice) {
    if (json_error_code(error) == json_error_out_of_memory) return CTL_ERR_MEMORY;
    ctl_say(voice, CTL_ERROR, "E0602", NULL, "%s: line %d: not JSON: %s", name, line, error->text);
    return CTL_ERR_INPUT;
}

static ctl_status add_list(ctl_corpus *c, const char *name, const char *text, size_t size, ctl_voice voice) {
    json_error_t error;
    json_t *list = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!list) return not_json(name, error.line, &error, voice);
    ctl_status status = CTL_OK;
    if (!json_is_array(list)) {
        ctl_say(voice, CTL_ERROR, "E0602", "one object a line is legal too, in a file named .jsonl",
                "%s: not a JSON list of entries", name);
        status = CTL_ERR_INPUT;
    }
    for (size_t i = 0; status == CTL_OK && i < json_array_size(list); i++) {
        const entry e = {name, i + 1, false, voice};
        status = add_entry(c, &e, json_array_get(list, i));
    }
    json_decref(list);
    return status;
}

static ctl_status add_line(ctl_corpus *c, const entry *e, const char *text, size_t size) {
    size_t blank = 0;
    while (blank < size && strchr(" \t\r", text[blank])) blank++;
    if (blank == size) return CTL_OK;
    json_error_t error;
    json_t *object = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!object) return not_json(e->name, (int)e->number, &error, e->voice);
    ctl_status status = add_entry(c, e, object);
    json_decref(object);
    return status;
}

ctl_status ctl_json_data_add(ctl_corpus *c, const char *name, const char *text, size_t size, bool lines,
                             ctl_voice voice) {
    if (!lines) return add_list(c, name, text, size, voice);
    size_t number = 1;
    for (size_t at = 0; at < size; number++) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t n = end ? (size_t)(end - (text + at)) : size - at;
        const entry e = {name, number, true, voice};
        ctl_status status = add_line(c, &e, text + at, n);
        if (status != CTL_OK) return status;
        at += n + 1;
    }
    return CTL_OK;
}
