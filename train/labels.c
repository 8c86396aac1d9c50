/* labels: classes from .npy arrays and from texts. See images.h. */
#include <stdio.h>
#include <stdlib.h>

#include "train/images.h"

static ctl_status wrong(ctl_voice voice, const char *path, const char *fmt, ...) CTL_PRINTF(3, 4);
static ctl_status wrong(ctl_voice voice, const char *path, const char *fmt, ...) {
    char what[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    ctl_say(voice, CTL_ERROR, "E0612", "labels are numbers of classes, 0, 1, ..: an .npy array of integers, or one a line",
            "%s: no list of labels that can be used: %s", path, what);
    return CTL_ERR_INPUT;
}

static bool ends_with(const char *text, const char *end) {
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static ctl_status read_array(const char *path, const ctl_allocator *a, ctl_voice voice, int32_t **out, size_t *n) {
    ctl_npy array;
    ctl_status status = ctl_npy_open(&array, path, (ctl_place){voice, a});
    if (status != CTL_OK) return status;
    size_t bytes = 0;
    char shape[200];
    if (array.kind == CTL_NPY_FLOAT || array.kind == CTL_NPY_BOOL)
        status = wrong(voice, path, "its elements are no integers");
    else if (array.count == 0 || (uint64_t)array.count != (uint64_t)array.dims[0])
        status = wrong(voice, path, "its shape is %s, not one number an example", ctl_npy_shape(&array, shape));
    else if (!ctl_mul_size(array.count, sizeof **out, &bytes) || !(*out = ctl_alloc(a, bytes)))
        status = CTL_ERR_MEMORY;
    for (size_t i = 0; status == CTL_OK && i < array.count; i++) {
        const int64_t label = ctl_npy_int(&array, i);
        if (label < 0 || label > INT32_MAX)
            status = wrong(voice, path, "label %zu is %lld", i, (long long)label);
        else
            (*out)[i] = (int32_t)label;
    }
    if (status == CTL_OK) *n = array.count;
    else if (*out) ctl_free(a, *out, bytes), *out = NULL;
    ctl_npy_close(&array);
    return status;
}

/* The number in the line's last field, or -1. */
static int64_t last_field(const char *line, size_t n) {
    while (n && strchr(" \t\r", line[n - 1])) n--;
    size_t begin = n;
    while (begin && line[begin - 1] != ',') begin--;
    while (begin < n && strchr(" \t", line[begin])) begin++;
    if (begin == n || n - begin > 9) return -1;
    int64_t value = 0;
    for (size_t i = begin; i < n; i++) {
        if (line[i] < '0' || line[i] > '9') return -1;
        value = value * 10 + (line[i] - '0');
    }
    return value;
}

static ctl_status parse_lines(const char *path, const char *text, size_t size, ctl_voice voice, int32_t *out, size_t *n) {
    size_t number = 1;
    for (size_t at = 0; at < size; number++) {
        const char *end = memchr(text + at, '\n', size - at);
        const size_t length = end ? (size_t)(end - (text + at)) : size - at;
        const int64_t value = last_field(text + at, length);
        bool blank = true;
        for (size_t i = 0; i < length; i++) blank &= strchr(" \t\r", text[at + i]) != NULL;
        if (value >= 0)
            out[(*n)++] = (int32_t)value;
        else if (number > 1 && !blank)
            return wrong(voice, path, "line %zu ends with no number of a class", number);
        at += length + 1;
    }
    return *n ? CTL_OK : wrong(voice, path, "there is no label in it");
}

static ctl_status read_lines(const char *path, const ctl_allocator *a, ctl_voice voice, int32_t **out, size_t *n) {
    char *text;
    size_t size, lines = 1, bytes, count = 0;
    ctl_status status = ctl_file_read(path, PTRDIFF_MAX - 1, &text, &size, (ctl_place){voice, a});
    if (status != CTL_OK) return status;
    for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
    int32_t *all = ctl_mul_size(lines, sizeof **out, &bytes) ? ctl_alloc(a, bytes) : NULL, *exact = NULL;
    status = all ? parse_lines(path, text, size, voice, all, &count) : CTL_ERR_MEMORY;
    if (status == CTL_OK && !(exact = ctl_alloc(a, count * sizeof *exact))) status = CTL_ERR_MEMORY;
    if (status == CTL_OK) {
        memcpy(exact, all, count * sizeof *exact);
        *out = exact, *n = count;
    }
    ctl_free(a, all, lines * sizeof *all);
    ctl_free(a, text, size + 1);
    return status;
}

ctl_status ctl_labels_read(const char *path, const ctl_allocator *allocator, ctl_voice voice, int32_t **out, size_t *n) {
    *out = NULL, *n = 0;
    allocator = ctl_allocator_or_default(allocator);
    return ends_with(path, ".npy") ? read_array(path, allocator, voice, out, n) : read_lines(path, allocator, voice, out, n);
}
