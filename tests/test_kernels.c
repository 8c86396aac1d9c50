/* The pool of compiled kernels: what programs share, for how long it lives, and what happens when there is no memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/emit/pool.h"
#include "tests/arena_fixture.h"
#include "tests/meter.h"

/* ---- the table itself, with code that is only counted ---- */
enum { KERNELS = 40 }; /* more than the table begins with */

static void nothing(const ctl_rows_call *call, int64_t begin, int64_t end) { (void)call, (void)begin, (void)end; }
static void count_release(void *released) { ++*(int *)released; }

typedef struct table {
    ctl_text keys[KERNELS];
    ctl_rows_kernel kernels[KERNELS], found[KERNELS];
    size_t missing[KERNELS];
} table;

static table *make_table(ctl_arena *arena) {
    table *t = CTL_NEW(arena, table);
    for (size_t k = 0; k < KERNELS; k++) {
        t->keys[k].arena = arena;
        ctl_text_put(&t->keys[k], (const char *)&k, sizeof k);
        t->kernels[k] = (ctl_rows_kernel){.name = "own", .run = nothing, .scratch_bytes = 64 * k, .sums_columns = k % 2};
        t->found[k].name = "theirs";
        t->missing[k] = k;
    }
    return t;
}

static void what_is_added_is_found(void **state) {
    table *t = make_table(&((fixture *)*state)->arena);
    ctlc_kernels *pool;
    int released[2] = {0};
    assert_int_equal(ctlc_kernels_open(NULL, &pool), CTL_OK);
    assert_int_equal(ctlc_kernels_count(pool), 0);
    assert_int_equal(ctl_pool_find(pool, t->keys, KERNELS, t->found, t->missing), KERNELS);
    assert_int_equal(t->missing[KERNELS - 1], KERNELS - 1);
    const size_t odd[3] = {7, 1, 30};
    assert_int_equal(ctl_pool_add(pool, t->keys, odd, 3, t->kernels, count_release, &released[0]), CTL_OK);
    assert_int_equal(ctlc_kernels_count(pool), 3);
    assert_int_equal(ctl_pool_find(pool, t->keys, KERNELS, t->found, t->missing), KERNELS - 3);
    for (size_t k = 0; k < KERNELS; k++) {
        const bool there = k == 7 || k == 1 || k == 30;
        assert_true((t->found[k].run == nothing) == there);
        assert_int_equal(t->found[k].scratch_bytes, there ? 64 * k : 0);
        assert_int_equal(t->found[k].sums_columns, there && k % 2);
        assert_string_equal(t->found[k].name, "theirs");
    }
    /* Another thread may have compiled the same one meanwhile: the first stays, both pieces of code live. */
    assert_int_equal(ctl_pool_add(pool, t->keys, odd, 1, t->kernels, count_release, &released[1]), CTL_OK);
    assert_int_equal(ctlc_kernels_count(pool), 3);
    ctl_pool_hold(pool); /* a program */
    ctlc_kernels_close(pool);
    assert_int_equal(released[0] + released[1], 0);
    ctl_pool_drop(pool);
    assert_int_equal(released[0], 1);
    assert_int_equal(released[1], 1);
    ctlc_kernels_close(NULL);
}

static void without_memory(void **state) {
    table *t = make_table(&((fixture *)*state)->arena);
    size_t complete = 0, refused = 0;
    for (size_t granted = 0; !complete; granted++) {
        assert_true(granted < 100);
        meter m = {.left = granted};
        ctl_allocator a = {&m, meter_resize};
        ctlc_kernels *pool;
        int released = 0, taken = 0;
        if (ctlc_kernels_open(&a, &pool) != CTL_OK) {
            assert_null(pool);
            continue;
        }
        for (size_t k = 0; k < KERNELS; k++) { /* each with code of its own */
            const size_t before = ctlc_kernels_count(pool);
            ctl_status status = ctl_pool_add(pool, t->keys, &k, 1, t->kernels, count_release, &released);
            if (status != CTL_OK) assert_int_equal(status, CTL_ERR_MEMORY);
            taken += status == CTL_OK, refused += status != CTL_OK;
            assert_true(ctlc_kernels_count(pool) - before <= (status == CTL_OK)); /* nothing is known whose code was refused */
        }
        memset(t->found, 0, sizeof t->found);
        const size_t known = ctlc_kernels_count(pool);
        assert_int_equal(ctl_pool_find(pool, t->keys, KERNELS, t->found, t->missing), KERNELS - known);
        for (size_t k = 0; k < KERNELS; k++)
            if (t->found[k].run) assert_int_equal(t->found[k].scratch_bytes, 64 * k);
        complete = known == KERNELS;
        ctlc_kernels_close(pool);
        assert_int_equal(released, taken);
        assert_int_equal(m.held, 0);
    }
    assert_true(refused > 0);
}

/* ---- programs ---- */
#ifdef CTL_HAVE_CPU
enum { LENGTH = 16, MOST_SEQUENCES = 4 };

static const char spec[] = "import llama, tuning\n"
                           "model m = llama.causal_lm(; vocab = 40, dim = 16, depth = 1, heads = 2, kv_heads = 1, ffn = 24, theta = 100.0)\n"
                           "tune m with tuning.double(rank = 2), tuning.lora_qkv(rank = 2, p = 0.1) {\n    tokens 2 x 16\n}\n";

