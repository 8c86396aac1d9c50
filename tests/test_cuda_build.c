/* The CUDA back end's row kernels and their compilation, without a GPU: barriers and bounds that are taken out of a source
 * are noticed; rows that shared memory has no room for; the cache of machine code, with a stand-in for CUDA's compiler;
 * `ctlc build`. (tests/test_rows*.c, built once more, compare the kernels' bits.) */
#include "tests/rows_support.h"

#include "tests/cuda/kernels.h"

#include <pthread.h>
#include <sys/wait.h>

#include "base/sha256.h"
#include "compiler/emit/cuda/compile.h"
#include "runtime/files.h"
#include "tests/folder.h"

/* ---- planted faults ---- */
/* Reductions, kept rows, numbers, and column sums of rows or of numbers. */
typedef enum sums { NONE, OF_ROWS, OF_NUMBERS } sums;
static ctl_rowprog *many_barriers(ctl_arena *arena, int64_t width, sums wanted) {
    maker m = start(arena, 1);
    uint32_t x = load(&m, AT_ROW, CTL_F32, width), y = load(&m, AT_ROW, CTL_BF16, width);
    uint32_t e = op1(&m, OP_EXP, op2(&m, OP_SUB, x, op1(&m, OP_ROWMAX, x))), s = op1(&m, OP_SUM, e);
    uint32_t soft = op2(&m, OP_DIV, e, s), halves[2] = {columns(&m, soft, width / 2, width), columns(&m, soft, 0, width / 2)};
    uint32_t turned = op2(&m, OP_MUL, cat(&m, 2, halves), y);
    store(&m, CTL_F32, turned);
    store(&m, CTL_F32, op2(&m, OP_MUL, x, op1(&m, OP_SUM, turned)));
    if (wanted == OF_ROWS) write_to(&m, ROW_COLSUM, AT_CHUNK, CTL_F32, width, soft);
    if (wanted == OF_NUMBERS) write_to(&m, ROW_COLSUM, AT_CHUNK, CTL_F32, 1, s);
    return verified(&m);
}

/* The source with the nth line that begins with `what` left out, or with `what` replaced; NULL: there is none. */
static char *spoiled(ctl_arena *arena, const char *source, const char *what, const char *by, int nth) {
    const char *kernels = strstr(source, "rows split"), *at = kernels;
    for (int k = 0; (at = strstr(at, what)); k++, at++)
        if (k == nth) return ctl_format(arena, "%.*s%s%s", (int)(at - source), source, by, at + strlen(what));
    return NULL;
}

/* Memory whose first operand's last column is the largest of every second row, and whose rows are followed by a larger one. */
static memory gaps_that_tell(ctl_arena *arena, const ctl_rowprog *p) {
    for (uint64_t seed = 5;; seed++) {
        dice d = {.seed = seed};
        memory m = memory_for(arena, p, &d, false);
        if (m.args[0].stride == p->operands[0].cols) continue;
        for (int64_t t = 0; t < ROWS; t++) {
            float *end = (float *)m.args[0].base + t * m.args[0].stride + p->operands[0].cols;
            if (t % 2) end[-1] = 6;
            end[0] = 1000;
        }
        return m;
    }
}

