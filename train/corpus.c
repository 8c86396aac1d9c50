/* corpus: documents read from files and directories, and the part of them that is held out.
 *
 * All bytes of a corpus lie in one growing buffer; a document is a span of it. Files are read whole. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/random.h"
#include "runtime/files.h"
#include "train/data_internal.h"

enum { DEEPEST_FOLDER = 32 };

void ctl_corpus_init(ctl_corpus *c, const ctl_allocator *allocator) {
    *c = (ctl_corpus){.allocator = ctl_allocator_or_default(allocator)};
}

void ctl_corpus_free(ctl_corpus *c) {
    ctl_free(c->allocator, c->bytes, c->bytes_cap);
    ctl_free(c->allocator, c->docs, c->docs_cap * sizeof *c->docs);
    ctl_corpus_init(c, c->allocator);
}

/* Room for `more` elements of `size` bytes after n; doubles. */
static bool grow(const ctl_allocator *a, void **at, size_t n, size_t *cap, size_t more, size_t size) {
    size_t need, bytes, old = *cap * size;
    if (!ctl_add_size(n, more, &need)) return false;
    if (need <= *cap) return true;
    size_t want = *cap < 32 ? 64 : *cap * 2;
    if (want < need) want = need;
    if (!ctl_mul_size(want, size, &bytes)) return false;
    void *p = a->resize(a->ctx, *at, old, bytes);
    if (!p) return false;
    *at = p, *cap = want;
    return true;
}

ctl_status ctl_corpus_add(ctl_corpus *c, const void *bytes, size_t size, size_t answer) {
    if (size == 0) return CTL_OK;
    void *b = c->bytes, *d = c->docs;
    bool ok = grow(c->allocator, &b, c->nbytes, &c->bytes_cap, size, 1);
    c->bytes = b;
    ok = ok && grow(c->allocator, &d, c->ndocs, &c->docs_cap, 1, sizeof *c->docs);
    c->docs = d;
    if (!ok) return CTL_ERR_MEMORY;
    memcpy(c->bytes + c->nbytes, bytes, size);
    c->docs[c->ndocs++] = (ctl_document){c->nbytes, size, answer};
    c->nbytes += size;
    return CTL_OK;
}

