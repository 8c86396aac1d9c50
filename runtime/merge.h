/* merge: a checkpoint that does alone what a checkpoint and an adapter do together. */
#ifndef CTL_MERGE_H
#define CTL_MERGE_H

#include "runtime/match.h"

typedef struct ctl_merge_report {
    size_t changed; /* tensors with new values */
    size_t added;   /* tensors that the checkpoint did not have: heads that were trained */
    size_t copied;  /* the others */
} ctl_merge_report;

/* How far it is, told as each tensor is begun and at the end: a large checkpoint takes minutes. */
typedef struct ctl_merge_watch {
    void (*share)(void *ctx, size_t tensors, size_t of);
    void *ctx;
} ctl_merge_watch;

/* Into the directory out, which may not be the checkpoint's: its safetensors with the same names, types and
 * shards, and the small files beside them (config.json, the tokenizer's). Each changed weight is computed in
 * doubles and rounded once. What no weights could do is said before anything is written (E0713). watch
 * and report may be NULL. */
ctl_status ctl_merge(const ctl_program *program, const char *weights, const char *adapter, const char *out,
                     ctl_place place, const ctl_merge_watch *watch, ctl_merge_report *report);

#endif
