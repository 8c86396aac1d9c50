/* rowprog_schedule: how a row program is run, decided once for all emitters.
 *
 * A row is computed in passes over its columns. A reduction needs its whole input, so what depends on its
 * result waits for the next pass: the level of a value is the number of reductions on the longest way to it,
 * and a store, column sum or reduction of a value is done in the pass of the value's level. A pass has, in
 * this order: the per-row numbers of its level (values of width 1), its loops over columns (one for each
 * width that its sinks have), stores of numbers.
 *
 * In a loop each sink's value is evaluated on demand, 16 columns at a time. COLUMNS and CAT are not computed:
 * they say where their inputs are read. A step is an instruction at an offset: at the loop's column c it is
 * the instruction's column c + offset. The loop is cut into segments at the borders of CATs, so that in a
 * segment every CAT is one of its parts. Chunks of 16 columns begin at multiples of 16 in every segment, the
 * first and the last masked: so lane j of a reduction sees columns j, j + 16, .. in order whatever the
 * segments are.
 *
 * A value that two passes need is computed again in the later one when that is cheap (the costs of its tree,
 * numbers free, add up to at most CHEAP: rowprog_schedule.c has the table), else it is kept: the first pass
 * that computes it writes it to a row of scratch (f32, width rounded up to 16), and later passes read that.
 * Rows whose lives do not overlap share their place. */
#ifndef CTL_ROWPROG_SCHEDULE_H
#define CTL_ROWPROG_SCHEDULE_H

#include "compiler/kernel/rowprog.h"

typedef enum ctl_step_kind {
    STEP_COMPUTE, /* the instruction's operation on steps in[0 .. nin-1] (a load has none) */
    STEP_NUMBER,  /* the per-row number that the instruction is, computed in this pass or before */
    STEP_KEPT     /* read from the instruction's row of scratch */
} ctl_step_kind;

typedef struct ctl_row_step {
    ctl_step_kind kind;
    uint32_t instr;
    int64_t offset; /* in a list of numbers: the column itself */
    uint32_t in[3]; /* earlier steps of the same list */
} ctl_row_step;

typedef struct ctl_row_steps {
    ctl_row_step *at;
    size_t n, cap;
} ctl_row_steps;

typedef enum ctl_sink_kind { SINK_WRITE, SINK_REDUCE, SINK_KEEP } ctl_sink_kind;

typedef struct ctl_row_sink {
    ctl_sink_kind kind;
    uint32_t instr; /* the store, add_to or colsum; the reduction; the value to keep */
    uint32_t value; /* whose columns flow into it */
} ctl_row_sink;

typedef struct ctl_row_segment {
    int64_t begin, end;
    ctl_row_steps steps;
    uint32_t *step_of; /* for each sink of the loop the step that is its value */
} ctl_row_segment;

typedef struct ctl_row_loop {
    int64_t width;
    CTL_VEC(ctl_row_sink) sinks;
    CTL_VEC(ctl_row_segment) segments;
} ctl_row_loop;

typedef struct ctl_row_number {
    uint32_t instr, step; /* the number and the step of ctl_row_pass.steps that is its value */
} ctl_row_number;

typedef struct ctl_row_pass {
    ctl_row_steps steps; /* one number each; a step of a wide instruction is the one column `offset` of it */
    CTL_VEC(ctl_row_number) numbers;
    CTL_VEC(ctl_row_loop) loops;
    CTL_VEC(uint32_t) stores; /* stores, add_tos and colsums of width 1, done last */
} ctl_row_pass;

typedef struct ctl_schedule {
    ctl_row_pass *passes;
    uint32_t npasses;
    int64_t *kept;  /* for each instruction the first float of its row of scratch, or -1 */
    size_t scratch; /* floats */
} ctl_schedule;

/* The program must be verified. */
ctl_schedule *ctl_rowprog_schedule(const ctl_rowprog *p, ctl_arena *arena);

#endif
