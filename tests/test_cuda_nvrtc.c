/* The kernels of all examples, compiled by CUDA's compiler where that compiler is (else the test is skipped, and says so): none is
 * refused, none spills more than a few registers, registers and shared memory keep the limits. Each source is compiled once, for one architecture
 * that its name decides, and those that every program has and attention of heads of 128 for all; with CTL_TEST_LONG in the environment each for all. Under
 * sanitizers, where CUDA's compiler is ten times slower and nothing of ours differs, none. */
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

enum { REGISTERS = 65536, MOST_SOURCES = 4096, ARCHITECTURES = 6 }; /* registers of a block, on every architecture */
/* Bytes that a row program may spill: what is kept around the call of a division. Attention, with its large tiles, may none. */
enum { SPILLED = 32 };

typedef struct source {
    char *name, *text;
    size_t shared; /* bytes that a block asks for */
    int threads;   /* of its largest block */
} source;
typedef struct sources {
    source at[MOST_SOURCES];
    size_t n;
} sources;

static char *copy_of(const char *text, size_t n) {
    char *to = malloc(n + 1);
    assert_non_null(to);
    memcpy(to, text, n);
    to[n] = 0;
    return to;
}

/* `KERNEL(name, type, threads)`: the most threads of the source's kernels. */
static int threads_of(const char *text) {
    int most = 0, threads;
    for (const char *at = text; (at = strstr(at, "\nKERNEL(")); at++)
        if (sscanf(at, "\nKERNEL(%*[a-z_0-9], %*[a-z_0-9], %d)", &threads) == 1 && threads > most) most = threads;
    return most;
}

static void note_source(void *ctx, const ctlc_artifact *a) {
    sources *s = ctx;
    const char *dot = strstr(a->name, ".cu");
    if (!dot) return; /* the plan */
    for (size_t k = 0; k < s->n; k++)
        if (strcmp(s->at[k].name, a->name) == 0) {
            assert_string_equal(s->at[k].text, (const char *)a->bytes); /* a name says what a kernel computes */
            return;
        }
    assert_true(s->n < MOST_SOURCES);
    source *q = &s->at[s->n++];
    *q = (source){.name = copy_of(a->name, strlen(a->name)), .text = copy_of(a->bytes, a->size)};
    q->threads = threads_of(q->text);
    assert_true(q->threads >= 32 && q->threads <= 1024);
    assert_int_equal(sscanf(a->note, "%zu bytes shared", &q->shared), 1);
}

static void say(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    print_message("%s: %s\n", d->code, d->message);
}

static void gather(sources *s, const char *path, const char *tune, const char *set) {
    const ctlc_cuda cuda = {.architecture = "sm_80", .emit = CTLC_EMIT_CU, .artifact = note_source, .artifact_ctx = s};
    const ctlc_options options = {.engine = CTLC_CUDA, .cuda = &cuda, .tune = tune, .set = &set, .nset = 1, .diagnostic = say};
    ctl_program *program = NULL;
    const ctl_status status = ctlc_compile_file(path, &options, &program);
    ctl_program_free(program);
    if (status != CTL_OK) fail_msg("%s %s: status %d", path, tune ? tune : "", (int)status);
}
static void gather_block(void *ctx, const char *path, const char *tune) { gather(ctx, path, tune, "compute=bf16"); }

/* Row programs are dealt by the hash in their names, and attention of small heads by their size. */
static bool is_for(const source *q, size_t architecture) {
    unsigned hash, head;
    if (getenv("CTL_TEST_LONG")) return true;
    if (sscanf(q->name, "rows_%8x", &hash) == 1) return hash % ARCHITECTURES == architecture;
    if (sscanf(q->name, "attend_%*[a-z]_%u", &head) == 1 && head < 128) return head / 8 % ARCHITECTURES == architecture;
    return true;
}

static void compile_for(const sources *s, const ctl_nvrtc *nvrtc, const char *architecture, size_t number) {
    ctl_cuda_unit *units = calloc(s->n, sizeof *units);
    const source **of = calloc(s->n, sizeof *of);
    char *why = NULL;
    size_t n = 0;
    assert_true(units && of);
    for (size_t k = 0; k < s->n; k++)
        if (is_for(&s->at[k], number)) units[n] = (ctl_cuda_unit){.name = s->at[k].name, .source = s->at[k].text}, of[n++] = &s->at[k];
    const ctl_cuda_compile_options options = {.nvrtc = nvrtc, .architecture = architecture, .threads = 2};
    if (ctl_cuda_compile(&ctl_malloc_allocator, &options, units, n, &why) != CTL_OK) fail_msg("%s: %s", architecture, why ? why : "?");
    double seconds = 0;
    int most = 0, spilled = 0;
    for (size_t k = 0; k < n; k++) {
        const ctl_cuda_unit *u = &units[k];
        const size_t shared = of[k]->shared + (size_t)u->shared_bytes;
        seconds += u->seconds;
        if (u->spilled_bytes > spilled) spilled = u->spilled_bytes;
        if (u->registers > most) most = u->registers;
        if (u->registers < 8 || u->registers * of[k]->threads > REGISTERS || u->spilled_bytes > (strncmp(u->name, "rows_", 5) == 0 ? SPILLED : 0) ||
            shared > ctl_cuda_shared_limit(architecture) || u->made.ncubin < 1000)
            fail_msg("%s for %s: %d registers of %d threads, %d bytes spilled, %zu shared, %zu of machine code", u->name, architecture,
                     u->registers, of[k]->threads, u->spilled_bytes, shared, u->made.ncubin);
    }
    print_message("%s: %zu of %zu sources, at most %d registers, %d bytes spilled, %.0f s\n", architecture, n, s->n, most, spilled,
                  seconds);
    assert_true(n > 60);
    ctl_cuda_units_drop(&ctl_malloc_allocator, units, n);
    free(units), free(of);
}

static void test_examples(void **state) {
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    print_message("skipped under sanitizers\n");
    skip();
#endif
    ctl_nvrtc nvrtc;
    char why[CTL_CUDA_WHY];
    if (ctl_nvrtc_open(&nvrtc, NULL, NULL, why) != CTL_OK) {
        print_message("skipped: %s\n", why);
        skip();
    }
    sources *s = calloc(1, sizeof *s);
    assert_non_null(s);
    assert_true(each_example_block(gather_block, s) > 30);
    gather(s, SOURCE_DIR "/examples/tiny.ctl", NULL, "compute=f32"); /* attention without tensor cores */
    size_t number = 0;
    for (const char *const *arch = ctlc_cuda_architectures(); *arch; arch++) compile_for(s, &nvrtc, *arch, number++);
    assert_int_equal(number, ARCHITECTURES);
    for (size_t k = 0; k < s->n; k++) free(s->at[k].name), free(s->at[k].text);
    free(s);
    ctl_nvrtc_close(&nvrtc);
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
        cmocka_unit_test(test_examples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
