/* save.c: what forward keeps for backward, when nothing but row by row work may be done twice (the plan M0).
 *
 * Results of products, attention, the head and sums over rows cannot be rebuilt: they are the sources. Maps,
 * reductions along rows, views and look-ups in weights can be rebuilt from their inputs. Leaves and values of
 * rates load and update are at hand anyway. What backward reads of forward are the sinks, and the least
 * vertex cut between (save_cut.h), with the bytes of a value as its cost, is what to keep. Of equal cuts the
 * latest rebuilds least. A 16-bit cast is kept rather than the f32 value that it was made from, for it costs
 * half.
 *
 * Then backward reads kept values as they are, and clones of entry backward of the rest, made just before
 * their first reader. Among values of one size a view is dearest, so a panel is kept rather than all its
 * slices. A kept slice of a panel that is not kept would keep all of it alive, and so is copied. */
#include "compiler/graph/graph_copy.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/save_cut.h"

typedef struct saver {
    const ctl_graph *in;
    ctl_graph_copy *copy;
    ctl_cut_vertex *at; /* by node; of forward's results only */
    ctl_node_id *clone; /* by node: its rebuilt copy in the new graph */
    CTL_VEC(ctl_node_id) open;
} saver;

static bool is_forward(const ctl_node *n) {
    return n->rate == RATE_STEP && n->entry == ENTRY_FORWARD && ctl_op_class_of((ctl_op)n->op) != CLASS_LEAF;
}

static bool is_backward(const ctl_node *n) { return n->rate == RATE_STEP && n->entry == ENTRY_BACKWARD; }

static int64_t bytes_of(const ctl_node *n) { return n->rows * n->cols * (n->dtype == CTL_BF16 ? 2 : 4); }

/* In units finer than a byte, so that of equal sizes the value itself wins over its views. */
enum { COST_OF_BYTE = 64 };
static int64_t cost_of(const ctl_node *n) {
    bool view = n->op == OP_COLUMNS || n->op == OP_SPLIT || n->op == OP_JOIN;
    return COST_OF_BYTE * bytes_of(n) + view;
}

static bool can_rebuild(const ctl_node *n) {
    switch (ctl_op_class_of((ctl_op)n->op)) {
    case CLASS_MAP:
    case CLASS_REDUCE: return true;
    case CLASS_VIEW: return n->op != OP_PART && n->op != OP_TRANSPOSE && n->op != OP_STACK;
    default: return n->op == OP_TAKE || n->op == OP_PICK;
    }
}

static void find_cut(saver *s) {
    const ctl_graph *g = s->in;
    CTL_VEC(ctl_cut_edge) edges = {0};
    s->at = CTL_NEW_ARRAY(g->arena, ctl_cut_vertex, g->n);
    for (size_t k = 0; k < g->n; k++) {
        const ctl_node *n = &g->at[k];
        s->at[k].cost = 1;
        if (is_forward(n)) {
            s->at[k].cost = cost_of(n);
            s->at[k].source = !can_rebuild(n);
        }
        for (uint32_t j = 0; j < n->nin; j++) {
            if (!is_forward(&g->at[n->in[j]])) continue;
            if (is_backward(n)) s->at[n->in[j]].sink = true;
            if (is_forward(n) && can_rebuild(n))
                CTL_PUSH(g->arena, &edges, (ctl_cut_edge){n->in[j], (uint32_t)k});
        }
    }
    ctl_cut_least(g->arena, s->at, g->n, edges.at, edges.n);
}

static ctl_node_id add(saver *s, const ctl_node *node, ctl_entry entry) {
    ctl_graph *g = s->copy->out;
    const char *why = NULL;
    g->entry = entry;
    ctl_node_id id = ctl_graph_add(g, node, &why);
    g->entry = ENTRY_FORWARD;
    if (id == CTL_NONE && !g->misfit) g->misfit = why;
    return id;
}

