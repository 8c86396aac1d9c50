/* arena_fixture: an arena of each test's own, whose end of memory would end the test. Pass setup and teardown to
 * cmocka_unit_test_setup_teardown. Include cmocka first. */
#ifndef CTL_TESTS_ARENA_FIXTURE_H
#define CTL_TESTS_ARENA_FIXTURE_H

#include <stdlib.h>

#include "base/base.h"

typedef struct fixture {
    ctl_arena arena;
    jmp_buf failure;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    ctl_arena_init(&f->arena, NULL, &f->failure);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    ctl_arena_free(&f->arena);
    free(f);
    return 0;
}

#endif
