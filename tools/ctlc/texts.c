/* texts: see texts.h. */
#include "tools/ctlc/texts.h"

#include "runtime/program.h"

static ctl_status read_all(const text_list *paths, ctl_voice voice, ctl_corpus *c) {
    for (size_t i = 0; i < paths->n; i++) {
        ctl_status status = ctl_corpus_read(c, paths->at[i], voice);
        if (status != CTL_OK) return status;
    }
    return CTL_OK;
}

ctl_status tool_data_read(const tool_data *d, uint64_t seed, ctl_voice voice, ctl_corpus *data,
                          ctl_corpus *held_out) {
    ctl_corpus_init(data, NULL);
    ctl_corpus_init(held_out, NULL);
    ctl_status status = read_all(&d->data, voice, data);
    if (status == CTL_OK) status = read_all(&d->eval_data, voice, held_out);
    if (status == CTL_OK && d->eval_data.n == 0 && d->eval_fraction > 0)
        status = ctl_corpus_split(data, d->eval_fraction, seed, held_out);
    return status;
}

ctl_status tool_weights_load(ctl_session *s, const ctl_program *program, const text_list *weights,
                             const char *adapter) {
    ctl_weights_report report = {0};
    ctl_status status = CTL_OK;
    if (weights->n) {
        status = ctl_session_load_weights(s, weights->at, weights->n, &report);
        if (status == CTL_OK && report.unused)
            fprintf(stderr, "weights: %zu tensors read, %zu of the files are not in the model\n",
                    report.loaded, report.unused);
    }
    for (size_t i = 0; weights->n == 0 && i < program->nparams; i++) {
        if (program->params[i].trained || program->params[i].made_by_control) continue;
        fprintf(stderr, "note: the frozen weights are random numbers: --weights names their files\n");
        break;
    }
    if (status == CTL_OK && adapter) status = ctl_session_load_adapter(s, adapter);
    return status == CTL_OK ? ctl_session_load(s) : status;
}
