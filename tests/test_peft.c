/* PEFT's adapters: a control is recognised from what it computes and from nothing else; what is written has
 * PEFT's names and configuration; what PEFT writes is read, and every difference from the spec is named with
 * its remedy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>

#include "command.h"
#include "ctl/ctlc.h"
#include "hf_files.h"
#include "runtime/form.h"
#include "runtime/program.h"

typedef struct heard {
    int errors;
    char all[8192];
} heard;
static void hear(void *ctx, const ctl_diagnostic *d) {
    heard *h = ctx;
    h->errors += d->severity == CTL_ERROR;
    size_t n = strlen(h->all);
    snprintf(h->all + n, sizeof h->all - n, "%s %s%s%s\n", d->code, d->message, d->hint ? " | " : "",
             d->hint ? d->hint : "");
}
static heard said;

static ctl_program *compile(const char *controls, const char *with) {
    char text[4000];
    snprintf(text, sizeof text,
             "import llama, tuning, control\n" HF_LLAMA_MODEL ")\n%s\ntune m with %s {\n tokens 1 x 4\n}\n",
             controls, with);
    said = (heard){0};
    ctlc_options options = {.engine = CTLC_REFERENCE, .diagnostic = hear, .diagnostic_ctx = &said};
    ctl_program *program = NULL;
    ctl_status status = ctlc_compile_text("spec.ctl", text, strlen(text), &options, &program);
    assert_string_equal(said.all, "");
    assert_int_equal(status, CTL_OK);
    return program;
}

/* ---- recognising ---- */
#define ON_Q(text) "control c() on llama.block {\n " text "\n}\n"

static const char *param(const ctl_program *p, uint32_t k) {
    return k == CTL_NO_PARAM ? "" : p->params[k].name;
}

static void recognises_what_is_computed(void **state) {
    (void)state;
    static const struct {
        const char *controls, *with;
        ctl_method method;
        int64_t rank;
        double scale, dropout;
        bool elsewhere;
    } cases[] = {
        {"", "tuning.lora_qkv(rank = 2, alpha = 6)", METHOD_LORA, 2, 3, 0.05, false},
        {"", "tuning.rslora(rank = 3, alpha = 6)", METHOD_LORA, 3, 3.4641016151377544, 0, false},
        {"", "tuning.dora_qkvud(rank = 2, alpha = 3, p = 0.0)", METHOD_DORA, 2, 1.5, 0, false},
        {"", "tuning.dora_qkvud(rank = 2, alpha = 3, p = 0.25)", METHOD_DORA, 2, 1.5, 0.25, false},
        {"", "tuning.dora_qkvud(rank = 4, alpha = 4, p = 0.0)", METHOD_DORA, 4, 1, 0, false},
        /* rank one, and as many as the model is wide: no factor can be told from the other by its shape */
        {"", "tuning.lora_qkv(rank = 1, alpha = 2, p = 0.0)", METHOD_LORA, 1, 2, 0, false},
        {"", "tuning.lora_qkv(rank = 16, alpha = 16, p = 0.0)", METHOD_LORA, 16, 1, 0, false},
        /* LoRA in other words: the scale elsewhere and in two parts, the factors the other way round */
        {"net mine(x, W; rank) -> y {\n weight first : [rank, cols(x)] init normal(1)\n weight second : "
         "[cols(W), rank]\n"
         " y <- 0.5 * ((x @ (3.0 * first).T) @ second.T) + x @ W\n}\n" ON_Q(
             "self_attn.q_proj.weight ~ mine(; rank = 2)"),
         "c()", METHOD_LORA, 2, 1.5, 0, false},
        /* an edge from what the product reads into what it gives is LoRA too; its dropout stands behind A */
        {ON_Q("self_attn.q_proj.y <- control.lowrank(self_attn.q_proj.x; rank = 2, scale = 2.0, width = 16, "
              "p = 0.5)"),
         "c()", METHOD_LORA, 2, 2, 0, true},
        {ON_Q("self_attn.q_proj.y <- control.lowrank(self_attn.x; rank = 2, scale = 2.0, width = 16)"), "c()",
         METHOD_LORA, 2, 2, 0, false},
    };
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        ctl_program *p = compile(cases[k].controls, cases[k].with);
        const ctl_adaptation *a = p->adaptation;
        assert_null(a->apart);
        assert_true(a->nforms >= 2);
        for (size_t f = 0; f < a->nforms; f++) {
            ctl_recognised r;
            assert_int_equal(ctl_form_recognise(p, &a->forms[f], &ctl_malloc_allocator, &r), CTL_OK);
            if (r.method != cases[k].method)
                fail_msg("case %d, %s: %s", (int)k, param(p, a->forms[f].weight),
                         r.why ? r.why : "another method");
            assert_int_equal(r.rank, cases[k].rank);
            assert_true(fabs(r.scale - cases[k].scale) < 1e-12);
            assert_true(r.dropout == cases[k].dropout);
            assert_int_equal(r.dropout_elsewhere, cases[k].elsewhere);
            assert_int_equal(p->params[r.a].rows, r.rank);
            assert_int_equal(p->params[r.b].cols, r.rank);
        }
        ctl_program_free(p);
    }
}

