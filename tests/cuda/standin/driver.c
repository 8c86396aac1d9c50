/* driver: the driver's stand-in. A stream is a list of work that is done when it is waited for, in order; what a piece of work
 * takes is copied when it is given, but for memory that was allocated by cuMemHostAlloc, which is read when the work is done. A
 * graph is such a list, recorded by value and replayed: whatever was baked into it stays. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/cuda/standin/driver.h"

standin_control standin = {.fail_at = -1, .fail_with = 999, .memory = (size_t)1 << 30, .version = 130100, .driver = 13000};

/* Each thread has a stack of contexts, the topmost is current: another's is nobody's here. */
enum { MOST_CONTEXTS = 8 };
static int context;
static _Thread_local struct {
    void *at[MOST_CONTEXTS];
    int n;
} contexts;
static void *current(void) { return contexts.n ? contexts.at[contexts.n - 1] : NULL; }
/* What a device does for a thread it does in the thread's current context; cuBLASLt, on the runtime's side, too. */
static int is_of_a_context(const char *name) {
    static const char *const others[] = {"cuInit", "cuDriver", "cuDevice", "cuCtx", "cublasLtMatmulDesc", "cublasLtMatrixLayout",
                                         "cublasLtMatmulPreference"};
    for (size_t k = 0; k < sizeof others / sizeof *others; k++)
        if (strncmp(name, others[k], strlen(others[k])) == 0) return 0;
    return 1;
}

static int refused(const char *name);
int standin_call(const char *name) {
    if (is_of_a_context(name) && current() != &context) {
        standin_fault("%s where the device's context is not current", name);
        return ERROR_CONTEXT;
    }
    if (standin.refuse && strcmp(standin.refuse, name) == 0 && refused(name)) return standin.fail_with;
    if (standin.calls++ != standin.fail_at) return 0;
    standin.failed = name;
    return standin.fail_with;
}
int standin_fault(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    if (!standin.fault[0]) vsnprintf(standin.fault, sizeof standin.fault, fmt, args);
    va_end(args);
    return ERROR_KERNEL;
}
/* ---- errors, the device ---- */
ENTRY(cuGetErrorName, int error, const char **name) {
    *name = error == ERROR_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : error == 100 ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR_OF_STAND_IN";
    return 0;
}
ENTRY(cuGetErrorString, int error, const char **text) {
    *text = error == ERROR_MEMORY ? "out of memory" : standin.fault[0] ? standin.fault : "the stand-in was told to fail";
    return 0;
}
ENTRY(cuInit, unsigned flags) {
    BEGIN("cuInit");
    return flags ? ERROR_INVALID : 0;
}
ENTRY(cuDriverGetVersion, int *version) {
    BEGIN("cuDriverGetVersion");
    *version = standin.driver;
    return 0;
}
ENTRY(cuDeviceGetCount, int *count) {
    BEGIN("cuDeviceGetCount");
    *count = 1;
    return 0;
}
ENTRY(cuDeviceGet, int *device, int ordinal) {
    BEGIN("cuDeviceGet");
    *device = 7;
    return ordinal ? ERROR_INVALID : 0;
}
ENTRY(cuDeviceGetName, char *name, int size, int device) {
    BEGIN("cuDeviceGetName");
    snprintf(name, (size_t)size, "stand-in");
    return device == 7 ? 0 : ERROR_INVALID;
}
ENTRY(cuDeviceGetAttribute, int *value, int attribute, int device) {
    BEGIN("cuDeviceGetAttribute");
    *value = attribute == 75 ? 8 : attribute == 76 ? 6 : attribute == 16 ? 3 : attribute == 97 ? STANDIN_SHARED : -1;
    return device == 7 && *value >= 0 ? 0 : ERROR_INVALID;
}
ENTRY(cuDevicePrimaryCtxRetain, void **out, int device) {
    BEGIN("cuDevicePrimaryCtxRetain");
    if (device != 7) return ERROR_INVALID;
    *out = &context, standin.live++;
    return 0;
}
ENTRY(cuDevicePrimaryCtxRelease_v2, int device) {
    standin.live--;
    BEGIN("cuDevicePrimaryCtxRelease");
    return device == 7 ? 0 : ERROR_INVALID;
}
/* Any address may be a context: of a host's own. */
ENTRY(cuCtxPushCurrent_v2, void *given) {
    BEGIN("cuCtxPushCurrent");
    if (!given || contexts.n == MOST_CONTEXTS) return ERROR_INVALID;
    contexts.at[contexts.n++] = given;
    return 0;
}
ENTRY(cuCtxPopCurrent_v2, void **out) {
    if (contexts.n == 0) return ERROR_CONTEXT;
    *out = contexts.at[--contexts.n];
    BEGIN("cuCtxPopCurrent"); /* what it may tell is of earlier work */
    return 0;
}
ENTRY(cuCtxGetCurrent, void **out) {
    *out = current();
    return 0;
}
ENTRY(cuCtxSetCurrent, void *given) {
    BEGIN("cuCtxSetCurrent");
    if (contexts.n == 0) contexts.n = 1;
    contexts.at[contexts.n - 1] = given;
    return 0;
}

