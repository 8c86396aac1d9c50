/* The parser: trees by a dump of their own, lines and brackets, spans, every message byte for byte, the library's
 * sources there and back, limits. */
#include "tests/parse_fixture.h"

static int setup(void **state) {
    bench *b = calloc(1, sizeof *b);
    ctl_arena_init(&b->arena, NULL, &b->out);
    b->sink = (ctl_sink){.arena = &b->arena, .fn = collect, .ctx = b, .most_errors = 1000};
    *state = b;
    return 0;
}
static int teardown(void **state) {
    bench *b = *state;
    ctl_arena_free(&b->arena);
    free(b);
    return 0;
}

/* ---- a dump that shows the shape of a tree: (op a b) ---- */
static void dump(const ctl_expr *e, ctl_text *out);

static void dump_path(const ctl_path *path, ctl_text *out) {
    for (size_t i = 0; i < path->n; i++) {
        const ctl_segment *s = &path->seg[i];
        if (i) ctl_text_add(out, "/");
        if (s->kind == SEG_NAME) ctl_text_add(out, "%s", s->name);
        if (s->kind == SEG_STAR) ctl_text_add(out, "star");
        if (s->kind == SEG_DEEP) ctl_text_add(out, "deep");
        if (s->kind == SEG_INDEX) ctl_text_add(out, "["), dump(s->index, out), ctl_text_add(out, "]");
        if (s->kind == SEG_BRACES) {
            for (size_t c = 0; c < s->nchoices; c++) {
                ctl_text_add(out, c ? "|" : "{");
                dump_path(&s->choices[c], out);
            }
            ctl_text_add(out, "}");
        }
    }
}

static void dump(const ctl_expr *e, ctl_text *out) {
    static const char *const ops[] = {"add", "sub", "mul", "div", "mod", "matmul", "pow", "lt", "le", "gt", "ge", "eq", "ne", "and", "or"};
    switch (e->kind) {
    case EXPR_NUMBER: ctl_text_add(out, e->is_int ? "%g" : "%gf", e->number); break;
    case EXPR_PATH: dump_path(&e->path, out); break;
    case EXPR_UNARY: ctl_text_add(out, "(%c ", e->op), dump(e->a, out), ctl_text_add(out, ")"); break;
    case EXPR_RANGE:
    case EXPR_BINARY:
        ctl_text_add(out, "(%s ", e->kind == EXPR_RANGE ? "range" : ops[e->op]);
        dump(e->a, out), ctl_text_add(out, " "), dump(e->b, out), ctl_text_add(out, ")");
        break;
    case EXPR_CALL:
        ctl_text_add(out, "(call ");
        if (e->label.n) dump_path(&e->label, out), ctl_text_add(out, ":");
        dump_path(&e->path, out);
        for (size_t i = 0; i < e->nargs; i++) ctl_text_add(out, " "), dump(e->args[i], out);
        for (size_t i = 0; i < e->nnamed; i++) {
            ctl_text_add(out, " %s=", e->named[i].name);
            if (e->named[i].value) dump(e->named[i].value, out);
        }
        ctl_text_add(out, e->rest ? " ..)" : ")");
        break;
    }
}

