/* Sessions: conversions, the order of calls, inputs, first values, the optimizer; over a fake engine. */
#include "fake_engine.h"

#include <math.h>

#include "base/dtype.h"

static uint32_t next_random(uint32_t *state) {
    return *state = *state * 1664525u + 1013904223u;
}

#define assert_close(a, b, tol) assert_true(fabs((double)(a) - (double)(b)) <= (tol))

/* ---- conversions ---- */
static double f16_value(uint16_t h) { /* by the definition of the format */
    int e = h >> 10 & 31, m = h & 1023;
    double v = e == 0 ? ldexp(m, -24) : ldexp(1024 + m, e - 25);
    return h >> 15 ? -v : v;
}

static void f16_is_nearest_even(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        uint16_t in = (uint16_t)h, back;
        float f;
        double d;
        ctl_convert(CTL_F32, &f, CTL_F16, &in, 1);
        ctl_convert(CTL_F64, &d, CTL_F16, &in, 1);
        uint16_t direct, through;
        ctl_convert(CTL_BF16, &direct, CTL_F16, &in, 1);
        ctl_convert(CTL_BF16, &through, CTL_F64, &d, 1);
        assert_int_equal(direct, through);
        if ((h & 0x7fff) > 0x7c00) {
            const float quiet = (float)d;
            assert_true(isnan(f) && isnan(d));
            assert_memory_equal(&f, &quiet, sizeof f);
            continue;
        }
        if ((h & 0x7fff) == 0x7c00)
            assert_true(isinf(f));
        else
            assert_true(f == f16_value(in) && d == f16_value(in));
        ctl_convert(CTL_F16, &back, CTL_F64, &d, 1);
        assert_int_equal(back, in);
    }
    /* Halfway between neighbours: to the even one; a hair beside it: to the nearer, even if f32 could not
     * tell. */
    for (uint16_t h = 0; h < 0x7bff; h++) {
        double middle = (f16_value(h) + f16_value((uint16_t)(h + 1))) / 2;
        double at[3] = {nextafter(middle, 0), middle, nextafter(middle, 1e9)};
        uint16_t out[3], even = h & 1 ? (uint16_t)(h + 1) : h;
        ctl_convert(CTL_F16, out, CTL_F64, at, 3);
        assert_int_equal(out[0], h);
        assert_int_equal(out[1], even);
        assert_int_equal(out[2], h + 1);
    }
    double large[3] = {65519.999, 65520, -1e300};
    uint16_t out[3];
    ctl_convert(CTL_F16, out, CTL_F64, large, 3);
    assert_int_equal(out[0], 0x7bff);
    assert_int_equal(out[1], 0x7c00);
    assert_int_equal(out[2], 0xfc00);
}

static void bf16_is_rounded_once(void **state) {
    (void)state;
    uint32_t random = 1;
    for (int i = 0; i < 100000; i++) {
        uint32_t low = next_random(&random) >> 16 << 16 & 0x7fff0000u;
        if (low >= 0x7f7f0000u || low < 0x00800000u) continue;
        uint32_t high = low + 0x10000u;
        float a, b;
        memcpy(&a, &low, 4), memcpy(&b, &high, 4);
        double middle = ((double)a + (double)b) / 2,
               at[3] = {nextafter(middle, 0), middle, nextafter(middle, INFINITY)};
        uint16_t out[3], lower = (uint16_t)(low >> 16);
        ctl_convert(CTL_BF16, out, CTL_F64, at, 3);
        assert_int_equal(out[0], lower);
        assert_int_equal(out[1], lower & 1 ? lower + 1 : lower);
        assert_int_equal(out[2], lower + 1);
        float f = (float)middle;
        uint16_t direct;
        ctl_convert(CTL_BF16, &direct, CTL_F32, &f, 1);
        assert_int_equal(direct, out[1]);
    }
}

