/* format_lay: one line of the language as one line of text, or as several where it is too long or has comments within.
 *
 * A stretch of tokens that fits is written as it is. One that does not is broken at its weakest place outside of
 * brackets: commas, then behind the arrow, then behind the operators that bind least; as many of the parts as fit share a
 * line. Where there is no such place a bracket is opened: what it holds stands on lines of its own, indented, inputs
 * before parameters, and the closing bracket begins the line behind. A comment ends its line wherever it stands. */
#include "compiler/syntax/format.h"
#include "ctl_grammar.h"

typedef struct layer {
    ctl_arena *arena;
    const ctl_piece *at;
    size_t n;
    ctl_text text; /* of the row being written */
    size_t indent;
    ctl_rows *rows;
    size_t last, last_hang; /* the last token of the part being laid, and where the next part would begin */
} layer;

static void push_row(layer *l, ctl_row row) { CTL_PUSH(l->arena, l->rows, row); }

static void end_row(layer *l, size_t indent) {
    if (l->text.n) push_row(l, (ctl_row){.indent = l->indent, .text = l->text.at, .n = l->text.n});
    l->text = (ctl_text){.arena = l->arena};
    l->indent = indent;
}

static void put_notes(layer *l, const ctl_notes *notes, size_t indent) {
    for (size_t k = 0; k < notes->n; k++) {
        const ctl_note *note = &notes->at[k];
        end_row(l, indent);
        if (note->behind && l->rows->n) l->rows->at[l->rows->n - 1].note = *note;
        else push_row(l, (ctl_row){.indent = indent, .note = *note, .blank = note->blank});
    }
}

/* hang: the indentation of what follows, where a comment ends the row. */
static void put(layer *l, size_t i, size_t hang) {
    const ctl_piece *t = &l->at[i];
    if (t->space && l->text.n) ctl_text_put(&l->text, " ", 1);
    ctl_text_put(&l->text, t->text, t->n);
    if (i + 1 < l->n) put_notes(l, &t->notes, i == l->last ? l->last_hang : hang);
}

static void put_all(layer *l, size_t first, size_t end, size_t hang) {
    for (size_t i = first; i < end; i++) put(l, i, hang);
}

static size_t width(const layer *l, size_t first, size_t end) {
    return l->at[end - 1].column + l->at[end - 1].n - l->at[first].column;
}

static bool has_notes(const layer *l, size_t first, size_t end) {
    return end > first && l->at[end - 1].nnotes > l->at[first].nnotes;
}

static bool fits(const layer *l, size_t column, size_t first, size_t end, size_t tail) {
    return !has_notes(l, first, end) && column + width(l, first, end) + tail <= CTL_FORMAT_WIDTH;
}

static size_t column_now(const layer *l, size_t next) { return l->indent + l->text.n + (l->text.n && l->at[next].space); }

/* ---- places to break at ---- */
enum { BREAK_NONE, BREAK_POWER, BREAK_MUL, BREAK_ADD, BREAK_COMPARE, BREAK_AND, BREAK_OR, BREAK_ARROW, BREAK_COMMA };

static int strength(const ctl_piece *t) {
    switch (t->kind) {
    case ',':
        return BREAK_COMMA;
    case LARROW:
    case SERIES:
    case '=':
    case '~':
        return BREAK_ARROW;
    case OR:
        return BREAK_OR;
    case AND:
        return BREAK_AND;
    case '<':
    case '>':
    case LE:
    case GE:
    case EQ:
    case NE:
        return BREAK_COMPARE;
    case '+':
        return BREAK_ADD;
    case '-':
        return t->role == ROLE_BINARY ? BREAK_ADD : BREAK_NONE;
    case '^':
        return BREAK_POWER;
    case '*':
    case '/':
    case '%':
    case '@':
        return t->role == ROLE_BINARY ? BREAK_MUL : BREAK_NONE;
    default:
        return BREAK_NONE;
    }
}

/* The token behind i outside of the brackets that i may open. */
static size_t past(const layer *l, size_t i) { return l->at[i].partner > i ? l->at[i].partner + 1 : i + 1; }

static int weakest(const layer *l, size_t first, size_t end) {
    int found = BREAK_NONE;
    bool results = false; /* `-> y, loss` of a net: rather break the bracket before */
    for (size_t i = first; i + 1 < end; i = past(l, i)) {
        int here = strength(&l->at[i]);
        results = results || l->at[i].kind == RARROW;
        if (here > found && !(results && here == BREAK_COMMA)) found = here;
    }
    return found;
}

