/* data_internal: what the files that fill a corpus share. */
#ifndef CTL_TRAIN_DATA_INTERNAL_H
#define CTL_TRAIN_DATA_INTERNAL_H

#include "train/data.h"

/* Documents out of the text of a .json or .jsonl file, or items of multiple choice; name is the file's, for messages. */
ctl_status ctl_json_data_add(ctl_corpus *c, const char *name, const char *text, size_t size, bool lines, bool items,
                             ctl_voice voice);
/* Appends a document as it stands, or an item of the documents from `first` to the last. */
ctl_status ctl_corpus_put(ctl_corpus *c, const ctl_document *document);
ctl_status ctl_corpus_add_item(ctl_corpus *c, size_t first, size_t right);

#endif
