/* text: a line an edge, whose first letter says what kind it is. Names are those that a control on the section's net
 * writes; states outside of it have their whole path. */
#include <string.h>

#include "compiler/show/fold.h"

static const char marks[LINK_KINDS] = {'.', '-', '*', '~', '+', '>'};

typedef struct writer {
    ctl_text *out;
    const char *unfold;
    const ctl_sink *sources;
} writer;

/* path as it is called in the section */
static const char *inside(const ctl_section *section, const char *path) {
    size_t n = strlen(section->path);
    return n && strncmp(path, section->path, n) == 0 && path[n] == '.' ? path + n + 1 : path;
}

static void write_weights(writer *w, const ctl_section *section, const ctl_link *a, const ctl_link *z) {
    ctl_text *out = w->out;
    for (size_t k = 0; k < a->weights.n; k++) {
        const ctl_link_weight *v = &a->weights.at[k];
        const char *path = ctl_run_path(out->arena, v->path, z->weights.at[k].path);
        ctl_text_add(out, "%s%s [%lld x %lld]", k ? ", " : " by ", inside(section, path), (long long)v->rows,
                     (long long)v->cols);
        if (a->kind != LINK_FROZEN && !v->trained) ctl_text_add(out, " frozen");
    }
}

/* One edge of a run of states: a is the first member's, z the last one's. */
static void write_link(writer *w, const ctl_section *section, const char *path, const ctl_link *a, const ctl_link *z,
                       int indent) {
    ctl_text *out = w->out;
    static const char *const arrows[LINK_KINDS] = {"<-", "<-", "<-", "~", "<-", "=>"};
    ctl_text_add(out, "%c %*s%s %s", marks[a->kind], indent, "", inside(section, path), arrows[a->kind]);
    if (a->text) ctl_text_add(out, " %s", a->text);
    /* The sources of what stands for a product are those of the line before. */
    for (size_t k = 0; k < a->sources.n && a->kind != LINK_REPLACED; k++) {
        const char *source = ctl_run_path(out->arena, a->sources.at[k], z->sources.at[k]);
        ctl_text_add(out, "%s%s", k ? ", " : a->text ? " from " : " ", inside(section, source));
    }
    write_weights(w, section, a, z);
    if (w->sources && a->span.file < w->sources->sources.n) {
        ctl_diagnostic at = {0};
        ctl_sink_place(w->sources, out->arena, a->span, &at);
        ctl_text_add(out, "  # %s:%d", at.file, at.line);
    }
    ctl_text_put(out, "\n", 1);
}

static void write_section(writer *w, const ctl_section *section, int indent) {
    ctl_text *out = w->out;
    for (size_t k = 0; k < section->items.n;) {
        ctl_run run = ctl_run_at(section, k, w->unfold);
        const ctl_network_item *a = &section->items.at[k], *z = &section->items.at[k + run.n - 1];
        const char *path = ctl_run_path(out->arena, a->path, z->path);
        for (size_t l = 0; l < a->links.n; l++)
            write_link(w, section, path, &a->links.at[l], &z->links.at[l], indent);
        if (a->section) {
            ctl_text_add(out, "  %*s%s: %s", indent, "", inside(section, path), a->section->net);
            if (run.n > 1) ctl_text_add(out, ", %zu alike", run.n);
            if (run.shown == RUN_NONE_SHOWN) ctl_text_add(out, ", folded");
            else if (run.n > 1) ctl_text_add(out, "; %s", inside(section, section->items.at[run.shown].path));
            ctl_text_put(out, "\n", 1);
            if (run.shown != RUN_NONE_SHOWN) write_section(w, section->items.at[run.shown].section, indent + 4);
        }
        k += run.n;
    }
}

void ctl_show_text(const ctl_network *network, const char *unfold, const ctl_sink *sources, ctl_text *out) {
    writer w = {out, unfold, sources};
    ctl_text_add(out, "%s: %s\n", network->model, network->root->net);
    ctl_text_add(out, "marks: . no weights, - frozen weights, * trained weights,\n"
                      "       ~ a control on a weight, + a NEW edge, > in series behind the state\n\n");
    write_section(&w, network->root, 0);
}
