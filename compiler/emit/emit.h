/* emit: from row programs to machine code. An emitter gets all kernels of a module at once, equal ones already merged. */
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

/* Compiles programs[0 .. n-1] and fills kernels[k].run (and name, scratch_bytes, sums_columns). *code owns the machine code until
 * ctl_cpu_code_free. Names are copied to the arena. CTL_ERR_INTERNAL with *why for what LLVM refuses. */
typedef struct ctl_cpu_code ctl_cpu_code;
ctl_status ctl_cpu_emit(ctl_arena *arena, const ctl_rowprog *const *programs, size_t n, const ctl_emit_options *options,
                        ctl_rows_kernel *kernels, ctl_cpu_code **code, ctl_emit_times *times, const char **why);
void ctl_cpu_code_free(ctl_cpu_code *code);

#endif
