/* update: the optimizer on the device. What is the same for all elements is computed here in double, as runtime/optimizer.c does,
 * and read by the kernels from the device's memory; the gradient's norm, which decides whether anything is changed, comes back. */
#include "runtime/cuda/session.h"

#include <math.h>

enum { MOST_BLOCKS = 2048 };

static ctl_cuda_optimizer_state factors(const ctl_optimizer_step *o) {
    ctl_cuda_optimizer_state f = {.clip = o->clip, .lr = (float)o->lr, .decay = (float)o->weight_decay,
                                  .momentum = (float)o->momentum};
    if (o->sgd) return f;
    const double t = (double)o->step;
    f.keep = (float)(1.0 - o->lr * o->weight_decay), f.rate = (float)(o->lr * (1.0 / (1.0 - pow(o->beta1, t))));
    f.beta1 = (float)o->beta1, f.beta2 = (float)o->beta2, f.rest1 = (float)(1.0 - o->beta1), f.rest2 = (float)(1.0 - o->beta2);
    f.eps = (float)o->eps, f.correct2 = (float)(1.0 / sqrt(1.0 - pow(o->beta2, t)));
    return f;
}

ctl_status ctl_cuda_optimize(ctl_cuda_session *s, const ctl_optimizer_step *o, double *gradient_norm) {
    const ctl_program *p = s->common.program;
    const size_t count = p->trained_elements, chunk = ctl_optimizer_chunk(count), chunks = (count + chunk - 1) / chunk;
    const ctl_cu_pointer state = s->own + offsetof(ctl_cuda_own, optimizer);
    ctl_status status = ctl_cuda_bad_ids(s); /* and the last update's factors have been read */
    if (status != CTL_OK) return status;
    s->host->optimizer = factors(o);
    const ctl_cuda_optimizer call = {.state = (ctl_cuda_optimizer_state *)(uintptr_t)state,
                                     .p = (float *)(uintptr_t)ctl_cuda_at(s, &p->trained),
                                     .m = (float *)(uintptr_t)ctl_cuda_at(s, &p->moment1),
                                     .v = (float *)(uintptr_t)ctl_cuda_at(s, &p->moment2),
                                     .g = (const float *)(uintptr_t)ctl_cuda_at(s, &p->gradients),
                                     .squares = (double *)(uintptr_t)(s->own + offsetof(ctl_cuda_own, squares)),
                                     .count = (int64_t)count, .chunk = (int64_t)chunk, .chunks = (int32_t)chunks};
    const int64_t blocks = (int64_t)((count + 255) / 256);
    status = ctl_cuda_check(s, s->driver->to_device(state, &s->host->optimizer, sizeof s->host->optimizer, s->stream),
                            "cuMemcpyHtoDAsync");
    if (status == CTL_OK)
        status = ctl_cuda_launch(s, s->functions[CUDA_SQUARES], (int64_t)chunks, 1, 128, CTL_CUDA_SQUARES_SHARED, &call);
    if (status == CTL_OK) status = ctl_cuda_launch(s, s->functions[CUDA_NORM], 1, 1, 32, 0, &call);
    if (status == CTL_OK)
        status = ctl_cuda_launch(s, s->functions[o->sgd ? CUDA_SGD : CUDA_ADAMW], blocks < MOST_BLOCKS ? blocks : MOST_BLOCKS, 1,
                                 256, 0, &call);
    if (status == CTL_OK)
        status = ctl_cuda_check(s, s->driver->to_host(&s->host->updated, state, sizeof s->host->updated, s->stream),
                                "cuMemcpyDtoHAsync");
    if (status == CTL_OK) status = ctl_cuda_wait(s);
    if (status != CTL_OK) return status;
    *gradient_norm = s->host->updated.norm;
    return s->host->updated.finite ? CTL_OK : CTL_ERR_NUMERIC;
}
