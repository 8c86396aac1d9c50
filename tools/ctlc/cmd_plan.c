/* ctlc plan: what a spec will take, known before anything runs: bytes by kind, the arena, the peak and where it is, what
 * keeping to less memory costs. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "tools/ctlc/account_report.h"
#include "tools/ctlc/memory_report.h"
#include "tools/ctlc/pareto.h"
#include "tools/ctlc/plan_compare.h"
#include "tools/ctlc/timeline.h"
#include "tools/ctlc/tool.h"

/* The compiler's plan, with points of its own. */
typedef struct plan_copy {
    ctlc_plan plan;
    ctlc_plan_point *points;
    bool failed;
} plan_copy;

static void take_plan(void *ctx, const ctlc_plan *plan) {
    plan_copy *to = ctx;
    to->plan = *plan;
    to->points = malloc((plan->npoints + 1) * sizeof *to->points);
    to->failed = !to->points;
    if (to->points && plan->npoints) memcpy(to->points, plan->points, plan->npoints * sizeof *to->points);
    to->plan.points = to->points;
}

static void row(const char *indent, const char *name, size_t bytes) {
    char text[32];
    const int width = 48 - (int)strlen(indent);
    if (bytes) printf("%s%-*s %12s\n", indent, width, name, tool_bytes((double)bytes, text));
}

static const char *run_name(int run) {
    static const char *const names[RUN_COUNT] = {[RUN_LOAD] = "load", [RUN_UPDATE] = "update", [RUN_FORWARD] = "forward",
                                                 [RUN_BACKWARD] = "backward", [RUN_EVALUATE] = "evaluate"};
    return names[run];
}

static void print_tokens(const ctl_program *p, int64_t split) {
    char a[32];
    int64_t tokens = p->tokens * split;
    if (p->sequence > 0 && split > 1)
        printf("%lld sequences of %lld tokens, %lld at a time", (long long)(tokens / p->sequence), (long long)p->sequence,
               (long long)(p->tokens / p->sequence));
    else if (p->sequence > 0)
        printf("%lld sequences of %lld tokens at a time", (long long)(tokens / p->sequence), (long long)p->sequence);
    else printf("%s tokens at a time", tool_count(tokens, a));
}

/* ---- what other budgets cost ---- */
static void print_point(const ctlc_plan_point *p) {
    char a[32];
    printf("  %12s  %+8.1f%%  ", tool_bytes((double)p->bytes, a), 100 * p->extra_work);
    if (p->split > 1) printf("%lld parts\n", (long long)p->split);
    else printf("whole\n");
}

static void print_points(const ctlc_plan *plan) {
    enum { SHOWN = 9 };
    const ctlc_plan_point *at = plan->points;
    size_t n = plan->npoints;
    if (n < 2) return;
    printf("other budgets: bytes, modelled time of a step over the fastest, batch\n");
    int64_t begin = at[0].bytes, range = at[n - 1].bytes - begin;
    print_point(&at[0]);
    for (size_t k = 1, mark = 1; k + 1 < n; k++) {
        /* Near the least, where time falls fastest, marks lie closer. */
        int64_t next = begin + (int64_t)((double)range * (double)(mark * mark) / (SHOWN * SHOWN));
        if (at[k].bytes < next) continue;
        print_point(&at[k]);
        while (mark < SHOWN && begin + (int64_t)((double)range * (double)(mark * mark) / (SHOWN * SHOWN)) <= at[k].bytes) mark++;
    }
    print_point(&at[n - 1]);
}

/* Tokens of one sequence that the least plan would have room for, in proportion. */
static void print_fit(const ctl_program *p, const ctlc_plan *plan) {
    if (plan->budget <= 0 || plan->npoints == 0) return;
    const ctlc_plan_point *least = &plan->points[0];
    int64_t room = plan->budget - plan->withheld - plan->fixed, taken = least->bytes - plan->fixed;
    int64_t tokens = p->tokens * plan->split / least->split;
    char a[32];
    if (taken <= 0 || room <= 0) return;
    printf("at the least, about %s tokens at a time would fit\n", tool_count((int64_t)((double)tokens * (double)room / (double)taken), a));
}

