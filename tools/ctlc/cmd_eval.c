/* ctlc eval: what a model, with its adapter, makes of data that it did not learn: loss and accuracy of texts, tokens or
 * images, and multiple choice by log-likelihood. */
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "runtime/program.h"
#include "tools/ctlc/data_source.h"
#include "tools/ctlc/load_weights.h"
#include "tools/ctlc/progress.h"
#include "train/choices.h"

typedef struct eval_options {
    tool_compile compile;
    tool_data data;
    text_list weights, choices;
    const char *adapter;
    int64_t batches;
    bool json, quiet;
} eval_options;

typedef struct run {
    const eval_options *o;
    tool_speaker speaker;
    progress progress;
    ctl_program *program;
    ctl_session *session;
    tool_source source;
    ctl_corpus items;
    ctl_evaluation data;
    ctl_choice_result choices;
} run;

static void said(void *ctx, const ctl_diagnostic *d) {
    run *r = ctx;
    progress_end(&r->progress);
    tool_diagnostic(&r->speaker, d);
}

static void evaluating(void *ctx, int64_t items, int64_t of) {
    progress_share(&((run *)ctx)->progress, "evaluating", items, of);
}

static ctl_status open_all(run *r) {
    const eval_options *o = r->o;
    const ctl_voice voice = {said, r};
    ctl_status status = CTL_OK;
    for (size_t i = 0; i < o->choices.n && status == CTL_OK; i++)
        status = ctl_corpus_read_items(&r->items, o->choices.at[i], voice);
    if (status == CTL_OK && o->data.data.n)
        status = tool_source_open(&o->data, r->program, false, 0, voice, &r->source);
    if (status == CTL_OK && o->weights.n) ctl_corpus_warn_bytes(r->items.ndocs ? &r->items : &r->source.corpus, r->program, voice);
    const ctl_session_options so = {.threads = (int)o->compile.threads,
                                    .seed = (uint64_t)r->program->settings.seed,
                                    .diagnostic = said,
                                    .diagnostic_ctx = r,
                                    .progress = progress_weights,
                                    .progress_ctx = &r->progress};
    if (status == CTL_OK) status = ctl_session_open(r->program, &so, &r->session);
    return status == CTL_OK ? tool_weights_load(r->session, r->program, &o->weights, o->adapter) : status;
}

static ctl_status evaluate(run *r) {
    ctl_status status = open_all(r);
    const ctl_evaluate_options eo = {.held_out = r->source.data,
                                     .most_batches = r->o->batches,
                                     .voice = {said, r},
                                     .progress = evaluating,
                                     .ctx = r};
    if (status == CTL_OK && r->source.data) status = ctl_train_evaluate(r->session, r->program, &eo, &r->data);
    if (status == CTL_OK && r->o->choices.n)
        status = ctl_choices_evaluate(r->session, r->program, &r->items, &eo, &r->choices, NULL);
    progress_end(&r->progress);
    return status;
}

/* ---- results ---- */
static double share(int64_t part, int64_t of) {
    return (double)part / (double)of;
}

/* One object: what was measured is in it, and nothing else. */
static void print_json(const run *r) {
    const ctl_evaluation *e = &r->data;
    const ctl_choice_result *c = &r->choices;
    printf("{");
    if (e->counted) {
        printf("\"loss\": %.17g, \"perplexity\": %.9g, ", e->loss, e->perplexity);
        if (e->bits_per_byte > 0) printf("\"bits_per_byte\": %.9g, ", e->bits_per_byte);
        if (e->accuracy >= 0) printf("\"accuracy\": %.9g, ", e->accuracy);
        printf("\"tokens\": %lld, \"seconds\": %.3f%s", (long long)e->counted, e->seconds, c->items ? ", " : "");
    }
    if (c->items)
        printf("\"choices\": {\"items\": %lld, \"candidates\": %lld, \"accuracy\": %.9g, \"accuracy_normalised\": %.9g, "
               "\"chance\": %.9g, \"cut\": %lld, \"seconds\": %.3f}",
               (long long)c->items, (long long)c->candidates, share(c->right, c->items),
               share(c->right_normalised, c->items), c->chance, (long long)c->cut, c->seconds);
    printf("}\n");
}

