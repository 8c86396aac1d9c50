/* reference: opens an executor, lays out its values, and runs operations in the graph's order. */
#include "compiler/reference/execute.h"

#include <stdio.h>

#include "base/dtype.h"

double ref_bf16(double x) { return ctl_bf16_to_f32(ctl_f32_to_bf16((float)x)); }

ctl_status ref_fail(ctl_reference *r, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(r->why, sizeof r->why, fmt, args);
    va_end(args);
    return CTL_ERR_INPUT;
}

enum { MOST_PARTS = 4 };
/* Elements of the k-th result of a node; 0: there is none. */
static size_t part_size(const ctl_graph *g, const ctl_node *n, int64_t k) {
    const ctl_node *like = n;
    if (k == 0) return (size_t)(n->rows * n->cols);
    switch (n->op) {
    case OP_ATTEND: return k == 1 ? (size_t)(n->rows * (n->cols / n->i[0])) : 0;
    case OP_ATTEND_GRAD: like = &g->at[n->in[k]]; break;
    case OP_HEAD:
        if (k == 3) return n->i[0] & 4 ? (size_t)(2 * g->at[n->in[0]].rows) : 0;
        if (!(n->i[0] & k)) return 0;
        like = &g->at[n->in[k - 1]];
        break;
    default: return 0;
    }
    return (size_t)(like->rows * like->cols);
}

double *ref_part(const ctl_reference *r, ctl_node_id id, int64_t k) {
    double *at = ref_value(r, id);
    for (int64_t j = 0; j < k; j++) at += part_size(r->g, &r->g->at[id], j);
    return at;
}

bool ref_values_size(const ctl_graph *g, size_t *count) {
    size_t total = 0, bytes;
    for (size_t id = 0; id < g->n; id++)
        for (int64_t k = 0; k < MOST_PARTS; k++)
            if (!ctl_add_size(total, part_size(g, &g->at[id], k), &total)) return false;
    *count = total;
    return ctl_mul_size(total, sizeof(double), &bytes);
}

static size_t index_bytes(const ctl_graph *g) {
    return (g->n + 1) * sizeof(size_t) + (g->params.n + g->inputs.n + 1) * sizeof(ref_data) + 2 * g->n;
}

ctl_status ref_open(const ctl_graph *g, ctl_dtype compute, const ctl_allocator *a, double *values,
                    ctl_reference **out) {
    size_t count;
    *out = NULL;
    a = ctl_allocator_or_default(a);
    if (compute != CTL_F64 && compute != CTL_F32 && compute != CTL_BF16) return CTL_ERR_UNSUPPORTED;
    if (!ref_values_size(g, &count)) return CTL_ERR_MEMORY;
    ctl_reference *r = ctl_alloc(a, sizeof *r);
    if (!r) return CTL_ERR_MEMORY;
    *r = (ctl_reference){.g = g, .compute = compute, .single = compute != CTL_F64, .allocator = a};
    r->index_bytes = index_bytes(g);
    char *index = ctl_alloc(a, r->index_bytes);
    r->owns_values = !values;
    r->values = values ? values : ctl_alloc(a, (count + 1) * sizeof(double));
    if (!index || !r->values) {
        ctl_free(a, index, r->index_bytes);
        if (r->owns_values) ctl_free(a, r->values, (count + 1) * sizeof(double));
        ctl_free(a, r, sizeof *r);
        return CTL_ERR_MEMORY;
    }
    r->offset = (size_t *)(void *)index;
    r->params = (ref_data *)(void *)(r->offset + g->n + 1);
    r->inputs = r->params + g->params.n;
    r->ready = (bool *)(r->inputs + g->inputs.n + 1);
    r->wanted = r->ready + g->n;
    for (size_t id = 0; id < g->n; id++) {
        r->offset[id + 1] = r->offset[id];
        for (int64_t k = 0; k < MOST_PARTS; k++) r->offset[id + 1] += part_size(g, &g->at[id], k);
    }
    *out = r;
    return CTL_OK;
}

