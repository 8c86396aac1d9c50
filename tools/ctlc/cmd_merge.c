/* ctlc merge: a checkpoint that does alone what a checkpoint and an adapter do together. */
#include "base/base.h"
#include "runtime/merge.h"
#include "tools/ctlc/progress.h"
#include "tools/ctlc/tool.h"

#include <unistd.h>

typedef struct merging {
    tool_speaker speaker;
    progress progress;
} merging;

static void said(void *ctx, const ctl_diagnostic *d) {
    merging *m = ctx;
    progress_end(&m->progress);
    tool_diagnostic(&m->speaker, d);
}
static void merged(void *ctx, size_t tensors, size_t of) {
    progress_share(&((merging *)ctx)->progress, "merging", (int64_t)tensors, (int64_t)of);
}

int cmd_merge(int argc, char **argv) {
    merging m = {.progress = {.to = stderr, .terminal = isatty(STDERR_FILENO) == 1}};
    tool_compile c = {.engine = "reference"}; /* no machine code is needed */
    const char *weights = NULL, *adapter = NULL, *out = NULL;
    const option options[] = {
        {"weights", "PATH", OPT_TEXT, &weights, "the checkpoint: its folder"},
        {"adapter", "DIR", OPT_TEXT, &adapter, "the adapter: a run's folder, a checkpoint's, or PEFT's (LoRA, DoRA, (IA)^3)"},
        {"o", "OUT", OPT_TEXT, &out, "the folder for the merged checkpoint"},
        {"tune", "NAME", OPT_TEXT, &c.tune, "which tune block, where the spec has several"},
        {"set", "KEY=VALUE", OPT_LIST, &c.set, "override a setting or a parameter, as for the run"},
    };
    command_line line = {
        .command = "merge",
        .about = "Writes a checkpoint that does alone what the checkpoint and the adapter do together: the "
                 "same names, types and\n"
                 "shards, with config.json and the tokenizer's files. Any control that is linear in what a "
                 "product with a weight\n"
                 "reads, and lands in its result, can be merged: LoRA, DoRA, VeRA, scales behind or before a "
                 "projection, edges beside\n"
                 "one. For the others the reason is said. Heads that were trained go along.\n",
        .examples = "  ctlc merge my.ctl --weights models/llama --adapter notes -o merged\n",
        .options = options,
        .noptions = CTL_COUNT(options),
        .operand_name = "SPEC.ctl",
        .most_operands = 1,
    };
    int code = options_parse(&line, argc, argv);
    if (code) return code < 0 ? EXIT_DONE : code;
    const char *missing = !weights ? "--weights" : !adapter ? "--adapter" : !out ? "-o" : NULL;
    if (missing) {
        fprintf(stderr, "ctlc merge: %s is missing\nctlc merge --help tells all\n", missing);
        return EXIT_USAGE;
    }
    ctl_program *program;
    code = tool_compile_spec("merge", line.operands.at[0], &c, &m.speaker, &program);
    if (code) return code;
    const ctl_place place = {{said, &m}, &ctl_malloc_allocator};
    const ctl_merge_watch watch = {merged, &m};
    ctl_merge_report report;
    ctl_status status = ctl_merge(program, weights, adapter, out, place, &watch, &report);
    progress_end(&m.progress);
    ctl_program_free(program);
    if (status != CTL_OK)
        tool_explain(&m.speaker, status);
    else
        fprintf(stderr, "%s: %zu tensors changed, %zu added, %zu as they were\n", out, report.changed,
                report.added, report.copied);
    return tool_exit_code(status);
}
