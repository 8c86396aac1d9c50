/* places: where in the .ctl files what a program does was written, collected while the program is made. A place is named by the
 * user's own line; where the standard library computes it, the library's line stands beside. Equal places are one, so that a task
 * carries a number. */
#ifndef CTL_GRAPH_PLACES_H
#define CTL_GRAPH_PLACES_H

#include "compiler/graph/graph.h"
#include "runtime/program.h"

typedef struct ctl_places {
    ctl_arena *arena;
    const ctl_sink *sink; /* has the sources; NULL: no node has a place */
    ctl_map numbers;
    CTL_VEC(ctl_program_place) at; /* texts in the arena */
} ctl_places;

/* What ctl_task.place says of a node, and ctl_program_param.place of a parameter, with these spans: 0, or the number of its place
 * from 1 on. */
uint32_t ctl_places_number(ctl_places *p, ctl_span span, ctl_span user);
/* The same places in the arena of a program, with texts of their own. */
void ctl_places_copy(ctl_arena *arena, const ctl_program_place *from, size_t n, ctl_program *to);

#endif
