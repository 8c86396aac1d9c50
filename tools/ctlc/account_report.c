/* account_report: see account_report.h. */
#include "tools/ctlc/account_report.h"

#include <string.h>

void account_keep(void *ctx, const ctlc_account *account) {
    account_copy *c = ctx;
    if (c->is.tokens > account->tokens)
        return; /* of the whole batch, not of the parts that a plan makes of it */
    c->is = *account;
    if (c->is.nlines > ACCOUNT_LINES) c->is.nlines = ACCOUNT_LINES;
    for (size_t k = 0; k < c->is.nlines; k++) {
        c->lines[k] = account->lines[k];
        snprintf(c->names[k], sizeof c->names[k], "%s", account->lines[k].name);
        c->lines[k].name = c->names[k];
    }
    c->is.lines = c->lines;
}

static void row(const char *indent, const char *name, uint64_t bytes) {
    char text[32];
    if (bytes)
        printf("%s%-*s %12s %10.3f GB\n", indent, 40 - (int)strlen(indent), name,
               tool_bytes((double)bytes, text), 1e-9 * (double)bytes);
}

static void print_text(const char *spec, const char *rules, const ctlc_account *a) {
    char n[32], m[32], t[32];
    printf("%s as %s stores it: %s parameters, %s trained; %s tokens, %s\n", spec, rules,
           tool_count((int64_t)(a->frozen_parameters + a->trained_parameters), n),
           tool_count((int64_t)a->trained_parameters, m), tool_count(a->tokens, t),
           ctl_dtype_name(a->compute));
    row("  ", "frozen weights", a->weights);
    row("  ", "trained parameters", a->trained);
    row("  ", "their gradients", a->gradients);
    row("  ", "their moments", a->moments);
    row("  ", "kept by forward for backward:", a->saved);
    for (size_t k = 0; k < a->nlines; k++) row("    ", a->lines[k].name, a->lines[k].bytes);
    row("  ", "all in all", a->total);
}

static void print_json(const ctlc_account *a) {
    printf("{\"tokens\": %lld, \"compute\": \"%s\", \"parameters\": %llu, \"trained\": %llu, \"bytes\": "
           "{\"weights\": %llu, "
           "\"trained\": %llu, \"gradients\": %llu, \"optimizer\": %llu, \"saved\": %llu, \"peak\": %llu}, "
           "\"rules\": [",
           (long long)a->tokens, ctl_dtype_name(a->compute),
           (unsigned long long)(a->frozen_parameters + a->trained_parameters),
           (unsigned long long)a->trained_parameters, (unsigned long long)a->weights,
           (unsigned long long)a->trained, (unsigned long long)a->gradients, (unsigned long long)a->moments,
           (unsigned long long)a->saved, (unsigned long long)a->total);
    for (size_t k = 0; k < a->nlines; k++)
        printf("%s{\"rule\": \"%s\", \"times\": %llu, \"bytes\": %llu}", k ? ", " : "", a->lines[k].name,
               (unsigned long long)a->lines[k].times, (unsigned long long)a->lines[k].bytes);
    printf("]}\n");
}

int account_report(const char *spec, const tool_compile *how, const char *rules, bool json) {
    account_copy copy = {{0}};
    tool_speaker speaker = {0};
    tool_compile c = *how;
    ctl_program *none;
    c.check_only = true, c.account = account_keep, c.account_ctx = &copy, c.account_rules = rules;
    const int code = tool_compile_spec("plan", spec, &c, &speaker, &none);
    if (code) return code;
    if (json)
        print_json(&copy.is);
    else
        print_text(spec, rules, &copy.is);
    return EXIT_DONE;
}
