/* run_plan: the plan of a run, in its folder (plan.json), so that a run that goes on keeps it: another number of parts would
 * change the order of sums, and with it the bits. */
#ifndef CTLC_RUN_PLAN_H
#define CTLC_RUN_PLAN_H

#include "ctl/ctlc.h"
#include "runtime/say.h"

typedef struct run_plan {
    int64_t split;  /* parts that a batch goes through in */
    int64_t memory; /* bytes that the plan was made to keep to: what it took */
} run_plan;

ctl_status run_plan_write(const char *out, const ctlc_plan *plan, ctl_voice voice);
/* found: false where the folder has none. */
ctl_status run_plan_read(const char *out, run_plan *plan, bool *found, ctl_voice voice);

#endif
