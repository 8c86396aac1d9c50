/* modules: opening the spec and what it imports. The standard library is embedded; other modules are read through the
 * caller, who knows where the spec lies. */
#include "compiler/elaborate/internal.h"
#include "compiler/syntax/stdlib.h"

static void enter_names(ctl_elab *e, ctl_map *names, const ctl_parameter *list, size_t n) {
    for (size_t k = 0; k < n; k++) {
        const ctl_parameter *twin = ctl_map_get(names, list[k].name);
        if (twin) {
            ctl_error(e->sink, CTL_E0202, list[k].span, "give one of the two another name", "`%s` is declared twice", list[k].name);
            ctl_note(e->sink, twin->span, "the first declaration is here");
        } else ctl_map_put(names, list[k].name, (void *)&list[k]);
    }
}

/* Inputs and parameters are names of one body; a result may be an input. */
static void check_signature(ctl_elab *e, const ctl_decl *d) {
    ctl_map names = {.arena = e->arena}, results = {.arena = e->arena};
    enter_names(e, &names, d->inputs, d->ninputs);
    enter_names(e, &names, d->params, d->nparams);
    enter_names(e, &results, d->outputs, d->noutputs);
}

static void enter_decls(ctl_elab *e, ctl_loaded *m) {
    m->decls.arena = e->arena;
    for (size_t k = 0; k < m->ast->ndecls; k++) {
        const ctl_decl *d = m->ast->decls[k];
        if (d->kind == DECL_IMPORT) {
            if (strcmp(d->name, m->name) == 0) continue;
            ctl_loaded *import = ctl_load_module(e, d->name, d->span);
            if (import) CTL_PUSH(e->arena, &m->imports, import);
            continue;
        }
        check_signature(e, d);
        if (!d->name) continue;
        const ctl_decl *twin = ctl_map_get(&m->decls, d->name);
        if (twin) {
            ctl_error(e->sink, CTL_E0202, d->name_span, "give one of the two another name", "`%s` is declared twice", d->name);
            ctl_note(e->sink, twin->name_span, "the first declaration is here");
            continue;
        }
        ctl_map_put(&m->decls, d->name, (void *)d);
    }
}

static ctl_loaded *open_source(ctl_elab *e, const char *name, uint32_t file) {
    ctl_loaded *m = CTL_NEW(e->arena, ctl_loaded);
    m->name = name;
    m->loading = true;
    ctl_map_put(&e->modules, name, m);
    m->ast = ctl_parse(e->arena, e->sink, file, name);
    enter_decls(e, m);
    m->loading = false;
    return m;
}

ctl_loaded *ctl_load_module(ctl_elab *e, const char *name, ctl_span span) {
    ctl_loaded *m = ctl_map_get(&e->modules, name);
    if (m) {
        if (m->loading && strcmp(name, "nn") != 0) {
            ctl_error(e->sink, CTL_E0217, span, NULL, "the module `%s` imports itself, by way of others", name);
            return NULL;
        }
        return m;
    }
    for (const ctl_stdlib_file *f = ctl_stdlib; f->name; f++)
        if (strcmp(f->name, name) == 0) {
            const uint32_t file = ctl_sink_add_source(e->sink, ctl_format(e->arena, "<%s>", name), f->text, f->size);
            e->sink->sources.at[file].library = true;
            return open_source(e, name, file);
        }
    size_t size;
    const char *shown, *text = e->options->read ? e->options->read(e->options->read_ctx, name, &size, &shown) : NULL;
    if (text) return open_source(e, name, ctl_sink_add_source(e->sink, shown, text, size));
    const char *best = NULL;
    int least = 4;
    for (const ctl_stdlib_file *f = ctl_stdlib; f->name; f++) {
        int d = ctl_edit_distance(name, f->name, least - 1);
        if (d < least) least = d, best = f->name;
    }
    ctl_error(e->sink, CTL_E0217, span, best ? ctl_format(e->arena, "did you mean `%s`?", best)
                                             : "modules are the standard library's, or files NAME.ctl beside the spec",
              "no module is called `%s`", name);
    return NULL;
}

ctl_loaded *ctl_load_main(ctl_elab *e, uint32_t file) { return open_source(e, "main", file); }
