/* The optimizer, with the bits of the CPU's (runtime/optimizer.c): the gradient's norm, whether there is an update, and it. */

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
