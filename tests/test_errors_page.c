/* docs/errors.md: each code of base/codes.def is in the page once, is used in the sources, has a remedy and an example,
 * and the example is run: what it says stands in it behind `# error: `, on the line where it is said. Codes that a
 * command cannot bring about name the test that shows them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "base/diag.h"
#include "ctl/ctlc.h"
#include "tests/command.h"
#include "tests/page.h"

static page errors_page;

static int open_page(void **state) {
    if (make_folder(state)) return -1;
    return page_open(&errors_page, SOURCE_DIR "/docs/errors.md") ? 0 : -1;
}
static int close_page(void **state) {
    page_close(&errors_page);
    return remove_folder(state);
}

static const char *const codes[] = {
#define CODE(id, summary) #id,
#include "base/codes.def"
#undef CODE
};

/* The section of a code: exactly one. */
static const page_section *section_of(const char *code) {
    const page_section *found = NULL;
    for (size_t i = 0; i < errors_page.n; i++) {
        const page_section *s = &errors_page.sections[i];
        if (strncmp(s->heading, code, strlen(code)) != 0 || s->heading[strlen(code)] != ':') continue;
        if (found) fail_msg("docs/errors.md has %s twice", code);
        found = s;
    }
    if (!found) fail_msg("docs/errors.md lacks %s", code);
    return found;
}

static void remedies(void **state) {
    (void)state;
    for (size_t i = 0; i < CTL_COUNT(codes); i++)
        if (!strstr(section_of(codes[i])->text, "Remedy: ")) fail_msg("%s has no remedy", codes[i]);
}

/* No code that nothing reports any more. */
static void used(void **state) {
    (void)state;
    for (size_t i = 0; i < CTL_COUNT(codes); i++) {
        char command[1024];
        snprintf(command, sizeof command,
                 "cd '" SOURCE_DIR "' && grep -rqE 'CTL_%s|\"%s' --include=*.c --include=*.h --include=*.l --include=*.y base compiler grammar runtime "
                 "train tools",
                 codes[i], codes[i]);
        if (system(command) != 0) fail_msg("%s is used nowhere", codes[i]);
    }
}

/* ---- examples of the language ---- */
#define LLAMA                                                                                                          \
    "model m = llama.causal_lm(; vocab = 258, dim = 16, depth = 2, heads = 2, kv_heads = 2, ffn = 32, theta = 10000.0)\n"
static const struct {
    const char *info, *before, *after;
} frames[] = {
    {"ctl", "", ""},
    {"ctl net", "import llama, control\nnet f(x: d, target: d; d) -> y, loss {\n",
     "    loss <- mse(y, target)\n}\nmodel m = f(; d = 4)\ntune m {\n    tokens 2 x 8\n}\n"},
    {"ctl control", "import llama, control\ncontrol c() on llama.block {\n", "}\n" LLAMA "tune m with c() {\n    tokens 2 x 8\n}\n"},
    {"ctl tune", "import llama, tuning\n" LLAMA "tune m with tuning.double(rank = 2) {\n", "}\n"},
};

typedef struct awaited {
    const char *code, *message;
    int line;
    bool heard;
    char said[4000];
} awaited;

static void hear(void *ctx, const ctl_diagnostic *d) {
    awaited *a = ctx;
    size_t n = strlen(a->said);
    a->heard |= strcmp(d->code, a->code) == 0 && d->line == a->line && strcmp(d->message, a->message) == 0;
    ctl_diagnostic_text(d, a->said + n, sizeof a->said - n);
}

static int lines_before(const char *text, const char *at) {
    int n = 0;
    for (; text < at; text++) n += *text == '\n';
    return n;
}

static void run_source(const char *code, const page_example *example, size_t frame) {
    char source[4096], message[1024];
    const char *mark = strstr(example->text, "# error: ");
    if (!mark) fail_msg("docs/errors.md:%d: the example does not say its error", example->line);
    snprintf(message, sizeof message, "%.*s", (int)strcspn(mark + 9, "\n"), mark + 9);
    snprintf(source, sizeof source, "%s%s%s", frames[frame].before, example->text, frames[frame].after);
    awaited a = {.code = code, .message = message};
    a.line = 1 + lines_before(frames[frame].before, frames[frame].before + strlen(frames[frame].before)) +
             lines_before(example->text, mark);
    ctl_program *program = NULL;
    ctlc_options options = {.diagnostic = hear, .diagnostic_ctx = &a, .check_only = true};
    ctlc_compile_text("example.ctl", source, strlen(source), &options, &program);
    ctl_program_free(program);
    if (!a.heard) fail_msg("docs/errors.md:%d: %s is not said in line %d:\n%s%s", example->line, code, a.line, source, a.said);
}

