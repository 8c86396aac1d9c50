/* Published checkpoints into the models that they are of: shards, types, tied heads, tensors that no model
 * learns, names of another age or of a model with another head; and what is said of files that do not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#include "ctl/ctlc.h"
#include "folder.h"
#include "hf_files.h"

typedef struct heard {
    int errors, warnings;
    char all[8192];
} heard;
static void hear(void *ctx, const ctl_diagnostic *d) {
    heard *h = ctx;
    h->errors += d->severity == CTL_ERROR;
    h->warnings += d->severity == CTL_WARNING;
    size_t n = strlen(h->all);
    snprintf(h->all + n, sizeof h->all - n, "%s %s%s%s\n", d->code, d->message, d->hint ? " | " : "",
             d->hint ? d->hint : "");
}

static heard said;
static ctl_program *program;
static ctl_session *session;

static void open_spec(const char *text) {
    said = (heard){0};
    ctlc_options options = {
        .engine = CTLC_REFERENCE, .diagnostic = hear, .diagnostic_ctx = &said, .verify = true};
    assert_int_equal(ctlc_compile_text("spec.ctl", text, strlen(text), &options, &program), CTL_OK);
    ctl_session_options so = {.diagnostic = hear, .diagnostic_ctx = &said};
    assert_int_equal(ctl_session_open(program, &so, &session), CTL_OK);
}
static void close_spec(void) {
    ctl_session_close(session);
    ctl_program_free(program);
}

/* Every parameter of the model must have its tensor's values; `renamed` gives the file's name of one. */
static void check_values(const hf_checkpoint *c, const char *(*renamed)(const char *)) {
    for (size_t p = 0; p < ctl_program_param_count(program); p++) {
        ctl_tensor_info info = ctl_program_param_at(program, p);
        if (info.made_by_control) continue;
        double values[512];
        assert_true(info.rows * info.cols <= 512);
        assert_int_equal(ctl_session_param_read(session, p, CTL_F64, values), CTL_OK);
        const char *name = renamed ? renamed(info.name) : info.name;
        bool found = false;
        for (size_t i = 0; i < c->n; i++) found |= strcmp(c->at[i].name, name) == 0;
        if (!found) fail_msg("the test made no tensor %s", name);
        for (int64_t i = 0; i < info.rows * info.cols; i++)
            if (values[i] != hf_value(name, (size_t)i)) fail_msg("%s: element %d", info.name, (int)i);
    }
}

static ctl_status load(const char *path) {
    said = (heard){0};
    return ctl_session_load_weights(session, &path, 1, NULL);
}