static void takes_no_name_for_it(void **state) {
    (void)state;
    static const struct {
        const char *controls, *why;
    } cases[] = {
        /* what LoRA's weights are called, and something else */
        {"net lora(x, W; rank) -> y {\n weight lora_A.weight : [rank, cols(x)] init normal(1)\n weight "
         "lora_B.weight : [cols(W), rank]\n"
         " y <- x @ W\n y <- (x @ lora_A.weight.T) @ (lora_B.weight * lora_B.weight).T\n}\n" ON_Q(
             "self_attn.q_proj.weight ~ lora(; rank = 2)"),
         "it computes neither x (W + s B A)' nor that with its rows scaled to a magnitude"},
        {"net lora(x, W; rank) -> y {\n weight lora_A.weight : [rank, cols(x)] init normal(1)\n weight "
         "lora_B.weight : [cols(W), rank]\n"
         " weight bias : [cols(W)] init 0\n y <- x @ W\n y <- (x @ lora_A.weight.T) @ lora_B.weight.T + "
         "bias\n}\n" ON_Q("self_attn.q_proj.weight ~ lora(; rank = 2)"),
         "it computes neither x (W + s B A)' nor that with its rows scaled to a magnitude"},
        {"net full(x, W) -> y {\n weight U : [cols(W), cols(x)]\n y <- x @ W + x @ U.T\n}\n" ON_Q(
             "self_attn.q_proj.weight ~ full()"),
         "it has neither the two factors of LoRA nor the one vector of (IA)^3"},
        {ON_Q("self_attn.q_proj.y => control.red()"), "it has a weight that LoRA and DoRA do not have"},
        /* one vector, and something else than (IA)^3 */
        {"net ia3(x) -> y {\n weight ia3_l : [cols(x)] init 1\n y <- x * (ia3_l * ia3_l)\n}\n" ON_Q(
             "self_attn.q_proj.y => ia3()"),
         "it computes neither (x W + b) l nor (x l) W + b with its vector l"},
        {ON_Q("self_attn.q_proj.y <- control.offset(; width = 16)"),
         "it computes neither (x W + b) l nor (x l) W + b with its vector l"},
    };
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        ctl_program *p = compile(cases[k].controls, "c()");
        ctl_recognised r;
        assert_null(p->adaptation->apart);
        assert_int_equal(ctl_form_recognise(p, &p->adaptation->forms[0], &ctl_malloc_allocator, &r), CTL_OK);
        assert_int_equal(r.method, METHOD_OTHER);
        assert_string_equal(r.why, cases[k].why);
        ctl_program_free(p);
    }
}

/* A vector is (IA)^3's on what a product gives or reads, whatever its name: where both are as wide, and where
 * the model has biases, which a vector on the result scales too. */
static void recognises_vectors(void **state) {
    (void)state;
    static const char mine[] = "net mine(x) -> y {\n weight v : [cols(x)] init 1\n y <- v * x\n}\n";
    static const struct {
        const char *model, *line;
        bool on_input;
    } cases[] = {
        {HF_LLAMA_MODEL ")", "self_attn.q_proj.y => mine()", false},
        {HF_LLAMA_MODEL ", biased = true)", "self_attn.q_proj.y => mine()", false},
        {HF_LLAMA_MODEL ", biased = true)", "self_attn.v_proj.y => mine()", false},
        {HF_LLAMA_MODEL ")", "mlp.down_proj.x => mine()", true},
        {HF_LLAMA_MODEL ", mlp_biased = true)", "mlp.down_proj.x => mine()", true},
    };
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        char text[2000];
        snprintf(
            text, sizeof text,
            "import llama\n%scontrol c() on llama.block {\n %s\n}\n%s\ntune m with c() {\n tokens 1 x 4\n}\n",
            mine, cases[k].line, cases[k].model);
        said = (heard){0};
        ctlc_options options = {.engine = CTLC_REFERENCE, .diagnostic = hear, .diagnostic_ctx = &said};
        ctl_program *p = NULL;
        ctlc_compile_text("spec.ctl", text, strlen(text), &options, &p);
        assert_string_equal(said.all, "");
        ctl_recognised r;
        assert_null(p->adaptation->apart);
        assert_int_equal(p->adaptation->nforms, 2);
        assert_int_equal(ctl_form_recognise(p, &p->adaptation->forms[1], &ctl_malloc_allocator, &r), CTL_OK);
        if (r.method != METHOD_IA3 || r.on_input != cases[k].on_input)
            fail_msg("case %d: %s", (int)k, r.why ? r.why : "the other side");
        assert_true(p->params[r.vector].made_by_control);
        ctl_program_free(p);
    }
}

/* What lies beside, behind or between more than one product is in no form. */
static void tells_what_stands_apart(void **state) {
    (void)state;
    static const struct {
        const char *controls, *with, *apart;
    } cases[] = {
        {"", "tuning.ud(rank = 2)",
         "its edge into `model.layers.0.y` stands beside more than one product with a weight"},
        {"", "tuning.double(rank = 2)",
         "its edge into `model.layers.0.h` stands beside more than one product with a weight"},
        {"", "tuning.houlsby(rank = 2)",
         "it stands in series behind `model.layers.0.self_attn.y`: it uses `erf`, which is not linear"},
        {"net bent(x, W; rank) -> y {\n weight A : [rank, cols(x)] init normal(1)\n weight B : [cols(W), "
         "rank]\n"
         " y <- x @ W\n y <- tanh(x @ A.T) @ B.T\n}\n" ON_Q("self_attn.q_proj.weight ~ bent(; rank = 2)"),
         "c()",
         "it stands in the place of the product with `model.layers.0.self_attn.q_proj.weight`: it is not "
         "linear in what it reads"},
    };
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        ctl_program *p = compile(cases[k].controls, cases[k].with);
        assert_non_null(p->adaptation->apart);
        assert_string_equal(p->adaptation->apart, cases[k].apart);
        ctl_program_free(p);
    }
}

