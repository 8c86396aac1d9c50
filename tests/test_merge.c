/* Merging: the merged checkpoint's logits are those of the checkpoint and the adapter, for every control that
 * lands in a weight; the others are refused with the reason; files keep their names, types, shards and what
 * is none of ours. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "command.h"
#include "ctl/ctlc.h"
#include "hf_files.h"
#include "runtime/merge.h"
#include "runtime/program.h"

enum { TOKENS = 12, VOCAB = 24 };

typedef struct heard {
    char all[8192];
} heard;
static heard said;
static void hear(void *ctx, const ctl_diagnostic *d) {
    heard *h = ctx;
    size_t n = strlen(h->all);
    snprintf(h->all + n, sizeof h->all - n, "%s %s%s%s\n", d->code, d->message, d->hint ? " | " : "",
             d->hint ? d->hint : "");
}

static char path_text[3][200];
static const char *in_folder(int slot, const char *name) {
    snprintf(path_text[slot], sizeof path_text[slot], "%s/%s", folder, name);
    return path_text[slot];
}

static ctl_program *compile(const char *model, const char *controls, const char *with) {
    char text[4000];
    snprintf(text, sizeof text,
             "import llama, tuning, control\n" HF_LLAMA_MODEL "%s)\n%s\ntune m%s%s {\n tokens 2 x 6\n}\n",
             model, controls, *with ? " with " : "", with);
    said = (heard){0};
    const char *const outputs[] = {"logits"};
    ctlc_options options = {.engine = CTLC_REFERENCE,
                            .compute = CTL_F32,
                            .diagnostic = hear,
                            .diagnostic_ctx = &said,
                            .outputs = outputs,
                            .noutputs = 1};
    ctl_program *program = NULL;
    ctl_status status = ctlc_compile_text("spec.ctl", text, strlen(text), &options, &program);
    assert_string_equal(said.all, "");
    assert_int_equal(status, CTL_OK);
    return program;
}

static void logits_of(ctl_session *s, double *out) {
    int32_t ids[TOKENS], labels[TOKENS], position[TOKENS], length[TOKENS];
    for (int i = 0; i < TOKENS; i++)
        ids[i] = (i * 7 + 3) % VOCAB, labels[i] = (i * 5) % VOCAB, position[i] = i % 6, length[i] = 6;
    const struct {
        const char *name;
        const int32_t *data;
    } inputs[] = {{"ids", ids}, {"labels", labels}, {"position", position}, {"length", length}};
    for (size_t k = 0; k < CTL_COUNT(inputs); k++)
        if (ctl_session_has_input(s, inputs[k].name, NULL, NULL))
            assert_int_equal(ctl_session_input(s, inputs[k].name, CTL_I32, inputs[k].data, TOKENS), CTL_OK);
    assert_int_equal(ctl_session_evaluate(s), CTL_OK);
    assert_int_equal(ctl_session_output(s, "logits", true, out, TOKENS * VOCAB), CTL_OK);
}

/* What the controls made gets numbers that leave nothing as it was; the adapter is saved. */
static void make_adapter(ctl_program *p, const char *weights, const char *adapter, double *logits) {
    ctl_session *s;
    ctl_session_options so = {.diagnostic = hear, .diagnostic_ctx = &said};
    assert_int_equal(ctl_session_open(p, &so, &s), CTL_OK);
    assert_int_equal(ctl_session_load_weights(s, &weights, 1, NULL), CTL_OK);
    for (size_t k = 0; k < ctl_program_param_count(p); k++) {
        ctl_tensor_info info = ctl_program_param_at(p, k);
        double values[512];
        if (!info.made_by_control && !info.trained) continue;
        bool positive = strstr(info.name, "magnitude") || strstr(info.name, "ia3");
        for (int64_t i = 0; i < info.rows * info.cols; i++)
            values[i] = hf_value(info.name, (size_t)i + 1000) + (positive ? 1.25 : 0);
        assert_true(info.rows * info.cols <= 512);
        assert_int_equal(ctl_session_param_write(s, k, CTL_F64, values), CTL_OK);
    }
    assert_int_equal(ctl_session_load(s), CTL_OK);
    logits_of(s, logits);
    assert_int_equal(ctl_session_save_adapter(s, adapter), CTL_OK);
    ctl_session_close(s);
}

