/* engine: what runs a program. The CPU engine and the CUDA engine run tasks (runtime/cpu, runtime/cuda); the reference executor
 * runs a graph, one operation at a time (compiler/reference). ctlrt.h's functions check their arguments and call these. Where
 * an engine's memory is the host's, its storage is read and written in place; else data goes through its functions read, write and clear,
 * which storage.c chooses. */
#ifndef CTL_ENGINE_H
#define CTL_ENGINE_H

#include "base/base.h"
#include "ctl/ctlrt.h"
#include "runtime/program.h"

struct ctl_string; /* files.h */

/* The common part of every session; engines put it first in theirs. */
struct ctl_session {
    const ctl_program *program;
    const ctl_engine *engine;
    const ctl_allocator *allocator;
    ctl_diagnostic_fn diagnostic;
    void *diagnostic_ctx;
    ctl_session_progress_fn progress;
    void *progress_ctx;
    uint64_t seed, step;
    size_t device_bytes; /* held in a GPU's memory */
    int64_t first_row;
    double normaliser;
    int threads;
    /* Called behind each task of a run, when what the task has written can be read; NULL: nobody looks. Engines that run tasks do so. */
    void (*watch)(ctl_session *s, const ctl_task *task, void *ctx);
    void *watch_ctx;
    ctl_origin at; /* what is worked on, for messages: a parameter (session.c), or a task where the engine says so; its name NULL: nothing */
    /* Kept by session.c; an engine does not touch them. */
    bool *param_written; /* nparams: given or initialised */
    bool *input_written; /* ninputs */
    bool loaded;         /* LOAD and UPDATE ran after the last write of a parameter */
    int last_run;        /* ctl_program_entry whose values lie in the step region, or -1 */
};

struct ctl_engine {
    const char *name;
    /* Allocates the engine's session; fills its common part by ctl_session_common_init before anything else, so that
     * ctl_session_say works. Memory need not be zeroed: session.c clears the flat arrays. On failure *out is unset. */
    ctl_status (*open)(const ctl_program *program, const ctl_session_options *options, ctl_session **out);
    void (*close)(ctl_session *s);
    /* Storage of a value in this session, laid out as ctl_operand says (dtype F64 in the f64 executor). NULL: absent, or not
     * the host's memory. Inputs', and the numbers of rows beside them, always are the host's. */
    void *(*address)(ctl_session *s, const ctl_operand *operand);
    ctl_status (*run)(ctl_session *s, ctl_program_entry entry);

    /* Of engines with memory of their own; else NULL. `rows` times so many bytes from, and to, the value's storage, `at` bytes behind its
     * begin: there a stride apart, at the host's one behind the other. */
    ctl_status (*read)(ctl_session *s, const ctl_operand *operand, size_t at, void *to, size_t bytes, size_t rows);
    ctl_status (*write)(ctl_session *s, const ctl_operand *operand, size_t at, const void *from, size_t bytes, size_t rows);
    ctl_status (*clear)(ctl_session *s, const ctl_operand *operand, size_t bytes); /* zeros from the begin */
    void (*memory)(ctl_session *s, ctl_device_memory *m); /* fills what is used, and all */
    ctl_status (*initialise)(ctl_session *s, size_t param); /* ctl_session_param_initialise; NULL: the host makes the numbers */
    /* From here on a run of an entry adds each task's time to seconds[entry][task]; seconds NULL ends it. NULL: it cannot. */
    void (*profile)(ctl_session *s, double *const seconds[RUN_COUNT]);
    /* ctl_session_optimize without UPDATE, on checked arguments; CTL_ERR_NUMERIC: nothing changed. */
    ctl_status (*optimize)(ctl_session *s, const ctl_optimizer_step *o, double *gradient_norm);

    /* What the bits of its numbers depend on beside the program: as text, lines that a checkpoint keeps; and from one, when a run
     * goes on: NULL where the checkpoint has none. What cannot be had again is said, and no failure; CTL_ERR_INPUT, and nothing
     * changed nor said: the text is none of keep's. NULL: nothing does. */
    void (*keep)(ctl_session *s, struct ctl_string *text);
    ctl_status (*take)(ctl_session *s, const char *text);
};

/* session.c, for engines: fills the common part (threads: what options ask, at most what the program was laid out for).
 * CTL_ERR_MEMORY leaves nothing to free. ctl_session_common_free is for the engine's close. */
ctl_status ctl_session_common_init(ctl_session *s, const ctl_program *program, const ctl_session_options *options);
void ctl_session_common_free(ctl_session *s);

/* say.c: says something through the session's callback. */
void ctl_session_say(ctl_session *s, const char *code, const char *hint, const char *fmt, ...) CTL_PRINTF(4, 5);
/* The same of what stands at a place of the program (ctl_task.place): the line of the .ctl is shown, and a note shows the
 * standard library's line where that is what computes it. */
void ctl_session_say_at(ctl_session *s, uint32_t place, const char *code, const char *hint, const char *fmt, ...)
    CTL_PRINTF(5, 6);

#endif
