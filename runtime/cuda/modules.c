/* modules: all machine code is loaded when a session opens, and every kernel's function looked up: nothing is loaded lazily,
 * which a graph under capture could not bear. */
#include "runtime/cuda/session.h"

#include "runtime/cuda/attend.h"

enum { SHARED_FOR_ALL = 48 * 1024 }; /* above it a kernel must ask */

static ctl_status look_up(ctl_cuda_session *s, void *module, const char *name, size_t shared, void **out) {
    ctl_status status = ctl_cuda_check(s, s->driver->module_function(out, module, name), name);
    if (status == CTL_OK && shared > SHARED_FOR_ALL)
        status = ctl_cuda_check(s, s->driver->function_set(*out, CTL_CU_FUNCTION_SHARED, (int)shared), name);
    return status;
}

static ctl_status look_up_attend(ctl_cuda_session *s, void *module, int64_t head, void **out) {
    static const char *const names[ATTEND_FUNCTIONS] = {"attend_forward", "attend_queries", "attend_keys", "attend_plain_forward",
                                                        "attend_plain_queries", "attend_plain_keys", "attend_dots"};
    ctl_status status = CTL_OK;
    for (int k = 0; k < ATTEND_FUNCTIONS && status == CTL_OK; k++) {
        size_t shared = 0;
        if (k <= ATTEND_KEYS && !ctl_cuda_attend_has_tensor(head)) continue;
        if (k <= ATTEND_KEYS)
            shared = ctl_cuda_attend_shared(k, head, ctl_cuda_attend_keys(head), ctl_cuda_attend_queries(head));
        status = look_up(s, module, names[k], shared, &out[k]);
    }
    return status;
}

ctl_status ctl_cuda_modules_open(ctl_cuda_session *s) {
    static const char *const names[CUDA_FUNCTIONS] = {"task_losses",    "task_total",   "task_scatter", "task_fold",
                                                      "task_zero",      "task_transpose", "task_squares", "task_norm",
                                                      "task_adamw",     "task_sgd",     "task_finish",  "task_ids",
                                                      "task_initialise"};
    const ctl_cuda_code *c = s->code;
    const ctl_allocator *a = s->common.allocator;
    const size_t n = ctl_cuda_code_images(c);
    s->modules = ctl_alloc(a, n * sizeof *s->modules);
    s->rows = ctl_alloc(a, (c->nrows + 1) * sizeof *s->rows);
    s->attend = ctl_alloc(a, (c->nheads + 1) * sizeof *s->attend);
    if (!s->modules || !s->rows || !s->attend) return s->failed = CTL_ERR_MEMORY;
    ctl_status status = CTL_OK;
    for (size_t k = 0; k < n && status == CTL_OK; k++) {
        status = ctl_cuda_check(s, s->driver->module_load(&s->modules[k], c->images[k].bytes), c->images[k].name);
        if (status != CTL_OK) return status;
        if (k < c->nrows) status = look_up(s, s->modules[k], c->rows[k].name, c->rows[k].shared_bytes, &s->rows[k]);
        else if (k < c->nrows + c->nheads)
            status = look_up_attend(s, s->modules[k], c->heads[k - c->nrows], s->attend[k - c->nrows]);
        else
            for (int f = 0; f < CUDA_FUNCTIONS && status == CTL_OK; f++)
                status = look_up(s, s->modules[k], names[f], 0, &s->functions[f]);
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
    ctl_free(a, s->attend, (s->code->nheads + 1) * sizeof *s->attend);
}
