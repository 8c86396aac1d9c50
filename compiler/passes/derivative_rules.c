/* derivative_rules: the derivative of every operation. Each rule gets the adjoint `d` of its node y = f(a, b,
 * ..) and contributes to the adjoints of a, b, .. as far as they are reached. Where a choice is free: the
 * gradient of max and min goes to a where a and b are equal; that of rowmax to every column that is maximal.
 */
#include "compiler/passes/derivative.h"

typedef struct rule {
    dv *d;
    ctl_graph *g;
    const ctl_node *n; /* the old node */
    ctl_node_id old, y;
    ctl_node_id adjoint;
} rule;

static ctl_node_id in(const rule *r, uint32_t k) { return r->d->map[r->n->in[k]]; }
static bool wants(const rule *r, uint32_t k) {
    return r->d->reached[r->n->in[k]] && dv_carries(r->d->in, r->n, k);
}
static ctl_node_id full(const rule *r) { return dv_full(r->d, r->adjoint, r->old); }
static ctl_node_id number(const rule *r, double value) { return dv_number(r->d, value); }
static ctl_node_id one(const rule *r, ctl_op op, ctl_node_id a) { return CTL_B1(r->g, r->y, op, a); }
static ctl_node_id two(const rule *r, ctl_op op, ctl_node_id a, ctl_node_id b) {
    return CTL_B2(r->g, r->y, op, a, b);
}
static ctl_node_id mul(const rule *r, ctl_node_id a, ctl_node_id b) { return dv_mul(r->d, r->y, a, b); }
static ctl_node_id with(const rule *r, ctl_op op, ctl_node_id a, int64_t i0) {
    return ctl_build(r->g, r->y, op, 1, &a, (const int64_t[3]){i0}, 0);
}

/* To an operand that may have been broadcast. */
static void give(const rule *r, uint32_t k, ctl_node_id value) {
    dv_add(r->d, r->n->in[k], dv_reduce(r->d, value, r->old, r->n->in[k]));
}

static ctl_node_id where(const rule *r, ctl_node_id condition, ctl_node_id yes, ctl_node_id no) {
    return CTL_B3(r->g, r->y, OP_SELECT, condition, yes, no);
}

/* a ^ e, where the exponent may be a known number. */
static ctl_node_id power_less_one(const rule *r) {
    const ctl_node *e = &r->d->in->at[r->n->in[1]];
    if (e->op != OP_CONST) return two(r, OP_POW, in(r, 0), two(r, OP_SUB, in(r, 1), number(r, 1)));
    if (e->f == 2) return in(r, 0);
    return two(r, OP_POW, in(r, 0), number(r, e->f - 1));
}

static ctl_node_id unary(const rule *r) {
    ctl_node_id a = in(r, 0), y = r->y, d = r->adjoint;
    const double two_over_root_pi = 1.1283791670955125739;
    switch (r->n->op) {
    case OP_NEG: return one(r, OP_NEG, d);
    case OP_EXP: return mul(r, d, y);
    case OP_LOG: return two(r, OP_DIV, d, a);
    case OP_SQRT: return two(r, OP_DIV, mul(r, d, number(r, 0.5)), y);
    case OP_RSQRT: return mul(r, mul(r, mul(r, d, number(r, -0.5)), y), mul(r, y, y));
    case OP_SIN: return mul(r, d, one(r, OP_COS, a));
    case OP_COS: return one(r, OP_NEG, mul(r, d, one(r, OP_SIN, a)));
    case OP_TANH: return mul(r, d, two(r, OP_SUB, number(r, 1), mul(r, y, y)));
    case OP_ERF:
        return mul(r, d, mul(r, number(r, two_over_root_pi), one(r, OP_EXP, one(r, OP_NEG, mul(r, a, a)))));
    default: return d; /* CAST, STATE */
    }
}

static bool drop(const rule *r) {
    ctl_node_id d = full(r);
    dv_add(r->d, r->n->in[0], ctl_build(r->g, r->y, OP_DROP, 1, &d, r->n->i, r->n->f));
    return true;
}

