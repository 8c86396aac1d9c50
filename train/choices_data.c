/* choices_data: items of multiple choice out of JSON entries. See choices.h. */
#include "train/json_entry.h"

static const char *const FORM = "an item has \"choices\": [\"..\", \"..\"] and an \"answer\"; or an \"output\" with the "
                                "\"answer\" in it, and a line `Answer format: A/B/C` in its instruction";

/* ---- choices that are listed ---- */
static ctl_status find_answer(const ctl_entry *e, const json_t *choices, const json_t *answer, size_t *right) {
    const size_t n = json_array_size(choices);
    if (json_is_integer(answer)) {
        if (json_integer_value(answer) < 0 || (uint64_t)json_integer_value(answer) >= n)
            return ctl_entry_wrong(e, "choices are counted from 0", "\"answer\" is not the number of a choice");
        *right = (size_t)json_integer_value(answer);
        return CTL_OK;
    }
    for (*right = 0; *right < n; ++*right)
        if (json_equal(json_array_get(choices, *right), answer)) return CTL_OK;
    return ctl_entry_wrong(e, FORM, "\"answer\" is not one of the choices");
}

static ctl_status add_listed(ctl_corpus *c, const ctl_entry *e, const json_t *object, const ctl_prompt *prompt,
                             size_t *right) {
    const json_t *choices = json_object_get(object, "choices");
    if (json_array_size(choices) < 2) return ctl_entry_wrong(e, FORM, "\"choices\" is not a list of two or more");
    for (size_t i = 0; i < json_array_size(choices); i++) {
        const json_t *choice = json_array_get(choices, i);
        if (json_string_length(choice) == 0) return ctl_entry_wrong(e, FORM, "a choice is not a string, or empty");
        ctl_status status = ctl_prompt_add(c, prompt, json_string_value(choice), json_string_length(choice));
        if (status != CTL_OK) return status;
    }
    return find_answer(e, choices, json_object_get(object, "answer"), right);
}

/* ---- choices that stand in the instruction ---- */
typedef struct span {
    const char *at;
    size_t n;
} span;

/* The last place of `what` in the text; n 0: none. */
static span last_of(span text, span what) {
    for (size_t i = text.n; what.n && i >= what.n; i--)
        if (memcmp(text.at + i - what.n, what.at, what.n) == 0) return (span){text.at + i - what.n, what.n};
    return (span){0};
}

/* What stands behind "Answer format:" in its line. */
static span answer_format(const ctl_prompt *p) {
    const span key = {"Answer format:", 14}, text = {p->instruction, p->ninstruction};
    const span found = last_of(text, key);
    if (!found.n) return found;
    span format = {found.at + found.n, (size_t)(text.at + text.n - found.at) - found.n};
    const char *end = memchr(format.at, '\n', format.n);
    if (end) format.n = (size_t)(end - format.at);
    return format;
}

static span trimmed(span s) {
    while (s.n && strchr(" \t\r", s.at[0])) s.at++, s.n--;
    while (s.n && strchr(" \t\r", s.at[s.n - 1])) s.n--;
    return s;
}

static ctl_status add_replaced(ctl_corpus *c, const ctl_prompt *prompt, span output, span gone, span instead) {
    size_t size = output.n - gone.n, before = (size_t)(gone.at - output.at);
    if (!ctl_add_size(size, instead.n, &size)) return CTL_ERR_MEMORY;
    char *text = ctl_alloc(c->allocator, size);
    if (!text) return CTL_ERR_MEMORY;
    memcpy(text, output.at, before);
    memcpy(text + before, instead.at, instead.n);
    memcpy(text + before + instead.n, gone.at + gone.n, output.n - before - gone.n);
    ctl_status status = ctl_prompt_add(c, prompt, text, size);
    ctl_free(c->allocator, text, size);
    return status;
}

static ctl_status add_named(ctl_corpus *c, const ctl_entry *e, const json_t *object, const ctl_prompt *prompt,
                            size_t *right) {
    span output, answer, format = answer_format(prompt);
    ctl_status status = ctl_entry_text(e, object, "output", true, &output.at, &output.n);
    if (status == CTL_OK) status = ctl_entry_text(e, object, "answer", true, &answer.at, &answer.n);
    if (status != CTL_OK) return status;
    if (!format.n) return ctl_entry_wrong(e, FORM, "its instruction has no line `Answer format: A/B/C`");
    const span gone = last_of(output, answer);
    if (!gone.n) return ctl_entry_wrong(e, FORM, "the answer does not stand in the output");
    size_t n = 0;
    bool found = false;
    for (const char *at = format.at, *end = at + format.n; at <= end; n++) {
        const char *slash = memchr(at, '/', (size_t)(end - at));
        const span option = trimmed((span){at, (size_t)((slash ? slash : end) - at)});
        if (!option.n) return ctl_entry_wrong(e, FORM, "an answer of its `Answer format` is empty");
        if (option.n == answer.n && memcmp(option.at, answer.at, answer.n) == 0) found = true, *right = n;
        status = add_replaced(c, prompt, output, gone, option);
        if (status != CTL_OK) return status;
        at = slash ? slash + 1 : end + 1;
    }
    if (!found) return ctl_entry_wrong(e, FORM, "the answer is not one of its `Answer format`");
    return n < 2 ? ctl_entry_wrong(e, FORM, "its `Answer format` has one answer alone") : CTL_OK;
}

ctl_status ctl_choices_add(ctl_corpus *c, const ctl_entry *e, const json_t *object) {
    const size_t first = c->ndocs;
    ctl_prompt prompt;
    size_t right = 0;
    ctl_status status = ctl_entry_prompt(e, object, &prompt);
    if (status == CTL_OK)
        status = json_object_get(object, "choices") ? add_listed(c, e, object, &prompt, &right)
                                                    : add_named(c, e, object, &prompt, &right);
    return status == CTL_OK ? ctl_corpus_add_item(c, first, right) : status;
}
