/* lifetimes: see lifetimes.h. */
#include "compiler/plan/lifetimes.h"

#include <stdarg.h>
#include <stdio.h>

enum { ID, LOWER, UPPER, SIZE, KINDS };
static const char *const names[KINDS] = {"id", "lower", "upper", "size"};

typedef struct reader {
    const char *at, *end;
    size_t line;
    ctl_lifetimes_error *error;
    size_t place[KINDS]; /* which column is which */
} reader;

static bool fail(reader *r, size_t column, const char *fmt, ...) CTL_PRINTF(3, 4);
static bool fail(reader *r, size_t column, const char *fmt, ...) {
    va_list args;
    r->error->line = r->line, r->error->column = column;
    va_start(args, fmt);
    vsnprintf(r->error->what, sizeof r->error->what, fmt, args);
    va_end(args);
    return false;
}

/* The next line without its end (LF or CR LF). */
static bool next_line(reader *r, const char **line, size_t *n) {
    if (r->at == r->end) return false;
    const char *stop = memchr(r->at, '\n', (size_t)(r->end - r->at));
    *line = r->at, *n = (size_t)((stop ? stop : r->end) - r->at);
    r->at = stop ? stop + 1 : r->end;
    if (*n && (*line)[*n - 1] == '\r') --*n;
    r->line++;
    return true;
}

/* The field at *at, without blanks around it; *at is then behind its comma. *n is its length. */
static const char *next_field(const char *line, size_t size, size_t *at, size_t *n) {
    size_t begin = *at, end;
    const char *comma = memchr(line + begin, ',', size - begin);
    end = comma ? (size_t)(comma - line) : size;
    *at = end + 1;
    while (begin < end && (line[begin] == ' ' || line[begin] == '\t')) begin++;
    while (end > begin && (line[end - 1] == ' ' || line[end - 1] == '\t')) end--;
    *n = end - begin;
    return line + begin;
}

static bool read_head(reader *r, const char *line, size_t size) {
    for (int k = 0; k < KINDS; k++) r->place[k] = SIZE_MAX;
    for (size_t at = 0, column = 0; at <= size; column++) {
        size_t n;
        const char *field = next_field(line, size, &at, &n);
        for (int k = 0; k < KINDS; k++) {
            if (strlen(names[k]) != n || memcmp(names[k], field, n) != 0) continue;
            if (r->place[k] != SIZE_MAX)
                return fail(r, (size_t)(field - line) + 1, "the column \"%s\" stands there twice", names[k]);
            r->place[k] = column;
        }
    }
    for (int k = 0; k < KINDS; k++)
        if (r->place[k] == SIZE_MAX)
            return fail(r, 1, "there is no column \"%s\": the first line is to be id,lower,upper,size",
                        names[k]);
    return true;
}

static bool read_number(reader *r, const char *line, const char *field, size_t n, int kind, uint64_t most,
                        uint64_t *out) {
    const size_t column = (size_t)(field - line) + 1;
    if (n == 0) return fail(r, column, "\"%s\" is missing", names[kind]);
    *out = 0;
    for (size_t k = 0; k < n; k++) {
        if (field[k] < '0' || field[k] > '9')
            return fail(r, column + k, "\"%s\" is to be a whole number that is not negative, not \"%.*s\"",
                        names[kind], n > 40 ? 40 : (int)n, field);
        unsigned digit = (unsigned)(field[k] - '0');
        if (*out > (most - digit) / 10)
            return fail(r, column, "\"%s\" is above %llu", names[kind], (unsigned long long)most);
        *out = 10 * *out + digit;
    }
    return true;
}

static bool read_item(reader *r, const char *line, size_t size, ctl_layout_item *item) {
    uint64_t value[KINDS] = {0};
    size_t columns = 0, at_upper = 1;
    for (size_t at = 0; at <= size; columns++) {
        size_t n;
        const char *field = next_field(line, size, &at, &n);
        for (int k = LOWER; k < KINDS; k++) {
            if (r->place[k] != columns) continue;
            if (!read_number(r, line, field, n, k, k == SIZE ? SIZE_MAX / 2 : INT32_MAX, &value[k]))
                return false;
            if (k == UPPER) at_upper = (size_t)(field - line) + 1;
        }
    }
    for (int k = 0; k < KINDS; k++)
        if (r->place[k] >= columns) return fail(r, size + 1, "the line ends before its \"%s\"", names[k]);
    if (value[UPPER] <= value[LOWER])
        return fail(r, at_upper, "\"upper\" is to be above \"lower\", which is %llu: lives are half-open",
                    (unsigned long long)value[LOWER]);
    *item = (ctl_layout_item){value[SIZE], (int32_t)value[LOWER], (int32_t)value[UPPER] - 1, 0};
    return true;
}

bool ctl_lifetimes_read(ctl_arena *arena, const char *text, size_t size, ctl_lifetimes *out,
                        ctl_lifetimes_error *error) {
    reader r = {.at = text, .end = text + size, .error = error};
    const char *line;
    size_t n, total = 0;
    CTL_VEC(ctl_layout_item) items = {0};
    CTL_VEC(const char *) lines = {0};
    *out = (ctl_lifetimes){0};
    *error = (ctl_lifetimes_error){0};
    if (memchr(text, 0, size)) return fail(&r, 0, "it is no text: it has zero bytes");
    if (!next_line(&r, &line, &n))
        return fail(&r, 0, "it is empty: the first line is to be id,lower,upper,size");
    if (!read_head(&r, line, n)) return false;
    out->head = ctl_strndup(arena, line, n);
    while (next_line(&r, &line, &n)) {
        ctl_layout_item item;
        if (strspn(line, " \t") >= n) continue;
        if (!read_item(&r, line, n, &item)) return false;
        if (!ctl_add_size(total, item.bytes, &total))
            return fail(&r, 1, "up to here the sizes add up to more than can be counted");
        CTL_PUSH(arena, &items, item);
        CTL_PUSH(arena, &lines, ctl_strndup(arena, line, n));
    }
    if (items.n > UINT32_MAX / 2) return fail(&r, 0, "there are more lines than can be packed");
    out->items = items.at, out->lines = lines.at, out->n = items.n;
    return true;
}

void ctl_lifetimes_write(const ctl_lifetimes *table, ctl_text *out) {
    ctl_text_put(out, table->head, strlen(table->head));
    ctl_text_add(out, ",offset\n");
    for (size_t k = 0; k < table->n; k++) {
        ctl_text_put(out, table->lines[k], strlen(table->lines[k]));
        ctl_text_add(out, ",%zu\n", table->items[k].offset);
    }
}
