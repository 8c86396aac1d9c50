/* pack: see pack.h. */
#include "compiler/plan/pack.h"

#include <stdlib.h>

#include "base/random.h"
#include "compiler/plan/pack_search.h"

enum {
    FIRST_SLICE = 50000,   /* steps of the first turn; every turn has twice as many as the last */
    ROUNDS = 8,            /* searches of one stretch before it counts as failed */
    AGAIN = 8,             /* failures before all stretches are laid anew */
    FIRST_SHARE = 2000000, /* steps for the bound */
    LEAST_STRETCH = 20,    /* sections */
    MOST_STRETCHES = 64
};

typedef struct stretch {
    uint32_t begin, end;
    uint64_t hardness; /* steps that it took alone */
} stretch;

typedef struct ranked {
    double key;
    uint32_t item;
} ranked;

typedef struct packing {
    ctl_pack_search search;
    const ctl_pack_options *options;
    size_t height;
    uint32_t round;   /* counts searches: the random numbers' counter */
    int32_t *laid_in; /* by item: the stretch that laid it, -1 for none */
    size_t *fixed_at; /* by item, within one stretch */
    ranked *ranked;
    stretch *stretches;
    uint32_t nstretches;
} packing;

static bool go_on(void *ctx, uint64_t steps) {
    const packing *p = ctx;
    return !p->options->go_on || p->options->go_on(p->options->ctx, p->height, steps);
}

static int compare_ranked(const void *left, const void *right) {
    const ranked *a = left, *b = right;
    if (a->key != b->key) return a->key > b->key ? -1 : 1;
    return a->item < b->item ? -1 : a->item > b->item;
}

/* The items with the most weight in this stretch first, shaken a little, another way each time. */
static void rank(packing *p) {
    ctl_pack_search *s = &p->search;
    for (uint32_t i = 0; i < s->n; i++) {
        const ctl_pack_item *it = &s->items[i];
        uint32_t counter[4] = {i, p->round, 0, 0}, word[4];
        double weight = 0;
        for (uint32_t k = it->from; k <= it->to; k++)
            if (k >= s->begin && k < s->end) weight += s->sections[k].weight;
        ctl_philox(counter, 3, word);
        p->ranked[i] = (ranked){weight * (1 + 0.5 * (word[0] / 4294967296.0)), i};
    }
    qsort(p->ranked, s->n, sizeof *p->ranked, compare_ranked);
    for (uint32_t i = 0; i < s->n; i++) s->items[p->ranked[i].item].rank = i;
    p->round++;
}

/* Weights that have grown large are brought down, so that new failures count. */
static void calm(ctl_pack_search *s) {
    double most = 0;
    for (uint32_t k = s->begin; k < s->end; k++)
        if (s->sections[k].weight > most) most = s->sections[k].weight;
    for (uint32_t k = s->begin; most > 1e4 && k < s->end; k++)
        s->sections[k].weight = 1 + s->sections[k].weight * 1e2 / most;
}

/* Searches sections begin .. end - 1 again and again: 1, 2, 1, 4, 1, 2, 1, 8 ... times a few steps an item.
 * What earlier stretches laid stays. */
static ctl_packed pack_stretch(packing *p, uint32_t begin, uint32_t end, uint32_t rounds,
                               uint64_t most_steps) {
    ctl_pack_search *s = &p->search;
    uint32_t members = 0;
    s->begin = begin, s->end = end;
    for (uint32_t i = 0; i < s->n; i++) {
        s->items[i].fixed = p->laid_in[i] >= 0;
        p->fixed_at[i] = s->items[i].fixed ? s->items[i].offset : 0;
        members += s->items[i].to >= begin && s->items[i].from < end;
    }
    ctl_packed found = CTL_PACK_STOPPED;
    for (uint32_t round = 1; round <= rounds && found == CTL_PACK_STOPPED && !s->stop; round++) {
        uint64_t steps = 2 * (uint64_t)members * (round & (~round + 1));
        if (s->nodes >= most_steps) break;
        s->most_nodes = steps < most_steps - s->nodes ? s->nodes + steps : most_steps;
        rank(p);
        for (uint32_t i = 0; i < s->n; i++) s->items[i].offset = p->fixed_at[i];
        found = ctl_pack_stretch(s);
        calm(s);
    }
    if (found != CTL_PACK_FOUND)
        for (uint32_t i = 0; i < s->n; i++) s->items[i].offset = p->fixed_at[i];
    return found;
}

