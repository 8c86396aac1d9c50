/* load_weights: see load_weights.h. */
#include "tools/ctlc/load_weights.h"

#include <stdio.h>

#include "runtime/program.h"

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
