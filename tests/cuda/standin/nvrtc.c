/* nvrtc: the stand-in of CUDA's compiler: a source becomes a shared object by the host's compiler and tests/cuda/host.h. Its
 * version is a hash of all that an object depends on beside the source, so that ctlc's cache of machine code serves it too. Calls
 * may come from several threads. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/cuda/standin/standin.h"

#define ENTRY(type, name, ...)                                                                               \
    type name(__VA_ARGS__);                                                                                  \
    type name(__VA_ARGS__)

#ifdef __SANITIZE_ADDRESS__
#define SANITIZE " -fsanitize=address -fno-omit-frame-pointer"
#else
#define SANITIZE ""
#endif
/* What an object needs of libraries, the process has loaded: looking for it takes the linker longer than the rest. */
/* Watched by tests/cuda/watch_runtime.c where the environment's CTL_CUDA_WATCH asks for it ("races" or "accesses"). */
static const char *const watched = " -fsanitize=thread -g -DHOST_WATCH -DHOST_LINES";
static int is_watched(void) { return getenv("CTL_CUDA_WATCH") != NULL; }
static const char *const command =
    HOST_CC " -std=gnu17 -g0 -w -fPIC -shared -nostdlib -ffp-contract=off -fno-math-errno -fno-strict-aliasing" SANITIZE " -I" SOURCE_DIR
            " -I" SOURCE_DIR "/include -DHOST_APART -include tests/cuda/tensor.h -x c";

typedef struct program {
    char *source, *object;
    size_t bytes;
} program;

static char *read_file(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    char *text = NULL;
    if (f && fseek(f, 0, SEEK_END) == 0) {
        *n = (size_t)ftell(f);
        rewind(f);
        text = malloc(*n + 1);
        if (text && fread(text, 1, *n, f) != *n) free(text), text = NULL;
    }
    if (f) fclose(f);
    return text;
}

ENTRY(int, nvrtcVersion, int *major, int *minor) {
    static const char *const files[] = {"tests/cuda/standin/nvrtc.c", "tests/cuda/host.h", "tests/cuda/threads.h",
                                        "tests/cuda/tensor.h", "tests/cuda/fibers.h", "tests/cuda/launch.h",
                                        "tests/cuda/watch.h", "tests/cuda/races.h", "tests/cuda/accesses.h", "tests/cuda/sites.h",
                                        "tests/cuda/watch_runtime.c"};
    uint32_t h = 2166136261u;
    for (const char *c = command; *c; c++) h = (h ^ (unsigned char)*c) * 16777619u;
    for (const char *c = watched; *c && is_watched(); c++) h = (h ^ (unsigned char)*c) * 16777619u;
    for (size_t k = 0; k < sizeof files / sizeof *files; k++) {
        char path[1024];
        size_t n = 0;
        snprintf(path, sizeof path, "%s/%s", SOURCE_DIR, files[k]);
        char *text = read_file(path, &n);
        if (!text) return 11;
        for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)text[i]) * 16777619u;
        free(text);
    }
    *major = 0, *minor = (int)(h & 0x7fffffff);
    return 0;
}
ENTRY(int, nvrtcCreateProgram, void **out, const char *source, const char *name, int n, const char *const *headers,
      const char *const *names) {
    (void)name, (void)n, (void)headers, (void)names;
    program *p = calloc(1, sizeof *p);
    if (p) p->source = strdup(source);
    *out = p;
    return p && p->source ? 0 : 1;
}
ENTRY(int, nvrtcCompileProgram, void *given, int n, const char *const *options) {
    program *p = given;
    char path[] = "/tmp/ctl_nvrtc_XXXXXX", line[2048], object[64];
    const int fd = mkstemp(path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f || n < 1 || strcmp(options[0], "--gpu-architecture=sm_86") != 0) return 5;
    const int written = fputs(p->source, f) >= 0;
    if (fclose(f) || !written) return 1;
    snprintf(object, sizeof object, "%s.so", path);
    /* What is written by hand has loops that are worth it; of row programs there are many, which run for a moment. */
    const char *level = strstr(p->source, "KERNEL(attend_") || strstr(p->source, "KERNEL(task_") ? "-O1" : "-O0";
    char watch[160] = "";
    if (is_watched()) snprintf(watch, sizeof watch, "%s '-DHOST_SOURCE=\"%s\"'", watched, path), level = "-O1";
    snprintf(line, sizeof line, "%s %s%s %s -x none %s -o %s", command, level, watch, path,
             is_watched() ? HOST_WATCH_OBJECT : HOST_RUNTIME_OBJECT, object);
    const int failed = system(line) != 0;
    size_t size = 0;
    char *bytes = failed ? NULL : read_file(object, &size);
    unlink(object);
    if (!failed) unlink(path); /* else it stays, to be looked at */
    if (!bytes) return 6;
    const uint64_t head[2] = {size, standin_hash(bytes, size)};
    p->bytes = size + sizeof head, p->object = malloc(p->bytes);
    if (p->object) memcpy(p->object, head, sizeof head), memcpy(p->object + sizeof head, bytes, size);
    free(bytes);
    return p->object ? 0 : 1;
}
ENTRY(int, nvrtcDestroyProgram, void **given) {
    program *p = *given;
    free(p->source), free(p->object), free(p);
    *given = NULL;
    return 0;
}
static int size_of_text(size_t *size, const char *text) { return *size = strlen(text) + 1, 0; }
ENTRY(int, nvrtcGetProgramLogSize, void *p, size_t *size) { return (void)p, size_of_text(size, "by the host's compiler"); }
ENTRY(int, nvrtcGetProgramLog, void *p, char *log) { return (void)p, strcpy(log, "by the host's compiler"), 0; }
ENTRY(int, nvrtcGetCUBINSize, void *p, size_t *size) { return *size = ((program *)p)->bytes, 0; }
ENTRY(int, nvrtcGetCUBIN, void *p, char *out) { return memcpy(out, ((program *)p)->object, ((program *)p)->bytes), 0; }
ENTRY(int, nvrtcGetPTXSize, void *p, size_t *size) { return (void)p, size_of_text(size, "none"); }
ENTRY(int, nvrtcGetPTX, void *p, char *out) { return (void)p, strcpy(out, "none"), 0; }
ENTRY(const char *, nvrtcGetErrorString, int code) { return code == 5 ? "for sm_86 alone" : code == 6 ? "refused" : "no memory"; }
