/* Token files: what a loader makes of them, in every packing; what files that are wrong say, file by file; and that no
 * file, however damaged, is believed or crashes the reader. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "base/random.h"
#include "tests/folder.h"
#include "tests/heard.h"
#include "tests/meter.h"
#include "tests/token_file.h"
#include "train/data.h"

static const char METADATA[] = "{\"format\": \"ctlc-tokens\", \"version\": \"1\", \"tokenizer\": \"toy\", \"vocab\": \"50\", \"pad\": \"0\"}";
/* Three documents: 11 12 13 | 21 22 | 31 32 33 34, of which the first and the last token of the last do not count. */
static const uint16_t IDS[] = {11, 12, 13, 21, 22, 31, 32, 33, 34};
static const int64_t DOCUMENTS[] = {0, 3, 5, 9};
static const uint8_t MASK[] = {0, 1, 1, 0, 1, 0, 0, 1, 0}, TYPES[] = {0, 0, 1, 0, 1, 0, 0, 0, 1};
static const int32_t LABELS[] = {2, 0, 1}, TEXT_BYTES[] = {5, 3, 7};

static const char *path_of(const char *name) {
    static char path[4][128];
    static int next;
    char *at = path[next++ % 4];
    snprintf(at, sizeof path[0], "%s/%s", folder, name);
    return at;
}

static const char *toy(void) {
    const raw_tensor t[] = {RAW("documents", "I64", DOCUMENTS), RAW("labels", "I32", LABELS), RAW("text_bytes", "I32", TEXT_BYTES),
                            RAW("ids", "U16", IDS),             RAW("loss_mask", "U8", MASK), RAW("types", "U8", TYPES)};
    const char *path = path_of("toy.safetensors");
    write_raw_safetensors(path, METADATA, t, 6);
    return path;
}

static void read_ok(ctl_corpus *c, const char *path) {
    heard h = {0};
    ctl_corpus_init(c, NULL);
    ctl_status status = ctl_corpus_read(c, path, (ctl_voice){hear, &h});
    if (status != CTL_OK) fail_msg("%s: %s", h.code, h.message);
}

typedef struct rows {
    int32_t ids[16], labels[16], position[16], length[16];
} rows;
static void expect(const ctl_batch *b, const rows *want, int64_t n) {
    assert_int_equal(b->rows, n);
    assert_memory_equal(b->ids, want->ids, (size_t)n * 4);
    assert_memory_equal(b->labels, want->labels, (size_t)n * 4);
    assert_memory_equal(b->position, want->position, (size_t)n * 4);
    assert_memory_equal(b->length, want->length, (size_t)n * 4);
}

/* ---- every packing, by hand ---- */
static void test_stream(void **state) {
    (void)state;
    ctl_corpus c;
    ctl_loader *l;
    ctl_batch b;
    read_ok(&c, toy());
    assert_int_equal(ctl_loader_open(&c, &(ctl_packing){.rows = 12, .sequence = 6}, NULL, (ctl_voice){0}, &l), CTL_OK);
    assert_int_equal(ctl_batch_open(&b, 12, NULL), CTL_OK);
    assert_true(ctl_loader_next_in_epoch(l, &b));
    /* A document's last token has no label, nor has one before a token that does not count. */
    expect(&b,
           &(rows){{11, 12, 13, 21, 22, 31, 32, 33, 34, 0, 0, 0},
                   {12, 13, -100, 22, -100, -100, 33, -100, -100, -100, -100, -100},
                   {0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5},
                   {6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6}},
           12);
    assert_int_equal(b.counted, 4);
    assert_int_equal(b.bytes, 15);
    assert_int_equal(ctl_loader_tokens(l), 9);
    assert_false(ctl_loader_next_in_epoch(l, &b));
    ctl_batch_close(&b, NULL);
    ctl_loader_close(l);
    ctl_corpus_free(&c);
}

