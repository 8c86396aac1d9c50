/* ctlc import: a ready spec from a published checkpoint's config.json, or with the control that an adapter of
 * PEFT's is; checked: it compiles, and the tensors of checkpoint and adapter, where they are there, are those
 * that it asks for. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "runtime/adapter.h"
#include "tools/ctlc/import_adapter.h"
#include "tools/ctlc/import_config.h"
#include "tools/ctlc/tool.h"

typedef struct import_options {
    const char *directory, *out, *method, *memory, *task, *adapter;
    bool is_spec; /* directory is a .ctl */
} import_options;

/* Nine tenths of what the machine has, so that what else runs has room too. */
static void machine_memory(char *buf, size_t size) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    double bytes = pages > 0 && page > 0 ? 0.9 * (double)pages * (double)page : 8.0 * (1 << 30);
    double gib = bytes / (1 << 30);
    if (gib >= 1)
        snprintf(buf, size, "%.0f GiB", gib - 0.5 < 1 ? 1 : gib - 0.5);
    else
        snprintf(buf, size, "%.0f MiB", bytes / (1 << 20));
}

/* "24GiB" as --set takes it, "24 GiB" as the language does. */
static bool memory_text(const char *text, char *buf, size_t size) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "KB", "MB", "GB"};
    char *end;
    double amount = strtod(text, &end);
    while (*end == ' ') end++;
    for (size_t i = 0; i < CTL_COUNT(units); i++) {
        if (strcmp(end, units[i]) != 0 || !(amount > 0) || !(amount < 1e9) ||
            amount != (double)(long long)amount)
            continue;
        snprintf(buf, size, "%lld %s", (long long)amount, units[i]);
        return true;
    }
    return false;
}

static bool has_weights(const char *directory) {
    return import_has_file(directory, "model.safetensors") || import_has_file(directory, "model.safetensors.index.json");
}

/* A folder without config.json may be an adapter, whose model is asked for. */
static ctl_status refuse_adapter(const char *directory, ctl_place place) {
    char hint[300];
    snprintf(hint, sizeof hint, "name its model's folder first: ctlc import MODEL --adapter %.200s", directory);
    ctl_say(place.voice, CTL_ERROR, "E0710", hint, "'%s' holds an adapter, and no model", directory);
    return CTL_ERR_INPUT;
}

/* Says what of the model the files lack or have in another shape. */
static ctl_status check_weights(const import_options *o, const ctl_program *program, ctl_place place) {
    ctl_match match;
    ctl_status status = ctl_match_open(&match, program, place, &o->directory, 1, "model.safetensors", NULL);
    if (status != CTL_OK) return status;
    size_t found = 0, fatal = match.misfits;
    for (size_t i = 0; i < program->nparams; i++) {
        const ctl_program_param *p = &program->params[i];
        if (p->made_by_control) continue;
        found += match.of_param[i] != NULL;
        if (match.of_param[i] || (p->trained && o->adapter)) continue; /* the adapter has it, or is refused */
        fatal += !p->trained;
        ctl_match_say_missing(&match, p, p->trained ? CTL_WARNING : CTL_ERROR,
                              p->trained ? "; it is initialised" : "");
    }
    ctl_match_say_more(&match, fatal ? CTL_ERROR : CTL_WARNING, NULL);
    ctl_match_say_unused(&match, CTL_WARNING);
    if (fatal == 0 && match.unused)
        fprintf(stderr, "%zu tensors fit; %zu others of the files are not in the model\n", found,
                match.unused);
    else if (fatal == 0)
        fprintf(stderr, "the weights fit: %zu tensors\n", found);
    ctl_match_free(&match);
    return fatal ? CTL_ERR_INPUT : CTL_OK;
}

/* Does the adapter load over the spec? */
static ctl_status check_adapter(const import_options *o, const ctl_program *program, ctl_place place) {
    ctl_match match;
    ctl_status status = ctl_adapter_match(&match, program, place, o->adapter);
    if (status != CTL_OK) return status;
    size_t tensors = 0;
    for (size_t i = 0; i < program->nparams; i++) tensors += match.of_param[i] != NULL;
    ctl_match_free(&match);
    fprintf(stderr, "the adapter fits: %zu tensors\n", tensors);
    return CTL_OK;
}

/* From the file, where there is one: beside it may be files that it imports. */
static ctl_status compile(const char *path, const ctl_string *text, ctl_place place, ctl_program **program) {
    const ctlc_options options = {.diagnostic = place.voice.fn,
                                  .diagnostic_ctx = place.voice.ctx,
                                  .engine = CTLC_REFERENCE,
                                  .compute = CTL_F32};
    *program = NULL;
    return path ? ctlc_compile_file(path, &options, program)
                : ctlc_compile_text("spec.ctl", text->at, text->n, &options, program);
}

