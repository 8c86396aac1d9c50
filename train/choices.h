/* choices: multiple choice by log-likelihood.
 *
 * An item is a prompt with several candidates, each a document of the corpus: prompt and candidate. A model's answer is
 * the candidate whose tokens, after the prompt, have the largest log-likelihood; or the largest per byte of its text, so
 * that long candidates are not at a loss. What ends a document is no part of a candidate.
 *
 * Entries of JSON files are {instruction, input (optional)} and either
 *   - "choices": ["..", ".."] and "answer": the right one, or its number from 0; or
 *   - "output": ".. TEXT ..", "answer": "TEXT", where a line "Answer format: A/B/C" of the instruction names the
 *     answers: a candidate is the output with one of them in the place of the last TEXT. So the field's commonsense
 *     benchmarks have it. */
#ifndef CTL_TRAIN_CHOICES_H
#define CTL_TRAIN_CHOICES_H

#include "train/loop.h"

typedef struct ctl_choice_result {
    int64_t items, candidates;
    int64_t right;            /* by log-likelihood */
    int64_t right_normalised; /* by log-likelihood a byte; a token, where nothing says the bytes */
    double chance;            /* share of items that guessing gets right: the mean of 1 / candidates */
    int64_t cut;              /* candidates whose prompt lost its begin: it did not fit */
    double seconds;
} ctl_choice_result;

/* The corpus has items, of documents that are not empty behind their prompts. o->held_out is ignored: the documents go
 * through a loader of their own. Statuses as of ctl_train_evaluate; CTL_ERR_INPUT where the program gives no results of
 * rows. picked: [nitems], the candidate by log-likelihood, or NULL. */
ctl_status ctl_choices_evaluate(ctl_session *s, const ctl_program *program, const ctl_corpus *corpus,
                                const ctl_evaluate_options *o, ctl_choice_result *out, size_t *picked);

#endif
