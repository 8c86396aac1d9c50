/* What crosses the rows of a sequence, from the language on: values in f64 and on the CPU against plain C, with documents
 * shorter than their sequences; gradients against differences; a batch cut by sequences gives the same bits. */
#include "tests/network_support.h"

enum { S = 3, L = 4, D = 5, M = 2 }; /* sequences, their rows, columns, rows prepended */

static const char probe[] =
    "net probe(x: d; d) -> f, k, p, l, m, w, q, n, o, t {\n"
    "    weight before : [2, d] init normal(1)\n"
    "    weight mixer : [4, 4] init normal(1)\n"
    "    f <- first(x)\n"
    "    k <- take(x, 2)\n"
    "    p <- pool(x)\n"
    "    l <- take(x, length(first(x)) - 1)\n"
    "    m <- mix(mixer, x)\n"
    "    w <- prepend(before, x)\n"
    "    q <- pool(w)\n"
    "    n <- cat(position(w), length(w))\n"
    "    o <- cat(position(f), length(f))\n"
    "    t <- top(x; k = 2)\n"
    "}\n"
    "model m = probe(; d = 5)\n"
    "tune m { tokens 3 x 4\n }\n";

typedef struct probed {
    double x[S * L][D], before[M][D], mixer[L][L];
    int place[S * L], length[S * L];
} probed;

static void fill(probed *p) {
    for (int t = 0; t < S * L; t++) {
        for (int j = 0; j < D; j++) p->x[t][j] = 2 * unit(40, (uint32_t)(t * D + j)); /* as network_inputs has them */
        int s = t / L, real = L - s;
        p->place[t] = t % L < real ? t % L : t % L - real, p->length[t] = t % L < real ? real : s;
    }
    for (int t = 0; t < S * L; t++)
        for (int j = 0; j < D; j++) p->x[t][j] = (float)p->x[t][j];
}

static int real_rows(int s) { return L - s; }

/* Row s (or t) of what `name` is; columns through `out`. */
static int expected(const probed *p, const char *name, int row, double *out) {
    int s = row, n = real_rows(s < S ? s : 0);
    for (int j = 0; j < D; j++) out[j] = 0;
    switch (name[0]) {
    case 'f': memcpy(out, p->x[s * L], sizeof p->x[0]); return D;
    case 'k': memcpy(out, p->x[s * L + 2], sizeof p->x[0]); return D;
    case 'l': memcpy(out, p->x[s * L + n - 1], sizeof p->x[0]); return D;
    case 'p':
        for (int j = 0; j < D; j++)
            for (int t = 0; t < n; t++) out[j] += p->x[s * L + t][j] / n;
        return D;
    case 'q':
        for (int j = 0; j < D; j++) {
            for (int t = 0; t < n; t++) out[j] += p->x[s * L + t][j] / (n + M);
            for (int t = 0; t < M; t++) out[j] += p->before[t][j] / (n + M);
        }
        return D;
    case 'm':
        for (int j = 0; j < D; j++)
            for (int t = 0; t < real_rows(row / L); t++) out[j] += p->mixer[row % L][t] * p->x[row / L * L + t][j];
        return D;
    case 'w':
        memcpy(out, row % (L + M) < M ? p->before[row % (L + M)] : p->x[row / (L + M) * L + row % (L + M) - M], sizeof p->x[0]);
        return D;
    case 'n': { /* the rows before belong to the first document */
        int at = row % (L + M), real = real_rows(row / (L + M));
        out[0] = at < real + M ? at : at - real - M, out[1] = at < real + M ? real + M : L - real;
        return 2;
    }
    case 'o': out[1] = n; return 2;
    default: { /* the two largest */
        for (int j = 0; j < D; j++) {
            int larger = 0;
            for (int i = 0; i < D; i++) larger += p->x[row][i] > p->x[row][j];
            out[j] = larger < 2 ? p->x[row][j] : 0;
        }
        return D;
    }
    }
}

static void compile(const char *spec, ctlc_engine engine, ctl_dtype compute, const char *set, ctl_program **program) {
    ctlc_options options = {.engine = engine, .compute = compute, .diagnostic = hear, .verify = true, .threads = 2, .set = &set, .nset = set != NULL};
    assert_int_equal(ctlc_compile_text("spec", spec, strlen(spec), &options, program), CTL_OK);
}