/* Runs in a process of its own, which a fault may end. Orders of threads: all; true when one of them finds a difference. */
static bool found(ctl_arena *arena, const ctl_rowprog *p, const ctl_cuda_kernel *kernel, const char *source) {
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(1);
        shared_object object = {0};
        const char *texts[] = {source, "\n#include \"tests/cuda/rows_host.h\"\nROWS_RUN(rows_0, 0)\n"};
        if (shared_object_open(&object, texts, 2, "-O0")) _exit(1);
        rows_host_program program = {kernel, p};
        *(const rows_host_program **)shared_object_find(&object, "rows_host_programs") = &program;
        int *order = shared_object_find(&object, "rows_host_order");
        ctl_rows_fn run = (ctl_rows_fn)(uintptr_t)shared_object_find(&object, "rows_0_run");
        for (*order = 0; *order < HOST_ORDERS; (*order)++) {
            memory want = gaps_that_tell(arena, p), got = twin_of(arena, p, &want);
            float *values = CTL_NEW_ARRAY(arena, float, ctl_rowprog_run_floats(p));
            ctl_rowprog_run(p, &want.call, values, 0, ROWS);
            run(&got.call, 0, ROWS);
            for (uint32_t k = 0; k < p->noperands; k++)
                for (size_t i = 0; i < want.bytes[k] / ctl_dtype_size(p->operands[k].dtype); i++)
                    if (!same(p->operands[k].dtype, want.args[k].base, got.args[k].base, i)) _exit(1);
        }
        _exit(0);
    }
    int status = 0;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_planted_faults(void **state) {
    ctl_arena *arena = arena_of(state);
    static const struct {
        const char *what, *by;
        int width; /* 100: a group is half a warp */
        sums sums;
    } faults[] = {
        {"SYNC_WARP();", ";", 300, NONE},
        {"SYNC_BLOCK();", ";", 300, OF_ROWS},
        {"SYNC_BLOCK();", ";", 300, OF_NUMBERS},
        {"to = 300 - c", "to = 301 - c", 300, NONE},
        {"300 - c : 0", "299 - c : 0", 300, OF_ROWS},
        {"from = 150 - c", "from = 149 - c", 300, NONE},
        {"(tile + 0)", "(tile + 1)", 300, NONE},
        {"fresh = first == begin", "fresh = first != begin", 300, OF_ROWS},
        {"active = group < count", "active = 1", 300, OF_NUMBERS},
        {"active = first + group < rows", "active = 1", 100, NONE},
        {"r < rows; r +=", "r <= rows; r +=", 300, NONE},
    };
    int planted = 0;
    for (size_t f = 0; f < CTL_COUNT(faults); f++) {
        const ctl_rowprog *p = many_barriers(arena, faults[f].width, faults[f].sums);
        ctl_cuda_kernel kernel = {.name = "rows_0", .forms = CTL_CUDA_FORM_ANY};
        ctl_text text = {.arena = arena};
        ctl_cuda_source(arena, &p, 1, &kernel, &text);
        if (f < 3 && found(arena, p, &kernel, text.at)) fail_msg("the source is wrong as it is");
        for (int nth = 0; nth < 16; nth++) {
            char *source = spoiled(arena, text.at, faults[f].what, faults[f].by, nth);
            if (!source) break;
            planted++;
            if (!found(arena, p, &kernel, source))
                fail_msg("`%s` number %d replaced by `%s`: nothing noticed it in\n%s", faults[f].what, nth,
                         faults[f].by, strstr(text.at, "float n2;"));
        }
    }
    assert_true(planted > 20);
}

/* Whether a watched kernel has a race, in one order of threads, with the fault of this number; a launch that has one ends the process. */
static bool races(ctl_arena *arena, shared_object *object, const rows_host_program *program, int fault) {
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(1);
        *(const rows_host_program **)shared_object_find(object, "rows_host_programs") = program;
        *(int *)shared_object_find(object, "rows_host_order") = HOST_ROUND_ROBIN;
        *(int *)shared_object_find(object, "planted") = fault;
        const memory m = gaps_that_tell(arena, program->p);
        ((ctl_rows_fn)(uintptr_t)shared_object_find(object, "rows_0_run"))(&m.call, 0, ROWS);
        _exit(0);
    }
    int status = 0;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}
static void test_races(void **state) {
    ctl_arena *arena = arena_of(state);
    skip_under_sanitizers();
    static const struct {
        int width; /* 100: a group is half a warp */
        sums sums;
    } kernels[] = {{300, NONE}, {100, NONE}, {300, OF_ROWS}, {300, OF_NUMBERS}};
    for (size_t k = 0; k < CTL_COUNT(kernels); k++) {
        const ctl_rowprog *p = many_barriers(arena, kernels[k].width, kernels[k].sums);
        ctl_cuda_kernel kernel = {.name = "rows_0", .forms = CTL_CUDA_FORM_ANY};
        ctl_text text = {.arena = arena};
        ctl_text_add(&text, SOURCE_PLANTED);
        ctl_cuda_source(arena, &p, 1, &kernel, &text);
        char *source = strdup(text.at);
        assert_non_null(source);
        const size_t from = (size_t)(strstr(source, "rows split") - source);
        int planted = 0;
        source = source_with(source, from, "SYNC_BLOCK();", ";", &planted);
        if (kernels[k].sums == NONE) source = source_with(source, from, "SYNC_WARP();", ";", &planted);
        assert_true(planted >= (kernels[k].sums == NONE ? 5 : 2));
        shared_object object = {.watched = WATCHED};
        const char *texts[] = {source, "\n#include \"tests/cuda/rows_host.h\"\nROWS_RUN(rows_0, 0)\n"}, *why = shared_object_open(&object, texts, 2, "-O0");
        if (why) fail_msg("%s", why);
        const rows_host_program program = {&kernel, p};
        if (races(arena, &object, &program, -1)) fail_msg("the source has a race as it is:\n%s", text.at);
        for (int n = 0; n < planted; n++)
            if (!races(arena, &object, &program, n)) fail_msg("barrier number %d taken out: no race is found in\n%s", n, source);
        shared_object_close(&object);
        free(source);
    }
}

