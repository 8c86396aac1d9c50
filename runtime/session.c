/* session: what ctlrt.h declares, over an engine. Each function checks its arguments and the order of calls,
 * says what is wrong, and otherwise moves data in or out of the engine's storage or has it run an entry of
 * the program. */
#include <math.h>
#include <stdio.h>

#include "runtime/adaptation.h"
#include "runtime/convert.h"
#include "runtime/session.h"

enum { NOTHING_RAN = -1 };

/* ---- programs ---- */
void ctl_program_free(ctl_program *program) {
    if (!program) return;
    ctl_adaptation_free(program->adaptation);
    program->release(program);
}

size_t ctl_program_param_count(const ctl_program *program) {
    return program->nparams;
}

ctl_tensor_info ctl_program_param_at(const ctl_program *program, size_t i) {
    const ctl_program_param *p = &program->params[i];
    return (ctl_tensor_info){p->name, p->rows, p->cols, p->ndims, p->trained, p->made_by_control, p->flat};
}

ctl_memory ctl_program_memory(const ctl_program *program) {
    const size_t *bytes = program->region_bytes;
    ctl_memory m = {bytes[REGION_CONSTANT], bytes[REGION_PERSISTENT], bytes[REGION_STEP], 0};
    m.peak = m.constant + m.persistent + m.step;
    return m;
}

/* ---- opening and closing ---- */
ctl_status ctl_session_common_init(ctl_session *s, const ctl_program *program,
                                   const ctl_session_options *options) {
    ctl_session_options none = {0};
    if (!options) options = &none;
    *s = (ctl_session){.program = program,
                       .engine = program->engine,
                       .allocator = ctl_allocator_or_default(options->allocator),
                       .diagnostic = options->diagnostic,
                       .diagnostic_ctx = options->diagnostic_ctx,
                       .progress = options->progress,
                       .progress_ctx = options->progress_ctx,
                       .seed = options->seed,
                       .normaliser = 1.0,
                       .threads = program->threads < 1 ? 1 : program->threads,
                       .last_run = NOTHING_RAN};
    if (options->threads > 0 && options->threads < s->threads) s->threads = options->threads;
    s->param_written =
        ctl_alloc(s->allocator, program->nparams + 1); /* never of no bytes: NULL means failure */
    s->input_written = ctl_alloc(s->allocator, program->ninputs + 1);
    if (s->param_written && s->input_written) return CTL_OK;
    ctl_session_common_free(s);
    return CTL_ERR_MEMORY;
}

void ctl_session_common_free(ctl_session *s) {
    ctl_free(s->allocator, s->param_written, s->program->nparams + 1);
    ctl_free(s->allocator, s->input_written, s->program->ninputs + 1);
    s->param_written = s->input_written = NULL;
}

ctl_status ctl_session_open(const ctl_program *program, const ctl_session_options *options,
                            ctl_session **out) {
    *out = NULL;
    ctl_session *s = NULL;
    if (!program->engine) return CTL_ERR_INPUT; /* planned alone */
    ctl_status status = program->engine->open(program, options, &s);
    if (status != CTL_OK) return status;
    if (program->trained_elements)
        for (int i = CTL_FLAT_PARAMS; i <= CTL_FLAT_MOMENT2 && status == CTL_OK; i++)
            status = ctl_session_clear(s, ctl_session_flat_operand(s, (ctl_flat_array)i));
    if (status != CTL_OK) {
        program->engine->close(s);
        return status;
    }
    ctl_session_set_step(s, 0, 0, 1.0);
    *out = s;
    return CTL_OK;
}

ctl_device_memory ctl_session_device_memory(ctl_session *session) {
    ctl_device_memory m = {.held = session->device_bytes};
    if (session->engine->memory) session->engine->memory(session, &m);
    return m;
}

ctl_status ctl_session_profile(ctl_session *s, double *const seconds[RUN_COUNT]) {
    if (s->engine->profile) {
        s->engine->profile(s, seconds);
        return CTL_OK;
    }
    ctl_session_say(s, "E0801", "use --engine cpu or cuda", "the engine %s runs no tasks that could be timed", s->engine->name);
    return CTL_ERR_UNSUPPORTED;
}

void ctl_session_close(ctl_session *session) {
    if (session) session->engine->close(session);
}

