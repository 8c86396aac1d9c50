/* safetensors: reading tensors from mapped files. See safetensors.h.
 *
 * A set is opened file by file: map, check the length of the header, parse it (jansson refuses duplicate
 * keys, depth beyond its limit, bad UTF-8 and numbers out of range), check each entry by itself, then that
 * the entries' bytes tile the data section exactly: sorted by their begin, each starts where the one before
 * ended. At last all tensors are sorted by name. */
#include "runtime/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_HEADER = 100000000 };
static const char *const DAMAGED =
    "the file is damaged or was not written as safetensors: fetch or save it again";

typedef struct file {
    char *path;
    unsigned char *map;
    size_t size;
    json_t *header; /* names of tensors and metadata are its strings */
} file;

struct ctl_tensors {
    ctl_place place;
    file *files;
    size_t nfiles, files_cap;
    ctl_tensor *tensors;
    size_t n, cap;
};

typedef struct file_dtype {
    const char *name;
    size_t size;
    bool known;
    ctl_dtype dtype;
} file_dtype;
static const file_dtype file_dtypes[] = {
    {"F32", 4, true, CTL_F32},    {"BF16", 2, true, CTL_BF16},     {"F16", 2, true, CTL_F16},
    {"F64", 8, true, CTL_F64},    {"I32", 4, true, CTL_I32},       {"U8", 1, true, CTL_U8},
    {"I64", 8, false, CTL_REAL},  {"U64", 8, false, CTL_REAL},     {"U32", 4, false, CTL_REAL},
    {"I16", 2, false, CTL_REAL},  {"U16", 2, false, CTL_REAL},     {"I8", 1, false, CTL_REAL},
    {"BOOL", 1, false, CTL_REAL}, {"F8_E4M3", 1, false, CTL_REAL}, {"F8_E5M2", 1, false, CTL_REAL},
};

size_t ctl_tensors_dtype_size(const char *name) {
    for (size_t i = 0; i < CTL_COUNT(file_dtypes); i++)
        if (strcmp(name, file_dtypes[i].name) == 0) return file_dtypes[i].size;
    return 0;
}

/* ---- one entry ---- */
static ctl_status entry_error(ctl_place place, const ctl_tensor *t, const char *what) {
    ctl_say(place.voice, CTL_ERROR, "E0703", DAMAGED, "'%s': tensor '%.200s': %s", t->file, t->name, what);
    return CTL_ERR_INPUT;
}

static ctl_status read_shape(ctl_place place, ctl_tensor *t, const json_t *shape, size_t element) {
    if (!json_is_array(shape)) return entry_error(place, t, "its shape is not a list");
    if (json_array_size(shape) > CTL_TENSOR_DIMS)
        return entry_error(place, t, "it has more than 8 dimensions");
    t->ndims = (int)json_array_size(shape);
    int64_t bytes = (int64_t)element;
    for (int d = 0; d < t->ndims; d++) {
        const json_t *dim = json_array_get(shape, (size_t)d);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return entry_error(place, t, "its shape has something that is not a count");
        t->dims[d] = json_integer_value(dim);
        if (!ctl_mul_i64(bytes, t->dims[d], &bytes))
            return entry_error(place, t, "its shape has more elements than there can be");
    }
    t->bytes = (size_t)bytes;
    return CTL_OK;
}

static ctl_status read_offsets(ctl_place place, ctl_tensor *t, const json_t *offsets,
                               const unsigned char *data, size_t size) {
    const json_t *begin = json_array_get(offsets, 0),
                 *end = json_array_get(offsets, 1); /* NULL when not a list */
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0)
        return entry_error(place, t, "its data_offsets are not two byte counts");
    int64_t from = json_integer_value(begin), to = json_integer_value(end);
    char what[200];
    if (to < from || (uint64_t)to > size) {
        snprintf(what, sizeof what, "its data_offsets %lld to %lld do not lie in the data of %zu bytes",
                 (long long)from, (long long)to, size);
        return entry_error(place, t, what);
    }
    if ((uint64_t)(to - from) != t->bytes) {
        snprintf(what, sizeof what, "its shape needs %zu bytes of %s, its data_offsets hold %lld", t->bytes,
                 t->dtype_name, (long long)(to - from));
        return entry_error(place, t, what);
    }
    t->data = data + from;
    return CTL_OK;
}

