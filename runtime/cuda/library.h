/* library: a shared library of CUDA's opened at run time: from the caller's folders first, then by its names, where the loader
 * looks; and its entry points as a table. A library that is newer than the driver cannot be used, so a file that is named after a later CUDA
 * (libcublasLt.so.13 beside a driver of CUDA 12) comes last of each folder. */
#ifndef CTL_RUNTIME_CUDA_LIBRARY_H
#define CTL_RUNTIME_CUDA_LIBRARY_H

#include <stddef.h>

#include "base/base.h"

enum { CTL_CUDA_WHY = 512 };

/* Folders with CUDA's libraries, n may be 0; and the CUDA that the driver is of, as it tells it (12040 is 12.4), 0: not known. */
typedef struct ctl_cuda_folders {
    const char *const *at;
    size_t n;
    int driver;
} ctl_cuda_folders;

typedef struct ctl_cuda_library {
    const char *const *names; /* of the file, the newest first; NULL at the end */
    const char *what;         /* "NVIDIA's driver (libcuda.so.1)" */
    const char *oldest;       /* "CUDA 11.4": what has all the entry points */
    const char *absent;       /* said where there is none; NULL: "is not where the loader looks", and so on */
} ctl_cuda_library;

typedef struct ctl_cuda_entry_point {
    const char *name;
    void *at; /* where its address goes: a pointer to a function */
} ctl_cuda_entry_point;

/* The library's handle with the table filled; NULL and a sentence in why. dlclose frees it. */
void *ctl_cuda_library_open(const ctl_cuda_library *library, const ctl_cuda_folders *folders,
                            const ctl_cuda_entry_point *entries, size_t n, char why[CTL_CUDA_WHY]);

#endif
