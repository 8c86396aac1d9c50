/* What the kernels of attention in bf16 on tensor cores share. Each is a source of its own, so that they compile side by side:
 * attend_forward.cu, and a backward without atomics, attend_queries.cu and attend_keys.cu, each element written by one warp.
 *
 * A block has four warps of 16 rows. Rows lie in shared memory as DIMS (HEAD rounded up to 16) elements and 8 more, so that
 * the eight rows of a small matrix lie in different banks. HEAD is a multiple of 8, rows begin at multiples of 16 bytes.
 * KEYS and QUERIES are rows of the tiles that come one after the other; the source defines them. */
#define DIMS ((HEAD + 15) / 16 * 16)
#define ROW (DIMS + 8)
#define STEPS (DIMS / 16)
#define OWN 64 /* rows of a block: 16 a warp */
#define LOG2E 1.4426950408889634f

/* Rows first .. first + count - 1 of a head into shared memory; zeros where there are none. */
DEVICE void copy_tile(bf16 *tile, const void *from, i64 stride, int column, int first, const int count, int rows) {
    for (int i = THREAD; i < count * (DIMS / 8); i += THREADS) {
        const int r = i / (DIMS / 8), c = i % (DIMS / 8) * 8, there = first + r < rows && c < HEAD;
        copy_async(tile + r * ROW + c, (const bf16 *)from + (there ? (first + r) * stride + column + c : 0), there ? 16 : 0);
    }
}

/* Operands of a product from a tile of rows: 16 rows by 16 dimensions as its left side; 16 rows as columns of its right
 * side; 16 rows by 16 dimensions as its right side. */
DEVICE void left_of(unsigned *a, const bf16 *tile, int row, int dim, int lane) {
    matrices(a, tile + (row + lane % 16) * ROW + dim + lane / 16 * 8);
}
DEVICE void columns_of(unsigned *b, const bf16 *tile, int row, int dim, int lane) {
    matrices(b, tile + (row + lane % 8 + lane / 16 * 8) * ROW + dim + lane / 8 % 2 * 8);
}
DEVICE void right_of(unsigned *b, const bf16 *tile, int row, int dim, int lane) {
    matrices_turned(b, tile + (row + lane % 16) * ROW + dim + lane / 16 * 8);
}
/* 16 columns of a product's result as the left side of the next. */
DEVICE void again_left(unsigned *a, const float (*s)[4]) {
    a[0] = ROUND_PAIR(s[0][0], s[0][1]), a[1] = ROUND_PAIR(s[0][2], s[0][3]);
    a[2] = ROUND_PAIR(s[1][0], s[1][1]), a[3] = ROUND_PAIR(s[1][2], s[1][3]);
}
DEVICE void clear(float (*s)[4], const int n) {
    UNROLL for (int j = 0; j < n; j++) s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0.0f;
}
/* s = left rows (16 of the tile `a`, from row `row`) times the `count` rows of the tile `b`. */
DEVICE void scores(float (*s)[4], const bf16 *a, int row, const bf16 *b, const int count, int lane) {
    clear(s, count / 8);
    UNROLL for (int k = 0; k < STEPS; k++) {
        unsigned left[4];
        left_of(left, a, row, k * 16, lane);
        UNROLL for (int n = 0; n < count / 16; n++) {
            unsigned right[4];
            columns_of(right, b, n * 16, k * 16, lane);
            mma_bf16(s[2 * n], left, right);
            mma_bf16(s[2 * n + 1], left, right + 2);
        }
    }
}
/* o += s times the `count` rows of the tile. */
DEVICE void add_product(float (*o)[4], const float (*s)[4], const bf16 *tile, const int count, int lane) {
    UNROLL for (int k = 0; k < count / 16; k++) {
        unsigned left[4];
        again_left(left, s + 2 * k);
        UNROLL for (int n = 0; n < STEPS; n++) {
            unsigned right[4];
            right_of(right, tile, k * 16, n * 16, lane);
            mma_bf16(o[2 * n], left, right);
            mma_bf16(o[2 * n + 1], left, right + 2);
        }
    }
}
/* A warp's 16 rows of a result, times `factor[0 or 1]` for its upper and lower rows. In bf16 neighbouring threads exchange pairs of two
 * small matrices, so that four of them write the 32 bytes of a row's 16 columns, 8 each, where the rows are aligned to that. */
DEVICE void put_rows(const float (*o)[4], const float *factor, void *to, int is_bf16, i64 stride, int column, int first,
                     int rows, int lane) {
    const int wide = is_bf16 && (u64)to % 8 == 0 && stride % 4 == 0, odd = lane % 2;
    UNROLL for (int i = 0; i < 2; i++) {
        const int t = first + lane / 4 + 8 * i;
        const i64 at = t * stride + column;
        if (wide) {
            UNROLL for (int n = 0; n < DIMS / 8; n += 2) {
                const unsigned left = ROUND_PAIR(o[n][2 * i] * factor[i], o[n][2 * i + 1] * factor[i]);
                const unsigned right = ROUND_PAIR(o[n + 1][2 * i] * factor[i], o[n + 1][2 * i + 1] * factor[i]);
                const unsigned other = BITS_OF(SHUFFLE_XOR(REAL_OF(odd ? left : right), 1));
                const int c = n * 8 + lane % 4 / 2 * 4 + odd * 8;
                if (t < rows && c < HEAD)
                    *(u64 *)((bf16 *)to + at + c) = odd ? other | (u64)right << 32 : left | (u64)other << 32;
            }
        } else {
            UNROLL for (int n = 0; n < DIMS / 8; n++) {
                const int c = n * 8 + lane % 4 * 2;
                if (t >= rows || c >= HEAD) continue;
                put_real(to, is_bf16, at + c, o[n][2 * i] * factor[i]);
                put_real(to, is_bf16, at + c + 1, o[n][2 * i + 1] * factor[i]);
            }
        }
    }
}
