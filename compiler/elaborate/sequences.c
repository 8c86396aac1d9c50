/* sequences: the built-ins that cross the rows of a sequence, and `top`. No operation of the graph is any of them but for
 * mix: they are written with look-ups by row number, sums of rows of one number, and what is known of a row (its place in
 * its document and in its sequence, its sequence's number). So their derivatives are those operations'.
 *
 * A row is real when its place in its document is that in its sequence: it is of the sequence's first document. What
 * follows that in a sequence is padding, a document of its own. */
#include <math.h>

#include "compiler/elaborate/internal.h"

typedef struct site {
    ctl_elab *e;
    ctl_span span;
} site;

static const ctl_node *at(const site *s, ctl_node_id id) { return &s->e->draft->at[id]; }
static ctl_node_id with(const site *s, ctl_op op, int n, const ctl_node_id *in, int64_t i0, int64_t i1) {
    return ctl_emit(s->e, s->span, op, n, in, i0, i1, 0).node;
}
static ctl_node_id one(const site *s, ctl_op op, ctl_node_id a) { return with(s, op, 1, &a, 0, 0); }
static ctl_node_id two(const site *s, ctl_op op, ctl_node_id a, ctl_node_id b) {
    return with(s, op, 2, (ctl_node_id[]){a, b}, 0, 0);
}
static ctl_node_id where(const site *s, ctl_node_id condition, ctl_node_id yes, ctl_node_id no) {
    return with(s, OP_SELECT, 3, (ctl_node_id[]){condition, yes, no}, 0, 0);
}
static ctl_node_id number(const site *s, double x) { return ctl_emit(s->e, s->span, OP_CONST, 0, NULL, 0, 0, x).node; }
static ctl_node_id row_number(const site *s, ctl_op op, int space) { return with(s, op, 0, NULL, space, 0); }
static ctl_node_id is_real(const site *s, int space) {
    return two(s, OP_EQ, row_number(s, OP_POSITION, space), row_number(s, OP_PLACE, space));
}
static ctl_node_id sequence_of(const site *s, int space) { return one(s, OP_TOINT, row_number(s, OP_SEQUENCE, space)); }

static ctl_value failed(void) { return (ctl_value){.kind = VALUE_ERROR}; }

bool ctl_sequences_there(ctl_elab *e, ctl_span span, const char *what) {
    if (e->draft->sequence > 0) return true;
    ctl_error(e->sink, CTL_E0220, span, "tokens SEQUENCES x LENGTH instead of tokens COUNT packed",
              "`%s` needs sequences of one length, and the batch is packed", what);
    return false;
}

/* Rows of documents, not split, in sequences of one length. */
static bool takes_rows(const site *s, ctl_node_id x, const char *what) {
    if (x == CTL_NONE || !ctl_sequences_there(s->e, s->span, what)) return false;
    const ctl_node *n = at(s, x);
    if (ctl_space_has_documents(n->space) && n->split == 1 && n->dtype != CTL_I32) return true;
    ctl_error(s->e->sink, CTL_E0303, s->span, n->split > 1 ? "join its pieces first" : NULL,
              "`%s` works on the rows of sequences; this is %s", what,
              n->dtype == CTL_I32 ? "of ids" : ctl_shape_text(s->e, x));
    return false;
}

/* ---- one row a sequence ---- */
ctl_value ctl_build_first(ctl_elab *e, ctl_span span, ctl_node_id x, int64_t which, const char *name) {
    site s = {e, span};
    if (!takes_rows(&s, x, name)) return failed();
    int64_t length = ctl_graph_sequence(e->draft, at(&s, x)->space);
    if (which < 0 || which >= length) {
        ctl_error(e->sink, CTL_E0303, span, NULL, "there is no row %lld in sequences of %lld rows", (long long)which, (long long)length);
        return failed();
    }
    return ctl_node_value(with(&s, OP_PICK, 1, &x, which, 0));
}

ctl_value ctl_build_row_of_sequence(ctl_elab *e, ctl_span span, ctl_node_id x, ctl_node_id which) {
    site s = {e, span};
    if (which == CTL_NONE || !takes_rows(&s, x, "take")) return failed();
    const ctl_node *w = at(&s, which);
    int space = at(&s, x)->space;
    if (w->cols != 1 || (w->space != SPACE_SEQUENCES && !(w->space == SPACE_NONE && w->rows == 1))) {
        ctl_error(e->sink, CTL_E0303, span, "a number, or one number a sequence: length(first(x)) - 1",
                  "take from %s needs the number of a row of each sequence, not %s", ctl_shape_text(e, x), ctl_shape_text(e, which));
        return failed();
    }
    ctl_node_id wanted = which, sequence = sequence_of(&s, space);
    if (w->dtype == CTL_I32) wanted = one(&s, OP_TOREAL, which);
    if (w->space == SPACE_SEQUENCES) wanted = two(&s, OP_TAKE, wanted, sequence);
    ctl_node_id chosen = where(&s, two(&s, OP_EQ, row_number(&s, OP_PLACE, space), wanted), x, number(&s, 0));
    return ctl_node_value(with(&s, OP_SCATTER, 2, (ctl_node_id[]){chosen, sequence}, 0, SPACE_SEQUENCES));
}

