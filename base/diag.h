/* diag: how the compiler's parts report. A sink keeps the sources, so that a byte span becomes file, line, column and
 * the line's text; it counts errors and passes each diagnostic on to the caller's callback at once.
 *
 * Codes are stable and listed in base/codes.def: E01 text and grammar, E02 names and elaboration, E03 shapes, E04
 * controls, E05 specs and settings, E06 data, E07 tensors and files, E08 plans and running, E09 internal. */
#ifndef CTL_DIAG_H
#define CTL_DIAG_H

#include "base/base.h"
#include "ctl/diagnostic.h"

/* Bytes [begin, end) of source number file. A span of file CTL_NO_FILE has no place. */
typedef struct ctl_span {
    uint32_t file, begin, end;
} ctl_span;
#define CTL_NO_FILE UINT32_MAX
#define CTL_NO_SPAN ((ctl_span){CTL_NO_FILE, 0, 0})

typedef struct ctl_source {
    const char *name; /* as the user wrote it, or "<nn>" for the embedded library */
    const char *text; /* NUL-terminated copy in the sink's arena */
    size_t size;
    bool library; /* embedded: no file of the user's */
} ctl_source;

#define CODE(id, summary) CTL_##id,
typedef enum ctl_code {
    CTL_NO_CODE,
#include "base/codes.def"
} ctl_code;
#undef CODE
const char *ctl_code_name(ctl_code code);    /* "E0301" */
const char *ctl_code_summary(ctl_code code); /* the line of codes.def */

typedef struct ctl_sink {
    ctl_arena *arena;
    ctl_diagnostic_fn fn; /* may be NULL */
    void *ctx;
    CTL_VEC(ctl_source) sources;
    int errors, most_errors; /* past most_errors (0: 20) further errors are counted, not shown */
    ctl_span last_error;     /* of the latest */
} ctl_sink;

uint32_t ctl_sink_add_source(ctl_sink *sink, const char *name, const char *text, size_t size);
/* Fills in file, line, columns and the text of the line, which lies in the arena; of a span without a source nothing. */
void ctl_sink_place(const ctl_sink *sink, ctl_arena *arena, ctl_span span, ctl_diagnostic *d);
/* hint may be NULL. Never fails but by the arena. */
void ctl_report(ctl_sink *sink, ctl_severity severity, ctl_code code, ctl_span span, const char *hint,
                const char *fmt, ...) CTL_PRINTF(6, 7);
#define ctl_error(sink, code, span, hint, ...) ctl_report((sink), CTL_ERROR, (code), (span), (hint), __VA_ARGS__)
#define ctl_note(sink, span, ...)              ctl_report((sink), CTL_NOTE, CTL_NO_CODE, (span), NULL, __VA_ARGS__)
static inline ctl_span ctl_span_join(ctl_span a, ctl_span b) {
    if (a.file != b.file) return a;
    return (ctl_span){a.file, a.begin < b.begin ? a.begin : b.begin, a.end > b.end ? a.end : b.end};
}

#endif
