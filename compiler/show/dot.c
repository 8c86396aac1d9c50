/* dot: the network in Graphviz' language. A state is a node, an edge goes from each state that it reads; a section that
 * is unfolded is a box around its states, and the other members of its run are one node. */
#include <string.h>

#include "compiler/show/fold.h"

typedef struct drawer {
    ctl_text *out;
    const char *unfold;
    ctl_map node_of; /* path of a state -> name of the node that it is drawn as */
    ctl_map drawn;   /* edges, so that those of a folded run are drawn once */
    int boxes;
} drawer;

/* Kinds differ by colour, and for paper and for eyes that do not tell the colours by their lines too: thin, middling,
 * thick, dashed, doubled, dotted. A label begins with the mark that the kind has as text. */
static const struct {
    const char *line, *label, *about;
} looks[LINK_KINDS] = {
    [LINK_PLAIN] = {"color=\"gray55\", penwidth=0.8", "", "no weights"},
    [LINK_FROZEN] = {"color=\"black\", penwidth=1.2", "", "frozen weights"},
    [LINK_TRAINED] = {"color=\"darkorange3\", fontcolor=\"darkorange3\", penwidth=3.5", "* ", "the model's own weights, trained"},
    [LINK_REPLACED] = {"color=\"blue\", fontcolor=\"blue\", style=dashed, penwidth=2", "~ ", "a control on a weight"},
    [LINK_NEW] = {"color=\"red:white:red\", fontcolor=\"red\", penwidth=2", "+ ", "a NEW edge"},
    [LINK_SERIES] = {"color=\"purple\", fontcolor=\"purple\", style=dotted, penwidth=2.5", "> ", "in series behind the state"},
};

static void quote(ctl_text *out, const char *text) {
    ctl_text_put(out, "\"", 1);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') ctl_text_put(out, "\\", 1);
        if (*text == '\n') ctl_text_put(out, "\\n", 2);
        else ctl_text_put(out, text, 1);
    }
    ctl_text_put(out, "\"", 1);
}

static void declare(drawer *d, const char *node, const char *label, const char *shape, int indent) {
    ctl_text_add(d->out, "%*s", indent, "");
    quote(d->out, node);
    ctl_text_add(d->out, " [label=");
    quote(d->out, label);
    ctl_text_add(d->out, "%s%s];\n", shape ? ", shape=" : "", shape ? shape : "");
}

static const char *inside(const ctl_section *section, const char *path) {
    size_t n = strlen(section->path);
    return n && strncmp(path, section->path, n) == 0 && path[n] == '.' ? path + n + 1 : path;
}

/* ---- nodes ---- */
static void point(drawer *d, const ctl_network_item *item, const char *node) {
    if (!item->section) ctl_map_put(&d->node_of, item->path, (void *)node);
    for (size_t k = 0; item->section && k < item->section->items.n; k++)
        point(d, &item->section->items.at[k], node);
}

static void declare_data(drawer *d, const ctl_section *section) {
    for (size_t k = 0; k < section->items.n; k++) {
        const ctl_network_item *item = &section->items.at[k];
        for (size_t l = 0; l < item->links.n; l++)
            for (size_t s = 0; s < item->links.at[l].sources.n; s++) {
                const char *path = item->links.at[l].sources.at[s];
                if (strncmp(path, "data:", 5) != 0 || ctl_map_get(&d->node_of, path)) continue;
                ctl_map_put(&d->node_of, path, (void *)path);
                declare(d, path, path + 5, "plaintext", 4);
            }
        if (item->section) declare_data(d, item->section);
    }
}

/* The members of a run without the one that is shown. */
static const char *rest_of(ctl_arena *arena, const ctl_section *section, const ctl_run *run) {
    size_t first = run->first, last = run->first + run->n - 1, shown = (size_t)run->shown;
    const char *all = ctl_run_path(arena, section->items.at[first].path, section->items.at[last].path);
    if (run->n == 1 || (shown != first && shown != last))
        return ctl_format(arena, "%s but %lld", all, (long long)section->items.at[shown].index);
    first += shown == first, last -= shown == last;
    return first == last ? section->items.at[first].path
                         : ctl_run_path(arena, section->items.at[first].path, section->items.at[last].path);
}

static void declare_states(drawer *d, const ctl_section *section, int indent) {
    ctl_arena *arena = d->out->arena;
    for (size_t k = 0; k < section->items.n;) {
        ctl_run run = ctl_run_at(section, k, d->unfold);
        const ctl_network_item *a = &section->items.at[k];
        const char *path = ctl_run_path(arena, a->path, section->items.at[k + run.n - 1].path);
        const char *label = inside(section, path);
        size_t folded = run.n;
        if (a->section && run.shown != RUN_NONE_SHOWN) {
            const ctl_network_item *shown = &section->items.at[run.shown];
            const char *name = inside(section, shown->path);
            ctl_text_add(d->out, "%*ssubgraph cluster_%d {\n%*slabel=", indent, "", d->boxes++, indent + 4, "");
            quote(d->out, ctl_format(arena, "%s: %s", name, shown->section->net));
            ctl_text_add(d->out, ";\n%*sstyle=\"rounded,filled\";\n%*sfillcolor=\"gray97\";\n", indent + 4, "", indent + 4, "");
            declare_states(d, shown->section, indent + 4);
            ctl_text_add(d->out, "%*s}\n", indent, "");
            label = inside(section, rest_of(arena, section, &run));
            folded--;
        }
        if (a->section) label = ctl_format(arena, "%s\n%s%s", label, a->section->net, folded > 1 ? ", alike" : "");
        if (folded) declare(d, path, label, run.n > 1 || a->section ? "box3d, margin=\"0.15,0.1\"" : NULL, indent);
        for (size_t m = k; m < k + run.n; m++)
            if ((ptrdiff_t)m != run.shown) point(d, &section->items.at[m], path);
        k += run.n;
    }
}

