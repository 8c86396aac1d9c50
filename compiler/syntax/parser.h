/* parser: what the lexer, the line filter, the grammar and the tree's builder share while one source is parsed.
 *
 * The parts, in the order in which a source flows through them:
 *   grammar/ctl.l   characters to raw tokens
 *   lines.c         raw tokens to tokens: decides which newlines end a line, follows the brackets
 *   grammar/ctl.y   tokens to calls of the builder
 *   build.c         nodes of ast.h
 *   expected.c      what to say when a token does not fit, and which hint
 * parse.c drives them. Everything is in the arena; a failing allocation leaves by the arena's longjmp. */
#ifndef CTL_PARSER_H
#define CTL_PARSER_H

#include "compiler/syntax/ast.h"

enum { CTL_MOST_SOURCE = 16 << 20, CTL_MOST_NESTING = 200 };

/* Lists under construction. */
typedef CTL_VEC(ctl_expr *) ctl_exprs;
typedef CTL_VEC(ctl_named_arg) ctl_named_args;
typedef CTL_VEC(ctl_segment) ctl_segments;
typedef CTL_VEC(ctl_path) ctl_paths;
typedef CTL_VEC(ctl_stmt *) ctl_stmts;
typedef CTL_VEC(ctl_parameter) ctl_parameters;
typedef CTL_VEC(ctl_setting) ctl_settings;

typedef struct ctl_args { /* what stands between a call's parentheses */
    ctl_exprs list;
    ctl_named_args named;
    bool rest;
} ctl_args;

typedef struct ctl_signature { /* what stands between a declaration's parentheses */
    ctl_parameters *inputs, *params;
} ctl_signature;

typedef struct ctl_number {
    double value, second; /* second: of `16x1024` */
    bool is_int;
} ctl_number;

typedef struct ctl_bracket {
    char kind; /* ( [ { or p: the brace of a path's alternatives */
    bool semicolon; /* a ; was seen directly inside */
    ctl_span span;
} ctl_bracket;

typedef struct ctl_token {
    int kind; /* as the grammar numbers them; 0 at the end */
    ctl_span span;
    const char *name; /* of names and keywords */
    bool first;       /* nothing but space stands before it on its line */
} ctl_token;

typedef struct ctl_parser {
    ctl_arena *arena;
    ctl_sink *sink;
    uint32_t file;
    const char *text;
    size_t size;
    void *scanner;  /* flex's */
    size_t scanned; /* bytes that the lexer has passed */

    ctl_bracket open[CTL_MOST_NESTING];
    int nopen;
    ctl_token held; /* the token behind a line end that is handed out first; kind -1: none */
    union CTL_YYSTYPE *held_value;
    ctl_token last, before, line; /* the latest token handed out, the one before it, the first of its line */
    bool arrow;                   /* the line has an arrow */
    bool in_tune;                 /* in a tune block's braces */
    bool stopped;                 /* nested too deeply: the rest is not read */
    bool too_deep;                /* has been said */
    bool bad_line;                /* a character of this line has been reported */

    CTL_VEC(ctl_decl *) decls;
} ctl_parser;

/* At the beginning of source number `file` of the sink. */
ctl_parser *ctl_parser_open(ctl_arena *arena, ctl_sink *sink, uint32_t file);

/* ---- build.c ---- */
ctl_expr *ctl_build_number(ctl_parser *p, ctl_span span, ctl_number number);
ctl_expr *ctl_build_path_expr(ctl_parser *p, ctl_span span, ctl_segments *path);
ctl_expr *ctl_build_unary(ctl_parser *p, ctl_span span, int op, ctl_expr *a);
ctl_expr *ctl_build_binary(ctl_parser *p, ctl_span span, ctl_binary op, ctl_expr *a, ctl_expr *b);
ctl_expr *ctl_build_range(ctl_parser *p, ctl_span span, ctl_expr *a, ctl_expr *b);
/* label may be NULL. The callee's path must be names only; otherwise an error is reported. */
ctl_expr *ctl_build_call(ctl_parser *p, ctl_span span, ctl_segments *label, ctl_segments *callee, ctl_args *args);
ctl_segments *ctl_build_segment(ctl_parser *p, ctl_segments *path, ctl_segment segment);
ctl_segment ctl_build_braces(ctl_span span, ctl_paths *choices);
ctl_path ctl_build_path(ctl_segments *path);
ctl_stmt *ctl_build_stmt(ctl_parser *p, ctl_span span, ctl_stmt_kind kind, ctl_segments *path, ctl_expr *value);
ctl_stmt *ctl_build_weight(ctl_parser *p, ctl_span span, ctl_paths *paths, ctl_expr *rows, ctl_expr *cols,
                           ctl_expr *init);
ctl_stmt *ctl_build_for(ctl_parser *p, ctl_span span, const char *name, ctl_expr *lo, ctl_expr *hi, ctl_stmts *body);
ctl_stmt *ctl_build_if(ctl_parser *p, ctl_span span, ctl_expr *cond, ctl_stmts *body, ctl_stmts *orelse);
ctl_stmt *ctl_build_paths(ctl_parser *p, ctl_span span, ctl_stmt_kind kind, ctl_paths *paths);
ctl_parameter ctl_build_parameter(ctl_span span, const char *name, const char *kind, ctl_expr *value);
ctl_decl *ctl_build_decl(ctl_parser *p, ctl_span span, ctl_decl_kind kind, ctl_span name_span, const char *name);
ctl_block ctl_build_block(ctl_stmts *stmts);
/* `tokens 16x1024`, `tokens 16 x 1024`, `tokens 16384 packed`: second is 0 where there is none. */
ctl_setting ctl_build_tokens(ctl_parser *p, ctl_span span, ctl_number first, ctl_number second, const char *word);
ctl_setting ctl_build_memory(ctl_parser *p, ctl_span span, ctl_number number, ctl_span unit_span, const char *unit);
ctl_setting ctl_build_store(ctl_span span, ctl_paths *paths, const char *word);
ctl_setting ctl_build_call_setting(ctl_span span, ctl_expr *call);
#define CTL_LIST(p, T) CTL_NEW((p)->arena, T)

/* ---- the lexer, the filter, the messages ---- */
/* A raw token; newlines come as NEWLINE, the end as 0. A character that the language does not have is reported, one a
 * line, and comes as bison's error token, which makes it pass over the line in silence. */
int ctl_scan_token(ctl_parser *p, union CTL_YYSTYPE *value, ctl_span *span);
void ctl_scan_open(ctl_parser *p); /* the scanner lives in the arena and needs no closing */
/* Forgets the parentheses and brackets that a broken line left open. */
void ctl_lines_forget(ctl_parser *p);
/* Says that the latest token does not fit. expected: the grammar's names of those that would. */
void ctl_expected_report(ctl_parser *p, const char *const *expected, int n);
/* Says once that the source nests too deeply. */
void ctl_expected_too_deep(ctl_parser *p, ctl_span span, const char *what);

#endif
