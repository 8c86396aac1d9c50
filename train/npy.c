/* npy: see npy.h. */
#include "train/npy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/convert.h"

static const char *const REMEDY = "numpy.save writes such files: arrays of float16, float32, float64, or integers, in C order";

static ctl_status wrong(const char *path, ctl_place place, const char *fmt, ...) CTL_PRINTF(3, 4);
static ctl_status wrong(const char *path, ctl_place place, const char *fmt, ...) {
    char what[320];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    ctl_say(place.voice, CTL_ERROR, "E0612", REMEDY, "%s: not an array that can be used: %s", path, what);
    return CTL_ERR_INPUT;
}

/* ---- the header's literal ---- */
typedef struct cursor {
    const char *at, *end;
} cursor;

static void blanks(cursor *c) {
    while (c->at < c->end && strchr(" \t\n", *c->at) && *c->at) c->at++;
}

static bool take(cursor *c, const char *word) {
    const size_t n = strlen(word);
    blanks(c);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0) return false;
    c->at += n;
    return true;
}

/* A string in single or double quotes, without escapes. */
static bool take_string(cursor *c, const char **at, size_t *n) {
    blanks(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) return false;
    const char *end = memchr(c->at + 1, *c->at, (size_t)(c->end - c->at - 1));
    if (!end) return false;
    *at = c->at + 1, *n = (size_t)(end - *at);
    c->at = end + 1;
    return true;
}

static bool take_count(cursor *c, int64_t *out) {
    blanks(c);
    const char *begin = c->at;
    for (*out = 0; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        if (*out > (INT64_MAX - 9) / 10) return false;
        *out = *out * 10 + (*c->at - '0');
    }
    take(c, "L"); /* of old Pythons */
    return c->at > begin;
}

static bool take_shape(cursor *c, ctl_npy *a) {
    if (!take(c, "(")) return false;
    for (a->ndims = 0; !take(c, ")"); a->ndims++) {
        if (a->ndims == CTL_NPY_DIMS || !take_count(c, &a->dims[a->ndims])) return false;
        if (!take(c, ",")) {
            a->ndims++;
            return take(c, ")");
        }
    }
    return true;
}

static bool take_descr(const char *at, size_t n, ctl_npy *a) {
    static const struct {
        const char *name;
        ctl_npy_kind kind;
        int size;
    } known[] = {
        {"<f2", CTL_NPY_FLOAT, 2},    {"<f4", CTL_NPY_FLOAT, 4},    {"<f8", CTL_NPY_FLOAT, 8},
        {"|i1", CTL_NPY_INT, 1},      {"<i2", CTL_NPY_INT, 2},      {"<i4", CTL_NPY_INT, 4},
        {"<i8", CTL_NPY_INT, 8},      {"|u1", CTL_NPY_UNSIGNED, 1}, {"<u2", CTL_NPY_UNSIGNED, 2},
        {"<u4", CTL_NPY_UNSIGNED, 4}, {"<u8", CTL_NPY_UNSIGNED, 8}, {"|b1", CTL_NPY_BOOL, 1},
    };
    for (size_t i = 0; i < CTL_COUNT(known); i++) {
        if (n != 3 || memcmp(known[i].name, at, 3) != 0) continue;
        a->kind = known[i].kind, a->size = known[i].size;
        return true;
    }
    return false;
}

static ctl_status read_header(ctl_npy *a, const char *path, const char *text, size_t n, ctl_place place) {
    cursor c = {text, text + n};
    const char *key, *descr = NULL;
    size_t nkey, ndescr = 0;
    bool order = false, shape = false, fits = take(&c, "{");
    while (fits && !take(&c, "}")) {
        fits = take_string(&c, &key, &nkey) && take(&c, ":");
        if (fits && nkey == 5 && memcmp(key, "descr", 5) == 0 && !descr) {
            fits = take_string(&c, &descr, &ndescr);
        } else if (fits && nkey == 13 && memcmp(key, "fortran_order", 13) == 0 && !order) {
            order = take(&c, "False");
            if (!order && take(&c, "True")) return wrong(path, place, "it is stored column by column (Fortran order)");
            fits = order;
        } else if (fits && nkey == 5 && memcmp(key, "shape", 5) == 0 && !shape) {
            fits = shape = take_shape(&c, a);
        } else {
            fits = false;
        }
        if (fits && !take(&c, ",")) {
            fits = take(&c, "}");
            break;
        }
    }
    blanks(&c);
    if (!fits || c.at != c.end || !descr || !order || !shape) return wrong(path, place, "its header is damaged");
    if (!take_descr(descr, ndescr, a))
        return wrong(path, place, "its elements are of type '%.*s'", (int)(ndescr > 40 ? 40 : ndescr), descr);
    return CTL_OK;
}

