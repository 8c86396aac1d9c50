/* checkpoint: the state of a training run on disk. See checkpoint.h.
 *
 * Trained parameters and moments are read from and written to the flat arrays as they are; what a control
 * made but froze goes as it is stored. The checksum adds up a hash of each piece of each tensor, so it does
 * not depend on their order. */
#include "runtime/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/weights.h"

enum { MOST_STATE = 1 << 26, MOST_NAME = 64, FORMAT = 1 };
static const char *const DAMAGED =
    "go on from an older checkpoint by writing its name into 'latest', or start again";

typedef enum kind { KIND_PARAMETER, KIND_MOMENT1, KIND_MOMENT2, KIND_COUNT } kind;
static const char *const kind_names[KIND_COUNT] = {"parameter", "moment1", "moment2"};

typedef struct content { /* the tensors of a checkpoint */
    ctl_session *s;
    ctl_dtype flat; /* of the flat arrays */
    ctl_tensor_spec *specs; /* names belong to it */
    struct slot {
        kind kind;
        size_t param;
    } * slots;
    size_t n, cap;
    uint64_t checksum;
} content;

/* ---- what a checkpoint holds ---- */
static ctl_flat_array array_of(kind k) {
    return k == KIND_PARAMETER ? CTL_FLAT_PARAMS : k == KIND_MOMENT1 ? CTL_FLAT_MOMENT1 : CTL_FLAT_MOMENT2;
}

static void content_free(content *c) {
    const ctl_allocator *a = c->s->allocator;
    for (size_t i = 0; i < c->n; i++) ctl_string_free(a, (char *)c->specs[i].name);
    ctl_free(a, c->specs, c->cap * sizeof *c->specs);
    ctl_free(a, c->slots, c->cap * sizeof *c->slots);
}

static ctl_status content_init(content *c, ctl_session *s) {
    const ctl_program *program = s->program;
    *c = (content){.s = s, .flat = ctl_session_flat(s).dtype};
    if (program->nparams > SIZE_MAX / sizeof *c->specs / KIND_COUNT - 1) return CTL_ERR_MEMORY;
    c->cap = program->nparams * KIND_COUNT + 1;
    c->specs = ctl_alloc(s->allocator, c->cap * sizeof *c->specs);
    c->slots = ctl_alloc(s->allocator, c->cap * sizeof *c->slots);
    bool fits = c->specs && c->slots;
    for (size_t i = 0; fits && i < program->nparams; i++) {
        const ctl_program_param *p = &program->params[i];
        if (!ctl_save_selects(p, CTL_SAVE_ADAPTER)) continue;
        for (kind k = KIND_PARAMETER; fits && k < KIND_COUNT; k++) {
            if (k != KIND_PARAMETER && (!p->trained || ctl_session_flat_operand(s, array_of(k))->buffer == UINT32_MAX))
                continue;
            char *name = ctl_string_format(s->allocator, "%s/%s", kind_names[k], p->name);
            fits = name != NULL;
            if (!fits) break;
            c->specs[c->n] = ctl_param_spec(p, name, p->trained ? c->flat : p->value.dtype);
            c->slots[c->n++] = (struct slot){k, i};
        }
    }
    if (fits) return CTL_OK;
    content_free(c);
    return CTL_ERR_MEMORY;
}

static uint64_t piece_hash(const char *name, size_t first, const void *data, size_t bytes) {
    return ctl_hash(data, bytes, ctl_hash(name, strlen(name), first));
}

static ctl_status read_slot(void *ctx, size_t tensor, size_t first, size_t count, void *out) {
    content *c = ctx;
    struct slot slot = c->slots[tensor];
    const ctl_tensor_spec *spec = &c->specs[tensor];
    size_t size = ctl_dtype_size(spec->dtype);
    const ctl_program_param *p = &c->s->program->params[slot.param];
    ctl_status status = p->trained ? ctl_session_flat_read(c->s, array_of(slot.kind), p->flat + first, count, out)
                                   : ctl_session_param_get(c->s, slot.param, first, count, spec->dtype, out);
    if (status == CTL_OK) c->checksum += piece_hash(spec->name, first, out, count * size);
    return status;
}

