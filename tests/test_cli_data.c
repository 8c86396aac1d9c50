/* `ctlc train` and `ctlc eval` as a user meets them with data that is no plain text: token files, texts with classes,
 * images, multiple choice. What is learnt is what no constant answer gives; a run that was stopped goes on bit for bit. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants those before it */
#include <cmocka.h>
#include <jansson.h>

#include "base/random.h"
#include "tests/command.h"
#include "tests/npy_file.h"
#include "tests/token_file.h"

static const char *in_folder(const char *name) {
    static char path[4][128];
    static int next;
    char *at = path[next++ % 4];
    snprintf(at, sizeof path[0], "%s/%s", folder, name);
    return at;
}

static uint32_t drawn(uint32_t k, uint32_t salt) {
    uint32_t out[4], counter[4] = {k, salt, 0, 0};
    ctl_philox(counter, 42, out);
    return out[0];
}

/* The number under a dotted key of what was printed. */
static double printed(const char *key) {
    json_error_t error;
    const char *begin = strchr(output, '{');
    json_t *o = begin ? json_loads(begin, JSON_DISABLE_EOF_CHECK, &error) : NULL;
    if (!o) fail_msg("no JSON in:\n%s", output);
    const char *dot = strchr(key, '.');
    char outer[32] = "";
    if (dot) snprintf(outer, sizeof outer, "%.*s", (int)(dot - key), key);
    const json_t *value = json_object_get(dot ? json_object_get(o, outer) : o, dot ? dot + 1 : key);
    if (!json_is_number(value)) fail_msg("no number %s in:\n%s", key, output);
    const double number = json_number_value(value);
    json_decref(o);
    return number;
}

static double result_of(const char *run, const char *key) {
    char name[64];
    json_error_t error;
    snprintf(name, sizeof name, "%s/result.json", run);
    json_t *o = json_loads(text_of(name), 0, &error);
    assert_non_null(o);
    const double number = json_number_value(json_object_get(o, key));
    json_decref(o);
    return number;
}

/* The log of a run without its seconds, which differ. The caller frees it. */
static char *log_of(const char *run) {
    char name[64], *out = calloc(1, 1 << 16);
    snprintf(name, sizeof name, "%s/log.jsonl", run);
    for (const char *line = text_of(name); *line; line = strchr(line, '\n') + 1) {
        const size_t n = strcspn(line, "\n");
        const char *seconds = strstr(line, ", \"seconds\"");
        strncat(out, line, seconds && seconds < line + n ? (size_t)(seconds - line) : n);
        strcat(out, "\n");
    }
    return out;
}

/* The run `whole` and the run `parts`, stopped and gone on with, are one. */
static void goes_on(const char *command) {
    assert_int_equal(ctlc("%s --out whole --steps 16 --eval-every 6 --quiet", command), 0);
    char line[1200];
    snprintf(line, sizeof line,
             "(cd '%s' && rm -rf parts && { '%s' %s --out parts --steps 16 --eval-every 6 --save-every 5 --quiet & } && p=$! && "
             "for i in $(seq 1 2000); do [ -e parts/latest ] && break; sleep 0.01; done; kill -INT $p; wait $p; true) 2>/dev/null",
             folder, CTLC, command);
    assert_int_equal(system(line), 0);
    assert_int_equal(ctlc("%s --out parts --steps 16 --eval-every 6 --resume --quiet", command), 0);
    char *a = log_of("whole"), *b = log_of("parts");
    assert_string_equal(a, b);
    free(a);
    free(b);
    assert_true(result_of("whole", "loss_after") == result_of("parts", "loss_after"));
    assert_true(result_of("whole", "accuracy_before") == result_of("parts", "accuracy_before"));
    snprintf(line, sizeof line, "cd '%s' && cmp whole/model.safetensors parts/model.safetensors && rm -rf whole parts", folder);
    assert_int_equal(system(line), 0);
}

