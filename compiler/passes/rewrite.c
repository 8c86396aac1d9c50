/* rewrite.c: hash-consing into a new graph, and the counting of readers. */
#include "compiler/passes/rewrite.h"

/* What makes two nodes equal, as bytes: a head, then the inputs. Types follow from these, but for the dtype
 * that a CAST and a PARAM choose. */
typedef struct node_key {
    int64_t i[3];
    double f;
    uint32_t nin;
    uint16_t op;
    uint8_t dtype, evaluate;
} node_key;

enum { MOST_INPUTS = 64 };
typedef struct key_bytes {
    node_key head;
    ctl_node_id in[MOST_INPUTS];
} key_bytes;

static bool reads_step(const ctl_graph *g, const ctl_node *node) {
    for (uint32_t k = 0; k < node->nin; k++) {
        if (g->at[node->in[k]].rate == RATE_STEP) return true;
    }
    return node->op == OP_DROP;
}

static size_t make_key(const ctl_graph *g, const ctl_node *node, key_bytes *key) {
    memset(&key->head, 0, sizeof key->head);
    memcpy(key->head.i, node->i, sizeof node->i);
    key->head.f = node->f;
    key->head.nin = node->nin;
    key->head.op = node->op;
    if (node->op == OP_CAST || node->op == OP_PARAM) key->head.dtype = node->dtype;
    key->head.evaluate = node->entry == ENTRY_EVALUATE && reads_step(g, node);
    if (node->nin) memcpy(key->in, node->in, node->nin * sizeof *node->in);
    return sizeof key->head + node->nin * sizeof *node->in;
}

void ctl_rewrite_begin(ctl_rewrite *r, const ctl_graph *in) {
    ctl_graph_copy *copy = ctl_copy_begin(in);
    *r = (ctl_rewrite){
        .copy = copy, .in = in, .out = copy->out, .map = copy->map, .known = {.arena = in->arena}};
}

/* The equal node that may stand for this one: a forward value does not come from backward. */
static ctl_node_id find(const ctl_rewrite *r, const ctl_node *node, const key_bytes *key, size_t size) {
    const ctl_node_id *found = ctl_map_get_bytes(&r->known, key, size);
    if (!found) return CTL_NONE;
    bool late = r->out->at[*found].rate == RATE_STEP && node->entry == ENTRY_FORWARD &&
                r->out->at[*found].entry == ENTRY_BACKWARD;
    return late ? CTL_NONE : *found;
}

ctl_node_id ctl_rewrite_find(const ctl_rewrite *r, const ctl_node *node) {
    key_bytes key;
    size_t size = make_key(r->out, node, &key);
    return find(r, node, &key, size);
}

ctl_node_id ctl_rewrite_node(ctl_rewrite *r, const ctl_node *node) {
    for (uint32_t k = 0; k < node->nin; k++) {
        if (node->in[k] >= r->out->n) return CTL_NONE;
    }
    key_bytes key;
    size_t size = make_key(r->out, node, &key);
    ctl_node_id id = find(r, node, &key, size);
    if (id != CTL_NONE) return id;
    const char *why = NULL;
    r->out->entry = (ctl_entry)node->entry;
    id = ctl_graph_add(r->out, node, &why);
    if (id == CTL_NONE) {
        if (!r->out->misfit) r->out->misfit = why;
        return CTL_NONE;
    }
    ctl_node_id *kept = CTL_NEW(r->out->arena, ctl_node_id);
    *kept = id;
    ctl_map_put_bytes(&r->known, &key, size, kept);
    return id;
}

ctl_node_id ctl_rewrite_make(ctl_rewrite *r, const ctl_node *like, ctl_op op, uint32_t nin,
                             const ctl_node_id *in, int64_t i0, int64_t i1) {
    ctl_node_id copy[MOST_INPUTS];
    memcpy(copy, in, nin * sizeof *in);
    ctl_node node = {.op = (uint16_t)op,
                     .dtype = CTL_REAL,
                     .entry = like->entry,
                     .nin = nin,
                     .in = copy,
                     .i = {i0, i1, 0},
                     .span = like->span,
                     .user = like->user,
                     .path = like->path};
    return ctl_rewrite_node(r, &node);
}

ctl_node ctl_rewrite_mapped(ctl_rewrite *r, ctl_node_id id) {
    ctl_node node = r->in->at[id];
    ctl_node_id *in = node.nin ? CTL_NEW_ARRAY(r->in->arena, ctl_node_id, node.nin) : NULL;
    for (uint32_t k = 0; k < node.nin; k++) in[k] = r->map[node.in[k]];
    node.in = in;
    return node;
}

ctl_graph *ctl_rewrite_end(ctl_rewrite *r) {
    r->out->entry = ENTRY_FORWARD;
    return ctl_graph_sweep(ctl_copy_end(r->copy));
}

static void count(uint32_t *readers, ctl_node_id id) {
    if (id != CTL_NONE) readers[id]++;
}

/* Readers that are not nodes. */
static void count_roots(const ctl_graph *g, uint32_t *readers) {
    for (size_t k = 0; k < g->params.n; k++) {
        count(readers, g->params.at[k].grad);
        if (g->params.at[k].init == INIT_VALUE) count(readers, g->params.at[k].init_node);
    }
    for (size_t k = 0; k < g->inputs.n; k++) count(readers, g->inputs.at[k].grad);
    for (size_t k = 0; k < g->outputs.n; k++) {
        count(readers, g->outputs.at[k].node);
        count(readers, g->outputs.at[k].evaluate);
    }
    count(readers, g->loss);
}

uint32_t *ctl_count_readers(const ctl_graph *g, ctl_arena *arena) {
    uint32_t *readers = CTL_NEW_ARRAY(arena, uint32_t, g->n);
    count_roots(g, readers);
    for (size_t k = 0; k < g->n; k++) {
        for (uint32_t j = 0; j < g->at[k].nin; j++) readers[g->at[k].in[j]]++;
    }
    return readers;
}
