/* Multiple choice: items out of JSON and token files, what wrong ones say, and the log-likelihoods that choose: against
 * plain C on the logits of the same weights, each candidate run alone. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "ctl/ctlc.h"
#include "runtime/program.h"
#include "tests/folder.h"
#include "tests/heard.h"
#include "tests/meter.h"
#include "tests/token_file.h"
#include "train/choices.h"
#include "train/images.h"

static const char *write_file(const char *name, const char *text) {
    static char path[4][128];
    static int next;
    char *at = path[next++ % 4];
    snprintf(at, sizeof path[0], "%s/%s", folder, name);
    write_bytes(at, text, strlen(text));
    return at;
}

/* ---- items ---- */
static const char ITEMS[] =
    "[{\"instruction\": \"Which?\\n\\nAnswer format: a1/a2/ a30 \", \"input\": \"\", \"output\": \"it is a1, a2\", \"answer\": \"a2\"},\n"
    " {\"instruction\": \"True?\", \"input\": \"So it is.\", \"choices\": [\"yes\", \"no, not at all\"], \"answer\": 1},\n"
    " {\"instruction\": \"Again?\", \"choices\": [\"x\", \"yy\", \"z\"], \"answer\": \"z\"}]";

static void read_items(ctl_corpus *c, const char *text) {
    heard h = {0};
    ctl_corpus_init(c, NULL);
    if (ctl_corpus_read_items(c, write_file("items.json", text), (ctl_voice){hear, &h}) != CTL_OK) fail_msg("%s", h.message);
}

static void test_items(void **state) {
    (void)state;
    ctl_corpus c;
    read_items(&c, ITEMS);
    static const char *const want[] = {
        "### Instruction:\nWhich?\n\nAnswer format: a1/a2/ a30 \n\n### Response:\nit is a1, |a1",
        "### Instruction:\nWhich?\n\nAnswer format: a1/a2/ a30 \n\n### Response:\nit is a1, |a2",
        "### Instruction:\nWhich?\n\nAnswer format: a1/a2/ a30 \n\n### Response:\nit is a1, |a30",
        "### Instruction:\nTrue?\n\n### Input:\nSo it is.\n\n### Response:\n|yes",
        "### Instruction:\nTrue?\n\n### Input:\nSo it is.\n\n### Response:\n|no, not at all",
        "### Instruction:\nAgain?\n\n### Response:\n|x",
        "### Instruction:\nAgain?\n\n### Response:\n|yy",
        "### Instruction:\nAgain?\n\n### Response:\n|z",
    };
    assert_int_equal(c.ndocs, 8);
    assert_int_equal(c.nitems, 3);
    const ctl_item items[] = {{0, 3, 1}, {3, 2, 1}, {5, 3, 2}};
    assert_memory_equal(c.items, items, sizeof items);
    for (size_t d = 0; d < 8; d++) {
        char text[200];
        snprintf(text, sizeof text, "%s", want[d]);
        char *bar = strchr(text, '|');
        memmove(bar, bar + 1, strlen(bar));
        assert_int_equal(c.docs[d].size, strlen(text));
        assert_memory_equal(c.bytes + c.docs[d].begin, text, strlen(text));
        /* The candidate is the whole response; of the first item it begins with "it is". */
        assert_int_equal(c.docs[d].answer, strstr(text, "Response:\n") + 10 - text);
    }
    ctl_corpus_free(&c);
    heard h = {0};
    ctl_corpus_init(&c, NULL);
    const char *line = "{\"instruction\": \"Q\", \"choices\": [\"a\", \"b\"], \"answer\": 0}\n\n";
    assert_int_equal(ctl_corpus_read_items(&c, write_file("items.jsonl", line), (ctl_voice){hear, &h}), CTL_OK);
    assert_int_equal(c.nitems, 1);
    ctl_corpus_free(&c);
}

