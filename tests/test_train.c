/* The training loop, over the engine of train_fixture.h, which says what the loop gave it: accumulation, going on, stopping and
 * failing are tested without the compiler. */
#include "tests/train_fixture.h"

/* ---- schedules, by their formulas ---- */
static void test_schedules(void **state) {
    (void)state;
    ctl_settings s = ADAMW;
    s.lr = 0.4, s.warmup = 4, s.steps = 12;
    const char *const names[] = {"constant", "linear", "cosine"};
    for (int k = 0; k < 3; k++) {
        strcpy(s.schedule, names[k]);
        assert_true(ctl_schedule_known(s.schedule));
        for (int t = 1; t <= 12; t++) {
            /* eight steps after the warm-up: u = 0, 1/8, .. 7/8 */
            const double u = (t - 5) / 8.0;
            const double want = t <= 4   ? 0.1 * t
                                : k == 0 ? 0.4
                                : k == 1 ? 0.4 * (1 - u)
                                         : 0.2 * (1 + cos(acos(-1) * u));
            assert_true(fabs(ctl_schedule_rate(&s, t) - want) <= 1e-15);
        }
    }
    assert_true(ctl_schedule_rate(&s, 13) == 0);
    s.warmup = 0;
    assert_true(ctl_schedule_rate(&s, 1) == 0.4);
    assert_false(ctl_schedule_known("exponential"));
}

/* ---- the loss, against what it must be ---- */
static void test_losses(void **state) {
    (void)state;
    told h;
    ctl_train_result r;
    const trial t = {.tokens = 64, .sequence = 16, .settings = ADAMW};
    assert_int_equal(try(&t, &h, &r), CTL_OK);
    /* Nothing is known at first: every token costs ln 258. */
    assert_true(fabs(h.losses[1] - log(258)) <= 1e-6);
    assert_true(fabs(r.before.loss - log(258)) <= 1e-6);
    assert_true(fabs(r.before.perplexity - 258) <= 1e-3);
    assert_int_equal(r.before.counted, 51); /* 50 bytes and the end */
    assert_true(fabs(r.before.bits_per_byte - 51 * log2(258) / 50) <= 1e-5);
    assert_true(r.after.loss < r.before.loss - 0.5);
    assert_int_equal(r.after.step, 20);
    assert_int_equal(h.evaluations, 5); /* before, after 6, 12, 18, at the end */
    assert_int_equal(r.tokens, 20 * 64);
    assert_int_equal(r.last, 20);
}

/* Four micro-steps of 64 rows are one of 256: the same sequences, in the same order, one normaliser. */
static void test_accumulation(void **state) {
    (void)state;
    static float parts_table[V * V], whole_table[V * V];
    told parts, whole;
    trial t = {.tokens = 64, .sequence = 16, .settings = ADAMW, .table = parts_table};
    t.settings.accumulate = 4;
    seen_rows = 0;
    assert_int_equal(try(&t, &parts, NULL), CTL_OK);
    assert_int_equal(seen_rows, 20 * (64 + 128 + 192)); /* micro-steps number their rows in the whole batch */
    t.tokens = 256, t.settings.accumulate = 1, t.table = whole_table;
    assert_int_equal(try(&t, &whole, NULL), CTL_OK);
    for (int i = 1; i <= 20; i++) {
        const double error = fabs(parts.losses[i] - whole.losses[i]) / whole.losses[i];
        assert_true(error <= 1e-6);
    }
    /* AdamW divides by the gradient's size, so a rounding of a tiny gradient shows; it stays far below the
     * rate, 0.05 */
    for (int i = 0; i < V * V; i++) assert_true(fabsf(parts_table[i] - whole_table[i]) <= 1e-3f);
}

/* ---- stopping and going on ---- */
static void test_resume(void **state) {
    (void)state;
    static float whole_table[V * V], parts_table[V * V];
    for (int packed = 0; packed < 2; packed++) {
        told whole, first, second;
        ctl_train_result r, uninterrupted;
        const char *out_whole = fresh_out("whole"), *out_parts = fresh_out("parts");
        trial t = {.tokens = 48,
                   .sequence = packed ? 0 : 16,
                   .settings = ADAMW,
                   .out = out_whole,
                   .table = whole_table};
        t.settings.accumulate = 2;
        assert_int_equal(try(&t, &whole, &uninterrupted), CTL_OK);
        /* Once where an evaluation was due, which is then made up for. */
        const int at = packed ? 6 : 7;
        t.out = out_parts, t.table = parts_table, t.stop_after = at;
        assert_int_equal(try(&t, &first, &r), CTL_INTERRUPTED);
        assert_int_equal(r.last, at);
        t.stop_after = 0, t.resume = true;
        assert_int_equal(try(&t, &second, &r), CTL_OK);
        assert_int_equal(second.resumed, 1);
        assert_int_equal(r.first, at);
        assert_int_equal(r.last, 20);
        r.before.seconds = uninterrupted.before.seconds; /* the evaluation before the first step is not forgotten */
        assert_memory_equal(&r.before, &uninterrupted.before, sizeof r.before);
        for (int i = 1; i <= 20; i++) {
            const double *part = i <= at ? &first.losses[i] : &second.losses[i];
            assert_memory_equal(part, &whole.losses[i], sizeof(double));
        }
        assert_memory_equal(parts_table, whole_table, sizeof whole_table);
        char *a = read_log(out_whole), *b = read_log(out_parts);
        assert_string_equal(a, b);
        free(a);
        free(b);
    }
}