/* ---- memory ---- */
typedef struct block {
    struct block *next;
    char *at;
    size_t bytes;
    int is_host;
} block;
static block *blocks;

/* The last large block that was freed is kept for the next of its size: touching pages anew takes longer than a test's steps. A
 * sanitizer had better see it freed. */
static struct {
    char *at;
    size_t bytes;
} spare;
static char *take_block(size_t bytes) {
    char *at = spare.bytes == bytes ? spare.at : aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (spare.at == at) spare.at = NULL, spare.bytes = 0;
    return at;
}
static void give_block(char *at, size_t bytes) {
#ifndef __SANITIZE_ADDRESS__
    if (bytes >= 1 << 20) {
        char *before = spare.at;
        spare.at = at, spare.bytes = bytes, at = before;
    }
#else
    (void)bytes;
#endif
    free(at);
}

static block *block_of(const void *at, size_t bytes, int is_host) {
    for (block *b = blocks; b; b = b->next)
        if (b->is_host == is_host && (const char *)at >= b->at && bytes <= b->bytes &&
            (size_t)((const char *)at - b->at) <= b->bytes - bytes)
            return b;
    return NULL;
}
int standin_is_device(const void *at, size_t bytes) { return block_of(at, bytes, 0) != NULL; }

static int allocate(void **out, size_t bytes, int is_host) {
    if (standin_capturing()) return ERROR_CAPTURE;
    if (bytes == 0) return ERROR_INVALID;
    if (!is_host && bytes > standin.memory - standin.held) return ERROR_MEMORY;
    block *b = malloc(sizeof *b);
    char *at = take_block(bytes);
    if (!b || !at) return ERROR_MEMORY;
    memset(at, 0xff, bytes); /* NaN, and ids that no table has */
    *b = (block){blocks, at, bytes, is_host};
    blocks = b, *out = at, standin.live++;
    if (!is_host) standin.held += bytes;
    if (standin.held > standin.most) standin.most = standin.held;
    return 0;
}
static int release(void *at, int is_host) {
    for (block **b = &blocks; *b; b = &(*b)->next) {
        block *found = *b;
        if (found->at != at || found->is_host != is_host) continue;
        *b = found->next;
        if (!is_host) standin.held -= found->bytes;
        give_block(found->at, found->bytes);
        free(found);
        standin.live--;
        return 0;
    }
    return standin_fault("memory is freed that was not allocated"), ERROR_INVALID;
}
ENTRY(cuMemGetInfo_v2, size_t *unused, size_t *all) {
    BEGIN("cuMemGetInfo");
    *unused = standin.memory - standin.held, *all = standin.memory;
    return 0;
}
ENTRY(cuMemAlloc_v2, uint64_t *at, size_t bytes) {
    void *got = NULL;
    BEGIN("cuMemAlloc");
    const int error = allocate(&got, bytes, 0);
    *at = (uintptr_t)got;
    return error;
}
ENTRY(cuMemFree_v2, uint64_t at) {
    const int error = release((void *)(uintptr_t)at, 0);
    BEGIN("cuMemFree");
    return error;
}
ENTRY(cuMemHostAlloc, void **at, size_t bytes, unsigned flags) {
    BEGIN("cuMemHostAlloc");
    return flags ? ERROR_INVALID : allocate(at, bytes, 1);
}
ENTRY(cuMemFreeHost, void *at) {
    const int error = release(at, 1);
    BEGIN("cuMemFreeHost");
    return error;
}

