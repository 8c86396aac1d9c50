/* account: what another way of training would store of the same network, by rules that are data.
 *
 * A rule says for a kernel of a framework which operations it does at once and what it keeps for backward
 * (stdlib/autograd.rules, whose head is the reference). The graph is walked from its results back; at each
 * value that needs a gradient the first rule that fits is applied, and what lies within its pattern is passed
 * over. Nothing here knows an operation's cost, a network or a method. */
#ifndef CTL_ACCOUNT_H
#define CTL_ACCOUNT_H

#include "compiler/graph/graph.h"
#include "ctl/ctlc.h"

typedef struct ctl_rules_file {
    const char *name; /* "autograd" */
    const char *text;
    size_t size;
} ctl_rules_file;
extern const ctl_rules_file ctl_rules[]; /* the embedded ones; ends with name NULL */

typedef struct ctl_rules_error {
    size_t line;
    const char *what;
} ctl_rules_error;

typedef struct ctl_rule_set ctl_rule_set;
/* NULL and an error when the text is none. */
const ctl_rule_set *ctl_rules_parse(ctl_arena *arena, const char *text, size_t size, ctl_rules_error *error);

/* The graph before differentiation. Names in *out are the rules'; all is in the arena. False: a sum that
 * cannot be counted. */
bool ctl_account_graph(ctl_arena *arena, const ctl_graph *graph, ctl_dtype compute, const ctl_rule_set *rules,
                       ctlc_account *out);

#endif
