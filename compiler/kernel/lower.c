/* lower: the list of what lowering does: group, write the tasks, place the buffers, copy, check. */
#include "compiler/graph/graph_copy.h"
#include "compiler/kernel/lower_state.h"
#include "compiler/plan/check.h"
#include "compiler/plan/layout.h"

/* ---- operations that no task has, written with others ---- */
enum { MOST_BESIDE = 64 };

/* Row programs load one row of the space for all its parts, and nothing finer or coarser. */
static bool repeats_unlike(const ctl_graph *g, const ctl_node *n) {
    return n->op == OP_REPEAT && n->i[0] > 1 && (n->space == SPACE_NONE || g->at[n->in[0]].split > 1);
}

static ctl_node_id beside(ctl_graph *g, ctl_node_id a, int64_t times) {
    ctl_node_id in[MOST_BESIDE];
    int64_t most = (times + MOST_BESIDE - 1) / MOST_BESIDE;
    int n = 0;
    if (times == 1) return a;
    for (int64_t left = times; left > 0; left -= most) in[n++] = beside(g, a, left < most ? left : most);
    return ctl_build(g, a, OP_CAT, n, in, NULL, 0);
}

/* An identity matrix as a value is where the number of the row equals that of the column. A row repeated is its copies
 * beside each other, split again. */
static const ctl_graph *spelled_out(const ctl_graph *g) {
    bool any = false;
    for (size_t id = 0; id < g->n && !any; id++) any = g->at[id].op == OP_EYE || repeats_unlike(g, &g->at[id]);
    if (!any) return g;
    ctl_graph_copy *c = ctl_copy_begin(g);
    for (ctl_node_id id = 0; id < g->n; id++) {
        const ctl_node *n = &g->at[id];
        c->out->entry = (ctl_entry)n->entry;
        if (n->op == OP_EYE) {
            ctl_node_id row = CTL_B1(c->out, CTL_NONE, OP_TRANSPOSE, CTL_B0(c->out, CTL_NONE, OP_INDEX, n->rows));
            c->map[id] = CTL_B2(c->out, CTL_NONE, OP_EQ, row, CTL_B0(c->out, CTL_NONE, OP_INDEX, n->cols));
        } else if (repeats_unlike(g, n)) {
            ctl_node_id copies = beside(c->out, c->map[n->in[0]], n->i[0]);
            c->map[id] = ctl_build(c->out, copies, OP_SPLIT, 1, &copies, (const int64_t[3]){n->cols}, 0);
        } else {
            ctl_copy_node(c, id);
        }
    }
    c->out->entry = g->entry;
    return ctl_copy_end(c);
}

/* ---- when each buffer of the step region is needed ---- */
static bool touch(ctl_lowering *l, const ctl_operand *o, int32_t now, int timeline, int8_t *timeline_of) {
    if (o->buffer == UINT32_MAX) return true;
    ctl_buffer *b = &l->buffers.at[o->buffer];
    if (b->region != REGION_STEP) return true;
    if (b->first < 0) b->first = now, timeline_of[o->buffer] = (int8_t)timeline;
    if (timeline_of[o->buffer] != timeline)
        return ctl_lower_fail(l, CTL_ERR_INTERNAL, "%s is a step's buffer that two entries use", b->name);
    if (now > b->last) b->last = now;
    return true;
}

/* Forward and backward are one timeline: the backward tasks' numbers follow forward's. */
static bool find_lives(ctl_lowering *l, int8_t *timeline_of) {
    for (int list = 0; list < RUN_COUNT; list++) {
        int timeline = list == RUN_BACKWARD ? RUN_FORWARD : list;
        size_t base = list == RUN_BACKWARD ? l->run[RUN_FORWARD].n : 0;
        for (size_t k = 0; k < l->run[list].n; k++) {
            const ctl_task *t = &l->run[list].at[k];
            for (uint32_t j = 0; j < t->noperands; j++) {
                const ctl_operand *o = &t->operands[j];
                if (!touch(l, o, (int32_t)(base + k), timeline, timeline_of)) return false;
                bool saved = list == RUN_BACKWARD && o->buffer != UINT32_MAX &&
                             l->buffers.at[o->buffer].region == REGION_STEP &&
                             l->buffers.at[o->buffer].first < (int32_t)base;
                if (saved) l->buffers.at[o->buffer].use = USE_SAVED;
            }
            if (!touch(l, &t->scratch, (int32_t)(base + k), timeline, timeline_of)) return false;
        }
    }
    return true;
}

