/* peft: see peft.h. */
#include "runtime/peft.h"

#include <math.h>
#include <stdio.h>

#include "runtime/names.h"
#include "runtime/peft_config.h"

enum { MODULE = CTL_PEFT_MODULE };
static const char *const ANY_CONTROL =
    "the adapter as `ctlc train` leaves it (peft_type STATE_CONTROL) holds any control, and ctlc reads it";

/* The module that a weight belongs to; false where the name is not MODULE.weight or too long. */
static bool module_of(const char *weight, char out[MODULE]) {
    const char *tail = strrchr(weight, '.');
    if (!tail || (size_t)(tail - weight) >= MODULE) return false;
    memcpy(out, weight, (size_t)(tail - weight));
    out[tail - weight] = 0;
    return true;
}

static ctl_status refuse(const ctl_peft *p, const char *hint, const char *fmt, ...) CTL_PRINTF(3, 4);
static ctl_status refuse(const ctl_peft *p, const char *hint, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    ctl_vsay(p->place.voice, CTL_ERROR, "E0711", hint, fmt, args);
    va_end(args);
    return CTL_ERR_INPUT;
}

/* ---- names ---- */
static ctl_status name_param(ctl_peft *p, size_t param, const char *module, const char *tail) {
    if (p->names[param])
        return refuse(p, ANY_CONTROL,
                      "the parameter '%s' has two places in the spec, and one in PEFT's adapters",
                      p->program->params[param].name);
    p->names[param] = ctl_string_format(p->place.allocator, "base_model.model.%s%s", module, tail);
    return p->names[param] ? CTL_OK : CTL_ERR_MEMORY;
}

static ctl_status name_form(ctl_peft *p, size_t k) {
    const ctl_form *f = &p->program->adaptation->forms[k];
    const char *weight = p->paths[f->weight];
    ctl_recognised *r = &p->methods[k];
    char module[MODULE];
    ctl_status status = ctl_form_recognise(p->program, f, p->place.allocator, r);
    if (status != CTL_OK) return status;
    if (r->method == METHOD_OTHER)
        return refuse(p, ANY_CONTROL, "the control on '%s' is not LoRA, DoRA or (IA)^3: %s", weight, r->why);
    if (!module_of(weight, module) || strcmp(strrchr(weight, '.'), ".weight") != 0)
        return refuse(p, ANY_CONTROL, "PEFT changes modules, and '%s' is not the weight of one", weight);
    for (size_t i = 0; i < k; i++)
        if (p->program->adaptation->forms[i].weight == f->weight)
            return refuse(p, ANY_CONTROL, "two controls change '%s', and PEFT has one for a module", weight);
    if (r->method == METHOD_IA3) return name_param(p, r->vector, module, ".ia3_l");
    status = name_param(p, r->a, module, ".lora_A.weight");
    if (status == CTL_OK) status = name_param(p, r->b, module, ".lora_B.weight");
    if (status == CTL_OK && r->magnitude != CTL_NO_PARAM)
        status = name_param(p, r->magnitude, module, ".lora_magnitude_vector");
    return status;
}

/* A parameter of the module, or of one within it, that stays as it was; NULL: all are trained. */
static const char *frozen_of(const ctl_peft *p, const char *module) {
    const size_t n = strlen(module);
    for (size_t k = 0; k < p->program->nparams; k++) {
        const ctl_program_param *q = &p->program->params[k];
        if (!q->made_by_control && !q->trained && strncmp(p->paths[k], module, n) == 0 &&
            p->paths[k][n] == '.')
            return q->name;
    }
    return NULL;
}

static ctl_status name_bias(ctl_peft *p, size_t param, const char *module) {
    bool changed = false;
    char other[MODULE];
    for (size_t k = 0; k < p->nforms; k++) {
        if (p->methods[k].method == METHOD_IA3)
            return refuse(p, ANY_CONTROL,
                          "PEFT's (IA)^3 adapters have no place for biases, and '%s' is trained",
                          p->paths[param]);
        changed |=
            module_of(p->paths[p->program->adaptation->forms[k].weight], other) && strcmp(module, other) == 0;
    }
    p->biases = p->bias_alone[param] = true;
    return name_param(p, param, module, changed ? ".base_layer.bias" : ".bias");
}

