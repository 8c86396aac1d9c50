/* rows: the kernel of one row program: rows, passes, loops over columns. What is computed where is said by the schedule
 * (compiler/kernel/rowprog_schedule.h); this file gives it to threads.
 *
 * A group of threads has a row, and goes through its columns in tiles: each thread takes `vector` neighbouring ones. Only
 * the group's threads meet, at its warp's barrier: where lanes are added, and before what one of them wrote to a kept
 * row, or may overwrite, is another's. Where column sums are made, or rows added to one row, a block takes a chunk of
 * rows, its groups side by side; what they add goes through shared memory, and one thread a column adds it in the order of
 * the rows. There, and where groups that are narrower than a warp meet, a group behind the last row goes along with nothing to read
 * or to write, so that all threads meet at every barrier; elsewhere a group goes through its rows by itself.
 *
 * The rows are written once and compiled for 16-byte accesses, for operands that are not aligned to them, or for both
 * (ctl_cuda_form). */
#include "compiler/emit/cuda/build.h"

enum { SHARED_LIMIT = 48 * 1024, BLOCK = 128, CHUNK_BLOCK = 256, LEAST_BLOCK = 32, WARP = 32 };

void ctl_cuda_line(ctl_cuda_writer *w, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    ctl_text_add(w->out, "%*s%s\n", 4 * w->indent, "", ctl_vformat(w->out->arena, fmt, args));
    va_end(args);
}

/* ---- how it is run ---- */
static bool is_ordered(const ctl_rowprog *p, uint32_t v) { /* added row after row */
    const ctl_row_instr *q = &p->at[v];
    return q->op == ROW_COLSUM || (q->op == ROW_ADD_TO && p->operands[q->i[0]].at == AT_FIXED);
}

/* What the loops need: the widest; the most sinks of a kind in one of them. */
typedef struct needs {
    int64_t width;
    int reductions, ordered, ordered_numbers;
} needs;

static needs needs_of(const ctl_rowprog *p, const ctl_schedule *s) {
    needs n = {.width = 1};
    for (uint32_t k = 0; k < s->npasses; k++) {
        int numbers = 0;
        for (size_t i = 0; i < s->passes[k].loops.n; i++) {
            const ctl_row_loop *loop = &s->passes[k].loops.at[i];
            int reductions = 0, ordered = 0;
            for (size_t j = 0; j < loop->sinks.n; j++) {
                reductions += loop->sinks.at[j].kind == SINK_REDUCE;
                ordered += loop->sinks.at[j].kind == SINK_WRITE && is_ordered(p, loop->sinks.at[j].instr);
            }
            if (loop->width > n.width) n.width = loop->width;
            if (reductions > n.reductions) n.reductions = reductions;
            if (ordered > n.ordered) n.ordered = ordered;
        }
        for (size_t i = 0; i < s->passes[k].stores.n; i++) numbers += is_ordered(p, s->passes[k].stores.at[i]);
        if (numbers > n.ordered_numbers) n.ordered_numbers = numbers;
    }
    return n;
}

/* Floats of shared memory: a group's tile and a block's rows to add in order. */
static size_t tile_floats(const ctl_cuda_kernel *k, const needs *n) {
    return (size_t)n->reductions * (size_t)(k->group * k->vector);
}
static size_t column_floats(const ctl_cuda_kernel *k, const needs *n) {
    const size_t groups = (size_t)(k->block / k->group);
    const size_t wide = (size_t)n->ordered * groups * (size_t)(k->group * k->vector);
    const size_t numbers = ((size_t)n->ordered_numbers * groups + 3) / 4 * 4;
    return wide > numbers ? wide : numbers;
}
static size_t shared_bytes(const ctl_cuda_kernel *k, const needs *n, size_t kept) {
    const size_t groups = (size_t)(k->block / k->group);
    return (groups * (tile_floats(k, n) + kept) + column_floats(k, n)) * sizeof(float);
}

