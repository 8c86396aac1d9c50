/* ctlc pack: lays buffers with known lives into one arena, as low as it can. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "compiler/plan/lifetimes.h"
#include "runtime/files.h"
#include "tools/ctlc/tool.h"

typedef struct clock_face {
    struct timespec begin;
    double seconds; /* how long it may take; 0: as long as it takes */
    double next;    /* when progress is told again */
    size_t bound;
    bool terminal, open;
} clock_face;

static double since(const struct timespec *begin) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - begin->tv_sec) + 1e-9 * (double)(now.tv_nsec - begin->tv_nsec);
}

static bool go_on(void *ctx, size_t height, uint64_t steps) {
    clock_face *c = ctx;
    const double now = since(&c->begin);
    if (now >= c->next) {
        fprintf(stderr, "%s%llu steps, %.0f s: height %zu so far%s", c->terminal ? "\r" : "",
                (unsigned long long)steps, now, height, c->terminal ? "  " : "\n");
        fflush(stderr);
        c->open = c->terminal;
        c->next = now + (c->terminal ? 0.5 : 5);
    }
    return c->seconds <= 0 || now < c->seconds;
}

static int pack(ctl_arena *arena, const char *path, const char *text, size_t size, size_t capacity,
                double seconds, const char *out) {
    ctl_lifetimes table;
    ctl_lifetimes_error error;
    tool_speaker speaker = {0};
    if (!ctl_lifetimes_read(arena, text, size, &table, &error)) {
        fprintf(stderr, "ctlc pack: %s", path);
        if (error.line) fprintf(stderr, ":%zu", error.line);
        if (error.column) fprintf(stderr, ":%zu", error.column);
        fprintf(stderr, ": %s\n", error.what);
        return EXIT_INPUT;
    }
    clock_face face = {.seconds = seconds, .next = 1, .terminal = isatty(STDERR_FILENO) != 0};
    clock_gettime(CLOCK_MONOTONIC, &face.begin);
    const ctl_pack_options options = {
        .goal = capacity, .steps = UINT64_MAX / 2, .go_on = go_on, .ctx = &face};
    size_t height, bound;
    uint64_t steps;
    if (!ctl_layout_search(arena, table.items, table.n, 1, &options, &height, &bound, &steps)) {
        fprintf(stderr, "ctlc pack: %s: its sizes add up to more than can be counted\n", path);
        return EXIT_INPUT;
    }
    const double took = since(&face.begin);
    if (face.open) fprintf(stderr, "\n");
    char time[32];
    printf("%zu buffers, %llu steps of search\nheight %zu\nbound %zu\ntime %s\n", table.n,
           (unsigned long long)steps, height, bound, tool_seconds(took, time));
    if (height == bound) printf("no packing is lower\n");
    if (capacity && height > capacity) {
        fprintf(stderr, "ctlc pack: %s: %zu is not reached; %s\n", path, capacity,
                bound > capacity ? "no packing is so low" : "a longer search (--seconds) may get lower");
        return EXIT_MEMORY;
    }
    if (!out) return EXIT_DONE;
    ctl_text offsets = {.arena = arena};
    ctl_lifetimes_write(&table, &offsets);
    const ctl_place place = {{tool_diagnostic, &speaker}, &ctl_malloc_allocator};
    const ctl_status status = ctl_file_replace(out, offsets.at, offsets.n, place);
    if (status != CTL_OK) tool_explain(&speaker, status);
    return tool_exit_code(status);
}

int cmd_pack(int argc, char **argv) {
    enum { MOST_BYTES = 1 << 30 };
    tool_speaker speaker = {0};
    int64_t capacity = 0;
    double seconds = 10;
    const char *out = NULL;
    const option options[] = {
        {"out", "FILE", OPT_TEXT, &out, "write the table with a column `offset`"},
        {"capacity", "N", OPT_COUNT, &capacity,
         "stop when the height is at most N; exit code 5 when it is not"},
        {"seconds", "S", OPT_REAL, &seconds, "how long to search (10); 0: until it is at the bound"},
    };
    command_line line = {
        .command = "pack",
        .about =
            "Lays buffers, whose sizes and lives are known, into one arena: no two that live at one time "
            "overlap, and\n"
            "the arena is as small as can be found. FILE.csv is a table `id,lower,upper,size`; a buffer "
            "lives from\n"
            "`lower` up to but not including `upper`. Prints the height (the arena's size), the bound (no "
            "packing is\n"
            "lower: the most that is alive at one time, or more where the search proved so) and the time.\n"
            "\n"
            "Heuristics come first; if they do not reach the bound, a tree search goes on (docs/packing.md). "
            "A result\n"
            "at the bound is the same on every machine; where time runs out, a faster machine may get "
            "lower.\n",
        .examples = "  ctlc pack lives.csv\n"
                    "  ctlc pack lives.csv --out offsets.csv --seconds 60\n"
                    "  ctlc pack lives.csv --capacity 1048576 && echo it fits\n",
        .options = options,
        .noptions = CTL_COUNT(options),
        .operand_name = "FILE.csv",
        .most_operands = 1,
    };
    int code = options_parse(&line, argc, argv);
    if (code) return code < 0 ? EXIT_DONE : code;
    char *text;
    size_t size;
    const ctl_place place = {{tool_diagnostic, &speaker}, &ctl_malloc_allocator};
    const ctl_status status = ctl_file_read(line.operands.at[0], MOST_BYTES, &text, &size, place);
    if (status != CTL_OK) {
        tool_explain(&speaker, status);
        return tool_exit_code(status);
    }
    jmp_buf failure;
    ctl_arena arena;
    ctl_arena_init(&arena, NULL, &failure);
    if (setjmp(failure) == 0) {
        code = pack(&arena, line.operands.at[0], text, size, (size_t)capacity, seconds, out);
    } else {
        fprintf(stderr, "ctlc pack: no memory\n");
        code = EXIT_MEMORY;
    }
    ctl_arena_free(&arena);
    ctl_free(&ctl_malloc_allocator, text, size + 1);
    return code;
}