static void test_packed(void **state) {
    (void)state;
    ctl_corpus c;
    ctl_loader *l;
    ctl_batch b;
    read_ok(&c, toy());
    assert_int_equal(ctl_loader_open(&c, &(ctl_packing){.rows = 7}, NULL, (ctl_voice){0}, &l), CTL_OK);
    assert_int_equal(ctl_batch_open(&b, 7, NULL), CTL_OK);
    assert_true(ctl_loader_next_in_epoch(l, &b));
    expect(&b,
           &(rows){{11, 12, 13, 21, 22, 31, 32},
                   {12, 13, -100, 22, -100, -100, 33},
                   {0, 1, 2, 0, 1, 0, 1},
                   {3, 3, 3, 2, 2, 2, 2}},
           7);
    const int32_t types[] = {0, 0, 1, 0, 1, 0, 0};
    assert_memory_equal(b.types, types, sizeof types);
    assert_true(ctl_loader_next_in_epoch(l, &b)); /* the rest of the third goes on, as a document of its own */
    expect(&b, &(rows){{33, 34, 0, 0, 0, 0, 0}, {-100, -100, -100, -100, -100, -100, -100}, {0, 1, 0, 0, 0, 0, 0}, {2, 2, 1, 1, 1, 1, 1}}, 7);
    ctl_batch_close(&b, NULL);
    ctl_loader_close(l);
    ctl_corpus_free(&c);
}

static void test_whole(void **state) {
    (void)state;
    ctl_corpus c;
    ctl_loader *l;
    ctl_batch b;
    read_ok(&c, toy());
    ctl_packing packing = {.rows = 9, .sequence = 3, .whole = true};
    assert_int_equal(ctl_loader_open(&c, &packing, NULL, (ctl_voice){0}, &l), CTL_OK);
    assert_int_equal(ctl_batch_open(&b, 9, NULL), CTL_OK);
    assert_true(ctl_loader_next_in_epoch(l, &b));
    expect(&b,
           &(rows){{11, 12, 13, 21, 22, 0, 31, 32, 33},
                   {12, 13, -100, 22, -100, -100, -100, 33, -100},
                   {0, 1, 2, 0, 1, 0, 0, 1, 2},
                   {3, 3, 3, 2, 2, 1, 3, 3, 3}},
           9);
    const int32_t document[] = {0, 0, 0, 1, 1, -1, 2, 2, 2};
    assert_memory_equal(b.document, document, sizeof document);
    assert_int_equal(ctl_loader_too_long(l), 1);
    ctl_loader_close(l);
    packing.keep_end = true; /* of the third its last three tokens */
    assert_int_equal(ctl_loader_open(&c, &packing, NULL, (ctl_voice){0}, &l), CTL_OK);
    assert_true(ctl_loader_next_in_epoch(l, &b));
    const int32_t end[] = {32, 33, 34}, end_labels[] = {33, -100, -100};
    assert_memory_equal(b.ids + 6, end, sizeof end);
    assert_memory_equal(b.labels + 6, end_labels, sizeof end_labels);
    ctl_loader_close(l);
    ctl_batch_close(&b, NULL);

    /* Packed: the third does not fit behind the others, and waits for the next batch. */
    packing = (ctl_packing){.rows = 8, .whole = true};
    assert_int_equal(ctl_loader_open(&c, &packing, NULL, (ctl_voice){0}, &l), CTL_OK);
    assert_int_equal(ctl_batch_open(&b, 8, NULL), CTL_OK);
    assert_true(ctl_loader_next_in_epoch(l, &b));
    expect(&b, &(rows){{11, 12, 13, 21, 22, 0, 0, 0}, {12, 13, -100, 22, -100, -100, -100, -100}, {0, 1, 2, 0, 1, 0, 0, 0}, {3, 3, 3, 2, 2, 1, 1, 1}}, 8);
    assert_true(ctl_loader_next_in_epoch(l, &b));
    assert_int_equal(b.ids[0], 31);
    assert_int_equal(b.length[0], 4);
    assert_false(ctl_loader_next_in_epoch(l, &b));
    ctl_loader_close(l);
    ctl_batch_close(&b, NULL);
    ctl_corpus_free(&c);
}

