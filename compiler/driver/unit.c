/* unit: reading sources, settling what the spec leaves open, and making the program. See unit.h. */
#include "compiler/driver/unit.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "compiler/reference/reference.h"
#include "compiler/show/show.h"
#include "runtime/adaptation.h"
#ifdef CTL_HAVE_CPU
#include "compiler/emit/emit.h"
#include "compiler/emit/pool.h"
#include "runtime/cpu/cpu.h"
#endif

enum { MOST_SOURCE = 16 << 20 };

const char *ctl_unit_read_file(ctl_unit *u, const char *path, size_t *size) {
    struct stat info;
    if (stat(path, &info) != 0) return NULL;
    if (S_ISDIR(info.st_mode)) errno = EISDIR;
    else if (info.st_size > MOST_SOURCE) errno = EFBIG;
    if (S_ISDIR(info.st_mode) || info.st_size > MOST_SOURCE) return NULL;
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    /* The arena may jump: read into it only between fopen and fclose that cannot fail in between. */
    long end = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    fclose(file);
    if (end < 0 || end > MOST_SOURCE) return NULL;
    char *text = ctl_arena_alloc(u->arena, (size_t)end + 1);
    file = fopen(path, "rb");
    if (!file) return NULL;
    *size = fread(text, 1, (size_t)end, file);
    bool failed = ferror(file) != 0;
    fclose(file);
    return failed ? NULL : text;
}

const char *ctl_unit_read_module(void *unit, const char *module, size_t *size, const char **shown) {
    ctl_unit *u = unit;
    *shown = ctl_format(u->arena, "%s%s.ctl", u->directory, module);
    return ctl_unit_read_file(u, *shown, size);
}

void ctl_unit_settle(ctl_unit *u) {
    u->compute = u->options->compute != CTL_REAL ? u->options->compute : u->spec.compute;
    bool reference = u->options->engine == CTLC_REFERENCE;
    if (u->compute == CTL_REAL) u->compute = CTL_F32;
    if (u->compute == CTL_F64 && !reference) {
        ctl_error(&u->sink, CTL_E0505, CTL_NO_SPAN, "use --engine reference", "f64 runs on the reference executor alone");
        u->status = CTL_ERR_UNSUPPORTED;
    }
#ifndef CTL_HAVE_CPU
    if (u->options->engine == CTLC_CPU && !u->options->check_only) {
        ctl_error(&u->sink, CTL_E0801, CTL_NO_SPAN, "use --engine reference, or build with -DCTL_LLVM=ON",
                  "this build has no CPU back end");
        u->status = CTL_ERR_UNSUPPORTED;
    }
#endif
}

void ctl_unit_show(ctl_unit *u) {
    const char *unfold = u->options->unfold;
    ctl_text text = {.arena = u->arena};
    if (unfold && !ctl_show_finds(u->network, unfold, &text)) {
        ctl_error(&u->sink, CTL_E0216, CTL_NO_SPAN,
                  text.n ? ctl_format(u->arena, "there are: %s", text.at) : "nothing in this network is repeated",
                  "no repeated part of the network is called `%s`", unfold);
        u->status = CTL_ERR_INPUT;
        return;
    }
    text.n = 0;
    if (u->options->network == CTLC_NETWORK_DOT) ctl_show_dot(u->network, unfold, &text);
    else ctl_show_text(u->network, unfold, u->options->network_lines ? &u->sink : NULL, &text);
    if (u->options->dump) u->options->dump(u->options->dump_ctx, "network", text.at, text.n);
}

static void carry_adaptation(ctl_unit *u) {
    u->program->adaptation = ctl_adaptation_copy(u->spec.adaptation, ctl_allocator_or_default(u->options->allocator));
    if (!u->program->adaptation) u->status = CTL_ERR_MEMORY;
}

void ctl_unit_drop(ctl_unit *u) {
    ctl_program_free(u->program);
    u->program = NULL;
}

void ctl_unit_fail(ctl_unit *u, ctl_status status, const char *doing, const char *why) {
    u->status = status;
    if (status != CTL_ERR_MEMORY)
        ctl_error(&u->sink, CTL_E0901, CTL_NO_SPAN,
                  status == CTL_ERR_INTERNAL ? "this is a defect of ctlc; please report it with the spec" : NULL, "%s: %s",
                  doing, why ? why : ctl_status_name(status));
}

void ctl_unit_reference(ctl_unit *u) {
    if (u->options->check_only) return;
    ctl_status status = ctl_reference_program(u->graph, u->compute, &u->spec.settings, &u->sink, u->spec.model_name,
                                              u->spec.description, u->options->allocator, &u->program);
    if (status != CTL_OK) ctl_unit_fail(u, status, "the reference executor", NULL);
    else carry_adaptation(u);
}

const ctl_target *ctl_unit_target(const ctl_unit *u) {
    return u->options->engine == CTLC_CUDA ? ctl_target_cuda() : ctl_target_cpu();
}

