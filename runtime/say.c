/* say: diagnostics of the runtime. See say.h. */
#include "runtime/say.h"

#include <stdio.h>

#include "runtime/engine.h"

enum { MOST_MESSAGE = 2048 };

void ctl_vsay(ctl_voice voice, ctl_severity severity, const char *code, const char *hint, const char *fmt,
              va_list args) {
    if (!voice.fn) return;
    char message[MOST_MESSAGE];
    if (vsnprintf(message, sizeof message, fmt, args) < 0) message[0] = 0;
    for (char *at = message; *at; at++) /* names in damaged files must not steer a terminal */
        if ((unsigned char)*at < ' ' || *at == 0x7f) *at = '?';
    ctl_diagnostic d = {.severity = severity, .code = code, .message = message, .hint = hint};
    voice.fn(voice.ctx, &d);
}

void ctl_say(ctl_voice voice, ctl_severity severity, const char *code, const char *hint, const char *fmt,
             ...) {
    va_list args;
    va_start(args, fmt);
    ctl_vsay(voice, severity, code, hint, fmt, args);
    va_end(args);
}

void ctl_session_say(ctl_session *s, const char *code, const char *hint, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    ctl_vsay((ctl_voice){s->diagnostic, s->diagnostic_ctx}, CTL_ERROR, code, hint, fmt, args);
    va_end(args);
}
