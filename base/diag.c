/* diag: sources, places and the two ways to write a diagnostic. See diag.h and include/ctl/diagnostic.h.
 *
 * A place is found by walking the source's text, which costs nothing beside being read by a human. Whatever a
 * source or a file name contains, what is written is valid UTF-8 without control characters: a byte that is
 * none, a control character or a character that changes the direction of text is written as U+FFFD. Nothing
 * here can fail except through the arena. */
#include "base/diag.h"

#include <stdio.h>

enum { MOST_ERRORS = 20, WINDOW = 100 };

#define CODE(id, summary) #id,
static const char *const code_names[] = {
    "",
#include "base/codes.def"
};
#undef CODE
#define CODE(id, summary) summary,
static const char *const code_summaries[] = {
    "",
#include "base/codes.def"
};
#undef CODE

const char *ctl_code_name(ctl_code code) {
    return (size_t)code < CTL_COUNT(code_names) ? code_names[code] : "";
}
const char *ctl_code_summary(ctl_code code) {
    return (size_t)code < CTL_COUNT(code_summaries) ? code_summaries[code] : "";
}

uint32_t ctl_sink_add_source(ctl_sink *sink, const char *name, const char *text, size_t size) {
    ctl_source source = {ctl_strndup(sink->arena, name, strlen(name)), ctl_strndup(sink->arena, text, size),
                         size, false};
    CTL_PUSH(sink->arena, &sink->sources, source);
    return (uint32_t)(sink->sources.n - 1);
}

/* A NUL in the line becomes a byte that is no text either. */
void ctl_sink_place(const ctl_sink *sink, ctl_arena *arena, ctl_span span, ctl_diagnostic *d) {
    if (span.file >= sink->sources.n) return;
    const ctl_source *s = &sink->sources.at[span.file];
    size_t begin = span.begin < s->size ? span.begin : s->size, first = 0;
    d->file = s->name, d->line = 1;
    for (size_t i = 0; i < begin; i++)
        if (s->text[i] == '\n') d->line++, first = i + 1;
    size_t last = begin;
    while (last < s->size && s->text[last] != '\n') last++;
    if (last > first && last > begin && s->text[last - 1] == '\r') last--;
    size_t end = span.end < last ? span.end : last;
    if (end <= begin) end = begin + 1;
    char *line = ctl_strndup(arena, s->text + first, last - first);
    for (size_t i = 0; i < last - first; i++)
        if (line[i] == 0) line[i] = '\x01';
    d->line_text = line;
    d->column = (int)(begin - first + 1), d->end_column = (int)(end - first + 1);
}

void ctl_report(ctl_sink *sink, ctl_severity severity, ctl_code code, ctl_span span, const char *hint,
                const char *fmt, ...) {
    int most = sink->most_errors ? sink->most_errors : MOST_ERRORS;
    if (severity == CTL_ERROR) sink->errors++, sink->last_error = span;
    if (!sink->fn) return;
    if (sink->errors > most) {
        if (severity == CTL_ERROR && sink->errors == most + 1) {
            char text[80];
            snprintf(text, sizeof text, "there are more errors; the first %d are shown", most);
            sink->fn(sink->ctx, &(ctl_diagnostic){.severity = CTL_NOTE, .code = "", .message = text});
        }
        if (severity != CTL_WARNING) return;
    }
    va_list args;
    va_start(args, fmt);
    ctl_diagnostic d = {.severity = severity, .code = ctl_code_name(code), .hint = hint};
    d.message = ctl_vformat(sink->arena, fmt, args);
    va_end(args);
    ctl_sink_place(sink, sink->arena, span, &d);
    sink->fn(sink->ctx, &d);
}

/* ---- writing: into a buffer that may be too small, counting what the whole would need ---- */
typedef struct out {
    char *at;
    size_t size, n;
} out;

static void put_bytes(out *o, const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++, o->n++)
        if (o->n + 1 < o->size) o->at[o->n] = bytes[i];
}
static void put(out *o, const char *text) {
    put_bytes(o, text, strlen(text));
}
static void put_number(out *o, int number) {
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    put(o, text);
}
static void put_repeated(out *o, char c, size_t n) {
    while (n--) put_bytes(o, &c, 1);
}
static size_t finish(out *o) {
    if (o->size) o->at[o->n < o->size ? o->n : o->size - 1] = 0;
    return o->n;
}

/* Bytes of the character at s (1..4), and whether it may be shown as it is. */
static size_t character(const char *text, bool *harmless) {
    const unsigned char *s = (const unsigned char *)text;
    *harmless = false;
    if (s[0] < 0x80) {
        *harmless = s[0] >= 0x20 && s[0] != 0x7f;
        return 1;
    }
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4) return 1;
    uint32_t c = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 1;
        c = c << 6 | (s[i] & 0x3fu);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 1;
    *harmless = c >= 0xa0 && !(c >= 0x200b && c <= 0x200f) && !(c >= 0x2028 && c <= 0x202e) &&
                !(c >= 0x2060 && c <= 0x206f) && c != 0xfeff;
    return n;
}