static void test_classes(void **state) {
    (void)state;
    ctl_corpus c;
    ctl_loader *l;
    ctl_batch b;
    read_ok(&c, toy());
    const ctl_packing packing = {.rows = 8, .sequence = 4, .classify = true};
    assert_int_equal(ctl_loader_open(&c, &packing, NULL, (ctl_voice){0}, &l), CTL_OK);
    assert_int_equal(ctl_batch_open(&b, 8, NULL), CTL_OK);
    assert_true(ctl_loader_next_in_epoch(l, &b));
    assert_int_equal(b.counted, 2);
    assert_int_equal(b.classes[0], 2);
    assert_int_equal(b.classes[1], 0);
    for (int t = 0; t < 8; t++) assert_int_equal(b.labels[t], -100);
    assert_true(ctl_loader_next_in_epoch(l, &b));
    assert_int_equal(b.counted, 1);
    assert_int_equal(b.classes[0], 1);
    assert_int_equal(b.classes[1], -100);
    ctl_batch_close(&b, NULL);
    ctl_loader_close(l);
    ctl_corpus_free(&c);

    heard h = {0}; /* texts without classes */
    ctl_corpus_init(&c, NULL);
    assert_int_equal(ctl_corpus_add(&c, "some", 4, 0), CTL_OK);
    assert_int_equal(ctl_loader_open(&c, &packing, NULL, (ctl_voice){hear, &h}, &l), CTL_ERR_INPUT);
    assert_string_equal(h.message, "the model learns classes, and document 1 of the data has none");
    ctl_corpus_free(&c);
}

/* ---- several files, held out, memory ---- */
static void test_together(void **state) {
    (void)state;
    heard h = {0};
    const ctl_voice voice = {hear, &h};
    const int32_t wide[] = {7, 8, 49};
    const int64_t documents[] = {0, 3};
    const raw_tensor t[] = {RAW("documents", "I64", documents), RAW("ids", "I32", wide)};
    const char *first = toy(), *second = path_of("wide.safetensors"), *other = path_of("other.safetensors"), *text = path_of("text");
    write_raw_safetensors(second, METADATA, t, 2);
    write_raw_safetensors(other, "{\"format\": \"ctlc-tokens\", \"version\": \"1\", \"tokenizer\": \"pen\", \"vocab\": \"50\", \"pad\": \"0\"}", t, 2);
    write_bytes(text, "abc", 3);
    ctl_corpus c, held;
    read_ok(&c, first);
    assert_int_equal(ctl_corpus_read(&c, second, voice), CTL_OK);
    assert_int_equal(c.ndocs, 4);
    assert_int_equal(ctl_tokens_id(c.docs[3].from, c.docs[3].begin + 2), 49);
    assert_true(ctl_tokens_counts(c.docs[3].from, 0)); /* no mask: all count */
    assert_int_equal(ctl_corpus_read(&c, other, voice), CTL_ERR_INPUT);
    assert_string_equal(h.code, "E0611");
    assert_non_null(strstr(h.message, "its tokenizer is pen (50 ids, 0 pads), that of the data before is toy (50 ids, 0 pads)"));
    assert_int_equal(ctl_corpus_read(&c, text, voice), CTL_ERR_INPUT);
    assert_non_null(strstr(h.message, "these are texts, and the data before are tokens"));
    const uint64_t before = ctl_corpus_fingerprint(&c);
    ctl_corpus_init(&held, NULL);
    assert_int_equal(ctl_corpus_split(&c, 0.3, 5, &held), CTL_OK); /* documents with classes are held out whole */
    assert_int_equal(c.ndocs + held.ndocs, 4);
    assert_true(held.ndocs >= 1);
    for (size_t d = 0; d < held.ndocs; d++) assert_true(held.docs[d].from == c.files[0] || held.docs[d].from == c.files[1]);
    assert_true(ctl_corpus_fingerprint(&c) != before);
    ctl_corpus_free(&held);
    ctl_corpus_free(&c);
    ctl_corpus_init(&c, NULL);
    assert_int_equal(ctl_corpus_add(&c, "abc", 3, 0), CTL_OK);
    assert_int_equal(ctl_corpus_read(&c, first, voice), CTL_ERR_INPUT);
    assert_non_null(strstr(h.message, "these are tokens, and the data before are texts"));
    ctl_corpus_free(&c);
}