/* ---- parameters ---- */
static ctl_origin origin_of(const ctl_program_param *p) { return (ctl_origin){p->name, p->place}; }

ctl_status ctl_session_param_put(ctl_session *s, size_t param, size_t first, size_t count, ctl_dtype dtype,
                                 const void *data) {
    s->loaded = false;
    s->at = origin_of(&s->program->params[param]);
    ctl_status status = ctl_session_put(s, &s->program->params[param].value, first, count, dtype, data);
    s->at = (ctl_origin){0};
    if (status == CTL_OK) s->param_written[param] = true;
    return status;
}

ctl_status ctl_session_param_get(ctl_session *s, size_t param, size_t first, size_t count, ctl_dtype dtype,
                                 void *data) {
    s->at = origin_of(&s->program->params[param]);
    ctl_status status = ctl_session_get(s, &s->program->params[param].value, first, count, dtype, data);
    s->at = (ctl_origin){0};
    return status;
}

static bool check_param(ctl_session *s, size_t param, ctl_dtype dtype) {
    if (param >= s->program->nparams) {
        ctl_session_say(s, "E0801", "count them with ctl_program_param_count",
                        "there is no parameter %zu: the program has %zu", param, s->program->nparams);
        return false;
    }
    if (ctl_dtype_is_real(dtype)) return true;
    ctl_session_say(s, "E0801", "give f64, f32, bf16 or f16",
                    "elements of type %s cannot be the values of '%s'", ctl_dtype_name(dtype),
                    s->program->params[param].name);
    return false;
}

ctl_status ctl_session_param_write(ctl_session *s, size_t param, ctl_dtype dtype, const void *data) {
    if (!check_param(s, param, dtype)) return CTL_ERR_INPUT;
    return ctl_session_param_put(s, param, 0, ctl_param_elements(&s->program->params[param]), dtype, data);
}

ctl_status ctl_session_param_read(ctl_session *s, size_t param, ctl_dtype dtype, void *data) {
    if (!check_param(s, param, dtype)) return CTL_ERR_INPUT;
    return ctl_session_param_get(s, param, 0, ctl_param_elements(&s->program->params[param]), dtype, data);
}

static ctl_status run(ctl_session *s, ctl_program_entry entry) {
    s->last_run = NOTHING_RAN;
    ctl_status status = s->engine->run(s, entry);
    if (status == CTL_OK) s->last_run = (int)entry;
    return status;
}

/* Copies the computed first value of a parameter; *changed becomes true when that changed it. */
static ctl_status take_init_value(ctl_session *s, const ctl_program_param *p, bool *changed) {
    const size_t n = ctl_param_elements(p), size = ctl_dtype_size(p->value.dtype);
    ctl_stage before, after;
    ctl_status status = CTL_OK;
    ctl_stage_open(&before, s, n * size);
    ctl_stage_open(&after, s, n * size);
    const size_t most = (before.bytes < after.bytes ? before.bytes : after.bytes) / size;
    for (size_t first = 0, count; first < n && status == CTL_OK; first += count) {
        count = n - first < most ? n - first : most;
        status = ctl_session_get(s, &p->value, first, count, p->value.dtype, before.at);
        if (status == CTL_OK) status = ctl_session_get(s, &p->init_value, first, count, p->value.dtype, after.at);
        if (status != CTL_OK || memcmp(before.at, after.at, count * size) == 0) continue;
        status = ctl_session_put(s, &p->value, first, count, p->value.dtype, after.at);
        *changed = true;
    }
    ctl_stage_close(&before, s);
    ctl_stage_close(&after, s);
    return status;
}

/* A first value is computed by LOAD from frozen parameters, some of which may themselves have such a value:
 * each round settles at least one of those, so that nparams rounds settle all. */
static ctl_status initialise_by_value(ctl_session *s) {
    const ctl_program *program = s->program;
    for (size_t round = 0; round <= program->nparams; round++) {
        ctl_status status = run(s, RUN_LOAD);
        if (status != CTL_OK) return status;
        bool again = false;
        for (size_t i = 0; i < program->nparams; i++) {
            const ctl_program_param *p = &program->params[i];
            bool changed = false;
            if (s->param_written[i] || p->init != PROGRAM_INIT_VALUE) continue;
            s->at = origin_of(p);
            status = take_init_value(s, p, &changed);
            s->at = (ctl_origin){0};
            if (status != CTL_OK) return status;
            again |= changed && !p->trained;
        }
        if (!again) return CTL_OK;
    }
    return CTL_OK;
}

