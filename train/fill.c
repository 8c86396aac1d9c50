/* fill: documents into the rows of a batch, in the three ways that data.h tells of.
 *
 * Of a document of bytes token 0 is the 256 before it, then come its bytes, then 256; of a token file's document the
 * tokens are its ids. */
#include "train/loader_internal.h"

static bool in_stream(const ctl_loader *l) {
    return l->packing.sequence && !l->packing.whole;
}

int64_t ctl_document_rows(const ctl_loader *l, size_t d) {
    const ctl_document *doc = &l->corpus->docs[d];
    return (int64_t)doc->size + (doc->from ? 0 : in_stream(l) ? 1 : 2);
}

static int32_t token(const ctl_loader *l, size_t d, int64_t j) {
    const ctl_document *doc = &l->corpus->docs[d];
    if (doc->from) return ctl_tokens_id(doc->from, doc->begin + (size_t)j);
    if (j == 0 || j > (int64_t)doc->size) return CTL_TOKEN_SEPARATOR;
    return l->corpus->bytes[doc->begin + (size_t)j - 1];
}

/* The label of token j: what the token file says, or the token after it, where the loss is wanted. The 256 that ends an answer is part of it, but of
 * no candidate of multiple choice. */
static int32_t label(const ctl_loader *l, size_t d, int64_t j) {
    const ctl_document *doc = &l->corpus->docs[d];
    if (l->packing.classify) return CTL_NO_LABEL;
    if (doc->from && doc->from->targets) return ctl_tokens_int(doc->from->targets, doc->begin + (size_t)j);
    if (doc->from) {
        const bool counts = j + 1 < (int64_t)doc->size && ctl_tokens_counts(doc->from, doc->begin + (size_t)j + 1);
        return counts ? token(l, d, j + 1) : CTL_NO_LABEL;
    }
    if (j > (int64_t)doc->size) return CTL_NO_LABEL;
    if (l->packing.loss_on_output && j < (int64_t)doc->answer) return CTL_NO_LABEL;
    if (l->corpus->nitems && j == (int64_t)doc->size) return CTL_NO_LABEL;
    return token(l, d, j + 1);
}

static void put_padding(const ctl_loader *l, ctl_batch *b, int64_t row, int64_t position, int64_t length) {
    b->ids[row] = l->pad, b->labels[row] = CTL_NO_LABEL;
    b->position[row] = (int32_t)position, b->length[row] = (int32_t)length;
    b->types[row] = 0, b->document[row] = -1;
}

void ctl_fill_padding(const ctl_loader *l, ctl_batch *b, int64_t row, int64_t rows) {
    const bool apart = !l->packing.sequence;
    for (int64_t t = 0; t < rows; t++) put_padding(l, b, row + t, apart ? 0 : t, apart ? 1 : rows);
}

/* Token j of document d. */
static void put(const ctl_loader *l, ctl_batch *b, int64_t row, size_t d, int64_t j, int64_t position,
                int64_t length) {
    const ctl_document *doc = &l->corpus->docs[d];
    const int32_t wanted = label(l, d, j);
    b->ids[row] = token(l, d, j), b->labels[row] = wanted;
    b->position[row] = (int32_t)position, b->length[row] = (int32_t)length;
    b->types[row] = doc->from ? ctl_tokens_type(doc->from, doc->begin + (size_t)j) : 0;
    b->document[row] = (int32_t)d;
    b->counted += wanted != CTL_NO_LABEL;
    if (!doc->from)
        b->bytes += wanted >= 0 && wanted < CTL_TOKEN_SEPARATOR;
    else if (l->knows_bytes && j + 1 == (int64_t)doc->size)
        b->bytes += doc->text_bytes; /* all at once: which token has which bytes is not known */
}

/* ---- a stream of all documents ---- */
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
            put_padding(l, b, row + t, t, sequence);
            continue;
        }
        if (at == l->start[d + 1]) d++;
        put(l, b, row + t, d, at - l->start[d], t, sequence);
    }
}

static int64_t fill_stream(ctl_loader *l, ctl_batch *b, int64_t row) {
    for (; row < b->rows && l->place.item < l->items; row += l->packing.sequence)
        put_cut(l, b, row, l->order[l->place.item++]);
    return row;
}

/* ---- packed documents ---- */
static int64_t fill_packed(ctl_loader *l, ctl_batch *b, int64_t row) {
    while (row < b->rows && l->place.item < l->items) {
        size_t d = l->order[l->place.item];
        int64_t left = ctl_document_rows(l, d) - l->place.offset;
        int64_t n = left < b->rows - row ? left : b->rows - row;
        for (int64_t t = 0; t < n; t++) put(l, b, row + t, d, l->place.offset + t, t, n);
        row += n;
        if (n < left)
            l->place.offset += n;
        else
            l->place.item++, l->place.offset = 0;
    }
    return row;
}

/* ---- documents by themselves ---- */
static int64_t put_whole(const ctl_loader *l, ctl_batch *b, int64_t row, size_t d, int64_t room) {
    const int64_t size = ctl_document_rows(l, d), n = size < room ? size : room;
    const int64_t first = l->packing.keep_end ? size - n : 0;
    for (int64_t t = 0; t < n; t++) put(l, b, row + t, d, first + t, t, n);
    return n;
}

static int64_t fill_whole(ctl_loader *l, ctl_batch *b, int64_t row) {
    const int64_t sequence = l->packing.sequence;
    for (; row < b->rows && l->place.item < l->items; row += sequence) {
        const size_t d = l->order[l->place.item++];
        const int64_t n = put_whole(l, b, row, d, sequence);
        ctl_fill_padding(l, b, row + n, sequence - n);
        if (!l->packing.classify) continue;
        b->classes[row / sequence] = l->corpus->docs[d].label;
        b->counted++;
    }
    return row;
}

/* A document that does not fit behind the others begins the next batch. */
static int64_t fill_whole_packed(ctl_loader *l, ctl_batch *b, int64_t row) {
    while (row < b->rows && l->place.item < l->items) {
        const size_t d = l->order[l->place.item];
        if (row > 0 && ctl_document_rows(l, d) > b->rows - row) {
            ctl_fill_padding(l, b, row, b->rows - row);
            return b->rows;
        }
        l->place.item++;
        row += put_whole(l, b, row, d, b->rows - row);
    }
    return row;
}

int64_t ctl_fill_texts(ctl_loader *l, ctl_batch *b, int64_t row) {
    if (l->packing.whole) return l->packing.sequence ? fill_whole(l, b, row) : fill_whole_packed(l, b, row);
    return l->packing.sequence ? fill_stream(l, b, row) : fill_packed(l, b, row);
}
