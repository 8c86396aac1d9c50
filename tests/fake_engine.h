/* A tiny program and an engine for it, for tests of the runtime's host side: storage on the heap, arithmetic
 * by hand.
 *
 *   LOAD      first value of model.a.magnitude = the row sums of model.a.weight
 *   FORWARD   loss = normaliser * the sum of x;  EVALUATE  twice that
 *   BACKWARD  adds 1 + element number / 8 to each gradient */
#ifndef FAKE_ENGINE_H
#define FAKE_ENGINE_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "runtime/convert.h"
#include "runtime/files.h"
#include "runtime/session.h"

/* ---- an allocator that counts and can fail ---- */
typedef struct counting {
    long calls,
        fail_at; /* fail_at 0: never; else the number of the first call that fails, and all later ones do */
    size_t live;
    ctl_allocator allocator; /* of this one, set by counting_allocator */
} counting;
static void *counting_resize(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    counting *c = ctx;
    if (new_size == 0) {
        c->live -= ptr ? old_size : 0;
        free(ptr);
        return NULL;
    }
    c->calls++;
    if (c->fail_at && c->calls >= c->fail_at) return NULL;
    unsigned char *p = malloc(new_size);
    if (!p) return NULL;
    memset(p, 0xA5, new_size); /* nobody may count on zeros */
    if (ptr) memcpy(p, ptr, old_size < new_size ? old_size : new_size);
    free(ptr);
    c->live += new_size - (ptr ? old_size : 0);
    return p;
}

static const ctl_allocator *counting_allocator(counting *c) {
    c->allocator = (ctl_allocator){c, counting_resize};
    return &c->allocator;
}

/* ---- what was said ---- */
typedef struct heard {
    int n, errors, warnings;
    char code[16], message[2100], hint[600], all[8192], hints[4096];
} heard;
static void hear(void *ctx, const ctl_diagnostic *d) {
    heard *h = ctx;
    h->n++;
    h->errors += d->severity == CTL_ERROR;
    h->warnings += d->severity == CTL_WARNING;
    snprintf(h->code, sizeof h->code, "%s", d->code);
    snprintf(h->message, sizeof h->message, "%s", d->message);
    snprintf(h->hint, sizeof h->hint, "%s", d->hint ? d->hint : "");
    size_t used = strlen(h->all);
    snprintf(h->all + used, sizeof h->all - used, "%s %.500s\n", d->code, d->message);
    used = strlen(h->hints);
    snprintf(h->hints + used, sizeof h->hints - used, "%.500s\n", d->hint ? d->hint : "");
}

/* ---- the program ---- */
enum { A, B, C, LORA, MAGNITUDE, EYE, NPARAMS };
enum { IDS, X, POSITION, LENGTH, NORMALISER, NINPUTS };
enum { ROWS = 6, TRAINED = 12 + 10 + 3 };
enum { ONE_CONSTANT = 0, ONE_PERSISTENT = 1, ONE_STEP = 2 };

typedef struct fake_program {
    ctl_program p;
    ctl_buffer buffers[3];
    ctl_program_param params[NPARAMS];
    ctl_program_input inputs[NINPUTS];
    ctl_program_output outputs[1];
} fake_program;

typedef struct fake_session {
    ctl_session common;
    char *region[REGION_COUNT];
    int runs[RUN_COUNT];
    bool fails; /* the next run */
} fake_session;

