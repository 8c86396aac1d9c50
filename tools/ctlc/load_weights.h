/* load_weights: what `--weights` and `--adapter` name, into a session. */
#ifndef CTLC_LOAD_WEIGHTS_H
#define CTLC_LOAD_WEIGHTS_H

#include "tools/ctlc/tool.h"

/* Weights, then an adapter (each may be absent), then ctl_session_load. */
ctl_status tool_weights_load(ctl_session *s, const ctl_program *program, const text_list *weights,
                             const char *adapter);

#endif
