/* pack_search: see pack_search.h. */
#include "compiler/plan/pack_search.h"

#include <stdlib.h>

enum { ASK_EVERY = 4096 };

static int compare_items(const void *left, const void *right) {
    const ctl_pack_item *a = left, *b = right;
    if (a->first != b->first) return a->first < b->first ? -1 : 1;
    if (a->bytes != b->bytes) return a->bytes > b->bytes ? -1 : 1;
    if (a->last != b->last) return a->last > b->last ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static bool meet(const ctl_pack_item *a, const ctl_pack_item *b) {
    return a->first <= b->last && b->first <= a->last;
}

static void find_others(ctl_pack_search *s) {
    uint32_t *list = CTL_NEW_ARRAY(s->arena, uint32_t, s->n);
    for (uint32_t i = 0; i < s->n; i++) {
        ctl_pack_item *it = &s->items[i];
        it->nothers = 0;
        for (uint32_t j = 0; j < s->n && s->items[j].first <= it->last; j++)
            if (j != i && meet(it, &s->items[j])) list[it->nothers++] = j;
        it->others = CTL_NEW_ARRAY(s->arena, uint32_t, it->nothers);
        if (it->nothers) memcpy(it->others, list, it->nothers * sizeof *list);
    }
}

/* A section is a last beginning before an end: whoever is alive at another time is alive at one of these too.
 */
static void find_sections(ctl_pack_search *s) {
    uint32_t *alive = CTL_NEW_ARRAY(s->arena, uint32_t, s->n), nalive = 0;
    s->sections = CTL_NEW_ARRAY(s->arena, ctl_pack_section, s->n);
    s->nsections = 0;
    for (uint32_t i = 0; i < s->n; i++) s->items[i].from = UINT32_MAX;
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t kept = 0;
        for (uint32_t k = 0; k < nalive; k++)
            if (s->items[alive[k]].last >= s->items[i].first) alive[kept++] = alive[k];
        nalive = kept;
        alive[nalive++] = i;
        bool ends = i + 1 == s->n;
        for (uint32_t k = 0; !ends && k < nalive; k++) ends = s->items[alive[k]].last < s->items[i + 1].first;
        if (!ends) continue;
        ctl_pack_section *section = &s->sections[s->nsections];
        section->items = CTL_NEW_ARRAY(s->arena, uint32_t, nalive);
        section->nitems = nalive, section->weight = 1;
        memcpy(section->items, alive, nalive * sizeof *alive);
        for (uint32_t k = 0; k < nalive; k++) {
            ctl_pack_item *it = &s->items[alive[k]];
            section->bytes += it->bytes;
            if (it->from == UINT32_MAX) it->from = s->nsections;
            it->to = s->nsections;
        }
        s->nsections++;
    }
}

void ctl_pack_prepare(ctl_pack_search *s) {
    qsort(s->items, s->n, sizeof *s->items, compare_items);
    find_others(s);
    find_sections(s);
}

/* ---- what can be taken back ---- */
static void note(ctl_pack_search *s, uint32_t what, size_t before) {
    CTL_PUSH(s->arena, &s->changes, (ctl_pack_change){what, before});
}

static void sections_of(const ctl_pack_search *s, const ctl_pack_item *it, uint32_t *from, uint32_t *to) {
    *from = it->from > s->begin ? it->from : s->begin;
    *to = it->to < s->end - 1 ? it->to : s->end - 1;
}

/* What a part of a search has laid goes as well, though that part by itself succeeded. */
static void take_back(ctl_pack_search *s, size_t to) {
    while (s->changes.n > to) {
        ctl_pack_change c = s->changes.at[--s->changes.n];
        if (c.what < s->n) {
            s->items[c.what].offset = c.before;
        } else if (c.what < s->n + s->nsections) {
            s->sections[c.what - s->n].floor = c.before;
        } else {
            ctl_pack_item *it = &s->items[c.what - s->n - s->nsections];
            uint32_t a, b;
            sections_of(s, it, &a, &b);
            for (uint32_t k = a; k <= b; k++) s->sections[k].left += it->bytes;
            it->laid = false;
        }
    }
}

static void find_floor(ctl_pack_search *s, uint32_t at) {
    ctl_pack_section *section = &s->sections[at];
    if (section->stamp == s->stamp) return;
    section->stamp = s->stamp;
    size_t lowest = SIZE_MAX;
    for (uint32_t k = 0; k < section->nitems; k++) {
        const ctl_pack_item *it = &s->items[section->items[k]];
        if (!it->laid && it->offset < lowest) lowest = it->offset;
    }
    if (lowest == section->floor) return;
    note(s, s->n + at, section->floor);
    section->floor = lowest;
}

