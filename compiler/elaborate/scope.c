/* scope: the tree of names, looking up and declaring dotted and indexed paths in it, and matching patterns. */
#include "compiler/elaborate/internal.h"

ctl_entity *ctl_entity_new(ctl_elab *e, ctl_entity *parent, const char *name, ctl_entity_kind kind, ctl_span span) {
    ctl_entity *entity = CTL_NEW(e->arena, ctl_entity);
    entity->kind = kind, entity->parent = parent, entity->span = span;
    entity->children.arena = e->arena;
    entity->name = name ? name : "";
    const char *base = parent ? parent->path : "";
    if (!name) {
        entity->path = base;
        return entity;
    }
    const char *shown = name;
    if (name[0] == '[') shown = ctl_strndup(e->arena, name + 1, strlen(name) - 2);
    entity->path = base[0] ? ctl_format(e->arena, "%s.%s", base, shown) : shown;
    ctl_map_put(&parent->children, name, entity);
    CTL_PUSH(e->arena, &parent->order, entity);
    return entity;
}

ctl_entity *ctl_entity_child(const ctl_entity *entity, const char *name) { return ctl_map_get(&entity->children, name); }

void ctl_name_value(ctl_elab *e, ctl_scope *scope, const char *name, ctl_value v, ctl_span span) {
    ctl_entity *entity = ctl_entity_child(scope->names, name);
    if (!entity) entity = ctl_entity_new(e, scope->names, name, ENTITY_VALUE, span);
    entity->kind = ENTITY_VALUE, entity->value = v;
}

ctl_scope *ctl_scope_new(ctl_elab *e, ctl_scope *parent, ctl_entity *names) {
    ctl_scope *scope = CTL_NEW(e->arena, ctl_scope);
    scope->parent = parent, scope->names = names;
    return scope;
}

static void path_text(ctl_text *text, const ctl_path *path) {
    for (size_t i = 0; i < path->n; i++) {
        const ctl_segment *s = &path->seg[i];
        switch (s->kind) {
        case SEG_NAME: ctl_text_add(text, "%s%s", i ? "." : "", s->name); break;
        case SEG_STAR: ctl_text_add(text, "[*]"); break;
        case SEG_DEEP: ctl_text_add(text, "%s**", i ? "." : ""); break;
        case SEG_INDEX:
            if (s->index->kind == EXPR_NUMBER) ctl_text_add(text, "[%.15g]", s->index->number);
            else if (s->index->kind == EXPR_PATH) {
                ctl_text_add(text, "[");
                path_text(text, &s->index->path);
                ctl_text_add(text, "]");
            } else ctl_text_add(text, "[..]");
            break;
        case SEG_BRACES:
            ctl_text_add(text, "%s{", i ? "." : "");
            for (size_t k = 0; k < s->nchoices; k++) {
                if (k) ctl_text_add(text, ", ");
                path_text(text, &s->choices[k]);
            }
            ctl_text_add(text, "}");
            break;
        }
    }
}

const char *ctl_path_text(ctl_arena *arena, const ctl_path *path) {
    ctl_text text = {.arena = arena};
    ctl_text_put(&text, "", 0);
    path_text(&text, path);
    return text.at;
}

/* The key of a segment among its parent's children: a name, or "[3]". NULL after an error. */
static const char *segment_key(ctl_elab *e, ctl_scope *scope, const ctl_segment *s) {
    int64_t index;
    switch (s->kind) {
    case SEG_NAME: return s->name;
    case SEG_INDEX:
        if (!ctl_eval_int(e, scope, s->index, "an index", &index)) return NULL;
        return ctl_format(e->arena, "[%lld]", (long long)index);
    case SEG_STAR:
        if (e->star < 0) {
            ctl_error(e->sink, CTL_E0218, s->span, "write an index; [*] repeats a line whose target has one",
                      "[*] stands where no line is repeated");
            return NULL;
        }
        return ctl_format(e->arena, "[%lld]", (long long)e->star);
    default:
        ctl_error(e->sink, CTL_E0218, s->span,
                  "patterns belong on the left of `<-`, `=>` and `~`, and after `train` and `freeze`",
                  "a pattern stands where one name is needed");
        return NULL;
    }
}

ctl_entity *ctl_resolve(ctl_elab *e, ctl_scope *scope, const ctl_path *path, size_t *done, ctl_entity **last) {
    const char **keys = CTL_NEW_ARRAY(e->arena, const char *, path->n);
    for (size_t i = 0; i < path->n; i++)
        if (!(keys[i] = segment_key(e, scope, &path->seg[i]))) {
            *done = SIZE_MAX; /* reported */
            if (last) *last = NULL;
            return NULL;
        }
    *done = 0;
    if (last) *last = NULL;
    /* The innermost scope that has the whole path; a final `.T` is no name of ours. */
    for (const ctl_scope *s = scope; s; s = s->parent) {
        ctl_entity *at = s->names;
        size_t i = 0;
        for (; i < path->n; i++) {
            ctl_entity *next = ctl_entity_child(at, keys[i]);
            if (!next) break;
            at = next;
        }
        if (i > *done) {
            *done = i;
            if (last) *last = at;
        }
        bool turned = i + 1 == path->n && i > 0 && path->seg[i].kind == SEG_NAME && strcmp(path->seg[i].name, "T") == 0;
        if ((i == path->n || turned) && at->kind != ENTITY_GROUP) {
            *done = i;
            if (last) *last = at;
            return at;
        }
    }
    return NULL;
}

