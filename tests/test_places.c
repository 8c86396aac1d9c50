/* Places in run-time errors: the line of the .ctl that an error of a task shows, the library's line beside it, and that every task
 * of a program has one, those of backward and those that rebuild what forward made included. Lines are looked for in the sources. */
#include "tests/network_support.h"

#include "base/base.h"
#include "compiler/syntax/stdlib.h"
#include "runtime/session.h"

/* An error and the note behind it. */
typedef struct said {
    int n;
    char code[2][8], file[2][32], text[2][200], message[2][300];
    int line[2], column[2];
} said;
static void take(void *ctx, const ctl_diagnostic *d) {
    said *s = ctx;
    if (s->n < 2) {
        const int k = s->n;
        snprintf(s->code[k], sizeof s->code[k], "%s", d->code);
        snprintf(s->file[k], sizeof s->file[k], "%s", d->file ? d->file : "");
        snprintf(s->text[k], sizeof s->text[k], "%s", d->line_text ? d->line_text : "");
        snprintf(s->message[k], sizeof s->message[k], "%s", d->message);
        s->line[k] = d->line, s->column[k] = d->column;
    }
    s->n++;
}

/* The number of the first line with these words, and where they begin in it. */
static int line_with(const char *text, const char *words, int *column) {
    const char *at = strstr(text, words);
    if (!at) fail_msg("no line has `%s`", words);
    int line = 1;
    const char *begin = text;
    for (const char *c = text; c < at; c++)
        if (*c == '\n') line++, begin = c + 1;
    if (column) *column = (int)(at - begin) + 1;
    return line;
}
static const char *library(const char *name) {
    for (const ctl_stdlib_file *f = ctl_stdlib; f->name; f++)
        if (strcmp(f->name, name) == 0) return f->text;
    fail_msg("no module is called %s", name);
    return NULL;
}

static const ctlc_engine engines[] = {CTLC_CPU, CTLC_REFERENCE};

/* The text is gone, with all that the compiler had of it, when the program runs. */
static network open_spec(const char *spec, ctlc_engine engine, said *s, int64_t memory) {
    const ctlc_options options = {.engine = engine, .diagnostic = hear, .verify = true, .threads = 1, .memory = memory};
    const ctl_session_options so = {.seed = 5, .diagnostic = take, .diagnostic_ctx = s};
    const size_t size = strlen(spec);
    char *text = malloc(size + 1), name[] = "spec.ctl";
    network n = {0};
    memcpy(text, spec, size + 1);
    assert_int_equal(ctlc_compile_text(name, text, size, &options, &n.program), CTL_OK);
    memset(text, '#', size), memset(name, '#', sizeof name - 1);
    free(text);
    assert_int_equal(ctl_session_open(n.program, &so, &n.session), CTL_OK);
    assert_int_equal(ctl_session_load(n.session), CTL_OK);
    return n;
}
static void close_spec(network *n) {
    ctl_session_close(n->session);
    ctl_program_free(n->program);
}

static const char shifted[] = "import nn\n"
                              "net shifted(ids: id, labels: id; dim) -> loss {\n"
                              "    h <- table: embedding(ids; n = 24, dim)\n"
                              "    h <- beside: embedding(ids; n = 20, dim)\n"
                              "    h <- later: embedding(ids + 3; n = 22, dim)\n"
                              "    loss <- cross_entropy(out: linear(h; n = 24), labels)\n"
                              "}\n"
                              "model m = shifted(; dim = 8)\n"
                              "tune m {\n"
                              "    tokens 2 x 8\n"
                              "}\n";

