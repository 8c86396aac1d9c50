/* The tasks that are neither row programs, products nor attention: the cross-entropy of logits, embeddings' gradients, sums
 * of partial sums, transposes, the optimizer. Every sum has one owner and a fixed order: nothing is atomic, and bits are
 * those of the CPU's but for exponentials and logarithms of the cross-entropy. */

/* ---- the cross-entropy of a chunk of logits ---- */
typedef struct losses_call {
    float *logits; /* [rows, vocab] */
    void *d;       /* NULL; or where their gradients go: the logits' place, as f32, or as bf16 at each row's begin */
    const int *labels;
    const float *normaliser;
    float *losses; /* one a row */
    i64 label_stride;
    int rows, vocab, bf16_d;
    float *results; /* NULL; or of each row its loss, and the first column of its largest logit */
    i64 result_stride;
} losses_call;

enum { IGNORED = -100 };

/* The block's threads each have x; every one gets the sum (the largest), in a fixed tree. The sum is the last. */
DEVICE float sum_of_block(float *shared, float x) {
    shared[THREAD] = x;
    SYNC_BLOCK();
    for (int n = THREADS / 2; n > 0; n /= 2) {
        if (THREAD < n) shared[THREAD] = shared[THREAD] + shared[THREAD + n];
        SYNC_BLOCK();
    }
    return shared[0];
}
DEVICE float most_of_block(float *shared, float x) {
    shared[THREAD] = x;
    SYNC_BLOCK();
    for (int n = THREADS / 2; n > 0; n /= 2) {
        if (THREAD < n && shared[THREAD + n] > shared[THREAD]) shared[THREAD] = shared[THREAD + n];
        SYNC_BLOCK();
    }
    const float most = shared[0];
    SYNC_BLOCK();
    return most;
}

/* A block has a row. */
KERNEL(task_losses, losses_call, 256) {
    SHARED(float, shared);
    const int row = BLOCK, vocab = call.vocab, label = call.labels[row * call.label_stride];
    float *const x = call.logits + (i64)row * vocab;
    void *const d = call.d ? (void *)((float *)call.d + (i64)row * vocab) : (void *)0;
    float most = REAL_OF(0xff800000u), sum = 0.0f;
    int place = 0;
    for (int c = THREAD; c < vocab; c += THREADS)
        if (x[c] > most) most = x[c], place = c;
    const float mine = most;
    most = most_of_block(shared, most);
    if (call.results) { /* the first of the largest: the smallest column */
        const float first = -most_of_block(shared, -(float)(mine == most ? place : vocab));
        if (THREAD == 0) call.results[row * call.result_stride + 1] = x[0] == x[0] ? first : 0.0f;
    }
    for (int c = THREAD; c < vocab; c += THREADS) sum = sum + expf(x[c] - most);
    sum = sum_of_block(shared, sum);
    if (THREAD == 0) {
        const float loss = label == IGNORED ? 0.0f : logf(sum) + most - x[label];
        call.losses[row] = loss;
        if (call.results) call.results[row * call.result_stride] = loss;
    }
    if (!d) return;
    /* A gradient lies where its logit lies, or before: a tile is read whole before any of it is written. */
    for (int at = 0; at < vocab; at += THREADS) {
        const int c = at + THREAD;
        float g = 0.0f;
        if (c < vocab && label != IGNORED) g = (expf(x[c] - most) / sum - (c == label ? 1.0f : 0.0f)) * *call.normaliser;
        SYNC_BLOCK();
        if (c < vocab && call.bf16_d) ((bf16 *)d)[c] = (bf16)to_bf16(g);
        else if (c < vocab) ((float *)d)[c] = g;
    }
}

