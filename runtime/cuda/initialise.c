/* initialise: first values made on the device, so that a large model need not go through the host: the numbers of
 * runtime/initialise.c, but for the last bit of logarithms and of waves, which is the device's. */
#include "runtime/cuda/session.h"

enum { MOST_BLOCKS = 65536, EACH = 4 }; /* elements of a thread at a time */

ctl_status ctl_cuda_initialise_param(ctl_cuda_session *s, size_t param) {
    const ctl_program_param *p = &s->common.program->params[param];
    const ctl_cuda_initialise call = {.out = (void *)(uintptr_t)ctl_cuda_at(s, &p->value), .stride = p->value.stride,
                                      .count = (int64_t)ctl_param_elements(p), .key = ctl_init_key(s->common.seed),
                                      .name = ctl_init_name(p), .arg = p->init_arg, .cols = (int32_t)p->cols,
                                      .kind = (int32_t)p->init, .bf16_out = p->value.dtype == CTL_BF16};
    const int64_t blocks = (call.count + 256 * EACH - 1) / (256 * EACH);
    ctl_status status =
        ctl_cuda_launch(s, s->functions[CUDA_INITIALISE], blocks < MOST_BLOCKS ? blocks : MOST_BLOCKS, 1, 256, 0, &call);
    return status == CTL_OK ? ctl_cuda_wait(s) : status; /* so that what fails is said of this one */
}
