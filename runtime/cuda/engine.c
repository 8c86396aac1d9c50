/* engine: opens a session on a GPU, runs its entries - task by task, under capture, as a graph - and says what fails. See
 * session.h. */
#include <stdio.h>

#include "runtime/cuda/session.h"

/* ---- errors ---- */
static ctl_status fail(ctl_cuda_session *s, ctl_status status, const char *code, const char *hint, const char *call,
                       const char *why) {
    if (s->capturing) { /* nothing has run: it may yet go without a graph */
        snprintf(s->tried, sizeof s->tried, "%.200s%s%.60s: %.200s", s->common.at.name ? s->common.at.name : "", s->common.at.name ? ", " : "",
                 call, why);
        return status;
    }
    ctl_session_say_at(&s->common, s->common.at.place, code, hint, "%s%son %s: %s: %s", s->common.at.name ? s->common.at.name : "", s->common.at.name ? ", " : "",
                       s->code->device.name, call, why);
    return s->failed = status;
}

ctl_status ctl_cuda_check(ctl_cuda_session *s, int error, const char *call) {
    char why[CTL_CUDA_WHY];
    if (error == 0) return CTL_OK;
    ctl_cuda_error(s->driver, error, why);
    if (error == CTL_CU_OUT_OF_MEMORY)
        return fail(s, CTL_ERR_MEMORY, "E0813", "give less with --memory, or end what else uses the GPU", call, why);
    const bool image = error == CTL_CU_INVALID_IMAGE || error == CTL_CU_NO_BINARY || error == CTL_CU_UNSUPPORTED_PTX;
    return fail(s, CTL_ERR_IO, "E0814",
                image ? "the driver may be older than the libnvrtc that made the kernels: name a folder with the driver's version "
                        "(nvidia-smi tells it) with --cuda-libraries"
                      : "nvidia-smi tells whether the GPU is well; if it is, please report this with the spec",
                call, why);
}

ctl_status ctl_cuda_check_blaslt(ctl_cuda_session *s, int error, const char *call) {
    char why[CTL_CUDA_WHY];
    if (error == 0) return CTL_OK;
    snprintf(why, sizeof why, "cuBLASLt says %s (%d)", ctl_blaslt_error(error), error);
    if (error == CTL_BLASLT_NOT_INITIALIZED)
        return fail(s, CTL_ERR_UNSUPPORTED, "E0814",
                    "the driver may be older than this cuBLASLt: name a folder with the driver's version (nvidia-smi tells it) with "
                    "--cuda-libraries",
                    call, why);
    if (error == CTL_BLASLT_NO_MEMORY) return fail(s, CTL_ERR_MEMORY, "E0813", "give less with --memory, or end what else uses the GPU", call, why);
    return fail(s, error == CTL_BLASLT_NOT_SUPPORTED ? CTL_ERR_UNSUPPORTED : CTL_ERR_IO, "E0814",
                "another version of cuBLASLt may know it; please report this with the spec", call, why);
}

/* ---- preparing ---- */
static ctl_status check_scratch(ctl_cuda_session *s, const ctl_task *t) {
    size_t bytes = 0;
    const size_t room = ctl_cuda_is_absent(&t->scratch) ? 0 : (size_t)t->scratch.rows * (size_t)t->scratch.stride;
    ctl_status status = ctl_cuda_task_scratch(t, 1, &bytes);
    if (t->kind == TASK_ROWS) {
        if (t->kernel >= s->code->nrows) status = CTL_ERR_INTERNAL;
        else bytes = ctl_cuda_rows_scratch(&s->code->rows[t->kernel], t->rows);
    }
    if (status == CTL_OK && bytes <= room) return CTL_OK;
    ctl_session_say_at(&s->common, t->place, "E0901", "report it, with the specification",
                       "task '%s' wants %zu bytes of scratch, and has %zu", t->name, bytes, room);
    return s->failed = CTL_ERR_INTERNAL;
}

static ctl_status prepare_list(ctl_cuda_session *s, ctl_program_entry entry) {
    const ctl_task_list *list = &s->common.program->run[entry];
    size_t bytes;
    if (list->n == 0) return CTL_OK;
    if (!ctl_mul_size(list->n, sizeof(ctl_cuda_prepared), &bytes)) return s->failed = CTL_ERR_MEMORY;
    s->prepared[entry] = ctl_alloc(s->common.allocator, bytes);
    if (!s->prepared[entry]) return s->failed = CTL_ERR_MEMORY;
    ctl_status status = CTL_OK;
    for (size_t i = 0; i < list->n && status == CTL_OK; i++) {
        const ctl_task *t = &list->at[i];
        s->common.at = (ctl_origin){t->name, t->place};
        status = check_scratch(s, t);
        if (status == CTL_OK && ctl_cuda_is_product(t))
            status = ctl_cuda_product_prepare(s, t, &s->prepared[entry][i]);
    }
    s->common.at = (ctl_origin){0};
    return status;
}

/* ---- a session's life ---- */
void ctl_cuda_close(ctl_cuda_session *s) {
    const ctl_program *program = s->common.program;
    const ctl_allocator *allocator = s->common.allocator;
    const bool entered = s->retained && s->driver->context_push(s->context) == 0; /* a failure here has been said before */
    if (s->stream) s->driver->stream_synchronize(s->stream);
    for (int e = 0; e < RUN_COUNT; e++) {
        const size_t n = program->run[e].n;
        for (size_t i = 0; i < n && s->prepared[e]; i++) ctl_cuda_product_drop(s, &s->prepared[e][i]);
        ctl_free(allocator, s->prepared[e], n * sizeof(ctl_cuda_prepared));
        if (s->graph[e]) s->driver->executable_destroy(s->graph[e]);
    }
    ctl_cuda_choices_free(s);
    if (s->blaslt) s->code->blaslt.destroy(s->blaslt);
    ctl_cuda_modules_close(s);
    ctl_cuda_memory_close(s);
    if (s->stream) s->driver->stream_destroy(s->stream);
    if (entered) (void)ctl_cuda_leave(s, s->failed);
    if (s->retained) s->driver->context_release(s->code->device.number);
    ctl_session_common_free(&s->common);
    ctl_free(allocator, s, sizeof *s);
}

