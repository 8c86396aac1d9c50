/* peft_write: an adapter that PEFT loads. The configuration has the keys that PEFT's own has wherever they
 * decide what is computed; those that PEFT fills by itself are left out. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/convert.h"
#include "runtime/peft.h"

typedef struct writer {
    const ctl_peft *p;
    const ctl_match *values;
    ctl_string text;
    size_t *params; /* by number of the tensor */
} writer;

static const char *module_end(const char *weight) {
    return strrchr(weight, '.');
}

static const char *weight_name(const ctl_peft *p, size_t form) {
    return p->paths[p->program->adaptation->forms[form].weight];
}

/* ---- which modules ---- */
/* The part of a module's path behind its last dot: what PEFT's users write as a target. */
static const char *last_part(const char *weight, size_t *n) {
    const char *end = module_end(weight), *at = end;
    while (at > weight && at[-1] != '.') at--;
    *n = (size_t)(end - at);
    return at;
}

/* Are two paths the same but for numbers? */
static bool alike(const char *a, const char *b) {
    while (*a && *b) {
        if (*a >= '0' && *a <= '9' && *b >= '0' && *b <= '9') {
            while (*a >= '0' && *a <= '9') a++;
            while (*b >= '0' && *b <= '9') b++;
        } else if (*a++ != *b++)
            return false;
    }
    return *a == *b;
}

/* May the last part alone stand for the module: is every module of that name changed, and all in like places?
 * A model may have modules that this program leaves out, so that a common word could catch one of those. */
static bool short_name_will_do(const ctl_peft *p, size_t form) {
    const ctl_program *program = p->program;
    const char *name = weight_name(p, form);
    size_t n, m;
    const char *tail = last_part(name, &n);
    for (size_t k = 0; k < program->nparams; k++) {
        const char *other = p->paths[k];
        if (program->params[k].made_by_control || program->params[k].ndims != 2 || !module_end(other))
            continue;
        const char *end = last_part(other, &m);
        if (m != n || memcmp(tail, end, n) != 0) continue;
        if (!alike(name, other)) return false;
        bool changed = false;
        for (size_t f = 0; f < p->nforms && !changed; f++)
            changed = p->program->adaptation->forms[f].weight == k;
        if (!changed) return false;
    }
    return true;
}

static void add_quoted(ctl_string *out, const char *text, size_t n) {
    ctl_string_put(out, "\"", 1);
    ctl_string_put(out, text, n); /* names of paths have no quotes */
    ctl_string_put(out, "\"", 1);
}

/* inputs: only modules of which what they read is scaled. */
static void write_targets(writer *w, const char *key, bool inputs) {
    const ctl_peft *p = w->p;
    const char *comma = "";
    ctl_string_add(&w->text, "  \"%s\": [", key);
    for (size_t k = 0; k < p->nforms; k++) {
        if (inputs && !p->methods[k].on_input) continue;
        const char *name = weight_name(p, k);
        size_t n = (size_t)(module_end(name) - name), m;
        if (short_name_will_do(p, k)) {
            name = last_part(name, &n);
            bool before = false;
            for (size_t i = 0; i < k && !before; i++) {
                const char *other = last_part(weight_name(p, i), &m);
                before = m == n && memcmp(other, name, n) == 0;
            }
            if (before) continue;
        }
        ctl_string_add(&w->text, "%s\n    ", comma);
        add_quoted(&w->text, name, n);
        comma = ",";
    }
    ctl_string_add(&w->text, *comma ? "\n  ],\n" : "],\n");
}

static void write_saved(writer *w) {
    const ctl_program *program = w->p->program;
    const char *last = NULL;
    size_t last_n = 0;
    ctl_string_add(&w->text, "  \"modules_to_save\": ");
    for (size_t k = 0; k < program->nparams; k++) {
        const ctl_program_param *q = &program->params[k];
        if (q->made_by_control || !q->trained || w->p->bias_alone[k]) continue;
        const char *name = w->p->paths[k];
        size_t n = (size_t)(module_end(name) - name);
        if (last && n == last_n && memcmp(last, name, n) == 0) continue;
        ctl_string_add(&w->text, "%s\n    ", last ? "," : "[");
        add_quoted(&w->text, name, n);
        last = name, last_n = n;
    }
    ctl_string_add(&w->text, last ? "\n  ],\n" : "null,\n");
}

/* ---- ranks and scales ---- */
static bool is_whole(double x) {
    return fabs(x - nearbyint(x)) <= 1e-9 * fabs(x) && fabs(x) < 1e9;
}

/* alpha = scale * rank does for any scale; where that is no whole number and scale * sqrt(rank) is for every
 * module, the adapter was made with rank-stabilised LoRA in mind. */