static void plain_logits(const char *model, const char *weights, double *logits) {
    ctl_program *p = compile(model, "", "");
    ctl_session *s;
    assert_int_equal(ctl_session_open(p, NULL, &s), CTL_OK);
    assert_int_equal(ctl_session_load_weights(s, &weights, 1, NULL), CTL_OK);
    assert_int_equal(ctl_session_load(s), CTL_OK);
    logits_of(s, logits);
    ctl_session_close(s);
    ctl_program_free(p);
}

static double distance(const double *a, const double *b) {
    double most = 0, size = 0;
    for (int i = 0; i < TOKENS * VOCAB; i++)
        most = fmax(most, fabs(a[i] - b[i])), size = fmax(size, fabs(b[i]));
    return most / size;
}

#define ON_BLOCK(text) "control c() on llama.block {\n " text "\n}\n"

/* ctx: how often it was told, the share that was told last, of how many. A share grows by one. */
static void hear_share(void *ctx, size_t tensors, size_t of) {
    size_t *told = ctx;
    assert_true(tensors == told[0] && tensors <= of);
    told[0]++, told[1] = tensors, told[2] = of;
}

/* Tensors whose bytes differ between two checkpoints of the same names. */
static size_t count_differing(const char *a, const char *b) {
    const ctl_place here = {{hear, &said}, &ctl_malloc_allocator};
    ctl_tensors *x, *y;
    size_t n = 0;
    assert_int_equal(ctl_tensors_open(a, "model.safetensors", here, &x), CTL_OK);
    assert_int_equal(ctl_tensors_open(b, "model.safetensors", here, &y), CTL_OK);
    for (size_t i = 0; i < ctl_tensors_count(x); i++) {
        const ctl_tensor *t = ctl_tensors_at(x, i), *u = ctl_tensors_find(y, t->name);
        n += !u || t->bytes != u->bytes || memcmp(t->data, u->data, t->bytes) != 0;
    }
    ctl_tensors_close(x), ctl_tensors_close(y);
    return n;
}

