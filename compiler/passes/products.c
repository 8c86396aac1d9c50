/* products.c: merges products, which run faster wide than narrow.
 *
 * Of one left operand: x @ A.T and x @ B.T are columns of x @ [A ; B].T, a product with a STACK of weights
 * whose result the readers see through COLUMNS. What every one of the products takes along (a bias, then a
 * cast) is taken along by the merged one. Products that differ in this are not merged: the narrow result of
 * one would have to be f32 because another's is.
 *
 * Of a sum: d @ A + e @ B is [d | e] @ [A ; B], with a CAT whose pieces are written into place by whoever
 * makes them.
 *
 * A weight is in one stack at most, so that stacks are only a way to lay weights out. The first merge that
 * wants a weight makes the stack, in the order of parameters; later ones (backward, evaluate) use a stack
 * whole or not at all. Frozen weights and 16-bit copies of trained ones lie in a stack for nothing. A trained
 * f32 weight would have to be copied once an update, which is done for thin ones alone. */
#include "compiler/passes/passes.h"
#include "compiler/passes/rewrite.h"

enum { MOST_PIECES = 64, THIN_ROWS = 128, NO_STACK = -1 };

/* One product that may merge. */
typedef struct piece {
    ctl_node_id product, weight, left;
    ctl_node_id bias, end; /* end: the last of product, its bias's sum, its cast; bias CTL_NONE: none */
} piece;
typedef CTL_VEC(piece) pieces;

typedef struct merger {
    ctl_rewrite r;
    uint32_t *readers;
    ctl_node_id *reader; /* by node: its last reader, the only one where readers says 1 */
    int32_t *stack_of;   /* by node: the stack that this weight is in */
    CTL_VEC(pieces) stacks;
    CTL_VEC(pieces) merged; /* of one left operand each */
    int32_t *merge_of;      /* by node: the merge whose piece this product is, NO_STACK: none */
    ctl_node_id *ends_as;   /* by node: the slice of a merged product that stands for it */
} merger;

static const ctl_node *old(const merger *m, ctl_node_id id) { return &m->r.in->at[id]; }

static int64_t param_of(const merger *m, ctl_node_id weight) {
    const ctl_node *w = old(m, weight);
    if (w->op == OP_CAST) w = old(m, w->in[0]);
    return w->op == OP_PARAM ? w->i[0] : -1;
}

static bool may_stack(const merger *m, ctl_node_id weight) {
    const ctl_node *w = old(m, weight);
    int64_t param = w->space == SPACE_NONE && w->rate != RATE_STEP ? param_of(m, weight) : -1;
    if (param < 0) return false;
    bool copied = w->op == OP_PARAM && m->r.in->params.at[param].trained;
    return !copied || w->rows <= THIN_ROWS;
}

static bool is_product(const merger *m, ctl_node_id id, bool turned) {
    const ctl_node *n = old(m, id);
    return n->op == OP_MATMUL && n->rate == RATE_STEP && n->space != SPACE_NONE && n->split == 1 &&
           !n->i[0] && (n->i[1] != 0) == turned && may_stack(m, n->in[1]);
}

static bool alone(const merger *m, ctl_node_id id) {
    return m->readers[id] == 1 && m->reader[id] != CTL_NONE;
}

static piece describe(const merger *m, ctl_node_id id) {
    const ctl_node *n = old(m, id);
    piece p = {.product = id, .weight = n->in[1], .left = n->in[0], .bias = CTL_NONE, .end = id};
    if (alone(m, p.end) && old(m, m->reader[p.end])->op == OP_ADD) {
        const ctl_node *sum = old(m, m->reader[p.end]);
        ctl_node_id other = sum->in[0] == p.end ? sum->in[1] : sum->in[0];
        const ctl_node *b = old(m, other);
        if (b->space == SPACE_NONE && b->rate != RATE_STEP && b->rows == 1 && b->cols == n->cols) {
            p.bias = other, p.end = m->reader[p.end];
        }
    }
    if (alone(m, p.end)) {
        const ctl_node *cast = old(m, m->reader[p.end]);
        if (cast->op == OP_CAST && cast->dtype == CTL_BF16 && cast->entry == n->entry)
            p.end = m->reader[p.end];
    }
    return p;
}

