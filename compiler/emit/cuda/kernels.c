/* kernels: the sources of the kernels that are written by hand, with what they are made for defined at their beginning. */
#include "compiler/emit/cuda/build.h"
#include "runtime/cuda/attend.h"

static void put(ctl_text *out, const char *name) {
    const char *text = ctl_cuda_text(name);
    ctl_text_put(out, text, strlen(text));
    ctl_text_add(out, "\n");
}

void ctl_cuda_attend_source(int64_t head, ctl_text *out) {
    ctl_text_add(out, "#define HEAD %lld\n#define KEYS %d\n#define QUERIES %d\n", (long long)head, ctl_cuda_attend_keys(head),
                 ctl_cuda_attend_queries(head));
    put(out, "prelude");
    put(out, "tensor_prelude");
    put(out, "attend_prelude");
    put(out, "attend_plain");
    if (ctl_cuda_attend_has_tensor(head)) put(out, "attend");
}

void ctl_cuda_tasks_source(ctl_text *out) {
    put(out, "prelude");
    put(out, "tasks");
    put(out, "engine");
}