/* Everything that must be equal for the numbers to mean the same. */
static uint64_t fingerprint(const ctl_session *s) {
    const ctl_program *program = s->program;
    uint64_t h = ctl_hash(ctl_dtype_name(program->compute), strlen(ctl_dtype_name(program->compute)), FORMAT);
    for (size_t i = 0; i < program->nparams; i++) {
        const ctl_program_param *p = &program->params[i];
        int64_t numbers[] = {p->rows, p->cols, p->ndims, p->trained, p->made_by_control};
        h = ctl_hash(p->name, strlen(p->name) + 1, h);
        h = ctl_hash(numbers, sizeof numbers, h);
    }
    int64_t moments[] = {program->moment1.buffer != UINT32_MAX, program->moment2.buffer != UINT32_MAX};
    return ctl_hash(moments, sizeof moments, h);
}

/* ---- directories ---- */
/* checkpoint-STEP, checkpoint-STEP.1, and either with .tmp-PID: a name of ours. */
static bool is_ours(const char *name) {
    static const char begin[] = "checkpoint-", temporary[] = ".tmp-", digits[] = "0123456789";
    if (strncmp(name, begin, sizeof begin - 1) != 0) return false;
    name += sizeof begin - 1;
    size_t n = strspn(name, digits);
    if (n == 0) return false;
    name += n;
    if (strncmp(name, ".1", 2) == 0) name += 2;
    if (strncmp(name, temporary, sizeof temporary - 1) == 0) {
        name += sizeof temporary - 1;
        n = strspn(name, digits);
        return n > 0 && name[n] == 0;
    }
    return *name == 0;
}

/* Removes a checkpoint's files and then the directory; whatever else somebody put there stays, and the
 * directory with it. What cannot be removed is left for the next time. */
static void remove_checkpoint(const ctl_allocator *a, const char *out, const char *name) {
    char *path = ctl_string_format(a, "%s/%s", out, name);
    DIR *directory = path ? opendir(path) : NULL;
    if (directory) {
        for (struct dirent *entry; (entry = readdir(directory));) {
            if (strncmp(entry->d_name, "state.", 6) != 0) continue;
            char *file = ctl_string_format(a, "%s/%s", path, entry->d_name);
            if (file) unlink(file);
            ctl_string_free(a, file);
        }
        closedir(directory);
        rmdir(path);
    }
    ctl_string_free(a, path);
}

static void remove_others(const ctl_allocator *a, const char *out, const char *keep, const char *keep_too) {
    DIR *directory = opendir(out);
    if (!directory) return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (is_ours(entry->d_name) && strcmp(entry->d_name, keep) != 0 &&
            strcmp(entry->d_name, keep_too) != 0)
            remove_checkpoint(a, out, entry->d_name);
        if (strncmp(entry->d_name, "latest.tmp-", 11) != 0) continue;
        char *stale = ctl_string_format(a, "%s/%s", out, entry->d_name);
        if (stale) unlink(stale);
        ctl_string_free(a, stale);
    }
    closedir(directory);
}

/* The name in OUT/latest; empty when there is no such file. */
static ctl_status read_latest(ctl_session *s, const char *out, char name[MOST_NAME]) {
    name[0] = 0;
    char *path = ctl_string_format(s->allocator, "%s/latest", out), *text;
    size_t n;
    ctl_status status = path ? CTL_OK : CTL_ERR_MEMORY;
    if (status == CTL_OK && (access(path, F_OK) == 0 || errno != ENOENT)) {
        status = ctl_file_read(path, MOST_NAME - 1, &text, &n, ctl_session_place(s));
        if (status == CTL_OK) {
            memcpy(name, text, n + 1);
            name[strcspn(name, "\n")] = 0;
            ctl_free(s->allocator, text, n + 1);
            if (!is_ours(name)) {
                ctl_session_say(s, "E0708", "write the name of one of the checkpoints there",
                                "'%s' does not name a checkpoint", path);
                status = CTL_ERR_INPUT;
            }
        }
    }
    ctl_string_free(s->allocator, path);
    return status;
}

