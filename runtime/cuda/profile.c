/* profile: the time of each task of an entry. The tasks are launched one behind the other, as for a graph but without one, with an
 * event before each; the device notes when it comes to an event, and a task's time is that from its event to the next. Where a
 * kernel is done before the host has launched the next, which very small ones are, the wait counts as the kernel's. */
#include "runtime/cuda/session.h"

void ctl_cuda_profile(ctl_session *session, double *const seconds[RUN_COUNT]) {
    ctl_cuda_session *s = ctl_cuda_own_session(session);
    for (int e = 0; e < RUN_COUNT; e++) s->seconds[e] = seconds ? seconds[e] : NULL;
}

static ctl_status launch(ctl_cuda_session *s, ctl_program_entry entry, void **events) {
    const ctl_task_list *list = &s->common.program->run[entry];
    ctl_status status = CTL_OK;
    for (size_t i = 0; i < list->n && status == CTL_OK; i++) {
        s->common.at = (ctl_origin){list->at[i].name, list->at[i].place};
        status = ctl_cuda_check(s, s->driver->event_record(events[i], s->stream), "cuEventRecord");
        if (status == CTL_OK) status = ctl_cuda_run_task(s, &list->at[i], &s->prepared[entry][i]);
    }
    s->common.at = (ctl_origin){0};
    if (status == CTL_OK) status = ctl_cuda_check(s, s->driver->event_record(events[list->n], s->stream), "cuEventRecord");
    return status == CTL_OK ? ctl_cuda_wait(s) : status;
}

ctl_status ctl_cuda_run_profiled(ctl_cuda_session *s, ctl_program_entry entry) {
    const size_t n = s->common.program->run[entry].n, bytes = (n + 1) * sizeof(void *);
    void **events = ctl_alloc(s->common.allocator, bytes);
    size_t made = 0;
    ctl_status status = events ? CTL_OK : CTL_ERR_MEMORY;
    while (status == CTL_OK && made <= n) {
        status = ctl_cuda_check(s, s->driver->event_create(&events[made], 0), "cuEventCreate");
        made += status == CTL_OK;
    }
    if (status == CTL_OK) status = launch(s, entry, events);
    for (size_t i = 0; i < n && status == CTL_OK; i++) {
        float milliseconds = 0;
        status = ctl_cuda_check(s, s->driver->event_milliseconds(&milliseconds, events[i], events[i + 1]), "cuEventElapsedTime");
        if (status == CTL_OK) s->seconds[entry][i] += 1e-3 * (double)milliseconds;
    }
    while (made > 0) s->driver->event_destroy(events[--made]);
    ctl_free(s->common.allocator, events, bytes);
    if (status != CTL_OK) s->failed = status;
    return status;
}
