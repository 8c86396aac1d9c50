/* The CUDA engine on the stand-ins: networks of every family against the reference executor in f64; training, with dropout and
 * several micro-steps, beside the CPU engine; gradients in the least memory to the bits of those in the most; checkpoints. */
#include "tests/cuda_engine.h"

#include "runtime/checkpoint.h"
#include "runtime/cuda/cuda.h"
#include "runtime/session.h"
#include "tests/folder.h"

/* Windows and first values that are computed; computed ids, biases and classes; images; matrices over the rows of sequences. */
static const struct {
    const char *name, *set;
    ctl_dtype compute;
} families[] = {{"mistral", "tokens=1x16", CTL_BF16}, {"roberta", "tokens=2x16", CTL_BF16}, {"vit", NULL, CTL_F32},
                {"mixing", NULL, CTL_F32}, {"mixing", NULL, CTL_BF16}};

static void compare(network *cuda, network *exact, const char *name, double tolerance) {
    const double got = cuda_step(cuda, 1, 1, false), want = cuda_step(exact, 1, 1, false);
    if (!(fabs(got - want) <= tolerance * (1 + fabs(want)))) fail_msg("%s: the loss is %.9g, not %.9g", name, got, want);
    const double distance = cuda_distance(cuda, exact, CTL_FLAT_GRADIENTS);
    if (!(distance <= 10 * tolerance)) fail_msg("%s: gradients are off by %.3g", name, distance);
    double evaluated = NAN, wanted = NAN;
    assert_int_equal(ctl_session_evaluate(cuda->session), CTL_OK);
    assert_int_equal(ctl_session_output(cuda->session, "loss", true, &evaluated, 1), CTL_OK);
    assert_int_equal(ctl_session_evaluate(exact->session), CTL_OK);
    assert_int_equal(ctl_session_output(exact->session, "loss", true, &wanted, 1), CTL_OK);
    if (!(fabs(evaluated - wanted) <= tolerance * (1 + fabs(wanted)))) fail_msg("%s: evaluated %.9g, not %.9g", name, evaluated, wanted);
}

static void test_families(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof families / sizeof *families; k++) {
        cuda_wanted w = {.path = SOURCE_DIR "/examples/families.ctl", .tune = families[k].name, .set = families[k].set,
                         .engine = CTLC_CUDA, .compute = families[k].compute};
        network cuda, exact;
        cuda_open(&cuda, &w);
        w.engine = CTLC_REFERENCE, w.compute = CTL_F64;
        cuda_open(&exact, &w);
        compare(&cuda, &exact, families[k].name, families[k].compute == CTL_BF16 ? 2e-2 : 1e-5);
        cuda_close(&cuda), cuda_close(&exact);
    }
}

/* ---- along sequences ---- */
/* A matrix and its transpose, in the forward and in the backward pass; micro-steps add to one gradient. */
static const char blend[] = "net blend(x: d, label: id per sequence; d, n) -> logits, loss {\n"
                            "    weight m : [n, n] init normal(0.3)\n"
                            "    weight u : [n, 2] init normal(0.3)\n"
                            "    weight v : [2, n] init normal(0.3)\n"
                            "    y <- tanh(mix(m, inner: linear(x; n = d)))\n"
                            "    z <- mix(u @ v, y)\n"
                            "    logits <- head: linear(first(z); n = 3)\n"
                            "    loss <- cross_entropy(logits, label)\n"
                            "}\n"
                            "control all() on blend { train **\n }\n"
                            "model m = blend(; d = %d, n = %d)\n"
                            "tune m with all() { tokens 3 x %d\n }\n";

/* Micro-steps on the same inputs, documents of up to `length` rows; their gradients are added. */
static double gradients_of(network *n, int64_t length, int micro) {
    double loss = 0;
    ctl_session_zero_gradients(n->session);
    for (int k = 0; k < micro; k++) {
        double part = NAN;
        network_inputs(n, length);
        assert_int_equal(ctl_session_forward(n->session), CTL_OK);
        assert_int_equal(ctl_session_output(n->session, "loss", false, &part, 1), CTL_OK);
        assert_int_equal(ctl_session_backward(n->session), CTL_OK);
        loss += part;
    }
    return loss;
}

