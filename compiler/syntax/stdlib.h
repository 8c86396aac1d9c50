/* stdlib: the standard library's sources, embedded in the binary by tools/embed.cmake. */
#ifndef CTL_STDLIB_H
#define CTL_STDLIB_H

#include <stddef.h>

typedef struct ctl_stdlib_file {
    const char *name; /* "llama"; NULL ends the table */
    const char *text;
    size_t size;
} ctl_stdlib_file;
extern const ctl_stdlib_file ctl_stdlib[];

#endif
