/* print: a tree as canonical source text, one declaration after the other, blocks indented by four spaces.
 * Parentheses stand only where the grammar's precedence asks for them. See print.h. */
#include "compiler/syntax/print.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The grammar's levels of precedence. */
enum {
    LEVEL_OR = 1,
    LEVEL_AND,
    LEVEL_NOT,
    LEVEL_COMPARE,
    LEVEL_ADD,
    LEVEL_MUL,
    LEVEL_NEGATIVE,
    LEVEL_POW,
    LEVEL_ATOM
};

static const struct {
    const char *text;
    int level;
} binaries[] = {
    [BIN_ADD] = {"+", LEVEL_ADD},     [BIN_SUB] = {"-", LEVEL_ADD},     [BIN_MUL] = {"*", LEVEL_MUL},
    [BIN_DIV] = {"/", LEVEL_MUL},     [BIN_MOD] = {"%", LEVEL_MUL},     [BIN_MATMUL] = {"@", LEVEL_MUL},
    [BIN_POW] = {"^", LEVEL_POW},     [BIN_LT] = {"<", LEVEL_COMPARE},  [BIN_LE] = {"<=", LEVEL_COMPARE},
    [BIN_GT] = {">", LEVEL_COMPARE},  [BIN_GE] = {">=", LEVEL_COMPARE}, [BIN_EQ] = {"==", LEVEL_COMPARE},
    [BIN_NE] = {"!=", LEVEL_COMPARE}, [BIN_AND] = {"and", LEVEL_AND},   [BIN_OR] = {"or", LEVEL_OR}};

static int level(const ctl_expr *e) {
    if (e->kind == EXPR_UNARY) return e->op == '-' ? LEVEL_NEGATIVE : e->op == 'n' ? LEVEL_NOT : LEVEL_ATOM;
    return e->kind == EXPR_BINARY ? binaries[e->op].level : LEVEL_ATOM;
}

static void print_at(const ctl_expr *e, int least, ctl_text *out) {
    bool parens = level(e) < least;
    if (parens) ctl_text_add(out, "(");
    ctl_ast_print_expr(e, out);
    if (parens) ctl_text_add(out, ")");
}

/* As many of 15 to 17 digits as it takes to read back as the same number; a whole number that was not written
 * as one keeps its point. */
