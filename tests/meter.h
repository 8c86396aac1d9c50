/* meter: an allocator for tests that says no after so many growths, and knows what is still held. */
#ifndef CTL_TEST_METER_H
#define CTL_TEST_METER_H

#include <stdlib.h>

#include "ctl/status.h"

typedef struct meter {
    size_t left; /* growths still granted */
    size_t held; /* bytes */
} meter;

static void *meter_resize(void *ctx, void *p, size_t old, size_t size) {
    meter *m = ctx;
    if (size > old && m->left == 0) return NULL;
    if (size > old) m->left--;
    m->held += size - old;
    if (size) return realloc(p, size);
    free(p);
    return NULL;
}

#endif
