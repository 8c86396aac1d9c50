/* control: statements with a target (edges, series, weight edges, train, freeze), whose left side may be a pattern,
 * and the application of a control to every instance of its net. */
#include "compiler/elaborate/internal.h"

/* ---- patterns: one line becomes several ---- */
typedef CTL_VEC(ctl_path) path_list;

static void expand(ctl_elab *e, const ctl_path *path, size_t from, path_list *out, int depth) {
    size_t i = from;
    while (i < path->n && path->seg[i].kind != SEG_BRACES) i++;
    if (i == path->n || depth > 16) {
        CTL_PUSH(e->arena, out, *path);
        return;
    }
    const ctl_segment *braces = &path->seg[i];
    for (size_t k = 0; k < braces->nchoices && out->n < 10000; k++) {
        const ctl_path *choice = &braces->choices[k];
        ctl_path one = {path->span, CTL_NEW_ARRAY(e->arena, ctl_segment, path->n - 1 + choice->n), path->n - 1 + choice->n};
        memcpy(one.seg, path->seg, i * sizeof *one.seg);
        memcpy(one.seg + i, choice->seg, choice->n * sizeof *one.seg);
        memcpy(one.seg + i + choice->n, path->seg + i + 1, (path->n - i - 1) * sizeof *one.seg);
        expand(e, &one, i, out, depth + 1);
    }
}

/* The indices of the family at the path's first [*]; empty and an error when there is none. */
static void star_indices(ctl_elab *e, ctl_scope *scope, const ctl_path *path, size_t star, int64_t **out, size_t *n) {
    *n = 0;
    ctl_path head = {path->span, path->seg, star};
    size_t done;
    ctl_entity *family = NULL;
    ctl_resolve(e, scope, &head, &done, &family);
    if (done == SIZE_MAX) return;
    if (!family || done < star) {
        ctl_unknown(e, scope, &head, CTL_E0216);
        return;
    }
    *out = CTL_NEW_ARRAY(e->arena, int64_t, family->order.n);
    for (size_t k = 0; k < family->order.n; k++) {
        const char *name = family->order.at[k]->name;
        if (name[0] != '[') continue;
        int64_t index = 0;
        for (const char *d = name + 1; *d >= '0' && *d <= '9'; d++) index = index * 10 + (*d - '0');
        (*out)[(*n)++] = index;
    }
    if (*n == 0)
        ctl_error(e->sink, CTL_E0216, path->seg[star].span, NULL, "`%s` is no family: it has no indexed members",
                  ctl_path_text(e->arena, &head));
}

/* ---- one target ---- */
static ctl_entity *owner_of(ctl_entity *entity) {
    while (entity && !(entity->kind == ENTITY_INSTANCE)) entity = entity->parent;
    return entity;
}

static const char *kind_text(ctl_entity_kind kind) {
    static const char *const names[] = {"a group of names", "a state", "a weight", "a value", "an instance"};
    return names[kind];
}

static void wrong_target(ctl_elab *e, const ctl_stmt *s, const ctl_path *path, ctl_entity *entity) {
    const char *symbol = s->kind == STMT_EDGE ? "<-" : s->kind == STMT_SERIES ? "=>" : "~";
    const char *hint = NULL, *name = ctl_path_text(e->arena, path);
    if (entity->kind == ENTITY_INSTANCE)
        hint = s->kind == STMT_TILDE ? ctl_format(e->arena, "its weight: `%s.weight`", name)
                                     : ctl_format(e->arena, "one of its states: `%s.y`", name);
    else if (s->kind == STMT_TILDE)
        hint = "`~` changes the products with a weight";
    else if (entity->kind == ENTITY_WEIGHT)
        hint = ctl_format(e->arena, "what stands in the place of its products: `%s ~ ..`", name);
    else if (entity->kind == ENTITY_VALUE)
        hint = "declare it with `<-` to make it a state";
    ctl_error(e->sink, CTL_E0402, path->span, hint, "`%s` needs %s on its left; `%s` is %s", symbol,
              s->kind == STMT_TILDE ? "a weight" : "a state", name, kind_text(entity->kind));
    if (entity->span.file != CTL_NO_FILE) ctl_note(e->sink, entity->span, "it is declared here");
}

static ctl_value eval_for(ctl_elab *e, ctl_scope *scope, ctl_entity *owner, const ctl_expr *value) {
    ctl_entity *before = e->owner;
    e->owner = owner;
    ctl_value v = ctl_eval(e, scope, value);
    e->owner = before;
    return v;
}