/* ---- stretches ---- */
static uint32_t crossing(const ctl_pack_search *s, uint32_t section) {
    uint32_t n = 0;
    for (uint32_t k = 0; k < s->sections[section].nitems; k++)
        n += s->items[s->sections[section].items[k]].to > section;
    return n;
}

/* Cuts begin .. end - 1 at its narrowest place, and the two parts again, as long as few cross. */
static void cut(const ctl_pack_search *s, const uint32_t *cross, uint32_t begin, uint32_t end, stretch *out,
                uint32_t *n) {
    uint32_t best = UINT32_MAX;
    uint64_t items = 0;
    for (uint32_t k = begin; k < end; k++) items += s->sections[k].nitems;
    for (uint32_t k = begin + LEAST_STRETCH; k + LEAST_STRETCH < end; k++)
        if (best == UINT32_MAX || cross[k] < cross[best]) best = k;
    if (best == UINT32_MAX || 2 * (uint64_t)cross[best] * (end - begin) > items || *n + 2 > MOST_STRETCHES) {
        out[(*n)++] = (stretch){begin, end, 0};
        return;
    }
    cut(s, cross, begin, best + 1, out, n);
    if (*n < MOST_STRETCHES)
        cut(s, cross, best + 1, end, out, n);
    else
        out[*n - 1].end = end;
}

/* What a stretch laid is to be laid anew; -1 stands for all of them. */
static void forget(packing *p, int32_t which) {
    for (uint32_t i = 0; i < p->search.n; i++)
        if (which < 0 || p->laid_in[i] == which) p->laid_in[i] = -1;
}

/* Each stretch alone, which tells how hard it is; NONE when one cannot be packed at all. */
static ctl_packed weigh(packing *p, uint64_t most_steps) {
    for (uint32_t k = 0; k < p->nstretches; k++) {
        stretch *at = &p->stretches[k];
        uint64_t before = p->search.nodes;
        ctl_packed found = pack_stretch(p, at->begin, at->end, ROUNDS, most_steps);
        if (found == CTL_PACK_NONE || p->search.stop) return found;
        at->hardness = p->search.nodes - before;
    }
    return CTL_PACK_FOUND;
}

/* The hardest stretch first, then of the two neighbours the harder one. */
static void order_stretches(const stretch *at, uint32_t n, uint32_t *order) {
    uint32_t hardest = 0;
    for (uint32_t k = 1; k < n; k++)
        if (at[k].hardness > at[hardest].hardness) hardest = k;
    uint32_t low = hardest, high = hardest + 1, done = 0;
    order[done++] = hardest;
    while (done < n) {
        bool left = high == n || (low > 0 && at[low - 1].hardness >= at[high].hardness);
        order[done++] = left ? --low : high++;
    }
}

static void keep(packing *p, uint32_t which) {
    const stretch *at = &p->stretches[which];
    for (uint32_t i = 0; i < p->search.n; i++) {
        const ctl_pack_item *it = &p->search.items[i];
        if (p->laid_in[i] < 0 && it->to >= at->begin && it->from < at->end) p->laid_in[i] = (int32_t)which;
    }
}

static ctl_packed pack_in_stretches(packing *p, uint64_t most_steps) {
    const ctl_pack_search *s = &p->search;
    const uint32_t n = p->nstretches;
    uint32_t order[MOST_STRETCHES], failed[MOST_STRETCHES] = {0}, total = 0;
    bool done[MOST_STRETCHES] = {false};
    if (n < 2) return CTL_PACK_STOPPED;
    ctl_packed found = weigh(p, most_steps);
    if (found == CTL_PACK_NONE || s->stop) return found;
    order_stretches(p->stretches, n, order);
    while (!s->stop && s->nodes < most_steps) {
        uint32_t k = 0;
        while (k < n && done[order[k]]) k++;
        if (k == n) return CTL_PACK_FOUND;
        const uint32_t at = order[k];
        found = pack_stretch(p, p->stretches[at].begin, p->stretches[at].end, ROUNDS, most_steps);
        done[at] = found == CTL_PACK_FOUND;
        if (done[at]) {
            keep(p, at);
            continue;
        }
        if (++total % AGAIN == 0) {
            forget(p, -1), memset(done, 0, sizeof done);
            continue;
        }
        /* Its neighbours are laid anew; their neighbours too from the fourth failure on, and so forth. */
        uint32_t reach = 1;
        for (uint32_t f = ++failed[at]; f >= 4; f /= 4) reach++;
        for (uint32_t j = at > reach ? at - reach : 0; j < n && j <= at + reach; j++)
            forget(p, (int32_t)j), done[j] = false;
    }
    return CTL_PACK_STOPPED;
}

