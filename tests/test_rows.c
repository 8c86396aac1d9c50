/* Row programs: the verifier and the schedule; the emitter against the interpreter bit for bit on random
 * programs and on the shapes that the compiler makes: tails, splits, gathers, shifted columns, sums over
 * chunks, rows in place. */
#include "tests/rows_support.h"

static const uint32_t unary_ops[] = {OP_NEG, OP_EXP, OP_LOG,  OP_SQRT, OP_RSQRT,
                                     OP_SIN, OP_COS, OP_TANH, OP_ERF,  OP_TOINT};
static const uint32_t binary_ops[] = {OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_MOD, OP_POW,
                                      OP_MAX, OP_MIN, OP_LT,  OP_LE,  OP_EQ};

/* ---- seeded random programs ---- */
static uint32_t pick(maker *m, dice *d, int64_t width,
                     bool exact) { /* a value of this width, or of width 1 */
    for (int tries = 0; tries < 50; tries++) {
        uint32_t v = roll(d, (uint32_t)m->at.n);
        if (width_of(m, v) == width || (!exact && width_of(m, v) == 1)) return v;
    }
    return exact ? UINT32_MAX : number(m, 1.25);
}

static void random_instr(maker *m, dice *d) {
    uint32_t a = roll(d, (uint32_t)m->at.n), in[3];
    int64_t w = width_of(m, a);
    switch (roll(d, 14)) {
    case 0:
    case 1:
        op1(m, unary_ops[roll(d, CTL_COUNT(unary_ops))], a);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
        op2(m, binary_ops[roll(d, 2) ? roll(d, 3) : roll(d, CTL_COUNT(binary_ops))], a, pick(m, d, w, false));
        break;
    case 6:
        op3(m, OP_SELECT, 3, pick(m, d, w, false), a, pick(m, d, w, false));
        break;
    case 7:
        cast(m, roll(d, 4) ? CTL_BF16 : CTL_F32, a);
        break;
    case 8:
        op1(m, roll(d, 3) ? OP_SUM : OP_ROWMAX, a);
        break;
    case 9:
        drop(m, roll(d, 10) / 10.0, a);
        break;
    case 10: {
        int64_t from = roll(d, (uint32_t)w), to = from + 1 + roll(d, (uint32_t)(w - from));
        columns(m, a, from, to);
        break;
    }
    case 11:
    case 12: {
        uint32_t n = 1 + roll(d, 3);
        for (uint32_t k = 0; k < n; k++) in[k] = k ? roll(d, (uint32_t)m->at.n) : a;
        int64_t total = 0;
        for (uint32_t k = 0; k < n; k++) total += width_of(m, in[k]);
        if (total <= 300) cat(m, n, in);
        break;
    }
    default:
        put(m, OP_INDEX, w, 0, NULL);
    }
}

static ctl_rowprog *random_program(ctl_arena *arena, dice *d) {
    static const ctl_dtype dtypes[] = {CTL_F32, CTL_BF16, CTL_I32};
    static const ctl_row_at ats[] = {AT_ROW, AT_ROW, AT_OUTER, AT_FIXED, AT_GATHER};
    maker m = start(arena, roll(d, 3) ? 1 : 2 + (int)roll(d, 2));
    int64_t width = roll(d, 8) ? 1 + roll(d, 100) : 16 * (1 + roll(d, 16));
    uint32_t loads = 1 + roll(d, 4), size = 3 + roll(d, 25), sinks = 1 + roll(d, 4);
    for (uint32_t k = 0; k < loads; k++)
        load(&m, ats[roll(d, m.p->split == 1 ? 5 : 4)], dtypes[roll(d, 8) ? roll(d, 2) : 2],
             k && roll(d, 3) == 0 ? 1 : width);
    for (uint32_t k = 0; k < size; k++) random_instr(&m, d);
    uint32_t values = (uint32_t)m.at.n;
    for (uint32_t k = 0; k < sinks; k++) {
        uint32_t v = k ? roll(d, values) : values - 1;
        int64_t w = width_of(&m, v), cols = w == 1 && roll(d, 2) ? width : w;
        switch (roll(d, 5)) {
        case 0:
            write_to(&m, ROW_ADD_TO, AT_ROW, CTL_F32, cols, v);
            break;
        case 1:
            write_to(&m, ROW_COLSUM, AT_CHUNK, CTL_F32, cols, v);
            break;
        case 2:
            write_to(&m, ROW_STORE, AT_ROW, CTL_BF16, cols, cast(&m, CTL_BF16, v));
            break;
        case 3:
            write_to(&m, ROW_STORE, AT_ROW, roll(d, 2) ? CTL_I32 : CTL_F32, cols, v);
            break;
        default:
            write_to(&m, ROW_STORE, AT_ROW, CTL_F32, cols, v);
        }
    }
    return verified(&m);
}

