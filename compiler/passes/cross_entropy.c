/* cross_entropy.c: builds the losses from operations, and recognises a cross-entropy.
 *
 * The row's loss is (log(sum(exp(l - m))) + m) - l[label], with m the row's maximum. The loss does not depend
 * on m, so m stands under STOP and the derivative is softmax - onehot without a term through the maximum. The
 * label picks its logit by SELECT, not by a product with the one-hot row, so that an infinite logit elsewhere
 * does not make a NaN.
 *
 * The recogniser compares structure from the loss down: each step names the operation that must stand there,
 * and the values that occur twice (logits, m, labels) must be the same nodes, which common subexpressions
 * guarantee. */
#include "compiler/passes/cross_entropy.h"

static ctl_node_id build_leaf(ctl_graph *g, ctl_op op, int64_t rows, int64_t cols) {
    ctl_node leaf = {.op = (uint16_t)op,
                     .dtype = CTL_REAL,
                     .space = SPACE_NONE,
                     .split = 1,
                     .rows = rows,
                     .cols = cols,
                     .span = CTL_NO_SPAN,
                     .user = CTL_NO_SPAN};
    const char *why = NULL;
    return ctl_graph_add(g, &leaf, &why);
}

ctl_node_id ctl_build_cross_entropy(ctl_graph *g, ctl_node_id like, ctl_node_id logits, ctl_node_id labels) {
    if (logits == CTL_NONE || labels == CTL_NONE) return CTL_NONE;
    ctl_node_id zero = ctl_build_const(g, 0);
    ctl_node_id top = CTL_B1(g, like, OP_STOP, CTL_B1(g, like, OP_ROWMAX, logits));
    ctl_node_id scaled = CTL_B1(g, like, OP_EXP, CTL_B2(g, like, OP_SUB, logits, top));
    ctl_node_id lse = CTL_B2(g, like, OP_ADD, CTL_B1(g, like, OP_LOG, CTL_B1(g, like, OP_SUM, scaled)), top);
    ctl_node_id label = CTL_B1(g, like, OP_TOREAL, labels);
    ctl_node_id index = build_leaf(g, OP_INDEX, 1, g->at[logits].cols);
    ctl_node_id hot = CTL_B2(g, like, OP_EQ, index, label);
    ctl_node_id picked = CTL_B1(g, like, OP_SUM, CTL_B3(g, like, OP_SELECT, hot, logits, zero));
    ctl_node_id row = CTL_B2(g, like, OP_SUB, lse, picked);
    ctl_node_id skipped = CTL_B2(g, like, OP_EQ, label, ctl_build_const(g, CTL_NO_LABEL));
    ctl_node_id sum = CTL_B1(g, like, OP_COLSUM, CTL_B3(g, like, OP_SELECT, skipped, zero, row));
    return CTL_B2(g, like, OP_MUL, sum, build_leaf(g, OP_NORMALISER, 1, 1));
}

ctl_node_id ctl_build_mse(ctl_graph *g, ctl_node_id like, ctl_node_id y, ctl_node_id target) {
    if (y == CTL_NONE || target == CTL_NONE) return CTL_NONE;
    ctl_node_id error = CTL_B2(g, like, OP_SUB, y, target);
    ctl_node_id rows = CTL_B1(g, like, OP_SUM, CTL_B2(g, like, OP_MUL, error, error));
    double columns = (double)g->at[y].cols * g->at[y].split; /* of a row of the space: the normaliser counts those */
    ctl_node_id mean = CTL_B2(g, like, OP_DIV, CTL_B1(g, like, OP_COLSUM, rows), ctl_build_const(g, columns));
    return CTL_B2(g, like, OP_MUL, mean, build_leaf(g, OP_NORMALISER, 1, 1));
}

/* The operands of node `id` when it is an `op`, else NULL. */
static const ctl_node_id *operands(const ctl_graph *g, ctl_node_id id, ctl_op op) {
    return id < g->n && g->at[id].op == op ? g->at[id].in : NULL;
}

static bool is_const(const ctl_graph *g, ctl_node_id id, double value) {
    return id < g->n && g->at[id].op == OP_CONST && g->at[id].f == value;
}

/* lse == log(sum(exp(logits - m))) + m with m = stop(rowmax(logits)). */
static bool match_lse(const ctl_graph *g, ctl_node_id lse, ctl_node_id *logits) {
    const ctl_node_id *add = operands(g, lse, OP_ADD);
    const ctl_node_id *log = add ? operands(g, add[0], OP_LOG) : NULL;
    const ctl_node_id *sum = log ? operands(g, log[0], OP_SUM) : NULL;
    const ctl_node_id *scaled = sum ? operands(g, sum[0], OP_EXP) : NULL;
    const ctl_node_id *less = scaled ? operands(g, scaled[0], OP_SUB) : NULL;
    const ctl_node_id *stop = less ? operands(g, less[1], OP_STOP) : NULL;
    const ctl_node_id *top = stop ? operands(g, stop[0], OP_ROWMAX) : NULL;
    if (!top || less[1] != add[1] || less[0] != top[0]) return false;
    *logits = top[0];
    return true;
}

bool ctl_match_cross_entropy(const ctl_graph *g, ctl_node_id loss, ctl_node_id *logits, ctl_node_id *labels) {
    const ctl_node_id *mul = operands(g, loss, OP_MUL);
    if (!mul || !operands(g, mul[0], OP_COLSUM) || mul[1] >= g->n || g->at[mul[1]].op != OP_NORMALISER)
        return false;
    const ctl_node_id *counted = operands(g, g->at[mul[0]].in[0], OP_SELECT);
    const ctl_node_id *skipped = counted ? operands(g, counted[0], OP_EQ) : NULL;
    const ctl_node_id *row = counted ? operands(g, counted[2], OP_SUB) : NULL;
    if (!skipped || !row || !is_const(g, counted[1], 0) || !is_const(g, skipped[1], CTL_NO_LABEL))
        return false;
    const ctl_node_id *label = operands(g, skipped[0], OP_TOREAL);
    const ctl_node_id *sum = operands(g, row[1], OP_SUM);
    const ctl_node_id *pick = sum ? operands(g, sum[0], OP_SELECT) : NULL;
    const ctl_node_id *hot = pick ? operands(g, pick[0], OP_EQ) : NULL;
    if (!label || !hot || !is_const(g, pick[2], 0)) return false;
    if (g->at[hot[0]].op != OP_INDEX || hot[1] != skipped[0]) return false;
    if (!match_lse(g, row[0], logits) || *logits != pick[1]) return false;
    *labels = label[0];
    return true;
}
