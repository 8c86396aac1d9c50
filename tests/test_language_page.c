/* docs/language.md: each of its examples is compiled. What an example needs around it, a net that has its names or a model
 * that uses it, stands here by the heading that it stands below; an example of a heading that is not listed must do as a
 * whole spec, in a small net, or in a control of a LLaMA's block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "base/base.h"
#include "ctl/ctlc.h"
#include "tests/page.h"

#define LLAMA                                                                                                          \
    "model m = llama.causal_lm(; vocab = 258, dim = 16, depth = 4, heads = 2, kv_heads = 2, ffn = 32, theta = 10000.0)\n"
#define ROWS "{\n    tokens 2 x 8\n}\n"
#define NET(parameters) "import llama, control\nnet f(x: w, target: w; w" parameters ") -> y, loss {\n"
#define NET_END(arguments)                                                                                             \
    "    y <- x\n    loss <- mse(y, target)\n}\nmodel m = f(; w = 8" arguments ")\ntune m " ROWS
#define CONTROL(parameters, net) "import llama, control\ncontrol c(" parameters ") on " net " {\n"
#define CONTROL_END "}\n" LLAMA "tune m with c() " ROWS

static const struct {
    const char *heading;
    size_t which; /* example below it */
    const char *before, *after;
} frames[] = {
    {"import", 0, "", LLAMA "tune m " ROWS},
    {"fn: a function, element by element", 0, "",
     "net f(x: w, target: w; w) -> y, loss {\n    y <- silu(x)\n    loss <- mse(y, target)\n}\nmodel m = f(; w = 8)\ntune m " ROWS},
    {"net", 0, "",
     "net f(x: w, target: w; w) -> y, loss {\n    y <- a: residual(x)\n    loss <- mse(y, target)\n}\nmodel m = f(; w = 8)\n"
     "tune m " ROWS},
    {"net", 1, "", "model m = regression(; d = 8)\ntune m " ROWS},
    {"control", 0, "import llama, control\n", LLAMA "tune m with ud(rank = 2) " ROWS},
    {"model, tune", 0, "import llama, tuning\n", ""},
    {"weight", 0, NET(", n = 4, rank = 2"), NET_END("")},
    {"`<-`: an edge", 0, NET(", heads = 2, kv_heads = 2, theta = 10000.0"), NET_END("")},
    {"`=`: a value", 0, NET(""), NET_END("")},
    {"`=>`: in series", 0, CONTROL("rank = 2", "llama.block"), CONTROL_END},
    {"`~`: in the place of a product", 0, CONTROL("rank = 2, alpha = 4", "llama.block"), CONTROL_END},
    {"An instance on a line of its own", 0, NET(", eps = 1e-5"), NET_END("")},
    {"for, if", 0, NET(", depth, tied = true"), NET_END(", depth = 3")},
    {"for, if", 0, NET(", depth, tied = false"), NET_END(", depth = 3")},
    {"for, if", 0, NET(", depth, tied = false"), NET_END(", depth = 2")},
    {"train, freeze", 0,
     CONTROL("", "llama.block") "    self_attn.{q_proj, v_proj}.weight ~ control.lora(; rank = 2, alpha = 4)\n", CONTROL_END},
    {"Calls, labels, paths", 0, CONTROL("rank = 2, alpha = 4", "llama.decoder"),
     "}\nmodel m = llama.causal_lm(; vocab = 258, dim = 16, depth = 4, heads = 2, kv_heads = 2, ffn = 32, theta = 10000.0, biased = true)\n"
     "tune m with c() " ROWS},
    {"Expressions", 0, NET("") "    map: linear(x)\n", NET_END("")},
    {"Rows", 0, "", "model m = labelled(; d = 8, classes = 3)\ntune m " ROWS},
    {"The standard library", 0, "", LLAMA "tune m with cross(rank = 2, hop = 1) " ROWS},
    /* anywhere else */
    {NULL, 0, "", ""},
    {NULL, 0, NET(""), NET_END("")},
    {NULL, 0, CONTROL("rank = 2, alpha = 4", "llama.block"), CONTROL_END},
};

