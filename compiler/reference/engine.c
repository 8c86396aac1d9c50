/* engine: the reference executor as an engine of the runtime. A program made here holds a copy of the graph
 * and one buffer for each thing that the host sees; its run reads leaves from those buffers, has the executor
 * compute an entry, adds the gradients, and writes the outputs and first values back. */
#include "runtime/engine.h"

#include "compiler/graph/graph_copy.h"
#include "compiler/graph/limits.h"
#include "compiler/graph/places.h"
#include "compiler/reference/execute.h"

enum { ALIGN = 64 };

typedef struct reference_program { /* ctl_program.engine_data */
    ctl_program program;
    const ctl_allocator *allocator;
    ctl_arena arena;
    const ctl_graph *graph;
    const ctl_origin *origins; /* of its nodes */
    ctl_operand values; /* the executor's doubles */
    ctl_operand positions, lengths, normaliser;
    ctl_operand *inputs; /* of the graph, absent for unused ones */
} reference_program;

typedef struct reference_session {
    ctl_session common;
    ctl_reference *reference;
    char *region[REGION_COUNT];
} reference_session;

/* ---- the program ---- */
typedef struct maker {
    ctl_arena *arena;
    ctl_program *p;
    CTL_VEC(ctl_buffer) buffers;
    CTL_VEC(ctl_program_input) inputs;
    bool fits; /* no size overflowed */
} maker;

static ctl_operand make_buffer(maker *m, ctl_region region, ctl_use use, int64_t rows, int64_t cols,
                               ctl_dtype dtype, const char *name) {
    size_t bytes = 0, *total = &m->p->region_bytes[region];
    int64_t count;
    if (!ctl_mul_i64(rows, cols, &count) || !ctl_mul_size((size_t)count, ctl_dtype_size(dtype), &bytes) ||
        bytes > SIZE_MAX / 4 || *total > SIZE_MAX / 4) {
        m->fits = false;
        bytes = 0;
    }
    CTL_PUSH(m->arena, &m->buffers,
             (ctl_buffer){.region = region, .use = use, .bytes = bytes, .offset = *total, .name = name});
    *total += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return (ctl_operand){
        .buffer = (uint32_t)(m->buffers.n - 1), .rows = rows, .cols = cols, .stride = cols, .dtype = dtype};
}

static ctl_operand make_input(maker *m, int64_t rows, int64_t cols, ctl_dtype dtype, const char *name,
                              int64_t below) {
    ctl_operand value = make_buffer(m, REGION_PERSISTENT, USE_INPUTS, rows, cols, dtype, name);
    CTL_PUSH(m->arena, &m->inputs, (ctl_program_input){name, value, below});
    return value;
}

static void make_params(maker *m, const ctl_graph *g, ctl_dtype real) {
    ctl_program *p = m->p;
    int64_t elements = 0;
    p->nparams = g->params.n;
    p->params = CTL_NEW_ARRAY(m->arena, ctl_program_param, p->nparams);
    for (size_t k = 0; k < g->params.n; k++)
        if (g->params.at[k].trained) elements += g->params.at[k].rows * g->params.at[k].cols;
    p->trained_elements = (size_t)elements;
    p->trained = p->gradients = p->moment1 = p->moment2 = CTL_NO_OPERAND;
    if (elements) {
        p->trained = make_buffer(m, REGION_PERSISTENT, USE_TRAINED, 1, elements, real, "trained parameters");
        p->gradients = make_buffer(m, REGION_PERSISTENT, USE_GRADIENTS, 1, elements, real, "gradients");
        p->moment1 = make_buffer(m, REGION_PERSISTENT, USE_OPTIMIZER, 1, elements, real, "first moments");
        if (strcmp(p->settings.optimizer, "sgd") != 0)
            p->moment2 =
                make_buffer(m, REGION_PERSISTENT, USE_OPTIMIZER, 1, elements, real, "second moments");
    }
    size_t flat = 0;
    for (size_t k = 0; k < g->params.n; k++) {
        const ctl_param *from = &g->params.at[k];
        ctl_program_param *to = &p->params[k];
        *to = (ctl_program_param){.name = from->name,
                                  .rows = from->rows,
                                  .cols = from->cols,
                                  .ndims = from->ndims,
                                  .trained = from->trained,
                                  .made_by_control = from->made_by_control,
                                  .init = (ctl_program_init)from->init,
                                  .init_arg = from->init_arg,
                                  .init_value = CTL_NO_OPERAND};
        if (from->trained) {
            to->value = (ctl_operand){.buffer = p->trained.buffer,
                                      .offset = flat * ctl_dtype_size(real),
                                      .rows = from->rows,
                                      .cols = from->cols,
                                      .stride = from->cols,
                                      .dtype = real};
            to->flat = flat;
            flat += (size_t)(from->rows * from->cols);
        } else {
            to->value = make_buffer(m, REGION_CONSTANT, USE_WEIGHTS, from->rows, from->cols, real, to->name);
        }
        if (from->init == INIT_VALUE)
            to->init_value =
                make_buffer(m, REGION_CONSTANT, USE_DERIVED, from->rows, from->cols, real, to->name);
    }
}

