/* A libFuzzer target: any bytes as a spec, through the whole compiler.
 *
 * What must hold for every input: the call returns; it reports an error exactly when it fails for the input's sake; it
 * finds no defect of its own (the verifier runs after each pass); every diagnostic can be written; everything is given
 * back. Memory is limited, so that a large network is an allocation that fails, which is tested by that as well.
 *
 *   cmake -S . -B build-fuzz -G Ninja -DCMAKE_C_COMPILER=clang -DCTL_FUZZ=ON -DCTL_LLVM=OFF && ninja -C build-fuzz fuzz_compile
 *   build-fuzz/fuzz_compile -dict=tests/fuzz/ctl.dict -max_len=8192 build-fuzz/corpus */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctlc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most); /* libFuzzer's own */

enum { MOST_MEMORY = 256 << 20 };

typedef struct limited {
    size_t used;
    int refused, errors;
} limited;

static void *limited_resize(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    limited *l = ctx;
    if (new_size > old_size && new_size - old_size > MOST_MEMORY - l->used) {
        l->refused++;
        return NULL;
    }
    if (new_size == 0) {
        free(ptr);
        l->used -= old_size;
        return NULL;
    }
    void *p = realloc(ptr, new_size);
    if (p) l->used += new_size - old_size;
    return p;
}

static void collect(void *ctx, const ctl_diagnostic *d) {
    char text[2048];
    ((limited *)ctx)->errors += d->severity == CTL_ERROR;
    ctl_diagnostic_text(d, text, sizeof text);
    ctl_diagnostic_json(d, text, sizeof text);
}

static void compile(const uint8_t *data, size_t size, const ctlc_options *how) {
    limited l = {0};
    ctl_allocator allocator = {&l, limited_resize};
    ctlc_options options = *how;
    options.allocator = &allocator, options.diagnostic = collect, options.diagnostic_ctx = &l;
    ctl_program *program = NULL;
    ctl_status status = ctlc_compile_text("fuzz.ctl", (const char *)data, size, &options, &program);
    if ((status == CTL_OK) != (l.errors == 0) && !l.refused) abort();
    if (status == CTL_ERR_INTERNAL || (status == CTL_ERR_MEMORY && !l.refused)) abort();
    if (status != CTL_OK && program) abort();
    ctl_program_free(program);
    if (l.used) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    compile(data, size, &(ctlc_options){.engine = CTLC_REFERENCE, .compute = CTL_F64, .verify = true, .threads = 1});
#ifdef CTL_HAVE_CPU
    /* Machine code takes long: for some inputs only, decided by their bytes. */
    uint32_t sum = 0;
    for (size_t i = 0; i < size; i++) sum = sum * 31 + data[i];
    if (sum % 16 == 0) compile(data, size, &(ctlc_options){.engine = CTLC_CPU, .verify = true, .threads = 1});
#endif
    return 0;
}

/* Half of the mutations move words or lines of the spec itself: they keep the grammar more often than bytes do, and so
 * reach what lies behind it. */
static bool is_word(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

static void piece_at(const uint8_t *data, size_t size, size_t at, bool line, size_t *begin, size_t *end) {
    *begin = *end = at;
    if (line) {
        while (*begin > 0 && data[*begin - 1] != '\n') --*begin;
        while (*end < size && data[*end] != '\n') ++*end;
        if (*end < size) ++*end;
        return;
    }
    while (*begin > 0 && is_word(data[*begin - 1]) && is_word(data[at])) --*begin;
    while (*end < size && is_word(data[*end]) && is_word(data[at])) ++*end;
    if (*end == *begin) *end = at + 1;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    if (seed % 2 || size < 2) return LLVMFuzzerMutate(data, size, most);
    uint64_t dice = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    dice ^= dice >> 29, dice *= UINT64_C(0xBF58476D1CE4E5B9), dice ^= dice >> 32;
    size_t from, from_end, to, to_end;
    bool line = dice >> 60 & 1;
    piece_at(data, size, (dice & 0xffffff) % size, line, &from, &from_end);
    piece_at(data, size, (dice >> 24 & 0xffffff) % size, line, &to, &to_end);
    /* The piece at `to` is replaced by, or follows, the piece at `from`; or it goes. */
    unsigned kind = (unsigned)(dice >> 61) % 4;
    size_t n = kind == 0 ? 0 : from_end - from, gone = kind == 1 ? 0 : to_end - to;
    if (size - gone + n > most || n > 4096) return LLVMFuzzerMutate(data, size, most);
    uint8_t piece[4096];
    if (n) memcpy(piece, data + from, n);
    memmove(data + to + n, data + to + gone, size - to - gone);
    if (n) memcpy(data + to, piece, n);
    return size - gone + n;
}