/* ---- saving ---- */
static uint64_t text_checksum(const char *text) {
    return ctl_hash(text, strlen(text), FORMAT);
}

/* The engine, and what it keeps for itself, with a checksum. */
static void add_engine(ctl_string *text, ctl_session *s) {
    ctl_string kept = {.allocator = s->allocator};
    ctl_string_add(text, "  \"engine\": ");
    ctl_string_json(text, s->engine->name);
    if (s->engine->keep) s->engine->keep(s, &kept);
    if (kept.at) {
        ctl_string_add(text, ",\n  \"engine_checksum\": \"%" PRIu64 "\",\n  \"engine_keeps\": ", text_checksum(kept.at));
        ctl_string_json(text, kept.at);
    }
    ctl_string_add(text, ",\n");
    text->failed |= kept.failed;
    ctl_string_drop(&kept);
}

static ctl_status save_files(content *c, const char *directory, const ctl_checkpoint *state) {
    ctl_session *s = c->s;
    ctl_place place = ctl_session_place(s);
    char *tensors = ctl_string_format(s->allocator, "%s/state.safetensors", directory);
    char *json = ctl_string_format(s->allocator, "%s/state.json", directory);
    ctl_status status = tensors && json ? CTL_OK : CTL_ERR_MEMORY;
    if (status == CTL_OK) status = ctl_tensors_save(tensors, c->specs, c->n, NULL, 0, read_slot, c, place);
    if (status == CTL_OK) {
        ctl_string text = {.allocator = s->allocator};
        ctl_string_add(&text,
                       "{\n  \"format\": %d,\n  \"step\": \"%" PRIu64 "\",\n  \"data_position\": \"%" PRIu64
                       "\",\n",
                       FORMAT, state->step, state->data_position);
        ctl_string_add(&text, "  \"seed\": \"%" PRIu64 "\",\n  \"learning_rate\": \"%a\",\n", s->seed,
                       state->learning_rate);
        add_engine(&text, s);
        ctl_string_add(&text,
                       "  \"program\": \"%" PRIu64 "\",\n  \"checksum\": \"%" PRIu64 "\",\n  \"loop\": ",
                       fingerprint(s), c->checksum);
        ctl_string_json(&text, state->loop ? state->loop : "");
        ctl_string_add(&text, "\n}\n");
        status = text.failed ? CTL_ERR_MEMORY : ctl_file_replace(json, text.at, text.n, place);
        ctl_string_drop(&text);
    }
    ctl_string_free(s->allocator, json);
    ctl_string_free(s->allocator, tensors);
    return status;
}

static ctl_status publish(ctl_session *s, const char *out, const char *temporary, const char *name,
                          const char *before) {
    ctl_place place = ctl_session_place(s);
    const ctl_allocator *a = s->allocator;
    char *from = ctl_string_format(a, "%s/%s", out, temporary),
         *to = ctl_string_format(a, "%s/%s", out, name);
    char *latest = ctl_string_format(a, "%s/latest", out);
    ctl_status status = from && to && latest ? CTL_OK : CTL_ERR_MEMORY;
    if (status == CTL_OK && rename(from, to) != 0) {
        int error = errno;
        ctl_session_say(s, "E0707", ctl_errno_hint(error), "cannot rename '%s': %s", from, strerror(error));
        status = CTL_ERR_IO;
    }
    if (status == CTL_OK) status = ctl_directory_sync(out, place);
    char line[MOST_NAME + 2];
    int n = snprintf(line, sizeof line, "%s\n", name);
    if (status == CTL_OK) status = ctl_file_replace(latest, line, (size_t)n, place);
    if (status == CTL_OK) remove_others(a, out, name, before);
    ctl_string_free(a, latest);
    ctl_string_free(a, to);
    ctl_string_free(a, from);
    return status;
}

