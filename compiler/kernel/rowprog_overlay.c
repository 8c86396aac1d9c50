/* rowprog_overlay: may a result lie on an operand? A row is run as its schedule says: pass by pass; in a pass
 * numbers, loops, stores of numbers; in a loop 16 columns at a time, all values before anything is stored. So
 * a store may overwrite what earlier loops read, and in its own loop what is read at the same columns. The
 * interpreter runs instructions as they stand, so loads must stand before the store too. */
#include "compiler/kernel/rowprog_schedule.h"

/* When something happens in a row: pass * 2^32 + place in the pass. */
enum { NUMBERS = 0, LOOPS = 1 };
static uint64_t when(uint32_t pass, uint64_t place) {
    return (uint64_t)pass << 32 | place;
}

static bool loads(const ctl_rowprog *p, const ctl_row_step *s, uint32_t operand) {
    return s->kind == STEP_COMPUTE && p->at[s->instr].op == ROW_LOAD && p->at[s->instr].i[0] == operand;
}

static uint64_t time_of_store(const ctl_schedule *s, uint32_t store) {
    for (uint32_t k = 0; k < s->npasses; k++) {
        const ctl_row_pass *pass = &s->passes[k];
        for (size_t i = 0; i < pass->stores.n; i++)
            if (pass->stores.at[i] == store) return when(k, LOOPS + pass->loops.n);
        for (size_t i = 0; i < pass->loops.n; i++)
            for (size_t j = 0; j < pass->loops.at[i].sinks.n; j++)
                if (pass->loops.at[i].sinks.at[j].instr == store) return when(k, LOOPS + i);
    }
    return 0;
}

/* No load of the operand in the loop, or only at the loop's own columns. */
static bool reads_in_step(const ctl_rowprog *p, const ctl_row_loop *loop, uint32_t operand, bool *any) {
    for (size_t g = 0; g < loop->segments.n; g++)
        for (size_t k = 0; k < loop->segments.at[g].steps.n; k++) {
            const ctl_row_step *s = &loop->segments.at[g].steps.at[k];
            if (!loads(p, s, operand)) continue;
            *any = true;
            if (s->offset != 0) return false;
        }
    return true;
}

bool ctl_rowprog_overlays(const ctl_rowprog *p, uint32_t loaded, uint32_t stored, ctl_arena *arena) {
    const ctl_row_operand *a = &p->operands[loaded], *b = &p->operands[stored];
    if (a->at != AT_ROW || b->at != AT_ROW || a->cols != b->cols || a->dtype != b->dtype) return false;
    uint32_t store = UINT32_MAX;
    for (uint32_t v = 0; v < p->n; v++) {
        const ctl_row_instr *q = &p->at[v];
        if (q->op == ROW_STORE && q->i[0] == stored) store = v;
        if (q->op == ROW_LOAD && q->i[0] == loaded && store != UINT32_MAX) return false;
    }
    if (store == UINT32_MAX) return false;
    const ctl_schedule *s = ctl_rowprog_schedule(p, arena);
    uint64_t end = time_of_store(s, store);
    for (uint32_t k = 0; k < s->npasses; k++) {
        const ctl_row_pass *pass = &s->passes[k];
        for (size_t i = 0; i < pass->steps.n; i++)
            if (loads(p, &pass->steps.at[i], loaded) && when(k, NUMBERS) > end) return false;
        for (size_t i = 0; i < pass->loops.n; i++) {
            bool any = false, in_step = reads_in_step(p, &pass->loops.at[i], loaded, &any);
            if (any && (when(k, LOOPS + i) > end || (when(k, LOOPS + i) == end && !in_step))) return false;
        }
    }
    return true;
}