static void names_the_edges(void **state) {
    (void)state;
    ctl_program *p = compile("", "tuning.ud(rank = 2), tuning.lora_qkv(rank = 2)");
    const ctl_adaptation *a = p->adaptation;
    assert_int_equal(a->nchanges, 2 * 4);
    bool edge = false, product = false;
    for (size_t k = 0; k < a->nchanges; k++) {
        const ctl_change *c = &a->changes[k];
        if (strcmp(c->to, "model.layers.1.y") == 0) {
            edge = true;
            assert_int_equal(c->kind, CHANGE_EDGE);
            assert_true(c->nfrom == 1 && strcmp(c->from[0], "model.layers.1.h") == 0);
            assert_true(c->nweights == 2 && strcmp(c->weights[0], "model.layers.1.lora_A.weight") == 0);
            assert_string_equal(c->text, "control.lowrank(h; rank)");
        } else if (strcmp(c->to, "model.layers.0.self_attn.k_proj.y") == 0) {
            product = true;
            assert_int_equal(c->kind, CHANGE_PRODUCT);
            assert_true(c->nfrom == 1 && strcmp(c->from[0], "model.layers.0.input_layernorm.y") == 0);
        }
    }
    assert_true(edge && product);
    ctl_program_free(p);
}

/* ---- out: `ctlc export` ---- */
#define SPEC(controls, with)                                                                                 \
    "import llama, tuning, control\n"                                                                        \
    "model m = llama.causal_lm(; vocab = 258, dim = 16, depth = 2, heads = 2, kv_heads = 1, ffn = 20, "      \
    "theta = 10000.0)\n" controls "tune a = m with " with " {\n tokens 2 x 16\n adamw(; lr = 1e-2)\n}\n"

/* On the reference executor: what is exchanged is the same, and nothing is to be compiled. */
static void run_spec(const char *spec, const char *more) {
    write_file("spec.ctl", spec);
    FILE *f;
    char path[200];
    snprintf(path, sizeof path, "%s/text.txt", folder);
    assert_non_null(f = fopen(path, "w"));
    for (int i = 0; i < 30; i++) fprintf(f, "line %d: what is said here is said again.\n", i);
    fclose(f);
    assert_int_equal(ctlc("train spec.ctl --engine reference --tune a --data text.txt --steps 4 "
                          "--eval-fraction 0 --quiet --out run %s",
                          more),
                     0);
}

static ctl_tensors *open_tensors(const char *name) {
    char path[200];
    ctl_tensors *set;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(
        ctl_tensors_open(path, "adapter_model.safetensors", (ctl_place){{0}, &ctl_malloc_allocator}, &set),
        CTL_OK);
    return set;
}

static double loss_of(const char *adapter, const char *more) {
    assert_int_equal(
        ctlc("eval spec.ctl --engine reference --tune a --data text.txt --adapter %s --json %s 2>/dev/null",
             adapter, more),
        0);
    json_error_t error;
    json_t *object = json_loads(output, 0, &error);
    assert_non_null(object);
    double loss = json_number_value(json_object_get(object, "loss"));
    json_decref(object);
    return loss;
}

static void clean(void) {
    char command[200];
    snprintf(command, sizeof command, "rm -rf '%s/run' '%s/peft'", folder, folder);
    assert_int_equal(system(command), 0);
}

static void writes_what_peft_loads(void **state) {
    (void)state;
    clean();
    run_spec(SPEC("", "tuning.lora_qkv(rank = 2, alpha = 8, p = 0.05)"), "");
    assert_int_equal(ctlc("export run --peft peft --base models/llama --task-type CAUSAL_LM"), 0);
    assert_string_equal(output, "peft: LoRA of rank 2 on 6 modules\n");
    assert_string_equal(
        text_of("peft/adapter_config.json"),
        "{\n  \"alpha_pattern\": {},\n  \"base_model_name_or_path\": \"models/llama\",\n  \"bias\": "
        "\"none\",\n"
        "  \"fan_in_fan_out\": false,\n  \"inference_mode\": true,\n  \"init_lora_weights\": true,\n"
        "  \"lora_alpha\": 8,\n  \"lora_dropout\": 0.05,\n  \"modules_to_save\": null,\n  \"peft_type\": "
        "\"LORA\",\n"
        "  \"r\": 2,\n  \"rank_pattern\": {},\n"
        "  \"target_modules\": [\n    \"q_proj\",\n    \"k_proj\",\n    \"v_proj\"\n  ],\n"
        "  \"task_type\": \"CAUSAL_LM\",\n  \"use_dora\": false,\n  \"use_rslora\": false\n}\n");
    ctl_tensors *ours = open_tensors("run"), *theirs = open_tensors("peft");
    assert_int_equal(ctl_tensors_count(theirs), 12);
    for (size_t i = 0; i < ctl_tensors_count(ours); i++) {
        char name[200];
        const ctl_tensor *t = ctl_tensors_at(ours, i);
        snprintf(name, sizeof name, "base_model.model.%s", t->name);
        const ctl_tensor *same = ctl_tensors_find(theirs, name);
        assert_non_null(same);
        assert_int_equal(same->bytes, t->bytes);
        assert_memory_equal(same->data, t->data, t->bytes);
    }
    ctl_tensors_close(ours), ctl_tensors_close(theirs);
    /* and back: the same numbers */
    double loss = loss_of("run", "");
    assert_true(loss == loss_of("peft", ""));
}

