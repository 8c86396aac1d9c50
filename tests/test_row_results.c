/* What evaluation tells of every row, against plain C on the logits of the same weights: the row's loss and its
 * class, from the head and from a cross-entropy whose logits are kept, on both engines. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "ctl/ctlc.h"
#include "runtime/program.h"

enum { ROWS = 24, CLASSES = 37, IGNORED = -100 };
static const char SPEC[] =
    "net m(ids: id, labels: id; biased = false) -> logits, loss {\n"
    "    e <- embed: embedding(ids; n = 37, dim = 16)\n"
    "    h <- tanh(inner: linear(e; n = 24, biased = true))\n"
    "    logits <- head: linear(drop(h; p = 0.5); n = 37, biased)\n"
    "    loss <- cross_entropy(logits, labels)\n}\n"
    "control all() on m {\n    train **\n}\n"
    "model one = m()\nmodel two = m(; biased = true)\n"
    "tune plain = one with all() {\n    tokens 24 packed\n    adamw(; lr = 1e-3)\n}\n"
    "tune biased = two with all() {\n    tokens 24 packed\n    adamw(; lr = 1e-3)\n}\n";

static void hear(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    print_message("%s %s\n", d->code, d->message);
}

static ctl_program *compile(const char *tune, ctlc_engine engine, ctl_dtype compute, bool keep_logits) {
    const char *const outputs[] = {"logits"};
    const ctlc_options options = {.diagnostic = hear,
                                  .engine = engine,
                                  .compute = compute,
                                  .tune = tune,
                                  .threads = 2,
                                  .outputs = outputs,
                                  .noutputs = keep_logits,
                                  .row_results = true,
                                  .verify = true};
    ctl_program *p;
    assert_int_equal(ctlc_compile_text("m.ctl", SPEC, sizeof SPEC - 1, &options, &p), CTL_OK);
    return p;
}

static int32_t ids[ROWS], labels[ROWS];
static void make_rows(void) {
    for (int t = 0; t < ROWS; t++) {
        ids[t] = t * 11 % CLASSES;
        labels[t] = t % 5 == 3 ? IGNORED : t * 7 % CLASSES;
    }
}

/* Evaluates; logits only where `results` comes from a program that keeps them. */
static double evaluate(const ctl_program *p, double *results, double *logits) {
    ctl_session *s;
    double loss;
    assert_int_equal(ctl_session_open(p, &(ctl_session_options){.seed = 3, .diagnostic = hear}, &s), CTL_OK);
    assert_int_equal(ctl_session_load(s), CTL_OK);
    /* Larger weights than the first ones, that the classes differ. */
    ctl_flat flat = ctl_session_flat(s);
    for (size_t k = 0; k < flat.count; k++) {
        if (flat.dtype == CTL_F64) ((double *)flat.params)[k] = (float)sin(3.0 * (double)k);
        else ((float *)flat.params)[k] = (float)sin(3.0 * (double)k);
    }
    assert_int_equal(ctl_session_update(s), CTL_OK);
    assert_int_equal(ctl_session_input(s, "ids", CTL_I32, ids, ROWS), CTL_OK);
    assert_int_equal(ctl_session_input(s, "labels", CTL_I32, labels, ROWS), CTL_OK);
    ctl_session_set_step(s, 0, 0, 0.25);
    assert_int_equal(ctl_session_evaluate(s), CTL_OK);
    assert_int_equal(ctl_session_output(s, "row results", true, results, 2 * ROWS), CTL_OK);
    assert_int_equal(ctl_session_output(s, "loss", true, &loss, 1), CTL_OK);
    if (logits) assert_int_equal(ctl_session_output(s, "logits", true, logits, ROWS * CLASSES), CTL_OK);
    ctl_session_close(s);
    return loss;
}

static void check(const double *results, const double *logits, double loss, double tolerance) {
    double sum = 0;
    bool differ = false;
    for (int t = 0; t < ROWS; t++) {
        const double *l = logits + t * CLASSES;
        double z = 0, want = 0;
        int best = 0;
        for (int c = 0; c < CLASSES; c++) {
            z += exp(l[c]);
            if (l[c] > l[best]) best = c;
        }
        if (labels[t] != IGNORED) want = log(z) - l[labels[t]];
        sum += want;
        if (!(fabs(results[2 * t] - want) <= tolerance))
            fail_msg("row %d: loss %.9g, by its logits %.9g", t, results[2 * t], want);
        if (results[2 * t + 1] != best) fail_msg("row %d: class %g, by its logits %d", t, results[2 * t + 1], best);
        differ |= best != (int)results[1];
    }
    assert_true(differ);
    assert_true(fabs(loss - sum * 0.25) <= ROWS * tolerance);
}

