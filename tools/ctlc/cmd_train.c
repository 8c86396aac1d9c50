/* ctlc train: compile, load, train, save. The folder OUT holds log.jsonl, checkpoints, result.json and at the
 * end the adapter, or the whole model where no control made anything. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "runtime/files.h"
#include "runtime/program.h"
#include "tools/ctlc/data_source.h"
#include "tools/ctlc/load_weights.h"
#include "tools/ctlc/memory_report.h"
#include "tools/ctlc/progress.h"
#include "tools/ctlc/run_plan.h"
#include "tools/ctlc/run_result.h"
#include "train/loop.h"

typedef struct train_options {
    tool_compile compile;
    tool_data data;
    text_list weights;
    const char *adapter, *out, *name;
    int64_t steps, seed, evaluate_every, evaluate_batches, checkpoint_every;
    bool resume, quiet;
} train_options;

enum { MOST_TIMES = 1024 };

/* Everything that a run holds, so that it is released in one place whatever fails. */
typedef struct run {
    const train_options *o;
    const char *spec;
    tool_speaker speaker;
    progress progress;
    ctl_program *program;
    tool_meter meter;
    size_t allocated;                /* most bytes that the session held while steps ran */
    double step_seconds[MOST_TIMES]; /* of the last steps, in a ring */
    int64_t nsteps;
    tool_source source;
    ctl_session *session;
    ctl_settings settings;
    memory_report memory;
    ctlc_plan plan;
    ctl_train_result result;
} run;

