/* task_groups: see task_groups.h. */
#include "runtime/task_groups.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ctl_task_is_product(const ctl_task *t) {
    return t->kind == TASK_MATMUL || t->kind == TASK_ATTEND || t->kind == TASK_ATTEND_GRAD || t->kind == TASK_MIX ||
           t->kind == TASK_MIX_GRAD || t->kind == TASK_HEAD;
}

void ctl_task_group_name(const ctl_program *p, const ctl_task *t, char out[CTL_GROUP_NAME]) {
    const ctl_operand *o = t->operands;
    switch (t->kind) {
    case TASK_MATMUL:
        snprintf(out, CTL_GROUP_NAME, "product %s%s %lld x %lld x %lld%s%s%s%s -> %s", t->transpose_a ? "a'" : "a",
                 t->transpose_b ? " b'" : " b",
                 (long long)o[2].rows, (long long)o[2].cols, (long long)(t->transpose_a ? o[0].rows : o[0].cols),
                 t->accumulate ? " +=" : "", o[3].buffer != UINT32_MAX ? " + bias" : "",
                 o[4].buffer != UINT32_MAX ? " + addend" : "", t->noperands > 5 ? " + addend" : "", ctl_dtype_name(o[2].dtype));
        break;
    case TASK_ATTEND: snprintf(out, CTL_GROUP_NAME, "attention"); break;
    case TASK_ATTEND_GRAD: snprintf(out, CTL_GROUP_NAME, "attention's gradient"); break;
    case TASK_MIX: snprintf(out, CTL_GROUP_NAME, "mix"); break;
    case TASK_MIX_GRAD: snprintf(out, CTL_GROUP_NAME, "mix's gradient"); break;
    case TASK_HEAD: snprintf(out, CTL_GROUP_NAME, "head"); break;
    case TASK_ROWS: snprintf(out, CTL_GROUP_NAME, "%s, first %.70s", p->kernels[t->kernel].name, t->name); break;
    case TASK_SCATTER: snprintf(out, CTL_GROUP_NAME, "scatter"); break;
    case TASK_FOLD: snprintf(out, CTL_GROUP_NAME, "fold"); break;
    case TASK_TRANSPOSE: snprintf(out, CTL_GROUP_NAME, "transpose"); break;
    }
}

bool ctl_task_group_same(const char *a, const char *b) { /* up to the comma, behind which the first one's path is */
    const size_t n = strcspn(a, ",");
    return n == strcspn(b, ",") && strncmp(a, b, n) == 0;
}

double ctl_task_bytes(const ctl_task *t) {
    double bytes = 0;
    for (uint32_t k = 0; k < t->noperands; k++) {
        const ctl_operand *o = &t->operands[k];
        if (o->buffer == UINT32_MAX) continue;
        const bool looked_up = t->kind == TASK_ROWS && t->index_of && t->index_of[k] != UINT32_MAX;
        const bool twice = t->accumulate && t->writes >> k & 1;
        bytes += (twice ? 2.0 : 1.0) * (double)(looked_up ? t->rows : o->rows) * (double)o->cols * (double)ctl_dtype_size(o->dtype);
    }
    return bytes;
}

static int by_time(const void *a, const void *b) {
    const double x = ((const ctl_task_group *)a)->seconds, y = ((const ctl_task_group *)b)->seconds;
    return (x < y) - (x > y);
}

size_t ctl_task_groups(const ctl_program *p, double *const seconds[RUN_COUNT], ctl_task_group out[CTL_MOST_GROUPS]) {
    static const ctl_program_entry entries[] = {RUN_FORWARD, RUN_BACKWARD};
    size_t n = 0;
    for (size_t e = 0; e < sizeof entries / sizeof *entries; e++)
        for (size_t k = 0; k < p->run[entries[e]].n; k++) {
            const ctl_task *t = &p->run[entries[e]].at[k];
            char name[CTL_GROUP_NAME];
            size_t g = 0;
            ctl_task_group_name(p, t, name);
            while (g < n && !ctl_task_group_same(out[g].name, name)) g++;
            if (g == CTL_MOST_GROUPS) g--; /* the last one has the rest too */
            if (g == n) {
                out[n] = (ctl_task_group){.product = ctl_task_is_product(t)};
                memcpy(out[n++].name, name, sizeof name);
            }
            out[g].times++, out[g].seconds += seconds[entries[e]][k], out[g].flops += t->flops;
            out[g].bytes += ctl_task_bytes(t);
        }
    qsort(out, n, sizeof *out, by_time);
    return n;
}

/* ---- by line ---- */
static bool same_line(const ctl_program_line *a, const ctl_program_line *b) {
    return !a->file || !b->file ? a->file == b->file : a->line == b->line && strcmp(a->file, b->file) == 0;
}
static bool is_at(const ctl_line_time *l, const ctl_program_place *at) {
    if (!l->at || !at) return l->at == at;
    return same_line(&l->at->user, &at->user) && same_line(&l->at->library, &at->library);
}

static int lines_by_time(const void *a, const void *b) {
    const double x = ((const ctl_line_time *)a)->seconds, y = ((const ctl_line_time *)b)->seconds;
    return (x < y) - (x > y);
}

size_t ctl_task_lines(const ctl_program *p, double *const seconds[RUN_COUNT], ctl_line_time out[CTL_MOST_GROUPS]) {
    size_t n = 1; /* the first has what has no line of its own */
    out[0] = (ctl_line_time){0};
    for (int e = RUN_FORWARD; e <= RUN_BACKWARD; e++)
        for (size_t k = 0; k < p->run[e].n; k++) {
            const ctl_task *t = &p->run[e].at[k];
            const ctl_program_place *at = t->place && t->place <= p->nplaces ? &p->places[t->place - 1] : NULL;
            size_t l = 0;
            while (l < n && !is_at(&out[l], at)) l++;
            if (l == n && n == CTL_MOST_GROUPS) l = 0;
            if (l == n) out[n++] = (ctl_line_time){.at = at};
            out[l].times++, out[l].seconds += seconds[e][k], out[l].flops += t->flops;
        }
    if (!out[0].times) out[0] = out[--n];
    qsort(out, n, sizeof *out, lines_by_time);
    return n;
}