static bool stabilised(const ctl_peft *p) {
    bool plain = true, roots = true;
    for (size_t k = 0; k < p->nforms; k++) {
        plain &= is_whole(p->methods[k].scale * (double)p->methods[k].rank);
        roots &= is_whole(p->methods[k].scale * sqrt((double)p->methods[k].rank));
    }
    return !plain && roots;
}

static double alpha_of(const ctl_recognised *r, bool rs) {
    double alpha = r->scale * (rs ? sqrt((double)r->rank) : (double)r->rank);
    return is_whole(alpha) ? nearbyint(alpha) : alpha;
}

/* As few digits as give the number back: 0.05, not 0.050000000000000003. */
static void add_number(writer *w, double x) {
    char text[32];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    ctl_string_add(&w->text, "%s", text);
}

static void write_patterns(writer *w, bool alphas, bool rs) {
    const ctl_peft *p = w->p;
    const char *comma = "";
    ctl_string_add(&w->text, "  \"%s_pattern\": {", alphas ? "alpha" : "rank");
    for (size_t k = 1; k < p->nforms; k++) {
        double common = alphas ? alpha_of(&p->methods[0], rs) : (double)p->methods[0].rank;
        double own = alphas ? alpha_of(&p->methods[k], rs) : (double)p->methods[k].rank;
        if (own == common) continue;
        const char *name = weight_name(p, k);
        ctl_string_add(&w->text, "%s\n    ", comma);
        add_quoted(&w->text, name, (size_t)(module_end(name) - name));
        ctl_string_add(&w->text, ": ");
        add_number(w, own);
        comma = ",";
    }
    ctl_string_add(&w->text, "%s},\n", *comma ? "\n  " : "");
}

/* `lora_only`: of changed modules alone, so that PEFT trains no others if it goes on. */
static const char *biases(const ctl_peft *p) {
    static const char changed[] = ".base_layer.bias";
    bool only = true;
    for (size_t k = 0; k < p->program->nparams; k++) {
        if (!p->bias_alone[k]) continue;
        const size_t n = strlen(p->names[k]), m = sizeof changed - 1;
        only &= n > m && strcmp(p->names[k] + n - m, changed) == 0;
    }
    return !p->biases ? "none" : only ? "lora_only" : "all";
}

static void write_task(writer *w, const ctl_peft_options *o) {
    ctl_string_add(&w->text, "  \"task_type\": ");
    if (o->task_type)
        ctl_string_json(&w->text, o->task_type);
    else
        ctl_string_add(&w->text, "null");
}

static void write_base(writer *w, const ctl_peft_options *o) {
    const ctl_program *program = w->p->program;
    ctl_string_add(&w->text, "  \"base_model_name_or_path\": ");
    ctl_string_json(&w->text, o->base ? o->base : program->model_name ? program->model_name : "");
}

static void write_vector_config(writer *w, const ctl_peft_options *o) {
    const bool turned = w->p->program->adaptation->forms[0].turned;
    ctl_string_add(&w->text, "{\n");
    write_base(w, o);
    ctl_string_add(&w->text, ",\n  \"fan_in_fan_out\": %s,\n", turned ? "false" : "true");
    write_targets(w, "feedforward_modules", true);
    ctl_string_add(&w->text, "  \"inference_mode\": true,\n  \"init_ia3_weights\": true,\n");
    write_saved(w);
    ctl_string_add(&w->text, "  \"peft_type\": \"IA3\",\n");
    write_targets(w, "target_modules", false);
    write_task(w, o);
    ctl_string_add(&w->text, "\n}\n");
}

static void write_config(writer *w, const ctl_peft_options *o) {
    const ctl_peft *p = w->p;
    bool rs = stabilised(p), turned = p->program->adaptation->forms[0].turned;
    double dropout = p->methods[0].dropout;
    for (size_t k = 0; k < p->nforms; k++)
        if (p->methods[k].dropout != dropout || p->methods[k].dropout_elsewhere) dropout = 0;
    ctl_string_add(&w->text, "{\n");
    write_patterns(w, true, rs);
    write_base(w, o);
    ctl_string_add(&w->text,
                   ",\n  \"bias\": \"%s\",\n  \"fan_in_fan_out\": %s,\n  \"inference_mode\": true,\n",
                   biases(p), turned ? "false" : "true");
    ctl_string_add(&w->text, "  \"init_lora_weights\": true,\n  \"lora_alpha\": ");
    add_number(w, alpha_of(&p->methods[0], rs));
    ctl_string_add(&w->text, ",\n  \"lora_dropout\": ");
    add_number(w, dropout);
    ctl_string_add(&w->text, ",\n");
    write_saved(w);
    ctl_string_add(&w->text, "  \"peft_type\": \"LORA\",\n  \"r\": %lld,\n", (long long)p->methods[0].rank);
    write_patterns(w, false, rs);
    write_targets(w, "target_modules", false);
    write_task(w, o);
    ctl_string_add(&w->text, ",\n  \"use_dora\": %s,\n  \"use_rslora\": %s\n}\n",
                   p->methods[0].method == METHOD_DORA ? "true" : "false", rs ? "true" : "false");
}