/* The products of a forward and a backward run: a task is one, but for the head's and a gradient of many rows. */
static long products_of(const ctl_program *p, int kinds[2]) {
    long n = 0;
    for (int e = RUN_FORWARD; e <= RUN_BACKWARD; e++)
        for (size_t i = 0; i < p->run[e].n; i++) {
            const ctl_task *t = &p->run[e].at[i];
            const bool grad = t->kind == TASK_MIX_GRAD, mix = t->kind == TASK_MIX || grad;
            if (mix) kinds[grad]++;
            if (mix || t->kind == TASK_MATMUL) n += grad && t->sequence > 1000 ? 2 : 1;
            if (t->kind == TASK_HEAD) n += 1 + (t->operands[5].buffer != UINT32_MAX) + (t->operands[6].buffer != UINT32_MAX);
        }
    return n;
}

/* The products of a gradient of 1200 rows are 5.5 MiB each, of at most 16 at once: the third is made and added after the others.
 * All sequences else are one product. */
static void test_sequences(void **state) {
    (void)state;
    static const struct {
        int width, length, turns;
    } shapes[] = {{5, 4, 3}, {6, 7, 3}, {7, 33, 3}, {1, 1200, 1}}; /* launched, captured, replayed */
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
        for (int bf16 = 0; bf16 < 2 && (!bf16 || shapes[k].turns > 1); bf16++) {
            char text[2000];
            const int length = shapes[k].length;
            snprintf(text, sizeof text, blend, shapes[k].width, length, length);
            cuda_wanted w = {.text = text, .engine = CTLC_CUDA, .compute = bf16 ? CTL_BF16 : CTL_F32};
            const double tolerance = bf16 ? 2e-2 : length > 1000 ? 1e-4 : 2e-5;
            network cuda, exact;
            int kinds[2] = {0};
            cuda_open(&cuda, &w);
            w.engine = CTLC_REFERENCE, w.compute = CTL_F64;
            cuda_open(&exact, &w);
            const long products = products_of(cuda.program, kinds);
            assert_true(kinds[0] >= 3 && kinds[1] >= 2);
            for (int turn = 0; turn < shapes[k].turns; turn++) {
                const int micro = turn ? 2 : 1;
                float read;
                assert_int_equal(ctl_session_flat_read(cuda.session, CTL_FLAT_PARAMS, 0, 1, &read), CTL_OK); /* what was launched has run */
                const long before = cuda_control()->products;
                const double got = gradients_of(&cuda, length, micro), want = gradients_of(&exact, length, micro);
                if (!(fabs(got - want) <= tolerance * (1 + fabs(want))))
                    fail_msg("%d rows, turn %d: the loss is %.9g, not %.9g", length, turn, got, want);
                const double distance = cuda_distance(&cuda, &exact, CTL_FLAT_GRADIENTS);
                if (!(distance <= 10 * tolerance)) fail_msg("%d rows, turn %d: gradients are off by %.3g", length, turn, distance);
                assert_int_equal(cuda_control()->products - before, micro * products);
            }
            cuda_close(&cuda), cuda_close(&exact);
        }
    assert_string_equal(cuda_control()->fault, "");
    assert_int_equal(cuda_control()->live, 0);
}

/* ---- results of rows ---- */
/* A head in several chunks, and logits that are kept: each row's loss and class beside the exact ones. */
static void test_row_results(void **state) {
    (void)state;
    static const char *const tunes[] = {"mistral", "vit"};
    for (int k = 0; k < 2; k++) {
        cuda_wanted w = {.path = SOURCE_DIR "/examples/families.ctl", .tune = tunes[k], .set = k ? NULL : "tokens=2x16",
                         .engine = CTLC_CUDA, .compute = CTL_F32, .rows = true};
        double results[2][128] = {{0}};
        size_t n[2] = {0};
        for (int exact = 0; exact < 2; exact++) {
            network one;
            if (exact) w.engine = CTLC_REFERENCE, w.compute = CTL_F64;
            cuda_open(&one, &w);
            cuda_step(&one, 1, 1, false);
            assert_int_equal(ctl_session_evaluate(one.session), CTL_OK);
            for (size_t j = 0; j < one.program->noutputs; j++)
                if (strcmp(one.program->outputs[j].name, "row results") == 0)
                    n[exact] = (size_t)(2 * one.program->outputs[j].evaluate.rows);
            assert_true(n[exact] >= 4 && n[exact] <= 128);
            assert_int_equal(ctl_session_output(one.session, "row results", true, results[exact], n[exact]), CTL_OK);
            cuda_close(&one);
        }
        assert_int_equal(n[0], n[1]);
        for (size_t i = 0; i < n[0]; i++)
            if (!(fabs(results[0][i] - results[1][i]) <= (i % 2 ? 0 : 1e-4)))
                fail_msg("%s, row %zu: %s is %.9g, not %.9g", tunes[k], i / 2, i % 2 ? "the class" : "the loss", results[0][i], results[1][i]);
    }
}