typedef struct total_call {
    const float *losses, *normaliser;
    float *loss;
    i64 rows;
} total_call;
/* One thread: the rows in order, in double. */
KERNEL(task_total, total_call, 32) {
    if (THREAD != 0) return;
    double sum = 0;
    for (i64 i = 0; i < call.rows; i++) sum += call.losses[i];
    *call.loss = (float)(sum * *call.normaliser);
}

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
    SHARED(int, earlier);
    const int own = BLOCK, id = call.ids[own * call.id_stride];
    if (THREAD == 0) *earlier = 0;
    SYNC_BLOCK();
    for (int r = THREAD; r < own; r += THREADS)
        if (call.ids[r * call.id_stride] == id) *earlier = 1;
    SYNC_BLOCK();
    if (*earlier) return;
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

/* ---- the optimizer (runtime/optimizer.c has the same, for the CPU) ---- */
/* What changes from update to update, in the device's memory. */
typedef struct optimizer_state {
    double clip;       /* 0: none */
    double norm;       /* written: of the gradient */
    float scale;       /* written: of the gradient, by clipping */
    int finite;        /* written: whether there is an update */
    float keep, rate;  /* adamw: 1 - lr decay, lr / (1 - beta1^t) */
    float beta1, beta2, rest1, rest2, eps, correct2;
    float lr, decay, momentum; /* sgd */
} optimizer_state;
typedef struct optimizer_call {
    optimizer_state *state;
    float *p, *m, *v; /* m NULL: sgd without momentum */
    const float *g;
    double *squares; /* one a chunk */
    i64 count, chunk; /* elements; chunk is a multiple of 8 */
    int chunks;
} optimizer_call;

/* A block sums a chunk's squares in eight lanes, each in order. */
KERNEL(task_squares, optimizer_call, 128) {
    SHARED(double, lanes);
    float *const tile = (float *)(lanes + 8);
    const i64 begin = BLOCK * call.chunk, end = begin + call.chunk < call.count ? begin + call.chunk : call.count;
    double sum = 0;
    for (i64 at = begin; at < end; at += 1024) {
        const int n = end - at < 1024 ? (int)(end - at) : 1024;
        for (int i = THREAD; i < n; i += THREADS) tile[i] = call.g[at + i];
        SYNC_BLOCK();
        if (THREAD < 8)
            for (int i = THREAD; i < n; i += 8) sum += (double)tile[i] * (double)tile[i];
        SYNC_BLOCK();
    }
    if (THREAD < 8) lanes[THREAD] = sum;
    SYNC_BLOCK();
    if (THREAD == 0)
        call.squares[BLOCK] = ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

KERNEL(task_norm, optimizer_call, 32) {
    if (THREAD != 0) return;
    optimizer_state *const s = call.state;
    double sum = 0;
    for (int c = 0; c < call.chunks; c++) sum += call.squares[c];
    const double norm = sqrt(sum);
    s->norm = norm, s->finite = norm - norm == 0;
    s->scale = s->clip > 0 && norm > s->clip ? (float)(s->clip / norm) : 1.0f;
}

KERNEL(task_adamw, optimizer_call, 256) {
    const optimizer_state *const s = call.state;
    if (!s->finite) return;
    for (i64 i = (i64)BLOCK * THREADS + THREAD; i < call.count; i += (i64)BLOCKS * THREADS) {
        const float g = call.g[i] * s->scale;
        const float m = s->beta1 * call.m[i] + s->rest1 * g;
        const float v = s->beta2 * call.v[i] + s->rest2 * g * g;
        call.m[i] = m, call.v[i] = v;
        call.p[i] = call.p[i] * s->keep - s->rate * m / (sqrtf(v) * s->correct2 + s->eps);
    }
}

KERNEL(task_sgd, optimizer_call, 256) {
    const optimizer_state *const s = call.state;
    if (!s->finite) return;
    for (i64 i = (i64)BLOCK * THREADS + THREAD; i < call.count; i += (i64)BLOCKS * THREADS) {
        float m = call.g[i] * s->scale + s->decay * call.p[i];
        if (call.m) call.m[i] = m = s->momentum * call.m[i] + m;
        call.p[i] = call.p[i] - s->lr * m;
    }
}
