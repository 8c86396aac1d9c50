/* lower_overlay: results in the place of operands. A row program may write a result over an operand that
 * nothing reads after it, where the rows lie the same way and every element is read before it is overwritten
 * (ctl_rowprog_overlays). The result's buffer then is the operand's, which lives on. Bits do not change:
 * places do. */
#include "compiler/kernel/lower_state.h"

typedef struct overlay {
    ctl_lowering *l;
    const int8_t *timeline_of;
    uint32_t *now_in; /* of each buffer: the one that it has become */
    bool *kept;       /* of each buffer: the host reads it after the last task, which is no use that ends there */
    ctl_map known;    /* answers by (kernel, operand, result) */
} overlay;

static uint32_t find(const overlay *o, uint32_t buffer) {
    while (o->now_in[buffer] != buffer) buffer = o->now_in[buffer];
    return buffer;
}

/* The operand is all of a step's buffer, and no other operand of the task lies in it. */
static bool alone_in_buffer(const overlay *o, const ctl_task *t, uint32_t number) {
    const ctl_operand *a = &t->operands[number];
    if (a->buffer == UINT32_MAX || a->offset != 0) return false;
    uint32_t buffer = find(o, a->buffer);
    const ctl_buffer *b = &o->l->buffers.at[buffer];
    size_t bytes = (size_t)((a->rows - 1) * a->stride + a->cols) * ctl_dtype_size(a->dtype);
    if (b->region != REGION_STEP || b->bytes != bytes) return false;
    for (uint32_t k = 0; k < t->noperands; k++)
        if (k != number && t->operands[k].buffer != UINT32_MAX && find(o, t->operands[k].buffer) == buffer)
            return false;
    return true;
}

static bool kernel_allows(overlay *o, const ctl_task *t, uint32_t from, uint32_t to) {
    static const bool answers[2] = {false, true};
    uint32_t key[3] = {t->kernel, from, to};
    const bool *known = ctl_map_get_bytes(&o->known, key, sizeof key);
    if (known) return *known;
    const ctl_rowprog *p = o->l->rows.at[t->kernel];
    bool allows = from < p->noperands && to < p->noperands && ctl_rowprog_overlays(p, from, to, o->l->arena);
    ctl_map_put_bytes(&o->known, key, sizeof key, (void *)&answers[allows]);
    return allows;
}

static bool same_shape(const ctl_operand *a, const ctl_operand *b) {
    return a->rows == b->rows && a->cols == b->cols && a->stride == b->stride && a->dtype == b->dtype;
}

static void overlay_task(overlay *o, const ctl_task *t, int32_t now) {
    for (uint32_t to = 0; to < t->noperands; to++) {
        if (!(t->writes >> to & 1) || !alone_in_buffer(o, t, to)) continue;
        uint32_t result = find(o, t->operands[to].buffer);
        if (o->l->buffers.at[result].first != now) continue;
        for (uint32_t from = 0; from < t->noperands; from++) {
            if ((t->writes >> from & 1) || !alone_in_buffer(o, t, from)) continue;
            uint32_t operand = find(o, t->operands[from].buffer);
            ctl_buffer *a = &o->l->buffers.at[operand], *b = &o->l->buffers.at[result];
            if (o->kept[operand] || a->last != now || o->timeline_of[operand] != o->timeline_of[result]) continue;
            if (!same_shape(&t->operands[from], &t->operands[to]) || !kernel_allows(o, t, from, to)) continue;
            a->last = b->last;
            b->first = b->last = -1, b->bytes = 0;
            o->now_in[result] = operand;
            o->kept[operand] = o->kept[result];
            break;
        }
    }
}

static void note_kept(overlay *o) {
    for (size_t k = 0; k < o->l->hosts.noutputs; k++) {
        const ctl_program_output *out = &o->l->hosts.outputs[k];
        if (out->forward.buffer != UINT32_MAX) o->kept[out->forward.buffer] = true;
        if (out->evaluate.buffer != UINT32_MAX) o->kept[out->evaluate.buffer] = true;
    }
}

void ctl_lower_overlay(ctl_lowering *l, const int8_t *timeline_of) {
    overlay o = {.l = l, .timeline_of = timeline_of, .known = {.arena = l->arena}};
    o.now_in = CTL_NEW_ARRAY(l->arena, uint32_t, l->buffers.n);
    for (uint32_t k = 0; k < l->buffers.n; k++) o.now_in[k] = k;
    o.kept = CTL_NEW_ARRAY(l->arena, bool, l->buffers.n);
    note_kept(&o);
    for (int list = 0; list < RUN_COUNT; list++) {
        int32_t base = list == RUN_BACKWARD ? (int32_t)l->run[RUN_FORWARD].n : 0;
        for (size_t k = 0; k < l->run[list].n; k++)
            if (l->run[list].at[k].kind == TASK_ROWS)
                overlay_task(&o, &l->run[list].at[k], base + (int32_t)k);
    }
    for (int list = 0; list < RUN_COUNT; list++) {
        for (size_t k = 0; k < l->run[list].n; k++) {
            ctl_task *t = &l->run[list].at[k];
            for (uint32_t j = 0; j < t->noperands; j++)
                if (t->operands[j].buffer != UINT32_MAX)
                    t->operands[j].buffer = find(&o, t->operands[j].buffer);
        }
    }
    for (size_t k = 0; k < l->hosts.noutputs; k++) {
        ctl_operand *both[] = {&l->hosts.outputs[k].forward, &l->hosts.outputs[k].evaluate};
        for (size_t j = 0; j < CTL_COUNT(both); j++)
            if (both[j]->buffer != UINT32_MAX) both[j]->buffer = find(&o, both[j]->buffer);
    }
}
