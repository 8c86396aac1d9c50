/* import_spec: the text of a spec, with a comment on every line that its reader may want to change. */
#include "tools/ctlc/import_methods.h"

#include <stdio.h>

/* head stands behind each: a classifier's own layer is trained too. */
#define LLAMA_METHODS(head)                                                                                  \
    {"lora", "tuning.lora_qkvud(rank = 16, alpha = 32, p = 0.05)" head,                                      \
     "LoRA on the projections q, k, v, up and down", "2e-4"},                                                \
        {"dora", "tuning.dora_qkvud(rank = 16, alpha = 32, p = 0.05)" head,                                  \
         "DoRA on the projections q, k, v, up and down", "2e-4"},                                            \
        {"lora_all", "tuning.lora_all(rank = 16, alpha = 16, p = 0.0)" head,                                 \
         "LoRA on every projection of a block", "2e-4"},                                                     \
        {"dora_all", "tuning.dora_all(rank = 16, alpha = 16, p = 0.0)" head,                                 \
         "DoRA on every projection of a block", "2e-4"},                                                     \
        {"rslora", "tuning.rslora(rank = 32, alpha = 64)" head,                                              \
         "rank-stabilised LoRA on the projections q and v", "2e-4"},                                         \
        {"lora_fa", "tuning.lora_fa(rank = 16, alpha = 32)" head,                                            \
         "LoRA on q and v, the first factor frozen", "2e-4"},                                                \
        {"double", "tuning.double(rank = 64)" head, "parallel control around both halves of every block",    \
         "2e-4"},                                                                                            \
        {"ud", "tuning.ud(rank = 64)" head, "parallel control around the feed-forward half of every block",  \
         "2e-4"},                                                                                            \
        {"mixture", "tuning.ud(rank = 64), tuning.lora_qkv(rank = 32, alpha = 64, p = 0.05)" head,           \
         "parallel control around the feed-forward half, LoRA on the projections q, k and v", "2e-4"},       \
        {"houlsby", "tuning.houlsby(rank = 64)" head,                                                        \
         "adapters in series behind both halves of every block", "2e-4"},                                    \
        {"parallel_adapter", "tuning.parallel_adapter(rank = 64)" head,                                      \
         "an adapter beside the feed-forward half of every block", "2e-4"},                                  \
        {"ia3", "tuning.ia3()" head, "a trained scale on keys, values and the feed-forward half", "3e-3"},   \
        {"vera", "tuning.vera(rank = 256)" head,                                                             \
         "VeRA on q and v: two vectors around shared, frozen factors", "1e-2"},                              \
        {"red", "tuning.red()" head, "a trained scale and offset of representations", "1e-3"}, {             \
        "loreft", "tuning.loreft(rank = 4)" head,                                                            \
            "LoReFT: a change within a subspace at the first and last tokens", "9e-4"                        \
    }

const import_method import_methods_llama[] = {
    LLAMA_METHODS(""),
    {"full", "tuning.full()", "every weight of the model", "1e-5"},
    {NULL, NULL, NULL, NULL},
};
const import_method import_methods_llama_classifier[] = {
    LLAMA_METHODS(", tuning.head()"),
    {"full", "tuning.classifier_full()", "every weight of the model", "1e-5"},
    {NULL, NULL, NULL, NULL},
};

/* What encoders have in common. */
#define BERT_METHODS(head)                                                                                   \
    {"lora", "bert_tuning.lora_qv(rank = 8, alpha = 16)" head, "LoRA on query and value", "4e-4"},           \
        {"dora", "bert_tuning.dora_qv(rank = 8, alpha = 16)" head, "DoRA on query and value", "4e-4"},       \
        {"lora_all", "bert_tuning.lora(rank = 8, alpha = 16)" head, "LoRA on every projection", "4e-4"},     \
        {"double", "bert_tuning.double(rank = 16)" head,                                                     \
         "parallel control around both halves of every layer", "4e-4"},                                      \
        {"ud", "bert_tuning.ud(rank = 16)" head,                                                             \
         "parallel control around the feed-forward half of every layer", "4e-4"},                            \
        {"houlsby", "bert_tuning.houlsby(rank = 64)" head,                                                   \
         "adapters in series behind both halves of every layer", "3e-4"},                                    \
        {"parallel_adapter", "bert_tuning.parallel_adapter(rank = 64)" head,                                 \
         "an adapter beside the feed-forward half", "3e-4"},                                                 \
    {                                                                                                        \
        "bitfit", "bert_tuning.bitfit()" head, "the biases", "1e-3"                                          \
    }

