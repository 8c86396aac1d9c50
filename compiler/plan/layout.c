/* layout: see layout.h. */
#include "compiler/plan/layout.h"

#include <stdlib.h>

#include "base/random.h"

enum { FEW_ITEMS = 4096, WORK = 60000000, MOST_ROUNDS = 4000, WORTH = 1000, SEARCH_STEPS = 100000 };

typedef struct placed { /* sorted by offset */
    size_t offset, end;
    int32_t first, last;
} placed;

typedef struct item {
    size_t bytes;
    int32_t first, last;
    uint32_t number;
    double key;
} item;

typedef struct search {
    item *order, *best_order;
    bool best_tightest;
    size_t n;
    placed *at;
    size_t *offset, *best_offset; /* by number */
    size_t best, bound, goal;     /* no need to get below the goal */
    int32_t peak;                 /* a time at which most bytes are alive */
} search;

/* BY_PEAK: what is alive when most is, longest lives first, then the rest by bytes. What is kept for backward stacks up without
 * a gap then, and what lives beside it at the peak stands on top. */
typedef enum order_kind { BY_PEAK, BY_BYTES, BY_AREA, BY_FIRST, BY_LIFE, BY_LAST, BY_WEIGHT, ORDER_KINDS } order_kind;

static double key_of(const item *i, order_kind kind, int32_t peak) {
    double bytes = (double)i->bytes, life = (double)i->last - i->first + 1;
    switch (kind) {
    case BY_PEAK:
        return i->first <= peak && i->last >= peak ? -1e30 * life : -bytes;
    case BY_BYTES:
        return -bytes;
    case BY_AREA:
        return -bytes * life;
    case BY_FIRST:
        return i->first;
    case BY_LIFE:
        return -life;
    case BY_LAST:
        return -(double)i->last;
    default:
        return -bytes * bytes * life;
    }
}

static int compare(const void *left, const void *right) {
    const item *a = left, *b = right;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    if (a->bytes != b->bytes) return a->bytes > b->bytes ? -1 : 1;
    if (a->first != b->first) return a->first < b->first ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* The gap for an item among those that live with it: *at is its offset. */
static size_t find_gap(const placed *p, size_t n, const item *it, bool tightest) {
    size_t low = 0, best = SIZE_MAX, best_gap = SIZE_MAX;
    for (size_t k = 0; k < n; k++) {
        if (p[k].last < it->first || p[k].first > it->last) continue;
        if (p[k].offset >= low + it->bytes && p[k].offset - low < best_gap) {
            best = low, best_gap = p[k].offset - low;
            if (!tightest || best_gap == it->bytes) return best;
        }
        if (p[k].end > low) low = p[k].end;
    }
    return best == SIZE_MAX ? low : best;
}

static void insert(placed *p, size_t n, placed new) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (p[middle].offset < new.offset)
            low = middle + 1;
        else
            high = middle;
    }
    memmove(&p[low + 1], &p[low], (n - low) * sizeof *p);
    p[low] = new;
}

/* Items whose life has ended can be forgotten when later ones begin later. */
static size_t forget(placed *p, size_t n, int32_t now) {
    size_t kept = 0;
    for (size_t k = 0; k < n; k++)
        if (p[k].last >= now) p[kept++] = p[k];
    return kept;
}

/* The arena's size when items are placed in this order; SIZE_MAX when that is above the best so far. */
static size_t try_order(search *s, bool tightest, bool by_time) {
    size_t total = 0, n = 0;
    for (size_t k = 0; k < s->n; k++) {
        const item *it = &s->order[k];
        if (by_time && k % 64 == 0) n = forget(s->at, n, it->first);
        size_t at = find_gap(s->at, n, it, tightest);
        insert(s->at, n++, (placed){at, at + it->bytes, it->first, it->last});
        s->offset[it->number] = at;
        if (at + it->bytes > total) total = at + it->bytes;
        if (total > s->best) return SIZE_MAX;
    }
    return total;
}

static void take(search *s, size_t total) {
    s->best = total;
    memcpy(s->best_offset, s->offset, s->n * sizeof *s->offset);
}

static void move(item *order, size_t from, size_t to) {
    item moved = order[from];
    if (to < from)
        memmove(&order[to + 1], &order[to], (from - to) * sizeof *order);
    else
        memmove(&order[from], &order[from + 1], (to - from) * sizeof *order);
    order[to] = moved;
}

/* Moves one item at a time to an earlier place in the best order, every other time one that sticks out above
 * the lower bound; keeps what does not make it worse. */
static void improve(search *s) {
    size_t rounds = s->n < 2 ? 0 : WORK / (s->n * s->n);
    if (rounds > MOST_ROUNDS) rounds = MOST_ROUNDS;
    memcpy(s->order, s->best_order, s->n * sizeof *s->order);
    for (uint32_t round = 0; round < rounds && s->best > s->goal; round++) {
        uint32_t counter[4] = {round, 0, 0, 0}, word[4];
        ctl_philox(counter, 0, word);
        size_t from = word[0] % s->n;
        for (size_t looked = 0; round % 2 && looked < s->n; looked++, from = (from + 1) % s->n)
            if (s->best_offset[s->order[from].number] + s->order[from].bytes > s->bound) break;
        size_t to = from ? word[1] % from : 0;
        move(s->order, from, to);
        size_t total = try_order(s, s->best_tightest, false);
        if (total <= s->best)
            take(s, total);
        else
            move(s->order, to, from);
    }
}

