/* eval: expressions. Numbers are computed here and now; everything else becomes nodes of the draft. */
#include <math.h>

#include "compiler/elaborate/internal.h"

ctl_value ctl_number(double x) { return (ctl_value){.kind = VALUE_NUMBER, .number = x}; }
ctl_value ctl_node_value(ctl_node_id node) {
    return node == CTL_NONE ? (ctl_value){.kind = VALUE_ERROR} : (ctl_value){.kind = VALUE_NODE, .node = node};
}
static ctl_value error_value(void) { return (ctl_value){.kind = VALUE_ERROR}; }

/* ---- places ---- */
bool ctl_in_library(const ctl_elab *e, ctl_span span) {
    return span.file < e->sink->sources.n && e->sink->sources.at[span.file].library;
}

ctl_span ctl_users_span(const ctl_elab *e, ctl_span span) { return ctl_in_library(e, span) ? e->entered.span : span; }

ctl_user_call ctl_enter(ctl_elab *e, const ctl_expr *call, const char *callee) {
    const ctl_user_call before = e->entered;
    if (!ctl_in_library(e, call->span)) e->entered = (ctl_user_call){call->span, callee};
    return before;
}

void ctl_explain(ctl_elab *e, int errors) {
    const ctl_user_call *call = &e->entered;
    if (e->sink->errors == errors || e->explained == e->sink->errors) return;
    if (!ctl_in_library(e, e->sink->last_error) || call->span.file == CTL_NO_FILE) return;
    e->explained = e->sink->errors;
    ctl_note(e->sink, call->span, "this call of `%s` leads there", call->callee);
}

const char *ctl_shape_text(ctl_elab *e, ctl_node_id node) { return ctl_node_shape(e->arena, &e->draft->at[node]); }

ctl_value ctl_emit(ctl_elab *e, ctl_span span, ctl_op op, int nin, const ctl_node_id *in, int64_t i0, int64_t i1,
                   double f) {
    for (int k = 0; k < nin; k++)
        if (in[k] == CTL_NONE) return error_value();
    if (e->draft->n >= CTL_MOST_NODES) {
        if (e->draft->n == CTL_MOST_NODES)
            ctl_error(e->sink, CTL_E0219, span, "is a loop larger than it was meant to be?", "the network has too many values");
        return error_value();
    }
    ctl_node_id *inputs = CTL_NEW_ARRAY(e->arena, ctl_node_id, nin);
    if (nin) memcpy(inputs, in, (size_t)nin * sizeof *in);
    ctl_node node = {.op = (uint16_t)op, .nin = (uint32_t)nin, .in = inputs, .i = {i0, i1, 0}, .f = f, .split = 1,
                     .span = span, .user = ctl_users_span(e, span), .path = e->making ? e->making->entity->path : ""};
    if (op == OP_CONST) node.rows = node.cols = 1;
    if (op == OP_INDEX) node.rows = 1, node.cols = i0;
    if (op == OP_EYE) node.rows = i0, node.cols = i1;
    if (op == OP_INDEX || op == OP_EYE) node.i[0] = node.i[1] = 0;
    const char *why = "";
    ctl_node_id id = ctl_graph_add(e->draft, &node, &why);
    if (id == CTL_NONE) {
        ctl_error(e->sink, CTL_E0301, span, NULL, "%s", why);
        for (int k = 0; k < nin; k++) {
            const ctl_node *operand = &e->draft->at[in[k]];
            if (operand->span.file != CTL_NO_FILE && nin > 1)
                ctl_note(e->sink, operand->span, "operand %d is %s, made here", k + 1, ctl_shape_text(e, in[k]));
        }
        return error_value();
    }
    return ctl_node_value(id);
}

ctl_node_id ctl_as_node(ctl_elab *e, ctl_value v, ctl_span span) {
    switch (v.kind) {
    case VALUE_NODE: return v.node;
    case VALUE_NUMBER: return ctl_emit(e, span, OP_CONST, 0, NULL, 0, 0, v.number).node;
    case VALUE_WORD:
        ctl_error(e->sink, CTL_E0204, span, NULL, "`%s` is a word, not a value", v.word);
        return CTL_NONE;
    case VALUE_ERROR: break;
    }
    return CTL_NONE;
}

/* ---- states ---- */
static void grow_side_tables(ctl_elab *e) {
    while (e->states.n < e->draft->n) CTL_PUSH(e->arena, &e->states, NULL);
}

