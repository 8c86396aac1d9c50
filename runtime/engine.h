/* engine: what runs a program. The CPU engine runs tasks (runtime/cpu); the reference executor runs a graph, one
 * operation at a time (compiler/reference). ctlrt.h's functions check their arguments and call these. */
#ifndef CTL_ENGINE_H
#define CTL_ENGINE_H

#include "base/base.h"
#include "ctl/ctlrt.h"
#include "runtime/program.h"

/* The common part of every session; engines put it first in theirs. */
struct ctl_session {
    const ctl_program *program;
    const ctl_engine *engine;
    const ctl_allocator *allocator;
    ctl_diagnostic_fn diagnostic;
    void *diagnostic_ctx;
    uint64_t seed, step;
    int64_t first_row;
    double normaliser;
    int threads;
    bool *param_written; /* nparams */
};

struct ctl_engine {
    const char *name;
    /* Allocates the engine's session, its common part filled from program and options. */
    ctl_status (*open)(const ctl_program *program, const ctl_session_options *options, ctl_session **out);
    void (*close)(ctl_session *s);
    /* Storage of a value in this session, laid out as ctl_operand says (dtype F64 in the f64 executor). NULL: absent. */
    void *(*address)(ctl_session *s, const ctl_operand *operand);
    ctl_status (*run)(ctl_session *s, ctl_program_entry entry);
};

/* session.c: says something through the session's callback. */
void ctl_session_say(ctl_session *s, const char *code, const char *hint, const char *fmt, ...) CTL_PRINTF(4, 5);

#endif
