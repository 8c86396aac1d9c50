/* model: the elaborator's table of contents. Modules, the tune block, the model's instances, its controls, the graph. */
#include "compiler/elaborate/adapt.h"
#include "compiler/elaborate/internal.h"

static const ctl_decl *choose_tune(ctl_elab *e, const ctl_loaded *main) {
    const ctl_decl *found = NULL, *unnamed = NULL;
    size_t n = 0, nameless = 0;
    ctl_text names = {.arena = e->arena};
    for (size_t k = 0; k < main->ast->ndecls; k++) {
        const ctl_decl *d = main->ast->decls[k];
        if (d->kind != DECL_TUNE) continue;
        n++;
        if (d->name) ctl_text_add(&names, "%s%s", names.n ? ", " : "", d->name);
        else unnamed = d, nameless++;
        if (e->options->tune ? d->name && strcmp(d->name, e->options->tune) == 0 : true) found = d;
    }
    if (!e->options->tune && n > 1) found = unnamed;
    if (nameless > 1) {
        ctl_error(e->sink, CTL_E0501, unnamed->span, "name them: `tune NAME = MODEL ..`", "the spec has %zu tune blocks without a name",
                  nameless);
        return NULL;
    }
    if (found) return found;
    if (n == 0)
        ctl_error(e->sink, CTL_E0501, main->ast->ndecls ? main->ast->decls[main->ast->ndecls - 1]->span : CTL_NO_SPAN,
                  "add `tune MODEL with CONTROL(..) { tokens 4 x 256 }`", "the spec has no tune block");
    else if (e->options->tune)
        ctl_error(e->sink, CTL_E0501, CTL_NO_SPAN, names.n ? ctl_format(e->arena, "there are: %s", names.at)
                          : "the spec's has no name: `tune NAME = MODEL with ..` gives it one",
                  "no tune block is called `%s`", e->options->tune);
    else
        ctl_error(e->sink, CTL_E0501, CTL_NO_SPAN, ctl_format(e->arena, "choose with --tune: %s", names.at),
                  "the spec has several tune blocks");
    return NULL;
}

static const ctl_decl *find_model(ctl_elab *e, const ctl_loaded *main, const ctl_path *path, const ctl_loaded **where) {
    const ctl_decl *model = ctl_find_decl(e, main, path, DECL_MODEL, where);
    if (model) return model;
    const char *best = NULL, *text = ctl_path_text(e->arena, path);
    int least = 4;
    for (size_t k = 0; k < main->ast->ndecls; k++) {
        const ctl_decl *d = main->ast->decls[k];
        if (d->kind != DECL_MODEL) continue;
        int dist = ctl_edit_distance(text, d->name, least - 1);
        if (dist < least) least = dist, best = d->name;
    }
    ctl_error(e->sink, CTL_E0501, path->span, best ? ctl_format(e->arena, "did you mean `%s`?", best)
                                                   : "declare it: `model NAME = NET(; ..)`",
              "no model is called `%s`", text);
    return NULL;
}

static ctl_instance *build(ctl_elab *e, const ctl_loaded *main, const ctl_decl *tune) {
    const ctl_loaded *home, *where; /* of the model's line, and of its net */
    const ctl_decl *model = find_model(e, main, &tune->target, &home);
    if (!model) return NULL;
    if (model->value->kind != EXPR_CALL) {
        ctl_error(e->sink, CTL_E0501, model->span, "`model NAME = NET(; ..)`", "a model is a call of a net");
        return NULL;
    }
    e->spec->model_name = model->name;
    e->module = main;
    ctl_read_settings(e, tune, model->value);
    if (e->sink->errors) return NULL;
    e->module = home;
    const ctl_decl *net = ctl_find_decl(e, home, &model->value->path, DECL_NET, &where);
    if (!net || net->kind != DECL_NET) {
        ctl_error(e->sink, CTL_E0203, model->value->path.span, NULL, "no net is called `%s`",
                  ctl_path_text(e->arena, &model->value->path));
        return NULL;
    }
    ctl_instance *root = ctl_instantiate_root(e, net, where, model->value);
    e->making = NULL, e->module = main;
    if (!root || e->sink->errors) return NULL;
    for (size_t k = 0; k < tune->ncontrols && e->sink->errors == 0; k++) ctl_apply_control(e, main, tune->controls[k]);
    return e->sink->errors ? NULL : root;
}

ctl_graph *ctl_elaborate(ctl_arena *arena, ctl_sink *sink, uint32_t file, const ctl_elaborate_options *options,
                         ctl_spec *spec) {
    ctl_elab *e = CTL_NEW(arena, ctl_elab);
    e->arena = arena, e->sink = sink, e->options = options, e->spec = spec, e->star = -1, e->entered.span = CTL_NO_SPAN;
    e->modules.arena = arena, e->weight_paths.arena = arena;
    e->draft = ctl_graph_new(arena);
    ctl_loaded *main = ctl_load_main(e, file);
    if (sink->errors) return NULL;
    const ctl_decl *tune = choose_tune(e, main);
    if (!tune) return NULL;
    ctl_instance *root = build(e, main, tune);
    if (!root) return NULL;
    const ctl_source *source = &sink->sources.at[file];
    spec->description = source->text;
    ctl_graph *g = ctl_finish(e, root);
    if (sink->errors) return NULL;
    ctl_network *network = ctl_network_read(e, root);
    if (options->network) *options->network = network;
    spec->adaptation = ctl_adapt_read(e, root, network);
    return sink->errors ? NULL : g;
}
