/* pareto: see pareto.h. A budget between two points gets what the lower one costs, so the curve is drawn as
 * stairs. Where the number of parts changes its number stands at the point. */
#include "tools/ctlc/pareto.h"

#include <math.h>
#include <string.h>

#include "base/base.h"
#include "tools/ctlc/svg.h"
#include "tools/ctlc/tool.h"

enum { WIDTH = 900, HEIGHT = 520, LEFT = 90, RIGHT = 60, TOP = 60, BOTTOM = 70, TICKS = 8, APART = 26 };

static bool ends_in(const char *path, const char *end) {
    const size_t n = strlen(path), m = strlen(end);
    return n > m && strcmp(path + n - m, end) == 0;
}

int plan_pareto_check(const char *path) {
    if (ends_in(path, ".svg") || ends_in(path, ".json")) return EXIT_DONE;
    fprintf(stderr, "ctlc plan: --pareto writes FILE.svg or FILE.json, not \"%s\"\n", path);
    return EXIT_USAGE;
}

typedef struct frame {
    double from, to, top; /* bytes, bytes, extra work in percent */
} frame;

static double x_of(const frame *f, double bytes) {
    return LEFT + (bytes - f->from) / (f->to - f->from) * (WIDTH - LEFT - RIGHT);
}
/* Logarithmic above one percent or so, so that small costs are seen beside large ones. */
static double y_of(const frame *f, double percent) {
    return HEIGHT - BOTTOM - log1p(percent) / log1p(f->top) * (HEIGHT - TOP - BOTTOM);
}

static void draw_axes(const frame *f, ctl_string *out) {
    static const double marks[] = {0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000};
    char text[32];
    const double step = svg_bytes_step(f->to - f->from, TICKS), floor = HEIGHT - BOTTOM;
    double at = (double)(int64_t)(f->from / step) * step;
    for (at = at < f->from ? at + step : at; at <= f->to; at += step) {
        svg_line(out, x_of(f, at), floor, x_of(f, at), floor + 5, 1, NULL);
        svg_text(out, x_of(f, at), floor + 21, 13, SVG_MIDDLE, tool_bytes(at, text));
    }
    for (size_t k = 0; k < CTL_COUNT(marks) && marks[k] <= f->top; k++) {
        svg_line(out, LEFT - 5, y_of(f, marks[k]), LEFT, y_of(f, marks[k]), 1, NULL);
        snprintf(text, sizeof text, "%g%%", marks[k]);
        svg_text(out, LEFT - 9, y_of(f, marks[k]) + 5, 13, SVG_END, text);
    }
    svg_line(out, LEFT, TOP, LEFT, floor, 1, NULL);
    svg_line(out, LEFT, floor, WIDTH - RIGHT, floor, 1, NULL);
    svg_text(out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 18, 14, SVG_MIDDLE, "memory of everything");
    svg_text(out, LEFT - 60, TOP - 14, 14, SVG_START, "extra work a step (logarithmic)");
}

static void draw(const ctlc_plan *plan, const char *title, ctl_string *out) {
    const ctlc_plan_point *p = plan->points;
    const size_t n = plan->npoints;
    const double width = (double)(p[n - 1].bytes - p[0].bytes),
                 margin = width > 0 ? 0.04 * width : 0.1 * (double)p[0].bytes + 1;
    frame f = {(double)p[0].bytes - margin, (double)p[n - 1].bytes + 2 * margin, 1};
    for (size_t k = 0; k < n; k++)
        if (100 * p[k].extra_work * 1.12 > f.top) f.top = 100 * p[k].extra_work * 1.12;
    svg_begin(out, WIDTH, HEIGHT, title);
    svg_text(out, LEFT - 60, 26, 18, SVG_START, title);
    draw_axes(&f, out);
    for (size_t k = 0; k < n; k++) {
        const double x = x_of(&f, (double)p[k].bytes), y = y_of(&f, 100 * p[k].extra_work);
        const double next = k + 1 < n ? x_of(&f, (double)p[k + 1].bytes) : WIDTH - RIGHT;
        svg_line(out, x, y, next, y, 1.8, NULL);
        if (k + 1 < n) svg_line(out, next, y, next, y_of(&f, 100 * p[k + 1].extra_work), 1.8, NULL);
        if (n <= 60) svg_dot(out, x, y, 2.6);
    }
    double last_x = -APART, last_y = -APART;
    for (size_t k = 0; k < n; k++) { /* over the lines */
        char text[64], bytes[32];
        const double x = x_of(&f, (double)p[k].bytes), y = y_of(&f, 100 * p[k].extra_work);
        if (k && p[k].split == p[k - 1].split && k + 1 < n) continue;
        if (k && k + 1 < n && x - last_x < APART && y - last_y < APART)
            continue; /* would lie on the one before */
        if (k == 0 || k + 1 == n)
            snprintf(text, sizeof text, "%s, %lld part%s", tool_bytes((double)p[k].bytes, bytes),
                     (long long)p[k].split, p[k].split == 1 ? "" : "s");
        else
            snprintf(text, sizeof text, "%lld", (long long)p[k].split);
        if (k + 1 == n && n > 1)
            svg_text(out, WIDTH - 8, y - 14, 13, SVG_END, text);
        else
            svg_text(out, x + 8, k ? y - 8 : y + 12, 13, SVG_START, text);
        last_x = x, last_y = y;
    }
    svg_end(out);
}

static void write_json(const ctlc_plan *plan, ctl_string *out) {
    ctl_string_add(out, "[");
    for (size_t k = 0; k < plan->npoints; k++)
        ctl_string_add(out, "%s\n  {\"bytes\": %lld, \"extra_work\": %.6f, \"split\": %lld}", k ? "," : "",
                       (long long)plan->points[k].bytes, plan->points[k].extra_work,
                       (long long)plan->points[k].split);
    ctl_string_add(out, "\n]\n");
}

int plan_pareto(const char *path, const char *title, const ctlc_plan *plan) {
    ctl_string out = {.allocator = &ctl_malloc_allocator};
    ctl_status status = CTL_ERR_MEMORY;
    tool_speaker speaker = {0};
    if (!plan->npoints) {
        fprintf(stderr,
                "ctlc plan: --pareto needs a planned step: take --engine cpu and a network with a loss\n");
        return EXIT_UNSUPPORTED;
    }
    if (ends_in(path, ".json"))
        write_json(plan, &out);
    else
        draw(plan, title, &out);
    const ctl_place place = {{tool_diagnostic, &speaker}, &ctl_malloc_allocator};
    if (!out.failed) status = ctl_file_replace(path, out.at, out.n, place);
    if (status != CTL_OK) tool_explain(&speaker, status);
    ctl_string_drop(&out);
    return tool_exit_code(status);
}
