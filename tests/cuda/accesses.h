/* accesses: how a warp's accesses to memory fall on what the hardware moves. A warp's k-th execution of a
 * line since its last barrier is one access of all its lanes: of global memory it touches sectors of 32
 * bytes, of shared memory it takes turns, in each of which a bank of 4 bytes gives one word (to any number of
 * lanes). The least possible are as many sectors as the bytes fill, and a turn for every 128 bytes that lanes
 * ask for. Accesses of 8 bytes go by half warps, of 16 by quarters, as do the rows of ldmatrix and the copies
 * that land. What a device's caches do then is not modelled. */
#ifndef CTL_TESTS_CUDA_ACCESSES_H
#define CTL_TESTS_CUDA_ACCESSES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cuda/launch.h"
#include "tests/cuda/sites.h"

enum { ACCESS_MOST_SITES = 4096, ACCESS_SECTOR = 32, ACCESS_BANK = 4, ACCESS_BANKS = 32 };
typedef struct access_site {
    unsigned site; /* 0: none */
    int how, shared, bytes;
    host_accesses n;
} access_site;
typedef struct access_entry {
    uint64_t key; /* the site's place, barriers passed, and which execution since then */
    uintptr_t at;
} access_entry;
typedef struct access_log {
    access_entry *at;
    size_t n, room;
} access_log;

static int access_on = -1; /* whether they are counted; -1: as the environment says */
static access_site access_sites[ACCESS_MOST_SITES];
static access_log access_logs[HOST_MOST_THREADS];
static struct access_turn {
    uint64_t since; /* the barriers passed at the last access, and 1 */
    unsigned k;
} access_turns[HOST_MOST_THREADS][ACCESS_MOST_SITES];

static int access_is_on(void) {
    if (access_on < 0)
        access_on = getenv("CTL_CUDA_WATCH") && strcmp(getenv("CTL_CUDA_WATCH"), "accesses") == 0;
    return access_on;
}

static unsigned access_site_of(unsigned site, int how, int shared, int bytes) {
    unsigned h = (site * 2654435761u >> 7) + (unsigned)(how * 2 + shared);
    for (h %= ACCESS_MOST_SITES; access_sites[h].site; h = (h + 1) % ACCESS_MOST_SITES) {
        const access_site *s = &access_sites[h];
        if (s->site == site && s->how == how && s->shared == shared && s->bytes == bytes) return h;
    }
    access_sites[h] = (access_site){.site = site, .how = how, .shared = shared, .bytes = bytes};
    return h;
}

static void access_note(const void *p, size_t bytes, int how, int shared, unsigned site, unsigned at_block,
                        unsigned at_warp) {
    access_log *log = &access_logs[host.now->index];
    const unsigned at = access_site_of(site, how, shared, (int)bytes);
    const uint64_t since = (uint64_t)at_block << 16 | at_warp;
    struct access_turn *turn = &access_turns[host.now->index][at];
    if (turn->since != since + 1) *turn = (struct access_turn){since + 1, 0};
    if (log->n == log->room) {
        log->room = log->room ? 2 * log->room : 1024;
        if (!(log->at = realloc(log->at, log->room * sizeof *log->at))) host_fail("no memory for the watch");
    }
    if (at_block >> 16 || at_warp >> 16 || turn->k >> 20)
        host_fail("more barriers or executions than the watch counts");
    log->at[log->n++] = (access_entry){(uint64_t)at << 52 | since << 20 | turn->k++, (uintptr_t)p};
}

static int access_order(const void *a, const void *b) {
    const access_entry *x = a, *y = b;
    return x->key != y->key ? (x->key < y->key ? -1 : 1) : x->at < y->at ? -1 : x->at > y->at;
}
/* Sectors of accesses in the order of their addresses, and bytes, each once. */
static void access_sectors(const access_entry *e, int lanes, host_accesses *n, unsigned bytes) {
    uintptr_t end = 0, sector = 0;
    uint64_t own = 0;
    for (int k = 0; k < lanes; k++) {
        const uintptr_t begin = e[k].at > end ? e[k].at : end, stop = e[k].at + bytes;
        if (stop <= begin) continue;
        own += stop - begin, end = stop;
        for (uintptr_t s = begin / ACCESS_SECTOR + 1; s <= (stop - 1) / ACCESS_SECTOR + 1; s++)
            if (s > sector) n->moves++, sector = s;
    }
    n->least += (own + ACCESS_SECTOR - 1) / ACCESS_SECTOR;
}
/* Turns of lanes that go together: of each bank the different words. */
static uint64_t access_turns_of(const uintptr_t *at, int lanes, unsigned bytes) {
    uintptr_t words[ACCESS_BANKS][HOST_WARP];
    int n[ACCESS_BANKS] = {0}, most = 0;
    for (int k = 0; k < lanes; k++)
        for (uintptr_t w = at[k] / ACCESS_BANK; w <= (at[k] + bytes - 1) / ACCESS_BANK; w++) {
            const int bank = (int)(w % ACCESS_BANKS);
            int found = 0;
            for (int j = 0; j < n[bank]; j++) found |= words[bank][j] == w;
            if (!found) words[bank][n[bank]++] = w;
            if (n[bank] > most) most = n[bank];
        }
    return (uint64_t)most;
}

