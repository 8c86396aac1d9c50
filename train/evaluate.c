/* evaluate: the mean loss over held-out data, accuracy and sums of documents where the program tells of rows; and which
 * data a program takes. */
#include <math.h>
#include <stdio.h>

#include "runtime/program.h"
#include "runtime/session.h"
#include "train/diverged.h"
#include "train/feed.h"
#include "train/loop.h"

/* ---- programs ---- */
static const ctl_operand *input_of(const ctl_program *p, const char *name) {
    for (size_t i = 0; i < p->ninputs; i++)
        if (strcmp(p->inputs[i].name, name) == 0) return &p->inputs[i].value;
    return NULL;
}

static bool is_id_column(const ctl_program *p, const char *name, int64_t rows) {
    const ctl_operand *in = input_of(p, name);
    return in && in->dtype == CTL_I32 && in->cols == 1 && in->rows == rows;
}

static bool is_known(const char *name, ctl_data_kind kind) {
    static const char *const names[][5] = {{"ids", "types", "labels"}, {"ids", "types", "label"}, {"pixels", "label"}};
    static const char *const always[] = {"position", "length", "normaliser"};
    for (size_t i = 0; i < CTL_COUNT(always); i++)
        if (strcmp(name, always[i]) == 0) return true;
    for (size_t i = 0; names[kind][i]; i++)
        if (strcmp(name, names[kind][i]) == 0) return true;
    return false;
}

static bool has_loss(const ctl_program *p) {
    for (size_t i = 0; i < p->noutputs; i++)
        if (strcmp(p->outputs[i].name, "loss") == 0) return true;
    return false;
}

ctl_status ctl_program_data(const ctl_program *p, ctl_voice voice, ctl_data_kind *kind) {
    const int64_t sequences = p->sequence ? p->tokens / p->sequence : 0;
    const ctl_operand *pixels = input_of(p, "pixels");
    const bool images = pixels && pixels->dtype != CTL_I32 && pixels->rows == p->tokens;
    const bool classes = is_id_column(p, "label", sequences);
    *kind = images ? CTL_DATA_IMAGES : classes ? CTL_DATA_CLASSES : CTL_DATA_TOKENS;
    const char *missing = images && !classes                                ? "no id input `label` with one row an image"
                          : !images && !is_id_column(p, "ids", p->tokens)   ? "no id input `ids` with one row a token"
                          : !classes && !is_id_column(p, "labels", p->tokens) ? "no id input `labels` with one row a token"
                          : !has_loss(p)                                    ? "no output `loss`"
                                                                            : NULL;
    const char *unknown = NULL;
    for (size_t i = 0; i < p->ninputs && !missing && !unknown; i++)
        if (!is_known(p->inputs[i].name, *kind)) unknown = p->inputs[i].name;
    if (!missing && !unknown) return CTL_OK;
    ctl_say(voice, CTL_ERROR, "E0605",
            "data have ids and labels (a token), ids and label (a sequence), or pixels and label (an image)",
            unknown ? "the model has an input `%s`, which no data give" : "the model has %s", unknown ? unknown : missing);
    return CTL_ERR_INPUT;
}

ctl_status ctl_program_takes(const ctl_program *p, const ctl_loader *data, ctl_voice voice) {
    if (!p->sees_ahead || !ctl_loader_wants_next(data)) return ctl_loader_fits(data, p, voice);
    ctl_say(voice, CTL_ERROR, "E0605",
            "give it labels: a token file with `targets` (tools/tokenize --masked 0.15 makes one), or a net of classes",
            "the data have the model predict the next token, and its attention sees that token");
    return CTL_ERR_INPUT;
}

const ctl_operand *ctl_program_row_results(const ctl_program *p) {
    static const ctl_operand none = {.buffer = UINT32_MAX};
    for (size_t i = 0; i < p->noutputs; i++)
        if (strcmp(p->outputs[i].name, "row results") == 0) return &p->outputs[i].evaluate;
    return &none;
}

/* ---- batches ---- */
typedef struct evaluator {
    ctl_session *s;
    const ctl_evaluate_options *o;
    ctl_batch batch;
    double *results; /* [rows * 2]: loss and class of every label's row; NULL where the program does not tell */
    size_t nresults;
    double sum;
    int64_t hits, bytes;
} evaluator;

