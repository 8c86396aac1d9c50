/* loop: train a session on texts or images, and evaluate it. Prints nothing: what happens is told through callbacks,
 * and written to the run's folder.
 *
 * A step is `accumulate` micro-steps of one batch each; their losses have one normaliser, 1 / the labels
 * counted in all of them, so that the step equals one large batch up to the order of f32 sums. A run's folder
 * holds log.jsonl (one object a step, one an evaluation) and checkpoints (runtime/checkpoint.h). A run that
 * is resumed has the losses, bit for bit, that it would have had.
 *
 * The program takes one of three kinds of data (ctl_program_data), and has an output "loss". */
#ifndef CTL_TRAIN_LOOP_H
#define CTL_TRAIN_LOOP_H

#include "ctl/ctlrt.h"
#include "runtime/program.h"
#include "train/data.h"

/* After every step. */
typedef struct ctl_progress {
    int64_t step, steps, epoch;
    double loss; /* mean over the counted labels, nats, before the update */
    double rate, gradient_norm;
    int64_t tokens;           /* rows of all steps so far */
    double seconds;           /* of this step, data included */
    double tokens_per_second; /* of the last steps, evaluations and checkpoints left out */
    double seconds_left;      /* at that speed */
} ctl_progress;

typedef struct ctl_evaluation {
    int64_t step;         /* steps done */
    double loss;          /* mean over the counted labels, nats */
    double perplexity;    /* exp(loss) */
    double bits_per_byte; /* sum of the losses / ln 2 / bytes among the labels; 0 where those are not known */
    double accuracy;      /* share of the counted labels that are the class, or token, of the largest logit; -1 where the
                             program does not tell of rows (ctlc_options.row_results) */
    int64_t counted;
    double seconds;
} ctl_evaluation;

typedef struct ctl_train_options {
    ctl_settings settings;    /* steps, accumulate, seed, the optimizer's */
    ctl_loader *data;         /* shuffled; its batches have the program's rows */
    ctl_loader *held_out;     /* in order; NULL: none */
    uint64_t fingerprint;     /* of data's corpus: a run goes on with the same data only */
    int64_t evaluate_every;   /* steps; 0: before the first and after the last step only */
    int64_t evaluate_batches; /* at most so many batches an evaluation; 0: all */
    int64_t checkpoint_every; /* steps; 0: only when stopped and at the end */
    const char *out;          /* the run's folder, which exists; NULL: nothing is written */
    bool resume;              /* go on from out's last checkpoint; without one begin at the start */
    const ctl_allocator *allocator;
    ctl_voice voice;
    void *ctx;               /* handed to what follows; each may be NULL */
    bool (*stop)(void *ctx); /* asked after every step, and every batch of an evaluation: true saves and stops */
    void (*evaluating)(void *ctx, int64_t items, int64_t of); /* after every batch of an evaluation */
    void (*stepped)(void *ctx, const ctl_progress *p);
    void (*evaluated)(void *ctx, const ctl_evaluation *e);
    void (*saved)(void *ctx, int64_t step); /* a checkpoint is whole */
    void (*resumed)(void *ctx, int64_t step);
} ctl_train_options;

typedef struct ctl_train_result {
    int64_t first, last;          /* steps done before this call, and after it */
    double loss;                  /* of the last step; NaN where none was done */
    ctl_evaluation before, after; /* before the first step, of a resumed run too; counted 0 where none was made */
    double seconds;               /* spent in steps, without evaluations and checkpoints */
    int64_t tokens;               /* rows of those steps */
} ctl_train_result;

/* The session has been loaded. CTL_INTERRUPTED when stopped, with a checkpoint saved (where there is an
 * `out`); CTL_ERR_NUMERIC when a loss or gradient is not finite: the checkpoints are those of before. result
 * is always filled. */
ctl_status ctl_train(ctl_session *s, const ctl_program *program, const ctl_train_options *o,
                     ctl_train_result *result);

typedef struct ctl_evaluate_options {
    ctl_loader *held_out; /* one epoch of it, from its begin */
    int64_t most_batches; /* 0: all */
    const ctl_allocator *allocator;
    ctl_voice voice;
    bool (*stop)(void *ctx); /* asked after every batch; may be NULL */
    void (*progress)(void *ctx, int64_t items, int64_t of); /* told after every batch; may be NULL */
    void *ctx;
    double *document_loss;    /* [documents]: grows by the sum of each document's losses; NULL, or the program tells of rows */
    int64_t *document_counted; /* [documents]: and by its counted labels; NULL with the other */
} ctl_evaluate_options;

/* Mean loss over the held-out data, dropout off. CTL_INTERRUPTED when stop says so; CTL_ERR_NUMERIC when a
 * loss is not finite. out->step is left 0. */
ctl_status ctl_train_evaluate(ctl_session *s, const ctl_program *program, const ctl_evaluate_options *o,
                              ctl_evaluation *out);

typedef enum ctl_data_kind {
    CTL_DATA_TOKENS,  /* inputs ids and labels: an id and a label a token */
    CTL_DATA_CLASSES, /* inputs ids and label: a class a sequence; perhaps types, a token */
    CTL_DATA_IMAGES   /* inputs pixels (real) and label: a class a sequence of rows */
} ctl_data_kind;
/* CTL_ERR_INPUT, with a diagnostic, for a program that takes none of them. */
ctl_status ctl_program_data(const ctl_program *program, ctl_voice voice, ctl_data_kind *kind);
/* Whether every class, the vocabulary and the kinds of tokens are ones that the program knows (where it tells how many there
 * are). CTL_ERR_INPUT, said with the number. */
ctl_status ctl_corpus_fits(const ctl_corpus *c, bool classify, const ctl_program *program, ctl_voice voice);
/* Warns where documents are bytes and the program has so many words that its weights, which were loaded, know them from a tokenizer. */
void ctl_corpus_warn_bytes(const ctl_corpus *c, const ctl_program *program, ctl_voice voice);
/* Whether every document, as it will lie in a batch, has no more rows than the program has positions for. CTL_ERR_INPUT, said with
 * the first that has more. */
ctl_status ctl_loader_fits(const ctl_loader *data, const ctl_program *program, ctl_voice voice);
/* CTL_ERR_INPUT, with a diagnostic, where the next token is wanted of a program that sees it, or ctl_loader_fits says so. */
ctl_status ctl_program_takes(const ctl_program *program, const ctl_loader *data, ctl_voice voice);
/* Where the program's evaluation tells each row's loss and class; absent (ctl_operand) otherwise. */
const ctl_operand *ctl_program_row_results(const ctl_program *program);

#endif
