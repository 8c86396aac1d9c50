/* format_fixture: what must hold whenever a source is formatted, for the tests of the formatter and its fuzzer: the same
 * tree, each comment once and in order, and nothing left to do the second time. Comments are found by a search for `#`,
 * which the language has nowhere else. */
#ifndef CTL_TESTS_FORMAT_FIXTURE_H
#define CTL_TESTS_FORMAT_FIXTURE_H

#include "compiler/syntax/format.h"
#include "compiler/syntax/print.h"

static ctl_text tree_of(ctl_arena *arena, ctl_sink *sink, const char *text, size_t n) {
    ctl_text tree = {.arena = arena};
    ctl_text_put(&tree, "", 0);
    ctl_ast_print(ctl_parse(arena, sink, ctl_sink_add_source(sink, "a.ctl", text, n), "a"), &tree);
    return tree;
}

static ctl_text comments_of(ctl_arena *arena, const char *text, size_t n) {
    ctl_text all = {.arena = arena};
    ctl_text_put(&all, "", 0);
    for (size_t i = 0; i < n; i++) {
        if (text[i] != '#') continue;
        size_t end = i;
        while (end < n && text[end] != '\n') end++;
        size_t last = end;
        while (text[last - 1] == ' ' || text[last - 1] == '\t' || text[last - 1] == '\r') last--;
        ctl_text_put(&all, text + i, last - i);
        ctl_text_put(&all, "\n", 1);
        i = end;
    }
    return all;
}

/* NULL, or what does not hold. *out: the formatted text. A source with errors is to be refused, and is then fine. */
static const char *format_fault(ctl_arena *arena, ctl_sink *sink, const char *text, size_t n, ctl_text *out) {
    *out = (ctl_text){.arena = arena};
    sink->errors = 0;
    ctl_text before = tree_of(arena, sink, text, n);
    bool clean = sink->errors == 0;
    ctl_status status = ctl_format_source(arena, sink, ctl_sink_add_source(sink, "a.ctl", text, n), out);
    if (!clean) return status == CTL_ERR_INPUT ? NULL : "a source with errors was not refused";
    if (status != CTL_OK) return "a source without errors was refused";
    ctl_text after = tree_of(arena, sink, out->at, out->n);
    if (sink->errors) return "what came out has errors";
    if (strcmp(before.at, after.at) != 0) return "the tree is another";
    if (strcmp(comments_of(arena, text, n).at, comments_of(arena, out->at, out->n).at) != 0)
        return "the comments are others";
    ctl_text twice = {.arena = arena};
    ctl_format_source(arena, sink, ctl_sink_add_source(sink, "a.ctl", out->at, out->n), &twice);
    if (strcmp(out->at, twice.at) != 0) return "the second time changes it again";
    return NULL;
}

#endif
