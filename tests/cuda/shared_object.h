/* shared_object: compiles a kernel source for the host (host.h) with the compiler that built the tests, and
 * loads it. One that is watched fails a launch in which threads race (races.h). */
#ifndef CTL_TESTS_CUDA_SHARED_OBJECT_H
#define CTL_TESTS_CUDA_SHARED_OBJECT_H

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdbool.h>
#include <stdint.h>
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

/* Watched, with the object of watch_runtime.c, which has what -fsanitize=thread calls: its own library is not
 * linked. */
#ifdef HOST_WATCH_OBJECT
#define HOST_WATCHED                                                                                         \
    "-DHOST_APART -DHOST_WATCH -nostdlib -fsanitize=thread", "-x none " HOST_WATCH_OBJECT " -lm"
#else
#define HOST_WATCHED "-DHOST_NO_WATCH_IS_BUILT", ""
#endif

typedef enum shared_object_watch {
    UNWATCHED,
    WATCHED,
    WATCHED_LINES /* and the lines of the kernel are told from those of its inline functions, with all of
                     these */
} shared_object_watch;
typedef struct shared_object {
    void *handle;
    shared_object_watch watched; /* the caller's, before it is opened */
    int file;                    /* watched: the object, which has no name any more */
    char path[64];               /* of the source; the object's is path.so */
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
    static const char *const unwatched[] = {HOST_THREADS, HOST_SANITIZE}, *const watched[] = {HOST_WATCHED,
                                                                                              ""};
    const char *const *threads = o->watched ? watched : unwatched;
    char command[2048];
    char watch[128] = "-g1";
    if (o->watched)
        snprintf(watch, sizeof watch, "%s '-DHOST_SOURCE=\"%s\"'", o->watched == WATCHED_LINES ? "-g -DHOST_LINES" : "-g1", o->path);
    snprintf(command, sizeof command,
             "%s -std=gnu17 %s %s -w -fPIC -shared -ffp-contract=off -fno-math-errno -fno-strict-aliasing %s "
             "-I%s -I%s/include %s -include tests/cuda/tensor.h -x c %s %s -o %s.so",
             HOST_CC, optimise, watch, threads[2], SOURCE_DIR, SOURCE_DIR, threads[0], o->path, threads[1], o->path);
    if (system(command) != 0) {
        snprintf(why, sizeof why, "the host's compiler refused %s", o->path);
        return why;
    }
    snprintf(command, sizeof command, "%s.so", o->path);
    o->handle = dlopen(command, RTLD_NOW | RTLD_LOCAL);
    o->file = o->watched ? open(command, O_RDONLY) : -1;
    unlink(command);
    if (!o->handle) {
        snprintf(why, sizeof why, "%s", dlerror());
        return why;
    }
    unlink(o->path);
    int *file = o->watched ? dlsym(o->handle, "host_watch_object") : NULL;
    if (o->watched && !file) return "nothing watches";
    if (file) *file = o->file;
    return NULL;
}
static inline void *shared_object_find(const shared_object *o, const char *name) { return dlsym(o->handle, name); }
static inline void shared_object_close(shared_object *o) {
    void (*forget)(void) =
        (void (*)(void))(uintptr_t)(o->handle && o->watched ? dlsym(o->handle, "host_watch_forget") : NULL);
    if (forget) forget();
    if (o->handle) dlclose(o->handle);
    if (o->watched) close(o->file);
    o->handle = NULL;
}

#endif