static ctl_status read_entry(ctl_place place, ctl_tensor *t, json_t *entry, const unsigned char *data,
                             size_t size) {
    if (!json_is_object(entry)) return entry_error(place, t, "its entry is not an object");
    const file_dtype *dtype = NULL;
    t->dtype_name = json_string_value(json_object_get(entry, "dtype"));
    if (!t->dtype_name) return entry_error(place, t, "it has no dtype");
    for (size_t i = 0; i < CTL_COUNT(file_dtypes) && !dtype; i++)
        if (strcmp(t->dtype_name, file_dtypes[i].name) == 0) dtype = &file_dtypes[i];
    if (!dtype) {
        char what[100];
        snprintf(what, sizeof what, "its dtype '%.40s' is not one of the format's", t->dtype_name);
        return entry_error(place, t, what);
    }
    t->known = dtype->known, t->dtype = dtype->dtype;
    ctl_status status = read_shape(place, t, json_object_get(entry, "shape"), dtype->size);
    return status != CTL_OK ? status
                            : read_offsets(place, t, json_object_get(entry, "data_offsets"), data, size);
}

/* ---- one file ---- */
static int by_place(const void *a, const void *b) {
    const ctl_tensor *x = a, *y = b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return x->bytes != y->bytes ? (x->bytes < y->bytes ? -1 : 1) : strcmp(x->name, y->name);
}

static ctl_status check_tiling(ctl_tensors *set, const file *f, size_t first, const unsigned char *data,
                               size_t size) {
    if (set->n > first) qsort(set->tensors + first, set->n - first, sizeof *set->tensors, by_place);
    const unsigned char *at = data;
    for (size_t i = first; i < set->n; i++) {
        const ctl_tensor *t = &set->tensors[i];
        const unsigned char *begin = t->data;
        if (begin < at) return entry_error(set->place, t, "its bytes overlap those of another tensor");
        if (begin > at) return entry_error(set->place, t, "there are bytes of no tensor before it");
        at = begin + t->bytes;
    }
    if (at == data + size) return CTL_OK;
    ctl_say(set->place.voice, CTL_ERROR, "E0702", DAMAGED, "'%s' has %zu bytes behind its last tensor",
            f->path, (size_t)(data + size - at));
    return CTL_ERR_INPUT;
}

static ctl_status grow(ctl_place place, void **at, size_t *cap, size_t n, size_t size) {
    size_t bytes;
    if (n <= *cap) return CTL_OK;
    if (!ctl_mul_size(n, size, &bytes)) return CTL_ERR_MEMORY;
    void *bigger = place.allocator->resize(place.allocator->ctx, *at, *cap * size, bytes);
    if (!bigger) return CTL_ERR_MEMORY;
    *at = bigger, *cap = n;
    return CTL_OK;
}

static ctl_status read_metadata(ctl_place place, const file *f, json_t *metadata) {
    bool strings = json_is_object(metadata);
    const char *key;
    json_t *value;
    if (strings) json_object_foreach(metadata, key, value) strings = strings && json_is_string(value);
    if (strings) return CTL_OK;
    ctl_say(place.voice, CTL_ERROR, "E0702", DAMAGED, "'%s': its __metadata__ is not an object of strings",
            f->path);
    return CTL_ERR_INPUT;
}

static ctl_status parse_json(ctl_place place, const char *path, const char *text, size_t n, json_t **out) {
    json_error_t error;
    *out = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    if (*out && json_is_object(*out)) return CTL_OK;
    if (!*out && json_error_code(&error) == json_error_out_of_memory) return CTL_ERR_MEMORY;
    ctl_say(place.voice, CTL_ERROR, "E0702", DAMAGED,
            "'%s': its header is not a JSON object: %s (at byte %d)", path,
            *out ? "something else stands there" : error.text, *out ? 0 : error.position);
    return CTL_ERR_INPUT;
}

static ctl_status read_header(ctl_tensors *set, file *f) {
    ctl_place place = set->place;
    uint64_t length = 0;
    for (int i = 0; i < 8 && f->size >= 8; i++) length |= (uint64_t)f->map[i] << 8 * i;
    if (f->size >= 8 && memcmp(f->map, "version ", 8) == 0) {
        ctl_say(place.voice, CTL_ERROR, "E0702",
                "fetch the data itself: `git lfs pull`, or download the file",
                "'%s' is a Git LFS pointer, not the file that it stands for", f->path);
        return CTL_ERR_INPUT;
    }
    if (f->size < 8 || length > f->size - 8 || length > MOST_HEADER) {
        const char *what = f->size < 8            ? "is too short to have a header"
                           : length > MOST_HEADER ? "says that its header has more than 100 MB"
                                                  : "ends within its header";
        ctl_say(place.voice, CTL_ERROR, "E0702", DAMAGED, "'%s' %s", f->path, what);
        return CTL_ERR_INPUT;
    }
    ctl_status status = parse_json(place, f->path, (const char *)f->map + 8, (size_t)length, &f->header);
    if (status != CTL_OK) return status;
    const unsigned char *data = f->map + 8 + length;
    size_t size = f->size - 8 - (size_t)length, first = set->n;
    void *tensors = set->tensors;
    status = grow(place, &tensors, &set->cap, set->n + json_object_size(f->header), sizeof *set->tensors);
    set->tensors = tensors;
    const char *name;
    json_t *entry;
    json_object_foreach(f->header, name, entry) {
        if (status != CTL_OK) return status;
        if (strcmp(name, "__metadata__") == 0) {
            status = read_metadata(place, f, entry);
        } else {
            ctl_tensor *t = &set->tensors[set->n++];
            *t = (ctl_tensor){.name = name, .file = f->path};
            status = read_entry(place, t, entry, data, size);
        }
    }
    return status != CTL_OK ? status : check_tiling(set, f, first, data, size);
}

