/* unit: one compilation on its way through the passes, and its last steps: the program out of the graph. */
#ifndef CTL_UNIT_H
#define CTL_UNIT_H

#include "compiler/elaborate/elaborate.h"
#include "compiler/kernel/lower.h"
#include "compiler/passes/passes.h"
#include "compiler/remat/remat.h"
#include "ctl/ctlc.h"
#include "compiler/plan/print.h"

typedef struct ctl_unit {
    const ctlc_options *options;
    ctl_arena *arena;
    ctl_sink sink;
    uint32_t main_file;
    const char *directory; /* of the spec, with its slash; NULL for text in memory */
    ctl_spec spec;
    ctl_dtype compute;
    int threads;
    ctl_map known_scratch; /* ctl_lower_options' */
    struct ctl_network *network; /* states and edges as written; NULL unless asked for */
    ctl_graph *graph;
    const ctl_rowprog *const *rows; /* after lowering: a row program a kernel */
    ctl_program *program;           /* not in the arena */
    bool is_lowered;                /* the program is there since a budget was met (budget.c) */
    ctl_status status;
} ctl_unit;

/* The whole file, in the arena, with a NUL behind it; NULL, and errno says why, when it cannot be read. */
const char *ctl_unit_read_file(ctl_unit *u, const char *path, size_t *size);
/* ctl_elaborate_options.read: NAME.ctl beside the spec. */
const char *ctl_unit_read_module(void *unit, const char *module, size_t *size, const char **shown);
/* Chooses the compute dtype; refuses what the engine does not have. */
void ctl_unit_settle(ctl_unit *u);
/* Hands the network to options->dump as text or DOT. */
void ctl_unit_show(ctl_unit *u);
/* Hands options->account what its rules make of the graph. */
void ctl_unit_account(ctl_unit *u);
/* budget.c: what forward keeps and what is computed again, so that the program fits the memory there is. */
void ctl_unit_plan(ctl_unit *u);
/* What the engine is lowered for; NULL in a build without it. */
const ctl_target *ctl_unit_target(const ctl_unit *u);
/* One try: the graph as a program. False with the status set. */
bool ctl_unit_lower_graph(ctl_unit *u, const ctl_graph *graph);
void ctl_unit_lower(ctl_unit *u);
void ctl_unit_fail(ctl_unit *u, ctl_status status, const char *doing, const char *why);
void ctl_unit_emit(ctl_unit *u);
void ctl_unit_emit_cuda(ctl_unit *u); /* hands out the files that options->cuda asks for */
void ctl_unit_reference(ctl_unit *u);
/* Says that a step of the compilation failed. */
void ctl_unit_fail(ctl_unit *u, ctl_status status, const char *doing, const char *why);
/* Frees the program: after a failure. */
void ctl_unit_drop(ctl_unit *u);

#endif
