/* choices: see choices.h. Candidates are evaluated like any documents, each by itself, in the corpus' order; the sums of
 * their losses are all that is needed afterwards. */
#include "train/choices.h"

#include "train/feed.h"

typedef struct sums {
    double *loss;     /* [ndocs]: minus the log-likelihood */
    int64_t *counted; /* [ndocs] */
} sums;

/* The bytes of a candidate's text; its tokens, where nothing says the bytes. */
static double length_of(const ctl_corpus *c, size_t d, const sums *s) {
    const ctl_document *doc = &c->docs[d];
    const int64_t bytes = doc->from ? doc->text_bytes : (int64_t)(doc->size - doc->answer);
    return (double)(bytes > 0 ? bytes : s->counted[d]);
}

static void choose(const ctl_corpus *c, const sums *s, ctl_choice_result *out, size_t *picked) {
    double chance = 0;
    for (size_t k = 0; k < c->nitems; k++) {
        const ctl_item *item = &c->items[k];
        size_t best = 0, best_each = 0;
        for (size_t j = 1; j < item->count; j++) {
            const size_t d = item->first + j, b = item->first + best, e = item->first + best_each;
            if (s->loss[d] < s->loss[b]) best = j;
            if (s->loss[d] / length_of(c, d, s) < s->loss[e] / length_of(c, e, s)) best_each = j;
        }
        out->right += best == item->right;
        out->right_normalised += best_each == item->right;
        chance += 1.0 / (double)item->count;
        if (picked) picked[k] = best;
    }
    out->chance = chance / (double)c->nitems;
}

/* A candidate of which nothing was counted has no likelihood to compare. */
static ctl_status check(const ctl_corpus *c, const sums *s, ctl_voice voice) {
    for (size_t k = 0; k < c->nitems; k++) {
        for (size_t j = 0; j < c->items[k].count; j++) {
            if (s->counted[c->items[k].first + j]) continue;
            ctl_say(voice, CTL_ERROR, "E0614", "a loss_mask of 1 marks a candidate's tokens behind its prompt",
                    "item %zu: of candidate %zu nothing counts", k + 1, j + 1);
            return CTL_ERR_INPUT;
        }
    }
    return CTL_OK;
}

static ctl_status evaluate(ctl_session *session, const ctl_program *program, const ctl_corpus *c,
                           const ctl_evaluate_options *given, sums *s, ctl_choice_result *out) {
    const ctl_packing packing = {
        .rows = program->tokens, .sequence = program->sequence, .loss_on_output = true, .whole = true, .keep_end = true};
    ctl_loader *loader;
    ctl_status status = ctl_loader_open(c, &packing, given->allocator, given->voice, &loader);
    if (status != CTL_OK) return status;
    ctl_evaluate_options o = *given;
    o.held_out = loader, o.most_batches = 0, o.document_loss = s->loss, o.document_counted = s->counted;
    ctl_evaluation e;
    status = ctl_train_evaluate(session, program, &o, &e);
    out->cut = ctl_loader_too_long(loader);
    ctl_loader_close(loader);
    return status == CTL_OK ? check(c, s, given->voice) : status;
}

ctl_status ctl_choices_evaluate(ctl_session *session, const ctl_program *program, const ctl_corpus *corpus,
                                const ctl_evaluate_options *o, ctl_choice_result *out, size_t *picked) {
    const double began = ctl_clock();
    *out = (ctl_choice_result){.items = (int64_t)corpus->nitems, .candidates = (int64_t)corpus->ndocs};
    ctl_data_kind kind;
    ctl_status status = ctl_program_data(program, o->voice, &kind);
    if (status != CTL_OK) return status;
    if (kind != CTL_DATA_TOKENS || ctl_program_row_results(program)->buffer == UINT32_MAX) {
        ctl_say(o->voice, CTL_ERROR, "E0605", "its loss must be the cross-entropy of the next token",
                "the model gives no likelihoods of texts, which multiple choice goes by");
        return CTL_ERR_INPUT;
    }
    if (corpus->nitems == 0) {
        ctl_say(o->voice, CTL_ERROR, "E0614", NULL, "there is no item of multiple choice in the data");
        return CTL_ERR_INPUT;
    }
    status = ctl_corpus_fits(corpus, false, program, o->voice);
    if (status != CTL_OK) return status;
    const ctl_allocator *a = ctl_allocator_or_default(o->allocator);
    sums s = {ctl_alloc(a, corpus->ndocs * sizeof *s.loss), ctl_alloc(a, corpus->ndocs * sizeof *s.counted)};
    status = s.loss && s.counted ? evaluate(session, program, corpus, o, &s, out) : CTL_ERR_MEMORY;
    if (status == CTL_OK) choose(corpus, &s, out, picked);
    ctl_free(a, s.loss, corpus->ndocs * sizeof *s.loss);
    ctl_free(a, s.counted, corpus->ndocs * sizeof *s.counted);
    out->seconds = ctl_clock() - began;
    return status;
}
