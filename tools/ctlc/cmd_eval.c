/* ctlc eval: the loss of a model, with its adapter, on texts. */
#include <signal.h>
#include <string.h>

#include "base/base.h"
#include "tools/ctlc/texts.h"
#include "train/loop.h"

typedef struct eval_options {
    tool_compile compile;
    tool_data data;
    text_list weights;
    const char *adapter;
    int64_t batches;
    bool json;
} eval_options;

static ctl_status evaluate(const eval_options *o, const ctl_program *program, tool_speaker *speaker,
                           ctl_evaluation *e) {
    const ctl_voice voice = {tool_diagnostic, speaker};
    ctl_corpus data, held_out;
    ctl_loader *loader = NULL;
    ctl_session *s = NULL;
    ctl_status status = ctl_train_accepts(program, voice);
    if (status != CTL_OK) return status;
    status = tool_data_read(&o->data, 0, voice, &data, &held_out);
    const ctl_packing packing = {.rows = program->tokens,
                                 .sequence = program->sequence,
                                 .loss_on_output = o->data.loss && strcmp(o->data.loss, "output") == 0};
    if (status == CTL_OK) status = ctl_loader_open(&data, &packing, NULL, voice, &loader);
    const ctl_session_options so = {.threads = (int)o->compile.threads,
                                    .seed = (uint64_t)program->settings.seed,
                                    .diagnostic = tool_diagnostic,
                                    .diagnostic_ctx = speaker};
    if (status == CTL_OK) status = ctl_session_open(program, &so, &s);
    if (status == CTL_OK) status = tool_weights_load(s, program, &o->weights, o->adapter);
    const ctl_evaluate_options eo = {.held_out = loader, .most_batches = o->batches, .voice = voice};
    if (status == CTL_OK) status = ctl_train_evaluate(s, program, &eo, e);
    if (s) ctl_session_close(s);
    ctl_loader_close(loader);
    ctl_corpus_free(&data);
    ctl_corpus_free(&held_out);
    return status;
}

int cmd_eval(int argc, char **argv) {
    eval_options o = {0};
    tool_speaker speaker = {0};
    const option options[] = {
        {"data", "PATH", OPT_LIST, &o.data.data,
         "texts: a file, a folder, .json or .jsonl; may be given often"},
        {"weights", "PATH", OPT_LIST, &o.weights, "the model's safetensors, or their folder"},
        {"adapter", "DIR", OPT_TEXT, &o.adapter, "the adapter that `ctlc train` made: its folder (a whole model\nthat it made is given to --weights)"},
        {"loss", "WHICH", OPT_TEXT, &o.data.loss, "all (the default), or output: prompts do not count"},
        {"batches", "N", OPT_COUNT, &o.batches, "at most so many batches; 0: all"},
        {"json", NULL, OPT_FLAG, &o.json, "one JSON object on standard output"},
        TOOL_COMPILE_OPTIONS(&o.compile),
    };
    command_line line = {
        .command = "eval",
        .about =
            "Prints the loss of a model on texts: nats a token, perplexity, bits a byte. Dropout is off.\n",
        .examples = "  ctlc eval my.ctl --weights model/ --data test.txt\n"
                    "  ctlc eval my.ctl --weights model/ --adapter out/ --data test.json --loss output\n",
        .options = options,
        .noptions = CTL_COUNT(options),
        .operand_name = "SPEC.ctl",
        .most_operands = 1,
    };
    o.compile.may_split = true; /* whatever memory there is, the data goes through it */
    int code = options_parse(&line, argc, argv);
    if (code) return code < 0 ? EXIT_DONE : code;
    if (o.data.data.n == 0 || (o.data.loss && strcmp(o.data.loss, "all") && strcmp(o.data.loss, "output"))) {
        fprintf(stderr,
                o.data.data.n ? "ctlc eval: --loss is all or output\n" : "ctlc eval: --data is missing\n");
        return EXIT_USAGE;
    }
    ctl_program *program;
    code = tool_compile_spec("eval", line.operands.at[0], &o.compile, &speaker, &program);
    if (code) return code;
    ctl_evaluation e = {0};
    ctl_status status = evaluate(&o, program, &speaker, &e);
    ctl_program_free(program);
    if (status != CTL_OK) {
        tool_explain(&speaker, status);
        return tool_exit_code(status);
    }
    char n[32], t[32];
    if (o.json)
        printf("{\"loss\": %.17g, \"perplexity\": %.9g, \"bits_per_byte\": %.9g, \"tokens\": %lld, "
               "\"seconds\": %.3f}\n",
               e.loss, e.perplexity, e.bits_per_byte, (long long)e.counted, e.seconds);
    else
        printf("loss %.4f  perplexity %.3f  bits/byte %.4f  (%s tokens, %s)\n", e.loss, e.perplexity,
               e.bits_per_byte, tool_count(e.counted, n), tool_seconds(e.seconds, t));
    return EXIT_DONE;
}
