/* A libFuzzer target: any bytes as a spec, through the whole compiler.
 *
 * What must hold for every input: the call returns; it reports an error exactly when it fails for the input's sake; it
 * finds no defect of its own (the verifier runs after each pass); every diagnostic can be written; everything is given
 * back. Memory is limited, so that a large network is an allocation that fails, which is tested by that as well.
 *
 * `tools/fuzz` builds and runs it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctlc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
