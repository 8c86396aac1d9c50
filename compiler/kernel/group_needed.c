/* group_needed: which values are stored, and which are computed at all. One walk from the last unit to the
 * first: whoever reads a value comes after it, or in its own row program. Members that were to be computed
 * again by all their readers may turn out to be needed by none. */
#include "compiler/kernel/group.h"

typedef struct walk {
    ctl_grouping *u;
    ctl_node_ids loads, own;
} walk;

static void note(walk *w) {
    for (size_t k = 0; k < w->loads.n; k++) {
        ctl_value *v = &w->u->value[ctl_group_base(w->u, w->loads.at[k])];
        v->stored = v->needed = true;
    }
    for (size_t k = 0; k < w->own.n; k++) w->u->value[w->own.at[k]].needed = true;
    w->loads.n = w->own.n = 0;
}

static void need_extra(walk *w, int list, uint32_t number, const ctl_row_extra *extra) {
    ctl_grouping *u = w->u;
    ctl_node_id same = u->value[extra->value].same;
    if (u->value[same].inlined) return;
    if (ctl_group_in_unit(u, list, number, same) && u->g->at[same].op != OP_COLSUM)
        CTL_PUSH(u->arena, &w->own, same);
    else if (u->g->at[same].op == OP_REPEAT || u->value[same].again)
        ctl_group_loads(u, list, number, same, &w->loads, &w->own);
    else
        CTL_PUSH(u->arena, &w->loads, same);
    note(w);
}

static void need_rows(walk *w, int list, uint32_t number, const ctl_unit *unit) {
    ctl_grouping *u = w->u;
    for (size_t k = 0; k < unit->extras.n; k++) need_extra(w, list, number, &unit->extras.at[k]);
    for (size_t k = unit->members.n; k-- > 0;) {
        ctl_node_id id = unit->members.at[k];
        ctl_value *v = &u->value[id];
        if (u->g->at[id].op == OP_COLSUM && v->sum_into != UINT32_MAX) v->needed = true;
        if (!v->needed) continue;
        ctl_group_loads(u, list, number, id, &w->loads, &w->own);
        note(w);
    }
}

void ctl_group_needed(ctl_grouping *u) {
    walk w = {.u = u};
    for (ctl_node_id id = 0; id < u->g->n; id++) {
        ctl_value *v = &u->value[id];
        if (v->ready && (v->panel != CTL_NONE || v->crossing)) v->stored = v->needed = true;
    }
    for (int list = RUN_COUNT; list-- > 0;) {
        for (uint32_t number = (uint32_t)u->list[list].n; number-- > 0;) {
            const ctl_unit *unit = &u->list[list].at[number];
            if (unit->kind == UNIT_ROWS) need_rows(&w, list, number, unit);
            if (unit->kind != UNIT_TASK) continue;
            ctl_group_reads(u, unit->node, &w.loads);
            note(&w);
        }
    }
}
