/* A libFuzzer target: any bytes as rules of what a framework keeps, applied to a small graph. What must hold:
 * the call returns, says what is wrong when it fails, and gives everything back. */
#include <stdint.h>
#include <stdlib.h>

#include "compiler/account/account.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* x silu(x w), with w trained. */
static ctl_graph *small_graph(ctl_arena *arena) {
    ctl_graph *g = ctl_graph_new(arena);
    g->rows_of[SPACE_TOKENS] = 4;
    CTL_PUSH(arena, &g->inputs, (ctl_input){.name = "x", .space = SPACE_TOKENS, .cols = 3});
    CTL_PUSH(arena, &g->params, (ctl_param){.name = "w", .rows = 3, .cols = 3, .ndims = 2, .trained = true});
    const ctl_node_id x = CTL_B0(g, CTL_NONE, OP_INPUT, 0), w = CTL_B0(g, CTL_NONE, OP_PARAM, 0);
    const ctl_node_id y = CTL_B2(g, CTL_NONE, OP_MATMUL, x, w), one = ctl_build_const(g, 1);
    const ctl_node_id e = CTL_B1(g, CTL_NONE, OP_EXP, CTL_B1(g, CTL_NONE, OP_NEG, y));
    const ctl_node_id s = CTL_B2(g, CTL_NONE, OP_DIV, one, CTL_B2(g, CTL_NONE, OP_ADD, one, e));
    CTL_B2(g, CTL_NONE, OP_MUL, x, CTL_B2(g, CTL_NONE, OP_MUL, y, s));
    return g;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    jmp_buf failure;
    ctl_arena arena;
    ctl_rules_error error;
    ctlc_account account;
    ctl_arena_init(&arena, NULL, &failure);
    if (setjmp(failure) == 0) {
        const ctl_rule_set *rules = ctl_rules_parse(&arena, (const char *)data, size, &error);
        if (!rules && (!error.what || !error.line)) abort();
        if (rules) ctl_account_graph(&arena, small_graph(&arena), CTL_BF16, rules, &account);
    }
    ctl_arena_free(&arena);
    return 0;
}
