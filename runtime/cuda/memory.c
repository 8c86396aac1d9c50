/* memory: a session's regions in the device's memory, the mirror of inputs in the host's, and what goes between them. */
#include "runtime/cuda/session.h"

#include <stdio.h>

enum { ALIGN = 256 };

static size_t aligned(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }

ctl_cu_pointer ctl_cuda_at(const ctl_cuda_session *s, const ctl_operand *o) {
    if (ctl_cuda_is_absent(o)) return 0;
    const ctl_buffer *b = &s->common.program->buffers[o->buffer];
    return s->region[b->region] + b->offset + o->offset;
}

/* ---- opening ---- */
static ctl_status no_room(ctl_cuda_session *s, int error, size_t bytes) {
    size_t unused = 0, all = 0;
    char why[CTL_CUDA_WHY];
    if (error != CTL_CU_OUT_OF_MEMORY) return ctl_cuda_check(s, error, "cuMemAlloc");
    s->driver->memory_info(&unused, &all);
    snprintf(why, sizeof why, "%s has %.2f GiB of memory, %.2f of them free", s->code->device.name, (double)all / (1 << 30),
             (double)unused / (1 << 30));
    ctl_session_say(&s->common, "E0813", "give less with --memory, or use fewer tokens a step (--set tokens=..)",
                    "the GPU's memory does not suffice: %s; the program wants %.2f, and %.2f more at once", why,
                    (double)ctl_program_memory(s->common.program).peak / (1 << 30), (double)bytes / (1 << 30));
    return s->failed = CTL_ERR_MEMORY;
}

static bool mirror_layout(ctl_cuda_session *s) {
    const ctl_program *p = s->common.program;
    size_t bytes = aligned(sizeof *s->host);
    s->mirror = ctl_alloc(s->common.allocator, (p->nbuffers + 1) * sizeof *s->mirror);
    if (!s->mirror) return false;
    for (size_t k = 0; k < p->nbuffers; k++) {
        if (p->buffers[k].use != USE_INPUTS) continue;
        s->mirror[k] = bytes;
        bytes += aligned(p->buffers[k].bytes);
    }
    s->host_bytes = bytes;
    return true;
}

ctl_status ctl_cuda_memory_open(ctl_cuda_session *s) {
    const ctl_program *p = s->common.program;
    ctl_status status = CTL_OK;
    for (int r = 0; r < REGION_COUNT; r++) {
        const size_t size = p->region_bytes[r], own = r == REGION_PERSISTENT ? sizeof(ctl_cuda_own) : 0;
        if (size > SIZE_MAX / 2) return s->failed = CTL_ERR_MEMORY;
        if (size + own == 0) continue;
        const size_t bytes = aligned(size) + own;
        const int error = s->driver->allocate(&s->region[r], bytes);
        if (error) return no_room(s, error, bytes);
        s->common.device_bytes += bytes;
        if (own) s->own = s->region[r] + aligned(size);
    }
    if (!mirror_layout(s)) return s->failed = CTL_ERR_MEMORY;
    void *host = NULL;
    status = ctl_cuda_check(s, s->driver->host_allocate(&host, s->host_bytes, 0), "cuMemHostAlloc");
    if (status != CTL_OK) return status;
    memset(host, 0, s->host_bytes);
    s->host = host;
    s->host->none.task = -1;
    s->changed = true;
    return ctl_cuda_check(s, s->driver->to_device(s->own + offsetof(ctl_cuda_own, bad), &s->host->none, sizeof s->host->none, s->stream),
                          "cuMemcpyHtoDAsync");
}

void ctl_cuda_memory_close(ctl_cuda_session *s) {
    for (int r = 0; r < REGION_COUNT; r++)
        if (s->region[r]) s->driver->release(s->region[r]);
    if (s->host) s->driver->host_release(s->host);
    ctl_free(s->common.allocator, s->mirror, (s->common.program->nbuffers + 1) * sizeof *s->mirror);
}

/* ---- inputs ---- */
bool ctl_cuda_is_input(const ctl_cuda_session *s, const ctl_operand *o) {
    return !ctl_cuda_is_absent(o) && s->mirror[o->buffer] != 0;
}

/* The caller may write what it gets: no copy of it may be under way, and the next run copies it anew. */
void *ctl_cuda_address(ctl_cuda_session *s, const ctl_operand *o) {
    if (!ctl_cuda_is_input(s, o)) return NULL;
    if (s->copying) (void)ctl_cuda_wait(s); /* a failure is said now, and returned by the next run */
    s->changed = true;
    return (char *)s->host + s->mirror[o->buffer] + o->offset;
}

