/* import_reader: see import_reader.h. */
#include "tools/ctlc/import_reader.h"

#include <stdio.h>
#include <stdlib.h>

void config_complain(config_reader *r, const char *hint, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    ctl_vsay(r->place.voice, CTL_ERROR, "E0710", hint, fmt, args);
    va_end(args);
    r->errors++;
}

/* A value as config.json has it, for messages. */
const char *config_shown(const json_t *value, char buf[64]) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    snprintf(buf, 64, "%.60s", text ? text : "?");
    free(text);
    return buf;
}

bool config_is_nothing(const json_t *value) {
    return !value || json_is_null(value) || json_is_false(value) ||
           (json_is_number(value) && json_number_value(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

void config_add(config_reader *r, const char *name, const char *fmt, ...) {
    import_model *m = r->m;
    if (m->nparams == IMPORT_MOST_PARAMS) return;
    snprintf(m->params[m->nparams].name, sizeof m->params[0].name, "%s", name);
    va_list args;
    va_start(args, fmt);
    vsnprintf(m->params[m->nparams++].text, sizeof m->params[0].text, fmt, args);
    va_end(args);
}

/* The shortest digits that are read back as the same number; a digit stands on both sides of a point. */
void config_add_real(config_reader *r, const char *name, double x) {
    char text[32];
    if (x == floor(x) && x < 1e15) {
        config_add(r, name, "%.1f", x);
        return;
    }
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    config_add(r, name, "%s", text);
}

bool config_read_whole(config_reader *r, const char *key, double least, double otherwise, double *out) {
    const json_t *value = json_object_get(r->root, key);
    char text[64];
    *out = otherwise;
    if (!value || json_is_null(value)) {
        if (!isnan(otherwise)) return true;
        config_complain(r, "the nets need it", "'%s' has no `%s`", r->path, key);
        return false;
    }
    if (!json_is_integer(value) || (double)json_integer_value(value) < least ||
        json_integer_value(value) > 1 << 30) {
        config_complain(r, NULL, "'%s': `%s` is %s, and must be a whole number from %g", r->path, key,
                        config_shown(value, text), least);
        return false;
    }
    *out = (double)json_integer_value(value);
    return true;
}

void config_read_field(config_reader *r, const config_field *f) {
    const json_t *value = json_object_get(r->root, f->key);
    double x = f->otherwise;
    char text[64];
    if (f->kind == WHOLE) {
        if (!config_read_whole(r, f->key, 1, f->otherwise, &x)) return;
    } else if (f->kind == REAL && value) {
        x = json_number_value(value);
        if (!json_is_number(value) || !(x > 0)) {
            config_complain(r, NULL, "'%s': `%s` is %s, and must be a number above 0", r->path, f->key,
                            config_shown(value, text));
            return;
        }
    } else if (f->kind == FLAG && value && !json_is_null(value)) {
        if (!json_is_boolean(value)) {
            config_complain(r, NULL, "'%s': `%s` is %s, and must be true or false", r->path, f->key,
                            config_shown(value, text));
            return;
        }
        x = json_is_true(value);
    }
    if (x == f->silent) return;
    if (f->kind == REAL)
        config_add_real(r, f->param, x);
    else if (f->kind == FLAG)
        config_add(r, f->param, "%s", x != 0 ? "true" : "false");
    else
        config_add(r, f->param, "%.0f", x);
}

void config_check_demand(config_reader *r, const config_demand *d) {
    const json_t *value = json_object_get(r->root, d->key);
    char text[64];
    if (!value) return;
    bool good = d->words[0] ? false : config_is_nothing(value);
    for (size_t i = 0; i < CTL_COUNT(d->words) && d->words[i]; i++)
        good |= (json_is_string(value) && strcmp(json_string_value(value), d->words[i]) == 0) ||
                (json_is_true(value) && strcmp(d->words[i], "true") == 0);
    if (!good)
        config_complain(r, "write a net of your own from stdlib's, or choose another checkpoint",
                        "'%s': `%s` is %s: %s", r->path, d->key, config_shown(value, text), d->why);
}
