/* adapt: what the controls did, read off the draft (runtime/adaptation.h says what for). For each product with a weight of
 * the model the state that it goes into is looked at: if its value, with all that controls put into it, behind it or
 * in the product's place, is a function of the product's left side and of weights alone, and linear in the former, it
 * becomes a form. A last walk from the outputs, which passes over what the forms stand for, finds whatever else a
 * control did: then there is no model without it. */
#include "compiler/elaborate/adapt.h"

#include "compiler/elaborate/internal.h"
#include "compiler/elaborate/network.h"

enum { MOST_FORM = 2000, MOST_DEEP = 400, NO_FORM = UINT32_MAX };

typedef struct site { /* where a form stands in the draft */
    ctl_node_id top;  /* reading this node is the form's result */
    ctl_node_id leaf; /* its left side */
    ctl_node_id weight;
} site;

typedef CTL_VEC(ctl_form_node) node_list;
typedef CTL_VEC(uint8_t) degree_list;

typedef struct adapter {
    ctl_elab *e;
    ctl_node_id *state_of;   /* by node: the state that has it as an edge of the model's own; CTL_NONE */
    uint32_t *readers;       /* by node: how many nodes and edges read it */
    ctl_node_id *site_top;   /* by node: number of the site whose top it is */
    uint8_t *inside;         /* by node: a form was read through it; a control may use the weight in its own products */
    CTL_VEC(site) sites;
    CTL_VEC(ctl_form) forms;
    /* of the form being made: */
    ctl_node_id leaf;
    uint32_t *made; /* by key of a read: the form's node */
    CTL_VEC(size_t) keys;
    node_list nodes;
    degree_list degrees; /* in the left side: 0, 1, or 2 for more than linear */
    bool touched;
    int depth;
    const char *why;
} adapter;

static ctl_state *state_at(const ctl_elab *e, ctl_node_id id) { return id < e->states.n ? e->states.at[id] : NULL; }
static ctl_node_id replaced_by(const ctl_elab *e, ctl_node_id id) {
    return id < e->replaced.n ? e->replaced.at[id] : CTL_NONE;
}

/* ---- a form ---- */
static uint32_t fail(adapter *a, const char *why) {
    if (!a->why) a->why = why;
    return NO_FORM;
}

static int degree_of(const adapter *a, ctl_form_op op, uint32_t x, uint32_t y) {
    int p = x == NO_FORM ? 0 : a->degrees.at[x], q = y == NO_FORM ? 0 : a->degrees.at[y];
    switch (op) {
    case FORM_X: return 1;
    case FORM_ADD:
    case FORM_SUB: return p > q ? p : q;
    case FORM_MUL:
    case FORM_MATMUL: return p + q > 2 ? 2 : p + q;
    case FORM_DIV: return q ? 2 : p;
    case FORM_SAME:
    case FORM_DROP:
    case FORM_NEG:
    case FORM_COLUMNS: return p;
    default: return p ? 2 : 0; /* the rest bends, or mixes rows */
    }
}

static uint32_t push(adapter *a, ctl_form_node node) {
    if (a->nodes.n >= MOST_FORM) return fail(a, "it reads more than the left side of one product");
    uint32_t ins = node.op >= FORM_ADD && node.op <= FORM_MATMUL ? 2 : node.op >= FORM_SAME ? 1 : 0;
    int degree = degree_of(a, node.op, ins > 0 ? node.in[0] : NO_FORM, ins > 1 ? node.in[1] : NO_FORM);
    CTL_PUSH(a->e->arena, &a->nodes, node);
    CTL_PUSH(a->e->arena, &a->degrees, (uint8_t)degree);
    return (uint32_t)a->nodes.n - 1;
}

static uint32_t read_value(adapter *a, ctl_node_id id);

static uint32_t read_sum(adapter *a, ctl_node_id id) {
    const ctl_state *s = state_at(a->e, id);
    uint32_t sum = NO_FORM;
    for (size_t k = 0; k < s->edges.n; k++) {
        if (s->edges.at[k].control) a->touched = true;
        uint32_t edge = read_value(a, s->edges.at[k].node);
        if (edge == NO_FORM) return NO_FORM;
        sum = k ? push(a, (ctl_form_node){.op = FORM_ADD, .in = {sum, edge}}) : edge;
        if (sum == NO_FORM) return NO_FORM;
    }
    return sum;
}

