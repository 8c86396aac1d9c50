/* Data: what every reader and every packing must keep (no byte lost, positions, labels), and what malformed
 * files say. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "base/random.h"
#include "tests/meter.h"
#include "train/data.h"
#include "tests/folder.h"
#include "tests/heard.h"

/* ---- helpers ---- */
static uint32_t rnd(uint64_t *state) {
    uint32_t out[4], counter[4] = {(uint32_t)*state, 7, 7, 7};
    ++*state;
    ctl_philox(counter, 99, out);
    return out[0];
}

static const ctl_voice SILENT = {0};
static const char *write_file(const char *name, const char *text, size_t size) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, size, f), size);
    fclose(f);
    return path;
}

static void random_corpus(ctl_corpus *c, uint64_t *seed, int ndocs, size_t longest) {
    ctl_corpus_init(c, NULL);
    for (int i = 0; i < ndocs; i++) {
        size_t size = 1 + rnd(seed) % longest;
        char *text = malloc(size);
        for (size_t j = 0; j < size; j++) text[j] = (char)rnd(seed);
        assert_int_equal(ctl_corpus_add(c, text, size, rnd(seed) % (size + 1)), CTL_OK);
        free(text);
    }
}

/* ---- packing ---- */
/* Documents whose bytes name their place: byte j of document d is 16 d + j. */
static void named_corpus(ctl_corpus *c, const int *sizes, int n) {
    ctl_corpus_init(c, NULL);
    for (int d = 0; d < n; d++) {
        char *text = malloc((size_t)sizes[d]);
        for (int j = 0; j < sizes[d]; j++) text[j] = (char)(d * 16 + j);
        assert_int_equal(ctl_corpus_add(c, text, (size_t)sizes[d], 0), CTL_OK);
        free(text);
    }
}

static void test_fixed_by_hand(void **state) {
    (void)state;
    ctl_corpus c;
    named_corpus(&c, (int[]){3, 1},
                 2); /* 256 0 1 2 256 16 [256]: two cuts of 4, the second one short of one token */
    ctl_loader *l;
    ctl_batch b;
    assert_int_equal(ctl_loader_open(&c, &(ctl_packing){.rows = 8, .sequence = 4}, NULL, SILENT, &l), CTL_OK);
    assert_int_equal(ctl_batch_open(&b, 8, NULL), CTL_OK);
    assert_true(ctl_loader_next_in_epoch(l, &b));
    const int32_t ids[] = {256, 0, 1, 2, 256, 16, 257, 257}, labels[] = {0, 1, 2, 256, 16, 256, -100, -100},
                  position[] = {0, 1, 2, 3, 0, 1, 2, 3};
    assert_memory_equal(b.ids, ids, sizeof ids);
    assert_memory_equal(b.labels, labels, sizeof labels);
    assert_memory_equal(b.position, position, sizeof position);
    for (int t = 0; t < 8; t++) assert_int_equal(b.length[t], 4);
    assert_int_equal(b.counted, 6);
    assert_int_equal(b.bytes, 4);
    assert_false(ctl_loader_next_in_epoch(l, &b));
    ctl_batch_close(&b, NULL);
    ctl_loader_close(l);
    ctl_corpus_free(&c);
}

