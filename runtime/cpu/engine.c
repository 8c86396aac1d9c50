/* engine: opens a session (three regions, one allocation each, and every product that the program's tasks
 * need), runs lists of tasks, and answers the planner's questions about scratch with the same code that
 * prepares the tasks. */
#include <omp.h>

#include "runtime/cpu/cpu.h"
#include "runtime/cpu/tasks.h"

enum { ALIGN = 64 };

static ctl_cpu_session *own(ctl_session *s) {
    return (ctl_cpu_session *)(void *)s; /* its first member */
}

bool ctl_cpu_supports_bf16(void) {
    return ctl_lanes_choose() == &ctl_lanes_bf16;
}

void *ctl_cpu_at(const ctl_cpu_session *s, const ctl_operand *o) {
    if (ctl_operand_absent(o)) return NULL;
    const ctl_buffer *b = &s->common.program->buffers[o->buffer];
    return s->region[b->region] + b->offset + o->offset;
}

/* ---- preparing ---- */
/* Fills what running needs (make), or only asks: then head is the caller's room for a head's sizes. */
static ctl_status prepare(ctl_products *set, const ctl_task *task, int threads, bool make, ctl_prepared *p,
                          size_t *bytes) {
    ctl_matmul_form form;
    ctl_status status = CTL_OK;
    *bytes = 0;
    switch (task->kind) {
    case TASK_MATMUL:
        if (!ctl_matmul_form_of(task, &form)) return CTL_ERR_INTERNAL;
        status = ctl_matmul_prepare(set, &form, make, &p->matmul);
        *bytes = p->matmul.scratch * (size_t)threads;
        return status;
    case TASK_MIX:
    case TASK_MIX_GRAD:
        status = ctl_mix_prepare(set, task, make, &p->matmul);
        *bytes = p->matmul.scratch * (size_t)threads;
        return status;
    case TASK_HEAD:
        status = ctl_head_prepare(set, task, threads, make, p->head);
        *bytes = p->head->scratch;
        return status;
    case TASK_ATTEND:
    case TASK_ATTEND_GRAD:
        if (!ctl_attend_checks(task)) return CTL_ERR_INTERNAL;
        *bytes = ctl_attend_task_scratch(task, threads);
        return CTL_OK;
    default:
        return CTL_OK;
    }
}

ctl_status ctl_cpu_task_scratch(const ctl_task *task, int threads, size_t *bytes) {
    ctl_products *set = NULL;
    ctl_head head = {0};
    ctl_prepared p = {.head = &head};
    if (threads < 1) return CTL_ERR_INTERNAL;
    ctl_status status = ctl_products_open(&ctl_malloc_allocator, 1, &set);
    if (status && status != CTL_ERR_UNSUPPORTED) return status;
    status = prepare(set, task, threads, false, &p, bytes);
    ctl_products_close(set);
    return status;
}

static ctl_status prepare_list(ctl_cpu_session *s, ctl_program_entry entry) {
    const ctl_task_list *list = &s->common.program->run[entry];
    if (list->n == 0) return CTL_OK;
    size_t bytes;
    if (!ctl_mul_size(list->n, sizeof(ctl_prepared), &bytes)) return CTL_ERR_MEMORY;
    s->prepared[entry] = ctl_alloc(s->common.allocator, bytes);
    if (!s->prepared[entry]) return CTL_ERR_MEMORY;
    for (size_t i = 0; i < list->n; i++) {
        const ctl_task *task = &list->at[i];
        ctl_prepared *p = &s->prepared[entry][i];
        if (task->kind == TASK_HEAD && !(p->head = ctl_alloc(s->common.allocator, sizeof *p->head)))
            return CTL_ERR_MEMORY;
        ctl_status status = prepare(s->products, task, s->common.threads, true, p, &bytes);
        if (status == CTL_ERR_MEMORY) return status;
        if (task->kind == TASK_ROWS && task->kernel < s->common.program->nkernels)
            bytes = ctl_cpu_rows_scratch(s->common.program->kernels[task->kernel].scratch_bytes,
                                         s->common.threads);
        size_t room = ctl_operand_absent(&task->scratch)
                          ? 0
                          : (size_t)task->scratch.rows * (size_t)task->scratch.stride;
        if (!status && bytes <= room) continue;
        ctl_session_say_at(&s->common, task->place, "E0901", "report it, with the specification",
                        status ? "task '%s' cannot run here (it wants %zu bytes of scratch, and has %zu)"
                               : "task '%s' wants %zu bytes of scratch, and has %zu",
                        task->name, bytes, room);
        return status ? status : CTL_ERR_INTERNAL;
    }
    return CTL_OK;
}

/* ---- a session's life ---- */
static size_t held_bytes(const ctl_program *p, int region) {
    return p->region_bytes[region] + ALIGN;
}

