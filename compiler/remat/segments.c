/* segments: cuts, phases and classes. See segments.h.
 *
 * Forward nodes stand in an order; at every place the values made before it and read after it cross it. Between two
 * products (or other tasks that cost) the place with the fewest bytes crossing is a candidate, and a candidate is a cut
 * unless there are much smaller ones near it on both sides: so the inside of a feed-forward half, where wide values
 * cross, is none.
 *
 * A backward node belongs to the latest segment whose backward pass can compute it: gradients come from the
 * segments behind, forward values are at hand up to the last segment that reads them. So the passes run from the last
 * segment to the first, whatever order the nodes had. */
#include "compiler/remat/segments.h"

enum { NEAR = 12, MOST_CROSSING = 16 };
static const double MUCH_SMALLER = 1.25;

bool ctl_is_forward(const ctl_node *n) {
    return n->rate == RATE_STEP && n->entry == ENTRY_FORWARD && ctl_op_class_of((ctl_op)n->op) != CLASS_LEAF;
}

bool ctl_is_backward(const ctl_node *n) { return n->rate == RATE_STEP && n->entry == ENTRY_BACKWARD; }

int64_t ctl_value_bytes(const ctl_node *n) { return n->rows * n->cols * (n->dtype == CTL_BF16 ? 2 : 4); }

ctl_node_id ctl_viewed(const ctl_graph *g, ctl_node_id id) {
    while (g->at[id].op == OP_COLUMNS || g->at[id].op == OP_SPLIT || g->at[id].op == OP_JOIN) id = g->at[id].in[0];
    return id;
}

bool ctl_is_row_work(const ctl_node *n) {
    switch (ctl_op_class_of((ctl_op)n->op)) {
    case CLASS_MAP:
    case CLASS_REDUCE: return true;
    case CLASS_VIEW: return n->op != OP_PART && n->op != OP_TRANSPOSE && n->op != OP_STACK;
    default: return n->op == OP_TAKE || n->op == OP_PICK;
    }
}

typedef struct finder {
    ctl_arena *arena;
    const ctl_graph *g;
    ctl_segments *s;
    CTL_VEC(ctl_node_id) order; /* forward nodes that are not free */
    uint32_t *last;             /* of each node: place of its last forward reader, through views; its own when there is none */
} finder;

/* Further results of a task stand behind it, wherever they were asked for. */
static void make_order(finder *f) {
    const ctl_graph *g = f->g;
    ctl_node_id *next = CTL_NEW_ARRAY(f->arena, ctl_node_id, g->n), *first = CTL_NEW_ARRAY(f->arena, ctl_node_id, g->n);
    memset(first, 0xff, g->n * sizeof *first);
    for (ctl_node_id id = (ctl_node_id)g->n; id-- > 0;)
        if (g->at[id].op == OP_PART && ctl_is_forward(&g->at[id]))
            next[id] = first[g->at[id].in[0]], first[g->at[id].in[0]] = id;
    for (ctl_node_id id = 0; id < g->n; id++) {
        if (f->s->phase[id] != 0 || g->at[id].op == OP_PART) continue;
        CTL_PUSH(f->arena, &f->order, id);
        for (ctl_node_id part = first[id]; part != CTL_NONE; part = next[part]) CTL_PUSH(f->arena, &f->order, part);
    }
}

/* Forward nodes that row by row work rebuilds from leaves and weights: they belong to no segment. */
static void find_free(finder *f) {
    const ctl_graph *g = f->g;
    for (ctl_node_id id = 0; id < g->n; id++) {
        const ctl_node *n = &g->at[id];
        f->s->phase[id] = PHASE_NONE;
        if (!ctl_is_forward(n)) continue;
        bool is_free = ctl_is_row_work(n);
        for (uint32_t k = 0; k < n->nin && is_free; k++)
            is_free = !ctl_is_forward(&g->at[n->in[k]]) || f->s->phase[n->in[k]] == PHASE_FREE;
        f->s->phase[id] = is_free ? PHASE_FREE : 0;
    }
    make_order(f);
    for (size_t p = f->order.n; p-- > 0;) {
        ctl_node_id id = f->order.at[p];
        const ctl_node *n = &g->at[id];
        if (f->last[id] < p) f->last[id] = (uint32_t)p;
        /* A view is read where its readers are; everything else at its own place. */
        uint32_t read_at = ctl_viewed(g, id) != id ? f->last[id] : (uint32_t)p;
        for (uint32_t k = 0; k < n->nin; k++)
            if (ctl_is_forward(&g->at[n->in[k]]) && f->last[n->in[k]] < read_at) f->last[n->in[k]] = read_at;
    }
}

