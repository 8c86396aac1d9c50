/* matmul: products, cut into blocks. A block is some rows and columns of the result, the blocks of a product nearly equal;
 * their shapes follow from the product's alone. oneDNN makes a block's sums where it can, else our tiles do.
 *
 * A unit is what a thread takes: a block, or many below each other. Then the columns of b are packed once for all of them,
 * as oneDNN would do for each, and the blocks are small: their sums are still in the cache when they are finished. */
#include <omp.h>

#include "runtime/cpu/tasks.h"

/* Packed: b's columns of a unit take PACK_BYTES at most, but at least 64 columns; sums 48 KiB, where a block is work
 * enough to call for it. */
enum { UNIT_ROWS = 1024, FEW_UNITS = 8, PACK_ROWS = 64, PACK_COLS = 192, PACK_BYTES = 3 << 19, SHALLOW = 64, SHALLOW_ROWS = 128, DEEP = 16384 };
/* Else: large enough for 97% of the rate of an unlimited block, small enough for sums and packed operands to stay in the
 * second level of the cache; thin products are cut finer, to have enough blocks for the team. */
enum { BLOCK_ROWS = 256, BLOCK_COLS = 512, WHOLE_COLS = 1024, THIN = 128, THIN_ROWS = 128 };

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

/* Shapes of blocks that pack b once; false: it would not be worth its place. */
static bool shape_packed(ctl_matmul *m) {
    const ctl_matmul_form *f = &m->form;
    const int64_t column = f->k * (f->operands == CTL_BF16 ? 2 : 4);
    if (f->transpose_a || f->k > DEEP || f->m < PACK_ROWS) return false;
    int64_t most = PACK_BYTES / column / 64 * 64;
    if (most > PACK_COLS) most = PACK_COLS;
    m->block_n = piece(f->n, most < 64 ? 64 : most, 64);
    m->block_m = f->k < SHALLOW ? SHALLOW_ROWS : PACK_ROWS;
    const int64_t units = (f->m + UNIT_ROWS - 1) / UNIT_ROWS * ((f->n + m->block_n - 1) / m->block_n);
    m->unit_m = units < FEW_UNITS ? UNIT_ROWS / 2 : UNIT_ROWS; /* there is work for a team */
    if (f->n <= THIN) m->unit_m = m->block_m = THIN_ROWS;
    return true;
}

static void shape_unpacked(ctl_matmul *m) {
    const ctl_matmul_form *f = &m->form;
    m->block_n = piece(f->n, BLOCK_COLS, 64);
    m->block_m = m->unit_m = piece(f->m, f->n <= THIN ? THIN_ROWS : BLOCK_ROWS, 16);
    m->panel = 0;
}

/* The four sorts of blocks. CTL_ERR_UNSUPPORTED, only when packed: oneDNN does not want b as we would pack it. */
static ctl_status prepare_blocks(ctl_products *set, bool make, bool packed, ctl_matmul *out) {
    const ctl_matmul_form *f = &out->form;
    size_t most = 0;
    out->packed = 0;
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++) {
            ctl_product_form block = {.m = extent(f->m, out->block_m, i), .n = extent(f->n, out->block_n, j), .k = f->k,
                                      .lda = f->lda, .ldb = packed ? 0 : f->ldb, .transpose_a = f->transpose_a,
                                      .transpose_b = !packed && f->transpose_b, .bf16 = f->operands == CTL_BF16,
                                      .packed = packed};
            ctl_product_room room = {0};
            ctl_status status = set ? ctl_products_room(set, &block, &room) : CTL_ERR_UNSUPPORTED;
            if (!status && make) status = ctl_products_get(set, &block, &out->product[i][j]);
            if (status == CTL_ERR_UNSUPPORTED && !packed) room.scratch = ctl_block_scratch(block.m, block.n);
            else if (status) return status;
            if (packed && i + j > 0 && room.panel != out->panel) return CTL_ERR_UNSUPPORTED;
            out->panel = room.panel;
            if (room.packed > out->packed) out->packed = aligned(room.packed);
            if (room.scratch > most) most = room.scratch;
        }
    out->sums = aligned((size_t)out->block_m * (size_t)((out->block_n + 15) / 16 * 16) * sizeof(float));
    out->scratch = out->sums + out->packed + aligned(most);
    return CTL_OK;
}

ctl_status ctl_matmul_prepare(ctl_products *set, const ctl_matmul_form *form, bool make, ctl_matmul *out) {
    *out = (ctl_matmul){.form = *form};
    const ctl_matmul_form *f = &out->form;
    if (f->m < 1 || f->n < 1 || f->k < 1 || !is_real(f->operands) || !is_real(f->c) || (f->has_bias && !is_real(f->bias)) ||
        (f->has_addend && !is_real(f->addend)))
        return CTL_ERR_INTERNAL;
    if (set && shape_packed(out)) {
        ctl_status status = prepare_blocks(set, make, true, out);
        if (status != CTL_ERR_UNSUPPORTED) return status;
        memset(out->product, 0, sizeof out->product);
    }
    shape_unpacked(out);
    return prepare_blocks(set, make, false, out);
}