/* ---- rows with gaps ---- */
/* Each row's loss and class, two numbers, begin 16 bytes apart: into the device's memory and back, whole and in part, converted and
 * not; the gaps stay as they were, and many rows are one copy. */
static void test_gaps(void **state) {
    (void)state;
    const cuda_wanted w = {.path = SOURCE_DIR "/examples/families.ctl", .tune = "mistral", .set = "tokens=2x16", .engine = CTLC_CUDA, .rows = true};
    enum { ROWS = 32, COLS = 2, N = ROWS * COLS, STRIDE = 4 };
    network n;
    const ctl_operand *value = NULL;
    cuda_open(&n, &w);
    for (size_t j = 0; j < n.program->noutputs; j++)
        if (strcmp(n.program->outputs[j].name, "row results") == 0) value = &n.program->outputs[j].evaluate;
    assert_true(value && value->dtype == CTL_F32 && value->rows == ROWS && value->cols == COLS && value->stride == STRIDE);
    float want[N], raw[N * 2 - 2];
    double got[N], wide[N];
    for (int k = 0; k < N; k++) want[k] = (float)unit(9, (uint32_t)k), wide[k] = (float)unit(11, (uint32_t)k);
    const long before = cuda_control()->row_copies;
    assert_int_equal(ctl_session_put(n.session, value, 0, N, CTL_F32, want), CTL_OK);
    assert_int_equal(cuda_control()->row_copies - before, 1);
    static const struct {
        int first, count, copies; /* copies of many rows */
    } parts[] = {{3, 8, 1}, {4, 2, 0}, {5, 1, 0}, {7, 2, 0}, {0, 64, 1}, {58, 6, 1}};
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
        const int first = parts[k].first, count = parts[k].count;
        long copies = cuda_control()->row_copies;
        assert_int_equal(ctl_session_put(n.session, value, (size_t)first, (size_t)count, CTL_F64, wide + first), CTL_OK);
        assert_int_equal(cuda_control()->row_copies - copies, parts[k].copies);
        for (int i = first; i < first + count; i++) want[i] = (float)wide[i], wide[i] = (float)(wide[i] / 3 + k);
        copies = cuda_control()->row_copies;
        assert_int_equal(ctl_session_get(n.session, value, (size_t)first, (size_t)count, CTL_F64, got), CTL_OK);
        assert_int_equal(cuda_control()->row_copies - copies, parts[k].copies);
        for (int i = 0; i < count; i++) assert_true(got[i] == want[first + i]);
    }
    float all[N];
    assert_int_equal(ctl_session_get(n.session, value, 0, N, CTL_F32, all), CTL_OK);
    assert_memory_equal(all, want, sizeof all);
    assert_int_equal(n.session->engine->read(n.session, value, 0, raw, sizeof raw, 1), CTL_OK);
    for (int k = 0; k < N * 2 - 2; k++) { /* what nobody has written is poisoned */
        uint32_t bits;
        memcpy(&bits, &raw[k], sizeof bits);
        if (k % STRIDE < COLS) assert_true(raw[k] == want[k / STRIDE * COLS + k % STRIDE]);
        else assert_int_equal(bits, UINT32_MAX);
    }
    cuda_close(&n);
    assert_string_equal(cuda_control()->fault, "");
}

/* ---- large values ---- */
/* Gives no more than `most` bytes at a time. */
static void *sparing(void *ctx, void *p, size_t old_size, size_t new_size) {
    const size_t *most = ctx;
    return new_size > *most ? NULL : ctl_malloc_allocator.resize(NULL, p, old_size, new_size);
}

