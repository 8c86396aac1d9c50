/* example_blocks: every tune block of the files of examples/. Include cmocka first. */
#ifndef CTL_TESTS_EXAMPLE_BLOCKS_H
#define CTL_TESTS_EXAMPLE_BLOCKS_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Calls fn for each block (tune: NULL for one without a name); how many there are. */
static int each_example_block(void (*fn)(void *ctx, const char *path, const char *tune), void *ctx) {
    DIR *dir = opendir(SOURCE_DIR "/examples");
    int blocks = 0;
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".ctl") != 0) continue;
        char path[1024], name[100];
        snprintf(path, sizeof path, SOURCE_DIR "/examples/%s", entry->d_name);
        char *text = read_file(path);
        for (const char *at = text; (at = next_tune(at, name, sizeof name)); blocks++) fn(ctx, path, name[0] ? name : NULL);
        free(text);
    }
    closedir(dir);
    return blocks;
}

#endif