static void expressions(void **state) {
    bench *b = *state;
    static const struct { const char *source, *tree; } cases[] = {
        {"a + b * c", "(add a (mul b c))"},
        {"a * b + c", "(add (mul a b) c)"},
        {"a - b - c", "(sub (sub a b) c)"},
        {"a @ b * c @ d", "(matmul (mul (matmul a b) c) d)"},
        {"a / b % c", "(mod (div a b) c)"},
        {"a ^ b ^ c", "(pow a (pow b c))"},
        {"-a ^ b", "(- (pow a b))"},
        {"a ^ -b * c", "(mul (pow a (- b)) c)"},
        {"-a * b", "(mul (- a) b)"},
        {"a - -b", "(sub a (- b))"},
        {"a - (b - c)", "(sub a (sub b c))"},
        {"a / (b * c)", "(div a (mul b c))"},
        {"(a ^ b) ^ c", "(pow (pow a b) c)"},
        {"(-a) ^ b", "(pow (- a) b)"},
        {"-(a * b)", "(- (mul a b))"},
        {"(a < b) < c", "(lt (lt a b) c)"},
        {"a == (b == c)", "(eq a (eq b c))"},
        {"not (a and b)", "(n (and a b))"},
        {"(not a) * b", "(mul (n a) b)"},
        {"a and (b or c)", "(and a (or b c))"},
        {"(2).T", "(T 2)"},
        {"(a).T", "(T a)"},
        {"(a + b) * c", "(mul (add a b) c)"},
        {"a < b and b <= c or not d == e", "(or (and (lt a b) (le b c)) (n (eq d e)))"},
        {"a or b and c", "(or a (and b c))"},
        {"not not a", "(n (n a))"},
        {"a > b + 1", "(gt a (add b 1))"},
        {"a != b", "(ne a b)"},
        {"a >= b", "(ge a b)"},
        {"1 + 1.0 + 1e3 + 0.5e-3 + 10000.0", "(add (add (add (add 1 1f) 1000f) 0.0005f) 10000f)"},
        {"a.b.c", "a/b/c"},
        {"s[i + 1].y", "s/[(add i 1)]/y"},
        {"x.weight.T", "x/weight/T"},
        {"f(x).T", "(T (call f x))"},
        {"(a + b).T.T", "(T (T (add a b)))"},
        {"-f(x).T ^ 2", "(- (pow (T (call f x)) 2))"},
        {"f()", "(call f)"},
        {"m.f(a, b; c, d = e * 2, ..)", "(call m/f a b c= d=(mul e 2) ..)"},
        {"f(; ..)", "(call f ..)"},
        {"l: f(x)", "(call l:f x)"},
        {"a.b[i].c: f(g: h(x); n)", "(call a/b/[i]/c:f (call g:h x) n=)"},
        {"silu(gate: linear(x; n)) * (up: linear(x; n))", "(mul (call silu (call gate:linear x n=)) (call up:linear x n=))"},
        {"columns(h, 0..half)", "(call columns h (range 0 half))"},
        {"columns(h, j..j + 1)", "(call columns h (range j (add j 1)))"},
        /* keywords are words of position */
        {"model.embed_tokens.weight.T", "model/embed_tokens/weight/T"},
        {"control.lora(; net, on = in)", "(call control/lora net= on=in)"},
        {"weight + train * if / for", "(add weight (div (mul train if) for))"},
        {"a < -b", "(lt a (- b))"},
    };
    for (size_t i = 0; i < CTL_COUNT(cases); i++) {
        char source[200];
        int n = snprintf(source, sizeof source, "fn f(x) = %s\n", cases[i].source);
        ctl_ast_module *m = parse(b, source, (size_t)n);
        assert_string_equal(b->said, "");
        ctl_text tree = {.arena = &b->arena}, printed = {.arena = &b->arena}, again = {.arena = &b->arena};
        dump(m->decls[0]->value, &tree);
        assert_string_equal(tree.at, cases[i].tree);
        ctl_ast_print(m, &printed);
        m = parse(b, printed.at, printed.n);
        assert_string_equal(b->said, "");
        dump(m->decls[0]->value, &again);
        assert_string_equal(again.at, cases[i].tree);
    }
}

