/* import_modules: which modules of the model an adapter changes, by the names of its tensors. Each parameter
 * of the model is looked for as PEFT would call what it adds to it; tensors that are left belong to something
 * that the model, or the language, has no place for. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/names.h"
#include "tools/ctlc/import_adapter.h"

#define complain(a, ...) ctl_peft_config_complain(&(a)->config, __VA_ARGS__)

typedef struct finder {
    import_adapter *a;
    bool *used; /* by number of the tensor */
    ctl_status status;
} finder;

static bool ends_with(const char *name, const char *tail) {
    const size_t n = strlen(name), m = strlen(tail);
    return n >= m && strcmp(name + n - m, tail) == 0;
}

static const ctl_tensor *find(finder *f, const char *module, const char *tail) {
    char name[CTL_PEFT_MODULE + 60];
    snprintf(name, sizeof name, "base_model.model.%s%s", module, tail);
    const ctl_tensor *t = ctl_tensors_find(f->a->tensors, name);
    for (size_t i = 0; t && i < ctl_tensors_count(f->a->tensors); i++)
        f->used[i] |= ctl_tensors_at(f->a->tensors, i) == t;
    return t;
}

static void add(finder *f, import_kind kind, const char *module, double rank, double alpha) {
    import_adapter *a = f->a;
    for (size_t i = 0; i < a->nchanges; i++)
        if (a->changes[i].kind == kind && strcmp(a->changes[i].module, module) == 0) return;
    char *copy = a->nchanges < a->cap ? ctl_string_format(a->place.allocator, "%s", module) : NULL;
    if (!copy)
        f->status = CTL_ERR_MEMORY;
    else
        a->changes[a->nchanges++] = (import_change){kind, copy, rank, alpha};
}

/* theirs: the module as the adapter calls it. */
static void find_low_rank(finder *f, const char *module, const char *theirs) {
    import_adapter *a = f->a;
    const ctl_tensor *first = find(f, theirs, ".lora_A.weight"), *second = find(f, theirs, ".lora_B.weight");
    const ctl_tensor *magnitude = find(f, theirs, ".lora_magnitude_vector");
    if (!first) return;
    const double rank = ctl_peft_config_pattern(&a->config, "rank_pattern", theirs, a->rank);
    const double alpha = ctl_peft_config_pattern(&a->config, "alpha_pattern", theirs, a->alpha);
    if (a->config.errors) return;
    if (!second || first->ndims < 2 || (double)first->dims[0] != rank)
        complain(a, "save the adapter again, both files at once",
                 "'%s': on '%s' the rank is %g by `r` and `rank_pattern`, and %lld by the tensor "
                 "'lora_A.weight'%s",
                 a->path, theirs, rank, first->ndims ? (long long)first->dims[0] : 0,
                 second ? "" : "; there is no 'lora_B.weight'");
    else if (a->dora != (magnitude != NULL))
        complain(a, "save the adapter again, both files at once",
                 "'%s': `use_dora` is %s, and '%s' has %s 'lora_magnitude_vector'", a->path,
                 a->dora ? "true" : "false", theirs, magnitude ? "a" : "no");
    else
        add(f, IMPORT_PRODUCT, module, rank, alpha);
}

/* The part of a saved parameter's path that modules_to_save names; false: it names none. */
static bool saved_module(const import_adapter *a, const char *param, char module[CTL_PEFT_MODULE]) {
    const json_t *saved = json_object_get(a->json, "modules_to_save"), *one;
    size_t i;
    for (const char *dot = strchr(param, '.'); dot; dot = strchr(dot + 1, '.')) {
        snprintf(module, CTL_PEFT_MODULE, "%.*s", (int)(dot - param), param);
        json_array_foreach(saved, i,
                           one) if (json_is_string(one) &&
                                    ctl_peft_config_names(json_string_value(one), module)) return true;
    }
    return false;
}

