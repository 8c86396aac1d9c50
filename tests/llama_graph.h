/* llama_graph: a LLaMA as the elaborator would write it, built by hand for tests: every port and projection a
 * state, transposes written out, rope's table once a head. With LoRA on q, k, v, up and down; control on the
 * feed-forward; double control; or everything trained. */
#ifndef CTL_TESTS_LLAMA_GRAPH_H
#define CTL_TESTS_LLAMA_GRAPH_H

#include "compiler/graph/graph.h"
#include "compiler/passes/cross_entropy.h"

typedef enum tuning { TUNE_LORA, TUNE_CONTROL, TUNE_DOUBLE, TUNE_FULL } tuning;

typedef struct llama {
    int64_t tokens, hidden, heads, kv_heads, head, ffn, vocab, depth, rank;
    tuning how;
    double dropout;
    bool biased; /* q, k, v have biases */
} llama;

static ctl_node_id param_of(ctl_graph *g, const char *name, int64_t rows, int64_t cols, bool trained) {
    ctl_param p = {.name = name,
                   .rows = rows,
                   .cols = cols,
                   .ndims = rows == 1 ? 1 : 2,
                   .trained = trained,
                   .node = CTL_NONE,
                   .grad = CTL_NONE,
                   .init_node = CTL_NONE};
    CTL_PUSH(g->arena, &g->params, p);
    ctl_node node = {.op = OP_PARAM, .i = {(int64_t)g->params.n - 1}, .path = name, .span = CTL_NO_SPAN};
    const char *why;
    return g->params.at[g->params.n - 1].node = ctl_graph_add(g, &node, &why);
}

static ctl_node_id input_of(ctl_graph *g, const char *name, bool is_id, int64_t cols) {
    ctl_input in = {.name = name,
                    .is_id = is_id,
                    .space = SPACE_TOKENS,
                    .cols = cols,
                    .node = CTL_NONE,
                    .grad = CTL_NONE};
    CTL_PUSH(g->arena, &g->inputs, in);
    ctl_node node = {.op = OP_INPUT, .i = {(int64_t)g->inputs.n - 1}, .path = name, .span = CTL_NO_SPAN};
    const char *why;
    return g->inputs.at[g->inputs.n - 1].node = ctl_graph_add(g, &node, &why);
}

static ctl_node_id state_of(ctl_graph *g, const char *name, ctl_node_id sum) {
    ctl_node node = {.op = OP_STATE, .nin = 1, .in = &sum, .path = name, .span = CTL_NO_SPAN};
    const char *why;
    return ctl_graph_add(g, &node, &why);
}

static ctl_node_id attr(ctl_graph *g, ctl_op op, ctl_node_id a, int64_t i0, int64_t i1) {
    return ctl_build(g, CTL_NONE, op, 1, &a, (const int64_t[3]){i0, i1, 0}, 0);
}
#define C(x)        ctl_build_const(g, (x))
#define U(op, a)    CTL_B1(g, CTL_NONE, op, a)
#define B(op, a, b) CTL_B2(g, CTL_NONE, op, a, b)
#define NAME(...)   ctl_format(g->arena, __VA_ARGS__)

static ctl_node_id times(ctl_graph *g, ctl_node_id x, ctl_node_id weight) { /* x @ weight.T */
    return B(OP_MATMUL, x, U(OP_TRANSPOSE, weight));
}

/* scale * drop(x @ A.T) @ B.T, as a state of its own */
static ctl_node_id lowrank(ctl_graph *g, const llama *m, ctl_node_id x, int64_t width, const char *at) {
    ctl_node_id a = param_of(g, NAME("%s.lora_A.weight", at), m->rank, g->at[x].cols, true);
    ctl_node_id b = param_of(g, NAME("%s.lora_B.weight", at), width, m->rank, true);
    ctl_node_id thin = B(OP_MUL, C(2.0), times(g, x, a));
    return state_of(g, NAME("%s.y", at), times(g, thin, b));
}

static ctl_node_id linear(ctl_graph *g, const llama *m, ctl_node_id x, int64_t n, const char *at, bool tuned,
                          bool biased) {
    ctl_node_id port = state_of(g, NAME("%s.x", at), x);
    ctl_node_id w = param_of(g, NAME("%s.weight", at), n, g->at[x].cols, m->how == TUNE_FULL);
    ctl_node_id y;
    if (tuned && m->how == TUNE_LORA) {
        ctl_node_id a = param_of(g, NAME("%s.lora_A.weight", at), m->rank, g->at[x].cols, true);
        ctl_node_id b = param_of(g, NAME("%s.lora_B.weight", at), n, m->rank, true);
        ctl_node_id x2 = state_of(g, NAME("%s.lora.x", at), port), d = x2;
        if (m->dropout > 0) {
            d = ctl_build(g, CTL_NONE, OP_DROP, 1, &x2, (const int64_t[3]){g->drop_sites++}, m->dropout);
        }
        ctl_node_id thin = B(OP_MUL, C(2.0), times(g, d, a));
        y = state_of(g, NAME("%s.lora.y", at), B(OP_ADD, times(g, x2, w), times(g, thin, b)));
    } else {
        y = times(g, port, w);
    }
    if (biased) y = B(OP_ADD, y, param_of(g, NAME("%s.bias", at), 1, n, m->how == TUNE_FULL));
    return state_of(g, NAME("%s.y", at), y);
}

static ctl_node_id rmsnorm(ctl_graph *g, const llama *m, ctl_node_id x, const char *at) {
    ctl_node_id port = state_of(g, NAME("%s.x", at), x);
    ctl_node_id w = param_of(g, NAME("%s.weight", at), 1, m->hidden, m->how == TUNE_FULL);
    ctl_node_id mean = B(OP_DIV, U(OP_SUM, B(OP_MUL, port, port)), C((double)m->hidden));
    ctl_node_id r = U(OP_RSQRT, B(OP_ADD, mean, C(1e-5)));
    return state_of(g, NAME("%s.y", at), B(OP_MUL, B(OP_MUL, port, r), w));
}