/* What canonical text already is comes back unchanged; the second text, where there is one, is what it becomes. */
static void printed_form(void **state) {
    bench *b = *state;
    static const char *const cases[][2] = {
        {"import a, b\n", "import a\nimport b\n"},
        {"fn f(x, y) = x * y\n", NULL},
        {"net f(; n) -> y {\n}\n", NULL},
        {"net f() -> y, loss {\n}\n", NULL},
        {"net f(ids: id, x; n = cols(x), biased = false) -> y {\n    y <- x\n}\n", NULL},
        {"net f(x) -> y {\n    weight weight : [n]\n    weight a.weight, b[i] : [2 * n, cols(x)] init normal(0.02)\n}\n", NULL},
        {"net f(x) -> y {\n    weight weight <- x\n}\n", ""},
        {"net f(x) -> y {\n    weight <- x\n    train <- x\n    for <- x\n    if = x\n    freeze.init => g()\n}\n", NULL},
        {"net f(x) -> y {\n    for i in 0..depth - hop {\n        s[i + 1] <- s[i]\n    }\n}\n", NULL},
        {"net f(x) -> y {\n    if a {\n        y <- x\n    } else if b < 2 {\n        y <- 2 * x\n    } else {\n        y <- 3 * x\n    }\n}\n", NULL},
        {"net f(x) -> y {\n    a: g(x)\n    y <- a.y\n}\n", NULL},
        {"control c() on m.net {\n    self_attn.{q, k.v}.weight ~ l: lora(; rank, ..)\n    layers[*].y => g()\n}\n", NULL},
        {"control c(rank = 8, alpha) on net {\n    train **.bias, a.**\n    freeze **\n}\n", NULL},
        {"model m = llama.causal_lm(; vocab = 3, theta = 10000.0)\n", NULL},
        {"tune m\n", NULL},
        {"tune quick = m with a(rank = 64), b.c()\n", NULL},
        {"tune m {}\n", "tune m\n"},
        {"tune m with a(; rank = 2) {\n tokens 16x1024\n memory 1.5 GiB; compute bf16 }\n",
         "tune m with a(rank = 2) {\n    tokens 16 x 1024\n    memory 1536 MiB\n    compute bf16\n}\n"},
        {"tune m {\n    tokens 16384 packed\n    store a.**, b.weight as nf4\n    memory 24 GiB\n    adamw(; lr = 0.0001)\n}\n", NULL},
        {"tune m {\n memory 24GiB\n memory 2 KB\n memory 3 B\n memory 0 GB\n}\n",
         "tune m {\n    memory 24 GiB\n    memory 2000 B\n    memory 3 B\n    memory 0 B\n}\n"},
    };
    for (size_t i = 0; i < CTL_COUNT(cases); i++) {
        ctl_text out = {.arena = &b->arena};
        ctl_text_add(&out, "%s", "");
        ctl_ast_module *m = parse(b, cases[i][0], strlen(cases[i][0]));
        ctl_ast_print(m, &out);
        const char *expected = cases[i][1] ? cases[i][1] : cases[i][0];
        if (*expected) {
            assert_string_equal(b->said, "");
            assert_string_equal(out.at, expected);
        } else {
            assert_string_not_equal(b->said, "");
        }
    }
}

static void lines(void **state) {
    bench *b = *state;
    static const char canonical[] = "net f(x) -> y {\n    y <- x + 1\n    y <- g(x, 2; a = 3)\n}\n";
    static const char *const same[] = {
        "net f(x) -> y {\n\n\n  y <- x + 1 # one\n\n# two\n  y <- g(x, 2; a = 3)\n\n}\n\n",
        "net f(x) -> y { y <- x + 1; y <- g(x, 2; a = 3) }",
        "net f(x) -> y { y <- x + 1;; y <- g(x, 2; a = 3); }\n",
        "net f(x) ->\n y\n{\n y <-\n x +\n 1\n y <- g(x,\n 2; # more\n a =\n 3\n)\n}",
        "net f(x\n) -> y {\r\n\ty <- x + 1\r\n\ty <- g(\r\n x\r\n, 2\n;a=3)\r\n}\r\n",
        "net f(x)->y{y<-x+1\ny<-(g\n(x,2;a=3\n))}",
    };
    for (size_t i = 0; i < CTL_COUNT(same); i++) {
        ctl_text out = {.arena = &b->arena};
        ctl_ast_print(parse(b, same[i], strlen(same[i])), &out);
        assert_string_equal(b->said, "");
        assert_string_equal(out.at, canonical);
    }
    /* a line ends in an operator or a comma: it goes on */
    static const char wide[] = "import a,\n b\ncontrol c() on n {\n x ~\n l:\n g()\n weight a,\n b : [2]\n y <- x *\n x @\n"
                               " x ^\n 2 and\n not\n x\n}\ntune m with a(),\n b()\n";
    static const char narrow[] = "import a\nimport b\ncontrol c() on n {\n    x ~ l: g()\n    weight a, b : [2]\n"
                                 "    y <- x * x @ x ^ 2 and not x\n}\ntune m with a(), b()\n";
    ctl_text going = {.arena = &b->arena};
    ctl_ast_print(parse(b, wide, sizeof wide - 1), &going);
    assert_string_equal(b->said, "");
    assert_string_equal(going.at, narrow);
    /* the braces of a path go on over lines, `else` may stand on a line of its own, `**` ends a line */
    static const char loose[] = "control c() on n {\n train a.{b,\n c\n}.d\n train **\n if a {\n y <- x }\n else\n {\n y <- 2 }\n}\n";
    static const char tidy[] = "control c() on n {\n    train a.{b, c}.d\n    train **\n    if a {\n        y <- x\n    } else {\n"
                               "        y <- 2\n    }\n}\n";
    ctl_text out = {.arena = &b->arena};
    ctl_ast_print(parse(b, loose, sizeof loose - 1), &out);
    assert_string_equal(b->said, "");
    assert_string_equal(out.at, tidy);
    /* nothing at all is a source too */
    assert_int_equal(parse(b, "", 0)->ndecls, 0);
    assert_int_equal(parse(b, "\n # no\n", 7)->ndecls, 0);
    assert_string_equal(b->said, "");
}