/* A table of 12 MB in bf16 goes to the device and back in two copies, whatever it is converted from and to, and each is waited for once;
 * where the host has no memory for such pieces, in small ones, with the same bytes. What is converted is compared with numbers that
 * are exact in both types. The number of the frozen weights is the same, however much is read at once. */
static void test_large_values(void **state) {
    (void)state;
    static const char spec[] = "import nn\n"
                               "net one(ids: id, labels: id; d) -> loss {\n"
                               "    h <- table: embedding(ids; n = 100003, dim = d)\n"
                               "    loss <- cross_entropy(out: linear(h; n = 24), labels)\n}\n"
                               "model m = one(; d = 64)\ntune m {\n    tokens 1 x 16\n    compute bf16\n}\n";
    enum { N = 100003 * 64 };
    size_t most = SIZE_MAX;
    const ctl_allocator allocator = {&most, sparing};
    const ctl_session_options so = {.diagnostic = hear, .allocator = &allocator};
    const cuda_wanted w = {.text = spec, .engine = CTLC_CUDA};
    standin_control *c = cuda_control();
    ctl_program *program;
    ctl_session *s;
    float *from = malloc(N * sizeof *from), *to = malloc(N * sizeof *to);
    uint16_t *half = malloc(N * sizeof *half), *want = malloc(N * sizeof *want);
    assert_true(from && to && half && want);
    for (size_t k = 0; k < N; k++) { /* eight bits: exact in f16, bf16 and f32 */
        from[k] = (float)(k % 251) / 16;
        uint32_t bits;
        memcpy(&bits, &from[k], sizeof bits);
        want[k] = (uint16_t)(bits >> 16);
        assert_int_equal(bits & 0xffff, 0);
        half[k] = (uint16_t)(from[k] == 0 ? 0 : ((bits >> 23) - 127 + 15) << 10 | (bits >> 13 & 0x3ff));
    }
    assert_int_equal(cuda_compile(&w, &program), CTL_OK);
    assert_int_equal(ctl_session_open(program, &so, &s), CTL_OK);
    size_t table = 0;
    while (strcmp(program->params[table].name, "table.weight") != 0) table++;
    assert_int_equal(program->params[table].value.dtype, CTL_BF16);
    uint64_t hash = 0;
    for (int small = 0; small < 2; small++)
        for (int f16 = 0; f16 < 2; f16++) {
            const ctl_dtype dtype = f16 ? CTL_F16 : CTL_F32;
            const long least = small ? 2 * (long)N / CTL_STAGE_LEAST : 2, copies = c->copies, waits = c->waits;
            most = small ? 1 << 20 : SIZE_MAX;
            assert_int_equal(ctl_session_param_write(s, table, dtype, f16 ? (const void *)half : from), CTL_OK);
            assert_in_range(c->copies - copies, least, least + 1);
            assert_in_range(c->waits - waits, least, least + 1);
            memset(to, 0xff, N * sizeof *to);
            assert_int_equal(ctl_session_param_read(s, table, CTL_BF16, to), CTL_OK); /* as it is: one copy */
            assert_memory_equal(to, want, N * sizeof *want);
            const long before = c->copies;
            assert_int_equal(ctl_session_param_read(s, table, dtype, to), CTL_OK);
            assert_in_range(c->copies - before, least, least + 1);
            assert_memory_equal(to, f16 ? (const void *)half : from, N * ctl_dtype_size(dtype));
            if (f16) continue;
            assert_int_equal(ctl_session_load(s), CTL_OK);
            const uint64_t again = ctl_session_frozen_hash(s);
            assert_true(hash == 0 || hash == again);
            hash = again;
        }
    ctl_session_close(s);
    ctl_program_free(program);
    free(from), free(to), free(half), free(want);
    assert_string_equal(c->fault, "");
}

