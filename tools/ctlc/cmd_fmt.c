/* ctlc fmt: formats .ctl files in place, or says which are not formatted. A file is replaced as a whole, and only when it
 * changes; one with errors is left as it is. */
#define _XOPEN_SOURCE 700 /* realpath */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "runtime/files.h"
#include "tools/ctlc/line_diff.h"
#include "tools/ctlc/tool.h"

enum { MOST_SOURCE = 16 << 20 };

typedef struct source {
    const char *name; /* as the user wrote it */
    char *text, *formatted;
    size_t n, capacity, nformatted;
} source;

static void keep(void *ctx, const char *pass, const char *text, size_t size) {
    source *s = ctx;
    (void)pass;
    s->formatted = malloc(size + 1);
    if (!s->formatted) return;
    memcpy(s->formatted, text, size);
    s->nformatted = size;
}

static int read_input(source *s) {
    size_t room = 0;
    for (;;) {
        if (s->n == room) {
            char *more = realloc(s->text, room = room ? 2 * room : 1 << 16);
            if (!more) return EXIT_MEMORY;
            s->text = more;
        }
        size_t got = fread(s->text + s->n, 1, room - s->n, stdin);
        s->n += got;
        if (s->n > MOST_SOURCE || got == 0) break;
    }
    s->capacity = room;
    if (ferror(stdin)) {
        perror("ctlc fmt: cannot read the input");
        return EXIT_IO;
    }
    return EXIT_DONE;
}

/* Through a link to the file itself, with its permissions. */
static int write_source(const source *s, ctl_place place) {
    char *path = realpath(s->name, NULL);
    struct stat info;
    ctl_new_file file;
    ctl_status status = path ? CTL_OK : CTL_ERR_IO;
    bool known = path && stat(path, &info) == 0;
    if (status == CTL_OK) status = ctl_new_file_open(&file, path, place);
    if (status == CTL_OK) {
        if (known) fchmod(file.fd, info.st_mode & 07777);
        status = ctl_new_file_write(&file, s->formatted, s->nformatted);
        if (status == CTL_OK) status = ctl_new_file_commit(&file);
        else ctl_new_file_drop(&file);
    } else if (!path) {
        fprintf(stderr, "ctlc fmt: %s: %s\n", s->name, strerror(errno));
    }
    free(path);
    return tool_exit_code(status);
}

typedef struct fmt_run {
    bool check, diff;
    int64_t checked, changed;
} fmt_run;

static int format(const char *name, fmt_run *how, tool_speaker *speaker) {
    bool input = strcmp(name, "-") == 0;
    ctl_place place = {{tool_diagnostic, speaker}, &ctl_malloc_allocator};
    source s = {.name = name};
    ctl_status status = CTL_OK;
    int code = EXIT_DONE;
    if (input) code = read_input(&s);
    else {
        code = tool_exit_code(status = ctl_file_read(name, MOST_SOURCE, &s.text, &s.n, place));
        s.capacity = s.n + 1;
    }
    if (code == EXIT_DONE) {
        ctlc_options options = {.diagnostic = tool_diagnostic, .diagnostic_ctx = speaker, .dump = keep, .dump_ctx = &s};
        status = ctlc_format_text(input ? "<stdin>" : name, s.text, s.n, &options);
        if (status == CTL_OK && !s.formatted) status = CTL_ERR_MEMORY;
        code = tool_exit_code(status);
    }
    if (code == EXIT_MEMORY) fprintf(stderr, "ctlc fmt: %s: no memory\n", name);
    if (code == EXIT_DONE) {
        bool changes = s.n != s.nformatted || memcmp(s.text, s.formatted, s.n) != 0;
        how->checked++, how->changed += changes;
        if (changes && how->diff &&
            !line_diff_print(stdout, input ? "<stdin>" : name, s.text, s.n, s.formatted, s.nformatted))
            code = EXIT_MEMORY;
        if (changes && how->check && !how->diff) printf("%s\n", name);
        if (!how->check && !how->diff) {
            if (input) fwrite(s.formatted, 1, s.nformatted, stdout);
            else if (changes) code = write_source(&s, place);
        }
    }
    free(s.text), free(s.formatted);
    return code;
}

int cmd_fmt(int argc, char **argv) {
    tool_speaker speaker = {0};
    fmt_run how = {0};
    const option options[] = {
        {"check", NULL, OPT_FLAG, &how.check, "change nothing; list the files that are not formatted, exit code 1 if any"},
        {"diff", NULL, OPT_FLAG, &how.diff, "change nothing; print what formatting would change"},
    };
    command_line line = {
        .command = "fmt",
        .about =
            "Formats .ctl files in place: four spaces a block, one statement a line, spaces around operators, comments in\n"
            "one column, lines of at most 128 characters where they can be broken. Comments stay, and blank lines one at a\n"
            "time; what the file says does not change. `-` formats standard input to standard output.\n",
        .examples = "  ctlc fmt my.ctl controls.ctl\n"
                    "  ctlc fmt --check *.ctl       # before a commit\n"
                    "  ctlc fmt --diff my.ctl\n"
                    "  ctlc fmt - < my.ctl          # for an editor\n",
        .options = options,
        .noptions = CTL_COUNT(options),
        .operand_name = "FILE.ctl..",
        .most_operands = MOST_LIST,
    };
    int code = options_parse(&line, argc, argv);
    if (code) return code < 0 ? EXIT_DONE : code;
    for (size_t i = 0; i < line.operands.n; i++) { /* one that fails does not keep the others from being formatted */
        int own = format(line.operands.at[i], &how, &speaker);
        if (code == EXIT_DONE) code = own;
    }
    if (how.check && how.changed)
        fprintf(stderr, "ctlc fmt: %lld of %lld files are not formatted; `ctlc fmt` without --check formats them\n",
                (long long)how.changed, (long long)how.checked);
    return code == EXIT_DONE && how.check && how.changed ? EXIT_INPUT : code;
}
