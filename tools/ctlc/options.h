/* options: a command's options as a table, which parses them and prints the help. */
#ifndef CTLC_OPTIONS_H
#define CTLC_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MOST_LIST = 256 };
typedef struct text_list {
    const char *at[MOST_LIST];
    size_t n;
} text_list;

typedef enum option_kind { OPT_FLAG, OPT_TEXT, OPT_LIST, OPT_COUNT, OPT_REAL } option_kind;

typedef struct option {
    const char *name;  /* without the dashes */
    const char *value; /* what stands for it in the help; NULL for a flag */
    option_kind kind;
    void *at; /* bool, const char *, text_list (may be given often), int64_t >= 0, double >= 0 */
    const char *help;
} option;

typedef struct command_line {
    const char *command; /* "train" */
    const char *about;   /* what --help says before the options */
    const char *examples;
    const option *options;
    size_t noptions;
    const char *operand_name; /* "SPEC.ctl"; NULL: no operands */
    size_t most_operands;
    text_list operands;
} command_line;

/* 0; EXIT_USAGE after an error that is printed; -1 when help was asked for and printed. */
int options_parse(command_line *line, int argc, char **argv);
/* The word of the list nearest to `word`, or NULL when none is near. */
const char *options_nearest(const char *word, const char *const *words, size_t n);

#endif
