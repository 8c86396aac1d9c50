/* files: writing so that nothing saved is ever lost, reading whole small files, and text that grows.
 *
 * A file is written beside its place under a temporary name, flushed to the disk, and renamed: whoever looks
 * sees the old file or the new one, whole, also after a crash. Every function that fails has said why through
 * the voice, except for CTL_ERR_MEMORY. Strings come from the allocator and are freed with ctl_string_free.
 */
#ifndef CTL_FILES_H
#define CTL_FILES_H

#include "runtime/say.h"

typedef struct ctl_place { /* what every function needs to fail well */
    ctl_voice voice;
    const ctl_allocator *allocator;
} ctl_place;

char *ctl_string_format(const ctl_allocator *a, const char *fmt, ...) CTL_PRINTF(2, 3); /* NULL: no memory */
void ctl_string_free(const ctl_allocator *a, char *string);

/* What an error of the operating system asks of the user, or NULL. */
const char *ctl_errno_hint(int error);

/* ---- files that replace others ---- */
typedef struct ctl_new_file {
    ctl_place place;
    int fd;
    char *path, *temporary;
} ctl_new_file;
ctl_status ctl_new_file_open(ctl_new_file *f, const char *path, ctl_place place);
ctl_status ctl_new_file_write(ctl_new_file *f, const void *data, size_t n);
ctl_status ctl_new_file_commit(ctl_new_file *f); /* closes f, whatever comes back */
void ctl_new_file_drop(ctl_new_file *f);         /* closes f and removes the temporary file */

ctl_status ctl_file_replace(const char *path, const void *data, size_t n, ctl_place place);
/* The whole file, at most `most` bytes, with a NUL behind it; size with that NUL is *n + 1. */
ctl_status ctl_file_read(const char *path, size_t most, char **out, size_t *n, ctl_place place);

/* ---- directories ---- */
ctl_status ctl_directory_make(const char *path, ctl_place place); /* with its parents; existing is fine */
ctl_status ctl_directory_sync(const char *path, ctl_place place); /* makes renames in it last */

/* ---- text ---- */
typedef struct ctl_string { /* zero-initialise with .allocator set; a failed allocation sets failed and drops
                               the rest */
    const ctl_allocator *allocator;
    char *at;
    size_t n, cap;
    bool failed;
} ctl_string;
void ctl_string_put(ctl_string *s, const char *bytes, size_t n);
void ctl_string_add(ctl_string *s, const char *fmt, ...) CTL_PRINTF(2, 3); /* at most 500 bytes at a time */
/* A JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
void ctl_string_json(ctl_string *s, const char *text);
void ctl_string_drop(ctl_string *s);

#endif
