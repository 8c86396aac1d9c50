/* Which of cuBLASLt's algorithms products have, on the stand-ins: one question for each form; a run that goes on has those that its
 * checkpoint keeps, and its bits, whatever cuBLASLt proposes by then; where another version, another device or another engine
 * goes on, it is said; damaged tables are refused. The stand-in's second algorithm adds in another order. */
#include "tests/cuda_engine.h"

#include "runtime/checkpoint.h"
#include "runtime/files.h"
#include "runtime/session.h"
#include "tests/folder.h"

static const char spec[] = "import llama, tuning\n"
                           "model m = llama.causal_lm(; vocab = 24, dim = 16, depth = 2, heads = 2, kv_heads = 1, ffn = 24, "
                           "theta = 10000.0)\n"
                           "tune lora = m with tuning.lora_qkvud(rank = 4, p = 0.2) {\n    tokens 2 x 16\n}\n";
static const cuda_wanted wanted = {.text = spec, .tune = "lora", .engine = CTLC_CUDA, .compute = CTL_F32};

typedef struct heard {
    int n;
    ctl_severity severity;
    char code[16], message[512], hint[256];
} heard;
static void take(void *ctx, const ctl_diagnostic *d) {
    heard *h = ctx;
    h->n++, h->severity = d->severity;
    snprintf(h->code, sizeof h->code, "%s", d->code);
    snprintf(h->message, sizeof h->message, "%s", d->message);
    snprintf(h->hint, sizeof h->hint, "%s", d->hint ? d->hint : "");
}

static char out[128];

/* The run's last checkpoint, into the session. */
static ctl_status load(network *n, heard *h) {
    ctl_checkpoint c;
    bool found = false;
    *h = (heard){0};
    n->session->diagnostic = take, n->session->diagnostic_ctx = h;
    const ctl_status status = ctl_checkpoint_load(n->session, out, &c, &found);
    n->session->diagnostic = hear;
    assert_true(found == (status == CTL_OK));
    if (found) ctl_checkpoint_free(n->session, &c);
    return status;
}

static void save(network *n, uint64_t step) {
    const ctl_checkpoint c = {.step = step};
    assert_int_equal(ctl_checkpoint_save(n->session, out, &c), CTL_OK);
}

static ctl_string table_of(network *n) {
    ctl_string text = {.allocator = &ctl_malloc_allocator};
    n->session->engine->keep(n->session, &text);
    assert_false(text.failed);
    return text;
}

static void expect(const heard *h, const char *message, const char *hint) {
    if (h->n != 1 || h->severity != CTL_WARNING || strcmp(h->code, "E0815") != 0 || strcmp(h->message, message) != 0 ||
        strcmp(h->hint, hint) != 0)
        fail_msg("said %d times, at last %s: %s (%s), not: %s (%s)", h->n, h->code, h->message, h->hint, message, hint);
}

/* ---- one question a form ---- */
static void test_asked_once(void **state) {
    (void)state;
    standin_control *c = cuda_control();
    network n;
    c->proposals = 0;
    cuda_open(&n, &wanted);
    const long asked = c->proposals;
    size_t products = 0, lines = 0;
    for (int e = 0; e < RUN_COUNT; e++)
        for (size_t i = 0; i < n.program->run[e].n; i++) products += n.program->run[e].at[i].kind == TASK_MATMUL;
    ctl_string table = table_of(&n);
    for (size_t k = 0; k < table.n; k++) lines += table.at[k] == '\n';
    assert_int_equal(lines, asked + 3);
    assert_true(asked > 10 && (size_t)asked < products); /* the second block asks nothing that the first has not */
    assert_true(strncmp(table.at, "products 1\ncuBLASLt 130100\nstand-in, compute capability 8.6, 3 multiprocessors\n", 78) == 0);
    for (int step = 1; step <= 3; step++) cuda_step(&n, step, 1, true);
    assert_int_equal(c->proposals, asked);
    ctl_string_drop(&table);
    cuda_close(&n);
}

