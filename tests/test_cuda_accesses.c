/* How the CUDA kernels' accesses fall on sectors of global memory and banks of shared memory
 * (tests/cuda/accesses.h), counted on the host. First the counting, by kernels of a line whose numbers are
 * plain; then the main kernels at the widths of LLaMA: every line takes as few sectors and turns as its bytes
 * can take, but for those that are named here, each with its number. */
#include "tests/rows_support.h"

#include "tests/cuda/kernels.h"

#include "runtime/cuda/attend.h"
#include "runtime/cuda/tasks.h"
#include "tests/cuda/rows_host.h"

enum { READS, WRITES, MATRICES, FETCHES, LANDS }; /* as of tests/cuda/watch.h */
typedef struct expected {
    const char *text; /* what the line begins with */
    int shared, how;
    unsigned long long moves, least;
} expected;

enum { MOST_LINES = 400 };
static host_access_line lines[MOST_LINES];
static int nlines;

static void open_counted(launcher *l, const char *const *texts, size_t n) {
    l->object.watched = WATCHED_LINES;
    const char *why = shared_object_open(&l->object, texts, n, "-O1");
    if (why) fail_msg("%s", why);
    ((void (*)(void))(uintptr_t)shared_object_find(&l->object, "host_watch_count"))();
}
static void close_counted(launcher *l) {
    nlines = ((int (*)(host_access_line *, int))(uintptr_t)shared_object_find(
        &l->object, "host_watch_lines"))(lines, MOST_LINES);
    assert_true(nlines > 0 && nlines < MOST_LINES);
    shared_object_close(&l->object);
}
/* The lines of all kernels whose name begins so: those that are expected, and of others none with more than
 * the least. */
static void expect_lines(const char *kernel, const expected *want, size_t n) {
    bool seen[32] = {false};
    for (int k = 0; k < nlines; k++) {
        const host_access_line *l = &lines[k];
        if (strncmp(l->kernel, kernel, strlen(kernel)) != 0) continue;
        size_t i = 0;
        while (i < n && (l->shared != want[i].shared || l->how != want[i].how ||
                         strncmp(l->text, want[i].text, strlen(want[i].text)) != 0))
            i++;
        if (i < n) seen[i] = true;
        if (i < n ? l->n.moves != want[i].moves || l->n.least != want[i].least : l->n.moves != l->n.least)
            fail_msg("%s, `%s` (%s %d): %llu moves of at least %llu, not %llu of %llu", l->kernel, l->text,
                     l->shared ? "shared" : "global", l->how, l->n.moves, l->n.least,
                     i < n ? want[i].moves : l->n.least, i < n ? want[i].least : l->n.least);
    }
    for (size_t i = 0; i < n; i++)
        if (!seen[i]) fail_msg("%s has no line `%s`", kernel, want[i].text);
}

