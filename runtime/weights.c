/* weights: parameters from safetensors and back. See ctlrt.h and weights.h.
 *
 * Loading opens all files, finds each parameter's tensor by name, and reports everything that is missing or
 * misshapen before it writes the first parameter: a session is loaded as a whole or not at all. */
#include "runtime/weights.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/convert.h"

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

bool ctl_tensor_fits(const ctl_tensor *t, const ctl_program_param *p, ctl_voice voice) {
    int64_t rows = t->ndims < 2 ? 1 : t->dims[0], cols = 1;
    bool fits = true;
    for (int d = t->ndims < 2 ? 0 : 1; d < t->ndims; d++) fits = fits && ctl_mul_i64(cols, t->dims[d], &cols);
    if (fits && rows == p->rows && cols == p->cols) {
        if (t->known && ctl_dtype_is_real(t->dtype)) return true;
        ctl_say(voice, CTL_ERROR, "E0705", "save it as F32, F16 or BF16",
                "'%s': tensor '%.200s' has elements of type %s", t->file, t->name, t->dtype_name);
        return false;
    }
    char shape[CTL_TENSOR_DIMS * 24] = "";
    size_t n = 0;
    for (int d = 0; d < t->ndims; d++)
        n += (size_t)snprintf(shape + n, sizeof shape - n, "%s%lld", d ? ", " : "", (long long)t->dims[d]);
    char want[64];
    if (p->ndims == 1)
        snprintf(want, sizeof want, "%lld", (long long)p->cols);
    else
        snprintf(want, sizeof want, "%lld, %lld", (long long)p->rows, (long long)p->cols);
    ctl_say(voice, CTL_ERROR, "E0705",
            rows == p->cols && cols == p->rows ? "it may be transposed"
                                               : "compare the model's sizes with its config.json",
            "'%s': tensor '%.200s' is [%s]; the parameter is [%s]", t->file, t->name, shape, want);
    return false;
}

int ctl_name_distance(const char *a, const char *b, int limit) {
    size_t na = strlen(a), nb = strlen(b), head = 0, tail = 0;
    const char *longer = na > nb ? a : b, *shorter = na > nb ? b : a;
    size_t more = na > nb ? na - nb : nb - na;
    if (more > 1 && longer[more - 1] == '.' && strcmp(longer + more, shorter) == 0) return 1;
    while (head < na && head < nb && a[head] == b[head]) head++;
    while (tail < na - head && tail < nb - head && a[na - 1 - tail] == b[nb - 1 - tail]) tail++;
    char x[64], y[64];
    na -= head + tail, nb -= head + tail;
    if (na >= sizeof x || nb >= sizeof y) return limit + 1;
    memcpy(x, a + head, na), memcpy(y, b + head, nb);
    x[na] = y[nb] = 0;
    return ctl_edit_distance(x, y, limit);
}

/* ---- matching ---- */
typedef struct match {
    ctl_session *s;
    ctl_tensors **sets; /* npaths */
    size_t npaths, nsets;
    const ctl_tensor **of_param;       /* nparams; NULL: no tensor */
    const ctl_program_param **by_name; /* nparams, sorted */
    size_t unused, missing, misfits;
} match;

static int compare_params(const void *a, const void *b) {
    return strcmp((*(const ctl_program_param *const *)a)->name, (*(const ctl_program_param *const *)b)->name);
}

static bool is_param(const match *m, const char *name) {
    ctl_program_param key = {.name = name};
    const ctl_program_param *at = &key;
    size_t n = m->s->program->nparams;
    return n && bsearch(&at, m->by_name, n, sizeof at, compare_params) != NULL;
}

static void match_free(match *m) {
    const ctl_allocator *a = m->s->allocator;
    for (size_t i = 0; i < m->nsets; i++) ctl_tensors_close(m->sets[i]);
    ctl_free(a, m->sets, (m->npaths + 1) * sizeof *m->sets);
    ctl_free(a, m->of_param, (m->s->program->nparams + 1) * sizeof *m->of_param);
    ctl_free(a, m->by_name, (m->s->program->nparams + 1) * sizeof *m->by_name);
}

static ctl_status match_open(match *m, ctl_session *s, const char *const *paths, size_t npaths,
                             const char *single) {
    const ctl_program *program = s->program;
    *m = (match){.s = s, .npaths = npaths};
    m->sets = ctl_alloc(s->allocator, (npaths + 1) * sizeof *m->sets);
    m->of_param = ctl_alloc(s->allocator, (program->nparams + 1) * sizeof *m->of_param);
    m->by_name = ctl_alloc(s->allocator, (program->nparams + 1) * sizeof *m->by_name);
    ctl_status status = m->sets && m->of_param && m->by_name ? CTL_OK : CTL_ERR_MEMORY;
    while (status == CTL_OK && m->nsets < npaths) {
        status = ctl_tensors_open(paths[m->nsets], single, ctl_session_place(s), &m->sets[m->nsets]);
        if (status == CTL_OK) m->nsets++;
    }
    if (status != CTL_OK) {
        match_free(m);
        return status;
    }
    for (size_t i = 0; i < program->nparams; i++) {
        m->by_name[i] = &program->params[i];
        for (size_t k = 0; k < m->nsets; k++) { /* of several files the last one counts */
            const ctl_tensor *t = ctl_tensors_find(m->sets[k], program->params[i].name);
            if (t) m->of_param[i] = t;
        }
        if (m->of_param[i] && !ctl_tensor_fits(m->of_param[i], &program->params[i], ctl_session_voice(s)))
            m->misfits++;
    }
    qsort(m->by_name, program->nparams, sizeof *m->by_name, compare_params);
    return CTL_OK;
}

