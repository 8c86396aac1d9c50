/* Weights and adapters: which tensor is which parameter, what may be missing, and what is said about it. */
#include "fake_engine.h"

#include <sys/stat.h>
#include <unistd.h>

#include "runtime/checkpoint.h"
#include "runtime/safetensors.h"

static char folder[64];
static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/ctl_weights_XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}
static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}
static char path_text[4][256];
static const char *in_folder(int slot, const char *name) {
    snprintf(path_text[slot], sizeof path_text[slot], "%s/%s", folder, name);
    return path_text[slot];
}
static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* Files of tensors whose elements are 1, 2, 3, ... plus 100 times the tensor's number. */
static ctl_status give(void *ctx, size_t tensor, size_t first, size_t count, void *out) {
    (void)ctx;
    for (size_t i = 0; i < count; i++) ((float *)out)[i] = (float)(100 * tensor + first + i + 1);
    return CTL_OK;
}
static void write_file(const char *path, const ctl_tensor_spec *specs, size_t n) {
    ctl_place place = {{0}, &ctl_malloc_allocator};
    assert_int_equal(ctl_tensors_save(path, specs, n, NULL, 0, give, NULL, place), CTL_OK);
}
static const ctl_tensor_spec base[] = {{"model.a.weight", CTL_F32, 2, {3, 5}},
                                       {"model.b.bias", CTL_F32, 1, {4}},
                                       {"model.c.weight", CTL_F32, 2, {4, 3}},
                                       {"model.a.rotary.inv_freq", CTL_F32, 1, {2}}};

typedef struct fixture {
    fake_program *f;
    heard h;
    ctl_session *s;
} fixture;
static void open_fixture(fixture *x, uint64_t seed) {
    *x = (fixture){.f = fake_make(CTL_F32)};
    x->s = fake_session_open(x->f, &x->h, NULL, seed);
}
static void close_fixture(fixture *x) {
    ctl_session_close(x->s);
    ctl_program_free(&x->f->p);
}

static ctl_status load_specs(fixture *x, const ctl_tensor_spec *specs, size_t n, ctl_weights_report *report) {
    const char *path = in_folder(0, "weights");
    write_file(path, specs, n);
    x->h = (heard){0};
    return ctl_session_load_weights(x->s, &path, 1, report);
}

static void loads_by_name(void **state) {
    (void)state;
    fixture x;
    open_fixture(&x, 1);
    ctl_weights_report report;
    assert_int_equal(load_specs(&x, base, 4, &report), CTL_OK);
    assert_true(report.loaded == 3 && report.initialised == 3 && report.unused == 1);
    assert_true(x.h.n == 1 && x.h.warnings == 1);
    char want[400];
    snprintf(want, sizeof want, "1 tensor of '%s/weights' belongs to no parameter: 'model.a.rotary.inv_freq'",
             folder);
    assert_string_equal(x.h.message, want);
    double a[15], c[12];
    ctl_session_param_read(x.s, A, CTL_F64, a);
    ctl_session_param_read(x.s, C, CTL_F64, c);
    for (int i = 0; i < 15; i++) assert_true(a[i] == i + 1);
    for (int i = 0; i < 12; i++) assert_true(c[i] == 200 + i + 1);
    assert_int_equal(ctl_session_load(x.s), CTL_OK);
    /* What was loaded may be missing later; of several files the last counts. */
    const char *paths[2] = {in_folder(0, "weights"), in_folder(1, "second")};
    static const ctl_tensor_spec second = {"model.b.bias", CTL_F32, 2, {1, 4}};
    write_file(paths[1], &second, 1);
    assert_int_equal(ctl_session_load_weights(x.s, paths, 2, NULL), CTL_OK);
    double b[4];
    ctl_session_param_read(x.s, B, CTL_F64, b);
    assert_true(b[0] == 1 && b[3] == 4);
    assert_int_equal(ctl_session_load_weights(x.s, paths + 1, 1, &report), CTL_OK);
    assert_true(report.loaded == 1 && report.initialised == 0);
    close_fixture(&x);
}

/* Reading, first values and numbering tell how far they are: each begins anew, grows, and ends with all. */
typedef struct told {
    int calls, ended;
    int64_t last, of[3];
    const char *doing[3];
} told;
static void tell(void *ctx, const char *doing, int64_t done, int64_t of) {
    told *t = ctx;
    assert_in_range(t->ended, 0, 2);
    assert_true(done > t->last && done <= of);
    t->calls++, t->last = done == of ? 0 : done;
    if (done == of) t->doing[t->ended] = doing, t->of[t->ended++] = of;
}

