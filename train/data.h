/* data: texts, token files and images as examples, and examples as batches.
 *
 * Tokens of texts are bytes: 0 .. 255 are themselves, 256 stands before and after every document, 257 pads. Documents of
 * a token file (train/tokens.h) have the ids that a tokenizer made of them, and nothing is added. A corpus is a list of
 * documents; a loader makes batches of a fixed number of rows of it:
 *   - fixed sequences: all documents in one stream, `256 d0 256 d1 256 ... 256`, cut every `sequence` tokens;
 * a batch is rows / sequence of those cuts. The last cut of a corpus is filled up with padding.
 *   - packed: every document is `256 d 256`, and documents follow each other in a batch without a gap.
 * Positions start again at 0 at every document; the one that does not fit goes on in the next batch as a
 * document of its own.
 *   - whole: no document shares a sequence with another, or is cut in two: what does not fit is left out. Padding
 * that fills a sequence up is a document of its own. For classes and for multiple choice.
 * Labels are the tokens that follow, so a loss needs no shift; -100 where nothing follows (the 256 that ends a packed
 * document, padding) or where the loss is not wanted. Every byte of a corpus is a label once an epoch.
 *
 * Images (train/images.h) are examples of one sequence each: rows of real numbers, with a class.
 *
 * Order is drawn anew every epoch from (seed, epoch), so a ctl_cursor says all there is to know about where a
 * loader is. */
#ifndef CTL_TRAIN_DATA_H
#define CTL_TRAIN_DATA_H

#include "base/base.h"
#include "runtime/say.h"
#include "train/tokens.h"

enum { CTL_TOKEN_SEPARATOR = 256, CTL_TOKEN_PAD = 257, CTL_TOKEN_COUNT = 258, CTL_NO_LABEL = -100 };

typedef struct ctl_document {
    size_t begin, size;     /* bytes in the corpus, or ids in `from`; size > 0 */
    size_t answer;          /* first byte that counts where only outputs are learnt: 0 for plain text */
    const ctl_tokens *from; /* the token file that holds it; NULL: bytes */
    int64_t text_bytes;     /* of a token file: bytes of text among its labels, or -1 where nothing says */
    int32_t label;          /* its class; CTL_NO_LABEL: none */
    const char *file;       /* where it comes from, for messages; NULL: no file */
    size_t number;          /* of the document there, from 1 on */
} ctl_document;

/* An item of multiple choice: documents first .. first + count - 1 are the same prompt, each with a candidate. */
typedef struct ctl_item {
    size_t first, count, right; /* right: below count */
} ctl_item;

typedef struct ctl_corpus {
    const ctl_allocator *allocator;
    uint8_t *bytes;
    size_t nbytes, bytes_cap;
    ctl_document *docs;
    size_t ndocs, docs_cap;
    ctl_item *items;
    size_t nitems, items_cap;
    ctl_tokens **files; /* token files, which documents point into */
    size_t nfiles, files_cap;
    char **names; /* of files that were read */
    size_t nnames, names_cap;
} ctl_corpus;

void ctl_corpus_init(ctl_corpus *c, const ctl_allocator *allocator); /* NULL: malloc */
void ctl_corpus_free(ctl_corpus *c);
/* Appends what is at path. NAME.json: a list of {instruction, input, output}; NAME.jsonl: one object a line,
 * either that or {text}, or {text, label}; NAME.safetensors: a token file; a directory: all files below it whose names
 * do not begin with a dot, by name; any other file: one document. Empty files are passed over. CTL_ERR_IO,
 * CTL_ERR_INPUT (said with file, entry and key; texts and token files do not mix, nor do tokenizers), CTL_ERR_MEMORY;
 * the corpus keeps what was read before a failure. */
ctl_status ctl_corpus_read(ctl_corpus *c, const char *path, ctl_voice voice);
/* The same for items of multiple choice: entries {instruction, input, output, answer} as in train/choices.h, or a token
 * file with items. */
ctl_status ctl_corpus_read_items(ctl_corpus *c, const char *path, ctl_voice voice);
/* Appends one document; answer as in ctl_document. */
ctl_status ctl_corpus_add(ctl_corpus *c, const void *bytes, size_t size, size_t answer);
/* Moves about `fraction` (0 .. 1) of the tokens from c to held_out (initialised, empty; c must outlive it): whole
 * documents drawn by the seed until the fraction is reached, or, in a corpus of fewer than 8 documents without classes,
 * the end of each. */
