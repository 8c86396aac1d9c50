/* loop: see loop.h. The state between two steps is all in ctl_train_state and the session; run_state.c saves
 * and restores both. */
#include "train/loop.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "runtime/checkpoint.h"
#include "runtime/session.h"
#include "train/diverged.h"
#include "train/feed.h"
#include "train/lock.h"
#include "train/log.h"
#include "train/run_state.h"
#include "train/schedule.h"

typedef struct loop {
    ctl_session *s;
    const ctl_program *program;
    const ctl_train_options *o;
    ctl_train_result *result;
    ctl_train_state state;
    ctl_log log;
    char *log_path;
    size_t log_path_size;
    ctl_batch *batches; /* [accumulate]: all of a step, since the normaliser counts all their labels */
    int lock;           /* of the run's folder; -1: none */
    int64_t saved;      /* step of the newest checkpoint of this call, or -1 */
    double speed;       /* tokens a second, a mean that forgets; 0 before the first step */
} loop;

/* ---- checks and memory ---- */
static ctl_status check(const ctl_program *program, const ctl_train_options *o) {
    const ctl_settings *s = &o->settings;
    bool trains = false;
    for (size_t i = 0; i < program->nparams; i++) trains |= program->params[i].trained;
    if (!trains) {
        ctl_say(o->voice, CTL_ERROR, "E0609",
                "a tune block names its controls (`tune m with tuning.double()`), and each must find a place to attach to",
                "nothing is trained");
        return CTL_ERR_INPUT;
    }
    const char *wrong = s->steps < 1                       ? "steps must be 1 or more"
                        : s->accumulate < 1                ? "accumulate must be 1 or more"
                        : !(s->lr >= 0) || isinf(s->lr)    ? "lr must be a number, 0 or more"
                        : s->warmup < 0                    ? "warmup must be 0 or more"
                        : !ctl_schedule_known(s->schedule) ? "schedule must be constant, linear or cosine"
                        : o->evaluate_every < 0            ? "evaluations must be 0 or more steps apart"
                        : o->checkpoint_every < 0          ? "checkpoints must be 0 or more steps apart"
                                                           : NULL;
    if (!wrong) return CTL_OK;
    ctl_say(o->voice, CTL_ERROR, "E0609", "the tune block sets it, or --set key=value", "%s", wrong);
    return CTL_ERR_INPUT;
}

static ctl_status prepare(loop *l) {
    const ctl_train_options *o = l->o;
    const size_t n = (size_t)o->settings.accumulate;
    size_t bytes;
    if (!ctl_mul_size(n, sizeof *l->batches, &bytes) || !(l->batches = ctl_alloc(o->allocator, bytes)))
        return CTL_ERR_MEMORY;
    for (size_t i = 0; i < n; i++)
        if (ctl_batch_open_for(&l->batches[i], o->data, o->allocator) != CTL_OK) return CTL_ERR_MEMORY;
    if (!o->out) return CTL_OK;
    l->log_path_size = strlen(o->out) + sizeof "/log.jsonl";
    l->log_path = ctl_alloc(o->allocator, l->log_path_size);
    if (!l->log_path) return CTL_ERR_MEMORY;
    snprintf(l->log_path, l->log_path_size, "%s/log.jsonl", o->out);
    return CTL_OK;
}

static void release(loop *l) {
    const ctl_train_options *o = l->o;
    ctl_log_close(&l->log);
    ctl_lock_drop(l->lock);
    ctl_free(o->allocator, l->log_path, l->log_path_size);
    if (!l->batches) return;
    for (int64_t i = 0; i < o->settings.accumulate; i++) ctl_batch_close(&l->batches[i], o->allocator);
    ctl_free(o->allocator, l->batches, (size_t)o->settings.accumulate * sizeof *l->batches);
}

/* ---- one step ---- */
static ctl_status micro_step(loop *l, int64_t step, int64_t micro, double normaliser, double *loss) {
    double part;
    ctl_session_set_step(l->s, (uint64_t)step, micro * l->program->tokens, normaliser);
    ctl_status status = ctl_feed(l->s, &l->batches[micro]);
    if (status == CTL_OK) status = ctl_session_forward(l->s);
    if (status == CTL_OK) status = ctl_session_output(l->s, "loss", false, &part, 1);
    if (status == CTL_OK) status = ctl_session_backward(l->s);
    if (status == CTL_OK) *loss += part;
    return status;
}