/* ---- cuts ---- */
typedef struct candidate {
    uint32_t place;
    int64_t bytes;
} candidate;

static bool stands_for_itself(const finder *f, ctl_node_id id) { return ctl_viewed(f->g, id) == id; }

static void find_cuts(finder *f, size_t **cuts, size_t *ncuts) {
    const ctl_graph *g = f->g;
    size_t n = f->order.n;
    int64_t *change = CTL_NEW_ARRAY(f->arena, int64_t, n + 1), *count = CTL_NEW_ARRAY(f->arena, int64_t, n + 1);
    for (size_t p = 0; p < n; p++) {
        ctl_node_id id = f->order.at[p];
        if (!stands_for_itself(f, id)) continue;
        int64_t bytes = ctl_value_bytes(&g->at[id]);
        change[p + 1] += bytes, count[p + 1]++; /* crosses places p + 1 .. last */
        if (f->last[id] + 1 <= n) change[f->last[id] + 1] -= bytes, count[f->last[id] + 1]--;
    }
    CTL_VEC(candidate) all = {0};
    candidate best = {0, INT64_MAX};
    int64_t bytes = 0, values = 0;
    for (size_t p = 1; p < n; p++) { /* place p: between nodes p - 1 and p of the order */
        bytes += change[p], values += count[p];
        if (g->at[f->order.at[p]].op == OP_PART) continue; /* stays with its task */
        if (values > 0 && values <= MOST_CROSSING && bytes < best.bytes) best = (candidate){(uint32_t)p, bytes};
        if (ctl_is_row_work(&g->at[f->order.at[p]])) continue;
        if (best.bytes < INT64_MAX) CTL_PUSH(f->arena, &all, best);
        best = (candidate){0, INT64_MAX};
    }
    *cuts = CTL_NEW_ARRAY(f->arena, size_t, all.n + 1), *ncuts = 0;
    for (size_t k = 0; k < all.n; k++) {
        int64_t before = all.at[k].bytes, after = before;
        for (size_t j = k < NEAR ? 0 : k - NEAR; j < k; j++)
            if (all.at[j].bytes < before) before = all.at[j].bytes;
        for (size_t j = k + 1; j < all.n && j <= k + NEAR; j++)
            if (all.at[j].bytes < after) after = all.at[j].bytes;
        int64_t larger = before > after ? before : after;
        if ((double)all.at[k].bytes <= MUCH_SMALLER * (double)larger) (*cuts)[(*ncuts)++] = all.at[k].place;
    }
}

static void fill_boundary(finder *f, ctl_boundary *b, size_t place) {
    CTL_VEC(ctl_node_id) crossing = {0};
    for (size_t p = 0; p < place; p++) {
        ctl_node_id id = f->order.at[p];
        if (f->last[id] < place || !stands_for_itself(f, id)) continue;
        CTL_PUSH(f->arena, &crossing, id);
        b->bytes += ctl_value_bytes(&f->g->at[id]);
    }
    b->at = crossing.at, b->n = crossing.n;
}

static void make_segments(finder *f, const size_t *cuts, size_t ncuts) {
    ctl_segments *s = f->s;
    s->n = ncuts + 1;
    s->before = CTL_NEW_ARRAY(f->arena, ctl_boundary, s->n + 1);
    s->locals = CTL_NEW_ARRAY(f->arena, ctl_node_id *, s->n);
    s->nlocals = CTL_NEW_ARRAY(f->arena, size_t, s->n);
    for (size_t k = 0; k < s->n; k++) {
        size_t begin = k ? cuts[k - 1] : 0, end = k < ncuts ? cuts[k] : f->order.n;
        if (k) fill_boundary(f, &s->before[k], begin);
        s->locals[k] = f->order.at + begin, s->nlocals[k] = end - begin;
        for (size_t p = begin; p < end; p++) s->phase[f->order.at[p]] = (int32_t)k;
    }
}

