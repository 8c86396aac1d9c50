/* settings: the lines of a tune block, and what --set says over them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/dtype.h"
#include "compiler/elaborate/internal.h"

typedef struct option {
    const char *name;
    size_t offset;
    enum { KIND_DOUBLE, KIND_BELOW, KIND_INT, KIND_SCHEDULE } kind; /* BELOW: `most` itself is too much */
    double least, most;
    const char *only; /* the optimizer that has it; NULL: both */
} option;
#define FIELD(name) offsetof(ctl_settings, name)
static const option options[] = {
    {"lr", FIELD(lr), KIND_DOUBLE, 0, 1e6, NULL},
    {"beta1", FIELD(beta1), KIND_BELOW, 0, 1, "adamw"},
    {"beta2", FIELD(beta2), KIND_BELOW, 0, 1, "adamw"},
    {"eps", FIELD(eps), KIND_DOUBLE, 0, 1, "adamw"},
    {"weight_decay", FIELD(weight_decay), KIND_DOUBLE, 0, 1e6, NULL},
    {"momentum", FIELD(momentum), KIND_BELOW, 0, 1, "sgd"},
    {"clip", FIELD(clip), KIND_DOUBLE, 0, 1e30, NULL},
    {"warmup", FIELD(warmup), KIND_INT, 0, 1e15, NULL},
    {"steps", FIELD(steps), KIND_INT, 0, 1e15, NULL},
    {"accumulate", FIELD(accumulate), KIND_INT, 1, 1e9, NULL},
    {"seed", FIELD(seed), KIND_INT, 0, 9e15, NULL},
    {"schedule", FIELD(schedule), KIND_SCHEDULE, 0, 0, NULL},
};

static const option *find_option(const char *name) {
    for (size_t i = 0; i < CTL_COUNT(options); i++)
        if (strcmp(options[i].name, name) == 0) return &options[i];
    return NULL;
}

static void set_option(ctl_elab *e, const option *o, ctl_value v, ctl_span span) {
    char *at = (char *)&e->spec->settings + o->offset;
    if (v.kind == VALUE_ERROR) return;
    if (o->kind == KIND_SCHEDULE) {
        if (v.kind == VALUE_WORD && (!strcmp(v.word, "constant") || !strcmp(v.word, "linear") || !strcmp(v.word, "cosine")))
            memcpy(at, v.word, strlen(v.word) + 1);
        else ctl_error(e->sink, CTL_E0503, span, NULL, "`schedule` is constant, linear or cosine");
        return;
    }
    if (v.kind != VALUE_NUMBER || !(v.number >= o->least && v.number <= o->most) ||
        (o->kind == KIND_INT && v.number != floor(v.number)) || (o->kind == KIND_BELOW && v.number == o->most)) {
        ctl_error(e->sink, CTL_E0503, span, NULL, "`%s` is a %snumber from %g to %s%g", o->name,
                  o->kind == KIND_INT ? "whole " : "", o->least, o->kind == KIND_BELOW ? "less than " : "", o->most);
        return;
    }
    if (o->kind == KIND_INT) memcpy(at, &(int64_t){(int64_t)v.number}, sizeof(int64_t));
    else memcpy(at, &v.number, sizeof(double));
}

#define OPTION_NAMES "lr, beta1, beta2, eps, weight_decay, momentum, clip, warmup, steps, accumulate, seed, schedule"
/* `known`: the hint where no name is near. */
static void unknown_option(ctl_elab *e, const char *name, ctl_span span, const char *what, const char *known) {
    const char *best = NULL;
    int least = strlen(name) < 4 ? (int)strlen(name) : 4; /* no name is near when every letter differs */
    for (size_t i = 0; i < CTL_COUNT(options); i++) {
        int d = ctl_edit_distance(name, options[i].name, least - 1);
        if (d < least) least = d, best = options[i].name;
    }
    ctl_error(e->sink, CTL_E0502, span, best ? ctl_format(e->arena, "did you mean `%s`?", best) : known, "%s `%s`", what, name);
}

