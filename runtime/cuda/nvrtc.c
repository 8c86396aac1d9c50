/* nvrtc: see nvrtc.h. */
#include "runtime/cuda/nvrtc.h"

#include <dlfcn.h>
#include <stdio.h>

static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "/usr/local/cuda/lib64/libnvrtc.so", NULL};
static const ctl_cuda_library usual = {names, "CUDA's compiler (libnvrtc.so, of CUDA 12 or 13)", "CUDA 11.2", NULL};

ctl_status ctl_nvrtc_open(ctl_nvrtc *n, const char *path, const ctl_cuda_folders *folders, char why[CTL_CUDA_WHY]) {
    *n = (ctl_nvrtc){0};
    int (*version)(int *, int *) = NULL;
    const ctl_cuda_entry_point entries[] = {
        {"nvrtcVersion", &version},
        {"nvrtcCreateProgram", &n->create},
        {"nvrtcCompileProgram", &n->compile},
        {"nvrtcDestroyProgram", &n->destroy},
        {"nvrtcGetProgramLogSize", &n->log_size},
        {"nvrtcGetProgramLog", &n->log},
        {"nvrtcGetCUBINSize", &n->cubin_size},
        {"nvrtcGetCUBIN", &n->cubin},
        {"nvrtcGetPTXSize", &n->ptx_size},
        {"nvrtcGetPTX", &n->ptx},
        {"nvrtcGetErrorString", &n->error},
    };
    const char *const one[] = {path, NULL};
    const ctl_cuda_library named = {one, path, usual.oldest, "cannot be loaded as CUDA's compiler"};
    n->library = ctl_cuda_library_open(path ? &named : &usual, path ? NULL : folders, entries, CTL_COUNT(entries), why);
    if (!n->library) return CTL_ERR_UNSUPPORTED;
    if (version(&n->major, &n->minor) == 0) return CTL_OK;
    snprintf(why, CTL_CUDA_WHY, "CUDA's compiler does not tell its version");
    ctl_nvrtc_close(n);
    return CTL_ERR_UNSUPPORTED;
}

void ctl_nvrtc_close(ctl_nvrtc *n) {
    if (n->library) dlclose(n->library);
    *n = (ctl_nvrtc){0};
}

void ctl_nvrtc_output_drop(const ctl_allocator *allocator, ctl_nvrtc_output *out) {
    ctl_free(allocator, out->cubin, out->ncubin);
    ctl_free(allocator, out->ptx, out->nptx);
    ctl_free(allocator, out->log, out->nlog);
    *out = (ctl_nvrtc_output){0};
}

/* One of the results: its size, room, its bytes. 0, an error of the compiler's, or -1: no memory. */
static int fetch(void *program, int (*size_of)(void *, size_t *), int (*get)(void *, char *), const ctl_allocator *allocator,
                 char **out, size_t *n) {
    size_t size = 0;
    int error = size_of(program, &size);
    if (error || size == 0) return error;
    char *bytes = ctl_alloc(allocator, size);
    if (!bytes) return -1;
    *out = bytes, *n = size;
    return get(program, bytes);
}

ctl_status ctl_nvrtc_compile(const ctl_nvrtc *n, const ctl_allocator *allocator, const char *name, const char *source,
                             const char *const *options, int noptions, ctl_nvrtc_output *out, char why[CTL_CUDA_WHY]) {
    enum { REFUSED = 6 }; /* NVRTC_ERROR_COMPILATION */
    void *program = NULL;
    *out = (ctl_nvrtc_output){0};
    why[0] = 0;
    int error = n->create(&program, source, name, 0, NULL, NULL);
    const int compiled = error ? error : n->compile(program, noptions, options);
    if (!error) error = fetch(program, n->log_size, n->log, allocator, &out->log, &out->nlog);
    if (!error && !compiled) error = fetch(program, n->cubin_size, n->cubin, allocator, &out->cubin, &out->ncubin);
    if (!error && !compiled) error = fetch(program, n->ptx_size, n->ptx, allocator, &out->ptx, &out->nptx);
    if (program) n->destroy(&program);
    if (error < 0) return ctl_nvrtc_output_drop(allocator, out), CTL_ERR_MEMORY;
    if (!error && !compiled) return CTL_OK;
    if (compiled == REFUSED && !error) return CTL_ERR_INPUT;
    snprintf(why, CTL_CUDA_WHY, "CUDA's compiler %d.%d says of %s: %s", n->major, n->minor, name,
             n->error(compiled ? compiled : error));
    ctl_nvrtc_output_drop(allocator, out);
    return CTL_ERR_UNSUPPORTED;
}
