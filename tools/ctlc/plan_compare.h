/* plan_compare: `ctlc plan --compare A,B,..`: several tune blocks of a spec in one table. */
#ifndef CTLC_PLAN_COMPARE_H
#define CTLC_PLAN_COMPARE_H

#include "tools/ctlc/tool.h"

/* blocks: names with commas between. An exit code. */
int plan_compare(const char *spec, const tool_compile *how, const char *blocks, bool json);

#endif