static void check_values(ctlc_engine engine, ctl_dtype compute, double tolerance) {
    static const char *const names[] = {"f", "k", "p", "l", "m", "w", "q", "n", "o", "t"};
    network n = {0};
    probed p;
    fill(&p);
    compile(probe, engine, compute, NULL, &n.program);
    ctl_session_options so = {.seed = 5, .diagnostic = hear};
    assert_int_equal(ctl_session_open(n.program, &so, &n.session), CTL_OK);
    assert_int_equal(ctl_session_load(n.session), CTL_OK);
    for (size_t k = 0; k < ctl_program_param_count(n.program); k++) {
        bool mixer = strcmp(ctl_program_param_at(n.program, k).name, "mixer") == 0;
        assert_int_equal(ctl_session_param_read(n.session, k, CTL_F64, mixer ? &p.mixer[0][0] : &p.before[0][0]), CTL_OK);
    }
    network_inputs(&n, L);
    for (int evaluate = 0; evaluate < 2; evaluate++) {
        assert_int_equal(evaluate ? ctl_session_evaluate(n.session) : ctl_session_forward(n.session), CTL_OK);
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            double want[D], got[S * (L + M) * D];
            int rows = strchr("fkplqo", names[k][0]) ? S : strchr("wn", names[k][0]) ? S * (L + M) : S * L, cols = expected(&p, names[k], 0, want);
            assert_int_equal(ctl_session_output(n.session, names[k], evaluate, got, (size_t)(rows * cols)), CTL_OK);
            for (int r = 0; r < rows; r++) {
                expected(&p, names[k], r, want);
                for (int j = 0; j < cols; j++)
                    if (!(fabs(got[r * cols + j] - want[j]) <= tolerance))
                        fail_msg("%s, row %d, column %d: %.9g, not %.9g", names[k], r, j, got[r * cols + j], want[j]);
            }
        }
    }
    ctl_session_close(n.session);
    ctl_program_free(n.program);
}

static void test_values(void **state) {
    (void)state;
    check_values(CTLC_REFERENCE, CTL_F64, 1e-12);
    check_values(CTLC_REFERENCE, CTL_F32, 1e-5);
    check_values(CTLC_CPU, CTL_F32, 1e-5);
    check_values(CTLC_CPU, CTL_BF16, 3e-2);
}

/* A classifier that uses all of them; everything is trained. */
static const char classifier[] =
    "net classifier(x: d, label: id per sequence; d) -> logits, loss {\n"
    "    weight cls : [d] init normal(1)\n"
    "    weight prompt : [2, d] init normal(1)\n"
    "    weight u : [7, 2] init normal(1)\n"
    "    weight v : [2, 7] init normal(1)\n"
    "    weight place : [7, d] init normal(1)\n"
    "    weight e : [5, d] init normal(1)\n"
    "    c <- prepend(cls, inner: linear(x; n = d))\n"
    "    s <- prepend(prompt, c)\n"
    "    s <- take(place, position(s))\n"
    "    h <- s\n"
    "    h <- attend(q: linear(s; n = d), k: linear(s; n = d), s; head = 2, causal = false)\n"
    "    h <- mix(u @ v, s)\n"
    "    r <- top(softmax(gate: linear(h; n = 5)); k = 2) @ e\n"
    "    r <- drop(tanh(h); p = 0.25)\n"
    "    z <- cat(first(r), pool(r), take(r, 2), take(r, length(first(r)) - 1))\n"
    "    logits <- head: linear(z; n = 3, biased = true)\n"
    "    loss <- cross_entropy(logits, label)\n"
    "}\n"
    "control all() on classifier { train **\n }\n"
    "model m = classifier(; d = 4)\n"
    "tune m with all() { tokens %d x 4\n }\n";

static void test_gradients(void **state) {
    (void)state;
    char spec[3000];
    snprintf(spec, sizeof spec, classifier, 3);
    assert_int_equal(check_gradients(spec, L, NULL), 12);
}