ctl_status ctl_checkpoint_save(ctl_session *s, const char *out, const ctl_checkpoint *state) {
    const ctl_allocator *a = s->allocator;
    char before[MOST_NAME], name[MOST_NAME], temporary[2 * MOST_NAME];
    ctl_status status = ctl_directory_make(out, ctl_session_place(s));
    if (status == CTL_OK) status = read_latest(s, out, before);
    if (status != CTL_OK) return status;
    /* The latest is never touched: a second save of the same step goes beside it. */
    snprintf(name, sizeof name, "checkpoint-%" PRIu64, state->step);
    if (strcmp(name, before) == 0) snprintf(name, sizeof name, "checkpoint-%" PRIu64 ".1", state->step);
    snprintf(temporary, sizeof temporary, "%s.tmp-%ld", name, (long)getpid());
    remove_checkpoint(a, out, temporary);
    remove_checkpoint(a, out, name); /* never the latest */
    char *directory = ctl_string_format(a, "%s/%s", out, temporary);
    if (!directory) return CTL_ERR_MEMORY;
    content c;
    status = content_init(&c, s);
    if (status == CTL_OK) {
        status = ctl_directory_make(directory, ctl_session_place(s));
        if (status == CTL_OK) status = save_files(&c, directory, state);
        if (status == CTL_OK) status = publish(s, out, temporary, name, before);
        if (status != CTL_OK) remove_checkpoint(a, out, temporary);
        content_free(&c);
    }
    ctl_string_free(a, directory);
    return status;
}

/* ---- loading ---- */
static ctl_status damaged(ctl_place place, const char *file, const char *what) {
    ctl_say(place.voice, CTL_ERROR, "E0708", DAMAGED, "'%s' is damaged: %s", file, what);
    return CTL_ERR_INPUT;
}

static bool get_number(const json_t *root, const char *key, uint64_t *out) {
    const char *text = json_string_value(json_object_get(root, key));
    if (!text || *text < '0' || *text > '9') return false;
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *end == 0 && errno == 0;
}

static bool get_real(const json_t *root, const char *key, double *out) {
    const char *text = json_string_value(json_object_get(root, key));
    char *end;
    if (!text || !*text) return false;
    *out = strtod(text, &end);
    return *end == 0;
}

typedef struct written { /* of state.json, beside the caller's */
    json_t *root; /* whose the texts are */
    uint64_t program, checksum;
    const char *engine, *keeps; /* who ran it, and what it keeps; NULL: that is not told */
} written;

/* A checkpoint from before engines were told has nothing of this. */
static bool get_engine(const json_t *root, written *w) {
    uint64_t sum;
    w->engine = json_string_value(json_object_get(root, "engine"));
    w->keeps = json_string_value(json_object_get(root, "engine_keeps"));
    const bool sealed = get_number(root, "engine_checksum", &sum);
    if (!w->keeps) return !sealed && !json_object_get(root, "engine_keeps");
    return w->engine && sealed && sum == text_checksum(w->keeps);
}

