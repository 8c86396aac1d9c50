/* simplify_fold.c: local rules. The graph is rebuilt node by node; each node, its inputs already simplified,
 * is handed to the rule of its class, which returns a node that stands for it or says that none does. Rules
 * that make new nodes hand those to the rules again. What remains is looked up among the nodes already made,
 * so equal values are one.
 *
 * Repeats go down: a MAP, REDUCE or view of columns whose operands all repeat rows as often (or have one row)
 * is done once a row and then repeated, so rope's tables are computed once a token, not once a head.
 *
 * Rules keep the bits of real numbers but for the sign of a zero, constants, which are folded in double,
 * quotients by what has a reciprocal already, and powers with known exponents. */
#include <math.h>

#include "compiler/graph/scalar.h"
#include "compiler/passes/rewrite.h"
#include "compiler/passes/simplify.h"

static ctl_node_id fold(ctl_rewrite *r, const ctl_node *node);

static const ctl_node *get(const ctl_rewrite *r, ctl_node_id id) { return &r->out->at[id]; }

static bool is_const(const ctl_rewrite *r, ctl_node_id id, double value) {
    return get(r, id)->op == OP_CONST && get(r, id)->f == value;
}

static bool is_op(const ctl_rewrite *r, ctl_node_id id, ctl_op op) { return get(r, id)->op == op; }

static ctl_node_id make(ctl_rewrite *r, const ctl_node *like, ctl_op op, uint32_t nin, const ctl_node_id *in,
                        int64_t i0, int64_t i1) {
    ctl_node node = *like;
    ctl_node_id copy[64];
    memcpy(copy, in, nin * sizeof *in);
    node.op = (uint16_t)op;
    node.nin = nin, node.in = copy;
    node.i[0] = i0, node.i[1] = i1, node.i[2] = 0;
    node.f = 0;
    return fold(r, &node);
}
static ctl_node_id make1(ctl_rewrite *r, const ctl_node *like, ctl_op op, ctl_node_id a, int64_t i0,
                         int64_t i1) {
    return make(r, like, op, 1, &a, i0, i1);
}
static ctl_node_id make2(ctl_rewrite *r, const ctl_node *like, ctl_op op, ctl_node_id a, ctl_node_id b) {
    return make(r, like, op, 2, (const ctl_node_id[]){a, b}, 0, 0);
}

/* ---- constants ---- */
static ctl_node_id fold_constants(ctl_rewrite *r, const ctl_node *n) {
    double x[3], y;
    for (uint32_t k = 0; k < n->nin; k++) {
        if (!is_op(r, n->in[k], OP_CONST)) return CTL_NONE;
        x[k] = get(r, n->in[k])->f;
    }
    if (!ctl_scalar_compute((ctl_op)n->op, x, &y)) return CTL_NONE;
    ctl_node made = {.op = OP_CONST, .f = y, .span = n->span, .user = n->user, .path = n->path};
    return ctl_rewrite_node(r, &made);
}

/* ---- repeats ---- */
static bool works_by_rows(const ctl_node *n) {
    switch (ctl_op_class_of((ctl_op)n->op)) {
    case CLASS_MAP: return n->op != OP_DROP;
    case CLASS_REDUCE: return true;
    case CLASS_VIEW: return n->op == OP_COLUMNS || n->op == OP_CAT;
    default: return false;
    }
}

static ctl_node_id fold_repeats(ctl_rewrite *r, const ctl_node *n) {
    const ctl_node *repeat = NULL;
    if (!works_by_rows(n)) return CTL_NONE;
    for (uint32_t k = 0; k < n->nin; k++) {
        const ctl_node *a = get(r, n->in[k]);
        if (a->space == SPACE_NONE && a->rows == 1) continue;
        if (a->op != OP_REPEAT || a->space == SPACE_NONE) return CTL_NONE;
        if (repeat && (a->i[0] != repeat->i[0] || a->split != repeat->split)) return CTL_NONE;
        repeat = a;
    }
    if (!repeat) return CTL_NONE;
    ctl_node once = *n;
    ctl_node_id in[64];
    for (uint32_t k = 0; k < n->nin; k++) {
        const ctl_node *a = get(r, n->in[k]);
        in[k] = a->op == OP_REPEAT && a->space != SPACE_NONE ? a->in[0] : n->in[k];
    }
    once.in = in;
    int64_t times = repeat->i[0];
    return make1(r, n, OP_REPEAT, fold(r, &once), times, 0);
}

/* ---- arithmetic ---- */
/* x itself may stand for a result of the same shape when it is a real number, not 16 bits that a reader would
 * see. */
static ctl_node_id itself(const ctl_rewrite *r, ctl_node_id x) {
    return get(r, x)->dtype == CTL_REAL ? x : CTL_NONE;
}