static void plan(const ctl_rowprog *p, const ctl_schedule *s, const needs *n, ctl_cuda_kernel *k) {
    k->noperands = p->noperands, k->nsites = p->nsites, k->split = p->split;
    k->vector = 4, k->group = 1, k->wide = 0;
    for (uint32_t i = 0; i < p->noperands; i++)
        if (p->operands[i].dtype == CTL_BF16 && p->operands[i].cols > 1) k->vector = 8;
    while (k->group < WARP && k->group * k->vector < n->width) k->group *= 2;
    while (n->reductions && k->group * k->vector < 16) k->group *= 2;
    k->chunks = k->serial = false;
    for (uint32_t v = 0; v < p->n; v++) {
        k->chunks |= p->at[v].op == ROW_COLSUM;
        k->serial |= p->at[v].op == ROW_ADD_TO && p->operands[p->at[v].i[0]].at == AT_FIXED;
    }
    const int most = k->chunks || k->serial ? CHUNK_BLOCK : BLOCK;
    k->block = most, k->scratch_floats = 0;
    while (k->block > LEAST_BLOCK && shared_bytes(k, n, s->scratch) > SHARED_LIMIT) k->block /= 2;
    if (shared_bytes(k, n, s->scratch) > SHARED_LIMIT) {
        k->scratch_floats = s->scratch; /* few groups at a time, since each has its own */
        for (k->block = k->chunks || k->serial ? most : LEAST_BLOCK; k->block > LEAST_BLOCK && shared_bytes(k, n, 0) > SHARED_LIMIT;) k->block /= 2;
    }
    k->shared_bytes = shared_bytes(k, n, k->scratch_floats ? 0 : s->scratch);
    ctl_cuda_writer w = {.p = p, .kernel = k};
    for (uint32_t i = 0; i < p->noperands; i++)
        if (p->operands[i].cols > 1 && p->operands[i].at != AT_CHUNK && ctl_cuda_wide(&w, &p->operands[i], 0)[0] == 'w')
            k->wide |= (uint64_t)1 << i;
    if (!k->wide) k->forms = CTL_CUDA_FORM_ANY;
    else if (!k->forms) k->forms = CTL_CUDA_FORM_WIDE | CTL_CUDA_FORM_ANY;
}

void ctl_cuda_plan(const ctl_rowprog *p, ctl_arena *arena, ctl_cuda_kernel *kernel) {
    const ctl_schedule *s = ctl_rowprog_schedule(p, arena);
    const needs n = needs_of(p, s);
    plan(p, s, &n, kernel);
}

/* ---- sinks ---- */
static void sync_group(ctl_cuda_writer *w) {
    if (w->kernel->group > 1) ctl_cuda_line(w, "SYNC_WARP();"), w->meets = true;
    w->owed = 0;
}

/* The array that holds a sink's values. */
static const char *values_of(ctl_cuda_writer *w, const ctl_row_segment *g, uint32_t step) {
    return ctl_format(w->out->arena, ctl_cuda_is_read(w, &g->steps.at[step]) ? "x%u" : "y%u", step);
}

static void write_values(ctl_cuda_writer *w, const ctl_row_loop *loop, const ctl_row_segment *g) {
    const int n = w->kernel->vector;
    bool *made = CTL_NEW_ARRAY(w->out->arena, bool, g->steps.n + 1);
    ctl_cuda_write_reads(w, &g->steps);
    for (size_t j = 0; j < loop->sinks.n; j++) {
        const uint32_t step = g->step_of[j];
        if (!made[step] && !ctl_cuda_is_read(w, &g->steps.at[step])) ctl_cuda_line(w, "float y%u[%d];", step, n);
        made[step] = true;
    }
    ctl_cuda_line(w, "UNROLL for (int i = 0; i < %d; i++) {", n);
    w->indent++;
    ctl_cuda_write_body(w, &g->steps);
    for (uint32_t step = 0; step < g->steps.n; step++)
        if (made[step] && !ctl_cuda_is_read(w, &g->steps.at[step]))
            ctl_cuda_line(w, "y%u[i] = %s;", step, ctl_cuda_value(w, &g->steps, step));
    w->indent--;
    ctl_cuda_line(w, "}");
}

