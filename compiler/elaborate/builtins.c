/* builtins: the functions that the language itself has. A table says arities; each case below turns a call into
 * operations of the graph. docs/language.md gives each one's shape rule. */
#include <math.h>

#include "compiler/elaborate/internal.h"
#include "compiler/passes/cross_entropy.h"

typedef enum builtin {
    B_EXP, B_LOG, B_SQRT, B_RSQRT, B_SIN, B_COS, B_TANH, B_ERF, B_MAX, B_MIN, B_SUM, B_MEAN, B_SOFTMAX, B_DROP, B_STOP,
    B_ATTEND, B_TAKE, B_SPLIT, B_JOIN, B_COLUMNS, B_CAT, B_ROWS, B_COLS, B_INDEX, B_POSITION, B_LENGTH, B_EYE,
    B_CROSS_ENTROPY, B_MSE, B_FIRST, B_POOL, B_PREPEND, B_MIX, B_TOP
} builtin;

typedef struct builtin_info {
    const char *name;
    builtin id;
    int least, most;
    const char *named; /* names allowed after `;`, separated by blanks */
} builtin_info;

static const builtin_info infos[] = {
    {"exp", B_EXP, 1, 1, ""}, {"log", B_LOG, 1, 1, ""}, {"sqrt", B_SQRT, 1, 1, ""}, {"rsqrt", B_RSQRT, 1, 1, ""},
    {"sin", B_SIN, 1, 1, ""}, {"cos", B_COS, 1, 1, ""}, {"tanh", B_TANH, 1, 1, ""}, {"erf", B_ERF, 1, 1, ""},
    {"max", B_MAX, 2, 2, ""}, {"min", B_MIN, 2, 2, ""}, {"sum", B_SUM, 1, 1, ""}, {"mean", B_MEAN, 1, 1, ""},
    {"softmax", B_SOFTMAX, 1, 1, ""}, {"drop", B_DROP, 1, 1, "p"}, {"stop", B_STOP, 1, 1, ""},
    {"attend", B_ATTEND, 3, 3, "head causal window"}, {"take", B_TAKE, 2, 2, ""}, {"split", B_SPLIT, 2, 2, ""},
    {"join", B_JOIN, 2, 2, ""}, {"columns", B_COLUMNS, 2, 2, ""}, {"cat", B_CAT, 1, 64, ""}, {"rows", B_ROWS, 1, 1, ""},
    {"cols", B_COLS, 1, 1, ""}, {"index", B_INDEX, 1, 1, ""}, {"position", B_POSITION, 1, 1, ""},
    {"length", B_LENGTH, 1, 1, ""}, {"eye", B_EYE, 1, 2, ""}, {"cross_entropy", B_CROSS_ENTROPY, 2, 2, ""},
    {"mse", B_MSE, 2, 2, ""}, {"first", B_FIRST, 1, 1, ""}, {"pool", B_POOL, 1, 1, ""},
    {"prepend", B_PREPEND, 2, 2, ""}, {"mix", B_MIX, 2, 2, ""}, {"top", B_TOP, 1, 1, "k"},
};

static const builtin_info *find(const char *name) {
    for (size_t i = 0; i < CTL_COUNT(infos); i++)
        if (strcmp(infos[i].name, name) == 0) return &infos[i];
    return NULL;
}

bool ctl_is_builtin(const char *name) { return find(name) != NULL; }

const char *ctl_builtin_nearest(const char *name, int *distance) {
    const char *best = NULL;
    for (size_t i = 0; i < CTL_COUNT(infos); i++) {
        int d = ctl_edit_distance(name, infos[i].name, *distance - 1);
        if (d < *distance) *distance = d, best = infos[i].name;
    }
    return best;
}

typedef struct call_args {
    ctl_elab *e;
    const ctl_expr *call;
    ctl_value *v;
    ctl_span span;
} call_args;

static const ctl_value failed = {.kind = VALUE_ERROR};

static ctl_node_id node_arg(call_args *c, size_t k) { return ctl_as_node(c->e, c->v[k], c->call->args[k]->span); }