static ctl_status check(const import_options *o, const ctl_string *text, ctl_place place) {
    ctl_program *program;
    ctl_status status = compile(o->out, text, place, &program);
    if (status == CTL_OK && !o->is_spec && has_weights(o->directory))
        status = check_weights(o, program, place);
    else if (status == CTL_OK && !o->is_spec)
        fprintf(stderr, "'%s' has no safetensors: names and shapes were not compared%s\n", o->directory,
                import_has_file(o->directory, "pytorch_model.bin") || import_has_file(o->directory, "pytorch_model.bin.index.json")
                    ? "; pytorch_model.bin must be converted before --weights can read it"
                    : "");
    if (status == CTL_OK && o->adapter) status = check_adapter(o, program, place);
    ctl_program_free(program);
    return status;
}

static const import_method *find_method(const import_options *o, const import_model *model, ctl_place place) {
    const import_method *method = o->method ? import_method_find(model, o->method) : model->methods;
    if (method) return method;
    ctl_string names = {.allocator = place.allocator};
    for (const import_method *at = model->methods; at->name; at++)
        ctl_string_add(&names, "%s%s", names.n ? ", " : "there are: ", at->name);
    ctl_string_put(&names, "", 1);
    ctl_say(place.voice, CTL_ERROR, "E0710", names.failed ? NULL : names.at,
            "no method for %s is called '%.60s'", model->type, o->method);
    ctl_string_drop(&names);
    return NULL;
}

/* ---- with an adapter ---- */
static void take_text(void *ctx, const char *pass, const char *text, size_t size) {
    (void)pass;
    ctl_string_put(ctx, text, size);
}
/* In the one form that sources have. */
static ctl_status formatted(const ctl_string *raw, ctl_string *text, ctl_place place) {
    const ctlc_options options = {
        .diagnostic = place.voice.fn, .diagnostic_ctx = place.voice.ctx, .dump = take_text, .dump_ctx = text};
    return raw->failed ? CTL_ERR_MEMORY : ctlc_format_text("spec.ctl", raw->at, raw->n, &options);
}

/* The adapter's control in a spec that there is. */
static ctl_status adapt_source(const import_options *o, import_adapter *a, ctl_string *raw, ctl_place place) {
    import_source source;
    ctl_program *program = NULL;
    ctl_status status = import_source_read(&source, o->directory, place);
    if (status != CTL_OK) return status;
    status = compile(o->directory, NULL, place, &program);
    if (status == CTL_OK) status = import_adapter_find(a, program);
    if (status == CTL_OK) import_source_write(raw, &source, a, program);
    ctl_program_free(program);
    ctl_string_drop(&source.text);
    return status;
}

/* And in one of the checkpoint's config.json. What its model has is told by a draft without a control. */
static ctl_status adapt_model(const import_options *o, import_adapter *a, const char *memory, ctl_string *raw,
                              ctl_place place) {
    import_model model;
    char about[300];
    ctl_string draft = {.allocator = place.allocator}, control = {.allocator = place.allocator};
    ctl_program *program = NULL;
    ctl_status status = import_config_read(o->directory, o->task ? o->task : a->task, place, &model);
    if (status != CTL_OK) return status;
    if (a->classes > 0) import_config_classes(&model, a->classes);
    import_adapter_about(about, sizeof about, a);
    const import_method method = {"", "peft()", about, a->vectors ? "3e-3" : model.methods->rate};
    import_spec_write(&draft, &model, NULL, NULL, o->directory, memory);
    status = draft.failed ? CTL_ERR_MEMORY : compile(NULL, &draft, place, &program);
    if (status == CTL_OK) status = import_adapter_find(a, program);
    if (status == CTL_OK) {
        import_adapter_write(&control, a, program, "peft", model.net);
        ctl_string_put(&control, "", 1);
        if (control.failed)
            status = CTL_ERR_MEMORY;
        else
            import_spec_write(raw, &model, &method, control.at, o->directory, memory);
    }
    ctl_program_free(program);
    ctl_string_drop(&control);
    ctl_string_drop(&draft);
    return status;
}

static ctl_status adapt(const import_options *o, const char *memory, ctl_string *text, ctl_place place) {
    import_adapter adapter;
    ctl_string raw = {.allocator = place.allocator};
    ctl_status status = import_adapter_open(&adapter, o->adapter, place);
    if (status != CTL_OK) return status;
    status =
        o->is_spec ? adapt_source(o, &adapter, &raw, place) : adapt_model(o, &adapter, memory, &raw, place);
    if (status == CTL_OK) status = formatted(&raw, text, place);
    ctl_string_drop(&raw);
    import_adapter_close(&adapter);
    return status;
}