static void equals_base_and_adapter(void **state) {
    (void)state;
    static const struct {
        const char *model, *controls, *with;
        size_t changed;
    } cases[] = {
        {"", "", "tuning.lora_qkv(rank = 2, alpha = 6, p = 0.05)", 6},
        {"", "", "tuning.rslora(rank = 3, alpha = 6)", 4},
        {"", "", "tuning.dora_qkvud(rank = 2, alpha = 3, p = 0.0)", 10},
        {"", "", "tuning.dora_qkvud(rank = 2, alpha = 3, p = 0.25)", 10},
        {"", "", "tuning.lora_fa(rank = 2, alpha = 2)", 4},
        {"", "", "tuning.vera(rank = 3)", 4},
        {"", "", "tuning.ia3()", 6},
        {", biased = true", "", "tuning.lora_qkv(rank = 2, alpha = 6, p = 0.0)", 6}, /* biases stay as they were */
        /* behind the bias: it is scaled too */
        {", biased = true", "", "tuning.ia3()", 10},
        {", biased = true", ON_BLOCK("self_attn.q_proj.y <- more: control.offset(; width = 16)"), "c()", 2},
        {"",
         ON_BLOCK("self_attn.q_proj.y <- control.lowrank(self_attn.x; rank = 2, scale = 2.0, width = 16)"),
         "c()", 2},
        {"",
         ON_BLOCK("self_attn.q_proj.weight ~ control.lora(; rank = 2, alpha = 2)\n self_attn.q_proj.weight ~ "
                  "again: control.dora(; rank = 3, alpha = 3)\n"
                  " self_attn.q_proj.y => control.ia3()"),
         "c()", 2},
        /* heads and whole models that were trained along */
        {"", "control head() on llama.causal_lm {\n train lm_head.**\n}\n",
         "tuning.lora_qkv(rank = 2), head()", 7},
    };
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        hf_checkpoint c;
        double want[TOKENS * VOCAB], got[TOKENS * VOCAB], base[TOKENS * VOCAB];
        hf_llama(&c, CTL_F32, 2, false, strstr(cases[k].model, "biased") != NULL);
        hf_write(&c, in_folder(0, "base"), 1);
        ctl_program *p = compile(cases[k].model, cases[k].controls, cases[k].with);
        make_adapter(p, in_folder(0, "base"), in_folder(1, "adapter"), want);
        ctl_merge_report report;
        size_t told[3] = {0};
        const ctl_merge_watch watch = {hear_share, told};
        ctl_status status =
            ctl_merge(p, in_folder(0, "base"), in_folder(1, "adapter"), in_folder(2, "merged"),
                      (ctl_place){{hear, &said}, &ctl_malloc_allocator}, &watch, &report);
        if (status != CTL_OK) fail_msg("case %d: %s", (int)k, said.all);
        assert_string_equal(said.all, "");
        if (report.changed != cases[k].changed) fail_msg("case %d: %zu changed", (int)k, report.changed);
        assert_int_equal(report.changed + report.copied, c.n);
        assert_int_equal(count_differing(in_folder(0, "base"), in_folder(2, "merged")), report.changed);
        assert_true(told[0] == c.n + 1 && told[1] == c.n && told[2] == c.n);
        plain_logits(cases[k].model, in_folder(0, "base"), base);
        plain_logits(cases[k].model, in_folder(2, "merged"), got);
        if (!(distance(got, want) < 3e-6))
            fail_msg("case %d: merged is %g away", (int)k, distance(got, want));
        if (!(distance(base, want) > 1e-3)) fail_msg("case %d: the adapter changes nothing", (int)k);
        ctl_program_free(p);
    }
}

static void refuses_what_no_weights_do(void **state) {
    (void)state;
    static const struct {
        const char *model, *controls, *with, *says;
    } cases[] = {
        {"", "", "tuning.ud(rank = 2)",
         "E0713 no weight can take the control's place: its edge into `model.layers.0.y` stands beside more than one "
         "product with a weight | keep the model and the adapter apart: `--weights` and `--adapter` take both\n"},
        {"", "", "tuning.houlsby(rank = 2)",
         "E0713 no weight can take the control's place: it stands in series behind "
         "`model.layers.0.self_attn.y`: it uses `erf`, which is not linear | "},
        {"", "", "tuning.lora_qkv(rank = 2), tuning.double(rank = 2)", "its edge into `model.layers.0.h`"},
        {"", "", "tuning.biases()",
         "E0713 `model.layers.0.self_attn.q_proj.y` would need a bias, which the model does not have | "},
        {", tied = true",
         "control c() on llama.causal_lm {\n model.embed_tokens.weight ~ control.lora(; rank = 2, alpha = "
         "2)\n}\n",
         "c()",
         "E0713 'model.embed_tokens.weight' is read in another place too, which a merged control would "
         "change as well | "},
    };
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        hf_checkpoint c;
        double logits[TOKENS * VOCAB];
        hf_llama(&c, CTL_F32, 2, strstr(cases[k].model, "tied") != NULL, false);
        hf_write(&c, in_folder(0, "base"), 1);
        ctl_program *p = compile(cases[k].model, cases[k].controls, cases[k].with);
        make_adapter(p, in_folder(0, "base"), in_folder(1, "adapter"), logits);
        char command[300];
        snprintf(command, sizeof command, "rm -rf '%s'", in_folder(2, "merged"));
        assert_int_equal(system(command), 0);
        assert_int_equal(ctl_merge(p, in_folder(0, "base"), in_folder(1, "adapter"), in_folder(2, "merged"),
                                   (ctl_place){{hear, &said}, &ctl_malloc_allocator}, NULL, NULL),
                         CTL_ERR_INPUT);
        if (!strstr(said.all, cases[k].says)) fail_msg("\"%s\" is not in:\n%s", cases[k].says, said.all);
        struct stat info;
        assert_int_not_equal(stat(in_folder(2, "merged"), &info), 0); /* nothing was written */
        ctl_program_free(p);
    }
}

