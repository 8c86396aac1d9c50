/* theorems: a host program in C. It compiles examples/theorems.ctl at run time and measures two theorems of "From
 * Weight-Based to State-Based Fine-Tuning" (ICML 2025), exiting with 1 where one does not hold:
 *
 * 1. In a deep linear system tuned by matrices of rank r[t], the whole changes by x[0] M with rank M <= sum r[t].
 * 2. At U = 0, moving a weight, x + f(x (W + U)), moves the next state within a proper subspace when the Jacobian of f is
 *    singular; a state edge, x + f(x W) + x U, moves it in every direction.
 *
 * Ranks are counted from singular values (one-sided Jacobi; Hestenes 1958). Usage: theorems PATH/theorems.ctl */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctlc.h"

enum { D = 16, E = 8 };

static void say(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    char text[4096];
    ctl_diagnostic_text(d, text, sizeof text);
    fprintf(stderr, "%s\n", text);
}

static void check(ctl_status status) {
    if (status == CTL_OK) return;
    fprintf(stderr, "theorems: %s\n", ctl_status_name(status));
    exit(2);
}

/* Singular values of a [rows x cols], rows <= cols, largest first: rows are turned until all are orthogonal. */
static void singular_values(double *a, int rows, int cols, double *out) {
    for (int sweep = 0; sweep < 60; sweep++)
        for (int p = 0; p < rows; p++)
            for (int q = p + 1; q < rows; q++) {
                double *x = a + (size_t)p * cols, *y = a + (size_t)q * cols, xx = 0, yy = 0, xy = 0;
                for (int k = 0; k < cols; k++) xx += x[k] * x[k], yy += y[k] * y[k], xy += x[k] * y[k];
                if (fabs(xy) <= 1e-300) continue;
                double z = (yy - xx) / (2 * xy), t = (z >= 0 ? 1 : -1) / (fabs(z) + sqrt(1 + z * z));
                double c = 1 / sqrt(1 + t * t), s = c * t;
                for (int k = 0; k < cols; k++) {
                    double u = x[k], v = y[k];
                    x[k] = c * u - s * v, y[k] = s * u + c * v;
                }
            }
    for (int p = 0; p < rows; p++) {
        out[p] = 0;
        for (int k = 0; k < cols; k++) out[p] += a[p * cols + k] * a[p * cols + k];
        out[p] = sqrt(out[p]);
    }
    for (int p = 0; p < rows; p++)
        for (int q = p + 1; q < rows; q++)
            if (out[q] > out[p]) {
                double t = out[p];
                out[p] = out[q], out[q] = t;
            }
}

static int rank_of(const double *s, int n) {
    int rank = 0;
    while (rank < n && s[rank] > 1e-10 * s[0]) rank++;
    return rank;
}

static ctl_session *open_session(const char *spec, const char *tune, ctl_program **program) {
    static const char *const outputs[] = {"y"};
    ctlc_options options = {.engine = CTLC_REFERENCE, .tune = tune, .outputs = outputs, .noutputs = 1, .diagnostic = say};
    check(ctlc_compile_file(spec, &options, program));
    ctl_session_options so = {.seed = 1, .diagnostic = say};
    ctl_session *s;
    check(ctl_session_open(*program, &so, &s));
    check(ctl_session_load(s));
    ctl_session_set_step(s, 1, 0, 1.0);
    return s;
}

static double noise(int k) { /* fractional parts of multiples of the square root of 2, squared */
    double x = (k + 1.0) * (k + 1.0) * 1.41421356237309505;
    return x - floor(x) - 0.5;
}

/* Fills every parameter whose name ends in `suffix`. */
static void fill(ctl_program *program, ctl_session *s, const char *suffix, double scale) {
    for (size_t p = 0; p < ctl_program_param_count(program); p++) {
        ctl_tensor_info info = ctl_program_param_at(program, p);
        size_t n = strlen(info.name), m = strlen(suffix), count = (size_t)(info.rows * info.cols);
        if (n < m || strcmp(info.name + n - m, suffix) != 0) continue;
        double *values = malloc(count * sizeof *values);
        if (!values) exit(2);
        for (size_t k = 0; k < count; k++) values[k] = scale * noise((int)(k + 1000 * p));
        check(ctl_session_param_write(s, p, CTL_F64, values));
        free(values);
    }
    check(ctl_session_load(s));
}

