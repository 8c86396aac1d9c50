/* cost: see cost.h. */
#include "compiler/remat/cost.h"

static double elements(const ctl_node *n) { return (double)n->rows * (double)n->cols; }
static double bytes(const ctl_node *n) { return elements(n) * (n->dtype == CTL_BF16 ? 2 : 4); }

double ctl_node_flops(const ctl_graph *g, ctl_node_id id) {
    const ctl_node *n = &g->at[id];
    switch (n->op) {
    case OP_MATMUL: {
        const ctl_node *a = &g->at[n->in[0]];
        return 2 * elements(n) * (double)(n->i[0] ? a->rows : a->cols);
    }
    case OP_ATTEND:
    case OP_ATTEND_GRAD: {
        double seen = g->sequence ? (double)g->sequence : (double)n->rows;
        if (n->i[2] && (double)n->i[2] < seen) seen = (double)n->i[2];
        else if (n->i[1]) seen /= 2;
        return (n->op == OP_ATTEND ? 4 : 10) * elements(n) * seen;
    }
    case OP_MIX: return 2 * elements(n) * (double)g->at[n->in[0]].cols;
    case OP_MIX_GRAD: return 2 * elements(&g->at[n->in[1]]) * (double)n->rows;
    case OP_HEAD: {
        int products = 1 + (int)(n->i[0] & 1) + (int)(n->i[0] >> 1 & 1);
        return 2 * products * elements(&g->at[n->in[0]]) * (double)g->at[n->in[1]].rows;
    }
    default: return 0;
    }
}

double ctl_node_seconds(const ctl_graph *g, ctl_node_id id, const ctl_rates *rates) {
    const ctl_node *n = &g->at[id];
    double flops = ctl_node_flops(g, id);
    if (flops == 0) {
        /* Fused, a value costs about a byte an element: of every few operations one loads or stores. */
        ctl_op_class class = ctl_op_class_of((ctl_op)n->op);
        return class == CLASS_VIEW || class == CLASS_LEAF ? 0 : elements(n) / rates->bytes;
    }
    bool half = g->at[n->in[0]].dtype == CTL_BF16;
    double rate = n->op == OP_ATTEND || n->op == OP_ATTEND_GRAD ? rates->attention
                  : half                                       ? rates->product_bf16
                                                               : rates->product_f32;
    double moved = bytes(n);
    for (uint32_t k = 0; k < n->nin; k++) moved += bytes(&g->at[n->in[k]]);
    double compute = flops / rate, move = moved / rates->bytes;
    return compute > move ? compute : move;
}
