/* The command line as a user meets it: help, usage errors with the nearest word, exit codes, and whole small
 * runs. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
/* cmocka wants those before it */
#include <cmocka.h>
#include <jansson.h>

#include "tests/command.h"

static bool exists(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}
static json_t *read_json(const char *name) {
    char path[256];
    json_error_t error;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    json_t *object = json_load_file(path, 0, &error);
    assert_non_null(object);
    return object;
}

/* A model that a test can run in no time, with a control and without one. */
static const char SPEC[] = "import llama, tuning\n"
                           "model m = llama.causal_lm(; vocab = 258, dim = 16, depth = 2, heads = 2, "
                           "kv_heads = 2, ffn = 24, theta = 10000.0)\n"
                           "tune low = m with tuning.lora_qkv(rank = 2, alpha = 4) {\n"
                           "    tokens 2 x 16\n    adamw(; lr = 1e-2)\n}\n"
                           "tune packed = m with tuning.lora_qkv(rank = 2, alpha = 4) {\n"
                           "    tokens 32 packed\n    adamw(; lr = 1e-2)\n}\n"
                           "tune all = m with tuning.full() {\n"
                           "    tokens 2 x 16\n    adamw(; lr = 1e-2)\n}\n";

static int make_inputs(void **state) {
    if (make_folder(state)) return -1;
    write_file("small.ctl", SPEC);
    FILE *f;
    char path[256];
    snprintf(path, sizeof path, "%s/text.txt", folder);
    if (!(f = fopen(path, "w"))) return -1;
    for (int i = 0; i < 40; i++)
        fprintf(f, "line %d: what is said here is said again, %d times over.\n", i, i * i);
    return fclose(f);
}
/* ---- help and usage ---- */
static void test_help(void **state) {
    (void)state;
    const char *const commands[] = {"train", "eval", "plan", "check", "runs", "import", "export", "merge"};
    assert_int_equal(ctlc("--help"), 0);
    says("Exit codes: 0 done");
    for (size_t i = 0; i < CTL_COUNT(commands); i++) says(commands[i]);
    for (size_t i = 0; i < CTL_COUNT(commands); i++) {
        assert_int_equal(ctlc("%s --help", commands[i]), 0);
        says("Examples\n");
        says(commands[i]);
    }
    assert_int_equal(ctlc("--version"), 0);
    says("ctlc ");
    assert_int_equal(ctlc("%s", ""), 2);
    says("ctlc COMMAND --help");
}

static void test_usage(void **state) {
    (void)state;
    assert_int_equal(ctlc("trian small.ctl"), 2);
    says("there is no command \"trian\"\ndid you mean train?\n");
    assert_int_equal(ctlc("train small.ctl --dta text.txt"), 2);
    says("there is no option --dta\ndid you mean --data?\n");
    assert_int_equal(ctlc("train small.ctl --wieghts=x"), 2);
    says("did you mean --weights?");
    assert_int_equal(ctlc("train small.ctl -x"), 2);
    assert_string_equal(output, "ctlc train: there is no option -x\nctlc train --help lists them\n");
    assert_int_equal(ctlc("train small.ctl --tune low -o none --data nowhere.txt"), 4); /* -o and --out are one */
    assert_int_equal(ctlc("import nowhere --out none.ctl"), 4);
    assert_int_equal(ctlc("check small.ctl -o none"), 2);
    assert_int_equal(ctlc("train small.ctl --o none --data text.txt"), 2);
    assert_int_equal(ctlc("train small.ctl -out none --data text.txt"), 2);
    assert_int_equal(ctlc("train small.ctl --data"), 2);
    says("a value is missing after --data");
    assert_int_equal(ctlc("train small.ctl --steps ten --data text.txt"), 2);
    says("--steps takes a number that is not negative, not \"ten\"");
    assert_int_equal(ctlc("train small.ctl --steps=-3 --data text.txt"), 2);
    assert_int_equal(ctlc("train small.ctl --resume=yes --data text.txt"), 2);
    says("no value belongs to --resume");
    assert_int_equal(ctlc("train --data text.txt"), 2);
    says("what is missing: SPEC.ctl");
    assert_int_equal(ctlc("train small.ctl"), 2);
    says("--data is missing");
    assert_int_equal(ctlc("train small.ctl other.ctl --data text.txt"), 2);
    says("one argument too many: other.ctl");
    assert_int_equal(ctlc("plan small.ctl --engine gpu"), 2);
    says("--engine is cpu, cuda or reference, not \"gpu\"");
    assert_int_equal(ctlc("plan small.ctl --compute f17"), 2);
    assert_int_equal(ctlc("plan small.ctl --compute fp16"), 2);
    says("--compute is f32, bf16 or f64, not \"fp16\"\nhint: use bf16: f16 ends at 65504, so its gradients need loss scaling");
    assert_int_equal(ctlc("check small.ctl --dump after:elabrate"), 2);
    says("did you mean elaborate?");
    assert_int_equal(ctlc("train small.ctl --data text.txt --loss some"), 2);
    says("--loss is all or output");
}

