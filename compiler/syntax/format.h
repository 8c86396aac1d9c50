/* format: a source in its one form, token by token.
 *
 *   format_read.c  tokens and comments to lines; what stands between which tokens
 *   format_lay.c   one line of the language to lines of text, broken where it is too long
 *   format.c       indentation, blank lines, the column of comments; the check of what came out
 *
 * The tokens and the comments of a source are never changed, and neither is their order, but that a comment within a
 * line moves behind the next operator, comma or bracket, where a line may break. What decides is the tokens and the comments
 * alone, not how the author broke lines, so formatting twice gives the same text as formatting once. */
#ifndef CTL_FORMAT_H
#define CTL_FORMAT_H

#include "compiler/syntax/parser.h"

/* Source number `file` of the sink, formatted. CTL_ERR_INPUT when the source has errors, CTL_ERR_INTERNAL when what came
 * out does not say what went in: a defect of the formatter. Both have been reported. */
ctl_status ctl_format_source(ctl_arena *arena, ctl_sink *sink, uint32_t file, ctl_text *out);

/* ---- between the formatter's files ---- */
enum {
    CTL_FORMAT_WIDTH = 128,  /* of a line without its comment */
    CTL_FORMAT_COMMENT = 51, /* columns before a comment behind text, unless the text is longer */
    CTL_FORMAT_INDENT = 4
};

typedef struct ctl_note { /* a comment */
    const char *text;     /* with its #, without the space at its end */
    size_t n;
    bool behind;    /* stands behind a token on the same line */
    bool continues; /* goes on with the comment in the line above, under which it stands */
    bool blank;     /* a blank line stands before it */
} ctl_note;
typedef CTL_VEC(ctl_note) ctl_notes;

typedef enum ctl_role {
    ROLE_OTHER,
    ROLE_OPERAND, /* a name, a number: what an operand ends in */
    ROLE_KEYWORD,
    ROLE_BINARY,
    ROLE_UNARY
} ctl_role;

typedef struct ctl_piece { /* a token of a line */
    int kind;              /* as the grammar numbers them */
    ctl_role role;
    const char *text;
    size_t n;
    bool space;      /* before it, within a line */
    size_t partner;  /* of a bracket within the line: the other one; else its own index */
    size_t column;   /* of its first character, were the line in one piece */
    size_t nnotes;   /* comments behind the tokens before it, all in all */
    ctl_notes notes; /* comments behind it */
} ctl_piece;

typedef struct ctl_format_line { /* a line of the language, or (n = 0) a comment on a line of its own */
    ctl_piece *at;
    size_t n;
    ctl_note note;
    bool blank; /* a blank line stands before it */
} ctl_format_line;
typedef CTL_VEC(ctl_format_line) ctl_format_lines;

typedef struct ctl_row { /* a line of text */
    size_t indent;
    const char *text; /* NULL: the comment alone */
    size_t n;
    ctl_note note; /* text NULL: none */
    bool blank;
} ctl_row;
typedef CTL_VEC(ctl_row) ctl_rows;

void ctl_format_read(ctl_parser *p, ctl_format_lines *lines);
bool ctl_format_opens(const ctl_format_line *line); /* does it end in the brace of a block? */
/* Appends the line at an indentation; the comments behind its last token stand at `after`. */
void ctl_format_lay(ctl_arena *arena, const ctl_format_line *line, size_t indent, size_t after, ctl_rows *rows);

#endif
