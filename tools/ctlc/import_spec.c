/* import_spec: the text of a spec, with a comment on every line that its reader may want to change. */
#include "tools/ctlc/import_methods.h"

#include <stdio.h>

const import_method import_methods_llama[] = {
    {"lora", "tuning.lora_qkvud(rank = 16, alpha = 32, p = 0.05)",
     "LoRA on the projections q, k, v, up and down", "2e-4"},
    {"dora", "tuning.dora_qkvud(rank = 16, alpha = 32, p = 0.05)",
     "DoRA on the projections q, k, v, up and down", "2e-4"},
    {"rslora", "tuning.rslora(rank = 32, alpha = 64)", "rank-stabilised LoRA on the projections q and v",
     "2e-4"},
    {"lora_fa", "tuning.lora_fa(rank = 16, alpha = 32)", "LoRA on q and v, the first factor frozen", "2e-4"},
    {"double", "tuning.double(rank = 64)", "parallel control around both halves of every block", "2e-4"},
    {"ud", "tuning.ud(rank = 64)", "parallel control around the feed-forward half of every block", "2e-4"},
    {"mixture", "tuning.ud(rank = 64), tuning.lora_qkv(rank = 32, alpha = 64, p = 0.05)",
     "parallel control around the feed-forward half, LoRA on the projections q, k and v", "2e-4"},
    {"houlsby", "tuning.houlsby(rank = 64)", "adapters in series behind both halves of every block", "2e-4"},
    {"parallel_adapter", "tuning.parallel_adapter(rank = 64)",
     "an adapter beside the feed-forward half of every block", "2e-4"},
    {"ia3", "tuning.ia3()", "a trained scale on keys, values and the feed-forward half", "3e-3"},
    {"full", "tuning.full()", "every weight of the model", "1e-5"},
    {NULL, NULL, NULL, NULL},
};

const import_method *import_method_find(const import_model *m, const char *name) {
    for (const import_method *at = m->methods; at->name; at++)
        if (strcmp(at->name, name) == 0) return at;
    return NULL;
}

static void write_model(ctl_string *out, const import_model *m) {
    ctl_string_add(out, "model base = %s(;", m->net);
    size_t column = 0;
    for (size_t i = 0; i < m->nparams; i++) {
        char text[64];
        size_t n = (size_t)snprintf(text, sizeof text, "%s = %s%s", m->params[i].name, m->params[i].text,
                                    i + 1 < m->nparams ? "," : ")");
        bool wrap = column + n > 90;
        ctl_string_add(out, wrap ? "\n    %s" : " %s", text);
        column = wrap ? n : column + n + 1;
    }
    ctl_string_add(out, "\n");
}

static void write_others(ctl_string *out, const import_model *m, const import_method *method) {
    ctl_string_add(out, "# Others");
    const char *comma = ": ";
    for (const import_method *at = m->methods; at->name; at++) {
        if (at == method) continue;
        ctl_string_add(out, "%s%s", comma, at->name);
        comma = ", ";
    }
    ctl_string_add(out, " (--method NAME). Their text is stdlib/tuning.ctl.\n");
}

void import_spec_write(ctl_string *out, const import_model *m, const import_method *method,
                       const char *directory, const char *memory) {
    ctl_string_add(out, "# %s%sfrom ", m->architecture, m->architecture[0] ? ", " : "");
    for (const char *c = directory; *c; c++)
        ctl_string_put(out, *c >= ' ' ? c : "?", 1); /* a comment is one line */
    ctl_string_add(out, "/config.json. What it takes: `ctlc plan`. Its data: docs/training.md.\n");
    ctl_string_add(out, "import %s\n\n", m->imports);
    ctl_string_add(
        out, "# The network with its sizes. Frozen; `--weights` reads it from the checkpoint's folder.\n");
    if (m->marks[0]) ctl_string_add(out, "# Ids of its tokenizer: %s.\n", m->marks);
    write_model(out, m);
    ctl_string_add(out, "\n# What is tuned: %s.\n", method->about);
    write_others(out, m, method);
    const int64_t length = m->fixed_tokens                      ? m->fixed_tokens
                           : m->positions && m->positions < 512 ? m->positions
                                                                : 512;
    ctl_string_add(out, "tune base with %s {\n", method->controls);
    ctl_string_add(
        out,
        "    tokens %d x %lld    # a micro-step: sequences x their length; `--set tokens=2x256` takes less\n",
        m->fixed_tokens ? 16 : 4, (long long)length);
    ctl_string_add(out, "    compute bf16        # the type of products and of what is kept; sums and what "
                        "is trained are f32\n");
    ctl_string_add(out, "    memory %s       # a plan that takes more is refused before anything runs\n",
                   memory);
    ctl_string_add(out, "    adamw(; lr = %s, warmup = 100, clip = 1.0)\n}\n", method->rate);
}