/* What was trained of the model itself: PEFT keeps whole modules, and biases. */
static ctl_status name_saved(ctl_peft *p, size_t param) {
    char module[MODULE];
    const char *name = p->paths[param];
    if (!module_of(name, module))
        return refuse(p, ANY_CONTROL, "the trained '%s' is of no module that PEFT could save", name);
    const char *frozen = frozen_of(p, module);
    if (!frozen) return name_param(p, param, name, "");
    if (strcmp(strrchr(name, '.'), ".bias") == 0) return name_bias(p, param, module);
    return refuse(p, ANY_CONTROL, "PEFT saves whole modules: '%s' is trained, '%s' is not", name, frozen);
}

static ctl_status find_paths(ctl_peft *p, bool of_code) {
    for (size_t k = 0; k < p->program->nparams; k++) {
        char renamed[MODULE];
        const char *name = p->program->params[k].name;
        bool other = of_code && ctl_names_in_code(name, renamed, sizeof renamed);
        p->paths[k] = ctl_string_format(p->place.allocator, "%s", other ? renamed : name);
        if (!p->paths[k]) return CTL_ERR_MEMORY;
    }
    return CTL_OK;
}

ctl_status ctl_peft_open(ctl_peft *p, const ctl_program *program, ctl_place place, bool of_code) {
    const ctl_adaptation *a = program->adaptation;
    *p = (ctl_peft){.program = program, .place = place, .nforms = a ? a->nforms : 0};
    p->methods = ctl_alloc(place.allocator, (p->nforms + 1) * sizeof *p->methods);
    p->names = ctl_alloc(place.allocator, (program->nparams + 1) * sizeof *p->names);
    p->paths = ctl_alloc(place.allocator, (program->nparams + 1) * sizeof *p->paths);
    p->bias_alone = ctl_alloc(place.allocator, program->nparams + 1);
    ctl_status status =
        p->methods && p->names && p->paths && p->bias_alone ? find_paths(p, of_code) : CTL_ERR_MEMORY;
    if (status == CTL_OK && !a) status = refuse(p, NULL, "the program does not say what its controls do");
    if (status == CTL_OK && a->apart)
        status = refuse(p, ANY_CONTROL, "PEFT has no form for the control: %s", a->apart);
    for (size_t k = 0; k < p->nforms && status == CTL_OK; k++) status = name_form(p, k);
    for (size_t k = 0; k < program->nparams && status == CTL_OK; k++) {
        const ctl_program_param *q = &program->params[k];
        if (p->names[k]) continue;
        if (q->made_by_control)
            status = refuse(p, ANY_CONTROL, "PEFT has no place for the control's weight '%s'", q->name);
        else if (q->trained)
            status = name_saved(p, k);
    }
    if (status != CTL_OK) ctl_peft_close(p);
    return status;
}

void ctl_peft_close(ctl_peft *p) {
    const ctl_allocator *a = p->place.allocator;
    for (size_t k = 0; p->names && k < p->program->nparams; k++) ctl_string_free(a, p->names[k]);
    for (size_t k = 0; p->paths && k < p->program->nparams; k++) ctl_string_free(a, p->paths[k]);
    ctl_free(a, p->names, (p->program->nparams + 1) * sizeof *p->names);
    ctl_free(a, p->paths, (p->program->nparams + 1) * sizeof *p->paths);
    ctl_free(a, p->methods, (p->nforms + 1) * sizeof *p->methods);
    ctl_free(a, p->bias_alone, p->program->nparams + 1);
    p->names = p->paths = NULL, p->methods = NULL, p->bias_alone = NULL;
}

