/* parts: the kernels that are written by hand, by the source that holds them. A part is compiled by itself, to a module of its own,
 * and a program has those that its tasks launch. */
#ifndef CTL_RUNTIME_CUDA_PARTS_H
#define CTL_RUNTIME_CUDA_PARTS_H

#include "runtime/program.h"

typedef enum ctl_cuda_part_kind {
    CUDA_PART_LOSSES,
    CUDA_PART_MOVES,
    CUDA_PART_NARROW,
    CUDA_PART_OPTIMIZER,
    CUDA_PART_INITIALISE,
    CUDA_PART_ATTEND_FORWARD, /* from here on a part is of a head size */
    CUDA_PART_ATTEND_QUERIES,
    CUDA_PART_ATTEND_KEYS,
    CUDA_PART_ATTEND_DOTS,
    CUDA_PART_ATTEND_PLAIN,
    CUDA_PART_KINDS
} ctl_cuda_part_kind;

typedef struct ctl_cuda_part {
    ctl_cuda_part_kind kind;
    int64_t head; /* 0: of no attention */
} ctl_cuda_part;

typedef enum ctl_cuda_function {
    CUDA_LOSSES, CUDA_TOTAL, CUDA_SCATTER, CUDA_FOLD, CUDA_ZERO, CUDA_TRANSPOSE, CUDA_FINISH, CUDA_IDS, CUDA_NARROW, CUDA_SQUARES, CUDA_NORM,
    CUDA_ADAMW, CUDA_SGD, CUDA_INITIALISE, CUDA_ATTEND_FORWARD, CUDA_ATTEND_QUERIES, CUDA_ATTEND_KEYS, CUDA_ATTEND_DOTS,
    CUDA_ATTEND_PLAIN_FORWARD, CUDA_ATTEND_PLAIN_QUERIES, CUDA_ATTEND_PLAIN_KEYS, CUDA_FUNCTIONS
} ctl_cuda_function;

/* The kernel's name in its source; the part that holds it. */
const char *ctl_cuda_function_name(ctl_cuda_function f);
ctl_cuda_part_kind ctl_cuda_function_part(ctl_cuda_function f);
/* Bytes of shared memory that a block asks for at the launch. */
size_t ctl_cuda_function_shared(ctl_cuda_function f, int64_t head);

/* The name of a part's source, without ending and head size. */
const char *ctl_cuda_part_name(ctl_cuda_part_kind kind);

/* Whether a task of attention runs on tensor cores: its head size has such kernels, and 16 bytes of each operand's rows can be
 * copied at once wherever the operand's buffer lies. */
bool ctl_cuda_attends_on_tensor_cores(const ctl_task *task);

/* The parts that a program's tasks, its optimizer and its parameters' first values may launch, each
 * once, to `parts`, which has room for n; how many there are. With less room than that, a number that is room enough. */
size_t ctl_cuda_parts_of(const ctl_program *p, ctl_cuda_part *parts, size_t n);

#endif
