/* statements: the lines of a body, run in their order: weights, values, loops and conditions here, what has a target in
 * control.c. A body runs once for each instance of its net, and a control's body on each instance of the net that it is for. */
#include "compiler/elaborate/internal.h"

static void weight_init(ctl_elab *e, ctl_scope *scope, const ctl_expr *init, ctl_param *param) {
    param->init = INIT_CONST, param->init_arg = 0, param->init_node = CTL_NONE;
    if (!init) return;
    const char *word = NULL;
    if (init->kind == EXPR_CALL && init->path.n == 1 && init->path.seg[0].kind == SEG_NAME) word = init->path.seg[0].name;
    bool normal = word && strcmp(word, "normal") == 0, uniform = word && strcmp(word, "uniform") == 0;
    if (normal || uniform) {
        if (init->nargs != 1 || init->nnamed) {
            ctl_error(e->sink, CTL_E0207, init->span, "normal(standard deviation), uniform(half the width)",
                      "`%s` takes one number", word);
            return;
        }
        param->init = normal ? INIT_NORMAL : INIT_UNIFORM;
        ctl_eval_number(e, scope, init->args[0], "the size of the initial values", &param->init_arg);
        return;
    }
    ctl_value v = ctl_eval(e, scope, init);
    if (v.kind == VALUE_NUMBER) param->init_arg = v.number;
    else if (v.kind == VALUE_WORD && strcmp(v.word, "eye") == 0) param->init = INIT_EYE;
    else if (v.kind == VALUE_NODE) {
        const ctl_node *n = &e->draft->at[v.node];
        if (n->rate == RATE_STEP || n->rows != param->rows || n->cols != param->cols) {
            ctl_error(e->sink, CTL_E0304, init->span, NULL,
                      "a weight of [%lld x %lld] is initialised from weights of its own shape, not from %s",
                      (long long)param->rows, (long long)param->cols, ctl_shape_text(e, v.node));
            return;
        }
        param->init = INIT_VALUE, param->init_node = v.node;
    } else if (v.kind == VALUE_WORD)
        ctl_error(e->sink, CTL_E0204, init->span, "0, 1, eye, normal(0.02), uniform(0.1), or weights", "`%s` is no initial value", v.word);
}

static void run_weight(ctl_elab *e, ctl_scope *scope, const ctl_stmt *s) {
    if (e->making && !e->making->labelled && !e->making->by_control && !e->control) {
        ctl_error(e->sink, CTL_E0212, e->making->entity->span, "label the call: `name: net(..)`",
                  "the net `%s` has weights, so its instance needs a label", e->making->net->name);
        e->making->broken = true;
        return;
    }
    int64_t dims[2] = {1, 1};
    for (int k = 0; k < s->ndims; k++) {
        int64_t *d = &dims[s->ndims == 1 ? 1 : k];
        if (!ctl_eval_int(e, scope, s->dims[k], "a size of a weight", d)) {
            if (e->making) e->making->broken = true; /* whoever uses the weight would say that it is not there */
            return;
        }
        if (*d < 1 || *d > (1 << 30)) {
            ctl_error(e->sink, CTL_E0304, s->dims[k]->span, NULL, "a weight cannot have %lld rows or columns", (long long)*d);
            if (e->making) e->making->broken = true;
            return;
        }
    }
    for (size_t k = 0; k < s->npaths; k++) {
        ctl_param param = {.rows = dims[0], .cols = dims[1], .ndims = s->ndims, .trained = e->control != NULL,
                           .made_by_control = e->control != NULL, .grad = CTL_NONE, .span = s->paths[k].span,
                           .user = ctl_users_span(e, s->paths[k].span)};
        weight_init(e, scope, s->init, &param); /* before the weight has its name: it does not begin from itself */
        ctl_entity *entity = ctl_declare(e, scope, NULL, &s->paths[k], ENTITY_WEIGHT);
        if (!entity) continue;
        ctl_entity *twin = ctl_map_get(&e->weight_paths, entity->path);
        if (twin) {
            /* What the user can change is the call that the weight comes with, unless it is the control's own. */
            const ctl_entity *first = twin->parent;
            while (first->parent && first->kind != ENTITY_INSTANCE) first = first->parent;
            const ctl_scope *body = scope;
            while (body->iteration && body->parent) body = body->parent;
            bool own = e->making && e->making->outer && body->names == e->making->entity;
            ctl_error(e->sink, CTL_E0214, own ? e->making->entity->span : s->paths[k].span,
                      own && e->making->labelled ? "give one of the two another label; in a loop, an index: `name[i]: net(..)`"
                                                 : "label one of the two: `name: net(..)`",
                      "two weights would be called `%s`", entity->path);
            ctl_note(e->sink, own ? first->span : twin->span, "the first comes from here");
            if (e->making) e->making->broken = true;
            return;
        }
        ctl_map_put(&e->weight_paths, entity->path, entity);
        param.name = entity->path;
        CTL_PUSH(e->arena, &e->draft->params, param);
        size_t number = e->draft->params.n - 1;
        ctl_node_id id = ctl_emit(e, s->paths[k].span, OP_PARAM, 0, NULL, (int64_t)number, 0, 0).node;
        if (id == CTL_NONE) return;
        e->draft->params.at[number].node = id;
        e->draft->at[id].path = entity->path;
        entity->value = ctl_node_value(id);
    }
}

