/* parse: the text of rules, a line at a time. */
#include <stdlib.h>

#include "compiler/account/rule_set.h"

typedef struct parser {
    ctl_arena *arena;
    const char *at, *end; /* of what is left of the line */
    ctl_rule_set *set;
    ctl_rule *rule; /* that keep and where belong to */
    const char *what;
    int depth;
} parser;

static bool fail(parser *p, const char *what) {
    if (!p->what) p->what = what;
    return false;
}

static void skip(parser *p) {
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\r')) p->at++;
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

/* The next word, empty at anything else. */
static const char *word(parser *p) {
    skip(p);
    const char *from = p->at;
    while (p->at < p->end && is_word(*p->at)) p->at++;
    return ctl_strndup(p->arena, from, (size_t)(p->at - from));
}

static bool takes(parser *p, const char *text) {
    const char *before = p->at;
    skip(p);
    size_t n = strlen(text);
    if ((size_t)(p->end - p->at) >= n && memcmp(p->at, text, n) == 0 &&
        (!is_word(text[n - 1]) || p->at + n == p->end || !is_word(p->at[n]))) {
        p->at += n;
        return true;
    }
    p->at = before;
    return false;
}

static bool number(const char *text, double *out) {
    char *end;
    if (!(*text >= '0' && *text <= '9')) return false;
    *out = strtod(text, &end);
    return *end == 0;
}

static bool is_op(const char *text, ctl_op *op) {
    for (int k = 0; k < OP_COUNT; k++)
        if (strcmp(ctl_op_name((ctl_op)k), text) == 0) return *op = (ctl_op)k, true;
    return false;
}

static bool name_of(parser *p, const char *text, bool may_be_new, int *out) {
    ctl_rule *r = p->rule;
    for (int k = 0; k < r->nnames; k++)
        if (strcmp(r->names[k], text) == 0) return *out = k, true;
    if (!*text) return fail(p, "a name is missing here");
    if (!may_be_new) return fail(p, ctl_format(p->arena, "the pattern has no value \"%s\"", text));
    if (r->nnames == CTL_RULE_NAMES) return fail(p, "a pattern has at most 15 names");
    r->names[ *out = r->nnames++] = text;
    return true;
}

static ctl_pattern *pattern(parser *p) {
    ctl_pattern *at = CTL_NEW(p->arena, ctl_pattern);
    const char *text = word(p);
    if (++p->depth > CTL_RULE_DEPTH) return fail(p, "the pattern is too deep"), NULL;
    if (!*text) return fail(p, "a pattern is missing here"), NULL;
    if (takes(p, "(")) {
        at->kind = PATTERN_OP;
        if (!is_op(text, &at->op))
            return fail(p, ctl_format(p->arena, "there is no operation \"%s\"", text)), NULL;
        do {
            if (at->nin == CTL_COUNT(at->in))
                return fail(p, "an operation of a pattern has at most three operands"), NULL;
            if (!(at->in[at->nin++] = pattern(p))) return NULL;
        } while (takes(p, ","));
        if (!takes(p, ")")) return fail(p, "a \")\" is missing"), NULL;
    } else if (number(text, &at->number)) {
        at->kind = PATTERN_NUMBER;
    } else if (strcmp(text, "_") != 0) {
        at->kind = PATTERN_NAME;
        if (!name_of(p, text, true, &at->name)) return NULL;
    }
    p->depth--;
    return at;
}

static bool dtype(parser *p, ctl_dtype *out) {
    static const ctl_dtype known[] = {CTL_F64, CTL_F32, CTL_BF16, CTL_F16, CTL_I32, CTL_U8};
    const char *text = word(p);
    if (strcmp(text, "compute") == 0) return *out = CTL_REAL, true;
    for (size_t k = 0; k < CTL_COUNT(known); k++)
        if (strcmp(text, ctl_dtype_name(known[k])) == 0) return *out = known[k], true;
    return fail(p, ctl_format(p->arena, "\"%s\" is no type: compute, f64, f32, bf16, f16, i32 or u8", text));
}

static bool keep(parser *p) {
    ctl_rule *r = p->rule;
    if (r->nkeeps == CTL_RULE_KEEPS) return fail(p, "a rule keeps at most 8 things");
    ctl_keep *k = &r->keeps[r->nkeeps++];
    double bytes;
    const char *text = word(p);
    if (number(text, &bytes)) {
        if (bytes < 1 || bytes > 1e6 || bytes != (double)(int64_t)bytes)
            return fail(p, "bytes are a whole number up to 1000000");
        k->bytes = (int64_t)bytes;
        if (!takes(p, "per")) return fail(p, "\"per row of X\" or \"per head of X\" is missing");
        k->kind = takes(p, "head") ? KEEP_PER_HEAD : KEEP_PER_ROW;
        if (k->kind == KEEP_PER_ROW && !takes(p, "row")) return fail(p, "\"row\" or \"head\" is missing");
        if (!takes(p, "of")) return fail(p, "\"of X\" is missing");
        if (!name_of(p, word(p), false, &k->of)) return false;
        if (k->kind == KEEP_PER_ROW && takes(p, "and")) {
            k->kind = KEEP_PER_ROWS;
            if (!takes(p, "row") || !takes(p, "of")) return fail(p, "\"row of X\" is missing");
            if (!name_of(p, word(p), false, &k->and_of)) return false;
        }
    } else {
        if (!name_of(p, text, false, &k->of)) return false;
        if (takes(p, "as") && !dtype(p, &k->dtype)) return false;
    }
    if (!takes(p, "when")) return true;
    do {
        int name;
        if (!name_of(p, word(p), false, &name)) return false;
        k->when |= 1u << name;
    } while (takes(p, "and"));
    return true;
}

static bool line(parser *p) {
    int name;
    if (takes(p, "frozen")) return dtype(p, &p->set->frozen);
    if (takes(p, "trained")) return dtype(p, &p->set->trained);
    if (takes(p, "gradient")) return dtype(p, &p->set->gradient);
    if (takes(p, "moments")) {
        for (p->set->nmoments = 0; skip(p), p->at < p->end;) {
            if (p->set->nmoments == CTL_COUNT(p->set->moments))
                return fail(p, "there are at most two moments");
            if (!dtype(p, &p->set->moments[p->set->nmoments++])) return false;
        }
        return true;
    }
    if (takes(p, "rule")) {
        CTL_PUSH(p->arena, &p->set->rules, (ctl_rule){.nnames = 1, .names = {"out"}});
        p->rule = &p->set->rules.at[p->set->rules.n - 1];
        p->rule->name = word(p);
        p->depth = 0;
        if (!*p->rule->name) return fail(p, "the rule's name is missing");
        p->rule->pattern = pattern(p);
        if (!p->rule->pattern) return false;
        return p->rule->pattern->kind == PATTERN_OP || fail(p, "a rule's pattern begins with an operation");
    }
    if (!p->rule) return fail(p, "a rule is to come first: rule NAME PATTERN");
    if (takes(p, "keep")) return keep(p);
    if (!takes(p, "where"))
        return fail(p, "a line begins with rule, where, keep, frozen, trained, gradient or moments");
    if (!name_of(p, word(p), false, &name)) return false;
    p->rule->weights |= 1u << name;
    return (takes(p, "is") && takes(p, "weight")) || fail(p, "\"is weight\" is missing");
}

const ctl_rule_set *ctl_rules_parse(ctl_arena *arena, const char *text, size_t size, ctl_rules_error *error) {
    parser p = {.arena = arena, .set = CTL_NEW(arena, ctl_rule_set)};
    *p.set =
        (ctl_rule_set){.trained = CTL_F32, .gradient = CTL_F32, .moments = {CTL_F32, CTL_F32}, .nmoments = 2};
    *error = (ctl_rules_error){0};
    for (const char *at = text, *end = text + size; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at)), *comment;
        if (!stop) stop = end;
        comment = memchr(at, '#', (size_t)(stop - at));
        p.at = at, p.end = comment ? comment : stop;
        error->line++;
        at = stop < end ? stop + 1 : end;
        skip(&p);
        if (p.at == p.end) continue;
        bool done = line(&p);
        skip(&p);
        if (done && p.at != p.end) done = fail(&p, "this is more than belongs on the line");
        if (!done) return error->what = p.what, NULL;
    }
    return p.set;
}
