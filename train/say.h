/* say: diagnostics of the training library, which has no sources to point into: a code, a file, a message, a
 * remedy. */
#ifndef CTL_TRAIN_SAY_H
#define CTL_TRAIN_SAY_H

#include "base/base.h"
#include "ctl/diagnostic.h"

typedef struct ctl_say {
    ctl_diagnostic_fn fn; /* may be NULL: nothing is said */
    void *ctx;
} ctl_say;

/* file and hint may be NULL; line 0: no line. Allocates nothing; a message is cut at 1 KiB. */
void ctl_say_error(const ctl_say *say, const char *code, const char *file, int line, const char *hint,
                   const char *fmt, ...) CTL_PRINTF(6, 7);

#endif