ctl_status ctl_corpus_split(ctl_corpus *c, double fraction, uint64_t seed, ctl_corpus *held_out);
/* The order in which n examples are held out: numbers 0 .. n - 1, drawn by the seed; the caller's, n * sizeof. */
ctl_status ctl_split_order(size_t n, uint64_t seed, const ctl_allocator *allocator, size_t **order);

struct ctl_loader;
typedef struct ctl_batch {
    int32_t *ids, *labels;      /* [rows] */
    int32_t *position, *length; /* [rows]: place in the document, and how long it is here */
    int32_t *types;             /* [rows]: which of two texts, where a token file says it */
    int32_t *document;          /* [rows]: number of the document in the corpus, or of the image; -1: padding */
    int32_t *classes;           /* [rows]: a sequence's class; rows / sequence of them are used */
    float *pixels;              /* [rows * columns]: images alone */
    int64_t rows, columns;
    int64_t counted, bytes; /* labels (classes, where those are learnt) that are not -100; bytes of text among them */
} ctl_batch;
ctl_status ctl_batch_open(ctl_batch *b, int64_t rows, const ctl_allocator *allocator);
/* For what the loader gives: with pixels where it reads images. */
ctl_status ctl_batch_open_for(ctl_batch *b, const struct ctl_loader *l, const ctl_allocator *allocator);
void ctl_batch_close(ctl_batch *b, const ctl_allocator *allocator);

/* How examples become batches. */
typedef struct ctl_packing {
    int64_t rows;        /* tokens of a batch */
    int64_t sequence;    /* length of the sequences, which divides rows; 0: packed */
    bool loss_on_output; /* labels of prompts are -100 */
    bool whole;          /* each document by itself */
    bool keep_end;       /* whole: of a document that does not fit the end stays, not the begin */
    bool classify;       /* whole, of fixed sequences: what counts are the documents' classes */
    bool shuffle;        /* false: in the corpus' order, for evaluation */
    uint64_t seed;
} ctl_packing;

/* Where a loader is: item of the epoch's order, and the tokens of it that are already used (packed only). */
typedef struct ctl_cursor {
    int64_t epoch, item, offset;
} ctl_cursor;

typedef struct ctl_loader ctl_loader;
/* The corpus must outlive the loader and not change. CTL_ERR_INPUT for an empty corpus, or one without classes where they
 * are wanted. */
ctl_status ctl_loader_open(const ctl_corpus *c, const ctl_packing *packing, const ctl_allocator *allocator,
                           ctl_voice voice, ctl_loader **out);
/* The same for images, whose packing is of fixed sequences, one an image. */
struct ctl_images;
ctl_status ctl_loader_open_images(const struct ctl_images *images, const ctl_packing *packing,
                                  const ctl_allocator *allocator, ctl_voice voice, ctl_loader **out);
void ctl_loader_close(ctl_loader *l);
/* The next batch; epochs follow each other for ever, without a gap in packed batches. */
void ctl_loader_next(ctl_loader *l, ctl_batch *b);
/* The next batch of this epoch, filled up with padding at its end; false, and nothing written, when it is
 * over. */
bool ctl_loader_next_in_epoch(ctl_loader *l, ctl_batch *b);
ctl_cursor ctl_loader_place(const ctl_loader *l);
/* CTL_ERR_INPUT when there is no such place, as when the data changed. */
ctl_status ctl_loader_go(ctl_loader *l, ctl_cursor place);
const ctl_packing *ctl_loader_packing(const ctl_loader *l);
/* Sequences, documents or images of an epoch; rows of an epoch (padding behind the last one, or behind packed documents,
 * not counted); whole documents that do not fit into a sequence, or a batch; rows that fill up sequences of whole documents. */
int64_t ctl_loader_items(const ctl_loader *l);
int64_t ctl_loader_tokens(const ctl_loader *l);
int64_t ctl_loader_too_long(const ctl_loader *l);
int64_t ctl_loader_padding(const ctl_loader *l);
/* Is a label the token behind its own? Not where classes are learnt, or token files say the labels. */
bool ctl_loader_wants_next(const ctl_loader *l);
/* A number that tells corpora apart: of the bytes or ids, the documents' bounds and classes. */
uint64_t ctl_corpus_fingerprint(const ctl_corpus *c);

#endif
