/* cuda: from row programs to CUDA C, and from that to machine code.
 *
 * A source is the preludes (prelude.cu, rows_prelude.cu) and then a kernel for each row program: plain C, without
 * includes, that NVRTC compiles for a device and the host's C compiler for the tests. A kernel's bits are those of
 * rowprog.h; it takes one structure, which runtime/cuda fills. */
#ifndef CTL_EMIT_CUDA_H
#define CTL_EMIT_CUDA_H

#include "compiler/kernel/rowprog.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/parts.h"

/* The texts of the .cu files beside this one, by name without its ending; NULL: there is none. */
const char *ctl_cuda_text(const char *name);

/* Decides how the kernel of a verified program is run: everything of *kernel but its name and, where they are given, its forms. */
void ctl_cuda_plan(const ctl_rowprog *p, ctl_arena *arena, ctl_cuda_kernel *kernel);

/* Appends a source with the kernels of programs[0 .. n-1], all verified, and fills kernels[0 .. n-1], whose names are the
 * caller's, and forms, where they are not 0. */
void ctl_cuda_source(ctl_arena *arena, const ctl_rowprog *const *programs, size_t n, ctl_cuda_kernel *kernels,
                     ctl_text *out);

/* Appends the source of a part (runtime/cuda/attend.h and tasks.h have what its kernels take). */
void ctl_cuda_part_source(const ctl_cuda_part *part, ctl_text *out);

#endif
