/* matmul: products, cut into blocks. A block is at most BLOCK_ROWS x BLOCK_COLS, the blocks of a product nearly equal;
 * their shapes follow from the product's alone. oneDNN makes a block's sums where it can, else our tiles do. */
#include <omp.h>

#include "runtime/cpu/tasks.h"

/* Large enough for 97% of the rate of an unlimited block, small enough for sums and packed operands to stay in the second
 * level of the cache; thin products are cut finer, to have enough blocks for the team. */
enum { BLOCK_ROWS = 256, BLOCK_COLS = 512, THIN = 128, THIN_ROWS = 128 };

/* ceil(n / most) nearly equal pieces, multiples of `unit` but for the last. */
static int64_t piece(int64_t n, int64_t most, int64_t unit) {
    int64_t pieces = (n + most - 1) / most, each = (n + pieces - 1) / pieces;
    each = (each + unit - 1) / unit * unit;
    return each < n ? each : n;
}

static size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

bool ctl_matmul_form_of(const ctl_task *t, ctl_matmul_form *f) {
    if (t->noperands < 5) return false;
    const ctl_operand *a = &t->operands[0], *b = &t->operands[1], *c = &t->operands[2], *bias = &t->operands[3],
                      *addend = &t->operands[4];
    *f = (ctl_matmul_form){.m = c->rows, .n = c->cols, .k = t->transpose_a ? a->rows : a->cols,
                           .lda = a->stride, .ldb = b->stride, .ldc = c->stride, .ld_addend = addend->stride,
                           .operands = a->dtype, .c = c->dtype, .bias = bias->dtype, .addend = addend->dtype,
                           .transpose_a = t->transpose_a, .transpose_b = t->transpose_b, .accumulate = t->accumulate,
                           .has_bias = !ctl_operand_absent(bias), .has_addend = !ctl_operand_absent(addend)};
    bool fits = (t->transpose_a ? a->cols : a->rows) == f->m && (t->transpose_b ? b->rows : b->cols) == f->n &&
                (t->transpose_b ? b->cols : b->rows) == f->k && a->dtype == b->dtype && a->stride >= a->cols &&
                b->stride >= b->cols && c->stride >= c->cols;
    if (f->has_bias) fits &= bias->cols == f->n && bias->rows == 1;
    if (f->has_addend) fits &= addend->rows == f->m && addend->cols == f->n && addend->stride >= f->n;
    return fits;
}

static bool is_real(ctl_dtype dtype) { return dtype == CTL_F32 || dtype == CTL_BF16; }

/* Shape of the blocks in the last or any other row (column) of blocks. */
static int64_t extent(int64_t n, int64_t block, bool last) { return last ? n - (n - 1) / block * block : block; }

/* A block's sums may be made in c itself when nothing is left to do with them there. */
static bool is_plain(const ctl_matmul *m) {
    const ctl_matmul_form *f = &m->form;
    return f->c == CTL_F32 && !f->accumulate && !f->has_bias && !f->has_addend && f->n <= m->block_n && f->ldc == f->n &&
           m->product[0][0] && m->product[1][0];
}

ctl_status ctl_matmul_prepare(ctl_products *set, const ctl_matmul_form *form, bool make, ctl_matmul *out) {
    *out = (ctl_matmul){.form = *form};
    const ctl_matmul_form *f = &out->form;
    if (f->m < 1 || f->n < 1 || f->k < 1 || !is_real(f->operands) || !is_real(f->c) || (f->has_bias && !is_real(f->bias)) ||
        (f->has_addend && !is_real(f->addend)))
        return CTL_ERR_INTERNAL;
    out->block_n = piece(f->n, BLOCK_COLS, 64);
    out->block_m = piece(f->m, f->n <= THIN ? THIN_ROWS : BLOCK_ROWS, 16);
    size_t most = 0;
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++) {
            ctl_product_form block = {.m = extent(f->m, out->block_m, i), .n = extent(f->n, out->block_n, j), .k = f->k,
                                      .lda = f->lda, .ldb = f->ldb, .transpose_a = f->transpose_a,
                                      .transpose_b = f->transpose_b, .bf16 = f->operands == CTL_BF16};
            size_t bytes = 0;
            ctl_status status = CTL_ERR_UNSUPPORTED;
            if (set && make) {
                status = ctl_products_get(set, &block, &out->product[i][j]);
                if (!status) bytes = ctl_product_scratch(out->product[i][j]);
            } else if (set) {
                status = ctl_products_scratch(set, &block, &bytes);
            }
            if (status == CTL_ERR_UNSUPPORTED) bytes = ctl_block_scratch(block.m, block.n);
            else if (status) return status;
            if (bytes > most) most = bytes;
        }
    out->sums = aligned((size_t)out->block_m * (size_t)((out->block_n + 15) / 16 * 16) * sizeof(float));
    out->scratch = out->sums + aligned(most);
    return CTL_OK;
}

