/* line_diff: what changed between two texts, line by line, in the form of `diff -u`. */
#ifndef CTLC_LINE_DIFF_H
#define CTLC_LINE_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* False: no memory; nothing has been printed. */
bool line_diff_print(FILE *to, const char *name, const char *before, size_t nbefore, const char *after, size_t nafter);

#endif
