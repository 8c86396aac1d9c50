/* run_plan: see run_plan.h. */
#include "tools/ctlc/run_plan.h"

#include <jansson.h>
#include <unistd.h>

#include "runtime/files.h"

static char *path_of(const char *out) { return ctl_string_format(&ctl_malloc_allocator, "%s/plan.json", out); }

ctl_status run_plan_write(const char *out, const ctlc_plan *plan, ctl_voice voice) {
    const ctl_place place = {.voice = voice, .allocator = &ctl_malloc_allocator};
    ctl_string s = {.allocator = place.allocator};
    ctl_string_add(&s, "{\n  \"split\": %lld,\n  \"peak_bytes\": %lld,\n  \"budget\": %lld,\n  \"extra_work\": %.6f,\n  \"machine\": ",
                   (long long)plan->split, (long long)plan->peak, (long long)plan->budget, plan->extra_work);
    ctl_string_json(&s, plan->machine);
    ctl_string_add(&s, "\n}\n");
    char *path = path_of(out);
    ctl_status status = s.failed || !path ? CTL_ERR_MEMORY : ctl_file_replace(path, s.at, s.n, place);
    ctl_string_free(place.allocator, path);
    ctl_string_drop(&s);
    return status;
}

static ctl_status parse(const char *path, const char *text, size_t n, run_plan *plan, ctl_voice voice) {
    json_error_t error;
    json_t *object = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    const json_t *split = json_object_get(object, "split"), *peak = json_object_get(object, "peak_bytes");
    const json_t *budget = json_object_get(object, "budget");
    bool good = json_is_integer(split) && json_is_integer(peak) && json_is_integer(budget) && json_integer_value(split) > 0 &&
                json_integer_value(peak) > 0;
    /* Without a budget there was nothing to keep to. */
    if (good) *plan = (run_plan){json_integer_value(split), json_integer_value(budget) ? json_integer_value(peak) : 0};
    json_decref(object);
    if (good) return CTL_OK;
    ctl_say(voice, CTL_ERROR, "E0602", "remove it to plan anew; --resume then may find other bits", "%s: not the plan of a run", path);
    return CTL_ERR_INPUT;
}

ctl_status run_plan_read(const char *out, run_plan *plan, bool *found, ctl_voice voice) {
    const ctl_place place = {.voice = voice, .allocator = &ctl_malloc_allocator};
    char *path = path_of(out), *text;
    size_t n;
    *found = path && access(path, F_OK) == 0;
    ctl_status status = path ? CTL_OK : CTL_ERR_MEMORY;
    if (*found) status = ctl_file_read(path, 1 << 20, &text, &n, place);
    if (*found && status == CTL_OK) {
        status = parse(path, text, n, plan, voice);
        ctl_free(place.allocator, text, n + 1);
    }
    ctl_string_free(place.allocator, path);
    return status;
}