/* ---- an adapter's configuration ---- */
/* What the adapter's configuration is compared with. */
typedef struct reader {
    const ctl_peft *p;
    ctl_peft_config config;
} reader;
#define differ(r, ...) ctl_peft_config_complain(&(r)->config, __VA_ARGS__)

/* Has the module of the bias a form? `lora_only` means those alone. */
static bool is_changed(const ctl_peft *p, const char *bias) {
    char module[MODULE], other[MODULE];
    for (size_t k = 0; k < p->nforms; k++)
        if (module_of(bias, module) && module_of(p->paths[p->program->adaptation->forms[k].weight], other) &&
            strcmp(module, other) == 0)
            return true;
    return false;
}

/* The model may have no bias that the adapter could have. */
static bool has_biases(const ctl_peft *p, bool of_changed) {
    for (size_t k = 0; k < p->program->nparams; k++) {
        const char *tail = strrchr(p->paths[k], '.');
        if (p->program->params[k].made_by_control || !tail || strcmp(tail, ".bias") != 0) continue;
        if (!of_changed || is_changed(p, p->paths[k])) return true;
    }
    return false;
}

static void check_biases(reader *r) {
    const char *bias = json_string_value(json_object_get(r->config.json, "bias"));
    const bool biases = bias && strcmp(bias, "none") != 0;
    if (biases && !r->p->biases && has_biases(r->p, strcmp(bias, "lora_only") == 0))
        differ(r, "let a control of the spec train them: `train **.bias`",
               "'%s': `bias` is '%s': the adapter has biases, which the spec keeps frozen", r->config.path, bias);
    if (r->p->biases && !biases)
        differ(r, "take the control that trains them out of the spec",
               "'%s': the adapter has no biases (`bias`), and the spec trains them", r->config.path);
}

static void check_vector(reader *r, const char *module, const ctl_recognised *m) {
    static const char *const sides[] = {"what the module gives", "what the module reads"};
    const bool input = ctl_peft_config_feedforward(&r->config, module);
    if (input != m->on_input)
        differ(r, "put the spec's control on the state that the adapter scales",
               "'%s': the adapter scales %s at '%s', the spec's control %s", r->config.path, sides[input], module,
               sides[m->on_input]);
}

static const char *const method_names[] = {
    [METHOD_OTHER] = "another", [METHOD_LORA] = "LoRA", [METHOD_DORA] = "DoRA", [METHOD_IA3] = "(IA)^3"};

static void check_form(reader *r, size_t k) {
    const ctl_peft *p = r->p;
    const ctl_recognised *m = &p->methods[k];
    const char *type = json_string_value(json_object_get(r->config.json, "peft_type"));
    char module[MODULE], hint[120];
    if (!module_of(p->paths[p->program->adaptation->forms[k].weight], module)) return;
    const ctl_method theirs = type && strcmp(type, "IA3") == 0                       ? METHOD_IA3
                              : json_is_true(json_object_get(r->config.json, "use_dora")) ? METHOD_DORA
                                                                                     : METHOD_LORA;
    if (theirs != m->method) {
        differ(r, "choose the spec's control accordingly; `ctlc import MODEL --adapter DIR` writes it",
               "'%s': the adapter is %s; the spec's control on '%s' is %s", r->config.path, method_names[theirs],
               module, method_names[m->method]);
        return;
    }
    if (theirs == METHOD_IA3) {
        check_vector(r, module, m);
        return;
    }
    double rank = ctl_peft_config_pattern(&r->config, "rank_pattern", module, json_number_value(json_object_get(r->config.json, "r")));
    double alpha =
        ctl_peft_config_pattern(&r->config, "alpha_pattern", module, json_number_value(json_object_get(r->config.json, "lora_alpha")));
    bool stabilised = json_is_true(json_object_get(r->config.json, "use_rslora"));
    if (rank != (double)m->rank) {
        snprintf(hint, sizeof hint, "give the spec's control rank = %.15g", rank);
        differ(r, hint, "'%s': the adapter has rank %.15g on '%s', the spec's control %lld", r->config.path, rank,
               module, (long long)m->rank);
        return;
    }
    double scale = alpha / (stabilised ? sqrt(rank) : rank);
    if (fabs(scale - m->scale) <= 1e-6 * fabs(scale)) return;
    if (stabilised)
        snprintf(hint, sizeof hint, "give the spec's control alpha = %.15g and scale = alpha / sqrt(rank)",
                 alpha);
    else
        snprintf(hint, sizeof hint, "give the spec's control alpha = %.15g", alpha);
    differ(r, hint,
           "'%s': the adapter scales its product on '%s' by %.9g (lora_alpha %.15g, r %.15g%s), the spec's "
           "control by %.9g",
           r->config.path, module, scale, alpha, rank, stabilised ? ", use_rslora" : "", m->scale);
}