static bool binary(const rule *r) {
    ctl_node_id a = in(r, 0), b = in(r, 1), d = r->adjoint, left, quotient;
    switch (r->n->op) {
    case OP_ADD:
        if (wants(r, 0)) give(r, 0, d);
        if (wants(r, 1)) give(r, 1, d);
        return true;
    case OP_SUB:
        if (wants(r, 0)) give(r, 0, d);
        if (wants(r, 1)) give(r, 1, one(r, OP_NEG, d));
        return true;
    case OP_MUL:
        if (wants(r, 0)) give(r, 0, mul(r, d, b));
        if (wants(r, 1)) give(r, 1, mul(r, d, a));
        return true;
    case OP_DIV:
        quotient = two(r, OP_DIV, d, b);
        if (wants(r, 0)) give(r, 0, quotient);
        if (wants(r, 1)) give(r, 1, one(r, OP_NEG, mul(r, quotient, r->y)));
        return true;
    case OP_MOD: /* a - b * floor(a / b), the floor constant: (a - y) / b */
        if (wants(r, 0)) give(r, 0, d);
        if (wants(r, 1)) give(r, 1, mul(r, d, two(r, OP_DIV, two(r, OP_SUB, r->y, a), b)));
        return true;
    case OP_POW:
        if (wants(r, 0)) give(r, 0, mul(r, d, mul(r, b, power_less_one(r))));
        if (wants(r, 1)) give(r, 1, mul(r, d, mul(r, r->y, one(r, OP_LOG, a))));
        return true;
    default: /* MAX, MIN */
        left = r->n->op == OP_MAX ? two(r, OP_LE, b, a) : two(r, OP_LE, a, b);
        if (wants(r, 0)) give(r, 0, where(r, left, d, number(r, 0)));
        if (wants(r, 1)) give(r, 1, where(r, left, number(r, 0), d));
        return true;
    }
}

/* ---- views ---- */
static bool cat(const rule *r) {
    ctl_node_id d = full(r);
    int64_t at = 0;
    for (uint32_t k = 0; k < r->n->nin; k++) {
        const ctl_node *p = &r->d->in->at[r->n->in[k]];
        if (wants(r, k)) {
            ctl_node_id v = dv_columns(r->d, r->y, d, at, at + p->cols);
            bool repeated =
                p->rows == 1 && p->space == SPACE_NONE && (r->n->rows > 1 || r->n->space != SPACE_NONE);
            dv_add(r->d, r->n->in[k], repeated ? one(r, OP_COLSUM, v) : v);
        }
        at += p->cols;
    }
    return true;
}

static bool stack(const rule *r) {
    ctl_node_id d = one(r, OP_TRANSPOSE, full(r));
    int64_t at = 0;
    for (uint32_t k = 0; k < r->n->nin; k++) {
        int64_t rows = r->d->in->at[r->n->in[k]].rows;
        if (wants(r, k))
            dv_add(r->d, r->n->in[k], one(r, OP_TRANSPOSE, dv_columns(r->d, r->y, d, at, at + rows)));
        at += rows;
    }
    return true;
}

/* The sum of the rows that stand for one: beside each other, then added. */
static ctl_node_id unrepeat(const rule *r) {
    int64_t times = r->n->i[0], cols = r->n->cols;
    ctl_node_id d = with(r, OP_JOIN, full(r), times * cols);
    if (cols == 1) return one(r, OP_SUM, d);
    ctl_node_id sum = dv_columns(r->d, r->y, d, 0, cols);
    for (int64_t k = 1; k < times; k++)
        sum = two(r, OP_ADD, sum, dv_columns(r->d, r->y, d, k * cols, (k + 1) * cols));
    return sum;
}

static bool view(const rule *r) {
    ctl_node_id to = r->n->in[0];
    int64_t cols = r->d->in->at[to].cols;
    switch (r->n->op) {
    case OP_SPLIT: dv_add(r->d, to, with(r, OP_JOIN, full(r), cols)); return true;
    case OP_JOIN: dv_add(r->d, to, with(r, OP_SPLIT, full(r), cols)); return true;
    case OP_REPEAT: dv_add(r->d, to, unrepeat(r)); return true;
    case OP_COLUMNS: dv_add_columns(r->d, to, full(r), r->n->i[0], r->n->i[1]); return true;
    case OP_CAT: return cat(r);
    case OP_STACK: return stack(r);
    default: dv_add(r->d, to, one(r, OP_TRANSPOSE, full(r))); return true;
    }
}

/* ---- products and tasks of their own ---- */
static ctl_node_id product(const rule *r, ctl_node_id a, bool ta, ctl_node_id b, bool tb) {
    return ctl_build(r->g, r->y, OP_MATMUL, 2, (const ctl_node_id[]){a, b}, (const int64_t[3]){ta, tb}, 0);
}

static bool matmul(const rule *r) {
    bool ta = r->n->i[0] != 0, tb = r->n->i[1] != 0;
    ctl_node_id a = in(r, 0), b = in(r, 1), d = full(r);
    /* y = a b: da = d b', db = a' d, and the same turned where a or b is. */
    if (wants(r, 0))
        dv_add(r->d, r->n->in[0], ta ? product(r, b, tb, d, true) : product(r, d, false, b, !tb));
    if (wants(r, 1))
        dv_add(r->d, r->n->in[1], tb ? product(r, d, true, a, ta) : product(r, a, !ta, d, false));
    return true;
}

static ctl_node_id number_of_row(const rule *r, ctl_op op, int space) {
    return ctl_build(r->g, r->y, op, 0, NULL, (const int64_t[3]){space}, 0);
}