static uint32_t read_operation(adapter *a, ctl_node_id id) {
    static const struct {
        ctl_op from;
        ctl_form_op to;
    } same[] = {{OP_STATE, FORM_SAME}, {OP_STOP, FORM_SAME}, {OP_DROP, FORM_DROP}, {OP_NEG, FORM_NEG},   {OP_SQRT, FORM_SQRT},
                {OP_RSQRT, FORM_RSQRT}, {OP_EXP, FORM_EXP},  {OP_TANH, FORM_TANH}, {OP_ADD, FORM_ADD},   {OP_SUB, FORM_SUB},
                {OP_MUL, FORM_MUL},    {OP_DIV, FORM_DIV},   {OP_MATMUL, FORM_MATMUL}, {OP_TRANSPOSE, FORM_TURN}, {OP_SUM, FORM_SUM},
                {OP_COLUMNS, FORM_COLUMNS}, {OP_PARAM, FORM_PARAM}, {OP_CONST, FORM_CONST}, {OP_EYE, FORM_EYE}};
    const ctl_node n = a->e->draft->at[id];
    for (size_t k = 0; k < CTL_COUNT(same); k++) {
        if (same[k].from != n.op) continue;
        ctl_form_node node = {.op = same[k].to, .i = {n.i[0], n.i[1]}, .f = n.f};
        if (n.op == OP_EYE) node.i[0] = n.rows, node.i[1] = n.cols;
        for (uint32_t i = 0; i < n.nin; i++)
            if ((node.in[i] = read_value(a, n.in[i])) == NO_FORM) return NO_FORM;
        return push(a, node);
    }
    const char *name = ctl_op_name((ctl_op)n.op);
    return fail(a, n.op == OP_INPUT || n.op == OP_ATTEND || n.op == OP_TAKE ? "it reads more than the left side of one product"
                                                                           : ctl_format(a->e->arena, "it uses `%s`, which is not linear", name));
}

/* What readers of a node see, as finish.c writes it: products replaced, series in place, states as their sums. */
static uint32_t read_new(adapter *a, ctl_node_id id) {
    ctl_elab *e = a->e;
    if (id == a->leaf) return push(a, (ctl_form_node){.op = FORM_X});
    if (replaced_by(e, id) != CTL_NONE) {
        a->touched = true;
        return read_value(a, replaced_by(e, id));
    }
    const ctl_state *s = state_at(e, id);
    if (s && s->raw_of != CTL_NONE) {
        const ctl_state *of = state_at(e, s->raw_of);
        return s->raw_level ? read_value(a, of->series.at[s->raw_level - 1]) : read_sum(a, s->raw_of);
    }
    if (s && s->series.n) {
        a->touched = true;
        return read_value(a, s->series.at[s->series.n - 1]);
    }
    return s ? read_sum(a, id) : read_operation(a, id);
}

static uint32_t read_value(adapter *a, ctl_node_id id) {
    if (a->made[id] != NO_FORM) return a->made[id];
    if (a->depth >= MOST_DEEP) return fail(a, "it reads more than the left side of one product");
    a->depth++;
    uint32_t node = read_new(a, id);
    a->depth--;
    if (node == NO_FORM) return NO_FORM;
    a->made[id] = node;
    CTL_PUSH(a->e->arena, &a->keys, id);
    return node;
}

/* Tries to read `top` as a form over `leaf`. True: a control changed it, and it is linear in the leaf. */
static bool try_form(adapter *a, ctl_node_id top, ctl_node_id leaf) {
    for (size_t k = 0; k < a->keys.n; k++) a->made[a->keys.at[k]] = NO_FORM;
    a->keys.n = a->nodes.n = a->degrees.n = 0;
    a->leaf = leaf, a->touched = false, a->depth = 0, a->why = NULL;
    uint32_t result = read_value(a, top);
    if (result == NO_FORM || !a->touched) return false;
    if (a->degrees.at[result] != 1) {
        fail(a, "it is not linear in what it reads");
        return false;
    }
    if (result + 1 != a->nodes.n) push(a, (ctl_form_node){.op = FORM_SAME, .in = {result, 0}});
    return true;
}

/* ---- sites ---- */
/* The value that reaches the product: states that only pass theirs on are left out. */
static ctl_node_id left_side(const ctl_elab *e, ctl_node_id id) {
    for (;;) {
        const ctl_state *s = state_at(e, id);
        if (!s || s->edges.n != 1 || s->raw_of != CTL_NONE || !state_at(e, s->edges.at[0].node)) return id;
        id = s->edges.at[0].node;
    }
}

/* The state that the product goes into with nothing but row vectors of weights; then, while that state is all that the
 * next one is made of, that one. CTL_NONE: there is none. */
