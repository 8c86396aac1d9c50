/* Checkpoints: what is saved is loaded, bit for bit; damage and other programs are found; nothing saved is
 * ever lost. */
#include "fake_engine.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/checkpoint.h"
#include "tests/folder.h"

static char path_text[4][300];
static const char *in_folder(int slot, const char *name) {
    snprintf(path_text[slot], sizeof path_text[slot], "%s/%s", folder, name);
    return path_text[slot];
}
static bool exists(const char *name) {
    return access(in_folder(3, name), F_OK) == 0;
}
static int entries(const char *name) {
    DIR *d = opendir(in_folder(3, name));
    assert_non_null(d);
    int n = 0;
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* Parameters and moments that a step number decides. */
static void fill(ctl_session *s, uint64_t step) {
    ctl_flat flat = ctl_session_flat(s);
    for (size_t i = 0; i < flat.count; i++) {
        double p = 1.0 / (double)(step + i + 3), m = -p, v = p * p;
        ctl_convert(flat.dtype, (char *)flat.params + i * ctl_dtype_size(flat.dtype), CTL_F64, &p, 1);
        ctl_convert(flat.dtype, (char *)flat.moment1 + i * ctl_dtype_size(flat.dtype), CTL_F64, &m, 1);
        if (flat.moment2)
            ctl_convert(flat.dtype, (char *)flat.moment2 + i * ctl_dtype_size(flat.dtype), CTL_F64, &v, 1);
    }
}
static bool is_filled(ctl_session *s, uint64_t step) {
    ctl_flat flat = ctl_session_flat(s);
    size_t bytes = flat.count * ctl_dtype_size(flat.dtype);
    char *kept[3];
    void *arrays[3] = {flat.params, flat.moment1, flat.moment2};
    bool same = true;
    for (int k = 0; k < 3; k++) {
        kept[k] = malloc(bytes);
        assert_non_null(kept[k]);
        if (arrays[k]) memcpy(kept[k], arrays[k], bytes);
    }
    fill(s, step);
    for (int k = 0; k < 3; k++) {
        same = same && (!arrays[k] || memcmp(kept[k], arrays[k], bytes) == 0);
        free(kept[k]);
    }
    return same;
}

static ctl_session *open_loaded(fake_program *f, heard *h, counting *c, uint64_t seed) {
    ctl_session *s = fake_session_open(f, h, c, seed);
    assert_int_equal(ctl_session_load(s), CTL_OK);
    return s;
}
static void save(ctl_session *s, const char *out, uint64_t step) {
    ctl_checkpoint c = {.step = step, .data_position = step * 10, .learning_rate = 0.1 / (double)(step + 1)};
    fill(s, step);
    assert_int_equal(ctl_checkpoint_save(s, out, &c), CTL_OK);
}

static void round_trip(ctl_dtype real, bool sgd, const char *name) {
    heard h = {0};
    fake_program *f = fake_make(real);
    if (sgd) f->p.moment2 = CTL_NO_OPERAND;
    const char *out = in_folder(0, name);
    ctl_session *s = open_loaded(f, &h, NULL, UINT64_MAX - 1);
    fill(s, 77);
    static char loop[] = "{\"epoch\": 3, \"order\": \"a\\\"b\"}\n";
    ctl_checkpoint c = {
        .step = UINT64_MAX, .data_position = UINT64_MAX - 5, .learning_rate = 1.0 / 3, .loop = loop};
    bool found = true;
    ctl_checkpoint back;
    assert_int_equal(ctl_checkpoint_load(s, out, &back, &found), CTL_OK);
    assert_false(found);
    assert_int_equal(ctl_checkpoint_save(s, out, &c), CTL_OK);
    double eye[16], other_eye[16];
    ctl_session_param_read(s, EYE, CTL_F64, eye);
    ctl_session_close(s);
    s = open_loaded(f, &h, NULL, 5);
    memset(other_eye, 0, sizeof other_eye);
    ctl_session_param_write(s, EYE, CTL_F64, other_eye); /* frozen, but the adapter's: comes back too */
    assert_int_equal(ctl_checkpoint_load(s, out, &back, &found), CTL_OK);
    assert_true(found && back.step == UINT64_MAX && back.data_position == UINT64_MAX - 5 &&
                back.seed == UINT64_MAX - 1);
    assert_true(back.learning_rate == 1.0 / 3 && s->seed == UINT64_MAX - 1 && s->loaded);
    assert_string_equal(back.loop, loop);
    assert_true(is_filled(s, 77));
    ctl_session_param_read(s, EYE, CTL_F64, other_eye);
    assert_memory_equal(eye, other_eye, sizeof eye);
    ctl_checkpoint_free(s, &back);
    ctl_session_close(s);
    assert_int_equal(h.n, 0);
    ctl_program_free(&f->p);
}
static void round_trips(void **state) {
    (void)state;
    round_trip(CTL_F32, false, "f32/deep");
    round_trip(CTL_F64, false, "f64");
    round_trip(CTL_F32, true, "sgd");
}

static void keeps_the_last_two(void **state) {
    (void)state;
    fake_program *f = fake_make(CTL_F32);
    ctl_session *s = open_loaded(f, NULL, NULL, 1);
    const char *out = in_folder(0, "two");
    save(s, out, 1);
    assert_true(entries("two") == 2 && exists("two/checkpoint-1"));
    save(s, out, 2);
    assert_int_equal(entries("two"), 3);
    /* what others put there stays */
    assert_int_equal(mkdir(in_folder(1, "two/checkpoint-best"), 0777), 0);
    FILE *mine = fopen(in_folder(1, "two/checkpoint-1/notes.txt"), "w");
    assert_non_null(mine);
    fclose(mine);
    /* what a killed process left goes */
    assert_int_equal(mkdir(in_folder(1, "two/checkpoint-9.tmp-123"), 0777), 0);
    mine = fopen(in_folder(1, "two/checkpoint-9.tmp-123/state.safetensors.tmp-123"), "w");
    assert_non_null(mine);
    fclose(mine);
    mine = fopen(in_folder(1, "two/latest.tmp-99"), "w");
    assert_non_null(mine);
    fclose(mine);
    save(s, out, 3);
    assert_true(exists("two/checkpoint-2") && exists("two/checkpoint-3") && exists("two/checkpoint-best"));
    assert_true(exists("two/checkpoint-1/notes.txt") && !exists("two/checkpoint-1/state.json"));
    assert_true(!exists("two/checkpoint-9.tmp-123") && !exists("two/latest.tmp-99"));
    /* the same step again, twice */
    save(s, out, 3);
    assert_true(exists("two/checkpoint-3") && exists("two/checkpoint-3.1") && !exists("two/checkpoint-2"));
    save(s, out, 3);
    ctl_checkpoint back;
    bool found;
    assert_int_equal(ctl_checkpoint_load(s, out, &back, &found), CTL_OK);
    assert_true(found && back.step == 3);
    ctl_checkpoint_free(s, &back);
    ctl_session_close(s);
    ctl_program_free(&f->p);
}

/* ---- faults ---- */
static void change_file(const char *name, const char *from, const char *to) {
    char text[8192];
    FILE *f = fopen(in_folder(2, name), "rb");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text, f), m = strlen(from), at = 0;
    fclose(f);
    assert_int_equal(m, strlen(to));
    while (at + m <= n && memcmp(text + at, from, m) != 0) at++;
    assert_true(at + m <= n);
    memcpy(text + at, to, m);
    f = fopen(path_text[2], "wb");
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
}