/* ---- phases of backward ---- */
static void place_backward(finder *f) {
    const ctl_graph *g = f->g;
    ctl_segments *s = f->s;
    s->first = s->n;
    for (ctl_node_id id = 0; id < g->n; id++) {
        const ctl_node *n = &g->at[id];
        if (!ctl_is_backward(n)) continue;
        int32_t phase = (int32_t)s->n - 1;
        for (uint32_t k = 0; k < n->nin; k++) {
            const ctl_node *from = &g->at[n->in[k]];
            int32_t at = phase;
            if (ctl_is_backward(from)) at = s->phase[n->in[k]];
            else if (ctl_is_forward(from) && s->phase[n->in[k]] >= 0) {
                ctl_node_id base = ctl_viewed(g, n->in[k]);
                at = s->phase[base] >= 0 ? s->phase[f->order.at[f->last[base]]] : phase;
            }
            if (at < phase) phase = at;
        }
        s->phase[id] = phase;
        if ((size_t)phase < s->first) s->first = (size_t)phase;
    }
}

/* ---- what can wait ---- */
typedef struct waiter {
    finder *f;
    uint32_t *readers;     /* of each node: how many backward nodes read it */
    int32_t *first_reader; /* the largest phase of them, which runs first; PHASE_NONE: none, or something else reads it */
    int32_t *last_reader;  /* the smallest */
} waiter;

/* Bytes that must be kept until `phase` for a node that is computed there instead of now: those of its inputs that
 * nobody needs until then. A task whose result only this node reads goes with it. */
static int64_t kept_for(const waiter *w, ctl_node_id id, int32_t phase, int depth) {
    const ctl_graph *g = w->f->g;
    int64_t bytes = 0;
    for (uint32_t k = 0; k < g->at[id].nin; k++) {
        ctl_node_id from = g->at[id].in[k];
        const ctl_node *n = &g->at[from];
        if (!ctl_is_backward(n) || ctl_op_class_of((ctl_op)n->op) == CLASS_LEAF) continue;
        bool goes_along = w->readers[from] == 1 && !ctl_is_row_work(n) && depth < 4;
        if (goes_along) bytes += kept_for(w, from, phase, depth + 1);
        else if (w->readers[from] == 1 || w->last_reader[from] > phase) bytes += ctl_value_bytes(n);
    }
    return bytes;
}

/* A backward value is computed where it is first read, unless that keeps more bytes waiting than the value itself has: so a
 * sum of gradients is made at once, and products of it when their segment's turn comes. */
static void put_off(finder *f) {
    const ctl_graph *g = f->g;
    ctl_segments *s = f->s;
    waiter w = {.f = f};
    w.readers = CTL_NEW_ARRAY(f->arena, uint32_t, g->n);
    w.first_reader = CTL_NEW_ARRAY(f->arena, int32_t, g->n), w.last_reader = CTL_NEW_ARRAY(f->arena, int32_t, g->n);
    bool *pinned = CTL_NEW_ARRAY(f->arena, bool, g->n);
    for (ctl_node_id id = 0; id < g->n; id++) w.first_reader[id] = PHASE_NONE, w.last_reader[id] = (int32_t)s->n;
    for (size_t k = 0; k < g->params.n; k++)
        if (g->params.at[k].grad < g->n) pinned[g->params.at[k].grad] = true;
    for (size_t k = 0; k < g->inputs.n; k++)
        if (g->inputs.at[k].grad < g->n) pinned[g->inputs.at[k].grad] = true;
    for (ctl_node_id id = 0; id < g->n; id++)
        for (uint32_t k = 0; ctl_is_backward(&g->at[id]) && k < g->at[id].nin; k++) {
            w.readers[g->at[id].in[k]]++;
            if (s->phase[id] < w.last_reader[g->at[id].in[k]]) w.last_reader[g->at[id].in[k]] = s->phase[id];
        }
    for (ctl_node_id id = (ctl_node_id)g->n; id-- > 0;) {
        const ctl_node *n = &g->at[id];
        if (!ctl_is_backward(n)) continue;
        int32_t late = w.first_reader[id];
        if (late != PHASE_NONE && late < s->phase[id] && !pinned[id] && kept_for(&w, id, late, 0) <= ctl_value_bytes(n))
            s->phase[id] = late;
        for (uint32_t k = 0; k < n->nin; k++)
            if (s->phase[id] > w.first_reader[n->in[k]]) w.first_reader[n->in[k]] = s->phase[id];
    }
}