/* Each row of a sequence gets what its sequence's picked row got, where it is the one, and else nothing. */
static bool pick(const rule *r) {
    const ctl_node *a = &r->d->in->at[r->n->in[0]];
    ctl_node_id d = full(r), sequence, chosen, all;
    int64_t cols = r->n->cols * r->n->split;
    if (r->n->split > 1) d = with(r, OP_JOIN, d, cols);
    sequence = one(r, OP_TOINT, number_of_row(r, OP_SEQUENCE, a->space));
    chosen = two(r, OP_EQ, number_of_row(r, OP_PLACE, a->space), number(r, (double)r->n->i[0]));
    all = where(r, chosen, two(r, OP_TAKE, d, sequence), number(r, 0));
    dv_add(r->d, r->n->in[0], r->n->split > 1 ? with(r, OP_SPLIT, all, r->n->cols) : all);
    return true;
}

static bool row_map(const rule *r) {
    if (r->n->op == OP_PICK) return pick(r);
    ctl_node_id ids = in(r, 1), d = full(r);
    if (r->n->op == OP_SCATTER) {
        dv_add(r->d, r->n->in[0], two(r, OP_TAKE, d, ids));
        return true;
    }
    const ctl_node *table = &r->d->in->at[r->n->in[0]];
    const int64_t into[3] = {table->space == SPACE_NONE ? table->rows : 0, table->space};
    dv_add(r->d, r->n->in[0], ctl_build(r->g, r->y, OP_SCATTER, 2, (const ctl_node_id[]){d, ids}, into, 0));
    return true;
}

/* y = m x in each sequence: dx = m' d, dm = the sum of d x'; turned where m is. */
static bool mix(const rule *r) {
    bool turned = r->n->i[0] != 0;
    ctl_node_id m = in(r, 0), x = in(r, 1), d = full(r);
    if (wants(r, 0)) dv_add(r->d, r->n->in[0], turned ? two(r, OP_MIX_GRAD, x, d) : two(r, OP_MIX_GRAD, d, x));
    if (wants(r, 1))
        dv_add(r->d, r->n->in[1],
               ctl_build(r->g, r->y, OP_MIX, 2, (const ctl_node_id[]){m, d}, (const int64_t[3]){!turned}, 0));
    return true;
}

static bool attend(const rule *r) {
    ctl_node_id inputs[] = {in(r, 0), in(r, 1), in(r, 2), r->y, with(r, OP_PART, r->y, 1), full(r)};
    ctl_node_id grad = ctl_build(r->g, r->y, OP_ATTEND_GRAD, 6, inputs, r->n->i, 0);
    if (wants(r, 0)) dv_add(r->d, r->n->in[0], grad);
    for (uint32_t k = 1; k < 3; k++)
        if (wants(r, k)) dv_add(r->d, r->n->in[k], with(r, OP_PART, grad, k));
    return true;
}

static bool head(const rule *r) {
    for (uint32_t k = 0; k < 2; k++)
        if (wants(r, k)) dv_add(r->d, r->n->in[k], mul(r, r->adjoint, with(r, OP_PART, r->y, k + 1)));
    return true;
}

bool dv_rule(dv *d, ctl_node_id old, ctl_node_id adjoint) {
    const ctl_node *n = &d->in->at[old];
    rule r = {d, d->g, n, old, d->map[old], adjoint};
    switch (ctl_op_class_of((ctl_op)n->op)) {
    case CLASS_MAP:
        if (n->op == OP_DROP) return drop(&r);
        if (n->nin == 2) return binary(&r);
        if (n->nin == 1) give(&r, 0, unary(&r));
        if (n->nin == 3 && wants(&r, 1)) give(&r, 1, where(&r, in(&r, 0), adjoint, number(&r, 0)));
        if (n->nin == 3 && wants(&r, 2)) give(&r, 2, where(&r, in(&r, 0), number(&r, 0), adjoint));
        return true;
    case CLASS_REDUCE:
        dv_add(d, n->in[0],
               n->op == OP_SUM ? adjoint : where(&r, two(&r, OP_EQ, in(&r, 0), r.y), adjoint, number(&r, 0)));
        return true;
    case CLASS_COLUMN: dv_add(d, n->in[0], adjoint); return true;
    case CLASS_VIEW:
        if (n->op != OP_PART) return view(&r);
        break;
    case CLASS_ROWMAP: return row_map(&r);
    case CLASS_PRODUCT: return matmul(&r);
    case CLASS_FUSED:
        if (n->op == OP_ATTEND) return attend(&r);
        if (n->op == OP_HEAD) return head(&r);
        if (n->op == OP_MIX) return mix(&r);
        break;
    default: break;
    }
    ctl_error(d->sink, CTL_E0901, n->span, NULL, "%s has no derivative, and what is trained lies before it",
              ctl_op_name((ctl_op)n->op));
    return false;
}
