/* module: kernels become machine code in this process. The kernels are dealt to as many modules as there are
 * threads to compile them, each with a context and a target machine of its own; the object files are then
 * linked by ORC.
 *
 * Workers allocate nothing but LLVM's own memory: all that they need of the arena is there before they start.
 */
#include <llvm-c/Analysis.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "compiler/emit/cpu/build.h"
#include "compiler/emit/emit.h"

/* The builder writes what it means to run: common subexpressions and constants are left, little else. */
static const char passes[] = "function(early-cse,instcombine<no-verify-fixpoint>)";
enum { MOST_THREADS = 64, KERNELS_A_THREAD = 3, WORDS = 256, STACK = 64 << 20 };

struct ctl_cpu_code {
    ctl_allocator allocator; /* a copy: the code outlives the compilation */
    LLVMOrcLLJITRef jit;
};

typedef struct job {
    ctl_cpu_builder build;
    const ctl_emit_options *options;
    const ctl_rowprog *const *programs;
    ctl_schedule *const *schedules;
    const ctl_rows_kernel *kernels;
    size_t *which;
    size_t n, work;
    LLVMMemoryBufferRef object;
    ctl_emit_times times;
    char fault[WORDS]; /* empty: none */
} job;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Copies and releases LLVM's message. */
static void note_message(char fault[WORDS], const char *what, char *message) {
    snprintf(fault, WORDS, "%s: %s", what, message ? message : "no reason given");
    if (message) LLVMDisposeMessage(message);
}
static void note_error(char fault[WORDS], const char *what, LLVMErrorRef error) {
    char *message = LLVMGetErrorMessage(error);
    snprintf(fault, WORDS, "%s: %s", what, message);
    LLVMDisposeErrorMessage(message);
}

/* ---- one module ---- */
static LLVMTargetMachineRef machine_for(const ctl_emit_options *options, const char *triple,
                                        char fault[WORDS]) {
    LLVMTargetRef target;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(triple, &target, &message)) {
        note_message(fault, "no target for this machine", message);
        return NULL;
    }
    char *cpu = LLVMGetHostCPUName(), *features = LLVMGetHostCPUFeatures();
    const char *name = options->vector_cpu == 3 ? "x86-64-v3" : options->vector_cpu == 4 ? "x86-64-v4" : cpu;
    LLVMTargetMachineRef machine =
        LLVMCreateTargetMachine(target, triple, name, options->vector_cpu ? "" : features,
                                LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelDefault);
    LLVMDisposeMessage(cpu);
    LLVMDisposeMessage(features);
    if (!machine) snprintf(fault, WORDS, "LLVM made no target machine for %s", triple);
    return machine;
}

static void compile(job *j, LLVMTargetMachineRef machine, const char *triple) {
    LLVMModuleRef module = j->build.module;
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetTarget(module, triple);
    LLVMSetModuleDataLayout(module, layout);
    LLVMDisposeTargetData(layout);
    double start = now(), end;
    for (size_t k = 0; k < j->n; k++) {
        j->build.p = j->programs[j->which[k]];
        j->build.schedule = j->schedules[j->which[k]];
        ctl_cpu_build_kernel(&j->build, j->kernels[j->which[k]].name);
    }
    j->times.build = (end = now()) - start;
    char *message = NULL;
    if (LLVMVerifyModule(module, LLVMReturnStatusAction, &message)) {
        note_message(j->fault, "LLVM's verifier", message);
        return;
    }
    LLVMDisposeMessage(message);
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(module, passes, machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (error) {
        note_error(j->fault, "LLVM's passes", error);
        return;
    }
    j->times.optimise = now() - end;
    end = now();
    message = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMObjectFile, &message, &j->object)) {
        j->object = NULL;
        note_message(j->fault, "LLVM's code generator", message);
    }
    j->times.object = now() - end;
}

static void *run_job(void *arg) {
    job *j = arg;
    char *triple = LLVMGetDefaultTargetTriple();
    LLVMTargetMachineRef machine = machine_for(j->options, triple, j->fault);
    if (machine) {
        ctl_cpu_builder_open(&j->build, "rows");
        compile(j, machine, triple);
        ctl_cpu_builder_close(&j->build);
        LLVMDisposeTargetMachine(machine);
    }
    LLVMDisposeMessage(triple);
    return NULL;
}