static ctl_status load_into(fake_program *f, const char *out, heard *h) {
    ctl_checkpoint back;
    bool found;
    *h = (heard){0};
    ctl_session *s = open_loaded(f, h, NULL, 9);
    fill(s, 500);
    ctl_status status = ctl_checkpoint_load(s, out, &back, &found);
    assert_int_equal(found, status == CTL_OK);
    if (status == CTL_OK)
        ctl_checkpoint_free(s, &back);
    else
        assert_true(is_filled(s, 500) && s->seed == 9 && !back.loop); /* nothing was changed */
    ctl_session_close(s);
    return status;
}

static void finds_damage_and_strangers(void **state) {
    (void)state;
    fake_program *f = fake_make(CTL_F32);
    ctl_session *s = open_loaded(f, NULL, NULL, 1);
    const char *out = in_folder(0, "bad");
    heard h;
    save(s, out, 4);
    assert_int_equal(load_into(f, out, &h), CTL_OK);
    /* one bit of the data */
    char data[8192];
    FILE *file = fopen(in_folder(1, "bad/checkpoint-4/state.safetensors"), "r+b");
    assert_non_null(file);
    size_t n = fread(data, 1, sizeof data, file);
    assert_true(n > 500 && n < sizeof data);
    fseek(file, (long)n - 41, SEEK_SET);
    fputc(data[n - 41] ^ 1, file);
    fclose(file);
    assert_int_equal(load_into(f, out, &h), CTL_ERR_INPUT);
    assert_non_null(strstr(h.message, "checkpoint-4/state.safetensors' is damaged: its checksum is wrong"));
    assert_string_equal(h.code, "E0708");
    save(s, out, 5);
    assert_int_equal(truncate(in_folder(1, "bad/checkpoint-5/state.safetensors"), (off_t)n - 8), 0);
    assert_int_equal(load_into(f, out, &h), CTL_ERR_INPUT);
    save(s, out, 6);
    change_file("bad/checkpoint-6/state.json", "\"step\": \"6\"", "\"step\": \"x\"");
    assert_int_equal(load_into(f, out, &h), CTL_ERR_INPUT);
    assert_non_null(strstr(
        h.message, "checkpoint-6/state.json' is damaged: something is missing, or another version wrote it"));
    change_file("bad/checkpoint-6/state.json", "\"step\": \"x\"", "\"step\": \"6'");
    assert_int_equal(load_into(f, out, &h), CTL_ERR_INPUT);
    save(s, out, 7);
    unlink(in_folder(1, "bad/checkpoint-7/state.json"));
    assert_int_equal(load_into(f, out, &h), CTL_ERR_IO);
    file = fopen(in_folder(1, "bad/latest"), "w");
    fputs("../elsewhere\n", file);
    fclose(file);
    assert_int_equal(load_into(f, out, &h), CTL_ERR_INPUT);
    assert_non_null(strstr(h.message, "bad/latest' does not name a checkpoint"));
    unlink(in_folder(1, "bad/latest"));
    /* what the engine keeps, and another engine */
    static const char *const broken[][2] = {{"fake engine's", "fake engine'z"}, {"engine_checksum", "engine_checksun"},
                                            {"engine_keeps", "engine_keepz"}, {"\"engine\":", "\"enginf\":"}};
    for (size_t k = 0; k < CTL_COUNT(broken); k++) {
        save(s, out, 20 + k);
        char json[64];
        snprintf(json, sizeof json, "bad/checkpoint-%zu/state.json", 20 + k);
        change_file(json, broken[k][0], broken[k][1]);
        assert_int_equal(load_into(f, out, &h), CTL_ERR_INPUT);
        assert_non_null(strstr(h.message, "/state.json' is damaged: the checksum of what its engine keeps is wrong"));
    }
    save(s, out, 30);
    change_file("bad/checkpoint-30/state.json", "\"engine\": \"fake\"", "\"engine\": \"faku\"");
    assert_int_equal(load_into(f, out, &h), CTL_OK);
    assert_int_equal(h.warnings, 1);
    assert_string_equal(h.code, "E0815");
    assert_string_equal(h.message, "from here on numbers may differ in their last bits: the run's engine was faku, and is fake now");
    save(s, out, 8);
    /* other programs */
    fake_program *other = fake_make(CTL_F64);
    assert_int_equal(load_into(other, out, &h), CTL_ERR_INPUT);
    assert_non_null(strstr(
        h.message, "belongs to another program: 'parameter/model.c.weight' has another type or shape"));
    ctl_program_free(&other->p);
    other = fake_make(CTL_F32);
    other->params[LORA].name = "model.b.lora_A.weight";
    assert_int_equal(load_into(other, out, &h), CTL_ERR_INPUT);
    assert_non_null(
        strstr(h.message, "belongs to another program: 'parameter/model.b.lora_A.weight' is not in it"));
    ctl_program_free(&other->p);
    other = fake_make(CTL_F32);
    other->params[B].name = "model.b.frozen";
    assert_int_equal(load_into(other, out, &h), CTL_ERR_INPUT);
    assert_non_null(
        strstr(h.message, "belongs to another program: the model, the compute type or the optimizer differ"));
    ctl_program_free(&other->p);
    other = fake_make(CTL_F32);
    other->p.compute = CTL_F32;
    assert_int_equal(load_into(other, out, &h), CTL_ERR_INPUT);
    ctl_program_free(&other->p);
    other = fake_make(CTL_F32);
    other->p.moment2 = CTL_NO_OPERAND;
    assert_int_equal(load_into(other, out, &h), CTL_ERR_INPUT);
    assert_non_null(strstr(h.message, "belongs to another program: it has 10 tensors, this one 7"));
    ctl_program_free(&other->p);
    assert_int_equal(load_into(f, out, &h), CTL_OK);
    ctl_session_close(s);
    ctl_program_free(&f->p);
}

