/* verify: every invariant of a graph, checked from the text of graph.h and the rules. It runs between passes.
 */
#include "compiler/graph/graph.h"
#include "compiler/graph/rules.h"

typedef struct verifier {
    const ctl_graph *g;
    ctl_arena *arena;
    const char **why;
} verifier;

static bool fault(verifier *v, const char *fmt, ...) CTL_PRINTF(2, 3);
static bool fault(verifier *v, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    *v->why = ctl_vformat(v->arena, fmt, args);
    va_end(args);
    return false;
}

static bool arity_fits(ctl_op op, uint32_t nin) {
    switch (op) {
#define OP(id, text, cls, least, most)                                                                       \
    case OP_##id:                                                                                            \
        return nin + 1 > least && nin <= most;
#include "compiler/graph/ops.def"
#undef OP
    default: return false;
    }
}

static bool check_node(verifier *v, ctl_node_id id) {
    const ctl_graph *g = v->g;
    const ctl_node *n = &g->at[id];
    if (n->op >= OP_COUNT) return fault(v, "%%%u has no known operation", id);
    const char *op = ctl_op_name((ctl_op)n->op);
    if (!arity_fits((ctl_op)n->op, n->nin)) return fault(v, "%%%u = %s has %u inputs", id, op, n->nin);
    for (uint32_t k = 0; k < n->nin; k++)
        if (n->in[k] >= id)
            return fault(v, "%%%u = %s reads %%%u, which does not come before it", id, op, n->in[k]);
    if (n->entry > ENTRY_EVALUATE) return fault(v, "%%%u = %s has no known entry", id, op);
    ctl_node again = *n;
    const char *why;
    if (!ctl_rules_derive(g, (ctl_entry)n->entry, &again, v->arena, &why))
        return fault(v, "%%%u: %s", id, why);
    if (again.rows != n->rows || again.cols != n->cols || again.space != n->space || again.split != n->split)
        return fault(v, "%%%u = %s is %s where the rules give %s", id, op, ctl_node_shape(v->arena, n),
                     ctl_node_shape(v->arena, &again));
    if (again.dtype != n->dtype)
        return fault(v, "%%%u = %s is %s where the rules give %s", id, op,
                     ctl_dtype_name((ctl_dtype)n->dtype), ctl_dtype_name((ctl_dtype)again.dtype));
    if (again.rate != n->rate)
        return fault(v, "%%%u = %s has rate %d where the rules give %d", id, op, n->rate, again.rate);
    if (again.entry != n->entry)
        return fault(v, "%%%u = %s has entry %d where the rules give %d", id, op, n->entry, again.entry);
    if (memcmp(again.i, n->i, sizeof n->i) != 0)
        return fault(v, "%%%u = %s has attributes that the rules change", id, op);
    if (n->op == OP_PARAM && g->params.at[n->i[0]].node != id)
        return fault(v, "%%%u = param: %s has another node", id, g->params.at[n->i[0]].name);
    if (n->op == OP_INPUT && g->inputs.at[n->i[0]].node != id)
        return fault(v, "%%%u = input: %s has another node", id, g->inputs.at[n->i[0]].name);
    return true;
}

static bool in_range(verifier *v, ctl_node_id id, const char *what, const char *name) {
    if (id == CTL_NONE || id < v->g->n) return true;
    return fault(v, "%s of %s is %%%u, which is not in the graph", what, name, id);
}

/* A gradient has the type of what it is the gradient of, as reals. */
static bool check_gradient(verifier *v, ctl_node_id grad, int64_t rows, int64_t cols, int space,
                           const char *name) {
    if (grad == CTL_NONE) return true;
    const ctl_node *n = &v->g->at[grad];
    if (n->rows != rows || n->cols != cols || n->space != space || n->split != 1 || n->dtype == CTL_I32)
        return fault(v, "the gradient of %s is %s, not %lld x %lld", name, ctl_node_shape(v->arena, n),
                     (long long)rows, (long long)cols);
    if (n->rate == RATE_STEP && n->entry == ENTRY_EVALUATE)
        return fault(v, "the gradient of %s belongs to the evaluate entry", name);
    return true;
}

