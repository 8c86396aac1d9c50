/* The formatter: its style by examples, and its promises (format_fixture.h) on the library, the examples, the
 * specifications of errors, the language's page, and on thousands of sources with other spaces, lines and comments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>

#include "base/random.h"
#include "compiler/syntax/stdlib.h"
#include "ctl/ctlc.h"
#include "tests/format_fixture.h"
#include "tests/meter.h"

typedef struct bench {
    ctl_arena arena;
    jmp_buf out;
    ctl_sink sink;
} bench;

static bench *open_bench(void) {
    bench *b = calloc(1, sizeof *b);
    ctl_arena_init(&b->arena, NULL, &b->out);
    b->sink = (ctl_sink){.arena = &b->arena};
    return b;
}
static void close_bench(bench *b) {
    ctl_arena_free(&b->arena);
    free(b);
}

static void becomes(const char *source, const char *expected) {
    bench *b = open_bench();
    ctl_text out;
    const char *fault = format_fault(&b->arena, &b->sink, source, strlen(source), &out);
    if (fault) fail_msg("%s:\n%s\nbecame\n%s", fault, source, out.at);
    assert_string_equal(out.at, expected);
    close_bench(b);
}
static void stays(const char *source) { becomes(source, source); }

/* ---- the style ---- */
static void spaces(void **state) {
    (void)state;
    becomes("fn f( x,y )=x*( 1/(1+exp(-x)) )", "fn f(x, y) = x * (1 / (1 + exp(-x)))\n");
    becomes("fn f(x) = not(x) and -x - -(2)^-x.T< -1", "fn f(x) = not (x) and -x - -(2) ^ -x.T < -1\n");
}

static void statements(void **state) {
    (void)state;
    becomes("net f(ids:id,x;n=cols(x),biased=false)->y,loss{y<-x;y<-g . h:linear( x;n,.. ) ; d=x-mean(x)\n}",
            "net f(ids: id, x; n = cols(x), biased = false) -> y, loss {\n    y <- x\n    y <- g.h: linear(x; n, ..)\n"
            "    d = x - mean(x)\n}\n");
    becomes("net f(x)->y{\nweight weight:[n,cols( x )]init normal(0.02)\nweight a.b , c:[n] init(1)\nweight <- x\n"
            "init:g(init;init)\nfor i in(1)..depth-hop{s[i+1]<-s [ i ]\n}\nif(a)<b{}\nelse if not b{ y<-x } else{\n}\n}\n",
            "net f(x) -> y {\n    weight weight : [n, cols(x)] init normal(0.02)\n    weight a.b, c : [n] init (1)\n"
            "    weight <- x\n    init: g(init; init)\n    for i in (1)..depth - hop {\n        s[i + 1] <- s[i]\n    }\n"
            "    if (a) < b {\n    } else if not b {\n        y <- x\n    } else {\n    }\n}\n");
    becomes("control c(rank=8)on m . net{layers[ * ].{q , k.v}.weight~l:lora(;rank)\ny=>g()\ntrain **,a . **\nfreeze **.bias\n}",
            "control c(rank = 8) on m.net {\n    layers[*].{q, k.v}.weight ~ l: lora(; rank)\n    y => g()\n"
            "    train **, a.**\n    freeze **.bias\n}\n");
    becomes("import a,b\nmodel m=llama.lm(;d=1.50e-3)\ntune q=m with a(r=2),b . c(){tokens 16x1024;memory 24GiB\n"
            "compute bf16\nstore a.** as nf4\nadamw(;lr=1e-4)}",
            "import a, b\nmodel m = llama.lm(; d = 1.50e-3)\ntune q = m with a(r = 2), b.c() {\n    tokens 16 x 1024\n"
            "    memory 24 GiB\n    compute bf16\n    store a.** as nf4\n    adamw(; lr = 1e-4)\n}\n");
    becomes("tune m{tokens 1000 packed}", "tune m {\n    tokens 1000 packed\n}\n");
    becomes("tune with with with(){if(;for=1)}", "tune with with with() {\n    if(; for = 1)\n}\n");
    becomes("", "");
    becomes("\n\n\t\n", "");
}

