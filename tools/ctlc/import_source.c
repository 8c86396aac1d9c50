/* import_source: a spec of the user's, in which an adapter's control takes the place of those that it has.
 * Only the tune block's `with`, the imports and what is put before the block change; the places are those of
 * the parser's tree. */
#include <stdio.h>
#include <string.h>

#include "compiler/syntax/ast.h"
#include "tools/ctlc/import_adapter.h"

enum { MOST_SOURCE = 16 << 20 };

typedef struct reading { /* what must survive a jump out of a failed allocation */
    ctl_arena arena;
    ctl_sink sink;
    jmp_buf jump;
    import_source *s;
    const char *path;
    ctl_place place;
    ctl_status status;
} reading;

static ctl_status refuse(const reading *r, const char *hint, const char *why) {
    ctl_say(r->place.voice, CTL_ERROR, "E0714", hint, "'%s': %s", r->path, why);
    return CTL_ERR_INPUT;
}

/* The block without a name, or the only one. */
static const ctl_decl *find_tune(const reading *r, const ctl_ast_module *m) {
    const ctl_decl *found = NULL;
    size_t n = 0;
    for (size_t i = 0; i < m->ndecls; i++) {
        if (m->decls[i]->kind != DECL_TUNE) continue;
        if (!found || !m->decls[i]->name) found = m->decls[i];
        n++;
    }
    if (n == 0)
        refuse(r, "add `tune MODEL with CONTROL(..) { tokens 4 x 256 }`", "the spec has no tune block");
    else if (n > 1 && found->name) {
        refuse(r, "leave one of them, or one without a name",
               "which of the tune blocks is to have the adapter?");
        return NULL;
    }
    return found;
}

/* The net of the model that the block tunes. */
static bool find_net(const ctl_ast_module *m, const char *model, char *net, size_t size) {
    for (size_t i = 0; i < m->ndecls; i++) {
        const ctl_decl *d = m->decls[i];
        if (d->kind != DECL_MODEL || strcmp(d->name, model) != 0 || !d->value || d->value->kind != EXPR_CALL)
            continue;
        size_t n = 0;
        for (size_t k = 0; k < d->value->path.n && n < size; k++)
            n += (size_t)snprintf(net + n, size - n, "%s%s", k ? "." : "", d->value->path.seg[k].name);
        return n < size;
    }
    return false;
}

static uint32_t line_of(const ctl_string *text, uint32_t at) {
    while (at > 0 && text->at[at - 1] != '\n') at--;
    return at;
}

/* What `ctlc import` says above a tune block of what is tuned would no longer be true. */
static uint32_t without_old_comment(const ctl_string *text, uint32_t at) {
    uint32_t begin = at;
    while (begin > 0) {
        const uint32_t line = line_of(text, begin - 1);
        if (strncmp(text->at + line, "# What is tuned: ", 17) == 0) return line;
        if (text->at[line] != '#') break;
        begin = line;
    }
    return at;
}

static ctl_status read_module(reading *r, const ctl_ast_module *m) {
    import_source *s = r->s;
    const ctl_decl *tune = find_tune(r, m);
    if (!tune) return CTL_ERR_INPUT;
    if (tune->target.n != 1 || !find_net(m, tune->target.seg[0].name, s->net, sizeof s->net))
        return refuse(r, "declare it: `model m = llama.causal_lm(; ..)`",
                      "the model of the tune block is not in the file");
    s->imports = line_of(&s->text, m->decls[0]->span.begin);
    s->block = line_of(&s->text, tune->span.begin);
    s->before = without_old_comment(&s->text, s->block);
    const ctl_span target = tune->target.span;
    s->with = target.end;
    s->end = tune->ncontrols ? tune->controls[tune->ncontrols - 1]->span.end : target.end;
    for (int number = 1; number < 10; number++) {
        bool taken = false;
        snprintf(s->name, sizeof s->name, number > 1 ? "peft%d" : "peft", number);
        for (size_t i = 0; i < m->ndecls; i++)
            taken |= m->decls[i]->name && strcmp(m->decls[i]->name, s->name) == 0;
        if (!taken) break;
    }
    for (size_t i = 0; i < m->ndecls; i++)
        s->has_control |= m->decls[i]->kind == DECL_IMPORT && strcmp(m->decls[i]->name, "control") == 0;
    return CTL_OK;
}

static void run(reading *r) {
    ctl_arena_init(&r->arena, r->place.allocator, &r->jump);
    r->sink = (ctl_sink){.arena = &r->arena, .fn = r->place.voice.fn, .ctx = r->place.voice.ctx};
    const uint32_t file = ctl_sink_add_source(&r->sink, r->path, r->s->text.at, r->s->text.n);
    const ctl_ast_module *m = ctl_parse(&r->arena, &r->sink, file, "");
    r->status = r->sink.errors ? CTL_ERR_INPUT
                : m->ndecls    ? read_module(r, m)
                               : refuse(r, NULL, "the file is empty");
}

ctl_status import_source_read(import_source *s, const char *path, ctl_place place) {
    char *text = NULL;
    size_t n;
    *s = (import_source){.text = {.allocator = place.allocator}};
    ctl_status status = ctl_file_read(path, MOST_SOURCE, &text, &n, place);
    if (status != CTL_OK) return status;
    ctl_string_put(&s->text, text, n);
    ctl_string_put(&s->text, "", 1), s->text.n--;
    ctl_free(place.allocator, text, n + 1);
    reading *r = s->text.failed ? NULL : ctl_alloc(place.allocator, sizeof *r);
    if (!r) {
        ctl_string_drop(&s->text);
        return CTL_ERR_MEMORY;
    }
    r->s = s, r->path = path, r->place = place;
    if (setjmp(r->jump) == 0)
        run(r);
    else
        r->status = CTL_ERR_MEMORY;
    status = r->status;
    ctl_arena_free(&r->arena);
    ctl_free(place.allocator, r, sizeof *r);
    if (status != CTL_OK) ctl_string_drop(&s->text);
    return status;
}

static void put_part(ctl_string *out, const import_source *s, uint32_t from, uint32_t to) {
    ctl_string_put(out, s->text.at + from, to - from);
}

void import_source_write(ctl_string *out, const import_source *s, const import_adapter *a,
                         const ctl_program *program) {
    char about[300];
    import_adapter_about(about, sizeof about, a);
    put_part(out, s, 0, s->imports);
    if (!s->has_control) ctl_string_add(out, "import control\n");
    put_part(out, s, s->imports, s->before);
    ctl_string_add(out, "# %s.\n", about);
    import_adapter_write(out, a, program, s->name, s->net);
    ctl_string_add(out, "\n");
    put_part(out, s, s->block, s->with);
    ctl_string_add(out, " with %s()", s->name);
    put_part(out, s, s->end, (uint32_t)s->text.n);
}
