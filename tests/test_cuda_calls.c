/* What the CUDA engine does when something fails, on the stand-ins: every call of the driver's and of cuBLASLt's fails once, and so
 * does every allocation of the host's: an error comes back, a diagnostic names it, nothing stays held, and what follows says the
 * same; too little memory; captures that are refused; libraries that are not there, or newer than the driver. */
#include "tests/cuda_heard.h"

#include "base/base.h"
#include "runtime/cuda/driver.h"
#include "runtime/session.h"
#include "tests/folder.h"

static long first_of_close; /* the number of the stand-ins' calls before it, when all went well */

enum { MOST_TASKS = 256 };
/* Every task was timed. */
static void check_profile(const ctl_program *p, double *const seconds[RUN_COUNT]) {
    for (int e = RUN_FORWARD; e <= RUN_BACKWARD; e++)
        for (size_t k = 0; k < p->run[e].n; k++)
            if (!(seconds[e][k] > 0)) fail_msg("%s was not timed", p->run[e].at[k].name);
}

/* Whether it is said of this one; then, whether its place is said too. */
static bool is_of(const ctl_program *p, const heard *h, const char *name, uint32_t place, bool *right) {
    const size_t n = strlen(name);
    if (strncmp(h->message, name, n) != 0 || strncmp(h->message + n, ", on stand-in: ", 15) != 0) return false;
    const ctl_program_place *at = place ? &p->places[place - 1] : NULL;
    *right |= at ? strcmp(h->file, at->user.file) == 0 && h->line == at->user.line &&
                       strcmp(h->note, at->library.file ? at->library.file : "") == 0
                 : h->line == 0;
    return true;
}

/* An error of a task or of a parameter is said to be where that is written; what works on neither has no place. Has it one? */
static bool check_place(const ctl_program *p, const heard *h, const char *call) {
    bool named = false, right = false;
    for (int e = 0; e < RUN_COUNT; e++)
        for (size_t k = 0; k < p->run[e].n; k++) named |= is_of(p, h, p->run[e].at[k].name, p->run[e].at[k].place, &right);
    for (size_t k = 0; k < p->nparams; k++) named |= is_of(p, h, p->params[k].name, p->params[k].place, &right);
    if (named ? !right : h->line != 0) fail_msg("%s: %s is said to be in %s:%d, %s", call, h->message, h->file, h->line, h->note);
    return named && h->line > 0;
}

/* A session's life: three steps, so that graphs are made and launched, one whose tasks are timed, an evaluation, a parameter
 * read. The first failure. */
static ctl_status live(const ctl_program *program, const ctl_allocator *allocator, heard *h) {
    const ctl_session_options so = {.seed = 5, .diagnostic = take, .diagnostic_ctx = h, .allocator = allocator};
    const ctl_optimizer_step o = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-6, .step = 1};
    network n = {.program = (ctl_program *)(uintptr_t)program};
    ctl_status status = ctl_session_open(program, &so, &n.session);
    if (status != CTL_OK) return status;
    int32_t ids[16], position[16], length[16];
    for (int k = 0; k < 16; k++) ids[k] = k % 7, position[k] = k, length[k] = 16;
    double loss, norm;
    float values[16 * 24];
    double forward[MOST_TASKS] = {0}, backward[MOST_TASKS] = {0};
    double *const seconds[RUN_COUNT] = {[RUN_FORWARD] = forward, [RUN_BACKWARD] = backward};
    assert_true(program->run[RUN_FORWARD].n <= MOST_TASKS && program->run[RUN_BACKWARD].n <= MOST_TASKS);
    status = ctl_session_load(n.session);
    for (int step = 0; step < 4 && status == CTL_OK; step++) {
        if (step == 3) status = ctl_session_profile(n.session, seconds);
        ctl_session_zero_gradients(n.session);
        ctl_session_set_step(n.session, (uint64_t)step + 1, 0, 1.0 / 15);
        status = ctl_session_input(n.session, "ids", CTL_I32, ids, 16);
        if (status == CTL_OK) status = ctl_session_input(n.session, "labels", CTL_I32, ids, 16);
        if (status == CTL_OK) status = ctl_session_input(n.session, "position", CTL_I32, position, 16);
        if (status == CTL_OK) status = ctl_session_input(n.session, "length", CTL_I32, length, 16);
        if (status == CTL_OK) status = ctl_session_forward(n.session);
        if (status == CTL_OK) status = ctl_session_output(n.session, "loss", false, &loss, 1);
        if (status == CTL_OK) status = ctl_session_backward(n.session);
        if (status == CTL_OK) status = ctl_session_optimize(n.session, &o, &norm);
    }
    if (status == CTL_OK) check_profile(program, seconds);
    if (status == CTL_OK) status = ctl_session_profile(n.session, NULL);
    if (status == CTL_OK) status = ctl_session_evaluate(n.session);
    if (status == CTL_OK) status = ctl_session_param_read(n.session, 0, CTL_F32, values);
    const bool failed = status != CTL_OK;
    const ctl_status again = failed ? ctl_session_param_read(n.session, 0, CTL_F32, values) : CTL_OK;
    if (!failed) first_of_close = cuda_control()->calls;
    ctl_session_close(n.session);
    if (failed && again == CTL_OK && h->code[0] && strcmp(h->code, "E0804") != 0) fail_msg("a session goes on after %s", h->message);
    return status;
}