/* Every number of a step, of three sequences at once or one by one. */
static void run_sequences(int each, double *logits, double *losses, double *gradients) {
    char spec[3000];
    network n = {0};
    ctl_status status = CTL_OK;
    snprintf(spec, sizeof spec, classifier, each);
    const char *outputs[] = {"logits"};
    ctlc_options options = {.engine = CTLC_CPU, .diagnostic = hear, .verify = true, .threads = 2, .outputs = outputs, .noutputs = 1};
    assert_int_equal(ctlc_compile_text("spec", spec, strlen(spec), &options, &n.program), CTL_OK);
    ctl_session_options so = {.seed = 5, .diagnostic = hear};
    assert_int_equal(ctl_session_open(n.program, &so, &n.session), CTL_OK);
    assert_int_equal(ctl_session_load(n.session), CTL_OK);
    ctl_session_zero_gradients(n.session);
    for (int s = 0; s < S && !status; s += each) {
        float x[S * L * 4];
        int32_t label[S], place[S * L], length[S * L];
        for (int t = 0; t < each * L; t++) {
            int q = s + t / L, real = L - q, at = t % L;
            place[t] = at < real ? at : at - real, length[t] = at < real ? real : q;
            for (int j = 0; j < 4; j++) x[t * 4 + j] = (float)unit(70, (uint32_t)((s * L + t) * 4 + j));
        }
        for (int q = 0; q < each; q++) label[q] = (s + q) % 3;
        size_t rows = (size_t)(each * L);
        assert_int_equal(ctl_session_input(n.session, "x", CTL_F32, x, rows * 4), CTL_OK);
        assert_int_equal(ctl_session_input(n.session, "label", CTL_I32, label, (size_t)each), CTL_OK);
        assert_int_equal(ctl_session_input(n.session, "position", CTL_I32, place, rows), CTL_OK);
        assert_int_equal(ctl_session_input(n.session, "length", CTL_I32, length, rows), CTL_OK);
        ctl_session_set_step(n.session, 2, s * L, 1.0 / S);
        assert_int_equal(ctl_session_forward(n.session), CTL_OK);
        assert_int_equal(ctl_session_output(n.session, "logits", false, logits + s * 3, (size_t)each * 3), CTL_OK);
        assert_int_equal(ctl_session_output(n.session, "loss", false, losses + s, 1), CTL_OK);
        assert_int_equal(ctl_session_backward(n.session), CTL_OK);
    }
    ctl_flat flat = ctl_session_flat(n.session);
    for (size_t k = 0; k < flat.count && k < 1000; k++) gradients[k] = ((const float *)flat.gradients)[k];
    ctl_session_close(n.session);
    ctl_program_free(n.program);
}

static void test_split_batch(void **state) {
    (void)state;
    static double logits[2][S * 3], losses[2][S], gradients[2][1000];
    run_sequences(3, logits[0], losses[0], gradients[0]);
    run_sequences(1, logits[1], losses[1], gradients[1]);
    assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
    assert_true(fabs(losses[0][0] - losses[1][0] - losses[1][1] - losses[1][2]) < 1e-6);
    for (int k = 0; k < 1000; k++)
        if (!(fabs(gradients[0][k] - gradients[1][k]) < 1e-5)) fail_msg("gradient %d: %g and %g", k, gradients[0][k], gradients[1][k]);
}

/* ---- what a session says of documents ---- */
static void collect(void *ctx, const ctl_diagnostic *d) { ctl_diagnostic_text(d, ctx, 1000); }

static void test_documents(void **state) {
    (void)state;
    char said[1000] = "";
    ctl_program *program;
    ctl_session *s;
    float x[S * L * D] = {0};
    int32_t place[S * L], length[S * L];
    compile(probe, CTLC_CPU, CTL_F32, NULL, &program);
    ctl_session_options so = {.diagnostic = collect, .diagnostic_ctx = said};
    assert_int_equal(ctl_session_open(program, &so, &s), CTL_OK);
    assert_int_equal(ctl_session_load(s), CTL_OK);
    for (int t = 0; t < S * L; t++) place[t] = t % 6, length[t] = 6; /* documents of one sequence and a half */
    assert_int_equal(ctl_session_input(s, "x", CTL_F32, x, S * L * D), CTL_OK);
    assert_int_equal(ctl_session_input(s, "position", CTL_I32, place, S * L), CTL_OK);
    assert_int_equal(ctl_session_input(s, "length", CTL_I32, length, S * L), CTL_OK);
    assert_int_equal(ctl_session_forward(s), CTL_ERR_INPUT);
    assert_non_null(strstr(said, "the document of 6 rows that begins in row 0 goes on after the end of its sequence of 4 rows"));
    ctl_session_close(s);
    ctl_program_free(program);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_gradients),
                                       cmocka_unit_test(test_split_batch), cmocka_unit_test(test_documents)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