static void test_memory(void **state) {
    (void)state;
    const char *path = toy();
    bool done = false;
    for (size_t n = 0; !done && n < 100; n++) {
        meter m = {.left = n};
        const ctl_allocator a = {&m, meter_resize};
        ctl_corpus c, held;
        ctl_loader *l = NULL;
        ctl_corpus_init(&c, &a);
        ctl_corpus_init(&held, &a);
        ctl_status status = ctl_corpus_read(&c, path, (ctl_voice){0});
        if (status == CTL_OK) status = ctl_corpus_split(&c, 0.3, 1, &held);
        if (status == CTL_OK)
            status = ctl_loader_open(&c, &(ctl_packing){.rows = 8, .sequence = 4, .classify = true}, &a, (ctl_voice){0}, &l);
        done = status == CTL_OK;
        assert_true(done || status == CTL_ERR_MEMORY);
        ctl_loader_close(l);
        ctl_corpus_free(&held);
        ctl_corpus_free(&c);
        assert_int_equal(m.held, 0);
    }
    assert_true(done);
}

/* ---- files that are wrong ---- */
static void refused(const char *metadata, const raw_tensor *t, size_t n, const char *message) {
    heard h = {0};
    char wanted[512];
    ctl_corpus c;
    const char *path = path_of("wrong.safetensors");
    write_raw_safetensors(path, metadata, t, n);
    ctl_corpus_init(&c, NULL);
    assert_int_equal(ctl_corpus_read(&c, path, (ctl_voice){hear, &h}), CTL_ERR_INPUT);
    assert_int_equal(h.n, 1);
    assert_string_equal(h.code, "E0610");
    snprintf(wanted, sizeof wanted, "%s: not a token file that can be used: %s", path, message);
    assert_string_equal(h.message, wanted);
    ctl_corpus_free(&c);
}

/* A label is what the file says of its own row, and no next token is wanted; in a batch of one file with targets and one
 * without, it is. */
static void test_targets(void **state) {
    (void)state;
    static const int32_t targets[] = {-100, 7, -100, 8, -100, -100, 0, -100, 49};
    const raw_tensor t[] = {RAW("documents", "I64", DOCUMENTS), RAW("targets", "I32", targets), RAW("ids", "U16", IDS)};
    const char *path = path_of("targets.safetensors");
    write_raw_safetensors(path, METADATA, t, 3);
    ctl_corpus c;
    ctl_loader *l;
    ctl_batch b;
    read_ok(&c, path);
    for (int k = 0; k < 2; k++) {
        assert_int_equal(ctl_loader_open(&c, &(ctl_packing){.rows = 10, .sequence = k ? 5 : 0}, NULL, (ctl_voice){0}, &l), CTL_OK);
        assert_false(ctl_loader_wants_next(l));
        assert_int_equal(ctl_batch_open(&b, 10, NULL), CTL_OK);
        assert_true(ctl_loader_next_in_epoch(l, &b));
        assert_memory_equal(b.ids, ((const int32_t[]){11, 12, 13, 21, 22, 31, 32, 33, 34, 0}), 40);
        assert_memory_equal(b.labels, ((const int32_t[]){-100, 7, -100, 8, -100, -100, 0, -100, 49, -100}), 40);
        assert_int_equal(b.counted, 4);
        assert_int_equal(b.bytes, 0);
        ctl_batch_close(&b, NULL);
        ctl_loader_close(l);
    }
    assert_int_equal(ctl_corpus_read(&c, toy(), (ctl_voice){0}), CTL_OK);
    assert_int_equal(ctl_loader_open(&c, &(ctl_packing){.rows = 10}, NULL, (ctl_voice){0}, &l), CTL_OK);
    assert_true(ctl_loader_wants_next(l));
    ctl_loader_close(l);
    ctl_corpus_free(&c);
}

