/* code: what a program for a GPU carries beside its tasks: the driver and the library of products, the device that it was
 * compiled for, machine code, and how its row kernels are launched. */
#ifndef CTL_RUNTIME_CUDA_CODE_H
#define CTL_RUNTIME_CUDA_CODE_H

#include "runtime/cuda/blaslt.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/parts.h"

typedef struct ctl_cuda_image { /* of a module: what cuModuleLoadData takes */
    const char *name;
    const void *bytes;
    size_t size;
} ctl_cuda_image;

typedef struct ctl_cuda_code {
    ctl_cuda_driver driver;
    ctl_blaslt blaslt;
    ctl_cuda_device device;
    /* A module for each row kernel, then for each part. */
    const ctl_cuda_image *images;
    const ctl_cuda_kernel *rows;
    size_t nrows;
    const ctl_cuda_part *parts;
    size_t nparts;
} ctl_cuda_code;
static inline size_t ctl_cuda_code_images(const ctl_cuda_code *c) { return c->nrows + c->nparts; }

/* A copy of all that the draft points to; its libraries become the copy's. On failure they stay the draft's. */
ctl_status ctl_cuda_code_make(const ctl_allocator *allocator, const ctl_cuda_code *draft, ctl_cuda_code **out);
void ctl_cuda_code_free(void *code); /* a ctl_cuda_code made so */

#endif