static ctl_status fake_open(const ctl_program *program, const ctl_session_options *options,
                            ctl_session **out) {
    const ctl_allocator *a = ctl_allocator_or_default(options ? options->allocator : NULL);
    fake_session *s = ctl_alloc(a, sizeof *s);
    if (!s) return CTL_ERR_MEMORY;
    if (ctl_session_common_init(&s->common, program, options) != CTL_OK) {
        ctl_free(a, s, sizeof *s);
        return CTL_ERR_MEMORY;
    }
    bool fits = true;
    for (int r = 0; r < REGION_COUNT; r++) {
        s->region[r] = a->resize(a->ctx, NULL, 0, program->region_bytes[r]);
        fits = fits && s->region[r];
    }
    *out = &s->common;
    if (fits) return CTL_OK;
    program->engine->close(&s->common);
    return CTL_ERR_MEMORY;
}
static void fake_close(ctl_session *common) {
    fake_session *s = (fake_session *)common;
    const ctl_allocator *a = common->allocator;
    for (int r = 0; r < REGION_COUNT; r++) ctl_free(a, s->region[r], common->program->region_bytes[r]);
    ctl_session_common_free(common);
    ctl_free(a, s, sizeof *s);
}
static void *fake_address(ctl_session *common, const ctl_operand *o) {
    if (o->buffer == UINT32_MAX) return NULL;
    const ctl_buffer *b = &common->program->buffers[o->buffer];
    return ((fake_session *)common)->region[b->region] + b->offset + o->offset;
}
static ctl_status fake_run(ctl_session *common, ctl_program_entry entry) {
    const ctl_program *p = common->program;
    fake_session *own = (fake_session *)common;
    own->runs[entry]++;
    if (own->fails) return CTL_ERR_UNSUPPORTED;
    if (entry == RUN_LOAD) {
        for (size_t r = 0; r < 3; r++) {
            double row[5], sum = 0;
            ctl_session_param_get(common, A, r * 5, 5, CTL_F64, row);
            for (int i = 0; i < 5; i++) sum += row[i];
            ctl_matrix_put(fake_address(common, &p->params[MAGNITUDE].init_value),
                           &p->params[MAGNITUDE].init_value, r, 1, CTL_F64, &sum);
        }
    } else if (entry == RUN_FORWARD || entry == RUN_EVALUATE) {
        double x[ROWS * 2], n, loss = 0;
        ctl_matrix_get(fake_address(common, &p->inputs[X].value), &p->inputs[X].value, 0, ROWS * 2, CTL_F64,
                       x);
        ctl_matrix_get(fake_address(common, &p->inputs[NORMALISER].value), &p->inputs[NORMALISER].value, 0, 1,
                       CTL_F64, &n);
        for (int i = 0; i < ROWS * 2; i++) loss += x[i];
        loss *= entry == RUN_FORWARD ? n : 2 * n;
        const ctl_operand *to = entry == RUN_FORWARD ? &p->outputs[0].forward : &p->outputs[0].evaluate;
        ctl_matrix_put(fake_address(common, to), to, 0, 1, CTL_F64, &loss);
    } else if (entry == RUN_BACKWARD) {
        ctl_flat flat = ctl_session_flat(common);
        for (size_t i = 0; i < flat.count; i++) {
            if (flat.dtype == CTL_F64)
                ((double *)flat.gradients)[i] += 1 + (double)i / 8;
            else
                ((float *)flat.gradients)[i] += 1 + (float)i / 8;
        }
    }
    return CTL_OK;
}
static void fake_keep(ctl_session *s, ctl_string *text) {
    (void)s;
    ctl_string_add(text, "the fake engine's\nlines\n");
}
static ctl_status fake_take(ctl_session *s, const char *text) {
    (void)s;
    return !text || strcmp(text, "the fake engine's\nlines\n") == 0 ? CTL_OK : CTL_ERR_INPUT;
}
static const ctl_engine fake_engine = {.name = "fake", .open = fake_open, .close = fake_close, .address = fake_address,
                                       .run = fake_run, .keep = fake_keep, .take = fake_take};

static ctl_operand fake_operand(fake_program *f, uint32_t buffer, int64_t rows, int64_t cols, int64_t stride,
                                ctl_dtype dtype) {
    ctl_operand o = {buffer, f->buffers[buffer].bytes, rows, cols, stride, dtype};
    size_t bytes = ((size_t)(rows * stride) * ctl_dtype_size(dtype) + 63) / 64 * 64;
    f->buffers[buffer].bytes += bytes;
    f->p.region_bytes[buffer] += bytes;
    return o;
}

static void fake_release(ctl_program *p) {
    free(p);
}

