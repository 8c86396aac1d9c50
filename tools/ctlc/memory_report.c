/* memory_report: see memory_report.h. */
#include "tools/ctlc/memory_report.h"

#include <stdlib.h>
#include <string.h>

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

/* The most bytes of step buffers of one timeline that are alive at a time; *when: the first such time. `change`
 * has room for each time, and one more: bytes that begin there less those that have ended. */
static size_t most_alive(const ctl_program *p, const uint8_t *timeline, int which, int64_t *change, size_t times,
                         int32_t *when) {
    size_t alive = 0, most = 0;
    memset(change, 0, (times + 1) * sizeof *change);
    for (size_t i = 0; i < p->nbuffers; i++) {
        const ctl_buffer *b = &p->buffers[i];
        if (b->region != REGION_STEP || timeline[i] != which || b->first < 0) continue;
        change[b->first] += (int64_t)b->bytes;
        change[b->last + 1] -= (int64_t)b->bytes;
    }
    for (size_t t = 0; t < times; t++) {
        alive += (size_t)change[t];
        if (alive > most) most = alive, *when = (int32_t)t;
    }
    return most;
}

static void add_alive(const ctl_program *p, const uint8_t *timeline, int which, int32_t when, size_t *by_use) {
    for (size_t i = 0; i < p->nbuffers; i++) {
        const ctl_buffer *b = &p->buffers[i];
        if (b->region == REGION_STEP && timeline[i] == which && b->first <= when && b->last >= when)
            by_use[b->use] += b->bytes;
    }
}

bool memory_report_make(const ctl_program *p, memory_report *out) {
    *out = (memory_report){.arena = p->region_bytes[REGION_STEP]};
    size_t times = 1;
    for (size_t i = 0; i < p->nbuffers; i++)
        if (p->buffers[i].last >= 0 && (size_t)p->buffers[i].last >= times) times = (size_t)p->buffers[i].last + 1;
    uint8_t *timeline = malloc(p->nbuffers + 1);
    int64_t *change = malloc((times + 1) * sizeof *change);
    if (!timeline || !change) {
        free(timeline);
        free(change);
        return false;
    }
    find_timelines(p, timeline);
    for (int r = 0; r < REGION_COUNT; r++) out->total += p->region_bytes[r];
    for (size_t i = 0; i < p->nparams; i++) {
        const int64_t n = p->params[i].rows * p->params[i].cols;
        out->parameters += n;
        if (p->params[i].trained) out->trained += n;
    }
    for (size_t i = 0; i < p->nbuffers; i++)
        if (p->buffers[i].region != REGION_STEP) out->by_use[p->buffers[i].use] += p->buffers[i].bytes;
    int worst = RUN_FORWARD;
    int32_t worst_time = 0;
    for (int run = 0; run < RUN_COUNT; run++) {
        int32_t when = 0;
        size_t alive = most_alive(p, timeline, run, change, times, &when);
        if (alive > out->step_live) out->step_live = alive, worst = run, worst_time = when;
    }
    add_alive(p, timeline, worst, worst_time, out->by_use);
    size_t forward = p->run[RUN_FORWARD].n, at = (size_t)worst_time;
    out->where_run = worst == RUN_FORWARD && at >= forward ? RUN_BACKWARD : worst;
    if (out->where_run == RUN_BACKWARD) at -= forward;
    out->where = at < p->run[out->where_run].n ? p->run[out->where_run].at[at].name : "";
    free(timeline);
    free(change);
    return true;
}
