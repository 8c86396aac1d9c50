/* Every kernel of an example, compiled by CUDA's compiler for every architecture, where that compiler is (else the test is
 * skipped, and says so): none is refused, none spills registers, registers and shared memory keep the limits. With
 * CTL_TEST_LONG in the environment, of every tune block of every example; a source that examples share is compiled once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compiler/emit/cuda/compile.h"
#include "ctl/ctlc.h"
#include "runtime/cuda/attend.h"
#include "tests/example_blocks.h"
#include "tests/folder.h"

enum { REGISTERS = 65536 }; /* of a block, on every architecture */

typedef struct seen {
    const char *architecture;
    int kernels, attend;
    char wrong[256];
} seen;

static void look(void *ctx, const ctlc_artifact *a) {
    seen *s = ctx;
    int registers = 0, spilled = 0;
    size_t shared = 0;
    if (!a->note) return;
    s->kernels++;
    assert_int_equal(sscanf(a->note, "%d registers, %d bytes spilled, %zu bytes shared", &registers, &spilled, &shared), 3);
    const bool attend = strncmp(a->name, "attend_", 7) == 0;
    s->attend += attend;
    const int threads = attend ? CTL_CUDA_ATTEND_THREADS : 256;
    if (registers < 8 || registers * threads > REGISTERS || spilled || shared > ctl_cuda_shared_limit(s->architecture) ||
        a->size < 1000)
        snprintf(s->wrong, sizeof s->wrong, "%s for %s: %s, %zu bytes", a->name, s->architecture, a->note, a->size);
}

static void say(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    print_message("%s: %s\n", d->code, d->message);
}

/* The kernels of a tune block (NULL: the only one). */
static seen compile_example(const char *path, const char *tune, const char *architecture) {
    seen s = {.architecture = architecture};
    const char *const set = "compute=bf16";
    const ctlc_cuda cuda = {.architecture = architecture, .emit = CTLC_EMIT_CUBIN, .artifact = look, .artifact_ctx = &s, .cache = folder};
    const ctlc_options options = {.engine = CTLC_CUDA, .cuda = &cuda, .tune = tune, .set = &set, .nset = 1, .diagnostic = say};
    ctl_program *program = NULL;
    ctl_status status = ctlc_compile_file(path, &options, &program);
    ctl_program_free(program);
    if (status != CTL_OK || s.wrong[0])
        fail_msg("%s %s for %s: status %d, %s", path, tune ? tune : "", architecture, (int)status, s.wrong);
    assert_true(s.kernels > 0);
    return s;
}

typedef struct counted {
    const char *architecture;
    int kernels;
} counted;

static void compile_block(void *ctx, const char *path, const char *tune) {
    counted *c = ctx;
    c->kernels += compile_example(path, tune, c->architecture).kernels;
}

static void compile_everything(const char *architecture) {
    counted c = {.architecture = architecture};
    const int blocks = each_example_block(compile_block, &c);
    print_message("%s: %d kernels of %d tune blocks\n", architecture, c.kernels, blocks);
    assert_true(blocks > 30);
}

static void test_example(void **state) {
    (void)state;
    ctl_nvrtc nvrtc;
    char why[CTL_NVRTC_WHY];
    if (ctl_nvrtc_open(&nvrtc, NULL, why) != CTL_OK) {
        print_message("skipped: %s\n", why);
        skip();
    }
    ctl_nvrtc_close(&nvrtc);
    for (const char *const *arch = ctlc_cuda_architectures(); *arch; arch++) {
        const seen s = compile_example(SOURCE_DIR "/examples/tiny.ctl", NULL, *arch);
        assert_true(s.kernels > 8 && s.attend == 4); /* forward, and three of backward */
        if (getenv("CTL_TEST_LONG")) compile_everything(*arch);
#ifdef __SANITIZE_ADDRESS__
        print_message("sanitized, where CUDA's compiler is ten times slower: %s alone\n", *arch);
        break;
#endif
    }
}

/* What attention asks of shared memory is to be had everywhere. */
static void test_shared_memory(void **state) {
    (void)state;
    for (const char *const *arch = ctlc_cuda_architectures(); *arch; arch++)
        for (int head = 8; head <= CTL_CUDA_ATTEND_MOST_HEAD; head += 8)
            for (int kernel = 0; kernel < 3; kernel++) {
                const size_t bytes =
                    ctl_cuda_attend_shared(kernel, head, ctl_cuda_attend_keys(head), ctl_cuda_attend_queries(head));
                assert_true(bytes <= ctl_cuda_shared_limit(*arch) && bytes > 0);
            }
    assert_int_equal(ctl_cuda_shared_limit("sm_86"), 99 * 1024);
    assert_int_equal(ctl_cuda_shared_limit("sm_70"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_memory),
        cmocka_unit_test(test_example),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
