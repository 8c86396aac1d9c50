/* made_batch: see made_batch.h. */
#include "tools/ctlc/made_batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/random.h"
#include "runtime/program.h"

static void narrow(int64_t *below, const ctl_operand *ids, const ctl_operand *value, int64_t rows) {
    if (ids->buffer == value->buffer && (*below == 0 || rows < *below)) *below = rows;
}

/* What an input's ids must be below: the least of the tables' rows, of the classes that a loss tells apart. 0: no task says. */
static int64_t ids_below(const ctl_program *p, const char *name) {
    int64_t below = 0;
    const ctl_operand *value = NULL;
    for (size_t k = 0; k < p->ninputs; k++)
        if (strcmp(p->inputs[k].name, name) == 0) value = &p->inputs[k].value;
    if (!value) return 0;
    for (int e = 0; e < RUN_COUNT; e++)
        for (size_t k = 0; k < p->run[e].n; k++) {
            const ctl_task *t = &p->run[e].at[k];
            if (t->kind == TASK_HEAD) narrow(&below, &t->operands[2], value, t->operands[1].rows);
            if (t->kind == TASK_SCATTER) narrow(&below, &t->operands[1], value, t->operands[2].rows);
            for (uint32_t i = 0; t->kind == TASK_ROWS && t->index_of && i < t->noperands; i++)
                if (t->index_of[i] != UINT32_MAX) narrow(&below, &t->operands[t->index_of[i]], value, t->operands[i].rows);
        }
    return below;
}

static uint32_t word(uint64_t seed, const char *name, int64_t row, int64_t col) {
    uint32_t random[4];
    const uint32_t counter[4] = {(uint32_t)row, (uint32_t)col, (uint32_t)((uint64_t)row >> 32),
                                 (uint32_t)ctl_hash(name, strlen(name), 0)};
    ctl_philox(counter, seed, random);
    return random[0];
}

float made_number(uint64_t seed, const char *name, int64_t row, int64_t col) {
    return (float)(2 * ctl_unit(word(seed, name, row, col)) - 1);
}

static bool is_label(const char *name) { return strncmp(name, "label", 5) == 0; }

static int32_t whole(const ctl_program *p, const char *name, uint64_t seed, int64_t first, int64_t row, int64_t below) {
    const int64_t sequence = p->sequence ? p->sequence : p->tokens;
    if (strcmp(name, "position") == 0) return (int32_t)(row % sequence);
    if (strcmp(name, "length") == 0) return (int32_t)sequence;
    return (int32_t)(word(seed, name, first + row, 0) % (uint64_t)(below ? below : 2));
}

ctl_status made_batch(ctl_session *s, const ctl_program *p, const ctl_program *tables, uint64_t seed, int64_t micro,
                      int64_t *counted) {
    ctl_status status = CTL_OK;
    *counted = 0;
    for (size_t k = 0; k < p->ninputs && status == CTL_OK; k++) {
        const ctl_program_input *in = &p->inputs[k];
        const int64_t rows = in->value.rows, cols = in->value.cols, first = micro * rows, below = ids_below(tables, in->name);
        size_t n, bytes;
        if (strcmp(in->name, "normaliser") == 0) continue; /* ctl_session_set_step writes it */
        if (!ctl_mul_size((size_t)rows, (size_t)cols, &n) || !ctl_mul_size(n, 4, &bytes)) return CTL_ERR_MEMORY;
        void *data = malloc(bytes ? bytes : 1);
        if (!data) return CTL_ERR_MEMORY;
        const bool ids = in->value.dtype == CTL_I32;
        for (size_t i = 0; i < n; i++) {
            const int64_t row = (int64_t)i / cols, col = (int64_t)i % cols;
            if (ids) ((int32_t *)data)[i] = whole(p, in->name, seed, first, row, below);
            else ((float *)data)[i] = made_number(seed, in->name, first + row, col);
        }
        if (is_label(in->name)) *counted += (int64_t)n;
        status = ctl_session_input(s, in->name, ids ? CTL_I32 : CTL_F32, data, n);
        free(data);
    }
    return status;
}