static void random_programs(ctl_arena *arena, uint64_t seed, size_t n, int vector_cpu, bool wild) {
    dice d = {.seed = seed};
    ctl_rowprog **programs = CTL_NEW_ARRAY(arena, ctl_rowprog *, n);
    if (!runs(vector_cpu)) skip();
    for (size_t k = 0; k < n; k++) programs[k] = random_program(arena, &d);
    check_all(arena, programs, n, vector_cpu, &d, wild);
}

static void test_random_programs(void **state) {
    random_programs(arena_of(state), 1, 120, 0, false);
}
static void test_random_programs_wild(void **state) {
    random_programs(arena_of(state), 2, 80, 0, true);
}
static void test_random_programs_v3(void **state) {
    random_programs(arena_of(state), 3, 25, 3, false);
}
static void test_random_programs_v4(void **state) {
    random_programs(arena_of(state), 4, 25, 4, true);
}

/* ---- bits ---- */
static void check(ctl_arena *arena, ctl_rowprog *p, bool wild) {
    dice d = {.seed = 77};
    for (size_t k = 0; k < CTL_COUNT(vector_cpus); k++)
        if (runs(vector_cpus[k])) check_all(arena, &p, 1, vector_cpus[k], &d, wild);
}

static void test_every_width(void **state) {
    ctl_arena *arena = arena_of(state);
    enum { N = 100 };
    ctl_rowprog **programs = CTL_NEW_ARRAY(arena, ctl_rowprog *, N);
    dice d = {.seed = 5};
    for (int w = 1; w <= N; w++) {
        maker m = start(arena, w % 3 ? 1 : 3);
        uint32_t x = load(&m, AT_ROW, CTL_BF16, w), y = load(&m, AT_FIXED, CTL_F32, w),
                 n = load(&m, AT_OUTER, CTL_I32, 1);
        uint32_t z = op2(&m, OP_ADD, op2(&m, OP_MUL, x, y), n);
        store(&m, CTL_F32, op1(&m, OP_SUM, z));
        store(&m, CTL_F32, op1(&m, OP_ROWMAX, z));
        store(&m, CTL_BF16, cast(&m, CTL_BF16, z));
        write_to(&m, ROW_COLSUM, AT_CHUNK, CTL_F32, w, z);
        programs[w - 1] = verified(&m);
    }
    check_all(arena, programs, N, 0, &d, false);
}

/* The lanes and the tree, written down once more: zero-filled chunks, then halves. */
static void test_sum_tree(void **state) {
    ctl_arena *arena = arena_of(state);
    for (int64_t width = 1; width <= 200; width += 13) {
        maker m = start(arena, 1);
        uint32_t x = load(&m, AT_ROW, CTL_F32, width), half = columns(&m, x, width / 2, width);
        uint32_t whole = store(&m, CTL_F32, op1(&m, OP_SUM, x)),
                 part = store(&m, CTL_F32, op1(&m, OP_SUM, half));
        ctl_rowprog *p = verified(&m);
        dice d = {.seed = (uint64_t)width};
        memory mem = memory_for(arena, p, &d, false);
        ctl_rows_kernel kernel = {0};
        ctl_cpu_code *code = emit(arena, &p, 1, 0, 1, &kernel);
        run_kernel(&kernel, &mem, 0, ROWS);
        for (int64_t t = 0; t < ROWS; t++)
            for (int which = 0; which < 2; which++) {
                float all[256] = {0}, lane[16] = {0};
                int64_t from = which ? width / 2 : 0;
                for (int64_t c = from; c < width; c++)
                    all[c - from] = ((float *)mem.args[0].base)[t * mem.args[0].stride + c];
                for (int c = 0; c < 256; c++) lane[c % 16] += all[c];
                float a[8], b[4];
                for (int j = 0; j < 8; j++) a[j] = lane[j] + lane[j + 8];
                for (int j = 0; j < 4; j++) b[j] = a[j] + a[j + 4];
                float want = (b[0] + b[2]) + (b[1] + b[3]);
                uint32_t o = which ? part : whole;
                assert_true(((float *)mem.args[o].base)[t * mem.args[o].stride] == want);
            }
        release(code);
    }
}

