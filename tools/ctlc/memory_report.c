/* memory_report: see memory_report.h. */
#include "tools/ctlc/memory_report.h"

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

/* Bytes of step buffers alive at one task; by kind where `by_use` is given. */
static size_t live_at(const ctl_program *p, int32_t task, size_t *by_use) {
    size_t sum = 0;
    for (size_t i = 0; i < p->nbuffers; i++) {
        const ctl_buffer *b = &p->buffers[i];
        if (b->region != REGION_STEP || b->first > task || b->last < task) continue;
        sum += b->bytes;
        if (by_use) by_use[b->use] += b->bytes;
    }
    return sum;
}

void memory_report_make(const ctl_program *p, memory_report *out) {
    *out = (memory_report){.arena = p->region_bytes[REGION_STEP]};
    for (int r = 0; r < REGION_COUNT; r++) out->total += p->region_bytes[r];
    for (size_t i = 0; i < p->nparams; i++) {
        const int64_t n = p->params[i].rows * p->params[i].cols;
        out->parameters += n;
        if (p->params[i].trained) out->trained += n;
    }
    int32_t worst = 0;
    for (size_t i = 0; i < p->nbuffers; i++) {
        const ctl_buffer *b = &p->buffers[i];
        if (b->region != REGION_STEP) {
            out->by_use[b->use] += b->bytes;
            continue;
        }
        /* The most is alive at some buffer's first task. */
        size_t live = live_at(p, b->first, NULL);
        if (live > out->step_live) out->step_live = live, worst = b->first;
    }
    live_at(p, worst, out->by_use);
}
