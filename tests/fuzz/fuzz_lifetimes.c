/* A libFuzzer target: any bytes as a table of lives. What must hold: the call returns; an error names a line
 * that there is, and a column within it or just behind it; what is read is packed without overlap, within few
 * steps. */
#include <stdint.h>
#include <stdlib.h>

#include "compiler/plan/lifetimes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void place_is_there(const uint8_t *data, size_t size, const ctl_lifetimes_error *e) {
    size_t line = 1, column = 1;
    if (!e->what[0]) abort();
    if (!e->line || !e->column) return;
    for (size_t k = 0; k < size; k++, column++) {
        if (line == e->line && column == e->column) return;
        if (data[k] == '\n') line++, column = 0;
    }
    if (line != e->line || e->column > column) abort();
}

static void pack(ctl_arena *arena, const ctl_lifetimes *t) {
    size_t height, bound;
    uint64_t steps;
    if (t->n > 300) return;
    if (!ctl_layout_search(arena, t->items, t->n, 1, &(ctl_pack_options){.steps = 2000}, &height, &bound,
                           &steps))
        abort();
    if (height < bound) abort();
    for (size_t i = 0; i < t->n; i++)
        for (size_t j = 0; j < i; j++) {
            const ctl_layout_item *a = &t->items[i], *b = &t->items[j];
            if (a->first <= b->last && b->first <= a->last && a->offset < b->offset + b->bytes &&
                b->offset < a->offset + a->bytes)
                abort();
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    jmp_buf failure;
    ctl_arena arena;
    ctl_lifetimes table;
    ctl_lifetimes_error error;
    char *text = malloc(size + 1); /* the reader may rely on a NUL behind, as files have */
    if (!text) return 0;
    memcpy(text, data, size);
    text[size] = 0;
    ctl_arena_init(&arena, NULL, &failure);
    if (setjmp(failure) == 0) {
        if (ctl_lifetimes_read(&arena, text, size, &table, &error))
            pack(&arena, &table);
        else
            place_is_there(data, size, &error);
    }
    ctl_arena_free(&arena);
    free(text);
    return 0;
}