/* ---- the command ---- */
static ctl_status import(const import_options *o, ctl_place place) {
    import_model model;
    char memory[32];
    ctl_string text = {.allocator = place.allocator};
    ctl_status status = CTL_OK;
    if (o->memory)
        memory_text(o->memory, memory, sizeof memory);
    else
        machine_memory(memory, sizeof memory);
    if (!o->is_spec && !import_has_file(o->directory, "config.json") && import_has_file(o->directory, "adapter_config.json")) {
        status = refuse_adapter(o->directory, place);
    } else if (o->adapter) {
        status = adapt(o, memory, &text, place);
    } else {
        status = import_config_read(o->directory, o->task, place, &model);
        const import_method *method = status == CTL_OK ? find_method(o, &model, place) : NULL;
        if (method)
            import_spec_write(&text, &model, method, NULL, o->directory, memory);
        else if (status == CTL_OK)
            status = CTL_ERR_INPUT;
    }
    if (status == CTL_OK && text.failed) status = CTL_ERR_MEMORY;
    if (status == CTL_OK && o->out)
        status = ctl_file_replace(o->out, text.at, text.n, place);
    else if (status == CTL_OK)
        fwrite(text.at, 1, text.n, stdout);
    if (status == CTL_OK) status = check(o, &text, place);
    ctl_string_drop(&text);
    return status;
}

/* What cannot be asked for together; NULL: all is well. */
static const char *contradiction(const import_options *o) {
    if (o->is_spec && !o->adapter) return "a .ctl is imported into with --adapter; it is a spec already";
    if (o->is_spec && (o->task || o->memory))
        return "--task and --memory are for a checkpoint's folder: a .ctl says both";
    if (o->adapter && o->method)
        return "--adapter says what is tuned, and so does --method: give one of them";
    return NULL;
}

int cmd_import(int argc, char **argv) {
    import_options o = {0};
    tool_speaker speaker = {0};
    const option options[] = {
        {"o", "FILE", OPT_TEXT, &o.out, "where the spec goes; else to standard output"},
        {"method", "NAME", OPT_TEXT, &o.method,
         "what is tuned: lora (the default), dora, rslora, double, ud, mixture,\nhoulsby, ia3, full, ..; a "
         "wrong name lists the architecture's"},
        {"task", "NAME", OPT_TEXT, &o.task,
         "causal_lm, classifier or masked_lm, where it is not what the checkpoint was"},
        {"adapter", "DIR", OPT_TEXT, &o.adapter,
         "an adapter of PEFT's (LoRA, rsLoRA, DoRA, (IA)^3): the spec tunes what\nit does, and takes it with "
         "--adapter DIR"},
        {"memory", "SIZE", OPT_TEXT, &o.memory,
         "the memory that there is (24GiB); else nine tenths of this machine's"},
    };
    command_line line = {
        .command = "import",
        .about = "Writes a ready spec from the config.json of a Hugging Face checkpoint, with a comment on "
                 "each line to change. Where\n"
                 "the folder has the weights (safetensors), their names and shapes are compared with the "
                 "model's. What the nets of\n"
                 "the standard library do not have is refused, with the key that asks for it.\n"
                 "With --adapter the control is what an adapter of PEFT's is: its method, ranks, scales, "
                 "dropout, modules, and "
                 "what it\ntrains of the model. Instead of a folder a spec may be given, whose controls it "
                 "replaces.\n",
        .examples =
            "  ctlc import models/llama -o my.ctl\n"
            "  ctlc import models/llama --method double --memory 24GiB -o my.ctl\n"
            "  ctlc import models/llama --adapter alpaca-lora -o my.ctl\n"
            "  ctlc import old.ctl --adapter alpaca-lora -o my.ctl\n"
            "  ctlc plan my.ctl\n"
            "  tools/tokenize --tokenizer models/llama/tokenizer.json -o notes.safetensors notes.txt\n"
            "  ctlc train my.ctl --weights models/llama --data notes.safetensors --out notes\n"
            "  ctlc train my.ctl --weights models/llama --adapter alpaca-lora --data notes.safetensors --out on\n",
        .options = options,
        .noptions = CTL_COUNT(options),
        .operand_name = "DIR|SPEC.ctl",
        .most_operands = 1,
    };
    int code = options_parse(&line, argc, argv);
    if (code) return code < 0 ? EXIT_DONE : code;
    char memory[32];
    if (o.memory && !memory_text(o.memory, memory, sizeof memory)) {
        fprintf(stderr,
                "ctlc import: --memory is a whole number and KiB, MiB, GiB, KB, MB or GB, not \"%s\"\n",
                o.memory);
        return EXIT_USAGE;
    }
    o.directory = line.operands.at[0];
    const size_t n = strlen(o.directory);
    o.is_spec = n > 4 && strcmp(o.directory + n - 4, ".ctl") == 0;
    const char *why = contradiction(&o);
    if (why) {
        fprintf(stderr, "ctlc import: %s\n", why);
        return EXIT_USAGE;
    }
    const ctl_place place = {{tool_diagnostic, &speaker}, &ctl_malloc_allocator};
    ctl_status status = import(&o, place);
    if (status != CTL_OK)
        tool_explain(&speaker, status);
    else if (o.out)
        fprintf(stderr, "%s is written; `ctlc plan %s` tells what it takes\n", o.out, o.out);
    return tool_exit_code(status);
}