/* ---- streams and graphs ---- */
typedef struct work {
    int (*run)(const void *payload);
    void *payload;
    size_t bytes;
} work;
typedef struct list {
    work *at;
    size_t n;
} list;
typedef struct stream {
    list todo;
    list *graph; /* under capture */
    int broken;  /* the capture is, by a call that it does not bear */
    int error;   /* that stays */
} stream;
static stream *capturing;

int standin_capturing(void) {
    if (capturing) capturing->broken = 1, standin_fault("a call under capture that a capture does not bear");
    return capturing != NULL;
}
int standin_records(void) { return capturing != NULL; }
static int refused(const char *name) { return capturing || strstr(name, "Capture") || strstr(name, "Graph"); }
static int push(list *l, int (*run)(const void *), const void *payload, size_t bytes) {
    work *grown = realloc(l->at, (l->n + 1) * sizeof *grown);
    if (!grown) return ERROR_MEMORY;
    l->at = grown;
    work w = {run, malloc(bytes + 1), bytes};
    if (!w.payload) return ERROR_MEMORY;
    memcpy(w.payload, payload, bytes);
    l->at[l->n++] = w;
    return 0;
}
static void clear(list *l) {
    for (size_t k = 0; k < l->n; k++) free(l->at[k].payload);
    free(l->at);
    *l = (list){0};
}
int standin_enqueue(void *given, int (*run)(const void *payload), const void *payload, size_t bytes) {
    stream *s = given;
    if (!s) return standin_fault("work for the default stream"), ERROR_INVALID;
    return push(s->graph ? s->graph : &s->todo, run, payload, bytes);
}
ENTRY(cuStreamCreate, void **out, unsigned flags) {
    BEGIN("cuStreamCreate");
    stream *s = calloc(1, sizeof *s);
    if (!s || flags != 1) return ERROR_INVALID;
    *out = s, standin.live++;
    return 0;
}
ENTRY(cuStreamSynchronize, void *given) {
    stream *s = given;
    BEGIN("cuStreamSynchronize");
    if (standin_capturing()) return ERROR_CAPTURE;
    standin.waits++;
    for (size_t k = 0; k < s->todo.n && !s->error; k++) s->error = s->todo.at[k].run(s->todo.at[k].payload);
    clear(&s->todo);
    return s->error;
}
ENTRY(cuStreamDestroy_v2, void *given) {
    stream *s = given;
    clear(&s->todo);
    if (s->graph) clear(s->graph), free(s->graph);
    if (capturing == s) capturing = NULL;
    free(s);
    standin.live--;
    BEGIN("cuStreamDestroy");
    return 0;
}
ENTRY(cuStreamBeginCapture_v2, void *given, int mode) {
    stream *s = given;
    BEGIN("cuStreamBeginCapture");
    if (mode != 1 || capturing) return ERROR_INVALID;
    s->graph = calloc(1, sizeof *s->graph);
    if (!s->graph) return ERROR_MEMORY;
    capturing = s, s->broken = 0, standin.captures++;
    return 0;
}
ENTRY(cuStreamEndCapture, void *given, void **graph) {
    stream *s = given;
    list *recorded = s->graph;
    s->graph = NULL, capturing = NULL;
    const int error = standin_call("cuStreamEndCapture");
    if (error || s->broken) {
        if (recorded) clear(recorded), free(recorded);
        return error ? error : ERROR_CAPTURE;
    }
    *graph = recorded, standin.live++;
    return 0;
}
ENTRY(cuGraphInstantiateWithFlags, void **out, void *graph, unsigned long long flags) {
    BEGIN("cuGraphInstantiate");
    list *from = graph, *to = calloc(1, sizeof *to);
    if (!to || flags) return ERROR_INVALID;
    for (size_t k = 0; k < from->n; k++)
        if (push(to, from->at[k].run, from->at[k].payload, from->at[k].bytes)) return ERROR_MEMORY;
    *out = to, standin.live++;
    return 0;
}
ENTRY(cuGraphLaunch, void *executable, void *given) {
    BEGIN("cuGraphLaunch");
    const list *from = executable;
    standin.graph_launches++;
    for (size_t k = 0; k < from->n; k++) {
        const int error = standin_enqueue(given, from->at[k].run, from->at[k].payload, from->at[k].bytes);
        if (error) return error;
    }
    return 0;
}
static int destroy(list *l) {
    clear(l);
    free(l);
    standin.live--;
    return 0;
}
ENTRY(cuGraphDestroy, void *graph) {
    destroy(graph);
    BEGIN("cuGraphDestroy");
    return 0;
}
ENTRY(cuGraphExecDestroy, void *executable) {
    destroy(executable);
    BEGIN("cuGraphExecDestroy");
    return 0;
}