static void params_cross_strides_and_types(void **state) {
    (void)state;
    fake_program *f = fake_make(CTL_F32);
    heard h = {0};
    ctl_session *s = fake_session_open(f, &h, NULL, 1);
    assert_int_equal(ctl_program_param_count(&f->p), NPARAMS);
    ctl_tensor_info info = ctl_program_param_at(&f->p, B);
    assert_string_equal(info.name, "model.b.bias");
    assert_true(info.rows == 1 && info.cols == 4 && info.ndims == 1 && !info.trained &&
                !info.made_by_control);
    char bytes[15 * 8 + 1];
    double in[15], out[15];
    for (int i = 0; i < 15; i++) in[i] = i - 7.5; /* exact in bf16 */
    static const ctl_dtype types[] = {CTL_F64, CTL_F32, CTL_BF16, CTL_F16};
    for (size_t t = 0; t < 4; t++) {
        ctl_convert(types[t], bytes + 1, CTL_F64, in, 15); /* unaligned */
        assert_int_equal(ctl_session_param_write(s, A, types[t], bytes + 1), CTL_OK);
        memset(bytes, 0, sizeof bytes);
        assert_int_equal(ctl_session_param_read(s, A, types[(t + 1) % 4], bytes + 1), CTL_OK);
        ctl_convert(CTL_F64, out, types[(t + 1) % 4], bytes + 1, 15);
        assert_memory_equal(in, out, sizeof in);
    }
    double part[4];
    ctl_session_param_get(s, A, 3, 4, CTL_F64, part); /* across the end of a row */
    assert_memory_equal(part, in + 3, sizeof part);
    assert_int_equal(ctl_session_param_write(s, NPARAMS, CTL_F32, in), CTL_ERR_INPUT);
    assert_string_equal(h.message, "there is no parameter 6: the program has 6");
    assert_int_equal(ctl_session_param_read(s, A, CTL_I32, out), CTL_ERR_INPUT);
    assert_string_equal(h.message, "elements of type i32 cannot be the values of 'model.a.weight'");
    assert_string_equal(h.code, "E0801");
    ctl_session_close(s);
    ctl_program_free(&f->p);
}

/* ---- order of calls, inputs, outputs ---- */
static const float ones[ROWS * 2] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
static const int32_t ids[ROWS] = {0};

static void write_inputs(ctl_session *s, const int32_t *position, const int32_t *length) {
    assert_int_equal(ctl_session_input(s, "ids", CTL_I32, ids, ROWS), CTL_OK);
    assert_int_equal(ctl_session_input(s, "x", CTL_F32, ones, ROWS * 2), CTL_OK);
    assert_int_equal(ctl_session_input(s, "position", CTL_I32, position, ROWS), CTL_OK);
    assert_int_equal(ctl_session_input(s, "length", CTL_I32, length, ROWS), CTL_OK);
}