/* ---- texts with classes ---- */
/* Letters, one of which is x in class 1 and y in class 0, anywhere. */
static void make_texts(const char *name, uint32_t salt, int n) {
    FILE *f = fopen(in_folder(name), "w");
    assert_non_null(f);
    for (int i = 0; i < n; i++) {
        char text[32] = "";
        const uint32_t size = 4 + drawn((uint32_t)i, salt) % 20, label = drawn((uint32_t)i, salt + 1) % 2;
        for (uint32_t k = 0; k < size; k++) text[k] = (char)('a' + drawn((uint32_t)i * 32 + k, salt + 2) % 8);
        text[drawn((uint32_t)i, salt + 3) % size] = label ? 'x' : 'y';
        fprintf(f, "{\"text\": \"%s\", \"label\": %u}\n", text, label);
    }
    assert_int_equal(fclose(f), 0);
}

static void test_text_classes(void **state) {
    (void)state;
    make_texts("train.jsonl", 10, 600);
    make_texts("test.jsonl", 50, 200);
    const char *spec = SOURCE_DIR "/examples/classifier.ctl";
    assert_int_equal(ctlc("train %s --data train.jsonl --eval-data test.jsonl --steps 150 --out texts", spec), 0);
    says("600 documents to learn from, 200 held out; 16 documents a step");
    says("accuracy ");
    /* Half of each class: a constant is right half the time. */
    assert_true(result_of("texts", "accuracy_before") < 0.7);
    assert_true(result_of("texts", "accuracy_after") > 0.95);
    assert_int_equal(ctlc("eval %s --weights texts --data test.jsonl --json", spec), 0);
    assert_true(printed("loss") == result_of("texts", "loss_after"));
    assert_true(printed("accuracy") == result_of("texts", "accuracy_after"));
    assert_true(printed("tokens") == 200);
    char command[600];
    snprintf(command, sizeof command, "train %s --data train.jsonl", spec);
    goes_on(command);

    write_file("plain.jsonl", "{\"text\": \"abc\"}\n");
    assert_int_equal(ctlc("eval %s --data plain.jsonl", spec), 1);
    says("the model learns classes, and document 1 of the data has none");
    write_file("three.jsonl", "{\"text\": \"abc\", \"label\": 2}\n");
    assert_int_equal(ctlc("eval %s --data three.jsonl", spec), 1);
    says("document 1 is of class 2, and the model has 2 classes");
    assert_int_equal(ctlc("eval %s --choices plain.jsonl", spec), 1);
    write_file("items.json", "[{\"instruction\": \"Q\", \"choices\": [\"a\", \"b\"], \"answer\": 0}]");
    assert_int_equal(ctlc("eval %s --choices items.json", spec), 1);
    says("the model gives no likelihoods of texts");
}

/* ---- images ---- */
/* Noise with a bright 2 x 2 square on the left half (class 0) or the right (class 1); all rows alike on average. */
static void make_images(const char *images, const char *labels, uint32_t salt, int n) {
    uint8_t *pixels = malloc((size_t)n * 64), *classes = malloc((size_t)n);
    char header[128];
    for (int i = 0; i < n; i++) {
        const uint32_t label = drawn((uint32_t)i, salt) % 2;
        const uint32_t y = drawn((uint32_t)i, salt + 1) % 7, x = label * 4 + drawn((uint32_t)i, salt + 2) % 3;
        for (uint32_t k = 0; k < 64; k++) pixels[i * 64 + (int)k] = (uint8_t)(drawn((uint32_t)i * 64 + k, salt + 3) % 100);
        for (uint32_t k = 0; k < 4; k++) pixels[i * 64 + (int)((y + k / 2) * 8 + x + k % 2)] = 250;
        classes[i] = (uint8_t)label;
    }
    snprintf(header, sizeof header, "{'descr': '|u1', 'fortran_order': False, 'shape': (%d, 1, 8, 8), }\n", n);
    write_npy(in_folder(images), header, pixels, (size_t)n * 64);
    snprintf(header, sizeof header, "{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }\n", n);
    write_npy(in_folder(labels), header, classes, (size_t)n);
    free(pixels);
    free(classes);
}