static bool set_tokens(ctl_elab *e, double a, double b, ctl_span span) { /* a sequences of b tokens; b = 0: a packed */
    double rows = b > 0 ? a * b : a;
    if (!(a >= 1) || !(rows <= CTL_MOST_ROWS) || a != floor(a) || b != floor(b) || b < 0) {
        ctl_error(e->sink, CTL_E0504, span, "tokens 16 x 1024, or tokens 16384 packed",
                  "the tokens of a step are sequences x length, at most 16777216 in all");
        return false;
    }
    ctl_graph *g = e->draft;
    g->rows_of[SPACE_NONE] = 1, g->rows_of[SPACE_TOKENS] = (int64_t)rows;
    g->rows_of[SPACE_SEQUENCES] = b > 0 ? (int64_t)a : 0;
    g->sequence = (int64_t)b;
    return true;
}

static bool set_compute(ctl_elab *e, const char *word, ctl_span span) {
    if (strcmp(word, "f32") == 0) e->spec->compute = CTL_F32;
    else if (strcmp(word, "bf16") == 0) e->spec->compute = CTL_BF16;
    else if (strcmp(word, "f64") == 0) e->spec->compute = CTL_F64;
    else {
        ctl_error(e->sink, CTL_E0505, span, ctl_compute_hint(word), "`compute` is f32, bf16 or (on the reference executor) f64, not `%s`", word);
        return false;
    }
    return true;
}

static void optimizer(ctl_elab *e, const ctl_expr *call) {
    const char *name = ctl_path_text(e->arena, &call->path);
    if (strcmp(name, "adamw") != 0 && strcmp(name, "sgd") != 0) {
        ctl_error(e->sink, CTL_E0502, call->span, "adamw(; lr = 1e-4, warmup = 100, clip = 1.0), or sgd(; lr = 0.1)",
                  "no optimizer is called `%s`", name);
        return;
    }
    memcpy(e->spec->settings.optimizer, name, strlen(name) + 1);
    ctl_scope *scope = ctl_scope_new(e, NULL, ctl_entity_new(e, NULL, NULL, ENTITY_GROUP, call->span));
    if (call->nargs)
        ctl_error(e->sink, CTL_E0207, call->args[0]->span, "name it: `lr = 1e-4`", "an optimizer's parameters are given by name");
    for (size_t k = 0; k < call->nnamed; k++) {
        const ctl_named_arg *a = &call->named[k];
        const option *o = find_option(a->name);
        bool twice = false;
        for (size_t before = 0; before < k; before++) twice |= strcmp(call->named[before].name, a->name) == 0;
        if (!o)
            unknown_option(e, a->name, a->span, ctl_format(e->arena, "`%s` has no parameter", name), OPTION_NAMES);
        else if (o->only && strcmp(o->only, name) != 0)
            ctl_error(e->sink, CTL_E0502, a->span, ctl_format(e->arena, "`%s` is %s's", a->name, o->only),
                      "`%s` has no parameter `%s`", name, a->name);
        else if (twice)
            ctl_error(e->sink, CTL_E0207, a->span, NULL, "`%s` is given twice", a->name);
        else if (a->value) {
            const bool word = o->kind == KIND_SCHEDULE && a->value->kind == EXPR_PATH; /* a wrong one is no unknown name */
            set_option(e, o, word ? (ctl_value){.kind = VALUE_WORD, .word = ctl_path_text(e->arena, &a->value->path)}
                                  : ctl_eval(e, scope, a->value), a->span);
        }
    }
}

/* ---- --set key=value ---- */
static ctl_value parse_value(const char *text) {
    char *end;
    double x = strtod(text, &end);
    if (*text && *end == 0 && isfinite(x)) return ctl_number(x);
    if (strcmp(text, "true") == 0) return ctl_number(1);
    if (strcmp(text, "false") == 0) return ctl_number(0);
    return (ctl_value){.kind = VALUE_WORD, .word = text};
}

/* model.PARAM or CONTROL.PARAM: the call gets the argument, in place of its own of that name. */
static void set_argument(ctl_elab *e, ctl_expr *call, const char *name, ctl_value v) {
    ctl_expr *value = CTL_NEW(e->arena, ctl_expr);
    value->kind = EXPR_NUMBER, value->span = call->span, value->number = v.number;
    for (size_t k = 0; k < call->nnamed; k++)
        if (strcmp(call->named[k].name, name) == 0) {
            call->named[k].value = value;
            return;
        }
    ctl_named_arg *more = CTL_NEW_ARRAY(e->arena, ctl_named_arg, call->nnamed + 1);
    if (call->nnamed) memcpy(more, call->named, call->nnamed * sizeof *more);
    more[call->nnamed++] = (ctl_named_arg){call->span, name, value};
    call->named = more;
}

