/* diverged: see diverged.h. */
#include "train/diverged.h"

void ctl_say_diverged(ctl_voice voice, const ctl_program *program, const char *what, bool is_param, const ctl_origin *where) {
    const char *const hint =
        is_param ? "files of weights have no such numbers; --resume goes on from the last checkpoint, then with a lower lr"
                 : "a lower lr, a longer warmup or a smaller clip often helps; --resume goes on from the last checkpoint";
    if (!where->name) ctl_say(voice, CTL_ERROR, "E0608", hint, "%s", what);
    else if (is_param) ctl_say_at(voice, program, where->place, CTL_ERROR, "E0608", hint, "%s; the parameter '%s' is not finite", what, where->name);
    else
        ctl_say_at(voice, program, where->place, CTL_ERROR, "E0608", hint, "%s; the first value that is not finite is that of %s", what,
                   where->name);
}