/* ---- rows that shared memory has no room for ---- */
static void test_wide_rows(void **state) {
    ctl_arena *arena = arena_of(state);
    ctl_rowprog *programs[] = {many_barriers(arena, 13000, NONE), many_barriers(arena, 13000, OF_ROWS),
                               many_barriers(arena, 3000, NONE)};
    ctl_cuda_kernel kernel = {0};
    ctl_cuda_plan(programs[0], arena, &kernel);
    assert_int_equal(kernel.scratch_floats, ctl_rowprog_scratch(programs[0], arena));
    assert_int_equal(kernel.block, 32);
    ctl_cuda_plan(programs[2], arena, &kernel);
    assert_int_equal(kernel.scratch_floats, 0);
    assert_true(kernel.shared_bytes <= 48 * 1024 && kernel.shared_bytes >= 12000 * (size_t)(kernel.block / 32));
    dice d = {.seed = 6};
    check_all(arena, programs, CTL_COUNT(programs), 0, &d, false);
}

/* Rows whose addresses and strides are multiples of 16 bytes are accessed so, and give the same bits; a kernel that has but that
 * form takes no others. */
static void check_form(ctl_arena *arena, int forms) {
    ctl_rowprog *p = many_barriers(arena, 264, NONE);
    ctl_rows_kernel kernel = {0};
    rows_cuda_forms = forms;
    ctl_cpu_code *code = emit(arena, &p, 1, 0, 1, &kernel);
    rows_cuda_forms = 0;
    dice d = {.seed = 7};
    for (int misaligned = 0; misaligned < 3; misaligned++) {
        memory want = memory_for(arena, p, &d, false);
        for (uint32_t k = 0; k < p->noperands; k++) {
            const size_t size = ctl_dtype_size(p->operands[k].dtype);
            want.args[k].stride = p->operands[k].cols > 1 ? 272 + (misaligned == 1) : 1;
            want.bytes[k] = (size_t)(rows_of(&p->operands[k]) * want.args[k].stride) * size;
            want.args[k].base = (char *)ctl_arena_alloc(arena, want.bytes[k] + 32) + (misaligned == 2 ? 4 : 0);
        }
        ctl_cuda_kernel cuda = {.forms = forms};
        ctl_dtype dtypes[8];
        for (uint32_t k = 0; k < p->noperands; k++) dtypes[k] = p->operands[k].dtype;
        ctl_cuda_plan(p, arena, &cuda);
        char *packed = ctl_arena_alloc(arena, ctl_cuda_rows_bytes(&cuda));
        const bool taken = ctl_cuda_rows_call(&cuda, &(ctl_cuda_rows_head){.rows = ROWS}, want.args, dtypes, NULL, packed);
        ctl_cuda_rows_head head;
        memcpy(&head, packed, sizeof head);
        assert_int_equal(head.wide, misaligned == 0);
        assert_int_equal(taken, !(misaligned && forms == CTL_CUDA_FORM_WIDE));
        if (!taken) continue;
        fill(p, &want, &d, false);
        memory got = want;
        got.args = CTL_NEW_ARRAY(arena, ctl_rows_arg, p->noperands);
        for (uint32_t k = 0; k < p->noperands; k++) {
            got.args[k] = want.args[k];
            got.args[k].base = (char *)ctl_arena_alloc(arena, want.bytes[k] + 32) + (misaligned == 2 ? 4 : 0);
            memcpy(got.args[k].base, want.args[k].base, want.bytes[k]);
        }
        got.call.args = got.args;
        float *values = CTL_NEW_ARRAY(arena, float, ctl_rowprog_run_floats(p));
        ctl_rowprog_run(p, &want.call, values, 0, ROWS);
        run_kernel(&kernel, &got, 0, ROWS);
        compare(arena, p, &want, &got, "aligned rows");
    }
    release(code);
}
static void test_aligned(void **state) {
    ctl_arena *arena = arena_of(state);
    check_form(arena, 0);
    check_form(arena, CTL_CUDA_FORM_WIDE);
    check_form(arena, CTL_CUDA_FORM_ANY);
}