static void test_wrong_items(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"[{\"instruction\": \"Q\"}]", "entry 1: there is no \"output\""},
        {"[{\"instruction\": \"Q\", \"output\": \"a\", \"answer\": \"a\"}]", "entry 1: its instruction has no line `Answer format: A/B/C`"},
        {"[{\"instruction\": \"Answer format: a/b\", \"output\": \"c\", \"answer\": \"a\"}]", "entry 1: the answer does not stand in the output"},
        {"[{\"instruction\": \"Answer format: a/b\", \"output\": \"c\", \"answer\": \"c\"}]", "entry 1: the answer is not one of its `Answer format`"},
        {"[{\"instruction\": \"Answer format: a\", \"output\": \"a\", \"answer\": \"a\"}]", "entry 1: its `Answer format` has one answer alone"},
        {"[{\"instruction\": \"Answer format: a//b\", \"output\": \"a\", \"answer\": \"a\"}]", "entry 1: an answer of its `Answer format` is empty"},
        {"[{\"instruction\": \"Q\", \"choices\": [\"a\"], \"answer\": 0}]", "entry 1: \"choices\" is not a list of two or more"},
        {"[{\"instruction\": \"Q\", \"choices\": [\"a\", 3], \"answer\": 0}]", "entry 1: a choice is not a string, or empty"},
        {"[{\"instruction\": \"Q\", \"choices\": [\"a\", \"b\"], \"answer\": 2}]", "entry 1: \"answer\" is not the number of a choice"},
        {"[{\"instruction\": \"Q\", \"choices\": [\"a\", \"b\"], \"answer\": \"c\"}]", "entry 1: \"answer\" is not one of the choices"},
    };
    for (size_t i = 0; i < CTL_COUNT(cases); i++) {
        heard h = {0};
        ctl_corpus c;
        ctl_corpus_init(&c, NULL);
        const char *path = write_file("wrong.json", cases[i].text);
        assert_int_equal(ctl_corpus_read_items(&c, path, (ctl_voice){hear, &h}), CTL_ERR_INPUT);
        assert_string_equal(h.code, "E0603");
        assert_string_equal(h.message + strlen(path) + 2, cases[i].message);
        ctl_corpus_free(&c);
    }
    heard h = {0};
    ctl_corpus c;
    ctl_corpus_init(&c, NULL);
    assert_int_equal(ctl_corpus_read_items(&c, write_file("text.txt", "no items"), (ctl_voice){hear, &h}), CTL_ERR_INPUT);
    assert_string_equal(h.code, "E0614");
    ctl_corpus_free(&c);
}

/* ---- likelihoods ---- */
enum { VOCAB = 258, LONGEST = 160 };
static const char SPEC[] =
    "import llama, tuning\n"
    "model m = llama.causal_lm(; vocab = 258, dim = 16, depth = 2, heads = 2, kv_heads = 2, ffn = 24, theta = 10000.0)\n"
    "tune fixed = m with tuning.double(rank = 2) {\n    tokens 3 x 160\n    adamw(; lr = 1e-3)\n}\n"
    "tune packed = m with tuning.double(rank = 2) {\n    tokens 320 packed\n    adamw(; lr = 1e-3)\n}\n"
    "tune alone = m with tuning.double(rank = 2) {\n    tokens 1 x 160\n    adamw(; lr = 1e-3)\n}\n"
    "tune narrow = m with tuning.double(rank = 2) {\n    tokens 4 x 24\n    adamw(; lr = 1e-3)\n}\n";

static ctl_program *compile(const char *tune, bool logits) {
    static const char *const outputs[] = {"logits"};
    heard h = {0};
    const ctlc_options o = {.diagnostic = hear, .diagnostic_ctx = &h, .tune = tune, .threads = 2, .row_results = true,
                            .outputs = outputs, .noutputs = logits};
    ctl_program *p;
    if (ctlc_compile_text("m.ctl", SPEC, sizeof SPEC - 1, &o, &p) != CTL_OK) fail_msg("%s", h.message);
    return p;
}

/* Weights that tell tokens apart, the same in every program. */
static ctl_session *open_session(const ctl_program *p) {
    ctl_session *s;
    assert_int_equal(ctl_session_open(p, &(ctl_session_options){.seed = 1}, &s), CTL_OK);
    for (size_t i = 0; i < p->nparams; i++) {
        const size_t n = (size_t)(p->params[i].rows * p->params[i].cols);
        float *values = malloc(n * sizeof *values);
        const double salt = (double)strlen(p->params[i].name);
        for (size_t k = 0; k < n; k++) values[k] = (float)(0.6 * sin(1.7 * (double)k + salt));
        assert_int_equal(ctl_session_param_write(s, i, CTL_F32, values), CTL_OK);
        free(values);
    }
    assert_int_equal(ctl_session_load(s), CTL_OK);
    return s;
}