static void writes_dora_and_other_scales(void **state) {
    (void)state;
    clean();
    run_spec(SPEC("", "tuning.dora_qkvud(rank = 2, alpha = 3, p = 0.0)"), "");
    assert_int_equal(ctlc("export run --peft peft"), 0);
    assert_string_equal(output, "peft: DoRA of rank 2 on 10 modules\n");
    const char *config = text_of("peft/adapter_config.json");
    assert_non_null(strstr(config, "\"use_dora\": true"));
    assert_non_null(strstr(config, "\"lora_alpha\": 3,"));
    assert_non_null(strstr(config, "\"task_type\": null"));
    assert_non_null(strstr(config, "\"base_model_name_or_path\": \"m\""));
    ctl_tensors *set = open_tensors("peft");
    assert_int_equal(ctl_tensors_count(set), 30);
    const ctl_tensor *m =
        ctl_tensors_find(set, "base_model.model.model.layers.1.mlp.up_proj.lora_magnitude_vector");
    assert_non_null(m);
    assert_true(m->ndims == 1 && m->dims[0] == 20);
    ctl_tensors_close(set);
    assert_true(loss_of("run", "") == loss_of("peft", ""));

    clean(); /* alpha / sqrt(rank) */
    run_spec(SPEC("", "tuning.rslora(rank = 3, alpha = 6)"), "");
    assert_int_equal(ctlc("export run --peft peft"), 0);
    config = text_of("peft/adapter_config.json");
    assert_non_null(strstr(config, "\"lora_alpha\": 6,"));
    assert_non_null(strstr(config, "\"use_rslora\": true"));
    assert_true(loss_of("run", "") == loss_of("peft", ""));

    clean(); /* modules that differ; and not all of a name: then paths are written in full */
    run_spec(SPEC("control c() on llama.causal_lm {\n model.layers[0].self_attn.q_proj.weight ~ "
                  "control.lora(; rank = 2, alpha = 4)\n"
                  " model.layers[1].self_attn.v_proj.weight ~ control.lora(; rank = 3, alpha = 9)\n}\n",
                  "c()"),
             "");
    assert_int_equal(ctlc("export run --peft peft"), 0);
    config = text_of("peft/adapter_config.json");
    assert_non_null(strstr(config, "\"r\": 2,"));
    assert_non_null(strstr(config, "\"rank_pattern\": {\n    \"model.layers.1.self_attn.v_proj\": 3\n  }"));
    assert_non_null(strstr(config, "\"alpha_pattern\": {\n    \"model.layers.1.self_attn.v_proj\": 9\n  }"));
    assert_non_null(strstr(config, "\"target_modules\": [\n    \"model.layers.0.self_attn.q_proj\",\n    "
                                   "\"model.layers.1.self_attn.v_proj\"\n  ]"));
    assert_true(loss_of("run", "") == loss_of("peft", ""));
}

static void writes_trained_heads(void **state) {
    (void)state;
    clean();
    run_spec(SPEC("control head() on llama.causal_lm {\n train lm_head.**\n}\n",
                  "tuning.lora_qkv(rank = 2), head()"),
             "");
    assert_int_equal(ctlc("export run --peft peft"), 0);
    assert_non_null(
        strstr(text_of("peft/adapter_config.json"), "\"modules_to_save\": [\n    \"lm_head\"\n  ]"));
    ctl_tensors *set = open_tensors("peft");
    assert_int_equal(ctl_tensors_count(set), 13);
    assert_non_null(ctl_tensors_find(set, "base_model.model.lm_head.weight"));
    ctl_tensors_close(set);
    assert_true(loss_of("run", "") == loss_of("peft", ""));
}

static void writes_vectors(void **state) {
    (void)state;
    clean();
    run_spec(SPEC("", "tuning.ia3()"), "");
    assert_int_equal(ctlc("export run --peft peft --base models/llama"), 0);
    assert_string_equal(output, "peft: (IA)^3 on 6 modules\n");
    assert_string_equal(
        text_of("peft/adapter_config.json"),
        "{\n  \"base_model_name_or_path\": \"models/llama\",\n  \"fan_in_fan_out\": false,\n"
        "  \"feedforward_modules\": [\n    \"down_proj\"\n  ],\n  \"inference_mode\": true,\n"
        "  \"init_ia3_weights\": true,\n  \"modules_to_save\": null,\n  \"peft_type\": \"IA3\",\n"
        "  \"target_modules\": [\n    \"k_proj\",\n    \"v_proj\",\n    \"down_proj\"\n  ],\n"
        "  \"task_type\": null\n}\n");
    static const struct {
        const char *name;
        int64_t rows, cols;
    } tensors[] = {{"base_model.model.model.layers.1.self_attn.k_proj.ia3_l", 8, 1},
                   {"base_model.model.model.layers.0.self_attn.v_proj.ia3_l", 8, 1},
                   {"base_model.model.model.layers.0.mlp.down_proj.ia3_l", 1, 20}};
    ctl_tensors *set = open_tensors("peft");
    assert_int_equal(ctl_tensors_count(set), 6);
    for (size_t k = 0; k < CTL_COUNT(tensors); k++) {
        const ctl_tensor *t = ctl_tensors_find(set, tensors[k].name);
        assert_non_null(t);
        assert_true(t->ndims == 2 && t->dims[0] == tensors[k].rows && t->dims[1] == tensors[k].cols);
    }
    ctl_tensors_close(set);
    assert_true(loss_of("run", "") == loss_of("peft", ""));
    /* the other side of a product, and another method */
    write_file("peft/adapter_config.json", "{\"peft_type\": \"IA3\", \"feedforward_modules\": \".*_proj\"}");
    assert_int_equal(ctlc("eval spec.ctl --data text.txt --adapter peft"), 1);
    says("error[E0712]: 'peft/adapter_config.json': the adapter scales what the module reads at "
         "'model.layers.0.self_attn.k_proj', "
         "the spec's control what the module gives\n  hint: put the spec's control on the state that the "
         "adapter scales");
    write_file("peft/adapter_config.json", "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 2}");
    assert_int_equal(ctlc("eval spec.ctl --data text.txt --adapter peft"), 1);
    says("the adapter is LoRA; the spec's control on 'model.layers.0.self_attn.k_proj' is (IA)^3\n  hint: "
         "choose the spec's");
}

