/* net: calls of functions and nets. What is called is found by its name, its parameters are bound, and running its body once
 * (statements.c) makes one instance. */
#include "compiler/elaborate/internal.h"

static const ctl_value failed = {.kind = VALUE_ERROR};

/* ---- finding what a call names ---- */
static const ctl_decl *decl_in(const ctl_loaded *module, const char *name) { return ctl_map_get(&module->decls, name); }

static bool fits(const ctl_decl *d, ctl_decl_kind kind) {
    return d->kind == kind || (kind == DECL_NET && d->kind == DECL_FN);
}

const ctl_decl *ctl_find_decl(ctl_elab *e, const ctl_loaded *module, const ctl_path *path, ctl_decl_kind kind,
                              const ctl_loaded **where) {
    const ctl_decl *found = NULL;
    *where = module;
    if (path->n == 1 && path->seg[0].kind == SEG_NAME) {
        found = decl_in(module, path->seg[0].name);
        if ((!found || !fits(found, kind)) && strcmp(module->name, "nn") != 0) { /* a control linear hides no net linear */
            ctl_loaded *nn = ctl_load_module(e, "nn", path->span);
            if (nn && (found = decl_in(nn, path->seg[0].name))) *where = nn;
        }
    } else if (path->n == 2 && path->seg[0].kind == SEG_NAME && path->seg[1].kind == SEG_NAME) {
        for (size_t i = 0; i < module->imports.n && !found; i++)
            if (strcmp(module->imports.at[i]->name, path->seg[0].name) == 0) {
                *where = module->imports.at[i];
                found = decl_in(*where, path->seg[1].name);
            }
    }
    return found && fits(found, kind) ? found : NULL;
}

static void unknown_callee(ctl_elab *e, const ctl_expr *call) {
    const ctl_path *path = &call->path;
    if (path->n == 2 && path->seg[0].kind == SEG_NAME && path->seg[1].kind == SEG_NAME) {
        for (size_t i = 0; i < e->module->imports.n; i++) {
            const ctl_loaded *m = e->module->imports.at[i];
            if (strcmp(m->name, path->seg[0].name) != 0) continue;
            const char *best = NULL;
            int least = 4;
            for (size_t k = 0; k < m->ast->ndecls; k++) {
                const ctl_decl *d = m->ast->decls[k];
                if (!d->name || (d->kind != DECL_NET && d->kind != DECL_FN)) continue;
                int dist = ctl_edit_distance(path->seg[1].name, d->name, least - 1);
                if (dist < least) least = dist, best = d->name;
            }
            ctl_error(e->sink, CTL_E0203, path->span,
                      best ? ctl_format(e->arena, "did you mean `%s.%s`?", m->name, best) : NULL,
                      "module `%s` has no net or function `%s`", m->name, path->seg[1].name);
            return;
        }
        ctl_error(e->sink, CTL_E0203, path->span, ctl_format(e->arena, "write `import %s` at the top", path->seg[0].name),
                  "no module `%s` is imported here", path->seg[0].name);
        return;
    }
    const char *name = ctl_path_text(e->arena, path), *hint = NULL, *best = NULL;
    int least = 3;
    const ctl_loaded *nn = ctl_load_module(e, "nn", path->span);
    const ctl_loaded *places[] = {e->module, nn};
    for (size_t p = 0; p < 2; p++)
        for (size_t k = 0; places[p] && k < places[p]->ast->ndecls; k++) {
            const ctl_decl *d = places[p]->ast->decls[k];
            if (!d->name || (d->kind != DECL_NET && d->kind != DECL_FN)) continue;
            int dist = ctl_edit_distance(name, d->name, least - 1);
            if (dist < least) least = dist, best = d->name;
        }
    const char *builtin = ctl_builtin_nearest(name, &least);
    if (builtin) best = builtin;
    if (best) hint = ctl_format(e->arena, "did you mean `%s`?", best);
    for (size_t i = 0; !best && i < e->module->imports.n; i++)
        if (decl_in(e->module->imports.at[i], name))
            hint = ctl_format(e->arena, "it is in a module: `%s.%s`", e->module->imports.at[i]->name, name);
    ctl_error(e->sink, CTL_E0203, path->span, hint, "no net or function is called `%s`", name);
}

