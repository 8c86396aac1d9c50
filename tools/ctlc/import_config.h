/* import_config: a published checkpoint's config.json as a model of the standard library, or the reason why
 * it is none. Both forms of the file are read: rope_theta beside rope_scaling (transformers 4), and
 * rope_parameters (5). What a key says that the nets do not have is refused with the key, its value and why:
 * a spec that is written is the model. */
#ifndef CTLC_IMPORT_CONFIG_H
#define CTLC_IMPORT_CONFIG_H

#include "runtime/files.h"

typedef struct import_method {
    const char *name;     /* of --method */
    const char *controls; /* what stands behind `with`; NULL ends a list */
    const char *about;    /* for the comment above the tune block */
    const char *rate;     /* of the optimizer */
} import_method;

enum { IMPORT_MOST_PARAMS = 24 };

typedef struct import_model {
    char type[32];         /* "llama" */
    char architecture[80]; /* "LlamaForCausalLM", or "" */
    const char *imports;   /* "llama, tuning" */
    const char *net;       /* "llama.causal_lm" */
    struct {
        char name[24], text[32];
    } params[IMPORT_MOST_PARAMS];
    size_t nparams;
    int64_t positions;            /* most tokens of a sequence, by the config; 0: not said */
    int64_t sequences, length;    /* of a micro-step, as suggested */
    bool fixed;                   /* length is what the data are cut into: an image's patches */
    char marks[120];              /* the ids that begin, end and pad, as text; "" when there are none */
    const import_method *methods; /* the first is the default */
} import_model;

/* DIRECTORY/config.json. task: "causal_lm", "classifier", "masked_lm"; NULL: what the file says. Everything
 * wrong is said: E0710 and the reader's own codes. */
ctl_status import_config_read(const char *directory, const char *task, ctl_place place, import_model *out);
/* The same for text in memory; path is for messages. */
ctl_status import_config_parse(const char *path, const char *text, size_t n, const char *task,
                               ctl_place place, import_model *out);

/* The method of that name; NULL: there is none. */
const import_method *import_method_find(const import_model *m, const char *name);

/* The model has so many classes, whatever config.json says of the checkpoint. */
void import_config_classes(import_model *m, int64_t classes);

/* The spec's text. method: NULL tunes nothing. control: a declaration that the method's call takes, or NULL. memory: as the
 * language writes it ("24 GiB"). */
void import_spec_write(ctl_string *out, const import_model *m, const import_method *method, const char *control,
                       const char *directory, const char *memory);

#endif