/* GPT-2 has biases everywhere: beside LoRA those of a block, or of the changed modules alone. */
static void writes_biases(void **state) {
    (void)state;
    static const char format[] =
        "import gpt2, gpt2_tuning\n"
        "control own() on gpt2.block {\n train attn.c_attn.bias\n}\n"
        "model m = gpt2.causal_lm(; vocab = 258, dim = 8, depth = 1, heads = 2, positions = 16)\n"
        "tune a = m with %s {\n tokens 2 x 16\n adamw(; lr = 1e-2)\n}\n";
    static const struct {
        const char *controls, *bias;
        size_t tensors;
    } cases[] = {{"gpt2_tuning.lora(rank = 2), gpt2_tuning.bitfit()", "\"bias\": \"all\"", 2 + 6},
                 {"gpt2_tuning.lora(rank = 2), own()", "\"bias\": \"lora_only\"", 2 + 1}};
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        char text[1000];
        snprintf(text, sizeof text, format, cases[k].controls);
        clean();
        run_spec(text, "");
        assert_int_equal(ctlc("export run --peft peft"), 0);
        assert_string_equal(output, "peft: LoRA of rank 2 on 1 modules, and biases\n");
        const char *config = text_of("peft/adapter_config.json");
        assert_non_null(strstr(config, cases[k].bias));
        assert_non_null(strstr(config, "\"modules_to_save\": null"));
        ctl_tensors *set = open_tensors("peft");
        assert_int_equal(ctl_tensors_count(set), cases[k].tensors);
        assert_non_null(
            ctl_tensors_find(set, "base_model.model.transformer.h.0.attn.c_attn.base_layer.bias"));
        assert_true(!ctl_tensors_find(set, "base_model.model.transformer.h.0.mlp.c_fc.bias") == (k == 1));
        ctl_tensors_close(set);
        assert_true(loss_of("run", "") == loss_of("peft", ""));
    }
    write_file("peft/adapter_config.json",
               "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 16, \"bias\": \"none\"}");
    assert_int_equal(ctlc("eval spec.ctl --data text.txt --adapter peft"), 1);
    says("'peft/adapter_config.json': the adapter has no biases (`bias`), and the spec trains them\n  hint: "
         "take the control that "
         "trains them out of the spec");
    write_file("peft/adapter_config.json",
               "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 16, \"bias\": \"all\"}");
    char text[1000];
    snprintf(text, sizeof text, format, "gpt2_tuning.lora(rank = 2)");
    write_file("spec.ctl", text);
    assert_int_equal(ctlc("eval spec.ctl --data text.txt --adapter peft"), 1);
    says("`bias` is 'all': the adapter has biases, which the spec keeps frozen\n  hint: let a control of the "
         "spec train them: "
         "`train **.bias`");
}

/* A checkpoint has what the run had at that step. */
static void exports_checkpoints(void **state) {
    (void)state;
    clean();
    run_spec(SPEC("", "tuning.lora_qkv(rank = 2)"), "--save-every 2");
    assert_int_equal(ctlc("export run --peft peft"), 0);
    double last = loss_of("run", "");
    assert_true(loss_of("run/checkpoint-4", "") == last);
    assert_true(loss_of("run/checkpoint-2", "") != last);
    assert_int_equal(ctlc("export run/checkpoint-4 --peft peft"), 0);
    assert_true(loss_of("peft", "") == last);
    char path[200];
    snprintf(path, sizeof path, "%s/run/adapter_config.json", folder);
    assert_int_equal(unlink(path), 0); /* as if the run had not ended */
    assert_int_equal(ctlc("export run/checkpoint-2 --peft peft"), 1);
    says("error[E0709]: 'run/checkpoint-2' is a checkpoint of a run that has not ended, and holds no spec\n  "
         "hint: --spec SPEC.ctl "
         "names it");
    assert_int_equal(ctlc("export run --peft peft"), 1);
    says("error[E0709]: the run in 'run' has not ended: it has checkpoints, and no adapter\n  hint: give the "
         "checkpoint that "
         "'run/latest' names, with --spec SPEC.ctl; or end the run");
    assert_int_equal(ctlc("export run/checkpoint-2 --peft peft --spec spec.ctl"), 0);
    assert_true(loss_of("peft", "") == loss_of("run/checkpoint-2", ""));
}

/* The run records its tune block and what --set said; a spec of one's own can be named. */
static void finds_the_spec_of_the_run(void **state) {
    (void)state;
    clean();
    run_spec(
        SPEC("", "tuning.lora_qkv(rank = 2, alpha = 8)") "tune b = m with tuning.ud() {\n tokens 1 x 4\n}\n",
        "--set lora_qkv.rank=3");
    assert_int_equal(ctlc("export run --peft peft"), 0);
    assert_non_null(strstr(text_of("peft/adapter_config.json"), "\"r\": 3,"));
    assert_int_equal(ctlc("export run --peft peft --spec spec.ctl --tune a --set lora_qkv.rank=3"), 0);
    assert_int_equal(ctlc("export run --peft peft --spec spec.ctl --tune a"), 1);
    says("error[E0705]: 'run/adapter_model.safetensors': tensor "
         "'model.layers.0.self_attn.q_proj.lora_A.weight' is [3, 16]; the parameter is [2, 16]");
    assert_int_equal(ctlc("export run"), 2);
    says("--peft is missing");
    assert_int_equal(ctlc("export nowhere --peft peft"), 4);
    says("nowhere/adapter_config.json");
}