/* ---- parameters ---- */
static ctl_value named_value(ctl_elab *e, ctl_scope *caller, const ctl_named_arg *a) {
    if (a->value) return ctl_eval(e, caller, a->value);
    ctl_segment seg = {.kind = SEG_NAME, .span = a->span, .name = a->name};
    ctl_expr self = {.kind = EXPR_PATH, .span = a->span, .path = {a->span, &seg, 1}};
    return ctl_eval(e, caller, &self);
}

static const char *known_params(ctl_elab *e, const ctl_parameter *params, size_t n) {
    ctl_text text = {.arena = e->arena};
    for (size_t p = 0; p < n; p++) ctl_text_add(&text, "%s%s", p ? ", " : "it has ", params[p].name);
    return text.at; /* NULL: none */
}

bool ctl_bind_params(ctl_elab *e, ctl_scope *into, const ctl_loaded *home, ctl_scope *caller,
                     const ctl_parameter *params, size_t nparams, const ctl_expr *call, const char *what) {
    bool good = true;
    for (size_t k = 0; k < call->nnamed; k++) {
        const ctl_named_arg *a = &call->named[k];
        bool known = false;
        const char *best = NULL;
        int least = 4;
        for (size_t p = 0; p < nparams; p++) {
            known |= strcmp(params[p].name, a->name) == 0;
            int d = ctl_edit_distance(a->name, params[p].name, least - 1);
            if (d < least) least = d, best = params[p].name;
        }
        for (size_t j = 0; j < k; j++)
            if (strcmp(call->named[j].name, a->name) == 0) {
                ctl_error(e->sink, CTL_E0207, a->span, NULL, "`%s` is given twice", a->name);
                good = false;
            }
        if (!known) {
            ctl_error(e->sink, CTL_E0207, a->span,
                      best ? ctl_format(e->arena, "did you mean `%s`?", best) : known_params(e, params, nparams),
                      "`%s` has no parameter `%s`", what, a->name);
            good = false;
        }
    }
    for (size_t p = 0; p < nparams; p++) {
        const ctl_parameter *param = &params[p];
        ctl_value v = {.kind = VALUE_ERROR};
        bool given = false;
        for (size_t k = 0; k < call->nnamed && !given; k++)
            if (strcmp(call->named[k].name, param->name) == 0) {
                given = true;
                v = named_value(e, caller, &call->named[k]);
            }
        if (!given && call->rest) {
            ctl_segment seg = {.kind = SEG_NAME, .span = call->span, .name = param->name};
            ctl_path path = {call->span, &seg, 1};
            size_t done;
            ctl_entity *entity = ctl_resolve(e, caller, &path, &done, NULL);
            if (entity && entity->kind == ENTITY_VALUE && entity->value.kind != VALUE_NODE) given = true, v = entity->value;
        }
        if (!given && param->default_value) {
            const ctl_loaded *outer = e->module;
            e->module = home, given = true;
            v = ctl_eval(e, into, param->default_value);
            e->module = outer;
        }
        if (!given) {
            ctl_error(e->sink, CTL_E0207, call->span,
                      ctl_format(e->arena, "give it after the semicolon: `; %s = ..`", param->name),
                      "`%s` needs its parameter `%s`", what, param->name);
            good = false;
        } else if (v.kind == VALUE_NODE) {
            ctl_error(e->sink, CTL_E0204, call->span, NULL,
                      "the parameter `%s` of `%s` is a number known while compiling, not a state or weight", param->name, what);
            good = false;
        } else if (v.kind == VALUE_ERROR) {
            good = false;
        }
        ctl_name_value(e, into, param->name, v, param->span);
    }
    return good;
}

