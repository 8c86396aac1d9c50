/* run_result: what a finished run leaves in OUT/result.json, and the table of several. */
#ifndef CTLC_RUN_RESULT_H
#define CTLC_RUN_RESULT_H

#include "runtime/say.h"

typedef struct run_result {
    char name[64]; /* the tune block's, or the spec's file */
    int64_t parameters, trained;
    int64_t steps, tokens;                                   /* of the whole run; tokens a step */
    double loss_before, loss_after, bits_before, bits_after; /* held out; negative: not measured */
    double accuracy_before, accuracy_after;                  /* of held-out labels; negative: not measured */
    double step_seconds;                                     /* median over the last call's steps */
    int64_t planned, allocated,
        resident; /* bytes: the plan's peak, what the session allocated, most of the process */
} run_result;
bool run_result_exists(const char *out);
ctl_status run_result_write(const char *out, const run_result *r, ctl_voice voice);
ctl_status run_result_read(const char *out, run_result *r, ctl_voice voice);

#endif
