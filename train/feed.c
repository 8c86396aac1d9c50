/* feed: see feed.h. */
#include "train/feed.h"

#include <time.h>

ctl_status ctl_feed(ctl_session *s, const ctl_batch *b) {
    const size_t rows = (size_t)b->rows;
    ctl_status status = ctl_session_input(s, "ids", CTL_I32, b->ids, rows);
    if (status == CTL_OK) status = ctl_session_input(s, "labels", CTL_I32, b->labels, rows);
    if (status == CTL_OK && ctl_session_has_input(s, "position", NULL, NULL))
        status = ctl_session_input(s, "position", CTL_I32, b->position, rows);
    if (status == CTL_OK && ctl_session_has_input(s, "length", NULL, NULL))
        status = ctl_session_input(s, "length", CTL_I32, b->length, rows);
    return status;
}

double ctl_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
