/* differentiate: appends, as entry backward, the derivative of the loss by every trained parameter (and by
 * inputs that are asked for), only where a trained one is upstream.
 *
 * Two sweeps find the nodes between: `active` have a trained parameter upstream, `reached` have the loss
 * downstream, both along edges that carry a derivative. The graph is copied (HEAD gets its bits); then nodes
 * are visited from the last to the first: a node's adjoint is the sum of its contributions in the order in
 * which its readers were visited, that is reverse textual order; its rule (derivative_rules.c) contributes to
 * its inputs. The adjoint of a STATE stands in a STATE of its own, named "d NAME", and no other does: the
 * round pass rounds it once.
 *
 * Adjoints are kept in the smallest shape that broadcasts to the value's (the adjoint of what a row sum reads
 * is one number a row); dv_full writes them out where an operation needs every element. Adjoints of COLUMNS
 * of one value that do not overlap are put beside each other instead of being padded and added. */
#include "compiler/graph/graph_copy.h"
#include "compiler/passes/derivative.h"
#include "compiler/passes/passes.h"

bool dv_carries(const ctl_graph *g, const ctl_node *n, uint32_t k) {
    if (g->at[n->in[k]].dtype == CTL_I32) return false;
    switch (n->op) {
    case OP_STOP:
    case OP_LT:
    case OP_LE:
    case OP_EQ:
    case OP_TOINT: return false;
    case OP_SELECT: return k > 0;
    default: return true;
    }
}

/* ---- shapes ---- */
static bool one_row(const ctl_node *n) { return n->space == SPACE_NONE && n->rows == 1; }
static bool is_number(const dv *d, ctl_node_id v, double value) {
    return v < d->g->n && d->g->at[v].op == OP_CONST && d->g->at[v].f == value;
}

ctl_node_id dv_mul(dv *d, ctl_node_id like, ctl_node_id a, ctl_node_id b) {
    if (is_number(d, a, 1)) return b;
    if (is_number(d, b, 1)) return a;
    return CTL_B2(d->g, like, OP_MUL, a, b);
}

ctl_node_id dv_number(dv *d, double value) { return ctl_build_const(d->g, value); }

static ctl_node_id attributed(dv *d, ctl_node_id like, ctl_op op, ctl_node_id a, int64_t i0, int64_t i1) {
    return ctl_build(d->g, like, op, 1, &a, (const int64_t[3]){i0, i1}, 0);
}

ctl_node_id dv_columns(dv *d, ctl_node_id like, ctl_node_id a, int64_t begin, int64_t end) {
    return attributed(d, like, OP_COLUMNS, a, begin, end);
}

static ctl_node_id zero_row(dv *d, ctl_node_id like, int64_t cols) {
    return CTL_B2(d->g, like, OP_MUL, CTL_B0(d->g, like, OP_INDEX, cols), dv_number(d, 0));
}

/* Zeros [rows of n, 1]: a number is never less than itself, not even a NaN. */
static ctl_node_id zero_column(dv *d, ctl_node_id like, ctl_node_id old) {
    const ctl_node *n = &d->in->at[old];
    ctl_node_id c;
    bool rows = n->space != SPACE_NONE;
    if (!rows)
        c = CTL_B0(d->g, like, OP_EYE, n->rows, 1);
    else if (!ctl_space_has_documents(n->space) && !d->g->sequence)
        c = dv_columns(d, like, d->map[old], 0, 1), rows = false;
    else if (!ctl_space_has_documents(n->space))
        c = attributed(d, like, OP_PICK, CTL_B0(d->g, like, OP_POSITION, SPACE_TOKENS), 0, 0);
    else
        c = CTL_B0(d->g, like, OP_POSITION, n->space);
    if (rows && n->split > 1) c = attributed(d, like, OP_REPEAT, c, n->split, 0);
    return CTL_B2(d->g, like, OP_LT, c, c);
}