static void spans(void **state) {
    bench *b = *state;
    static const char source[] = "net f(x; n = 2) -> y {\n    y <- l.m: g(a + 1;\n n) # c\n}\ntune q = m with c(r = 2) {\n    tokens 2x3\n}\n";
    ctl_ast_module *m = parse(b, source, sizeof source - 1);
    assert_string_equal(b->said, "");
    assert_int_equal(m->ndecls, 2);
    const ctl_decl *net = m->decls[0], *tune = m->decls[1];
    const ctl_stmt *edge = net->body.at[0];
    const struct { ctl_span span; const char *text; } expected[] = {
        {net->name_span, "f"}, {net->params[0].span, "n = 2"}, {net->outputs[0].span, "y"},
        {edge->span, "y <- l.m: g(a + 1;\n n)"}, {edge->paths[0].span, "y"}, {edge->value->span, "l.m: g(a + 1;\n n)"},
        {edge->value->label.span, "l.m"}, {edge->value->path.span, "g"}, {edge->value->args[0]->span, "a + 1"},
        {edge->value->args[0]->a->span, "a"}, {edge->value->named[0].span, "n"},
        {edge->value->label.seg[1].span, ".m"}, {tune->name_span, "q"}, {tune->target.span, "m"},
        {tune->controls[0]->span, "c(r = 2)"}, {tune->settings[0].span, "tokens 2x3"},
    };
    for (size_t i = 0; i < CTL_COUNT(expected); i++) {
        size_t n = strlen(expected[i].text);
        assert_int_equal(expected[i].span.end - expected[i].span.begin, n);
        assert_memory_equal(source + expected[i].span.begin, expected[i].text, n);
    }
    assert_int_equal(net->span.begin, 0);
    assert_int_equal(source[net->span.end - 1], '}');
}

/* ---- messages ---- */
#define A(place, code, message, line, mark) "a.ctl:" place ": error[E01" code "]: " message "\n" line "\n" mark "\n"
#define HINT(text) "      | hint: " text "\n"