ctl_status ctl_reference_open(const ctl_graph *g, ctl_dtype compute, const ctl_allocator *allocator,
                              ctl_reference **out) {
    ctl_status status = ref_open(g, compute, allocator, NULL, out);
    if (status != CTL_OK) return status;
    ctl_reference *r = *out;
    int64_t tokens = g->rows_of[SPACE_TOKENS];
    size_t count = 2 * (size_t)tokens;
    for (size_t k = 0; k < g->params.n; k++) count += (size_t)(g->params.at[k].rows * g->params.at[k].cols);
    for (size_t k = 0; k < g->inputs.n; k++)
        count += (size_t)(g->rows_of[g->inputs.at[k].space] * g->inputs.at[k].cols);
    r->leaves_bytes = (count + 1) * sizeof(double);
    r->leaves = ctl_alloc(r->allocator, r->leaves_bytes);
    if (!r->leaves) {
        ctl_reference_close(r);
        *out = NULL;
        return CTL_ERR_MEMORY;
    }
    double *at = r->leaves;
    r->positions = (ref_data){at, CTL_F64}, r->lengths = (ref_data){at + tokens, CTL_F64};
    int64_t sequence = g->sequence > 0 ? g->sequence : tokens;
    for (int64_t t = 0; t < tokens; t++) at[t] = (double)(t % sequence), at[tokens + t] = (double)sequence;
    at += 2 * tokens;
    for (size_t k = 0; k < g->params.n; k++) {
        r->params[k] = (ref_data){at, CTL_F64};
        at += g->params.at[k].rows * g->params.at[k].cols;
    }
    for (size_t k = 0; k < g->inputs.n; k++) {
        r->inputs[k] = (ref_data){at, CTL_F64};
        at += g->rows_of[g->inputs.at[k].space] * g->inputs.at[k].cols;
    }
    r->own_normaliser = 1;
    r->normaliser = (ref_data){&r->own_normaliser, CTL_F64};
    return CTL_OK;
}

void ctl_reference_close(ctl_reference *r) {
    if (!r) return;
    const ctl_allocator *a = r->allocator;
    size_t count = r->offset[r->g->n] + 1;
    ctl_free(a, r->leaves, r->leaves_bytes);
    if (r->owns_values) ctl_free(a, r->values, count * sizeof(double));
    ctl_free(a, r->offset, r->index_bytes);
    ctl_free(a, r, sizeof *r);
}

/* The executor owns this storage (ctl_reference_open), so it may be written. */
double *ctl_reference_param(ctl_reference *r, size_t param) { return (double *)r->params[param].at; }
double *ctl_reference_input(ctl_reference *r, size_t input) { return (double *)r->inputs[input].at; }
double *ctl_reference_positions(ctl_reference *r) { return (double *)r->positions.at; }
double *ctl_reference_lengths(ctl_reference *r) { return (double *)r->lengths.at; }

void ctl_reference_set_step(ctl_reference *r, uint64_t seed, uint32_t step, int64_t first_row,
                            double normaliser) {
    r->seed = seed, r->step = step, r->first_row = first_row, r->own_normaliser = normaliser;
}

const char *ctl_reference_why(const ctl_reference *r) { return r->why; }
const double *ctl_reference_value(const ctl_reference *r, ctl_node_id node) {
    return node < r->g->n && r->ready[node] ? ref_value(r, node) : NULL;
}

static ctl_status run_node(ctl_reference *r, ctl_node_id id) {
    const ctl_node *n = &r->g->at[id];
    ctl_status status = CTL_OK;
    r->at = id;
    switch (ctl_op_class_of((ctl_op)n->op)) {
    case CLASS_MAP:
    case CLASS_REDUCE:
    case CLASS_COLUMN: ref_map(r, id); break;
    case CLASS_PRODUCT: ref_matmul(r, id); break;
    case CLASS_FUSED:
        if (n->op == OP_MIX || n->op == OP_MIX_GRAD) ref_mix(r, id);
        else status = n->op == OP_HEAD ? ref_head(r, id) : ref_attend(r, id);
        break;
    default: status = ref_move(r, id);
    }
    r->ready[id] = status == CTL_OK;
    return status;
}

ctl_status ctl_reference_eval(ctl_reference *r, const ctl_node_id *nodes, size_t n) {
    const ctl_graph *g = r->g;
    ctl_status status = CTL_OK;
    r->why[0] = 0;
    memset(r->ready, 0, g->n);
    memset(r->wanted, 0, g->n);
    for (size_t k = 0; k < n; k++)
        if (nodes[k] < g->n) r->wanted[nodes[k]] = true;
    for (size_t id = g->n; id-- > 0;)
        if (r->wanted[id])
            for (uint32_t k = 0; k < g->at[id].nin; k++) r->wanted[g->at[id].in[k]] = true;
    for (size_t id = 0; id < g->n && status == CTL_OK; id++)
        if (r->wanted[id]) status = run_node(r, (ctl_node_id)id);
    return status;
}

ctl_status ref_run(ctl_reference *r, ctl_rate rate, ctl_entry entry) {
    ctl_status status = CTL_OK;
    r->why[0] = 0;
    for (size_t id = 0; id < r->g->n && status == CTL_OK; id++) {
        const ctl_node *n = &r->g->at[id];
        bool leaf = ctl_op_class_of((ctl_op)n->op) == CLASS_LEAF;
        if (n->rate != rate || (rate == RATE_STEP && !leaf && n->entry != entry)) continue;
        status = run_node(r, (ctl_node_id)id);
    }
    return status;
}
