/* attention: finds the documents in a batch and divides attention's work. Forward units are a document's
 * key-value head and up to CTL_ATTEND_UNIT of its query rows; backward units a document's key-value head,
 * whole, so that no sum is shared between threads. Units are handed out in order, and what a unit computes
 * does not depend on who computes it. */
#include <omp.h>

#include "runtime/cpu/tasks.h"

enum { Q, K, V, O, LSE, FORWARD_POSITIONS, FORWARD_LENGTHS };
enum { D_O = 5, DQ, DK, DV, GRAD_POSITIONS, GRAD_LENGTHS };

static size_t aligned(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}
static int64_t longest_of(const ctl_task *t) {
    int64_t rows = t->operands[Q].rows;
    return t->longest > 0 && t->longest < rows ? t->longest : rows;
}

bool ctl_attend_checks(const ctl_task *t) {
    const bool grad = t->kind == TASK_ATTEND_GRAD;
    if (t->noperands < (grad ? GRAD_LENGTHS + 1u : FORWARD_LENGTHS + 1u) || t->head < 1 || t->window < 0)
        return false;
    const ctl_operand *q = &t->operands[Q], *k = &t->operands[K], *v = &t->operands[V];
    bool fits = q->rows >= 1 && q->cols % t->head == 0 && k->cols % t->head == 0 && k->cols > 0 &&
                q->cols % k->cols == 0 && k->rows == q->rows && v->rows == q->rows && v->cols == k->cols &&
                q->dtype == k->dtype && q->dtype == v->dtype && t->operands[LSE].dtype == CTL_F32 &&
                t->operands[LSE].cols == q->cols / t->head && t->operands[O].cols == q->cols;
    for (int i = Q; i <= (grad ? DV : LSE); i++)
        fits &= t->operands[i].rows == q->rows && t->operands[i].stride >= t->operands[i].cols &&
                (t->operands[i].dtype == CTL_F32 || t->operands[i].dtype == CTL_BF16);
    if (grad)
        fits &= t->operands[D_O].cols == q->cols && t->operands[DQ].cols == q->cols &&
                t->operands[DK].cols == k->cols && t->operands[DV].cols == k->cols;
    return fits;
}

/* A table of where documents begin, then each thread's. */
size_t ctl_attend_task_scratch(const ctl_task *t, int threads) {
    const bool bf16 = t->operands[Q].dtype == CTL_BF16;
    size_t each = t->kind == TASK_ATTEND ? ctl_attend_scratch(t->head, longest_of(t), bf16)
                                         : ctl_attend_grad_scratch(t->head, longest_of(t), bf16);
    return aligned(((size_t)t->operands[Q].rows + 1) * sizeof(int32_t)) + each * (size_t)threads;
}

/* begins[0 .. n] of n documents, begins[n] the number of rows. 0: they make no sense, and the caller was
 * told. */
static int64_t find_documents(ctl_cpu_session *s, const ctl_task *t, const ctl_operand *positions,
                              const ctl_operand *lengths, int32_t *begins) {
    const int64_t rows = t->operands[Q].rows, longest = longest_of(t);
    const int32_t *position = ctl_cpu_at(s, positions), *length = ctl_cpu_at(s, lengths);
    int64_t n = 0;
    for (int64_t row = 0; row < rows; n++) {
        int64_t size = longest < rows - row ? longest : rows - row;
        if (length) size = length[row * lengths->stride];
        bool whole = size >= 1 && size <= rows - row && size <= longest;
        for (int64_t i = 0; whole && position && i < size; i++)
            whole = position[(row + i) * positions->stride] == i;
        if (!whole) {
            ctl_session_say_at(&s->common, t->place, "E0804",
                            "rows of a document follow each other, with positions from 0 and the document's "
                            "length in each",
                            "%s: the document of %lld rows that begins in row %lld leaves the batch, is "
                            "longer than %lld rows, "
                            "or has other positions than 0, 1, ..",
                            t->name, (long long)size, (long long)row, (long long)longest);
            return 0;
        }
        begins[n] = (int32_t)row;
        row += size;
    }
    begins[n] = (int32_t)rows;
    return n;
}

