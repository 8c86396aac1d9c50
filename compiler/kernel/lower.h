/* lower: from the final graph (rounded, products merged, saves decided) to a program of tasks with every byte
 * placed.
 *
 * Grouping decides which nodes share a row program (group.h), lowering writes the programs and the tasks,
 * placement lays the buffers out (compiler/plan/place.h), and the checker replays the result
 * (compiler/plan/check.h) before it is handed out. What is fixed by the graph alone - epilogues of products,
 * panels, strides - is so with and without fusion: both give the same bits. */
#ifndef CTL_LOWER_H
#define CTL_LOWER_H

#include "compiler/graph/graph.h"
#include "compiler/kernel/rowprog.h"
#include "compiler/target/target.h"
#include "runtime/program.h"

typedef struct ctl_lower_options {
    int threads;              /* that scratch is laid out for; 0: one */
    bool no_fuse;             /* one node, one row program, every value stored */
    ctl_dtype compute;        /* CTL_F32 or CTL_BF16: what the round pass was given */
    const ctl_target *target; /* NULL: ctl_target_cpu() */
    ctl_settings settings;    /* copied; "sgd" needs no second moments, without momentum no first */
    const char *model_name, *control_source; /* copied; NULL: "" */
    const ctl_sink *sources;  /* of the .ctl files, for places in errors; NULL: none */
    ctl_map *known_scratch;   /* what the target said of scratch, for more lowerings of one target; NULL: not kept */
} ctl_lower_options;

typedef struct ctl_lowered {
    ctl_program *program; /* memory of its own, from the allocator; ctl_program.release frees it. engine,
                             engine_data and the kernels' run are left for the driver to fill */
    const ctl_rowprog *const
        *rows; /* program->nkernels row programs, one a kernel; they live in the scratch arena */
} ctl_lowered;

/* Lowers the graph. The scratch arena's failures jump as always, with nothing of ours held; the allocator's
 * failures come back as CTL_ERR_MEMORY. CTL_ERR_UNSUPPORTED or CTL_ERR_INTERNAL with a sentence in *why
 * (scratch arena). */
ctl_status ctl_lower(ctl_arena *scratch, const ctl_graph *graph, const ctl_lower_options *options,
                     const ctl_allocator *allocator, ctl_lowered *out, const char **why);

/* The tasks of a micro-step and the lives of its buffers, without places: what a planner asks about a graph before it
 * decides. Everything lies in the arena. */
typedef struct ctl_lives {
    const ctl_task *task;   /* forward's, then backward's */
    const int32_t *phase;   /* of each task: ctl_node.phase of what it computes */
    size_t ntasks;
    const ctl_buffer *buffer; /* first, last: places in task; -1 for buffers that are not a micro-step's */
    size_t nbuffers;
} ctl_lives;
ctl_status ctl_lower_lives(ctl_arena *arena, const ctl_graph *graph, const ctl_lower_options *options, ctl_lives *out,
                           const char **why);

/* Calls release(what) when the program that ctl_lower made is released: for loaded code. False: no memory. */
bool ctl_lowered_defer(ctl_program *program, void (*release)(void *), void *what);

#endif
