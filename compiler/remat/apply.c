/* apply: see apply.h.
 *
 * `hand` says for every forward node where backward finds its value: forward's own result where it is kept, a copy made
 * by a step that ran a segment forward again, or nothing. A backward step makes copies of whatever else its nodes read,
 * each just before its first reader, and forgets them at its end: every step's rebuilding is its own. What row by row work
 * rebuilds from inputs alone (positions' sines, embeddings) is copied once for all steps.
 *
 * A kept slice of a panel that is not kept would keep all of the panel alive, so the slice is copied. */
#include "compiler/remat/apply.h"

#include "compiler/graph/graph_copy.h"

typedef struct applier {
    ctl_arena *arena;
    const ctl_graph *in;
    const ctl_keep_plan *plan;
    ctl_graph_copy *copy;
    ctl_node_id *hand; /* by node of in: at hand for every step */
    ctl_node_id *own;  /* made by the running step, for itself */
    CTL_VEC(ctl_node_id) made; /* the nodes of `own` */
    CTL_VEC(ctl_node_id) open;
    bool *in_step;     /* the running step keeps the value */
    int32_t phase;
} applier;

static ctl_node_id add(applier *a, const ctl_node *node, ctl_entry entry) {
    ctl_graph *g = a->copy->out;
    const char *why = NULL;
    ctl_node made = *node;
    made.phase = a->phase;
    g->entry = entry;
    ctl_node_id id = ctl_graph_add(g, &made, &why);
    g->entry = ENTRY_FORWARD;
    if (id == CTL_NONE && !g->misfit) g->misfit = why;
    return id;
}

/* Makes the slice a value of its own: f32 numbers times 1, or 16-bit ones widened and rounded again. */
static ctl_node_id copy_slice(applier *a, ctl_node_id id, ctl_node_id slice, ctl_entry entry) {
    const ctl_node *n = &a->in->at[id];
    ctl_node node = {.op = OP_CAST, .dtype = CTL_REAL, .nin = 1, .in = &slice, .span = n->span, .user = n->user, .path = n->path};
    if (n->dtype == CTL_BF16) {
        ctl_node_id wide = add(a, &node, entry);
        node.dtype = CTL_BF16, node.in = &wide;
        return add(a, &node, entry);
    }
    ctl_node_id in[] = {slice, ctl_build_const(a->copy->out, 1)};
    node.op = OP_MUL, node.nin = 2, node.in = in;
    return add(a, &node, entry);
}

/* ---- computing again ---- */
static bool is_free(const applier *a, ctl_node_id id) { return a->plan->segments->phase[id] == PHASE_FREE; }

/* Where the running step finds a value of the old graph; CTL_NONE while it has to be made. */
static ctl_node_id reading(const applier *a, ctl_node_id id) {
    if (!ctl_is_forward(&a->in->at[id])) return a->copy->map[id];
    return a->hand[id] != CTL_NONE ? a->hand[id] : a->own[id];
}

/* A copy of the node for backward, when everything it reads is there; else what is not goes onto the list. */
static ctl_node_id try_make(applier *a, ctl_node_id id) {
    ctl_node node = a->in->at[id];
    bool ready = true;
    node.in = CTL_NEW_ARRAY(a->arena, ctl_node_id, node.nin);
    for (uint32_t k = 0; k < node.nin; k++) {
        ctl_node_id from = a->in->at[id].in[k];
        node.in[k] = reading(a, from);
        if (node.in[k] != CTL_NONE) continue;
        CTL_PUSH(a->arena, &a->open, from);
        ready = false;
    }
    return ready ? add(a, &node, ENTRY_BACKWARD) : CTL_NONE;
}

static void note(applier *a, ctl_node_id id, ctl_node_id made) {
    if (is_free(a, id)) {
        a->hand[id] = made;
        return;
    }
    if (a->in_step[id] && a->in->at[id].op == OP_COLUMNS) made = copy_slice(a, id, made, ENTRY_BACKWARD);
    a->own[id] = made;
    CTL_PUSH(a->arena, &a->made, id);
}

static void make_open(applier *a) {
    while (a->open.n && !a->copy->out->misfit) {
        ctl_node_id top = a->open.at[a->open.n - 1];
        if (reading(a, top) != CTL_NONE) {
            a->open.n--;
            continue;
        }
        ctl_node_id made = try_make(a, top);
        if (made == CTL_NONE) continue;
        a->open.n--;
        note(a, top, made);
    }
}

static void require(applier *a, ctl_node_id id) {
    CTL_PUSH(a->arena, &a->open, id);
    make_open(a);
}

static void end_step(applier *a) {
    for (size_t k = 0; k < a->made.n; k++) a->own[a->made.at[k]] = CTL_NONE;
    a->made.n = 0;
}

/* ---- steps ---- */
static const ctl_keep_option *option_of(const applier *a, const ctl_chain_step *s) {
    if (s->option == CHAIN_NONE) return NULL;
    return &a->plan->options[a->plan->segments->class_of[s->segment]].at[s->option];
}

