/* choices: see choices.h. */
#include <inttypes.h>
#include <stdio.h>

#include "runtime/cuda/session.h"

/* ---- the table ---- */
static ctl_cuda_choice *find(ctl_cuda_choices *c, const char *form, size_t n) {
    for (size_t k = 0; k < c->n; k++)
        if (strlen(c->at[k].form) == n && memcmp(c->at[k].form, form, n) == 0) return &c->at[k];
    return NULL;
}

static bool make_room(ctl_cuda_session *s) {
    ctl_cuda_choices *c = &s->choices;
    if (c->n < c->room) return true;
    const size_t room = c->room ? 2 * c->room : 16;
    ctl_cuda_choice *at = ctl_alloc(s->common.allocator, room * sizeof *at);
    if (!at) return false;
    if (c->n) memcpy(at, c->at, c->n * sizeof *at);
    ctl_free(s->common.allocator, c->at, c->room * sizeof *at);
    c->at = at, c->room = room;
    return true;
}

void ctl_cuda_choices_free(ctl_cuda_session *s) {
    ctl_free(s->common.allocator, s->choices.at, s->choices.room * sizeof *s->choices.at);
    s->choices = (ctl_cuda_choices){0};
}

ctl_status ctl_cuda_choose(ctl_cuda_session *s, const ctl_blaslt_form *form, ctl_blaslt_product *product) {
    char text[CTL_BLASLT_FORM];
    ctl_blaslt_form_text(form, text);
    const ctl_cuda_choice *known = find(&s->choices, text, strlen(text));
    if (known) {
        product->choice = (size_t)(known - s->choices.at);
        return CTL_OK;
    }
    if (!make_room(s)) return s->failed = CTL_ERR_MEMORY;
    ctl_cuda_choice *fresh = &s->choices.at[s->choices.n];
    const int error = ctl_blaslt_propose(&s->code->blaslt, s->blaslt, form, product, &fresh->is);
    if (error) return ctl_cuda_check_blaslt(s, error, "a product of this form");
    memcpy(fresh->form, text, sizeof text);
    fresh->first = product, product->choice = s->choices.n++;
    return CTL_OK;
}

/* ---- as text ---- */
enum { WORDS = 8, DIGITS = 16, LINE = 256, LINES = 3 };
static const char *const KIND = "products 1";

/* What must be the same for an algorithm to be the same: the first lines of the text. */
static void describe(const ctl_cuda_session *s, char line[LINES][LINE]) {
    const ctl_cuda_device *d = &s->code->device;
    snprintf(line[0], LINE, "%s", KIND);
    snprintf(line[1], LINE, "cuBLASLt %zu", s->code->blaslt.version());
    snprintf(line[2], LINE, "%s, compute capability %d.%d, %d multiprocessors", d->name, d->major, d->minor, d->multiprocessors);
}

void ctl_cuda_keep(ctl_session *session, ctl_string *text) {
    const ctl_cuda_session *s = ctl_cuda_own_session(session);
    char line[LINES][LINE];
    describe(s, line);
    for (int k = 0; k < LINES; k++) ctl_string_add(text, "%s\n", line[k]);
    for (size_t k = 0; k < s->choices.n; k++) {
        const ctl_cuda_choice *c = &s->choices.at[k];
        for (int w = 0; w < WORDS; w++) ctl_string_add(text, "%016" PRIx64, c->is.algorithm.data[w]);
        ctl_string_add(text, " %zu ", c->is.workspace);
        ctl_string_put(text, c->form, strlen(c->form));
        ctl_string_put(text, "\n", 1);
    }
}

typedef struct span {
    const char *at;
    size_t n;
} span;

/* The next line, without its end; false: there is no whole one. */
static bool next_line(const char **at, span *line) {
    const char *end = strchr(*at, '\n');
    if (!end) return false;
    *line = (span){*at, (size_t)(end - *at)};
    *at = end + 1;
    return true;
}

static bool is_line(span line, const char *text) { return line.n == strlen(text) && memcmp(line.at, text, line.n) == 0; }

