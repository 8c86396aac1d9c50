/* cache: a file for each compiled source. Its name is the hash of all that it depends on: the source, the options, the
 * compiler's version, the architecture, the layout of what kernels take. In it stand a head with that hash, sizes and
 * ptxas' counts, the cubin, the PTX, and the hash of everything before: a file that was cut, damaged or renamed is not
 * taken. Files are written beside their place and renamed, so that others may compile at the same time. */
#include <stdio.h>
#include <string.h>

#include "base/sha256.h"
#include "compiler/emit/cuda/compile.h"
#include "runtime/files.h"

enum { MOST_FILE = 64 << 20 };

typedef struct head {
    char magic[8];
    unsigned char key[CTL_SHA256_BYTES];
    uint64_t ncubin, nptx;
    int32_t counts[4];
} head;
static const char magic[8] = "ctlcuda";

static void add_text(ctl_sha256 *h, const char *text) {
    ctl_sha256_add(h, text, strlen(text) + 1);
}

void ctl_cuda_cache_key(const ctl_cuda_compile_options *o, const char *const *flags, size_t nflags,
                        const ctl_cuda_unit *unit, ctl_cuda_entry *entry) {
    const int32_t numbers[] = {CTL_CUDA_ABI, o->nvrtc->major, o->nvrtc->minor};
    char hex[CTL_SHA256_HEX];
    ctl_sha256 h;
    ctl_sha256_begin(&h);
    ctl_sha256_add(&h, numbers, sizeof numbers);
    add_text(&h, o->architecture);
    for (size_t k = 0; k < nflags; k++) add_text(&h, flags[k]);
    add_text(&h, unit->source);
    ctl_sha256_end(&h, entry->key);
    ctl_sha256_hex(entry->key, hex);
    snprintf(entry->name, sizeof entry->name, "%s.cubin", hex);
}

static char *path_of(const ctl_allocator *allocator, const char *directory, const ctl_cuda_entry *entry) {
    return ctl_string_format(allocator, "%s/%s", directory, entry->name);
}

static void seal(const void *bytes, size_t n, unsigned char digest[CTL_SHA256_BYTES]) {
    ctl_sha256 h;
    ctl_sha256_begin(&h);
    ctl_sha256_add(&h, bytes, n);
    ctl_sha256_end(&h, digest);
}

static char *copy(const ctl_allocator *allocator, const char *from, size_t n) {
    char *to = ctl_alloc(allocator, n);
    if (to) memcpy(to, from, n);
    return to;
}

static bool take(const ctl_allocator *allocator, const char *file, size_t n, const ctl_cuda_entry *entry,
                 ctl_cuda_unit *unit) {
    unsigned char digest[CTL_SHA256_BYTES];
    head h;
    if (n < sizeof h + sizeof digest) return false;
    memcpy(&h, file, sizeof h);
    if (memcmp(h.magic, magic, sizeof magic) != 0 || memcmp(h.key, entry->key, sizeof h.key) != 0) return false;
    if (h.ncubin == 0 || h.ncubin > n || h.nptx > n || sizeof h + h.ncubin + h.nptx + sizeof digest != n) return false;
    seal(file, n - sizeof digest, digest);
    if (memcmp(digest, file + n - sizeof digest, sizeof digest) != 0) return false;
    ctl_nvrtc_output made = {.ncubin = h.ncubin, .nptx = h.nptx};
    made.cubin = copy(allocator, file + sizeof h, h.ncubin);
    if (h.nptx) made.ptx = copy(allocator, file + sizeof h + h.ncubin, h.nptx);
    if (!made.cubin || (h.nptx && !made.ptx)) {
        ctl_nvrtc_output_drop(allocator, &made);
        return false;
    }
    unit->made = made, unit->cached = true;
    unit->registers = h.counts[0], unit->shared_bytes = h.counts[1];
    unit->stack_bytes = h.counts[2], unit->spilled_bytes = h.counts[3];
    return true;
}

bool ctl_cuda_cache_read(const ctl_allocator *allocator, const char *directory, const ctl_cuda_entry *entry,
                         ctl_cuda_unit *unit) {
    char *path = path_of(allocator, directory, entry), *file = NULL;
    size_t n = 0;
    const ctl_place silent = {.allocator = allocator};
    const bool found = path && ctl_file_read(path, MOST_FILE, &file, &n, silent) == CTL_OK && take(allocator, file, n, entry, unit);
    if (file) ctl_free(allocator, file, n + 1);
    ctl_string_free(allocator, path);
    return found;
}

void ctl_cuda_cache_write(const ctl_allocator *allocator, const char *directory, const ctl_cuda_entry *entry,
                          const ctl_cuda_unit *unit) {
    const ctl_nvrtc_output *made = &unit->made;
    head h = {.ncubin = made->ncubin, .nptx = made->nptx,
              .counts = {unit->registers, unit->shared_bytes, unit->stack_bytes, unit->spilled_bytes}};
    const size_t n = sizeof h + made->ncubin + made->nptx + CTL_SHA256_BYTES;
    char *path = path_of(allocator, directory, entry), *file = n <= MOST_FILE ? ctl_alloc(allocator, n) : NULL;
    if (path && file) {
        memcpy(h.magic, magic, sizeof magic);
        memcpy(h.key, entry->key, sizeof h.key);
        memcpy(file, &h, sizeof h);
        memcpy(file + sizeof h, made->cubin, made->ncubin);
        if (made->nptx) memcpy(file + sizeof h + made->ncubin, made->ptx, made->nptx);
        seal(file, n - CTL_SHA256_BYTES, (unsigned char *)file + n - CTL_SHA256_BYTES);
        ctl_file_replace(path, file, n, (ctl_place){.allocator = allocator});
    }
    if (file) ctl_free(allocator, file, n);
    ctl_string_free(allocator, path);
}