static void test_wrong(void **state) {
    (void)state;
    const int64_t gap[] = {0, 3, 3, 9}, late[] = {1, 3, 9}, early[] = {0, 3, 8}, none[] = {0}, items[] = {0, 2, 3}, one[] = {0, 3};
    const int32_t high[] = {1, 2, 50}, answers[] = {0, 0}, answer[] = {3}, negative[] = {0, -1, 2};
    const int32_t targets[] = {-100, 1, 49, 0, -1, 2, 2, 2, 2}, fine[] = {-100, 1, 49, 0, -100, 2, 2, 2, 2};
    const uint8_t two[] = {0, 1, 2, 0, 1, 0, 0, 1, 0};
    const raw_tensor ids = RAW("ids", "U16", IDS), docs = RAW("documents", "I64", DOCUMENTS);
#define REFUSED(message, ...)                                                                                        \
    do {                                                                                                             \
        const raw_tensor t[] = {__VA_ARGS__};                                                                        \
        refused(METADATA, t, sizeof t / sizeof *t, message);                                                         \
    } while (0)
    REFUSED("it has no tensor ids", docs);
    REFUSED("it has no tensor documents", ids);
    REFUSED("its tensor documents: element 2 is 3, not above the one before it, 3", ids, RAW("documents", "I64", gap));
    REFUSED("its tensor documents begins with 1, not 0", ids, RAW("documents", "I64", late));
    REFUSED("its tensor documents ends with 8, and there are 9 ids", ids, RAW("documents", "I64", early));
    REFUSED("its tensor documents has 1 elements: there are no documents", ids, RAW("documents", "I64", none));
    REFUSED("its tensor documents is of type I32, not I64", ids, RAW("documents", "I32", answers));
    REFUSED("id 2 is 50, and the vocabulary has 50", RAW("documents", "I64", one), RAW("ids", "I32", high));
    REFUSED("its tensor loss_mask has 3 elements, not 9", ids, docs, {"loss_mask", "U8", 3, 1, MASK});
    REFUSED("element 2 of loss_mask is 2, neither 0 nor 1", ids, docs, RAW("loss_mask", "U8", two));
    REFUSED("the class of document 1 is -1", ids, docs, RAW("labels", "I32", negative));
    REFUSED("the bytes of document 1 are -1", ids, docs, RAW("text_bytes", "I32", negative));
    REFUSED("it has a tensor items, but none answers", ids, docs, RAW("items", "I64", items));
    REFUSED("it has a tensor answers, but none items", ids, docs, RAW("answers", "I32", answers));
    REFUSED("item 1 has one candidate alone", ids, docs, RAW("items", "I64", items), RAW("answers", "I32", answers));
    REFUSED("the answer of item 0 is candidate 3 of 3", ids, docs, RAW("items", "I64", one), RAW("answers", "I32", answer));
    REFUSED("target 4 is -1, neither a token of the vocabulary of 50 nor -100", ids, docs, RAW("targets", "I32", targets));
    REFUSED("it has both targets and a loss_mask", ids, docs, RAW("targets", "I32", fine), RAW("loss_mask", "U8", MASK));
    REFUSED("it has items, whose tokens are to be predicted, and targets", ids, docs, RAW("targets", "I32", fine), RAW("items", "I64", one),
            RAW("answers", "I32", negative));
    const raw_tensor good[] = {ids, docs};
    refused("{\"format\": \"pt\"}", good, 2, "its metadata do not say \"format\": \"ctlc-tokens\"");
    refused("{\"format\": \"ctlc-tokens\"}", good, 2, "its metadata have no \"version\"");
    refused("{\"format\": \"ctlc-tokens\", \"version\": \"2\"}", good, 2, "it has version 2, and this ctlc reads 1");
    refused("{\"format\": \"ctlc-tokens\", \"version\": \"1\", \"vocab\": \"0x10\"}", good, 2,
            "its metadata say \"vocab\": \"0x10\", which is no number from 1 to 2147483647");
    refused("{\"format\": \"ctlc-tokens\", \"version\": \"1\", \"vocab\": \"50\", \"pad\": \"50\"}", good, 2,
            "its metadata say \"pad\": \"50\", which is no number from 0 to 49");
    refused("{\"format\": \"ctlc-tokens\", \"version\": \"1\", \"vocab\": \"50\", \"pad\": \"0\"}", good, 2,
            "its metadata have no \"tokenizer\"");
}

