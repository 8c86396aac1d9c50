/* test_cuda_fragments: the host's stand-ins of a warp's instructions (tests/cuda/tensor.h), on which every CUDA kernel is tested,
 * against what the PTX ISA says of the instructions: which thread holds which element. The formulas here are that document's,
 * as it writes them, from a thread and the number of its element to a row and a column; a test fills whole matrices, deals
 * them out by the formulas, multiplies or turns them as matrices, and collects. (The stand-ins go the other way: each thread asks others
 * for what it needs.) Faults planted in the stand-ins are all noticed. */
#include "tests/cuda/kernels.h"

#include <math.h>
#include <sys/stat.h>

#include "tests/cuda/fragments.h"
#include "tests/folder.h"

enum { LANES = 32, WARPS = FRAGMENTS_THREADS / LANES };

static uint32_t dice = 11;
static uint32_t any_word(void) {
    dice = dice * 1664525u + 1013904223u;
    return dice >> 8 ^ dice << 11;
}
static int below(int n) { return (int)(any_word() % (uint32_t)n); }

static uint32_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}
static uint32_t bf16_of(float x) { return bits_of(x) >> 16; } /* of small whole numbers: exact */

typedef struct trial {
    _Alignas(16) uint32_t in[FRAGMENTS_THREADS][FRAGMENTS_IN];
    uint32_t want[FRAGMENTS_THREADS][FRAGMENTS_OUT], got[FRAGMENTS_THREADS][FRAGMENTS_OUT];
    char wrong[256];
} trial;

static void begin(trial *t) {
    memset(t->in, 0, sizeof t->in);
    memset(t->want, 0xee, sizeof t->want);
    memset(t->got, 0xee, sizeof t->got);
}
/* out[] is all that was asked for, and what is beyond stays. */
static bool run(launcher *l, trial *t, const char *kernel, size_t shared) {
    const fragments_call call = {t->in[0], t->got[0]};
    if (!launch(l, kernel, &call, 1, 1, FRAGMENTS_THREADS, shared)) {
        snprintf(t->wrong, sizeof t->wrong, "%s: %.200s", kernel, l->fault);
        return false;
    }
    for (int thread = 0; thread < FRAGMENTS_THREADS; thread++)
        for (int k = 0; k < FRAGMENTS_OUT; k++)
            if (t->got[thread][k] != t->want[thread][k]) {
                snprintf(t->wrong, sizeof t->wrong, "%s: word %d of thread %d is %08x, not %08x", kernel, k, thread,
                         (unsigned)t->got[thread][k], (unsigned)t->want[thread][k]);
                return false;
            }
    return true;
}

/* ---- mma.m16n8k16 (PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type") ---- */
typedef struct place {
    int row, col;
} place;
static place of_a(int laneid, int i) { /* .bf16, i = 0 .. 7 */
    const int groupID = laneid >> 2, threadID_in_group = laneid % 4;
    return (place){(0 <= i && i < 2) || (4 <= i && i < 6) ? groupID : groupID + 8,
                   i < 4 ? threadID_in_group * 2 + (i & 0x1) : threadID_in_group * 2 + (i & 0x1) + 8};
}
static place of_b(int laneid, int i) { /* .bf16, i = 0 .. 3 */
    const int groupID = laneid >> 2, threadID_in_group = laneid % 4;
    return (place){i < 2 ? threadID_in_group * 2 + (i & 0x1) : threadID_in_group * 2 + (i & 0x1) + 8, groupID};
}
static place of_c(int laneid, int i) { /* .f32, C and D, i = 0 .. 3 */
    const int groupID = laneid >> 2, threadID_in_group = laneid % 4;
    return (place){i < 2 ? groupID : groupID + 8, threadID_in_group * 2 + (i & 0x1)};
}

/* Every element of a matrix is in one place. */
static void check_partition(place (*of)(int, int), int elements, int rows, int cols) {
    int holders[16][16] = {{0}};
    for (int lane = 0; lane < LANES; lane++)
        for (int i = 0; i < elements; i++) holders[of(lane, i).row][of(lane, i).col]++;
    for (int r = 0; r < 16; r++)
        for (int c = 0; c < 16; c++) assert_int_equal(holders[r][c], r < rows && c < cols);
}

/* Deals a matrix of 16-bit elements out: two to a register, the one with the lower number in its lower half. */
static void deal(trial *t, int warp, int word, place (*of)(int, int), int elements, float matrix[16][16]) {
    for (int lane = 0; lane < LANES; lane++)
        for (int i = 0; i < elements; i++)
            t->in[warp * LANES + lane][word + i / 2] |= bf16_of(matrix[of(lane, i).row][of(lane, i).col]) << (i % 2 ? 16 : 0);
}

