/* graph: the one representation between elaboration and the plan. A DAG of values in an array, in topological order
 * (a node's inputs have smaller numbers); operations are listed in ops.def.
 *
 * A value is a matrix of rows x columns. Rows belong to a row space; `split` says how many rows of the value stand for
 * one row of the space (8 heads: split 8). Space none is for weights and constants: such a value broadcasts over the
 * rows of any space when it has one row, and over columns when it has one column.
 *
 * Passes read a graph and write a new one (graph_copy.h has the machinery); nodes are never changed once another
 * node uses them. Until the round pass every real value has dtype CTL_REAL: the engine decides (f64 or f32). After it
 * a CAST node with dtype CTL_BF16 is a bf16 value and every other real value is f32. */
#ifndef CTL_GRAPH_H
#define CTL_GRAPH_H

#include <stdio.h>

#include "base/diag.h"
#include "base/dtype.h"

#define OP(id, text, cls, least, most) OP_##id,
typedef enum ctl_op {
#include "compiler/graph/ops.def"
    OP_COUNT
} ctl_op;
#undef OP

typedef enum ctl_op_class {
    CLASS_LEAF, CLASS_MAP, CLASS_REDUCE, CLASS_COLUMN, CLASS_VIEW, CLASS_ROWMAP, CLASS_PRODUCT, CLASS_FUSED
} ctl_op_class;
const char *ctl_op_name(ctl_op op);
ctl_op_class ctl_op_class_of(ctl_op op);

/* Tokens are the rows that the data gives. Where they come as sequences of one length, SEQUENCES has one row for each,
 * and a space from PREPENDED on has for each some more rows before its tokens (ctl_graph.extra says how many). */
enum { CTL_MOST_PREPENDED = 4, CTL_MOST_ROWS = 1 << 24 /* of a space: their numbers are exact in f32 */ };
typedef enum ctl_space {
    SPACE_NONE, SPACE_TOKENS, SPACE_SEQUENCES, SPACE_PREPENDED, SPACE_COUNT = SPACE_PREPENDED + CTL_MOST_PREPENDED
} ctl_space;

/* When a value is computed: once a load (frozen weights and constants alone), once an update (weights alone, some
 * trained), once a micro-step. Derived by ctl_graph_add. */
typedef enum ctl_rate { RATE_LOAD, RATE_UPDATE, RATE_STEP } ctl_rate;

/* Which entry of the program a value of rate step belongs to. Forward and backward make up a micro-step; evaluate is
 * a forward of its own, with dropout off and nothing saved. All three read the values of rates load and update. */
typedef enum ctl_entry { ENTRY_FORWARD, ENTRY_BACKWARD, ENTRY_EVALUATE } ctl_entry;

typedef uint32_t ctl_node_id;
#define CTL_NONE UINT32_MAX

typedef struct ctl_node {
    uint16_t op;
    uint8_t dtype; /* ctl_dtype */
    uint8_t space; /* ctl_space */
    uint8_t rate;  /* ctl_rate */
    uint8_t entry; /* ctl_entry; ENTRY_FORWARD for leaves, which every entry reads, and unless rate is RATE_STEP */
    int32_t split; /* 1 but after SPLIT */
    int64_t rows, cols;
    uint32_t nin;
    ctl_node_id *in;
    int64_t i[3]; /* attributes; ops.def says which */
    double f;
    int32_t phase;    /* after the remat pass, of rate step: when it is computed (remat.h); else 0 */
    ctl_span span;    /* where it was written */
    ctl_span user;    /* the innermost place of the user's own files that led there: span itself, or a call */
    const char *path; /* STATE, PARAM, INPUT: its name; else the instance it was written in; NULL for made-up ones */
} ctl_node;

typedef enum ctl_init_kind { INIT_CONST, INIT_UNIFORM, INIT_NORMAL, INIT_EYE, INIT_VALUE } ctl_init_kind;

typedef struct ctl_param {
    const char *name;   /* the checkpoint's name of the tensor */
    int64_t rows, cols; /* a one-dimensional tensor [n] is 1 x n */
    int ndims;          /* 1 or 2, for files */
    bool trained;
    bool made_by_control;
    ctl_init_kind init; /* for tensors that no file gives */
    double init_arg;    /* the constant; half-width of the uniform; standard deviation */
    ctl_node_id init_node; /* INIT_VALUE: a value of rate load of this graph's weights */
    ctl_node_id node;      /* its PARAM node, CTL_NONE when nothing uses it */
    ctl_node_id grad;      /* after differentiation: d loss / d param, summed over the micro-step's rows */
    ctl_span span, user;   /* as a node's */
} ctl_param;

typedef struct ctl_input {
    const char *name;
    bool is_id;         /* integers, one a row; else real numbers */
    int space;
    int64_t cols;
    ctl_node_id node, grad; /* grad: only when asked for */
} ctl_input;

