/* Every message of the elaborator, pinned to the byte: tests/errors/NAME.ctl is compiled, and what is said must be
 * NAME.txt. The texts were read and agreed on by hand; a change of wording is a change of these files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctlc.h"

typedef struct said {
    char text[1 << 16];
    size_t n;
} said;

static void hear(void *ctx, const ctl_diagnostic *d) {
    said *s = ctx;
    s->n += ctl_diagnostic_text(d, s->text + s->n, sizeof s->text - s->n);
    assert_true(s->n + 2 < sizeof s->text);
    s->text[s->n++] = '\n';
    s->text[s->n] = 0;
}

static char *read_whole(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    char *text = calloc(1, 1 << 16);
    *n = fread(text, 1, (1 << 16) - 1, f);
    fclose(f);
    return text;
}

static void test_messages(void **state) {
    (void)state;
    DIR *dir = opendir(SOURCE_DIR "/tests/errors");
    assert_non_null(dir);
    int seen = 0, wrong = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".ctl") != 0) continue;
        char path[1024];
        size_t n, m;
        snprintf(path, sizeof path, SOURCE_DIR "/tests/errors/%s", entry->d_name);
        char *text = read_whole(path, &n);
        snprintf(path, sizeof path, SOURCE_DIR "/tests/errors/%.*s.txt", (int)(dot - entry->d_name), entry->d_name);
        char *expected = read_whole(path, &m);
        assert_non_null(text);
        assert_non_null(expected);
        static said s;
        s.n = 0, s.text[0] = 0;
        ctl_program *program = NULL;
        ctlc_options options = {.diagnostic = hear, .diagnostic_ctx = &s, .check_only = true};
        ctl_status status = ctlc_compile_text(entry->d_name, text, n, &options, &program);
        if (status != CTL_ERR_INPUT || strcmp(s.text, expected) != 0) {
            print_error("%s: status %d, said:\n%s\nexpected:\n%s\n", entry->d_name, (int)status, s.text, expected);
            wrong++;
        }
        assert_null(program);
        free(text);
        free(expected);
        seen++;
    }
    closedir(dir);
    assert_true(seen >= 45);
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_messages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
