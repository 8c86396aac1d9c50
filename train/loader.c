/* loader: the order of an epoch and the place in it. What a batch holds is filled in by fill.c (texts and tokens) and
 * images.c.
 *
 * Nothing is laid out beforehand: a token of the stream is found by its document's begin, which is kept for
 * every document. An epoch's order is a permutation of its items (cuts of the stream, documents, or images). */
#include "base/random.h"
#include "train/images.h"
#include "train/loader_internal.h"

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
    if (l->corpus) ctl_free(a, l->start, (l->corpus->ndocs + 1) * sizeof *l->start);
    ctl_free(a, l->order, (size_t)l->items * sizeof *l->order);
    ctl_free(a, l, sizeof *l);
}

static ctl_status cannot_cut(const ctl_packing *p, size_t n, const char *what, ctl_voice voice) {
    ctl_say(voice, CTL_ERROR, "E0604", NULL, "cannot cut %zu %s into batches of %lld rows, sequences of %lld", n, what,
            (long long)p->rows, (long long)p->sequence);
    return CTL_ERR_INPUT;
}

/* Every document must have a class where classes are learnt. */
static ctl_status check_classes(const ctl_corpus *c, ctl_voice voice) {
    for (size_t d = 0; d < c->ndocs; d++) {
        if (c->docs[d].label != CTL_NO_LABEL) continue;
        ctl_say(voice, CTL_ERROR, "E0604",
                "lines of a .jsonl file {\"text\": \"..\", \"label\": 2}, or a token file with labels, have classes",
                "the model learns classes, and document %zu of the data has none", d + 1);
        return CTL_ERR_INPUT;
    }
    return CTL_OK;
}

/* Begins of the documents in the stream, and what an epoch has. */
static void measure(ctl_loader *l) {
    const ctl_corpus *c = l->corpus;
    const ctl_packing *p = &l->packing;
    const int64_t room = p->sequence ? p->sequence : p->rows;
    int64_t at = 0, kept = 0;
    l->knows_bytes = true;
    for (size_t d = 0; d < c->ndocs; d++) {
        const int64_t size = ctl_document_rows(l, d);
        l->start[d] = at;
        at += size;
        l->knows_bytes &= !c->docs[d].from || c->docs[d].text_bytes >= 0;
        l->wants_next |= !p->classify && !(c->docs[d].from && c->docs[d].from->targets);
        if (p->whole && size > room) l->too_long++;
        kept += size < room ? size : room;
    }
    l->start[c->ndocs] = at;
    /* The last 256 of a stream is only ever a label; by themselves documents have two. */
    l->tokens = !p->whole ? at : p->sequence ? (int64_t)c->ndocs * p->sequence : kept;
    l->padding = p->whole && p->sequence ? l->tokens - kept : 0;
    l->items = p->sequence && !p->whole ? (at + p->sequence - 1) / p->sequence : (int64_t)c->ndocs;
}

static ctl_status make_order(ctl_loader *l) {
    if (l->items < (int64_t)UINT32_MAX) l->order = ctl_alloc(l->allocator, (size_t)l->items * sizeof *l->order);
    if (!l->order) {
        l->items = 0;
        return CTL_ERR_MEMORY;
    }
    draw_order(l);
    return CTL_OK;
}

static ctl_status finish(ctl_loader *l, ctl_status status, ctl_loader **out) {
    if (status == CTL_OK)
        *out = l;
    else
        ctl_loader_close(l);
    return status;
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
        (packing->classify && !sequence) || c->ndocs >= UINT32_MAX)
        return cannot_cut(packing, c->ndocs, "documents", voice);
    if (packing->classify && check_classes(c, voice) != CTL_OK) return CTL_ERR_INPUT;
    allocator = ctl_allocator_or_default(allocator);
    ctl_loader *l = ctl_alloc(allocator, sizeof *l);
    if (!l) return CTL_ERR_MEMORY;
    *l = (ctl_loader){.allocator = allocator, .corpus = c, .packing = *packing};
    l->packing.whole |= packing->classify;
    l->pad = c->docs[0].from ? c->docs[0].from->pad : CTL_TOKEN_PAD;
    l->start = ctl_alloc(allocator, (c->ndocs + 1) * sizeof *l->start);
    if (!l->start) return finish(l, CTL_ERR_MEMORY, out);
    measure(l);
    return finish(l, make_order(l), out);
}