typedef struct ctl_output {
    const char *name;
    ctl_node_id node;     /* entry forward; CTL_NONE for one of evaluate alone */
    ctl_node_id evaluate; /* entry evaluate; CTL_NONE until that pass */
} ctl_output;

typedef struct ctl_graph {
    ctl_arena *arena;
    ctl_node *at;
    size_t n, cap;
    int64_t rows_of[SPACE_COUNT]; /* rows of each space in one micro-step */
    int64_t classes;              /* columns of the logits that row_results tells of; 0: it does not */
    int64_t sequence;             /* fixed length of a sequence, 0 when documents are packed */
    int64_t extra[SPACE_COUNT];   /* of the spaces from PREPENDED on: rows before each sequence's tokens; 0: unused */
    CTL_VEC(ctl_param) params;
    CTL_VEC(ctl_input) inputs;
    CTL_VEC(ctl_output) outputs; /* named results: "logits", ...; "loss" among them when there is one */
    ctl_node_id loss;            /* CTL_NONE for a network without one */
    ctl_entry entry;             /* what ctl_graph_add gives to new nodes of rate step */
    int32_t drop_sites;
    const char *misfit; /* the first defect of a builder (ctl_build), which the verifier reports; NULL: none */
} ctl_graph;

ctl_graph *ctl_graph_new(ctl_arena *arena);
/* Gives a graph the rows and spaces of another. */
void ctl_graph_spaces_from(ctl_graph *g, const ctl_graph *from);
/* The space whose sequences have `extra` more rows than those of tokens (0: tokens itself), found or made;
 * SPACE_NONE when there are too many spaces or rows, or documents are packed. */
ctl_space ctl_graph_space(ctl_graph *g, int64_t extra);
/* Rows of one sequence of a space of tokens; 0 where there are no sequences. */
int64_t ctl_graph_sequence(const ctl_graph *g, int space);
/* Does a token's row depend on those behind it: is there attention to the whole document, or a mix over a sequence? */
bool ctl_graph_sees_ahead(const ctl_graph *g);
/* Whether rows of the space are tokens of documents: TOKENS, or one with more before them. */
static inline bool ctl_space_has_documents(int space) { return space == SPACE_TOKENS || space >= SPACE_PREPENDED; }

/* Adds a node: derives rows, cols, space, split, dtype, rate and entry from the inputs and attributes by the rules of
 * rules.c. Returns CTL_NONE and points *why at a sentence (in the graph's arena) when the shapes do not fit (both
 * shapes in it). INPUT and PARAM take their type from graph.inputs and graph.params (push there first); a PARAM may
 * ask for dtype CTL_BF16, a CAST must say its dtype. INDEX and EYE take rows and cols from i[0] (and i[1]), or from the
 * template where i[0] is 0. The inputs are copied. */
ctl_node_id ctl_graph_add(ctl_graph *g, const ctl_node *node, const char **why);

/* For builders that know the shapes fit: adds, with span and path of `like` (CTL_NONE: none); a misfit is a defect of
 * ours and comes back as CTL_NONE, which every later ctl_build passes on; the verifier reports it. */
ctl_node_id ctl_build(ctl_graph *g, ctl_node_id like, ctl_op op, int nin, const ctl_node_id *in, const int64_t i[3],
                      double f);
#define CTL_B0(g, like, op, ...) ctl_build((g), (like), (op), 0, NULL, (const int64_t[3]){__VA_ARGS__}, 0)
#define CTL_B1(g, like, op, a)   ctl_build((g), (like), (op), 1, (const ctl_node_id[]){(a)}, NULL, 0)
#define CTL_B2(g, like, op, a, b) ctl_build((g), (like), (op), 2, (const ctl_node_id[]){(a), (b)}, NULL, 0)
#define CTL_B3(g, like, op, a, b, c) ctl_build((g), (like), (op), 3, (const ctl_node_id[]){(a), (b), (c)}, NULL, 0)
ctl_node_id ctl_build_const(ctl_graph *g, double value);
ctl_node_id ctl_build_cast(ctl_graph *g, ctl_node_id like, ctl_node_id a, ctl_dtype dtype); /* CTL_BF16 or CTL_REAL */

/* `tokens[64] x 128`, with split 8 `tokens[64 x 8] x 16`, of weights `[768 x 128]`; for messages. */
const char *ctl_node_shape(ctl_arena *arena, const ctl_node *node);

/* Every invariant: order, arities, types as the rules derive them, dtypes, parts, outputs and grads in range and of the
 * right shape. False and a sentence in *why at the first that fails. */
bool ctl_graph_verify(const ctl_graph *g, ctl_arena *scratch, const char **why);

/* One line a node: `%12 = matmul %3 %7 {ta=0 tb=1} : tokens[64] x 128 real forward  # model.layers.0.self_attn.q_proj`.
 * The last word is the rate, or for rate step the entry. */
void ctl_graph_print(const ctl_graph *g, ctl_text *out);

#endif
