/* print: a graph as text, for people and for --dump. */
#include "compiler/graph/graph.h"

static void print_attributes(const ctl_graph *g, const ctl_node *n, ctl_text *out) {
    long long i0 = n->i[0], i1 = n->i[1], i2 = n->i[2];
    switch (n->op) {
    case OP_INPUT: ctl_text_add(out, " {%s}", g->inputs.at[i0].name); break;
    case OP_PARAM:
        ctl_text_add(out, " {%s%s}", g->params.at[i0].name, g->params.at[i0].trained ? ", trained" : "");
        break;
    case OP_CONST: ctl_text_add(out, " {%.17g}", n->f); break;
    case OP_DROP: ctl_text_add(out, " {site=%lld p=%g}", i0, n->f); break;
    case OP_SPLIT:
    case OP_REPEAT:
    case OP_JOIN:
    case OP_SCATTER:
    case OP_PICK:
    case OP_PART: ctl_text_add(out, " {%lld}", i0); break;
    case OP_MIX: ctl_text_add(out, " {turned=%lld}", i0); break;
    case OP_HEAD: ctl_text_add(out, " {dx=%lld dw=%lld%s}", i0 & 1, i0 >> 1 & 1, i0 & 4 ? " rows" : ""); break;
    case OP_COLUMNS: ctl_text_add(out, " {%lld..%lld}", i0, i1); break;
    case OP_MATMUL: ctl_text_add(out, " {ta=%lld tb=%lld}", i0, i1); break;
    case OP_ATTEND:
    case OP_ATTEND_GRAD: ctl_text_add(out, " {head=%lld causal=%lld window=%lld}", i0, i1, i2); break;
    default: break;
    }
}

static const char *moment_name(const ctl_node *n) {
    static const char *const entries[] = {"forward", "backward", "evaluate"};
    if (n->rate == RATE_LOAD) return "load";
    if (n->rate == RATE_UPDATE) return "update";
    return entries[n->entry];
}

static void print_id(ctl_node_id id, ctl_text *out) {
    if (id == CTL_NONE)
        ctl_text_add(out, " -");
    else
        ctl_text_add(out, " %%%u", id);
}

void ctl_graph_print(const ctl_graph *g, ctl_text *out) {
    for (size_t id = 0; id < g->n; id++) {
        const ctl_node *n = &g->at[id];
        ctl_text_add(out, "%%%zu = %s", id, ctl_op_name((ctl_op)n->op));
        for (uint32_t k = 0; k < n->nin; k++) ctl_text_add(out, " %%%u", n->in[k]);
        print_attributes(g, n, out);
        ctl_text_add(out, " : %s %s %s", ctl_node_shape(out->arena, n), ctl_dtype_name((ctl_dtype)n->dtype),
                     moment_name(n));
        if (n->path) ctl_text_add(out, "  # %s", n->path);
        ctl_text_add(out, "\n");
    }
    for (size_t k = 0; k < g->params.n; k++) {
        const ctl_param *p = &g->params.at[k];
        if (p->grad == CTL_NONE && p->init != INIT_VALUE) continue;
        ctl_text_add(out, "param %s: gradient", p->name);
        print_id(p->grad, out);
        if (p->init == INIT_VALUE) {
            ctl_text_add(out, ", begins as");
            print_id(p->init_node, out);
        }
        ctl_text_add(out, "\n");
    }
    for (size_t k = 0; k < g->inputs.n; k++) {
        if (g->inputs.at[k].grad == CTL_NONE) continue;
        ctl_text_add(out, "input %s: gradient", g->inputs.at[k].name);
        print_id(g->inputs.at[k].grad, out);
        ctl_text_add(out, "\n");
    }
    for (size_t k = 0; k < g->outputs.n; k++) {
        ctl_text_add(out, "output %s:", g->outputs.at[k].name);
        print_id(g->outputs.at[k].node, out);
        ctl_text_add(out, ", evaluated");
        print_id(g->outputs.at[k].evaluate, out);
        ctl_text_add(out, "\n");
    }
}