static void run_value(ctl_elab *e, ctl_scope *scope, const ctl_stmt *s) {
    ctl_value v = ctl_eval(e, scope, s->value);
    ctl_entity *entity = ctl_declare(e, scope, NULL, &s->paths[0], ENTITY_VALUE);
    if (entity) entity->value = v;
}

bool ctl_count_step(ctl_elab *e, ctl_span span) {
    if (e->steps++ < CTL_MOST_STEPS) return true;
    if (!e->too_many_steps)
        ctl_error(e->sink, CTL_E0219, e->loop ? e->loop->span : span, "is a loop larger than it was meant to be?",
                  "the network has more than %d statements once its loops are unrolled", CTL_MOST_STEPS);
    e->too_many_steps = true;
    return false;
}

static void run_for(ctl_elab *e, ctl_scope *scope, const ctl_stmt *s) {
    int64_t lo, hi;
    if (!ctl_eval_int(e, scope, s->lo, "a loop's begin", &lo) || !ctl_eval_int(e, scope, s->hi, "a loop's end", &hi)) return;
    if (e->depth >= CTL_MOST_NESTED) {
        ctl_error(e->sink, CTL_E0219, s->span, NULL, "loops and nets are nested more than %d deep", CTL_MOST_NESTED);
        return;
    }
    const ctl_stmt *around = e->loop;
    e->depth++, e->loop = s;
    for (int64_t i = lo; i < hi && ctl_count_step(e, s->span); i++) {
        int before = e->sink->errors;
        ctl_scope *inner = ctl_scope_new(e, scope, ctl_entity_new(e, scope->names, NULL, ENTITY_GROUP, s->span));
        inner->iteration = true;
        ctl_name_value(e, inner, s->name, ctl_number((double)i), s->span);
        ctl_run_block(e, inner, &s->body);
        if (e->sink->errors > before) { /* the next turns would say the same again */
            e->cut_short = true;
            break;
        }
    }
    e->depth--, e->loop = around;
}

static void run_statement(ctl_elab *e, ctl_scope *scope, const ctl_stmt *s) {
    switch (s->kind) {
    case STMT_WEIGHT: run_weight(e, scope, s); break;
    case STMT_VALUE: run_value(e, scope, s); break;
    case STMT_INSTANCE: ctl_eval(e, scope, s->value); break;
    case STMT_FOR: run_for(e, scope, s); break;
    case STMT_IF: {
        bool yes;
        if (ctl_eval_bool(e, scope, s->value, &yes)) ctl_run_block(e, scope, yes ? &s->body : &s->orelse);
        break;
    }
    case STMT_EDGE:
    case STMT_SERIES:
    case STMT_TILDE:
    case STMT_TRAIN:
    case STMT_FREEZE: ctl_run_targeted(e, scope, s); break;
    }
}

void ctl_run_block(ctl_elab *e, ctl_scope *scope, const ctl_block *block) {
    for (size_t k = 0; k < block->n; k++) {
        if (!ctl_count_step(e, block->at[k]->span) || (e->making && e->making->broken)) return;
        run_statement(e, scope, block->at[k]);
    }
}