static bool check_params(verifier *v) {
    const ctl_graph *g = v->g;
    for (size_t k = 0; k < g->params.n; k++) {
        const ctl_param *p = &g->params.at[k];
        if (p->rows < 1 || p->cols < 1 || p->ndims < 1 || p->ndims > 2 || (p->ndims == 1 && p->rows != 1))
            return fault(v, "parameter %s: %lld x %lld with %d dimensions", p->name, (long long)p->rows,
                         (long long)p->cols, p->ndims);
        if (!in_range(v, p->node, "the node", p->name) || !in_range(v, p->grad, "the gradient", p->name))
            return false;
        if (p->node != CTL_NONE && (g->at[p->node].op != OP_PARAM || g->at[p->node].i[0] != (int64_t)k))
            return fault(v, "the node of parameter %s is %%%u = %s", p->name, p->node,
                         ctl_op_name((ctl_op)g->at[p->node].op));
        if (p->grad != CTL_NONE && !p->trained) return fault(v, "%s is frozen and has a gradient", p->name);
        if (!check_gradient(v, p->grad, p->rows, p->cols, SPACE_NONE, p->name)) return false;
        if (p->init != INIT_VALUE) continue;
        if (p->init_node >= g->n)
            return fault(v, "parameter %s begins from a value that is not in the graph", p->name);
        const ctl_node *n = &g->at[p->init_node];
        if (n->rate != RATE_LOAD || n->rows != p->rows || n->cols != p->cols || n->dtype == CTL_I32)
            return fault(v, "parameter %s, %lld x %lld, begins from %s, which does not fit or changes",
                         p->name, (long long)p->rows, (long long)p->cols, ctl_node_shape(v->arena, n));
    }
    return true;
}

static bool check_inputs(verifier *v) {
    const ctl_graph *g = v->g;
    for (size_t k = 0; k < g->inputs.n; k++) {
        const ctl_input *in = &g->inputs.at[k];
        if (!in_range(v, in->node, "the node", in->name) || !in_range(v, in->grad, "the gradient", in->name))
            return false;
        if (in->node != CTL_NONE && (g->at[in->node].op != OP_INPUT || g->at[in->node].i[0] != (int64_t)k))
            return fault(v, "the node of input %s is %%%u = %s", in->name, in->node,
                         ctl_op_name((ctl_op)g->at[in->node].op));
        if (in->grad != CTL_NONE && in->is_id)
            return fault(v, "%s holds integers and has a gradient", in->name);
        int64_t rows = in->space == SPACE_NONE ? 1 : g->rows_of[in->space];
        if (!check_gradient(v, in->grad, rows, in->cols, in->space, in->name)) return false;
    }
    return true;
}

static bool check_outputs(verifier *v) {
    const ctl_graph *g = v->g;
    for (size_t k = 0; k < g->outputs.n; k++) {
        const ctl_output *o = &g->outputs.at[k];
        const bool evaluated_alone = o->node == CTL_NONE && o->evaluate != CTL_NONE;
        if (o->node >= g->n && !evaluated_alone) return fault(v, "output %s is not in the graph", o->name);
        if (!in_range(v, o->evaluate, "the evaluated value", o->name)) return false;
        const ctl_node *n = &g->at[evaluated_alone ? o->evaluate : o->node];
        if (!evaluated_alone && n->rate == RATE_STEP && n->entry != ENTRY_FORWARD)
            return fault(v, "output %s belongs to another entry than forward", o->name);
        if (o->evaluate == CTL_NONE) continue;
        const ctl_node *e = &g->at[o->evaluate];
        if (e->rows != n->rows || e->cols != n->cols || e->space != n->space)
            return fault(v, "output %s is %s, evaluated %s", o->name, ctl_node_shape(v->arena, n),
                         ctl_node_shape(v->arena, e));
        if (e->rate == RATE_STEP && e->entry != ENTRY_EVALUATE &&
            ctl_op_class_of((ctl_op)e->op) != CLASS_LEAF)
            return fault(v, "output %s, evaluated, belongs to another entry", o->name);
    }
    if (g->loss == CTL_NONE) return true;
    if (g->loss >= g->n) return fault(v, "the loss is not in the graph");
    const ctl_node *loss = &g->at[g->loss];
    if (loss->rows != 1 || loss->cols != 1 || loss->space != SPACE_NONE || loss->dtype == CTL_I32)
        return fault(v, "the loss is %s, not one number", ctl_node_shape(v->arena, loss));
    return true;
}

bool ctl_graph_verify(const ctl_graph *g, ctl_arena *scratch, const char **why) {
    verifier v = {g, scratch, why};
    *why = NULL;
    if (g->misfit) return fault(&v, "a pass built what does not fit: %s", g->misfit);
    for (size_t id = 0; id < g->n; id++)
        if (!check_node(&v, (ctl_node_id)id)) return false;
    return check_params(&v) && check_inputs(&v) && check_outputs(&v);
}
