/* internal: what the elaborator's files share.
 *
 * Elaboration runs the bodies of nets as programs that build a *draft*: a ctl_graph used as a notebook, which gives
 * every value its type at once, with side tables for what is still open. A state is a STATE node over its first edge;
 * its further edges (added later, also by controls), and what stands in series behind it, are in ctl_draft.states.
 * finish.c then walks the draft from the outputs and writes the final graph, states summed in textual order.
 *
 * Names form a tree of entities: an instance's children are its states, weights, values and instances; a dotted
 * label makes groups on its way, an indexed one a family. Controls walk that tree. */
#ifndef CTL_ELABORATE_INTERNAL_H
#define CTL_ELABORATE_INTERNAL_H

#include "compiler/elaborate/elaborate.h"

typedef struct ctl_scope ctl_scope;
typedef struct ctl_instance ctl_instance;
typedef struct ctl_elab ctl_elab;

/* A value of an expression: a number known while compiling, a node of the draft, or nothing after an error. */
typedef enum ctl_value_kind { VALUE_ERROR, VALUE_NUMBER, VALUE_NODE, VALUE_WORD } ctl_value_kind;
typedef struct ctl_value {
    ctl_value_kind kind;
    double number;
    ctl_node_id node;
    const char *word; /* VALUE_WORD: true, false, eye, cosine, .. as arguments */
} ctl_value;

typedef enum ctl_entity_kind {
    ENTITY_GROUP,    /* only a step on the way of a dotted name, or a family of indexed ones */
    ENTITY_STATE,    /* node */
    ENTITY_WEIGHT,   /* node, a PARAM */
    ENTITY_VALUE,    /* value */
    ENTITY_INSTANCE  /* instance */
} ctl_entity_kind;

typedef struct ctl_entity {
    ctl_entity_kind kind;
    const char *name;         /* last segment, "[3]" for a member of a family */
    const char *path;         /* from the instance at the root: the checkpoint's spelling */
    struct ctl_entity *parent;
    ctl_map children;         /* name -> ctl_entity; "[3]" for indices */
    CTL_VEC(struct ctl_entity *) order; /* the children as declared */
    ctl_value value;
    ctl_instance *instance;
    ctl_span span;
} ctl_entity;

/* Where names are looked up: a body, an iteration of a loop, a control on top of a body, a function's arguments. */
struct ctl_scope {
    ctl_scope *parent;
    ctl_entity *names;
    bool iteration; /* of a loop: indexed names are declared further out */
};

struct ctl_instance {
    const ctl_decl *net;
    const struct ctl_loaded *module; /* where the net is declared */
    ctl_entity *entity;              /* names of the body; its path is the instance's */
    ctl_instance *outer;             /* the instance in whose body (or on which) it was made */
    ctl_scope *scope;
    bool by_control, labelled;
    bool broken; /* an error makes the rest of the body meaningless */
};

typedef struct ctl_loaded { /* an opened module */
    const char *name;
    ctl_ast_module *ast;
    CTL_VEC(struct ctl_loaded *) imports;
    ctl_map decls; /* name -> ctl_decl */
    bool loading;
} ctl_loaded;

typedef struct ctl_edge {
    ctl_node_id node;
    ctl_span span;
    ctl_span user; /* ctl_node.user */
    const char *control; /* whose line added it to a state that was there; NULL: the model's own */
} ctl_edge;
typedef struct ctl_state { /* side table of a STATE node of the draft */
    CTL_VEC(ctl_edge) edges;
    CTL_VEC(ctl_node_id) series; /* what readers see instead, in order; the last one counts */
    ctl_node_id raw_of;          /* a proxy made for a series: the value of raw_of after raw_level of its series */
    uint32_t raw_level;
    const char *path;
} ctl_state;

typedef struct ctl_weight_use { /* a product with a weight on the right */
    ctl_node_id product, left, right;
} ctl_weight_use;

typedef struct ctl_user_call { /* a call that stands in the user's own files */
    ctl_span span;
    const char *callee;
} ctl_user_call;