static void tells_how_far_it_is(void **state) {
    (void)state;
    fixture x;
    open_fixture(&x, 1);
    told t = {0};
    x.s->progress = tell, x.s->progress_ctx = &t;
    assert_int_equal(load_specs(&x, base, 4, NULL), CTL_OK);
    assert_int_equal(ctl_session_load(x.s), CTL_OK);
    ctl_session_frozen_hash(x.s);
    assert_int_equal(t.ended, 3);
    assert_string_equal(t.doing[0], "reading weights");
    assert_string_equal(t.doing[1], "making first values");
    assert_string_equal(t.doing[2], "numbering weights");
    int64_t of[3] = {15 + 4 + 12, 0, 0};
    for (int i = 0; i < NPARAMS; i++) {
        const ctl_program_param *p = &x.f->p.params[i];
        if (i > C && p->init != PROGRAM_INIT_VALUE) of[1] += p->rows * p->cols;
        if (!p->trained && !p->made_by_control) of[2] += p->rows * p->cols;
    }
    for (int k = 0; k < 3; k++) assert_int_equal(t.of[k], of[k]);
    assert_true(t.calls > 3);
    close_fixture(&x);
}

static void says_what_is_missing(void **state) {
    (void)state;
    fixture x;
    open_fixture(&x, 1);
    char want[600];
    ctl_tensor_spec specs[4];
    memcpy(specs, base, sizeof base);
    specs[0].name = "model.a.wieght"; /* frozen, and misspelt */
    assert_int_equal(load_specs(&x, specs, 4, NULL), CTL_ERR_INPUT);
    assert_int_equal(x.h.errors, 1);
    assert_non_null(strstr(x.h.all, "E0704 no file has the parameter 'model.a.weight'\n"));
    for (size_t i = 0; i < NPARAMS; i++) assert_false(x.s->param_written[i]); /* nothing was written */
    memcpy(specs, base, sizeof base);
    specs[0].name = "base.model.a.weight";
    x.h = (heard){0};
    assert_int_equal(load_specs(&x, specs, 1, NULL), CTL_ERR_INPUT);
    assert_int_equal(x.h.errors, 3); /* nothing of the model is there: the trained one is an error too */
    memcpy(specs, base, sizeof base);
    assert_int_equal(load_specs(&x, specs, 2, NULL), CTL_OK); /* without model.c.weight, which is trained */
    assert_true(x.h.warnings == 1 && x.h.errors == 0);
    assert_string_equal(x.h.message, "no file has the parameter 'model.c.weight'; it is initialised, unless an adapter has it");
    /* shapes and types */
    specs[0].dims[0] = 5, specs[0].dims[1] = 3;
    assert_int_equal(load_specs(&x, specs, 3, NULL), CTL_ERR_INPUT);
    snprintf(want, sizeof want, "'%s/weights': tensor 'model.a.weight' is [5, 3]; the parameter is [3, 5]",
             folder);
    assert_string_equal(x.h.message, want);
    assert_string_equal(x.h.hint, "it may be transposed");
    specs[0] = base[0], specs[1].dims[0] = 5;
    assert_int_equal(load_specs(&x, specs, 3, NULL), CTL_ERR_INPUT);
    snprintf(want, sizeof want, "'%s/weights': tensor 'model.b.bias' is [5]; the parameter is [4]", folder);
    assert_string_equal(x.h.message, want);
    specs[1] = base[1], specs[2].dtype = CTL_I32;
    assert_int_equal(load_specs(&x, specs, 3, NULL), CTL_ERR_INPUT);
    snprintf(want, sizeof want, "'%s/weights': tensor 'model.c.weight' has elements of type I32", folder);
    assert_string_equal(x.h.message, want);
    specs[2] =
        (ctl_tensor_spec){"model.c.weight", CTL_F32, 4, {4, 3, 1, 1}}; /* as a convolution's is stored */
    assert_int_equal(load_specs(&x, specs, 3, NULL), CTL_OK);
    close_fixture(&x);
}