static int rank_of_change(const char *spec) {
    ctl_program *program;
    ctl_session *s = open_session(spec, "rank", &program);
    static float identity[D * D], zero[D * D];
    static double before[D * D], after[D * D];
    for (int k = 0; k < D; k++) identity[k * D + k] = 1;
    check(ctl_session_input(s, "x", CTL_F32, identity, D * D));
    check(ctl_session_input(s, "target", CTL_F32, zero, D * D));
    check(ctl_session_forward(s)); /* lora_B begins at zero */
    check(ctl_session_output(s, "y", false, before, D * D));
    fill(program, s, "lora_B.weight", 1.0);
    check(ctl_session_forward(s));
    check(ctl_session_output(s, "y", false, after, D * D));
    for (int k = 0; k < D * D; k++) after[k] -= before[k];
    double values[D];
    singular_values(after, D, D, values);
    printf("deep linear system, 3 layers of %d, rank 2 each: singular values of M", D);
    for (int k = 0; k < 8; k++) printf(" %.3g", values[k]);
    int rank = rank_of(values, D);
    printf(" ...\n  rank M = %d, the sum of the ranks = 6\n", rank);
    ctl_session_close(s);
    ctl_program_free(program);
    return rank;
}

/* Rank of U -> d y at U = 0: one row of the Jacobian for each element of y, by backward. */
static int rank_of_tangent(const char *spec, const char *tune) {
    ctl_program *program;
    ctl_session *s = open_session(spec, tune, &program);
    float x[E], target[E];
    double y[E], outer[E * E];
    for (int k = 0; k < E; k++) x[k] = (float)noise(k), target[k] = 0;
    for (size_t p = 0; p < ctl_program_param_count(program); p++) { /* a singular outer matrix: three rows are zero */
        if (strcmp(ctl_program_param_at(program, p).name, "outer.weight") != 0) continue;
        for (int k = 0; k < E * E; k++) outer[k] = k < 3 * E ? 0 : noise(k + 50);
        check(ctl_session_param_write(s, p, CTL_F64, outer));
    }
    check(ctl_session_load(s));
    check(ctl_session_input(s, "x", CTL_F32, x, E));
    static double jacobian[E * E * E];
    for (int k = 0; k < E; k++) {
        check(ctl_session_input(s, "target", CTL_F32, target, E));
        check(ctl_session_forward(s));
        check(ctl_session_output(s, "y", false, y, E));
        /* d mse / d y = 2 (y - target) / E: this target makes it a unit vector, up to rounding to f32 */
        for (int j = 0; j < E; j++) target[j] = (float)(y[j] - (j == k ? E / 2.0 : 0));
        check(ctl_session_input(s, "target", CTL_F32, target, E));
        ctl_session_zero_gradients(s);
        check(ctl_session_forward(s));
        check(ctl_session_backward(s));
        ctl_flat flat = ctl_session_flat(s);
        if (flat.count != E * E || flat.dtype != CTL_F64) exit(2);
        memcpy(jacobian + (size_t)k * E * E, flat.gradients, sizeof(double) * E * E);
    }
    double values[E];
    singular_values(jacobian, E, E * E, values);
    int rank = rank_of(values, E);
    printf("tangent space, control on the %s: dimension %d of %d\n", tune, rank, E);
    ctl_session_close(s);
    ctl_program_free(program);
    return rank;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: theorems PATH/theorems.ctl\n");
        return 2;
    }
    int change = rank_of_change(argv[1]);
    int weight = rank_of_tangent(argv[1], "weight"), state = rank_of_tangent(argv[1], "state");
    int holds = change == 6 && weight == E - 3 && state == E;
    printf("%s\n", holds ? "both theorems hold" : "a theorem does not hold");
    return holds ? 0 : 1;
}
