/* peft_config: what an adapter_config.json of PEFT's says of its tensors. Options that make it another method
 * than the formulas of peft.h are refused by their key with what helps; ranks and scales of single modules
 * are found as PEFT finds them, by Python's expressions, of which those are read that POSIX has too, in other
 * letters. */
#ifndef CTL_PEFT_CONFIG_H
#define CTL_PEFT_CONFIG_H

#include <jansson.h>

#include "runtime/say.h"

enum { CTL_PEFT_MODULE = 400 }; /* bytes of a module's path, with its NUL */

typedef struct ctl_peft_config {
    ctl_voice voice;
    const char *code; /* of what is said */
    const char *path; /* of the file, for messages */
    const json_t *json;
    int errors; /* told and counted; past the first few only counted */
} ctl_peft_config;

void ctl_peft_config_complain(ctl_peft_config *c, const char *hint, const char *fmt, ...) CTL_PRINTF(3, 4);

/* null, false, {}, [], or not there. */
bool ctl_peft_config_is_nothing(const json_t *value);
/* Complains of everything that would make the tensors mean something else than LoRA's and DoRA's formulas. */
void ctl_peft_config_check(ctl_peft_config *c);

/* The number that `patterns` (rank_pattern, alpha_pattern) has for a module: of the first key that, as a
 * regular expression, is its name or the end of it. */
double ctl_peft_config_pattern(ctl_peft_config *c, const char *patterns, const char *module,
                               double otherwise);
/* (IA)^3: is the module among those whose input is scaled? A list has ends of names, a text is an expression.
 */
bool ctl_peft_config_feedforward(ctl_peft_config *c, const char *module);
/* Does PEFT's list entry name the module: all of it, or its end behind a point? */
bool ctl_peft_config_names(const char *entry, const char *module);

#endif
