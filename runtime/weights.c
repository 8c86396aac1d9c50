/* weights: parameters from safetensors and back. See ctlrt.h and weights.h.
 *
 * Loading opens all files, finds each parameter's tensor by name, and reports everything that is missing or
 * misshapen before it writes the first parameter: a session is loaded as a whole or not at all. */
#include "runtime/weights.h"

#include "runtime/convert.h"
#include "runtime/match.h"

bool ctl_save_selects(const ctl_program_param *p, ctl_save which) {
    return which == CTL_SAVE_ALL || p->trained || (which == CTL_SAVE_ADAPTER && p->made_by_control);
}

ctl_tensor_spec ctl_param_spec(const ctl_program_param *p, const char *name, ctl_dtype dtype) {
    ctl_tensor_spec spec = {
        .name = name, .dtype = dtype == CTL_REAL ? p->value.dtype : dtype, .ndims = p->ndims};
    spec.dims[0] = p->ndims == 1 ? p->cols : p->rows;
    if (p->ndims != 1) spec.dims[1] = p->cols;
    return spec;
}

ctl_status ctl_weights_put(ctl_session *s, const ctl_match *m, size_t *loaded) {
    size_t n = 0, done = 0, all = 0;
    ctl_status status = CTL_OK;
    for (size_t i = 0; i < m->program->nparams; i++)
        if (m->of_param[i]) all += ctl_param_elements(&m->program->params[i]);
    for (size_t i = 0; i < m->program->nparams && status == CTL_OK; i++) {
        const ctl_tensor *t = m->of_param[i];
        const size_t elements = ctl_param_elements(&m->program->params[i]);
        if (!t) continue;
        status = ctl_session_param_put(s, i, 0, elements, t->dtype, t->data);
        n++;
        if (status == CTL_OK) ctl_session_tell(s, "reading weights", done += elements, all);
    }
    if (loaded) *loaded = n;
    return status;
}

/* ---- weights ---- */
/* A base model that fits nothing must not pass for one to be trained from scratch. */
static bool check_present(ctl_session *s, ctl_match *m) {
    const ctl_program *program = m->program;
    size_t found = 0, wanted = 0, fatal = 0;
    for (size_t i = 0; i < program->nparams; i++) {
        if (program->params[i].made_by_control) continue;
        wanted++;
        found += m->of_param[i] || s->param_written[i];
    }
    for (size_t i = 0; i < program->nparams; i++) {
        const ctl_program_param *p = &program->params[i];
        if (p->made_by_control || m->of_param[i] || s->param_written[i]) continue;
        bool error = !p->trained || found == 0;
        fatal += error;
        ctl_match_say_missing(m, p, error ? CTL_ERROR : CTL_WARNING, error ? "" : "; it is initialised, unless an adapter has it");
    }
    ctl_match_say_more(m, fatal ? CTL_ERROR : CTL_WARNING,
                       found ? NULL : "the files are another model's: `ctlc import DIR -o spec.ctl` writes a spec of a checkpoint");
    return fatal == 0 || wanted == 0;
}

ctl_status ctl_session_load_weights(ctl_session *s, const char *const *paths, size_t npaths,
                                    ctl_weights_report *report) {
    ctl_match m;
    if (report) *report = (ctl_weights_report){0};
    ctl_status status =
        ctl_match_open(&m, s->program, ctl_session_place(s), paths, npaths, "model.safetensors", NULL);
    if (status != CTL_OK) return status;
    bool fits = check_present(s, &m) && m.misfits == 0;
    ctl_match_say_unused(&m, CTL_WARNING);
    if (fits) {
        size_t loaded = 0, given = 0;
        status = ctl_weights_put(s, &m, &loaded);
        for (size_t i = 0; i < s->program->nparams; i++) given += s->param_written[i];
        if (report) *report = (ctl_weights_report){loaded, s->program->nparams - given, m.unused};
    }
    ctl_match_free(&m);
    return fits ? status : CTL_ERR_INPUT;
}

typedef struct saving {
    ctl_session *s;
    size_t *params; /* by number of the tensor */
    ctl_dtype dtype;
} saving;

static ctl_status read_param(void *ctx, size_t tensor, size_t first, size_t count, void *out) {
    saving *save = ctx;
    size_t param = save->params[tensor];
    ctl_dtype dtype = save->dtype == CTL_REAL ? save->s->program->params[param].value.dtype : save->dtype;
    return ctl_session_param_get(save->s, param, first, count, dtype, out);
}

ctl_status ctl_session_save_weights(ctl_session *s, const char *path, ctl_save which, ctl_dtype dtype) {
    if (dtype != CTL_REAL && !ctl_dtype_is_real(dtype)) {
        ctl_session_say(s, "E0801", "ask for f64, f32, bf16 or f16", "weights cannot be saved as %s",
                        ctl_dtype_name(dtype));
        return CTL_ERR_INPUT;
    }
    const ctl_program *program = s->program;
    size_t n = 0, slots = program->nparams + 1;
    ctl_tensor_spec *specs = ctl_alloc(s->allocator, slots * sizeof *specs);
    saving save = {s, ctl_alloc(s->allocator, slots * sizeof *save.params), dtype};
    ctl_status status = specs && save.params ? CTL_OK : CTL_ERR_MEMORY;
    for (size_t i = 0; status == CTL_OK && i < program->nparams; i++) {
        if (!ctl_save_selects(&program->params[i], which)) continue;
        specs[n] = ctl_param_spec(&program->params[i], program->params[i].name, dtype);
        save.params[n++] = i;
    }
    static const char *const metadata[][2] = {
        {"format", "pt"}}; /* what other readers of the format ask for */
    if (status == CTL_OK)
        status = ctl_tensors_save(path, specs, n, metadata, 1, read_param, &save, ctl_session_place(s));
    ctl_free(s->allocator, specs, slots * sizeof *specs);
    ctl_free(s->allocator, save.params, slots * sizeof *save.params);
    return status;
}
