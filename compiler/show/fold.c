/* fold: see fold.h. Members are compared by what a reader would see: names, kinds of edges, sources, weights. */
#include "compiler/show/fold.h"

#include <stdlib.h>
#include <string.h>

static size_t part_length(const char *path) { return strcspn(path, "."); }

static bool number_of(const char *part, size_t n, long long *out) {
    if (n == 0 || n > 18) return false;
    for (size_t k = 0; k < n; k++)
        if (part[k] < '0' || part[k] > '9') return false;
    *out = strtoll(part, NULL, 10);
    return true;
}

static bool paths_alike(const char *a, const char *b, int64_t step) {
    for (;;) {
        size_t n = part_length(a), m = part_length(b);
        long long i, j;
        bool same = n == m && memcmp(a, b, n) == 0;
        if (!same && !(number_of(a, n, &i) && number_of(b, m, &j) && j - i == step)) return false;
        if (!a[n] || !b[m]) return !a[n] && !b[m];
        a += n + 1, b += m + 1;
    }
}

static bool links_alike(const ctl_link *a, const ctl_link *b, int64_t step) {
    if (a->kind != b->kind || a->sources.n != b->sources.n || a->weights.n != b->weights.n) return false;
    if ((a->text || b->text) && (!a->text || !b->text || strcmp(a->text, b->text) != 0)) return false;
    for (size_t k = 0; k < a->sources.n; k++)
        if (!paths_alike(a->sources.at[k], b->sources.at[k], step)) return false;
    for (size_t k = 0; k < a->weights.n; k++) {
        const ctl_link_weight *v = &a->weights.at[k], *w = &b->weights.at[k];
        if (v->rows != w->rows || v->cols != w->cols || v->trained != w->trained) return false;
        if (!paths_alike(v->path, w->path, step)) return false;
    }
    return true;
}

/* Sections lie in one another as nets do, at most a hundred deep. */
static bool items_alike(const ctl_network_item *a, const ctl_network_item *b, int64_t step) {
    if (!paths_alike(a->path, b->path, step) || a->links.n != b->links.n || !a->section != !b->section) return false;
    for (size_t k = 0; k < a->links.n; k++)
        if (!links_alike(&a->links.at[k], &b->links.at[k], step)) return false;
    if (!a->section) return true;
    if (strcmp(a->section->net, b->section->net) != 0 || a->section->items.n != b->section->items.n) return false;
    for (size_t k = 0; k < a->section->items.n; k++)
        if (!items_alike(&a->section->items.at[k], &b->section->items.at[k], step)) return false;
    return true;
}

static size_t run_length(const ctl_section *section, size_t first) {
    const ctl_network_item *a = &section->items.at[first];
    size_t n = 1;
    while (a->family && first + n < section->items.n) {
        const ctl_network_item *b = &section->items.at[first + n], *before = b - 1;
        /* Like the first and like the one before: then a number that grows grows all along. */
        if (!b->family || strcmp(a->family, b->family) != 0 || b->index != before->index + 1) break;
        if (!items_alike(a, b, b->index - a->index) || !items_alike(before, b, 1)) break;
        n++;
    }
    return n;
}

static size_t height(const ctl_section *section) {
    size_t lines = 0;
    for (size_t k = 0; k < section->items.n; k += run_length(section, k)) {
        const ctl_network_item *item = &section->items.at[k];
        lines += item->links.n + (item->section ? 1 + height(item->section) : 0);
    }
    return lines;
}

/* `layers.0` names `model.layers.0` too. */
static bool names(const char *path, const char *asked) {
    size_t n = strlen(path), m = strlen(asked);
    return m && n >= m && strcmp(path + n - m, asked) == 0 && (n == m || path[n - m - 1] == '.');
}

static bool holds(const ctl_section *section, const char *asked) {
    for (size_t k = 0; k < section->items.n; k++) {
        const ctl_network_item *item = &section->items.at[k];
        if (item->section && (names(item->path, asked) || holds(item->section, asked))) return true;
    }
    return false;
}

ctl_run ctl_run_at(const ctl_section *section, size_t first, const char *unfold) {
    const ctl_network_item *a = &section->items.at[first];
    ctl_run run = {first, run_length(section, first), RUN_NONE_SHOWN};
    if (!a->section) return run;
    for (size_t k = first; k < first + run.n && unfold && run.shown == RUN_NONE_SHOWN; k++) {
        const ctl_network_item *item = &section->items.at[k];
        if (names(item->path, unfold) || holds(item->section, unfold)) run.shown = (ptrdiff_t)k;
    }
    if (run.shown == RUN_NONE_SHOWN && height(a->section) <= MOST_UNFOLDED) run.shown = (ptrdiff_t)first;
    return run;
}

const char *ctl_run_path(ctl_arena *arena, const char *first, const char *last) {
    ctl_text text = {.arena = arena};
    ctl_text_put(&text, "", 0);
    while (*first && *last) {
        size_t n = part_length(first), m = part_length(last);
        ctl_text_add(&text, "%s%.*s", text.n ? "." : "", (int)n, first);
        if (n != m || memcmp(first, last, n) != 0) ctl_text_add(&text, "..%.*s", (int)m, last);
        first += n + (first[n] == '.'), last += m + (last[m] == '.');
    }
    return text.at;
}

static void list(const ctl_section *section, ctl_text *out) {
    for (size_t k = 0; k < section->items.n;) {
        const ctl_network_item *item = &section->items.at[k];
        ctl_run run = ctl_run_at(section, k, "");
        const char *path = ctl_run_path(out->arena, item->path, section->items.at[k + run.n - 1].path);
        if (item->section) ctl_text_add(out, "%s%s", out->n ? ", " : "", path);
        if (item->section) list(item->section, out);
        k += run.n;
    }
}

bool ctl_show_finds(const ctl_network *network, const char *unfold, ctl_text *choices) {
    if (holds(network->root, unfold)) return true;
    list(network->root, choices);
    return false;
}
