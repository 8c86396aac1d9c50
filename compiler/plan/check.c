/* check: see check.h. A timeline is what runs in one go on one state of the step region: load; update;
 * forward then backward; evaluate. What the host writes (parameters, inputs, flat arrays) counts as written
 * from the beginning. */
#include "compiler/plan/check.h"

#include <stdio.h>
#include <stdlib.h>

/* Bytes of a matrix in its buffer: rows of `width` bytes, `stride` apart. A matrix without gaps is one row.
 */
typedef struct rect {
    uint64_t at, width, stride, rows;
} rect;

typedef CTL_VEC(rect) rects;

typedef struct checker {
    const ctl_program *p;
    ctl_arena arena;
    rects *written;        /* of each buffer */
    int32_t *first, *last; /* of each buffer in the timeline being checked; first -1: untouched */
    char *fault;
} checker;

static bool fault(checker *c, const char *fmt, ...) CTL_PRINTF(2, 3);
static bool fault(checker *c, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(c->fault, CTL_CHECK_TEXT, fmt, args);
    va_end(args);
    return false;
}

static rect rect_of(const ctl_operand *o) {
    uint64_t size = ctl_dtype_size(o->dtype), width = (uint64_t)o->cols * size,
             stride = (uint64_t)o->stride * size;
    if (o->rows == 1 || stride == width) return (rect){o->offset, width * (uint64_t)o->rows, 0, 1};
    return (rect){o->offset, width, stride, (uint64_t)o->rows};
}

static uint64_t end_of(const rect *r) {
    return r->at + (r->rows - 1) * r->stride + r->width;
}

/* ---- operands and buffers in their bounds ---- */
static bool check_operand(checker *c, const char *task, const ctl_operand *o) {
    const ctl_program *p = c->p;
    if (o->buffer == UINT32_MAX) return true;
    if (o->buffer >= p->nbuffers) return fault(c, "%s: an operand in no buffer", task);
    const ctl_buffer *b = &p->buffers[o->buffer];
    size_t size = ctl_dtype_size(o->dtype);
    if (o->rows < 1 || o->cols < 1 || (o->rows > 1 && o->stride < o->cols) || size == 0)
        return fault(c, "%s: an operand in %s without a shape", task, b->name);
    if (o->offset % size) return fault(c, "%s: an operand in %s that is not aligned", task, b->name);
    uint64_t elements = b->bytes / size, most = elements ? elements - 1 : 0;
    bool inside = b->bytes > 0 && o->offset < b->bytes && (uint64_t)o->cols <= elements &&
                  (o->rows == 1 || (uint64_t)o->stride <= most / (uint64_t)(o->rows - 1));
    rect r = rect_of(o);
    if (!inside || end_of(&r) > b->bytes)
        return fault(c, "%s: an operand that ends after its buffer %s", task, b->name);
    return true;
}

static bool check_buffers(checker *c) {
    const ctl_program *p = c->p;
    for (size_t k = 0; k < p->nbuffers; k++) {
        const ctl_buffer *b = &p->buffers[k];
        if (b->region >= REGION_COUNT || b->use >= USE_COUNT)
            return fault(c, "%s: a buffer of no known kind", b->name);
        if (b->offset % 64) return fault(c, "%s: a buffer at %zu, which is not aligned", b->name, b->offset);
        if (b->offset > p->region_bytes[b->region] || b->bytes > p->region_bytes[b->region] - b->offset)
            return fault(c, "%s: a buffer that ends after its region", b->name);
    }
    return true;
}

/* ---- overlaps ---- */
static bool rects_meet(const rect *a, const rect *b) {
    if (end_of(a) <= b->at || end_of(b) <= a->at) return false;
    uint64_t stride = a->rows > 1 ? a->stride : b->stride;
    if (stride == 0 || (a->rows > 1 && b->rows > 1 && a->stride != b->stride)) return true;
    uint64_t ca = a->at % stride, cb = b->at % stride;
    if (a->width > stride || b->width > stride || ca + a->width > stride || cb + b->width > stride)
        return true;
    return ca < cb + b->width && cb < ca + a->width;
}

