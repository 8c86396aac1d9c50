/* tool: see tool.h. */
#include "tools/ctlc/rates.h"
#include "tools/ctlc/tool.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#include <sys/resource.h>

#include "base/base.h"
#include "base/dtype.h"
#include "runtime/files.h"

int tool_exit_code(ctl_status status) {
    switch (status) {
    case CTL_OK:
        return EXIT_DONE;
    case CTL_ERR_INPUT:
        return EXIT_INPUT;
    case CTL_ERR_IO:
        return EXIT_IO;
    case CTL_ERR_BUDGET:
    case CTL_ERR_MEMORY:
        return EXIT_MEMORY;
    case CTL_ERR_NUMERIC:
        return EXIT_NUMERIC;
    case CTL_ERR_UNSUPPORTED:
        return EXIT_UNSUPPORTED;
    case CTL_INTERRUPTED:
        return EXIT_INTERRUPTED;
    case CTL_ERR_INTERNAL:
        break;
    }
    return EXIT_DEFECT;
}

/* ---- messages ---- */
void tool_diagnostic(void *ctx, const ctl_diagnostic *d) {
    tool_speaker *speaker = ctx;
    if (d->severity == CTL_ERROR) speaker->errors++;
    size_t (*write)(const ctl_diagnostic *, char *, size_t) =
        speaker->json ? ctl_diagnostic_json : ctl_diagnostic_text;
    char small[1024], *text = small;
    size_t n = write(d, small, sizeof small);
    if (n >= sizeof small && (text = malloc(n + 1))) write(d, text, n + 1);
    if (!text) text = small;
    FILE *to = speaker->json ? stdout : stderr;
    fputs(text, to);
    n = strlen(text);
    if (n && text[n - 1] != '\n') fputc('\n', to);
    if (text != small) free(text);
}

void tool_explain(const tool_speaker *speaker, ctl_status status) {
    if (speaker->errors == 0) fprintf(stderr, "ctlc: %s\n", ctl_status_name(status));
}

/* ---- compiling ---- */
static void print_dump(void *ctx, const char *pass, const char *text, size_t size) {
    (void)ctx;
    printf("# after %s\n", pass);
    fwrite(text, 1, size, stdout);
}

static void print_time(void *ctx, const char *pass, double seconds) {
    double *total = ctx;
    if (!strchr(pass, ':')) *total += seconds; /* "emit: load" is a part of "emit" */
    fprintf(stderr, "%-16s %9.3f ms\n", pass, 1e3 * seconds);
}

static int wrong_value(const char *command, const char *name, const char *value, const char *legal) {
    fprintf(stderr, "ctlc %s: --%s is %s, not \"%s\"\n", command, name, legal, value);
    return EXIT_USAGE;
}

static int dump_pass(const char *command, const char *dump, const char **pass) {
    const char *const *passes = ctlc_passes();
    size_t n = 0;
    if (strncmp(dump, "after:", 6) != 0) return wrong_value(command, "dump", dump, "after:PASS");
    *pass = dump + 6;
    if (strcmp(*pass, "all") == 0) return 0;
    for (; passes[n]; n++)
        if (strcmp(passes[n], *pass) == 0) return 0;
    const char *nearest = options_nearest(*pass, passes, n);
    fprintf(stderr, "ctlc %s: there is no pass \"%s\"", command, *pass);
    if (nearest) fprintf(stderr, ", did you mean %s?", nearest);
    fprintf(stderr, "\nthe passes are");
    for (size_t i = 0; i < n; i++) fprintf(stderr, " %s", passes[i]);
    fputc('\n', stderr);
    return EXIT_USAGE;
}

int tool_threads(int64_t asked) {
    if (asked > 0) return asked > 1024 ? 1024 : (int)asked;
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 1024 ? 1024 : (int)n;
#endif
}