/* ---- the work is dealt and measured ---- */
static void measure(const ctl_rowprog *p, const ctl_schedule *s, ctl_cpu_sizes *sizes, size_t *work) {
    *work = 1;
    if (p->noperands > sizes->operands) sizes->operands = p->noperands;
    if (p->nsites > sizes->sites) sizes->sites = p->nsites;
    if (p->n > sizes->instrs) sizes->instrs = p->n;
    for (uint32_t k = 0; k < s->npasses; k++) {
        const ctl_row_pass *pass = &s->passes[k];
        if (pass->steps.n > sizes->steps) sizes->steps = pass->steps.n;
        *work += pass->steps.n;
        for (size_t i = 0; i < pass->loops.n; i++) {
            const ctl_row_loop *loop = &pass->loops.at[i];
            if (loop->sinks.n > sizes->sinks) sizes->sinks = (uint32_t)loop->sinks.n;
            for (size_t g = 0; g < loop->segments.n; g++) {
                if (loop->segments.at[g].steps.n > sizes->steps) sizes->steps = loop->segments.at[g].steps.n;
                *work += 4 * loop->segments.at[g].steps.n;
            }
        }
    }
}

static job *deal(ctl_arena *arena, const ctl_rowprog *const *programs, size_t n,
                 const ctl_emit_options *options, ctl_rows_kernel *kernels, size_t *njobs) {
    ctl_schedule **schedules = CTL_NEW_ARRAY(arena, ctl_schedule *, n);
    size_t *work = CTL_NEW_ARRAY(arena, size_t, n);
    ctl_cpu_sizes sizes = {0};
    for (size_t k = 0; k < n; k++) {
        schedules[k] = ctl_rowprog_schedule(programs[k], arena);
        measure(programs[k], schedules[k], &sizes, &work[k]);
        if (!kernels[k].name) kernels[k].name = ctl_format(arena, "rows_%zu", k);
        kernels[k].run = NULL;
        kernels[k].scratch_bytes = schedules[k]->scratch * sizeof(float);
        kernels[k].sums_columns = ctl_rowprog_sums_columns(programs[k]);
    }
    size_t most = options->threads < 1              ? 1
                  : options->threads > MOST_THREADS ? MOST_THREADS
                                                    : (size_t)options->threads;
    *njobs = n / KERNELS_A_THREAD < 1 ? 1 : n / KERNELS_A_THREAD < most ? n / KERNELS_A_THREAD : most;
    job *jobs = CTL_NEW_ARRAY(arena, job, *njobs);
    for (size_t i = 0; i < *njobs; i++) {
        job *j = &jobs[i];
        *j = (job){.options = options, .programs = programs, .schedules = schedules, .kernels = kernels};
        j->which = CTL_NEW_ARRAY(arena, size_t, n);
        ctl_cpu_builder_arrays(&j->build, arena, &sizes);
    }
    for (size_t k = 0; k < n; k++) { /* each kernel to the job with the least work so far */
        job *least = &jobs[0];
        for (size_t i = 1; i < *njobs; i++)
            if (jobs[i].work < least->work) least = &jobs[i];
        least->which[least->n++] = k;
        least->work += work[k];
    }
    return jobs;
}

/* Every job runs on a thread of its own, also a single one: LLVM's recursion wants a large stack. */
static bool run_jobs(job *jobs, size_t n) {
    pthread_t threads[MOST_THREADS];
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes)) return false;
    bool ok = pthread_attr_setstacksize(&attributes, STACK) == 0;
    size_t started = 0;
    while (ok && started < n) {
        ok = pthread_create(&threads[started], &attributes, run_job, &jobs[started]) == 0;
        started += ok;
    }
    for (size_t k = 0; k < started; k++) pthread_join(threads[k], NULL);
    pthread_attr_destroy(&attributes);
    return ok;
}

