/* feed: which data a program takes, and batches of it into a session; shared by training and evaluation. */
#ifndef CTL_TRAIN_FEED_H
#define CTL_TRAIN_FEED_H

#include "ctl/ctlrt.h"
#include "train/data.h"

/* Writes those inputs of a batch that the program has: ids and labels, or ids and label (a sequence), with types where
 * it takes them, or pixels and label; positions and lengths. */
ctl_status ctl_feed(ctl_session *s, const ctl_batch *b);
/* Seconds of a clock that only goes forward. */
double ctl_clock(void);

#endif
