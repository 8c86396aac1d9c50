/* adapter: what the controls made, as a pair of files in the ecosystem's places: adapter_model.safetensors,
 * and adapter_config.json, which names the base model, the edges between states that the controls are, and
 * holds the spec's source, so that an adapter explains itself. PEFT's own adapters are read too (peft.h), and
 * the same parameters out of a checkpoint (checkpoint.h).
 *
 * The tensors are written first: a directory with an adapter_config.json of this save has the tensors of this
 * save too. */
#include "runtime/adapter.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#include "runtime/adaptation.h"
#include "runtime/checkpoint.h"
#include "runtime/convert.h"
#include "runtime/names.h"
#include "runtime/peft.h"
#include "runtime/weights.h"

enum { MOST_CONFIG = 1 << 26 };

/* ---- writing ---- */
static void write_list(ctl_string *out, const char *const *texts, size_t n) {
    ctl_string_add(out, "[");
    for (size_t i = 0; i < n; i++) {
        if (i) ctl_string_add(out, ", ");
        ctl_string_json(out, texts[i]);
    }
    ctl_string_add(out, "]");
}

/* What cannot be told from the source: which tune block it was, what --set changed, and what came of it. */
static void write_adaptation(ctl_string *out, const ctl_adaptation *a) {
    static const char *const kinds[] = {"edge", "series", "product"};
    ctl_string_add(out, ",\n  \"tune\": ");
    ctl_string_json(out, a->tune);
    ctl_string_add(out, ",\n  \"set\": ");
    write_list(out, a->set, a->nset);
    ctl_string_add(out, ",\n  \"edges\": [");
    for (size_t i = 0; i < a->nchanges; i++) {
        const ctl_change *c = &a->changes[i];
        ctl_string_add(out, "%s\n    {\"kind\": \"%s\", \"from\": ", i ? "," : "", kinds[c->kind]);
        write_list(out, c->from, c->nfrom);
        ctl_string_add(out, ", \"to\": ");
        ctl_string_json(out, c->to);
        ctl_string_add(out, ", \"control\": ");
        ctl_string_json(out, c->text ? c->text : "");
        ctl_string_add(out, ", \"weights\": ");
        write_list(out, c->weights, c->nweights);
        ctl_string_add(out, "}");
    }
    ctl_string_add(out, a->nchanges ? "\n  ]" : "]");
}

static void write_config(ctl_string *out, const ctl_program *program) {
    struct {
        const char *key, *value;
    } texts[] = {
        {"peft_type", "STATE_CONTROL"},
        {"base_model_name_or_path", program->model_name ? program->model_name : ""},
        {"compute", ctl_dtype_name(program->compute)},
        {"control_source", program->control_source ? program->control_source : ""},
    };
    ctl_string_add(out, "{\n  \"format\": 1,\n  \"inference_mode\": true");
    for (size_t i = 0; i < CTL_COUNT(texts); i++) {
        ctl_string_add(out, ",\n  \"%s\": ", texts[i].key);
        ctl_string_json(out, texts[i].value);
    }
    if (program->adaptation) write_adaptation(out, program->adaptation);
    ctl_string_add(out, "\n}\n");
}

ctl_status ctl_session_save_adapter(ctl_session *s, const char *directory) {
    ctl_place place = ctl_session_place(s);
    ctl_status status = ctl_directory_make(directory, place);
    if (status != CTL_OK) return status;
    char *tensors = ctl_string_format(s->allocator, "%s/adapter_model.safetensors", directory);
    char *config = ctl_string_format(s->allocator, "%s/adapter_config.json", directory);
    ctl_string text = {.allocator = s->allocator};
    write_config(&text, s->program);
    status = tensors && config && !text.failed ? CTL_OK : CTL_ERR_MEMORY;
    if (status == CTL_OK) status = ctl_session_save_weights(s, tensors, CTL_SAVE_ADAPTER, CTL_REAL);
    if (status == CTL_OK) status = ctl_file_replace(config, text.at, text.n, place);
    ctl_string_drop(&text);
    ctl_string_free(s->allocator, config);
    ctl_string_free(s->allocator, tensors);
    return status;
}