static void run_edge(ctl_elab *e, ctl_scope *scope, const ctl_stmt *s, const ctl_path *path, bool pattern) {
    size_t done;
    ctl_entity *last = NULL, *entity = ctl_resolve(e, scope, path, &done, &last);
    if (done == SIZE_MAX) return;
    if (entity && done == path->n) {
        if (entity->kind != ENTITY_STATE) {
            wrong_target(e, s, path, entity);
            return;
        }
        if (entity->value.kind != VALUE_NODE) return; /* an error before */
        ctl_entity *owner = owner_of(entity);
        bool own = owner && !e->control && e->making && owner == e->making->entity;
        ctl_value v = eval_for(e, scope, own ? NULL : owner, s->value);
        ctl_state_edge(e, entity->value.node, ctl_as_node(e, v, s->value->span), s->span);
        return;
    }
    /* A new state has a name of its own, or an index of its own in a family; it is not put into what exists already. */
    bool inside = done > 0 && (path->n - done > 1 || last->kind == ENTITY_INSTANCE);
    if (pattern || inside) {
        ctl_unknown(e, scope, path, CTL_E0216);
        return;
    }
    ctl_value v = eval_for(e, scope, NULL, s->value);
    ctl_node_id first = ctl_as_node(e, v, s->value->span);
    entity = ctl_declare(e, scope, NULL, path, ENTITY_STATE);
    if (!entity) return;
    entity->value = first == CTL_NONE ? (ctl_value){.kind = VALUE_ERROR} : ctl_state_new(e, s->span, entity->path, first);
}

static ctl_entity *existing(ctl_elab *e, ctl_scope *scope, const ctl_path *path) {
    size_t done;
    ctl_entity *last = NULL, *entity = ctl_resolve(e, scope, path, &done, &last);
    if (done == SIZE_MAX) return NULL;
    if (!entity || done < path->n) {
        ctl_unknown(e, scope, path, CTL_E0216);
        return NULL;
    }
    return entity;
}

static void run_series(ctl_elab *e, ctl_scope *scope, const ctl_stmt *s, const ctl_path *path) {
    ctl_entity *entity = existing(e, scope, path);
    if (!entity) return;
    if (entity->kind != ENTITY_STATE) {
        wrong_target(e, s, path, entity);
        return;
    }
    if (entity->value.kind != VALUE_NODE) return;
    ctl_node_id node = entity->value.node;
    ctl_state *state = e->states.at[node];
    /* What g reads: the state as the lines before left it. */
    ctl_value raw = ctl_state_new(e, s->span, entity->path, node);
    if (raw.kind != VALUE_NODE) return;
    e->states.at[raw.node]->raw_of = node;
    e->states.at[raw.node]->raw_level = (uint32_t)state->series.n;
    ctl_entity *before = e->owner;
    e->owner = owner_of(entity);
    ctl_value v = ctl_call(e, scope, s->value, &raw, 1);
    e->owner = before;
    ctl_node_id result = ctl_as_node(e, v, s->value->span);
    if (result == CTL_NONE) return;
    const ctl_node *a = &e->draft->at[result], *b = &e->draft->at[node];
    if (a->rows != b->rows || a->cols != b->cols || a->space != b->space || a->split != b->split) {
        ctl_error(e->sink, CTL_E0302, s->span, NULL, "what stands in series behind `%s` must have its shape %s, not %s",
                  entity->path, ctl_shape_text(e, node), ctl_shape_text(e, result));
        return;
    }
    CTL_PUSH(e->arena, &state->series, result);
    CTL_PUSH(e->arena, &e->lines, (ctl_edge){result, s->span, ctl_users_span(e, s->span), e->control});
}

static void run_tilde(ctl_elab *e, ctl_scope *scope, const ctl_stmt *s, const ctl_path *path) {
    ctl_entity *entity = existing(e, scope, path);
    if (!entity) return;
    if (entity->kind != ENTITY_WEIGHT) {
        wrong_target(e, s, path, entity);
        return;
    }
    if (entity->value.kind != VALUE_NODE) return;
    size_t n = e->uses.n, changed = 0;
    for (size_t k = 0; k < n; k++) {
        ctl_weight_use use = e->uses.at[k];
        const ctl_node *right = &e->draft->at[use.right];
        ctl_node_id weight = right->op == OP_TRANSPOSE ? right->in[0] : use.right;
        while (e->replaced.n < e->draft->n) CTL_PUSH(e->arena, &e->replaced, CTL_NONE);
        if (weight != entity->value.node || e->replaced.at[use.product] != CTL_NONE) continue;
        ctl_value operands[] = {ctl_node_value(use.left), ctl_node_value(use.right)};
        ctl_entity *before = e->owner;
        e->owner = owner_of(entity);
        ctl_value v = ctl_call(e, scope, s->value, operands, 2);
        e->owner = before;
        ctl_node_id result = ctl_as_node(e, v, s->value->span);
        if (result == CTL_NONE) return;
        const ctl_node *a = &e->draft->at[result], *b = &e->draft->at[use.product];
        if (a->rows != b->rows || a->cols != b->cols || a->space != b->space) {
            ctl_error(e->sink, CTL_E0302, s->span, NULL, "what stands for the product with `%s` must have its shape %s, not %s",
                      entity->path, ctl_shape_text(e, use.product), ctl_shape_text(e, result));
            return;
        }
        while (e->replaced.n < e->draft->n) CTL_PUSH(e->arena, &e->replaced, CTL_NONE);
        e->replaced.at[use.product] = result;
        CTL_PUSH(e->arena, &e->lines, (ctl_edge){use.product, s->span, ctl_users_span(e, s->span), e->control});
        changed++;
    }
    if (!changed && e->sink->errors == 0)
        ctl_error(e->sink, CTL_E0403, s->span, "`~` changes products `x @ W`; a look-up or a sum has none",
                  "no product uses the weight `%s`", entity->path);
}