static void test_images(void **state) {
    (void)state;
    make_images("train.npy", "train_labels.npy", 100, 600);
    make_images("test.npy", "test_labels.npy", 200, 200);
    const char *spec = SOURCE_DIR "/examples/vit.ctl";
    assert_int_equal(ctlc("train %s --data train.npy --labels train_labels.npy --eval-data test.npy --eval-labels "
                          "test_labels.npy --mean 0.5 --std 0.5 --steps 150 --out images",
                          spec),
                     0);
    says("600 images to learn from, 200 held out; 16 images a step");
    assert_true(result_of("images", "accuracy_before") < 0.7);
    assert_true(result_of("images", "accuracy_after") > 0.95);
    assert_int_equal(ctlc("eval %s --weights images --data test.npy --labels test_labels.npy --mean 0.5 --std 0.5 --json", spec), 0);
    assert_true(printed("loss") == result_of("images", "loss_after"));
    assert_true(printed("accuracy") == result_of("images", "accuracy_after"));
    char command[600];
    snprintf(command, sizeof command, "train %s --data train.npy --labels train_labels.npy", spec);
    goes_on(command);

    assert_int_equal(ctlc("train %s --data train.npy", spec), 1);
    says("the classes of the images are missing");
    assert_int_equal(ctlc("train %s --data train.jsonl --labels train_labels.npy", spec), 1);
    says("the model takes images: one array, NAME.npy");
    assert_int_equal(ctlc("train %s --data train.npy --labels test_labels.npy", spec), 1);
    says("train.npy has 600 images, and test_labels.npy has 200 labels");
    assert_int_equal(ctlc("train %s --data train.npy --labels train_labels.npy --mean 0.5", spec), 2);
    says("--mean and --std go together");
    assert_int_equal(ctlc("train %s --data train.npy --labels train_labels.npy --mean 1,2 --std 1,x", spec), 2);
    assert_int_equal(ctlc("eval %s --data train.npy --labels train_labels.npy --set tokens=16x9", spec), 1);
    says("train.npy: its images are 600 x 1 x 8 x 8: in patches of 2 x 2 that are not 9");
    static const float last[2 * 64];
    write_npy(in_folder("last.npy"), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 8, 8, 1), }\n", last, sizeof last);
    write_file("two.txt", "0\n1\n");
    assert_int_equal(ctlc("eval %s --data last.npy --labels two.txt", spec), 1);
    says("images are [n, channels, height, width]; numpy's transpose(0, 3, 1, 2) brings the channels forward");
}

/* ---- token files ---- */
static const char SPEC[] = "import llama, tuning\n"
                           "model m = llama.causal_lm(; vocab = 40, dim = 16, depth = 2, heads = 2, kv_heads = 2, ffn = 24, theta = 10000.0)\n"
                           "tune whole = m with tuning.full() {\n    tokens 4 x 16\n    adamw(; lr = 1e-2)\n}\n"
                           "tune packed = m with tuning.full() {\n    tokens 64 packed\n    adamw(; lr = 1e-2)\n}\n";
static const char METADATA[] = "{\"format\": \"ctlc-tokens\", \"version\": \"1\", \"tokenizer\": \"toy\", \"vocab\": \"40\", \"pad\": \"0\"}";

/* Documents that count up from a token of their own, by steps of one or of three; the first five tokens are a prompt. */
static void make_tokens(const char *name, bool mask) {
    enum { DOCUMENTS = 60, LONG = 12 };
    static uint16_t ids[DOCUMENTS * LONG];
    static uint8_t counts[DOCUMENTS * LONG];
    static int64_t bounds[DOCUMENTS + 1];
    for (int d = 0; d < DOCUMENTS; d++) {
        for (int j = 0; j < LONG; j++) {
            ids[d * LONG + j] = (uint16_t)(1 + (d + j * (d % 2 ? 3 : 1)) % 39);
            counts[d * LONG + j] = j >= 5;
        }
        bounds[d + 1] = (d + 1) * LONG;
    }
    const raw_tensor t[] = {RAW("documents", "I64", bounds), RAW("ids", "U16", ids), RAW("loss_mask", "U8", counts)};
    write_raw_safetensors(in_folder(name), METADATA, t, mask ? 3 : 2);
}

