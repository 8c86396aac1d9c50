/* say: diagnostics of the runtime. See say.h. */
#include "runtime/say.h"

#include <stdio.h>

#include "runtime/engine.h"

enum { MOST_MESSAGE = 2048 };

static void vsay_at(ctl_voice voice, const ctl_program_line *at, ctl_diagnostic d, const char *fmt,
                    va_list args) {
    if (!voice.fn) return;
    char message[MOST_MESSAGE];
    if (vsnprintf(message, sizeof message, fmt, args) < 0) message[0] = 0;
    for (char *c = message; *c; c++) /* names in damaged files must not steer a terminal */
        if ((unsigned char)*c < ' ' || *c == 0x7f) *c = '?';
    d.message = message;
    if (at) {
        d.file = at->file, d.line_text = at->text;
        d.line = at->line, d.column = at->column, d.end_column = at->end_column;
    }
    voice.fn(voice.ctx, &d);
}

void ctl_vsay(ctl_voice voice, ctl_severity severity, const char *code, const char *hint, const char *fmt,
              va_list args) {
    const ctl_diagnostic d = {.severity = severity, .code = code, .hint = hint};
    vsay_at(voice, NULL, d, fmt, args);
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

static void note_at(ctl_voice voice, const ctl_program_line *at, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsay_at(voice, at, (ctl_diagnostic){.severity = CTL_NOTE, .code = ""}, fmt, args);
    va_end(args);
}

static void vsay_place(ctl_voice voice, const ctl_program *program, uint32_t place, ctl_diagnostic d, const char *fmt, va_list args) {
    const bool known = place > 0 && place <= program->nplaces;
    const ctl_program_place *at = known ? &program->places[place - 1] : NULL;
    vsay_at(voice, at ? &at->user : NULL, d, fmt, args);
    if (at && at->library.file)
        note_at(voice, &at->library, "this line of the standard library computes it");
}

void ctl_say_at(ctl_voice voice, const ctl_program *program, uint32_t place, ctl_severity severity, const char *code,
                const char *hint, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsay_place(voice, program, place, (ctl_diagnostic){.severity = severity, .code = code, .hint = hint}, fmt, args);
    va_end(args);
}

void ctl_session_say_at(ctl_session *s, uint32_t place, const char *code, const char *hint, const char *fmt,
                        ...) {
    va_list args;
    va_start(args, fmt);
    vsay_place((ctl_voice){s->diagnostic, s->diagnostic_ctx}, s->program, place,
               (ctl_diagnostic){.severity = CTL_ERROR, .code = code, .hint = hint}, fmt, args);
    va_end(args);
}
