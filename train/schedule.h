/* schedule: the learning rate of every optimizer step.
 *
 * With base rate r, w warm-up steps of n steps in all, and steps counted from 1: step t <= w has r t / w.
 * After that the schedule begins with the full rate: with u = (t - w - 1) / (n - w), "constant" is r,
 * "linear" r (1 - u), "cosine" r (1 + cos(pi u)) / 2. Past n the last two stay at 0. */
#ifndef CTL_TRAIN_SCHEDULE_H
#define CTL_TRAIN_SCHEDULE_H

#include <stdbool.h>

#include "runtime/program.h"

/* step counts from 1. */
double ctl_schedule_rate(const ctl_settings *s, int64_t step);
bool ctl_schedule_known(const char *name);

#endif