/* ---- instances ---- */
static ctl_instance *new_instance(ctl_elab *e, const ctl_decl *net, const ctl_loaded *module, ctl_entity *entity,
                                  bool labelled) {
    ctl_instance *instance = CTL_NEW(e->arena, ctl_instance);
    instance->net = net, instance->module = module, instance->entity = entity, instance->outer = e->making;
    instance->by_control = e->control != NULL, instance->labelled = labelled;
    instance->scope = ctl_scope_new(e, NULL, entity);
    entity->instance = instance;
    CTL_PUSH(e->arena, &e->instances, instance);
    return instance;
}

/* Runs the body with everything bound: the present context is put aside meanwhile. */
static bool run_body(ctl_elab *e, ctl_instance *instance) {
    if (e->depth >= CTL_MOST_NESTED) {
        ctl_error(e->sink, CTL_E0219, instance->net->name_span, "does a net contain itself?",
                  "nets are nested more than %d deep", CTL_MOST_NESTED);
        return false;
    }
    ctl_instance *making = e->making;
    const ctl_loaded *module = e->module;
    ctl_entity *owner = e->owner;
    int64_t star = e->star;
    e->making = instance, e->module = instance->module, e->owner = NULL, e->star = -1, e->depth++;
    ctl_run_block(e, instance->scope, &instance->net->body);
    e->making = making, e->module = module, e->owner = owner, e->star = star, e->depth--;
    if (instance->broken) return false;
    for (size_t k = 0; k < instance->net->noutputs; k++) {
        const ctl_parameter *out = &instance->net->outputs[k];
        ctl_entity *entity = ctl_entity_child(instance->entity, out->name);
        if (entity && (entity->kind == ENTITY_STATE || entity->kind == ENTITY_VALUE)) continue;
        if (e->sink->errors == 0)
            ctl_error(e->sink, CTL_E0210, out->span, ctl_format(e->arena, "write `%s <- ..` in the body", out->name),
                      "the net `%s` never gives its result `%s` an edge", instance->net->name, out->name);
        return false;
    }
    return true;
}

static void bind_input(ctl_elab *e, ctl_instance *instance, const ctl_parameter *input, ctl_value v, ctl_span span) {
    ctl_node_id node = ctl_as_node(e, v, span);
    ctl_entity *entity = ctl_entity_new(e, instance->entity, input->name, ENTITY_VALUE, span);
    entity->value = ctl_node_value(node);
    if (node == CTL_NONE) return;
    const ctl_node *n = &e->draft->at[node];
    bool is_id = n->dtype == CTL_I32;
    if (input->kind && strcmp(input->kind, "id") == 0 && !is_id) {
        ctl_error(e->sink, CTL_E0211, span, NULL, "the input `%s` of `%s` takes ids, not numbers", input->name,
                  instance->net->name);
        return;
    }
    if (input->per_sequence && n->space != SPACE_SEQUENCES) {
        ctl_error(e->sink, CTL_E0303, span, NULL, "the input `%s` of `%s` has one row a sequence; it is given %s", input->name,
                  instance->net->name, ctl_node_shape(e->arena, n));
        return;
    }
    if (is_id || n->space == SPACE_NONE) return; /* ids and weights are no states */
    ctl_instance *making = e->making;
    e->making = instance;
    entity->kind = ENTITY_STATE;
    entity->value = ctl_state_new(e, span, entity->path, node);
    e->making = making;
}

static ctl_value output_of(ctl_elab *e, ctl_instance *instance, ctl_span span) {
    if (instance->net->noutputs == 0) return failed;
    ctl_entity *entity = ctl_entity_child(instance->entity, instance->net->outputs[0].name);
    if (!entity) return failed;
    return ctl_entity_value(e, entity, span);
}