static void test_packed_by_hand(void **state) {
    (void)state;
    ctl_corpus c;
    named_corpus(&c, (int[]){2, 3}, 2); /* 256 0 1 256 | 256 16 (cut) 17 18 256 */
    ctl_loader *l;
    ctl_batch b;
    assert_int_equal(ctl_loader_open(&c, &(ctl_packing){.rows = 6}, NULL, SILENT, &l), CTL_OK);
    assert_int_equal(ctl_batch_open(&b, 6, NULL), CTL_OK);
    assert_true(ctl_loader_next_in_epoch(l, &b));
    const int32_t ids[] = {256, 0, 1, 256, 256, 16}, labels[] = {0, 1, 256, -100, 16, 17},
                  position[] = {0, 1, 2, 3, 0, 1}, length[] = {4, 4, 4, 4, 2, 2};
    assert_memory_equal(b.ids, ids, sizeof ids);
    assert_memory_equal(b.labels, labels, sizeof labels);
    assert_memory_equal(b.position, position, sizeof position);
    assert_memory_equal(b.length, length, sizeof length);
    assert_true(ctl_loader_next_in_epoch(l, &b));
    const int32_t ids2[] = {17, 18, 256, 257, 257, 257}, labels2[] = {18, 256, -100, -100, -100, -100},
                  position2[] = {0, 1, 2, 0, 0, 0}; /* each row of padding by itself */
    assert_memory_equal(b.ids, ids2, sizeof ids2);
    assert_memory_equal(b.labels, labels2, sizeof labels2);
    assert_memory_equal(b.position, position2, sizeof position2);
    assert_int_equal(b.counted, 2);
    assert_int_equal(b.bytes, 1);
    assert_false(ctl_loader_next_in_epoch(l, &b));
    ctl_batch_close(&b, NULL);
    ctl_loader_close(l);
    ctl_corpus_free(&c);
}

static void test_loss_on_output(void **state) {
    (void)state;
    ctl_corpus c;
    ctl_corpus_init(&c, NULL);
    assert_int_equal(ctl_corpus_add(&c, "promptANS", 9, 6), CTL_OK);
    for (int packed = 0; packed < 2; packed++) {
        ctl_loader *l;
        ctl_batch b;
        const ctl_packing packing = {.rows = 12, .sequence = packed ? 0 : 12, .loss_on_output = true};
        assert_int_equal(ctl_loader_open(&c, &packing, NULL, SILENT, &l), CTL_OK);
        assert_int_equal(ctl_batch_open(&b, 12, NULL), CTL_OK);
        assert_true(ctl_loader_next_in_epoch(l, &b));
        const int32_t labels[] = {-100, -100, -100, -100, -100, -100, 'A', 'N', 'S', 256, -100, -100};
        assert_memory_equal(b.labels, labels, sizeof labels);
        assert_int_equal(b.counted, 4);
        ctl_batch_close(&b, NULL);
        ctl_loader_close(l);
    }
    ctl_corpus_free(&c);
}

/* Each text by itself: padded, and packed without one going on in the next batch; prompts do not count. */
static void test_whole_outputs(void **state) {
    (void)state;
    ctl_corpus c;
    ctl_batch b;
    ctl_corpus_init(&c, NULL);
    assert_int_equal(ctl_corpus_add(&c, "pANS", 4, 1), CTL_OK);
    assert_int_equal(ctl_corpus_add(&c, "qrLONGER", 8, 2), CTL_OK);
    assert_int_equal(ctl_batch_open(&b, 16, NULL), CTL_OK);
    static const struct {
        int64_t sequence, too_long;
        int32_t ids[16], labels[16], position[16], length[16];
    } cases[] = {
        /* the second is cut at its end, whose next byte still counts; padding is a document of its own */
        {8, 1,
         {256, 'p', 'A', 'N', 'S', 256, 257, 257, 256, 'q', 'r', 'L', 'O', 'N', 'G', 'E'},
         {-100, 'A', 'N', 'S', 256, -100, -100, -100, -100, -100, 'L', 'O', 'N', 'G', 'E', 'R'},
         {0, 1, 2, 3, 4, 5, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7},
         {6, 6, 6, 6, 6, 6, 2, 2, 8, 8, 8, 8, 8, 8, 8, 8}},
        {0, 0,
         {256, 'p', 'A', 'N', 'S', 256, 256, 'q', 'r', 'L', 'O', 'N', 'G', 'E', 'R', 256},
         {-100, 'A', 'N', 'S', 256, -100, -100, -100, 'L', 'O', 'N', 'G', 'E', 'R', 256, -100},
         {0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9},
         {6, 6, 6, 6, 6, 6, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10}},
    };
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        ctl_loader *l;
        const ctl_packing packing = {.rows = 16, .sequence = cases[k].sequence, .loss_on_output = true, .whole = true};
        assert_int_equal(ctl_loader_open(&c, &packing, NULL, SILENT, &l), CTL_OK);
        assert_int_equal(ctl_loader_too_long(l), cases[k].too_long);
        assert_true(ctl_loader_next_in_epoch(l, &b));
        assert_memory_equal(b.ids, cases[k].ids, sizeof cases[k].ids);
        assert_memory_equal(b.labels, cases[k].labels, sizeof cases[k].labels);
        assert_memory_equal(b.position, cases[k].position, sizeof cases[k].position);
        assert_memory_equal(b.length, cases[k].length, sizeof cases[k].length);
        assert_false(ctl_loader_next_in_epoch(l, &b));
        ctl_loader_close(l);
    }
    ctl_batch_close(&b, NULL);
    ctl_corpus_free(&c);
}

