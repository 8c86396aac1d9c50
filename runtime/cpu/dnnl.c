/* dnnl: products by oneDNN's matmul primitive. Operands are plain matrices described by strides, so a transposed operand
 * is one with its strides exchanged. Bias, addend and accumulation are post-operations in the order of the contract
 * (program.h): oneDNN adds its own bias and then post-operations to the f32 sums and rounds once, at the end. */
#include "runtime/cpu/dnnl.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

enum { ARG_COUNT = 6 };

struct ctl_product {
    ctl_product_form form;
    dnnl_primitive_desc_t description;
    dnnl_primitive_t primitive;
    dnnl_memory_t memory[ARG_COUNT]; /* a, b, c, bias, addend, scratch; NULL: absent */
    dnnl_exec_arg_t args[ARG_COUNT];
    dnnl_stream_t stream; /* the set's */
    size_t scratch;
    ctl_product *next;
};

struct ctl_products {
    const ctl_allocator *allocator;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
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
    ctl_products *set = ctl_alloc(allocator, sizeof *set);
    *out = NULL;
    if (!set) return CTL_ERR_MEMORY;
    set->allocator = allocator;
    set->threads = threads;
    ctl_status status = status_of(dnnl_engine_create(&set->engine, dnnl_cpu, 0));
    if (!status) status = status_of(dnnl_stream_create(&set->stream, set->engine, dnnl_stream_default_flags));
    if (status) ctl_products_close(set);
    else *out = set;
    return status;
}

static void free_product(ctl_products *set, ctl_product *p) {
    for (int i = 0; i < ARG_COUNT; i++)
        if (p->memory[i]) dnnl_memory_destroy(p->memory[i]);
    if (p->primitive) dnnl_primitive_destroy(p->primitive);
    if (p->description) dnnl_primitive_desc_destroy(p->description);
    ctl_free(set->allocator, p, sizeof *p);
}

void ctl_products_close(ctl_products *set) {
    if (!set) return;
    for (ctl_product *p = set->first, *next; p; p = next) {
        next = p->next;
        free_product(set, p);
    }
    if (set->stream) dnnl_stream_destroy(set->stream);
    if (set->engine) dnnl_engine_destroy(set->engine);
    ctl_free(set->allocator, set, sizeof *set);
}

static dnnl_data_type_t type_of(ctl_dtype dtype) { return dtype == CTL_BF16 ? dnnl_bf16 : dnnl_f32; }

/* A stored matrix seen as [rows, cols]; transposed: stored as [cols, rows]. */
static dnnl_status_t describe(dnnl_memory_desc_t *md, int64_t rows, int64_t cols, int64_t ld, bool transposed,
                              ctl_dtype dtype) {
    dnnl_dims_t dims = {rows, cols}, strides = {ld, 1};
    if (transposed) strides[0] = 1, strides[1] = ld;
    return dnnl_memory_desc_init_by_strides(md, 2, dims, type_of(dtype), strides);
}

typedef struct descriptions {
    dnnl_memory_desc_t of[ARG_COUNT - 1];
    dnnl_primitive_desc_t product;
} descriptions;

/* Asks oneDNN for an algorithm. The team's size counts here and in what it returns. */
static ctl_status choose(const ctl_products *set, const ctl_product_form *f, descriptions *d) {
    bool bias = f->bias != CTL_U8, addend = f->ld_addend != 0;
    if (f->m < 1 || f->n < 1 || f->k < 1) return CTL_ERR_INTERNAL;
    if (f->accumulate && (bias || addend || f->c != CTL_F32)) return CTL_ERR_UNSUPPORTED;
    dnnl_status_t s = describe(&d->of[0], f->m, f->k, f->lda, f->transpose_a, f->operands);
    if (!s) s = describe(&d->of[1], f->k, f->n, f->ldb, f->transpose_b, f->operands);
    if (!s) s = describe(&d->of[2], f->m, f->n, f->ldc, false, f->c);
    if (!s && bias) s = describe(&d->of[3], 1, f->n, f->n, false, f->bias);
    if (!s && addend) s = describe(&d->of[4], f->m, f->n, f->ld_addend, false, f->addend);
    if (s) return status_of(s);

    dnnl_post_ops_t post = NULL;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_matmul_desc_t desc;
    s = dnnl_post_ops_create(&post);
    if (!s && f->accumulate) s = dnnl_post_ops_append_sum(post, 1.0f);
    if (!s && addend) s = dnnl_post_ops_append_binary(post, dnnl_binary_add, &d->of[4]);
    if (!s) s = dnnl_primitive_attr_create(&attr);
    if (!s) s = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (!s) s = dnnl_primitive_attr_set_post_ops(attr, post);
    if (!s) s = dnnl_matmul_desc_init(&desc, &d->of[0], &d->of[1], bias ? &d->of[3] : NULL, &d->of[2]);
    if (!s) {
        int before = omp_get_max_threads();
        omp_set_num_threads(set->threads);
        s = dnnl_primitive_desc_create(&d->product, &desc, attr, set->engine, NULL);
        omp_set_num_threads(before);
    }
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (post) dnnl_post_ops_destroy(post);
    return status_of(s);
}