static void print_number(double number, bool is_int, ctl_text *out) {
    if (is_int) {
        ctl_text_add(out, "%.0f", number);
        return;
    }
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number) break;
    }
    ctl_text_add(out, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

static void print_paths(const ctl_path *paths, size_t n, ctl_text *out) {
    for (size_t i = 0; i < n; i++) {
        if (i) ctl_text_add(out, ", ");
        ctl_ast_print_path(&paths[i], out);
    }
}

void ctl_ast_print_path(const ctl_path *path, ctl_text *out) {
    for (size_t i = 0; i < path->n; i++) {
        const ctl_segment *s = &path->seg[i];
        const char *dot = i ? "." : "";
        switch (s->kind) {
        case SEG_NAME:
            ctl_text_add(out, "%s%s", dot, s->name);
            break;
        case SEG_DEEP:
            ctl_text_add(out, "%s**", dot);
            break;
        case SEG_STAR:
            ctl_text_add(out, "[*]");
            break;
        case SEG_INDEX:
            ctl_text_add(out, "[");
            ctl_ast_print_expr(s->index, out);
            ctl_text_add(out, "]");
            break;
        case SEG_BRACES:
            ctl_text_add(out, ".{");
            print_paths(s->choices, s->nchoices, out);
            ctl_text_add(out, "}");
            break;
        }
    }
}

/* parameters: what stands before the first named argument. In `tune m with c(rank = 8)` it is nothing. */
static void print_call(const ctl_expr *e, const char *parameters, ctl_text *out) {
    if (e->label.n) ctl_ast_print_path(&e->label, out), ctl_text_add(out, ": ");
    ctl_ast_print_path(&e->path, out);
    ctl_text_add(out, "(");
    for (size_t i = 0; i < e->nargs; i++) {
        if (i) ctl_text_add(out, ", ");
        ctl_ast_print_expr(e->args[i], out);
    }
    const char *before = parameters;
    for (size_t i = 0; i < e->nnamed; i++, before = ", ") {
        ctl_text_add(out, "%s%s", before, e->named[i].name);
        if (e->named[i].value) ctl_text_add(out, " = "), ctl_ast_print_expr(e->named[i].value, out);
    }
    if (e->rest) ctl_text_add(out, "%s..", before);
    ctl_text_add(out, ")");
}

void ctl_ast_print_expr(const ctl_expr *e, ctl_text *out) {
    switch (e->kind) {
    case EXPR_NUMBER:
        print_number(e->number, e->is_int, out);
        break;
    case EXPR_PATH:
        ctl_ast_print_path(&e->path, out);
        break;
    case EXPR_CALL:
        print_call(e, "; ", out);
        break;
    case EXPR_UNARY:
        if (e->op == 'T') { /* behind a bare name it would be a part of the path */
            bool parens = e->a->kind == EXPR_PATH || e->a->kind == EXPR_NUMBER || level(e->a) < LEVEL_ATOM;
            ctl_text_add(out, parens ? "(" : "");
            ctl_ast_print_expr(e->a, out);
            ctl_text_add(out, parens ? ").T" : ".T");
            break;
        }
        ctl_text_add(out, e->op == '-' ? "-" : "not ");
        print_at(e->a, level(e), out);
        break;
    case EXPR_BINARY: {
        int own = level(e);
        bool right = e->op == BIN_POW, chains = own != LEVEL_COMPARE;
        print_at(e->a, own + (right || !chains), out);
        ctl_text_add(out, " %s ", binaries[e->op].text);
        print_at(e->b, own + (!right || !chains), out);
        break;
    }
    case EXPR_RANGE:
        ctl_ast_print_expr(e->a, out);
        ctl_text_add(out, "..");
        ctl_ast_print_expr(e->b, out);
        break;
    }
}

static void print_stmt(const ctl_stmt *s, int indent, ctl_text *out);

static void print_block(const ctl_block *block, int indent, ctl_text *out) {
    ctl_text_add(out, "{\n");
    for (size_t i = 0; i < block->n; i++) {
        ctl_text_add(out, "%*s", indent + 4, "");
        print_stmt(block->at[i], indent + 4, out);
        ctl_text_add(out, "\n");
    }
    ctl_text_add(out, "%*s}", indent, "");
}

static void print_stmt(const ctl_stmt *s, int indent, ctl_text *out) {
    static const char *const arrows[] = {
        [STMT_EDGE] = " <- ", [STMT_VALUE] = " = ", [STMT_SERIES] = " => ", [STMT_TILDE] = " ~ "};
    switch (s->kind) {
    case STMT_WEIGHT:
        ctl_text_add(out, "weight ");
        print_paths(s->paths, s->npaths, out);
        ctl_text_add(out, " : [");
        ctl_ast_print_expr(s->dims[0], out);
        if (s->ndims == 2) ctl_text_add(out, ", "), ctl_ast_print_expr(s->dims[1], out);
        ctl_text_add(out, "]");
        if (s->init) ctl_text_add(out, " init "), ctl_ast_print_expr(s->init, out);
        break;
    case STMT_EDGE:
    case STMT_VALUE:
    case STMT_SERIES:
    case STMT_TILDE:
        ctl_ast_print_path(&s->paths[0], out);
        ctl_text_add(out, "%s", arrows[s->kind]);
        ctl_ast_print_expr(s->value, out);
        break;
    case STMT_INSTANCE:
        ctl_ast_print_expr(s->value, out);
        break;
    case STMT_FOR:
        ctl_text_add(out, "for %s in ", s->name);
        ctl_ast_print_expr(s->lo, out);
        ctl_text_add(out, "..");
        ctl_ast_print_expr(s->hi, out);
        ctl_text_add(out, " ");
        print_block(&s->body, indent, out);
        break;
    case STMT_IF:
        ctl_text_add(out, "if ");
        ctl_ast_print_expr(s->value, out);
        ctl_text_add(out, " ");
        print_block(&s->body, indent, out);
        if (s->orelse.n == 1 && s->orelse.at[0]->kind == STMT_IF) {
            ctl_text_add(out, " else ");
            print_stmt(s->orelse.at[0], indent, out);
        } else if (s->orelse.n) {
            ctl_text_add(out, " else ");
            print_block(&s->orelse, indent, out);
        }
        break;
    case STMT_TRAIN:
    case STMT_FREEZE:
        ctl_text_add(out, s->kind == STMT_TRAIN ? "train " : "freeze ");
        print_paths(s->paths, s->npaths, out);
        break;
    }
}

static void print_parameters(const ctl_parameter *at, size_t n, ctl_text *out) {
    for (size_t i = 0; i < n; i++) {
        ctl_text_add(out, "%s%s", i ? ", " : "", at[i].name);
        if (at[i].kind) ctl_text_add(out, ": %s%s", at[i].kind, at[i].per_sequence ? " per sequence" : "");
        if (at[i].default_value) ctl_text_add(out, " = "), ctl_ast_print_expr(at[i].default_value, out);
    }
}

static void print_setting(const ctl_setting *s, ctl_text *out) {
    if (s->call) {
        ctl_ast_print_expr(s->call, out);
    } else if (strcmp(s->name, "store") == 0) {
        ctl_text_add(out, "store ");
        print_paths(s->paths, s->npaths, out);
        ctl_text_add(out, " as %s", s->word);
    } else if (strcmp(s->name, "memory") == 0) {
        static const struct {
            const char *name;
            double bytes;
        } units[] = {{"GiB", 1073741824.0}, {"MiB", 1048576.0}, {"KiB", 1024.0}, {"B", 1.0}};
        double bytes = s->values[0]->number;
        size_t u = 0;
        while (bytes == 0 || fmod(bytes, units[u].bytes) != 0)
            if (++u + 1 == CTL_COUNT(units)) break;
        ctl_text_add(out, "memory %.0f %s", bytes / units[u].bytes, units[u].name);
    } else {
        ctl_text_add(out, "%s", s->name);
        for (size_t i = 0; i < s->nvalues; i++) {
            ctl_text_add(out, i ? " x " : " ");
            ctl_ast_print_expr(s->values[i], out);
        }
        if (s->word) ctl_text_add(out, " %s", s->word);
    }
}

static void print_tune(const ctl_decl *d, ctl_text *out) {
    ctl_text_add(out, "tune ");
    if (d->name) ctl_text_add(out, "%s = ", d->name);
    ctl_ast_print_path(&d->target, out);
    for (size_t i = 0; i < d->ncontrols; i++) {
        ctl_text_add(out, i ? ", " : " with ");
        print_call(d->controls[i], "", out);
    }
    if (d->nsettings == 0) return;
    ctl_text_add(out, " {\n");
    for (size_t i = 0; i < d->nsettings; i++) {
        ctl_text_add(out, "    ");
        print_setting(&d->settings[i], out);
        ctl_text_add(out, "\n");
    }
    ctl_text_add(out, "}");
}

void ctl_ast_print_decl(const ctl_decl *d, ctl_text *out) {
    switch (d->kind) {
    case DECL_IMPORT:
        ctl_text_add(out, "import %s", d->name);
        break;
    case DECL_FN:
        ctl_text_add(out, "fn %s(", d->name);
        print_parameters(d->inputs, d->ninputs, out);
        ctl_text_add(out, ") = ");
        ctl_ast_print_expr(d->value, out);
        break;
    case DECL_NET:
        ctl_text_add(out, "net %s(", d->name);
        print_parameters(d->inputs, d->ninputs, out);
        if (d->nparams) ctl_text_add(out, "; ");
        print_parameters(d->params, d->nparams, out);
        ctl_text_add(out, ") -> ");
        print_parameters(d->outputs, d->noutputs, out);
        ctl_text_add(out, " ");
        print_block(&d->body, 0, out);
        break;
    case DECL_CONTROL:
        ctl_text_add(out, "control %s(", d->name);
        print_parameters(d->params, d->nparams, out);
        ctl_text_add(out, ") on ");
        ctl_ast_print_path(&d->target, out);
        ctl_text_add(out, " ");
        print_block(&d->body, 0, out);
        break;
    case DECL_MODEL:
        ctl_text_add(out, "model %s = ", d->name);
        ctl_ast_print_expr(d->value, out);
        break;
    case DECL_TUNE:
        print_tune(d, out);
        break;
    }
    ctl_text_add(out, "\n");
}

void ctl_ast_print(const ctl_ast_module *module, ctl_text *out) {
    for (size_t i = 0; i < module->ndecls; i++) ctl_ast_print_decl(module->decls[i], out);
}