static void refuses_what_peft_has_not(void **state) {
    (void)state;
    clean();
    run_spec(SPEC("", "tuning.ud(rank = 2)"), "");
    assert_int_equal(ctlc("export run --peft peft"), 1);
    says("error[E0711]: PEFT has no form for the control: its edge into `model.layers.0.y` stands beside "
         "more than one product "
         "with a weight\n  hint: the adapter as `ctlc train` leaves it (peft_type STATE_CONTROL) "
         "holds any control, and ctlc reads it");
    clean();
    run_spec(SPEC("", "tuning.lora_qkv(rank = 2), tuning.full()"), "");
    assert_int_equal(ctlc("export run --peft peft"), 0); /* every module is a saved one */
    clean();
    run_spec(SPEC("control c() on llama.block {\n self_attn.q_proj.y => control.red()\n}\n", "c()"), "");
    assert_int_equal(ctlc("export run --peft peft"), 1);
    says("the control on 'model.layers.0.self_attn.q_proj.weight' is not LoRA, DoRA or (IA)^3: it has a "
         "weight that LoRA and "
         "DoRA do not have");
    clean();
    run_spec(SPEC("control c() on llama.block {\n self_attn.q_proj.y => control.ia3()\n "
                  "self_attn.v_proj.weight ~ control.lora(; rank = 2, "
                  "alpha = 2)\n}\n",
                  "c()"),
             "");
    assert_int_equal(ctlc("export run --peft peft"), 1);
    says("an adapter of PEFT's is LoRA, DoRA or (IA)^3 as a whole");
    /* biases: of no adapter without a changed module, nor beside (IA)^3 */
    static const char biased[] = "import llama, tuning\nmodel m = llama.causal_lm(; vocab = 258, dim = 16, "
                                 "depth = 1, heads = 2, kv_heads = 1, ffn = 20, theta = "
                                 "10000.0, biased = true)\ncontrol bitfit() on llama.block {\n train "
                                 "**.bias\n}\ntune a = m with %sbitfit() {\n tokens 2 x 16\n}\n";
    char text[1000];
    clean();
    snprintf(text, sizeof text, biased, "tuning.ia3(), ");
    run_spec(text, "");
    assert_int_equal(ctlc("export run --peft peft"), 1);
    says("error[E0711]: PEFT's (IA)^3 adapters have no place for biases, and "
         "'model.layers.0.self_attn.q_proj.bias' is trained\n  hint: "
         "the adapter as `ctlc train` leaves it");
    clean();
    snprintf(text, sizeof text, biased, "");
    run_spec(text, "");
    assert_int_equal(ctlc("export run --peft peft"), 1);
    says("error[E0709]: 'run' holds a whole model and no adapter: the spec's controls made nothing of their "
         "own\n  hint: with the "
         "config.json and the tokenizer of its base beside it, it is a checkpoint that transformers loads");
    assert_int_equal(ctlc("export run/checkpoint-4 --peft peft --spec spec.ctl"), 1);
    says("error[E0711]: PEFT has no adapter without a changed module, and the spec's controls change no "
         "product with a weight\n  hint: "
         "save a whole model");
    clean();
    run_spec(
        SPEC("control c() on llama.block {\n self_attn.q_proj.weight ~ control.dora(; rank = 2, alpha = 2)\n"
             " self_attn.v_proj.weight ~ control.lora(; rank = 2, alpha = 2)\n}\n",
             "c()"),
        "");
    assert_int_equal(ctlc("export run --peft peft"), 1);
    says("an adapter of PEFT's is LoRA, DoRA or (IA)^3 as a whole, and its weights lie one way: "
         "'model.layers.0.self_attn.q_proj.weight' and "
         "'model.layers.0.self_attn.v_proj.weight' differ");
}

/* ---- in: adapters of PEFT's ---- */
/* As PEFT 0.21 writes it, for a LLaMA of two blocks; `more` stands last. */
static void write_peft(const char *more, bool dora, int rank) {
    static const char *const modules[] = {"q_proj", "k_proj", "v_proj"};
    static const int64_t outs[] = {16, 8, 8};
    char config[2000], path[200];
    clean();
    snprintf(path, sizeof path, "%s/peft", folder);
    mkdir(path, 0777);
    snprintf(config, sizeof config,
             "{\"alora_invocation_tokens\": null, \"arrow_config\": null, \"auto_mapping\": null, \"bias\": "
             "\"none\", \"exclude_modules\": null, "
             "\"fan_in_fan_out\": false, \"inference_mode\": true, \"layer_replication\": null, "
             "\"loftq_config\": {}, \"lora_bias\": false, \"lora_dropout\": 0.0, \"peft_type\": \"LORA\", "
             "\"peft_version\": \"0.21.2\", "
             "\"target_modules\": [\"v_proj\", \"k_proj\", \"q_proj\"], \"task_type\": \"CAUSAL_LM\", "
             "\"use_qalora\": false%s%s}",
             *more ? ", " : "", more);
    hf_text(path, "adapter_config.json", config);
    hf_checkpoint c = {.dtype = CTL_F32};
    for (int i = 0; i < 2; i++)
        for (size_t k = 0; k < CTL_COUNT(modules); k++) {
            const char *prefix = "base_model.model.model.layers";
            hf_add(&c, rank, 16, "%s.%d.self_attn.%s.lora_A.weight", prefix, i, modules[k]);
            hf_add(&c, outs[k], rank, "%s.%d.self_attn.%s.lora_B.weight", prefix, i, modules[k]);
            if (dora)
                hf_add(&c, 0, outs[k], "%s.%d.self_attn.%s.lora_magnitude_vector", prefix, i, modules[k]);
        }
    snprintf(path, sizeof path, "%s/peft/adapter_model.safetensors", folder);
    hf_write_slice(&c, path, 0, c.n);
}

static ctl_status load_peft(ctl_program *p) {
    ctl_session *s;
    char path[200];
    said = (heard){0};
    ctl_session_options so = {.diagnostic = hear, .diagnostic_ctx = &said};
    assert_int_equal(ctl_session_open(p, &so, &s), CTL_OK);
    snprintf(path, sizeof path, "%s/peft", folder);
    ctl_status status = ctl_session_load_adapter(s, path);
    for (size_t k = 0; status == CTL_OK && k < ctl_program_param_count(p); k++) {
        ctl_tensor_info info = ctl_program_param_at(p, k);
        if (!info.trained) continue;
        double values[512];
        char name[200];
        assert_int_equal(ctl_session_param_read(s, k, CTL_F64, values), CTL_OK);
        snprintf(name, sizeof name, "base_model.model.%s", info.name);
        for (int64_t i = 0; i < info.rows * info.cols; i++)
            assert_true(values[i] == hf_value(name, (size_t)i));
    }
    ctl_session_close(s);
    return status;
}

