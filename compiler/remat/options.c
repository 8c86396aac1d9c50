/* options: see options.h. */
#include "compiler/remat/options.h"

#include <stdlib.h>

#include "compiler/remat/cut.h"

enum { MOST_GROUPS = 8 };
static const double THIN = 0.03; /* of a segment's forward time: all so cheap products are one group */

typedef struct chooser {
    ctl_arena *arena;
    const ctl_graph *g;
    const ctl_segments *s;
    size_t segment, n;
    const ctl_node_id *local;
    uint32_t *number_of; /* of each node, UINT32_MAX elsewhere */
    bool *sink;          /* of each local: this segment's backward reads it */
    uint32_t *group;     /* of each local that costs: its group */
    size_t ngroups;
    double *seconds;
    ctl_cut_vertex *at;
    ctl_cut_edge *edges;
    size_t nedges;
} chooser;

static bool is_repeatable_task(const ctl_node *n) {
    return ctl_op_class_of((ctl_op)n->op) == CLASS_PRODUCT || n->op == OP_ATTEND || n->op == OP_MIX;
}

static uint32_t local_of(const chooser *c, ctl_node_id id) {
    return c->s->phase[id] == (int32_t)c->segment ? c->number_of[id] : UINT32_MAX;
}

static void number_locals(chooser *c) {
    const ctl_graph *g = c->g;
    c->number_of = CTL_NEW_ARRAY(c->arena, uint32_t, g->n);
    memset(c->number_of, 0xff, g->n * sizeof *c->number_of);
    for (size_t k = 0; k < c->n; k++) c->number_of[c->local[k]] = (uint32_t)k;
    for (ctl_node_id id = 0; id < g->n; id++) {
        if (!ctl_is_backward(&g->at[id]) || c->s->phase[id] > (int32_t)c->segment) continue;
        for (uint32_t k = 0; k < g->at[id].nin; k++) {
            ctl_node_id from = g->at[id].in[k];
            if (ctl_is_forward(&g->at[from]) && local_of(c, from) != UINT32_MAX) c->sink[c->number_of[from]] = true;
        }
    }
}

/* ---- groups ---- */
/* The product behind sums, casts and scalings, or UINT32_MAX. */
static uint32_t product_behind(const chooser *c, ctl_node_id id) {
    for (uint32_t k; (k = local_of(c, id)) != UINT32_MAX; id = c->g->at[id].in[0]) {
        const ctl_node *n = &c->g->at[id];
        if (is_repeatable_task(n)) return k;
        if (!ctl_is_row_work(n) || n->nin == 0) return UINT32_MAX;
    }
    return UINT32_MAX;
}

static uint32_t find(uint32_t *of, uint32_t k) {
    while (of[k] != k) k = of[k] = of[of[k]];
    return k;
}

/* Products that meet in one sum are computed again together, and so are all thin ones. */
static void make_groups(chooser *c, double all) {
    uint32_t *of = CTL_NEW_ARRAY(c->arena, uint32_t, c->n), thin = UINT32_MAX;
    for (uint32_t k = 0; k < c->n; k++) of[k] = k;
    for (uint32_t k = 0; k < c->n; k++) {
        const ctl_node *n = &c->g->at[c->local[k]];
        if (n->op == OP_ADD) {
            uint32_t a = product_behind(c, n->in[0]), b = product_behind(c, n->in[1]);
            if (a != UINT32_MAX && b != UINT32_MAX) of[find(of, a)] = find(of, b);
        }
        if (!is_repeatable_task(n) || c->seconds[k] > THIN * all) continue;
        if (thin != UINT32_MAX) of[find(of, k)] = find(of, thin);
        thin = k;
    }
    uint32_t *numbered = CTL_NEW_ARRAY(c->arena, uint32_t, c->n);
    memset(numbered, 0xff, c->n * sizeof *numbered);
    for (uint32_t k = 0; k < c->n; k++) {
        if (!is_repeatable_task(&c->g->at[c->local[k]])) continue;
        uint32_t root = find(of, k);
        if (numbered[root] == UINT32_MAX)
            numbered[root] = (uint32_t)(c->ngroups < MOST_GROUPS ? c->ngroups++ : MOST_GROUPS - 1);
        c->group[k] = numbered[root];
    }
}

/* ---- one subset ---- */
static bool may_rebuild(const chooser *c, uint32_t k, uint32_t subset) {
    const ctl_node *n = &c->g->at[c->local[k]];
    if (ctl_is_row_work(n)) return true;
    if (n->op == OP_PART) {
        uint32_t of = local_of(c, n->in[0]);
        return of != UINT32_MAX && is_repeatable_task(&c->g->at[n->in[0]]) && (subset >> c->group[of] & 1);
    }
    return is_repeatable_task(n) && (subset >> c->group[k] & 1);
}

