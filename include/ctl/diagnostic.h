/* Diagnostics: what the compiler and the runtime say to a human or a tool.
 *
 * A diagnostic has a stable code ("E0301"), a place (file, line and column, 1-based, columns in bytes), the text of
 * the line, a message, and often a hint that says the remedy. The pointers are valid during the callback only. */
#ifndef CTL_DIAGNOSTIC_H
#define CTL_DIAGNOSTIC_H

#include <stddef.h>

typedef enum ctl_severity { CTL_NOTE, CTL_WARNING, CTL_ERROR } ctl_severity;

typedef struct ctl_diagnostic {
    ctl_severity severity;
    const char *code;      /* "E0301"; "" for a note that belongs to the diagnostic before it */
    const char *file;      /* NULL where no file is meant */
    int line, column;      /* 0 where no place is meant */
    int end_column;        /* one past the last byte to underline, on the same line */
    const char *line_text; /* the source line without its newline, or NULL */
    const char *message;
    const char *hint; /* the remedy, or NULL */
} ctl_diagnostic;

typedef void (*ctl_diagnostic_fn)(void *ctx, const ctl_diagnostic *diagnostic);

/* Writes the diagnostic as text for a terminal (message, line, caret, hint; each line ends in a newline) into buf, at
 * most size bytes with the terminating NUL; returns the length that the whole text has, without the NUL. */
size_t ctl_diagnostic_text(const ctl_diagnostic *d, char *buf, size_t size);
/* The same as one object of JSON, without a newline. */
size_t ctl_diagnostic_json(const ctl_diagnostic *d, char *buf, size_t size);

#endif
