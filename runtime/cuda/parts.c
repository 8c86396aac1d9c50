/* parts: see parts.h. */
#include "runtime/cuda/parts.h"

#include "runtime/cuda/attend.h"
#include "runtime/cuda/cuda.h"
#include "runtime/cuda/tasks.h"

static const char *const part_names[CUDA_PART_KINDS] = {"losses",         "moves",          "narrow",         "optimizer",
                                                        "initialise",     "attend_forward", "attend_queries",
                                                        "attend_keys",    "attend_dots",    "attend_plain"};

static const struct {
    const char *name;
    ctl_cuda_part_kind part;
    size_t shared;
} functions[CUDA_FUNCTIONS] = {
    [CUDA_LOSSES] = {"task_losses", CUDA_PART_LOSSES, CTL_CUDA_LOSSES_SHARED},
    [CUDA_TOTAL] = {"task_total", CUDA_PART_LOSSES, 0},
    [CUDA_SCATTER] = {"task_scatter", CUDA_PART_MOVES, CTL_CUDA_SCATTER_SHARED},
    [CUDA_FOLD] = {"task_fold", CUDA_PART_MOVES, 0},
    [CUDA_ZERO] = {"task_zero", CUDA_PART_MOVES, 0},
    [CUDA_TRANSPOSE] = {"task_transpose", CUDA_PART_MOVES, CTL_CUDA_TRANSPOSE_SHARED},
    [CUDA_FINISH] = {"task_finish", CUDA_PART_MOVES, 0},
    [CUDA_IDS] = {"task_ids", CUDA_PART_MOVES, CTL_CUDA_IDS_SHARED},
    [CUDA_NARROW] = {"task_narrow", CUDA_PART_NARROW, 0},
    [CUDA_SQUARES] = {"task_squares", CUDA_PART_OPTIMIZER, CTL_CUDA_SQUARES_SHARED},
    [CUDA_NORM] = {"task_norm", CUDA_PART_OPTIMIZER, 0},
    [CUDA_ADAMW] = {"task_adamw", CUDA_PART_OPTIMIZER, 0},
    [CUDA_SGD] = {"task_sgd", CUDA_PART_OPTIMIZER, 0},
    [CUDA_INITIALISE] = {"task_initialise", CUDA_PART_INITIALISE, 0},
    [CUDA_ATTEND_FORWARD] = {"attend_forward", CUDA_PART_ATTEND_FORWARD, 0},
    [CUDA_ATTEND_QUERIES] = {"attend_queries", CUDA_PART_ATTEND_QUERIES, 0},
    [CUDA_ATTEND_KEYS] = {"attend_keys", CUDA_PART_ATTEND_KEYS, 0},
    [CUDA_ATTEND_DOTS] = {"attend_dots", CUDA_PART_ATTEND_DOTS, 0},
    [CUDA_ATTEND_PLAIN_FORWARD] = {"attend_plain_forward", CUDA_PART_ATTEND_PLAIN, 0},
    [CUDA_ATTEND_PLAIN_QUERIES] = {"attend_plain_queries", CUDA_PART_ATTEND_PLAIN, 0},
    [CUDA_ATTEND_PLAIN_KEYS] = {"attend_plain_keys", CUDA_PART_ATTEND_PLAIN, 0},
};

const char *ctl_cuda_function_name(ctl_cuda_function f) { return functions[f].name; }
ctl_cuda_part_kind ctl_cuda_function_part(ctl_cuda_function f) { return functions[f].part; }
size_t ctl_cuda_function_shared(ctl_cuda_function f, int64_t head) {
    if (f < CUDA_ATTEND_FORWARD || f > CUDA_ATTEND_KEYS) return functions[f].shared;
    return ctl_cuda_attend_shared(f - CUDA_ATTEND_FORWARD, head, ctl_cuda_attend_keys(head), ctl_cuda_attend_queries(head));
}
const char *ctl_cuda_part_name(ctl_cuda_part_kind kind) { return part_names[kind]; }

static bool is_wide(const ctl_operand *o) { return o->dtype == CTL_BF16 && o->offset % 16 == 0 && o->stride % 8 == 0; }

bool ctl_cuda_attends_on_tensor_cores(const ctl_task *t) {
    const ctl_operand *o = t->operands;
    return ctl_cuda_attend_has_tensor(t->head) && is_wide(&o[0]) && is_wide(&o[1]) && is_wide(&o[2]) &&
           (t->kind == TASK_ATTEND || is_wide(&o[5]));
}

typedef struct list {
    ctl_cuda_part *parts;
    size_t room, n;
} list;

/* Only parts that had room are known when an equal one comes: without room the count is an upper bound, with that room it is
 * exact. */
static void add(list *l, ctl_cuda_part_kind kind, int64_t head) {
    for (size_t k = 0; k < l->n && k < l->room; k++)
        if (l->parts[k].kind == kind && l->parts[k].head == head) return;
    if (l->n < l->room) l->parts[l->n] = (ctl_cuda_part){kind, head};
    l->n++;
}

size_t ctl_cuda_parts_of(const ctl_program *p, ctl_cuda_part *parts, size_t n) {
    list l = {parts, n, 0};
    for (int entry = 0; entry < RUN_COUNT; entry++)
        for (size_t i = 0; i < p->run[entry].n; i++) {
            const ctl_task *t = &p->run[entry].at[i];
            if (t->kind == TASK_HEAD) add(&l, CUDA_PART_LOSSES, 0);
            if (t->kind == TASK_MATMUL && ctl_cuda_product_way_of(t) == PRODUCT_NARROW) add(&l, CUDA_PART_NARROW, 0);
            if (t->kind != TASK_ATTEND && t->kind != TASK_ATTEND_GRAD) continue;
            const bool tensor = ctl_cuda_attends_on_tensor_cores(t);
            if (!tensor) add(&l, CUDA_PART_ATTEND_PLAIN, t->head);
            else if (t->kind == TASK_ATTEND) add(&l, CUDA_PART_ATTEND_FORWARD, t->head);
            if (t->kind == TASK_ATTEND) continue;
            add(&l, CUDA_PART_ATTEND_DOTS, t->head);
            if (!tensor) continue;
            add(&l, CUDA_PART_ATTEND_QUERIES, t->head);
            add(&l, CUDA_PART_ATTEND_KEYS, t->head);
        }
    add(&l, CUDA_PART_MOVES, 0);
    add(&l, CUDA_PART_OPTIMIZER, 0);
    add(&l, CUDA_PART_INITIALISE, 0);
    return l.n;
}
