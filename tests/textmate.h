/* textmate: a small reader of TextMate grammars, enough to run tools/editors/ctl.tmLanguage.json as an editor would: rules
 * of `match` with captures, of `begin` and `end` with rules inside, and `include` of the repository. At each place the rule
 * whose match begins first wins, of several the first in order, the end of the open rule before all. */
#ifndef CTL_TESTS_TEXTMATE_H
#define CTL_TESTS_TEXTMATE_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <jansson.h>
#include <pcre2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { TEXTMATE_RULES = 400, TEXTMATE_DEPTH = 100, TEXTMATE_GROUPS = 40 };

typedef struct textmate {
    json_t *grammar;
    struct {
        const char *pattern;
        pcre2_code *code;
    } compiled[TEXTMATE_RULES];
    size_t ncompiled;
    json_t *open[TEXTMATE_DEPTH]; /* rules with a begin whose end is to come */
    size_t depth;
    char fault[400];
} textmate;

static bool textmate_open(textmate *t, const char *path) {
    json_error_t error;
    memset(t, 0, sizeof *t);
    t->grammar = json_load_file(path, 0, &error);
    if (!t->grammar) snprintf(t->fault, sizeof t->fault, "%s", error.text);
    return t->grammar != NULL;
}

static void textmate_close(textmate *t) {
    for (size_t i = 0; i < t->ncompiled; i++) pcre2_code_free(t->compiled[i].code);
    json_decref(t->grammar);
}

static pcre2_code *textmate_compiled(textmate *t, const char *pattern) {
    for (size_t i = 0; i < t->ncompiled; i++)
        if (t->compiled[i].pattern == pattern) return t->compiled[i].code;
    int error;
    PCRE2_SIZE at;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &error, &at, NULL);
    if (!code || t->ncompiled == TEXTMATE_RULES) {
        snprintf(t->fault, sizeof t->fault, "error %d at %zu of %s", error, (size_t)at, pattern);
        return NULL;
    }
    t->compiled[t->ncompiled].pattern = pattern;
    t->compiled[t->ncompiled++].code = code;
    return code;
}

typedef struct textmate_found {
    json_t *rule;
    bool end; /* of the open rule */
    size_t at[TEXTMATE_GROUPS][2];
    size_t groups;
} textmate_found;

static void textmate_try(textmate *t, json_t *rule, const char *pattern, bool end, const char *line, size_t n, size_t from,
                         textmate_found *best) {
    pcre2_code *code = textmate_compiled(t, pattern);
    if (!code) return;
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
    int groups = pcre2_match(code, (PCRE2_SPTR)line, n, from, 0, data, NULL);
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(data);
    if (groups > 0 && (!best->rule || at[0] < best->at[0][0])) {
        best->rule = rule, best->end = end, best->groups = (size_t)groups;
        for (size_t g = 0; g < best->groups && g < TEXTMATE_GROUPS; g++)
            best->at[g][0] = at[2 * g], best->at[g][1] = at[2 * g + 1];
    }
    pcre2_match_data_free(data);
}

static void textmate_find(textmate *t, json_t *patterns, const char *line, size_t n, size_t from, textmate_found *best) {
    for (size_t i = 0; i < json_array_size(patterns); i++) {
        json_t *rule = json_array_get(patterns, i);
        const char *include = json_string_value(json_object_get(rule, "include"));
        if (include) rule = json_object_get(json_object_get(t->grammar, "repository"), include + 1);
        if (!rule) {
            snprintf(t->fault, sizeof t->fault, "there is no %s", include);
            continue;
        }
        const char *match = json_string_value(json_object_get(rule, "match")),
                   *begin = json_string_value(json_object_get(rule, "begin"));
        if (match || begin) textmate_try(t, rule, match ? match : begin, false, line, n, from, best);
        else textmate_find(t, json_object_get(rule, "patterns"), line, n, from, best);
    }
}

static void textmate_mark(const char **scopes, size_t begin, size_t end, const char *name) {
    for (size_t i = begin; name && i < end; i++) scopes[i] = name;
}

static void textmate_captures(const textmate_found *found, json_t *captures, const char **scopes) {
    for (size_t g = 0; g < found->groups; g++) {
        char key[12];
        snprintf(key, sizeof key, "%zu", g);
        if (found->at[g][0] == PCRE2_UNSET) continue;
        textmate_mark(scopes, found->at[g][0], found->at[g][1],
                      json_string_value(json_object_get(json_object_get(captures, key), "name")));
    }
}

/* The innermost scope of each byte of a line, its newline included; lines come in order. */
static void textmate_line(textmate *t, const char *line, size_t n, const char **scopes) {
    size_t at = 0;
    for (size_t steps = 0; at < n && steps < 10 * n + 100; steps++) {
        json_t *open = t->depth ? t->open[t->depth - 1] : NULL;
        textmate_found found = {0};
        if (open) textmate_try(t, open, json_string_value(json_object_get(open, "end")), true, line, n, at, &found);
        textmate_find(t, json_object_get(open ? open : t->grammar, "patterns"), line, n, at, &found);
        size_t until = found.rule ? found.at[0][0] : n;
        textmate_mark(scopes, at, until, open ? json_string_value(json_object_get(open, "name")) : NULL);
        if (!found.rule) return;
        textmate_mark(scopes, found.at[0][0], found.at[0][1], json_string_value(json_object_get(found.rule, "name")));
        bool begins = !found.end && json_object_get(found.rule, "begin");
        const char *captures = found.end ? "endCaptures" : begins ? "beginCaptures" : "captures";
        textmate_captures(&found, json_object_get(found.rule, captures), scopes);
        if (found.end) t->depth--;
        if (begins && t->depth < TEXTMATE_DEPTH) t->open[t->depth++] = found.rule;
        if (found.at[0][1] == at && !found.end && !begins) { /* an empty match leads nowhere */
            snprintf(t->fault, sizeof t->fault, "a rule matches nothing at %zu of %s", at, line);
            return;
        }
        at = found.at[0][1];
    }
}

#endif
