/* expected: what is said when a token does not fit.
 *
 * The grammar hands over the names of all tokens that would fit. They are put into the words of the language
 * (an expression, a statement, ...), leaving out what could always come (a path goes on with `.` or `[`).
 * Then a list of typical mistakes is tried, each a condition on the tokens around the place; the first that
 * holds gives the hint. */
#include <stdlib.h>

#include "compiler/syntax/parser.h"
#include "ctl_grammar.h"

enum { MOST_LISTED = 6 };

typedef struct expectation {
    const char *const *names;
    int n;
    const char *listed[MOST_LISTED];
    int nlisted;
    bool too_many;
} expectation;

static bool is_any(const char *name, const char *words) {
    size_t n = strlen(name);
    for (const char *at = words; (at = strstr(at, name)) != NULL; at += n)
        if ((at == words || at[-1] == ' ') && (at[n] == ' ' || at[n] == 0)) return true;
    return false;
}

static bool expects(const expectation *e, const char *name) {
    for (int i = 0; i < e->n; i++)
        if (strcmp(e->names[i], name) == 0) return true;
    return false;
}

static void list(expectation *e, const char *text) {
    if (e->nlisted == MOST_LISTED)
        e->too_many = true;
    else
        e->listed[e->nlisted++] = text;
}

static const char keywords[] =
    "import fn net control on model tune with weight init for in if train freeze tokens "
    "compute store as memory";
static const char operators[] = "and or == != <= >= '<' '>' '+' '-' '*' '/' '%' '@' '^'";
static const char always[] = "'.' '[' .{ '(' ':' ** not ..";

static void describe(ctl_parser *p, expectation *e) {
    bool name = expects(e, "a name"), operand_done = expects(e, "'+'");
    bool expression = name && expects(e, "a number") && expects(e, "'('"),
         statement = name && expects(e, "'}'") && expects(e, "weight");
    bool declaration = !name && expects(e, "net") && expects(e, "model");
    if (statement)
        list(e, p->in_tune ? "a setting" : "a statement");
    else if (expression)
        list(e, "an expression");
    else if (name)
        list(e, expects(e, "**") ? "a path" : "a name");
    else if (declaration)
        list(e, "a declaration (import, fn, net, control, model or tune)");
    else if (expects(e, "a number"))
        list(e, "a number");
    for (int i = 0; i < e->n; i++) {
        const char *t = e->names[i];
        if (is_any(t, "number name") || strncmp(t, "a ", 2) == 0) continue;
        if ((name || declaration || expression) && is_any(t, keywords)) continue;
        if (operand_done && is_any(t, operators)) continue;
        if (expression && is_any(t, "'-' '*'")) continue;
        if (is_any(t, always)) continue;
        if (declaration && strcmp(t, "the end of the file") == 0) continue;
        list(e, t);
    }
    if (e->nlisted == 0 && expects(e, "'('")) list(e, "'('");
    for (int i = 0; i < e->n && e->nlisted == 0; i++) /* nothing else would do */
        if (is_any(e->names[i], always)) list(e, e->names[i]);
}

static const char *quoted(ctl_parser *p, const char *name) {
    bool plain = *name == '\'' || strncmp(name, "a ", 2) == 0 || strncmp(name, "an ", 3) == 0 ||
                 strncmp(name, "the ", 4) == 0;
    return plain ? name : ctl_format(p->arena, "'%s'", name);
}

/* What stands in the source, as the user sees it. */
static const char *found_text(ctl_parser *p) {
    ctl_span s = p->last.span;
    if (p->last.kind == END || s.begin >= p->size) return "the end of the file";
    if (p->last.kind == NEWLINE && p->text[s.begin] != '}' && p->text[s.begin] != ';')
        return "the end of the line";
    size_t n = s.end - s.begin;
    return n > 40 ? ctl_format(p->arena, "'%.40s...'", p->text + s.begin)
                  : ctl_format(p->arena, "'%.*s'", (int)n, p->text + s.begin);
}

