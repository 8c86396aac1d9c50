/* measure: see measure.h.
 *
 * Time is counted in phases: segment k runs forward in phase k and backward in phase 2n - 1 - k. A buffer made in one
 * forward phase and read in a later one lies between segments (`input`); one that only backward reads later is kept
 * (`saved`). While a segment runs, what earlier segments have for their own backward is not its affair. */
#include "compiler/remat/measure.h"

#include "compiler/plan/layout.h"

typedef struct life {
    int64_t bytes;
    int32_t born, read, died; /* phases: made; last read by forward; last touched */
} life;

typedef struct meter {
    const ctl_segments *s;
    const ctl_lives *lives;
    int32_t n;
    int32_t *phase; /* of each task */
    life *life;     /* of each buffer; bytes 0: no micro-step's */
} meter;

static int64_t padded(size_t bytes) { return (int64_t)((bytes + CTL_LAYOUT_ALIGN - 1) / CTL_LAYOUT_ALIGN * CTL_LAYOUT_ALIGN); }

/* Tasks that fusion has moved over a border count where they run: phases never fall. */
static void find_phases(meter *m) {
    int32_t now = 0;
    for (size_t t = 0; t < m->lives->ntasks; t++) {
        if (m->lives->phase[t] > now && m->lives->phase[t] < 2 * m->n) now = m->lives->phase[t];
        m->phase[t] = now;
    }
}

static void find_lives(meter *m) {
    const ctl_lives *l = m->lives;
    for (size_t k = 0; k < l->nbuffers; k++) {
        if (l->buffer[k].first < 0) continue;
        m->life[k] = (life){padded(l->buffer[k].bytes), m->phase[l->buffer[k].first], -1, m->phase[l->buffer[k].last]};
    }
    for (size_t t = 0; t < l->ntasks; t++)
        for (uint32_t j = 0; j < l->task[t].noperands && m->phase[t] < m->n; j++) {
            const ctl_operand *o = &l->task[t].operands[j];
            if (o->buffer < l->nbuffers && !(l->task[t].writes >> j & 1)) m->life[o->buffer].read = m->phase[t];
        }
}

static bool crosses(const life *b, int32_t segment) { return b->born < segment && b->read >= segment; }

/* Kept by a segment before this one for itself. */
static bool is_behind(const meter *m, const life *b, int32_t segment, int32_t phase) {
    return b->born < segment && b->died > (phase < m->n ? m->n - 1 : phase) && !crosses(b, segment);
}

static void find_peaks(meter *m, ctl_arena *arena, ctl_segment_bytes *out) {
    const ctl_lives *l = m->lives;
    /* By time: bytes that begin and end, of all buffers that are not behind the segment that runs. A buffer is behind from
     * some phase on, or never, so its life is cut into pieces by phases. */
    size_t *first_task = CTL_NEW_ARRAY(arena, size_t, (size_t)(2 * m->n) + 1);
    for (int32_t p = 0, t = 0; p <= 2 * m->n; p++) {
        while ((size_t)t < l->ntasks && m->phase[t] < p) t++;
        first_task[p] = (size_t)t;
    }
    int64_t *change = CTL_NEW_ARRAY(arena, int64_t, l->ntasks + 2);
    for (size_t k = 0; k < l->nbuffers; k++) {
        const life *b = &m->life[k];
        if (!b->bytes) continue;
        for (int32_t p = b->born; p <= b->died; p++) {
            int32_t segment = p < m->n ? p : 2 * m->n - 1 - p;
            if (is_behind(m, b, segment, p)) {
                /* Nothing changes until the backward pass of the last segment that reads it. */
                int32_t next = b->read > b->born ? 2 * m->n - 1 - b->read : b->died;
                if (p >= m->n) p = (next < b->died ? next : b->died) - 1;
                continue;
            }
            size_t begin = first_task[p], end = first_task[p + 1];
            if (begin < (size_t)l->buffer[k].first) begin = (size_t)l->buffer[k].first;
            if (end > (size_t)l->buffer[k].last + 1) end = (size_t)l->buffer[k].last + 1;
            if (begin < end) change[begin] += b->bytes, change[end] -= b->bytes;
        }
    }
    int64_t alive = 0;
    for (size_t t = 0; t < l->ntasks; t++) {
        alive += change[t];
        int32_t p = m->phase[t], segment = p < m->n ? p : 2 * m->n - 1 - p;
        int64_t *peak = p < m->n ? &out[segment].forward_peak : &out[segment].backward_peak;
        if (alive > *peak) *peak = alive;
    }
}

void ctl_measure_segments(ctl_arena *arena, const ctl_segments *s, const ctl_lives *lives, ctl_segment_bytes *out) {
    meter m = {.s = s, .lives = lives, .n = (int32_t)s->n};
    m.phase = CTL_NEW_ARRAY(arena, int32_t, lives->ntasks + 1), m.life = CTL_NEW_ARRAY(arena, life, lives->nbuffers + 1);
    memset(out, 0, s->n * sizeof *out);
    find_phases(&m);
    find_lives(&m);
    for (size_t k = 0; k < lives->nbuffers; k++) {
        const life *b = &m.life[k];
        if (!b->bytes) continue;
        bool kept = b->born < m.n && b->died >= m.n;
        for (int32_t segment = b->born + 1; kept && segment <= b->read && segment < m.n; segment++) {
            out[segment].input += b->bytes;
            if (segment == b->read) out[segment].own += b->bytes;
        }
        if (kept && b->read <= b->born) out[b->born].saved += b->bytes;
        for (int32_t p = b->born + 1; b->born >= m.n && p <= b->died; p++) out[2 * m.n - 1 - p].gradient += b->bytes;
    }
    find_peaks(&m, arena, out);
    /* What no backward pass reads must be kept all the same where forward is to be run again from it. */
    for (size_t k = 0; k < s->n; k++)
        if (out[k].input < s->before[k].bytes) out[k].own += s->before[k].bytes - out[k].input, out[k].input = s->before[k].bytes;
}

int64_t ctl_most_alive(ctl_arena *arena, const ctl_lives *lives) {
    int64_t *change = CTL_NEW_ARRAY(arena, int64_t, lives->ntasks + 2), alive = 0, most = 0;
    for (size_t k = 0; k < lives->nbuffers; k++) {
        const ctl_buffer *b = &lives->buffer[k];
        if (b->first < 0) continue;
        change[b->first] += padded(b->bytes), change[b->last + 1] -= padded(b->bytes);
    }
    for (size_t t = 0; t < lives->ntasks; t++) {
        alive += change[t];
        if (alive > most) most = alive;
    }
    return most;
}

int64_t ctl_bytes_outside_step(const ctl_lives *lives) {
    int64_t bytes = 0;
    for (size_t k = 0; k < lives->nbuffers; k++)
        if (lives->buffer[k].region != REGION_STEP) bytes += (int64_t)((lives->buffer[k].bytes + 63) / 64 * 64);
    return bytes;
}