static void test_against_logits(void **state) {
    (void)state;
    static const struct {
        ctlc_engine engine;
        ctl_dtype compute;
        double tolerance;
    } how[] = {{CTLC_REFERENCE, CTL_F64, 1e-12}, {CTLC_REFERENCE, CTL_F32, 1e-5}, {CTLC_CPU, CTL_F32, 1e-5}};
    static const char *const tunes[] = {"plain", "biased"};
    double results[2 * ROWS], logits[ROWS * CLASSES];
    make_rows();
    for (size_t k = 0; k < sizeof how / sizeof *how; k++) {
        for (size_t j = 0; j < 2; j++) {
            ctl_program *with = compile(tunes[j], how[k].engine, how[k].compute, true);
            ctl_program *without = compile(tunes[j], how[k].engine, how[k].compute, false);
            double loss = evaluate(with, results, logits);
            check(results, logits, loss, how[k].tolerance);
            loss = evaluate(without, results, NULL);
            check(results, logits, loss, how[k].tolerance);
            ctl_program_free(with);
            ctl_program_free(without);
        }
    }
}

/* Of equal logits the first counts, or a model that says nothing would be right everywhere. */
static void test_ties(void **state) {
    (void)state;
    double results[2 * ROWS];
    make_rows();
    for (int engine = 0; engine < 2; engine++) {
        for (int logits = 0; logits < 2; logits++) {
            ctl_program *p = compile("plain", engine ? CTLC_CPU : CTLC_REFERENCE, CTL_F32, logits);
            ctl_session *s;
            assert_int_equal(ctl_session_open(p, NULL, &s), CTL_OK);
            assert_int_equal(ctl_session_load(s), CTL_OK);
            ctl_flat flat = ctl_session_flat(s);
            memset(flat.params, 0, flat.count * sizeof(float));
            assert_int_equal(ctl_session_update(s), CTL_OK);
            assert_int_equal(ctl_session_input(s, "ids", CTL_I32, ids, ROWS), CTL_OK);
            assert_int_equal(ctl_session_input(s, "labels", CTL_I32, labels, ROWS), CTL_OK);
            ctl_session_set_step(s, 0, 0, 1);
            assert_int_equal(ctl_session_evaluate(s), CTL_OK);
            assert_int_equal(ctl_session_output(s, "row results", true, results, 2 * ROWS), CTL_OK);
            for (int t = 0; t < ROWS; t++) {
                assert_true(results[2 * t + 1] == 0);
                assert_true(fabs(results[2 * t] - (labels[t] == IGNORED ? 0 : log(CLASSES))) < 1e-5);
            }
            ctl_session_close(s);
            ctl_program_free(p);
        }
    }
}

/* The rows are not for training: nothing of forward or backward changes, and a program of another loss has none. */
static void test_only_evaluation(void **state) {
    (void)state;
    static const char SQUARES[] = "net m(x: d, target: d; d) -> y, loss {\n    y <- map: linear(x; n = d)\n"
                                  "    loss <- mse(y, target)\n}\ncontrol all() on m {\n    train **\n}\n"
                                  "model one = m(; d = 4)\ntune one with all() {\n    tokens 4 packed\n    adamw(; lr = 1e-3)\n}\n";
    ctl_program *p = compile("plain", CTLC_CPU, CTL_F32, false), *other;
    ctlc_options options = {.diagnostic = hear, .tune = "plain", .threads = 2};
    assert_int_equal(ctlc_compile_text("m.ctl", SPEC, sizeof SPEC - 1, &options, &other), CTL_OK);
    assert_int_equal(p->run[RUN_FORWARD].n, other->run[RUN_FORWARD].n);
    assert_int_equal(p->run[RUN_BACKWARD].n, other->run[RUN_BACKWARD].n);
    assert_int_equal(ctl_program_memory(p).peak, ctl_program_memory(other).peak);
    ctl_program_free(p);
    ctl_program_free(other);
    options = (ctlc_options){.diagnostic = hear, .row_results = true, .threads = 1};
    assert_int_equal(ctlc_compile_text("s.ctl", SQUARES, sizeof SQUARES - 1, &options, &p), CTL_OK);
    for (size_t k = 0; k < p->noutputs; k++) assert_string_not_equal(p->outputs[k].name, "row results");
    ctl_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_logits), cmocka_unit_test(test_ties),
                                       cmocka_unit_test(test_only_evaluation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
