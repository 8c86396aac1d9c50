/* made_batch: inputs of a program that nobody gives, for measuring: counted random numbers by seed, the input's name, and the
 * row in the whole batch, so that a batch is the same however many parts it goes through in. */
#ifndef CTLC_MADE_BATCH_H
#define CTLC_MADE_BATCH_H

#include "ctl/ctlrt.h"

/* Writes all inputs of a micro-step. *counted: its labels. Ids are rows of the tables that they select from in `tables`, a
 * program of the same spec that has tasks; documents are the spec's sequences, or one of all tokens; real inputs are between -1
 * and 1. */
ctl_status made_batch(ctl_session *s, const ctl_program *p, const ctl_program *tables, uint64_t seed, int64_t micro,
                      int64_t *counted);

/* The number of an element of what has that name: between -1 and 1. */
float made_number(uint64_t seed, const char *name, int64_t row, int64_t col);

#endif
