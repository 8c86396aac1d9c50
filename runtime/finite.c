/* finite: where the values of a step stop being finite. An entry is run once more, and what each task has written is looked at before
 * the next one runs, since its room may then be another value's. Not looked at is what attention notes beside its result: the
 * logarithm of a sum over no rows is infinite, and no mistake. A failure of the engine finds nothing; it has said what it is. */
#include <math.h>

#include "runtime/session.h"

typedef struct finder {
    ctl_session *s;
    ctl_stage stage;
    bool found;
    ctl_origin is;
} finder;

static void begin(finder *f, ctl_session *s) {
    f->s = s, f->found = false, f->is = (ctl_origin){0};
    ctl_stage_open(&f->stage, s, CTL_STAGE_MOST);
}
static bool end(finder *f, ctl_origin *found) {
    ctl_stage_close(&f->stage, f->s);
    if (f->found) *found = f->is;
    return f->found;
}

static bool is_finite(finder *f, const ctl_operand *o, size_t first, size_t count) {
    float *const values = f->stage.at;
    const size_t most = f->stage.bytes / sizeof *values;
    for (size_t done = 0, n; done < count; done += n) {
        n = count - done < most ? count - done : most;
        if (ctl_session_get(f->s, o, first + done, n, CTL_F32, values) != CTL_OK) return true;
        for (size_t k = 0; k < n; k++)
            if (!isfinite(values[k])) return false;
    }
    return true;
}

bool ctl_session_find_bad_param(ctl_session *s, ctl_origin *found) {
    finder f;
    begin(&f, s);
    for (size_t k = 0; k < s->program->nparams && !f.found; k++) {
        const ctl_program_param *p = &s->program->params[k];
        f.found = !is_finite(&f, &p->value, 0, ctl_param_elements(p));
        f.is = (ctl_origin){p->name, p->place};
    }
    return end(&f, found);
}

bool ctl_session_find_bad_gradient(ctl_session *s, ctl_origin *found, size_t *more) {
    finder f;
    size_t bad = 0;
    begin(&f, s);
    for (size_t k = 0; k < s->program->nparams; k++) {
        const ctl_program_param *p = &s->program->params[k];
        if (!p->trained || is_finite(&f, &s->program->gradients, p->flat, ctl_param_elements(p))) continue;
        f.found = true, f.is = (ctl_origin){p->name, p->place}, bad++;
    }
    *more = bad ? bad - 1 : 0;
    return end(&f, found);
}

enum { SUMS_OF_ROWS = 4 }; /* attention's operand that may be infinite */

static void look(ctl_session *s, const ctl_task *t, void *ctx) {
    finder *f = ctx;
    (void)s;
    for (uint32_t k = 0; k < t->noperands && !f->found; k++) {
        const ctl_operand *o = &t->operands[k];
        if (!(t->writes >> k & 1) || o->buffer == UINT32_MAX || (o->dtype != CTL_F32 && o->dtype != CTL_BF16)) continue;
        if (t->kind == TASK_ATTEND && k == SUMS_OF_ROWS) continue;
        f->found = !is_finite(f, o, 0, (size_t)o->rows * (size_t)o->cols);
        f->is = ctl_task_origin(t, k);
    }
}

bool ctl_session_find_bad_value(ctl_session *s, ctl_program_entry entry, ctl_origin *found) {
    finder f;
    begin(&f, s);
    s->watch = look, s->watch_ctx = &f;
    if (entry == RUN_EVALUATE) (void)ctl_session_evaluate(s);
    else if (entry == RUN_BACKWARD) (void)ctl_session_backward(s);
    else (void)ctl_session_forward(s);
    s->watch = NULL, s->watch_ctx = NULL;
    return end(&f, found);
}