#define DORA_QKV                                                                                             \
    "control c() on llama.block {\n self_attn.{q_proj, k_proj, v_proj}.weight ~ control.dora(; rank = 2, "   \
    "alpha = 4)\n}\n"

static void reads_what_peft_writes(void **state) {
    (void)state;
    ctl_program *lora = compile("", "tuning.lora_qkv(rank = 2, alpha = 4)");
    write_peft("\"r\": 2, \"lora_alpha\": 4, \"use_dora\": false, \"use_rslora\": false, \"rank_pattern\": "
               "{}, \"alpha_pattern\": {}",
               false, 2);
    assert_int_equal(load_peft(lora), CTL_OK);
    assert_string_equal(said.all, "");
    /* patterns: keys are the ends of names */
    write_peft("\"r\": 8, \"lora_alpha\": 1, \"rank_pattern\": {\"[qkv]_proj\": 2}, \"alpha_pattern\": "
               "{\"self_attn.q_proj\": 4, "
               "\"k_proj\": 4, \"v_proj\": 4}",
               false, 2);
    assert_int_equal(load_peft(lora), CTL_OK);
    ctl_program_free(lora);
    ctl_program *rs = compile("control c() on llama.block {\n self_attn.{q_proj, k_proj, v_proj}.weight ~ "
                              "control.lora(; rank = 2, alpha = 4, "
                              "scale = 4 / sqrt(2))\n}\n",
                              "c()");
    write_peft("\"r\": 2, \"lora_alpha\": 4, \"use_rslora\": true", false, 2);
    assert_int_equal(load_peft(rs), CTL_OK);
    ctl_program_free(rs);
    ctl_program *dora = compile(DORA_QKV, "c()");
    write_peft("\"r\": 2, \"lora_alpha\": 4, \"use_dora\": true", true, 2);
    assert_int_equal(load_peft(dora), CTL_OK);
    assert_string_equal(said.all, "");
    ctl_program_free(dora);
}

static void names_what_differs(void **state) {
    (void)state;
    static const struct {
        const char *more;
        bool dora;
        int rank;
        const char *says;
    } cases[] = {
        {"\"r\": 2, \"lora_alpha\": 16", false, 2,
         "peft/adapter_config.json': the adapter scales its product on 'model.layers.0.self_attn.q_proj' by "
         "8 (lora_alpha 16, r 2), the spec's "
         "control by 2 | give the spec's control alpha = 16\n"},
        {"\"r\": 2, \"lora_alpha\": 4, \"use_rslora\": true", false, 2,
         "by 2.82842712 (lora_alpha 4, r 2, use_rslora), the spec's control by 2 | give the spec's control "
         "alpha = 4 and scale = alpha / sqrt(rank)\n"},
        {"\"r\": 8, \"lora_alpha\": 16", false, 8,
         "the adapter has rank 8 on 'model.layers.0.self_attn.q_proj', the spec's control 2 | give the "
         "spec's control rank = 8\n"},
        {"\"r\": 2, \"lora_alpha\": 4, \"use_dora\": true", true, 2,
         "the adapter is DoRA; the spec's control on 'model.layers.0.self_attn.q_proj' is LoRA | choose the "
         "spec's control accordingly\n"},
        {"\"r\": 2, \"lora_alpha\": 4, \"init_lora_weights\": \"pissa_niter_4\"", false, 2,
         "with init_lora_weights 'pissa_niter_4' the adapter belongs to a base that PEFT has changed | let "
         "PEFT convert it: "},
        {"\"r\": 2, \"lora_alpha\": 4, \"use_bdlora\": {\"a\": 1}", false, 2,
         "`use_bdlora` is set: that is another method than LoRA and DoRA\n"},
        {"\"r\": 2, \"lora_alpha\": 4, \"rank_pattern\": {\"(\": 3}", false, 2,
         "the key '(' of `rank_pattern` cannot be read\n"},
        /* the configuration fits, the tensors do not */
        {"\"r\": 2, \"lora_alpha\": 4", false, 3,
         "tensor 'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight' is [3, 16]; the parameter "
         "is [2, 16]"},
        {"\"r\": 2, \"lora_alpha\": 4", true, 2, "E0706 6 tensors of '"},
    };
    ctl_program *p = compile("", "tuning.lora_qkv(rank = 2, alpha = 4)");
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        write_peft(cases[k].more, cases[k].dora, cases[k].rank);
        assert_int_equal(load_peft(p), CTL_ERR_INPUT);
        if (!strstr(said.all, cases[k].says)) fail_msg("\"%s\" is not in:\n%s", cases[k].says, said.all);
    }
    ctl_program_free(p);
    /* other modules than the spec's */
    write_peft("\"r\": 2, \"lora_alpha\": 4", false, 2);
    p = compile("control c() on llama.block {\n self_attn.{q_proj, o_proj}.weight ~ control.lora(; rank = 2, "
                "alpha = 4)\n}\n",
                "c()");
    assert_int_equal(load_peft(p), CTL_ERR_INPUT);
    assert_non_null(
        strstr(said.all, "E0704 no file has the parameter 'model.layers.0.self_attn.o_proj.lora_A.weight'"));
    assert_non_null(
        strstr(said.all,
               "belong to no parameter: 'base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight'"));
    ctl_program_free(p);
    /* a spec whose control PEFT does not know */
    p = compile("", "tuning.ud(rank = 2)");
    assert_int_equal(load_peft(p), CTL_ERR_INPUT);
    assert_non_null(strstr(said.all, "E0711 PEFT has no form for the control: its edge into "
                                     "`model.layers.0.y` stands beside more than one"));
    ctl_program_free(p);
}

