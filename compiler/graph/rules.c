/* rules: shape, row space, split, element type, rate and entry of every operation's result.
 *
 * Broadcasting (MAP): each of rows and columns is equal or 1, and rows are 1 only in space none; values of
 * two spaces, or of one space split differently, do not meet. Products contract columns of rows, or the rows
 * of two values of one space, whose result is a weight's gradient. Computation gives reals; views and
 * look-ups keep the element type of what they show; integers can only be viewed, used as indices, and turned
 * into reals. */
#include "compiler/graph/rules.h"

typedef struct rules {
    const ctl_graph *g;
    ctl_node *node;
    const ctl_node *in[3]; /* the first three inputs */
    ctl_arena *arena;
    const char **why;
} rules;

static const char *space_name(int space) {
    static const char *const names[] = {"none", "tokens", "sequences"};
    return space < SPACE_PREPENDED ? names[space] : "prepended";
}

const char *ctl_node_shape(ctl_arena *arena, const ctl_node *n) {
    long long rows = n->rows, cols = n->cols;
    if (n->space == SPACE_NONE) return ctl_format(arena, "[%lld x %lld]", rows, cols);
    if (n->split == 1) return ctl_format(arena, "%s[%lld] x %lld", space_name(n->space), rows, cols);
    return ctl_format(arena, "%s[%lld x %d] x %lld", space_name(n->space), rows / n->split, n->split, cols);
}

static const char *shape(rules *r, const ctl_node *n) { return ctl_node_shape(r->arena, n); }
static const char *name(const rules *r) { return ctl_op_name((ctl_op)r->node->op); }

static bool refuse(rules *r, const char *fmt, ...) CTL_PRINTF(2, 3);
static bool refuse(rules *r, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    *r->why = ctl_vformat(r->arena, fmt, args);
    va_end(args);
    return false;
}

static bool same_rows(const ctl_node *a, const ctl_node *b) {
    return a->space == b->space && a->split == b->split && a->rows == b->rows;
}

static void take_rows(ctl_node *to, const ctl_node *from) {
    to->space = from->space, to->split = from->split, to->rows = from->rows;
}

static void weight(ctl_node *to, int64_t rows, int64_t cols) {
    to->space = SPACE_NONE, to->split = 1, to->rows = rows, to->cols = cols;
}

static bool reals(rules *r) {
    for (uint32_t k = 0; k < r->node->nin; k++)
        if (r->g->at[r->node->in[k]].dtype == CTL_I32)
            return refuse(r, "%s takes real numbers; its input %u is of integers", name(r), k + 1);
    return true;
}

static bool integers(rules *r, const ctl_node *ids) {
    if (ids->dtype != CTL_I32) return refuse(r, "%s looks up by integers, not by real numbers", name(r));
    if (ids->cols != 1) return refuse(r, "%s takes one integer a row, not %s", name(r), shape(r, ids));
    return true;
}