static void make_inputs(maker *m, reference_program *own, const ctl_graph *g, ctl_dtype real) {
    int64_t tokens = g->rows_of[SPACE_TOKENS];
    bool documents = false, normaliser = false;
    for (size_t id = 0; id < g->n; id++) {
        int op = g->at[id].op;
        documents |= op == OP_POSITION || op == OP_LENGTH || op == OP_ATTEND || op == OP_ATTEND_GRAD;
        normaliser |= op == OP_NORMALISER || op == OP_HEAD;
    }
    own->inputs = CTL_NEW_ARRAY(m->arena, ctl_operand, g->inputs.n);
    for (size_t k = 0; k < g->inputs.n; k++) {
        const ctl_input *in = &g->inputs.at[k];
        own->inputs[k] = CTL_NO_OPERAND;
        if (in->node == CTL_NONE) continue;
        own->inputs[k] = make_input(m, g->rows_of[in->space], in->cols, in->is_id ? CTL_I32 : real, in->name,
                                    ctl_graph_ids_below(g, in));
    }
    own->positions = own->lengths = own->normaliser = CTL_NO_OPERAND;
    if (documents)
        own->positions = make_input(m, tokens, 1, CTL_I32, "position", ctl_graph_positions_below(g));
    if (documents) own->lengths = make_input(m, tokens, 1, CTL_I32, "length", 0);
    if (normaliser) own->normaliser = make_input(m, 1, 1, real, "normaliser", 0);
}

/* The graph's outputs, then the gradients of inputs as outputs named "d NAME", which backward leaves there.
 */
static void make_outputs(maker *m, const ctl_graph *g, ctl_dtype real) {
    CTL_VEC(ctl_program_output) outputs = {0};
    for (size_t k = 0; k < g->outputs.n; k++) {
        const ctl_output *from = &g->outputs.at[k];
        const ctl_node *n = &g->at[from->node != CTL_NONE ? from->node : from->evaluate];
        ctl_program_output to = {.name = from->name, .evaluate = CTL_NO_OPERAND};
        to.forward = make_buffer(m, REGION_STEP, USE_TRANSIENT, n->rows, n->cols, real, to.name);
        if (from->evaluate != CTL_NONE) to.evaluate = to.forward;
        if (from->node == CTL_NONE) to.forward = CTL_NO_OPERAND;
        CTL_PUSH(m->arena, &outputs, to);
    }
    for (size_t k = 0; k < g->inputs.n; k++) {
        const ctl_input *in = &g->inputs.at[k];
        if (in->grad == CTL_NONE) continue;
        ctl_program_output to = {.name = ctl_format(m->arena, "d %s", in->name), .evaluate = CTL_NO_OPERAND};
        to.forward =
            make_buffer(m, REGION_STEP, USE_TRANSIENT, g->rows_of[in->space], in->cols, real, to.name);
        CTL_PUSH(m->arena, &outputs, to);
    }
    m->p->outputs = outputs.at, m->p->noutputs = outputs.n;
}

static void release(ctl_program *program) {
    reference_program *own = program->engine_data;
    ctl_arena_free(&own->arena);
    ctl_free(own->allocator, own, sizeof *own);
}

static const char *text_or_empty(ctl_arena *arena, const char *text) {
    return text ? ctl_strndup(arena, text, strlen(text)) : "";
}

/* A copy that keeps nothing of the old arena but its nodes' paths; swept, so that what nothing needs is not
 * computed. */
static ctl_graph *adopt(ctl_arena *arena, const ctl_graph *g) {
    ctl_graph shallow = *g;
    shallow.arena = arena;
    ctl_graph *copy = ctl_graph_sweep(&shallow);
    for (size_t k = 0; k < copy->params.n; k++)
        copy->params.at[k].name = text_or_empty(arena, copy->params.at[k].name);
    for (size_t k = 0; k < copy->inputs.n; k++)
        copy->inputs.at[k].name = text_or_empty(arena, copy->inputs.at[k].name);
    for (size_t k = 0; k < copy->outputs.n; k++)
        copy->outputs.at[k].name = text_or_empty(arena, copy->outputs.at[k].name);
    return copy;
}

