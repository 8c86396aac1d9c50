/* What of a warp's tensor instructions and asynchronous copies is used (sm_80 and up), and shuffles. The host's stand-ins
 * (tests/cuda/tensor.h) are checked against plain products there, and on a device against these. */
#ifndef CTL_ON_HOST
#define SHUFFLE_XOR(x, lanes) __shfl_xor_sync(0xffffffffu, (x), (lanes))
DEVICE float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
/* c[4] += a b: a is 16 x 16, b 16 x 8, c 16 x 8. Lane 4 g + t has of a rows g and g + 8, columns 2 t, 2 t + 1 (a[0], a[1])
 * and 8 more (a[2], a[3]); of b column g, rows 2 t, 2 t + 1 (b[0]) and 8 more (b[1]); of c rows g (c[0], c[1]) and g + 8
 * (c[2], c[3]), columns 2 t and 2 t + 1. */
DEVICE void mma_bf16(float *c, const unsigned *a, const unsigned *b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/* Four 8 x 8 matrices of 16-bit elements; lane 8 m + i names row i of matrix m; lane 4 g + t gets of each matrix the elements
 * 2 t and 2 t + 1 of row g (turned: of column g). */
DEVICE void matrices(unsigned *r, const bf16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row))
                 : "memory");
}
DEVICE void matrices_turned(unsigned *r, const bf16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row))
                 : "memory");
}
/* 16 bytes to shared memory, of which `bytes` are read and the others 0. */
DEVICE void copy_async(bf16 *to, const bf16 *from, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"((unsigned)__cvta_generic_to_shared(to)), "l"(from), "r"(bytes)
                 : "memory");
}
DEVICE void copy_commit(void) { asm volatile("cp.async.commit_group;" ::: "memory"); }
/* Until all but the last n committed groups of this thread have landed. */
#define COPY_WAIT(n) asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")
#endif