static bool same_rect(const rect *a, const rect *b) {
    return a->at == b->at && a->width == b->width && a->rows == b->rows &&
           (a->rows == 1 || a->stride == b->stride);
}

static bool check_own_operands(checker *c, const ctl_task *t) {
    for (uint32_t k = 0; k <= t->noperands; k++) {
        const ctl_operand *a = k < t->noperands ? &t->operands[k] : &t->scratch;
        bool writes = k == t->noperands || (t->writes >> k & 1);
        if (a->buffer == UINT32_MAX || !writes) continue;
        rect ra = rect_of(a);
        for (uint32_t j = 0; j < t->noperands; j++) {
            const ctl_operand *b = &t->operands[j];
            if (j == k || b->buffer != a->buffer) continue;
            rect rb = rect_of(b);
            if (!rects_meet(&ra, &rb)) continue;
            bool in_place = t->kind == TASK_ROWS || (t->kind == TASK_MATMUL && j == 4);
            if (in_place && same_rect(&ra, &rb) && a->dtype == b->dtype && !(t->writes >> j & 1)) continue;
            return fault(c, "%s writes operand %u over its operand %u", t->name, k, j);
        }
    }
    return true;
}

typedef struct live {
    size_t begin, end;
    int32_t first, last;
    const char *name;
} live;

static int compare_first(const void *left, const void *right) {
    const live *a = left, *b = right;
    return a->first != b->first  ? (a->first < b->first ? -1 : 1)
           : a->begin < b->begin ? -1
                                 : a->begin > b->begin;
}

/* Buffers in order of birth; the living, in order of their place, must not meet the newborn. */
static bool check_step_buffers(checker *c) {
    const ctl_program *p = c->p;
    live *all = CTL_NEW_ARRAY(&c->arena, live, p->nbuffers),
         *now = CTL_NEW_ARRAY(&c->arena, live, p->nbuffers);
    size_t n = 0, living = 0;
    for (size_t k = 0; k < p->nbuffers; k++) {
        const ctl_buffer *b = &p->buffers[k];
        if (b->region != REGION_STEP || c->first[k] < 0) continue;
        if (b->first > c->first[k] || b->last < c->last[k])
            return fault(c, "%s: used by tasks %d .. %d, but laid out for %d .. %d", b->name, c->first[k],
                         c->last[k], b->first, b->last);
        all[n++] = (live){b->offset, b->offset + b->bytes, b->first, b->last, b->name};
    }
    qsort(all, n, sizeof *all, compare_first);
    for (size_t k = 0; k < n; k++) {
        size_t kept = 0;
        for (size_t j = 0; j < living; j++) {
            if (now[j].last < all[k].first) continue;
            if (now[j].begin < all[k].end && all[k].begin < now[j].end)
                return fault(c, "%s (tasks %d .. %d) and %s (tasks %d .. %d) lie in the same place",
                             now[j].name, now[j].first, now[j].last, all[k].name, all[k].first, all[k].last);
            now[kept++] = now[j];
        }
        now[kept] = all[k];
        living = kept + 1;
    }
    return true;
}

/* ---- what is read was written ---- */
static bool covers(const rect *w, const rect *r) {
    if (w->rows == 1) return r->at >= w->at && end_of(r) <= w->at + w->width;
    if (r->at < w->at || (r->rows > 1 && r->stride % w->stride)) return false; /* every so many rows, or each */
    uint64_t row = (r->at - w->at) / w->stride, column = (r->at - w->at) % w->stride;
    uint64_t last = row + (r->rows - 1) * (r->rows > 1 ? r->stride / w->stride : 0);
    return last < w->rows && column + r->width <= w->width;
}

/* The first byte from `from` on, up to `to`, that no matrix of `all` holds. */
static uint64_t first_gap(const rects *all, uint64_t from, uint64_t to) {
    for (bool found = true; found && from < to;) {
        found = false;
        for (size_t k = 0; k < all->n && !found; k++) {
            const rect *w = &all->at[k];
            if (from < w->at) continue;
            uint64_t row = w->rows == 1 ? 0 : (from - w->at) / w->stride;
            uint64_t begin = w->at + row * w->stride;
            if (row >= w->rows || from >= begin + w->width) continue;
            from = begin + w->width;
            found = true;
        }
    }
    return from;
}