static void test_tokens(void **state) {
    (void)state;
    write_file("tokens.ctl", SPEC);
    make_tokens("all.safetensors", false);
    make_tokens("part.safetensors", true);
    static const char *const tunes[] = {"whole", "packed"}, *const outs[] = {"fixed_run", "packed_run"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ctlc("train tokens.ctl --tune %s --data part.safetensors --steps 120 --out %s --eval-fraction 0.2 --quiet", tunes[i], outs[i]), 0);
        assert_true(result_of(outs[i], "loss_before") > 3);
        assert_true(result_of(outs[i], "accuracy_after") > 0.9); /* ln 39 = 3.66; a constant is right once in 39 */
        assert_int_equal(ctlc("eval tokens.ctl --tune %s --weights %s --data part.safetensors --loss output --json", tunes[i], outs[i]), 0);
        assert_true(printed("tokens") == 60 * 7);
        assert_null(strstr(output, "bits_per_byte"));
        assert_int_equal(ctlc("eval tokens.ctl --tune %s --weights %s --data all.safetensors --json", tunes[i], outs[i]), 0);
        assert_true(printed("tokens") == 60 * 11);
    }
    assert_int_equal(ctlc("runs fixed_run"), 0); /* the columns are the file's numbers */
    char row[300];
    snprintf(row, sizeof row,
             "run                         before     after  accuracy      trained     planned   allocated    resident      step\n"
             "%-24s %9.4f %9.4f %8.1f%% ", "whole", result_of("fixed_run", "loss_before"), result_of("fixed_run", "loss_after"),
             100 * result_of("fixed_run", "accuracy_after"));
    says(row);
    goes_on("train tokens.ctl --tune whole --data all.safetensors");
    /* each document by itself: the same labels, but what stands before is that document alone */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ctlc("eval tokens.ctl --tune %s --weights fixed_run --data part.safetensors --whole --json", tunes[i]), 0);
        assert_true(printed("tokens") == 60 * 7);
    }
    assert_int_equal(ctlc("train tokens.ctl --tune whole --data all.safetensors --whole --steps 2 --out by_itself --quiet"), 0);
    assert_int_equal(ctlc("train tokens.ctl --tune whole --data all.safetensors --steps 3 --out by_itself --resume --quiet"), 1);
    says("by_itself: the run in it cannot go on: it cuts the data otherwise (--whole)");
    /* documents of 12 in sequences of 48 */
    assert_int_equal(ctlc("train tokens.ctl --tune whole --data all.safetensors --whole --set tokens=2x48 --steps 1 --eval-fraction 0 --out padded"), 0);
    says("2,880 tokens to learn from, 0 held out; 96 tokens a step\n75% of them are padding; --set tokens=96 packs whole documents with hardly any\n");
    assert_int_equal(ctlc("eval tokens.ctl --tune whole --data all.safetensors --loss output"), 1);
    says("--loss output: a token file of the data does not say what is output");
    assert_int_equal(ctlc("eval tokens.ctl --tune whole --set model.vocab=30 --data all.safetensors"), 1);
    says("all.safetensors: id 32 occurs; the data have a vocabulary of 40 (toy), the model one of 30");
    assert_int_equal(ctlc("eval tokens.ctl --tune whole --data all.safetensors --labels x"), 1);
    says("--labels is for images");
    write_file("a.npy", "");
    assert_int_equal(ctlc("eval tokens.ctl --tune whole --data a.npy"), 1);
    says("the model takes texts, and --data names an array");
}

