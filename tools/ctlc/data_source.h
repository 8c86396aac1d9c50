/* data_source: the options of a command that reads data - texts, token files, images -, and the data opened for a program. */
#ifndef CTLC_DATA_SOURCE_H
#define CTLC_DATA_SOURCE_H

#include "tools/ctlc/tool.h"
#include "train/images.h"
#include "train/loop.h"

typedef struct tool_data {
    text_list data, eval_data;
    const char *labels, *eval_labels; /* of images */
    const char *mean, *std;           /* "0.5" or "0.48,0.45,0.40" */
    const char *loss;                 /* "all" (NULL) or "output" */
    bool whole;                       /* no text is cut in two, or shares a sequence */
    double eval_fraction;
} tool_data;
/* The options of every command that reads data. */
#define TOOL_DATA_OPTIONS(d)                                                                                 \
    {"data", "PATH", OPT_LIST, &(d)->data,                                                                   \
     "texts (a file, a folder, .json, .jsonl), token files\n(.safetensors), or images (.npy); may be given " \
     "often"},                                                                                               \
        {"labels", "FILE", OPT_TEXT, &(d)->labels, "classes of images: .npy, or a text with one number a line"},     \
        {"loss", "WHICH", OPT_TEXT, &(d)->loss, "of texts: all (the default), or output: prompts do not count"},     \
        {"whole", NULL, OPT_FLAG, &(d)->whole,                                                               \
         "each text by itself: a sequence of its own, filled up with padding\n(packed: none goes on in the next "     \
         "micro-step); else texts are one stream,\ncut into sequences"},                                              \
        {"mean", "X[,X..]", OPT_TEXT, &(d)->mean, "of images: one number, or one a channel; pixels become\n(x - mean) / std"}, \
    {                                                                                                        \
        "std", "X[,X..]", OPT_TEXT, &(d)->std, "the same; uint8 pixels are 0 .. 1 before"                     \
    }
/* What is wrong with the options by themselves, or NULL. */
const char *tool_data_wrong(const tool_data *d);

/* Data opened for a program. Zeroed, it can be closed. */
typedef struct tool_source {
    ctl_data_kind kind;
    ctl_corpus corpus, held_corpus;
    ctl_images images, held_images;
    ctl_loader *data, *held_out; /* held_out NULL: nothing is held out */
    uint64_t fingerprint;
} tool_source;
/* train: shuffled, with a held-out part; else in order. */
ctl_status tool_source_open(const tool_data *d, const ctl_program *program, bool train, uint64_t seed, ctl_voice voice,
                            tool_source *out);
void tool_source_close(tool_source *s);
/* "tokens", "documents" or "images": what ctl_loader_items, or tokens, counts. */
const char *tool_source_unit(const tool_source *s);
int64_t tool_source_count(const tool_source *s, const ctl_loader *l);

#endif
