/* chain: the tables. See chain.h.
 *
 * Two kinds of ranges: `last`, from a segment to the end, in which the first forward is under way and costs nothing
 * extra; and `again`, between two segments, run once more from its first input, in which all forward time counts. A row
 * of a table has the least time for every number of units; ranges whose classes are the same one after the
 * other share a row, so a chain of equal blocks has as many rows as it has lengths, times the blocks' period. Choices are
 * not stored: a plan finds them again by comparing times, exactly as they were computed. */
#include "compiler/remat/chain.h"

#include <math.h>

typedef struct row {
    float *time;      /* [units + 1] */
    uint32_t least;   /* fewest units with a finite time; units + 1 when there is none */
    uint32_t first, end; /* the first range with this row */
} row;

enum { MOST_PLACES = 512 };
static const double MOST_WORK = 1.5e8, MOST_NUMBERS = 16e6, MOST_UNITS = 4096, FEWEST_UNITS = 256;

typedef CTL_VEC(ctl_chain_step) steps;

struct ctl_chain {
    ctl_arena *arena;
    const ctl_chain_segment *at;
    size_t n;
    int64_t unit;
    uint32_t units;
    CTL_VEC(row) again;
    uint32_t *row_of; /* again: [first * (n + 1) + end] */
    row *last;        /* [n]: from each segment to the end */
    double *before;   /* n + 1: seconds of forward of the segments before */
};

static uint32_t round_up(const ctl_chain *c, int64_t bytes) { return (uint32_t)((bytes + c->unit - 1) / c->unit); }

static uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }

static void settle(const ctl_chain *c, row *r) {
    r->least = 0;
    while (r->least <= c->units && !isfinite(r->time[r->least])) r->least++;
}

/* ---- the two ways to go on; a plan compares with the same sums ---- */
static const row *again_row(const ctl_chain *c, size_t first, size_t end) {
    return &c->again.at[c->row_of[first * (c->n + 1) + end]];
}

typedef struct way {
    uint32_t peak;      /* units needed at once */
    uint32_t held;      /* units taken from the rest */
    double time;
    const row *rest, *back; /* NULL: none */
} way;

/* What is run again finds gradients of the range's end waiting. */
static int64_t waiting(const ctl_chain *c, size_t end, bool again) { return again ? c->at[end - 1].gradient : 0; }

static way option_way(const ctl_chain *c, size_t first, size_t end, const ctl_chain_option *o, bool again) {
    const ctl_chain_segment *s = &c->at[first];
    uint32_t forward = round_up(c, o->forward_peak + waiting(c, end, again));
    way w = {larger(forward, round_up(c, o->backward_peak)), round_up(c, s->own + o->saved), o->rebuild, NULL, NULL};
    if (first + 1 < end) w.rest = again ? again_row(c, first + 1, end) : &c->last[first + 1];
    if (again) w.time += first + 1 < end ? s->forward : o->keep;
    /* Nothing of a range's last segment is computed before its backward but what is kept. */
    if (again && first + 1 == end && o->keep == 0) w.peak = round_up(c, o->backward_peak);
    return w;
}

/* The places to come back to, with the units that running forward to them takes. */
typedef struct places {
    size_t first, end, place;
    int64_t waiting;
    uint32_t peak;
} places;

static void next_place(const ctl_chain *c, places *p) {
    size_t stride = (p->end - p->first) / MOST_PLACES + 1, to = p->place + (p->place > p->first ? stride : 1);
    for (size_t k = p->place; k < to && k < p->end; k++)
        p->peak = larger(p->peak,
                         round_up(c, c->at[k].plain_peak + p->waiting + (k > p->first ? c->at[p->first].input : 0)));
    p->place = to;
}

static places first_place(const ctl_chain *c, size_t first, size_t end, bool again) {
    places p = {first, end, first, waiting(c, end, again), 0};
    next_place(c, &p);
    return p;
}

static way split_way(const ctl_chain *c, const places *p, bool again) {
    const ctl_chain_segment *s = &c->at[p->first];
    return (way){p->peak, round_up(c, p->place == p->first + 1 ? s->own : s->input),
                 again ? c->before[p->place] - c->before[p->first] : 0, /* the first time is everybody's */
                 again ? again_row(c, p->place, p->end) : &c->last[p->place], again_row(c, p->first, p->place)};
}

static float time_of(const way *w, uint32_t m) {
    if (m < w->peak || m < w->held) return INFINITY;
    float t = (float)w->time;
    if (w->rest) t += w->rest->time[m - w->held];
    if (w->back) t += w->back->time[m];
    return t;
}

/* out[k] = min(out[k], time + rest[k] + back[k]): all the time of solving goes here, so the loops are plain. */
static void take_sum(float *restrict out, float time, const float *restrict rest, const float *restrict back, size_t n) {
    if (rest && back)
        for (size_t k = 0; k < n; k++) {
            float t = time + rest[k] + back[k];
            out[k] = t < out[k] ? t : out[k];
        }
    else if (rest)
        for (size_t k = 0; k < n; k++) {
            float t = time + rest[k];
            out[k] = t < out[k] ? t : out[k];
        }
    else
        for (size_t k = 0; k < n; k++) out[k] = time < out[k] ? time : out[k];
}

