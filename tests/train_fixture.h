/* train_fixture: an engine of its own for tests of the training loop, a table of bigrams, [258, 258] logits by the byte before, whose
 * loss and gradient are written here by hand; a run over it, and what the loop told. */
#ifndef CTL_TRAIN_FIXTURE_H
#define CTL_TRAIN_FIXTURE_H

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "runtime/engine.h"
#include "tests/meter.h"
#include "train/lock.h"
#include "train/loop.h"
#include "train/schedule.h"
#include "tests/folder.h"
#include "tests/heard.h"

/* ---- the engine ---- */
enum { V = 258, MOST_ROWS = 512 };
enum {
    AT_TABLE,
    AT_GRADIENTS,
    AT_MOMENT1,
    AT_MOMENT2,
    AT_IDS,
    AT_LABELS,
    AT_NORMALISER,
    AT_LOSS,
    AT_POSITION,
    AT_LENGTH
};
typedef struct bigram {
    ctl_session common;
    float table[V * V], gradients[V * V], moment1[V * V], moment2[V * V];
    int32_t ids[MOST_ROWS], labels[MOST_ROWS], position[MOST_ROWS], length[MOST_ROWS];
    float normaliser, loss;
} bigram;
static int64_t poison_step; /* the forward of this step is not a number; 0: none */
static int64_t seen_rows;   /* sum of the first rows given to forwards since it was set to 0 */

static ctl_status bigram_open(const ctl_program *program, const ctl_session_options *options,
                              ctl_session **out) {
    bigram *b = calloc(1, sizeof *b);
    if (!b || ctl_session_common_init(&b->common, program, options) != CTL_OK) return free(b), CTL_ERR_MEMORY;
    *out = &b->common;
    return CTL_OK;
}
static void bigram_close(ctl_session *s) {
    ctl_session_common_free(s);
    free(s);
}
static void *bigram_address(ctl_session *s, const ctl_operand *operand) {
    bigram *b = (bigram *)s;
    void *const places[] = {b->table,  b->gradients,   b->moment1, b->moment2,  b->ids,
                            b->labels, &b->normaliser, &b->loss,   b->position, b->length};
    return operand->buffer < CTL_COUNT(places) ? places[operand->buffer] : NULL;
}
/* Log of the sum of exponentials of a row, in double. */
static double row_lse(const float *row) {
    double most = row[0], sum = 0;
    for (int j = 1; j < V; j++) most = row[j] > most ? row[j] : most;
    for (int j = 0; j < V; j++) sum += exp(row[j] - most);
    return most + log(sum);
}
static ctl_status bigram_run(ctl_session *s, ctl_program_entry entry) {
    bigram *b = (bigram *)s;
    double loss = 0;
    if (entry == RUN_LOAD || entry == RUN_UPDATE) return CTL_OK;
    for (int64_t t = 0; t < s->program->tokens; t++) {
        if (b->labels[t] == -100) continue;
        const float *row = b->table + V * b->ids[t];
        const double lse = row_lse(row);
        loss += lse - row[b->labels[t]];
        if (entry != RUN_BACKWARD) continue;
        float *g = b->gradients + V * b->ids[t];
        for (int j = 0; j < V; j++)
            g[j] += (float)(((double)(j == b->labels[t]) * -1 + exp(row[j] - lse)) * b->normaliser);
    }
    if (entry == RUN_BACKWARD) return CTL_OK;
    b->loss = (float)(loss * b->normaliser);
    if (entry == RUN_FORWARD) {
        seen_rows += s->first_row;
        if (poison_step && (int64_t)s->step == poison_step) b->loss = NAN;
    }
    return CTL_OK;
}
static const ctl_engine engine = {"bigram", bigram_open, bigram_close, bigram_address, bigram_run};

typedef struct fixture {
    ctl_program program;
    ctl_program_param param;
    ctl_program_input inputs[5];
    ctl_program_output output;
} fixture;
static ctl_operand operand(uint32_t at, int64_t rows, int64_t cols, ctl_dtype dtype) {
    return (ctl_operand){.buffer = at, .rows = rows, .cols = cols, .stride = cols, .dtype = dtype};
}
static void fixture_make(fixture *f, int64_t tokens, int64_t sequence) {
    *f = (fixture){0};
    f->param = (ctl_program_param){.name = "table",
                                   .rows = V,
                                   .cols = V,
                                   .ndims = 2,
                                   .trained = true,
                                   .init = PROGRAM_INIT_CONST,
                                   .value = operand(AT_TABLE, V, V, CTL_F32)};
    const char *const names[] = {"ids", "labels", "position", "length"};
    const uint32_t at[] = {AT_IDS, AT_LABELS, AT_POSITION, AT_LENGTH};
    for (int i = 0; i < 4; i++)
        f->inputs[i] = (ctl_program_input){names[i], operand(at[i], tokens, 1, CTL_I32), 0};
    f->inputs[4] = (ctl_program_input){"normaliser", operand(AT_NORMALISER, 1, 1, CTL_F32), 0};
    f->output =
        (ctl_program_output){"loss", operand(AT_LOSS, 1, 1, CTL_F32), operand(AT_LOSS, 1, 1, CTL_F32)};
    f->program = (ctl_program){.engine = &engine,
                               .compute = CTL_F32,
                               .tokens = tokens,
                               .sequence = sequence,
                               .threads = 1,
                               .params = &f->param,
                               .nparams = 1,
                               .inputs = f->inputs,
                               .ninputs = 5,
                               .outputs = &f->output,
                               .noutputs = 1,
                               .trained_elements = V * V,
                               .trained = operand(AT_TABLE, 1, V * V, CTL_F32),
                               .gradients = operand(AT_GRADIENTS, 1, V * V, CTL_F32),
                               .moment1 = operand(AT_MOMENT1, 1, V * V, CTL_F32),
                               .moment2 = operand(AT_MOMENT2, 1, V * V, CTL_F32)};
}