/* A signal handler has nowhere else to leave word. */
static volatile sig_atomic_t asked_to_stop;
static void ask_to_stop(int signal_number) {
    (void)signal_number;
    asked_to_stop = 1;
}
static void catch_signals(void) {
    /* RESETHAND: the second signal of a kind does what it does by default, which is to end the process. */
    struct sigaction action = {.sa_handler = ask_to_stop, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    asked_to_stop = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a file too large for the limit becomes an error of write */
}

/* ---- callbacks of the loop ---- */
static bool stop(void *ctx) {
    (void)ctx;
    return asked_to_stop != 0;
}
static void stepped(void *ctx, const ctl_progress *p) {
    run *r = ctx;
    const size_t held = r->meter.peak + ctl_session_device_memory(r->session).held;
    if (held > r->allocated) r->allocated = held;
    r->step_seconds[r->nsteps++ % MOST_TIMES] = p->seconds;
    progress_step(&r->progress, p);
}
static void said(void *ctx, const ctl_diagnostic *d) {
    run *r = ctx;
    progress_end(&r->progress);
    tool_diagnostic(&r->speaker, d);
}
/* Writing files takes buffers for a moment, which are not the plan's. */
static void saved(void *ctx, int64_t step) {
    (void)step;
    run *r = ctx;
    const bool planned = r->plan.split > 0; /* the reference executor has no plan */
    if (planned && run_plan_write(r->o->out, &r->plan, (ctl_voice){said, r}) != CTL_OK) asked_to_stop = 1;
    r->meter.peak = r->meter.held;
}
static void evaluating(void *ctx, int64_t items, int64_t of) {
    progress_share(&((run *)ctx)->progress, "evaluating", items, of);
}
static void evaluated(void *ctx, const ctl_evaluation *e) {
    progress_evaluation(&((run *)ctx)->progress, e);
}
static void resumed(void *ctx, int64_t step) {
    run *r = ctx;
    progress_note(&r->progress, step < r->settings.steps ? "going on after step %lld of %lld"
                                                         : "the run is finished: it has done %lld of %lld steps",
                  (long long)step, (long long)r->settings.steps);
}

/* ---- the parts of a run ---- */
static ctl_status open_data(run *r) {
    const ctl_voice voice = {said, r};
    tool_source *source = &r->source;
    ctl_status status =
        tool_source_open(&r->o->data, r->program, true, (uint64_t)r->settings.seed, voice, source);
    if (status != CTL_OK) return status;
    if (r->o->weights.n) ctl_corpus_warn_bytes(&source->corpus, r->program, voice);
    const int64_t step = r->program->tokens * r->settings.accumulate, tokens = ctl_loader_tokens(source->data);
    if (r->settings.steps == 0 && step > 0) r->settings.steps = (tokens + step - 1) / step;
    char a[32], b[32], c[32];
    progress_note(&r->progress, "%s %s to learn from, %s held out; %s %s a step",
                  tool_count(tool_source_count(source, source->data), a), tool_source_unit(source),
                  tool_count(tool_source_count(source, source->held_out), b),
                  tool_count(source->kind == CTL_DATA_TOKENS ? step : step / r->program->sequence, c),
                  tool_source_unit(source));
    const int64_t padding = ctl_loader_padding(source->data);
    if (source->kind == CTL_DATA_TOKENS && padding >= tokens / 4 && padding)
        progress_note(&r->progress, "%lld%% of them are padding; --set tokens=%lld packs whole documents with hardly any",
                      (long long)(100 * padding / tokens), (long long)r->program->tokens);
    return CTL_OK;
}

static ctl_status open_session(run *r) {
    const memory_report *m = &r->memory;
    char a[32], b[32], c[32];
    progress_note(&r->progress, "%s: %s parameters, %s trained; %s planned", r->spec,
                  tool_count(m->parameters, a), tool_count(m->trained, b), tool_bytes((double)m->total, c));
    tool_meter_init(&r->meter);
    const ctl_session_options so = {.allocator = &r->meter.allocator,
                                    .threads = (int)r->o->compile.threads,
                                    .seed = (uint64_t)r->settings.seed,
                                    .diagnostic = said,
                                    .diagnostic_ctx = r,
                                    .progress = progress_weights,
                                    .progress_ctx = &r->progress};
    ctl_status status = ctl_session_open(r->program, &so, &r->session);
    return status == CTL_OK ? tool_weights_load(r->session, r->program, &r->o->weights, r->o->adapter)
                            : status;
}

static ctl_status train(run *r) {
    const train_options *o = r->o;
    const ctl_train_options options = {.settings = r->settings,
                                       .data = r->source.data,
                                       .held_out = r->source.held_out,
                                       .fingerprint = r->source.fingerprint,
                                       .evaluate_every = o->evaluate_every,
                                       .evaluate_batches = o->evaluate_batches,
                                       .checkpoint_every = o->checkpoint_every,
                                       .out = o->out,
                                       .resume = o->resume,
                                       .voice = {said, r},
                                       .ctx = r,
                                       .stop = stop,
                                       .stepped = stepped,
                                       .evaluating = evaluating,
                                       .evaluated = evaluated,
                                       .saved = saved,
                                       .resumed = resumed};
    r->meter.peak = r->meter.held;
    ctl_status status = ctl_train(r->session, r->program, &options, &r->result);
    progress_end(&r->progress);
    return status;
}

/* The adapter, with what was trained of the model itself; or the whole model, where no control made anything. */
static ctl_status save(run *r) {
    const char *out = r->o->out;
    bool made = false;
    for (size_t i = 0; i < r->program->nparams; i++) made |= r->program->params[i].made_by_control;
    if (made) {
        ctl_status status = ctl_session_save_adapter(r->session, out);
        if (status == CTL_OK) progress_note(&r->progress, "the adapter is in %s", out);
        return status;
    }
    char *path = ctl_string_format(&ctl_malloc_allocator, "%s/model.safetensors", out);
    if (!path) return CTL_ERR_MEMORY;
    ctl_status status = ctl_session_save_weights(r->session, path, CTL_SAVE_ALL, CTL_REAL);
    if (status == CTL_OK) progress_note(&r->progress, "the model is in %s", path);
    ctl_string_free(&ctl_malloc_allocator, path);
    return status;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}
/* The median: other work on the machine makes some steps long, and a mean would tell of that. */
static double step_time(run *r) {
    const size_t n = (size_t)(r->nsteps < MOST_TIMES ? r->nsteps : MOST_TIMES);
    qsort(r->step_seconds, n, sizeof *r->step_seconds, by_value);
    return n ? r->step_seconds[n / 2] : 0;
}

static ctl_status report(run *r) {
    const memory_report m = r->memory;
    const ctl_train_result *t = &r->result;
    run_result out = {.parameters = m.parameters,
                      .trained = m.trained,
                      .steps = t->last,
                      .tokens = r->program->tokens * r->settings.accumulate,
                      .loss_before = t->before.counted ? t->before.loss : -1,
                      .loss_after = t->after.counted ? t->after.loss : -1,
                      .bits_before = t->before.counted ? t->before.bits_per_byte : -1,
                      .bits_after = t->after.counted ? t->after.bits_per_byte : -1,
                      .accuracy_before = t->before.counted ? t->before.accuracy : -1,
                      .accuracy_after = t->after.counted ? t->after.accuracy : -1,
                      .step_seconds = step_time(r),
                      .planned = (int64_t)m.total,
                      .allocated = (int64_t)r->allocated,
                      .resident = tool_peak_resident()};
    snprintf(out.name, sizeof out.name, "%s",
             r->o->name           ? r->o->name
             : r->o->compile.tune ? r->o->compile.tune
                                  : r->spec);
    char a[32], b[32], c[32], d[32];
    progress_note(&r->progress, "%s planned, %s allocated, %s resident at most; %s a step",
                  tool_bytes((double)out.planned, a), tool_bytes((double)out.allocated, b),
                  tool_bytes((double)out.resident, c), tool_seconds(out.step_seconds, d));
    if (t->before.counted && t->after.counted) {
        printf("held-out loss %.4f -> %.4f", t->before.loss, t->after.loss);
        if (t->after.bits_per_byte > 0)
            printf(" (bits/byte %.4f -> %.4f)", t->before.bits_per_byte, t->after.bits_per_byte);
        if (t->after.accuracy >= 0)
            printf(", accuracy %.2f%% -> %.2f%%", 100 * t->before.accuracy, 100 * t->after.accuracy);
        putchar('\n');
    }
    return run_result_write(r->o->out, &out, (ctl_voice){said, r});
}

static ctl_status whole_run(run *r) {
    const ctl_place place = {.voice = {said, r}, .allocator = &ctl_malloc_allocator};
    r->settings = r->program->settings;
    if (r->o->steps) r->settings.steps = r->o->steps;
    if (r->o->seed >= 0) r->settings.seed = r->o->seed;
    if (!memory_report_make(r->program, &r->memory)) return CTL_ERR_MEMORY;
    ctl_status status = open_data(r);
    if (status == CTL_OK) status = ctl_directory_make(r->o->out, place);
    if (status == CTL_OK) status = open_session(r);
    if (status != CTL_OK) return status;
    catch_signals();
    status = train(r);
    /* A run that was finished before keeps its results: this call measured no step. */
    if (status == CTL_OK && r->result.first == r->result.last && run_result_exists(r->o->out)) return CTL_OK;
    if (status == CTL_OK) status = save(r);
    if (status == CTL_OK) status = report(r);
    return status;
}

static void close_run(run *r) {
    if (r->session) ctl_session_close(r->session);
    tool_source_close(&r->source);
    ctl_program_free(r->program);
}

static void take_plan(void *ctx, const ctlc_plan *plan) {
    ctlc_plan *to = ctx;
    *to = *plan;
    to->points = NULL; /* lives no longer than the call */
}

/* The memory that a run had does not suffice for another spec: why it is that little is not to be seen in the spec. */
static void explain_memory(run *r, const tool_compile *compile, const char *memory) {
    if (compile->memory != memory) return;
    progress_end(&r->progress);
    fprintf(stderr, "note: that is the memory of the plan with which the run in %s began (its plan.json). --resume goes on with the\n"
                    "spec and the settings of that run; --memory gives more, another --out begins anew\n", r->o->out);
}

/* A run that goes on keeps the number of parts of its batches, and unless told otherwise its memory. */
static int keep_plan(run *r, tool_compile *compile, char memory[32]) {
    run_plan before;
    bool found = false;
    compile->may_split = true;
    compile->plan = take_plan, compile->plan_ctx = &r->plan;
    if (!r->o->resume) return 0;
    ctl_status status = run_plan_read(r->o->out, &before, &found, (ctl_voice){said, r});
    if (status != CTL_OK) return tool_exit_code(status);
    if (!found) return 0;
    if (!compile->split) compile->split = before.split;
    if (!compile->memory && before.memory) {
        snprintf(memory, 32, "%lld", (long long)before.memory);
        compile->memory = memory;
    }
    return 0;
}

static int train_spec(const train_options *o, const char *spec) {
    run r = {.o = o,
             .spec = spec,
             .progress = {.to = stderr, .quiet = o->quiet, .terminal = isatty(STDERR_FILENO) == 1}};
    tool_compile compile = o->compile;
    char memory[32];
    int code = keep_plan(&r, &compile, memory);
    if (code) return code;
    code = tool_compile_spec("train", spec, &compile, &r.speaker, &r.program);
    if (code == EXIT_MEMORY) explain_memory(&r, &compile, memory);
    if (code) return code;
    ctl_status status = whole_run(&r);
    progress_end(&r.progress);
    if (status == CTL_INTERRUPTED) {
        if (r.result.last)
            fprintf(stderr, "stopped after step %lld; the same command with --resume goes on\n",
                    (long long)r.result.last);
        else
            fprintf(stderr, "stopped before the first step; nothing is saved\n");
    } else if (status != CTL_OK) {
        tool_explain(&r.speaker, status);
    }
    close_run(&r);
    return tool_exit_code(status);
}

static int check_words(const train_options *o) {
    const char *wrong =
        o->data.data.n == 0 ? "--data is missing: the texts or images to learn from" : tool_data_wrong(&o->data);
    if (wrong) fprintf(stderr, "ctlc train: %s\nctlc train --help tells all\n", wrong);
    return wrong ? EXIT_USAGE : 0;
}

int cmd_train(int argc, char **argv) {
    train_options o = {.out = "out", .seed = -1, .data = {.eval_fraction = 0.05}};
    const option options[] = {
        TOOL_DATA_OPTIONS(&o.data),
        {"eval-data", "PATH", OPT_LIST, &o.data.eval_data,
         "held-out texts, token files or images; without them a part of\n--data is held out"},
        {"eval-labels", "FILE", OPT_TEXT, &o.data.eval_labels, "classes of the images in --eval-data"},
        {"eval-fraction", "F", OPT_REAL, &o.data.eval_fraction,
         "how much of --data, 0.05 unless told; 0: none"},
        {"eval-every", "N", OPT_COUNT, &o.evaluate_every,
         "evaluate every N steps, not only before and after"},
        {"eval-batches", "N", OPT_COUNT, &o.evaluate_batches,
         "at most so many batches an evaluation; 0: all"},
        {"weights", "PATH", OPT_LIST, &o.weights, "the model's safetensors, or their folder"},
        {"adapter", "DIR", OPT_TEXT, &o.adapter, "begin with this adapter: a run's folder, a checkpoint's, or\nPEFT's (LoRA, DoRA, (IA)^3)"},
        {"out", "DIR", OPT_TEXT, &o.out, "the run's folder (out): log, checkpoints, what was trained"},
        {"name", "NAME", OPT_TEXT, &o.name, "the run's name in tables"},
        {"steps", "N", OPT_COUNT, &o.steps, "optimizer steps; else the spec's, else one pass over the data"},
        {"seed", "N", OPT_COUNT, &o.seed, "of first values, dropout and order; else the spec's"},
        {"save-every", "N", OPT_COUNT, &o.checkpoint_every,
         "a checkpoint every N steps; at the end in any case"},
        {"resume", NULL, OPT_FLAG, &o.resume, "go on from the folder's last checkpoint, bit for bit"},
        {"quiet", NULL, OPT_FLAG, &o.quiet, "no progress"},
        TOOL_COMPILE_OPTIONS(&o.compile),
    };
    command_line line = {
        .command = "train",
        .about = "Tunes a model on texts, token files, or images with classes; which of them, the model's inputs say.\n"
                 "Texts are bytes: token 0 to 255, 256 between documents. A published checkpoint wants the tokens of its\n"
                 "tokenizer: tools/tokenize makes token files of texts (docs/training.md).\n"
                 "What was trained is saved in --out: an adapter, or the model where no control made "
                 "anything.\n"
                 "Ctrl-C saves a checkpoint and stops; a second one ends at once.\n",
        .examples = "  tools/tokenize --tokenizer model/tokenizer.json --loss output -o alpaca.safetensors alpaca.json\n"
                    "  ctlc train my.ctl --weights model/ --data alpaca.safetensors --out alpaca --set lr=2e-4\n"
                    "  ctlc train my.ctl --weights model/ --data alpaca.safetensors --out alpaca --resume\n"
                    "  ctlc train my.ctl --weights model/ --data chats.safetensors --set tokens=2048 --whole --out chats\n"
                    "  ctlc train bytes.ctl --data notes.txt --out notes\n"
                    "  ctlc train classifier.ctl --weights model/ --data reviews.jsonl --eval-data test.jsonl\n"
                    "  ctlc train vit.ctl --weights model/ --data images.npy --labels labels.npy --mean 0.5 --std 0.5\n",
        .options = options,
        .noptions = CTL_COUNT(options),
        .operand_name = "SPEC.ctl",
        .most_operands = 1,
    };
    int code = options_parse(&line, argc, argv);
    if (code) return code < 0 ? EXIT_DONE : code;
    code = check_words(&o);
    return code ? code : train_spec(&o, line.operands.at[0]);
}
