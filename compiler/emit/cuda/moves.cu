/* What moves and adds numbers around products and row programs: embeddings' gradients, sums of partial sums, transposes, the end of
 * a product that cuBLASLt has no form for, and a check of computed indices, which nobody else sees before a kernel reads a table
 * by them. Every sum has one owner and a fixed order: nothing is atomic, and bits are those of the CPU's. */

/* ---- embeddings' gradients: out (+)= rows of x by id, in their order ---- */
typedef struct scatter_call {
    const void *x;
    const int *ids;
    float *out;
    i64 x_stride, id_stride, out_stride;
    int rows, cols, bf16_x;
} scatter_call;

/* A block has the rows of x with one id, if its own is the first of them; it adds them in order. */
KERNEL(task_scatter, scatter_call, 128) {
    SHARED(int, earlier); /* whether a thread has found an earlier one */
    const int own = BLOCK, id = call.ids[own * call.id_stride];
    int found = 0;
    for (int r = THREAD; r < own; r += THREADS) found |= call.ids[r * call.id_stride] == id;
    earlier[THREAD] = found;
    SYNC_BLOCK();
    for (int i = 0; i < THREADS; i++)
        if (earlier[i]) return;
    float *const to = call.out + id * call.out_stride;
    for (int r = own; r < call.rows; r++) {
        if (call.ids[r * call.id_stride] != id) continue;
        for (int c = THREAD; c < call.cols; c += THREADS) {
            const i64 from = r * call.x_stride + c;
            to[c] = to[c] + (call.bf16_x ? from_bf16(((const bf16 *)call.x)[from]) : ((const float *)call.x)[from]);
        }
    }
}

/* ---- sums of partial sums; zeros ---- */
typedef struct fold_call {
    const float *x;
    float *out;
    i64 stride, out_stride;
    int rows, cols, accumulate;
    int width; /* columns of a row of out: a row of x is rows of out, one after the other */
} fold_call;
KERNEL(task_fold, fold_call, 128) {
    const int c = BLOCK * THREADS + THREAD;
    if (c >= call.cols) return;
    float sum = 0.0f;
    for (int r = 0; r < call.rows; r++) sum = sum + call.x[r * call.stride + c];
    float *const to = call.out + c / call.width * call.out_stride + c % call.width;
    *to = call.accumulate ? *to + sum : sum;
}

typedef struct zero_call {
    float *out;
    i64 stride;
    int rows, cols;
} zero_call;
KERNEL(task_zero, zero_call, 256) {
    for (int r = BLOCK; r < call.rows; r += BLOCKS)
        for (int c = THREAD; c < call.cols; c += THREADS) call.out[r * call.stride + c] = 0.0f;
}

/* ---- transposes ---- */
typedef struct transpose_call {
    const void *a;
    void *out;
    i64 a_stride, out_stride;
    int rows, cols, bf16_a, bf16_out; /* of a */
} transpose_call;
/* A block has a square of 32; its rows lie 33 apart in shared memory, so that columns lie in different banks. */
KERNEL(task_transpose, transpose_call, 256) {
    SHARED(float, square);
    const int x = THREAD % 32, y = THREAD / 32, row = BLOCK_Y * 32, col = BLOCK * 32;
    for (int i = y; i < 32; i += 8)
        if (row + i < call.rows && col + x < call.cols) {
            const i64 at = (row + i) * call.a_stride + col + x;
            square[i * 33 + x] = call.bf16_a ? from_bf16(((const bf16 *)call.a)[at]) : ((const float *)call.a)[at];
        }
    SYNC_BLOCK();
    for (int i = y; i < 32; i += 8)
        if (col + i < call.cols && row + x < call.rows) {
            const i64 at = (col + i) * call.out_stride + row + x;
            const float value = square[x * 33 + i];
            if (call.bf16_out) ((bf16 *)call.out)[at] = (bf16)to_bf16(value);
            else ((float *)call.out)[at] = value;
        }
}

/* ---- the end of a product ---- */
/* c = sums (+ c) (+ bias) (+ addend), added in f32 in this order, rounded once. Without sums: what a product is added to. */
typedef struct finish_call {
    const float *sums; /* [rows, cols], dense; NULL: none */
    void *c;
    const void *bias, *addend; /* NULL: none */
    i64 c_stride, addend_stride;
    int rows, cols, accumulate, bf16_c, bf16_bias, bf16_addend;
    int wide; /* whether 16 bytes of each can be read at once */
} finish_call;

/* x += n of 8 neighbouring elements. */
DEVICE void finish_add(float *x, const void *p, int is_bf16, i64 at, int n, int wide) {
    float y[8];
    if (is_bf16) load_bf16(y, (const bf16 *)p + at, 8, 0, n, wide);
    else load_f32(y, (const float *)p + at, 8, 0, n, wide);
    UNROLL for (int e = 0; e < 8; e++) x[e] = x[e] + y[e];
}

KERNEL(task_finish, finish_call, 256) {
    ROLL for (int r = BLOCK; r < call.rows; r += BLOCKS) /* unrolled, a loop of so many cases becomes 200 KB for some GPUs */
        ROLL for (int col = 8 * THREAD; col < call.cols; col += 8 * THREADS) {
            const int n = call.cols - col < 8 ? call.cols - col : 8;
            const i64 at = r * call.c_stride + col;
            float x[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
            if (call.sums) load_f32(x, call.sums + (i64)r * call.cols + col, 8, 0, n, call.wide);
            if (call.accumulate) finish_add(x, call.c, call.bf16_c, at, n, call.wide);
            if (call.bias) finish_add(x, call.bias, call.bf16_bias, col, n, call.wide);
            if (call.addend) finish_add(x, call.addend, call.bf16_addend, r * call.addend_stride + col, n, call.wide);
            if (call.bf16_c) {
                UNROLL for (int e = 0; e < 8; e++) x[e] = round_bf16(x[e]);
                store_bf16((bf16 *)call.c + at, x, 8, 0, n, call.wide);
            } else
                store_f32((float *)call.c + at, x, 8, 0, n, call.wide);
        }
}

/* ---- indices ---- */
/* The first id that is not one of 0 .. below - 1 goes to `bad`, unless one is there; all such become 0. One block. */
typedef struct bad_id {
    int task, row, id, rows; /* task < 0: none */
} bad_id;
typedef struct ids_call {
    int *ids;
    bad_id *bad;
    i64 stride;
    int rows, below;
    int beside; /* this one is right too */
    int task;
} ids_call;
DEVICE int is_wrong(const ids_call *call, int id) { return (id < 0 || id >= call->below) && id != call->beside; }

KERNEL(task_ids, ids_call, 256) {
    SHARED(int, first);
    int mine = call.rows;
    for (int r = call.rows - 1 - THREAD; r >= 0; r -= THREADS) {
        const int id = call.ids[r * call.stride];
        if (is_wrong(&call, id)) mine = r;
    }
    first[THREAD] = mine;
    SYNC_BLOCK();
    if (THREAD == 0) {
        for (int i = 1; i < THREADS; i++)
            if (first[i] < mine) mine = first[i];
        if (mine < call.rows && call.bad->task < 0) {
            const bad_id found = {call.task, mine, call.ids[mine * call.stride], call.below};
            *call.bad = found;
        }
    }
    SYNC_BLOCK();
    for (int r = THREAD; r < call.rows; r += THREADS) {
        const int id = call.ids[r * call.stride];
        if (is_wrong(&call, id)) call.ids[r * call.stride] = 0;
    }
}
