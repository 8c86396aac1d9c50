/* cuda_engine: programs for the CUDA engine on the stand-ins of tests/cuda/standin, and training steps on any engine. */
#ifndef CTL_TESTS_CUDA_ENGINE_H
#define CTL_TESTS_CUDA_ENGINE_H

#include "tests/network_support.h"

#include <dlfcn.h>

#include "runtime/program.h"
#include "tests/cuda/standin/standin.h"

static inline standin_control *cuda_control(void) {
    static standin_control *control;
    if (!control) {
        void *library = dlopen(STANDIN_DIR "/libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
        if (!library) fail_msg("%s", dlerror());
        control = dlsym(library, "standin");
    }
    return control;
}

static const char *const cuda_folders[] = {STANDIN_DIR};
static const ctlc_cuda cuda_here = {.folders = cuda_folders, .nfolders = 1, .cache = STANDIN_DIR "/cache"};

typedef struct cuda_wanted {
    const char *path, *text; /* of a file; or the spec itself */
    const char *tune, *set;
    ctlc_engine engine;
    ctl_dtype compute;
    int64_t memory, split;
    const ctl_allocator *allocator;
    bool rows; /* evaluation tells of them */
} cuda_wanted;

static inline ctl_status cuda_compile(const cuda_wanted *w, ctl_program **out) {
    const ctlc_options options = {.engine = w->engine, .compute = w->compute, .diagnostic = hear, .verify = true, .threads = 2,
                                  .tune = w->tune, .set = &w->set, .nset = w->set != NULL, .memory = w->memory, .may_split = w->split > 0, .split = w->split,
                                  .allocator = w->allocator, .row_results = w->rows, .cuda = w->engine == CTLC_CUDA ? &cuda_here : NULL};
    return w->path ? ctlc_compile_file(w->path, &options, out) : ctlc_compile_text("spec", w->text, strlen(w->text), &options, out);
}

/* A session with values none of which is at rest, the same for every engine. */
static inline void cuda_open(network *n, const cuda_wanted *w) {
    const ctl_session_options so = {.seed = 5, .threads = 2, .diagnostic = hear, .allocator = w->allocator};
    *n = (network){0};
    assert_int_equal(cuda_compile(w, &n->program), CTL_OK);
    for (int e = 0; e < RUN_COUNT && w->engine == CTLC_CUDA; e++) /* logits in several chunks, the last a short one */
        for (size_t i = 0; i < n->program->run[e].n; i++)
            if (n->program->run[e].at[i].kind == TASK_HEAD && n->program->run[e].at[i].chunk > 12) n->program->run[e].at[i].chunk = 12;
    assert_int_equal(ctl_session_open(n->program, &so, &n->session), CTL_OK);
    n->params = ctl_program_param_count(n->program);
    assert_int_equal(ctl_session_load(n->session), CTL_OK);
    for (size_t p = 0; p < n->params; p++) {
        ctl_tensor_info t = ctl_program_param_at(n->program, p);
        float *values = calloc((size_t)(t.rows * t.cols), sizeof *values);
        assert_int_equal(ctl_session_param_read(n->session, p, CTL_F32, values), CTL_OK);
        for (int64_t k = 0; k < t.rows * t.cols; k++) values[k] += (float)(0.2 * unit(100 + p, (uint32_t)k));
        assert_int_equal(ctl_session_param_write(n->session, p, CTL_F32, values), CTL_OK);
        free(values);
    }
    assert_int_equal(ctl_session_load(n->session), CTL_OK);
}
static inline void cuda_close(network *n) {
    ctl_session_close(n->session);
    ctl_program_free(n->program);
}

/* One of the flat arrays of a program's trained parameters, in f64; the caller's. */
static inline double *cuda_flat(network *n, ctl_flat_array which, size_t *count) {
    ctl_flat flat = ctl_session_flat(n->session);
    double *out = calloc(flat.count + 1, sizeof *out);
    float *half = calloc(flat.count + 1, sizeof *half);
    const bool wide = flat.dtype == CTL_F64;
    assert_int_equal(ctl_session_flat_read(n->session, which, 0, flat.count, wide ? (void *)out : (void *)half), CTL_OK);
    for (size_t k = 0; k < flat.count && !wide; k++) out[k] = half[k];
    free(half);
    *count = flat.count;
    return out;
}

/* The distance of what is trained, relative to the second's size; of all programs the parameters' places are asked. */
static inline double cuda_distance(network *a, network *b, ctl_flat_array which) {
    size_t na, nb;
    double *x = cuda_flat(a, which, &na), *y = cuda_flat(b, which, &nb), size = 0, error = 0;
    for (size_t p = 0; p < a->params; p++) {
        const ctl_tensor_info s = ctl_program_param_at(a->program, p), t = ctl_program_param_at(b->program, p);
        for (int64_t k = 0; s.trained && k < s.rows * s.cols; k++) {
            const double got = x[s.flat + (size_t)k], want = y[t.flat + (size_t)k];
            size += want * want, error += (got - want) * (got - want);
            if (!isfinite(got)) error = INFINITY;
        }
    }
    free(x), free(y);
    assert_true(size > 0);
    return sqrt(error / size);
}

/* A step of so many micro-steps on the same inputs, then the optimizer; the loss. */
static inline double cuda_step(network *n, int64_t step, int micro, bool learn) {
    double loss = 0;
    ctl_session_zero_gradients(n->session);
    for (int k = 0; k < micro; k++) {
        double part = NAN;
        network_inputs(n, 16);
        ctl_session_set_step(n->session, (uint64_t)step, k * n->program->tokens, 1.0 / (8 * micro));
        assert_int_equal(ctl_session_forward(n->session), CTL_OK);
        assert_int_equal(ctl_session_output(n->session, "loss", false, &part, 1), CTL_OK);
        assert_int_equal(ctl_session_backward(n->session), CTL_OK);
        loss += part;
    }
    const ctl_optimizer_step o = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-6, .weight_decay = 0.01, .clip = 1,
                                  .step = (uint64_t)step};
    double norm = 0;
    if (learn) assert_int_equal(ctl_session_optimize(n->session, &o, &norm), CTL_OK);
    assert_true(!learn || norm > 0);
    return loss;
}

#endif