static void calls_have_an_order(void **state) {
    (void)state;
    static const int32_t position[ROWS] = {0, 1, 2, 0, 0, 1}, length[ROWS] = {3, 3, 3, 1, 2, 2};
    fake_program *f = fake_make(CTL_F32);
    heard h = {0};
    ctl_session *s = fake_session_open(f, &h, NULL, 1);
    double loss, norm;
    ctl_optimizer_step o = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .step = 1};
    assert_int_equal(ctl_session_forward(s), CTL_ERR_INPUT);
    assert_string_equal(h.message, "forward before the parameters were loaded");
    assert_string_equal(h.code, "E0802");
    assert_int_equal(ctl_session_optimize(s, &o, &norm), CTL_ERR_INPUT);
    assert_int_equal(ctl_session_load(s), CTL_OK);
    assert_int_equal(ctl_session_evaluate(s), CTL_ERR_INPUT);
    assert_string_equal(h.message, "evaluate before input 'ids' was written");
    write_inputs(s, position, length);
    assert_int_equal(ctl_session_backward(s), CTL_ERR_INPUT);
    assert_string_equal(h.message, "backward without a forward to go back over");
    ctl_session_set_step(s, 7, 60, 0.5);
    assert_true(s->step == 7 && s->first_row == 60);
    assert_int_equal(ctl_session_forward(s), CTL_OK);
    assert_int_equal(ctl_session_output(s, "loss", false, &loss, 1), CTL_OK);
    assert_true(loss == 6);
    assert_int_equal(ctl_session_output(s, "loss", true, &loss, 1), CTL_ERR_INPUT);
    assert_string_equal(h.message, "output 'loss' was asked for, but the last run was not evaluate");
    assert_int_equal(ctl_session_output(s, "loss", false, &loss, 2), CTL_ERR_INPUT);
    assert_string_equal(h.message, "output 'loss' is 1 x 1, 1 elements, not 2");
    assert_int_equal(ctl_session_output(s, "los", false, &loss, 1), CTL_ERR_INPUT);
    assert_string_equal(h.message, "the program has no output 'los'");
    assert_string_equal(h.code, "E0803");
    assert_string_equal(h.hint, "outputs beside the loss are asked for when compiling (ctlc_options.outputs)");
    int64_t rows = 0, cols = 0;
    assert_true(ctl_session_has_output(s, "loss", true, &rows, &cols) && rows == 1 && cols == 1);
    assert_false(ctl_session_has_output(s, "los", true, &rows, &cols));
    ctl_session_zero_gradients(s);
    assert_int_equal(ctl_session_backward(s), CTL_OK);
    assert_int_equal(ctl_session_backward(s), CTL_ERR_INPUT); /* its forward is used up */
    fake_session *fake = (fake_session *)s;
    fake->fails = true; /* what the engine says comes back, and there is nothing to go back over */
    assert_int_equal(ctl_session_forward(s), CTL_ERR_UNSUPPORTED);
    fake->fails = false;
    assert_int_equal(ctl_session_backward(s), CTL_ERR_INPUT);
    assert_int_equal(ctl_session_evaluate(s), CTL_OK);
    assert_int_equal(ctl_session_output(s, "loss", true, &loss, 1), CTL_OK);
    assert_true(loss == 12);
    assert_int_equal(ctl_session_optimize(s, &o, &norm), CTL_OK);
    double squares = 0;
    for (int i = 0; i < TRAINED; i++) squares += (1 + i / 8.0) * (1 + i / 8.0);
    assert_close(norm, sqrt(squares), 1e-12);
    assert_int_equal(ctl_session_output(s, "loss", true, &loss, 1),
                     CTL_ERR_INPUT); /* UPDATE ran in its memory */
    assert_true(fake->runs[RUN_UPDATE] == 2 && fake->runs[RUN_FORWARD] == 2 && fake->runs[RUN_BACKWARD] == 1);
    assert_int_equal(ctl_session_update(s), CTL_OK);
    assert_int_equal(fake->runs[RUN_UPDATE], 3);
    float values[15] = {0};
    assert_int_equal(ctl_session_param_write(s, A, CTL_F32, values), CTL_OK);
    assert_int_equal(ctl_session_forward(s), CTL_ERR_INPUT); /* load again after a write */
    ctl_session_close(s);
    ctl_memory m = ctl_program_memory(&f->p);
    assert_true(m.step == 2 * 64); /* forward's and evaluate's loss, each on a line of 64 bytes */
    assert_true(m.peak == f->p.region_bytes[0] + f->p.region_bytes[1] + f->p.region_bytes[2]);
    ctl_program_free(&f->p);
}