/* What is wrong within a module is mostly what was passed to it: names the call, and behind a call in the library the
 * user's own. errors: how many there were before the call. */
static void note_call(ctl_elab *e, int errors, const ctl_expr *call, const ctl_decl *net, const ctl_loaded *module) {
    uint32_t file = e->sink->last_error.file;
    if (e->sink->errors == errors || e->explained == e->sink->errors) return;
    if (module != e->module && file != call->span.file && file != CTL_NO_FILE)
        ctl_note(e->sink, call->span, "this call of `%s` leads there", net->name);
    if (ctl_in_library(e, call->span)) ctl_explain(e, errors);
}

static ctl_value call_net(ctl_elab *e, ctl_scope *scope, const ctl_decl *net, const ctl_loaded *module,
                          const ctl_expr *call, const ctl_value *inputs, size_t given) {
    if (given + call->nargs != net->ninputs) {
        ctl_error(e->sink, CTL_E0207, call->span,
                  given ? "the state (and the weight of a product) come first of themselves" : NULL,
                  "`%s` takes %zu input%s, not %zu", net->name, net->ninputs, net->ninputs == 1 ? "" : "s",
                  given + call->nargs);
        return failed;
    }
    ctl_value *values = CTL_NEW_ARRAY(e->arena, ctl_value, net->ninputs + 1);
    bool good = true;
    for (size_t k = 0; k < net->ninputs; k++) {
        values[k] = k < given ? inputs[k] : ctl_eval(e, scope, call->args[k - given]);
        good &= values[k].kind != VALUE_ERROR;
    }
    if (!good) return failed;

    ctl_entity *entity;
    ctl_entity *home = e->owner ? e->owner : scope->names;
    if (call->label.n) {
        entity = ctl_declare(e, scope, e->owner, &call->label, ENTITY_INSTANCE);
        if (!entity) return failed;
    } else {
        entity = ctl_entity_new(e, home, NULL, ENTITY_INSTANCE, call->span);
        entity->parent = home;
    }
    ctl_instance *instance = new_instance(e, net, module, entity, call->label.n != 0);
    for (size_t k = 0; k < net->ninputs; k++)
        bind_input(e, instance, &net->inputs[k], values[k],
                   k < given ? call->span : call->args[k - given]->span);
    /* After the inputs: defaults may use them (cols(x)). */
    good = ctl_bind_params(e, instance->scope, module, scope, net->params, net->nparams, call, net->name);
    const int errors = e->sink->errors;
    const ctl_user_call entered = ctl_enter(e, call, net->name);
    if (good) good = run_body(e, instance);
    e->entered = entered;
    note_call(e, errors, call, net, module);
    if (!good) return failed;
    return output_of(e, instance, call->span);
}

static ctl_value call_fn(ctl_elab *e, ctl_scope *scope, const ctl_decl *fn, const ctl_loaded *module, const ctl_expr *call) {
    if (call->nargs != fn->ninputs || call->nnamed || call->label.n) {
        ctl_error(e->sink, CTL_E0207, call->span, NULL, "the function `%s` takes %zu argument%s by position, and no label",
                  fn->name, fn->ninputs, fn->ninputs == 1 ? "" : "s");
        return failed;
    }
    if (e->depth >= CTL_MOST_NESTED) {
        ctl_error(e->sink, CTL_E0219, call->span, "does a function call itself?", "calls are nested more than %d deep",
                  CTL_MOST_NESTED);
        return failed;
    }
    ctl_scope *inner = ctl_scope_new(e, NULL, ctl_entity_new(e, scope->names, NULL, ENTITY_GROUP, call->span));
    for (size_t k = 0; k < fn->ninputs; k++) {
        ctl_value v = ctl_eval(e, scope, call->args[k]);
        if (v.kind == VALUE_ERROR) return failed;
        ctl_name_value(e, inner, fn->inputs[k].name, v, fn->inputs[k].span);
    }
    const ctl_loaded *outer = e->module;
    const int errors = e->sink->errors;
    const ctl_user_call entered = ctl_enter(e, call, fn->name);
    e->module = module, e->depth++;
    ctl_value v = ctl_eval(e, inner, fn->value);
    e->module = outer, e->depth--, e->entered = entered;
    note_call(e, errors, call, fn, module);
    return v;
}

