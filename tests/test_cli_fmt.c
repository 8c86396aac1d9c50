/* `ctlc fmt` as a user meets it: files in place, --check, --diff, standard input, and what is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "tests/command.h"

static const char ROUGH[] = "import llama,tuning\n\n\n# a model\nmodel m=llama.causal_lm(;vocab=258)\n";
static const char TIDY[] = "import llama, tuning\n\n# a model\nmodel m = llama.causal_lm(; vocab = 258)\n";

static void holds(const char *name, const char *expected) {
    char path[256], text[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    assert_string_equal(text, expected);
}

static void in_place(void **state) {
    (void)state;
    write_file("a.ctl", ROUGH);
    write_file("b.ctl", TIDY);
    assert_int_equal(ctlc("fmt a.ctl b.ctl"), 0);
    assert_string_equal(output, "");
    holds("a.ctl", TIDY);
    holds("b.ctl", TIDY);
}

/* A link stays a link, permissions stay, a file that does not change is not written, nothing else is left. */
static void the_file_itself(void **state) {
    (void)state;
    char command[512], path[256];
    struct stat before, after;
    write_file("real.ctl", ROUGH);
    snprintf(command, sizeof command, "cd '%s' && chmod 640 real.ctl && ln -s real.ctl link.ctl", folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(ctlc("fmt link.ctl"), 0);
    holds("real.ctl", TIDY);
    snprintf(path, sizeof path, "%s/link.ctl", folder);
    assert_int_equal(lstat(path, &after), 0);
    assert_true(S_ISLNK(after.st_mode));
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(before.st_mode & 0777, 0640);
    assert_int_equal(ctlc("fmt real.ctl"), 0);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_ino, before.st_ino);
    snprintf(command, sizeof command, "test -z \"$(ls '%s' | grep tmp)\"", folder);
    assert_int_equal(system(command), 0);
}

static void check(void **state) {
    (void)state;
    write_file("a.ctl", ROUGH);
    write_file("b.ctl", TIDY);
    assert_int_equal(ctlc("fmt --check b.ctl"), 0);
    assert_string_equal(output, "");
    assert_int_equal(ctlc("fmt --check a.ctl b.ctl 2>/dev/null"), 1);
    assert_string_equal(output, "a.ctl\n");
    assert_int_equal(ctlc("fmt --check a.ctl b.ctl"), 1);
    says("1 of 2 files are not formatted");
    holds("a.ctl", ROUGH);
}

static void diff(void **state) {
    (void)state;
    write_file("a.ctl", ROUGH);
    assert_int_equal(ctlc("fmt --diff a.ctl"), 0);
    assert_string_equal(output, "--- a.ctl\n+++ a.ctl (formatted)\n@@ -1,5 +1,4 @@\n-import llama,tuning\n+import llama, tuning\n"
                                " \n-\n # a model\n-model m=llama.causal_lm(;vocab=258)\n"
                                "+model m = llama.causal_lm(; vocab = 258)\n");
    holds("a.ctl", ROUGH);
    assert_int_equal(ctlc("fmt --diff --check a.ctl"), 1);
    says("+import llama, tuning\n");
    /* `patch` understands it, changes far apart and at both ends included */
    char text[4096] = "fn a(x)=x\n", command[512];
    for (int i = 0; i < 40; i++) sprintf(text + strlen(text), "fn f%d(x)%s= x\n", i, i == 12 || i == 30 ? "  " : " ");
    strcat(text, "\n\nfn z(x)=x");
    write_file("long.ctl", text);
    snprintf(command, sizeof command,
             "cd '%s' && '%s' fmt --diff long.ctl > long.diff && cp long.ctl other.ctl && '%s' fmt other.ctl && "
             "test $(grep -c '^@@' long.diff) = 4",
             folder, CTLC, CTLC);
    assert_int_equal(system(command), 0);
    if (system("command -v patch >/dev/null")) {
        print_message("SKIPPED: `patch` is not there\n");
        return;
    }
    snprintf(command, sizeof command, "cd '%s' && patch -s long.ctl < long.diff && cmp long.ctl other.ctl", folder);
    assert_int_equal(system(command), 0);
}

static void standard_input(void **state) {
    (void)state;
    write_file("a.ctl", ROUGH);
    assert_int_equal(ctlc("fmt - < a.ctl"), 0);
    assert_string_equal(output, TIDY);
    assert_int_equal(ctlc("fmt --check - < a.ctl 2>/dev/null"), 1);
    assert_string_equal(output, "-\n");
    write_file("bad.ctl", "net\n");
    assert_int_equal(ctlc("fmt - < bad.ctl"), 1);
    says("<stdin>:1:4: error[E0102]");
}

/* One with errors is left as it is; the others are formatted all the same. */
static void errors(void **state) {
    (void)state;
    static const char bad[] = "net f(x) -> y {\n  y <- )\n}\n";
    write_file("bad.ctl", bad);
    write_file("a.ctl", ROUGH);
    assert_int_equal(ctlc("fmt bad.ctl a.ctl"), 1);
    says("bad.ctl:2:8: error[E0102]: expected an expression, found ')'");
    holds("bad.ctl", bad);
    holds("a.ctl", TIDY);
    assert_int_equal(ctlc("fmt absent.ctl"), 4);
    says("error[E0701]: cannot open 'absent.ctl'");
    assert_int_equal(ctlc("fmt ."), 1);
    says("is not a file of at most");
    assert_int_equal(ctlc("fmt"), 2);
    says("what is missing: FILE.ctl");
}

/* The library and the examples are as the formatter writes them. */
static void own_sources(void **state) {
    (void)state;
    assert_int_equal(ctlc("fmt --check %s/stdlib/*.ctl %s/examples/*.ctl", SOURCE_DIR, SOURCE_DIR), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_place), cmocka_unit_test(the_file_itself), cmocka_unit_test(check),       cmocka_unit_test(diff),
        cmocka_unit_test(errors),   cmocka_unit_test(standard_input),  cmocka_unit_test(own_sources),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
