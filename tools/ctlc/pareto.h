/* pareto: `ctlc plan --pareto FILE`: what every budget costs in extra work, as a chart (FILE.svg) or a table
 * (FILE.json). */
#ifndef CTLC_PARETO_H
#define CTLC_PARETO_H

#include "ctl/ctlc.h"

/* EXIT_USAGE, and why, when the name ends in neither. */
int plan_pareto_check(const char *path);
/* title: the spec's name. An exit code; what went wrong has been printed. */
int plan_pareto(const char *path, const char *title, const ctlc_plan *plan);

#endif