static void run_forward(applier *a, const ctl_chain_step *s) {
    const ctl_segments *segments = a->plan->segments;
    const ctl_keep_option *o = option_of(a, s);
    const ctl_boundary *next = &segments->before[s->segment + 1];
    const ctl_node_id *local = segments->locals[s->segment];
    for (size_t k = 0; o && k < o->nkept; k++) a->in_step[local[o->kept[k]]] = true;
    for (size_t k = 0; o && k < o->nkept; k++) require(a, local[o->kept[k]]);
    for (size_t k = 0; s->verb == CHAIN_FORWARD && k < next->n; k++) require(a, next->at[k]);
    for (size_t k = 0; o && k < o->nkept; k++) a->hand[local[o->kept[k]]] = a->own[local[o->kept[k]]];
    for (size_t k = 0; s->verb == CHAIN_FORWARD && k < next->n; k++)
        if (a->hand[next->at[k]] == CTL_NONE) a->hand[next->at[k]] = a->own[next->at[k]];
    for (size_t k = 0; o && k < o->nkept; k++) a->in_step[local[o->kept[k]]] = false;
    end_step(a);
}

static bool crosses(const ctl_segments *s, size_t segment, ctl_node_id id) {
    for (size_t k = 0; k < s->before[segment].n; k++)
        if (s->before[segment].at[k] == id) return true;
    return false;
}

/* Of the segment's input, what the segment before it does not hold for itself. */
static void forget_input(applier *a, size_t segment) {
    const ctl_boundary *b = &a->plan->segments->before[segment];
    for (size_t k = 0; k < b->n; k++)
        if (segment == 0 || !crosses(a->plan->segments, segment - 1, b->at[k])) a->hand[b->at[k]] = CTL_NONE;
}

static void run_backward(applier *a, const ctl_node_id *begin, const ctl_node_id *end) {
    for (const ctl_node_id *id = begin; id < end && !a->copy->out->misfit; id++) {
        while ((a->copy->map[*id] = try_make(a, *id)) == CTL_NONE && !a->copy->out->misfit) make_open(a);
    }
    end_step(a);
}

static void run_steps(applier *a) {
    const ctl_segments *segments = a->plan->segments;
    /* Backward nodes by segment, in the order that they had. */
    size_t *begin = CTL_NEW_ARRAY(a->arena, size_t, segments->n + 2);
    for (ctl_node_id id = 0; id < a->in->n; id++)
        if (ctl_is_backward(&a->in->at[id])) begin[segments->phase[id] + 2]++;
    for (size_t k = 0; k < segments->n; k++) begin[k + 2] += begin[k + 1];
    ctl_node_id *of = CTL_NEW_ARRAY(a->arena, ctl_node_id, begin[segments->n + 1] + 1);
    for (ctl_node_id id = 0; id < a->in->n; id++)
        if (ctl_is_backward(&a->in->at[id])) of[begin[segments->phase[id] + 1]++] = id;
    for (size_t k = 0; k < a->plan->nsteps && !a->copy->out->misfit; k++) {
        const ctl_chain_step *s = &a->plan->steps[k];
        a->phase = (int32_t)(segments->n + k);
        if (s->verb == CHAIN_FORGET) forget_input(a, s->segment);
        else if (s->verb == CHAIN_BACKWARD) run_backward(a, of + begin[s->segment], of + begin[s->segment + 1]);
        else run_forward(a, s);
    }
}

static void copy_forward(applier *a, bool evaluate) {
    const ctl_graph *in = a->in;
    for (ctl_node_id id = 0; id < in->n; id++) {
        const ctl_node *n = &in->at[id];
        a->hand[id] = a->own[id] = CTL_NONE;
        if (ctl_is_backward(n) || (!evaluate && n->rate == RATE_STEP && n->entry == ENTRY_EVALUATE)) continue;
        ctl_node node = *n;
        node.phase = ctl_is_forward(n) ? a->plan->segments->phase[id] : 0;
        node.in = CTL_NEW_ARRAY(a->arena, ctl_node_id, n->nin);
        for (uint32_t k = 0; k < n->nin; k++) node.in[k] = a->copy->map[n->in[k]];
        ctl_copy_changed(a->copy, id, &node);
        if (!ctl_is_forward(n) || !a->plan->kept[id]) continue;
        a->phase = node.phase;
        a->hand[id] = n->op == OP_COLUMNS ? copy_slice(a, id, a->copy->map[id], ENTRY_FORWARD) : a->copy->map[id];
    }
}

ctl_graph *ctl_keep_apply(const ctl_graph *g, const ctl_keep_plan *plan, bool evaluate) {
    applier a = {.arena = g->arena, .in = g, .plan = plan, .copy = ctl_copy_begin(g)};
    a.hand = CTL_NEW_ARRAY(a.arena, ctl_node_id, g->n), a.own = CTL_NEW_ARRAY(a.arena, ctl_node_id, g->n);
    a.in_step = CTL_NEW_ARRAY(a.arena, bool, g->n);
    copy_forward(&a, evaluate);
    run_steps(&a);
    ctl_graph *out = ctl_copy_end(a.copy);
    if (out->misfit) return out;
    return ctl_graph_sweep(out);
}

ctl_keep_plan ctl_keep_plain(ctl_arena *arena, const ctl_segments *s, bool *kept) {
    ctl_chain_step *steps = CTL_NEW_ARRAY(arena, ctl_chain_step, s->n);
    for (size_t k = 0; k < s->n; k++) steps[k] = (ctl_chain_step){CHAIN_BACKWARD, (uint32_t)(s->n - 1 - k), CHAIN_NONE};
    return (ctl_keep_plan){.segments = s, .kept = kept, .steps = steps, .nsteps = s->n};
}