static void messages(void **state) {
    bench *b = *state;
    static const struct { const char *source, *said; } cases[] = {
        {"net f(x; n) -> y {\n    y <- g(x, n = 3)\n}\n",
         A("2:17", "02", "expected ')', ',' or ';', found '='", "    2 |     y <- g(x, n = 3)", "      |                 ^")
         HINT("parameters stand behind a semicolon: f(x; rank = 8)")},
        {"net f(x) -> y {\n    y <- x\n      + x\n}\n",
         A("3:7", "02", "expected a statement or '}', found '+'", "    3 |       + x", "      |       ^")
         HINT("a line goes on when it ends in an operator or a comma: move the operator up")},
        /* an unclosed parenthesis, and the next error found all the same */
        {"net f(x) -> y {\n y <- g(x\n z <- x\n w <- )\n}\n",
         A("3:2", "02", "expected ')', ',' or ';', found 'z'", "    3 |  z <- x", "      |  ^")
         HINT("the '(' in line 2 is not closed")
         A("4:7", "02", "expected an expression, found ')'", "    4 |  w <- )", "      |       ^")},
        {"net f(x) {\n y <- x +\n}\nnet g(x) -> y {\n y <- x ** 2\n}\n",
         A("1:10", "02", "expected '->', found '{'", "    1 | net f(x) {", "      |          ^")
         HINT("a net names its outputs: net NAME(inputs; parameters) -> y { ... }")
         A("2:10", "02", "expected an expression, found the end of the line", "    2 |  y <- x +", "      |          ^")
         A("5:9", "02", "expected the end of the line, found '**'", "    5 |  y <- x ** 2", "      |         ^~")
         HINT("the power is written `^`")},
        {"control c(rank = 8) {\n}\n",
         A("1:21", "02", "expected 'on', found '{'", "    1 | control c(rank = 8) {", "      |                     ^")
         HINT("say which net: control NAME(parameters) on NET { ... }")},
        {"control c(; rank = 8) on f {\n}\n",
         A("1:11", "02", "expected a name or ')', found ';'", "    1 | control c(; rank = 8) on f {", "      |           ^")
         HINT("a control has parameters alone: control NAME(rank = 8) on NET { ... }")},
        {"control c() onn f {\n}\n",
         A("1:13", "02", "expected 'on', found 'onn'", "    1 | control c() onn f {", "      |             ^~~")
         HINT("did you mean `on`?")},
        {"nett f(x) -> y {\n y < x\n y += x\n y == 3\n}\n",
         A("1:1", "02", "expected a declaration (import, fn, net, control, model or tune), found 'nett'",
           "    1 | nett f(x) -> y {", "      | ^~~~")
         HINT("did you mean `net`?")
         A("2:4", "02", "expected '<-', '=>', '=' or '~', found '<'", "    2 |  y < x", "      |    ^")
         HINT("an edge is written `state <- expression`")
         A("3:4", "02", "expected '<-', '=>', '=' or '~', found '+'", "    3 |  y += x", "      |    ^")
         HINT("a state is the sum of its edges: write one more edge `y <- e`")
         A("4:4", "02", "expected '<-', '=>', '=' or '~', found '=='", "    4 |  y == 3", "      |    ^~")},
        {"tune m {\n token 16 x 1024\n memory 24 gib\n tokens 3 y 4\n compute\n store a.** nf4\n tokens\n memory GiB\n}\n",
         A("2:8", "02", "expected '(', found '16'", "    2 |  token 16 x 1024", "      |        ^~")
         HINT("did you mean `tokens`?")
         A("3:12", "02", "'gib' is no unit of memory", "    3 |  memory 24 gib", "      |            ^~~")
         HINT("units are KiB, MiB, GiB (powers of 1024) and KB, MB, GB (powers of 1000)")
         A("4:11", "02", "expected 'x', found 'y'", "    4 |  tokens 3 y 4", "      |           ^")
         HINT("write `tokens SEQUENCES x LENGTH`")
         A("5:9", "02", "expected a name, found the end of the line", "    5 |  compute", "      |         ^")
         HINT("compute f32, or compute bf16")
         A("6:13", "02", "expected 'as' or ',', found 'nf4'", "    6 |  store a.** nf4", "      |             ^~~")
         HINT("store PATHS as FORMAT")
         A("7:8", "02", "expected a number, found the end of the line", "    7 |  tokens", "      |        ^")
         HINT("tokens SEQUENCES x LENGTH, or tokens COUNT packed")
         A("8:9", "02", "expected a number, found 'GiB'", "    8 |  memory GiB", "      |         ^~~")
         HINT("memory 24 GiB")},
        {"tune m {\n compute # which\n memory 24 # in what\n}\n", /* what is missing is missing before the comment */
         A("2:9", "02", "expected a name, found the end of the line", "    2 |  compute # which", "      |         ^")
         HINT("compute f32, or compute bf16")
         A("3:11", "02", "expected a name, found the end of the line", "    3 |  memory 24 # in what", "      |           ^")
         HINT("memory 24 GiB")},
        {"net f(x) -> y {\n if a = b {\n y <- x y\n }\n weigth w : [3]\n weight w [3]\n weight : [3]\n else {\n }\n}\n",
         A("2:7", "02", "expected '{', found '='", "    2 |  if a = b {", "      |       ^")
         HINT("to compare, write `==`")
         A("3:9", "02", "expected the end of the line, found 'y'", "    3 |  y <- x y", "      |         ^")
         A("5:9", "02", "expected '<-', '=>', '=' or '~', found 'w'", "    5 |  weigth w : [3]", "      |         ^")
         HINT("did you mean `weight`?")
         A("6:14", "02", "expected ',', found the end of the line", "    6 |  weight w [3]", "      |              ^")
         HINT("weight NAME : [rows, columns] init VALUE")
         A("7:11", "02", "expected a path, found '['", "    7 |  weight : [3]", "      |           ^")
         HINT("weight NAME : [rows, columns] init VALUE")
         A("8:2", "02", "expected a statement or '}', found 'else'", "    8 |  else {", "      |  ^~~~")
         HINT("`else` stands behind the closing brace of an `if`")},
        {"net f(x) -> y {\n y <- x\n",
         A("3:1", "02", "expected a statement or '}', found the end of the file", "    3 | ", "      | ^")
         HINT("the '{' in line 1 is not closed")},
        {"net f(x) -> y {\n y <- 2x + .5 + 1. + 1e999\n y <- a < b < c\n y <- x <-y\n y <- a // c\n y <- f(x).z\n y <- f[1](x)\n}\n",
         A("2:7", "01", "'2x' is neither a number nor a name", "    2 |  y <- 2x + .5 + 1. + 1e999", "      |       ^~")
         HINT("a name begins with a letter; a product needs its `*`")
         A("2:12", "01", "the number '.5' begins with a point", "    2 |  y <- 2x + .5 + 1. + 1e999", "      |            ^~")
         HINT("write a digit before the point, as in 0.5")
         A("2:18", "02", "expected the end of the line, found '.'", "    2 |  y <- 2x + .5 + 1. + 1e999", "      |                  ^")
         HINT("write a digit behind the point, as in 1.0")
         A("2:22", "01", "the number '1e999' is too large", "    2 |  y <- 2x + .5 + 1. + 1e999", "      |                      ^~~~~")
         A("3:13", "02", "expected the end of the line, found '<'", "    3 |  y <- a < b < c", "      |             ^")
         HINT("comparisons do not chain: write `a < b and b < c`")
         A("4:9", "02", "expected the end of the line, found '<-'", "    4 |  y <- x <-y", "      |         ^~")
         HINT("to compare with a negative number, write `< -`")
         A("5:10", "02", "expected an expression, found '/'", "    5 |  y <- a // c", "      |          ^")
         HINT("a comment begins with `#`")
         A("6:12", "02", "expected 'T', found 'z': a value has no parts", "    6 |  y <- f(x).z", "      |            ^")
         HINT("give the call a label, and use LABEL.NAME")
         A("7:8", "02", "what is called has a plain name", "    7 |  y <- f[1](x)", "      |        ^~~")
         HINT("a net, function or control is called as NAME or MODULE.NAME")},
        /* one message a line for characters that the language does not have */
        {"net f(x) -> y {\n y <- \"a\" & b\n y <- x \xc3\x97 y \xe2\x88\x92 1\n y <- a | b\n y <- $\n}\n\x01\n\xff\xfe\n",
         A("2:7", "01", "the language has no '\"'", "    2 |  y <- \"a\" & b", "      |       ^")
         HINT("the language has no quoted text: names stand as they are")
         A("3:9", "01", "the language has no character U+00D7", "    3 |  y <- x \xc3\x97 y \xe2\x88\x92 1", "      |         ^")
         HINT("write `*`")
         A("4:9", "01", "the language has no '|'", "    4 |  y <- a | b", "      |         ^")
         HINT("write `or`")
         A("5:7", "01", "the language has no '$'", "    5 |  y <- $", "      |       ^")
         A("7:1", "01", "the byte 0x01 is no text", "    7 | \xef\xbf\xbd", "      | ^")
         HINT("save the file as plain UTF-8 text")
         A("8:1", "01", "the byte 0xFF is no text", "    8 | \xef\xbf\xbd\xef\xbf\xbd", "      | ^")
         HINT("save the file as plain UTF-8 text")},
        {"import llama.block\nfn f(x; y) = x\nmodel m = llama\ntune m with double {\n}\nfn g(x) { }\n",
         A("1:13", "02", "expected the end of the line or ',', found '.'", "    1 | import llama.block", "      |             ^")
         HINT("import the module, and write MODULE.NAME where it is used")
         A("2:7", "02", "expected ')' or ',', found ';'", "    2 | fn f(x; y) = x", "      |       ^")
         HINT("a function has arguments alone: fn NAME(x) = expression")
         A("3:16", "02", "expected '(', found the end of the line", "    3 | model m = llama", "      |                ^")
         HINT("it is called with parentheses: NAME(), NAME(; rank = 8)")
         A("4:20", "02", "expected '(', found '{'", "    4 | tune m with double {", "      |                    ^")
         HINT("it is called with parentheses: NAME(), NAME(; rank = 8)")
         A("6:9", "02", "expected '=', found '{'", "    6 | fn g(x) { }", "      |         ^")
         HINT("a function is one expression: fn NAME(x) = expression")},
        {"net f(x) -> y {\n for i 0..3 {\n y <- x\n }\n for i in 3 {\n }\n W ~ lora\n y -> x\n y =>\n train\n}\n}\n",
         A("2:8", "02", "expected 'in', found '0'", "    2 |  for i 0..3 {", "      |        ^")
         HINT("for NAME in FIRST..PAST { ... }")
         A("5:13", "02", "expected '..', found '{'", "    5 |  for i in 3 {", "      |             ^")
         HINT("for NAME in FIRST..PAST { ... }")
         A("7:10", "02", "expected '(', found the end of the line", "    7 |  W ~ lora", "      |          ^")
         HINT("it is called with parentheses: NAME(), NAME(; rank = 8)")
         A("8:4", "02", "expected '<-', '=>', '=' or '~', found '->'", "    8 |  y -> x", "      |    ^~")
         HINT("an edge is written `state <- expression`")
         /* the line goes on behind `=>`: into `train`, a name there */
         A("10:7", "02", "expected '(', found the end of the line", "   10 |  train", "      |       ^")
         HINT("it is called with parentheses: NAME(), NAME(; rank = 8)")
         A("12:1", "02", "expected a declaration (import, fn, net, control, model or tune), found '}'", "   12 | }", "      | ^")},
        {"from llama import block\ntune m {\n batch 3\n learning_rate = 3\n}\n",
         A("1:1", "02", "expected a declaration (import, fn, net, control, model or tune), found 'from'", "    1 | from llama import block", "      | ^~~~")
         HINT("write `import MODULE`, and MODULE.NAME where it is used")
         A("3:8", "02", "expected '(', found '3'", "    3 |  batch 3", "      |        ^")
         HINT("the settings are tokens, compute, memory, store, and the optimizer: adamw(; lr = 1e-4, ..)")
         A("4:16", "02", "expected '(', found '='", "    4 |  learning_rate = 3", "      |                ^")
         HINT("the settings are tokens, compute, memory, store, and the optimizer: adamw(; lr = 1e-4, ..)")},
        /* the settings behind a tune line that is not understood are settings still */
        {"tune m wiht c() {\n tokens 2 x 16\n compute f32\n adamw(; lr = 1)\n memory lots\n}\ntune m with c(), {\n tokens 3\n}\nfn f(x) x\n",
         A("1:8", "02", "expected the end of the line, 'with', '{' or '=', found 'wiht'", "    1 | tune m wiht c() {", "      |        ^~~~")
         HINT("did you mean `with`?")
         A("5:9", "02", "expected a number, found 'lots'", "    5 |  memory lots", "      |         ^~~~")
         HINT("memory 24 GiB")
         A("7:18", "02", "expected a path, found '{'", "    7 | tune m with c(), {", "      |                  ^")
         A("10:9", "02", "expected '=', found 'x'", "   10 | fn f(x) x", "      |         ^")},
        {"net f(x) -> y {\n y <- x.{a, b\n z <- x\n}\n",
         A("3:2", "02", "expected '}' or ',', found 'z'", "    3 |  z <- x", "      |  ^")
         HINT("the '{' in line 2 is not closed")},
    };
    for (size_t i = 0; i < CTL_COUNT(cases); i++) {
        parse(b, cases[i].source, strlen(cases[i].source));
        assert_string_equal(b->said, cases[i].said);
    }
}