static void take(const ctl_chain *c, row *r, const way *w) {
    uint32_t begin = larger(w->peak, w->held);
    if (w->rest) begin = larger(begin, w->held + w->rest->least);
    if (w->back) begin = larger(begin, w->back->least);
    if (begin > c->units) return;
    take_sum(r->time + begin, (float)w->time, w->rest ? w->rest->time + begin - w->held : NULL,
             w->back ? w->back->time + begin : NULL, c->units + 1 - begin);
}

static void fill(const ctl_chain *c, row *r, bool again) {
    size_t first = r->first, end = r->end;
    for (size_t o = 0; o < c->at[first].noptions; o++) {
        way w = option_way(c, first, end, &c->at[first].options[o], again);
        take(c, r, &w);
    }
    for (places p = first_place(c, first, end, again); p.place < end; next_place(c, &p)) {
        way w = split_way(c, &p, again);
        take(c, r, &w);
    }
    settle(c, r);
}

/* ---- solving ---- */
/* Bytes that the first options need: nothing is gained above. */
static int64_t most_needed(const ctl_chain_segment *at, size_t n) {
    int64_t below = 0, most = 0;
    for (size_t k = 0; k < n; k++) {
        const ctl_chain_option *o = &at[k].options[0];
        int64_t peak = o->forward_peak > o->backward_peak ? o->forward_peak : o->backward_peak;
        if (below + peak > most) most = below + peak;
        below += at[k].own + o->saved;
    }
    return most;
}

/* As fine as time and memory allow: a table of `rows` rows takes rows * units numbers, each the least of up to n. */
static void choose_unit(ctl_chain *c, int64_t most_bytes, size_t rows) {
    int64_t most = most_needed(c->at, c->n);
    if (most_bytes > 0 && most_bytes < most) most = most_bytes;
    double work = MOST_WORK / ((double)(rows + c->n) * (double)(c->n / 4 + 1)), memory = MOST_NUMBERS / (double)(rows + c->n);
    double units = fmin(fmin(work, memory), MOST_UNITS);
    if (units < FEWEST_UNITS) units = FEWEST_UNITS;
    c->unit = most / (int64_t)units + 1;
    c->units = (uint32_t)(most / c->unit) + (most_bytes > 0 ? 0 : (uint32_t)c->n + 2); /* rounding adds a unit a segment */
}

/* A range is equal to an earlier one when its first segment and the range of all that follow are. A range that reaches the
 * end is never run again whole. Shorter ranges come first. */
static void find_rows(ctl_chain *c) {
    size_t n = c->n;
    c->row_of = CTL_NEW_ARRAY(c->arena, uint32_t, (n + 1) * (n + 1));
    for (size_t length = 1; length < n; length++) {
        ctl_map known = {.arena = c->arena};
        for (size_t first = 0; first + length < n; first++) {
            uint32_t *mine = &c->row_of[first * (n + 1) + first + length];
            uint32_t key[2] = {c->at[first].class_of,
                               length > 1 ? c->row_of[(first + 1) * (n + 1) + first + length] : 0};
            const uint32_t *same = ctl_map_get_bytes(&known, key, sizeof key);
            if (same) {
                *mine = *same;
                continue;
            }
            *mine = (uint32_t)c->again.n;
            ctl_map_put_bytes(&known, key, sizeof key, mine);
            CTL_PUSH(c->arena, &c->again, (row){.first = (uint32_t)first, .end = (uint32_t)(first + length)});
        }
    }
}

static void solve_row(const ctl_chain *c, row *r, bool again) {
    r->time = CTL_NEW_ARRAY(c->arena, float, c->units + 1);
    for (uint32_t m = 0; m <= c->units; m++) r->time[m] = INFINITY;
    fill(c, r, again);
}

const ctl_chain *ctl_chain_solve(ctl_arena *arena, const ctl_chain_segment *segments, size_t n, int64_t most_bytes) {
    ctl_chain *c = CTL_NEW(arena, ctl_chain);
    *c = (ctl_chain){.arena = arena, .at = segments, .n = n};
    c->before = CTL_NEW_ARRAY(arena, double, n + 1);
    for (size_t k = 0; k < n; k++) c->before[k + 1] = c->before[k] + segments[k].forward;
    find_rows(c);
    choose_unit(c, most_bytes, c->again.n);
    for (size_t k = 0; k < c->again.n; k++) solve_row(c, &c->again.at[k], true);
    c->last = CTL_NEW_ARRAY(arena, row, n);
    for (size_t k = n; k-- > 0;) {
        c->last[k] = (row){.first = (uint32_t)k, .end = (uint32_t)n};
        solve_row(c, &c->last[k], false);
    }
    return c;
}

/* ---- answers ---- */
int64_t ctl_chain_unit(const ctl_chain *c) { return c->unit; }

int64_t ctl_chain_least(const ctl_chain *c) {
    return c->last[0].least > c->units ? INT64_MAX : (int64_t)c->last[0].least * c->unit;
}