static void inputs_are_checked(void **state) {
    (void)state;
    fake_program *f = fake_make(CTL_F32);
    heard h = {0};
    ctl_session *s = fake_session_open(f, &h, NULL, 1);
    int64_t rows = 0, cols = 0;
    assert_true(ctl_session_has_input(s, "x", &rows, &cols) && rows == ROWS && cols == 2);
    assert_false(ctl_session_has_input(s, "y", &rows, &cols));
    assert_false(ctl_session_has_input(s, "normaliser", NULL, NULL));
    assert_int_equal(ctl_session_input(s, "y", CTL_F32, ones, 12), CTL_ERR_INPUT);
    assert_string_equal(h.message, "the program has no input 'y'");
    assert_string_equal(h.hint, "it has ids, x, position, length");
    assert_int_equal(ctl_program_input_count(s->program), 4); /* all but the normaliser */
    for (size_t i = 0; i < 4; i++) {
        static const char *const names[] = {"ids", "x", "position", "length"};
        const ctl_input_info info = ctl_program_input_at(s->program, i);
        assert_string_equal(info.name, names[i]);
        assert_true(info.rows == ROWS && info.cols == (i == 1 ? 2 : 1) && info.is_id == (i != 1));
    }
    assert_int_equal(ctl_session_input(s, "normaliser", CTL_F32, ones, 1), CTL_ERR_INPUT);
    assert_int_equal(ctl_session_input(s, "ids", CTL_F32, ones, ROWS), CTL_ERR_INPUT);
    assert_string_equal(h.message, "input 'ids' takes i32, not f32");
    assert_int_equal(ctl_session_input(s, "x", CTL_I32, ids, 12), CTL_ERR_INPUT);
    assert_string_equal(h.message, "input 'x' takes real numbers, not i32");
    assert_int_equal(ctl_session_input(s, "x", CTL_F32, ones, 11), CTL_ERR_INPUT);
    assert_string_equal(h.message, "input 'x' is 6 x 2, 12 elements, not 11");
    assert_int_equal(ctl_session_load(s), CTL_OK);
    static const struct {
        int32_t position[ROWS], length[ROWS];
        const char *message; /* NULL: legal */
    } cases[] = {
        {{0, 1, 2, 3, 4, 5}, {6, 6, 6, 6, 6, 6}, NULL},
        {{0, 0, 0, 0, 0, 0}, {1, 1, 1, 1, 1, 1}, NULL},
        {{0, 1, 0, 1, 2, 0}, {2, 2, 3, 3, 3, 1}, NULL},
        {{1, 2, 3, 4, 5, 6},
         {9, 9, 9, 9, 9, 9},
         "position 1 of row 0 does not follow that of the row before"},
        {{0, 1, 3, 4, 5, 6},
         {6, 6, 6, 6, 6, 6},
         "position 3 of row 2 does not follow that of the row before"},
        {{0, 1, -1, 0, 1, 2},
         {3, 3, 3, 3, 3, 3},
         "position -1 of row 2 does not follow that of the row before"},
        {{0, 1, 0, 1, 2, 3},
         {3, 3, 4, 4, 4, 4},
         "row 2 begins a document, but the one before, of length 3, began at row 0"},
        {{0, 1, 2, 0, 1, 2},
         {3, 3, 3, 4, 4, 4},
         "length 4 of row 3, at position 0, does not fit its document"},
        {{0, 1, 2, 0, 1, 2},
         {3, 2, 3, 3, 3, 3},
         "length 2 of row 1, at position 1, does not fit its document"},
        {{0, 1, 2, 0, 1, 2},
         {0, 0, 0, 3, 3, 3},
         "length 0 of row 0, at position 0, does not fit its document"},
    };
    for (size_t i = 0; i < CTL_COUNT(cases); i++) {
        write_inputs(s, cases[i].position, cases[i].length);
        assert_int_equal(ctl_session_forward(s), cases[i].message ? CTL_ERR_INPUT : CTL_OK);
        if (cases[i].message) assert_string_equal(h.message, cases[i].message);
    }
    ctl_session_close(s);
    ctl_program_free(&f->p);
}

