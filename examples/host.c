/* host: a program in C that compiles a spec, trains it and saves its adapter, through the public headers alone. A step's rows are
 * 4 sequences of 32 bytes of one short text, whatever the spec says; frozen weights are random numbers unless a checkpoint is named.
 * docs/embedding.md is about what happens here. It exits with 1 where the loss did not fall.
 *
 * Usage: host SPEC.ctl [WEIGHTS [ADAPTER]]: a spec of a language model on bytes, its checkpoint, and a folder for the adapter. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctlc.h"

enum { SEQUENCES = 4, LENGTH = 32, ROWS = SEQUENCES * LENGTH, STEPS = 20 };

static void say(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    char text[4096];
    ctl_diagnostic_text(d, text, sizeof text);
    fputs(text, stderr);
}

/* What went wrong was said when it happened. */
static void check(ctl_status status) {
    if (status == CTL_OK) return;
    fprintf(stderr, "host: %s\n", ctl_status_name(status));
    exit(2);
}

/* Every input of the program, by its name: a program whose network needs no positions has none. */
static void write_inputs(const ctl_program *program, ctl_session *s) {
    static const char text[] = "A state is the sum of its edges, and a control is one edge more. ";
    int32_t ids[ROWS], labels[ROWS], position[ROWS], length[ROWS];
    for (int row = 0; row < ROWS; row++) {
        ids[row] = (unsigned char)text[(size_t)row % (sizeof text - 1)];
        labels[row] = (unsigned char)text[(size_t)(row + 1) % (sizeof text - 1)];
        position[row] = row % LENGTH, length[row] = LENGTH; /* each sequence is a document */
    }
    const struct {
        const char *name;
        const int32_t *values;
    } known[] = {{"ids", ids}, {"labels", labels}, {"position", position}, {"length", length}};
    for (size_t i = 0; i < ctl_program_input_count(program); i++) {
        const ctl_input_info input = ctl_program_input_at(program, i);
        const int32_t *values = NULL;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            if (strcmp(known[k].name, input.name) == 0) values = known[k].values;
        if (!values || input.rows * input.cols != ROWS) {
            fprintf(stderr, "host: the spec's input %s is not one of a language model\n", input.name);
            exit(2);
        }
        check(ctl_session_input(s, input.name, CTL_I32, values, ROWS));
    }
}

static double evaluate(ctl_session *s) {
    double loss;
    check(ctl_session_evaluate(s));
    check(ctl_session_output(s, "loss", true, &loss, 1));
    return loss;
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: host SPEC.ctl [WEIGHTS [ADAPTER]]\n");
        return 2;
    }
    const char *const set[] = {"tokens=4x32"}; /* as `--set` of the command */
    const ctlc_options options = {.set = set, .nset = 1, .diagnostic = say};
    ctl_program *program;
    check(ctlc_compile_file(argv[1], &options, &program));
    printf("a session takes %zu bytes\n", ctl_program_memory(program).peak);

    const ctl_session_options session_options = {.seed = 1, .diagnostic = say};
    ctl_session *s;
    check(ctl_session_open(program, &session_options, &s));
    const char *const weights[] = {argc > 2 ? argv[2] : NULL};
    if (argc > 2) check(ctl_session_load_weights(s, weights, 1, NULL));
    check(ctl_session_load(s)); /* what no file had gets its first values */

    write_inputs(program, s); /* they stay: all steps have this one batch */
    ctl_session_set_step(s, 1, 0, 1.0 / ROWS);
    const double before = evaluate(s);
    for (uint64_t step = 1; step <= STEPS; step++) {
        const ctl_optimizer_step adamw = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1, .step = step};
        double loss, norm;
        ctl_session_zero_gradients(s);
        ctl_session_set_step(s, step, 0, 1.0 / ROWS); /* the loss is a mean over all ROWS labels */
        check(ctl_session_forward(s));
        check(ctl_session_output(s, "loss", false, &loss, 1));
        check(ctl_session_backward(s));
        check(ctl_session_optimize(s, &adamw, &norm));
        if (step % 5 == 0) printf("step %d  loss %.4f  gradient %.4f\n", (int)step, loss, norm);
    }
    const double after = evaluate(s);
    printf("loss %.4f -> %.4f\n", before, after);
    if (argc > 3) check(ctl_session_save_adapter(s, argv[3]));
    ctl_session_close(s);
    ctl_program_free(program);
    return after < before ? 0 : 1;
}