/* ---- masked language models ---- */
/* Documents that say one token or another all along, with one of them hidden (39), or with none: then the next is wanted. */
static void make_masked(const char *name, bool targets) {
    enum { DOCUMENTS = 200, LONG = 8 };
    static uint16_t ids[DOCUMENTS * LONG];
    static int32_t wanted[DOCUMENTS * LONG];
    static int64_t bounds[DOCUMENTS + 1];
    for (int d = 0; d < DOCUMENTS; d++) {
        for (int j = 0; j < LONG; j++) {
            const int at = d * LONG + j;
            ids[at] = (uint16_t)(1 + d * 7 % 13);
            wanted[at] = targets && j == 1 + d % (LONG - 2) ? ids[at] : -100;
            if (wanted[at] >= 0) ids[at] = 39;
        }
        bounds[d + 1] = (d + 1) * LONG;
    }
    const raw_tensor t[] = {RAW("documents", "I64", bounds), RAW("ids", "U16", ids), RAW("targets", "I32", wanted)};
    write_raw_safetensors(in_folder(name), METADATA, t, targets ? 3 : 2);
}

static void test_masked(void **state) {
    (void)state;
    write_file("masked.ctl", "import roberta, bert_tuning\n"
                             "control all() on roberta.masked_lm {\n    train **\n}\n"
                             "model m = roberta.masked_lm(; vocab = 258, dim = 16, depth = 1, heads = 2, ffn = 32, positions = 34)\n"
                             "tune m with all() {\n    tokens 256 packed\n    adamw(; lr = 1e-2)\n}\n");
    make_masked("masked.safetensors", true);
    make_masked("plain.safetensors", false);
    write_file("words.txt", "what is said here is said again and again, and so on\n");
    static const char *const data[] = {"plain.safetensors", "words.txt"};
    for (int k = 0; k < 4; k++) {
        assert_int_equal(ctlc("%s masked.ctl --data %s", k % 2 ? "train" : "eval", data[k / 2]), 1);
        says("error[E0605]: the data have the model predict the next token, and its attention sees that token\n  hint: give it labels: a "
             "token file with `targets` (tools/tokenize --masked 0.15 makes one), or a net of classes");
    }
    assert_int_equal(ctlc("train masked.ctl --data masked.safetensors --steps 100 --out masked --quiet"), 0);
    assert_true(result_of("masked", "loss_before") > 4); /* ln 258 = 5.6 */
    assert_true(result_of("masked", "accuracy_after") > 0.9); /* of held-out documents; a constant is right once in 13 */
    assert_int_equal(ctlc("eval masked.ctl --weights masked --data masked.safetensors --json"), 0);
    assert_true(printed("tokens") == 200);
    assert_int_equal(ctlc("train masked.ctl --data masked.safetensors --loss output"), 1);
    says("--loss output: a token file of the data does not say what is output");
    write_file("item.json", "[{\"instruction\": \"x\", \"choices\": [\"a\", \"b\"], \"answer\": \"a\"}]");
    assert_int_equal(ctlc("eval masked.ctl --choices item.json"), 1);
    says("error[E0605]: the data have the model predict the next token");
}