/* Positions count up from 0, lengths agree, and a label is the next id wherever the next row goes on. */
static void check_rows(const ctl_batch *b, int64_t sequence) {
    int64_t counted = 0;
    for (int64_t t = 0; t < b->rows; t++) {
        assert_in_range(b->ids[t], 0, 257);
        assert_true(b->position[t] >= 0 && b->position[t] < b->length[t]);
        if (sequence) assert_int_equal(b->length[t], sequence);
        bool goes_on = b->position[t] + 1 < b->length[t];
        if (goes_on) {
            assert_true(t + 1 < b->rows);
            assert_int_equal(b->position[t + 1], b->position[t] + 1);
            assert_int_equal(b->length[t + 1], b->length[t]);
            /* the 256 that ends a stream is a label alone: padding follows it */
            bool last = b->labels[t] == 256 && b->ids[t + 1] == 257;
            if (b->labels[t] != -100 && !last) assert_int_equal(b->labels[t], b->ids[t + 1]);
        } else if (t + 1 < b->rows) {
            assert_int_equal(b->position[t + 1], 0);
        }
        counted += b->labels[t] != -100;
    }
    assert_int_equal(counted, b->counted);
}

/* Over random corpora: in an epoch every byte is an id once and a label once (counted by value). */
static void test_every_byte_once(void **state) {
    (void)state;
    uint64_t seed = 1;
    for (int trial = 0; trial < 60; trial++) {
        ctl_corpus c;
        random_corpus(&c, &seed, 1 + (int)(rnd(&seed) % 12), 1 + rnd(&seed) % 90);
        int64_t sequence = rnd(&seed) % 2 ? 0 : 2 + rnd(&seed) % 20;
        int64_t rows = sequence ? sequence * (1 + rnd(&seed) % 4) : 2 + rnd(&seed) % 60;
        const ctl_packing packing = {.rows = rows, .sequence = sequence, .shuffle = true, .seed = rnd(&seed)};
        ctl_loader *l;
        ctl_batch b;
        assert_int_equal(ctl_loader_open(&c, &packing, NULL, SILENT, &l), CTL_OK);
        assert_int_equal(ctl_batch_open(&b, rows, NULL), CTL_OK);
        for (int epoch = 0; epoch < 2; epoch++) {
            int64_t histogram[257] = {0}, as_id[258] = {0}, bytes = 0;
            while (ctl_loader_next_in_epoch(l, &b)) {
                check_rows(&b, sequence);
                bytes += b.bytes;
                for (int64_t t = 0; t < rows; t++) {
                    as_id[b.ids[t]]++;
                    if (b.labels[t] != -100) histogram[b.labels[t]]++;
                }
            }
            assert_int_equal(bytes, c.nbytes);
            int64_t wanted[256] = {0};
            for (size_t i = 0; i < c.nbytes; i++) wanted[c.bytes[i]]++;
            for (int v = 0; v < 256; v++) {
                assert_int_equal(histogram[v], wanted[v]);
                assert_int_equal(as_id[v], wanted[v]);
            }
            assert_int_equal(histogram[256], c.ndocs);
            assert_int_equal(as_id[256], sequence ? c.ndocs : 2 * c.ndocs);
            ctl_cursor next = {.epoch = epoch + 1};
            assert_int_equal(ctl_loader_go(l, next), CTL_OK);
        }
        ctl_batch_close(&b, NULL);
        ctl_loader_close(l);
        ctl_corpus_free(&c);
    }
}