static void failures_lose_nothing(void **state) {
    (void)state;
    fake_program *f = fake_make(CTL_F32);
    counting c = {0};
    heard h = {0};
    ctl_session *s = open_loaded(f, &h, &c, 1);
    const char *out = in_folder(0, "full");
    ctl_checkpoint next = {.step = 2}, back;
    bool found;
    save(s, out, 1);
    size_t live = c.live;
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    static const rlim_t limits[] = {0, 10, 300, 1000};
    fill(s, 2);
    for (size_t i = 0; i < CTL_COUNT(limits); i++) {
        small = old, small.rlim_cur = limits[i];
        setrlimit(RLIMIT_FSIZE, &small);
        ctl_status status = ctl_checkpoint_save(s, out, &next);
        setrlimit(RLIMIT_FSIZE, &old);
        assert_int_equal(status, CTL_ERR_IO);
        assert_string_equal(h.code, "E0707");
        assert_int_equal(entries("full"), 2);
    }
    signal(SIGXFSZ, handler);
    for (int loading = 0; loading < 2; loading++) {
        int failures = 0;
        for (long n = 1;; n++, failures++) {
            c.calls = 0, c.fail_at = n;
            fill(s, 2);
            ctl_status status =
                loading ? ctl_checkpoint_load(s, out, &back, &found) : ctl_checkpoint_save(s, out, &next);
            if (loading && status == CTL_OK) ctl_checkpoint_free(s, &back);
            assert_int_equal(c.live, live);
            c.fail_at = 0;
            if (status == CTL_OK) break;
            assert_int_equal(status, CTL_ERR_MEMORY);
            assert_int_equal(ctl_checkpoint_load(s, out, &back, &found), CTL_OK);
            assert_true(found && is_filled(s, back.step));
            ctl_checkpoint_free(s, &back);
        }
        assert_true(failures > 15);
    }
    ctl_session_close(s);
    ctl_program_free(&f->p);
}