bool ctl_unit_lower_graph(ctl_unit *u, const ctl_graph *graph) {
    ctl_lower_options options = {.threads = u->options->engine == CTLC_CUDA ? 1 : u->threads, .target = ctl_unit_target(u),
                                 .no_fuse = u->options->no_fuse, .compute = u->compute,
                                 .settings = u->spec.settings, .model_name = u->spec.model_name,
                                 .control_source = u->spec.description, .sources = &u->sink, .known_scratch = &u->known_scratch};
    ctl_lowered lowered = {0};
    const char *why = NULL;
    ctl_status status = ctl_lower(u->arena, graph, &options, ctl_allocator_or_default(u->options->allocator), &lowered, &why);
    if (status != CTL_OK) {
        ctl_unit_fail(u, status, "lowering", why);
        return false;
    }
    u->program = lowered.program, u->rows = lowered.rows;
    carry_adaptation(u);
    return u->status == CTL_OK;
}

void ctl_unit_lower(ctl_unit *u) {
    if (!u->is_lowered) ctl_unit_lower_graph(u, u->graph);
}

#ifdef CTL_HAVE_CPU
static void release_code(void *code) { ctl_cpu_code_free(code); }

/* Compiles the program's kernels of the numbers which[0 .. n-1]. */
static ctl_cpu_code *compile_kernels(ctl_unit *u, const size_t *which, size_t n) {
    ctl_emit_options options = {.threads = u->threads};
    ctl_emit_times times = {0};
    ctl_cpu_code *code = NULL;
    const char *why = NULL;
    ctl_rows_kernel *kernels = CTL_NEW_ARRAY(u->arena, ctl_rows_kernel, n);
    const ctl_rowprog **rows = CTL_NEW_ARRAY(u->arena, const ctl_rowprog *, n);
    for (size_t k = 0; k < n; k++) kernels[k] = u->program->kernels[which[k]], rows[k] = u->rows[which[k]];
    ctl_status status = ctl_cpu_emit(u->arena, rows, n, &options, kernels, &code, &times, &why);
    if (status != CTL_OK) {
        ctl_unit_fail(u, status, "machine code", why);
        return NULL;
    }
    for (size_t k = 0; k < n; k++) u->program->kernels[which[k]] = kernels[k];
    if (u->options->time) {
        u->options->time(u->options->time_ctx, "emit: build", times.build);
        u->options->time(u->options->time_ctx, "emit: optimise", times.optimise);
        u->options->time(u->options->time_ctx, "emit: object", times.object);
        u->options->time(u->options->time_ctx, "emit: load", times.load);
    }
    return code;
}

/* What the pool has is taken from it, the rest is compiled and left there; the program holds the pool. */
static void emit_with_pool(ctl_unit *u, ctlc_kernels *pool) {
    ctl_program *p = u->program;
    ctl_text *keys = CTL_NEW_ARRAY(u->arena, ctl_text, p->nkernels);
    size_t *missing = CTL_NEW_ARRAY(u->arena, size_t, p->nkernels);
    for (size_t k = 0; k < p->nkernels; k++) {
        keys[k].arena = u->arena;
        ctl_rowprog_key(u->rows[k], &keys[k]);
    }
    const size_t n = ctl_pool_find(pool, keys, p->nkernels, p->kernels, missing);
    if (n) {
        ctl_cpu_code *code = compile_kernels(u, missing, n);
        if (!code) return;
        if (ctl_pool_add(pool, keys, missing, n, p->kernels, release_code, code) != CTL_OK) {
            ctl_cpu_code_free(code);
            u->status = CTL_ERR_MEMORY;
            return;
        }
    }
    if (ctl_lowered_defer(p, ctl_pool_drop, pool)) ctl_pool_hold(pool);
    else u->status = CTL_ERR_MEMORY;
}

static void emit_alone(ctl_unit *u) {
    size_t *all = CTL_NEW_ARRAY(u->arena, size_t, u->program->nkernels);
    for (size_t k = 0; k < u->program->nkernels; k++) all[k] = k;
    ctl_cpu_code *code = compile_kernels(u, all, u->program->nkernels);
    if (code && !ctl_lowered_defer(u->program, release_code, code)) {
        ctl_cpu_code_free(code);
        u->status = CTL_ERR_MEMORY;
    }
}

void ctl_unit_emit(ctl_unit *u) {
    if (u->options->plan_only) return;
    if (u->options->engine == CTLC_CUDA) {
        ctl_unit_emit_cuda(u);
        return;
    }
    if (u->options->kernels) emit_with_pool(u, u->options->kernels);
    else emit_alone(u);
    if (u->status == CTL_OK) u->program->engine = &ctl_cpu_engine;
}
#else
void ctl_unit_emit(ctl_unit *u) {
    if (u->options->plan_only) return;
    if (u->options->engine == CTLC_CUDA) ctl_unit_emit_cuda(u);
    else u->status = CTL_ERR_UNSUPPORTED;
}
#endif