static ctl_node_id state_above(const adapter *a, ctl_node_id product, uint32_t *bias) {
    const ctl_elab *e = a->e;
    ctl_node_id top = a->state_of[product];
    if (top == CTL_NONE) return CTL_NONE;
    const ctl_state *s = state_at(e, top);
    for (size_t k = 0; k < s->edges.n; k++) {
        const ctl_node *n = &e->draft->at[s->edges.at[k].node];
        if (s->edges.at[k].control || s->edges.at[k].node == product) continue;
        if (n->op != OP_PARAM || n->rows != 1 || *bias != CTL_NO_PARAM) return CTL_NONE;
        *bias = (uint32_t)n->i[0];
    }
    for (;;) {
        ctl_node_id next = a->state_of[top];
        if (next == CTL_NONE || a->readers[top] != 1) return top;
        s = state_at(e, next);
        size_t own = 0, added = s->series.n;
        for (size_t k = 0; k < s->edges.n; k++) s->edges.at[k].control ? added++ : own++;
        if (own != 1 || added == 0) return top;
        top = next;
    }
}

static bool keep(adapter *a, const ctl_weight_use *use, ctl_node_id top, uint32_t bias) {
    ctl_elab *e = a->e;
    ctl_node_id right = use->right, weight = e->draft->at[right].op == OP_TRANSPOSE ? e->draft->at[right].in[0] : right;
    const ctl_state *s = state_at(e, top);
    ctl_form form = {.weight = (uint32_t)e->draft->at[weight].i[0],
                     .bias = bias,
                     .turned = weight != right,
                     .path = s ? s->path : e->draft->params.at[e->draft->at[weight].i[0]].name,
                     .nodes = CTL_NEW_ARRAY(e->arena, ctl_form_node, a->nodes.n),
                     .n = a->nodes.n};
    for (size_t k = 0; k < a->keys.n; k++) a->inside[a->keys.at[k]] = 1;
    memcpy(form.nodes, a->nodes.at, a->nodes.n * sizeof *form.nodes);
    a->site_top[top] = (ctl_node_id)a->sites.n;
    CTL_PUSH(e->arena, &a->sites, (site){top, a->leaf, weight});
    CTL_PUSH(e->arena, &a->forms, form);
    return true;
}

static const char *find_sites(adapter *a) {
    ctl_elab *e = a->e;
    const char *why = NULL;
    for (size_t k = 0; k < e->uses.n; k++) {
        const ctl_weight_use *use = &e->uses.at[k];
        ctl_node_id right = use->right;
        if (a->inside[use->product]) continue;
        if (e->draft->at[right].op == OP_TRANSPOSE) right = e->draft->at[right].in[0];
        if (e->draft->at[right].op != OP_PARAM || e->draft->params.at[e->draft->at[right].i[0]].made_by_control) continue;
        uint32_t bias = CTL_NO_PARAM;
        ctl_node_id top = state_above(a, use->product, &bias);
        bool found = top != CTL_NONE && try_form(a, top, left_side(e, use->left)) && keep(a, use, top, bias);
        if (!found && a->why && a->touched && !why) why = a->why;
        if (found || replaced_by(e, use->product) == CTL_NONE) continue;
        found = try_form(a, use->product, use->left) && keep(a, use, use->product, CTL_NO_PARAM);
        if (!found && a->why && !why) why = a->why;
    }
    return why;
}

/* ---- what is in no form ---- */
typedef struct walk {
    adapter *a;
    uint8_t *seen;
    CTL_VEC(ctl_node_id) stack;
    const char *apart;
    ctl_node_id at; /* where: the first in the network is told */
} walk;

static void apart(walk *w, ctl_node_id id, const char *fmt, const char *path, const char *why) {
    if (w->apart && id >= w->at) return;
    w->at = id;
    const char *reason = why ? ctl_format(w->a->e->arena, ": %s", why) : "";
    w->apart = ctl_format(w->a->e->arena, fmt, path, reason);
}

static void visit(walk *w, ctl_node_id id, const char *why) {
    adapter *a = w->a;
    ctl_elab *e = a->e;
    ctl_arena *arena = e->arena;
    if (a->site_top[id] != CTL_NONE) {
        CTL_PUSH(arena, &w->stack, a->sites.at[a->site_top[id]].leaf);
        return;
    }
    const ctl_node *n = &e->draft->at[id];
    if (replaced_by(e, id) != CTL_NONE) {
        ctl_node_id right = n->in[1];
        if (e->draft->at[right].op == OP_TRANSPOSE) right = e->draft->at[right].in[0];
        apart(w, id, "it stands in the place of the product with `%s`%s", e->draft->at[right].path, why);
        return;
    }
    const ctl_state *s = state_at(e, id);
    if (s && s->series.n) apart(w, id, "it stands in series behind `%s`%s", s->path, why);
    for (size_t k = 0; s && k < s->edges.n; k++) {
        if (s->edges.at[k].control) apart(w, id, "its edge into `%s` stands beside more than one product with a weight%s", s->path, NULL);
        CTL_PUSH(arena, &w->stack, s->edges.at[k].node);
    }
    for (uint32_t k = 0; !s && k < n->nin; k++) CTL_PUSH(arena, &w->stack, n->in[k]);
    if (n->op == OP_PARAM) {
        for (size_t k = 0; k < a->sites.n; k++)
            if (a->sites.at[k].weight == id) a->forms.at[k].shared = true;
        if (e->draft->params.at[n->i[0]].made_by_control)
            apart(w, id, "its weight `%s` is in no product of its own%s", e->draft->params.at[n->i[0]].name, NULL);
    }
}

