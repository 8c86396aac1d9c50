/* races: finds two accesses to the same bytes, of different threads, at least one of them a write, that no
 * barrier orders. What it finds does not depend on the order in which this host runs threads: an access is
 * compared with what was done before it, and accesses that nothing orders are one before the other in any
 * order.
 *
 * What orders two accesses of a block: a block's barrier that stands between them; between threads of one
 * warp a warp's barrier. So a thread's time is two numbers, the barriers that it has passed of each kind (all
 * are of whole blocks and whole warps). Shuffles and tensor instructions order nothing, nor does anything
 * order the blocks of a launch. An asynchronous copy reads and writes at any time between its issue and its
 * thread's wait: whoever touches its places meanwhile, its own thread too, is in a race; to the others it is
 * a write of the moment of the wait.
 *
 * Of each two bytes (nothing in a kernel is smaller) are kept the last write, and of the reads since then so
 * many as tell whether a later write is ordered behind all of them: of two warps the last two threads, and
 * one of an earlier block. A read of shared memory that nobody in the block has written is a fault too. */
#ifndef CTL_TESTS_CUDA_RACES_H
#define CTL_TESTS_CUDA_RACES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cuda/sites.h"

typedef struct race_access {
    unsigned block; /* blocks are numbered from 1, over all launches; 0: no access */
    int thread;
    unsigned at_block, at_warp; /* barriers passed */
    unsigned site;
} race_access;
typedef struct race_cell {
    race_access write, earlier, reads[2][2]; /* reads: [a warp][two of its threads] */
    race_access copy;                        /* a copy to here is under way; site 0: none */
    int fetches;                             /* copies from here under way */
} race_cell;

enum { RACE_GRAIN = 2, RACE_PAGE = 4096, RACE_CELLS = RACE_PAGE / RACE_GRAIN, RACE_MOST_PAGES = 1 << 16 };
typedef struct race_page {
    uintptr_t number;
    race_cell *cells;
} race_page;
static race_page *race_pages; /* by their hash */
static int race_npages;

static race_cell *race_cell_of(uintptr_t address) {
    static race_page *last;
    const uintptr_t number = address / RACE_PAGE;
    if (!race_pages && !(race_pages = calloc(RACE_MOST_PAGES, sizeof *race_pages)))
        host_fail("no memory for the watch");
    if (!last || last->number != number) {
        uint32_t h = (uint32_t)(number * 0x9E3779B97F4A7C15u >> 40) % RACE_MOST_PAGES;
        while (race_pages[h].cells && race_pages[h].number != number) h = (h + 1) % RACE_MOST_PAGES;
        last = &race_pages[h];
        if (!last->cells) {
            if (++race_npages > RACE_MOST_PAGES / 2) host_fail("too much memory for the watch");
            last->number = number;
            if (!(last->cells = calloc(RACE_CELLS, sizeof *last->cells)))
                host_fail("no memory for the watch");
        }
    }
    return &last->cells[address % RACE_PAGE / RACE_GRAIN];
}
static void race_forget(void) {
    for (int k = 0; race_pages && k < RACE_MOST_PAGES; k++) free(race_pages[k].cells);
    free(race_pages);
    race_pages = NULL, race_npages = 0;
}

/* ---- whether one is before the other ---- */
static unsigned race_block, race_first_block; /* this one; the launch's first */
static struct race_time { unsigned at_block, at_warp; } race_times[HOST_MOST_THREADS];

static int race_is_fresh(const race_access *a) {
    return a->block >= race_first_block && a->block > 0;
}
/* Of an earlier access and one that comes now. */
static int race_is_open(const race_access *before, const race_access *now) {
    if (!race_is_fresh(before)) return 0;
    if (before->block != now->block) return 1;
    if (before->thread == now->thread || before->at_block != now->at_block) return 0;
    return before->thread / HOST_WARP != now->thread / HOST_WARP || before->at_warp == now->at_warp;
}

static int race_is_shared(const void *p) {
    const char *const at = p;
    return at >= host.shared && at < host.shared + host.shared_bytes;
}
static void race_report(const void *p, const race_access *now, const char *does, const race_access *before,
                        const char *did) {
    site_line lines[2];
    const unsigned sites[2] = {now->site, before->site};
    site_lines(sites, 2, lines);
    const char *where = race_is_shared(p) ? "shared" : "global";
    const long at = race_is_shared(p) ? (long)((const char *)p - host.shared) : 0;
    host_fail("race: it %s %s memory (byte %ld) by `%s`, what thread %d of %s block %s by `%s`", does, where,
              at, lines[0].text, before->thread, before->block == now->block ? "this" : "another", did,
              lines[1].text);
}

/* ---- accesses ---- */
typedef struct race_copy {
    const void *to, *from;
    size_t bytes;
    int group;
    unsigned site;
} race_copy;
static race_copy race_copies[HOST_MOST_THREADS][HOST_MOST_COPIES];
static int race_ncopies[HOST_MOST_THREADS];

