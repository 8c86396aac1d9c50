/* json_entry: what the readers of JSON entries share: where an entry stands, its texts, and the prompt made of them. */
#ifndef CTL_TRAIN_JSON_ENTRY_H
#define CTL_TRAIN_JSON_ENTRY_H

#include <jansson.h>

#include "train/data_internal.h"

typedef struct ctl_entry {
    const char *name; /* of the file */
    size_t number;    /* from 1: an entry of the list, or a line */
    bool line;
    bool items; /* of multiple choice */
    ctl_voice voice;
} ctl_entry;

/* Says what is wrong with the entry: E0603. CTL_ERR_INPUT. */
ctl_status ctl_entry_wrong(const ctl_entry *e, const char *hint, const char *what);
/* The string under key. required: it must be there, and not empty. */
ctl_status ctl_entry_text(const ctl_entry *e, const json_t *object, const char *key, bool required,
                          const char **text, size_t *size);

typedef struct ctl_prompt {
    const char *instruction, *input; /* input may be empty */
    size_t ninstruction, ninput;
} ctl_prompt;
ctl_status ctl_entry_prompt(const ctl_entry *e, const json_t *object, ctl_prompt *p);
/* Appends the prompt with an answer as a document. */
ctl_status ctl_prompt_add(ctl_corpus *c, const ctl_prompt *p, const char *output, size_t noutput);

/* Appends an item of multiple choice (train/choices.h has the forms of entries). */
ctl_status ctl_choices_add(ctl_corpus *c, const ctl_entry *e, const json_t *object);

#endif
