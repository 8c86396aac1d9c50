/* print: see print.h. */
#include "compiler/plan/print.h"

static const char *const regions[REGION_COUNT] = {"constant", "persistent", "step"};
static const char *const uses[USE_COUNT] = {"weights", "derived", "trained",   "gradients", "optimizer",
                                            "inputs",  "saved",   "transient", "head",      "scratch"};
static const char *const entries[RUN_COUNT] = {"load", "update", "forward", "backward", "evaluate"};

const char *ctl_use_name(ctl_use use) {
    return (unsigned)use < USE_COUNT ? uses[use] : "?";
}

static void print_operand(const ctl_operand *o, bool written, ctl_text *out) {
    ctl_text_add(out, " %sb%u", written ? ">" : "", o->buffer);
    if (o->offset) ctl_text_add(out, "+%llu", (unsigned long long)o->offset);
    ctl_text_add(out, " %lld x %lld", (long long)o->rows, (long long)o->cols);
    if (o->stride != o->cols && o->rows > 1) ctl_text_add(out, " /%lld", (long long)o->stride);
    ctl_text_add(out, " %s", ctl_dtype_name(o->dtype));
}

static void print_kind(const ctl_program *p, const ctl_task *t, ctl_text *out) {
    switch (t->kind) {
    case TASK_ROWS:
        ctl_text_add(out, "%s of %lld rows", p->kernels[t->kernel].name, (long long)t->rows);
        if (t->split > 1) ctl_text_add(out, " split %d", (int)t->split);
        for (uint32_t k = 0; k < t->nsites; k++) ctl_text_add(out, " site %u", t->sites[k]);
        break;
    case TASK_MATMUL:
        ctl_text_add(out, "matmul%s%s", t->transpose_a ? " ta" : "", t->transpose_b ? " tb" : "");
        break;
    case TASK_ATTEND:
        ctl_text_add(out, "attend");
        break;
    case TASK_ATTEND_GRAD:
        ctl_text_add(out, "attend_grad");
        break;
    case TASK_MIX:
    case TASK_MIX_GRAD:
        ctl_text_add(out, "mix%s%s by %lld rows", t->kind == TASK_MIX ? "" : "_grad", t->transpose_a ? " ta" : "",
                     (long long)t->sequence);
        break;
    case TASK_HEAD:
        ctl_text_add(out, "head by %lld rows", (long long)t->chunk);
        break;
    case TASK_SCATTER:
        ctl_text_add(out, "scatter");
        break;
    case TASK_FOLD:
        ctl_text_add(out, "fold");
        break;
    case TASK_TRANSPOSE:
        ctl_text_add(out, "transpose");
        break;
    }
    if (t->kind == TASK_ATTEND || t->kind == TASK_ATTEND_GRAD) {
        ctl_text_add(out, " head %lld%s", (long long)t->head, t->causal ? " causal" : "");
        if (t->window) ctl_text_add(out, " window %lld", (long long)t->window);
    }
    if (t->accumulate) ctl_text_add(out, " accumulate");
}

static void print_place(const ctl_program_place *at, ctl_text *out) {
    ctl_text_add(out, ", %s:%d", at->user.file, at->user.line);
    if (at->library.file) ctl_text_add(out, " (%s:%d)", at->library.file, at->library.line);
}

static void print_task(const ctl_program *p, const ctl_task *t, size_t number, ctl_text *out) {
    ctl_text_add(out, "  %zu: ", number);
    print_kind(p, t, out);
    for (uint32_t k = 0; k < t->noperands; k++) {
        ctl_text_add(out, k ? "," : " (");
        if (t->operands[k].buffer == UINT32_MAX)
            ctl_text_add(out, " -");
        else
            print_operand(&t->operands[k], t->writes >> k & 1, out);
        if (t->kind == TASK_ROWS && t->index_of[k] != UINT32_MAX)
            ctl_text_add(out, " by operand %u", t->index_of[k]);
    }
    ctl_text_add(out, ")");
    if (t->scratch.buffer != UINT32_MAX) ctl_text_add(out, " scratch b%u", t->scratch.buffer);
    ctl_text_add(out, "  # %s", t->name);
    if (t->place) print_place(&p->places[t->place - 1], out);
    ctl_text_add(out, "\n");
}

void ctl_program_print(const ctl_program *p, ctl_text *out) {
    for (int region = 0; region < REGION_COUNT; region++) {
        ctl_text_add(out, "%s: %zu bytes\n", regions[region], p->region_bytes[region]);
        for (size_t k = 0; k < p->nbuffers; k++) {
            const ctl_buffer *b = &p->buffers[k];
            if ((int)b->region != region) continue;
            ctl_text_add(out, "  b%zu: %zu at %zu, %s", k, b->bytes, b->offset, ctl_use_name(b->use));
            if (region == REGION_STEP) ctl_text_add(out, ", tasks %d .. %d", b->first, b->last);
            ctl_text_add(out, "  # %s\n", b->name);
        }
    }
    for (int entry = 0; entry < RUN_COUNT; entry++) {
        size_t from = entry == RUN_BACKWARD ? p->run[RUN_FORWARD].n : 0;
        ctl_text_add(out, "%s: %zu tasks\n", entries[entry], p->run[entry].n);
        for (size_t k = 0; k < p->run[entry].n; k++) print_task(p, &p->run[entry].at[k], from + k, out);
    }
}
