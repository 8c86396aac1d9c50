/* `ctlc import`: a spec that compiles and fits its checkpoint, from both forms of config.json; every refusal
 * with the key that asks for what there is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "folder.h"
#include "command.h"
#include "hf_files.h"

/* The LLaMA of hf_files.h. `more` are further keys, `without` one to leave out. */
static void write_config(const char *name, const char *type, const char *more, const char *without) {
    static const char *const keys[][2] = {
        {"vocab_size", "24"},
        {"hidden_size", "16"},
        {"num_hidden_layers", "2"},
        {"num_attention_heads", "4"},
        {"num_key_value_heads", "2"},
        {"intermediate_size", "20"},
        {"rms_norm_eps", "1e-05"},
        {"hidden_act", "\"silu\""},
        {"bos_token_id", "1"},
        {"eos_token_id", "2"},
        {"max_position_embeddings", "64"},
    };
    char path[200], text[2000];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    mkdir(path, 0777);
    int n = snprintf(text, sizeof text, "{\"model_type\": \"%s\", \"architectures\": [\"Test%s\"]", type,
                     strchr("lmq", type[0]) ? "ForCausalLM" : "Model");
    for (size_t i = 0; i < CTL_COUNT(keys); i++)
        if (!without || strcmp(without, keys[i][0]) != 0)
            n += snprintf(text + n, sizeof text - (size_t)n, ", \"%s\": %s", keys[i][0], keys[i][1]);
    snprintf(text + n, sizeof text - (size_t)n, "%s%s}", more[0] ? ", " : "", more);
    hf_text(path, "config.json", text);
}

static void write_weights(const char *name, bool tied, bool biased) {
    char path[200];
    hf_checkpoint c;
    hf_llama(&c, CTL_BF16, 2, tied, biased);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    hf_write(&c, path, 2);
}

static void writes_a_ready_spec(void **state) {
    (void)state;
    write_config("llama", "llama",
                 "\"rope_theta\": 10000.0, \"rope_scaling\": null, \"tie_word_embeddings\": false", NULL);
    write_weights("llama", false, false);
    assert_int_equal(ctlc("import llama -o llama.ctl --memory 2GiB"), 0);
    assert_string_equal(
        output,
        "the weights fit: 21 tensors\nllama.ctl is written; `ctlc plan llama.ctl` tells what it takes\n");
    assert_string_equal(
        text_of("llama.ctl"),
        "# TestForCausalLM, from llama/config.json. What it takes: `ctlc plan`.\n"
        "# Its data: token files that tools/tokenize makes with the checkpoint's tokenizer.json (docs/training.md).\n"
        "# Texts are one stream, cut into sequences; `tokens 256 packed` below, or `ctlc train --whole`, keeps them apart.\n"
        "import llama, tuning\n\n"
        "# The network with its sizes. Frozen; `--weights` reads it from the checkpoint's folder.\n"
        "# Ids of its tokenizer: bos 1, eos 2.\n"
        "model base = llama.causal_lm(; vocab = 24, dim = 16, depth = 2, heads = 4, ffn = 20, eps = 1e-05, "
        "kv_heads = 2, theta = 10000.0)\n\n"
        "# What is tuned: LoRA on the projections q, k, v, up and down.\n"
        "# Others: dora, lora_all, dora_all, rslora, lora_fa, double, ud, mixture, houlsby, parallel_adapter, ia3, vera, red, "
        "loreft, full (--method NAME). "
        "Their text: stdlib/tuning.ctl.\n"
        "tune base with tuning.lora_qkvud(rank = 16, alpha = 32, p = 0.05) {\n"
        "    tokens 4 x 64                                  # sequences of a micro-step x their length; "
        "fewer take less memory\n"
        "    compute bf16                                   # the type of products and of what is kept; sums "
        "are in f32\n"
        "    memory 2 GiB                                   # a plan that takes more is refused before "
        "anything runs\n"
        "    adamw(; lr = 2e-4, warmup = 100, clip = 1.0)\n}\n");
    assert_int_equal(ctlc("check llama.ctl"), 0);
    assert_int_equal(ctlc("plan llama.ctl"), 0);
    /* to standard output, with the machine's memory */
    assert_int_equal(ctlc("import llama 2>/dev/null"), 0);
    says("    memory ");
    says("iB        ");
}

