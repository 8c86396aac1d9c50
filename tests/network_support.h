/* network_support: whole networks on the reference executor in f64, and the gradient of each trained tensor against central
 * differences of the loss (fourth order, along random directions, relative to the gradient's norm), dropout included: it is
 * counted, so the differentiated function is fixed. */
#ifndef CTL_TESTS_NETWORK_SUPPORT_H
#define CTL_TESTS_NETWORK_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "ctl/ctlc.h"

static inline void hear(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    char text[4096];
    ctl_diagnostic_text(d, text, sizeof text);
    print_error("%s\n", text);
}

static inline double unit(uint64_t seed, uint32_t k) {
    uint32_t out[4], counter[4] = {k, 7, 0, 0};
    ctl_philox(counter, seed, out);
    return ctl_unit(out[0]) - 0.5;
}

typedef struct network {
    ctl_program *program;
    ctl_session *session;
    size_t params;
    double **values; /* of every parameter */
    ctl_tensor_info *info;
} network;

static inline void open_network(network *n, const char *spec) {
    ctlc_options options = {.engine = CTLC_REFERENCE, .compute = CTL_F64, .diagnostic = hear, .verify = true};
    assert_int_equal(ctlc_compile_text("spec", spec, strlen(spec), &options, &n->program), CTL_OK);
    ctl_session_options so = {.seed = 5, .diagnostic = hear};
    assert_int_equal(ctl_session_open(n->program, &so, &n->session), CTL_OK);
    n->params = ctl_program_param_count(n->program);
    n->values = calloc(n->params, sizeof *n->values);
    n->info = calloc(n->params, sizeof *n->info);
    assert_int_equal(ctl_session_load(n->session), CTL_OK);
    for (size_t p = 0; p < n->params; p++) { /* nothing stays at zero, where gradients of factors vanish */
        n->info[p] = ctl_program_param_at(n->program, p);
        size_t count = (size_t)(n->info[p].rows * n->info[p].cols);
        n->values[p] = calloc(count, sizeof(double));
        assert_int_equal(ctl_session_param_read(n->session, p, CTL_F64, n->values[p]), CTL_OK);
        for (size_t k = 0; k < count; k++) n->values[p][k] += 0.4 * unit(100 + p, (uint32_t)k);
        assert_int_equal(ctl_session_param_write(n->session, p, CTL_F64, n->values[p]), CTL_OK);
    }
    assert_int_equal(ctl_session_load(n->session), CTL_OK);
}

static inline void close_network(network *n) {
    for (size_t p = 0; p < n->params; p++) free(n->values[p]);
    free(n->values);
    free(n->info);
    ctl_session_close(n->session);
    ctl_program_free(n->program);
}

/* Sequences of `length` rows: the first is filled by its document, later ones lack a row or two of it, which are padding,
 * a document of its own. */
static inline void network_documents(network *n, int64_t length) {
    int64_t rows;
    if (!ctl_session_has_input(n->session, "position", &rows, NULL)) return;
    int32_t *place = calloc(2 * (size_t)rows, sizeof *place), *size = place + rows;
    for (int64_t t = 0; t < rows; t++) {
        int64_t lacks = t / length % 3 < length ? t / length % 3 : 0, at = t % length, real = length - lacks;
        place[t] = (int32_t)(at < real ? at : at - real), size[t] = (int32_t)(at < real ? real : lacks);
    }
    assert_int_equal(ctl_session_input(n->session, "position", CTL_I32, place, (size_t)rows), CTL_OK);
    assert_int_equal(ctl_session_input(n->session, "length", CTL_I32, size, (size_t)rows), CTL_OK);
    free(place);
}