/* ---- check ---- */
static void test_check(void **state) {
    (void)state;
    assert_int_equal(ctlc("check small.ctl --tune low"), 0);
    assert_string_equal(output, "small.ctl: no errors\n");
    write_file("bad.ctl", "import llama\nmodel m = llama.causal_lm(; vocab = 258, dimm = 16)\ntune m {\n    "
                          "tokens 2 x 16\n}\n");
    assert_int_equal(ctlc("check bad.ctl"), 1);
    says("bad.ctl:2:");
    says("error");
    assert_int_equal(ctlc("check bad.ctl --json"), 1);
    int lines = 0;
    for (char *line = strtok(output, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        json_error_t error;
        json_t *object = json_loads(line, 0, &error);
        assert_non_null(object);
        assert_string_equal(json_string_value(json_object_get(object, "file")), "bad.ctl");
        assert_non_null(json_object_get(object, "message"));
        json_decref(object);
    }
    assert_true(lines >= 1);
    assert_int_equal(ctlc("check ."), 4);
    says("hint: give the path of a .ctl file; `ctlc import DIR -o my.ctl` writes one of a checkpoint's folder");
    assert_int_not_equal(ctlc("check nowhere.ctl"), 0);
    says("nowhere.ctl");
    assert_int_equal(ctlc("check small.ctl --tune low --dump after:elaborate"), 0);
    says("# after elaborate\n");
    assert_int_equal(ctlc("check small.ctl --tune low --dump after:save"), 0); /* the last pass over the graph */
    says("# after save\n");
    assert_int_equal(ctlc("check small.ctl --tune low --time-passes"), 0);
    says("elaborate ");
    says("emit ");
}

/* ---- plan ---- */
static int64_t whole(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}
static void test_plan(void **state) {
    (void)state;
    assert_int_equal(ctlc("plan small.ctl --tune low"), 0);
    says("peak, all in all");
    assert_int_equal(ctlc("plan small.ctl --tune low --json"), 0);
    json_error_t error;
    json_t *plan = json_loads(output, 0, &error);
    assert_non_null(plan);
    /* embedding and head 258 x 16 each; a block has 4 16x16, 3 16x24 and 2 norms; a last norm. LoRA: 3 of
     * (2x16 + 16x2) */
    const int64_t frozen = 2 * 258 * 16 + 2 * (4 * 256 + 3 * 384 + 2 * 16) + 16, trained = 2 * 3 * 64;
    assert_int_equal(whole(plan, "trained"), trained);
    assert_int_equal(whole(plan, "parameters"), frozen + trained);
    const json_t *bytes = json_object_get(plan, "bytes");
    assert_true(whole(bytes, "weights") >= 4 * frozen);
    assert_true(whole(bytes, "trained") >= 4 * trained && whole(bytes, "gradients") >= 4 * trained);
    assert_true(whole(bytes, "optimizer") >= 8 * trained);
    assert_int_equal(whole(bytes, "constant") + whole(bytes, "persistent") + whole(bytes, "arena"),
                     whole(bytes, "peak"));
    assert_true(whole(bytes, "saved") + whole(bytes, "transient") + whole(bytes, "head") +
                    whole(bytes, "scratch") <=
                whole(bytes, "arena"));
    json_decref(plan);
    assert_int_equal(ctlc("plan small.ctl --tune low --set memory=1KiB"), 5);
    says("error[E0509]");
}

/* ---- train and eval ---- */
static void test_train_adapter(void **state) {
    (void)state;
    assert_int_equal(
        ctlc("train small.ctl --tune all --data text.txt --out base --steps 30 --eval-fraction 0.2"), 0);
    assert_true(exists("base/model.safetensors") && exists("base/log.jsonl") && exists("base/latest"));
    assert_false(exists("base/adapter_model.safetensors"));
    says("held-out loss ");
    json_t *r = read_json("base/result.json");
    assert_true(json_number_value(json_object_get(r, "loss_after")) <
                json_number_value(json_object_get(r, "loss_before")) - 1);
    /* What is allocated is what was planned, but for alignment and the session's own small structs. */
    const double planned = (double)whole(r, "planned_bytes"), allocated = (double)whole(r, "allocated_bytes");
    assert_true(allocated >= planned && allocated <= planned + 65536);
    json_decref(r);

    const char *const tunes[] = {"low", "packed"};
    for (size_t i = 0; i < CTL_COUNT(tunes); i++) {
        assert_int_equal(ctlc("train small.ctl --tune %s --weights base/model.safetensors --data text.txt "
                              "--out %s --steps 10 "
                              "--eval-data text.txt",
                              tunes[i], tunes[i]),
                         0);
        char name[64];
        snprintf(name, sizeof name, "%s/adapter_model.safetensors", tunes[i]);
        assert_true(exists(name));
        snprintf(name, sizeof name, "%s/adapter_config.json", tunes[i]);
        assert_true(exists(name));
        snprintf(name, sizeof name, "%s/result.json", tunes[i]);
        r = read_json(name);
        const double after = json_number_value(json_object_get(r, "loss_after"));
        json_decref(r);
        /* The adapter on disk is the model that was evaluated last, to the bit. */
        assert_int_equal(ctlc("eval small.ctl --tune %s --weights base --adapter %s --data text.txt --json",
                              tunes[i], tunes[i]),
                         0);
        json_error_t error;
        r = json_loads(output, 0, &error);
        assert_non_null(r);
        assert_true(json_number_value(json_object_get(r, "loss")) == after);
        json_decref(r);
    }
    assert_int_equal(ctlc("runs base low packed"), 0);
    says("run                         before     after      trained     planned   allocated    resident      step\nall ");
    says("\nlow ");
    assert_int_equal(ctlc("train small.ctl --tune low --weights base --data text.txt --out low"), 1);
    says("low holds a run already");
}

static char *read_text(const char *name) { /* the caller frees it */
    char path[256], *text = calloc(1, 1 << 16);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 16) - 1, f) > 0);
    fclose(f);
    return text;
}