static ctl_node_id real_arg(call_args *c, size_t k) {
    ctl_node_id x = node_arg(c, k);
    if (x != CTL_NONE && c->e->draft->at[x].dtype == CTL_I32) x = ctl_emit(c->e, c->span, OP_TOREAL, 1, &x, 0, 0, 0).node;
    return x;
}

static ctl_value make(call_args *c, ctl_op op, int nin, const ctl_node_id *in, int64_t i0, int64_t i1, double f) {
    return ctl_emit(c->e, c->span, op, nin, in, i0, i1, f);
}

static bool int_arg(call_args *c, size_t k, const char *what, int64_t *out) {
    if (c->v[k].kind == VALUE_ERROR) return false;
    if (c->v[k].kind != VALUE_NUMBER || c->v[k].number != floor(c->v[k].number) || fabs(c->v[k].number) > 9e15) {
        ctl_error(c->e->sink, CTL_E0205, c->call->args[k]->span, NULL, "%s must be a whole number known while compiling%s", what,
                  c->v[k].kind == VALUE_NUMBER ? ctl_format(c->e->arena, ", not %.15g", c->v[k].number) : "");
        return false;
    }
    *out = (int64_t)c->v[k].number;
    return true;
}

static ctl_value named_arg(call_args *c, ctl_scope *scope, const char *name, bool *given) {
    *given = false;
    for (size_t k = 0; k < c->call->nnamed; k++) {
        const ctl_named_arg *a = &c->call->named[k];
        if (strcmp(a->name, name) != 0) continue;
        *given = true;
        if (a->value) return ctl_eval(c->e, scope, a->value);
        ctl_expr self = {.kind = EXPR_PATH, .span = a->span};
        ctl_segment seg = {.kind = SEG_NAME, .span = a->span, .name = a->name};
        self.path = (ctl_path){a->span, &seg, 1};
        return ctl_eval(c->e, scope, &self);
    }
    return ctl_number(0);
}

static bool named_int(call_args *c, ctl_scope *scope, const char *name, int64_t *out, bool *given) {
    ctl_value v = named_arg(c, scope, name, given);
    if (v.kind == VALUE_ERROR) return false;
    if (v.kind != VALUE_NUMBER || v.number != floor(v.number) || fabs(v.number) > 9e15) {
        ctl_error(c->e->sink, CTL_E0205, c->span, NULL, "`%s` must be a whole number known while compiling", name);
        return false;
    }
    *out = (int64_t)v.number;
    return true;
}

static ctl_value unary_map(call_args *c, ctl_op op, double (*fold)(double)) {
    if (c->v[0].kind == VALUE_NUMBER) return ctl_number(fold(c->v[0].number));
    ctl_node_id x = real_arg(c, 0);
    return make(c, op, 1, &x, 0, 0, 0);
}
static double fold_rsqrt(double x) { return 1 / sqrt(x); }

static ctl_value binary_map(call_args *c, ctl_op op) {
    if (c->v[0].kind == VALUE_NUMBER && c->v[1].kind == VALUE_NUMBER) {
        double a = c->v[0].number, b = c->v[1].number;
        return ctl_number(op == OP_MAX ? (a > b ? a : b) : (a < b ? a : b));
    }
    ctl_node_id in[] = {real_arg(c, 0), real_arg(c, 1)};
    return make(c, op, 2, in, 0, 0, 0);
}

static ctl_value mean(call_args *c) {
    ctl_node_id x = real_arg(c, 0);
    if (x == CTL_NONE) return failed;
    ctl_node_id sum = make(c, OP_SUM, 1, &x, 0, 0, 0).node;
    ctl_node_id scale = make(c, OP_CONST, 0, NULL, 0, 0, 1.0 / (double)c->e->draft->at[x].cols).node;
    return make(c, OP_MUL, 2, (ctl_node_id[]){sum, scale}, 0, 0, 0);
}