ctl_status ctl_session_load(ctl_session *s) {
    const ctl_program *program = s->program;
    bool by_value = false;
    size_t done = 0, all = 0;
    ctl_status status = CTL_OK;
    for (size_t i = 0; i < program->nparams; i++)
        if (!s->param_written[i] && program->params[i].init != PROGRAM_INIT_VALUE) all += ctl_param_elements(&program->params[i]);
    for (size_t i = 0; i < program->nparams && status == CTL_OK; i++) {
        if (s->param_written[i]) continue;
        if (program->params[i].init == PROGRAM_INIT_VALUE)
            by_value = true;
        else {
            s->at = origin_of(&program->params[i]);
            status = ctl_session_param_initialise(s, i);
            if (status == CTL_OK) ctl_session_tell(s, "making first values", done += ctl_param_elements(&program->params[i]), all);
        }
    }
    s->at = (ctl_origin){0};
    s->loaded = false;
    if (status == CTL_OK) status = by_value ? initialise_by_value(s) : run(s, RUN_LOAD);
    if (status == CTL_OK) status = run(s, RUN_UPDATE);
    if (status != CTL_OK) return status;
    memset(s->param_written, 1, program->nparams);
    s->loaded = true;
    return CTL_OK;
}

void ctl_session_initialise(ctl_session *s) {
    memset(s->param_written, 0, s->program->nparams);
    s->loaded = false;
}

static bool check_loaded(ctl_session *s, const char *what) {
    if (s->loaded) return true;
    ctl_session_say(s, "E0802", "call ctl_session_load after writing parameters",
                    "%s before the parameters were loaded", what);
    return false;
}

ctl_status ctl_session_update(ctl_session *s) {
    if (!check_loaded(s, "an update")) return CTL_ERR_INPUT;
    return run(s, RUN_UPDATE);
}

/* ---- inputs ---- */
static bool is_normaliser(const ctl_program_input *in) {
    return strcmp(in->name, "normaliser") == 0;
}

const ctl_program_input *ctl_session_find_input(const ctl_session *s, const char *name) {
    for (size_t i = 0; i < s->program->ninputs; i++)
        if (strcmp(s->program->inputs[i].name, name) == 0) return &s->program->inputs[i];
    return NULL;
}

size_t ctl_program_input_count(const ctl_program *program) {
    size_t n = 0;
    for (size_t i = 0; i < program->ninputs; i++) n += !is_normaliser(&program->inputs[i]);
    return n;
}

ctl_input_info ctl_program_input_at(const ctl_program *program, size_t i) {
    const ctl_program_input *in = program->inputs;
    for (;; in++)
        if (!is_normaliser(in) && i-- == 0) break;
    return (ctl_input_info){in->name, in->value.rows, in->value.cols, in->value.dtype == CTL_I32};
}

static void say_no_input(ctl_session *s, const char *name) {
    char hint[300] = "it has none";
    size_t n = 0;
    for (size_t i = 0; i < ctl_program_input_count(s->program) && n < sizeof hint; i++)
        n += (size_t)snprintf(hint + n, sizeof hint - n, "%s%.60s", i ? ", " : "it has ",
                              ctl_program_input_at(s->program, i).name);
    ctl_session_say(s, "E0803", hint, "the program has no input '%s'", name);
}

bool ctl_session_has_input(const ctl_session *s, const char *name, int64_t *rows, int64_t *cols) {
    const ctl_program_input *in = ctl_session_find_input(s, name);
    if (!in || is_normaliser(in)) return false;
    if (rows) *rows = in->value.rows;
    if (cols) *cols = in->value.cols;
    return true;
}