/* Two look-ups stand in one row program: each is named for itself. The line is the user's; the library's, which looks up, is a note. */
static void test_ids(void **state) {
    (void)state;
    static const struct {
        int32_t id;
        const char *line, *words, *path;
        int wrong, rows;
    } cases[] = {{24, "    h <- table: embedding(ids; n = 24, dim)", "table: embedding", "table", 24, 24},
                 {22, "    h <- beside: embedding(ids; n = 20, dim)", "beside: embedding", "beside", 22, 20},
                 {19, "    h <- later: embedding(ids + 3; n = 22, dim)", "later: embedding", "later", 22, 22}};
    for (size_t e = 0; e < CTL_COUNT(engines); e++)
        for (size_t k = 0; k < CTL_COUNT(cases); k++) {
            said s = {0};
            network n = open_spec(shifted, engines[e], &s, 0);
            char want[200];
            int column, in_library;
            network_inputs(&n, 8);
            int32_t ids[16] = {0};
            ids[5] = cases[k].id;
            assert_int_equal(ctl_session_input(n.session, "ids", CTL_I32, ids, 16), CTL_OK);
            assert_int_equal(ctl_session_forward(n.session), CTL_ERR_INPUT);
            assert_int_equal(s.n, 2);
            assert_string_equal(s.code[0], "E0804");
            assert_string_equal(s.file[0], "spec.ctl");
            assert_int_equal(s.line[0], line_with(shifted, cases[k].words, &column));
            assert_int_equal(s.column[0], column);
            assert_string_equal(s.text[0], cases[k].line);
            if (engines[e] == CTLC_CPU)
                snprintf(want, sizeof want, "%s: take: id %d of row 5 is not one of %d rows", cases[k].path, cases[k].wrong,
                         cases[k].rows);
            else
                snprintf(want, sizeof want, "%s: take: row 5: index %d is not one of %d rows", cases[k].path, cases[k].wrong,
                         cases[k].rows);
            assert_string_equal(s.message[0], want);
            in_library = line_with(library("nn"), "take(weight, ids)", &column);
            assert_string_equal(s.code[1], "");
            assert_string_equal(s.file[1], "<nn>");
            assert_int_equal(s.line[1], in_library);
            assert_int_equal(s.column[1], column);
            assert_string_equal(s.text[1], "    y <- take(weight, ids)");
            assert_string_equal(s.message[1], "this line of the standard library computes it");
            close_spec(&n);
        }
}

/* What the user's own net computes has no other line. */
static void test_labels(void **state) {
    (void)state;
    said s = {0};
    network n = open_spec(shifted, CTLC_CPU, &s, 0);
    network_inputs(&n, 8);
    int32_t labels[16] = {0};
    labels[9] = 24;
    assert_int_equal(ctl_session_input(n.session, "labels", CTL_I32, labels, 16), CTL_OK);
    assert_int_equal(ctl_session_forward(n.session), CTL_ERR_INPUT);
    assert_int_equal(s.n, 1);
    assert_string_equal(s.file[0], "spec.ctl");
    assert_int_equal(s.line[0], line_with(shifted, "cross_entropy", NULL));
    assert_non_null(strstr(s.message[0], "label 24 of row 9 is not one of 24 classes"));
    close_spec(&n);
}

/* ---- every task ---- */
static const ctl_program_place *place_of(const ctl_program *p, const ctl_task *t) {
    return t->place && t->place <= p->nplaces ? &p->places[t->place - 1] : NULL;
}

/* Every task of a step that has a path has a place; those whose path begins so are all at this line of the spec (0: any), and
 * at one with these words in the module (NULL: none). Returns how many they are. */
static int check_tasks(const ctl_program *p, ctl_program_entry entry, const char *path, int line, const char *module, const char *words) {
    int found = 0;
    for (size_t k = 0; k < p->run[entry].n; k++) {
        const ctl_task *t = &p->run[entry].at[k];
        const ctl_program_place *at = place_of(p, t);
        if (!at) fail_msg("task %zu, %s, has no place", k, t->name);
        if (strcmp(at->user.file, "spec.ctl") != 0) fail_msg("%s is said to be in %s", t->name, at->user.file);
        if (strncmp(t->name, path, strlen(path)) != 0) continue;
        found++;
        if (line && at->user.line != line) fail_msg("%s is said to be in line %d, not %d", t->name, at->user.line, line);
        if (!module) continue;
        char file[40];
        snprintf(file, sizeof file, "<%s>", module);
        if (!at->library.file || strcmp(at->library.file, file) != 0 || !strstr(at->library.text, words))
            fail_msg("%s is said to be in %s: %s", t->name, at->library.file ? at->library.file : "", at->library.file ? at->library.text : "");
    }
    return found;
}

