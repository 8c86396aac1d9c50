/* lock: a record lock on the folder's `.lock`. See lock.h. */
#include "train/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

ctl_status ctl_lock_take(const char *folder, ctl_voice voice, int *fd) {
    char path[4096];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    *fd = -1;
    int n = snprintf(path, sizeof path, "%s/.lock", folder);
    if (n < 0 || (size_t)n >= sizeof path) return CTL_OK; /* whoever opens a file there says what is wrong */
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0) return CTL_OK;
    if (fcntl(file, F_SETLK, &lock) == 0) {
        *fd = file;
        return CTL_OK;
    }
    bool held = errno == EACCES || errno == EAGAIN;
    if (held && fcntl(file, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
        ctl_say(voice, CTL_ERROR, "E0609", "wait until it is done, stop it, or give another --out",
                "%s: another process (%ld) trains into it", folder, (long)lock.l_pid);
    else if (held)
        ctl_say(voice, CTL_ERROR, "E0609", "try again", "%s: another process has just trained into it", folder);
    close(file);
    return held ? CTL_ERR_INPUT : CTL_OK;
}

void ctl_lock_drop(int fd) {
    if (fd >= 0) close(fd);
}