struct ctl_elab {
    ctl_arena *arena;
    ctl_sink *sink;
    const ctl_elaborate_options *options;
    ctl_map modules; /* name -> ctl_loaded */
    ctl_graph *draft;
    CTL_VEC(ctl_state *) states;       /* by node; NULL where the node is no state */
    CTL_VEC(ctl_node_id) replaced;     /* by node; CTL_NONE, or what stands for a product since `~` */
    CTL_VEC(ctl_weight_use) uses;
    CTL_VEC(ctl_edge) lines;           /* of `~` by the product it replaced, of `=>` by its result: for network.c */
    CTL_VEC(ctl_instance *) instances; /* all, in order of creation */
    ctl_map weight_paths;              /* path -> ctl_entity of the weight */
    const ctl_loaded *module;          /* whose text runs */
    ctl_instance *making;              /* the instance whose body runs, or on which a control runs */
    const char *control;               /* the control that runs, or NULL */
    ctl_entity *owner;                 /* where labelled calls of the present statement put their instances; NULL: by
                                          the rules of the scope */
    int64_t star;                      /* what [*] means on this line; -1: nothing */
    int depth, height;
    size_t steps;                      /* statements run, against endless loops */
    bool too_many_steps;               /* it was said */
    bool cut_short;                    /* an error ended a loop: its families may lack members */
    const ctl_stmt *loop;              /* the innermost `for` that runs, or NULL */
    ctl_user_call entered;             /* the innermost call, in the user's own files, of what runs */
    int explained;                     /* errors that there were when the user's call was last named as what led to one */
    ctl_spec *spec;
};

enum { CTL_MOST_NESTED = 100, CTL_MOST_HEIGHT = 2000, CTL_MOST_STEPS = 1000000, CTL_MOST_NODES = 5000000 };

/* ---- scope.c ---- */
/* A child of parent; with name NULL one that has parent's path and is not entered in its children. */
ctl_entity *ctl_entity_new(ctl_elab *e, ctl_entity *parent, const char *name, ctl_entity_kind kind, ctl_span span);
ctl_entity *ctl_entity_child(const ctl_entity *entity, const char *name);
/* The entity that `path` names from `scope`, or NULL with nothing reported; *done says how many segments were walked,
 * *last the entity reached. A final `.T` is left over. Index expressions are evaluated in `scope`. */
ctl_entity *ctl_resolve(ctl_elab *e, ctl_scope *scope, const ctl_path *path, size_t *done, ctl_entity **last);
/* Declares path under `root` (NULL: where the scope's rules say), making groups and families; NULL and an error when
 * the name is taken. */
ctl_entity *ctl_declare(ctl_elab *e, ctl_scope *scope, ctl_entity *root, const ctl_path *path, ctl_entity_kind kind);
/* Reports that path names nothing, with the nearest name. */
void ctl_unknown(ctl_elab *e, ctl_scope *scope, const ctl_path *path, ctl_code code);
const char *ctl_path_text(ctl_arena *arena, const ctl_path *path);
const char *ctl_nearest(ctl_elab *e, ctl_scope *scope, const char *name);
ctl_scope *ctl_scope_new(ctl_elab *e, ctl_scope *parent, ctl_entity *names);
/* Names a value in the scope: a parameter, an argument, the number of a loop's turn. What had the name before is this value now. */
void ctl_name_value(ctl_elab *e, ctl_scope *scope, const char *name, ctl_value v, ctl_span span);
/* path matched against the dotted name of a weight: names, [*] or an index for a numbered part, ** for any parts. */
bool ctl_path_matches(ctl_elab *e, ctl_scope *scope, const ctl_path *pattern, const char *prefix, const char *name);

/* ---- eval.c ---- */
ctl_value ctl_eval(ctl_elab *e, ctl_scope *scope, const ctl_expr *expr);
bool ctl_eval_int(ctl_elab *e, ctl_scope *scope, const ctl_expr *expr, const char *what, int64_t *out);
bool ctl_eval_number(ctl_elab *e, ctl_scope *scope, const ctl_expr *expr, const char *what, double *out);
bool ctl_eval_bool(ctl_elab *e, ctl_scope *scope, const ctl_expr *expr, bool *out);
ctl_value ctl_number(double x);
ctl_value ctl_node_value(ctl_node_id node);
bool ctl_in_library(const ctl_elab *e, ctl_span span);
/* Where the user wrote what is written at span: there, or, where that is the library's, at the call that led there. */
ctl_span ctl_users_span(const ctl_elab *e, ctl_span span);
/* What runs from here on is led to by this call; returns what `entered` was, for its end. */
ctl_user_call ctl_enter(ctl_elab *e, const ctl_expr *call, const char *callee);
/* What is wrong within the library's text is mostly what was passed to it: names the user's call that led to the last
 * error there, once an error. errors: how many there were before what has just run. */
