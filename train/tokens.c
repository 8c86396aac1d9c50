/* tokens: reads and checks token files. See tokens.h. */
#include "train/data.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const REMEDY = "tools/tokenize writes such files; docs/files.md has the format";

/* ---- elements, wherever they lie ---- */
int32_t ctl_tokens_int(const ctl_tensor *t, size_t i) {
    int32_t value;
    memcpy(&value, (const char *)t->data + i * sizeof value, sizeof value);
    return value;
}

static int64_t long_at(const ctl_tensor *t, size_t i) {
    int64_t value;
    memcpy(&value, (const char *)t->data + i * sizeof value, sizeof value);
    return value;
}

int32_t ctl_tokens_id(const ctl_tokens *t, size_t i) {
    if (t->ids->known) return ctl_tokens_int(t->ids, i);
    uint16_t narrow;
    memcpy(&narrow, (const char *)t->ids->data + i * sizeof narrow, sizeof narrow);
    return narrow;
}

bool ctl_tokens_counts(const ctl_tokens *t, size_t i) {
    return !t->mask || ((const uint8_t *)t->mask->data)[i] != 0;
}

int32_t ctl_tokens_type(const ctl_tokens *t, size_t i) {
    return t->types ? ((const uint8_t *)t->types->data)[i] : 0;
}

size_t ctl_tokens_document(const ctl_tokens *t, size_t d) {
    return (size_t)long_at(t->documents, d);
}

size_t ctl_tokens_item(const ctl_tokens *t, size_t k) {
    return (size_t)long_at(t->items, k);
}

/* ---- checks ---- */
typedef struct reader {
    ctl_tokens *t;
    ctl_place place;
} reader;

static ctl_status wrong(const reader *r, const char *fmt, ...) CTL_PRINTF(2, 3);
static ctl_status wrong(const reader *r, const char *fmt, ...) {
    char what[320];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    ctl_say(r->place.voice, CTL_ERROR, "E0610", REMEDY, "%s: not a token file that can be used: %s", r->t->path, what);
    return CTL_ERR_INPUT;
}

/* The tensor, of one dimension and n elements (SIZE_MAX: any number), of one of the types. NULL where it is absent. */
static ctl_status find(const reader *r, const char *name, const char *types, size_t n, const ctl_tensor **out) {
    const ctl_tensor *t = *out = ctl_tensors_find(r->t->set, name);
    if (!t) return CTL_OK;
    if (!strstr(types, t->dtype_name))
        return wrong(r, "its tensor %s is of type %s, not %s", name, t->dtype_name, types);
    if (t->ndims != 1) return wrong(r, "its tensor %s has %d dimensions, not one", name, t->ndims);
    if (n != SIZE_MAX && (uint64_t)t->dims[0] != n)
        return wrong(r, "its tensor %s has %lld elements, not %zu", name, (long long)t->dims[0], n);
    return CTL_OK;
}

/* Bounds of pieces: from 0 to n, every piece of one element or more. */
static ctl_status check_bounds(const reader *r, const ctl_tensor *t, size_t n, const char *pieces, const char *of) {
    const size_t count = (size_t)t->dims[0];
    if (count < 2) return wrong(r, "its tensor %s has %zu elements: there are no %s", t->name, count, pieces);
    if (long_at(t, 0) != 0) return wrong(r, "its tensor %s begins with %lld, not 0", t->name, (long long)long_at(t, 0));
    for (size_t i = 1; i < count; i++)
        if (long_at(t, i) <= long_at(t, i - 1))
            return wrong(r, "its tensor %s: element %zu is %lld, not above the one before it, %lld", t->name, i,
                         (long long)long_at(t, i), (long long)long_at(t, i - 1));
    if ((uint64_t)long_at(t, count - 1) != n)
        return wrong(r, "its tensor %s ends with %lld, and there are %zu %s", t->name, (long long)long_at(t, count - 1), n, of);
    return CTL_OK;
}

static ctl_status check_ids(const reader *r) {
    const ctl_tokens *t = r->t;
    for (size_t i = 0; i < t->nids; i++) {
        const int32_t id = ctl_tokens_id(t, i);
        if (id < 0 || id >= t->vocab)
            return wrong(r, "id %zu is %d, and the vocabulary has %lld", i, (int)id, (long long)t->vocab);
    }
    for (size_t i = 0; t->targets && i < t->nids; i++) {
        const int32_t target = ctl_tokens_int(t->targets, i);
        if ((target < 0 || target >= t->vocab) && target != CTL_NO_LABEL)
            return wrong(r, "target %zu is %d, neither a token of the vocabulary of %lld nor %d", i, (int)target,
                         (long long)t->vocab, (int)CTL_NO_LABEL);
    }
    const uint8_t *mask = t->mask ? t->mask->data : NULL;
    for (size_t i = 0; mask && i < t->nids; i++)
        if (mask[i] > 1) return wrong(r, "element %zu of loss_mask is %d, neither 0 nor 1", i, mask[i]);
    return CTL_OK;
}

static ctl_status check_lists(const reader *r) {
    const ctl_tokens *t = r->t;
    for (size_t d = 0; d < t->ndocuments; d++) {
        if (t->labels && ctl_tokens_int(t->labels, d) < 0)
            return wrong(r, "the class of document %zu is %d", d, (int)ctl_tokens_int(t->labels, d));
        if (t->text_bytes && ctl_tokens_int(t->text_bytes, d) < 0)
            return wrong(r, "the bytes of document %zu are %d", d, (int)ctl_tokens_int(t->text_bytes, d));
    }
    for (size_t k = 0; k < t->nitems; k++) {
        const size_t candidates = ctl_tokens_item(t, k + 1) - ctl_tokens_item(t, k);
        const int32_t answer = ctl_tokens_int(t->answers, k);
        if (answer < 0 || (size_t)answer >= candidates)
            return wrong(r, "the answer of item %zu is candidate %d of %zu", k, (int)answer, candidates);
        if (candidates < 2) return wrong(r, "item %zu has one candidate alone", k);
    }
    return CTL_OK;
}