/* The control, or the model, that has a parameter called `name`; NULL when none has. */
static const char *owner_of_parameter(ctl_elab *e, const ctl_decl *tune, const ctl_expr *model_call, const char *name) {
    for (size_t k = 0; k <= tune->ncontrols; k++) {
        const bool model = k == tune->ncontrols;
        const ctl_path *path = model ? &model_call->path : &tune->controls[k]->path;
        const ctl_loaded *where;
        const ctl_decl *d = ctl_find_decl(e, e->module, path, model ? DECL_NET : DECL_CONTROL, &where);
        for (size_t p = 0; d && p < d->nparams; p++)
            if (strcmp(d->params[p].name, name) == 0) return model ? "model" : path->seg[path->n - 1].name;
    }
    return NULL;
}

static void apply_set(ctl_elab *e, const ctl_decl *tune, ctl_expr *model_call, const char *setting) {
    static const char digits[] = "0123456789";
    const char *eq = strchr(setting, '=');
    if (!eq || eq == setting || !eq[1]) {
        ctl_error(e->sink, CTL_E0506, CTL_NO_SPAN, "--set lr=1e-4", "`--set %s` is not key=value", setting);
        return;
    }
    const char *key = ctl_strndup(e->arena, setting, (size_t)(eq - setting)), *text = eq + 1;
    ctl_value v = parse_value(text);
    const char *dot = strrchr(key, '.');
    if (strcmp(key, "tokens") == 0) {
        size_t n = strspn(text, digits), m = text[n] == 'x' ? strspn(text + n + 1, digits) : 0;
        bool whole = n && !text[n], pair = n && m && !text[n + 1 + m];
        if (whole || pair) set_tokens(e, strtod(ctl_strndup(e->arena, text, n), NULL), pair ? strtod(text + n + 1, NULL) : 0, CTL_NO_SPAN);
        else ctl_error(e->sink, CTL_E0506, CTL_NO_SPAN, "--set tokens=16x1024 are sequences, --set tokens=16384 packed rows", "`--set %s`: tokens are AxB or N", setting);
    } else if (strcmp(key, "compute") == 0) {
        set_compute(e, text, CTL_NO_SPAN);
    } else if (strcmp(key, "memory") == 0) {
        static const struct {
            const char *unit;
            double bytes;
        } units[] = {{"", 1}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}};
        char *end;
        double amount = strtod(text, &end), bytes = 0;
        for (size_t k = 0; k < CTL_COUNT(units); k++)
            if (strcmp(end, units[k].unit) == 0) bytes = amount * units[k].bytes;
        if (strcmp(text, "min") == 0) e->spec->memory = MEMORY_LEAST;
        else if (strcmp(text, "max") == 0) e->spec->memory = MEMORY_MOST;
        else if (end == text || !(bytes >= 1 && bytes < 9e18))
            ctl_error(e->sink, CTL_E0506, CTL_NO_SPAN, "--memory 24GiB, --memory min, --memory max",
                      "`%s` is no amount of memory", setting);
        else e->spec->memory = (int64_t)bytes;
    } else if (strcmp(key, "optimizer") == 0) {
        if (!strcmp(text, "adamw") || !strcmp(text, "sgd")) memcpy(e->spec->settings.optimizer, text, strlen(text) + 1);
        else ctl_error(e->sink, CTL_E0506, CTL_NO_SPAN, NULL, "`--set %s`: optimizers are adamw and sgd", setting);
    } else if (dot) {
        const char *head = ctl_strndup(e->arena, key, (size_t)(dot - key)), *param = dot + 1;
        bool found = false;
        if (v.kind != VALUE_NUMBER) {
            ctl_error(e->sink, CTL_E0506, CTL_NO_SPAN, NULL, "`--set %s`: parameters are numbers", setting);
            return;
        }
        if (strcmp(head, "model") == 0) set_argument(e, model_call, param, v), found = true;
        for (size_t k = 0; k < tune->ncontrols; k++) {
            const ctl_path *path = &tune->controls[k]->path;
            const char *full = ctl_path_text(e->arena, path);
            if (strcmp(full, head) != 0 && strcmp(path->seg[path->n - 1].name, head) != 0) continue;
            set_argument(e, tune->controls[k], param, v), found = true;
        }
        if (!found)
            ctl_error(e->sink, CTL_E0506, CTL_NO_SPAN, "model.depth=2, or CONTROL.rank=8 for a control of the tune block",
                      "`--set %s`: neither the model nor a control is called `%s`", setting, head);
    } else {
        const option *o = find_option(key);
        const char *owner = o ? NULL : owner_of_parameter(e, tune, model_call, key);
        if (o) set_option(e, o, v, CTL_NO_SPAN);
        else if (owner)
            ctl_error(e->sink, CTL_E0502, CTL_NO_SPAN, ctl_format(e->arena, "it is a parameter: --set %s.%s=%s", owner, key, text),
                      "--set knows no setting `%s`", key);
        else
            unknown_option(e, key, CTL_NO_SPAN, "--set knows no setting",
                           "tokens, compute, store, memory, optimizer, " OPTION_NAMES ", model.PARAMETER, CONTROL.PARAMETER");
    }
}

