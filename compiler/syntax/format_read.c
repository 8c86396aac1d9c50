/* format_read: a source as lines of tokens with the comments between them.
 *
 * Tokens come from the line filter, as the grammar sees them, so that what is one line here is one there. Whatever lies
 * between two tokens is space, `;` that ended a line, and comments. Within a line a comment is kept with a token behind
 * which the line may be broken: it moves on to the next one.
 *
 * A word is a keyword where the grammar has one, which its neighbours tell: a name never follows an operand, and at the
 * beginning of a line it is never followed by another word. */
#include <ctype.h>

#include "compiler/syntax/format.h"
#include "ctl_grammar.h"

typedef struct reader {
    ctl_parser *p;
    ctl_format_lines *lines;
    CTL_VEC(ctl_piece) pieces; /* of the line being read */
    bool blank;                /* before that line */
    ctl_notes gap;             /* comments since the last token */
    bool gap_blank;            /* a blank line stands between the last of them and the next token */
} reader;

static bool is_word(const ctl_piece *t) { return isalpha((unsigned char)t->text[0]) || t->text[0] == '_'; }

static bool is_operand(const ctl_piece *t) {
    return t->role == ROLE_OPERAND || t->kind == ')' || t->kind == ']' || t->kind == '}';
}

bool ctl_format_opens(const ctl_format_line *line) { return line->n && line->at[line->n - 1].kind == '{'; }

/* ---- comments ---- */
static size_t column_of(const char *text, size_t at) {
    size_t column = 0;
    while (at > column && text[at - column - 1] != '\n') column++;
    return column;
}

static void read_gap(reader *r, size_t begin, size_t end) {
    const char *text = r->p->text;
    int newlines = 0;
    size_t column = 0;
    r->gap.n = 0;
    for (size_t i = begin; i < end; i++) {
        newlines += text[i] == '\n';
        if (text[i] != '#') continue;
        size_t n = 0, own = column_of(text, i);
        while (i + n < end && text[i + n] != '\n') n++;
        ctl_note note = {.text = text + i, .n = n, .blank = newlines > 1, .behind = newlines == 0 && begin > 0};
        if (r->gap.n && newlines == 1 && own == column) {
            const ctl_note *above = &r->gap.at[r->gap.n - 1];
            note.continues = above->behind || above->continues;
        }
        while (isspace((unsigned char)text[i + note.n - 1])) note.n--;
        CTL_PUSH(r->p->arena, &r->gap, note);
        i += n - 1, newlines = 0, column = own;
    }
    r->gap_blank = newlines > 1;
}

static void push_note_line(reader *r, ctl_note note) {
    note.behind = note.continues = false;
    CTL_PUSH(r->p->arena, r->lines, (ctl_format_line){.note = note, .blank = note.blank});
}

/* May the line be broken behind token i, and would we? */
static bool may_break(const ctl_piece *at, size_t n, size_t i) {
    int next = i + 1 < n ? at[i + 1].kind : 0;
    if (next == ')' || next == ']' || next == '}') return true;
    switch (at[i].kind) {
    case '(':
        return next != ';'; /* `f(;` stays together */
    case '[':
    case DOTBRACE:
    case ',':
    case ';':
    case '=':
    case '~':
    case LARROW:
    case SERIES:
        return true;
    default:
        return at[i].role == ROLE_BINARY;
    }
}

/* Moves comments on to where the line may break; one alone can stand behind a token, as it ends the line. */
static void settle_notes(ctl_arena *arena, ctl_piece *at, size_t n) {
    for (size_t i = 0; i < n; i++) {
        ctl_notes *notes = &at[i].notes;
        if (notes->n && i + 1 < n && !may_break(at, n, i)) {
            ctl_notes moved = *notes;
            for (size_t k = 0; k < at[i + 1].notes.n; k++) CTL_PUSH(arena, &moved, at[i + 1].notes.at[k]);
            at[i + 1].notes = moved;
            *notes = (ctl_notes){0};
        }
        for (size_t k = 0; k < notes->n; k++) {
            ctl_note *note = &notes->at[k];
            note->behind = note->behind && k == 0;
            note->continues = note->continues && k && (note[-1].behind || note[-1].continues);
        }
    }
}

/* ---- tokens ---- */
static ctl_role role_of(const ctl_piece *at, size_t n, size_t i) {
    const ctl_piece *t = &at[i];
    bool after_operand = i && is_operand(&at[i - 1]);
    switch (t->kind) {
    case AND:
    case OR:
    case '<':
    case '>':
    case LE:
    case GE:
    case EQ:
    case NE:
    case '+':
    case '/':
    case '%':
    case '@':
    case '^':
        return ROLE_BINARY;
    case '-':
        return after_operand ? ROLE_BINARY : ROLE_UNARY;
    case '*':
        return after_operand ? ROLE_BINARY : ROLE_OTHER;
    case NUMBER:
    case SIZES:
    case DEEP:
        return ROLE_OPERAND;
    case ELSE:
    case NOT:
        return ROLE_KEYWORD;
    default:
        break;
    }
    if (!is_word(t)) return ROLE_OTHER;
    if (i == 0 || (t->kind == IF && at[i - 1].kind == ELSE)) {
        const ctl_piece *next = i + 1 < n ? &at[i + 1] : NULL;
        bool block = (t->kind == IF || t->kind == FOR) && at[n - 1].kind == '{';
        bool followed = next && (is_word(next) || next->kind == NUMBER || next->kind == SIZES || next->kind == DEEP);
        return block || followed ? ROLE_KEYWORD : ROLE_OPERAND;
    }
    return after_operand ? ROLE_KEYWORD : ROLE_OPERAND;
}