/* `if` a group that has a row, and one more condition where there is one; empty: always. */
static const char *if_writes(ctl_cuda_writer *w, const char *also) {
    if (w->alone && !*also) return "";
    return ctl_format(w->out->arena, "if (%s%s%s) ", w->alone ? "" : "active",
                      w->alone || !*also ? "" : " && ", also);
}

static void write_rows(ctl_cuda_writer *w, const ctl_row_instr *q, const char *values) {
    const int n = w->kernel->vector;
    const long long operand = q->i[0];
    const ctl_row_operand *o = &w->p->operands[operand];
    const char *wide = ctl_cuda_wide(w, o, 0), *last = o->at == AT_FIXED ? "is_last" : "";
    if (q->op == ROW_ADD_TO) {
        ctl_cuda_line(w, "float old%lld[%d]; load_f32(old%lld, a%lld + c, %d, from, to, %s);", operand, n, operand, operand,
                      n, wide);
        ctl_cuda_line(w, "UNROLL for (int i = 0; i < %d; i++) old%lld[i] = old%lld[i] + %s[i];", n, operand, operand, values);
        values = ctl_format(w->out->arena, "old%lld", operand);
    }
    ctl_cuda_line(w, "%sstore_%s(a%lld + c, %s, %d, from, to, %s);", if_writes(w, last),
                  ctl_cuda_suffix(o->dtype), operand, values, n, wide);
}

static void write_sinks(ctl_cuda_writer *w, const ctl_row_loop *loop, const ctl_row_segment *g) {
    const int n = w->kernel->vector, tile = w->kernel->group * n, groups = w->kernel->block / w->kernel->group;
    int reductions = 0, ordered = 0;
    for (size_t j = 0; j < loop->sinks.n; j++) {
        const ctl_row_sink *sink = &loop->sinks.at[j];
        const ctl_row_instr *q = &w->p->at[sink->instr];
        const char *values = values_of(w, g, g->step_of[j]);
        if (sink->kind == SINK_REDUCE)
            ctl_cuda_line(w, "put_tile(tile + %d, %s, %d, lane, from, to, %s);", tile * reductions++, values, n,
                          q->op == OP_SUM ? "0.0f" : "REAL_OF(0xff800000u)");
        else if (sink->kind == SINK_KEEP)
            ctl_cuda_line(w, "store_f32(kept + %lld + c, %s, %d, from, to, %d);",
                          (long long)w->schedule->kept[sink->instr], values, n, 1 + w->whole);
        else if (is_ordered(w->p, sink->instr))
            ctl_cuda_line(w, "put_tile(columns + %d + group * %d, %s, %d, lane, from, to, 0.0f);",
                          tile * groups * ordered++, tile, values, n);
        else
            write_rows(w, q, values);
    }
    if (reductions) {
        sync_group(w);
        for (size_t j = 0, slot = 0; j < loop->sinks.n; j++) {
            const uint32_t v = loop->sinks.at[j].instr;
            if (loop->sinks.at[j].kind != SINK_REDUCE) continue;
            ctl_cuda_line(w, "%s(s%u, tile + %d, %d, lane, %d);", w->p->at[v].op == OP_SUM ? "add_lanes" : "most_of_lanes", v,
                          tile * (int)slot++, tile, w->kernel->group);
        }
        /* A thread that goes on to put_lanes overwrites what it alone has read. */
        const bool ends = g->end == loop->width && g->end - g->begin / 16 * 16 <= tile;
        if (!ends) sync_group(w);
    }
    if (!ordered) return;
    ctl_cuda_line(w, "SYNC_BLOCK();");
    for (size_t j = 0, slot = 0; j < loop->sinks.n; j++) {
        const ctl_row_instr *q = &w->p->at[loop->sinks.at[j].instr];
        if (loop->sinks.at[j].kind != SINK_WRITE || !is_ordered(w->p, loop->sinks.at[j].instr)) continue;
        ctl_cuda_line(w, "add_rows(a%lld + at, columns + %d, %d, %d, count, %lld - at, %lld - at, %s);", (long long)q->i[0],
                      tile * groups * (int)slot++, tile, tile, (long long)g->begin, (long long)g->end,
                      q->op == ROW_COLSUM ? "fresh" : "0");
    }
    ctl_cuda_line(w, "SYNC_BLOCK();");
}

