/* command: runs `ctlc` in the test program's folder (folder.h) as a user would. Include cmocka first. */
#ifndef CTL_TESTS_COMMAND_H
#define CTL_TESTS_COMMAND_H

#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "tests/folder.h"

static char output[1 << 16]; /* of the latest command */

static inline void write_file(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* Runs `ctlc ARGUMENTS` in the folder; what it prints, both streams, is in `output`. Returns the exit code.
 */
static inline int ctlc(const char *fmt, ...) CTL_PRINTF(1, 2);
static inline int ctlc(const char *fmt, ...) {
    char arguments[1024], command[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(arguments, sizeof arguments, fmt, args);
    va_end(args);
    snprintf(command, sizeof command, "cd '%s' && { '%s' %s; } 2>&1", folder, CTLC, arguments);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(output, 1, sizeof output - 1, p);
    output[n] = 0;
    int status = pclose(p);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}
static inline void says(const char *text) {
    if (!strstr(output, text)) fail_msg("\"%s\" is not in:\n%s", text, output);
}

/* The whole of a file in the folder; valid until the next call. */
static inline const char *text_of(const char *name) {
    static char text[1 << 16];
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    return text;
}
#endif