ctl_value ctl_state_new(ctl_elab *e, ctl_span span, const char *path, ctl_node_id first) {
    ctl_value v = ctl_emit(e, span, OP_STATE, 1, &first, 0, 0, 0);
    if (v.kind != VALUE_NODE) return v;
    e->draft->at[v.node].path = path;
    grow_side_tables(e);
    ctl_state *s = CTL_NEW(e->arena, ctl_state);
    s->path = path, s->raw_of = CTL_NONE;
    CTL_PUSH(e->arena, &s->edges, (ctl_edge){first, span, ctl_users_span(e, span), NULL});
    e->states.at[v.node] = s;
    return v;
}

void ctl_state_edge(ctl_elab *e, ctl_node_id state, ctl_node_id edge, ctl_span span) {
    if (edge == CTL_NONE || state == CTL_NONE) return;
    const ctl_node *s = &e->draft->at[state], *x = &e->draft->at[edge];
    bool space_fits = x->space == s->space ? x->split == s->split : x->space == SPACE_NONE;
    bool rows_fit = x->rows == s->rows || (x->rows == 1 && x->space == SPACE_NONE);
    if (!space_fits || !rows_fit || (x->cols != s->cols && x->cols != 1)) {
        ctl_error(e->sink, CTL_E0302, span, NULL, "an edge of %s does not fit the state `%s` of %s",
                  ctl_shape_text(e, edge), e->states.at[state]->path, ctl_shape_text(e, state));
        ctl_note(e->sink, e->states.at[state]->edges.at[0].span, "the state's first edge, which gives it its shape, is here");
        return;
    }
    CTL_PUSH(e->arena, &e->states.at[state]->edges, (ctl_edge){edge, span, ctl_users_span(e, span), e->control});
}

/* ---- numbers while compiling ---- */
bool ctl_eval_number(ctl_elab *e, ctl_scope *scope, const ctl_expr *expr, const char *what, double *out) {
    ctl_value v = ctl_eval(e, scope, expr);
    if (v.kind == VALUE_ERROR) return false;
    if (v.kind != VALUE_NUMBER) {
        ctl_error(e->sink, CTL_E0204, expr->span, NULL, "%s must be a number known while compiling", what);
        return false;
    }
    *out = v.number;
    return true;
}

bool ctl_eval_int(ctl_elab *e, ctl_scope *scope, const ctl_expr *expr, const char *what, int64_t *out) {
    double x;
    if (!ctl_eval_number(e, scope, expr, what, &x)) return false;
    if (!(x >= -9e15 && x <= 9e15) || x != floor(x)) {
        ctl_error(e->sink, CTL_E0205, expr->span, NULL, "%s must be a whole number, not %.15g", what, x);
        return false;
    }
    *out = (int64_t)x;
    return true;
}

bool ctl_eval_bool(ctl_elab *e, ctl_scope *scope, const ctl_expr *expr, bool *out) {
    double x;
    if (!ctl_eval_number(e, scope, expr, "a condition", &x)) return false;
    *out = x != 0;
    return true;
}

static ctl_value number_binary(ctl_elab *e, const ctl_expr *expr, double a, double b) {
    switch ((ctl_binary)expr->op) {
    case BIN_ADD: return ctl_number(a + b);
    case BIN_SUB: return ctl_number(a - b);
    case BIN_MUL: return ctl_number(a * b);
    case BIN_DIV:
    case BIN_MOD:
        if (b == 0) {
            ctl_error(e->sink, CTL_E0206, expr->span, NULL, "division by zero");
            return error_value();
        }
        return ctl_number(expr->op == BIN_DIV ? a / b : a - b * floor(a / b));
    case BIN_POW: return ctl_number(pow(a, b));
    case BIN_LT: return ctl_number(a < b);
    case BIN_LE: return ctl_number(a <= b);
    case BIN_GT: return ctl_number(a > b);
    case BIN_GE: return ctl_number(a >= b);
    case BIN_EQ: return ctl_number(a == b);
    case BIN_NE: return ctl_number(a != b);
    case BIN_AND: return ctl_number(a != 0 && b != 0);
    case BIN_OR: return ctl_number(a != 0 || b != 0);
    case BIN_MATMUL:
        ctl_error(e->sink, CTL_E0303, expr->span, "use `*` for numbers", "`@` multiplies matrices, not numbers");
        return error_value();
    }
    return error_value();
}

/* ---- products ---- */
/* The PARAM behind the right operand of a product, or CTL_NONE. */
static ctl_node_id weight_of(const ctl_elab *e, ctl_node_id right) {
    const ctl_node *n = &e->draft->at[right];
    if (n->op == OP_TRANSPOSE) right = n->in[0], n = &e->draft->at[right];
    return n->op == OP_PARAM ? right : CTL_NONE;
}