static void close_session(ctl_session *session) {
    ctl_cpu_session *s = own(session);
    const ctl_program *program = session->program;
    const ctl_allocator *allocator = session->allocator;
    for (int e = 0; e < RUN_COUNT; e++) {
        const size_t n = program->run[e].n;
        for (size_t i = 0; i < n && s->prepared[e]; i++)
            ctl_free(allocator, s->prepared[e][i].head, sizeof *s->prepared[e][i].head);
        ctl_free(allocator, s->prepared[e], n * sizeof *s->prepared[e]);
    }
    ctl_products_close(s->products);
    for (int r = 0; r < REGION_COUNT; r++) ctl_free(allocator, s->held[r], held_bytes(program, r));
    ctl_session_common_free(session);
    ctl_free(allocator, s, sizeof *s);
}

static ctl_status open_session(const ctl_program *program, const ctl_session_options *options,
                               ctl_session **out) {
    const ctl_allocator *allocator = ctl_allocator_or_default(options ? options->allocator : NULL);
    ctl_cpu_session *s = ctl_alloc(allocator, sizeof *s);
    if (!s) return CTL_ERR_MEMORY;
    ctl_status status = ctl_session_common_init(&s->common, program, options);
    if (status) {
        ctl_free(allocator, s, sizeof *s);
        return status;
    }
    s->lanes = ctl_lanes_choose();
    for (int r = 0; r < REGION_COUNT && !status; r++) {
        /* Not zeroed: pages are then first touched by who uses them, and only those that are. */
        s->held[r] = program->region_bytes[r] > SIZE_MAX - ALIGN
                         ? NULL
                         : allocator->resize(allocator->ctx, NULL, 0, held_bytes(program, r));
        if (!s->held[r])
            status = CTL_ERR_MEMORY;
        else
            s->region[r] = s->held[r] + (ALIGN - (uintptr_t)s->held[r] % ALIGN) % ALIGN;
    }
    if (!status) {
        status = ctl_products_open(allocator, s->common.threads, &s->products);
        if (status == CTL_ERR_UNSUPPORTED) status = CTL_OK; /* our own tiles do all */
    }
    for (int e = 0; e < RUN_COUNT && !status; e++) status = prepare_list(s, (ctl_program_entry)e);
    if (status)
        close_session(&s->common);
    else
        *out = &s->common;
    return status;
}

static void *address(ctl_session *s, const ctl_operand *operand) {
    return ctl_cpu_at(own(s), operand);
}

/* ---- running ---- */
static ctl_status run_task(ctl_cpu_session *s, const ctl_task *task, const ctl_prepared *p) {
    switch (task->kind) {
    case TASK_ROWS:
        return ctl_run_rows(s, task);
    case TASK_MATMUL:
        return ctl_run_matmul(s, task, p);
    case TASK_ATTEND:
    case TASK_ATTEND_GRAD:
        return ctl_run_attend(s, task);
    case TASK_MIX:
    case TASK_MIX_GRAD:
        return ctl_run_mix(s, task, p);
    case TASK_HEAD:
        return ctl_run_head(s, task, p);
    case TASK_SCATTER:
        return ctl_run_scatter(s, task);
    case TASK_FOLD:
        return ctl_run_fold(s, task);
    case TASK_TRANSPOSE:
        return ctl_run_transpose(s, task);
    }
    return CTL_ERR_INTERNAL;
}

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static ctl_status run(ctl_session *session, ctl_program_entry entry) {
    ctl_cpu_session *s = own(session);
    const ctl_task_list *list = &session->program->run[entry];
    double *seconds = s->seconds[entry];
    for (size_t i = 0; i < list->n; i++) {
        const ctl_task *task = &list->at[i];
        double begin = seconds ? now(s->clock) : 0;
        ctl_status status = run_task(s, task, &s->prepared[entry][i]);
        if (seconds) seconds[i] += now(s->clock) - begin;
        if (status == CTL_ERR_INTERNAL || status == CTL_ERR_UNSUPPORTED)
            ctl_session_say_at(session, task->place, "E0901", "report it, with the specification",
                               "task '%s' failed", task->name);
        if (status) return status;
        if (session->watch) session->watch(session, task, session->watch_ctx);
    }
    return CTL_OK;
}

void ctl_cpu_profile(ctl_session *s, clockid_t clock, double *const seconds[RUN_COUNT]) {
    own(s)->clock = clock;
    for (int e = 0; e < RUN_COUNT; e++) own(s)->seconds[e] = seconds ? seconds[e] : NULL;
}

static void profile(ctl_session *s, double *const seconds[RUN_COUNT]) { ctl_cpu_profile(s, CLOCK_MONOTONIC, seconds); }

ctl_status ctl_cpu_run_task(ctl_session *s, ctl_program_entry entry, size_t task) {
    const ctl_task_list *list = &s->program->run[entry];
    return task < list->n ? run_task(own(s), &list->at[task], &own(s)->prepared[entry][task]) : CTL_ERR_INPUT;
}

const ctl_engine ctl_cpu_engine = {.name = "cpu", .open = open_session, .close = close_session, .address = address, .run = run,
                                   .profile = profile};