/* ---- reading ---- */
/* Another source is worth a warning, since the same names may then mean something else. */
static ctl_status check_source(const ctl_program *program, ctl_place place, const char *path,
                               const json_t *config) {
    const char *source = json_string_value(json_object_get(config, "control_source"));
    ctl_string ours = {.allocator = place.allocator};
    json_error_t error;
    write_config(&ours, program); /* compared as it would be written and read, bad UTF-8 replaced */
    json_t *again = ours.failed ? NULL : json_loadb(ours.at, ours.n, 0, &error);
    const char *mine = json_string_value(json_object_get(again, "control_source"));
    if (again && (!source || strcmp(source, mine) != 0))
        ctl_say(place.voice, CTL_WARNING, "E0709", "compare control_source in that file with your own",
                "'%s': the adapter was trained with another spec, or another text of it", path);
    ctl_string_drop(&ours);
    json_decref(again);
    return again ? CTL_OK : CTL_ERR_MEMORY;
}

/* An adapter is all learned numbers, so that one that is none can only do harm, and silently where it is merged. */
static bool is_finite(const ctl_match *m, const ctl_tensor *t, const ctl_program_param *p) {
    enum { PIECE = 512 };
    const size_t n = (size_t)p->rows * (size_t)p->cols, size = ctl_dtype_size(t->dtype);
    double values[PIECE];
    for (size_t first = 0, count; first < n; first += count) {
        count = n - first < PIECE ? n - first : PIECE;
        ctl_convert(CTL_F64, values, t->dtype, (const char *)t->data + first * size, count);
        for (size_t k = 0; k < count; k++) {
            if (isfinite(values[k])) continue;
            ctl_say(m->place.voice, CTL_ERROR, "E0705", "its training has diverged, or the file is damaged: take an earlier one",
                    "'%s': element %zu of tensor '%.200s' is not finite", t->file, first + k, t->name);
            return false;
        }
    }
    return true;
}

/* What a file lacks and what it has too much, once its tensors were looked for; and what cannot be the values. */
static ctl_status check_whole(ctl_match *m) {
    for (size_t i = 0; i < m->program->nparams; i++)
        if (!m->of_param[i] && ctl_save_selects(&m->program->params[i], CTL_SAVE_ADAPTER))
            ctl_match_say_missing(m, &m->program->params[i], CTL_ERROR, "");
    ctl_match_say_more(m, CTL_ERROR, NULL);
    ctl_match_say_unused(m, CTL_ERROR);
    bool finite = true;
    for (size_t i = 0; i < m->program->nparams && finite; i++)
        if (m->of_param[i]) finite = is_finite(m, m->of_param[i], &m->program->params[i]);
    if (m->missing == 0 && m->unused == 0 && m->misfits == 0 && finite) return CTL_OK;
    ctl_match_free(m);
    return CTL_ERR_INPUT;
}

static ctl_status match_ours(ctl_match *m, const ctl_program *program, ctl_place place, const char *path) {
    ctl_status status = ctl_match_open(m, program, place, &path, 1, "adapter_model.safetensors", NULL);
    return status == CTL_OK ? check_whole(m) : status;
}

static void drop_names(const ctl_program *program, ctl_place place, char **names) {
    for (size_t k = 0; names && k < program->nparams; k++) ctl_string_free(place.allocator, names[k]);
    ctl_free(place.allocator, names, (program->nparams + 1) * sizeof *names);
}

/* A checkpoint has the adapter's parameters under names of its own, beside the optimizer's moments. */
static ctl_status match_checkpoint(ctl_match *m, const ctl_program *program, ctl_place place,
                                   const char *path) {
    char **names = ctl_alloc(place.allocator, (program->nparams + 1) * sizeof *names);
    ctl_status status = names ? ctl_checkpoint_verify(path, place) : CTL_ERR_MEMORY;
    for (size_t k = 0; status == CTL_OK && k < program->nparams; k++) {
        if (!ctl_save_selects(&program->params[k], CTL_SAVE_ADAPTER)) continue;
        names[k] = ctl_string_format(place.allocator, "parameter/%s", program->params[k].name);
        if (!names[k]) status = CTL_ERR_MEMORY;
    }
    if (status == CTL_OK) status = ctl_match_open(m, program, place, &path, 1, "state.safetensors", names);
    drop_names(program, place, names);
    return status == CTL_OK ? check_whole(m) : status;
}

static bool has_file(const ctl_allocator *a, const char *folder, const char *name) {
    struct stat info;
    char *path = ctl_string_format(a, "%s/%s", folder, name);
    const bool there = path && stat(path, &info) == 0;
    ctl_string_free(a, path);
    return there;
}

/* Has the file what a control adds to the weight's module, called as in the code of transformers 5, which
 * differs from what checkpoints have? */