/* ---- the counting: a warp each, t its lane ---- */
static const struct {
    const char *body;
    int shared, how;
    unsigned long long moves, least;
} counts[] = {
    {"g[t] = t;", 0, WRITES, 4, 4},
    {"g[t + 1] = t;", 0, WRITES, 5, 4},
    {"g[8 * t] = t;", 0, WRITES, 32, 4},
    {"g[0] = g[1];", 0, READS, 1, 1},
    {"if (t < 3) g[t * 8] = t;", 0, WRITES, 3, 1},
    {"((bf16 *)g)[t] = t;", 0, WRITES, 2, 2},
    {"((bf16 *)g)[2 * t] = t;", 0, WRITES, 4, 2},
    {"for (int i = 0; i < 3; i++) g[64 * i + t] = i;", 0, WRITES, 12, 12},
    {"const quad q = {1, 2, 3, 4}; STORE_QUAD(g + 4 * t, q);", 0, WRITES, 16, 16},
    {"const quad q = {1, 2, 3, 4}; STORE_QUAD(g + 8 * t, q);", 0, WRITES, 32, 16},
    {"s[t] = t;", 1, WRITES, 1, 1},
    {"s[2 * t] = t;", 1, WRITES, 2, 1},
    {"s[8 * t] = t;", 1, WRITES, 8, 1},
    {"s[32 * t] = t;", 1, WRITES, 32, 1},
    {"s[33 * t] = t;", 1, WRITES, 1, 1},
    {"((bf16 *)s)[t] = t;", 1, WRITES, 1, 1},
    {"g[t] = s[7];", 1, READS, 1, 1},
    {"g[t] = s[t / 2 * 32];", 1, READS, 16, 1},
    {"((u64 *)s)[t] = 1;", 1, WRITES, 2, 2},
    {"((u64 *)s)[2 * t] = 1;", 1, WRITES, 4, 2},
    {"const quad q = {1, 2, 3, 4}; STORE_QUAD(s + 4 * t, q);", 1, WRITES, 4, 4},
    {"const quad q = {1, 2, 3, 4}; STORE_QUAD(s + 8 * t, q);", 1, WRITES, 8, 4},
    {"unsigned r[4]; matrices(r, (bf16 *)s + 8 * t); g[t] = r[0];", 1, MATRICES, 4, 4},
    {"unsigned r[4]; matrices(r, (bf16 *)s + 64 * t); g[t] = r[0];", 1, MATRICES, 32, 4},
    {"unsigned r[4]; matrices(r, (bf16 *)s + 72 * t); g[t] = r[0];", 1, MATRICES, 4, 4},
    {"copy_async((bf16 *)s + 8 * t, (bf16 *)g + 8 * t, 16); copy_commit(); COPY_WAIT(0);", 0, FETCHES, 16,
     16},
    {"copy_async((bf16 *)s + 8 * t, (bf16 *)g + 16 * t, 16); copy_commit(); COPY_WAIT(0);", 0, FETCHES, 32,
     16},
    {"copy_async((bf16 *)s + 16 * t, (bf16 *)g + 8 * t, 16); copy_commit(); COPY_WAIT(0);", 1, LANDS, 8, 4},
};

static void test_counting(void **state) {
    (void)state;
    skip_under_sanitizers();
    static const char *const names[] = {"prelude", "tensor_prelude", NULL};
    char *source = kernel_source("", names, 0, NULL, NULL, 0);
    source = realloc(source, strlen(source) + CTL_COUNT(counts) * 400);
    assert_non_null(source);
    size_t n = strlen(source);
    n += (size_t)sprintf(source + n, "typedef struct one { int *g; } one;\n");
    for (size_t k = 0; k < CTL_COUNT(counts); k++)
        n += (size_t)sprintf(source + n,
                             "KERNEL(count_%zu, one, 32) { SHARED(int, s); const int t = THREAD; int *const "
                             "g = call.g; (void)s, (void)g;\n%s\n}\n",
                             k, counts[k].body);
    launcher l = {0};
    open_counted(&l, (const char *const *)&source, 1);
    for (size_t k = 0; k < CTL_COUNT(counts); k++) {
        _Alignas(32) static int g[512];
        int *call[] = {g};
        char kernel[32];
        snprintf(kernel, sizeof kernel, "count_%zu", k);
        if (!launch(&l, kernel, call, 1, 1, 32, 4224)) fail_msg("%s: %s", counts[k].body, l.fault);
    }
    close_counted(&l);
    for (size_t k = 0; k < CTL_COUNT(counts); k++) {
        char kernel[32];
        unsigned long long moves = 0, least = 0;
        snprintf(kernel, sizeof kernel, "count_%zu", k);
        for (int i = 0; i < nlines; i++)
            if (strcmp(lines[i].kernel, kernel) == 0 && lines[i].shared == counts[k].shared &&
                lines[i].how == counts[k].how)
                moves += lines[i].n.moves, least += lines[i].n.least;
        if (moves != counts[k].moves || least != counts[k].least)
            fail_msg("%s: %llu moves of at least %llu, not %llu of %llu", counts[k].body, moves, least,
                     counts[k].moves, counts[k].least);
    }
    free(source);
}

