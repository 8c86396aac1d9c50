/* Diagnostics: the text for a terminal and the JSON line, byte for byte; what hostile sources become; counting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/diag.h"

typedef struct seen {
    char text[20000];
    int n;
} seen;

static void collect(void *ctx, const ctl_diagnostic *d) {
    seen *s = ctx;
    size_t at = strlen(s->text);
    ctl_diagnostic_text(d, s->text + at, sizeof s->text - at);
    s->n++;
}

typedef struct bench {
    ctl_arena arena;
    jmp_buf out;
    ctl_sink sink;
    seen seen;
} bench;

static int setup(void **state) {
    bench *b = calloc(1, sizeof *b);
    ctl_arena_init(&b->arena, NULL, &b->out);
    b->sink = (ctl_sink){.arena = &b->arena, .fn = collect, .ctx = &b->seen};
    *state = b;
    return 0;
}
static int teardown(void **state) {
    bench *b = *state;
    ctl_arena_free(&b->arena);
    free(b);
    return 0;
}

static void check(bench *b, const char *source, size_t size, uint32_t begin, uint32_t end, const char *expected) {
    uint32_t file = ctl_sink_add_source(&b->sink, "a.ctl", source, size);
    b->seen.text[0] = 0;
    ctl_error(&b->sink, CTL_E0102, ((ctl_span){file, begin, end}), NULL, "wrong");
    assert_string_equal(b->seen.text, expected);
}
#define CHECK(source, begin, end, expected) check(b, source, sizeof source - 1, begin, end, expected)

static void places(void **state) {
    bench *b = *state;
    CHECK("one\ntwo three\n", 8, 13, "a.ctl:2:5: error[E0102]: wrong\n    2 | two three\n      |     ^~~~~\n");
    CHECK("one", 0, 1, "a.ctl:1:1: error[E0102]: wrong\n    1 | one\n      | ^\n");
    /* beyond the end; an empty span; a span of several lines is underlined on its first */
    CHECK("one", 3, 3, "a.ctl:1:4: error[E0102]: wrong\n    1 | one\n      |    ^\n");
    CHECK("one\n", 99, 120, "a.ctl:2:1: error[E0102]: wrong\n    2 | \n      | ^\n");
    CHECK("one two\nthree", 4, 13, "a.ctl:1:5: error[E0102]: wrong\n    1 | one two\n      |     ^~~\n");
    CHECK("", 0, 0, "a.ctl:1:1: error[E0102]: wrong\n    1 | \n      | ^\n");
    /* the newline itself; a carriage return is no part of a line */
    CHECK("one\ntwo", 3, 4, "a.ctl:1:4: error[E0102]: wrong\n    1 | one\n      |    ^\n");
    CHECK("one\r\ntwo", 1, 2, "a.ctl:1:2: error[E0102]: wrong\n    1 | one\n      |  ^\n");
}