static void run(search *s) {
    static const order_kind large[] = {BY_PEAK, BY_BYTES, BY_FIRST};
    bool many = s->n > FEW_ITEMS;
    size_t kinds = many ? CTL_COUNT(large) : ORDER_KINDS;
    for (size_t k = 0; k < kinds; k++) {
        order_kind kind = many ? large[k] : (order_kind)k;
        for (size_t i = 0; i < s->n; i++) s->order[i].key = key_of(&s->order[i], kind, s->peak);
        qsort(s->order, s->n, sizeof *s->order, compare);
        for (int tightest = 0; tightest < 2; tightest++) {
            if (s->best <= s->goal || (many && tightest && kind != BY_FIRST)) continue;
            size_t total = try_order(s, tightest, kind == BY_FIRST);
            if (total >= s->best) continue;
            take(s, total);
            s->best_tightest = tightest;
            memcpy(s->best_order, s->order, s->n * sizeof *s->order);
        }
    }
    if (s->best > s->goal) improve(s);
}

typedef struct event {
    int64_t time; /* twice the item's, plus one for a beginning */
    size_t bytes;
} event;

static int compare_time(const void *left, const void *right) {
    const event *a = left, *b = right;
    return a->time < b->time ? -1 : a->time > b->time;
}

/* The most bytes alive at one time, and that time: ends before beginnings, in order of time. */
static size_t most_alive(ctl_arena *arena, const item *items, size_t n, int32_t *when) {
    event *events = CTL_NEW_ARRAY(arena, event, 2 * n);
    size_t alive = 0, most = 0;
    for (size_t k = 0; k < n; k++) {
        events[2 * k] = (event){2 * (int64_t)items[k].first + 1, items[k].bytes};
        events[2 * k + 1] = (event){2 * ((int64_t)items[k].last + 1), items[k].bytes};
    }
    qsort(events, 2 * n, sizeof *events, compare_time);
    for (size_t k = 0; k < 2 * n; k++) {
        if (events[k].time % 2)
            alive += events[k].bytes;
        else
            alive -= events[k].bytes;
        if (alive > most) most = alive, *when = (int32_t)(events[k].time / 2);
    }
    return most;
}

/* By heuristics alone: the best offsets by number. */
static bool place(ctl_arena *arena, const ctl_layout_item *items, size_t n, size_t alignment, size_t goal,
                  search *s) {
    *s = (search){.n = n,
                  .best = SIZE_MAX,
                  .order = CTL_NEW_ARRAY(arena, item, n),
                  .best_order = CTL_NEW_ARRAY(arena, item, n),
                  .at = CTL_NEW_ARRAY(arena, placed, n + 1),
                  .offset = CTL_NEW_ARRAY(arena, size_t, n),
                  .best_offset = CTL_NEW_ARRAY(arena, size_t, n)};
    size_t sum = 0;
    for (size_t k = 0; k < n; k++) {
        if (items[k].bytes > SIZE_MAX - alignment) return false;
        size_t rounded = (items[k].bytes + alignment - 1) / alignment * alignment;
        s->order[k] = (item){rounded, items[k].first, items[k].last, (uint32_t)k, 0};
        if (!ctl_add_size(sum, rounded, &sum) || items[k].first < 0 || items[k].last < items[k].first)
            return false;
    }
    s->bound = most_alive(arena, s->order, n, &s->peak);
    s->goal = goal > s->bound ? goal : s->bound;
    if (n)
        run(s);
    else
        s->best = 0;
    return true;
}

static uint64_t search_on(ctl_arena *arena, const ctl_layout_item *items, size_t alignment,
                          const ctl_pack_options *options, search *s) {
    ctl_pack_life *lives = CTL_NEW_ARRAY(arena, ctl_pack_life, s->n);
    for (size_t k = 0; k < s->n; k++) {
        size_t rounded = (items[k].bytes + alignment - 1) / alignment * alignment;
        lives[k] = (ctl_pack_life){rounded, items[k].first, items[k].last, s->best_offset[k]};
    }
    uint64_t steps = ctl_pack(arena, lives, s->n, options, &s->best, &s->bound);
    for (size_t k = 0; k < s->n; k++) s->best_offset[k] = lives[k].offset;
    return steps;
}

bool ctl_layout(ctl_arena *arena, ctl_layout_item *items, size_t n, size_t alignment, size_t *bytes,
                size_t *bound) {
    search s;
    if (!place(arena, items, n, alignment, 0, &s)) return false;
    *bound = s.bound; /* a definition, whatever a search proves */
    if (s.best - s.bound > s.bound / WORTH)
        search_on(arena, items, alignment, &(ctl_pack_options){.steps = SEARCH_STEPS}, &s);
    *bytes = s.best;
    for (size_t k = 0; k < n; k++) items[k].offset = s.best_offset[k];
    return true;
}

bool ctl_layout_search(ctl_arena *arena, ctl_layout_item *items, size_t n, size_t alignment,
                       const ctl_pack_options *options, size_t *bytes, size_t *bound, uint64_t *steps) {
    search s;
    if (!place(arena, items, n, alignment, options->goal, &s)) return false;
    *steps = search_on(arena, items, alignment, options, &s);
    *bytes = s.best, *bound = s.bound;
    for (size_t k = 0; k < n; k++) items[k].offset = s.best_offset[k];
    return true;
}