/* ---- leaves ---- */
static bool leaf(rules *r) {
    const ctl_graph *g = r->g;
    ctl_node *n = r->node;
    n->split = 1;
    switch (n->op) {
    case OP_INPUT: {
        if (n->i[0] < 0 || (uint64_t)n->i[0] >= g->inputs.n)
            return refuse(r, "input %lld is not in the graph's list", (long long)n->i[0]);
        const ctl_input *in = &g->inputs.at[n->i[0]];
        if (in->space < 0 || in->space >= SPACE_COUNT)
            return refuse(r, "input %s is of no row space", in->name);
        if (in->is_id && in->cols != 1)
            return refuse(r, "input %s: integers come one a row, not %lld", in->name, (long long)in->cols);
        n->space = (uint8_t)in->space;
        n->rows = in->space == SPACE_NONE ? 1 : g->rows_of[in->space];
        n->cols = in->cols;
        n->dtype = in->is_id ? CTL_I32 : CTL_REAL;
        return true;
    }
    case OP_PARAM: {
        if (n->i[0] < 0 || (uint64_t)n->i[0] >= g->params.n)
            return refuse(r, "parameter %lld is not in the graph's list", (long long)n->i[0]);
        const ctl_param *p = &g->params.at[n->i[0]];
        weight(n, p->rows, p->cols);
        if (n->dtype != CTL_BF16) n->dtype = CTL_REAL;
        if (p->trained && n->dtype == CTL_BF16)
            return refuse(r, "%s is trained and so not kept in bf16", p->name);
        return true;
    }
    case OP_INDEX:
        if (n->i[0] == 0) n->i[0] = n->cols;
        weight(n, 1, n->i[0]);
        break;
    case OP_EYE:
        if (n->i[0] == 0) n->i[0] = n->rows, n->i[1] = n->cols;
        weight(n, n->i[0], n->i[1]);
        break;
    case OP_POSITION:
    case OP_LENGTH:
    case OP_PLACE:
    case OP_SEQUENCE:
        if (n->i[0] == 0) n->i[0] = SPACE_TOKENS;
        if (n->i[0] >= SPACE_COUNT || !ctl_space_has_documents((int)n->i[0]) ||
            (n->i[0] >= SPACE_PREPENDED && !g->extra[n->i[0]]))
            return refuse(r, "%s of space %lld, which has no documents", name(r), (long long)n->i[0]);
        if ((n->op == OP_PLACE || n->op == OP_SEQUENCE) && g->sequence < 1)
            return refuse(r, "%s needs sequences of one length", name(r));
        n->space = (uint8_t)n->i[0], n->rows = g->rows_of[n->i[0]], n->cols = 1;
        break;
    default: weight(n, 1, 1);
    }
    n->dtype = CTL_REAL;
    return true;
}

/* ---- element by element ---- */
static bool meet(rules *r, const ctl_node *b) { /* broadcasts the result so far with b */
    ctl_node *n = r->node;
    if (b->space != n->space || b->split != n->split) {
        if (b->space != SPACE_NONE && n->space != SPACE_NONE) {
            return refuse(r, "%s of %s and %s: %s do not meet", name(r), shape(r, n), shape(r, b),
                          b->space != n->space ? "two row spaces" : "rows split differently");
        }
        const ctl_node *flat = b->space == SPACE_NONE ? b : n;
        if (flat->rows != 1)
            return refuse(r, "%s of %s and %s: a weight meets rows only when it has one row", name(r),
                          shape(r, n), shape(r, b));
        if (n->space == SPACE_NONE) take_rows(n, b);
    } else if (b->rows != n->rows) {
        if (b->rows != 1 && n->rows != 1)
            return refuse(r, "%s of %s and %s: the numbers of rows differ and neither is 1", name(r),
                          shape(r, n), shape(r, b));
        if (n->rows == 1) n->rows = b->rows;
    }
    if (b->cols != n->cols && b->cols != 1 && n->cols != 1)
        return refuse(r, "%s of %s and %s: the numbers of columns differ and neither is 1", name(r),
                      shape(r, n), shape(r, b));
    if (n->cols == 1) n->cols = b->cols;
    return true;
}

static bool map(rules *r) {
    ctl_node *n = r->node;
    take_rows(n, r->in[0]);
    n->cols = r->in[0]->cols;
    if (n->op == OP_TOREAL) {
        if (r->in[0]->dtype != CTL_I32) return refuse(r, "toreal takes integers");
    } else if (!reals(r)) {
        return false;
    }
    if (n->op == OP_CAST) {
        if (n->dtype == CTL_F32) n->dtype = CTL_REAL;
        if (n->dtype != CTL_BF16 && n->dtype != CTL_REAL)
            return refuse(r, "cast to %s: values are kept as bf16 or real",
                          ctl_dtype_name((ctl_dtype)n->dtype));
        return true;
    }
    n->dtype = n->op == OP_TOINT ? CTL_I32 : CTL_REAL;
    if (n->op == OP_DROP && !(n->f >= 0 && n->f < 1))
        return refuse(r, "drop: the probability %g is not in [0, 1)", n->f);
    if (n->op == OP_DROP && (n->i[0] < 0 || n->i[0] >= r->g->drop_sites))
        return refuse(r, "drop: site %lld is not one of the graph's %d", (long long)n->i[0],
                      r->g->drop_sites);
    for (uint32_t k = 1; k < n->nin; k++)
        if (!meet(r, r->in[k])) return false;
    return true;
}