/* Makes the slice a value of its own: f32 numbers times 1, or 16-bit ones widened and rounded again. */
static void copy_slice(saver *s, ctl_node_id id) {
    const ctl_node *n = &s->in->at[id];
    ctl_node first = {.op = OP_CAST,
                      .dtype = CTL_REAL,
                      .nin = 1,
                      .in = &s->copy->map[id],
                      .span = n->span,
                      .path = n->path};
    if (n->dtype == CTL_BF16) {
        ctl_node_id wide = add(s, &first, ENTRY_FORWARD);
        first.dtype = CTL_BF16, first.in = &wide;
        s->copy->map[id] = add(s, &first, ENTRY_FORWARD);
        return;
    }
    ctl_node_id in[] = {s->copy->map[id], ctl_build_const(s->copy->out, 1)};
    first.op = OP_MUL, first.nin = 2, first.in = in;
    s->copy->map[id] = add(s, &first, ENTRY_FORWARD);
}

/* What backward reads for forward's or any value: the new graph's node, or CTL_NONE while its clone is not
 * made. */
static ctl_node_id reading(const saver *s, ctl_node_id id) {
    bool rebuilt = is_forward(&s->in->at[id]) && !s->at[id].kept && can_rebuild(&s->in->at[id]);
    return rebuilt ? s->clone[id] : s->copy->map[id];
}

/* Makes a node whose inputs are read by backward; false, with its inputs on the list, while some are not
 * made. */
static bool make_backward(saver *s, ctl_node_id id, ctl_node_id *made) {
    ctl_node node = s->in->at[id];
    bool ready = true;
    node.in = CTL_NEW_ARRAY(s->in->arena, ctl_node_id, node.nin);
    for (uint32_t k = 0; k < node.nin; k++) {
        node.in[k] = reading(s, s->in->at[id].in[k]);
        if (node.in[k] != CTL_NONE) continue;
        CTL_PUSH(s->in->arena, &s->open, s->in->at[id].in[k]);
        ready = false;
    }
    if (ready) *made = add(s, &node, ENTRY_BACKWARD);
    return ready;
}

static void add_backward(saver *s, ctl_node_id id) {
    while (!make_backward(s, id, &s->copy->map[id])) {
        while (s->open.n) {
            ctl_node_id top = s->open.at[s->open.n - 1];
            if (s->clone[top] != CTL_NONE || make_backward(s, top, &s->clone[top])) {
                s->open.n--;
                if (s->copy->out->misfit) return;
            }
        }
    }
}

void ctl_pass_save(const ctl_graph *in, ctl_graph **out) {
    saver s = {.in = in, .copy = ctl_copy_begin(in)};
    find_cut(&s);
    s.clone = CTL_NEW_ARRAY(in->arena, ctl_node_id, in->n);
    for (size_t k = 0; k < in->n; k++) s.clone[k] = CTL_NONE;
    for (size_t k = 0; k < in->n && !s.copy->out->misfit; k++) {
        ctl_node_id id = (ctl_node_id)k;
        if (is_backward(&in->at[k])) {
            add_backward(&s, id);
            continue;
        }
        ctl_copy_node(s.copy, id);
        if (s.at[k].kept && in->at[k].op == OP_COLUMNS) copy_slice(&s, id);
    }
    *out = ctl_graph_sweep(ctl_copy_end(s.copy));
}

/* The value that holds a view's numbers. */
static ctl_node_id base_of(const ctl_graph *g, ctl_node_id id) {
    while (g->at[id].op == OP_COLUMNS || g->at[id].op == OP_SPLIT || g->at[id].op == OP_JOIN)
        id = g->at[id].in[0];
    return id;
}

int64_t ctl_saved_bytes(const ctl_graph *g) {
    bool *seen = CTL_NEW_ARRAY(g->arena, bool, g->n);
    int64_t bytes = 0;
    for (size_t k = 0; k < g->n; k++) {
        if (!is_backward(&g->at[k])) continue;
        for (uint32_t j = 0; j < g->at[k].nin; j++) {
            ctl_node_id id = base_of(g, g->at[k].in[j]);
            if (is_forward(&g->at[id]) && !seen[id]) bytes += bytes_of(&g->at[id]);
            seen[id] = true;
        }
    }
    return bytes;
}