static ctl_status map_file(ctl_place place, file *f) {
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        int error = errno;
        if (fd >= 0) close(fd);
        ctl_say(place.voice, CTL_ERROR, "E0701", ctl_errno_hint(error), "cannot open '%s': %s", f->path,
                strerror(error));
        return CTL_ERR_IO;
    }
    ctl_status status = CTL_OK;
    if (!S_ISREG(info.st_mode) || (uintmax_t)info.st_size > SIZE_MAX) {
        ctl_say(place.voice, CTL_ERROR, "E0701", NULL, "'%s' is not a file that can be mapped", f->path);
        status = CTL_ERR_INPUT;
    } else if (info.st_size > 0) {
        f->size = (size_t)info.st_size;
        f->map = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (f->map == MAP_FAILED) {
            int error = errno;
            f->map = NULL;
            ctl_say(place.voice, CTL_ERROR, "E0701", NULL, "cannot map '%s': %s", f->path, strerror(error));
            status = error == ENOMEM ? CTL_ERR_MEMORY : CTL_ERR_IO;
        }
    }
    close(fd);
    return status;
}

/* Takes the path, which is NULL when there was no memory for it. */
static ctl_status add_file(ctl_tensors *set, char *path) {
    void *files = set->files;
    ctl_status status = path ? grow(set->place, &files, &set->files_cap, set->nfiles + 1, sizeof *set->files)
                             : CTL_ERR_MEMORY;
    set->files = files;
    if (status != CTL_OK) {
        ctl_string_free(set->place.allocator, path);
        return status;
    }
    file *f = &set->files[set->nfiles++];
    *f = (file){.path = path};
    status = map_file(set->place, f);
    return status != CTL_OK ? status : read_header(set, f);
}

/* ---- shards ---- */
/* Tensor and shard of a weight_map fit: the name of a file beside the index, not a way out of the directory.
 */
static ctl_status index_error(ctl_place place, const char *index, const char *tensor, const char *what) {
    ctl_say(place.voice, CTL_ERROR, "E0702", "the index and the shards are not of one save: fetch them again",
            "'%s': tensor '%.200s': %s", index, tensor, what);
    return CTL_ERR_INPUT;
}

static bool ends_with(const char *text, const char *tail) {
    size_t n = strlen(text), m = strlen(tail);
    return n > m && text[n - m - 1] == '/' && strcmp(text + n - m, tail) == 0;
}

static ctl_status add_shards(ctl_tensors *set, const char *directory, const char *index, json_t *map) {
    const char *tensor;
    json_t *value;
    if (!json_is_object(map)) return index_error(set->place, index, "", "there is no weight_map");
    json_object_foreach(map, tensor, value) {
        const char *shard = json_string_value(value);
        if (!shard || !*shard || strchr(shard, '/'))
            return index_error(set->place, index, tensor, "its shard is not the name of a file");
        bool have = false;
        for (size_t i = 0; i < set->nfiles && !have; i++) have = ends_with(set->files[i].path, shard);
        if (have) continue;
        char *path = ctl_string_format(set->place.allocator, "%s/%s", directory, shard);
        if (path && access(path, F_OK) != 0) {
            ctl_say(set->place.voice, CTL_ERROR, "E0701", "fetch all files of the checkpoint",
                    "'%s' says that '%.200s' is in '%s', which is not there", index, tensor, shard);
            ctl_string_free(set->place.allocator, path);
            return CTL_ERR_IO;
        }
        ctl_status status = add_file(set, path);
        if (status != CTL_OK) return status;
    }
    return CTL_OK;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const ctl_tensor *)a)->name, ((const ctl_tensor *)b)->name);
}

static ctl_status sort_names(ctl_tensors *set) {
    if (set->n) qsort(set->tensors, set->n, sizeof *set->tensors, by_name);
    for (size_t i = 1; i < set->n; i++)
        if (strcmp(set->tensors[i - 1].name, set->tensors[i].name) == 0)
            return entry_error(set->place, &set->tensors[i], "another shard has a tensor of this name too");
    return CTL_OK;
}