static void every_method_compiles(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
    } methods[] = {{"lora", "tuning.lora_qkvud("},
                   {"dora", "tuning.dora_qkvud("},
                   {"lora_all", "tuning.lora_all("},
                   {"dora_all", "tuning.dora_all("},
                   {"rslora", "tuning.rslora("},
                   {"lora_fa", "tuning.lora_fa("},
                   {"double", "tuning.double("},
                   {"ud", "tuning.ud("},
                   {"mixture", "tuning.ud(rank = 64), tuning.lora_qkv("},
                   {"houlsby", "tuning.houlsby("},
                   {"parallel_adapter", "tuning.parallel_adapter("},
                   {"ia3", "tuning.ia3()"},
                   {"full", "tuning.full()"}};
    write_config("methods", "llama", "", NULL);
    for (size_t i = 0; i < CTL_COUNT(methods); i++) {
        assert_int_equal(ctlc("import methods -o method.ctl --method %s", methods[i].name), 0);
        says("'methods' has no safetensors: names and shapes were not compared\n");
        assert_int_equal(ctlc("fmt --check method.ctl"), 0);
        if (!strstr(text_of("method.ctl"), methods[i].text))
            fail_msg("%s: %s", methods[i].name, text_of("method.ctl"));
        assert_int_equal(ctlc("check method.ctl"), 0);
    }
    assert_int_equal(ctlc("import methods --method lorra"), 1);
    says("error[E0710]: no method for llama is called 'lorra'\n  hint: there are: lora, dora, lora_all, dora_all, rslora");
    assert_int_equal(ctlc("import methods --memory lots"), 2);
    says("--memory is a whole number and KiB, MiB, GiB, KB, MB or GB, not \"lots\"");
}

static void both_forms(void **state) {
    (void)state;
    static const struct {
        const char *type, *more, *wants[3];
    } cases[] = {
        {"llama", "\"rope_theta\": 500000.0", {"theta = 500000.0", "kv_heads = 2"}},
        {"llama",
         "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 1000000}",
         {"theta = 1000000.0"}},
        {"llama", "\"head_dim\": 8, \"tie_word_embeddings\": true", {"head = 8", "tied = true"}},
        {"llama",
         "\"head_dim\": 4, \"rope_scaling\": {\"type\": \"default\"}",
         {"kv_heads = 2, theta = 10000.0"}},
        {"mistral", "\"sliding_window\": null", {"llama.causal_lm("}},
        {"mistral", "\"sliding_window\": 4096", {"window = 4096"}},
        {"llama",
         "\"attention_bias\": true, \"mlp_bias\": true",
         {"biased = true, o_biased = true, mlp_biased = true"}},
        {"llama",
         "\"rope_theta\": 500000.0, \"rope_scaling\": {\"factor\": 8.0, \"low_freq_factor\": 1.0, "
         "\"high_freq_factor\": 4.0, "
         "\"original_max_position_embeddings\": 8192, \"rope_type\": \"llama3\"}",
         {"rope_factor = 8.0", "rope_low = 1.0, rope_high = 4.0, rope_context = 8192", "theta = 500000.0"}},
        {"qwen3", "\"use_sliding_window\": false, \"sliding_window\": null", {"head = 128", "normed = true"}},
        {"qwen2",
         "\"use_sliding_window\": false, \"sliding_window\": 4096, \"layer_types\": [\"full_attention\", "
         "\"full_attention\"]",
         {"biased = true"}},
    };
    for (size_t i = 0; i < CTL_COUNT(cases); i++) {
        write_config("form", cases[i].type, cases[i].more, NULL);
        assert_int_equal(ctlc("import form -o form.ctl"), 0);
        const char *text = text_of("form.ctl");
        for (size_t k = 0; k < CTL_COUNT(cases[i].wants) && cases[i].wants[k]; k++)
            if (!strstr(text, cases[i].wants[k])) fail_msg("\"%s\" is not in:\n%s", cases[i].wants[k], text);
        assert_int_equal(ctlc("check form.ctl"), 0);
    }
    /* heads of keys that are not told are as many as the queries' */
    write_config("form", "llama", "", "num_key_value_heads");
    assert_int_equal(ctlc("import form -o form.ctl"), 0);
    assert_non_null(strstr(text_of("form.ctl"), "kv_heads = 4"));
}