/* Rotary embedding on heads, and with halves that are no multiple of 16; a reduction over a CAT with such
 * borders. */
static void test_rope(void **state) {
    ctl_arena *arena = arena_of(state);
    static const int64_t heads[] = {6, 40, 64, 80, 320};
    for (size_t k = 0; k < CTL_COUNT(heads); k++) {
        int64_t w = heads[k];
        maker m = start(arena, 3);
        uint32_t x = load(&m, AT_ROW, CTL_BF16, w), c = load(&m, AT_OUTER, CTL_F32, w),
                 s = load(&m, AT_OUTER, CTL_F32, w);
        uint32_t parts[2] = {op1(&m, OP_NEG, columns(&m, x, w / 2, w)), columns(&m, x, 0, w / 2)};
        uint32_t turned = cat(&m, 2, parts);
        uint32_t y = op2(&m, OP_ADD, op2(&m, OP_MUL, x, c), op2(&m, OP_MUL, turned, s));
        store(&m, CTL_BF16, cast(&m, CTL_BF16, y));
        store(&m, CTL_F32, op1(&m, OP_SUM, op1(&m, OP_EXP, y)));
        store(&m, CTL_F32, drop(&m, 0.25, turned));
        check(arena, verified(&m), false);
    }
}

/* A kept value with CATs in it: cut where it is made, not where it is read. */
static void test_kept_cat(void **state) {
    ctl_arena *arena = arena_of(state);
    maker m = start(arena, 1);
    uint32_t parts[3] = {load(&m, AT_ROW, CTL_F32, 21), load(&m, AT_ROW, CTL_F32, 1),
                         load(&m, AT_FIXED, CTL_BF16, 90)};
    uint32_t e = op1(&m, OP_EXP, cat(&m, 3, parts)), s = op1(&m, OP_SUM, e);
    store(&m, CTL_F32, op2(&m, OP_DIV, columns(&m, e, 7, 100), s));
    ctl_rowprog *p = verified(&m);
    ctl_schedule *schedule = ctl_rowprog_schedule(p, arena);
    assert_int_equal(schedule->passes[0].loops.at[0].segments.n, 3);
    assert_int_equal(schedule->passes[1].loops.at[0].segments.n, 1);
    check(arena, p, false);
}

static void test_gather_and_table(void **state) {
    ctl_arena *arena = arena_of(state);
    maker m = start(arena, 1);
    uint32_t row = load(&m, AT_GATHER, CTL_BF16, 37), id = load(&m, AT_GATHER, CTL_I32, 1);
    store(&m, CTL_BF16, row);
    store(&m, CTL_F32, op2(&m, OP_MUL, row, id));
    store(&m, CTL_I32, op2(&m, OP_ADD, id, load(&m, AT_ROW, CTL_F32, 1)));
    store(&m, CTL_I32, op2(&m, OP_MUL, load(&m, AT_ROW, CTL_F32, 21), number(&m, 1e9)));
    check(arena, verified(&m), true);
}

static void test_every_map(void **state) {
    ctl_arena *arena = arena_of(state);
    enum { N = CTL_COUNT(unary_ops) + CTL_COUNT(binary_ops) };
    ctl_rowprog *programs[2 * N];
    dice d = {.seed = 9};
    for (size_t k = 0; k < 2 * N; k++) { /* rows of 150 columns, then numbers */
        maker m = start(arena, 1);
        int64_t w = k < N ? 150 : 1;
        uint32_t a = load(&m, AT_ROW, CTL_F32, w), b = load(&m, AT_ROW, CTL_F32, w);
        size_t which = k % N;
        store(&m, CTL_F32,
              which < CTL_COUNT(unary_ops) ? op1(&m, unary_ops[which], a)
                                           : op2(&m, binary_ops[which - CTL_COUNT(unary_ops)], a, b));
        programs[k] = verified(&m);
    }
    for (size_t k = 0; k < CTL_COUNT(vector_cpus); k++)
        if (runs(vector_cpus[k])) check_all(arena, programs, 2 * N, vector_cpus[k], &d, true);
}