static bool products(launcher *l, trial *t) {
    begin(t);
    for (int warp = 0; warp < WARPS; warp++) {
        float a[2][16][16], b[2][16][16], d[16][16];
        for (int r = 0; r < 16; r++)
            for (int c = 0; c < 16; c++) {
                for (int k = 0; k < 2; k++) a[k][r][c] = (float)(below(33) - 16), b[k][r][c] = (float)(below(33) - 16);
                d[r][c] = (float)(below(2001) - 1000);
            }
        for (int lane = 0; lane < LANES; lane++)
            for (int i = 0; i < 4; i++) t->in[warp * LANES + lane][12 + i] = bits_of(d[of_c(lane, i).row][of_c(lane, i).col]);
        for (int k = 0; k < 2; k++) { /* D = A B + C, twice; whole numbers, so no order of the sums matters */
            deal(t, warp, 6 * k, of_a, 8, a[k]), deal(t, warp, 6 * k + 4, of_b, 4, b[k]);
            for (int r = 0; r < 16; r++)
                for (int c = 0; c < 8; c++)
                    for (int j = 0; j < 16; j++) d[r][c] += a[k][r][j] * b[k][j][c];
        }
        for (int lane = 0; lane < LANES; lane++)
            for (int i = 0; i < 4; i++) t->want[warp * LANES + lane][i] = bits_of(d[of_c(lane, i).row][of_c(lane, i).col]);
    }
    return run(l, t, "fragments_product", 0);
}

/* ---- ldmatrix.m8n8.x4.b16 ---- */
/* "Addresses addr0-addr7 correspond to the rows of the first matrix, addresses addr8-addr15 correspond to the rows of the second
 * matrix, and so on", given by threads 0-7, 8-15 and so on; "thread 0 receiving the first fragment in its register r, and so
 * on. A group of four threads loads an entire row of the matrix"; .trans: as if it lay in columns. Register m is matrix m's. */
static void load(trial *t, int warp, int word, uint16_t matrix[4][8][8], bool trans) {
    for (int m = 0; m < 4; m++)
        for (int r = 0; r < 8; r++)
            for (int c = 0; c < 8; c++) {
                const int at = trans ? c * 8 + r : r * 8 + c; /* elements in the order in which threads receive them, two each */
                uint32_t *reg = &t->want[warp * LANES + at / 2][word + m];
                *reg = at % 2 ? (*reg & 0xffffu) | (uint32_t)matrix[m][r][c] << 16 : (*reg & 0xffff0000u) | matrix[m][r][c];
            }
}
static bool loads(launcher *l, trial *t) {
    begin(t);
    for (int warp = 0; warp < WARPS; warp++) {
        int at[2][LANES]; /* where the row lies of which a lane gives the address: in any order */
        uint16_t row[LANES][8], matrix[4][8][8];
        for (int k = 0; k < 2; k++)
            for (int lane = 0; lane < LANES; lane++) {
                const int other = below(lane + 1);
                at[k][lane] = at[k][other], at[k][other] = lane;
            }
        for (int lane = 0; lane < LANES; lane++) {
            uint32_t *in = t->in[warp * LANES + lane];
            for (int c = 0; c < 8; c++) row[lane][c] = (uint16_t)any_word();
            for (int i = 0; i < 4; i++) in[i] = row[lane][2 * i] | (uint32_t)row[lane][2 * i + 1] << 16;
            in[4] = (uint32_t)at[0][lane], in[5] = (uint32_t)at[1][lane];
        }
        for (int use = 0; use < 3; use++) {
            for (int addr = 0; addr < LANES; addr++) memcpy(matrix[addr / 8][addr % 8], row[at[use > 0][addr]], sizeof row[0]);
            load(t, warp, 4 * use, matrix, use == 1);
        }
    }
    return run(l, t, "fragments_matrices", FRAGMENTS_THREADS * 16);
}

/* ---- shfl.sync.bfly: lane j receives from lane j xor b, within its warp ---- */
static bool shuffles(launcher *l, trial *t) {
    begin(t);
    for (int warp = 0; warp < WARPS; warp++)
        for (int k = 0; k < 5; k++)
            for (int lane = 0; lane < LANES; lane++) {
                const uint32_t word = any_word() & 0x3fffffffu; /* a number */
                t->in[warp * LANES + lane][k] = word;
                t->want[warp * LANES + (lane ^ 1 << k)][k] = word;
            }
    return run(l, t, "fragments_shuffles", 0);
}