/* The bracket to open: the first with a comment in it, else the widest pair of parentheses, else the widest of all. */
static size_t bracket(const layer *l, size_t first, size_t end) {
    size_t found = end, most = 0;
    bool round = false;
    for (size_t i = first; i < end; i = past(l, i)) {
        size_t close = l->at[i].partner;
        if (close <= i) continue;
        if (has_notes(l, i, close + 1)) return i;
        if (close == i + 1 || (round && l->at[i].kind != '(')) continue;
        size_t own = width(l, i, close + 1);
        if (own > most || (!round && l->at[i].kind == '(')) found = i, most = own, round = l->at[i].kind == '(';
    }
    return found;
}

static void lay(layer *l, size_t first, size_t end, size_t hang, size_t tail);

/* Parts that end in a token of one strength: as many to a row as fit. */
static void lay_parts(layer *l, size_t first, size_t end, int at, size_t hang, size_t tail) {
    for (size_t begin = first, next; begin < end; begin = next) {
        for (next = begin; next + 1 < end && strength(&l->at[next]) != at; next = past(l, next)) continue;
        next = next + 1 < end ? next + 1 : end;
        size_t own_tail = next == end ? tail : 0;
        bool breakable = weakest(l, begin, next) != BREAK_NONE || bracket(l, begin, next) < next;
        if (begin > first && l->text.n &&
            !fits(l, column_now(l, begin), begin, next, own_tail) && (fits(l, hang, begin, next, own_tail) || !breakable))
            end_row(l, hang);
        size_t last = l->last, last_hang = l->last_hang;
        if (last != next - 1) l->last = next - 1, l->last_hang = hang; /* else of a larger part, that ends with this one */
        lay(l, begin, next, hang + CTL_FORMAT_INDENT, own_tail);
        l->last = last, l->last_hang = last_hang;
    }
}

static void lay_bracket(layer *l, size_t open) {
    size_t close = l->at[open].partner, base = l->indent, inner = base + CTL_FORMAT_INDENT, first = open + 1;
    put(l, open, inner);
    if (l->at[first].kind == ';' && l->text.n) put(l, first++, inner); /* no inputs: `f(;` */
    end_row(l, inner);
    size_t inputs = first; /* and what follows their semicolon: on rows of their own */
    while (inputs < close && l->at[inputs].kind != ';') inputs = past(l, inputs);
    if (inputs < close) {
        lay(l, first, inputs + 1, inner, 0);
        end_row(l, inner);
        first = inputs + 1;
    }
    if (first < close) lay(l, first, close, inner, 0);
    end_row(l, base);
    put(l, close, base + CTL_FORMAT_INDENT);
}

/* Writes tokens [first, end) from where the row stands; further rows begin at `hang`; `tail` more columns are needed
 * behind. */
static void lay(layer *l, size_t first, size_t end, size_t hang, size_t tail) {
    if (fits(l, column_now(l, first), first, end, tail)) {
        put_all(l, first, end, hang);
        return;
    }
    int at = weakest(l, first, end);
    if (at == BREAK_ARROW) {
        size_t arrow = first;
        while (strength(&l->at[arrow]) != BREAK_ARROW) arrow = past(l, arrow);
        put_all(l, first, arrow + 1, hang);
        lay(l, arrow + 1, end, hang, tail);
    } else if (at != BREAK_NONE) {
        lay_parts(l, first, end, at, hang, tail);
    } else {
        size_t open = bracket(l, first, end);
        put_all(l, first, open, hang);
        if (open == end) return;
        lay_bracket(l, open);
        size_t rest = l->at[open].partner + 1;
        if (rest < end) lay(l, rest, end, hang, tail);
    }
}

void ctl_format_lay(ctl_arena *arena, const ctl_format_line *line, size_t indent, size_t after, ctl_rows *rows) {
    layer l = {.arena = arena, .at = line->at, .n = line->n, .text = {.arena = arena}, .indent = indent, .rows = rows,
               .last = line->n};
    size_t first = rows->n;
    lay(&l, 0, line->n, indent + (ctl_format_opens(line) ? 2 : 1) * CTL_FORMAT_INDENT, 0);
    ctl_notes *notes = &line->at[line->n - 1].notes;
    size_t own = notes->n && notes->at[0].behind; /* the first that stands on a line of its own */
    if (ctl_format_opens(line) && own < notes->n) notes->at[own].blank = false;
    put_notes(&l, notes, after);
    end_row(&l, 0);
    rows->at[first].blank = line->blank;
}