static ctl_status check(ctl_npy *a, const char *path, ctl_place place) {
    const unsigned char *m = a->map;
    if (a->map_size < 10 || memcmp(m, "\x93NUMPY", 6) != 0)
        return wrong(path, place, "it does not begin as NumPy's files do");
    const size_t prefix = m[6] == 1 ? 10 : 12;
    if (m[6] < 1 || m[6] > 3) return wrong(path, place, "it has version %d.%d of the format", m[6], m[7]);
    size_t length = (size_t)m[8] | (size_t)m[9] << 8;
    if (a->map_size < prefix) return wrong(path, place, "it ends within its header");
    if (prefix == 12) length |= (size_t)m[10] << 16 | (size_t)m[11] << 24;
    if (length > a->map_size - prefix) return wrong(path, place, "it ends within its header");
    ctl_status status = read_header(a, path, (const char *)m + prefix, length, place);
    if (status != CTL_OK) return status;
    int64_t count = 1, bytes;
    char shape[200];
    for (int d = 0; d < a->ndims; d++)
        if (!ctl_mul_i64(count, a->dims[d], &count)) return wrong(path, place, "its shape has more elements than there can be");
    const size_t have = a->map_size - prefix - length;
    if (!ctl_mul_i64(count, a->size, &bytes) || (uint64_t)bytes != have)
        return wrong(path, place, "its shape is %s, of %d bytes each, and it holds %zu bytes", ctl_npy_shape(a, shape),
                     a->size, have);
    a->count = (size_t)count;
    a->data = m + prefix + length;
    return CTL_OK;
}

/* ---- the file ---- */
static ctl_status refused(const char *path, ctl_place place) {
    const int error = errno;
    ctl_say(place.voice, CTL_ERROR, "E0601", ctl_errno_hint(error), "%s: cannot read the data: %s", path, strerror(error));
    return error == ENOMEM ? CTL_ERR_MEMORY : CTL_ERR_IO;
}

ctl_status ctl_npy_open(ctl_npy *a, const char *path, ctl_place place) {
    *a = (ctl_npy){0};
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        ctl_status status = refused(path, place);
        if (fd >= 0) close(fd);
        return status;
    }
    ctl_status status = CTL_OK;
    if (!S_ISREG(info.st_mode) || (uintmax_t)info.st_size > SIZE_MAX || info.st_size == 0) {
        status = wrong(path, place, "it is %s", S_ISREG(info.st_mode) ? "empty" : "no file");
    } else {
        void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
            status = refused(path, place);
        else
            a->map = map, a->map_size = (size_t)info.st_size;
    }
    close(fd);
    if (status == CTL_OK) status = check(a, path, place);
    if (status != CTL_OK) ctl_npy_close(a);
    return status;
}

void ctl_npy_close(ctl_npy *a) {
    if (a->map) munmap(a->map, a->map_size);
    *a = (ctl_npy){0};
}

/* ---- elements ---- */
int64_t ctl_npy_int(const ctl_npy *a, size_t i) {
    uint64_t value = 0;
    memcpy(&value, (const char *)a->data + i * (size_t)a->size, (size_t)a->size);
    const int bits = 8 * a->size;
    const uint64_t sign = UINT64_C(1) << (bits - 1);
    if (a->kind == CTL_NPY_INT && bits < 64 && value & sign) value |= ~(2 * sign - 1);
    return (int64_t)value;
}

double ctl_npy_real(const ctl_npy *a, size_t i) {
    double value;
    if (a->kind != CTL_NPY_FLOAT) return (double)ctl_npy_int(a, i);
    const ctl_dtype dtype = a->size == 2 ? CTL_F16 : a->size == 4 ? CTL_F32 : CTL_F64;
    ctl_convert(CTL_F64, &value, dtype, (const char *)a->data + i * (size_t)a->size, 1);
    return value;
}

const char *ctl_npy_shape(const ctl_npy *a, char *buf) {
    int n = 0;
    buf[0] = 0;
    for (int d = 0; d < a->ndims; d++) n += snprintf(buf + n, 200 - (size_t)n, "%s%lld", d ? " x " : "", (long long)a->dims[d]);
    if (a->ndims == 0) snprintf(buf, 200, "one element");
    return buf;
}
