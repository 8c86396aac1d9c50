/* log: a file of JSON lines, each written at once and whole or not at all, so that it can be read while it
 * grows and a full disk leaves no half a line. */
#ifndef CTL_TRAIN_LOG_H
#define CTL_TRAIN_LOG_H

#include "runtime/say.h"

typedef struct ctl_log {
    int fd;       /* -1: nothing is logged */
    int64_t size; /* bytes of whole lines */
    char *path;   /* ctl_log_open's; the caller keeps it */
    ctl_voice voice;
} ctl_log;

/* Opens path and cuts it to `size` bytes: what was logged after a checkpoint is told again. CTL_ERR_IO. */
ctl_status ctl_log_open(ctl_log *log, char *path, int64_t size, ctl_voice voice);
/* One line of at most 2 KiB; the newline is added. */
ctl_status ctl_log_line(ctl_log *log, const char *fmt, ...) CTL_PRINTF(2, 3);
void ctl_log_close(ctl_log *log);

#endif