/* ---- views ---- */
/* Rows times `factor`, of a space as a finer split. */
static bool finer(rules *r, const ctl_node *a, int64_t factor) {
    ctl_node *n = r->node;
    take_rows(n, a);
    if (!ctl_mul_i64(a->rows, factor, &n->rows))
        return refuse(r, "%s of %s: too many rows", name(r), shape(r, a));
    if (a->space == SPACE_NONE) return true;
    if (factor > INT32_MAX / a->split) return refuse(r, "%s of %s: too many pieces", name(r), shape(r, a));
    n->split = (int32_t)(a->split * factor);
    return true;
}

static bool beside(rules *r) { /* CAT */
    ctl_node *n = r->node;
    const ctl_node *first = r->in[0]; /* the first piece that has rows of its own */
    for (uint32_t k = 0; k < n->nin; k++) {
        const ctl_node *p = &r->g->at[n->in[k]];
        if (first->space == SPACE_NONE && first->rows == 1) first = p;
    }
    take_rows(n, first);
    n->cols = 0, n->dtype = first->dtype;
    for (uint32_t k = 0; k < n->nin; k++) {
        const ctl_node *p = &r->g->at[n->in[k]];
        if (!same_rows(p, first) && !(p->space == SPACE_NONE && p->rows == 1))
            return refuse(r, "cat of %s and %s: the rows differ", shape(r, first), shape(r, p));
        if (p->dtype != first->dtype)
            return refuse(r, "cat of %s and %s: the pieces are %s and %s", shape(r, first), shape(r, p),
                          ctl_dtype_name((ctl_dtype)first->dtype), ctl_dtype_name((ctl_dtype)p->dtype));
        if (p->cols > INT64_MAX - n->cols) return refuse(r, "cat: too many columns");
        n->cols += p->cols;
    }
    return true;
}

static bool stack(rules *r) {
    ctl_node *n = r->node;
    weight(n, 0, r->in[0]->cols);
    n->dtype = r->in[0]->dtype;
    for (uint32_t k = 0; k < n->nin; k++) {
        const ctl_node *p = &r->g->at[n->in[k]];
        if (p->space != SPACE_NONE) return refuse(r, "stack is of weights, not of %s", shape(r, p));
        if (p->cols != n->cols || p->dtype != n->dtype)
            return refuse(r, "stack of %s %s and %s %s: columns or element types differ", shape(r, r->in[0]),
                          ctl_dtype_name((ctl_dtype)n->dtype), shape(r, p),
                          ctl_dtype_name((ctl_dtype)p->dtype));
        if (p->rows > INT64_MAX - n->rows) return refuse(r, "stack: too many rows");
        n->rows += p->rows;
    }
    return true;
}

static bool part(rules *r) {
    ctl_node *n = r->node;
    const ctl_node *a = r->in[0];
    const ctl_node *first = a->nin ? &r->g->at[a->in[0]] : NULL;
    int64_t k = n->i[0];
    if (a->op == OP_ATTEND && k == 1) {
        take_rows(n, a);
        n->cols = a->cols / a->i[0];
    } else if (a->op == OP_ATTEND_GRAD && (k == 1 || k == 2)) {
        const ctl_node *like = &r->g->at[a->in[k]];
        take_rows(n, like);
        n->cols = like->cols;
    } else if (a->op == OP_HEAD && (k == 1 || k == 2) && (a->i[0] & k)) {
        const ctl_node *like = k == 1 ? first : &r->g->at[a->in[1]];
        take_rows(n, like);
        n->cols = like->cols;
    } else if (a->op == OP_HEAD && k == 3 && (a->i[0] & 4)) {
        take_rows(n, first);
        n->cols = 2;
    } else {
        return refuse(r, "%s has no part %lld", ctl_op_name((ctl_op)a->op), (long long)k);
    }
    n->dtype = CTL_REAL;
    return true;
}

