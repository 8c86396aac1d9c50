/* loader: a corpus cut into batches (data.h says how), and the place in it.
 *
 * Nothing is laid out beforehand: a token of the stream is found by its document's begin, which is kept for
 * every document. An epoch's order is a permutation of its items (cuts of the stream, or documents). */
#include "base/random.h"
#include "train/data.h"

struct ctl_loader {
    const ctl_allocator *allocator;
    const ctl_corpus *corpus;
    ctl_packing packing;
    int64_t *start;  /* fixed: where each document's 256 stands in the stream; [ndocs + 1] */
    uint32_t *order; /* [items] of place.epoch */
    int64_t items, tokens;
    ctl_cursor place;
};

/* Fisher and Yates's shuffle with counted random numbers; modulo a 64-bit draw, whose bias is below 2^-32. */
static void draw_order(ctl_loader *l) {
    for (int64_t i = 0; i < l->items; i++) l->order[i] = (uint32_t)i;
    if (!l->packing.shuffle) return;
    for (int64_t i = l->items - 1; i > 0; i--) {
        uint32_t out[4], counter[4] = {(uint32_t)i, (uint32_t)l->place.epoch,
                                       (uint32_t)(l->place.epoch >> 32), 0x4f524452u};
        ctl_philox(counter, l->packing.seed, out);
        int64_t j = (int64_t)(((uint64_t)out[0] << 32 | out[1]) % (uint64_t)(i + 1));
        uint32_t t = l->order[i];
        l->order[i] = l->order[j], l->order[j] = t;
    }
}

void ctl_loader_close(ctl_loader *l) {
    if (!l) return;
    const ctl_allocator *a = l->allocator;
    ctl_free(a, l->start, (l->corpus->ndocs + 1) * sizeof *l->start);
    ctl_free(a, l->order, (size_t)l->items * sizeof *l->order);
    ctl_free(a, l, sizeof *l);
}

ctl_status ctl_loader_open(const ctl_corpus *c, const ctl_packing *packing, const ctl_allocator *allocator,
                           ctl_voice voice, ctl_loader **out) {
    *out = NULL;
    if (c->ndocs == 0) {
        ctl_say(voice, CTL_ERROR, "E0604", NULL, "there is no text in the data");
        return CTL_ERR_INPUT;
    }
    const int64_t sequence = packing->sequence;
    if (packing->rows < 2 || sequence < 0 || sequence == 1 || (sequence && packing->rows % sequence) ||
        c->ndocs >= UINT32_MAX) {
        ctl_say(voice, CTL_ERROR, "E0604", NULL,
                "cannot cut %zu documents into batches of %lld rows, sequences of %lld", c->ndocs,
                (long long)packing->rows, (long long)sequence);
        return CTL_ERR_INPUT;
    }
    allocator = ctl_allocator_or_default(allocator);
    ctl_loader *l = ctl_alloc(allocator, sizeof *l);
    if (!l) return CTL_ERR_MEMORY;
    *l = (ctl_loader){.allocator = allocator, .corpus = c, .packing = *packing};
    l->start = ctl_alloc(allocator, (c->ndocs + 1) * sizeof *l->start);
    if (l->start) {
        int64_t at = 0;
        for (size_t d = 0; d < c->ndocs; d++) {
            l->start[d] = at;
            at += 1 + (int64_t)c->docs[d].size;
        }
        l->start[c->ndocs] = at;
        /* fixed: the last 256 is only ever a label. packed: every document has two */
        l->tokens = sequence ? at : at + (int64_t)c->ndocs;
        l->items = sequence ? (at + sequence - 1) / sequence : (int64_t)c->ndocs;
        if (l->items < (int64_t)UINT32_MAX)
            l->order = ctl_alloc(allocator, (size_t)l->items * sizeof *l->order);
    }
    if (!l->order) {
        l->items = 0;
        ctl_loader_close(l);
        return CTL_ERR_MEMORY;
    }
    draw_order(l);
    *out = l;
    return CTL_OK;
}

ctl_cursor ctl_loader_place(const ctl_loader *l) {
    return l->place;
}
const ctl_packing *ctl_loader_packing(const ctl_loader *l) {
    return &l->packing;
}
int64_t ctl_loader_items(const ctl_loader *l) {
    return l->items;
}
int64_t ctl_loader_tokens(const ctl_loader *l) {
    return l->tokens;
}

ctl_status ctl_loader_go(ctl_loader *l, ctl_cursor place) {
    if (place.epoch < 0 || place.item < 0 || place.item > l->items || place.offset < 0) return CTL_ERR_INPUT;
    ctl_cursor old = l->place;
    l->place = place;
    draw_order(l);
    const bool packed = l->packing.sequence == 0;
    int64_t most =
        packed && place.item < l->items ? (int64_t)l->corpus->docs[l->order[place.item]].size + 2 : 0;
    if (place.offset == 0 || place.offset < most) return CTL_OK;
    l->place = old;
    draw_order(l);
    return CTL_ERR_INPUT;
}

static void next_epoch(ctl_loader *l) {
    l->place = (ctl_cursor){.epoch = l->place.epoch + 1};
    draw_order(l);
}