/* ---- attention: heads of 128, causal; places in a row of 4096 columns, as in LLaMA2-7B ---- */
static void test_attention(void **state) {
    (void)state;
    skip_under_sanitizers();
    enum { T = 128, HEADS = 2, HEAD = 128, KEYS = 32, STRIDE = 4096, LSE = 32 };
    static const char *const names[] = {"prelude",        "tensor_prelude",
                                        "attend_prelude", "attend_rows_prelude",
                                        "attend_dots",    "attend_tensor_prelude",
                                        "attend_forward", "attend_queries",
                                        "attend_keys",    NULL};
    char *source =
        kernel_source("#define HEAD 128\n#define KEYS 32\n#define QUERIES 32\n", names, 0, NULL, NULL, 0);
    char *panels[8];
    for (int k = 0; k < 8; k++)
        panels[k] = aligned_alloc(64, (size_t)T * STRIDE * 2), assert_non_null(panels[k]),
        memset(panels[k], 0, (size_t)T * STRIDE * 2);
    float *lse = aligned_alloc(64, T * LSE * 4), *dots = aligned_alloc(64, T * HEADS * 4);
    assert_true(lse && dots);
    const ctl_cuda_attend call = {.q = panels[0],
                                  .k = panels[1],
                                  .v = panels[2],
                                  .out = panels[3],
                                  .d_out = panels[4],
                                  .o = panels[3],
                                  .dq = panels[5],
                                  .dk = panels[6],
                                  .dv = panels[7],
                                  .lse = lse,
                                  .dots = dots,
                                  .q_stride = STRIDE,
                                  .k_stride = STRIDE,
                                  .v_stride = STRIDE,
                                  .out_stride = STRIDE,
                                  .d_out_stride = STRIDE,
                                  .o_stride = STRIDE,
                                  .dq_stride = STRIDE,
                                  .dk_stride = STRIDE,
                                  .dv_stride = STRIDE,
                                  .lse_stride = LSE,
                                  .rows = T,
                                  .heads = HEADS,
                                  .group = 1,
                                  .causal = 1,
                                  .longest = T,
                                  .bf16_in = 1,
                                  .bf16_o = 1,
                                  .bf16_d_out = 1,
                                  .bf16_dq = 1,
                                  .bf16_dk = 1,
                                  .bf16_dv = 1,
                                  .bf16_out = 1,
                                  .scale = 0.1f};
    launcher l = {0};
    open_counted(&l, (const char *const *)&source, 1);
    const char *const kernels[] = {"attend_forward", "attend_queries", "attend_keys"};
    bool ok =
        launch(&l, kernels[0], &call, T / 64, HEADS, 128, ctl_cuda_attend_shared(0, HEAD, KEYS, KEYS)) &&
        launch(&l, "attend_dots", &call, T / 4, HEADS, 128, 0);
    for (int k = 1; k < 3; k++)
        ok = ok &&
             launch(&l, kernels[k], &call, T / 64, HEADS, 128, ctl_cuda_attend_shared(k, HEAD, KEYS, KEYS));
    if (!ok) fail_msg("%s", l.fault);
    close_counted(&l);
    /* Of each head 2 blocks of 64 rows, which see 2 and 4 tiles of 32 keys; a row of a tile is 256 bytes, 8
     * sectors. Four warps read a tile in ldmatrix's of 16 x 16, in 4 turns each. A row's log lies beside
     * those of 32 heads. */
    enum {
        OWN = HEADS * 2 * 64 * 8,
        TILES = HEADS * 6,
        TILE = 32 * 8,
        OF_TILE = 4 * 2 * 8 * 4,
        PANEL = HEADS * T * 8,
        LOGS = HEADS * T
    };
    const expected forward[] = {
        {"copy_tile(shared, call.q", 0, FETCHES, OWN, OWN},
        {"copy_tile(values, call.v", 0, FETCHES, TILES * TILE, TILES * TILE},
        {"columns_of(right, keys", 1, MATRICES, TILES * OF_TILE, TILES * OF_TILE},
        {"add_product(o,", 1, MATRICES, TILES * OF_TILE, TILES * OF_TILE},
        {"put_rows(", 0, WRITES, PANEL, PANEL},
        {"if (lane % 4 == 0 && t < call.rows) call.lse", 0, WRITES, LOGS, LOGS / 8},
    };
    expect_lines(kernels[0], forward, CTL_COUNT(forward));
    const expected queries[] = {
        {"copy_tile(keys, call.k", 0, FETCHES, TILES * TILE, TILES * TILE},
        {"add_product(dq,", 1, MATRICES, TILES * OF_TILE, TILES * OF_TILE},
        {"scores(s, q,", 1, MATRICES, TILES * (OF_TILE + 4 * 8 * 4), TILES * (OF_TILE + 4 * 8 * 4)},
        {"put_rows(", 0, WRITES, PANEL, PANEL},
        {"lse[i] =", 0, READS, LOGS, LOGS / 8},
    };
    expect_lines(kernels[1], queries, CTL_COUNT(queries));
    const expected keys[] = {
        {"copy_tile(q, call.q", 0, FETCHES, TILES * TILE, TILES * TILE},
        {"add_product(dv,", 1, MATRICES, TILES * OF_TILE, TILES * OF_TILE},
        {"put_rows((const float (*)[4])dv", 0, WRITES, PANEL, PANEL},
        {"put_rows((const float (*)[4])dk", 0, WRITES, PANEL, PANEL},
        {"lse[i] = t < call.rows", 0, READS, TILES * 32, TILES * 4},
        {"across[i] =", 0, READS, TILES * 4, TILES * 4},
    };
    expect_lines(kernels[2], keys, CTL_COUNT(keys));
    const expected panel[] = {{"take_row(o,", 0, READS, PANEL, PANEL},
                              {"take_row(d,", 0, READS, PANEL, PANEL}};
    expect_lines("attend_dots", panel, CTL_COUNT(panel));
    for (int k = 0; k < 8; k++) free(panels[k]);
    free(lse), free(dots), free(source);
}

