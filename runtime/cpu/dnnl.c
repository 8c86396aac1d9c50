/* dnnl: products by oneDNN's matmul primitive. Operands are plain matrices described by strides, so a transposed operand
 * is one with its strides exchanged. Each thread has its own stream and memory objects, made with the product and only
 * pointed elsewhere when it runs. */
#include "runtime/cpu/dnnl.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

enum { ARG_A, ARG_B, ARG_C, ARG_SCRATCH, ARG_COUNT };

struct ctl_product {
    ctl_product_form form;
    ctl_products *set;
    dnnl_primitive_desc_t description;
    dnnl_primitive_t primitive;
    dnnl_memory_t (*memory)[ARG_COUNT]; /* for each thread; scratch is NULL when there is none */
    ctl_product *next;
};

struct ctl_products {
    const ctl_allocator *allocator;
    dnnl_engine_t engine;
    dnnl_stream_t *streams; /* for each thread */
    int threads;
    ctl_product *first;
};

static ctl_status status_of(dnnl_status_t status) {
    switch (status) {
    case dnnl_success: return CTL_OK;
    case dnnl_out_of_memory: return CTL_ERR_MEMORY;
    case dnnl_unimplemented: return CTL_ERR_UNSUPPORTED;
    default: return CTL_ERR_INTERNAL;
    }
}

ctl_status ctl_products_open(const ctl_allocator *allocator, int threads, ctl_products **out) {
    *out = NULL;
    ctl_products *set = ctl_alloc(allocator, sizeof *set);
    if (!set) return CTL_ERR_MEMORY;
    set->allocator = allocator;
    set->threads = threads;
    set->streams = ctl_alloc(allocator, (size_t)threads * sizeof *set->streams);
    ctl_status status = set->streams ? status_of(dnnl_engine_create(&set->engine, dnnl_cpu, 0)) : CTL_ERR_MEMORY;
    for (int t = 0; t < threads && !status; t++)
        status = status_of(dnnl_stream_create(&set->streams[t], set->engine, dnnl_stream_default_flags));
    if (status) ctl_products_close(set);
    else *out = set;
    return status;
}

static void free_product(ctl_product *p) {
    ctl_products *set = p->set;
    for (int t = 0; t < set->threads && p->memory; t++)
        for (int i = 0; i < ARG_COUNT; i++)
            if (p->memory[t][i]) dnnl_memory_destroy(p->memory[t][i]);
    ctl_free(set->allocator, p->memory, (size_t)set->threads * sizeof *p->memory);
    if (p->primitive) dnnl_primitive_destroy(p->primitive);
    if (p->description) dnnl_primitive_desc_destroy(p->description);
    ctl_free(set->allocator, p, sizeof *p);
}

void ctl_products_close(ctl_products *set) {
    if (!set) return;
    for (ctl_product *p = set->first, *next; p; p = next) {
        next = p->next;
        free_product(p);
    }
    for (int t = 0; t < set->threads && set->streams; t++)
        if (set->streams[t]) dnnl_stream_destroy(set->streams[t]);
    ctl_free(set->allocator, set->streams, (size_t)set->threads * sizeof *set->streams);
    if (set->engine) dnnl_engine_destroy(set->engine);
    ctl_free(set->allocator, set, sizeof *set);
}

/* A stored matrix seen as [rows, cols]; transposed: stored as [cols, rows]. To oneDNN's cache of what it has made before
 * the stride of an extent of 1 does not matter, to the scratch that it asks for it does: so each such matrix is described
 * in one way, or scratch would depend on what the process did before. */
static dnnl_status_t describe(dnnl_memory_desc_t *md, int64_t rows, int64_t cols, int64_t stride, bool transposed, bool bf16) {
    dnnl_dims_t dims = {rows, cols}, strides = {stride, 1};
    if (transposed) strides[0] = 1, strides[1] = stride;
    if (cols == 1) strides[1] = 1;
    if (rows == 1 && strides[1] == 1) strides[0] = cols;
    return dnnl_memory_desc_init_by_strides(md, 2, dims, bf16 ? dnnl_bf16 : dnnl_f32, strides);
}

typedef struct choice {
    dnnl_memory_desc_t of[ARG_SCRATCH];
    dnnl_primitive_desc_t product;
    ctl_product_room room;
} choice;

/* Whether b, where oneDNN chose its layout, is to lie in panels as ctl_product_form says. */
static bool has_panels(const ctl_product_form *f, choice *c) {
    const dnnl_memory_desc_t *b = dnnl_primitive_desc_query_md(c->product, dnnl_query_weights_md, 0);
    if (!b || b->format_kind != dnnl_blocked) return false;
    const dnnl_blocking_desc_t *l = &b->format_desc.blocking;
    const int64_t pair = f->bf16 ? 2 : 1, panel = l->inner_blks[1], depth = b->padded_dims[0];
    bool fits = l->inner_nblks == 1 + (int)pair && l->inner_idxs[0] == 0 && l->inner_blks[0] == 16 && l->inner_idxs[1] == 1;
    if (f->bf16) fits = fits && l->inner_idxs[2] == 0 && l->inner_blks[2] == 2;
    fits = fits && panel > 0 && panel % 16 == 0 && depth == (f->k + 16 * pair - 1) / (16 * pair) * 16 * pair &&
           b->padded_dims[1] == (f->n + panel - 1) / panel * panel && l->strides[0] == 16 * pair * panel &&
           (l->strides[1] == depth * panel || b->padded_dims[1] == panel) && b->extra.flags == 0 && b->offset0 == 0;
    c->room.panel = panel;
    c->room.packed = dnnl_memory_desc_get_size(b);
    c->of[ARG_B] = *b;
    return fits;
}