/* ---- where a group must meet ---- */
/* What threads of the group may still be doing that others must not disturb: reading lanes in the tile; reading kept rows;
 * having written kept rows that others have not seen; reading columns of a row, of others than theirs or of theirs, that a
 * result may lie on (ctl_rowprog_overlays). Whoever would disturb it writes a barrier first. */
enum { OWED_TILE = 1, OWED_KEPT_READ = 2, OWED_KEPT_WRITTEN = 4, OWED_ROWS = 8, OWED_OWN_ROWS = 16 };

static bool may_be_overwritten(const ctl_rowprog *p, int64_t operand) {
    const ctl_row_operand *o = &p->operands[operand];
    for (uint32_t v = 0; v < p->n && o->at == AT_ROW; v++) {
        if (p->at[v].op != ROW_STORE) continue;
        const ctl_row_operand *stored = &p->operands[p->at[v].i[0]];
        if (stored->at == AT_ROW && stored->cols == o->cols && stored->dtype == o->dtype) return true;
    }
    return false;
}

/* Whether a column belongs to the thread that it belongs to in every loop of which this is true. */
static bool is_plain(const ctl_cuda_writer *w, const ctl_row_segment *g) {
    return g->begin / 16 * 16 % (w->kernel->group * w->kernel->vector) == 0;
}

static int loop_needs(const ctl_cuda_writer *w, const ctl_row_loop *loop) {
    int needs_now = 0;
    for (size_t j = 0; j < loop->sinks.n; j++) {
        const ctl_row_sink *sink = &loop->sinks.at[j];
        if (sink->kind == SINK_REDUCE) needs_now |= OWED_TILE;
        else if (sink->kind == SINK_KEEP) needs_now |= OWED_KEPT_READ;
        else if (w->p->at[sink->instr].op == ROW_STORE) needs_now |= OWED_ROWS;
    }
    for (size_t k = 0; k < loop->segments.n; k++) {
        const ctl_row_segment *g = &loop->segments.at[k];
        if (needs_now & OWED_ROWS && !is_plain(w, g)) needs_now |= OWED_OWN_ROWS;
        for (size_t i = 0; i < g->steps.n; i++)
            if (g->steps.at[i].kind == STEP_KEPT) needs_now |= OWED_KEPT_WRITTEN;
    }
    return needs_now;
}

/* After a loop; synced: a barrier stood behind its columns. */
static void note_loop(ctl_cuda_writer *w, const ctl_row_loop *loop, bool synced) {
    if (synced) return;
    for (size_t j = 0; j < loop->sinks.n; j++)
        if (loop->sinks.at[j].kind == SINK_KEEP) w->owed |= OWED_KEPT_WRITTEN;
    for (size_t k = 0; k < loop->segments.n; k++)
        for (size_t i = 0; i < loop->segments.at[k].steps.n; i++) {
            const ctl_row_step *s = &loop->segments.at[k].steps.at[i];
            if (s->kind == STEP_KEPT) w->owed |= OWED_KEPT_READ;
            else if (ctl_cuda_is_read(w, s) && may_be_overwritten(w->p, w->p->at[s->instr].i[0]))
                w->owed |= s->offset == 0 && is_plain(w, &loop->segments.at[k]) ? OWED_OWN_ROWS : OWED_ROWS;
        }
}
static void note_numbers(ctl_cuda_writer *w, const ctl_row_pass *pass) {
    for (size_t k = 0; k < pass->steps.n; k++) {
        const ctl_row_step *s = &pass->steps.at[k];
        if (ctl_cuda_is_read(w, s) && may_be_overwritten(w->p, w->p->at[s->instr].i[0])) w->owed |= OWED_ROWS;
    }
}