/* ---- first values ---- */
/* Made on the device, they are the host's: a constant, an identity matrix, uniform and normal numbers, in rows with gaps. */
static void test_first_values(void **state) {
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        cuda_wanted w = {.path = SOURCE_DIR "/examples/families.ctl", .tune = "vit", .engine = CTLC_CUDA,
                         .compute = bf16 ? CTL_BF16 : CTL_F32};
        ctl_program *programs[2];
        ctl_session *sessions[2];
        const ctl_session_options so = {.seed = 77, .diagnostic = hear};
        for (int k = 0; k < 2; k++) {
            w.engine = k ? CTLC_CPU : CTLC_CUDA;
            assert_int_equal(cuda_compile(&w, &programs[k]), CTL_OK);
            assert_int_equal(ctl_session_open(programs[k], &so, &sessions[k]), CTL_OK);
            assert_int_equal(ctl_session_load(sessions[k]), CTL_OK);
        }
        size_t drawn = 0;
        for (size_t p = 0; p < ctl_program_param_count(programs[0]); p++) {
            const ctl_tensor_info t = ctl_program_param_at(programs[0], p);
            const size_t n = (size_t)(t.rows * t.cols);
            float *got = calloc(n, sizeof *got), *want = calloc(n, sizeof *want);
            assert_int_equal(ctl_session_param_read(sessions[0], p, CTL_F32, got), CTL_OK);
            assert_int_equal(ctl_session_param_read(sessions[1], p, CTL_F32, want), CTL_OK);
            if (memcmp(got, want, n * sizeof *got)) fail_msg("%s has other first values", t.name);
            drawn += n > 2 && got[0] != got[1];
            free(got), free(want);
        }
        assert_true(drawn > 5);
        for (int k = 0; k < 2; k++) ctl_session_close(sessions[k]), ctl_program_free(programs[k]);
    }
}

/* ---- training ---- */
static const char spec[] = "import llama, tuning\n"
                           "model m = llama.causal_lm(; vocab = 40, dim = 32, depth = 2, heads = 4, kv_heads = 2, ffn = 136, "
                           "theta = 10000.0)\n"
                           "tune lora = m with tuning.lora_qkvud(rank = 4, p = 0.2) {\n    tokens 2 x 16\n}\n"
                           "tune wide = m with tuning.lora_qkvud(rank = 132) {\n    tokens 2 x 16\n}\n"
                           "tune double = m with tuning.double(rank = 4) {\n    tokens 2 x 16\n}\n"
                           "tune full = m with tuning.full() {\n    tokens 2 x 16\n}\n";

static void test_training(void **state) {
    (void)state;
    static const struct {
        const char *tune;
        ctl_dtype compute;
        double tolerance;
    } cases[] = {{"lora", CTL_BF16, 4e-2}, {"wide", CTL_BF16, 4e-2}, {"double", CTL_BF16, 4e-2}, {"full", CTL_F32, 2e-4}};
    int ways[PRODUCT_FINISH + 1] = {0}, twice = 0;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        cuda_wanted w = {.text = spec, .tune = cases[k].tune, .engine = CTLC_CUDA, .compute = cases[k].compute};
        const double tolerance = cases[k].tolerance;
        network cuda, cpu;
        cuda_open(&cuda, &w);
        for (int e = 0; e < RUN_COUNT; e++)
            for (size_t i = 0; i < cuda.program->run[e].n; i++)
                if (cuda.program->run[e].at[i].kind == TASK_MATMUL) {
                    ways[ctl_cuda_product_way_of(&cuda.program->run[e].at[i])]++;
                    twice += cuda.program->run[e].at[i].noperands > 5;
                }
        w.engine = CTLC_CPU;
        cuda_open(&cpu, &w);
        double first = 0, got = 0;
        for (int64_t step = 1; step <= 3; step++) { /* from the second step on all are graphs */
            got = cuda_step(&cuda, step, 2, true);
            const double want = cuda_step(&cpu, step, 2, true);
            if (step == 1) first = got;
            if (!(fabs(got - want) <= tolerance * want))
                fail_msg("%s, step %d: the loss is %.9g, not %.9g", w.tune, (int)step, got, want);
        }
        assert_true(got < first);
        assert_true(cuda_distance(&cuda, &cpu, CTL_FLAT_PARAMS) < tolerance);
        assert_true(cuda_distance(&cuda, &cpu, CTL_FLAT_MOMENT1) < 20 * tolerance);
        assert_true(cuda_distance(&cuda, &cpu, CTL_FLAT_MOMENT2) < 20 * tolerance);
        cuda_close(&cuda), cuda_close(&cpu);
    }
    assert_true(ways[PRODUCT_DIRECT] > 20 && ways[PRODUCT_NARROW] > 20 && twice > 4 && ways[PRODUCT_SPREAD] > 0 && ways[PRODUCT_FINISH] > 0);
    assert_true(cuda_control()->captures > 0 && cuda_control()->graph_launches > 10);
    assert_int_equal(cuda_control()->live, 0);
    assert_string_equal(cuda_control()->fault, "");
}