static ctl_status read_state(ctl_place place, const char *path, ctl_checkpoint *state, written *w) {
    char *text;
    size_t n;
    ctl_status status = ctl_file_read(path, MOST_STATE, &text, &n, place);
    if (status != CTL_OK) return status;
    json_error_t error;
    json_t *root = w->root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    const char *loop = json_string_value(json_object_get(root, "loop"));
    if (!root && json_error_code(&error) == json_error_out_of_memory) {
        status = CTL_ERR_MEMORY;
    } else if (!root || !loop || json_integer_value(json_object_get(root, "format")) != FORMAT ||
               !get_number(root, "step", &state->step) ||
               !get_number(root, "data_position", &state->data_position) ||
               !get_number(root, "seed", &state->seed) ||
               !get_real(root, "learning_rate", &state->learning_rate) ||
               !get_number(root, "program", &w->program) ||
               !get_number(root, "checksum", &w->checksum)) {
        status = damaged(place, path, root ? "something is missing, or another version wrote it" : error.text);
    } else if (!get_engine(root, w)) {
        status = damaged(place, path, "the checksum of what its engine keeps is wrong");
    } else {
        state->loop = ctl_string_format(place.allocator, "%s", loop);
        if (!state->loop) status = CTL_ERR_MEMORY;
    }
    ctl_free(place.allocator, text, n + 1);
    return status;
}

/* Finds each tensor, of the right type and shape; counts that there are no others. */
static ctl_status check_tensors(content *c, const ctl_tensors *set, const char *path) {
    ctl_session *s = c->s;
    for (size_t i = 0; i < c->n; i++) {
        const ctl_tensor_spec *spec = &c->specs[i];
        const ctl_tensor *t = ctl_tensors_find(set, spec->name);
        bool same = t && t->known && t->dtype == spec->dtype && t->ndims == spec->ndims;
        for (int d = 0; same && d < t->ndims; d++) same = t->dims[d] == spec->dims[d];
        if (same) continue;
        ctl_session_say(s, "E0708", "resume with the spec, controls and settings that it was written with",
                        "'%s' belongs to another program: '%s' %s", path, spec->name,
                        t ? "has another type or shape" : "is not in it");
        return CTL_ERR_INPUT;
    }
    if (ctl_tensors_count(set) == c->n) return CTL_OK;
    ctl_session_say(s, "E0708", "resume with the spec, controls and settings that it was written with",
                    "'%s' belongs to another program: it has %zu tensors, this one %zu", path,
                    ctl_tensors_count(set), c->n);
    return CTL_ERR_INPUT;
}

/* Of all tensors of a file; those of a type that is none of ours have no place in a checkpoint. */
static uint64_t checksum(const ctl_tensors *set) {
    uint64_t sum = 0;
    for (size_t i = 0; i < ctl_tensors_count(set); i++) {
        const ctl_tensor *t = ctl_tensors_at(set, i);
        if (!t->known) continue;
        size_t size = ctl_dtype_size(t->dtype), piece = CTL_TENSOR_PIECE / size * size;
        for (size_t at = 0; at < t->bytes; at += piece)
            sum += piece_hash(t->name, at / size, (const char *)t->data + at, t->bytes - at < piece ? t->bytes - at : piece);
    }
    return sum;
}

static ctl_status check_sum(ctl_place place, const char *path, const ctl_tensors *set, const written *w) {
    return w->checksum == checksum(set) ? CTL_OK : damaged(place, path, "its checksum is wrong");
}

static ctl_status apply(content *c, const ctl_tensors *set, uint64_t seed) {
    ctl_session *s = c->s;
    ctl_status status = CTL_OK;
    s->seed = seed;
    for (size_t i = 0; status == CTL_OK && i < c->n; i++) {
        const ctl_tensor *t = ctl_tensors_find(set, c->specs[i].name);
        size_t param = c->slots[i].param;
        if (c->slots[i].kind == KIND_PARAMETER)
            status = ctl_session_param_put(s, param, 0, ctl_param_elements(&s->program->params[param]), t->dtype, t->data);
    }
    if (status == CTL_OK) status = ctl_session_load(s);
    for (size_t i = 0; status == CTL_OK && i < c->n; i++) {
        const ctl_tensor *t = ctl_tensors_find(set, c->specs[i].name);
        const ctl_program_param *p = &s->program->params[c->slots[i].param];
        if (c->slots[i].kind != KIND_PARAMETER)
            status = ctl_session_flat_write(s, array_of(c->slots[i].kind), p->flat, ctl_param_elements(p), t->data);
    }
    return status;
}