static bool was_written(const rects *all, const rect *r) {
    for (size_t k = 0; k < all->n; k++)
        if (covers(&all->at[k], r)) return true;
    if (all->n < 2) return false;
    for (uint64_t row = 0; row < r->rows; row++) {
        uint64_t from = r->at + row * r->stride;
        if (first_gap(all, from, from + r->width) < from + r->width) return false;
    }
    return true;
}

static void note_written(checker *c, const ctl_operand *o) {
    if (o->buffer == UINT32_MAX) return;
    rect r = rect_of(o);
    rects *all = &c->written[o->buffer];
    for (size_t k = 0; k < all->n; k++)
        if (covers(&all->at[k], &r)) return;
    CTL_PUSH(&c->arena, all, r);
}

static void note_live(checker *c, const ctl_operand *o, int32_t now) {
    if (o->buffer == UINT32_MAX || c->p->buffers[o->buffer].region != REGION_STEP) return;
    if (c->first[o->buffer] < 0) c->first[o->buffer] = now;
    if (c->last[o->buffer] < now) c->last[o->buffer] = now;
}

/* The operand that a task adds to, if it does: that reads it too. */
static uint32_t sum_operand(const ctl_task *t) {
    if (!t->accumulate) return UINT32_MAX;
    return t->kind == TASK_HEAD ? 6 : t->kind == TASK_FOLD ? 1 : 2;
}

static bool check_task(checker *c, const ctl_task *t, int32_t now, ctl_program_entry entry) {
    if (t->noperands > CTL_MOST_OPERANDS) return fault(c, "%s: too many operands", t->name);
    for (uint32_t k = 0; k <= t->noperands; k++) {
        const ctl_operand *o = k < t->noperands ? &t->operands[k] : &t->scratch;
        if (!check_operand(c, t->name, o)) return false;
        note_live(c, o, now);
    }
    if (!check_own_operands(c, t)) return false;
    for (uint32_t k = 0; k < t->noperands; k++) {
        const ctl_operand *o = &t->operands[k];
        if (o->buffer == UINT32_MAX || ((t->writes >> k & 1) && k != sum_operand(t))) continue;
        rect r = rect_of(o);
        if (!was_written(&c->written[o->buffer], &r))
            return fault(c, "%s reads operand %u from %s before it is written", t->name, k,
                         c->p->buffers[o->buffer].name);
        if (t->kind == TASK_ROWS && t->index_of && t->index_of[k] != UINT32_MAX &&
            (t->index_of[k] >= t->noperands || t->operands[t->index_of[k]].dtype != CTL_I32))
            return fault(c, "%s: operand %u is gathered by something that is no index", t->name, k);
    }
    for (uint32_t k = 0; k < t->noperands; k++) {
        const ctl_operand *o = &t->operands[k];
        if (o->buffer == UINT32_MAX || !(t->writes >> k & 1)) continue;
        ctl_region region = c->p->buffers[o->buffer].region;
        if (region == REGION_CONSTANT && entry != RUN_LOAD)
            return fault(c, "%s writes a constant in a step", t->name);
        note_written(c, o);
    }
    return true;
}

static bool check_host_reads(checker *c, const ctl_operand *o, const char *name, int32_t end) {
    if (!check_operand(c, name, o)) return false;
    if (o->buffer == UINT32_MAX) return true;
    note_live(c, o, end);
    rect r = rect_of(o);
    if (was_written(&c->written[o->buffer], &r)) return true;
    return fault(c, "the host reads %s, which nothing writes", name);
}

