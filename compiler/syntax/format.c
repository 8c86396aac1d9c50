/* format: lays the lines of a source out one below the other. See format.h.
 *
 * Blank lines stay where the author put them, one at a time, but none at the beginning or end of a block or of the file.
 * Comments behind text stand in one column; those of neighbouring lines move together where one of the lines is longer. */
#include "compiler/syntax/format.h"
#include "compiler/syntax/print.h"

enum { MOST_ALIGNED = 100 /* a longer line has its comment right behind it and moves no other */ };

/* ---- the column of comments ---- */
static bool has_column(const ctl_row *row) { return row->note.text && (row->text || row->note.continues); }

static size_t end_of(const ctl_row *row) { return row->text ? row->indent + row->n : 0; }

static size_t column_from(const ctl_rows *rows, size_t first, size_t *end) {
    size_t column = CTL_FORMAT_COMMENT;
    for (*end = first; *end < rows->n && has_column(&rows->at[*end]) && (*end == first || !rows->at[*end].blank); ++*end) {
        size_t own = end_of(&rows->at[*end]);
        if (own <= MOST_ALIGNED && own + 2 > column) column = own + 2;
    }
    return column;
}

static void put_rows(const ctl_rows *rows, ctl_text *out) {
    size_t column = 0, aligned = 0;
    for (size_t i = 0; i < rows->n; i++) {
        const ctl_row *row = &rows->at[i];
        if (i >= aligned && has_column(row)) column = column_from(rows, i, &aligned);
        if (row->blank && i) ctl_text_put(out, "\n", 1);
        size_t at = end_of(row);
        if (row->text) {
            ctl_text_add(out, "%*s", (int)row->indent, "");
            ctl_text_put(out, row->text, row->n);
        }
        if (row->note.text) {
            size_t own = has_column(row) ? (at + 2 > column ? at + 2 : column) : row->indent;
            ctl_text_add(out, "%*s", (int)(own - at), "");
            ctl_text_put(out, row->note.text, row->note.n);
        }
        ctl_text_put(out, "\n", 1);
    }
}

/* ---- blocks ---- */
static void lay_lines(ctl_arena *arena, const ctl_format_lines *lines, ctl_rows *rows) {
    size_t level = 0;
    bool opened = true; /* the line before ends in a brace, or there is none */
    for (size_t i = 0; i < lines->n; i++) {
        ctl_format_line line = lines->at[i];
        bool closes = line.n && line.at[0].kind == '}';
        if (closes && level) level--;
        line.blank = line.blank && !opened && !closes;
        size_t indent = level * CTL_FORMAT_INDENT;
        opened = ctl_format_opens(&line);
        if (opened) level++;
        if (line.n) ctl_format_lay(arena, &line, indent, level * CTL_FORMAT_INDENT, rows);
        else CTL_PUSH(arena, rows, (ctl_row){.indent = indent, .note = line.note, .blank = line.blank});
    }
}

/* ---- the check ---- */
static size_t count_notes(const ctl_format_lines *lines) {
    size_t n = 0;
    for (size_t i = 0; i < lines->n; i++) {
        n += lines->at[i].note.text != NULL;
        for (size_t k = 0; k < lines->at[i].n; k++) n += lines->at[i].at[k].notes.n;
    }
    return n;
}

/* A formatter that loses something must not overwrite a file: what came out has the same tree and as many comments. */
static bool same(ctl_arena *arena, ctl_sink *sink, const ctl_ast_module *module, size_t notes, const ctl_text *out) {
    int before = sink->errors;
    uint32_t file = ctl_sink_add_source(sink, "<formatted>", out->at, out->n);
    ctl_text tree = {.arena = arena}, again = {.arena = arena};
    ctl_ast_print(module, &tree);
    ctl_ast_print(ctl_parse(arena, sink, file, module->name), &again);
    if (sink->errors != before || tree.n != again.n || (tree.n && memcmp(tree.at, again.at, tree.n) != 0)) return false;
    ctl_format_lines lines = {0};
    ctl_format_read(ctl_parser_open(arena, sink, file), &lines);
    return count_notes(&lines) == notes;
}

ctl_status ctl_format_source(ctl_arena *arena, ctl_sink *sink, uint32_t file, ctl_text *out) {
    int before = sink->errors;
    ctl_ast_module *module = ctl_parse(arena, sink, file, "");
    if (sink->errors != before) return CTL_ERR_INPUT;
    ctl_format_lines lines = {0};
    ctl_rows rows = {0};
    ctl_format_read(ctl_parser_open(arena, sink, file), &lines);
    lay_lines(arena, &lines, &rows);
    ctl_text_put(out, "", 0);
    put_rows(&rows, out);
    if (same(arena, sink, module, count_notes(&lines), out)) return CTL_OK;
    ctl_error(sink, CTL_E0901, ((ctl_span){file, 0, 0}), "this is a defect of ctlc; please report it with the file",
              "formatting would change what the file says");
    return CTL_ERR_INTERNAL;
}
