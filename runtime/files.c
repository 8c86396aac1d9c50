/* files: writing so that nothing saved is lost. See files.h. */
#include "runtime/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

char *ctl_string_format(const ctl_allocator *a, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    char *out = n < 0 ? NULL : ctl_alloc(a, (size_t)n + 1);
    if (out) vsnprintf(out, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(args);
    return out;
}

void ctl_string_free(const ctl_allocator *a, char *string) {
    if (string) ctl_free(a, string, strlen(string) + 1);
}

const char *ctl_errno_hint(int error) {
    switch (error) {
    case ENOSPC:
    case EDQUOT:
        return "the disk is full: free some space, or write elsewhere";
    case EFBIG:
        return "files of this size are not allowed here: see ulimit -f";
    case EACCES:
    case EPERM:
    case EROFS:
        return "check who owns it and what its permissions are";
    case ENOENT:
        return "check how the path is spelled";
    case ENOTDIR:
    case EEXIST:
        return "a file stands where a directory is needed";
    case EMFILE:
        return "too many files are open: see ulimit -n";
    default:
        return NULL;
    }
}

static ctl_status io_error(ctl_place place, const char *code, const char *what, const char *path) {
    int error = errno;
    ctl_say(place.voice, CTL_ERROR, code, ctl_errno_hint(error), "cannot %s '%s': %s", what, path,
            strerror(error));
    return error == ENOMEM ? CTL_ERR_MEMORY : CTL_ERR_IO;
}

/* ---- files that replace others ---- */
static void new_file_free(ctl_new_file *f) {
    if (f->fd >= 0) close(f->fd);
    ctl_string_free(f->place.allocator, f->path);
    ctl_string_free(f->place.allocator, f->temporary);
    *f = (ctl_new_file){.fd = -1};
}

ctl_status ctl_new_file_open(ctl_new_file *f, const char *path, ctl_place place) {
    *f = (ctl_new_file){.place = place, .fd = -1};
    f->path = ctl_string_format(place.allocator, "%s", path);
    f->temporary = ctl_string_format(place.allocator, "%s.tmp-%ld", path, (long)getpid());
    ctl_status status = f->path && f->temporary ? CTL_OK : CTL_ERR_MEMORY;
    if (status == CTL_OK) {
        unlink(f->temporary); /* of a killed process that had our number */
        f->fd = open(f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (f->fd < 0) status = io_error(place, "E0707", "create", f->temporary);
    }
    if (status != CTL_OK) new_file_free(f);
    return status;
}

ctl_status ctl_new_file_write(ctl_new_file *f, const void *data, size_t n) {
    const char *at = data;
    while (n > 0) {
        ssize_t wrote = write(f->fd, at, n < ((size_t)1 << 30) ? n : (size_t)1 << 30);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return io_error(f->place, "E0707", "write", f->temporary);
        at += wrote, n -= (size_t)wrote;
    }
    return CTL_OK;
}

void ctl_new_file_drop(ctl_new_file *f) {
    if (f->temporary) unlink(f->temporary);
    new_file_free(f);
}

static ctl_status sync_parent(const char *path, ctl_place place) {
    const char *slash = strrchr(path, '/');
    if (!slash) return ctl_directory_sync(".", place);
    char *parent = ctl_string_format(place.allocator, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    if (!parent) return CTL_ERR_MEMORY;
    ctl_status status = ctl_directory_sync(parent, place);
    ctl_string_free(place.allocator, parent);
    return status;
}

ctl_status ctl_new_file_commit(ctl_new_file *f) {
    ctl_status status = CTL_OK;
    if (fsync(f->fd) != 0) status = io_error(f->place, "E0707", "write", f->temporary);
    int fd = f->fd;
    f->fd = -1;
    if (close(fd) != 0 && status == CTL_OK) status = io_error(f->place, "E0707", "write", f->temporary);
    if (status == CTL_OK && rename(f->temporary, f->path) != 0)
        status = io_error(f->place, "E0707", "replace", f->path);
    if (status != CTL_OK) {
        ctl_new_file_drop(f);
        return status;
    }
    status = sync_parent(f->path, f->place);
    new_file_free(f);
    return status;
}

ctl_status ctl_file_replace(const char *path, const void *data, size_t n, ctl_place place) {
    ctl_new_file f;
    ctl_status status = ctl_new_file_open(&f, path, place);
    if (status != CTL_OK) return status;
    status = ctl_new_file_write(&f, data, n);
    if (status == CTL_OK) return ctl_new_file_commit(&f);
    ctl_new_file_drop(&f);
    return status;
}

ctl_status ctl_file_read(const char *path, size_t most, char **out, size_t *n, ctl_place place) {
    *out = NULL, *n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return io_error(place, "E0701", "open", path);
    struct stat info;
    ctl_status status = CTL_OK;
    char *text = NULL;
    size_t size = 0, got = 0;
    if (fstat(fd, &info) != 0) {
        status = io_error(place, "E0701", "read", path);
    } else if (!S_ISREG(info.st_mode) || (uintmax_t)info.st_size > most) {
        ctl_say(place.voice, CTL_ERROR, "E0701", NULL, "'%s' is not a file of at most %zu bytes", path, most);
        status = CTL_ERR_INPUT;
    } else {
        size = (size_t)info.st_size;
        text = ctl_alloc(place.allocator, size + 1);
        if (!text) status = CTL_ERR_MEMORY;
    }
    while (status == CTL_OK && got < size) {
        ssize_t more = read(fd, text + got, size - got);
        if (more < 0 && errno == EINTR) continue;
        if (more < 0) {
            status = io_error(place, "E0701", "read", path);
        } else if (more == 0) {
            ctl_say(place.voice, CTL_ERROR, "E0701", "another program changed it meanwhile: try again",
                    "'%s' became shorter", path);
            status = CTL_ERR_IO;
        } else {
            got += (size_t)more;
        }
    }
    close(fd);
    if (status != CTL_OK) {
        ctl_free(place.allocator, text, size + 1);
        return status;
    }
    *out = text, *n = size;
    return CTL_OK;
}

/* ---- directories ---- */
ctl_status ctl_directory_make(const char *path, ctl_place place) {
    char *copy = ctl_string_format(place.allocator, "%s", path);
    if (!copy) return CTL_ERR_MEMORY;
    ctl_status status = CTL_OK;
    for (char *at = copy;; at++) {
        bool end = *at == 0;
        if ((end || *at == '/') && at > copy && at[-1] != '/') {
            *at = 0;
            struct stat info;
            bool exists = stat(copy, &info) == 0 && S_ISDIR(info.st_mode);
            if (!exists && mkdir(copy, 0777) != 0)
                status = io_error(place, "E0707", "make the directory", copy);
            if (!exists && status == CTL_OK) status = sync_parent(copy, place);
            if (!end) *at = '/';
        }
        if (end || status != CTL_OK) break;
    }
    ctl_free(place.allocator, copy, strlen(path) + 1);
    return status;
}

ctl_status ctl_directory_sync(const char *path, ctl_place place) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return io_error(place, "E0707", "open", path);
    /* Some file systems cannot sync a directory and say EINVAL: they order renames themselves. */
    ctl_status status = fsync(fd) == 0 || errno == EINVAL ? CTL_OK : io_error(place, "E0707", "write", path);
    close(fd);
    return status;
}

/* ---- text ---- */
void ctl_string_put(ctl_string *s, const char *bytes, size_t n) {
    if (s->failed) return;
    if (s->cap - s->n < n + 1) {
        size_t cap = (s->n + n + 32) * 2;
        char *at = cap < n ? NULL : s->allocator->resize(s->allocator->ctx, s->at, s->cap, cap);
        if (!at) {
            s->failed = true;
            return;
        }
        s->at = at, s->cap = cap;
    }
    memcpy(s->at + s->n, bytes, n);
    s->n += n;
    s->at[s->n] = 0;
}

void ctl_string_add(ctl_string *s, const char *fmt, ...) {
    char text[501];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n > 0) ctl_string_put(s, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

/* Bytes of the UTF-8 sequence that begins here (no surrogates, nothing overlong), or 0. */
static size_t utf8_length(const unsigned char *u) {
    if (u[0] < 0x80) return 1;
    size_t n = u[0] >= 0xc2 && u[0] < 0xe0   ? 2
               : (u[0] & 0xf0) == 0xe0       ? 3
               : u[0] >= 0xf0 && u[0] < 0xf5 ? 4
                                             : 0;
    for (size_t i = 1; i < n; i++)
        if ((u[i] & 0xc0) != 0x80) return 0;
    if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f)) return 0;
    if ((u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f)) return 0;
    return n;
}

void ctl_string_json(ctl_string *s, const char *text) {
    ctl_string_put(s, "\"", 1);
    for (const unsigned char *u = (const unsigned char *)text; *u;) {
        size_t n = utf8_length(u);
        if (n == 0) {
            ctl_string_put(s, "\xef\xbf\xbd", 3);
            n = 1;
        } else if (*u == '"' || *u == '\\') {
            char escape[2] = {'\\', (char)*u};
            ctl_string_put(s, escape, 2);
        } else if (*u == '\n') {
            ctl_string_put(s, "\\n", 2);
        } else if (*u < 0x20 || *u == 0x7f) {
            ctl_string_add(s, "\\u%04x", *u);
        } else {
            ctl_string_put(s, (const char *)u, n);
        }
        u += n;
    }
    ctl_string_put(s, "\"", 1);
}

void ctl_string_drop(ctl_string *s) {
    ctl_free(s->allocator, s->at, s->cap);
    *s = (ctl_string){.allocator = s->allocator};
}
