/* memory_report: a program's bytes by kind, and the moment of a step that takes most. */
#ifndef CTLC_MEMORY_REPORT_H
#define CTLC_MEMORY_REPORT_H

#include <stdint.h>

#include "runtime/program.h"

typedef struct memory_report {
    size_t by_use[USE_COUNT]; /* constant and persistent buffers in whole; of the step's those alive at its
                                 peak */
    size_t step_live;         /* sum of the latter: what the arena cannot go below */
    size_t arena;             /* bytes of the step region */
    size_t total;             /* all three regions */
    int64_t parameters, trained;
    const char *where;        /* the task that runs when most is alive; the program's */
    int where_run;            /* its entry: RUN_FORWARD, RUN_BACKWARD, ... */
} memory_report;
/* False: no memory. */
bool memory_report_make(const ctl_program *program, memory_report *out);
const char *memory_use_name(ctl_use use); /* "frozen weights" */
const char *memory_use_key(ctl_use use);  /* "weights", for JSON */

#endif