/* ---- the cache ---- */
static int compiled; /* by the stand-in, which makes `code of SOURCE` of a source */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
typedef struct stand_in {
    char text[256];
    char options[256];
} stand_in;
static int fake_create(void **program, const char *source, const char *name, int n, const char *const *headers,
                       const char *const *names) {
    (void)name, (void)n, (void)headers, (void)names;
    stand_in *s = calloc(1, sizeof *s);
    if (!s) return 1;
    snprintf(s->text, sizeof s->text, "%s", source);
    *program = s;
    return 0;
}
static int fake_compile(void *program, int n, const char *const *options) {
    stand_in *s = program;
    pthread_mutex_lock(&lock);
    compiled++;
    pthread_mutex_unlock(&lock);
    snprintf(s->options, sizeof s->options, "%s", n ? options[0] : "");
    return strcmp(s->text, "wrong") == 0 ? 6 : 0;
}
static int fake_destroy(void **program) {
    free(*program);
    return 0;
}
static const char fake_log[] = "ptxas info    : 24 bytes stack frame, 16 bytes spill stores, 12 bytes spill loads\n"
                               "ptxas info    : Used 41 registers, used 1 barriers, 24 bytes cumulative stack size, 384 bytes "
                               "smem, 512 bytes cmem[0]\n";
static int fake_log_size(void *program, size_t *size) {
    (void)program;
    *size = sizeof fake_log;
    return 0;
}
static int fake_get_log(void *program, char *log) {
    (void)program;
    memcpy(log, fake_log, sizeof fake_log);
    return 0;
}
static int fake_size(void *program, size_t *size) {
    stand_in *s = program;
    *size = strlen(s->text) + strlen(s->options) + 10;
    return 0;
}
static int fake_code(void *program, char *code) {
    stand_in *s = program;
    sprintf(code, "code of %s %s", s->text, s->options);
    return 0;
}
static const char *fake_error(int code) {
    return code == 6 ? "COMPILATION" : "OTHER";
}
static const ctl_nvrtc fake = {NULL,          13,        0,         fake_create, fake_compile, fake_destroy, fake_log_size,
                               fake_get_log, fake_size, fake_code, fake_size,   fake_code,    fake_error};

static void expect_code(const ctl_nvrtc *nvrtc, const char *architecture, const char *cache, int compilations, int threads) {
    enum { N = 5 };
    static const char *const sources[N] = {"one", "two", "three", "four", "five"};
    ctl_cuda_unit units[N] = {0};
    char want[512], *why = NULL;
    const ctl_cuda_compile_options options = {.nvrtc = nvrtc, .architecture = architecture, .cache = cache, .threads = threads};
    for (int k = 0; k < N; k++) units[k].name = units[k].source = sources[k];
    compiled = 0;
    assert_int_equal(ctl_cuda_compile(&ctl_malloc_allocator, &options, units, N, &why), CTL_OK);
    assert_int_equal(compiled, compilations);
    for (int k = 0; k < N; k++) {
        snprintf(want, sizeof want, "code of %s --gpu-architecture=%s", sources[k], architecture);
        assert_string_equal(units[k].made.cubin, want);
        assert_string_equal(units[k].made.ptx, want);
        assert_int_equal(units[k].registers, 41);
        assert_int_equal(units[k].shared_bytes, 384);
        assert_int_equal(units[k].stack_bytes, 24);
        assert_int_equal(units[k].spilled_bytes, 28);
    }
    ctl_cuda_units_drop(&ctl_malloc_allocator, units, N);
}