/* Says that a parameter has no tensor, with the nearest name that the files have for nothing else. */
static void say_missing(match *m, const ctl_program_param *p, ctl_severity severity, const char *then) {
    if (m->missing++ >= CTL_MOST_SAID) return;
    const ctl_tensor *nearest = NULL;
    int best = 8;
    for (size_t k = 0; k < m->nsets; k++) {
        for (size_t i = 0; i < ctl_tensors_count(m->sets[k]); i++) {
            const ctl_tensor *t = ctl_tensors_at(m->sets[k], i);
            int d = ctl_name_distance(p->name, t->name, best);
            if (d < best && !is_param(m, t->name)) best = d, nearest = t;
        }
    }
    char hint[400];
    if (nearest) snprintf(hint, sizeof hint, "'%.120s' has '%.200s'", nearest->file, nearest->name);
    ctl_say(ctl_session_voice(m->s), severity, "E0704", nearest ? hint : NULL,
            "no file has the parameter '%s'%s", p->name, then);
}

static void say_more_missing(const match *m, ctl_severity severity) {
    if (m->missing <= CTL_MOST_SAID) return;
    ctl_say(ctl_session_voice(m->s), severity, "E0704", NULL, "%zu more parameters are missing",
            m->missing - CTL_MOST_SAID);
}

static void say_unused(match *m, ctl_severity severity) {
    for (size_t k = 0; k < m->nsets; k++) {
        char names[600] = "";
        size_t n = 0, unused = 0, tensors = ctl_tensors_count(m->sets[k]);
        for (size_t i = 0; i < tensors; i++) {
            const char *name = ctl_tensors_at(m->sets[k], i)->name;
            if (is_param(m, name)) continue;
            if (unused++ < 3)
                n += (size_t)snprintf(names + n, sizeof names - n, "%s'%.150s'", n ? ", " : "", name);
        }
        m->unused += unused;
        if (unused == 0) continue;
        ctl_say(ctl_session_voice(m->s), severity, "E0706", NULL,
                "%zu tensor%s of '%s' belong%s to no parameter: %s%s", unused, unused == 1 ? "" : "s",
                ctl_tensors_at(m->sets[k], 0)->file, unused == 1 ? "s" : "", names,
                unused > 3 ? ", ..." : "");
    }
}

static size_t write_found(match *m) {
    size_t loaded = 0;
    for (size_t i = 0; i < m->s->program->nparams; i++) {
        const ctl_tensor *t = m->of_param[i];
        if (!t) continue;
        ctl_session_param_put(m->s, i, 0, ctl_param_elements(&m->s->program->params[i]), t->dtype, t->data);
        loaded++;
    }
    return loaded;
}

/* ---- weights ---- */
/* A base model that fits nothing must not pass for one to be trained from scratch. */
static bool check_present(match *m) {
    const ctl_program *program = m->s->program;
    size_t found = 0, wanted = 0, fatal = 0;
    for (size_t i = 0; i < program->nparams; i++) {
        if (program->params[i].made_by_control) continue;
        wanted++;
        found += m->of_param[i] || m->s->param_written[i];
    }
    for (size_t i = 0; i < program->nparams; i++) {
        const ctl_program_param *p = &program->params[i];
        if (p->made_by_control || m->of_param[i] || m->s->param_written[i]) continue;
        bool error = !p->trained || found == 0;
        fatal += error;
        say_missing(m, p, error ? CTL_ERROR : CTL_WARNING, error ? "" : "; it is initialised");
    }
    say_more_missing(m, fatal ? CTL_ERROR : CTL_WARNING);
    return fatal == 0 || wanted == 0;
}

ctl_status ctl_session_load_weights(ctl_session *s, const char *const *paths, size_t npaths,
                                    ctl_weights_report *report) {
    match m;
    if (report) *report = (ctl_weights_report){0};
    ctl_status status = match_open(&m, s, paths, npaths, "model.safetensors");
    if (status != CTL_OK) return status;
    bool fits = check_present(&m) && m.misfits == 0;
    say_unused(&m, CTL_WARNING);
    if (fits) {
        size_t loaded = write_found(&m), given = 0;
        for (size_t i = 0; i < s->program->nparams; i++) given += s->param_written[i];
        if (report) *report = (ctl_weights_report){loaded, s->program->nparams - given, m.unused};
    }
    match_free(&m);
    return fits ? CTL_OK : CTL_ERR_INPUT;
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
    ctl_session_param_get(save->s, param, first, count, dtype, out);
    return CTL_OK;
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

/* ---- adapters ---- */
ctl_status ctl_weights_load_adapter(ctl_session *s, const char *path) {
    match m;
    ctl_status status = match_open(&m, s, &path, 1, "adapter_model.safetensors");
    if (status != CTL_OK) return status;
    for (size_t i = 0; i < s->program->nparams; i++)
        if (!m.of_param[i] && ctl_save_selects(&s->program->params[i], CTL_SAVE_ADAPTER))
            say_missing(&m, &s->program->params[i], CTL_ERROR, "");
    say_more_missing(&m, CTL_ERROR);
    say_unused(&m, CTL_ERROR);
    bool fits = m.missing == 0 && m.unused == 0 && m.misfits == 0;
    if (fits) write_found(&m);
    match_free(&m);
    return fits ? CTL_OK : CTL_ERR_INPUT;
}