/* Minus the log-likelihood of ids[first ..] after what is before them, from logits. */
static double alone(ctl_session *s, const int32_t *ids, int n, int first) {
    static double logits[LONGEST * VOCAB];
    int32_t all[LONGEST], labels[LONGEST], position[LONGEST], length[LONGEST];
    assert_true(n <= LONGEST);
    for (int t = 0; t < LONGEST; t++) {
        all[t] = t < n ? ids[t] : 257, labels[t] = -100;
        position[t] = t < n ? t : t - n, length[t] = t < n ? n : LONGEST - n;
    }
    assert_int_equal(ctl_session_input(s, "ids", CTL_I32, all, LONGEST), CTL_OK);
    assert_int_equal(ctl_session_input(s, "labels", CTL_I32, labels, LONGEST), CTL_OK);
    assert_int_equal(ctl_session_input(s, "position", CTL_I32, position, LONGEST), CTL_OK);
    assert_int_equal(ctl_session_input(s, "length", CTL_I32, length, LONGEST), CTL_OK);
    ctl_session_set_step(s, 0, 0, 1);
    assert_int_equal(ctl_session_evaluate(s), CTL_OK);
    assert_int_equal(ctl_session_output(s, "logits", true, logits, LONGEST * VOCAB), CTL_OK);
    double loss = 0;
    for (int t = first; t < n; t++) {
        const double *row = logits + (t - 1) * VOCAB;
        double z = 0;
        for (int v = 0; v < VOCAB; v++) z += exp(row[v]);
        loss += log(z) - row[ids[t]];
    }
    return loss;
}

/* Reference losses of all documents, and what follows from them. */
typedef struct answers {
    double loss[16];
    size_t picked[8];
    int64_t right, right_normalised;
} answers;

static void by_hand(const ctl_corpus *c, answers *a) {
    ctl_program *p = compile("alone", true);
    ctl_session *s = open_session(p);
    double bytes[16];
    *a = (answers){0};
    for (size_t d = 0; d < c->ndocs; d++) {
        const ctl_document *doc = &c->docs[d];
        int32_t ids[LONGEST];
        int n = 0, first = 0;
        if (doc->from) {
            for (size_t j = 0; j < doc->size; j++) ids[n++] = ctl_tokens_id(doc->from, doc->begin + j);
            while (!ctl_tokens_counts(doc->from, doc->begin + (size_t)first)) first++;
            bytes[d] = doc->text_bytes >= 0 ? (double)doc->text_bytes : n - first;
        } else {
            ids[n++] = 256;
            for (size_t j = 0; j < doc->size; j++) ids[n++] = c->bytes[doc->begin + j];
            first = 1 + (int)doc->answer;
            bytes[d] = n - first;
        }
        a->loss[d] = alone(s, ids, n, first);
    }
    for (size_t k = 0; k < c->nitems; k++) {
        const ctl_item *item = &c->items[k];
        size_t best = 0, each = 0;
        for (size_t j = 0; j < item->count; j++) {
            const size_t d = item->first + j;
            if (-a->loss[d] > -a->loss[item->first + best]) best = j;
            if (-a->loss[d] / bytes[d] > -a->loss[item->first + each] / bytes[item->first + each]) each = j;
        }
        a->picked[k] = best;
        a->right += best == item->right, a->right_normalised += each == item->right;
    }
    ctl_session_close(s);
    ctl_program_free(p);
}

