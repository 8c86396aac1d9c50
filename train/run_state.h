/* run_state: what a run is between two steps beside the session's own arrays, in and out of a checkpoint. */
#ifndef CTL_TRAIN_RUN_STATE_H
#define CTL_TRAIN_RUN_STATE_H

#include "train/loop.h"

typedef struct ctl_train_state {
    int64_t step;          /* steps done */
    int64_t tokens;        /* rows of all of them */
    ctl_cursor place;      /* of the data: where the next step begins */
    int64_t log_size;      /* bytes of log.jsonl that belong to those steps */
    int64_t evaluated;     /* step of the last evaluation: one that was due when the run was stopped is made up for */
    uint64_t weights;      /* ctl_session_frozen_hash; given to both functions */
    ctl_evaluation before; /* before the first step, without its seconds; counted 0 where none was made */
} ctl_train_state;

/* Into o->out. */
ctl_status ctl_train_state_save(ctl_session *s, const ctl_train_options *o, const ctl_train_state *state);
/* From o->out's last checkpoint, the loader's place included. *found false, and nothing changed, when there
 * is none. CTL_ERR_INPUT when the run was made with other data, another cut of it, another seed, or over other frozen
 * weights. */
ctl_status ctl_train_state_load(ctl_session *s, const ctl_train_options *o, ctl_train_state *state,
                                bool *found);
/* CTL_ERR_INPUT when o->out holds a checkpoint, which a new run would mix with its own. */
ctl_status ctl_train_state_absent(const ctl_train_options *o);

#endif
