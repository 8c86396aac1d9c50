/* What the engine adds to the tasks' kernels: the end of a product that cuBLASLt has no form for, and a check of computed
 * indices, which nobody else sees before a kernel reads a table by them. */

/* c = sums (+ c) (+ bias) (+ addend), added in f32 in this order, rounded once. */
typedef struct finish_call {
    const float *sums; /* [rows, cols], dense */
    void *c;
    const void *bias, *addend; /* NULL: none */
    i64 c_stride, addend_stride;
    int rows, cols, accumulate, bf16_c, bf16_bias, bf16_addend;
} finish_call;

DEVICE float element_of(const void *p, int is_bf16, i64 i) {
    return is_bf16 ? from_bf16(((const bf16 *)p)[i]) : ((const float *)p)[i];
}

KERNEL(task_finish, finish_call, 256) {
    for (int r = BLOCK; r < call.rows; r += BLOCKS)
        for (int col = THREAD; col < call.cols; col += THREADS) {
            const i64 at = r * call.c_stride + col;
            float x = call.sums[(i64)r * call.cols + col];
            if (call.accumulate) x = x + element_of(call.c, call.bf16_c, at);
            if (call.bias) x = x + element_of(call.bias, call.bf16_bias, col);
            if (call.addend) x = x + element_of(call.addend, call.bf16_addend, r * call.addend_stride + col);
            if (call.bf16_c) ((bf16 *)call.c)[at] = (bf16)to_bf16(x);
            else ((float *)call.c)[at] = x;
        }
}

/* The first id that is not one of 0 .. below - 1 goes to `bad`, unless one is there; all such become 0. One block. */
typedef struct bad_id {
    int task, row, id, rows; /* task < 0: none */
} bad_id;
typedef struct ids_call {
    int *ids;
    bad_id *bad;
    i64 stride;
    int rows, below, task;
} ids_call;
KERNEL(task_ids, ids_call, 256) {
    SHARED(int, first);
    int mine = call.rows;
    for (int r = call.rows - 1 - THREAD; r >= 0; r -= THREADS) {
        const int id = call.ids[r * call.stride];
        if (id < 0 || id >= call.below) mine = r;
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
        if (id < 0 || id >= call.below) call.ids[r * call.stride] = 0;
    }
}