static void agree(const ctl_corpus *c) {
    static const char *const tunes[] = {"fixed", "packed"};
    answers want;
    by_hand(c, &want);
    for (size_t i = 0; i < CTL_COUNT(tunes); i++) {
        ctl_program *p = compile(tunes[i], false);
        ctl_session *s = open_session(p);
        double loss[16] = {0};
        int64_t counted[16] = {0};
        ctl_choice_result r;
        ctl_evaluation e;
        ctl_loader *l;
        size_t picked[8];
        const ctl_packing packing = {.rows = p->tokens, .sequence = p->sequence, .loss_on_output = true, .whole = true, .keep_end = true};
        assert_int_equal(ctl_loader_open(c, &packing, NULL, (ctl_voice){0}, &l), CTL_OK);
        const ctl_evaluate_options o = {.held_out = l, .document_loss = loss, .document_counted = counted};
        assert_int_equal(ctl_train_evaluate(s, p, &o, &e), CTL_OK);
        double sum = 0;
        for (size_t d = 0; d < c->ndocs; d++) {
            if (!(fabs(loss[d] - want.loss[d]) <= 1e-5 * want.loss[d]))
                fail_msg("%s, document %zu: %.9g, by its logits %.9g", tunes[i], d, loss[d], want.loss[d]);
            sum += loss[d];
        }
        assert_true(fabs(e.loss * (double)e.counted - sum) <= 1e-5 * sum);
        assert_int_equal(ctl_choices_evaluate(s, p, c, &(ctl_evaluate_options){0}, &r, picked), CTL_OK);
        assert_memory_equal(picked, want.picked, c->nitems * sizeof *picked);
        assert_int_equal(r.items, c->nitems);
        assert_int_equal(r.right, want.right);
        assert_int_equal(r.right_normalised, want.right_normalised);
        assert_int_equal(r.cut, 0);
        ctl_loader_close(l);
        ctl_session_close(s);
        ctl_program_free(p);
    }
}

static void test_likelihoods(void **state) {
    (void)state;
    ctl_corpus c;
    read_items(&c, ITEMS);
    agree(&c);
    ctl_corpus_free(&c);
}

/* Candidates of a token file, whose mask says where they begin; with bytes of text and without. */
static void test_token_items(void **state) {
    (void)state;
    enum { ITEM = 6 };
    static const uint16_t ids[] = {5, 6, 7, 100, 5, 6, 7, 101, 102, 103, 9, 30, 31, 9, 40, 9, 50, 51};
    static const uint8_t mask[] = {0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0, 1, 1, 0, 1, 0, 1, 1};
    static const int64_t documents[] = {0, 4, 10, 13, 15, 18}, items[] = {0, 2, 5};
    static const int32_t answers_of[] = {1, 0}, text_bytes[] = {1, 30, 4, 3, 9};
    const char *metadata = "{\"format\": \"ctlc-tokens\", \"version\": \"1\", \"tokenizer\": \"toy\", \"vocab\": \"258\", \"pad\": \"0\"}";
    const raw_tensor t[] = {RAW("documents", "I64", documents), RAW("items", "I64", items), RAW("answers", "I32", answers_of),
                            RAW("ids", "U16", ids), RAW("loss_mask", "U8", mask), RAW("text_bytes", "I32", text_bytes)};
    for (size_t n = ITEM - 1; n <= ITEM; n++) {
        char path[128];
        heard h = {0};
        ctl_corpus c;
        snprintf(path, sizeof path, "%s/items.safetensors", folder);
        write_raw_safetensors(path, metadata, t, n);
        ctl_corpus_init(&c, NULL);
        if (ctl_corpus_read_items(&c, path, (ctl_voice){hear, &h}) != CTL_OK) fail_msg("%s", h.message);
        assert_int_equal(c.nitems, 2);
        assert_int_equal(c.items[1].first, 2);
        assert_int_equal(c.items[1].count, 3);
        agree(&c);
        ctl_corpus_free(&c);
        ctl_corpus_init(&c, NULL); /* as texts to learn they are refused */
        assert_int_equal(ctl_corpus_read(&c, path, (ctl_voice){hear, &h}), CTL_ERR_INPUT);
        assert_string_equal(h.code, "E0614");
        ctl_corpus_free(&c);
    }
}