/* A setting of the optimizer that is not used would be taken in silence; --set may choose the optimizer before or behind. */
static void check_owner(ctl_elab *e, const char *setting) {
    const option *o = find_option(ctl_strndup(e->arena, setting, strcspn(setting, "=")));
    if (o && o->only && strcmp(o->only, e->spec->settings.optimizer) != 0)
        ctl_error(e->sink, CTL_E0502, CTL_NO_SPAN, ctl_format(e->arena, "`%s` is %s's: --set optimizer=%s", o->name, o->only, o->only),
                  "`--set %s`: `%s` has no parameter `%s`", setting, e->spec->settings.optimizer, o->name);
}

void ctl_read_settings(ctl_elab *e, const ctl_decl *tune, ctl_expr *model_call) {
    ctl_settings *s = &e->spec->settings;
    *s = (ctl_settings){.optimizer = "adamw", .lr = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .accumulate = 1,
                        .schedule = "constant", .steps = 0, .seed = 0};
    ctl_scope *scope = ctl_scope_new(e, NULL, ctl_entity_new(e, NULL, NULL, ENTITY_GROUP, tune->span));
    for (size_t k = 0; k < tune->nsettings; k++) {
        const ctl_setting *line = &tune->settings[k];
        if (line->call) {
            optimizer(e, line->call);
        } else if (strcmp(line->name, "tokens") == 0) {
            double a = 0, b = 0;
            if (line->nvalues > 0) ctl_eval_number(e, scope, line->values[0], "the number of sequences", &a);
            if (line->nvalues > 1) ctl_eval_number(e, scope, line->values[1], "the length of a sequence", &b);
            set_tokens(e, a, b, line->span);
        } else if (strcmp(line->name, "compute") == 0) {
            set_compute(e, line->word, line->span);
        } else if (strcmp(line->name, "memory") == 0) {
            double bytes = 0;
            if (line->nvalues) ctl_eval_number(e, scope, line->values[0], "memory", &bytes);
            e->spec->memory = bytes > 0 && bytes < 9e18 ? (int64_t)bytes : 0;
        } else if (strcmp(line->name, "store") == 0) {
            ctl_error(e->sink, CTL_E0507, line->span, NULL, "`store` is part of the language, but weights in %s are not built yet", line->word);
        } else {
            ctl_error(e->sink, CTL_E0502, line->span, "tokens, compute, store, memory, adamw(..), sgd(..)", "no setting is called `%s`", line->name);
        }
    }
    for (size_t k = 0; k < e->options->nset; k++) apply_set(e, tune, model_call, e->options->set[k]);
    for (size_t k = 0; k < e->options->nset; k++) check_owner(e, e->options->set[k]);
    if (e->draft->rows_of[SPACE_TOKENS] == 0 && e->sink->errors == 0)
        ctl_error(e->sink, CTL_E0504, tune->span, "add a line `tokens 16 x 1024`, or --set tokens=16x1024",
                  "the tune block does not say how many tokens a step has");
}