/* A warp's accesses of a block that has ended. */
static void access_count_warp(int first) {
    size_t total = 0, n = 0;
    for (int lane = 0; lane < HOST_WARP && first + lane < host.nthreads; lane++)
        total += access_logs[first + lane].n;
    access_entry *all = malloc(total * sizeof *all + 1);
    for (int lane = 0; all && lane < HOST_WARP && first + lane < host.nthreads; lane++) {
        access_log *log = &access_logs[first + lane];
        /* An address has its lane in the upper bits that it does not use, so that phases are told apart when
         * it is sorted. */
        for (size_t k = 0; k < log->n; k++)
            all[n++] = (access_entry){log->at[k].key, log->at[k].at | (uintptr_t)lane << 56};
        log->n = 0;
    }
    if (!all) return;
    qsort(all, total, sizeof *all, access_order);
    for (size_t k = 0, lanes; k < total; k += lanes) {
        access_site *s = &access_sites[all[k].key >> 52];
        const unsigned bytes = (unsigned)s->bytes, together = bytes >= 16 ? 8 : bytes == 8 ? 16 : 32;
        uintptr_t at[HOST_WARP];
        for (lanes = 0; k + lanes < total && all[k + lanes].key == all[k].key && lanes < HOST_WARP; lanes++) {
        }
        s->n.times++, s->n.lanes += lanes, s->n.bytes += lanes * bytes;
        for (size_t j = 0, m = 0; s->shared && j < lanes; j++) { /* by phases of lanes */
            const uintptr_t lane = all[k + j].at >> 56,
                            next = j + 1 < lanes ? all[k + j + 1].at >> 56 : HOST_WARP;
            at[m++] = all[k + j].at & (((uintptr_t)1 << 56) - 1);
            if (next / together == lane / together) continue;
            s->n.moves += access_turns_of(at, (int)m, bytes), s->n.least++;
            m = 0;
        }
        if (s->shared) continue;
        for (size_t j = 0; j < lanes; j++) all[k + j].at &= ((uintptr_t)1 << 56) - 1;
        qsort(all + k, lanes, sizeof *all, access_order);
        access_sectors(all + k, (int)lanes, &s->n, bytes);
    }
    free(all);
}
static void access_block_ends(void) {
    for (int first = 0; first < host.nthreads; first += HOST_WARP) access_count_warp(first);
    memset(access_turns, 0, (size_t)host.nthreads * sizeof access_turns[0]);
}

/* ---- what was counted ---- */
static int access_lines(host_access_line *out, int most) {
    int n = 0, lines = 0;
    unsigned *sites = malloc(ACCESS_MOST_SITES * sizeof *sites);
    site_line *at = malloc(ACCESS_MOST_SITES * sizeof *at);
    for (int k = 0; sites && k < ACCESS_MOST_SITES; k++)
        if (access_sites[k].n.times) sites[n++] = access_sites[k].site;
    if (at) site_lines(sites, n, at);
    for (int k = 0, i = 0; at && k < ACCESS_MOST_SITES; k++) {
        const access_site *s = &access_sites[k];
        if (!s->n.times) continue;
        const site_line *l = &at[i++];
        int to = 0;
        while (to < lines && (out[to].line != l->line || out[to].shared != s->shared ||
                              out[to].how != s->how || out[to].bytes != s->bytes))
            to++;
        if (to == most) continue;
        if (to == lines) {
            out[lines++] =
                (host_access_line){.line = l->line, .shared = s->shared, .how = s->how, .bytes = s->bytes};
            snprintf(out[to].kernel, sizeof out[to].kernel, "%s", l->function);
            snprintf(out[to].text, sizeof out[to].text, "%s", l->text);
        }
        host_accesses *sum = &out[to].n;
        sum->times += s->n.times, sum->lanes += s->n.lanes, sum->bytes += s->n.bytes,
            sum->moves += s->n.moves, sum->least += s->n.least;
    }
    free(sites), free(at);
    return lines;
}
static int access_line_order(const void *a, const void *b) {
    const host_access_line *x = a, *y = b;
    return x->line != y->line       ? x->line - y->line
           : x->shared != y->shared ? x->shared - y->shared
                                    : x->how - y->how;
}
static void access_print(FILE *to) {
    enum { MOST = 512 };
    static const char *const names[] = {"read", "write", "ldmatrix", "copy from", "copy to"};
    host_access_line *lines = calloc(MOST, sizeof *lines);
    const int n = lines ? access_lines(lines, MOST) : 0;
    if (n) qsort(lines, (size_t)n, sizeof *lines, access_line_order);
    for (int k = 0; k < n; k++) {
        const host_access_line *l = &lines[k];
        if (k == 0 || strcmp(l->kernel, lines[k - 1].kernel) != 0)
            fprintf(to, "%s\n%9s %10s %5s %12s %9s %9s %6s\n", l->kernel, "", "", "size", "bytes", "moves",
                    "least", "ratio");
        fprintf(to, "%-9s %-10s %5d %12llu %9llu %9llu %6.2f  %.90s\n", l->shared ? "shared" : "global",
                names[l->how], l->bytes, (unsigned long long)l->n.bytes, (unsigned long long)l->n.moves,
                (unsigned long long)l->n.least, l->n.least ? (double)l->n.moves / (double)l->n.least : 0.0,
                l->text);
    }
    free(lines);
}

#endif
