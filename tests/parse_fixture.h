/* parse_fixture: a source is parsed in an arena of its own, and what was said about it collected. */
#ifndef CTL_PARSE_FIXTURE_H
#define CTL_PARSE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "compiler/syntax/print.h"
#include "compiler/syntax/stdlib.h"

typedef struct bench {
    ctl_arena arena;
    jmp_buf out;
    ctl_sink sink;
    char said[30000];
} bench;

static void collect(void *ctx, const ctl_diagnostic *d) {
    bench *b = ctx;
    size_t at = strlen(b->said);
    ctl_diagnostic_text(d, b->said + at, sizeof b->said - at);
}

static ctl_ast_module *parse(bench *b, const char *text, size_t size) {
    b->said[0] = 0;
    return ctl_parse(&b->arena, &b->sink, ctl_sink_add_source(&b->sink, "a.ctl", text, size), "a");
}

#endif