/* What was logged after the last checkpoint, by a process that died, is told again and not twice. */
static void test_stale_log(void **state) {
    (void)state;
    told h;
    const char *out = fresh_out("stale"), *clean = fresh_out("clean");
    trial t = {.tokens = 48, .sequence = 16, .settings = ADAMW, .out = clean};
    assert_int_equal(try(&t, &h, NULL), CTL_OK);
    t.out = out, t.stop_after = 9;
    assert_int_equal(try(&t, &h, NULL), CTL_INTERRUPTED);
    char path[256];
    snprintf(path, sizeof path, "%s/log.jsonl", out);
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    fputs("{\"step\": 10, \"loss\": 1.0}\n{\"step\": 11, \"lo", f);
    fclose(f);
    t.stop_after = 0, t.resume = true;
    assert_int_equal(try(&t, &h, NULL), CTL_OK);
    char *a = read_log(clean), *b = read_log(out);
    assert_string_equal(a, b);
    free(a);
    free(b);
}

/* Two processes would write over each other's checkpoints. The lock goes with its holder, also when that is killed. */
static void test_two_processes(void **state) {
    (void)state;
    told h;
    const char *out = fresh_out("locked");
    int pipe_to[2];
    char byte;
    assert_int_equal(pipe(pipe_to), 0);
    const pid_t child = fork();
    if (child == 0) {
        int fd;
        byte = ctl_lock_take(out, (ctl_voice){NULL, NULL}, &fd) == CTL_OK && fd >= 0 ? 'y' : 'n';
        if (write(pipe_to[1], &byte, 1) == 1) pause();
        _exit(1);
    }
    assert_true(child > 0);
    assert_int_equal(read(pipe_to[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    trial t = {.tokens = 48, .sequence = 16, .settings = ADAMW, .out = out, .stop_after = 2};
    char who[40];
    snprintf(who, sizeof who, "another process (%ld)", (long)child);
    assert_int_equal(try(&t, &h, NULL), CTL_ERR_INPUT);
    assert_string_equal(h.said.code, "E0609");
    assert_non_null(strstr(h.said.message, who));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(try(&t, &h, NULL), CTL_INTERRUPTED);
    close(pipe_to[0]), close(pipe_to[1]);
}

static void test_refusals(void **state) {
    (void)state;
    told h;
    const char *out = fresh_out("refuse");
    trial t = {.tokens = 48, .sequence = 16, .settings = ADAMW, .out = out, .stop_after = 2};
    assert_int_equal(try(&t, &h, NULL), CTL_INTERRUPTED);
    assert_int_equal(try(&t, &h, NULL), CTL_ERR_INPUT); /* the folder holds a run */
    assert_string_equal(h.said.code, "E0609");
    t.resume = true;
    t.text = "Another text, as long as it must be for six documents, one shorter than the other, to be made "
             "of it: "
             "and its bytes are not those of the first run.";
    assert_int_equal(try(&t, &h, NULL), CTL_ERR_INPUT);
    assert_string_equal(h.said.code, "E0606");
    assert_non_null(strstr(h.said.message, "cannot go on: its data is another"));
    t.text = NULL, t.settings.accumulate = 2;
    assert_int_equal(try(&t, &h, NULL), CTL_ERR_INPUT);
    assert_non_null(strstr(h.said.message, "its accumulate was 1, now it is 2"));
    t.settings = ADAMW, t.out = fresh_out("nothing"),
    t.stop_after = 0; /* --resume with nothing to go on from: from the begin */
    assert_int_equal(try(&t, &h, NULL), CTL_OK);
    assert_int_equal(h.resumed, 0);

    t.out = NULL, t.resume = false;
    t.settings.steps = 0;
    assert_int_equal(try(&t, &h, NULL), CTL_ERR_INPUT);
    assert_string_equal(h.said.message, "steps must be 1 or more");
    t.settings = ADAMW;
    t.settings.lr = NAN;
    assert_int_equal(try(&t, &h, NULL), CTL_ERR_INPUT);
    assert_string_equal(h.said.message, "lr must be a number, 0 or more");
}

static void test_divergence(void **state) {
    (void)state;
    static float before[V * V], after[V * V];
    told h;
    ctl_train_result r;
    trial t = {
        .tokens = 48, .sequence = 16, .settings = ADAMW, .out = fresh_out("diverge"), .checkpoint_every = 5};
    t.stop_after = 10, t.table = before;
    assert_int_equal(try(&t, &h, &r), CTL_INTERRUPTED);
    t.stop_after = 0, t.table = after, t.resume = true;
    poison_step = 11;
    assert_int_equal(try(&t, &h, &r), CTL_ERR_NUMERIC);
    poison_step = 0;
    assert_string_equal(h.said.code, "E0608");
    assert_string_equal(h.said.message, "the loss of step 11 is not finite (nan); nothing was updated");
    assert_int_equal(r.last, 10);
    assert_memory_equal(before, after, sizeof before);
    t.table = NULL; /* the checkpoint of step 10 still goes on */
    assert_int_equal(try(&t, &h, &r), CTL_OK);
    assert_int_equal(r.first, 10);
}

/* A limit on the size of files stands for a full disk: the run stops and says so, and goes on from what was
 * saved. */
static void test_full_disk(void **state) {
    (void)state;
    told h;
    ctl_train_result r;
    struct rlimit old, small;
    trial t = {
        .tokens = 48, .sequence = 16, .settings = ADAMW, .out = fresh_out("full"), .checkpoint_every = 4};
    t.stop_after = 4;
    assert_int_equal(try(&t, &h, &r), CTL_INTERRUPTED);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 4096; /* the log fits for a while; a checkpoint of 3 x 266 kB does not */
    t.stop_after = 0, t.resume = true;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    ctl_status status = try(&t, &h, &r);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(status, CTL_ERR_IO);
    assert_int_equal(h.said.n, 1);
    assert_string_equal(h.said.code, "E0707");
    small.rlim_cur = 900; /* now the log is what does not fit */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    status = try(&t, &h, &r);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(status, CTL_ERR_IO);
    assert_string_equal(h.said.code, "E0607");
    char *log = read_log(t.out); /* whole lines only: read_log checks them */
    free(log);
    assert_int_equal(try(&t, &h, &r), CTL_OK);
    assert_int_equal(r.first, 4);
}

/* ---- memory: whichever allocation of the loop fails, it says so, leaks nothing, and the run can go on ----
 */
static void test_memory(void **state) {
    (void)state;
    told h;
    ctl_train_result r;
    ctl_status status = CTL_ERR_MEMORY;
    trial t = {.tokens = 48, .sequence = 16, .settings = ADAMW, .out = fresh_out("memory"), .resume = true};
    t.settings.steps = 2;
    for (size_t n = 0; status != CTL_OK; n++) {
        meter m = {.left = n};
        const ctl_allocator a = {&m, meter_resize};
        assert_true(n < 200);
        t.allocator = &a;
        status = try(&t, &h, &r);
        assert_true(status == CTL_OK || status == CTL_ERR_MEMORY);
        assert_int_equal(m.held, 0);
    }
    assert_int_equal(r.last, 2);
}

static void test_program_must_fit(void **state) {
    (void)state;
    fixture f;
    told h = {0};
    ctl_data_kind kind;
    fixture_make(&f, 48, 16);
    assert_int_equal(ctl_program_data(&f.program, (ctl_voice){hear, &h}, &kind), CTL_OK);
    f.inputs[1].name = "target";
    assert_int_equal(ctl_program_data(&f.program, (ctl_voice){hear, &h}, &kind), CTL_ERR_INPUT);
    assert_string_equal(h.said.code, "E0605");
    assert_string_equal(h.said.message, "the model has no id input `labels` with one row a token");
    f.inputs[1].name = "labels", f.output.name = "logits";
    assert_int_equal(ctl_program_data(&f.program, (ctl_voice){hear, &h}, &kind), CTL_ERR_INPUT);
    assert_string_equal(h.said.message, "the model has no output `loss`");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedules),    cmocka_unit_test(test_losses),
        cmocka_unit_test(test_accumulation), cmocka_unit_test(test_resume),
        cmocka_unit_test(test_stale_log),    cmocka_unit_test(test_two_processes), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_divergence),   cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_memory),       cmocka_unit_test(test_program_must_fit),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