#ifdef __SANITIZE_ADDRESS__
enum { EVERY = 43 }; /* in the middle, where calls are alike; a sanitizer makes each life long */
#else
enum { EVERY = 7 };
#endif

static void test_every_call_fails(void **state) {
    (void)state;
    standin_control *c = cuda_control();
    ctl_program *program;
    assert_int_equal(cuda_compile(&wanted, &program), CTL_OK);
    heard h = {0};
    c->calls = 0;
    assert_int_equal(live(program, NULL, &h), CTL_OK);
    assert_int_equal(h.n, 0);
    const long calls = c->calls, close = first_of_close;
    assert_int_equal(c->live, 0);
    assert_true(calls > 200);
    int failures = 0, memory = 0, placed = 0;
    for (long k = 0; k < calls; k += k < 60 || k > calls - 60 ? 1 : EVERY) {
        h = (heard){0};
        c->calls = 0, c->fail_at = k, c->fail_with = k % 2 ? 2 : 999, c->failed = "nothing";
        ctl_status status = live(program, NULL, &h);
        c->fail_at = -1;
        if (strcmp(c->failed, "cuCtxPushCurrent") == 0) c->fault[0] = 0; /* where a session is closed, what frees is out of its context */
        if (c->live) fail_msg("after call %ld, %s, failed %ld objects are held", k, c->failed, c->live);
        if (c->held) fail_msg("after call %ld, %s, failed %zu bytes are held", k, c->failed, c->held);
        if (status == CTL_OK) { /* what is freed may fail in silence */
            if (k < close && !strstr(c->failed, "Destroy") && strcmp(h.code, "E0816") != 0) fail_msg("nobody says that call %ld, %s, failed", k, c->failed);
            continue;
        }
        failures++, memory += status == CTL_ERR_MEMORY;
        if (h.n < 1 || strncmp(h.code, "E081", 4) != 0 || !strstr(h.message, "stand-in") || !h.hint[0])
            fail_msg("call %ld, %s: said %d times, at last %s: %s (%s)", k, c->failed, h.n, h.code, h.message, h.hint);
        placed += check_place(program, &h, c->failed);
    }
    /* The first launch: what it works on is named, then the device, the call, and the driver's words. */
    c->fail_with = 999;
    for (long k = 60; k < calls; k++) { /* not among those that open a session */
        h = (heard){0};
        c->calls = 0, c->fail_at = k, c->failed = "nothing";
        live(program, NULL, &h);
        c->fail_at = -1;
        if (strcmp(c->failed, "cuLaunchKernel") != 0) continue;
        assert_string_equal(h.code, "E0814");
        const char *end = strstr(h.message, ", on stand-in: cuLaunchKernel: the stand-in was told to fail (CUDA_ERROR_OF_STAND_IN, 999)");
        if (!end || end == h.message) fail_msg("said: %s", h.message);
        assert_non_null(strstr(h.hint, "nvidia-smi tells whether the GPU is well"));
        break;
    }
    assert_true(failures > 60 && memory > 20 && close < calls && placed > 10);
    ctl_program_free(program);
}

