/* import_config: see import_config.h. The file is read by the tables of its architecture
 * (import_architectures.c). */
#include <stdio.h>
#include <stdlib.h>

#include "tools/ctlc/import_reader.h"

enum { MOST_CONFIG = 1 << 24 };

/* What no net has, whatever the architecture. */
static const config_demand everywhere[] = {
    {"quantization_config",
     {NULL},
     "quantised weights are not read; the checkpoint that was quantised has them whole"},
    {"num_experts", {NULL}, "mixtures of experts are not in the nets"},
    {"num_local_experts", {NULL}, "mixtures of experts are not in the nets"},
    {"is_decoder", {NULL}, "an encoder that attends to the past alone is not in the nets"},
    {"add_cross_attention", {NULL}, "attention to another network is not in the nets"},
    {"attention_sink", {NULL}, "attention sinks are not in the nets"},
    {"position_embedding_type", {"absolute"}, "other positions than absolute ones are not in the nets"},
};

/* ---- the whole file ---- */
static void read_marks(config_reader *r) {
    static const char *const keys[][2] = {
        {"bos", "bos_token_id"}, {"eos", "eos_token_id"}, {"pad", "pad_token_id"}};
    char *at = r->m->marks;
    size_t n = 0, size = sizeof r->m->marks;
    for (size_t i = 0; i < CTL_COUNT(keys); i++) {
        const json_t *value = json_object_get(r->root, keys[i][1]);
        char text[64];
        if (!json_is_integer(value) && !json_is_array(value)) continue;
        n += (size_t)snprintf(at + n, size - n, "%s%s %.30s", n ? ", " : "", keys[i][0],
                              config_shown(value, text));
        if (n >= size) n = size - 1;
    }
}

static const config_architecture *find_architecture(config_reader *r) {
    const char *type = json_string_value(json_object_get(r->root, "model_type"));
    char known[300] = "";
    size_t count;
    const config_architecture *all = config_architectures(&count);
    for (size_t i = 0; i < count; i++) {
        if (type && strcmp(type, all[i].type) == 0) return &all[i];
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "there are: ", all[i].type);
    }
    if (type)
        config_complain(r, known, "'%s': no net is known for the model_type '%.60s'", r->path, type);
    else
        config_complain(r, known, "'%s' has no `model_type`", r->path);
    return NULL;
}

static const config_task *find_task(config_reader *r, const config_architecture *a, const char *class_name) {
    char known[200] = "";
    const char *wanted = r->task ? r->task : class_name;
    for (size_t i = 0; i < CTL_COUNT(a->tasks) && a->tasks[i].name; i++) {
        const config_task *t = &a->tasks[i];
        if (r->task ? strcmp(r->task, t->name) == 0 : strstr(class_name, t->class_end) != NULL) return t;
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "--task gives another: ", t->name);
    }
    if (!r->task && !strstr(class_name, "For")) return &a->tasks[0]; /* a base model */
    config_complain(r, known, "'%s': the nets of %s have nothing for '%.60s'", r->path, a->type, wanted);
    return NULL;
}

static ctl_status read_model(config_reader *r) {
    const config_architecture *a = r->a = find_architecture(r);
    import_model *m = r->m;
    if (!a) return CTL_ERR_INPUT;
    const char *name = json_string_value(json_array_get(json_object_get(r->root, "architectures"), 0));
    snprintf(m->type, sizeof m->type, "%s", a->type);
    snprintf(m->architecture, sizeof m->architecture, "%.79s", name ? name : "");
    const config_task *t = find_task(r, a, name ? name : "");
    if (!t) return CTL_ERR_INPUT;
    m->imports = a->imports, m->net = t->net, m->methods = t->methods;
    m->sequences = 4, m->length = 512;
    double positions = 0;
    if (config_read_whole(r, "max_position_embeddings", 1, 0, &positions)) m->positions = (int64_t)positions;
    for (size_t i = 0; i < CTL_COUNT(a->fields) && a->fields[i].param; i++)
        config_read_field(r, &a->fields[i]);
    for (size_t i = 0; i < CTL_COUNT(a->demands) && a->demands[i].key; i++)
        config_check_demand(r, &a->demands[i]);
    for (size_t i = 0; i < CTL_COUNT(everywhere); i++) config_check_demand(r, &everywhere[i]);
    a->rest(r);
    read_marks(r);
    return r->errors ? CTL_ERR_INPUT : CTL_OK;
}

ctl_status import_config_parse(const char *path, const char *text, size_t n, const char *task_name,
                               ctl_place place, import_model *out) {
    json_error_t error;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    *out = (import_model){0};
    config_reader r = {.path = path, .place = place, .root = root, .m = out, .task = task_name};
    ctl_status status = CTL_ERR_INPUT;
    if (!root && json_error_code(&error) == json_error_out_of_memory) return CTL_ERR_MEMORY;
    if (!root)
        config_complain(&r, "fetch it again", "'%s' is not JSON: %s (line %d)", path, error.text, error.line);
    else if (!json_is_object(root))
        config_complain(&r, "fetch it again", "'%s' is not a JSON object", path);
    else
        status = read_model(&r);
    json_decref(root);
    return status;
}

ctl_status import_config_read(const char *directory, const char *task_name, ctl_place place,
                              import_model *out) {
    char *path = ctl_string_format(place.allocator, "%s/config.json", directory), *text = NULL;
    size_t n;
    ctl_status status = path ? ctl_file_read(path, MOST_CONFIG, &text, &n, place) : CTL_ERR_MEMORY;
    if (status == CTL_OK) {
        status = import_config_parse(path, text, n, task_name, place, out);
        ctl_free(place.allocator, text, n + 1);
    }
    ctl_string_free(place.allocator, path);
    return status;
}

void import_config_classes(import_model *m, int64_t classes) {
    for (size_t i = 0; i < m->nparams; i++)
        if (strcmp(m->params[i].name, "classes") == 0)
            snprintf(m->params[i].text, sizeof m->params[i].text, "%lld", (long long)classes);
}