static void hints_at_the_nearest_name(void **state) {
    (void)state;
    fixture x;
    open_fixture(&x, 1);
    ctl_tensor_spec specs[4];
    memcpy(specs, base, sizeof base);
    specs[0].name = "base.model.a.weight";
    const char *path = in_folder(0, "weights");
    write_file(path, specs, 3);
    x.s->param_written[B] = true;
    assert_int_equal(ctl_session_load_weights(x.s, &path, 1, NULL), CTL_ERR_INPUT);
    char want[600];
    snprintf(want, sizeof want,
             "E0704 no file has the parameter 'model.a.weight'\nE0706 1 tensor of '%s/weights' belongs to no "
             "parameter: 'base.model.a.weight'\n",
             folder);
    assert_string_equal(x.h.all, want);
    snprintf(want, sizeof want, "'%s/weights' has 'base.model.a.weight'\n\n", folder);
    assert_string_equal(x.h.hints, want);
    specs[0].name = "model.a.wieght";
    write_file(path, specs, 3);
    x.h = (heard){0};
    assert_int_equal(ctl_session_load_weights(x.s, &path, 1, NULL), CTL_ERR_INPUT);
    snprintf(want, sizeof want, "'%s/weights' has 'model.a.wieght'\n\n", folder);
    assert_string_equal(x.h.hints, want);
    specs[0].name = "something.quite.different";
    write_file(path, specs, 3);
    x.h = (heard){0};
    assert_int_equal(ctl_session_load_weights(x.s, &path, 1, NULL), CTL_ERR_INPUT);
    assert_string_equal(x.h.hints, "\n\n");
    close_fixture(&x);
}

static void saves_what_is_asked(void **state) {
    (void)state;
    static const struct {
        ctl_save which;
        size_t n;
        bool has[NPARAMS];
    } cases[] = {
        {CTL_SAVE_ALL, 6, {true, true, true, true, true, true}},
        {CTL_SAVE_TRAINED, 3, {false, false, true, true, true, false}},
        {CTL_SAVE_ADAPTER, 4, {false, false, true, true, true, true}},
    };
    fixture x, y;
    open_fixture(&x, 1);
    assert_int_equal(ctl_session_load(x.s), CTL_OK);
    const char *path = in_folder(0, "saved");
    for (size_t i = 0; i < CTL_COUNT(cases); i++) {
        assert_int_equal(ctl_session_save_weights(x.s, path, cases[i].which, CTL_REAL), CTL_OK);
        ctl_tensors *set;
        ctl_place place = {{0}, &ctl_malloc_allocator};
        assert_int_equal(ctl_tensors_open(path, "", place, &set), CTL_OK);
        assert_int_equal(ctl_tensors_count(set), cases[i].n);
        for (int p = 0; p < NPARAMS; p++) {
            const ctl_tensor *t = ctl_tensors_find(set, x.f->params[p].name);
            assert_int_equal(t != NULL, cases[i].has[p]);
            if (t) assert_int_equal(t->dtype, x.f->params[p].trained ? CTL_F32 : CTL_BF16);
            if (t) assert_int_equal(t->ndims, x.f->params[p].ndims);
        }
        ctl_tensors_close(set);
    }
    assert_int_equal(ctl_session_save_weights(x.s, path, CTL_SAVE_ALL, CTL_I32), CTL_ERR_INPUT);
    /* all, as f64, into a session of another seed: the same values */
    assert_int_equal(ctl_session_save_weights(x.s, path, CTL_SAVE_ALL, CTL_F64), CTL_OK);
    open_fixture(&y, 2);
    assert_int_equal(ctl_session_load_weights(y.s, &path, 1, NULL), CTL_OK);
    assert_int_equal(ctl_session_load(y.s), CTL_OK);
    for (size_t p = 0; p < NPARAMS; p++) {
        double a[16], b[16];
        ctl_session_param_read(x.s, p, CTL_F64, a);
        ctl_session_param_read(y.s, p, CTL_F64, b);
        assert_memory_equal(a, b, ctl_param_elements(&x.f->params[p]) * 8);
    }
    close_fixture(&x), close_fixture(&y);
}

