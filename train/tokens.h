/* tokens: a token file: documents that a tokenizer has made ids of beforehand (docs/files.md has the format).
 *
 * It is a safetensors file, mapped, and checked wholly before any of it is used: ids lie in the vocabulary, masks are
 * 0 or 1, documents are not empty and tile the ids, items tile the documents. Nothing here is aligned. */
#ifndef CTL_TRAIN_TOKENS_H
#define CTL_TRAIN_TOKENS_H

#include "runtime/safetensors.h"

typedef struct ctl_tokens {
    ctl_tensors *set;
    const char *path;
    const char *tokenizer;           /* its name, for messages and to tell files apart */
    int64_t vocab;                   /* every id is below it */
    int32_t pad;                     /* the id that fills up */
    size_t nids, ndocuments, nitems; /* nitems 0: no multiple choice */
    const ctl_tensor *ids, *mask, *types, *documents, *labels, *text_bytes, *items, *answers,
        *targets;                    /* NULL: absent */
    uint64_t hash;                   /* of all of it */
} ctl_tokens;

/* CTL_ERR_IO, CTL_ERR_INPUT (said with the file, the tensor and the place in it), CTL_ERR_MEMORY. The allocator and the
 * voice of place must outlive it. */
ctl_status ctl_tokens_open(const char *path, ctl_place place, ctl_tokens **out);
void ctl_tokens_close(ctl_tokens *t, const ctl_allocator *allocator); /* NULL is fine */

int32_t ctl_tokens_id(const ctl_tokens *t, size_t i);
bool ctl_tokens_counts(const ctl_tokens *t, size_t i); /* whether id i is to be predicted */
int32_t ctl_tokens_type(const ctl_tokens *t, size_t i);
size_t ctl_tokens_document(const ctl_tokens *t, size_t d); /* where document d begins; d <= ndocuments */
size_t ctl_tokens_item(const ctl_tokens *t, size_t k);     /* first document of item k; k <= nitems */
/* Element i of labels, text_bytes, answers or targets (I32). */
int32_t ctl_tokens_int(const ctl_tensor *t, size_t i);

#endif