/* x / b is x * (1 / b) where 1 / b is there already, as in a sigmoid's derivative: a division is many
 * additions. */
static ctl_node_id fold_quotient(ctl_rewrite *r, const ctl_node *n) {
    if (get(r, n->in[1])->op == OP_CONST || get(r, n->in[0])->op == OP_CONST) return CTL_NONE;
    ctl_node one = {.op = OP_CONST, .f = 1};
    ctl_node_id number = ctl_rewrite_find(r, &one);
    if (number == CTL_NONE) return CTL_NONE;
    ctl_node reciprocal = {
        .op = OP_DIV, .entry = n->entry, .nin = 2, .in = (ctl_node_id[]){number, n->in[1]}};
    ctl_node_id found = ctl_rewrite_find(r, &reciprocal);
    return found == CTL_NONE ? CTL_NONE : make2(r, n, OP_MUL, n->in[0], found);
}

/* A whole power is a product, of negative numbers too; a half is a root. CTL_NONE where b is no such number. */
static ctl_node_id fold_power(ctl_rewrite *r, const ctl_node *n) {
    enum { MOST_POWER = 1024 };
    ctl_node_id a = n->in[0], product = CTL_NONE;
    if (!is_op(r, n->in[1], OP_CONST)) return CTL_NONE;
    double b = get(r, n->in[1])->f;
    if (b == 1) return itself(r, a);
    if (b == 0.5) return make1(r, n, OP_SQRT, a, 0, 0);
    if (b == -0.5) return make1(r, n, OP_RSQRT, a, 0, 0);
    if (b == 0) return make2(r, n, OP_EQ, a, a); /* ones, of a's shape */
    if (b != floor(b) || fabs(b) > MOST_POWER) return CTL_NONE;
    for (int times = (int)fabs(b); times; times /= 2) { /* a is squared as often as times is halved */
        if (times % 2) product = product == CTL_NONE ? a : make2(r, n, OP_MUL, product, a);
        if (times > 1) a = make2(r, n, OP_MUL, a, a);
    }
    if (b > 0) return product;
    ctl_node one = {.op = OP_CONST, .f = 1, .span = n->span, .user = n->user, .path = n->path};
    return make2(r, n, OP_DIV, ctl_rewrite_node(r, &one), product);
}

static ctl_node_id fold_map(ctl_rewrite *r, const ctl_node *n) {
    ctl_node_id a = n->in[0], b = n->nin > 1 ? n->in[1] : CTL_NONE;
    switch (n->op) {
    case OP_NEG: return is_op(r, a, OP_NEG) ? itself(r, get(r, a)->in[0]) : CTL_NONE;
    case OP_ADD:
        if (is_const(r, a, 0)) return itself(r, b);
        if (is_const(r, b, 0)) return itself(r, a);
        if (is_op(r, b, OP_NEG)) return make2(r, n, OP_SUB, a, get(r, b)->in[0]);
        if (is_op(r, a, OP_NEG)) return make2(r, n, OP_SUB, b, get(r, a)->in[0]);
        return CTL_NONE;
    case OP_SUB:
        if (is_const(r, b, 0)) return itself(r, a);
        if (is_const(r, a, 0)) return make1(r, n, OP_NEG, b, 0, 0);
        if (is_op(r, b, OP_NEG)) return make2(r, n, OP_ADD, a, get(r, b)->in[0]);
        return CTL_NONE;
    case OP_MUL:
        if (is_const(r, a, 1)) return itself(r, b);
        if (is_const(r, b, 1)) return itself(r, a);
        if (is_const(r, a, -1)) return make1(r, n, OP_NEG, b, 0, 0);
        if (is_const(r, b, -1)) return make1(r, n, OP_NEG, a, 0, 0);
        return CTL_NONE;
    case OP_DIV: return is_const(r, b, 1) ? itself(r, a) : fold_quotient(r, n);
    case OP_POW: return fold_power(r, n);
    case OP_DROP: return n->f == 0 ? itself(r, a) : CTL_NONE;
    case OP_STATE: return is_op(r, a, OP_STATE) ? a : CTL_NONE;
    case OP_CAST:
        if (get(r, a)->dtype == n->dtype) return a;
        if (n->dtype == CTL_BF16 && is_op(r, a, OP_CAST) && get(r, get(r, a)->in[0])->dtype == CTL_BF16) {
            return get(r, a)->in[0];
        }
        return CTL_NONE;
    default: return CTL_NONE;
    }
}

static ctl_node_id fold_reduce(ctl_rewrite *r, const ctl_node *n) {
    const ctl_node *a = get(r, n->in[0]);
    if (ctl_op_class_of((ctl_op)n->op) == CLASS_COLUMN) {
        return a->space == SPACE_NONE && a->rows == 1 ? itself(r, n->in[0]) : CTL_NONE;
    }
    return a->cols == 1 ? itself(r, n->in[0]) : CTL_NONE;
}

