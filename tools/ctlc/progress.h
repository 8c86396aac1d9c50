/* progress: how a run is told to a person. On a terminal one line that rewrites itself; elsewhere about
 * twenty lines. */
#ifndef CTLC_PROGRESS_H
#define CTLC_PROGRESS_H

#include <stdio.h>

#include "train/loop.h"

typedef struct progress {
    FILE *to;
    bool terminal, quiet;
    double share_began; /* when the share that is told began; 0: none is */
    bool open; /* a line without its newline stands on the terminal */
    bool share_open; /* and it tells a share */
} progress;
void progress_step(progress *p, const ctl_progress *now);
/* How far something has come that takes longer: on a terminal alone, not before it has taken a moment, and gone at its end. */
void progress_share(progress *p, const char *doing, int64_t done, int64_t of);
void progress_weights(void *progress, const char *doing, int64_t done, int64_t of); /* of ctl_session_options */
void progress_evaluation(progress *p, const ctl_evaluation *e);
/* "loss 1.2345  perplexity ..  (123 labels)" into text; count: room for 32. Returns text. */
const char *tool_evaluation(const ctl_evaluation *e, char *text, size_t size, char *count);
/* Any other message: ends the line that is open first. */
void progress_note(progress *p, const char *fmt, ...) CTL_PRINTF(2, 3);
void progress_end(progress *p);

#endif