/* What the engine kept, if it is the same engine; else the numbers go on, and their last bits need not. */
static ctl_status apply_engine(ctl_session *s, const written *w, const char *path) {
    const ctl_engine *engine = s->engine;
    if (w->engine && strcmp(w->engine, engine->name) != 0) {
        ctl_say(ctl_session_voice(s), CTL_WARNING, "E0815", "resume with the engine of the run to go on bit for bit",
                "from here on numbers may differ in their last bits: the run's engine was %s, and is %s now", w->engine, engine->name);
        return CTL_OK;
    }
    ctl_status status = engine->take ? engine->take(s, w->keeps) : CTL_OK;
    return status == CTL_ERR_INPUT ? damaged(ctl_session_place(s), path, "what its engine keeps cannot be read") : status;
}

static ctl_status load_directory(ctl_session *s, const char *json, const char *path, ctl_checkpoint *state) {
    written w = {0};
    content c;
    ctl_tensors *set = NULL;
    ctl_status status = read_state(ctl_session_place(s), json, state, &w);
    if (status == CTL_OK) status = ctl_tensors_open(path, "", ctl_session_place(s), &set);
    if (status == CTL_OK) status = content_init(&c, s);
    if (status == CTL_OK) {
        status = check_tensors(&c, set, path);
        if (status == CTL_OK && w.program != fingerprint(s)) {
            ctl_session_say(
                s, "E0708", "resume with the spec, controls and settings that it was written with",
                "'%s' belongs to another program: the model, the compute type or the optimizer differ", path);
            status = CTL_ERR_INPUT;
        }
        if (status == CTL_OK) status = check_sum(ctl_session_place(s), path, set, &w);
        if (status == CTL_OK) status = apply_engine(s, &w, json);
        if (status == CTL_OK) status = apply(&c, set, state->seed);
        content_free(&c);
    }
    ctl_tensors_close(set);
    json_decref(w.root);
    return status;
}

ctl_status ctl_checkpoint_load(ctl_session *s, const char *out, ctl_checkpoint *state, bool *found) {
    char name[MOST_NAME];
    *state = (ctl_checkpoint){0};
    *found = false;
    ctl_status status = read_latest(s, out, name);
    if (status != CTL_OK || !name[0]) return status;
    char *json = ctl_string_format(s->allocator, "%s/%s/state.json", out, name);
    char *tensors = ctl_string_format(s->allocator, "%s/%s/state.safetensors", out, name);
    status = json && tensors ? load_directory(s, json, tensors, state) : CTL_ERR_MEMORY;
    ctl_string_free(s->allocator, tensors);
    ctl_string_free(s->allocator, json);
    if (status != CTL_OK) ctl_checkpoint_free(s, state);
    *found = status == CTL_OK;
    return status;
}

ctl_status ctl_checkpoint_verify(const char *folder, ctl_place place) {
    char *json = ctl_string_format(place.allocator, "%s/state.json", folder);
    char *tensors = ctl_string_format(place.allocator, "%s/state.safetensors", folder);
    ctl_status status = json && tensors ? CTL_OK : CTL_ERR_MEMORY;
    ctl_checkpoint state = {0};
    ctl_tensors *set = NULL;
    written w = {0};
    if (status == CTL_OK) status = read_state(place, json, &state, &w);
    if (status == CTL_OK) status = ctl_tensors_open(tensors, "", place, &set);
    if (status == CTL_OK) status = check_sum(place, tensors, set, &w);
    ctl_tensors_close(set);
    json_decref(w.root);
    ctl_string_free(place.allocator, state.loop);
    ctl_string_free(place.allocator, tensors);
    ctl_string_free(place.allocator, json);
    return status;
}

void ctl_checkpoint_free(const ctl_session *s, ctl_checkpoint *c) {
    ctl_string_free(s->allocator, c->loop);
    c->loop = NULL;
}
