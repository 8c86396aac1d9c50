/* lower_program: the program's own memory. Everything that lowering made lies in the scratch arena; here it
 * is copied into one arena that the program carries and its release frees. */
#include "compiler/kernel/lower_state.h"

typedef struct owned {
    ctl_program program; /* first: release gets its address */
    ctl_allocator allocator;
    ctl_arena arena;
} owned;

static void release(ctl_program *program) {
    owned *own = (owned *)program;
    ctl_allocator allocator = own->allocator;
    ctl_arena_free(&own->arena);
    ctl_free(&allocator, own, sizeof *own);
}

static void *copy(ctl_arena *arena, const void *from, size_t n, size_t size) {
    void *to = ctl_arena_array(arena, n, size);
    if (n) memcpy(to, from, n * size);
    return to;
}
#define COPY(arena, from, n) copy((arena), (from), (n), sizeof *(from))

static const char *text(ctl_arena *arena, const char *from) {
    return ctl_strndup(arena, from, strlen(from));
}

static void copy_tasks(ctl_arena *arena, ctl_task_list *to, const ctl_task *tasks, size_t n) {
    to->n = n;
    to->at = COPY(arena, tasks, n);
    for (size_t k = 0; k < n; k++) {
        ctl_task *t = &to->at[k];
        t->name = text(arena, t->name);
        t->operands = COPY(arena, t->operands, t->noperands);
        if (t->index_of) t->index_of = COPY(arena, t->index_of, t->noperands);
        t->sites = COPY(arena, t->sites, t->nsites);
        if (t->origin_of) t->origin_of = COPY(arena, t->origin_of, t->noperands);
        for (uint32_t j = 0; t->origin_of && j < t->noperands; j++)
            if (t->origin_of[j].name) t->origin_of[j].name = text(arena, t->origin_of[j].name);
    }
}

static void copy_all(const ctl_lowering *l, owned *own) {
    ctl_arena *arena = &own->arena;
    ctl_program *p = &own->program;
    *p = l->hosts;
    memcpy(p->region_bytes, l->region_bytes, sizeof p->region_bytes);
    p->release = release;
    p->nbuffers = l->buffers.n;
    p->buffers = COPY(arena, l->buffers.at, p->nbuffers);
    for (size_t k = 0; k < p->nbuffers; k++) p->buffers[k].name = text(arena, p->buffers[k].name);
    for (int list = 0; list < RUN_COUNT; list++)
        copy_tasks(arena, &p->run[list], l->run[list].at, l->run[list].n);
    ctl_places_copy(arena, l->places.at.at, l->places.at.n, p);
    p->nkernels = l->rows.n;
    p->kernels = CTL_NEW_ARRAY(arena, ctl_rows_kernel, p->nkernels);
    for (size_t k = 0; k < p->nkernels; k++)
        p->kernels[k] = (ctl_rows_kernel){.name = ctl_format(arena, "rows%zu", k),
                                          .scratch_bytes = l->rows_scratch.at[k],
                                          .sums_columns = ctl_rowprog_sums_columns(l->rows.at[k])};
    p->params = COPY(arena, l->hosts.params, p->nparams);
    for (size_t k = 0; k < p->nparams; k++) p->params[k].name = text(arena, p->params[k].name);
    p->inputs = COPY(arena, l->hosts.inputs, p->ninputs);
    for (size_t k = 0; k < p->ninputs; k++) p->inputs[k].name = text(arena, p->inputs[k].name);
    p->rows = COPY(arena, l->hosts.rows, p->nrows);
    p->outputs = COPY(arena, l->hosts.outputs, p->noutputs);
    for (size_t k = 0; k < p->noutputs; k++) p->outputs[k].name = text(arena, p->outputs[k].name);
    p->model_name = text(arena, p->model_name), p->control_source = text(arena, p->control_source);
}

ctl_status ctl_lower_finish(ctl_lowering *l, const ctl_allocator *allocator, ctl_program **out) {
    owned *own = ctl_alloc(allocator, sizeof *own);
    if (!own) return CTL_ERR_MEMORY;
    own->allocator = *allocator;
    jmp_buf failure;
    ctl_arena_init(&own->arena, &own->allocator, &failure);
    if (setjmp(failure)) {
        release(&own->program);
        return CTL_ERR_MEMORY;
    }
    copy_all(l, own);
    own->arena.on_failure = NULL;
    *out = &own->program;
    return CTL_OK;
}

bool ctl_lowered_defer(ctl_program *program, void (*release_what)(void *), void *what) {
    owned *own = (owned *)program;
    jmp_buf failure;
    own->arena.on_failure = &failure;
    bool done = false;
    if (!setjmp(failure)) {
        ctl_arena_defer(&own->arena, release_what, what);
        return own->arena.on_failure = NULL, true;
    }
    own->arena.on_failure = NULL;
    return done;
}