/* ---- first values ---- */
static void first_values(void **state) {
    (void)state;
    fake_program *f = fake_make(CTL_F32);
    ctl_session *s = fake_session_open(f, NULL, NULL, 5);
    assert_int_equal(ctl_session_load(s), CTL_OK);
    double a[15], eye[16], b[4], magnitude[3];
    ctl_session_param_read(s, A, CTL_F64, a);
    ctl_session_param_read(s, B, CTL_F64, b);
    ctl_session_param_read(s, EYE, CTL_F64, eye);
    ctl_session_param_read(s, MAGNITUDE, CTL_F64, magnitude);
    for (int i = 0; i < 16; i++) assert_true(eye[i] == (i / 4 == i % 4));
    for (int i = 0; i < 4; i++) assert_true(b[i] == 0.25);
    for (int r = 0; r < 3; r++) {
        double sum = 0;
        for (int c = 0; c < 5; c++) sum += a[r * 5 + c];
        assert_true(magnitude[r] == (float)sum);
    }
    assert_true(a[0] != a[1]);
    /* What was given stays; what depends on it follows. A second load changes nothing, and keeps what was
     * trained. */
    double given[15];
    for (int i = 0; i < 15; i++) given[i] = i;
    ctl_session_initialise(s);
    ctl_session_param_write(s, A, CTL_F64, given);
    assert_int_equal(ctl_session_load(s), CTL_OK);
    ctl_session_param_read(s, MAGNITUDE, CTL_F64, magnitude);
    assert_true(magnitude[0] == 10 && magnitude[1] == 35 && magnitude[2] == 60);
    ((float *)ctl_session_flat(s).params)[0] = 42;
    assert_int_equal(ctl_session_load(s), CTL_OK);
    double c[12];
    ctl_session_param_read(s, C, CTL_F64, c);
    assert_true(c[0] == 42);
    ctl_session_close(s);
    ctl_program_free(&f->p);
}

/* A program of one or two large parameters in front of the fake engine. */
enum { LARGE_ROWS = 301, LARGE_COLS = 333, LARGE = LARGE_ROWS * LARGE_COLS };
static double *large_values(const char *name, ctl_program_init init, double arg, uint64_t seed, int threads,
                            bool other_first) {
    ctl_buffer buffer = {.region = REGION_CONSTANT, .name = "large", .bytes = 2 * 4 * LARGE};
    ctl_operand value = {0, other_first ? 4 * LARGE : 0, LARGE_ROWS, LARGE_COLS, LARGE_COLS, CTL_F32};
    ctl_program_param large = {name, LARGE_ROWS, LARGE_COLS,     2,     false, false,
                               init, arg,        CTL_NO_OPERAND, value, 0, 0},
                      other = large;
    other.name = "other", other.value.offset = 0;
    ctl_program_param params[2] = {other, large};
    ctl_program p = {.engine = &fake_engine,
                     .threads = threads,
                     .buffers = &buffer,
                     .nbuffers = 1,
                     .region_bytes = {2 * 4 * LARGE, 64, 64},
                     .params = other_first ? params : params + 1,
                     .nparams = other_first ? 2 : 1};
    ctl_session_options options = {.seed = seed};
    fake_session *s;
    ctl_session *opened;
    assert_int_equal(fake_open(&p, &options, &opened), CTL_OK);
    s = (fake_session *)opened;
    for (size_t i = 0; i < p.nparams; i++) ctl_session_param_initialise(&s->common, i);
    double *out = malloc(LARGE * sizeof *out);
    assert_non_null(out);
    ctl_session_param_get(&s->common, p.nparams - 1, 0, LARGE, CTL_F64, out);
    fake_close(&s->common);
    return out;
}