/* Lays item j; false when that leaves too little room somewhere. *alone: nothing is left to lie on it. */
static bool lay(ctl_pack_search *s, uint32_t j, uint32_t from, uint32_t to, bool *alone) {
    ctl_pack_item *it = &s->items[j];
    const size_t top = it->offset + it->bytes;
    uint32_t a, b;
    s->stamp++;
    note(s, s->n + s->nsections + j, 0);
    it->laid = true, *alone = true;
    sections_of(s, it, &a, &b);
    for (uint32_t k = a; k <= b; k++) s->sections[k].left -= it->bytes;
    bool fits = top <= s->capacity;
    for (uint32_t k = 0; k < it->nothers; k++) {
        ctl_pack_item *other = &s->items[it->others[k]];
        if (other->laid) continue;
        *alone = false;
        if (other->offset >= top) continue;
        if (other->fixed || other->bytes > s->capacity - (top < s->capacity ? top : s->capacity))
            fits = false;
        if (!fits) continue;
        note(s, it->others[k], other->offset);
        other->offset = top;
    }
    if (!fits) {
        for (uint32_t k = a; k <= b; k++) s->sections[k].weight += 0.2;
        return false;
    }
    for (uint32_t k = a; k <= b; k++) find_floor(s, k);
    for (uint32_t k = 0; k < it->nothers; k++) {
        const ctl_pack_item *other = &s->items[it->others[k]];
        if (other->laid || other->offset != top) continue;
        uint32_t c, d;
        sections_of(s, other, &c, &d);
        for (; c <= d; c++) find_floor(s, c);
    }
    for (uint32_t k = from; k <= to; k++) {
        ctl_pack_section *section = &s->sections[k];
        if (!section->left) continue;
        size_t floor = section->floor > it->offset ? section->floor : it->offset;
        if (floor <= s->capacity && section->left <= s->capacity - floor) continue;
        section->weight += 1;
        return false;
    }
    return true;
}

static ctl_packed choose(ctl_pack_search *s, uint32_t from, uint32_t to, uint32_t before);

/* Searches apart what shares no moment among items from .. to - 1. */
static ctl_packed divide(ctl_pack_search *s, uint32_t from, uint32_t to, uint32_t before) {
    for (uint32_t at = from; at < to;) {
        while (at < to && s->items[at].laid) at++;
        if (at == to) break;
        uint32_t begin = at, end = at + 1;
        int32_t last = s->items[at].last;
        for (; at < to && (s->items[at].laid || s->items[at].first <= last); at++) {
            if (s->items[at].laid) continue;
            if (s->items[at].last > last) last = s->items[at].last;
            end = at + 1;
        }
        ctl_packed found = choose(s, begin, end, before);
        if (found != CTL_PACK_FOUND) return found;
    }
    return CTL_PACK_FOUND;
}

static bool comes_first(const ctl_pack_item *a, const ctl_pack_item *b) {
    return a->offset != b->offset ? a->offset < b->offset : a->rank < b->rank;
}

static ctl_packed choose(ctl_pack_search *s, uint32_t from, uint32_t to, uint32_t before) {
    size_t lowest_top = SIZE_MAX;
    uint32_t section_from = UINT32_MAX, section_to = 0, tried = UINT32_MAX;
    for (uint32_t j = from; j < to; j++) {
        const ctl_pack_item *it = &s->items[j];
        if (it->laid) continue;
        uint32_t a, b;
        sections_of(s, it, &a, &b);
        if (a < section_from) section_from = a;
        if (b > section_to) section_to = b;
        if (it->offset + it->bytes < lowest_top) lowest_top = it->offset + it->bytes;
    }
    for (;;) {
        uint32_t next = UINT32_MAX;
        for (uint32_t j = from; j < to; j++) {
            const ctl_pack_item *it = &s->items[j];
            if (it->laid || it->offset >= lowest_top) continue;
            if (before != UINT32_MAX && comes_first(it, &s->items[before])) continue;
            if (tried != UINT32_MAX && !comes_first(&s->items[tried], it)) continue;
            if (next == UINT32_MAX || comes_first(it, &s->items[next])) next = j;
        }
        if (next == UINT32_MAX) return CTL_PACK_NONE;
        if (s->nodes >= s->most_nodes) return CTL_PACK_STOPPED;
        if (++s->nodes % ASK_EVERY == 0 && s->go_on && !s->go_on(s->ctx, s->nodes)) s->stop = true;
        if (s->stop) return CTL_PACK_STOPPED;
        size_t changes = s->changes.n;
        bool alone, fits = lay(s, next, section_from, section_to, &alone);
        ctl_packed found = fits ? divide(s, from, to, next) : CTL_PACK_NONE;
        if (found == CTL_PACK_FOUND) return found;
        take_back(s, changes);
        /* Nothing lies on it, so it was not to blame: no other choice here helps. */
        if (found == CTL_PACK_STOPPED || (fits && alone)) return found;
        tried = next;
    }
}

ctl_packed ctl_pack_stretch(ctl_pack_search *s) {
    for (uint32_t k = 0; k < s->n; k++) {
        ctl_pack_item *it = &s->items[k];
        it->laid = it->to < s->begin || it->from >= s->end;
    }
    /* What is fixed outside stands in the way of what reaches out to it. */
    for (uint32_t k = 0; k < s->n; k++) {
        const ctl_pack_item *it = &s->items[k];
        if (it->fixed || it->to < s->begin || it->from >= s->end) continue;
        for (uint32_t j = 0; j < it->nothers; j++)
            if (s->items[it->others[j]].fixed) s->items[it->others[j]].laid = false;
    }
    s->changes.n = 0, s->stamp++;
    for (uint32_t k = s->begin; k < s->end; k++) {
        ctl_pack_section *section = &s->sections[k];
        section->left = section->bytes;
        find_floor(s, k);
        if (section->left > s->capacity) return CTL_PACK_NONE;
    }
    s->changes.n = 0;
    return divide(s, 0, s->n, UINT32_MAX);
}
