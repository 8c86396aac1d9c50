/* Controls that reach across the blocks of a decoder - mixture, ladder, bypass - against their formulas in plain C, in f64: a
 * small LLaMA is written out here, row by row, with the control's terms where docs/methods.md has them; what the network gives
 * behind its last norm must be that. All weights are drawn anew; the second sequence has a row of padding. */
#include "tests/network_support.h"

#include "base/base.h"

enum { S = 2, L = 4, N = S * L, D = 8, HEADS = 2, KV = 1, FFN = 12, DEPTH = 3 }; /* sequences, rows, columns, .. */
enum { WIDEST = FFN, REDUCE = 2, SLIM = D / REDUCE, RANK = 2, KEPT = 2 };
#define THETA 100.0
#define EPS   1e-5

typedef double rows[N][WIDEST];

static const network *net;
static int place[N]; /* of each row in its document */

static const double *weight(const char *fmt, ...) CTL_PRINTF(1, 2);
static const double *weight(const char *fmt, ...) {
    char name[120] = "model.";
    va_list args;
    va_start(args, fmt);
    vsnprintf(name + strlen(name), sizeof name - strlen(name), fmt, args);
    va_end(args);
    for (size_t p = 0; p < net->params; p++)
        if (strcmp(net->info[p].name, name) == 0) return net->values[p];
    fail_msg("no weight %s", name);
    return NULL;
}

/* ---- a block, of any width ---- */
/* y = x W' (+ b): W [out, in]. */
static void linear(rows y, rows x, const double *w, const double *b, int in, int out) {
    for (int t = 0; t < N; t++)
        for (int i = 0; i < out; i++) {
            double sum = b ? b[i] : 0;
            for (int j = 0; j < in; j++) sum += w[i * in + j] * x[t][j];
            y[t][i] = sum;
        }
}

static void norm(rows y, rows x, const double *w, int width) {
    for (int t = 0; t < N; t++) {
        double squares = 0;
        for (int j = 0; j < width; j++) squares += x[t][j] * x[t][j];
        for (int j = 0; j < width; j++) y[t][j] = x[t][j] / sqrt(squares / width + EPS) * w[j];
    }
}

/* The two halves of each head are the parts of numbers that turn with the place. */
static void rope(rows x, int heads, int head) {
    for (int t = 0; t < N; t++)
        for (int h = 0; h < heads; h++)
            for (int c = 0; c < head / 2; c++) {
                double angle = place[t] * pow(THETA, -2.0 * c / head), *a = &x[t][h * head + c], *b = a + head / 2, re = *a;
                *a = re * cos(angle) - *b * sin(angle);
                *b = *b * cos(angle) + re * sin(angle);
            }
}

static void attend(rows y, rows q, rows k, rows v, int heads, int kv, int head) {
    for (int t = 0; t < N; t++)
        for (int h = 0; h < heads; h++) {
            int of = h / (heads / kv) * head;
            double score[N], sum = 0;
            for (int s = t - place[t]; s <= t; s++) {
                double dot = 0;
                for (int c = 0; c < head; c++) dot += q[t][h * head + c] * k[s][of + c];
                sum += score[s] = exp(dot / sqrt(head));
            }
            for (int c = 0; c < head; c++) {
                y[t][h * head + c] = 0;
                for (int s = t - place[t]; s <= t; s++) y[t][h * head + c] += score[s] / sum * v[s][of + c];
            }
        }
}

