/* match: see match.h. Every parameter's tensor is looked for before the first is written anywhere: files are
 * used as a whole or not at all. */
#include "runtime/match.h"

#include <stdio.h>

#include "runtime/convert.h"
#include "runtime/names.h"

bool ctl_tensor_fits(const ctl_tensor *t, const ctl_program_param *p, ctl_voice voice) {
    int first = 0; /* a batch of one, as code keeps what it adds to each of a batch: [1, a, b] is [a, b] */
    while (p->ndims == 2 && t->ndims - first > 2 && t->dims[first] == 1 && p->rows != 1) first++;
    int64_t rows = t->ndims < 2 ? 1 : t->dims[first], cols = 1;
    bool fits = true;
    for (int d = t->ndims < 2 ? 0 : first + 1; d < t->ndims; d++)
        fits = fits && ctl_mul_i64(cols, t->dims[d], &cols);
    if (p->ndims == 1 && t->ndims == 2 && cols == 1) cols = rows, rows = 1; /* a column */
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
            : p->made_by_control ? "give the control the sizes that the adapter was trained with, as by --set CONTROL.rank=8"
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
static void mark(ctl_match *m, size_t set, const ctl_tensor *t) {
    m->used[set][t - ctl_tensors_at(m->sets[set], 0)] = true;
}

void ctl_match_free(ctl_match *m) {
    const ctl_allocator *a = m->place.allocator;
    for (size_t i = 0; i < m->nsets; i++) {
        if (m->used) ctl_free(a, m->used[i], ctl_tensors_count(m->sets[i]) + 1);
        ctl_tensors_close(m->sets[i]);
    }
    ctl_free(a, m->sets, (m->npaths + 1) * sizeof *m->sets);
    ctl_free(a, m->used, (m->npaths + 1) * sizeof *m->used);
    ctl_free(a, m->of_param, (m->program->nparams + 1) * sizeof *m->of_param);
}

ctl_status ctl_match_open(ctl_match *m, const ctl_program *program, ctl_place place, const char *const *paths,
                          size_t npaths, const char *single, char *const *names) {
    *m = (ctl_match){.program = program, .place = place, .npaths = npaths};
    m->sets = ctl_alloc(place.allocator, (npaths + 1) * sizeof *m->sets);
    m->used = ctl_alloc(place.allocator, (npaths + 1) * sizeof *m->used);
    m->of_param = ctl_alloc(place.allocator, (program->nparams + 1) * sizeof *m->of_param);
    ctl_status status = m->sets && m->used && m->of_param ? CTL_OK : CTL_ERR_MEMORY;
    while (status == CTL_OK && m->nsets < npaths) {
        status = ctl_tensors_open(paths[m->nsets], single, place, &m->sets[m->nsets]);
        if (status != CTL_OK) break;
        m->used[m->nsets] = ctl_alloc(place.allocator, ctl_tensors_count(m->sets[m->nsets]) + 1);
        if (!m->used[m->nsets++]) status = CTL_ERR_MEMORY;
    }
    if (status != CTL_OK) {
        ctl_match_free(m);
        return status;
    }
    for (size_t i = 0; i < program->nparams; i++) {
        for (size_t k = 0; k < m->nsets; k++) { /* of several files the last one counts */
            const ctl_tensor *t = !names     ? ctl_names_find(m->sets[k], program->params[i].name)
                                  : names[i] ? ctl_tensors_find(m->sets[k], names[i])
                                             : NULL;
            if (!t) continue;
            m->of_param[i] = t;
            mark(m, k, t);
        }
        /* In a model of another size nearly every tensor is another: a few tell. */
        ctl_voice voice = m->misfits < CTL_MOST_MISFITS ? place.voice : (ctl_voice){NULL, NULL};
        if (m->of_param[i] && !ctl_tensor_fits(m->of_param[i], &program->params[i], voice)) m->misfits++;
    }
    if (m->misfits > CTL_MOST_MISFITS)
        ctl_say(place.voice, CTL_ERROR, "E0705", "`ctlc import DIR -o spec.ctl` writes a spec of a checkpoint's sizes",
                "%zu more tensors do not fit: the model has other sizes than the files", m->misfits - CTL_MOST_MISFITS);
    return CTL_OK;
}

/* ---- what is said ---- */
/* A head that no file has is most likely the embedding's. */
static bool tied_head(const ctl_program_param *p) {
    const char *head = "lm_head.weight";
    size_t n = strlen(p->name), m = strlen(head);
    return n >= m && strcmp(p->name + n - m, head) == 0;
}

void ctl_match_say_missing(ctl_match *m, const ctl_program_param *p, ctl_severity severity,
                           const char *then) {
    if (m->missing++ >= CTL_MOST_SAID) return;
    const ctl_tensor *nearest = NULL;
    int best = 8;
    for (size_t k = 0; k < m->nsets; k++) {
        for (size_t i = 0; i < ctl_tensors_count(m->sets[k]); i++) {
            const ctl_tensor *t = ctl_tensors_at(m->sets[k], i);
            int d = ctl_name_distance(p->name, t->name, best);
            if (d < best && !m->used[k][i]) best = d, nearest = t;
        }
    }
    char hint[400];
    if (nearest)
        snprintf(hint, sizeof hint, "'%.120s' has '%.200s'", nearest->file, nearest->name);
    else if (tied_head(p))
        snprintf(hint, sizeof hint,
                 "a checkpoint without a head uses its embedding: `tied = true` in the model");
    ctl_say(m->place.voice, severity, "E0704", nearest || tied_head(p) ? hint : NULL,
            "no file has the parameter '%s'%s", p->name, then);
}

void ctl_match_say_more(const ctl_match *m, ctl_severity severity, const char *hint) {
    if (m->missing <= CTL_MOST_SAID) return;
    ctl_say(m->place.voice, severity, "E0704", hint, "%zu more parameters are missing",
            m->missing - CTL_MOST_SAID);
}

/* Files that were saved from a tied model may hold its head once more. */
static bool is_copy(const ctl_match *m, size_t set, const ctl_tensor *t) {
    for (size_t i = 0; i < ctl_tensors_count(m->sets[set]); i++) {
        const ctl_tensor *other = ctl_tensors_at(m->sets[set], i);
        if (m->used[set][i] && other->bytes == t->bytes && t->known && other->known &&
            other->dtype == t->dtype && t->bytes && memcmp(other->data, t->data, t->bytes) == 0)
            return true;
    }
    return false;
}

void ctl_match_say_unused(ctl_match *m, ctl_severity severity) {
    for (size_t k = 0; k < m->nsets; k++) {
        char names[600] = "";
        const char *file = NULL;
        size_t n = 0, unused = 0, tensors = ctl_tensors_count(m->sets[k]);
        bool several = false; /* shards: then their folder is named */
        for (size_t i = 0; i < tensors; i++) {
            const ctl_tensor *t = ctl_tensors_at(m->sets[k], i);
            if (m->used[k][i] || ctl_names_ignored(t->name) || is_copy(m, k, t)) continue;
            if (unused++ < 3)
                n += (size_t)snprintf(names + n, sizeof names - n, "%s'%.150s'", n ? ", " : "", t->name);
            several |= file && strcmp(file, t->file) != 0;
            if (!file) file = t->file;
        }
        m->unused += unused;
        if (unused == 0) continue;
        const char *slash = several ? strrchr(file, '/') : NULL;
        ctl_say(m->place.voice, severity, "E0706", NULL,
                "%zu tensor%s of '%.*s' belong%s to no parameter: %s%s", unused, unused == 1 ? "" : "s",
                (int)(slash ? (size_t)(slash - file) : strlen(file)), file, unused == 1 ? "s" : "", names,
                unused > 3 ? ", ..." : "");
    }
}