ctl_status ctl_loader_open_images(const ctl_images *images, const ctl_packing *packing, const ctl_allocator *allocator,
                                  ctl_voice voice, ctl_loader **out) {
    *out = NULL;
    const int64_t sequence = packing->sequence;
    if (sequence < 1 || packing->rows < 1 || packing->rows % sequence || sequence != images->rows || images->n == 0)
        return cannot_cut(packing, images->n, "images", voice);
    allocator = ctl_allocator_or_default(allocator);
    ctl_loader *l = ctl_alloc(allocator, sizeof *l);
    if (!l) return CTL_ERR_MEMORY;
    *l = (ctl_loader){.allocator = allocator, .images = images, .packing = *packing};
    l->packing.whole = l->packing.classify = true;
    l->items = (int64_t)images->n;
    l->tokens = l->items * sequence;
    return finish(l, make_order(l), out);
}

bool ctl_loader_wants_next(const ctl_loader *l) {
    return l->wants_next;
}

int64_t ctl_loader_too_long(const ctl_loader *l) {
    return l->too_long;
}
int64_t ctl_loader_padding(const ctl_loader *l) {
    return l->padding;
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
    const bool parts = l->packing.sequence == 0 && !l->packing.whole && place.item < l->items;
    const int64_t most = parts ? ctl_document_rows(l, l->order[place.item]) : 0;
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
    int32_t **parts[] = {&b->ids, &b->labels, &b->position, &b->length, &b->types, &b->document, &b->classes};
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

ctl_status ctl_batch_open_for(ctl_batch *b, const ctl_loader *l, const ctl_allocator *allocator) {
    allocator = ctl_allocator_or_default(allocator);
    ctl_status status = ctl_batch_open(b, l->packing.rows, allocator);
    if (status != CTL_OK || !l->images) return status;
    size_t n, bytes;
    if (ctl_mul_size((size_t)b->rows, (size_t)l->images->columns, &n) && ctl_mul_size(n, sizeof(float), &bytes))
        b->pixels = ctl_alloc(allocator, bytes);
    b->columns = l->images->columns;
    if (b->pixels) return CTL_OK;
    ctl_batch_close(b, allocator);
    return CTL_ERR_MEMORY;
}

void ctl_batch_close(ctl_batch *b, const ctl_allocator *allocator) {
    allocator = ctl_allocator_or_default(allocator);
    int32_t *parts[] = {b->ids, b->labels, b->position, b->length, b->types, b->document, b->classes};
    for (size_t i = 0; i < CTL_COUNT(parts); i++)
        ctl_free(allocator, parts[i], (size_t)b->rows * sizeof(int32_t));
    ctl_free(allocator, b->pixels, (size_t)(b->rows * b->columns) * sizeof(float));
    *b = (ctl_batch){0};
}

static int64_t fill(ctl_loader *l, ctl_batch *b, int64_t row) {
    return l->images ? ctl_fill_images(l, b, row) : ctl_fill_texts(l, b, row);
}

void ctl_loader_next(ctl_loader *l, ctl_batch *b) {
    b->counted = b->bytes = 0;
    for (int64_t row = 0; (row = fill(l, b, row)) < b->rows;) next_epoch(l);
}

bool ctl_loader_next_in_epoch(ctl_loader *l, ctl_batch *b) {
    if (l->place.item >= l->items) return false;
    b->counted = b->bytes = 0;
    for (int64_t row = fill(l, b, 0); row < b->rows;) {
        const int64_t n = l->packing.sequence ? l->packing.sequence : b->rows - row;
        ctl_fill_padding(l, b, row, n);
        if (l->packing.classify) b->classes[row / n] = CTL_NO_LABEL;
        row += n;
    }
    return true;
}