/* ---- cp.async.cg 16, src-size; commit_group; wait_group ---- */
/* Bytes beyond src-size are filled with zeros. wait_group N: until at most N of the thread's most recent groups are pending; copies
 * that no commit followed are in none. What the document lets land later has landed (HOST_AT_ISSUE) or has not. */
static void landed(uint32_t *out, const uint32_t *from, uint32_t size, bool is) {
    unsigned char bytes[16];
    memcpy(bytes, from, sizeof bytes);
    for (uint32_t k = size; k < 16; k++) bytes[k] = 0;
    if (!is) memset(bytes, FRAGMENTS_BEFORE & 0xff, sizeof bytes);
    memcpy(out, bytes, sizeof bytes);
}
static bool copies(launcher *l, trial *t) {
    const bool early = l->landing == HOST_AT_ISSUE;
    begin(t);
    for (int thread = 0; thread < FRAGMENTS_THREADS; thread++) {
        for (int k = 0; k < 16; k++) t->in[thread][k] = any_word();
        for (int k = 0; k < 4; k++) t->in[thread][16 + k] = (uint32_t)(thread % 9 == k ? 16 : 2 * below(9));
    }
    for (int thread = 0; thread < FRAGMENTS_THREADS; thread++) {
        const uint32_t *in = t->in[thread], *other = t->in[thread ^ 1];
        uint32_t *out = t->want[thread];
        for (int k = 0; k < 4; k++) {
            landed(out + 4 * k, in + 4 * k, in[16 + k], early || k < 1);
            landed(out + 16 + 4 * k, in + 4 * k, in[16 + k], early || k < 3);
        }
        landed(out + 32, other + 12, other[19], early || thread % 2); /* the even ones have waited */
        landed(out + 36, in + 12, in[19], true);
    }
    return run(l, t, "fragments_copies", FRAGMENTS_THREADS * 64);
}

static bool everything(launcher *l, void *ctx) {
    return products(l, ctx) && loads(l, ctx) && shuffles(l, ctx) && copies(l, ctx);
}

/* ---- the stand-ins as they are, and spoiled ---- */
static trial shared_trial;

static char *fragments_source(void) {
    static const char more[] = "\n#include \"tests/cuda/fragments.cu\"\n";
    const char *prelude = ctl_cuda_text("prelude");
    char *source = malloc(strlen(prelude) + sizeof more);
    assert_non_null(source);
    strcpy(source, prelude);
    return strcat(source, more);
}

static void test_stand_ins(void **state) {
    (void)state;
    check_partition(of_a, 8, 16, 16), check_partition(of_b, 4, 16, 8), check_partition(of_c, 4, 16, 8);
    launcher l = {0};
    char *source = fragments_source();
    const char *why = shared_object_open(&l.object, (const char *const *)&source, 1, "-O0");
    if (why) fail_msg("%s", why);
    if (!launch_all(&l, everything, &shared_trial)) fail_msg("order %d, landing %d: %s", l.order, l.landing, shared_trial.wrong);
    free(source);
    shared_object_close(&l.object);
}