/* ---- events: a stream's work notes the time when it comes to one ---- */
typedef struct event {
    struct event *next;
    double at; /* milliseconds; 0: not come to */
    int destroyed;
} event;
static event *events; /* one that is destroyed may yet be come to, so all stay */
static int run_event(const void *payload) {
    event *e;
    struct timespec now;
    memcpy(&e, payload, sizeof e);
    clock_gettime(CLOCK_MONOTONIC, &now);
    e->at = 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
    return 0;
}
ENTRY(cuEventCreate, void **out, unsigned flags) {
    BEGIN("cuEventCreate");
    event *e = flags ? NULL : calloc(1, sizeof *e);
    if (!e) return ERROR_INVALID;
    e->next = events, events = e;
    *out = e, standin.live++;
    return 0;
}
ENTRY(cuEventRecord, void *given, void *stream_of) {
    event *e = given;
    BEGIN("cuEventRecord");
    if (e->destroyed) return standin_fault("an event that is destroyed"), ERROR_INVALID;
    e->at = 0;
    return standin_enqueue(stream_of, run_event, &e, sizeof e);
}
ENTRY(cuEventElapsedTime, float *milliseconds, void *first, void *last) {
    const event *a = first, *b = last;
    BEGIN("cuEventElapsedTime");
    if (a->at == 0 || b->at == 0) return standin_fault("the time between events that were not come to"), ERROR_INVALID;
    *milliseconds = (float)(b->at - a->at);
    return 0;
}
ENTRY(cuEventDestroy_v2, void *given) {
    event *e = given;
    if (e->destroyed) standin_fault("an event is destroyed twice");
    e->destroyed = 1;
    standin.live--;
    BEGIN("cuEventDestroy");
    return 0;
}