/* First values are made parameter by parameter: the one is named, and where it was declared. What a kernel does wrong is said of its
 * parameter too, since it is waited for. So is a value that the host gives. */
static void test_first_values(void **state) {
    (void)state;
    static const char own[] = "import nn\n"
                              "net small(ids: id, labels: id; d) -> loss {\n"
                              "    h <- table: embedding(ids; n = 24, dim = d)\n"
                              "    weight scale : [d] init 1\n"
                              "    loss <- cross_entropy(out: linear(h * scale; n = 24), labels)\n}\n"
                              "model m = small(; d = 8)\ntune m {\n    tokens 1 x 16\n}\n";
    static const struct {
        const char *param;
        int line;
        const char *note, *call;
    } cases[] = {{"table.weight", 3, "<nn>", "cuLaunchKernel"},      {"table.weight", 3, "<nn>", "cuStreamSynchronize"},
                 {"scale", 4, "", "cuLaunchKernel"},                 {"scale", 4, "", "cuStreamSynchronize"},
                 {"out.weight", 5, "<nn>", "cuLaunchKernel"},        {"table.weight", 3, "<nn>", "cuMemcpyHtoDAsync"},
                 {"scale", 4, "", "cuMemcpyHtoDAsync"}};
    standin_control *c = cuda_control();
    const cuda_wanted w = {.text = own, .engine = CTLC_CUDA};
    ctl_program *program;
    assert_int_equal(cuda_compile(&w, &program), CTL_OK);
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        const bool given = strcmp(cases[k].call, "cuMemcpyHtoDAsync") == 0;
        bool found = false;
        for (long at = 0; at < 40 && !found; at++) {
            heard h = {0};
            const ctl_session_options so = {.seed = 5, .diagnostic = take, .diagnostic_ctx = &h};
            ctl_session *s;
            float values[24 * 8] = {0};
            char want[200];
            ctl_status status = CTL_OK;
            assert_int_equal(ctl_session_open(program, &so, &s), CTL_OK);
            c->calls = 0, c->fail_at = at, c->fail_with = 999, c->failed = "nothing";
            for (size_t p = 0; p < program->nparams && status == CTL_OK && given; p++)
                status = ctl_session_param_write(s, p, CTL_F32, values);
            if (status == CTL_OK && !given) status = ctl_session_load(s);
            c->fail_at = -1;
            ctl_session_close(s);
            snprintf(want, sizeof want, "%s, on stand-in: %s: ", cases[k].param, cases[k].call);
            if (strcmp(c->failed, cases[k].call) != 0 || strncmp(h.message, want, strlen(want)) != 0) continue;
            found = true;
            assert_int_equal(status, CTL_ERR_IO);
            assert_string_equal(h.code, "E0814");
            assert_string_equal(h.file, "spec");
            assert_int_equal(h.line, cases[k].line);
            assert_string_equal(h.note, cases[k].note);
        }
        if (!found) fail_msg("no failure of %s is said of %s", cases[k].call, cases[k].param);
    }
    ctl_program_free(program);
}

typedef struct failing {
    long left, held;
} failing;
static void *fail_once(void *ctx, void *p, size_t old_size, size_t new_size) {
    failing *f = ctx;
    if (new_size && !p && f->left-- == 0) return NULL;
    void *q = ctl_malloc_allocator.resize(NULL, p, old_size, new_size);
    if (q || !new_size) f->held += (long)new_size - (long)old_size;
    return q;
}
static void test_no_host_memory(void **state) {
    (void)state;
    ctl_program *program;
    assert_int_equal(cuda_compile(&wanted, &program), CTL_OK);
    int refused = 0;
    for (long k = 0; k < 100; k++) {
        failing f = {k, 0};
        const ctl_allocator allocator = {&f, fail_once};
        heard h = {0};
        const ctl_status status = live(program, &allocator, &h);
        assert_true(status == CTL_OK || status == CTL_ERR_MEMORY);
        assert_int_equal(f.held, 0);
        assert_int_equal(cuda_control()->live, 0);
        refused += status != CTL_OK;
        if (status == CTL_OK) break;
    }
    assert_true(refused > 8 && refused < 100);
    ctl_program_free(program);
}

