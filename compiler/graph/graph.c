/* graph: the table of operations, and how nodes come into a graph. The rules themselves are in rules.c. */
#include "compiler/graph/graph.h"
#include "compiler/graph/rules.h"

typedef struct op_info {
    const char *name;
    ctl_op_class class;
    uint32_t least, most;
} op_info;

static const op_info ops[OP_COUNT] = {
#define OP(id, text, cls, least, most) [OP_##id] = {text, CLASS_##cls, least, most},
#include "compiler/graph/ops.def"
#undef OP
};

const char *ctl_op_name(ctl_op op) { return (unsigned)op < OP_COUNT ? ops[op].name : "?"; }
ctl_op_class ctl_op_class_of(ctl_op op) { return ops[op].class; }

ctl_graph *ctl_graph_new(ctl_arena *arena) {
    ctl_graph *g = CTL_NEW(arena, ctl_graph);
    g->arena = arena;
    g->loss = CTL_NONE;
    g->entry = ENTRY_FORWARD;
    g->rows_of[SPACE_NONE] = 1;
    return g;
}

void ctl_graph_spaces_from(ctl_graph *g, const ctl_graph *from) {
    memcpy(g->rows_of, from->rows_of, sizeof g->rows_of);
    memcpy(g->extra, from->extra, sizeof g->extra);
    g->sequence = from->sequence;
}

int64_t ctl_graph_sequence(const ctl_graph *g, int space) {
    return g->sequence && ctl_space_has_documents(space) ? g->sequence + g->extra[space] : 0;
}

ctl_space ctl_graph_space(ctl_graph *g, int64_t extra) {
    int64_t length, rows;
    if (extra == 0) return SPACE_TOKENS;
    if (g->sequence < 1 || extra < 0 || extra > INT32_MAX) return SPACE_NONE;
    int space = SPACE_PREPENDED;
    while (space < SPACE_COUNT && g->extra[space] && g->extra[space] != extra) space++;
    length = g->sequence + extra;
    if (space == SPACE_COUNT || !ctl_mul_i64(g->rows_of[SPACE_SEQUENCES], length, &rows)) return SPACE_NONE;
    if (rows > CTL_MOST_ROWS) return SPACE_NONE;
    g->extra[space] = extra, g->rows_of[space] = rows;
    return (ctl_space)space;
}

bool ctl_graph_sees_ahead(const ctl_graph *g) {
    bool sees = false;
    for (size_t k = 0; k < g->n; k++)
        sees |= g->at[k].op == OP_MIX || (g->at[k].op == OP_ATTEND && g->at[k].i[1] == 0);
    return sees;
}

ctl_node_id ctl_graph_add(ctl_graph *g, const ctl_node *node, const char **why) {
    *why = NULL;
    if (node->op >= OP_COUNT) {
        *why = "no such operation";
        return CTL_NONE;
    }
    const op_info *op = &ops[node->op];
    if (node->nin < op->least || node->nin > op->most) {
        *why = ctl_format(g->arena, "%s takes %u%s inputs, not %u", op->name, op->least,
                          op->most > op->least ? " or more" : "", node->nin);
        return CTL_NONE;
    }
    for (uint32_t k = 0; k < node->nin; k++) {
        if (node->in[k] >= g->n) {
            *why = ctl_format(g->arena, "%s reads a value that is not in the graph", op->name);
            return CTL_NONE;
        }
    }
    ctl_node made = *node;
    if (!ctl_rules_derive(g, g->entry, &made, g->arena, why)) return CTL_NONE;
    if (g->n == CTL_NONE - 1) {
        *why = "too many operations for one graph";
        return CTL_NONE;
    }
    made.in = CTL_NEW_ARRAY(g->arena, ctl_node_id, made.nin);
    if (made.nin) memcpy(made.in, node->in, made.nin * sizeof *made.in);
    if (g->n == g->cap) {
        void *at = g->at;
        ctl_vec_grow(g->arena, &at, g->n, &g->cap, sizeof *g->at);
        g->at = at;
    }
    g->at[g->n] = made;
    return (ctl_node_id)g->n++;
}

static ctl_node_id build(ctl_graph *g, ctl_node_id like, const ctl_node *node) {
    for (uint32_t k = 0; k < node->nin; k++)
        if (node->in[k] == CTL_NONE) return CTL_NONE;
    ctl_node made = *node;
    made.span = made.user = CTL_NO_SPAN;
    if (like < g->n) made.span = g->at[like].span, made.user = g->at[like].user, made.path = g->at[like].path;
    const char *why;
    ctl_node_id id = ctl_graph_add(g, &made, &why);
    if (id == CTL_NONE && !g->misfit) g->misfit = why;
    return id;
}

ctl_node_id ctl_build(ctl_graph *g, ctl_node_id like, ctl_op op, int nin, const ctl_node_id *in,
                      const int64_t i[3], double f) {
    ctl_node_id copy[64] = {0};
    if (nin > (int)CTL_COUNT(copy)) {
        if (!g->misfit) g->misfit = "an operation with more than 64 inputs";
        return CTL_NONE;
    }
    if (nin) memcpy(copy, in, (size_t)nin * sizeof *in);
    ctl_node node = {.op = (uint16_t)op, .nin = (uint32_t)nin, .in = copy, .f = f};
    if (i) memcpy(node.i, i, sizeof node.i);
    return build(g, like, &node);
}

ctl_node_id ctl_build_const(ctl_graph *g, double value) {
    return build(g, CTL_NONE, &(ctl_node){.op = OP_CONST, .f = value});
}

ctl_node_id ctl_build_cast(ctl_graph *g, ctl_node_id like, ctl_node_id a, ctl_dtype dtype) {
    return build(g, like, &(ctl_node){.op = OP_CAST, .dtype = (uint8_t)dtype, .nin = 1, .in = &a});
}