/* Whether two products of one left operand can be one: same moment, weights of one kind, same company. */
static bool alike(const merger *m, const piece *a, const piece *b) {
    const ctl_node *wa = old(m, a->weight), *wb = old(m, b->weight);
    return a->left == b->left && old(m, a->product)->entry == old(m, b->product)->entry &&
           wa->rate == wb->rate && wa->dtype == wb->dtype && (a->bias == CTL_NONE) == (b->bias == CTL_NONE) &&
           (old(m, a->end)->op == OP_CAST) == (old(m, b->end)->op == OP_CAST);
}

/* Into the order of parameters, in which checkpoints list them; at most MOST_PIECES, so by insertion. */
static void sort_pieces(const merger *m, pieces *p) {
    for (size_t k = 1; k < p->n; k++) {
        piece moving = p->at[k];
        size_t to = k;
        for (; to > 0 && param_of(m, p->at[to - 1].weight) > param_of(m, moving.weight); to--) {
            p->at[to] = p->at[to - 1];
        }
        p->at[to] = moving;
    }
}

/* The candidates whose weights are in stack `s`, in its order; false when not all of the stack is there. */
static bool pick_stack(const merger *m, const pieces *from, int32_t s, pieces *to) {
    const pieces *stack = &m->stacks.at[s];
    for (size_t k = 0; k < stack->n; k++) {
        size_t j = 0;
        while (j < from->n && from->at[j].weight != stack->at[k].weight) j++;
        if (j == from->n) return false;
        CTL_PUSH(m->r.in->arena, to, from->at[j]);
    }
    return true;
}

/* Divides candidates into sets to be merged, by stacks that are there and one that is made of the rest. */
static void divide(merger *m, const pieces *from, void (*use)(merger *, pieces *, void *), void *ctx) {
    ctl_arena *arena = m->r.in->arena;
    pieces fresh = {0};
    for (size_t k = 0; k < from->n; k++) {
        int32_t s = m->stack_of[from->at[k].weight];
        if (s == NO_STACK && fresh.n < MOST_PIECES) CTL_PUSH(arena, &fresh, from->at[k]);
        if (s == NO_STACK || m->stacks.at[s].at[0].weight != from->at[k].weight) continue;
        pieces whole = {0};
        if (pick_stack(m, from, s, &whole)) use(m, &whole, ctx);
    }
    if (fresh.n < 2) return;
    sort_pieces(m, &fresh);
    for (size_t k = 0; k < fresh.n; k++) m->stack_of[fresh.at[k].weight] = (int32_t)m->stacks.n;
    CTL_PUSH(arena, &m->stacks, fresh);
    use(m, &fresh, ctx);
}

/* ---- of one left operand ---- */
static void note_merge(merger *m, pieces *p, void *ctx) {
    (void)ctx;
    for (size_t k = 0; k < p->n; k++) m->merge_of[p->at[k].product] = (int32_t)m->merged.n;
    CTL_PUSH(m->r.in->arena, &m->merged, *p);
}

/* Candidates of one left operand hang on a list that begins at the operand. */
static void find_merges(merger *m) {
    const ctl_graph *g = m->r.in;
    CTL_VEC(pieces) sets = {0};
    int32_t *next = CTL_NEW_ARRAY(g->arena, int32_t, g->n); /* by left operand: 1 + its latest set */
    CTL_VEC(int32_t) earlier = {0}; /* by set: the same operand's set before, as in next */
    for (size_t k = 0; k < g->n; k++) {
        if (!is_product(m, (ctl_node_id)k, true)) continue;
        piece p = describe(m, (ctl_node_id)k);
        int32_t s = next[p.left];
        while (s && !alike(m, &sets.at[s - 1].at[0], &p)) s = earlier.at[s - 1];
        if (!s) {
            CTL_PUSH(g->arena, &sets, (pieces){0});
            CTL_PUSH(g->arena, &earlier, next[p.left]);
            s = next[p.left] = (int32_t)sets.n;
        }
        CTL_PUSH(g->arena, &sets.at[s - 1], p);
    }
    for (size_t s = 0; s < sets.n; s++) divide(m, &sets.at[s], note_merge, NULL);
}

