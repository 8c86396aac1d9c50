/* merge: see merge.h. The checkpoint's tensors are written again one by one; where a form (adaptation.h)
 * stands for a product with one of them, the form is evaluated on the identity just before its first element
 * is asked for. The files wait in a folder of their own within OUT until the last of them is whole: a merge that is refused,
 * or finds no room, leaves nothing. */
#include "runtime/merge.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/adapter.h"
#include "runtime/convert.h"
#include "runtime/form.h"

enum { MOST_BESIDE = 1 << 28 };
static const char *const APART =
    "keep the model and the adapter apart: `--weights` and `--adapter` take both";

typedef enum source_kind { FROM_BASE, FROM_ADAPTER, FROM_FORM, FROM_FORM_CONSTANT } source_kind;
typedef struct source {     /* of one tensor that is written */
    const ctl_tensor *base; /* NULL: the checkpoint does not have it */
    source_kind kind;
    size_t param, form;
    bool differs; /* from the checkpoint's; told while it is written */
} source;

typedef struct merger {
    const ctl_program *program;
    ctl_place place;
    ctl_match base, adapter;
    bool base_open, adapter_open;
    const char *out;
    char *staging; /* the folder where files wait */
    ctl_merge_report *report;
    const ctl_merge_watch *watch;
    size_t begun; /* tensors */
    /* of the file being written: */
    source *sources;
    size_t nsources;
    double *values; /* of the tensor being written, where it is computed */
    size_t nvalues;
} merger;

static const ctl_tensor *tensor_of(const merger *m, size_t param) {
    return m->adapter.of_param[param] ? m->adapter.of_param[param] : m->base.of_param[param];
}

static ctl_status refuse(const merger *m, const char *fmt, ...) CTL_PRINTF(2, 3);
static ctl_status refuse(const merger *m, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    ctl_vsay(m->place.voice, CTL_ERROR, "E0713", APART, fmt, args);
    va_end(args);
    return CTL_ERR_INPUT;
}

/* ---- what can be merged ---- */
static ctl_status check_forms(const merger *m) {
    const ctl_adaptation *a = m->program->adaptation;
    if (!a) return refuse(m, "the program does not say what its controls do");
    if (a->apart) return refuse(m, "no weight can take the control's place: %s", a->apart);
    for (size_t k = 0; k < a->nforms; k++)
        if (a->forms[k].shared)
            return refuse(m, "'%s' is read in another place too, which a merged control would change as well",
                          m->program->params[a->forms[k].weight].name);
    return CTL_OK;
}

static ctl_status check_base(merger *m) {
    size_t missing = 0;
    for (size_t k = 0; k < m->program->nparams; k++) {
        const ctl_program_param *p = &m->program->params[k];
        if (p->made_by_control || tensor_of(m, k)) continue;
        ctl_match_say_missing(&m->base, p, CTL_ERROR, "");
        missing++;
    }
    ctl_match_say_more(&m->base, CTL_ERROR, NULL);
    return missing || m->base.misfits ? CTL_ERR_INPUT : CTL_OK;
}

/* ---- values ---- */
static ctl_status read_param(void *ctx, size_t param, double *out) {
    const merger *m = ctx;
    const ctl_tensor *t = tensor_of(m, param);
    const ctl_program_param *p = &m->program->params[param];
    if (!t) return CTL_ERR_INTERNAL;
    ctl_convert(CTL_F64, out, t->dtype, t->data, (size_t)(p->rows * p->cols));
    return CTL_OK;
}

static void drop_values(merger *m) {
    ctl_free(m->place.allocator, m->values, (m->nvalues + 1) * sizeof(double));
    m->values = NULL;
}

/* Numbers of this size and above become infinite in the type. */
static double too_large(ctl_dtype dtype) {
    return dtype == CTL_F16 ? 65520.0 : dtype == CTL_BF16 ? 0x1.ffp127 : dtype == CTL_F32 ? 0x1.ffffffp127 : HUGE_VAL;
}