ctl_status ctl_cuda_upload(ctl_cuda_session *s) {
    const ctl_program *p = s->common.program;
    const ctl_cuda_state now = {.seed = s->common.seed, .first_row = s->common.first_row, .step = (uint32_t)s->common.step,
                                .normaliser = (float)s->common.normaliser};
    if (!s->changed && memcmp(&now, &s->host->state, sizeof now) == 0) return CTL_OK;
    ctl_status status = s->copying ? ctl_cuda_wait(s) : CTL_OK;
    if (status != CTL_OK) return status;
    memcpy(&s->host->state, &now, sizeof now);
    s->copying = true;
    int error = s->driver->to_device(s->own + offsetof(ctl_cuda_own, state), &s->host->state, sizeof now, s->stream);
    for (size_t k = 0; k < p->nbuffers && !error && s->changed; k++)
        if (s->mirror[k])
            error = s->driver->to_device(s->region[p->buffers[k].region] + p->buffers[k].offset, (char *)s->host + s->mirror[k],
                                         p->buffers[k].bytes, s->stream);
    if (!error) s->changed = false;
    return ctl_cuda_check(s, error, "cuMemcpyHtoDAsync");
}

/* ---- everything else ---- */
ctl_status ctl_cuda_wait(ctl_cuda_session *s) {
    if (s->failed) return s->failed;
    ctl_status status = ctl_cuda_check(s, s->driver->stream_synchronize(s->stream), "cuStreamSynchronize");
    if (status == CTL_OK) s->copying = false;
    return status;
}

static size_t pitch_of(const ctl_operand *o) { return (size_t)o->stride * ctl_dtype_size(o->dtype); }

ctl_status ctl_cuda_read(ctl_cuda_session *s, const ctl_operand *o, size_t at, void *to, size_t bytes, size_t rows) {
    const ctl_cu_pointer from = ctl_cuda_at(s, o) + at;
    const ctl_cu_copy copy = {.from_type = CTL_CU_DEVICE, .from_device = from, .from_pitch = pitch_of(o), .to_type = CTL_CU_HOST,
                              .to_host = to, .to_pitch = bytes, .bytes = bytes, .rows = rows};
    ctl_status status = CTL_OK;
    if (bytes && rows == 1)
        status = ctl_cuda_check(s, s->driver->to_host(to, from, bytes, s->stream), "cuMemcpyDtoHAsync");
    else if (bytes && rows)
        status = ctl_cuda_check(s, s->driver->copy_rows(&copy, s->stream), "cuMemcpy2DAsync");
    if (status == CTL_OK) status = ctl_cuda_bad_ids(s);
    return status;
}

ctl_status ctl_cuda_write(ctl_cuda_session *s, const ctl_operand *o, size_t at, const void *from, size_t bytes, size_t rows) {
    const ctl_cu_pointer to = ctl_cuda_at(s, o) + at;
    const ctl_cu_copy copy = {.from_type = CTL_CU_HOST, .from_host = from, .from_pitch = bytes, .to_type = CTL_CU_DEVICE,
                              .to_device = to, .to_pitch = pitch_of(o), .bytes = bytes, .rows = rows};
    ctl_status status = CTL_OK;
    if (bytes && rows == 1)
        status = ctl_cuda_check(s, s->driver->to_device(to, from, bytes, s->stream), "cuMemcpyHtoDAsync");
    else if (bytes && rows)
        status = ctl_cuda_check(s, s->driver->copy_rows(&copy, s->stream), "cuMemcpy2DAsync");
    return status == CTL_OK ? ctl_cuda_wait(s) : status; /* what it was copied from is the caller's */
}

ctl_status ctl_cuda_clear(ctl_cuda_session *s, const ctl_operand *o, size_t bytes) {
    return bytes ? ctl_cuda_check(s, s->driver->fill(ctl_cuda_at(s, o), 0, bytes, s->stream), "cuMemsetD8Async") : CTL_OK;
}

void ctl_cuda_memory(ctl_cuda_session *s, ctl_device_memory *m) {
    size_t unused = 0, all = 0;
    if (s->driver->memory_info(&unused, &all)) return;
    m->used = all - unused, m->all = all;
}