static bool check_timeline(checker *c, ctl_program_entry from, ctl_program_entry to) {
    const ctl_program *p = c->p;
    int32_t now = 0;
    for (size_t k = 0; k < p->nbuffers; k++) {
        c->first[k] = c->last[k] = -1;
        if (p->buffers[k].region == REGION_STEP) c->written[k].n = 0;
    }
    for (int entry = from; entry <= (int)to; entry++)
        for (size_t k = 0; k < p->run[entry].n; k++)
            if (!check_task(c, &p->run[entry].at[k], now++, (ctl_program_entry)entry)) return false;
    for (size_t k = 0; k < p->noutputs && now > 0; k++) {
        if (from == RUN_FORWARD && !check_host_reads(c, &p->outputs[k].forward, p->outputs[k].name, now - 1))
            return false;
        if (from == RUN_EVALUATE &&
            !check_host_reads(c, &p->outputs[k].evaluate, p->outputs[k].name, now - 1))
            return false;
    }
    for (size_t k = 0; k < p->nparams && from == RUN_LOAD; k++)
        if (!check_host_reads(c, &p->params[k].init_value, p->params[k].name, 0)) return false;
    return check_step_buffers(c);
}

static bool check_kept_buffers(checker *c) {
    const ctl_program *p = c->p;
    for (int region = 0; region < REGION_STEP; region++) {
        live *all = CTL_NEW_ARRAY(&c->arena, live, p->nbuffers);
        size_t n = 0;
        for (size_t k = 0; k < p->nbuffers; k++) {
            const ctl_buffer *b = &p->buffers[k];
            if ((int)b->region == region) all[n++] = (live){b->offset, b->offset + b->bytes, 0, 0, b->name};
        }
        qsort(all, n, sizeof *all, compare_first);
        for (size_t k = 1; k < n; k++)
            if (all[k].begin < all[k - 1].end)
                return fault(c, "%s and %s lie in the same place", all[k - 1].name, all[k].name);
    }
    return true;
}

static bool check_all(checker *c) {
    const ctl_program *p = c->p;
    c->written = CTL_NEW_ARRAY(&c->arena, rects, p->nbuffers);
    c->first = CTL_NEW_ARRAY(&c->arena, int32_t, p->nbuffers);
    c->last = CTL_NEW_ARRAY(&c->arena, int32_t, p->nbuffers);
    if (!check_buffers(c) || !check_kept_buffers(c)) return false;
    const ctl_operand *flat[] = {&p->trained, &p->gradients, &p->moment1, &p->moment2};
    for (size_t k = 0; k < CTL_COUNT(flat); k++) {
        if (!check_operand(c, "a flat array", flat[k])) return false;
        note_written(c, flat[k]);
    }
    for (size_t k = 0; k < p->nparams; k++) {
        if (!check_operand(c, p->params[k].name, &p->params[k].value)) return false;
        note_written(c, &p->params[k].value);
    }
    for (size_t k = 0; k < p->ninputs; k++) {
        if (!check_operand(c, p->inputs[k].name, &p->inputs[k].value)) return false;
        note_written(c, &p->inputs[k].value);
    }
    for (size_t k = 0; k < p->nrows; k++) {
        for (int j = 0; j < CTL_ROW_NUMBERS; j++) {
            if (!check_operand(c, "a space's rows", &p->rows[k].number[j])) return false;
            note_written(c, &p->rows[k].number[j]);
        }
    }
    return check_timeline(c, RUN_LOAD, RUN_LOAD) && check_timeline(c, RUN_UPDATE, RUN_UPDATE) &&
           check_timeline(c, RUN_FORWARD, RUN_BACKWARD) && check_timeline(c, RUN_EVALUATE, RUN_EVALUATE);
}

ctl_status ctl_check(const ctl_program *program, const ctl_allocator *allocator, char *text) {
    checker *c = ctl_alloc(ctl_allocator_or_default(allocator), sizeof *c);
    if (!c) return CTL_ERR_MEMORY;
    jmp_buf failure;
    c->p = program, c->fault = text;
    text[0] = 0;
    ctl_arena_init(&c->arena, allocator, &failure);
    volatile ctl_status status = CTL_ERR_MEMORY;
    if (!setjmp(failure)) status = check_all(c) ? CTL_OK : CTL_ERR_INTERNAL;
    ctl_arena_free(&c->arena);
    ctl_free(ctl_allocator_or_default(allocator), c, sizeof *c);
    return status;
}
