/* run_result: one table of fields, written and read as a flat JSON object. */
#include "tools/ctlc/run_result.h"

#include <jansson.h>
#include <unistd.h>

#include "runtime/files.h"

static const struct {
    const char *key;
    bool whole;
    size_t at;
} fields[] = {
    {"parameters", true, offsetof(run_result, parameters)},
    {"trained", true, offsetof(run_result, trained)},
    {"steps", true, offsetof(run_result, steps)},
    {"tokens_per_step", true, offsetof(run_result, tokens)},
    {"loss_before", false, offsetof(run_result, loss_before)},
    {"loss_after", false, offsetof(run_result, loss_after)},
    {"bits_per_byte_before", false, offsetof(run_result, bits_before)},
    {"bits_per_byte_after", false, offsetof(run_result, bits_after)},
    {"accuracy_before", false, offsetof(run_result, accuracy_before)},
    {"accuracy_after", false, offsetof(run_result, accuracy_after)},
    {"seconds_per_step", false, offsetof(run_result, step_seconds)},
    {"planned_bytes", true, offsetof(run_result, planned)},
    {"allocated_bytes", true, offsetof(run_result, allocated)},
    {"resident_bytes", true, offsetof(run_result, resident)},
};

static char *path_of(const char *out) {
    return ctl_string_format(&ctl_malloc_allocator, "%s/result.json", out);
}

ctl_status run_result_write(const char *out, const run_result *r, ctl_voice voice) {
    const ctl_place place = {.voice = voice, .allocator = &ctl_malloc_allocator};
    ctl_string s = {.allocator = place.allocator};
    ctl_string_add(&s, "{\n  \"name\": ");
    ctl_string_json(&s, r->name);
    for (size_t i = 0; i < CTL_COUNT(fields); i++) {
        const char *at = (const char *)r + fields[i].at;
        if (fields[i].whole)
            ctl_string_add(&s, ",\n  \"%s\": %lld", fields[i].key,
                           (long long)*(const int64_t *)(const void *)at);
        else
            ctl_string_add(&s, ",\n  \"%s\": %.17g", fields[i].key, *(const double *)(const void *)at);
    }
    ctl_string_add(&s, "\n}\n");
    char *path = path_of(out);
    ctl_status status = s.failed || !path ? CTL_ERR_MEMORY : ctl_file_replace(path, s.at, s.n, place);
    ctl_string_free(place.allocator, path);
    ctl_string_drop(&s);
    return status;
}

static ctl_status parse(const char *path, const char *text, size_t n, run_result *r, ctl_voice voice) {
    json_error_t error;
    json_t *object = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    const char *missing = json_is_string(json_object_get(object, "name")) ? NULL : "name";
    if (!missing) snprintf(r->name, sizeof r->name, "%s", json_string_value(json_object_get(object, "name")));
    for (size_t i = 0; !missing && i < CTL_COUNT(fields); i++) {
        const json_t *value = json_object_get(object, fields[i].key);
        char *at = (char *)r + fields[i].at;
        if (!json_is_number(value))
            missing = fields[i].key;
        else if (fields[i].whole)
            *(int64_t *)(void *)at = json_integer_value(value);
        else
            *(double *)(void *)at = json_number_value(value);
    }
    json_decref(object);
    if (!missing) return CTL_OK;
    ctl_say(voice, CTL_ERROR, "E0602", NULL, "%s: not the result of a run: there is no \"%s\"", path,
            missing);
    return CTL_ERR_INPUT;
}

bool run_result_exists(const char *out) {
    char *path = path_of(out);
    const bool there = path && access(path, F_OK) == 0;
    ctl_string_free(&ctl_malloc_allocator, path);
    return there;
}

ctl_status run_result_read(const char *out, run_result *r, ctl_voice voice) {
    const ctl_place place = {.voice = voice, .allocator = &ctl_malloc_allocator};
    char *path = path_of(out), *text;
    size_t n;
    *r = (run_result){0};
    if (!path) return CTL_ERR_MEMORY;
    ctl_status status = ctl_file_read(path, 1 << 20, &text, &n, place);
    if (status == CTL_OK) {
        status = parse(path, text, n, r, voice);
        ctl_free(place.allocator, text, n + 1);
    }
    ctl_string_free(place.allocator, path);
    return status;
}
