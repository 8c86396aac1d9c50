/* cuda_heard: what a session on the CUDA engine's stand-ins says: the last error, its place, and the note behind it; and a spec for it. */
#ifndef CTL_TESTS_CUDA_HEARD_H
#define CTL_TESTS_CUDA_HEARD_H

#include "tests/cuda_engine.h"

/* A small model with a control. */
static const char spec[] = "import llama, tuning\n"
                           "model m = llama.causal_lm(; vocab = 24, dim = 16, depth = 1, heads = 2, kv_heads = 1, ffn = 24, "
                           "theta = 10000.0)\n"
                           "tune m with tuning.double(rank = 2) {\n    tokens 1 x 16\n    compute bf16\n}\n";
static const cuda_wanted wanted = {.text = spec, .engine = CTLC_CUDA};

typedef struct heard {
    int n;
    char code[16], message[512], hint[256], file[64];
    int line;
    char note[64]; /* the file of the note behind it */
} heard;
static inline void take(void *ctx, const ctl_diagnostic *d) {
    heard *h = ctx;
    if (d->severity == CTL_NOTE) {
        snprintf(h->note, sizeof h->note, "%s", d->file ? d->file : "");
        return;
    }
    h->n++, h->line = d->line, h->note[0] = 0;
    snprintf(h->file, sizeof h->file, "%s", d->file ? d->file : "");
    snprintf(h->code, sizeof h->code, "%s", d->code);
    snprintf(h->message, sizeof h->message, "%s", d->message);
    snprintf(h->hint, sizeof h->hint, "%s", d->hint ? d->hint : "");
}

#endif
