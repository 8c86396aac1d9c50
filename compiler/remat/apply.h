/* apply: writes the graph that a plan says: forward as it was, then backward, in which what forward does not keep is
 * computed again. Copies of forward nodes have entry backward and the bits of the originals; nothing merges them. */
#ifndef CTL_REMAT_APPLY_H
#define CTL_REMAT_APPLY_H

#include "compiler/remat/chain.h"
#include "compiler/remat/options.h"

typedef struct ctl_keep_plan {
    const ctl_segments *segments;
    bool *kept;                   /* of each node: forward's own value is at hand in backward */
    const ctl_keep_options *options; /* by class: what the steps' options mean; NULL where no step forwards */
    const ctl_chain_step *steps;  /* backward, in order */
    size_t nsteps;
} ctl_keep_plan;

/* Phases of the new nodes: forward's segment, or the number of segments + the number of the step. Without evaluate the new
 * graph has no evaluate entry (for measuring). */
ctl_graph *ctl_keep_apply(const ctl_graph *g, const ctl_keep_plan *plan, bool evaluate);

/* The plan of nothing but `kept`: one backward step a segment. */
ctl_keep_plan ctl_keep_plain(ctl_arena *arena, const ctl_segments *s, bool *kept);

#endif
