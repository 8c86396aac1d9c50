/* A control's form for PEFT is recognised from what it computes and from nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "tests/peft_fixture.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recognises_what_is_computed),
        cmocka_unit_test(takes_no_name_for_it),
        cmocka_unit_test(recognises_vectors),
        cmocka_unit_test(tells_what_stands_apart),
        cmocka_unit_test(names_the_edges),
    };
    return cmocka_run_group_tests_name("peft_form", tests, NULL, NULL);
}