/* A program cut in two, with what crosses the cut stored as f32, gives the same bits. */
static void test_cut(void **state) {
    ctl_arena *arena = arena_of(state);
    enum { W = 83 };
    ctl_rowprog *programs[3];
    uint32_t out[3], between[2] = {0};
    for (int k = 0; k < 3; k++) {
        maker m = start(arena, 1);
        uint32_t x = 0, e = 0, s = 0;
        if (k < 2) {
            x = load(&m, AT_ROW, CTL_F32, W);
            e = op1(&m, OP_EXP, op2(&m, OP_SUB, x, op1(&m, OP_ROWMAX, x)));
            s = op1(&m, OP_SUM, e);
        }
        if (k == 1) between[0] = store(&m, CTL_F32, e), between[1] = store(&m, CTL_F32, s);
        if (k == 2) e = load(&m, AT_ROW, CTL_F32, W), s = load(&m, AT_ROW, CTL_F32, 1);
        if (k != 1) {
            uint32_t y = op2(&m, OP_DIV, e, s);
            out[k] = store(&m, CTL_F32, op2(&m, OP_MUL, y, op1(&m, OP_SUM, op2(&m, OP_MUL, y, y))));
        }
        programs[k] = verified(&m);
    }
    ctl_rows_kernel kernels[3] = {0};
    ctl_cpu_code *code = emit(arena, programs, 3, 0, 1, kernels);
    dice d = {.seed = 3};
    memory a = memory_for(arena, programs[0], &d, false), b = memory_for(arena, programs[1], &d, false);
    memory c = memory_for(arena, programs[2], &d, false);
    b.args[0] = a.args[0];
    c.args[0] = b.args[between[0]], c.args[1] = b.args[between[1]];
    run_kernel(&kernels[0], &a, 0, ROWS);
    run_kernel(&kernels[1], &b, 0, ROWS);
    run_kernel(&kernels[2], &c, 0, ROWS);
    for (int64_t t = 0; t < ROWS; t++)
        assert_memory_equal((float *)a.args[out[0]].base + t * a.args[out[0]].stride,
                            (float *)c.args[out[2]].base + t * c.args[out[2]].stride, W * sizeof(float));
    release(code);
}

/* Results over operands wherever that is said to be allowed, in random programs; interpreter and emitter. */
static void test_in_place(void **state) {
    ctl_arena *arena = arena_of(state);
    dice d = {.seed = 21};
    enum { N = 60 };
    ctl_rowprog **programs = CTL_NEW_ARRAY(arena, ctl_rowprog *, N);
    ctl_rows_kernel *kernels = CTL_NEW_ARRAY(arena, ctl_rows_kernel, N);
    for (int k = 0; k < N; k++) programs[k] = random_program(arena, &d);
    ctl_cpu_code *code = emit(arena, programs, N, 0, 2, kernels);
    int tried = 0;
    for (int k = 0; k < N; k++) {
        const ctl_rowprog *p = programs[k];
        float *values = CTL_NEW_ARRAY(arena, float, ctl_rowprog_run_floats(p));
        for (uint32_t from = 0; from < p->noperands; from++)
            for (uint32_t to = from + 1; to < p->noperands; to++) {
                if (!ctl_rowprog_overlays(p, from, to, arena)) continue;
                memory apart = memory_for(arena, p, &d, false);
                apart.args[to].stride = apart.args[from].stride;
                apart.args[to].base = ctl_arena_alloc(arena, apart.bytes[to] = apart.bytes[from]);
                memcpy(apart.args[to].base, apart.args[from].base, apart.bytes[from]);
                memory over = twin_of(arena, p, &apart), plain = twin_of(arena, p, &apart);
                over.args[from] = over.args[to], plain.args[from] = plain.args[to];
                run_kernel(&kernels[k], &apart, 0, ROWS);
                run_kernel(&kernels[k], &over, 0, ROWS);
                ctl_rowprog_run(p, &plain.call, values, 0, ROWS);
                over.args[from] = plain.args[from] = apart.args[from];
                compare(arena, p, &apart, &over, "in place");
                compare(arena, p, &apart, &plain, "in place, interpreted");
                tried++;
            }
    }
    assert_true(tried >= 20);
    release(code);
}