/* ---- loops and passes ---- */
static void write_segment(ctl_cuda_writer *w, const ctl_row_loop *loop, const ctl_row_segment *g) {
    const int n = w->kernel->vector, tile = w->kernel->group * n;
    const long long begin = g->begin, end = g->end;
    w->whole = begin % 16 == 0 && end % n == 0;
    ctl_cuda_line(w, "for (int at = %lld; at < %lld; at += %d) { /* columns %lld .. %lld */", begin / 16 * 16, end, tile,
                  begin, end - 1);
    w->indent++;
    /* What CUDA's compiler knows of from and to decides whether it makes code for parts of a chunk. */
    const char *active = w->alone ? "" : "active && ";
    if (w->whole && (end - begin) % tile == 0)
        ctl_cuda_line(w, "const int c = at + lane * %d, from = 0, to = %s%d%s;", n,
                      w->alone ? "" : "active ? ", n, w->alone ? "" : " : 0");
    else if (w->whole)
        ctl_cuda_line(w, "const int c = at + lane * %d, from = 0, to = %sc < %lld ? %d : 0;", n, active, end,
                      n);
    else
        ctl_cuda_line(w, "const int c = at + lane * %d, from = %lld - c, to = %s%lld - c%s;", n, begin,
                      w->alone ? "" : "active ? ", end, w->alone ? "" : " : 0");
    write_values(w, loop, g);
    write_sinks(w, loop, g);
    w->whole = false;
    w->indent--;
    ctl_cuda_line(w, "}");
}

static void write_loop(ctl_cuda_writer *w, const ctl_row_loop *loop) {
    const int lanes = w->kernel->group >= 16 ? 1 : 16 / w->kernel->group, tile = w->kernel->group * w->kernel->vector;
    int reductions = 0;
    for (size_t j = 0; j < loop->sinks.n; j++) {
        const uint32_t v = loop->sinks.at[j].instr;
        if (loop->sinks.at[j].kind != SINK_REDUCE) continue;
        const char *none = w->p->at[v].op == OP_SUM ? "0.0f" : "REAL_OF(0xff800000u)";
        ctl_cuda_line(w, "float s%u[%d];", v, lanes);
        ctl_cuda_line(w, "UNROLL for (int j = 0; j < %d; j++) s%u[j] = %s;", lanes, v, none);
        reductions++;
    }
    if (loop_needs(w, loop) & w->owed) sync_group(w);
    for (size_t k = 0; k < loop->segments.n; k++) write_segment(w, loop, &loop->segments.at[k]);
    for (size_t j = 0, slot = 0; j < loop->sinks.n; j++)
        if (loop->sinks.at[j].kind == SINK_REDUCE)
            ctl_cuda_line(w, "put_lanes(tile + %d, s%u, lane, %d);", tile * (int)slot++, loop->sinks.at[j].instr,
                          w->kernel->group);
    if (reductions) sync_group(w);
    for (size_t j = 0, slot = 0; j < loop->sinks.n; j++) {
        const uint32_t v = loop->sinks.at[j].instr;
        if (loop->sinks.at[j].kind == SINK_REDUCE)
            ctl_cuda_line(w, "n%u = %s(tile + %d);", v, w->p->at[v].op == OP_SUM ? "tree_sum" : "tree_max",
                          tile * (int)slot++);
    }
    if (reductions) w->owed |= OWED_TILE;
    note_loop(w, loop, reductions > 0);
}

static const char *number_of(ctl_cuda_writer *w, uint32_t v) {
    const ctl_row_steps steps = {.at = &(ctl_row_step){.kind = STEP_NUMBER, .instr = v}, .n = 1};
    return ctl_cuda_value(w, &steps, 0);
}