static ctl_program *compile(ctlc_kernels *kernels, const char *tokens, ctl_dtype compute) {
    const char *set[] = {tokens};
    ctlc_options options = {.compute = compute, .threads = 2, .set = set, .nset = 1, .kernels = kernels};
    ctl_program *program = NULL;
    assert_int_equal(ctlc_compile_text("spec", spec, strlen(spec), &options, &program), CTL_OK);
    return program;
}

/* A step's gradients, malloc'ed. */
static float *gradients_of(const ctl_program *program, int sequences, size_t *n) {
    const size_t rows = (size_t)(sequences * LENGTH);
    int32_t ids[MOST_SEQUENCES * LENGTH], position[MOST_SEQUENCES * LENGTH], length[MOST_SEQUENCES * LENGTH];
    for (size_t k = 0; k < rows; k++) ids[k] = (int32_t)(k * 7 % 40), position[k] = (int32_t)(k % LENGTH), length[k] = LENGTH;
    ctl_session_options so = {.seed = 3};
    ctl_session *s;
    assert_int_equal(ctl_session_open(program, &so, &s), CTL_OK);
    assert_int_equal(ctl_session_load(s), CTL_OK);
    assert_int_equal(ctl_session_input(s, "ids", CTL_I32, ids, rows), CTL_OK);
    assert_int_equal(ctl_session_input(s, "labels", CTL_I32, ids, rows), CTL_OK);
    assert_int_equal(ctl_session_input(s, "position", CTL_I32, position, rows), CTL_OK);
    if (ctl_session_has_input(s, "length", NULL, NULL))
        assert_int_equal(ctl_session_input(s, "length", CTL_I32, length, rows), CTL_OK);
    ctl_session_zero_gradients(s);
    ctl_session_set_step(s, 1, 0, 1.0 / (double)rows);
    assert_int_equal(ctl_session_forward(s), CTL_OK);
    assert_int_equal(ctl_session_backward(s), CTL_OK);
    ctl_flat flat = ctl_session_flat(s);
    float *copy = malloc(flat.count * sizeof *copy);
    memcpy(copy, flat.gradients, flat.count * sizeof *copy);
    *n = flat.count;
    ctl_session_close(s);
    return copy;
}

static void same_step(const ctl_program *shared, const ctl_program *alone, int sequences) {
    size_t n, m, differ = 0, other_than_zero = 0;
    float *a = gradients_of(shared, sequences, &n), *b = gradients_of(alone, sequences, &m);
    assert_int_equal(n, m);
    for (size_t k = 0; k < n; k++) differ += memcmp(&a[k], &b[k], sizeof *a) != 0, other_than_zero += a[k] != 0;
    assert_int_equal(differ, 0);
    assert_true(other_than_zero > 0);
    free(a), free(b);
}

static void programs_share(void **state) {
    (void)state;
    ctlc_kernels *kernels;
    assert_int_equal(ctlc_kernels_open(NULL, &kernels), CTL_OK);
    ctl_program *first = compile(kernels, "tokens=2x16", CTL_BF16);
    const size_t n = ctlc_kernels_count(kernels);
    assert_true(n > 5);
    ctl_program *again = compile(kernels, "tokens=2x16", CTL_BF16), *longer = compile(kernels, "tokens=4x16", CTL_BF16);
    assert_int_equal(ctlc_kernels_count(kernels), n); /* no kernel knows how many rows there are */
    ctl_program *f32 = compile(kernels, "tokens=2x16", CTL_F32);
    assert_true(ctlc_kernels_count(kernels) > n);
    ctlc_kernels_close(kernels); /* programs live on, and some die before others */
    ctl_program_free(first);
    ctl_program *alone = compile(NULL, "tokens=2x16", CTL_BF16), *longer_alone = compile(NULL, "tokens=4x16", CTL_BF16);
    ctl_program *f32_alone = compile(NULL, "tokens=2x16", CTL_F32);
    same_step(again, alone, 2);
    same_step(longer, longer_alone, 4);
    same_step(f32, f32_alone, 2);
    ctl_program *all[] = {again, longer, f32, alone, longer_alone, f32_alone};
    for (size_t k = 0; k < CTL_COUNT(all); k++) ctl_program_free(all[k]);
}

static void *compile_all(void *kernels) {
    for (int k = 0; k < 3; k++) {
        ctl_program *p = compile(kernels, k == 1 ? "tokens=4x16" : "tokens=2x16", k == 2 ? CTL_F32 : CTL_BF16);
        size_t n;
        free(gradients_of(p, k == 1 ? 4 : 2, &n));
        ctl_program_free(p);
    }
    return NULL;
}

static void threads_share(void **state) {
    (void)state;
    enum { THREADS = 3 };
    ctlc_kernels *kernels, *one;
    pthread_t threads[THREADS];
    assert_int_equal(ctlc_kernels_open(NULL, &one), CTL_OK);
    compile_all(one);
    assert_int_equal(ctlc_kernels_open(NULL, &kernels), CTL_OK);
    for (int k = 0; k < THREADS; k++) assert_int_equal(pthread_create(&threads[k], NULL, compile_all, kernels), 0);
    for (int k = 0; k < THREADS; k++) pthread_join(threads[k], NULL);
    assert_int_equal(ctlc_kernels_count(kernels), ctlc_kernels_count(one));
    ctlc_kernels_close(kernels);
    ctlc_kernels_close(one);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_added_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(without_memory, setup, teardown),
#ifdef CTL_HAVE_CPU
        cmocka_unit_test(programs_share),
        cmocka_unit_test(threads_share),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