/* ---- multiple choice ---- */
static void test_choices(void **state) {
    (void)state;
    write_file("bytes.ctl", "import llama, tuning\n"
                            "model m = llama.causal_lm(; vocab = 258, dim = 32, depth = 2, heads = 2, kv_heads = 2, ffn = 48, theta = 10000.0)\n"
                            "tune m with tuning.full() {\n    tokens 8 x 96\n    adamw(; lr = 3e-3, warmup = 10, clip = 1.0)\n}\n");
    /* The answer is the letter that the prompt is full of. What was learnt on `output` must choose it among three. */
    FILE *items = fopen(in_folder("items.json"), "w");
    assert_non_null(items);
    for (int i = 0; i < 240; i++) {
        const char letter = (char)('a' + drawn((uint32_t)i, 7) % 3);
        fprintf(items, "%s{\"instruction\": \"%c%c%c%c%c%c%c%c\\nAnswer format: a/b/c\", \"output\": \"it is %c\", \"answer\": \"%c\"}",
                i ? ",\n" : "[", letter, letter, letter, letter, letter, letter, letter, letter, letter, letter);
    }
    fputs("]\n", items);
    assert_int_equal(fclose(items), 0);
    assert_int_equal(ctlc("eval bytes.ctl --choices items.json --json"), 0);
    assert_true(fabs(printed("choices.chance") - 1 / 3.0) < 1e-8);
    assert_true(printed("choices.accuracy") < 0.6);
    assert_int_equal(ctlc("train bytes.ctl --data items.json --loss output --steps 200 --out choices --quiet"), 0);
    assert_int_equal(ctlc("eval bytes.ctl --weights choices --choices items.json --data items.json --json"), 0);
    assert_true(printed("choices.accuracy") > 0.9 && printed("choices.accuracy_normalised") == printed("choices.accuracy"));
    assert_true(printed("choices.items") == 240 && printed("choices.candidates") == 720 && printed("choices.cut") == 0);
    assert_true(printed("loss") > 0);
    assert_int_equal(ctlc("eval bytes.ctl --weights choices --choices items.json --set tokens=8x32"), 0);
    says("multiple choice ");
    says("720 candidates did not fit into the sequences: the begins of their prompts were left out");
    assert_int_equal(ctlc("eval bytes.ctl"), 2);
    says("--data is missing, or --choices");
}

/* ---- documents and a model's positions ---- */
/* Said when the data are opened: `--weights` names files that are not there, and nobody has looked for them. */
static void refused(const char *spec, const char *data, const char *words) {
    assert_int_equal(ctlc("eval %s --engine reference --weights absent.safetensors %s", spec, data), 1);
    says(words);
    assert_null(strstr(output, "absent"));
}

