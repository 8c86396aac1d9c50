/* Every allocation of ours fails once: for each n, a small compile and training step is run with the n-th allocation
 * refused. Each run must end with CTL_ERR_MEMORY, or well, and give everything back that it took. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "ctl/ctlc.h"

typedef struct meter {
    long count, fail_at;
    size_t live, blocks;
    int bad_sizes; /* a block given back with another size than it was taken with */
} meter;

typedef struct block { /* before every block */
    size_t size, pad;
} block;

static void *metered(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    meter *m = ctx;
    block *b = ptr ? (block *)ptr - 1 : NULL;
    if (b && b->size != old_size) m->bad_sizes++;
    if (new_size == 0) {
        if (b) m->live -= b->size, m->blocks--;
        free(b);
        return NULL;
    }
    if (++m->count == m->fail_at) return NULL;
    size_t before = b ? b->size : 0;
    block *moved = realloc(b, sizeof *moved + new_size);
    if (!moved) return NULL;
    if (!b) m->blocks++;
    m->live += new_size - before;
    moved->size = new_size;
    return moved + 1;
}

static const char spec[] = "import llama, tuning\n"
                           "model m = llama.causal_lm(; vocab = 40, dim = 16, depth = 1, heads = 2, kv_heads = 1, ffn = 24, theta = 100.0)\n"
                           "tune m with tuning.double(rank = 2), tuning.lora_qkv(rank = 2) {\n    tokens 2 x 8\n    adamw(; lr = 1e-3, clip = 1.0)\n}\n";

static ctl_status one_step(const ctl_allocator *a, ctlc_engine engine, ctl_dtype compute) {
    ctlc_options options = {.allocator = a, .engine = engine, .compute = compute, .threads = 2};
    ctl_program *program = NULL;
    ctl_session *s = NULL;
    ctl_status status = ctlc_compile_text("spec", spec, strlen(spec), &options, &program);
    ctl_session_options so = {.allocator = a, .seed = 1};
    if (status == CTL_OK) status = ctl_session_open(program, &so, &s);
    if (status == CTL_OK) status = ctl_session_load(s);
    int32_t ids[16], position[16], length[16];
    for (int k = 0; k < 16; k++) ids[k] = k, position[k] = k % 8, length[k] = 8;
    if (status == CTL_OK) status = ctl_session_input(s, "ids", CTL_I32, ids, 16);
    if (status == CTL_OK) status = ctl_session_input(s, "labels", CTL_I32, ids, 16);
    if (status == CTL_OK) status = ctl_session_input(s, "position", CTL_I32, position, 16);
    if (status == CTL_OK && ctl_session_has_input(s, "length", NULL, NULL)) status = ctl_session_input(s, "length", CTL_I32, length, 16);
    if (status == CTL_OK) {
        ctl_session_set_step(s, 1, 0, 1.0 / 16);
        ctl_session_zero_gradients(s);
        status = ctl_session_forward(s);
    }
    if (status == CTL_OK) status = ctl_session_backward(s);
    ctl_optimizer_step o = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1, .step = 1};
    double norm;
    if (status == CTL_OK) status = ctl_session_optimize(s, &o, &norm);
    ctl_session_close(s);
    ctl_program_free(program);
    return status;
}

static void every_allocation(ctlc_engine engine, ctl_dtype compute) {
    meter m = {0};
    ctl_allocator a = {&m, metered};
    assert_int_equal(one_step(&a, engine, compute), CTL_OK);
    assert_int_equal(m.live, 0);
    assert_int_equal(m.bad_sizes, 0);
    long n = m.count;
    assert_true(n > 20);
    for (long k = 1; k <= n; k++) {
        meter failing = {.fail_at = k};
        ctl_allocator f = {&failing, metered};
        ctl_status status = one_step(&f, engine, compute);
        if (status != CTL_ERR_MEMORY || failing.live || failing.blocks || failing.bad_sizes)
            fail_msg("allocation %ld of %ld refused: status %s, %zu bytes in %zu blocks kept, %d wrong sizes", k, n,
                     ctl_status_name(status), failing.live, failing.blocks, failing.bad_sizes);
    }
}

static void test_reference(void **state) {
    (void)state;
    every_allocation(CTLC_REFERENCE, CTL_F64);
}

#ifdef CTL_HAVE_CPU
static void test_cpu(void **state) {
    (void)state;
    every_allocation(CTLC_CPU, CTL_BF16);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
#ifdef CTL_HAVE_CPU
        cmocka_unit_test(test_cpu),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
