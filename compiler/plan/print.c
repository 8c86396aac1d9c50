/* print: see print.h. One line a buffer, one line a task; an operand is buffer+offset[rows x cols : stride] dtype. */
#include "compiler/plan/print.h"

static const char *const region_names[] = {"constant", "persistent", "step"};
static const char *const use_names[] = {"weights", "derived", "trained", "gradients", "optimizer",
                                        "inputs", "saved", "transient", "head", "scratch"};
static const char *const task_names[] = {"rows", "matmul", "attend", "attend_grad", "head", "scatter", "fold", "transpose"};
static const char *const run_names[] = {"load", "update", "forward", "backward", "evaluate"};

static void print_operand(const ctl_operand *o, ctl_text *out) {
    if (o->buffer == UINT32_MAX) {
        ctl_text_add(out, " -");
        return;
    }
    ctl_text_add(out, " b%u", o->buffer);
    if (o->offset) ctl_text_add(out, "+%llu", (unsigned long long)o->offset);
    ctl_text_add(out, "[%lld x %lld", (long long)o->rows, (long long)o->cols);
    if (o->stride != o->cols) ctl_text_add(out, " : %lld", (long long)o->stride);
    ctl_text_add(out, "]%s", ctl_dtype_name(o->dtype));
}

static void print_task(const ctl_program *p, size_t number, const ctl_task *t, ctl_text *out) {
    ctl_text_add(out, "  %zu %s", number, task_names[t->kind]);
    if (t->kind == TASK_ROWS) {
        ctl_text_add(out, " kernel %u", t->kernel);
        if (t->split > 1) ctl_text_add(out, " split %d", (int)t->split);
    }
    if (t->kind == TASK_MATMUL)
        ctl_text_add(out, "%s%s%s", t->transpose_a ? " ta" : "", t->transpose_b ? " tb" : "", t->accumulate ? " accumulate" : "");
    ctl_text_add(out, ":");
    for (uint32_t k = 0; k < t->noperands; k++) print_operand(&t->operands[k], out);
    if (t->scratch.buffer != UINT32_MAX) {
        ctl_text_add(out, " scratch");
        print_operand(&t->scratch, out);
    }
    ctl_text_add(out, "  # %s\n", t->name ? t->name : "");
    (void)p;
}

void ctl_program_print(const ctl_program *p, ctl_text *out) {
    for (int r = 0; r < REGION_COUNT; r++) ctl_text_add(out, "region %s: %zu bytes\n", region_names[r], p->region_bytes[r]);
    for (size_t k = 0; k < p->nbuffers; k++) {
        const ctl_buffer *b = &p->buffers[k];
        ctl_text_add(out, "b%zu %s %s: %zu bytes at %zu", k, region_names[b->region], use_names[b->use], b->bytes, b->offset);
        if (b->region == REGION_STEP) ctl_text_add(out, ", tasks %d..%d", (int)b->first, (int)b->last);
        ctl_text_add(out, "  # %s\n", b->name);
    }
    for (int r = 0; r < RUN_COUNT; r++) {
        ctl_text_add(out, "%s:\n", run_names[r]);
        for (size_t k = 0; k < p->run[r].n; k++) print_task(p, k, &p->run[r].at[k], out);
    }
}