/* Packed batches have no padding while training, whatever ends where. */
static void test_no_padding_in_training(void **state) {
    (void)state;
    uint64_t seed = 5;
    ctl_corpus c;
    random_corpus(&c, &seed, 5, 40);
    for (int64_t rows = 2; rows < 70; rows += 7) {
        const ctl_packing packing = {.rows = rows, .shuffle = true, .seed = 3};
        ctl_loader *l;
        ctl_batch b;
        assert_int_equal(ctl_loader_open(&c, &packing, NULL, SILENT, &l), CTL_OK);
        assert_int_equal(ctl_batch_open(&b, rows, NULL), CTL_OK);
        for (int i = 0; i < 40; i++) {
            ctl_loader_next(l, &b);
            check_rows(&b, 0);
            for (int64_t t = 0; t < rows; t++) assert_int_not_equal(b.ids[t], 257);
        }
        assert_true(ctl_loader_place(l).epoch >= 1);
        ctl_batch_close(&b, NULL);
        ctl_loader_close(l);
    }
    ctl_corpus_free(&c);
}

static void test_resume_and_shuffle(void **state) {
    (void)state;
    uint64_t seed = 11;
    ctl_corpus c;
    random_corpus(&c, &seed, 9, 60);
    for (int packed = 0; packed < 2; packed++) {
        const ctl_packing packing = {.rows = 24, .sequence = packed ? 0 : 8, .shuffle = true, .seed = 17};
        ctl_packing other = packing;
        other.seed = 18;
        ctl_loader *l, *again, *different;
        ctl_batch b, r, d;
        assert_int_equal(ctl_loader_open(&c, &packing, NULL, SILENT, &l), CTL_OK);
        assert_int_equal(ctl_loader_open(&c, &packing, NULL, SILENT, &again), CTL_OK);
        assert_int_equal(ctl_loader_open(&c, &other, NULL, SILENT, &different), CTL_OK);
        assert_int_equal(ctl_batch_open(&b, 24, NULL), CTL_OK);
        assert_int_equal(ctl_batch_open(&r, 24, NULL), CTL_OK);
        assert_int_equal(ctl_batch_open(&d, 24, NULL), CTL_OK);
        bool differs = false;
        for (int i = 0; i < 50; i++) {
            /* a loader sent to the other's place, from any other place, gives the same batch */
            assert_int_equal(ctl_loader_go(again, ctl_loader_place(l)), CTL_OK);
            ctl_loader_next(l, &b);
            ctl_loader_next(again, &r);
            ctl_loader_next(different, &d);
            assert_memory_equal(b.ids, r.ids, 24 * sizeof(int32_t));
            assert_memory_equal(b.labels, r.labels, 24 * sizeof(int32_t));
            differs |= memcmp(b.ids, d.ids, 24 * sizeof(int32_t)) != 0;
            if (i % 7 == 0) ctl_loader_next(again, &r);
        }
        assert_true(differs);
        assert_int_equal(ctl_loader_go(l, (ctl_cursor){.epoch = -1}), CTL_ERR_INPUT);
        assert_int_equal(ctl_loader_go(l, (ctl_cursor){.item = ctl_loader_items(l) + 1}), CTL_ERR_INPUT);
        assert_int_equal(ctl_loader_go(l, (ctl_cursor){.offset = 1000}), CTL_ERR_INPUT);
        ctl_batch_close(&b, NULL);
        ctl_batch_close(&r, NULL);
        ctl_batch_close(&d, NULL);
        ctl_loader_close(l);
        ctl_loader_close(again);
        ctl_loader_close(different);
    }
    ctl_corpus_free(&c);
}