/* ---- a run that goes on ---- */
/* Two steps, a checkpoint, three steps more. */
static void whole_run(network *n, double loss[3]) {
    cuda_open(n, &wanted);
    for (int step = 1; step <= 2; step++) cuda_step(n, step, 1, true);
    save(n, 2);
    for (int step = 3; step <= 5; step++) loss[step - 3] = cuda_step(n, step, 1, true);
}
/* Whether the steps behind the checkpoint have the same bits in a session that has loaded it. */
static bool goes_on(network *n, network *whole, const double loss[3]) {
    bool same = true;
    for (int step = 3; step <= 5; step++) {
        const double got = cuda_step(n, step, 1, true);
        same = same && memcmp(&got, &loss[step - 3], sizeof got) == 0;
    }
    return same && cuda_distance(n, whole, CTL_FLAT_PARAMS) == 0 && cuda_distance(n, whole, CTL_FLAT_MOMENT2) == 0;
}

static void test_kept(void **state) {
    (void)state;
    standin_control *c = cuda_control();
    network whole, other, fresh;
    double loss[3];
    heard h;
    snprintf(out, sizeof out, "%s/kept", folder);
    whole_run(&whole, loss);
    ctl_string was = table_of(&whole);
    c->proposal = 1;
    cuda_open(&other, &wanted);
    for (int step = 1; step <= 4; step++) cuda_step(&other, step, 1, true); /* graphs hold the new algorithms now */
    cuda_open(&fresh, &wanted);
    ctl_string is = table_of(&other);
    assert_true(strcmp(is.at, was.at) != 0);
    ctl_string_drop(&is);
    assert_int_equal(load(&other, &h), CTL_OK);
    assert_int_equal(h.n, 0);
    is = table_of(&other);
    assert_string_equal(is.at, was.at);
    assert_true(goes_on(&other, &whole, loss));
    /* What goes on keeps them for those that go on from there. */
    save(&other, 5);
    assert_int_equal(load(&fresh, &h), CTL_OK);
    assert_int_equal(h.n, 0);
    ctl_string again = table_of(&fresh);
    assert_string_equal(again.at, was.at);
    assert_true(cuda_step(&fresh, 6, 1, true) == cuda_step(&whole, 6, 1, true));
    ctl_string_drop(&again), ctl_string_drop(&is), ctl_string_drop(&was);
    cuda_close(&whole), cuda_close(&other), cuda_close(&fresh);
    c->proposal = 0;
    assert_string_equal(c->fault, "");
    assert_int_equal(c->live, 0);
}

/* ---- where it cannot ---- */
static void sed(const char *script) {
    char command[512];
    snprintf(command, sizeof command, "sed -i '%s' '%s/checkpoint-2/state.json'", script, out);
    assert_int_equal(system(command), 0);
}

static void test_told(void **state) {
    (void)state;
    standin_control *c = cuda_control();
    network whole, other;
    double loss[3];
    heard h;
    char message[512];
    snprintf(out, sizeof out, "%s/told", folder);
    whole_run(&whole, loss);
    c->proposal = 1, c->version = 130200;
    cuda_open(&other, &wanted);
    assert_int_equal(load(&other, &h), CTL_OK);
    expect(&h, "from here on a product may differ in its last bits: the checkpoint's algorithms are cuBLASLt 130100's on stand-in, compute "
               "capability 8.6, 3 multiprocessors, and this is cuBLASLt 130200 on stand-in, compute capability 8.6, 3 multiprocessors",
           "the same version (--cuda-libraries) on the same device goes on bit for bit");
    assert_false(goes_on(&other, &whole, loss)); /* as was said */
    c->version = 130100, c->refuses = 1;
    assert_int_equal(load(&other, &h), CTL_OK);
    ctl_string table = table_of(&other);
    size_t forms = 0;
    for (size_t k = 0; k < table.n; k++) forms += table.at[k] == '\n';
    forms -= 3;
    ctl_string_drop(&table);
    snprintf(message, sizeof message, "from here on a product may differ in its last bits: for %zu of %zu forms of products the "
             "checkpoint has no algorithm that cuBLASLt 130100 takes", forms, forms);
    expect(&h, message, "resume with the spec, the settings and the memory of the run");
    c->refuses = 0;
    assert_int_equal(load(&other, &h), CTL_OK); /* and taken, the run goes on as it would have */
    assert_int_equal(h.n, 0);
    assert_true(goes_on(&other, &whole, loss));
    /* Another engine; then as checkpoints were before they told of engines. */
    network cpu;
    cuda_wanted w = wanted;
    w.engine = CTLC_CPU;
    cuda_open(&cpu, &w);
    assert_int_equal(load(&cpu, &h), CTL_OK);
    expect(&h, "from here on numbers may differ in their last bits: the run's engine was cuda, and is cpu now",
           "resume with the engine of the run to go on bit for bit");
    cuda_close(&cpu);
    sed("/\"engine/d");
    assert_int_equal(load(&other, &h), CTL_OK);
    expect(&h, "from here on a product may differ in its last bits: the checkpoint is of another version of ctlc and has no algorithms "
               "of products that this one reads",
           "checkpoints from here on have them");
    cuda_close(&whole), cuda_close(&other);
    c->proposal = 0;
    assert_int_equal(c->live, 0);
}

