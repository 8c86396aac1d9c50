/* What row programs share. A row is computed by a group of `width / 8` (or / 4) threads, at most a warp, each with 8 (4)
 * neighbouring columns at a time. Sums along a row have 16 lanes: lane j adds the columns j, j + 16, .. in order, and
 * then a fixed tree adds the lanes. The group lays a tile of columns in shared memory, and its threads add the lanes from
 * there: so the bits are those of one thread that goes through the columns. */
typedef struct rows_arg {
    void *base;
    i64 stride;       /* elements */
    const int *index; /* of gathered rows */
} rows_arg;
typedef struct rows_head {
    const step_state *state;
    float *scratch; /* kept rows, where shared memory has no room for them */
    i64 tokens;     /* of a micro-step; 0 where rows are no tokens */
    int rows;       /* of the space */
    int wide;       /* every row begins at a multiple of 16 bytes */
} rows_head;

DEVICE float choose_max(float x, float most) { return x > most ? x : most; }

/* The number, in the whole batch, of row 0 of this space: a space with fewer rows than tokens counts its own. */
DEVICE i64 row_in_batch(const rows_head *h) {
    if (h->tokens == 0) return 0;
    const i64 first = h->state->first_row;
    return first / h->tokens * h->rows + first % h->tokens * h->rows / h->tokens;
}

/* Where a column lies in a tile: its neighbours of 16 bytes are swapped in every second 32 columns, so that threads which store 8
 * columns each, 16 bytes at a time, reach all banks. Of the first 16 columns each lies in its own place. */
DEVICE int place_of(int column) { return column ^ (column >> 3 & 4); }
/* The thread's n columns into the group's tile; what is not the caller's becomes `none`. */
DEVICE void put_tile(float *tile, const float *x, const int n, int lane, int from, int to, float none) {
    UNROLL for (int i = 0; i < n; i += 4) {
        unsigned w[4];
        UNROLL for (int j = 0; j < 4; j++) w[j] = BITS_OF(i + j >= from && i + j < to ? x[i + j] : none);
        const quad q = {w[0], w[1], w[2], w[3]};
        STORE_QUAD(tile + place_of(lane * n + i), q);
    }
}
/* Thread `lane` of `threads` has the lanes lane, lane + threads, .. of 16; the tile has `size` columns. */
DEVICE void add_lanes(float *sum, const float *tile, const int size, int lane, const int threads) {
    UNROLL for (int j = 0; j < 16 / threads + (threads > 16); j++)
        if (lane + j * threads < 16) {
            for (int at = 0; at < size; at += 16) sum[j] = sum[j] + tile[place_of(at + lane + j * threads)];
        }
}
DEVICE void most_of_lanes(float *most, const float *tile, const int size, int lane, const int threads) {
    UNROLL for (int j = 0; j < 16 / threads + (threads > 16); j++)
        if (lane + j * threads < 16) {
            for (int at = 0; at < size; at += 16) most[j] = choose_max(tile[place_of(at + lane + j * threads)], most[j]);
        }
}
DEVICE void put_lanes(float *tile, const float *x, int lane, const int threads) {
    UNROLL for (int j = 0; j < 16 / threads + (threads > 16); j++)
        if (lane + j * threads < 16) tile[lane + j * threads] = x[j];
}
/* 8 apart, then 4, 2, 1. */
DEVICE float tree_sum(const float *lanes) {
    float x[16];
    UNROLL for (int j = 0; j < 16; j++) x[j] = lanes[j];
    UNROLL for (int n = 8; n > 0; n /= 2) {
        UNROLL for (int j = 0; j < n; j++) x[j] = x[j] + x[j + n];
    }
    return x[0];
}
DEVICE float tree_max(const float *lanes) {
    float x[16];
    UNROLL for (int j = 0; j < 16; j++) x[j] = lanes[j];
    UNROLL for (int n = 8; n > 0; n /= 2) {
        UNROLL for (int j = 0; j < n; j++) x[j] = choose_max(x[j + n], x[j]);
    }
    return x[0];
}

/* Adds `count` tiles' rows, `stride` apart in shared memory, to a row of partial sums, in their order. A column belongs to one
 * thread of the block, always the same. The columns from .. to - 1 of `size` are meant. */
DEVICE void add_rows(float *out, const float *rows, const int size, int stride, int count, int from, int to, int fresh) {
    for (int c = THREAD; c < size; c += THREADS)
        if (c >= from && c < to) {
            float sum = fresh ? 0.0f : out[c];
            for (int k = 0; k < count; k++) sum = sum + rows[k * stride + place_of(c)];
            out[c] = sum;
        }
}