/* Any bytes changed or cut off: an error that is said once, or a file whose every id is in its vocabulary. */
static void test_damaged(void **state) {
    (void)state;
    const raw_tensor t[] = {RAW("documents", "I64", DOCUMENTS), RAW("labels", "I32", LABELS), RAW("ids", "U16", IDS), RAW("loss_mask", "U8", MASK)};
    size_t size;
    unsigned char *good = raw_safetensors(METADATA, t, 4, &size), *bytes = malloc(size);
    const char *path = path_of("damaged.safetensors");
    int accepted = 0;
    for (uint32_t trial = 0; trial < 4000; trial++) {
        uint32_t r[4], counter[4] = {trial, 1, 2, 3};
        ctl_philox(counter, 4, r);
        memcpy(bytes, good, size);
        size_t n = size;
        if (trial % 4 == 0) n = r[0] % (size + 1);
        for (uint32_t k = 0; trial % 4 && k <= r[0] % 3; k++) {
            const size_t at = trial % 4 == 1 ? size - 1 - (r[1] >> k) % 60 : (r[1] >> 3 * k) % size;
            bytes[at] = trial % 2 ? (unsigned char)(r[2] >> 8 * k) : (unsigned char)(bytes[at] ^ 1u << (r[3] >> 3 * k) % 8);
        }
        write_bytes(path, bytes, n);
        heard h = {0};
        ctl_corpus c;
        ctl_corpus_init(&c, NULL);
        ctl_status status = ctl_corpus_read(&c, path, (ctl_voice){hear, &h});
        assert_true(status == CTL_OK ? h.n == 0 : status == CTL_ERR_INPUT && h.n == 1);
        ctl_loader *l;
        ctl_batch b;
        if (status == CTL_OK) {
            accepted++;
            assert_int_equal(ctl_loader_open(&c, &(ctl_packing){.rows = 6}, NULL, (ctl_voice){0}, &l), CTL_OK);
            assert_int_equal(ctl_batch_open(&b, 6, NULL), CTL_OK);
            while (ctl_loader_next_in_epoch(l, &b))
                for (int k = 0; k < 6; k++) assert_true(b.ids[k] >= 0 && b.ids[k] < c.files[0]->vocab);
            ctl_batch_close(&b, NULL);
            ctl_loader_close(l);
        }
        ctl_corpus_free(&c);
    }
    assert_true(accepted > 10 && accepted < 3000); /* both happened */
    free(good);
    free(bytes);
}

/* ---- what tools/tokenize wrote (tests/tokenize), against its words by hand ---- */
enum { PAD, BEGIN, END, UNKNOWN, HASHES, INSTRUCTION, INPUT, RESPONSE, ADD, ONE, TWO, THREE, WHICH, IS, MORE, GOOD, BAD };

static void document_is(const ctl_corpus *c, size_t d, const int32_t *ids, size_t n, size_t first_that_counts) {
    const ctl_document *doc = &c->docs[d];
    assert_int_equal(doc->size, n);
    for (size_t j = 0; j < n; j++) {
        assert_int_equal(ctl_tokens_id(doc->from, doc->begin + j), ids[j]);
        if (j) assert_int_equal(ctl_tokens_counts(doc->from, doc->begin + j), j >= first_that_counts);
    }
}
#define DOCUMENT(d, first, ...)                                                                                      \
    document_is(&c, d, (const int32_t[]){__VA_ARGS__}, sizeof(int32_t[]){__VA_ARGS__} / sizeof(int32_t), first)