static void write_number_stores(ctl_cuda_writer *w, const ctl_row_pass *pass) {
    const int groups = w->kernel->block / w->kernel->group;
    int ordered = 0;
    if (w->owed & OWED_ROWS) sync_group(w);
    for (size_t k = 0; k < pass->stores.n; k++) {
        const ctl_row_instr *q = &w->p->at[pass->stores.at[k]];
        const ctl_row_operand *o = &w->p->operands[q->i[0]];
        const char *x = number_of(w, q->in[0]);
        const long long a = q->i[0];
        if (is_ordered(w->p, pass->stores.at[k]))
            ctl_cuda_line(w, "if (lane == 0) columns[%d + group] = %s;", groups * ordered++, x);
        else if (q->op == ROW_ADD_TO)
            ctl_cuda_line(w, "%sa%lld[0] = a%lld[0] + %s;", if_writes(w, "lane == 0"), a, a, x);
        else
            ctl_cuda_line(w, "%sa%lld[0] = %s(%s);",
                          if_writes(w, o->at == AT_FIXED ? "lane == 0 && is_last" : "lane == 0"), a,
                          o->dtype == CTL_BF16 ? "(bf16)to_bf16" : o->dtype == CTL_I32 ? "to_int" : "", x);
    }
    if (!ordered) return;
    ctl_cuda_line(w, "SYNC_BLOCK();");
    for (size_t k = 0, slot = 0; k < pass->stores.n; k++) {
        const ctl_row_instr *q = &w->p->at[pass->stores.at[k]];
        if (is_ordered(w->p, pass->stores.at[k]))
            ctl_cuda_line(w, "add_rows(a%lld, columns + %d, 1, 1, count, 0, 1, %s);", (long long)q->i[0],
                          groups * (int)slot++, q->op == ROW_COLSUM ? "fresh" : "0");
    }
    ctl_cuda_line(w, "SYNC_BLOCK();");
}

static void write_pass(ctl_cuda_writer *w, const ctl_row_pass *pass) {
    bool any = false;
    for (size_t k = 0; k < pass->numbers.n; k++)
        if (w->p->at[pass->numbers.at[k].instr].op != OP_CONST) {
            ctl_cuda_line(w, "float n%u;", pass->numbers.at[k].instr);
            any = true;
        }
    if (any) {
        ctl_cuda_line(w, "{");
        w->indent++;
        ctl_cuda_write_numbers(w, &pass->steps);
        for (size_t k = 0; k < pass->numbers.n; k++)
            if (w->p->at[pass->numbers.at[k].instr].op != OP_CONST) {
                const ctl_row_number *n = &pass->numbers.at[k];
                ctl_cuda_line(w, "n%u = %s;", n->instr, ctl_cuda_number(w, &pass->steps, n->step));
            }
        w->indent--;
        ctl_cuda_line(w, "}");
    }
    note_numbers(w, pass);
    for (size_t k = 0; k < pass->loops.n; k++)
        for (size_t j = 0; j < pass->loops.at[k].sinks.n; j++)
            if (pass->loops.at[k].sinks.at[j].kind == SINK_REDUCE)
                ctl_cuda_line(w, "float n%u;", pass->loops.at[k].sinks.at[j].instr);
    for (size_t k = 0; k < pass->loops.n; k++) {
        ctl_cuda_line(w, "{");
        w->indent++;
        write_loop(w, &pass->loops.at[k]);
        w->indent--;
        ctl_cuda_line(w, "}");
    }
    write_number_stores(w, pass);
}

/* ---- the kernel ---- */
static void write_operands(ctl_cuda_writer *w) {
    for (uint32_t k = 0; k < w->p->noperands; k++) {
        const ctl_row_operand *o = &w->p->operands[k];
        bool written = false;
        for (uint32_t v = 0; v < w->p->n; v++) {
            const uint32_t op = w->p->at[v].op;
            written |= (op == ROW_STORE || op == ROW_ADD_TO || op == ROW_COLSUM) && w->p->at[v].i[0] == k;
        }
        const char *type = ctl_cuda_type(o->dtype), *fixed = written ? "" : "const ", *row = "";
        switch (o->at) {
        case AT_ROW:
            row = w->p->split > 1 ? ctl_format(w->out->arena, " + (i64)t * call->arg[%u].stride + (i64)h * %lld", k,
                                               (long long)o->cols)
                                  : ctl_format(w->out->arena, " + (i64)t * call->arg[%u].stride", k);
            break;
        case AT_OUTER:
            row = ctl_format(w->out->arena, " + (i64)t * call->arg[%u].stride", k);
            break;
        case AT_FIXED:
            break;
        case AT_GATHER:
            row = ctl_format(w->out->arena, " + (i64)call->arg[%u].index[t] * call->arg[%u].stride", k, k);
            break;
        case AT_CHUNK:
            row = ctl_format(w->out->arena, " + (i64)chunk * call->arg[%u].stride", k);
            break;
        }
        ctl_cuda_line(w, "%s%s *const a%u = (%s%s *)call->arg[%u].base%s;", fixed, type, k, fixed, type, k, row);
    }
}