/* ---- towards the bound ---- */
static ctl_packed pack_below(packing *p, size_t capacity, uint64_t most_steps) {
    ctl_pack_search *s = &p->search;
    s->capacity = capacity;
    for (uint32_t k = 0; k < s->nsections; k++) s->sections[k].weight = 1;
    for (uint64_t slice = FIRST_SLICE; s->nodes < most_steps && !s->stop; slice *= 2) {
        for (int way = 0; way < 2 && !s->stop && s->nodes < most_steps; way++) {
            const uint64_t left = most_steps - s->nodes, share = way ? 4 * slice : slice;
            const uint64_t most = s->nodes + (share < left ? share : left);
            forget(p, -1);
            const ctl_packed found =
                way ? pack_in_stretches(p, most) : pack_stretch(p, 0, s->nsections, UINT32_MAX, most);
            if (found != CTL_PACK_STOPPED) return found;
        }
    }
    return CTL_PACK_STOPPED;
}

static size_t common_divisor(size_t a, size_t b) {
    while (b) {
        size_t rest = a % b;
        a = b, b = rest;
    }
    return a;
}

static size_t take(packing *p, ctl_pack_life *items) {
    size_t height = 0;
    for (uint32_t i = 0; i < p->search.n; i++) {
        const ctl_pack_item *it = &p->search.items[i];
        items[it->number].offset = it->offset;
        if (it->offset + it->bytes > height) height = it->offset + it->bytes;
    }
    return height;
}

static void set_up(packing *p, const ctl_pack_life *items, size_t n) {
    ctl_pack_search *s = &p->search;
    for (size_t k = 0; k < n; k++) {
        const ctl_pack_life *it = &items[k];
        if (it->bytes)
            s->items[s->n++] = (ctl_pack_item){
                .bytes = it->bytes, .first = it->first, .last = it->last, .number = (uint32_t)k};
    }
    ctl_pack_prepare(s);
    s->go_on = go_on, s->ctx = p;
    p->laid_in = CTL_NEW_ARRAY(s->arena, int32_t, s->n);
    p->fixed_at = CTL_NEW_ARRAY(s->arena, size_t, s->n);
    p->ranked = CTL_NEW_ARRAY(s->arena, ranked, s->n);
    p->stretches = CTL_NEW_ARRAY(s->arena, stretch, MOST_STRETCHES);
    uint32_t *cross = CTL_NEW_ARRAY(s->arena, uint32_t, s->nsections);
    for (uint32_t k = 0; k < s->nsections; k++) cross[k] = crossing(s, k);
    cut(s, cross, 0, s->nsections, p->stretches, &p->nstretches);
}

uint64_t ctl_pack(ctl_arena *arena, ctl_pack_life *items, size_t n, const ctl_pack_options *options,
                  size_t *height, size_t *bound) {
    if (n > CTL_PACK_MOST_ITEMS || *height <= *bound || *height <= options->goal) return 0;
    packing p = {.search = {.arena = arena, .items = CTL_NEW_ARRAY(arena, ctl_pack_item, n)},
                 .options = options,
                 .height = *height};
    ctl_pack_search *s = &p.search;
    size_t unit = 0; /* every height that matters is a multiple of it */
    for (size_t k = 0; k < n; k++) unit = common_divisor(items[k].bytes, unit);
    set_up(&p, items, n);
    /* First as low as can be, then half-way between that and the best, and so on, until nothing lies between;
     * then all again with twice as many steps. `low` is where the search did not get to. */
    uint64_t share = options->steps / 2 < FIRST_SHARE ? options->steps / 2 : FIRST_SHARE;
    for (size_t low = 0; s->nodes < options->steps && !s->stop;) {
        const size_t least = *bound > options->goal ? *bound : options->goal;
        if (*height <= least) break;
        const size_t middle = low + (*height - low) / 2 / unit * unit;
        if (low >= least && middle == low) low = 0, share *= 2;
        const size_t capacity = low < least ? least : middle;
        const uint64_t left = options->steps - s->nodes, steps = low < least ? share : share / 4;
        const ctl_packed found = pack_below(&p, capacity, s->nodes + (steps < left ? steps : left));
        if (found == CTL_PACK_FOUND)
            p.height = *height = take(&p, items);
        else if (found == CTL_PACK_NONE && *bound <= capacity)
            *bound = capacity + unit - capacity % unit;
        else
            low = capacity;
    }
    return s->nodes;
}