const import_method import_methods_roberta[] = {
    BERT_METHODS(", bert_tuning.head()"),
    {"full", "bert_tuning.full()", "every weight of the model", "2e-5"},
    {NULL, NULL, NULL, NULL},
};
const import_method import_methods_bert[] = {
    BERT_METHODS(", bert_tuning.bert_head()"),
    {"full", "bert_tuning.bert_full()", "every weight of the model", "2e-5"},
    {NULL, NULL, NULL, NULL},
};
const import_method import_methods_masked[] = {
    BERT_METHODS(""),
    {NULL, NULL, NULL, NULL},
};
const import_method import_methods_vit[] = {
    {"lora", "vit_tuning.lora_qv(rank = 8, alpha = 16), vit_tuning.head()", "LoRA on query and value",
     "5e-4"},
    {"dora", "vit_tuning.dora_qv(rank = 8, alpha = 16), vit_tuning.head()", "DoRA on query and value",
     "5e-4"},
    {"lora_ud", "vit_tuning.lora_ud(rank = 8, alpha = 16), vit_tuning.head()",
     "LoRA on the feed-forward half", "5e-4"},
    {"double", "vit_tuning.double(rank = 16), vit_tuning.head()",
     "parallel control around both halves of every layer", "5e-4"},
    {"ud", "vit_tuning.ud(rank = 16), vit_tuning.head()",
     "parallel control around the feed-forward half of every layer", "5e-4"},
    {"houlsby", "vit_tuning.houlsby(rank = 64), vit_tuning.head()",
     "adapters in series behind both halves of every layer", "5e-4"},
    {"bitfit", "vit_tuning.bitfit(), vit_tuning.head()", "the biases", "1e-3"},
    {"full", "vit_tuning.full()", "every weight of the model", "2e-5"},
    {NULL, NULL, NULL, NULL},
};
#define GPT2_METHODS(head)                                                                                   \
    {"lora", "gpt2_tuning.lora(rank = 8, alpha = 16)" head, "LoRA on the projection to q, k and v", "2e-4"}, \
        {"dora", "gpt2_tuning.dora(rank = 8, alpha = 16)" head, "DoRA on the projection to q, k and v",      \
         "2e-4"},                                                                                            \
        {"double", "gpt2_tuning.double(rank = 64)" head,                                                     \
         "parallel control around both halves of every block", "2e-4"},                                      \
        {"ud", "gpt2_tuning.ud(rank = 64)" head,                                                             \
         "parallel control around the feed-forward half of every block", "2e-4"},                            \
        {"houlsby", "gpt2_tuning.houlsby(rank = 64)" head,                                                   \
         "adapters in series behind both halves of every block", "2e-4"},                                    \
    {                                                                                                        \
        "bitfit", "gpt2_tuning.bitfit()" head, "the biases", "1e-3"                                          \
    }

const import_method import_methods_gpt2[] = {
    GPT2_METHODS(""),
    {"full", "gpt2_tuning.full()", "every weight of the model", "1e-5"},
    {NULL, NULL, NULL, NULL},
};
const import_method import_methods_gpt2_classifier[] = {
    GPT2_METHODS(", gpt2_tuning.head()"),
    {"full", "gpt2_tuning.classifier_full()", "every weight of the model", "1e-5"},
    {NULL, NULL, NULL, NULL},
};

const import_method *import_method_find(const import_model *m, const char *name) {
    for (const import_method *at = m->methods; at->name; at++)
        if (strcmp(at->name, name) == 0) return at;
    return NULL;
}

/* As `ctlc fmt` writes it: on one line where it fits, else the parameters between the brackets on lines of
 * their own. */
