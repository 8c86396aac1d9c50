/* lower_hosts: what the host of a program sees: parameters, inputs, outputs, the flat arrays of everything
 * trained. */
#include "compiler/graph/limits.h"
#include "compiler/kernel/lower_state.h"

static ctl_operand flat(ctl_lowering *l, uint32_t buffer) {
    if (buffer == UINT32_MAX) return CTL_NO_OPERAND;
    int64_t n = (int64_t)l->trained_elements;
    return (ctl_operand){buffer, 0, 1, n, n, CTL_F32};
}

static ctl_operand param_value(ctl_lowering *l, const ctl_param *p, size_t number) {
    if (p->trained)
        return (ctl_operand){l->trained, l->flat[number] * sizeof(float), p->rows, p->cols, p->cols, CTL_F32};
    if (p->node != CTL_NONE) return ctl_lower_operand(l, p->node);
    ctl_dtype dtype = l->options->compute == CTL_BF16 ? CTL_BF16 : CTL_F32;
    size_t bytes = ctl_lower_bytes(l, p->rows, p->cols, ctl_dtype_size(dtype));
    uint32_t buffer = ctl_lower_buffer(l, REGION_CONSTANT, USE_WEIGHTS, bytes, p->name);
    return (ctl_operand){buffer, 0, p->rows, p->cols, p->cols, dtype};
}

static void params(ctl_lowering *l) {
    const ctl_graph *g = l->g;
    ctl_program *h = &l->hosts;
    h->nparams = g->params.n;
    h->params = CTL_NEW_ARRAY(l->arena, ctl_program_param, h->nparams);
    for (size_t k = 0; k < g->params.n; k++) {
        const ctl_param *p = &g->params.at[k];
        h->params[k] = (ctl_program_param){.name = p->name,
                                           .rows = p->rows,
                                           .cols = p->cols,
                                           .ndims = p->ndims,
                                           .trained = p->trained,
                                           .made_by_control = p->made_by_control,
                                           .init = (ctl_program_init)p->init,
                                           .init_arg = p->init_arg,
                                           .init_value = CTL_NO_OPERAND,
                                           .value = param_value(l, p, k),
                                           .place = ctl_places_number(&l->places, p->span, p->user)};
        if (p->trained) h->params[k].flat = (size_t)l->flat[k];
        if (p->init == INIT_VALUE) h->params[k].init_value = ctl_lower_operand(l, p->init_node);
    }
}

static void inputs(ctl_lowering *l) {
    const ctl_graph *g = l->g;
    CTL_VEC(ctl_program_input) in = {0};
    for (size_t k = 0; k < g->inputs.n; k++) {
        const ctl_input *i = &g->inputs.at[k];
        if (i->node == CTL_NONE) continue;
        const ctl_operand value = ctl_lower_operand(l, i->node);
        CTL_PUSH(l->arena, &in, (ctl_program_input){i->name, value, ctl_graph_ids_below(g, i)});
    }
    const uint32_t *documents = l->row_numbers[SPACE_TOKENS];
    if (documents[ROWS_POSITION] != UINT32_MAX) {
        int64_t tokens = g->rows_of[SPACE_TOKENS];
        const ctl_operand position = {documents[ROWS_POSITION], 0, tokens, 1, 1, CTL_I32};
        const ctl_operand length = {documents[ROWS_LENGTH], 0, tokens, 1, 1, CTL_I32};
        CTL_PUSH(l->arena, &in, (ctl_program_input){"position", position, ctl_graph_positions_below(g)});
        CTL_PUSH(l->arena, &in, (ctl_program_input){"length", length, 0});
    }
    const ctl_operand normaliser = {l->normaliser, 0, 1, 1, 1, CTL_F32};
    if (l->normaliser != UINT32_MAX) CTL_PUSH(l->arena, &in, (ctl_program_input){"normaliser", normaliser, 0});
    l->hosts.inputs = in.at, l->hosts.ninputs = in.n;
}

/* Spaces whose rows' numbers some task reads; position and length of tokens are inputs. */
static void row_numbers(ctl_lowering *l) {
    CTL_VEC(ctl_program_rows) all = {0};
    for (int space = SPACE_TOKENS; space < SPACE_COUNT; space++) {
        ctl_program_rows r = {.extra = l->g->extra[space]};
        bool any = false;
        for (int k = 0; k < CTL_ROW_NUMBERS; k++) {
            uint32_t buffer = l->row_numbers[space][k];
            bool mine = buffer != UINT32_MAX && (space != SPACE_TOKENS || k > ROWS_LENGTH);
            r.number[k] = mine ? (ctl_operand){buffer, 0, l->g->rows_of[space], 1, 1, CTL_I32} : CTL_NO_OPERAND;
            any = any || mine;
        }
        if (any) CTL_PUSH(l->arena, &all, r);
    }
    l->hosts.rows = all.at, l->hosts.nrows = all.n;
}

static ctl_operand output(ctl_lowering *l, ctl_node_id id) {
    return id == CTL_NONE ? CTL_NO_OPERAND : ctl_lower_operand(l, id);
}

static void outputs(ctl_lowering *l) {
    const ctl_graph *g = l->g;
    CTL_VEC(ctl_program_output) out = {0};
    for (size_t k = 0; k < g->outputs.n; k++) {
        const ctl_output *o = &g->outputs.at[k];
        CTL_PUSH(l->arena, &out, (ctl_program_output){o->name, output(l, o->node), output(l, o->evaluate)});
    }
    for (size_t k = 0; k < g->inputs.n; k++) {
        if (g->inputs.at[k].grad == CTL_NONE) continue;
        const char *name = ctl_format(l->arena, "d %s", g->inputs.at[k].name);
        bool there = false;
        for (size_t j = 0; j < out.n && !there; j++) there = strcmp(out.at[j].name, name) == 0;
        if (!there)
            CTL_PUSH(l->arena, &out,
                     (ctl_program_output){name, output(l, g->inputs.at[k].grad), CTL_NO_OPERAND});
    }
    l->hosts.outputs = out.at, l->hosts.noutputs = out.n;
}

void ctl_lower_hosts(ctl_lowering *l) {
    ctl_program *h = &l->hosts;
    const ctl_lower_options *o = l->options;
    params(l), inputs(l), row_numbers(l), outputs(l);
    h->trained = flat(l, l->trained), h->gradients = flat(l, l->gradients);
    h->moment1 = flat(l, l->moment1), h->moment2 = flat(l, l->moment2);
    h->trained_elements = l->trained_elements;
    h->compute = o->compute, h->settings = o->settings, h->threads = l->threads;
    h->tokens = l->g->rows_of[SPACE_TOKENS], h->sequence = l->g->sequence, h->classes = l->g->classes;
    h->sees_ahead = ctl_graph_sees_ahead(l->g);
    h->model_name = o->model_name ? o->model_name : "",
    h->control_source = o->control_source ? o->control_source : "";
}