static const char deep[] = "import llama, control, tuning\n"
                           "control mine(rank = 2) on llama.block {\n"
                           "    self_attn.o_proj.weight ~ control.lora(; rank, alpha = 4)\n"
                           "    y <- control.lowrank(h; rank)\n"
                           "}\n"
                           "model m = llama.causal_lm(; vocab = 24, dim = 16, depth = 4, heads = 2, kv_heads = 2, ffn = 24, theta = 10000.0)\n"
                           "tune m with mine(),\n"
                           "            tuning.lora_qkv(rank = 2, p = 0.0) {\n"
                           "    tokens 2 x 16\n"
                           "}\n";

/* Nets and controls of the library, through differentiation and with as much as possible computed again. */
static void test_all_tasks(void **state) {
    (void)state;
    for (int least = 0; least < 2; least++) {
        said s = {0};
        network n = open_spec(deep, CTLC_CPU, &s, least ? CTLC_MEMORY_LEAST : 0);
        const ctl_program *p = n.program;
        const int model = line_with(deep, "model m", NULL), own = line_with(deep, "self_attn.o_proj", NULL);
        const int edge = line_with(deep, "y <- control.lowrank", NULL), tune = line_with(deep, "tuning.lora_qkv", NULL);
        int again = 0, rows = 0;
        for (int entry = RUN_FORWARD; entry <= RUN_BACKWARD; entry++) {
            const ctl_program_entry at = (ctl_program_entry)entry;
            /* gradients have the places of what they are gradients of */
            assert_true(check_tasks(p, at, "model.layers.1.mlp.down_proj: ", model, "nn", "y <- x @ weight.T") > 0);
            assert_true(check_tasks(p, at, "model.layers.1.self_attn: attend", model, "llama", "attend(") > 0);
            assert_true(check_tasks(p, at, "model.layers.1: matmul", edge, "control", "scale * drop(x @ lora_A.weight.T; p) @ lora_B") > 1);
            assert_true(check_tasks(p, at, "model.layers.1.self_attn.o_proj: ", own, "control", "") > 3);
            assert_true(check_tasks(p, at, "model.layers.1.self_attn.v_proj: ", tune, "control", "") > 1);
        }
        for (size_t k = 0; k < p->run[RUN_BACKWARD].n; k++) {
            const ctl_task *b = &p->run[RUN_BACKWARD].at[k];
            for (size_t j = 0; j < p->run[RUN_FORWARD].n; j++) {
                const ctl_task *f = &p->run[RUN_FORWARD].at[j];
                if (b->kind != TASK_ATTEND || strcmp(b->name, f->name) != 0) continue;
                assert_int_equal(b->place, f->place); /* the same value once more */
                again++;
            }
        }
        assert_true(least ? again > 0 : again == 0);
        for (size_t k = 0; k < p->nplaces; k++) {
            const ctl_program_place *at = &p->places[k];
            const bool lora = at->library.text && strstr(at->library.text, "lora_A.weight.T) @ lora_B");
            const bool lowrank = at->library.text && strstr(at->library.text, "scale * drop(x @ lora_A");
            if (lora) assert_true(at->user.line == own || at->user.line == tune);
            if (lowrank) assert_int_equal(at->user.line, edge);
            if (lora) rows |= at->user.line == own ? 1 : 2;
            if (lowrank) rows |= 4;
        }
        assert_int_equal(rows, 7);
        close_spec(&n);
    }
}

