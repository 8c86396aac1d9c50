/* docs/methods.md: every call of a control on it compiles on a network of its family, with the parameters that it names; and
 * every control of the library is on it. */
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

static const char models[] =
    "import llama, gpt2, bert, roberta, vit, linear_systems, tuning, gpt2_tuning, bert_tuning, vit_tuning\n"
    "model llama = llama.causal_lm(; vocab = 20, dim = 32, depth = 3, heads = 4, kv_heads = 2, ffn = 48, theta = 10000.0)\n"
    "model labelling = llama.classifier(; vocab = 20, dim = 32, depth = 1, heads = 4, kv_heads = 2, ffn = 48, theta = 10000.0)\n"
    "model gpt2 = gpt2.causal_lm(; vocab = 20, dim = 32, depth = 2, heads = 4, positions = 16)\n"
    "model gpt2_labelling = gpt2.classifier(; vocab = 20, dim = 32, depth = 1, heads = 4, positions = 16)\n"
    "model bert = bert.classifier(; vocab = 20, dim = 32, depth = 2, heads = 4, ffn = 48, positions = 16)\n"
    "model roberta = roberta.classifier(; vocab = 20, dim = 32, depth = 2, heads = 4, ffn = 48, positions = 18)\n"
    "model vit = vit.classifier(; patch = 12, positions = 17, dim = 32, depth = 2, heads = 4, ffn = 48, wide = true)\n"
    "model chain = linear_systems.deep_linear(; depth = 4, d = 8)\n"
    "model system = linear_systems.residual(; depth = 4, d = 8)\n";

/* By the beginning of the call, the first that fits. */
static const struct {
    const char *call, *model;
} families[] = {
    {"bert_tuning.bert_", "bert"}, {"bert_tuning.", "roberta"}, {"vit_tuning.", "vit"},
    {"gpt2_tuning.head(", "gpt2_labelling"}, {"gpt2_tuning.classifier_", "gpt2_labelling"}, {"gpt2_tuning.", "gpt2"},
    {"tuning.head(", "labelling"}, {"tuning.classifier_", "labelling"},
    {"tuning.linear_lora(", "chain"}, {"tuning.steering(", "system"}, {"tuning.affine(", "system"}, {"tuning.", "llama"},
};

static void hear(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    char text[4000];
    ctl_diagnostic_text(d, text, sizeof text);
    print_error("%s\n", text);
}

static bool compiles(const char *source) {
    ctl_program *program = NULL;
    ctlc_options options = {.diagnostic = hear, .check_only = true, .verify = true};
    ctl_status status = ctlc_compile_text("methods.md", source, strlen(source), &options, &program);
    ctl_program_free(program);
    return status == CTL_OK;
}

static void calls(void **state) {
    (void)state;
    char *text = page_read_file(SOURCE_DIR "/docs/methods.md");
    assert_non_null(text);
    int found = 0;
    for (const char *at = text; (at = strchr(at, '`')); at++) {
        char call[200], source[4000];
        int end = 0;
        if (sscanf(at, "`%199[a-z0-9_.](%n", call, &end) != 1 || !end || !strstr(call, "tuning.")) continue;
        snprintf(call, sizeof call, "%.*s", (int)strcspn(at + 1, "`"), at + 1);
        size_t f = 0;
        while (strncmp(call, families[f].call, strlen(families[f].call)) != 0) assert_true(++f < CTL_COUNT(families));
        snprintf(source, sizeof source, "%stune %s with %s {\n    tokens 2 x 16\n}\n", models, families[f].model, call);
        if (!compiles(source)) fail_msg("docs/methods.md: %s", call);
        found++;
    }
    free(text);
    assert_true(found > 50);
}

static void all_controls(void **state) {
    (void)state;
    static const char *const modules[] = {"tuning", "bert_tuning", "vit_tuning", "gpt2_tuning"};
    char *text = page_read_file(SOURCE_DIR "/docs/methods.md");
    assert_non_null(text);
    int found = 0;
    for (size_t m = 0; m < CTL_COUNT(modules); m++) {
        char path[500], name[100], call[200];
        snprintf(path, sizeof path, SOURCE_DIR "/stdlib/%s.ctl", modules[m]);
        char *source = page_read_file(path);
        assert_non_null(source);
        for (const char *at = source; (at = strstr(at, "\ncontrol ")); at++, found++) {
            assert_int_equal(sscanf(at, "\ncontrol %99[a-z0-9_]", name), 1);
            snprintf(call, sizeof call, "`%s.%s(", modules[m], name);
            if (!strstr(text, call)) fail_msg("docs/methods.md lacks %s", call);
        }
        free(source);
    }
    free(text);
    assert_true(found > 40);
}

static void examples(void **state) {
    (void)state;
    page p;
    int found = 0;
    assert_true(page_open(&p, SOURCE_DIR "/docs/methods.md"));
    for (size_t i = 0; i < p.n; i++)
        for (size_t k = 0; k < p.sections[i].nexamples; k++, found++) {
            char source[4000];
            const char *own = strstr(p.sections[i].examples[k].text, "tune ") ? ""
                : "model m = llama.causal_lm(; vocab = 20, dim = 32, depth = 1, heads = 4, kv_heads = 2, ffn = 48, theta = 10000.0)\n"
                  "tune m with gated_ud(rank = 2) {\n    tokens 2 x 16\n}\n";
            snprintf(source, sizeof source, "%s%s", p.sections[i].examples[k].text, own);
            if (!compiles(source)) fail_msg("docs/methods.md:%d", p.sections[i].examples[k].line);
        }
    page_close(&p);
    assert_int_equal(found, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(calls), cmocka_unit_test(all_controls), cmocka_unit_test(examples)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