static const char unknown[] = "\xef\xbf\xbd";

/* Writes a text harmlessly; a tab or newline becomes a space. */
static void put_safe(out *o, const char *text) {
    while (*text) {
        bool harmless;
        size_t n = character(text, &harmless);
        if (*text == '\t' || *text == '\n')
            put(o, " ");
        else if (harmless)
            put_bytes(o, text, n);
        else
            put(o, unknown);
        text += n;
    }
}

/* The line and the mark below it, counted in characters. Of a long line a window around the mark is shown. */
static void put_line(out *o, const ctl_diagnostic *d) {
    char number[16];
    int width = snprintf(number, sizeof number, "%5d", d->line);
    size_t length = strlen(d->line_text), mark = 0, marked = 0, total = 0;
    for (size_t i = 0; i < length;) {
        bool harmless;
        size_t next = i + character(d->line_text + i, &harmless);
        if (next < (size_t)d->column)
            mark++;
        else if (i + 1 < (size_t)d->end_column)
            marked++;
        total++, i = next;
    }
    if (marked == 0) marked = 1;
    size_t from = total > WINDOW && mark > WINDOW / 2 ? mark - WINDOW / 2 : 0;
    size_t to = total - from > WINDOW ? from + WINDOW : total;
    if (mark + marked > to) marked = to > mark ? to - mark : 1;
    put(o, number), put(o, " | ");
    if (from) put(o, "...");
    size_t at = 0;
    for (size_t i = 0; i < length; at++) {
        bool harmless;
        size_t n = character(d->line_text + i, &harmless);
        if (at >= from && at < to) {
            if (d->line_text[i] == '\t')
                put(o, " ");
            else if (harmless)
                put_bytes(o, d->line_text + i, n);
            else
                put(o, unknown);
        }
        i += n;
    }
    if (to < total) put(o, "...");
    put(o, "\n"), put_repeated(o, ' ', (size_t)width), put(o, " | ");
    put_repeated(o, ' ', mark - from + (from ? 3 : 0));
    put(o, "^"), put_repeated(o, '~', marked - 1), put(o, "\n");
}

static const char *severity_name(ctl_severity severity) {
    return severity == CTL_ERROR ? "error" : severity == CTL_WARNING ? "warning" : "note";
}

size_t ctl_diagnostic_text(const ctl_diagnostic *d, char *buf, size_t size) {
    out o = {buf, size, 0};
    if (d->file) {
        put_safe(&o, d->file), put(&o, ":");
        if (d->line) put_number(&o, d->line), put(&o, ":"), put_number(&o, d->column), put(&o, ":");
        put(&o, " ");
    }
    put(&o, severity_name(d->severity));
    if (d->code && *d->code) put(&o, "["), put(&o, d->code), put(&o, "]");
    put(&o, ": "), put_safe(&o, d->message ? d->message : ""), put(&o, "\n");
    if (d->line_text) put_line(&o, d);
    if (d->hint) put(&o, d->line_text ? "      | hint: " : "  hint: "), put_safe(&o, d->hint), put(&o, "\n");
    return finish(&o);
}

static void put_json_string(out *o, const char *key, const char *text) {
    put(o, ", \""), put(o, key), put(o, "\": ");
    if (!text) {
        put(o, "null");
        return;
    }
    put(o, "\"");
    while (*text) {
        bool harmless;
        size_t n = character(text, &harmless);
        char escape[8];
        if (*text == '"' || *text == '\\')
            put(o, "\\"), put_bytes(o, text, 1);
        else if (harmless)
            put_bytes(o, text, n);
        else if (n == 1 && (unsigned char)*text < 0x80)
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)*text), put(o, escape);
        else
            put(o, "\\ufffd");
        text += n;
    }
    put(o, "\"");
}

size_t ctl_diagnostic_json(const ctl_diagnostic *d, char *buf, size_t size) {
    out o = {buf, size, 0};
    put(&o, "{\"severity\": \""), put(&o, severity_name(d->severity)), put(&o, "\"");
    put_json_string(&o, "code", d->code ? d->code : "");
    put_json_string(&o, "file", d->file);
    put(&o, ", \"line\": "), put_number(&o, d->line);
    put(&o, ", \"column\": "), put_number(&o, d->column);
    put(&o, ", \"end_column\": "), put_number(&o, d->end_column);
    put_json_string(&o, "line_text", d->line_text);
    put_json_string(&o, "message", d->message ? d->message : "");
    put_json_string(&o, "hint", d->hint);
    put(&o, "}");
    return finish(&o);
}
