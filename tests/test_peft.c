/* Adapters that PEFT writes are read, and every difference from the spec is named with its remedy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "tests/peft_fixture.h"
#include "tests/peft_runs.h"

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
         "spec's control accordingly; `ctlc import MODEL --adapter DIR` writes it\n"},
        {"\"r\": 2, \"lora_alpha\": 4, \"init_lora_weights\": \"pissa_niter_4\"", false, 2,
         "with init_lora_weights 'pissa_niter_4' the adapter belongs to a base that PEFT has changed | let "
         "PEFT convert it: "},
        {"\"r\": 2, \"lora_alpha\": 4, \"use_bdlora\": {\"a\": 1}", false, 2,
         "`use_bdlora` is set: that is another method than LoRA and DoRA | train it without the key"},
        {"\"r\": 2, \"lora_alpha\": 4, \"rank_pattern\": {\"(\": 3}", false, 2,
         "the key '(' of `rank_pattern` cannot be read | write the modules' names there, one by one\n"},
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
    assert_non_null(strstr(said.all, "adapter_config.json': the adapter changes v_proj, k_proj (`target_modules`), and no control of the "
                                     "spec does | a control of your own names the adapter's modules: "
                                     "`self_attn.{q_proj, v_proj}.weight ~ control.lora(; rank, alpha)`; `ctlc import MODEL --adapter DIR` writes it\n"));
    assert_non_null(strstr(said.all, "adapter_config.json': the spec's controls change o_proj, and the adapter does not (`target_modules`) | "));
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
        cmocka_unit_test(reads_what_peft_writes),
        cmocka_unit_test(names_what_differs),
        cmocka_unit_test(vision_transformers_by_either_name),
        cmocka_unit_test(turned_weights),
    };
    return cmocka_run_group_tests_name("peft", tests, make_folder, remove_folder);
}
