/* timeline: see timeline.h. Areas lie on one another: below, what stays all the time (weights, what is
 * trained, inputs); above, the step's own. Where a chart has more tasks than columns, a column shows the
 * fullest of its tasks, so the peak is seen. */
#include "tools/ctlc/timeline.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "runtime/program.h"
#include "tools/ctlc/svg.h"
#include "tools/ctlc/tool.h"

enum {
    WIDTH = 1000,
    HEIGHT = 560,
    LEFT = 90,
    RIGHT = 210,
    TOP = 60,
    BOTTOM = 60,
    COLUMNS = 700,
    KINDS = 6,
    TICKS = 8
};

static const char *const names[KINDS] = {"frozen weights", "trained, gradients, moments",
                                         "inputs",         "kept for backward",
                                         "other values",   "scratch, logits"};

static int kind_of(ctl_use use) {
    switch (use) {
    case USE_WEIGHTS:
    case USE_DERIVED:
        return 0;
    case USE_TRAINED:
    case USE_GRADIENTS:
    case USE_OPTIMIZER:
        return 1;
    case USE_INPUTS:
        return 2;
    case USE_SAVED:
        return 3;
    case USE_HEAD:
    case USE_SCRATCH:
        return 5;
    default:
        return 4;
    }
}

typedef struct chart {
    size_t tasks, forward, columns;
    double *alive;      /* bytes, by task and kind */
    size_t *shown;      /* by column: its fullest task */
    double most[KINDS]; /* bytes of each kind at any task */
    double top;         /* most bytes at a task */
    size_t peak;        /* at this one */
} chart;

/* A buffer of the step region belongs to the step when one of forward's or backward's tasks touches it. */
static void mark_step(const ctl_program *p, bool *mine) {
    for (int run = RUN_FORWARD; run <= RUN_BACKWARD; run++)
        for (size_t t = 0; t < p->run[run].n; t++) {
            const ctl_task *task = &p->run[run].at[t];
            for (uint32_t k = 0; k < task->noperands; k++)
                if (task->operands[k].buffer < p->nbuffers) mine[task->operands[k].buffer] = true;
            if (task->scratch.buffer < p->nbuffers) mine[task->scratch.buffer] = true;
        }
}

static void count(const ctl_program *p, const bool *mine, chart *c) {
    for (size_t i = 0; i < p->nbuffers; i++) { /* what begins and what ends */
        const ctl_buffer *b = &p->buffers[i];
        const int kind = kind_of(b->use);
        if (b->region != REGION_STEP) {
            c->alive[kind] += (double)b->bytes;
        } else if (mine[i] && b->first >= 0 && (size_t)b->last < c->tasks) {
            c->alive[(size_t)b->first * KINDS + (size_t)kind] += (double)b->bytes;
            c->alive[((size_t)b->last + 1) * KINDS + (size_t)kind] -= (double)b->bytes;
        }
    }
    for (size_t t = 0; t < c->tasks; t++) {
        double sum = 0;
        for (int k = 0; k < KINDS; k++) {
            if (t) c->alive[t * KINDS + (size_t)k] += c->alive[(t - 1) * KINDS + (size_t)k];
            sum += c->alive[t * KINDS + (size_t)k];
            if (c->alive[t * KINDS + (size_t)k] > c->most[k]) c->most[k] = c->alive[t * KINDS + (size_t)k];
        }
        const size_t column = t * c->columns / c->tasks;
        double fullest = 0;
        for (int k = 0; k < KINDS && c->shown[column] != SIZE_MAX; k++)
            fullest += c->alive[c->shown[column] * KINDS + (size_t)k];
        if (c->shown[column] == SIZE_MAX || sum > fullest) c->shown[column] = t;
        if (sum > c->top) c->top = sum, c->peak = t;
    }
}

static double x_of(const chart *c, double task) {
    return LEFT + task / (double)c->tasks * (WIDTH - LEFT - RIGHT);
}
static double y_of(double bytes, double scale) {
    return HEIGHT - BOTTOM - bytes / scale * (HEIGHT - TOP - BOTTOM);
}

static double below(const chart *c, size_t task, int kind) {
    double sum = 0;
    for (int k = 0; k < kind; k++) sum += c->alive[task * KINDS + (size_t)k];
    return sum;
}

static void draw_areas(const chart *c, double scale, ctl_string *out) {
    for (int kind = 0; kind < KINDS; kind++) {
        if (c->most[kind] / scale * HEIGHT < 0.2) continue; /* thinner than can be drawn */
        svg_area_begin(out);
        for (int side = 0; side < 2; side++)
            for (size_t k = 0; k < c->columns; k++) {
                const size_t column = side ? c->columns - 1 - k : k;
                const double y = y_of(below(c, c->shown[column], kind + !side), scale);
                const double a = LEFT + (double)column / (double)c->columns * (WIDTH - LEFT - RIGHT);
                const double b = LEFT + (double)(column + 1) / (double)c->columns * (WIDTH - LEFT - RIGHT);
                svg_area_to(out, side ? b : a, y);
                svg_area_to(out, side ? a : b, y);
            }
        svg_area_end(out, kind);
    }
}

