/* What the nets of control.ctl compute, against their formulas in plain C, in f64: each is called once on the rows of two
 * sequences, with weights that are all drawn anew. Products and sums are written out here, row by row. */
#include "tests/network_support.h"

enum { S = 2, L = 4, N = S * L, D = 6, O = 5, R = 3 }; /* sequences, their rows, all rows, columns in and out, rank */

static const char probe[] =
    "import control\n"
    "net probe(x: d; d, o, r) -> lowrank, normal, lora, dora, vera, bottleneck, linear, houlsby, ia3, offset, red, loreft, mixing, steering, affine {\n"
    "    weight W : [d, o] init normal(1)\n"
    "    weight A : [r, d] init normal(1)\n"
    "    weight B : [o, r] init normal(1)\n"
    "    lowrank <- a: control.lowrank(x; rank = r, width = o, scale = 0.5)\n"
    "    normal <- b: control.lowrank_normal(x; rank = r)\n"
    "    lora <- c: control.lora(x, W; rank = r, alpha = 6)\n"
    "    dora <- e: control.dora(x, W; rank = r, alpha = 6)\n"
    "    vera <- f: control.vera(x, W, A, B)\n"
    "    bottleneck <- g: control.bottleneck(x; rank = r, width = o, scale = 4.0)\n"
    "    linear <- h: control.bottleneck_linear(x; rank = r, width = o)\n"
    "    houlsby <- i: control.houlsby(x; rank = r)\n"
    "    ia3 <- j: control.ia3(x)\n"
    "    offset <- x\n"
    "    offset <- k: control.offset(; width = d)\n"
    "    red <- l: control.red(x)\n"
    "    loreft <- m: control.loreft(x; rank = 2, head = 1, tail = 1)\n"
    "    mixing <- n: control.mixing(x; rank = 2)\n"
    "    steering <- x\n"
    "    steering <- q: control.steering(; width = d, m = 2)\n"
    "    affine <- s: control.affine(x; m = 2)\n"
    "}\n"
    "model m = probe(; d = 6, o = 5, r = 3)\n"
    "tune m { tokens 2 x 4\n }\n";

static double x[N][D];

static const double *weight_of(const network *n, const char *name) {
    for (size_t p = 0; p < n->params; p++)
        if (strcmp(n->info[p].name, name) == 0) return n->values[p];
    fail_msg("no weight %s", name);
    return NULL;
}

/* y = x W', W [rows, cols]. */
static void times_turned(const double *row, const double *w, int rows, int cols, double *y) {
    for (int i = 0; i < rows; i++) {
        y[i] = 0;
        for (int j = 0; j < cols; j++) y[i] += row[j] * w[i * cols + j];
    }
}
static double through_w(const double *w, const double *row, int column) { /* x W, W [D, O] */
    double sum = 0;
    for (int j = 0; j < D; j++) sum += row[j] * w[j * O + column];
    return sum;
}
static void low_rank(const network *n, const char *label, int t, int width, double *y) {
    char a[40], b[40];
    double low[R];
    snprintf(a, sizeof a, "%s.lora_A.weight", label), snprintf(b, sizeof b, "%s.lora_B.weight", label);
    times_turned(x[t], weight_of(n, a), R, D, low);
    times_turned(low, weight_of(n, b), width, R, y);
}
static double gelu(double v) { return 0.5 * v * (1 + erf(v / sqrt(2))); }
static void adapter(const network *n, const char *label, const char *down, const char *up, int t, int width, int kind, double *y) {
    char name[60];
    double low[R];
    snprintf(name, sizeof name, "%s.%s.weight", label, down);
    times_turned(x[t], weight_of(n, name), R, D, low);
    snprintf(name, sizeof name, "%s.%s.bias", label, down);
    for (int i = 0; i < R; i++) {
        low[i] += weight_of(n, name)[i];
        if (kind == 1 && low[i] < 0) low[i] = 0;
        if (kind == 2) low[i] = gelu(low[i]);
    }
    snprintf(name, sizeof name, "%s.%s.weight", label, up);
    times_turned(low, weight_of(n, name), width, R, y);
    snprintf(name, sizeof name, "%s.%s.bias", label, up);
    for (int i = 0; i < width; i++) y[i] += weight_of(n, name)[i];
}

/* h + R'(W h + b - R h), R = the first rows of the product of reflections, each I - 2 v v' / v' v. */
static void reft(const network *n, int t, double *y) {
    const double *v = weight_of(n, "m.V"), *w = weight_of(n, "m.W"), *b = weight_of(n, "m.b");
    double q[D][D], change[2];
    for (int i = 0; i < D; i++)
        for (int j = 0; j < D; j++) q[i][j] = i == j;
    for (int k = 0; k < 2; k++) {
        double size = 0;
        for (int j = 0; j < D; j++) size += v[k * D + j] * v[k * D + j];
        for (int i = 0; i < D; i++) {
            double along = 0;
            for (int j = 0; j < D; j++) along += q[i][j] * v[k * D + j];
            for (int j = 0; j < D; j++) q[i][j] -= 2 / size * along * v[k * D + j];
        }
    }
    for (int i = 0; i < 2; i++) {
        change[i] = b[i];
        for (int j = 0; j < D; j++) change[i] += w[i * D + j] * x[t][j] - q[i][j] * x[t][j];
    }
    int real = L - t / L, at = t % L; /* network_documents: the second sequence lacks a row */
    if (at >= real) at -= real, real = t / L;
    bool chosen = at < 1 || real - at <= 1;
    for (int j = 0; j < D; j++) y[j] = x[t][j] + (chosen ? change[0] * q[0][j] + change[1] * q[1][j] : 0);
}

