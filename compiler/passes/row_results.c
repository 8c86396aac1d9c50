/* row_results: what evaluation tells of every row, for likelihoods of single documents and for accuracies.
 *
 * A head gives it as one more part, chunk by chunk, as the logits never exist. A cross-entropy in operations has
 * the row's loss as a value; its class is made here: the smallest of the indices whose logit is the largest. */
#include "compiler/graph/graph_copy.h"
#include "compiler/passes/cross_entropy.h"
#include "compiler/passes/passes.h"

static ctl_node_id evaluated_loss(const ctl_graph *g) {
    ctl_node_id loss = CTL_NONE;
    for (size_t k = 0; k < g->outputs.n && g->loss != CTL_NONE; k++)
        if (g->outputs.at[k].node == g->loss) loss = g->outputs.at[k].evaluate;
    while (loss != CTL_NONE && g->at[loss].op == OP_STATE) loss = g->at[loss].in[0];
    return loss;
}

static ctl_node_id predicted(ctl_graph *g, ctl_node_id logits) {
    const int64_t classes = g->at[logits].cols;
    ctl_node_id index = CTL_B0(g, logits, OP_INDEX, classes);
    ctl_node_id largest = CTL_B2(g, logits, OP_EQ, logits, CTL_B1(g, logits, OP_ROWMAX, logits));
    ctl_node_id candidates = CTL_B3(g, logits, OP_SELECT, largest, CTL_B1(g, logits, OP_NEG, index),
                                    ctl_build_const(g, -(double)classes));
    return CTL_B1(g, logits, OP_NEG, CTL_B1(g, logits, OP_ROWMAX, candidates));
}

void ctl_pass_row_results(const ctl_graph *in, ctl_graph **out) {
    const ctl_node_id loss = evaluated_loss(in);
    ctl_node_id logits, labels, made = CTL_NONE;
    ctl_graph_copy *c = ctl_copy_begin(in);
    for (size_t id = 0; id < in->n; id++) {
        ctl_copy_node(c, (ctl_node_id)id);
        if (id == loss && in->at[id].op == OP_HEAD) c->out->at[c->map[id]].i[0] |= 4;
    }
    ctl_graph *g = c->out;
    g->entry = ENTRY_EVALUATE;
    if (loss != CTL_NONE && in->at[loss].op == OP_HEAD) {
        made = ctl_build(g, c->map[loss], OP_PART, 1, &c->map[loss], (const int64_t[3]){3}, 0);
    } else if (loss != CTL_NONE && ctl_match_cross_entropy(in, loss, &logits, &labels)) {
        const ctl_node_id rows = in->at[in->at[loss].in[0]].in[0]; /* the operand of the sum over rows */
        made = CTL_B2(g, c->map[loss], OP_CAT, c->map[rows], predicted(g, c->map[logits]));
    }
    *out = ctl_copy_end(c);
    (*out)->entry = ENTRY_FORWARD;
    if (made == CTL_NONE) return;
    const ctl_node_id head = in->at[loss].op == OP_HEAD ? in->at[loss].in[1] : CTL_NONE;
    (*out)->classes = head != CTL_NONE ? in->at[head].rows : in->at[logits].cols;
    CTL_PUSH(in->arena, &(*out)->outputs,
             (ctl_output){.name = CTL_ROW_RESULTS, .node = CTL_NONE, .evaluate = made});
}
