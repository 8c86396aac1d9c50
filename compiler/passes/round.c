/* round.c: makes rounding explicit, so that no back end decides where it happens.
 *
 * In f32 and f64 nothing is rounded: states are their sums. In bf16
 * - a state over a row space is a CAST of its sum; states of space none (the loss, sums of biases) stay f32;
 * - what a product, attention or the head takes as an operand is cast, once for all its readers. Frozen
 * parameters are kept in bf16 altogether; a trained one keeps f32 and gets a CAST of rate update;
 * - attention's result, and the gradients that attention's and the head's tasks give, are cast where they are
 * made, and every reader sees the rounded value. The row statistics of attention and weights' gradients stay
 * f32;
 * - a cast goes below the views that join, split, repeat or put values beside each other, to where the value
 * is made: its maker then writes 16 bits, and the view remains a view. A CAT or STACK of both widths widens
 * the narrow ones, which is exact. Stops have done their work and vanish. */
#include "compiler/passes/passes.h"
#include "compiler/passes/rewrite.h"

enum { MOST_VIEWS = 50 }; /* that a cast passes at once */

typedef struct rounder {
    ctl_rewrite r;
    ctl_node_id *raw;            /* by old node: what PARTs are parts of, before its first result was cast */
    CTL_VEC(ctl_node_id) narrow; /* by new node, for views: the same in bf16 */
} rounder;

static ctl_node_id add_cast(rounder *p, const ctl_node *like, ctl_node_id x, ctl_dtype dtype) {
    ctl_node cast = {.op = OP_CAST,
                     .dtype = (uint8_t)dtype,
                     .entry = like->entry,
                     .nin = 1,
                     .in = &x,
                     .span = like->span,
                     .user = like->user,
                     .path = like->path};
    return ctl_rewrite_node(&p->r, &cast);
}

/* A cast may pass a CAT only when all its pieces have rows: a constant piece would become a value of its own.
 */
static bool cast_passes(const ctl_graph *g, const ctl_node *view) {
    if (view->op == OP_JOIN || view->op == OP_SPLIT || view->op == OP_REPEAT) return true;
    if (view->op != OP_CAT) return false;
    for (uint32_t k = 0; k < view->nin; k++) {
        if (g->at[view->in[k]].space == SPACE_NONE) return false;
    }
    return true;
}

static ctl_node_id *narrowed(rounder *p, ctl_node_id x) {
    while (p->narrow.n <= x) CTL_PUSH(p->r.out->arena, &p->narrow, CTL_NONE);
    return &p->narrow.at[x];
}

/* x in bf16, for a reader `like` that lies under `depth` views. Every node is worked on once. */
static ctl_node_id narrow_under(rounder *p, const ctl_node *like, ctl_node_id x, int depth) {
    if (x == CTL_NONE || p->r.out->at[x].dtype != CTL_REAL) return x;
    ctl_node view = p->r.out->at[x];
    if (depth == MOST_VIEWS || !cast_passes(p->r.out, &view)) return add_cast(p, like, x, CTL_BF16);
    if (*narrowed(p, x) != CTL_NONE) return *narrowed(p, x);
    ctl_node_id in[64];
    ctl_node by = *like;
    by.entry = view.entry; /* the cast belongs where the value is made */
    for (uint32_t k = 0; k < view.nin; k++) in[k] = narrow_under(p, &by, view.in[k], depth + 1);
    ctl_node_id made = ctl_rewrite_make(&p->r, &by, (ctl_op)view.op, view.nin, in, view.i[0], view.i[1]);
    return *narrowed(p, x) = made;
}

static ctl_node_id narrow(rounder *p, const ctl_node *like, ctl_node_id x) {
    return narrow_under(p, like, x, 0);
}

