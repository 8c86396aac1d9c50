/* finish: from the draft to the graph. A depth-first walk from the outputs writes every value that is needed after its
 * inputs: states as the sum of their edges in textual order, readers of a state redirected to what stands in series
 * behind it, products to what `~` put in their place. A value met again while it is being written is a cycle. */
#include "compiler/elaborate/internal.h"

typedef struct frame {
    ctl_node_id node; /* of the draft */
    uint32_t next;    /* dependencies done */
} frame;

typedef struct finisher {
    ctl_elab *e;
    ctl_graph *out;
    ctl_node_id *map; /* draft -> out; CTL_NONE: not yet */
    uint8_t *open;    /* on the stack */
    CTL_VEC(frame) stack;
} finisher;

static const ctl_state *state_of(const ctl_elab *e, ctl_node_id id) { return id < e->states.n ? e->states.at[id] : NULL; }

/* Nodes are of three kinds here: what readers of id see (a key id), and for a state with a series, the sum itself,
 * which only the series' proxies see. The sum's key is n + id. */
static ctl_node_id key_of_read(const finisher *f, ctl_node_id id) {
    for (;;) { /* a product may be replaced more than once */
        if (id < f->e->replaced.n && f->e->replaced.at[id] != CTL_NONE) {
            id = f->e->replaced.at[id];
            continue;
        }
        const ctl_state *s = state_of(f->e, id);
        if (s && s->raw_of != CTL_NONE) {
            const ctl_state *of = state_of(f->e, s->raw_of);
            if (s->raw_level == 0) return (ctl_node_id)f->e->draft->n + s->raw_of;
            id = of->series.at[s->raw_level - 1];
            continue;
        }
        if (s && s->series.n) {
            id = s->series.at[s->series.n - 1];
            continue;
        }
        return id;
    }
}

static ctl_node_id base_of(const finisher *f, ctl_node_id key) {
    return key >= f->e->draft->n ? key - (ctl_node_id)f->e->draft->n : key;
}

static uint32_t dependencies(const finisher *f, ctl_node_id key) {
    ctl_node_id id = base_of(f, key);
    const ctl_state *s = state_of(f->e, id);
    return s ? (uint32_t)s->edges.n : f->e->draft->at[id].nin;
}

static ctl_node_id dependency(const finisher *f, ctl_node_id key, uint32_t k) {
    ctl_node_id id = base_of(f, key);
    const ctl_state *s = state_of(f->e, id);
    return key_of_read(f, s ? s->edges.at[k].node : f->e->draft->at[id].in[k]);
}

static ctl_node_id add(finisher *f, const ctl_node *node) {
    const char *why = "";
    ctl_node_id id = ctl_graph_add(f->out, node, &why);
    if (id == CTL_NONE && f->e->sink->errors == 0) ctl_error(f->e->sink, CTL_E0301, node->span, NULL, "%s", why);
    return id;
}

static void write_node(finisher *f, ctl_node_id key) {
    ctl_node_id id = base_of(f, key);
    ctl_node node = f->e->draft->at[id];
    uint32_t n = dependencies(f, key);
    ctl_node_id *in = CTL_NEW_ARRAY(f->e->arena, ctl_node_id, n);
    for (uint32_t k = 0; k < n; k++) {
        in[k] = f->map[dependency(f, key, k)];
        if (in[k] == CTL_NONE) return;
    }
    const ctl_state *s = state_of(f->e, id);
    if (s) {
        ctl_node_id sum = in[0];
        for (uint32_t k = 1; k < n && sum != CTL_NONE; k++) {
            ctl_node_id pair[] = {sum, in[k]};
            sum = add(f, &(ctl_node){.op = OP_ADD, .nin = 2, .in = pair, .split = 1, .span = s->edges.at[k].span,
                                         .user = s->edges.at[k].user, .path = node.path});
        }
        if (sum == CTL_NONE) return;
        f->map[key] = add(f, &(ctl_node){.op = OP_STATE, .nin = 1, .in = &sum, .split = 1, .span = node.span, .user = node.user,
                                          .path = s->path});
        return;
    }
    if (node.op == OP_PARAM) f->out->params.at[node.i[0]].node = (ctl_node_id)f->out->n;
    if (node.op == OP_INPUT) f->out->inputs.at[node.i[0]].node = (ctl_node_id)f->out->n;
    node.in = in;
    f->map[key] = add(f, &node);
}

static void report_cycle(finisher *f, ctl_node_id key) {
    ctl_elab *e = f->e;
    size_t from = f->stack.n;
    while (from > 0 && f->stack.at[from - 1].node != key) from--;
    ctl_text path = {.arena = e->arena};
    const char *first = NULL, *last = NULL;
    ctl_span span = e->draft->at[base_of(f, key)].span;
    /* Against the walk: from what is read to who reads it. Ports that stand for the same value are one step. */
    for (size_t k = f->stack.n; k-- > from - 1;) {
        const ctl_state *s = state_of(e, base_of(f, f->stack.at[k].node));
        if (!s || (last && strcmp(last, s->path) == 0)) continue;
        ctl_text_add(&path, "%s%s", last ? " -> " : "", s->path);
        last = s->path;
        if (!first) first = s->path, span = s->edges.at[s->edges.n - 1].span;
    }
    if (first) ctl_text_add(&path, " -> %s", first);
    ctl_error(e->sink, CTL_E0405, span, "an edge goes from an earlier state to a later one", "the states run in a cycle: %s",
              path.at ? path.at : "");
}

