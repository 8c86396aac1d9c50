/* probe: a few steps of small networks on the CUDA engine and the stand-ins, and a line of what came out: for test_cuda_faults,
 * which links it to an engine with a fault planted. Nothing is read within a step, so that copies may be under way. At the end a
 * second session, to which cuBLASLt has proposed other algorithms, goes on from the first's checkpoint. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "ctl/ctlc.h"
#include "runtime/checkpoint.h"
#include "runtime/program.h"
#include "tests/cuda/standin/standin.h"

static const char spec[] = "import llama, tuning\n"
                           "model m = llama.causal_lm(; vocab = 24, dim = 16, depth = 1, heads = 2, kv_heads = 1, ffn = 24, "
                           "theta = 10000.0)\n"
                           "tune m with tuning.full(), tuning.lora_qkvud(rank = 2, p = 0.3), tuning.mixing(rank = 2) {\n    tokens 2 x 16\n}\n";

/* With narrow products, turned and not, of addends of both types, one and two. */
static const char in_bf16[] = "import llama, tuning\n"
                              "model m = llama.causal_lm(; vocab = 24, dim = 16, depth = 1, heads = 2, kv_heads = 1, ffn = 24, "
                              "theta = 10000.0)\n"
                              "tune m with tuning.double(rank = 2) {\n    tokens 2 x 16\n    compute bf16\n}\n";

static int said;
static void say(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    said++;
    fprintf(stderr, "%s: %s\n", d->code, d->message);
}
static void check(ctl_status status) {
    if (status != CTL_OK) exit(1);
}

static void give(ctl_session *s, int seed) {
    int32_t ids[32], labels[32], position[32], length[32];
    for (int k = 0; k < 32; k++)
        ids[k] = (k * 7 + seed) % 24, labels[k] = k % 5 == 2 ? -100 : (k * 5 + seed) % 24, position[k] = k % 16, length[k] = 16;
    check(ctl_session_input(s, "ids", CTL_I32, ids, 32));
    check(ctl_session_input(s, "labels", CTL_I32, labels, 32));
    check(ctl_session_input(s, "position", CTL_I32, position, 32));
    if (ctl_session_has_input(s, "length", NULL, NULL)) check(ctl_session_input(s, "length", CTL_I32, length, 32));
}

static void print_flat(ctl_session *s, ctl_flat_array which, float *values, size_t n) {
    check(ctl_session_flat_read(s, which, 0, n, values));
    printf("%016llx ", (unsigned long long)ctl_hash(values, n * sizeof *values, 1));
}

static void one_step(ctl_session *s, int step, float *values, size_t n) {
    double loss, norm;
    ctl_session_zero_gradients(s);
    for (int micro = 0; micro < 2; micro++) {
        ctl_session_set_step(s, (uint64_t)step, micro * 32, 1.0 / 50);
        give(s, 2 * step + micro);
        check(ctl_session_forward(s));
        check(ctl_session_backward(s));
    }
    print_flat(s, CTL_FLAT_GRADIENTS, values, n);
    check(ctl_session_output(s, "loss", false, &loss, 1));
    const ctl_optimizer_step o = {.lr = 1e-2 / step, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-6, .clip = 0.01, .step = (uint64_t)step};
    check(ctl_session_optimize(s, &o, &norm));
    printf("%a %a ", loss, norm);
}

static void go_on(const ctl_program *program, const char *standins, const char *folder, ctl_session *first, float *values, size_t n) {
    const ctl_session_options so = {.seed = 5, .diagnostic = say};
    ctl_session *s;
    char path[512], out[512];
    snprintf(path, sizeof path, "%s/libcuda.so.1", standins);
    snprintf(out, sizeof out, "%s/run", folder);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    standin_control *control = library ? dlsym(library, "standin") : NULL;
    if (!control) exit(1);
    control->proposal = 1;
    check(ctl_session_open(program, &so, &s));
    check(ctl_session_load(s));
    for (int step = 1; step <= 2; step++) one_step(s, step, values, n); /* graphs are captured */
    ctl_checkpoint c = {.step = 3};
    bool found = false;
    check(ctl_checkpoint_save(first, out, &c));
    check(ctl_checkpoint_load(s, out, &c, &found));
    ctl_checkpoint_free(s, &c);
    one_step(s, 4, values, n);
    one_step(first, 4, values, n);
    printf("%d %d\n", found, said);
    ctl_session_close(s);
    dlclose(library);
}

/* A session of the spec, with values none of which is at rest; *values has room for n, all that is trained. */
static ctl_session *begin(const char *text, const ctlc_options *options, ctl_program **program, float **values, size_t *n) {
    const ctl_session_options so = {.seed = 5, .diagnostic = say};
    ctl_session *s;
    check(ctlc_compile_text("spec", text, strlen(text), options, program));
    for (int e = 0; e < RUN_COUNT; e++) /* logits in chunks of 12, 12 and 8 rows */
        for (size_t i = 0; i < (*program)->run[e].n; i++)
            if ((*program)->run[e].at[i].kind == TASK_HEAD) (*program)->run[e].at[i].chunk = 12;
    check(ctl_session_open(*program, &so, &s));
    check(ctl_session_load(s));
    *n = ctl_session_flat(s).count;
    *values = malloc(*n * sizeof **values);
    if (!*values) exit(1);
    for (size_t k = 0; k < *n; k++) (*values)[k] = (float)((k * 37 % 101) / 250.0 - 0.2);
    check(ctl_session_flat_write(s, CTL_FLAT_PARAMS, 0, *n, *values));
    check(ctl_session_update(s));
    return s;
}

int main(int argc, char **argv) {
    const char *const folders[] = {argc > 1 ? argv[1] : "."};
    const ctlc_cuda cuda = {.folders = folders, .nfolders = 1, .cache = argc > 2 ? argv[2] : NULL};
    const ctlc_options options = {.engine = CTLC_CUDA, .cuda = &cuda, .diagnostic = say, .row_results = true};
    ctl_program *program;
    float *values;
    size_t n;
    ctl_session *s = begin(in_bf16, &options, &program, &values, &n);
    one_step(s, 1, values, n);
    free(values);
    ctl_session_close(s);
    ctl_program_free(program);
    s = begin(spec, &options, &program, &values, &n);
    for (int step = 1; step <= 3; step++) one_step(s, step, values, n);
    print_flat(s, CTL_FLAT_PARAMS, values, n);
    double loss;
    give(s, 9); /* in the same step */
    check(ctl_session_evaluate(s));
    check(ctl_session_output(s, "loss", true, &loss, 1));
    double rows[64];
    check(ctl_session_output(s, "row results", true, rows, 64));
    printf("%a %016llx ", loss, (unsigned long long)ctl_hash(rows, sizeof rows, 1));
    go_on(program, folders[0], options.cuda->cache, s, values, n);
    free(values);
    ctl_session_close(s);
    ctl_program_free(program);
    return 0;
}