ctl_status ctl_session_input(ctl_session *s, const char *name, ctl_dtype dtype, const void *data,
                             size_t count) {
    const ctl_program_input *in = ctl_session_find_input(s, name);
    if (!in) {
        say_no_input(s, name);
        return CTL_ERR_INPUT;
    }
    if (is_normaliser(in)) {
        ctl_session_say(s, "E0803", "give it to ctl_session_set_step",
                        "'normaliser' is not written as an input");
        return CTL_ERR_INPUT;
    }
    bool ids = in->value.dtype == CTL_I32;
    if (ids ? dtype != CTL_I32 : !ctl_dtype_is_real(dtype)) {
        ctl_session_say(s, "E0801", ids ? "give i32, one a row" : "give f32, f64, bf16 or f16",
                        "input '%s' takes %s, not %s", name, ids ? "i32" : "real numbers",
                        ctl_dtype_name(dtype));
        return CTL_ERR_INPUT;
    }
    size_t want = (size_t)in->value.rows * (size_t)in->value.cols;
    if (count != want) {
        ctl_session_say(s, "E0801", "fill up what is short with padding rows",
                        "input '%s' is %lld x %lld, %zu elements, not %zu", name, (long long)in->value.rows,
                        (long long)in->value.cols, want, count);
        return CTL_ERR_INPUT;
    }
    ctl_status status = ctl_session_put(s, &in->value, 0, count, dtype, data);
    if (status == CTL_OK) s->input_written[in - s->program->inputs] = true;
    return status;
}

void ctl_session_set_step(ctl_session *s, uint64_t step, int64_t first_row, double normaliser) {
    s->step = step, s->first_row = first_row, s->normaliser = normaliser;
    const ctl_program_input *in = ctl_session_find_input(s, "normaliser");
    if (!in) return;
    if (ctl_session_put(s, &in->value, 0, 1, CTL_F64, &normaliser) == CTL_OK)
        s->input_written[in - s->program->inputs] = true;
}

/* ---- steps ---- */
static ctl_status run_step(ctl_session *s, ctl_program_entry entry, const char *what) {
    if (!check_loaded(s, what)) return CTL_ERR_INPUT;
    for (size_t i = 0; i < s->program->ninputs; i++) {
        if (s->input_written[i]) continue;
        ctl_session_say(s, "E0802", "call ctl_session_input first", "%s before input '%s' was written", what,
                        s->program->inputs[i].name);
        return CTL_ERR_INPUT;
    }
    if (!ctl_session_check_documents(s)) return CTL_ERR_INPUT;
    ctl_session_number_rows(s);
    return run(s, entry);
}

void ctl_session_zero_gradients(ctl_session *s) {
    /* An engine that fails here fails in what follows too, and says so there. */
    if (s->program->trained_elements) (void)ctl_session_clear(s, &s->program->gradients);
}

ctl_status ctl_session_forward(ctl_session *s) {
    return run_step(s, RUN_FORWARD, "forward");
}
ctl_status ctl_session_evaluate(ctl_session *s) {
    return run_step(s, RUN_EVALUATE, "evaluate");
}

ctl_status ctl_session_backward(ctl_session *s) {
    if (s->last_run != RUN_FORWARD) {
        ctl_session_say(s, "E0802", "call ctl_session_forward just before it",
                        "backward without a forward to go back over");
        return CTL_ERR_INPUT;
    }
    return run(s, RUN_BACKWARD);
}

/* NULL: no output has the name. Its buffer is UINT32_MAX where only the other of forward and evaluate has it. */
static const ctl_operand *find_output(const ctl_session *s, const char *name, bool evaluated) {
    for (size_t i = 0; i < s->program->noutputs; i++) {
        const ctl_program_output *o = &s->program->outputs[i];
        if (strcmp(o->name, name) == 0) return evaluated ? &o->evaluate : &o->forward;
    }
    return NULL;
}

bool ctl_session_has_output(const ctl_session *s, const char *name, bool evaluated, int64_t *rows, int64_t *cols) {
    const ctl_operand *value = find_output(s, name, evaluated);
    if (!value || value->buffer == UINT32_MAX) return false;
    if (rows) *rows = value->rows;
    if (cols) *cols = value->cols;
    return true;
}

ctl_status ctl_session_output(ctl_session *s, const char *name, bool evaluated, double *out, size_t count) {
    const ctl_operand *value = find_output(s, name, evaluated);
    if (!value || value->buffer == UINT32_MAX) {
        ctl_session_say(s, "E0803", value ? "ask for it after the other of forward and evaluate"
                              : "outputs beside the loss are asked for when compiling (ctlc_options.outputs)",
                        "the program has no output '%s'%s", name,
                        !value      ? ""
                        : evaluated ? " of evaluate"
                                    : " of forward");
        return CTL_ERR_INPUT;
    }
    if (s->last_run != (evaluated ? RUN_EVALUATE : RUN_FORWARD) &&
        (evaluated || s->last_run != RUN_BACKWARD)) {
        ctl_session_say(s, "E0802", "read outputs right after the run, before the optimizer",
                        "output '%s' was asked for, but the last run was not %s", name,
                        evaluated ? "evaluate" : "forward");
        return CTL_ERR_INPUT;
    }
    size_t want = (size_t)value->rows * (size_t)value->cols;
    if (count != want) {
        ctl_session_say(s, "E0801", NULL, "output '%s' is %lld x %lld, %zu elements, not %zu", name,
                        (long long)value->rows, (long long)value->cols, want, count);
        return CTL_ERR_INPUT;
    }
    return ctl_session_get(s, value, 0, count, CTL_F64, out);
}

