/* corpus: documents read from files and directories.
 *
 * All bytes of a corpus lie in one growing buffer; a document is a span of it. Texts are read whole; token files stay
 * mapped, and their documents point into them. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "runtime/files.h"
#include "train/data_internal.h"

enum { DEEPEST_FOLDER = 32 };

void ctl_corpus_init(ctl_corpus *c, const ctl_allocator *allocator) {
    *c = (ctl_corpus){.allocator = ctl_allocator_or_default(allocator)};
}

void ctl_corpus_free(ctl_corpus *c) {
    ctl_free(c->allocator, c->bytes, c->bytes_cap);
    ctl_free(c->allocator, c->docs, c->docs_cap * sizeof *c->docs);
    ctl_free(c->allocator, c->items, c->items_cap * sizeof *c->items);
    for (size_t i = 0; i < c->nfiles; i++) ctl_tokens_close(c->files[i], c->allocator);
    ctl_free(c->allocator, c->files, c->files_cap * sizeof *c->files);
    for (size_t i = 0; i < c->nnames; i++) ctl_string_free(c->allocator, c->names[i]);
    ctl_free(c->allocator, c->names, c->names_cap * sizeof *c->names);
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

ctl_status ctl_corpus_put(ctl_corpus *c, const ctl_document *document) {
    void *d = c->docs;
    const bool ok = grow(c->allocator, &d, c->ndocs, &c->docs_cap, 1, sizeof *c->docs);
    c->docs = d;
    if (!ok) return CTL_ERR_MEMORY;
    c->docs[c->ndocs++] = *document;
    return CTL_OK;
}

ctl_status ctl_corpus_add(ctl_corpus *c, const void *bytes, size_t size, size_t answer) {
    if (size == 0) return CTL_OK;
    void *b = c->bytes;
    const bool ok = grow(c->allocator, &b, c->nbytes, &c->bytes_cap, size, 1);
    c->bytes = b;
    if (!ok) return CTL_ERR_MEMORY;
    memcpy(c->bytes + c->nbytes, bytes, size);
    ctl_status status = ctl_corpus_put(
        c, &(ctl_document){.begin = c->nbytes, .size = size, .answer = answer, .text_bytes = -1, .label = CTL_NO_LABEL,
                            .number = c->ndocs + 1});
    if (status == CTL_OK) c->nbytes += size;
    return status;
}

ctl_status ctl_corpus_add_item(ctl_corpus *c, size_t first, size_t right) {
    void *items = c->items;
    const bool ok = grow(c->allocator, &items, c->nitems, &c->items_cap, 1, sizeof *c->items);
    c->items = items;
    if (!ok) return CTL_ERR_MEMORY;
    c->items[c->nitems++] = (ctl_item){first, c->ndocs - first, right};
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

static ctl_status mixed(ctl_voice voice, const char *path, const char *what, const char *others) {
    ctl_say(voice, CTL_ERROR, "E0611", "what is learnt together must have gone through one tokenizer, or none",
            "%s: these are %s, and the data before are %s", path, what, others);
    return CTL_ERR_INPUT;
}

static ctl_status same_tokenizer(const ctl_corpus *c, const ctl_tokens *t, const char *path, ctl_voice voice) {
    if (c->nbytes) return mixed(voice, path, "tokens", "texts");
    if (c->nfiles == 0) return CTL_OK;
    const ctl_tokens *other = c->files[0];
    if (strcmp(other->tokenizer, t->tokenizer) == 0 && other->vocab == t->vocab && other->pad == t->pad) return CTL_OK;
    ctl_say(voice, CTL_ERROR, "E0611", "what is learnt together must have gone through one tokenizer",
            "%s: its tokenizer is %s (%lld ids, %d pads), that of the data before is %s (%lld ids, %d pads)", path,
            t->tokenizer, (long long)t->vocab, (int)t->pad, other->tokenizer, (long long)other->vocab, (int)other->pad);
    return CTL_ERR_INPUT;
}

/* Takes the file, whatever comes back. */
static ctl_status add_tokens(ctl_corpus *c, ctl_tokens *t) {
    void *files = c->files;
    const bool ok = grow(c->allocator, &files, c->nfiles, &c->files_cap, 1, sizeof *c->files);
    c->files = files;
    if (!ok) {
        ctl_tokens_close(t, c->allocator);
        return CTL_ERR_MEMORY;
    }
    c->files[c->nfiles++] = t;
    const size_t first = c->ndocs;
    ctl_status status = CTL_OK;
    for (size_t d = 0; d < t->ndocuments && status == CTL_OK; d++) {
        const size_t begin = ctl_tokens_document(t, d), end = ctl_tokens_document(t, d + 1);
        status = ctl_corpus_put(c, &(ctl_document){.begin = begin,
                                                   .size = end - begin,
                                                   .from = t,
                                                   .text_bytes = t->text_bytes ? ctl_tokens_int(t->text_bytes, d) : -1,
                                                   .label = t->labels ? ctl_tokens_int(t->labels, d) : CTL_NO_LABEL});
    }
    for (size_t k = 0; k < t->nitems && status == CTL_OK; k++) {
        status = ctl_corpus_add_item(c, first + ctl_tokens_item(t, k), (size_t)ctl_tokens_int(t->answers, k));
        if (status == CTL_OK) c->items[c->nitems - 1].count = ctl_tokens_item(t, k + 1) - ctl_tokens_item(t, k);
    }
    return status;
}