static void random_first_values(void **state) {
    (void)state;
    double *u = large_values("w", PROGRAM_INIT_UNIFORM, 0.5, 3, 2, false);
    double mean = 0, square = 0, least = 1, most = -1, neighbours = 0;
    for (int i = 0; i < LARGE; i++) {
        mean += u[i] / LARGE, square += u[i] * u[i] / LARGE;
        if (i) neighbours += u[i] * u[i - 1] / LARGE;
        if (u[i] < least) least = u[i];
        if (u[i] > most) most = u[i];
    }
    /* standard deviations of these estimates are about 1e-3 of the scale: 5 of them */
    assert_close(mean, 0, 5 * 0.2887 / sqrt(LARGE));
    assert_close(square, 0.25 / 3, 5 * 0.0745 / sqrt(LARGE));
    assert_close(neighbours, 0, 5 * 0.0834 / sqrt(LARGE));
    assert_true(least >= -0.5 && least < -0.4999 && most < 0.5 && most > 0.4999);

    double *n = large_values("w", PROGRAM_INIT_NORMAL, 2, 3, 1, false);
    double moment[5] = {0};
    for (int i = 0; i < LARGE; i++)
        for (int k = 1; k < 5; k++) moment[k] += pow(n[i] / 2, k) / LARGE;
    assert_close(moment[1], 0, 5 * 1 / sqrt(LARGE));
    assert_close(moment[2], 1, 5 * sqrt(2) / sqrt(LARGE));
    assert_close(moment[3], 0, 5 * sqrt(15) / sqrt(LARGE));
    assert_close(moment[4], 3, 5 * sqrt(96) / sqrt(LARGE));

    /* Equal for any number of threads and with another parameter before it; different for another name or
     * seed. */
    double *again = large_values("w", PROGRAM_INIT_NORMAL, 2, 3, 2, true);
    assert_memory_equal(n, again, LARGE * sizeof *n);
    double *named = large_values("v", PROGRAM_INIT_NORMAL, 2, 3, 2, false);
    double *seeded = large_values("w", PROGRAM_INIT_NORMAL, 2, 4, 2, false);
    double with_name = 0, with_seed = 0;
    for (int i = 0; i < LARGE; i++)
        with_name += n[i] * named[i] / 4 / LARGE, with_seed += n[i] * seeded[i] / 4 / LARGE;
    assert_close(with_name, 0, 5 / sqrt(LARGE));
    assert_close(with_seed, 0, 5 / sqrt(LARGE));
    free(u), free(n), free(again), free(named), free(seeded);
}

/* ---- the optimizer ---- */
enum { MANY = 300001 };
typedef struct arrays {
    double *p, *g, *m, *v;
} arrays;
static arrays make_arrays(void) {
    arrays a = {malloc(MANY * 8), malloc(MANY * 8), calloc(MANY, 8), calloc(MANY, 8)};
    assert_true(a.p && a.g && a.m && a.v);
    uint32_t random = 7;
    for (int i = 0; i < MANY; i++) a.p[i] = next_random(&random) / 4294967296.0 - 0.5;
    return a;
}
static void free_arrays(arrays *a) {
    free(a->p), free(a->g), free(a->m), free(a->v);
}

/* The textbook, in double, one element after the other. */
static void expected_step(arrays *a, const ctl_optimizer_step *o, double *norm) {
    double squares = 0;
    for (int i = 0; i < MANY; i++) squares += a->g[i] * a->g[i];
    *norm = sqrt(squares);
    double scale = o->clip > 0 && *norm > o->clip ? o->clip / *norm : 1;
    for (int i = 0; i < MANY; i++) {
        double g = a->g[i] * scale;
        if (o->sgd) {
            a->m[i] = o->momentum * a->m[i] + g + o->weight_decay * a->p[i];
            a->p[i] -= o->lr * a->m[i];
        } else {
            a->m[i] = o->beta1 * a->m[i] + (1 - o->beta1) * g;
            a->v[i] = o->beta2 * a->v[i] + (1 - o->beta2) * g * g;
            double m = a->m[i] / (1 - pow(o->beta1, (double)o->step)),
                   v = a->v[i] / (1 - pow(o->beta2, (double)o->step));
            a->p[i] = a->p[i] - o->lr * o->weight_decay * a->p[i] - o->lr * m / (sqrt(v) + o->eps);
        }
    }
}