/* ---- held out ---- */
static void test_split(void **state) {
    (void)state;
    uint64_t seed = 2;
    ctl_corpus c, held, c2, held2;
    uint64_t seed2 = 2;
    random_corpus(&c, &seed, 200, 50);
    random_corpus(&c2, &seed2, 200, 50);
    ctl_corpus_init(&held, NULL);
    ctl_corpus_init(&held2, NULL);
    const size_t total = c.nbytes;
    assert_int_equal(ctl_corpus_split(&c, 0.1, 4, &held), CTL_OK);
    assert_int_equal(ctl_corpus_split(&c2, 0.1, 4, &held2), CTL_OK);
    assert_true(ctl_corpus_fingerprint(&held) == ctl_corpus_fingerprint(&held2));
    size_t kept = 0;
    for (size_t i = 0; i < c.ndocs; i++) kept += c.docs[i].size;
    assert_int_equal(kept + held.nbytes, total);
    assert_int_equal(c.ndocs + held.ndocs, 200);
    assert_true(held.nbytes >= total / 10 && held.nbytes <= total / 10 + 50);
    ctl_corpus_free(&c);
    ctl_corpus_free(&c2);
    ctl_corpus_free(&held);
    ctl_corpus_free(&held2);

    ctl_corpus_init(&c, NULL); /* one text: its end */
    ctl_corpus_init(&held, NULL);
    assert_int_equal(ctl_corpus_add(&c, "abcdefghij", 10, 0), CTL_OK);
    assert_int_equal(ctl_corpus_split(&c, 0.2, 4, &held), CTL_OK);
    assert_int_equal(c.docs[0].size, 8);
    assert_int_equal(held.ndocs, 1);
    assert_memory_equal(held.bytes + held.docs[0].begin, "ij", 2);
    ctl_corpus_free(&c);
    ctl_corpus_free(&held);
}

/* ---- files ---- */
static void test_text_and_folders(void **state) {
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/tree", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/tree/b", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file("tree/z", "last", 4);
    write_file("tree/a.txt", "first\n", 6);
    write_file("tree/b/inner", "mid\0dle", 7);
    write_file("tree/.hidden", "never", 5);
    write_file("tree/empty", "", 0);
    ctl_corpus c;
    ctl_corpus_init(&c, NULL);
    snprintf(path, sizeof path, "%s/tree", folder);
    assert_int_equal(ctl_corpus_read(&c, path, SILENT), CTL_OK);
    assert_int_equal(c.ndocs, 3);
    assert_int_equal(c.nbytes, 17);
    assert_memory_equal(c.bytes, "first\nmid\0dlelast", 17);
    ctl_corpus_free(&c);
}

static void test_instructions(void **state) {
    (void)state;
    const char *text = "[{\"instruction\": \"Add.\", \"input\": \"1 2\", \"output\": \"3\", \"answer\": 3},\n"
                       " {\"instruction\": \"Say caf\\u00e9\", \"output\": \"ok\"}]";
    const char *first = "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n3",
               *second = "### Instruction:\nSay caf\xc3\xa9\n\n### Response:\nok";
    ctl_corpus c;
    ctl_corpus_init(&c, NULL);
    assert_int_equal(ctl_corpus_read(&c, write_file("two.json", text, strlen(text)), SILENT), CTL_OK);
    /* a byte-order mark, as some editors leave it, belongs to no entry */
    const char *lines =
        "\xef\xbb\xbf{\"instruction\": \"Say caf\\u00e9\", \"input\": \"\", \"output\": \"ok\"}\n\n{\"text\": \"plain\"}\n"
        "{\"prompt\": \"One and\", \"completion\": \" two.\"}";
    assert_int_equal(ctl_corpus_read(&c, write_file("two.jsonl", lines, strlen(lines)), SILENT), CTL_OK);
    assert_int_equal(c.ndocs, 5);
    const char *wanted[] = {first, second, second, "plain", "One and two."};
    const size_t answers[] = {1, 2, 2, 5, 5};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(c.docs[i].size, strlen(wanted[i]));
        assert_memory_equal(c.bytes + c.docs[i].begin, wanted[i], strlen(wanted[i]));
        assert_int_equal(c.docs[i].size - c.docs[i].answer, answers[i]);
    }
    ctl_corpus_free(&c);
}