static void narrow_inputs(rounder *p, ctl_node *n, uint32_t count) {
    for (uint32_t k = 0; k < count; k++) {
        ctl_node like = *n;
        /* A forward value is cast in forward, so that forward and backward share the cast. */
        const ctl_node *x = &p->r.out->at[n->in[k]];
        if (x->rate == RATE_STEP && ctl_op_class_of((ctl_op)x->op) != CLASS_LEAF) like.entry = x->entry;
        like.span = x->span, like.user = x->user, like.path = x->path;
        n->in[k] = narrow(p, &like, n->in[k]);
    }
}

static void widen_mixed(rounder *p, ctl_node *n) {
    bool narrow_some = false, narrow_all = true;
    for (uint32_t k = 0; k < n->nin; k++) {
        bool is = p->r.out->at[n->in[k]].dtype == CTL_BF16;
        narrow_some |= is, narrow_all &= is;
    }
    if (!narrow_some || narrow_all) return;
    for (uint32_t k = 0; k < n->nin; k++) {
        if (p->r.out->at[n->in[k]].dtype == CTL_BF16) n->in[k] = add_cast(p, n, n->in[k], CTL_REAL);
    }
}

/* Whether a part of a task is a gradient of a state: attention's dk and dv, the head's dx. */
static bool gives_state(const ctl_graph *g, const ctl_node *part) {
    ctl_op op = (ctl_op)g->at[part->in[0]].op;
    return op == OP_ATTEND_GRAD || (op == OP_HEAD && part->i[0] == 1);
}

static ctl_node_id round_node(rounder *p, ctl_node_id id, ctl_node *n) {
    const ctl_graph *in = p->r.in;
    switch (n->op) {
    case OP_STATE: return in->at[id].space == SPACE_NONE ? n->in[0] : narrow(p, n, n->in[0]);
    case OP_PARAM:
        if (!in->params.at[n->i[0]].trained) n->dtype = CTL_BF16;
        return ctl_rewrite_node(&p->r, n);
    case OP_CAT:
    case OP_STACK: widen_mixed(p, n); return ctl_rewrite_node(&p->r, n);
    case OP_MATMUL:
    case OP_MIX:
    case OP_MIX_GRAD:
    case OP_HEAD: narrow_inputs(p, n, 2); return ctl_rewrite_node(&p->r, n);
    case OP_ATTEND:
    case OP_ATTEND_GRAD:
        narrow_inputs(p, n, n->op == OP_ATTEND ? 3 : 4);
        if (n->op == OP_ATTEND_GRAD) {
            ctl_node gradient = *n;
            gradient.in = n->in + 5;
            narrow_inputs(p, &gradient, 1);
        }
        p->raw[id] = ctl_rewrite_node(&p->r, n);
        return narrow(p, n, p->raw[id]);
    case OP_PART: {
        ctl_node_id part = ctl_rewrite_node(&p->r, n);
        ctl_node like = *n;
        like.entry = in->at[id].entry;
        return gives_state(in, &in->at[id]) ? narrow(p, &like, part) : part;
    }
    default: return ctl_rewrite_node(&p->r, n);
    }
}

void ctl_pass_round(const ctl_graph *in, ctl_dtype compute, ctl_graph **out) {
    rounder p = {0};
    ctl_rewrite_begin(&p.r, in);
    p.raw = CTL_NEW_ARRAY(in->arena, ctl_node_id, in->n);
    for (size_t k = 0; k < in->n; k++) {
        ctl_node_id id = (ctl_node_id)k;
        ctl_node node = ctl_rewrite_mapped(&p.r, id);
        if (node.op == OP_PART) {
            const ctl_node *whole = &in->at[in->at[k].in[0]];
            bool cast = compute == CTL_BF16 && (whole->op == OP_ATTEND || whole->op == OP_ATTEND_GRAD);
            if (cast) node.in[0] = p.raw[in->at[k].in[0]];
        }
        if (node.op == OP_STOP || (node.op == OP_STATE && compute != CTL_BF16)) {
            p.r.map[k] = node.in[0];
        } else if (compute == CTL_BF16) {
            p.r.map[k] = round_node(&p, id, &node);
        } else {
            p.r.map[k] = ctl_rewrite_node(&p.r, &node);
        }
    }
    *out = ctl_rewrite_end(&p.r);
}