ctl_value ctl_build_pool(ctl_elab *e, ctl_span span, ctl_node_id x) {
    site s = {e, span};
    if (!takes_rows(&s, x, "pool")) return failed();
    int space = at(&s, x)->space;
    ctl_node_id real = where(&s, is_real(&s, space), x, number(&s, 0)), length = row_number(&s, OP_LENGTH, space);
    ctl_node_id sum = with(&s, OP_SCATTER, 2, (ctl_node_id[]){real, sequence_of(&s, space)}, 0, SPACE_SEQUENCES);
    return ctl_node_value(two(&s, OP_DIV, sum, with(&s, OP_PICK, 1, &length, 0, 0)));
}

/* ---- more rows a sequence ---- */
ctl_value ctl_build_prepend(ctl_elab *e, ctl_span span, ctl_node_id before, ctl_node_id x) {
    site s = {e, span};
    if (before == CTL_NONE || !takes_rows(&s, x, "prepend")) return failed();
    const ctl_node *w = at(&s, before), *n = at(&s, x);
    int64_t length = ctl_graph_sequence(e->draft, n->space), rows = w->rows;
    if (w->space != SPACE_NONE || w->cols != n->cols) {
        ctl_error(e->sink, CTL_E0303, span, NULL, "prepend puts the rows of a weight of %lld columns before %s; this is %s",
                  (long long)n->cols, ctl_shape_text(e, x), ctl_shape_text(e, before));
        return failed();
    }
    int space = ctl_graph_space(e->draft, e->draft->extra[n->space] + rows);
    if (space == SPACE_NONE) {
        ctl_error(e->sink, CTL_E0221, span, NULL,
                  "prepend makes sequences of %lld rows: there are %d such lengths already, or more than %d rows in all",
                  (long long)(length + rows), CTL_MOST_PREPENDED, CTL_MOST_ROWS);
        return failed();
    }
    ctl_node_id place = row_number(&s, OP_PLACE, space);
    ctl_node_id inner = two(&s, OP_MAX, two(&s, OP_SUB, place, number(&s, (double)rows)), number(&s, 0));
    ctl_node_id begin = two(&s, OP_MUL, row_number(&s, OP_SEQUENCE, space), number(&s, (double)length));
    ctl_node_id moved = two(&s, OP_TAKE, x, one(&s, OP_TOINT, two(&s, OP_ADD, begin, inner)));
    ctl_node_id leading = before; /* one row stands in every row */
    if (rows > 1) {
        ctl_node_id which = two(&s, OP_MIN, place, number(&s, (double)(rows - 1)));
        leading = two(&s, OP_TAKE, before, one(&s, OP_TOINT, which));
    }
    return ctl_node_value(where(&s, two(&s, OP_LT, place, number(&s, (double)rows)), leading, moved));
}

/* ---- all rows of a sequence ---- */
ctl_value ctl_build_mix(ctl_elab *e, ctl_span span, ctl_node_id m, ctl_node_id x) {
    site s = {e, span};
    if (m == CTL_NONE || !takes_rows(&s, x, "mix")) return failed();
    int space = at(&s, x)->space;
    ctl_node_id real = where(&s, is_real(&s, space), x, number(&s, 0));
    return ctl_node_value(two(&s, OP_MIX, m, real));
}

/* ---- the k largest of a row ---- */
/* k times the largest that is left, of equal ones the first. */
ctl_value ctl_build_top(ctl_elab *e, ctl_span span, ctl_node_id x, int64_t k) {
    site s = {e, span};
    if (x == CTL_NONE) return failed();
    int64_t cols = at(&s, x)->cols;
    if (k < 1 || k > CTL_MOST_TOP) {
        ctl_error(e->sink, CTL_E0207, span, "top(x; k = 2)", "top keeps from 1 to %d of a row, not %lld", CTL_MOST_TOP, (long long)k);
        return failed();
    }
    if (k >= cols) return ctl_node_value(x);
    ctl_node_id index = with(&s, OP_INDEX, 0, NULL, cols, 0), none = number(&s, -INFINITY), left = one(&s, OP_STOP, x), kept = CTL_NONE;
    for (int64_t j = 0; j < k; j++) {
        ctl_node_id largest = two(&s, OP_EQ, left, one(&s, OP_ROWMAX, left));
        ctl_node_id column = one(&s, OP_NEG, one(&s, OP_ROWMAX, where(&s, largest, one(&s, OP_NEG, index), none)));
        ctl_node_id chosen = two(&s, OP_EQ, index, column);
        left = where(&s, chosen, none, left);
        kept = kept == CTL_NONE ? chosen : two(&s, OP_MAX, kept, chosen);
    }
    return ctl_node_value(where(&s, kept, x, number(&s, 0)));
}
