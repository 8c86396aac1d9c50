/* progress: how a run is told to a person. On a terminal one line that rewrites itself; elsewhere about
 * twenty lines. */
#ifndef CTLC_PROGRESS_H
#define CTLC_PROGRESS_H

#include <stdio.h>

#include "train/loop.h"

typedef struct progress {
    FILE *to;
    bool terminal, quiet;
    bool open; /* a line without its newline stands on the terminal */
} progress;
void progress_step(progress *p, const ctl_progress *now);
void progress_evaluation(progress *p, const ctl_evaluation *e);
/* Any other message: ends the line that is open first. */
void progress_note(progress *p, const char *fmt, ...) CTL_PRINTF(2, 3);
void progress_end(progress *p);

#endif