static ctl_status check_finite(const merger *m, const source *s, ctl_dtype dtype) {
    const double most = too_large(dtype);
    for (size_t k = 0; k < m->nvalues; k++)
        if (!(fabs(m->values[k]) < most))
            return refuse(m, "'%s' would not be finite in %s", m->program->params[s->param].name, ctl_dtype_name(dtype));
    return CTL_OK;
}

static ctl_status compute(merger *m, const source *s) {
    const ctl_form *form = &m->program->adaptation->forms[s->form];
    const ctl_program_param *w = &m->program->params[form->weight];
    size_t elements = (size_t)(w->rows * w->cols), units = (size_t)(form->turned ? w->rows : w->cols);
    double *weight, *constant;
    bool has_constant;
    ctl_status status = ctl_form_merge(m->program, form, NULL, read_param, m, m->place.allocator, &weight,
                                       &constant, &has_constant);
    if (status == CTL_ERR_INPUT)
        return refuse(m, "the control on '%s' cannot be turned into weights", w->name);
    if (status != CTL_OK) return status;
    bool constant_wanted = s->kind == FROM_FORM_CONSTANT;
    m->values = constant_wanted ? constant : weight, m->nvalues = constant_wanted ? units : elements;
    if (constant_wanted)
        ctl_free(m->place.allocator, weight, (elements + 1) * sizeof(double));
    else
        ctl_free(m->place.allocator, constant, (units + 1) * sizeof(double));
    return CTL_OK;
}

/* Does the form add something that is no bias of the model's? Forms are linear, so a constant in them is a
 * bias that a control made. */
static ctl_status check_constants(merger *m) {
    const ctl_adaptation *a = m->program->adaptation;
    for (size_t k = 0; k < a->nforms; k++) {
        double *weight, *constant;
        bool has_constant;
        const ctl_form *f = &a->forms[k];
        if (f->bias != CTL_NO_PARAM) continue;
        bool rows_added = false;
        for (size_t i = 0; i < f->n && !rows_added; i++) {
            const ctl_form_node *n = &f->nodes[i];
            rows_added = n->op == FORM_PARAM && m->program->params[n->i[0]].ndims == 1 &&
                         n->i[0] != (int64_t)f->weight;
        }
        if (!rows_added)
            continue; /* no row vector in it: nothing that could be a bias, and no need to compute */
        ctl_status status = ctl_form_merge(m->program, f, NULL, read_param, m, m->place.allocator, &weight,
                                           &constant, &has_constant);
        if (status == CTL_ERR_INPUT)
            return refuse(m, "the control on '%s' cannot be turned into weights",
                          m->program->params[f->weight].name);
        if (status != CTL_OK) return status;
        const ctl_program_param *w = &m->program->params[f->weight];
        ctl_free(m->place.allocator, weight, ((size_t)(w->rows * w->cols) + 1) * sizeof(double));
        ctl_free(m->place.allocator, constant,
                 ((size_t)(f->turned ? w->rows : w->cols) + 1) * sizeof(double));
        if (has_constant) return refuse(m, "`%s` would need a bias, which the model does not have", f->path);
    }
    return CTL_OK;
}

/* Every tensor of the checkpoint is written, and those that are added. */
static void tell_share(const merger *m) {
    if (!m->watch) return;
    size_t of = ctl_tensors_count(m->base.sets[0]) + m->report->added;
    m->watch->share(m->watch->ctx, m->begun, of);
}

static size_t element_size(const ctl_tensor *t) {
    size_t elements = 1;
    for (int d = 0; d < t->ndims; d++) elements *= (size_t)t->dims[d];
    return elements ? t->bytes / elements : 1;
}

/* New values of a tensor. */
static ctl_status make(merger *m, const source *s, size_t first, size_t count, void *out) {
    ctl_dtype dtype = s->base ? s->base->dtype : m->adapter.of_param[s->param]->dtype;
    if (s->kind == FROM_ADAPTER) {
        const ctl_tensor *t = m->adapter.of_param[s->param];
        ctl_convert(dtype, out, t->dtype, (const char *)t->data + first * ctl_dtype_size(t->dtype), count);
        return CTL_OK;
    }
    ctl_status status = CTL_OK;
    if (first == 0) {
        drop_values(m);
        status = compute(m, s);
        if (status == CTL_OK) status = check_finite(m, s, dtype);
    }
    if (status == CTL_OK) ctl_convert(dtype, out, CTL_F64, m->values + first, count);
    return status;
}