ctl_node_id dv_full(dv *d, ctl_node_id v, ctl_node_id old) {
    const ctl_node *n = &d->in->at[old];
    if (v == CTL_NONE) return v;
    ctl_node_id like = d->map[old];
    if (d->g->at[v].cols != n->cols) v = CTL_B2(d->g, like, OP_ADD, v, zero_row(d, like, n->cols));
    if (v != CTL_NONE && one_row(&d->g->at[v]) && !one_row(n))
        v = CTL_B2(d->g, like, OP_ADD, v, zero_column(d, like, old));
    return v;
}

ctl_node_id dv_reduce(dv *d, ctl_node_id v, ctl_node_id old, ctl_node_id operand) {
    const ctl_node *n = &d->in->at[old], *a = &d->in->at[operand];
    ctl_node_id like = d->map[old];
    if (v == CTL_NONE) return v;
    if (a->cols == 1 && n->cols > 1)
        v = d->g->at[v].cols > 1 ? CTL_B1(d->g, like, OP_SUM, v)
                                 : dv_mul(d, like, v, dv_number(d, (double)n->cols));
    if (v != CTL_NONE && one_row(a) && !one_row(n))
        v = one_row(&d->g->at[v]) ? dv_mul(d, like, v, dv_number(d, (double)n->rows))
                                  : CTL_B1(d->g, like, OP_COLSUM, v);
    return v;
}

/* ---- adjoints ---- */
void dv_add(dv *d, ctl_node_id to, ctl_node_id value) {
    CTL_PUSH(d->g->arena, &d->adjoint[to], (dv_contribution){.value = value});
}

void dv_add_columns(dv *d, ctl_node_id to, ctl_node_id value, int64_t begin, int64_t end) {
    CTL_PUSH(d->g->arena, &d->adjoint[to], (dv_contribution){.value = value, .begin = begin, .end = end});
}

static bool overlaps(const dv_contribution *a, size_t n, const dv_contribution *b) {
    for (size_t k = 0; k < n; k++)
        if (b->begin < a[k].end && a[k].begin < b->end) return true;
    return false;
}

/* A value of `cols` columns from pieces that do not overlap, zero between them. */
static ctl_node_id beside(dv *d, ctl_node_id like, dv_contribution *piece, size_t n, int64_t cols) {
    ctl_node_id parts[64];
    int count = 0;
    int64_t at = 0;
    for (size_t k = 1; k < n; k++) { /* in order of columns */
        dv_contribution p = piece[k];
        size_t j = k;
        for (; j > 0 && piece[j - 1].begin > p.begin; j--) piece[j] = piece[j - 1];
        piece[j] = p;
    }
    for (size_t k = 0; k < n; k++) {
        if (piece[k].begin > at) parts[count++] = zero_row(d, like, piece[k].begin - at);
        parts[count++] = piece[k].value;
        at = piece[k].end;
    }
    if (at < cols) parts[count++] = zero_row(d, like, cols - at);
    return ctl_build(d->g, like, OP_CAT, count, parts, NULL, 0);
}

static ctl_node_id sum_up(dv *d, ctl_node_id old) {
    enum { MOST = 31 }; /* pieces of one CAT, with as many gaps and one more */
    dv_contribution piece[MOST], *all = d->adjoint[old].at;
    ctl_node_id like = d->map[old], sum = CTL_NONE;
    for (size_t k = 0; k < d->adjoint[old].n; k++) {
        ctl_node_id value = all[k].value;
        if (value == CTL_NONE)
            continue; /* a misfit that is noted, or a piece that stands beside an earlier one */
        if (all[k].end) {
            size_t n = 0;
            piece[n++] = all[k];
            for (size_t j = k + 1; j < d->adjoint[old].n && n < MOST; j++) {
                if (!all[j].end || all[j].value == CTL_NONE || overlaps(piece, n, &all[j])) continue;
                piece[n++] = all[j];
                all[j].value = CTL_NONE;
            }
            value = beside(d, like, piece, n, d->in->at[old].cols);
        }
        sum = sum == CTL_NONE ? value : CTL_B2(d->g, like, OP_ADD, sum, value);
    }
    return sum;
}