/* What stands around an error is still read. */
static void recovery(void **state) {
    bench *b = *state;
    static const char source[] = "import nn\nnet f(x) -> y {\n a <- x\n b <- )\n c <- x\n}\nnet ?\nmodel m = f()\n";
    ctl_text out = {.arena = &b->arena};
    ctl_ast_print(parse(b, source, sizeof source - 1), &out);
    assert_string_equal(out.at, "import nn\nnet f(x) -> y {\n    a <- x\n    c <- x\n}\nmodel m = f()\n");
    assert_int_equal(b->sink.errors, 2);
}

/* ---- limits ---- */
static char *repeat(const char *before, const char *part, size_t times, const char *after, size_t *size) {
    size_t nb = strlen(before), np = strlen(part), na = strlen(after);
    char *text = malloc(nb + np * times + na + 1);
    memcpy(text, before, nb);
    for (size_t i = 0; i < times; i++) memcpy(text + nb + i * np, part, np);
    memcpy(text + nb + np * times, after, na + 1);
    *size = nb + np * times + na;
    return text;
}

static void limits(void **state) {
    bench *b = *state;
    static const struct { const char *before, *part, *after, *message; } deep[] = {
        {"fn f(x) = ", "(", "x\n", "this bracket nests too deeply"},
        {"fn f(x) = ", "x[", "x\n", "this bracket nests too deeply"},
        {"net f(x) -> y {\n", "if a {\n", "\n", "this bracket nests too deeply"},
        {"fn f(x) = ", "-", "x\n", "the source nests too deeply"},
        {"fn f(x) = ", "x ^ ", "x\n", "the source nests too deeply"},
        {"net f(x) -> y {\n if a {\n}", " else if b {\n}", "\n}\n", "the source nests too deeply"},
        {"fn f(x) = ", "x + ", "x\n", "this expression nests too deeply"},
        {"fn f(x) = (x)", ".T", "\n", "this expression nests too deeply"},
    };
    for (size_t i = 0; i < CTL_COUNT(deep); i++) {
        size_t size;
        char *text = repeat(deep[i].before, deep[i].part, 100000, deep[i].after, &size);
        b->sink.errors = 0;
        ctl_ast_module *m = parse(b, text, size);
        assert_int_equal(b->sink.errors, 1);
        assert_non_null(strstr(b->said, "E0103"));
        assert_non_null(strstr(b->said, deep[i].message));
        for (size_t d = 0; d < m->ndecls; d++)
            if (m->decls[d]->value) assert_true(m->decls[d]->value->depth <= CTL_MOST_DEPTH);
        free(text);
    }
    /* as much as is allowed is read */
    size_t size;
    char *text = repeat("fn f(x) = ", "x + ", CTL_MOST_DEPTH - 1, "x\n", &size);
    b->sink.errors = 0;
    assert_int_equal(parse(b, text, size)->decls[0]->value->depth, CTL_MOST_DEPTH);
    assert_int_equal(b->sink.errors, 0);
    free(text);
    text = repeat("fn f(x) = ", "x + ", CTL_MOST_DEPTH, "x\n", &size);
    parse(b, text, size);
    assert_int_equal(b->sink.errors, 1);
    free(text);
    text = repeat("net f(x) -> y {\n", "y <- x\n", 10000, "}\n", &size);
    assert_int_equal(parse(b, text, size)->decls[0]->body.n, 10000);
    free(text);
    text = repeat("", " ", (16 << 20) + 1, "", &size);
    parse(b, text, size);
    assert_non_null(strstr(b->said, "the source has 16777217 bytes; the most is 16777216"));
    free(text);
}