static void test_malformed(void **state) {
    (void)state;
    const struct {
        const char *name, *text, *code, *message;
    } cases[] = {
        {"a.json", "[{\"instruction\": \"x\"", "E0602", ": line 1: not JSON: "},
        {"b.json", "{\"instruction\": \"x\", \"output\": \"y\"}", "E0602", ": not a JSON list of entries"},
        {"c.json", "[{\"instruction\": \"x\", \"output\": \"y\"}, {\"instruction\": \"x\"}]", "E0603",
         ": entry 2: there is no \"output\""},
        {"d.json", "[{\"output\": \"y\"}]", "E0603", ": entry 1: there is no \"instruction\""},
        {"e.json", "[{\"instruction\": 7, \"output\": \"y\"}]", "E0603",
         ": entry 1: \"instruction\" is not a string"},
        {"f.json", "[{\"instruction\": \"x\", \"input\": [], \"output\": \"y\"}]", "E0603",
         ": entry 1: \"input\" is not a string"},
        {"g.json", "[3]", "E0603", ": entry 1: this is not an object"},
        {"h.json", "[{\"instruction\": \"x\", \"output\": \"\"}]", "E0603", ": entry 1: \"output\" is empty"},
        {"i.jsonl", "{\"text\": \"fine\"}\n\n{\"text\": 1}\n", "E0603", ": line 3: \"text\" is not a string"},
        {"j.jsonl", "{\"text\": \"fine\"}\n{\"text\": \n", "E0602", ": line 2: not JSON: "},
        {"k.json", "[{\"instruction\": \"x\", \"instruction\": \"y\", \"output\": \"z\"}]", "E0602",
         ": line 1: not JSON: "},
        {"l.parquet", "PAR1\x15", "E0601", ": this is a Parquet file, not a text"},
        {"m.arrow", "ARROW1", "E0601", ": this is an Arrow file, not a text"},
        {"n.zip", "PK\x03\x04", "E0601", ": this is a zip archive, not a text"},
        {"o.txt.gz", "\x1f\x8b\x08", "E0601", ": this is a gzip file, not a text"},
        {"p.jsonl.zst", "\x28\xb5\x2f\xfd", "E0601", ": this is a zstd file, not a text"},
        {"q.pdf", "%PDF-1.7", "E0601", ": this is a PDF, not a text"},
        {"r.csv", "text,label\n", "E0601", ": this is a table, not a text"},
        {"s.tsv", "text\tlabel\n", "E0601", ": this is a table, not a text"},
        {"t.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}", "E0603", ": line 1: this is a chat, which has no form in bytes"},
        {"u.json", "[{\"prompt\": [], \"completion\": []}]", "E0603", ": entry 1: this is a chat, which has no form in bytes"},
        {"v.json", "[{\"conversations\": []}]", "E0603", ": entry 1: this is a chat, which has no form in bytes"},
        {"w.json", "[{\"prompt\": \"x\", \"completion\": 3}]", "E0603", ": entry 1: \"completion\" is not a string"},
    };
    for (size_t i = 0; i < CTL_COUNT(cases); i++) {
        ctl_corpus c;
        heard h = {0};
        const ctl_voice voice = {hear, &h};
        ctl_corpus_init(&c, NULL);
        const char *path = write_file(cases[i].name, cases[i].text, strlen(cases[i].text));
        assert_int_equal(ctl_corpus_read(&c, path, voice), CTL_ERR_INPUT);
        assert_int_equal(h.n, 1);
        assert_string_equal(h.code, cases[i].code);
        assert_int_equal(strncmp(h.message, path, strlen(path)), 0);
        const char *rest = h.message + strlen(path);
        assert_int_equal(strncmp(rest, cases[i].message, strlen(cases[i].message)), 0);
        ctl_corpus_free(&c);
    }
    ctl_corpus c;
    heard h = {0};
    const ctl_voice voice = {hear, &h};
    ctl_corpus_init(&c, NULL);
    assert_int_equal(ctl_corpus_read(&c, "/nonexistent/file", voice), CTL_ERR_IO);
    assert_string_equal(h.message, "/nonexistent/file: cannot read the data: No such file or directory");
    ctl_loader *l;
    assert_int_equal(ctl_loader_open(&c, &(ctl_packing){.rows = 8}, NULL, voice, &l), CTL_ERR_INPUT);
    assert_string_equal(h.message, "there is no text in the data");
    ctl_corpus_free(&c);
}