/* bf16 in three shards, with a tensor of a type that is none of ours. */
static void keeps_the_files_form(void **state) {
    (void)state;
    hf_checkpoint c;
    double want[TOKENS * VOCAB], got[TOKENS * VOCAB];
    hf_llama(&c, CTL_BF16, 2, false, false);
    hf_add(&c, 1, 9, "model.position_ids");
    hf_write(&c, in_folder(0, "sharded"), 3);
    hf_text(in_folder(0, "sharded"), "config.json", "{\"model_type\": \"llama\"}");
    hf_text(in_folder(0, "sharded"), "tokenizer.json", "{}");
    ctl_program *p = compile("", "", "tuning.lora_qkv(rank = 2, alpha = 6)");
    make_adapter(p, in_folder(0, "sharded"), in_folder(1, "adapter"), want);
    const ctl_place here = {{hear, &said}, &ctl_malloc_allocator};
    assert_int_equal(
        ctl_merge(p, in_folder(0, "sharded"), in_folder(1, "adapter"), in_folder(2, "out"), here, NULL, NULL),
        CTL_OK);
    assert_string_equal(text_of("out/config.json"), "{\"model_type\": \"llama\"}");
    assert_string_equal(text_of("out/tokenizer.json"), "{}");
    ctl_tensors *before, *after;
    assert_int_equal(ctl_tensors_open(in_folder(0, "sharded"), "model.safetensors", here, &before), CTL_OK);
    assert_int_equal(ctl_tensors_open(in_folder(2, "out"), "model.safetensors", here, &after), CTL_OK);
    assert_int_equal(ctl_tensors_count(before), ctl_tensors_count(after));
    size_t changed = 0;
    for (size_t i = 0; i < ctl_tensors_count(before); i++) {
        const ctl_tensor *x = ctl_tensors_at(before, i), *y = ctl_tensors_at(after, i);
        assert_string_equal(x->name, y->name);
        assert_string_equal(x->dtype_name, y->dtype_name);
        assert_string_equal(strrchr(x->file, '/'), strrchr(y->file, '/'));
        assert_int_equal(x->ndims, y->ndims);
        assert_memory_equal(x->dims, y->dims, sizeof x->dims);
        changed += memcmp(x->data, y->data, x->bytes) != 0;
    }
    assert_int_equal(changed, 6);
    ctl_tensors_close(before), ctl_tensors_close(after);
    plain_logits("", in_folder(2, "out"), got);
    assert_true(distance(got, want) < 2e-2 && distance(got, want) > 0); /* rounded to bf16 */
    /* not over the checkpoint itself */
    said = (heard){0};
    assert_int_equal(
        ctl_merge(p, in_folder(0, "sharded"), in_folder(1, "adapter"), in_folder(2, "sharded"), here, NULL, NULL),
        CTL_ERR_INPUT);
    assert_non_null(strstr(said.all, "/sharded' is the checkpoint itself | name another folder"));
    /* a checkpoint that is not whole */
    c.n -= 2;
    hf_write(&c, in_folder(0, "less"), 1);
    said = (heard){0};
    assert_int_equal(
        ctl_merge(p, in_folder(0, "less"), in_folder(1, "adapter"), in_folder(2, "never"), here, NULL, NULL),
        CTL_ERR_INPUT);
    assert_non_null(strstr(said.all, "E0704 no file has the parameter 'lm_head.weight'"));
    ctl_program_free(p);
}