/* The first algorithm that oneDNN offers to a team of one, if it is of the kind that we take. */
static ctl_status choose(const ctl_products *set, const ctl_product_form *f, choice *c) {
    if (f->m < 1 || f->n < 1 || f->k < 1) return CTL_ERR_INTERNAL;
    dnnl_status_t s = describe(&c->of[ARG_A], f->m, f->k, f->lda, f->transpose_a, f->bf16);
    if (!s && f->packed) {
        dnnl_dims_t dims = {f->k, f->n};
        s = dnnl_memory_desc_init_by_tag(&c->of[ARG_B], 2, dims, f->bf16 ? dnnl_bf16 : dnnl_f32, dnnl_format_tag_any);
    } else if (!s) {
        s = describe(&c->of[ARG_B], f->k, f->n, f->ldb, f->transpose_b, f->bf16);
    }
    if (!s) s = describe(&c->of[ARG_C], f->m, f->n, f->n, false, false);
    dnnl_primitive_attr_t attr = NULL;
    dnnl_matmul_desc_t desc;
    if (!s) s = dnnl_primitive_attr_create(&attr);
    if (!s) s = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (!s) s = dnnl_matmul_desc_init(&desc, &c->of[ARG_A], &c->of[ARG_B], NULL, &c->of[ARG_C]);
    if (!s) s = dnnl_primitive_desc_create(&c->product, &desc, attr, set->engine, NULL);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (s) return status_of(s);
    const char *name = "";
    dnnl_primitive_desc_query(c->product, dnnl_query_impl_info_str, 0, (void *)&name);
    if (strncmp(name, "brg", 3) != 0 || (f->packed && !has_panels(f, c))) {
        dnnl_primitive_desc_destroy(c->product);
        return CTL_ERR_UNSUPPORTED;
    }
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(c->product, dnnl_query_scratchpad_md, 0);
    c->room.scratch = md ? dnnl_memory_desc_get_size(md) : 0;
    return CTL_OK;
}

ctl_status ctl_products_room(ctl_products *set, const ctl_product_form *form, ctl_product_room *room) {
    choice c = {.product = NULL};
    int before = omp_get_max_threads();
    omp_set_num_threads(1);
    ctl_status status = choose(set, form, &c);
    omp_set_num_threads(before);
    if (status) return status;
    *room = c.room;
    dnnl_primitive_desc_destroy(c.product);
    return CTL_OK;
}

static bool same_form(const ctl_product_form *a, const ctl_product_form *b) {
    return a->m == b->m && a->n == b->n && a->k == b->k && a->lda == b->lda && a->ldb == b->ldb && a->bf16 == b->bf16 &&
           a->transpose_a == b->transpose_a && a->transpose_b == b->transpose_b && a->packed == b->packed;
}

static ctl_status make_memories(ctl_product *p, const choice *c) {
    ctl_products *set = p->set;
    p->memory = ctl_alloc(set->allocator, (size_t)set->threads * sizeof *p->memory);
    if (!p->memory) return CTL_ERR_MEMORY;
    for (int t = 0; t < set->threads; t++)
        for (int i = 0; i < ARG_COUNT; i++) {
            if (i == ARG_SCRATCH && !c->room.scratch) continue;
            const dnnl_memory_desc_t *md =
                i == ARG_SCRATCH ? dnnl_primitive_desc_query_md(p->description, dnnl_query_scratchpad_md, 0) : &c->of[i];
            ctl_status status = status_of(dnnl_memory_create(&p->memory[t][i], md, set->engine, DNNL_MEMORY_NONE));
            if (status) return status;
        }
    return CTL_OK;
}

ctl_status ctl_products_get(ctl_products *set, const ctl_product_form *form, ctl_product **out) {
    for (ctl_product *p = set->first; p; p = p->next)
        if (same_form(&p->form, form)) {
            *out = p;
            return CTL_OK;
        }
    ctl_product *p = ctl_alloc(set->allocator, sizeof *p);
    if (!p) return CTL_ERR_MEMORY;
    p->form = *form;
    p->set = set;
    choice c = {.product = NULL};
    int before = omp_get_max_threads();
    omp_set_num_threads(1);
    ctl_status status = choose(set, form, &c);
    if (!status) {
        p->description = c.product;
        status = status_of(dnnl_primitive_create(&p->primitive, p->description));
    }
    if (!status) status = make_memories(p, &c);
    omp_set_num_threads(before);
    if (status) {
        free_product(p);
        return status;
    }
    p->next = set->first;
    set->first = p;
    *out = p;
    return CTL_OK;
}

ctl_status ctl_product_run(const ctl_product *p, int thread, const void *a, const void *b, float *c, void *scratch) {
    static const int names[ARG_COUNT] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD};
    /* oneDNN takes addresses of what it only reads without const. */
    void *at[ARG_COUNT] = {(void *)(uintptr_t)a, (void *)(uintptr_t)b, c, scratch};
    dnnl_exec_arg_t args[ARG_COUNT];
    int n = 0;
    for (int i = 0; i < ARG_COUNT; i++) {
        if (!p->memory[thread][i]) continue;
        dnnl_status_t s = dnnl_memory_set_data_handle(p->memory[thread][i], at[i]);
        if (s) return status_of(s);
        args[n++] = (dnnl_exec_arg_t){names[i], p->memory[thread][i]};
    }
    return status_of(dnnl_primitive_execute(p->primitive, p->set->streams[thread], n, args));
}