static void test_overlays(void **state) {
    ctl_arena *arena = arena_of(state);
    maker m = start(arena, 1);
    uint32_t x = load(&m, AT_ROW, CTL_F32, 64), y = load(&m, AT_ROW, CTL_F32, 64),
             z = load(&m, AT_ROW, CTL_BF16, 64);
    uint32_t halves[2] = {columns(&m, y, 32, 64), columns(&m, y, 0, 32)};
    uint32_t sum = op2(&m, OP_ADD, x, cat(&m, 2, halves)), early = store(&m, CTL_F32, op2(&m, OP_MUL, x, z));
    uint32_t late = store(&m, CTL_F32, op2(&m, OP_DIV, x, op1(&m, OP_SUM, sum)));
    ctl_rowprog *p = verified(&m);
    assert_true(ctl_rowprog_overlays(p, 0, late, arena));   /* x is read last where it is overwritten */
    assert_false(ctl_rowprog_overlays(p, 0, early, arena)); /* but again after the first pass */
    assert_false(ctl_rowprog_overlays(p, 1, early, arena)); /* y is read at other columns in the same loop */
    assert_true(ctl_rowprog_overlays(p, 1, late, arena));   /* and not at all in the last */
    assert_false(ctl_rowprog_overlays(p, 2, late, arena));  /* another type */
}

static void test_no_programs(void **state) {
    ctl_cpu_code *code = emit(arena_of(state), NULL, 0, 0, 4, NULL);
    assert_non_null(code);
    release(code);
    release(NULL);
}

/* ---- verifier, key, text ---- */
static void refuse(ctl_rowprog *p, const char *what) {
    const char *why = NULL;
    assert_false(ctl_rowprog_verify(p, &why));
    if (!why || !strstr(why, what)) fail_msg("said '%s', not '%s'", why ? why : "", what);
}

static maker
sound(ctl_arena *arena) { /* x: 0 (operand 0), sum: 1, product: 2, rounded: 3, stores: 4, 5, dropped: 6 */
    maker m = start(arena, 1);
    uint32_t x = load(&m, AT_ROW, CTL_F32, 20), s = op1(&m, OP_SUM, x), y = op2(&m, OP_MUL, x, s);
    uint32_t r = cast(&m, CTL_BF16, y);
    store(&m, CTL_BF16, r);
    write_to(&m, ROW_COLSUM, AT_CHUNK, CTL_F32, 20, y);
    drop(&m, 0.5, y);
    verified(&m);
    return m;
}

static void test_verifier(void **state) {
    ctl_arena *arena = arena_of(state);
#define FAULT(change, sentence)                                                                              \
    do {                                                                                                     \
        maker m = sound(arena);                                                                              \
        ctl_row_instr *at = m.at.at;                                                                         \
        ctl_row_operand *operands = m.operands.at;                                                           \
        change;                                                                                              \
        (void)at, (void)operands;                                                                            \
        refuse(finish(&m), sentence);                                                                        \
    } while (0)
    FAULT(m.p->split = 0, "split");
    FAULT(operands[0].dtype = CTL_F16, "type unknown");
    FAULT(operands[0].cols = 0, "width is out of range");
    FAULT((operands[0].at = AT_GATHER, m.p->split = 2), "gathered");
    FAULT(operands[0].at = AT_CHUNK, "partial sums");
    FAULT(operands[1].at = AT_GATHER, "each written once");
    FAULT((operands[1].at = AT_OUTER, m.p->split = 2), "each written once");
    FAULT(operands[2].at = AT_ROW, "CHUNK");
    FAULT(operands[2].dtype = CTL_I32, "f32");
    FAULT((at[5].op = ROW_ADD_TO), "ROW or FIXED");
    FAULT(at[0].i[0] = 7, "no such operand");
    FAULT(at[0].i[0] = 1, "written and used");
    FAULT(at[0].width = 19, "not its operand's");
    FAULT(at[1].width = 20, "not 1");
    FAULT(at[2].width = 1, "not its operands'");
    FAULT(at[2].in[1] = 2, "no earlier value");
    FAULT(at[6].in[0] = 4, "no earlier value");
    FAULT(at[2].nin = 1, "number of inputs");
    FAULT(at[3].dtype = CTL_I32, "cast");
    FAULT(at[4].in[0] = 2, "not rounded");
    FAULT(at[3].dtype = CTL_F32, "not rounded");
    FAULT((at[5].op = ROW_STORE, at[5].in[0] = 3, at[5].i[0] = 1), "written and used");
    FAULT(at[2].op = OP_MATMUL, "no place");
    FAULT(at[2].op = OP_STATE, "no place");
    FAULT(at[6].f = 1.0, "probability");
    FAULT(at[6].f = NAN, "probability");
    FAULT(at[6].i[0] = 1, "site");
    FAULT((at[6].op = OP_COLUMNS, at[6].i[0] = 3, at[6].i[1] = 21, at[6].width = 18), "do not exist");
    FAULT((at[6].op = OP_CAT, at[6].width = 21), "parts'");
#undef FAULT
}