static bool view(rules *r) {
    ctl_node *n = r->node;
    const ctl_node *a = r->in[0];
    int64_t k = n->i[0];
    n->dtype = a->dtype;
    switch (n->op) {
    case OP_SPLIT:
        if (k < 1 || a->cols % k)
            return refuse(r, "split of %s: %lld columns are no whole number of pieces of %lld", shape(r, a),
                          (long long)a->cols, (long long)k);
        n->cols = k;
        return finer(r, a, a->cols / k);
    case OP_REPEAT:
        if (k < 1) return refuse(r, "repeat of %s: %lld times", shape(r, a), (long long)k);
        n->cols = a->cols;
        return finer(r, a, k);
    case OP_JOIN: {
        int64_t whole = a->space == SPACE_NONE ? a->rows : a->split;
        if (k < 1 || k % a->cols || whole % (k / a->cols))
            return refuse(r, "join of %s: its rows do not make whole rows of %lld columns", shape(r, a),
                          (long long)k);
        take_rows(n, a);
        n->rows = a->rows / (k / a->cols);
        if (a->space != SPACE_NONE) n->split = (int32_t)(a->split / (k / a->cols));
        n->cols = k;
        return true;
    }
    case OP_COLUMNS:
        if (n->i[0] < 0 || n->i[1] <= n->i[0] || n->i[1] > a->cols)
            return refuse(r, "columns %lld..%lld of %s: not within it", (long long)n->i[0],
                          (long long)n->i[1], shape(r, a));
        take_rows(n, a);
        n->cols = n->i[1] - n->i[0];
        return true;
    case OP_CAT: return beside(r);
    case OP_TRANSPOSE:
        if (a->space != SPACE_NONE) return refuse(r, "transpose is of weights, not of %s", shape(r, a));
        weight(n, a->cols, a->rows);
        return true;
    case OP_STACK: return stack(r);
    default: return part(r);
    }
}

/* ---- across rows ---- */
/* Rows of one sequence of x's space, or 0 after refusing. */
static int64_t sequence_of(rules *r, const ctl_node *x) {
    int64_t length = ctl_graph_sequence(r->g, x->space);
    if (length == 0)
        refuse(r, "%s works on sequences of one length, not on %s", name(r), shape(r, x));
    return length;
}

static bool pick(rules *r) {
    ctl_node *n = r->node;
    const ctl_node *a = r->in[0];
    int64_t length = sequence_of(r, a);
    if (length == 0) return false;
    if (a->dtype == CTL_I32) return refuse(r, "%s is of real numbers", name(r));
    if (n->i[0] < 0 || n->i[0] >= length)
        return refuse(r, "pick of row %lld of sequences of %lld rows", (long long)n->i[0], (long long)length);
    n->space = SPACE_SEQUENCES, n->split = a->split, n->rows = a->rows / length;
    n->cols = a->cols, n->dtype = a->dtype;
    return true;
}

static bool row_map(rules *r) {
    ctl_node *n = r->node;
    const ctl_node *a = r->in[0], *ids = r->in[1];
    if (n->op == OP_PICK) return pick(r);
    if (!integers(r, ids)) return false;
    if (a->dtype == CTL_I32) return refuse(r, "%s is of real numbers", name(r));
    if ((a->space != SPACE_NONE && a->split != 1) || (ids->space != SPACE_NONE && ids->split != 1))
        return refuse(r, "%s of %s by %s: split rows are joined first", name(r), shape(r, a), shape(r, ids));
    if (n->op == OP_TAKE) {
        take_rows(n, ids);
        n->cols = a->cols, n->dtype = a->dtype;
        return true;
    }
    if (!same_rows(a, ids))
        return refuse(r, "scatter of %s by %s: one index for each row is needed", shape(r, a), shape(r, ids));
    n->dtype = CTL_REAL;
    weight(n, n->i[0], a->cols);
    if (n->i[1] == SPACE_NONE) return true;
    if (n->i[0] || n->i[1] < 0 || n->i[1] >= SPACE_COUNT || r->g->rows_of[n->i[1]] < 1)
        return refuse(r, "scatter into rows of space %lld", (long long)n->i[1]);
    n->space = (uint8_t)n->i[1], n->rows = r->g->rows_of[n->i[1]];
    return true;
}

