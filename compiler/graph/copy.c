/* copy: writing a new graph from an old one, and leaving out what nothing needs. See graph_copy.h. */
#include "compiler/graph/graph_copy.h"

ctl_graph_copy *ctl_copy_begin(const ctl_graph *in) {
    ctl_arena *arena = in->arena;
    ctl_graph_copy *c = CTL_NEW(arena, ctl_graph_copy);
    c->in = in;
    c->out = ctl_graph_new(arena);
    ctl_graph_spaces_from(c->out, in);
    c->out->classes = in->classes;
    c->out->drop_sites = in->drop_sites;
    c->out->misfit = in->misfit;
    c->map = CTL_NEW_ARRAY(arena, ctl_node_id, in->n);
    for (size_t id = 0; id < in->n; id++) c->map[id] = CTL_NONE;
    for (size_t k = 0; k < in->params.n; k++) CTL_PUSH(arena, &c->out->params, in->params.at[k]);
    for (size_t k = 0; k < in->inputs.n; k++) CTL_PUSH(arena, &c->out->inputs, in->inputs.at[k]);
    for (size_t k = 0; k < in->outputs.n; k++) CTL_PUSH(arena, &c->out->outputs, in->outputs.at[k]);
    return c;
}

ctl_node_id ctl_copy_changed(ctl_graph_copy *c, ctl_node_id id, const ctl_node *changed) {
    ctl_graph *g = c->out;
    const ctl_node *old = &c->in->at[id];
    ctl_entry before = g->entry;
    const char *why;
    g->entry = (ctl_entry)old->entry;
    ctl_node_id made = ctl_graph_add(g, changed, &why);
    g->entry = before;
    if (made == CTL_NONE && !g->misfit) g->misfit = why;
    return c->map[id] = made;
}

ctl_node_id ctl_copy_node(ctl_graph_copy *c, ctl_node_id id) {
    ctl_node node = c->in->at[id];
    node.in = CTL_NEW_ARRAY(c->out->arena, ctl_node_id, node.nin);
    for (uint32_t k = 0; k < node.nin; k++) node.in[k] = c->map[c->in->at[id].in[k]];
    return ctl_copy_changed(c, id, &node);
}

static ctl_node_id mapped(const ctl_graph_copy *c, ctl_node_id id) {
    return id < c->in->n ? c->map[id] : CTL_NONE;
}

ctl_graph *ctl_copy_end(ctl_graph_copy *c) {
    ctl_graph *g = c->out;
    for (size_t k = 0; k < g->params.n; k++) {
        ctl_param *p = &g->params.at[k];
        p->node = CTL_NONE;
        p->grad = mapped(c, p->grad);
        if (p->init == INIT_VALUE) p->init_node = mapped(c, p->init_node);
    }
    for (size_t k = 0; k < g->inputs.n; k++) {
        g->inputs.at[k].node = CTL_NONE;
        g->inputs.at[k].grad = mapped(c, g->inputs.at[k].grad);
    }
    for (size_t k = 0; k < g->outputs.n; k++) {
        g->outputs.at[k].node = mapped(c, g->outputs.at[k].node);
        g->outputs.at[k].evaluate = mapped(c, g->outputs.at[k].evaluate);
    }
    g->loss = mapped(c, c->in->loss);
    for (size_t id = 0; id < g->n; id++) {
        const ctl_node *n = &g->at[id];
        if (n->op == OP_PARAM) g->params.at[n->i[0]].node = (ctl_node_id)id;
        if (n->op == OP_INPUT) g->inputs.at[n->i[0]].node = (ctl_node_id)id;
    }
    return g;
}

static void mark(const ctl_graph *g, bool *live, ctl_node_id id) {
    if (id < g->n) live[id] = true;
}

bool *ctl_graph_live(const ctl_graph *g, ctl_arena *arena) {
    bool *live = CTL_NEW_ARRAY(arena, bool, g->n);
    mark(g, live, g->loss);
    for (size_t k = 0; k < g->params.n; k++) {
        mark(g, live, g->params.at[k].grad);
        if (g->params.at[k].init == INIT_VALUE) mark(g, live, g->params.at[k].init_node);
    }
    for (size_t k = 0; k < g->inputs.n; k++) mark(g, live, g->inputs.at[k].grad);
    for (size_t k = 0; k < g->outputs.n; k++) {
        mark(g, live, g->outputs.at[k].node);
        mark(g, live, g->outputs.at[k].evaluate);
    }
    for (size_t id = g->n; id-- > 0;)
        if (live[id])
            for (uint32_t k = 0; k < g->at[id].nin; k++) live[g->at[id].in[k]] = true;
    return live;
}

ctl_graph *ctl_graph_sweep(const ctl_graph *g) {
    ctl_graph_copy *c = ctl_copy_begin(g);
    bool *live = ctl_graph_live(g, g->arena);
    for (size_t id = 0; id < g->n; id++)
        if (live[id]) ctl_copy_node(c, (ctl_node_id)id);
    return ctl_copy_end(c);
}
