/* network: see network.h. First the tree of names says which states there are; then a walk back from each of their
 * edges, to the nearest of those states, says what the edge reads and through which weights it goes. */
#include "compiler/elaborate/network.h"

#include <stdlib.h>

#include "compiler/elaborate/internal.h"

typedef struct visible { /* a state of the network, on its way */
    ctl_section *section;
    size_t item;
    ctl_node_id node;
} visible;

typedef struct job { /* a link still to be walked */
    size_t link;
    ctl_node_id from;
} job;

typedef struct reader {
    ctl_elab *e;
    const char **name; /* by node: the path of a state that is drawn, else NULL */
    uint32_t *seen;    /* by node: the last walk that met it */
    uint32_t walk;
    CTL_VEC(visible) states;
    CTL_VEC(ctl_node_id) stack;
    CTL_VEC(job) jobs;
} reader;

/* ---- names ---- */
static const char *net_name(const ctl_elab *e, const ctl_instance *i) {
    if (i->module == e->module || strcmp(i->module->name, "nn") == 0) return i->net->name;
    return ctl_format(e->arena, "%s.%s", i->module->name, i->net->name);
}

static bool is_input(const ctl_instance *instance, const char *name) {
    for (size_t k = 0; k < instance->net->ninputs; k++)
        if (strcmp(instance->net->inputs[k].name, name) == 0) return true;
    return false;
}

static ctl_network_item item_of(const ctl_entity *entity) {
    ctl_network_item item = {.path = entity->path, .index = -1};
    if (entity->name[0] == '[') item.family = entity->parent->path, item.index = strtoll(entity->name + 1, NULL, 10);
    return item;
}

/* The states and sections below entity; `at` is the instance whose names these are, `open` whether it is a section. */
static void collect(reader *r, const ctl_entity *entity, const ctl_instance *at, bool open, ctl_section *section) {
    ctl_arena *arena = r->e->arena;
    for (size_t k = 0; k < entity->order.n; k++) {
        const ctl_entity *child = entity->order.at[k];
        if (child->kind == ENTITY_INSTANCE && child->instance) {
            if (child->instance->by_control) continue;
            if (child->name[0] != '[') {
                collect(r, child, child->instance, false, section);
                continue;
            }
            ctl_network_item item = item_of(child);
            item.section = CTL_NEW(arena, ctl_section);
            item.section->path = child->path, item.section->net = net_name(r->e, child->instance);
            collect(r, child, child->instance, true, item.section);
            CTL_PUSH(arena, &section->items, item);
            continue;
        }
        ctl_node_id node = child->value.node;
        if (child->kind == ENTITY_STATE && child->value.kind == VALUE_NODE && r->e->states.at[node]) {
            const ctl_state *s = r->e->states.at[node];
            bool passes = s->edges.n == 1 && s->series.n == 0 && entity == at->entity && is_input(at, child->name);
            if (open || !passes) {
                CTL_PUSH(arena, &r->states, (visible){section, section->items.n, node});
                CTL_PUSH(arena, &section->items, item_of(child));
                r->name[node] = child->path;
            }
        }
        collect(r, child, at, open, section);
    }
}

/* ---- edges ---- */
static void read_node(reader *r, ctl_network_item *item, size_t link, ctl_node_id id) {
    ctl_elab *e = r->e;
    if (r->seen[id] == r->walk) return;
    r->seen[id] = r->walk;
    const ctl_node *n = &e->draft->at[id];
    const ctl_state *s = id < e->states.n ? e->states.at[id] : NULL;
    ctl_link *to = &item->links.at[link];
    if (s && s->raw_of != CTL_NONE) {
        const ctl_state *of = e->states.at[s->raw_of];
        if (r->name[s->raw_of]) { /* what stands in series reads its own state: that goes without saying */
            if (r->name[s->raw_of] != item->path) CTL_PUSH(e->arena, &to->sources, r->name[s->raw_of]);
        } else if (s->raw_level) CTL_PUSH(e->arena, &r->stack, of->series.at[s->raw_level - 1]);
        else for (size_t k = of->edges.n; k-- > 0;) CTL_PUSH(e->arena, &r->stack, of->edges.at[k].node);
        return;
    }
    if (r->name[id]) {
        CTL_PUSH(e->arena, &to->sources, r->name[id]);
        return;
    }
    if (s && s->series.n) {
        CTL_PUSH(e->arena, &r->stack, s->series.at[s->series.n - 1]);
        return;
    }
    if (n->op == OP_PARAM) {
        const ctl_param *p = &e->draft->params.at[n->i[0]];
        if (to->kind == LINK_REPLACED && !p->made_by_control) return; /* the edge before has it */
        CTL_PUSH(e->arena, &to->weights, (ctl_link_weight){p->name, p->rows, p->cols, p->trained});
    }
    if (n->op == OP_INPUT)
        CTL_PUSH(e->arena, &to->sources, ctl_format(e->arena, "data:%s", e->draft->inputs.at[n->i[0]].name));
    if (id < e->replaced.n && e->replaced.at[id] != CTL_NONE)
        CTL_PUSH(e->arena, &r->jobs, (job){SIZE_MAX, id}); /* a link of its own; this one goes on as it was */
    if (s) for (size_t k = s->edges.n; k-- > 0;) CTL_PUSH(e->arena, &r->stack, s->edges.at[k].node);
    else for (uint32_t k = n->nin; k-- > 0;) CTL_PUSH(e->arena, &r->stack, n->in[k]);
}