static bool product(rules *r) {
    ctl_node *n = r->node;
    const ctl_node *a = r->in[0], *b = r->in[1];
    bool ta = n->i[0] != 0, tb = n->i[1] != 0;
    int64_t inner_a = ta ? a->rows : a->cols, inner_b = tb ? b->cols : b->rows;
    const char *turned_a = ta ? " turned" : "", *turned_b = tb ? " turned" : "";
    if (!reals(r)) return false;
    if ((a->dtype == CTL_BF16) != (b->dtype == CTL_BF16))
        return refuse(r, "matmul of %s and %s numbers", ctl_dtype_name((ctl_dtype)a->dtype),
                      ctl_dtype_name((ctl_dtype)b->dtype));
    if (inner_a != inner_b)
        return refuse(r, "matmul of %s%s and %s%s: %lld columns meet %lld rows", shape(r, a), turned_a,
                      shape(r, b), turned_b, (long long)inner_a, (long long)inner_b);
    if (ta && !tb) { /* over the rows of both */
        if (a->space != b->space || a->split != b->split)
            return refuse(r, "matmul of %s turned and %s: a product over rows needs one row space",
                          shape(r, a), shape(r, b));
        weight(n, a->cols, b->cols);
    } else {
        if (b->space != SPACE_NONE || (ta && a->space != SPACE_NONE))
            return refuse(r, "matmul of %s%s and %s%s: what rows are multiplied by must be a weight",
                          shape(r, a), turned_a, shape(r, b), turned_b);
        take_rows(n, a);
        if (ta) n->rows = a->cols;
        n->cols = tb ? b->rows : b->cols;
    }
    n->dtype = CTL_REAL;
    return true;
}

/* ---- tasks of their own ---- */
static bool attention(rules *r) {
    ctl_node *n = r->node;
    const ctl_node *q = r->in[0], *k = r->in[1], *v = r->in[2];
    int64_t head = n->i[0];
    if (!reals(r)) return false;
    if (!ctl_space_has_documents(q->space) || q->split != 1)
        return refuse(r, "%s works on the tokens of documents, not on %s", name(r), shape(r, q));
    if (!same_rows(q, k) || !same_rows(q, v) || k->cols != v->cols)
        return refuse(r, "%s of q %s, k %s, v %s: rows, or columns of k and v, differ", name(r), shape(r, q),
                      shape(r, k), shape(r, v));
    if (head < 1 || q->cols % head || k->cols % head || q->cols % k->cols)
        return refuse(
            r, "%s of q %s and k %s: columns are no whole heads of %lld, or q's heads no multiple of k's",
            name(r), shape(r, q), shape(r, k), (long long)head);
    if (n->i[2] < 0) return refuse(r, "%s: a window of %lld rows", name(r), (long long)n->i[2]);
    if (n->op == OP_ATTEND_GRAD) {
        for (uint32_t j = 3; j < 6; j++) {
            const ctl_node *p = &r->g->at[n->in[j]];
            int64_t cols = j == 4 ? q->cols / head : q->cols;
            if (!same_rows(p, q) || p->cols != cols)
                return refuse(r, "attend_grad: input %u is %s where q is %s", j + 1, shape(r, p),
                              shape(r, q));
        }
    }
    take_rows(n, q);
    n->cols = q->cols, n->dtype = CTL_REAL;
    return true;
}

static bool mix(rules *r) {
    ctl_node *n = r->node;
    const ctl_node *a = r->in[0], *x = r->in[1];
    int64_t length = sequence_of(r, x);
    if (!reals(r) || length == 0) return false;
    if ((a->dtype == CTL_BF16) != (x->dtype == CTL_BF16)) return refuse(r, "%s of bf16 and real numbers", name(r));
    if (x->split != 1) return refuse(r, "%s of %s: split rows are joined first", name(r), shape(r, x));
    n->dtype = CTL_REAL;
    if (n->op == OP_MIX_GRAD) {
        if (!same_rows(a, x) || a->cols != x->cols)
            return refuse(r, "mix_grad of %s and %s: they differ", shape(r, a), shape(r, x));
        weight(n, length, length);
        return true;
    }
    if (a->space != SPACE_NONE || a->rows != length || a->cols != length)
        return refuse(r, "mix of %s and %s: sequences of %lld rows are mixed by a weight [%lld x %lld]", shape(r, a),
                      shape(r, x), (long long)length, (long long)length, (long long)length);
    take_rows(n, x);
    n->cols = x->cols;
    return true;
}