/* What an error names a node by, as a task of a compiled program is named. The nodes' own paths lie in another arena. */
static const ctl_origin *find_origins(ctl_arena *arena, ctl_graph *g, ctl_places *places) {
    ctl_origin *origins = CTL_NEW_ARRAY(arena, ctl_origin, g->n);
    for (size_t id = 0; id < g->n; id++) {
        ctl_node *n = &g->at[id];
        const char *op = ctl_op_name((ctl_op)n->op);
        origins[id].name = n->path && n->path[0] ? ctl_format(arena, "%s: %s", n->path, op) : op;
        origins[id].place = ctl_places_number(places, n->span, n->user);
        n->path = NULL;
    }
    return origins;
}

/* Everything that may run out of memory by a jump. */
static ctl_status make(reference_program *own, const ctl_graph *g, const ctl_sink *sources,
                       const char *model_name, const char *control_source) {
    ctl_program *p = &own->program;
    maker m = {.arena = &own->arena, .p = p, .fits = true};
    size_t count;
    const char *why;
    ctl_dtype real = p->compute == CTL_F64 ? CTL_F64 : CTL_F32;
    ctl_graph *copy = adopt(&own->arena, g);
    ctl_places places = {.arena = &own->arena, .sink = sources, .numbers = {.arena = &own->arena}};
    own->origins = find_origins(&own->arena, copy, &places);
    g = own->graph = copy;
    if (!ctl_graph_verify(g, &own->arena, &why)) return CTL_ERR_INTERNAL;
    p->tokens = g->rows_of[SPACE_TOKENS], p->sequence = g->sequence, p->classes = g->classes;
    p->sees_ahead = ctl_graph_sees_ahead(g);
    p->model_name = text_or_empty(&own->arena, model_name);
    p->control_source = text_or_empty(&own->arena, control_source);
    make_params(&m, g, real);
    for (size_t k = 0; k < g->params.n; k++)
        p->params[k].place = ctl_places_number(&places, g->params.at[k].span, g->params.at[k].user);
    ctl_places_copy(&own->arena, places.at.at, places.at.n, p);
    make_inputs(&m, own, g, real);
    make_outputs(&m, g, real);
    if (!ref_values_size(g, &count) || count > INT64_MAX / 16) return CTL_ERR_MEMORY;
    own->values =
        make_buffer(&m, REGION_STEP, USE_TRANSIENT, 1, (int64_t)count, CTL_F64, "values of all operations");
    p->buffers = m.buffers.at, p->nbuffers = m.buffers.n;
    p->inputs = m.inputs.at, p->ninputs = m.inputs.n;
    return m.fits ? CTL_OK : CTL_ERR_MEMORY;
}

ctl_status ctl_reference_program(const ctl_graph *g, ctl_dtype compute, const ctl_settings *settings,
                                 const ctl_sink *sources, const char *model_name,
                                 const char *control_source, const ctl_allocator *allocator,
                                 ctl_program **out) {
    *out = NULL;
    if (compute != CTL_F64 && compute != CTL_F32 && compute != CTL_BF16) return CTL_ERR_UNSUPPORTED;
    allocator = ctl_allocator_or_default(allocator);
    reference_program *own = ctl_alloc(allocator, sizeof *own);
    if (!own) return CTL_ERR_MEMORY;
    jmp_buf failure;
    own->allocator = allocator;
    ctl_arena_init(&own->arena, allocator, &failure);
    own->program = (ctl_program){.engine = &ctl_reference_engine,
                                 .engine_data = own,
                                 .compute = compute,
                                 .threads = 1,
                                 .settings = *settings,
                                 .release = release};
    if (setjmp(failure)) {
        release(&own->program);
        return CTL_ERR_MEMORY;
    }
    ctl_status status = make(own, g, sources, model_name, control_source);
    own->arena.on_failure = NULL; /* nothing is added after this */
    if (status != CTL_OK)
        release(&own->program);
    else
        *out = &own->program;
    return status;
}

/* ---- the session ---- */
static void *address(ctl_session *s, const ctl_operand *operand) {
    if (operand->buffer == UINT32_MAX) return NULL;
    const ctl_buffer *b = &s->program->buffers[operand->buffer];
    return ((reference_session *)s)->region[b->region] + b->offset + operand->offset;
}

static ref_data data_at(ctl_session *s, const ctl_operand *operand) {
    return (ref_data){address(s, operand), operand->dtype};
}

static void close_session(ctl_session *s) {
    reference_session *own = (reference_session *)s;
    const ctl_allocator *a = s->allocator;
    ctl_reference_close(own->reference);
    for (int k = 0; k < REGION_COUNT; k++) ctl_free(a, own->region[k], s->program->region_bytes[k] + ALIGN);
    ctl_session_common_free(s);
    ctl_free(a, own, sizeof *own);
}