enum { WIDTH = 128, INDENT = 4, COMMENT = 51 };
static void write_model(ctl_string *out, const import_model *m) {
    size_t n = strlen("model base = (; )") + strlen(m->net);
    for (size_t i = 0; i < m->nparams; i++)
        n += strlen(m->params[i].name) + strlen(" = ") + strlen(m->params[i].text) + (i ? strlen(", ") : 0);
    bool whole = n <= WIDTH;
    ctl_string_add(out, "model base = %s(;%s", m->net, whole ? " " : "\n    ");
    size_t column = INDENT;
    for (size_t i = 0; i < m->nparams; i++) {
        char text[64];
        size_t k = (size_t)snprintf(text, sizeof text, "%s = %s%s", m->params[i].name, m->params[i].text,
                                    i + 1 < m->nparams ? "," : "");
        bool wrap = !whole && i && column + 1 + k > WIDTH;
        ctl_string_add(out, "%s%s", i == 0 ? "" : wrap ? "\n    " : " ", text);
        column = i == 0 ? INDENT + k : wrap ? INDENT + k : column + 1 + k;
    }
    ctl_string_add(out, whole ? ")\n" : "\n)\n");
}

/* A line of the tune block with its comment in fmt's column. */
static void write_setting(ctl_string *out, const char *comment, const char *fmt, ...) CTL_PRINTF(3, 4);
static void write_setting(ctl_string *out, const char *comment, const char *fmt, ...) {
    char text[128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ctl_string_add(out, "    %-*s# %s\n", COMMENT - INDENT, text, comment);
}

static void write_others(ctl_string *out, const import_model *m, const import_method *method) {
    ctl_string_add(out, "# Others");
    const char *comma = ": ";
    for (const import_method *at = m->methods; at->name; at++) {
        if (at == method) continue;
        ctl_string_add(out, "%s%s", comma, at->name);
        comma = ", ";
    }
    ctl_string_add(out, " (--method NAME). Their text: stdlib/%s.ctl.\n", strchr(m->imports, ' ') + 1);
}

void import_spec_write(ctl_string *out, const import_model *m, const import_method *method, const char *control,
                       const char *directory, const char *memory) {
    const int64_t length = !m->fixed && m->positions && m->positions < m->length ? m->positions : m->length;
    ctl_string_add(out, "# %s%sfrom ", m->architecture, m->architecture[0] ? ", " : "");
    for (const char *c = directory; *c; c++)
        ctl_string_put(out, *c >= ' ' ? c : "?", 1); /* a comment is one line */
    ctl_string_add(out, "/config.json. What it takes: `ctlc plan`.\n# Its data: %s.\n",
                   m->fixed ? "docs/training.md" : "token files that tools/tokenize makes with the checkpoint's tokenizer.json (docs/training.md)");
    if (strstr(m->net, "causal_lm"))
        ctl_string_add(out, "# Texts are one stream, cut into sequences; `tokens %lld packed` below, or `ctlc train --whole`, keeps them apart.\n",
                       (long long)(m->sequences * length));
    if (control) /* it stands in the place of the module of methods */
        ctl_string_add(out, "import %.*s, control\n\n", (int)strcspn(m->imports, ","), m->imports);
    else
        ctl_string_add(out, "import %s\n\n", m->imports);
    ctl_string_add(
        out, "# The network with its sizes. Frozen; `--weights` reads it from the checkpoint's folder.\n");
    if (m->marks[0]) ctl_string_add(out, "# Ids of its tokenizer: %s.\n", m->marks);
    write_model(out, m);
    if (method) ctl_string_add(out, "\n# What is tuned: %s.\n", method->about);
    if (control) {
        ctl_string_put(out, control, strlen(control));
        ctl_string_add(out, "\n");
    } else if (method) {
        write_others(out, m, method);
    }
    ctl_string_add(out, "tune base%s%s {\n", method ? " with " : "", method ? method->controls : "");
    write_setting(out, "sequences of a micro-step x their length; fewer take less memory",
                  "tokens %lld x %lld", (long long)m->sequences, (long long)length);
    write_setting(out, "the type of products and of what is kept; sums are in f32", "compute bf16");
    write_setting(out, "a plan that takes more is refused before anything runs", "memory %s", memory);
    if (method) ctl_string_add(out, "    adamw(; lr = %s, warmup = 100, clip = 1.0)\n", method->rate);
    ctl_string_add(out, "}\n");
}
