/* run_state: a flat JSON object in the checkpoint's text. Integers above 2^53 (fingerprint, seed) are written
 * in hex, as strings, since JSON's readers may keep doubles; so are doubles, which come back bit for bit. What must
 * agree for a run to go on bit for bit is in `same`. */
#include "train/run_state.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/checkpoint.h"
#include "runtime/files.h"
#include "train/schedule.h"

static const struct {
    const char *key;
    size_t at;
} fields[] = {
    {"tokens", offsetof(ctl_train_state, tokens)},     {"epoch", offsetof(ctl_train_state, place.epoch)},
    {"item", offsetof(ctl_train_state, place.item)},   {"offset", offsetof(ctl_train_state, place.offset)},
    {"log_size", offsetof(ctl_train_state, log_size)}, {"evaluated", offsetof(ctl_train_state, evaluated)},
    {"before_counted", offsetof(ctl_train_state, before.counted)},
};
static const struct {
    const char *key;
    size_t at;
} numbers[] = {
    {"before_loss", offsetof(ctl_train_state, before.loss)},
    {"before_perplexity", offsetof(ctl_train_state, before.perplexity)},
    {"before_bits_per_byte", offsetof(ctl_train_state, before.bits_per_byte)},
    {"before_accuracy", offsetof(ctl_train_state, before.accuracy)},
};

/* What the run must have in common with its checkpoint, one word for each. */
enum { SAME = 8, WHOLE = 7, WORD = 24 };
static const struct {
    const char *key, *another; /* what is said of another one, where the word is a hash */
    const char *name;          /* as the user knows it */
} same_keys[SAME] = {
    {"data", "its data is another", NULL},
    {"rows", NULL, "rows a micro-step (tokens)"},
    {"sequence", NULL, "length of a sequence (tokens)"},
    {"loss_on_output", "it has another --loss", NULL},
    {"accumulate", NULL, "accumulate"},
    {"order_seed", NULL, "seed"},
    {"weights", "its frozen weights are others (--weights, --seed)", NULL},
    {"whole", "it cuts the data otherwise (--whole)", NULL},
};
static void same(const ctl_train_options *o, uint64_t weights, char words[SAME][WORD]) {
    const ctl_packing *p = ctl_loader_packing(o->data);
    snprintf(words[0], WORD, "%016" PRIx64, o->fingerprint);
    snprintf(words[1], WORD, "%" PRId64, p->rows);
    snprintf(words[2], WORD, "%" PRId64, p->sequence);
    snprintf(words[3], WORD, "%d", p->loss_on_output);
    snprintf(words[4], WORD, "%" PRId64, o->settings.accumulate);
    snprintf(words[5], WORD, "%" PRIu64, p->seed);
    snprintf(words[6], WORD, "%016" PRIx64, weights);
    snprintf(words[WHOLE], WORD, "%d", p->whole && !p->classify);
}

ctl_status ctl_train_state_save(ctl_session *s, const ctl_train_options *o, const ctl_train_state *state) {
    char words[SAME][WORD];
    ctl_string text = {.allocator = o->allocator};
    same(o, state->weights, words);
    ctl_string_add(&text, "{");
    for (size_t i = 0; i < CTL_COUNT(fields); i++) {
        const int64_t *at = (const void *)((const char *)state + fields[i].at);
        ctl_string_add(&text, "\"%s\": %" PRId64 ", ", fields[i].key, *at);
    }
    for (size_t i = 0; i < CTL_COUNT(numbers); i++) {
        const double *at = (const void *)((const char *)state + numbers[i].at);
        ctl_string_add(&text, "\"%s\": \"%a\", ", numbers[i].key, *at);
    }
    for (size_t i = 0; i < SAME; i++)
        ctl_string_add(&text, "\"%s\": \"%s\"%s", same_keys[i].key, words[i], i + 1 < SAME ? ", " : "}");
    ctl_string_put(&text, "", 1);
    ctl_status status = CTL_ERR_MEMORY;
    if (!text.failed) {
        const ctl_checkpoint c = {.step = (uint64_t)state->step,
                                  .data_position = (uint64_t)state->place.item,
                                  .learning_rate = ctl_schedule_rate(&o->settings, state->step),
                                  .loop = text.at};
        status = ctl_checkpoint_save(s, o->out, &c);
    }
    ctl_string_drop(&text);
    return status;
}