/* ---- a chunk of logits, of 32000 columns; a square that is turned; the optimizer ---- */
static void test_tasks(void **state) {
    (void)state;
    skip_under_sanitizers();
    enum { LOSSES = 2, VOCAB = 32000, SIDE = 64, COUNT = 4096 };
    static const char *const names[] = {"prelude", "losses", "moves", "optimizer", NULL};
    char *source = kernel_source("", names, 0, NULL, NULL, 0);
    float *x = aligned_alloc(64, LOSSES * VOCAB * 4), losses[LOSSES];
    const int32_t labels[LOSSES] = {7, 30000};
    const float normaliser = 1;
    assert_non_null(x);
    for (int i = 0; i < LOSSES * VOCAB; i++) x[i] = (float)(i % 13);
    const ctl_cuda_losses head = {x, x, labels, &normaliser, losses, 1, LOSSES, VOCAB, 1, NULL, 0};
    const ctl_cuda_transpose turn = {x, x + VOCAB, SIDE, SIDE, SIDE, SIDE, 0, 1};
    double squares[1];
    ctl_cuda_optimizer_state s = {.finite = 1};
    const ctl_cuda_optimizer step = {&s,    x,     x + COUNT, x + 2 * COUNT, x + 3 * COUNT, squares,
                                     COUNT, COUNT, 1};
    launcher l = {0};
    open_counted(&l, (const char *const *)&source, 1);
    if (!launch(&l, "task_losses", &head, LOSSES, 1, 256, CTL_CUDA_LOSSES_SHARED) ||
        !launch(&l, "task_transpose", &turn, SIDE / 32, SIDE / 32, 256, CTL_CUDA_TRANSPOSE_SHARED) ||
        !launch(&l, "task_squares", &step, 1, 1, 128, CTL_CUDA_SQUARES_SHARED) ||
        !launch(&l, "task_adamw", &step, 2, 1, 256, 0))
        fail_msg("%s", l.fault);
    close_counted(&l);
    /* Three times through the logits, whose gradients take half of their place; the third time each warp
     * reads the normaliser too. */
    enum {
        READ = LOSSES * VOCAB * 4 / 32,
        WARPS = LOSSES * VOCAB / 32,
        SQUARE = SIDE * SIDE * 4 / 32,
        TURNS = SIDE * SIDE / 32
    };
    const expected logits[] = {
        {"if (x[c] > most)", 0, READS, READ, READ},
        {"for (int c = THREAD; c < vocab; c += THREADS) sum", 0, READS, READ, READ},
        {"if (c < vocab && label", 0, READS, READ + WARPS, READ + WARPS},
        {"if (c < vocab && call.bf16_d)", 0, WRITES, READ / 2, READ / 2},
    };
    expect_lines("task_losses", logits, CTL_COUNT(logits));
    const expected square[] = {
        {"square[i * 33 + x] =", 0, READS, SQUARE, SQUARE},
        {"square[i * 33 + x] =", 1, WRITES, TURNS, TURNS},
        {"const float value = square[", 1, READS, TURNS, TURNS},
        {"if (call.bf16_out)", 0, WRITES, SQUARE / 2, SQUARE / 2},
    };
    expect_lines("task_transpose", square, CTL_COUNT(square));
    expect_lines("task_squares", NULL, 0);
    const expected adamw[] = {
        {"call.m[i] = m, call.v[i] = v", 0, WRITES, 2 * COUNT * 4 / 32, 2 * COUNT * 4 / 32}};
    expect_lines("task_adamw", adamw, CTL_COUNT(adamw));
    free(x), free(source);
}