static bool head(rules *r) {
    ctl_node *n = r->node;
    const ctl_node *x = r->in[0], *w = r->in[1], *labels = r->in[2];
    if (x->dtype == CTL_I32 || w->dtype == CTL_I32) return refuse(r, "head is of real numbers");
    if ((x->dtype == CTL_BF16) != (w->dtype == CTL_BF16)) return refuse(r, "head of bf16 and real numbers");
    if (!integers(r, labels)) return false;
    if (w->space != SPACE_NONE || w->cols != x->cols)
        return refuse(r, "head of %s and %s: the weight is [classes x columns]", shape(r, x), shape(r, w));
    if (x->space == SPACE_NONE || !same_rows(x, labels))
        return refuse(r, "head of %s with labels %s: one label for each row is needed", shape(r, x),
                      shape(r, labels));
    if (n->i[0] & ~(int64_t)7)
        return refuse(r, "head: bits %lld ask for no known result", (long long)n->i[0]);
    weight(n, 1, 1);
    n->dtype = CTL_REAL;
    return true;
}

/* ---- when ---- */
static bool moment(rules *r, ctl_entry entry) {
    ctl_node *n = r->node;
    ctl_rate rate = RATE_LOAD;
    n->entry = ENTRY_FORWARD;
    if (ctl_op_class_of((ctl_op)n->op) == CLASS_LEAF) {
        if (n->op == OP_PARAM && r->g->params.at[n->i[0]].trained) rate = RATE_UPDATE;
        if (n->op == OP_INPUT || n->op == OP_NORMALISER || n->space != SPACE_NONE) rate = RATE_STEP;
        n->rate = (uint8_t)rate;
        return true;
    }
    if (n->op == OP_DROP || n->op == OP_HEAD) rate = RATE_STEP;
    for (uint32_t k = 0; k < n->nin; k++) {
        const ctl_node *a = &r->g->at[n->in[k]];
        if (a->rate > rate) rate = (ctl_rate)a->rate;
    }
    n->rate = (uint8_t)rate;
    if (rate != RATE_STEP) return true;
    /* A part is made by the task that makes the first result, whoever asks for it. */
    n->entry = (uint8_t)(n->op == OP_PART ? r->in[0]->entry : entry);
    for (uint32_t k = 0; k < n->nin; k++) {
        const ctl_node *a = &r->g->at[n->in[k]];
        if (a->rate != RATE_STEP || ctl_op_class_of((ctl_op)a->op) == CLASS_LEAF || a->entry == n->entry)
            continue;
        if (n->entry == ENTRY_BACKWARD && a->entry == ENTRY_FORWARD) continue;
        static const char *const names[] = {"forward", "backward", "evaluate"};
        return refuse(r, "%s of entry %s reads a value of entry %s", name(r), names[n->entry],
                      names[a->entry]);
    }
    return true;
}

bool ctl_rules_derive(const ctl_graph *g, ctl_entry entry, ctl_node *node, ctl_arena *arena,
                      const char **why) {
    rules r = {.g = g, .node = node, .arena = arena, .why = why};
    for (uint32_t k = 0; k < node->nin && k < CTL_COUNT(r.in); k++) r.in[k] = &g->at[node->in[k]];
    bool fits;
    switch (ctl_op_class_of((ctl_op)node->op)) {
    case CLASS_LEAF: fits = leaf(&r); break;
    case CLASS_MAP: fits = map(&r); break;
    case CLASS_REDUCE:
        fits = reals(&r);
        take_rows(node, r.in[0]);
        node->cols = 1, node->dtype = CTL_REAL;
        break;
    case CLASS_COLUMN:
        fits = reals(&r);
        weight(node, 1, r.in[0]->cols);
        node->dtype = CTL_REAL;
        break;
    case CLASS_VIEW: fits = view(&r); break;
    case CLASS_ROWMAP: fits = row_map(&r); break;
    case CLASS_PRODUCT: fits = product(&r); break;
    default:
        fits = node->op == OP_HEAD                                ? head(&r)
               : node->op == OP_MIX || node->op == OP_MIX_GRAD ? mix(&r)
                                                                  : attention(&r);
    }
    if (!fits) return false;
    int64_t elements;
    if (node->rows < 1 || node->cols < 1) return refuse(&r, "%s: %s is empty", name(&r), shape(&r, node));
    if (!ctl_mul_i64(node->rows, node->cols, &elements) || elements > INT64_MAX / 16)
        return refuse(&r, "%s: %s is too large", name(&r), shape(&r, node));
    return moment(&r, entry);
}
