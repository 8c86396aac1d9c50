/* ctlc build: the kernels of a spec for an NVIDIA GPU as files: sources, machine code, PTX. No GPU is needed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "runtime/files.h"
#include "tools/ctlc/tool.h"

typedef struct written {
    const char *out;
    tool_speaker *speaker;
    ctl_status status; /* of the first file that could not be written */
    size_t files, bytes;
} written;

static void write_file(void *ctx, const ctlc_artifact *a) {
    written *w = ctx;
    if (w->status != CTL_OK) return;
    const ctl_place place = {.voice = {tool_diagnostic, w->speaker}, .allocator = &ctl_malloc_allocator};
    char *path = ctl_string_format(place.allocator, "%s/%s", w->out, a->name);
    w->status = path ? ctl_file_replace(path, a->bytes, a->size, place) : CTL_ERR_MEMORY;
    ctl_string_free(place.allocator, path);
    if (w->status != CTL_OK) return;
    w->files++, w->bytes += a->size;
    printf("%-28s %8zu bytes%s%s\n", a->name, a->size, a->note ? "  " : "", a->note ? a->note : "");
}

/* "cuda:sm_86" */
static int take_target(const char *target, const char **architecture) {
    const char *const *names = ctlc_cuda_architectures();
    if (target && strncmp(target, "cuda:", 5) == 0)
        for (size_t i = 0; names[i]; i++)
            if (strcmp(names[i], target + 5) == 0) {
                *architecture = names[i];
                return 0;
            }
    if (target) fprintf(stderr, "ctlc build: --target is not \"%s\"; it is one of", target);
    else fprintf(stderr, "ctlc build: what is missing: --target, one of");
    for (size_t i = 0; names[i]; i++) fprintf(stderr, " cuda:%s", names[i]);
    fputc('\n', stderr);
    return EXIT_USAGE;
}

static int take_emit(const char *list, unsigned *emit) {
    static const struct {
        const char *name;
        unsigned bit;
    } kinds[] = {{"cu", CTLC_EMIT_CU}, {"cubin", CTLC_EMIT_CUBIN}, {"ptx", CTLC_EMIT_PTX}};
    *emit = 0;
    while (*list) {
        const size_t n = strcspn(list, ",");
        unsigned bit = 0;
        for (size_t i = 0; i < CTL_COUNT(kinds); i++)
            if (strlen(kinds[i].name) == n && memcmp(kinds[i].name, list, n) == 0) bit = kinds[i].bit;
        if (!bit) {
            fprintf(stderr, "ctlc build: --emit is a list of cu, cubin and ptx, not \"%.*s\"\n", (int)n, list);
            return EXIT_USAGE;
        }
        *emit |= bit;
        list += n + (list[n] == ',');
    }
    return *emit ? 0 : (fprintf(stderr, "ctlc build: --emit is a list of cu, cubin and ptx\n"), EXIT_USAGE);
}

static int build(const char *spec, const tool_compile *c, ctlc_cuda *cuda, written *w) {
    const ctl_place place = {.voice = {tool_diagnostic, w->speaker}, .allocator = &ctl_malloc_allocator};
    ctl_status status = ctl_directory_make(w->out, place);
    if (status == CTL_OK && cuda->cache) status = ctl_directory_make(cuda->cache, place);
    if (status != CTL_OK) return tool_exit_code(status);
    ctl_program *program;
    int code = tool_compile_spec("build", spec, c, w->speaker, &program);
    ctl_program_free(program);
    if (code == EXIT_DONE && w->status != CTL_OK) {
        tool_explain(w->speaker, w->status);
        code = tool_exit_code(w->status);
    }
    if (code == EXIT_DONE) printf("%zu files, %zu bytes in %s, for %s\n", w->files, w->bytes, w->out, cuda->architecture);
    return code;
}

int cmd_build(int argc, char **argv) {
    tool_speaker speaker = {0};
    written w = {.out = "build-cuda", .speaker = &speaker};
    ctlc_cuda cuda = {.artifact = write_file, .artifact_ctx = &w};
    tool_compile c = {.cuda = &cuda};
    const char *target = NULL, *emit = "cu,cubin";
    bool no_cache = false;
    const option options[] = {
        {"target", "TARGET", OPT_TEXT, &target, "cuda:sm_80, cuda:sm_86, cuda:sm_89, cuda:sm_90, cuda:sm_100, cuda:sm_120"},
        {"emit", "KINDS", OPT_TEXT, &emit,
         "cu (CUDA C), cubin (machine code), ptx; default cu,cubin. cu\nneeds nothing, the others CUDA's compiler"},
        {"out", "DIR", OPT_TEXT, &w.out, "where the files go, default build-cuda"},
        {"nvrtc", "FILE", OPT_TEXT, &cuda.compiler, "CUDA's compiler, libnvrtc.so, where it is not found by itself"},
        {"cache", "DIR", OPT_TEXT, &cuda.cache, "of machine code; default ~/.cache/ctlc"},
        {"no-cache", NULL, OPT_FLAG, &no_cache, "compile everything anew"},
        {"tune", "NAME", OPT_TEXT, &c.tune, "which tune block, where the spec has several"},
        {"set", "KEY=VALUE", OPT_LIST, &c.set, "override a setting or a parameter: tokens=8x512, model.depth=2"},
        {"compute", "DTYPE", OPT_TEXT, &c.compute, "f32 or bf16"},
        {"threads", "N", OPT_COUNT, &c.threads, "kernels compiled at a time; 0: one a core (the default)"},
        {"no-fuse", NULL, OPT_FLAG, &c.no_fuse, "one kernel an operation: same bits, slower"},
        {"verify", NULL, OPT_FLAG, &c.verify, "check the graph after every pass"},
        {"time-passes", NULL, OPT_FLAG, &c.time_passes, "print the seconds of each pass"},
    };
    command_line line = {
        .command = "build",
        .about = "Writes the kernels of a spec for an NVIDIA GPU: a readable source each, without includes, its machine\n"
                 "code, and plan.txt, which says how they are called and where everything lies. No GPU is needed.\n"
                 "docs/cuda.md says what runs on a GPU so far.\n",
        .examples = "  ctlc build my.ctl --target cuda:sm_86 --emit=cu -o kernels\n"
                    "  ctlc build my.ctl --target cuda:sm_90 --emit=cu,cubin,ptx -o kernels --set compute=bf16\n",
        .options = options,
        .noptions = CTL_COUNT(options),
        .operand_name = "SPEC.ctl",
        .most_operands = 1,
    };
    int code = options_parse(&line, argc, argv);
    if (code) return code < 0 ? EXIT_DONE : code;
    if ((code = take_target(target, &cuda.architecture)) || (code = take_emit(emit, &cuda.emit))) return code;
    char *made = cuda.cache || no_cache ? NULL : tool_cache_folder();
    if (no_cache) cuda.cache = NULL;
    else if (!cuda.cache) cuda.cache = made;
    code = build(line.operands.at[0], &c, &cuda, &w);
    ctl_string_free(&ctl_malloc_allocator, made);
    return code;
}
