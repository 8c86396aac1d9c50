/* rowprog_run: a row program run as it reads, one instruction after the other over whole rows, with exactly
 * the bits of rowprog.h. The oracle of the emitters' tests, and what runs kernels where there is no emitter.
 */
#ifndef CTL_ROWPROG_RUN_H
#define CTL_ROWPROG_RUN_H

#include "compiler/kernel/rowprog.h"

/* Floats that one thread needs for ctl_rowprog_run: every value's row. Aligned for int64_t. */
size_t ctl_rowprog_run_floats(const ctl_rowprog *p);
/* Runs rows begin .. end - 1 as a ctl_rows_fn does; call->scratch is not used. The program must be verified;
 * indices and operands are the caller's to check. */
void ctl_rowprog_run(const ctl_rowprog *p, const ctl_rows_call *call, float *values, int64_t begin,
                     int64_t end);

#endif
