/* lower_places: which buffer a value lies in, and where. A value has a buffer of its own, or a slice of a
 * panel's, or of the flat arrays of everything trained; views have their base's. Strides depend on the graph
 * and the target alone. */
#include "compiler/kernel/lower_state.h"

enum { FLAT_ALIGN = 16 }; /* elements: every parameter begins at 64 bytes, for products and vectors */

bool ctl_lower_fail(ctl_lowering *l, ctl_status status, const char *fmt, ...) {
    if (l->status != CTL_OK) return false;
    va_list args;
    va_start(args, fmt);
    l->why = ctl_vformat(l->arena, fmt, args);
    va_end(args);
    l->status = status;
    return false;
}

const char *ctl_lower_name(ctl_lowering *l, ctl_node_id id) {
    const ctl_node *n = &l->g->at[id];
    if (!n->path || !n->path[0]) return ctl_op_name((ctl_op)n->op);
    return ctl_format(l->arena, "%s: %s", n->path, ctl_op_name((ctl_op)n->op));
}

ctl_origin ctl_lower_origin(ctl_lowering *l, ctl_node_id id) {
    const ctl_node *n = &l->g->at[id];
    return (ctl_origin){ctl_lower_name(l, id), ctl_places_number(&l->places, n->span, n->user)};
}

uint32_t ctl_lower_buffer(ctl_lowering *l, ctl_region region, ctl_use use, size_t bytes, const char *name) {
    CTL_PUSH(
        l->arena, &l->buffers,
        (ctl_buffer){.region = region, .use = use, .bytes = bytes, .first = -1, .last = -1, .name = name});
    return (uint32_t)l->buffers.n - 1;
}

size_t ctl_lower_bytes(ctl_lowering *l, int64_t rows, int64_t cols, size_t element) {
    size_t bytes;
    if (rows >= 0 && cols >= 0 && ctl_mul_size((size_t)rows, (size_t)cols, &bytes) &&
        ctl_mul_size(bytes, element, &bytes) && bytes <= SIZE_MAX / 4)
        return bytes;
    ctl_lower_fail(l, CTL_ERR_INPUT, "a value of %lld x %lld elements is more than can be addressed",
                   (long long)rows, (long long)cols);
    return 0;
}

/* ---- leaves ---- */
static void flat_arrays(ctl_lowering *l) {
    const ctl_settings *s = &l->options->settings;
    bool sgd = strcmp(s->optimizer, "sgd") == 0;
    int64_t elements = 0;
    l->flat = CTL_NEW_ARRAY(l->arena, uint64_t, l->g->params.n);
    for (size_t k = 0; k < l->g->params.n; k++) {
        const ctl_param *p = &l->g->params.at[k];
        int64_t size;
        if (!p->trained) continue;
        if (!ctl_mul_i64(p->rows, p->cols, &size) || size > INT64_MAX / 8 - elements) {
            ctl_lower_fail(l, CTL_ERR_INPUT, "%s: more elements than can be addressed", p->name);
            return;
        }
        l->flat[k] = (uint64_t)elements;
        elements += (size + FLAT_ALIGN - 1) / FLAT_ALIGN * FLAT_ALIGN;
    }
    l->trained_elements = (size_t)elements;
    if (elements == 0) return;
    size_t bytes = ctl_lower_bytes(l, 1, elements, sizeof(float));
    l->trained = ctl_lower_buffer(l, REGION_PERSISTENT, USE_TRAINED, bytes, "trained parameters");
    l->gradients = ctl_lower_buffer(l, REGION_PERSISTENT, USE_GRADIENTS, bytes, "gradients");
    if (!sgd || s->momentum != 0)
        l->moment1 = ctl_lower_buffer(l, REGION_PERSISTENT, USE_OPTIMIZER, bytes, "first moments");
    if (!sgd) l->moment2 = ctl_lower_buffer(l, REGION_PERSISTENT, USE_OPTIMIZER, bytes, "second moments");
}

static void number_space(ctl_lowering *l, int space, ctl_rows_number which) {
    static const char *const names[CTL_ROW_NUMBERS] = {"position", "length", "place", "sequence"};
    if (l->row_numbers[space][which] != UINT32_MAX) return;
    size_t bytes = ctl_lower_bytes(l, l->g->rows_of[space], 1, sizeof(int32_t));
    const char *name = names[which];
    if (l->g->extra[space]) name = ctl_format(l->arena, "%s, %lld more", name, (long long)l->g->extra[space]);
    l->row_numbers[space][which] = ctl_lower_buffer(l, REGION_PERSISTENT, USE_INPUTS, bytes, name);
}

