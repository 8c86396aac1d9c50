/* svg: see svg.h. */
#include "tools/ctlc/svg.h"

#include <string.h>

static const struct {
    const char *shade;
    int angle, gap; /* of the hatching; gap 0: none */
} fills[SVG_FILLS] = {{"#5b6b7a", 0, 0}, {"#c9d3dc", 45, 5}, {"#8fa3b5", -45, 5}, {"#eef1f4", 0, 0},
                      {"#b5c4a8", 0, 6}, {"#e9d9a8", 90, 6}, {"#d8a48f", 45, 9},  {"#ffffff", -45, 9}};

static void escaped(ctl_string *out, const char *text) {
    for (; *text; text++) {
        if (*text == '<')
            ctl_string_add(out, "&lt;");
        else if (*text == '&')
            ctl_string_add(out, "&amp;");
        else
            ctl_string_put(out, text, 1);
    }
}

void svg_begin(ctl_string *out, int width, int height, const char *title) {
    ctl_string_add(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
        "font-family=\"Helvetica, Arial, sans-serif\">\n<title>",
        width, height, width, height);
    escaped(out, title);
    ctl_string_add(out, "</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n<defs>\n");
    for (size_t k = 0; k < SVG_FILLS; k++) {
        const int gap = fills[k].gap ? fills[k].gap : 8;
        ctl_string_add(out,
                       "<pattern id=\"f%zu\" width=\"%d\" height=\"%d\" patternUnits=\"userSpaceOnUse\" "
                       "patternTransform=\"rotate(%d)\"><rect width=\"%d\" height=\"%d\" fill=\"%s\"/>",
                       k, gap, gap, fills[k].angle, gap, gap, fills[k].shade);
        if (fills[k].gap)
            ctl_string_add(out, "<path d=\"M0 0H%d\" stroke=\"#444\" stroke-width=\"1\"/>", gap);
        ctl_string_add(out, "</pattern>\n");
    }
    ctl_string_add(out, "</defs>\n");
}

void svg_end(ctl_string *out) {
    ctl_string_add(out, "</svg>\n");
}

void svg_text(ctl_string *out, double x, double y, int size, svg_anchor anchor, const char *text) {
    static const char *const anchors[] = {"start", "middle", "end"};
    ctl_string_add(
        out,
        "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%d\" text-anchor=\"%s\" stroke=\"white\" stroke-width=\"4\" "
        "stroke-linejoin=\"round\" paint-order=\"stroke\">",
        x, y, size, anchors[anchor]);
    escaped(out, text);
    ctl_string_add(out, "</text>\n");
}

void svg_line(ctl_string *out, double x1, double y1, double x2, double y2, double width, const char *dash) {
    ctl_string_add(out, "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"black\" stroke-width=\"%.2f\"", x1, y1, x2,
                   y2, width);
    if (dash) ctl_string_add(out, " stroke-dasharray=\"%s\"", dash);
    ctl_string_add(out, "/>\n");
}

void svg_rect(ctl_string *out, double x, double y, double width, double height, int fill) {
    ctl_string_add(
        out,
        "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"url(#f%d)\" stroke=\"black\" "
        "stroke-width=\"0.6\"/>\n",
        x, y, width, height, fill);
}

void svg_dot(ctl_string *out, double x, double y, double radius) {
    ctl_string_add(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>\n", x, y, radius);
}

void svg_area_begin(ctl_string *out) {
    ctl_string_add(out, "<polygon points=\"");
}

void svg_area_to(ctl_string *out, double x, double y) {
    ctl_string_add(out, "%.1f,%.1f ", x, y);
}

void svg_area_end(ctl_string *out, int fill) {
    ctl_string_add(
        out, "\" fill=\"url(#f%d)\" stroke=\"black\" stroke-width=\"0.6\" stroke-linejoin=\"round\"/>\n",
        fill);
}

double svg_bytes_step(double top, int most) {
    double step = 1;
    while (step < 1e18 && top / step > most) step *= 2;
    return step;
}