/* ---- files ---- */
static ctl_status refused(ctl_voice voice, const char *path) {
    int error = errno;
    ctl_say(voice, CTL_ERROR, "E0601", NULL, "%s: cannot read the data: %s", path, strerror(error));
    return error == ENOMEM ? CTL_ERR_MEMORY : CTL_ERR_IO;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static ctl_status read_file(ctl_corpus *c, const char *path, ctl_voice voice) {
    char *text;
    size_t size;
    ctl_status status = ctl_file_read(path, PTRDIFF_MAX - 1, &text, &size,
                                      (ctl_place){.voice = voice, .allocator = c->allocator});
    if (status != CTL_OK) return status;
    bool list = ends_with(path, ".json"), lines = ends_with(path, ".jsonl");
    if (list || lines)
        status = ctl_json_data_add(c, path, text, size, lines, voice);
    else
        status = ctl_corpus_add(c, text, size, 0);
    ctl_free(c->allocator, text, size + 1);
    return status;
}

/* ---- directories ---- */
typedef struct name_list {
    char **at;
    size_t n, cap;
} name_list;

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_free(const ctl_allocator *a, name_list *names) {
    for (size_t i = 0; i < names->n; i++) ctl_free(a, names->at[i], strlen(names->at[i]) + 1);
    ctl_free(a, names->at, names->cap * sizeof *names->at);
}

/* The paths in a directory, sorted, so that a corpus does not depend on the file system's order. */
static ctl_status names_read(const ctl_allocator *a, const char *path, name_list *names, ctl_voice voice) {
    DIR *dir = opendir(path);
    if (!dir) return refused(voice, path);
    ctl_status status = CTL_OK;
    struct dirent *entry;
    while (status == CTL_OK && (errno = 0, entry = readdir(dir))) {
        if (entry->d_name[0] == '.') continue;
        size_t n = strlen(path), m = strlen(entry->d_name);
        void *list = names->at;
        char *name = ctl_alloc(a, n + m + 2);
        bool ok = name && grow(a, &list, names->n, &names->cap, 1, sizeof *names->at);
        names->at = list;
        if (!ok) {
            ctl_free(a, name, n + m + 2);
            status = CTL_ERR_MEMORY;
            break;
        }
        memcpy(name, path, n);
        name[n] = '/';
        memcpy(name + n + 1, entry->d_name, m + 1);
        names->at[names->n++] = name;
    }
    if (status == CTL_OK && errno) status = refused(voice, path);
    closedir(dir);
    if (names->n) qsort(names->at, names->n, sizeof *names->at, by_name);
    return status;
}

static ctl_status read_path(ctl_corpus *c, const char *path, int depth, ctl_voice voice) {
    struct stat st;
    if (stat(path, &st) != 0) return refused(voice, path);
    if (!S_ISDIR(st.st_mode)) return read_file(c, path, voice);
    if (depth == DEEPEST_FOLDER) {
        ctl_say(voice, CTL_ERROR, "E0601", "a link that leads back to its own folder does this",
                "%s: the data lies more than %d folders deep", path, DEEPEST_FOLDER);
        return CTL_ERR_INPUT;
    }
    name_list names = {0};
    ctl_status status = names_read(c->allocator, path, &names, voice);
    for (size_t i = 0; i < names.n && status == CTL_OK; i++)
        status = read_path(c, names.at[i], depth + 1, voice);
    names_free(c->allocator, &names);
    return status;
}

ctl_status ctl_corpus_read(ctl_corpus *c, const char *path, ctl_voice voice) {
    ctl_status status = read_path(c, path, 0, voice);
    if (status == CTL_ERR_MEMORY)
        ctl_say(voice, CTL_ERROR, "E0601", NULL, "%s: no memory to read the data", path);
    return status;
}

/* ---- the part that is held out ---- */
uint64_t ctl_corpus_fingerprint(const ctl_corpus *c) {
    uint64_t h = ctl_hash(c->bytes, c->nbytes, 1);
    for (size_t i = 0; i < c->ndocs; i++) {
        const uint64_t bounds[3] = {c->docs[i].begin, c->docs[i].size, c->docs[i].answer};
        h = ctl_hash(bounds, sizeof bounds, h);
    }
    return h;
}

/* Few documents: each gives its end, so that both parts have something of all. */
static ctl_status split_ends(ctl_corpus *c, double fraction, ctl_corpus *held_out) {
    for (size_t i = 0; i < c->ndocs; i++) {
        ctl_document *d = &c->docs[i];
        size_t take = (size_t)((double)d->size * fraction);
        if (take == 0 || take >= d->size) continue;
        size_t keep = d->size - take;
        ctl_status status = ctl_corpus_add(held_out, c->bytes + d->begin + keep, take,
                                           d->answer > keep ? d->answer - keep : 0);
        if (status != CTL_OK) return status;
        d->size = keep;
    }
    return CTL_OK;
}

typedef struct numbered {
    uint32_t draw;
    size_t doc;
} numbered;

static int by_draw(const void *a, const void *b) {
    const numbered *x = a, *y = b;
    if (x->draw != y->draw) return x->draw < y->draw ? -1 : 1;
    return x->doc < y->doc ? -1 : x->doc > y->doc;
}

/* Every document has a number drawn from the seed; those with the least move, until the fraction is reached.
 */
static ctl_status split_documents(ctl_corpus *c, double fraction, uint64_t seed, ctl_corpus *held_out) {
    const size_t n = c->ndocs;
    numbered *order = ctl_alloc(c->allocator, n * sizeof *order);
    if (!order) return CTL_ERR_MEMORY;
    size_t total = 0, moved = 0, gone = 0, kept = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t out[4], counter[4] = {(uint32_t)i, (uint32_t)(i >> 32), 0x53504c54u, 0};
        ctl_philox(counter, seed, out);
        order[i] = (numbered){out[0], i};
        total += c->docs[i].size;
    }
    qsort(order, n, sizeof *order, by_draw);
    ctl_status status = CTL_OK;
    while (status == CTL_OK && gone + 1 < n && (double)moved < fraction * (double)total) {
        const ctl_document *d = &c->docs[order[gone++].doc];
        status = ctl_corpus_add(held_out, c->bytes + d->begin, d->size, d->answer);
        moved += d->size;
    }
    if (status == CTL_OK) {
        for (size_t i = 0; i < gone; i++) c->docs[order[i].doc].size = 0;
        for (size_t i = 0; i < n; i++)
            if (c->docs[i].size) c->docs[kept++] = c->docs[i];
        c->ndocs = kept;
    }
    ctl_free(c->allocator, order, n * sizeof *order);
    return status;
}

ctl_status ctl_corpus_split(ctl_corpus *c, double fraction, uint64_t seed, ctl_corpus *held_out) {
    enum { FEW = 8 };
    if (!(fraction > 0) || c->ndocs == 0) return CTL_OK;
    return c->ndocs < FEW ? split_ends(c, fraction, held_out) : split_documents(c, fraction, seed, held_out);
}
