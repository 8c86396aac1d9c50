/* rates: see rates.h. */
#include "tools/ctlc/rates.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "runtime/files.h"

static const char *const keys[RATES] = {"product_f32", "product_bf16", "attention", "bytes"};

static char *folder(void) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && cache[0]) return ctl_string_format(&ctl_malloc_allocator, "%s/ctlc", cache);
    return home && home[0] ? ctl_string_format(&ctl_malloc_allocator, "%s/.cache/ctlc", home) : NULL;
}

char *rates_path(void) {
    char *in = folder();
    char *path = in ? ctl_string_format(&ctl_malloc_allocator, "%s/rates.json", in) : NULL;
    ctl_string_free(&ctl_malloc_allocator, in);
    return path;
}

bool rates_read(int threads, rates *out) {
    char *path = rates_path();
    json_t *object = path ? json_load_file(path, 0, NULL) : NULL;
    bool good = object && json_integer_value(json_object_get(object, "threads")) == threads;
    for (int k = 0; k < RATES; k++) {
        out->at[k] = json_number_value(json_object_get(object, keys[k]));
        good = good && isfinite(out->at[k]) && out->at[k] > 0;
    }
    out->threads = threads;
    json_decref(object);
    ctl_string_free(&ctl_malloc_allocator, path);
    return good;
}

ctl_status rates_write(const rates *r, ctl_voice voice) {
    const ctl_place place = {.voice = voice, .allocator = &ctl_malloc_allocator};
    char *in = folder(), *path = rates_path();
    ctl_string s = {.allocator = place.allocator};
    ctl_string_add(&s, "{\n  \"threads\": %d", r->threads);
    for (int k = 0; k < RATES; k++) ctl_string_add(&s, ",\n  \"%s\": %.6g", keys[k], r->at[k]);
    ctl_string_add(&s, "\n}\n");
    ctl_status status = in && path && !s.failed ? ctl_directory_make(in, place) : CTL_ERR_MEMORY;
    if (status == CTL_OK) status = ctl_file_replace(path, s.at, s.n, place);
    ctl_string_free(place.allocator, in);
    ctl_string_free(place.allocator, path);
    ctl_string_drop(&s);
    return status;
}
