/* import_control: an adapter's changes as lines of a control on the whole model. Changes that are alike are
 * one line: over all layers by a star, over some by a loop, and the modules of one parent in braces. */
#include <stdio.h>
#include <string.h>

#include "tools/ctlc/import_adapter.h"

/* `model.layers.3.self_attn.q_proj`: of the family `model.layers` number 3, in `self_attn` the `q_proj`.
 * Without a number the family is empty. */
typedef struct place_in {
    char family[CTL_PEFT_MODULE], parent[CTL_PEFT_MODULE], last[CTL_PEFT_MODULE];
    int64_t number; /* -1: none */
} place_in;

static bool is_number(const char *part, size_t n) {
    return n > 0 && n < 9 && strspn(part, "0123456789") >= n;
}

static void take_apart(const char *module, place_in *out) {
    const char *rest = module;
    *out = (place_in){.number = -1};
    for (const char *at = module; *at && out->number < 0;) {
        const size_t n = strcspn(at, ".");
        if (is_number(at, n) && at > module) {
            snprintf(out->family, sizeof out->family, "%.*s", (int)(at - module - 1), module);
            out->number = strtol(at, NULL, 10);
            rest = at[n] ? at + n + 1 : at + n;
        }
        at += n + (at[n] == '.');
    }
    const char *dot = strrchr(rest, '.');
    snprintf(out->parent, sizeof out->parent, "%.*s", dot ? (int)(dot - rest) : 0, rest);
    snprintf(out->last, sizeof out->last, "%s", dot ? dot + 1 : rest);
}

typedef struct lines {
    ctl_string *out;
    const import_adapter *a;
    place_in *places;
    bool *done;
    bool *some, *others; /* by number of the family */
    size_t most;         /* of them */
} lines;

static bool alike(const lines *l, size_t i, size_t k) {
    const import_change *a = &l->a->changes[i], *b = &l->a->changes[k];
    return a->kind == b->kind && a->rank == b->rank && a->alpha == b->alpha &&
           (l->places[i].number < 0) == (l->places[k].number < 0) &&
           strcmp(l->places[i].family, l->places[k].family) == 0 &&
           strcmp(l->places[i].parent, l->places[k].parent) == 0;
}

/* Which layers have the change of number i. */
static void numbers_of(const lines *l, size_t i, bool *set) {
    memset(set, 0, l->most);
    for (size_t k = 0; k < l->a->nchanges; k++)
        if (l->places[k].number >= 0 && alike(l, i, k) && strcmp(l->places[i].last, l->places[k].last) == 0)
            set[l->places[k].number] = true;
}

/* How many layers the model has of the family. */
static size_t size_of(const char *family, const ctl_program *program) {
    const size_t n = strlen(family);
    size_t size = 0;
    for (size_t k = 0; k < program->nparams; k++) {
        const char *name = program->params[k].name;
        if (program->params[k].made_by_control || strncmp(name, family, n) != 0 || name[n] != '.') continue;
        const size_t number = (size_t)strtol(name + n + 1, NULL, 10);
        if (is_number(name + n + 1, strcspn(name + n + 1, ".")) && number >= size) size = number + 1;
    }
    return size;
}

/* A path of checkpoints as the language has it: numbers in brackets. */
static void put_path(ctl_string *out, const char *path) {
    for (bool first = true; *path; first = false) {
        const size_t n = strcspn(path, ".");
        const bool number = is_number(path, n);
        if (!first && !number) ctl_string_put(out, ".", 1);
        if (number) ctl_string_put(out, "[", 1);
        ctl_string_put(out, path, n);
        if (number) ctl_string_put(out, "]", 1);
        path += n + (path[n] == '.');
    }
}

static void put_number(ctl_string *out, double x) {
    char text[32];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    if (x == (double)(int64_t)x)
        ctl_string_add(out, "%lld", (long long)x);
    else
        ctl_string_add(out, "%s", text);
}

