/* feed: batches into a session, shared by training and evaluation. */
#ifndef CTL_TRAIN_FEED_H
#define CTL_TRAIN_FEED_H

#include "ctl/ctlrt.h"
#include "train/data.h"

/* Writes ids and labels, and positions and lengths where the program has them. */
ctl_status ctl_feed(ctl_session *s, const ctl_batch *b);
/* Seconds of a clock that only goes forward. */
double ctl_clock(void);

#endif