static void test_key_and_text(void **state) {
    ctl_arena *arena = arena_of(state);
    maker a = sound(arena), b = sound(arena), c = sound(arena);
    c.at.at[6].f = 0.25;
    b.at.at[2].i[0] = 5; /* means nothing to a product */
    ctl_text key[3] = {{.arena = arena}, {.arena = arena}, {.arena = arena}}, text = {.arena = arena};
    ctl_rowprog_key(finish(&a), &key[0]);
    ctl_rowprog_key(finish(&b), &key[1]);
    ctl_rowprog_key(finish(&c), &key[2]);
    assert_int_equal(key[0].n, key[1].n);
    assert_memory_equal(key[0].at, key[1].at, key[0].n);
    assert_true(key[0].n != key[2].n || memcmp(key[0].at, key[2].at, key[0].n) != 0);
    ctl_rowprog_print(a.p, &text);
    assert_string_equal(text.at, "rows split 1 sites 1\n"
                                 "  operand 0: row f32 x 20\n"
                                 "  operand 1: row bf16 x 20\n"
                                 "  operand 2: chunk f32 x 20\n"
                                 "  %0 = load [0] : 20\n"
                                 "  %1 = sum %0 : 1\n"
                                 "  %2 = mul %0 %1 : 20\n"
                                 "  %3 = cast %2 to bf16 : 20\n"
                                 "  %4 = store [1] %3 : 20\n"
                                 "  %5 = colsum_to [2] %2 : 20\n"
                                 "  %6 = drop %2 site 0 p 0.5 : 20\n");
}

/* ---- the schedule ---- */
static void test_schedule(void **state) {
    ctl_arena *arena = arena_of(state);
    maker m = start(arena, 1);
    uint32_t x = load(&m, AT_ROW, CTL_F32, 40), d = op2(&m, OP_SUB, x, op1(&m, OP_ROWMAX, x)),
             e = op1(&m, OP_EXP, d);
    uint32_t y = op2(&m, OP_DIV, e, op1(&m, OP_SUM, e));
    store(&m, CTL_F32, y);
    ctl_rowprog *p = verified(&m);
    ctl_schedule *s = ctl_rowprog_schedule(p, arena);
    assert_int_equal(s->npasses, 3); /* the maximum; the exponentials and their sum; the quotients */
    assert_int_equal(s->scratch, 48);
    assert_int_equal(ctl_rowprog_scratch(p, arena), 48);
    assert_true(s->kept[e] == 0 && s->kept[d] < 0 &&
                s->kept[x] < 0); /* differences are cheap to make again */

    /* Two kept rows whose lives do not overlap share a place; two that do, do not. */
    m = start(arena, 1);
    x = load(&m, AT_ROW, CTL_F32, 16);
    uint32_t e1 = op1(&m, OP_EXP, x), s1 = op1(&m, OP_SUM, e1),
             y1 = op1(&m, OP_TANH, op2(&m, OP_MUL, e1, s1));
    uint32_t s2 = op1(&m, OP_SUM, y1), e2 = op1(&m, OP_EXP, op2(&m, OP_MUL, y1, s2)),
             s3 = op1(&m, OP_SUM, e2);
    store(&m, CTL_F32, op2(&m, OP_MUL, e2, s3));
    p = verified(&m);
    s = ctl_rowprog_schedule(p, arena);
    assert_true(s->kept[e1] >= 0 && s->kept[y1] >= 0 && s->kept[e2] >= 0);
    assert_true(s->kept[e1] == s->kept[e2] && s->kept[y1] != s->kept[e1]);
    assert_int_equal(s->scratch, 32);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_random_programs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_random_programs_wild, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_random_programs_v3, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_random_programs_v4, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_width, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sum_tree, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rope, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kept_cat, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gather_and_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_map, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_in_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_overlays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_programs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_verifier, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_key_and_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_schedule, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
