/* places: rows and their documents. The host says of each token its place in its document and that document's length;
 * kernels read the rows begin .. begin + length - 1, so wrong numbers would read elsewhere and are refused here. What a
 * program reads of rows beyond that (ctl_program.rows) follows from those: where batches are cut into sequences of one
 * length, a row's place in its sequence and the sequence's number; and documents of a space that has rows before each
 * sequence's tokens. Those rows belong to the sequence's first document, which grows by them; documents after it in the
 * same sequence are padding, or of no concern to what stands for the sequence. */
#include "runtime/session.h"

typedef struct documents {
    const int32_t *place, *length; /* NULL: not among the inputs */
    int64_t rows, place_step, length_step;
} documents;

static documents find_documents(ctl_session *s) {
    const ctl_program_input *places = ctl_session_find_input(s, "position"), *lengths = ctl_session_find_input(s, "length");
    documents d = {0};
    if (places) {
        d.place = s->engine->address(s, &places->value);
        d.rows = places->value.rows, d.place_step = places->value.stride;
    }
    if (lengths) d.length = s->engine->address(s, &lengths->value), d.length_step = lengths->value.stride;
    return d;
}

static bool check_length(ctl_session *s, const documents *d, int64_t t, int64_t begin) {
    const int64_t at = t - begin, sequence = s->program->sequence;
    int64_t n = d->length[t * d->length_step], most = d->rows - t;
    if (n != d->length[begin * d->length_step] || n <= at || n - at > most) {
        ctl_session_say(s, "E0804", "length is the number of rows of the row's document, the same in all of them",
                        "length %lld of row %lld, at position %lld, does not fit its document", (long long)n,
                        (long long)t, (long long)at);
        return false;
    }
    if (sequence && begin / sequence != (begin + n - 1) / sequence) {
        ctl_session_say(s, "E0804", "cut it, and let what fills a sequence up be a document of its own",
                        "the document of %lld rows that begins in row %lld goes on after the end of its sequence of %lld rows",
                        (long long)n, (long long)begin, (long long)sequence);
        return false;
    }
    return true;
}

bool ctl_session_check_documents(ctl_session *s) {
    const documents d = find_documents(s);
    int64_t begin = 0;
    for (int64_t t = 0; t < d.rows; t++) {
        int64_t at = d.place[t * d.place_step];
        if (at == 0 && d.length && t > 0 && begin + d.length[begin * d.length_step] != t) {
            ctl_session_say(s, "E0804", "length is the number of rows of the row's document",
                            "row %lld begins a document, but the one before, of length %d, began at row %lld",
                            (long long)t, d.length[begin * d.length_step], (long long)begin);
            return false;
        }
        if (at == 0) begin = t;
        if (at != t - begin) {
            ctl_session_say(s, "E0804", "positions count 0, 1, 2, ... within each document",
                            "position %lld of row %lld does not follow that of the row before", (long long)at,
                            (long long)t);
            return false;
        }
        if (d.length && !check_length(s, &d, t, begin)) return false;
    }
    return true;
}

/* The document of row `at` of a sequence that has `extra` rows before its tokens, the first of which is `first`. */
static void document_of(const documents *d, int64_t first, int64_t at, int64_t extra, int32_t *position, int32_t *length) {
    const int64_t token = first + (at < extra ? 0 : at - extra);
    const int32_t place = d->place[token * d->place_step], n = d->length[token * d->length_step];
    const bool leading = place == token - first;
    *position = at < extra ? (int32_t)at : place + (leading ? (int32_t)extra : 0);
    *length = n + (leading ? (int32_t)extra : 0);
}

void ctl_session_number_rows(ctl_session *s) {
    const documents d = find_documents(s);
    for (size_t k = 0; k < s->program->nrows; k++) {
        const ctl_program_rows *r = &s->program->rows[k];
        const int64_t tokens = s->program->sequence, length = tokens + r->extra;
        int32_t *number[CTL_ROW_NUMBERS];
        int64_t rows = 0;
        for (int j = 0; j < CTL_ROW_NUMBERS; j++) {
            const ctl_operand *o = &r->number[j];
            number[j] = o->buffer == UINT32_MAX ? NULL : s->engine->address(s, o);
            if (number[j]) rows = o->rows;
        }
        for (int64_t t = 0; t < rows; t++) {
            if (number[ROWS_PLACE]) number[ROWS_PLACE][t] = (int32_t)(t % length);
            if (number[ROWS_SEQUENCE]) number[ROWS_SEQUENCE][t] = (int32_t)(t / length);
            if (number[ROWS_POSITION])
                document_of(&d, t / length * tokens, t % length, r->extra, &number[ROWS_POSITION][t], &number[ROWS_LENGTH][t]);
        }
    }
}