/* theirs: the parameter as the adapter calls it. */
static void find_saved(finder *f, const char *param, const char *theirs) {
    char module[CTL_PEFT_MODULE], changed[CTL_PEFT_MODULE] = "";
    const char *bias = json_string_value(json_object_get(f->a->json, "bias"));
    const bool biases = bias && strcmp(bias, "none") != 0 && ends_with(theirs, ".bias");
    if (biases) snprintf(changed, sizeof changed, "%.*s", (int)(strlen(theirs) - strlen(".bias")), theirs);
    const bool of_changed = biases && find(f, changed, ".base_layer.bias");
    const bool saved = find(f, theirs, "") != NULL;
    if (of_changed || (biases && saved && !saved_module(f->a, param, module))) {
        snprintf(module, sizeof module, "%.*s", (int)(strlen(param) - strlen(".bias")), param);
        add(f, IMPORT_BIAS, module, 0, 0);
    } else if (saved && saved_module(f->a, param, module)) {
        add(f, IMPORT_MODULE, module, 0, 0);
    } else if (saved) {
        complain(f->a,
                 "name it in `modules_to_save` to train it, or save without it: save_pretrained(.., "
                 "save_embedding_layers=False)",
                 "'%s': the adapter holds '%s', which `modules_to_save` does not name", f->a->path, theirs);
    }
}

static void find_param(finder *f, const char *param, const char *theirs) {
    char module[CTL_PEFT_MODULE], called[CTL_PEFT_MODULE];
    if (ends_with(param, ".weight")) {
        snprintf(module, sizeof module, "%.*s", (int)(strlen(param) - strlen(".weight")), param);
        snprintf(called, sizeof called, "%.*s", (int)(strlen(theirs) - strlen(".weight")), theirs);
        if (!f->a->vectors)
            find_low_rank(f, module, called);
        else if (find(f, called, ".ia3_l"))
            add(f, ctl_peft_config_feedforward(&f->a->config, called) ? IMPORT_INPUT : IMPORT_RESULT, module,
                0, 0);
    }
    find_saved(f, param, theirs);
}

/* Says what kind of a thing a tensor is that nothing was found for. */
static void refuse_tensor(finder *f, const char *tensor) {
    import_adapter *a = f->a;
    if (strstr(tensor, ".lora_embedding_"))
        complain(a, "train the embedding as a whole: name it in `modules_to_save`, not in `target_modules`",
                 "'%s': `target_modules` names an embedding: '%.200s' has no control in ctlc", a->path,
                 tensor);
    else if (strncmp(tensor, "base_model.model.", strlen("base_model.model.")) != 0)
        complain(a, "PEFT's save_pretrained writes such names",
                 "'%s': tensor '%.200s' does not begin with 'base_model.model.'", a->path, tensor);
    else
        complain(a,
                 "the adapter is of another model, or of its base without a head (task_type "
                 "FEATURE_EXTRACTION), or the name is "
                 "tied to another weight",
                 "'%s': the model has nothing for the tensor '%.200s' (`target_modules`, `modules_to_save`)",
                 a->path, tensor);
}

ctl_status import_adapter_find(import_adapter *a, const ctl_program *program) {
    const size_t n = ctl_tensors_count(a->tensors);
    finder f = {.a = a, .used = ctl_alloc(a->place.allocator, n + 1)};
    a->cap = n + 1; /* each has a tensor of its own */
    a->changes = ctl_alloc(a->place.allocator, a->cap * sizeof *a->changes);
    if (!f.used || !a->changes) {
        ctl_free(a->place.allocator, f.used, n + 1);
        return CTL_ERR_MEMORY;
    }
    for (size_t k = 0; k < program->nparams && f.status == CTL_OK; k++) {
        const ctl_program_param *p = &program->params[k];
        char renamed[CTL_PEFT_MODULE];
        if (p->made_by_control || strlen(p->name) >= CTL_PEFT_MODULE) continue;
        find_param(&f, p->name, p->name);
        if (ctl_names_in_code(p->name, renamed, sizeof renamed)) find_param(&f, p->name, renamed);
    }
    for (size_t i = 0; i < n && f.status == CTL_OK; i++) {
        const char *name = ctl_tensors_at(a->tensors, i)->name;
        if (!f.used[i] && !ctl_names_ignored(name)) refuse_tensor(&f, name);
    }
    ctl_free(a->place.allocator, f.used, n + 1);
    if (f.status == CTL_OK && a->config.errors == 0 && a->nchanges == 0)
        complain(a, "save the adapter again", "'%s': the adapter changes no module", a->path);
    return f.status != CTL_OK ? f.status : a->config.errors ? CTL_ERR_INPUT : CTL_OK;
}