/* Every parameter is where it was declared: the user's own weights there, others at what brings them along. */
static void test_params(void **state) {
    (void)state;
    static const char spec[] = "import llama, tuning\n"
                               "control mine() on llama.attention {\n"
                               "    weight scale : [2, 16] init normal(0.02)\n"
                               "    y <- x @ scale.T @ scale\n"
                               "}\n"
                               "model m = llama.causal_lm(; vocab = 24, dim = 16, depth = 2, heads = 2, kv_heads = 2, ffn = 24, theta = 10000.0)\n"
                               "tune m with mine(),\n"
                               "            tuning.dora_qkvud(rank = 2) {\n"
                               "    tokens 2 x 16\n"
                               "}\n";
    for (size_t e = 0; e < CTL_COUNT(engines); e++) {
        said s = {0};
        network n = open_spec(spec, engines[e], &s, 0);
        const ctl_program *p = n.program;
        const int model = line_with(spec, "model m", NULL), own = line_with(spec, "weight scale", NULL);
        const int tune = line_with(spec, "tuning.dora", NULL);
        int mine = 0, dora = 0;
        for (size_t k = 0; k < p->nparams; k++) {
            const ctl_program_param *q = &p->params[k];
            const ctl_program_place *at = q->place && q->place <= p->nplaces ? &p->places[q->place - 1] : NULL;
            if (!at) fail_msg("%s has no place", q->name);
            const bool is_own = strstr(q->name, "scale") != NULL;
            const int want = !q->made_by_control ? model : is_own ? own : tune;
            if (at->user.line != want) fail_msg("%s is said to be in line %d, not %d", q->name, at->user.line, want);
            assert_string_equal(at->user.file, "spec.ctl");
            assert_true(is_own ? !at->library.file : at->library.file && strstr(at->library.text, "weight "));
            mine += is_own, dora += q->made_by_control && !is_own;
        }
        assert_true(mine == 2 && dora == 2 * 5 * 3);
        close_spec(&n);
    }
}

/* Places are no part of what is computed: the same network over other lines is the same program, and the same kernels. */
static void test_same_program(void **state) {
    (void)state;
    char lines[2000] = "# a comment, which moves all lines\n\n\n";
    said s = {0};
    snprintf(lines + strlen(lines), sizeof lines - strlen(lines), "%s", deep);
    network a = open_spec(deep, CTLC_CPU, &s, 0), b = open_spec(lines, CTLC_CPU, &s, 0);
    const ctl_program *p = a.program, *q = b.program;
    assert_int_equal(p->nkernels, q->nkernels);
    assert_memory_equal(p->region_bytes, q->region_bytes, sizeof p->region_bytes);
    for (int e = 0; e < RUN_COUNT; e++) {
        assert_int_equal(p->run[e].n, q->run[e].n);
        for (size_t k = 0; k < p->run[e].n; k++) {
            assert_string_equal(p->run[e].at[k].name, q->run[e].at[k].name);
            assert_int_equal(p->run[e].at[k].kernel, q->run[e].at[k].kernel);
            if (e < RUN_FORWARD || !p->run[e].at[k].place) continue;
            assert_int_equal(place_of(p, &p->run[e].at[k])->user.line + 3, place_of(q, &q->run[e].at[k])->user.line);
        }
    }
    close_spec(&a), close_spec(&b);
}

/* ---- what is not finite ---- */
static const char roots[] = "import nn\n"
                            "net odd(ids: id, labels: id; d, under, least) -> loss {\n"
                            "    h <- table: embedding(ids; n = 24, dim = d)\n"
                            "    r <- sqrt(h * h * under + least)\n"
                            "    z <- log(mid: linear(r; n = d) * 0.0 + least)\n"
                            "    loss <- cross_entropy(out: linear(z; n = 24), labels)\n"
                            "}\n"
                            "control all() on odd {\n    train **\n}\n"
                            "model m = odd(; d = 8, under = %s, least = %s)\n"
                            "tune m with all() {\n    tokens 2 x 8\n}\n";
static const char *line_of(const network *n, const ctl_origin *o) {
    return o->place && o->place <= n->program->nplaces ? n->program->places[o->place - 1].user.text : "";
}

/* In forward: the root of less than nothing, or the logarithm; in backward, the root's derivative at nothing: then forward is right. What
 * is right everywhere has nothing that is found. */
static void test_not_finite(void **state) {
    (void)state;
    static const struct {
        const char *under, *least, *forward, *backward;
    } cases[] = {{"1.0", "1.0", NULL, NULL},
                 {"(0.0 - 1.0)", "(0.0 - 1.0)", "    r <- sqrt(", NULL},
                 {"1.0", "0.0", "    z <- log(", NULL},
                 {"0.0", "1.0", NULL, NULL}};
    for (size_t k = 0; k < CTL_COUNT(cases); k++) {
        char spec[1000];
        said s = {0};
        ctl_origin found = {0};
        snprintf(spec, sizeof spec, roots, cases[k].under, cases[k].least);
        network n = open_spec(spec, CTLC_CPU, &s, 0);
        network_inputs(&n, 8);
        for (int e = 0; e < 2; e++) {
            const bool bad = ctl_session_find_bad_value(n.session, e ? RUN_EVALUATE : RUN_FORWARD, &found);
            assert_true(bad == (cases[k].forward != NULL));
            if (bad && strncmp(line_of(&n, &found), cases[k].forward, strlen(cases[k].forward)) != 0)
                fail_msg("%s is said to be in `%s`", found.name, line_of(&n, &found));
        }
        assert_false(ctl_session_find_bad_param(n.session, &found));
        assert_int_equal(s.n, 0);
        close_spec(&n);
    }
}

