/* adaptation: what a spec's controls do to the model, as data that a program carries: for adapters' files,
 * and for merging a control into the weights that it stands beside.
 *
 * A form is a product with a weight as the controls have changed it: a small expression of the product's left
 * side and of weights. It is cut out of the network where the changed state and that left side are all it
 * touches, so that whatever a control was called and however it was written, its form says what it computes:
 * run on numbers it shows whether it is LoRA, and run on the identity it gives the weight that would do the
 * same alone. */
#ifndef CTL_ADAPTATION_H
#define CTL_ADAPTATION_H

#include <setjmp.h>

#include "base/base.h"

typedef enum ctl_form_op {
    FORM_X,     /* the left side of the product: rows of numbers */
    FORM_PARAM, /* i[0]: number of the parameter */
    FORM_CONST, /* f */
    FORM_EYE,   /* [i[0], i[1]] */
    FORM_SAME,  /* states, what has no derivative */
    FORM_DROP,  /* f: p; the identity outside training */
    FORM_NEG,
    FORM_SQRT,
    FORM_RSQRT,
    FORM_EXP,
    FORM_TANH,
    FORM_ADD,
    FORM_SUB,
    FORM_MUL,
    FORM_DIV,
    FORM_MATMUL, /* i[0], i[1]: its sides are turned */
    FORM_TURN,
    FORM_SUM,    /* along rows: [r, c] -> [r, 1] */
    FORM_COLUMNS /* i[0] .. i[1] - 1 */
} ctl_form_op;

typedef struct ctl_form_node {
    ctl_form_op op;
    uint32_t in[2]; /* earlier nodes */
    int64_t i[2];
    double f;
} ctl_form_node;

enum { CTL_NO_PARAM = UINT32_MAX };

typedef struct ctl_form {
    uint32_t weight;  /* number of the parameter: the model's */
    uint32_t bias;    /* of the state that the product goes into; CTL_NO_PARAM: none, or not in the form */
    bool turned;      /* the product is x @ weight.T */
    bool shared;      /* something else reads the weight too */
    const char *path; /* of the state, for messages */
    ctl_form_node *nodes; /* the last is the result */
    size_t n;
} ctl_form;

typedef enum ctl_change_kind { CHANGE_EDGE, CHANGE_SERIES, CHANGE_PRODUCT } ctl_change_kind;
typedef struct ctl_change { /* an edge between states that a control made */
    ctl_change_kind kind;
    const char *to;       /* path of the state */
    const char *text;     /* what the control's line says right of its arrow */
    const char **from;    /* paths of the states that it reads */
    const char **weights; /* names of the parameters in it */
    size_t nfrom, nweights;
} ctl_change;

typedef struct ctl_adaptation {
    const char *tune; /* the tune block's name, or "" */
    const char **set; /* "key=value" */
    size_t nset;
    ctl_change *changes;
    size_t nchanges;
    ctl_form *forms;
    size_t nforms;
    const char *apart; /* why a control is in no form: a clause about it; NULL: all are */
    /* of the copy: */
    ctl_allocator allocator;
    ctl_arena arena;
} ctl_adaptation;

/* A copy with memory of its own; NULL: none to be had. */
ctl_adaptation *ctl_adaptation_copy(const ctl_adaptation *from, const ctl_allocator *allocator);
void ctl_adaptation_free(ctl_adaptation *a); /* NULL is fine */

#endif