static void blank_lines(void **state) {
    (void)state;
    becomes("\n\n# a\n\n\n\nimport a\nimport b\n\n\nnet f(x) -> y {\n\n  y <- x\r\n\n\n  # b\n\n  y <- x\n\n}\n\n\n",
            "# a\n\nimport a\nimport b\n\nnet f(x) -> y {\n    y <- x\n\n    # b\n\n    y <- x\n}\n");
}

static void comments(void **state) {
    (void)state;
    /* behind text: in one column, or behind the longest of neighbours; further lines under the first */
    stays("net f(x) -> y {                                    # a net\n"
          "    y <- x                                         # one, that goes on\n"
          "                                                   # here\n"
          "    # two\n"
          "    y <- x\n"
          "    # three\n"
          "}\n"
          "# four\n");
    becomes("net f(x) -> y { # a\ny <- x # b  \n  # c\n} # d\n",
            "net f(x) -> y {                                    # a\n    y <- x                                         # b\n"
            "    # c\n}                                                  # d\n");
    becomes("fn f(x) = x + x + x + x + x + x + x + x + x + x + x + x + x + x # long\nfn g(x) = x # short\n\nfn h(x) = x # far\n",
            "fn f(x) = x + x + x + x + x + x + x + x + x + x + x + x + x + x  # long\n"
            "fn g(x) = x                                                      # short\n\n"
            "fn h(x) = x                                        # far\n");
    /* within lines */
    becomes("model m = f(; # sizes\n a = 1, # one\n\n # more\n b = 2 # two\n)\n",
            "model m = f(;                                      # sizes\n"
            "    a = 1,                                         # one\n\n"
            "    # more\n"
            "    b = 2                                          # two\n"
            ")\n");
    becomes("net f(x) -> y {\n y <- a # one\n}\nnet g(x) -> y {\n y <- (a # one\n + b)\n}\n",
            "net f(x) -> y {\n    y <- a                                         # one\n}\nnet g(x) -> y {\n"
            "    y <- (\n        a +                                        # one\n        b\n    )\n}\n");
    becomes("net f(x # in\n) -> y # head\n{\n if a { y <- x }\n # other\n else { y <- x }\n}\n",
            "net f(\n    x                                              # in\n) -> y {                                           # head\n"
            "    if a {\n        y <- x\n    } else {\n        # other\n        y <- x\n    }\n}\n");
    becomes("net f(x) -> y { y <- # why\n x + # because\n # so\n x }", "net f(x) -> y {\n"
            "    y <-                                           # why\n        x +                                        # because\n"
            "        # so\n        x\n}\n");
    becomes("net f(x) -> y { y <- - # one\n # two\n x # three\n }",
            "net f(x) -> y {\n    y <- -x                                        # one\n    # two\n    # three\n}\n");
}

static void long_lines(void **state) {
    (void)state;
    /* inputs, then parameters, on lines of their own */
    becomes("net causal_lm(ids: id, labels: id; vocab, dim, depth, heads, kv_heads, head = dim / heads, ffn, theta, eps = 1e-5, "
            "biased = false, tied = false) -> logits, loss {\n}\n",
            "net causal_lm(\n    ids: id, labels: id;\n    vocab, dim, depth, heads, kv_heads, head = dim / heads, ffn, theta, "
            "eps = 1e-5, biased = false, tied = false\n) -> logits, loss {\n}\n");
    becomes("model m = some_rather_long_module_name.some_rather_long_net_name(; first_parameter = 100000, second_parameter = 200000, "
            "third_parameter = 300000, fourth_parameter = 400000, fifth_parameter = 5, sixth = 6)\n",
            "model m = some_rather_long_module_name.some_rather_long_net_name(;\n    first_parameter = 100000, second_parameter = "
            "200000, third_parameter = 300000, fourth_parameter = 400000,\n    fifth_parameter = 5, sixth = 6\n)\n");
    /* behind the operators that bind least */
    becomes("net f(x) -> y {\n    number_two = sum(transposed * transposed) + 2 * scale * sum((transposed @ lora_A) * lora_B) + scale * "
            "scale * sum((lora_B @ (lora_A)) * lora_B)\n}\n",
            "net f(x) -> y {\n    number_two = sum(transposed * transposed) + 2 * scale * sum((transposed @ lora_A) * lora_B) +\n"
            "        scale * scale * sum((lora_B @ (lora_A)) * lora_B)\n}\n");
    becomes("tune quick = base with a_rather_long_module.a_rather_long_control(rank = 64, alpha = 16), "
            "another_rather_long_module.lora_qkv(rank = 3) {\n    tokens 1 x 2\n}\n",
            "tune quick = base with a_rather_long_module.a_rather_long_control(rank = 64, alpha = 16),\n        "
            "another_rather_long_module.lora_qkv(rank = 3) {\n    tokens 1 x 2\n}\n");
    /* what fits is one line, however it was broken */
    becomes("model m = f(\n;\na = 1,\nb\n=\n2\n)\n", "model m = f(; a = 1, b = 2)\n");
    /* nowhere to break it: it stays long */
    char name[200] = "fn f(x) = ";
    memset(name + 10, 'a', 150);
    strcpy(name + 160, "\n");
    stays(name);
}

