/* bench_beside: ctlc as one contestant of tools/bench/side_by_side: trains a spec on batches that a file holds, a step at a
 * time, when told. It begins at once: compiles, loads, does the first step; then reads lines from standard input: "step" does
 * one more, "end" or the end of the input ends it. It answers each step with a line of JSON:
 *     {"loss": .., "seconds": .., "cpu": .., "compile": .., "load": ..}     compile and load in the first line alone
 * and at the end tells its memory:
 *     {"resident": most bytes resident, "kept": .., "arena": .., "planned": ..}
 *
 * The file's tensors are inputs of the net, each [batches, elements]; batch n is row n % batches. With --split N the program
 * takes a batch in N parts, one after the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/base.h"
#include "ctl/ctlc.h"
#include "runtime/program.h"
#include "runtime/safetensors.h"

#define BENCH "bench_beside"
#include "tools/bench/bench.h"

static void hear(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    if (d->severity != CTL_ERROR) return; /* that a control's first values are in no checkpoint is meant so */
    char text[4096];
    ctl_diagnostic_text(d, text, sizeof text);
    fprintf(stderr, "%s\n", text);
}

typedef struct contestant {
    const char *spec, *tune, *compute, *tokens, *depth, *weights, *adapter, *batches, *split;
    size_t parts; /* that a batch goes through in */
    ctl_program *program;
    ctl_session *session;
    ctl_tensors *inputs;
    uint64_t step; /* done */
} contestant;

/* Writes a part of the step's batch. */
static void write_inputs(const contestant *c, size_t part) {
    const size_t tokens = (size_t)c->program->tokens;
    for (size_t k = 0; k < ctl_tensors_count(c->inputs); k++) {
        const ctl_tensor *t = ctl_tensors_at(c->inputs, k);
        if (t->ndims != 2 || !t->known || t->dims[0] < 1 || (size_t)t->dims[1] % c->parts) must(CTL_ERR_INPUT, t->name);
        const size_t bytes = t->bytes / (size_t)t->dims[0] / c->parts, n = (size_t)t->dims[1] / c->parts;
        void *row = zeroed(bytes, 1);
        memcpy(row, (const char *)t->data + (c->step % (uint64_t)t->dims[0] * c->parts + part) * bytes, bytes);
        must(ctl_session_input(c->session, t->name, t->dtype, row, n), t->name);
        free(row);
    }
    int32_t *position = zeroed(tokens, sizeof *position), *length = zeroed(tokens, sizeof *length);
    const int64_t sequence = c->program->sequence ? c->program->sequence : c->program->tokens;
    for (size_t k = 0; k < tokens; k++) position[k] = (int32_t)((int64_t)k % sequence), length[k] = (int32_t)sequence;
    if (ctl_session_has_input(c->session, "position", NULL, NULL))
        must(ctl_session_input(c->session, "position", CTL_I32, position, tokens), "position");
    if (ctl_session_has_input(c->session, "length", NULL, NULL))
        must(ctl_session_input(c->session, "length", CTL_I32, length, tokens), "length");
    free(position), free(length);
}

/* What the loss is multiplied by: of the whole batch, whatever its parts. */
static double normaliser_of(const contestant *c) {
    int64_t counted = 0;
    for (size_t k = 0; k < ctl_tensors_count(c->inputs); k++) {
        const ctl_tensor *t = ctl_tensors_at(c->inputs, k);
        if (strncmp(t->name, "label", 5) != 0) continue;
        const size_t first = c->step % (uint64_t)t->dims[0] * (size_t)t->dims[1];
        for (size_t r = 0; r < (size_t)t->dims[1]; r++) {
            int32_t label;
            memcpy(&label, (const char *)t->data + (first + r) * sizeof label, sizeof label);
            counted += label != -100;
        }
    }
    return counted ? 1.0 / (double)counted : 1;
}

