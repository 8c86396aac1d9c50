/* segments: the forward pass as a chain. Between two segments few values are alive (mostly one: a state); what lies
 * between two such cuts is computed, kept, dropped and rebuilt as one. Nothing here knows a model: cuts are where few
 * bytes cross, and segments of equal structure, found by hashing, are of one class. */
#ifndef CTL_SEGMENTS_H
#define CTL_SEGMENTS_H

#include "compiler/graph/graph.h"

enum { PHASE_FREE = -1, PHASE_NONE = -2 };

/* Values that are alive between two segments. Views stand for what they are views of. */
typedef struct ctl_boundary {
    ctl_node_id *at;
    size_t n;
    int64_t bytes;
} ctl_boundary;

typedef struct ctl_segments {
    const ctl_graph *g;
    size_t n;
    ctl_boundary *before;  /* n + 1: what is alive when segment k begins; empty before the first and after the last */
    int32_t *phase;        /* of each node. Forward's: its segment, or PHASE_FREE for what row by row work rebuilds from
                              inputs and weights alone. Backward's: the segment in whose backward pass it is computed.
                              PHASE_NONE: leaves, other rates, evaluate */
    ctl_node_id **locals;  /* of each segment: its forward nodes, in order */
    size_t *nlocals;
    uint32_t *class_of;    /* of each segment: equal for equal structure */
    size_t nclasses;
    size_t first;          /* the first segment that backward visits; n when there is no backward */
} ctl_segments;

const ctl_segments *ctl_segments_find(ctl_arena *arena, const ctl_graph *g);

/* What owns the numbers of a view: through columns, split, join. */
ctl_node_id ctl_viewed(const ctl_graph *g, ctl_node_id id);
/* Bytes of a value, without the padding of rows. */
int64_t ctl_value_bytes(const ctl_node *n);
bool ctl_is_forward(const ctl_node *n);  /* computed by a micro-step's forward */
bool ctl_is_backward(const ctl_node *n);
/* Row by row work, which may be done twice whatever the plan: maps, reductions along rows, views, look-ups in weights. */
bool ctl_is_row_work(const ctl_node *n);

#endif
