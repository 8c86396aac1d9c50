/* unit_cuda: the last step for an NVIDIA GPU: a source for each kernel, named by what it computes, so that a kernel has the
 * same file and the same entry in the cache whichever spec it is for; machine code from them; and either both as files, handed
 * to whoever asked, or a program that the CUDA engine runs on this machine's GPU. */
#include <stdio.h>

#include "base/sha256.h"
#include "compiler/driver/unit.h"
#include "compiler/emit/cuda/compile.h"
#include "compiler/emit/cuda/cuda.h"
#include "runtime/cuda/code.h"
#include "runtime/cuda/cuda.h"
#include "runtime/files.h"

const char *const *ctlc_cuda_architectures(void) { return ctl_cuda_architectures(); }

static void hand_out(ctl_unit *u, const char *name, const char *ending, const void *bytes, size_t size, const char *note) {
    const ctlc_cuda *o = u->options->cuda;
    const ctlc_artifact artifact = {.name = ctl_format(u->arena, "%s%s", name, ending), .note = note, .bytes = bytes,
                                    .size = size};
    if (o->artifact) o->artifact(o->artifact_ctx, &artifact);
}

/* The forms in which the program's tasks launch its kernel k: what a buffer begins at is aligned, what lies in it may not be. */
static int forms_of(const ctl_unit *u, size_t k, const ctl_cuda_kernel *kernel) {
    int forms = 0;
    for (int entry = 0; entry < RUN_COUNT; entry++)
        for (size_t i = 0; i < u->program->run[entry].n; i++) {
            const ctl_task *t = &u->program->run[entry].at[i];
            ctl_rows_arg args[CTL_MOST_OPERANDS] = {0};
            ctl_dtype dtypes[CTL_MOST_OPERANDS] = {0};
            if (t->kind != TASK_ROWS || t->kernel != k) continue;
            for (uint32_t j = 0; j < t->noperands && j < CTL_MOST_OPERANDS; j++)
                args[j] = (ctl_rows_arg){.base = (void *)(uintptr_t)t->operands[j].offset, .stride = t->operands[j].stride},
                dtypes[j] = t->operands[j].dtype;
            forms |= (int)ctl_cuda_rows_form(kernel, args, dtypes);
        }
    return forms;
}