static ctl_node_id settle(dv *d, ctl_node_id old) {
    const ctl_node *n = &d->in->at[old];
    ctl_node_id v = sum_up(d, old);
    if (n->op != OP_STATE || v == CTL_NONE || d->g->at[v].op == OP_CONST) return v;
    v = CTL_B1(d->g, d->map[old], OP_STATE, v);
    if (v != CTL_NONE) d->g->at[v].path = ctl_format(d->g->arena, "d %s", n->path ? n->path : "");
    return v;
}

/* ---- the pass ---- */
static void find_between(dv *d, const ctl_differentiate_options *options) {
    const ctl_graph *g = d->in;
    for (size_t id = 0; id < g->n; id++) {
        const ctl_node *n = &g->at[id];
        if (n->op == OP_PARAM) d->active[id] = g->params.at[n->i[0]].trained;
        if (n->op == OP_INPUT && options->input_grads && !g->inputs.at[n->i[0]].is_id)
            d->active[id] = options->input_grads[n->i[0]];
        for (uint32_t k = 0; k < n->nin; k++) d->active[id] |= d->active[n->in[k]] && dv_carries(g, n, k);
    }
    d->reached[g->loss] = d->active[g->loss];
    for (size_t id = g->n; id-- > 0;)
        for (uint32_t k = 0; d->reached[id] && k < g->at[id].nin; k++)
            d->reached[g->at[id].in[k]] |= d->active[g->at[id].in[k]] && dv_carries(g, &g->at[id], k);
}

static void copy_forward(dv *d, ctl_graph_copy *c) {
    for (size_t id = 0; id < d->in->n; id++) {
        ctl_copy_node(c, (ctl_node_id)id);
        const ctl_node *n = &d->in->at[id];
        if (n->op == OP_HEAD && d->reached[id] && c->map[id] != CTL_NONE)
            c->out->at[c->map[id]].i[0] =
                n->i[0] | (d->reached[n->in[0]] ? 1 : 0) | (d->reached[n->in[1]] ? 2 : 0);
    }
}

bool ctl_pass_differentiate(const ctl_graph *in, const ctl_differentiate_options *options, ctl_graph **out,
                            ctl_sink *sink) {
    static const ctl_differentiate_options none = {0};
    ctl_arena *arena = in->arena;
    *out = NULL;
    if (in->loss == CTL_NONE) {
        ctl_error(sink, CTL_E0305, CTL_NO_SPAN, "let a result of the model be named loss",
                  "there is no loss to train for");
        return false;
    }
    ctl_graph_copy *c = ctl_copy_begin(in);
    dv d = {.in = in, .g = c->out, .map = c->map, .sink = sink};
    d.active = CTL_NEW_ARRAY(arena, bool, in->n);
    d.reached = CTL_NEW_ARRAY(arena, bool, in->n);
    d.adjoint = CTL_NEW_ARRAY(arena, dv_contributions, in->n);
    ctl_node_id *value = CTL_NEW_ARRAY(arena, ctl_node_id, in->n);
    find_between(&d, options ? options : &none);
    copy_forward(&d, c);
    c->out->entry = ENTRY_BACKWARD;
    dv_add(&d, in->loss, dv_number(&d, 1));
    for (size_t id = in->n; id-- > 0;) {
        value[id] = CTL_NONE;
        if (!d.reached[id]) continue;
        value[id] = settle(&d, (ctl_node_id)id);
        if (value[id] == CTL_NONE) continue;
        if (in->at[id].nin == 0)
            value[id] = dv_full(&d, value[id], (ctl_node_id)id);
        else if (!dv_rule(&d, (ctl_node_id)id, value[id]))
            return false;
    }
    *out = ctl_copy_end(c);
    (*out)->entry = ENTRY_FORWARD;
    for (size_t k = 0; k < in->params.n; k++) {
        const ctl_param *p = &in->params.at[k];
        (*out)->params.at[k].grad = p->trained && p->node != CTL_NONE ? value[p->node] : CTL_NONE;
    }
    for (size_t k = 0; k < in->inputs.n; k++) {
        const ctl_input *input = &in->inputs.at[k];
        (*out)->inputs.at[k].grad = input->node != CTL_NONE ? value[input->node] : CTL_NONE;
    }
    return true;
}