/* ---- tensors ---- */
static ctl_status give(void *ctx, size_t tensor, size_t first, size_t count, void *out) {
    const writer *w = ctx;
    const ctl_tensor *t = w->values->of_param[w->params[tensor]];
    size_t size = ctl_dtype_size(t->dtype);
    memcpy(out, (const char *)t->data + first * size, count * size);
    return CTL_OK;
}

/* PEFT has (IA)^3's vectors as a column, or, of what a module reads, as a row. */
static void shape(const ctl_peft *p, size_t param, ctl_tensor_spec *spec) {
    for (size_t k = 0; k < p->nforms; k++) {
        if (p->methods[k].method != METHOD_IA3 || p->methods[k].vector != param) continue;
        const int64_t n = spec->dims[0];
        spec->ndims = 2;
        spec->dims[0] = p->methods[k].on_input ? 1 : n, spec->dims[1] = p->methods[k].on_input ? n : 1;
    }
}

static ctl_status write_tensors(writer *w, const char *path) {
    const ctl_peft *p = w->p;
    const ctl_allocator *a = p->place.allocator;
    size_t n = 0, slots = p->program->nparams + 1;
    ctl_tensor_spec *specs = ctl_alloc(a, slots * sizeof *specs);
    w->params = ctl_alloc(a, slots * sizeof *w->params);
    ctl_status status = specs && w->params ? CTL_OK : CTL_ERR_MEMORY;
    for (size_t k = 0; status == CTL_OK && k < p->program->nparams; k++) {
        if (!p->names[k]) continue;
        const ctl_program_param *q = &p->program->params[k];
        specs[n] = (ctl_tensor_spec){.name = p->names[k],
                                     .dtype = w->values->of_param[k]->dtype,
                                     .ndims = q->ndims,
                                     .dims = {q->ndims == 1 ? q->cols : q->rows, q->cols}};
        shape(p, k, &specs[n]);
        w->params[n++] = k;
    }
    static const char *const metadata[][2] = {{"format", "pt"}};
    if (status == CTL_OK) status = ctl_tensors_save(path, specs, n, metadata, 1, give, w, p->place);
    ctl_free(a, specs, slots * sizeof *specs);
    ctl_free(a, w->params, slots * sizeof *w->params);
    return status;
}

/* One flag and one convention serve all modules of an adapter. */
static ctl_status check_same(const ctl_peft *p) {
    const ctl_form *forms = p->program->adaptation->forms;
    for (size_t k = 0; k < p->nforms; k++) {
        if (p->methods[k].method == p->methods[0].method && forms[k].turned == forms[0].turned) continue;
        ctl_say(p->place.voice, CTL_ERROR, "E0711", "train and export them apart",
                "an adapter of PEFT's is LoRA, DoRA or (IA)^3 as a whole, and its weights lie one way: '%s' "
                "and '%s' "
                "differ",
                weight_name(p, 0), weight_name(p, k));
        return CTL_ERR_INPUT;
    }
    if (p->nforms) return CTL_OK;
    ctl_say(p->place.voice, CTL_ERROR, "E0711",
            "save a whole model (without controls `ctlc train` does), or train a LoRA beside: the biases go "
            "with it",
            "PEFT has no adapter without a changed module, and the spec's controls change no product with a "
            "weight");
    return CTL_ERR_INPUT;
}

ctl_status ctl_peft_write(const ctl_peft *p, const ctl_match *values, const char *directory,
                          const ctl_peft_options *o) {
    const ctl_allocator *a = p->place.allocator;
    ctl_status status = check_same(p);
    if (status == CTL_OK) status = ctl_directory_make(directory, p->place);
    if (status != CTL_OK) return status;
    writer w = {.p = p, .values = values, .text = {.allocator = a}};
    char *tensors = ctl_string_format(a, "%s/adapter_model.safetensors", directory);
    char *config = ctl_string_format(a, "%s/adapter_config.json", directory);
    if (p->methods[0].method == METHOD_IA3)
        write_vector_config(&w, o);
    else
        write_config(&w, o);
    status = tensors && config && !w.text.failed ? CTL_OK : CTL_ERR_MEMORY;
    if (status == CTL_OK) status = write_tensors(&w, tensors);
    if (status == CTL_OK) status = ctl_file_replace(config, w.text.at, w.text.n, p->place);
    ctl_string_drop(&w.text);
    ctl_string_free(a, config);
    ctl_string_free(a, tensors);
    return status;
}
