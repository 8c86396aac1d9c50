/* format: the formatter for host programs. It needs no more of a compilation than an arena and a sink. */
#include "compiler/syntax/format.h"
#include "ctl/ctlc.h"

typedef struct formatting { /* what must survive a jump out of a failed allocation */
    ctl_arena arena;
    ctl_sink sink;
    jmp_buf jump;
    const ctlc_options *options;
    const char *name, *text;
    size_t size;
    ctl_status status;
} formatting;

static void run(formatting *f) {
    ctl_arena_init(&f->arena, f->options->allocator, &f->jump);
    f->sink = (ctl_sink){.arena = &f->arena, .fn = f->options->diagnostic, .ctx = f->options->diagnostic_ctx};
    ctl_text out = {.arena = &f->arena};
    uint32_t file = ctl_sink_add_source(&f->sink, f->name, f->text, f->size);
    f->status = ctl_format_source(&f->arena, &f->sink, file, &out);
    if (f->status == CTL_OK && f->options->dump) f->options->dump(f->options->dump_ctx, "format", out.at, out.n);
}

static ctl_status start(formatting *f) {
    if (setjmp(f->jump) == 0) run(f);
    else f->status = CTL_ERR_MEMORY;
    ctl_arena_free(&f->arena);
    return f->status;
}

ctl_status ctlc_format_text(const char *name, const char *text, size_t size, const ctlc_options *options) {
    static const ctlc_options defaults;
    if (!options) options = &defaults;
    const ctl_allocator *a = ctl_allocator_or_default(options->allocator);
    formatting *f = ctl_alloc(a, sizeof *f);
    if (!f) return CTL_ERR_MEMORY;
    f->options = options, f->name = name, f->text = text, f->size = size;
    ctl_status status = start(f);
    ctl_free(a, f, sizeof *f);
    return status;
}
