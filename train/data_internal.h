/* data_internal: what corpus.c and json_data.c share. */
#ifndef CTL_TRAIN_DATA_INTERNAL_H
#define CTL_TRAIN_DATA_INTERNAL_H

#include "train/data.h"

/* Documents out of the text of a .json or .jsonl file; name is the file's, for messages. */
ctl_status ctl_json_data_add(ctl_corpus *c, const char *name, const char *text, size_t size, bool lines,
                             ctl_voice voice);

#endif
