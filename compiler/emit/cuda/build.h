/* build: what the files of the CUDA emitter share. */
#ifndef CTL_EMIT_CUDA_BUILD_H
#define CTL_EMIT_CUDA_BUILD_H

#include "compiler/emit/cuda/cuda.h"
#include "compiler/kernel/rowprog_schedule.h"

/* A kernel while it is written. */
typedef struct ctl_cuda_writer {
    ctl_text *out;
    const ctl_rowprog *p;
    const ctl_schedule *schedule;
    const ctl_cuda_kernel *kernel;
    int indent;
    int owed;   /* rows.c: barriers not yet written */
    bool meets; /* rows.c: threads of a row meet */
    bool alone; /* no group waits for another: one that has no row does not go along */
    bool whole; /* the segment has each thread's columns all or none of them */
} ctl_cuda_writer;

void ctl_cuda_line(ctl_cuda_writer *w, const char *fmt, ...) CTL_PRINTF(2, 3);

/* math.c: the functions of math.def that the programs use. */
void ctl_cuda_math(const ctl_rowprog *const *programs, size_t n, ctl_text *out);
const char *ctl_cuda_math_name(uint32_t op); /* NULL: no function of math.def */

/* The .cu files, embedded by tools/embed.cmake; a NULL name ends the table. */
typedef struct ctl_cuda_file {
    const char *name;
    const char *text;
    size_t size;
} ctl_cuda_file;
extern const ctl_cuda_file ctl_cuda_files[];

/* steps.c: values. The name of a step's value, in `steps`, at the columns of a loop's body or as a number. */
const char *ctl_cuda_value(ctl_cuda_writer *w, const ctl_row_steps *steps, uint32_t step);
const char *ctl_cuda_number(ctl_cuda_writer *w, const ctl_row_steps *steps, uint32_t step);
bool ctl_cuda_is_read(const ctl_cuda_writer *w, const ctl_row_step *s); /* from memory, before the body */
/* The reads of a loop's steps into arrays; the body's definitions, one a line. */
void ctl_cuda_write_reads(ctl_cuda_writer *w, const ctl_row_steps *steps);
void ctl_cuda_write_body(ctl_cuda_writer *w, const ctl_row_steps *steps);
/* The steps of a pass's numbers. */
void ctl_cuda_write_numbers(ctl_cuda_writer *w, const ctl_row_steps *steps);
/* "wide", in a segment of whole chunks "2 * wide" (prelude.cu); "0" where columns at this offset, or this operand's rows, are not
 * aligned in any case. */
const char *ctl_cuda_wide(const ctl_cuda_writer *w, const ctl_row_operand *operand, int64_t offset);
const char *ctl_cuda_type(ctl_dtype dtype);   /* "float", "bf16", "int" */
const char *ctl_cuda_suffix(ctl_dtype dtype); /* "f32", "bf16", "i32" */

#endif
