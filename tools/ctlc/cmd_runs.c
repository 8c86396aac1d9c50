/* ctlc runs: a table of finished runs, side by side. */
#include <stdlib.h>
#include <string.h>
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

static const char *share(double value, char *buf) {
    if (value < 0)
        snprintf(buf, 32, "%9s", "-");
    else
        snprintf(buf, 32, "%8.1f%%", 100 * value);
    return buf;
}

/* Where data are no bytes - classes, images, tokens - accuracy says more than the loss: then it has a column.
 */
static bool wants_accuracy(const run_result *r) {
    return r->accuracy_after >= 0 && r->bits_after == 0;
}

/* A run has its tune block's name, or its spec's, unless told another: of several with one name the folders tell. */
static const char *label(const run_result *runs, const char *const *folders, size_t n, size_t i, char *buf, size_t size) {
    for (size_t k = 0; k < n; k++) {
        if (k == i || strcmp(runs[k].name, runs[i].name) != 0) continue;
        snprintf(buf, size, "%s (%s)", runs[i].name, folders[i]);
        return buf;
    }
    return runs[i].name;
}

static void print_table(const run_result *runs, const char *const *folders, size_t n) {
    bool accuracy = false;
    char t[8][32], name[256];
    for (size_t i = 0; i < n; i++) accuracy |= wants_accuracy(&runs[i]);
    if (n)
        printf("%-24s %9s %9s%s %12s %11s %11s %11s %9s\n", "run", "before", "after",
               accuracy ? "  accuracy" : "", "trained", "planned", "allocated", "resident", "step");
    for (size_t i = 0; i < n; i++) {
        const run_result *r = &runs[i];
        snprintf(t[7], sizeof t[7], "%.0f ms", 1e3 * r->step_seconds);
        printf("%-24s %9s %9s%s%s %12s %11s %11s %11s %9s\n",
               label(runs, folders, n, i, name, sizeof name), loss(r->loss_before, t[0]),
               loss(r->loss_after, t[1]), accuracy ? " " : "", accuracy ? share(r->accuracy_after, t[2]) : "",
               tool_count(r->trained, t[3]), tool_bytes((double)r->planned, t[4]),
               tool_bytes((double)r->allocated, t[5]), tool_bytes((double)r->resident, t[6]), t[7]);
    }
}

int cmd_runs(int argc, char **argv) {
    tool_speaker speaker = {0};
    command_line line = {
        .command = "runs",
        .about =
            "Prints one row for each run: held-out loss before and after (nats a token, or a document where "
            "classes are\n"
            "learnt), accuracy after where the data are no bytes, trained parameters, bytes planned, "
            "allocated by the session and resident "
            "at most in\n"
            "the process, time of a step.\n",
        .examples = "  ctlc runs build/demo/*\n",
        .operand_name = "DIR...",
        .most_operands = MOST_LIST,
    };
    int code = options_parse(&line, argc, argv);
    if (code) return code < 0 ? EXIT_DONE : code;
    run_result *runs = calloc(line.operands.n, sizeof *runs);
    const char *folders[MOST_LIST];
    size_t n = 0;
    if (!runs) return EXIT_MEMORY;
    for (size_t i = 0; i < line.operands.n; i++) {
        if (access(line.operands.at[i], F_OK) == 0 && !run_result_exists(line.operands.at[i])) {
            fprintf(stderr, "note: no finished run is in %s\n", line.operands.at[i]);
            continue;
        }
        ctl_status status =
            run_result_read(line.operands.at[i], &runs[n], (ctl_voice){tool_diagnostic, &speaker});
        if (status != CTL_OK) {
            tool_explain(&speaker, status);
            code = tool_exit_code(status);
        } else {
            folders[n++] = line.operands.at[i];
        }
    }
    print_table(runs, folders, n);
    free(runs);
    return code;
}
