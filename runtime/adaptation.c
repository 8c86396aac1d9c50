/* adaptation: see adaptation.h. */
#include "runtime/adaptation.h"

static const char *text(ctl_arena *arena, const char *from) {
    return from ? ctl_strndup(arena, from, strlen(from)) : NULL;
}

static const char **texts(ctl_arena *arena, const char **from, size_t n) {
    const char **to = CTL_NEW_ARRAY(arena, const char *, n);
    for (size_t i = 0; i < n; i++) to[i] = text(arena, from[i]);
    return to;
}

static void copy_all(ctl_adaptation *to, const ctl_adaptation *from) {
    ctl_arena *arena = &to->arena;
    to->tune = text(arena, from->tune), to->apart = text(arena, from->apart);
    to->set = texts(arena, from->set, from->nset), to->nset = from->nset;
    to->changes = CTL_NEW_ARRAY(arena, ctl_change, from->nchanges), to->nchanges = from->nchanges;
    for (size_t i = 0; i < from->nchanges; i++) {
        const ctl_change *c = &from->changes[i];
        to->changes[i] = (ctl_change){.kind = c->kind,
                                      .to = text(arena, c->to),
                                      .text = text(arena, c->text),
                                      .from = texts(arena, c->from, c->nfrom),
                                      .weights = texts(arena, c->weights, c->nweights),
                                      .nfrom = c->nfrom,
                                      .nweights = c->nweights};
    }
    to->forms = CTL_NEW_ARRAY(arena, ctl_form, from->nforms), to->nforms = from->nforms;
    for (size_t i = 0; i < from->nforms; i++) {
        ctl_form *f = &to->forms[i];
        *f = from->forms[i];
        f->path = text(arena, f->path);
        f->nodes = CTL_NEW_ARRAY(arena, ctl_form_node, f->n);
        if (f->n) memcpy(f->nodes, from->forms[i].nodes, f->n * sizeof *f->nodes);
    }
}

ctl_adaptation *ctl_adaptation_copy(const ctl_adaptation *from, const ctl_allocator *allocator) {
    ctl_adaptation *to = ctl_alloc(allocator, sizeof *to);
    if (!to) return NULL;
    to->allocator = *allocator;
    jmp_buf failure;
    ctl_arena_init(&to->arena, &to->allocator, &failure);
    if (setjmp(failure)) {
        ctl_adaptation_free(to);
        return NULL;
    }
    copy_all(to, from);
    to->arena.on_failure = NULL;
    return to;
}

void ctl_adaptation_free(ctl_adaptation *a) {
    if (!a) return;
    ctl_allocator allocator = a->allocator;
    ctl_arena_free(&a->arena);
    ctl_free(&allocator, a, sizeof *a);
}
