/* ctlc check: elaborates a spec and says what is wrong with it; nothing is planned or emitted, unless passes behind
 * that are asked about. */
#include "base/base.h"
#include "tools/ctlc/tool.h"

int cmd_check(int argc, char **argv) {
    tool_speaker speaker = {0};
    tool_compile c = {.check_only = true};
    const option options[] = {
        {"json", NULL, OPT_FLAG, &speaker.json, "one object a diagnostic on standard output, for tools"},
        TOOL_COMPILE_OPTIONS(&c),
    };
    command_line line = {
        .command = "check",
        .about =
            "Says what is wrong with a spec: each message with its place, the line, and often the remedy.\n"
            "Exit code 1 when there is an error. With --verify, --dump or --time-passes the spec goes through all\n"
            "passes, as in `ctlc plan`, which also tells whether its memory suffices.\n",
        .examples = "  ctlc check my.ctl\n"
                    "  ctlc check my.ctl --json          # code, file, line, column, message, hint\n"
                    "  ctlc check my.ctl --tune big --dump after:elaborate\n",
        .options = options,
        .noptions = CTL_COUNT(options),
        .operand_name = "SPEC.ctl",
        .most_operands = 1,
    };
    int code = options_parse(&line, argc, argv);
    if (code) return code < 0 ? EXIT_DONE : code;
    ctl_program *program;
    if (c.dump || c.verify || c.time_passes) c.check_only = false; /* those passes lie behind what checking needs */
    code = tool_compile_spec("check", line.operands.at[0], &c, &speaker, &program);
    ctl_program_free(program);
    if (code == EXIT_DONE && !speaker.json) printf("%s: no errors\n", line.operands.at[0]);
    return code;
}