static ctl_status refuse(const ctl_train_options *o, size_t what, const char *was, const char *is) {
    const char *hint = "the same command goes on bit for bit; begin anew in another folder";
    if (same_keys[what].another)
        ctl_say(o->voice, CTL_ERROR, "E0606", hint, "%s: the run in it cannot go on: %s", o->out, same_keys[what].another);
    else
        ctl_say(o->voice, CTL_ERROR, "E0606", hint, "%s: the run in it cannot go on: its %s was %s, now it is %s", o->out,
                same_keys[what].name, was, is);
    return CTL_ERR_INPUT;
}

static ctl_status damaged(const ctl_train_options *o) {
    ctl_say(o->voice, CTL_ERROR, "E0606", "begin anew in another folder", "%s: the run's state is damaged",
            o->out);
    return CTL_ERR_INPUT;
}

static ctl_status parse(const ctl_train_options *o, const json_t *object, ctl_train_state *state) {
    char words[SAME][WORD];
    same(o, state->weights, words);
    for (size_t i = 0; i < SAME; i++) {
        const char *word = json_string_value(json_object_get(object, same_keys[i].key));
        if (!word && i == WHOLE) word = "0"; /* of a run from before there was a choice */
        if (!word) return damaged(o);
        if (strcmp(word, words[i]) != 0) return refuse(o, i, word, words[i]);
    }
    for (size_t i = 0; i < CTL_COUNT(fields); i++) {
        const json_t *value = json_object_get(object, fields[i].key);
        int64_t *at = (void *)((char *)state + fields[i].at);
        if (!json_is_integer(value) || json_integer_value(value) < 0) return damaged(o);
        *at = json_integer_value(value);
    }
    for (size_t i = 0; i < CTL_COUNT(numbers); i++) {
        const char *value = json_string_value(json_object_get(object, numbers[i].key));
        double *at = (void *)((char *)state + numbers[i].at);
        char *end;
        if (!value || (*at = strtod(value, &end), end == value || *end)) return damaged(o);
    }
    return ctl_loader_go(o->data, state->place) == CTL_OK ? CTL_OK : damaged(o);
}

ctl_status ctl_train_state_load(ctl_session *s, const ctl_train_options *o, ctl_train_state *state,
                                bool *found) {
    ctl_checkpoint c = {0};
    ctl_train_state read = {.weights = state->weights};
    ctl_status status = ctl_checkpoint_load(s, o->out, &c, found);
    if (status != CTL_OK || !*found) return status;
    json_error_t error;
    json_t *object = json_loads(c.loop ? c.loop : "", JSON_REJECT_DUPLICATES, &error);
    status = object ? parse(o, object, &read) : damaged(o);
    json_decref(object);
    read.step = (int64_t)c.step;
    ctl_checkpoint_free(s, &c);
    if (status == CTL_OK) *state = read;
    return status;
}

ctl_status ctl_train_state_absent(const ctl_train_options *o) {
    const ctl_allocator *a = o->allocator;
    char *path = ctl_string_format(a, "%s/latest", o->out);
    if (!path) return CTL_ERR_MEMORY;
    const bool there = access(path, F_OK) == 0;
    ctl_string_free(a, path);
    if (!there) return CTL_OK;
    ctl_say(o->voice, CTL_ERROR, "E0609", "--resume goes on with it; another --out begins anew",
            "%s holds a run already", o->out);
    return CTL_ERR_INPUT;
}
