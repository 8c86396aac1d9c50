/* parse: from a source of the sink to its tree. The parts are listed in parser.h. */
#include "compiler/syntax/parser.h"
#include "ctl_grammar.h"

ctl_parser *ctl_parser_open(ctl_arena *arena, ctl_sink *sink, uint32_t file) {
    const ctl_source *source = &sink->sources.at[file];
    ctl_parser *p = CTL_NEW(arena, ctl_parser);
    p->arena = arena, p->sink = sink, p->file = file, p->text = source->text, p->size = source->size;
    p->held.kind = p->last.kind = p->before.kind = p->line.kind = -1;
    p->held_value = CTL_NEW(arena, CTL_YYSTYPE);
    ctl_scan_open(p);
    return p;
}

ctl_ast_module *ctl_parse(ctl_arena *arena, ctl_sink *sink, uint32_t file, const char *name) {
    ctl_ast_module *module = CTL_NEW(arena, ctl_ast_module);
    module->name = name, module->file = file;
    const ctl_source *source = &sink->sources.at[file];
    if (source->size > CTL_MOST_SOURCE) {
        ctl_error(sink, CTL_E0103, ((ctl_span){file, 0, 0}),
                  "a spec is text that a human writes: is this the right file?",
                  "the source has %zu bytes; the most is %d", source->size, CTL_MOST_SOURCE);
        return module;
    }
    ctl_parser *p = ctl_parser_open(arena, sink, file);
    ctl_yyparse(p); /* its result says whether recovery came to the end; the sink has the errors */
    module->decls = p->decls.at, module->ndecls = p->decls.n;
    return module;
}
