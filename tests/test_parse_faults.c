/* The parser when allocations fail, and on mutated sources of the library, which must end without a crash: what passes for clean
 * comes through printing unchanged. */
#include "tests/parse_fixture.h"

#include "base/random.h"
#include "tests/meter.h"

/* ---- failing allocations ---- */
static bool parses_within(ctl_allocator *allocator) {
    ctl_arena arena;
    jmp_buf out;
    ctl_arena_init(&arena, allocator, &out);
    bool done = setjmp(out) == 0;
    if (done) {
        ctl_sink sink = {.arena = &arena};
        ctl_parse(&arena, &sink, ctl_sink_add_source(&sink, "a", ctl_stdlib[0].text, ctl_stdlib[0].size), "a");
    }
    ctl_arena_free(&arena);
    return done;
}

static void failing_allocations(void **state) {
    (void)state;
    bool done = false;
    for (size_t n = 0; !done; n++) {
        meter m = {.left = n};
        done = parses_within(&(ctl_allocator){&m, meter_resize});
        assert_int_equal(m.held, 0);
        assert_true(n < 1000);
    }
}

/* ---- mutation: seeded, so that a failure can be repeated ---- */
typedef struct dice {
    uint32_t counter, left, out[4];
} dice;
static uint32_t roll(dice *d, uint32_t sides) {
    if (d->left == 0) ctl_philox((uint32_t[4]){d->counter++, 0, 0, 0}, 7, d->out), d->left = 4;
    return (uint32_t)(((uint64_t)d->out[--d->left] * sides) >> 32);
}

/* The next token-like piece from at: a word, or one other character. */
static size_t piece(const char *text, size_t size, size_t at) {
    size_t n = at;
    while (n < size && (('a' <= (text[n] | 32) && (text[n] | 32) <= 'z') || text[n] == '_' || ('0' <= text[n] && text[n] <= '9'))) n++;
    return n == at ? 1 : n - at;
}

/* Parses; whether it was a source without errors, which must come through printing too. */
static bool comes_through(const char *text, size_t size) {
    bench *b = calloc(1, sizeof *b);
    ctl_arena_init(&b->arena, NULL, &b->out);
    b->sink = (ctl_sink){.arena = &b->arena, .fn = collect, .ctx = b, .most_errors = 5};
    if (setjmp(b->out)) fail_msg("the parser left without memory being short");
    ctl_ast_module *m = parse(b, text, size);
    bool clean = b->sink.errors == 0;
    assert_true(clean == (b->said[0] == 0));
    ctl_text once = {.arena = &b->arena}, twice = {.arena = &b->arena};
    ctl_text_add(&once, "%s", ""), ctl_text_add(&twice, "%s", "");
    ctl_ast_print(m, &once);
    if (clean) {
        ctl_ast_print(parse(b, once.at, once.n), &twice);
        assert_int_equal(b->sink.errors, 0);
        assert_string_equal(once.at, twice.at);
    }
    ctl_arena_free(&b->arena);
    free(b);
    return clean;
}

static void mutations(void **state) {
    (void)state;
    static const char *const inserts[] = {"(", ")", "{", "}", "[", "]", "\n", "<-", "..", "**", ".{", ";", ",", "~", "=>", "weight",
                                          "if", "else", "net", "\"", "\xc3\x97", "\xff", "1.", "16x2", "#", "=", "-", "not", "for"};
    dice d = {0};
    int clean = 0;
    for (const ctl_stdlib_file *f = ctl_stdlib; f->name; f++) {
        for (int round = 0; round < 400; round++) {
            size_t size = f->size;
            char *text = malloc(size + 200);
            memcpy(text, f->text, size);
            for (uint32_t edits = 1 + roll(&d, 4); edits; edits--) {
                size_t at = roll(&d, (uint32_t)size + 1), n = at < size ? piece(text, size, at) : 0;
                uint32_t kind = roll(&d, 16);
                if (kind == 0) size = at;
                else if (kind < 6) memmove(text + at, text + at + n, size - at - n), size -= n;
                else {
                    const char *what = kind < 9 ? text + at : inserts[roll(&d, CTL_COUNT(inserts))];
                    char copy[40];
                    size_t m = kind < 9 ? (n < 40 ? n : 40) : strlen(what);
                    memcpy(copy, what, m);
                    memmove(text + at + m, text + at, size - at);
                    memcpy(text + at, copy, m), size += m;
                }
            }
            clean += comes_through(text, size);
            free(text);
        }
    }
    assert_true(clean > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(failing_allocations), cmocka_unit_test(mutations)};
    return cmocka_run_group_tests_name("parse_faults", tests, NULL, NULL);
}