static ctl_value matmul(ctl_elab *e, const ctl_expr *expr, ctl_node_id a, ctl_node_id b) {
    if (a == CTL_NONE || b == CTL_NONE) return error_value();
    const ctl_node *right = &e->draft->at[b];
    if (right->space != SPACE_NONE) {
        ctl_error(e->sink, CTL_E0303, expr->span, "rows meet only in attend and take",
                  "the right operand of `@` must be made of weights; it is %s", ctl_shape_text(e, b));
        return error_value();
    }
    ctl_value v = ctl_emit(e, expr->span, OP_MATMUL, 2, (ctl_node_id[]){a, b}, 0, 0, 0);
    if (v.kind == VALUE_NODE && weight_of(e, b) != CTL_NONE)
        CTL_PUSH(e->arena, &e->uses, (ctl_weight_use){v.node, a, b});
    return v;
}

static ctl_value binary(ctl_elab *e, ctl_scope *scope, const ctl_expr *expr) {
    ctl_value a = ctl_eval(e, scope, expr->a), b = ctl_eval(e, scope, expr->b);
    if (a.kind == VALUE_ERROR || b.kind == VALUE_ERROR) return error_value();
    if (a.kind == VALUE_NUMBER && b.kind == VALUE_NUMBER) return number_binary(e, expr, a.number, b.number);
    if (a.kind == VALUE_WORD && b.kind == VALUE_WORD && (expr->op == BIN_EQ || expr->op == BIN_NE))
        return ctl_number((strcmp(a.word, b.word) == 0) == (expr->op == BIN_EQ));
    ctl_node_id x = ctl_as_node(e, a, expr->a->span), y = ctl_as_node(e, b, expr->b->span);
    if (x == CTL_NONE || y == CTL_NONE) return error_value();
    if (expr->op == BIN_MATMUL) return matmul(e, expr, x, y);
    /* Integers (ids) become numbers in arithmetic. */
    if (e->draft->at[x].dtype == CTL_I32) x = ctl_emit(e, expr->span, OP_TOREAL, 1, &x, 0, 0, 0).node;
    if (e->draft->at[y].dtype == CTL_I32) y = ctl_emit(e, expr->span, OP_TOREAL, 1, &y, 0, 0, 0).node;
    ctl_node_id xy[] = {x, y}, yx[] = {y, x};
    switch ((ctl_binary)expr->op) {
    case BIN_ADD: return ctl_emit(e, expr->span, OP_ADD, 2, xy, 0, 0, 0);
    case BIN_SUB: return ctl_emit(e, expr->span, OP_SUB, 2, xy, 0, 0, 0);
    case BIN_AND:
    case BIN_MUL: return ctl_emit(e, expr->span, OP_MUL, 2, xy, 0, 0, 0);
    case BIN_DIV: return ctl_emit(e, expr->span, OP_DIV, 2, xy, 0, 0, 0);
    case BIN_MOD: return ctl_emit(e, expr->span, OP_MOD, 2, xy, 0, 0, 0);
    case BIN_POW: return ctl_emit(e, expr->span, OP_POW, 2, xy, 0, 0, 0);
    case BIN_LT: return ctl_emit(e, expr->span, OP_LT, 2, xy, 0, 0, 0);
    case BIN_LE: return ctl_emit(e, expr->span, OP_LE, 2, xy, 0, 0, 0);
    case BIN_GT: return ctl_emit(e, expr->span, OP_LT, 2, yx, 0, 0, 0);
    case BIN_GE: return ctl_emit(e, expr->span, OP_LE, 2, yx, 0, 0, 0);
    case BIN_EQ: return ctl_emit(e, expr->span, OP_EQ, 2, xy, 0, 0, 0);
    case BIN_OR: return ctl_emit(e, expr->span, OP_MAX, 2, xy, 0, 0, 0);
    case BIN_NE: {
        ctl_node_id same = ctl_emit(e, expr->span, OP_EQ, 2, xy, 0, 0, 0).node;
        ctl_node_id one = ctl_emit(e, expr->span, OP_CONST, 0, NULL, 0, 0, 1).node;
        return ctl_emit(e, expr->span, OP_SUB, 2, (ctl_node_id[]){one, same}, 0, 0, 0);
    }
    case BIN_MATMUL: break;
    }
    return error_value();
}

/* ---- names ---- */
static bool is_word(const char *name) {
    static const char *const words[] = {"eye", "constant", "linear", "cosine", "f64", "f32", "bf16", "uniform", "normal"};
    for (size_t i = 0; i < CTL_COUNT(words); i++)
        if (strcmp(name, words[i]) == 0) return true;
    return false;
}

