/* planner: from a graph to tables that answer every budget. See remat.h.
 *
 * What a segment's option takes is measured, not modelled: a few graphs are lowered in which segments of one class
 * have different options, and the lives of their buffers tell the bytes. A long chain of equal blocks needs few such
 * probes, since each block tries another option. */
#include "compiler/remat/apply.h"
#include "compiler/remat/measure.h"
#include "compiler/remat/remat.h"

#include "compiler/graph/graph_copy.h"

#include <time.h>

enum { MOST_OPTIONS = 14, MOST_PROBED_NODES = 20000, FEWEST_PROBES = 3, FINE_SHARE = 8 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void solve(ctl_arena *arena, ctl_planner *p) {
    size_t n = p->segments->n - p->segments->first;
    double begin = now();
    p->solved = ctl_chain_solve(arena, p->chain, n, 0);
    p->fine = ctl_chain_solve(arena, p->chain, n, ctl_chain_most(p->solved) / FINE_SHARE);
    p->solve_seconds = now() - begin;
}

ctl_graph *ctl_graph_divided(const ctl_graph *g, int64_t by) {
    ctl_graph_copy *c = ctl_copy_begin(g);
    for (int space = SPACE_NONE + 1; space < SPACE_COUNT; space++) c->out->rows_of[space] /= by;
    for (ctl_node_id id = 0; id < g->n; id++) ctl_copy_node(c, id);
    return ctl_copy_end(c);
}

typedef struct prober {
    ctl_arena *arena;
    ctl_planner *p;
    const ctl_segments *s;
    const ctl_lower_options *lower;
    ctl_keep_options *options; /* by class */
    size_t *members;           /* by class: how many segments backward visits */
    size_t *rank;              /* by segment: its number among those of its class */
    ctl_segment_bytes **bytes; /* by class, by option */
    bool **known;
    const char *why;
} prober;

static size_t probes_needed(const prober *r) {
    size_t most = 1;
    for (size_t c = 0; c < r->s->nclasses; c++)
        if (r->members[c] && (r->options[c].n + r->members[c] - 1) / r->members[c] > most)
            most = (r->options[c].n + r->members[c] - 1) / r->members[c];
    return most;
}

static void find_options(prober *r, const ctl_rates *rates) {
    const ctl_segments *s = r->s;
    r->options = CTL_NEW_ARRAY(r->arena, ctl_keep_options, s->nclasses);
    r->members = CTL_NEW_ARRAY(r->arena, size_t, s->nclasses), r->rank = CTL_NEW_ARRAY(r->arena, size_t, s->n);
    r->bytes = CTL_NEW_ARRAY(r->arena, ctl_segment_bytes *, s->nclasses);
    r->known = CTL_NEW_ARRAY(r->arena, bool *, s->nclasses);
    for (size_t k = s->first; k < s->n; k++) r->rank[k] = r->members[s->class_of[k]]++;
    size_t most = MOST_PROBED_NODES / (s->g->n + 1);
    if (most < FEWEST_PROBES) most = FEWEST_PROBES;
    for (size_t k = s->first; k < s->n; k++) {
        uint32_t c = s->class_of[k];
        if (r->options[c].n) continue;
        size_t of_class = most * r->members[c];
        r->options[c] = ctl_keep_options_of(r->arena, s, k, rates, of_class < MOST_OPTIONS ? of_class : MOST_OPTIONS);
        r->bytes[c] = CTL_NEW_ARRAY(r->arena, ctl_segment_bytes, r->options[c].n);
        r->known[c] = CTL_NEW_ARRAY(r->arena, bool, r->options[c].n);
    }
}

/* Which option segment k tries in a probe. */
static size_t tried(const prober *r, size_t k, size_t probe) {
    uint32_t c = r->s->class_of[k];
    return (r->rank[k] + probe * r->members[c]) % r->options[c].n;
}

static bool probe(prober *r, size_t number) {
    const ctl_segments *s = r->s;
    bool *kept = CTL_NEW_ARRAY(r->arena, bool, s->g->n);
    for (size_t k = s->first; k < s->n; k++) {
        const ctl_keep_option *o = &r->options[s->class_of[k]].at[tried(r, k, number)];
        for (size_t j = 0; j < s->before[k].n; j++) kept[s->before[k].at[j]] = true;
        for (size_t j = 0; j < o->nkept; j++) kept[s->locals[k][o->kept[j]]] = true;
    }
    ctl_keep_plan plan = ctl_keep_plain(r->arena, s, kept);
    ctl_lives lives;
    if (ctl_lower_lives(r->arena, ctl_keep_apply(s->g, &plan, false), r->lower, &lives, &r->why) != CTL_OK) return false;
    ctl_segment_bytes *all = CTL_NEW_ARRAY(r->arena, ctl_segment_bytes, s->n);
    ctl_measure_segments(r->arena, s, &lives, all);
    for (size_t k = s->first; k < s->n; k++) {
        uint32_t c = s->class_of[k];
        size_t o = tried(r, k, number);
        ctl_segment_bytes *to = &r->bytes[c][o];
        /* Of several segments of a class the largest counts: neighbours and fusion make small differences. */
#define LARGER(what) to->what = all[k].what > to->what ? all[k].what : to->what
        LARGER(input), LARGER(own), LARGER(saved), LARGER(forward_peak), LARGER(backward_peak), LARGER(gradient);
#undef LARGER
        r->known[c][o] = true;
    }
    if (number == 0) r->p->fixed = ctl_bytes_outside_step(&lives);
    return true;
}

static void fill_chain(prober *r) {
    const ctl_segments *s = r->s;
    ctl_planner *p = r->p;
    size_t n = s->n - s->first;
    p->chain = CTL_NEW_ARRAY(r->arena, ctl_chain_segment, n);
    for (size_t k = s->first; k < s->n; k++) {
        uint32_t c = s->class_of[k];
        const ctl_keep_options *all = &r->options[c];
        ctl_chain_segment *to = &p->chain[k - s->first];
        ctl_chain_option *options = CTL_NEW_ARRAY(r->arena, ctl_chain_option, all->n);
        *to = (ctl_chain_segment){.class_of = c, .forward = all->forward, .options = options};
        int64_t plain = INT64_MAX;
        for (size_t o = 0; o < all->n; o++) {
            const ctl_segment_bytes *b = &r->bytes[c][o];
            if (!r->known[c][o]) continue;
            options[to->noptions++] = (ctl_chain_option){.saved = b->saved, .forward_peak = b->forward_peak,
                                                         .backward_peak = b->backward_peak, .rebuild = all->at[o].rebuild,
                                                         .keep = all->at[o].keep, .name = (int32_t)o};
            if (b->input > to->input) to->input = b->input;
            if (b->own > to->own) to->own = b->own;
            if (b->gradient > to->gradient) to->gradient = b->gradient;
            if (b->forward_peak < plain) plain = b->forward_peak;
        }
        to->plain_peak = plain;
    }
    solve(r->arena, p);
}

const ctl_planner *ctl_planner_make(ctl_arena *arena, const ctl_graph *g, const ctl_lower_options *lower,
                                    const ctl_rates *rates, const char **why) {
    ctl_planner *p = CTL_NEW(arena, ctl_planner);
    *p = (ctl_planner){.g = g, .segments = ctl_segments_find(arena, g), .is_chain = true};
    prober r = {.arena = arena, .p = p, .s = p->segments, .lower = lower};
    for (ctl_node_id id = 0; id < g->n; id++)
        if (ctl_is_forward(&g->at[id]) || ctl_is_backward(&g->at[id])) p->seconds += ctl_node_seconds(g, id, rates);
    for (size_t k = r.s->first + 1; k < r.s->n; k++) p->is_chain = p->is_chain && r.s->before[k].n == 1;
    find_options(&r, rates);
    p->options = r.options;
    for (size_t k = 0, n = probes_needed(&r); k < n; k++)
        if (!probe(&r, k)) {
            *why = r.why;
            return NULL;
        }
    if (r.s->first < r.s->n) fill_chain(&r);
    return p;
}

ctl_graph *ctl_planner_graph(ctl_arena *arena, const ctl_planner *p, int64_t step_bytes, double *extra) {
    const ctl_segments *s = p->segments;
    bool *kept = CTL_NEW_ARRAY(arena, bool, s->g->n);
    ctl_chain_plan plan;
    *extra = 0;
    if (!p->solved) {
        ctl_keep_plan plain = ctl_keep_plain(arena, s, kept);
        return ctl_keep_apply(s->g, &plain, true);
    }
    const ctl_chain *table = step_bytes <= ctl_chain_most(p->solved) / FINE_SHARE ? p->fine : p->solved;
    if (!ctl_chain_plan_for(table, arena, step_bytes, &plan)) return NULL;
    *extra = plan.extra;
    for (size_t k = 0; k < plan.nsteps; k++) {
        ctl_chain_step *step = &plan.steps[k];
        if (step->option != CHAIN_NONE) step->option = p->chain[step->segment].options[step->option].name;
        step->segment += (uint32_t)s->first;
    }
    for (size_t k = s->first; k < s->n; k++) {
        int32_t option = plan.option[k - s->first];
        for (size_t j = 0; plan.keep_input[k - s->first] && j < s->before[k].n; j++) kept[s->before[k].at[j]] = true;
        if (option == CHAIN_NONE) continue;
        const ctl_keep_option *o = &p->options[s->class_of[k]].at[p->chain[k - s->first].options[option].name];
        for (size_t j = 0; j < o->nkept; j++) kept[s->locals[k][o->kept[j]]] = true;
    }
    ctl_keep_plan keep = {s, kept, p->options, plan.steps, plan.nsteps};
    return ctl_keep_apply(s->g, &keep, true);
}
