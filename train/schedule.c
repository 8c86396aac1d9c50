/* schedule: see schedule.h for the formulas. */
#include "train/schedule.h"

#include <math.h>
#include <string.h>

static const double PI = 3.14159265358979323846;

bool ctl_schedule_known(const char *name) {
    return strcmp(name, "constant") == 0 || strcmp(name, "linear") == 0 || strcmp(name, "cosine") == 0;
}

double ctl_schedule_rate(const ctl_settings *s, int64_t step) {
    if (step <= s->warmup) return s->lr * (double)step / (double)s->warmup;
    if (strcmp(s->schedule, "constant") == 0) return s->lr;
    if (step > s->steps) return 0;
    double u = (double)(step - s->warmup - 1) / (double)(s->steps - s->warmup);
    if (strcmp(s->schedule, "linear") == 0) return s->lr * (1 - u);
    return s->lr * 0.5 * (1 + cos(PI * u));
}