/* The compilation's own allocations, the copy of the machine code among them. */
static void test_no_memory_to_compile(void **state) {
    (void)state;
    int refused = 0, made = 0;
    for (long k = 0; k < 4000; k += k < 20 ? 1 : 61) {
        failing f = {k, 0};
        const ctl_allocator allocator = {&f, fail_once};
        cuda_wanted w = wanted;
        ctl_program *program = NULL;
        w.allocator = &allocator;
        const ctl_status status = cuda_compile(&w, &program);
        ctl_program_free(program);
        assert_true(status == CTL_OK || status == CTL_ERR_MEMORY);
        assert_int_equal(f.held, 0);
        refused += status != CTL_OK, made += status == CTL_OK;
        if (made > 2) break;
    }
    assert_true(refused > 20);
}

static void test_no_device_memory(void **state) {
    (void)state;
    standin_control *c = cuda_control();
    ctl_program *program;
    assert_int_equal(cuda_compile(&wanted, &program), CTL_OK);
    const ctl_memory m = ctl_program_memory(program);
    const size_t all = c->memory;
    heard h = {0};
    c->most = 0;
    assert_int_equal(live(program, NULL, &h), CTL_OK);
    /* As planned, but for what the engine keeps itself and for whole lines. */
    assert_true(c->most >= m.peak && c->most < m.peak + 8192);
    c->memory = m.peak - 1;
    assert_int_equal(live(program, NULL, &h), CTL_ERR_MEMORY);
    c->memory = all;
    assert_string_equal(h.code, "E0813");
    assert_non_null(strstr(h.message, "the GPU's memory does not suffice: stand-in has 0.03 GiB of memory"));
    assert_string_equal(h.hint, "give less with --memory, or use fewer tokens a step (--set tokens=..)");
    assert_int_equal(c->live, 0);
    ctl_program_free(program);
}

/* ---- libraries that are not there ---- */
static void refused(const char *files, const char *code, const char *words, const char *hint) {
    char command[1024], place[256];
    static int turn; /* the loader remembers a file by its name */
    snprintf(place, sizeof place, "%s/lacking%d", folder, turn++);
    snprintf(command, sizeof command, "mkdir '%s' && cd '%s' && %s", place, place, files);
    assert_int_equal(system(command), 0);
    heard h = {0};
    const char *const folders[] = {place};
    const ctlc_cuda cuda = {.folders = folders, .nfolders = 1};
    const ctlc_options options = {.engine = CTLC_CUDA, .cuda = &cuda, .diagnostic = take, .diagnostic_ctx = &h};
    ctl_program *program = NULL;
    assert_int_equal(ctlc_compile_text("spec", spec, strlen(spec), &options, &program), CTL_ERR_UNSUPPORTED);
    assert_null(program);
    if (strcmp(h.code, code) != 0 || !strstr(h.message, words) || !strstr(h.hint, hint))
        fail_msg("said %s: %s (%s)", h.code, h.message, h.hint);
}
/* It stays loaded, so that a leak checker can name what it keeps. */
static bool is_there(const char *library) { return dlopen(library, RTLD_NOW | RTLD_LOCAL) != NULL; }
static void test_libraries(void **state) {
    (void)state;
    if (!is_there("libcuda.so.1"))
        refused("true", "E0812", "NVIDIA's driver (libcuda.so.1) is not where the loader looks, nor in the folders that were named",
                "without one use --engine cpu");
    refused("ln -s $(/sbin/ldconfig -p | sed -n 's/.*=> \\(.*libm\\.so\\.6\\)$/\\1/p' | head -1) libcuda.so.1", "E0812",
            "NVIDIA's driver (libcuda.so.1) has no cuInit: it is older than CUDA 11.4", "--engine cpu");
    if (!is_there("libcublasLt.so.13") && !is_there("libcublasLt.so.12") && !is_there("libcublasLt.so"))
        refused("ln -s " STANDIN_DIR "/libcuda.so.1 libcuda.so.1", "E0812",
                "CUDA's library of products (libcublasLt.so, of CUDA 12 or 13) is not where the loader looks", "--cuda-libraries");
    if (!is_there("libnvrtc.so.13") && !is_there("libnvrtc.so.12") && !is_there("libnvrtc.so"))
        refused("ln -s " STANDIN_DIR "/libcuda.so.1 libcuda.so.1; ln -s " STANDIN_DIR "/libcublasLt.so.13 libcublasLt.so.13", "E0811",
                "CUDA's compiler (libnvrtc.so, of CUDA 12 or 13)", "--cuda-libraries");
    standin_control *c = cuda_control();
    for (int k = 0; k < 8; k++) { /* cuInit, the driver's version, and all that is asked of the device */
        c->calls = 0, c->fail_at = k, c->fail_with = k == 2 ? 100 : 999;
        refused("ln -s " STANDIN_DIR "/* .", "E0812", k > 1 ? "no GPU can be used: " : "NVIDIA's driver cannot begin: ",
                k > 1 ? "nvidia-smi" : "--engine cpu");
        c->fail_at = -1;
    }
}