void ctl_explain(ctl_elab *e, int errors);
/* Adds a node to the draft; reports what the rules say against it. */
ctl_value ctl_emit(ctl_elab *e, ctl_span span, ctl_op op, int nin, const ctl_node_id *in, int64_t i0, int64_t i1, double f);
ctl_node_id ctl_as_node(ctl_elab *e, ctl_value v, ctl_span span); /* numbers become constants */
const char *ctl_shape_text(ctl_elab *e, ctl_node_id node);
ctl_value ctl_state_new(ctl_elab *e, ctl_span span, const char *path, ctl_node_id first);
void ctl_state_edge(ctl_elab *e, ctl_node_id state, ctl_node_id edge, ctl_span span);
ctl_value ctl_entity_value(ctl_elab *e, ctl_entity *entity, ctl_span span);

/* ---- builtins.c ---- */
bool ctl_is_builtin(const char *name);
ctl_value ctl_builtin(ctl_elab *e, ctl_scope *scope, const ctl_expr *call);
const char *ctl_builtin_nearest(const char *name, int *distance);

/* ---- sequences.c ---- */
enum { CTL_MOST_TOP = 64 };
bool ctl_sequences_there(ctl_elab *e, ctl_span span, const char *what); /* else says that `what` needs them */
ctl_value ctl_build_first(ctl_elab *e, ctl_span span, ctl_node_id x, int64_t which, const char *name);
ctl_value ctl_build_row_of_sequence(ctl_elab *e, ctl_span span, ctl_node_id x, ctl_node_id which);
ctl_value ctl_build_pool(ctl_elab *e, ctl_span span, ctl_node_id x);
ctl_value ctl_build_prepend(ctl_elab *e, ctl_span span, ctl_node_id before, ctl_node_id x);
ctl_value ctl_build_mix(ctl_elab *e, ctl_span span, ctl_node_id m, ctl_node_id x);
ctl_value ctl_build_top(ctl_elab *e, ctl_span span, ctl_node_id x, int64_t k);

/* ---- net.c ---- */
/* The net or function that a path of names means in a module: its own, an import's, the prelude's. */
const ctl_decl *ctl_find_decl(ctl_elab *e, const ctl_loaded *module, const ctl_path *path, ctl_decl_kind kind,
                              const ctl_loaded **where);
/* Calls what call names: a builtin, a function or a net. inputs: values that come before the call's own arguments
 * (the state in series, the product's operands). */
ctl_value ctl_call(ctl_elab *e, ctl_scope *scope, const ctl_expr *call, const ctl_value *inputs, size_t given);
/* The model's instance: its inputs become the graph's. */
ctl_instance *ctl_instantiate_root(ctl_elab *e, const ctl_decl *net, const ctl_loaded *module, const ctl_expr *call);
/* Evaluates a call's named arguments in `caller`, defaults in `into` (as text of module `home`), and enters all
 * parameters in `into`. */
bool ctl_bind_params(ctl_elab *e, ctl_scope *into, const ctl_loaded *home, ctl_scope *caller,
                     const ctl_parameter *params, size_t nparams, const ctl_expr *call, const char *what);

/* ---- statements.c ---- */
void ctl_run_block(ctl_elab *e, ctl_scope *scope, const ctl_block *block);
/* False, and said once, when more statements were run than a network can need. */
bool ctl_count_step(ctl_elab *e, ctl_span span);

/* ---- control.c ---- */
void ctl_run_targeted(ctl_elab *e, ctl_scope *scope, const ctl_stmt *stmt); /* <- => ~ with patterns, train, freeze */
void ctl_apply_control(ctl_elab *e, const ctl_loaded *module, const ctl_expr *call);

/* ---- model.c, modules.c, settings.c ---- */
ctl_loaded *ctl_load_module(ctl_elab *e, const char *name, ctl_span span);
ctl_loaded *ctl_load_main(ctl_elab *e, uint32_t file);
void ctl_read_settings(ctl_elab *e, const ctl_decl *tune, ctl_expr *model_call);

/* ---- finish.c ---- */
ctl_graph *ctl_finish(ctl_elab *e, ctl_instance *root);

/* ---- network.c ---- */
struct ctl_network *ctl_network_read(ctl_elab *e, ctl_instance *root);

#endif