static void print_planned(const ctl_program *p, const memory_report *m, const ctlc_plan *plan) {
    char a[32], b[32];
    printf("most is alive in %s, at %s; the arena is %.4f times that\n", run_name(m->where_run), m->where,
           m->step_live ? (double)m->arena / (double)m->step_live : 1.0);
    printf("extra work %.2f%% (%.3g of %.3g floating-point operations are repeated); a step takes %s, %s for %s\n",
           100 * plan->extra_work, plan->extra_flops, plan->flops, tool_seconds(plan->step_seconds, a),
           plan->measured ? "by rates measured" : "modelled", plan->machine);
    if (plan->npoints && !plan->is_chain)
        printf("more than one value lies between segments: the least is that of these cuts, maybe not of all\n");
    print_points(plan);
    print_fit(p, plan);
    size_t ntasks = 0;
    for (int r = 0; r < RUN_COUNT; r++) ntasks += p->run[r].n;
    printf("%zu tasks, %zu kernels, %d threads", ntasks, p->nkernels, p->threads);
    if (plan->npoints)
        printf("; all budgets of %lld segments found in %s, measured in %s", (long long)plan->segments,
               tool_seconds(plan->solve_seconds, a), tool_seconds(plan->measure_seconds, b));
    printf("\n");
}

static void print_text(const char *spec, const ctl_program *p, const memory_report *m, const ctlc_plan *plan) {
    char a[32], b[32];
    printf("%s: %s parameters, %s trained; ", spec, tool_count(m->parameters, a), tool_count(m->trained, b));
    print_tokens(p, plan->split);
    printf(", %s\n", ctl_dtype_name(p->compute));
    for (int u = 0; u < USE_SAVED; u++) row("  ", memory_use_name(u), m->by_use[u]);
    row("  ", "arena of a step; alive when most is:", m->arena);
    for (int u = USE_SAVED; u < USE_COUNT; u++) row("    ", memory_use_name(u), m->by_use[u]);
    row("  ", "peak, all in all", m->total);
    if (plan->budget > 0) {
        printf("  %-46s %12s", "memory there is", tool_bytes((double)plan->budget, a));
        if (plan->withheld)
            printf(", of which a program gets %s", tool_bytes((double)(plan->budget - plan->withheld), b));
        printf("\n");
    }
    row("  ", "no plan takes less than", (size_t)plan->lower_bound);
    if (plan->machine) print_planned(p, m, plan);
    else printf("the reference executor keeps every value of a step and plans nothing: --engine cpu tells budgets and times\n");
}

static void print_json(const ctl_program *p, const memory_report *m, const ctlc_plan *plan) {
    printf("{\"parameters\": %lld, \"trained\": %lld, \"tokens\": %lld, \"sequence\": %lld, \"compute\": "
           "\"%s\", \"bytes\": {",
           (long long)m->parameters, (long long)m->trained, (long long)p->tokens, (long long)p->sequence,
           ctl_dtype_name(p->compute));
    for (int u = 0; u < USE_COUNT; u++) printf("\"%s\": %zu, ", memory_use_key(u), m->by_use[u]);
    printf("\"arena\": %zu, \"alive\": %zu, \"constant\": %zu, \"persistent\": %zu, \"peak\": %zu}, ", m->arena, m->step_live,
           p->region_bytes[REGION_CONSTANT], p->region_bytes[REGION_PERSISTENT], m->total);
    const char *quote = plan->machine ? "\"" : "";
    printf("\"peak_bytes\": %lld, \"budget\": %lld, \"withheld\": %lld, \"lower_bound\": %lld, \"split\": %lld, "
           "\"extra_work\": %.6f, \"step_seconds\": %.9g, \"flops\": %.9g, \"extra_flops\": %.9g, \"machine\": %s%s%s, "
           "\"measured\": %s, \"is_chain\": %s, \"segments\": %lld, \"solve_seconds\": %.6f, \"measure_seconds\": %.6f, \"points\": [",
           (long long)plan->peak, (long long)plan->budget, (long long)plan->withheld, (long long)plan->lower_bound,
           (long long)plan->split, plan->extra_work, plan->step_seconds, plan->flops, plan->extra_flops, quote,
           plan->machine ? plan->machine : "null", quote, plan->measured ? "true" : "false", plan->is_chain ? "true" : "false", (long long)plan->segments,
           plan->solve_seconds, plan->measure_seconds);
    for (size_t k = 0; k < plan->npoints; k++)
        printf("%s{\"bytes\": %lld, \"extra_work\": %.6f, \"split\": %lld}", k ? ", " : "", (long long)plan->points[k].bytes,
               plan->points[k].extra_work, (long long)plan->points[k].split);
    printf("]}\n");
}