static void draw_axes(const chart *c, double scale, double step, ctl_string *out) {
    char text[96], count_text[32];
    for (double at = 0; at <= scale * 1.0001; at += step) {
        svg_line(out, LEFT - 5, y_of(at, scale), LEFT, y_of(at, scale), 1, NULL);
        svg_text(out, LEFT - 9, y_of(at, scale) + 5, 14, SVG_END, tool_bytes(at, text));
    }
    svg_line(out, LEFT, TOP, LEFT, HEIGHT - BOTTOM, 1, NULL);
    svg_line(out, LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, 1, NULL);
    const double boundary = x_of(c, (double)c->forward), floor = HEIGHT - BOTTOM;
    if (c->forward && c->forward < c->tasks) {
        svg_line(out, boundary, TOP - 4, boundary, floor + 6, 1.4, "6 4");
        svg_text(out, (x_of(c, 0) + boundary) / 2, floor + 22, 15, SVG_MIDDLE, "forward");
        svg_text(out, (boundary + x_of(c, (double)c->tasks)) / 2, floor + 22, 15, SVG_MIDDLE, "backward");
    }
    snprintf(text, sizeof text, "%s tasks of a micro-step, in order",
             tool_count((int64_t)c->tasks, count_text));
    svg_text(out, (LEFT + WIDTH - RIGHT) / 2.0, floor + 44, 14, SVG_MIDDLE, text);
}

static void draw_legend(const chart *c, ctl_string *out) {
    double y = TOP + 10;
    svg_text(out, WIDTH - RIGHT + 16, y, 14, SVG_START, "at the peak:");
    for (int kind = KINDS - 1; kind >= 0; kind--) {
        char text[32];
        const double bytes = c->alive[c->peak * KINDS + (size_t)kind];
        if (c->most[kind] <= 0) continue;
        y += 16;
        svg_rect(out, WIDTH - RIGHT + 16, y, 22, 22, kind);
        svg_text(out, WIDTH - RIGHT + 44, y + 9, 13, SVG_START, names[kind]);
        svg_text(out, WIDTH - RIGHT + 44, y + 24, 13, SVG_START, tool_bytes(bytes, text));
        y += 22;
    }
}

static void draw(const chart *c, const char *title, ctl_string *out) {
    char text[64], bytes[32];
    const double step = svg_bytes_step(c->top * 1.06, TICKS), scale = c->top * 1.06;
    svg_begin(out, WIDTH, HEIGHT, title);
    svg_text(out, LEFT, 28, 18, SVG_START, title);
    draw_areas(c, scale, out);
    draw_axes(c, scale, step, out);
    draw_legend(c, out);
    const double x = x_of(c, (double)c->peak + 0.5), y = y_of(c->top, scale);
    svg_dot(out, x, y, 4);
    snprintf(text, sizeof text, "peak %s", tool_bytes(c->top, bytes));
    svg_text(out, x, y - 10, 14,
             x < 2 * LEFT               ? SVG_START
             : x > WIDTH - RIGHT - LEFT ? SVG_END
                                        : SVG_MIDDLE,
             text);
    svg_end(out);
}

int plan_timeline(const char *path, const char *title, const ctl_program *p) {
    chart c = {.forward = p->run[RUN_FORWARD].n, .tasks = p->run[RUN_FORWARD].n + p->run[RUN_BACKWARD].n};
    if (!c.tasks) {
        fprintf(
            stderr,
            "ctlc plan: --timeline needs the tasks of a step: take --engine cpu and a network with a loss\n");
        return EXIT_UNSUPPORTED;
    }
    c.columns = c.tasks < COLUMNS ? c.tasks : COLUMNS;
    bool *mine = calloc(p->nbuffers + 1, sizeof *mine);
    c.alive = calloc((c.tasks + 1) * KINDS, sizeof *c.alive);
    c.shown = malloc(c.columns * sizeof *c.shown);
    ctl_string out = {.allocator = &ctl_malloc_allocator};
    ctl_status status = CTL_ERR_MEMORY;
    tool_speaker speaker = {0};
    if (mine && c.alive && c.shown) {
        for (size_t k = 0; k < c.columns; k++) c.shown[k] = SIZE_MAX;
        mark_step(p, mine);
        count(p, mine, &c);
        draw(&c, title, &out);
        const ctl_place place = {{tool_diagnostic, &speaker}, &ctl_malloc_allocator};
        if (!out.failed) status = ctl_file_replace(path, out.at, out.n, place);
    }
    if (status != CTL_OK) tool_explain(&speaker, status);
    free(mine), free(c.alive), free(c.shown);
    ctl_string_drop(&out);
    return tool_exit_code(status);
}