/* ---- an adapter's product: 128 rows of 4096 columns, rank 64, added to f32 and written in bf16 ---- */
static void test_narrow(void **state) {
    (void)state;
    skip_under_sanitizers();
    enum { R = 128, C = 4096, INNER = 64 };
    static const char *const names[] = {"prelude", "tensor_prelude", "narrow", NULL};
    char *source = kernel_source("", names, 0, NULL, NULL, 0);
    uint16_t *a = aligned_alloc(64, R * INNER * 2), *b = aligned_alloc(64, C * INNER * 2),
             *c = aligned_alloc(64, R * C * 2), *more = aligned_alloc(64, R * C * 2);
    float *addend = aligned_alloc(64, R * C * 4);
    assert_true(a && b && c && more && addend);
    memset(a, 0, R * INNER * 2), memset(b, 0, C * INNER * 2), memset(more, 0, R * C * 2),
        memset(addend, 0, R * C * 4);
    launcher l = {0};
    open_counted(&l, (const char *const *)&source, 1);
    for (int turned = 0; turned < 2; turned++) {
        const ctl_cuda_narrow call = {.a = a,
                                      .b = b,
                                      .addend = addend,
                                      .more = more,
                                      .c = c,
                                      .a_stride = INNER,
                                      .b_stride = turned ? INNER : C,
                                      .addend_stride = C,
                                      .more_stride = C,
                                      .c_stride = C,
                                      .rows = R,
                                      .cols = C,
                                      .inner = INNER,
                                      .turned = turned,
                                      .bf16_c = 1,
                                      .wide_a = 1,
                                      .wide_b = 1,
                                      .wide = 1,
                                      .tiles = 2};
        if (!launch(&l, "task_narrow", &call, C / 64, 2, CTL_CUDA_NARROW_THREADS,
                    ctl_cuda_narrow_shared(INNER)))
            fail_msg("%s", l.fault);
    }
    close_counted(&l);
    /* Each time 64 x 2 blocks of 64 columns and rows; 64 rows of 64 numbers are 256 sectors, or 64 turns. A
     * column of b that is no row is laid down by 32 threads in rows which begin at every fourth bank: 4
     * turns. What is added in f32 is taken in two halves. */
    enum { BLOCKS = 64 * 2, SQUARE = 256, PANEL = R * C * 2 / 32, WARPS = 4, STEPS = INNER / 16 };
    const expected want[] = {
        {"narrow_rows(a,", 0, FETCHES, 2 * BLOCKS * SQUARE, 2 * BLOCKS * SQUARE},
        {"narrow_rows(a,", 1, LANDS, 2 * BLOCKS * 64, 2 * BLOCKS * 64},
        {"if (call.turned) narrow_rows(b,", 0, FETCHES, BLOCKS * SQUARE, BLOCKS * SQUARE},
        {"if (call.turned) narrow_rows(b,", 1, LANDS, BLOCKS * 64, BLOCKS * 64},
        {"else narrow_columns(b,", 0, READS, BLOCKS * SQUARE, BLOCKS * SQUARE},
        {"else narrow_columns(b,", 1, WRITES, 4 * BLOCKS * 64 * 2, BLOCKS * 64 * 2},
        {"matrices(left,", 1, MATRICES, 2 * BLOCKS * WARPS * STEPS * 4, 2 * BLOCKS * WARPS * STEPS * 4},
        {"matrices(right,", 1, MATRICES, 2 * BLOCKS * WARPS * STEPS * 4 * 4,
         2 * BLOCKS * WARPS * STEPS * 4 * 4},
        {"narrow_end(", 0, READS, 2 * (2 * 2 * PANEL + PANEL), 2 * (2 * PANEL + PANEL)},
        {"narrow_end(", 0, WRITES, 2 * PANEL, 2 * PANEL},
    };
    expect_lines("task_narrow", want, CTL_COUNT(want));
    free(a), free(b), free(c), free(more), free(addend), free(source);
}

