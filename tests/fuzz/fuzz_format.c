/* A libFuzzer target: any bytes as a source, through the formatter. What must hold for every input is what
 * tests/format_fixture.h says; `tools/fuzz` builds and runs it. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/format_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ctl_arena arena;
    jmp_buf out;
    ctl_arena_init(&arena, NULL, &out);
    ctl_sink sink = {.arena = &arena};
    ctl_text text;
    const char *fault = format_fault(&arena, &sink, (const char *)data, size, &text);
    if (fault) {
        fprintf(stderr, "%s:\n%s\n", fault, text.at ? text.at : "");
        abort();
    }
    ctl_arena_free(&arena);
    return 0;
}