static ctl_status open_session(const ctl_program *program, const ctl_session_options *options,
                               ctl_session **out) {
    const ctl_allocator *a = ctl_allocator_or_default(options ? options->allocator : NULL);
    const reference_program *made = program->engine_data;
    const ctl_graph *g = made->graph;
    reference_session *own = ctl_alloc(a, sizeof *own);
    if (!own) return CTL_ERR_MEMORY;
    ctl_session *s = &own->common;
    ctl_status status = ctl_session_common_init(s, program, options);
    if (status != CTL_OK) {
        ctl_free(a, own, sizeof *own);
        return status;
    }
    for (int k = 0; k < REGION_COUNT && status == CTL_OK; k++) {
        own->region[k] = ctl_alloc(a, program->region_bytes[k] + ALIGN);
        if (!own->region[k]) status = CTL_ERR_MEMORY;
    }
    if (status == CTL_OK)
        status = ref_open(g, program->compute, a, address(s, &made->values), &own->reference);
    if (status != CTL_OK) {
        close_session(s);
        return status;
    }
    ctl_reference *r = own->reference;
    for (size_t k = 0; k < g->params.n; k++) r->params[k] = data_at(s, &program->params[k].value);
    for (size_t k = 0; k < g->inputs.n; k++) r->inputs[k] = data_at(s, &made->inputs[k]);
    r->positions = data_at(s, &made->positions);
    r->lengths = data_at(s, &made->lengths);
    r->normaliser = data_at(s, &made->normaliser);
    *out = s;
    return CTL_OK;
}

static void put(ctl_session *s, const ctl_operand *to, const double *from) {
    void *at = address(s, to);
    size_t count = (size_t)(to->rows * to->cols);
    for (size_t k = 0; k < count; k++) {
        if (to->dtype == CTL_F64)
            ((double *)at)[k] = from[k];
        else
            ((float *)at)[k] = (float)from[k];
    }
}

static void add_gradients(ctl_session *s, const ctl_graph *g, const ctl_reference *r) {
    const ctl_program *p = s->program;
    for (size_t k = 0; k < g->params.n; k++) {
        const ctl_param *param = &g->params.at[k];
        if (param->grad == CTL_NONE) continue;
        const double *from = ref_value(r, param->grad);
        size_t count = (size_t)(param->rows * param->cols), flat = p->params[k].flat;
        void *at = address(s, &p->gradients);
        for (size_t j = 0; j < count; j++) {
            if (p->gradients.dtype == CTL_F64)
                ((double *)at)[flat + j] += from[j];
            else
                ((float *)at)[flat + j] += (float)from[j];
        }
    }
}

static ctl_status run(ctl_session *s, ctl_program_entry entry) {
    static const ctl_rate rates[RUN_COUNT] = {RATE_LOAD, RATE_UPDATE, RATE_STEP, RATE_STEP, RATE_STEP};
    static const ctl_entry entries[RUN_COUNT] = {
        [RUN_BACKWARD] = ENTRY_BACKWARD, [RUN_EVALUATE] = ENTRY_EVALUATE};
    reference_session *own = (reference_session *)s;
    ctl_reference *r = own->reference;
    const ctl_graph *g = r->g;
    const ctl_program *p = s->program;
    r->seed = s->seed, r->step = (uint32_t)s->step, r->first_row = s->first_row;
    ctl_status status = ref_run(r, rates[entry], entries[entry]);
    if (status != CTL_OK) {
        const ctl_origin of = ((const reference_program *)p->engine_data)->origins[r->at];
        if (r->why[0])
            ctl_session_say_at(s, of.place, "E0804", "data, labels and documents must fit the model", "%s: %s",
                               of.name, r->why);
        return status;
    }
    if (entry == RUN_BACKWARD) add_gradients(s, g, r);
    for (size_t k = 0, at = g->outputs.n; entry == RUN_BACKWARD && k < g->inputs.n; k++)
        if (g->inputs.at[k].grad != CTL_NONE)
            put(s, &p->outputs[at++].forward, ref_value(r, g->inputs.at[k].grad));
    for (size_t k = 0; entry == RUN_LOAD && k < g->params.n; k++)
        if (g->params.at[k].init == INIT_VALUE)
            put(s, &p->params[k].init_value, ref_value(r, g->params.at[k].init_node));
    for (size_t k = 0; k < g->outputs.n; k++) {
        if (entry == RUN_FORWARD && g->outputs.at[k].node != CTL_NONE)
            put(s, &p->outputs[k].forward, ref_value(r, g->outputs.at[k].node));
        if (entry == RUN_EVALUATE && g->outputs.at[k].evaluate != CTL_NONE)
            put(s, &p->outputs[k].evaluate, ref_value(r, g->outputs.at[k].evaluate));
    }
    return CTL_OK;
}

const ctl_engine ctl_reference_engine = {"reference", open_session, close_session, address, run};
