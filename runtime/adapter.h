/* adapter: an adapter's files against a program, for sessions, merging and export. */
#ifndef CTL_ADAPTER_H
#define CTL_ADAPTER_H

#include "runtime/match.h"

/* The tensors of all that was trained or made by a control. path: a directory with adapter_model.safetensors
 * and adapter_config.json (ours, of peft_type STATE_CONTROL; or PEFT's LoRA, DoRA or (IA)^3), or a safetensors file
 * of ours alone. Everything that differs from the program is said; what is missing or too much is an error.
 * On success the caller frees m. */
ctl_status ctl_adapter_match(ctl_match *m, const ctl_program *program, ctl_place place, const char *path);

#endif