/* A spec without its line breaks: ctlc wraps what is long. */
static const char *joined(const char *text) {
    static char line[1 << 16];
    size_t n = 0;
    for (; *text && n + 1 < sizeof line; text++) {
        if (*text != '\n') {
            line[n++] = *text;
            continue;
        }
        while (text[1] == ' ') text++;
        if (text[1] != ')') line[n++] = ' ';
    }
    line[n] = 0;
    return line;
}

/* The other architectures, by what their files say; the class that the file names decides what the model is
 * for. */
static void other_architectures(void **state) {
    (void)state;
    static const char encoder[] = "\"hidden_size\": 16, \"num_hidden_layers\": 1, \"num_attention_heads\": "
                                  "2, \"intermediate_size\": 24, ";
    static const struct {
        const char *keys, *more, *task, *model;
        int methods;
    } cases[] = {
        {encoder,
         "\"model_type\": \"roberta\", \"vocab_size\": 40, \"max_position_embeddings\": 34, "
         "\"type_vocab_size\": 1, \"layer_norm_eps\": 1e-05, "
         "\"architectures\": [\"RobertaForMaskedLM\"]",
         "",
         "roberta.masked_lm(; vocab = 40, positions = 34, kinds = 1, dim = 16, depth = 1, heads = 2, ffn = "
         "24, eps = 1e-05)",
         8},
        {encoder,
         "\"model_type\": \"roberta\", \"vocab_size\": 40, \"max_position_embeddings\": 34, "
         "\"type_vocab_size\": 1, "
         "\"architectures\": [\"RobertaForMaskedLM\"]",
         "--task classifier",
         "vocab = 40, positions = 34, kinds = 1, dim = 16, depth = 1, heads = 2, ffn = 24, eps = 1e-12, "
         "classes = 2",
         9},
        {encoder,
         "\"model_type\": \"bert\", \"vocab_size\": 40, \"max_position_embeddings\": 32, \"hidden_act\": "
         "\"gelu\", "
         "\"id2label\": {\"0\": \"a\", \"1\": \"b\", \"2\": \"c\"}, \"architectures\": "
         "[\"BertForSequenceClassification\"]",
         "",
         "vocab = 40, positions = 32, kinds = 2, dim = 16, depth = 1, heads = 2, ffn = 24, eps = 1e-12, "
         "classes = 3",
         9},
        {encoder,
         "\"model_type\": \"vit\", \"image_size\": 8, \"patch_size\": 4, \"num_channels\": 3, \"qkv_bias\": "
         "true, "
         "\"architectures\": [\"ViTModel\"]",
         "",
         "vit.classifier(; dim = 16, depth = 1, heads = 2, ffn = 24, eps = 1e-12, classes = 2, patch = 48, "
         "positions = 5)",
         8},
        {"",
         "\"model_type\": \"gpt2\", \"vocab_size\": 40, \"n_embd\": 16, \"n_layer\": 1, \"n_head\": 2, "
         "\"n_inner\": null, \"n_positions\": 32, "
         "\"activation_function\": \"gelu_new\", \"architectures\": [\"GPT2LMHeadModel\"]",
         "", "gpt2.causal_lm(; vocab = 40, dim = 16, depth = 1, heads = 2, positions = 32, eps = 1e-05)", 7},
        {"",
         "\"model_type\": \"gpt2\", \"vocab_size\": 40, \"n_embd\": 16, \"n_layer\": 1, \"n_head\": 2, "
         "\"tie_word_embeddings\": false, \"num_labels\": 4, \"architectures\": "
         "[\"GPT2ForSequenceClassification\"]",
         "",
         "gpt2.classifier(; vocab = 40, dim = 16, depth = 1, heads = 2, positions = 1024, eps = 1e-05, "
         "classes = 4)",
         7},
        {encoder,
         "\"model_type\": \"mistral\", \"vocab_size\": 40, \"tie_word_embeddings\": true, "
         "\"sliding_window\": 7, "
         "\"problem_type\": null, \"architectures\": [\"MistralForCausalLM\"]",
         "--task classifier",
         "llama.classifier(; vocab = 40, dim = 16, depth = 1, heads = 2, ffn = 24, eps = "
         "1e-06, window = 7, "
         "classes = 2, "
         "kv_heads = 2, theta = 10000.0)",
         16},
    };
    for (size_t i = 0; i < CTL_COUNT(cases); i++) {
        char path[200], text[1000];
        snprintf(path, sizeof path, "%s/other", folder);
        mkdir(path, 0777);
        snprintf(text, sizeof text, "{%s%s}", cases[i].keys, cases[i].more);
        hf_text(path, "config.json", text);
        assert_int_equal(ctlc("import other -o other.ctl %s", cases[i].task), 0);
        if (!strstr(joined(text_of("other.ctl")), cases[i].model))
            fail_msg("\"%s\" is not in:\n%s", cases[i].model, text_of("other.ctl"));
        /* every method that it offers compiles */
        assert_int_equal(ctlc("import other --method nonsense %s", cases[i].task), 1);
        char *names = strstr(output, "there are: ");
        assert_non_null(names);
        char list[500], *rest = NULL;
        snprintf(list, sizeof list, "%.*s", (int)strcspn(names + 11, "\n"), names + 11);
        int n = 0;
        for (char *name = strtok_r(list, ", ", &rest); name; name = strtok_r(NULL, ", ", &rest), n++) {
            assert_int_equal(ctlc("import other --method %s -o %s.ctl %s", name, name, cases[i].task), 0);
            if (ctlc("check %s.ctl", name) != 0) fail_msg("%s: %s", name, output);
        }
        if (ctlc("fmt --check *.ctl") != 0) fail_msg("%s", output);
        assert_int_equal(n, cases[i].methods);
    }
    write_config("headed", "llama", "", NULL);
    assert_int_equal(ctlc("import headed --task masked_lm"), 1);
    says("error[E0710]: 'headed/config.json': the nets of llama have nothing for 'masked_lm'\n  hint: --task "
         "gives another: causal_lm, classifier");
}

