/* Every kernel of an example, compiled by CUDA's compiler for every architecture, where that compiler is (else the test is
 * skipped, and says so): none is refused, attention spills no registers, registers and shared memory keep the limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "compiler/emit/cuda/compile.h"
#include "ctl/ctlc.h"
#include "runtime/cuda/attend.h"

enum { REGISTERS = 65536 }; /* of a block, on every architecture */

typedef struct seen {
    const char *architecture;
    int kernels, attend;
    char wrong[256];
} seen;

static void look(void *ctx, const ctlc_artifact *a) {
    seen *s = ctx;
    int registers = 0, spilled = 0;
    if (!a->note) return;
    s->kernels++;
    assert_int_equal(sscanf(a->note, "%d registers, %d bytes spilled", &registers, &spilled), 2);
    const bool attend = strncmp(a->name, "attend_", 7) == 0;
    s->attend += attend;
    const int threads = attend ? CTL_CUDA_ATTEND_THREADS : 256;
    if (registers < 8 || registers * threads > REGISTERS || (attend && spilled) || a->size < 1000)
        snprintf(s->wrong, sizeof s->wrong, "%s for %s: %s, %zu bytes", a->name, s->architecture, a->note, a->size);
}

static void say(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    print_message("%s: %s\n", d->code, d->message);
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
        seen s = {.architecture = *arch};
        const char *const set = "compute=bf16";
        const ctlc_cuda cuda = {.architecture = *arch, .emit = CTLC_EMIT_CUBIN, .artifact = look, .artifact_ctx = &s};
        const ctlc_options options = {.engine = CTLC_CUDA, .cuda = &cuda, .set = &set, .nset = 1, .diagnostic = say};
        ctl_program *program = NULL;
        ctl_status status = ctlc_compile_file(SOURCE_DIR "/examples/tiny.ctl", &options, &program);
        ctl_program_free(program);
        if (status != CTL_OK || s.wrong[0]) fail_msg("%s: status %d, %s", *arch, (int)status, s.wrong);
        assert_true(s.kernels > 8 && s.attend == 1);
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
    return cmocka_run_group_tests(tests, NULL, NULL);
}
