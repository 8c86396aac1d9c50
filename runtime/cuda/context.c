/* context: each call of a session in the device's context. A context is current for a thread, not for a
 * process: a session may be opened by one thread and used by another, and the thread may be a host's that has
 * a context of its own for other work. So a call makes the device's current at its begin, and what was
 * current before at its end. */
#include "runtime/cuda/session.h"

ctl_status ctl_cuda_enter(ctl_cuda_session *s) {
    return ctl_cuda_check(s, s->driver->context_push(s->context), "cuCtxPushCurrent");
}
ctl_status ctl_cuda_leave(ctl_cuda_session *s, ctl_status status) {
    void *own;
    const int error = s->driver->context_pop(&own);
    return status == CTL_OK ? ctl_cuda_check(s, error, "cuCtxPopCurrent") : status;
}

/* A function that calls another between the two; after a failure nothing is done. */
#define WITHIN(name, call, ...)                                                                              \
    static ctl_status name(ctl_session *session, __VA_ARGS__) {                                              \
        ctl_cuda_session *s = ctl_cuda_own_session(session);                                                 \
        const ctl_status status = s->failed ? s->failed : ctl_cuda_enter(s);                                 \
        return status == CTL_OK ? ctl_cuda_leave(s, call) : status;                                          \
    }
WITHIN(run, ctl_cuda_run(s, entry), ctl_program_entry entry)
WITHIN(read_value, ctl_cuda_read(s, o, at, to, bytes, rows), const ctl_operand *o, size_t at, void *to,
       size_t bytes, size_t rows)
WITHIN(write_value, ctl_cuda_write(s, o, at, from, bytes, rows), const ctl_operand *o, size_t at,
       const void *from, size_t bytes, size_t rows)
WITHIN(clear, ctl_cuda_clear(s, o, bytes), const ctl_operand *o, size_t bytes)
WITHIN(optimize, ctl_cuda_optimize(s, step, norm), const ctl_optimizer_step *step, double *norm)
WITHIN(initialise, ctl_cuda_initialise_param(s, param), size_t param)
WITHIN(take, ctl_cuda_take(s, text), const char *text)

/* Those that have no status: a failure is said, and returned by the next call. */
static void *address(ctl_session *session, const ctl_operand *o) {
    ctl_cuda_session *s = ctl_cuda_own_session(session);
    const bool entered = ctl_cuda_enter(s) == CTL_OK;
    void *at = ctl_cuda_address(s, o);
    if (entered) (void)ctl_cuda_leave(s, CTL_OK);
    return at;
}
static void memory(ctl_session *session, ctl_device_memory *m) {
    ctl_cuda_session *s = ctl_cuda_own_session(session);
    if (s->failed || ctl_cuda_enter(s) != CTL_OK) return;
    ctl_cuda_memory(s, m);
    (void)ctl_cuda_leave(s, CTL_OK);
}
static void close_session(ctl_session *session) {
    ctl_cuda_close(ctl_cuda_own_session(session));
}

const ctl_engine ctl_cuda_engine = {.name = "cuda",
                                    .open = ctl_cuda_open,
                                    .close = close_session,
                                    .address = address,
                                    .run = run,
                                    .read = read_value,
                                    .write = write_value,
                                    .clear = clear,
                                    .memory = memory,
                                    .profile = ctl_cuda_profile,
                                    .optimize = optimize,
                                    .initialise = initialise,
                                    .keep = ctl_cuda_keep,
                                    .take = take};
