/* texts: the options of a command that reads data, and what becomes of them; weights and adapters into a
 * session. */
#ifndef CTLC_TEXTS_H
#define CTLC_TEXTS_H

#include "tools/ctlc/tool.h"
#include "train/data.h"

typedef struct tool_data {
    text_list data, eval_data;
    const char *loss; /* "all" (NULL) or "output" */
    double eval_fraction;
} tool_data;
/* Reads and splits; both corpora are initialised whatever comes back, and the caller's. */
ctl_status tool_data_read(const tool_data *d, uint64_t seed, ctl_voice voice, ctl_corpus *data,
                          ctl_corpus *held_out);

/* Weights, then an adapter (each may be absent), then ctl_session_load. */
ctl_status tool_weights_load(ctl_session *s, const ctl_program *program, const text_list *weights,
                             const char *adapter);

#endif
