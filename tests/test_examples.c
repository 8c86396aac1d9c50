/* The files of examples/: every tune block compiles; and those of families.ctl, small networks of every family, learn on the
 * CPU: a few steps on one batch make its loss smaller. */
#include "tests/network_support.h"

#include <dirent.h>

static char *read_file(const char *path) {
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, 1 << 16);
    assert_non_null(f);
    assert_true(fread(text, 1, (1 << 16) - 1, f) > 0);
    fclose(f);
    return text;
}

/* The next `tune NAME = ..` of the text, or NULL; a block without a name is "". */
static const char *next_tune(const char *at, char *name, size_t size) {
    while (at && strncmp(at, "tune ", 5) != 0) at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL;
    if (!at) return NULL;
    const char *begin = at + 5, *end = begin + strcspn(begin, " {\n");
    bool named = strncmp(end, " = ", 3) == 0;
    snprintf(name, size, "%.*s", named ? (int)(end - begin) : 0, begin);
    return end;
}

static void test_all_compile(void **state) {
    (void)state;
    DIR *dir = opendir(SOURCE_DIR "/examples");
    int blocks = 0;
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".ctl") != 0) continue;
        char path[1024], name[100];
        snprintf(path, sizeof path, SOURCE_DIR "/examples/%s", entry->d_name);
        char *text = read_file(path);
        for (const char *at = text; (at = next_tune(at, name, sizeof name)); blocks++) {
            ctlc_options options = {.engine = CTLC_REFERENCE, .diagnostic = hear, .check_only = true, .tune = name[0] ? name : NULL};
            ctl_program *program = NULL;
            if (ctlc_compile_file(path, &options, &program) != CTL_OK) fail_msg("%s, tune %s", path, name);
        }
        free(text);
    }
    closedir(dir);
    assert_true(blocks > 30);
}

static double step(network *n, bool learn) {
    double loss;
    ctl_session_zero_gradients(n->session);
    assert_int_equal(ctl_session_forward(n->session), CTL_OK);
    assert_int_equal(ctl_session_output(n->session, "loss", false, &loss, 1), CTL_OK);
    assert_true(isfinite(loss));
    if (!learn) return loss;
    ctl_optimizer_step o = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 1};
    assert_int_equal(ctl_session_backward(n->session), CTL_OK);
    assert_int_equal(ctl_session_optimize(n->session, &o, NULL), CTL_OK);
    return loss;
}

static void test_families_learn(void **state) {
    (void)state;
    const char *path = SOURCE_DIR "/examples/families.ctl";
    char *text = read_file(path), name[100];
    for (const char *at = text; (at = next_tune(at, name, sizeof name));) {
        network n = {0};
        ctlc_options options = {.engine = CTLC_CPU, .diagnostic = hear, .verify = true, .threads = 2, .tune = name};
        ctl_session_options so = {.seed = 5, .threads = 2, .diagnostic = hear};
        assert_int_equal(ctlc_compile_file(path, &options, &n.program), CTL_OK);
        assert_int_equal(ctl_session_open(n.program, &so, &n.session), CTL_OK);
        assert_int_equal(ctl_session_load(n.session), CTL_OK);
        network_inputs(&n, 16);
        double before = step(&n, true), after = 0;
        for (int k = 0; k < 8; k++) after = step(&n, k < 7);
        if (!(after < before)) fail_msg("%s: the loss was %.6f, and is %.6f after eight steps", name, before, after);
        ctl_session_close(n.session);
        ctl_program_free(n.program);
    }
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_compile), cmocka_unit_test(test_families_learn)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