/* ---- row programs: an RMS norm of 4096 columns in bf16, whose column sums are wanted, and a cast to f32
 * ---- */
static void test_rows(void **state) {
    ctl_arena *arena = arena_of(state);
    skip_under_sanitizers();
    enum { COLS = 4096, TILES = COLS / 256 };
    maker m = start(arena, 1);
    const uint32_t x = load(&m, AT_ROW, CTL_BF16, COLS), weight = load(&m, AT_FIXED, CTL_BF16, COLS);
    const uint32_t mean = op2(&m, OP_DIV, op1(&m, OP_SUM, op2(&m, OP_MUL, x, x)), number(&m, COLS));
    const uint32_t y = op2(&m, OP_MUL, op2(&m, OP_MUL, x, op1(&m, OP_RSQRT, mean)), weight);
    store(&m, CTL_BF16, cast(&m, CTL_BF16, y));
    store(&m, CTL_F32, y);
    write_to(&m, ROW_COLSUM, AT_CHUNK, CTL_F32, COLS, y);
    const ctl_rowprog *p = verified(&m);
    ctl_cuda_kernel kernel = {.name = "rows_0"};
    ctl_text text = {.arena = arena};
    ctl_cuda_source(arena, &p, 1, &kernel, &text);
    const char *texts[] = {text.at, "\n#include \"tests/cuda/rows_host.h\"\nROWS_RUN(rows_0, 0)\n"};
    launcher l = {0};
    open_counted(&l, texts, 2);
    rows_host_program program = {&kernel, p};
    *(const rows_host_program **)shared_object_find(&l.object, "rows_host_programs") = &program;
    ctl_rows_fn run = (ctl_rows_fn)(uintptr_t)shared_object_find(&l.object, "rows_0_run");
    ctl_rows_arg args[8] = {{0}};
    for (uint32_t k = 0; k < p->noperands; k++) {
        const size_t bytes = (size_t)ROWS * COLS * ctl_dtype_size(p->operands[k].dtype);
        args[k] = (ctl_rows_arg){
            .base = (void *)(((uintptr_t)ctl_arena_alloc(arena, bytes + 64) + 63) / 64 * 64), .stride = COLS};
        memset(args[k].base, 0, bytes);
    }
    const ctl_rows_call call = {.args = args};
    run(&call, 0, ROWS);
    close_counted(&l);
    /* Eight warps have 8 rows at a time, two of them none in the end. A warp stores a tile of 256 columns,
     * twice 16 bytes a thread, in 8 turns, and adds its 16 lanes in 16; then each row's columns are added, 32
     * at a time, to sums in memory of which those of a chunk's first 8 rows are fresh. */
    const unsigned long long row = COLS * 2 / 32, tiles = 72 * TILES, added = 70 * COLS / 32,
                             sums = COLS * 4 / 32;
    const expected want[] = {
        {"float x0[8]; load_bf16(x0, a0 + c", 0, READS, 70 * row, 70 * row},
        {"if (active) store_bf16(", 0, WRITES, 70 * row, 70 * row},
        {"if (active) store_f32(", 0, WRITES, 2 * 70 * 2 * row,
         70 * 2 * row}, /* beside bf16 a thread has 32 bytes: in two halves */
        {"put_tile(tile", 1, WRITES, tiles * 8, tiles * 8},
        {"put_tile(columns", 1, WRITES, tiles * 8, tiles * 8},
        {"add_lanes(", 1, READS, tiles * 16, tiles * 16},
        {"add_rows(", 1, READS, added, added},
        {"add_rows(", 0, READS, 7 * sums, 7 * sums},
        {"add_rows(", 0, WRITES, 9 * sums, 9 * sums},
    };
    expect_lines("rows_0", want, CTL_COUNT(want));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counting),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_tasks),
        cmocka_unit_test(test_narrow),
        cmocka_unit_test_setup_teardown(test_rows, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
