/* folder: a folder of a test program's own, below the one for temporary files, with all that is left in it removed at
 * the end: pass make_folder and remove_folder to cmocka_run_group_tests. Include cmocka first. */
#ifndef CTL_TESTS_FOLDER_H
#define CTL_TESTS_FOLDER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/ctl_test_XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

#endif
