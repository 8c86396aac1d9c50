/* ctlc export: an adapter as PEFT has it, out of what a run left. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "runtime/adapter.h"
#include "runtime/peft.h"
#include "tools/ctlc/tool.h"

enum { MOST_CONFIG = 1 << 26 };

typedef struct export_options {
    const char *run, *peft, *spec;
    ctl_peft_options as;
    int64_t transformers; /* 4: modules as its code calls them; else as that of 5 */
    tool_compile compile;
} export_options;

/* The spec that the run was made from stands in its adapter's configuration, with the tune block and what
 * --set said. */
typedef struct recorded {
    json_t *config;
    const char *source, *tune;
    const char *set[MOST_LIST];
    size_t nset;
} recorded;

static bool has_file(const char *folder, const char *name, ctl_place place) {
    char *path = ctl_string_format(place.allocator, "%s/%s", folder, name);
    const bool there = path && access(path, F_OK) == 0;
    ctl_string_free(place.allocator, path);
    return there;
}

/* Where the spec is recorded: beside the adapter; for a checkpoint, in the run's folder, once the run has
 * ended. */
static ctl_status find_config(const char *run, ctl_place place, char **path) {
    const char *name = "adapter_config.json";
    char hint[300];
    if (!has_file(run, name, place) && has_file(run, "state.safetensors", place)) {
        name = "../adapter_config.json";
        if (!has_file(run, name, place)) {
            ctl_say(place.voice, CTL_ERROR, "E0709", "--spec SPEC.ctl names it",
                    "'%s' is a checkpoint of a run that has not ended, and holds no spec", run);
            return CTL_ERR_INPUT;
        }
    } else if (!has_file(run, name, place) && has_file(run, "model.safetensors", place)) {
        ctl_say(place.voice, CTL_ERROR, "E0709",
                "with the config.json and the tokenizer of its base beside it, it is a checkpoint that "
                "transformers loads",
                "'%s' holds a whole model and no adapter: the spec's controls made nothing of their own",
                run);
        return CTL_ERR_INPUT;
    } else if (!has_file(run, name, place) && has_file(run, "latest", place)) {
        snprintf(hint, sizeof hint,
                 "give the checkpoint that '%.100s/latest' names, with --spec SPEC.ctl; or end the "
                 "run with `ctlc train .. --resume`",
                 run);
        ctl_say(place.voice, CTL_ERROR, "E0709", hint,
                "the run in '%s' has not ended: it has checkpoints, and no adapter", run);
        return CTL_ERR_INPUT;
    }
    *path = ctl_string_format(place.allocator, "%s/%s", run, name);
    return *path ? CTL_OK : CTL_ERR_MEMORY;
}

static ctl_status read_recorded(const export_options *o, ctl_place place, recorded *r) {
    char *path = NULL, *text = NULL;
    size_t n;
    json_error_t error;
    ctl_status status = find_config(o->run, place, &path);
    if (status == CTL_OK) status = ctl_file_read(path, MOST_CONFIG, &text, &n, place);
    if (status == CTL_OK) {
        r->config = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
        r->source = json_string_value(json_object_get(r->config, "control_source"));
        r->tune = json_string_value(json_object_get(r->config, "tune"));
        const json_t *set = json_object_get(r->config, "set"), *one;
        size_t i;
        json_array_foreach(set, i, one) if (json_is_string(one) && r->nset < MOST_LIST) r->set[r->nset++] =
            json_string_value(one);
        if (!r->source) {
            ctl_say(place.voice, CTL_ERROR, "E0709", "--spec SPEC.ctl names it",
                    "'%s' does not hold the spec of the run", path);
            status = CTL_ERR_INPUT;
        }
        ctl_free(place.allocator, text, n + 1);
    }
    ctl_string_free(place.allocator, path);
    return status;
}

/* The program, without machine code: its parameters and what its controls do are all that is needed. */
static int compile(const export_options *o, const recorded *r, tool_speaker *speaker, ctl_program **out) {
    if (o->spec) {
        tool_compile c = o->compile;
        c.engine = "reference";
        return tool_compile_spec("export", o->spec, &c, speaker, out);
    }
    const char *set[2 * MOST_LIST];
    size_t n = 0;
    for (size_t i = 0; i < r->nset; i++) set[n++] = r->set[i];
    for (size_t i = 0; i < o->compile.set.n; i++) set[n++] = o->compile.set.at[i];
    const char *tune = o->compile.tune ? o->compile.tune : r->tune && *r->tune ? r->tune : NULL;
    const ctlc_options options = {.diagnostic = tool_diagnostic,
                                  .diagnostic_ctx = speaker,
                                  .engine = CTLC_REFERENCE,
                                  .tune = tune,
                                  .set = set,
                                  .nset = n};
    ctl_status status =
        ctlc_compile_text("adapter_config.json: control_source", r->source, strlen(r->source), &options, out);
    if (status == CTL_OK) return EXIT_DONE;
    tool_explain(speaker, status);
    fprintf(stderr, "that is the spec as the run recorded it; --spec SPEC.ctl names another, with the files "
                    "that it imports\n");
    return tool_exit_code(status);
}