/* What transformers 5 saved (tests/goldens), and the same in the form of 4: the weights fit, and both forms
 * give one spec. The line of the model is written here by hand. */
static void goldens_fit(void **state) {
    (void)state;
    static const struct {
        const char *name, *model;
        int tensors;
    } cases[] = {
        {"llama",
         "llama.causal_lm(; vocab = 48, dim = 32, depth = 2, heads = 4, ffn = 40, eps = 1e-05, kv_heads = 2, "
         "theta = 10000.0)",
         21},
        {"llama_tied", "tied = true, kv_heads = 2, head = 12, theta = 10000.0", 20},
        {"llama31", "theta = 500.0, rope_factor = 8.0, rope_low = 1.0, rope_high = 4.0, rope_context = 16",
         21},
        {"llama_classifier",
         "llama.classifier(; vocab = 48, dim = 32, depth = 1, heads = 4, ffn = 40, eps = "
         "1e-05, classes = 3, "
         "kv_heads = 2, theta = ",
         12},
        {"mistral", "kv_heads = 2, theta = 10000.0", 21},
        {"mistral", "window = 5", 21},
        {"qwen2", "eps = 1e-06, kv_heads = 2, biased = true, theta = 10000.0", 27},
        {"qwen3", "tied = true, kv_heads = 2, head = 12, normed = true", 24},
        {"gpt2", "gpt2.causal_lm(; vocab = 48, dim = 32, depth = 2, heads = 4, positions = 20, eps = 1e-05)",
         28},
        {"gpt2_classifier",
         "gpt2.classifier(; vocab = 48, dim = 32, depth = 1, heads = 4, positions = 20, eps = 1e-05, classes "
         "= 3)",
         17},
        {"bert",
         "bert.classifier(; vocab = 48, positions = 20, kinds = 2, dim = 32, depth = 2, heads = 4, ffn = 40, "
         "eps = 1e-12, classes = 3)",
         41},
        {"roberta", "roberta.classifier(; vocab = 48, positions = 20, kinds = 1, ", 41},
        {"vit",
         "vit.classifier(; dim = 32, depth = 2, heads = 4, ffn = 40, eps = 1e-12, classes = 3, patch = 48, "
         "positions = 7)",
         40},
    };
    for (size_t i = 0; i < CTL_COUNT(cases); i++) {
        char path[200];
        static char older[1 << 18], first[1 << 16];
        snprintf(path, sizeof path, "%s/checkpoint", folder);
        unlink(path);
        snprintf(older, sizeof older, SOURCE_DIR "/tests/goldens/%s", cases[i].name);
        assert_int_equal(symlink(older, path), 0);
        assert_int_equal(ctlc("import checkpoint -o a.ctl"), 0);
        snprintf(first, sizeof first, "the weights fit: %d tensors\n", cases[i].tensors);
        if (strncmp(output, first, strlen(first)) != 0)
            fail_msg("%s: not \"%s\" but %s", cases[i].name, first, output);
        snprintf(first, sizeof first, "%s", text_of("a.ctl"));
        if (!strstr(joined(first), cases[i].model))
            fail_msg("%s: \"%s\" is not in:\n%s", cases[i].name, cases[i].model, first);
        /* transformers 4 has the angles' base beside their scaling, and calls the type of the numbers
         * otherwise */
        const char *text = text_of("checkpoint/config.json"), *rope = strstr(text, "\"rope_parameters\": ");
        if (rope) {
            const char *end = strchr(rope, '}'), *theta = strstr(rope, "\"rope_theta\": "),
                       *scaled = strstr(rope, "\"llama3\"");
            assert_true(end && theta && theta < end);
            snprintf(older, sizeof older, "%.*s%.*s, \"rope_scaling\": %.*s%s", (int)(rope - text), text,
                     (int)strcspn(theta, ",\n}"), theta, scaled ? (int)(end + 1 - rope) - 19 : 4,
                     scaled ? rope + 19 : "null", end + 1);
        } else {
            snprintf(older, sizeof older, "%s", text);
        }
        char *dtype = strstr(older, "\"dtype\"");
        assert_non_null(dtype);
        memcpy(dtype, "\"dtyp4\"", 7);
        unlink(path);
        mkdir(path, 0777);
        hf_text(path, "config.json", older);
        assert_int_equal(ctlc("import checkpoint -o b.ctl"), 0);
        assert_string_equal(text_of("b.ctl"), first);
        snprintf(older, sizeof older, "%s/config.json", path);
        unlink(older);
        rmdir(path);
    }
}

