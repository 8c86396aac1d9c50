/* safetensors: reading and writing tensors on disk.
 *
 * The format: u64 little-endian length of the header; the header, JSON, {name: {"dtype", "shape",
 * "data_offsets": [begin, end]}} and optionally "__metadata__": {string: string}; then the data, row-major,
 * little-endian, without holes.
 *
 * A file is mapped into memory, and its header is distrusted: every length, offset and shape is checked
 * before any byte of data is offered. Data may lie unaligned. A file that another program cuts shorter while
 * it is open ends the process (SIGBUS), as with any mapped file; writers that rename, as ours does, never
 * cause that. */
#ifndef CTL_SAFETENSORS_H
#define CTL_SAFETENSORS_H

#include <stdint.h>

#include "ctl/dtype.h"
#include "runtime/files.h"

enum { CTL_TENSOR_DIMS = 8 };

typedef struct ctl_tensor {
    const char *name;
    const char *dtype_name; /* as in the file: "BF16" */
    bool known;             /* the dtype is one of ours: */
    ctl_dtype dtype;
    int ndims;
    int64_t dims[CTL_TENSOR_DIMS];
    const void *data;
    size_t bytes;
    const char *file;
} ctl_tensor;

/* ---- reading ---- */
typedef struct ctl_tensors ctl_tensors; /* one file, or the shards of one directory */

/* path: a file; or a directory with `single` ("model.safetensors") or "model.safetensors.index.json". Opening
 * checks all headers. The allocator and the voice must outlive the set; tensors, their names and data live as
 * long as it. */
ctl_status ctl_tensors_open(const char *path, const char *single, ctl_place place, ctl_tensors **out);
void ctl_tensors_close(ctl_tensors *set); /* NULL is fine */
size_t ctl_tensors_count(const ctl_tensors *set);
const ctl_tensor *ctl_tensors_at(const ctl_tensors *set, size_t i);           /* sorted by name */
const ctl_tensor *ctl_tensors_find(const ctl_tensors *set, const char *name); /* NULL: none */
const char *ctl_tensors_metadata(const ctl_tensors *set, const char *key); /* of the first file; NULL: none */

size_t ctl_tensors_dtype_size(const char *name); /* of the format's types; 0: none is called so */

/* ---- writing ---- */
typedef struct ctl_tensor_spec {
    const char *name;
    ctl_dtype dtype;
    int ndims;
    int64_t dims[CTL_TENSOR_DIMS];
    const char *file_dtype; /* one of the format's that is none of ours ("I64"), for copies; NULL: dtype's */
} ctl_tensor_spec;

/* Gives elements first .. first + count - 1 of a tensor, row-major. A failure stops the writing. */
typedef ctl_status (*ctl_tensor_read_fn)(void *ctx, size_t tensor, size_t first, size_t count, void *out);

enum { CTL_TENSOR_PIECE = 1 << 20 }; /* most bytes asked for at a time; always the same cuts */

/* Writes one file, by files.h: an older file is replaced at the end at once. Tensors stand in the order of
 * the format's own writer, larger elements first, then by name, so that equal contents are equal bytes; they
 * are asked for in that order, from first element to last. metadata: pairs of key and value. */
ctl_status ctl_tensors_save(const char *path, const ctl_tensor_spec *specs, size_t n,
                            const char *const (*metadata)[2], size_t nmetadata, ctl_tensor_read_fn read,
                            void *ctx, ctl_place place);

#endif