/* A script may always give --resume: a run that is finished stays as it is. A run that was trained over other frozen
 * weights is another run. */
static void test_finished(void **state) {
    (void)state;
    const char *const train = "train small.ctl --tune low --data text.txt --eval-data text.txt --out low --resume";
    char *was = read_text("low/result.json");
    for (int steps = 10; steps >= 3; steps -= 7) {
        assert_int_equal(ctlc("%s --weights base --steps %d", train, steps), 0);
        says("is finished");
        char *is = read_text("low/result.json");
        assert_string_equal(is, was);
        free(is);
    }
    free(was);
    assert_int_equal(ctlc("%s --steps 20", train), 1);
    says("error[E0606]");
    says("frozen weights");
    assert_int_equal(ctlc("%s --weights base --steps 12", train), 0);
    says("going on after step 10 of 12");
    says("step 11/12  loss ");
    const char *last = strstr(output, "step 12/12  loss ");
    assert_non_null(last); /* behind the last step no time is left to tell */
    assert_null(strstr(last, " left"));
    /* the reference executor has no plan to keep: its run is saved and goes on all the same */
    assert_int_equal(ctlc("train small.ctl --tune low --data text.txt --engine reference --out slow --steps 1 --eval-batches 1"), 0);
    assert_int_equal(ctlc("train small.ctl --tune low --data text.txt --engine reference --out slow --steps 2 --eval-batches 1 --resume"), 0);
    says("going on after step 1 of 2");
    assert_int_equal(ctlc("runs low/checkpoint-12 low"), 0);
    says("no finished run");
    says("low  ");
    assert_int_equal(ctlc("runs low base ./low"), 0); /* two of one name */
    says("\nlow (low) ");
    says("\nall ");
    says("\nlow (./low) ");
    assert_int_equal(ctlc("runs nowhere low"), 4);
    says("low  ");
    assert_int_equal(ctlc("runs nowhere"), 4); /* no head above nothing */
    assert_int_equal(strncmp(output, "error[", 6), 0);
    assert_null(strstr(output, "before"));
}