/* The weight below `prefix` that was most likely meant, without the prefix: one that begins as text does up to its first point
 * (`embed` for `embed_tokens.weight`), else the nearest. NULL when none is near. */
static const char *nearest_weight(const ctl_elab *e, const char *prefix, const char *text) {
    const char *best = NULL;
    int least = 6;
    size_t n = strlen(prefix), head = strcspn(text, ".[*{");
    for (size_t p = 0; p < e->draft->params.n; p++) {
        const char *name = e->draft->params.at[p].name;
        if (n && (strncmp(name, prefix, n) != 0 || name[n] != '.')) continue;
        const char *shown = name + (n ? n + 1 : 0);
        if (head >= 2 && head < strlen(text) && strncmp(shown, text, head) == 0 && shown[head] != '.') return shown;
        int d = ctl_edit_distance(text, shown, least - 1);
        if (d < least) least = d, best = shown;
    }
    return best;
}

static void run_train(ctl_elab *e, ctl_scope *scope, const ctl_stmt *s) {
    const char *prefix = e->making ? e->making->entity->path : "";
    for (size_t k = 0; k < s->npaths; k++) {
        size_t matched = 0;
        for (size_t p = 0; p < e->draft->params.n; p++) {
            ctl_param *param = &e->draft->params.at[p];
            if (!ctl_path_matches(e, scope, &s->paths[k], prefix, param->name)) continue;
            param->trained = s->kind == STMT_TRAIN;
            matched++;
        }
        if (matched) continue;
        const char *text = ctl_path_text(e->arena, &s->paths[k]), *near = nearest_weight(e, prefix, text);
        ctl_error(e->sink, CTL_E0216, s->paths[k].span, near ? ctl_format(e->arena, "did you mean `%s`?", near) : NULL,
                  "`%s` matches no weight", text);
    }
}

void ctl_run_targeted(ctl_elab *e, ctl_scope *scope, const ctl_stmt *s) {
    if (s->kind == STMT_TRAIN || s->kind == STMT_FREEZE) {
        run_train(e, scope, s);
        return;
    }
    path_list paths = {0};
    expand(e, &s->paths[0], 0, &paths, 0);
    for (size_t k = 0; k < paths.n; k++) {
        const ctl_path *path = &paths.at[k];
        size_t star = path->n;
        for (size_t i = path->n; i-- > 0;)
            if (path->seg[i].kind == SEG_STAR) star = i;
        int64_t once[1] = {e->star}, *indices = once, before = e->star;
        size_t n = 1;
        if (star < path->n && e->star < 0) star_indices(e, scope, path, star, &indices, &n);
        for (size_t i = 0; i < n; i++) {
            int errors = e->sink->errors;
            e->star = indices[i];
            if (!ctl_count_step(e, s->span)) break;
            bool pattern = paths.n > 1 || star < path->n;
            if (s->kind == STMT_EDGE) run_edge(e, scope, s, path, pattern);
            else if (s->kind == STMT_SERIES) run_series(e, scope, s, path);
            else run_tilde(e, scope, s, path);
            if (e->sink->errors > errors) break;
        }
        e->star = before;
    }
}