static void refuses(void **state) {
    (void)state;
    bench *b = open_bench();
    ctl_text out = {.arena = &b->arena};
    const char *source = "net f(x) -> y {\n    y <- )\n}\n";
    uint32_t file = ctl_sink_add_source(&b->sink, "a.ctl", source, strlen(source));
    assert_int_equal(ctl_format_source(&b->arena, &b->sink, file, &out), CTL_ERR_INPUT);
    assert_int_equal(b->sink.errors, 1);
    assert_null(out.at);
    close_bench(b);
}

/* ---- every source that there is, and mutations of it ---- */
typedef struct dice {
    uint32_t counter, left, out[4];
} dice;
static uint32_t roll(dice *d, uint32_t sides) {
    if (d->left == 0) ctl_philox((uint32_t[4]){d->counter++, 0, 0, 0}, 11, d->out), d->left = 4;
    return (uint32_t)(((uint64_t)d->out[--d->left] * sides) >> 32);
}

static bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; }

/* Other spaces, lines and comments between the tokens. Where a line may end is decided by the text alone: inside ( and [,
 * and where it ended before. */
static ctl_text mutate(ctl_arena *arena, const char *text, size_t n, dice *d, int *comment) {
    ctl_text out = {.arena = arena};
    ctl_text_put(&out, "", 0);
    int depth = 0;
    for (size_t i = 0; i < n;) {
        if (text[i] == '#') { /* as it is, up to the newline */
            size_t end = i;
            while (end < n && text[end] != '\n') end++;
            ctl_text_put(&out, text + i, end - i);
            i = end;
            continue;
        }
        char c = text[i];
        size_t end = i + 1;
        while (is_word(c) && end < n && is_word(text[end])) end++;
        bool line_end = c == '\n';
        if (line_end) {
            if (roll(d, 8) == 0) ctl_text_add(&out, " # m%d", (*comment)++);
            ctl_text_put(&out, "\n", 1);
            while (roll(d, 6) == 0) {
                if (roll(d, 2)) ctl_text_add(&out, "%*s# m%d", (int)roll(d, 60), "", (*comment)++);
                ctl_text_put(&out, "\n", 1);
            }
        } else if (c == ' ' && !is_word(text[i + 1]) && strchr("()[]{},;", text[i + 1]) && roll(d, 3) == 0) {
            /* no space there */
        } else {
            ctl_text_put(&out, text + i, end - i);
        }
        depth += c == '(' || c == '[' ? 1 : c == ')' || c == ']' ? -1 : 0;
        char next = end < n ? text[end] : '\n';
        bool splits = (is_word(c) && is_word(next)) || strchr(".<>=-*!", c) || strchr(".<>=-*!", next) || c == '.' || next == '.' ||
                      next == '{'; /* might be within one token, or what the next of it needs behind it */
        bool number = c >= '0' && c <= '9';
        if (!splits && !number && depth > 0) {
            uint32_t kind = roll(d, 24);
            if (kind == 0) ctl_text_add(&out, " # m%d\n", (*comment)++);
            if (kind == 1) ctl_text_add(&out, "\n  # m%d\n\n", (*comment)++);
            if (kind == 2) ctl_text_add(&out, "\n");
        }
        if (!splits && !number && roll(d, 10) == 0) ctl_text_add(&out, "%s", roll(d, 2) ? "  " : "\t");
        i = end;
    }
    return out;
}