/* A head that the checkpoint does not have comes along. */
static void adds_trained_heads(void **state) {
    (void)state;
    hf_checkpoint c;
    double want[TOKENS * VOCAB], got[TOKENS * VOCAB];
    hf_llama(&c, CTL_F32, 2, true, false);
    hf_write(&c, in_folder(0, "headless"), 1);
    ctl_program *p = compile("", "control head() on llama.causal_lm {\n train lm_head.**\n}\n",
                             "tuning.lora_qkv(rank = 2), head()");
    make_adapter(p, in_folder(0, "headless"), in_folder(1, "adapter"), want);
    said = (heard){0};
    ctl_merge_report report;
    assert_int_equal(ctl_merge(p, in_folder(0, "headless"), in_folder(1, "adapter"), in_folder(2, "headed"),
                               (ctl_place){{hear, &said}, &ctl_malloc_allocator}, NULL, &report),
                     CTL_OK);
    assert_true(report.added == 1 && report.changed == 6);
    plain_logits("", in_folder(2, "headed"), got);
    assert_true(distance(got, want) < 3e-6);
    ctl_program_free(p);
}

/* ---- damaged adapters ---- */
/* What stands at the end of a file becomes this; shorter: so many bytes are cut off. */
static void damage(const char *path, size_t shorter, const void *bytes, size_t n) {
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -(long)n, SEEK_END), 0);
    assert_true(n == 0 || fwrite(bytes, n, 1, f) == 1);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    const long end = ftell(f);
    assert_int_equal(fclose(f), 0);
    if (shorter) assert_int_equal(truncate(path, end - (long)shorter), 0);
}

/* An adapter that is cut short, of another rank, of fewer or more modules, not finite, or whose configuration is cut is refused with the
 * file, the tensor and the remedy, and nothing is written; whole it is merged. */