/* h = x + attention(norm x), y = h + feed-forward(norm h). */
static void block(const char *path, rows x, rows h, rows y, int width, int kv, int ffn) {
    static rows n, q, k, v, a, g, u;
    const int head = width / HEADS;
    norm(n, x, weight("%s.input_layernorm.weight", path), width);
    linear(q, n, weight("%s.self_attn.q_proj.weight", path), NULL, width, width);
    linear(k, n, weight("%s.self_attn.k_proj.weight", path), NULL, width, kv * head);
    linear(v, n, weight("%s.self_attn.v_proj.weight", path), NULL, width, kv * head);
    rope(q, HEADS, head), rope(k, kv, head);
    attend(a, q, k, v, HEADS, kv, head);
    linear(h, a, weight("%s.self_attn.o_proj.weight", path), NULL, width, width);
    for (int t = 0; t < N; t++)
        for (int j = 0; j < width; j++) h[t][j] += x[t][j];
    norm(n, h, weight("%s.post_attention_layernorm.weight", path), width);
    linear(g, n, weight("%s.mlp.gate_proj.weight", path), NULL, width, ffn);
    linear(u, n, weight("%s.mlp.up_proj.weight", path), NULL, width, ffn);
    for (int t = 0; t < N; t++)
        for (int j = 0; j < ffn; j++) g[t][j] *= u[t][j] / (1 + exp(-g[t][j]));
    linear(y, g, weight("%s.mlp.down_proj.weight", path), NULL, ffn, width);
    for (int t = 0; t < N; t++)
        for (int j = 0; j < width; j++) y[t][j] += h[t][j];
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* ---- the controls ---- */
/* y_i gets the sum over j of w_ij h_i A_j' B_j', w_i = the KEPT largest of softmax(h_i G_i'). */
static void mixture(int i, rows h, rows y) {
    static rows score, low, out;
    double share[N][DEPTH];
    linear(score, h, weight("gate.%d", i), NULL, D, DEPTH);
    for (int t = 0; t < N; t++) {
        double sum = 0;
        for (int j = 0; j < DEPTH; j++) sum += exp(score[t][j]);
        for (int j = 0; j < DEPTH; j++) {
            int above = 0;
            for (int k = 0; k < DEPTH; k++) above += score[t][k] > score[t][j];
            share[t][j] = above < KEPT ? exp(score[t][j]) / sum : 0;
        }
    }
    for (int j = 0; j < DEPTH; j++) {
        linear(low, h, weight("A.%d", j), NULL, D, RANK);
        linear(out, low, weight("B.%d", j), NULL, RANK, D);
        for (int t = 0; t < N; t++)
            for (int c = 0; c < D; c++) y[t][c] += share[t][j] * out[t][c];
    }
}

/* The side becomes block(g down(y_i) + (1 - g) side), g = sigmoid(mu_i): a block of its own, as wide as the side. */
static void ladder(int i, rows y, rows side) {
    static rows down, c, h;
    char path[40];
    const double g = sigmoid(*weight("mu.%d", i));
    linear(down, y, weight("side_down.%d.weight", i), NULL, D, SLIM);
    for (int t = 0; t < N; t++)
        for (int j = 0; j < SLIM; j++) c[t][j] = g * down[t][j] + (1 - g) * side[t][j];
    snprintf(path, sizeof path, "side_layers.%d", i);
    block(path, c, h, side, SLIM, HEADS, FFN / REDUCE);
}

/* x + W2 gelu(W1 x + b1) + b2 */
static void tuner(const char *label, int i, rows x, rows y) {
    static rows low;
    linear(low, x, weight("%s.%d.down.weight", label, i), weight("%s.%d.down.bias", label, i), D, RANK);
    for (int t = 0; t < N; t++)
        for (int j = 0; j < RANK; j++) low[t][j] *= 0.5 * (1 + erf(low[t][j] / sqrt(2)));
    linear(y, low, weight("%s.%d.up.weight", label, i), weight("%s.%d.up.bias", label, i), RANK, D);
    for (int t = 0; t < N; t++)
        for (int j = 0; j < D; j++) y[t][j] += x[t][j];
}

/* The side becomes g tuner(y_i) + (1 - g) tuner(side). */
static void bypass(int i, rows y, rows side) {
    static rows across, along;
    const double g = sigmoid(*weight("mu.%d", i));
    tuner("across", i, y, across), tuner("along", i, side, along);
    for (int t = 0; t < N; t++)
        for (int j = 0; j < D; j++) side[t][j] = g * across[t][j] + (1 - g) * along[t][j];
}

/* ---- the network ---- */
typedef enum control { MIXTURE, LADDER, BYPASS } control;

static void decoder(control which, rows out) {
    static rows x, h, y, side, up;
    const double *table = weight("embed_tokens.weight");
    for (int t = 0; t < N; t++)
        for (int j = 0; j < D; j++) x[t][j] = side[t][j] = table[(t * 7 + 3) % 11 * D + j]; /* network_inputs' ids */
    if (which == LADDER) linear(side, x, weight("side_in.weight"), NULL, D, SLIM);
    for (int i = 0; i < DEPTH; i++) {
        char path[40];
        snprintf(path, sizeof path, "layers.%d", i);
        block(path, x, h, y, D, KV, FFN);
        if (which == MIXTURE) mixture(i, h, y);
        if (which == LADDER) ladder(i, y, side);
        if (which == BYPASS) bypass(i, y, side);
        memcpy(x, y, sizeof x);
    }
    if (which == LADDER) linear(up, side, weight("norm.side_up.weight"), NULL, SLIM, D);
    if (which == BYPASS) {
        static rows low;
        linear(low, side, weight("norm.side_up.lora_A.weight"), NULL, D, RANK);
        linear(up, low, weight("norm.side_up.lora_B.weight"), NULL, RANK, D);
    }
    for (int t = 0; t < N && which != MIXTURE; t++)
        for (int j = 0; j < D; j++) x[t][j] += up[t][j];
    norm(out, x, weight("norm.weight"), D);
}

static void check(control which, const char *call) {
    char spec[600];
    snprintf(spec, sizeof spec,
             "import llama, tuning\nnet probe(ids: id) -> y {\n    y <- model: llama.decoder(ids; vocab = 11, dim = 8, depth = 3, "
             "heads = 2, kv_heads = 1, ffn = 12, theta = 100.0, eps = 1e-5)\n}\nmodel m = probe()\ntune m with tuning.%s {\n"
             "    tokens 2 x 4\n}\n",
             call);
    network n;
    open_network(&n, spec);
    network_inputs(&n, L);
    net = &n;
    for (int t = 0; t < N; t++) { /* as network_documents has it: sequence s lacks s rows */
        int real = L - t / L, at = t % L;
        place[t] = at < real ? at : at - real;
    }
    static rows want;
    double got[N * D];
    decoder(which, want);
    assert_int_equal(ctl_session_forward(n.session), CTL_OK);
    assert_int_equal(ctl_session_output(n.session, "y", false, got, N * D), CTL_OK);
    for (int t = 0; t < N; t++)
        for (int j = 0; j < D; j++)
            if (!(fabs(got[t * D + j] - want[t][j]) < 1e-11 * (1 + fabs(want[t][j]))))
                fail_msg("%s: row %d, column %d is %.15g, by the formula %.15g", call, t, j, got[t * D + j], want[t][j]);
    close_network(&n);
}

static void test_mixture(void **state) {
    (void)state;
    check(MIXTURE, "mixture(rank = 2, k = 2)");
}
static void test_ladder(void **state) {
    (void)state;
    check(LADDER, "ladder(reduce = 2, heads = 2)");
}
static void test_bypass(void **state) {
    (void)state;
    check(BYPASS, "bypass(rank = 2)");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mixture), cmocka_unit_test(test_ladder), cmocka_unit_test(test_bypass)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