static ctl_node_id make_list(merger *m, const ctl_node *like, ctl_op op, const pieces *p,
                             ctl_node_id (*of)(const piece *)) {
    ctl_node_id in[MOST_PIECES];
    for (size_t k = 0; k < p->n; k++) in[k] = m->r.map[of(&p->at[k])];
    return ctl_rewrite_make(&m->r, like, op, (uint32_t)p->n, in, 0, 0);
}
static ctl_node_id weight_of(const piece *p) { return p->weight; }
static ctl_node_id bias_of(const piece *p) { return p->bias; }
static ctl_node_id left_of(const piece *p) { return p->left; }

static void emit_merge(merger *m, const pieces *p) {
    ctl_node like = *old(m, p->at[0].product);
    ctl_node_id in[] = {m->r.map[p->at[0].left], make_list(m, &like, OP_STACK, p, weight_of)};
    ctl_node_id all = ctl_rewrite_make(&m->r, &like, OP_MATMUL, 2, in, 0, 1);
    if (p->at[0].bias != CTL_NONE) {
        ctl_node_id sum[] = {all, make_list(m, &like, OP_CAT, p, bias_of)};
        all = ctl_rewrite_make(&m->r, &like, OP_ADD, 2, sum, 0, 0);
    }
    if (old(m, p->at[0].end)->op == OP_CAST) {
        ctl_node cast = like;
        cast.op = OP_CAST, cast.dtype = CTL_BF16, cast.nin = 1, cast.in = &all, cast.i[1] = 0;
        all = ctl_rewrite_node(&m->r, &cast);
    }
    int64_t begin = 0;
    for (size_t k = 0; k < p->n; k++) {
        const ctl_node *end = old(m, p->at[k].end);
        int64_t cols = end->cols;
        m->ends_as[p->at[k].end] = ctl_rewrite_make(&m->r, end, OP_COLUMNS, 1, &all, begin, begin + cols);
        begin += cols;
    }
}

/* ---- of a sum ---- */
static bool inner_add(const merger *m, ctl_node_id id, const ctl_node *root) {
    const ctl_node *n = old(m, id);
    return n->op == OP_ADD && alone(m, id) && n->entry == root->entry && n->rows == root->rows &&
           n->cols == root->cols && n->space == root->space && n->split == root->split;
}

/* The terms of the sum whose last addition is `root`, from left to right. */
static void collect_terms(const merger *m, ctl_node_id root, pieces *terms) {
    CTL_VEC(ctl_node_id) open = {0};
    ctl_arena *arena = m->r.in->arena;
    CTL_PUSH(arena, &open, root);
    while (open.n) {
        ctl_node_id id = open.at[--open.n];
        const ctl_node *n = old(m, id);
        if (id == root || inner_add(m, id, old(m, root))) {
            CTL_PUSH(arena, &open, n->in[1]);
            CTL_PUSH(arena, &open, n->in[0]);
            continue;
        }
        bool merges = is_product(m, id, false) && alone(m, id) && n->entry == old(m, root)->entry;
        CTL_PUSH(arena, terms,
                 (piece){.product = id, .weight = merges ? n->in[1] : CTL_NONE, .left = n->in[0]});
    }
}

typedef struct sum {
    ctl_node_id root;
    pieces terms;
    ctl_node_id *as; /* by term: the new node that stands for it, CTL_NONE: it went into another */
    bool changed;
} sum;

static void merge_terms(merger *m, pieces *p, void *ctx) {
    sum *s = ctx;
    ctl_node like = *old(m, s->root);
    ctl_node_id in[] = {make_list(m, &like, OP_CAT, p, left_of), make_list(m, &like, OP_STACK, p, weight_of)};
    ctl_node_id all = ctl_rewrite_make(&m->r, &like, OP_MATMUL, 2, in, 0, 0);
    for (size_t t = 0; t < s->terms.n; t++) {
        for (size_t k = 0; k < p->n; k++) {
            if (p->at[k].product != s->terms.at[t].product) continue;
            s->as[t] = all;
            all = CTL_NONE;
        }
    }
    s->changed = true;
}

/* The candidates among the terms whose weights are of the kind of term t's. */
static void merge_kind(merger *m, sum *s, ctl_rate rate, ctl_dtype dtype) {
    pieces kind = {0};
    for (size_t t = 0; t < s->terms.n; t++) {
        ctl_node_id w = s->terms.at[t].weight;
        if (w == CTL_NONE || old(m, w)->rate != rate || old(m, w)->dtype != dtype) continue;
        bool twice = false;
        for (size_t k = 0; k < kind.n; k++)
            twice |= kind.at[k].weight == w || kind.at[k].left == s->terms.at[t].left;
        if (!twice) CTL_PUSH(m->r.in->arena, &kind, s->terms.at[t]);
    }
    if (kind.n > 1) divide(m, &kind, merge_terms, s);
}

