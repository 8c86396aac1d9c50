/* library: see library.h. */
#include "runtime/cuda/library.h"

#include <dlfcn.h>
#include <stdio.h>

/* They stay in the process when they are closed: the driver has threads, and what it does at the end of a thread or of the process, and
 * both other libraries keep state with it. */
enum { HOW = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE };

static void *open_one(const ctl_cuda_library *library, const ctl_cuda_folders *folders) {
    char path[4096];
    for (size_t f = 0; folders && f < folders->n; f++)
        for (const char *const *name = library->names; *name; name++) {
            const int n = snprintf(path, sizeof path, "%s/%s", folders->at[f], *name);
            void *handle = n < (int)sizeof path ? dlopen(path, HOW) : NULL;
            if (handle) return handle;
        }
    for (const char *const *name = library->names; *name; name++) {
        void *handle = dlopen(*name, HOW);
        if (handle) return handle;
    }
    return NULL;
}

void *ctl_cuda_library_open(const ctl_cuda_library *library, const ctl_cuda_folders *folders,
                            const ctl_cuda_entry_point *entries, size_t n, char why[CTL_CUDA_WHY]) {
    void *handle = open_one(library, folders);
    if (!handle) {
        snprintf(why, CTL_CUDA_WHY, "%s is not where the loader looks%s", library->what,
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
