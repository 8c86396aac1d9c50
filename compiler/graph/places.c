/* places: see places.h. */
#include "compiler/graph/places.h"

static ctl_program_line line_of(const ctl_places *p, ctl_span span) {
    ctl_diagnostic d = {0};
    ctl_sink_place(p->sink, p->arena, span, &d);
    return (ctl_program_line){d.file, d.line_text, d.line, d.column, d.end_column};
}

uint32_t ctl_places_number(ctl_places *p, ctl_span span, ctl_span user) {
    const ctl_span key[] = {user, span};
    const size_t files = p->sink ? p->sink->sources.n : 0;
    const bool has_user = user.file < files, has_span = span.file < files;
    if (!has_user && !has_span) return 0;
    const uint32_t *found = ctl_map_get_bytes(&p->numbers, key, sizeof key);
    if (found) return *found;
    ctl_program_place place = {.user = line_of(p, has_user ? user : span)};
    if (has_user && has_span && user.file != span.file) place.library = line_of(p, span);
    CTL_PUSH(p->arena, &p->at, place);
    uint32_t *number = CTL_NEW(p->arena, uint32_t);
    *number = (uint32_t)p->at.n;
    ctl_map_put_bytes(&p->numbers, key, sizeof key, number);
    return *number;
}

static void own_text(ctl_arena *arena, ctl_program_line *line) {
    if (line->file) line->file = ctl_strndup(arena, line->file, strlen(line->file));
    if (line->text) line->text = ctl_strndup(arena, line->text, strlen(line->text));
}

void ctl_places_copy(ctl_arena *arena, const ctl_program_place *from, size_t n, ctl_program *to) {
    to->nplaces = n;
    to->places = CTL_NEW_ARRAY(arena, ctl_program_place, n);
    for (size_t k = 0; k < n; k++) {
        to->places[k] = from[k];
        own_text(arena, &to->places[k].user), own_text(arena, &to->places[k].library);
    }
}