static ctl_value softmax(call_args *c) {
    ctl_node_id x = real_arg(c, 0);
    if (x == CTL_NONE) return failed;
    ctl_node_id top = make(c, OP_ROWMAX, 1, &x, 0, 0, 0).node;
    ctl_node_id shift = make(c, OP_SUB, 2, (ctl_node_id[]){x, make(c, OP_STOP, 1, &top, 0, 0, 0).node}, 0, 0, 0).node;
    ctl_node_id power = make(c, OP_EXP, 1, &shift, 0, 0, 0).node;
    ctl_node_id sum = make(c, OP_SUM, 1, &power, 0, 0, 0).node;
    return make(c, OP_DIV, 2, (ctl_node_id[]){power, sum}, 0, 0, 0);
}

static ctl_value drop(call_args *c, ctl_scope *scope) {
    bool given;
    ctl_value p = named_arg(c, scope, "p", &given);
    if (p.kind == VALUE_ERROR) return failed;
    if (!given || p.kind != VALUE_NUMBER || !(p.number >= 0 && p.number < 1)) {
        ctl_error(c->e->sink, CTL_E0207, c->span, "drop(x; p = 0.05)", "drop needs p, a number from 0 to below 1");
        return failed;
    }
    ctl_node_id x = real_arg(c, 0);
    if (p.number == 0 || x == CTL_NONE) return ctl_node_value(x);
    return make(c, OP_DROP, 1, &x, c->e->draft->drop_sites++, 0, p.number);
}

static ctl_value attend(call_args *c, ctl_scope *scope) {
    int64_t head = 0, causal = 1, window = 0;
    bool has_head, has_causal, has_window;
    if (!named_int(c, scope, "head", &head, &has_head) || !named_int(c, scope, "causal", &causal, &has_causal) ||
        !named_int(c, scope, "window", &window, &has_window))
        return failed;
    if (!has_head || !has_causal || head < 1 || window < 0) {
        ctl_error(c->e->sink, CTL_E0207, c->span, "attend(q, k, v; head = 64, causal = true)",
                  "attend needs the size of a head and whether it is causal");
        return failed;
    }
    ctl_node_id in[] = {real_arg(c, 0), real_arg(c, 1), real_arg(c, 2)};
    if (in[0] == CTL_NONE || in[1] == CTL_NONE || in[2] == CTL_NONE) return failed;
    ctl_value v = make(c, OP_ATTEND, 3, in, head, causal != 0, 0);
    if (v.kind == VALUE_NODE) c->e->draft->at[v.node].i[2] = window;
    return v;
}

/* The row of a table that an index names: ids, numbers computed from positions, or one number. Of rows: one of each
 * sequence. */
static ctl_value take(call_args *c) {
    ctl_node_id table = node_arg(c, 0);
    int64_t which;
    if (table == CTL_NONE) return failed;
    if (c->e->draft->at[table].space != SPACE_NONE) {
        if (c->v[1].kind != VALUE_NUMBER) return ctl_build_row_of_sequence(c->e, c->span, real_arg(c, 0), node_arg(c, 1));
        if (!int_arg(c, 1, "the number of a row", &which)) return failed;
        return ctl_build_first(c->e, c->span, real_arg(c, 0), which, "take");
    }
    ctl_node_id ids = node_arg(c, 1);
    if (ids == CTL_NONE) return failed;
    if (c->e->draft->at[ids].dtype != CTL_I32) ids = make(c, OP_TOINT, 1, &ids, 0, 0, 0).node;
    return make(c, OP_TAKE, 2, (ctl_node_id[]){table, ids}, 0, 0, 0);
}

static ctl_value columns(call_args *c, ctl_scope *scope) {
    const ctl_expr *range = c->call->args[1];
    ctl_node_id x = node_arg(c, 0);
    int64_t lo, hi;
    if (range->kind != EXPR_RANGE) {
        ctl_error(c->e->sink, CTL_E0207, range->span, "columns(x, 0..64)", "columns needs a range");
        return failed;
    }
    if (x == CTL_NONE || !ctl_eval_int(c->e, scope, range->a, "the first column", &lo) ||
        !ctl_eval_int(c->e, scope, range->b, "the end of the columns", &hi))
        return failed;
    return make(c, OP_COLUMNS, 1, &x, lo, hi, 0);
}