static void hostile_text(void **state) {
    bench *b = *state;
    /* a tab is one column; characters of several bytes are one column */
    CHECK("\tx", 1, 2, "a.ctl:1:2: error[E0102]: wrong\n    1 |  x\n      |  ^\n");
    CHECK("\xc3\xa4\xe2\x82\xac x", 6, 7, "a.ctl:1:7: error[E0102]: wrong\n    1 | \xc3\xa4\xe2\x82\xac x\n      |    ^\n");
    CHECK("\xc3\xa4\xc3\xa4", 0, 4, "a.ctl:1:1: error[E0102]: wrong\n    1 | \xc3\xa4\xc3\xa4\n      | ^~\n");
    /* an escape, a NUL, a lone byte, an overlong form, a surrogate, a turn of direction, C1 */
    CHECK("\x1b[31mx", 5, 6, "a.ctl:1:6: error[E0102]: wrong\n    1 | \xef\xbf\xbd[31mx\n      |      ^\n");
    CHECK("a\0b", 2, 3, "a.ctl:1:3: error[E0102]: wrong\n    1 | a\xef\xbf\xbd" "b\n      |   ^\n");
    CHECK("\xff.\xc0\xaf.\xed\xa0\x80", 1, 2,
          "a.ctl:1:2: error[E0102]: wrong\n    1 | \xef\xbf\xbd.\xef\xbf\xbd\xef\xbf\xbd.\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\n"
          "      |  ^\n"); /* a replacement for each byte that is none, as Unicode recommends */
    CHECK("\xe2\x80\xae.\xc2\x9b.", 3, 4,
          "a.ctl:1:4: error[E0102]: wrong\n    1 | \xef\xbf\xbd.\xef\xbf\xbd.\n      |  ^\n");
    /* cut off in the middle of a character */
    CHECK("\xe2\x82", 0, 1, "a.ctl:1:1: error[E0102]: wrong\n    1 | \xef\xbf\xbd\xef\xbf\xbd\n      | ^\n");
    char message[200];
    ctl_diagnostic d = {.severity = CTL_ERROR, .code = "E0701", .file = "\x1b]0;x", .message = "no file '\x07'"};
    ctl_diagnostic_text(&d, message, sizeof message);
    assert_string_equal(message, "\xef\xbf\xbd]0;x: error[E0701]: no file '\xef\xbf\xbd'\n");
}

static void long_lines(void **state) {
    bench *b = *state;
    char line[3001], expected[1000];
    memset(line, 'a', 3000), line[3000] = 0;
    line[1500] = 'X';
    char dots[51] = "";
    memset(dots, 'a', 50);
    /* 100 characters around the mark: 50 before it, it, 49 behind */
    snprintf(expected, sizeof expected,
             "a.ctl:1:1501: error[E0102]: wrong\n    1 | ...%sX%.49s...\n      | %53s^\n", dots, dots, "");
    check(b, line, 3000, 1500, 1501, expected);
    /* an underline as long as the line stays inside the window */
    char tildes[100] = "";
    memset(tildes, '~', 99);
    memset(line, 'a', 3000);
    snprintf(expected, sizeof expected, "a.ctl:1:1: error[E0102]: wrong\n    1 | %s%s...\n      | ^%s\n", dots, dots, tildes);
    check(b, line, 3000, 0, 3000, expected);
}

static void notes_and_hints(void **state) {
    bench *b = *state;
    uint32_t file = ctl_sink_add_source(&b->sink, "a.ctl", "x\n", 2);
    ctl_error(&b->sink, CTL_E0101, ((ctl_span){file, 0, 1}), "do %d", "this is %d", 3);
    ctl_note(&b->sink, CTL_NO_SPAN, "so far");
    ctl_report(&b->sink, CTL_WARNING, CTL_E0103, CTL_NO_SPAN, "rest", "careful");
    assert_string_equal(b->seen.text, "a.ctl:1:1: error[E0101]: this is 3\n    1 | x\n      | ^\n      | hint: do %d\n"
                                      "note: so far\nwarning[E0103]: careful\n  hint: rest\n");
    assert_int_equal(b->sink.errors, 1);
    assert_string_equal(ctl_code_name(CTL_E0102), "E0102");
    assert_string_equal(ctl_code_summary(CTL_E0102), "the text does not follow the grammar");
    assert_string_equal(ctl_code_name((ctl_code)100000), "");
}

static void too_many(void **state) {
    bench *b = *state;
    b->sink.most_errors = 2;
    for (int i = 0; i < 5; i++) {
        ctl_error(&b->sink, CTL_E0102, CTL_NO_SPAN, NULL, "wrong %d", i);
        ctl_note(&b->sink, CTL_NO_SPAN, "because %d", i);
    }
    assert_int_equal(b->sink.errors, 5);
    assert_string_equal(b->seen.text, "error[E0102]: wrong 0\nnote: because 0\nerror[E0102]: wrong 1\nnote: because 1\n"
                                      "note: there are more errors; the first 2 are shown\n");
    b->sink.fn = NULL; /* no listener: counted all the same */
    ctl_error(&b->sink, CTL_E0102, CTL_NO_SPAN, NULL, "wrong");
    assert_int_equal(b->sink.errors, 6);
}

