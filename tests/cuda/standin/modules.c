/* modules: the driver's stand-in for machine code: shared objects that the compiler's stand-in made, and launches of their kernels,
 * in turn under every order of threads, with copies that land at once and with such as land when they are waited for. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/cuda/launch.h"
#include "tests/cuda/standin/driver.h"

/* ---- modules ---- */
/* Loaded objects stay, so that a session that is opened again has them: the same image is the same object. */
typedef struct module {
    struct module *next;
    void *handle;
    size_t bytes;
    uint64_t hash;
} module;
static module *modules;
typedef struct function {
    struct function *next;
    void *module;
    char name[64];
    void (*kernel)(const void *);
    host_launch_fn *launch;
    int bound, shared; /* shared: bytes that it may ask for */
    int turn;          /* the way in which it is launched next */
    size_t bytes;
} function;
static function *functions;

/* When the library is closed nobody has these any more. */
__attribute__((destructor)) static void drop_modules(void) {
    while (functions) {
        function *f = functions;
        functions = f->next;
        free(f);
    }
    while (modules) {
        module *m = modules;
        modules = m->next;
        free(m);
    }
}

_Static_assert(HOST_ORDERS * HOST_LANDINGS == STANDIN_WAYS, "every order with every time");
enum { MOST_THREADS = 1024, STACK = 256 * 1024, GUARD = 4096 };
static char *stacks[MOST_THREADS];
static char *stack_of(int thread) {
    if (!stacks[thread]) {
        char *held = mmap(NULL, STACK + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (held == MAP_FAILED || mprotect(held, GUARD, PROT_NONE)) return NULL;
        stacks[thread] = held + GUARD;
    }
    return stacks[thread];
}

uint64_t standin_hash(const void *at, size_t n) {
    uint64_t h = 1469598103934665603u;
    for (size_t k = 0; k < n; k++) h = (h ^ ((const unsigned char *)at)[k]) * 1099511628211u;
    return h;
}
/* An image is its size and its hash, as the compiler's stand-in writes them, then a shared object. */
ENTRY(cuModuleLoadData, void **out, const void *image) {
    BEGIN("cuModuleLoadData");
    uint64_t size, hash;
    if (standin_capturing()) return ERROR_CAPTURE;
    memcpy(&size, image, sizeof size);
    memcpy(&hash, (const char *)image + sizeof size, sizeof hash);
    const unsigned char *object = (const unsigned char *)image + sizeof size + sizeof hash;
    if (size < 16 || size > (64u << 20) || memcmp(object, "\177ELF", 4) != 0) return ERROR_IMAGE;
    module *m = modules;
    while (m && (m->hash != hash || m->bytes != size)) m = m->next;
    if (!m) {
        char path[] = "/tmp/ctl_standin_XXXXXX";
        const int fd = mkstemp(path);
        m = calloc(1, sizeof *m);
        if (fd < 0 || !m || write(fd, object, size) != (ssize_t)size || close(fd)) return ERROR_IMAGE;
        *m = (module){modules, dlopen(path, RTLD_NOW | RTLD_LOCAL), size, hash};
        int *watched = m->handle ? dlsym(m->handle, "host_watch_object") : NULL;
        if (watched) *watched = open(path, O_RDONLY);
        unlink(path);
        if (!m->handle) return standin_fault("%s", dlerror()), ERROR_IMAGE;
        char *(**hook)(int) = dlsym(m->handle, "host_stack_of");
        if (hook) *hook = stack_of;
        modules = m;
    }
    *out = m, standin.live++;
    return 0;
}
ENTRY(cuModuleUnload, void *given) {
    standin.live--;
    BEGIN("cuModuleUnload");
    return given ? 0 : ERROR_INVALID;
}
ENTRY(cuModuleGetFunction, void **out, void *given, const char *name) {
    BEGIN("cuModuleGetFunction");
    module *m = given;
    function *f = functions;
    while (f && (f->module != m || strcmp(f->name, name) != 0)) f = f->next;
    if (!f) {
        char of[96];
        f = calloc(1, sizeof *f);
        if (!f) return ERROR_MEMORY;
        snprintf(f->name, sizeof f->name, "%s", name);
        f->module = m, f->kernel = (void (*)(const void *))(uintptr_t)dlsym(m->handle, name);
        f->launch = (host_launch_fn *)(uintptr_t)dlsym(m->handle, "host_launch");
        snprintf(of, sizeof of, "%s_bound", name);
        const int *bound = dlsym(m->handle, of);
        snprintf(of, sizeof of, "%s_bytes", name);
        const size_t *bytes = dlsym(m->handle, of);
        if (!f->kernel || !f->launch || !bound || !bytes) {
            free(f);
            return standin_fault("no kernel %s", name), ERROR_NOT_FOUND;
        }
        f->bound = *bound, f->bytes = *bytes, f->next = functions;
        f->turn = (int)(standin_hash(name, strlen(name)) % STANDIN_WAYS); /* short runs differ by kernel */
        functions = f;
    }
    f->shared = 48 * 1024;
    *out = f;
    return 0;
}
ENTRY(cuFuncSetAttribute, void *given, int attribute, int value) {
    BEGIN("cuFuncSetAttribute");
    if (attribute != 8 || value > STANDIN_SHARED) return ERROR_INVALID;
    ((function *)given)->shared = value;
    return 0;
}

/* ---- launches ---- */
typedef struct launching {
    function *f;
    int grid[3], threads;
    size_t shared;
} launching;
static int run_launch(const void *payload) {
    static const char *const copying[] = {"attend_forward", "attend_queries", "attend_keys"};
    launching l;
    char fault[HOST_FAULT];
    memcpy(&l, payload, sizeof l);
    const int way = l.f->turn++ % STANDIN_WAYS;
    for (int k = 0; k < 3; k++)
        if (strcmp(l.f->name, copying[k]) == 0) standin.attended[k] |= 1u << way;
    const host_launch_of of = {.kernel = l.f->kernel, .call = (const char *)payload + sizeof l,
                               .grid = {l.grid[0], l.grid[1], l.grid[2]}, .threads = l.threads, .bound = l.f->bound,
                               .shared = l.shared, .most_shared = (size_t)l.f->shared,
                               .order = (host_order)(way % HOST_ORDERS), .landing = (host_landing)(way / HOST_ORDERS)};
    standin.launches++;
    if (l.f->launch(&of, fault)) return 0;
    return standin_fault("%s: %.200s", l.f->name, fault);
}
ENTRY(cuLaunchKernel, void *given, unsigned x, unsigned y, unsigned z, unsigned block_x, unsigned block_y, unsigned block_z,
      unsigned shared, void *on, void **arguments, void **extra) {
    BEGIN("cuLaunchKernel");
    const launching l = {given, {(int)x, (int)y, (int)z}, (int)block_x, shared};
    if (!given || extra || !arguments || block_y != 1 || block_z != 1 || x == 0 || y == 0 || z == 0 || x > 0x7fffffff ||
        y > 65535 || z > 65535 || block_x == 0 || block_x > 1024 || l.f->bytes > 4096 || (int)shared > l.f->shared)
        return standin_fault("%s is launched with %u x %u x %u blocks of %u threads and %u bytes", given ? l.f->name : "no kernel", x,
                             y, z, block_x, shared),
               ERROR_INVALID;
    char payload[sizeof l + 4096];
    memcpy(payload, &l, sizeof l);
    memcpy(payload + sizeof l, arguments[0], l.f->bytes);
    return standin_enqueue(on, run_launch, payload, sizeof l + l.f->bytes);
}
