/* ast: the syntax tree of a .ctl file, as the parser builds it and the elaborator reads it.
 *
 * Everything lives in the compilation's arena; names are NUL-terminated. Every node has the span it came from. One
 * kind of path serves expressions, targets of statements and patterns: `self_attn.{q, k}.weight`, `layers[*].y`,
 * `s[i + 1]`, `**.bias`. Where a pattern makes no sense, the elaborator says so. */
#ifndef CTL_AST_H
#define CTL_AST_H

#include "base/diag.h"

typedef struct ctl_expr ctl_expr;
typedef struct ctl_stmt ctl_stmt;

typedef enum ctl_segment_kind {
    SEG_NAME,   /* x, .x */
    SEG_INDEX,  /* [expr] */
    SEG_STAR,   /* [*] */
    SEG_BRACES, /* .{a, b.c}: every alternative is a path of its own */
    SEG_DEEP    /* ** */
} ctl_segment_kind;

typedef struct ctl_path ctl_path;
typedef struct ctl_segment {
    ctl_segment_kind kind;
    ctl_span span;
    const char *name;     /* SEG_NAME */
    ctl_expr *index;      /* SEG_INDEX */
    ctl_path *choices;    /* SEG_BRACES */
    size_t nchoices;
} ctl_segment;
struct ctl_path {
    ctl_span span;
    ctl_segment *seg;
    size_t n; /* 0: absent (a label that was not written) */
};

typedef enum ctl_expr_kind {
    EXPR_NUMBER, /* number; is_int when written without point, exponent or unit fraction */
    EXPR_PATH,   /* path: names, members, indices; `.T` is an ordinary last segment (behind a call or ): EXPR_UNARY) */
    EXPR_CALL,   /* [label:] callee(args; named, ..) */
    EXPR_UNARY,  /* op is '-', 'n' (not) or 'T' (the transpose of a call or of what stands in parentheses) */
    EXPR_BINARY, /* op below */
    EXPR_RANGE   /* a..b, only as an argument */
} ctl_expr_kind;

typedef enum ctl_binary {
    BIN_ADD, BIN_SUB, BIN_MUL, BIN_DIV, BIN_MOD, BIN_MATMUL, BIN_POW,
    BIN_LT, BIN_LE, BIN_GT, BIN_GE, BIN_EQ, BIN_NE, BIN_AND, BIN_OR
} ctl_binary;

typedef struct ctl_named_arg {
    ctl_span span;
    const char *name;
    ctl_expr *value; /* NULL: `rank` alone, which is `rank = rank` */
} ctl_named_arg;

/* The parser keeps every tree at most CTL_MOST_DEPTH levels high, so walking one by recursion is safe. */
enum { CTL_MOST_DEPTH = 1000 };

struct ctl_expr {
    ctl_expr_kind kind;
    int depth; /* levels of expressions from here down, this one included */
    ctl_span span;
    double number;
    bool is_int;
    ctl_path path;  /* EXPR_PATH; EXPR_CALL: the callee (names only, e.g. control.lora) */
    ctl_path label; /* EXPR_CALL: n = 0 when there is none */
    ctl_expr **args; /* EXPR_CALL: by position (before the `;`) */
    size_t nargs;
    ctl_named_arg *named; /* EXPR_CALL: after the `;` */
    size_t nnamed;
    bool rest;      /* EXPR_CALL: `..` stands among the named ones */
    int op;         /* EXPR_UNARY, EXPR_BINARY */
    ctl_expr *a, *b; /* operands; EXPR_RANGE: begin and end */
};

typedef struct ctl_block {
    ctl_stmt **at;
    size_t n;
} ctl_block;

typedef enum ctl_stmt_kind {
    STMT_WEIGHT, /* weight p, q : [r, c] init e         paths, dims (1 or 2), value (NULL: none) */
    STMT_EDGE,   /* p <- e                              paths[0], value */
    STMT_VALUE,  /* p = e                               paths[0], value */
    STMT_SERIES, /* p => label: g(; ..)                 paths[0], value (EXPR_CALL) */
    STMT_TILDE,  /* p ~ label: g(..; ..)                paths[0], value (EXPR_CALL) */
    STMT_INSTANCE, /* label: g(..)  on a line of its own: value (EXPR_CALL) */
    STMT_FOR,    /* for name in lo..hi { body } */
    STMT_IF,     /* if cond { body } else { orelse } */
    STMT_TRAIN,  /* train paths */
    STMT_FREEZE  /* freeze paths */
} ctl_stmt_kind;

struct ctl_stmt {
    ctl_stmt_kind kind;
    ctl_span span;
    ctl_path *paths;
    size_t npaths;
    ctl_expr *dims[2];
    int ndims;
    ctl_expr *value; /* also: the condition of STMT_IF */
    ctl_expr *init;  /* STMT_WEIGHT: after `init`; a name alone (`eye`) is an EXPR_PATH */
    const char *name;
    ctl_expr *lo, *hi;
    ctl_block body, orelse;
};

typedef struct ctl_parameter { /* of a net, function or control; an input of a net has kind or NULL */
    ctl_span span;
    const char *name;
    const char *kind;        /* inputs: "id" in `ids: id`, NULL for a state */
    bool per_sequence;       /* inputs: `label: id per sequence` */
    ctl_expr *default_value; /* NULL: required */
} ctl_parameter;

typedef struct ctl_setting { /* a line of a tune block: `tokens 16 x 1024`, `memory 24 GiB`, `adamw(; lr = 1e-4)` */
    ctl_span span;
    const char *name;    /* tokens, compute, store, memory, or the callee of a call */
    ctl_expr *call;      /* NULL unless the line is a call */
    ctl_expr **values;   /* numbers: tokens' one or two; memory's bytes with the unit applied */
    size_t nvalues;
    const char *word;    /* compute's dtype, store's format, "packed" after tokens */
    ctl_path *paths;     /* store's */
    size_t npaths;
} ctl_setting;

typedef enum ctl_decl_kind { DECL_IMPORT, DECL_FN, DECL_NET, DECL_CONTROL, DECL_MODEL, DECL_TUNE } ctl_decl_kind;

typedef struct ctl_decl {
    ctl_decl_kind kind;
    ctl_span span, name_span;
    const char *name;      /* IMPORT: the module; TUNE: its own name or NULL (`tune quick = m with ...`) */
    ctl_parameter *inputs; /* NET: before the `;`; FN: its arguments */
    size_t ninputs;
    ctl_parameter *params; /* NET: after the `;`; CONTROL: all of them */
    size_t nparams;
    ctl_parameter *outputs; /* NET: after `->` */
    size_t noutputs;
    ctl_path target;       /* CONTROL: `on PATH`; TUNE: the model */
    ctl_block body;        /* NET, CONTROL */
    ctl_expr *value;       /* FN: the expression; MODEL: the call */
    ctl_expr **controls;   /* TUNE: `with` a(..), b(..): calls */
    size_t ncontrols;
    ctl_setting *settings; /* TUNE */
    size_t nsettings;
} ctl_decl;

typedef struct ctl_ast_module {
    const char *name; /* "llama", or the main file's */
    uint32_t file;
    ctl_decl **decls;
    size_t ndecls;
} ctl_ast_module;

/* Parses source number `file` of the sink. Errors go to the sink (several in one run, with recovery at line ends and
 * closing braces); what could be read is returned all the same. Never NULL. */
ctl_ast_module *ctl_parse(ctl_arena *arena, ctl_sink *sink, uint32_t file, const char *name);

#endif