static ctl_status check_index(ctl_tensors *set, const char *index, json_t *map) {
    const char *tensor;
    json_t *value;
    json_object_foreach(map, tensor, value) {
        const ctl_tensor *t = ctl_tensors_find(set, tensor);
        if (!t || !ends_with(t->file, json_string_value(value)))
            return index_error(set->place, index, tensor, "its shard does not have it");
    }
    return CTL_OK;
}

static ctl_status open_index(ctl_tensors *set, const char *directory, const char *index) {
    char *text;
    size_t n;
    ctl_status status = ctl_file_read(index, MOST_HEADER, &text, &n, set->place);
    if (status != CTL_OK) return status;
    json_t *root = NULL;
    status = parse_json(set->place, index, text, n, &root);
    json_t *map = json_object_get(root, "weight_map");
    if (status == CTL_OK) status = add_shards(set, directory, index, map);
    if (status == CTL_OK) status = sort_names(set);
    if (status == CTL_OK) status = check_index(set, index, map);
    json_decref(root);
    ctl_free(set->place.allocator, text, n + 1);
    return status;
}

/* ---- the set ---- */
/* What the user may have meant by a directory without the file that is looked for. */
static const char *other_folder(const ctl_allocator *a, const char *path) {
    static const struct {
        const char *name, *hint;
    } others[] = {
        {"adapter_model.safetensors", "it holds an adapter: give it to --adapter, and the folder of its model to --weights"},
        {"model.safetensors", "it holds a model: give it to --weights, and the folder of its adapter to --adapter"},
    };
    for (size_t i = 0; i < CTL_COUNT(others); i++) {
        char *name = ctl_string_format(a, "%s/%s", path, others[i].name);
        const bool there = name && access(name, F_OK) == 0;
        ctl_string_free(a, name);
        if (there) return others[i].hint;
    }
    return "name the directory that has them, or a .safetensors file; other formats (pytorch_model.bin) must be converted";
}

static ctl_status open_directory(ctl_tensors *set, const char *path, const char *single) {
    const ctl_allocator *a = set->place.allocator;
    char *file_path = ctl_string_format(a, "%s/%s", path, single);
    char *index = ctl_string_format(a, "%s/model.safetensors.index.json", path);
    ctl_status status = file_path && index ? CTL_OK : CTL_ERR_MEMORY;
    if (status == CTL_OK && access(file_path, F_OK) == 0) {
        status = add_file(set, file_path);
        file_path = NULL;
        if (status == CTL_OK) status = sort_names(set);
    } else if (status == CTL_OK && access(index, F_OK) == 0) {
        status = open_index(set, path, index);
    } else if (status == CTL_OK) {
        ctl_say(set->place.voice, CTL_ERROR, "E0701", other_folder(a, path),
                "the directory '%s' has neither %s nor model.safetensors.index.json", path, single);
        status = CTL_ERR_INPUT;
    }
    ctl_string_free(a, file_path);
    ctl_string_free(a, index);
    return status;
}

ctl_status ctl_tensors_open(const char *path, const char *single, ctl_place place, ctl_tensors **out) {
    *out = NULL;
    ctl_tensors *set = ctl_alloc(place.allocator, sizeof *set);
    if (!set) return CTL_ERR_MEMORY;
    set->place = place;
    struct stat info;
    ctl_status status;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        status = open_directory(set, path, single);
    } else {
        status = add_file(set, ctl_string_format(place.allocator, "%s", path));
        if (status == CTL_OK) status = sort_names(set);
    }
    if (status != CTL_OK) {
        ctl_tensors_close(set);
        return status;
    }
    *out = set;
    return CTL_OK;
}

void ctl_tensors_close(ctl_tensors *set) {
    if (!set) return;
    const ctl_allocator *a = set->place.allocator;
    for (size_t i = 0; i < set->nfiles; i++) {
        if (set->files[i].map) munmap(set->files[i].map, set->files[i].size);
        json_decref(set->files[i].header);
        ctl_string_free(a, set->files[i].path);
    }
    ctl_free(a, set->files, set->files_cap * sizeof *set->files);
    ctl_free(a, set->tensors, set->cap * sizeof *set->tensors);
    ctl_free(a, set, sizeof *set);
}

size_t ctl_tensors_count(const ctl_tensors *set) {
    return set->n;
}
const ctl_tensor *ctl_tensors_at(const ctl_tensors *set, size_t i) {
    return &set->tensors[i];
}

const ctl_tensor *ctl_tensors_find(const ctl_tensors *set, const char *name) {
    ctl_tensor key = {.name = name};
    return set->n ? bsearch(&key, set->tensors, set->n, sizeof key, by_name) : NULL;
}

const char *ctl_tensors_metadata(const ctl_tensors *set, const char *key) {
    return set->nfiles ? json_string_value(
                             json_object_get(json_object_get(set->files[0].header, "__metadata__"), key))
                       : NULL;
}