/* One step, and its line up to what the caller adds. */
static void run_step(contestant *c) {
    const ctl_settings *s = &c->program->settings;
    const ctl_optimizer_step o = {.sgd = strcmp(s->optimizer, "sgd") == 0, .lr = s->lr, .beta1 = s->beta1, .beta2 = s->beta2,
                                  .eps = s->eps, .weight_decay = s->weight_decay, .momentum = s->momentum,
                                  .clip = s->clip, .step = c->step + 1};
    const double begin = seconds_on(CLOCK_MONOTONIC), cpu = seconds_on(CLOCK_PROCESS_CPUTIME_ID);
    double loss = 0, norm;
    ctl_session_zero_gradients(c->session);
    for (size_t part = 0; part < c->parts; part++) {
        double one;
        write_inputs(c, part);
        ctl_session_set_step(c->session, c->step + 1, (int64_t)part * c->program->tokens, normaliser_of(c));
        must(ctl_session_forward(c->session), "forward");
        must(ctl_session_output(c->session, "loss", false, &one, 1), "loss");
        must(ctl_session_backward(c->session), "backward");
        loss += one;
    }
    must(ctl_session_optimize(c->session, &o, &norm), "optimizer");
    c->step++;
    printf("{\"loss\": %.9g, \"seconds\": %.6f, \"cpu\": %.6f", loss, seconds_on(CLOCK_MONOTONIC) - begin,
           seconds_on(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

static void open_contestant(contestant *c) {
    char tokens[64], depth[64];
    snprintf(tokens, sizeof tokens, "tokens=%s", c->tokens);
    snprintf(depth, sizeof depth, "model.depth=%s", c->depth);
    const char *set[] = {tokens, depth};
    const ctlc_options options = {.diagnostic = hear, .engine = CTLC_CPU, .tune = c->tune,
                                  .may_split = c->split != NULL, .split = c->split ? atoll(c->split) : 0, .set = set, .nset = CTL_COUNT(set), .compute = strcmp(c->compute, "bf16") == 0 ? CTL_BF16 : CTL_F32};
    must(ctlc_compile_file(c->spec, &options, &c->program), c->spec);
    c->parts = c->split ? (size_t)atoll(c->split) : 1;
}

static void load(contestant *c) {
    const ctl_session_options options = {.seed = 1, .diagnostic = hear};
    const ctl_place place = {{hear, NULL}, &ctl_malloc_allocator};
    must(ctl_session_open(c->program, &options, &c->session), "session");
    must(ctl_session_load_weights(c->session, &c->weights, 1, NULL), c->weights);
    must(ctl_session_load_adapter(c->session, c->adapter), c->adapter);
    must(ctl_session_load(c->session), "load");
    must(ctl_tensors_open(c->batches, "", place, &c->inputs), c->batches);
}

/* What forward leaves for backward: buffers of the arena that live from a task of the one to a task of the other. */
static size_t kept(const ctl_program *p) {
    const int32_t backward = (int32_t)p->run[RUN_FORWARD].n;
    size_t bytes = 0;
    for (size_t k = 0; k < p->nbuffers; k++) {
        const ctl_buffer *b = &p->buffers[k];
        if (b->region == REGION_STEP && b->use == USE_SAVED && b->first < backward && b->last >= backward) bytes += b->bytes;
    }
    return bytes;
}

static void tell_memory(const contestant *c) {
    struct rusage usage;
    const ctl_memory m = ctl_program_memory(c->program);
    getrusage(RUSAGE_SELF, &usage); /* ru_maxrss is VmHWM, in KiB */
    printf("{\"resident\": %lld, \"kept\": %zu, \"arena\": %zu, \"planned\": %zu}\n", (long long)usage.ru_maxrss * 1024,
           kept(c->program), m.step, m.peak);
}

int main(int argc, char **argv) {
    contestant c = {0};
    const struct {
        const char *name, **at;
    } options[] = {{"--tune", &c.tune},       {"--compute", &c.compute}, {"--tokens", &c.tokens}, {"--depth", &c.depth},
                   {"--weights", &c.weights}, {"--adapter", &c.adapter}, {"--batches", &c.batches},
                   {"--split", &c.split}};
    for (int k = 1; k < argc; k++) {
        size_t o = 0;
        while (o < CTL_COUNT(options) && strcmp(argv[k], options[o].name) != 0) o++;
        if (o < CTL_COUNT(options) && k + 1 < argc) *options[o].at = argv[++k];
        else if (!c.spec && argv[k][0] != '-') c.spec = argv[k];
        else c.spec = NULL, k = argc;
    }
    if (!c.spec || !c.tune || !c.compute || !c.tokens || !c.depth || !c.weights || !c.adapter || !c.batches) {
        fputs("usage: bench_beside SPEC.ctl --tune NAME --compute f32|bf16 --tokens SxL --depth N --weights DIR --adapter DIR\n"
              "                    --batches FILE.safetensors [--split PARTS]     (tools/bench/side_by_side runs it)\n",
              stderr);
        return 2;
    }
    const double begin = seconds_on(CLOCK_MONOTONIC);
    open_contestant(&c);
    const double compiled = seconds_on(CLOCK_MONOTONIC);
    load(&c);
    const double loaded = seconds_on(CLOCK_MONOTONIC);
    run_step(&c);
    printf(", \"compile\": %.6f, \"load\": %.6f}\n", compiled - begin, loaded - compiled);
    fflush(stdout);
    char line[64];
    while (fgets(line, sizeof line, stdin) && strcmp(line, "step\n") == 0) {
        run_step(&c);
        printf("}\n");
        fflush(stdout);
    }
    tell_memory(&c);
    ctl_session_close(c.session);
    ctl_tensors_close(c.inputs);
    ctl_program_free(c.program);
    return 0;
}
