/* What the CUDA engine says of values, on the stand-ins: ids that no table has, given or computed, labels that are no classes, and where a
 * value stops being finite, each with its line. */
#include "tests/cuda_heard.h"

#include "base/base.h"
#include "runtime/session.h"

/* A session, loaded, that says what is wrong to h. */
static network open_heard(const char *text, heard *h) {
    const cuda_wanted w = {.text = text, .engine = CTLC_CUDA};
    const ctl_session_options so = {.seed = 5, .diagnostic = take, .diagnostic_ctx = h};
    network n = {0};
    assert_int_equal(cuda_compile(&w, &n.program), CTL_OK);
    assert_int_equal(ctl_session_open(n.program, &so, &n.session), CTL_OK);
    assert_int_equal(ctl_session_load(n.session), CTL_OK);
    return n;
}

/* Where a value stops being finite, task by task though graphs are captured already. */
static void test_not_finite(void **state) {
    (void)state;
    static const char root[] = "import nn\n"
                               "net odd(ids: id, labels: id; d) -> loss {\n"
                               "    h <- table: embedding(ids; n = 24, dim = d)\n"
                               "    z <- %s(mid: linear(h; n = d) * 0.0)\n"
                               "    loss <- cross_entropy(out: linear(z; n = 24), labels)\n}\n"
                               "model m = odd(; d = 8)\ntune m {\n    tokens 1 x 16\n    compute bf16\n}\n";
    for (int k = 0; k < 2; k++) {
        char text[600];
        heard h = {0};
        ctl_origin found = {0};
        snprintf(text, sizeof text, root, k ? "exp" : "log");
        network n = open_heard(text, &h);
        network_inputs(&n, 16);
        for (int turn = 0; turn < 2; turn++) assert_int_equal(ctl_session_evaluate(n.session), CTL_OK);
        const bool bad = ctl_session_find_bad_value(n.session, RUN_EVALUATE, &found);
        assert_true(bad == (k == 0));
        if (bad) assert_int_equal(n.program->places[found.place - 1].user.line, 4);
        assert_false(ctl_session_find_bad_param(n.session, &found));
        assert_int_equal(h.n, 0);
        cuda_close(&n);
    }
}

/* ---- ids ---- */
static const char bad_ids[] = "import roberta\n"
                              "model m = roberta.classifier(; vocab = 24, dim = 8, depth = 1, heads = 2, ffn = 8, positions = 12)\n"
                              "tune m {\n    tokens 1 x 16\n}\n";
static void test_ids(void **state) {
    (void)state;
    heard h = {0};
    network n = open_heard(bad_ids, &h);
    network_inputs(&n, 16);
    int32_t ids[16] = {0}, position[16], length[16];
    ids[3] = 24;
    assert_int_equal(ctl_session_input(n.session, "ids", CTL_I32, ids, 16), CTL_OK);
    assert_int_equal(ctl_session_evaluate(n.session), CTL_ERR_INPUT);
    assert_string_equal(h.code, "E0804");
    assert_non_null(strstr(h.message, "id 24 of row 3 is not one of 24 rows"));
    assert_true(strcmp(h.file, "spec") == 0 && h.line == 2 && strcmp(h.note, "<nn>") == 0); /* the model; the embedding */
    ids[3] = 0;
    assert_int_equal(ctl_session_input(n.session, "ids", CTL_I32, ids, 16), CTL_OK);
    for (int turn = 0; turn < 3; turn++) { /* positions from 2 on are computed, and there are 12; launched, captured, replayed */
        double loss;
        h = (heard){0};
        for (int k = 0; k < 16; k++) position[k] = k, length[k] = 16;
        assert_int_equal(ctl_session_input(n.session, "position", CTL_I32, position, 16), CTL_OK);
        assert_int_equal(ctl_session_input(n.session, "length", CTL_I32, length, 16), CTL_OK);
        assert_int_equal(ctl_session_evaluate(n.session), CTL_OK);
        assert_int_equal(ctl_session_output(n.session, "loss", true, &loss, 1), CTL_ERR_INPUT);
        assert_string_equal(h.code, "E0804");
        assert_non_null(strstr(h.message, "position_embeddings"));
        assert_non_null(strstr(h.message, "id 12 of row 10 is not one of 12 rows"));
        assert_non_null(strstr(h.message, "roberta.embeddings.position_embeddings: take: "));
        assert_true(strcmp(h.file, "spec") == 0 && h.line == 2 && strcmp(h.note, "<nn>") == 0);
        for (int k = 0; k < 16; k++) position[k] = k % 8, length[k] = 8; /* and what follows is right again */
        assert_int_equal(ctl_session_input(n.session, "position", CTL_I32, position, 16), CTL_OK);
        assert_int_equal(ctl_session_input(n.session, "length", CTL_I32, length, 16), CTL_OK);
        assert_int_equal(ctl_session_evaluate(n.session), CTL_OK);
        assert_int_equal(ctl_session_output(n.session, "loss", true, &loss, 1), CTL_OK);
        assert_true(isfinite(loss));
    }
    cuda_close(&n);
}

