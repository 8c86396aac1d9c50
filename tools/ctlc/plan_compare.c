/* plan_compare: see plan_compare.h. Each block is compiled, and accounted for on the way. */
#include "tools/ctlc/plan_compare.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "tools/ctlc/account_report.h"
#include "tools/ctlc/memory_report.h"

enum { MOST_BLOCKS = 64, MOST_NAME = 128 };

typedef struct block {
    char name[MOST_NAME];
    memory_report memory;
    double extra_work; /* of the plan */
    int64_t split;
    ctlc_account account;
} block;

static void keep_plan(void *ctx, const ctlc_plan *plan) {
    block *b = ctx;
    b->extra_work = plan->extra_work, b->split = plan->split;
}

static int compile(const char *spec, const tool_compile *how, block *b) {
    account_copy *copy = calloc(1, sizeof *copy);
    tool_compile c = *how;
    tool_speaker speaker = {0};
    ctl_program *program;
    int code = EXIT_MEMORY;
    if (copy) {
        c.tune = b->name, c.account = account_keep, c.account_ctx = copy;
        c.plan = keep_plan, c.plan_ctx = b, c.points = false;
        code = tool_compile_spec("plan", spec, &c, &speaker, &program);
    }
    if (code == EXIT_DONE) {
        b->account = copy->is;
        if (!memory_report_make(program, &b->memory)) code = EXIT_MEMORY;
        ctl_program_free(program);
    }
    if (code == EXIT_MEMORY && !speaker.errors) fprintf(stderr, "ctlc plan: no memory\n");
    free(copy);
    return code;
}

static void print_text(const char *spec, const block *at, size_t n) {
    size_t width = 8;
    for (size_t k = 0; k < n; k++)
        if (strlen(at[k].name) > width) width = strlen(at[k].name);
    printf("%s: what each takes, and what a framework would (docs/accounting.md)\n", spec);
    printf("%-*s %13s %10s %12s %10s %6s %7s %13s %12s\n", (int)width, "block", "trained", "weights",
           "kept forward", "peak", "parts", "extra", "kept autograd", "all autograd");
    for (size_t k = 0; k < n; k++) {
        char a[32], b[32], c[32], d[32], e[32], f[32];
        const memory_report *m = &at[k].memory;
        printf("%-*s %13s %10s %12s %10s %6lld %6.1f%% %13s %12s\n", (int)width, at[k].name,
               tool_count(m->trained, a), tool_bytes((double)m->by_use[USE_WEIGHTS], b),
               tool_bytes((double)m->by_use[USE_SAVED], c), tool_bytes((double)m->total, d),
               (long long)at[k].split, 100 * at[k].extra_work, tool_bytes((double)at[k].account.saved, e),
               tool_bytes((double)at[k].account.total, f));
    }
}

static void print_json(const block *at, size_t n) {
    printf("{");
    for (size_t k = 0; k < n; k++)
        printf("%s\"%s\": {\"trained\": %lld, \"weights\": %zu, \"saved\": %zu, \"peak\": %zu, \"split\": "
               "%lld, \"extra_work\": %.6f, \"autograd\": "
               "{\"saved\": "
               "%llu, \"peak\": %llu}}",
               k ? ", " : "", at[k].name, (long long)at[k].memory.trained, at[k].memory.by_use[USE_WEIGHTS],
               at[k].memory.by_use[USE_SAVED], at[k].memory.total, (long long)at[k].split, at[k].extra_work,
               (unsigned long long)at[k].account.saved, (unsigned long long)at[k].account.total);
    printf("}\n");
}

int plan_compare(const char *spec, const tool_compile *how, const char *blocks, bool json) {
    block *at = calloc(MOST_BLOCKS, sizeof *at);
    size_t n = 0;
    int code = at ? EXIT_DONE : EXIT_MEMORY;
    if (!at) fprintf(stderr, "ctlc plan: no memory\n");
    for (const char *from = blocks; !code && from;) {
        const char *comma = strchr(from, ',');
        const size_t length = comma ? (size_t)(comma - from) : strlen(from);
        if (length == 0 || length >= MOST_NAME || n == MOST_BLOCKS) {
            fprintf(
                stderr,
                "ctlc plan: --compare takes up to %d names of tune blocks with commas between, not \"%s\"\n",
                MOST_BLOCKS, blocks);
            code = EXIT_USAGE;
            break;
        }
        memcpy(at[n].name, from, length);
        code = compile(spec, how, &at[n++]);
        from = comma ? comma + 1 : NULL;
    }
    if (code == EXIT_DONE && json)
        print_json(at, n);
    else if (code == EXIT_DONE)
        print_text(spec, at, n);
    free(at);
    return code;
}
