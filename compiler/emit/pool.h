/* pool: compiled row kernels that the programs of one process share (ctlc_kernels of ctlc.h). */
#ifndef CTL_POOL_H
#define CTL_POOL_H

#include "compiler/kernel/rowprog.h"
#include "ctl/ctlc.h"

/* Fills run, scratch_bytes and sums_columns of kernels[0 .. n-1] that are known; keys[k] is ctl_rowprog_key of kernel k.
 * missing[0 .. returned-1] are the numbers of those that are not. */
size_t ctl_pool_find(ctlc_kernels *pool, const ctl_text *keys, size_t n, ctl_rows_kernel *kernels, size_t *missing);

/* Takes `code`, which holds the kernels of the numbers which[0 .. n-1], and calls `release` with it once the pool ends.
 * CTL_ERR_MEMORY: it stays the caller's. */
ctl_status ctl_pool_add(ctlc_kernels *pool, const ctl_text *keys, const size_t *which, size_t n, const ctl_rows_kernel *kernels,
                        void (*release)(void *code), void *code);

/* Every program whose kernels are the pool's holds it. */
void ctl_pool_hold(ctlc_kernels *pool);
void ctl_pool_drop(void *pool);

#endif