static void json(void **state) {
    (void)state;
    ctl_diagnostic d = {.severity = CTL_ERROR, .code = "E0102", .file = "a\"\\b.ctl", .line = 3, .column = 5, .end_column = 7,
                        .line_text = "\ty <- \x01\xff \xe2\x82\xac", .message = "line\nbreak"};
    char text[500];
    size_t n = ctl_diagnostic_json(&d, text, sizeof text);
    assert_int_equal(n, strlen(text));
    assert_null(strchr(text, '\n'));
    json_t *read = json_loads(text, 0, NULL);
    assert_non_null(read);
    assert_string_equal(json_string_value(json_object_get(read, "severity")), "error");
    assert_string_equal(json_string_value(json_object_get(read, "code")), "E0102");
    assert_string_equal(json_string_value(json_object_get(read, "file")), "a\"\\b.ctl");
    assert_int_equal(json_integer_value(json_object_get(read, "line")), 3);
    assert_int_equal(json_integer_value(json_object_get(read, "column")), 5);
    assert_int_equal(json_integer_value(json_object_get(read, "end_column")), 7);
    assert_string_equal(json_string_value(json_object_get(read, "line_text")), "\ty <- \x01\xef\xbf\xbd \xe2\x82\xac");
    assert_string_equal(json_string_value(json_object_get(read, "message")), "line\nbreak");
    assert_true(json_is_null(json_object_get(read, "hint")));
    json_decref(read);
}

/* A buffer of any size holds the beginning of the text, its NUL, and nothing behind it changes. */
static void small_buffers(void **state) {
    (void)state;
    ctl_diagnostic d = {.severity = CTL_ERROR, .code = "E0102", .file = "a.ctl", .line = 1, .column = 2, .end_column = 3,
                        .line_text = "abc", .message = "wrong", .hint = "right"};
    size_t (*const writers[])(const ctl_diagnostic *, char *, size_t) = {ctl_diagnostic_text, ctl_diagnostic_json};
    for (size_t w = 0; w < 2; w++) {
        char whole[500], part[500];
        size_t n = writers[w](&d, whole, sizeof whole);
        assert_int_equal(n, strlen(whole));
        for (size_t size = 0; size <= n + 1; size++) {
            memset(part, '!', sizeof part);
            assert_int_equal(writers[w](&d, part, size), n);
            if (size) {
                assert_memory_equal(part, whole, size - 1);
                assert_int_equal(part[size - 1], 0);
            }
            assert_int_equal(part[size], '!');
        }
    }
}

/* Each code is explained under its summary, in the page that messages refer to. */
static void every_code_is_explained(void **state) {
    (void)state;
    FILE *file = fopen(SOURCE_DIR "/docs/errors.md", "rb");
    assert_non_null(file);
    char *page = calloc(1, 1 << 20);
    assert_true(fread(page, 1, (1 << 20) - 1, file) > 0);
    fclose(file);
    int n = 0;
    for (int code = CTL_NO_CODE + 1; *ctl_code_name((ctl_code)code); code++, n++) {
        char heading[300];
        snprintf(heading, sizeof heading, "\n### %s: %s\n", ctl_code_name((ctl_code)code), ctl_code_summary((ctl_code)code));
        if (!strstr(page, heading)) fail_msg("docs/errors.md lacks the heading%s", heading);
    }
    assert_true(n > 50);
    free(page);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(places, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_text, setup, teardown),
        cmocka_unit_test_setup_teardown(long_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(notes_and_hints, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many, setup, teardown),
        cmocka_unit_test(json),
        cmocka_unit_test(small_buffers),
        cmocka_unit_test(every_code_is_explained),
    };
    return cmocka_run_group_tests_name("diag", tests, NULL, NULL);
}