static ctl_node_id rope(ctl_graph *g, const llama *m, ctl_node_id x, const char *at) {
    int64_t cols = g->at[x].cols, half = m->head / 2;
    ctl_node_id h = attr(g, OP_SPLIT, state_of(g, NAME("%s.x", at), x), m->head, 0);
    ctl_node_id position = attr(g, OP_REPEAT, CTL_B0(g, CTL_NONE, OP_POSITION, 0), cols / m->head, 0);
    ctl_node_id index = CTL_B0(g, CTL_NONE, OP_INDEX, m->head);
    ctl_node_id power = B(OP_DIV, B(OP_MUL, C(-2), B(OP_MOD, index, C((double)half))), C((double)m->head));
    ctl_node_id f = B(OP_MUL, position, B(OP_POW, C(10000), power));
    ctl_node_id pair[] = {U(OP_NEG, attr(g, OP_COLUMNS, h, half, m->head)), attr(g, OP_COLUMNS, h, 0, half)};
    ctl_node_id turned = ctl_build(g, CTL_NONE, OP_CAT, 2, pair, NULL, 0);
    ctl_node_id sum = B(OP_ADD, B(OP_MUL, h, U(OP_COS, f)), B(OP_MUL, turned, U(OP_SIN, f)));
    return state_of(g, NAME("%s.y", at), attr(g, OP_JOIN, sum, cols, 0));
}

static ctl_node_id block(ctl_graph *g, const llama *m, ctl_node_id s, const char *at) {
    ctl_node_id x = state_of(g, NAME("%s.x", at), s);
    ctl_node_id n = rmsnorm(g, m, x, NAME("%s.input_layernorm", at));
    ctl_node_id q = linear(g, m, n, m->heads * m->head, NAME("%s.q_proj", at), true, m->biased);
    ctl_node_id k = linear(g, m, n, m->kv_heads * m->head, NAME("%s.k_proj", at), true, m->biased);
    ctl_node_id v = linear(g, m, n, m->kv_heads * m->head, NAME("%s.v_proj", at), true, m->biased);
    q = state_of(g, NAME("%s.q", at), rope(g, m, q, NAME("%s.q_rope", at)));
    k = state_of(g, NAME("%s.k", at), rope(g, m, k, NAME("%s.k_rope", at)));
    v = state_of(g, NAME("%s.v", at), v);
    ctl_node_id o = ctl_build(g, CTL_NONE, OP_ATTEND, 3, (const ctl_node_id[]){q, k, v},
                              (const int64_t[3]){m->head, 1, 0}, 0);
    ctl_node_id attention = state_of(g, NAME("%s.self_attn.y", at),
                                     linear(g, m, o, m->hidden, NAME("%s.o_proj", at), false, false));
    ctl_node_id sum = B(OP_ADD, x, attention);
    if (m->how == TUNE_DOUBLE) sum = B(OP_ADD, sum, lowrank(g, m, x, m->hidden, NAME("%s.attn", at)));
    ctl_node_id h = state_of(g, NAME("%s.h", at), sum);
    ctl_node_id p = rmsnorm(g, m, h, NAME("%s.post_attention_layernorm", at));
    ctl_node_id gate = linear(g, m, p, m->ffn, NAME("%s.gate_proj", at), false, false);
    ctl_node_id up = linear(g, m, p, m->ffn, NAME("%s.up_proj", at), true, false);
    ctl_node_id sigmoid = B(OP_DIV, C(1), B(OP_ADD, C(1), U(OP_EXP, U(OP_NEG, gate))));
    ctl_node_id a = state_of(g, NAME("%s.a", at), B(OP_MUL, B(OP_MUL, gate, sigmoid), up));
    ctl_node_id mlp =
        state_of(g, NAME("%s.mlp.y", at), linear(g, m, a, m->hidden, NAME("%s.down_proj", at), true, false));
    sum = B(OP_ADD, h, mlp);
    if (m->how == TUNE_DOUBLE || m->how == TUNE_CONTROL) {
        sum = B(OP_ADD, sum, lowrank(g, m, h, m->hidden, NAME("%s.mlp", at)));
    }
    return state_of(g, NAME("%s.y", at), sum);
}

static ctl_graph *build_llama(ctl_arena *arena, const llama *m) {
    ctl_graph *g = ctl_graph_new(arena);
    g->rows_of[SPACE_TOKENS] = m->tokens;
    ctl_node_id ids = input_of(g, "ids", true, 1), labels = input_of(g, "labels", true, 1);
    ctl_node_id table = param_of(g, "embed_tokens.weight", m->vocab, m->hidden, m->how == TUNE_FULL);
    ctl_node_id s = state_of(g, "s[0]", state_of(g, "embed_tokens.y", B(OP_TAKE, table, ids)));
    for (int64_t i = 0; i < m->depth; i++)
        s = state_of(g, NAME("s[%d]", (int)i + 1), block(g, m, s, NAME("layers.%d", (int)i)));
    ctl_node_id y = rmsnorm(g, m, s, "norm");
    ctl_node_id logits = state_of(g, "logits", linear(g, m, y, m->vocab, "lm_head", false, false));
    g->loss = state_of(g, "loss", ctl_build_cross_entropy(g, logits, logits, labels));
    CTL_PUSH(arena, &g->outputs, (ctl_output){.name = "loss", .node = g->loss, .evaluate = CTL_NONE});
    return g;
}

#endif