/* Where it is shown: what is missing at the end of a line is missing before its comment. */
static ctl_span found_span(const ctl_parser *p) {
    const ctl_span s = p->last.span;
    const uint32_t end = p->before.span.end;
    if (p->last.kind != NEWLINE || end >= s.begin || s.begin > p->size) return s;
    const bool comment = memchr(p->text + end, '#', s.begin - end), other_line = memchr(p->text + end, '\n', s.begin - end);
    return comment && !other_line ? (ctl_span){s.file, end, end} : s;
}

static int line_of(const ctl_parser *p, ctl_span span) {
    int line = 1;
    for (size_t i = 0; i < span.begin && i < p->size; i++) line += p->text[i] == '\n';
    return line;
}

/* "did you mean": a keyword that would fit and is spelt almost like the word in question. */
static const char *nearest(ctl_parser *p, const char *word, const char *words) {
    const char *best = NULL;
    int least = 3;
    if (!word || strlen(word) < 3) return NULL;
    for (const char *at = words; *at; at += strcspn(at, " "), at += *at == ' ') {
        const char *w = ctl_strndup(p->arena, at, strcspn(at, " "));
        int d = ctl_edit_distance(word, w, 2);
        if (d > 0 && d < least) least = d, best = w;
    }
    return best ? ctl_format(p->arena, "did you mean `%s`?", best) : NULL;
}

static bool is_operator(int t) {
    return t == '+' || t == '-' || t == '*' || t == '/' || t == '%' || t == '@' || t == '^' || t == '<' ||
           t == '>' || t == LE || t == GE || t == EQ || t == NE || t == AND || t == OR;
}

static const char *bracket_hint(ctl_parser *p, const expectation *e) {
    for (int i = p->nopen - 1; i >= 0; i--) {
        const ctl_bracket *b = &p->open[i];
        if (b->span.begin == p->last.span.begin) continue; /* the token itself */
        bool closer = expects(e, b->kind == '(' ? "')'" : b->kind == '[' ? "']'" : "'}'");
        bool lost = p->last.kind == END || (b->kind != '{' && (p->last.first || p->last.kind == NEWLINE));
        if (closer && lost)
            return ctl_format(p->arena, "the '%c' in line %d is not closed", b->kind == 'p' ? '{' : b->kind,
                              line_of(p, b->span));
        if (b->kind == '{') break;
    }
    return NULL;
}

static const char *header_hint(ctl_parser *p, const expectation *e) {
    int t = p->last.kind, line = p->line.kind;
    if (line == NET && (t == '{' || t == NEWLINE) && expects(e, "->"))
        return "a net names its outputs: net NAME(inputs; parameters) -> y { ... }";
    if (line == CONTROL && (t == '{' || t == NEWLINE) && expects(e, "on"))
        return "say which net: control NAME(parameters) on NET { ... }";
    if (line == CONTROL && t == ';')
        return "a control has parameters alone: control NAME(rank = 8) on NET { ... }";
    if (line == FN && t == ';') return "a function has arguments alone: fn NAME(x) = expression";
    if (line == FN && t == '{') return "a function is one expression: fn NAME(x) = expression";
    if (line == IMPORT && t == '.') return "import the module, and write MODULE.NAME where it is used";
    if (line == FOR && (expects(e, "in") || expects(e, ".."))) return "for NAME in FIRST..PAST { ... }";
    if (line == WEIGHT && !expects(e, "'+'")) return "weight NAME : [rows, columns] init VALUE";
    if (!p->in_tune || p->nopen != 1) return NULL;
    if (line == TOKENS) return "tokens SEQUENCES x LENGTH, or tokens COUNT packed";
    if (line == COMPUTE) return "compute f32, or compute bf16";
    if (line == STORE) return "store PATHS as FORMAT";
    if (line == MEMORY) return "memory 24 GiB";
    if (line == NAME && expects(e, "'('") && !expects(e, "a number") && !nearest(p, p->line.name, "tokens compute store memory"))
        return "the settings are tokens, compute, memory, store, and the optimizer: adamw(; lr = 1e-4, ..)";
    return NULL;
}

