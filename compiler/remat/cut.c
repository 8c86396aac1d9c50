/* cut: Dinic's algorithm for the least vertex cut.
 *
 * Every vertex becomes an arc of its cost from its entrance (node 2v) to its exit (2v + 1); edges are arcs
 * without limit from exit to entrance; sources hang on S, sinks on T. The greatest flow equals the least cut
 * (Ford and Fulkerson), and Dinic finds it in phases: distances from S by breadth, then a blocking flow by
 * depth along arcs that lead one step further, each node remembering the arc that it tries next. The
 * depth-first walk keeps its path in an array, for paths may be as long as the network is deep.
 *
 * Of all least cuts the last one is taken: nodes from which T can still be reached in the residual network
 * form its far side; a vertex whose exit lies there and whose entrance does not is kept. */
#include "compiler/remat/cut.h"

#define NO_LIMIT (INT64_MAX / 4)

typedef struct arc {
    uint32_t to, next; /* next: of the same node; UINT32_MAX ends */
    int64_t room;      /* what it can still carry; arc a's reverse is a ^ 1 */
} arc;

typedef struct network {
    arc *arcs;
    uint32_t narcs, nnodes, source, sink;
    uint32_t *first, *trying; /* by node: first arc, next arc to try */
    int32_t *distance;
    uint32_t *queue; /* of nodes; the path of arcs while walking */
} network;

static void add_arc(network *w, uint32_t from, uint32_t to, int64_t room) {
    w->arcs[w->narcs] = (arc){to, w->first[from], room};
    w->first[from] = w->narcs++;
    w->arcs[w->narcs] = (arc){from, w->first[to], 0};
    w->first[to] = w->narcs++;
}

/* Distances from S over arcs with room; false when T is out of reach. */
static bool measure(network *w) {
    for (uint32_t i = 0; i < w->nnodes; i++) w->distance[i] = -1;
    uint32_t head = 0, tail = 0;
    w->distance[w->source] = 0;
    w->queue[tail++] = w->source;
    while (head < tail) {
        uint32_t at = w->queue[head++];
        for (uint32_t a = w->first[at]; a != UINT32_MAX; a = w->arcs[a].next) {
            uint32_t to = w->arcs[a].to;
            if (w->arcs[a].room <= 0 || w->distance[to] >= 0) continue;
            w->distance[to] = w->distance[at] + 1;
            w->queue[tail++] = to;
        }
    }
    return w->distance[w->sink] >= 0;
}

/* Carries as much as the arcs of the path allow, and returns the depth of the first arc that became full. */
static uint32_t carry(network *w, const uint32_t *path, uint32_t depth) {
    int64_t amount = NO_LIMIT;
    for (uint32_t i = 0; i < depth; i++) {
        if (w->arcs[path[i]].room < amount) amount = w->arcs[path[i]].room;
    }
    uint32_t full = depth;
    for (uint32_t i = depth; i-- > 0;) {
        w->arcs[path[i]].room -= amount;
        w->arcs[path[i] ^ 1u].room += amount;
        if (w->arcs[path[i]].room == 0) full = i;
    }
    return full;
}

/* One phase: until no path along growing distances is left. */
static void block(network *w) {
    uint32_t *path = w->queue, depth = 0, at = w->source;
    memcpy(w->trying, w->first, w->nnodes * sizeof *w->trying);
    for (;;) {
        if (at == w->sink) {
            depth = carry(w, path, depth);
            at = w->arcs[path[depth] ^ 1u].to;
            continue;
        }
        uint32_t a = w->trying[at];
        while (a != UINT32_MAX &&
               (w->arcs[a].room <= 0 || w->distance[w->arcs[a].to] != w->distance[at] + 1)) {
            a = w->arcs[a].next;
        }
        w->trying[at] = a;
        if (a != UINT32_MAX) {
            path[depth++] = a;
            at = w->arcs[a].to;
        } else if (at == w->source) {
            return;
        } else {
            w->distance[at] = -1; /* a dead end for the rest of the phase */
            at = w->arcs[path[--depth] ^ 1u].to;
        }
    }
}

/* Marks the nodes from which T can be reached over arcs with room, in `distance`: 1, else 0. */
static void reach_sink(network *w) {
    for (uint32_t i = 0; i < w->nnodes; i++) w->distance[i] = 0;
    uint32_t head = 0, tail = 0;
    w->distance[w->sink] = 1;
    w->queue[tail++] = w->sink;
    while (head < tail) {
        uint32_t at = w->queue[head++];
        for (uint32_t a = w->first[at]; a != UINT32_MAX; a = w->arcs[a].next) {
            uint32_t from = w->arcs[a].to; /* the reverse of a leads from there to here */
            if (w->arcs[a ^ 1u].room <= 0 || w->distance[from]) continue;
            w->distance[from] = 1;
            w->queue[tail++] = from;
        }
    }
}

void ctl_cut_least(ctl_arena *arena, ctl_cut_vertex *vertices, size_t n, const ctl_cut_edge *edges,
                   size_t nedges) {
    network w = {.nnodes = (uint32_t)(2 * n + 2), .source = (uint32_t)(2 * n), .sink = (uint32_t)(2 * n + 1)};
    w.arcs = CTL_NEW_ARRAY(arena, arc, 2 * (3 * n + nedges) + 1);
    w.first = CTL_NEW_ARRAY(arena, uint32_t, w.nnodes);
    w.trying = CTL_NEW_ARRAY(arena, uint32_t, w.nnodes);
    w.distance = CTL_NEW_ARRAY(arena, int32_t, w.nnodes);
    w.queue = CTL_NEW_ARRAY(arena, uint32_t, w.nnodes);
    memset(w.first, 0xff, w.nnodes * sizeof *w.first);
    for (size_t v = 0; v < n; v++) {
        uint32_t in = (uint32_t)(2 * v);
        add_arc(&w, in, in + 1, vertices[v].cost);
        if (vertices[v].source) add_arc(&w, w.source, in, NO_LIMIT);
        if (vertices[v].sink) add_arc(&w, in + 1, w.sink, NO_LIMIT);
    }
    for (size_t e = 0; e < nedges; e++) add_arc(&w, 2 * edges[e].from + 1, 2 * edges[e].to, NO_LIMIT);
    while (measure(&w)) block(&w);
    reach_sink(&w);
    for (size_t v = 0; v < n; v++) vertices[v].kept = w.distance[2 * v + 1] && !w.distance[2 * v];
}