static void damage(const char *cache, const char *source, long at, long cut) {
    const char *const flags[] = {"--gpu-architecture=sm_80", "--std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true",
                                 "--prec-sqrt=true", "--ptxas-options=-v"};
    const ctl_cuda_compile_options options = {.nvrtc = &fake, .architecture = "sm_80"};
    const ctl_cuda_unit unit = {.source = source};
    ctl_cuda_entry entry;
    char path[256];
    ctl_cuda_cache_key(&options, flags, CTL_COUNT(flags), &unit, &entry);
    snprintf(path, sizeof path, "%s/%s", cache, entry.name);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    if (cut) assert_int_equal(ftruncate(fileno(f), cut), 0);
    else {
        assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
        int c = fgetc(f);
        assert_int_equal(fseek(f, -1, SEEK_CUR), 0);
        fputc(c ^ 1, f);
    }
    assert_int_equal(fclose(f), 0);
}

static void test_cache(void **state) {
    (void)state;
    char cache[128];
    snprintf(cache, sizeof cache, "%s/cache", folder);
    assert_int_equal(ctl_directory_make(cache, (ctl_place){.allocator = &ctl_malloc_allocator}), CTL_OK);
    expect_code(&fake, "sm_80", NULL, 5, 1);
    expect_code(&fake, "sm_80", cache, 5, 3);
    expect_code(&fake, "sm_80", cache, 0, 3);
    expect_code(&fake, "sm_90", cache, 5, 2); /* another architecture, another version: other code */
    ctl_nvrtc newer = fake;
    newer.minor = 1;
    expect_code(&newer, "sm_80", cache, 5, 1);
    expect_code(&fake, "sm_80", cache, 0, 1);
    const long places[] = {0, 9, 44, 70, 90, -1, -33}; /* the magic, key, sizes, code, seal */
    for (size_t k = 0; k < CTL_COUNT(places); k++) {
        damage(cache, "two", places[k], 0);
        expect_code(&fake, "sm_80", cache, 1, 1);
        expect_code(&fake, "sm_80", cache, 0, 1);
    }
    damage(cache, "four", 0, 100), damage(cache, "five", 0, 3);
    expect_code(&fake, "sm_80", cache, 2, 2);
    expect_code(&fake, "sm_80", "/nonexistent", 5, 1); /* no cache is no failure */
}

static void test_refusals(void **state) {
    (void)state;
    char *why = NULL;
    ctl_cuda_unit units[] = {{.name = "good", .source = "good"}, {.name = "bad", .source = "wrong"}};
    const ctl_cuda_compile_options options = {.nvrtc = &fake, .architecture = "sm_80", .threads = 2};
    assert_int_equal(ctl_cuda_compile(&ctl_malloc_allocator, &options, units, 2, &why), CTL_ERR_INPUT);
    assert_non_null(strstr(why, "CUDA's compiler refuses bad:\nptxas info"));
    ctl_string_free(&ctl_malloc_allocator, why);
    ctl_cuda_units_drop(&ctl_malloc_allocator, units, 2);
    ctl_nvrtc none;
    char said[CTL_CUDA_WHY];
    assert_int_equal(ctl_nvrtc_open(&none, "/nonexistent.so", NULL, said), CTL_ERR_UNSUPPORTED);
    assert_string_equal(said, "/nonexistent.so cannot be loaded as CUDA's compiler");
    assert_int_equal(ctl_nvrtc_open(&none, "libm.so.6", NULL, said), CTL_ERR_UNSUPPORTED);
    assert_string_equal(said, "libm.so.6 has no nvrtcVersion: it is older than CUDA 11.2");
}