static void refuses_damaged_adapters(void **state) {
    (void)state;
    static const float nan = NAN, infinite = INFINITY;
    static const struct {
        const char *adapter; /* of which it is; the program has lora_qkv of rank 2 */
        const char *file;
        size_t shorter;
        const void *bytes;
        const char *says[2];
    } cases[] = {
        {"tuning.lora_qkv(rank = 2)", "adapter_model.safetensors", 0, NULL, {""}},
        {"tuning.lora_qkv(rank = 2)", "adapter_model.safetensors", 4, NULL,
         {"E0703 '", "tensor 'model.layers.1.self_attn.v_proj.lora_B.weight': its data_offsets 1216 to 1280 do not lie in the data of 1276 bytes"}},
        {"tuning.lora_qkv(rank = 2)", "adapter_model.safetensors", 100000, NULL,
         {"E0702 '", "/damaged/adapter_model.safetensors' is too short to have a header | the file is damaged"}},
        {"tuning.lora_qkv(rank = 2)", "adapter_model.safetensors", 0, &nan,
         {"E0705 '", "lora_B.weight' is not finite | its training has diverged, or the file is damaged: take an earlier one\n"}},
        {"tuning.lora_qkv(rank = 2)", "adapter_model.safetensors", 0, &infinite,
         {"/damaged/adapter_model.safetensors': element 15 of tensor 'model.layers.1.self_attn.v_proj.lora_B.weight' is not finite",
          "E0705 '"}},
        {"tuning.lora_qkv(rank = 3)", "", 0, NULL,
         {"tensor 'model.layers.0.self_attn.q_proj.lora_A.weight' is [3, 16]; the parameter is [2, 16] | give the control the sizes that "
          "the adapter was trained with, as by --set CONTROL.rank=8\n",
          "E0705 '"}},
        {"tuning.rslora(rank = 2)", "", 0, NULL, {"E0704 no file has the parameter 'model.layers.0.self_attn.k_proj.lora_A.weight'"}},
        {"tuning.lora_qkvud(rank = 2)", "", 0, NULL, {"E0706 8 tensors of '", "belong to no parameter"}},
        {"tuning.lora_qkv(rank = 2)", "adapter_config.json", 20, NULL, {"E0709 '", "/damaged/adapter_config.json' is not JSON: "}},
    };
    hf_checkpoint c;
    double logits[TOKENS * VOCAB];
    hf_llama(&c, CTL_F32, 2, false, false);
    hf_write(&c, in_folder(0, "base"), 1);
    ctl_program *p = compile("", "", "tuning.lora_qkv(rank = 2)");
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        char command[500], path[300];
        ctl_program *made = compile("", "", cases[k].adapter);
        snprintf(command, sizeof command, "rm -rf '%s' '%s'", in_folder(1, "damaged"), in_folder(2, "merged"));
        assert_int_equal(system(command), 0);
        make_adapter(made, in_folder(0, "base"), in_folder(1, "damaged"), logits);
        ctl_program_free(made);
        snprintf(path, sizeof path, "%s/%s", in_folder(1, "damaged"), cases[k].file);
        struct stat info;
        if (cases[k].file[0]) assert_int_equal(stat(path, &info), 0);
        const size_t most = cases[k].file[0] ? (size_t)info.st_size : 0, cut = cases[k].shorter < most ? cases[k].shorter : most;
        if (cases[k].file[0]) damage(path, cut, cases[k].bytes, cases[k].bytes ? sizeof nan : 0);
        said = (heard){0};
        const ctl_status status = ctl_merge(p, in_folder(0, "base"), in_folder(1, "damaged"), in_folder(2, "merged"),
                                            (ctl_place){{hear, &said}, &ctl_malloc_allocator}, NULL, NULL);
        for (int w = 0; w < 2; w++)
            if (cases[k].says[w] && !strstr(said.all, cases[k].says[w])) fail_msg("case %zu: \"%s\" is not in:\n%s", k, cases[k].says[w], said.all);
        if (k == 0) {
            assert_int_equal(status, CTL_OK);
            assert_string_equal(said.all, "");
            continue;
        }
        if (status != CTL_ERR_INPUT && status != CTL_ERR_IO) fail_msg("case %zu: %d", k, (int)status);
        assert_int_not_equal(stat(in_folder(2, "merged"), &info), 0); /* nothing was written */
    }
    ctl_program_free(p);
}

/* A sum that the checkpoint's type has no room for is not written as infinity; in a wider type it is merged. It is of the
 * second file, and the first leaves nothing. */
static void refuses_what_is_not_finite(void **state) {
    (void)state;
    hf_checkpoint c;
    double logits[TOKENS * VOCAB];
    ctl_program *p = compile("",
                             "control c() on llama.causal_lm {\n model.layers[1].mlp.up_proj.weight ~ control.lora(; rank = 2, alpha "
                             "= 1e8)\n}\n",
                             "c()");
    for (int k = 0; k < 2; k++) {
        struct stat info;
        hf_llama(&c, k ? CTL_F32 : CTL_F16, 2, false, false);
        hf_write(&c, in_folder(0, "narrow"), 2);
        make_adapter(p, in_folder(0, "narrow"), in_folder(1, "adapter"), logits);
        said = (heard){0};
        const ctl_status status = ctl_merge(p, in_folder(0, "narrow"), in_folder(1, "adapter"), in_folder(2, "wide"),
                                            (ctl_place){{hear, &said}, &ctl_malloc_allocator}, NULL, NULL);
        assert_int_equal(status, k ? CTL_OK : CTL_ERR_INPUT);
        if (k == 0) {
            const char *want = "E0713 'model.layers.1.mlp.up_proj.weight' would not be finite in f16 | keep the model";
            if (!strstr(said.all, want)) fail_msg("\"%s\" is not in:\n%s", want, said.all);
            assert_int_not_equal(stat(in_folder(2, "wide"), &info), 0);
        } else {
            assert_int_equal(stat(in_folder(2, "wide/model.safetensors.index.json"), &info), 0);
            DIR *wide = opendir(in_folder(2, "wide"));
            assert_non_null(wide);
            int files = 0;
            while (readdir(wide)) files++;
            closedir(wide);
            assert_int_equal(files, 2 + 3); /* itself, the one above; two shards and their index */
        }
    }
    ctl_program_free(p);
}

