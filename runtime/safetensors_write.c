/* safetensors_write: tensors to disk, a piece at a time. See safetensors.h. */
#include <stdlib.h>

#include "runtime/safetensors.h"

typedef struct entry { /* of the order in which tensors are written */
    const ctl_tensor_spec *spec;
    size_t number, elements, bytes;
} entry;

static const char *file_dtype(ctl_dtype dtype) {
    switch (dtype) {
    case CTL_F64:
        return "F64";
    case CTL_F32:
        return "F32";
    case CTL_BF16:
        return "BF16";
    case CTL_F16:
        return "F16";
    case CTL_I32:
        return "I32";
    case CTL_U8:
        return "U8";
    case CTL_REAL:
        break;
    }
    return NULL;
}

static const char *name_of_dtype(const ctl_tensor_spec *spec) {
    return spec->file_dtype ? spec->file_dtype : file_dtype(spec->dtype);
}

static size_t element_size(const ctl_tensor_spec *spec) {
    return spec->file_dtype ? ctl_tensors_dtype_size(spec->file_dtype) : ctl_dtype_size(spec->dtype);
}

static int by_size_then_name(const void *a, const void *b) {
    const entry *x = a, *y = b;
    size_t nx = element_size(x->spec), ny = element_size(y->spec);
    if (nx != ny) return nx > ny ? -1 : 1;
    return strcmp(x->spec->name, y->spec->name);
}

static ctl_status measure(entry *e, ctl_place place) {
    const ctl_tensor_spec *spec = e->spec;
    int64_t elements = 1, bytes;
    bool fits =
        name_of_dtype(spec) && element_size(spec) && spec->ndims >= 0 && spec->ndims <= CTL_TENSOR_DIMS;
    for (int d = 0; fits && d < spec->ndims; d++) fits = ctl_mul_i64(elements, spec->dims[d], &elements);
    fits = fits && ctl_mul_i64(elements, (int64_t)element_size(spec), &bytes);
    if (!fits || strcmp(spec->name, "__metadata__") == 0) {
        ctl_say(place.voice, CTL_ERROR, "E0707", NULL,
                "the tensor '%s' has a name, type or shape that no file can hold", spec->name);
        return CTL_ERR_INPUT;
    }
    e->elements = (size_t)elements, e->bytes = (size_t)bytes;
    return CTL_OK;
}

static void write_header(ctl_string *out, const entry *entries, size_t n, const char *const (*metadata)[2],
                         size_t nmetadata) {
    ctl_string_put(out, "{", 1);
    for (size_t i = 0; i < nmetadata; i++) {
        ctl_string_add(out, i ? "," : "\"__metadata__\":{");
        ctl_string_json(out, metadata[i][0]);
        ctl_string_put(out, ":", 1);
        ctl_string_json(out, metadata[i][1]);
        if (i + 1 == nmetadata) ctl_string_put(out, "}", 1);
    }
    size_t offset = 0;
    for (size_t i = 0; i < n; i++) {
        const ctl_tensor_spec *spec = entries[i].spec;
        if (i || nmetadata) ctl_string_put(out, ",", 1);
        ctl_string_json(out, spec->name);
        ctl_string_add(out, ":{\"dtype\":\"%s\",\"shape\":[", name_of_dtype(spec));
        for (int d = 0; d < spec->ndims; d++)
            ctl_string_add(out, "%s%lld", d ? "," : "", (long long)spec->dims[d]);
        ctl_string_add(out, "],\"data_offsets\":[%zu,%zu]}", offset, offset + entries[i].bytes);
        offset += entries[i].bytes;
    }
    ctl_string_put(out, "}", 1);
    while (out->n % 8 && !out->failed) ctl_string_put(out, " ", 1);
}

static ctl_status write_data(ctl_new_file *f, const entry *entries, size_t n, ctl_tensor_read_fn read,
                             void *ctx, char *piece) {
    for (size_t i = 0; i < n; i++) {
        size_t size = element_size(entries[i].spec), most = CTL_TENSOR_PIECE / size, count;
        for (size_t first = 0; first < entries[i].elements; first += count) {
            count = entries[i].elements - first < most ? entries[i].elements - first : most;
            ctl_status status = read(ctx, entries[i].number, first, count, piece);
            if (status == CTL_OK) status = ctl_new_file_write(f, piece, count * size);
            if (status != CTL_OK) return status;
        }
    }
    return CTL_OK;
}

static ctl_status save_sorted(const char *path, const entry *entries, size_t n, const ctl_string *header,
                              ctl_tensor_read_fn read, void *ctx, char *piece, ctl_place place) {
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)header->n >> 8 * i);
    ctl_new_file f;
    ctl_status status = ctl_new_file_open(&f, path, place);
    if (status != CTL_OK) return status;
    status = ctl_new_file_write(&f, length, sizeof length);
    if (status == CTL_OK) status = ctl_new_file_write(&f, header->at, header->n);
    if (status == CTL_OK) status = write_data(&f, entries, n, read, ctx, piece);
    if (status == CTL_OK) return ctl_new_file_commit(&f);
    ctl_new_file_drop(&f);
    return status;
}

ctl_status ctl_tensors_save(const char *path, const ctl_tensor_spec *specs, size_t n,
                            const char *const (*metadata)[2], size_t nmetadata, ctl_tensor_read_fn read,
                            void *ctx, ctl_place place) {
    size_t bytes;
    if (!ctl_mul_size(n + 1, sizeof(entry), &bytes)) return CTL_ERR_MEMORY;
    entry *entries = ctl_alloc(place.allocator, bytes);
    char *piece = ctl_alloc(place.allocator, CTL_TENSOR_PIECE);
    ctl_string header = {.allocator = place.allocator};
    ctl_status status = entries && piece ? CTL_OK : CTL_ERR_MEMORY;
    for (size_t i = 0; i < n && status == CTL_OK; i++) {
        entries[i] = (entry){.spec = &specs[i], .number = i};
        status = measure(&entries[i], place);
    }
    if (status == CTL_OK) {
        qsort(entries, n, sizeof *entries, by_size_then_name);
        write_header(&header, entries, n, metadata, nmetadata);
        status =
            header.failed ? CTL_ERR_MEMORY : save_sorted(path, entries, n, &header, read, ctx, piece, place);
    }
    ctl_string_drop(&header);
    ctl_free(place.allocator, piece, CTL_TENSOR_PIECE);
    ctl_free(place.allocator, entries, bytes);
    return status;
}