/* ---- memory: whichever allocation fails, the status says so and nothing leaks or crashes ---- */
static void test_memory(void **state) {
    (void)state;
    const char *text = "[{\"instruction\": \"Add.\", \"input\": \"1 2\", \"output\": \"3\"}]";
    write_file("tree/list.json", text, strlen(text));
    char path[512];
    snprintf(path, sizeof path, "%s/tree", folder);
    bool done = false;
    for (size_t n = 0; !done && n < 200; n++) {
        meter m = {.left = n};
        const ctl_allocator a = {&m, meter_resize};
        ctl_corpus c, held;
        ctl_loader *l = NULL;
        ctl_batch b = {0};
        ctl_corpus_init(&c, &a);
        ctl_corpus_init(&held, &a);
        ctl_status status = ctl_corpus_read(&c, path, SILENT);
        if (status == CTL_OK) status = ctl_corpus_split(&c, 0.3, 1, &held);
        if (status == CTL_OK)
            status = ctl_loader_open(&c, &(ctl_packing){.rows = 8, .sequence = 4}, &a, SILENT, &l);
        if (status == CTL_OK) status = ctl_batch_open(&b, 8, &a);
        done = status == CTL_OK;
        assert_true(done || status == CTL_ERR_MEMORY);
        ctl_batch_close(&b, &a);
        ctl_loader_close(l);
        ctl_corpus_free(&c);
        ctl_corpus_free(&held);
        assert_int_equal(m.held, 0);
    }
    assert_true(done);
}

/* The field's own files, where they are. */
static void test_real_instructions(void **state) {
    (void)state;
    const char *data = getenv("CTL_TEST_DATA");
    char path[1024];
    snprintf(path, sizeof path, "%s/commonsense/arc_easy_train.json", data ? data : "");
    if (!data || access(path, R_OK) != 0) {
        print_message("skipped: CTL_TEST_DATA names no folder with commonsense/arc_easy_train.json\n");
        skip();
    }
    ctl_corpus c;
    ctl_corpus_init(&c, NULL);
    assert_int_equal(ctl_corpus_read(&c, path, SILENT), CTL_OK);
    assert_int_equal(c.ndocs, 2251); /* the size of ARC easy's training set */
    for (size_t i = 0; i < c.ndocs; i++)
        assert_memory_equal(c.bytes + c.docs[i].begin + c.docs[i].answer, "the correct answer is ", 22);
    ctl_corpus_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed_by_hand),
        cmocka_unit_test(test_packed_by_hand),
        cmocka_unit_test(test_loss_on_output),
        cmocka_unit_test(test_whole_outputs),
        cmocka_unit_test(test_every_byte_once),
        cmocka_unit_test(test_no_padding_in_training),
        cmocka_unit_test(test_resume_and_shuffle),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_text_and_folders),
        cmocka_unit_test(test_instructions),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_real_instructions),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
