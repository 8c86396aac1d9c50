/* match: which tensor of some files is which parameter of a program, and what is said about those that are
 * not. Shared by weights and adapters (which load into a session) and by merging (which has no session). */
#ifndef CTL_MATCH_H
#define CTL_MATCH_H

#include "runtime/program.h"
#include "runtime/safetensors.h"

enum {
    CTL_MOST_SAID = 8,   /* names listed one by one before "and 200 more" */
    CTL_MOST_MISFITS = 3 /* the same for tensors that do not fit */
};

typedef struct ctl_match {
    const ctl_program *program;
    ctl_place place;
    ctl_tensors **sets; /* npaths */
    bool **used;        /* by set and number of the tensor: a parameter's */
    size_t npaths, nsets;
    const ctl_tensor **of_param; /* nparams; NULL: no tensor */
    size_t unused, missing, misfits;
} ctl_match;

/* Opens every path (single: ctl_tensors_open's) and finds the parameters' tensors; of several files the last
 * one counts. names: by parameter what the files call it, or NULL; absent: names.h. Tensors that do not fit
 * are said and counted. */
ctl_status ctl_match_open(ctl_match *m, const ctl_program *program, ctl_place place, const char *const *paths,
                          size_t npaths, const char *single, char *const *names);
void ctl_match_free(ctl_match *m);

/* Says that a parameter has no tensor, with the nearest name that the files have for nothing else; the first
 * few are said one by one, the rest by ctl_match_say_more, whose hint may be NULL. */
void ctl_match_say_missing(ctl_match *m, const ctl_program_param *p, ctl_severity severity, const char *then);
void ctl_match_say_more(const ctl_match *m, ctl_severity severity, const char *hint);
/* Names tensors that are no parameter's, but for those that no model learns (names.h) and copies of one that
 * is. */
void ctl_match_say_unused(ctl_match *m, ctl_severity severity);

/* Can this tensor be the values of the parameter? Says why not. A tensor [a, b, c] may stand for [a, b * c],
 * [1, a, b] for [a, b], [1, n] and [n, 1] for [n]. */
bool ctl_tensor_fits(const ctl_tensor *t, const ctl_program_param *p, ctl_voice voice);

/* How unlike two names are, by what differs between their common begin and end; more than limit: limit + 1. A
 * name that is the other behind a prefix and a dot counts as near. */
int ctl_name_distance(const char *a, const char *b, int limit);

#endif