/* What each row tells: labels are the batch's tokens, or its sequences' classes. */
static ctl_status count_rows(evaluator *e) {
    const ctl_batch *b = &e->batch;
    const size_t rows = e->nresults / 2;
    const bool classes = ctl_loader_packing(e->o->held_out)->classify;
    const int32_t *labels = classes ? b->classes : b->labels;
    const size_t each = classes ? (size_t)b->rows / rows : 1; /* rows of a label */
    ctl_status status = ctl_session_output(e->s, "row results", true, e->results, e->nresults);
    for (size_t t = 0; t < rows && status == CTL_OK; t++) {
        if (labels[t] == CTL_NO_LABEL) continue;
        e->hits += e->results[2 * t + 1] == labels[t];
        const int32_t document = b->document[t * each];
        if (!e->o->document_loss || document < 0) continue;
        e->o->document_loss[document] += e->results[2 * t];
        e->o->document_counted[document]++;
    }
    return status;
}

static ctl_status one_batch(evaluator *e) {
    const ctl_batch *b = &e->batch;
    double loss;
    ctl_session_set_step(e->s, 0, 0, 1.0 / (double)b->counted);
    ctl_status status = ctl_feed(e->s, b);
    if (status == CTL_OK) status = ctl_session_evaluate(e->s);
    if (status == CTL_OK) status = ctl_session_output(e->s, "loss", true, &loss, 1);
    if (status == CTL_OK && e->results) status = count_rows(e);
    if (status != CTL_OK) return status;
    if (!isfinite(loss)) {
        char what[96];
        ctl_origin found = {0};
        snprintf(what, sizeof what, "the held-out loss is not finite (%g)", isnan(loss) ? NAN : loss);
        const bool param = ctl_session_find_bad_param(e->s, &found);
        if (!param) (void)ctl_session_find_bad_value(e->s, RUN_EVALUATE, &found);
        ctl_say_diverged(e->o->voice, e->s->program, what, param, &found);
        return CTL_ERR_NUMERIC;
    }
    e->sum += loss * (double)b->counted;
    return CTL_OK;
}

static ctl_status all_batches(evaluator *e, ctl_evaluation *out) {
    const ctl_evaluate_options *o = e->o;
    ctl_status status = CTL_OK;
    (void)ctl_loader_go(o->held_out, (ctl_cursor){0}); /* the begin is always a place */
    for (int64_t n = 0; (o->most_batches == 0 || n < o->most_batches) && ctl_loader_next_in_epoch(o->held_out, &e->batch);
         n++) {
        if (e->batch.counted) status = one_batch(e);
        if (status == CTL_OK && o->progress)
            o->progress(o->ctx, ctl_loader_place(o->held_out).item, ctl_loader_items(o->held_out));
        if (status == CTL_OK && o->stop && o->stop(o->ctx)) status = CTL_INTERRUPTED;
        if (status != CTL_OK) return status;
        out->counted += e->batch.counted, e->bytes += e->batch.bytes;
    }
    if (out->counted) return CTL_OK;
    ctl_say(o->voice, CTL_ERROR, "E0604", NULL, "there is nothing to predict in the held-out data");
    return CTL_ERR_INPUT;
}

ctl_status ctl_train_evaluate(ctl_session *s, const ctl_program *program, const ctl_evaluate_options *o,
                              ctl_evaluation *out) {
    *out = (ctl_evaluation){.accuracy = -1};
    const double began = ctl_clock();
    const ctl_allocator *allocator = ctl_allocator_or_default(o->allocator);
    const ctl_operand *rows = ctl_program_row_results(program);
    evaluator e = {.s = s, .o = o};
    ctl_status status = ctl_program_takes(program, o->held_out, o->voice);
    if (status != CTL_OK) return status;
    status = ctl_batch_open_for(&e.batch, o->held_out, allocator);
    if (status == CTL_OK && rows->buffer != UINT32_MAX) {
        e.nresults = 2 * (size_t)rows->rows;
        e.results = ctl_alloc(allocator, e.nresults * sizeof *e.results);
        if (!e.results) status = CTL_ERR_MEMORY;
    }
    if (status == CTL_OK) status = all_batches(&e, out);
    ctl_free(allocator, e.results, e.nresults * sizeof *e.results);
    ctl_batch_close(&e.batch, allocator);
    if (status != CTL_OK) return status;
    out->loss = e.sum / (double)out->counted;
    out->perplexity = exp(out->loss);
    out->bits_per_byte = e.bytes ? e.sum / log(2.0) / (double)e.bytes : 0;
    if (e.nresults) out->accuracy = (double)e.hits / (double)out->counted;
    out->seconds = ctl_clock() - began;
    return CTL_OK;
}
