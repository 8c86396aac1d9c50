/* equal: see equal.h. Names are 128 bits (two independent mixes), so that two values of one name are one value. A copy of
 * a slice (times 1, or widened and rounded again) has the name of the slice. */
#include "compiler/plan/equal.h"

typedef struct name {
    uint64_t a, b;
} name;

static void stir(name *n, uint64_t v) {
    n->a = (n->a ^ v) * 0x9fb21c651e98df25u;
    n->a ^= n->a >> 28;
    n->b = (n->b + v) * 0xd6e8feb86659fd93u;
    n->b ^= n->b >> 32;
}

static bool is_one(const ctl_graph *g, ctl_node_id id) { return g->at[id].op == OP_CONST && g->at[id].f == 1; }

/* A value that has the numbers of another by construction: x * 1, and a cast back to 16 bits of a widened value. */
static ctl_node_id same_as(const ctl_graph *g, ctl_node_id id) {
    const ctl_node *n = &g->at[id];
    if (n->op == OP_MUL && n->nin == 2 && is_one(g, n->in[1]) && g->at[n->in[0]].dtype == n->dtype) return n->in[0];
    if (n->op == OP_CAST && n->dtype == CTL_BF16 && g->at[n->in[0]].op == OP_CAST) {
        ctl_node_id wide = n->in[0], from = g->at[wide].in[0];
        if (g->at[from].dtype == CTL_BF16) return from;
    }
    return id;
}

static name *names_of(const ctl_graph *g, ctl_arena *arena) {
    name *all = CTL_NEW_ARRAY(arena, name, g->n);
    for (ctl_node_id id = 0; id < g->n; id++) {
        const ctl_node *n = &g->at[id];
        ctl_node_id same = same_as(g, id);
        if (same != id) {
            all[id] = all[same];
            continue;
        }
        name *to = &all[id];
        *to = (name){0x243f6a8885a308d3u, 0x13198a2e03707344u};
        /* Dropout is off in evaluate alone: that pass has other operations then, so the entry itself does not count. */
        stir(to, (uint64_t)n->op << 32 | (uint64_t)n->dtype << 16 | n->space);
        stir(to, (uint64_t)n->rows), stir(to, (uint64_t)n->cols), stir(to, (uint64_t)n->split);
        for (int k = 0; k < 3; k++) stir(to, (uint64_t)n->i[k]);
        uint64_t bits;
        memcpy(&bits, &n->f, sizeof bits);
        stir(to, bits);
        for (uint32_t k = 0; k < n->nin; k++) stir(to, all[n->in[k]].a), stir(to, all[n->in[k]].b);
    }
    return all;
}

typedef struct pair {
    const ctl_graph *planned, *original;
    const name *names, *expected;
    ctl_arena *arena;
    const char **why;
} pair;

static bool agree(const pair *p, const char *what, const char *which, ctl_node_id a, ctl_node_id b) {
    if (a == CTL_NONE && b == CTL_NONE) return true;
    if (a != CTL_NONE && b != CTL_NONE && p->names[a].a == p->expected[b].a && p->names[a].b == p->expected[b].b) return true;
    *p->why = ctl_format(p->arena, "%s %s is not what it was before planning", what, which);
    return false;
}

bool ctl_graphs_equal(const ctl_graph *planned, const ctl_graph *original, ctl_arena *scratch, const char **why) {
    pair p = {planned, original, names_of(planned, scratch), names_of(original, scratch), scratch, why};
    *why = NULL;
    if (planned->params.n != original->params.n || planned->inputs.n != original->inputs.n ||
        planned->outputs.n != original->outputs.n) {
        *why = "there are other parameters, inputs or outputs than before planning";
        return false;
    }
    if (!agree(&p, "the", "loss", planned->loss, original->loss)) return false;
    for (size_t k = 0; k < original->params.n; k++)
        if (!agree(&p, "the gradient of", original->params.at[k].name, planned->params.at[k].grad, original->params.at[k].grad))
            return false;
    for (size_t k = 0; k < original->inputs.n; k++)
        if (!agree(&p, "the gradient of", original->inputs.at[k].name, planned->inputs.at[k].grad, original->inputs.at[k].grad))
            return false;
    for (size_t k = 0; k < original->outputs.n; k++) {
        const ctl_output *a = &planned->outputs.at[k], *b = &original->outputs.at[k];
        if (!agree(&p, "output", b->name, a->node, b->node)) return false;
        if (!agree(&p, "evaluate's output", b->name, a->evaluate, b->evaluate)) return false;
    }
    return true;
}