/* ---- the library's sources ---- */
static void library(void **state) {
    bench *b = *state;
    size_t files = 0;
    for (const ctl_stdlib_file *f = ctl_stdlib; f->name; f++, files++) {
        ctl_text once = {.arena = &b->arena}, twice = {.arena = &b->arena};
        ctl_ast_module *m = parse(b, f->text, f->size);
        assert_string_equal(b->said, "");
        assert_true(m->ndecls > 0);
        ctl_ast_print(m, &once);
        ctl_ast_print(parse(b, once.at, once.n), &twice);
        assert_string_equal(b->said, "");
        assert_string_equal(once.at, twice.at);
    }
    assert_true(files >= 5);
}

/* ---- the examples of the language's page, and the files of examples/ ---- */
static char *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    char *text = calloc(1, 1 << 20);
    size_t n = fread(text, 1, (1 << 20) - 1, file);
    fclose(file);
    text[n] = 0;
    return text;
}

static void documentation(void **state) {
    bench *b = *state;
    char *page = read_file(SOURCE_DIR "/docs/language.md");
    assert_non_null(page);
    int found = 0;
    for (char *at = page; (at = strstr(at, "\n```ctl")); found++) {
        bool body = strncmp(at, "\n```ctl body\n", 13) == 0;
        char *begin = strchr(at + 1, '\n') + 1, *end = strstr(begin, "\n```");
        assert_non_null(end);
        ctl_text source = {.arena = &b->arena};
        ctl_text_add(&source, body ? "control c() on n {\n%.*s\n}\n" : "%.*s\n", (int)(end - begin), begin);
        assert_true(parse(b, source.at, source.n)->ndecls > 0);
        assert_string_equal(b->said, "");
        at = end + 4;
    }
    assert_true(found > 15);
    free(page);
    static const char *const examples[] = {SOURCE_DIR "/examples/tiny.ctl", SOURCE_DIR "/examples/encoder.ctl"};
    for (size_t i = 0; i < CTL_COUNT(examples); i++) {
        char *text = read_file(examples[i]);
        assert_non_null(text);
        parse(b, text, strlen(text));
        assert_string_equal(b->said, "");
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(expressions, setup, teardown),
        cmocka_unit_test_setup_teardown(printed_form, setup, teardown),
        cmocka_unit_test_setup_teardown(lines, setup, teardown),
        cmocka_unit_test_setup_teardown(spans, setup, teardown),
        cmocka_unit_test_setup_teardown(messages, setup, teardown),
        cmocka_unit_test_setup_teardown(recovery, setup, teardown),
        cmocka_unit_test_setup_teardown(limits, setup, teardown),
        cmocka_unit_test_setup_teardown(library, setup, teardown),
        cmocka_unit_test_setup_teardown(documentation, setup, teardown),
    };
    return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