static ctl_value place(call_args *c, ctl_op op) { /* position(x), length(x): of the rows of x */
    ctl_node_id x = node_arg(c, 0);
    if (x == CTL_NONE) return failed;
    const ctl_node *n = &c->e->draft->at[x];
    if (n->space == SPACE_NONE) {
        ctl_error(c->e->sink, CTL_E0303, c->call->args[0]->span, NULL, "only rows of documents have a place; this is %s",
                  ctl_shape_text(c->e, x));
        return failed;
    }
    int32_t split = n->split;
    int space = n->space;
    ctl_value v = make(c, op, 0, NULL, space == SPACE_SEQUENCES ? SPACE_TOKENS : space, 0, 0);
    if (v.kind == VALUE_NODE && space == SPACE_SEQUENCES) v = make(c, OP_PICK, 1, &v.node, 0, 0, 0); /* of its first row */
    if (v.kind == VALUE_NODE && split > 1) v = make(c, OP_REPEAT, 1, &v.node, split, 0, 0);
    return v;
}

static ctl_value top(call_args *c, ctl_scope *scope) {
    int64_t k = 0;
    bool given;
    if (!named_int(c, scope, "k", &k, &given)) return failed;
    if (given) return ctl_build_top(c->e, c->span, real_arg(c, 0), k);
    ctl_error(c->e->sink, CTL_E0207, c->span, "top(x; k = 2)", "top needs k, how many of a row it keeps");
    return failed;
}

static ctl_value loss(call_args *c, bool entropy) {
    ctl_node_id x = real_arg(c, 0), y = entropy ? node_arg(c, 1) : real_arg(c, 1);
    if (x == CTL_NONE || y == CTL_NONE) return failed;
    const ctl_node *a = &c->e->draft->at[x], *b = &c->e->draft->at[y];
    if (entropy ? (b->dtype != CTL_I32 || b->cols != 1 || b->rows != a->rows || b->space != a->space)
                : (a->rows != b->rows || a->cols != b->cols || a->space != b->space)) {
        ctl_error(c->e->sink, CTL_E0303, c->span, entropy ? "declare the labels as an input `labels: id`" : NULL,
                  entropy ? "cross_entropy needs one label (an id) for each row of %s; it is given %s"
                          : "mse compares two values of one shape, not %s and %s",
                  ctl_shape_text(c->e, x), ctl_shape_text(c->e, y));
        return failed;
    }
    if (a->space == SPACE_NONE) { /* every micro-step of a batch would add it anew */
        ctl_error(c->e->sink, CTL_E0303, c->span, NULL, "mse compares values of rows; %s is of weights", ctl_shape_text(c->e, x));
        return failed;
    }
    ctl_node_id before = (ctl_node_id)c->e->draft->n;
    ctl_node_id v = entropy ? ctl_build_cross_entropy(c->e->draft, x, x, y) : ctl_build_mse(c->e->draft, x, x, y);
    for (ctl_node_id k = before; k < c->e->draft->n; k++) c->e->draft->at[k].span = c->span;
    return ctl_node_value(v);
}

