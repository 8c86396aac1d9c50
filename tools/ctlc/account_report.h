/* account_report: `ctlc plan --as RULES`: what a framework would store for the same spec. */
#ifndef CTLC_ACCOUNT_REPORT_H
#define CTLC_ACCOUNT_REPORT_H

#include "tools/ctlc/tool.h"

enum { ACCOUNT_LINES = 64 };
typedef struct account_copy { /* an account that outlives its call */
    ctlc_account is;
    ctlc_account_line lines[ACCOUNT_LINES];
    char names[ACCOUNT_LINES][32];
} account_copy;
/* A ctlc_account_fn; ctx is an account_copy. */
void account_keep(void *ctx, const ctlc_account *account);

/* The account of one tune block, without compiling further. An exit code. */
int account_report(const char *spec, const tool_compile *how, const char *rules, bool json);

#endif