/* ---- the same bits under every budget ---- */
static void test_budgets(void **state) {
    (void)state;
    for (int split = 1; split <= 2; split++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            cuda_wanted w = {.text = spec, .tune = bf16 ? "lora" : "double", .engine = CTLC_CUDA,
                             .compute = bf16 ? CTL_BF16 : CTL_F32, .memory = CTLC_MEMORY_LEAST, .split = split};
            network least, most;
            cuda_open(&least, &w);
            w.memory = CTLC_MEMORY_MOST;
            cuda_open(&most, &w);
            assert_true(ctl_program_memory(least.program).step < ctl_program_memory(most.program).step);
            for (int step = 1; step <= 2; step++) {
                const double a = cuda_step(&least, step, split, step < 2), b = cuda_step(&most, step, split, step < 2);
                size_t n, m;
                double *g = cuda_flat(&least, CTL_FLAT_GRADIENTS, &n), *h = cuda_flat(&most, CTL_FLAT_GRADIENTS, &m);
                assert_int_equal(n, m);
                if (memcmp(&a, &b, sizeof a) || memcmp(g, h, n * sizeof *g))
                    fail_msg("step %d, %d parts: loss %.9g in least memory, %.9g in most, or other gradients", step, split, a, b);
                free(g), free(h);
            }
            cuda_close(&least), cuda_close(&most);
        }
}

/* ---- a run that goes on ---- */
static void test_resume(void **state) {
    (void)state;
    cuda_wanted w = {.text = spec, .tune = "lora", .engine = CTLC_CUDA, .compute = CTL_BF16};
    network one, other;
    bool found = false;
    char out[256];
    snprintf(out, sizeof out, "%s/run", folder);
    cuda_open(&one, &w);
    for (int step = 1; step <= 2; step++) cuda_step(&one, step, 1, true);
    ctl_checkpoint c = {.step = 2, .loop = NULL};
    assert_int_equal(ctl_checkpoint_save(one.session, out, &c), CTL_OK);
    cuda_open(&other, &w);
    ctl_checkpoint d;
    assert_int_equal(ctl_checkpoint_load(other.session, out, &d, &found), CTL_OK);
    assert_true(found && d.step == 2);
    ctl_checkpoint_free(other.session, &d);
    for (int step = 3; step <= 5; step++) {
        const double a = cuda_step(&one, step, 1, true), b = cuda_step(&other, step, 1, true);
        assert_true(memcmp(&a, &b, sizeof a) == 0);
    }
    assert_true(cuda_distance(&one, &other, CTL_FLAT_PARAMS) == 0);
    assert_true(cuda_distance(&one, &other, CTL_FLAT_MOMENT2) == 0);
    assert_int_equal(ctl_session_frozen_hash(one.session), ctl_session_frozen_hash(other.session));
    cuda_close(&one), cuda_close(&other);
    assert_int_equal(cuda_control()->live, 0);
}

/* ---- orders of threads, times when copies land ---- */
/* What went before launched each of attention's kernels that copy asynchronously in every way. */
static void test_every_way(void **state) {
    (void)state;
    for (int k = 0; k < 3; k++) assert_int_equal(cuda_control()->attended[k], (1u << STANDIN_WAYS) - 1);
}

static int begin(void **state) {
    cuda_control(); /* loaded once, and kept */
    return make_folder(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_training), cmocka_unit_test(test_budgets),
                                       cmocka_unit_test(test_resume), cmocka_unit_test(test_families), cmocka_unit_test(test_sequences),
                                       cmocka_unit_test(test_row_results), cmocka_unit_test(test_gaps),
                                       cmocka_unit_test(test_large_values), cmocka_unit_test(test_first_values), cmocka_unit_test(test_every_way)};
    return cmocka_run_group_tests(tests, begin, remove_folder);
}
