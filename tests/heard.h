/* heard: the latest diagnostic and how many there were, for tests that expect one. Include cmocka first. */
#ifndef CTL_TESTS_HEARD_H
#define CTL_TESTS_HEARD_H

#include <stdio.h>

#include "ctl/diagnostic.h"

typedef struct heard {
    int n;
    char code[8], message[512];
} heard;

/* A ctl_diagnostic's receiver: ctx is a heard. */
static void hear(void *ctx, const ctl_diagnostic *d) {
    heard *h = ctx;
    h->n++;
    snprintf(h->code, sizeof h->code, "%s", d->code);
    snprintf(h->message, sizeof h->message, "%s", d->message);
}

#endif
