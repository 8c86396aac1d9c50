/* rowprog_schedule: passes, kept rows, loops, segments and steps of a row program. See rowprog_schedule.h. */
#include "compiler/kernel/rowprog_schedule.h"

typedef struct seen { /* a (value, offset) met before; a list for each value */
    struct seen *next;
    int64_t offset, begin, end;
    uint32_t step;
} seen;

typedef struct scheduler {
    const ctl_rowprog *p;
    ctl_arena *arena;
    ctl_schedule *out;
    uint32_t *level;
    uint32_t *cost;
    bool *live;
    int32_t *first, *last; /* passes that compute and that read; -1: none */
    int32_t *visited;      /* pass that last visited a value */
    seen **seen;
} scheduler;

/* ---- levels and costs ---- */
enum { CHEAP = 8, DEAR = 20, COST_LIMIT = 1000 };

static uint32_t own_cost(const ctl_row_instr *q) {
    switch (q->op) {
    case OP_CONST:
    case OP_COLUMNS:
    case OP_CAT:
        return 0;
    case OP_CAST:
        return q->dtype == CTL_BF16 ? 2 : 0;
    case OP_DIV:
    case OP_SQRT:
        return 5;
    case OP_RSQRT:
        return 9;
    case OP_MOD:
        return 8;
    case OP_EXP:
    case OP_LOG:
    case OP_POW:
    case OP_SIN:
    case OP_COS:
    case OP_TANH:
    case OP_ERF:
    case OP_DROP:
        return DEAR;
    default:
        return 1; /* loads included: the row is in the nearest cache by then */
    }
}

static bool is_write(uint32_t op) {
    return op == ROW_STORE || op == ROW_ADD_TO || op == ROW_COLSUM;
}
static bool is_reduction(const ctl_rowprog *p, uint32_t v) {
    return (p->at[v].op == OP_SUM || p->at[v].op == OP_ROWMAX) && p->at[p->at[v].in[0]].width > 1;
}

static void levels(scheduler *s) {
    const ctl_rowprog *p = s->p;
    uint32_t most = 0;
    for (uint32_t v = 0; v < p->n; v++) {
        const ctl_row_instr *q = &p->at[v];
        uint32_t level = 0, cost = own_cost(q);
        for (uint32_t k = 0; k < q->nin; k++) {
            if (s->level[q->in[k]] > level) level = s->level[q->in[k]];
            if (p->at[q->in[k]].width > 1) cost += s->cost[q->in[k]];
        }
        s->level[v] = level + is_reduction(p, v);
        s->cost[v] = cost > COST_LIMIT ? COST_LIMIT : cost;
    }
    for (uint32_t v = p->n; v-- > 0;) {
        const ctl_row_instr *q = &p->at[v];
        if (is_write(q->op)) s->live[v] = true;
        if (!s->live[v]) continue;
        if (s->level[v] > most) most = s->level[v];
        for (uint32_t k = 0; k < q->nin; k++) s->live[q->in[k]] = true;
    }
    s->out->npasses = most + 1;
    s->out->passes = CTL_NEW_ARRAY(s->arena, ctl_row_pass, most + 1);
}

/* ---- what is kept ---- */
static bool is_place(const ctl_row_instr *q) {
    return q->op == OP_COLUMNS || q->op == OP_CAT;
}

static void need(scheduler *s, uint32_t v, int32_t pass) {
    const ctl_row_instr *q = &s->p->at[v];
    if (q->width == 1 || s->visited[v] == pass) return;
    s->visited[v] = pass;
    if (!is_place(q)) {
        if (s->first[v] < 0)
            s->first[v] = pass;
        else if (s->cost[v] > CHEAP) {
            s->last[v] = pass;
            return;
        }
    }
    for (uint32_t k = 0; k < q->nin; k++) need(s, q->in[k], pass);
}

