/* What forward keeps for backward has exactly the bytes that the formula gives, and the cut that chooses it is the least. */
#include "compiler/elaborate/elaborate.h"
#include "compiler/remat/cut.h"
#include "tests/passes_fixture.h"

/* ---- what forward keeps ---- */
static int64_t bytes_a_layer(llama m, ctl_dtype compute, bool merge) {
    int64_t bytes[2];
    for (int k = 0; k < 2; k++) {
        m.depth = 2 + k;
        ctl_graph *g = simplified(differentiated(simplified(build_llama(&arena, &m))));
        g = rounded(g, compute);
        if (merge) g = merged(g);
        bytes[k] = ctl_saved_bytes(saved(g));
    }
    return (bytes[1] - bytes[0]) / m.tokens;
}

/* planner.md's M0: x, h, q, O 2H each, k and v 2K each, g and u 2F each, one f32 a head, and the thin
 * products. */
static void test_forward_keeps_what_the_formula_says(void **state) {
    (void)state;
    static const struct {
        tuning how;
        int thin; /* results of x @ A that are kept */
    } cases[] = {{TUNE_LORA, 5}, {TUNE_CONTROL, 1}, {TUNE_DOUBLE, 2}, {TUNE_FULL, 0}};
    llama m = {.tokens = 64,
               .hidden = 64,
               .heads = 4,
               .kv_heads = 2,
               .head = 16,
               .ffn = 176,
               .vocab = 50,
               .rank = 8};
    int64_t kv = m.kv_heads * m.head;
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        m.how = cases[k].how;
        for (int variant = 0; variant < 8; variant++) {
            m.dropout = variant & 1 ? 0.05 : 0, m.biased = variant & 4;
            int64_t numbers = 4 * m.hidden + 2 * kv + 2 * m.ffn + cases[k].thin * m.rank;
            assert_int_equal(bytes_a_layer(m, CTL_BF16, variant & 2), 2 * numbers + 4 * m.heads);
            assert_int_equal(bytes_a_layer(m, CTL_F32, variant & 2), 4 * numbers + 4 * m.heads);
        }
    }
}

/* ---- the same through the language ---- */
static void say(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    print_error("%s: %s\n", d->code, d->message);
}

static ctl_graph *elaborated(const char *controls, int depth, const char *compute) {
    char *text =
        ctl_format(&arena,
                   "import llama, tuning\n"
                   "control everything() on llama.causal_lm {\n    train **\n}\n"
                   "model m = llama.causal_lm(; vocab = 11, dim = 64, depth = %d, heads = 4, kv_heads = 2, "
                   "ffn = 176, theta = 10000.0)\n"
                   "tune m with %s {\n    tokens 1 x 24\n    compute %s\n}\n",
                   depth, controls, compute);
    ctl_sink sink = {.arena = &arena, .fn = say};
    uint32_t file = ctl_sink_add_source(&sink, "test.ctl", text, strlen(text));
    ctl_spec spec = {0};
    ctl_graph *g = ctl_elaborate(&arena, &sink, file, &(ctl_elaborate_options){0}, &spec);
    assert_non_null(g);
    return verified(g);
}

static const struct {
    const char *controls;
    int thin; /* numbers a token and layer beside those of the formula */
} specs[] = {
    {"tuning.lora_qkvud(rank = 8, alpha = 16)", 40},
    {"tuning.lora_qkvud(rank = 8, alpha = 16, p = 0.0)", 40},
    {"tuning.ud(rank = 6)", 6},
    {"tuning.double(rank = 8)", 16},
    {"tuning.ud(rank = 8), tuning.lora_qkv(rank = 4, alpha = 8)", 20},
    {"everything()", 0},
};

static void test_specs_keep_what_the_formula_says(void **state) {
    (void)state;
    enum { H = 64, HEADS = 4, KV = 32, F = 176, TOKENS = 24 };
    for (size_t k = 0; k < CTL_COUNT(specs); k++) {
        int64_t bytes[2];
        for (int deeper = 0; deeper < 2; deeper++) {
            ctl_graph *plain = elaborated(specs[k].controls, 2 + deeper, "bf16");
            ctl_graph *g = merged(rounded(simplified(differentiated(simplified(plain))), CTL_BF16)),
                      *s = saved(g);
            bytes[deeper] = ctl_saved_bytes(s);
            if (deeper) continue;
            assert_same_bits(run(s, CTL_BF16), run(g, CTL_BF16));
            assert_true(distance(run(s, CTL_F64), run(differentiated(plain), CTL_F64)) <= 0.03);
        }
        assert_int_equal((bytes[1] - bytes[0]) / TOKENS,
                         8 * H + 4 * KV + 4 * F + 4 * HEADS + 2 * specs[k].thin);
    }
}

static void test_backward_reads_no_product_of_forward_twice(void **state) {
    (void)state;
    llama m = tuned(TUNE_LORA);
    ctl_graph *g = rounded(simplified(differentiated(simplified(build_llama(&arena, &m)))), CTL_BF16);
    ctl_graph *s = saved(g);
    assert_int_equal(count_ops(s, OP_MATMUL), count_ops(g, OP_MATMUL));
    assert_int_equal(count_ops(s, OP_ATTEND), count_ops(g, OP_ATTEND));
    assert_true(s->n > g->n);
}

/* ---- the cut, against all subsets ---- */
static bool separates(const ctl_cut_vertex *v, int n, const ctl_cut_edge *e, int nedges, unsigned kept) {
    unsigned reached = 0;
    for (int k = 0; k < n; k++) reached |= (unsigned)v[k].source << k;
    for (int round = 0; round < n; round++) {
        for (int k = 0; k < nedges; k++) {
            bool through = reached >> e[k].from & 1u && !(kept >> e[k].from & 1u);
            if (through) reached |= 1u << e[k].to;
        }
    }
    for (int k = 0; k < n; k++) {
        if (v[k].sink && reached >> k & 1u && !(kept >> k & 1u)) return false;
    }
    return true;
}

static void test_cut_is_the_least(void **state) {
    (void)state;
    uint64_t seed = 3;
    enum { N = 9 };
    for (int trial = 0; trial < 300; trial++) {
        ctl_cut_vertex v[N] = {0};
        ctl_cut_edge e[N * N];
        int nedges = 0;
        for (int k = 0; k < N; k++) {
            v[k].cost = 1 + (int64_t)(fabs(noise(&seed)) * 6);
            v[k].source = noise(&seed) < -0.4;
            v[k].sink = noise(&seed) > 0.4;
            for (int j = 0; j < k; j++) {
                if (noise(&seed) > 0.3) e[nedges++] = (ctl_cut_edge){(uint32_t)j, (uint32_t)k};
            }
        }
        ctl_cut_least(&arena, v, N, e, (size_t)nedges);
        unsigned kept = 0;
        int64_t cost = 0, least = INT64_MAX;
        for (int k = 0; k < N; k++) {
            if (v[k].kept) kept |= 1u << k, cost += v[k].cost;
        }
        assert_true(separates(v, N, e, nedges, kept));
        for (unsigned s = 0; s < 1u << N; s++) {
            int64_t c = 0;
            for (int k = 0; k < N; k++) c += s >> k & 1u ? v[k].cost : 0;
            if (c < least && separates(v, N, e, nedges, s)) least = c;
        }
        assert_int_equal(cost, least);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_forward_keeps_what_the_formula_says),
        TEST(test_specs_keep_what_the_formula_says),
        TEST(test_backward_reads_no_product_of_forward_twice),
        TEST(test_cut_is_the_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