/* Two look-ups by computed ids in one kernel: the one that is wrong is named, and its line. */
static void test_two_tables(void **state) {
    (void)state;
    static const char spec_of_two[] = "net two(ids: id, labels: id; d) -> loss {\n"
                                      "    h <- first: embedding(ids + 1; n = 24, dim = d)\n"
                                      "    h <- second: embedding(ids + 1; n = 20, dim = d)\n"
                                      "    loss <- cross_entropy(out: linear(h; n = 24), labels)\n}\n"
                                      "model m = two(; d = 8)\ntune m {\n    tokens 1 x 16\n}\n";
    heard h = {0};
    network n = open_heard(spec_of_two, &h);
    for (int second = 1; second >= 0; second--) {
        int32_t ids[16] = {0};
        double loss;
        network_inputs(&n, 16);
        ids[7] = second ? 21 : 23; /* of the first table's rows, or of none */
        assert_int_equal(ctl_session_input(n.session, "ids", CTL_I32, ids, 16), CTL_OK);
        assert_int_equal(ctl_session_evaluate(n.session), CTL_OK);
        assert_int_equal(ctl_session_output(n.session, "loss", true, &loss, 1), CTL_ERR_INPUT);
        assert_string_equal(h.message, second ? "second: take: id 22 of row 7 is not one of 20 rows"
                                              : "first: take: id 24 of row 7 is not one of 24 rows");
        assert_int_equal(h.line, second ? 3 : 2);
    }
    cuda_close(&n);
}

/* ---- labels ---- */
static void test_labels(void **state) {
    (void)state;
    network n = {0};
    heard h = {0};
    const ctl_session_options so = {.seed = 5, .diagnostic = take, .diagnostic_ctx = &h};
    assert_int_equal(cuda_compile(&wanted, &n.program), CTL_OK);
    assert_int_equal(ctl_session_open(n.program, &so, &n.session), CTL_OK);
    assert_int_equal(ctl_session_load(n.session), CTL_OK);
    network_inputs(&n, 16);
    assert_int_equal(ctl_session_evaluate(n.session), CTL_OK); /* some labels are -100 */
    int32_t labels[16] = {0};
    for (int k = 0; k < 2; k++) {
        labels[9] = k ? 24 : -1;
        assert_int_equal(ctl_session_input(n.session, "labels", CTL_I32, labels, 16), CTL_OK);
        assert_int_equal(ctl_session_evaluate(n.session), CTL_ERR_INPUT);
        assert_string_equal(h.code, "E0804");
        assert_non_null(strstr(h.message, k ? "label 24 of row 9 is not one of 24 classes" : "label -1 of row 9 is not one of 24 classes"));
        assert_string_equal(h.hint, "labels are 0 .. classes - 1, or -100 for a row that does not count");
        assert_true(strcmp(h.file, "spec") == 0 && h.line == 2 && strcmp(h.note, "<llama>") == 0);
    }
    labels[9] = 23;
    assert_int_equal(ctl_session_input(n.session, "labels", CTL_I32, labels, 16), CTL_OK);
    assert_int_equal(ctl_session_evaluate(n.session), CTL_OK);
    cuda_close(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ids), cmocka_unit_test(test_two_tables), cmocka_unit_test(test_labels),
                                       cmocka_unit_test(test_not_finite)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
