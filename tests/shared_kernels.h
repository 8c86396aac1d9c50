/* shared_kernels: a pool of compiled kernels for a group of tests whose programs differ in how much they do and hardly in how: most
 * kernels are compiled once. Pass open_kernels and close_kernels to cmocka_run_group_tests. Include cmocka first. */
#ifndef CTL_TESTS_SHARED_KERNELS_H
#define CTL_TESTS_SHARED_KERNELS_H

#include "ctl/ctlc.h"

static ctlc_kernels *kernels;

static int open_kernels(void **state) {
    (void)state;
    return ctlc_kernels_open(NULL, &kernels) != CTL_OK;
}
static int close_kernels(void **state) {
    (void)state;
    ctlc_kernels_close(kernels);
    return 0;
}

#endif
