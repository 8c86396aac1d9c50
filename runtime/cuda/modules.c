/* modules: all machine code is given to the driver when a session opens, and every kernel's function looked up. The driver may load a
 * kernel only when it is first launched, which a capture may not bear: hence an entry's first run has none. */
#include "runtime/cuda/session.h"

enum { SHARED_FOR_ALL = 48 * 1024 }; /* above it a kernel must ask */

static ctl_status look_up(ctl_cuda_session *s, void *module, const char *name, size_t shared, void **out) {
    ctl_status status = ctl_cuda_check(s, s->driver->module_function(out, module, name), name);
    if (status == CTL_OK && shared > SHARED_FOR_ALL)
        status = ctl_cuda_check(s, s->driver->function_set(*out, CTL_CU_FUNCTION_SHARED, (int)shared), name);
    return status;
}

static ctl_status look_up_part(ctl_cuda_session *s, void *module, size_t k) {
    const ctl_cuda_part *part = &s->code->parts[k];
    ctl_status status = CTL_OK;
    for (ctl_cuda_function f = 0; f < CUDA_FUNCTIONS && status == CTL_OK; f++) {
        if (ctl_cuda_function_part(f) != part->kind) continue;
        status = look_up(s, module, ctl_cuda_function_name(f), ctl_cuda_function_shared(f, part->head), &s->parts[k][f]);
        if (!part->head) s->functions[f] = s->parts[k][f];
    }
    return status;
}

void *ctl_cuda_attend_function(const ctl_cuda_session *s, ctl_cuda_function f, int64_t head) {
    for (size_t k = 0; k < s->code->nparts; k++)
        if (s->code->parts[k].head == head && s->parts[k][f]) return s->parts[k][f];
    return NULL;
}

ctl_status ctl_cuda_modules_open(ctl_cuda_session *s) {
    const ctl_cuda_code *c = s->code;
    const ctl_allocator *a = s->common.allocator;
    const size_t n = ctl_cuda_code_images(c);
    s->modules = ctl_alloc(a, n * sizeof *s->modules);
    s->rows = ctl_alloc(a, (c->nrows + 1) * sizeof *s->rows);
    s->parts = ctl_alloc(a, (c->nparts + 1) * sizeof *s->parts);
    if (!s->modules || !s->rows || !s->parts) return s->failed = CTL_ERR_MEMORY;
    ctl_status status = CTL_OK;
    for (size_t k = 0; k < n && status == CTL_OK; k++) {
        status = ctl_cuda_check(s, s->driver->module_load(&s->modules[k], c->images[k].bytes), c->images[k].name);
        if (status != CTL_OK) return status;
        if (k < c->nrows) status = look_up(s, s->modules[k], c->rows[k].name, c->rows[k].shared_bytes, &s->rows[k]);
        else status = look_up_part(s, s->modules[k], k - c->nrows);
    }
    return status;
}

void ctl_cuda_modules_close(ctl_cuda_session *s) {
    const ctl_allocator *a = s->common.allocator;
    const size_t n = ctl_cuda_code_images(s->code);
    for (size_t k = 0; k < n && s->modules; k++)
        if (s->modules[k]) s->driver->module_unload(s->modules[k]);
    ctl_free(a, s->modules, n * sizeof *s->modules);
    ctl_free(a, s->rows, (s->code->nrows + 1) * sizeof *s->rows);
    ctl_free(a, s->parts, (s->code->nparts + 1) * sizeof *s->parts);
}
