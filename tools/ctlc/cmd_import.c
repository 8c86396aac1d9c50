/* ctlc import: a ready spec from a published checkpoint's config.json, checked: it compiles, and the
 * checkpoint's tensors, where they are there, are those that its model asks for. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "runtime/match.h"
#include "tools/ctlc/import_config.h"
#include "tools/ctlc/tool.h"

typedef struct import_options {
    const char *directory, *out, *method, *memory, *task;
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
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json"};
    bool there = false;
    for (size_t i = 0; i < CTL_COUNT(names); i++) {
        char *path = ctl_string_format(&ctl_malloc_allocator, "%s/%s", directory, names[i]);
        there |= path && access(path, F_OK) == 0;
        ctl_string_free(&ctl_malloc_allocator, path);
    }
    return there;
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
        if (match.of_param[i]) continue;
        fatal += !p->trained;
        ctl_match_say_missing(&match, p, p->trained ? CTL_WARNING : CTL_ERROR,
                              p->trained ? "; it is initialised" : "");
    }
    ctl_match_say_more(&match, fatal ? CTL_ERROR : CTL_WARNING, NULL);
    ctl_match_say_unused(&match, CTL_WARNING);
    if (fatal == 0 && match.unused)
        fprintf(stderr, "%zu tensors fit; %zu others of the files are not in the model\n", found, match.unused);
    else if (fatal == 0)
        fprintf(stderr, "the weights fit: %zu tensors\n", found);
    ctl_match_free(&match);
    return fatal ? CTL_ERR_INPUT : CTL_OK;
}

static ctl_status check(const import_options *o, const ctl_string *text, ctl_place place) {
    const ctlc_options options = {.diagnostic = place.voice.fn,
                                  .diagnostic_ctx = place.voice.ctx,
                                  .engine = CTLC_REFERENCE,
                                  .compute = CTL_F32};
    ctl_program *program = NULL;
    ctl_status status =
        ctlc_compile_text(o->out ? o->out : "spec.ctl", text->at, text->n, &options, &program);
    if (status == CTL_OK && has_weights(o->directory))
        status = check_weights(o, program, place);
    else if (status == CTL_OK)
        fprintf(stderr, "'%s' has no safetensors: names and shapes were not compared\n", o->directory);
    ctl_program_free(program);
    return status;
}

static ctl_status import(const import_options *o, ctl_place place) {
    import_model model;
    char memory[32];
    ctl_status status = import_config_read(o->directory, o->task, place, &model);
    if (status != CTL_OK) return status;
    const import_method *method = o->method ? import_method_find(&model, o->method) : model.methods;
    if (!method) {
        ctl_string names = {.allocator = place.allocator};
        for (const import_method *at = model.methods; at->name; at++)
            ctl_string_add(&names, "%s%s", names.n ? ", " : "there are: ", at->name);
        ctl_string_put(&names, "", 1);
        ctl_say(place.voice, CTL_ERROR, "E0710", names.failed ? NULL : names.at,
                "no method for %s is called '%.60s'", model.type, o->method);
        ctl_string_drop(&names);
        return CTL_ERR_INPUT;
    }
    if (o->memory)
        memory_text(o->memory, memory, sizeof memory);
    else
        machine_memory(memory, sizeof memory);
    ctl_string text = {.allocator = place.allocator};
    import_spec_write(&text, &model, method, o->directory, memory);
    status = text.failed ? CTL_ERR_MEMORY : CTL_OK;
    if (status == CTL_OK && o->out)
        status = ctl_file_replace(o->out, text.at, text.n, place);
    else if (status == CTL_OK)
        fwrite(text.at, 1, text.n, stdout);
    if (status == CTL_OK) status = check(o, &text, place);
    ctl_string_drop(&text);
    return status;
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
        {"memory", "SIZE", OPT_TEXT, &o.memory,
         "the memory that there is (24GiB); else nine tenths of this machine's"},
    };
    command_line line = {
        .command = "import",
        .about = "Writes a ready spec from the config.json of a Hugging Face checkpoint, with a comment on "
                 "each line to change. Where\n"
                 "the folder has the weights (safetensors), their names and shapes are compared with the "
                 "model's. What the nets of\n"
                 "the standard library do not have is refused, with the key that asks for it.\n",
        .examples =
            "  ctlc import models/llama -o my.ctl\n"
            "  ctlc import models/llama --method double --memory 24GiB -o my.ctl\n"
            "  ctlc plan my.ctl\n"
            "  tools/tokenize --tokenizer models/llama/tokenizer.json -o notes.safetensors notes.txt\n"
            "  ctlc train my.ctl --weights models/llama --data notes.safetensors --out notes\n",
        .options = options,
        .noptions = CTL_COUNT(options),
        .operand_name = "DIR",
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
    const ctl_place place = {{tool_diagnostic, &speaker}, &ctl_malloc_allocator};
    ctl_status status = import(&o, place);
    if (status != CTL_OK)
        tool_explain(&speaker, status);
    else if (o.out)
        fprintf(stderr, "%s is written; `ctlc plan %s` tells what it takes\n", o.out, o.out);
    return tool_exit_code(status);
}
