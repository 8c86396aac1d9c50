/* ids: kernels read tables by indices unchecked, so indices are checked before. Those that the host gave are checked on the host,
 * whenever they may have changed; computed ones by a kernel that stands before the task: it replaces a wrong one by 0 and notes
 * it in the device's memory, where the next read of a result finds it. */
#include "runtime/cuda/session.h"

typedef struct use { /* of indices by a task */
    const ctl_operand *ids;
    int64_t rows, below; /* indices; rows of the table */
    int32_t beside;      /* another one that is right */
    ctl_origin of;
} use;
enum { IGNORED = -100 /* a label of a row that does not count */, MOST_USES = CTL_MOST_OPERANDS };

/* The kth use; false: there are fewer. */
static bool use_of(const ctl_task *t, uint32_t k, use *out) {
    const ctl_origin own = {t->name, t->place};
    if (t->kind == TASK_SCATTER && k == 0) {
        *out = (use){&t->operands[1], t->operands[1].rows, t->operands[2].rows, 0, own};
        return true;
    }
    if (t->kind == TASK_HEAD && k == 0) {
        *out = (use){&t->operands[2], t->operands[2].rows, t->operands[1].rows, IGNORED, own};
        return true;
    }
    for (uint32_t i = 0; t->kind == TASK_ROWS && t->index_of && i < t->noperands; i++) {
        if (t->index_of[i] == UINT32_MAX || k-- > 0) continue;
        *out = (use){&t->operands[t->index_of[i]], t->rows, t->operands[i].rows, 0, ctl_task_origin(t, i)};
        return true;
    }
    return false;
}

static ctl_status wrong(ctl_cuda_session *s, const use *u, const ctl_cuda_bad_id *bad) {
    if (u->beside == IGNORED)
        ctl_session_say_at(&s->common, u->of.place, "E0804", "labels are 0 .. classes - 1, or -100 for a row that does not count",
                           "%s: label %d of row %d is not one of %d classes", u->of.name, (int)bad->id, (int)bad->row, (int)bad->rows);
    else
        ctl_session_say_at(&s->common, u->of.place, "E0804", "ids are numbers of rows of the table that they select from",
                           "%s: id %d of row %d is not one of %d rows", u->of.name, (int)bad->id, (int)bad->row, (int)bad->rows);
    return CTL_ERR_INPUT;
}

ctl_status ctl_cuda_check_inputs(ctl_cuda_session *s, ctl_program_entry entry) {
    const ctl_task_list *list = &s->common.program->run[entry];
    if (s->changed) memset(s->checked, 0, sizeof s->checked);
    if (s->checked[entry]) return CTL_OK;
    use u;
    for (size_t i = 0; i < list->n; i++)
        for (uint32_t k = 0; use_of(&list->at[i], k, &u); k++) {
            if (!ctl_cuda_is_input(s, u.ids)) continue;
            const int32_t *ids = (const int32_t *)(const void *)((const char *)s->host + s->mirror[u.ids->buffer] + u.ids->offset);
            for (int64_t r = 0; r < u.rows; r++) {
                const int32_t id = ids[r * u.ids->stride];
                if ((id < 0 || id >= u.below) && id != u.beside)
                    return wrong(s, &u, &(ctl_cuda_bad_id){0, (int32_t)r, id, (int32_t)u.below});
            }
        }
    s->checked[entry] = true;
    return CTL_OK;
}

/* A task's number among all entries', and back. */
static int32_t number_of(const ctl_program *p, const ctl_task *task) {
    size_t before = 0;
    for (int e = 0; e < RUN_COUNT; before += p->run[e].n, e++)
        for (size_t i = 0; i < p->run[e].n; i++)
            if (&p->run[e].at[i] == task) return (int32_t)(before + i);
    return 0;
}
static const ctl_task *task_of(const ctl_program *p, int32_t number) {
    size_t left = (size_t)number;
    for (int e = 0; e < RUN_COUNT; left -= p->run[e].n, e++)
        if (left < p->run[e].n) return &p->run[e].at[left];
    return NULL;
}

ctl_status ctl_cuda_check_computed(ctl_cuda_session *s, const ctl_task *task) {
    ctl_status status = CTL_OK;
    use u;
    for (uint32_t k = 0; status == CTL_OK && use_of(task, k, &u); k++) {
        if (ctl_cuda_is_input(s, u.ids)) continue;
        s->computes_ids = true;
        const ctl_cuda_ids call = {.ids = (int32_t *)(uintptr_t)ctl_cuda_at(s, u.ids),
                                   .bad = (void *)(uintptr_t)(s->own + offsetof(ctl_cuda_own, bad)),
                                   .stride = u.ids->stride, .rows = (int32_t)u.rows, .below = (int32_t)u.below,
                                   .beside = u.beside, .task = number_of(s->common.program, task) * MOST_USES + (int32_t)k};
        status = ctl_cuda_launch(s, s->functions[CUDA_IDS], 1, 1, 256, CTL_CUDA_IDS_SHARED, &call);
    }
    return status;
}

ctl_status ctl_cuda_bad_ids(ctl_cuda_session *s) {
    const ctl_cu_pointer at = s->own + offsetof(ctl_cuda_own, bad);
    if (!s->computes_ids) return ctl_cuda_wait(s);
    ctl_status status =
        ctl_cuda_check(s, s->driver->to_host(&s->host->bad, at, sizeof s->host->bad, s->stream), "cuMemcpyDtoHAsync");
    if (status == CTL_OK) status = ctl_cuda_wait(s);
    if (status != CTL_OK || s->host->bad.task < 0) return status;
    status = ctl_cuda_check(s, s->driver->to_device(at, &s->host->none, sizeof s->host->none, s->stream), "cuMemcpyHtoDAsync");
    if (status == CTL_OK) status = ctl_cuda_wait(s);
    const ctl_task *task = task_of(s->common.program, s->host->bad.task / MOST_USES);
    use u;
    if (status != CTL_OK) return status;
    const bool found = task && use_of(task, (uint32_t)(s->host->bad.task % MOST_USES), &u);
    return found ? wrong(s, &u, &s->host->bad) : CTL_ERR_INTERNAL;
}
