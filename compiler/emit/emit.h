/* emit: from row programs to machine code. An emitter gets all kernels of a module at once, equal ones
 * already merged. */
#ifndef CTL_EMIT_H
#define CTL_EMIT_H

#include "compiler/kernel/rowprog.h"

typedef struct ctl_emit_options {
    int vector_cpu; /* 0: the host's; 3, 4: x86-64-v3, -v4 */
    int threads;    /* compile modules in parallel on so many threads; 0: one */
} ctl_emit_options;

typedef struct ctl_emit_times { /* seconds */
    double build, optimise, object, load;
} ctl_emit_times;

/* Compiles programs[0 .. n-1], all verified, and fills kernels[k].run, scratch_bytes and sums_columns.
 * kernels[k].name is the symbol: the caller's, no two equal, or NULL, and then one is made in the arena.
 * *code owns the machine code until ctl_cpu_code_free; it does not need the arena. CTL_ERR_INTERNAL with *why
 * for what LLVM refuses, CTL_ERR_MEMORY when there is none for *code or for a thread (LLVM itself ends the
 * process when it gets no memory). times may be NULL; they are those of the slowest thread. */
typedef struct ctl_cpu_code ctl_cpu_code;
ctl_status ctl_cpu_emit(ctl_arena *arena, const ctl_rowprog *const *programs, size_t n,
                        const ctl_emit_options *options, ctl_rows_kernel *kernels, ctl_cpu_code **code,
                        ctl_emit_times *times, const char **why);
void ctl_cpu_code_free(ctl_cpu_code *code);

#endif
