/* names: how published checkpoints call what a program has. A parameter has the name that the model's own
 * code gives it today; files may have been written from the model below its head (without `roberta.`), from
 * one with a head around it (with it), or by code of an older age (`LayerNorm.gamma`). Each rule is a row of
 * a small table, and none is tried where a file has the very name. */
#ifndef CTL_NAMES_H
#define CTL_NAMES_H

#include "runtime/safetensors.h"

/* The tensor of the set that is the parameter of this name; NULL: none. */
const ctl_tensor *ctl_names_find(const ctl_tensors *set, const char *parameter);

/* Is it a tensor that code saves but no model learns: tables of angles, masks, places. */
bool ctl_names_ignored(const char *tensor);

/* A weight's path in the code of transformers 5, where that has another tree than the checkpoints, which keep
 * the older names; adapters have those of the code. False: it has the same (or none that fits into size
 * bytes). */
bool ctl_names_in_code(const char *weight, char *out, size_t size);

#endif
