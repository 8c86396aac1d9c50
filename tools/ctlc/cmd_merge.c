/* ctlc merge: a checkpoint that does alone what a checkpoint and an adapter do together. */
#include "base/base.h"
#include "runtime/merge.h"
#include "tools/ctlc/tool.h"

int cmd_merge(int argc, char **argv) {
    tool_speaker speaker = {0};
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
    code = tool_compile_spec("merge", line.operands.at[0], &c, &speaker, &program);
    if (code) return code;
    const ctl_place place = {{tool_diagnostic, &speaker}, &ctl_malloc_allocator};
    ctl_merge_report report;
    ctl_status status = ctl_merge(program, weights, adapter, out, place, &report);
    ctl_program_free(program);
    if (status != CTL_OK)
        tool_explain(&speaker, status);
    else
        fprintf(stderr, "%s: %zu tensors changed, %zu added, %zu as they were\n", out, report.changed,
                report.added, report.copied);
    return tool_exit_code(status);
}