static void test_train_errors(void **state) {
    (void)state;
    assert_int_equal(ctlc("train small.ctl --tune low --data nowhere.txt --out none"), 4);
    says("nowhere.txt");
    write_file("bare.ctl", "import llama\n"
                           "model m = llama.causal_lm(; vocab = 258, dim = 16, depth = 1, heads = 2, "
                           "kv_heads = 2, ffn = 24, theta = 10000.0)\n"
                           "tune bare = m {\n    tokens 2 x 16\n}\n");
    assert_int_equal(ctlc("train bare.ctl --data text.txt --out none"), 1);
    says("error[E0609]: nothing is trained");
    assert_int_equal(ctlc("plan small.ctl --tune low --set learnrate=1"), 1);
    says("hint: tokens, compute, store, memory, optimizer, lr, beta1");
    assert_int_equal(ctlc("check small.ctl --tune low --set foo=1"), 1);
    says("hint: tokens, compute, store");
    assert_int_equal(ctlc("check small.ctl --tune low --set rank=1"), 1);
    says("--set knows no setting `rank`\n  hint: it is a parameter: --set lora_qkv.rank=1\n");
    assert_int_equal(ctlc("check small.ctl --tune low --set depth=1"), 1);
    says("--set knows no setting `depth`\n  hint: it is a parameter: --set model.depth=1\n");
    assert_int_equal(ctlc("check small.ctl --tune low --set momentum=0.9"), 1);
    says("`--set momentum=0.9`: `adamw` has no parameter `momentum`");
    says("hint: `momentum` is sgd's: --set optimizer=sgd");
    assert_int_equal(ctlc("check small.ctl --tune low --set momentum=0.9 --set optimizer=sgd"), 0);
    assert_int_equal(ctlc("plan small.ctl --tune low --set model.eps=nan"), 1);
    says("parameters are numbers");
    write_file("bad.json", "[{\"instruction\": \"x\"}]");
    assert_int_equal(ctlc("train small.ctl --tune low --data bad.json --out none"), 1);
    says("bad.json: entry 1: there is no \"output\"");
    write_file("chat.jsonl", "{\"messages\": []}\n");
    assert_int_equal(ctlc("train small.ctl --tune low --data chat.jsonl --out none"), 1);
    says("chat.jsonl: line 1: this is a chat, which has no form in bytes\n  hint: tools/tokenize --tokenizer MODEL/tokenizer.json -o");
    write_file("other.jsonl", "{\"question\": \"why\"}\n");
    assert_int_equal(ctlc("train small.ctl --tune low --data other.jsonl --out none"), 1);
    says("other.jsonl: line 1: there is no \"instruction\"\n  hint: a line is {\"text\": \"..\"} or {\"instruction\": \"..\",");
    assert_int_equal(ctlc("train small.ctl --tune low --data text.txt --weights low --out none"), 1);
    says("hint: it holds an adapter: give it to --adapter, and the folder of its model to --weights");
    assert_int_equal(ctlc("eval small.ctl --tune low --data text.txt --adapter base"), 1);
    says("hint: it holds a model: give it to --weights, and the folder of its adapter to --adapter");
    assert_int_equal(ctlc("train small.ctl --tune low --data text.txt --weights low/adapter_model.safetensors --out none"), 1);
    says("more parameters are missing\n  hint: the files are another model's: `ctlc import DIR -o spec.ctl` writes a spec");
    assert_int_equal(ctlc("train small.ctl --tune low --data text.txt --weights nowhere --out none"), 4);
    assert_int_equal(ctlc("train small.ctl --tune low --data text.txt --out text.txt/x --steps 1"), 4);
    write_file("wild.ctl",
               "net wild(ids: id, labels: id) -> logits, loss {\n"
               "    e <- table: embedding(ids; n = 258, dim = 8)\n"
               "    logits <- out: linear(exp(200 * exp(e)); n = 258)\n" /* e to the 200 is past f32 */
               "    loss <- cross_entropy(logits, labels)\n}\n"
               "control full() on wild {\n    train **\n}\n"
               "model m = wild()\n"
               "tune m with full() {\n    tokens 2 x 16\n    adamw(; lr = 1e-3)\n}\n");
    assert_int_equal(ctlc("train wild.ctl --data text.txt --out wild --steps 5 --eval-fraction 0"), 6);
    says("is not finite");
}