static const char *hint(ctl_parser *p, const expectation *e) {
    int t = p->last.kind, before = p->before.kind;
    const char *h;
    if ((h = bracket_hint(p, e))) return h;
    if (p->last.first && is_operator(t) && before == NEWLINE && p->nopen)
        return "a line goes on when it ends in an operator or a comma: move the operator up";
    if (t == ELSE) return "`else` stands behind the closing brace of an `if`";
    if (t == '=' && p->nopen && p->open[p->nopen - 1].kind == '(' && !p->open[p->nopen - 1].semicolon)
        return "parameters stand behind a semicolon: f(x; rank = 8)";
    if (expects(e, "<-") && (t == '+' || t == '-' || t == '*') && p->text[p->last.span.end] == '=')
        return "a state is the sum of its edges: write one more edge `y <- e`";
    if (t == '=' && expects(e, "==")) return "to compare, write `==`";
    if (t == NAME && p->nopen == 0 && p->last.first && strcmp(p->last.name, "from") == 0)
        return "write `import MODULE`, and MODULE.NAME where it is used";
    if (t == '/' && before == '/') return "a comment begins with `#`";
    if (t == DEEP && expects(e, "'^'")) return "the power is written `^`";
    if (t == LARROW && p->arrow && expects(e, "'+'")) return "to compare with a negative number, write `< -`";
    if ((t == RARROW || t == '<') && expects(e, "<-")) return "an edge is written `state <- expression`";
    if (t == '.' && (before == NUMBER || before == '.')) return "write a digit behind the point, as in 1.0";
    if (expects(e, "'+'") && is_operator(t)) return "comparisons do not chain: write `a < b and b < c`";
    if ((h = header_hint(p, e))) return h;
    if (expects(e, "'('") && !expects(e, "a number") && !expects(e, "<-") &&
        (t == NEWLINE || t == '{' || t == ','))
        return "it is called with parentheses: NAME(), NAME(; rank = 8)";
    static const char in_settings[] = "tokens compute store memory";
    static const char in_blocks[] = "weight for if train freeze";
    static const char at_top[] = "import fn net control model tune";
    const char *words = p->nopen == 0 ? at_top : p->in_tune ? in_settings : in_blocks;
    if (t == NAME && p->last.first && (h = nearest(p, p->last.name, words))) return h;
    if (p->before.first && before == NAME && (h = nearest(p, p->before.name, words))) return h;
    if (t == NAME && expects(e, "on") && (h = nearest(p, p->last.name, "on"))) return h;
    if (t == NAME && expects(e, "with") && (h = nearest(p, p->last.name, "with"))) return h;
    return NULL;
}

void ctl_expected_report(ctl_parser *p, const char *const *expected, int n) {
    if (p->stopped) return;
    expectation e = {.names = expected, .n = n};
    describe(p, &e);
    ctl_text text = {.arena = p->arena};
    if (e.nlisted && !e.too_many) {
        ctl_text_add(&text, "expected ");
        for (int i = 0; i < e.nlisted; i++)
            ctl_text_add(&text, "%s%s",
                         i == 0              ? ""
                         : i + 1 < e.nlisted ? ", "
                                             : " or ",
                         quoted(p, e.listed[i]));
        ctl_text_add(&text, ", found %s", found_text(p));
    } else {
        ctl_text_add(&text, "unexpected %s", found_text(p));
    }
    ctl_error(p->sink, CTL_E0102, found_span(p), hint(p, &e), "%s", text.at);
    /* Something that begins a line, yet stands in parentheses: those were most likely to be closed before it.
     */
    if (p->last.first) ctl_lines_forget(p);
}

void ctl_expected_too_deep(ctl_parser *p, ctl_span span, const char *what) {
    if (p->too_deep) return;
    p->too_deep = true;
    ctl_error(p->sink, CTL_E0103, span, "name parts of it: `v = expression`", "%s nests too deeply", what);
}
