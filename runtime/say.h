/* say: diagnostics of the runtime, which has no sources and no sink: a code, a message, a hint, straight to
 * the caller's callback. Messages are made in a fixed buffer, so that a failed allocation can be reported
 * too; longer ones are cut. Names of files and tensors stand in the message. */
#ifndef CTL_SAY_H
#define CTL_SAY_H

#include "base/base.h"
#include "ctl/diagnostic.h"

typedef struct ctl_voice {
    ctl_diagnostic_fn fn; /* may be NULL */
    void *ctx;
} ctl_voice;

/* code: "E0702"; hint may be NULL. */
void ctl_say(ctl_voice voice, ctl_severity severity, const char *code, const char *hint, const char *fmt, ...)
    CTL_PRINTF(5, 6);
void ctl_vsay(ctl_voice voice, ctl_severity severity, const char *code, const char *hint, const char *fmt,
              va_list args);
/* Of what stands at a place of a program (ctl_task.place), as ctl_session_say_at. */
struct ctl_program;
void ctl_say_at(ctl_voice voice, const struct ctl_program *program, uint32_t place, ctl_severity severity, const char *code,
                const char *hint, const char *fmt, ...) CTL_PRINTF(7, 8);

#endif