static ctl_status run_block(const ctl_matmul *m, const ctl_lanes *lanes, const ctl_matmul_data *d, int64_t i, int64_t j,
                            int thread) {
    const ctl_matmul_form *f = &m->form;
    const size_t size = f->operands == CTL_BF16 ? 2 : 4;
    const bool last_i = i + m->block_m >= f->m, last_j = j + m->block_n >= f->n;
    const int64_t rows = extent(f->m, m->block_m, last_i), cols = extent(f->n, m->block_n, last_j);
    char *scratch = d->scratch + (size_t)thread * m->scratch;
    const char *a = (const char *)d->a + (size_t)(f->transpose_a ? i : i * f->lda) * size;
    const char *b = (const char *)d->b + (size_t)(f->transpose_b ? j * f->ldb : j) * size;
    const bool plain = is_plain(m);
    float *sums = plain ? (float *)d->c + i * f->ldc : (float *)(void *)scratch;
    const ctl_product *product = m->product[last_i][last_j];
    ctl_epilogue e = {.acc = sums, .acc_stride = cols, .rows = rows, .cols = cols, .c_stride = f->ldc,
                      .addend_stride = f->ld_addend, .c_bf16 = f->c == CTL_BF16, .bias_bf16 = f->bias == CTL_BF16,
                      .addend_bf16 = f->addend == CTL_BF16, .accumulate = f->accumulate};
    if (product) {
        ctl_status status = ctl_product_run(product, thread, a, b, sums, scratch + m->sums);
        if (status || plain) return status;
    } else {
        lanes->product(&(ctl_block){.m = rows, .n = cols, .k = f->k, .a = a, .b = b, .lda = f->lda, .ldb = f->ldb,
                                    .transpose_a = f->transpose_a, .transpose_b = f->transpose_b,
                                    .bf16 = f->operands == CTL_BF16, .c = sums}, scratch + m->sums);
        e.acc_stride = (cols + 15) / 16 * 16;
    }
    e.c = (char *)d->c + (size_t)(i * f->ldc + j) * (e.c_bf16 ? 2 : 4);
    if (f->has_bias) e.bias = (const char *)d->bias + (size_t)j * (e.bias_bf16 ? 2 : 4);
    if (f->has_addend) e.addend = (const char *)d->addend + (size_t)(i * f->ld_addend + j) * (e.addend_bf16 ? 2 : 4);
    lanes->epilogue(&e);
    return CTL_OK;
}

ctl_status ctl_matmul_run(const ctl_matmul *m, const ctl_lanes *lanes, int threads, const ctl_matmul_data *data) {
    const int64_t down = (m->form.m + m->block_m - 1) / m->block_m, across = (m->form.n + m->block_n - 1) / m->block_n;
    int failed = CTL_OK;
#pragma omp parallel num_threads(threads) if (down * across > 1)
    {
        omp_set_num_threads(1); /* oneDNN asks in a team of one too */
#pragma omp for schedule(dynamic, 1)
        for (int64_t block = 0; block < down * across; block++) {
            ctl_status status = run_block(m, lanes, data, block % down * m->block_m, block / down * m->block_n,
                                          omp_get_thread_num());
            if (status) {
#pragma omp atomic write
                failed = (int)status;
            }
        }
    }
    return (ctl_status)failed;
}

ctl_status ctl_run_matmul(ctl_cpu_session *s, const ctl_task *task, const ctl_prepared *p) {
    ctl_matmul_data d = {ctl_cpu_at(s, &task->operands[0]), ctl_cpu_at(s, &task->operands[1]),
                         ctl_cpu_at(s, &task->operands[3]), ctl_cpu_at(s, &task->operands[4]),
                         ctl_cpu_at(s, &task->operands[2]), ctl_cpu_at(s, &task->scratch)};
    return ctl_matmul_run(&p->matmul, s->lanes, s->common.threads, &d);
}
