/* options: `--name value` and `--name=value`, in any order with operands; `--` ends them. See options.h. */
#include "tools/ctlc/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "tools/ctlc/tool.h"

const char *options_nearest(const char *word, const char *const *words, size_t n) {
    enum { FAR = 3 };
    const char *nearest = NULL;
    const size_t length = strlen(word);
    int least = length <= FAR ? (int)length : FAR + 1; /* no word is near when every letter differs */
    for (size_t i = 0; i < n; i++) {
        int distance = ctl_edit_distance(word, words[i], FAR);
        if (distance < least) least = distance, nearest = words[i];
    }
    return nearest;
}

static int usage(const command_line *line, const char *what, const char *word) {
    fprintf(stderr, "ctlc %s: %s%s\n", line->command, what, word);
    fprintf(stderr, "ctlc %s --help tells all\n", line->command);
    return EXIT_USAGE;
}

static void help(const command_line *line) {
    printf("ctlc %s", line->command);
    if (line->operand_name) printf(" %s", line->operand_name);
    printf(" [options]\n\n%s\n", line->about);
    for (size_t i = 0; i < line->noptions; i++) {
        const option *o = &line->options[i];
        char left[64];
        snprintf(left, sizeof left, "%s%s%s%s", o->name[1] ? "--" : "-", o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        printf("  %-24s ", left);
        for (const char *c = o->help; *c; c++) { /* further lines stand under the first */
            putchar(*c);
            if (*c == '\n') printf("%27s", "");
        }
        putchar('\n');
    }
    printf("  %-24s this text\n", "--help");
    if (line->examples) printf("\nExamples\n%s", line->examples);
}

static int unknown(const command_line *line, const char *dashes, const char *name, size_t n) {
    const char *names[64];
    char word[64];
    size_t count = 0;
    for (; count < line->noptions && count < CTL_COUNT(names); count++)
        names[count] = line->options[count].name;
    snprintf(word, sizeof word, "%.*s", (int)n, name);
    fprintf(stderr, "ctlc %s: there is no option %s%s\n", line->command, dashes, word);
    const char *nearest = options_nearest(word, names, count);
    if (nearest) fprintf(stderr, "did you mean --%s?\n", nearest);
    fprintf(stderr, "ctlc %s --help lists them\n", line->command);
    return EXIT_USAGE;
}

static int take(const command_line *line, const option *o, const char *value) {
    char *end;
    errno = 0;
    switch (o->kind) {
    case OPT_FLAG:
        *(bool *)o->at = true;
        return 0;
    case OPT_TEXT:
        *(const char **)o->at = value;
        return 0;
    case OPT_LIST: {
        text_list *list = o->at;
        if (list->n == MOST_LIST) return usage(line, "too many values for --", o->name);
        list->at[list->n++] = value;
        return 0;
    }
    case OPT_COUNT: {
        long long count = strtoll(value, &end, 10);
        if (end == value || *end || errno || count < 0) break;
        *(int64_t *)o->at = count;
        return 0;
    }
    case OPT_REAL: {
        double real = strtod(value, &end);
        if (end == value || *end || errno || !(real >= 0)) break;
        *(double *)o->at = real;
        return 0;
    }
    }
    fprintf(stderr, "ctlc %s: --%s takes a number that is not negative, not \"%s\"\n", line->command, o->name,
            value);
    return EXIT_USAGE;
}

static int operand(command_line *line, const char *word) {
    if (line->operands.n == line->most_operands) return usage(line, "one argument too many: ", word);
    line->operands.at[line->operands.n++] = word;
    return 0;
}

/* Does the word, of n letters behind its dashes, mean the option? One letter has one dash; -o and --out are one everywhere. */
static bool means(const char *word, const char *name, size_t n, const option *o) {
    const bool one_dash = word[1] != '-';
    const char *called = o->name;
    if (strcmp(called, "o") == 0 || strcmp(called, "out") == 0) called = one_dash ? "o" : "out";
    return one_dash == (called[1] == 0) && strlen(called) == n && memcmp(called, name, n) == 0;
}

int options_parse(command_line *line, int argc, char **argv) {
    bool ended = false;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        int code = 0;
        if (ended || word[0] != '-' || word[1] == 0) {
            if ((code = operand(line, word))) return code;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            ended = true;
            continue;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) return help(line), -1;
        const char *name = word + (word[1] == '-' ? 2 : 1), *equals = strchr(name, '=');
        size_t n = equals ? (size_t)(equals - name) : strlen(name);
        const option *found = NULL;
        for (size_t k = 0; k < line->noptions; k++)
            if (means(word, name, n, &line->options[k])) found = &line->options[k];
        if (!found) return unknown(line, word[1] == '-' ? "--" : "-", name, n);
        const char *value = equals ? equals + 1 : NULL;
        if (found->kind == OPT_FLAG && value) return usage(line, "no value belongs to --", found->name);
        if (found->kind != OPT_FLAG && !value && i + 1 == argc)
            return usage(line, "a value is missing after ", word);
        if (found->kind != OPT_FLAG && !value) value = argv[++i];
        if ((code = take(line, found, value))) return code;
    }
    if (line->operand_name && line->operands.n == 0)
        return usage(line, "what is missing: ", line->operand_name);
    return 0;
}
