/* A libFuzzer target: any bytes as the files that a user may have fetched. The first byte says which of them
 * the rest is: a safetensors file of weights, an index of shards, an adapter's configuration (ours and
 * PEFT's), a model's config.json.
 *
 * What must hold for every input: the call returns; it reports an error exactly when it fails for the input's
 * sake; what it writes as a spec compiles or is refused with an error; everything is given back.
 *
 * With CTL_FUZZ_SEEDS=DIR in the environment the seeds are written there at the start: files as our own
 * writers and Hugging Face's make them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/ctlc.h"
#include "runtime/files.h"
#include "tools/ctlc/import_config.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most); /* libFuzzer's own */

enum { WEIGHTS, INDEX, ADAPTER, CONFIG, KINDS };
static const char *const places[KINDS] = {"weights/model.safetensors", "shards/model.safetensors.index.json",
                                          "adapter/adapter_config.json", "config/config.json"};

static const char SPEC[] = "import llama, tuning\n"
                           "model m = llama.causal_lm(; vocab = 8, dim = 4, depth = 1, heads = 2, kv_heads = "
                           "1, ffn = 6, theta = 10000.0)\n"
                           "tune m with tuning.lora_qkv(rank = 2, alpha = 4) {\n tokens 1 x 4\n}\n";

/* ---- what lasts for the whole run ---- */
static char folder[64];
static ctl_program *program;

typedef struct counted {
    size_t used;
    int errors;
} counted;

static void *counted_resize(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    counted *c = ctx;
    if (new_size == 0) {
        if (ptr) c->used -= old_size;
        free(ptr);
        return NULL;
    }
    void *p = realloc(ptr, new_size);
    if (p) c->used += new_size - (ptr ? old_size : 0);
    return p;
}

static void collect(void *ctx, const ctl_diagnostic *d) {
    char text[4096];
    ((counted *)ctx)->errors += d->severity == CTL_ERROR;
    ctl_diagnostic_text(d, text, sizeof text);
    ctl_diagnostic_json(d, text, sizeof text);
}

static const char *in_folder(const char *name) {
    static char path[4][128];
    static unsigned turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void write_file(const char *path, const void *data, size_t size) {
    FILE *f = fopen(path, "wb");
    if (!f || (size && fwrite(data, 1, size, f) != size) || fclose(f) != 0) abort();
}

static void remove_folder(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0) fprintf(stderr, "%s is left behind\n", folder);
}

/* ---- seeds ---- */
static void write_seed(const char *directory, const char *name, char kind, const char *text, size_t n) {
    char path[512], *seed = malloc(n + 1);
    if (!seed) abort();
    seed[0] = kind;
    memcpy(seed + 1, text, n);
    snprintf(path, sizeof path, "%s/%s", directory, name);
    write_file(path, seed, n + 1);
    free(seed);
}

static void seed_from(const char *directory, const char *name, char kind, const char *path) {
    char *text;
    size_t n;
    if (ctl_file_read(path, 1 << 20, &text, &n, (ctl_place){{0}, &ctl_malloc_allocator}) != CTL_OK) abort();
    write_seed(directory, name, kind, text, n);
    ctl_free(&ctl_malloc_allocator, text, n + 1);
}

static const char PEFT[] =
    "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"use_dora\": false, \"use_rslora\": false, "
    "\"rank_pattern\": {\"q_proj\": 2}, "
    "\"alpha_pattern\": {\"v_proj\": 4}, \"bias\": \"none\", \"target_modules\": [\"q_proj\", \"k_proj\", "
    "\"v_proj\"], "
    "\"init_lora_weights\": true, \"modules_to_save\": null, \"layer_replication\": null}";
static const char *const configs[] = {
    "{\"model_type\": \"llama\", \"architectures\": [\"LlamaForCausalLM\"], \"vocab_size\": 8, "
    "\"hidden_size\": 4, \"num_hidden_layers\": 1, "
    "\"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"intermediate_size\": 6, \"rope_theta\": "
    "10000.0, \"rope_scaling\": {\"rope_type\": "
    "\"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
    "\"original_max_position_embeddings\": 16}, "
    "\"tie_word_embeddings\": true, \"hidden_act\": \"silu\", \"eos_token_id\": [2, 3], \"layer_types\": "
    "[\"full_attention\"]}",
    "{\"model_type\": \"bert\", \"architectures\": [\"BertForMaskedLM\"], \"vocab_size\": 8, "
    "\"hidden_size\": 4, \"num_hidden_layers\": 1, "
    "\"num_attention_heads\": 2, \"intermediate_size\": 6, \"max_position_embeddings\": 16, "
    "\"type_vocab_size\": 2, \"layer_norm_eps\": 1e-12, "
    "\"id2label\": {\"0\": \"a\", \"1\": \"b\"}}",
    "{\"model_type\": \"vit\", \"hidden_size\": 4, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, "
    "\"intermediate_size\": 6, "
    "\"image_size\": 4, \"patch_size\": 2, \"num_channels\": 1, \"qkv_bias\": true}",
    "{\"model_type\": \"gpt2\", \"vocab_size\": 8, \"n_embd\": 4, \"n_layer\": 1, \"n_head\": 2}"};

static void write_seeds(const char *directory) {
    char name[40];
    seed_from(directory, "weights", WEIGHTS, in_folder("weights/model.safetensors"));
    seed_from(directory, "index", INDEX, in_folder("shards/model.safetensors.index.json"));
    seed_from(directory, "adapter", ADAPTER, in_folder("adapter/adapter_config.json"));
    write_seed(directory, "peft", ADAPTER, PEFT, sizeof PEFT - 1);
    for (size_t i = 0; i < CTL_COUNT(configs); i++) {
        snprintf(name, sizeof name, "config%zu", i);
        write_seed(directory, name, CONFIG, configs[i], strlen(configs[i]));
    }
}