/* A program's name tells its forms where it does not have all. */
static const char *name_of(ctl_unit *u, const ctl_rowprog *p, const ctl_cuda_kernel *k) {
    static const char *const endings[] = {"", "_wide", "_any", ""};
    unsigned char digest[CTL_SHA256_BYTES];
    char hex[CTL_SHA256_HEX];
    ctl_text key = {.arena = u->arena};
    ctl_sha256 h;
    ctl_rowprog_key(p, &key);
    ctl_sha256_begin(&h);
    ctl_sha256_add(&h, key.at, key.n);
    ctl_sha256_end(&h, digest);
    ctl_sha256_hex(digest, hex);
    return ctl_format(u->arena, "rows_%.12s%s", hex, k->wide ? endings[k->forms & 3] : "");
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

/* driver: the CUDA that the driver is of, which is to run it; 0: no driver is asked. */
static void compile(ctl_unit *u, held *h, const ctlc_cuda *o, const char *architecture, int driver) {
    const ctl_cuda_folders folders = {o->folders, o->nfolders, driver};
    ctl_nvrtc nvrtc;
    char why[CTL_CUDA_WHY];
    u->status = ctl_nvrtc_open(&nvrtc, o->compiler, &folders, why);
    if (u->status != CTL_OK) {
        ctl_error(&u->sink, CTL_E0811, CTL_NO_SPAN,
                  o->emit ? "install it (the package cuda-nvrtc, or a CUDA toolkit), name its file with --nvrtc, or ask for "
                            "--emit=cu alone"
                          : "install it (the package cuda-nvrtc, or a CUDA toolkit), or name its folder with --cuda-libraries",
                  "%s", why);
        return;
    }
    const ctl_cuda_compile_options options = {.nvrtc = &nvrtc, .architecture = architecture, .cache = o->cache,
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

/* The parts of hand-written kernels that the program needs. */
typedef struct part_list {
    ctl_cuda_part *at;
    size_t n;
} part_list;
static part_list parts_of(ctl_unit *u) {
    part_list p = {.n = ctl_cuda_parts_of(u->program, NULL, 0)};
    p.at = CTL_NEW_ARRAY(u->arena, ctl_cuda_part, p.n);
    p.n = ctl_cuda_parts_of(u->program, p.at, p.n);
    return p;
}

/* A source for each row program and for each part. */
static held *write_sources(ctl_unit *u, const part_list *parts, ctl_cuda_kernel *kernels) {
    const size_t nrows = u->program->nkernels, n = nrows + parts->n;
    held *h = CTL_NEW(u->arena, held);
    *h = (held){ctl_allocator_or_default(u->options->allocator), CTL_NEW_ARRAY(u->arena, ctl_cuda_unit, n), n, NULL};
    ctl_arena_defer(u->arena, drop_held, h);
    for (size_t k = 0; k < n; k++) {
        ctl_text text = {.arena = u->arena};
        const char *name;
        if (k < nrows) {
            ctl_cuda_plan(u->rows[k], u->arena, &kernels[k]);
            kernels[k].forms = forms_of(u, k, &kernels[k]);
            name = kernels[k].name = name_of(u, u->rows[k], &kernels[k]);
            ctl_cuda_source(u->arena, &u->rows[k], 1, &kernels[k], &text);
        } else {
            const ctl_cuda_part *part = &parts->at[k - nrows];
            name = ctl_cuda_part_name(part->kind);
            if (part->head) name = ctl_format(u->arena, "%s_%lld", name, (long long)part->head);
            ctl_cuda_part_source(part, &text);
        }
        h->units[k] = (ctl_cuda_unit){.name = name, .source = text.at};
    }
    return h;
}

/* ---- files ---- */
/* Bytes of shared memory of a block, of a module's greediest kernel. */
static size_t shared_of(const ctl_unit *u, const part_list *parts, const ctl_cuda_kernel *kernels, size_t k, int fixed) {
    const size_t nrows = u->program->nkernels;
    size_t most = k < nrows ? kernels[k].shared_bytes : 0;
    for (ctl_cuda_function f = 0; k >= nrows && f < CUDA_FUNCTIONS; f++) {
        const ctl_cuda_part *part = &parts->at[k - nrows];
        if (ctl_cuda_function_part(f) == part->kind && ctl_cuda_function_shared(f, part->head) > most)
            most = ctl_cuda_function_shared(f, part->head);
    }
    return most + (size_t)fixed;
}

static void hand_out_all(ctl_unit *u, held *h, const ctlc_cuda *o, const part_list *parts, const ctl_cuda_kernel *kernels) {
    for (size_t k = 0; k < h->n && o->emit & CTLC_EMIT_CU; k++)
        hand_out(u, h->units[k].name, ".cu", h->units[k].source, strlen(h->units[k].source),
                 ctl_format(u->arena, "%zu bytes shared", shared_of(u, parts, kernels, k, 0)));
    if (o->emit & (CTLC_EMIT_CUBIN | CTLC_EMIT_PTX)) compile(u, h, o, o->architecture, 0);
    for (size_t k = 0; k < h->n && u->status == CTL_OK; k++) {
        const ctl_cuda_unit *c = &h->units[k];
        const char *note = ctl_format(u->arena, "%d registers, %d bytes spilled, %zu bytes shared%s", c->registers, c->spilled_bytes,
                                      shared_of(u, parts, kernels, k, c->shared_bytes), c->cached ? "" : ctl_format(u->arena, ", compiled in %.2f s", c->seconds));
        if (o->emit & CTLC_EMIT_CUBIN) hand_out(u, c->name, ".cubin", c->made.cubin, c->made.ncubin, note);
        if (o->emit & CTLC_EMIT_PTX && c->made.nptx) hand_out(u, c->name, ".ptx", c->made.ptx, c->made.nptx - 1, note);
    }
    ctl_text plan = {.arena = u->arena};
    ctl_program_print(u->program, &plan);
    if (u->status == CTL_OK) hand_out(u, "plan", ".txt", plan.at, plan.n, NULL);
    ctl_unit_drop(u); /* the files are what was asked for */
}

/* ---- a program that runs ---- */
static void drop_draft(void *what) {
    ctl_cuda_code *draft = what;
    ctl_blaslt_close(&draft->blaslt);
    ctl_cuda_driver_close(&draft->driver);
}

/* The libraries, and the GPU to compile for; NULL with the status set. */
static ctl_cuda_code *open_device(ctl_unit *u, const ctlc_cuda *o, const char **architecture) {
    ctl_cuda_folders folders = {o->folders, o->nfolders, 0};
    ctl_cuda_code *draft = CTL_NEW(u->arena, ctl_cuda_code);
    char why[CTL_CUDA_WHY];
    ctl_arena_defer(u->arena, drop_draft, draft);
    const char *remedy = "it comes with the driver of an NVIDIA GPU; without one use --engine cpu";
    u->status = ctl_cuda_driver_open(&draft->driver, &folders, why);
    if (u->status == CTL_OK) {
        remedy = "nvidia-smi tells which GPUs the driver sees; CUDA_VISIBLE_DEVICES may hide some";
        u->status = ctl_cuda_device_find(&draft->driver, &draft->device, why);
    }
    if (u->status == CTL_OK) {
        folders.driver = draft->driver.cuda;
        remedy = "install it (the package libcublas, or a CUDA toolkit), or name its folder with --cuda-libraries";
        u->status = ctl_blaslt_open(&draft->blaslt, &folders, why);
    }
    if (u->status == CTL_OK) {
        const ctl_cuda_device *d = &draft->device;
        *architecture = ctl_cuda_architecture_of(d->major, d->minor);
        if (*architecture) return draft;
        u->status = CTL_ERR_UNSUPPORTED;
        remedy = "kernels are written for sm_80 and later; use another GPU, or --engine cpu";
        snprintf(why, sizeof why, "the GPU, %s, has compute capability %d.%d, which no kernels are made for", d->name, d->major,
                 d->minor);
    }
    ctl_error(&u->sink, CTL_E0812, CTL_NO_SPAN, remedy, "%s", why);
    return NULL;
}

static void make_runnable(ctl_unit *u, held *h, const ctlc_cuda *o, const part_list *parts, const ctl_cuda_kernel *kernels) {
    const char *architecture;
    ctl_cuda_code *draft = open_device(u, o, &architecture), *code = NULL;
    if (!draft) return;
    compile(u, h, o, architecture, draft->driver.cuda);
    if (u->status != CTL_OK) return;
    ctl_cuda_image *images = CTL_NEW_ARRAY(u->arena, ctl_cuda_image, h->n);
    for (size_t k = 0; k < h->n; k++)
        images[k] = (ctl_cuda_image){h->units[k].name, h->units[k].made.cubin, h->units[k].made.ncubin};
    draft->images = images, draft->rows = kernels, draft->nrows = u->program->nkernels;
    draft->parts = parts->at, draft->nparts = parts->n;
    u->status = ctl_cuda_code_make(h->allocator, draft, &code);
    if (u->status != CTL_OK) return;
    draft->driver.library = draft->blaslt.library = NULL; /* the code's from here on */
    if (!ctl_lowered_defer(u->program, ctl_cuda_code_free, code)) {
        ctl_cuda_code_free(code);
        u->status = CTL_ERR_MEMORY;
        return;
    }
    u->program->engine = &ctl_cuda_engine, u->program->engine_data = code;
}

void ctl_unit_emit_cuda(ctl_unit *u) {
    static const ctlc_cuda nothing_asked;
    const ctlc_cuda *o = u->options->cuda ? u->options->cuda : &nothing_asked;
    const part_list parts = parts_of(u);
    ctl_cuda_kernel *kernels = CTL_NEW_ARRAY(u->arena, ctl_cuda_kernel, u->program->nkernels);
    held *h = write_sources(u, &parts, kernels);
    if (o->emit) hand_out_all(u, h, o, &parts, kernels);
    else make_runnable(u, h, o, &parts, kernels);
}