/* Where a derivative is infinite: the value is named whose gradient it is, and the parameters that got it. A parameter that is not
 * finite is found as such. */
static void test_not_finite_backward(void **state) {
    (void)state;
    static const char spec[] = "import nn\n"
                               "net odd(ids: id, labels: id; d) -> loss {\n"
                               "    h <- table: embedding(ids; n = 24, dim = d)\n"
                               "    m <- mid: linear(h; n = d)\n"
                               "    z <- sqrt(m * m * 0.0)\n"
                               "    loss <- cross_entropy(out: linear(z; n = 24), labels)\n"
                               "}\n"
                               "control all() on odd {\n    train **\n}\n"
                               "model m = odd(; d = 8)\n"
                               "tune m with all() {\n    tokens 2 x 8\n}\n";
    said s = {0};
    ctl_origin found = {0};
    size_t more = 9;
    double norm;
    const ctl_optimizer_step o = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-6, .step = 7};
    network n = open_spec(spec, CTLC_CPU, &s, 0);
    network_inputs(&n, 8);
    assert_false(ctl_session_find_bad_value(n.session, RUN_FORWARD, &found));
    assert_false(ctl_session_find_bad_gradient(n.session, &found, &more));
    assert_true(ctl_session_find_bad_value(n.session, RUN_BACKWARD, &found));
    assert_string_equal(line_of(&n, &found), "    m <- mid: linear(h; n = d)"); /* its gradient is the first that is kept */
    assert_true(ctl_session_find_bad_gradient(n.session, &found, &more));
    assert_string_equal(found.name, "mid.weight");
    assert_int_equal(more, 1);
    assert_int_equal(s.n, 0);
    assert_int_equal(ctl_session_optimize(n.session, &o, &norm), CTL_ERR_NUMERIC);
    assert_int_equal(s.n, 2);
    assert_string_equal(s.code[0], "E0805");
    assert_string_equal(s.message[0], "the gradient is not finite in step 7: that of 'mid.weight', and of 1 parameter before it");
    assert_string_equal(s.text[0], "    m <- mid: linear(h; n = d)");
    assert_string_equal(s.file[1], "<nn>");
    for (size_t p = 0; p < n.program->nparams; p++) {
        const ctl_program_param *q = &n.program->params[p];
        float values[24 * 8] = {0};
        if (strcmp(q->name, "out.weight") != 0) continue;
        values[100] = HUGE_VALF;
        assert_int_equal(ctl_session_param_write(n.session, p, CTL_F32, values), CTL_OK);
        assert_true(ctl_session_find_bad_param(n.session, &found));
        assert_string_equal(found.name, "out.weight");
        assert_string_equal(line_of(&n, &found), "    loss <- cross_entropy(out: linear(z; n = 24), labels)");
    }
    close_spec(&n);
}

/* Attention beside padding, norms, controls: all is finite, and said to be. */
static void test_finite(void **state) {
    (void)state;
    said s = {0};
    ctl_origin found = {0};
    network n = open_spec(deep, CTLC_CPU, &s, 0);
    network_inputs(&n, 8);
    assert_false(ctl_session_find_bad_value(n.session, RUN_EVALUATE, &found));
    assert_false(ctl_session_find_bad_value(n.session, RUN_FORWARD, &found));
    assert_false(ctl_session_find_bad_value(n.session, RUN_BACKWARD, &found));
    close_spec(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ids), cmocka_unit_test(test_labels), cmocka_unit_test(test_all_tasks),
                                       cmocka_unit_test(test_params), cmocka_unit_test(test_not_finite),
                                       cmocka_unit_test(test_not_finite_backward), cmocka_unit_test(test_finite),
                                       cmocka_unit_test(test_same_program)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
