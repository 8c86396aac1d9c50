/* ctlc graph: the network of states and edges of a spec, as text, as Graphviz' DOT or drawn by it. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "runtime/files.h"
#include "tools/ctlc/tool.h"

typedef struct drawing {
    char *text; /* NULL: no memory */
    size_t n;
} drawing;

static void keep(void *ctx, const char *pass, const char *text, size_t size) {
    drawing *d = ctx;
    (void)pass;
    d->text = malloc(size + 1);
    if (!d->text) return;
    memcpy(d->text, text, size);
    d->n = size;
}

/* Runs `dot -Tsvg` with its output to `fd`; no shell. */
static int draw_svg(const drawing *d, int fd) {
    int pipe_to[2];
    fflush(stdout);
    if (pipe(pipe_to) != 0) {
        perror("ctlc graph: a pipe");
        return EXIT_IO;
    }
    const pid_t child = fork();
    if (child == 0) {
        dup2(pipe_to[0], STDIN_FILENO);
        dup2(fd, STDOUT_FILENO);
        close(pipe_to[0]), close(pipe_to[1]);
        execlp("dot", "dot", "-Tsvg", (char *)NULL);
        _exit(errno == ENOENT ? 127 : 126);
    }
    close(pipe_to[0]);
    /* A drawer that is gone must not end us by a signal before we have said so. */
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    sigaction(SIGPIPE, &ignore, &before);
    for (size_t at = 0; child > 0 && at < d->n;) {
        const ssize_t n = write(pipe_to[1], d->text + at, d->n - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) break; /* what ended it comes out below */
        at += (size_t)n;
    }
    close(pipe_to[1]);
    int status = 0;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    sigaction(SIGPIPE, &before, NULL);
    if (child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) return EXIT_DONE;
    if (child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        fprintf(stderr, "ctlc graph: SVG is drawn by `dot`, which is not there: install the package graphviz, or "
                        "take --format dot\n");
        return EXIT_UNSUPPORTED;
    }
    fprintf(stderr, "ctlc graph: `dot` could not draw the network\n");
    return EXIT_IO;
}

/* A file is there as a whole or as it was before. */
static int write_drawing(const drawing *d, bool svg, const char *path, tool_speaker *speaker) {
    if (!path) {
        if (svg) return draw_svg(d, fileno(stdout));
        fwrite(d->text, 1, d->n, stdout);
        return EXIT_DONE;
    }
    ctl_place place = {{tool_diagnostic, speaker}, &ctl_malloc_allocator};
    ctl_new_file file;
    ctl_status status = ctl_new_file_open(&file, path, place);
    if (status != CTL_OK) return tool_exit_code(status);
    int code = EXIT_DONE;
    if (svg) code = draw_svg(d, file.fd);
    else code = tool_exit_code(ctl_new_file_write(&file, d->text, d->n));
    if (code == EXIT_DONE) return tool_exit_code(ctl_new_file_commit(&file));
    ctl_new_file_drop(&file);
    return code;
}

static bool ends_in(const char *path, const char *suffix) {
    size_t n = strlen(path), m = strlen(suffix);
    return n > m && strcmp(path + n - m, suffix) == 0;
}

/* A picture of another kind would be text under its name. */
static bool other_picture(const char *out) {
    static const char *const endings[] = {".png", ".pdf", ".jpg", ".jpeg", ".ps"};
    for (size_t i = 0; i < CTL_COUNT(endings); i++)
        if (ends_in(out, endings[i])) return true;
    return false;
}

int cmd_graph(int argc, char **argv) {
    tool_speaker speaker = {0};
    drawing d = {0};
    tool_compile c = {.check_only = true, .network = CTLC_NETWORK_TEXT, .print = keep, .print_ctx = &d};
    const char *format = NULL, *out = NULL;
    const option options[] = {
        {"format", "FORMAT", OPT_TEXT, &format, "text, dot, or svg (by Graphviz' `dot`); unless told, as --out\n"
                                                 "ends in .dot, .gv or .svg, else text"},
        {"unfold", "PATH", OPT_TEXT, &c.unfold, "which of the repeated parts to show, e.g. layers.2; else the first"},
        {"lines", NULL, OPT_FLAG, &c.network_lines, "behind each edge of the text: the file and the line that say it; <llama> is a\nfile of the library"},
        {"out", "FILE", OPT_TEXT, &out, "write to FILE instead of standard output"},
        {"tune", "NAME", OPT_TEXT, &c.tune, "which tune block, where the spec has several"},
        {"set", "KEY=VALUE", OPT_LIST, &c.set, "override a parameter: model.depth=2, CONTROL.rank=8"},
    };
    command_line line = {
        .command = "graph",
        .about =
            "Shows a spec's network as its author sees it: states, each the sum of the edges into it, and what the\n"
            "controls of the tune block do to it. A line is an edge; its mark says its kind:\n"
            "\n"
            "  .  no weights          an identity, or a function of states\n"
            "  -  frozen weights      x @ W as loaded\n"
            "  *  trained weights     the model's own, under `train`\n"
            "  ~  on a weight         a control in the place of a product with it (LoRA)\n"
            "  +  NEW                 an edge that a control added (parallel control)\n"
            "  >  in series           what readers of the state see instead (adapters)\n"
            "\n"
            "Parts that repeat and are alike stand once. Names are those that a control writes on its left.\n",
        .examples = "  ctlc graph my.ctl\n"
                    "  ctlc graph my.ctl --unfold layers.31           # the last block instead of the first\n"
                    "  ctlc graph my.ctl | grep '^+'                  # the new edges alone\n"
                    "  ctlc graph my.ctl --lines                      # and where each edge is written\n"
                    "  ctlc graph my.ctl --out net.svg                # a picture; needs the package graphviz\n",
        .options = options,
        .noptions = CTL_COUNT(options),
        .operand_name = "SPEC.ctl",
        .most_operands = 1,
    };
    int code = options_parse(&line, argc, argv);
    if (code) return code < 0 ? EXIT_DONE : code;
    if (!format && out && other_picture(out)) {
        fprintf(stderr, "ctlc graph: pictures are SVG: --out NAME.svg. Others are Graphviz' own: --format dot | dot -Tpng\n");
        return EXIT_USAGE;
    }
    if (!format) format = !out ? "text" : ends_in(out, ".svg") ? "svg" : ends_in(out, ".dot") || ends_in(out, ".gv") ? "dot" : "text";
    const bool svg = strcmp(format, "svg") == 0;
    if (c.network_lines && strcmp(format, "text") != 0) {
        fprintf(stderr, "ctlc graph: --lines stand in the text alone: --format text\n");
        return EXIT_USAGE;
    }
    if (svg || strcmp(format, "dot") == 0) c.network = CTLC_NETWORK_DOT;
    else if (strcmp(format, "text") != 0) {
        fprintf(stderr, "ctlc graph: --format is text, dot or svg, not \"%s\"\n", format);
        return EXIT_USAGE;
    }
    ctl_program *program;
    code = tool_compile_spec("graph", line.operands.at[0], &c, &speaker, &program);
    ctl_program_free(program);
    if (code == EXIT_DONE && !d.text) {
        fprintf(stderr, "ctlc graph: no memory\n");
        code = EXIT_MEMORY;
    }
    if (code == EXIT_DONE) code = write_drawing(&d, svg, out, &speaker);
    free(d.text);
    return code;
}