typedef struct said {
    char text[4000];
} said;

static void hear(void *ctx, const ctl_diagnostic *d) {
    said *s = ctx;
    size_t n = strlen(s->text);
    ctl_diagnostic_text(d, s->text + n, sizeof s->text - n);
}

static bool compiles(const char *source, const char *tune, said *s) {
    ctl_program *program = NULL;
    ctlc_options options = {.diagnostic = hear, .diagnostic_ctx = s, .check_only = true, .verify = true, .tune = tune};
    ctl_status status = ctlc_compile_text("example.ctl", source, strlen(source), &options, &program);
    ctl_program_free(program);
    return status == CTL_OK;
}

/* Every tune block of the source. */
static bool all_compile(const char *source, said *s) {
    bool named = false;
    for (const char *at = source; (at = strstr(at, "\ntune ")); at++) {
        char name[64];
        int equals = 0;
        if (sscanf(at, "\ntune %60[a-z_] =%n", name, &equals) != 1 || !equals) continue;
        named = true;
        if (!compiles(source, name, s)) return false;
    }
    return named || compiles(source, NULL, s);
}

static void run(const page_section *section, size_t k) {
    const page_example *example = &section->examples[k];
    bool listed = false, good = false;
    said all = {""};
    for (size_t f = 0; f < CTL_COUNT(frames); f++) {
        bool own = frames[f].heading && strcmp(frames[f].heading, section->heading) == 0 && frames[f].which == k;
        if (!own && (frames[f].heading || listed || good)) continue;
        char source[8000];
        said s = {""};
        snprintf(source, sizeof source, "%s%s%s", frames[f].before, example->text, frames[f].after);
        bool fits = all_compile(source, &s);
        if (own && !fits) fail_msg("docs/language.md:%d: %s\n%s", example->line, source, s.text);
        listed |= own, good |= fits;
        if (!fits) strcpy(all.text, s.text);
    }
    if (!good)
        fail_msg("docs/language.md:%d: the example below \"%s\" compiles neither as a spec, nor in a net, nor in a control: list what it "
                 "needs in tests/test_language_page.c\n%s", example->line, section->heading, all.text);
}

static void examples(void **state) {
    (void)state;
    page p;
    assert_true(page_open(&p, SOURCE_DIR "/docs/language.md"));
    int found = 0;
    for (size_t i = 0; i < p.n; i++)
        for (size_t k = 0; k < p.sections[i].nexamples; k++) {
            const char *info = p.sections[i].examples[k].info;
            if (strncmp(info, "ctl", 3) != 0) continue;
            run(&p.sections[i], k);
            found++;
        }
    assert_true(found > 18);
    for (size_t f = 0; f < CTL_COUNT(frames); f++) { /* what is listed is there */
        bool there = !frames[f].heading;
        for (size_t i = 0; i < p.n; i++)
            there |= frames[f].heading && strcmp(frames[f].heading, p.sections[i].heading) == 0 &&
                     frames[f].which < p.sections[i].nexamples;
        if (!there) fail_msg("docs/language.md has no example %zu below \"%s\"", frames[f].which, frames[f].heading);
    }
    page_close(&p);
}

/* Each function of the language stands in the page. */
static void names(void **state) {
    (void)state;
    char *text = page_read_file(SOURCE_DIR "/docs/language.md"), *source = page_read_file(SOURCE_DIR "/compiler/elaborate/builtins.c");
    assert_true(text && source);
    int found = 0;
    for (const char *at = source; (at = strstr(at, "{\"")); at++) {
        char name[40];
        int end = 0;
        if (sscanf(at, "{\"%39[a-z_0-9]\", B_%n", name, &end) != 1 || !end) continue;
        if (!strstr(text, name)) fail_msg("docs/language.md lacks the function %s", name);
        found++;
    }
    assert_true(found > 30);
    free(text), free(source);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(examples), cmocka_unit_test(names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
