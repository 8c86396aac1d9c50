/* page: a page of docs/ as the tests read it: its headings and the fenced examples below them. */
#ifndef CTL_TESTS_PAGE_H
#define CTL_TESTS_PAGE_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct page_example {
    const char *info; /* "ctl net" */
    char *text;       /* with its last newline */
    int line;         /* of the page */
} page_example;

typedef struct page_section {
    char *heading; /* without its #s */
    char *text;    /* all up to the next heading, examples left out */
    page_example examples[40];
    size_t nexamples;
} page_section;

typedef struct page {
    char *text;
    page_section sections[200];
    size_t n;
} page;

static char *page_read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    char *text = calloc(1, 1 << 20);
    text[fread(text, 1, (1 << 20) - 1, file)] = 0;
    fclose(file);
    return text;
}

static void page_append(char *to, size_t room, const char *line) {
    size_t n = strlen(to);
    snprintf(to + n, room - n, "%s\n", line);
}

static bool page_open(page *p, const char *path) {
    enum { ROOM = 1 << 14 };
    memset(p, 0, sizeof *p);
    p->text = page_read_file(path);
    if (!p->text) return false;
    page_section *s = NULL;
    page_example *open = NULL;
    int number = 0;
    for (char *line = p->text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        number++;
        if (!open && line[0] == '#') {
            s = &p->sections[p->n++];
            s->heading = line + strspn(line, "# ");
            s->text = calloc(1, ROOM);
        } else if (s && !open && strncmp(line, "```", 3) == 0) {
            open = &s->examples[s->nexamples++];
            *open = (page_example){line + 3, calloc(1, ROOM), number};
        } else if (open && strcmp(line, "```") == 0) {
            open = NULL;
        } else if (s) {
            page_append(open ? open->text : s->text, ROOM, line);
        }
    }
    return !open;
}

static void page_close(page *p) {
    for (size_t i = 0; i < p->n; i++) {
        free(p->sections[i].text);
        for (size_t k = 0; k < p->sections[i].nexamples; k++) free(p->sections[i].examples[k].text);
    }
    free(p->text);
}

#endif
