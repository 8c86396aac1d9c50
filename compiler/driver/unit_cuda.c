/* unit_cuda: the last step for an NVIDIA GPU: a source for each kernel, named by what it computes, so that a kernel has the
 * same file and the same entry in the cache whichever spec it is for; machine code from them; and both handed to whoever
 * asked. */
#include <stdio.h>

#include "base/sha256.h"
#include "compiler/driver/unit.h"
#include "compiler/emit/cuda/compile.h"
#include "compiler/emit/cuda/cuda.h"
#include "runtime/files.h"

const char *const *ctlc_cuda_architectures(void) { return ctl_cuda_architectures(); }

static void hand_out(ctl_unit *u, const char *name, const char *ending, const void *bytes, size_t size, const char *note) {
    const ctlc_cuda *o = u->options->cuda;
    const ctlc_artifact artifact = {.name = ctl_format(u->arena, "%s%s", name, ending), .note = note, .bytes = bytes,
                                    .size = size};
    if (o->artifact) o->artifact(o->artifact_ctx, &artifact);
}

static const char *name_of(ctl_unit *u, const ctl_rowprog *p) {
    unsigned char digest[CTL_SHA256_BYTES];
    char hex[CTL_SHA256_HEX];
    ctl_text key = {.arena = u->arena};
    ctl_sha256 h;
    ctl_rowprog_key(p, &key);
    ctl_sha256_begin(&h);
    ctl_sha256_add(&h, key.at, key.n);
    ctl_sha256_end(&h, digest);
    ctl_sha256_hex(digest, hex);
    return ctl_format(u->arena, "rows_%.12s", hex);
}

/* What must be freed on any way out. */
typedef struct held {
    const ctl_allocator *allocator;
    ctl_cuda_unit *units;
    size_t n;
    char *said; /* of the compiler */
} held;
static void drop_held(void *what) {
    held *h = what;
    ctl_cuda_units_drop(h->allocator, h->units, h->n);
    ctl_string_free(h->allocator, h->said);
}

static void compile(ctl_unit *u, held *h) {
    const ctlc_cuda *o = u->options->cuda;
    ctl_nvrtc nvrtc;
    char why[CTL_NVRTC_WHY];
    u->status = ctl_nvrtc_open(&nvrtc, o->compiler, why);
    if (u->status != CTL_OK) {
        ctl_error(&u->sink, CTL_E0811, CTL_NO_SPAN,
                  "install it (the package cuda-nvrtc, or a CUDA toolkit), name its file with --nvrtc, or ask for --emit=cu "
                  "alone",
                  "%s", why);
        return;
    }
    const ctl_cuda_compile_options options = {.nvrtc = &nvrtc, .architecture = o->architecture, .cache = o->cache,
                                              .threads = u->threads};
    u->status = ctl_cuda_compile(h->allocator, &options, h->units, h->n, &h->said);
    ctl_nvrtc_close(&nvrtc);
    if (u->status == CTL_ERR_INPUT) { /* our source, so our defect */
        u->status = CTL_ERR_INTERNAL;
        ctl_error(&u->sink, CTL_E0901, CTL_NO_SPAN, "this is a defect of ctlc; please report it with the spec", "%s",
                  h->said ? h->said : "CUDA's compiler refuses a kernel");
    } else if (u->status == CTL_ERR_UNSUPPORTED)
        ctl_error(&u->sink, CTL_E0811, CTL_NO_SPAN, "a newer CUDA may know this architecture", "%s", h->said ? h->said : "");
}

typedef CTL_VEC(int64_t) sizes;
/* The head sizes of the program's attention, each once. */
static sizes head_sizes(ctl_unit *u) {
    sizes heads = {0};
    for (int entry = 0; entry < RUN_COUNT; entry++)
        for (size_t i = 0; i < u->program->run[entry].n; i++) {
            const ctl_task *t = &u->program->run[entry].at[i];
            bool seen = t->kind != TASK_ATTEND && t->kind != TASK_ATTEND_GRAD;
            for (size_t k = 0; k < heads.n; k++) seen |= heads.at[k] == t->head;
            if (!seen) CTL_PUSH(u->arena, &heads, t->head);
        }
    return heads;
}

void ctl_unit_emit_cuda(ctl_unit *u) {
    const ctlc_cuda *o = u->options->cuda;
    const sizes heads = head_sizes(u);
    const size_t nrows = u->program->nkernels, n = nrows + heads.n + 1;
    held *h = CTL_NEW(u->arena, held);
    *h = (held){ctl_allocator_or_default(u->options->allocator), CTL_NEW_ARRAY(u->arena, ctl_cuda_unit, n), n, NULL};
    ctl_arena_defer(u->arena, drop_held, h);
    for (size_t k = 0; k < n; k++) {
        ctl_cuda_kernel kernel = {0};
        ctl_text text = {.arena = u->arena};
        if (k < nrows) {
            kernel.name = name_of(u, u->rows[k]);
            ctl_cuda_source(u->arena, &u->rows[k], 1, &kernel, &text);
        } else if (k == n - 1) {
            kernel.name = "tasks";
            ctl_cuda_tasks_source(&text);
        } else {
            kernel.name = ctl_format(u->arena, "attend_%lld", (long long)heads.at[k - nrows]);
            ctl_cuda_attend_source(heads.at[k - nrows], &text);
        }
        h->units[k] = (ctl_cuda_unit){.name = kernel.name, .source = text.at};
        if (o->emit & CTLC_EMIT_CU) hand_out(u, kernel.name, ".cu", text.at, text.n, NULL);
    }
    if (o->emit & (CTLC_EMIT_CUBIN | CTLC_EMIT_PTX)) compile(u, h);
    for (size_t k = 0; k < n && u->status == CTL_OK; k++) {
        const ctl_cuda_unit *c = &h->units[k];
        const char *note = ctl_format(u->arena, "%d registers, %d bytes spilled%s", c->registers, c->spilled_bytes,
                                      c->cached ? "" : ctl_format(u->arena, ", compiled in %.2f s", c->seconds));
        if (o->emit & CTLC_EMIT_CUBIN) hand_out(u, c->name, ".cubin", c->made.cubin, c->made.ncubin, note);
        if (o->emit & CTLC_EMIT_PTX && c->made.nptx) hand_out(u, c->name, ".ptx", c->made.ptx, c->made.nptx - 1, note);
    }
    ctl_text plan = {.arena = u->arena};
    ctl_program_print(u->program, &plan);
    if (u->status == CTL_OK) hand_out(u, "plan", ".txt", plan.at, plan.n, NULL);
    ctl_unit_drop(u); /* nothing runs it yet */
}
