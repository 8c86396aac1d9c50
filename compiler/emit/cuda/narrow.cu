/* Products of a narrow inner dimension, as adapters have them - rows of 8 to 128 numbers times a matrix - whose result is added to
 * something of another type: c = addend (+ more) + a op(b), in f32 in this order, rounded once. Such a product is little work and much memory: cuBLASLt, whose
 * addend has the result's type, would write sums in f32, to be read again and added. Here what is added is read once, c written once.
 *
 * A block has 64 columns of c, and of its rows 64 at a time, 16 a warp. Its part of b lies in shared memory as rows of the inner
 * dimension, from the begin on; the rows of a come tile by tile. Tensor instructions give a lane two neighbouring columns of eight; b's
 * columns lie in such an order that the eight which a lane gets from four instructions are neighbours in c: it reads and writes them in
 * 16 bytes. */
typedef struct narrow_call {
    const bf16 *a, *b;
    const void *addend;
    const bf16 *more; /* NULL: nothing else is added */
    void *c;
    i64 a_stride, b_stride, addend_stride, more_stride, c_stride;
    int rows, cols, inner, turned; /* turned: b is [cols, inner] */
    int bf16_addend, bf16_c;
    int wide_a, wide_b, wide; /* whether 16 bytes of a's rows, of b's, of the addends' and c's can be read at once */
    int tiles;                /* row blocks of the launch: each has every such tile of rows */
} narrow_call;
#define OWN 64 /* rows of a tile, and columns of a block */

/* Where a block's column lies: columns 8 t + 2 s, 8 t + 2 s + 1 of 32 are the lanes' t of instruction s. */
DEVICE int narrow_place(int column) { return column / 32 * 32 + column % 8 / 2 * 8 + column % 32 / 8 * 2 + column % 2; }

/* Rows first .. first + 63 of a matrix of `rows` rows, `inner` numbers each, to `padded` numbers `row` apart, as they follow or as
 * columns are placed; zeros where there are none. */
DEVICE void narrow_rows(bf16 *tile, int row, const bf16 *from, i64 stride, int first, int rows, int inner, int padded, int wide,
                        const int placed) {
    for (int i = THREAD; i < OWN * (padded / 8); i += THREADS) {
        const int r = i / (padded / 8), k = i % (padded / 8) * 8, there = first + r < rows && k < inner;
        bf16 *const to = tile + (placed ? narrow_place(r) : r) * row + k;
        if (wide) copy_async(to, from + (there ? (first + r) * stride + k : 0), there ? 16 : 0);
        else
            for (int e = 0; e < 8; e++) to[e] = there && k + e < inner ? from[(first + r) * stride + k + e] : (bf16)0;
    }
    copy_commit();
}
/* The same of the columns of a matrix [inner, cols]. */
DEVICE void narrow_columns(bf16 *tile, int row, const bf16 *from, i64 stride, int first, int cols, int inner, int padded) {
    for (int i = THREAD; i < OWN * padded; i += THREADS) {
        const int k = i / OWN, r = i % OWN;
        tile[narrow_place(r) * row + k] = k < inner && first + r < cols ? from[k * stride + first + r] : (bf16)0;
    }
}

/* Columns at .. at + 7 of row r of c, as far as there are such: what is added, and then the sums. */
DEVICE void narrow_end(const narrow_call *call, const float *sums, int r, int at) {
    const int n = call->cols - at < 8 ? call->cols - at : 8;
    const i64 from = r * call->addend_stride + at, to = r * call->c_stride + at;
    float x[8];
    if (call->bf16_addend) load_bf16(x, (const bf16 *)call->addend + from, 8, 0, n, call->wide);
    else load_f32(x, (const float *)call->addend + from, 8, 0, n, call->wide);
    if (call->more) {
        float y[8];
        load_bf16(y, call->more + r * call->more_stride + at, 8, 0, n, call->wide);
        UNROLL for (int e = 0; e < 8; e++) x[e] = x[e] + y[e];
    }
    UNROLL for (int e = 0; e < 8; e++) x[e] = x[e] + sums[e];
    if (call->bf16_c) {
        UNROLL for (int e = 0; e < 8; e++) x[e] = round_bf16(x[e]);
        store_bf16((bf16 *)call->c + to, x, 8, 0, n, call->wide);
    } else
        store_f32((float *)call->c + to, x, 8, 0, n, call->wide);
}

KERNEL(task_narrow, narrow_call, 128) {
    SHARED(bf16, shared);
    const int padded = (call.inner + 15) / 16 * 16, row = padded + 8; /* eight rows of 16 bytes lie in different banks */
    bf16 *const b = shared, *const a = shared + OWN * row;
    const int lane = THREAD % 32, warp = THREAD / 32, column = BLOCK * OWN;
    if (call.turned) narrow_rows(b, row, call.b, call.b_stride, column, call.cols, call.inner, padded, call.wide_b, 1);
    else narrow_columns(b, row, call.b, call.b_stride, column, call.cols, call.inner, padded);
    for (int first = BLOCK_Y * OWN; first < call.rows; first += call.tiles * OWN) {
        narrow_rows(a, row, call.a, call.a_stride, first, call.rows, call.inner, padded, call.wide_a, 0);
        COPY_WAIT(0);
        SYNC_BLOCK();
        float s[8][4];
        UNROLL for (int j = 0; j < 8; j++) s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0.0f;
        ROLL for (int k = 0; k < padded; k += 16) {
            unsigned left[4];
            matrices(left, a + (warp * 16 + lane % 16) * row + k + lane / 16 * 8);
            UNROLL for (int j = 0; j < 8; j += 2) {
                unsigned right[4];
                matrices(right, b + (j * 8 + lane % 8 + lane / 16 * 8) * row + k + lane / 8 % 2 * 8);
                mma_bf16(s[j], left, right);
                mma_bf16(s[j + 1], left, right + 2);
            }
        }
        UNROLL for (int half = 0; half < 2; half++) {
            const int r = first + warp * 16 + lane / 4 + 8 * half;
            if (r >= call.rows) continue;
            UNROLL for (int j = 0; j < 8; j += 4) {
                const int at = column + j / 4 * 32 + lane % 4 * 8;
                float sums[8];
                UNROLL for (int e = 0; e < 8; e++) sums[e] = s[j + e / 2][2 * half + e % 2];
                narrow_end(&call, sums, r, at);
            }
        }
        SYNC_BLOCK(); /* nobody reads these rows of a any more */
    }
}