/* ---- without memory ---- */
typedef struct failing {
    long calls, fail_at; /* of the calls that allocate */
    size_t live;
} failing;
static void *failing_resize(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    failing *f = ctx;
    if (new_size == 0) {
        f->live -= ptr ? old_size : 0;
        free(ptr);
        return NULL;
    }
    if (++f->calls >= f->fail_at) return NULL;
    void *p = realloc(ptr, new_size);
    if (p) f->live += new_size - (ptr ? old_size : 0);
    return p;
}

static void survives_no_memory(void **state) {
    (void)state;
    hf_checkpoint c;
    double logits[TOKENS * VOCAB];
    hf_llama(&c, CTL_F32, 2, false, false);
    hf_write(&c, in_folder(0, "short"), 2);
    ctl_program *p = compile("", "", "tuning.dora_qkvud(rank = 2, alpha = 3, p = 0.0)");
    make_adapter(p, in_folder(0, "short"), in_folder(1, "adapter"), logits);
    int failures = 0;
    for (long n = 1;; n += 1 + n / 16) {
        failing f = {.fail_at = n};
        const ctl_allocator allocator = {&f, failing_resize};
        said = (heard){0};
        ctl_status status = ctl_merge(p, in_folder(0, "short"), in_folder(1, "adapter"),
                                      in_folder(2, "merged"), (ctl_place){{hear, &said}, &allocator}, NULL, NULL);
        assert_int_equal(f.live, 0);
        if (status == CTL_OK) break;
        assert_int_equal(status, CTL_ERR_MEMORY);
        failures++;
    }
    assert_true(failures > 40);
    ctl_program_free(p);
}

static void command_line(void **state) {
    (void)state;
    hf_checkpoint c;
    hf_llama(&c, CTL_F32, 2, false, false);
    c.at[0].rows = c.at[c.n - 1].rows = 258; /* bytes */
    hf_write(&c, in_folder(0, "bytes"), 1);
    write_file("spec.ctl", "import llama, tuning\nmodel m = llama.causal_lm(; vocab = 258, dim = 16, depth = "
                           "2, heads = 4, kv_heads = 2, ffn = 20, "
                           "theta = 10000.0)\ntune m with tuning.lora_qkv(rank = 2) {\n tokens 1 x 16\n "
                           "adamw(; lr = 1e-2)\n}\n");
    write_file("text.txt", "what is said here is said again, and again, and once more.\n");
    assert_int_equal(
        ctlc("train spec.ctl --weights bytes --data text.txt --eval-fraction 0 --steps 3 --quiet --out run"),
        0);
    assert_int_equal(ctlc("merge spec.ctl --weights bytes --adapter run -o all"), 0);
    assert_string_equal(output, "all: 6 tensors changed, 0 added, 15 as they were\n");
    assert_int_equal(ctlc("merge spec.ctl --weights bytes --adapter run"), 2);
    says("ctlc merge: -o is missing");
    assert_int_equal(ctlc("export run --peft peft"), 0);
    assert_int_equal(ctlc("merge spec.ctl --set lora_qkv.alpha=64 --weights bytes --adapter peft -o other"),
                     0); /* PEFT's, too */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_base_and_adapter), cmocka_unit_test(refuses_what_no_weights_do),
        cmocka_unit_test(keeps_the_files_form),    cmocka_unit_test(adds_trained_heads),
        cmocka_unit_test(refuses_damaged_adapters), cmocka_unit_test(refuses_what_is_not_finite),
        cmocka_unit_test(survives_no_memory),      cmocka_unit_test(command_line),
    };
    return cmocka_run_group_tests_name("merge", tests, make_folder, remove_folder);
}
