/* checkpoint: the state of a training run on disk, to go on from bit for bit.
 *
 *   OUT/latest                        one line: the directory that counts
 *   OUT/checkpoint-STEP/state.safetensors   parameter/NAME of everything trained or made by a control,
 * moment1/NAME, moment2/NAME OUT/checkpoint-STEP/state.json          numbers, the program's fingerprint, a
 * checksum of the tensors, the caller's text
 *
 * A checkpoint is written into a temporary directory, flushed, renamed, and only then named by `latest`,
 * itself replaced at once: a process killed at any time leaves the checkpoint before or the new one, whole.
 * The one before the latest is kept; older ones, and what killed processes left, are removed after that. One
 * process writes to an OUT at a time. */
#ifndef CTL_CHECKPOINT_H
#define CTL_CHECKPOINT_H

#include <stdint.h>

#include "ctl/ctlrt.h"
#include "runtime/files.h"

typedef struct ctl_checkpoint {
    uint64_t step, data_position, seed; /* seed: of the session; load sets it there */
    double learning_rate;
    char *loop; /* any text of the caller's, UTF-8; NULL or "": none. After load it belongs to the caller */
} ctl_checkpoint;

/* Makes OUT. seed is taken from the session, not from c. CTL_ERR_IO, and nothing older lost, when it cannot
 * be written. */
ctl_status ctl_checkpoint_save(ctl_session *s, const char *out, const ctl_checkpoint *c);

/* Loads what OUT/latest names: parameters, then ctl_session_load, then moments. *found is false, with CTL_OK,
 * when OUT has no checkpoint. All of it is verified before the session changes: the files, their checksum,
 * and that the program has the same parameters, shapes, compute dtype and optimizer. Weights of the base
 * model must have been loaded before. Free c->loop by ctl_checkpoint_free. */
ctl_status ctl_checkpoint_load(ctl_session *s, const char *out, ctl_checkpoint *c, bool *found);
void ctl_checkpoint_free(const ctl_session *s, ctl_checkpoint *c);

/* Whether a checkpoint's own folder is whole, by its checksum; what is not is said, as by ctl_checkpoint_load. */
ctl_status ctl_checkpoint_verify(const char *folder, ctl_place place);

/* Of all that is neither trained nor made by a control, as it is stored: what a checkpoint does not hold, and what its
 * numbers mean nothing without. Reads every weight once. */
uint64_t ctl_session_frozen_hash(ctl_session *s);

#endif