static void test_too_long(void **state) {
    (void)state;
    write_file("gpt.ctl", "import gpt2\n"
                          "model m = gpt2.causal_lm(; vocab = 258, dim = 8, depth = 1, heads = 2, ffn = 8, positions = 12)\n"
                          "tune packed = m {\n    tokens 64 packed\n}\n"
                          "tune cut = m {\n    tokens 4 x 12\n}\n"
                          "tune wide = m {\n    tokens 4 x 16\n}\n");
    write_file("lines.jsonl", "{\"text\": \"ten bytes.\"}\n\n{\"text\": \"eleven byte\"}\n{\"text\": \"no more than ten?\"}\n");
    refused("gpt.ctl --tune packed", "--data lines.jsonl",
            "error[E0616]: lines.jsonl: document 2 has 13 rows, and the model has positions for 12; so have 1 more\n"
            "  hint: `tokens N x 12` in the tune block, or --set tokens=Nx12, cuts texts; or cut them yourself\n");
    refused("gpt.ctl --tune wide", "--data lines.jsonl",
            "error[E0616]: sequences have 16 rows, and the model has positions for 12\n  hint: `tokens N x LENGTH` in the tune block");
    assert_int_equal(ctlc("eval gpt.ctl --engine reference --tune cut --data lines.jsonl --quiet"), 0);
    write_file("short.txt", "ten bytes.");
    assert_int_equal(ctlc("eval gpt.ctl --engine reference --tune packed --data short.txt --quiet"), 0);
    /* What is held out too, and in the document's own file. */
    assert_int_equal(ctlc("train gpt.ctl --engine reference --tune packed --data short.txt --eval-data lines.jsonl --out no"), 1);
    says("lines.jsonl: document 2 has 13 rows, and the model has positions for 12; so have 1 more\n");
    assert_int_equal(ctlc("eval gpt.ctl --engine reference --tune packed --data short.txt --data lines.jsonl"), 1);
    says("lines.jsonl: document 2 has 13 rows");
    write_file("long.json", "[{\"instruction\": \"Q\", \"choices\": [\"a\", \"b\"], \"answer\": 0}]");
    assert_int_equal(ctlc("eval gpt.ctl --engine reference --tune packed --choices long.json"), 1);
    says("long.json: document 1 has 37 rows, and the model has positions for 12; so have 1 more\n");

    /* Whole documents: what does not fit is left out, but padding behind one is a document too. */
    write_file("kinds.ctl", "import bert\n"
                            "model m = bert.classifier(; vocab = 40, dim = 8, depth = 1, heads = 2, ffn = 8, positions = 6, kinds = 2)\n"
                            "tune m {\n    tokens 2 x 8\n}\n");
    static const uint16_t ids[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    static const int64_t bounds[] = {0, 3, 10}, whole[] = {0, 7, 10}, last[] = {0, 1, 10};
    static const int32_t labels[] = {0, 1};
    static const uint8_t types[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, wrong[] = {0, 0, 0, 0, 2, 0, 0, 0, 0, 0};
    const raw_tensor t[] = {RAW("documents", "I64", bounds), RAW("ids", "U16", ids), RAW("labels", "I32", labels), RAW("types", "U8", types)};
    const raw_tensor first[] = {RAW("documents", "I64", whole), t[1], t[2], t[3]};
    const raw_tensor behind[] = {RAW("documents", "I64", last), t[1], t[2], t[3]};
    const raw_tensor kinds[] = {t[0], t[1], t[2], RAW("types", "U8", wrong)};
    write_raw_safetensors(in_folder("seven.safetensors"), METADATA, t, 4);
    write_raw_safetensors(in_folder("seven_first.safetensors"), METADATA, first, 4);
    write_raw_safetensors(in_folder("one.safetensors"), METADATA, behind, 4);
    write_raw_safetensors(in_folder("three_kinds.safetensors"), METADATA, kinds, 4);
    refused("kinds.ctl", "--data seven.safetensors",
            "error[E0616]: seven.safetensors: document 2 has 7 rows, and the model has positions for 6\n"
            "  hint: tools/tokenize --cutoff 6 cuts documents\n");
    refused("kinds.ctl", "--data seven_first.safetensors", "seven_first.safetensors: document 1 has 7 rows");
    refused("kinds.ctl", "--data one.safetensors", "sequences have 8 rows, and the model has positions for 6");
    assert_int_equal(ctlc("eval kinds.ctl --engine reference --data seven.safetensors --set tokens=2x6 --quiet"), 0);
    refused("kinds.ctl --set tokens=2x6", "--data three_kinds.safetensors",
            "error[E0615]: three_kinds.safetensors: token 4 is of kind 2, and the model has 2 kinds, from 0 on");
    refused("kinds.ctl --set tokens=2x6 --set model.vocab=10", "--data seven.safetensors",
            "error[E0615]: seven.safetensors: id 10 occurs; the data have a vocabulary of 40 (toy), the model one of 10");
    /* a tokenizer with marks that the model has no rows for, and that no text has */
    assert_int_equal(ctlc("eval kinds.ctl --engine reference --data seven.safetensors --set tokens=2x6 --set model.vocab=11 --quiet"), 0);
    says("warning[E0615]: the data have a vocabulary of 40 (toy), the model one of 11; no id beyond that occurs");

    write_file("patches.ctl", "import vit\n"
                              "model m = vit.classifier(; classes = 2, patch = 4, positions = 16, dim = 8, depth = 1, heads = 2, ffn = 8)\n"
                              "tune m {\n    tokens 2 x 16\n}\n");
    make_images("few.npy", "few_labels.npy", 300, 2);
    refused("patches.ctl", "--data few.npy --labels few_labels.npy", "sequences have 16 rows, and the model has positions for 15");
    assert_int_equal(ctlc("eval patches.ctl --engine reference --data few.npy --labels few_labels.npy --set model.positions=17 --quiet"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text_classes), cmocka_unit_test(test_images), cmocka_unit_test(test_tokens),
                                       cmocka_unit_test(test_masked),
                                       cmocka_unit_test(test_choices), cmocka_unit_test(test_too_long)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
