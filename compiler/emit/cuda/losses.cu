/* The cross-entropy of a chunk of logits. Every sum has one owner and a fixed order; bits are those of the CPU's but for
 * exponentials and logarithms. */
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