static const char *in_folder(const char *name) {
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

#define TUNE "\ntune m with tuning.lora_qkv(rank = 2) {\n tokens 1 x 4\n}\n"

static void shards_and_types(void **state) {
    (void)state;
    static const ctl_dtype types[] = {CTL_BF16, CTL_F16, CTL_F32};
    for (size_t t = 0; t < CTL_COUNT(types); t++)
        for (int shards = 1; shards <= 3; shards += 2) {
            hf_checkpoint c;
            hf_llama(&c, types[t], 2, false, true);
            char name[40];
            snprintf(name, sizeof name, "llama%zu%d", t, shards);
            hf_write(&c, in_folder(name), shards);
            open_spec("import llama, tuning\n" HF_LLAMA_MODEL ", biased = true)" TUNE);
            assert_int_equal(load(in_folder(name)), CTL_OK);
            assert_string_equal(said.all, "");
            check_values(&c, NULL);
            close_spec();
        }
}

/* Old files hold tables of angles; tied ones no head, or the embedding once more under its name. */
static void what_no_model_learns(void **state) {
    (void)state;
    hf_checkpoint c;
    hf_llama(&c, CTL_F32, 2, true, false);
    hf_add(&c, 0, 2, "model.layers.0.self_attn.rotary_emb.inv_freq");
    hf_add(&c, 1, 24, "model.embeddings.position_ids");
    hf_write(&c, in_folder("tied"), 1);
    open_spec("import llama, tuning\n" HF_LLAMA_MODEL ", tied = true)" TUNE);
    assert_int_equal(load(in_folder("tied")), CTL_OK);
    assert_string_equal(said.all, "");
    check_values(&c, NULL);
    hf_add(&c, 24, 16, "lm_head.weight"); /* other values: it is reported */
    hf_write(&c, in_folder("tied"), 1);
    assert_int_equal(load(in_folder("tied")), CTL_OK);
    char want[300];
    snprintf(want, sizeof want,
             "E0706 1 tensor of '%s/tied/model.safetensors' belongs to no parameter: 'lm_head.weight'\n",
             folder);
    assert_string_equal(said.all, want);
    close_spec();
    /* and the other way round: a head that is wanted and not there */
    c.n--;
    hf_write(&c, in_folder("tied"), 1);
    open_spec("import llama, tuning\n" HF_LLAMA_MODEL ")" TUNE);
    assert_int_equal(load(in_folder("tied")), CTL_ERR_INPUT);
    assert_string_equal(said.all,
                        "E0704 no file has the parameter 'lm_head.weight' | a checkpoint without a head uses "
                        "its embedding: `tied = true` in the model\n");
    close_spec();
}

/* The same bytes twice, as older code saved a tied model. */
static ctl_status give_same(void *ctx, size_t tensor, size_t first, size_t count, void *out) {
    (void)ctx, (void)tensor;
    for (size_t i = 0; i < count; i++) ((float *)out)[i] = (float)hf_value("same", first + i);
    return CTL_OK;
}
static void copies_of_the_embedding(void **state) {
    (void)state;
    hf_checkpoint c;
    hf_llama(&c, CTL_F32, 2, true, false);
    hf_write(&c, in_folder("copies"), 1);
    const ctl_tensor_spec twice[] = {{"model.embed_tokens.weight", CTL_F32, 2, {24, 16}},
                                     {"lm_head.weight", CTL_F32, 2, {24, 16}}};
    const ctl_place place = {{0}, &ctl_malloc_allocator};
    char second[200];
    snprintf(second, sizeof second, "%s/embedding", folder);
    assert_int_equal(ctl_tensors_save(second, twice, 2, NULL, 0, give_same, NULL, place), CTL_OK);
    open_spec("import llama, tuning\n" HF_LLAMA_MODEL ", tied = true)" TUNE);
    const char *paths[] = {in_folder("copies"), second};
    assert_int_equal(ctl_session_load_weights(session, paths, 2, NULL), CTL_OK);
    assert_string_equal(said.all, "");
    close_spec();
}

/* ---- names ---- */
#define ENCODER                                                                                              \
    "net m(ids: id, labels: id; dim = 4) -> y, loss {\n"                                                     \
    " e <- roberta.embeddings.word_embeddings: embedding(ids; n = 9, dim)\n"                                 \
    " h <- roberta.embeddings.LayerNorm: layernorm(e)\n"                                                     \
    " y <- classifier: linear(h; n = 3, biased = true)\n"                                                    \
    " loss <- cross_entropy(y, labels)\n}\n"                                                                 \
    "control head() on m {\n train classifier.**\n}\n"                                                       \
    "model base = m(; dim = 4)\ntune base with head() {\n tokens 1 x 4\n}\n"

static const char *older(const char *name) {
    if (strcmp(name, "roberta.embeddings.LayerNorm.weight") == 0) return "roberta.embeddings.LayerNorm.gamma";
    if (strcmp(name, "roberta.embeddings.LayerNorm.bias") == 0) return "roberta.embeddings.LayerNorm.beta";
    return name;
}
static const char *bare(const char *name) {
    return strncmp(name, "roberta.", 8) == 0 ? older(name) + 8 : name;
}

static void encoder(hf_checkpoint *c, const char *prefix, const char *weight, const char *bias) {
    *c = (hf_checkpoint){.dtype = CTL_F32};
    hf_add(c, 9, 4, "%sembeddings.word_embeddings.weight", prefix);
    hf_add(c, 0, 4, "%sembeddings.LayerNorm.%s", prefix, weight);
    hf_add(c, 0, 4, "%sembeddings.LayerNorm.%s", prefix, bias);
    hf_add(c, 3, 4, "classifier.weight");
    hf_add(c, 0, 3, "classifier.bias");
}

static void older_names(void **state) {
    (void)state;
    hf_checkpoint c;
    encoder(&c, "roberta.", "gamma", "beta");
    hf_write(&c, in_folder("older"), 1);
    open_spec(ENCODER);
    assert_int_equal(load(in_folder("older")), CTL_OK);
    assert_string_equal(said.all, "");
    check_values(&c, older);
    close_spec();
}

static void without_the_heads_prefix(void **state) {
    (void)state;
    hf_checkpoint c;
    encoder(&c, "", "gamma", "beta");
    hf_write(&c, in_folder("bare"), 1);
    open_spec(ENCODER);
    assert_int_equal(load(in_folder("bare")), CTL_OK);
    assert_string_equal(said.all, "");
    check_values(&c, bare);
    /* a base model has no classifier, which is trained: it is initialised, and said */
    c.n -= 2;
    hf_write(&c, in_folder("bare"), 1);
    close_spec();
    open_spec(ENCODER);
    assert_int_equal(load(in_folder("bare")), CTL_OK);
    assert_string_equal(said.all, "E0704 no file has the parameter 'classifier.weight'; it is initialised, unless an adapter has it\n"
                                  "E0704 no file has the parameter 'classifier.bias'; it is initialised, unless an adapter has it\n");
    close_spec();
}

static const char *inside_a_head(const char *name) {
    static char longer[100];
    snprintf(longer, sizeof longer, "transformer.%s", name);
    return longer;
}
static void with_another_heads_prefix(void **state) {
    (void)state;
    hf_checkpoint c = {.dtype = CTL_BF16};
    hf_add(&c, 9, 4, "transformer.wte.weight");
    hf_add(&c, 9, 4, "transformer.h.0.w.weight");
    hf_add(&c, 1, 9, "transformer.h.0.attn.bias");
    hf_write(&c, in_folder("inside"), 1);
    open_spec("net m(ids: id, labels: id; dim = 4) -> y, loss {\n e <- wte: embedding(ids; n = 9, dim)\n"
              " y <- h[0].w: linear(e; n = 9)\n loss <- cross_entropy(y, labels)\n}\n"
              "control all() on m {\n train **\n}\nmodel base = m(; dim = 4)\ntune base with all() {\n "
              "tokens 1 x 4\n}\n");
    assert_int_equal(load(in_folder("inside")), CTL_OK);
    assert_string_equal(said.all, "");
    check_values(&c, inside_a_head);
    close_spec();
}

/* A table of positions is kept as a batch of one, a convolution's kernel in four dimensions. */
static void other_dimensions(void **state) {
    (void)state;
    const ctl_tensor_spec specs[] = {{.name = "p.weight", .dtype = CTL_F32, .ndims = 3, .dims = {1, 9, 4}},
                                     {.name = "q.weight", .dtype = CTL_F32, .ndims = 4, .dims = {9, 1, 2, 2}},
                                     {.name = "c", .dtype = CTL_F32, .ndims = 3, .dims = {1, 1, 4}}};
    const ctl_place place = {{0}, &ctl_malloc_allocator};
    assert_int_equal(ctl_tensors_save(in_folder("dimensions"), specs, 3, NULL, 0, give_same, NULL, place),
                     CTL_OK);
    open_spec("net m(ids: id, labels: id; dim = 4) -> y, loss {\n weight c : [dim]\n e <- p: embedding(ids; "
              "n = 9, dim)\n e <- c\n"
              " y <- q: linear(e; n = 9)\n loss <- cross_entropy(y, labels)\n}\n"
              "control all() on m {\n train **\n}\nmodel base = m(; dim = 4)\ntune base with all() {\n "
              "tokens 1 x 4\n}\n");
    assert_int_equal(load(in_folder("dimensions")), CTL_OK);
    assert_string_equal(said.all, "");
    for (size_t p = 0; p < 3; p++) {
        double values[36];
        ctl_tensor_info info = ctl_program_param_at(program, p);
        assert_int_equal(ctl_session_param_read(session, p, CTL_F64, values), CTL_OK);
        for (int64_t i = 0; i < info.rows * info.cols; i++)
            assert_true(values[i] == hf_value("same", (size_t)i));
    }
    close_spec();
}

/* ---- what does not fit ---- */
static void says_what_is_wrong(void **state) {
    (void)state;
    hf_checkpoint c;
    char want[700], path[300];
    open_spec("import llama, tuning\n" HF_LLAMA_MODEL ")" TUNE);
    /* misshapen: a config of another model */
    hf_llama(&c, CTL_F32, 2, false, false);
    c.at[2].rows = 9; /* layer 0, k_proj */
    hf_write(&c, in_folder("shape"), 1);
    assert_int_equal(load(in_folder("shape")), CTL_ERR_INPUT);
    snprintf(
        want, sizeof want,
        "E0705 '%s/shape/model.safetensors': tensor 'model.layers.0.self_attn.k_proj.weight' is [9, 16]; "
        "the parameter is [8, 16] | compare the model's sizes with its config.json\n",
        folder);
    assert_string_equal(said.all, want);
    /* missing, and too much */
    hf_llama(&c, CTL_F32, 3, false, false);
    strcpy(c.at[2].name, "model.layers.0.self_attn.kk_proj.weight");
    hf_write(&c, in_folder("name"), 1);
    assert_int_equal(load(in_folder("name")), CTL_ERR_INPUT);
    snprintf(want, sizeof want,
             "E0704 no file has the parameter 'model.layers.0.self_attn.k_proj.weight' | "
             "'%s/name/model.safetensors' has "
             "'model.layers.0.self_attn.kk_proj.weight'\n"
             "E0706 10 tensors of '%s/name/model.safetensors' belong to no parameter: "
             "'model.layers.0.self_attn.kk_proj.weight', "
             "'model.layers.2.input_layernorm.weight', 'model.layers.2.mlp.down_proj.weight', ...\n",
             folder, folder);
    assert_string_equal(said.all, want);
    /* truncated: the tensor whose bytes are cut off is named */
    hf_llama(&c, CTL_F32, 2, false, false);
    hf_write(&c, in_folder("cut"), 1);
    snprintf(path, sizeof path, "%s/cut/model.safetensors", folder);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size - 5), 0);
    assert_int_equal(load(in_folder("cut")), CTL_ERR_INPUT);
    assert_non_null(strstr(said.all, "E0703 '"));
    assert_non_null(strstr(said.all, "tensor 'model.norm.weight': its data_offsets"));
    assert_non_null(strstr(
        said.all, " | the file is damaged or was not written as safetensors: fetch or save it again\n"));
    /* a shard that is not there */
    hf_write(&c, in_folder("lost"), 3);
    snprintf(path, sizeof path, "%s/lost/model-00002-of-00003.safetensors", folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(load(in_folder("lost")), CTL_ERR_IO);
    snprintf(want, sizeof want,
             "E0701 '%s/lost/model.safetensors.index.json' says that '%s' is in "
             "'model-00002-of-00003.safetensors', which is not there | fetch all files of the checkpoint\n",
             folder, c.at[c.n / 3].name);
    assert_string_equal(said.all, want);
    /* what git leaves without its large files */
    mkdir(in_folder("pointer"), 0777);
    hf_text(in_folder("pointer"), "model.safetensors",
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
    assert_int_equal(load(in_folder("pointer")), CTL_ERR_INPUT);
    snprintf(want, sizeof want,
             "E0702 '%s/pointer/model.safetensors' is a Git LFS pointer, not the file that it stands for | "
             "fetch the data itself: `git lfs pull`, or download the file\n",
             folder);
    assert_string_equal(said.all, want);
    /* another format */
    mkdir(in_folder("bin"), 0777);
    hf_text(in_folder("bin"), "pytorch_model.bin", "PK");
    assert_int_equal(load(in_folder("bin")), CTL_ERR_INPUT);
    snprintf(want, sizeof want,
             "E0701 the directory '%s/bin' has neither model.safetensors nor model.safetensors.index.json | "
             "name the directory that has them, or a .safetensors file; other formats (pytorch_model.bin) "
             "must be converted\n",
             folder);
    assert_string_equal(said.all, want);
    close_spec();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_and_types),         cmocka_unit_test(what_no_model_learns),
        cmocka_unit_test(copies_of_the_embedding),  cmocka_unit_test(older_names),
        cmocka_unit_test(without_the_heads_prefix), cmocka_unit_test(with_another_heads_prefix),
        cmocka_unit_test(other_dimensions),         cmocka_unit_test(says_what_is_wrong),
    };
    return cmocka_run_group_tests_name("hf_weights", tests, make_folder, remove_folder);
}