/* The right side of a control's line, on one line of text without comments. */
static const char *right_side(const ctl_elab *e, ctl_span span, const char *arrow) {
    if (span.file >= e->sink->sources.n) return "";
    const ctl_source *source = &e->sink->sources.at[span.file];
    size_t end = span.end < source->size ? span.end : source->size, i = span.begin < end ? span.begin : end;
    for (size_t k = i; k + strlen(arrow) <= end; k++)
        if (memcmp(source->text + k, arrow, strlen(arrow)) == 0) {
            i = k + strlen(arrow);
            break;
        }
    ctl_text text = {.arena = e->arena};
    ctl_text_put(&text, "", 0);
    bool gap = false;
    for (; i < end; i++) {
        char c = source->text[i];
        if (c == '#') {
            while (i + 1 < end && source->text[i + 1] != '\n') i++;
            gap = true;
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') gap = true;
        else {
            if (gap && text.n) ctl_text_put(&text, " ", 1);
            ctl_text_put(&text, &c, 1);
            gap = false;
        }
    }
    return text.at;
}

static ctl_span line_of(const ctl_elab *e, ctl_node_id node) {
    for (size_t k = 0; k < e->lines.n; k++)
        if (e->lines.at[k].node == node) return e->lines.at[k].span;
    return CTL_NO_SPAN;
}

static void read_link(reader *r, ctl_network_item *item, ctl_link_kind kind, const char *text, ctl_node_id from, ctl_span span) {
    ctl_arena *arena = r->e->arena;
    r->jobs.n = 0;
    CTL_PUSH(arena, &item->links, (ctl_link){.kind = kind, .text = text, .span = span});
    CTL_PUSH(arena, &r->jobs, (job){item->links.n - 1, from});
    for (size_t j = 0; j < r->jobs.n; j++) {
        job now = r->jobs.at[j];
        if (now.link == SIZE_MAX) {
            const ctl_span line = line_of(r->e, now.from);
            CTL_PUSH(arena, &item->links, (ctl_link){.kind = LINK_REPLACED, .text = right_side(r->e, line, "~"), .span = line});
            now = (job){item->links.n - 1, r->e->replaced.at[now.from]};
        }
        r->walk++, r->stack.n = 0;
        CTL_PUSH(arena, &r->stack, now.from);
        while (r->stack.n) read_node(r, item, now.link, r->stack.at[--r->stack.n]);
        ctl_link *link = &item->links.at[now.link];
        if (link->kind == LINK_PLAIN && link->weights.n) link->kind = LINK_FROZEN;
        for (size_t w = 0; w < link->weights.n; w++)
            if (link->kind == LINK_FROZEN && link->weights.at[w].trained) link->kind = LINK_TRAINED;
    }
}

static void read_state(reader *r, const visible *v) {
    ctl_network_item *item = &v->section->items.at[v->item];
    const ctl_state *s = r->e->states.at[v->node];
    for (size_t k = 0; k < s->edges.n; k++) {
        ctl_edge edge = s->edges.at[k];
        if (edge.control) read_link(r, item, LINK_NEW, right_side(r->e, edge.span, "<-"), edge.node, edge.span);
        else read_link(r, item, LINK_PLAIN, NULL, edge.node, edge.span);
    }
    for (size_t k = 0; k < s->series.n; k++) {
        const ctl_span line = line_of(r->e, s->series.at[k]);
        read_link(r, item, LINK_SERIES, right_side(r->e, line, "=>"), s->series.at[k], line);
    }
}

ctl_network *ctl_network_read(ctl_elab *e, ctl_instance *root) {
    ctl_network *network = CTL_NEW(e->arena, ctl_network);
    network->model = e->spec->model_name;
    network->root = CTL_NEW(e->arena, ctl_section);
    network->root->path = "", network->root->net = net_name(e, root);
    reader r = {.e = e};
    r.name = CTL_NEW_ARRAY(e->arena, const char *, e->draft->n);
    r.seen = CTL_NEW_ARRAY(e->arena, uint32_t, e->draft->n);
    while (e->states.n < e->draft->n) CTL_PUSH(e->arena, &e->states, NULL);
    collect(&r, root->entity, root, true, network->root);
    for (size_t k = 0; k < r.states.n; k++) read_state(&r, &r.states.at[k]);
    return network;
}
