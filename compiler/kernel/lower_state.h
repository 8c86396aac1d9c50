/* lower_state: what the files of lowering share. Everything lies in the scratch arena until lower_program.c
 * copies it. */
#ifndef CTL_LOWER_STATE_H
#define CTL_LOWER_STATE_H

#include "compiler/graph/places.h"
#include "compiler/kernel/group.h"
#include "compiler/kernel/lower.h"

/* Where a value lies: row t of its space begins at byte offset + t * stride elements; its split parts follow.
 */
typedef struct ctl_place {
    uint32_t buffer;
    uint64_t offset;
    int64_t stride;
    ctl_dtype dtype;
} ctl_place;

typedef struct ctl_lowering {
    ctl_arena *arena;
    const ctl_graph *g;
    ctl_grouping *u;
    const ctl_lower_options *options;
    const ctl_target *target;
    int threads;
    CTL_VEC(ctl_buffer) buffers;
    CTL_VEC(ctl_task) run[RUN_COUNT];
    CTL_VEC(int32_t) phase[RUN_COUNT]; /* of each task: that of its first node that has one */
    int32_t now;                       /* the phase of the task being written */
    CTL_VEC(const ctl_rowprog *) rows;
    CTL_VEC(size_t) rows_scratch; /* bytes for one thread, of each row program */
    ctl_map kernel_of_key;
    ctl_places places;
    uint32_t *buffer_of;  /* of each node that owns storage; UINT32_MAX before it is asked for */
    uint32_t *partial_of; /* of each COLSUM: its partial sums */
    uint64_t *flat;       /* of each trained parameter: its first element in the flat arrays */
    size_t trained_elements;
    size_t region_bytes[REGION_COUNT];
    ctl_program hosts; /* what the host sees: parameters, inputs, outputs, flat arrays */
    uint32_t trained, gradients, moment1, moment2, normaliser; /* buffers, UINT32_MAX: none */
    uint32_t row_numbers[SPACE_COUNT][CTL_ROW_NUMBERS];        /* the same: what the session says of a space's rows */
    ctl_status status;
    const char *why;
    /* of the row program being written (lower_rows.c) */
    uint32_t *value_of, *outer_of, *stamp_value, *stamp_outer, stamp;
} ctl_lowering;

/* Notes the first failure; returns false. */
bool ctl_lower_fail(ctl_lowering *l, ctl_status status, const char *fmt, ...) CTL_PRINTF(3, 4);

/* lower_places.c */
void ctl_lower_leaves(ctl_lowering *l); /* flat arrays, inputs */
uint32_t ctl_lower_buffer(ctl_lowering *l, ctl_region region, ctl_use use, size_t bytes, const char *name);
size_t ctl_lower_bytes(ctl_lowering *l, int64_t rows, int64_t cols,
                       size_t element); /* checked; notes an overflow */
ctl_place ctl_lower_place(ctl_lowering *l, ctl_node_id id);
ctl_place ctl_lower_gradient(ctl_lowering *l, uint32_t param);
/* The value as a matrix with one stride. */
ctl_operand ctl_lower_operand(ctl_lowering *l, ctl_node_id id);
/* The value as rows of its space. */
ctl_operand ctl_lower_rows_operand(ctl_lowering *l, ctl_node_id id);
const char *ctl_lower_name(ctl_lowering *l, ctl_node_id id);
/* Its name and its place. */
ctl_origin ctl_lower_origin(ctl_lowering *l, ctl_node_id id);

/* lower_rows.c: the row program of a unit, and its task. */
bool ctl_lower_row_unit(ctl_lowering *l, int list, uint32_t number);
/* lower_tasks.c: every other task. */
bool ctl_lower_task_unit(ctl_lowering *l, int list, const ctl_unit *unit); /* TASK or FOLD */
bool ctl_lower_push(ctl_lowering *l, int list, ctl_task *task);            /* gives it its scratch */
/* Partial sums of a COLSUM, one row for each chunk of rows. */
ctl_operand ctl_lower_partial(ctl_lowering *l, ctl_node_id id);

/* lower_hosts.c: what the host sees; parameters that nothing reads have storage too. */
void ctl_lower_hosts(ctl_lowering *l);
/* lower_overlay.c: results in the place of operands that nothing reads any more. Lives are known. */
void ctl_lower_overlay(ctl_lowering *l, const int8_t *timeline_of);
/* lower_program.c: everything into a program with memory of its own. Never jumps. */
ctl_status ctl_lower_finish(ctl_lowering *l, const ctl_allocator *allocator, ctl_program **out);

#endif