/* A distance that a name must be below to be near: none is when every letter differs. */
static int far_from(const char *name, int most) {
    const size_t n = strlen(name);
    return n < (size_t)most ? (int)n : most;
}

const char *ctl_nearest(ctl_elab *e, ctl_scope *scope, const char *name) {
    const char *best = NULL;
    int least = far_from(name, 3);
    for (const ctl_scope *s = scope; s; s = s->parent)
        for (size_t i = 0; i < s->names->order.n; i++) {
            int d = ctl_edit_distance(name, s->names->order.at[i]->name, least - 1);
            if (d < least) least = d, best = s->names->order.at[i]->name;
        }
    (void)e;
    return best;
}

/* What is called so within an instance that can be seen here, as a path from here; NULL: nothing, or in several. */
static const char *within_instance(ctl_elab *e, const ctl_scope *scope, const char *name) {
    const char *found = NULL;
    for (const ctl_scope *s = scope; s; s = s->parent)
        for (size_t i = 0; i < s->names->order.n; i++) {
            const ctl_entity *at = s->names->order.at[i];
            if (at->kind != ENTITY_INSTANCE || at->name[0] == '[' || !ctl_entity_child(at, name)) continue;
            if (found) return NULL;
            found = ctl_format(e->arena, "%s.%s", at->name, name);
        }
    return found;
}

/* The member that was most likely meant: one that begins so (`up` for `up_proj`), else the nearest. NULL: none is near. */
static const char *nearest_member(const ctl_entity *entity, const char *name) {
    const char *best = NULL;
    int least = far_from(name, 4);
    const size_t n = strlen(name);
    for (size_t i = 0; i < entity->order.n; i++) {
        const char *member = entity->order.at[i]->name;
        if (n >= 2 && strncmp(member, name, n) == 0) return member;
        int d = ctl_edit_distance(name, member, least - 1);
        if (d < least) least = d, best = member;
    }
    return best;
}

void ctl_unknown(ctl_elab *e, ctl_scope *scope, const ctl_path *path, ctl_code code) {
    size_t done;
    ctl_entity *last;
    ctl_resolve(e, scope, path, &done, &last);
    if (done == SIZE_MAX) return;
    if (done >= path->n) { /* the whole path is there, but names a group or a family */
        const char *hint = NULL;
        if (last && last->order.n)
            hint = ctl_format(e->arena, "it holds %s%s%s", last->order.at[0]->name,
                              last->order.n > 1 ? ", " : "", last->order.n > 1 ? last->order.at[1]->name : "");
        ctl_error(e->sink, code, path->span, hint, "`%s` is a group of names, not a value",
                  ctl_path_text(e->arena, path));
        return;
    }
    const ctl_segment *s = &path->seg[done];
    ctl_path single = {s->span, &path->seg[done], 1};
    const char *missing = ctl_path_text(e->arena, &single);
    if (s->kind == SEG_INDEX || s->kind == SEG_STAR) {
        const char *key = segment_key(e, scope, s);
        if (!key) return;
        if (e->cut_short) return; /* what is missing has been told of */
        missing = key;
    }
    ctl_span span = s->span.file == CTL_NO_FILE ? path->span : s->span;
    if (done == 0) {
        const char *inside = within_instance(e, scope, missing), *near = inside ? inside : ctl_nearest(e, scope, missing);
        ctl_error(e->sink, code, span, near ? ctl_format(e->arena, "did you mean `%s`?", near) : NULL,
                  "nothing here is called `%s`", missing);
        return;
    }
    ctl_path walked = {path->span, path->seg, done};
    const char *best = nearest_member(last, missing), *hint = NULL;
    const char *where = ctl_path_text(e->arena, &walked);
    if (best && best[0] != '[') hint = ctl_format(e->arena, "did you mean `%s.%s`?", where, best);
    else if (missing[0] == '[' && last->order.n && last->order.at[0]->name[0] == '[')
        hint = ctl_format(e->arena, "`%s` has %s to %s", where, last->order.at[0]->name,
                          last->order.at[last->order.n - 1]->name);
    else if (last->order.n) {
        ctl_text names = {.arena = e->arena};
        ctl_text_add(&names, "it has ");
        for (size_t i = 0; i < last->order.n && i < 8; i++)
            ctl_text_add(&names, "%s%s", i ? ", " : "", last->order.at[i]->name);
        if (last->order.n > 8) ctl_text_add(&names, ", ..");
        hint = names.at;
    }
    ctl_error(e->sink, code, span, hint, "`%s` has no `%s`", where, missing);
}