/* Room for what the node needs to know of its rows. Documents of a longer space come from those of tokens. */
static void number_rows(ctl_lowering *l, const ctl_node *n) {
    bool attends = n->op == OP_ATTEND || n->op == OP_ATTEND_GRAD;
    if (attends || n->op == OP_POSITION || n->op == OP_LENGTH) {
        for (int k = ROWS_POSITION; k <= ROWS_LENGTH; k++) {
            number_space(l, SPACE_TOKENS, (ctl_rows_number)k);
            number_space(l, n->space, (ctl_rows_number)k);
        }
    }
    if (n->op == OP_PLACE) number_space(l, n->space, ROWS_PLACE);
    if (n->op == OP_SEQUENCE) number_space(l, n->space, ROWS_SEQUENCE);
}

void ctl_lower_leaves(ctl_lowering *l) {
    const ctl_graph *g = l->g;
    l->trained = l->gradients = l->moment1 = l->moment2 = UINT32_MAX;
    l->normaliser = UINT32_MAX;
    memset(l->row_numbers, 0xff, sizeof l->row_numbers);
    l->buffer_of = CTL_NEW_ARRAY(l->arena, uint32_t, g->n);
    l->partial_of = CTL_NEW_ARRAY(l->arena, uint32_t, g->n);
    bool normaliser = false;
    for (ctl_node_id id = 0; id < g->n; id++) {
        const ctl_node *n = &g->at[id];
        l->buffer_of[id] = l->partial_of[id] = UINT32_MAX;
        if (l->u->value[id].part == PART_UNUSED) continue;
        number_rows(l, n);
        normaliser = normaliser || n->op == OP_NORMALISER || n->op == OP_HEAD;
        ctl_node_id top = id;
        while (l->u->value[top].panel != CTL_NONE) top = l->u->value[top].panel;
        if (l->u->value[id].crossing) l->u->value[top].crossing = true;
    }
    flat_arrays(l);
    if (normaliser)
        l->normaliser = ctl_lower_buffer(l, REGION_PERSISTENT, USE_INPUTS, sizeof(float), "normaliser");
}

ctl_place ctl_lower_gradient(ctl_lowering *l, uint32_t param) {
    return (ctl_place){l->gradients, l->flat[param] * sizeof(float), l->g->params.at[param].cols, CTL_F32};
}

static ctl_place leaf_place(ctl_lowering *l, ctl_node_id id) {
    const ctl_node *n = &l->g->at[id];
    switch (n->op) {
    case OP_POSITION:
        return (ctl_place){l->row_numbers[n->space][ROWS_POSITION], 0, 1, CTL_I32};
    case OP_LENGTH:
        return (ctl_place){l->row_numbers[n->space][ROWS_LENGTH], 0, 1, CTL_I32};
    case OP_PLACE:
        return (ctl_place){l->row_numbers[n->space][ROWS_PLACE], 0, 1, CTL_I32};
    case OP_SEQUENCE:
        return (ctl_place){l->row_numbers[n->space][ROWS_SEQUENCE], 0, 1, CTL_I32};
    case OP_NORMALISER:
        return (ctl_place){l->normaliser, 0, 1, CTL_F32};
    default:
        break;
    }
    if (n->op == OP_PARAM && l->g->params.at[n->i[0]].trained)
        return (ctl_place){l->trained, l->flat[n->i[0]] * sizeof(float), n->cols, CTL_F32};
    ctl_dtype dtype = ctl_group_dtype(l->u, id);
    if (l->buffer_of[id] == UINT32_MAX) {
        size_t bytes = ctl_lower_bytes(l, n->rows, n->cols, ctl_dtype_size(dtype));
        bool param = n->op == OP_PARAM;
        l->buffer_of[id] =
            ctl_lower_buffer(l, param ? REGION_CONSTANT : REGION_PERSISTENT, param ? USE_WEIGHTS : USE_INPUTS,
                             bytes, param ? l->g->params.at[n->i[0]].name : l->g->inputs.at[n->i[0]].name);
    }
    return (ctl_place){l->buffer_of[id], 0, n->cols, dtype};
}

/* ---- computed values ---- */
static bool holds_weights(const ctl_lowering *l, ctl_node_id panel) {
    const ctl_node *n = &l->g->at[panel];
    for (uint32_t k = 0; n->op == OP_STACK && k < n->nin; k++) {
        ctl_node_id piece = ctl_group_stored(l->u, n->in[k]);
        if (l->g->at[piece].op == OP_PARAM && l->u->value[piece].panel == panel) return true;
    }
    return false;
}

