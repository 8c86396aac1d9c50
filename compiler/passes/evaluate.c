/* evaluate: appends the evaluate entry: clones of the forward nodes of rate step that outputs need, with
 * dropout bypassed and no gradient from the head. Leaves and values of other rates are shared with forward.
 */
#include "compiler/graph/graph_copy.h"
#include "compiler/passes/passes.h"

static void need(const ctl_graph *in, bool *needed) {
    for (size_t k = 0; k < in->outputs.n; k++) needed[in->outputs.at[k].node] = true;
    for (size_t id = in->n; id-- > 0;)
        if (needed[id])
            for (uint32_t k = 0; k < in->at[id].nin; k++) needed[in->at[id].in[k]] = true;
}

static ctl_node_id clone(ctl_graph *g, const ctl_node *n, const ctl_node_id *twin) {
    ctl_node copy = *n;
    const char *why;
    copy.in = CTL_NEW_ARRAY(g->arena, ctl_node_id, n->nin);
    for (uint32_t k = 0; k < n->nin; k++) copy.in[k] = twin[n->in[k]];
    if (n->op == OP_HEAD) copy.i[0] = 0;
    ctl_node_id made = ctl_graph_add(g, &copy, &why);
    if (made == CTL_NONE && !g->misfit) g->misfit = why;
    return made;
}

void ctl_pass_evaluate(const ctl_graph *in, ctl_graph **out) {
    bool *needed = CTL_NEW_ARRAY(in->arena, bool, in->n);
    ctl_node_id *twin =
        CTL_NEW_ARRAY(in->arena, ctl_node_id, in->n); /* the evaluate value of each node of in */
    ctl_graph_copy *c = ctl_copy_begin(in);
    for (size_t id = 0; id < in->n; id++) ctl_copy_node(c, (ctl_node_id)id);
    need(in, needed);
    c->out->entry = ENTRY_EVALUATE;
    for (size_t id = 0; id < in->n; id++) {
        const ctl_node *n = &in->at[id];
        twin[id] = c->map[id];
        if (!needed[id] || n->rate != RATE_STEP || ctl_op_class_of((ctl_op)n->op) == CLASS_LEAF) continue;
        twin[id] = n->op == OP_DROP ? twin[n->in[0]] : clone(c->out, n, twin);
    }
    *out = ctl_copy_end(c);
    (*out)->entry = ENTRY_FORWARD;
    for (size_t k = 0; k < in->outputs.n; k++) (*out)->outputs.at[k].evaluate = twin[in->outputs.at[k].node];
}