static void check_optimizer(ctl_dtype dtype, ctl_optimizer_step o, double tolerance) {
    size_t size = ctl_dtype_size(dtype);
    arrays a = make_arrays();
    char *flat[2][4];
    for (int t = 0; t < 2; t++)
        for (int k = 0; k < 4; k++) assert_non_null(flat[t][k] = calloc(MANY, size));
    ctl_convert(CTL_F32, flat[0][0], CTL_F64, a.p, MANY); /* start from values that both types hold */
    ctl_convert(CTL_F64, a.p, CTL_F32, flat[0][0], MANY);
    for (int t = 0; t < 2; t++) ctl_convert(dtype, flat[t][0], CTL_F64, a.p, MANY);
    uint32_t random = 11;
    double *back = malloc(MANY * 8);
    assert_non_null(back);
    for (o.step = 1; o.step <= 5; o.step++) {
        for (int i = 0; i < MANY; i++)
            a.g[i] = (float)((next_random(&random) / 4294967296.0 - 0.3) * pow(10, i % 5 - 4));
        double norm[2], expected;
        for (int t = 0; t < 2; t++) {
            ctl_convert(dtype, flat[t][1], CTL_F64, a.g, MANY);
            ctl_flat f = {dtype, MANY, flat[t][0], flat[t][1], flat[t][2], o.sgd ? NULL : flat[t][3]};
            assert_int_equal(ctl_optimizer_apply(&f, &o, t + 1, &norm[t]), CTL_OK);
        }
        expected_step(&a, &o, &expected);
        assert_true(norm[0] == norm[1]);
        assert_close(norm[0] / expected, 1, 1e-12);
        for (int k = 0; k < 4; k++)
            assert_memory_equal(flat[0][k], flat[1][k], MANY * size); /* 1 and 2 threads */
        double *want[4] = {a.p, a.g, a.m, a.v};
        for (int k = 0; k < 4; k++) {
            if (k == 3 && o.sgd) continue;
            ctl_convert(CTL_F64, back, dtype, flat[0][k], MANY);
            for (int i = 0; i < MANY; i++) { /* parameters and first moments are sums that may cancel */
                double summands = k == 0 || (k == 2 && o.sgd) ? 1 : k == 2 ? pow(10, i % 5 - 4) : 0;
                assert_true(fabs(back[i] - want[k][i]) <= tolerance * (fabs(want[k][i]) + summands));
            }
        }
    }
    for (int t = 0; t < 2; t++)
        for (int k = 0; k < 4; k++) free(flat[t][k]);
    free(back);
    free_arrays(&a);
}

static void optimizer_formulas(void **state) {
    (void)state;
    ctl_optimizer_step adam = {
        .lr = 1e-2, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1, .clip = 3};
    ctl_optimizer_step sgd = {.sgd = true,
                              .lr = 1e-2,
                              .momentum = 0.9,
                              .weight_decay = 0.1,
                              .clip = 60}; /* the norms are about 86 */
    check_optimizer(CTL_F64, adam, 1e-12);
    check_optimizer(CTL_F32, adam, 3e-6);
    check_optimizer(CTL_F64, sgd, 1e-12);
    check_optimizer(CTL_F32, sgd, 3e-6);
}