static void tells_what_does_not_fit(void **state) {
    (void)state;
    write_config("tied", "llama", "\"tie_word_embeddings\": false", NULL);
    write_weights("tied", true, false);
    assert_int_equal(ctlc("import tied -o tied.ctl"), 1);
    says("error[E0704]: no file has the parameter 'lm_head.weight'\n  hint: a checkpoint without a head uses "
         "its embedding: `tied = "
         "true` in the model");
    write_config("biased", "llama", "", NULL);
    write_weights("biased", false, true);
    assert_int_equal(ctlc("import biased -o biased.ctl"), 0); /* what is too much is a warning */
    says("warning[E0706]: 6 tensors of 'biased' belong to no parameter: "
         "'model.layers.0.self_attn.k_proj.bias', ");
    says("21 tensors fit; 6 others of the files are not in the model\n");
    write_config("small", "llama", "", NULL);
    write_weights("small", false, false);
    write_config("small", "llama", "\"head_dim\": 2", NULL);
    assert_int_equal(ctlc("import small -o small.ctl"), 1);
    says("tensor 'model.layers.0.self_attn.q_proj.weight' is [16, 16]; the parameter is [8, 16]");
}

static void refuses(void **state) {
    (void)state;
    static const struct {
        const char *type, *more, *without, *message;
    } cases[] = {
        {"gpt_oss", "", NULL,
         "error[E0710]: 'no/config.json': no net is known for the model_type 'gpt_oss'\n  hint: there are: "
         "llama, "},
        {"llama", "", "hidden_size",
         "error[E0710]: 'no/config.json' has no `hidden_size`\n  hint: the nets need it"},
        {"llama", "\"head_dim\": 0", NULL, "`head_dim` is 0, and must be a whole number from 1"},
        {"llama", "\"rope_theta\": \"x\"", NULL, "`rope_theta` is \"x\", and must be a number above 0"},
        {"llama", "\"tie_word_embeddings\": 3", NULL,
         "`tie_word_embeddings` is 3, and must be true or false"},
        {"gpt2", "\"n_embd\": 16, \"n_layer\": 1, \"n_head\": 2, \"activation_function\": \"relu\"", NULL,
         "`activation_function` is \"relu\": gpt2's nets have GELU by tanh"},
        {"gpt2", "\"n_embd\": 16, \"n_layer\": 1, \"n_head\": 2, \"tie_word_embeddings\": false", NULL,
         "`tie_word_embeddings` is false: gpt2's head is its embedding"},
        {"qwen3", "\"use_sliding_window\": true", NULL,
         "`use_sliding_window` is true: a window in some of the blocks alone"},
        {"bert", "\"is_decoder\": true", NULL,
         "`is_decoder` is true: an encoder that attends to the past alone"},
        {"bert", "\"position_embedding_type\": \"relative_key\"", NULL,
         "`position_embedding_type` is \"relative_key\": other positions"},
        {"vit", "\"image_size\": 9, \"patch_size\": 4", NULL, "patches of 4 do not fill an image of 9 x 9"},
        {"vit", "\"image_size\": [8, 9], \"patch_size\": 4", NULL,
         "patches of 4 do not fill an image of 8 x 9"},
        {"vit", "\"image_size\": [8, 8], \"patch_size\": [4, 2]", NULL, "patches of 4 x 2 are no squares"},
        {"vit", "\"image_size\": [8, 8, 8]", NULL,
         "`image_size` is [8,8,8], and must be a whole number from 1, or two"},
        {"vit", "\"image_size\": 1000000, \"patch_size\": 1", NULL,
         "an image has 1000000000000 patches of 3 numbers: too many"},
        {"bert", "\"problem_type\": \"regression\"", NULL,
         "`problem_type` is \"regression\": the nets choose one of several classes"},
        {"bert", "\"num_labels\": 1", NULL,
         "with 1 classes the model gives a number, which the nets do not have\n  hint: choose a checkpoint "
         "of two classes or more"},
        {"vit", "\"qkv_bias\": false", NULL, "`qkv_bias` is false: the nets have biases of q, k and v"},
        {"llama", "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0}", NULL,
         "rope_type 'llama3' needs factor, low_freq_factor, high_freq_factor and "
         "original_max_position_embeddings"},
        {"llama", "\"hidden_act\": \"gelu\"", "hidden_act",
         "`hidden_act` is \"gelu\": llama's nets have SiLU"},
        {"llama", "\"partial_rotary_factor\": 0.5", NULL,
         "`partial_rotary_factor` is 0.5: heads that are turned in part"},
        {"llama", "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0}", NULL,
         "`rope_scaling` has rope_type 'yarn', which the nets do not have"},
        {"llama", "\"rope_parameters\": {\"rope_type\": \"dynamic\", \"factor\": 4.0}", NULL,
         "`rope_parameters` has rope_type 'dynamic'"},
        {"llama", "\"quantization_config\": {\"bits\": 4}", NULL,
         "`quantization_config` is {\"bits\":4}: quantised weights are not read"},
        {"llama", "\"num_local_experts\": 8", NULL,
         "`num_local_experts` is 8: mixtures of experts are not in the nets"},
        {"llama", "\"attention_sink\": true", NULL,
         "`attention_sink` is true: attention sinks are not in the nets"},
        {"qwen2", "\"layer_types\": [\"full_attention\", \"sliding_attention\"]", NULL,
         "`layer_types` has \"sliding_attention\""},
    };
    for (size_t i = 0; i < CTL_COUNT(cases); i++) {
        write_config("no", cases[i].type, cases[i].more, cases[i].without);
        remove("no.ctl");
        assert_int_equal(ctlc("import no -o no.ctl"), 1);
        says(cases[i].message);
        assert_int_equal(ctlc("check no.ctl"), 4); /* nothing was written */
    }
    hf_text(folder, "no/config.json", "{\"model_type\": ");
    assert_int_equal(ctlc("import no"), 1);
    says("error[E0710]: 'no/config.json' is not JSON: ");
    hf_text(folder, "no/config.json", "[]");
    assert_int_equal(ctlc("import no"), 1);
    says("'no/config.json' is not a JSON object");
    assert_int_equal(ctlc("import nowhere"), 4);
    says("nowhere/config.json");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_a_ready_spec),
        cmocka_unit_test(every_method_compiles),
        cmocka_unit_test(both_forms),
        cmocka_unit_test(other_architectures),
        cmocka_unit_test(goldens_fit),
        cmocka_unit_test(tells_what_does_not_fit),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests_name("import", tests, make_folder, remove_folder);
}
