/* group: which nodes of a graph are computed together, and in what order: the units, which lowering turns
 * into tasks.
 *
 * Every node plays one of these parts, decided by the graph alone (group_values.c), never by fusion:
 * - ROW: computed by a row program (maps, reductions, column sums, takes, repeats, most columns and cats);
 * - TASK: a task of its own (product, attention, head, scatter, transpose of a matrix). A product takes its
 * bias, one addend and the rounding of its result along where nothing else reads what lies between
 * (`absorbed`); the results of a fused node are rounded by their task where only a CAST reads them. RESULT is
 * where a task's result is kept;
 * - VIEW: other coordinates of stored numbers (split, join, columns of what is stored, a vector turned);
 * - PANEL: a STACK, or a CAT that a task reads: a buffer into whose slices the parts are written directly.
 *
 * Units are made list by list (load, update, forward, backward, evaluate). Tasks come in the graph's order; a
 * ROW node is computed when first needed, and joins the row program of its latest producer if everything else
 * that it reads is ready before that one; else one of the row programs after the list's last task (of
 * weights: when they share an input); else it begins a new one. So there is never a cycle, and what the
 * backward pass rebuilds is rebuilt late. A row program with tasks after it is joined only when that keeps no
 * more bytes until now than would be kept anyway. Repeats are not computed: whoever reads one loads its row
 * for each part.
 *
 * A value that only row programs read and that does not fit into one with all of them is computed again where
 * it is read, not stored, when that is cheap and loads no more bytes than loading the value would
 * (group_again.c). */
#ifndef CTL_GROUP_H
#define CTL_GROUP_H

#include "compiler/graph/graph.h"
#include "runtime/program.h"

typedef enum ctl_part {
    PART_UNUSED,
    PART_LEAF,
    PART_ROW,
    PART_TASK,
    PART_ABSORBED,
    PART_RESULT,
    PART_VIEW,
    PART_PANEL
} ctl_part;

enum { CTL_FUSED_RESULTS = 4 };

/* What grouping knows of a node. */
typedef struct ctl_value {
    uint8_t part; /* ctl_part */
    uint8_t list; /* ctl_program_entry in which it is computed; RUN_LOAD for leaves */
    bool inlined; /* row programs that read it compute it again: a few numbers from constants and INDEX */
    bool root; /* needed whoever reads it: an output, an initial value, a gradient, or read by another list */
    bool crossing; /* read by another list than its own, or after its list has ended */
    bool stored;   /* ROW: some task reads it from memory */
    bool again;    /* ROW: computed again by each row program that reads it, instead of being stored */
    bool needed;   /* ROW: some member of its row program reads it, or it is stored */
    bool whole;    /* its rows lie one after the other without gaps, in a place of its own */
    bool ready;
    uint32_t unit;  /* when ready: the unit that completes it */
    uint32_t group; /* ROW, when ready: the unit whose row program computes it */
    uint32_t uses;  /* edges from live nodes, and one for each root */
    ctl_node_id
        same; /* the node whose numbers these are (identities, exact conversions): what row programs read */
    ctl_node_id task;         /* RESULT: its task */
    ctl_node_id panel;        /* the panel whose slice this is, or CTL_NONE */
    int64_t panel_at;         /* first column (CAT) or row (STACK) of the slice */
    uint32_t sum_into;        /* gradient written straight into this parameter's: its number, or UINT32_MAX */
    ctl_node_id bias, addend, more; /* TASK, a product: CTL_NONE or what it adds */
    ctl_node_id result[CTL_FUSED_RESULTS]; /* TASK: its results, CTL_NONE for one that nothing reads */
} ctl_value;

/* Something a row program does beside computing its members: adds a value to a gradient, or copies it to a
 * panel. */
typedef struct ctl_row_extra {
    ctl_node_id value;
    uint32_t param;    /* the parameter whose gradient grows, or UINT32_MAX */
    ctl_node_id panel; /* else the panel, and the row or column where the value begins in it */
    int64_t at;
} ctl_row_extra;

typedef enum ctl_unit_kind { UNIT_ROWS, UNIT_TASK, UNIT_FOLD } ctl_unit_kind;

typedef struct ctl_unit {
    ctl_unit_kind kind;
    ctl_node_id node; /* TASK: its node. FOLD: the column sum that it completes */
    /* ROWS */
    int space;
    int32_t split;
    int64_t rows; /* of the space */
    CTL_VEC(ctl_node_id) members;
    CTL_VEC(ctl_node_id) outside; /* what it loads */
    CTL_VEC(ctl_row_extra) extras;
} ctl_unit;

typedef struct ctl_units {
    ctl_unit *at;
    size_t n, cap;
} ctl_units;

/* A term of a parameter's gradient. */
typedef struct ctl_sink_term {
    ctl_node_id value;
    uint32_t param;
} ctl_sink_term;

typedef struct ctl_grouping {
    ctl_arena *arena;
    const ctl_graph *g;
    bool no_fuse;
    int64_t narrow;   /* ctl_target.narrow */
    ctl_value *value; /* g->n */
    ctl_units list[RUN_COUNT];
    CTL_VEC(ctl_sink_term) sinks;
    uint32_t *reader_begin; /* g->n + 1: the units' reads of a node, as positions in readers */
    ctl_node_id *readers;
    const char *why; /* a sentence when grouping fails */
} ctl_grouping;

/* NULL and *why for a graph that cannot be lowered. */
ctl_grouping *ctl_group(ctl_arena *arena, const ctl_graph *g, bool no_fuse, int64_t narrow, const char **why);

/* ---- shared by the files of grouping and lowering ---- */
typedef CTL_VEC(ctl_node_id) ctl_node_ids;
/* group_values.c: the part of every node, epilogues, panels, gradients' terms. */
void ctl_group_values(ctl_grouping *u);
/* What computing a node reads: row programs' own reads (through identities, less what is inlined), or the
 * stored values that a task, view or panel takes. Appends to out. */
void ctl_group_reads(ctl_grouping *u, ctl_node_id id, ctl_node_ids *out);
/* Follows identities of one element type: where a task finds the number. */
ctl_node_id ctl_group_stored(const ctl_grouping *u, ctl_node_id id);
/* Follows views down to what owns the storage. */
ctl_node_id ctl_group_base(const ctl_grouping *u, ctl_node_id id);
/* group_again.c: sets `again` (readers are known). */
void ctl_group_again(ctl_grouping *u);
/* group_needed.c: after all units are made, sets `stored` and `needed`. */
void ctl_group_needed(ctl_grouping *u);
/* What a row program must load to compute the node: its reads, with what is computed again replaced by its
 * own reads, less what is in the row program. Also what it takes from its own row program (own may be NULL).
 */
void ctl_group_loads(ctl_grouping *u, int list, uint32_t unit, ctl_node_id id, ctl_node_ids *out,
                     ctl_node_ids *own);
bool ctl_group_in_unit(const ctl_grouping *u, int list, uint32_t unit, ctl_node_id id);
/* The row program that a ROW node belongs to runs over these rows. */
void ctl_group_rows(const ctl_grouping *u, ctl_node_id id, int *space, int32_t *split, int64_t *rows);
/* Whether the reader, a ROW node, can stand in one row program with `read`. */
bool ctl_group_joins(const ctl_grouping *u, ctl_node_id reader, ctl_node_id read);
ctl_dtype ctl_group_dtype(const ctl_grouping *u, ctl_node_id id);

#endif