/* Of two versions that lie in one folder the newer is taken, but none that is newer than the driver while there is another. Here the
 * newer ones lack everything. */
static void test_versions(void **state) {
    (void)state;
    static const char beside[] = "ln -s " STANDIN_DIR "/libcuda.so.1 libcuda.so.1; for n in libcublasLt libnvrtc; do ln -s "
                                 STANDIN_DIR "/$n.so.13 $n.so.12; ln -s $(/sbin/ldconfig -p | sed -n "
                                 "'s/.*=> \\(.*libm\\.so\\.6\\)$/\\1/p' | head -1) $n.so.13; done";
    char command[1200], place[300];
    standin_control *c = cuda_control();
    refused(beside, "E0812", "CUDA's library of products (libcublasLt.so, of CUDA 12 or 13) has no cublasLtGetVersion: it is older than CUDA 11",
            "--cuda-libraries");
    snprintf(place, sizeof place, "%s/versions", folder);
    snprintf(command, sizeof command, "mkdir '%s' && cd '%s' && %s", place, place, beside);
    assert_int_equal(system(command), 0);
    const char *const folders[] = {place};
    const ctlc_cuda cuda = {.folders = folders, .nfolders = 1};
    const ctlc_options options = {.engine = CTLC_CUDA, .cuda = &cuda};
    ctl_program *program = NULL;
    c->driver = 12080;
    assert_int_equal(ctlc_compile_text("spec", spec, strlen(spec), &options, &program), CTL_OK);
    ctl_program_free(program);
    c->driver = 13000;
}

/* Where a capture is refused, whatever refuses it, a run goes on without: the same losses, one warning, and nothing is tried again. */
static void test_no_capture(void **state) {
    (void)state;
    static const char *const calls[] = {"", "cuStreamBeginCapture", "cuLaunchKernel", "cublasLtMatmul", "cuStreamEndCapture", "cuGraphInstantiate"};
    standin_control *c = cuda_control();
    ctl_program *program;
    double want[4] = {0};
    assert_int_equal(cuda_compile(&wanted, &program), CTL_OK);
    for (size_t k = 0; k < CTL_COUNT(calls); k++) {
        heard h = {0};
        const ctl_session_options so = {.seed = 5, .diagnostic = take, .diagnostic_ctx = &h};
        network n = {.program = program};
        assert_int_equal(ctl_session_open(program, &so, &n.session), CTL_OK);
        assert_int_equal(ctl_session_load(n.session), CTL_OK);
        const long captures = c->captures, launches = c->graph_launches;
        bool refused_one = false;
        for (int step = 0; step < 4; step++) {
            double loss = 0;
            ctl_session_set_step(n.session, (uint64_t)step + 1, 0, 1.0 / 15);
            network_inputs(&n, 16);
            c->refuse = k && step > 0 ? calls[k] : NULL; /* under capture */
            assert_int_equal(ctl_session_forward(n.session), CTL_OK);
            assert_int_equal(ctl_session_backward(n.session), CTL_OK);
            assert_int_equal(ctl_session_output(n.session, "loss", false, &loss, 1), CTL_OK);
            c->refuse = NULL;
            refused_one |= h.n > 0;
            if (k == 0) want[step] = loss;
            assert_true(loss == want[step] && isfinite(loss));
        }
        assert_int_equal(h.n, k > 0);
        assert_true(refused_one == (k > 0));
        assert_true(k > 0 ? c->graph_launches == launches : c->graph_launches > launches);
        if (k > 1) assert_int_equal(c->captures - captures, 1);
        if (k > 0) assert_string_equal(h.code, "E0816");
        if (k > 0 && !strstr(h.message, calls[k])) fail_msg("%s: said %s", calls[k], h.message);
        ctl_session_close(n.session);
        assert_int_equal(c->live, 0);
    }
    ctl_program_free(program);
}