/* A small checkpoint, whole and in two shards, and an adapter of it. */
static void write_model(void) {
    ctl_session *s;
    if (ctl_session_open(program, NULL, &s) != CTL_OK || ctl_session_load(s) != CTL_OK) abort();
    if (ctl_session_save_weights(s, in_folder("weights/model.safetensors"), CTL_SAVE_ALL, CTL_BF16) !=
            CTL_OK ||
        ctl_session_save_weights(s, in_folder("shards/a.safetensors"), CTL_SAVE_TRAINED, CTL_F16) != CTL_OK ||
        ctl_session_save_weights(s, in_folder("shards/b.safetensors"), CTL_SAVE_ADAPTER, CTL_F32) != CTL_OK ||
        ctl_session_save_adapter(s, in_folder("adapter")) != CTL_OK)
        abort();
    ctl_session_close(s);
    static const char index[] = "{\"metadata\": {\"total_size\": 8}, \"weight_map\": "
                                "{\"model.layers.0.self_attn.q_proj.lora_A.weight\": "
                                "\"a.safetensors\"}}";
    write_file(in_folder("shards/model.safetensors.index.json"), index, sizeof index - 1);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    static const char *const made[] = {"weights", "shards", "adapter", "config"};
    strcpy(folder, "/tmp/ctl_fuzz_XXXXXX");
    if (!mkdtemp(folder)) abort();
    atexit(remove_folder);
    for (size_t i = 0; i < CTL_COUNT(made); i++)
        if (mkdir(in_folder(made[i]), 0777) != 0) abort();
    const ctlc_options options = {.engine = CTLC_REFERENCE, .compute = CTL_F32, .threads = 1};
    if (ctlc_compile_text("fuzz.ctl", SPEC, sizeof SPEC - 1, &options, &program) != CTL_OK) abort();
    write_model();
    if (getenv("CTL_FUZZ_SEEDS")) write_seeds(getenv("CTL_FUZZ_SEEDS"));
    return 0;
}

/* ---- one input ---- */
static void check(ctl_status status, const counted *c) {
    if ((status == CTL_OK) != (c->errors == 0)) abort();
    if (status == CTL_ERR_INTERNAL || status == CTL_ERR_MEMORY) abort();
}

static void load(int kind) {
    counted c = {0};
    const ctl_allocator allocator = {&c, counted_resize};
    const ctl_session_options options = {
        .allocator = &allocator, .threads = 1, .diagnostic = collect, .diagnostic_ctx = &c};
    ctl_session *s;
    if (ctl_session_open(program, &options, &s) != CTL_OK) abort();
    const char *path = in_folder(kind == WEIGHTS ? "weights" : kind == INDEX ? "shards" : "adapter");
    check(kind == ADAPTER ? ctl_session_load_adapter(s, path) : ctl_session_load_weights(s, &path, 1, NULL),
          &c);
    ctl_session_close(s);
    if (c.used) abort();
}

static void import(const char *text, size_t size) {
    counted c = {0};
    const ctl_allocator allocator = {&c, counted_resize};
    const ctl_place place = {{collect, &c}, &allocator};
    import_model model;
    ctl_status status = import_config_parse("config.json", text, size, NULL, place, &model);
    check(status, &c);
    if (status == CTL_OK) {
        ctl_string spec = {.allocator = &allocator};
        ctl_program *made = NULL;
        import_spec_write(&spec, &model, model.methods, NULL, "folder\nof a model", "1 GiB");
        if (spec.failed) abort();
        const ctlc_options options = {
            .check_only = true, .engine = CTLC_REFERENCE, .diagnostic = collect, .diagnostic_ctx = &c};
        /* a large model takes long and tells nothing new */
        if (strstr(spec.at, "depth = 1,"))
            check(ctlc_compile_text("spec.ctl", spec.at, spec.n, &options, &made), &c);
        ctl_program_free(made);
        ctl_string_drop(&spec);
    }
    if (c.used) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    int kind = data[0] % KINDS;
    if (kind == CONFIG) {
        import((const char *)data + 1, size - 1);
        return 0;
    }
    write_file(in_folder(places[kind]), data + 1, size - 1);
    load(kind);
    return 0;
}

/* Half of the mutations of a safetensors file are of its header, whose length is then put right: the others
 * rarely come behind it. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    enum { FRONT = 9, MOST = 16384 };
    if (seed % 2 || size < FRONT || data[0] % KINDS != WEIGHTS || most < FRONT)
        return LLVMFuzzerMutate(data, size, most);
    size_t length = 0;
    for (int i = 0; i < 8; i++) length |= (size_t)data[1 + i] << 8 * i;
    if (length > size - FRONT) length = size - FRONT;
    size_t rest = size - FRONT - length;
    uint8_t header[MOST];
    if (length > MOST / 2 || rest > most - FRONT) return LLVMFuzzerMutate(data, size, most);
    memcpy(header, data + FRONT, length);
    size_t n =
        LLVMFuzzerMutate(header, length, MOST - 1 < most - FRONT - rest ? MOST - 1 : most - FRONT - rest);
    memmove(data + FRONT + n, data + FRONT + length, rest);
    memcpy(data + FRONT, header, n);
    for (int i = 0; i < 8; i++) data[1 + i] = (uint8_t)((uint64_t)n >> 8 * i);
    return FRONT + n + rest;
}
