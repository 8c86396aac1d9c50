/* elaborate: from syntax trees to a graph. Opens modules, builds the model's instances, applies the controls of a tune
 * block, settles what is trained, and emits the reachable values in topological order. After this nobody knows what a
 * net or a control was. */
#ifndef CTL_ELABORATE_H
#define CTL_ELABORATE_H

#include "compiler/graph/graph.h"
#include "compiler/syntax/ast.h"
#include "runtime/program.h"

enum { MEMORY_LEAST = -1, MEMORY_MOST = -2 }; /* as ctlc.h has them */

typedef struct ctl_spec { /* what a tune block settles beside the graph */
    ctl_dtype compute;      /* CTL_REAL: not said */
    int64_t memory;         /* bytes, MEMORY_LEAST or MEMORY_MOST; 0: not said */
    ctl_settings settings;
    const char *model_name; /* of the tune block's model */
    const struct ctl_adaptation *adaptation; /* what the controls did: runtime/adaptation.h */
    const char *description; /* the tune block's line and its controls' source, for adapter files */
} ctl_spec;

typedef struct ctl_elaborate_options {
    const char *tune;           /* a tune block's name, or NULL */
    const char *const *set;     /* "key=value" */
    size_t nset;
    const char *const *outputs; /* wanted beside the loss */
    size_t noutputs;
    /* Reads an imported file beside the spec: text in the arena, or NULL. Absent: only the standard library. */
    const char *(*read)(void *ctx, const char *module, size_t *size, const char **name);
    void *read_ctx;
    struct ctl_network **network; /* where to put the states and edges as they are written (network.h); or NULL */
} ctl_elaborate_options;

/* Source number `file` of the sink is the spec. NULL when errors were reported. */
ctl_graph *ctl_elaborate(ctl_arena *arena, ctl_sink *sink, uint32_t file, const ctl_elaborate_options *options,
                         ctl_spec *spec);

#endif
