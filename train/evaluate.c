/* evaluate: the mean loss over held-out text, and what makes a program one for texts. */
#include <math.h>

#include "runtime/program.h"
#include "train/feed.h"
#include "train/loop.h"

static bool is_id_column(const ctl_program *p, const char *name) {
    for (size_t i = 0; i < p->ninputs; i++)
        if (strcmp(p->inputs[i].name, name) == 0)
            return p->inputs[i].value.dtype == CTL_I32 && p->inputs[i].value.cols == 1 &&
                   p->inputs[i].value.rows == p->tokens;
    return false;
}

static bool has_loss(const ctl_program *p) {
    for (size_t i = 0; i < p->noutputs; i++)
        if (strcmp(p->outputs[i].name, "loss") == 0) return true;
    return false;
}

ctl_status ctl_train_accepts(const ctl_program *p, ctl_voice voice) {
    const char *missing = !is_id_column(p, "ids")      ? "no id input `ids` with one row a token"
                          : !is_id_column(p, "labels") ? "no id input `labels` with one row a token"
                          : !has_loss(p)               ? "no output `loss`"
                                                       : NULL;
    if (!missing) return CTL_OK;
    ctl_say(voice, CTL_ERROR, "E0605",
            "texts train nets such as llama.causal_lm(ids: id, labels: id) -> logits, loss",
            "the model has %s", missing);
    return CTL_ERR_INPUT;
}

/* One batch; *sum grows by the sum of its losses. */
static ctl_status one_batch(ctl_session *s, const ctl_batch *b, ctl_voice voice, double *sum) {
    double loss;
    ctl_session_set_step(s, 0, 0, 1.0 / (double)b->counted);
    ctl_status status = ctl_feed(s, b);
    if (status == CTL_OK) status = ctl_session_evaluate(s);
    if (status == CTL_OK) status = ctl_session_output(s, "loss", true, &loss, 1);
    if (status != CTL_OK) return status;
    if (!isfinite(loss)) {
        ctl_say(voice, CTL_ERROR, "E0608", NULL, "the held-out loss is not finite (%g)", loss);
        return CTL_ERR_NUMERIC;
    }
    *sum += loss * (double)b->counted;
    return CTL_OK;
}

ctl_status ctl_train_evaluate(ctl_session *s, const ctl_program *program, const ctl_evaluate_options *o,
                              ctl_evaluation *out) {
    *out = (ctl_evaluation){0};
    const double began = ctl_clock();
    ctl_batch b;
    ctl_status status = ctl_batch_open(&b, program->tokens, o->allocator);
    if (status != CTL_OK) return status;
    double sum = 0;
    int64_t bytes = 0;
    (void)ctl_loader_go(o->held_out, (ctl_cursor){0}); /* the begin is always a place */
    for (int64_t n = 0;
         (o->most_batches == 0 || n < o->most_batches) && ctl_loader_next_in_epoch(o->held_out, &b); n++) {
        if (b.counted) status = one_batch(s, &b, o->voice, &sum);
        if (status == CTL_OK && o->stop && o->stop(o->ctx)) status = CTL_INTERRUPTED;
        if (status != CTL_OK) break;
        out->counted += b.counted, bytes += b.bytes;
    }
    ctl_batch_close(&b, o->allocator);
    if (status == CTL_OK && out->counted == 0) {
        ctl_say(o->voice, CTL_ERROR, "E0604", NULL, "there is nothing to predict in the held-out data");
        status = CTL_ERR_INPUT;
    }
    if (status != CTL_OK) return status;
    out->loss = sum / (double)out->counted;
    out->perplexity = exp(out->loss);
    out->bits_per_byte = bytes ? sum / log(2.0) / (double)bytes : 0;
    out->seconds = ctl_clock() - began;
    return CTL_OK;
}