static const struct {
    const char *file, *what, *by;
} faults[] = {
    /* Fragments of a product. */
    {"tensor.h", "left->a[k / 8 * 2 + i / 2]", "left->a[i / 2 * 2 + k / 8]"},
    {"tensor.h", "left->a[k / 8 * 2 + i / 2]", "left->a[k / 8 * 2]"},
    {"tensor.h", "&w[g * 4 + k % 8 / 2]", "&w[k % 8 / 2 * 8 + g]"},
    {"tensor.h", "i / 2], k % 2)", "i / 2], 1 - k % 2)"},
    {"tensor.h", "right->b[k / 8]", "right->b[k % 2]"},
    {"tensor.h", "&w[n * 4 + k % 8 / 2]", "&w[k % 8 / 2 * 8 + n]"},
    {"tensor.h", "n = 2 * t + i % 2", "n = t + i % 2 * 4"},
    {"tensor.h", "n = 2 * t + i % 2", "n = 2 * t + i / 2"},
    /* Loads. */
    {"tensor.h", ": w[8 * m + g].row[2 * t];", ": w[8 * m + 2 * t].row[g];"},
    {"tensor.h", "turned ? w[8 * m + 2 * t].row[g]", "turned ? w[8 * m + g].row[2 * t]"},
    {"tensor.h", ": w[8 * m + g].row[2 * t + 1]", ": w[8 * m + g].row[t + 4]"},
    {"tensor.h", "low | (uint32_t)high << 16", "high | (uint32_t)low << 16"},
    {"tensor.h", "r[m] =", "r[m ^ 1] ="},
    {"tensor.h", "host_matrices(r, row, 1);", "host_matrices(r, row, 0);"},
    /* Threads that wait for the others before they look, and before they go on. */
    {"tensor.h", "row, 16);\n    host_sync_warp(0xffffffffu);", "row, 16);"},
    {"threads.h", "host.words[me][0] = word;\n    host_sync_warp(mask);", "host.words[me][0] = word;"},
    {"tensor.h", "sizeof w[lane].b);\n    host_sync_warp(0xffffffffu);", "sizeof w[lane].b);"},
    {"tensor.h", "    host_sync_warp(0xffffffffu);\n}\n\nstatic HOST_UNSEEN void host_matrices", "}\n\nstatic HOST_UNSEEN void host_matrices"},
    {"tensor.h", "    host_sync_warp(0xffffffffu);\n}\nstatic HOST_UNSEEN void matrices(", "}\nstatic HOST_UNSEEN void matrices("},
    {"threads.h", "    const uint32_t other = host.words[from][0];\n    host_sync_warp(mask);", "    const uint32_t other = host.words[from][0];"},
    /* Shuffles. */
    {"tensor.h", "host_lane() ^ lanes", "host_lane() + lanes"},
    {"threads.h", "me / HOST_WARP * HOST_WARP + (lane &", "(lane &"},
    /* Copies. */
    {"tensor.h", "memset((char *)c->to + c->bytes, 0, c->zeros);", ";"},
    {"tensor.h", "c->bytes, 0, c->zeros)", "c->bytes, 0, c->zeros / 2)"},
    {"tensor.h", ".group < mine->group - n", ".group <= mine->group - n"},
    {"tensor.h", ".group < mine->group - n", ".group < mine->group"},
    {"tensor.h", "[host.now->index].group++", "[host.now->index].group += 0"},
    {"tensor.h", "static HOST_UNSEEN void host_copy_wait(int n) {\n    host_copies *mine = &host.copies[host.now->index];",
     "static HOST_UNSEEN void host_copy_wait(int n) {\n    host_copies *mine = &host.copies[host.now->index ^ 1];"},
    {"tensor.h", "host.landing == HOST_AT_ISSUE", "host.landing == HOST_AT_WAIT"},
};

/* A copy of a header of tests/cuda with a fault, below the folder that we are in; it is found before the header itself. */
static void plant(const char *file, const char *what, const char *by) {
    char path[512];
    char *text = calloc(1, 1 << 16);
    snprintf(path, sizeof path, "%s/tests/cuda/%s", SOURCE_DIR, file);
    FILE *f = fopen(path, "rb");
    if (!f || !text || !fread(text, 1, (1 << 16) - 1, f) || fclose(f)) fail_msg("%s cannot be read", path);
    const char *at = strstr(text, what);
    if (!at || strstr(at + 1, what)) fail_msg("%s has `%s` not once", file, what);
    snprintf(path, sizeof path, "tests/cuda/%s", file);
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "%.*s%s%s", (int)(at - text), text, by, at + strlen(what));
    assert_int_equal(fclose(f), 0);
    free(text);
}

static void test_planted_faults(void **state) {
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* it is the numbers that notice them */
#endif
    int missed = 0;
    char *source = fragments_source();
    assert_int_equal(sizeof faults / sizeof *faults, 29); /* docs/cuda.md says so */
    assert_true(mkdir("tests", 0700) == 0 && mkdir("tests/cuda", 0700) == 0);
    for (size_t k = 0; k < sizeof faults / sizeof *faults; k++) {
        plant(faults[k].file, faults[k].what, faults[k].by);
        if (!source_fails_by(source, "-O0 -I.", everything, &shared_trial))
            missed++, print_message("%s: `%s` replaced by `%s`: nothing noticed it\n", faults[k].file, faults[k].what, faults[k].by);
        char path[64];
        snprintf(path, sizeof path, "tests/cuda/%s", faults[k].file);
        assert_int_equal(unlink(path), 0);
    }
    free(source);
    assert_int_equal(missed, 0);
}

static int begin_tests(void **state) { return make_folder(state) || chdir(folder); }
static int end_tests(void **state) { return chdir("/") || remove_folder(state); }

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stand_ins), cmocka_unit_test(test_planted_faults)};
    return cmocka_run_group_tests(tests, begin_tests, end_tests);
}
