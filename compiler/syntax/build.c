/* build: nodes of the tree. Each function makes one kind of node in the arena; see ast.h for what the fields
 * mean.
 *
 * Expressions carry their height. One that would grow above CTL_MOST_DEPTH is reported (once a source) and
 * replaced by a number, so that whoever walks a tree can recurse. */
#include <math.h>

#include "compiler/syntax/parser.h"

static int path_depth(const ctl_segments *path) {
    int depth = 0;
    for (size_t i = 0; i < path->n; i++)
        if (path->at[i].index && path->at[i].index->depth > depth) depth = path->at[i].index->depth;
    return depth;
}

static int higher(const ctl_expr *e, int depth) {
    return e && e->depth > depth ? e->depth : depth;
}

static ctl_expr *new_expr(ctl_parser *p, ctl_expr_kind kind, ctl_span span, int below) {
    ctl_expr *e = CTL_NEW(p->arena, ctl_expr);
    e->kind = kind, e->span = span, e->depth = below + 1;
    if (e->depth > CTL_MOST_DEPTH) {
        ctl_expected_too_deep(p, span, "this expression");
        *e = (ctl_expr){.kind = EXPR_NUMBER, .span = span, .depth = 1, .is_int = true};
    }
    return e;
}

ctl_expr *ctl_build_number(ctl_parser *p, ctl_span span, ctl_number number) {
    ctl_expr *e = new_expr(p, EXPR_NUMBER, span, 0);
    e->number = number.value, e->is_int = number.is_int;
    return e;
}

ctl_expr *ctl_build_path_expr(ctl_parser *p, ctl_span span, ctl_segments *path) {
    ctl_expr *e = new_expr(p, EXPR_PATH, span, path_depth(path));
    if (e->kind == EXPR_PATH) e->path = ctl_build_path(path);
    return e;
}

ctl_expr *ctl_build_unary(ctl_parser *p, ctl_span span, int op, ctl_expr *a) {
    ctl_expr *e = new_expr(p, EXPR_UNARY, span, a->depth);
    if (e->kind == EXPR_UNARY) e->op = op, e->a = a;
    return e;
}

ctl_expr *ctl_build_binary(ctl_parser *p, ctl_span span, ctl_binary op, ctl_expr *a, ctl_expr *b) {
    ctl_expr *e = new_expr(p, EXPR_BINARY, span, higher(b, a->depth));
    if (e->kind == EXPR_BINARY) e->op = (int)op, e->a = a, e->b = b;
    return e;
}

ctl_expr *ctl_build_range(ctl_parser *p, ctl_span span, ctl_expr *a, ctl_expr *b) {
    ctl_expr *e = new_expr(p, EXPR_RANGE, span, higher(b, a->depth));
    if (e->kind == EXPR_RANGE) e->a = a, e->b = b;
    return e;
}

ctl_expr *ctl_build_call(ctl_parser *p, ctl_span span, ctl_segments *label, ctl_segments *callee,
                         ctl_args *args) {
    int depth = label ? path_depth(label) : 0, below = path_depth(callee);
    if (below > depth) depth = below;
    for (size_t i = 0; i < args->list.n; i++) depth = higher(args->list.at[i], depth);
    for (size_t i = 0; i < args->named.n; i++) depth = higher(args->named.at[i].value, depth);
    for (size_t i = 0; i < callee->n; i++)
        if (callee->at[i].kind != SEG_NAME) {
            ctl_error(p->sink, CTL_E0102, callee->at[i].span,
                      "a net, function or control is called as NAME or MODULE.NAME",
                      "what is called has a plain name");
            break;
        }
    ctl_expr *e = new_expr(p, EXPR_CALL, span, depth);
    if (e->kind != EXPR_CALL) return e;
    if (label) e->label = ctl_build_path(label);
    e->path = ctl_build_path(callee);
    e->args = args->list.at, e->nargs = args->list.n;
    e->named = args->named.at, e->nnamed = args->named.n, e->rest = args->rest;
    return e;
}

ctl_segments *ctl_build_segment(ctl_parser *p, ctl_segments *path, ctl_segment segment) {
    if (!path) path = CTL_LIST(p, ctl_segments);
    CTL_PUSH(p->arena, path, segment);
    return path;
}

ctl_segment ctl_build_braces(ctl_span span, ctl_paths *choices) {
    return (ctl_segment){SEG_BRACES, span, .choices = choices->at, .nchoices = choices->n};
}

ctl_path ctl_build_path(ctl_segments *path) {
    return (ctl_path){ctl_span_join(path->at[0].span, path->at[path->n - 1].span), path->at, path->n};
}

