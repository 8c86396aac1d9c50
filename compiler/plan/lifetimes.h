/* lifetimes: what is to be packed, as a table of comma-separated values: the head line `id,lower,upper,size`
 * (columns in any order, further ones are kept), then a line for each buffer. A life is half-open: from
 * `lower` up to but not including `upper`. */
#ifndef CTL_LIFETIMES_H
#define CTL_LIFETIMES_H

#include "base/base.h"
#include "compiler/plan/layout.h"

typedef struct ctl_lifetimes {
    const char *head;   /* the head line, without its end */
    const char **lines; /* the others, as they stand; by item */
    ctl_layout_item *items;
    size_t n;
} ctl_lifetimes;

typedef struct ctl_lifetimes_error {
    size_t line, column; /* from 1; 0 where no place is to blame */
    char what[200];
} ctl_lifetimes_error;

/* Reads a table; false and an error when it is none. Everything is allocated in the arena. */
bool ctl_lifetimes_read(ctl_arena *arena, const char *text, size_t size, ctl_lifetimes *out,
                        ctl_lifetimes_error *error);
/* The same table with a column `offset`. */
void ctl_lifetimes_write(const ctl_lifetimes *table, ctl_text *out);

#endif