static void choose_kept(scheduler *s) {
    const ctl_rowprog *p = s->p;
    for (uint32_t v = 0; v < p->n; v++) s->first[v] = s->last[v] = s->visited[v] = -1;
    for (uint32_t pass = 0; pass < s->out->npasses; pass++)
        for (uint32_t v = 0; v < p->n; v++) {
            const ctl_row_instr *q = &p->at[v];
            if (!s->live[v]) continue;
            if (is_write(q->op) ? s->level[v] == pass : is_reduction(p, v) && s->level[v] == pass + 1)
                need(s, q->in[0], (int32_t)pass);
        }
    typedef struct place {
        int64_t at, width;
        int32_t last;
    } place;
    CTL_VEC(place) places = {0};
    for (uint32_t v = 0; v < p->n; v++) {
        s->out->kept[v] = -1;
        if (s->last[v] < 0) continue;
        int64_t width = (p->at[v].width + 15) / 16 * 16;
        place *found = NULL;
        for (size_t k = 0; k < places.n && !found; k++)
            if (places.at[k].width == width && places.at[k].last < s->first[v]) found = &places.at[k];
        if (!found) {
            CTL_PUSH(s->arena, &places, (place){(int64_t)s->out->scratch, width, 0});
            found = &places.at[places.n - 1];
            s->out->scratch += (size_t)width;
        }
        found->last = s->last[v];
        s->out->kept[v] = found->at;
    }
}

/* ---- steps ---- */
static void forget(scheduler *s) {
    memset(s->seen, 0, s->p->n * sizeof *s->seen);
}

/* The step for column c + offset of v, c being the loop's column, which in this segment is at least `begin`:
 * that and the segment's being within one part of every CAT say which part it is. */
static uint32_t demand(scheduler *s, ctl_row_steps *steps, uint32_t v, int64_t offset, int64_t begin,
                       int32_t pass) {
    const ctl_row_instr *q = &s->p->at[v];
    bool number_list = pass < 0;
    while (is_place(q) && (q->width > 1 || number_list)) {
        uint32_t part = 0;
        if (q->op == OP_COLUMNS)
            offset += q->i[0];
        else
            for (; begin + offset >= s->p->at[q->in[part]].width; part++)
                offset -= s->p->at[q->in[part]].width;
        v = q->in[part];
        q = &s->p->at[v];
    }
    if (q->width == 1) offset = 0;
    for (seen *e = s->seen[v]; e; e = e->next)
        if (e->offset == offset) return e->step;
    ctl_row_step step = {.kind = STEP_COMPUTE, .instr = v, .offset = offset};
    if (q->width == 1 && (!number_list || s->level[v] < (uint32_t)(-1 - pass) || is_reduction(s->p, v)))
        step.kind = STEP_NUMBER;
    else if (!number_list && s->out->kept[v] >= 0 && s->first[v] < pass)
        step.kind = STEP_KEPT;
    if (step.kind == STEP_COMPUTE)
        for (uint32_t k = 0; k < q->nin; k++) step.in[k] = demand(s, steps, q->in[k], offset, begin, pass);
    seen *e = CTL_NEW(s->arena, seen);
    *e = (seen){.next = s->seen[v], .offset = offset, .step = (uint32_t)steps->n};
    s->seen[v] = e;
    CTL_PUSH(s->arena, steps, step);
    return e->step;
}

/* ---- loops and segments ---- */
typedef CTL_VEC(int64_t) borders;

static void add_border(scheduler *s, borders *b, int64_t at) {
    size_t k = 0;
    while (k < b->n && b->at[k] < at) k++;
    if (k < b->n && b->at[k] == at) return;
    CTL_PUSH(s->arena, b, 0);
    memmove(&b->at[k + 1], &b->at[k], (b->n - 1 - k) * sizeof *b->at);
    b->at[k] = at;
}

/* Where CATs change their part while the loop's column goes from begin to end - 1. */
static void find_borders(scheduler *s, borders *b, uint32_t v, int64_t offset, int64_t begin, int64_t end,
                         int32_t pass) {
    const ctl_row_instr *q = &s->p->at[v];
    if (q->width == 1 || begin >= end) return;
    for (seen *e = s->seen[v]; e; e = e->next)
        if (e->offset == offset && e->begin <= begin && end <= e->end) return;
    seen *e = CTL_NEW(s->arena, seen);
    *e = (seen){.next = s->seen[v], .offset = offset, .begin = begin, .end = end};
    s->seen[v] = e;
    if (s->out->kept[v] >= 0 && s->first[v] < pass) return;
    if (q->op == OP_CAT) {
        int64_t at = -offset; /* the loop's column where the part begins */
        for (uint32_t k = 0; k < q->nin; k++) {
            int64_t next = at + s->p->at[q->in[k]].width;
            int64_t from = at > begin ? at : begin, to = next < end ? next : end;
            if (from < to) {
                add_border(s, b, from);
                find_borders(s, b, q->in[k], -at, from, to, pass);
            }
            at = next;
        }
        return;
    }
    if (q->op == OP_COLUMNS) offset += q->i[0];
    for (uint32_t k = 0; k < q->nin; k++) find_borders(s, b, q->in[k], offset, begin, end, pass);
}

