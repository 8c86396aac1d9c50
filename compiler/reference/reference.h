/* reference: runs any graph in plain C, one operation at a time, with no fusion and no plan. The oracle of
 * the tests and the f64 engine.
 *
 * Every value is held as doubles. compute says what the arithmetic is:
 *   CTL_F64   doubles throughout
 *   CTL_F32   each operation's result is rounded to f32 (sums: every addition, in the order of rowprog.h;
 * products, attention and the head: sums in double, rounded once) CTL_BF16  as CTL_F32, and what a fused task
 * multiplies is rounded to bf16: HEAD's logits stay f32 but dlogits are rounded before the products for dx
 * and dw; attention rounds the unscaled softmax numerators P before P @ v, and P and dS before the products
 * of its gradient. A CAST to bf16 rounds under every compute: the executor follows the graph. Functions are
 * libm's. */
#ifndef CTL_REFERENCE_H
#define CTL_REFERENCE_H

#include "compiler/graph/graph.h"
#include "runtime/program.h"

typedef struct ctl_engine ctl_engine;
typedef struct ctl_reference ctl_reference;

/* The graph must verify and outlive the executor. *out is for one thread. CTL_ERR_MEMORY; allocator NULL:
 * malloc. */
ctl_status ctl_reference_open(const ctl_graph *g, ctl_dtype compute, const ctl_allocator *allocator,
                              ctl_reference **out);
void ctl_reference_close(ctl_reference *r); /* NULL is fine */

/* Where the data of leaves is written, row-major, before evaluating: zeros at first; integers as numbers.
 * Positions and lengths (one a token) begin as the graph's fixed sequences, or as one document when it has
 * none. */
double *ctl_reference_param(ctl_reference *r, size_t param);
double *ctl_reference_input(ctl_reference *r, size_t input);
double *ctl_reference_positions(ctl_reference *r);
double *ctl_reference_lengths(ctl_reference *r);
/* At first 0, 0, 0 and 1. */
void ctl_reference_set_step(ctl_reference *r, uint64_t seed, uint32_t step, int64_t first_row,
                            double normaliser);

/* Computes the nodes and all that they need, anew. CTL_ERR_INPUT for an index or label out of range, or
 * documents that leave the batch; ctl_reference_why then says which. */
ctl_status ctl_reference_eval(ctl_reference *r, const ctl_node_id *nodes, size_t n);
/* rows * cols numbers of a node computed by the last call; NULL if it was not. Valid until the next. */
const double *ctl_reference_value(const ctl_reference *r, ctl_node_id node);
const char *ctl_reference_why(const ctl_reference *r);

/* The engine of programs made by ctl_reference_program: sessions, the optimizer and the training loop run on
 * the executor as on compiled code. Storage is f64 for CTL_F64, else f32. */
extern const ctl_engine ctl_reference_engine;
/* The graph (with gradients; evaluate entries if they are to run) is copied into the program. sources
 * (of the .ctl files, for places in errors), model_name and control_source may be NULL. */
ctl_status ctl_reference_program(const ctl_graph *g, ctl_dtype compute, const ctl_settings *settings,
                                 const ctl_sink *sources, const char *model_name,
                                 const char *control_source, const ctl_allocator *allocator,
                                 ctl_program **out);

#endif