static void test_full_output(void **state) {
    (void)state;
    if (access("/dev/full", W_OK) != 0) skip();
    assert_int_equal(ctlc("plan small.ctl --tune low >/dev/full"), 4);
    says("cannot write the output");
}

/* ---- interrupt ---- */
static void wait_for_log(const char *name, int lines) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (int tries = 0; tries < 2000; tries++) {
        int seen = 0;
        FILE *f = fopen(path, "r");
        for (int c; f && (c = fgetc(f)) != EOF;) seen += c == '\n';
        if (f) fclose(f);
        if (f && seen >= lines) return;
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
    fail_msg("%s did not grow to %d lines", path, lines);
}

/* Starts `ctlc train` in the folder; the words after that end with NULL. What it says goes to said.txt. */
static pid_t start_training(const char *const *words) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child) return child;
    if (chdir(folder) != 0 || !freopen("said.txt", "w", stderr)) _exit(99);
    execv(CTLC, (char *const *)(uintptr_t)words);
    _exit(99);
}

static void test_interrupt(void **state) {
    (void)state;
    const char *const words[] = {"ctlc",
                                 "train",
                                 "small.ctl",
                                 "--tune",
                                 "low",
                                 "--data",
                                 "text.txt",
                                 "--out",
                                 "int",
                                 "--steps",
                                 "1000000",
                                 "--set",
                                 "schedule=constant",
                                 NULL};
    pid_t child = start_training(words);
    wait_for_log("int/log.jsonl", 5);
    assert_int_equal(kill(child, SIGINT), 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3);
    assert_true(exists("int/latest"));
    assert_false(exists("int/adapter_model.safetensors"));
    snprintf(output, sizeof output, "%s/said.txt", folder);
    FILE *f = fopen(output, "r");
    assert_non_null(f);
    output[fread(output, 1, sizeof output - 1, f)] = 0;
    fclose(f);
    says("--resume goes on");
    /* Going on needs no more than --resume; the steps asked for may be more or fewer than before. */
    json_error_t error;
    char path[256];
    snprintf(path, sizeof path, "%s/int/log.jsonl", folder);
    json_t *line = NULL;
    f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(output, sizeof output, f)) {
        json_decref(line);
        line = json_loads(output, 0, &error);
        assert_non_null(line);
    }
    fclose(f);
    const int64_t last = whole(line, "step");
    json_decref(line);
    assert_int_equal(ctlc("train small.ctl --tune low --data text.txt --out int --resume --set "
                          "schedule=constant --steps %lld",
                          (long long)last + 3),
                     0);
    char going[64];
    snprintf(going, sizeof going, "going on after step %lld of %lld", (long long)last, (long long)last + 3);
    says(going);
    assert_true(exists("int/adapter_model.safetensors"));
}

/* The first signal waits for the step's end; a second one does not. A step of the executor at this size takes
 * seconds. */
static void test_second_interrupt(void **state) {
    (void)state;
    const char *const words[] = {"ctlc",     "train",     "small.ctl",       "--tune", "low",
                                 "--data",   "text.txt",  "--out",           "twice",  "--steps",
                                 "9",        "--set",     "tokens=16x128",   "--set",  "accumulate=200",
                                 "--engine", "reference", "--eval-fraction", "0",      NULL};
    pid_t child = start_training(words);
    wait_for_log("twice/log.jsonl", 0);
    nanosleep(&(struct timespec){0, 100000000}, NULL);
    assert_int_equal(kill(child, SIGINT), 0);
    nanosleep(&(struct timespec){0, 100000000}, NULL);
    assert_int_equal(kill(child, SIGINT), 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGINT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_train_adapter),
        cmocka_unit_test(test_finished),
        cmocka_unit_test(test_train_errors),
        cmocka_unit_test(test_full_output),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_second_interrupt),
    };
    return cmocka_run_group_tests(tests, make_inputs, remove_folder);
}
