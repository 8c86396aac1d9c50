/* split: the part of a corpus that is held out, and a number that tells corpora apart. */
#include <stdlib.h>

#include "base/random.h"
#include "train/data_internal.h"

uint64_t ctl_corpus_fingerprint(const ctl_corpus *c) {
    uint64_t h = ctl_hash(c->bytes, c->nbytes, 1);
    for (size_t i = 0; i < c->ndocs; i++) {
        const ctl_document *d = &c->docs[i];
        const uint64_t bounds[3] = {d->begin, d->size, d->answer};
        h = ctl_hash(bounds, sizeof bounds, h);
        if (d->from) h = ctl_hash(&d->from->hash, sizeof d->from->hash, h);
        if (d->label != CTL_NO_LABEL) h = ctl_hash(&d->label, sizeof d->label, h);
    }
    return h;
}

static ctl_status move(const ctl_corpus *c, const ctl_document *d, ctl_corpus *held_out) {
    if (d->from) return ctl_corpus_put(held_out, d);
    ctl_status status = ctl_corpus_add(held_out, c->bytes + d->begin, d->size, d->answer);
    if (status != CTL_OK) return status;
    ctl_document *moved = &held_out->docs[held_out->ndocs - 1];
    moved->label = d->label, moved->file = d->file, moved->number = d->number;
    return CTL_OK;
}

/* Few documents: each gives its end, so that both parts have something of all. */
static ctl_status split_ends(ctl_corpus *c, double fraction, ctl_corpus *held_out) {
    for (size_t i = 0; i < c->ndocs; i++) {
        ctl_document *d = &c->docs[i];
        size_t take = (size_t)((double)d->size * fraction);
        if (take == 0 || take >= d->size) continue;
        size_t keep = d->size - take;
        ctl_document end = *d;
        end.begin += keep, end.size = take, end.answer = d->answer > keep ? d->answer - keep : 0;
        end.text_bytes = d->text_bytes = -1;
        ctl_status status = move(c, &end, held_out);
        if (status != CTL_OK) return status;
        d->size = keep;
    }
    return CTL_OK;
}

typedef struct numbered {
    uint32_t draw;
    size_t doc;
} numbered;

static int by_draw(const void *a, const void *b) {
    const numbered *x = a, *y = b;
    if (x->draw != y->draw) return x->draw < y->draw ? -1 : 1;
    return x->doc < y->doc ? -1 : x->doc > y->doc;
}

/* Every example has a number drawn from the seed; those with the least come first. */
ctl_status ctl_split_order(size_t n, uint64_t seed, const ctl_allocator *allocator, size_t **out) {
    allocator = ctl_allocator_or_default(allocator);
    size_t bytes;
    if (!ctl_mul_size(n, sizeof(numbered), &bytes)) return CTL_ERR_MEMORY;
    numbered *drawn = ctl_alloc(allocator, bytes);
    size_t *order = *out = ctl_alloc(allocator, n * sizeof *order);
    if (drawn && order) {
        for (size_t i = 0; i < n; i++) {
            uint32_t draw[4], counter[4] = {(uint32_t)i, (uint32_t)(i >> 32), 0x53504c54u, 0};
            ctl_philox(counter, seed, draw);
            drawn[i] = (numbered){draw[0], i};
        }
        qsort(drawn, n, sizeof *drawn, by_draw);
        for (size_t i = 0; i < n; i++) order[i] = drawn[i].doc;
    } else if (order) {
        ctl_free(allocator, order, n * sizeof *order);
        *out = NULL;
    }
    ctl_free(allocator, drawn, bytes);
    return *out ? CTL_OK : CTL_ERR_MEMORY;
}

/* Documents move in the order drawn, until the fraction is reached; one stays. */
static ctl_status split_documents(ctl_corpus *c, double fraction, uint64_t seed, ctl_corpus *held_out) {
    const size_t n = c->ndocs;
    size_t *order, total = 0, moved = 0, gone = 0, kept = 0;
    ctl_status status = ctl_split_order(n, seed, c->allocator, &order);
    if (status != CTL_OK) return status;
    for (size_t i = 0; i < n; i++) total += c->docs[i].size;
    while (status == CTL_OK && gone + 1 < n && (double)moved < fraction * (double)total) {
        const ctl_document *d = &c->docs[order[gone++]];
        status = move(c, d, held_out);
        moved += d->size;
    }
    if (status == CTL_OK) {
        for (size_t i = 0; i < gone; i++) c->docs[order[i]].size = 0;
        for (size_t i = 0; i < n; i++)
            if (c->docs[i].size) c->docs[kept++] = c->docs[i];
        c->ndocs = kept;
    }
    ctl_free(c->allocator, order, n * sizeof *order);
    return status;
}

ctl_status ctl_corpus_split(ctl_corpus *c, double fraction, uint64_t seed, ctl_corpus *held_out) {
    enum { FEW = 8 };
    if (!(fraction > 0) || c->ndocs == 0) return CTL_OK;
    bool classes = false;
    for (size_t i = 0; i < c->ndocs; i++) classes |= c->docs[i].label != CTL_NO_LABEL;
    return c->ndocs < FEW && !classes ? split_ends(c, fraction, held_out) : split_documents(c, fraction, seed, held_out);
}