static void adapters_round_trip(void **state) {
    (void)state;
    fixture x, y;
    open_fixture(&x, 1), open_fixture(&y, 2);
    assert_int_equal(ctl_session_load(x.s), CTL_OK);
    char directory[256];
    snprintf(directory, sizeof directory, "%s/made/on/the/way", folder);
    assert_int_equal(ctl_session_save_adapter(x.s, directory), CTL_OK);
    assert_int_equal(ctl_session_load_adapter(y.s, directory), CTL_OK);
    assert_int_equal(ctl_session_load(y.s), CTL_OK);
    double a[15], b[15];
    ctl_session_param_read(x.s, LORA, CTL_F64, a);
    ctl_session_param_read(y.s, LORA, CTL_F64, b);
    assert_memory_equal(a, b, 10 * 8);
    ctl_session_param_read(x.s, A, CTL_F64, a); /* the base stays each one's own */
    ctl_session_param_read(y.s, A, CTL_F64, b);
    assert_memory_not_equal(a, b, 15 * 8);
    assert_int_equal(y.h.n, 0);
    char config[300], text[1024] = "";
    snprintf(config, sizeof config, "%s/adapter_config.json", directory);
    FILE *f = fopen(config, "rb");
    assert_non_null(f);
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    assert_string_equal(
        text, "{\n  \"format\": 1,\n  \"inference_mode\": true,\n  \"peft_type\": \"STATE_CONTROL\",\n"
              "  \"base_model_name_or_path\": \"tiny\",\n  \"compute\": \"bf16\",\n"
              "  \"control_source\": \"control \\\"c\\\" {\\n}\"\n}\n");
    /* another control, another kind, no JSON, no configuration */
    write_text(config, "{\"peft_type\":\"STATE_CONTROL\",\"control_source\":\"else\"}");
    assert_int_equal(ctl_session_load_adapter(y.s, directory), CTL_OK);
    assert_true(y.h.n == 1 && y.h.warnings == 1);
    write_text(config, "{\"peft_type\":\"VERA\"}");
    assert_int_equal(ctl_session_load_adapter(y.s, directory), CTL_ERR_INPUT);
    assert_non_null(strstr(y.h.message, "the adapter's peft_type is 'VERA', not 'STATE_CONTROL', 'LORA' or 'IA3'"));
    assert_string_equal(y.h.code, "E0709");
    write_text(config, "{");
    assert_int_equal(ctl_session_load_adapter(y.s, directory), CTL_ERR_INPUT);
    unlink(config);
    assert_int_equal(ctl_session_load_adapter(y.s, directory), CTL_OK);
    char tensors[300];
    snprintf(tensors, sizeof tensors, "%s/adapter_model.safetensors", directory);
    assert_int_equal(ctl_session_load_adapter(y.s, tensors), CTL_OK);
    /* nothing may be missing and nothing be too much */
    y.h = (heard){0};
    write_file(tensors, base, 3);
    assert_int_equal(ctl_session_load_adapter(y.s, directory), CTL_ERR_INPUT);
    assert_int_equal(y.h.errors, 3); /* lora_A, magnitude, eye */
    assert_int_equal(ctl_session_save_weights(x.s, tensors, CTL_SAVE_ADAPTER, CTL_REAL), CTL_OK);
    x.f->p.nparams = LORA + 1; /* a program without the last two */
    assert_int_equal(ctl_session_load_adapter(x.s, directory), CTL_ERR_INPUT);
    assert_non_null(strstr(x.h.message, "belong to no parameter: 'model.a.eye.weight', 'model.a.magnitude'"));
    x.f->p.nparams = NPARAMS;
    close_fixture(&x), close_fixture(&y);
}

static void survives_no_memory(void **state) {
    (void)state;
    fake_program *f = fake_make(CTL_F32);
    counting c = {0};
    heard h = {0};
    ctl_session *s = fake_session_open(f, &h, &c, 1);
    const char *weights = in_folder(0, "all"), *directory = in_folder(1, "adapter");
    assert_int_equal(ctl_session_load(s), CTL_OK);
    assert_int_equal(ctl_session_save_weights(s, weights, CTL_SAVE_ALL, CTL_REAL), CTL_OK);
    size_t live = c.live;
    for (int what = 0; what < 4; what++) {
        int failures = 0;
        for (long n = 1;; n++, failures++) {
            c.calls = 0, c.fail_at = n;
            ctl_status status = what == 0   ? ctl_session_save_weights(s, weights, CTL_SAVE_ALL, CTL_REAL)
                                : what == 1 ? ctl_session_load_weights(s, &weights, 1, NULL)
                                : what == 2 ? ctl_session_save_adapter(s, directory)
                                            : ctl_session_load_adapter(s, directory);
            assert_int_equal(c.live, live);
            if (status == CTL_OK) break;
            assert_int_equal(status, CTL_ERR_MEMORY);
        }
        assert_true(failures > 5);
    }
    c.fail_at = 0;
    ctl_session_close(s);
    assert_int_equal(c.live, 0);
    ctl_program_free(&f->p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_by_name), cmocka_unit_test(tells_how_far_it_is),
        cmocka_unit_test(says_what_is_missing),
        cmocka_unit_test(hints_at_the_nearest_name),
        cmocka_unit_test(saves_what_is_asked),
        cmocka_unit_test(adapters_round_trip),
        cmocka_unit_test(survives_no_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