static void print_text(const run *r) {
    const ctl_evaluation *e = &r->data;
    const ctl_choice_result *c = &r->choices;
    char n[32], t[32], text[160];
    if (e->counted) printf("%s in %s\n", tool_evaluation(e, text, sizeof text, n), tool_seconds(e->seconds, t));
    if (!c->items) return;
    printf("multiple choice %.2f%%, normalised by length %.2f%%, by chance %.2f%%  (%s items in %s)\n",
           100 * share(c->right, c->items), 100 * share(c->right_normalised, c->items), 100 * c->chance,
           tool_count(c->items, n), tool_seconds(c->seconds, t));
    if (c->cut)
        printf("%s candidates did not fit into the sequences: the begins of their prompts were left out\n",
               tool_count(c->cut, n));
}

static int eval_spec(const eval_options *o, const char *spec) {
    run r = {.o = o,
             .progress = {.to = stderr, .quiet = o->quiet, .terminal = isatty(STDERR_FILENO) == 1}};
    ctl_corpus_init(&r.items, NULL);
    int code = tool_compile_spec("eval", spec, &o->compile, &r.speaker, &r.program);
    if (code) return code;
    ctl_status status = evaluate(&r);
    if (status != CTL_OK)
        tool_explain(&r.speaker, status);
    else if (o->json)
        print_json(&r);
    else
        print_text(&r);
    if (r.session) ctl_session_close(r.session);
    tool_source_close(&r.source);
    ctl_corpus_free(&r.items);
    ctl_program_free(r.program);
    return tool_exit_code(status);
}

int cmd_eval(int argc, char **argv) {
    eval_options o = {0};
    const option options[] = {
        TOOL_DATA_OPTIONS(&o.data),
        {"choices", "PATH", OPT_LIST, &o.choices,
         "items of multiple choice: .json, .jsonl (docs/training.md) or\na token file; may be given often"},
        {"weights", "PATH", OPT_LIST, &o.weights, "the model's safetensors, or their folder"},
        {"adapter", "DIR", OPT_TEXT, &o.adapter,
         "an adapter: the folder that `ctlc train` made, a checkpoint's, or PEFT's (LoRA, DoRA, (IA)^3)\n(a whole model that it made is given to --weights)"},
        {"batches", "N", OPT_COUNT, &o.batches, "of --data at most so many batches; 0: all"},
        {"json", NULL, OPT_FLAG, &o.json, "one JSON object on standard output"},
        {"quiet", NULL, OPT_FLAG, &o.quiet, "no progress"},
        TOOL_COMPILE_OPTIONS(&o.compile),
    };
    command_line line = {
        .command = "eval",
        .about = "Prints what a model makes of data: the loss (nats a label), perplexity, bits a byte of text, and\n"
                 "accuracy: of the next token, or of classes. With --choices the share of items whose right candidate\n"
                 "is the likeliest, by its log-likelihood and by that a byte of it. Dropout is off.\n",
        .examples = "  ctlc eval my.ctl --weights model/ --data test.safetensors          # of tools/tokenize\n"
                    "  ctlc eval my.ctl --weights model/ --adapter out/ --choices arc_easy_test.safetensors --json\n"
                    "  ctlc eval bytes.ctl --weights run/ --data test.json --loss output\n"
                    "  ctlc eval vit.ctl --weights model/ --data test.npy --labels test_labels.npy --mean 0.5 --std 0.5\n",
        .options = options,
        .noptions = CTL_COUNT(options),
        .operand_name = "SPEC.ctl",
        .most_operands = 1,
    };
    o.compile.may_split = true; /* whatever memory there is, the data goes through it */
    int code = options_parse(&line, argc, argv);
    if (code) return code < 0 ? EXIT_DONE : code;
    const char *wrong = o.data.data.n == 0 && o.choices.n == 0 ? "--data is missing, or --choices"
                                                               : tool_data_wrong(&o.data);
    if (!wrong) return eval_spec(&o, line.operands.at[0]);
    fprintf(stderr, "ctlc eval: %s\nctlc eval --help tells all\n", wrong);
    return EXIT_USAGE;
}