static int formatted, mutated;

static void check(const char *name, const char *text, size_t n, int rounds) {
    bench *b = open_bench();
    ctl_text out;
    const char *fault = format_fault(&b->arena, &b->sink, text, n, &out);
    if (fault) fail_msg("%s: %s:\n%s", name, fault, out.at);
    bool clean = b->sink.errors == 0;
    formatted += clean;
    dice d = {.counter = (uint32_t)n * 1000u};
    int comment = 0;
    ctl_text before = tree_of(&b->arena, &b->sink, text, n);
    for (int round = 0; clean && round < rounds; round++) {
        ctl_text other = mutate(&b->arena, text, n, &d, &comment), again;
        b->sink.errors = 0;
        ctl_text tree = tree_of(&b->arena, &b->sink, other.at, other.n);
        if (b->sink.errors || strcmp(tree.at, before.at) != 0) fail_msg("%s: the mutation is not sound:\n%s", name, other.at);
        fault = format_fault(&b->arena, &b->sink, other.at, other.n, &again);
        if (fault) fail_msg("%s: %s:\n%s\nbecame\n%s", name, fault, other.at, again.at ? again.at : "");
        mutated++;
    }
    close_bench(b);
}

static char *read_file(const char *path, size_t *n) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = calloc(1, 1 << 20);
    *n = fread(text, 1, (1 << 20) - 1, file);
    fclose(file);
    return text;
}

/* Calls `use` for each .ctl file of a folder; how many there were. */
static int each_source(const char *path, void (*use)(const char *name, const char *text, size_t n)) {
    DIR *dir = opendir(path);
    assert_non_null(dir);
    int files = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".ctl") != 0) continue;
        char name[1024];
        size_t n;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        char *text = read_file(name, &n);
        use(name, text, n);
        free(text);
        files++;
    }
    closedir(dir);
    return files;
}

static void check_few(const char *name, const char *text, size_t n) { check(name, text, n, 5); }
static void check_many(const char *name, const char *text, size_t n) { check(name, text, n, 40); }

static void promises(void **state) {
    (void)state;
    assert_true(each_source(SOURCE_DIR "/stdlib", check_many) >= 5);
    assert_true(each_source(SOURCE_DIR "/examples", check_many) >= 5);
    assert_true(each_source(SOURCE_DIR "/tests/errors", check_few) >= 45);
    size_t size;
    char *page = read_file(SOURCE_DIR "/docs/language.md", &size);
    for (char *at = page; (at = strstr(at, "\n```ctl"));) {
        bool body = strncmp(at, "\n```ctl body\n", 13) == 0;
        char *begin = strchr(at + 1, '\n') + 1, *end = strstr(begin, "\n```"), text[4000];
        assert_non_null(end);
        int n = snprintf(text, sizeof text, body ? "control c() on n {\n%.*s\n}\n" : "%.*s\n", (int)(end - begin), begin);
        check("docs/language.md", text, (size_t)n, 20);
        at = end + 4;
    }
    free(page);
    assert_true(formatted > 80);
    assert_true(mutated > 1000);
}

/* ---- failing allocations ---- */
static void count_text(void *ctx, const char *pass, const char *text, size_t size) {
    assert_string_equal(pass, "format");
    assert_int_equal(strlen(text), size);
    *(size_t *)ctx = size;
}

static void failing_allocations(void **state) {
    (void)state;
    ctl_status status = CTL_ERR_MEMORY;
    size_t size = 0;
    for (size_t n = 0; status != CTL_OK; n++) {
        meter m = {.left = n};
        ctl_allocator allocator = {&m, meter_resize};
        ctlc_options options = {.allocator = &allocator, .dump = count_text, .dump_ctx = &size};
        status = ctlc_format_text("a.ctl", ctl_stdlib[0].text, ctl_stdlib[0].size, &options);
        assert_int_equal(m.held, 0);
        assert_true(status == CTL_OK || (status == CTL_ERR_MEMORY && size == 0));
        assert_true(n < 1000);
    }
    assert_true(size > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spaces),     cmocka_unit_test(statements), cmocka_unit_test(blank_lines),
        cmocka_unit_test(comments),   cmocka_unit_test(long_lines), cmocka_unit_test(refuses),
        cmocka_unit_test(promises),   cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