static ctl_status export(const export_options *o, const ctl_program *program, ctl_place place) {
    ctl_peft peft;
    ctl_match values;
    ctl_status status = ctl_peft_open(&peft, program, place, o->transformers != 4);
    if (status != CTL_OK) return status;
    status = ctl_adapter_match(&values, program, place, o->run);
    if (status == CTL_OK) {
        status = ctl_peft_write(&peft, &values, o->peft, &o->as);
        ctl_match_free(&values);
    }
    for (size_t k = 0; status == CTL_OK && k < peft.nforms; k++) {
        if (!peft.methods[k].dropout_elsewhere) continue;
        fprintf(stderr, "note: dropout stands elsewhere than PEFT has it: lora_dropout is 0 in the file\n");
        break;
    }
    if (status == CTL_OK && peft.methods[0].method == METHOD_IA3)
        fprintf(stderr, "%s: (IA)^3 on %zu modules\n", o->peft, peft.nforms);
    else if (status == CTL_OK)
        fprintf(stderr, "%s: %s of rank %lld on %zu modules%s\n", o->peft,
                peft.methods[0].method == METHOD_DORA ? "DoRA" : "LoRA", (long long)peft.methods[0].rank,
                peft.nforms, peft.biases ? ", and biases" : "");
    ctl_peft_close(&peft);
    return status;
}

static int export_run(const export_options *o) {
    tool_speaker speaker = {0};
    const ctl_place place = {{tool_diagnostic, &speaker}, &ctl_malloc_allocator};
    recorded r = {0};
    ctl_program *program = NULL;
    ctl_status status = o->spec ? CTL_OK : read_recorded(o, place, &r);
    int code = tool_exit_code(status);
    if (status != CTL_OK)
        tool_explain(&speaker, status);
    else
        code = compile(o, &r, &speaker, &program);
    if (code == EXIT_DONE) {
        status = export(o, program, place);
        if (status != CTL_OK) tool_explain(&speaker, status);
        code = tool_exit_code(status);
    }
    ctl_program_free(program);
    json_decref(r.config);
    return code;
}

int cmd_export(int argc, char **argv) {
    export_options o = {0};
    const option options[] = {
        {"peft", "DIR", OPT_TEXT, &o.peft, "where adapter_config.json and adapter_model.safetensors go"},
        {"base", "NAME", OPT_TEXT, &o.as.base, "base_model_name_or_path: the checkpoint's folder or name"},
        {"task-type", "TYPE", OPT_TEXT, &o.as.task_type,
         "CAUSAL_LM, SEQ_CLS, ..; without it none is written"},
        {"transformers", "N", OPT_COUNT, &o.transformers,
         "4 or 5 (the default): whose names a vision transformer's modules have"},
        {"spec", "SPEC.ctl", OPT_TEXT, &o.spec, "the spec, where it is not the text that the run recorded"},
        {"tune", "NAME", OPT_TEXT, &o.compile.tune, "which tune block, where it is not the run's"},
        {"set", "KEY=VALUE", OPT_LIST, &o.compile.set, "override a setting or a parameter, as for the run"},
    };
    command_line line = {
        .command = "export",
        .about =
            "Writes an adapter that Hugging Face's PEFT loads, from a run's folder, any adapter's, or a "
            "checkpoint's. "
            "What a control is is told from\n"
            "what it computes: LoRA, rank-stabilised LoRA, DoRA and (IA)^3, however they are written, with "
            "heads and biases that were trained.\n"
            "For a control that PEFT has no form for, the reason is said; the folder itself holds any "
            "control, for ctlc.\n",
        .examples = "  ctlc export notes --peft notes-peft --base models/llama --task-type CAUSAL_LM\n"
                    "  ctlc export notes --spec my.ctl --set lora_qkv.rank=8 --peft notes-peft\n"
                    "  ctlc export notes/checkpoint-200 --spec my.ctl --peft notes-200\n",
        .options = options,
        .noptions = CTL_COUNT(options),
        .operand_name = "RUN",
        .most_operands = 1,
    };
    int code = options_parse(&line, argc, argv);
    if (code) return code < 0 ? EXIT_DONE : code;
    if (!o.peft) {
        fprintf(stderr,
                "ctlc export: --peft is missing: the folder for the adapter\nctlc export --help tells all\n");
        return EXIT_USAGE;
    }
    if (o.transformers && o.transformers != 4 && o.transformers != 5) {
        fprintf(stderr, "ctlc export: --transformers is 4 or 5\n");
        return EXIT_USAGE;
    }
    o.run = line.operands.at[0];
    return export_run(&o);
}