static bool has_module_of_code(const ctl_tensors *set, const char *renamed) {
    static const char *const tails[] = {".lora_A.weight", ".ia3_l"};
    char tensor[440];
    bool found = false;
    for (size_t i = 0; i < CTL_COUNT(tails); i++) {
        snprintf(tensor, sizeof tensor, "base_model.model.%.*s%s", (int)(strlen(renamed) - strlen(".weight")),
                 renamed, tails[i]);
        found |= ctl_tensors_find(set, tensor) != NULL;
    }
    return found;
}

/* Does the file call modules so? Most programs have none that differ, and their file is not looked at here.
 */
static ctl_status has_names_of_code(const ctl_program *program, ctl_place place, const char *path,
                                    bool *yes) {
    ctl_tensors *set = NULL;
    char renamed[400];
    *yes = false;
    for (size_t k = 0; k < program->nparams && !*yes; k++) {
        const ctl_program_param *p = &program->params[k];
        const char *tail = strrchr(p->name, '.');
        if (p->made_by_control || !tail || strcmp(tail, ".weight") != 0) continue;
        if (!ctl_names_in_code(p->name, renamed, sizeof renamed)) continue;
        ctl_status status = set ? CTL_OK : ctl_tensors_open(path, "adapter_model.safetensors", place, &set);
        if (status != CTL_OK) return status;
        *yes = has_module_of_code(set, renamed);
    }
    ctl_tensors_close(set);
    return CTL_OK;
}

static ctl_status match_peft(ctl_match *m, const ctl_program *program, ctl_place place, const char *path,
                             const char *config_path, const json_t *config) {
    ctl_peft peft;
    bool of_code;
    ctl_status status = has_names_of_code(program, place, path, &of_code);
    if (status == CTL_OK) status = ctl_peft_open(&peft, program, place, of_code);
    if (status != CTL_OK) return status;
    status = ctl_peft_check(&peft, config_path, config);
    if (status == CTL_OK)
        status = ctl_match_open(m, program, place, &path, 1, "adapter_model.safetensors", peft.names);
    ctl_peft_close(&peft);
    return status == CTL_OK ? check_whole(m) : status;
}

static ctl_status match_config(ctl_match *m, const ctl_program *program, ctl_place place, const char *path,
                               const char *config_path, const char *text, size_t n) {
    json_error_t error;
    json_t *config = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    if (!config && json_error_code(&error) == json_error_out_of_memory) return CTL_ERR_MEMORY;
    const char *type = json_string_value(json_object_get(config, "peft_type"));
    ctl_status status = CTL_ERR_INPUT;
    if (!config) {
        ctl_say(place.voice, CTL_ERROR, "E0709", "fetch or save the adapter again",
                "'%s' is not JSON: %s (line %d)", config_path, error.text, error.line);
    } else if (type && strcmp(type, "STATE_CONTROL") == 0) {
        status = check_source(program, place, config_path, config);
        if (status == CTL_OK) status = match_ours(m, program, place, path);
    } else if (type && (strcmp(type, "LORA") == 0 || strcmp(type, "IA3") == 0)) {
        status = match_peft(m, program, place, path, config_path, config);
    } else {
        ctl_say(place.voice, CTL_ERROR, "E0709",
                "adapters of ctlc, and PEFT's LoRA, DoRA and (IA)^3 can be read",
                "'%s': the adapter's peft_type is '%.60s', not 'STATE_CONTROL', 'LORA' or 'IA3'", config_path,
                type ? type : "");
    }
    json_decref(config);
    return status;
}

ctl_status ctl_adapter_match(ctl_match *m, const ctl_program *program, ctl_place place, const char *path) {
    char *config = ctl_string_format(place.allocator, "%s/adapter_config.json", path), *text = NULL;
    ctl_status status = config ? CTL_OK : CTL_ERR_MEMORY;
    size_t n;
    if (status == CTL_OK && has_file(place.allocator, path, "adapter_config.json")) {
        status = ctl_file_read(config, MOST_CONFIG, &text, &n, place);
        if (status == CTL_OK) {
            status = match_config(m, program, place, path, config, text, n);
            ctl_free(place.allocator, text, n + 1);
        }
    } else if (status == CTL_OK && has_file(place.allocator, path, "state.safetensors")) {
        status = match_checkpoint(m, program, place, path);
    } else if (status == CTL_OK) {
        status = match_ours(m, program, place, path);
    }
    ctl_string_free(place.allocator, config);
    return status;
}

ctl_status ctl_session_load_adapter(ctl_session *s, const char *path) {
    ctl_match m;
    ctl_status status = ctl_adapter_match(&m, s->program, ctl_session_place(s), path);
    if (status != CTL_OK) return status;
    status = ctl_weights_put(s, &m, NULL);
    ctl_match_free(&m);
    return status;
}