/* `v.T`; what names v in a message. */
static ctl_value turned(ctl_elab *e, ctl_value v, ctl_span span, const char *what) {
    if (v.kind == VALUE_NUMBER || v.kind == VALUE_ERROR) return v;
    ctl_node_id node = ctl_as_node(e, v, span);
    if (node == CTL_NONE) return error_value();
    if (e->draft->at[node].space != SPACE_NONE) {
        ctl_error(e->sink, CTL_E0303, span, NULL, "`.T` turns weights; `%s` is %s", what, ctl_shape_text(e, node));
        return error_value();
    }
    if (e->draft->at[node].op == OP_TRANSPOSE) return ctl_node_value(e->draft->at[node].in[0]);
    return ctl_emit(e, span, OP_TRANSPOSE, 1, &node, 0, 0, 0);
}

static ctl_value path_value(ctl_elab *e, ctl_scope *scope, const ctl_expr *expr) {
    const ctl_path *path = &expr->path;
    size_t done;
    ctl_entity *last, *entity = ctl_resolve(e, scope, path, &done, &last);
    if (done == SIZE_MAX) return error_value();
    if (!entity) {
        if (path->n == 1 && path->seg[0].kind == SEG_NAME) {
            const char *name = path->seg[0].name;
            if (strcmp(name, "true") == 0) return ctl_number(1);
            if (strcmp(name, "false") == 0) return ctl_number(0);
            if (strcmp(name, "pi") == 0) return ctl_number(3.14159265358979323846);
            if (is_word(name)) return (ctl_value){.kind = VALUE_WORD, .word = name};
        }
        ctl_unknown(e, scope, path, CTL_E0201);
        return error_value();
    }
    ctl_value v = ctl_entity_value(e, entity, expr->span);
    if (done == path->n || v.kind == VALUE_ERROR) return v;
    /* what is left is `.T` */
    return turned(e, v, expr->span, ctl_path_text(e->arena, &(ctl_path){path->span, path->seg, done}));
}

ctl_value ctl_entity_value(ctl_elab *e, ctl_entity *entity, ctl_span span) {
    switch (entity->kind) {
    case ENTITY_STATE:
    case ENTITY_WEIGHT:
    case ENTITY_VALUE: return entity->value;
    case ENTITY_INSTANCE:
        ctl_error(e->sink, CTL_E0204, span, ctl_format(e->arena, "one of its states: `%s.y`", entity->name),
                  "`%s` is an instance, not a value", entity->path);
        return error_value();
    case ENTITY_GROUP: break;
    }
    return error_value();
}

static ctl_value unary(ctl_elab *e, ctl_scope *scope, const ctl_expr *expr) {
    ctl_value a = ctl_eval(e, scope, expr->a);
    if (expr->op == 'T') return turned(e, a, expr->span, "what stands before it");
    if (a.kind == VALUE_NUMBER) return ctl_number(expr->op == '-' ? -a.number : a.number == 0);
    ctl_node_id x = ctl_as_node(e, a, expr->a->span);
    if (x == CTL_NONE) return error_value();
    if (expr->op == '-') return ctl_emit(e, expr->span, OP_NEG, 1, &x, 0, 0, 0);
    ctl_node_id one = ctl_emit(e, expr->span, OP_CONST, 0, NULL, 0, 0, 1).node;
    return ctl_emit(e, expr->span, OP_SUB, 2, (ctl_node_id[]){one, x}, 0, 0, 0);
}

static ctl_value eval(ctl_elab *e, ctl_scope *scope, const ctl_expr *expr) {
    switch (expr->kind) {
    case EXPR_NUMBER: return ctl_number(expr->number);
    case EXPR_PATH: return path_value(e, scope, expr);
    case EXPR_CALL: return ctl_call(e, scope, expr, NULL, 0);
    case EXPR_UNARY: return unary(e, scope, expr);
    case EXPR_BINARY: return binary(e, scope, expr);
    case EXPR_RANGE:
        ctl_error(e->sink, CTL_E0204, expr->span, NULL, "a range stands only in columns(x, a..b) and in `for`");
        return error_value();
    }
    return error_value();
}

ctl_value ctl_eval(ctl_elab *e, ctl_scope *scope, const ctl_expr *expr) {
    if (e->height >= CTL_MOST_HEIGHT) {
        if (e->height++ == CTL_MOST_HEIGHT)
            ctl_error(e->sink, CTL_E0219, expr->span, "does a net or function contain itself?", "expressions are nested too deeply");
        return error_value();
    }
    e->height++;
    ctl_value v = eval(e, scope, expr);
    e->height--;
    return v;
}