/* A whole number among the metadata. */
static ctl_status number(const reader *r, const char *key, int64_t least, int64_t most, int64_t *out) {
    const char *text = ctl_tensors_metadata(r->t->set, key);
    char *end = NULL;
    if (!text) return wrong(r, "its metadata have no \"%s\"", key);
    if (*text >= '0' && *text <= '9') *out = strtoll(text, &end, 10);
    if (!end || *end || *out < least || *out > most)
        return wrong(r, "its metadata say \"%s\": \"%.40s\", which is no number from %lld to %lld", key, text, (long long)least,
                     (long long)most);
    return CTL_OK;
}

static ctl_status check_metadata(const reader *r) {
    ctl_tokens *t = r->t;
    int64_t version = 0, pad = 0;
    const char *format = ctl_tensors_metadata(t->set, "format");
    if (!format || strcmp(format, "ctlc-tokens") != 0)
        return wrong(r, "its metadata do not say \"format\": \"ctlc-tokens\"");
    ctl_status status = number(r, "version", 1, INT64_MAX, &version);
    if (status == CTL_OK && version != 1) return wrong(r, "it has version %lld, and this ctlc reads 1", (long long)version);
    if (status == CTL_OK) status = number(r, "vocab", 1, INT32_MAX, &t->vocab);
    if (status == CTL_OK) status = number(r, "pad", 0, t->vocab - 1, &pad);
    t->pad = (int32_t)pad;
    t->tokenizer = ctl_tensors_metadata(t->set, "tokenizer");
    if (status == CTL_OK && !t->tokenizer) return wrong(r, "its metadata have no \"tokenizer\"");
    return status;
}

static ctl_status check(const reader *r) {
    ctl_tokens *t = r->t;
    ctl_status status = check_metadata(r);
    if (status == CTL_OK) status = find(r, "ids", "U16 or I32", SIZE_MAX, &t->ids);
    if (status == CTL_OK) status = find(r, "documents", "I64", SIZE_MAX, &t->documents);
    if (status != CTL_OK) return status;
    if (!t->ids || !t->documents) return wrong(r, "it has no tensor %s", t->ids ? "documents" : "ids");
    t->nids = (size_t)t->ids->dims[0];
    status = check_bounds(r, t->documents, t->nids, "documents", "ids");
    if (status != CTL_OK) return status;
    t->ndocuments = (size_t)t->documents->dims[0] - 1;
    status = find(r, "loss_mask", "U8", t->nids, &t->mask);
    if (status == CTL_OK) status = find(r, "targets", "I32", t->nids, &t->targets);
    if (status == CTL_OK && t->targets && t->mask) return wrong(r, "it has both targets and a loss_mask");
    if (status == CTL_OK) status = find(r, "types", "U8", t->nids, &t->types);
    if (status == CTL_OK) status = find(r, "labels", "I32", t->ndocuments, &t->labels);
    if (status == CTL_OK) status = find(r, "text_bytes", "I32", t->ndocuments, &t->text_bytes);
    if (status == CTL_OK) status = find(r, "items", "I64", SIZE_MAX, &t->items);
    if (status == CTL_OK && t->items) status = check_bounds(r, t->items, t->ndocuments, "items", "documents");
    if (status != CTL_OK) return status;
    if (t->items && t->targets) return wrong(r, "it has items, whose tokens are to be predicted, and targets");
    t->nitems = t->items ? (size_t)t->items->dims[0] - 1 : 0;
    status = find(r, "answers", "I32", t->items ? t->nitems : SIZE_MAX, &t->answers);
    if (status == CTL_OK && !t->items != !t->answers)
        return wrong(r, "it has a tensor %s, but none %s", t->items ? "items" : "answers", t->items ? "answers" : "items");
    if (status == CTL_OK) status = check_ids(r);
    return status == CTL_OK ? check_lists(r) : status;
}

static uint64_t hash(const ctl_tokens *t) {
    uint64_t h = ctl_hash(t->tokenizer, strlen(t->tokenizer), (uint64_t)t->vocab);
    for (size_t i = 0; i < ctl_tensors_count(t->set); i++) {
        const ctl_tensor *tensor = ctl_tensors_at(t->set, i);
        h = ctl_hash(tensor->name, strlen(tensor->name), h);
        h = ctl_hash(tensor->data, tensor->bytes, h);
    }
    return h;
}

ctl_status ctl_tokens_open(const char *path, ctl_place place, ctl_tokens **out) {
    *out = NULL;
    ctl_tokens *t = ctl_alloc(place.allocator, sizeof *t);
    if (!t) return CTL_ERR_MEMORY;
    ctl_status status = ctl_tensors_open(path, "tokens.safetensors", place, &t->set);
    if (status == CTL_OK) {
        t->path = ctl_tensors_count(t->set) ? ctl_tensors_at(t->set, 0)->file : path;
        status = check(&(reader){t, place});
    }
    if (status != CTL_OK) {
        ctl_tokens_close(t, place.allocator);
        return status;
    }
    t->hash = hash(t);
    *out = t;
    return CTL_OK;
}

void ctl_tokens_close(ctl_tokens *t, const ctl_allocator *allocator) {
    if (!t) return;
    ctl_tensors_close(t->set);
    ctl_free(allocator, t, sizeof *t);
}