/* Every allocation fails once. */
typedef struct failing {
    long left;
} failing;
static void *fail_once(void *ctx, void *p, size_t old_size, size_t new_size) {
    failing *f = ctx;
    if (new_size && f->left-- == 0) return NULL;
    return ctl_malloc_allocator.resize(NULL, p, old_size, new_size);
}
static void test_no_memory(void **state) {
    (void)state;
    char cache[128];
    snprintf(cache, sizeof cache, "%s/memory", folder);
    assert_int_equal(ctl_directory_make(cache, (ctl_place){.allocator = &ctl_malloc_allocator}), CTL_OK);
    int refused = 0;
    for (long n = 0; n < 60; n++) {
        failing f = {n};
        const ctl_allocator allocator = {&f, fail_once};
        ctl_cuda_unit units[] = {{.name = "a", .source = "a"}, {.name = "b", .source = n % 2 ? "b" : "wrong"}};
        char *why = NULL;
        const ctl_cuda_compile_options options = {.nvrtc = &fake, .architecture = "sm_80", .cache = n >= 20 ? cache : NULL};
        ctl_status status = ctl_cuda_compile(&allocator, &options, units, 2, &why);
        assert_true(status == CTL_OK || status == CTL_ERR_MEMORY || (status == CTL_ERR_INPUT && n % 2 == 0));
        refused += status == CTL_ERR_MEMORY;
        ctl_string_free(&allocator, why);
        ctl_cuda_units_drop(&allocator, units, 2);
    }
    assert_true(refused > 3);
}

static void test_sha256(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int times;
        const char *hex; /* FIPS 180-4's examples */
    } cases[] = {
        {"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"aaaaaaaaaa", 100000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    };
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        unsigned char digest[CTL_SHA256_BYTES];
        char hex[CTL_SHA256_HEX];
        ctl_sha256 h;
        ctl_sha256_begin(&h);
        for (int i = 0; i < cases[k].times; i++) ctl_sha256_add(&h, cases[k].text, strlen(cases[k].text));
        ctl_sha256_end(&h, digest);
        ctl_sha256_hex(digest, hex);
        assert_string_equal(hex, cases[k].hex);
    }
}

/* ---- ctlc build ---- */
static int command(const char *args, char *out, size_t size) {
    char line[1024];
    snprintf(line, sizeof line, "cd '%s' && '%s' build %s 2>&1", SOURCE_DIR, CTLC, args);
    FILE *f = popen(line, "r");
    assert_non_null(f);
    size_t n = fread(out, 1, size - 1, f);
    out[n] = 0;
    int status = pclose(f);
    return WEXITSTATUS(status);
}

static void expect(const char *args, int code, const char *words) {
    static char out[1 << 16];
    int got = command(args, out, sizeof out);
    if (got != code || !strstr(out, words)) fail_msg("build %s: exit code %d, said\n%s", args, got, out);
}

static void test_command(void **state) {
    (void)state;
    char args[512], path[256];
    expect("examples/tiny.ctl", 2, "what is missing: --target, one of cuda:sm_80 cuda:sm_86");
    expect("examples/tiny.ctl --target cuda:sm_70", 2, "--target is not \"cuda:sm_70\"; it is one of cuda:sm_80");
    expect("examples/tiny.ctl --target cuda:sm_90 --emit=cu,ptxx", 2, "--emit is a list of cu, cubin and ptx, not \"ptxx\"");
    snprintf(args, sizeof args, "examples/tiny.ctl --set compute=bf16 --target cuda:sm_86 --emit=cu -o %s/kernels", folder);
    expect(args, 0, "plan.txt");
    snprintf(args, sizeof args, "examples/encoder.ctl --tune lora --target cuda:sm_86 --emit=cu -o %s/encoder", folder);
    expect(args, 0, "attend_dots_64.cu"); /* it gathers rows by indices that must lie one after the other */
    snprintf(args, sizeof args, "examples/tiny.ctl --target cuda:sm_86 --emit=cubin -o %s/none --nvrtc /nonexistent", folder);
    expect(args, 7, "error[E0811]: /nonexistent cannot be loaded as CUDA's compiler\n  hint: install it");
    /* Every source stands for itself. */
    snprintf(path, sizeof path, "! grep -l '#include' %s/kernels/*.cu", folder);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof path, "test $(grep -l 'KERNEL(rows_' %s/kernels/*.cu | wc -l) -gt 8", folder);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof path, "grep -q 'KERNEL(attend_keys' %s/kernels/attend_keys_32.cu", folder); /* 128 columns, 4 heads */
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof path, "grep -q 'rows' %s/kernels/plan.txt", folder);
    assert_int_equal(system(path), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_planted_faults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_races, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wide_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_aligned, set_up, tear_down),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_command),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