ctl_value ctl_call(ctl_elab *e, ctl_scope *scope, const ctl_expr *call, const ctl_value *inputs, size_t given) {
    const ctl_loaded *module;
    const ctl_decl *decl = ctl_find_decl(e, e->module, &call->path, DECL_NET, &module);
    if (decl && decl->kind == DECL_NET) return call_net(e, scope, decl, module, call, inputs, given);
    if (given) {
        unknown_callee(e, call);
        return failed;
    }
    if (decl) return call_fn(e, scope, decl, module, call);
    if (call->path.n == 1 && call->path.seg[0].kind == SEG_NAME && ctl_is_builtin(call->path.seg[0].name))
        return ctl_builtin(e, scope, call);
    unknown_callee(e, call);
    return failed;
}

ctl_instance *ctl_instantiate_root(ctl_elab *e, const ctl_decl *net, const ctl_loaded *module, const ctl_expr *call) {
    ctl_entity *entity = ctl_entity_new(e, NULL, NULL, ENTITY_INSTANCE, call->span);
    ctl_instance *instance = new_instance(e, net, module, entity, true);
    ctl_scope *outside = ctl_scope_new(e, NULL, ctl_entity_new(e, NULL, NULL, ENTITY_GROUP, call->span));
    if (call->nargs) {
        ctl_error(e->sink, CTL_E0207, call->args[0]->span, "write the parameters after a semicolon: `net(; depth = 2)`",
                  "a model's inputs come from the data");
        return NULL;
    }
    if (!ctl_bind_params(e, instance->scope, module, outside, net->params, net->nparams, call, net->name)) return NULL;
    const ctl_user_call entered = ctl_enter(e, call, net->name);
    /* Inputs: ids, or real numbers with as many columns as the parameter says that their kind names. */
    for (size_t k = 0; k < net->ninputs; k++) {
        const ctl_parameter *p = &net->inputs[k];
        bool is_id = p->kind && strcmp(p->kind, "id") == 0;
        double cols = 1;
        if (!is_id) {
            ctl_entity *width = p->kind ? ctl_entity_child(instance->entity, p->kind) : NULL;
            if (!width || width->value.kind != VALUE_NUMBER || !(width->value.number >= 1 && width->value.number < 1e9)) {
                ctl_error(e->sink, CTL_E0213, p->span, ctl_format(e->arena, "`%s: d` with a parameter `d`, or `%s: id`", p->name, p->name),
                          "a model must know how many columns its input `%s` has", p->name);
                return NULL;
            }
            cols = width->value.number;
        }
        if (p->per_sequence && !ctl_sequences_there(e, p->span, p->name)) return NULL;
        int space = p->per_sequence ? SPACE_SEQUENCES : SPACE_TOKENS;
        CTL_PUSH(e->arena, &e->draft->inputs,
                 (ctl_input){.name = p->name, .is_id = is_id, .space = space, .cols = (int64_t)cols, .grad = CTL_NONE});
        ctl_node_id id = ctl_emit(e, p->span, OP_INPUT, 0, NULL, (int64_t)e->draft->inputs.n - 1, 0, 0).node;
        if (id == CTL_NONE) return NULL;
        e->draft->inputs.at[e->draft->inputs.n - 1].node = id;
        e->draft->at[id].path = p->name;
        bind_input(e, instance, p, ctl_node_value(id), p->span);
    }
    bool good = run_body(e, instance);
    e->entered = entered;
    note_call(e, 0, call, net, module);
    return good ? instance : NULL;
}
