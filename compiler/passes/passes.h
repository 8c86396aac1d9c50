/* passes: from one graph to the next. A pass reads `in` and writes a new graph in the same arena; the driver
 * lists them in order and verifies the graph after each. */
#ifndef CTL_PASSES_H
#define CTL_PASSES_H

#include "compiler/graph/graph.h"

/* Constants, identities, views, transposes, repeats; equal values once; states that are aliases of states or
 * edges of one other state; the head in place of logits that nothing else reads; dead nodes. Before and after
 * differentiation. */
void ctl_pass_simplify(const ctl_graph *in, ctl_graph **out);

typedef struct ctl_differentiate_options {
    const bool *input_grads; /* for each of graph.inputs, whether d loss / d input is wanted; NULL: none */
} ctl_differentiate_options;
/* Appends entry backward: sets ctl_param.grad for every trained parameter upstream of the loss,
 * ctl_input.grad for the inputs asked for; CTL_NONE stays where nothing leads to the loss. options may be
 * NULL. False after reporting that there is no loss, or no derivative. */
bool ctl_pass_differentiate(const ctl_graph *in, const ctl_differentiate_options *options, ctl_graph **out,
                            ctl_sink *sink);

/* Appends entry evaluate, a forward of its own without dropout, and sets ctl_output.evaluate. */
void ctl_pass_evaluate(const ctl_graph *in, ctl_graph **out);

/* Adds the output CTL_ROW_RESULTS to entry evaluate, where the loss is a cross-entropy: [rows, 2], each row's
 * loss (0 where its label is -100) and the class of its largest logit (the first of equals). */
#define CTL_ROW_RESULTS "row results"
void ctl_pass_row_results(const ctl_graph *in, ctl_graph **out);

/* Makes rounding explicit. compute CTL_F32, CTL_F64: states and stops vanish. CTL_BF16: also a state over a
 * row space is a CAST to bf16; operands of products, attention and head are bf16 (frozen parameters are kept
 * so, trained ones have a copy of rate update); results of attention and the gradients that it and the head
 * give are cast too. */
void ctl_pass_round(const ctl_graph *in, ctl_dtype compute, ctl_graph **out);

/* Merges products: of one left operand with several weights, and sums of products with several weights. */
void ctl_pass_products(const ctl_graph *in, ctl_graph **out);

#endif
