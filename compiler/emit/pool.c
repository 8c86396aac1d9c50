/* pool: compiled row kernels by their keys (ctl_rowprog_key), for all programs of a process that name the same pool.
 *
 * A kernel's key has everything that its machine code depends on: arithmetic, columns and dtypes. The number of rows, places in
 * memory and the plan are arguments of the call, so that programs for other tokens, budgets or parts of a batch mostly
 * need the same kernels. Code is added and never removed: it goes when the pool was closed and the last
 * program that holds it is freed. One mutex guards the table; compiling is done outside it, and when two threads compiled the same
 * kernel, the first stays in the table and both live as long as the pool. */
#include "compiler/emit/pool.h"

#include <pthread.h>

struct ctlc_kernels {
    ctl_allocator allocator;
    pthread_mutex_t mutex;
    size_t holders;
    ctl_arena arena; /* of the table; pieces of code are deferred in it */
    ctl_map by_key;  /* ctl_rows_kernel */
};

ctl_status ctlc_kernels_open(const ctl_allocator *allocator, ctlc_kernels **out) {
    allocator = ctl_allocator_or_default(allocator);
    ctlc_kernels *pool = ctl_alloc(allocator, sizeof *pool);
    *out = NULL;
    if (!pool) return CTL_ERR_MEMORY;
    if (pthread_mutex_init(&pool->mutex, NULL) != 0) {
        ctl_free(allocator, pool, sizeof *pool);
        return CTL_ERR_MEMORY;
    }
    pool->allocator = *allocator, pool->holders = 1;
    ctl_arena_init(&pool->arena, &pool->allocator, NULL); /* whoever adds says where a failure goes */
    pool->by_key.arena = &pool->arena;
    *out = pool;
    return CTL_OK;
}

void ctlc_kernels_close(ctlc_kernels *pool) {
    if (pool) ctl_pool_drop(pool);
}

size_t ctlc_kernels_count(ctlc_kernels *pool) {
    pthread_mutex_lock(&pool->mutex);
    const size_t n = pool->by_key.n;
    pthread_mutex_unlock(&pool->mutex);
    return n;
}

void ctl_pool_hold(ctlc_kernels *pool) {
    pthread_mutex_lock(&pool->mutex);
    pool->holders++;
    pthread_mutex_unlock(&pool->mutex);
}

void ctl_pool_drop(void *held) {
    ctlc_kernels *pool = held;
    pthread_mutex_lock(&pool->mutex);
    const size_t left = --pool->holders;
    pthread_mutex_unlock(&pool->mutex);
    if (left) return;
    pthread_mutex_destroy(&pool->mutex);
    ctl_arena_free(&pool->arena);
    ctl_allocator allocator = pool->allocator;
    ctl_free(&allocator, pool, sizeof *pool);
}

size_t ctl_pool_find(ctlc_kernels *pool, const ctl_text *keys, size_t n, ctl_rows_kernel *kernels, size_t *missing) {
    size_t left = 0;
    pthread_mutex_lock(&pool->mutex);
    for (size_t k = 0; k < n; k++) {
        const ctl_rows_kernel *known = ctl_map_get_bytes(&pool->by_key, keys[k].at, keys[k].n);
        if (!known) {
            missing[left++] = k;
            continue;
        }
        kernels[k].run = known->run, kernels[k].scratch_bytes = known->scratch_bytes;
        kernels[k].sums_columns = known->sums_columns;
    }
    pthread_mutex_unlock(&pool->mutex);
    return left;
}

/* A kernel that there is no memory to remember is compiled again by the next program: no failure. */
static void remember(ctlc_kernels *pool, const ctl_text *key, const ctl_rows_kernel *kernel) {
    jmp_buf failure;
    pool->arena.on_failure = &failure;
    if (setjmp(failure) == 0 && !ctl_map_get_bytes(&pool->by_key, key->at, key->n)) {
        ctl_rows_kernel *copy = CTL_NEW(&pool->arena, ctl_rows_kernel);
        *copy = *kernel, copy->name = NULL; /* names are the programs' own */
        ctl_map_put_bytes(&pool->by_key, key->at, key->n, copy);
    }
    pool->arena.on_failure = NULL;
}

static ctl_status keep_code(ctlc_kernels *pool, void (*release)(void *code), void *code) {
    jmp_buf failure;
    pool->arena.on_failure = &failure;
    if (setjmp(failure)) {
        pool->arena.on_failure = NULL;
        return CTL_ERR_MEMORY;
    }
    ctl_arena_defer(&pool->arena, release, code);
    pool->arena.on_failure = NULL;
    return CTL_OK;
}

ctl_status ctl_pool_add(ctlc_kernels *pool, const ctl_text *keys, const size_t *which, size_t n, const ctl_rows_kernel *kernels,
                        void (*release)(void *code), void *code) {
    pthread_mutex_lock(&pool->mutex);
    ctl_status status = keep_code(pool, release, code); /* first: what the table names must live */
    for (size_t k = 0; k < n && status == CTL_OK; k++) remember(pool, &keys[which[k]], &kernels[which[k]]);
    pthread_mutex_unlock(&pool->mutex);
    return status;
}