/* A prompt that does not fit loses its begin, the candidate nothing; one whose candidate has no tokens is an error. */
static void test_edges(void **state) {
    (void)state;
    ctl_corpus c;
    heard h = {0};
    ctl_choice_result r;
    read_items(&c, ITEMS);
    ctl_program *p = compile("narrow", false);
    ctl_session *s = open_session(p);
    assert_int_equal(ctl_choices_evaluate(s, p, &c, &(ctl_evaluate_options){0}, &r, NULL), CTL_OK);
    assert_int_equal(r.cut, 8);
    assert_true(fabs(r.chance - (1 / 3.0 + 1 / 2.0 + 1 / 3.0) / 3) < 1e-12);
    ctl_corpus_free(&c);

    static const uint16_t ids[] = {5, 6, 5, 7};
    static const uint8_t mask[] = {0, 1, 0, 0};
    static const int64_t documents[] = {0, 2, 4}, items[] = {0, 2};
    static const int32_t answer[] = {0};
    const raw_tensor t[] = {RAW("documents", "I64", documents), RAW("items", "I64", items), RAW("answers", "I32", answer),
                            RAW("ids", "U16", ids), RAW("loss_mask", "U8", mask)};
    char path[128];
    snprintf(path, sizeof path, "%s/empty.safetensors", folder);
    write_raw_safetensors(path, "{\"format\": \"ctlc-tokens\", \"version\": \"1\", \"tokenizer\": \"toy\", \"vocab\": \"258\", \"pad\": \"0\"}", t, 5);
    ctl_corpus_init(&c, NULL);
    assert_int_equal(ctl_corpus_read_items(&c, path, (ctl_voice){0}), CTL_OK);
    const ctl_evaluate_options o = {.voice = {hear, &h}};
    assert_int_equal(ctl_choices_evaluate(s, p, &c, &o, &r, NULL), CTL_ERR_INPUT);
    assert_string_equal(h.message, "item 1: of candidate 2 nothing counts");
    ctl_corpus_free(&c);
    write_raw_safetensors(path, "{\"format\": \"ctlc-tokens\", \"version\": \"1\", \"tokenizer\": \"toy\", \"vocab\": \"300\", \"pad\": \"299\"}", t, 5);
    ctl_corpus_init(&c, NULL);
    assert_int_equal(ctl_corpus_read_items(&c, path, (ctl_voice){0}), CTL_OK);
    assert_int_equal(ctl_choices_evaluate(s, p, &c, &o, &r, NULL), CTL_ERR_INPUT);
    assert_string_equal(h.code, "E0615");
    assert_non_null(strstr(h.message, "empty.safetensors: id 299 occurs; the data have a vocabulary of 300 (toy), the model one of 258"));
    ctl_corpus_free(&c);
    ctl_session_close(s);
    ctl_program_free(p);
}

static void test_memory(void **state) {
    (void)state;
    bool done = false;
    const char *path = write_file("items.json", ITEMS);
    ctl_program *p = compile("narrow", false);
    ctl_session *s = open_session(p);
    for (size_t n = 0; !done && n < 200; n++) {
        meter m = {.left = n};
        const ctl_allocator a = {&m, meter_resize};
        ctl_corpus c;
        ctl_choice_result r;
        ctl_corpus_init(&c, &a);
        ctl_status status = ctl_corpus_read_items(&c, path, (ctl_voice){0});
        if (status == CTL_OK) status = ctl_choices_evaluate(s, p, &c, &(ctl_evaluate_options){.allocator = &a}, &r, NULL);
        done = status == CTL_OK;
        assert_true(done || status == CTL_ERR_MEMORY);
        ctl_corpus_free(&c);
        assert_int_equal(m.held, 0);
    }
    assert_true(done);
    ctl_session_close(s);
    ctl_program_free(p);
}

/* The field's own items, where they are. */
static void test_real_items(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t items, candidates;
    } files[] = {{"arc_easy_test.json", 2376, 2365 * 4 + 7 * 3 + 4 * 5}, {"arc_challenge_test.json", 1172, 1165 * 4 + 4 * 3 + 3 * 5}};
    const char *data = getenv("CTL_TEST_DATA");
    for (size_t i = 0; i < CTL_COUNT(files); i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/commonsense/%s", data ? data : "", files[i].name);
        if (!data || access(path, R_OK) != 0) {
            print_message("skipped: CTL_TEST_DATA names no folder with commonsense/%s\n", files[i].name);
            skip();
        }
        ctl_corpus c;
        ctl_corpus_init(&c, NULL);
        assert_int_equal(ctl_corpus_read_items(&c, path, (ctl_voice){0}), CTL_OK);
        assert_int_equal(c.nitems, files[i].items);
        assert_int_equal(c.ndocs, files[i].candidates);
        ctl_corpus_free(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items), cmocka_unit_test(test_wrong_items), cmocka_unit_test(test_likelihoods), cmocka_unit_test(test_token_items),
        cmocka_unit_test(test_edges), cmocka_unit_test(test_memory),      cmocka_unit_test(test_real_items),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