/* ids below 11, labels below 3 where one stands for a sequence; some count for nothing. */
static inline void network_inputs(network *n, int64_t length) {
    static const char *const names[] = {"ids", "labels", "label", "types", "x", "target", "pixels"};
    int64_t rows, cols;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        if (!ctl_session_has_input(n->session, names[k], &rows, &cols)) continue;
        size_t count = (size_t)(rows * cols);
        int32_t *id = calloc(count, sizeof *id);
        float *x = calloc(count, sizeof *x);
        for (size_t j = 0; j < count; j++) {
            int t = (int)j;
            id[j] = k == 0 ? (t * 7 + 3) % 11 : k == 1 ? (t % 5 == 2 ? -100 : (t * 5 + 1) % 11) : k == 2 ? (t % 4 == 3 ? -100 : t % 3) : t % 2;
            x[j] = (float)(2 * unit(36 + k, (uint32_t)j));
        }
        assert_int_equal(ctl_session_input(n->session, names[k], k < 4 ? CTL_I32 : CTL_F32, k < 4 ? (void *)id : (void *)x, count), CTL_OK);
        free(id), free(x);
    }
    network_documents(n, length);
    ctl_session_set_step(n->session, 3, 0, 1.0 / 8);
}

static inline double loss_at(network *n, size_t p, const double *direction, double h) {
    size_t count = (size_t)(n->info[p].rows * n->info[p].cols);
    double *moved = malloc(count * sizeof *moved), loss;
    for (size_t k = 0; k < count; k++) moved[k] = n->values[p][k] + h * direction[k];
    assert_int_equal(ctl_session_param_write(n->session, p, CTL_F64, moved), CTL_OK);
    assert_int_equal(ctl_session_load(n->session), CTL_OK);
    assert_int_equal(ctl_session_forward(n->session), CTL_OK);
    assert_int_equal(ctl_session_output(n->session, "loss", false, &loss, 1), CTL_OK);
    free(moved);
    return loss;
}

/* only: a suffix that tensors' names must have; NULL: all trained ones. Returns how many tensors were compared. */
static inline int check_gradients(const char *spec, int64_t length, const char *only) {
    network n;
    open_network(&n, spec);
    network_inputs(&n, length);
    ctl_session_zero_gradients(n.session);
    assert_int_equal(ctl_session_forward(n.session), CTL_OK);
    assert_int_equal(ctl_session_backward(n.session), CTL_OK);
    ctl_flat flat = ctl_session_flat(n.session);
    assert_int_equal(flat.dtype, CTL_F64);
    double *gradients = malloc(flat.count * sizeof(double));
    memcpy(gradients, flat.gradients, flat.count * sizeof(double));
    size_t at = 0;
    int compared = 0;
    for (size_t p = 0; p < n.params; p++) {
        if (!n.info[p].trained) continue;
        size_t count = (size_t)(n.info[p].rows * n.info[p].cols), letters = strlen(n.info[p].name);
        const double *g = gradients + at;
        at += count;
        if (only && (letters < strlen(only) || strcmp(n.info[p].name + letters - strlen(only), only) != 0)) continue;
        double norm = 0, size = 0, along = 0, *direction = malloc(count * sizeof *direction);
        for (size_t k = 0; k < count; k++) {
            direction[k] = unit(900 + p, (uint32_t)k);
            norm += g[k] * g[k], size += direction[k] * direction[k], along += g[k] * direction[k];
        }
        double h = 5e-4 / sqrt(size);
        double d1 = loss_at(&n, p, direction, h) - loss_at(&n, p, direction, -h);
        double d2 = loss_at(&n, p, direction, 2 * h) - loss_at(&n, p, direction, -2 * h);
        double difference = (8 * d1 - d2) / (12 * h);
        double error = fabs(difference - along) / (sqrt(norm * size) + 1e-12);
        bool unseen = letters > 9 && strcmp(n.info[p].name + letters - 9, ".key.bias") == 0; /* softmax does not see it */
        if (unseen ? !(fabs(difference) < 1e-9 && norm < 1e-18) : !(error < 1e-6) || !(norm > 0))
            fail_msg("%s: along a direction %.12g, by differences %.12g, error %.3g, norm %.3g", n.info[p].name, along,
                     difference, error, sqrt(norm));
        loss_at(&n, p, direction, 0);
        free(direction);
        compared++;
    }
    assert_int_equal(at, flat.count);
    free(gradients);
    close_network(&n);
    return compared;
}

#endif