static ctl_status read_tokens(ctl_corpus *c, const char *path, bool items, ctl_voice voice) {
    ctl_tokens *t;
    ctl_status status = ctl_tokens_open(path, (ctl_place){voice, c->allocator}, &t);
    if (status != CTL_OK) return status;
    status = same_tokenizer(c, t, path, voice);
    if (status == CTL_OK && (t->nitems != 0) != items) {
        ctl_say(voice, CTL_ERROR, "E0614", items ? "tools/tokenize --choices writes them" : "`ctlc eval --choices` takes them",
                items ? "%s: there are no items of multiple choice in this token file"
                      : "%s: this token file holds items of multiple choice, which are no texts to learn", path);
        status = CTL_ERR_INPUT;
    }
    if (status == CTL_OK) return add_tokens(c, t);
    ctl_tokens_close(t, c->allocator);
    return status;
}

/* Tables have no mark to know them by but their name. */
static bool is_table(const char *path, ctl_voice voice) {
    if (!ends_with(path, ".csv") && !ends_with(path, ".tsv")) return false;
    ctl_say(voice, CTL_ERROR, "E0601",
            "write its rows to a .jsonl file, an object a line: {\"text\": \"..\", \"label\": 2}, or instruction and output; under the "
            "name of a .txt its bytes are learnt",
            "%s: this is a table, not a text", path);
    return true;
}

/* Texts are whatever bytes they are; but nobody means to learn a container's. */
static bool is_container(const char *path, const char *bytes, size_t size, ctl_voice voice) {
    static const char rows[] = "write its rows to a .jsonl file, an object a line: {\"text\": \"..\"}, or instruction and output",
                      pack[] = "unpack it first", pages[] = "turn it into a text first";
    static const struct {
        const char *begin, *what, *hint;
    } known[] = {{"PAR1", "a Parquet file", rows},      {"ARROW1", "an Arrow file", rows},
                 {"PK\x03\x04", "a zip archive", pack}, {"\x1f\x8b", "a gzip file", pack},
                 {"\x28\xb5\x2f\xfd", "a zstd file", pack}, {"%PDF-", "a PDF", pages}};
    for (size_t k = 0; k < CTL_COUNT(known); k++) {
        const size_t n = strlen(known[k].begin);
        if (size < n || memcmp(bytes, known[k].begin, n) != 0) continue;
        ctl_say(voice, CTL_ERROR, "E0601", known[k].hint, "%s: this is %s, not a text", path, known[k].what);
        return true;
    }
    return false;
}

static ctl_status read_contents(ctl_corpus *c, const char *path, bool items, ctl_voice voice) {
    char *text;
    size_t size;
    if (ends_with(path, ".safetensors")) return read_tokens(c, path, items, voice);
    if (c->nfiles) return mixed(voice, path, "texts", "tokens");
    ctl_status status = ctl_file_read(path, PTRDIFF_MAX - 1, &text, &size,
                                      (ctl_place){.voice = voice, .allocator = c->allocator});
    if (status != CTL_OK) return status;
    bool list = ends_with(path, ".json"), lines = ends_with(path, ".jsonl");
    if (is_table(path, voice) || is_container(path, text, size, voice))
        status = CTL_ERR_INPUT;
    else if (list || lines)
        status = ctl_json_data_add(c, path, text, size, lines, items, voice);
    else if (items) {
        ctl_say(voice, CTL_ERROR, "E0614", NULL,
                "%s: items of multiple choice are .json, .jsonl or token files (.safetensors)", path);
        status = CTL_ERR_INPUT;
    } else
        status = ctl_corpus_add(c, text, size, 0);
    ctl_free(c->allocator, text, size + 1);
    return status;
}

/* Documents from `first` on are the file's. */
static ctl_status name_documents(ctl_corpus *c, const char *path, size_t first) {
    void *names = c->names;
    const bool ok = grow(c->allocator, &names, c->nnames, &c->names_cap, 1, sizeof *c->names);
    c->names = names;
    char *name = ok ? ctl_string_format(c->allocator, "%s", path) : NULL;
    if (!name) return CTL_ERR_MEMORY;
    c->names[c->nnames++] = name;
    for (size_t d = first; d < c->ndocs; d++) c->docs[d].file = name, c->docs[d].number = d - first + 1;
    return CTL_OK;
}

static ctl_status read_file(ctl_corpus *c, const char *path, bool items, ctl_voice voice) {
    const size_t first = c->ndocs;
    const ctl_status status = read_contents(c, path, items, voice);
    return status == CTL_OK && c->ndocs > first ? name_documents(c, path, first) : status;
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

static ctl_status read_path(ctl_corpus *c, const char *path, int depth, bool items, ctl_voice voice) {
    struct stat st;
    if (stat(path, &st) != 0) return refused(voice, path);
    if (!S_ISDIR(st.st_mode)) return read_file(c, path, items, voice);
    if (depth == DEEPEST_FOLDER) {
        ctl_say(voice, CTL_ERROR, "E0601", "a link that leads back to its own folder does this",
                "%s: the data lies more than %d folders deep", path, DEEPEST_FOLDER);
        return CTL_ERR_INPUT;
    }
    name_list names = {0};
    ctl_status status = names_read(c->allocator, path, &names, voice);
    for (size_t i = 0; i < names.n && status == CTL_OK; i++)
        status = read_path(c, names.at[i], depth + 1, items, voice);
    names_free(c->allocator, &names);
    return status;
}

static ctl_status read_all(ctl_corpus *c, const char *path, bool items, ctl_voice voice) {
    ctl_status status = read_path(c, path, 0, items, voice);
    if (status == CTL_ERR_MEMORY)
        ctl_say(voice, CTL_ERROR, "E0601", NULL, "%s: no memory to read the data", path);
    return status;
}

ctl_status ctl_corpus_read(ctl_corpus *c, const char *path, ctl_voice voice) {
    return read_all(c, path, false, voice);
}

ctl_status ctl_corpus_read_items(ctl_corpus *c, const char *path, ctl_voice voice) {
    return read_all(c, path, true, voice);
}
