/* code: see code.h. One arena holds everything, as the program's own does. */
#include "runtime/cuda/code.h"

typedef struct owned {
    ctl_cuda_code code; /* first: free gets its address */
    ctl_allocator allocator;
    ctl_arena arena;
} owned;

static void *copy(ctl_arena *arena, const void *from, size_t n, size_t size) {
    void *to = ctl_arena_array(arena, n, size);
    if (n) memcpy(to, from, n * size);
    return to;
}

static void copy_all(owned *own, const ctl_cuda_code *draft) {
    ctl_arena *arena = &own->arena;
    own->code = *draft;
    const size_t n = ctl_cuda_code_images(draft);
    ctl_cuda_image *images = copy(arena, draft->images, n, sizeof *images);
    ctl_cuda_kernel *rows = copy(arena, draft->rows, draft->nrows, sizeof *rows);
    for (size_t k = 0; k < n; k++) {
        images[k].name = ctl_strndup(arena, draft->images[k].name, strlen(draft->images[k].name));
        images[k].bytes = copy(arena, draft->images[k].bytes, draft->images[k].size, 1);
        if (k < draft->nrows) rows[k].name = images[k].name;
    }
    own->code.images = images, own->code.rows = rows;
    own->code.parts = copy(arena, draft->parts, draft->nparts, sizeof *draft->parts);
}

static void release(owned *own) {
    ctl_allocator allocator = own->allocator;
    ctl_arena_free(&own->arena);
    ctl_free(&allocator, own, sizeof *own);
}

ctl_status ctl_cuda_code_make(const ctl_allocator *allocator, const ctl_cuda_code *draft, ctl_cuda_code **out) {
    owned *own = ctl_alloc(allocator, sizeof *own);
    if (!own) return CTL_ERR_MEMORY;
    own->allocator = *allocator;
    jmp_buf failure;
    ctl_arena_init(&own->arena, &own->allocator, &failure);
    if (setjmp(failure)) {
        release(own);
        return CTL_ERR_MEMORY;
    }
    copy_all(own, draft);
    own->arena.on_failure = NULL;
    *out = &own->code;
    return CTL_OK;
}

void ctl_cuda_code_free(void *code) {
    owned *own = code;
    if (!own) return;
    ctl_blaslt_close(&own->code.blaslt);
    ctl_cuda_driver_close(&own->code.driver);
    release(own);
}