static void keep(ctl_lowering *l, ctl_node_id id, int32_t last) {
    if (id == CTL_NONE) return;
    ctl_place p = ctl_lower_place(l, id);
    if (p.buffer == UINT32_MAX) return;
    ctl_buffer *b = &l->buffers.at[p.buffer];
    if (b->region == REGION_STEP && b->last < last) b->last = last;
}

static void keep_outputs(ctl_lowering *l) {
    const ctl_graph *g = l->g;
    int32_t step = (int32_t)(l->run[RUN_FORWARD].n + l->run[RUN_BACKWARD].n) - 1;
    int32_t evaluate = (int32_t)l->run[RUN_EVALUATE].n - 1;
    for (size_t k = 0; k < g->outputs.n; k++)
        keep(l, g->outputs.at[k].node, step), keep(l, g->outputs.at[k].evaluate, evaluate);
    for (size_t k = 0; k < g->inputs.n; k++) keep(l, g->inputs.at[k].grad, step);
}

/* ---- where ---- */
static bool place_step(ctl_lowering *l, const int8_t *timeline_of, size_t *most) {
    *most = 0;
    for (int timeline = 0; timeline < RUN_COUNT; timeline++) {
        CTL_VEC(ctl_layout_item) items = {0};
        CTL_VEC(uint32_t) numbers = {0};
        size_t bytes, bound;
        for (uint32_t k = 0; k < l->buffers.n; k++) {
            const ctl_buffer *b = &l->buffers.at[k];
            if (b->region != REGION_STEP || b->first < 0 || timeline_of[k] != timeline) continue;
            CTL_PUSH(l->arena, &items, (ctl_layout_item){b->bytes, b->first, b->last, 0});
            CTL_PUSH(l->arena, &numbers, k);
        }
        if (!ctl_layout(l->arena, items.at, items.n, CTL_LAYOUT_ALIGN, &bytes, &bound))
            return ctl_lower_fail(l, CTL_ERR_INPUT, "a step's values are more than can be addressed");
        for (size_t k = 0; k < items.n; k++) l->buffers.at[numbers.at[k]].offset = items.at[k].offset;
        if (bytes > *most) *most = bytes;
    }
    return true;
}

static bool place_kept(ctl_lowering *l, ctl_region region, size_t *bytes) {
    *bytes = 0;
    for (size_t k = 0; k < l->buffers.n; k++) {
        ctl_buffer *b = &l->buffers.at[k];
        if (b->region != region) continue;
        b->offset = *bytes;
        size_t rounded = (b->bytes + CTL_LAYOUT_ALIGN - 1) / CTL_LAYOUT_ALIGN * CTL_LAYOUT_ALIGN;
        if (!ctl_add_size(*bytes, rounded, bytes) || *bytes > SIZE_MAX / 2)
            return ctl_lower_fail(l, CTL_ERR_INPUT, "weights of more bytes than can be addressed");
    }
    return true;
}

/* Of the first member that has a phase; what belongs to no segment goes with the task before. */
static int32_t phase_of(const ctl_lowering *l, const ctl_unit *unit) {
    int32_t phase = unit->kind == UNIT_ROWS ? -1 : l->g->at[unit->node].phase;
    for (size_t k = 0; phase < 0 && k < unit->members.n; k++) phase = l->g->at[unit->members.at[k]].phase;
    return phase < 0 ? l->now : phase;
}

static bool write_tasks(ctl_lowering *l) {
    for (int list = 0; list < RUN_COUNT; list++) {
        for (uint32_t k = 0; k < l->u->list[list].n; k++) {
            const ctl_unit *unit = &l->u->list[list].at[k];
            l->now = phase_of(l, unit);
            bool done =
                unit->kind == UNIT_ROWS ? ctl_lower_row_unit(l, list, k) : ctl_lower_task_unit(l, list, unit);
            if (!done) return false;
        }
    }
    return l->status == CTL_OK;
}

