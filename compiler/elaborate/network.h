/* network: the states and edges of a spec as its author addresses them, for those who draw it. It is read off the
 * draft, where states, their edges and what controls made are still apart; the graph has only values.
 *
 * A state is here when a control could name it. What lies between two of them - values, unlabelled instances, the
 * inside of a control - is inside the edge. An instance's input that only passes its value on is not here either,
 * but where a section begins. Members of a family (`layers[i]`) are sections; other instances' states stand among
 * those of the section around them, so that a section's names are those that a control on it writes. */
#ifndef CTL_NETWORK_H
#define CTL_NETWORK_H

#include "base/diag.h"

typedef enum ctl_link_kind {
    LINK_PLAIN,    /* no weights: an identity or a function */
    LINK_FROZEN,   /* through frozen weights */
    LINK_TRAINED,  /* through weights of the model of which some are trained */
    LINK_REPLACED, /* what `~` put in the place of a product of an edge that stands before it */
    LINK_NEW,      /* an edge that a control added */
    LINK_SERIES,   /* what `=>` put behind the state */
    LINK_KINDS
} ctl_link_kind;

typedef struct ctl_link_weight {
    const char *path;
    int64_t rows, cols;
    bool trained;
} ctl_link_weight;

typedef struct ctl_link { /* one edge into a state; several sources where its function reads several states */
    ctl_link_kind kind;
    const char *text; /* what a control's line says right of its arrow; NULL for the model's edges */
    CTL_VEC(const char *) sources; /* paths of states; "data:ids" for what comes from the data */
    CTL_VEC(ctl_link_weight) weights;
    ctl_span span; /* the line that says it */
} ctl_link;

typedef struct ctl_section ctl_section;
typedef struct ctl_network_item { /* a state, or a section */
    const char *path;
    const char *family; /* path of the family that this is a member of; NULL: of none */
    int64_t index;      /* in the family */
    CTL_VEC(ctl_link) links;
    ctl_section *section; /* NULL: a state */
} ctl_network_item;

struct ctl_section {
    const char *path; /* "" for the model itself */
    const char *net;
    CTL_VEC(ctl_network_item) items; /* as declared */
};

typedef struct ctl_network {
    const char *model;
    ctl_section *root;
} ctl_network;

#endif