int64_t ctl_chain_most(const ctl_chain *c) {
    uint32_t m = c->units;
    while (m > c->last[0].least && c->last[0].time[m - 1] <= c->last[0].time[c->units]) m--;
    return (int64_t)m * c->unit;
}

static uint32_t units_in(const ctl_chain *c, int64_t budget) {
    int64_t m = budget < 0 ? 0 : budget / c->unit;
    return m > c->units ? c->units : (uint32_t)m;
}

double ctl_chain_extra(const ctl_chain *c, int64_t budget) {
    return budget < 0 ? (double)INFINITY : (double)c->last[0].time[units_in(c, budget)];
}

size_t ctl_chain_pareto(const ctl_chain *c, ctl_arena *arena, ctl_chain_point **out) {
    CTL_VEC(ctl_chain_point) points = {0};
    float best = INFINITY;
    for (uint32_t m = c->last[0].least; m <= c->units; m++) {
        if (!(c->last[0].time[m] < best)) continue;
        best = c->last[0].time[m];
        CTL_PUSH(arena, &points, (ctl_chain_point){(int64_t)m * c->unit, best});
    }
    *out = points.at;
    return points.n;
}

/* ---- plans: the choices found again ---- */
typedef struct tracer {
    const ctl_chain *c;
    ctl_arena *arena;
    ctl_chain_plan *plan;
    steps steps;
} tracer;

static void step(tracer *t, ctl_chain_verb verb, size_t segment, int32_t option) {
    CTL_PUSH(t->arena, &t->steps, (ctl_chain_step){verb, (uint32_t)segment, option});
}

typedef struct choice {
    int32_t option; /* or CHAIN_NONE, and the place of the split */
    size_t place;
    uint32_t held;
} choice;

static choice choose(const ctl_chain *c, size_t first, size_t end, bool again, uint32_t m, float time) {
    for (size_t o = 0; o < c->at[first].noptions; o++) {
        way w = option_way(c, first, end, &c->at[first].options[o], again);
        if (time_of(&w, m) == time) return (choice){(int32_t)o, 0, w.held};
    }
    for (places p = first_place(c, first, end, again); p.place < end; next_place(c, &p)) {
        way w = split_way(c, &p, again);
        if (time_of(&w, m) == time) return (choice){CHAIN_NONE, p.place, w.held};
    }
    return (choice){0, 0, 0};
}

/* Segments first .. end - 1 again, from the input of first. Depth is bounded by the number of segments. */
static void trace_again(tracer *t, size_t first, size_t end, uint32_t m) {
    const ctl_chain *c = t->c;
    const row *r = again_row(c, first, end);
    choice x = choose(c, r->first, r->end, true, m, r->time[m]); /* with the sums of the range that was solved */
    x.place += first - r->first;
    if (x.option != CHAIN_NONE) {
        if (first + 1 < end) step(t, CHAIN_FORWARD, first, x.option);
        else if (c->at[first].options[x.option].keep > 0) step(t, CHAIN_KEEP, first, x.option);
        if (first + 1 < end) trace_again(t, first + 1, end, m - x.held);
        step(t, CHAIN_BACKWARD, first, x.option);
        return;
    }
    for (size_t k = first; k < x.place; k++) {
        step(t, CHAIN_FORWARD, k, CHAIN_NONE);
        if (k > first) step(t, CHAIN_FORGET, k, CHAIN_NONE);
    }
    trace_again(t, x.place, end, m - x.held);
    trace_again(t, first, x.place, m);
}

static void trace_last(tracer *t, size_t first, uint32_t m) {
    const ctl_chain *c = t->c;
    choice x = choose(c, first, c->n, false, m, c->last[first].time[m]);
    t->plan->keep_input[first] = true;
    t->plan->option[first] = x.option;
    if (x.option != CHAIN_NONE) {
        if (first + 1 < c->n) trace_last(t, first + 1, m - x.held);
        step(t, CHAIN_BACKWARD, first, x.option);
        return;
    }
    trace_last(t, x.place, m - x.held);
    trace_again(t, first, x.place, m);
}

bool ctl_chain_plan_for(const ctl_chain *c, ctl_arena *arena, int64_t budget, ctl_chain_plan *out) {
    uint32_t m = units_in(c, budget);
    *out = (ctl_chain_plan){0};
    if (budget < 0 || c->n == 0 || m < c->last[0].least) return false;
    while (m > c->last[0].least && c->last[0].time[m - 1] == c->last[0].time[m]) m--;
    tracer t = {.c = c, .arena = arena, .plan = out};
    out->keep_input = CTL_NEW_ARRAY(arena, bool, c->n);
    out->option = CTL_NEW_ARRAY(arena, int32_t, c->n);
    for (size_t k = 0; k < c->n; k++) out->option[k] = CHAIN_NONE;
    out->bytes = (int64_t)m * c->unit;
    out->extra = (double)c->last[0].time[m];
    trace_last(&t, 0, m);
    out->steps = t.steps.at, out->nsteps = t.steps.n;
    return true;
}
