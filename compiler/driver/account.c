/* account: finds the rules that options->account_rules names, and hands out what they make of the graph. */
#include "compiler/account/account.h"
#include "compiler/driver/unit.h"

static const char *find_rules(ctl_unit *u, const char *name, size_t *size) {
    for (const ctl_rules_file *f = ctl_rules; f->name; f++)
        if (strcmp(f->name, name) == 0) return *size = f->size, f->text;
    if (!strchr(name, '.') && !strchr(name, '/')) return NULL;
    return ctl_unit_read_file(u, name, size);
}

void ctl_unit_account(ctl_unit *u) {
    const char *name = u->options->account_rules ? u->options->account_rules : ctl_rules[0].name;
    size_t size;
    ctl_rules_error error;
    ctlc_account account;
    const char *text = find_rules(u, name, &size);
    u->status = CTL_ERR_INPUT;
    if (!text) {
        ctl_error(&u->sink, CTL_E0515, CTL_NO_SPAN, "`autograd` is there; a file of your own ends in .rules",
                  "the rules `%s` cannot be read", name);
        return;
    }
    const ctl_rule_set *rules = ctl_rules_parse(u->arena, text, size, &error);
    if (!rules) {
        ctl_error(&u->sink, CTL_E0515, CTL_NO_SPAN, "docs/accounting.md says how rules are written",
                  "%s:%zu: %s", name, error.line, error.what);
        return;
    }
    if (!ctl_account_graph(u->arena, u->graph, u->compute, rules, &account)) {
        ctl_error(&u->sink, CTL_E0515, CTL_NO_SPAN, "the network is too large, or a rule keeps too much",
                  "by the rules `%s` more bytes are kept than can be counted", name);
        return;
    }
    u->status = CTL_OK;
    u->options->account(u->options->account_ctx, &account);
}