static ctl_panel panel(const ctl_cpu_session *s, const ctl_operand *o) {
    return (ctl_panel){ctl_cpu_at(s, o), o->stride, o->dtype == CTL_BF16};
}

typedef struct work {
    const ctl_attend *attend;
    const int32_t *begins;
    int64_t documents, heads;
    char *scratch;
    size_t each;
} work;

static void run_forward(ctl_cpu_session *s, const work *w) {
#pragma omp parallel num_threads(s->common.threads)
    {
        char *scratch = w->scratch + w->each * (size_t)omp_get_thread_num();
        for (int64_t d = 0; d < w->documents; d++) {
            const int64_t begin = w->begins[d], length = w->begins[d + 1] - begin;
            const int64_t pieces = (length + CTL_ATTEND_UNIT - 1) / CTL_ATTEND_UNIT;
            /* Later query rows see more keys: they begin first. */
#pragma omp for schedule(dynamic, 1) nowait
            for (int64_t i = 0; i < w->heads * pieces; i++) {
                int64_t first = (pieces - 1 - i / w->heads) * CTL_ATTEND_UNIT;
                int64_t count = length - first < CTL_ATTEND_UNIT ? length - first : CTL_ATTEND_UNIT;
                s->lanes->attend(w->attend, &(ctl_attend_unit){begin, length, first, count, i % w->heads},
                                 scratch);
            }
        }
    }
}

static void run_grad(ctl_cpu_session *s, const work *w) {
#pragma omp parallel for num_threads(s->common.threads) schedule(dynamic, 1)
    for (int64_t i = 0; i < w->documents * w->heads; i++) {
        const int64_t begin = w->begins[i / w->heads], length = w->begins[i / w->heads + 1] - begin;
        s->lanes->attend_grad(w->attend, &(ctl_attend_unit){begin, length, 0, length, i % w->heads},
                              w->scratch + w->each * (size_t)omp_get_thread_num());
    }
}

ctl_status ctl_run_attend(ctl_cpu_session *s, const ctl_task *t) {
    const bool grad = t->kind == TASK_ATTEND_GRAD;
    const ctl_operand *o = t->operands;
    ctl_attend a = {.q = panel(s, &o[Q]),
                    .k = panel(s, &o[K]),
                    .v = panel(s, &o[V]),
                    .o = panel(s, &o[O]),
                    .lse = ctl_cpu_at(s, &o[LSE]),
                    .lse_stride = o[LSE].stride,
                    .head = t->head,
                    .group = o[Q].cols / o[K].cols,
                    .window = t->window,
                    .causal = t->causal,
                    .bf16 = o[Q].dtype == CTL_BF16};
    if (grad) {
        a.d_o = panel(s, &o[D_O]);
        a.dq = panel(s, &o[DQ]), a.dk = panel(s, &o[DK]), a.dv = panel(s, &o[DV]);
    }
    char *scratch = ctl_cpu_at(s, &t->scratch);
    int32_t *begins = (int32_t *)(void *)scratch;
    size_t table = aligned(((size_t)o[Q].rows + 1) * sizeof *begins);
    int64_t n = find_documents(s, t, &o[grad ? GRAD_POSITIONS : FORWARD_POSITIONS],
                               &o[grad ? GRAD_LENGTHS : FORWARD_LENGTHS], begins);
    if (n == 0) return CTL_ERR_INPUT;
    work w = {.attend = &a,
              .begins = begins,
              .documents = n,
              .heads = o[K].cols / t->head,
              .scratch = scratch + table,
              .each = grad ? ctl_attend_grad_scratch(t->head, longest_of(t), a.bf16)
                           : ctl_attend_scratch(t->head, longest_of(t), a.bf16)};
    if (grad)
        run_grad(s, &w);
    else
        run_forward(s, &w);
    return CTL_OK;
}
