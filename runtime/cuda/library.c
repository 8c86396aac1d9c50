/* library: see library.h. */
#include "runtime/cuda/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* They stay in the process when they are closed: the driver has threads, and what it does at the end of a thread or of the process, and
 * both other libraries keep state with it. */
enum { HOW = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE };

/* Whether a file's name says a later CUDA than the driver's: libnvrtc.so.13 and 12040. */
static bool is_newer(const char *name, int driver) {
    const char *number = strstr(name, ".so.");
    return driver > 0 && number && strtol(number + 4, NULL, 10) > driver / 1000;
}

/* folder: NULL is wherever the loader looks. */
static void *open_in(const ctl_cuda_library *library, const char *folder, int driver) {
    char path[4096];
    for (int newer = 0; newer < 2; newer++)
        for (const char *const *name = library->names; *name; name++) {
            if (is_newer(*name, driver) != newer) continue;
            const int n = folder ? snprintf(path, sizeof path, "%s/%s", folder, *name) : 0;
            void *handle = n < (int)sizeof path ? dlopen(folder ? path : *name, HOW) : NULL;
            if (handle) return handle;
        }
    return NULL;
}

static void *open_one(const ctl_cuda_library *library, const ctl_cuda_folders *folders) {
    const int driver = folders ? folders->driver : 0;
    void *handle = NULL;
    for (size_t f = 0; folders && f < folders->n && !handle; f++) handle = open_in(library, folders->at[f], driver);
    return handle ? handle : open_in(library, NULL, driver);
}

void *ctl_cuda_library_open(const ctl_cuda_library *library, const ctl_cuda_folders *folders,
                            const ctl_cuda_entry_point *entries, size_t n, char why[CTL_CUDA_WHY]) {
    void *handle = open_one(library, folders);
    if (!handle) {
        snprintf(why, CTL_CUDA_WHY, "%s %s%s", library->what, library->absent ? library->absent : "is not where the loader looks",
                 folders && folders->n ? ", nor in the folders that were named" : "");
        return NULL;
    }
    for (size_t k = 0; k < n; k++) {
        void *entry = dlsym(handle, entries[k].name);
        memcpy(entries[k].at, &entry, sizeof entry); /* POSIX: a function's address fits */
        if (entry) continue;
        snprintf(why, CTL_CUDA_WHY, "%s has no %s: it is older than %s", library->what, entries[k].name, library->oldest);
        dlclose(handle);
        return NULL;
    }
    return handle;
}