static void write_row(ctl_cuda_writer *w) {
    const bool fixed = w->p->split > 1;
    if (fixed) ctl_cuda_line(w, "const int t = r / %d, h = r %% %d;", (int)w->p->split, (int)w->p->split);
    else ctl_cuda_line(w, "const int t = r;");
    write_operands(w);
    for (uint32_t v = 0; v < w->p->n; v++) {
        const ctl_row_instr *q = &w->p->at[v];
        if (q->op != ROW_STORE || w->p->operands[q->i[0]].at != AT_FIXED) continue;
        ctl_cuda_line(w, "const int is_last = r == call->head.rows * %d - 1;", (int)w->p->split);
        break;
    }
    if (w->p->nsites)
        ctl_cuda_line(w, "const unsigned batch_row = (unsigned)((row0 + t) * %d + %s);", (int)w->p->split,
                      fixed ? "h" : "0");
    for (uint32_t k = 0; k < w->schedule->npasses; k++)
        write_pass(w, &w->schedule->passes[k]);
    if (w->owed & (OWED_TILE | OWED_KEPT_READ)) sync_group(w); /* before the next row */
    w->owed = 0;
}

/* Whether no group waits for another: each is a warp, or the threads of a row never meet. */
static bool goes_alone(const ctl_cuda_writer *w) {
    if (w->kernel->chunks || w->kernel->serial) return false;
    ctl_text nowhere = {.arena = w->out->arena};
    ctl_cuda_writer trial = *w;
    trial.out = &nowhere;
    write_row(&trial);
    return w->kernel->group == WARP || !trial.meets;
}

static void write_function(ctl_cuda_writer *w, const needs *n) {
    const ctl_cuda_kernel *k = w->kernel;
    w->alone = goes_alone(w);
    const int groups = k->block / k->group, split = (int)w->p->split;
    const size_t tile = tile_floats(k, n), columns = column_floats(k, n);
    ctl_cuda_line(w, "DEVICE void %s_rows(const %s_call *call, const int wide) {", k->name, k->name);
    w->indent++;
    ctl_cuda_line(w, "const int lane = THREAD %% %d, group = THREAD / %d;", k->group, k->group);
    if (k->shared_bytes) ctl_cuda_line(w, "SHARED(float, shared);");
    if (tile) ctl_cuda_line(w, "float *const tile = shared + group * %zu;", tile);
    if (columns) ctl_cuda_line(w, "float *const columns = shared + %zu;", (size_t)groups * tile);
    if (k->scratch_floats)
        ctl_cuda_line(w, "float *const kept = call->head.scratch + ((i64)BLOCK * %d + group) * %zu;", groups,
                      k->scratch_floats);
    else if (w->schedule->scratch)
        ctl_cuda_line(w, "float *const kept = shared + %zu + group * %zu;", (size_t)groups * tile + columns,
                      w->schedule->scratch);
    if (w->p->nsites) {
        ctl_cuda_line(w, "const step_state *const state = call->head.state;");
        ctl_cuda_line(w, "const drop_key key = {(unsigned)state->seed, (unsigned)(state->seed >> 32), state->step};");
        ctl_cuda_line(w, "const i64 row0 = row_in_batch(&call->head);");
    }
    ctl_cuda_line(w, "const int rows = call->head.rows * %d;", split);
    if (k->chunks || k->serial) {
        ctl_cuda_line(w, "for (int chunk = BLOCK; chunk * %d < rows; chunk += BLOCKS) {", CTL_ROW_CHUNK * split);
        w->indent++;
        ctl_cuda_line(w, "const int begin = chunk * %d, end = rows - begin < %d ? rows : begin + %d;",
                      CTL_ROW_CHUNK * split, CTL_ROW_CHUNK * split, CTL_ROW_CHUNK * split);
        ctl_cuda_line(w, "for (int first = begin; first < end; first += %d) {", groups);
        w->indent++;
        ctl_cuda_line(w, "const int count = end - first < %d ? end - first : %d, active = group < count;", groups, groups);
        ctl_cuda_line(w, "const int r = first + (active ? group : count - 1)%s;",
                      k->chunks ? ", fresh = first == begin" : "");
    } else if (w->alone) {
        ctl_cuda_line(w, "for (int r = BLOCK * %d + group; r < rows; r += BLOCKS * %d) {", groups, groups);
        w->indent++;
    } else {
        ctl_cuda_line(w, "for (int first = BLOCK * %d; first < rows; first += BLOCKS * %d) {", groups, groups);
        w->indent++;
        ctl_cuda_line(w, "const int active = first + group < rows, r = active ? first + group : rows - 1;");
    }
    write_row(w);
    while (w->indent > 0) {
        w->indent--;
        ctl_cuda_line(w, "}");
    }
}