/* ---- examples of commands ---- */
static const char TINY[] = "import llama, tuning\n\n"
                           "model tiny = llama.causal_lm(; vocab = 258, dim = 16, depth = 2, heads = 2, kv_heads = 2, ffn = 32, theta = 10000.0)\n\n"
                           "tune tiny with %s {\n    tokens 2 x 16\n    adamw(; lr = 1e-2)\n}\n";

/* In a folder of its own; the last command fails with the code and the message, which may end in `..`. */
static void run_commands(const char *code, const page_example *example) {
    char text[4000], command[6000];
    snprintf(command, sizeof command, "cd '%s' && rm -rf work bin && mkdir work bin && ln -s '%s' bin/ctlc", folder, CTLC);
    assert_int_equal(system(command), 0);
    snprintf(text, sizeof text, TINY, "tuning.lora_qkv(rank = 2, alpha = 4)");
    write_file("work/tiny.ctl", text);
    snprintf(text, sizeof text, TINY, "tuning.full()");
    write_file("work/whole.ctl", text);
    text[0] = 0;
    for (int i = 0; i < 40; i++) sprintf(text + strlen(text), "line %d: what is said here is said again\n", i);
    write_file("work/text.txt", text);
    write_file("script", example->text);
    snprintf(command, sizeof command, "cd '%s/work' && PATH=\"%s/bin:$PATH\" bash ../script 2>&1", folder, folder);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    output[fread(output, 1, sizeof output - 1, p)] = 0;
    pclose(p);
    const char *mark = strstr(example->text, "# error: ");
    if (!mark) mark = strstr(example->text, "# warning: ");
    if (!mark) fail_msg("docs/errors.md:%d: the example does not say its error", example->line);
    const char *said = strchr(mark, ':') + 2;
    size_t n = strcspn(said, "\n");
    if (n > 2 && strncmp(said + n - 2, "..", 2) == 0) n -= 2;
    snprintf(text, sizeof text, "%.*s[%s]: %.*s", (int)(said - mark - 4), mark + 2, code, (int)n, said);
    if (!strstr(output, text)) fail_msg("docs/errors.md:%d: \"%s\" is not said:\n%s", example->line, text, output);
}

/* `<!-- shown by tests/test_x.c -->`: that test names the code. */
static bool shown_elsewhere(const char *code, const page_section *s) {
    const char *mark = strstr(s->text, "<!-- shown by ");
    char path[512];
    if (!mark) return false;
    snprintf(path, sizeof path, SOURCE_DIR "/%.*s", (int)strcspn(mark + 14, " "), mark + 14);
    char *test = page_read_file(path);
    if (!test || !strstr(test, code)) fail_msg("%s does not show %s", path, code);
    free(test);
    return true;
}

static void examples(void **state) {
    (void)state;
    int run = 0;
    for (size_t i = 0; i < CTL_COUNT(codes); i++) {
        const page_section *s = section_of(codes[i]);
        for (size_t k = 0; k < s->nexamples; k++, run++) {
            const page_example *example = &s->examples[k];
            size_t frame = 0;
            while (frame < CTL_COUNT(frames) && strcmp(frames[frame].info, example->info) != 0) frame++;
            if (frame < CTL_COUNT(frames)) run_source(codes[i], example, frame);
            else if (strcmp(example->info, "sh") == 0) run_commands(codes[i], example);
            else fail_msg("docs/errors.md:%d: an example of what? (%s)", example->line, example->info);
        }
        /* A defect of our own cannot be shown. */
        if (s->nexamples == 0 && !shown_elsewhere(codes[i], s) && strncmp(codes[i], "E09", 3) != 0)
            fail_msg("%s has no example, and no `<!-- shown by tests/test_NAME.c -->`", codes[i]);
    }
    assert_true(run > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(remedies), cmocka_unit_test(used), cmocka_unit_test(examples)};
    return cmocka_run_group_tests(tests, open_page, close_page);
}
