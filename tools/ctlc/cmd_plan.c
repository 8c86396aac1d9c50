/* ctlc plan: what a spec will take, known before anything runs: bytes by kind, the arena, the peak. */
#include <string.h>

#include "base/base.h"
#include "tools/ctlc/account_report.h"
#include "tools/ctlc/memory_report.h"
#include "tools/ctlc/tool.h"

static void row(const char *indent, const char *name, size_t bytes) {
    char text[32];
    const int width = 48 - (int)strlen(indent);
    if (bytes) printf("%s%-*s %12s\n", indent, width, name, tool_bytes((double)bytes, text));
}

static void print_text(const char *spec, const ctl_program *p, const memory_report *m) {
    char a[32], b[32];
    printf("%s: %s parameters, %s trained; %lld tokens a micro-step, %s\n", spec,
           tool_count(m->parameters, a), tool_count(m->trained, b), (long long)p->tokens,
           ctl_dtype_name(p->compute));
    for (int u = 0; u < USE_SAVED; u++) row("  ", memory_use_name(u), m->by_use[u]);
    row("  ", "arena of a step; alive when most is:", m->arena);
    for (int u = USE_SAVED; u < USE_COUNT; u++) row("    ", memory_use_name(u), m->by_use[u]);
    row("  ", "peak, all in all", m->total);
    size_t ntasks = 0;
    for (int r = 0; r < RUN_COUNT; r++) ntasks += p->run[r].n;
    printf("%zu tasks, %zu kernels, %d threads\n", ntasks, p->nkernels, p->threads);
}

static void print_json(const ctl_program *p, const memory_report *m) {
    printf("{\"parameters\": %lld, \"trained\": %lld, \"tokens\": %lld, \"sequence\": %lld, \"compute\": "
           "\"%s\", \"bytes\": {",
           (long long)m->parameters, (long long)m->trained, (long long)p->tokens, (long long)p->sequence,
           ctl_dtype_name(p->compute));
    for (int u = 0; u < USE_COUNT; u++) printf("\"%s\": %zu, ", memory_use_key(u), m->by_use[u]);
    printf("\"arena\": %zu, \"constant\": %zu, \"persistent\": %zu, \"peak\": %zu}}\n", m->arena,
           p->region_bytes[REGION_CONSTANT], p->region_bytes[REGION_PERSISTENT], m->total);
}

int cmd_plan(int argc, char **argv) {
    tool_speaker speaker = {0};
    tool_compile c = {0};
    bool json = false;
    const char *as = NULL;
    const option options[] = {
        {"json", NULL, OPT_FLAG, &json, "one JSON object on standard output"},
        {"as", "RULES", OPT_TEXT, &as, "what a framework would store instead: autograd, or a file of rules"},
        TOOL_COMPILE_OPTIONS(&c),
    };
    command_line line = {
        .command = "plan",
        .about = "Compiles a spec and prints the memory that a session of it takes, to the byte: nothing is "
                 "run and no\n"
                 "weights are read.\n",
        .examples = "  ctlc plan my.ctl\n"
                    "  ctlc plan my.ctl --set tokens=8x512 --set lora.rank=8\n"
                    "  ctlc plan my.ctl --json\n"
                    "  ctlc plan my.ctl --as autograd                     # what PyTorch and PEFT would store\n",
        .options = options,
        .noptions = CTL_COUNT(options),
        .operand_name = "SPEC.ctl",
        .most_operands = 1,
    };
    int code = options_parse(&line, argc, argv);
    if (code) return code < 0 ? EXIT_DONE : code;
    if (as) return account_report(line.operands.at[0], &c, as, json);
    ctl_program *program;
    code = tool_compile_spec("plan", line.operands.at[0], &c, &speaker, &program);
    if (code) return code;
    memory_report m;
    const bool made = memory_report_make(program, &m);
    if (!made)
        fprintf(stderr, "ctlc plan: no memory\n");
    else if (json)
        print_json(program, &m);
    else
        print_text(line.operands.at[0], program, &m);
    ctl_program_free(program);
    return made ? EXIT_DONE : EXIT_MEMORY;
}