static bool space_before(const ctl_piece *at, size_t i, size_t depth) {
    const ctl_piece *t = &at[i], *before = &at[i - 1];
    switch (before->kind) {
    case '(':
    case '[':
    case '.':
    case DOTBRACE:
        return false;
    case ',':
    case ';':
    case ':':
        return true;
    default:
        break;
    }
    if (before->kind == DOTDOT || before->role == ROLE_UNARY) return false;
    switch (t->kind) {
    case ')':
    case ']':
    case '}':
    case ',':
    case ';':
    case '.':
    case DOTBRACE:
    case DOTDOT:
        return false;
    case ':': /* of a weight's shape, else a label's or an input's */
        return depth == 0 && at[0].kind == WEIGHT && at[0].role == ROLE_KEYWORD;
    case '(':
    case '[':
        return !is_operand(before);
    default:
        return true;
    }
}

/* Roles, brackets, spaces and columns of a whole line. */
static void settle(reader *r) {
    ctl_arena *arena = r->p->arena;
    ctl_piece *at = r->pieces.at;
    size_t n = r->pieces.n, open[CTL_MOST_NESTING], depth = 0;
    for (size_t i = 0; i < n; i++) at[i].role = role_of(at, n, i);
    settle_notes(arena, at, n);
    for (size_t i = 0; i < n; i++) {
        at[i].partner = i;
        bool closes = at[i].kind == ')' || at[i].kind == ']' || (at[i].kind == '}' && i);
        if (closes && depth) {
            size_t other = open[--depth];
            at[i].partner = other, at[other].partner = i;
        }
        at[i].space = i && space_before(at, i, depth);
        if (i) {
            at[i].column = at[i - 1].column + at[i - 1].n + at[i].space;
            at[i].nnotes = at[i - 1].nnotes + at[i - 1].notes.n;
        }
        if ((at[i].kind == '(' || at[i].kind == '[' || at[i].kind == DOTBRACE) && depth < CTL_MOST_NESTING)
            open[depth++] = i;
    }
}

static void end_line(reader *r) {
    if (r->pieces.n == 0) return;
    settle(r);
    CTL_PUSH(r->p->arena, r->lines, (ctl_format_line){.at = r->pieces.at, .n = r->pieces.n, .blank = r->blank});
    memset(&r->pieces, 0, sizeof r->pieces);
}

/* The comments between two lines: the first may stand behind the one above, with those that go on with it. */
static void notes_between(reader *r) {
    size_t k = 0;
    if (r->pieces.n) {
        ctl_notes *notes = &r->pieces.at[r->pieces.n - 1].notes;
        for (; k < r->gap.n && (r->gap.at[k].behind || r->gap.at[k].continues); k++)
            CTL_PUSH(r->p->arena, notes, r->gap.at[k]);
    }
    end_line(r);
    for (; k < r->gap.n; k++) push_note_line(r, r->gap.at[k]);
    r->blank = r->gap_blank;
}

static ctl_piece piece_of(reader *r, int kind, ctl_span span) {
    ctl_piece t = {.kind = kind, .text = r->p->text + span.begin, .n = span.end - span.begin};
    if (kind == SIZES) { /* `8x128` */
        size_t x = (size_t)((const char *)memchr(t.text, 'x', t.n) - t.text);
        t.text = ctl_format(r->p->arena, "%.*s x %.*s", (int)x, t.text, (int)(t.n - x - 1), t.text + x + 1);
        t.n += 2;
    }
    return t;
}

void ctl_format_read(ctl_parser *p, ctl_format_lines *lines) {
    reader r = {.p = p, .lines = lines};
    CTL_YYSTYPE value;
    ctl_span span;
    size_t end = 0;
    bool ended = true; /* the next token begins a line */
    int kind;
    do {
        kind = ctl_yylex(&value, &span, p);
        if (kind == NEWLINE) {
            ended = true;
            continue;
        }
        if (kind == TUNE_BRACE) kind = '{';
        read_gap(&r, end, span.begin);
        if (ended || kind == END) notes_between(&r);
        else
            for (size_t k = 0; k < r.gap.n; k++)
                CTL_PUSH(p->arena, &r.pieces.at[r.pieces.n - 1].notes, r.gap.at[k]);
        if (kind != END) CTL_PUSH(p->arena, &r.pieces, piece_of(&r, kind, span));
        end = span.end;
        /* The brace of a block ends a line, and its partner begins one. */
        ended = kind == '{';
    } while (kind != END);
}