int tool_compile_spec(const char *command, const char *spec, const tool_compile *c, tool_speaker *speaker,
                      ctl_program **out) {
    *out = NULL;
    double total = 0;
    const char *set[MOST_LIST + 1];
    char memory[64];
    size_t nset = c->set.n;
    if (nset) memcpy(set, c->set.at, nset * sizeof *set);
    if (c->memory) { /* last: it goes before the spec's and before --set memory=.. */
        int n = snprintf(memory, sizeof memory, "memory=%s", c->memory);
        if (n >= (int)sizeof memory) return wrong_value(command, "memory", c->memory, "24GiB, 8e9, min or max");
        set[nset++] = memory;
    }
    ctlc_options o = {.diagnostic = tool_diagnostic,
                      .diagnostic_ctx = speaker,
                      .threads = (int)(c->threads > 1024 ? 1024 : c->threads),
                      .tune = c->tune,
                      .set = set,
                      .nset = nset,
                      .may_split = c->may_split,
                      .split = c->split,
                      .machine = c->machine,
                      .points = c->points,
                      .plan_only = c->plan_only,
                      .plan = c->plan,
                      .plan_ctx = c->plan_ctx,
                      .row_results = true, /* of evaluation: accuracies and likelihoods */
                      .no_fuse = c->no_fuse,
                      .verify = c->verify,
                      .check_only = c->check_only,
                      .dump = c->print ? c->print : print_dump,
                      .dump_ctx = c->print_ctx,
                      .network = c->network,
                      .unfold = c->unfold,
                      .network_lines = c->network_lines,
                      .account = c->account,
                      .account_ctx = c->account_ctx,
                      .account_rules = c->account_rules,
                      .time = c->time_passes ? print_time : NULL,
                      .time_ctx = &total};
    ctlc_cuda cuda = {.folders = c->cuda_libraries.at, .nfolders = c->cuda_libraries.n};
    if (c->engine && strcmp(c->engine, "reference") == 0)
        o.engine = CTLC_REFERENCE;
    else if (c->cuda)
        o.engine = CTLC_CUDA, o.cuda = c->cuda;
    else if (c->engine && strcmp(c->engine, "cuda") == 0)
        o.engine = CTLC_CUDA, o.cuda = &cuda;
    else if (c->engine && strcmp(c->engine, "cpu") != 0)
        return wrong_value(command, "engine", c->engine, "cpu, cuda or reference");
    if (c->compute) {
        const ctl_dtype legal[] = {CTL_F32, CTL_BF16, CTL_F64};
        for (size_t i = 0; i < CTL_COUNT(legal); i++)
            if (strcmp(c->compute, ctl_dtype_name(legal[i])) == 0) o.compute = legal[i];
        if (o.compute == CTL_REAL) {
            const char *hint = ctl_compute_hint(c->compute);
            const int code = wrong_value(command, "compute", c->compute, "f32, bf16 or f64");
            if (hint) fprintf(stderr, "hint: %s\n", hint);
            return code;
        }
    }
    rates measured;
    bool here = !c->machine || strcmp(c->machine, "cpu") == 0;
    if (here && o.engine != CTLC_CUDA && rates_read(tool_threads(c->threads), &measured)) o.rates = measured.at;
    if (c->dump) {
        int code = dump_pass(command, c->dump, &o.dump_after);
        if (code) return code;
    }
    char *cache = NULL;
    if (o.cuda == &cuda && !c->plan_only) cuda.cache = cache = tool_cache_folder();
    ctl_status status = ctlc_compile_file(spec, &o, out);
    ctl_string_free(&ctl_malloc_allocator, cache);
    if (c->time_passes) fprintf(stderr, "%-16s %9.3f ms\n", "all", 1e3 * total);
    if (status == CTL_OK) return EXIT_DONE;
    tool_explain(speaker, status);
    return tool_exit_code(status);
}

char *tool_cache_folder(void) {
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const ctl_place silent = {.allocator = &ctl_malloc_allocator};
    char *path = NULL;
    if (base && base[0] == '/') path = ctl_string_format(silent.allocator, "%s/ctlc", base);
    else if (home && home[0] == '/') path = ctl_string_format(silent.allocator, "%s/.cache/ctlc", home);
    if (path && ctl_directory_make(path, silent) != CTL_OK) {
        ctl_string_free(silent.allocator, path);
        path = NULL;
    }
    return path;
}

/* ---- numbers ---- */
const char *tool_bytes(double bytes, char *buf) {
    const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t u = 0;
    while (bytes >= 1024 && u + 1 < CTL_COUNT(units)) bytes /= 1024, u++;
    snprintf(buf, 32, u ? "%.1f %s" : "%.0f %s", bytes, units[u]);
    return buf;
}

const char *tool_seconds(double seconds, char *buf) {
    if (seconds < 1)
        snprintf(buf, 32, "%.1f ms", 1e3 * seconds);
    else if (seconds < 60)
        snprintf(buf, 32, "%.1f s", seconds);
    else if (seconds < 3600)
        snprintf(buf, 32, "%dm %02ds", (int)seconds / 60, (int)seconds % 60);
    else
        snprintf(buf, 32, "%lldh %02dm", (long long)seconds / 3600, (int)((long long)seconds / 60 % 60));
    return buf;
}

const char *tool_count(int64_t n, char *buf) {
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)n), at = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0 && digits[i - 1] != '-') buf[at++] = ',';
        buf[at++] = digits[i];
    }
    buf[at] = 0;
    return buf;
}

int64_t tool_peak_resident(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : 0;
}

static void *metered(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    tool_meter *m = ctx;
    void *p = ctl_malloc_allocator.resize(ctl_malloc_allocator.ctx, ptr, old_size, new_size);
    if (p || new_size == 0) m->held += new_size - old_size;
    if (m->held > m->peak) m->peak = m->held;
    return p;
}

void tool_meter_init(tool_meter *m) {
    *m = (tool_meter){.allocator = {m, metered}};
}
