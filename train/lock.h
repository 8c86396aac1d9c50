/* lock: one process a run's folder. The system holds the lock and gives it back when the process ends, however it ends:
 * nothing is left to be cleaned up, and the file `.lock` that stays in the folder means nothing by itself. */
#ifndef CTL_TRAIN_LOCK_H
#define CTL_TRAIN_LOCK_H

#include <stdbool.h>

#include "runtime/say.h"

/* The folder is there. *fd: to be given to ctl_lock_drop; -1 where nothing is held. CTL_ERR_INPUT when another process
 * holds it. A file system that knows no locks is no reason to refuse. */
ctl_status ctl_lock_take(const char *folder, ctl_voice voice, int *fd);
void ctl_lock_drop(int fd);

#endif
