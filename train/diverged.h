/* diverged: what is said when a loss is not finite (E0608). */
#ifndef CTL_TRAIN_DIVERGED_H
#define CTL_TRAIN_DIVERGED_H

#include "runtime/program.h"
#include "runtime/say.h"

/* Says what has happened, and where it began: at a parameter that is not finite, or at the first value that is not; its name NULL: nobody
 * knows. */
void ctl_say_diverged(ctl_voice voice, const ctl_program *program, const char *what, bool is_param, const ctl_origin *where);

#endif