static ctl_place own_place(ctl_lowering *l, ctl_node_id id) {
    const ctl_node *n = &l->g->at[id];
    const ctl_value *v = &l->u->value[id];
    ctl_dtype dtype = ctl_group_dtype(l->u, id);
    size_t element = ctl_dtype_size(dtype);
    int32_t split = n->space == SPACE_NONE ? 1 : n->split;
    int64_t rows = n->rows / split, cols = n->cols * split, stride = cols;
    if (n->rate == RATE_STEP && rows > 1 && !v->whole && n->op != OP_STACK)
        stride = l->target->stride(cols, element);
    if (l->buffer_of[id] == UINT32_MAX) {
        ctl_region region = REGION_STEP;
        ctl_use use = USE_TRANSIENT;
        bool weights = holds_weights(l, id);
        if (weights || (v->list == RUN_LOAD && v->crossing))
            region = REGION_CONSTANT, use = weights ? USE_WEIGHTS : USE_DERIVED;
        else if (v->list == RUN_UPDATE && v->crossing)
            region = REGION_PERSISTENT, use = USE_DERIVED;
        /* The last row ends with its last column: a stride's padding lies between rows only. */
        size_t bytes = ctl_lower_bytes(l, rows - 1, stride, element) + ctl_lower_bytes(l, 1, cols, element);
        l->buffer_of[id] = ctl_lower_buffer(l, region, use, bytes, ctl_lower_name(l, id));
    }
    return (ctl_place){l->buffer_of[id], 0, stride, dtype};
}

static ctl_place view_place(ctl_lowering *l, ctl_node_id id) {
    const ctl_node *n = &l->g->at[id];
    const ctl_node *from = &l->g->at[n->in[0]];
    ctl_place p = ctl_lower_place(l, n->in[0]);
    bool whole = p.stride == from->cols || from->rows == 1;
    switch (n->op) {
    case OP_COLUMNS:
        p.offset += (uint64_t)n->i[0] * ctl_dtype_size(p.dtype);
        break;
    case OP_TRANSPOSE:
        whole = from->rows == 1 || p.stride == 1;
        p.stride = n->cols;
        break;
    default:
        if (n->space != SPACE_NONE) return p;
        p.stride = n->cols;
    }
    if (n->op != OP_COLUMNS && !whole)
        ctl_lower_fail(l, CTL_ERR_UNSUPPORTED,
                       "%s: %s of a weight that is part of another value is not lowered yet",
                       n->path ? n->path : "a value", ctl_op_name((ctl_op)n->op));
    return p;
}

ctl_place ctl_lower_place(ctl_lowering *l, ctl_node_id id) {
    id = ctl_group_stored(l->u, id);
    const ctl_value *v = &l->u->value[id];
    if (v->part == PART_TASK && v->result[0] != id) return ctl_lower_place(l, v->result[0]);
    if (v->part == PART_VIEW) return view_place(l, id);
    if (v->sum_into != UINT32_MAX) return ctl_lower_gradient(l, v->sum_into);
    if (v->panel != CTL_NONE) {
        ctl_place p = ctl_lower_place(l, v->panel);
        bool stack = l->g->at[v->panel].op == OP_STACK;
        p.offset += (uint64_t)v->panel_at * ctl_dtype_size(p.dtype) * (uint64_t)(stack ? p.stride : 1);
        return p;
    }
    return v->part == PART_LEAF ? leaf_place(l, id) : own_place(l, id);
}

ctl_operand ctl_lower_rows_operand(ctl_lowering *l, ctl_node_id id) {
    const ctl_node *n = &l->g->at[id];
    ctl_place p = ctl_lower_place(l, id);
    int32_t split = n->space == SPACE_NONE ? 1 : n->split;
    return (ctl_operand){p.buffer, p.offset, n->rows / split, n->cols * split, p.stride, p.dtype};
}

ctl_operand ctl_lower_operand(ctl_lowering *l, ctl_node_id id) {
    const ctl_node *n = &l->g->at[id];
    ctl_operand o = ctl_lower_rows_operand(l, id);
    if (o.rows == n->rows) return o;
    if (o.stride != o.cols && o.rows > 1)
        ctl_lower_fail(l, CTL_ERR_UNSUPPORTED,
                       "%s: split rows of a value that is part of another are not lowered as a matrix yet",
                       n->path ? n->path : "a value");
    o.rows = n->rows, o.cols = o.stride = n->cols;
    return o;
}
