/* nvrtc: NVIDIA's run-time compiler, as a table of the entry points that are used: filled from the library by dlopen, so
 * that one binary runs with and without it, or by a test's stand-in. It needs no GPU. */
#ifndef CTL_RUNTIME_CUDA_NVRTC_H
#define CTL_RUNTIME_CUDA_NVRTC_H

#include <stddef.h>

#include "runtime/cuda/library.h"

typedef struct ctl_nvrtc {
    void *library; /* NULL in a stand-in */
    int major, minor;
    int (*create)(void **program, const char *source, const char *name, int nheaders, const char *const *headers,
                  const char *const *names);
    int (*compile)(void *program, int noptions, const char *const *options);
    int (*destroy)(void **program);
    int (*log_size)(void *program, size_t *size);
    int (*log)(void *program, char *log);
    int (*cubin_size)(void *program, size_t *size);
    int (*cubin)(void *program, char *cubin);
    int (*ptx_size)(void *program, size_t *size);
    int (*ptx)(void *program, char *ptx);
    const char *(*error)(int code);
} ctl_nvrtc;

/* path: the library's file; NULL: in the folders, which may be NULL, else where the loader and CUDA's installers have it.
 * CTL_ERR_UNSUPPORTED with what is missing in why. */
ctl_status ctl_nvrtc_open(ctl_nvrtc *n, const char *path, const ctl_cuda_folders *folders, char why[CTL_CUDA_WHY]);
void ctl_nvrtc_close(ctl_nvrtc *n);

typedef struct ctl_nvrtc_output { /* from the allocator; drop frees them */
    char *cubin, *ptx, *log;
    size_t ncubin, nptx, nlog; /* nptx and nlog count the NUL */
} ctl_nvrtc_output;

/* CTL_ERR_INPUT when the compiler refuses the source: out->log says why. Other failures leave a sentence in why. */
ctl_status ctl_nvrtc_compile(const ctl_nvrtc *n, const ctl_allocator *allocator, const char *name, const char *source,
                             const char *const *options, int noptions, ctl_nvrtc_output *out, char why[CTL_CUDA_WHY]);
void ctl_nvrtc_output_drop(const ctl_allocator *allocator, ctl_nvrtc_output *out);

#endif
