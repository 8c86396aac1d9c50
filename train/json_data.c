/* json_data: instruction data as documents.
 *
 * An entry {instruction, input, output} becomes
 *     ### Instruction:\n<instruction>\n\n[### Input:\n<input>\n\n]### Response:\n<output>
 * (the part in brackets only when there is an input), an entry {prompt, completion} both, one behind the other, and an
 * entry {text} of a .jsonl file its text, with its class where there is a "label". Chats are refused: what stands between
 * their messages is the template's of a tokenizer. The short form of the usual prompt, without its preamble: in a byte-level model the
 * preamble would be a third of every document. Other keys ("answer", "id") are passed over; choices_data.c makes items
 * of multiple choice of them. */
#include "train/json_entry.h"

ctl_status ctl_entry_wrong(const ctl_entry *e, const char *hint, const char *what) {
    ctl_say(e->voice, CTL_ERROR, "E0603", hint, "%s: %s %zu: %s", e->name, e->line ? "line" : "entry",
            e->number, what);
    return CTL_ERR_INPUT;
}

ctl_status ctl_entry_text(const ctl_entry *e, const json_t *object, const char *key, bool required,
                          const char **text, size_t *size) {
    char what[96];
    const json_t *value = json_object_get(object, key);
    *text = "", *size = 0;
    if (!value && !required) return CTL_OK;
    if (!json_is_string(value)) {
        snprintf(what, sizeof what, value ? "\"%s\" is not a string" : "there is no \"%s\"", key);
        return ctl_entry_wrong(
            e,
            e->line && !e->items
                ? "a line is {\"text\": \"..\"} or {\"instruction\": \"..\", \"input\": \"..\", \"output\": \"..\"}, input optional"
                : "an entry is {\"instruction\": \"..\", \"input\": \"..\", \"output\": \"..\"}, input optional",
            what);
    }
    *text = json_string_value(value), *size = json_string_length(value);
    if (required && *size == 0) {
        snprintf(what, sizeof what, "\"%s\" is empty", key);
        return ctl_entry_wrong(e, NULL, what);
    }
    return CTL_OK;
}

ctl_status ctl_entry_prompt(const ctl_entry *e, const json_t *object, ctl_prompt *p) {
    ctl_status status = ctl_entry_text(e, object, "instruction", true, &p->instruction, &p->ninstruction);
    return status == CTL_OK ? ctl_entry_text(e, object, "input", false, &p->input, &p->ninput) : status;
}

ctl_status ctl_prompt_add(ctl_corpus *c, const ctl_prompt *p, const char *output, size_t noutput) {
    const struct {
        const char *text;
        size_t size;
    } parts[] = {
        {"### Instruction:\n", 17},
        {p->instruction, p->ninstruction},
        {"\n\n", 2},
        {"### Input:\n", p->ninput ? 11 : 0},
        {p->input, p->ninput},
        {"\n\n", p->ninput ? 2 : 0},
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
    ctl_status status = ctl_corpus_add(c, text, size, size - noutput);
    ctl_free(c->allocator, text, size);
    return status;
}

static ctl_status add_instruction(ctl_corpus *c, const ctl_entry *e, const json_t *object) {
    ctl_prompt prompt;
    const char *output;
    size_t noutput;
    ctl_status status = ctl_entry_prompt(e, object, &prompt);
    if (status == CTL_OK) status = ctl_entry_text(e, object, "output", true, &output, &noutput);
    return status == CTL_OK ? ctl_prompt_add(c, &prompt, output, noutput) : status;
}

static ctl_status add_completion(ctl_corpus *c, const ctl_entry *e, const json_t *object) {
    const char *prompt, *completion;
    size_t n, m, size;
    ctl_status status = ctl_entry_text(e, object, "prompt", true, &prompt, &n);
    if (status == CTL_OK) status = ctl_entry_text(e, object, "completion", true, &completion, &m);
    if (status != CTL_OK) return status;
    char *text = ctl_add_size(n, m, &size) ? ctl_alloc(c->allocator, size) : NULL;
    if (!text) return CTL_ERR_MEMORY;
    memcpy(text, prompt, n);
    memcpy(text + n, completion, m);
    status = ctl_corpus_add(c, text, size, n);
    ctl_free(c->allocator, text, size);
    return status;
}

/* Messages, or a prompt that is a list of them. */
static bool is_chat(const json_t *object) {
    return json_object_get(object, "messages") || json_object_get(object, "conversations") ||
           json_is_array(json_object_get(object, "prompt"));
}

static ctl_status add_text(ctl_corpus *c, const ctl_entry *e, const json_t *object) {
    const char *text;
    size_t size;
    const json_t *label = json_object_get(object, "label");
    if (label && (!json_is_integer(label) || json_integer_value(label) < 0 || json_integer_value(label) > INT32_MAX))
        return ctl_entry_wrong(e, "number the classes 0, 1, ..", "\"label\" is not the number of a class");
    ctl_status status = ctl_entry_text(e, object, "text", true, &text, &size);
    if (status == CTL_OK) status = ctl_corpus_add(c, text, size, 0);
    if (status == CTL_OK && label) c->docs[c->ndocs - 1].label = (int32_t)json_integer_value(label);
    return status;
}

static ctl_status add_entry(ctl_corpus *c, const ctl_entry *e, const json_t *object) {
    if (!json_is_object(object)) return ctl_entry_wrong(e, NULL, "this is not an object");
    if (e->items) return ctl_choices_add(c, e, object);
    if (is_chat(object))
        return ctl_entry_wrong(e,
                               "tools/tokenize --tokenizer MODEL/tokenizer.json -o NAME.safetensors .. makes tokens of it, by the model's "
                               "own template, and what the assistant says is learnt",
                               "this is a chat, which has no form in bytes");
    if (json_object_get(object, "prompt") && json_object_get(object, "completion")) return add_completion(c, e, object);
    if (json_object_get(object, "text") && !json_object_get(object, "instruction")) return add_text(c, e, object);
    return add_instruction(c, e, object);
}

static ctl_status not_json(const char *name, int line, const json_error_t *error, ctl_voice voice) {
    if (json_error_code(error) == json_error_out_of_memory) return CTL_ERR_MEMORY;
    ctl_say(voice, CTL_ERROR, "E0602", NULL, "%s: line %d: not JSON: %s", name, line, error->text);
    return CTL_ERR_INPUT;
}

static ctl_status add_list(ctl_corpus *c, const char *name, const char *text, size_t size, bool items,
                           ctl_voice voice) {
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
        const ctl_entry e = {name, i + 1, false, items, voice};
        status = add_entry(c, &e, json_array_get(list, i));
    }
    json_decref(list);
    return status;
}

static ctl_status add_line(ctl_corpus *c, const ctl_entry *e, const char *text, size_t size) {
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

ctl_status ctl_json_data_add(ctl_corpus *c, const char *name, const char *text, size_t size, bool lines, bool items,
                             ctl_voice voice) {
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) text += 3, size -= 3; /* a byte-order mark, as some editors leave it */
    if (!lines) return add_list(c, name, text, size, items, voice);
    size_t number = 1;
    for (size_t at = 0; at < size; number++) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t n = end ? (size_t)(end - (text + at)) : size - at;
        const ctl_entry e = {name, number, true, items, voice};
        ctl_status status = add_line(c, &e, text + at, n);
        if (status != CTL_OK) return status;
        at += n + 1;
    }
    return CTL_OK;
}