static void put_call(ctl_string *out, const import_adapter *a, const import_change *c) {
    if (c->kind != IMPORT_PRODUCT) {
        ctl_string_add(out, " => control.ia3()");
        return;
    }
    ctl_string_add(out, " ~ control.%s(; rank", a->dora ? "dora" : "lora");
    if (c->rank != a->rank) ctl_string_add(out, " = "), put_number(out, c->rank);
    ctl_string_add(out, ", alpha");
    if (c->alpha != a->alpha) ctl_string_add(out, " = "), put_number(out, c->alpha);
    if (a->dropout > 0) ctl_string_add(out, ", p");
    if (a->stabilised) {
        ctl_string_add(out, ", scale = ");
        c->alpha != a->alpha ? put_number(out, c->alpha) : ctl_string_add(out, "alpha");
        ctl_string_add(out, " / sqrt(");
        c->rank != a->rank ? put_number(out, c->rank) : ctl_string_add(out, "rank");
        ctl_string_add(out, ")");
    }
    ctl_string_add(out, ")");
}

/* One line, for the modules `names` of one parent. index: `*`, `i`, a number, or NULL. */
static void put_line(lines *l, size_t i, const char *index, const char *names, bool several) {
    static const char *const ends[] = {[IMPORT_PRODUCT] = ".weight",
                                       [IMPORT_RESULT] = ".y",
                                       [IMPORT_INPUT] = ".x",
                                       [IMPORT_BIAS] = ".bias",
                                       [IMPORT_MODULE] = ".**"};
    const import_change *c = &l->a->changes[i];
    const place_in *p = &l->places[i];
    const bool trains = c->kind == IMPORT_BIAS || c->kind == IMPORT_MODULE;
    if (trains) ctl_string_add(l->out, "train ");
    if (index) {
        put_path(l->out, p->family);
        ctl_string_add(l->out, "[%s]", index);
        if (p->parent[0] || p->last[0]) ctl_string_add(l->out, ".");
    }
    if (p->parent[0]) {
        put_path(l->out, p->parent);
        if (!is_number(names, strlen(names))) ctl_string_add(l->out, ".");
    }
    if (several)
        ctl_string_add(l->out, "{"), ctl_string_put(l->out, names, strlen(names)),
            ctl_string_add(l->out, "}");
    else
        put_path(l->out, names);
    ctl_string_add(l->out, "%s", ends[c->kind]);
    if (!trains) put_call(l->out, l->a, c);
    ctl_string_add(l->out, "\n");
}

/* The line for all layers, or one for each stretch of layers. */
static void put_stretches(lines *l, size_t i, const char *names, bool several, const ctl_program *program) {
    char index[24];
    if (l->places[i].number < 0) {
        put_line(l, i, NULL, names, several);
        return;
    }
    const size_t size = size_of(l->places[i].family, program);
    for (size_t first = 0, end; first < l->most; first = end + 1) {
        for (end = first; end < l->most && l->some[end]; end++) {
        }
        if (end == first) continue;
        if (first == 0 && end >= size) {
            put_line(l, i, "*", names, several);
        } else if (end - first == 1) {
            snprintf(index, sizeof index, "%zu", first);
            put_line(l, i, index, names, several);
        } else {
            ctl_string_add(l->out, "for i in %zu..%zu {\n", first, end);
            put_line(l, i, "i", names, several);
            ctl_string_add(l->out, "}\n");
        }
    }
}

/* Change number i with all that share its line. */
static void put_change(lines *l, size_t i, const ctl_program *program) {
    char names[2000];
    size_t n = (size_t)snprintf(names, sizeof names, "%s", l->places[i].last);
    bool several = false;
    numbers_of(l, i, l->some);
    for (size_t k = i; k < l->a->nchanges; k++) {
        const char *last = l->places[k].last;
        if (l->done[k] || !alike(l, i, k)) continue;
        if (strcmp(last, l->places[i].last) == 0) {
            l->done[k] = true;
            continue;
        }
        if (!last[0] || is_number(last, strlen(last)) || !l->places[i].last[0] ||
            is_number(l->places[i].last, strlen(l->places[i].last)) || n + strlen(last) + 3 > sizeof names)
            continue;
        numbers_of(l, k, l->others);
        if (memcmp(l->some, l->others, l->most) != 0) continue;
        n += (size_t)snprintf(names + n, sizeof names - n, ", %s", last);
        several = true;
        for (size_t m = k; m < l->a->nchanges; m++)
            l->done[m] |= alike(l, k, m) && strcmp(last, l->places[m].last) == 0;
    }
    put_stretches(l, i, names, several, program);
}

