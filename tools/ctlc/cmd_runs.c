/* ctlc runs: a table of finished runs, side by side. */
#include <unistd.h>

#include "base/base.h"
#include "tools/ctlc/run_result.h"
#include "tools/ctlc/tool.h"

static const char *loss(double value, char *buf) {
    if (value < 0)
        snprintf(buf, 32, "-");
    else
        snprintf(buf, 32, "%.4f", value);
    return buf;
}

int cmd_runs(int argc, char **argv) {
    tool_speaker speaker = {0};
    command_line line = {
        .command = "runs",
        .about = "Prints one row for each run: held-out loss before and after (nats a token), trained "
                 "parameters, bytes\n"
                 "planned, allocated by the session and resident at most in the process, time of a step.\n",
        .examples = "  ctlc runs build/demo/*\n",
        .operand_name = "DIR...",
        .most_operands = MOST_LIST,
    };
    int code = options_parse(&line, argc, argv);
    if (code) return code < 0 ? EXIT_DONE : code;
    printf("%-24s %9s %9s %12s %11s %11s %11s %9s\n", "run", "before", "after", "trained", "planned",
           "allocated", "resident", "step");
    for (size_t i = 0; i < line.operands.n; i++) {
        run_result r;
        char t[7][32];
        if (access(line.operands.at[i], F_OK) == 0 && !run_result_exists(line.operands.at[i])) {
            fprintf(stderr, "note: no finished run is in %s\n", line.operands.at[i]);
            continue;
        }
        ctl_status status = run_result_read(line.operands.at[i], &r, (ctl_voice){tool_diagnostic, &speaker});
        if (status != CTL_OK) {
            tool_explain(&speaker, status);
            code = tool_exit_code(status);
            continue;
        }
        snprintf(t[6], sizeof t[6], "%.0f ms", 1e3 * r.step_seconds);
        printf("%-24s %9s %9s %12s %11s %11s %11s %9s\n", r.name, loss(r.loss_before, t[0]),
               loss(r.loss_after, t[1]), tool_count(r.trained, t[2]), tool_bytes((double)r.planned, t[3]),
               tool_bytes((double)r.allocated, t[4]), tool_bytes((double)r.resident, t[5]), t[6]);
    }
    return code;
}
