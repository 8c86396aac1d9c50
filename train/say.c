/* say: fills in a diagnostic on the stack and hands it to the callback. */
#include "train/say.h"

#include <stdio.h>

void ctl_say_error(const ctl_say *say, const char *code, const char *file, int line, const char *hint,
                   const char *fmt, ...) {
    if (!say || !say->fn) return;
    char message[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    const ctl_diagnostic d = {.severity = CTL_ERROR,
                              .code = code,
                              .file = file,
                              .line = line,
                              .column = line ? 1 : 0,
                              .message = message,
                              .hint = hint};
    say->fn(say->ctx, &d);
}
