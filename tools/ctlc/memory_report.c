/* memory_report: see memory_report.h. */
#include "tools/ctlc/memory_report.h"

#include <stdlib.h>

#include "base/base.h"

static const struct {
    const char *key, *name;
} uses[USE_COUNT] = {
    [USE_WEIGHTS] = {"weights", "frozen weights"},
    [USE_DERIVED] = {"derived", "computed from weights once a load or update"},
    [USE_TRAINED] = {"trained", "trained parameters"},
    [USE_GRADIENTS] = {"gradients", "their gradients"},
    [USE_OPTIMIZER] = {"optimizer", "their moments"},
    [USE_INPUTS] = {"inputs", "ids, labels, positions"},
    [USE_SAVED] = {"saved", "kept by forward for backward"},
    [USE_TRANSIENT] = {"transient", "other values of a step"},
    [USE_HEAD] = {"head", "chunks of logits"},
    [USE_SCRATCH] = {"scratch", "libraries' and threads' scratch"},
};

const char *memory_use_name(ctl_use use) {
    return uses[use].name;
}
const char *memory_use_key(ctl_use use) {
    return uses[use].key;
}

/* Which entry's tasks touch each step buffer; backward's are numbered on after forward's, so they are one
 * timeline. A program without tasks (the reference executor's) keeps everything in the first. */
static void find_timelines(const ctl_program *p, uint8_t *timeline) {
    for (size_t i = 0; i < p->nbuffers; i++) timeline[i] = RUN_FORWARD;
    for (int run = 0; run < RUN_COUNT; run++)
        for (size_t t = 0; t < p->run[run].n; t++) {
            const ctl_task *task = &p->run[run].at[t];
            const uint8_t own = (uint8_t)(run == RUN_BACKWARD ? RUN_FORWARD : run);
            for (uint32_t k = 0; k < task->noperands; k++)
                if (task->operands[k].buffer < p->nbuffers) timeline[task->operands[k].buffer] = own;
            if (task->scratch.buffer < p->nbuffers) timeline[task->scratch.buffer] = own;
        }
}

/* Bytes of step buffers of b's timeline that are alive when b is born; by kind where `by_use` is given. */
static size_t live_at(const ctl_program *p, const uint8_t *timeline, size_t b, size_t *by_use) {
    size_t sum = 0;
    for (size_t i = 0; i < p->nbuffers; i++) {
        const ctl_buffer *other = &p->buffers[i];
        if (other->region != REGION_STEP || timeline[i] != timeline[b]) continue;
        if (other->first > p->buffers[b].first || other->last < p->buffers[b].first) continue;
        sum += other->bytes;
        if (by_use) by_use[other->use] += other->bytes;
    }
    return sum;
}

bool memory_report_make(const ctl_program *p, memory_report *out) {
    *out = (memory_report){.arena = p->region_bytes[REGION_STEP]};
    uint8_t *timeline = malloc(p->nbuffers + 1);
    if (!timeline) return false;
    find_timelines(p, timeline);
    for (int r = 0; r < REGION_COUNT; r++) out->total += p->region_bytes[r];
    for (size_t i = 0; i < p->nparams; i++) {
        const int64_t n = p->params[i].rows * p->params[i].cols;
        out->parameters += n;
        if (p->params[i].trained) out->trained += n;
    }
    size_t worst = p->nbuffers;
    for (size_t i = 0; i < p->nbuffers; i++) {
        const ctl_buffer *b = &p->buffers[i];
        if (b->region != REGION_STEP) {
            out->by_use[b->use] += b->bytes;
            continue;
        }
        /* The most is alive when some buffer is born. */
        size_t live = live_at(p, timeline, i, NULL);
        if (live > out->step_live) out->step_live = live, worst = i;
    }
    if (worst < p->nbuffers) live_at(p, timeline, worst, out->by_use);
    free(timeline);
    return true;
}