static void write_kernel(ctl_cuda_writer *w, ctl_arena *arena) {
    const ctl_cuda_kernel *k = w->kernel;
    const needs n = needs_of(w->p, w->schedule);
    ctl_text text = {.arena = arena};
    ctl_rowprog_print(w->p, &text);
    ctl_text_add(w->out, "\n/* %.*s */\n", (int)text.n - 1, text.at);
    ctl_cuda_line(w, "typedef struct %s_call {", k->name);
    ctl_cuda_line(w, "    rows_head head;");
    ctl_cuda_line(w, "    rows_arg arg[%u];", k->noperands ? k->noperands : 1);
    if (k->nsites) ctl_cuda_line(w, "    unsigned site[%u];", k->nsites);
    ctl_cuda_line(w, "} %s_call;", k->name);
    write_function(w, &n);
    ctl_cuda_line(w, "KERNEL(%s, %s_call, %d) {", k->name, k->name, k->block);
    if (k->forms == (CTL_CUDA_FORM_WIDE | CTL_CUDA_FORM_ANY)) {
        ctl_cuda_line(w, "    if (call.head.wide) %s_rows(&call, 1);", k->name);
        ctl_cuda_line(w, "    else %s_rows(&call, 0);", k->name);
    } else
        ctl_cuda_line(w, "    %s_rows(&call, %d);", k->name, k->forms == CTL_CUDA_FORM_WIDE);
    ctl_cuda_line(w, "}");
}

const char *ctl_cuda_text(const char *name) {
    for (const ctl_cuda_file *f = ctl_cuda_files; f->name; f++)
        if (strcmp(f->name, name) == 0) return f->text;
    return NULL;
}

void ctl_cuda_source(ctl_arena *arena, const ctl_rowprog *const *programs, size_t n, ctl_cuda_kernel *kernels,
                     ctl_text *out) {
    ctl_text_put(out, ctl_cuda_text("prelude"), strlen(ctl_cuda_text("prelude")));
    ctl_text_add(out, "\n");
    ctl_text_put(out, ctl_cuda_text("rows_prelude"), strlen(ctl_cuda_text("rows_prelude")));
    ctl_cuda_math(programs, n, out);
    for (size_t k = 0; k < n; k++) {
        ctl_cuda_writer w = {.out = out, .p = programs[k], .schedule = ctl_rowprog_schedule(programs[k], arena),
                             .kernel = &kernels[k]};
        ctl_cuda_plan(programs[k], arena, &kernels[k]);
        write_kernel(&w, arena);
    }
}
