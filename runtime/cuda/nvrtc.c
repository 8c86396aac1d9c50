/* nvrtc: see nvrtc.h. */
#include "runtime/cuda/nvrtc.h"

#include <dlfcn.h>
#include <stdio.h>

/* It stays in the process when it is closed: it frees the state of its threads only when the process ends, and a leak
 * checker can name it only while it is there. */
enum { HOW = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE };

static void *load(const char *path) {
    static const char *const places[] = {"libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12",
                                         "/usr/local/cuda/lib64/libnvrtc.so"};
    if (path) return dlopen(path, HOW);
    void *library = NULL;
    for (size_t k = 0; k < CTL_COUNT(places) && !library; k++) library = dlopen(places[k], HOW);
    return library;
}

ctl_status ctl_nvrtc_open(ctl_nvrtc *n, const char *path, char why[CTL_NVRTC_WHY]) {
    *n = (ctl_nvrtc){.library = load(path)};
    if (!n->library) {
        if (path) snprintf(why, CTL_NVRTC_WHY, "%s cannot be loaded as CUDA's compiler", path);
        else
            snprintf(why, CTL_NVRTC_WHY, "CUDA's compiler (libnvrtc.so, of CUDA 12 or 13) is neither where the loader looks "
                                         "nor in /usr/local/cuda/lib64");
        return CTL_ERR_UNSUPPORTED;
    }
    int (*version)(int *, int *) = NULL;
    const struct {
        const char *name;
        void *at;
    } entries[] = {
        {"nvrtcVersion", &version},          {"nvrtcCreateProgram", &n->create}, {"nvrtcCompileProgram", &n->compile},
        {"nvrtcDestroyProgram", &n->destroy}, {"nvrtcGetProgramLogSize", &n->log_size}, {"nvrtcGetProgramLog", &n->log},
        {"nvrtcGetCUBINSize", &n->cubin_size}, {"nvrtcGetCUBIN", &n->cubin},     {"nvrtcGetPTXSize", &n->ptx_size},
        {"nvrtcGetPTX", &n->ptx},            {"nvrtcGetErrorString", &n->error},
    };
    for (size_t k = 0; k < CTL_COUNT(entries); k++) {
        void *entry = dlsym(n->library, entries[k].name);
        memcpy(entries[k].at, &entry, sizeof entry); /* POSIX: a function's address fits */
        if (entry) continue;
        snprintf(why, CTL_NVRTC_WHY, "CUDA's compiler has no %s: it is older than CUDA 11.2", entries[k].name);
        ctl_nvrtc_close(n);
        return CTL_ERR_UNSUPPORTED;
    }
    if (version(&n->major, &n->minor) == 0) return CTL_OK;
    snprintf(why, CTL_NVRTC_WHY, "CUDA's compiler does not tell its version");
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
                             const char *const *options, int noptions, ctl_nvrtc_output *out, char why[CTL_NVRTC_WHY]) {
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
    snprintf(why, CTL_NVRTC_WHY, "CUDA's compiler %d.%d says of %s: %s", n->major, n->minor, name,
             n->error(compiled ? compiled : error));
    ctl_nvrtc_output_drop(allocator, out);
    return CTL_ERR_UNSUPPORTED;
}