/* A child saves step after step and tells each finished one; it is killed at any moment. What it told is
 * there. */
static void kills_lose_nothing(void **state) {
    (void)state;
    const char *out = in_folder(0, "killed");
    fake_program *f = fake_make(CTL_F32);
    uint64_t told = 0;
    uint32_t random = 42;
    int advanced = 0;
    for (int round = 0; round < 50; round++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            ctl_session *s = fake_session_open(f, NULL, NULL, 1);
            if (ctl_session_load(s) != CTL_OK) _exit(1);
            for (uint64_t step = told + 1;; step++) {
                ctl_checkpoint c = {.step = step};
                fill(s, step);
                if (ctl_checkpoint_save(s, out, &c) != CTL_OK || write(ends[1], &step, 8) != 8) _exit(1);
            }
        }
        close(ends[1]);
        uint64_t step, before = told;
        /* every other round waits for a finished save first, so that a slow disk is no excuse */
        if (round % 2 && read(ends[0], &step, 8) == 8) told = step;
        random = random * 1664525u + 1013904223u;
        struct timespec pause = {0, (long)(random >> 8) % 12000000};
        nanosleep(&pause, NULL);
        kill(child, SIGKILL);
        int how;
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_true(WIFSIGNALED(how)); /* not by a failure of its own */
        while (read(ends[0], &step, 8) == 8) told = step;
        close(ends[0]);
        advanced += told > before;
        heard h = {0};
        ctl_session *s = open_loaded(f, &h, NULL, 3);
        ctl_checkpoint back;
        bool found;
        assert_int_equal(ctl_checkpoint_load(s, out, &back, &found), CTL_OK);
        if (told) assert_true(found);
        if (found) {
            assert_true(back.step == told ||
                        back.step == told + 1); /* the child may have died before it told */
            assert_true(is_filled(s, back.step));
            told = back.step;
            ctl_checkpoint_free(s, &back);
        }
        ctl_session_close(s);
    }
    assert_true(advanced >= 25);
    ctl_session *s = open_loaded(f, NULL, NULL, 3);
    save(s, out, told + 1);
    assert_int_equal(entries("killed"), 3); /* latest and two checkpoints: no litter */
    ctl_session_close(s);
    ctl_program_free(&f->p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),
        cmocka_unit_test(keeps_the_last_two),
        cmocka_unit_test(finds_damage_and_strangers),
        cmocka_unit_test(failures_lose_nothing),
        cmocka_unit_test(kills_lose_nothing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