ctl_value ctl_builtin(ctl_elab *e, ctl_scope *scope, const ctl_expr *call) {
    const builtin_info *info = find(call->path.seg[0].name);
    call_args c = {.e = e, .call = call, .span = call->span};
    if (call->label.n) {
        ctl_error(e->sink, CTL_E0208, call->label.span, NULL, "`%s` is no net: it takes no label", info->name);
        return failed;
    }
    if ((int)call->nargs < info->least || (int)call->nargs > info->most) {
        ctl_error(e->sink, CTL_E0207, call->span, NULL, "`%s` takes %d argument%s, not %zu", info->name, info->least,
                  info->least == 1 ? "" : "s", call->nargs);
        return failed;
    }
    for (size_t k = 0; k < call->nnamed; k++) {
        const char *at = info->named, *name = call->named[k].name;
        size_t n = strlen(name);
        bool known = false;
        for (; *at; at += strcspn(at, " "), at += *at == ' ')
            if (strncmp(at, name, n) == 0 && (at[n] == ' ' || at[n] == 0)) known = true;
        if (!known) {
            ctl_error(e->sink, CTL_E0207, call->named[k].span,
                      info->named[0] ? ctl_format(e->arena, "it takes: %s", info->named) : NULL,
                      "`%s` has no parameter `%s`", info->name, name);
            return failed;
        }
    }
    c.v = CTL_NEW_ARRAY(e->arena, ctl_value, call->nargs);
    for (size_t k = 0; k < call->nargs; k++) {
        if (call->args[k]->kind == EXPR_RANGE && info->id == B_COLUMNS) continue;
        c.v[k] = ctl_eval(e, scope, call->args[k]);
        if (c.v[k].kind == VALUE_ERROR) return failed;
    }
    ctl_node_id x;
    int64_t n, m;
    switch (info->id) {
    case B_EXP: return unary_map(&c, OP_EXP, exp);
    case B_LOG: return unary_map(&c, OP_LOG, log);
    case B_SQRT: return unary_map(&c, OP_SQRT, sqrt);
    case B_RSQRT: return unary_map(&c, OP_RSQRT, fold_rsqrt);
    case B_SIN: return unary_map(&c, OP_SIN, sin);
    case B_COS: return unary_map(&c, OP_COS, cos);
    case B_TANH: return unary_map(&c, OP_TANH, tanh);
    case B_ERF: return unary_map(&c, OP_ERF, erf);
    case B_MAX: return binary_map(&c, OP_MAX);
    case B_MIN: return binary_map(&c, OP_MIN);
    case B_SUM: x = real_arg(&c, 0); return make(&c, OP_SUM, 1, &x, 0, 0, 0);
    case B_MEAN: return mean(&c);
    case B_SOFTMAX: return softmax(&c);
    case B_DROP: return drop(&c, scope);
    case B_STOP: x = real_arg(&c, 0); return make(&c, OP_STOP, 1, &x, 0, 0, 0);
    case B_ATTEND: return attend(&c, scope);
    case B_TAKE: return take(&c);
    case B_SPLIT:
    case B_JOIN:
        x = node_arg(&c, 0);
        if (x == CTL_NONE || !int_arg(&c, 1, "the number of columns", &n)) return failed;
        return make(&c, info->id == B_SPLIT ? OP_SPLIT : OP_JOIN, 1, &x, n, 0, 0);
    case B_COLUMNS: return columns(&c, scope);
    case B_CAT: {
        ctl_node_id *in = CTL_NEW_ARRAY(e->arena, ctl_node_id, call->nargs);
        for (size_t k = 0; k < call->nargs; k++) in[k] = real_arg(&c, k);
        return make(&c, OP_CAT, (int)call->nargs, in, 0, 0, 0);
    }
    case B_ROWS:
    case B_COLS:
        x = node_arg(&c, 0);
        if (x == CTL_NONE) return failed;
        return ctl_number((double)(info->id == B_ROWS ? e->draft->at[x].rows : e->draft->at[x].cols));
    case B_INDEX:
        x = node_arg(&c, 0);
        return x == CTL_NONE ? failed : make(&c, OP_INDEX, 0, NULL, e->draft->at[x].cols, 0, 0);
    case B_POSITION: return place(&c, OP_POSITION);
    case B_LENGTH: return place(&c, OP_LENGTH);
    case B_EYE:
        if (!int_arg(&c, 0, "the number of rows", &n)) return failed;
        m = n;
        if (call->nargs == 2 && !int_arg(&c, 1, "the number of columns", &m)) return failed;
        return make(&c, OP_EYE, 0, NULL, n, m, 0);
    case B_CROSS_ENTROPY: return loss(&c, true);
    case B_MSE: return loss(&c, false);
    case B_FIRST: return ctl_build_first(e, c.span, real_arg(&c, 0), 0, "first");
    case B_POOL: return ctl_build_pool(e, c.span, real_arg(&c, 0));
    case B_PREPEND: x = real_arg(&c, 0); return ctl_build_prepend(e, c.span, x, real_arg(&c, 1));
    case B_MIX: x = real_arg(&c, 0); return ctl_build_mix(e, c.span, x, real_arg(&c, 1));
    case B_TOP: return top(&c, scope);
    }
    return failed;
}