static ctl_node_id finish_value(finisher *f, ctl_node_id draft) {
    ctl_node_id root = key_of_read(f, draft);
    if (f->map[root] != CTL_NONE) return f->map[root];
    f->stack.n = 0;
    CTL_PUSH(f->e->arena, &f->stack, (frame){root, 0});
    f->open[root] = 1;
    while (f->stack.n) {
        frame *top = &f->stack.at[f->stack.n - 1];
        if (top->next < dependencies(f, top->node)) {
            ctl_node_id d = dependency(f, top->node, top->next++);
            if (f->map[d] != CTL_NONE) continue;
            if (f->open[d]) {
                report_cycle(f, d);
                return CTL_NONE;
            }
            f->open[d] = 1;
            CTL_PUSH(f->e->arena, &f->stack, (frame){d, 0});
            continue;
        }
        ctl_node_id key = top->node;
        f->stack.n--;
        write_node(f, key);
        f->open[key] = 0;
        if (f->map[key] == CTL_NONE) return CTL_NONE;
    }
    return f->map[root];
}

static bool wanted(const ctl_elab *e, const char *name, bool has_loss) {
    if (!has_loss || strcmp(name, "loss") == 0) return true;
    for (size_t k = 0; k < e->options->noutputs; k++)
        if (strcmp(e->options->outputs[k], name) == 0) return true;
    return false;
}

ctl_graph *ctl_finish(ctl_elab *e, ctl_instance *root) {
    ctl_graph *draft = e->draft, *out = ctl_graph_new(e->arena);
    ctl_graph_spaces_from(out, draft);
    out->drop_sites = draft->drop_sites;
    for (size_t k = 0; k < draft->params.n; k++) {
        ctl_param p = draft->params.at[k];
        p.node = CTL_NONE; /* one that nothing uses keeps its place in the list: files may hold it */
        CTL_PUSH(e->arena, &out->params, p);
    }
    for (size_t k = 0; k < draft->inputs.n; k++) {
        ctl_input input = draft->inputs.at[k];
        input.node = CTL_NONE;
        CTL_PUSH(e->arena, &out->inputs, input);
    }
    finisher f = {.e = e, .out = out};
    f.map = CTL_NEW_ARRAY(e->arena, ctl_node_id, 2 * draft->n);
    f.open = CTL_NEW_ARRAY(e->arena, uint8_t, 2 * draft->n);
    for (size_t k = 0; k < 2 * draft->n; k++) f.map[k] = CTL_NONE;

    const ctl_decl *net = root->net;
    bool has_loss = false;
    for (size_t k = 0; k < net->noutputs; k++) has_loss |= strcmp(net->outputs[k].name, "loss") == 0;
    out->loss = CTL_NONE;
    for (size_t k = 0; k < net->noutputs; k++) {
        const char *name = net->outputs[k].name;
        if (!wanted(e, name, has_loss)) continue;
        const ctl_entity *entity = ctl_entity_child(root->entity, name);
        if (!entity || entity->value.kind != VALUE_NODE) continue;
        ctl_node_id node = finish_value(&f, entity->value.node);
        if (node == CTL_NONE) return NULL;
        if (strcmp(name, "loss") == 0) {
            if (out->at[node].rows != 1 || out->at[node].cols != 1) {
                ctl_error(e->sink, CTL_E0305, net->outputs[k].span, "reduce it: cross_entropy(logits, labels), mse(y, target)",
                          "the loss must be one number, not [%lld x %lld]", (long long)out->at[node].rows, (long long)out->at[node].cols);
                return NULL;
            }
            out->loss = node;
        }
        CTL_PUSH(e->arena, &out->outputs, (ctl_output){name, node, CTL_NONE});
    }
    for (size_t k = 0; k < e->options->noutputs; k++) {
        bool found = false;
        for (size_t j = 0; j < out->outputs.n; j++) found |= strcmp(out->outputs.at[j].name, e->options->outputs[k]) == 0;
        if (!found) ctl_error(e->sink, CTL_E0210, net->name_span, NULL, "the model has no result `%s`", e->options->outputs[k]);
    }
    for (size_t k = 0; k < out->params.n; k++) {
        ctl_param *p = &out->params.at[k];
        if (p->init != INIT_VALUE) continue;
        p->init_node = finish_value(&f, p->init_node);
        if (p->init_node == CTL_NONE || out->at[p->init_node].rate == RATE_LOAD) continue;
        ctl_error(e->sink, CTL_E0304, p->span, "begin from frozen weights, or from numbers",
                  "`%s` would begin from weights that are themselves trained", p->name);
        return NULL; /* the other instances would say the same */
    }
    return out;
}
