/* loader_internal: what loader.c shares with the files that fill batches. */
#ifndef CTL_TRAIN_LOADER_INTERNAL_H
#define CTL_TRAIN_LOADER_INTERNAL_H

#include "train/data.h"

struct ctl_loader {
    const ctl_allocator *allocator;
    const ctl_corpus *corpus;        /* one of the two */
    const struct ctl_images *images;
    ctl_packing packing;
    int32_t pad;      /* the id that fills up */
    bool knows_bytes; /* how many bytes of text the tokens are */
    bool wants_next;  /* of some document each label is the next token */
    int64_t *start;  /* corpus: where each document begins in the stream; [ndocs + 1] */
    uint32_t *order; /* [items] of place.epoch */
    int64_t items, tokens, too_long, padding;
    ctl_cursor place;
};

/* Rows that a document takes: of bytes with the 256 before it, and behind it but in a stream. */
int64_t ctl_document_rows(const ctl_loader *l, size_t d);
/* Fill rows from `row` on with what this epoch still has; return the first row that is free. */
int64_t ctl_fill_texts(ctl_loader *l, ctl_batch *b, int64_t row);
int64_t ctl_fill_images(ctl_loader *l, ctl_batch *b, int64_t row);
/* A document of padding; behind packed documents one a row, as what is left may be longer than a model has positions. */
void ctl_fill_padding(const ctl_loader *l, ctl_batch *b, int64_t row, int64_t rows);

#endif