/* Is every bias that the model has trained? Then one word says it. */
static bool all_biases(const import_adapter *a, const ctl_program *program) {
    size_t found = 0;
    for (size_t k = 0; k < program->nparams; k++) {
        const char *name = program->params[k].name, *tail = strrchr(name, '.');
        bool trained = false;
        if (program->params[k].made_by_control || !tail || strcmp(tail, ".bias") != 0) continue;
        for (size_t i = 0; i < a->nchanges && !trained; i++) {
            const import_change *c = &a->changes[i];
            const size_t n = strlen(c->module);
            if (c->kind != IMPORT_BIAS && c->kind != IMPORT_MODULE) continue;
            trained = strncmp(c->module, name, n) == 0 && name[n] == '.' &&
                      (c->kind == IMPORT_MODULE || strcmp(name + n, ".bias") == 0);
            found += trained && c->kind == IMPORT_BIAS;
        }
        if (!trained) return false;
    }
    return found > 0;
}

static void put_head(ctl_string *out, const import_adapter *a, const char *name, const char *net) {
    bool rank = false, alpha = false;
    for (size_t i = 0; i < a->nchanges; i++) {
        if (a->changes[i].kind != IMPORT_PRODUCT) continue;
        rank |= a->changes[i].rank == a->rank, alpha |= a->changes[i].alpha == a->alpha;
    }
    ctl_string_add(out, "control %s(", name);
    if (rank) ctl_string_add(out, "rank = "), put_number(out, a->rank);
    if (alpha) ctl_string_add(out, "%salpha = ", rank ? ", " : ""), put_number(out, a->alpha);
    if (a->dropout > 0) ctl_string_add(out, "%sp = ", rank || alpha ? ", " : ""), put_number(out, a->dropout);
    ctl_string_add(out, ") on %s {\n", net);
}

void import_adapter_write(ctl_string *out, const import_adapter *a, const ctl_program *program,
                          const char *name, const char *net) {
    const ctl_allocator *allocator = a->place.allocator;
    const size_t n = a->nchanges;
    const bool biases = all_biases(a, program);
    lines l = {.out = out, .a = a, .most = 1};
    l.places = ctl_alloc(allocator, (n + 1) * sizeof *l.places);
    l.done = ctl_alloc(allocator, n + 1);
    for (size_t i = 0; l.places && i < n; i++) {
        take_apart(a->changes[i].module, &l.places[i]);
        if (l.places[i].number >= (int64_t)l.most) l.most = (size_t)l.places[i].number + 1;
    }
    l.some = ctl_alloc(allocator, l.most), l.others = ctl_alloc(allocator, l.most);
    if (!l.places || !l.done || !l.some || !l.others) {
        out->failed = true;
    } else {
        put_head(out, a, name, net);
        for (size_t i = 0; i < n; i++) l.done[i] = biases && a->changes[i].kind == IMPORT_BIAS;
        for (size_t i = 0; i < n; i++)
            if (!l.done[i]) put_change(&l, i, program);
        if (biases) ctl_string_add(out, "train **.bias\n");
        ctl_string_add(out, "}\n");
    }
    ctl_free(allocator, l.places, (n + 1) * sizeof *l.places);
    ctl_free(allocator, l.done, n + 1);
    ctl_free(allocator, l.some, l.most);
    ctl_free(allocator, l.others, l.most);
}

void import_adapter_about(char *buf, size_t size, const import_adapter *a) {
    char name[160];
    size_t n = 0;
    for (const char *c = a->directory; *c && n + 1 < sizeof name; c++)
        name[n++] = *c >= ' ' ? *c : '?'; /* one line */
    name[n] = 0;
    if (a->vectors)
        snprintf(buf, size, "(IA)^3, as the adapter in %s has it", name);
    else
        snprintf(buf, size, "%s of rank %g, alpha %g, as the adapter in %s has it",
                 a->dora         ? "DoRA"
                 : a->stabilised ? "rank-stabilised LoRA"
                                 : "LoRA",
                 a->rank, a->alpha, name);
}