/* A driver that is older than the libraries beside it says so in words that do not help: the hint does. */
static void test_old_driver(void **state) {
    (void)state;
    static const struct {
        const char *call;
        int error;
        const char *message, *hint;
    } cases[] = {{"cuModuleLoadData", 200, "(CUDA_ERROR_OF_STAND_IN, 200)", "the driver may be older than the libnvrtc that made the kernels"},
                 {"cuModuleLoadData", 209, "(CUDA_ERROR_OF_STAND_IN, 209)", "the driver may be older than the libnvrtc that made the kernels"},
                 {"cuModuleLoadData", 222, "(CUDA_ERROR_OF_STAND_IN, 222)", "the driver may be older than the libnvrtc that made the kernels"},
                 {"cublasLtCreate", 1, "cublasLtCreate: cuBLASLt says CUBLAS_STATUS_NOT_INITIALIZED (1)", "the driver may be older than this cuBLASLt"}};
    standin_control *c = cuda_control();
    ctl_program *program;
    assert_int_equal(cuda_compile(&wanted, &program), CTL_OK);
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        heard h = {0};
        c->failed = "nothing";
        for (long at = 0; at < 60 && strcmp(c->failed, cases[k].call) != 0; at++) {
            h = (heard){0};
            c->calls = 0, c->fail_at = at, c->fail_with = cases[k].error;
            const ctl_session_options so = {.diagnostic = take, .diagnostic_ctx = &h};
            ctl_session *s = NULL;
            if (ctl_session_open(program, &so, &s) == CTL_OK) ctl_session_close(s);
            c->fail_at = -1;
        }
        assert_string_equal(h.code, "E0814");
        if (!strstr(h.message, cases[k].message) || !strstr(h.hint, cases[k].hint) || !strstr(h.hint, "--cuda-libraries"))
            fail_msg("said: %s (%s)", h.message, h.hint);
    }
    ctl_program_free(program);
}

/* What was loaded stays, closed or not. */
static void test_stays_loaded(void **state) {
    (void)state;
    char command[1024], place[300], path[400], why[CTL_CUDA_WHY];
    const char *const at[] = {place};
    const ctl_cuda_folders folders = {at, 1};
    ctl_cuda_driver d;
    snprintf(place, sizeof place, "%s/copied", folder);
    snprintf(path, sizeof path, "%s/libcuda.so.1", place);
    snprintf(command, sizeof command, "mkdir '%s' && cp -L " STANDIN_DIR "/libcuda.so.1 '%s'", place, path);
    assert_int_equal(system(command), 0);
    assert_null(dlopen(path, RTLD_NOW | RTLD_NOLOAD));
    assert_int_equal(ctl_cuda_driver_open(&d, &folders, why), CTL_OK);
    ctl_cuda_driver_close(&d);
    assert_non_null(dlopen(path, RTLD_NOW | RTLD_NOLOAD));
}

static int begin(void **state) {
    cuda_control(); /* loaded once, and kept */
    return make_folder(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_call_fails), cmocka_unit_test(test_first_values), cmocka_unit_test(test_no_host_memory),
                                       cmocka_unit_test(test_no_memory_to_compile), cmocka_unit_test(test_no_device_memory),
                                       cmocka_unit_test(test_libraries), cmocka_unit_test(test_versions),
                                       cmocka_unit_test(test_no_capture), cmocka_unit_test(test_old_driver), cmocka_unit_test(test_stays_loaded)};
    return cmocka_run_group_tests(tests, begin, remove_folder);
}