/* ---- controls ---- */
static void unknown_control(ctl_elab *e, const ctl_loaded *module, const ctl_path *path) {
    const char *text = ctl_path_text(e->arena, path), *hint = NULL, *home = "";
    const char *name = path->n && path->seg[path->n - 1].kind == SEG_NAME ? path->seg[path->n - 1].name : text;
    int least = 4;
    for (size_t i = 0; i <= module->imports.n; i++) {
        const ctl_loaded *m = i ? module->imports.at[i - 1] : module;
        for (size_t k = 0; k < m->ast->ndecls; k++) {
            const ctl_decl *d = m->ast->decls[k];
            if (d->kind != DECL_CONTROL) continue;
            int dist = ctl_edit_distance(name, d->name, least - 1);
            if (dist >= least) continue;
            least = dist, home = m->name;
            hint = ctl_format(e->arena, "did you mean `%s%s%s`?", i ? m->name : "", i ? "." : "", d->name);
        }
    }
    if (path->n > 1 && path->seg[0].kind == SEG_NAME) {
        bool imported = false;
        for (size_t i = 0; i < module->imports.n; i++)
            imported |= strcmp(module->imports.at[i]->name, path->seg[0].name) == 0;
        const bool misspelt = least == 0 && ctl_edit_distance(path->seg[0].name, home, 2) <= 2; /* an import's name */
        if (!imported && !misspelt) hint = ctl_format(e->arena, "is `import %s` missing at the top?", path->seg[0].name);
    }
    ctl_error(e->sink, CTL_E0404, path->span, hint, "no control is called `%s`", text);
}

static const char *nets_of(ctl_elab *e, const ctl_loaded *module) {
    ctl_text text = {.arena = e->arena};
    for (size_t k = 0; k < module->ast->ndecls; k++)
        if (module->ast->decls[k]->kind == DECL_NET)
            ctl_text_add(&text, "%s%s", text.n ? ", " : "", module->ast->decls[k]->name);
    return ctl_format(e->arena, text.n ? "the nets of `%s` are %s" : "`%s` has no nets", module->name, text.at);
}

void ctl_apply_control(ctl_elab *e, const ctl_loaded *module, const ctl_expr *call) {
    const ctl_loaded *where, *net_where;
    const ctl_decl *control = ctl_find_decl(e, module, &call->path, DECL_CONTROL, &where);
    if (!control) {
        unknown_control(e, module, &call->path);
        return;
    }
    const ctl_decl *net = ctl_find_decl(e, where, &control->target, DECL_NET, &net_where);
    if (!net || net->kind != DECL_NET) {
        const char *hint = NULL;
        if (control->target.n == 2 && control->target.seg[0].kind == SEG_NAME) {
            hint = ctl_format(e->arena, "is `import %s` missing at the top?", control->target.seg[0].name);
            for (size_t i = 0; i < where->imports.n; i++)
                if (strcmp(where->imports.at[i]->name, control->target.seg[0].name) == 0) hint = nets_of(e, where->imports.at[i]);
        }
        ctl_error(e->sink, CTL_E0203, control->target.span, hint, "no net is called `%s`",
                  ctl_path_text(e->arena, &control->target));
        return;
    }
    if (call->nargs) {
        ctl_error(e->sink, CTL_E0207, call->args[0]->span, "name it: `rank = 8`", "a control's parameters are given by name");
        return;
    }
    size_t applied = 0, n = e->instances.n;
    for (size_t k = 0; k < n; k++) {
        ctl_instance *instance = e->instances.at[k];
        if (instance->net != net || instance->by_control) continue;
        int errors = e->sink->errors;
        ctl_entity *names = ctl_entity_new(e, instance->entity, NULL, ENTITY_GROUP, control->span);
        ctl_scope *scope = ctl_scope_new(e, instance->scope, names);
        ctl_scope *outside = ctl_scope_new(e, NULL, ctl_entity_new(e, NULL, NULL, ENTITY_GROUP, call->span));
        if (!ctl_bind_params(e, scope, where, outside, control->params, control->nparams, call, control->name)) return;
        const ctl_user_call entered = ctl_enter(e, call, control->name);
        e->making = instance, e->module = where, e->control = control->name, e->owner = NULL, e->star = -1;
        ctl_run_block(e, scope, &control->body);
        ctl_explain(e, errors);
        e->making = NULL, e->module = module, e->control = NULL, e->entered = entered;
        applied++;
        if (e->sink->errors > errors) return; /* the other instances would say the same */
    }
    if (!applied) {
        ctl_text nets = {.arena = e->arena};
        ctl_map seen = {.arena = e->arena};
        for (size_t k = 0; k < n; k++) {
            const ctl_instance *i = e->instances.at[k];
            if (i->by_control || ctl_map_get(&seen, i->net->name)) continue;
            ctl_map_put(&seen, i->net->name, e);
            ctl_text_add(&nets, "%s%s.%s", nets.n ? ", " : "the model contains ", i->module->name, i->net->name);
        }
        ctl_error(e->sink, CTL_E0401, call->span, nets.at, "the control `%s` is for the net `%s`, which the model does not contain",
                  control->name, ctl_path_text(e->arena, &control->target));
    }
}
