/* sites: code addresses of the kernel's shared object as lines of its source, for what watch_runtime.c says.
 * binutils' addr2line knows them. Object and source are open files, which may have lost their names. */
#ifndef CTL_TESTS_CUDA_SITES_H
#define CTL_TESTS_CUDA_SITES_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int host_watch_object = -1; /* the shared object's file; the loader's to set */
extern const char host_source[] __attribute__((visibility("hidden"))); /* host.h */

enum { SITE_TEXT = 160 };
typedef struct site_line {
    char function[48]; /* the kernel, or what of it is no inline function */
    char text[SITE_TEXT];
    int line, inner; /* inner: of what is inline there */
} site_line;

static unsigned site_of(const void *code) {
    static const char *base;
    Dl_info info;
    if (!base && dladdr((const void *)&host_watch_object, &info)) base = info.dli_fbase;
    return (unsigned)((const char *)code - base);
}

static void site_read(int line, char *text) {
    const char *at = host_source;
    for (int k = 1; k < line && at; k++) at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL;
    if (!at || line < 1) return;
    at += strspn(at, " \t");
    snprintf(text, SITE_TEXT, "%.*s", (int)strcspn(at, "\n"), at);
}

/* n return addresses; of each the line of the kernel, whatever inline function of it does the access. */
static void site_lines(const unsigned *sites, int n, site_line *lines) {
    enum { AT_ONCE = 200 };
    for (int first = 0; first < n; first += AT_ONCE) {
        char command[64 + 16 * AT_ONCE], held[512];
        int used = snprintf(command, sizeof command, "addr2line -a -f -i -s -e /proc/self/fd/%d",
                            host_watch_object);
        for (int k = first; k < n && k < first + AT_ONCE; k++)
            used += snprintf(command + used, sizeof command - (size_t)used, " 0x%x", sites[k] - 1);
        FILE *f = popen(command, "r");
        int at = first - 1;
        while (f && fgets(held, sizeof held, f)) {
            held[strcspn(held, "\n")] = 0;
            if (strncmp(held, "0x", 2) == 0) {
                memset(&lines[++at], 0, sizeof lines[at]);
                continue;
            }
            char *of = strstr(held, "_of"); /* KERNEL of host.h */
            if (of && !of[3]) *of = 0;
            snprintf(lines[at].function, sizeof lines[at].function, "%s", held);
            if (!fgets(held, sizeof held, f)) break;
            const char *colon = strrchr(held, ':');
            lines[at].inner = lines[at].line, lines[at].line = colon ? atoi(colon + 1) : 0;
        }
        if (f) pclose(f);
    }
    for (int k = 0; k < n; k++) {
        site_read(lines[k].line, lines[k].text);
        if (strstr(lines[k].text, "_rows(&call, "))
            site_read(lines[k].line = lines[k].inner, lines[k].text); /* a row kernel's forms */
    }
}

#endif
