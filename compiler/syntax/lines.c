/* lines: decides which newlines end a line, between the lexer and the grammar.
 *
 * A newline ends a line outside ( ) [ ] and the braces of a path, unless the line ends in an operator or a
 * comma. The end of the file and a block's closing brace end a line too, and so does `;` outside brackets:
 * the grammar sees one NEWLINE after each statement, never two in a row, none around an opening brace and
 * none before `else`. To do so it follows the brackets, which also gives messages the place of one that was
 * not closed. */
#include "compiler/syntax/parser.h"
#include "ctl_grammar.h"

static bool goes_on_after(int token) {
    switch (token) {
    case '+':
    case '-':
    case '*':
    case '/':
    case '%':
    case '@':
    case '^':
    case '<':
    case '>':
    case LE:
    case GE:
    case EQ:
    case NE:
    case AND:
    case OR:
    case NOT:
    case LARROW:
    case RARROW:
    case SERIES:
    case DOTDOT:
    case '=':
    case '~':
    case ':':
    case ',':
    case '.':
        return true;
    default:
        return false;
    }
}

static char top(const ctl_parser *p) {
    return p->nopen ? p->open[p->nopen - 1].kind : '{';
}

void ctl_lines_forget(ctl_parser *p) {
    while (top(p) != '{') p->nopen--;
}

static void open_bracket(ctl_parser *p, char kind, ctl_span span) {
    if (kind == '{') {
        ctl_lines_forget(p); /* no block stands in parentheses: one was not closed */
        if (p->nopen == 0) p->in_tune = p->line.kind == TUNE;
    }
    if (p->nopen == CTL_MOST_NESTING) {
        ctl_expected_too_deep(p, span, "this bracket");
        p->stopped = true;
        return;
    }
    p->open[p->nopen++] = (ctl_bracket){kind, false, span};
}

/* Closes the nearest bracket of a kind, with what was left open inside, but never beyond a block's brace. */
static void close_bracket(ctl_parser *p, char kind) {
    for (int i = p->nopen - 1; i >= 0; i--) {
        if (p->open[i].kind == kind || (kind == '{' && p->open[i].kind == 'p')) {
            p->nopen = i;
            return;
        }
        if (p->open[i].kind == '{') return;
    }
}

static void follow_brackets(ctl_parser *p, int token, ctl_span span) {
    switch (token) {
    case '(':
    case '[':
    case '{':
        open_bracket(p, (char)token, span);
        break;
    case DOTBRACE:
        open_bracket(p, 'p', span);
        break;
    case ')':
        close_bracket(p, '(');
        break;
    case ']':
        close_bracket(p, '[');
        break;
    case '}':
        close_bracket(p, '{');
        break;
    case ';':
        if (p->nopen) p->open[p->nopen - 1].semicolon = true;
        break;
    default:
        break;
    }
}

static int hand_out(ctl_parser *p, ctl_token token) {
    bool begins = p->last.kind == NEWLINE || p->last.kind == '{' || p->last.kind == -1;
    follow_brackets(p, token.kind, token.span);
    p->before = p->last, p->last = token;
    if (begins) p->line = token, p->arrow = false;
    if (token.kind == LARROW) p->arrow = true;
    if (p->stopped) return END;
    return token.kind == '{' && p->in_tune && p->nopen == 1 ? TUNE_BRACE : token.kind;
}

int ctl_yylex(CTL_YYSTYPE *value, ctl_span *span, ctl_parser *p) {
    if (p->stopped) return END;
    ctl_token token = p->held;
    if (token.kind >= 0) {
        *value = *p->held_value, *span = token.span;
        p->held.kind = -1;
        return hand_out(p, token);
    }
    ctl_span line_end = {p->file, 0, 0};
    token = (ctl_token){.first = p->last.kind == -1};
    while ((token.kind = ctl_scan_token(p, value, &token.span)) == NEWLINE) {
        if (!token.first) line_end = token.span;
        token.first = true;
    }
    /* All of the value's members that are no number are names: of NAME and the keywords. */
    if (token.kind >= NAME && token.kind <= MEMORY && token.kind != NUMBER && token.kind != SIZES)
        token.name = value->name;
    bool inside = top(p) != '{', closes = token.kind == '}' && top(p) != 'p', end = token.kind == END;
    bool newline = token.first || closes || end || (token.kind == ';' && !inside);
    bool line_open = p->last.kind != NEWLINE && p->last.kind != '{' && p->last.kind != -1;
    if (newline && line_open && (!inside || closes || end) &&
        (!goes_on_after(p->last.kind) || closes || end) && token.kind != '{' &&
        !(p->last.kind == '}' && token.kind == ELSE)) {
        if (inside) ctl_lines_forget(p);
        if (!token.first) line_end = token.span;
        ctl_token eol = {NEWLINE, line_end, NULL, false};
        if (token.kind != ';') p->held = token, *p->held_value = *value;
        *span = eol.span;
        return hand_out(p, eol);
    }
    if (token.kind == ';' && !inside) return ctl_yylex(value, span, p); /* an empty line */
    *span = token.span;
    return hand_out(p, token);
}
