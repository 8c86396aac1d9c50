/* A session on a GPU is used by any thread, and by hosts that have contexts of their own, on the stand-ins:
 * each call of the driver's that belongs to the device's context finds it current, and what was current
 * before is so again after each call of a session's. */
#include "tests/cuda_heard.h"

#include <pthread.h>

#include "base/base.h"

/* Everything that may be asked of a session, one call after the other. */
typedef struct life {
    ctl_program *program;
    ctl_session *session;
    double loss, norm;
    ctl_status status;
} life;
static void open_it(life *l) {
    const ctl_session_options so = {.seed = 5, .diagnostic = hear};
    l->status = ctl_session_open(l->program, &so, &l->session);
}
static void load(life *l) {
    l->status = ctl_session_load(l->session);
}
static void give(life *l) {
    int32_t ids[16], position[16], length[16];
    for (int k = 0; k < 16; k++) ids[k] = k % 7, position[k] = k, length[k] = 16;
    l->status = ctl_session_input(l->session, "ids", CTL_I32, ids, 16);
    if (l->status == CTL_OK) l->status = ctl_session_input(l->session, "labels", CTL_I32, ids, 16);
    if (l->status == CTL_OK) l->status = ctl_session_input(l->session, "position", CTL_I32, position, 16);
    if (l->status == CTL_OK) l->status = ctl_session_input(l->session, "length", CTL_I32, length, 16);
    ctl_session_set_step(l->session, 1, 0, 1.0 / 16);
}
static void zero(life *l) {
    ctl_session_zero_gradients(l->session);
}
static void forward(life *l) {
    l->status = ctl_session_forward(l->session);
}
static void output(life *l) {
    l->status = ctl_session_output(l->session, "loss", false, &l->loss, 1);
}
static void backward(life *l) {
    l->status = ctl_session_backward(l->session);
}
static void optimize(life *l) {
    const ctl_optimizer_step o = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-6, .step = 1};
    l->status = ctl_session_optimize(l->session, &o, &l->norm);
}
static void evaluate(life *l) {
    l->status = ctl_session_evaluate(l->session);
}
static void read_it(life *l) {
    float values[24 * 16];
    l->status = ctl_session_param_read(l->session, 0, CTL_F32, values);
}
static void write_it(life *l) {
    const float values[24 * 16] = {0};
    l->status = ctl_session_param_write(l->session, 0, CTL_F32, values);
}
static void memory(life *l) {
    l->status = ctl_session_device_memory(l->session).used ? CTL_OK : CTL_ERR_IO;
}
static void close_it(life *l) {
    ctl_session_close(l->session);
}

typedef void act(life *l);
static act *const acts[] = {open_it, load,     give,    zero,     forward, output,   backward, optimize,
                            give,    forward,  output,  backward, give,    optimize, forward,  backward,
                            memory,  evaluate, read_it, write_it, memory,  close_it};

static void compile(life *l) {
    *l = (life){0};
    assert_int_equal(cuda_compile(&wanted, &l->program), CTL_OK);
    cuda_control()->fault[0] = 0;
}
static void check_end(life *l) {
    assert_string_equal(cuda_control()->fault, "");
    assert_true(l->loss > 0 && l->norm > 0);
    assert_int_equal(cuda_control()->live, 0);
    ctl_program_free(l->program);
}

/* Each call from a thread that has just begun. */
typedef struct errand {
    act *what;
    life *of;
} errand;
static void *go(void *given) {
    const errand *e = given;
    e->what(e->of);
    return NULL;
}
static void test_threads(void **state) {
    (void)state;
    life l;
    compile(&l);
    for (size_t k = 0; k < CTL_COUNT(acts); k++) {
        pthread_t thread;
        errand e = {acts[k], &l};
        assert_int_equal(pthread_create(&thread, NULL, go, &e), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        if (l.status != CTL_OK) fail_msg("call %zu fails: %s", k, cuda_control()->fault);
    }
    check_end(&l);
}

/* A host that has another context current. */
static void test_host_context(void **state) {
    (void)state;
    int own;
    void *library = dlopen(STANDIN_DIR "/libcuda.so.1", RTLD_NOW | RTLD_LOCAL), *now = NULL;
    assert_non_null(library);
    int (*push)(void *) = NULL, (*pop)(void **) = NULL, (*current)(void **) = NULL;
    const struct {
        const char *name;
        void *at;
    } entries[] = {
        {"cuCtxPushCurrent_v2", &push}, {"cuCtxPopCurrent_v2", &pop}, {"cuCtxGetCurrent", &current}};
    for (size_t k = 0; k < CTL_COUNT(entries); k++) {
        void *entry = dlsym(library, entries[k].name);
        assert_non_null(entry);
        memcpy(entries[k].at, &entry, sizeof entry); /* POSIX: a function's address fits */
    }
    life l;
    compile(&l);
    assert_int_equal(push(&own), 0);
    for (size_t k = 0; k < CTL_COUNT(acts); k++) {
        acts[k](&l);
        if (l.status != CTL_OK) fail_msg("call %zu fails: %s", k, cuda_control()->fault);
        assert_int_equal(current(&now), 0);
        if (now != &own) fail_msg("after call %zu the host's context is not current", k);
    }
    assert_int_equal(pop(&now), 0);
    assert_int_equal(current(&now), 0);
    assert_null(now); /* nothing stayed below */
    check_end(&l);
    dlclose(library);
}

int main(void) {
    cuda_control(); /* loaded once, and kept */
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads), cmocka_unit_test(test_host_context)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