int cmd_plan(int argc, char **argv) {
    tool_speaker speaker = {0};
    plan_copy copy = {.plan.split = 1}; /* what is not planned goes through as a whole */
    tool_compile c = {.may_split = true, .points = true, .plan_only = true, .plan = take_plan, .plan_ctx = &copy};
    bool json = false;
    const char *as = NULL, *compare = NULL, *timeline = NULL, *pareto = NULL;
    const option options[] = {
        {"json", NULL, OPT_FLAG, &json, "one JSON object on standard output"},
        {"as", "RULES", OPT_TEXT, &as, "what a framework would store instead: autograd, or a file of rules"},
        {"compare", "A,B,..", OPT_TEXT, &compare, "several tune blocks in one table, ours and autograd's"},
        {"timeline", "FILE.svg", OPT_TEXT, &timeline, "draw the bytes alive over a step, by kind"},
        {"pareto", "FILE", OPT_TEXT, &pareto, "what every budget costs: a chart (.svg) or a table (.json)"},
        TOOL_COMPILE_OPTIONS(&c),
    };
    command_line line = {
        .command = "plan",
        .about = "Plans a spec and prints the memory that a session of it takes, to the byte, and what more or less\n"
                 "memory would mean: nothing is run and no weights are read. A step that does not fit is made to: its\n"
                 "batch goes through in parts, and values are dropped and computed again, whichever costs least. Gradients\n"
                 "are the same bits for one number of parts.\n",
        .examples = "  ctlc plan my.ctl\n"
                    "  ctlc plan my.ctl --memory 24GiB --machine rtx3090\n"
                    "  ctlc plan my.ctl --memory min --set tokens=1x16384\n"
                    "  ctlc plan my.ctl --set tokens=8x512 --set lora.rank=8 --json\n"
                    "  ctlc plan my.ctl --as autograd                     # what PyTorch and PEFT would store\n"
                    "  ctlc plan my.ctl --compare lora,double             # two tune blocks side by side\n"
                    "  ctlc plan my.ctl --timeline step.svg --pareto budgets.svg\n",
        .options = options,
        .noptions = CTL_COUNT(options),
        .operand_name = "SPEC.ctl",
        .most_operands = 1,
    };
    int code = options_parse(&line, argc, argv);
    if (code) return code < 0 ? EXIT_DONE : code;
    /* What a card runs has the CUDA engine's tasks and workspaces; to plan it no GPU is needed. */
    if (c.machine && strcmp(c.machine, "cpu") != 0 && !c.engine) c.engine = "cuda";
    if (pareto && (code = plan_pareto_check(pareto))) return code;
    if (compare) return plan_compare(line.operands.at[0], &c, compare, json);
    if (as) return account_report(line.operands.at[0], &c, as, json);
    ctl_program *program;
    code = tool_compile_spec("plan", line.operands.at[0], &c, &speaker, &program);
    if (code) return code;
    memory_report m;
    const bool made = memory_report_make(program, &m) && !copy.failed;
    if (!made)
        fprintf(stderr, "ctlc plan: no memory\n");
    else if (json)
        print_json(program, &m, &copy.plan);
    else
        print_text(line.operands.at[0], program, &m, &copy.plan);
    code = made ? EXIT_DONE : EXIT_MEMORY;
    if (made && timeline) code = plan_timeline(timeline, line.operands.at[0], program);
    if (code == EXIT_DONE && pareto) code = plan_pareto(pareto, line.operands.at[0], &copy.plan);
    free(copy.points);
    ctl_program_free(program);
    return code;
}