static ctl_stmt *new_stmt(ctl_parser *p, ctl_span span, ctl_stmt_kind kind) {
    ctl_stmt *s = CTL_NEW(p->arena, ctl_stmt);
    s->kind = kind, s->span = span;
    return s;
}

ctl_stmt *ctl_build_stmt(ctl_parser *p, ctl_span span, ctl_stmt_kind kind, ctl_segments *path,
                         ctl_expr *value) {
    ctl_stmt *s = new_stmt(p, span, kind);
    s->value = value;
    if (path) {
        s->paths = CTL_NEW(p->arena, ctl_path), s->npaths = 1;
        *s->paths = ctl_build_path(path);
    }
    return s;
}

ctl_stmt *ctl_build_weight(ctl_parser *p, ctl_span span, ctl_paths *paths, ctl_expr *rows, ctl_expr *cols,
                           ctl_expr *init) {
    ctl_stmt *s = ctl_build_paths(p, span, STMT_WEIGHT, paths);
    s->dims[0] = rows, s->dims[1] = cols, s->ndims = cols ? 2 : 1, s->init = init;
    return s;
}

ctl_stmt *ctl_build_for(ctl_parser *p, ctl_span span, const char *name, ctl_expr *lo, ctl_expr *hi,
                        ctl_stmts *body) {
    ctl_stmt *s = new_stmt(p, span, STMT_FOR);
    s->name = name, s->lo = lo, s->hi = hi, s->body = ctl_build_block(body);
    return s;
}

ctl_stmt *ctl_build_if(ctl_parser *p, ctl_span span, ctl_expr *cond, ctl_stmts *body, ctl_stmts *orelse) {
    ctl_stmt *s = new_stmt(p, span, STMT_IF);
    s->value = cond, s->body = ctl_build_block(body);
    if (orelse) s->orelse = ctl_build_block(orelse);
    return s;
}

ctl_stmt *ctl_build_paths(ctl_parser *p, ctl_span span, ctl_stmt_kind kind, ctl_paths *paths) {
    ctl_stmt *s = new_stmt(p, span, kind);
    s->paths = paths->at, s->npaths = paths->n;
    return s;
}

ctl_block ctl_build_block(ctl_stmts *stmts) {
    return (ctl_block){stmts->at, stmts->n};
}

ctl_parameter ctl_build_parameter(ctl_span span, const char *name, const char *kind, ctl_expr *value) {
    return (ctl_parameter){.span = span, .name = name, .kind = kind, .default_value = value};
}

ctl_decl *ctl_build_decl(ctl_parser *p, ctl_span span, ctl_decl_kind kind, ctl_span name_span,
                         const char *name) {
    ctl_decl *d = CTL_NEW(p->arena, ctl_decl);
    d->kind = kind, d->span = span, d->name_span = name_span, d->name = name;
    return d;
}

ctl_setting ctl_build_tokens(ctl_parser *p, ctl_span span, ctl_number first, ctl_number second,
                             const char *word) {
    ctl_setting s = {.span = span, .name = "tokens", .word = word, .nvalues = second.value > 0 ? 2 : 1};
    s.values = CTL_NEW_ARRAY(p->arena, ctl_expr *, 2);
    s.values[0] = ctl_build_number(p, span, first);
    s.values[1] = ctl_build_number(p, span, second);
    return s;
}

ctl_setting ctl_build_memory(ctl_parser *p, ctl_span span, ctl_number number, ctl_span unit_span,
                             const char *unit) {
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"KB", 1e3}, {"MB", 1e6},
                 {"GB", 1e9},     {"B", 1.0}};
    double factor = 0;
    for (size_t i = 0; i < CTL_COUNT(units); i++)
        if (strcmp(unit, units[i].name) == 0) factor = units[i].bytes;
    if (factor == 0)
        ctl_error(p->sink, CTL_E0102, unit_span,
                  "units are KiB, MiB, GiB (powers of 1024) and KB, MB, GB (powers of 1000)",
                  "'%s' is no unit of memory", unit);
    ctl_setting s = {.span = span, .name = "memory", .nvalues = 1};
    s.values = CTL_NEW(p->arena, ctl_expr *);
    s.values[0] = ctl_build_number(p, span, (ctl_number){floor(number.value * factor), 0, true});
    return s;
}

ctl_setting ctl_build_store(ctl_span span, ctl_paths *paths, const char *word) {
    return (ctl_setting){.span = span, .name = "store", .word = word, .paths = paths->at, .npaths = paths->n};
}

ctl_setting ctl_build_call_setting(ctl_span span, ctl_expr *call) {
    const char *name = call->path.n ? call->path.seg[0].name : NULL;
    return (ctl_setting){.span = span, .name = name ? name : "", .call = call};
}