/* The sum with merged products, or CTL_NONE when there is nothing to merge. */
static ctl_node_id emit_sum(merger *m, ctl_node_id root) {
    sum s = {.root = root};
    collect_terms(m, root, &s.terms);
    s.as = CTL_NEW_ARRAY(m->r.in->arena, ctl_node_id, s.terms.n);
    for (size_t t = 0; t < s.terms.n; t++) s.as[t] = m->r.map[s.terms.at[t].product];
    static const ctl_rate rates[] = {RATE_LOAD, RATE_UPDATE};
    static const ctl_dtype dtypes[] = {CTL_REAL, CTL_BF16};
    for (int k = 0; k < 4; k++) merge_kind(m, &s, rates[k / 2], dtypes[k % 2]);
    if (!s.changed) return CTL_NONE;
    ctl_node_id total = CTL_NONE;
    for (size_t t = 0; t < s.terms.n; t++) {
        if (s.as[t] == CTL_NONE) continue;
        ctl_node_id pair[] = {total, s.as[t]};
        total = total == CTL_NONE ? s.as[t] : ctl_rewrite_make(&m->r, old(m, root), OP_ADD, 2, pair, 0, 0);
    }
    return total;
}

/* Whether the addition is the last of its sum. */
static bool ends_sum(const merger *m, ctl_node_id id) {
    const ctl_node *n = old(m, id);
    if (n->op != OP_ADD || n->rate != RATE_STEP || n->space == SPACE_NONE) return false;
    return !alone(m, id) || old(m, m->reader[id])->op != OP_ADD || !inner_add(m, id, old(m, m->reader[id]));
}

static void begin(merger *m, const ctl_graph *in) {
    ctl_rewrite_begin(&m->r, in);
    m->readers = ctl_count_readers(in, in->arena);
    m->reader = CTL_NEW_ARRAY(in->arena, ctl_node_id, in->n);
    m->stack_of = CTL_NEW_ARRAY(in->arena, int32_t, in->n);
    m->merge_of = CTL_NEW_ARRAY(in->arena, int32_t, in->n);
    m->ends_as = CTL_NEW_ARRAY(in->arena, ctl_node_id, in->n);
    for (size_t k = 0; k < in->n; k++) {
        m->reader[k] = m->ends_as[k] = CTL_NONE;
        m->stack_of[k] = m->merge_of[k] = NO_STACK;
        for (uint32_t j = 0; j < in->at[k].nin; j++) m->reader[in->at[k].in[j]] = (ctl_node_id)k;
    }
}

static void emit(merger *m, ctl_node_id id) {
    if (m->merge_of[id] != NO_STACK) {
        const pieces *p = &m->merged.at[m->merge_of[id]];
        if (m->ends_as[p->at[0].end] == CTL_NONE) emit_merge(m, p);
        if (m->ends_as[id] == CTL_NONE) return; /* its bias's sum or its cast is a slice */
    }
    if (m->ends_as[id] != CTL_NONE) {
        m->r.map[id] = m->ends_as[id];
        return;
    }
    ctl_node node = ctl_rewrite_mapped(&m->r, id);
    for (uint32_t k = 0; k < node.nin; k++) {
        if (node.in[k] == CTL_NONE) return; /* between a merged product and its end */
    }
    ctl_node_id total = ends_sum(m, id) ? emit_sum(m, id) : CTL_NONE;
    m->r.map[id] = total != CTL_NONE ? total : ctl_rewrite_node(&m->r, &node);
}

void ctl_pass_products(const ctl_graph *in, ctl_graph **out) {
    merger m = {0};
    begin(&m, in);
    find_merges(&m);
    /* Weights first: a merged product needs them all where its first piece stood. */
    for (size_t k = 0; k < in->n; k++) {
        if (in->at[k].rate != RATE_STEP) emit(&m, (ctl_node_id)k);
    }
    for (size_t k = 0; k < in->n; k++) {
        if (in->at[k].rate == RATE_STEP) emit(&m, (ctl_node_id)k);
    }
    *out = ctl_rewrite_end(&m.r);
}