/* ---- loading ---- */
static void link_objects(ctl_cpu_code *code, job *jobs, size_t n, char fault[WORDS]) {
    /* Creating the JIT consumes a builder even when it fails; NULL means the default one. */
    LLVMErrorRef error = LLVMOrcCreateLLJIT(&code->jit, NULL);
    if (error) {
        code->jit = NULL;
        note_error(fault, "LLVM's JIT", error);
        return;
    }
    LLVMOrcJITDylibRef library = LLVMOrcLLJITGetMainJITDylib(code->jit);
    for (size_t k = 0; k < n && !fault[0]; k++) {
        error = LLVMOrcLLJITAddObjectFile(code->jit, library,
                                          jobs[k].object); /* takes the object, also when it fails */
        jobs[k].object = NULL;
        if (error) note_error(fault, "LLVM's linker", error);
    }
}

static void find_kernels(ctl_cpu_code *code, ctl_rows_kernel *kernels, size_t n, char fault[WORDS]) {
    for (size_t k = 0; k < n && !fault[0]; k++) {
        LLVMOrcExecutorAddress address = 0;
        LLVMErrorRef error = LLVMOrcLLJITLookup(code->jit, &address, kernels[k].name);
        if (error)
            note_error(fault, kernels[k].name, error);
        else
            kernels[k].run = (ctl_rows_fn)(uintptr_t)address;
    }
}

static void initialise(void) {
    LLVMInitializeNativeTarget();
    LLVMInitializeNativeAsmPrinter();
}

ctl_status ctl_cpu_emit(ctl_arena *arena, const ctl_rowprog *const *programs, size_t n,
                        const ctl_emit_options *options, ctl_rows_kernel *kernels, ctl_cpu_code **code,
                        ctl_emit_times *times, const char **why) {
    static pthread_once_t once = PTHREAD_ONCE_INIT; /* LLVM's table of targets is the process's */
    size_t njobs;
    char *fault = ctl_arena_alloc(arena, WORDS);
    double start = now();
    *code = NULL, *why = NULL;
    job *jobs = deal(arena, programs, n, options, kernels, &njobs);
    ctl_emit_times spent = {.build = now() - start};
    ctl_cpu_code *made = ctl_alloc(arena->allocator, sizeof *made);
    if (!made) return CTL_ERR_MEMORY;
    made->allocator = *arena->allocator;
    pthread_once(&once, initialise);
    ctl_status status = run_jobs(jobs, njobs) ? CTL_OK : CTL_ERR_MEMORY;
    ctl_emit_times slowest = {0};
    for (size_t k = 0; k < njobs; k++) {
        if (jobs[k].fault[0] && !fault[0]) memcpy(fault, jobs[k].fault, WORDS);
        double all = jobs[k].times.build + jobs[k].times.optimise + jobs[k].times.object;
        if (all > slowest.build + slowest.optimise + slowest.object) slowest = jobs[k].times;
    }
    start = now();
    if (status == CTL_OK && !fault[0]) link_objects(made, jobs, njobs, fault);
    if (status == CTL_OK && !fault[0]) find_kernels(made, kernels, n, fault);
    for (size_t k = 0; k < njobs; k++)
        if (jobs[k].object) LLVMDisposeMemoryBuffer(jobs[k].object);
    if (times)
        *times =
            (ctl_emit_times){spent.build + slowest.build, slowest.optimise, slowest.object, now() - start};
    if (fault[0]) {
        *why = fault;
        status = CTL_ERR_INTERNAL;
    }
    if (status != CTL_OK) {
        for (size_t k = 0; k < n; k++) kernels[k].run = NULL;
        ctl_cpu_code_free(made);
        return status;
    }
    *code = made;
    return CTL_OK;
}

void ctl_cpu_code_free(ctl_cpu_code *code) {
    if (!code) return;
    if (code->jit) {
        LLVMErrorRef error = LLVMOrcDisposeLLJIT(code->jit);
        if (error) LLVMConsumeError(error);
    }
    ctl_allocator allocator = code->allocator;
    ctl_free(&allocator, code, sizeof *code);
}