/* ---- batches ---- */
ctl_status ctl_batch_open(ctl_batch *b, int64_t rows, const ctl_allocator *allocator) {
    allocator = ctl_allocator_or_default(allocator);
    *b = (ctl_batch){.rows = rows};
    int32_t **parts[] = {&b->ids, &b->labels, &b->position, &b->length};
    for (size_t i = 0; i < CTL_COUNT(parts); i++) {
        size_t bytes;
        if (!ctl_mul_size((size_t)rows, sizeof(int32_t), &bytes) ||
            !(*parts[i] = ctl_alloc(allocator, bytes))) {
            ctl_batch_close(b, allocator);
            return CTL_ERR_MEMORY;
        }
    }
    return CTL_OK;
}

void ctl_batch_close(ctl_batch *b, const ctl_allocator *allocator) {
    allocator = ctl_allocator_or_default(allocator);
    int32_t *parts[] = {b->ids, b->labels, b->position, b->length};
    for (size_t i = 0; i < CTL_COUNT(parts); i++)
        ctl_free(allocator, parts[i], (size_t)b->rows * sizeof(int32_t));
    *b = (ctl_batch){0};
}

/* Token j of document d with its 256s around it, of size + 2 tokens. */
static int32_t token(const ctl_corpus *c, size_t d, int64_t j) {
    const ctl_document *doc = &c->docs[d];
    if (j == 0 || j > (int64_t)doc->size) return CTL_TOKEN_SEPARATOR;
    return c->bytes[doc->begin + (size_t)j - 1];
}

/* The label of token j: the token after it, where the loss is wanted. The 256 that ends an answer is part of
 * it. */
static int32_t label(const ctl_loader *l, size_t d, int64_t j) {
    const ctl_document *doc = &l->corpus->docs[d];
    if (j > (int64_t)doc->size) return CTL_NO_LABEL;
    if (l->packing.loss_on_output && j < (int64_t)doc->answer) return CTL_NO_LABEL;
    return token(l->corpus, d, j + 1);
}

static void put(ctl_batch *b, int64_t row, int32_t id, int32_t wanted, int64_t position, int64_t length) {
    b->ids[row] = id, b->labels[row] = wanted;
    b->position[row] = (int32_t)position, b->length[row] = (int32_t)length;
    b->counted += wanted != CTL_NO_LABEL;
    b->bytes += wanted >= 0 && wanted < CTL_TOKEN_SEPARATOR;
}

/* The document that holds place `at` of the stream. */
static size_t document_at(const ctl_loader *l, int64_t at) {
    size_t low = 0, high = l->corpus->ndocs;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (l->start[middle] <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void put_cut(const ctl_loader *l, ctl_batch *b, int64_t row, int64_t cut) {
    const int64_t sequence = l->packing.sequence, begin = cut * sequence;
    size_t d = document_at(l, begin);
    for (int64_t t = 0; t < sequence; t++) {
        int64_t at = begin + t;
        if (at >= l->tokens) {
            put(b, row + t, CTL_TOKEN_PAD, CTL_NO_LABEL, t, sequence);
            continue;
        }
        if (at == l->start[d + 1]) d++;
        int64_t j = at - l->start[d];
        put(b, row + t, token(l->corpus, d, j), label(l, d, j), t, sequence);
    }
}

static void put_padding(ctl_batch *b, int64_t row, int64_t rows) {
    for (int64_t t = 0; t < rows; t++) put(b, row + t, CTL_TOKEN_PAD, CTL_NO_LABEL, t, rows);
}

/* Fills rows from `row` on with what this epoch still has; returns the first row that is free. */
static int64_t fill_packed(ctl_loader *l, ctl_batch *b, int64_t row) {
    while (row < b->rows && l->place.item < l->items) {
        size_t d = l->order[l->place.item];
        int64_t left = (int64_t)l->corpus->docs[d].size + 2 - l->place.offset;
        int64_t n = left < b->rows - row ? left : b->rows - row;
        for (int64_t t = 0; t < n; t++) {
            int64_t j = l->place.offset + t;
            put(b, row + t, token(l->corpus, d, j), label(l, d, j), t, n);
        }
        row += n;
        if (n < left)
            l->place.offset += n;
        else
            l->place.item++, l->place.offset = 0;
    }
    return row;
}

static int64_t fill_fixed(ctl_loader *l, ctl_batch *b, int64_t row) {
    for (; row < b->rows && l->place.item < l->items; row += l->packing.sequence)
        put_cut(l, b, row, l->order[l->place.item++]);
    return row;
}

static int64_t fill(ctl_loader *l, ctl_batch *b, int64_t row) {
    return l->packing.sequence ? fill_fixed(l, b, row) : fill_packed(l, b, row);
}

void ctl_loader_next(ctl_loader *l, ctl_batch *b) {
    b->counted = b->bytes = 0;
    for (int64_t row = 0; (row = fill(l, b, row)) < b->rows;) next_epoch(l);
}

bool ctl_loader_next_in_epoch(ctl_loader *l, ctl_batch *b) {
    if (l->place.item >= l->items) return false;
    b->counted = b->bytes = 0;
    for (int64_t row = fill(l, b, 0); row < b->rows;) {
        int64_t n = l->packing.sequence ? l->packing.sequence : b->rows - row;
        put_padding(b, row, n);
        row += n;
    }
    return true;
}