/* Row t of what is called `name`; returns its columns. */
static int formula(const network *n, const char *name, int t, double *y) {
    const double *w = weight_of(n, "W");
    double low[R];
    if (strcmp(name, "lowrank") == 0) {
        low_rank(n, "a", t, O, y);
        for (int i = 0; i < O; i++) y[i] *= 0.5;
        return O;
    }
    if (strcmp(name, "normal") == 0) return low_rank(n, "b", t, D, y), D;
    if (strcmp(name, "lora") == 0) { /* x W + alpha / r x A' B' */
        low_rank(n, "c", t, O, y);
        for (int i = 0; i < O; i++) y[i] = through_w(w, x[t], i) + 2 * y[i];
        return O;
    }
    if (strcmp(name, "dora") == 0) { /* m (W' + s B A) / its rows' norms, times x */
        const double *a = weight_of(n, "e.lora_A.weight"), *b = weight_of(n, "e.lora_B.weight"), *m = weight_of(n, "e.lora_magnitude_vector");
        for (int i = 0; i < O; i++) {
            double size = 0, sum = 0;
            for (int j = 0; j < D; j++) {
                double whole = w[j * O + i];
                for (int k = 0; k < R; k++) whole += 2 * b[i * R + k] * a[k * D + j];
                size += whole * whole, sum += whole * x[t][j];
            }
            y[i] = m[i] / sqrt(size) * sum;
        }
        return O;
    }
    if (strcmp(name, "vera") == 0) { /* x W + b (d (x A')) B' */
        times_turned(x[t], weight_of(n, "A"), R, D, low);
        for (int k = 0; k < R; k++) low[k] *= weight_of(n, "f.vera_lambda_d")[k];
        times_turned(low, weight_of(n, "B"), O, R, y);
        for (int i = 0; i < O; i++) y[i] = through_w(w, x[t], i) + weight_of(n, "f.vera_lambda_b")[i] * y[i];
        return O;
    }
    if (strcmp(name, "bottleneck") == 0) {
        adapter(n, "g", "down", "up", t, O, 1, y);
        for (int i = 0; i < O; i++) y[i] *= 4;
        return O;
    }
    if (strcmp(name, "linear") == 0) return adapter(n, "h", "down_proj", "up_proj", t, O, 0, y), O;
    if (strcmp(name, "houlsby") == 0) adapter(n, "i", "down", "up", t, D, 2, y);
    if (strcmp(name, "loreft") == 0) reft(n, t, y);
    for (int j = 0; j < D; j++) {
        if (strcmp(name, "houlsby") == 0) y[j] += x[t][j];
        if (strcmp(name, "ia3") == 0) y[j] = x[t][j] * weight_of(n, "j.ia3_l")[j];
        if (strcmp(name, "offset") == 0) y[j] = x[t][j] + weight_of(n, "k.bias")[j];
        if (strcmp(name, "red") == 0) y[j] = x[t][j] * weight_of(n, "l.red_scale")[j] + weight_of(n, "l.red_bias")[j];
        if (strcmp(name, "steering") == 0) {
            const double *b = weight_of(n, "q.B"), *u = weight_of(n, "q.u");
            y[j] = x[t][j] + b[j * 2] * u[0] + b[j * 2 + 1] * u[1];
        }
        if (strcmp(name, "mixing") == 0) { /* U V over the real rows of the sequence */
            const double *u = weight_of(n, "n.U"), *v = weight_of(n, "n.V");
            y[j] = 0;
            for (int k = 0; k < 2; k++)
                for (int s = 0; s < L - t / L; s++) y[j] += u[t % L * 2 + k] * v[k * L + s] * x[t / L * L + s][j];
        }
        if (strcmp(name, "affine") == 0) { /* u_1 tanh(x G_1) + u_2 tanh(x G_2) */
            y[j] = 0;
            for (int k = 0; k < 2; k++) {
                const double *g = weight_of(n, k ? "s.G.1" : "s.G.0"), *u = weight_of(n, k ? "s.u.1" : "s.u.0");
                double sum = 0;
                for (int i = 0; i < D; i++) sum += x[t][i] * g[i * D + j];
                y[j] += u[0] * tanh(sum);
            }
        }
    }
    return D;
}

static void test_values(void **state) {
    (void)state;
    static const char *const names[] = {"lowrank", "normal", "lora", "dora",   "vera",   "bottleneck", "linear", "houlsby",
                                        "ia3",     "offset", "red",  "loreft", "mixing", "steering",   "affine"};
    network n;
    open_network(&n, probe);
    network_inputs(&n, L);
    for (int t = 0; t < N; t++)
        for (int j = 0; j < D; j++) x[t][j] = (float)(2 * unit(40, (uint32_t)(t * D + j))); /* as network_inputs has it */
    assert_int_equal(ctl_session_forward(n.session), CTL_OK);
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        double got[N * D], want[D];
        int cols = formula(&n, names[k], 0, want);
        assert_int_equal(ctl_session_output(n.session, names[k], false, got, (size_t)(N * cols)), CTL_OK);
        for (int t = 0; t < N; t++) {
            formula(&n, names[k], t, want);
            for (int j = 0; j < cols; j++)
                if (!(fabs(got[t * cols + j] - want[j]) < 1e-12 * (1 + fabs(want[j]))))
                    fail_msg("%s: row %d, column %d is %.15g, by the formula %.15g", names[k], t, j, got[t * cols + j], want[j]);
        }
    }
    close_network(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