static ctl_status give(void *ctx, size_t tensor, size_t first, size_t count, void *out) {
    merger *m = ctx;
    source *s = &m->sources[tensor];
    const size_t size = s->base ? element_size(s->base) : 0;
    const char *before = s->base ? (const char *)s->base->data + first * size : NULL;
    if (first == 0) {
        tell_share(m);
        m->begun++;
    }
    if (s->kind == FROM_BASE) {
        memcpy(out, before, count * size);
        return CTL_OK;
    }
    ctl_status status = make(m, s, first, count, out);
    s->differs |= status == CTL_OK && s->base && memcmp(before, out, count * size) != 0;
    return status;
}

/* ---- files ---- */
/* Where a tensor's new values come from. */
static void find_source(const merger *m, source *s) {
    const ctl_adaptation *a = m->program->adaptation;
    s->kind = FROM_BASE;
    for (size_t k = 0; k < m->program->nparams; k++) {
        if (!s->base || m->base.of_param[k] != s->base) continue;
        s->param = k;
        if (m->adapter.of_param[k]) s->kind = FROM_ADAPTER;
        for (size_t f = 0; f < a->nforms; f++) {
            if (a->forms[f].weight == k)
                s->kind = FROM_FORM, s->form = f;
            else if (a->forms[f].bias == k)
                s->kind = FROM_FORM_CONSTANT, s->form = f;
        }
        return;
    }
}