/* real: of the trained arrays; frozen ones are bf16 where that is f32. */
static inline fake_program *fake_make(ctl_dtype real) {
    fake_program *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->buffers[ONE_CONSTANT] =
        (ctl_buffer){.region = REGION_CONSTANT, .use = USE_WEIGHTS, .name = "constant"};
    f->buffers[ONE_PERSISTENT] =
        (ctl_buffer){.region = REGION_PERSISTENT, .use = USE_TRAINED, .name = "persistent"};
    f->buffers[ONE_STEP] = (ctl_buffer){.region = REGION_STEP, .use = USE_TRANSIENT, .name = "step"};
    ctl_dtype frozen = real == CTL_F64 ? CTL_F64 : CTL_BF16;
    ctl_operand flat[4];
    for (int i = 0; i < 4; i++) flat[i] = fake_operand(f, ONE_PERSISTENT, 1, TRAINED, TRAINED, real);
    size_t size = ctl_dtype_size(real);
    ctl_program_param params[NPARAMS] = {
        [A] = {"model.a.weight", 3, 5, 2, false, false, PROGRAM_INIT_NORMAL, 0.5, CTL_NO_OPERAND, {0}, 0, 0},
        [B] = {"model.b.bias", 1, 4, 1, false, false, PROGRAM_INIT_CONST, 0.25, CTL_NO_OPERAND, {0}, 0, 0},
        [C] = {"model.c.weight", 4, 3, 2, true, false, PROGRAM_INIT_NORMAL, 2, CTL_NO_OPERAND, {0}, 0, 0},
        [LORA] = {"model.a.lora_A.weight",
                  2,
                  5,
                  2,
                  true,
                  true,
                  PROGRAM_INIT_UNIFORM,
                  0.75,
                  CTL_NO_OPERAND,
                  {0},
                  12,
                  0},
        [MAGNITUDE] = {"model.a.magnitude", 1, 3, 1, true, true, PROGRAM_INIT_VALUE, 0, {0}, {0}, 22, 0},
        [EYE] = {"model.a.eye.weight", 4, 4, 2, false, true, PROGRAM_INIT_EYE, 0, CTL_NO_OPERAND, {0}, 0, 0},
    };
    for (int i = 0; i < NPARAMS; i++) {
        if (params[i].trained)
            params[i].value = (ctl_operand){ONE_PERSISTENT, flat[0].offset + params[i].flat * size,
                                            params[i].rows, params[i].cols,
                                            params[i].cols, real};
        else
            params[i].value =
                fake_operand(f, ONE_CONSTANT, params[i].rows, params[i].cols, params[i].cols + 3, frozen);
    }
    params[MAGNITUDE].init_value = fake_operand(f, ONE_CONSTANT, 1, 3, 3, real);
    ctl_program_input inputs[NINPUTS] = {
        [IDS] = {"ids", fake_operand(f, ONE_PERSISTENT, ROWS, 1, 1, CTL_I32)},
        [X] = {"x", fake_operand(f, ONE_PERSISTENT, ROWS, 2, 5, real)},
        [POSITION] = {"position", fake_operand(f, ONE_PERSISTENT, ROWS, 1, 1, CTL_I32)},
        [LENGTH] = {"length", fake_operand(f, ONE_PERSISTENT, ROWS, 1, 1, CTL_I32)},
        [NORMALISER] = {"normaliser", fake_operand(f, ONE_PERSISTENT, 1, 1, 1, real)},
    };
    memcpy(f->params, params, sizeof params);
    memcpy(f->inputs, inputs, sizeof inputs);
    f->outputs[0] = (ctl_program_output){"loss", fake_operand(f, ONE_STEP, 1, 1, 1, real),
                                         fake_operand(f, ONE_STEP, 1, 1, 1, real)};
    f->p = (ctl_program){.engine = &fake_engine,
                         .compute = real == CTL_F64 ? CTL_F64 : CTL_BF16,
                         .tokens = ROWS,
                         .threads = 2,
                         .buffers = f->buffers,
                         .nbuffers = 3,
                         .region_bytes = {f->p.region_bytes[0], f->p.region_bytes[1], f->p.region_bytes[2]},
                         .params = f->params,
                         .nparams = NPARAMS,
                         .inputs = f->inputs,
                         .ninputs = NINPUTS,
                         .outputs = f->outputs,
                         .noutputs = 1,
                         .trained_elements = TRAINED,
                         .trained = flat[0],
                         .gradients = flat[1],
                         .moment1 = flat[2],
                         .moment2 = flat[3],
                         .model_name = "tiny",
                         .control_source = "control \"c\" {\n}",
                         .release = fake_release};
    return f;
}

static inline ctl_session *fake_session_open(const fake_program *f, heard *h, counting *c, uint64_t seed) {
    ctl_session_options options = {.allocator = c ? counting_allocator(c) : NULL,
                                   .seed = seed,
                                   .diagnostic = h ? hear : NULL,
                                   .diagnostic_ctx = h};
    ctl_session *s = NULL;
    assert_int_equal(ctl_session_open(&f->p, &options, &s), CTL_OK);
    return s;
}

#endif
