/* feed: see feed.h. */
#include "train/feed.h"

#include <time.h>

ctl_status ctl_feed(ctl_session *s, const ctl_batch *b) {
    const struct {
        const char *name;
        const int32_t *at;
    } columns[] = {{"ids", b->ids},           {"labels", b->labels}, {"types", b->types}, {"label", b->classes},
                   {"position", b->position}, {"length", b->length}};
    ctl_status status = CTL_OK;
    for (size_t i = 0; i < CTL_COUNT(columns) && status == CTL_OK; i++) {
        int64_t rows;
        if (ctl_session_has_input(s, columns[i].name, &rows, NULL))
            status = ctl_session_input(s, columns[i].name, CTL_I32, columns[i].at, (size_t)rows);
    }
    if (status == CTL_OK && b->pixels)
        status = ctl_session_input(s, "pixels", CTL_F32, b->pixels, (size_t)(b->rows * b->columns));
    return status;
}

double ctl_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