/* Adds the word to a list with commas, once, while there is room. */
static void add_once(char *list, size_t size, const char *word) {
    const size_t n = strlen(list), m = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += m)
        if ((at == list || at[-1] == ' ') && (at[m] == ',' || at[m] == 0)) return;
    if (n + m + 3 < size) snprintf(list + n, size - n, "%s%s", n ? ", " : "", word);
}

/* A list may have names of modules that other models have: PEFT passes over them. */
static bool model_has(const ctl_peft *p, const char *target) {
    char module[MODULE];
    for (size_t k = 0; k < p->program->nparams; k++)
        if (!p->program->params[k].made_by_control && module_of(p->paths[k], module) &&
            ctl_peft_config_names(target, module))
            return true;
    return false;
}

/* The modules that the adapter changes against those that the spec's controls change: told by their names, not layer by layer.
 * A text instead of a list is an expression of Python's; then what is missing tells. */
static void check_targets(reader *r) {
    const json_t *targets = json_object_get(r->config.json, "target_modules"), *one;
    char theirs[300] = "", ours[300] = "", module[MODULE];
    size_t i;
    if (!json_is_array(targets)) return;
    json_array_foreach(targets, i, one) {
        const char *target = json_string_value(one);
        bool found = !target || !model_has(r->p, target);
        for (size_t k = 0; k < r->p->nforms && !found; k++)
            found = module_of(r->p->paths[r->p->program->adaptation->forms[k].weight], module) && ctl_peft_config_names(target, module);
        if (!found) add_once(theirs, sizeof theirs, target);
    }
    for (size_t k = 0; k < r->p->nforms; k++) {
        bool found = false;
        if (!module_of(r->p->paths[r->p->program->adaptation->forms[k].weight], module)) continue;
        json_array_foreach(targets, i, one)
            found |= json_is_string(one) && ctl_peft_config_names(json_string_value(one), module);
        const char *end = strrchr(module, '.');
        if (!found) add_once(ours, sizeof ours, end ? end + 1 : module);
    }
    const char *hint = "a control of your own names the adapter's modules: `self_attn.{q_proj, v_proj}.weight ~ control.lora(; rank, alpha)`; `ctlc import MODEL --adapter DIR` writes it";
    if (*theirs) differ(r, hint, "'%s': the adapter changes %s (`target_modules`), and no control of the spec does", r->config.path, theirs);
    if (*ours) differ(r, hint, "'%s': the spec's controls change %s, and the adapter does not (`target_modules`)", r->config.path, ours);
}

ctl_status ctl_peft_check(const ctl_peft *p, const char *path, const json_t *config) {
    reader r = {.p = p, .config = {.voice = p->place.voice, .code = "E0712", .path = path, .json = config}};
    ctl_peft_config_check(&r.config);
    check_biases(&r);
    if (r.config.errors == 0) check_targets(&r);
    for (size_t k = 0; k < p->nforms && r.config.errors == 0; k++) check_form(&r, k);
    return r.config.errors ? CTL_ERR_INPUT : CTL_OK;
}