static size_t scratch_of(const_dnnl_primitive_desc_t description) {
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
    return md ? dnnl_memory_desc_get_size(md) : 0;
}

ctl_status ctl_products_scratch(ctl_products *set, const ctl_product_form *form, size_t *bytes) {
    descriptions d = {0};
    ctl_status status = choose(set, form, &d);
    if (status) return status;
    *bytes = scratch_of(d.product);
    dnnl_primitive_desc_destroy(d.product);
    return CTL_OK;
}

static bool same_form(const ctl_product_form *a, const ctl_product_form *b) {
    return a->m == b->m && a->n == b->n && a->k == b->k && a->lda == b->lda && a->ldb == b->ldb && a->ldc == b->ldc &&
           a->ld_addend == b->ld_addend && a->operands == b->operands && a->c == b->c && a->bias == b->bias &&
           (a->ld_addend == 0 || a->addend == b->addend) && a->transpose_a == b->transpose_a &&
           a->transpose_b == b->transpose_b && a->accumulate == b->accumulate;
}

/* Memory objects are made here and only pointed elsewhere at each run. */
static dnnl_status_t make_memories(const ctl_products *set, ctl_product *p, const descriptions *d) {
    const int names[ARG_COUNT] = {DNNL_ARG_SRC,  DNNL_ARG_WEIGHTS, DNNL_ARG_DST,
                                  DNNL_ARG_BIAS, DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1,
                                  DNNL_ARG_SCRATCHPAD};
    bool present[ARG_COUNT] = {true, true, true, p->form.bias != CTL_U8, p->form.ld_addend != 0, p->scratch != 0};
    dnnl_status_t s = dnnl_success;
    for (int i = 0; i < ARG_COUNT && !s; i++) {
        if (!present[i]) continue;
        const dnnl_memory_desc_t *md = i < ARG_COUNT - 1
            ? &d->of[i]
            : dnnl_primitive_desc_query_md(p->description, dnnl_query_scratchpad_md, 0);
        s = dnnl_memory_create(&p->memory[i], md, set->engine, DNNL_MEMORY_NONE);
        p->args[i] = (dnnl_exec_arg_t){names[i], p->memory[i]};
    }
    return s;
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
    p->stream = set->stream;
    descriptions d = {0};
    ctl_status status = choose(set, form, &d);
    if (!status) {
        p->description = d.product;
        p->scratch = scratch_of(d.product);
        int before = omp_get_max_threads();
        omp_set_num_threads(set->threads);
        status = status_of(dnnl_primitive_create(&p->primitive, p->description));
        omp_set_num_threads(before);
    }
    if (!status) status = status_of(make_memories(set, p, &d));
    if (status) {
        free_product(set, p);
        return status;
    }
    p->next = set->first;
    set->first = p;
    *out = p;
    return CTL_OK;
}

size_t ctl_product_scratch(const ctl_product *product) { return product->scratch; }

ctl_status ctl_product_run(ctl_product *p, const ctl_product_data *data) {
    const void *at[ARG_COUNT] = {data->a, data->b, data->c, data->bias, data->addend, data->scratch};
    dnnl_exec_arg_t args[ARG_COUNT];
    int n = 0;
    for (int i = 0; i < ARG_COUNT; i++) {
        if (!p->memory[i]) continue;
        /* The handle is not written through for arguments that are only read. */
        dnnl_status_t s = dnnl_memory_set_data_handle_v2(p->memory[i], (void *)(uintptr_t)at[i], p->stream);
        if (s) return status_of(s);
        args[n++] = p->args[i];
    }
    return status_of(dnnl_primitive_execute(p->primitive, p->stream, n, args));
}

const char *ctl_product_algorithm(const ctl_product *p) {
    const char *name = "";
    dnnl_primitive_desc_query(p->description, dnnl_query_impl_info_str, 0, &name);
    return name;
}