ctl_entity *ctl_declare(ctl_elab *e, ctl_scope *scope, ctl_entity *root, const ctl_path *path, ctl_entity_kind kind) {
    if (!root) {
        /* Indexed names, and the net's results, outlive the loop that declares them. */
        const ctl_scope *body = scope;
        while (body->iteration && body->parent) body = body->parent;
        bool outlives = false;
        for (size_t i = 0; i < path->n; i++) outlives |= path->seg[i].kind != SEG_NAME;
        if (path->n == 1 && e->making && body->names == e->making->entity)
            for (size_t i = 0; i < e->making->net->noutputs; i++)
                outlives |= strcmp(path->seg[0].name ? path->seg[0].name : "", e->making->net->outputs[i].name) == 0;
        const ctl_scope *s = outlives ? body : scope;
        root = s->names;
    }
    ctl_entity *at = root;
    for (size_t i = 0; i < path->n; i++) {
        const char *key = segment_key(e, scope, &path->seg[i]);
        if (!key) return NULL;
        if (key[0] == '[' && key[1] == '-') {
            ctl_error(e->sink, CTL_E0205, path->seg[i].span, NULL, "an index is a whole number from 0; nothing can be called `%s%s`",
                      at->name, key);
            return NULL;
        }
        bool is_last = i + 1 == path->n;
        ctl_entity *child = ctl_entity_child(at, key);
        if (child && is_last) {
            if (child->kind == ENTITY_GROUP) { /* a dotted name came before its own head: classifier.dense, classifier */
                child->kind = kind, child->span = path->span;
                return child;
            }
            ctl_error(e->sink, CTL_E0202, path->span, "give one of the two another name or label",
                      "`%s` is declared twice", ctl_path_text(e->arena, path));
            ctl_note(e->sink, child->span, "the first declaration is here");
            return NULL;
        }
        if (!child) child = ctl_entity_new(e, at, key, is_last ? kind : ENTITY_GROUP, path->span);
        at = child;
    }
    return at;
}

/* Matches pattern segments [i, n) against the parts of name. */
static bool matches(ctl_elab *e, ctl_scope *scope, const ctl_segment *seg, size_t n, const char *name, int depth) {
    if (depth > 64) return false;
    if (n == 0) return *name == 0;
    if (seg->kind == SEG_DEEP) {
        while (n > 1 && seg[1].kind == SEG_DEEP) seg++, n--; /* many are as one, and would be tried in every way */
        if (n == 1) return true;
        for (const char *at = name;;) {
            if (matches(e, scope, seg + 1, n - 1, at, depth + 1)) return true;
            at = strchr(at, '.');
            if (!at) return false;
            at++;
        }
    }
    if (seg->kind == SEG_BRACES) {
        for (size_t k = 0; k < seg->nchoices; k++) {
            ctl_segment *joined = CTL_NEW_ARRAY(e->arena, ctl_segment, seg->choices[k].n + n - 1);
            memcpy(joined, seg->choices[k].seg, seg->choices[k].n * sizeof *joined);
            memcpy(joined + seg->choices[k].n, seg + 1, (n - 1) * sizeof *joined);
            if (matches(e, scope, joined, seg->choices[k].n + n - 1, name, depth + 1)) return true;
        }
        return false;
    }
    if (*name == 0) return false;
    const char *dot = strchr(name, '.');
    size_t part = dot ? (size_t)(dot - name) : strlen(name);
    const char *rest = dot ? dot + 1 : name + part;
    bool same = false;
    int64_t index;
    switch (seg->kind) {
    case SEG_NAME: same = strlen(seg->name) == part && memcmp(seg->name, name, part) == 0; break;
    case SEG_STAR: same = part > 0 && name[0] >= '0' && name[0] <= '9'; break;
    case SEG_INDEX:
        if (ctl_eval_int(e, scope, seg->index, "an index", &index)) {
            const char *digits = ctl_format(e->arena, "%lld", (long long)index);
            same = strlen(digits) == part && memcmp(digits, name, part) == 0;
        }
        break;
    default: break;
    }
    return same && matches(e, scope, seg + 1, n - 1, rest, depth + 1);
}

bool ctl_path_matches(ctl_elab *e, ctl_scope *scope, const ctl_path *pattern, const char *prefix, const char *name) {
    size_t n = strlen(prefix);
    if (n) {
        if (strncmp(name, prefix, n) != 0 || name[n] != '.') return false;
        name += n + 1;
    }
    return matches(e, scope, pattern->seg, pattern->n, name, 0);
}