static const char *find_apart(adapter *a, const ctl_instance *root, const char *why) {
    ctl_elab *e = a->e;
    walk w = {.a = a, .seen = CTL_NEW_ARRAY(e->arena, uint8_t, e->draft->n)};
    for (size_t k = 0; k < root->net->noutputs; k++) {
        const ctl_entity *entity = ctl_entity_child(root->entity, root->net->outputs[k].name);
        if (entity && entity->value.kind == VALUE_NODE) CTL_PUSH(e->arena, &w.stack, entity->value.node);
    }
    while (w.stack.n) {
        ctl_node_id id = w.stack.at[--w.stack.n];
        if (w.seen[id]++) continue;
        visit(&w, id, why);
    }
    /* A weight that two products share has two forms. */
    for (size_t i = 0; i < a->forms.n; i++)
        for (size_t k = 0; k < i; k++)
            if (a->forms.at[i].weight == a->forms.at[k].weight) a->forms.at[i].shared = a->forms.at[k].shared = true;
    return w.apart;
}

/* ---- the edges, for adapters' files ---- */
typedef CTL_VEC(ctl_change) change_list;

static void read_section(ctl_elab *e, const ctl_section *section, change_list *out) {
    for (size_t i = 0; i < section->items.n; i++) {
        const ctl_network_item *item = &section->items.at[i];
        if (item->section) read_section(e, item->section, out);
        for (size_t k = 0; k < item->links.n; k++) {
            const ctl_link *link = &item->links.at[k];
            if (link->kind != LINK_NEW && link->kind != LINK_SERIES && link->kind != LINK_REPLACED) continue;
            ctl_change c = {.kind = link->kind == LINK_NEW      ? CHANGE_EDGE
                                    : link->kind == LINK_SERIES ? CHANGE_SERIES
                                                                : CHANGE_PRODUCT,
                            .to = item->path,
                            .text = link->text,
                            .from = link->sources.at,
                            .nfrom = link->sources.n,
                            .weights = CTL_NEW_ARRAY(e->arena, const char *, link->weights.n),
                            .nweights = link->weights.n};
            for (size_t w = 0; w < link->weights.n; w++) c.weights[w] = link->weights.at[w].path;
            CTL_PUSH(e->arena, out, c);
        }
    }
}

ctl_adaptation *ctl_adapt_read(ctl_elab *e, ctl_instance *root, const ctl_network *network) {
    ctl_arena *arena = e->arena;
    ctl_graph *g = e->draft;
    adapter a = {.e = e};
    a.state_of = CTL_NEW_ARRAY(arena, ctl_node_id, g->n), a.site_top = CTL_NEW_ARRAY(arena, ctl_node_id, g->n);
    a.inside = CTL_NEW_ARRAY(arena, uint8_t, g->n);
    a.readers = CTL_NEW_ARRAY(arena, uint32_t, g->n), a.made = CTL_NEW_ARRAY(arena, uint32_t, g->n);
    for (size_t k = 0; k < g->n; k++) a.state_of[k] = a.site_top[k] = CTL_NONE, a.made[k] = NO_FORM;
    for (size_t k = 0; k < g->n; k++) {
        const ctl_state *s = state_at(e, (ctl_node_id)k);
        for (uint32_t i = 0; !s && i < g->at[k].nin; i++) a.readers[g->at[k].in[i]]++;
        for (size_t i = 0; s && i < s->edges.n; i++) {
            a.readers[s->edges.at[i].node]++;
            if (!s->edges.at[i].control) a.state_of[s->edges.at[i].node] = (ctl_node_id)k;
        }
    }
    const char *why = find_sites(&a);
    ctl_adaptation *out = CTL_NEW(arena, ctl_adaptation);
    out->apart = find_apart(&a, root, why);
    out->forms = a.forms.at, out->nforms = a.forms.n;
    change_list changes = {0};
    read_section(e, network->root, &changes);
    out->changes = changes.at, out->nchanges = changes.n;
    out->tune = e->options->tune ? e->options->tune : "";
    out->nset = e->options->nset;
    out->set = CTL_NEW_ARRAY(arena, const char *, out->nset);
    for (size_t k = 0; k < out->nset; k++) out->set[k] = e->options->set[k];
    return out;
}
