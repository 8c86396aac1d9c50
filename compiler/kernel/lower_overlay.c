/* lower_overlay: results in the place of operands. A row program may write results over operands that nothing reads
 * after it, where the rows lie the same way and every element is read before it is overwritten (ctl_rowprog_overlays):
 * one value over another, or a panel over a panel, column by column. The result's buffer then is the operand's, which
 * lives on. Bits do not change: places do. */
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

static uint64_t column_of(const ctl_operand *o) {
    return o->offset / ctl_dtype_size(o->dtype) % (uint64_t)o->stride;
}

/* The write may stand where the read does: on the same elements, each read before it is overwritten; or on other
 * columns of the same rows. */
static bool pair_allows(overlay *o, const ctl_task *t, uint32_t from, uint32_t to) {
    const ctl_operand *a = &t->operands[from], *b = &t->operands[to];
    if (a->dtype != b->dtype || a->rows != b->rows || a->stride != b->stride) return false;
    if (a->offset == b->offset && a->cols == b->cols) return kernel_allows(o, t, from, to);
    if (a->rows == 1) return false;
    uint64_t ca = column_of(a), cb = column_of(b), stride = (uint64_t)a->stride;
    if (ca + (uint64_t)a->cols > stride || cb + (uint64_t)b->cols > stride) return false;
    return ca + (uint64_t)a->cols <= cb || cb + (uint64_t)b->cols <= ca;
}

/* A step's buffer that the task only reads, or only writes (which is asked for), and that lives in one timeline. */
static bool of_one_kind(const overlay *o, const ctl_task *t, uint32_t buffer, bool written) {
    if (o->l->buffers.at[buffer].region != REGION_STEP) return false;
    for (uint32_t k = 0; k < t->noperands; k++)
        if (t->operands[k].buffer != UINT32_MAX && find(o, t->operands[k].buffer) == buffer &&
            (t->writes >> k & 1) != written)
            return false;
    return true;
}

/* Whether the task may write buffer `result`, which begins here, in the place of `operand`, which ends here: a panel of
 * gradients over the panel of what they are gradients of, column by column. */
static bool may_replace(overlay *o, const ctl_task *t, uint32_t operand, uint32_t result, int32_t now) {
    const ctl_buffer *a = &o->l->buffers.at[operand], *b = &o->l->buffers.at[result];
    if (o->kept[operand] || a->last != now || a->bytes != b->bytes) return false;
    if (o->timeline_of[operand] != o->timeline_of[result] || !of_one_kind(o, t, operand, false)) return false;
    for (uint32_t to = 0; to < t->noperands; to++) {
        if (t->operands[to].buffer == UINT32_MAX || find(o, t->operands[to].buffer) != result) continue;
        for (uint32_t from = 0; from < t->noperands; from++)
            if (t->operands[from].buffer != UINT32_MAX && find(o, t->operands[from].buffer) == operand &&
                !pair_allows(o, t, from, to))
                return false;
    }
    return true;
}

static void overlay_task(overlay *o, const ctl_task *t, int32_t now) {
    for (uint32_t to = 0; to < t->noperands; to++) {
        if (!(t->writes >> to & 1) || t->operands[to].buffer == UINT32_MAX) continue;
        uint32_t result = find(o, t->operands[to].buffer);
        ctl_buffer *b = &o->l->buffers.at[result];
        if (b->first != now || !of_one_kind(o, t, result, true)) continue;
        for (uint32_t from = 0; from < t->noperands; from++) {
            if ((t->writes >> from & 1) || t->operands[from].buffer == UINT32_MAX) continue;
            uint32_t operand = find(o, t->operands[from].buffer);
            if (!may_replace(o, t, operand, result, now)) continue;
            o->l->buffers.at[operand].last = b->last;
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
