/* tasks: what the files of the CPU engine share. A task kind has two functions: prepare makes, once a session, what its
 * running needs (and says how much scratch, which is also how the planner's question is answered), run does the work.
 *
 * Work is divided among the threads of one OpenMP team in pieces that do not depend on their number. */
#ifndef CTL_CPU_TASKS_H
#define CTL_CPU_TASKS_H

#include <time.h>

#include "runtime/cpu/dnnl.h"
#include "runtime/cpu/lanes.h"
#include "runtime/engine.h"

/* ---- products ---- */
/* c[m, n] = op(a) op(b) (+ c) (+ bias) (+ addend) as TASK_MATMUL says, cut into blocks of rows and columns. Each block's
 * sums are made in f32 by one thread, in its scratch, and finished from there: so all forms of one product have the
 * bits of the plain f32 product, followed by separate f32 additions and one rounding, for any team. */
typedef struct ctl_matmul_form {
    int64_t m, n, k, lda, ldb, ldc, ld_addend;
    ctl_dtype operands, c, bias, addend; /* F32 or BF16 */
    bool transpose_a, transpose_b, accumulate, has_bias, has_addend;
} ctl_matmul_form;

typedef struct ctl_matmul {
    ctl_matmul_form form;
    int64_t block_m, block_n;
    int64_t unit_m;             /* rows that one thread does with one packing of b: a multiple of block_m */
    int64_t panel;              /* columns of a panel of the packed b; 0: b is read where it lies */
    ctl_product *product[2][2]; /* [last rows?][last columns?] of the blocks; NULL: our own tiles */
    size_t sums, packed, scratch; /* bytes of one thread: a block's sums; b; all */
} ctl_matmul;

typedef struct ctl_matmul_data {
    const void *a, *b, *bias, *addend;
    void *c;
    char *scratch; /* out->scratch bytes for each thread of the team */
} ctl_matmul_data;

bool ctl_matmul_form_of(const ctl_task *task, ctl_matmul_form *form); /* false: malformed */
/* Only sizes when make is false: no code is made, and it cannot run. set may be NULL: own tiles alone. */
ctl_status ctl_matmul_prepare(ctl_products *set, const ctl_matmul_form *form, bool make, ctl_matmul *out);
ctl_status ctl_matmul_run(const ctl_matmul *matmul, const ctl_lanes *lanes, int threads, const ctl_matmul_data *data);

/* ---- sequences by a matrix ---- */
ctl_status ctl_mix_prepare(ctl_products *set, const ctl_task *task, bool make, ctl_matmul *out);

/* ---- the head ---- */
typedef struct ctl_head {
    int64_t rows, chunk, vocab, cols;
    ctl_dtype operands;
    bool wants_dx, wants_dw;
    ctl_matmul logits[2], dx[2], dw[2][2]; /* of a whole chunk, of the last; dw[..][0] of the first chunk, [1] of others */
    size_t logits_bytes, losses_bytes, scratch;
} ctl_head;
ctl_status ctl_head_prepare(ctl_products *set, const ctl_task *task, int threads, bool make, ctl_head *out);

/* ---- a session ---- */
typedef struct ctl_prepared {
    ctl_matmul matmul;
    ctl_head *head; /* TASK_HEAD */
} ctl_prepared;

typedef struct ctl_cpu_session {
    ctl_session common;
    const ctl_lanes *lanes;
    ctl_products *products;
    char *region[REGION_COUNT], *held[REGION_COUNT]; /* aligned; as allocated */
    ctl_prepared *prepared[RUN_COUNT];
    clockid_t clock;                                 /* profiling */
    double *seconds[RUN_COUNT];
} ctl_cpu_session;

static inline bool ctl_operand_absent(const ctl_operand *o) { return o->buffer == UINT32_MAX; }
/* NULL when absent. */
void *ctl_cpu_at(const ctl_cpu_session *s, const ctl_operand *operand);

ctl_status ctl_run_matmul(ctl_cpu_session *s, const ctl_task *task, const ctl_prepared *p);
ctl_status ctl_run_mix(ctl_cpu_session *s, const ctl_task *task, const ctl_prepared *p); /* and its gradient */
ctl_status ctl_run_head(ctl_cpu_session *s, const ctl_task *task, const ctl_prepared *p);
ctl_status ctl_run_attend(ctl_cpu_session *s, const ctl_task *task); /* and its gradient */
ctl_status ctl_run_rows(ctl_cpu_session *s, const ctl_task *task);
ctl_status ctl_run_scatter(ctl_cpu_session *s, const ctl_task *task);
ctl_status ctl_run_fold(ctl_cpu_session *s, const ctl_task *task);
ctl_status ctl_run_transpose(ctl_cpu_session *s, const ctl_task *task);

bool ctl_attend_checks(const ctl_task *task);
size_t ctl_attend_task_scratch(const ctl_task *task, int threads);

#endif