/* An algorithm, its workspace and the form; false: the line is none such. */
static bool parse_choice(span line, ctl_blaslt_choice *out, span *form) {
    const char *at = line.at, *const end = line.at + line.n;
    *out = (ctl_blaslt_choice){0};
    if (line.n < WORDS * DIGITS + 1 || at[WORDS * DIGITS] != ' ') return false;
    for (int k = 0; k < WORDS * DIGITS; k++, at++) {
        const bool digit = *at >= '0' && *at <= '9';
        if (!digit && !(*at >= 'a' && *at <= 'f')) return false;
        uint64_t *word = &out->algorithm.data[k / DIGITS];
        *word = *word << 4 | (uint64_t)(digit ? *at - '0' : *at - 'a' + 10);
    }
    const char *const number = ++at;
    for (; at < end && *at >= '0' && *at <= '9' && out->workspace <= CTL_CUDA_WORKSPACE; at++)
        out->workspace = 10 * out->workspace + (size_t)(*at - '0');
    if (at == number || out->workspace > CTL_CUDA_WORKSPACE || at == end || *at != ' ') return false;
    *form = (span){at + 1, (size_t)(end - at - 1)};
    return form->n > 0 && form->n < CTL_BLASLT_FORM;
}

/* ---- a run that goes on ---- */
static const char *const REASON = "from here on a product may differ in its last bits";

static void say(ctl_cuda_session *s, const char *hint, const char *why) {
    ctl_say(ctl_session_voice(&s->common), CTL_WARNING, "E0815", hint, "%s: %s", REASON, why);
}

/* Graphs hold the algorithms that they were captured with. The next run of an entry is again a first one, task by task: an algorithm's
 * kernel is loaded when it is first run, which a capture may not bear. */
static ctl_status drop_graphs(ctl_cuda_session *s) {
    ctl_status status = ctl_cuda_wait(s);
    for (int e = 0; e < RUN_COUNT && status == CTL_OK; e++) {
        if (s->graph[e]) status = ctl_cuda_check(s, s->driver->executable_destroy(s->graph[e]), "cuGraphExecDestroy");
        s->graph[e] = NULL, s->runs[e] = 0;
    }
    return status;
}

/* Goes through lines that are known to be right; the forms that got their algorithm. */
static size_t take_all(ctl_cuda_session *s, const char *at) {
    ctl_blaslt_choice is;
    span line, form;
    size_t taken = 0;
    while (next_line(&at, &line) && parse_choice(line, &is, &form)) {
        ctl_cuda_choice *mine = find(&s->choices, form.at, form.n);
        if (!mine || !ctl_blaslt_accepts(&s->code->blaslt, s->blaslt, mine->first, &is)) continue;
        mine->is = is, taken++;
    }
    return taken;
}

ctl_status ctl_cuda_take(ctl_cuda_session *s, const char *text) {
    char here[LINES][LINE], why[3 * LINE];
    span was[LINES] = {{0}}, line, form;
    ctl_blaslt_choice is;
    const char *at = text ? text : "";
    if (text && !next_line(&at, &was[0])) return CTL_ERR_INPUT;
    if (!text || !is_line(was[0], KIND)) {
        say(s, "checkpoints from here on have them",
            "the checkpoint is of another version of ctlc and has no algorithms of products that this one reads");
        return CTL_OK;
    }
    if (!next_line(&at, &was[1]) || !next_line(&at, &was[2])) return CTL_ERR_INPUT;
    const char *const first = at;
    while (next_line(&at, &line))
        if (!parse_choice(line, &is, &form)) return CTL_ERR_INPUT;
    if (*at) return CTL_ERR_INPUT;
    describe(s, here);
    if (!is_line(was[1], here[1]) || !is_line(was[2], here[2])) {
        snprintf(why, sizeof why, "the checkpoint's algorithms are %.*s's on %.*s, and this is %s on %s", (int)was[1].n, was[1].at,
                 (int)was[2].n, was[2].at, here[1], here[2]);
        say(s, "the same version (--cuda-libraries) on the same device goes on bit for bit", why);
        return CTL_OK;
    }
    ctl_status status = drop_graphs(s);
    if (status != CTL_OK) return status;
    const size_t taken = take_all(s, first);
    if (taken < s->choices.n) {
        snprintf(why, sizeof why, "for %zu of %zu forms of products the checkpoint has no algorithm that %s takes", s->choices.n - taken,
                 s->choices.n, here[1]);
        say(s, "resume with the spec, the settings and the memory of the run", why);
    }
    return CTL_OK;
}
