/* svg: the little that charts need of SVG. Areas are told apart by hatching as well as by shade, so that they
 * can be read in black and white. */
#ifndef CTLC_SVG_H
#define CTLC_SVG_H

#include "runtime/files.h"

enum { SVG_FILLS = 8 }; /* shades with hatchings, from dark to light */
typedef enum svg_anchor { SVG_START, SVG_MIDDLE, SVG_END } svg_anchor;

void svg_begin(ctl_string *out, int width, int height, const char *title);
void svg_end(ctl_string *out);
void svg_text(ctl_string *out, double x, double y, int size, svg_anchor anchor, const char *text);
/* dash: NULL for a whole line, or "4 3". */
void svg_line(ctl_string *out, double x1, double y1, double x2, double y2, double width, const char *dash);
void svg_rect(ctl_string *out, double x, double y, double width, double height, int fill);
void svg_dot(ctl_string *out, double x, double y, double radius);
/* An area: begin, its corners, end. */
void svg_area_begin(ctl_string *out);
void svg_area_to(ctl_string *out, double x, double y);
void svg_area_end(ctl_string *out, int fill);

/* A step of an axis of bytes: the least power of two with at most `most` ticks up to `top`. */
double svg_bytes_step(double top, int most);

#endif
