/* import_adapter: an adapter of PEFT's as a control of the language. Its configuration says what the method
 * is, its ranks' scales and its dropout; which modules it changes, the names of its tensors say, since
 * `target_modules` may be a list, an expression of Python's, a word for all layers, or cut by other keys.
 * What the configuration asks that no control does is refused by its key (E0714). */
#ifndef CTLC_IMPORT_ADAPTER_H
#define CTLC_IMPORT_ADAPTER_H

#include <jansson.h>

#include "runtime/peft_config.h"
#include "runtime/program.h"
#include "runtime/safetensors.h"

typedef enum import_kind {
    IMPORT_PRODUCT, /* module.weight ~ control.lora or control.dora */
    IMPORT_RESULT,  /* module.y => control.ia3() */
    IMPORT_INPUT,   /* module.x => control.ia3() */
    IMPORT_BIAS,    /* train module.bias */
    IMPORT_MODULE   /* train module.** */
} import_kind;

typedef struct import_change {
    import_kind kind;
    char *module; /* its path in the model */
    double rank, alpha;
} import_change;

typedef struct import_adapter {
    ctl_place place;
    const char *directory;
    char *path; /* of adapter_config.json */
    json_t *json;
    ctl_peft_config config;
    ctl_tensors *tensors;
    bool vectors, dora, stabilised; /* (IA)^3; otherwise LoRA */
    double rank, alpha, dropout;
    const char *task; /* of `ctlc import --task`, as the adapter has it; NULL: not said */
    int64_t classes;  /* of the head that it holds; 0: none */
    import_change *changes;
    size_t nchanges, cap;
} import_adapter;

/* Reads DIRECTORY/adapter_config.json and opens adapter_model.safetensors. After a failure nothing is to be
 * closed. */
ctl_status import_adapter_open(import_adapter *a, const char *directory, ctl_place place);
void import_adapter_close(import_adapter *a);
bool import_has_file(const char *directory, const char *name);

/* import_modules.c: finds what the adapter changes in the model that the program has (its parameters that no
 * control made). */
ctl_status import_adapter_find(import_adapter *a, const ctl_program *program);

/* import_control.c: the text `control NAME(..) on NET { .. }`. program: to tell whole families of layers from
 * parts. */
void import_adapter_write(ctl_string *out, const import_adapter *a, const ctl_program *program,
                          const char *name, const char *net);
/* What the adapter is, for a comment: "LoRA (rank 16, alpha 32), from PEFT's adapter in DIR". */
void import_adapter_about(char *buf, size_t size, const import_adapter *a);

/* ---- import_source.c: a spec whose control is to be another ---- */
/* The text of the source with `import control`, the control's declaration before the tune block, and that
 * control alone in it. What stands there otherwise stays. */
typedef struct import_source {
    ctl_string text; /* allocator set by the caller */
    char net[100];   /* of the model that is tuned, as the source calls it */
    char name[24];   /* for the control: none is called so */
    uint32_t imports, before,
        block;          /* bytes: where imports go, where the control goes, where the block's line begins */
    uint32_t with, end; /* from where to where `with ..` stands */
    bool has_control;
} import_source;
ctl_status import_source_read(import_source *s, const char *path, ctl_place place);
void import_source_write(ctl_string *out, const import_source *s, const import_adapter *a,
                         const ctl_program *program);

#endif