static void cut(chooser *c, uint32_t subset) {
    c->nedges = 0;
    for (uint32_t k = 0; k < c->n; k++) {
        const ctl_node *n = &c->g->at[c->local[k]];
        bool view = n->op == OP_COLUMNS || n->op == OP_SPLIT || n->op == OP_JOIN, rebuild = may_rebuild(c, k, subset);
        c->at[k] = (ctl_cut_vertex){.cost = 64 * ctl_value_bytes(n) + view, .source = !rebuild, .sink = c->sink[k]};
        for (uint32_t j = 0; rebuild && j < n->nin; j++) {
            uint32_t from = local_of(c, n->in[j]);
            if (from != UINT32_MAX) c->edges[c->nedges++] = (ctl_cut_edge){from, k};
        }
    }
    ctl_cut_least(c->arena, c->at, c->n, c->edges, c->nedges);
}

/* Seconds to compute what is marked in `wanted` and everything it is made of, kept values being at hand where
 * `stop_at_kept` says so. Clears nothing else. */
static double closure(const chooser *c, bool *wanted, bool stop_at_kept) {
    double seconds = 0;
    for (size_t k = c->n; k-- > 0;) {
        if (!wanted[k] || (stop_at_kept && c->at[k].kept)) continue;
        seconds += c->seconds[k];
        for (uint32_t j = 0; j < c->g->at[c->local[k]].nin; j++) {
            uint32_t from = local_of(c, c->g->at[c->local[k]].in[j]);
            if (from != UINT32_MAX) wanted[from] = true;
        }
    }
    return seconds;
}

static ctl_keep_option option_of(chooser *c) {
    ctl_keep_option o = {.kept = CTL_NEW_ARRAY(c->arena, uint32_t, c->n)};
    bool *wanted = CTL_NEW_ARRAY(c->arena, bool, c->n);
    for (uint32_t k = 0; k < c->n; k++) {
        if (!c->at[k].kept) continue;
        wanted[k] = true;
        o.kept[o.nkept++] = k;
        o.bytes += ctl_value_bytes(&c->g->at[c->local[k]]);
    }
    o.keep = closure(c, wanted, false);
    memcpy(wanted, c->sink, c->n * sizeof *wanted);
    o.rebuild = closure(c, wanted, true);
    return o;
}

/* ---- all of them ---- */
static int by_time(const void *left, const void *right) {
    const ctl_keep_option *a = left, *b = right;
    if (a->rebuild != b->rebuild) return a->rebuild < b->rebuild ? -1 : 1;
    return a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

/* Ordered by time, each with fewer bytes than those before it. */
static size_t keep_best(ctl_keep_option *all, size_t n) {
    qsort(all, n, sizeof *all, by_time);
    size_t kept = 0;
    for (size_t k = 0; k < n; k++)
        if (kept == 0 || all[k].bytes < all[kept - 1].bytes) all[kept++] = all[k];
    return kept;
}

/* Drops what saves least for its time until few enough are left; the ends stay. */
static size_t thin_out(ctl_keep_option *all, size_t n, size_t most) {
    while (n > most && n > 2) {
        size_t worst = 1;
        double worst_gain = 0;
        for (size_t k = 1; k + 1 < n; k++) {
            /* How far below the line between its neighbours the option lies, in bytes. */
            double share = (all[k].rebuild - all[k - 1].rebuild) / (all[k + 1].rebuild - all[k - 1].rebuild + 1e-30);
            double line = (double)all[k - 1].bytes + share * (double)(all[k + 1].bytes - all[k - 1].bytes);
            double gain = line - (double)all[k].bytes;
            if (k == 1 || gain < worst_gain) worst = k, worst_gain = gain;
        }
        memmove(&all[worst], &all[worst + 1], (n - worst - 1) * sizeof *all);
        n--;
    }
    return n;
}

ctl_keep_options ctl_keep_options_of(ctl_arena *arena, const ctl_segments *s, size_t segment, const ctl_rates *rates,
                                     size_t most) {
    chooser c = {.arena = arena, .g = s->g, .s = s, .segment = segment, .n = s->nlocals[segment], .local = s->locals[segment]};
    ctl_keep_options out = {0};
    size_t nedges = 0;
    c.sink = CTL_NEW_ARRAY(arena, bool, c.n), c.group = CTL_NEW_ARRAY(arena, uint32_t, c.n);
    c.seconds = CTL_NEW_ARRAY(arena, double, c.n), c.at = CTL_NEW_ARRAY(arena, ctl_cut_vertex, c.n);
    for (size_t k = 0; k < c.n; k++) {
        c.seconds[k] = ctl_node_seconds(c.g, c.local[k], rates);
        out.forward += c.seconds[k];
        nedges += c.g->at[c.local[k]].nin;
    }
    c.edges = CTL_NEW_ARRAY(arena, ctl_cut_edge, nedges);
    number_locals(&c);
    make_groups(&c, out.forward);
    size_t subsets = (size_t)1 << c.ngroups;
    out.at = CTL_NEW_ARRAY(arena, ctl_keep_option, subsets);
    for (size_t subset = 0; subset < subsets; subset++) {
        cut(&c, (uint32_t)subset);
        out.at[out.n++] = option_of(&c);
    }
    double base = out.at[0].rebuild; /* row by row work of the option that recomputes nothing else */
    for (size_t k = 0; k < out.n; k++) out.at[k].rebuild = out.at[k].rebuild > base ? out.at[k].rebuild - base : 0;
    out.n = thin_out(out.at, keep_best(out.at, out.n), most);
    return out;
}