/* ---- damage ---- */
static void test_damage(void **state) {
    (void)state;
    network n;
    heard h;
    snprintf(out, sizeof out, "%s/bad", folder);
    cuda_open(&n, &wanted);
    save(&n, 2);
    ctl_string was = table_of(&n);
    static const char *const scripts[] = {"s/f32\\[32,/f32[33,/", "/engine_checksum/d", "/engine_keeps/d", "s/\"engine\": \"cuda\"/\"engines\": 1/"};
    for (size_t k = 0; k < CTL_COUNT(scripts); k++) {
        save(&n, 1), save(&n, 2);
        sed(scripts[k]);
        assert_int_equal(load(&n, &h), CTL_ERR_INPUT);
        assert_string_equal(h.code, "E0708");
        assert_non_null(strstr(h.message, "checkpoint-2/state.json' is damaged: the checksum of what its engine keeps is wrong"));
    }
    /* Texts with a right checksum that are none: each is the table with a piece of it exchanged. */
    static const struct {
        const char *what, *by;
    } texts[] = {
        {"processors\n", "processors\ng"}, {"processors\n", "processors\n\n"},
        {" 33554432 ", " 33554433 "}, {" 33554432 ", " "}, {" 33554432 ", "33554432 "},
    };
    for (size_t k = 0; k < CTL_COUNT(texts); k++) {
        const char *at = strstr(was.at, texts[k].what);
        assert_non_null(at);
        ctl_string text = {.allocator = &ctl_malloc_allocator};
        ctl_string_put(&text, was.at, (size_t)(at - was.at));
        ctl_string_put(&text, texts[k].by, strlen(texts[k].by));
        ctl_string_put(&text, at + strlen(texts[k].what), strlen(at + strlen(texts[k].what)));
        const ctl_status status = n.session->engine->take(n.session, text.at);
        if (status != CTL_ERR_INPUT) fail_msg("status %d with `%s` for `%s`", (int)status, texts[k].by, texts[k].what);
        ctl_string_drop(&text);
    }
    ctl_string is = table_of(&n);
    assert_string_equal(is.at, was.at);
    was.at[--was.n] = 0; /* cut off */
    assert_int_equal(n.session->engine->take(n.session, was.at), CTL_ERR_INPUT);
    ctl_string_drop(&is), ctl_string_drop(&was);
    cuda_close(&n);
}

/* ---- a call that fails on the way ---- */
/* An algorithm that cannot be asked about is none; any other failure is the session's. */
static void test_fails(void **state) {
    (void)state;
    standin_control *c = cuda_control();
    network n;
    heard h;
    int failed = 0, told = 0;
    snprintf(out, sizeof out, "%s/fails", folder);
    cuda_open(&n, &wanted);
    save(&n, 2);
    cuda_close(&n);
    for (long k = 0; k < 40; k += k < 6 ? 1 : 7) {
        cuda_open(&n, &wanted);
        c->calls = 0, c->fail_at = k, c->fail_with = 999;
        const ctl_status status = load(&n, &h);
        c->fail_at = -1;
        assert_true(status == CTL_OK ? h.n <= 1 && (!h.n || strcmp(h.code, "E0815") == 0) : h.n == 1 && strcmp(h.code, "E0814") == 0);
        failed += status != CTL_OK, told += status == CTL_OK && h.n;
        cuda_close(&n);
    }
    assert_true(failed > 1 && told > 1);
    assert_int_equal(c->live, 0);
}

static int begin(void **state) {
    cuda_control(); /* loaded once, and kept */
    return make_folder(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_asked_once), cmocka_unit_test(test_kept), cmocka_unit_test(test_told),
                                       cmocka_unit_test(test_damage), cmocka_unit_test(test_fails)};
    return cmocka_run_group_tests(tests, begin, remove_folder);
}