/* What a block's end will read and write: asked for before its product runs, it is there by then. */
static void foresee(const void *at, int64_t stride, int64_t rows, int64_t bytes) {
#if defined(__GNUC__)
    for (int64_t i = 0; i < rows; i++)
        for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch((const char *)at + i * stride + b, 1, 2);
#endif
}

static ctl_status run_block(const ctl_matmul *m, const ctl_lanes *lanes, const ctl_matmul_data *d, int64_t i, int64_t j,
                            int thread) {
    const ctl_matmul_form *f = &m->form;
    const size_t size = f->operands == CTL_BF16 ? 2 : 4;
    const bool last_i = i + m->block_m >= f->m, last_j = j + m->block_n >= f->n;
    const int64_t rows = extent(f->m, m->block_m, last_i), cols = extent(f->n, m->block_n, last_j);
    char *scratch = d->scratch + (size_t)thread * m->scratch, *rest = scratch + m->sums + m->packed;
    const char *a = (const char *)d->a + (size_t)(f->transpose_a ? i : i * f->lda) * size;
    const char *b = (const char *)d->b + (size_t)(f->transpose_b ? j * f->ldb : j) * size;
    const bool plain = is_plain(m);
    float *sums = plain ? (float *)d->c + i * f->ldc : (float *)(void *)scratch;
    const ctl_product *product = m->product[last_i][last_j];
    ctl_epilogue e = {.acc = sums, .acc_stride = cols, .rows = rows, .cols = cols, .c_stride = f->ldc,
                      .addend_stride = f->ld_addend, .c_bf16 = f->c == CTL_BF16, .bias_bf16 = f->bias == CTL_BF16,
                      .addend_bf16 = f->addend == CTL_BF16, .accumulate = f->accumulate};
    e.c = (char *)d->c + (size_t)(i * f->ldc + j) * (e.c_bf16 ? 2 : 4);
    if (f->has_bias) e.bias = (const char *)d->bias + (size_t)j * (e.bias_bf16 ? 2 : 4);
    if (f->has_addend) e.addend = (const char *)d->addend + (size_t)(i * f->ld_addend + j) * (e.addend_bf16 ? 2 : 4);
    if (m->panel) {
        foresee(e.c, f->ldc * (e.c_bf16 ? 2 : 4), rows, cols * (e.c_bf16 ? 2 : 4));
        if (e.addend) foresee(e.addend, f->ld_addend * (e.addend_bf16 ? 2 : 4), rows, cols * (e.addend_bf16 ? 2 : 4));
    }
    if (product) {
        ctl_status status = ctl_product_run(product, thread, a, m->panel ? scratch + m->sums : b, sums, rest);
        if (status || plain) return status;
    } else {
        lanes->product(&(ctl_block){.m = rows, .n = cols, .k = f->k, .a = a, .b = b, .lda = f->lda, .ldb = f->ldb,
                                    .transpose_a = f->transpose_a, .transpose_b = f->transpose_b,
                                    .bf16 = f->operands == CTL_BF16, .c = sums}, rest);
        e.acc_stride = (cols + 15) / 16 * 16;
    }
    lanes->epilogue(&e);
    return CTL_OK;
}

static ctl_status run_unit(const ctl_matmul *m, const ctl_lanes *lanes, const ctl_matmul_data *d, int64_t i, int64_t j,
                           int thread) {
    const ctl_matmul_form *f = &m->form;
    const int64_t end = i + m->unit_m < f->m ? i + m->unit_m : f->m;
    if (m->panel) {
        const size_t size = f->operands == CTL_BF16 ? 2 : 4;
        lanes->pack(&(ctl_pack){.b = (const char *)d->b + (size_t)(f->transpose_b ? j * f->ldb : j) * size,
                                .n = extent(f->n, m->block_n, j + m->block_n >= f->n), .k = f->k, .ldb = f->ldb,
                                .panel = m->panel, .transpose_b = f->transpose_b, .bf16 = f->operands == CTL_BF16,
                                .out = d->scratch + (size_t)thread * m->scratch + m->sums});
    }
    ctl_status status = CTL_OK;
    for (; i < end && !status; i += m->block_m) status = run_block(m, lanes, d, i, j, thread);
    return status;
}

ctl_status ctl_matmul_run(const ctl_matmul *m, const ctl_lanes *lanes, int threads, const ctl_matmul_data *data) {
    const int64_t down = (m->form.m + m->unit_m - 1) / m->unit_m, across = (m->form.n + m->block_n - 1) / m->block_n;
    int failed = CTL_OK;
#pragma omp parallel num_threads(threads) if (down * across > 1)
    {
        omp_set_num_threads(1); /* oneDNN asks in a team of one too */
#pragma omp for schedule(dynamic, 1)
        for (int64_t unit = 0; unit < down * across; unit++) {
            ctl_status status =
                run_unit(m, lanes, data, unit % down * m->unit_m, unit / down * m->block_n, omp_get_thread_num());
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