/* Everything but places. */
static bool write(ctl_lowering *l, int8_t **timeline_of) {
    ctl_arena *arena = l->arena;
    size_t n = l->g->n;
    l->value_of = CTL_NEW_ARRAY(arena, uint32_t, n), l->outer_of = CTL_NEW_ARRAY(arena, uint32_t, n);
    l->stamp_value = CTL_NEW_ARRAY(arena, uint32_t, n), l->stamp_outer = CTL_NEW_ARRAY(arena, uint32_t, n);
    l->kernel_of_key.arena = arena;
    l->u = ctl_group(arena, l->g, l->options->no_fuse, l->target->narrow, &l->why);
    if (!l->u) return l->status = CTL_ERR_UNSUPPORTED, false;
    ctl_lower_leaves(l);
    if (l->status != CTL_OK || !write_tasks(l)) return false;
    ctl_lower_hosts(l);
    *timeline_of = CTL_NEW_ARRAY(arena, int8_t, l->buffers.n);
    if (l->status != CTL_OK || !find_lives(l, *timeline_of)) return false;
    keep_outputs(l);
    ctl_lower_overlay(l, *timeline_of);
    return true;
}

static bool place(ctl_lowering *l, const int8_t *timeline_of) {
    return place_kept(l, REGION_CONSTANT, &l->region_bytes[REGION_CONSTANT]) &&
           place_kept(l, REGION_PERSISTENT, &l->region_bytes[REGION_PERSISTENT]) &&
           place_step(l, timeline_of, &l->region_bytes[REGION_STEP]);
}

static ctl_lowering *begin(ctl_arena *arena, const ctl_graph *graph, const ctl_lower_options *options) {
    ctl_lowering *l = CTL_NEW(arena, ctl_lowering);
    *l = (ctl_lowering){.arena = arena,
                        .g = spelled_out(graph),
                        .options = options,
                        .places = {.arena = arena, .sink = options->sources, .numbers = {.arena = arena}},
                        .threads = options->threads > 0 ? options->threads : 1,
                        .target = options->target ? options->target : ctl_target_cpu()};
    return l;
}

ctl_status ctl_lower_lives(ctl_arena *arena, const ctl_graph *graph, const ctl_lower_options *options, ctl_lives *out,
                           const char **why) {
    ctl_lowering *l = begin(arena, graph, options);
    int8_t *timeline_of;
    *why = "this build has no back end to lower for";
    if (!l->target) return CTL_ERR_UNSUPPORTED;
    if (!write(l, &timeline_of)) {
        *why = l->why;
        return l->status;
    }
    size_t forward = l->run[RUN_FORWARD].n, backward = l->run[RUN_BACKWARD].n;
    ctl_task *task = CTL_NEW_ARRAY(arena, ctl_task, forward + backward);
    int32_t *phase = CTL_NEW_ARRAY(arena, int32_t, forward + backward);
    for (size_t k = 0; k < forward; k++) task[k] = l->run[RUN_FORWARD].at[k], phase[k] = l->phase[RUN_FORWARD].at[k];
    for (size_t k = 0; k < backward; k++)
        task[forward + k] = l->run[RUN_BACKWARD].at[k], phase[forward + k] = l->phase[RUN_BACKWARD].at[k];
    for (size_t k = 0; k < l->buffers.n; k++)
        if (l->buffers.at[k].region != REGION_STEP || timeline_of[k] != RUN_FORWARD)
            l->buffers.at[k].first = l->buffers.at[k].last = -1;
    *out = (ctl_lives){task, phase, forward + backward, l->buffers.at, l->buffers.n};
    *why = NULL;
    return CTL_OK;
}

ctl_status ctl_lower(ctl_arena *scratch, const ctl_graph *graph, const ctl_lower_options *options,
                     const ctl_allocator *allocator, ctl_lowered *out, const char **why) {
    ctl_lowering *l = begin(scratch, graph, options);
    int8_t *timeline_of;
    *out = (ctl_lowered){0};
    *why = NULL;
    if (!l->target) {
        *why = "this build has no back end to lower for";
        return CTL_ERR_UNSUPPORTED;
    }
    if (!write(l, &timeline_of) || !place(l, timeline_of)) {
        *why = l->why;
        return l->status;
    }
    const ctl_rowprog **rows = CTL_NEW_ARRAY(scratch, const ctl_rowprog *, l->rows.n);
    if (l->rows.n) memcpy(rows, l->rows.at, l->rows.n * sizeof *rows);
    char *fault = ctl_arena_alloc(scratch, CTL_CHECK_TEXT);
    allocator = ctl_allocator_or_default(allocator);
    ctl_program *program = NULL;
    /* From here on the program is held: nothing may jump. */
    ctl_status status = ctl_lower_finish(l, allocator, &program);
    if (status == CTL_OK) status = ctl_check(program, allocator, fault);
    if (status != CTL_OK) {
        if (program) program->release(program);
        *why = fault[0] ? fault : NULL;
        return status;
    }
    *out = (ctl_lowered){program, rows};
    return CTL_OK;
}
