/* peft_runs: small runs, their adapters' tensors and losses, for the tests of PEFT's adapters. Include cmocka first. */
#ifndef CTL_TESTS_PEFT_RUNS_H
#define CTL_TESTS_PEFT_RUNS_H

#include <jansson.h>

#include "command.h"
#include "hf_files.h"

#define SPEC(controls, with)                                                                                 \
    "import llama, tuning, control\n"                                                                        \
    "model m = llama.causal_lm(; vocab = 258, dim = 16, depth = 2, heads = 2, kv_heads = 1, ffn = 20, "      \
    "theta = 10000.0)\n" controls "tune a = m with " with " {\n tokens 2 x 16\n adamw(; lr = 1e-2)\n}\n"

/* On the reference executor: what is exchanged is the same, and nothing is to be compiled. */
static inline void run_spec(const char *spec, const char *more) {
    write_file("spec.ctl", spec);
    FILE *f;
    char path[200];
    snprintf(path, sizeof path, "%s/text.txt", folder);
    assert_non_null(f = fopen(path, "w"));
    for (int i = 0; i < 30; i++) fprintf(f, "line %d: what is said here is said again.\n", i);
    fclose(f);
    assert_int_equal(ctlc("train spec.ctl --engine reference --tune a --data text.txt --steps 4 "
                          "--eval-fraction 0 --quiet --out run %s",
                          more),
                     0);
}

static inline ctl_tensors *open_tensors(const char *name) {
    char path[200];
    ctl_tensors *set;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(
        ctl_tensors_open(path, "adapter_model.safetensors", (ctl_place){{0}, &ctl_malloc_allocator}, &set),
        CTL_OK);
    return set;
}

static inline double loss_of(const char *adapter, const char *more) {
    assert_int_equal(
        ctlc("eval spec.ctl --engine reference --tune a --data text.txt --adapter %s --json %s 2>/dev/null",
             adapter, more),
        0);
    json_error_t error;
    json_t *object = json_loads(output, 0, &error);
    assert_non_null(object);
    double loss = json_number_value(json_object_get(object, "loss"));
    json_decref(object);
    return loss;
}

static inline void clean(void) {
    char command[200];
    snprintf(command, sizeof command, "rm -rf '%s/run' '%s/peft'", folder, folder);
    assert_int_equal(system(command), 0);
}

#endif