/* ---- a step that is not finite ---- */
/* The first value of the step's micro-steps that is not finite, in forward, or in backward too; they are run once more. */
static bool find_in_step(loop *l, int64_t step, double normaliser, bool backward, ctl_origin *found) {
    if (backward) ctl_session_zero_gradients(l->s);
    for (int64_t i = 0; i < l->o->settings.accumulate; i++) {
        ctl_session_set_step(l->s, (uint64_t)step, i * l->program->tokens, normaliser);
        if (ctl_feed(l->s, &l->batches[i]) != CTL_OK) return false;
        if (ctl_session_find_bad_value(l->s, RUN_FORWARD, found)) return true;
        if (backward && ctl_session_find_bad_value(l->s, RUN_BACKWARD, found)) return true;
    }
    return false;
}

static ctl_status diverged(loop *l, int64_t step, double normaliser, double loss) {
    char what[128];
    snprintf(what, sizeof what, "the loss of step %" PRId64 " is not finite (%g); nothing was updated", step,
             isnan(loss) ? NAN : loss); /* without the sign that some processors give it */
    ctl_origin found = {0};
    const bool param = ctl_session_find_bad_param(l->s, &found);
    if (!param) (void)find_in_step(l, step, normaliser, false, &found);
    ctl_say_diverged(l->o->voice, l->program, what, param, &found);
    return CTL_ERR_NUMERIC;
}

/* The optimizer has said which gradient; the value of backward that it came from. */
static void explain_gradient(loop *l, int64_t step, double normaliser) {
    ctl_origin found;
    if (find_in_step(l, step, normaliser, true, &found))
        ctl_say_at(l->o->voice, l->program, found.place, CTL_NOTE, "", NULL, "the first value of the step that is not finite is that of %s",
                   found.name);
}

static ctl_status one_step(loop *l, ctl_progress *p) {
    const ctl_settings *set = &l->o->settings;
    const int64_t step = l->state.step + 1;
    int64_t counted = 0;
    while (counted == 0) { /* a step whose every row is a prompt teaches nothing: go on to rows that do */
        for (int64_t i = 0; i < set->accumulate; i++) {
            ctl_loader_next(l->o->data, &l->batches[i]);
            counted += l->batches[i].counted;
        }
    }
    *p = (ctl_progress){.step = step, .steps = set->steps, .rate = ctl_schedule_rate(set, step)};
    ctl_session_zero_gradients(l->s);
    for (int64_t i = 0; i < set->accumulate; i++) {
        ctl_status status = micro_step(l, step, i, 1.0 / (double)counted, &p->loss);
        if (status != CTL_OK) return status;
    }
    if (!isfinite(p->loss)) return diverged(l, step, 1.0 / (double)counted, p->loss);
    const ctl_optimizer_step update = {.sgd = strcmp(set->optimizer, "sgd") == 0,
                                       .lr = p->rate,
                                       .beta1 = set->beta1,
                                       .beta2 = set->beta2,
                                       .eps = set->eps,
                                       .weight_decay = set->weight_decay,
                                       .momentum = set->momentum,
                                       .clip = set->clip,
                                       .step = (uint64_t)step};
    const ctl_status status = ctl_session_optimize(l->s, &update, &p->gradient_norm);
    if (status == CTL_ERR_NUMERIC) explain_gradient(l, step, 1.0 / (double)counted);
    return status;
}

/* ---- around the steps ---- */
static ctl_status evaluate(loop *l, ctl_evaluation *e) {
    const ctl_train_options *o = l->o;
    const ctl_evaluate_options eo = {.held_out = o->held_out,
                                     .most_batches = o->evaluate_batches,
                                     .allocator = o->allocator,
                                     .voice = o->voice,
                                     .stop = o->stop,
                                     .progress = o->evaluating,
                                     .ctx = o->ctx};
    ctl_status status = ctl_train_evaluate(l->s, l->program, &eo, e);
    if (status != CTL_OK) return status;
    e->step = l->state.evaluated = l->state.step;
    char accuracy[48] = "";
    if (e->accuracy >= 0) snprintf(accuracy, sizeof accuracy, ", \"accuracy\": %.9g", e->accuracy);
    status = ctl_log_line(&l->log,
                          "{\"step\": %" PRId64
                          ", \"eval_loss\": %.17g, \"perplexity\": %.9g, \"bits_per_byte\": %.9g%s}",
                          e->step, e->loss, e->perplexity, e->bits_per_byte, accuracy);
    if (status == CTL_OK && o->evaluated) o->evaluated(o->ctx, e);
    return status;
}

static ctl_status evaluate_if_due(loop *l) {
    const ctl_train_options *o = l->o;
    const int64_t step = l->state.step;
    const bool due = o->held_out && o->evaluate_every && step > 0 && step < o->settings.steps && step % o->evaluate_every == 0;
    return due && l->state.evaluated != step ? evaluate(l, &l->result->after) : CTL_OK;
}