static ctl_tensor_spec spec_of(const merger *m, const source *s) {
    if (!s->base) {
        const ctl_program_param *p = &m->program->params[s->param];
        return (ctl_tensor_spec){.name = p->name,
                                 .dtype = m->adapter.of_param[s->param]->dtype,
                                 .ndims = p->ndims,
                                 .dims = {p->ndims == 1 ? p->cols : p->rows, p->cols}};
    }
    ctl_tensor_spec spec = {.name = s->base->name, .dtype = s->base->dtype, .ndims = s->base->ndims};
    memcpy(spec.dims, s->base->dims, sizeof spec.dims);
    if (!s->base->known) spec.file_dtype = s->base->dtype_name;
    return spec;
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The tensors of one file, and behind the last one those that no file has. */
static ctl_status write_file(merger *m, const char *file, bool last, ctl_string *index) {
    const ctl_allocator *a = m->place.allocator;
    const ctl_tensors *set = m->base.sets[0];
    size_t slots = ctl_tensors_count(set) + m->program->nparams + 1;
    ctl_tensor_spec *specs = ctl_alloc(a, slots * sizeof *specs);
    m->sources = ctl_alloc(a, slots * sizeof *m->sources), m->nsources = 0;
    char *path = ctl_string_format(a, "%s/%s", m->staging, last_part(file));
    ctl_status status = specs && m->sources && path ? CTL_OK : CTL_ERR_MEMORY;
    for (size_t i = 0; status == CTL_OK && i < ctl_tensors_count(set); i++) {
        const ctl_tensor *t = ctl_tensors_at(set, i);
        if (strcmp(t->file, file) != 0) continue;
        source *s = &m->sources[m->nsources++];
        *s = (source){.base = t};
        find_source(m, s);
    }
    for (size_t k = 0; status == CTL_OK && last && k < m->program->nparams; k++) {
        if (m->program->params[k].made_by_control || m->base.of_param[k] || !m->adapter.of_param[k]) continue;
        m->sources[m->nsources++] = (source){.kind = FROM_ADAPTER, .param = k};
        m->report->added++;
    }
    for (size_t i = 0; status == CTL_OK && i < m->nsources; i++) {
        specs[i] = spec_of(m, &m->sources[i]);
        ctl_string_add(index, "%s\n    ", index->n ? "," : "");
        ctl_string_json(index, specs[i].name);
        ctl_string_add(index, ": ");
        ctl_string_json(index, last_part(file));
    }
    static const char *const metadata[][2] = {{"format", "pt"}};
    if (status == CTL_OK) status = ctl_tensors_save(path, specs, m->nsources, metadata, 1, give, m, m->place);
    for (size_t i = 0; status == CTL_OK && i < m->nsources; i++) {
        if (!m->sources[i].base) continue;
        m->sources[i].differs ? m->report->changed++ : m->report->copied++;
    }
    drop_values(m);
    ctl_string_free(a, path);
    ctl_free(a, m->sources, slots * sizeof *m->sources);
    ctl_free(a, specs, slots * sizeof *specs);
    m->sources = NULL;
    return status;
}

static ctl_status write_index(const merger *m, const ctl_string *map) {
    const ctl_tensors *set = m->base.sets[0];
    size_t bytes = 0;
    for (size_t i = 0; i < ctl_tensors_count(set); i++) bytes += ctl_tensors_at(set, i)->bytes;
    for (size_t k = 0; k < m->program->nparams; k++)
        if (!m->program->params[k].made_by_control && !m->base.of_param[k])
            bytes += m->adapter.of_param[k]->bytes;
    char *path = ctl_string_format(m->place.allocator, "%s/model.safetensors.index.json", m->staging);
    ctl_string text = {.allocator = m->place.allocator};
    ctl_string_add(&text, "{\n  \"metadata\": {\n    \"total_size\": %zu\n  },\n  \"weight_map\": {", bytes);
    ctl_string_put(&text, map->at, map->n);
    ctl_string_add(&text, "\n  }\n}\n");
    ctl_status status = path && !text.failed && !map->failed
                            ? ctl_file_replace(path, text.at, text.n, m->place)
                            : CTL_ERR_MEMORY;
    ctl_string_drop(&text);
    ctl_string_free(m->place.allocator, path);
    return status;
}

static ctl_status write_files(merger *m) {
    const ctl_tensors *set = m->base.sets[0];
    size_t n = ctl_tensors_count(set), files = 0;
    ctl_string map = {.allocator = m->place.allocator};
    ctl_status status = CTL_OK;
    const char *before = NULL, *last = NULL;
    for (size_t i = 0; i < n; i++) /* names of shards count up: the greatest is the last */
        if (!last || strcmp(ctl_tensors_at(set, i)->file, last) > 0) last = ctl_tensors_at(set, i)->file;
    while (status == CTL_OK) {
        const char *next = NULL;
        for (size_t i = 0; i < n; i++) {
            const char *file = ctl_tensors_at(set, i)->file;
            if ((!before || strcmp(file, before) > 0) && (!next || strcmp(file, next) < 0)) next = file;
        }
        if (!next) break;
        status = write_file(m, next, strcmp(next, last) == 0, &map);
        before = next, files++;
    }
    if (status == CTL_OK && files > 1) status = write_index(m, &map);
    ctl_string_drop(&map);
    return status;
}

/* Every file that waits takes its place in OUT, or is removed. The folder goes. */
static ctl_status empty_staging(const merger *m, bool keep) {
    const ctl_allocator *a = m->place.allocator;
    ctl_status status = CTL_OK;
    DIR *folder = opendir(m->staging);
    for (struct dirent *e; folder && (e = readdir(folder));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        char *from = ctl_string_format(a, "%s/%s", m->staging, e->d_name), *to = ctl_string_format(a, "%s/%s", m->out, e->d_name);
        if (!from || !to) {
            status = CTL_ERR_MEMORY;
        } else if (keep && status == CTL_OK && rename(from, to) != 0) {
            ctl_say(m->place.voice, CTL_ERROR, "E0707", ctl_errno_hint(errno), "cannot write '%s': %s", to, strerror(errno));
            status = CTL_ERR_IO;
        }
        if (from && (!keep || status != CTL_OK)) unlink(from);
        ctl_string_free(a, from);
        ctl_string_free(a, to);
    }
    if (folder) closedir(folder);
    rmdir(m->staging);
    return keep && status == CTL_OK ? ctl_directory_sync(m->out, m->place) : status;
}

static ctl_status write_all(merger *m) {
    struct stat info;
    const bool there = stat(m->out, &info) == 0;
    m->staging = ctl_string_format(m->place.allocator, "%s/.merging-%ld", m->out, (long)getpid());
    if (!m->staging) return CTL_ERR_MEMORY;
    ctl_status status = ctl_directory_make(m->staging, m->place);
    if (status == CTL_OK) status = write_files(m);
    const ctl_status moved = empty_staging(m, status == CTL_OK);
    if (status == CTL_OK) status = moved;
    if (status != CTL_OK && !there) rmdir(m->out); /* where it is empty */
    ctl_string_free(m->place.allocator, m->staging);
    return status;
}

/* What stands beside the weights and says how they are used. */
static ctl_status copy_beside(const merger *m, const char *weights) {
    static const char *const names[] = {"config.json",
                                        "generation_config.json",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "tokenizer.model",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "vocab.json",
                                        "vocab.txt",
                                        "merges.txt",
                                        "preprocessor_config.json",
                                        "chat_template.jinja"};
    const ctl_allocator *a = m->place.allocator;
    ctl_status status = CTL_OK;
    for (size_t i = 0; status == CTL_OK && i < CTL_COUNT(names); i++) {
        char *from = ctl_string_format(a, "%s/%s", weights, names[i]),
             *to = ctl_string_format(a, "%s/%s", m->out, names[i]), *text;
        struct stat info;
        size_t n;
        status = from && to ? CTL_OK : CTL_ERR_MEMORY;
        if (status == CTL_OK && stat(from, &info) == 0) {
            status = ctl_file_read(from, MOST_BESIDE, &text, &n, m->place);
            if (status == CTL_OK) {
                status = ctl_file_replace(to, text, n, m->place);
                ctl_free(a, text, n + 1);
            }
        }
        ctl_string_free(a, from);
        ctl_string_free(a, to);
    }
    return status;
}

static ctl_status check_out(const merger *m, const char *weights) {
    struct stat from, to;
    if (stat(weights, &from) != 0 || stat(m->out, &to) != 0 || from.st_dev != to.st_dev ||
        from.st_ino != to.st_ino)
        return CTL_OK;
    ctl_say(m->place.voice, CTL_ERROR, "E0707", "name another folder", "'%s' is the checkpoint itself",
            m->out);
    return CTL_ERR_INPUT;
}

static ctl_status merge(merger *m, const char *weights, const char *adapter) {
    ctl_status status = check_forms(m);
    if (status == CTL_OK) status = check_out(m, weights);
    if (status == CTL_OK)
        status = ctl_match_open(&m->base, m->program, m->place, &weights, 1, "model.safetensors", NULL);
    m->base_open = status == CTL_OK;
    if (status == CTL_OK) status = ctl_adapter_match(&m->adapter, m->program, m->place, adapter);
    m->adapter_open = m->base_open && status == CTL_OK;
    if (status == CTL_OK) status = check_base(m);
    if (status == CTL_OK) status = check_constants(m);
    if (status == CTL_OK) status = write_all(m);
    if (status == CTL_OK) tell_share(m);
    return status == CTL_OK ? copy_beside(m, weights) : status;
}

ctl_status ctl_merge(const ctl_program *program, const char *weights, const char *adapter, const char *out,
                     ctl_place place, const ctl_merge_watch *watch, ctl_merge_report *report) {
    ctl_merge_report none;
    merger m = {.program = program, .place = place, .out = out, .report = report ? report : &none, .watch = watch};
    *m.report = (ctl_merge_report){0};
    ctl_status status = merge(&m, weights, adapter);
    if (m.base_open) ctl_match_free(&m.base);
    if (m.adapter_open) ctl_match_free(&m.adapter);
    return status;
}