static void optimizer_refuses(void **state) {
    (void)state;
    fake_program *f = fake_make(CTL_F32);
    heard h = {0};
    ctl_session *s = fake_session_open(f, &h, NULL, 5);
    assert_int_equal(ctl_session_load(s), CTL_OK);
    ctl_flat flat = ctl_session_flat(s);
    assert_true(flat.dtype == CTL_F32 && flat.count == TRAINED);
    float *p = flat.params, *g = flat.gradients, before[TRAINED], zero[TRAINED] = {0};
    memcpy(before, p, sizeof before);
    ctl_optimizer_step o = {.lr = 1, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .step = 3};
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        ctl_session_zero_gradients(s);
        g[20] = bad[i];
        double norm = 0;
        assert_int_equal(ctl_session_optimize(s, &o, &norm), CTL_ERR_NUMERIC);
        assert_false(isfinite(norm));
        assert_string_equal(h.message, "the gradient is not finite in step 3: that of 'model.a.lora_A.weight'");
        assert_string_equal(h.code, "E0805");
        assert_memory_equal(before, p, sizeof before);
        assert_memory_equal(flat.moment1, zero, sizeof zero);
        assert_memory_equal(flat.moment2, zero, sizeof zero);
    }
    struct {
        double *what, value;
        const char *message;
    } settings[] = {
        {&o.lr, NAN, "the optimizer's lr is nan: it must be at least 0 and finite, below inf"},
        {&o.lr, -1, NULL},
        {&o.beta1, 1, "the optimizer's beta1 is 1: it must be at least 0 and below 1"},
        {&o.beta2, -0.1, NULL},
        {&o.eps, INFINITY, NULL},
        {&o.weight_decay, -1, NULL},
        {&o.clip, NAN, NULL},
    };
    ctl_session_zero_gradients(s);
    for (size_t i = 0; i < CTL_COUNT(settings); i++) {
        double good = *settings[i].what;
        *settings[i].what = settings[i].value;
        assert_int_equal(ctl_session_optimize(s, &o, NULL), CTL_ERR_INPUT);
        assert_string_equal(h.code, "E0806");
        if (settings[i].message) assert_string_equal(h.message, settings[i].message);
        *settings[i].what = good;
    }
    o.step = 0;
    assert_int_equal(ctl_session_optimize(s, &o, NULL), CTL_ERR_INPUT);
    o.step = 1, o.sgd = true, o.momentum = 1;
    assert_int_equal(ctl_session_optimize(s, &o, NULL), CTL_ERR_INPUT);
    o.momentum = 0.5;
    assert_int_equal(ctl_session_optimize(s, &o, NULL), CTL_OK);
    f->p.moment2 = CTL_NO_OPERAND, o.sgd = false;
    assert_int_equal(ctl_session_optimize(s, &o, NULL), CTL_ERR_INPUT);
    assert_string_equal(h.message, "the program was laid out without the moments that adamw needs");
    ctl_session_close(s);
    ctl_program_free(&f->p);
}

static void open_survives_no_memory(void **state) {
    (void)state;
    fake_program *f = fake_make(CTL_F64);
    counting c = {0};
    ctl_session_options options = {.allocator = counting_allocator(&c)};
    ctl_session *s;
    int failures = 0;
    for (long n = 1;; n++) {
        c.calls = 0, c.fail_at = n;
        ctl_status status = ctl_session_open(&f->p, &options, &s);
        if (status == CTL_OK) break;
        assert_int_equal(status, CTL_ERR_MEMORY);
        assert_null(s);
        assert_int_equal(c.live, 0);
        failures++;
    }
    assert_true(failures >= 5);
    assert_true(ctl_session_flat(s).dtype == CTL_F64);
    double *m = ctl_session_flat(s).moment1;
    for (int i = 0; i < TRAINED; i++) assert_true(m[i] == 0); /* the allocator gives no zeros */
    ctl_session_close(s);
    assert_int_equal(c.live, 0);
    ctl_program_free(&f->p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_is_nearest_even),
        cmocka_unit_test(bf16_is_rounded_once),
        cmocka_unit_test(params_cross_strides_and_types),
        cmocka_unit_test(calls_have_an_order),
        cmocka_unit_test(inputs_are_checked),
        cmocka_unit_test(first_values),
        cmocka_unit_test(random_first_values),
        cmocka_unit_test(optimizer_formulas),
        cmocka_unit_test(optimizer_refuses),
        cmocka_unit_test(open_survives_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