static void add_sink(scheduler *s, uint32_t pass, int64_t width, ctl_row_sink sink) {
    ctl_row_pass *at = &s->out->passes[pass];
    size_t k = 0;
    while (k < at->loops.n && at->loops.at[k].width != width) k++;
    if (k == at->loops.n) CTL_PUSH(s->arena, &at->loops, (ctl_row_loop){.width = width});
    CTL_PUSH(s->arena, &at->loops.at[k].sinks, sink);
}

static void add_sinks(scheduler *s) {
    const ctl_rowprog *p = s->p;
    for (uint32_t v = 0; v < p->n; v++) {
        const ctl_row_instr *q = &p->at[v];
        if (!s->live[v]) continue;
        if (is_write(q->op) && q->width == 1)
            CTL_PUSH(s->arena, &s->out->passes[s->level[v]].stores, v);
        else if (is_write(q->op))
            add_sink(s, s->level[v], q->width, (ctl_row_sink){SINK_WRITE, v, q->in[0]});
        else if (is_reduction(p, v))
            add_sink(s, s->level[v] - 1, p->at[q->in[0]].width, (ctl_row_sink){SINK_REDUCE, v, q->in[0]});
        if (s->out->kept[v] >= 0)
            add_sink(s, (uint32_t)s->first[v], q->width, (ctl_row_sink){SINK_KEEP, v, v});
    }
}

static void cut_loop(scheduler *s, ctl_row_loop *loop, int32_t pass) {
    borders b = {0};
    forget(s);
    add_border(s, &b, 0);
    for (size_t k = 0; k < loop->sinks.n; k++)
        find_borders(s, &b, loop->sinks.at[k].value, 0, 0, loop->width, pass);
    for (size_t k = 0; k < b.n; k++) {
        ctl_row_segment g = {.begin = b.at[k], .end = k + 1 < b.n ? b.at[k + 1] : loop->width};
        g.step_of = CTL_NEW_ARRAY(s->arena, uint32_t, loop->sinks.n);
        forget(s);
        for (size_t j = 0; j < loop->sinks.n; j++)
            g.step_of[j] = demand(s, &g.steps, loop->sinks.at[j].value, 0, g.begin, pass);
        CTL_PUSH(s->arena, &loop->segments, g);
    }
}

ctl_schedule *ctl_rowprog_schedule(const ctl_rowprog *p, ctl_arena *arena) {
    scheduler s = {.p = p, .arena = arena, .out = CTL_NEW(arena, ctl_schedule)};
    s.level = CTL_NEW_ARRAY(arena, uint32_t, p->n);
    s.cost = CTL_NEW_ARRAY(arena, uint32_t, p->n);
    s.live = CTL_NEW_ARRAY(arena, bool, p->n);
    s.first = CTL_NEW_ARRAY(arena, int32_t, p->n);
    s.last = CTL_NEW_ARRAY(arena, int32_t, p->n);
    s.visited = CTL_NEW_ARRAY(arena, int32_t, p->n);
    s.seen = CTL_NEW_ARRAY(arena, seen *, p->n);
    s.out->kept = CTL_NEW_ARRAY(arena, int64_t, p->n);
    levels(&s);
    choose_kept(&s);
    add_sinks(&s);
    for (uint32_t pass = 0; pass < s.out->npasses; pass++) {
        ctl_row_pass *at = &s.out->passes[pass];
        forget(&s);
        for (uint32_t v = 0; v < p->n; v++)
            if (s.live[v] && p->at[v].width == 1 && s.level[v] == pass && !is_write(p->at[v].op) &&
                !is_reduction(p, v))
                CTL_PUSH(arena, &at->numbers,
                         (ctl_row_number){v, demand(&s, &at->steps, v, 0, 0, -1 - (int32_t)pass)});
        for (size_t k = 0; k < at->loops.n; k++) cut_loop(&s, &at->loops.at[k], (int32_t)pass);
    }
    return s.out;
}

size_t ctl_rowprog_scratch(const ctl_rowprog *p, ctl_arena *arena) {
    return ctl_rowprog_schedule(p, arena)->scratch;
}