/* ---- a run ---- */
static const ctl_settings ADAMW = {.optimizer = "adamw",
                                   .lr = 0.05,
                                   .beta1 = 0.9,
                                   .beta2 = 0.999,
                                   .eps = 1e-8,
                                   .clip = 1.0,
                                   .warmup = 3,
                                   .steps = 20,
                                   .accumulate = 1,
                                   .schedule = "cosine",
                                   .seed = 5};

typedef struct told { /* what a run told */
    heard said;       /* first: hear takes either */
    double losses[64];
    int64_t steps, stop_after; /* steps told; stop is said when so many were (0: never) */
    int evaluations, resumed;
} told;
static void stepped(void *ctx, const ctl_progress *p) {
    told *h = ctx;
    h->losses[p->step] = p->loss;
    h->steps++;
}
static void evaluated(void *ctx, const ctl_evaluation *e) {
    (void)e;
    ((told *)ctx)->evaluations++;
}
static void resumed(void *ctx, int64_t step) {
    (void)step;
    ((told *)ctx)->resumed++;
}
static bool stop(void *ctx) {
    told *h = ctx;
    return h->stop_after && h->steps >= h->stop_after;
}

static const char TEXT[] =
    "To train is to control: the state of a network follows from the one before it, and what is added to "
    "it changes where it goes. Every byte of this text is learnt once an epoch, in another order.\n";

typedef struct trial {
    int64_t tokens, sequence;
    ctl_settings settings;
    const char *out, *text;
    bool resume;
    int64_t checkpoint_every, stop_after;
    float *table; /* [V * V]: filled with what was learnt, unless NULL */
    const ctl_allocator *allocator;
} trial;

static ctl_status try(const trial *t, told *h, ctl_train_result *result) {
    fixture f;
    ctl_corpus c, held;
    ctl_loader *l, *lh;
    ctl_session *s;
    ctl_train_result ignored;
    *h = (told){.stop_after = t->stop_after};
    fixture_make(&f, t->tokens, t->sequence);
    ctl_corpus_init(&c, NULL);
    ctl_corpus_init(&held, NULL);
    const char *text = t->text ? t->text : TEXT;
    for (int i = 0; i < 6; i++) /* six documents, each a little shorter than the one before */
        assert_int_equal(ctl_corpus_add(&c, text + 5 * i, strlen(text) - 9 * (size_t)i, 0), CTL_OK);
    assert_int_equal(ctl_corpus_add(&held, TEXT, 50, 0), CTL_OK);
    ctl_packing packing = {.rows = t->tokens, .sequence = t->sequence, .shuffle = true, .seed = 3};
    assert_int_equal(ctl_loader_open(&c, &packing, NULL, (ctl_voice){hear, h}, &l), CTL_OK);
    packing.shuffle = false;
    assert_int_equal(ctl_loader_open(&held, &packing, NULL, (ctl_voice){hear, h}, &lh), CTL_OK);
    const ctl_session_options so = {.seed = 9, .diagnostic = hear, .diagnostic_ctx = h};
    assert_int_equal(ctl_session_open(&f.program, &so, &s), CTL_OK);
    assert_int_equal(ctl_session_load(s), CTL_OK);
    const ctl_train_options o = {.settings = t->settings,
                                 .data = l,
                                 .held_out = lh,
                                 .fingerprint = ctl_corpus_fingerprint(&c),
                                 .evaluate_every = 6,
                                 .checkpoint_every = t->checkpoint_every,
                                 .out = t->out,
                                 .resume = t->resume,
                                 .allocator = t->allocator,
                                 .voice = {hear, h},
                                 .ctx = h,
                                 .stop = stop,
                                 .stepped = stepped,
                                 .evaluated = evaluated,
                                 .resumed = resumed};
    ctl_status status = ctl_train(s, &f.program, &o, result ? result : &ignored);
    if (t->table) assert_int_equal(ctl_session_param_read(s, 0, CTL_F32, t->table), CTL_OK);
    ctl_session_close(s);
    ctl_loader_close(l);
    ctl_loader_close(lh);
    ctl_corpus_free(&c);
    ctl_corpus_free(&held);
    return status;
}

static const char *fresh_out(const char *name) {
    static char path[4][160];
    static int next;
    char command[256];
    char *at = path[next++ % 4];
    snprintf(at, sizeof path[0], "%s/%s", folder, name);
    snprintf(command, sizeof command, "rm -rf '%s' && mkdir '%s'", at, at);
    assert_int_equal(system(command), 0);
    return at;
}
/* The log without the seconds, which differ from run to run; the caller frees it. */
static char *read_log(const char *out) {
    char path[256], line[1024], *text = calloc(1, 1 << 16);
    snprintf(path, sizeof path, "%s/log.jsonl", out);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        assert_true(line[0] == '{' && line[strlen(line) - 2] == '}');
        char *seconds = strstr(line, ", \"seconds\"");
        if (seconds) *seconds = 0;
        strcat(strcat(text, line), seconds ? "\n" : "");
    }
    fclose(f);
    return text;
}

#endif
