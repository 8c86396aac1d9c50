/* Faults planted in the CUDA engine's launch code: each is a change of one place of a source of runtime/cuda, compiled and linked to
 * tests/cuda/probe.c. The stand-ins, or other numbers than those of the engine as it is, find every one: a number that belongs
 * to one step baked into a launch, a wait that is missing, an operand, a stride or a beta that is another's. */
#include <setjmp.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/folder.h"

static char *read_source(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/runtime/cuda/%s", SOURCE_DIR, name);
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, 1 << 16);
    if (!f || !text || !fread(text, 1, (1 << 16) - 1, f)) fail_msg("%s cannot be read", path);
    fclose(f);
    return text;
}

/* What the probe says, linked to so many words more; false: it fails. */
static bool probe(const char *more, char *line, size_t size) {
    char command[8192];
    snprintf(command, sizeof command, "%s %s %s %s -o %s/probe 2>&1 && timeout 60 %s/probe %s %s/cache 2>/dev/null", HOST_CC,
             PROBE_OBJECT, more, PROBE_LIBRARIES, folder, folder, STANDIN_DIR, STANDIN_DIR);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    const size_t n = fread(line, 1, size - 1, f);
    line[n] = 0;
    return pclose(f) == 0;
}

static const struct {
    const char *file, *what, *by;
} faults[] = {
    /* What belongs to one step, baked in. */
    {"memory.c", ".step = (uint32_t)s->common.step", ".step = 1"},
    {"memory.c", ".first_row = s->common.first_row", ".first_row = 0"},
    {"memory.c", "if (!s->changed && memcmp", "if (memcmp"},
    {"update.c", "s->host->optimizer = factors(o);", "if (s->runs[RUN_UPDATE] < 3) s->host->optimizer = factors(o);"},
    /* A wait, or a copy, that is missing. */
    {"memory.c", "if (s->copying) (void)ctl_cuda_wait(s);", ";"},
    {"memory.c", "s->changed = true;\n    return (char", "return (char"},
    {"ids.c", "if (!s->computes_ids) return ctl_cuda_wait(s);", "if (!s->computes_ids) return CTL_OK;"},
    {"update.c", "if (status == CTL_OK) status = ctl_cuda_wait(s);", ";"},
    /* Operands and shapes. */
    {"blaslt.c", "beta = p->adds ? 1 : 0", "beta = 0"},
    {"blaslt.c", "const int32_t first = f->transpose_b, second = f->transpose_a;", "const int32_t first = 0, second = f->transpose_a;"},
    {"blaslt.c", "while (slack % most) most /= 2;", ";"},
    {"products.c", "const int k = first + shape.chunk >= shape.rows;", "const int k = first > 0;"},
    {"launch.c", "if (status == CTL_OK && !t->accumulate)", "if (status == CTL_OK)"},
    {"products.c", "scratch = ctl_cuda_at(s, &t->scratch)", "scratch = ctl_cuda_at(s, &t->scratch) + 4096"},
    {"products.c", "(scratch + 255) / 256 * 256", "scratch"},
    {"launch.c", ".group = (int32_t)(heads / kv_heads)", ".group = 1"},
    {"launch.c", "blocks, kv_heads, CTL", "blocks, heads, CTL"},
    {"launch.c", ".tokens = t->weights ? 0 : s->common.program->tokens", ".tokens = 0"},
    {"launch.c", ".accumulate = t->accumulate", ".accumulate = 0"},
    {"products.c", ".rows = (int32_t)some, .cols", ".rows = 1, .cols"},
    {"products.c", ".transpose_a = t->transpose_a, .batch", ".transpose_a = false, .batch"},
    {"products.c", "m.step = t->sequence * o->stride;", "m.step = o->stride;"},
    {"products.c", "bytes_before(told, first)", "0"},
    {"products.c", ".turned = t->transpose_b", ".turned = 0"},
    {"products.c", ".more = pointer(ctl_cuda_at(s, more))", ".more = NULL"},
    {"products.c", ".bf16_addend = addend->dtype == CTL_BF16, .bf16_c", ".bf16_addend = 1, .bf16_c"},
    /* Algorithms. */
    {"choices.c", "if (known) {", "if (s->choices.n > 0) {\n        known = s->choices.at;"},
    {"choices.c", "mine->is = is, taken++;", "taken++;"},
    {"choices.c", "ctl_cuda_choice *mine = find(&s->choices, form.at, form.n);", "ctl_cuda_choice *mine = &s->choices.at[(taken + 1) % s->choices.n];"},
    {"choices.c", "ctl_status status = drop_graphs(s);", "ctl_status status = CTL_OK;"},
    {"choices.c", "s->graph[e] = NULL, s->runs[e] = 0;", "s->graph[e] = NULL;"},
    {"choices.c", "c->is.algorithm.data[w]", "s->choices.at[0].is.algorithm.data[w]"},
    {"blaslt.c", "m->rows, m->cols, stride_of(m));", "m->rows, m->cols, m->cols);"},
    {"blaslt.c", "m->rows, m->cols, stride_of(m));", "m->cols, m->cols, stride_of(m));"},
};

static void test_faults(void **state) {
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip();
#endif
    static char want[4096], got[4096];
    int missed = 0, unknown = 0;
    if (!probe("", want, sizeof want) || strlen(want) < 100) fail_msg("the engine as it is says: %s", want);
    for (size_t k = 0; k < sizeof faults / sizeof *faults; k++) {
        char path[128], command[2048];
        char *source = read_source(faults[k].file), *at = strstr(source, faults[k].what);
        if (!at) fail_msg("%s has no `%s`", faults[k].file, faults[k].what);
        snprintf(path, sizeof path, "%s/fault.c", folder);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fprintf(f, "%.*s%s%s", (int)(at - source), source, faults[k].by, at + strlen(faults[k].what));
        assert_int_equal(fclose(f), 0);
        free(source);
        snprintf(command, sizeof command, "%s -std=c17 -D_POSIX_C_SOURCE=200809L -w -I%s -I%s/include -c %s -o %s/fault.o", HOST_CC,
                 SOURCE_DIR, SOURCE_DIR, path, folder);
        if (system(command) != 0) fail_msg("`%s` for `%s` cannot be compiled", faults[k].by, faults[k].what);
        snprintf(path, sizeof path, "%s/fault.o", folder);
        const bool done = probe(path, got, sizeof got);
        if (strstr(got, "undefined reference") || strstr(got, "multiple definition")) unknown++, print_error("%s\n", got);
        if (done && strcmp(got, want) == 0)
            missed++, print_error("%s: `%s` instead of `%s`: nothing noticed it\n", faults[k].file, faults[k].by, faults[k].what);
    }
    assert_int_equal(missed, 0);
    assert_int_equal(unknown, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_faults)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