/* ---- views ---- */
static ctl_node_id fold_columns(ctl_rewrite *r, const ctl_node *n) {
    const ctl_node *a = get(r, n->in[0]);
    int64_t from = n->i[0], to = n->i[1];
    if (from == 0 && to == a->cols) return n->in[0];
    if (a->op == OP_COLUMNS) return make1(r, n, OP_COLUMNS, a->in[0], a->i[0] + from, a->i[0] + to);
    if (a->op != OP_CAT) return CTL_NONE;
    for (uint32_t k = 0; k < a->nin; k++) {
        const ctl_node *piece = get(r, a->in[k]);
        if (from < piece->cols) {
            if (to > piece->cols || piece->rows != a->rows || piece->space != a->space) return CTL_NONE;
            return make1(r, n, OP_COLUMNS, a->in[k], from, to);
        }
        from -= piece->cols, to -= piece->cols;
    }
    return CTL_NONE;
}

static ctl_node_id fold_transpose(ctl_rewrite *r, const ctl_node *n) {
    const ctl_node *a = get(r, n->in[0]);
    if (a->op == OP_TRANSPOSE) return a->in[0];
    if (a->rows == 1 && a->cols == 1) return n->in[0];
    if (a->op == OP_MATMUL && a->i[0] && !a->i[1]) { /* a weight's gradient: (aT b)T = bT a */
        return make(r, n, OP_MATMUL, 2, (const ctl_node_id[]){a->in[1], a->in[0]}, 1, 0);
    }
    return CTL_NONE;
}

static ctl_node_id fold_view(ctl_rewrite *r, const ctl_node *n) {
    const ctl_node *a = get(r, n->in[0]);
    switch (n->op) {
    case OP_SPLIT:
        if (n->i[0] == a->cols) return n->in[0];
        return a->op == OP_JOIN && get(r, a->in[0])->cols == n->i[0] ? a->in[0] : CTL_NONE;
    case OP_JOIN:
        if (n->i[0] == a->cols) return n->in[0];
        return a->op == OP_SPLIT && get(r, a->in[0])->cols == n->i[0] ? a->in[0] : CTL_NONE;
    case OP_REPEAT: return n->i[0] == 1 ? n->in[0] : CTL_NONE;
    case OP_COLUMNS: return fold_columns(r, n);
    case OP_CAT:
    case OP_STACK: return n->nin == 1 ? n->in[0] : CTL_NONE;
    case OP_TRANSPOSE: return fold_transpose(r, n);
    default: return CTL_NONE;
    }
}

static ctl_node_id fold_product(ctl_rewrite *r, const ctl_node *n) {
    const ctl_node *a = get(r, n->in[0]), *b = get(r, n->in[1]);
    bool turn_a = a->op == OP_TRANSPOSE, turn_b = b->op == OP_TRANSPOSE;
    if (!turn_a && !turn_b) return CTL_NONE;
    ctl_node_id in[] = {turn_a ? a->in[0] : n->in[0], turn_b ? b->in[0] : n->in[1]};
    return make(r, n, OP_MATMUL, 2, in, (n->i[0] != 0) != turn_a, (n->i[1] != 0) != turn_b);
}

/* The simplified node that equals *node, whose inputs are simplified. */
static ctl_node_id fold(ctl_rewrite *r, const ctl_node *node) {
    ctl_node_id found = CTL_NONE;
    for (uint32_t k = 0; k < node->nin; k++) {
        if (node->in[k] == CTL_NONE) return CTL_NONE;
    }
    switch (ctl_op_class_of((ctl_op)node->op)) {
    case CLASS_MAP:
        found = fold_constants(r, node);
        if (found == CTL_NONE) found = fold_map(r, node);
        break;
    case CLASS_REDUCE:
    case CLASS_COLUMN: found = fold_reduce(r, node); break;
    case CLASS_VIEW: found = fold_view(r, node); break;
    case CLASS_PRODUCT: found = fold_product(r, node); break;
    default: break;
    }
    if (found == CTL_NONE) found = fold_repeats(r, node);
    return found != CTL_NONE ? found : ctl_rewrite_node(r, node);
}

ctl_graph *ctl_simplify_fold(const ctl_graph *in) {
    ctl_rewrite r;
    ctl_rewrite_begin(&r, in);
    for (size_t k = 0; k < in->n; k++) {
        ctl_node node = ctl_rewrite_mapped(&r, (ctl_node_id)k);
        r.map[k] = fold(&r, &node);
    }
    return ctl_rewrite_end(&r);
}
