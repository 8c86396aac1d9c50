/* ctlc: the command line. Finds the command; each lies in a file of its own. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "tools/ctlc/tool.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} commands[] = {
    {"train", cmd_train, "tune a model on texts or images, under the memory that its spec states"},
    {"eval", cmd_eval, "loss, accuracy and answers of multiple choice, of a model on data"},
    {"plan", cmd_plan, "what a spec will take, in bytes by kind, before anything runs"},
    {"bench", cmd_bench, "time the steps of a spec on made-up weights and data"},
    {"build", cmd_build, "write the kernels of a spec for an NVIDIA GPU, as CUDA C and as machine code"},
    {"pack", cmd_pack, "lay buffers with known lives into one arena, as small as can be"},
    {"check", cmd_check, "say what is wrong with a spec, as text or as JSON"},
    {"graph", cmd_graph, "draw the network of a spec: its states, its edges, and which of them are new"},
    {"fmt", cmd_fmt, "format .ctl files, or say which are not formatted"},
    {"import", cmd_import, "write a spec from the config.json of a Hugging Face checkpoint"},
    {"export", cmd_export, "write a run's adapter as Hugging Face's PEFT has it"},
    {"merge", cmd_merge, "put an adapter into the weights that it belongs to"},
    {"calibrate", cmd_calibrate, "measure how fast this machine is, for plans"},
    {"runs", cmd_runs, "a table of finished runs"},
};

static void help(void) {
    printf("ctlc: a compiler for fine-tuning. A .ctl file says the network, what is tuned and how much "
           "memory there is.\n\n");
    for (size_t i = 0; i < CTL_COUNT(commands); i++)
        printf("  ctlc %-9s %s\n", commands[i].name, commands[i].about);
    printf("\n  ctlc COMMAND --help   options and examples of a command\n  ctlc --version\n\n"
           "Begin with\n"
           "  ctlc check examples/tiny.ctl\n"
           "  ctlc plan examples/tiny.ctl\n"
           "  ctlc train examples/tiny.ctl --data README.md --out build/first\n\n"
           "Exit codes: 0 done; 1 the spec, the data or the weights are wrong; 2 the command line is; 3 "
           "interrupted, with a\n"
           "checkpoint saved; 4 the system refused a file; 5 the memory does not suffice; 6 a loss is not "
           "finite; 7 not to\n"
           "be had here; 70 a defect of ctlc.\n");
}

/* Threads that wait for one another spin for milliseconds unless told otherwise, and on a machine that has
 * other work too they take the time of those that they wait for: a step was seen to take five times as long.
 * GNU's OpenMP reads this before main begins, so the program begins once more; where that fails it goes on as
 * it is. */
static void spin_less(char **argv) {
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    if (setenv("GOMP_SPINCOUNT", "10000", 1) == 0) execv("/proc/self/exe", argv);
}

int main(int argc, char **argv) {
    spin_less(argv);
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        help();
        return argc < 2 ? EXIT_USAGE : EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("ctlc %s\n", ctlc_version());
        return EXIT_DONE;
    }
    const char *names[CTL_COUNT(commands)];
    for (size_t i = 0; i < CTL_COUNT(commands); i++) {
        names[i] = commands[i].name;
        if (strcmp(argv[1], names[i]) == 0) {
            int code = commands[i].run(argc - 2, argv + 2);
            /* Output that could not be written (a full disk behind a pipe or a file) must not look like
             * success. */
            if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_DONE) {
                perror("ctlc: cannot write the output");
                code = EXIT_IO;
            }
            return code;
        }
    }
    fprintf(stderr, "ctlc: there is no command \"%s\"\n", argv[1]);
    const char *nearest = options_nearest(argv[1], names, CTL_COUNT(names));
    if (nearest) fprintf(stderr, "did you mean %s?\n", nearest);
    fprintf(stderr, "ctlc --help lists them\n");
    return EXIT_USAGE;
}
