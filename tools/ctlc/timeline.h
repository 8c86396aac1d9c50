/* timeline: `ctlc plan --timeline FILE.svg`: the bytes that are alive at each task of a step, by kind. */
#ifndef CTLC_TIMELINE_H
#define CTLC_TIMELINE_H

#include "ctl/ctlc.h"

/* title: the spec's name. An exit code; what went wrong has been printed. */
int plan_timeline(const char *path, const char *title, const ctl_program *program);

#endif