static ctl_status save(loop *l) {
    const ctl_train_options *o = l->o;
    if (!o->out || l->saved == l->state.step) return CTL_OK;
    l->state.place = ctl_loader_place(o->data);
    l->state.log_size = l->log.size;
    ctl_status status = ctl_train_state_save(l->s, o, &l->state);
    if (status != CTL_OK) return status;
    l->saved = l->state.step;
    if (o->saved) o->saved(o->ctx, l->state.step);
    return CTL_OK;
}

static ctl_status begin(loop *l) {
    const ctl_train_options *o = l->o;
    ctl_status status = CTL_OK;
    bool found = false;
    if (o->out) status = ctl_lock_take(o->out, o->voice, &l->lock);
    if (status != CTL_OK) return status;
    if (o->out) l->state.weights = ctl_session_frozen_hash(l->s);
    if (o->out)
        status = o->resume ? ctl_train_state_load(l->s, o, &l->state, &found) : ctl_train_state_absent(o);
    if (status != CTL_OK) return status;
    l->result->first = l->result->last = l->state.step;
    if (o->out) status = ctl_log_open(&l->log, l->log_path, l->state.log_size, o->voice);
    if (status != CTL_OK) return status;
    if (found && o->resumed) o->resumed(o->ctx, l->state.step);
    if (o->held_out && !found) status = evaluate(l, &l->state.before);
    l->result->before = l->state.before;
    return status;
}

static void measure(loop *l, ctl_progress *p, double began) {
    const int64_t tokens = l->o->settings.accumulate * l->program->tokens;
    p->seconds = ctl_clock() - began;
    const double now = (double)tokens / (p->seconds > 1e-9 ? p->seconds : 1e-9);
    l->speed = l->speed > 0 ? 0.9 * l->speed + 0.1 * now : now;
    l->state.tokens += tokens;
    p->tokens = l->state.tokens;
    p->epoch = ctl_loader_place(l->o->data).epoch;
    p->tokens_per_second = l->speed;
    p->seconds_left = (double)(p->steps - p->step) * (double)tokens / l->speed;
    l->result->seconds += p->seconds, l->result->tokens += tokens;
    l->result->loss = p->loss, l->result->last = p->step;
}

static ctl_status steps(loop *l) {
    const ctl_train_options *o = l->o;
    const int64_t last = o->settings.steps;
    ctl_status status = begin(l);
    if (status == CTL_OK) status = evaluate_if_due(l);
    while (status == CTL_OK && l->state.step < last) {
        ctl_progress p;
        const double began = ctl_clock();
        status = one_step(l, &p);
        if (status != CTL_OK) return status;
        l->state.step = p.step;
        measure(l, &p, began);
        status = ctl_log_line(&l->log,
                              "{\"step\": %" PRId64
                              ", \"loss\": %.17g, \"lr\": %.9g, \"gradient_norm\": %.9g, \"epoch\": "
                              "%" PRId64 ", \"tokens\": %" PRId64 ", \"seconds\": %.6f}",
                              p.step, p.loss, p.rate, p.gradient_norm, p.epoch, p.tokens, p.seconds);
        if (status == CTL_OK && o->stepped) o->stepped(o->ctx, &p);
        const bool stop = o->stop && o->stop(o->ctx), end = p.step == last;
        if (status == CTL_OK && !stop) status = evaluate_if_due(l);
        if (status == CTL_OK && (end || (o->checkpoint_every && p.step % o->checkpoint_every == 0)))
            status = save(l);
        if (status == CTL_OK && stop && !end) status = CTL_INTERRUPTED;
    }
    if (status == CTL_OK && o->held_out) status = evaluate(l, &l->result->after);
    return status;
}

ctl_status ctl_train(ctl_session *s, const ctl_program *program, const ctl_train_options *o,
                     ctl_train_result *result) {
    *result = (ctl_train_result){.loss = NAN};
    ctl_train_options options = *o;
    options.allocator = ctl_allocator_or_default(o->allocator);
    loop l = {.s = s, .program = program, .o = &options, .result = result, .log = {.fd = -1}, .lock = -1, .saved = -1};
    ctl_data_kind kind;
    ctl_status status = ctl_program_data(program, o->voice, &kind);
    if (status == CTL_OK) status = ctl_program_takes(program, o->data, o->voice);
    if (status == CTL_OK && o->held_out) status = ctl_program_takes(program, o->held_out, o->voice);
    if (status == CTL_OK) status = check(program, &options);
    if (status != CTL_OK) return status;
    status = prepare(&l);
    if (status == CTL_ERR_MEMORY)
        ctl_say(o->voice, CTL_ERROR, "E0609", NULL, "no memory for the batches of a step");
    if (status == CTL_OK) status = steps(&l);
    if (status == CTL_INTERRUPTED && l.state.step > l.result->first) {
        ctl_status saved = save(&l);
        if (saved != CTL_OK) status = saved;
    }
    release(&l);
    return status;
}
