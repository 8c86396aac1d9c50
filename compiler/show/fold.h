/* fold: runs of items that are alike. */
#ifndef CTL_SHOW_FOLD_H
#define CTL_SHOW_FOLD_H

#include "compiler/show/show.h"

enum { RUN_NONE_SHOWN = -1, MOST_UNFOLDED = 150 /* lines of a section that is unfolded without being asked for */ };

typedef struct ctl_run {
    size_t first, n; /* items of the section */
    ptrdiff_t shown; /* the item that is unfolded, or RUN_NONE_SHOWN */
} ctl_run;

/* The longest run of items from `first` that are the same but for their place in the family: every number in a path
 * is either the same in all members or grows with them. */
ctl_run ctl_run_at(const ctl_section *section, size_t first, const char *unfold);
/* "layers.0..3.y" for the paths of a run's first and last member. */
const char *ctl_run_path(ctl_arena *arena, const char *first, const char *last);

#endif
