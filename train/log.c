/* log: see log.h. */
#include "train/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static ctl_status refused(const ctl_log *log) {
    ctl_say(log->voice, CTL_ERROR, "E0607", "what is already saved is intact; --resume goes on from there",
            "%s: cannot write: %s", log->path, strerror(errno));
    return CTL_ERR_IO;
}

ctl_status ctl_log_open(ctl_log *log, char *path, int64_t size, ctl_voice voice) {
    *log = (ctl_log){.fd = -1, .size = size, .path = path, .voice = voice};
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return refused(log);
    struct stat st;
    if (fstat(fd, &st) != 0 || (S_ISREG(st.st_mode) && st.st_size < size)) {
        /* A log shorter than its checkpoint says: someone cut it. What follows is still worth having. */
        log->size = size = st.st_size;
    }
    if (S_ISREG(st.st_mode) && (ftruncate(fd, size) != 0 || lseek(fd, size, SEEK_SET) < 0)) {
        ctl_status status = refused(log);
        close(fd);
        return status;
    }
    log->fd = fd;
    return CTL_OK;
}

ctl_status ctl_log_line(ctl_log *log, const char *fmt, ...) {
    if (log->fd < 0) return CTL_OK;
    char line[2048];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof line - 1, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof line - 1) return CTL_ERR_INTERNAL;
    line[n++] = '\n';
    for (int done = 0; done < n;) {
        ssize_t wrote = write(log->fd, line + done, (size_t)(n - done));
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) {
            ctl_status status = refused(log);
            if (ftruncate(log->fd, log->size) == 0) lseek(log->fd, log->size, SEEK_SET);
            return status;
        }
        done += (int)wrote;
    }
    log->size += n;
    return CTL_OK;
}

void ctl_log_close(ctl_log *log) {
    if (log->fd >= 0) close(log->fd);
    log->fd = -1;
}