/* ---- copies ---- */
typedef struct copying {
    void *to;
    const void *from; /* NULL: the bytes follow */
    size_t bytes;
} copying;
static int run_copy(const void *payload) {
    copying c;
    memcpy(&c, payload, sizeof c);
    if (c.bytes) memcpy(c.to, c.from ? c.from : (const char *)payload + sizeof c, c.bytes);
    return 0;
}
typedef struct filling {
    void *to;
    size_t bytes;
    int byte;
} filling;
static int run_fill(const void *payload) {
    filling f;
    memcpy(&f, payload, sizeof f);
    memset(f.to, f.byte, f.bytes);
    return 0;
}
ENTRY(cuMemcpyHtoDAsync_v2, uint64_t to, const void *from, size_t bytes, void *given) {
    BEGIN("cuMemcpyHtoDAsync");
    standin.copies++;
    void *at = (void *)(uintptr_t)to;
    if (!block_of(at, bytes, 0)) return standin_fault("%zu bytes to what is not the device's", bytes), ERROR_INVALID;
    if (block_of(from, bytes, 1)) {
        const copying c = {at, from, bytes};
        return standin_enqueue(given, run_copy, &c, sizeof c);
    }
    char *payload = malloc(sizeof(copying) + bytes);
    if (!payload) return ERROR_MEMORY;
    const copying c = {at, NULL, bytes};
    memcpy(payload, &c, sizeof c);
    if (bytes) memcpy(payload + sizeof c, from, bytes);
    const int error = standin_enqueue(given, run_copy, payload, sizeof c + bytes);
    free(payload);
    return error;
}
ENTRY(cuMemcpyDtoHAsync_v2, void *to, uint64_t from, size_t bytes, void *given) {
    BEGIN("cuMemcpyDtoHAsync");
    standin.copies++;
    const void *at = (const void *)(uintptr_t)from;
    if (!block_of(at, bytes, 0)) return standin_fault("%zu bytes from what is not the device's", bytes), ERROR_INVALID;
    const copying c = {to, at, bytes};
    return standin_enqueue(given, run_copy, &c, sizeof c);
}
/* CUDA_MEMCPY2D, between the host's memory and the device's. */
typedef struct rows_copy {
    size_t from_x, from_y;
    int from_type;
    const char *from_host;
    uint64_t from_device;
    void *from_array;
    size_t from_pitch, to_x, to_y;
    int to_type;
    char *to_host;
    uint64_t to_device;
    void *to_array;
    size_t to_pitch, width, height;
} rows_copy;
static int run_rows(const void *payload) {
    rows_copy c;
    memcpy(&c, payload, sizeof c);
    const char *from = c.from_type == 1 ? (const char *)payload + sizeof c : (const char *)(uintptr_t)c.from_device;
    char *to = c.to_type == 1 ? c.to_host : (char *)(uintptr_t)c.to_device;
    for (size_t r = 0; r < c.height; r++) memcpy(to + r * c.to_pitch, from + r * c.from_pitch, c.width);
    return 0;
}
ENTRY(cuMemcpy2DAsync_v2, const rows_copy *c, void *given) {
    BEGIN("cuMemcpy2DAsync");
    const size_t most = 0x7fffffff; /* a device's largest pitch */
    const int up = c->from_type == 1 && c->to_type == 2, down = c->from_type == 2 && c->to_type == 1;
    if ((!up && !down) || c->from_x || c->from_y || c->to_x || c->to_y || !c->width || !c->height || c->width > c->from_pitch ||
        c->width > c->to_pitch || c->from_pitch > most || c->to_pitch > most)
        return ERROR_INVALID;
    const void *at = (const void *)(uintptr_t)(up ? c->to_device : c->from_device);
    const size_t bytes = (c->height - 1) * (up ? c->to_pitch : c->from_pitch) + c->width;
    if (!block_of(at, bytes, 0)) return standin_fault("rows of %zu bytes in what is not the device's", bytes), ERROR_INVALID;
    const size_t follow = up ? (c->height - 1) * c->from_pitch + c->width : 0;
    char *payload = malloc(sizeof *c + follow);
    if (!payload) return ERROR_MEMORY;
    memcpy(payload, c, sizeof *c);
    if (follow) memcpy(payload + sizeof *c, c->from_host, follow);
    const int error = standin_enqueue(given, run_rows, payload, sizeof *c + follow);
    free(payload);
    standin.row_copies++;
    return error;
}
ENTRY(cuMemsetD8Async, uint64_t to, unsigned char byte, size_t bytes, void *given) {
    BEGIN("cuMemsetD8Async");
    const filling f = {(void *)(uintptr_t)to, bytes, byte};
    if (!block_of(f.to, bytes, 0)) return standin_fault("%zu bytes filled that are not the device's", bytes), ERROR_INVALID;
    return standin_enqueue(given, run_fill, &f, sizeof f);
}

__attribute__((destructor)) static void drop_spare(void) { free(spare.at); }
