/* compile: sources to machine code for one architecture, several at a time, through a cache on disk. */
#ifndef CTL_EMIT_CUDA_COMPILE_H
#define CTL_EMIT_CUDA_COMPILE_H

#include "runtime/cuda/nvrtc.h"

typedef struct ctl_cuda_unit {
    const char *name, *source; /* the caller's */
    ctl_nvrtc_output made;     /* from the allocator; of a unit that the cache had, without a log */
    int registers, shared_bytes, stack_bytes, spilled_bytes; /* of its kernels' greediest, as ptxas counts */
    bool cached;
    double seconds;
} ctl_cuda_unit;

typedef struct ctl_cuda_compile_options {
    const ctl_nvrtc *nvrtc;
    const char *architecture; /* "sm_86" */
    const char *cache;        /* a directory that exists, or NULL: no cache */
    int threads;              /* compile so many at a time; 0: one */
} ctl_cuda_compile_options;

/* The architectures that kernels are written for, NULL at the end. */
const char *const *ctl_cuda_architectures(void);
/* Bytes of shared memory that a block may have there (opted in), and registers of a block; 0: unknown. */
size_t ctl_cuda_shared_limit(const char *architecture);
/* The one whose machine code a device of this compute capability runs; NULL: none. */
const char *ctl_cuda_architecture_of(int major, int minor);

/* Fills the units. CTL_ERR_INPUT: a source was refused, which is a defect of the emitter; CTL_ERR_UNSUPPORTED: the compiler
 * cannot do it; why has the sentence and what the compiler said, from the allocator (ctl_string_free), or NULL. A cache that
 * cannot be read or written is no failure. */
ctl_status ctl_cuda_compile(const ctl_allocator *allocator, const ctl_cuda_compile_options *options, ctl_cuda_unit *units,
                            size_t n, char **why);
void ctl_cuda_units_drop(const ctl_allocator *allocator, ctl_cuda_unit *units, size_t n);

/* cache.c: files of machine code by what they were made of, verified when they are read. */
enum { CTL_CUDA_ABI = 1 }; /* of what kernels take: runtime/cuda/kernel.h */
typedef struct ctl_cuda_entry {
    char name[80]; /* of the file */
    unsigned char key[32];
} ctl_cuda_entry;
void ctl_cuda_cache_key(const ctl_cuda_compile_options *options, const char *const *flags, size_t nflags,
                        const ctl_cuda_unit *unit, ctl_cuda_entry *entry);
/* False: not there, or not whole. */
bool ctl_cuda_cache_read(const ctl_allocator *allocator, const char *directory, const ctl_cuda_entry *entry,
                         ctl_cuda_unit *unit);
void ctl_cuda_cache_write(const ctl_allocator *allocator, const char *directory, const ctl_cuda_entry *entry,
                          const ctl_cuda_unit *unit);

#endif
