/* shared_object: compiles a kernel source for the host (host.h) with the compiler that built the tests, and loads it. */
#ifndef CTL_TESTS_CUDA_SHARED_OBJECT_H
#define CTL_TESTS_CUDA_SHARED_OBJECT_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#define HOST_SANITIZE "-fsanitize=address -fno-omit-frame-pointer "
#else
#define HOST_SANITIZE ""
#endif

/* With the object of host_runtime.c, threads.h need not be compiled again, and nothing is looked for in libraries that the process
 * has loaded. */
#ifdef HOST_RUNTIME_OBJECT
#define HOST_THREADS "-DHOST_APART -nostdlib", "-x none " HOST_RUNTIME_OBJECT
#else
#define HOST_THREADS "", "-lm"
#endif

typedef struct shared_object {
    void *handle;
    char path[64]; /* of the source; the object's is path.so */
} shared_object;

/* NULL, or what went wrong. The files stay when compiling fails: their names are in the message. */
static inline const char *shared_object_open(shared_object *o, const char *const *texts, size_t n, const char *optimise) {
    static char why[512];
    snprintf(o->path, sizeof o->path, "/tmp/ctl_kernel_XXXXXX");
    int fd = mkstemp(o->path);
    if (fd < 0) return "no temporary file";
    FILE *f = fdopen(fd, "w");
    for (size_t k = 0; f && k < n; k++) fputs(texts[k], f);
    if (!f || fclose(f)) return "the temporary file cannot be written";
    static const char *const threads[] = {HOST_THREADS};
    char command[2048];
    snprintf(command, sizeof command,
             "%s -std=gnu17 %s -g1 -w -fPIC -shared -ffp-contract=off -fno-math-errno -fno-strict-aliasing " HOST_SANITIZE
             "-I%s -I%s/include %s -include tests/cuda/tensor.h -x c %s %s -o %s.so",
             HOST_CC, optimise, SOURCE_DIR, SOURCE_DIR, threads[0], o->path, threads[1], o->path);
    if (system(command) != 0) {
        snprintf(why, sizeof why, "the host's compiler refused %s", o->path);
        return why;
    }
    snprintf(command, sizeof command, "%s.so", o->path);
    o->handle = dlopen(command, RTLD_NOW | RTLD_LOCAL);
    unlink(command);
    if (!o->handle) {
        snprintf(why, sizeof why, "%s", dlerror());
        return why;
    }
    unlink(o->path);
    return NULL;
}
static inline void *shared_object_find(const shared_object *o, const char *name) { return dlsym(o->handle, name); }
static inline void shared_object_close(shared_object *o) {
    if (o->handle) dlclose(o->handle);
    o->handle = NULL;
}

#endif
