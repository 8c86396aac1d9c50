/* adapter: what the controls made, as a pair of files in the ecosystem's places: adapter_model.safetensors,
 * and adapter_config.json, which names the base model and holds the control's source, so that an adapter
 * explains itself.
 *
 * The tensors are written first: a directory with an adapter_config.json of this save has the tensors of this
 * save too. */
#include <jansson.h>
#include <sys/stat.h>

#include "runtime/weights.h"

enum { MOST_CONFIG = 1 << 24 };

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

/* The kind must be ours; another source is worth a warning, since the same names may then mean something
 * else. */
static ctl_status check_config(ctl_session *s, const char *path, const char *text, size_t n) {
    json_error_t error;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    if (!root && json_error_code(&error) == json_error_out_of_memory) return CTL_ERR_MEMORY;
    const char *type = json_string_value(json_object_get(root, "peft_type"));
    const char *source = json_string_value(json_object_get(root, "control_source"));
    ctl_status status = CTL_ERR_INPUT;
    if (!root) {
        ctl_session_say(s, "E0709", "fetch or save the adapter again", "'%s' is not JSON: %s (line %d)", path,
                        error.text, error.line);
    } else if (!type || strcmp(type, "STATE_CONTROL") != 0) {
        ctl_session_say(s, "E0709", "only adapters that were saved by ctlc can be read",
                        "'%s': the adapter's peft_type is '%.60s', not 'STATE_CONTROL'", path,
                        type ? type : "");
    } else {
        status = CTL_OK;
        ctl_string ours = {.allocator = s->allocator};
        write_config(&ours, s->program); /* compared as it would be written and read, bad UTF-8 replaced */
        json_t *again = ours.failed ? NULL : json_loadb(ours.at, ours.n, 0, &error);
        const char *mine = json_string_value(json_object_get(again, "control_source"));
        if (!again)
            status = CTL_ERR_MEMORY;
        else if (!source || strcmp(source, mine) != 0)
            ctl_say(ctl_session_voice(s), CTL_WARNING, "E0709",
                    "compare control_source in that file with your own",
                    "'%s': the adapter was trained with another spec, or another text of it", path);
        json_decref(again);
        ctl_string_drop(&ours);
    }
    json_decref(root);
    return status;
}

ctl_status ctl_session_load_adapter(ctl_session *s, const char *path) {
    struct stat info;
    char *config = ctl_string_format(s->allocator, "%s/adapter_config.json", path), *text = NULL;
    ctl_status status = config ? CTL_OK : CTL_ERR_MEMORY;
    size_t n;
    if (status == CTL_OK && stat(config, &info) == 0) {
        status = ctl_file_read(config, MOST_CONFIG, &text, &n, ctl_session_place(s));
        if (status == CTL_OK) {
            status = check_config(s, config, text, n);
            ctl_free(s->allocator, text, n + 1);
        }
    }
    ctl_string_free(s->allocator, config);
    return status != CTL_OK ? status : ctl_weights_load_adapter(s, path);
}