/* ---- edges ---- */
/* A weight's path, short where it belongs to the instance that the state `to` is a result of. */
static const char *beside(const ctl_section *section, const char *to, const char *weight) {
    const char *dot = strrchr(to, '.');
    size_t n = dot ? (size_t)(dot - to) + 1 : 0;
    return n && strncmp(weight, to, n) == 0 && !strchr(weight + n, '.') ? weight + n : inside(section, weight);
}

/* first: of the edges that one link is drawn as; the others say nothing about its weights again. */
static void draw(drawer *d, const ctl_section *section, const ctl_link *link, const char *from, const char *to, bool first) {
    ctl_arena *arena = d->out->arena;
    ctl_text label = {.arena = arena};
    ctl_text_put(&label, "", 0);
    if (link->text) ctl_text_add(&label, "%s%s", looks[link->kind].label, link->text);
    for (size_t k = 0; !link->text && section && first && k < link->weights.n; k++)
        ctl_text_add(&label, "%s%s", k ? "\n" : looks[link->kind].label, beside(section, to, link->weights.at[k].path));
    const char *key = ctl_format(arena, "%s\n%s\n%d\n%s", from, to, (int)link->kind, label.at);
    if (ctl_map_get(&d->drawn, key)) return;
    ctl_map_put(&d->drawn, key, d);
    ctl_text_add(d->out, "    ");
    quote(d->out, from);
    ctl_text_add(d->out, " -> ");
    quote(d->out, to);
    ctl_text_add(d->out, " [%s", looks[link->kind].line);
    if (label.n) { /* Graphviz sets labels close to the line */
        ctl_text_add(d->out, ", label=");
        quote(d->out, ctl_format(arena, "  %s", label.at));
    }
    ctl_text_add(d->out, "];\n");
}

/* Labels of weights stand only where the state is a node of its own: `section` is NULL within what is folded. */
static void draw_item(drawer *d, const ctl_section *section, const ctl_network_item *item) {
    const char *to = ctl_map_get(&d->node_of, item->path);
    for (size_t l = 0; to && l < item->links.n; l++) {
        const ctl_link *link = &item->links.at[l];
        if (link->kind == LINK_SERIES && section) draw(d, section, link, to, to, true);
        bool first = true;
        for (size_t s = 0; s < link->sources.n; s++) {
            const char *from = ctl_map_get(&d->node_of, link->sources.at[s]);
            if (!from || strcmp(from, to) == 0) continue;
            draw(d, section, link, from, to, first);
            first = false;
        }
    }
    for (size_t k = 0; item->section && k < item->section->items.n; k++)
        draw_item(d, NULL, &item->section->items.at[k]);
}

static void draw_edges(drawer *d, const ctl_section *section) {
    for (size_t k = 0; k < section->items.n;) {
        ctl_run run = ctl_run_at(section, k, d->unfold);
        for (size_t m = k; m < k + run.n; m++) {
            const ctl_network_item *item = &section->items.at[m];
            if ((ptrdiff_t)m == run.shown) draw_edges(d, item->section);
            else draw_item(d, run.n == 1 ? section : NULL, item);
        }
        k += run.n;
    }
}

/* A sample of each kind of line, one above the other, beside the picture. */
static void draw_legend(drawer *d) {
    ctl_text_add(d->out, "    subgraph cluster_legend {\n        label=\"edges\";\n        style=\"rounded\";\n"
                         "        color=\"gray70\";\n");
    for (int k = LINK_KINDS; k-- > 0;) { /* the picture grows upwards: the first kind comes last */
        ctl_text_add(d->out, "        \"legend from %d\" [label=\"\", shape=point, width=0.06];\n", k);
        ctl_text_add(d->out, "        \"legend to %d\" [label=\"%s%s\", shape=plaintext];\n", k, looks[k].label, looks[k].about);
        if (k + 1 < LINK_KINDS) ctl_text_add(d->out, "        \"legend to %d\" -> \"legend from %d\" [style=invis];\n", k + 1, k);
        ctl_text_add(d->out, "        \"legend from %d\" -> \"legend to %d\" [%s];\n", k, k, looks[k].line);
    }
    ctl_text_add(d->out, "    }\n");
}

void ctl_show_dot(const ctl_network *network, const char *unfold, ctl_text *out) {
    drawer d = {.out = out, .unfold = unfold, .node_of = {.arena = out->arena}, .drawn = {.arena = out->arena}};
    ctl_text_add(out, "digraph ");
    quote(out, network->model);
    ctl_text_add(out, " {\n    rankdir=BT;\n    ranksep=0.35;\n    nodesep=0.3;\n    fontname=\"Helvetica\";\n"
                      "    labelloc=t;\n    labeljust=l;\n"
                      "    node [shape=ellipse, fontname=\"Helvetica\", fontsize=12, height=0.35, margin=\"0.08,0.03\"];\n"
                      "    edge [fontname=\"Helvetica\", fontsize=10, arrowsize=0.7];\n    label=");
    quote(out, ctl_format(out->arena, "%s: %s", network->model, network->root->net));
    ctl_text_add(out, ";\n");
    draw_legend(&d);
    declare_data(&d, network->root);
    declare_states(&d, network->root, 4);
    draw_edges(&d, network->root);
    ctl_text_add(out, "}\n");
}