/* ---- names of code that checkpoints do not have ---- */
static ctl_program *vision(void) {
    static const char text[] = "import vit, vit_tuning\n"
                               "model m = vit.classifier(; patch = 12, positions = 5, dim = 8, depth = 2, "
                               "heads = 2, ffn = 12, classes = 3)\n"
                               "tune m with vit_tuning.lora_qv(rank = 2, alpha = 4), vit_tuning.lora_ud(rank "
                               "= 2, alpha = 4), vit_tuning.head() {\n tokens 2 x 4\n}\n";
    said = (heard){0};
    ctlc_options options = {.engine = CTLC_REFERENCE, .diagnostic = hear, .diagnostic_ctx = &said};
    ctl_program *program = NULL;
    ctl_status status = ctlc_compile_text("spec.ctl", text, sizeof text - 1, &options, &program);
    assert_string_equal(said.all, "");
    assert_int_equal(status, CTL_OK);
    write_file("spec.ctl", text);
    return program;
}

static void vision_transformers_by_either_name(void **state) {
    (void)state;
    clean();
    ctl_program *p = vision();
    ctl_session *s;
    char path[200];
    ctl_session_options so = {.diagnostic = hear, .diagnostic_ctx = &said, .seed = 3};
    assert_int_equal(ctl_session_open(p, &so, &s), CTL_OK);
    assert_int_equal(ctl_session_load(s), CTL_OK);
    snprintf(path, sizeof path, "%s/run", folder);
    assert_int_equal(ctl_session_save_adapter(s, path), CTL_OK);
    ctl_session_close(s);
    static const struct {
        const char *option, *targets[4], *tensor;
    } cases[] = {
        {"",
         {"\"q_proj\"", "\"v_proj\"", "\"fc1\"", "\"fc2\""},
         "base_model.model.vit.layers.1.mlp.fc2.lora_B.weight"},
        {"--transformers 4",
         {"\"query\"", "\"value\"", "\"vit.encoder.layer.0.intermediate.dense\"",
          "\"vit.encoder.layer.1.output.dense\""},
         "base_model.model.vit.encoder.layer.1.output.dense.lora_B.weight"},
    };
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        snprintf(path, sizeof path, "rm -rf '%s/peft'", folder);
        assert_int_equal(system(path), 0);
        assert_int_equal(ctlc("export run --spec spec.ctl --peft peft %s", cases[k].option), 0);
        const char *config = text_of("peft/adapter_config.json");
        for (size_t i = 0; i < 4; i++)
            if (!strstr(config, cases[k].targets[i]))
                fail_msg("%s is not in:\n%s", cases[k].targets[i], config);
        assert_non_null(strstr(config, "\"modules_to_save\": [\n    \"classifier\"\n  ]"));
        ctl_tensors *set = open_tensors("peft");
        assert_non_null(ctl_tensors_find(set, cases[k].tensor));
        assert_int_equal(ctl_tensors_count(set), 2 * 8 + 2);
        ctl_tensors_close(set);
        /* either is read */
        assert_int_equal(ctl_session_open(p, &so, &s), CTL_OK);
        snprintf(path, sizeof path, "%s/peft", folder);
        said = (heard){0};
        assert_int_equal(ctl_session_load_adapter(s, path), CTL_OK);
        assert_string_equal(said.all, "");
        ctl_session_close(s);
    }
    ctl_program_free(p);
}

/* GPT-2 keeps its maps turned. */
static void turned_weights(void **state) {
    (void)state;
    static const char text[] =
        "import gpt2, gpt2_tuning\nmodel m = gpt2.causal_lm(; vocab = 258, dim = 8, depth = 2, heads = 2, "
        "positions = 16)\n"
        "tune a = m with gpt2_tuning.dora(rank = 2, alpha = 4) {\n tokens 2 x 16\n adamw(; lr = 1e-2)\n}\n";
    clean();
    run_spec(text, "");
    assert_int_equal(ctlc("export run --peft peft --transformers 3"), 2);
    says("--transformers is 4 or 5");
    assert_int_equal(ctlc("export run --peft peft"), 0);
    assert_non_null(strstr(text_of("peft/adapter_config.json"), "\"fan_in_fan_out\": true"));
    assert_non_null(
        strstr(text_of("peft/adapter_config.json"), "\"target_modules\": [\n    \"c_attn\"\n  ]"));
    ctl_tensors *set = open_tensors("peft");
    const ctl_tensor *b = ctl_tensors_find(set, "base_model.model.transformer.h.1.attn.c_attn.lora_B.weight");
    assert_non_null(b);
    assert_true(b->dims[0] == 24 && b->dims[1] == 2);
    ctl_tensors_close(set);
    assert_true(loss_of("run", "") == loss_of("peft", ""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recognises_what_is_computed),
        cmocka_unit_test(takes_no_name_for_it),
        cmocka_unit_test(recognises_vectors),
        cmocka_unit_test(tells_what_stands_apart),
        cmocka_unit_test(names_the_edges),
        cmocka_unit_test(writes_what_peft_loads),
        cmocka_unit_test(writes_dora_and_other_scales),
        cmocka_unit_test(writes_trained_heads),
        cmocka_unit_test(writes_vectors),
        cmocka_unit_test(writes_biases),
        cmocka_unit_test(exports_checkpoints),
        cmocka_unit_test(finds_the_spec_of_the_run),
        cmocka_unit_test(refuses_what_peft_has_not),
        cmocka_unit_test(reads_what_peft_writes),
        cmocka_unit_test(names_what_differs),
        cmocka_unit_test(vision_transformers_by_either_name),
        cmocka_unit_test(turned_weights),
    };
    return cmocka_run_group_tests_name("peft", tests, make_folder, remove_folder);
}