/* ---- classes ---- */
static uint64_t mix(uint64_t h, uint64_t v) {
    h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
    h *= 0xff51afd7ed558ccdu;
    return h ^ (h >> 32);
}

static uint64_t hash_type(uint64_t h, const ctl_graph *g, const ctl_node *n) {
    h = mix(h, (uint64_t)n->op << 32 | (uint64_t)n->dtype << 16 | (uint64_t)n->space << 8 | n->rate);
    h = mix(mix(mix(h, (uint64_t)n->rows), (uint64_t)n->cols), (uint64_t)n->split);
    if (n->op == OP_PARAM) return mix(h, g->params.at[n->i[0]].trained);
    if (n->op == OP_INPUT) return h;
    for (int k = n->op == OP_DROP; k < 3; k++) h = mix(h, (uint64_t)n->i[k]); /* without dropout's site */
    uint64_t bits;
    memcpy(&bits, &n->f, sizeof bits);
    return mix(h, bits);
}

/* What a node reads from outside of its segment counts by its place in the boundary, or else by its type. */
static uint64_t hash_node(const finder *f, size_t k, ctl_node_id id, const uint32_t *number, uint64_t begin) {
    const ctl_graph *g = f->g;
    const ctl_node *n = &g->at[id];
    const ctl_boundary *in = &f->s->before[k];
    uint64_t h = hash_type(begin, g, n);
    for (uint32_t j = 0; j < n->nin; j++) {
        ctl_node_id from = n->in[j];
        if (number[from] != UINT32_MAX) {
            h = mix(h, number[from]);
            continue;
        }
        h = hash_type(h, g, &g->at[from]);
        for (size_t c = 0; c < in->n; c++)
            if (in->at[c] == from) h = mix(h, 0x10000 + c);
    }
    return h;
}

static void find_classes(finder *f) {
    const ctl_graph *g = f->g;
    ctl_segments *s = f->s;
    uint64_t *hash = CTL_NEW_ARRAY(f->arena, uint64_t, s->n);
    uint32_t *number = CTL_NEW_ARRAY(f->arena, uint32_t, g->n), *next = CTL_NEW_ARRAY(f->arena, uint32_t, s->n);
    memset(number, 0xff, g->n * sizeof *number);
    for (size_t k = 0; k < s->n; k++) {
        hash[k] = mix(s->before[k].n, s->before[k + 1].n);
        for (size_t j = 0; j < s->nlocals[k]; j++) {
            ctl_node_id id = s->locals[k][j];
            hash[k] = hash_node(f, k, id, number, hash[k]);
            number[id] = next[k]++;
            for (size_t c = 0; c < s->before[k + 1].n; c++)
                if (s->before[k + 1].at[c] == id) hash[k] = mix(hash[k], 0x20000 + c);
        }
    }
    /* A forward value of another segment is named by its number there, which equal segments agree on. */
    for (ctl_node_id id = 0; id < g->n; id++) {
        if (!ctl_is_backward(&g->at[id])) continue;
        size_t k = (size_t)s->phase[id];
        hash[k] = hash_node(f, k, id, number, hash[k]);
        number[id] = next[k]++;
    }
    s->class_of = CTL_NEW_ARRAY(f->arena, uint32_t, s->n);
    for (size_t k = 0; k < s->n; k++) {
        size_t j = 0;
        while (hash[j] != hash[k]) j++;
        s->class_of[k] = j < k ? s->class_of[j] : (uint32_t)s->nclasses++;
    }
}

const ctl_segments *ctl_segments_find(ctl_arena *arena, const ctl_graph *g) {
    finder f = {.arena = arena, .g = g, .s = CTL_NEW(arena, ctl_segments)};
    f.s->g = g;
    f.s->phase = CTL_NEW_ARRAY(arena, int32_t, g->n);
    f.last = CTL_NEW_ARRAY(arena, uint32_t, g->n);
    size_t *cuts, ncuts;
    find_free(&f);
    find_cuts(&f, &cuts, &ncuts);
    make_segments(&f, cuts, ncuts);
    place_backward(&f);
    put_off(&f);
    find_classes(&f);
    return f.s;
}