/* ---- training ---- */
ctl_flat ctl_session_flat(ctl_session *s) {
    const ctl_program *p = s->program;
    ctl_flat flat = {.dtype = p->trained.dtype == CTL_F64 ? CTL_F64 : CTL_F32, .count = p->trained_elements};
    if (flat.count == 0) return flat;
    flat.params = s->engine->address(s, &p->trained);
    flat.gradients = s->engine->address(s, &p->gradients);
    flat.moment1 = s->engine->address(s, &p->moment1);
    flat.moment2 = s->engine->address(s, &p->moment2);
    return flat;
}

static bool check_setting(ctl_session *s, const char *name, double value, double least, double below) {
    if (value >= least && value < below) return true;
    ctl_session_say(s, "E0806", NULL, "the optimizer's %s is %g: it must be at least %g and %s%g", name,
                    value, least, below < HUGE_VAL ? "below " : "finite, below ", below);
    return false;
}

static void say_not_finite(ctl_session *s, uint64_t step) {
    ctl_origin of = {0};
    size_t more;
    char others[64] = "";
    const bool found = ctl_session_find_bad_gradient(s, &of, &more);
    if (found && more) snprintf(others, sizeof others, ", and of %zu parameter%s before it", more, more > 1 ? "s" : "");
    ctl_session_say_at(s, of.place, "E0805", "nothing was changed; go on from the last checkpoint with a smaller lr, or with clip",
                       "the gradient is not finite in step %llu%s%s%s%s", (unsigned long long)step, found ? ": that of '" : "",
                       found ? of.name : "", found ? "'" : "", others);
}

ctl_status ctl_session_optimize(ctl_session *s, const ctl_optimizer_step *o, double *gradient_norm) {
    double norm = 0;
    if (gradient_norm) *gradient_norm = 0;
    if (!check_loaded(s, "the optimizer")) return CTL_ERR_INPUT;
    ctl_flat flat = ctl_session_flat(s);
    bool fits = check_setting(s, "lr", o->lr, 0, HUGE_VAL) &&
                check_setting(s, "weight_decay", o->weight_decay, 0, HUGE_VAL) &&
                check_setting(s, "clip", o->clip, 0, HUGE_VAL);
    if (fits && o->sgd)
        fits = check_setting(s, "momentum", o->momentum, 0, 1);
    else if (fits)
        fits = check_setting(s, "beta1", o->beta1, 0, 1) && check_setting(s, "beta2", o->beta2, 0, 1) &&
               check_setting(s, "eps", o->eps, 0, HUGE_VAL) &&
               check_setting(s, "step", (double)o->step, 1, HUGE_VAL);
    if (!fits) return CTL_ERR_INPUT;
    const bool first = s->program->moment1.buffer != UINT32_MAX, second = s->program->moment2.buffer != UINT32_MAX;
    if (flat.count && (o->sgd ? o->momentum > 0 && !first : !first || !second)) {
        ctl_session_say(s, "E0801", "compile the program for the optimizer that is to be used",
                        "the program was laid out without the moments that %s needs",
                        o->sgd ? "sgd with momentum" : "adamw");
        return CTL_ERR_INPUT;
    }
    if (flat.count) {
        ctl_status status = s->engine->optimize ? s->engine->optimize(s, o, &norm)
                                                : ctl_optimizer_apply(&flat, o, s->threads, &norm);
        if (gradient_norm) *gradient_norm = norm;
        if (status != CTL_OK && status != CTL_ERR_NUMERIC) return status;
        if (status != CTL_OK) {
            say_not_finite(s, o->step);
            return status;
        }
    }
    return run(s, RUN_UPDATE);
}
