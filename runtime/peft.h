/* peft: the adapters of Hugging Face's PEFT library, for programs whose controls are LoRA, DoRA or (IA)^3 by
 * what they compute (form.h): which parameter is which tensor, whether an adapter's configuration means what
 * the spec does, and writing one. Modules are the model's paths without their last part; tensors stand behind
 * `base_model.model.`. What was trained of the model itself is in one of two places: whole modules
 * (modules_to_save), and, beside LoRA and DoRA, biases (`bias`), which PEFT calls MODULE.base_layer.bias
 * where the module's weight is changed too. */
#ifndef CTL_PEFT_H
#define CTL_PEFT_H

#include <jansson.h>

#include "runtime/form.h"
#include "runtime/match.h"

typedef struct ctl_peft {
    const ctl_program *program;
    ctl_place place;
    size_t nforms;
    ctl_recognised *methods; /* by form */
    char **paths;            /* by parameter: its path in the code that PEFT changes */
    char **names;            /* by parameter: the tensor's; NULL: in no adapter */
    bool *bias_alone;        /* by parameter: trained without the rest of its module */
    bool biases;             /* there are such */
} ctl_peft;

/* Recognises every control of the program. What PEFT does not have is said (E0711). of_code: modules are
 * called as in the code of transformers 5 (ctl_names_in_code), not as in checkpoints and older code. */
ctl_status ctl_peft_open(ctl_peft *p, const ctl_program *program, ctl_place place, bool of_code);
void ctl_peft_close(ctl_peft *p);

/* Does an adapter_config.json of peft_type LORA or IA3 scale, rank and shape as the spec does? Says what
 * differs (E0712). */
ctl_status ctl_peft_check(const ctl_peft *p, const char *path, const json_t *config);

typedef struct ctl_peft_options {
    const char *base;      /* base_model_name_or_path; NULL: the model's name */
    const char *task_type; /* "CAUSAL_LM", ..; NULL: none */
} ctl_peft_options;

/* Writes adapter_model.safetensors and adapter_config.json with the values that `values` found for the
 * parameters. */
ctl_status ctl_peft_write(const ctl_peft *p, const ctl_match *values, const char *directory,
                          const ctl_peft_options *o);

#endif
