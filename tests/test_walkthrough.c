/* docs/walkthrough.md: its commands, in its order, on a tiny model. A block `sh MODULE` is run where Python has the module, and
 * else said to be skipped; the token files that it would have made are those of tests/tokenize. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "tests/command.h"
#include "tests/page.h"

static const char BASE[] = "import llama, tuning\n"
                           "model m = llama.causal_lm(; vocab = 17, dim = 16, depth = 2, heads = 2, kv_heads = 2, ffn = 32, theta = 10000.0)\n"
                           "tune m with tuning.full() {\n    tokens 2 x 16\n    adamw(; lr = 1e-2, steps = 1)\n}\n";
static const char CONFIG[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": 17, \"hidden_size\": 16, \"intermediate_size\": 32, "
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"num_key_value_heads\": 2, \"rms_norm_eps\": 1e-05, \"rope_theta\": 10000.0, "
    "\"max_position_embeddings\": 512, \"hidden_act\": \"silu\", \"tie_word_embeddings\": false, \"attention_bias\": false, \"mlp_bias\": false, "
    "\"torch_dtype\": \"float32\"}\n";
static const char QUESTIONS[] =
    "[{\"instruction\": \"which is more\\n\\nAnswer format: one/two\", \"input\": \"\", \"output\": \"is two\", \"answer\": \"two\"},\n"
    " {\"instruction\": \"add one two\\n\\nAnswer format: two/three\", \"input\": \"\", \"output\": \"is three\", \"answer\": \"three\"}]\n";

/* In the folder, with ctlc in the path; what is printed is in `output`. */
static int shell(const char *text) {
    char command[1024];
    write_file("script", text);
    snprintf(command, sizeof command, "cd '%s' && PATH=\"%s/bin:$PATH\" bash -e script 2>&1", folder, folder);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    output[fread(output, 1, sizeof output - 1, p)] = 0;
    return WEXITSTATUS(pclose(p));
}

static void prepare(void) {
    char text[1024];
    snprintf(text, sizeof text,
             "mkdir bin model && ln -s '%s' bin/ctlc && ln -s '" SOURCE_DIR "/tools' tools\n"
             "cp '" SOURCE_DIR "/tests/tokenize/output.safetensors' train.safetensors\n"
             "cp '" SOURCE_DIR "/tests/tokenize/items.safetensors' test.safetensors\n"
             "cp '" SOURCE_DIR "/tests/tokenize/tokenizer.json' model\n",
             CTLC);
    assert_int_equal(shell(text), 0);
    write_file("base.ctl", BASE);
    write_file("model/config.json", CONFIG);
    write_file("arc_easy_train.json", QUESTIONS);
    write_file("arc_easy_test.json", QUESTIONS);
    assert_int_equal(shell("ctlc train base.ctl --data train.safetensors --eval-fraction 0 --out base --quiet\n"
                           "mv base/model.safetensors model\n"),
                     0);
}

static bool can_run(const page_example *e) {
    char probe[128];
    if (strcmp(e->info, "sh") == 0) return true;
    assert_int_equal(strncmp(e->info, "sh ", 3), 0);
    snprintf(probe, sizeof probe, "python3 -c 'import %s'\n", e->info + 3);
    if (shell(probe) == 0) return true;
    print_message("skipped: docs/walkthrough.md:%d: python3 has no %s\n", e->line, e->info + 3);
    return false;
}

static void test_page(void **state) {
    (void)state;
    static page walkthrough;
    int run = 0;
    prepare();
    assert_true(page_open(&walkthrough, SOURCE_DIR "/docs/walkthrough.md"));
    for (size_t i = 0; i < walkthrough.n; i++)
        for (size_t k = 0; k < walkthrough.sections[i].nexamples; k++) {
            const page_example *e = &walkthrough.sections[i].examples[k];
            if (!can_run(e)) continue;
            if (shell(e->text) != 0) fail_msg("docs/walkthrough.md:%d fails:\n%s", e->line, output);
            if (strstr(e->text, "ctlc eval")) says("multiple choice ");
            if (strstr(e->text, "ctlc train")) says("the adapter is in arc");
            run++;
        }
    assert_true(run >= 4);
    assert_int_equal(shell("test -s arc-peft/adapter_model.safetensors && grep -q '\"LORA\"' arc-peft/adapter_config.json\n"), 0);
    page_close(&walkthrough);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_page)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
