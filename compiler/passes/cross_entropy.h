/* cross_entropy: the losses as the elaborator builds them, and the recogniser of what it built.
 *
 * One function writes the operations of a cross-entropy and one in the same file knows them again, so that
 * the simplify pass can put the head (linear + cross-entropy, OP_HEAD) in their place when nothing else reads
 * the logits. */
#ifndef CTL_CROSS_ENTROPY_H
#define CTL_CROSS_ENTROPY_H

#include "compiler/graph/graph.h"

/* A row with this label does not count. */
enum { CTL_NO_LABEL = -100 };

/* logits [r, n] real, labels [r, 1] integer, both of one space -> [1, 1]:
 * normaliser * sum over the rows whose label is not CTL_NO_LABEL of (log(sum(exp(logits))) - logits[label]).
 * New nodes get span and path of `like` (CTL_NONE: none). CTL_NONE when the shapes do not fit. */
ctl_node_id ctl_build_cross_entropy(ctl_graph *g, ctl_node_id like, ctl_node_id logits, ctl_node_id labels);

/* y, target [r, n] real, of one space -> [1, 1]: normaliser * sum((y - target)^2) / n. Every row counts. */
ctl_node_id ctl_build_mse(ctl_graph *g, ctl_node_id like, ctl_node_id y, ctl_node_id target);

/* Whether node `loss` is what ctl_build_cross_entropy made, and of what. */
bool ctl_match_cross_entropy(const ctl_graph *g, ctl_node_id loss, ctl_node_id *logits, ctl_node_id *labels);

#endif