static void race_note_read(race_cell *c, const race_access *now) {
    race_access(*r)[2] = c->reads;
    const int warp = now->thread / HOST_WARP;
    if (r[0][0].block != now->block) {
        if (race_is_fresh(&r[0][0])) c->earlier = r[0][0];
        memset(c->reads, 0, sizeof c->reads);
    } else if (r[0][0].at_block != now->at_block)
        memset(c->reads, 0, sizeof c->reads); /* which a barrier orders before whatever comes */
    for (int w = 0; w < 2; w++) {
        if (!r[w][0].block) {
            r[w][0] = *now;
            return;
        }
        if (r[w][0].thread / HOST_WARP != warp) continue;
        if (r[w][0].at_warp != now->at_warp)
            r[w][1] = (race_access){0}, r[w][0] = *now;
        else if (r[w][0].thread != now->thread)
            r[w][1] = *now;
        return;
    }
}
static void race_check_read(const void *p, race_cell *c, const race_access *now) {
    if (c->copy.site && race_is_fresh(&c->copy))
        race_report(p, now, "reads", &c->copy, "copies there without having waited");
    if (race_is_open(&c->write, now)) race_report(p, now, "reads", &c->write, "writes");
    if (race_is_shared(p) && c->write.block != now->block) {
        site_line line;
        site_lines(&now->site, 1, &line);
        host_fail("it reads shared memory that nobody has written (byte %ld) by `%s`",
                  (long)((const char *)p - host.shared), line.text);
    }
}
static void race_check_write(const void *p, race_cell *c, const race_access *now, const char *does) {
    if (c->copy.site && race_is_fresh(&c->copy))
        race_report(p, now, does, &c->copy, "copies there without having waited");
    if (race_is_open(&c->write, now)) race_report(p, now, does, &c->write, "writes");
    if (race_is_fresh(&c->earlier) && c->earlier.block != now->block)
        race_report(p, now, does, &c->earlier, "reads");
    for (int k = 0; k < 4; k++)
        if (race_is_open(&c->reads[k / 2][k % 2], now))
            race_report(p, now, does, &c->reads[k / 2][k % 2], "reads");
    if (c->fetches && c->reads[0][0].block == now->block)
        race_report(p, now, does, &c->reads[0][0], "copies from there without having waited");
}
static void race_note_write(race_cell *c, const race_access *now) {
    c->write = *now;
    c->earlier = (race_access){0};
    memset(c->reads, 0, sizeof c->reads);
}

static race_access race_now(unsigned site) {
    const int thread = host.now->index;
    return (race_access){race_block, thread, race_times[thread].at_block, race_times[thread].at_warp, site};
}
/* Of all the cells of some bytes. */
#define RACE_EACH(p, bytes)                                                                                  \
    for (uintptr_t at = (uintptr_t)(p), end = at + (bytes); at < end; at += RACE_GRAIN)
#define RACE_CELL race_cell_of(at)

static void race_block_begins(int first) {
    race_block++;
    if (first) race_first_block = race_block;
    memset(race_times, 0, sizeof race_times);
    memset(race_ncopies, 0, sizeof race_ncopies);
    RACE_EACH(host.shared, host.shared_bytes) *RACE_CELL = (race_cell){0}; /* each block has its own */
}

static void race_access_of(const void *p, size_t bytes, int writes, unsigned site) {
    const race_access now = race_now(site);
    if ((uintptr_t)p % RACE_GRAIN || bytes % RACE_GRAIN)
        host_fail("an access of %zu bytes, which the watch cannot follow", bytes);
    RACE_EACH(p, bytes) {
        race_cell *c = RACE_CELL;
        if (writes)
            race_check_write((const void *)at, c, &now, "writes"), race_note_write(c, &now);
        else
            race_check_read((const void *)at, c, &now), race_note_read(c, &now);
    }
}

/* ---- asynchronous copies ---- */
static void race_copy_begins(const void *to, const void *from, size_t bytes, int group, unsigned site) {
    const race_access now = race_now(site);
    int *n = &race_ncopies[now.thread];
    if (*n == HOST_MOST_COPIES) host_fail("too many copies at a time for this host");
    race_copies[now.thread][(*n)++] = (race_copy){to, from, bytes, group, site};
    RACE_EACH(from, bytes) {
        race_cell *c = RACE_CELL;
        race_check_read((const void *)at, c, &now), race_note_read(c, &now);
        c->fetches++;
    }
    RACE_EACH(to, 16) {
        race_cell *c = RACE_CELL;
        race_check_write((const void *)at, c, &now, "copies to");
        c->copy = now;
    }
}
static void race_copies_end(int group) {
    const int thread = host.now->index, n = race_ncopies[thread];
    int kept = 0;
    for (int k = 0; k < n; k++) {
        const race_copy q = race_copies[thread][k];
        const race_access now = race_now(q.site);
        if (q.group >= group) {
            race_copies[thread][kept++] = q;
            continue;
        }
        RACE_EACH(q.from, q.bytes) {
            race_cell *c = RACE_CELL;
            race_note_read(c, &now);
            c->fetches--;
        }
        RACE_EACH(q.to, 16) {
            race_cell *c = RACE_CELL;
            c->copy = (race_access){0};
            race_note_write(c, &now);
        }
    }
    race_ncopies[thread] = kept;
}

#endif