/* In the device's context. */
static ctl_status open_device(ctl_cuda_session *s) {
    const ctl_cuda_driver *d = s->driver;
    ctl_status status = ctl_cuda_check(s, d->stream_create(&s->stream, CTL_CU_STREAM_NON_BLOCKING), "cuStreamCreate");
    if (status == CTL_OK) status = ctl_cuda_check_blaslt(s, s->code->blaslt.create(&s->blaslt), "cublasLtCreate");
    if (status == CTL_OK) status = ctl_cuda_memory_open(s);
    if (status == CTL_OK) status = ctl_cuda_modules_open(s);
    for (int e = 0; e < RUN_COUNT && status == CTL_OK; e++) status = prepare_list(s, (ctl_program_entry)e);
    return status;
}

ctl_status ctl_cuda_open(const ctl_program *program, const ctl_session_options *options, ctl_session **out) {
    const ctl_allocator *allocator = ctl_allocator_or_default(options ? options->allocator : NULL);
    ctl_cuda_session *s = ctl_alloc(allocator, sizeof *s);
    if (!s) return CTL_ERR_MEMORY;
    ctl_status status = ctl_session_common_init(&s->common, program, options);
    if (status != CTL_OK) {
        ctl_free(allocator, s, sizeof *s);
        return status;
    }
    s->code = program->engine_data, s->driver = &s->code->driver;
    status = ctl_cuda_check(s, s->driver->context_retain(&s->context, s->code->device.number), "cuDevicePrimaryCtxRetain");
    s->retained = status == CTL_OK;
    if (status == CTL_OK) status = ctl_cuda_enter(s);
    if (status == CTL_OK) status = ctl_cuda_leave(s, open_device(s));
    if (status == CTL_OK) *out = &s->common;
    else ctl_cuda_close(s);
    return status;
}

/* ---- running ---- */
/* one_by_one: waits for each task, so that what it does wrong is said of it. */
static ctl_status launch_list(ctl_cuda_session *s, ctl_program_entry entry, bool one_by_one) {
    const ctl_task_list *list = &s->common.program->run[entry];
    ctl_status status = CTL_OK;
    for (size_t i = 0; i < list->n && status == CTL_OK; i++) {
        s->common.at = (ctl_origin){list->at[i].name, list->at[i].place};
        status = ctl_cuda_run_task(s, &list->at[i], &s->prepared[entry][i]);
        if (status == CTL_OK && one_by_one) status = ctl_cuda_wait(s);
        if (status == CTL_OK && one_by_one && s->common.watch) {
            s->common.watch(&s->common, &list->at[i], s->common.watch_ctx);
            status = s->failed;
        }
        if (status == CTL_ERR_INTERNAL && !s->failed && !s->capturing)
            ctl_session_say_at(&s->common, s->common.at.place, "E0901", "report it, with the specification", "task '%s' failed", s->common.at.name);
    }
    s->common.at = (ctl_origin){0};
    if (status != CTL_OK && !s->capturing) s->failed = status;
    return status;
}

/* Leaves the entry's graph, or says that there will be none. */
static void capture(ctl_cuda_session *s, ctl_program_entry entry) {
    void *graph = NULL, *executable = NULL;
    s->capturing = true;
    ctl_status status =
        ctl_cuda_check(s, s->driver->capture_begin(s->stream, CTL_CU_CAPTURE_THREAD_LOCAL), "cuStreamBeginCapture");
    if (status == CTL_OK) {
        status = launch_list(s, entry, false);
        const int error = s->driver->capture_end(s->stream, &graph); /* also after a failure: it ends the capture */
        if (status == CTL_OK) status = ctl_cuda_check(s, error, "cuStreamEndCapture");
    }
    if (status == CTL_OK) status = ctl_cuda_check(s, s->driver->graph_instantiate(&executable, graph, 0), "cuGraphInstantiate");
    if (graph) s->driver->graph_destroy(graph);
    s->capturing = false;
    if (status == CTL_OK) s->graph[entry] = executable;
    s->no_graphs = status != CTL_OK;
    if (s->no_graphs)
        ctl_say(ctl_session_voice(&s->common), CTL_WARNING, "E0816", "please report it with the spec, the driver's version and cuBLASLt's",
                "steps go on without a CUDA graph, small ones slower: %s", s->tried);
}

ctl_status ctl_cuda_run(ctl_cuda_session *s, ctl_program_entry entry) {
    if (s->common.program->run[entry].n == 0) return CTL_OK;
    ctl_status status = ctl_cuda_check_inputs(s, entry);
    if (status == CTL_OK) status = ctl_cuda_upload(s);
    if (status != CTL_OK) return status;
    if (s->runs[entry] && s->seconds[entry] && !s->common.watch) return ctl_cuda_run_profiled(s, entry);
    if (s->runs[entry]++ == 0 || entry == RUN_LOAD || s->common.watch) return launch_list(s, entry, true);
    if (!s->graph[entry] && !s->no_graphs) capture(s, entry);
    if (!s->graph[entry]) return launch_list(s, entry, false);
    return ctl_cuda_check(s, s->driver->graph_launch(s->graph[entry], s->stream), "cuGraphLaunch");
}