static void test_tokenize(void **state) {
    (void)state;
    ctl_corpus c;
    read_ok(&c, SOURCE_DIR "/tests/tokenize/output.safetensors");
    assert_int_equal(c.ndocs, 2);
    assert_string_equal(c.files[0]->tokenizer, "words");
    assert_int_equal(c.files[0]->vocab, 17);
    DOCUMENT(0, 10, BEGIN, HASHES, INSTRUCTION, ADD, HASHES, INPUT, ONE, TWO, HASHES, RESPONSE, THREE, END);
    DOCUMENT(1, 8, BEGIN, HASHES, INSTRUCTION, WHICH, IS, MORE, HASHES, RESPONSE, TWO, IS, END);
    assert_int_equal(c.docs[0].text_bytes, 5); /* "three" */
    ctl_corpus_free(&c);

    read_ok(&c, SOURCE_DIR "/tests/tokenize/all.safetensors"); /* cut at 20: the begin of Alpaca's long prompt */
    assert_int_equal(c.ndocs, 2);
    assert_int_equal(c.docs[0].size, 20);
    assert_int_equal(ctl_tokens_id(c.files[0], 2), IS); /* "Below is an instruction" */
    assert_true(ctl_tokens_counts(c.files[0], 1));
    assert_int_equal(c.docs[0].text_bytes, -1); /* of a part of a document they are not known */
    ctl_corpus_free(&c);

    read_ok(&c, SOURCE_DIR "/tests/tokenize/pairs.safetensors");
    DOCUMENT(0, 1, BEGIN, ONE, GOOD, TWO);
    DOCUMENT(1, 1, BEGIN, BAD, UNKNOWN);
    assert_int_equal(c.docs[0].label, 1);
    assert_int_equal(c.docs[1].label, 0);
    assert_int_equal(ctl_tokens_type(c.files[0], 2), 0);
    assert_int_equal(ctl_tokens_type(c.files[0], 3), 1);
    assert_int_equal(c.docs[1].text_bytes, 9); /* the accent has two */
    ctl_corpus_free(&c);

    /* three copies of each document of output.safetensors: a target is what stood there, and where there is none it stands still */
    static const int32_t first[] = {BEGIN, HASHES, INSTRUCTION, ADD, HASHES, INPUT, ONE, TWO, HASHES, RESPONSE, THREE, END};
    int masked = 0, targets = 0;
    read_ok(&c, SOURCE_DIR "/tests/tokenize/masked.safetensors");
    assert_int_equal(c.ndocs, 6);
    for (size_t d = 0; d < 3; d++) {
        int of_this = 0;
        assert_int_equal(c.docs[d].size, sizeof first / sizeof *first);
        for (size_t j = 0; j < c.docs[d].size; j++) {
            const int32_t id = ctl_tokens_id(c.files[0], c.docs[d].begin + j), target = ctl_tokens_int(c.files[0]->targets, c.docs[d].begin + j);
            assert_int_equal(target == CTL_NO_LABEL ? id : target, first[j]);
            assert_true(target != BEGIN && target != END);
            of_this += target != CTL_NO_LABEL, masked += target != CTL_NO_LABEL && id == UNKNOWN; /* its mask */
        }
        assert_true(of_this >= 1);
        targets += of_this;
    }
    assert_true(masked >= targets / 2 && c.docs[0].text_bytes == -1);
    ctl_corpus_free(&c);

    ctl_corpus_init(&c, NULL);
    assert_int_equal(ctl_corpus_read_items(&c, SOURCE_DIR "/tests/tokenize/items.safetensors", (ctl_voice){0}), CTL_OK);
    assert_int_equal(c.nitems, 2);
    const ctl_item items[] = {{0, 2, 1}, {2, 3, 1}};
    assert_memory_equal(c.items, items, sizeof items);
    DOCUMENT(1, 8, BEGIN, HASHES, INSTRUCTION, WHICH, IS, MORE, HASHES, RESPONSE, TWO, THREE);
    DOCUMENT(4, 10, BEGIN, HASHES, INSTRUCTION, WHICH, UNKNOWN, UNKNOWN, UNKNOWN, THREE, HASHES, RESPONSE, IS, THREE);
    assert_int_equal(c.docs[4].text_bytes, 8);
    ctl_corpus_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets), cmocka_unit_test(test_stream),   cmocka_unit_test(test_packed), cmocka_unit_test(test_whole), cmocka_unit_test(test_classes),
        cmocka_unit_test(test_together), cmocka_unit_test(test_memory), cmocka_unit_test(test_wrong), cmocka_unit_test(test_tokenize), cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
